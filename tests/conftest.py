"""What all tests share: a fake mesh of 8 CPU devices, and a seed."""

import os

os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8"
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import pytest


def pytest_addoption(parser):
    parser.addoption("--exhaustive", action="store_true", help="all samples of PyTorch's databases, and the tests marked exhaustive (make test-all)")


def pytest_configure(config):
    """Programs that run once are had three times sooner by XLA's older emitters and without LLVM's optimizations; `make test-all` takes users' way."""
    if not config.getoption("--exhaustive", default=False):
        os.environ["XLA_FLAGS"] += " --xla_cpu_use_fusion_emitters=false --xla_backend_optimization_level=0"


def pytest_collection_modifyitems(config, items):
    if not config.getoption("--exhaustive", default=False):
        config.hook.pytest_deselected(items=[item for item in items if "exhaustive" in item.keywords])
        items[:] = [item for item in items if "exhaustive" not in item.keywords]


_MOST_MAPS = 25_000  # Linux allows a process 65,530 memory maps, and every compiled program takes some
_finished = 0


def pytest_runtest_teardown(item, nextitem):
    """Forget compiled programs before there are too many: XLA crashes when it can map no more memory."""
    global _finished
    _finished += 1
    if _finished % 40 == 0 and os.path.exists("/proc/self/maps"):
        with open("/proc/self/maps", "rb") as maps:
            many = sum(1 for _ in maps) > _MOST_MAPS
        if many:
            import gc

            import jax

            jax.clear_caches()
            gc.collect()


@pytest.fixture
def limit(request):
    """How many samples of PyTorch's databases a test takes of each operator; `None` for all."""
    return None if request.config.getoption("--exhaustive", default=False) else 2


@pytest.fixture(autouse=True)
def _seed():
    import neurarust_jax as nr

    nr.manual_seed(0)
