"""Eigenvalues and singular values of matrices, by their names in `nr.linalg`."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ..dispatch import Array, op
from ..errors import ArgumentError, LinAlgError
from ..tensor import Tensor
from .common import numpy_names
from .factorization import adjoint, diagonal_of, hermitian_part_given, matrices
from .matmul import multiply

__all__: list[str] = []
NAMESPACE = ["eigh", "eigvalsh", "eig", "eigvals", "svd", "svdvals"]


def _reciprocal_gaps(x: Array, of_squares: bool = False) -> Array:
    """``1 / (x[j] - x[i])`` (or of the squares) at ``[i, j]``, 0 where the two are equal: the gradient does not turn one equal value into the other."""
    row, column = x[..., None, :], x[..., :, None]
    # not row**2 - column**2: compiled with fused multiply-add, that is not 0 for equal numbers
    gaps = (row - column) * (row + column) if of_squares else row - column
    return jnp.where(row == column, 0, 1 / jnp.where(row == column, 1, gaps))


# --- eigenvalues ---------------------------------------------------------------------------------------------------


class EighResult(NamedTuple):
    """The eigenvalues in ascending order, and the eigenvectors as columns."""

    eigenvalues: Tensor
    eigenvectors: Tensor


@jax.custom_jvp
def _eigh(A: Array) -> tuple[Array, Array]:
    V, w = lax.linalg.eigh(A, symmetrize_input=False)
    return w, V


@_eigh.defjvp
def _eigh_jvp(primals, tangents):
    (A,), (dA,) = primals, tangents
    w, V = _eigh(A)
    turned = multiply(adjoint(V), multiply(dA, V))
    dV = multiply(V, _reciprocal_gaps(w).astype(A.dtype) * turned)
    return (w, V), (jnp.real(diagonal_of(turned)), dV)


def eigh_factors(A: Array, upper: bool = False) -> tuple[Array, Array]:
    """Eigenvalues and eigenvectors of the Hermitian matrices of which `A` holds one triangle."""
    return _eigh(hermitian_part_given(A, upper))


def _upper(UPLO: str, function: str) -> bool:
    if not isinstance(UPLO, str) or UPLO.upper() not in ("L", "U"):
        raise ArgumentError(f"{function}: Expected UPLO argument to be 'L' or 'U', but got {UPLO}")
    return UPLO.upper() == "U"


@op(name="linalg.eigh", method=False, keeps_vjp=True)
def eigh(A: Array, UPLO: str = "L") -> EighResult:
    """The eigenvalues and eigenvectors of Hermitian matrices.

    Args:
        A: matrices of shape ``(..., n, n)``.
        UPLO: which triangle is read, `"L"` or `"U"`.

    Returns:
        A namedtuple `(eigenvalues, eigenvectors)`: real numbers in ascending order, and orthonormal columns. Gradients through the eigenvectors
        are finite where eigenvalues are equal: they leave out the mixing of equal ones.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.linalg.eigh(nr.tensor([[2.0, 0.0], [0.0, 1.0]])).eigenvalues
        tensor([1., 2.])
    """
    return EighResult(*eigh_factors(matrices(A, "linalg.eigh", square=True), _upper(UPLO, "linalg.eigh")))


@op(name="linalg.eigvalsh", method=False, keeps_vjp=True)
def eigvalsh(A: Array, UPLO: str = "L") -> Array:
    """The eigenvalues of Hermitian matrices, real and in ascending order. See `eigh`."""
    return eigh_factors(matrices(A, "linalg.eigvalsh", square=True), _upper(UPLO, "linalg.eigvalsh"))[0]


class EigResult(NamedTuple):
    """Complex eigenvalues, in no order, and eigenvectors of length 1 as columns."""

    eigenvalues: Tensor
    eigenvectors: Tensor


@jax.custom_jvp
def _eig(A: Array) -> tuple[Array, Array]:
    w, V = lax.linalg.eig(A, compute_left_eigenvectors=False)
    return w, V


@_eig.defjvp
def _eig_jvp(primals, tangents):
    (A,), (dA,) = primals, tangents
    w, V = _eig(A)
    turned = jnp.linalg.solve(V, multiply(dA.astype(V.dtype), V))
    dV = multiply(V, _reciprocal_gaps(w) * turned)
    dV = dV - V * jnp.real(jnp.sum(jnp.conj(V) * dV, -2, keepdims=True))  # the columns keep their length
    return (w, V), (diagonal_of(turned), dV)


@op(name="linalg.eig", method=False, keeps_vjp=True)
def _eig_op(A: Array) -> EigResult:
    """The eigenvalues and eigenvectors of square matrices, NaN if they hold NaN or infinity."""
    return EigResult(*_eig(matrices(A, "linalg.eig", square=True)))


@op(name="linalg.eigvals", method=False, keeps_vjp=True)
def _eigvals_op(A: Array) -> Array:
    """The eigenvalues of square matrices, NaN if they hold NaN or infinity."""
    return _eig(matrices(A, "linalg.eigvals", square=True))[0]


def _raise_if_nan(result: Tensor, function: str, message: str) -> None:
    """Raise PyTorch's error for input that was not finite; under a transformation nothing is known yet, and nothing raised."""
    if not isinstance(result._value, jax.core.Tracer) and np.isnan(np.asarray(result._value)).any():
        raise LinAlgError(f"{function}: {message}")


@numpy_names
def eig(A):
    """The eigenvalues and eigenvectors of square matrices. Runs on the CPU and on GPUs.

    Args:
        A: matrices of shape ``(..., n, n)``.

    Returns:
        A namedtuple `(eigenvalues, eigenvectors)`, both complex: the eigenvalues in no order, and columns of length 1.

    Raises:
        RuntimeError: `A` holds NaN or infinity.
    """
    result = _eig_op(A)
    _raise_if_nan(result.eigenvalues, "torch.linalg.eig", "input tensor should not contain infs or NaNs.")
    return result


@numpy_names
def eigvals(A):
    """The eigenvalues of square matrices, complex and in no order. See `eig`."""
    result = _eigvals_op(A)
    _raise_if_nan(result, "torch.linalg.eigvals", "input tensor should not contain infs or NaNs.")
    return result


# --- singular values -----------------------------------------------------------------------------------------------


class SVDResult(NamedTuple):
    """``A = U diag(S) Vh``."""

    U: Tensor
    S: Tensor
    Vh: Tensor


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def _svd(A: Array, full: bool) -> tuple[Array, Array, Array]:
    return lax.linalg.svd(A, full_matrices=full)


@_svd.defjvp
def _svd_jvp(full, primals, tangents):
    # J. Townsend, "Differentiating the singular value decomposition", 2016. The columns beyond min(m, n) are arbitrary: no gradient
    (A,), (dA,) = primals, tangents
    U_all, S, Vh_all = _svd(A, full)
    m, n = A.shape[-2:]
    k = min(m, n)
    U, V = U_all[..., :k], adjoint(Vh_all[..., :k, :])
    dAV, dAhU = multiply(dA, V), multiply(adjoint(dA), U)
    turned = multiply(adjoint(U), dAV)
    s = S.astype(A.dtype)[..., None, :]
    inverse = jnp.where(s == 0, 0, 1 / jnp.where(s == 0, 1, s))
    gaps = _reciprocal_gaps(S, of_squares=True).astype(A.dtype)
    right, left = turned * s, jnp.swapaxes(s, -1, -2) * turned
    phase = jnp.eye(k, dtype=A.dtype) * (turned - adjoint(turned)) / 2 * inverse
    dU = multiply(U, gaps * (right + adjoint(right)) + phase)
    dV = multiply(V, gaps * (left + adjoint(left)))
    if m > n:
        dU = dU + (dAV - multiply(U, turned)) * inverse
    if n > m:
        dV = dV + (dAhU - multiply(V, adjoint(turned))) * inverse
    dU = jnp.concatenate([dU, jnp.zeros_like(U_all[..., k:])], -1)
    dVh = jnp.concatenate([adjoint(dV), jnp.zeros_like(Vh_all[..., k:, :])], -2)
    return (U_all, S, Vh_all), (dU, jnp.real(diagonal_of(turned)), dVh)


@jax.custom_jvp
def singular_values(A: Array) -> Array:
    """The singular values in descending order, computed without the vectors unless a gradient needs them."""
    return lax.linalg.svd(A, compute_uv=False)


@singular_values.defjvp
def _singular_values_jvp(primals, tangents):
    (_, S, _), (_, dS, _) = jax.jvp(functools.partial(_svd, full=False), primals, tangents)
    return S, dS


def svd_factors(A: Array, full: bool = False) -> tuple[Array, Array, Array]:
    """`U`, `S` and `Vh` with gradients."""
    return _svd(A, full)


def _check_driver(driver: str | None) -> None:
    if driver is not None:
        raise ArgumentError(f"linalg.svd: keyword argument `driver=` is only supported on CUDA inputs with cuSOLVER backend, got {driver!r}; leave it out")


@op(name="linalg.svd", method=False, keeps_vjp=True)
def _svd_op(A: Array, full_matrices: bool = True) -> SVDResult:
    """The singular value decomposition of matrices, NaN if they hold NaN or infinity."""
    return SVDResult(*_svd(matrices(A, "linalg.svd"), full_matrices))


_NOT_FINITE = "The algorithm failed to converge because the input matrix contained non-finite values."


@numpy_names
def svd(A, full_matrices: bool = True, *, driver: str | None = None):
    """The singular value decomposition ``A = U diag(S) Vh``.

    Args:
        A: matrices of shape ``(..., m, n)``.
        full_matrices: `U` and `Vh` are square; otherwise of shapes ``(..., m, k)`` and ``(..., k, n)`` with ``k = min(m, n)``.
        driver: must be `None`: XLA chooses the method.

    Returns:
        A namedtuple `(U, S, Vh)`: orthonormal columns, real singular values in descending order, orthonormal rows. Gradients through `U` and `Vh` are
        finite where singular values are equal: they leave out the mixing of equal ones.

    Raises:
        RuntimeError: `A` holds NaN or infinity.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.linalg.svd(nr.tensor([[3.0, 0.0], [0.0, 4.0]])).S
        tensor([4., 3.])
    """
    _check_driver(driver)
    result = _svd_op(A, full_matrices)
    _raise_if_nan(result.S, "linalg.svd", _NOT_FINITE)
    return result


@op(name="linalg.svdvals", method=False, keeps_vjp=True)
def _svdvals_op(A: Array) -> Array:
    """The singular values, NaN if they hold NaN or infinity."""
    return singular_values(matrices(A, "linalg.svdvals"))


@numpy_names
def svdvals(A, *, driver: str | None = None):
    """The singular values of matrices, real and in descending order. See `svd`."""
    _check_driver(driver)
    result = _svdvals_op(A)
    _raise_if_nan(result, "linalg.svdvals", _NOT_FINITE)
    return result
