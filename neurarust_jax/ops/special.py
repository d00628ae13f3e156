"""Special functions: the gamma family, the error function's kin, the normal distribution, logarithms that are exact at the edges.

Bessel functions are in `bessel.py`, orthogonal polynomials in `polynomials.py`; `nr.special` names them all.
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax
from jax.scipy import special

from .. import dtypes
from ..dispatch import Array, op
from ..errors import DtypeError, ShapeError
from ..tensor import attach
from .common import cast, floating, numpy_names, promote_to_float

__all__ = ["digamma", "lgamma", "polygamma", "mvlgamma", "igamma", "igammac", "erfinv", "i0", "logit", "xlogy", "sinc"]
NAMESPACE = [
    "digamma", "entr", "erf", "erfc", "erfcx", "erfinv", "exp2", "expit", "expm1", "gammainc", "gammaincc", "gammaln", "i0", "i0e", "i1", "i1e", "log1p",
    "log_ndtr", "log_softmax", "logit", "logsumexp", "multigammaln", "ndtr", "ndtri", "polygamma", "psi", "round", "sinc", "softmax", "xlog1py", "xlogy",
    "zeta",
]  # fmt: skip


def _prepared(function: str, *operands) -> tuple[Array, ...]:
    """The operands in their common real floating-point dtype."""
    operands = (floating(operands[0]),) if len(operands) == 1 else promote_to_float(*operands)
    if operands[0].dtype.kind == "c":
        raise DtypeError(f'"{function}" not implemented for {dtypes.from_numpy(operands[0].dtype)}; it takes real numbers')
    return operands


def _evaluate(function: Callable, *operands: Array) -> Array:
    """`function` of the operands, those of half precision computed in float32."""
    dtype = operands[0].dtype
    if dtype.itemsize >= 4:
        return function(*operands)
    return function(*(x.astype(jnp.float32) for x in operands)).astype(dtype)


def _unary(name: str, function: Callable, doc: str, method: bool = False) -> Callable:
    def special_function(input: Array) -> Array:
        return _evaluate(function, *_prepared(name, input))

    special_function.__name__ = name.rpartition(".")[2]
    special_function.__doc__ = doc + " Integers become the default dtype."
    return op(special_function, name=name, method=method)


def with_derivative(derivative: Callable[[Array, Array], Array]) -> Callable:
    """Give a function of one argument its derivative, a function of the argument and the value."""

    def decorate(function: Callable) -> Callable:
        wrapped = jax.custom_jvp(function)

        @wrapped.defjvp
        def rule(primals, tangents):
            (x,) = primals
            value = wrapped(x)
            return value, derivative(x, value) * tangents[0]

        return wrapped

    return decorate


# --- gamma ---------------------------------------------------------------------------------------------------------


@with_derivative(lambda x, value: _trigamma(x))
def _digamma(x: Array) -> Array:
    pole = x == 0
    return jnp.where(pole, jnp.copysign(cast(jnp.inf, x.dtype), -x), special.digamma(jnp.where(pole, 1, x)))


@with_derivative(lambda x, value: -2 * _hurwitz(jnp.full_like(x, 3), x))
def _trigamma(x: Array) -> Array:
    reflected = x < 0.5
    value = special.zeta(cast(2, x.dtype), jnp.where(reflected, 1 - x, x))
    sine = jnp.sin(jnp.where(reflected, x, 0.5) * jnp.pi)
    return jnp.where(reflected, (jnp.pi / sine) ** 2 - value, value)


digamma = _unary("digamma", _digamma, "The derivative of the logarithm of the gamma function of each element; at 0 infinite, at negative integers NaN.", True)
lgamma = _unary("lgamma", special.gammaln, "The logarithm of the absolute value of the gamma function of each element.", True)


@op(name="polygamma", method=False)
def _polygamma(n: int, input: Array) -> Array:
    """The `n`-th derivative of the digamma function."""
    if n < 0:
        raise ShapeError(f"polygamma(n, x) does not support negative n, got {n}")
    (x,) = _prepared("polygamma", input)
    if n == 0:
        return _evaluate(_digamma, x)
    if n == 1:
        return _evaluate(_trigamma, x)
    return _evaluate(lambda x: (-1) ** (n + 1) * math.gamma(n + 1) * _hurwitz(jnp.full_like(x, n + 1), x), x)


@numpy_names
def polygamma(n: int, input):
    """The `n`-th derivative of the digamma function of each element.

    Args:
        n: which derivative, from 0.
        input: a real tensor.
    """
    return _polygamma(n, input)


attach("polygamma", lambda self, n: _polygamma(n, self))


def _multigammaln(input: Array, p: int, function: str) -> Array:
    if p < 1:
        raise ShapeError(f"{function}: p has to be greater than or equal to 1, got {p}")
    (x,) = _prepared(function, input)
    terms = sum(special.gammaln(x - cast(0.5 * j, x.dtype)) for j in range(p))
    return terms + cast(0.25 * p * (p - 1) * math.log(math.pi), x.dtype)


@op
def mvlgamma(input: Array, p: int) -> Array:
    """The logarithm of the multivariate gamma function of dimension `p`, elementwise.

    Args:
        input: a real tensor; the function is defined above ``(p - 1) / 2``.
        p: the dimension, from 1.
    """
    return _multigammaln(input, p, "mvlgamma")


@op(name="special.gammainc", method=("igamma",), tensors="both")
def gammainc(input: Array, other: Array) -> Array:
    """The regularized lower incomplete gamma function, elementwise.

    Args:
        input: its parameter `a`, not negative.
        other: the upper limit `x` of the integral, not negative.
    """
    return _evaluate(_gammainc, *_prepared("igamma", input, other))


@op(name="special.gammaincc", method=("igammac",), tensors="both")
def gammaincc(input: Array, other: Array) -> Array:
    """The regularized upper incomplete gamma function, elementwise: ``1 - gammainc(input, other)``."""
    return _evaluate(_gammaincc, *_prepared("igammac", input, other))


def _gammainc(a: Array, x: Array) -> Array:
    value = _over_parameters(special.gammainc, -1, a, x)
    return _at_edges(a, x, value, 1, 0)


def _gammaincc(a: Array, x: Array) -> Array:
    value = _over_parameters(special.gammaincc, 1, a, x)
    return _at_edges(a, x, value, 0, 1)


def _at_edges(a: Array, x: Array, value: Array, at_zero: float, at_infinity: float) -> Array:
    """The value, but for a parameter that is 0 or infinite."""
    value = jnp.where((a == 0) & (x >= 0), jnp.where(x > 0, at_zero, jnp.nan).astype(x.dtype), value)
    return jnp.where((a == jnp.inf) & (x >= 0), jnp.where(x < jnp.inf, at_infinity, jnp.nan).astype(x.dtype), value)


def _over_parameters(function: Callable, sign: int, a: Array, x: Array) -> Array:
    """An incomplete gamma function by JAX's sums, or for a large `a`, where these lose what ``x ** a`` and ``gamma(a)`` have in common and end too soon, by an expansion."""
    limit = 50 if x.dtype == jnp.float32 else 1e4
    large = (a > limit) & jnp.isfinite(a) & jnp.isfinite(x) & (x > 0)
    near = function(jnp.where(large, 1, a), jnp.where(large, 1, x))
    far = _incomplete_gamma_of_a_large_parameter(sign, *(jnp.where(large, operand, limit).astype(jnp.float64) for operand in (a, x)))
    return jnp.where(large, far.astype(x.dtype), near)


def _incomplete_gamma_of_a_large_parameter(sign: int, a: Array, x: Array) -> Array:
    """The first three terms of Temme's expansion, in which the normal distribution stands for the gamma distribution (https://dlmf.nist.gov/8.12)."""
    mu = jnp.clip((x - a) / a, -0.99, 1e3)  # beyond which the result is 0 or 1
    small = jnp.abs(mu) < 0.1
    within, beyond = jnp.where(small, mu, 0), jnp.where(small, 1, mu)
    series = jnp.zeros_like(mu)
    for k in range(18, 1, -1):  # (mu - log(1 + mu)) / mu ** 2 without the difference of equals
        series = (-1) ** k / k + within * series
    eta = mu * jnp.sqrt(2 * jnp.where(small, series, (beyond - jnp.log1p(beyond)) / beyond**2))
    close = jnp.where(small, eta, 0)
    first = jnp.where(small, -1 / 3 + close * (1 / 12 + close * (-2 / 135 + close * (1 / 864 + close / 2835))), 1 / beyond - 1 / jnp.where(small, 1, eta))
    terms = first + (-1 / 540 + eta * (-1 / 288 + eta / 378)) / a + 25 / 6048 / a**2
    remainder = jnp.exp(-a * eta**2 / 2) / jnp.sqrt(2 * math.pi * a) * terms
    return special.erfc(sign * eta * jnp.sqrt(a / 2)) / 2 + sign * remainder


@jax.custom_jvp
def _hurwitz(x: Array, q: Array) -> Array:
    # JAX's zeta is for q > 0; the sum's first terms, ((q + k) ** -x), bring q there. Poles are where q is 0, -1, -2 ...
    pole = (q <= 0) & (q == jnp.floor(q))
    steps = jnp.where(q < 0, jnp.minimum(jnp.ceil(-q), _MOST_STEPS), 0)
    base = jnp.where(pole, 1, q)

    def add(k, total):
        term = jnp.where(k < steps, jnp.power(jnp.where(k < steps, base + k, 1), -x), 0)
        return total + term

    count = jnp.max(steps, initial=0).astype(jnp.int32)
    shifted = lax.fori_loop(0, count, lambda k, total: add(k.astype(q.dtype), total), jnp.zeros_like(q))
    value = special.zeta(x, jnp.where(pole, 1, q + steps)) + shifted
    value = jnp.where((q < 0) & (x != jnp.floor(x)), jnp.nan, value)
    value = jnp.where(pole, jnp.inf, value)
    return jnp.where(x == 1, jnp.inf, jnp.where(x < 1, jnp.nan, value)).astype(q.dtype)


_MOST_STEPS = 1000


@_hurwitz.defjvp
def _hurwitz_jvp(primals, tangents):
    x, q = primals
    return _hurwitz(x, q), -x * _hurwitz(x + 1, q) * tangents[1]  # the derivative by x is not implemented, in PyTorch neither


@op(name="special.zeta", method=False, tensors="one")
def zeta(input: Array | float, other: Array | float) -> Array:
    """The Hurwitz zeta function, elementwise: ``sum over k >= 0 of (k + other) ** -input``. Its gradient is by `other` alone.

    Args:
        input: the exponent, above 1.
        other: the first base; infinite at 0 and negative integers.
    """
    x, q = _prepared("zeta", input, other)
    return _evaluate(_hurwitz, *jnp.broadcast_arrays(x, q))


# --- error function, normal distribution ---------------------------------------------------------------------------

erfinv = _unary("erfinv", special.erfinv, "The inverse of the error function of each element: infinite at -1 and 1, NaN beyond.", True)
erfcx = _unary("special.erfcx", special.erfcx, "The scaled complementary error function of each element, ``exp(x ** 2) * erfc(x)``.")
ndtr = _unary("special.ndtr", special.ndtr, "The area under the standard normal density up to each element.")
ndtri = _unary("special.ndtri", special.ndtri, "The inverse of `ndtr`: the standard normal quantile of each element.")


@with_derivative(lambda x, value: math.sqrt(2 / math.pi) / special.erfcx(-x * math.sqrt(0.5)))
def _log_ndtr(x: Array) -> Array:
    low = x < -1
    left = jnp.where(low, x, -1)
    tail = jnp.log(special.erfcx(-left * math.sqrt(0.5)) / 2) - left * left / 2
    return jnp.where(low, tail, jnp.log1p(-special.erfc(jnp.where(low, 0, x) * math.sqrt(0.5)) / 2))


log_ndtr = _unary("special.log_ndtr", _log_ndtr, "The logarithm of `ndtr`, exact far below 0.")

# --- Bessel functions of the first kind ----------------------------------------------------------------------------


@with_derivative(lambda x, value: special.i1(x))
def _i0(x: Array) -> Array:
    return special.i0(x)


@with_derivative(lambda x, value: special.i1e(x) - jnp.sign(x) * value)
def _i0e(x: Array) -> Array:
    return special.i0e(x)


@with_derivative(lambda x, value: jnp.where(x == 0, 0.5, special.i0(x) - value / jnp.where(x == 0, 1, x)))
def _i1(x: Array) -> Array:
    return special.i1(x)


@with_derivative(lambda x, value: jnp.where(x == 0, 0.5, special.i0e(x) - value * (jnp.sign(x) + 1 / jnp.where(x == 0, 1, x))))
def _i1e(x: Array) -> Array:
    return special.i1e(x)


i0 = _unary("i0", _i0, "The modified Bessel function of the first kind of order 0 of each element.", True)
i0e = _unary("special.i0e", _i0e, "``exp(-|x|)`` times `i0` of each element.")
i1 = _unary("special.i1", _i1, "The modified Bessel function of the first kind of order 1 of each element.")
i1e = _unary("special.i1e", _i1e, "``exp(-|x|)`` times `i1` of each element.")

# --- logarithms ----------------------------------------------------------------------------------------------------


@with_derivative(lambda x, value: -jnp.log(x) - 1)
def _entr(x: Array) -> Array:
    inside = jnp.where(x > 0, x, 1)
    edge = jnp.where(jnp.isnan(x), x, jnp.where(x == 0, 0, -jnp.inf).astype(x.dtype))
    return jnp.where(x > 0, -inside * jnp.log(inside), edge)


entr = _unary("special.entr", _entr, "``-x * log(x)`` of each element: 0 at 0, ``-inf`` below.")


@op
def logit(input: Array, eps: float | None = None) -> Array:
    """``log(x / (1 - x))`` of each element.

    Args:
        input: a real tensor.
        eps: hold the elements between `eps` and ``1 - eps`` first; the gradient is 0 beyond. Without it, the result beyond 0 and 1 is NaN.
    """
    (x,) = _prepared("logit", input)

    def evaluate(x):
        if eps is None:
            return jnp.log(x / (1 - x))
        low, high = cast(eps, x.dtype), cast(1 - eps, x.dtype)
        held = jnp.where(x < low, low, jnp.where(x > high, high, x))
        return jnp.log(held / (1 - held))

    return _evaluate(evaluate, x)


@jax.custom_jvp
def _xlogy(x: Array, y: Array) -> Array:
    return jnp.where(jnp.isnan(y), y, jnp.where(x == 0, 0, x * jnp.log(jnp.where(x == 0, 1, y))))


@_xlogy.defjvp
def _xlogy_jvp(primals, tangents):
    (x, y), (dx, dy) = primals, tangents
    slope = jnp.where((x == 0) & (y <= 0), 0, jnp.log(jnp.where((x == 0) & (y <= 0), 1, y)))
    return _xlogy(x, y), slope * dx + x / y * dy


@jax.custom_jvp
def _xlog1py(x: Array, y: Array) -> Array:
    return jnp.where(jnp.isnan(y), y, jnp.where(x == 0, 0, x * jnp.log1p(jnp.where(x == 0, 0, y))))


@_xlog1py.defjvp
def _xlog1py_jvp(primals, tangents):
    (x, y), (dx, dy) = primals, tangents
    edge = (x == 0) & (y <= -1)
    return _xlog1py(x, y), jnp.where(edge, 0, jnp.log1p(jnp.where(edge, 0, y))) * dx + x / (y + 1) * dy


@op(tensors="one")
def xlogy(input: Array | float, other: Array | float) -> Array:
    """``input * log(other)``, elementwise, with broadcasting: 0 where `input` is, unless `other` is NaN.

    Args:
        input: a tensor or number.
        other: a tensor or number.
    """
    return _evaluate(_xlogy, *jnp.broadcast_arrays(*_prepared("xlogy", input, other)))


@op(name="special.xlog1py", method=False, tensors="one")
def xlog1py(input: Array | float, other: Array | float) -> Array:
    """``input * log(1 + other)``, elementwise, with broadcasting: 0 where `input` is, unless `other` is NaN."""
    return _evaluate(_xlog1py, *jnp.broadcast_arrays(*_prepared("xlog1py", input, other)))


@op
def sinc(input: Array) -> Array:
    """``sin(pi x) / (pi x)`` of each element, 1 at 0. Integers become the default dtype."""
    return jnp.sinc(floating(input))


# --- second names --------------------------------------------------------------------------------------------------

igamma, igammac = gammainc, gammaincc
psi, gammaln, multigammaln = digamma, lgamma, mvlgamma
