"""`nr.device`: PyTorch's names for JAX's devices, and moving arrays between them.

Where no device is named, new tensors go where JAX puts them: the first accelerator if there is one, else the CPU.
"""

from __future__ import annotations

import threading
from typing import Any

import jax

from .errors import ArgumentTypeError, DeviceError

_PLATFORMS = {"cpu": "cpu", "cuda": "gpu", "gpu": "gpu", "rocm": "gpu", "tpu": "tpu", "METAL": "METAL", "mps": "METAL"}
_NAMES = {"cpu": "cpu", "gpu": "cuda", "cuda": "cuda", "rocm": "cuda", "tpu": "tpu", "METAL": "mps"}


class _Thread(threading.local):
    """What the blocks `with nr.device(...):` that this thread is in are to undo, the innermost last."""

    def __init__(self):
        self.entered: list[Any] = []


_thread = _Thread()
_chosen: dict[str, int] = {}  # for each type the number of the device that is meant where no number is named


class device:  # noqa: N801 (PyTorch's name)
    """A device that holds tensors: `"cpu"`, `"cuda"`, `"cuda:1"`, `"tpu"`, or a `jax.Device`.

    In a ``with`` block it is the device that new tensors go to, in this thread. What is computed from tensors that lie on no device by name, that is
    without `device=` or `to`, goes there as well.

    Args:
        type: the device's name, with or without an index, another `device`, or a `jax.Device`.
        index: which of the devices of that type.

    Attributes:
        type: `"cpu"`, `"cuda"`, `"tpu"` or another platform name.
        index: the number of the device, or `None` for the first.

    Raises:
        DeviceError: when tensors are moved there and JAX has no such device.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.device("cuda:1"), nr.device("cpu").type
        (device(type='cuda', index=1), 'cpu')
    """

    __slots__ = ("type", "index")

    def __init__(self, type: Any, index: int | None = None):  # noqa: A002 (PyTorch's name)
        if isinstance(type, device):
            type, index = type.type, type.index if index is None else index
        elif isinstance(type, jax.Device):
            type, index = _NAMES.get(type.platform, type.platform), type.id if type.platform != "cpu" or type.id else None
        elif isinstance(type, int):
            type, index = "cuda", type
        elif isinstance(type, str):
            name, _, number = type.partition(":")
            if number:
                if index is not None or not number.isdigit():
                    raise ArgumentTypeError(f"cannot read the device {type!r}; write 'cpu', 'cuda', 'cuda:0' or 'tpu'")
                index = int(number)
            type = {"gpu": "cuda"}.get(name, name)
            if name not in _PLATFORMS:
                raise DeviceError(f"unknown device type {name!r} in {type!r}; expected one of 'cpu', 'cuda', 'tpu'")
        elif str(type).startswith(("cpu", "cuda")):  # a torch.device
            type, _, number = str(type).partition(":")
            index = int(number) if number else index
        else:
            raise ArgumentTypeError(f"expected a device such as 'cpu' or 'cuda:0', got {type!r}")
        self.type: str = type
        self.index: int | None = index

    def jax(self) -> Any:
        """The `jax.Device` meant.

        Raises:
            DeviceError: JAX has no such device.
        """
        try:
            found = jax.local_devices(backend=platform(self.type))
        except RuntimeError:
            found = []
        index = _chosen.get(self.type, 0) if self.index is None else self.index
        if index >= len(found):
            have = ", ".join(str(device(d)) for d in jax.devices())
            extra = "; install JAX for CUDA with: pip install 'neurarust_jax[cuda]'" if self.type == "cuda" and not found else ""
            raise DeviceError(f"no device {str(self)!r} here: JAX has {have}{extra}")
        return found[index]

    def __enter__(self) -> device:
        context = jax.default_device(self.jax())
        context.__enter__()
        _thread.entered.append(context)
        return self

    def __exit__(self, *exception: Any) -> None:
        _thread.entered.pop().__exit__(*exception)

    def __str__(self) -> str:
        return self.type if self.index is None else f"{self.type}:{self.index}"

    def __repr__(self) -> str:
        return f"device(type={self.type!r})" if self.index is None else f"device(type={self.type!r}, index={self.index})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, device):
            return NotImplemented
        return self.type == other.type and self.index == other.index

    def __hash__(self) -> int:
        return hash((self.type, self.index))


def of_array(value: Any) -> device:
    """The device that a concrete array lies on; for a sharded array, its first; for a tracer, JAX's default."""
    if isinstance(value, jax.core.Tracer):
        return default()
    return device(min(value.devices(), key=lambda d: d.id))


def default() -> device:
    """The device that new tensors go to."""
    chosen = jax.config.jax_default_device
    if chosen is None:
        return device(jax.devices()[0])
    return device(chosen)


def set_default_device(device: Any) -> None:  # noqa: A002
    """Set the device that new tensors go to, in all threads.

    Args:
        device: such a device, or what `nr.device` takes; `None` for JAX's own choice, the first accelerator if there is one.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.set_default_device("cpu")
        >>> nr.zeros(1).device.type
        'cpu'
        >>> nr.set_default_device(None)
    """
    jax.config.update("jax_default_device", None if device is None else _device(device).jax())


_device = device


def put(value: Any, where: Any) -> Any:
    """`value` on the device (or `jax.sharding.Sharding`) `where`. An array that was put there already is handed back as it is.

    Any other result has memory of its own: if it shared the old array's, a compiled step that donates one would take the other away too.
    """
    target = where if isinstance(where, jax.sharding.Sharding) else device(where).jax()
    if isinstance(value, jax.core.Tracer):
        return jax.device_put(value, target)
    if isinstance(value, jax.Array) and value.committed and (value.sharding == target if target is where else value.devices() == {target}):
        return value
    return jax.device_put(value, target, may_alias=False)


def chosen_index(type: str) -> int:  # noqa: A002
    """The number of the device that a type without a number means."""
    return _chosen.get(type, 0)


def choose_index(type: str, found: Any) -> None:  # noqa: A002
    """Let a type without a number mean this `jax.Device`."""
    _chosen[type] = jax.local_devices(backend=platform(type)).index(found)


def platform(type: str) -> str:  # noqa: A002
    """JAX's name for a type of device."""
    return _PLATFORMS.get(type, type)


def is_available(type: str) -> bool:  # noqa: A002
    """Whether JAX has a device of that type."""
    try:
        return bool(jax.devices(platform(type)))
    except RuntimeError:
        return False
