"""`x[...]`, `x.at[...]`, writing to cells by index, and the one-argument form of `where`.

An index is split into a static pattern, which is compiled, and dynamic parts: ints, the starts of unit-step slices, and index arrays. So a
loop over `x[i]` or over `x[i : i + n]` compiles once.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from .. import dtypes
from ..dispatch import Array, Kernel, call
from ..errors import IndexOutOfRangeError, ShapeError, TracedValueError
from ..tensor import Tensor, array_from, attach
from .common import broadcast_shapes, cast, check_indices, strong
from .elementwise import where as _where

__all__ = ["where"]

# --- reading -------------------------------------------------------------------------------------------------------
# pattern elements: "int" (dynamic position), ("slice", length) from a dynamic start, ("step", start, stop, step), "none", ":", "array"

_KERNELS: dict[Any, Kernel] = {}
dtypes._on_default_change.append(_KERNELS.clear)


def getitem(self: Tensor, index: Any) -> Tensor:
    """Elements of the tensor, by every index that PyTorch takes: ints, slices, `None`, `...`, boolean masks, integer arrays, and tuples of them.

    Raises:
        IndexError: an index lies outside its dimension, or there are more than dimensions.
        TracedValueError: a boolean mask inside a transformation, where the size of the result is unknown.
    """
    if type(index) is int:  # the most usual one, without the analysis
        shape = self._value.shape
        if not shape:
            raise IndexOutOfRangeError("invalid index of a 0-dim tensor. Use `tensor.item()` to convert it to a number")
        length = shape[0]
        if not -length <= index < length:
            raise _out_of_range(index, 0, length)
        return call(_ROW, (self, index))
    pattern, dynamic = _analyze(self, index)
    kernel = _KERNELS.get(pattern)
    if kernel is None:
        kernel = _KERNELS[pattern] = Kernel("getitem", _reader(pattern), linear=True, fixed={"pattern": pattern})
    return call(kernel, (self, *dynamic))


def _row(x: Array, index) -> Array:
    return lax.dynamic_index_in_dim(strong(x), index, 0, keepdims=False)


_ROW = Kernel("getitem", _row, linear=True, fixed={"pattern": ("int",)})


def _out_of_range(index: int, dim: int, length: int) -> IndexOutOfRangeError:
    return IndexOutOfRangeError(f"index {index} is out of bounds for dimension {dim} with size {length}; valid are {-length} to {length - 1}")


def _analyze(tensor: Tensor, index: Any) -> tuple[tuple[Any, ...], list[Any]]:
    """The static pattern and the dynamic parts of an index."""
    shape = tensor._value.shape
    parts = list(index) if isinstance(index, tuple) else [index]
    parts = [_as_index(part) for part in parts]
    consumed = sum(_dims_of(part) for part in parts)
    ellipses = sum(part is Ellipsis for part in parts)
    if ellipses > 1:
        raise IndexOutOfRangeError("an index can only have a single ellipsis ('...')")
    if consumed > len(shape):
        raise IndexOutOfRangeError(f"too many indices for tensor of dimension {len(shape)}: got {consumed}, the tensor's shape is {tuple(shape)}")
    if not ellipses:
        parts.append(Ellipsis)
    pattern: list[Any] = []
    dynamic: list[Any] = []
    dim = 0
    for part in parts:
        if part is Ellipsis:
            rest = len(shape) - consumed
            pattern.extend([":"] * rest)
            dim += rest
        elif part is None:
            pattern.append("none")
        elif isinstance(part, slice):
            dim += _analyze_slice(part, dim, shape[dim], pattern, dynamic)
        elif isinstance(part, bool):
            pattern.append(("bool", part))
        elif isinstance(part, int):
            if not -shape[dim] <= part < shape[dim]:
                raise _out_of_range(part, dim, shape[dim])
            pattern.append("int")
            dynamic.append(part)
            dim += 1
        elif part.dtype == np.bool_:
            for coordinate in _nonzero(part, dim, shape):
                pattern.append("array")
                dynamic.append(coordinate)
            dim += part.ndim
        else:
            check_indices("index", part, shape[dim], dim, negative=True)
            pattern.append("array")
            dynamic.append(part)
            dim += 1
    return tuple(pattern), dynamic


def _as_index(part: Any) -> Any:
    """One element of an index as an int, slice, `None`, `...`, bool, or an array."""
    if part is None or part is Ellipsis or isinstance(part, slice | bool | int):
        return part
    if isinstance(part, Tensor):
        value = part._value
        if value.dtype == np.uint8:
            value = value != 0
        if value.dtype == np.bool_ and value.ndim == 0 and not isinstance(value, jax.core.Tracer):
            return bool(value)
        if value.dtype.kind not in "iub":
            raise IndexOutOfRangeError(f"tensors used as indices must be long, int, byte or bool tensors, got {part.dtype}; write index.long()")
        return value
    if isinstance(part, jax.Array):
        return part
    if isinstance(part, np.bool_):
        return bool(part)
    if isinstance(part, np.integer):
        return int(part)
    if isinstance(part, list | tuple | np.ndarray | range):
        array = np.asarray(part) if not _holds_tensors(part) else array_from(part)
        return array if array.size else array.astype(np.int64)
    if hasattr(part, "__index__"):
        return part.__index__()
    raise IndexOutOfRangeError(
        f"only integers, slices (`:`), ellipsis (`...`), None and long or byte Variables are valid indices (got {type(part).__name__})"
    )


def _holds_tensors(part: Any) -> bool:
    return isinstance(part, list | tuple) and any(isinstance(p, Tensor | jax.Array) or _holds_tensors(p) for p in part)


def _dims_of(part: Any) -> int:
    if part is None or part is Ellipsis or isinstance(part, bool):
        return 0
    if isinstance(part, slice | int):
        return 1
    return part.ndim if part.dtype == np.bool_ else 1


def _analyze_slice(part: slice, dim: int, length: int, pattern: list[Any], dynamic: list[Any]) -> int:
    bounds = [None if b is None else b if isinstance(b, int) or jax.export.is_symbolic_dim(b) else int(b) for b in (part.start, part.stop, part.step)]
    step = 1 if bounds[2] is None else bounds[2]
    if step <= 0:
        raise IndexOutOfRangeError(f"step must be greater than zero, got {step}; write x.flip({dim}) to reverse a dimension")
    if any(map(jax.export.is_symbolic_dim, (length, *bounds))):
        return _analyze_symbolic_slice(bounds[0], bounds[1], step, length, pattern, dynamic)
    start, stop, _ = slice(bounds[0], bounds[1]).indices(length)
    if start == 0 and stop == length and step == 1:
        pattern.append(":")
    elif step == 1:
        pattern.append(("slice", max(stop - start, 0)))
        dynamic.append(min(start, length))
    else:
        pattern.append(("step", start, max(stop, start), step))
    return 1


def _analyze_symbolic_slice(start: Any, stop: Any, step: int, length: Any, pattern: list[Any], dynamic: list[Any]) -> int:
    """The same where a bound or the length is a symbol, as when a model is exported for any length."""
    start, stop = 0 if start is None else _clamped(start, length), length if stop is None else _clamped(stop, length)
    if start == 0 and stop == length and step == 1:
        pattern.append(":")
    elif step == 1:
        pattern.append(("slice", jax.core.max_dim(stop - start, 0)))
        dynamic.append(start)
    else:
        pattern.append(("step", start, jax.core.max_dim(stop, start), step))
    return 1


def _clamped(bound: Any, length: Any) -> Any:
    """A bound of a slice as a place from 0 to `length`."""
    negative = bound < 0 if isinstance(bound, int) else jax.core.max_dim(bound, 0) == 0  # a symbol counts as positive unless it cannot be
    return jax.core.max_dim(bound + length, 0) if negative else jax.core.min_dim(bound, length)


def _nonzero(mask: Any, dim: int, shape: tuple[int, ...]) -> tuple[np.ndarray, ...]:
    """Where a boolean mask holds: an index array for each of its dimensions."""
    covered = tuple(shape[dim : dim + mask.ndim])
    if tuple(mask.shape) != covered:
        raise IndexOutOfRangeError(f"The shape of the mask {tuple(mask.shape)} at index {dim} does not match the shape of the indexed tensor {tuple(shape)}")
    if isinstance(mask, jax.core.Tracer):
        raise TracedValueError(
            f"x[mask] with a boolean mask of shape {tuple(mask.shape)} has a size that is unknown inside nr.jit and other transformations. "
            "Write nr.where(mask, x, 0), or x[nr.nonzero(mask, size=n, as_tuple=True)]."
        )
    return np.nonzero(np.asarray(mask))


def _reader(pattern: tuple[Any, ...]):
    def read(x: Array, *dynamic) -> Array:
        x, key = _take_basic(strong(x), pattern, dynamic)
        return x if key is None else x.at[key].get(mode="clip", wrap_negative_indices=True)

    return read


def _take_basic(x: Array, pattern: tuple[Any, ...], dynamic: Any) -> tuple[Array, tuple[Any, ...] | None]:
    """`x` after the ints, slices and new dimensions, as PyTorch takes them first, and the key of index arrays that remains."""
    left = iter(dynamic)
    key: list[Any] = []
    for part in pattern:
        dim = len(key)
        if part == "int":
            x = lax.dynamic_index_in_dim(x, next(left), dim, keepdims=False)
            continue
        if part == "none":
            x = lax.expand_dims(x, (dim,))
        elif part == "array":
            key.append(next(left))
            continue
        elif part[0] == "slice":
            x = lax.dynamic_slice_in_dim(x, next(left), part[1], dim)
        elif part[0] == "step":
            x = lax.slice_in_dim(x, part[1], part[2], part[3], dim)
        elif part[0] == "bool":  # a new dimension of length 1 or 0
            x = lax.expand_dims(x, (dim,))
            key.append(np.zeros((int(part[1]),), np.int64))
            continue
        key.append(slice(None))
    return x, None if all(isinstance(k, slice) for k in key) else tuple(key)


# --- writing -------------------------------------------------------------------------------------------------------

_COMBINE = {
    "set": lambda old, new: new,
    "add": jnp.add,
    "multiply": jnp.multiply,
    "divide": jnp.divide,
    "power": jnp.power,
    "min": jnp.minimum,
    "max": jnp.maximum,
}


def _writer(pattern: tuple[Any, ...], how: str):
    """The op that gives a copy of `x` with `value` put at the index."""
    read = _reader(pattern)

    def write(x: Array, value, *dynamic) -> Array:
        x = strong(x)
        shape = jax.eval_shape(read, x, *dynamic).shape
        value = cast(value, x.dtype)
        while value.ndim > len(shape) and value.shape[0] == 1:
            value = value[0]
        if broadcast_shapes(shape, value.shape) != tuple(shape):
            raise ShapeError(f"shape mismatch: value tensor of shape {value.shape} cannot be broadcast to indexing result of shape {tuple(shape)}")
        value = jnp.broadcast_to(value, shape)
        if all(part in (":", "array") for part in pattern):
            left = iter(dynamic)
            key = tuple(slice(None) if part == ":" else next(left) for part in pattern)
            return getattr(x.at[key], how)(value, mode="drop")
        if all(part in (":", "int", "none") or part[0] == "slice" for part in pattern):
            return _write_window(x, value, pattern, dynamic, how)
        places = read(jnp.arange(x.size, dtype=np.int64).reshape(x.shape), *dynamic)
        return getattr(x.reshape(-1).at[places], how)(value).reshape(x.shape)

    return write


def _write_window(x: Array, value: Array, pattern: tuple[Any, ...], dynamic: Any, how: str) -> Array:
    left = iter(dynamic)
    starts, window = [], []
    for part in pattern:
        if part == "none":
            continue
        length = x.shape[len(starts)]
        starts.append(np.int64(0) if part == ":" else jnp.asarray(next(left), np.int64))
        window.append(length if part == ":" else 1 if part == "int" else part[1])
    starts = [jnp.where(s < 0, s + length, s) for s, length in zip(starts, x.shape, strict=True)]
    value = value.reshape(window)
    if how != "set":
        value = _COMBINE[how](lax.dynamic_slice(x, starts, window), value)
    return lax.dynamic_update_slice(x, value, starts)


def update(tensor: Tensor, index: Any, value: Any, how: str) -> Tensor:
    pattern, dynamic = _analyze(tensor, index)
    kernel = _KERNELS.get((pattern, how))
    if kernel is None:
        kernel = _KERNELS[pattern, how] = Kernel(f"index_{how}", _writer(pattern, how), linear=how in ("set", "add"))
    return call(kernel, (tensor, value, *dynamic))


class _At:
    """`x.at`: gives `x.at[index].set(value)` and its kin, the way to a changed copy of a tensor."""

    __slots__ = ("tensor",)

    def __init__(self, tensor: Tensor):
        self.tensor = tensor

    def __getitem__(self, index: Any) -> "_AtIndex":
        return _AtIndex(self.tensor, index)


class _AtIndex:
    __slots__ = ("tensor", "index")

    def __init__(self, tensor: Tensor, index: Any):
        self.tensor, self.index = tensor, index

    def get(self) -> Tensor:
        """``x[index]``"""
        return getitem(self.tensor, self.index)

    def set(self, value: Any) -> Tensor:
        """A copy of the tensor with `value` at the index."""
        return update(self.tensor, self.index, value, "set")

    def add(self, value: Any) -> Tensor:
        """A copy with `value` added at the index; positions that occur several times add up."""
        return update(self.tensor, self.index, value, "add")

    def multiply(self, value: Any) -> Tensor:
        """A copy with the elements at the index multiplied by `value`."""
        return update(self.tensor, self.index, value, "multiply")

    mul = multiply

    def divide(self, value: Any) -> Tensor:
        """A copy with the elements at the index divided by `value`."""
        return update(self.tensor, self.index, value, "divide")

    def power(self, value: Any) -> Tensor:
        """A copy with the elements at the index raised to the power `value`."""
        return update(self.tensor, self.index, value, "power")

    def min(self, value: Any) -> Tensor:
        """A copy with the lesser of element and `value` at the index."""
        return update(self.tensor, self.index, value, "min")

    def max(self, value: Any) -> Tensor:
        """A copy with the greater of element and `value` at the index."""
        return update(self.tensor, self.index, value, "max")

    def apply(self, function: Any) -> Tensor:
        """A copy with `function` of the elements at the index in their place."""
        return self.set(function(self.get()))


attach("__getitem__", getitem)
attach("at", property(_At, doc="`x.at[index].set(value)`, `.add`, `.multiply` ...: a changed copy of the tensor, as in JAX."))


# --- where ---------------------------------------------------------------------------------------------------------


def where(condition: Any, input: Any = None, other: Any = None, *, size: int | None = None, fill_value: Any = None) -> Any:
    """`input` where `condition` holds and `other` elsewhere; or, with the condition alone, the indices where it holds.

    Args:
        condition: a bool tensor.
        input, other: tensors or numbers that broadcast with it.
        size, fill_value: for the one-argument form inside a transformation, as in `nonzero`.

    Returns:
        A tensor of the broadcast shape and the promoted dtype; with one argument a tuple of index tensors, one for each dimension.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.where(nr.tensor([True, False]), 1.0, nr.zeros(2))
        tensor([1., 0.])
    """
    if input is None and other is None:
        from .scatter import nonzero

        return nonzero(condition, as_tuple=True, size=size, fill_value=fill_value)
    return _where(condition, input, other)


attach("where", lambda self, condition, other: _where(condition, self, other))

