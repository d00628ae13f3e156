"""Ops that give elements another shape or place: Reshape, Transpose, Concat, Split, Slice, Pad, Tile, Expand and their kin."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...errors import ArgumentError, ShapeError
from ..registry import handler
from ..values import dtype_of, move, namespace, shape_of


def ints(values: Any) -> tuple[int, ...]:
    """Numbers from an attribute or a known input."""
    return tuple(int(v) for v in np.asarray(values).reshape(-1))


def positive_axes(axes: Any, ndim: int, what: str) -> tuple[int, ...]:
    """Axes counted from the front."""
    found = ints(axes)
    if any(not -ndim <= axis < ndim for axis in found):
        raise ShapeError(f"{what}: axes {list(found)} of a tensor with {ndim} dimensions; expected {-ndim} to {ndim - 1}")
    return tuple(axis % ndim for axis in found)


# --- shapes ----------------------------------------------------------------------------------------------------------


def _reshape(x, shape):
    return x.reshape(shape)


def reshape_to(x: Any, shape: tuple[int, ...]) -> Any:
    """`x` in another shape."""
    return move(_reshape, x, shape=shape)


@handler("Reshape")
def reshape_by_attribute(node, x):
    return _reshaped(x, ints(node.get("shape")), False)


@handler("Reshape", since=5, static=("shape",))
def reshape(node, x, shape):
    return _reshaped(x, ints(shape), bool(node.get("allowzero", 0)))


def _reshaped(x, shape, allows_zero):
    have = shape_of(x)
    if not allows_zero:
        if any(length == 0 and i >= len(have) for i, length in enumerate(shape)):
            raise ShapeError(f"Reshape to {list(shape)}: a 0 stands for a length of the input, whose shape is {have}")
        shape = tuple(have[i] if length == 0 else length for i, length in enumerate(shape))
    count = math.prod(length for length in shape if length != -1)
    if shape.count(-1) == 1 and count and math.prod(have) % count == 0:
        shape = tuple(math.prod(have) // count if length == -1 else length for length in shape)
    if math.prod(shape) != math.prod(have) or min(shape, default=0) < 0:
        raise ShapeError(f"Reshape of a tensor of shape {have} to {list(shape)}: the numbers of elements differ")
    return reshape_to(x, shape)


@handler("Flatten")
def flatten(node, x):
    shape = shape_of(x)
    axis = node.get("axis", 1)
    axis += len(shape) if axis < 0 else 0
    return reshape_to(x, (math.prod(shape[:axis]), math.prod(shape[axis:])))


@handler("Squeeze")
def squeeze_by_attribute(node, x):
    return _squeezed(x, node.get("axes"))


@handler("Squeeze", since=13, static=("axes",))
def squeeze(node, x, axes=None):
    return _squeezed(x, axes)


def _squeezed(x, axes):
    shape = shape_of(x)
    chosen = [i for i, length in enumerate(shape) if length == 1] if axes is None else positive_axes(axes, len(shape), "Squeeze")
    if any(shape[axis] != 1 for axis in chosen):
        raise ShapeError(f"Squeeze takes away dimensions of length 1; axes {list(chosen)} of shape {shape} have others")
    return reshape_to(x, tuple(length for i, length in enumerate(shape) if i not in chosen))


@handler("Unsqueeze")
def unsqueeze_by_attribute(node, x):
    return _unsqueezed(x, node.get("axes"))


@handler("Unsqueeze", since=13, static=("axes",))
def unsqueeze(node, x, axes):
    return _unsqueezed(x, axes)


def _unsqueezed(x, axes):
    shape = list(shape_of(x))
    for axis in sorted(positive_axes(axes, len(shape) + len(ints(axes)), "Unsqueeze")):
        shape.insert(axis, 1)
    return reshape_to(x, tuple(shape))


@handler("Transpose")
def transpose(node, x):
    axes = node.get("perm")
    return move(_transpose, x, axes=tuple(reversed(range(len(shape_of(x))))) if axes is None else tuple(axes))


def _transpose(x, axes):
    return x.transpose(axes)


@handler("Expand", static=("shape",))
def expand(node, x, shape):
    wanted = ints(shape)
    try:
        full = np.broadcast_shapes(shape_of(x), wanted)
    except ValueError:
        raise ShapeError(f"Expand: a tensor of shape {shape_of(x)} does not broadcast with {list(wanted)}") from None
    return move(_expand, x, shape=full)


def _expand(x, shape):
    return namespace(x).broadcast_to(x, shape)


# --- joining and parting ---------------------------------------------------------------------------------------------


@handler("Concat")
def concat(node, *inputs):
    return move(_concat, *inputs, axis=node.get("axis", 1))


def _concat(*inputs, axis):
    return namespace(inputs[0]).concatenate(inputs, axis)


@handler("Split", static=("lengths",))
def split_by_attribute(node, x, lengths=None):
    return _split(node, x, node.get("split") if lengths is None else lengths)


@handler("Split", since=13, static=("lengths",))
def split(node, x, lengths=None):
    return _split(node, x, lengths)


def _split(node, x, lengths):
    shape = shape_of(x)
    (axis,) = positive_axes(node.get("axis", 0), len(shape), "Split")
    count = node.get("num_outputs", len(node.outputs))
    if lengths is None:
        chunk = -(-shape[axis] // count)
        stops = [min(chunk * (i + 1), shape[axis]) for i in range(count)]
    else:
        stops = list(np.cumsum(ints(lengths)))
    if stops[-1:] != [shape[axis]]:
        raise ShapeError(f"Split: the lengths {list(ints(lengths))} do not add up to dimension {axis} of shape {shape}")
    starts = [0, *stops[:-1]]
    return tuple(move(_part, x, slices=((axis, int(a), int(b), 1),)) for a, b in zip(starts, stops, strict=True))


def _part(x, slices):
    index = [slice(None)] * x.ndim
    for axis, start, stop, step in slices:
        index[axis] = slice(start, None if stop < 0 else stop, step)
    return x[tuple(index)]


@handler("Slice")
def slice_by_attributes(node, x):
    return _sliced(x, node.get("starts"), node.get("ends"), node.get("axes"), None)


@handler("Slice", since=10, static=("starts", "ends", "axes", "steps"))
def slice_(node, x, starts, ends, axes=None, steps=None):
    return _sliced(x, starts, ends, axes, steps)


def _sliced(x, starts, ends, axes, steps):
    shape = shape_of(x)
    starts, ends = ints(starts), ints(ends)
    axes = range(len(starts)) if axes is None else positive_axes(axes, len(shape), "Slice")
    steps = (1,) * len(starts) if steps is None else ints(steps)
    slices = tuple((axis, *_bounds(start, end, step, shape[axis])) for axis, start, end, step in zip(axes, starts, ends, steps, strict=True))
    return move(_part, x, slices=slices)


def _bounds(start: int, end: int, step: int, length: int) -> tuple[int, int, int]:
    """Bounds within a dimension; an end of -1 means that the first element is the last one taken."""
    if step == 0:
        raise ArgumentError("Slice: a step is 0; expected another number")
    start += length if start < 0 else 0
    end += length if end < 0 else 0
    if step > 0:
        start, end = min(max(start, 0), length), min(max(end, 0), length)
        return (start, end, step) if start < end else (0, 0, 1)
    start, end = min(max(start, 0), length - 1), min(max(end, -1), length - 1)
    return (start, end, step) if start > end else (0, 0, 1)


# --- repeating and padding -------------------------------------------------------------------------------------------


@handler("Tile", static=("tiles", "axis"))
def tile_along_axis(node, x, tiles, axis):
    repeats = [1] * len(shape_of(x))
    repeats[ints(axis)[0]] = ints(tiles)[0]
    return move(_tile, x, repeats=tuple(repeats))


@handler("Tile", since=6, static=("repeats",))
def tile(node, x, repeats):
    return move(_tile, x, repeats=ints(repeats))


def _tile(x, repeats):
    return namespace(x).tile(x, repeats)


@handler("Pad")
def pad_by_attributes(node, x):
    pads = node.get("pads", node.get("paddings"))
    return _padded(node, x, pads, np.asarray(node.get("value", 0.0), dtype_of(x)), None)


@handler("Pad", since=11, static=("pads", "axes"))
def pad(node, x, pads, value=None, axes=None):
    return _padded(node, x, pads, value, axes)


def _padded(node, x, pads, value, axes):
    shape = shape_of(x)
    axes = range(len(shape)) if axes is None else positive_axes(axes, len(shape), "Pad")
    pads = ints(pads)
    if len(pads) != 2 * len(axes):
        raise ShapeError(f"Pad: {len(pads)} pads for {len(axes)} axes of a tensor of shape {shape}; expected two for each axis")
    widths = [(0, 0)] * len(shape)
    for i, axis in enumerate(axes):
        widths[axis] = (pads[i], pads[i + len(axes)])
    cut = tuple((axis, max(-a, 0), max(n - max(-b, 0), 0), 1) for axis, ((a, b), n) in enumerate(zip(widths, shape, strict=True)) if a < 0 or b < 0)
    x = move(_part, x, slices=cut) if cut else x
    widths = tuple((max(a, 0), max(b, 0)) for a, b in widths)
    mode = node.get("mode", "constant")
    if mode == "constant":
        return move(_pad_constant, x, np.zeros((), dtype_of(x)) if value is None else value, widths=widths)
    if mode not in ("reflect", "edge", "wrap"):
        raise ArgumentError(f"Pad has the modes constant, reflect, edge and wrap, got {mode!r}")
    return move(_pad, x, widths=widths, mode=mode)


def _pad_constant(x, value, widths):
    return namespace(x).pad(x, widths, constant_values=value.reshape(()).astype(x.dtype))


def _pad(x, widths, mode):
    return namespace(x).pad(x, widths, mode=mode)
