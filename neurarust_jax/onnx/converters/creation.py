"""New tensors, whose size an open dimension may give, and random numbers, which ONNX draws by its own generator."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..builder import Graph, Value
from ..dimensions import is_symbolic
from ..lowering import case, converter
from .elementwise import number, out_dtype


@converter("_constant", cases=[case("nr.zeros(2, 3) + x", "Add", x=(3,))])
def _constant(g: Graph, size: Any, value: Any, dtype: Any) -> Value:
    if not any(map(is_symbolic, size)):
        return g.constant(np.full(size, value, out_dtype(g)))
    return g.add("ConstantOfShape", g.shape_vector(size), value=np.full((1,), value, out_dtype(g)), dtype=out_dtype(g), shape=size)


@converter("_filled", cases=[case("nr.full((2, 3), x.sum()) * 2", "Expand Mul ReduceSum", x=(3,))])
def _filled(g: Graph, value: Value, size: Any, dtype: Any) -> Value:
    return g.expand(g.cast(value, out_dtype(g)), size)


@converter("fill", cases=[case("nr.full_like(x, 2.5) * x", "Mul", x=(2, 3))])
def fill(g: Graph, input: Value, value: Value) -> Value:
    return g.expand(g.cast(value, out_dtype(g)), g.results[0].shape)


@converter("_arange", cases=[case("nr.arange(3) + n", "Add", n=("below", 9, 3))])
def _arange(g: Graph, start: Value, step: Value, length: Any, dtype: Any) -> Value | None:
    if not is_symbolic(length) or any(v.constant is None and v.dim is None for v in (start, step)):
        return None
    target = out_dtype(g)
    first = start.dim if start.dim is not None else start.constant.item()  # type: ignore[union-attr]
    by = step.dim if step.dim is not None else step.constant.item()  # type: ignore[union-attr]
    if not isinstance(first, float) and not isinstance(by, float):
        numbers = g.add("Range", g.scalar_dim(first), g.scalar_dim(first + length * by), g.scalar_dim(by), dtype=np.int64, shape=(length,))
        return g.cast(numbers, target)
    counted = g.add("Range", number(g, 0, np.int64), g.scalar_dim(length), number(g, 1, np.int64), dtype=np.int64, shape=(length,))
    scaled = g.add("Mul", g.cast(counted, target), number(g, by, target))
    return g.add("Add", scaled, number(g, first, target))


# --- random numbers ------------------------------------------------------------------------------------------------------


@converter("_dropout_mask")
def _dropout_mask(g: Graph, state: Value, size: Any, keep: Value) -> list[Value]:
    if g.opset >= 22 and keep.constant is not None:  # of that opset ONNX Runtime has Dropout, and none of the generators
        return [_mask_of_dropout(g, size, keep.constant.item()), state]
    sample = random_numbers(g, "RandomUniform", size, np.float32, low=0.0, high=1.0)
    return [g.add("Less", sample, g.cast(keep, np.float32), dtype=bool), state]


def _mask_of_dropout(g: Graph, size: Any, keep: float) -> Value:
    """The mask by which `Dropout` keeps ones."""
    if keep <= 0 or keep >= 1:
        return g.expand(number(g, keep > 0, bool), size)
    ones = g.add("ConstantOfShape", g.shape_vector(size), value=np.ones((1,), np.float32), dtype=np.float32, shape=size)
    _, mask = g.add_many("Dropout", [ones, number(g, 1 - keep, np.float32), number(g, True, bool)], [(np.float32, size), (bool, size)])
    return mask


@converter("_uniform")
def _uniform(g: Graph, state: Value, size: Any, dtype: Any, low: Value, high: Value) -> list[Value]:
    target = out_dtype(g)
    drawn = np.float32 if target.itemsize < 4 else target
    sample = random_numbers(g, "RandomUniform", size, drawn, low=0.0, high=1.0)
    low, high = g.cast(low, drawn), g.cast(high, drawn)
    return [g.cast(g.add("Add", low, g.add("Mul", sample, g.add("Sub", high, low))), target), state]


@converter("_normal")
def _normal(g: Graph, state: Value, size: Any, dtype: Any) -> list[Value] | None:
    target = out_dtype(g)
    if target.kind != "f":
        return None
    return [g.cast(random_numbers(g, "RandomNormal", size, np.float32 if target.itemsize < 4 else target, mean=0.0, scale=1.0), target), state]


@converter("_bernoulli")
def _bernoulli(g: Graph, state: Value, probability: Value, size: Any, dtype: Any) -> list[Value]:
    sample = random_numbers(g, "RandomUniform", size, np.float32, low=0.0, high=1.0)
    return [g.cast(g.add("Less", sample, g.cast(probability, np.float32), dtype=bool), out_dtype(g)), state]


@converter("_integers")
def _integers(g: Graph, state: Value, low: Value, high: Value, size: Any, dtype: Any) -> list[Value]:
    sample = random_numbers(g, "RandomUniform", size, np.float64, low=0.0, high=1.0)
    low, high = g.cast(low, np.float64), g.cast(high, np.float64)
    scaled = g.add("Floor", g.add("Mul", sample, g.add("Sub", high, low)))
    return [g.cast(g.add("Add", scaled, low), out_dtype(g)), state]


def random_numbers(g: Graph, operator: str, size: Any, dtype: Any, **bounds: float) -> Value:
    """A tensor that ONNX fills anew at every run."""
    dtype = np.dtype(dtype)
    if any(map(is_symbolic, size)):
        like = g.add("ConstantOfShape", g.shape_vector(size), value=np.zeros((1,), np.float32), dtype=np.float32, shape=size)
        return g.add_random(f"{operator}Like", [like], dtype, size, bounds)
    if not size:
        return g.squeeze(g.add_random(operator, [], dtype, (1,), {**bounds, "shape": [1]}), [0])
    return g.add_random(operator, [], dtype, size, {**bounds, "shape": [int(d) for d in size]})
