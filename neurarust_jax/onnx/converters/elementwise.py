"""Arithmetic, comparison, logic, rounding, exponentials and trigonometry, element by element. ONNX broadcasts as PyTorch does."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ... import dtypes
from ..builder import Graph, Value
from ..lowering import case, converter


def out_dtype(g: Graph) -> np.dtype:
    """The dtype that the op's first output has."""
    return np.dtype(g.results[0].dtype)


def number(g: Graph, value: Any, dtype: Any) -> Value:
    """A scalar constant."""
    return g.constant(np.asarray(value, np.dtype(dtype)))


def promoted(g: Graph, *operands: Value) -> list[Value]:
    """The operands with the dtype that they have together."""
    dtype = dtypes.result_numpy_dtype(*operands)
    return [g.cast(x, dtype) for x in operands]


def in_result_dtype(g: Graph, *operands: Value | None) -> list[Any]:
    """The operands with the dtype of the result."""
    return [None if x is None else g.cast(x, out_dtype(g)) for x in operands]


def is_constant(value: Value | None, number: float) -> bool:
    """Whether a value is known and is this number."""
    return value is not None and value.constant is not None and value.constant.size == 1 and value.constant.reshape(-1)[0] == number


# --- arithmetic --------------------------------------------------------------------------------------------------------


def _scaled(g: Graph, x: Value, alpha: Value | None) -> Value:
    return x if alpha is None or is_constant(alpha, 1) else g.add("Mul", x, g.cast(alpha, x.dtype))


@converter(
    "add", cases=[case("nr.add(x, y)", "Add", x=(2, 3), y=(3,)), case("x + 1", "Add", x=(2, 3)), case("nr.add(x, y, alpha=2.5)", "Add Mul", x=(2, 3), y=(2, 1))]
)
def add(g: Graph, input: Value, other: Value, alpha: Value | None) -> Value:
    input, other = in_result_dtype(g, input, other)
    if input.dtype == bool:
        return g.add("Or", input, other)
    return g.add("Add", input, _scaled(g, other, alpha))


@converter("sub", cases=[case("x - y", "Sub", x=(2, 3), y=(2, 1)), case("nr.sub(x, 1, alpha=2)", "Sub", x=(2,))])
def sub(g: Graph, input: Value, other: Value, alpha: Value | None) -> Value:
    input, other = in_result_dtype(g, input, other)
    return g.add("Sub", input, _scaled(g, other, alpha))


@converter("rsub", cases=[case("1 - x", "Sub", x=(2, 3))])
def rsub(g: Graph, input: Value, other: Value, alpha: Value | None) -> Value:
    input, other = in_result_dtype(g, input, other)
    return g.add("Sub", other, _scaled(g, input, alpha))


@converter("mul", cases=[case("x * y", "Mul", x=(2, 3), y=(3,)), case("x * 2", "Mul", x=(2, 3))])
def mul(g: Graph, input: Value, other: Value) -> Value:
    input, other = in_result_dtype(g, input, other)
    return g.add("And" if input.dtype == bool else "Mul", input, other)


@converter("true_divide", cases=[case("x / y", "Div", x=(2, 3), y=(3,)), case("n / 2", "Cast Div", n=("below", 9, 2, 3))])
def true_divide(g: Graph, input: Value, other: Value) -> Value:
    return g.add("Div", *in_result_dtype(g, input, other))


@converter("_reverse_divide", cases=[case("2 / x", "Div", x=(2, 3)), case("1 / x", "Reciprocal", x=(2, 3))])
def _reverse_divide(g: Graph, input: Value, other: Value) -> Value:
    if is_constant(other, 1):
        return reciprocal(g, input)
    input, other = in_result_dtype(g, input, other)
    return g.add("Div", other, input)


@converter(
    "div",
    cases=[
        case("nr.div(x, y, rounding_mode='floor')", "Div Floor", x=(2, 3), y=(3,)),
        case("nr.div(n, 4, rounding_mode='trunc')", "Div", n=("below", 9, 2, 3)),
    ],
)
def div(g: Graph, input: Value, other: Value, rounding_mode: str | None) -> Value:
    input, other = in_result_dtype(g, input, other)
    if rounding_mode == "floor":
        return _floored(g, input, other)
    quotient = g.add("Div", input, other)
    return _truncated(g, quotient) if rounding_mode == "trunc" else quotient


def _truncated(g: Graph, x: Value) -> Value:
    """Rounded towards zero."""
    if x.dtype.kind in "biu":
        return x
    return g.add("Mul", g.add("Sign", x), g.add("Floor", g.add("Abs", x)))


def _floored(g: Graph, input: Value, other: Value) -> Value:
    """The quotient rounded down."""
    if input.dtype.kind in "iu":
        if input.dtype.kind == "u":
            return g.add("Div", input, other)
        return g.add("Div", g.add("Sub", input, g.add("Mod", input, other)), other)
    return g.add("Floor", g.add("Div", input, other))


@converter("floor_divide", cases=[case("n // 4", "Div Mod Sub", n=("below", 9, 2, 3)), case("x // y", "Div Floor", x=(2, 3), y=(3,))])
def floor_divide(g: Graph, input: Value, other: Value) -> Value:
    return _floored(g, *in_result_dtype(g, input, other))


@converter("_reverse_floor_divide", cases=[case("2 // x", "Div Floor", x=(2, 3))])
def _reverse_floor_divide(g: Graph, input: Value, other: Value) -> Value:
    input, other = in_result_dtype(g, input, other)
    return _floored(g, other, input)


def _remainder(g: Graph, input: Value, other: Value) -> Value:
    """The remainder of division rounded down."""
    if input.dtype.kind in "iu":
        return g.add("Mod", input, other)
    rest = g.add("Mod", input, other, fmod=1)
    zero = number(g, 0, input.dtype)
    differs = g.add("Less", g.add("Mul", rest, other), zero, dtype=bool)
    return g.add("Where", differs, g.add("Add", rest, other), rest, dtype=input.dtype)


@converter("remainder", cases=[case("n % 4", "Mod", n=("below", 9, 2, 3)), case("x % y", "Add Less Mod Mul Where", x=(2, 3), y=(3,))])
def remainder(g: Graph, input: Value, other: Value) -> Value:
    return _remainder(g, *in_result_dtype(g, input, other))


@converter("_reverse_remainder")
def _reverse_remainder(g: Graph, input: Value, other: Value) -> Value:
    input, other = in_result_dtype(g, input, other)
    return _remainder(g, other, input)


@converter("fmod", cases=[case("nr.fmod(x, y)", "Mod", x=(2, 3), y=(3,))])
def fmod(g: Graph, input: Value, other: Value) -> Value:
    return g.add("Mod", *in_result_dtype(g, input, other), fmod=1)


@converter("pow", "float_power", cases=[case("x.abs() ** y", "Abs Pow", x=(2, 3), y=(3,))])
def pow(g: Graph, input: Value, exponent: Value) -> Value | None:
    if out_dtype(g).kind in "iub" and exponent.constant is None and input.constant is None:
        return None
    return g.add("Pow", *in_result_dtype(g, input, exponent))


@converter(
    "_pow_by_constant",
    cases=[
        case("x ** 2", "Mul", x=(2, 3)),
        case("x ** -1", "Reciprocal", x=(2, 3)),
        case("x.abs() ** 1.5", "Abs Pow", x=(2, 3)),
        case("x.abs() ** 0.5", "Abs Sqrt", x=(2,)),
    ],
)
def _pow_by_constant(g: Graph, input: Value, exponent: float) -> Value:
    (x,) = in_result_dtype(g, input)
    if exponent == 1:
        return x
    if exponent == 2:
        return g.add("Mul", x, x)
    if exponent == 0.5:
        return g.add("Sqrt", x)
    if exponent == -1:
        return g.add("Reciprocal", x)
    return g.add("Pow", x, number(g, exponent, x.dtype))


@converter("_reverse_power", cases=[case("2 ** x", "Pow", x=(2, 3))])
def _reverse_power(g: Graph, input: Value, other: Value) -> Value | None:
    if out_dtype(g).kind in "iub":
        return None
    input, other = in_result_dtype(g, input, other)
    return g.add("Pow", other, input)


@converter("positive", "clone", "alias_copy", cases=[case("x.clone() + 1", "Add", x=(2,))])
def same(g: Graph, input: Value) -> Value:
    return g.cast(input, out_dtype(g))


@converter("square", cases=[case("x.square()", "Mul", x=(2, 3))])
def square(g: Graph, input: Value) -> Value:
    (x,) = in_result_dtype(g, input)
    return g.add("Mul", x, x)


@converter("reciprocal", cases=[case("x.reciprocal()", "Reciprocal", x=(2, 3))])
def reciprocal(g: Graph, input: Value) -> Value:
    return g.add("Reciprocal", *in_result_dtype(g, input))


@converter("lerp", cases=[case("nr.lerp(x, y, 0.3)", "Add Mul Sub", x=(2, 3), y=(2, 3))])
def lerp(g: Graph, input: Value, end: Value, weight: Value) -> Value:
    input, end, weight = in_result_dtype(g, input, end, weight)
    return g.add("Add", input, g.add("Mul", weight, g.add("Sub", end, input)))


@converter("addcmul", cases=[case("nr.addcmul(x, y, y, value=2)", "Add Mul Mul", x=(2, 3), y=(2, 3))])
def addcmul(g: Graph, input: Value, tensor1: Value, tensor2: Value, value: Value | None) -> Value:
    input, tensor1, tensor2 = in_result_dtype(g, input, tensor1, tensor2)
    return g.add("Add", input, _scaled(g, g.add("Mul", tensor1, tensor2), value))


@converter("addcdiv", cases=[case("nr.addcdiv(x, y, y)", "Add Div", x=(2, 3), y=(2, 3))])
def addcdiv(g: Graph, input: Value, tensor1: Value, tensor2: Value, value: Value | None) -> Value:
    input, tensor1, tensor2 = in_result_dtype(g, input, tensor1, tensor2)
    return g.add("Add", input, _scaled(g, g.add("Div", tensor1, tensor2), value))


# --- comparison and logic ----------------------------------------------------------------------------------------------


def _comparison(name: str, operator: str) -> None:
    sign = {"Equal": "==", "Less": "<", "LessOrEqual": "<=", "Greater": ">", "GreaterOrEqual": ">="}[operator]

    @converter(name, cases=[case(f"x {sign} y", operator, x=(2, 3), y=(3,)), case(f"x {sign} 0.5", operator, x=(2, 3))])
    def compare(g: Graph, input: Value, other: Value) -> Value:
        input, other = promoted(g, input, other)
        if input.dtype == bool and operator != "Equal":
            input, other = g.cast(input, np.int32), g.cast(other, np.int32)
        return g.add(operator, input, other, dtype=bool)


for _name, _operator in {"eq": "Equal", "lt": "Less", "le": "LessOrEqual", "gt": "Greater", "ge": "GreaterOrEqual"}.items():
    _comparison(_name, _operator)


@converter("ne", cases=[case("x != y", "Equal Not", x=(2, 3), y=(3,))])
def ne(g: Graph, input: Value, other: Value) -> Value:
    return g.add("Not", g.add("Equal", *promoted(g, input, other), dtype=bool))


def _logical(name: str, operator: str) -> None:
    @converter(
        name, cases=[case(f"nr.{name}(x > 0, y > 0)", f"{operator} Greater Greater" if operator < "G" else f"Greater Greater {operator}", x=(2, 3), y=(3,))]
    )
    def logical(g: Graph, input: Value, other: Value) -> Value:
        return g.add(operator, g.cast(input, bool), g.cast(other, bool))


for _name, _operator in {"logical_and": "And", "logical_or": "Or", "logical_xor": "Xor"}.items():
    _logical(_name, _operator)


@converter("logical_not", cases=[case("nr.logical_not(x > 0)", "Greater Not", x=(2, 3))])
def logical_not(g: Graph, input: Value) -> Value:
    return g.add("Not", g.cast(input, bool))


def _bitwise(name: str, logical: str, bits: str) -> None:
    @converter(name, cases=[case(f"nr.{name}(n, m)", bits, n=("below", 9, 2, 3), m=("below", 9, 3))])
    def bitwise(g: Graph, input: Value, other: Value) -> Value | None:
        input, other = in_result_dtype(g, input, other)
        if input.dtype == bool:
            return g.add(logical, input, other)
        return g.add(bits, input, other) if g.opset >= 18 else None


for _name, _operator in {"bitwise_and": "And", "bitwise_or": "Or", "bitwise_xor": "Xor"}.items():
    _bitwise(_name, _operator, f"Bitwise{_operator}")


@converter("bitwise_not", cases=[case("~n", "BitwiseNot", n=("below", 9, 2, 3)), case("~(x > 0)", "Greater Not", x=(2, 3))])
def bitwise_not(g: Graph, input: Value) -> Value | None:
    if input.dtype == bool:
        return g.add("Not", input)
    return g.add("BitwiseNot", input) if g.opset >= 18 else None


@converter("isnan", cases=[case("x.isnan()", "IsNaN", x=(2, 3))])
def isnan(g: Graph, input: Value) -> Value | None:
    return g.add("IsNaN", input, dtype=bool) if input.dtype.kind == "f" else None


@converter("isinf", cases=[case("x.isinf()", "IsInf", x=(2, 3))])
def isinf(g: Graph, input: Value) -> Value | None:
    return g.add("IsInf", input, dtype=bool) if input.dtype in (np.float32, np.float64) else None


# --- selection ---------------------------------------------------------------------------------------------------------


@converter("maximum", cases=[case("nr.maximum(x, y)", "Max", x=(2, 3), y=(3,))])
def maximum(g: Graph, input: Value, other: Value) -> Value:
    input, other = in_result_dtype(g, input, other)
    return g.add("Or" if input.dtype == bool else "Max", input, other)


@converter("minimum", cases=[case("nr.minimum(x, y)", "Min", x=(2, 3), y=(3,))])
def minimum(g: Graph, input: Value, other: Value) -> Value:
    input, other = in_result_dtype(g, input, other)
    return g.add("And" if input.dtype == bool else "Min", input, other)


@converter(
    "clamp", cases=[case("x.clamp(-1, 0.5)", "Clip", x=(2, 3)), case("x.clamp(min=0.)", "Clip", x=(2, 3)), case("nr.clamp(x, y)", "Max", x=(2, 3), y=(2, 3))]
)
def clamp(g: Graph, input: Value, min: Value | None, max: Value | None) -> Value:
    input, min, max = in_result_dtype(g, input, min, max)
    if all(bound is None or bound.shape == () for bound in (min, max)):
        return g.add("Clip", input, min, max)
    lower = input if min is None else g.add("Max", input, min)
    return lower if max is None else g.add("Min", lower, max)


@converter("where", cases=[case("nr.where(x > 0, x, y)", "Greater Where", x=(2, 3), y=(3,)), case("nr.where(x > 0, x, 0.)", "Greater Where", x=(2, 3))])
def where(g: Graph, condition: Value, input: Value, other: Value) -> Value:
    return g.add("Where", g.cast(condition, bool), *in_result_dtype(g, input, other), dtype=out_dtype(g))


@converter("masked_fill", cases=[case("x.masked_fill(y > 0, -1.)", "Greater Where", x=(2, 3), y=(3,))])
def masked_fill(g: Graph, input: Value, mask: Value, value: Value) -> Value:
    return g.add("Where", g.cast(mask, bool), *in_result_dtype(g, value, input), dtype=out_dtype(g))


@converter("nan_to_num", cases=[case("x.nan_to_num()", "Equal Equal IsNaN Where Where Where", x=(2, 3))])
def nan_to_num(g: Graph, input: Value, nan: Value | None, posinf: Value | None, neginf: Value | None) -> Value:
    (x,) = in_result_dtype(g, input)
    if x.dtype.kind != "f":
        return x
    limits = np.finfo(x.dtype) if x.dtype in (np.float16, np.float32, np.float64) else None
    greatest = float(limits.max) if limits is not None else 3.3895313892515355e38
    values = [number(g, d, x.dtype) if v is None else g.cast(v, x.dtype) for v, d in ((nan, 0.0), (posinf, greatest), (neginf, -greatest))]
    result = g.add("Where", g.add("IsNaN", x, dtype=bool), values[0], x, dtype=x.dtype)
    for infinity, value in ((math.inf, values[1]), (-math.inf, values[2])):
        result = g.add("Where", g.add("Equal", x, number(g, infinity, x.dtype), dtype=bool), value, result, dtype=x.dtype)
    return result


# --- functions of one number -------------------------------------------------------------------------------------------


def _unary(name: str, operator: str, positive: bool = False) -> None:
    code = f"(x.abs() + 1).{name}()" if positive else f"(x / 9).{name}()"
    before = "Abs Add" if positive else "Div"

    @converter(
        name,
        cases=[
            case(f"nr.{name}(x)", operator, x=(2, 3))
            if name in ("neg", "abs", "sign", "floor", "ceil")
            else case(code, " ".join(sorted([*before.split(), operator])), x=(2, 3))
        ],
    )
    def unary(g: Graph, input: Value) -> Value:
        return g.add(operator, *in_result_dtype(g, input))


_FLOATING = {
    "exp": "Exp", "sin": "Sin", "cos": "Cos", "tan": "Tan", "asin": "Asin", "acos": "Acos", "atan": "Atan", "sinh": "Sinh", "cosh": "Cosh",
    "tanh": "Tanh", "asinh": "Asinh", "atanh": "Atanh", "erf": "Erf", "sigmoid": "Sigmoid",
}  # fmt: skip
for _name, _operator in _FLOATING.items():
    _unary(_name, _operator)
for _name, _operator in {"log": "Log", "sqrt": "Sqrt", "acosh": "Acosh"}.items():
    _unary(_name, _operator, positive=True)
for _name, _operator in {"neg": "Neg", "abs": "Abs"}.items():
    _unary(_name, _operator)


@converter("sign", cases=[case("x.sign()", "Sign", x=(2, 3))])
def sign(g: Graph, input: Value) -> Value:
    return input if input.dtype == bool else g.add("Sign", *in_result_dtype(g, input))


def _rounding(name: str, operator: str) -> None:
    @converter(name, cases=[case(f"x.{name}()", operator, x=(2, 3))])
    def rounding(g: Graph, input: Value) -> Value:
        (x,) = in_result_dtype(g, input)
        return g.add(operator, x) if x.dtype.kind not in "biu" else x


_rounding("floor", "Floor")
_rounding("ceil", "Ceil")


@converter("trunc", cases=[case("x.trunc()", "Abs Floor Mul Sign", x=(2, 3))])
def trunc(g: Graph, input: Value) -> Value:
    return _truncated(g, *in_result_dtype(g, input))


@converter("round", cases=[case("x.round()", "Round", x=(2, 3)), case("x.round(decimals=2)", "Div Mul Round", x=(2, 3))])
def round(g: Graph, input: Value, decimals: int) -> Value:
    (x,) = in_result_dtype(g, input)
    if x.dtype.kind in "biu":
        return x
    if not decimals:
        return g.add("Round", x)
    scale = number(g, 10.0 ** abs(decimals), x.dtype)
    there, back = ("Mul", "Div") if decimals > 0 else ("Div", "Mul")
    return g.add(back, g.add("Round", g.add(there, x, scale)), scale)


@converter("frac", cases=[case("x.frac()", "Abs Floor Mul Sign Sub", x=(2, 3))])
def frac(g: Graph, input: Value) -> Value:
    return g.add("Sub", input, _truncated(g, input))


@converter("exp2", cases=[case("x.exp2()", "Pow", x=(2, 3))])
def exp2(g: Graph, input: Value) -> Value:
    (x,) = in_result_dtype(g, input)
    return g.add("Pow", number(g, 2, x.dtype), x)


@converter("expm1", cases=[case("x.expm1()", "Add Exp Mul Mul Tanh", x=(2, 3))])
def expm1(g: Graph, input: Value) -> Value:
    """As ``tanh(x / 2) * (exp(x) + 1)``, which is exact near 0 too."""
    (x,) = in_result_dtype(g, input)
    half = g.add("Tanh", g.add("Mul", x, number(g, 0.5, x.dtype)))
    return g.add("Mul", half, g.add("Add", g.add("Exp", x), number(g, 1, x.dtype)))


@converter("log1p", cases=[case("x.abs().log1p()", "Abs Add Add Div Log Sub Sub", x=(2, 3))])
def log1p(g: Graph, input: Value) -> Value:
    """As ``log(u) + (x - (u - 1)) / u`` for ``u = 1 + x`` as rounded, which is exact near 0 too."""
    (x,) = in_result_dtype(g, input)
    one = number(g, 1, x.dtype)
    u = g.add("Add", x, one)
    lost = g.add("Sub", x, g.add("Sub", u, one))
    return g.add("Add", g.add("Log", u), g.add("Div", lost, u))


def _logarithm(name: str, base: float) -> None:
    @converter(name, cases=[case(f"(x.abs() + 1).{name}()", "Abs Add Log Mul", x=(2, 3))])
    def logarithm(g: Graph, input: Value) -> Value:
        (x,) = in_result_dtype(g, input)
        return g.add("Mul", g.add("Log", x), number(g, 1 / math.log(base), x.dtype))


_logarithm("log2", 2)
_logarithm("log10", 10)


@converter("rsqrt", cases=[case("(x.abs() + 1).rsqrt()", "Abs Add Reciprocal Sqrt", x=(2, 3))])
def rsqrt(g: Graph, input: Value) -> Value:
    return g.add("Reciprocal", g.add("Sqrt", *in_result_dtype(g, input)))


@converter("erfc", cases=[case("x.erfc()", "Erf Sub", x=(2, 3))])
def erfc(g: Graph, input: Value) -> Value:
    (x,) = in_result_dtype(g, input)
    return g.add("Sub", number(g, 1, x.dtype), g.add("Erf", x))


@converter("_convert", cases=[case("x.to(nr.int64)", "Cast", x=(2, 3)), case("x.double()", "Cast", x=(2, 3)), case("n.bool()", "Cast", n=("below", 3, 4))])
def convert(g: Graph, input: Value, dtype: Any) -> Value:
    return g.cast(input, out_dtype(g))


@converter("_apply_mask")
def _apply_mask(g: Graph, input: Value, mask: Value, scale: Value) -> Value:
    kept = g.add("Where", mask, g.add("Mul", input, g.cast(scale, input.dtype)), number(g, 0, input.dtype), dtype=input.dtype)
    return kept
