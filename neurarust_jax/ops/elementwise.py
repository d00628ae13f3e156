"""Elementwise ops: arithmetic, comparison, logic, rounding, exponentials, trigonometry."""

import jax.numpy as jnp
from jax import lax

from .. import dtypes
from ..dispatch import Array, Number, decided, op
from ..errors import ArgumentError, DtypeError, ShapeError
from ..tensor import attach
from .common import cast, floating, is_inexact, promote, promote_to_float, refuse, strong

__all__ = [
    "add", "sub", "rsub", "mul", "div", "true_divide", "floor_divide", "remainder", "fmod", "pow", "neg", "positive", "clone", "abs", "sign",
    "square", "reciprocal", "lerp", "addcmul", "addcdiv", "eq", "ne", "lt", "le", "gt", "ge", "isclose", "allclose", "equal", "logical_and",
    "logical_or", "logical_xor", "logical_not", "bitwise_and", "bitwise_or", "bitwise_xor", "bitwise_left_shift", "bitwise_right_shift",
    "bitwise_not", "isnan", "isinf", "isfinite", "maximum", "minimum", "clamp", "where", "masked_fill", "nan_to_num", "floor", "ceil", "trunc",
    "round", "frac", "exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "sqrt", "rsqrt", "sin", "cos", "tan", "asin", "acos", "atan", "sinh",
    "cosh", "tanh", "asinh", "acosh", "atanh", "erf", "erfc", "sigmoid", "atan2", "hypot", "logaddexp",
    "subtract", "multiply", "divide", "negative", "absolute", "clip", "not_equal", "less", "less_equal", "greater", "greater_equal", "arctan2",
    "arcsin", "arccos", "arctan", "arcsinh", "arccosh", "arctanh", "fix",
]  # fmt: skip

# --- arithmetic ----------------------------------------------------------------------------------------------------


@op(method=("add", "__add__", "__radd__"), linear=True)
def add(input: Array | float, other: Array | float, *, alpha: Array | float = 1) -> Array:
    r"""``input + alpha * other``, elementwise, with broadcasting.

    Args:
        input: a tensor or number.
        other: a tensor or number.
        alpha: a number that `other` is multiplied by. Default: 1.

    Returns:
        A tensor of the broadcast shape and the promoted dtype.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.add(nr.tensor([1, 2]), 0.5, alpha=2)
        tensor([2., 3.])
    """
    input, other = promote(input, other)
    return jnp.add(input, _scaled(other, alpha))


def _scaled(x: Array, alpha) -> Array:
    return x if isinstance(alpha, int) else x * cast(alpha, x.dtype)  # an int only if it is the default, 1


@op(method=("sub", "subtract", "__sub__"), linear=True)
def sub(input: Array | float, other: Array | float, *, alpha: Array | float = 1) -> Array:
    """``input - alpha * other``, elementwise, with broadcasting. See `add`."""
    input, other = promote(input, other)
    if input.dtype == bool:
        raise ArgumentError("Subtraction, the `-` operator, with two bool tensors is not supported. Use the `^` or `logical_xor()` operator instead.")
    return input - _scaled(other, alpha)


@op(name="rsub", method=("rsub", "__rsub__"), linear=True, tensors="first")
def rsub(input: Array | float, other: Array | float, *, alpha: Array | float = 1) -> Array:
    """``other - alpha * input``, elementwise."""
    input, other = promote(input, other)
    return other - _scaled(input, alpha)


@op(method=("mul", "multiply", "__mul__", "__rmul__"))
def mul(input: Array | float, other: Array | float) -> Array:
    """``input * other``, elementwise, with broadcasting.

    Args:
        input: a tensor or number.
        other: a tensor or number.

    Returns:
        A tensor of the broadcast shape and the promoted dtype.
    """
    input, other = promote(input, other)
    return input * other


@op(method=("div", "divide"))
def div(input: Array | float, other: Array | float, *, rounding_mode: str | None = None) -> Array:
    """``input / other``, elementwise, with broadcasting.

    Args:
        input: the dividend.
        other: the divisor.
        rounding_mode: `None` for true division, which makes integers the default dtype; `"trunc"` rounds towards zero, `"floor"` down.

    Returns:
        A tensor of the broadcast shape.
    """
    if rounding_mode is None:
        input, other = promote_to_float(input, other)
        return input / other
    input, other = promote(input, other)
    if rounding_mode == "floor":
        return _floor_divide(input, other)
    if rounding_mode == "trunc":
        return lax.div(*jnp.broadcast_arrays(input, other)) if not is_inexact(input) else jnp.trunc(input / other)
    raise ArgumentError(f"div expected rounding_mode to be one of None, 'trunc', or 'floor' but found {rounding_mode!r}")


def _floor_divide(input: Array, other: Array) -> Array:
    if not is_inexact(input):
        return jnp.floor_divide(input, other)
    remainder = jnp.fmod(input, other)  # fmod is exact, so the quotient is too
    quotient = (input - remainder) / other
    quotient = jnp.where((remainder != 0) & ((other < 0) != (remainder < 0)), quotient - 1, quotient)
    nearest = jnp.floor(quotient)
    nearest = jnp.where(quotient - nearest > 0.5, nearest + 1, nearest)
    return jnp.where(other == 0, input / other, jnp.where(quotient == 0, jnp.copysign(jnp.zeros_like(quotient), input / other), nearest))


@op(method="__truediv__")
def true_divide(input: Array | float, other: Array | float) -> Array:
    """``input / other``, elementwise; integers become the default dtype."""
    input, other = promote_to_float(input, other)
    return input / other


@op(method="__rtruediv__")
def _reverse_divide(input: Array | float, other: Array | float) -> Array:
    """``other / input``, elementwise."""
    input, other = promote_to_float(input, other)
    return other / input


@op(method=("floor_divide", "__floordiv__"))
def floor_divide(input: Array | float, other: Array | float) -> Array:
    """The quotient rounded down, elementwise."""
    return _floor_divide(*promote(input, other))


@op(method="__rfloordiv__")
def _reverse_floor_divide(input: Array | float, other: Array | float) -> Array:
    """``other // input``, elementwise."""
    input, other = promote(input, other)
    return _floor_divide(other, input)


@op(method=("remainder", "__mod__"), tensors="one")
def remainder(input: Array | float, other: Array | float) -> Array:
    """The remainder of division rounded down, elementwise: it has the sign of `other`, as Python's ``%``."""
    input, other = promote(input, other)
    return jnp.remainder(input, other)


@op(method="__rmod__")
def _reverse_remainder(input: Array | float, other: Array | float) -> Array:
    """``other % input``, elementwise."""
    input, other = promote(input, other)
    return jnp.remainder(other, input)


@op(tensors="first")
def fmod(input: Array | float, other: Array | float) -> Array:
    """The remainder of division rounded towards zero, elementwise: it has the sign of `input`, as C's ``fmod``."""
    input, other = promote(input, other)
    return jnp.fmod(input, other)


@op(name="pow", method=False, tensors="one")
def _pow(input: Array | float, exponent: Array | float) -> Array:
    """``input ** exponent``, elementwise."""
    return _power(input, exponent)


@op(name="_pow_by_constant", method=False, tensors="first")
def _pow_by_constant(input: Array | float, exponent: Number) -> Array:
    """``input ** exponent`` with the exponent compiled in."""
    return _power(input, exponent)


def pow(input, exponent):
    """``input ** exponent``, elementwise, with broadcasting.

    Args:
        input: the base, a tensor or number.
        exponent: a tensor or number.

    Returns:
        A tensor of the broadcast shape and the promoted dtype.

    Raises:
        RuntimeError: integers to a negative integer power.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.pow(nr.tensor([1.0, 2.0, 3.0]), 2)
        tensor([1., 4., 9.])
    """
    if type(exponent) in (int, float) and exponent in _COMMON_EXPONENTS:
        return _pow_by_constant(input, exponent)
    return _pow(input, exponent)


_COMMON_EXPONENTS = frozenset((-3, -2, -1, -0.5, 0, 0.5, 1, 1.5, 2, 3, 4, 5, 6))  # compiled in: x ** 2 becomes a product
attach("pow", pow)
attach("__pow__", pow)


def _power(base, exponent) -> Array:
    constant = exponent if isinstance(exponent, int | float) else None
    base, exponent = promote(base, exponent)
    if base.dtype == bool:
        raise DtypeError("pow of two bool tensors is not supported; convert one with .to(nr.int64)")
    if constant is not None and not is_inexact(base) and constant < 0:
        raise DtypeError("Integers to negative integer powers are not allowed; write x.float() ** -1")
    if constant == 0.5:
        return jnp.sqrt(base)
    if constant == -0.5 and base.dtype.kind != "c":
        return lax.rsqrt(base)
    if constant is not None and constant == int(constant):
        return jnp.ones_like(base) if constant == 0 else lax.integer_pow(base, int(constant))
    if is_inexact(base):
        return jnp.power(base, exponent)
    whole = jnp.where(base == 1, 1, jnp.where(base == -1, 1 - 2 * (exponent & 1), 0))  # an integer to a negative power
    return jnp.where(exponent < 0, cast(whole, base.dtype), _to_natural_power(base, jnp.maximum(exponent, 0)))


def _to_natural_power(base: Array, exponent: Array) -> Array:
    """Integers to the power of integers that are not negative. `jnp.power` reads the lowest six bits of the exponent; the others are rare, and so are gone through in a loop."""

    def factor_in(state):
        product, square, rest = state
        return jnp.where((rest & 1) == 1, product * square, product), square * square, rest >> 1

    start = (jnp.power(base, exponent & 63), lax.integer_pow(base, 64), exponent >> 6)
    return lax.while_loop(lambda state: (state[2] > 0).any(), factor_in, start)[0]


@op(method="__rpow__")
def _reverse_power(input: Array | float, other: Array | float) -> Array:
    """``other ** input``, elementwise."""
    return _power(other, input)


@op(method=("neg", "negative", "__neg__"), linear=True)
def neg(input: Array) -> Array:
    """``-input``, elementwise."""
    input = strong(input)
    refuse(input, "b", "neg")
    return -input


@op(method=("positive", "__pos__"), linear=True)
def positive(input: Array) -> Array:
    """`input` itself."""
    return strong(input)


@op(method="clone", linear=True)
def clone(input: Array) -> Array:
    """The same value as the result of an operation: gradients flow through it to `input`."""
    return strong(input)


@op(method=("abs", "absolute", "__abs__"))
def abs(input: Array) -> Array:
    """The absolute value of each element; of complex elements the modulus. The gradient at 0 is 0."""
    input = strong(input)
    if is_inexact(input) and input.dtype.kind != "c":
        return jnp.where(input == 0, jnp.abs(lax.stop_gradient(input)), jnp.abs(input))
    if input.dtype.kind != "c":
        return jnp.abs(input)
    return jnp.where(jnp.isinf(input), jnp.inf, jnp.abs(input))  # also where the other part is NaN


@op
def sign(input: Array) -> Array:
    """-1, 0 or 1 by the sign of each element; 0 for NaN."""
    input = strong(input)
    if input.dtype.kind == "c":
        raise DtypeError("Unlike NumPy, sign doesn't support complex tensors; write nr.sgn(input)")
    return real_sign(input)


def real_sign(x: Array) -> Array:
    """The sign of real numbers, 0 for NaN."""
    if x.dtype == bool:
        return x
    return jnp.where(jnp.isnan(x), 0, jnp.sign(x)) if is_inexact(x) else jnp.sign(x)


@op
def square(input: Array) -> Array:
    """``input ** 2``, elementwise; of booleans int64."""
    input = strong(input)
    input = input if input.dtype != bool else cast(input, jnp.int64)
    return input * input


@op
def reciprocal(input: Array) -> Array:
    """``1 / input``, elementwise."""
    return 1 / floating(input)


@op
def lerp(input: Array, end: Array, weight: Array | float) -> Array:
    """``input + weight * (end - input)``, elementwise.

    Args:
        input: the value at weight 0.
        end: the value at weight 1.
        weight: a tensor or number.
    """
    dtype = dtypes.result_numpy_dtype(input, end)
    input, end, weight = cast(input, dtype), cast(end, dtype), cast(weight, dtype)
    return jnp.where(jnp.abs(weight) < 0.5, input + weight * (end - input), end - (end - input) * (1 - weight))


@op
def addcmul(input: Array, tensor1: Array, tensor2: Array, *, value: Array | float = 1) -> Array:
    """``input + value * tensor1 * tensor2``, elementwise."""
    input, tensor1, tensor2 = promote(input, tensor1, tensor2)
    return input + cast(value, input.dtype) * tensor1 * tensor2


@op
def addcdiv(input: Array, tensor1: Array, tensor2: Array, *, value: Array | float = 1) -> Array:
    """``input + value * tensor1 / tensor2``, elementwise."""
    input, tensor1, tensor2 = promote_to_float(input, tensor1, tensor2)
    return input + cast(value, input.dtype) * tensor1 / tensor2


# --- comparison and logic ------------------------------------------------------------------------------------------


def _comparison(name: str, function, *methods: str):
    def compare(input: Array | float, other: Array | float) -> Array:
        return function(*promote(input, other))

    compare.__doc__ = f"Whether ``input {methods[-1]} other``, elementwise, with broadcasting; a bool tensor."
    compare.__name__ = name
    return op(compare, name=name, method=methods[:-1], tensors="first")


eq = _comparison("eq", jnp.equal, "eq", "__eq__", "==")
ne = _comparison("ne", jnp.not_equal, "ne", "not_equal", "__ne__", "!=")
lt = _comparison("lt", jnp.less, "lt", "less", "__lt__", "<")
le = _comparison("le", jnp.less_equal, "le", "less_equal", "__le__", "<=")
gt = _comparison("gt", jnp.greater, "gt", "greater", "__gt__", ">")
ge = _comparison("ge", jnp.greater_equal, "ge", "greater_equal", "__ge__", ">=")


@op(tensors="both")
def isclose(input: Array, other: Array, rtol: Number = 1e-05, atol: Number = 1e-08, equal_nan: bool = False) -> Array:
    """Whether ``|input - other| <= atol + rtol * |other|``, elementwise."""
    if rtol < 0 or atol < 0:
        raise ShapeError(f"isclose: rtol and atol must be greater than or equal to zero, but got {rtol} and {atol}")
    input, other = promote(input, other)
    close = input == other
    if equal_nan and is_inexact(input):
        close = close | (jnp.isnan(input) & jnp.isnan(other))
    difference = floating(jnp.abs(input - other)) if input.dtype != bool else floating(input ^ other)
    allowed = atol + floating(jnp.abs(rtol * floating(other)))
    return close | (jnp.isfinite(difference) & (difference <= allowed))


@op(name="_allclose", method=False)
def _allclose(input: Array, other: Array, rtol: Number, atol: Number, equal_nan: bool) -> Array:
    """Whether all elements are close, a 0-d tensor."""
    return jnp.all(isclose.op.function(input, other, rtol, atol, equal_nan))


def allclose(input, other, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False):
    """Whether ``|input - other| <= atol + rtol * |other|`` for all elements: a bool; inside a transformation a 0-d bool tensor."""
    return decided(_allclose(input, other, float(rtol), float(atol), equal_nan))


@op(name="_equal", method=False)
def _equal(input: Array, other: Array) -> Array:
    """Whether both have the same shape and elements, a 0-d tensor."""
    return jnp.array_equal(input, other)


def equal(input, other):
    """Whether both have the same shape and elements: a bool; inside a transformation a 0-d bool tensor."""
    return decided(_equal(input, other))


attach("allclose", allclose)
attach("equal", equal)


def _logical(name: str, function, symbol: str):
    def logical(input: Array, other: Array) -> Array:
        return function(cast(input, bool), cast(other, bool))

    logical.__doc__ = f"{symbol} of the operands' truth, elementwise; a bool tensor."
    logical.__name__ = name
    return op(logical, name=name, tensors="both")


logical_and = _logical("logical_and", jnp.logical_and, "AND")
logical_or = _logical("logical_or", jnp.logical_or, "OR")
logical_xor = _logical("logical_xor", jnp.logical_xor, "Exclusive OR")


@op
def logical_not(input: Array) -> Array:
    """NOT of each element's truth; a bool tensor."""
    return jnp.logical_not(cast(input, bool))


def _bitwise(name: str, function, *methods: str):
    def bitwise(input: Array, other: Array | int) -> Array:
        input, other = promote(input, other)
        refuse(input, "fcV", name)
        return function(input, other)

    bitwise.__doc__ = f"``input {methods[-1]} other``, bit by bit; of booleans the logical operation."
    bitwise.__name__ = name
    return op(bitwise, name=name, method=methods[:-1], tensors="one")


bitwise_and = _bitwise("bitwise_and", jnp.bitwise_and, "bitwise_and", "__and__", "__rand__", "&")
bitwise_or = _bitwise("bitwise_or", jnp.bitwise_or, "bitwise_or", "__or__", "__ror__", "|")
bitwise_xor = _bitwise("bitwise_xor", jnp.bitwise_xor, "bitwise_xor", "__xor__", "__rxor__", "^")
bitwise_left_shift = _bitwise("bitwise_left_shift", jnp.left_shift, "bitwise_left_shift", "__lshift__", "<<")
bitwise_right_shift = _bitwise("bitwise_right_shift", jnp.right_shift, "bitwise_right_shift", "__rshift__", ">>")


@op(method=("bitwise_not", "__invert__"))
def bitwise_not(input: Array) -> Array:
    """Every bit inverted; of booleans the logical NOT."""
    input = strong(input)
    refuse(input, "fcV", "bitwise_not")
    return jnp.invert(input)


@op
def isnan(input: Array) -> Array:
    """Whether each element is NaN."""
    return jnp.isnan(input) if is_inexact(input) else jnp.zeros(input.shape, bool)


@op
def isinf(input: Array) -> Array:
    """Whether each element is infinite."""
    return jnp.isinf(input) if is_inexact(input) else jnp.zeros(input.shape, bool)


@op
def isfinite(input: Array) -> Array:
    """Whether each element is finite."""
    return jnp.isfinite(input) if is_inexact(input) else jnp.ones(input.shape, bool)


# --- selection -----------------------------------------------------------------------------------------------------


@op(tensors="both")
def maximum(input: Array, other: Array) -> Array:
    """The greater of the two, elementwise; NaN if either is. Where they are equal, each gets half of the gradient."""
    return jnp.maximum(*promote(input, other))


@op(tensors="both")
def minimum(input: Array, other: Array) -> Array:
    """The lesser of the two, elementwise; NaN if either is. Where they are equal, each gets half of the gradient."""
    return jnp.minimum(*promote(input, other))


@op(method=("clamp", "clip"), tensors="first")
def clamp(input: Array, min: Array | float | None = None, max: Array | float | None = None) -> Array:
    """`input` with every element held between `min` and `max`. The gradient is 1 from bound to bound, bounds included.

    Args:
        input: a tensor.
        min: the lower bound, a number or tensor; `None` for none.
        max: the upper bound; it wins where `min` exceeds it.

    Raises:
        ValueError: both bounds are `None`.
    """
    given = [b for b in (min, max) if b is not None]
    if not given:
        raise ArgumentError("clamp: At least one of 'min' or 'max' must not be None")
    dtype = dtypes.result_numpy_dtype(input, *given)
    result = cast(input, dtype)
    if min is not None:
        bound = cast(min, dtype)
        result = jnp.where((result < bound) | (bound != bound), bound, result)
    if max is not None:
        bound = cast(max, dtype)
        result = jnp.where((result > bound) | (bound != bound), bound, result)
    return jnp.where(jnp.isnan(result), lax.stop_gradient(result), result) if is_inexact(result) else result


@op(method=False, linear=True)
def where(condition: Array, input: Array | float, other: Array | float) -> Array:
    """`input` where `condition` holds, `other` elsewhere, with broadcasting. Under this name with all three arguments; `nonzero` has the other form.

    Args:
        condition: a bool tensor.
        input: a tensor or number.
        other: a tensor or number.
    """
    input, other = promote(input, other)
    return jnp.where(cast(condition, bool), input, other)


@op(linear=True)
def masked_fill(input: Array, mask: Array, value: Array | float) -> Array:
    """`input` with `value` wherever `mask` holds.

    Args:
        input: a tensor.
        mask: a bool tensor that broadcasts with `input`.
        value: a number or 0-d tensor.
    """
    input = strong(input)
    if jnp.ndim(value):
        raise ShapeError(
            f"masked_fill only supports a 0-dimensional value tensor, but got tensor with {jnp.ndim(value)} dimension(s); write nr.where(mask, value, input)"
        )
    if jnp.asarray(value).dtype.kind == "c" and input.dtype.kind != "c":
        raise DtypeError(f"value cannot be converted to type {dtypes.from_numpy(input.dtype)} without overflow: it is complex")
    return jnp.where(mask, cast(value, input.dtype), input)


@op
def nan_to_num(input: Array, nan: Array | float | None = None, posinf: Array | float | None = None, neginf: Array | float | None = None) -> Array:
    """NaN replaced by `nan` (default 0), infinities by `posinf` and `neginf` (default: the dtype's greatest and least number)."""
    return jnp.nan_to_num(strong(input), nan=0.0 if nan is None else nan, posinf=posinf, neginf=neginf)


# --- rounding ------------------------------------------------------------------------------------------------------


def _rounding(name: str, function, doc: str):
    def rounding(input: Array) -> Array:
        input = strong(input)
        return function(input) if is_inexact(input) else input

    rounding.__doc__, rounding.__name__ = doc, name
    return op(rounding, name=name, linear=True)


floor = _rounding("floor", jnp.floor, "The greatest integer not above each element.")
ceil = _rounding("ceil", jnp.ceil, "The least integer not below each element.")
trunc = _rounding("trunc", jnp.trunc, "Each element without its fraction.")


@op(linear=True)
def round(input: Array, *, decimals: int = 0) -> Array:
    """Each element rounded to `decimals` digits, halves to even."""
    input = strong(input)
    return jnp.round(input, decimals) if is_inexact(input) else input


@op
def frac(input: Array) -> Array:
    """The fraction of each element, with its sign."""
    input = strong(input)
    refuse(input, "biu", "frac")
    return input - jnp.trunc(input)


# --- exponentials, trigonometry ------------------------------------------------------------------------------------


def _unary(name: str, function, doc: str):
    def unary(input: Array) -> Array:
        return function(floating(input))

    unary.__doc__ = doc + " Integers become the default dtype."
    unary.__name__ = name
    return op(unary, name=name)


def _arcsinh(x: Array) -> Array:
    if x.dtype.kind != "c":
        return jnp.arcsinh(x)
    left = jnp.signbit(x.real)  # on the branch cut, where the real part is 0, its sign says from which side
    y = jnp.arcsinh(jnp.where(left, -x, x))
    return jnp.where(left, -y, y)


exp = _unary("exp", jnp.exp, "The exponential of each element.")
exp2 = _unary("exp2", jnp.exp2, "Two to the power of each element.")
expm1 = _unary("expm1", jnp.expm1, "``exp(x) - 1`` of each element, exact near 0.")
log = _unary("log", jnp.log, "The natural logarithm of each element.")
log2 = _unary("log2", jnp.log2, "The logarithm to base 2 of each element.")
log10 = _unary("log10", jnp.log10, "The logarithm to base 10 of each element.")
log1p = _unary("log1p", jnp.log1p, "``log(1 + x)`` of each element, exact near 0.")
sqrt = _unary("sqrt", jnp.sqrt, "The square root of each element.")
rsqrt = _unary("rsqrt", lax.rsqrt, "``1 / sqrt(x)`` of each element.")
sin = _unary("sin", jnp.sin, "The sine of each element, in radians.")
cos = _unary("cos", jnp.cos, "The cosine of each element, in radians.")
tan = _unary("tan", jnp.tan, "The tangent of each element, in radians.")
asin = _unary("asin", jnp.arcsin, "The arcsine of each element, in radians.")
acos = _unary("acos", jnp.arccos, "The arccosine of each element, in radians.")
atan = _unary("atan", jnp.arctan, "The arctangent of each element, in radians.")
sinh = _unary("sinh", jnp.sinh, "The hyperbolic sine of each element.")
cosh = _unary("cosh", jnp.cosh, "The hyperbolic cosine of each element.")
tanh = _unary("tanh", jnp.tanh, "The hyperbolic tangent of each element.")
asinh = _unary("asinh", _arcsinh, "The inverse hyperbolic sine of each element.")
acosh = _unary("acosh", jnp.arccosh, "The inverse hyperbolic cosine of each element.")
atanh = _unary("atanh", jnp.arctanh, "The inverse hyperbolic tangent of each element.")
erf = _unary("erf", lax.erf, "The error function of each element.")
erfc = _unary("erfc", lax.erfc, "The complementary error function of each element.")
sigmoid = _unary("sigmoid", lambda x: 1 / (1 + jnp.exp(-x)) if x.dtype.kind == "c" else lax.logistic(x), "``1 / (1 + exp(-x))`` of each element.")


@op(method=("atan2", "arctan2"), tensors="both")
def atan2(input: Array, other: Array) -> Array:
    """The angle, in radians, of the points (`other`, `input`)."""
    return jnp.arctan2(*promote_to_float(input, other))


@op(tensors="both")
def hypot(input: Array, other: Array) -> Array:
    """``sqrt(input ** 2 + other ** 2)``, elementwise."""
    return jnp.hypot(*promote_to_float(input, other))


@op(tensors="both")
def logaddexp(input: Array, other: Array) -> Array:
    """``log(exp(input) + exp(other))``, elementwise, without overflow."""
    input, other = promote_to_float(input, other)
    if input.dtype.kind != "c":
        return jnp.logaddexp(input, other)
    greater = jnp.real(input) >= jnp.real(other)  # the imaginary part is not brought into one turn
    high, low = jnp.where(greater, input, other), jnp.where(greater, other, input)
    same = high == low  # equal infinities would give NaN
    return jnp.where(same, high + cast(jnp.log(2.0), high.dtype), high + jnp.log1p(jnp.exp(jnp.where(same, 0, low - high))))


# --- second names --------------------------------------------------------------------------------------------------

subtract, multiply, divide, negative, absolute, clip = sub, mul, div, neg, abs, clamp
not_equal, less, less_equal, greater, greater_equal, arctan2 = ne, lt, le, gt, ge, atan2
arcsin, arccos, arctan, arcsinh, arccosh, arctanh, fix = asin, acos, atan, asinh, acosh, atanh, trunc
for _name in ("arcsin", "arccos", "arctan", "arcsinh", "arccosh", "arctanh", "fix", "true_divide"):
    attach(_name, globals()[_name])
