"""PyTorch's `torch.accelerator`: which accelerator there is, waiting for it, and its memory. What it asks of JAX, `nr.cuda` asks too."""

from __future__ import annotations

from typing import Any

import jax

from . import devices
from .errors import DeviceError

__all__ = [
    "current_accelerator", "current_device_index", "device_count", "device_index", "empty_cache", "get_memory_info", "is_available", "max_memory_allocated",
    "max_memory_reserved", "memory_allocated", "memory_reserved", "memory_stats", "reset_accumulated_memory_stats", "reset_peak_memory_stats", "set_device_index",
    "set_device_idx", "current_device_idx", "synchronize",
]  # fmt: skip

_TYPES = ("cuda", "tpu", "mps")


def count(kind: str) -> int:
    """How many devices of a type this process has."""
    return len(jax.local_devices(backend=devices.platform(kind))) if devices.is_available(kind) else 0


def device_of(kind: str, device: Any = None) -> Any:
    """The `jax.Device` of a type that is meant by a device, a number, or `None` for the current one.

    Raises:
        DeviceError: there is none.
    """
    where = devices.device(kind, device) if device is None or isinstance(device, int) else devices.device(device)
    if where.type != kind:
        raise DeviceError(f"Expected a {kind} device, but got: {where}")
    return where.jax()


def wait_for(device: Any) -> None:
    """Wait until a `jax.Device` has done what was asked of it so far; it works in order."""
    (jax.device_put(0.0, device) + 0).block_until_ready()


# --- torch.accelerator -----------------------------------------------------------------------------------------------


def current_accelerator(check_available: bool = False) -> devices.device | None:
    """The accelerator that JAX has, without an index, or `None`.

    Args:
        check_available: without effect: what JAX has is available. Default: `False`.

    Examples:
        >>> import neurarust_jax as nr
        >>> device = nr.accelerator.current_accelerator() or nr.device("cpu")
    """
    return next((devices.device(kind) for kind in _TYPES if devices.is_available(kind)), None)


def is_available() -> bool:
    """Whether JAX has an accelerator."""
    return current_accelerator() is not None


def device_count() -> int:
    """How many accelerators this process has."""
    found = current_accelerator()
    return 0 if found is None else count(found.type)


def _kind() -> str:
    found = current_accelerator()
    if found is None:
        raise DeviceError("JAX has no accelerator here, only the CPU; install JAX for CUDA with: pip install 'neurarust_jax[cuda]'")
    return found.type


def current_device_index() -> int:
    """The number of the accelerator that a device without an index means."""
    return devices.chosen_index(_kind())


def set_device_index(device: Any) -> None:
    """Choose the accelerator that a device without an index means.

    Args:
        device: its number, or a device. A negative number changes nothing.
    """
    if not isinstance(device, int) or device >= 0:
        kind = _kind()
        devices.choose_index(kind, device_of(kind, device))


class device_index:  # noqa: N801 (PyTorch's name)
    """A ``with`` block in which a device without an index means another accelerator.

    Args:
        device: its number, or a device; `None` or a negative number changes nothing.

    Raises:
        DeviceError: there is no such accelerator.
    """

    def __init__(self, device: Any):
        self.chosen = None if device is None or isinstance(device, int) and device < 0 else device

    def __enter__(self) -> None:
        if self.chosen is not None:
            self.before = current_device_index()
            set_device_index(self.chosen)

    def __exit__(self, *exception: object) -> None:
        if self.chosen is not None:
            set_device_index(self.before)


def synchronize(device: Any = None) -> None:
    """Wait until an accelerator, by default the current one, has done what was asked of it so far."""
    wait_for(device_of(_kind(), device))


def empty_cache() -> None:
    """Without effect: JAX keeps the memory that it took from the system, for its own further use."""


def memory_stats(device: Any = None) -> dict[str, int]:
    """What is known of an accelerator's memory, in bytes, under PyTorch's names; empty where there is none."""
    found = device_of(_kind(), device).memory_stats() or {} if is_available() else {}
    names = {
        "allocated_bytes.all.current": "bytes_in_use", "allocated_bytes.all.peak": "peak_bytes_in_use", "allocation.all.allocated": "num_allocs",
        "reserved_bytes.all.current": "pool_bytes", "reserved_bytes.all.peak": "peak_pool_bytes",
    }  # fmt: skip
    return {name: int(found[theirs]) for name, theirs in names.items() if theirs in found}


def memory_allocated(device: Any = None) -> int:
    """Bytes that arrays and running programs take on an accelerator."""
    return memory_stats(device).get("allocated_bytes.all.current", 0)


def max_memory_allocated(device: Any = None) -> int:
    """The most bytes that were ever taken at once on an accelerator."""
    return memory_stats(device).get("allocated_bytes.all.peak", 0)


def memory_reserved(device: Any = None) -> int:
    """Bytes that JAX has taken from the system on an accelerator."""
    return memory_stats(device).get("reserved_bytes.all.current", 0)


def max_memory_reserved(device: Any = None) -> int:
    """The most bytes that JAX had taken from the system on an accelerator."""
    return memory_stats(device).get("reserved_bytes.all.peak", 0)


def get_memory_info(device: Any = None) -> tuple[int, int]:
    """(free, all) bytes that JAX may use on an accelerator."""
    found = device_of(_kind(), device).memory_stats() or {}
    limit = int(found.get("bytes_limit", 0))
    return limit - int(found.get("bytes_in_use", 0)), limit


def reset_peak_memory_stats(device: Any = None) -> None:
    """Without effect: JAX counts the most bytes in use from the start of the process."""


def reset_accumulated_memory_stats(device: Any = None) -> None:
    """Without effect: JAX counts from the start of the process."""


current_device_idx, set_device_idx = current_device_index, set_device_index
