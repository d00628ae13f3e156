"""Factorizations of matrices, by their names in `nr.linalg`: Cholesky, LU, LDL and QR.

Eigenvalues and singular values are in `spectral.py`, solvers, inverses and norms in `linalg.py`; the older names of `torch` itself, whose arguments differ, in `matrix.py`.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from .. import dtypes
from ..dispatch import Array, op
from ..errors import ArgumentError, AutogradError, DtypeError, LinAlgError, ShapeError
from ..tensor import Tensor
from .common import broadcast_shapes, numpy_names, strong
from .matmul import multiply

__all__: list[str] = []
NAMESPACE = [
    "cholesky", "cholesky_ex", "lu", "lu_factor", "lu_factor_ex", "lu_solve", "ldl_factor", "ldl_factor_ex", "ldl_solve", "qr", "householder_product",
]  # fmt: skip

# --- what the linear algebra shares --------------------------------------------------------------------------------


def matrices(A: Array, function: str, square: bool = False, name: str = "A") -> Array:
    """`A` as a stack of matrices of float32, float64, complex64 or complex128, or PyTorch's error."""
    A = strong(A)
    dtype = dtypes.from_numpy(A.dtype)
    if A.ndim < 2:
        raise ShapeError(f"{function}: The input tensor {name} must have at least 2 dimensions. Got shape {tuple(A.shape)}")
    if square and A.shape[-1] != A.shape[-2]:
        raise ShapeError(f"{function}: {name} must be batches of square matrices, but they are {A.shape[-2]} by {A.shape[-1]} matrices: shape {tuple(A.shape)}")
    if A.dtype.kind in "biu":
        raise DtypeError(f"{function}: Expected a floating point or complex tensor as input. Got {dtype}; write {name}.float()")
    if dtype.itemsize < 4:
        raise DtypeError(f"{function}: Low precision dtypes not supported. Got {dtype}; write {name}.float()")
    return A


def adjoint(x: Array) -> Array:
    """The conjugate transpose of matrices."""
    return jnp.conj(jnp.swapaxes(x, -1, -2))


def solve_triangle(A: Array, B: Array, lower: bool, unit: bool = False, adjoint_of_a: bool = False) -> Array:
    """`X` with ``A X = B`` (or ``A^H X = B``) for a triangular `A`, broadcasting over the batch."""
    batch = broadcast_shapes(A.shape[:-2], B.shape[:-2])
    A, B = (jnp.broadcast_to(x, batch + x.shape[-2:]) for x in (A, B))
    return lax.linalg.triangular_solve(A, B, left_side=True, lower=lower, unit_diagonal=unit, transpose_a=adjoint_of_a, conjugate_a=adjoint_of_a)


def raise_if_failed(info: Tensor, function: str, message: str, error: type[Exception] = LinAlgError) -> None:
    """Raise if an `info` tensor holds anything but zeros; `message` may name `{info}`. Under a transformation nothing is known yet, and nothing raised."""
    if isinstance(info._value, jax.core.Tracer):
        return
    codes = np.asarray(info._value)
    if codes.any():
        place = int(np.flatnonzero(codes)[0])
        batch = f"(Batch element {place}): " if codes.ndim else ""
        raise error(f"{function}: {batch}{message.format(info=int(codes.flat[place]))}")


def diagonal_of(x: Array) -> Array:
    """The diagonals of matrices."""
    return jnp.diagonal(x, axis1=-2, axis2=-1)


# --- Cholesky ------------------------------------------------------------------------------------------------------


class CholeskyResult(NamedTuple):
    """`L` and, for every matrix, 0 or the order of the first leading minor that is not positive-definite."""

    L: Tensor
    info: Tensor


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def hermitian_part_given(A: Array, upper: bool) -> Array:
    """The Hermitian matrix of which `A` holds one triangle. Its gradient is Hermitian, as in PyTorch."""
    half = jnp.triu(A, 1) if upper else jnp.tril(A, -1)
    return half + adjoint(half) + jnp.eye(A.shape[-1], dtype=A.dtype) * jnp.real(A)


@hermitian_part_given.defjvp
def _hermitian_jvp(upper, primals, tangents):
    (A,), (dA,) = primals, tangents
    return hermitian_part_given(A, upper), (dA + adjoint(dA)) / 2


def _first_bad_minor(A: Array) -> Array:
    """The order of the first leading minor of one Hermitian matrix that is not positive-definite, or 0."""
    n = A.shape[-1]

    def eliminate(k, state):
        A, found = state
        pivot = jnp.real(A[k, k])
        found = jnp.where((found == 0) & ~(pivot > 0), k + 1, found)
        column = jnp.where(jnp.arange(n) > k, A[:, k], 0)
        return A - column[:, None] * jnp.conj(column) / jnp.where(pivot > 0, pivot, 1), found

    return lax.fori_loop(0, n, eliminate, (A, jnp.int32(0)))[1]


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def _cholesky_factor(A: Array, upper: bool) -> Array:
    """The lower factor of the Hermitian matrix of which `A` holds one triangle, NaN where it has none."""
    return lax.linalg.cholesky(hermitian_part_given(A, upper), symmetrize_input=False)


@_cholesky_factor.defjvp
def _cholesky_jvp(upper, primals, tangents):
    (A,), (dA,) = primals, tangents
    L = _cholesky_factor(A, upper)
    half = solve_triangle(L, dA, lower=True)
    inner = adjoint(solve_triangle(L, adjoint(half), lower=True))
    # the diagonal is not made real: so is PyTorch's gradient of a complex matrix
    return L, L @ (jnp.tril(inner + adjoint(inner), -1) + jnp.eye(L.shape[-1], dtype=L.dtype) * inner) / 2


@op(name="linalg.cholesky_ex", method=False, keeps_vjp=True)
def cholesky_ex(A: Array, *, upper: bool = False, check_errors: bool = False) -> CholeskyResult:
    """The Cholesky factor and whether it exists, without an error.

    Args:
        A: Hermitian positive-definite matrices, of shape ``(..., n, n)``. Only the lower triangle is read (with `upper`, the upper).
        upper: return the upper-triangular factor `U` with ``A = U^H U``.
        check_errors: not supported here; `cholesky` raises.

    Returns:
        A namedtuple `(L, info)`; `info` is an int32 tensor, 0 where `L` is a factor, otherwise the order of the first leading minor that is not
        positive-definite, with `L` NaN.
    """
    A = matrices(A, "linalg.cholesky", square=True)
    batch, n = A.shape[:-2], A.shape[-1]
    if not A.size:
        return CholeskyResult(A, jnp.zeros(batch, jnp.int32))
    L = _cholesky_factor(A, upper)
    failed = jnp.any(jnp.isnan(diagonal_of(L)), -1)
    flat = lax.stop_gradient(hermitian_part_given(A, upper)).reshape((-1, n, n))
    minors = lax.cond(jnp.any(failed), lambda: jax.vmap(_first_bad_minor)(flat), lambda: jnp.zeros(flat.shape[:1], jnp.int32))
    return CholeskyResult(adjoint(L) if upper else L, jnp.where(failed, minors.reshape(batch), 0))


NOT_POSITIVE_DEFINITE = (
    "The factorization could not be completed because the input is not positive-definite (the leading minor of order {info} is not positive-definite)."
)


@numpy_names
def cholesky(A, *, upper: bool = False):
    """The Cholesky factor of Hermitian positive-definite matrices: the lower-triangular `L` with ``A = L L^H``.

    Args:
        A: matrices of shape ``(..., n, n)``. Only the lower triangle is read (with `upper`, the upper).
        upper: return the upper-triangular factor `U` with ``A = U^H U`` instead.

    Raises:
        RuntimeError: a matrix is not positive-definite (`LinAlgError`). Under `nr.jit` and other transformations it gives NaN instead.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.linalg.cholesky(nr.tensor([[4.0, 2.0], [2.0, 5.0]]))
        tensor([[2., 0.],
                [1., 2.]])
    """
    L, info = cholesky_ex(A, upper=upper)
    raise_if_failed(info, "linalg.cholesky", NOT_POSITIVE_DEFINITE)
    return L


# --- LU ------------------------------------------------------------------------------------------------------------


class LUFactors(NamedTuple):
    """`L` (its unit diagonal left out) and `U` in one matrix, and the rows that were exchanged, counted from 1."""

    LU: Tensor
    pivots: Tensor


class LUFactorsAndInfo(NamedTuple):
    """As `LUFactors`, and 0 or the place of the first zero on the diagonal of `U`, counted from 1."""

    LU: Tensor
    pivots: Tensor
    info: Tensor


class LUResult(NamedTuple):
    """``A = P L U``."""

    P: Tensor
    L: Tensor
    U: Tensor


def check_pivot(function: str, pivot: bool) -> None:
    """Raise unless rows may be exchanged."""
    if not pivot:
        raise ArgumentError(f"{function}: LU without pivoting is not implemented; leave pivot=True")


def first_zero(diagonal: Array) -> Array:
    """The place, counted from 1, of the first zero along the last dimension, or 0."""
    zero = lax.stop_gradient(diagonal) == 0
    if not zero.shape[-1]:
        return jnp.zeros(zero.shape[:-1], jnp.int32)
    return jnp.where(jnp.any(zero, -1), lax.argmax(zero, zero.ndim - 1, np.int32) + 1, jnp.int32(0))


@op(name="linalg.lu_factor_ex", method=False, keeps_vjp=True)
def lu_factor_ex(A: Array, *, pivot: bool = True, check_errors: bool = False) -> LUFactorsAndInfo:
    """As `lu_factor`, with a third field `info` instead of an error: 0, or the place of the first zero on the diagonal of `U`, counted from 1."""
    check_pivot("linalg.lu_factor_ex", pivot)
    LU, pivots, _ = lax.linalg.lu(matrices(A, "linalg.lu_factor"))
    return LUFactorsAndInfo(LU, pivots.astype(jnp.int32) + 1, first_zero(diagonal_of(LU)))


@numpy_names
def lu_factor(A, *, pivot: bool = True):
    """A compact form of the LU factorization with exchanged rows, for `lu_solve`.

    Args:
        A: matrices of shape ``(..., m, n)``.
        pivot: exchange rows for stability; must be true.

    Returns:
        A namedtuple `(LU, pivots)`: both factors in one matrix, and for every row the one that it was exchanged with, int32, counted from 1.

    Raises:
        RuntimeError: `U` has a zero on its diagonal.
    """
    LU, pivots, info = lu_factor_ex(A, pivot=pivot)
    raise_if_failed(
        info,
        "torch.linalg.lu_factor",
        "U[{info},{info}] is zero and using it on lu_solve would result in a division by zero. "
        "If you still want to perform the factorization, consider calling linalg.lu(A, pivot) or linalg.lu_factor_ex(A, pivot)",
    )
    return LUFactors(LU, pivots)


def permutation_matrix(permutation: Array, dtype) -> Array:
    """`P` with ``P[permutation[i], i] = 1``."""
    rows = jnp.arange(permutation.shape[-1], dtype=permutation.dtype)
    return (rows[:, None] == permutation[..., None, :]).astype(dtype)


def unpack_lu(LU: Array) -> tuple[Array, Array]:
    """`L` and `U` of the compact form."""
    m, n = LU.shape[-2:]
    k = min(m, n)
    return jnp.tril(LU[..., :, :k], -1) + jnp.eye(m, k, dtype=LU.dtype), jnp.triu(LU[..., :k, :])


@op(name="linalg.lu", method=False, keeps_vjp=True)
def lu(A: Array, *, pivot: bool = True) -> LUResult:
    """The LU factorization with exchanged rows, ``A = P L U``.

    Args:
        A: matrices of shape ``(..., m, n)``.
        pivot: exchange rows for stability; must be true.

    Returns:
        A namedtuple `(P, L, U)`: a permutation, a lower-triangular matrix with ones on the diagonal, and an upper-triangular one.
    """
    check_pivot("linalg.lu", pivot)
    A = matrices(A, "linalg.lu")
    LU, _, permutation = lax.linalg.lu(A)
    return LUResult(permutation_matrix(permutation, A.dtype), *unpack_lu(LU))


def permutation_of(pivots: Array, size: int) -> Array:
    """The permutation that a sequence of exchanges (counted from 1) makes."""
    if not pivots.size:
        return jnp.broadcast_to(jnp.arange(size, dtype=jnp.int32), (*pivots.shape[:-1], size))
    return lax.linalg.lu_pivots_to_permutation(pivots.astype(jnp.int32) - 1, size)


@op(name="linalg.lu_solve", method=False)
def lu_solve(LU: Array, pivots: Array, B: Array, *, left: bool = True, adjoint: bool = False) -> Array:
    """The solution `X` of ``A X = B``, given what `lu_factor` made of `A`.

    Args:
        LU, pivots: the factors, of shapes ``(..., n, n)`` and ``(..., n)``.
        B: right-hand sides, of shape ``(..., n, k)``; with ``left=False`` ``(..., k, n)``.
        left: solve ``A X = B``; otherwise ``X A = B``.
        adjoint: solve for the conjugate transpose of `A`.
    """
    LU, B = matrices(LU, "linalg.lu_solve", square=True, name="LU"), matrices(B, "linalg.lu_solve", name="B")
    _same_dtype("linalg.lu_solve", LU, B, "LU")
    if pivots.dtype != jnp.int32:
        raise DtypeError(f"linalg.lu_solve: pivots should be a Tensor of scalar type torch.int32, got {dtypes.from_numpy(pivots.dtype)}; write pivots.int()")
    if LU.shape[:-1] != pivots.shape:
        raise ShapeError(f"linalg.lu_solve: Number of pivots per batch should be same as the dimension of the matrix: {LU.shape} and {pivots.shape}")
    check_system("linalg.lu_solve", LU, B, left)
    return solve_with_lu(LU, permutation_of(pivots, LU.shape[-1]), B, left, adjoint)


def solve_with_lu(LU: Array, permutation: Array, B: Array, left: bool = True, of_adjoint: bool = False) -> Array:
    """`X` with ``A X = B``, ``A^H X = B``, ``X A = B`` or ``X A^H = B``, broadcasting over the batch."""
    if not left:
        return adjoint(solve_with_lu(LU, permutation, adjoint(B), True, not of_adjoint))
    n = LU.shape[-1]
    batch = broadcast_shapes(LU.shape[:-2], B.shape[:-2])
    permutation = jnp.broadcast_to(permutation, (*batch, n))[..., None]
    B = jnp.broadcast_to(B, batch + B.shape[-2:])
    if not of_adjoint:
        B = jnp.take_along_axis(B, permutation, -2)
        return solve_triangle(LU, solve_triangle(LU, B, lower=True, unit=True), lower=False)
    B = solve_triangle(LU, solve_triangle(LU, B, lower=False, adjoint_of_a=True), lower=True, unit=True, adjoint_of_a=True)
    return jnp.take_along_axis(B, jnp.argsort(permutation, -2), -2)


def _same_dtype(function: str, A: Array, B: Array, name: str = "A") -> None:
    if A.dtype != B.dtype:
        a, b = dtypes.from_numpy(A.dtype), dtypes.from_numpy(B.dtype)
        raise DtypeError(f"{function}: Expected {name} and B to have the same dtype, but found {name} of type {a} and B of type {b}; write B.to(nr.{a.name})")


def check_system(function: str, A: Array, B: Array, left: bool) -> None:
    """Raise if the shapes of ``A X = B`` (or ``X A = B``) or their batches do not fit."""
    if A.shape[-1] != B.shape[-2 if left else -1]:
        equation = "AX = B" if left else "XA = B"
        sizes = f"{A.shape[-2]}x{A.shape[-1]} and {B.shape[-2]}x{B.shape[-1]}"
        raise ShapeError(f"{function}: Incompatible shapes of A and B for the equation {equation} ({sizes})")
    broadcast_shapes(A.shape[:-2], B.shape[:-2])


# --- LDL -----------------------------------------------------------------------------------------------------------


class LDLFactors(NamedTuple):
    """`L` and `D` in one matrix, and the rows that were exchanged, in LAPACK's form."""

    LD: Tensor
    pivots: Tensor


class LDLFactorsAndInfo(NamedTuple):
    """As `LDLFactors`, and 0 or the place of the first zero block of `D`, counted from 1."""

    LD: Tensor
    pivots: Tensor
    info: Tensor


def _swap(x: Array, i: Array, j: Array) -> Array:
    """`x` with the rows `i` and `j` exchanged."""
    row_i, row_j = x[i], x[j]
    return x.at[i].set(row_j).at[j].set(row_i)


def _ldl(A: Array, hermitian: bool) -> tuple[Array, Array, Array]:
    """Bunch and Kaufman's factorization of one matrix, lower triangle: LAPACK's `sytf2` and `hetf2`, on the full symmetric matrix.

    Source: https://netlib.org/lapack/explore-html/d8/d84/dsytf2_8f.html
    """
    n = A.shape[-1]
    index = jnp.arange(n, dtype=jnp.int32)
    real = jnp.real(A).dtype
    alpha = jnp.asarray((1 + 17**0.5) / 8, real)
    conj = jnp.conj if hermitian else (lambda x: x)
    size = (lambda x: jnp.abs(x)) if A.dtype.kind == "f" else (lambda x: jnp.abs(jnp.real(x)) + jnp.abs(jnp.imag(x)))  # LAPACK's cabs1

    def step(state):
        A, LD, pivots, info, k = state
        below = jnp.where(index > k, size(A[:, k]), -1)
        row = lax.argmax(below, 0, np.int32)
        column_max = jnp.where(k < n - 1, below[row], 0)
        diagonal = size(jnp.real(A[k, k]) if hermitian else A[k, k])
        zero = jnp.maximum(diagonal, column_max) == 0
        row_max = jnp.max(jnp.where((index >= k) & (index != row), size(A[row]), 0))
        corner = size(jnp.real(A[row, row]) if hermitian else A[row, row])
        plain = zero | (diagonal >= alpha * column_max) | (diagonal * row_max >= alpha * column_max * column_max)
        single = plain | (corner >= alpha * row_max)
        exchanged = jnp.where(plain, k, row)
        first = jnp.where(single, k, k + 1)  # the row that changes places with `exchanged`

        A = _swap(_swap(A, first, exchanged).T, first, exchanged).T
        second = jnp.minimum(k + 1, n - 1)
        rest = index > jnp.where(single, k, k + 1)
        pivot = jnp.real(A[k, k]).astype(A.dtype) if hermitian else A[k, k]
        safe = jnp.where(zero, 1, pivot)
        l1 = jnp.where(rest & ~zero, A[:, k] / safe, 0)
        rank1 = l1[:, None] * conj(l1)[None, :] * safe

        d11, d21, d22 = A[k, k], A[second, k], A[second, second]
        if hermitian:
            d11, d22 = jnp.real(d11).astype(A.dtype), jnp.real(d22).astype(A.dtype)
        determinant = d11 * d22 - d21 * conj(d21)
        determinant = jnp.where(single | (determinant == 0), 1, determinant)
        w1, w2 = jnp.where(rest, A[:, k], 0), jnp.where(rest, A[:, second], 0)  # [w1 w2] = L [d11 conj(d21); d21 d22]
        m1 = (w1 * d22 - w2 * d21) / determinant
        m2 = (w2 * d11 - w1 * conj(d21)) / determinant
        rank2 = m1[:, None] * conj(w1)[None, :] + m2[:, None] * conj(w2)[None, :]

        trailing = rest[:, None] & rest[None, :]
        column1 = jnp.where(index == k, d11, jnp.where(single, l1, jnp.where(index == second, d21, m1)))
        column2 = jnp.where(index == second, d22, m2)
        LD = LD.at[:, k].set(jnp.where(index >= k, column1, 0))
        LD = LD.at[:, second].set(jnp.where(single, LD[:, second], jnp.where(index >= second, column2, 0)))
        A = A - jnp.where(trailing, jnp.where(single, rank1, rank2), 0)
        pivots = pivots.at[k].set(jnp.where(single, exchanged + 1, -(exchanged + 1)))
        pivots = pivots.at[second].set(jnp.where(single, pivots[second], -(exchanged + 1)))
        info = jnp.where(zero & (info == 0), k + 1, info)
        return A, LD, pivots, info, jnp.where(single, k + 1, k + 2).astype(jnp.int32)

    start = (A, jnp.zeros_like(A), jnp.zeros(n, jnp.int32), jnp.int32(0), jnp.int32(0))
    _, LD, pivots, info, _ = lax.while_loop(lambda state: state[-1] < n, step, start)
    return LD, pivots, info


@op(name="linalg.ldl_factor_ex", method=False)
def ldl_factor_ex(A: Array, *, hermitian: bool = False, check_errors: bool = False) -> LDLFactorsAndInfo:
    """As `ldl_factor`, with a third field `info` instead of an error: 0, or the place of the first zero block of `D`, counted from 1."""
    A = matrices(A, "torch.linalg.ldl_factor_ex", square=True)
    hermitian = hermitian and A.dtype.kind == "c"
    batch, n = A.shape[:-2], A.shape[-1]
    lower = jnp.tril(A, -1)
    A = lower + (adjoint(lower) if hermitian else jnp.swapaxes(lower, -1, -2)) + jnp.eye(n, dtype=A.dtype) * A
    if not A.size:
        return LDLFactorsAndInfo(A, jnp.zeros((*batch, n), jnp.int32), jnp.zeros(batch, jnp.int32))
    LD, pivots, info = jax.vmap(functools.partial(_ldl, hermitian=hermitian))(lax.stop_gradient(A).reshape((-1, n, n)))
    return LDLFactorsAndInfo(LD.reshape(A.shape), pivots.reshape((*batch, n)), info.reshape(batch))


@numpy_names
def ldl_factor(A, *, hermitian: bool = False):
    """A compact form of the LDL factorization of symmetric or Hermitian matrices, for `ldl_solve`. No gradient flows through it.

    Args:
        A: matrices of shape ``(..., n, n)``. Only the lower triangle is read.
        hermitian: complex matrices are Hermitian rather than symmetric.

    Returns:
        A namedtuple `(LD, pivots)` in the form of LAPACK's `sytrf` and `hetrf`.
    """
    LD, pivots, info = ldl_factor_ex(A, hermitian=hermitian)
    raise_if_failed(
        info, "torch.linalg.ldl_factor", "D[{info},{info}] is zero, so that the factors solve nothing; linalg.ldl_factor_ex returns them all the same."
    )
    return LDLFactors(LD, pivots)


def _ldl_solve(LD: Array, pivots: Array, B: Array, hermitian: bool) -> Array:
    """LAPACK's `sytrs` and `hetrs` for one matrix, column after column."""
    n = LD.shape[-1]
    index = jnp.arange(n, dtype=jnp.int32)
    conj = jnp.conj if hermitian else (lambda x: x)

    # which columns begin a block of two: the first, third ... of a run of negative pivots
    def mark(begun, pivot):
        begins = (pivot < 0) & ~begun
        return begins, begins

    begins = lax.scan(mark, jnp.zeros((), bool), pivots)[1]
    ends = jnp.concatenate([jnp.zeros(1, bool), begins[:-1]])
    exchange = jnp.abs(pivots) - 1

    def forward(B, k):  # B := inv(L_k) P_k B
        double, second = begins[k], jnp.minimum(k + 1, n - 1)
        swapped = _swap(B, jnp.where(double, second, k), exchange[k])
        l1 = jnp.where(index > jnp.where(double, second, k), LD[:, k], 0)
        l2 = jnp.where((index > second) & double, LD[:, second], 0)
        return jnp.where(ends[k], B, swapped - l1[:, None] * swapped[k] - l2[:, None] * swapped[second]), None

    B = lax.scan(forward, B, index)[0]
    below = jnp.append(_diagonal_below(LD), jnp.zeros(1, LD.dtype))
    diagonal = jnp.diagonal(LD)
    if hermitian:
        diagonal = jnp.real(diagonal).astype(LD.dtype)
    following = jnp.minimum(index + 1, n - 1)
    d11, d21, d22 = diagonal, below, diagonal[following]
    determinant = jnp.where(begins, d11 * d22 - d21 * conj(d21), 1)[:, None]
    after = B[following]
    upper = (d22[:, None] * B - conj(d21)[:, None] * after) / determinant
    lower = (d11[:, None] * after - d21[:, None] * B) / determinant
    B = jnp.where(begins[:, None], upper, jnp.where(ends[:, None], jnp.roll(lower, 1, 0), B / jnp.where(begins | ends, 1, diagonal)[:, None]))

    def backward(B, k):  # B := P_k^T inv(L_k^T) B
        double, second = begins[k], jnp.minimum(k + 1, n - 1)
        l1 = jnp.where(index > jnp.where(double, second, k), LD[:, k], 0)
        l2 = jnp.where((index > second) & double, LD[:, second], 0)
        row1, row2 = conj(l1) @ B, conj(l2) @ B
        solved = B.at[k].add(-row1)
        solved = solved.at[second].add(jnp.where(double, -row2, 0))
        return jnp.where(ends[k], B, _swap(solved, jnp.where(double, second, k), exchange[k])), None

    return lax.scan(backward, B, index, reverse=True)[0]


def _diagonal_below(A: Array) -> Array:
    return jnp.diagonal(A, -1)


@op(name="linalg.ldl_solve", method=False, keeps_vjp=True)
def ldl_solve(LD: Array, pivots: Array, B: Array, *, hermitian: bool = False) -> Array:
    """The solution `X` of ``A X = B``, given what `ldl_factor` made of `A`.

    Args:
        LD, pivots: the factors, of shapes ``(..., n, n)`` and ``(..., n)``.
        B: right-hand sides, of shape ``(..., n, k)``.
        hermitian: as given to `ldl_factor`.
    """
    LD, B = matrices(LD, "torch.linalg.ldl_solve", square=True, name="LD"), matrices(B, "torch.linalg.ldl_solve", name="B")
    _same_dtype("torch.linalg.ldl_solve", LD, B, "LD")
    if pivots.dtype.kind not in "iu":
        raise DtypeError(f"torch.linalg.ldl_solve: Expected pivots to be integers. Got {dtypes.from_numpy(pivots.dtype)}")
    if LD.shape[:-1] != pivots.shape:
        raise ShapeError(f"torch.linalg.ldl_solve: Expected LD.shape[:-1] and pivots.shape to be the same, but got {LD.shape[:-1]} and {pivots.shape}")
    check_system("torch.linalg.ldl_solve", LD, B, True)
    batch = broadcast_shapes(LD.shape[:-2], B.shape[:-2])
    n, k = B.shape[-2:]
    if 0 in (*batch, n, k):
        return jnp.zeros((*batch, n, k), B.dtype)
    LD = jnp.broadcast_to(LD, (*batch, n, n)).reshape((-1, n, n))
    pivots = jnp.broadcast_to(pivots.astype(jnp.int32), (*batch, n)).reshape((-1, n))
    flat = jnp.broadcast_to(B, (*batch, n, k)).reshape((-1, n, k))
    solve = functools.partial(_ldl_solve, hermitian=hermitian and LD.dtype.kind == "c")
    return jax.vmap(solve)(LD, pivots, flat).reshape((*batch, n, k))


# --- QR ------------------------------------------------------------------------------------------------------------


class QRResult(NamedTuple):
    """``A = Q R``."""

    Q: Tensor
    R: Tensor


@jax.custom_jvp
def _complete_qr(A: Array) -> tuple[Array, Array]:
    return lax.linalg.qr(A, full_matrices=True)


@_complete_qr.defjvp
def _complete_qr_jvp(primals, tangents):
    raise AutogradError(
        "The QR decomposition is not differentiable when mode='complete' and nrows > ncols: the last columns of Q are arbitrary; write mode='reduced'"
    )


def qr_factors(A: Array, complete: bool) -> tuple[Array, Array]:
    """`Q` and `R` with gradients: those of wide matrices come from their left square."""
    m, n = A.shape[-2:]
    if m >= n:
        return _complete_qr(A) if complete and m > n else lax.linalg.qr(A, full_matrices=False)
    Q, R = lax.linalg.qr(A[..., :m], full_matrices=False)
    return Q, jnp.concatenate([R, multiply(adjoint(Q), A[..., m:])], -1)


@op(name="linalg.qr", method=False, keeps_vjp=True)
def qr(A: Array, mode: str = "reduced") -> QRResult:
    """The QR decomposition ``A = Q R`` into a matrix of orthonormal columns and an upper-triangular one.

    Args:
        A: matrices of shape ``(..., m, n)``.
        mode: `"reduced"` gives shapes ``(..., m, k)`` and ``(..., k, n)`` with ``k = min(m, n)``; `"complete"` ``(..., m, m)`` and ``(..., m, n)``;
            `"r"` the `R` of `"reduced"`, and an empty `Q`.

    Returns:
        A namedtuple `(Q, R)`.

    Examples:
        >>> import neurarust_jax as nr
        >>> A = nr.tensor([[3.0, 1.0], [4.0, 2.0]])
        >>> Q, R = nr.linalg.qr(A)
        >>> nr.allclose(Q @ R, A)
        True
    """
    A = matrices(A, "linalg.qr")
    if mode not in ("reduced", "complete", "r"):
        raise ArgumentError(f"qr received unrecognized mode '{mode}' but expected one of 'reduced' (default), 'r', or 'complete'")
    Q, R = qr_factors(A, mode == "complete")
    return QRResult(jnp.zeros(0, A.dtype), R) if mode == "r" else QRResult(Q, R)


def apply_reflectors(A: Array, tau: Array, C: Array, of_adjoint: bool = False) -> Array:
    """``Q C`` or ``Q^H C`` for the product `Q` of the Householder reflectors that `A` and `tau` hold, one after the other."""
    m, k = A.shape[-2], tau.shape[-1]
    if not k or not C.size:
        return C
    vectors = jnp.tril(A[..., :k], -1) + jnp.eye(m, k, dtype=A.dtype)

    def reflect(C, reflector):
        v, t = reflector
        return C - (t * v)[..., None] * jnp.sum(jnp.conj(v)[..., None] * C, -2, keepdims=True), None

    reflectors = jnp.moveaxis(vectors, -1, 0), jnp.moveaxis(jnp.conj(tau) if of_adjoint else tau, -1, 0)[..., None]
    return lax.scan(reflect, C, reflectors, reverse=not of_adjoint)[0]


def _explicit_product(A: Array, tau: Array) -> Array:
    return apply_reflectors(A, tau, jnp.broadcast_to(jnp.eye(*A.shape[-2:], dtype=A.dtype), A.shape))


@jax.custom_jvp
def product_of_reflectors(A: Array, tau: Array) -> Array:
    """The first columns of the product of Householder reflectors."""
    return lax.linalg.householder_product(A, tau)


@product_of_reflectors.defjvp
def _product_of_reflectors_jvp(primals, tangents):
    return jax.jvp(_explicit_product, primals, tangents)


def check_reflectors(function: str, A: Array, tau: Array, name: str = "A") -> tuple[Array, Array]:
    """The reflectors, or PyTorch's errors about their shapes."""
    A, tau = matrices(A, function, name=name), strong(tau)
    m, n = A.shape[-2:]
    if m < n:
        raise ShapeError(f"{function}: {name}.shape[-2] must be greater than or equal to {name}.shape[-1]: {name} is {m} by {n}")
    if tau.shape[-1:] > (n,) or tau.ndim != A.ndim - 1:
        raise ShapeError(f"{function}: {name}.shape[-1] must be greater than or equal to tau.shape[-1], with one dimension less: {A.shape} and {tau.shape}")
    if tau.shape[:-1] != A.shape[:-2]:
        raise ShapeError(f"{function}: Expected batch dimensions of tau to be equal to {name}.shape[:-2]: {A.shape} and {tau.shape}")
    if tau.dtype != A.dtype:
        raise DtypeError(f"{function}: tau dtype {tau.dtype} does not match input dtype {A.dtype}; write tau.to({name}.dtype)")
    return A, tau


@op(name="linalg.householder_product", method=("orgqr",), keeps_vjp=True)
def householder_product(input: Array, tau: Array) -> Array:
    """The first `n` columns of a product of Householder reflectors, as `geqrf` makes them.

    Args:
        input: matrices of shape ``(..., m, n)`` whose columns below the diagonal are the reflectors' vectors.
        tau: their factors, of shape ``(..., k)`` with ``k <= n``.
    """
    return product_of_reflectors(*check_reflectors("torch.linalg.householder_product", input, tau, "input"))
