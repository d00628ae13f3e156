"""`nr.cuda` and `nr.accelerator`, without a GPU and with devices that say they are GPUs."""

import jax
import pytest
import torch

import neurarust_jax as nr
from neurarust_jax import devices

without = pytest.mark.skipif(nr.cuda.is_available(), reason="what a machine without a GPU says")


class Gpu:
    """Answers as JAX's device would."""

    platform, device_kind, compute_capability, core_count = "gpu", "NVIDIA H100", "9.0", 132

    def __init__(self, number):
        self.id = number

    def memory_stats(self):
        return {"bytes_in_use": 100 + self.id, "peak_bytes_in_use": 300, "bytes_limit": 1000, "num_allocs": 7, "pool_bytes": 500}


@pytest.fixture
def gpus(monkeypatch):
    """Two devices that say they are GPUs; what runs on them runs on the CPU."""
    found = [Gpu(0), Gpu(1)]
    local, everywhere, put = jax.local_devices, jax.devices, jax.device_put
    monkeypatch.setattr(jax, "local_devices", lambda *a, backend=None, **k: found if backend == "gpu" else local(*a, backend=backend, **k))
    monkeypatch.setattr(jax, "devices", lambda backend=None: found if backend == "gpu" else everywhere(backend))
    waited = []
    monkeypatch.setattr(jax, "device_put", lambda x, where=None, **k: (waited.append(where), put(x))[1] if isinstance(where, Gpu) else put(x, where, **k))
    monkeypatch.setattr(devices, "_chosen", {})
    return waited


@without
def test_a_machine_without_a_gpu_says_so_as_pytorchs():
    for ours, theirs in ((nr.cuda, torch.cuda), (nr.accelerator, torch.accelerator)):
        assert ours.is_available() is theirs.is_available() is False
        assert ours.device_count() == theirs.device_count() == 0
    assert nr.accelerator.current_accelerator() is None and not nr.cuda.is_bf16_supported()
    assert nr.cuda.memory_allocated() == nr.accelerator.max_memory_reserved() == torch.cuda.memory_allocated() == 0
    assert nr.cuda.memory_stats() == {} and nr.cuda.get_rng_state_all() == []
    for ask in (nr.cuda.current_device, nr.cuda.synchronize, nr.cuda.get_device_name, nr.accelerator.synchronize, lambda: nr.cuda.set_device(0)):
        with pytest.raises(RuntimeError, match="install JAX for CUDA"):
            ask()


@without
def test_the_lines_that_programs_start_with():
    device = nr.device("cuda" if nr.cuda.is_available() else "cpu")
    nr.cuda.manual_seed_all(3)
    nr.cuda.empty_cache()
    nr.cuda.reset_peak_memory_stats()
    first = nr.rand(2, device=device)
    nr.cuda.manual_seed(3)
    assert (nr.rand(2) == first).all() and nr.cuda.initial_seed() == 3
    with nr.cuda.stream(nr.cuda.Stream()), nr.cuda.device(None), nr.cuda.device(-1):
        state = nr.cuda.get_rng_state()
        drawn = nr.rand(2)
    nr.cuda.set_rng_state(state)
    assert (nr.rand(2) == drawn).all()
    with pytest.warns(UserWarning, match="CUDA is not available"):
        assert not nr.cuda.amp.GradScaler().is_enabled()


def test_the_gpu_that_is_meant(gpus):
    assert nr.cuda.device_count() == nr.accelerator.device_count() == 2
    assert nr.accelerator.current_accelerator() == nr.device("cuda") and nr.cuda.current_device() == 0
    nr.cuda.set_device("cuda:1")
    assert nr.cuda.current_device() == nr.accelerator.current_device_index() == 1 and nr.device("cuda").jax().id == 1 and nr.device("cuda:0").jax().id == 0
    with nr.cuda.device(nr.device("cuda:0")):
        assert nr.cuda.current_device() == 0
        with nr.accelerator.device_index(1):
            assert nr.cuda.current_device() == 1
    assert nr.cuda.current_device() == 1
    nr.cuda.set_device(-1)
    assert nr.cuda.current_device() == 1
    for wrong, message in ((5, "no device 'cuda:5'"), ("cpu", "Expected a cuda device, but got: cpu")):
        with pytest.raises(RuntimeError, match=message):
            nr.cuda.set_device(wrong)


def test_what_a_gpu_tells_of_itself(gpus):
    assert nr.cuda.get_device_name() == "NVIDIA H100" and nr.cuda.get_device_capability(1) == (9, 0) and nr.cuda.is_bf16_supported(including_emulation=False)
    found = nr.cuda.get_device_properties("cuda:0")
    assert (found.total_memory, found.multi_processor_count) == (1000, 132)
    assert nr.cuda.memory_allocated(1) == nr.accelerator.memory_allocated(1) == 101 and nr.cuda.max_memory_allocated() == 300
    assert nr.cuda.memory_reserved() == 500 and nr.cuda.mem_get_info(1) == nr.accelerator.get_memory_info(1) == (899, 1000)


def test_events_wait_and_time(gpus):
    start, end = nr.cuda.Event(enable_timing=True), nr.cuda.Event(enable_timing=True)
    with pytest.raises(RuntimeError, match="must be recorded"):
        start.elapsed_time(end)
    start.record()
    end.record(nr.cuda.current_stream())
    nr.cuda.synchronize(1)
    assert start.elapsed_time(end) > 0 and end.query() and [d.id for d in gpus] == [0, 0, 1]
