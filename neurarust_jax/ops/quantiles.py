"""Reductions that sort: median, mode, quantile, and `kthvalue`.

Each finds the position of the element it wants and then takes it from the input, so that its gradient goes to that element.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from .. import dtypes
from ..dispatch import Array, op
from ..errors import DtypeError, ShapeError
from ..tensor import Tensor, attach
from .common import cast, is_inexact, numpy_names, refuse, strong, wrap_dim
from .reduction import ValuesAndIndices, check_not_empty, index_dtype, pick, shared, values_and_indices

__all__ = ["median", "nanmedian", "mode", "kthvalue", "quantile", "nanquantile"]


def sort_with_positions(x: Array, dim: int, descending: bool = False) -> tuple[Array, Array]:
    """(sorted, positions before), stable, NaN as the greatest. Gradients flow to where the elements were."""
    positions = lax.broadcasted_iota(index_dtype(x.shape[dim]), x.shape, dim)
    if not descending:
        values, positions = lax.sort((x, positions), dimension=dim, is_stable=True, num_keys=1)
        return values, positions
    # sorted from the back and then turned over, so that equal elements keep their order
    values, positions = lax.sort((lax.rev(x, (dim,)), lax.rev(positions, (dim,))), dimension=dim, is_stable=True, num_keys=1)
    return lax.rev(values, (dim,)), lax.rev(positions, (dim,))


def _order(x: Array, dim: int) -> Array:
    return sort_with_positions(lax.stop_gradient(x), dim)[1]


def _valid(x: Array, dim: int) -> Array:
    """The number of elements along `dim` that are not NaN; keeps `dim`."""
    return jnp.sum(~jnp.isnan(x), dim, dtype=index_dtype(x.shape[dim]), keepdims=True)


def _at_rank(x: Array, order: Array, rank: Array | int, dim: int) -> tuple[Array, Array]:
    """(element, position) that is `rank` places from the least; keeps `dim`."""
    shape = x.shape[:dim] + (1,) + x.shape[dim + 1 :]
    rank = jnp.broadcast_to(jnp.asarray(rank, order.dtype), shape)
    position = jnp.take_along_axis(order, rank, dim, mode="clip")
    return pick(x, position, dim), position


# --- median and mode -----------------------------------------------------------------------------------------------


def _median_rank(x: Array, dim: int, ignore_nan: bool) -> Array | int:
    length = x.shape[dim]
    if not is_inexact(x):
        return (length - 1) // 2
    valid = _valid(x, dim)
    if ignore_nan:
        return jnp.maximum(valid - 1, 0) // 2
    return jnp.where(valid < length, valid, (length - 1) // 2)  # the first NaN, if there is one


def _median_of(input: Array, dim: int | None, keepdim: bool, ignore_nan: bool, function: str) -> Array | ValuesAndIndices:
    refuse(input, "cb", function)
    x = strong(input)
    if dim is None:
        if not x.size:
            return jnp.full((), jnp.nan if is_inexact(x) else np.iinfo(x.dtype).min, x.dtype)

        def choose(flat: Array) -> Array:
            return _at_rank(flat, _order(flat, 0), _median_rank(flat, 0, ignore_nan), 0)[0]

        flat = x.reshape(-1)
        return (shared(flat, choose, (0,), True) if is_inexact(x) else choose(flat)).reshape(())
    dim = wrap_dim(dim, x.ndim)
    check_not_empty(x, dim, function)
    if x.ndim == 0:
        return ValuesAndIndices(x, jnp.zeros((), np.int64))
    return values_and_indices(*_at_rank(x, _order(x, dim), _median_rank(x, dim, ignore_nan), dim), dim, keepdim)


@op(keeps_vjp=True)
def median(input: Array, dim: int | None = None, keepdim: bool = False) -> Array | ValuesAndIndices:
    """The median: of an even number of elements the lower of the two in the middle. NaN if there is any NaN.

    Args:
        input: a tensor.
        dim: a dimension. Default: the median of all elements.
        keepdim: keep the dimension with length 1.

    Returns:
        Without `dim` a 0-d tensor, whose gradient all elements equal to it share. With `dim` a named tuple `(values, indices)`.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.median(nr.tensor([4.0, 1.0, 3.0, 2.0]))
        tensor(2.)
    """
    return _median_of(input, dim, keepdim, False, "median")


@op(keeps_vjp=True)
def nanmedian(input: Array, dim: int | None = None, keepdim: bool = False) -> Array | ValuesAndIndices:
    """The median of the elements that are not NaN. See `median`."""
    return _median_of(input, dim, keepdim, True, "nanmedian")


@op(keeps_vjp=True)
def mode(input: Array, dim: int = -1, keepdim: bool = False) -> ValuesAndIndices:
    """The most frequent element along a dimension, of equally frequent ones the least, and the last position where it occurs.

    Args:
        input: a tensor.
        dim: the dimension.
        keepdim: keep it with length 1.

    Returns:
        A named tuple `(values, indices)`.
    """
    refuse(input, "c", "mode")
    x = strong(input)
    dim = wrap_dim(dim, x.ndim)
    check_not_empty(x, dim, "mode")
    if x.ndim == 0:
        return ValuesAndIndices(x, jnp.zeros((), np.int64))
    values, order = sort_with_positions(lax.stop_gradient(x), dim)
    places = lax.broadcasted_iota(order.dtype, x.shape, dim)
    before = lax.slice_in_dim(values, 0, x.shape[dim] - 1, axis=dim) != lax.slice_in_dim(values, 1, x.shape[dim], axis=dim)
    starts_run = jnp.concatenate([jnp.ones_like(lax.slice_in_dim(before, 0, 1, axis=dim)) if x.shape[dim] > 1 else jnp.ones(x.shape, bool), before], dim)
    run_start = lax.cummax(jnp.where(starts_run, places, 0), dim)
    longest_ends = lax.argmax(places - run_start, dim, order.dtype)  # the first place with the most equal elements before it
    position = jnp.take_along_axis(order, lax.expand_dims(longest_ends, (dim,)), dim, mode="clip")
    return values_and_indices(pick(x, position, dim), position, dim, keepdim)


@op(keeps_vjp=True)
def kthvalue(input: Array, k: int, dim: int = -1, keepdim: bool = False) -> ValuesAndIndices:
    """The `k`-th least element along a dimension, and its position.

    Args:
        input: a tensor.
        k: from 1 for the least to the length of the dimension.
        dim: the dimension.
        keepdim: keep it with length 1.

    Returns:
        A named tuple `(values, indices)`.

    Raises:
        RuntimeError: `k` is out of range.
    """
    refuse(input, "cb", "kthvalue")
    x = strong(input)
    dim = wrap_dim(dim, x.ndim)
    check_not_empty(x, dim, "kthvalue")
    length = x.shape[dim] if x.ndim else 1
    if not 1 <= k <= length:
        raise ShapeError(f"kthvalue(): selected number k out of range for dimension {dim}: k is {k}, and the dimension has length {length}")
    if x.ndim == 0:
        return ValuesAndIndices(x, jnp.zeros((), np.int64))
    return values_and_indices(*_at_rank(x, _order(x, dim), k - 1, dim), dim, keepdim)


# --- quantiles -----------------------------------------------------------------------------------------------------


def _quantile_of(input: Array, q: Array, dim: int | None, keepdim: bool, interpolation: str, ignore_nan: bool, function: str) -> Array:
    x = strong(input)
    if x.dtype not in (np.float32, np.float64):
        raise DtypeError(f"{function}() input tensor must be either float or double dtype, got {dtypes.from_numpy(x.dtype)}; write x.float()")
    if not x.size:
        raise ShapeError(f"{function}() input tensor must be non-empty, got shape {x.shape}")
    if not getattr(q, "weak_type", True) and q.dtype != x.dtype:
        raise DtypeError(f"{function}() q tensor must be same dtype as the input tensor, got {dtypes.from_numpy(q.dtype)} and {dtypes.from_numpy(x.dtype)}")
    q = cast(q, x.dtype)
    if q.ndim > 1:
        raise ShapeError(f"{function}() q must be a scalar or 1D tensor, got shape {q.shape}")
    if interpolation not in ("linear", "lower", "higher", "midpoint", "nearest"):
        raise ShapeError(f"{function}() interpolation must be one of linear, lower, higher, midpoint or nearest, but got {interpolation}")
    ndim = x.ndim
    x = x.reshape(-1) if dim is None else jnp.moveaxis(x.reshape(x.shape or (1,)), wrap_dim(dim, ndim), -1)
    order = _order(x, x.ndim - 1)
    found = _interpolate(x, order, _ranks(x, q.reshape(-1), ignore_nan), interpolation)
    found = jnp.moveaxis(found, -1, 0) if q.ndim else found[..., 0]
    if not keepdim:
        return found
    if dim is None:
        return found.reshape(found.shape[: q.ndim] + (1,) * ndim)
    return lax.expand_dims(found, (q.ndim + wrap_dim(dim, ndim),)) if ndim else found


def _ranks(x: Array, q: Array, ignore_nan: bool) -> Array:
    """Where the quantiles lie among the sorted elements along the last dimension, as real numbers."""
    last = x.shape[-1] - 1
    valid = _valid(x, x.ndim - 1)
    if ignore_nan:
        return jnp.maximum(q * cast(valid - 1, x.dtype), 0)
    return jnp.where(valid <= last, jnp.asarray(last, x.dtype), q * last)  # NaN is last, if there is any


def _interpolate(x: Array, order: Array, ranks: Array, interpolation: str) -> Array:
    rounding = {"lower": jnp.floor, "higher": jnp.ceil, "nearest": jnp.round}.get(interpolation)
    if rounding is not None:
        return _elements_at(x, order, rounding(ranks))
    below = jnp.floor(ranks)
    weight = jnp.full_like(ranks, 0.5) if interpolation == "midpoint" else ranks - lax.stop_gradient(below)
    start, end = _elements_at(x, order, below), _elements_at(x, order, jnp.ceil(ranks))
    return jnp.where(weight < 0.5, start + weight * (end - start), end - (end - start) * (1 - weight))


def _elements_at(x: Array, order: Array, ranks: Array) -> Array:
    ranks = jnp.broadcast_to(cast(lax.stop_gradient(ranks), order.dtype), x.shape[:-1] + ranks.shape[-1:])
    positions = jnp.take_along_axis(order, ranks, -1, mode="clip")
    return jnp.take_along_axis(x, positions, -1, mode="clip")


@op(name="_quantile", method=False, keeps_vjp=True)
def _quantile(input: Array, q: Array | float, dim: int | None = None, keepdim: bool = False, *, interpolation: str = "linear") -> Array:
    """Quantiles along a dimension."""
    return _quantile_of(input, q, dim, keepdim, interpolation, False, "quantile")


@op(name="_nanquantile", method=False, keeps_vjp=True)
def _nanquantile(input: Array, q: Array | float, dim: int | None = None, keepdim: bool = False, *, interpolation: str = "linear") -> Array:
    """Quantiles along a dimension, of what is not NaN."""
    return _quantile_of(input, q, dim, keepdim, interpolation, True, "nanquantile")


def _check_probabilities(q, function: str) -> None:
    """Raise PyTorch's error for a `q` outside [0, 1], wherever its value is at hand."""
    if isinstance(q, Tensor):
        q = q._value
    if isinstance(q, jax.core.Tracer) or (isinstance(q, jax.Array) and next(iter(q.devices())).platform != "cpu"):
        return
    values = np.asarray(q)
    if not ((values >= 0) & (values <= 1)).all():
        raise ShapeError(f"{function}() q values must be in the range [0, 1], got {q}")


@numpy_names
def quantile(input, q, dim: int | None = None, keepdim: bool = False, *, interpolation: str = "linear"):
    """The `q`-th quantiles of the elements, of all or along a dimension. NaN if there is any NaN.

    Args:
        input: a float32 or float64 tensor.
        q: a number in [0, 1], or a 0-d or 1-d tensor of them with the dtype of `input`.
        dim: the dimension. Default: all elements.
        keepdim: keep it with length 1.
        interpolation: between two neighbouring elements: `"linear"`, `"lower"`, `"higher"`, `"midpoint"` or `"nearest"`.

    Returns:
        A tensor without the dimension `dim`, and for a 1-d `q` with a first dimension of its length.

    Raises:
        RuntimeError: another dtype, an empty input, or `q` outside [0, 1] (not checked on accelerators and inside transformations).

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.quantile(nr.tensor([0.0, 1.0, 2.0, 3.0]), nr.tensor([0.25, 0.5]))
        tensor([0.7500, 1.5000])
    """
    _check_probabilities(q, "quantile")
    return _quantile(input, q, dim, keepdim, interpolation=interpolation)


@numpy_names
def nanquantile(input, q, dim: int | None = None, keepdim: bool = False, *, interpolation: str = "linear"):
    """The `q`-th quantiles of the elements that are not NaN; NaN if all are. The arguments are those of `quantile`."""
    _check_probabilities(q, "nanquantile")
    return _nanquantile(input, q, dim, keepdim, interpolation=interpolation)


attach("quantile", quantile)
attach("nanquantile", nanquantile)
