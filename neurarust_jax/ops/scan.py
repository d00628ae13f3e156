"""Running sums, products and extremes along a dimension; differences and the trapezoidal rule."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from .. import dtypes
from ..dispatch import Array, op
from ..errors import ArgumentError, DtypeError, ShapeError
from .common import cast, floating, is_inexact, promote, refuse, strong, wrap_dim
from .reduction import ValuesAndIndices, index_dtype, summable, widened

__all__ = ["cumsum", "cumprod", "cummax", "cummin", "logcumsumexp", "cumulative_trapezoid", "trapezoid", "trapz", "diff"]


def _running(scan: Any, x: Array, dim: int) -> Array:
    """`scan(x, dim)`; a 0-d tensor as one of length 1."""
    dim = wrap_dim(dim, x.ndim)
    return scan(x.reshape(x.shape or (1,)), dim).reshape(x.shape)


def _accumulable(input: Array, dtype: Any, function: str) -> Array:
    x = summable(input, dtype)
    refuse(x, "b", function)
    return x


@op(linear=True)
def cumsum(input: Array, dim: int, *, dtype: dtypes.dtype | None = None) -> Array:
    """The running sum along a dimension.

    Args:
        input: a tensor.
        dim: the dimension.
        dtype: convert to this first. Default: the dtype of `input`; int64 for integers and booleans.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.cumsum(nr.tensor([1, 2, 3]), dim=0)
        tensor([1, 3, 6])
    """
    x = _accumulable(input, dtype, "cumsum")
    return cast(_running(lax.cumsum, widened(x) if is_inexact(x) else x, dim), x.dtype)


@op
def cumprod(input: Array, dim: int, *, dtype: dtypes.dtype | None = None) -> Array:
    """The running product along a dimension. Its gradient is exact where elements are 0. The arguments are those of `cumsum`."""
    x = _accumulable(input, dtype, "cumprod")
    return cast(_running(lax.cumprod, widened(x) if is_inexact(x) else x, dim), x.dtype)


def _running_extreme(input: Array, dim: int, scan: Any, function: str) -> ValuesAndIndices:
    refuse(input, "c", function)
    x = strong(input)
    dim = wrap_dim(dim, x.ndim)
    if x.ndim == 0:
        return ValuesAndIndices(x, jnp.zeros((), np.int64))
    constant = lax.stop_gradient(cast(x, np.uint8) if x.dtype == bool else x)
    here = constant == scan(constant, dim)
    if is_inexact(x):
        here = here | jnp.isnan(x)
    places = lax.broadcasted_iota(index_dtype(x.shape[dim]), x.shape, dim)
    index = lax.cummax(jnp.where(here, places, 0), dim)  # the last place so far that held the extreme
    return ValuesAndIndices(jnp.take_along_axis(x, index, dim, mode="clip"), cast(index, np.int64))


@op
def cummax(input: Array, dim: int) -> ValuesAndIndices:
    """The greatest element so far along a dimension, and the last position where it occurred. NaN counts as the greatest.

    Returns:
        A named tuple `(values, indices)`.
    """
    return _running_extreme(input, dim, lax.cummax, "cummax")


@op
def cummin(input: Array, dim: int) -> ValuesAndIndices:
    """The least element so far along a dimension, and the last position where it occurred. NaN counts as the least.

    Returns:
        A named tuple `(values, indices)`.
    """
    return _running_extreme(input, dim, lax.cummin, "cummin")


@op
def logcumsumexp(input: Array, dim: int) -> Array:
    """The logarithm of the running sum of exponentials along a dimension, without overflow."""
    if not is_inexact(input):
        raise DtypeError(f'"logcumsumexp" not implemented for {dtypes.from_numpy(input.dtype)}; write x.float()')
    add = _complex_logaddexp if input.dtype.kind == "c" else jnp.logaddexp

    def scan(x: Array, dim: int) -> Array:  # lax.cumlogsumexp becomes a window reduction, whose time grows with the square of the length
        return lax.associative_scan(add, x, axis=dim)

    return cast(_running(scan, widened(input), dim), input.dtype)


def _complex_logaddexp(a: Array, b: Array) -> Array:
    """The branch of the logarithm that PyTorch takes: the angle of the greater term, and a correction."""
    low, high = jnp.where(a.real < b.real, a, b), jnp.where(a.real < b.real, b, a)
    vanishes = low.real == -jnp.inf
    return jnp.where(vanishes, high, jnp.log1p(jnp.exp(jnp.where(vanishes, 0, low - high))) + high)


# --- differences ---------------------------------------------------------------------------------------------------


def _neighbours(x: Array, dim: int) -> tuple[Array, Array]:
    """(all but the last, all but the first) along `dim`."""
    length = x.shape[dim]
    return lax.slice_in_dim(x, 0, max(length - 1, 0), axis=dim), lax.slice_in_dim(x, min(1, length), length, axis=dim)


@op(linear=True)
def diff(input: Array, n: int = 1, dim: int = -1, prepend: Array | None = None, append: Array | None = None) -> Array:
    """The `n`-th difference of neighbours along a dimension: ``x[i + 1] - x[i]``, `n` times over. Of booleans the exclusive or.

    Args:
        input: a tensor with at least one dimension.
        n: how many times.
        dim: the dimension.
        prepend, append: tensors to put before and after `input` first, of the same shape but for `dim`.

    Returns:
        A tensor that is `n` shorter along `dim`.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.diff(nr.tensor([1, 4, 9, 16]))
        tensor([3, 5, 7])
    """
    if input.ndim == 0:
        raise ShapeError("diff expects input to be at least one-dimensional, got a 0-d tensor")
    dim = wrap_dim(dim, input.ndim)
    if n < 0:
        raise ShapeError(f"order must be non-negative but got {n}")
    if n == 0:
        return strong(input)
    parts = [x for x in (prepend, input, append) if x is not None]
    for part in parts:
        if part.ndim != input.ndim:
            raise ShapeError(f"diff expects prepend or append to be the same dimension as input: {part.shape} and {input.shape}")
        for i, (have, wanted) in enumerate(zip(part.shape, input.shape, strict=True)):
            if i != dim and have != wanted:
                raise ShapeError(
                    f"diff expects the shape of tensor to prepend or append to match that of input except along the differencing dimension; "
                    f"input.size({i}) = {wanted}, but got {have}"
                )
    dtype = dtypes.result_numpy_dtype(*parts)
    x = jnp.concatenate([cast(part, dtype) for part in parts], dim)
    for _ in range(min(n, x.shape[dim])):
        before, after = _neighbours(x, dim)
        x = before ^ after if x.dtype == bool else after - before
    return x


def _sample_spacing(y: Array, x: Array | None, dx: Any, dim: int, function: str) -> Array | None:
    """Distances of neighbouring samples, broadcastable with them, from positions `x`; `None` if they are all `dx`."""
    if y.dtype == bool or (x is not None and x.dtype == bool):
        raise ShapeError(f"{function}: received a bool input for `x` or `y`, but bool is not supported; write .float()")
    if x is None:
        if isinstance(dx, complex) or getattr(dx, "dtype", np.dtype(float)).kind == "c":
            raise ShapeError(f"{function}: Currently, we only support dx as a real number.")
        return None
    if dx is not None:
        raise ArgumentError(f"{function}() takes the positions x or the distance dx, not both")
    if x.ndim == 1:
        if x.shape[0] != y.shape[dim]:
            raise ShapeError(f"{function}: There must be one `x` value for each sample point; x has {x.shape[0]}, y has {y.shape[dim]} along dim {dim}")
        x = x.reshape([-1 if d == dim else 1 for d in range(y.ndim)])
    elif x.ndim < y.ndim:
        x = x.reshape((1,) * (y.ndim - x.ndim) + x.shape)
    before, after = _neighbours(x, dim)
    return after - before


def _trapezoids(y: Array, x: Array | None, dx: Any, dim: int, function: str) -> Array:
    """The areas between neighbouring samples."""
    spacing = _sample_spacing(y, x, dx, dim, function)
    before, after = _neighbours(strong(y), dim)
    if spacing is None:
        total = floating(before + after)
        return total * cast(1.0 if dx is None else dx, total.dtype) * 0.5
    total, spacing = promote(before + after, strong(spacing))
    return floating(total * spacing) * 0.5


@op(method=False)
def trapezoid(y: Array, x: Array | None = None, *, dx: Array | float | None = None, dim: int = -1) -> Array:
    """The integral along a dimension by the trapezoidal rule.

    Args:
        y: the samples.
        x: their positions, 1-d or broadcastable with `y`. Default: equally spaced.
        dx: the distance of equally spaced samples. Default: 1.
        dim: the dimension.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.trapezoid(nr.tensor([1.0, 2.0, 3.0]), dx=2)
        tensor(8.)
    """
    dim = wrap_dim(dim, y.ndim)
    if y.ndim and not y.shape[dim]:
        return jnp.zeros(y.shape[:dim] + y.shape[dim + 1 :], y.dtype)
    return jnp.sum(_trapezoids(y, x, dx, dim, "trapezoid"), dim)


@op(method=False)
def trapz(y: Array, x: Array | None = None, *, dx: Array | float | None = None, dim: int = -1) -> Array:
    """An older name of `trapezoid`."""
    return trapezoid.op.function(y, x, dx=dx, dim=dim)


@op(method=False)
def cumulative_trapezoid(y: Array, x: Array | None = None, *, dx: Array | float | None = None, dim: int = -1) -> Array:
    """The running integral along a dimension by the trapezoidal rule, from the second sample on. The arguments are those of `trapezoid`."""
    dim = wrap_dim(dim, y.ndim)
    return lax.cumsum(_trapezoids(y, x, dx, dim, "cumulative_trapezoid"), dim)
