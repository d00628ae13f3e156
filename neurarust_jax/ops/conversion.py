"""Changing a tensor's dtype and device, and asking about dtypes."""

from typing import Any

import jax
import ml_dtypes
import numpy as np

from .. import devices, dtypes
from ..dispatch import Array, op
from ..errors import ArgumentTypeError
from ..tensor import Tensor, array_from, attach, wrap
from .common import cast

__all__ = ["can_cast", "finfo", "iinfo", "promote_types", "result_type", "get_default_dtype", "set_default_dtype"]

promote_types, get_default_dtype, set_default_dtype = dtypes.promote_types, dtypes.get_default_dtype, dtypes.set_default_dtype


@op(name="_convert", method=False, linear=True)
def _convert(input: Array, dtype: dtypes.dtype) -> Array:
    """`input` with another dtype."""
    return cast(input, dtype.dtype)


def _to_dtype(input: Tensor, dtype: Any) -> Tensor:
    chosen = dtypes.as_dtype(dtype)
    return input if input._value.dtype == chosen.dtype else _convert(input, chosen)


def _to(self: Tensor, *arguments: Any, dtype: Any = None, device: Any = None, non_blocking: bool = False, copy: bool = False, memory_format: Any = None, other: Any = None) -> Tensor:
    """The tensor with another dtype, on another device, or both; itself if it has them already.

    Args:
        *arguments: a dtype, a device, a device and a dtype, or another tensor whose both are taken.
        dtype: the dtype wanted.
        device: a device (`"cpu"`, `"cuda:0"`, `nr.device`, `jax.Device`) or a `jax.sharding.Sharding`. Inside a transformation it has no
            effect: the whole computation runs where its inputs are.
        non_blocking: without effect: JAX never blocks.
        copy: a new tensor in any case.

    Raises:
        DeviceError: there is no such device.
    """
    for argument in arguments:
        if isinstance(argument, Tensor):
            other = argument
        elif isinstance(argument, bool):
            continue  # non_blocking, copy
        elif _is_device(argument):
            device = argument
        elif argument is not None:
            dtype = argument
    if other is not None:
        dtype = other.dtype
        device = None if isinstance(other._value, jax.core.Tracer) else other._value.sharding
    result = self if dtype is None else _to_dtype(self, dtype)
    if device is not None and not isinstance(result._value, jax.core.Tracer):
        result = _to_device(result, device)
    return result.clone() if copy and result is self else result


def _is_device(x: Any) -> bool:
    if isinstance(x, devices.device | jax.Device | jax.sharding.Sharding | int):
        return True
    if isinstance(x, str):
        return x not in dtypes._NAMES
    return type(x).__module__ == "torch" and type(x).__name__ == "device"


def _to_device(input: Tensor, device: Any) -> Tensor:
    moved = devices.put(input._value, device)
    if moved is input._value:
        return input
    if input._node is None:
        return wrap(moved)
    carried = _convert(input, input.dtype)  # a recorded identity; its gradient comes back over the same way
    carried._value = moved
    return carried


def _cpu(self: Tensor, memory_format: Any = None) -> Tensor:
    """The tensor in the CPU's memory."""
    return self.to(device="cpu")


def _cuda(self: Tensor, device: Any = None, non_blocking: bool = False, memory_format: Any = None) -> Tensor:
    """The tensor on a GPU, by default the first."""
    return self.to(device="cuda" if device is None else device)


LEGACY_TYPES = {"Float": "float32", "Double": "float64", "Half": "float16", "BFloat16": "bfloat16", "Long": "int64", "Int": "int32", "Short": "int16", "Char": "int8", "Byte": "uint8", "Bool": "bool"}
_LEGACY_NAMES = {v: k for k, v in LEGACY_TYPES.items()}


def _type(self: Tensor, dtype: Any = None, non_blocking: bool = False) -> Any:
    """Without an argument the name of the tensor's type, such as `"torch.FloatTensor"` in PyTorch; else the tensor with that dtype."""
    if dtype is None:
        return f"neurarust_jax.{_LEGACY_NAMES.get(self.dtype.name, self.dtype.name)}Tensor"
    if isinstance(dtype, str) and dtype.endswith("Tensor"):
        dtype = LEGACY_TYPES[dtype.rpartition(".")[2].removesuffix("Tensor")]
    elif isinstance(dtype, type):  # `nr.FloatTensor`
        dtype = getattr(dtype, "dtype", dtype)
    return _to_dtype(self, dtype)


def _type_as(self: Tensor, other: Tensor) -> Tensor:
    """The tensor with the dtype of another."""
    return _to_dtype(self, other.dtype)


for _name, _method in {"to": _to, "cpu": _cpu, "cuda": _cuda, "type": _type, "type_as": _type_as}.items():
    attach(_name, _method)

for _name, _dtype in {
    "float": dtypes.float32, "double": dtypes.float64, "half": dtypes.float16, "bfloat16": dtypes.bfloat16, "long": dtypes.int64, "int": dtypes.int32,
    "short": dtypes.int16, "char": dtypes.int8, "byte": dtypes.uint8, "bool": dtypes.bool_, "cfloat": dtypes.complex64, "cdouble": dtypes.complex128,
}.items():  # fmt: skip

    def _named(self: Tensor, memory_format: Any = None, *, _dtype=_dtype) -> Tensor:
        return _to_dtype(self, _dtype)

    _named.__name__, _named.__doc__ = _name, f"The tensor as {_dtype.name}."
    attach(_name, _named)


# --- about dtypes --------------------------------------------------------------------------------------------------


def result_type(tensor1: Any, tensor2: Any) -> dtypes.dtype:
    """The dtype of an operation between the two, by PyTorch's promotion; tensors or numbers.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.result_type(nr.tensor([1, 2], dtype=nr.int8), 1.0)
        neurarust_jax.float32
    """
    operands = [x._value if isinstance(x, Tensor) else x if isinstance(x, bool | int | float | complex) else array_from(x) for x in (tensor1, tensor2)]
    return dtypes.from_numpy(dtypes.result_numpy_dtype(*operands))


def can_cast(from_: Any, to: Any) -> bool:
    """Whether PyTorch's rules allow the conversion in an in-place operation: not to a lower category, nor from signed to unsigned."""
    from_, to = dtypes.as_dtype(from_), dtypes.as_dtype(to)
    ranks = dtypes._category(from_.dtype), dtypes._category(to.dtype)
    return ranks[0] <= ranks[1]


class finfo:  # noqa: N801
    """The numeric limits of a floating-point dtype.

    Attributes:
        bits: the width.
        eps: the distance from 1 to the next number.
        max, min: the greatest and least number.
        tiny, smallest_normal: the least positive normal number.
        resolution: the approximate decimal resolution.
    """

    def __init__(self, type: Any = None):
        self.type = dtypes.as_dtype(type or dtypes.get_default_dtype()).to_real()
        if not self.type.is_floating_point:
            raise ArgumentTypeError(f"torch.finfo() requires a floating point input type, got {type!r}. Use nr.iinfo to handle integers")
        limits = ml_dtypes.finfo(self.type.dtype)
        self.bits, self.dtype = limits.bits, self.type.name
        self.eps, self.max, self.min = float(limits.eps), float(limits.max), float(limits.min)
        self.tiny = self.smallest_normal = float(limits.smallest_normal)
        self.resolution = float(limits.resolution)

    def __repr__(self) -> str:
        return (
            f"finfo(resolution={self.resolution:g}, min={self.min:g}, max={self.max:g}, eps={self.eps:g}, smallest_normal={self.smallest_normal:g}, "
            f"tiny={self.tiny:g}, dtype={self.dtype})"
        )


class iinfo:  # noqa: N801
    """The limits of an integer dtype.

    Attributes:
        bits: the width.
        max, min: the greatest and least number.
    """

    def __init__(self, type: Any):
        chosen = dtypes.as_dtype(type)
        if chosen.dtype.kind not in "iu":
            raise ArgumentTypeError(f"torch.iinfo() requires an integer input type, got {type!r}. Use nr.finfo to handle floating point numbers")
        limits = np.iinfo(chosen.dtype)
        self.bits, self.max, self.min, self.dtype = limits.bits, int(limits.max), int(limits.min), chosen.name

    def __repr__(self) -> str:
        return f"iinfo(min={self.min}, max={self.max}, dtype={self.dtype})"

