"""Lowering of elementwise arithmetic: operators of ONNX where there is one, formulas otherwise."""

from __future__ import annotations

import math
from typing import Any

import jax.numpy as jnp
import numpy as np

from ..emitter import Emitter, Operand, compact
from .registry import lowers


def operands(g: Emitter, equation: Any, inputs: tuple[Operand, ...]) -> list[Operand]:
    """The inputs of an elementwise equation, before they were broadcast to one shape where ONNX broadcasts by itself."""
    shape = equation.outvars[0].aval.shape
    choices = []
    for value, variable in zip(inputs, equation.invars, strict=True):
        full = (value, variable.aval.shape)
        if isinstance(value, np.ndarray):
            small = compact(value)
            choices.append(((small, small.shape), full))
        else:
            choices.append((g.unexpanded(value) or full, full))
    chosen = [small for small, _ in choices]
    for position, (_, full) in enumerate(choices):
        if _broadcast([s for _, s in chosen]) == tuple(shape):
            break
        chosen[position] = full
    return [value for value, _ in chosen]


def _broadcast(shapes: list[tuple]) -> tuple | None:
    rank = max(map(len, shapes))
    result = []
    for axis in range(rank):
        lengths = [s[axis - rank + len(s)] for s in shapes if axis - rank + len(s) >= 0]
        longer = [n for n in lengths if not (isinstance(n, int | np.integer) and n == 1)]
        if any(n != longer[0] for n in longer[1:]):
            return None
        result.append(longer[0] if longer else 1)
    return tuple(result)


def dtype_of(equation: Any, position: int = 0) -> np.dtype:
    """The dtype of an input."""
    return np.dtype(equation.invars[position].aval.dtype)


def _operator(op_type: str, **attributes: Any) -> Any:
    """The rule of a primitive that is one operator of ONNX."""

    def rule(g: Emitter, equation: Any, *inputs: Operand) -> Operand:
        return g.op(op_type, dtype_of(equation), *operands(g, equation, inputs), **attributes)

    return rule


_SAME = {
    "neg": "Neg", "abs": "Abs", "sign": "Sign", "floor": "Floor", "ceil": "Ceil", "exp": "Exp", "log": "Log", "sqrt": "Sqrt", "tanh": "Tanh", "logistic": "Sigmoid",
    "sin": "Sin", "cos": "Cos", "asin": "Asin", "acos": "Acos", "atan": "Atan", "sinh": "Sinh", "cosh": "Cosh", "asinh": "Asinh", "acosh": "Acosh", "atanh": "Atanh",
    "sub": "Sub", "erf": "Erf",
}  # fmt: skip
for _primitive, _op_type in _SAME.items():
    lowers(_primitive)(_operator(_op_type))


@lowers("div", "rem")
def _divide(g: Emitter, equation: Any, *inputs: Operand) -> Operand:
    """Division; of integers by zero too, where onnxruntime stops and XLA gives -1 and the dividend."""
    x, y = operands(g, equation, inputs)
    dtype = dtype_of(equation)
    remainder = equation.primitive.name == "rem"
    if dtype.kind not in "iu" or (isinstance(y, np.ndarray) and y.all()):
        return g.op("Mod", dtype, x, y, fmod=1) if remainder else g.op("Div", dtype, x, y)
    zero = g.op("Equal", dtype, y, np.zeros((), dtype), result=bool)
    if remainder:
        return g.op("Mod", dtype, x, g.where(zero, np.asarray(np.iinfo(dtype).max, dtype), y, dtype), fmod=1)
    quotient = g.op("Div", dtype, x, g.where(zero, np.ones((), dtype), y, dtype))
    return g.where(zero, np.asarray(-1).astype(dtype), quotient, dtype)


@lowers("add", "add_any", "mul")
def _add_or_multiply(g: Emitter, equation: Any, *inputs: Operand) -> Operand:
    dtype = dtype_of(equation)
    name = equation.primitive.name
    if dtype.kind == "b":
        return g.node("And" if name == "mul" else "Or", *operands(g, equation, inputs))
    return g.op("Mul" if name == "mul" else "Add", dtype, *operands(g, equation, inputs))


@lowers("max", "min")
def _extremum(g: Emitter, equation: Any, *inputs: Operand) -> Operand:
    greater = equation.primitive.name == "max"
    dtype = dtype_of(equation)
    if dtype.kind == "b":
        return g.node("Or" if greater else "And", *operands(g, equation, inputs))
    return g.op("Max" if greater else "Min", dtype, *operands(g, equation, inputs))


@lowers("tan")
def _tan(g: Emitter, equation: Any, x: Operand) -> Operand:
    if dtype_of(equation) == np.float64:
        return g.op("Div", np.float64, g.node("Sin", x), g.node("Cos", x))
    return g.op("Tan", dtype_of(equation), x)


@lowers("neg")
def _negative(g: Emitter, equation: Any, x: Operand) -> Operand:
    dtype = dtype_of(equation)
    return g.op("Sub", dtype, np.zeros((), dtype), x) if dtype.kind == "u" else g.op("Neg", dtype, x)


@lowers("square")
def _square(g: Emitter, equation: Any, x: Operand) -> Operand:
    return g.op("Mul", dtype_of(equation), x, x)


@lowers("rsqrt")
def _reciprocal_root(g: Emitter, equation: Any, x: Operand) -> Operand:
    dtype = dtype_of(equation)
    return g.op("Reciprocal", dtype, g.op("Sqrt", dtype, x))


@lowers("integer_pow")
def _integer_power(g: Emitter, equation: Any, x: Operand) -> Operand:
    exponent, dtype = equation.params["y"], dtype_of(equation)
    if exponent == 2:
        return g.op("Mul", dtype, x, x)
    if exponent == -1:
        return g.op("Reciprocal", dtype, x)
    if dtype.kind in "iu":
        return _by_squaring(g, dtype, x, exponent)
    if abs(exponent) == 3:
        cube = g.op("Mul", dtype, g.op("Mul", dtype, x, x), x)
        return cube if exponent == 3 else g.op("Reciprocal", dtype, cube)
    return g.op("Pow", dtype, x, np.asarray(exponent, dtype))


def _by_squaring(g: Emitter, dtype: np.dtype, x: Operand, exponent: int) -> Operand:
    power = None
    while exponent:
        if exponent & 1:
            power = x if power is None else g.op("Mul", dtype, power, x)
        exponent >>= 1
        x = g.op("Mul", dtype, x, x) if exponent else x
    return x if power is None else power


@lowers("pow")
def _power(g: Emitter, equation: Any, *inputs: Operand) -> Operand:
    base, exponent = operands(g, equation, inputs)
    dtype = dtype_of(equation)
    return g.op("Pow", dtype, base, g.cast(exponent, dtype_of(equation, 1), dtype))


@lowers("exp2")
def _exp2(g: Emitter, equation: Any, x: Operand) -> Operand:
    dtype = dtype_of(equation)
    return g.op("Pow", dtype, np.asarray(2, dtype), x)


@lowers("cbrt")
def _cube_root(g: Emitter, equation: Any, x: Operand) -> Operand:
    def cube_root(x):
        x64 = x.astype(jnp.float64)
        return (jnp.sign(x64) * jnp.abs(x64) ** (1 / 3)).astype(x.dtype)

    return g.trace(cube_root, [equation.invars[0].aval], x)


@lowers("log1p")
def _log1p(g: Emitter, equation: Any, x: Operand) -> Operand:
    """log(u) x / (u - 1) with u = 1 + x rounded, which is exact to the last places (Higham, Accuracy and Stability of Numerical Algorithms, 1.14)."""

    def log1p(x):
        u = 1 + x
        exact = (u == 1) | (jnp.abs(x) == jnp.inf)
        return jnp.where(exact, x, jnp.log(u) * (x / jnp.where(exact, 1, u - 1)))

    return g.trace(_widened(log1p), [equation.invars[0].aval], x)


@lowers("expm1")
def _expm1(g: Emitter, equation: Any, x: Operand) -> Operand:
    """(u - 1) x / log(u) with u = exp(x) rounded (Higham, Accuracy and Stability of Numerical Algorithms, 1.14.1)."""

    def expm1(x):
        u = jnp.exp(x)
        simple = (u == 1) | (jnp.abs(x) > 1)
        return jnp.where(u == 1, x, jnp.where(simple, u - 1, (u - 1) * x / jnp.where(simple, 1, jnp.log(u))))

    return g.trace(_widened(expm1), [equation.invars[0].aval], x)


def _widened(function: Any) -> Any:
    """The function of a half-precision number, computed in single precision."""

    def widened(x):
        return function(x.astype(jnp.float32)).astype(x.dtype) if x.dtype.itemsize == 2 else function(x)

    return widened


@lowers("atan2")
def _atan2(g: Emitter, equation: Any, *inputs: Operand) -> Operand:
    def atan2(y, x):
        angle = jnp.arctan(jnp.abs(y) / jnp.where(x == 0, 1, jnp.abs(x)))
        angle = jnp.where((jnp.abs(x) == jnp.inf) & (jnp.abs(y) == jnp.inf), math.pi / 4, angle).astype(x.dtype)
        right = jnp.where((x == 0) & (y != 0), math.pi / 2, jnp.where(x == 0, 0, angle)).astype(x.dtype)
        left = x + jnp.where(x == 0, 1 / x, 0) < 0  # a negative zero too
        angle = jnp.where(left, math.pi - right, right).astype(x.dtype)
        return jnp.where(y + jnp.where(y == 0, 1 / y, 0) < 0, -angle, angle) + 0 * (x + y == jnp.nan)

    def guarded(y, x):
        return jnp.where(jnp.isnan(x) | jnp.isnan(y), jnp.nan, atan2(y, x)).astype(x.dtype)

    return g.trace(guarded, [v.aval for v in equation.invars], *inputs)


@lowers("round")
def _round(g: Emitter, equation: Any, x: Operand) -> Operand:
    dtype = dtype_of(equation)
    if int(equation.params["rounding_method"]) == 1:
        return g.op("Round", dtype, x)
    up = g.op("Floor", dtype, g.op("Add", dtype, g.op("Abs", dtype, x), np.asarray(0.5, dtype)))
    return g.op("Mul", dtype, g.op("Sign", dtype, x), up)


@lowers("clamp")
def _clamp(g: Emitter, equation: Any, low: Operand, x: Operand, high: Operand) -> Operand:
    dtype = dtype_of(equation, 1)
    low, high = (compact(v) if isinstance(v, np.ndarray) else v for v in (low, high))
    if all(v.shape == () if isinstance(v, np.ndarray) else variable.aval.shape == () for v, variable in ((low, equation.invars[0]), (high, equation.invars[2]))):
        return g.op("Clip", dtype, x, low, high)
    return g.op("Min", dtype, g.op("Max", dtype, x, low), high)


@lowers("reduce_precision")
def _reduce_precision(g: Emitter, equation: Any, x: Operand) -> Operand:
    bits = equation.params["exponent_bits"], equation.params["mantissa_bits"]
    narrow = {(5, 10): "float16", (8, 7): "bfloat16", (8, 23): "float32", (11, 52): "float64"}.get(bits)
    dtype = dtype_of(equation)
    if narrow is None:
        raise g.unsupported(f"rounding to {bits[0]} bits of exponent and {bits[1]} of mantissa has no form in ONNX")
    narrow = jnp.dtype(narrow)
    return x if narrow.itemsize >= dtype.itemsize else g.cast(g.cast(x, dtype, narrow), narrow, dtype)
