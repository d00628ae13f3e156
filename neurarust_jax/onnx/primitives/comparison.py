"""Lowering of comparisons, choices, logic and conversions between types."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np

from ..emitter import Emitter, Operand, compact
from .elementwise import dtype_of, operands
from .registry import lowers

_COMPARISONS = {"eq": "Equal", "lt": "Less", "le": "LessOrEqual", "gt": "Greater", "ge": "GreaterOrEqual"}


@lowers("eq", "lt", "le", "gt", "ge")
def _compare(g: Emitter, equation: Any, *inputs: Operand) -> Operand:
    name, dtype = equation.primitive.name, dtype_of(equation)
    x, y = operands(g, equation, inputs)
    if dtype.kind == "b" and name != "eq":
        dtype, x, y = np.dtype(np.uint8), g.cast(x, bool, np.uint8), g.cast(y, bool, np.uint8)
    return g.op(_COMPARISONS[name], dtype, x, y, result=bool)


@lowers("ne")
def _differ(g: Emitter, equation: Any, *inputs: Operand) -> Operand:
    dtype = dtype_of(equation)
    if dtype.kind == "b":
        return g.node("Xor", *operands(g, equation, inputs))
    return g.node("Not", g.op("Equal", dtype, *operands(g, equation, inputs), result=bool))


@lowers("eq_to", "lt_to", "le_to")
def _compare_totally(g: Emitter, equation: Any, *inputs: Operand) -> Operand:
    """Comparison in the order -nan < -inf < ... < -0 = 0 < ... < inf < nan."""
    name, dtype = equation.primitive.name, dtype_of(equation)
    x, y = operands(g, equation, inputs)
    op_type = _COMPARISONS[name.removesuffix("_to")]
    plain = g.op(op_type, dtype, x, y, result=bool)
    if dtype.kind not in "fV":
        return plain
    nan_x, nan_y = is_nan(g, x, dtype), is_nan(g, y, dtype)
    if name == "eq_to":
        return g.node("Or", plain, g.node("And", nan_x, nan_y))
    if name == "lt_to":
        return g.node("Or", plain, g.node("And", g.node("Not", nan_x), nan_y))
    return g.node("Or", plain, nan_y)


def is_nan(g: Emitter, x: Operand, dtype: Any) -> Operand:
    """Where `x` is not a number."""
    return g.op("IsNaN", dtype, x, result=bool)


@lowers("is_finite")
def _is_finite(g: Emitter, equation: Any, x: Operand) -> Operand:
    dtype = dtype_of(equation)
    return g.op("Less", dtype, g.op("Abs", dtype, x), np.asarray(np.inf, dtype), result=bool)


@lowers("select_n")
def _select(g: Emitter, equation: Any, which: Operand, *cases: Operand) -> Operand:
    dtype = np.dtype(equation.outvars[0].aval.dtype)
    if len(cases) == 1:
        return cases[0]
    if isinstance(which, np.ndarray) and which.size and compact(which).ndim == 0:
        return cases[int(np.clip(compact(which), 0, len(cases) - 1))]
    which, *choices = operands(g, equation, (which, *cases))
    kind = dtype_of(equation)
    if kind.kind == "b":
        return choose(g, which, choices[1], choices[0], dtype)
    result = choices[-1]
    for number in range(len(choices) - 2, -1, -1):
        chosen = g.op("Equal" if number else "LessOrEqual", kind, which, np.asarray(number, kind), result=bool)
        result = choose(g, chosen, choices[number], result, dtype)
    return result


def choose(g: Emitter, condition: Operand, x: Operand, y: Operand, dtype: np.dtype) -> Operand:
    """`x` where the condition holds, else `y`; of bools too."""
    if dtype.kind == "b":
        if isinstance(x, np.ndarray) and x.shape == ():
            return g.node("Or", condition, y) if x else g.node("And", g.node("Not", condition), y)
        if isinstance(y, np.ndarray) and y.shape == ():
            return g.node("Or", g.node("Not", condition), x) if y else g.node("And", condition, x)
    return g.where(condition, x, y, dtype)


@lowers("convert_element_type")
def _convert(g: Emitter, equation: Any, x: Operand) -> Operand:
    source, target = dtype_of(equation), np.dtype(equation.params["new_dtype"])
    shape = equation.outvars[0].aval.shape
    if source != target and (unexpanded := g.unexpanded(x)) is not None:
        small, small_shape = unexpanded
        return g.expand(g.cast(small, source, target), shape, small_shape, target)
    if source.kind in "fV" and target.kind in "iu" and target.itemsize < 4:
        return g.cast(g.cast(x, source, np.int32), np.int32, target)
    return g.cast(x, source, target)


@lowers("and", "or", "xor")
def _bitwise(g: Emitter, equation: Any, *inputs: Operand) -> Operand:
    name, dtype = equation.primitive.name, dtype_of(equation)
    x, y = operands(g, equation, inputs)
    if dtype.kind == "b":
        for number, (a, whole) in enumerate(zip((x, y), reversed(inputs), strict=True)):
            shape = equation.invars[1 - number].aval.shape
            if isinstance(a, np.ndarray) and a.shape == () and name != "xor" and bool(a) == (name == "and") and shape == equation.outvars[0].aval.shape:
                return whole
        return g.node({"and": "And", "or": "Or", "xor": "Xor"}[name], x, y)
    if g.opset >= 18:
        return g.op({"and": "BitwiseAnd", "or": "BitwiseOr", "xor": "BitwiseXor"}[name], dtype, x, y)
    return bitwise_by_bits(g, name, x, y, dtype)


def bitwise_by_bits(g: Emitter, name: str, x: Operand, y: Operand, dtype: np.dtype) -> Operand:
    """A bitwise operation where ONNX has none yet: on the bits as numbers 0 and 1, along a dimension of their own."""
    width = dtype.itemsize * 8
    places = np.arange(width, dtype=np.uint64)
    bits = []
    for value in (x, y):
        unsigned = g.cast(g.unsqueeze(value, [-1]), dtype, np.uint64)
        bits.append(g.op("Mod", np.uint64, g.node("BitShift", unsigned, places, direction="RIGHT"), np.asarray(2, np.uint64)))
    a, b = bits
    both = g.op("Mul", np.uint64, a, b)
    if name == "and":
        result = both
    else:
        total = g.op("Add", np.uint64, a, b)
        result = g.op("Sub", np.uint64, total, both if name == "or" else g.op("Add", np.uint64, both, both))
    if width < 64:
        placed = g.cast(g.node("BitShift", result, places, direction="LEFT"), np.uint64, np.int64)
        return g.cast(g.reduce("ReduceSum", placed, [-1], np.int64), np.int64, dtype)
    half = g.node("BitShift", result, places % 32, direction="LEFT")  # onnxruntime adds up int64 in double precision: halves are exact
    sums = []
    for start in (0, 32):
        part = g.cast(g.slice(half, [start], [start + 32], [-1]), np.uint64, np.int64)
        sums.append(g.cast(g.reduce("ReduceSum", part, [-1], np.int64), np.int64, np.uint64))
    whole = g.node("Add", sums[0], g.node("BitShift", sums[1], np.asarray(32, np.uint64), direction="LEFT"))
    return g.cast(whole, np.uint64, dtype)


@lowers("not")
def _not(g: Emitter, equation: Any, x: Operand) -> Operand:
    dtype = dtype_of(equation)
    if dtype.kind == "b":
        return g.node("Not", x)
    if g.opset >= 18:
        return g.op("BitwiseNot", dtype, x)
    if dtype.kind == "u":
        return g.op("Sub", dtype, np.asarray(np.iinfo(dtype).max, dtype), x)
    return g.op("Sub", dtype, np.asarray(-1, dtype), x)


@lowers("nextafter")
def _nextafter(g: Emitter, equation: Any, *inputs: Operand) -> Operand:
    dtype = dtype_of(equation)
    integer, sign = {2: (jnp.int16, 1 << 15), 4: (jnp.int32, 1 << 31), 8: (jnp.int64, 1 << 63)}[dtype.itemsize]

    def nextafter(x, y):
        bits = x.view(integer)
        outwards = (y > x) == (x > 0)
        smallest = jnp.where(y < 0, jnp.asarray(1 - sign, integer), jnp.asarray(1, integer))
        moved = jnp.where(x == 0, smallest, bits + jnp.where(outwards, 1, -1).astype(integer)).view(x.dtype)
        return jnp.where(jnp.isnan(x) | jnp.isnan(y), jnp.nan, jnp.where(x == y, y, moved)).astype(x.dtype)

    return g.trace(nextafter, [v.aval for v in equation.invars], *inputs)


def scalar(value: Operand) -> Operand:
    """A known value that repeats one number, as that number."""
    return compact(value) if isinstance(value, np.ndarray) else value
