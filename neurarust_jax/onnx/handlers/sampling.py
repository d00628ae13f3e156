"""Operators that read images at points between the elements: `GridSample`, `AffineGrid`, `RoiAlign`, `MaxRoiPool`."""

from __future__ import annotations

import functools
import itertools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ...errors import ArgumentError, ShapeError
from ...ops.nn.sampling import _combined, _taps, _unnormalized, affine_grid
from ..registry import handler
from ..values import apply, as_tensor, shape_of, static_value


def _wide(x):
    """As float32 at least, in which the weights are exact enough."""
    return x if x.dtype in (np.float32, np.float64) else x.astype(np.float32)


def _grid_sample(x, grid, mode: str, padding: str, aligned: bool):
    """The values of `x` at the points of `grid`, in any number of dimensions."""
    n, sizes = x.ndim - 2, x.shape[2:]
    points = _wide(grid).reshape(grid.shape[0], math.prod(grid.shape[1:-1]), n)
    places = [_unnormalized(points[..., n - 1 - axis], size, aligned) for axis, size in enumerate(sizes)]
    flat = (x if mode == "nearest" else _wide(x)).reshape(*x.shape[:2], math.prod(sizes))
    total = None
    for taps in itertools.product(*(_taps(place, size, mode, padding, aligned) for place, size in zip(places, sizes, strict=True))):
        index, weight, inside = _combined(taps, sizes)
        values = jax.vmap(lambda row, i: row[:, i])(flat, index)
        if weight is not None:
            values = values * weight[:, None].astype(values.dtype)
        if inside is not None:
            values = jnp.where(inside[:, None], values, jnp.zeros((), values.dtype))
        total = values if total is None else total + values
    assert total is not None
    return total.reshape(*x.shape[:2], *grid.shape[1:-1]).astype(x.dtype)


_MODES = {"linear": "bilinear", "bilinear": "bilinear", "nearest": "nearest", "cubic": "bicubic", "bicubic": "bicubic"}


@handler("GridSample", since=16)
def grid_sample(node, x, grid):
    mode, padding = node.get("mode", "linear"), node.get("padding_mode", "zeros")
    if mode not in _MODES or padding not in ("zeros", "border", "reflection"):
        raise ArgumentError(f"GridSample: unknown mode {mode!r} or padding_mode {padding!r}")
    if shape_of(grid)[-1] != len(shape_of(x)) - 2:
        raise ShapeError(f"GridSample: a grid of shape {shape_of(grid)} does not go with an input of shape {shape_of(x)}")
    return apply(_grid_sample, x, grid, mode=_MODES[mode], padding=padding, aligned=bool(node.get("align_corners", 0)))


@handler("AffineGrid", since=20, static=("size",))
def affine_grid_of(node, theta, size):
    return affine_grid(as_tensor(theta), tuple(map(int, size)), bool(node.get("align_corners", 0)))


# --- regions of interest ---------------------------------------------------------------------------------------------


def _neighbours(place, size: int):
    """(lower index, upper index, weight of the upper one, whether the place counts) of places along one dimension."""
    counts = (place >= -1) & (place <= size)
    place = jnp.clip(place, 0, size - 1)
    low = jnp.minimum(jnp.floor(place).astype(np.int32), max(size - 2, 0))
    return low, jnp.minimum(low + 1, size - 1), place - low, counts


def _align_one(image, box, height: int, width: int, rows: int, columns: int, mode: str, half_pixel: bool, scale: float):
    """One region of one image, (C, H, W) to (C, height, width), by `rows` times `columns` points in each cell."""
    x1, y1, x2, y2 = box * jnp.asarray(scale, box.dtype) - (0.5 if half_pixel else 0.0)
    tall, broad = y2 - y1, x2 - x1
    if not half_pixel:
        tall, broad = jnp.maximum(tall, 1), jnp.maximum(broad, 1)
    y = y1 + tall / height * (jnp.arange(height)[:, None] + (jnp.arange(rows) + 0.5) / rows).astype(box.dtype)
    x = x1 + broad / width * (jnp.arange(width)[:, None] + (jnp.arange(columns) + 0.5) / columns).astype(box.dtype)
    (y_low, y_high, y_part, y_counts), (x_low, x_high, x_part, x_counts) = _neighbours(y.reshape(-1), image.shape[1]), _neighbours(x.reshape(-1), image.shape[2])
    counts = y_counts[:, None] & x_counts
    corners = []
    for y_index, y_weight in ((y_low, 1 - y_part), (y_high, y_part)):
        for x_index, x_weight in ((x_low, 1 - x_part), (x_high, x_part)):
            weight = jnp.where(counts, y_weight[:, None] * x_weight, 0)
            corners.append(image[:, y_index[:, None], x_index] * weight.astype(image.dtype))
    value = functools.reduce(jnp.add if mode == "avg" else jnp.maximum, corners)
    value = value.reshape(-1, height, rows, width, columns)
    return value.mean((2, 4)) if mode == "avg" else value.max((2, 4))


def _roi_align(x, boxes, batch, scale: float, **options: Any):
    wide, boxes = _wide(x), _wide(boxes)
    result = jax.vmap(lambda box, number: _align_one(jnp.take(wide, number, 0, mode="clip"), box, scale=scale, **options))(boxes, batch)
    return result.astype(x.dtype)


def _align(node, x, boxes, batch, half_pixel: bool) -> Any:
    height, width, ratio, scale = node.get("output_height", 1), node.get("output_width", 1), node.get("sampling_ratio", 0), node.get("spatial_scale", 1.0)
    options = {"height": height, "width": width, "mode": node.get("mode", "avg"), "half_pixel": half_pixel, "scale": scale}
    if options["mode"] not in ("avg", "max"):
        raise ArgumentError(f"RoiAlign: mode is avg or max, got {options['mode']!r}")
    if ratio > 0:
        return apply(_roi_align, x, boxes, batch, rows=ratio, columns=ratio, **options)
    known = np.asarray(static_value(boxes, "RoiAlign with sampling_ratio=0: the size of the regions"), np.float64) * scale
    extents = (known[:, 2:] - known[:, :2]) if half_pixel else np.maximum(known[:, 2:] - known[:, :2], 1)
    points = np.maximum(np.ceil(extents[:, ::-1] / (height, width)), 1).astype(int)
    order, pieces = [], []
    for rows, columns in np.unique(points, axis=0).tolist():  # regions with the same number of points go together
        chosen = np.flatnonzero((points == (rows, columns)).all(1))
        order.append(chosen)
        pieces.append(apply(_roi_align, x, as_tensor(boxes)[chosen], as_tensor(batch)[chosen], rows=rows, columns=columns, **options))
    if not pieces:
        return apply(_roi_align, x, boxes, batch, rows=1, columns=1, **options)
    return pieces[0] if len(pieces) == 1 else apply(_put_back, np.argsort(np.concatenate(order)), *pieces)


def _put_back(order, *pieces):
    return jnp.take(jnp.concatenate(pieces), order, 0, mode="clip")


@handler("RoiAlign", since=10)
def roi_align_without_shift(node, x, boxes, batch):
    return _align(node, x, boxes, batch, half_pixel=False)


@handler("RoiAlign", since=16)
def roi_align(node, x, boxes, batch):
    return _align(node, x, boxes, batch, half_pixel=node.get("coordinate_transformation_mode", "half_pixel") == "half_pixel")


def _cells(start, end, count: int, size: int):
    """Which of `size` places each of `count` cells between two places covers, (count, size)."""
    step = jnp.maximum(end - start + 1, 1) / count
    first = jnp.clip(jnp.floor(jnp.arange(count) * step) + start, 0, size)
    last = jnp.clip(jnp.ceil(jnp.arange(1, count + 1) * step) + start, 0, size)
    places = jnp.arange(size)
    return (places >= first[:, None]) & (places < last[:, None])


def _max_roi_pool(x, rois, pooled: tuple[int, int], scale: float):
    wide = _wide(x)

    def pool(roi):
        image = jnp.take(wide, roi[0].astype(np.int32), 0, mode="clip")
        x1, y1, x2, y2 = jnp.floor(roi[1:].astype(np.float32) * np.float32(scale) + np.float32(0.5))
        rows, columns = _cells(y1, y2, pooled[0], x.shape[2]), _cells(x1, x2, pooled[1], x.shape[3])
        by_row = jnp.stack([jnp.where(row[:, None], image, -jnp.inf).max(1) for row in rows], 1)
        value = jnp.stack([jnp.where(column, by_row, -jnp.inf).max(2) for column in columns], 2)
        return jnp.where(jnp.isneginf(value), 0, value)

    return jax.vmap(pool)(rois).astype(x.dtype)


@handler("MaxRoiPool", since=1)
def max_roi_pool(node, x, rois):
    return apply(_max_roi_pool, x, rois, pooled=tuple(node.get("pooled_shape")), scale=node.get("spatial_scale", 1.0))
