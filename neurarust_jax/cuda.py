"""PyTorch's `torch.cuda`, as far as programs ask it: whether there are GPUs, which one is meant, waiting for it, timing, memory, random numbers.

Streams have no effect: JAX orders the work on a GPU itself. Generators belong to no device here, so the functions about seeds speak of the default one.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any, NamedTuple

from . import accelerator, devices, dtypes, generator
from . import amp as _amp
from .errors import DeviceError
from .generator import initial_seed
from .ops.conversion import LEGACY_TYPES
from .ops.tensor_types import tensor_type
from .tensor import Tensor

__all__ = [
    "Event", "Stream", "amp", "current_device", "current_stream", "default_stream", "device", "device_count", "empty_cache", "get_device_capability",
    "get_device_name", "get_device_properties", "get_rng_state", "get_rng_state_all", "init", "initial_seed", "ipc_collect", "is_available",
    "is_bf16_supported", "is_initialized", "manual_seed", "manual_seed_all", "max_memory_allocated", "max_memory_reserved", "mem_get_info", "memory_allocated",
    "memory_reserved", "memory_stats", "reset_accumulated_memory_stats", "reset_max_memory_allocated", "reset_peak_memory_stats", "seed", "seed_all",
    "set_device", "set_rng_state", "set_rng_state_all", "set_stream", "stream", "synchronize", *(f"{_name}Tensor" for _name in LEGACY_TYPES),
]  # fmt: skip

amp = SimpleNamespace(
    autocast=lambda enabled=True, dtype=None, cache_enabled=True: _amp.autocast("cuda", dtype, enabled, cache_enabled),
    GradScaler=functools.partial(_amp.GradScaler, "cuda"),
    custom_fwd=functools.partial(_amp.custom_fwd, device_type="cuda"),
    custom_bwd=functools.partial(_amp.custom_bwd, device_type="cuda"),
)
"""`torch.cuda.amp`: `nr.amp` for the GPU."""

for _name, _dtype in LEGACY_TYPES.items():
    globals()[f"{_name}Tensor"] = tensor_type(f"{_name}Tensor", dtypes.as_dtype(_dtype), "cuda")


# --- which GPU -------------------------------------------------------------------------------------------------------


def is_available() -> bool:
    """Whether JAX has a GPU.

    Examples:
        >>> import neurarust_jax as nr
        >>> device = nr.device("cuda" if nr.cuda.is_available() else "cpu")
    """
    return devices.is_available("cuda")


def device_count() -> int:
    """How many GPUs this process has."""
    return accelerator.count("cuda")


def init() -> None:
    """Without effect: JAX readies a GPU when it is first used."""


def is_initialized() -> bool:
    """Whether a GPU is ready for use, which is whether there is one."""
    return is_available()


def _require() -> None:
    if not is_available():
        raise DeviceError("JAX has no GPU here; install JAX for CUDA with: pip install 'neurarust_jax[cuda]', and ask nr.cuda.is_available() first")


def current_device() -> int:
    """The number of the GPU that ``"cuda"`` means.

    Raises:
        DeviceError: JAX has no GPU.
    """
    _require()
    return devices.chosen_index("cuda")


def set_device(device: Any) -> None:
    """Choose the GPU that ``"cuda"`` means.

    Args:
        device: its number, or a device. A negative number changes nothing.

    Raises:
        DeviceError: there is no such GPU.
    """
    if not isinstance(device, int) or device >= 0:
        devices.choose_index("cuda", accelerator.device_of("cuda", device))


class device(accelerator.device_index):  # noqa: N801 (PyTorch's name)
    """A ``with`` block in which ``"cuda"`` means another GPU.

    Args:
        device: its number, or a device; `None` or a negative number changes nothing.

    Raises:
        DeviceError: there is no such GPU.
    """


class DeviceProperties(NamedTuple):
    """What JAX tells of a GPU.

    Attributes:
        name: as its maker calls it.
        major, minor: its compute capability; 0 where JAX tells none.
        total_memory: bytes that JAX may use.
        multi_processor_count: 0 where JAX does not tell.
    """

    name: str
    major: int
    minor: int
    total_memory: int
    multi_processor_count: int


def get_device_properties(device: Any = None) -> DeviceProperties:
    """What JAX tells of a GPU.

    Args:
        device: its number, or a device. Default: the current one.
    """
    found = accelerator.device_of("cuda", device)
    major, _, minor = str(getattr(found, "compute_capability", "0.0")).partition(".")
    return DeviceProperties(found.device_kind, int(major), int(minor or 0), accelerator.get_memory_info(device)[1], int(getattr(found, "core_count", None) or 0))


def get_device_name(device: Any = None) -> str:
    """The name of a GPU, by default the current one."""
    return get_device_properties(device).name


def get_device_capability(device: Any = None) -> tuple[int, int]:
    """The compute capability of a GPU, by default the current one: (major, minor)."""
    found = get_device_properties(device)
    return found.major, found.minor


def is_bf16_supported(including_emulation: bool = True) -> bool:
    """Whether the current GPU computes in bfloat16.

    Args:
        including_emulation: whether XLA's conversions on older ones count. Default: `True`.
    """
    return is_available() and (including_emulation or get_device_capability()[0] >= 8)


# --- waiting, timing -------------------------------------------------------------------------------------------------


def synchronize(device: Any = None) -> None:
    """Wait until a GPU, by default the current one, has done what was asked of it so far.

    Raises:
        DeviceError: there is no such GPU.
    """
    accelerator.wait_for(accelerator.device_of("cuda", device))


class Event:
    """A moment in a GPU's work. Recording one waits for the GPU.

    Args:
        enable_timing, blocking, interprocess, external: without effect.
    """

    def __init__(self, enable_timing: bool = False, blocking: bool = False, interprocess: bool = False, external: bool = False):
        self.time: float | None = None

    def record(self, stream: Any = None) -> None:
        """Note the time at which all work so far is done."""
        synchronize()
        self.time = time.perf_counter()

    def elapsed_time(self, end_event: Event) -> float:
        """Milliseconds from this event to another.

        Raises:
            DeviceError: one of the two was not recorded.
        """
        if self.time is None or end_event.time is None:
            raise DeviceError("Both events must be recorded before calculating elapsed time.")
        return (end_event.time - self.time) * 1e3

    def query(self) -> bool:
        """Whether all work before it is done: `True`."""
        return True

    def wait(self, stream: Any = None) -> None:
        """Without effect."""

    synchronize = wait


class Stream:
    """Without effect: JAX orders the work on a GPU itself.

    Args:
        device: the GPU that `synchronize` waits for.
        priority: without effect.
    """

    def __init__(self, device: Any = None, priority: int = 0, **named: Any):
        self.device = device

    def synchronize(self) -> None:
        """Wait for the GPU."""
        synchronize(self.device)

    def wait_stream(self, stream: Any) -> None:
        """Without effect."""

    def wait_event(self, event: Event) -> None:
        """Without effect."""

    def record_event(self, event: Event | None = None) -> Event:
        """Record an event, by default a new one, and return it."""
        event = event or Event()
        event.record()
        return event

    def query(self) -> bool:
        """Wait for the GPU, and return `True`."""
        self.synchronize()
        return True

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *exception: object) -> None:
        pass


_stream = Stream()


def current_stream(device: Any = None) -> Stream:
    """The one stream."""
    return _stream if device is None else Stream(device)


default_stream = current_stream


def stream(stream: Stream | None) -> Any:
    """A ``with`` block, without effect."""
    return stream or _stream


def set_stream(stream: Stream) -> None:
    """Without effect."""


# --- memory: that of the accelerator, which is the GPU where there is one --------------------------------------------

memory_stats, mem_get_info = accelerator.memory_stats, accelerator.get_memory_info
memory_allocated, max_memory_allocated = accelerator.memory_allocated, accelerator.max_memory_allocated
memory_reserved, max_memory_reserved = accelerator.memory_reserved, accelerator.max_memory_reserved
empty_cache, reset_accumulated_memory_stats = accelerator.empty_cache, accelerator.reset_accumulated_memory_stats
reset_peak_memory_stats = reset_max_memory_allocated = accelerator.reset_peak_memory_stats


def ipc_collect() -> None:
    """Without effect: processes share no arrays here."""


# --- random numbers --------------------------------------------------------------------------------------------------


def manual_seed(seed: int) -> None:
    """Start the default generator again from `seed`."""
    generator.manual_seed(seed)


def seed() -> None:
    """Start the default generator from a random seed."""
    generator.seed()


manual_seed_all, seed_all = manual_seed, seed


def get_rng_state(device: Any = "cuda") -> Tensor:
    """The default generator's state."""
    return generator.get_rng_state()


def get_rng_state_all() -> list[Tensor]:
    """The default generator's state, once for each GPU."""
    return [generator.get_rng_state() for _ in range(device_count())]


def set_rng_state(new_state: Tensor, device: Any = "cuda") -> None:
    """Continue the default generator from a state that `get_rng_state` returned."""
    generator.set_rng_state(new_state)


def set_rng_state_all(new_states: Iterable[Tensor]) -> None:
    """Continue the default generator from the first of the states that `get_rng_state_all` returned, if there is one."""
    for state in list(new_states)[:1]:
        generator.set_rng_state(state)
