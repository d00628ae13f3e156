"""`Resize` and `Upsample`: each dimension by itself, as weighted sums of neighbours that are found while tracing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import ml_dtypes
import numpy as np

from ...errors import ArgumentError
from ...ops.nn.resizing import _resized, _Taps, cubic_kernel
from ..conversion import is_integer
from ..registry import handler
from ..values import apply, shape_of


class _Rule(NamedTuple):
    """How a dimension is resized: the attributes of the operator."""

    mode: str
    transform: str = "half_pixel"
    nearest: str = "round_prefer_floor"
    cubic_a: float = -0.75
    exclude_outside: bool = False
    antialias: bool = False
    extrapolation: float = 0.0


class _Extent(NamedTuple):
    """One dimension: lengths before and after, the scale between them as a fraction, and the region that is taken."""

    axis: int
    length: int
    resized: int
    numerator: float
    denominator: float
    start: float = 0.0
    end: float = 1.0


def _sources(extent: _Extent, transform: str) -> np.ndarray:
    """Where each place of the result lies in the input. Scales are float32, and so is what is computed with them: 3 / 0.6 is 5 and not a little less."""
    real = np.float32 if extent.denominator == 1 else np.float64
    x, length, resized = np.arange(extent.resized, dtype=real), real(extent.length), extent.resized
    numerator, denominator, half = real(extent.numerator), real(extent.denominator), real(0.5)
    exact = numerator * length / denominator  # the resized length before it was rounded
    if transform == "align_corners":
        return x * (length - 1) / (exact - 1) if exact != 1 else np.zeros_like(x)
    if transform == "asymmetric":
        return x * denominator / numerator
    if transform == "tf_crop_and_resize":
        start, end = real(extent.start), real(extent.end)
        if resized == 1:
            return np.full(1, half * (start + end) * (length - 1))
        return start * (length - 1) + x * (end - start) * (length - 1) / (exact - 1)
    if transform not in ("half_pixel", "pytorch_half_pixel", "half_pixel_symmetric"):
        raise ArgumentError(f"Resize: unknown coordinate_transformation_mode {transform!r}")
    if transform == "pytorch_half_pixel" and resized == 1:
        return np.zeros(1, real)
    centers = (x + half) * denominator / numerator - half
    return centers + length / 2 * (1 - resized / exact) if transform == "half_pixel_symmetric" else centers


_ROUNDINGS = {
    "round_prefer_floor": lambda x: np.ceil(x - 0.5),
    "round_prefer_ceil": lambda x: np.floor(x + 0.5),
    "floor": np.floor,
    "ceil": np.ceil,
}


def _taps(extent: _Extent, rule: _Rule) -> _Taps:
    """The neighbours of each place of the result, and their weights."""
    sources, last = _sources(extent, rule.transform).astype(np.float64), extent.length - 1
    if rule.mode == "nearest":
        if rule.nearest not in _ROUNDINGS:
            raise ArgumentError(f"Resize: unknown nearest_mode {rule.nearest!r}")
        return _Taps(np.clip(_ROUNDINGS[rule.nearest](_sources(extent, rule.transform)), 0, last).astype(np.int64)[:, None], None)
    stretch = min(extent.numerator / extent.denominator, 1.0) if rule.antialias else 1.0
    reach = 1 if rule.mode == "linear" else 2
    first = math.floor(-reach / stretch) + 1
    offsets = np.arange(first, 2 - first)
    left = np.ceil(sources) - 1
    distances = stretch * (offsets - (sources - left)[:, None])
    weights = np.maximum(1 - np.abs(distances), 0) if rule.mode == "linear" else cubic_kernel(distances, rule.cubic_a)
    positions = (left[:, None] + offsets).astype(np.int64)
    if rule.exclude_outside:
        weights = np.where((positions < 0) | (positions > last), 0, weights)
    if rule.exclude_outside or rule.antialias:
        total = weights.sum(1, keepdims=True)
        weights = weights / np.where(total == 0, 1, total)
    return _Taps(np.clip(positions, 0, last), weights)


def _resize(x, extents: tuple[_Extent, ...], rule: _Rule):
    """The input with the dimensions of `extents` resized."""
    exact = rule.mode == "nearest"
    wide = x if exact or x.dtype in (np.float32, np.float64) else x.astype(np.float64 if is_integer(x.dtype) and x.dtype.itemsize > 2 else np.float32)
    for extent in sorted(extents, key=lambda e: e.resized / e.length):  # what shrinks first, so that less is left to do
        wide = _resized(wide, extent.axis, _taps(extent, rule))
    if rule.transform == "tf_crop_and_resize":
        for extent in extents:
            sources = _sources(extent, rule.transform)
            outside = (sources < 0) | (sources > extent.length - 1)
            if outside.any():
                wide = jnp.where(outside.reshape((-1,) + (1,) * (x.ndim - extent.axis - 1)), jnp.asarray(rule.extrapolation, wide.dtype), wide)
    if wide.dtype != x.dtype and is_integer(x.dtype):
        limits = ml_dtypes.iinfo(x.dtype)
        wide = jnp.clip(jnp.rint(wide), float(limits.min), float(limits.max))
    return wide.astype(x.dtype)


def _extents(shape: Sequence[int], axes: Sequence[int], scales: Any, sizes: Any, roi: Any, policy: str) -> tuple[_Extent, ...]:
    """The dimensions that change."""
    given = scales if scales is not None else sizes
    if given is None or len(given) != len(axes):
        raise ArgumentError(f"Resize: expected scales or sizes for the {len(axes)} dimensions {list(axes)}, got {None if given is None else given.tolist()}")
    region = [(0.0, 1.0)] * len(axes) if roi is None else [(float(roi[i]), float(roi[len(axes) + i])) for i in range(len(axes))]
    rows = []
    if scales is not None:
        for axis, scale in zip(axes, scales, strict=True):
            if scale <= 0:
                raise ArgumentError(f"Resize: scales are greater than 0, got {scales.tolist()}")
            rows.append((axis, shape[axis], int(np.float32(scale) * np.float32(shape[axis])), float(scale), 1.0))
    elif policy == "stretch":
        rows = [(axis, shape[axis], int(size), float(size), float(shape[axis])) for axis, size in zip(axes, sizes, strict=True)]
    elif policy in ("not_larger", "not_smaller"):
        choose = min if policy == "not_larger" else max
        _, size, length = choose((size / shape[axis], float(size), float(shape[axis])) for axis, size in zip(axes, sizes, strict=True))
        rows = [(axis, shape[axis], int(math.floor(size * shape[axis] / length + 0.5)), size, length) for axis in axes]
    else:
        raise ArgumentError(f"Resize: unknown keep_aspect_ratio_policy {policy!r}")
    extents = [_Extent(*row, *ends) for row, ends in zip(rows, region, strict=True)]
    return tuple(e for e in extents if not (e.length == e.resized and e.numerator == e.denominator and (e.start, e.end) == (0.0, 1.0)))


def _present(x: Any) -> Any:
    """A list of numbers, `None` if it is left out or empty, as before version 13."""
    return None if x is None or x.size == 0 else x


@handler("Resize", since=11, static=("roi", "scales", "sizes"))
def resize(node, x, roi=None, scales=None, sizes=None):
    rule = _Rule(
        node.get("mode", "nearest"), node.get("coordinate_transformation_mode", "half_pixel"), node.get("nearest_mode", "round_prefer_floor"),
        node.get("cubic_coeff_a", -0.75), bool(node.get("exclude_outside", 0)), bool(node.get("antialias", 0)), node.get("extrapolation_value", 0.0),
    )  # fmt: skip
    if rule.mode not in ("nearest", "linear", "cubic"):
        raise ArgumentError(f"Resize: mode is nearest, linear or cubic, got {rule.mode!r}")
    shape = shape_of(x)
    axes = [axis % len(shape) for axis in node.get("axes") or range(len(shape))]
    roi = _present(roi) if rule.transform == "tf_crop_and_resize" else None
    sizes = _present(sizes)
    scales = _present(scales) if sizes is None else None
    return apply(_resize, x, extents=_extents(shape, axes, scales, sizes, roi, node.get("keep_aspect_ratio_policy", "stretch")), rule=rule)


def _upsampled(x: Any, scales: Any, mode: str) -> Any:
    shape = shape_of(x)
    rule = _Rule("nearest" if mode == "nearest" else "linear", "asymmetric", "floor")
    return apply(_resize, x, extents=_extents(shape, range(len(shape)), np.asarray(scales, np.float32), None, None, "stretch"), rule=rule)


@handler("Resize", since=10, static=("scales",))
@handler("Upsample", since=9, static=("scales",))
def upsample(node, x, scales):
    return _upsampled(x, scales, node.get("mode", "nearest"))


@handler("Upsample", since=1)
def upsample_by_attributes(node, x):
    scales = node.get("scales") or [1.0, 1.0, node.get("height_scale"), node.get("width_scale")]
    return _upsampled(x, scales, node.get("mode", "nearest"))
