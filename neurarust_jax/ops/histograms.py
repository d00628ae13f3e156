"""Counting: how often each integer occurs (`bincount`), and how many elements fall into each bin (`histc`, `histogram`, `histogramdd`)."""

import builtins
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from .. import dtypes
from ..dispatch import Array, op
from ..errors import ArgumentTypeError, DtypeError, ShapeError, TracedValueError
from ..tensor import Tensor, attach
from .common import cast, numpy_names, refuse
from .creation import _linspace, as_tensor
from .reduction import widened
from .sorting import insertion_points

__all__ = ["bincount", "histc", "histogram", "histogramdd"]


class Histogram(NamedTuple):
    """Counts, and the edges of the bins."""

    hist: Any
    bin_edges: Any


@op(name="_bincount", method=False)
def _bincount(input: Array, weights: Array | None, length: int) -> Array:
    """Counts of the integers below `length`; others are not counted."""
    places = jnp.where(input < 0, length, cast(input, np.int64))
    if weights is None:
        return jnp.zeros(length, np.int64).at[places].add(1, mode="drop")
    weights = cast(weights, np.float32 if weights.dtype == np.float32 else np.float64)
    return jnp.zeros(length, weights.dtype).at[places].add(weights, mode="drop")


@numpy_names
def bincount(input, weights=None, minlength: int = 0, *, size: int | None = None):
    """How often each non-negative integer occurs.

    Args:
        input: a 1-d tensor of non-negative integers.
        weights: add these up, rather than ones; a tensor of the same length.
        minlength: the least length of the result.
        size: the length of the result, known beforehand; needed inside transformations. Integers beyond it are not counted.

    Returns:
        A tensor of length ``max(input) + 1`` (or `minlength`, or `size`): int64, with `weights` float32 or float64.

    Raises:
        RuntimeError: negative or fractional elements, other shapes, or inside a transformation without `size`.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.bincount(nr.tensor([0, 2, 2]))
        tensor([1, 0, 2])
    """
    input = as_tensor(input)
    value = input._value
    refuse(value, "bcfV", "bincount")
    if minlength < 0:
        raise ShapeError(f"minlength should be >= 0, got {minlength}")
    if value.ndim != 1:
        raise ShapeError(f"bincount only supports 1-d non-negative integral inputs, got shape {tuple(value.shape)}; write x.flatten()")
    if weights is not None and tuple(weights.shape) != tuple(value.shape):
        raise ShapeError(f"weights should be 1-d and have the same length as input, got {tuple(weights.shape)} and {tuple(value.shape)}")
    if size is None:
        if isinstance(value, jax.core.Tracer):
            raise TracedValueError(
                "the result of bincount() has a size that is unknown inside nr.jit and other transformations. Write nr.bincount(x, size=n), or call it outside."
            )
        array = np.asarray(value)
        if not array.size:
            return _bincount(input, None, minlength)
        if array.min() < 0:
            raise ShapeError(f"bincount only supports 1-d non-negative integral inputs, got {array.min()}")
        size = builtins.max(int(array.max()) + 1, minlength)
    return _bincount(input, weights, size)


attach("bincount", bincount)


# --- histograms ----------------------------------------------------------------------------------------------------


def _check_histogram(input: Tensor, bins: Sequence[int], function: str, dtypes_taken: tuple[str, ...] = ("float32", "float64")) -> None:
    if input.dtype.name not in dtypes_taken:
        raise DtypeError(f'"{function}" not implemented for {input.dtype}; write x.float()')
    for d, count in enumerate(bins):
        if count < 1:
            raise ShapeError(f"{function}(): bins must be > 0, but got {count} for dimension {d}")


def _check_range(low: Any, high: Any, function: str) -> None:
    """Raise PyTorch's error for a range that has no bins, wherever its value is at hand."""
    if not (math.isfinite(low) and math.isfinite(high)):
        raise ShapeError(f"{function}: range of [{low}, {high}] is not finite; write nr.nan_to_num(x), or give the range")
    if low > high:
        raise ShapeError(f"{function}: max must be larger than min, and min should not exceed max, but got min {low} max {high}")


def _check_elements(input: Tensor, function: str) -> None:
    value = input._value
    if value.size and not isinstance(value, jax.core.Tracer) and next(iter(value.devices())).platform == "cpu":
        array = np.asarray(value)
        _check_range(float(array.min()), float(array.max()), function)


def _occupied_range(x: Array, given: tuple[Any, Any] | None, margin: float) -> tuple[Array, Array]:
    """The range to divide into bins: the given one, or else from the least to the greatest element; widened by `margin` if it is a point."""
    if given is not None:
        low, high = (jnp.asarray(b, x.dtype) for b in given)
    elif x.size:
        low, high = jnp.min(x), jnp.max(x)
    else:
        low, high = jnp.zeros((), x.dtype), jnp.ones((), x.dtype)
    point = low == high
    return jnp.where(point, low - margin, low), jnp.where(point, high + margin, high)


def _sums_by_bin(places: Array, weight: Array | None, bins: int, dtype: Any) -> Array:
    """Sums of `weight` (of ones) at `places`; the place `bins` stands for none."""
    wide = np.promote_types(np.float32, dtype) if np.dtype(dtype).kind == "f" else np.dtype(np.float32)
    weight = jnp.ones(places.shape, wide) if weight is None else cast(weight, wide).reshape(places.shape)
    return cast(jnp.zeros(bins, wide).at[places].add(weight, mode="drop"), dtype)


def _rounded(x: Array, like: Array) -> Array:
    """`x` with the precision of another dtype. PyTorch finds the bin in half precision, which can be another bin than the exact one."""
    if like.dtype == x.dtype:
        return x
    precision = jnp.finfo(like.dtype)
    return lax.reduce_precision(x, precision.nexp, precision.nmant)


@op(name="_histc", method=False)
def _histc(input: Array, bins: int, given: tuple[float, float] | None) -> Array:
    """Counts in bins of equal width."""
    x = widened(input).reshape(-1)
    low, high = _occupied_range(x, given, 1)
    places = jnp.trunc(_rounded(_rounded(_rounded(x - low, input) * bins, input) / _rounded(high - low, input), input))
    inside = (x >= low) & (x <= high)
    return _sums_by_bin(cast(jnp.where(inside, jnp.minimum(places, bins - 1), bins), np.int64), None, bins, input.dtype)


@numpy_names
def histc(input, bins: int = 100, min: float = 0, max: float = 0):
    """How many elements fall into each of `bins` bins of equal width between `min` and `max`. Elements outside, and NaN, are not counted.

    Args:
        input: a floating-point tensor.
        bins: how many.
        min, max: the range, both ends included. Where they are equal: from the least to the greatest element.

    Returns:
        A tensor of length `bins`, of the dtype of `input`.

    Raises:
        RuntimeError: another dtype, no bins, or a range that is empty or not finite.
    """
    input = as_tensor(input).detach()
    _check_histogram(input, (bins,), "histc", ("float16", "bfloat16", "float32", "float64"))
    low, high = float(min), float(max)
    _check_range(low, high, "histc")
    if low == high:
        _check_elements(input, "histc")
        return _histc(input, bins, None)
    return _histc(input, bins, (low, high))


attach("histc", histc)


linspace_between = _linspace.op.function


@op(name="_even_edges", method=False)
def _even_edges(input: Array, bins: tuple[int, ...], given: tuple[float, ...] | None) -> tuple[Array, ...]:
    """For each column of `input` the edges of bins of equal width."""
    edges = []
    for d, count in enumerate(bins):
        low, high = _occupied_range(input[:, d], None if given is None else (given[2 * d], given[2 * d + 1]), 0.5)
        edges.append(linspace_between(low, high, count + 1, dtypes.from_numpy(input.dtype), 0))
    return tuple(edges)


@op(name="_histogramdd", method=False)
def _histogramdd(input: Array, edges: Sequence[Array], weight: Array | None, density: bool) -> Array:
    """Sums of `weight` (of ones) by bin, for the rows of `input`."""
    bins = [len(e) - 1 for e in edges]
    places = jnp.zeros(input.shape[0], np.int64)
    inside = jnp.ones(input.shape[0], bool)
    for d, edge in enumerate(edges):
        x = input[:, d]
        place = jnp.clip(insertion_points(lax.stop_gradient(edge), lax.stop_gradient(x), right=True) - 1, 0, bins[d] - 1)
        places = places * bins[d] + place
        inside = inside & (x >= edge[0]) & (x <= edge[-1])
    total = math.prod(bins)
    hist = _sums_by_bin(jnp.where(inside, places, total), weight, total, input.dtype).reshape(bins)
    if density:
        hist = hist / jnp.sum(hist)
        for d, edge in enumerate(edges):
            hist = hist / jnp.diff(edge).reshape([-1 if i == d else 1 for i in range(len(bins))])
    return hist


@numpy_names
def histogramdd(input, bins, *, range=None, weight=None, density: bool = False) -> Histogram:
    """How many points fall into each cell of a grid of bins.

    Args:
        input: points, a float32 or float64 tensor whose last dimension holds the coordinates.
        bins: the number of bins of equal width along each coordinate (a list, or one int for all); or a list of 1-d tensors with their edges.
        range: low and high end of each coordinate in turn, for numbers of bins. Default: from the least to the greatest coordinate.
        weight: what each point counts. Default: 1.
        density: divide by the sum and by the bins' volumes.

    Returns:
        A named tuple `(hist, bin_edges)`.

    Raises:
        RuntimeError: dtypes or shapes do not fit together, no bins, or a range that is not finite.
    """
    input = as_tensor(input)
    if input.ndim < 2:
        raise ShapeError(f"histogramdd: input tensor should have at least 2 dimensions, got shape {tuple(input.shape)}")
    width = input.shape[-1]
    bins = (bins,) * width if isinstance(bins, int) else tuple(bins)
    if len(bins) != width:
        raise ShapeError(f"histogramdd: The size of bins must be equal to the innermost dimension of the input, got {len(bins)} and {width}")
    points = input.reshape(-1, width)
    if isinstance(bins[0], int):
        _check_histogram(input, bins, "histogramdd")
        edges = _even_edges(points, bins, _checked_range(points, range, width))
    else:
        _check_histogram(input, (), "histogramdd")
        edges = tuple(_checked_edges(e, d, input) for d, e in enumerate(bins))
    if weight is not None:
        _check_weight(weight, input)
    return Histogram(_histogramdd(points, edges, weight, density), edges)


def _checked_range(points: Tensor, given: Any, width: int) -> tuple[float, ...] | None:
    if given is None:
        _check_elements(points, "histogramdd")
        return None
    given = tuple(float(b) for b in given)
    if len(given) != 2 * width:
        raise ShapeError(f"histogramdd: for a {width}-dimensional histogram range should have {2 * width} elements, but got {len(given)}")
    for d in builtins.range(width):
        _check_range(given[2 * d], given[2 * d + 1], "histogramdd")
    return given


def _checked_edges(edges: Any, d: int, input: Tensor) -> Tensor:
    edges = as_tensor(edges)
    if edges.dtype != input.dtype:
        raise DtypeError(f"histogramdd: input tensor and bins tensors should have the same dtype, but got {input.dtype} and {edges.dtype} for dimension {d}")
    if edges.ndim != 1:
        raise ShapeError(f"histogramdd: bins tensor should have one dimension, but got {edges.ndim} dimensions in the bins tensor for dimension {d}")
    if edges.shape[0] < 2:
        raise ShapeError(f"histogramdd: bins must be > 0, but the bins tensor for dimension {d} has {edges.shape[0]} edges")
    return edges


def _check_weight(weight: Tensor, input: Tensor) -> None:
    if tuple(weight.shape) != tuple(input.shape[:-1]):
        raise ShapeError(
            "histogramdd: if weight tensor is provided it should have the same shape as the input tensor excluding its innermost dimension, "
            f"but got input with shape {tuple(input.shape)} and weight with shape {tuple(weight.shape)}"
        )
    if weight.dtype != input.dtype:
        raise DtypeError(f"histogramdd: input tensor and weight tensor should have the same dtype, but got {input.dtype} and {weight.dtype}")


@numpy_names
def histogram(input, bins=100, *, range=None, weight=None, density: bool = False) -> Histogram:
    """How many elements fall into each bin. Elements outside, and NaN, are not counted.

    Args:
        input: a float32 or float64 tensor.
        bins: the number of bins of equal width; or a 1-d tensor with their edges, of the dtype of `input`.
        range: low and high end, for a number of bins. Default: from the least to the greatest element.
        weight: what each element counts; a tensor of the shape and dtype of `input`. Default: 1.
        density: divide by the sum and by the bins' widths, so that the integral is 1.

    Returns:
        A named tuple `(hist, bin_edges)`. Each bin includes its left edge, and the last one its right edge too.

    Raises:
        RuntimeError: dtypes or shapes do not fit together, no bins, or a range that is not finite.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.histogram(nr.tensor([1.0, 2.0, 1.0]), bins=4, range=(0.0, 3.0)).hist
        tensor([0., 2., 1., 0.])
    """
    if range is not None and not isinstance(bins, int):
        raise ArgumentTypeError("histogram() takes range= only for a number of bins, not with their edges")
    points = as_tensor(input).reshape(-1, 1)
    weight = None if weight is None else as_tensor(weight).reshape(-1)
    hist, edges = histogramdd(points, [bins], range=range, weight=weight, density=density)
    return Histogram(hist, edges[0])


attach("histogram", histogram)
