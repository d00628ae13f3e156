"""The names of linear algebra in `nr` itself. Some are those of `nr.linalg`; the older ones (`cholesky`, `qr`, `svd`, `lu`, ...) take other arguments."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from ..dispatch import Array, op
from ..errors import DtypeError, ShapeError
from ..tensor import Tensor, attach
from . import factorization, linalg, spectral
from .common import is_inexact, numpy_names, refuse, strong, wrap_dim, wrap_dims
from .factorization import (
    LUFactors,
    LUFactorsAndInfo,
    LUResult,
    QRResult,
    adjoint,
    apply_reflectors,
    check_system,
    matrices,
    permutation_matrix,
    permutation_of,
    raise_if_failed,
    solve_triangle,
    unpack_lu,
)  # fmt: skip
from .matmul import multiply
from .moments import vector_norm

__all__ = [
    "det", "slogdet", "logdet", "inverse", "pinverse", "matrix_power", "matrix_exp", "cholesky", "cholesky_inverse", "cholesky_solve", "lu", "lu_solve",
    "lu_unpack", "triangular_solve", "qr", "geqrf", "orgqr", "ormqr", "svd", "trace", "renorm", "frobenius_norm", "nuclear_norm", "norm_except_dim",
]  # fmt: skip

# --- determinants, inverses, powers --------------------------------------------------------------------------------


@numpy_names
def det(input):
    """The determinant of square matrices. See `nr.linalg.det`."""
    return linalg.det(input)


@numpy_names
def slogdet(input):
    """The sign of the determinant and the logarithm of its absolute value. See `nr.linalg.slogdet`."""
    return linalg.slogdet(input)


@op(keeps_vjp=True)
def logdet(input: Array) -> Array:
    """The logarithm of the determinant of square matrices: ``-inf`` where it is 0, NaN where it is negative."""
    sign, logabsdet = jnp.linalg.slogdet(matrices(input, "logdet", square=True))
    if sign.dtype.kind == "c":
        return jnp.log(sign) + logabsdet
    return jnp.where(sign == -1, jnp.nan, logabsdet)


@numpy_names
def inverse(input):
    """The inverse of square matrices. See `nr.linalg.inv`."""
    return linalg.inv(input)


@numpy_names
def pinverse(input, rcond: float = 1e-15):
    """The pseudoinverse of matrices. See `nr.linalg.pinv`, whose default for the smallest singular value that counts is safer."""
    return linalg.pinv(input, rcond)


@numpy_names
def matrix_power(input, n: int):
    """The `n`-th power of square matrices. See `nr.linalg.matrix_power`."""
    return linalg.matrix_power(input, n)


@numpy_names
def matrix_exp(input):
    """The exponential of square matrices. See `nr.linalg.matrix_exp`."""
    return linalg.matrix_exp(input)


# --- Cholesky ------------------------------------------------------------------------------------------------------


@numpy_names
def cholesky(input, upper: bool = False):
    """The Cholesky factor of Hermitian positive-definite matrices. See `nr.linalg.cholesky`.

    Args:
        input: matrices of shape ``(..., n, n)``.
        upper: return `U` with ``input = U^H U`` instead of `L` with ``input = L L^H``.

    Raises:
        RuntimeError: a matrix is not positive-definite.
    """
    L, info = factorization.cholesky_ex(input, upper=upper)
    raise_if_failed(info, "cholesky", factorization.NOT_POSITIVE_DEFINITE)
    return L


@op(keeps_vjp=True)
def cholesky_inverse(L: Array, upper: bool = False) -> Array:
    """The inverse of a matrix, given its Cholesky factor.

    Args:
        L: lower-triangular factors of shape ``(..., n, n)``; only that triangle is read.
        upper: the factor is upper-triangular.
    """
    L = matrices(L, "cholesky_inverse", square=True)
    return _solve_by_factor(L, jnp.broadcast_to(jnp.eye(L.shape[-1], dtype=L.dtype), L.shape), upper)


@functools.partial(jax.custom_jvp, nondiff_argnums=(2,))
def _solve_by_factor(L: Array, B: Array, upper: bool) -> Array:
    """`X` with ``L L^H X = B``. Its gradient treats `L` as a whole matrix that happens to be triangular, as PyTorch does."""
    half = solve_triangle(L, B, lower=not upper, adjoint_of_a=upper)
    return solve_triangle(L, half, lower=not upper, adjoint_of_a=not upper)


@_solve_by_factor.defjvp
def _(upper, primals, tangents):
    (L, B), (dL, dB) = primals, tangents
    X = _solve_by_factor(L, B, upper)
    half = multiply(adjoint(L), dL) if upper else multiply(dL, adjoint(L))
    return X, _solve_by_factor(L, dB - multiply(half + adjoint(half), X), upper)


@op
def cholesky_solve(input: Array, L: Array, upper: bool = False) -> Array:
    """The solution `X` of ``A X = B``, given the Cholesky factor of `A`.

    Args:
        input: `B`, right-hand sides of shape ``(..., n, k)``.
        L: lower-triangular factors of shape ``(..., n, n)``; only that triangle is read.
        upper: the factor is upper-triangular.
    """
    B, L = matrices(input, "cholesky_solve", name="b"), matrices(L, "cholesky_solve", square=True, name="u")
    if B.dtype != L.dtype:
        raise DtypeError(f"cholesky_solve: Expected b and A to have the same dtype, but got {B.dtype} and {L.dtype}; write L.to(B.dtype)")
    check_system("cholesky_solve", L, B, True)
    return _solve_by_factor(L, B, upper)


# --- LU, triangular systems ----------------------------------------------------------------------------------------


@numpy_names
def lu(input, pivot: bool = True, get_infos: bool = False):
    """A compact form of the LU factorization with exchanged rows. See `nr.linalg.lu_factor`.

    Args:
        input: matrices of shape ``(..., m, n)``.
        pivot: exchange rows for stability; must be true.
        get_infos: also return, for every matrix, 0 or the place of the first zero on the diagonal of `U`, instead of an error.

    Returns:
        `(LU, pivots)` or `(LU, pivots, infos)`.
    """
    if get_infos:
        return LUFactorsAndInfo(*factorization.lu_factor_ex(input, pivot=pivot))
    return LUFactors(*factorization.lu_factor(input, pivot=pivot))


@numpy_names
def lu_solve(b, LU_data, LU_pivots):
    """The solution `X` of ``A X = b``, given what `lu` made of `A`. See `nr.linalg.lu_solve`."""
    return factorization.lu_solve(LU_data, LU_pivots, b)


@op(keeps_vjp=True)
def lu_unpack(LU_data: Array, LU_pivots: Array, unpack_data: bool = True, unpack_pivots: bool = True) -> LUResult:
    """The factors `P`, `L` and `U` of the compact form that `lu` makes.

    Args:
        LU_data: the factors in one matrix, of shape ``(..., m, n)``.
        LU_pivots: the exchanged rows, int32, counted from 1.
        unpack_data: whether to return `L` and `U`; otherwise they are empty.
        unpack_pivots: whether to return `P`; otherwise it is empty.

    Returns:
        A namedtuple `(P, L, U)`.
    """
    LU_data = strong(LU_data)
    if unpack_pivots and LU_pivots.dtype != jnp.int32:
        raise DtypeError(f"torch.lu_unpack: LU_pivots is expected to be a contiguous tensor of torch.int32 dtype, got {LU_pivots.dtype}; write LU_pivots.int()")
    if LU_data.ndim < 2:
        raise ShapeError(f"torch.lu_unpack: The input tensor LU_data must have at least 2 dimensions. Got shape {tuple(LU_data.shape)}")
    empty = jnp.zeros(0, LU_data.dtype)
    L, U = unpack_lu(LU_data) if unpack_data else (empty, empty)
    P = permutation_matrix(permutation_of(LU_pivots, LU_data.shape[-2]), LU_data.dtype) if unpack_pivots else empty
    return LUResult(P, L, U)


class TriangularSolveResult(NamedTuple):
    """The solution, and the matrix that was given."""

    solution: Tensor
    cloned_coefficient: Tensor


@op
def triangular_solve(b: Array, A: Array, upper: bool = True, transpose: bool = False, unitriangular: bool = False) -> TriangularSolveResult:
    """The solution `X` of ``A X = b`` for a triangular `A`. `nr.linalg.solve_triangular` is its successor.

    Args:
        b: right-hand sides of shape ``(..., n, k)``.
        A: matrices of shape ``(..., n, n)``.
        upper: whether `A` is upper-triangular.
        transpose: solve for the conjugate transpose of `A`.
        unitriangular: the diagonal of `A` is taken as ones.

    Returns:
        A namedtuple `(solution, cloned_coefficient)`.
    """
    b, A = matrices(b, "triangular_solve", name="b"), matrices(A, "triangular_solve", square=True)
    if b.dtype != A.dtype:
        raise DtypeError(f"triangular_solve: Expected b and A to have the same dtype, but found b of type {b.dtype} and A of type {A.dtype}")
    check_system("triangular_solve", A, b, True)
    batch = jnp.broadcast_shapes(A.shape[:-2], b.shape[:-2])
    return TriangularSolveResult(solve_triangle(A, b, not upper, unitriangular, transpose), jnp.broadcast_to(A, batch + A.shape[-2:]))


# --- QR, singular values -------------------------------------------------------------------------------------------


@numpy_names
def qr(input, some: bool = True):
    """The QR decomposition. See `nr.linalg.qr`.

    Args:
        input: matrices of shape ``(..., m, n)``.
        some: return the reduced form, otherwise the complete one.
    """
    return QRResult(*factorization.qr(input, "reduced" if some else "complete"))


class GeqrfResult(NamedTuple):
    """`R` on and above the diagonal, the Householder vectors below it, and their factors."""

    a: Tensor
    tau: Tensor


@op
def geqrf(input: Array) -> GeqrfResult:
    """The QR decomposition in LAPACK's compact form, for `ormqr` and `nr.linalg.householder_product`.

    Args:
        input: matrices of shape ``(..., m, n)``.

    Returns:
        A namedtuple `(a, tau)`.
    """
    input = matrices(input, "geqrf", name="input")
    m, n = input.shape[-2:]
    if not input.size:
        return GeqrfResult(input, jnp.zeros((*input.shape[:-2], min(m, n)), input.dtype))
    packed, tau = jnp.linalg.qr(input, mode="raw")
    return GeqrfResult(jnp.swapaxes(packed, -1, -2), tau)


@numpy_names
def orgqr(input, tau):
    """The first columns of a product of Householder reflectors. See `nr.linalg.householder_product`."""
    return factorization.householder_product(input, tau)


@op(keeps_vjp=True)
def ormqr(input: Array, tau: Array, other: Array, left: bool = True, transpose: bool = False) -> Array:
    """The product of the matrix `Q` that Householder reflectors make, of shape ``(..., m, m)``, with another.

    Args:
        input: the reflectors' vectors below the diagonal, of shape ``(..., m, k)``, as `geqrf` makes them.
        tau: their factors, of shape ``(..., k)``.
        other: matrices of shape ``(..., m, n)``; with ``left=False`` ``(..., n, m)``.
        left: ``Q other``; otherwise ``other Q``.
        transpose: use the conjugate transpose of `Q`.
    """
    input, other = matrices(input, "torch.ormqr", name="input"), matrices(other, "torch.ormqr", name="other")
    tau = strong(tau)
    m = other.shape[-2 if left else -1]
    if m != input.shape[-2]:
        raise ShapeError(f"torch.ormqr: other.shape[{-2 if left else -1}] must be equal to input.shape[-2]: {m} and {input.shape[-2]}")
    if m < tau.shape[-1]:
        raise ShapeError(f"torch.ormqr: other.shape[{-2 if left else -1}] must be greater than or equal to tau.shape[-1]: {m} and {tau.shape[-1]}")
    if tau.dtype != input.dtype or other.dtype != input.dtype:
        raise DtypeError(f"torch.ormqr: input, tau and other must have one dtype, got {input.dtype}, {tau.dtype} and {other.dtype}")
    if input.shape[:-2] != other.shape[:-2] or tau.shape[:-1] != input.shape[:-2] or tau.shape[-1] > input.shape[-1]:
        raise ShapeError(f"torch.ormqr: batch dimensions must be equal and tau no longer than input: {input.shape}, {tau.shape} and {other.shape}")
    if left:
        return apply_reflectors(input, tau, other, transpose)
    return adjoint(apply_reflectors(input, tau, adjoint(other), not transpose))


class LegacySVDResult(NamedTuple):
    """``input = U diag(S) V^H``."""

    U: Tensor
    S: Tensor
    V: Tensor


@numpy_names
def svd(input, some: bool = True, compute_uv: bool = True):
    """The singular value decomposition ``U diag(S) V^H``. `nr.linalg.svd`, its successor, returns ``V^H``.

    Args:
        input: matrices of shape ``(..., m, n)``.
        some: return as many columns of `U` and `V` as there are singular values, otherwise all.
        compute_uv: without it, `U` and `V` are zeros.

    Returns:
        A namedtuple `(U, S, V)`.
    """
    if compute_uv:
        U, S, Vh = spectral.svd(input, full_matrices=not some)
        return LegacySVDResult(U, S, Vh.mH)
    m, n = input.shape[-2:]
    batch = tuple(input.shape[:-2])
    return LegacySVDResult(input.new_zeros((*batch, m, m)), spectral.svdvals(input), input.new_zeros((*batch, n, n)))


# --- norms and the trace -------------------------------------------------------------------------------------------


@op(linear=True)
def trace(input: Array) -> Array:
    """The sum of the diagonal of a matrix."""
    input = strong(input)
    if input.ndim != 2:
        raise ShapeError(f"trace: expected a matrix, but got tensor with dim {input.ndim}; write x.diagonal(dim1=-2, dim2=-1).sum(-1)")
    refuse(input, "b", "trace")
    return jnp.sum(jnp.diagonal(input), dtype=input.dtype if is_inexact(input) else jnp.int64)


@op
def renorm(input: Array, p: float, dim: int, maxnorm: float) -> Array:
    """`input` with every slice along `dim` scaled down so that its norm is at most `maxnorm`.

    Args:
        input: a tensor of at least two dimensions.
        p: the order of the norm, above 0.
        dim: the dimension that the slices are counted along.
        maxnorm: the greatest norm.
    """
    input = strong(input)
    if p <= 0:
        raise ShapeError(f"renorm: non-positive norm not supported, got p={p}")
    if input.ndim < 2:
        raise ShapeError(f"renorm: input needs at least 2 dimensions, got {input.ndim} dimensions")
    if maxnorm < 0:
        raise ShapeError(f"renorm: expected maxnorm to be >= 0 but got {maxnorm}")
    dim = wrap_dim(dim, input.ndim)
    sizes = vector_norm(input, p, tuple(d for d in range(input.ndim) if d != dim), True)
    return input * jnp.where(sizes > maxnorm, maxnorm / (sizes + 1e-7), 1).astype(input.dtype)


@op(method=False)
def frobenius_norm(input: Array, dim: int | tuple[int, ...] = (), keepdim: bool = False) -> Array:
    """The square root of the sum of squares over one or two dimensions, by default all. `nr.linalg.norm` is its successor."""
    dims = wrap_dims(dim, input.ndim)
    if dim not in ((), None) and len(dims) > 2:
        raise ShapeError(f"Expected at most 2 dimensions, but got {len(dims)} dimensions instead.")
    return vector_norm(strong(input), 2, dims, keepdim)


@op(method=False, keeps_vjp=True)
def nuclear_norm(input: Array, dim: tuple[int, int] = (-2, -1), keepdim: bool = False) -> Array:
    """The sum of the singular values of matrices. `nr.linalg.matrix_norm` is its successor."""
    return linalg.norm_of_matrices(matrices(input, "nuclear_norm", name="input"), "nuc", dim, keepdim)


@op(method=False)
def norm_except_dim(v: Array, pow: int = 2, dim: int = 0) -> Array:
    """The norms of the slices along `dim`, kept in a shape that broadcasts with `v`; with ``dim=-1`` the norm of all."""
    v = strong(v)
    if dim == -1:
        return vector_norm(v, pow, tuple(range(v.ndim)), False)
    return vector_norm(v, pow, tuple(d for d in range(v.ndim) if d != wrap_dim(dim, v.ndim)), True)


for _method in (det, slogdet, inverse, pinverse, matrix_power, matrix_exp, cholesky, lu, lu_solve, qr, svd):
    attach(_method.__name__, _method)
