"""Padding."""

from __future__ import annotations

import numpy as np

from ..builder import Graph, Value
from ..lowering import case, converter

_MODES = {"constant": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}


@converter(
    "pad",
    cases=[
        case("F.pad(x, (1, 2, 0, 3), value=2.5)", "Pad", x=(2, 3, 4)),
        case("F.pad(x, (1, -2))", "Pad", x=(2, 3, 4)),
        case("F.pad(x, (1, 2), 'reflect')", "Pad", x=(2, 3, 4)),
        case("F.pad(x, (1, 2, 1, 1), 'replicate')", "Pad", x=(2, 3, 4)),
        case("F.pad(x, (2, -1), 'reflect')", "Pad Slice", x=(2, 3, 4)),
        case("F.pad(x, (1, 2), 'circular')", "Concat Slice Slice", x=(2, 3, 4)),
        case("F.pad(x, (1, 2), 'circular')", "Pad", 19, x=(2, 3, 4)),
    ],
)
def pad(g: Graph, input: Value, pad: tuple[int, ...], mode: str, value: float | None) -> Value | None:
    pairs = [(pad[i], pad[i + 1]) for i in range(0, len(pad), 2)][::-1]
    first = input.ndim - len(pairs)
    if mode not in _MODES:
        return None
    if mode == "constant":
        befores, afters = [0] * first + [b for b, _ in pairs], [0] * first + [a for _, a in pairs]
        fill = None if not value else g.constant(np.asarray(value, input.dtype))
        return g.add("Pad", input, g.ints(*befores, *afters), fill, mode="constant")
    cuts = [(max(-b, 0), max(-a, 0)) for b, a in pairs]
    pairs = [(max(b, 0), max(a, 0)) for b, a in pairs]
    if mode == "circular":  # what is cut off is gone before the rest goes around; the other modes still see it
        return _extended(g, _cut(g, input, first, cuts), first, pairs, mode)
    return _cut(g, _extended(g, input, first, pairs, mode), first, cuts)


def _cut(g: Graph, x: Value, first: int, cuts: list[tuple[int, int]]) -> Value:
    """So many elements off the ends of each dimension from `first` on."""
    shape = list(x.known_shape)
    for axis, (before, after) in enumerate(cuts, first):
        if before or after:
            shape[axis] = shape[axis] - before - after
            x = g.slice(x, axis, before, -after if after else np.iinfo(np.int64).max, shape=list(shape))
    return x


def _extended(g: Graph, x: Value, first: int, pairs: list[tuple[int, int]], mode: str) -> Value:
    if not any(map(any, pairs)):
        return x
    if mode == "circular" and g.opset < 19:
        return _wrapped(g, x, first, pairs)
    shape = [*x.known_shape[:first], *(length + b + a for length, (b, a) in zip(x.known_shape[first:], pairs, strict=True))]
    befores, afters = [0] * first + [b for b, _ in pairs], [0] * first + [a for _, a in pairs]
    return g.add("Pad", x, g.ints(*befores, *afters), mode=_MODES[mode], shape=shape)


def _wrapped(g: Graph, x: Value, first: int, pairs: list[tuple[int, int]]) -> Value:
    """The elements of the other end on either side."""
    shape = list(x.known_shape)
    for axis, (before, after) in enumerate(pairs, first):
        length = shape[axis]
        pieces = [g.slice(x, axis, -before, np.iinfo(np.int64).max)] if before else []
        pieces.append(x)
        pieces += [g.slice(x, axis, 0, after)] if after else []
        shape[axis] = length + before + after
        x = pieces[0] if len(pieces) == 1 else g.add("Concat", *pieces, axis=axis, shape=list(shape))
    return x
