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
    if any(p < 0 for p in pad):
        return None
    if mode == "circular" and g.opset < 19:
        return _wrapped(g, input, first, pairs)
    befores, afters = [0] * first + [b for b, _ in pairs], [0] * first + [a for _, a in pairs]
    return g.add("Pad", input, g.ints(*befores, *afters), mode=_MODES[mode])


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
