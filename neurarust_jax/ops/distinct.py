"""`unique` and `unique_consecutive`: the distinct elements of a tensor, or its distinct slices along a dimension.

How many there are depends on the values, so the work is done on the host; with `size=` it is done by XLA, and runs inside transformations.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ..dispatch import Array, op
from ..errors import IndexOutOfRangeError, ShapeError, TracedValueError
from ..tensor import Tensor, array_from, attach, wrap
from .common import cast, numpy_names, refuse, wrap_dim
from .creation import as_tensor
from .reduction import index_dtype

__all__ = ["unique", "unique_consecutive"]


@op(name="_take_slices", method=False, linear=True)
def _take_slices(input: Array, index: Array, dim: int | None) -> Array:
    """The slices (of the flattened tensor without `dim`) at `index`."""
    length = input.size if dim is None else input.shape[dim]
    return jnp.take(input, cast(index, index_dtype(length)), axis=dim, mode="clip")


def _host_array(input: Tensor, function: str) -> np.ndarray:
    refuse(input._value, "c", function)
    if isinstance(input._value, jax.core.Tracer):
        raise TracedValueError(
            f"the result of {function}() on a tensor of shape {tuple(input.shape)} has a size that is unknown inside nr.jit and other transformations. "
            f"Write nr.{function}(x, size=n), which fills the rest with fill_value, or call it outside."
        )
    array = np.asarray(input._value)
    return array.astype(np.float32) if array.dtype.kind == "V" else array  # bfloat16, which NumPy cannot sort


def _check_dim(shape: tuple[int, ...], dim: int | None) -> int | None:
    """The dimension counted from the front. There must be elements to compare along it."""
    if dim is None:
        return None
    if not shape:
        raise IndexOutOfRangeError(f"Dimension specified as {dim} but tensor has no dimensions; leave out dim")
    dim = wrap_dim(dim, len(shape))
    if not math.prod(shape[:dim] + shape[dim + 1 :]):
        raise ShapeError(f"There are 0 sized dimensions, and they aren't selected, so unique cannot be applied: shape {tuple(shape)}, dim {dim}")
    return dim


def _asked_for(values: Any, inverse: Any, counts: Any, return_inverse: bool, return_counts: bool) -> Any:
    """Of the three what was asked for: one tensor or a tuple."""
    others = [x for x, asked in ((inverse, return_inverse), (counts, return_counts)) if asked]
    others = [x if isinstance(x, Tensor) else wrap(array_from(x.astype(np.int64))) for x in others]
    return (values, *others) if others else values


# --- unique --------------------------------------------------------------------------------------------------------


@op(name="_unique_sized", method=False)
def _unique_sized(input: Array, dim: int | None, size: int, fill_value: Array | float | None = None) -> tuple[Array, Array, Array]:
    """The first `size` distinct elements in order, where each element is among them, and how often each occurs."""
    refuse(input, "c", "unique")
    dim = _check_dim(input.shape, dim)
    fill_value = None if fill_value is None else cast(fill_value, input.dtype)
    values, inverse, counts = jnp.unique(
        input, return_inverse=True, return_counts=True, axis=dim, equal_nan=False, size=size, fill_value=fill_value
    )
    return values, cast(inverse, np.int64), cast(counts, np.int64)


@numpy_names
def unique(
    input,
    sorted: bool = True,
    return_inverse: bool = False,
    return_counts: bool = False,
    dim: int | None = None,
    *,
    size: int | None = None,
    fill_value=None,
):
    """The distinct elements of a tensor, in order; or its distinct slices along a dimension. Every NaN is distinct.

    Args:
        input: a tensor.
        sorted: accepted; they always are in order.
        return_inverse: also where each element of `input` is in the result.
        return_counts: also how often each distinct element occurs.
        dim: compare slices along this dimension. Default: the elements of the flattened tensor.
        size: the length of the result, known beforehand; needed inside transformations. Elements beyond it are left out.
        fill_value: what to fill a longer result with. Default: the least element.

    Returns:
        The distinct elements, or a tuple of them with the inverse positions, the counts, or both.

    Raises:
        RuntimeError: inside a transformation without `size`.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.unique(nr.tensor([3, 1, 3]), return_counts=True)
        (tensor([1, 3]), tensor([1, 2]))
    """
    input = as_tensor(input)
    if size is not None:
        return _asked_for(*_unique_sized(input, dim, size, fill_value), return_inverse, return_counts)
    array = _host_array(input, "unique")
    dim = _check_dim(array.shape, dim)
    _, first, inverse, counts = np.unique(array, return_index=True, return_inverse=True, return_counts=True, axis=dim, equal_nan=False)
    inverse = inverse.reshape(array.shape if dim is None else -1)
    return _asked_for(_take_slices(input, first, dim), inverse, counts, return_inverse, return_counts)


# --- unique_consecutive --------------------------------------------------------------------------------------------


def _starts_run(x: Any, dim: int | None) -> Any:
    """Where along `dim` (or in the flattened tensor) an element differs from the one before. For NumPy and JAX arrays."""
    rows = x.reshape(-1, 1) if dim is None else x.swapaxes(0, dim)
    rows = rows.reshape(rows.shape[0], -1) if rows.size else rows.reshape(rows.shape[0], 0)
    differs = (rows[1:] != rows[:-1]).any(-1)
    return np.concatenate([np.ones(min(1, len(rows)), bool), differs]) if isinstance(x, np.ndarray) else jnp.pad(differs, (1, 0), constant_values=True)


@op(name="_runs_sized", method=False)
def _runs_sized(input: Array, dim: int | None, size: int, fill_value: Array | float = 0) -> tuple[Array, Array, Array]:
    """The first `size` runs, which run each element belongs to, and their lengths."""
    refuse(input, "c", "unique_consecutive")
    dim = _check_dim(input.shape, dim)
    starts_run = _starts_run(lax.stop_gradient(input), dim)
    length = starts_run.shape[0]
    starts = cast(jnp.nonzero(starts_run, size=size + 1, fill_value=length)[0], index_dtype(length))
    values = jnp.take(input, starts[:size], axis=dim, mode="clip")
    beyond = lax.broadcast_in_dim(starts[:size] >= length, values.shape, (dim or 0,))
    values = jnp.where(beyond, cast(fill_value, values.dtype), values)
    inverse = jnp.cumsum(starts_run, dtype=starts.dtype).reshape(input.shape if dim is None else -1) - 1
    return values, cast(inverse, np.int64), cast(jnp.diff(starts), np.int64)


@numpy_names
def unique_consecutive(
    input, return_inverse: bool = False, return_counts: bool = False, dim: int | None = None, *, size: int | None = None, fill_value=0
):
    """The tensor with every run of equal elements (or slices) reduced to one.

    Args:
        input: a tensor.
        return_inverse: also which run each element of `input` belongs to.
        return_counts: also the length of each run.
        dim: compare slices along this dimension. Default: the elements of the flattened tensor.
        size: the number of runs, known beforehand; needed inside transformations. Runs beyond it are left out.
        fill_value: what to fill a longer result with.

    Returns:
        One element of each run, or a tuple of them with the inverse positions, the counts, or both.

    Raises:
        RuntimeError: inside a transformation without `size`.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.unique_consecutive(nr.tensor([1, 1, 2, 1]), return_counts=True)
        (tensor([1, 2, 1]), tensor([2, 1, 1]))
    """
    input = as_tensor(input)
    if size is not None:
        return _asked_for(*_runs_sized(input, dim, size, fill_value), return_inverse, return_counts)
    array = _host_array(input, "unique_consecutive")
    dim = _check_dim(array.shape, dim)
    starts_run = _starts_run(array, dim)
    starts = np.flatnonzero(starts_run)
    inverse = (np.cumsum(starts_run) - 1).reshape(array.shape if dim is None else -1)
    counts = np.diff(starts, append=len(starts_run))
    return _asked_for(_take_slices(input, starts, dim), inverse, counts, return_inverse, return_counts)


attach("unique", unique)
attach("unique_consecutive", unique_consecutive)
