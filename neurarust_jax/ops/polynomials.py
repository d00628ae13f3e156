"""Orthogonal polynomials by their names in `nr.special`: Chebyshev of four kinds and shifted, Hermite, Laguerre, Legendre."""

from collections.abc import Callable

import jax.numpy as jnp
from jax import lax

from ..dispatch import Array, op
from .bessel import without_derivative
from .common import promote_to_float, refuse

__all__: list[str] = []
NAMESPACE = [
    "chebyshev_polynomial_t", "chebyshev_polynomial_u", "chebyshev_polynomial_v", "chebyshev_polynomial_w", "hermite_polynomial_h", "hermite_polynomial_he",
    "laguerre_polynomial_l", "legendre_polynomial_p", "shifted_chebyshev_polynomial_t", "shifted_chebyshev_polynomial_u", "shifted_chebyshev_polynomial_v",
    "shifted_chebyshev_polynomial_w",
]  # fmt: skip


def _recurrence(n: Array, first: Array, following: Callable) -> Array:
    """The n-th term, elementwise, of the sequence 1, `first`, ..., whose next term is ``following(k, last, before)`` for k = 1, 2, ...

    It goes on until the greatest `n` is reached.
    """

    def unfinished(state):
        k, last, _ = state
        return jnp.any((k < n) & ~jnp.isnan(last))

    def advance(state):
        k, last, before = state
        going = k < n
        return k + 1, jnp.where(going, following(k.astype(last.dtype), last, before), last), jnp.where(going, last, before)

    _, last, _ = lax.while_loop(unfinished, advance, (jnp.asarray(1, n.dtype), first, jnp.ones_like(first)))
    return jnp.where(n < 0, 0, jnp.where(n == 0, 1, last)).astype(first.dtype)


def _chebyshev(x: Array, n: Array, kind: str) -> Array:
    degree = n.astype(x.dtype)
    odd = n % 2 != 0
    inside = (jnp.abs(x) < 1) & (n > (6 if kind == "t" else 8))
    angle = jnp.arccos(jnp.where(inside, x, 0))
    full = 2 * degree + 1
    # (by angle inside -1 to 1, the value at 1, at -1, and the term of degree 1)
    if kind == "t":
        by_angle, at_one, at_minus_one, first = jnp.cos(degree * angle), 1, 1, x
    elif kind == "u":
        by_angle, at_one, at_minus_one, first = jnp.sin((degree + 1) * angle) / jnp.sin(angle), degree + 1, degree + 1, x + x
    elif kind == "v":
        by_angle, at_one, at_minus_one, first = jnp.cos((degree + 0.5) * angle) / jnp.cos(angle / 2), 1, full, x + x - 1
    else:
        by_angle, at_one, at_minus_one, first = jnp.sin((degree + 0.5) * angle) / jnp.sin(angle / 2), full, 1, x + x + 1
    at_edge = jnp.where(x > 0, at_one, jnp.where(odd, -at_minus_one, at_minus_one)).astype(x.dtype)
    edge = jnp.abs(x) == 1
    value = _recurrence(jnp.where(inside | edge, jnp.minimum(n, 0), n), first, lambda k, last, before: 2 * x * last - before)
    return jnp.where(n < 0, 0, jnp.where(edge, at_edge, jnp.where(inside, by_angle, value)))


def _degree(x: Array, n: Array) -> tuple[Array, Array]:
    x, n = promote_to_float(x, n)
    refuse(x, "cV", "polynomial")
    x, n = jnp.broadcast_arrays(x, n)
    return x, jnp.where(jnp.isfinite(n), n, -1).astype(jnp.int64)


def _polynomial(name: str, function: Callable, doc: str) -> Callable:
    evaluate = without_derivative(name)(lambda x, n: function(*_degree(x, n)))

    def polynomial(input: Array | float, n: Array | float) -> Array:
        x, n = promote_to_float(input, n)
        return evaluate(x, lax.stop_gradient(n))

    polynomial.__name__ = name
    polynomial.__doc__ = f"{doc} of degree `n`, elementwise, with broadcasting; 0 for a negative degree. It has no gradient."
    return op(polynomial, name=f"special.{name}", method=False, tensors="one")


chebyshev_polynomial_t = _polynomial("chebyshev_polynomial_t", lambda x, n: _chebyshev(x, n, "t"), "The Chebyshev polynomial of the first kind")
chebyshev_polynomial_u = _polynomial("chebyshev_polynomial_u", lambda x, n: _chebyshev(x, n, "u"), "The Chebyshev polynomial of the second kind")
chebyshev_polynomial_v = _polynomial("chebyshev_polynomial_v", lambda x, n: _chebyshev(x, n, "v"), "The Chebyshev polynomial of the third kind")
chebyshev_polynomial_w = _polynomial("chebyshev_polynomial_w", lambda x, n: _chebyshev(x, n, "w"), "The Chebyshev polynomial of the fourth kind")


def _shifted(kind: str, which: str) -> Callable:
    return _polynomial(
        f"shifted_chebyshev_polynomial_{kind}", lambda x, n: _chebyshev(x + x - 1, n, kind), f"The Chebyshev polynomial of the {which} kind, of ``2 x - 1``,"
    )


shifted_chebyshev_polynomial_t = _shifted("t", "first")
shifted_chebyshev_polynomial_u = _shifted("u", "second")
shifted_chebyshev_polynomial_v = _shifted("v", "third")
shifted_chebyshev_polynomial_w = _shifted("w", "fourth")


def _hermite(x: Array, n: Array, scale: int) -> Array:
    limit = 512 if x.dtype == jnp.float64 else 128  # as in PyTorch: NaN beyond
    value = _recurrence(jnp.where(n > limit, 0, n), scale * x, lambda k, last, before: scale * (x * last - k * before))
    return jnp.where(n > limit, jnp.nan, value).astype(x.dtype)


hermite_polynomial_h = _polynomial("hermite_polynomial_h", lambda x, n: _hermite(x, n, 2), "The physicist's Hermite polynomial")
hermite_polynomial_he = _polynomial("hermite_polynomial_he", lambda x, n: _hermite(x, n, 1), "The probabilist's Hermite polynomial")
laguerre_polynomial_l = _polynomial(
    "laguerre_polynomial_l",
    lambda x, n: _recurrence(n, 1 - x, lambda k, last, before: ((2 * k + 1 - x) * last - k * before) / (k + 1)),
    "The Laguerre polynomial",
)
legendre_polynomial_p = _polynomial(
    "legendre_polynomial_p",
    lambda x, n: _recurrence(n, x, lambda k, last, before: ((2 * k + 1) * x * last - k * before) / (k + 1)),
    "The Legendre polynomial",
)
