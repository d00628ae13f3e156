"""Reductions of segments: consecutive parts of a dimension, each of a length of its own."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ..dispatch import Array, op
from ..errors import DtypeError, ShapeError
from ..tensor import Tensor
from .common import cast, wrap_dim
from .reduction import widened

__all__ = ["segment_reduce"]

_REDUCTIONS = {"sum": 0.0, "mean": 0.0, "prod": 1.0, "max": -np.inf, "min": np.inf, "amax": -np.inf, "amin": np.inf}  # what each starts with


def _sum(x: Array, ids: Array, count: int) -> Array:
    return jax.ops.segment_sum(x, ids, count + 1, indices_are_sorted=True)[:count]


@functools.partial(jax.custom_jvp, nondiff_argnums=(2, 3, 4))
def _extreme(x: Array, ids: Array, count: int, greatest: bool, initial: float) -> Array:
    """The extreme of each segment; all elements equal to it share its gradient."""
    found = (jax.ops.segment_max if greatest else jax.ops.segment_min)(x, ids, count + 1, indices_are_sorted=True)[:count]
    return (jnp.maximum if greatest else jnp.minimum)(found, jnp.asarray(initial, x.dtype))


@_extreme.defjvp
def _extreme_jvp(count, greatest, initial, primals, tangents):
    x, ids = primals
    found = _extreme(x, ids, count, greatest, initial)
    equal = x == found.at[ids].get(mode="clip")
    number = _sum(cast(equal, x.dtype), ids, count)
    share = jnp.where(equal, tangents[0] / jnp.maximum(number, 1).at[ids].get(mode="clip"), 0)
    return found, _sum(share, ids, count)


def _product(x: Array, ids: Array, ends: Array, lengths: Array) -> Array:
    """The product of each segment, by a running product that begins anew with each; its gradient is exact where elements are 0."""
    begins = jnp.concatenate([jnp.ones_like(ids[:1], bool), ids[1:] != ids[:-1]]).reshape(-1, *(1,) * (x.ndim - 1))

    def combine(a: tuple[Array, Array], b: tuple[Array, Array]) -> tuple[Array, Array]:
        return a[0] | b[0], jnp.where(b[0], b[1], a[1] * b[1])

    running = lax.associative_scan(combine, (jnp.broadcast_to(begins, x.shape), x))[1]
    empty = (lengths == 0).reshape(-1, *(1,) * (x.ndim - 1))
    return jnp.where(empty, 1, running.at[jnp.maximum(ends - 1, 0)].get(mode="clip"))


def _reduced(x: Array, starts: Array, lengths: Array, reduce: str, initial: float | None) -> Array:
    """The reductions of the segments of dimension 0 that begin at `starts`."""
    count, start_value = lengths.shape[0], _REDUCTIONS[reduce] if initial is None else initial
    shape = (count, *(1,) * (x.ndim - 1))
    if not x.shape[0]:
        found = jnp.full((count, *x.shape[1:]), start_value, x.dtype)
        return found * jnp.nan if reduce == "mean" and initial is None else found
    ends = starts + lengths
    places = jnp.arange(x.shape[0], dtype=ends.dtype)
    ids = jnp.searchsorted(ends, places, side="right")
    ids = jnp.where((ids < count) & (places >= starts.at[ids].get(mode="clip")), ids, count)
    if reduce in ("max", "min", "amax", "amin"):
        return _extreme(x, ids, count, reduce in ("max", "amax"), float(start_value))
    if reduce == "prod":
        return _product(x, ids, ends, lengths) * start_value
    total = _sum(x, ids, count) + start_value
    if reduce == "sum":
        return total
    length = cast(lengths, x.dtype).reshape(shape)
    return total / (length if initial is None else jnp.maximum(length, 1))


@op(name="_segment_reduce", method=False)
def _segment_reduce(data: Array, bounds: Array, reduce: str, axis: int, given_lengths: bool, initial: float | None) -> Array:
    """The reduction of segments given by their lengths, or by where they begin and the last one ends."""
    if given_lengths:
        lengths, starts = bounds, jnp.cumsum(bounds, -1, dtype=bounds.dtype) - bounds
    else:
        starts, lengths = bounds[..., :-1], jnp.diff(bounds)
    reduced = functools.partial(_reduced, reduce=reduce, initial=initial)
    for _ in range(axis):
        reduced = jax.vmap(reduced)
    return cast(reduced(widened(data), starts, lengths), data.dtype)


def segment_reduce(
    data: Tensor, reduce: str, *, lengths: Tensor | None = None, indices: Tensor | None = None, offsets: Tensor | None = None, axis: int = 0,
    unsafe: bool = False, initial: float | None = None,
) -> Tensor:  # fmt: skip
    """The sum, mean, product or extreme of each of the segments that a dimension is divided into.

    Args:
        data: a floating-point tensor.
        reduce: `"sum"`, `"mean"`, `"prod"`, `"max"` or `"min"`.
        lengths: the lengths of the segments, integers of shape ``(*data.shape[:axis], segments)``.
        indices: not supported, as in PyTorch.
        offsets: in place of `lengths` where each segment begins, and where the last one ends: shape ``(*data.shape[:axis], segments + 1)``.
        axis: the dimension.
        unsafe: do not check the lengths. (Inside a transformation they never are.)
        initial: what each reduction starts with. Default: what leaves it as it is; the mean of an empty segment is NaN.

    Returns:
        A tensor with `segments` places in the dimension `axis`.

    Raises:
        RuntimeError: lengths that are negative or do not sum to that of the dimension, or of a wrong shape.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.segment_reduce(nr.tensor([1.0, 2.0, 3.0, 4.0]), "sum", lengths=nr.tensor([1, 3]))
        tensor([1., 9.])
    """
    if indices is not None:
        raise ShapeError("segment_reduce(): indices based reduction is not supported; give lengths= or offsets=")
    bounds = lengths if lengths is not None else offsets
    if bounds is None:
        raise ShapeError("segment_reduce(): Either lengths or offsets must be defined.")
    if reduce not in _REDUCTIONS:
        raise ShapeError(f"reduce argument must be either sum, prod, mean, max or min, got {reduce}")
    if not data.dtype.is_floating_point or bounds.dtype.dtype.kind not in "iu":
        raise DtypeError(f"segment_reduce(): takes floating-point data and integer lengths, got {data.dtype} and {bounds.dtype}")
    dim = wrap_dim(axis, data.dim())
    if bounds.dim() != dim + 1 or tuple(bounds.shape[:dim]) != tuple(data.shape[:dim]):
        raise ShapeError(
            f"segment_reduce(): Expected axis to be the last dimension of lengths, whose shape before it is that of data: got shapes {tuple(bounds.shape)} "
            f"and {tuple(data.shape)} for axis {axis}"
        )
    if lengths is not None and not unsafe and not isinstance(lengths._value, jax.core.Tracer):
        values = lengths.numpy()
        if values.size and values.min() < 0:
            raise ShapeError("lengths contains negative value!")
        if (values.sum(-1) != data.shape[dim]).any():
            raise ShapeError(f"segment_reduce(): Expected all rows of lengths along axis to sum to {data.shape[dim]} when !unsafe.")
    return _segment_reduce(data, bounds, reduce, dim, lengths is not None, initial)
