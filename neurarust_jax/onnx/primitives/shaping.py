"""Lowering of what moves elements without computing: reshape, broadcast, transpose, slices, padding, concatenation."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..emitter import Emitter, Operand, compact, is_static
from ..support import carrier
from .elementwise import dtype_of
from .registry import lowers


@lowers("reshape")
def _reshape(g: Emitter, equation: Any, x: Operand, *_: Operand) -> Operand:
    source, shape = equation.invars[0].aval.shape, equation.outvars[0].aval.shape
    if isinstance(x, np.ndarray) and is_static(shape) and x.size and compact(x).shape == ():
        return np.broadcast_to(compact(x), tuple(map(int, shape)))
    return g.reshape(x, shape, source)


@lowers("broadcast_in_dim")
def _broadcast(g: Emitter, equation: Any, x: Operand, *_: Operand) -> Operand:
    source, shape = equation.invars[0].aval.shape, equation.outvars[0].aval.shape
    dims = [int(d) for d in equation.params["broadcast_dimensions"]]
    placed = [1] * len(shape)
    for length, dim in zip(source, dims, strict=True):
        placed[dim] = length
    missing = [d for d in range(len(shape)) if d not in dims]
    if isinstance(x, np.ndarray):
        x = np.expand_dims(x, tuple(missing))
    elif missing and source:
        leading = missing == list(range(len(missing)))
        if leading and tuple(placed) != tuple(shape):  # ONNX broadcasts leading dimensions by itself
            return g.expand(x, shape, source, dtype_of(equation))
        x = g.unsqueeze(x, missing)
    elif missing and all(_is_one(n) for n in shape):
        return g.reshape(x, shape)
    elif missing:
        placed = []
    return g.expand(x, shape, placed, dtype_of(equation))


def _is_one(length: Any) -> bool:
    return isinstance(length, int | np.integer) and length == 1


@lowers("transpose")
def _transpose(g: Emitter, equation: Any, x: Operand) -> Operand:
    return g.transpose(x, equation.params["permutation"])


@lowers("squeeze")
def _squeeze(g: Emitter, equation: Any, x: Operand) -> Operand:
    return g.squeeze(x, [int(d) % len(equation.invars[0].aval.shape) for d in equation.params["dimensions"]])


@lowers("expand_dims")
def _expand_dims(g: Emitter, equation: Any, x: Operand) -> Operand:
    return g.unsqueeze(x, equation.params["dimensions"])


@lowers("concatenate")
def _concatenate(g: Emitter, equation: Any, *inputs: Operand) -> Operand:
    axis = int(equation.params["dimension"])
    filled = [x for x, v in zip(inputs, equation.invars, strict=True) if v.aval.shape[axis] != 0 or not is_static(v.aval.shape)]
    return g.concat(filled or [inputs[0]], axis)


@lowers("stack")
def _stack(g: Emitter, equation: Any, *inputs: Operand) -> Operand:
    axis = int(equation.params["axis"]) % len(equation.outvars[0].aval.shape)
    return g.concat([g.unsqueeze(x, [axis]) for x in inputs], axis)


@lowers("tile")
def _tile(g: Emitter, equation: Any, x: Operand) -> Operand:
    reps = equation.params["reps"]
    shape = equation.invars[0].aval.shape
    reps = [1] * (len(shape) - len(reps)) + list(reps)
    x = g.unsqueeze(x, range(len(reps) - len(shape)))
    if all(_is_one(r) for r in reps):
        return x
    dtype = dtype_of(equation)
    inner = carrier("Tile", dtype, {})
    return g.cast(g.node("Tile", g.cast(x, dtype, inner), g.shape(reps)), inner, dtype)


@lowers("split")
def _split(g: Emitter, equation: Any, x: Operand) -> list[Operand]:
    axis, sizes = int(equation.params["axis"]), equation.params["sizes"]
    if len(sizes) == 1:
        return [x]
    if not isinstance(x, np.ndarray):
        return list(g.node("Split", x, g.shape(sizes), outputs=len(sizes), axis=axis))
    return np.split(x, np.cumsum(np.asarray(sizes, int))[:-1], axis)


@lowers("unstack")
def _unstack(g: Emitter, equation: Any, x: Operand) -> list[Operand]:
    axis, count = int(equation.params["axis"]), len(equation.outvars)
    if isinstance(x, np.ndarray):
        return [np.take(x, i, axis) for i in range(count)]
    parts = [x] if count == 1 else g.node("Split", x, g.shape([1] * count), outputs=count, axis=axis)
    return [g.squeeze(part, [axis]) for part in parts]


@lowers("slice")
def _slice(g: Emitter, equation: Any, x: Operand) -> Operand:
    shape = equation.invars[0].aval.shape
    starts, ends = equation.params["start_indices"], equation.params["limit_indices"]
    steps = equation.params["strides"] or (1,) * len(shape)
    axes = [d for d in range(len(shape)) if not (_is_zero(starts[d]) and ends[d] == shape[d] and steps[d] == 1)]
    return g.slice(x, [starts[d] for d in axes], [ends[d] for d in axes], axes, [int(steps[d]) for d in axes])


def _is_zero(length: Any) -> bool:
    return isinstance(length, int | np.integer) and length == 0


@lowers("rev")
def _reverse(g: Emitter, equation: Any, x: Operand) -> Operand:
    axes = [int(d) for d in equation.params["dimensions"]]
    if isinstance(x, np.ndarray):
        return np.flip(x, tuple(axes))
    count = len(axes)
    return g.slice(x, [-1] * count, [-(1 << 62)] * count, axes, [-1] * count)


@lowers("dynamic_slice")
def _dynamic_slice(g: Emitter, equation: Any, x: Operand, *starts: Operand) -> Operand:
    shape, sizes = equation.invars[0].aval.shape, equation.params["slice_sizes"]
    starts = starts[: len(shape)]
    axes = [d for d in range(len(shape)) if sizes[d] != shape[d]]
    if not axes:
        return x
    begin = clamped_starts(g, [starts[d] for d in axes], [equation.invars[1 + d].aval.dtype for d in axes], [shape[d] for d in axes], [sizes[d] for d in axes])
    if isinstance(begin, np.ndarray):
        return g.slice(x, [int(b) for b in begin], [int(b) + sizes[d] for b, d in zip(begin, axes, strict=True)], axes)
    end = g.node("Add", begin, g.shape([sizes[d] for d in axes]))
    return g.node("Slice", x, begin, end, np.asarray(axes, np.int64))


def clamped_starts(g: Emitter, starts: list[Operand], dtypes: list[Any], lengths: list[Any], sizes: list[Any]) -> Operand:
    """The starts of a slice as a vector of int64, moved so that the slice lies inside."""
    vector = g.concat([g.reshape(g.cast(s, t, np.int64), (1,), ()) for s, t in zip(starts, dtypes, strict=True)], 0)
    last = [n - s for n, s in zip(lengths, sizes, strict=True)]
    if isinstance(vector, np.ndarray) and is_static(last):
        return np.clip(vector, 0, np.asarray(last, np.int64))
    return g.node("Max", g.node("Min", vector, g.shape(last)), np.zeros(len(starts), np.int64))


@lowers("dynamic_update_slice")
def _dynamic_update_slice(g: Emitter, equation: Any, x: Operand, update: Operand, *starts: Operand) -> Operand:
    from .scatter import write_window

    shape, sizes = equation.invars[0].aval.shape, equation.invars[1].aval.shape
    starts = starts[: len(shape)]
    axes = [d for d in range(len(shape)) if sizes[d] != shape[d]]
    if not axes:
        return update
    begin = clamped_starts(g, [starts[d] for d in axes], [equation.invars[2 + d].aval.dtype for d in axes], [shape[d] for d in axes], [sizes[d] for d in axes])
    if len(axes) > 1:
        return write_window(g, x, update, begin, axes, shape, sizes, dtype_of(equation))
    axis = np.asarray(axes, np.int64)
    end = g.node("Add", begin, g.shape([sizes[axes[0]]])) if not isinstance(begin, np.ndarray) or not is_static(sizes) else begin + int(sizes[axes[0]])
    before = g.node("Slice", x, np.zeros(1, np.int64), begin, axis)
    after = g.node("Slice", x, end, np.asarray([1 << 62]), axis)
    return g.node("Concat", before, update, after, axis=axes[0])


@lowers("pad")
def _pad(g: Emitter, equation: Any, x: Operand, fill: Operand) -> Operand:
    shape = equation.invars[0].aval.shape
    return pad(g, x, fill, shape, equation.params["padding_config"], dtype_of(equation))


def pad(g: Emitter, x: Operand, fill: Operand, shape: tuple, config: Any, dtype: np.dtype) -> Operand:
    """`x` with `(low, high, interior)` elements of `fill` put around and between; negative ones take away."""
    lengths = list(shape)
    for axis, (_, _, interior) in enumerate(config):
        if interior and not (is_static((lengths[axis],)) and lengths[axis] <= 1):
            x, lengths[axis] = _pad_between(g, x, fill, lengths, axis, int(interior), dtype)
    low = [max(lo, 0) if is_static((lo,)) else lo for lo, _, _ in config]
    high = [max(hi, 0) if is_static((hi,)) else hi for _, hi, _ in config]
    if not all(_is_zero(n) for n in (*low, *high)):
        inner = carrier("Pad", dtype, {})
        padded = g.node("Pad", g.cast(x, dtype, inner), g.shape([*low, *high]), g.cast(compact(fill) if isinstance(fill, np.ndarray) else fill, dtype, inner))
        x = g.cast(padded, inner, dtype)
    axes = [d for d, (lo, hi, _) in enumerate(config) if _is_negative(lo) or _is_negative(hi)]
    total = [n + lo + hi for n, lo, hi in zip(lengths, low, high, strict=True)]
    starts = [max(-config[d][0], 0) for d in axes]
    ends = [total[d] - max(-config[d][1], 0) for d in axes]
    return g.slice(x, starts, ends, axes)


def _is_negative(length: Any) -> bool:
    return isinstance(length, int | np.integer) and bool(length < 0)


def _pad_between(g: Emitter, x: Operand, fill: Operand, shape: list, axis: int, interior: int, dtype: np.dtype) -> tuple[Operand, Any]:
    """Elements put between neighbours along `axis`: padded in a dimension of their own, which is then merged."""
    length = shape[axis]
    opened = g.unsqueeze(x, [axis + 1])
    config = [(0, interior if d == axis + 1 else 0, 0) for d in range(len(shape) + 1)]
    padded = pad(g, opened, fill, (*shape[: axis + 1], 1, *shape[axis + 1 :]), config, dtype)
    merged = g.reshape(padded, (*shape[:axis], length * (interior + 1), *shape[axis + 1 :]))
    new_length = (length - 1) * (interior + 1) + 1
    return g.slice(merged, [0], [new_length], [axis]), new_length


@lowers("iota")
def _iota(g: Emitter, equation: Any, *_: Operand) -> Operand:
    shape, dtype, dim = equation.outvars[0].aval.shape, np.dtype(equation.params["dtype"]), int(equation.params["dimension"])
    placed = [shape[dim] if d == dim else 1 for d in range(len(shape))]
    return g.expand(g.reshape(g.cast(g.arange(shape[dim]), np.int64, dtype), placed, (shape[dim],)), shape, placed, dtype)


@lowers("empty", "empty2")
def _empty(g: Emitter, equation: Any, *_: Operand) -> Operand:
    aval = equation.outvars[0].aval
    return g.expand(np.zeros((), aval.dtype), aval.shape, (), aval.dtype)


@lowers("dim_as_value")
def _dim_as_value(g: Emitter, equation: Any) -> Operand:
    return g.cast(g.dim(equation.params["dim"]), np.int64, equation.outvars[0].aval.dtype)
