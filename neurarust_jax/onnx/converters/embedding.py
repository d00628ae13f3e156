"""Look-up tables, bags of looked-up vectors, one-hot vectors."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..builder import Graph, Value
from ..lowering import case, converter
from .elementwise import number
from .reduction import reduced


def indices(g: Graph, input: Value) -> Value:
    """Integers in a dtype that ONNX takes as an index."""
    return input if input.dtype in (np.int32, np.int64) else g.cast(input, np.int64)


def rows(g: Graph, input: Value, weight: Value) -> Value:
    """Rows of a table."""
    return g.add("Gather", weight, indices(g, input), shape=[*input.known_shape, *weight.known_shape[1:]])


@converter(
    "_embedding",
    cases=[case("F.embedding(n, w)", "Gather", n=("below", 5, 2, 3), w=(5, 4)), case("nn.Embedding(5, 4, padding_idx=0)(n)", "Gather", n=("below", 5, 2, 3))],
)
def _embedding(
    g: Graph, input: Value, weight: Value, padding_idx: int | None, max_norm: float | None, norm_type: float, scale_grad_by_freq: bool
) -> Value | None:
    return rows(g, input, weight) if max_norm is None else None


@converter(
    "_bags_of_equal_length",
    cases=[
        case("F.embedding_bag(n, w, mode='sum')", "Gather ReduceSum", n=("below", 5, 2, 3), w=(5, 4)),
        case("F.embedding_bag(n, w)", "Gather ReduceMean", n=("below", 5, 2, 3), w=(5, 4)),
        case("F.embedding_bag(n, w, mode='sum', per_sample_weights=x)", "Gather Mul ReduceSum Unsqueeze", n=("below", 5, 2, 3), w=(5, 4), x=(2, 3)),
    ],
)
def _bags_of_equal_length(
    g: Graph,
    input: Value,
    weight: Value,
    per_sample_weights: Value | None,
    mode: str,
    padding_idx: int | None,
    max_norm: float | None,
    norm_type: float,
    by_freq: bool,
) -> Value | None:
    if max_norm is not None or padding_idx is not None or 0 in input.known_shape:
        return None
    found = rows(g, input, weight)
    if per_sample_weights is not None:
        found = g.add("Mul", found, g.unsqueeze(per_sample_weights, [2]), shape=found.shape)
    return reduced(g, {"sum": "ReduceSum", "mean": "ReduceMean", "max": "ReduceMax"}[mode], found, 1, False)


@converter(
    "_bags_by_offset",
    cases=[case("F.embedding_bag(n, w, nr.tensor([0, 2]), mode='sum')", "Gather MatMul", n=("below", 5, 6), w=(5, 4))],
)
def _bags_by_offset(
    g: Graph, input: Value, weight: Value, offsets: Value, per_sample_weights: Value | None, mode: str, include_last_offset: bool, padding_idx: int | None,
    max_norm: float | None, norm_type: float, by_freq: bool,
) -> Value | None:  # fmt: skip
    """Sums as a product with the matrix that says which place belongs to which bag."""
    length, count = input.known_shape[0], offsets.known_shape[0]
    if max_norm is not None or padding_idx is not None or (mode == "max" and weight.dtype not in (np.float32, np.float64)):
        return None
    starts = g.cast(offsets, np.int64)
    if include_last_offset:
        shape = (count - 1,)
        starts, ends = g.slice(starts, 0, 0, count - 1, shape=shape), g.slice(starts, 0, 1, count, shape=shape)
    elif starts.constant is not None and isinstance(length, int):
        ends = g.constant(np.append(starts.constant[1:], length).astype(np.int64))
    else:
        ends = g.add("Concat", g.slice(starts, 0, 1, count), g.dim(length), axis=0)
    belongs = _belongs(g, g.unsqueeze(starts, [1]), g.unsqueeze(ends, [1]), length)
    found = rows(g, input, weight)
    if mode == "max":
        return _greatest(g, belongs, found)
    matrix = g.cast(belongs, weight.dtype)
    if mode == "mean":
        size = reduced(g, "ReduceSum", g.declare(matrix, (g.results[0].shape[0], length), weight.dtype), 1, True)
        matrix = g.add("Div", matrix, g.add("Max", size, number(g, 1, weight.dtype)))
    if per_sample_weights is not None:
        found = g.add("Mul", found, g.unsqueeze(per_sample_weights, [1]), shape=found.shape)
    return g.add("MatMul", matrix, found)


def _belongs(g: Graph, starts: Value, ends: Value, length: Any) -> Value:
    """Which places lie in which bag, over (bags, places)."""
    if isinstance(length, int):
        place = g.constant(np.arange(length, dtype=np.int64))
    else:
        place = g.add("Range", number(g, 0, np.int64), g.scalar_dim(length), number(g, 1, np.int64), dtype=np.int64, shape=(length,))
    return g.add("And", g.add("GreaterOrEqual", place, starts, dtype=bool), g.add("Less", place, ends, dtype=bool))


def _greatest(g: Graph, belongs: Value, found: Value) -> Value:
    """The greatest element of each bag, 0 of an empty one."""
    bags, (length, width) = g.results[0].shape[0], found.known_shape
    lowest = number(g, -np.inf, found.dtype)
    own = g.add("Where", g.unsqueeze(belongs, [2]), found, lowest, dtype=found.dtype, shape=(bags, length, width))
    most = reduced(g, "ReduceMax", own, 1, False)
    return g.add("Where", g.add("Equal", most, lowest, dtype=bool), number(g, 0, found.dtype), most, dtype=found.dtype)


@converter("_one_hot", cases=[case("F.one_hot(n, 5)", "OneHot", n=("below", 5, 2, 3))])
def _one_hot(g: Graph, input: Value, num_classes: int) -> Value:
    return g.add("OneHot", g.cast(input, np.int64), g.constant(np.int64(num_classes)), g.ints(0, 1), dtype=np.int64)
