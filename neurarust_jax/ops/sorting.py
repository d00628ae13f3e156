"""Sorting, the `k` greatest elements, binary search, membership."""

import jax.numpy as jnp
import numpy as np
from jax import lax

from .. import dtypes
from ..dispatch import Array, op
from ..errors import DtypeError, ShapeError
from .common import cast, is_inexact, refuse, shape_of, strong, wrap_dim
from .quantiles import sort_with_positions
from .reduction import ValuesAndIndices

__all__ = ["sort", "argsort", "msort", "topk", "searchsorted", "bucketize", "isin"]

# --- sorting -------------------------------------------------------------------------------------------------------


@op(keeps_vjp=True)
def sort(input: Array, dim: int = -1, descending: bool = False, *, stable: bool = False) -> ValuesAndIndices:
    """The elements sorted along a dimension, and where they were. NaN counts as the greatest.

    Args:
        input: a tensor.
        dim: the dimension.
        descending: the greatest first.
        stable: keep the order of equal elements. Sorting is always stable here.

    Returns:
        A named tuple `(values, indices)`.

    Examples:
        >>> import neurarust_jax as nr
        >>> values, indices = nr.sort(nr.tensor([3.0, 1.0, 2.0]))
        >>> values, indices
        (tensor([1., 2., 3.]), tensor([1, 2, 0]))
    """
    refuse(input, "c", "sort")
    x = strong(input)
    dim = wrap_dim(dim, x.ndim)
    if x.ndim == 0:
        return ValuesAndIndices(x, jnp.zeros((), np.int64))
    values, positions = sort_with_positions(x, dim, descending)
    return ValuesAndIndices(values, cast(positions, np.int64))


@op
def argsort(input: Array, dim: int = -1, descending: bool = False, *, stable: bool = False) -> Array:
    """The positions that sort the elements along a dimension, int64. The arguments are those of `sort`."""
    return sort.op.function(lax.stop_gradient(input), dim, descending).indices


@op(keeps_vjp=True)
def msort(input: Array) -> Array:
    """The elements sorted along the first dimension."""
    return sort.op.function(input, 0).values


def _descending_key(x: Array, largest: bool) -> Array:
    """What `lax.top_k` has to be given, so that it orders as PyTorch does: NaN as the greatest."""
    if x.dtype == bool:
        x = cast(x, np.uint8)
    if not is_inexact(x):
        return x if largest else ~x
    nan = jnp.asarray(jnp.nan, x.dtype)  # lax.top_k puts NaN first, and NaN with its sign set last
    return jnp.where(jnp.isnan(x), nan, x) if largest else jnp.where(jnp.isnan(x), -nan, -x)


@op(keeps_vjp=True)
def topk(input: Array, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> ValuesAndIndices:
    """The `k` greatest elements along a dimension, and where they were; of equal ones the first.

    Args:
        input: a tensor.
        k: how many, from 0 to the length of the dimension.
        dim: the dimension.
        largest: the greatest, or (false) the least.
        sorted: in order. They always are here.

    Returns:
        A named tuple `(values, indices)`.

    Raises:
        RuntimeError: `k` is out of range.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.topk(nr.tensor([1.0, 4.0, 2.0]), 2).values
        tensor([4., 2.])
    """
    refuse(input, "c", "topk")
    x = strong(input)
    dim = wrap_dim(dim, x.ndim)
    length = x.shape[dim] if x.ndim else 1
    if not 0 <= k <= length:
        raise ShapeError(f"selected index k out of range: k is {k}, and dimension {dim} has length {length}")
    if x.ndim == 0:
        return ValuesAndIndices(x, jnp.zeros((), np.int64))
    key = jnp.moveaxis(_descending_key(lax.stop_gradient(x), largest), dim, -1)
    positions = jnp.moveaxis(lax.top_k(key, k)[1], -1, dim)
    return ValuesAndIndices(jnp.take_along_axis(x, positions, dim, mode="clip"), cast(positions, np.int64))


# --- binary search -------------------------------------------------------------------------------------------------


def insertion_points(sequence: Array, values: Array, right: bool) -> Array:
    """Where `values` belong in sorted `sequence`, along the last dimension; the others are equal, or `sequence` is 1-d."""
    length = sequence.shape[-1]
    dtype = np.dtype(np.int32 if length < 2**30 else np.int64)
    if not length or not values.size:
        return jnp.zeros(values.shape, dtype)

    def halve(_, bounds: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = bounds
        middle = (low + high) // 2
        at_middle = jnp.take(sequence, middle, mode="clip") if sequence.ndim == 1 else jnp.take_along_axis(sequence, middle, -1, mode="clip")
        goes_right = ~(at_middle > values) if right else ~(at_middle >= values)  # in this form NaN goes last, as in PyTorch
        active = low < high
        return jnp.where(active & goes_right, middle + 1, low), jnp.where(active & ~goes_right, middle, high)

    start = jnp.zeros(values.shape, dtype), jnp.full(values.shape, length, dtype)
    return lax.fori_loop(0, length.bit_length(), halve, start)[0]


def _search(sequence: Array, values: Array | float, out_int32: bool, right: bool) -> Array:
    dtype = dtypes.result_numpy_dtype(sequence, values)
    refuse(jnp.zeros((), dtype), "cb", "searchsorted")
    found = insertion_points(lax.stop_gradient(cast(sequence, dtype)), lax.stop_gradient(cast(values, dtype)), right)
    return cast(found, np.int32 if out_int32 else np.int64)


@op(method=False)
def searchsorted(
    sorted_sequence: Array,
    input: Array | float,
    *,
    out_int32: bool = False,
    right: bool = False,
    side: str | None = None,
    sorter: Array | None = None,
) -> Array:
    """Positions at which the values of `input` can be inserted into `sorted_sequence` so that it stays sorted, along the last dimension.

    Args:
        sorted_sequence: a 1-d tensor; or one whose dimensions but the last are those of `input`, for as many separate searches.
        input: values to look for.
        out_int32: int32 positions, instead of int64.
        right: after equal elements rather than before them.
        side: `"left"` or `"right"`, another way to say `right`.
        sorter: positions that sort `sorted_sequence`, if it is not sorted.

    Raises:
        RuntimeError: the shapes do not fit together.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.searchsorted(nr.tensor([1.0, 3.0, 5.0]), nr.tensor([3.0, 4.0]))
        tensor([1, 2])
    """
    if side not in (None, "left", "right"):
        raise ShapeError(f"torch.searchsorted(): side can only be 'left' or 'right' but got {side}")
    if side == "left" and right:
        raise ShapeError("torch.searchsorted(): side and right can't be set to opposites, got side of left while right was True")
    sequence, shape = sorted_sequence, shape_of(input)
    if not sequence.ndim:
        raise ShapeError("torch.searchsorted(): boundaries tensor should have positive dimension, but got 0 dimension")
    if sequence.ndim > 1 and not shape:
        raise ShapeError(
            "torch.searchsorted(): input value can be a scalar only when boundaries tensor dimension is 1, but we got boundaries tensor "
            f"dim({sequence.ndim}); write nr.full(x.shape[:-1] + (1,), value)"
        )
    if sequence.ndim > 1 and sequence.shape[:-1] != shape[:-1]:
        raise ShapeError(
            "torch.searchsorted(): boundaries tensor should be 1 dimension or the first N-1 dimensions of boundaries tensor and input value tensor must "
            f"match, but we got boundaries tensor {list(sequence.shape)} and input value tensor {list(shape)}"
        )
    if sorter is not None:
        if sorter.shape != sequence.shape:
            raise ShapeError(
                "torch.searchsorted(): boundary and sorter must have the same size, but got boundary tensor "
                f"{list(sequence.shape)} and got sorter tensor {list(sorter.shape)}"
            )
        if sorter.dtype != np.int64:
            raise DtypeError(f"torch.searchsorted(): sorter must be a tensor of long dtype but got dtype {dtypes.from_numpy(sorter.dtype)}")
        sequence = jnp.take_along_axis(sequence, sorter, -1, mode="clip")
    return _search(sequence, input, out_int32, right or side == "right")


@op(method=False)
def bucketize(input: Array | float, boundaries: Array, *, out_int32: bool = False, right: bool = False) -> Array:
    """The number of the bucket between `boundaries` in which each element lies.

    Args:
        input: a tensor or number.
        boundaries: a sorted 1-d tensor.
        out_int32: int32 numbers, instead of int64.
        right: an element equal to a boundary lies in the bucket above it, rather than below.
    """
    if boundaries.ndim != 1:
        raise ShapeError(f"boundaries tensor must be 1 dimension, but got dim({boundaries.ndim})")
    return _search(boundaries, input, out_int32, right)


@op(method=False)
def isin(elements: Array | float, test_elements: Array | float, *, assume_unique: bool = False, invert: bool = False) -> Array:
    """Whether each of `elements` is among `test_elements`; a bool tensor.

    Args:
        elements: a tensor or number.
        test_elements: a tensor or number.
        assume_unique: accepted; it makes no difference here.
        invert: whether it is not.
    """
    dtype = dtypes.result_numpy_dtype(elements, test_elements)
    refuse(jnp.zeros((), dtype), "c", "isin")
    return jnp.isin(cast(elements, dtype), cast(test_elements, dtype), invert=invert)
