"""Other shapes for the same elements, other orders of dimensions, repetition."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...ops.common import wrap_dim, wrap_dims
from ..builder import Graph, Value
from ..dimensions import is_symbolic
from ..lowering import case, converter
from .elementwise import in_result_dtype

_LAST = np.iinfo(np.int64).max


def _to_result(g: Graph, input: Value) -> Value | None:
    """The elements in the shape of the result."""
    if input.dtype != g.results[0].dtype:
        return None
    return g.reshape(input, g.results[0].shape)


@converter(
    "reshape",
    cases=[case("x.reshape(4, -1)", "Reshape", x=(2, 3, 4)), case("x.reshape(2, 3, 4) + 1", "Add", x=(2, 3, 4))],
)
def reshape(g: Graph, input: Value, shape: Any) -> Value | None:
    return _to_result(g, input)


@converter("view", cases=[case("x.view(x.shape[0], -1)", "Reshape", x=(2, 3, 4))])
def view(g: Graph, input: Value, size: Any) -> Value | None:
    return _to_result(g, input)


@converter("flatten", cases=[case("x.flatten(1)", "Reshape", x=(2, 3, 4))])
def flatten(g: Graph, input: Value, start_dim: int, end_dim: int) -> Value | None:
    return _to_result(g, input)


@converter("ravel", cases=[case("x.ravel()", "Reshape", x=(2, 3))])
def ravel(g: Graph, input: Value) -> Value | None:
    return _to_result(g, input)


@converter("unflatten", cases=[case("x.unflatten(1, (2, -1))", "Reshape", x=(2, 6))])
def unflatten(g: Graph, input: Value, dim: int, sizes: Any) -> Value | None:
    return _to_result(g, input)


@converter("squeeze", cases=[case("x.squeeze(1)", "Squeeze", x=(2, 1, 3)), case("x.squeeze()", "Squeeze", x=(1, 2, 1))])
def squeeze(g: Graph, input: Value, dim: Any) -> Value:
    dims = wrap_dims(dim, input.ndim, empty_is_all=False)
    return g.squeeze(input, [d for d in dims if isinstance(input.known_shape[d], int) and input.known_shape[d] == 1])


@converter("unsqueeze", cases=[case("x.unsqueeze(1)", "Unsqueeze", x=(2, 3))])
def unsqueeze(g: Graph, input: Value, dim: int) -> Value:
    return g.unsqueeze(input, [wrap_dim(dim, input.ndim + 1)])


@converter("permute", cases=[case("x.permute(2, 0, 1)", "Transpose", x=(2, 3, 4))])
def permute(g: Graph, input: Value, dims: Any) -> Value:
    return g.transpose(input, [d % input.ndim for d in dims])


def _exchanged(g: Graph, input: Value, dim0: int, dim1: int) -> Value:
    if input.ndim == 0:
        return input
    order = list(range(input.ndim))
    dim0, dim1 = dim0 % input.ndim, dim1 % input.ndim
    order[dim0], order[dim1] = dim1, dim0
    return g.transpose(input, order)


@converter("transpose", cases=[case("x.transpose(0, -1)", "Transpose", x=(2, 3, 4))])
def transpose(g: Graph, input: Value, dim0: int, dim1: int) -> Value:
    return _exchanged(g, input, dim0, dim1)


@converter("swapaxes", cases=[case("x.swapaxes(0, 1)", "Transpose", x=(2, 3))])
def swapaxes(g: Graph, input: Value, axis0: int, axis1: int) -> Value:
    return _exchanged(g, input, axis0, axis1)


@converter("swapdims")
def swapdims(g: Graph, input: Value, dim0: int, dim1: int) -> Value:
    return _exchanged(g, input, dim0, dim1)


@converter("t", "_T", cases=[case("x.T", "Transpose", x=(2, 3))])
def t(g: Graph, input: Value) -> Value:
    return g.transpose(input, list(range(input.ndim))[::-1])


@converter("_mT", "adjoint", "_mH", "_H", cases=[case("x.mT", "Transpose", x=(2, 3, 4))])
def matrix_transpose(g: Graph, input: Value) -> Value:
    return _exchanged(g, input, -1, -2) if input.ndim > 1 else input


@converter("movedim", cases=[case("x.movedim(0, -1)", "Transpose", x=(2, 3, 4))])
def movedim(g: Graph, input: Value, source: Any, destination: Any) -> Value:
    sources, destinations = ([d % input.ndim for d in (x if isinstance(x, tuple) else (x,))] for x in (source, destination))
    order = [d for d in range(input.ndim) if d not in sources]
    for place, old in sorted(zip(destinations, sources, strict=True)):
        order.insert(place, old)
    return g.transpose(input, order)


# --- repetition ----------------------------------------------------------------------------------------------------------


@converter("expand", cases=[case("x.expand(4, -1, 3)", "Expand", x=(2, 1))])
def expand(g: Graph, input: Value, size: Any) -> Value:
    return g.expand(input, g.results[0].shape)


@converter("broadcast_to", cases=[case("nr.broadcast_to(x, (4, 2, 3))", "Expand", x=(2, 1))])
def broadcast_to(g: Graph, input: Value, size: Any) -> Value:
    return g.expand(input, g.results[0].shape)


@converter("broadcast_tensors", cases=[case("nr.broadcast_tensors(x, y)", "Expand Expand", x=(2, 1), y=(3,))])
def broadcast_tensors(g: Graph, tensors: list[Value]) -> list[Value]:
    return [g.expand(x, g.results[0].shape) for x in tensors]


def _tiled(g: Graph, input: Value, repeats: Any) -> Value:
    repeats = [*[1] * (input.ndim - len(repeats)), *repeats]
    x = g.unsqueeze(input, list(range(len(repeats) - input.ndim)))
    return g.add("Tile", x, g.shape_vector(repeats)) if any(is_symbolic(r) or r != 1 for r in repeats) else x


@converter("repeat", cases=[case("x.repeat(2, 3)", "Tile", x=(2, 3)), case("x.repeat(2, 1, 3)", "Tile Unsqueeze", x=(2, 3))])
def repeat(g: Graph, input: Value, repeats: Any) -> Value:
    return _tiled(g, input, repeats)


@converter("tile", cases=[case("x.tile(2)", "Tile", x=(2, 3))])
def tile(g: Graph, input: Value, dims: Any) -> Value:
    return _tiled(g, input, dims)


@converter("_repeat_each", cases=[case("x.repeat_interleave(2, dim=1)", "Expand Reshape Unsqueeze", x=(2, 3))])
def _repeat_each(g: Graph, input: Value, repeats: int, dim: int | None) -> Value:
    x = g.reshape(input, (math.prod(input.known_shape),)) if dim is None else input
    axis = 0 if dim is None else dim % x.ndim
    shape = [*x.known_shape[: axis + 1], repeats, *x.known_shape[axis + 1 :]]
    return g.reshape(g.expand(g.unsqueeze(x, [axis + 1]), shape), g.results[0].shape)


@converter("flip", cases=[case("x.flip(1)", "Slice", x=(2, 3)), case("x.flip(0, 1)", "Slice", x=(2, 3))])
def flip(g: Graph, input: Value, dims: Any) -> Value:
    axes = [d % input.ndim for d in (dims if isinstance(dims, tuple) else (dims,))] if input.ndim else []
    if not axes:
        return input
    count = len(axes)
    return g.add("Slice", input, g.ints(*[-1] * count), g.ints(*[np.iinfo(np.int64).min] * count), g.ints(*axes), g.ints(*[-1] * count), shape=input.shape)


@converter("roll", cases=[case("x.roll(1, 0)", "Concat Slice Slice", x=(3, 4)), case("x.roll(-2, 1)", "Concat Slice Slice", x=(3, 4))])
def roll(g: Graph, input: Value, shifts: Any, dims: Any) -> Value | None:
    shifts = shifts if isinstance(shifts, tuple) else (shifts,)
    x, axes = input, list(dims if isinstance(dims, tuple) else (dims,))
    if dims is None or dims == ():
        x, axes = g.reshape(input, (math.prod(input.known_shape),)), [0]
    for shift, axis in zip(shifts, axes, strict=True):
        axis %= x.ndim
        length = x.known_shape[axis]
        if not isinstance(length, int):
            cut = -shift
        elif length == 0 or shift % length == 0:
            continue
        else:
            cut = length - shift % length
        x = g.add("Concat", g.slice(x, axis, cut, _LAST), g.slice(x, axis, 0, cut), axis=axis, shape=x.shape)
    return g.reshape(x, input.known_shape)


# --- joining and splitting -----------------------------------------------------------------------------------------------


@converter("cat", cases=[case("nr.cat([x, y], 1)", "Concat", x=(2, 3), y=(2, 4))])
def cat(g: Graph, tensors: list[Value], dim: int) -> Value:
    operands = in_result_dtype(g, *tensors)
    rank = len(g.results[0].shape)
    operands = [x for x in operands if not (x.known_shape == (0,) and rank > 1)]
    return operands[0] if len(operands) == 1 else g.add("Concat", *operands, axis=dim % rank)


@converter("stack", cases=[case("nr.stack([x, y])", "Concat Unsqueeze Unsqueeze", x=(2, 3), y=(2, 3))])
def stack(g: Graph, tensors: list[Value], dim: int) -> Value:
    axis = dim % len(g.results[0].shape)
    operands = [g.unsqueeze(x, [axis]) for x in in_result_dtype(g, *tensors)]
    return operands[0] if len(operands) == 1 else g.add("Concat", *operands, axis=axis)


def _split(g: Graph, input: Value, axis: int) -> list[Value]:
    """Pieces of the lengths that the results have."""
    lengths = [r.shape[axis] for r in g.results]
    if len(lengths) == 1:
        return [input]
    equal = not any(map(is_symbolic, lengths)) and len(set(lengths)) == 1
    sizes = None if equal else g.shape_vector(lengths)
    return g.add_many(
        "Split", [input, sizes], [(input.dtype, r.shape) for r in g.results], axis=axis, num_outputs=len(lengths) if equal and g.opset >= 18 else None
    )


@converter("split", cases=[case("x.split(2, 1)", "Split", x=(2, 5))])
def split(g: Graph, tensor: Value, split_size_or_sections: Any, dim: int) -> list[Value]:
    return _split(g, tensor, dim % tensor.ndim)


@converter("split_with_sizes", cases=[case("x.split([1, 4], 1)", "Split", x=(2, 5))])
def split_with_sizes(g: Graph, input: Value, split_sizes: Any, dim: int) -> list[Value]:
    return _split(g, input, dim % input.ndim)


@converter("chunk", cases=[case("x.chunk(3, -1)", "Split", x=(2, 6))])
def chunk(g: Graph, input: Value, chunks: int, dim: int) -> list[Value] | None:
    if any(is_symbolic(r.shape[dim]) for r in g.results):
        return None
    return _split(g, input, dim % input.ndim)


@converter("tensor_split", cases=[case("nr.tensor_split(x, 2, 1)", "Split", x=(2, 5))])
def tensor_split(g: Graph, input: Value, indices_or_sections: Any, dim: int) -> list[Value] | None:
    lengths = [r.shape[dim] for r in g.results]
    if any(map(is_symbolic, lengths)) or sum(lengths) != input.known_shape[dim]:
        return None
    return _split(g, input, dim % input.ndim)


@converter("unbind", cases=[case("x.unbind(1)", "Split Squeeze Squeeze", x=(3, 2))])
def unbind(g: Graph, input: Value, dim: int) -> list[Value]:
    axis, count = dim % input.ndim, len(g.results)
    if count == 1:
        return [g.squeeze(input, [axis])]
    shape = [1 if i == axis else d for i, d in enumerate(input.known_shape)]
    pieces = g.add_many("Split", [input, None], [(input.dtype, shape)] * count, axis=axis, num_outputs=count if g.opset >= 18 else None)
    return [g.squeeze(piece, [axis]) for piece in pieces]


# --- shuffling of pixels -------------------------------------------------------------------------------------------------


@converter("pixel_shuffle", cases=[case("F.pixel_shuffle(x, 2)", "DepthToSpace", x=(2, 8, 3, 3))])
def pixel_shuffle(g: Graph, input: Value, upscale_factor: int) -> Value | None:
    return g.add("DepthToSpace", input, blocksize=upscale_factor, mode="CRD") if input.ndim == 4 else None


@converter("pixel_unshuffle", cases=[case("F.pixel_unshuffle(x, 2)", "Reshape Reshape Transpose", x=(2, 2, 4, 6))])
def pixel_unshuffle(g: Graph, input: Value, downscale_factor: int) -> Value:
    *lead, channels, height, width = input.known_shape
    n, r = len(lead), downscale_factor
    apart = g.reshape(input, (*lead, channels, height // r, r, width // r, r))
    order = [*range(n + 1), n + 2, n + 4, n + 1, n + 3]
    return g.reshape(g.transpose(apart, order), g.results[0].shape)


@converter("channel_shuffle", cases=[case("F.channel_shuffle(x, 2)", "Reshape Reshape Transpose", x=(2, 4, 3, 3))])
def channel_shuffle(g: Graph, input: Value, groups: int) -> Value:
    batch, channels, *rest = input.known_shape
    apart = g.reshape(input, (batch, groups, channels // groups, *rest))
    return g.reshape(g.transpose(apart, [0, 2, 1, *range(3, input.ndim + 1)]), input.known_shape)
