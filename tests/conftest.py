"""What all tests share: a fake mesh of 8 CPU devices, and a seed."""

import os

os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8"
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import pytest


@pytest.fixture(autouse=True)
def _seed():
    import neurarust_jax as nr

    nr.manual_seed(0)
