"""Approximate factorizations: of low rank by random projection, and the first eigenvectors by LOBPCG."""

import functools

import jax
import jax.numpy as jnp
from jax import lax

from ..dispatch import Array, op
from ..errors import ArgumentError, ShapeError
from . import factorization, spectral
from .factorization import adjoint, hermitian_part_given, matrices, solve_triangle
from .linalg import solve_system
from .matmul import matmul, multiply
from .random import randn
from .reduction import mean

__all__ = ["svd_lowrank", "pca_lowrank", "lobpcg"]

# --- low rank ------------------------------------------------------------------------------------------------------


def _approximate_basis(A, q: int, niter: int, M):
    """Orthonormal columns that span most of the range of ``A - M``.

    Source: N. Halko, P. Martinsson, J. Tropp, "Finding structure with randomness", 2009, algorithm 4.4.
    """

    def difference(X):
        return matmul(A, X) if M is None else matmul(A, X) - matmul(M, X)

    def difference_adjoint(X):
        return matmul(A.mH, X) if M is None else matmul(A.mH, X) - matmul(M.mH, X)

    Q = factorization.qr(difference(randn(A.shape[-1], q, dtype=A.dtype)))[0]
    for _ in range(niter):
        Q = factorization.qr(difference_adjoint(Q))[0]
        Q = factorization.qr(difference(Q))[0]
    return Q


def svd_lowrank(A, q: int | None = 6, niter: int | None = 2, M=None):
    """An approximate singular value decomposition ``A = U diag(S) V^H`` of rank `q`, by random projection.

    Args:
        A: matrices of shape ``(..., m, n)``.
        q: a little more than the rank that is sought. Default: 6.
        niter: how often the projection is refined. Default: 2.
        M: matrices to subtract from `A` first, of the same shape, or rows that broadcast.

    Returns:
        `(U, S, V)` of shapes ``(..., m, q)``, ``(..., q)`` and ``(..., n, q)``.
    """
    q, niter = 6 if q is None else q, 2 if niter is None else niter
    m, n = A.shape[-2:]
    M = None if M is None else M.broadcast_to(A.shape)
    if m < n:
        V, S, U = _svd_of_tall(A.mH, q, niter, None if M is None else M.mH)
        return U, S, V
    return _svd_of_tall(A, q, niter, M)


def _svd_of_tall(A, q: int, niter: int, M):
    Q = _approximate_basis(A, q, niter, M)
    B = matmul(Q.mH, A) if M is None else matmul(Q.mH, A - M)
    U, S, Vh = spectral.svd(B, full_matrices=False)
    return matmul(Q, U), S, Vh.mH


def pca_lowrank(A, q: int | None = None, center: bool = True, niter: int = 2):
    """The first principal components of the rows of matrices, by random projection.

    Args:
        A: matrices of shape ``(..., m, n)``: `m` samples of `n` features.
        q: a little more than the number of components that is sought. Default: ``min(6, m, n)``.
        center: subtract the mean of every feature first.
        niter: how often the projection is refined.

    Returns:
        `(U, S, V)` as of `svd_lowrank`; the columns of `V` are the principal directions.

    Raises:
        ValueError: `q` is negative or greater than a side of `A`, or `niter` is negative.
    """
    m, n = A.shape[-2:]
    q = min(6, m, n) if q is None else q
    if not 0 <= q <= min(m, n):
        raise ArgumentError(f"q(={q}) must be non-negative integer and not greater than min(m, n)={min(m, n)}")
    if niter < 0:
        raise ArgumentError(f"niter(={niter}) must be non-negative integer")
    return svd_lowrank(A - mean(A, dim=-2, keepdim=True) if center else A, q, niter)


# --- eigenvectors --------------------------------------------------------------------------------------------------


@functools.partial(jax.custom_jvp, nondiff_argnums=(3, 4, 5))
def _eigenpairs(A: Array, X: Array, preconditioner: Array | None, steps: int, tolerance: float, largest: bool) -> tuple[Array, Array]:
    """The extreme eigenvalues of a Hermitian `A` and their vectors, from the orthonormal guess `X`.

    Source: A. Knyazev, "Toward the optimal preconditioned eigensolver", 2001. The basis of every step (guess, residuals, last directions) is made
    orthonormal by QR, as in Hetmaniuk and Lehoucq, "Basis selection in LOBPCG", 2006.
    """
    k = X.shape[-1]
    scale = jnp.linalg.norm(A)

    def ordered(matrix):
        w, V = jnp.linalg.eigh(matrix)
        return (w[::-1], V[:, ::-1]) if largest else (w, V)

    def residuals(w, X):
        return multiply(A, X) - X * w.astype(A.dtype)

    def unfinished(state):
        step, w, X, _ = state
        sizes = jnp.linalg.norm(residuals(w, X), axis=0)
        return (step < steps) & jnp.any(sizes > tolerance * (scale + jnp.abs(w)))

    def improve(state):
        step, w, X, P = state
        W = residuals(w, X)
        if preconditioner is not None:
            W = multiply(preconditioner, W)
        W = W - multiply(X, multiply(adjoint(X), W))
        basis = jnp.linalg.qr(jnp.concatenate([X, W, P], -1))[0]
        basis = jnp.linalg.qr(basis)[0]  # once more: the residuals may be tiny
        w, C = ordered(multiply(adjoint(basis), multiply(A, basis)))
        C = C[:, :k]
        new = multiply(basis, C)
        directions = new - multiply(X, multiply(adjoint(X), new))
        return step + 1, w[:k], new, directions

    w, C = ordered(multiply(adjoint(X), multiply(A, X)))
    X = multiply(X, C)
    _, w, X, _ = lax.while_loop(unfinished, improve, (jnp.int32(0), w, X, jnp.zeros_like(X)))
    return w, X


@_eigenpairs.defjvp
def _eigenpairs_jvp(steps, tolerance, largest, primals, tangents):
    A, X, preconditioner = primals
    dA = tangents[0]
    w, X = _eigenpairs(A, X, preconditioner, steps, tolerance, largest)
    all_w, V = jnp.linalg.eigh(A)
    turned = multiply(dA, X)
    gaps = w[None, :] - all_w[:, None]
    near = jnp.abs(gaps) <= 1e-2 * jnp.min(jnp.abs(gaps) + jnp.where(jnp.abs(gaps) == jnp.min(jnp.abs(gaps), 0), jnp.inf, 0), 0)
    inverse = jnp.where(near, 0, 1 / jnp.where(near, 1, gaps)).astype(A.dtype)
    dX = multiply(V, inverse * multiply(adjoint(V), turned))
    return (w, X), (jnp.real(jnp.sum(jnp.conj(X) * turned, 0)), dX)


@op(name="lobpcg", method=False, keeps_vjp=True)
def _lobpcg(A: Array, B: Array | None, X: Array, iK: Array | None, steps: int, tolerance: float | None, largest: bool) -> tuple[Array, Array]:
    """Extreme eigenvalues and eigenvectors of ``A x = w B x`` for stacks of matrices."""
    A = matrices(A, "lobpcg", square=True)
    n, k = X.shape[-2:]
    if n < 3 * k:
        raise ArgumentError(
            f"LPBPCG algorithm is not applicable when the number of A rows (={n}) is smaller than 3 x the number of requested eigenpairs (={k})"
        )
    tolerance = float(jnp.finfo(A.dtype).eps ** 0.5) if tolerance is None else tolerance
    A = hermitian_part_given(A, False)

    def one(A, B, X, iK):
        if B is None:
            return _eigenpairs(A, jnp.linalg.qr(X)[0], iK, steps, tolerance, largest)
        L = lax.linalg.cholesky(B)  # the standard problem of inv(L) A inv(L)^H has the same eigenvalues, and vectors L^H x
        reduced = solve_triangle(L, adjoint(solve_triangle(L, A, lower=True)), lower=True)
        iK = None if iK is None else multiply(adjoint(L), multiply(iK, L))
        w, Y = _eigenpairs((reduced + adjoint(reduced)) / 2, jnp.linalg.qr(multiply(adjoint(L), X))[0], iK, steps, tolerance, largest)
        return w, solve_system(adjoint(L), Y)[0]

    batch = A.shape[:-2]
    operands = [x if x is None else jnp.broadcast_to(x, batch + x.shape[-2:]).reshape((-1, *x.shape[-2:])) for x in (A, B, X, iK)]
    w, V = jax.vmap(one, in_axes=[None if x is None else 0 for x in operands])(*operands)
    return w.reshape((*batch, k)), V.reshape((*batch, n, k))


def lobpcg(
    A, k: int | None = None, B=None, X=None, n: int | None = None, iK=None, niter: int | None = None, tol: float | None = None,
    largest: bool | None = None, method: str | None = None, tracker=None, ortho_iparams=None, ortho_fparams=None, ortho_bparams=None,
):  # fmt: skip
    """The greatest or least eigenvalues of symmetric matrices and their eigenvectors, found iteratively (LOBPCG).

    Args:
        A: Hermitian matrices of shape ``(..., m, m)``.
        k: how many eigenpairs; at most ``m / 3``. Default: the number of columns of `X`, or 1.
        B: for the problem ``A x = w B x``, Hermitian positive-definite matrices.
        X: a first guess of the eigenvectors, of shape ``(..., m, n)`` with ``n >= k``. Default: random.
        n: the size of the random guess. Default: `k`.
        iK: a preconditioner, an approximate inverse of `A`.
        niter: at most so many steps. Default and -1: 1000.
        tol: a pair counts as found when its residual is so much smaller than the matrix. Default: the square root of the dtype's precision.
        largest: the greatest eigenvalues; otherwise the least. Default: true.
        method: `"basic"` or `"ortho"`, treated alike: every step's basis is orthonormal.
        tracker, ortho_iparams, ortho_fparams, ortho_bparams: not used.

    Returns:
        `(w, X)` of shapes ``(..., k)`` and ``(..., m, k)``; with `B`, the columns satisfy ``X^H B X = I``.

    Raises:
        ValueError: there are fewer than 3 rows for every eigenpair.
    """
    if A.ndim < 2 or A.shape[-1] != A.shape[-2]:
        raise ShapeError(f"lobpcg: A must be batches of square matrices, got shape {tuple(A.shape)}")
    if method not in (None, "basic", "ortho"):
        raise ArgumentError(f"lobpcg: method is 'basic' or 'ortho', got {method!r}")
    k = (1 if X is None else X.shape[-1]) if k is None else k
    if X is None:
        X = randn(*A.shape[:-1], max(k, n or k), dtype=A.dtype)
    steps = 1000 if niter is None or niter < 0 else niter
    w, V = _lobpcg(A, B, X, iK, steps, tol, largest is None or largest)
    return w[..., :k], V[..., :k]
