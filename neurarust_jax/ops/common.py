"""What ops share: promotion, broadcasting and dimension checks, with PyTorch's messages. Runs while an op is compiled, never per call."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from .. import dtypes
from ..dispatch import _ALIASES
from ..errors import ArgumentError, ArgumentTypeError, DtypeError, IndexOutOfRangeError, IndexTensorError, ShapeError
from ..tensor import Tensor


def broadcast_shapes(*shapes: tuple[int, ...]) -> tuple[int, ...]:
    """The common shape, or PyTorch's error that names the first dimension that does not fit."""
    result: list[int] = []
    for shape in shapes:
        shape = tuple(shape)
        if len(shape) > len(result):
            result = [1] * (len(shape) - len(result)) + result
        for i in range(1, len(shape) + 1):
            have, new = result[-i], shape[-i]
            if have != new and have != 1 and new != 1:
                raise ShapeError(
                    f"The size of tensor a ({have}) must match the size of tensor b ({new}) at non-singleton dimension {len(result) - i}: "
                    f"shapes {', '.join(str(tuple(s)) for s in shapes)} do not broadcast. Reshape one so that the sizes agree or are 1."
                )
            if have == 1:
                result[-i] = new
    return tuple(result)


def shape_of(x: Any) -> tuple[int, ...]:
    """The shape of an array; that of a number is ()."""
    return tuple(getattr(x, "shape", ()))


def cast(x: Any, dtype: Any) -> Array:
    """`x` with exactly that dtype, never weakly typed. Floats become integers by truncation, complex numbers real by their real part."""
    dtype = np.dtype(dtype)
    x = jnp.asarray(x)
    if x.dtype.kind == "c" and dtype.kind not in "cb":
        x = x.real
    if dtype.kind == "b" and x.dtype.kind != "b":
        return x != 0
    return lax.convert_element_type(x, dtype)


def promote(*operands: Any) -> tuple[Any, ...]:
    """The operands with the dtype that PyTorch's promotion gives them together; their shapes must broadcast."""
    broadcast_shapes(*map(shape_of, operands))
    dtype = dtypes.result_numpy_dtype(*operands)
    return tuple(cast(x, dtype) for x in operands)


def promote_to_float(*operands: Any) -> tuple[Any, ...]:
    """As `promote`; integers and booleans become the default dtype."""
    broadcast_shapes(*map(shape_of, operands))
    dtype = float_dtype(dtypes.result_numpy_dtype(*operands))
    return tuple(cast(x, dtype) for x in operands)


def float_dtype(dtype: Any) -> np.dtype:
    """`dtype`, or the default dtype for an integer or boolean one."""
    dtype = np.dtype(dtype)
    return dtypes.get_default_dtype().dtype if dtype.kind in "biu" else dtype


def strong(x: Any) -> Array:
    """`x` as an array with a dtype by PyTorch's defaults: a Python number becomes int64 or the default dtype."""
    return cast(x, dtypes.result_numpy_dtype(x))


def floating(x: Any) -> Array:
    """`x` as a floating-point or complex array; integers and booleans become the default dtype."""
    return cast(x, float_dtype(dtypes.result_numpy_dtype(x)))


def numpy_dtype(dtype: Any, otherwise: Any = None) -> np.dtype:
    """The NumPy dtype of an optional `dtype` argument."""
    return np.dtype(otherwise) if dtype is None else dtypes.as_dtype(dtype).dtype


def is_inexact(x: Array) -> bool:
    """Whether the dtype is floating-point or complex."""
    return jnp.issubdtype(x.dtype, jnp.inexact)


def refuse(x: Array, kinds: str, function: str) -> None:
    """Raise PyTorch's error if the dtype of `x` is of one of NumPy's kinds `b i u f c`."""
    if x.dtype.kind in kinds:
        raise DtypeError(f'"{function}" not implemented for {dtypes.from_numpy(x.dtype)}; convert with .to(dtype)')


def wrap_dim(dim: int, ndim: int, what: str = "Dimension") -> int:
    """A dimension counted from the front. A 0-d tensor has the dimensions 0 and -1, as in PyTorch."""
    span = max(ndim, 1)
    if isinstance(dim, bool) or not isinstance(dim, int):
        raise ArgumentError(f"a dimension is an int, got {dim!r}")
    if not -span <= dim < span:
        raise IndexOutOfRangeError(f"{what} out of range (expected to be in range of [{-span}, {span - 1}], but got {dim})")
    return dim % span


def wrap_dims(dim: int | tuple[int, ...] | None, ndim: int, empty_is_all: bool = True) -> tuple[int, ...]:
    """Dimensions counted from the front; `None`, and by default `()`, mean all."""
    if dim is None or (dim == () and empty_is_all):
        return tuple(range(ndim))
    dims = tuple(wrap_dim(d, ndim) for d in (dim if isinstance(dim, tuple) else (dim,)))
    if len(set(dims)) != len(dims):
        raise ShapeError(f"dim appears multiple times in the list of dims: {dim}")
    return tuple(d for d in dims if ndim)


def numpy_names(function: Callable) -> Callable:
    """For a plain public function what the dispatcher does for an op: it takes `axis` for `dim` and refuses `out=`."""
    aliases = {_ALIASES[name]: name for name in function.__code__.co_varnames[: function.__code__.co_argcount] if name in _ALIASES}

    @functools.wraps(function)
    def public(*arguments: Any, **named: Any) -> Any:
        if named:
            for alias in aliases.keys() & named.keys():
                named[aliases[alias]] = named.pop(alias)
            if named.pop("out", None) is not None:
                name = function.__name__
                raise ArgumentTypeError(f"{name}() takes no out=: a Tensor's value never changes here. Write instead:  out = nr.{name}(...)")
        return function(*arguments, **named)

    return public


_known_bounds: dict[int, tuple[Any, tuple[int, int]]] = {}  # of index arrays seen lately, which often come again


def _bounds(array: Any) -> tuple[int, int]:
    """The least and the greatest element of an array of integers; a `jax.Array` never changes, so they are kept."""
    known = _known_bounds.get(id(array))
    if known is not None and known[0]() is array:
        return known[1]
    values = np.asarray(array)
    found = int(np.minimum.reduce(values, None)), int(np.maximum.reduce(values, None))
    if isinstance(array, jax.Array):
        if len(_known_bounds) >= 64:
            _known_bounds.clear()
        _known_bounds[id(array)] = weakref.ref(array), found
    return found


def check_indices(function: str, index: Any, size: int, dim: int | None = None, negative: bool = False) -> None:
    """Raise PyTorch's error if an index array points outside a dimension. Looked at only where that is cheap: concrete, in the CPU's memory.

    Args:
        function: the name for the message.
        index: a tensor or array of integers.
        size: the length of the dimension.
        dim: the dimension, `None` for the flattened tensor.
        negative: whether -1 means the last element.
    """
    value = index._value if isinstance(index, Tensor) else index
    if isinstance(value, jax.core.Tracer) or not hasattr(value, "dtype") or not value.size:
        return
    if isinstance(value, jax.Array) and next(iter(value.devices())).platform != "cpu":
        return
    if value.dtype.kind not in "iu":
        return
    (low, high), least = _bounds(value), -size if negative else 0
    if low < least or high >= size:
        where = "the flattened tensor" if dim is None else f"dimension {dim}"
        outside = low if low < least else high
        raise IndexTensorError(f"{function}(): index {outside} is out of bounds for {where} with size {size}; valid are {least} to {size - 1}")
