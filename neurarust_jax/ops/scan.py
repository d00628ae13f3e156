"""Running sums, products and extremes along a dimension; differences, numerical gradients and the trapezoidal rule."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from .. import dtypes
from ..dispatch import Array, op
from ..errors import ArgumentError, DtypeError, ShapeError
from ..tensor import Tensor
from .common import cast, floating, is_inexact, promote, refuse, strong, wrap_dim, wrap_dims
from .reduction import ValuesAndIndices, index_dtype, summable, widened

__all__ = ["cumsum", "cumprod", "cummax", "cummin", "logcumsumexp", "cumulative_trapezoid", "trapezoid", "trapz", "diff", "gradient"]


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


# --- numerical gradients -------------------------------------------------------------------------------------------


def _even_slope(x: Array, step: Any, edge_order: int) -> Array:
    """The derivative along dimension 0 at places that lie `step` apart."""
    start, end = x[1:2] - x[:1], x[-1:] - x[-2:-1]
    if edge_order == 2:
        start, end = 2 * x[1:2] - 1.5 * x[:1] - 0.5 * x[2:3], 1.5 * x[-1:] - 2 * x[-2:-1] + 0.5 * x[-3:-2]
    found = jnp.concatenate([start, (x[2:] - x[:-2]) / 2, end])
    return jnp.divide(*promote(found, step))


def _uneven_slope(x: Array, coordinates: Array, edge_order: int) -> Array:
    """The derivative along dimension 0 at places with coordinates, by the parabola through three neighbours: Fornberg (1988)."""
    x, places = promote(x, floating(coordinates).reshape(-1, *(1,) * (x.ndim - 1)))
    steps = places[1:] - places[:-1]
    first, second = steps[:-1], steps[1:]
    whole = first + second
    inner = (x[1:-1] * (second - first)) / (first * second) + x[2:] * (first / (second * whole)) - x[:-2] * (second / (first * whole))
    start, end = (x[1:2] - x[:1]) / steps[:1], (x[-1:] - x[-2:-1]) / steps[-1:]
    if edge_order == 2:
        h, k = first[:1], second[:1]
        start = x[1:2] * ((h + k) / (h * k)) - x[:1] * ((2 * h + k) / (h * (h + k))) - x[2:3] * (h / (k * (h + k)))
        h, k = first[-1:], second[-1:]
        end = x[-3:-2] * (k / (h * (h + k))) - x[-2:-1] * ((h + k) / (h * k)) + x[-1:] * ((h + 2 * k) / (k * (h + k)))
    return jnp.concatenate([start, inner, end])


@op(name="_gradient", method=False)
def _gradient(input: Array, coordinates: Sequence[Array], spacing: tuple[complex, ...], dims: tuple[int, ...], edge_order: int) -> tuple[Array, ...]:
    """The derivative along each of `dims`, at `coordinates` or at places `spacing` apart."""
    if input.dtype in (bool, np.uint8):
        raise DtypeError(f"gradient does not support {dtypes.from_numpy(input.dtype)} input; write x.float()")
    if edge_order not in (1, 2):
        raise ShapeError(f"gradient only supports edge_order=1 and edge_order=2, got {edge_order}")
    x = floating(input)
    found = []
    for i, dim in enumerate(dims):
        length = x.shape[dim]
        if length <= edge_order:
            raise ShapeError(f"gradient expected each dimension size to be at least edge_order+1 = {edge_order + 1}, but dimension {dim} has {length}")
        along = jnp.moveaxis(x, dim, 0)
        if coordinates:
            if coordinates[i].shape != (length,):
                raise ShapeError(f"gradient expected {length} coordinates for dimension {dim}, got a tensor of shape {coordinates[i].shape}")
            slope = _uneven_slope(along, coordinates[i], edge_order)
        else:
            slope = _even_slope(along, spacing[i], edge_order)
        found.append(jnp.moveaxis(slope, 0, dim))
    return tuple(found)


def gradient(input: Any, *, spacing: Any = None, dim: int | Sequence[int] | None = None, edge_order: int = 1) -> tuple[Tensor, ...]:
    """Estimates of the partial derivatives of the function whose values on a grid are given, by central differences.

    Args:
        input: the values; integers become the default dtype.
        spacing: how the grid lies: the distance of neighbours, a number for all dimensions or one for each; or for each dimension a 1-d tensor of
            coordinates. Default: 1.
        dim: the dimension, or several. Default: all.
        edge_order: 1 or 2: the order of the estimate at the ends, where it is one-sided.

    Returns:
        For each dimension a tensor of the shape of `input`.

    Raises:
        RuntimeError: a dimension has fewer than ``edge_order + 1`` places, or there are not as many spacings as dimensions.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.gradient(nr.tensor([1.0, 4.0, 9.0, 16.0]))
        (tensor([3., 4., 6., 7.]),)
    """
    ndim = len(input.shape)
    dims = wrap_dims(dim if dim is None else tuple(dim) if isinstance(dim, Sequence) else dim, ndim, empty_is_all=False)
    if not isinstance(spacing, list | tuple):
        spacing = (1 if spacing is None else spacing,) * len(dims)
    if len(spacing) != len(dims):
        raise ShapeError(f"gradient expected one spacing for all dimensions or one for each of the {len(dims)} in dim={dims}, got {len(spacing)}")
    has_places = any(getattr(s, "shape", ()) for s in spacing)
    return _gradient(input, spacing if has_places else (), () if has_places else spacing, dims, edge_order)
