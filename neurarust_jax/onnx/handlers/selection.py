"""Operators that pick elements or make them by rule: `TopK`, `Unique`, `NonZero`, `Compress`, `OneHot`, `EyeLike`, `Range`, `NonMaxSuppression`.

Where the number of results depends on values, these must be known while tracing.
"""

from __future__ import annotations

import math
from typing import Any

import jax.numpy as jnp
import numpy as np

import neurarust_jax as nr

from ...errors import ArgumentError
from ..conversion import convert
from ..registry import handler
from ..tensors import numpy_dtype
from ..values import apply, as_tensor, dtype_of, shape_of, static_value


@handler("TopK", since=1)
def top_k_of_attribute(node, x):
    return tuple(nr.topk(as_tensor(x), node.get("k"), node.get("axis", -1)))


@handler("TopK", since=10, static=("k",))
def top_k(node, x, k):
    return tuple(nr.topk(as_tensor(x), int(k.reshape(())), node.get("axis", -1), bool(node.get("largest", 1))))


def _taken(x: Any, positions: np.ndarray, axis: int | None) -> Any:
    """Slices of a value; gradients flow to it if it is a tensor."""
    return x.take(positions, axis) if isinstance(x, np.ndarray) else apply(_take, x, positions, axis=axis)


def _take(x, positions, axis: int | None):
    return jnp.take(x, positions, axis, mode="clip")


@handler("Unique", since=11)
def unique(node, x):
    axis = node.get("axis")
    axis = None if axis is None else axis % len(shape_of(x))
    known = static_value(x, "Unique: the elements")
    _, first, inverse, counts = np.unique(known, return_index=True, return_inverse=True, return_counts=True, axis=axis)
    inverse = inverse.reshape(-1)
    if not node.get("sorted", 1):
        order = np.argsort(first)
        first, counts, inverse = first[order], counts[order], np.argsort(order)[inverse]
    return _taken(x, first, axis), first.astype(np.int64), inverse.astype(np.int64), counts.astype(np.int64)


@handler("NonZero", since=9)
def non_zero(node, x):
    known = np.asarray(static_value(x, "NonZero: the elements"))
    return np.array(np.nonzero(np.atleast_1d(known)), np.int64).reshape(max(known.ndim, 1), -1)[: known.ndim or 1]


@handler("Compress", since=9, static=("condition",))
def compress(node, x, condition):
    axis = node.get("axis")
    return _taken(x, np.flatnonzero(condition), None if axis is None else axis % len(shape_of(x)))


def _one_hot(indices, values, depth: int, axis: int):
    indices = indices.astype(np.int64)
    indices = jnp.expand_dims(jnp.where(indices < 0, indices + depth, indices), axis)
    places = jnp.arange(depth, dtype=np.int64).reshape([-1 if i == axis else 1 for i in range(indices.ndim)])
    return jnp.where(indices == places, values[1], values[0])


@handler("OneHot", since=9, static=("depth",))
def one_hot(node, indices, depth, values):
    axis = node.get("axis", -1) % (len(shape_of(indices)) + 1)
    if isinstance(values, np.ndarray) and values.dtype.kind in "OUS":
        chosen = np.eye(2, dtype=np.int64)[0]
        return values[static_value(apply(_one_hot, indices, 1 - chosen, depth=int(depth.reshape(())), axis=axis), "OneHot of strings")]
    return apply(_one_hot, indices, values, depth=int(depth.reshape(())), axis=axis)


@handler("EyeLike", since=9)
def eye_like(node, x):
    rows, columns = shape_of(x)
    dtype = numpy_dtype(node.get("dtype")) if node.get("dtype") else dtype_of(x)
    return np.eye(rows, columns, node.get("k", 0), np.float64).astype(dtype)


@handler("Range", since=11, static=("start", "limit", "delta"))
def arithmetic_range(node, start, limit, delta):
    dtype = start.dtype
    wide = np.dtype(np.float32) if dtype.itemsize == 2 and dtype.kind not in "iu" else dtype
    start, limit, delta = (x.reshape(()).astype(wide) for x in (start, limit, delta))
    if delta == 0:
        raise ArgumentError("Range: delta is 0, so that the limit is never reached")
    steps = -((int(start) - int(limit)) // int(delta)) if dtype.kind in "iu" else math.ceil((float(limit) - float(start)) / float(delta))
    return (start + np.arange(max(steps, 0)).astype(wide) * delta).astype(dtype)


# --- boxes -----------------------------------------------------------------------------------------------------------


def _corners(boxes: np.ndarray, centered: bool) -> np.ndarray:
    """Boxes as (y1, x1, y2, x2) with the lower corner first."""
    if centered:
        x, y, width, height = boxes.T
        return np.stack([y - height / 2, x - width / 2, y + height / 2, x + width / 2], 1)
    return np.concatenate([np.minimum(boxes[:, :2], boxes[:, 2:]), np.maximum(boxes[:, :2], boxes[:, 2:])], 1)


def _overlaps(box: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Intersection over union of a box with others."""
    sides = np.maximum(np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2]), 0)
    shared = sides.prod(1)
    union = (box[2:] - box[:2]).prod() + (others[:, 2:] - others[:, :2]).prod(1) - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def _suppressed(boxes: np.ndarray, scores: np.ndarray, most: int, iou: float, least: float | None) -> list[int]:
    """The boxes kept of one class: by falling score, none that overlaps one kept before."""
    left = np.argsort(-scores, kind="stable")
    if least is not None:
        left = left[scores[left] > least]
    kept: list[int] = []
    while len(left) and len(kept) < most:
        kept.append(int(left[0]))
        left = left[1:][_overlaps(boxes[left[0]], boxes[left[1:]]) <= iou]
    return kept


@handler("NonMaxSuppression", since=10, static=("boxes", "scores", "most", "iou_threshold", "score_threshold"))
def non_max_suppression(node, boxes, scores, most=None, iou_threshold=None, score_threshold=None):
    limit = 0 if most is None else int(most.reshape(()))
    iou = 0.0 if iou_threshold is None else float(iou_threshold.reshape(()))
    least = None if score_threshold is None else float(score_threshold.reshape(()))
    rows = []
    for image, (image_boxes, image_scores) in enumerate(zip(boxes, scores, strict=True)):
        corners = _corners(image_boxes, bool(node.get("center_point_box", 0)))
        for number, class_scores in enumerate(image_scores):
            rows += [(image, number, box) for box in _suppressed(corners, class_scores, limit, iou, least)]
    return np.array(rows, np.int64).reshape(-1, 3)


# --- products --------------------------------------------------------------------------------------------------------


def _einsum(*operands, equation: str):
    return jnp.einsum(equation, *operands, precision="highest", preferred_element_type=operands[0].dtype)


@handler("Einsum", since=12)
def einsum(node, *operands):
    return apply(_einsum, *operands, equation=node.get("equation").replace(" ", ""))


@handler("Det", since=11)
def det(node, x):
    dtype = dtype_of(x)
    wide = as_tensor(x if dtype.itemsize >= 4 else convert(x, np.float32))
    return convert(nr.linalg.det(wide), dtype)
