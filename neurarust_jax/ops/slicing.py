"""Ops that take parts out of a tensor, and that put parts back: narrow, select, unbind, windows, strides, diagonals, triangles."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from .. import dtypes
from ..dispatch import Array, op
from ..errors import IndexOutOfRangeError, ShapeError
from ..tensor import Tensor, attach
from .common import cast, numpy_names, strong, wrap_dim

__all__ = [
    "narrow", "select", "unbind", "as_strided", "diagonal", "diag", "diag_embed", "diagflat", "tril", "triu", "select_scatter", "slice_scatter",
    "diagonal_scatter", "as_strided_scatter", "narrow_copy", "select_copy", "unbind_copy", "unfold_copy", "as_strided_copy", "diagonal_copy",
    "slice_copy",
]  # fmt: skip

# --- parts ---------------------------------------------------------------------------------------------------------


@op(name="narrow", method=False, linear=True)
def _narrow(input: Array, start: Array | float, dim: int, length: int) -> Array:
    """`length` consecutive places along a dimension."""
    return lax.dynamic_slice_in_dim(strong(input), start, length, dim)


@numpy_names
def narrow(input: Any, dim: int, start: Any, length: int) -> Tensor:
    """The part of the tensor from `start` to `start + length` along `dim`. A loop over `start` compiles once.

    Args:
        input: a tensor.
        dim: the dimension.
        start: the first index, an int or a 0-d integer tensor; negative ones count from the end.
        length: the number of places.

    Raises:
        IndexError: `start` lies outside the dimension.
        RuntimeError: the part reaches beyond the end.
    """
    shape = tuple(input.shape)
    if not shape:
        raise ShapeError("narrow() cannot be applied to a 0-dim tensor.")
    dim, length = wrap_dim(dim, len(shape)), int(length)
    if length < 0:
        raise ShapeError(f"narrow(): length must be non-negative, got {length}")
    start = _position(start, "narrow(): start")
    size = shape[dim]
    if isinstance(start, int):
        if not -size <= start <= size:
            raise IndexOutOfRangeError(f"start out of range (expected to be in range of [{-size}, {size}], but got {start})")
        start = start + size if start < 0 else start
        if start + length > size:
            raise ShapeError(f"start ({start}) + length ({length}) exceeds dimension size ({size}).")
    return _narrow(input, start, dim, length)


def _position(index: Any, what: str) -> Any:
    """An int, or the tracer of one."""
    if isinstance(index, Tensor | jax.Array | np.ndarray):
        value = index._value if isinstance(index, Tensor) else index
        if value.ndim or value.dtype.kind not in "iu":
            raise ShapeError(f"{what} must be a 0-dim integral Tensor, got shape {tuple(value.shape)} of {dtypes.from_numpy(value.dtype)}")
        return value if isinstance(value, jax.core.Tracer) else int(value)
    return index.__index__()


@op(name="select", method=False, linear=True)
def _select(input: Array, index: Array | float, dim: int) -> Array:
    """One place along a dimension, which goes."""
    return lax.dynamic_index_in_dim(strong(input), index, dim, keepdims=False)


@numpy_names
def select(input: Any, dim: int, index: Any) -> Tensor:
    """The part of the tensor at `index` along `dim`, without that dimension. A loop over `index` compiles once.

    Args:
        input: a tensor.
        dim: the dimension.
        index: an int or a 0-d integer tensor; negative ones count from the end.

    Raises:
        IndexError: `index` lies outside the dimension.
    """
    dim, index = position_along(input, dim, index)
    return _select(input, index, dim)


def position_along(input: Any, dim: int, index: Any) -> tuple[int, Any]:
    """The dimension counted from the front, and the index: an int that lies inside, or a tracer."""
    shape = tuple(input.shape)
    if not shape:
        raise IndexOutOfRangeError("select() cannot be applied to a 0-dim tensor.")
    dim, index = wrap_dim(dim, len(shape)), _position(index, "select(): index")
    if isinstance(index, int) and not -shape[dim] <= index < shape[dim]:
        raise IndexOutOfRangeError(f"select(): index {index} out of range for tensor of size {list(shape)} at dimension {dim}")
    return dim, index


attach("narrow", narrow)
attach("narrow_copy", narrow)
attach("select", select)


@op(linear=True)
def unbind(input: Array, dim: int = 0) -> tuple[Array, ...]:
    """All parts of the tensor along `dim`, a tuple of tensors without that dimension."""
    input = strong(input)
    if not input.ndim:
        raise IndexOutOfRangeError("Dimension specified as 0 but tensor has no dimensions")
    dim = wrap_dim(dim, input.ndim)
    return tuple(lax.index_in_dim(input, i, dim, keepdims=False) for i in range(input.shape[dim]))


@op(name="_unfold_along", method="unfold", linear=True)
def _unfold_along(input: Array, dimension: int, size: int, step: int) -> Array:
    """Windows of a dimension: each of `size` places, `step` apart, in a new dimension at the end.

    Args:
        dimension: the dimension that the windows go along.
        size: the length of a window.
        step: the distance from one window's beginning to the next.
    """
    input = strong(input)
    dim = wrap_dim(dimension, input.ndim)
    if not input.ndim:
        input = input.reshape(1)
        squeezed = True
    else:
        squeezed = False
    length = input.shape[dim]
    if size < 0 or step <= 0:
        raise ShapeError(f"unfold needs size >= 0 and step > 0, got size={size} and step={step}")
    if size > length:
        raise ShapeError(f"maximum size for tensor at dimension {dim} is {length} but size is {size}")
    windows = (length - size) // step + 1
    if squeezed:
        return input[:size]
    places = jnp.arange(windows, dtype=np.int32)[:, None] * step + jnp.arange(size, dtype=np.int32)
    return jnp.moveaxis(jnp.take(input, places, dim, mode="clip"), dim + 1, -1)


@op(linear=True)
def as_strided(input: Array, size: tuple[int, ...], stride: tuple[int, ...], storage_offset: int | None = None) -> Array:
    """Element ``storage_offset + sum(index * stride)`` of the flattened tensor at each index of a new shape.

    Args:
        input: a tensor, taken as contiguous.
        size: the shape that comes out.
        stride: for each of its dimensions, how many elements to go on.
        storage_offset: the first element. Default: 0.
    """
    input = strong(input)
    return jnp.ravel(input).at[strided_places(input.size, size, stride, storage_offset)].get(mode="clip")


def strided_places(count: int, size: tuple[int, ...], stride: tuple[int, ...], storage_offset: int | None) -> Array:
    """The position among `count` elements for each index of a strided view."""
    size, stride = (x if isinstance(x, tuple) else (x,) for x in (size, stride))
    offset = storage_offset or 0
    if len(size) != len(stride):
        raise ShapeError(f"mismatch in length of strides and shape: as_strided(size={list(size)}, stride={list(stride)})")
    if offset < 0 or any(s < 0 for s in stride):
        raise ShapeError(f"as_strided: Negative strides or offsets are not supported, got stride={list(stride)} and storage_offset={offset}")
    needed = offset + 1 + sum((n - 1) * s for n, s in zip(size, stride, strict=True))
    if 0 not in size and needed > count:
        raise ShapeError(f"as_strided: size {list(size)}, stride {list(stride)} and storage_offset {offset} need {needed} elements, the tensor has {count}")
    dtype = np.dtype(np.int32 if needed < 2**31 else np.int64)
    places = jnp.full(size, offset, dtype)
    for dim, step in enumerate(stride):
        places = places + lax.broadcasted_iota(dtype, size, dim) * np.asarray(step, dtype)
    return places


# --- diagonals and triangles ---------------------------------------------------------------------------------------


@op(linear=True)
def diagonal(input: Array, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Array:
    """The diagonals of the matrices in two dimensions, as a new last dimension.

    Args:
        input: a tensor.
        offset: 0 for the main diagonal, above it if positive, below if negative.
        dim1: the dimension of the matrices' rows.
        dim2: the dimension of their columns.
    """
    return _diagonal(strong(input), offset, dim1, dim2)


def _diagonal(input: Array, offset: int, dim1: int, dim2: int) -> Array:
    dim1, dim2 = two_dims(input.ndim, dim1, dim2)
    input = jnp.moveaxis(input, (dim1, dim2), (-2, -1))
    rows, columns = diagonal_places(input.shape[-2], input.shape[-1], offset)
    return input[..., rows, columns]


def two_dims(ndim: int, dim1: int, dim2: int) -> tuple[int, int]:
    wrapped = wrap_dim(dim1, ndim), wrap_dim(dim2, ndim)
    if wrapped[0] == wrapped[1]:
        raise ShapeError(f"diagonal dimensions cannot be identical {dim1}, {dim2}")
    return wrapped


def diagonal_places(rows: int, columns: int, offset: int) -> tuple[np.ndarray, np.ndarray]:
    """The row and column of each element of a diagonal."""
    length = max(min(rows + min(offset, 0), columns - max(offset, 0)), 0)
    along = np.arange(length, dtype=np.int32)
    return along + max(-offset, 0), along + max(offset, 0)


@op(linear=True)
def diag_embed(input: Array, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Array:
    """Square matrices with the last dimension of `input` on a diagonal and zeros elsewhere.

    Args:
        input: a tensor of at least one dimension.
        offset: the diagonal, as in `diagonal`.
        dim1: where the rows' dimension goes in the result.
        dim2: where the columns' dimension goes.
    """
    return _diag_embed(strong(input), offset, dim1, dim2)


def _diag_embed(input: Array, offset: int, dim1: int, dim2: int) -> Array:
    if not input.ndim:
        raise IndexOutOfRangeError("diag_embed takes a tensor of at least one dimension, got a 0-d one")
    dim1, dim2 = two_dims(input.ndim + 1, dim1, dim2)
    n = input.shape[-1] + abs(offset)
    rows, columns = diagonal_places(n, n, offset)
    matrices = jnp.zeros((*input.shape[:-1], n, n), input.dtype).at[..., rows, columns].set(input, unique_indices=True)
    return jnp.moveaxis(matrices, (-2, -1), (dim1, dim2))


@op(linear=True)
def diag(input: Array, diagonal: int = 0) -> Array:
    """A vector as the diagonal of a square matrix, or the diagonal of a matrix as a vector.

    Args:
        input: a vector or a matrix.
        diagonal: 0 for the main diagonal, above it if positive, below if negative.
    """
    input = strong(input)
    if input.ndim not in (1, 2):
        raise ShapeError(f"diag(): Supports 1D or 2D tensors. Got {input.ndim}D")
    return _diag_embed(input, diagonal, 0, 1) if input.ndim == 1 else _diagonal(input, diagonal, 0, 1)


@op(linear=True)
def diagflat(input: Array, offset: int = 0) -> Array:
    """All elements of the tensor on a diagonal of a square matrix."""
    return _diag_embed(jnp.ravel(strong(input)), offset, 0, 1)


@op(linear=True)
def tril(input: Array, diagonal: int = 0) -> Array:
    """The lower triangles of matrices, zeros elsewhere.

    Args:
        input: a matrix or a batch of matrices.
        diagonal: the last diagonal that is kept, as in `diag`.
    """
    input = strong(input)
    if input.ndim < 2:
        raise ShapeError(f"tril: input tensor must have at least 2 dimensions, got {input.ndim}")
    return jnp.tril(input, diagonal)


@op(linear=True)
def triu(input: Array, diagonal: int = 0) -> Array:
    """The upper triangles of matrices, zeros elsewhere.

    Args:
        input: a matrix or a batch of matrices.
        diagonal: the first diagonal that is kept, as in `diag`.
    """
    input = strong(input)
    if input.ndim < 2:
        raise ShapeError(f"triu: input tensor must have at least 2 dimensions, got {input.ndim}")
    return jnp.triu(input, diagonal)


# --- parts put back --------------------------------------------------------------------------------------------


def _fits(src: Array, shape: tuple[int, ...], dtype: np.dtype) -> Array:
    """`src` as the part that it replaces."""
    if src.shape != tuple(shape):
        raise ShapeError(f"expected src to have a size equal to the slice of self. src size = {list(src.shape)}, slice size = {list(shape)}")
    return cast(src, dtype)


@op(name="select_scatter", method=False, linear=True)
def _select_scatter(input: Array, src: Array, index: Array | float, dim: int) -> Array:
    """A copy of `input` with `src` at one place along `dim`."""
    input = strong(input)
    return lax.dynamic_update_index_in_dim(input, _fits(src, input.shape[:dim] + input.shape[dim + 1 :], input.dtype), index, dim)


@numpy_names
def select_scatter(input: Any, src: Any, dim: int, index: Any) -> Tensor:
    """A copy of `input` with `src` in place of ``input.select(dim, index)``.

    Args:
        input: a tensor.
        src: a tensor of the shape of that part.
        dim: the dimension.
        index: an int or a 0-d integer tensor; a loop over it compiles once.
    """
    dim, index = position_along(input, dim, index)
    return _select_scatter(input, src, index, dim)


def _slice(input: Array, dim: int, start: int | None, end: int | None, step: int) -> tuple[slice, ...]:
    """The index of a slice along a dimension, checked as PyTorch does."""
    dim = wrap_dim(dim, input.ndim)
    if not input.ndim:
        raise IndexOutOfRangeError("slice() cannot be applied to a 0-dim tensor.")
    if step <= 0:
        raise ShapeError(f"slice step must be positive, got {step}")
    return (slice(None),) * dim + (slice(start, end, step),)


@op(method=False, linear=True)
def slice_copy(input: Array, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1) -> Array:
    """The slice ``start:end:step`` along a dimension; `step` is positive.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.slice_copy(nr.arange(5), 0, 1, None, 2)
        tensor([1, 3])
    """
    input = strong(input)
    return input[_slice(input, dim, start, end, step)]


@op(linear=True)
def slice_scatter(input: Array, src: Array, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1) -> Array:
    """A copy of `input` with `src` in place of the slice ``start:end:step`` along `dim`.

    Args:
        input: a tensor.
        src: a tensor of the shape of that slice.
        dim: the dimension.
        start, end, step: the slice, as in Python; `step` is positive.
    """
    input = strong(input)
    part = _slice(input, dim, start, end, step)
    return input.at[part].set(_fits(src, input[part].shape, input.dtype), unique_indices=True)


@op(linear=True)
def diagonal_scatter(input: Array, src: Array, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Array:
    """A copy of `input` with `src` in place of its diagonal. See `diagonal`."""
    input = strong(input)
    dim1, dim2 = two_dims(input.ndim, dim1, dim2)
    matrices = jnp.moveaxis(input, (dim1, dim2), (-2, -1))
    rows, columns = diagonal_places(*matrices.shape[-2:], offset)
    src = _fits(src, (*matrices.shape[:-2], len(rows)), input.dtype)
    return jnp.moveaxis(matrices.at[..., rows, columns].set(src, unique_indices=True), (-2, -1), (dim1, dim2))


@op(linear=True)
def as_strided_scatter(input: Array, src: Array, size: tuple[int, ...], stride: tuple[int, ...], storage_offset: int | None = None) -> Array:
    """A copy of `input` with `src` in place of ``input.as_strided(size, stride, storage_offset)``."""
    input = strong(input)
    places = strided_places(input.size, size, stride, storage_offset)
    return jnp.ravel(input).at[places].set(_fits(src, places.shape, input.dtype), mode="drop", unique_indices=True).reshape(input.shape)


attach("select_scatter", select_scatter)


# --- second names --------------------------------------------------------------------------------------------------

narrow_copy, select_copy, unbind_copy, unfold_copy, as_strided_copy, diagonal_copy = narrow, select, unbind, _unfold_along, as_strided, diagonal
