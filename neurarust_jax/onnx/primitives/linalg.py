"""Lowering of matrix factorizations as loops over the columns: ONNX has no operators for them. They suit matrices of up to some hundred rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..emitter import Emitter, Operand
from .registry import lowers


def _over_batches(function: Callable, rank: int) -> Callable:
    """The function of matrices (and vectors) for arrays with leading dimensions, `rank` of which the first operand has itself."""

    def mapped(*arrays):
        f = function
        for _ in range(arrays[0].ndim - rank):
            f = jax.vmap(f)
        return f(*arrays)

    return mapped


def _traced(g: Emitter, equation: Any, function: Callable, *inputs: Operand, rank: int = 2) -> Any:
    return g.trace(_over_batches(function, rank), [v.aval for v in equation.invars], *inputs)


def _unit(length: int, k: Any, dtype: Any) -> Any:
    """The k-th unit vector: products with it read and write columns without dynamic indices."""
    return (jnp.arange(length) == k).astype(dtype)


# --- Cholesky and triangular systems -----------------------------------------------------------------------------------


@lowers("cholesky")
def _cholesky(g: Emitter, equation: Any, x: Operand) -> Operand:
    def cholesky(a):
        n = a.shape[0]
        rows = jnp.arange(n)

        def step(k, lower):
            unit = _unit(n, k, a.dtype)
            column = a @ unit - lower @ (unit @ lower)
            pivot = jnp.sqrt(column @ unit)
            filled = jnp.where(rows > k, column / pivot, jnp.where(rows == k, pivot, 0))
            return lower + filled[:, None] * unit

        return jax.lax.fori_loop(0, n, step, jnp.zeros_like(a))

    return _traced(g, equation, cholesky, x)


@lowers("triangular_solve")
def _triangular_solve(g: Emitter, equation: Any, a: Operand, b: Operand) -> Operand:
    p = equation.params

    def solve(a, b):
        if not p["left_side"]:
            return solve_left(a.T, b.T, not p["lower"]).T if not p["transpose_a"] else solve_left(a, b.T, p["lower"]).T
        return solve_left(a.T, b, not p["lower"]) if p["transpose_a"] else solve_left(a, b, p["lower"])

    def solve_left(a, b, lower):
        return substitute(a, b, lower, p["unit_diagonal"])

    return _traced(g, equation, solve, a, b)


def substitute(a: Any, b: Any, lower: bool, unit_diagonal: bool) -> Any:
    """The solution of a triangular system, row by row."""
    n = a.shape[0]
    off = jnp.tril(a, -1) if lower else jnp.triu(a, 1)
    diagonal = jnp.ones(n, a.dtype) if unit_diagonal else jnp.diagonal(a)

    def step(i, x):
        unit = _unit(n, i if lower else n - 1 - i, a.dtype)
        row = (unit @ b - (unit @ off) @ x) / (unit @ diagonal)
        return x + unit[:, None] * row

    return jax.lax.fori_loop(0, n, step, jnp.zeros_like(b))


# --- LU ----------------------------------------------------------------------------------------------------------------


@lowers("lu")
def _lu(g: Emitter, equation: Any, x: Operand) -> list[Operand]:
    def lu(a):
        m, n = a.shape
        rows = jnp.arange(m, dtype=jnp.int32)
        if min(m, n) == 0:
            return a, jnp.zeros(0, jnp.int32), rows

        def step(k, state):
            a, pivots, order = state
            unit = _unit(n, k, a.dtype)
            column = a @ unit
            pivot = jnp.argmax(jnp.where(rows >= k, jnp.abs(column), -1)).astype(jnp.int32)
            k = k.astype(jnp.int32)
            swapped = jnp.where(rows == k, pivot, jnp.where(rows == pivot, k, rows))
            a, order = a[swapped], order[swapped]
            column, row = a @ unit, _unit(m, k, a.dtype) @ a
            head = row @ unit
            factors = jnp.where(rows > k, column / jnp.where(head == 0, 1, head), 0)
            right = jnp.where(jnp.arange(n) > k, row, 0)
            a = jnp.where((rows > k)[:, None] & (unit > 0), factors[:, None], a - factors[:, None] * right)
            return a, jnp.where(jnp.arange(min(m, n)) == k, pivot, pivots), order

        return jax.lax.fori_loop(0, min(m, n), step, (a, jnp.zeros(min(m, n), jnp.int32), rows))

    return _traced(g, equation, lu, x)


@lowers("lu_pivots_to_permutation")
def _pivots_to_permutation(g: Emitter, equation: Any, x: Operand) -> Operand:
    size = equation.params["permutation_size"]

    def permutation(pivots):
        places = jnp.arange(size, dtype=jnp.int32)

        def step(order, pair):
            k, pivot = pair
            return order[jnp.where(places == k, pivot, jnp.where(places == pivot, k, places))], None

        return jax.lax.scan(step, places, (jnp.arange(pivots.shape[0], dtype=jnp.int32), pivots.astype(jnp.int32)))[0]

    return _traced(g, equation, permutation, x, rank=1)


# --- QR ----------------------------------------------------------------------------------------------------------------


def _householder(a: Any) -> tuple[Any, Any]:
    """LAPACK's geqrf: R on and above the diagonal, the reflectors below, and their factors."""
    m, n = a.shape
    count = min(m, n)
    rows = jnp.arange(m)

    def step(k, state):
        a, factors = state
        unit = _unit(n, k, a.dtype)
        column = a @ unit
        head = column @ _unit(m, k, a.dtype)
        tail = jnp.where(rows > k, column, 0)
        rest = tail @ tail
        norm = jnp.sqrt(head * head + rest)
        beta = jnp.where(head < 0, norm, -norm)
        idle = rest == 0
        factor = jnp.where(idle, 0, (beta - head) / jnp.where(idle, 1, beta))
        reflector = tail / jnp.where(idle, 1, head - beta) + jnp.where(rows == k, 1, 0).astype(a.dtype)
        reflected = a - factor * reflector[:, None] * (reflector @ a)
        right = jnp.arange(n) > k
        here = jnp.where(rows < k, column, jnp.where(rows == k, jnp.where(idle, head, beta), reflector))
        a = jnp.where(right, reflected, jnp.where(unit > 0, here[:, None], a))
        return a, jnp.where(jnp.arange(count) == k, factor, factors)

    return jax.lax.fori_loop(0, count, step, (a, jnp.zeros(count, a.dtype)))


def _product(packed: Any, factors: Any, start: Any) -> Any:
    """The product of reflectors, applied to `start`."""
    m, n = packed.shape
    rows = jnp.arange(m)
    count = factors.shape[0]

    def step(i, q):
        k = count - 1 - i
        column = packed @ _unit(n, k, packed.dtype)
        reflector = jnp.where(rows > k, column, jnp.where(rows == k, 1, 0)).astype(packed.dtype)
        return q - (factors @ _unit(count, k, packed.dtype)) * reflector[:, None] * (reflector @ q)

    return jax.lax.fori_loop(0, count, step, start)


def qr(a: Any, full: bool) -> tuple[Any, Any]:
    """Q and R."""
    m, n = a.shape
    packed, factors = _householder(a)
    width = m if full else min(m, n)
    q = _product(packed, factors, jnp.eye(m, width, dtype=a.dtype))
    return q, jnp.triu(packed)[:width]


@lowers("qr")
def _qr(g: Emitter, equation: Any, x: Operand) -> list[Operand]:
    if equation.params.get("pivoting"):
        raise g.unsupported("a QR decomposition with pivoting has no form in ONNX")
    return _traced(g, equation, lambda a: qr(a, equation.params["full_matrices"]), x)


@lowers("geqrf")
def _geqrf(g: Emitter, equation: Any, x: Operand) -> list[Operand]:
    return _traced(g, equation, _householder, x)


@lowers("householder_product")
def _householder_product(g: Emitter, equation: Any, a: Operand, factors: Operand) -> Operand:
    return _traced(g, equation, lambda a, t: _product(a, t, jnp.eye(*a.shape, dtype=a.dtype)), a, factors)


# --- eigenvalues and singular values -----------------------------------------------------------------------------------


def _rounds(n: int) -> np.ndarray:
    """The partner of each index in each round of a tournament of n (the last one rests if n is odd)."""
    even = n + n % 2
    partners = np.empty((even - 1, n), np.int64)
    for number in range(even - 1):
        order = [even - 1, *((np.arange(even - 1) + number) % (even - 1))]
        for a, b in zip(order[: even // 2], reversed(order[even // 2 :]), strict=True):
            if a < n:
                partners[number, a] = b if b < n else a
            if b < n:
                partners[number, b] = a if a < n else b
    return partners


def eigh(a: Any, sweeps: int = 12) -> tuple[Any, Any]:
    """Eigenvalues in ascending order, and eigenvectors, by Jacobi's method with parallel rotations (Golub and Van Loan, Matrix Computations, 8.5)."""
    n = a.shape[0]
    if n <= 1:
        return jnp.diagonal(a), jnp.ones_like(a)
    partners = jnp.asarray(np.tile(_rounds(n), (sweeps, 1)))
    own = jnp.arange(n)

    def rotate(state, partner):
        a, vectors = state
        pairs = (own[None, :] == partner[:, None]).astype(a.dtype)
        diagonal = jnp.diagonal(a)
        others = pairs @ diagonal
        cross = (a * pairs).sum(1)
        idle = (cross == 0) | (partner == own)
        first = own < partner
        theta = jnp.where(first, others - diagonal, diagonal - others) / jnp.where(idle, 1, 2 * cross)
        tangent = jnp.where(theta < 0, -1.0, 1.0).astype(a.dtype) / (jnp.abs(theta) + jnp.sqrt(theta * theta + 1))
        tangent = jnp.where(idle, 0, tangent)
        cosine = 1 / jnp.sqrt(tangent * tangent + 1)
        sine = jnp.where(first, tangent, -tangent) * cosine
        rotation = jnp.eye(n, dtype=a.dtype) * cosine[:, None] + jnp.where(idle[:, None], 0, pairs * sine[:, None])
        return (rotation.T @ a @ rotation, vectors @ rotation), None

    (a, vectors), _ = jax.lax.scan(rotate, ((a + a.T) / 2, jnp.eye(n, dtype=a.dtype)), partners)
    values = jnp.diagonal(a)
    order = jnp.argsort(values)
    return values[order], vectors[:, order]


@lowers("eigh")
def _eigh(g: Emitter, equation: Any, x: Operand) -> list[Operand]:
    p = equation.params
    if p.get("subset_by_index") is not None:
        raise g.unsupported("eigenvalues of a range of places have no form in ONNX")

    def decomposed(a):
        a = jnp.tril(a) + jnp.tril(a, -1).T if p["lower"] else jnp.triu(a) + jnp.triu(a, 1).T
        values, vectors = eigh(a.astype(jnp.float64))
        return vectors.astype(a.dtype), values.astype(a.dtype)

    return _traced(g, equation, decomposed, x)


def svd(a: Any, full: bool) -> tuple[Any, Any, Any]:
    """Singular values, left and right vectors: the right ones from the eigenvectors of a^T a in double precision, the left ones from a QR decomposition of a v."""
    if a.shape[0] < a.shape[1]:
        values, left, right = svd(a.T, full)
        return values, right.T, left.T
    n = a.shape[1]
    wide = a.astype(jnp.float64)
    _, vectors = eigh(wide.T @ wide)
    vectors = vectors[:, ::-1]
    left, upper = qr(wide @ vectors, full)
    values = jnp.diagonal(upper[:n])
    signs = jnp.where(values < 0, -1.0, 1.0)
    left = left * jnp.concatenate([signs, jnp.ones(left.shape[1] - n)])
    return jnp.abs(values).astype(a.dtype), left.astype(a.dtype), vectors.T.astype(a.dtype)


@lowers("svd")
def _svd(g: Emitter, equation: Any, x: Operand) -> list[Operand]:
    p = equation.params
    if p.get("subset_by_index") is not None:
        raise g.unsupported("singular values of a range of places have no form in ONNX")

    def decomposed(a):
        values, left, right = svd(a, p["full_matrices"])
        return (values, left, right) if p["compute_uv"] else (values,)

    outputs = _traced(g, equation, decomposed, x)
    return outputs if p["compute_uv"] else [outputs]
