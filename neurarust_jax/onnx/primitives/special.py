"""Lowering of special functions by series, recurrences and approximations, computed in double precision where the result's last places need it."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..emitter import Emitter, Operand
from .registry import lowers


def _in_double(function: Callable) -> Callable:
    """The rule of a function over float64 arrays."""

    def rule(g: Emitter, equation: Any, *inputs: Operand) -> Any:
        dtype = equation.outvars[0].aval.dtype
        return g.trace(lambda *xs: function(*(x.astype(jnp.float64) for x in xs)).astype(dtype), [v.aval for v in equation.invars], *inputs)

    return rule


# --- the error function ------------------------------------------------------------------------------------------------


@cache
def _chebyshev_of_erfc() -> np.ndarray:
    """Coefficients of log(erfc(x) exp(x^2) / t) over t = 2 / (2 + x) in [0, 1], as in Press et al., Numerical Recipes, 3rd edition, 6.2.2; fitted to `math.erfc`."""

    def scaled(u: float) -> float:
        t = (u + 1) / 2
        x = 2 / t - 2 if t > 0 else math.inf
        if x > 12:  # the asymptotic series, where erfc itself underflows
            terms = sum((-1) ** n * math.prod(range(1, 2 * n, 2)) / (2 * x * x) ** n for n in range(8)) if x < math.inf else 1.0
            return math.log(terms / math.sqrt(math.pi)) - math.log(x * t) if x < math.inf else math.log(1 / (2 * math.sqrt(math.pi)))
        return math.log(math.erfc(x)) + x * x - math.log(t)

    return np.polynomial.chebyshev.chebinterpolate(np.vectorize(scaled), 27)


def _erfc_of_positive(x: Any) -> Any:
    t = 2 / (2 + x)
    return t * jnp.exp(-x * x + _clenshaw(_chebyshev_of_erfc(), 2 * t - 1))


def _clenshaw(coefficients: np.ndarray, u: Any) -> Any:
    """A Chebyshev series at `u` in [-1, 1]."""
    ahead, behind = 0.0, 0.0
    for c in coefficients[:0:-1]:
        ahead, behind = 2 * u * ahead - behind + float(c), ahead
    return u * ahead - behind + float(coefficients[0])


def _erfc(x: Any) -> Any:
    size = jnp.minimum(jnp.abs(x), 30.0)
    tail = _erfc_of_positive(size)
    return jnp.where(x >= 0, tail, 2 - tail) + 0 * x


def _erf(x: Any) -> Any:
    """Its Taylor series near zero, 1 - erfc elsewhere."""
    near = jnp.abs(x) < 0.75
    y = jnp.where(near, x, 0.0)
    term, total = y, y
    for n in range(1, 17):
        term = term * (-y * y / n)
        total = total + term / (2 * n + 1)
    return jnp.where(near, total * (2 / math.sqrt(math.pi)), jnp.sign(x) * (1 - _erfc(jnp.abs(x))))


def _erf_inv(x: Any) -> Any:
    """A first value by Giles (Approximating the erfinv function, 2012), then two steps of Halley's method on erf or erfc."""
    size = jnp.abs(x)
    w = -jnp.log(jnp.maximum((1 - size) * (1 + size), 1e-300))
    a, b = w - 2.5, jnp.sqrt(jnp.maximum(w, 5.0)) - 3
    central = (2.81022636e-08, 3.43273939e-07, -3.5233877e-06, -4.39150654e-06, 0.00021858087, -0.00125372503, -0.00417768164, 0.246640727, 1.50140941)
    tail = (-0.000200214257, 0.000100950558, 0.00134934322, -0.00367342844, 0.00573950773, -0.0076224613, 0.00943887047, 1.00167406, 2.83297682)
    first = jnp.where(w < 5, _horner(central, a), _horner(tail, b)) * size
    y = jnp.minimum(first, 6.0)
    for _ in range(2):
        error = jnp.where(size < 0.5, _erf(y) - size, (1 - size) - _erfc(y)) * (math.sqrt(math.pi) / 2) * jnp.exp(y * y)
        y = y - error / (1 + y * error)
    y = jnp.where(size == 1, jnp.inf, jnp.where(size > 1, jnp.nan, y))
    return jnp.where(x < 0, -y, y) + 0 * x


def _horner(coefficients: Any, x: Any) -> Any:
    total = coefficients[0]
    for c in coefficients[1:]:
        total = total * x + c
    return total


lowers("erfc")(_in_double(_erfc))
lowers("erf_inv")(_in_double(_erf_inv))


@lowers("erf")
def _lower_erf(g: Emitter, equation: Any, x: Operand) -> Operand:
    dtype = np.dtype(equation.invars[0].aval.dtype)
    return _in_double(_erf)(g, equation, x) if dtype == np.float64 else g.op("Erf", dtype, x)


# --- gamma functions ---------------------------------------------------------------------------------------------------

_LANCZOS = (
    0.99999999999980993, 676.5203681218851, -1259.1392167224028, 771.32342877765313, -176.61502916214059, 12.507343278686905, -0.13857109526572012,
    9.9843695780195716e-6, 1.5056327351493116e-7,
)  # fmt: skip


def _lgamma_above_half(x: Any) -> Any:
    """Lanczos' approximation with g = 7 and nine terms (Godfrey 2001)."""
    z = x - 1
    series = _LANCZOS[0] + sum(c / (z + n) for n, c in enumerate(_LANCZOS[1:], 1))
    t = z + 7.5
    return 0.5 * math.log(2 * math.pi) + (z + 0.5) * jnp.log(t) - t + jnp.log(series)


def _lgamma(x: Any) -> Any:
    low = x < 0.5
    reflected = jnp.where(low, 1 - x, x)
    value = _lgamma_above_half(reflected)
    distance = x - jnp.round(x)
    sine = jnp.abs(jnp.sin(math.pi * jnp.where(low, distance, 0.5)))
    value = jnp.where(low, math.log(math.pi) - jnp.log(sine) - value, value)
    pole = (x <= 0) & (x == jnp.floor(x))
    return jnp.where(pole | (jnp.abs(x) == jnp.inf), jnp.inf, value) + 0 * jnp.where(jnp.abs(x) == jnp.inf, 0, x)


_BERNOULLI = (1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6, -3617 / 510, 43867 / 798, -174611 / 330)


def _digamma(x: Any) -> Any:
    """The recurrence up to 10, then the asymptotic series (Abramowitz and Stegun, 6.3.18); reflection below zero."""
    low = x < 0.5
    y = jnp.where(low, 1 - x, x)
    value = jnp.zeros_like(y)
    for _ in range(10):
        small = y < 10
        value = value - jnp.where(small, 1 / y, 0)
        y = jnp.where(small, y + 1, y)
    series = sum(b / (2 * n) * y ** (-2 * n) for n, b in enumerate(_BERNOULLI[:8], 1))
    value = value + jnp.log(y) - 0.5 / y - series
    distance = x - jnp.round(x)
    angle = math.pi * jnp.where(low, distance, 0.25)
    reflected = value - math.pi * jnp.cos(angle) / jnp.sin(angle)
    value = jnp.where(low, reflected, value)
    pole = (x <= 0) & (x == jnp.floor(x))
    return jnp.where(x == jnp.inf, jnp.inf, jnp.where(pole, jnp.where(x == 0, -jnp.inf / jnp.where(1 / x < 0, -1.0, 1.0), jnp.nan), value))


lowers("lgamma")(_in_double(_lgamma))
lowers("digamma")(_in_double(_digamma))


def _zeta(s: Any, q: Any) -> Any:
    """Hurwitz' zeta function by Euler's and Maclaurin's formula after 12 terms (Johansson, Rigorous high-precision computation of the Hurwitz zeta function, 2015)."""
    count = 12
    total = sum((q + n) ** -s for n in range(count))
    a = q + count
    total = total + a ** (1 - s) / (s - 1) + 0.5 * a**-s
    factor, power = s, a ** (-s - 1)
    for n, b in enumerate(_BERNOULLI, 1):
        total = total + b / math.factorial(2 * n) * factor * power
        factor = factor * (s + 2 * n - 1) * (s + 2 * n)
        power = power / (a * a)
    pole = (q <= 0) & (q == jnp.floor(q))
    total = jnp.where(pole & (s == jnp.floor(s)), jnp.inf, jnp.where((q <= 0) & (s != jnp.floor(s)), jnp.nan, total))
    return jnp.where(s == 1, jnp.inf, jnp.where(s < 1, jnp.nan, total))


def _polygamma(n: Any, x: Any) -> Any:
    sign = jnp.where(n - 2 * jnp.floor(n / 2) == 0, -1.0, 1.0)
    return jnp.where(n == 0, _digamma(x), sign * jnp.exp(_lgamma(n + 1)) * _zeta(jnp.where(n == 0, 2.0, n + 1), x))


lowers("zeta")(_in_double(_zeta))
lowers("polygamma")(_in_double(_polygamma))


def _lower_gamma_ratio(a: Any, x: Any) -> tuple[Any, Any]:
    """(P(a, x), Q(a, x)): the power series for x < a + 1, Lentz' continued fraction beyond (Press et al., Numerical Recipes, 3rd edition, 6.2)."""
    a, x = jnp.broadcast_arrays(a, x)
    front = jnp.exp(a * jnp.log(jnp.where(x > 0, x, 1.0)) - x - _lgamma(a))
    near = x < a + 1
    xs, xf = jnp.where(near, x, 1.0), jnp.where(near, a + 2, x)

    def term(_, state):
        total, part, denominator = state
        denominator = denominator + 1
        part = part * xs / denominator
        return total + part, part, denominator

    start = 1 / a
    total, _, _ = jax.lax.fori_loop(0, 300, term, (start, start, a))

    b = xf + 1 - a
    tiny = 1e-300

    def step(i, state):
        b, c, d, h = state
        n = i.astype(jnp.float64)
        factor = -n * (n - a)
        b = b + 2
        d = factor * d + b
        d = 1 / jnp.where(jnp.abs(d) < tiny, tiny, d)
        c = b + factor / c
        c = jnp.where(jnp.abs(c) < tiny, tiny, c)
        return b, c, d, h * d * c

    _, _, _, fraction = jax.lax.fori_loop(1, 300, step, (b, jnp.full_like(b, 1 / tiny), 1 / b, 1 / b))
    below = jnp.where(near, front * total, 1 - front * fraction)
    above = jnp.where(near, 1 - front * total, front * fraction)
    wrong = (x < 0) | (a < 0) | ((a == 0) & (x == 0)) | jnp.isnan(a) | jnp.isnan(x)

    def edges(value, at_zero, at_infinity):
        value = jnp.where((x == 0) | (a == jnp.inf), at_zero, jnp.where((x == jnp.inf) | (a == 0), at_infinity, value))
        return jnp.where(wrong | ((a == jnp.inf) & (x == jnp.inf)), jnp.nan, value)

    return edges(below, 0.0, 1.0), edges(above, 1.0, 0.0)


lowers("igamma")(_in_double(lambda a, x: _lower_gamma_ratio(a, x)[0]))
lowers("igammac")(_in_double(lambda a, x: _lower_gamma_ratio(a, x)[1]))


def _betainc(a: Any, b: Any, x: Any) -> Any:
    """The continued fraction of the incomplete beta function by Lentz' method (Press et al., Numerical Recipes, 3rd edition, 6.4)."""
    a, b, x = jnp.broadcast_arrays(a, b, x)
    swap = x > (a + 1) / (a + b + 2)
    p, q, z = jnp.where(swap, b, a), jnp.where(swap, a, b), jnp.where(swap, 1 - x, x)
    tiny = 1e-300

    def guarded(v):
        return jnp.where(jnp.abs(v) < tiny, tiny, v)

    def step(i, state):
        c, d, h = state
        m = i.astype(jnp.float64)
        even = m * (q - m) * z / ((p - 1 + 2 * m) * (p + 2 * m))
        d, c = 1 / guarded(1 + even * d), guarded(1 + even / c)
        h = h * d * c
        odd = -(p + m) * (p + q + m) * z / ((p + 2 * m) * (p + 1 + 2 * m))
        d, c = 1 / guarded(1 + odd * d), guarded(1 + odd / c)
        return c, d, h * d * c

    d = 1 / guarded(1 - (p + q) * z / (p + 1))
    _, _, fraction = jax.lax.fori_loop(1, 200, step, (jnp.ones_like(z), d, d))
    inside = (z > 0) & (z < 1)
    zs = jnp.where(inside, z, 0.5)
    front = jnp.exp(_lgamma(p + q) - _lgamma(p) - _lgamma(q) + p * jnp.log(zs) + q * jnp.log(1 - zs)) / p
    value = jnp.where(inside, front * fraction, 0.0)
    value = jnp.where(swap, 1 - value, value)
    return jnp.where((x < 0) | (x > 1) | (a <= 0) | (b <= 0), jnp.nan, value)


lowers("regularized_incomplete_beta")(_in_double(_betainc))


# --- Bessel functions --------------------------------------------------------------------------------------------------


def _bessel_integral(order: int, x: float) -> float:
    """exp(-x) I(x) as the mean of exp(x (cos t - 1)) cos(order t) over a period; the trapezoidal rule is exact to rounding."""
    angles = np.linspace(0, math.pi, 4001)
    values = np.exp(x * (np.cos(angles) - 1)) * np.cos(order * angles)
    return float((values.sum() - (values[0] + values[-1]) / 2) / 4000)


@cache
def _chebyshev_of_bessel(order: int) -> tuple[np.ndarray, np.ndarray]:
    """Series of exp(-x) I(x) over [0, 8], and of sqrt(x) exp(-x) I(x) over 8 / x in [0, 1], as in Clenshaw, Chebyshev series for mathematical functions, 1962."""
    near = np.polynomial.chebyshev.chebinterpolate(np.vectorize(lambda u: _bessel_integral(order, 4 * (u + 1))), 32)

    def far(u: float) -> float:
        t = (u + 1) / 2
        x = 8 / t
        if x > 5000:
            mu = 4 * order * order
            return (1 - (mu - 1) / (8 * x) + (mu - 1) * (mu - 9) / (2 * (8 * x) ** 2)) / math.sqrt(2 * math.pi)
        return math.sqrt(x) * _bessel_integral(order, x)

    return near, np.polynomial.chebyshev.chebinterpolate(np.vectorize(far), 26)


def _bessel(order: int) -> Callable:
    def bessel(x):
        near, far = _chebyshev_of_bessel(order)
        size = jnp.abs(x)
        inner = _clenshaw(near, jnp.minimum(size, 8.0) / 4 - 1)
        outer = _clenshaw(far, 16 / jnp.maximum(size, 8.0) - 1) / jnp.sqrt(jnp.maximum(size, 8.0))
        value = jnp.where(size <= 8, inner, outer)
        return value if order == 0 else value * jnp.sign(x)

    return bessel


lowers("bessel_i0e")(_in_double(_bessel(0)))
lowers("bessel_i1e")(_in_double(_bessel(1)))
