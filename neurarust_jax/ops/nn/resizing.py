"""Resizing of signals, images and volumes: `interpolate` in all modes.

Every mode but `"area"` works on one dimension after the other. Along a dimension each output is a weighted sum of a few inputs, its *taps*; which ones,
and with what weights, follows from the sizes alone, so they are computed while the op is compiled.
"""

import functools
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ...dispatch import Array, op
from ...errors import ArgumentError, ArgumentTypeError, ShapeError
from ..common import cast, refuse
from ..reduction import widened
from .adaptive_pooling import adaptive_avg_pool

__all__ = ["interpolate", "upsample", "upsample_bilinear", "upsample_nearest"]

_WEIGHTED = {"linear": 1, "bilinear": 2, "trilinear": 3, "bicubic": 2, "lanczos": 2}  # modes, and the number of dimensions that each resizes
_DENSE_UP_TO = 1 << 22  # elements of the matrix by which the gradient is computed


class _Taps(NamedTuple):
    """For each output the positions of its inputs and their weights, both of shape (outputs, taps); no weights if the output is the one input."""

    positions: np.ndarray
    weights: np.ndarray | None


# --- positions and weights -------------------------------------------------------------------------------------------


def _scale(size: int, length: int, align_corners: bool, factor: float | None, real: Any) -> Any:
    """The distance between outputs, in inputs."""
    if align_corners:
        return real(size - 1) / real(length - 1) if length > 1 else real(0)
    return real(1 / factor) if factor else real(size) / real(length)


def _nearest(size: int, length: int, factor: float | None, exact: bool, real: Any) -> _Taps:
    scale, outputs = _scale(size, length, False, factor, real), np.arange(length, dtype=real)
    sources = (outputs + real(0.5)) * scale if exact else outputs * scale
    return _Taps(np.minimum(np.floor(sources.astype(np.float32)).astype(np.int64), size - 1)[:, None], None)


def _linear(size: int, length: int, align_corners: bool, factor: float | None, real: Any) -> _Taps:
    scale, outputs = _scale(size, length, align_corners, factor, real), np.arange(length, dtype=real)
    sources = outputs * scale if align_corners else np.maximum(scale * (outputs + real(0.5)) - real(0.5), real(0))
    first = np.minimum(np.floor(sources).astype(np.int64), size - 1)
    right = np.clip(sources - first.astype(real), real(0), real(1))
    return _Taps(np.stack([first, np.minimum(first + 1, size - 1)], 1), np.stack([real(1) - right, right], 1))


def _cubic(size: int, length: int, align_corners: bool, factor: float | None, real: Any) -> _Taps:
    scale, outputs = _scale(size, length, align_corners, factor, real), np.arange(length, dtype=real)
    sources = outputs * scale if align_corners else scale * (outputs + real(0.5)) - real(0.5)
    first = np.minimum(np.floor(sources).astype(np.int64), size - 1)
    right = np.clip(sources - first.astype(real), real(0), real(1))
    distances = right[:, None] + np.array([1, 0, -1, -2], real)
    return _Taps(np.clip(first[:, None] + np.arange(-1, 3), 0, size - 1), cubic_kernel(distances, -0.75).astype(real))


def _windowed(size: int, length: int, align_corners: bool, factor: float | None, real: Any, kernel: Callable, width: int) -> _Taps:
    """Taps under a kernel that is stretched when the size shrinks, as in Pillow; those past the ends are left out, and the others make up for them."""
    scale = _scale(size, length, align_corners, factor, real)
    stretch = max(scale, real(1))
    reach = real(width * 0.5) * stretch
    centers = scale * (np.arange(length, dtype=real) + real(0.5))
    first = np.maximum((centers - reach + real(0.5)).astype(np.int64), 0)
    counts = np.minimum((centers + reach + real(0.5)).astype(np.int64), size) - first
    taps = np.arange(max(int(counts.max()), 1))
    positions = first[:, None] + taps
    weights = kernel((positions.astype(real) - centers[:, None] + real(0.5)) * (real(1) / stretch))
    weights = np.where(taps < counts[:, None], weights, 0)
    total = weights.sum(1, keepdims=True)
    return _Taps(np.minimum(positions, size - 1), (weights / np.where(total == 0, 1, total)).astype(real))


def cubic_kernel(x: Any, a: float) -> Any:
    """The cubic convolution kernel at distances `x` (Keys, 1981), for NumPy's arrays and JAX's."""
    x = abs(x)
    lib = np if isinstance(x, np.ndarray) else jnp
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
    return lib.where(x <= 1, near, lib.where(x < 2, far, lib.zeros_like(x)))


def _triangle(x: np.ndarray) -> np.ndarray:
    return np.maximum(1 - np.abs(x), 0)


def _lanczos3(x: np.ndarray) -> np.ndarray:
    return np.where(np.abs(x) < 3, np.sinc(x) * np.sinc(x / 3), 0)


_KERNELS = {"bilinear": (_triangle, 2), "bicubic": (functools.partial(cubic_kernel, a=-0.5), 4), "lanczos": (_lanczos3, 6)}  # and their widths


def _taps(mode: str, size: int, length: int, align_corners: bool, factor: float | None, antialias: bool, dtype: np.dtype) -> _Taps:
    if mode.startswith("nearest"):
        return _nearest(size, length, factor, mode == "nearest-exact", np.float64 if dtype == np.float64 else np.float32)
    if size == length and (antialias or dtype == np.uint8 or mode != "bicubic"):
        return _Taps(np.arange(length)[:, None], None)
    real = np.float32 if dtype == np.float32 else np.float64
    if antialias:
        return _windowed(size, length, align_corners, factor, real, *_KERNELS[mode])
    return (_cubic if mode == "bicubic" else _linear)(size, length, align_corners, factor, real)


# --- taking the taps -------------------------------------------------------------------------------------------------


def _resized(x: Array, axis: int, taps: _Taps) -> Array:
    """The weighted sums along one dimension."""
    positions, size = taps.positions, x.shape[axis]
    first = positions[:, 0]
    if taps.weights is None:
        if np.array_equal(first, np.arange(size)):
            return x
        times, left = divmod(len(first), size)
        if not left and np.array_equal(first, np.arange(size).repeat(times)):
            return jnp.repeat(x, times, axis)
        steps = np.unique(np.diff(first))
        if len(steps) == 1 and steps[0] > 0:
            return lax.slice_in_dim(x, int(first[0]), int(first[-1]) + 1, int(steps[0]), axis)
    if x.dtype.kind in "fV" and len(first) * size <= _DENSE_UP_TO:
        return _taken(x, axis, _Hashed(taps))
    return _take(x, axis, taps)


def _take(x: Array, axis: int, taps: _Taps) -> Array:
    terms = []
    for column in range(taps.positions.shape[1]):
        term = jnp.take(x, taps.positions[:, column].astype(np.int32), axis, mode="clip")
        if taps.weights is not None:
            term = term * taps.weights[:, column].astype(x.dtype).reshape((-1,) + (1,) * (x.ndim - axis - 1))
        terms.append(term)
    return functools.reduce(jnp.add, terms)


class _Hashed:
    """Taps as a static argument."""

    def __init__(self, taps: _Taps):
        self.taps = taps


@functools.partial(jax.custom_jvp, nondiff_argnums=(1, 2))
def _taken(x: Array, axis: int, hashed: _Hashed) -> Array:
    """As `_take`. Gradients go by a matrix: the transpose of a gather is a scatter, which XLA runs many times slower."""
    return _take(x, axis, hashed.taps)


@_taken.defjvp
def _(axis: int, hashed: _Hashed, primals: Any, tangents: Any) -> Any:
    (x,), (tangent,) = primals, tangents
    positions, weights = hashed.taps
    matrix = np.zeros((len(positions), x.shape[axis]), x.dtype)
    for column in range(positions.shape[1]):
        np.add.at(matrix, (np.arange(len(positions)), positions[:, column]), 1 if weights is None else weights[:, column])
    product = jnp.tensordot(tangent, matrix, ((axis,), (1,)), precision="highest", preferred_element_type=x.dtype)
    return _take(x, axis, hashed.taps), jnp.moveaxis(product, -1, axis)


def _resized_bytes(x: Array, axis: int, taps: _Taps) -> Array:
    """The weighted sums of bytes in fixed-point arithmetic of 16 bits, rounded and saturated, as PyTorch computes them."""
    if taps.weights is None:
        return _resized(x, axis, taps)
    positions, weights = taps.positions, taps.weights.copy()
    for later in range(1, positions.shape[1]):
        for earlier in range(later):  # taps that the ends hold back are one tap with the sum of their weights, which is rounded once
            same = positions[:, later] == positions[:, earlier]
            weights[same, earlier] += weights[same, later]
            weights[same, later] = 0
    largest, bits = weights.max(), 0
    while bits < 22 and int(0.5 + largest * (1 << (bits + 1))) < 1 << 15:
        bits += 1
    scaled = weights * (1 << bits)
    whole = np.where(scaled < 0, scaled - 0.5, scaled + 0.5).astype(np.int32)
    total = _take(cast(x, np.int32), axis, _Taps(positions, whole)) + np.int32(1 << (bits - 1))
    return cast(jnp.clip(total >> bits, 0, 255), np.uint8)


# --- the functions -----------------------------------------------------------------------------------------------------


@op(method=False, linear=True)
def interpolate(
    input: Array,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Array:
    r"""Resize the spatial dimensions, all but the first two.

    Args:
        input: shape (N, C, L), (N, C, H, W) or (N, C, D, H, W); floating-point, or uint8 for `"nearest"`, `"nearest-exact"`, `"bilinear"`, `"bicubic"` and `"lanczos"`.
        size: the new size of each spatial dimension, or one int for all.
        scale_factor: instead of `size`, what the sizes are multiplied by (and rounded down), or one number for all.
        mode: `"nearest"` takes the input at ``floor(i * scale)``, `"nearest-exact"` the one whose cell holds the output's center; `"linear"` (3-d input),
            `"bilinear"` (4-d) and `"trilinear"` (5-d) weight the two neighbours along each dimension, `"bicubic"` (4-d) four (Keys' kernel with ``a = -0.75``);
            `"area"` averages; `"lanczos"` (4-d, with `antialias`) weights six by Lanczos' kernel.
        align_corners: for the modes with weights, whether the centers of the corner cells stay where they are, rather than the corners of the image. Default: false.
        recompute_scale_factor: go by the sizes, which are rounded, rather than by `scale_factor` itself.
        antialias: for `"bilinear"`, `"bicubic"` and `"lanczos"`: stretch the kernel when the size shrinks, as Pillow does (``a = -0.5`` in `"bicubic"` then).

    Returns:
        Shape (N, C, *size), of the input's dtype. Bytes are rounded and saturated.

    Raises:
        ValueError: `size` and `scale_factor` are both given or both missing, of another length than the spatial dimensions, or an option does not go with the mode.
        NotImplementedError: the mode does not go with the number of dimensions.
        RuntimeError: a size is 0, or the dtype is not taken.

    Examples:
        >>> import neurarust_jax as nr
        >>> x = nr.arange(3.0).reshape(1, 1, 3)
        >>> nr.nn.functional.interpolate(x, scale_factor=2, mode="linear")
        tensor([[[0.0000, 0.2500, 0.7500, 1.2500, 1.7500, 2.0000]]])
        >>> nr.nn.functional.interpolate(x, size=6)
        tensor([[[0., 0., 1., 1., 2., 2.]]])
    """
    if mode not in _WEIGHTED and mode not in ("nearest", "nearest-exact", "area"):
        raise NotImplementedError(f"interpolate: unknown mode {mode!r}; expected nearest, nearest-exact, linear, bilinear, bicubic, trilinear, area or lanczos")
    if align_corners is not None and mode not in _WEIGHTED:
        raise ArgumentError("align_corners option can only be set with the interpolating modes: linear | bilinear | bicubic | trilinear")
    n = input.ndim - 2
    lengths, factors = _sizes(input, n, size, scale_factor, bool(recompute_scale_factor) or mode == "area", bool(recompute_scale_factor))
    if antialias and not (mode in ("bilinear", "bicubic", "lanczos") and n == 2):
        raise ArgumentError("Anti-alias option is restricted to bilinear, bicubic, and lanczos modes and requires a 4-D tensor as input")
    if n not in (1, 2, 3) or _WEIGHTED.get(mode, n) != n:
        wanted = _WEIGHTED.get(mode, 1) + 2
        raise NotImplementedError(
            f"Got {n + 2}D input, but {mode} mode needs {wanted}D input" if n in (1, 2, 3) else f"Input Error: Only 3D, 4D and 5D input Tensors supported (got {n + 2}D)"
        )
    if mode == "lanczos" and (align_corners or not antialias):
        raise ArgumentError("Lanczos mode does not support align_corners=True" if align_corners else "Lanczos mode requires antialias=True")
    if 0 in input.shape[1:]:
        raise ShapeError(f"Non-empty {n + 2}D data tensor expected but got a tensor with sizes {list(input.shape)}")
    if min(lengths) <= 0:
        raise ShapeError(f"Input and output sizes should be greater than 0, but got input {list(input.shape[2:])} output {list(lengths)}")
    if mode == "area":
        refuse(input, "biuc", f"adaptive_avg_pool{n}d")
        return adaptive_avg_pool(input, tuple(lengths), n, f"adaptive_avg_pool{n}d")
    if input.dtype.kind not in "fV" and (input.dtype != np.uint8 or mode in ("linear", "trilinear")):
        refuse(input, "biuc", f"upsample_{mode.replace('-', '_')}{n}d")
    x = widened(input) if input.dtype.kind in "fV" else input
    taps = [_taps(mode, s, o, bool(align_corners), f, antialias, x.dtype) for s, o, f in zip(input.shape[2:], lengths, factors, strict=True)]
    if x.dtype == np.uint8:
        for axis in reversed(range(n)):
            x = _resized_bytes(x, axis + 2, taps[axis])
        return x
    for axis in sorted(range(n), key=lambda i: lengths[i] / input.shape[i + 2]):  # what shrinks first, so that less is left to do
        x = _resized(x, axis + 2, taps[axis])
    return cast(x, input.dtype)


def _sizes(input: Array, n: int, size: Any, scale_factor: Any, by_size: bool, asked_by_size: bool) -> tuple[list[int], list[float | None]]:
    """The new sizes, and the factors to compute with, `None` for those that follow from the sizes."""
    spatial = list(input.shape[2:])
    if size is not None and scale_factor is not None:
        raise ArgumentError("only one of size or scale_factor should be defined")
    if size is None and scale_factor is None:
        raise ArgumentError("either size or scale_factor should be defined")
    if size is not None:
        if asked_by_size:
            raise ArgumentError("recompute_scale_factor is not meaningful with an explicit size.")
        sizes = list(size) if isinstance(size, tuple) else [size] * n
        if len(sizes) != n:
            raise ArgumentError(
                f"Input and output must have the same number of spatial dimensions, but got input with spatial dimensions of {spatial} and output size of {size}. "
                "Please provide input tensor in (N, C, d1, d2, ...,dK) format and output size in (o1, o2, ...,oK) format."
            )
        if not all(isinstance(s, int) for s in sizes):
            raise ArgumentTypeError(f"expected size to be one of int or Tuple[int] or Tuple[int, int] or Tuple[int, int, int], but got size {size}")
        return sizes, [None] * n
    factors = list(scale_factor) if isinstance(scale_factor, tuple) else [scale_factor] * n
    if len(factors) != n:
        raise ArgumentError(
            f"Input and scale_factor must have the same number of spatial dimensions, but got input with spatial dimensions of {spatial} and scale_factor of shape "
            f"{scale_factor}. Please provide input tensor in (N, C, d1, d2, ...,dK) format and scale_factor in (s1, s2, ...,sK) format."
        )
    return [int(s * f) for s, f in zip(spatial, factors, strict=True)], [None] * n if by_size else [float(f) if f and f > 0 else None for f in factors]


def upsample(input: Any, size: Any = None, scale_factor: Any = None, mode: str = "nearest", align_corners: bool | None = None) -> Any:
    """Deprecated: the same as `interpolate`."""
    warnings.warn("`nn.functional.upsample` is deprecated. Use `nn.functional.interpolate` instead.", stacklevel=2)
    return interpolate(input, size, scale_factor, mode, align_corners)


def upsample_nearest(input: Any, size: Any = None, scale_factor: Any = None) -> Any:
    """Deprecated: `interpolate` with ``mode="nearest"``."""
    warnings.warn("`nn.functional.upsample_nearest` is deprecated. Use `nn.functional.interpolate` instead.", stacklevel=2)
    return interpolate(input, size, scale_factor, mode="nearest")


def upsample_bilinear(input: Any, size: Any = None, scale_factor: Any = None) -> Any:
    """Deprecated: `interpolate` with ``mode="bilinear"`` and ``align_corners=True``."""
    warnings.warn("`nn.functional.upsample_bilinear` is deprecated. Use `nn.functional.interpolate` instead.", stacklevel=2)
    return interpolate(input, size, scale_factor, mode="bilinear", align_corners=True)
