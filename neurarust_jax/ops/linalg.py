"""Linear algebra by its names in `nr.linalg`: determinants, inverses, systems of equations, norms, powers. Factorizations are in `factorization.py` and `spectral.py`."""

import functools
import math
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from .. import dtypes
from ..dispatch import Array, op
from ..errors import ArgumentError, DtypeError, LinAlgError, ShapeError
from ..tensor import Tensor
from .common import broadcast_shapes, cast, is_inexact, numpy_dtype, numpy_names, promote, strong, wrap_dim, wrap_dims
from .factorization import adjoint, check_system, first_zero, matrices, raise_if_failed, solve_triangle, solve_with_lu
from .matmul import cross_along, multiply, multiply_chain
from .moments import vector_norm as norm_along
from .slicing import diagonal as _diagonal_of
from .spectral import eigh_factors, singular_values, svd_factors

__all__: list[str] = []
NAMESPACE = [
    "LinAlgError", "cond", "cross", "det", "diagonal", "inv", "inv_ex", "lstsq", "matmul", "matrix_exp", "matrix_norm", "matrix_power", "matrix_rank",
    "multi_dot", "norm", "pinv", "slogdet", "solve", "solve_ex", "solve_triangular", "tensorinv", "tensorsolve", "vander", "vecdot", "vector_norm",
]  # fmt: skip

# --- determinants --------------------------------------------------------------------------------------------------


class SlogdetResult(NamedTuple):
    """The determinant is ``sign * exp(logabsdet)``."""

    sign: Tensor
    logabsdet: Tensor


@op(name="linalg.det", method=False, keeps_vjp=True)
def det(A: Array) -> Array:
    """The determinant of square matrices.

    Args:
        A: matrices of shape ``(..., n, n)``.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.linalg.det(nr.tensor([[1.0, 2.0], [3.0, 4.0]]))
        tensor(-2.)
    """
    A = matrices(A, "linalg.det", square=True)
    return jnp.linalg.det(A) if A.size else jnp.ones(A.shape[:-2], A.dtype)


@op(name="linalg.slogdet", method=False, keeps_vjp=True)
def slogdet(A: Array) -> SlogdetResult:
    """The sign (of complex matrices the phase) of the determinant and the logarithm of its absolute value.

    Args:
        A: matrices of shape ``(..., n, n)``.

    Returns:
        A namedtuple `(sign, logabsdet)`; of a singular matrix, 0 and ``-inf``.
    """
    return SlogdetResult(*jnp.linalg.slogdet(matrices(A, "linalg.slogdet", square=True)))


# --- systems of equations ------------------------------------------------------------------------------------------


class InverseResult(NamedTuple):
    """The inverse and, for every matrix, 0 or the place of the first zero pivot."""

    inverse: Tensor
    info: Tensor


class SolveResult(NamedTuple):
    """The solution and, for every matrix, 0 or the place of the first zero pivot."""

    result: Tensor
    info: Tensor


def solve_system(A: Array, B: Array, left: bool = True) -> tuple[Array, Array]:
    """`X` with ``A X = B`` (or ``X A = B``), broadcasting over the batch, and `info`. The gradient solves with the same factors."""
    if not left:
        X, info = solve_system(jnp.swapaxes(A, -1, -2), jnp.swapaxes(B, -1, -2))
        return jnp.swapaxes(X, -1, -2), info
    batch = broadcast_shapes(A.shape[:-2], B.shape[:-2])
    B = jnp.broadcast_to(B, batch + B.shape[-2:])
    LU, _, permutation = lax.linalg.lu(lax.stop_gradient(A))
    info = first_zero(jnp.diagonal(LU, axis1=-2, axis2=-1))
    X = lax.custom_linear_solve(
        lambda X: multiply(A, X),
        B,
        lambda _, B: solve_with_lu(LU, permutation, B),
        lambda _, B: jnp.conj(solve_with_lu(LU, permutation, jnp.conj(B), of_adjoint=True)),
    )
    return X, info


@jax.custom_jvp
def _inverse(A: Array) -> tuple[Array, Array]:
    return solve_system(A, jnp.eye(A.shape[-1], dtype=A.dtype))


@_inverse.defjvp
def _inverse_jvp(primals, tangents):
    (A,), (dA,) = primals, tangents
    inverse, info = _inverse(A)
    return (inverse, info), (-multiply(multiply(inverse, dA), inverse), jax.custom_derivatives.zero_from_primal(info))


@op(name="linalg.inv_ex", method=False, keeps_vjp=True)
def inv_ex(A: Array, *, check_errors: bool = False) -> InverseResult:
    """The inverse of square matrices and whether it exists, without an error.

    Args:
        A: matrices of shape ``(..., n, n)``.
        check_errors: not supported here; `inv` raises.

    Returns:
        A namedtuple `(inverse, info)`; `info` is an int32 tensor, 0 or the place of the first zero pivot, counted from 1.
    """
    return InverseResult(*_inverse(matrices(A, "linalg.inv", square=True)))


_SINGULAR = "The diagonal element {info} is zero, the inversion could not be completed because the input matrix is singular."


@numpy_names
def inv(A):
    """The inverse of square matrices. To multiply with it, `solve` is faster and more exact.

    Args:
        A: matrices of shape ``(..., n, n)``.

    Raises:
        RuntimeError: a matrix is singular (`LinAlgError`). Under `nr.jit` and other transformations it gives NaN or infinity instead.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.linalg.inv(nr.tensor([[2.0, 0.0], [0.0, 4.0]]))
        tensor([[0.5000, 0.0000],
                [0.0000, 0.2500]])
    """
    inverse, info = inv_ex(A)
    raise_if_failed(info, "linalg.inv", _SINGULAR)
    return inverse


def is_vector_system(A: Array, B: Array) -> bool:
    """Whether the right-hand sides are vectors rather than matrices, by PyTorch's rule."""
    return B.ndim == 1 or (A.ndim - 1 == B.ndim and A.shape[:-1] == B.shape)


@op(name="linalg.solve_ex", method=False, keeps_vjp=True)
def solve_ex(A: Array, B: Array, *, left: bool = True, check_errors: bool = False) -> SolveResult:
    """As `solve`, with a second field `info` instead of an error: 0, or the place of the first zero pivot, counted from 1."""
    A, B = matrices(A, "linalg.solve", square=True), strong(B)
    if A.dtype != B.dtype:
        raise DtypeError(
            f"linalg.solve: Expected A and B to have the same dtype, but found A of type {dtypes.from_numpy(A.dtype)} and B of type "
            f"{dtypes.from_numpy(B.dtype)} instead; write B.to(A.dtype)"
        )
    vector = is_vector_system(A, B)
    if vector and not left:
        raise ShapeError(
            "linalg.solve: Vector broadcasting of the left hand side is not supported for left=False. In this case linalg.solve is equivalent to B / A.squeeze(-1)"
        )
    if B.ndim == 0:
        raise ShapeError("linalg.solve: B must have at least 1 dimension, got a 0-d tensor")
    B = B[..., None] if vector else B
    check_system("linalg.solve", A, B, left)
    X, info = solve_system(A, B, left)
    return SolveResult(X[..., 0] if vector else X, info)


@numpy_names
def solve(A, B, *, left: bool = True):
    """The solution `X` of ``A X = B``.

    Args:
        A: matrices of shape ``(..., n, n)``.
        B: right-hand sides: matrices of shape ``(..., n, k)``, or vectors of shape ``(n,)`` or ``A.shape[:-1]``. Batches broadcast.
        left: solve ``A X = B``; otherwise ``X A = B``.

    Raises:
        RuntimeError: a matrix is singular (`LinAlgError`). Under `nr.jit` and other transformations it gives NaN or infinity instead.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.linalg.solve(nr.tensor([[2.0, 0.0], [0.0, 4.0]]), nr.tensor([2.0, 2.0]))
        tensor([1.0000, 0.5000])
    """
    result, info = solve_ex(A, B, left=left)
    raise_if_failed(info, "torch.linalg.solve", "The solver failed because the input matrix is singular.")
    return result


@op(name="linalg.solve_triangular", method=False)
def solve_triangular(A: Array, B: Array, *, upper: bool, left: bool = True, unitriangular: bool = False) -> Array:
    """The solution `X` of ``A X = B`` for a triangular `A`, unchecked.

    Args:
        A: matrices of shape ``(..., n, n)``, of which one triangle is read.
        B: right-hand sides of shape ``(..., n, k)``; with ``left=False`` ``(..., k, n)``.
        upper: whether `A` is upper-triangular.
        left: solve ``A X = B``; otherwise ``X A = B``.
        unitriangular: the diagonal of `A` is taken as ones and not read.
    """
    A, B = matrices(A, "linalg.solve_triangular", square=True), matrices(B, "linalg.solve_triangular", name="B")
    if A.dtype != B.dtype:
        raise DtypeError(f"linalg.solve_triangular: Expected A and B to have the same dtype, but got {A.dtype} and {B.dtype}; write B.to(A.dtype)")
    check_system("linalg.solve_triangular", A, B, left)
    if left:
        return solve_triangle(A, B, not upper, unitriangular)
    return adjoint(solve_triangle(A, adjoint(B), not upper, unitriangular, adjoint_of_a=True))


@functools.partial(jax.custom_jvp, nondiff_argnums=(3,))
def _pseudoinverse(A: Array, atol: Array, rtol: Array, hermitian: bool) -> tuple[Array, Array]:
    """The pseudoinverse and the singular values (of Hermitian matrices the absolute eigenvalues)."""
    if hermitian:  # the gradient is that of any matrix, as in PyTorch
        S, U = eigh_factors(A)
        Vh = adjoint(U)
        size = jnp.abs(S)
    else:
        U, S, Vh = svd_factors(A)
        size = S
    kept = size > threshold(size, atol, rtol)[..., None]
    inverse = jnp.where(kept, 1 / jnp.where(kept, S, 1), 0).astype(A.dtype)
    return multiply(adjoint(Vh), inverse[..., :, None] * adjoint(U)), size


@_pseudoinverse.defjvp
def _pseudoinverse_jvp(hermitian, primals, tangents):
    # G. H. Golub and V. Pereyra, "The differentiation of pseudo-inverses and nonlinear least squares problems whose variables separate", 1973
    (A, atol, rtol), (dA, _, _) = primals, tangents
    P, size = _pseudoinverse(A, atol, rtol, hermitian)
    dAh, Ph = adjoint(dA), adjoint(P)
    outside_range = multiply(dAh, jnp.eye(A.shape[-2], dtype=A.dtype) - multiply(A, P))
    outside_rows = multiply(jnp.eye(A.shape[-1], dtype=A.dtype) - multiply(P, A), dAh)
    dP = -multiply(multiply(P, dA), P) + multiply(multiply(P, Ph), outside_range) + multiply(multiply(outside_rows, Ph), P)
    return (P, size), (dP, jnp.zeros_like(size))


def threshold(sizes: Array, atol: Array, rtol: Array) -> Array:
    """The size up to which singular values count as zero."""
    return jnp.maximum(atol, rtol * jnp.max(sizes, -1, initial=0))


def _tolerances(A: Array, atol, rtol, function: str) -> tuple[Array, Array]:
    """Both tolerances as arrays; `rtol` is by default the dtype's precision times the longer side, or 0 where `atol` is given."""
    real = jnp.real(A).dtype
    for name, tolerance in (("atol", atol), ("rtol", rtol)):
        if tolerance is not None and jnp.asarray(tolerance).dtype.kind == "c":
            raise DtypeError(f"torch.linalg.{function}: {name} tensor of complex type is not supported.")
    if rtol is None:
        precision = jnp.asarray(jnp.finfo(real).eps * max(A.shape[-2:]), real)
        rtol = precision if atol is None else jnp.where(cast(atol, real) > 0, jnp.zeros_like(precision), precision)
    return cast(0 if atol is None else atol, real), cast(rtol, real)


@op(name="linalg.pinv", method=False, keeps_vjp=True)
def _pinv(A: Array, atol: Array | float | None, rtol: Array | float | None, hermitian: bool) -> Array:
    """The pseudoinverse of matrices."""
    A = matrices(A, "linalg.pinv", square=hermitian)
    atol, rtol = _tolerances(A, atol, rtol, "pinv")
    if not A.size:
        return jnp.swapaxes(A, -1, -2)
    return _pseudoinverse(A, atol, rtol, hermitian)[0]


@numpy_names
def pinv(A, rcond=None, hermitian: bool = False, *, atol=None, rtol=None):
    """The pseudoinverse (Moore-Penrose inverse) of matrices.

    Args:
        A: matrices of shape ``(..., m, n)``.
        rcond: another name for `rtol`.
        hermitian: `A` is Hermitian, and only its lower triangle is read.
        atol: singular values up to this size, or
        rtol: up to this part of the greatest, count as zero. Numbers or tensors of the batch's shape. Default of `rtol`: the dtype's precision times
            the longer side; 0 if `atol` is given.

    Returns:
        Matrices of shape ``(..., n, m)``.
    """
    return _pinv(A, atol, rcond if rtol is None else rtol, hermitian)


class LstsqResult(NamedTuple):
    """The least-squares solution, and what the driver finds out on the way; the other fields are empty."""

    solution: Tensor
    residuals: Tensor
    rank: Tensor
    singular_values: Tensor


@op(name="linalg.lstsq", method=False, keeps_vjp=True)
def _lstsq(A: Array, B: Array, rcond: Array | float | None) -> LstsqResult:
    """The least-squares solution with all residuals, ranks and singular values."""
    A, B = matrices(A, "torch.linalg.lstsq", name="input"), strong(B)
    if A.dtype != B.dtype:
        raise DtypeError(f"torch.linalg.lstsq: Expected input and other to have the same dtype, but got {A.dtype} and {B.dtype}; write B.to(A.dtype)")
    if B.ndim < 1:
        raise ShapeError("torch.linalg.lstsq: other must have at least 1 dimension.")
    vector = is_vector_system(A, B)
    B = B[..., None] if vector else B
    if A.shape[-2] != B.shape[-2]:
        raise ShapeError(f"torch.linalg.lstsq: input.size(-2) should match other.size(-2): shapes {tuple(A.shape)} and {tuple(B.shape)}")
    broadcast_shapes(A.shape[:-2], B.shape[:-2])
    _, rtol = _tolerances(A, None, rcond, "lstsq")
    if A.size:
        inverse, sizes = _pseudoinverse(A, jnp.zeros((), rtol.dtype), rtol, False)
    else:
        inverse, sizes = jnp.swapaxes(A, -1, -2), jnp.zeros((*A.shape[:-2], 0), rtol.dtype)
    rank = jnp.sum(sizes > threshold(sizes, jnp.zeros((), rtol.dtype), rtol)[..., None], -1, dtype=jnp.int64)
    X = multiply(inverse, B)
    error = multiply(A, X) - B
    residuals = jnp.sum(jnp.real(error * jnp.conj(error)), -2)
    return LstsqResult(X[..., 0] if vector else X, residuals, rank, sizes)


@numpy_names
def lstsq(A, B, rcond=None, *, driver: str | None = None):
    """The `X` that makes ``|A X - B|`` least, of those the smallest.

    Args:
        A: matrices of shape ``(..., m, n)``.
        B: right-hand sides of shape ``(..., m, k)``, or vectors of shape ``(m,)`` or ``A.shape[:-1]``.
        rcond: singular values up to this part of the greatest count as zero. Default: the dtype's precision times the longer side.
        driver: which of LAPACK's methods decides what the result holds: `"gelsy"` (the default) the rank, `"gels"` residuals, `"gelsd"` and `"gelss"`
            residuals, rank and singular values. The method is the same, by singular values, and gives the same solution.

    Returns:
        A namedtuple `(solution, residuals, rank, singular_values)`. Residuals are the sums of squared errors of every column; they are empty unless
        ``m > n`` and every matrix has full rank. Under a transformation full rank is assumed.

    Raises:
        RuntimeError: the driver is `"gels"` and a matrix has not full rank.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.linalg.lstsq(nr.tensor([[1.0], [1.0]]), nr.tensor([[1.0], [3.0]])).solution.round(decimals=3)
        tensor([[2.]])
    """
    if driver not in (None, "gels", "gelsy", "gelsd", "gelss"):
        raise ArgumentError(f"torch.linalg.lstsq: parameter `driver` should be one of (gels, gelsy, gelsd, gelss), got {driver!r}")
    found = _lstsq(A, B, None if driver == "gels" else rcond)
    m, n = (A if hasattr(A, "shape") else found.solution).shape[-2:]
    full_rank = isinstance(found.rank._value, jax.core.Tracer) or bool((found.rank == min(m, n)).all())
    if driver == "gels" and not full_rank:
        raise LinAlgError("torch.linalg.lstsq: The least squares solution could not be computed because the input matrix does not have full rank.")
    with_residuals = driver not in (None, "gelsy") and m > n and full_rank
    nothing = found.singular_values.detach().reshape(-1)[:0]
    return LstsqResult(
        found.solution,
        found.residuals if with_residuals else found.residuals.reshape(-1)[:0],
        found.rank.reshape(-1)[:0] if driver == "gels" else found.rank,
        found.singular_values.detach() if driver in ("gelsd", "gelss") else nothing,
    )


# --- norms ---------------------------------------------------------------------------------------------------------


def _check_norm_dtype(A: Array, dtype, function: str) -> Array:
    """`A` in the dtype that a norm is computed in, or PyTorch's errors."""
    A = strong(A)
    if not is_inexact(A):
        raise DtypeError(f"linalg.{function}: Expected a floating point or complex tensor as input. Got {dtypes.from_numpy(A.dtype)}; write A.float()")
    if dtype is None:
        return A
    target = numpy_dtype(dtype)
    if target.kind in "biu":
        raise DtypeError(f"linalg.{function}: dtype should be floating point or complex. Got {dtype}")
    if (target.kind == "c") != (A.dtype.kind == "c"):
        kind, wanted = ("complex", "real") if A.dtype.kind == "c" else ("real", "complex")
        raise DtypeError(f"linalg.{function}: dtype should be {kind} for {kind} inputs, but got the {wanted} {dtype}")
    if dtypes.promote_types(A.dtype, target) != target:
        raise DtypeError(f"linalg.{function}: the dtype of the input ({dtypes.from_numpy(A.dtype)}) should be convertible without narrowing to {dtype}")
    return cast(A, target)


@op(name="linalg.vector_norm", method=False)
def vector_norm(x: Array, ord: float = 2, dim: int | tuple[int, ...] | None = None, keepdim: bool = False, *, dtype: dtypes.dtype | None = None) -> Array:
    """The norm of the vectors along one or more dimensions.

    Args:
        x: a floating-point or complex tensor.
        ord: the order: any number, ``inf`` (the greatest absolute value) and ``-inf`` (the least) included; 0 counts the elements that are not 0.
        dim: the dimensions that hold the vectors. Default: all.
        keepdim: keep them with length 1.
        dtype: convert to this first.

    Returns:
        A real tensor. Where a norm is 0, so is its gradient.
    """
    if isinstance(ord, str):
        raise ArgumentError(f"linalg.vector_norm: ord is a number, got {ord!r}; linalg.matrix_norm takes names")
    x = _check_norm_dtype(x, dtype, "vector_norm")
    return norm_along(x, ord, wrap_dims(dim, x.ndim), keepdim)


@op(name="linalg.matrix_norm", method=False)
def matrix_norm(A: Array, ord: float | str = "fro", dim: tuple[int, int] = (-2, -1), keepdim: bool = False, *, dtype: dtypes.dtype | None = None) -> Array:
    """The norm of matrices.

    Args:
        A: a floating-point or complex tensor of at least two dimensions.
        ord: `"fro"` the square root of the sum of squares; `"nuc"` the sum of the singular values; ``2`` and ``-2`` the greatest and the least
            singular value; ``1`` and ``-1`` the greatest and the least sum of absolute values of a column; ``inf`` and ``-inf`` of a row.
        dim: the two dimensions that hold the matrices.
        keepdim: keep them with length 1.
        dtype: convert to this first.
    """
    A = _check_norm_dtype(A, dtype, "matrix_norm")
    if A.ndim < 2:
        raise ShapeError(f"linalg.matrix_norm: The input tensor A must have at least 2 dimensions. Got shape {tuple(A.shape)}")
    return norm_of_matrices(A, ord, dim, keepdim)


def norm_of_matrices(A: Array, ord: float | str, dim: tuple[int, ...], keepdim: bool) -> Array:
    """The norm of the matrices that two dimensions of `A` hold."""
    if not isinstance(dim, tuple) or len(dim) != 2:
        raise ShapeError(f"linalg.matrix_norm: dim must be a 2-tuple. Got {dim}")
    row, column = (wrap_dim(d, A.ndim) for d in dim)
    if row == column:
        raise ShapeError(f"linalg.matrix_norm: dims must be different. Got {dim}")
    if ord == "fro":
        return norm_along(A, 2, (row, column), keepdim)
    if ord == "nuc" or ord in (2, -2):
        sizes = singular_values(matrices(jnp.moveaxis(A, (row, column), (-2, -1)), "linalg.matrix_norm"))
        found = jnp.sum(sizes, -1) if ord == "nuc" else _extreme(sizes, -1, ord, False)
        return lax.expand_dims(found, sorted((row, column))) if keepdim else found
    if ord not in (1, -1, math.inf, -math.inf):
        kinds = "order" if not isinstance(ord, str) else "name"
        raise ArgumentError(f"linalg.matrix_norm: unknown {kinds} {ord!r}; expected 'fro', 'nuc', 1, -1, 2, -2, inf or -inf")
    summed, compared = (row, column) if ord in (1, -1) else (column, row)
    found = _extreme(norm_along(A, 1, (summed,), True), compared, ord, True)
    return found if keepdim else jnp.squeeze(found, (row, column))


def _extreme(x: Array, dim: int, ord: float, keepdim: bool) -> Array:
    """The greatest of what is not negative, 0 if there is nothing; for a negative `ord` the least, which nothing does not have."""
    if ord > 0:
        return jnp.max(x, dim, keepdims=keepdim, initial=0) if not x.shape[dim] else jnp.max(x, dim, keepdims=keepdim)
    if not x.shape[dim]:
        raise ShapeError(f"linalg.matrix_norm: the norm of order {ord} of an empty matrix is not defined: the operation has no identity")
    return jnp.min(x, dim, keepdims=keepdim)


@op(name="linalg.norm", method=False)
def norm(
    A: Array, ord: float | str | None = None, dim: int | tuple[int, ...] | None = None, keepdim: bool = False, *, dtype: dtypes.dtype | None = None
) -> Array:
    """The norm of vectors or matrices.

    Args:
        A: a floating-point or complex tensor.
        ord: `None` for the square root of the sum of squares over any dimensions; otherwise as in `matrix_norm` if `dim` names two dimensions (or is
            `None` and `A` has two), as in `vector_norm` if one.
        dim: the dimensions. Default: all.
        keepdim: keep them with length 1.
        dtype: convert to this first.
    """
    A = _check_norm_dtype(A, dtype, "norm")
    if ord is None:
        return norm_along(A, 2, wrap_dims(dim, A.ndim), keepdim)
    dims = (dim,) if isinstance(dim, int) else dim
    if dims is None:
        if A.ndim > 2 or (A.ndim < 1 and isinstance(ord, str)):
            raise ShapeError(f"linalg.norm: If dim is not specified but ord is, the input must be 1D or 2D. Got {A.ndim}D.")
        dims = tuple(range(A.ndim))
    if isinstance(ord, str) and len(dims) != 2:
        raise ShapeError(f"linalg.norm: ord={ord!r} is a norm of matrices and takes two dimensions, got {len(dims)}")
    if len(dims) > 2 or (dim == ()):
        raise ShapeError(f"linalg.norm: If dim is specified, it must be of length 1 or 2. Got {list(dims)}")
    return norm_of_matrices(A, ord, dims, keepdim) if len(dims) == 2 else norm_along(A, ord, wrap_dims(dims, A.ndim), keepdim)


@op(name="linalg.cond", method=False, keeps_vjp=True)
def cond(A: Array, p: float | str | None = None) -> Array:
    """The condition number of matrices: the norm times the norm of the inverse; infinite for a singular matrix.

    Args:
        A: matrices of shape ``(..., m, n)``; square ones unless `p` is `None`, 2 or -2.
        p: the norm, as in `matrix_norm`. Default: 2, the greatest singular value over the least.
    """
    A = matrices(A, "linalg.cond")
    real = jnp.real(A).dtype
    if p not in (None, 2, -2, "fro", "nuc", 1, -1, math.inf, -math.inf):
        raise ArgumentError(f"linalg.cond got an invalid norm type: {p!r}; expected None, 'fro', 'nuc', 1, -1, 2, -2, inf or -inf")
    if p in (None, 2, -2):
        if not A.size:
            return jnp.zeros(A.shape[:-2], real)
        sizes = singular_values(A)
        return sizes[..., -1] / sizes[..., 0] if p == -2 else sizes[..., 0] / sizes[..., -1]
    matrices(A, f"linalg.cond(ord={p})", square=True)
    if not A.size:
        return jnp.zeros(A.shape[:-2], real)
    inverse, info = _inverse(A)
    inverse = jnp.where(info[..., None, None] == 0, inverse, 1)
    product = norm_of_matrices(A, p, (-2, -1), False) * norm_of_matrices(inverse, p, (-2, -1), False)
    return jnp.where(info == 0, product, jnp.inf)


@op(name="linalg.matrix_rank", method=False)
def _matrix_rank(A: Array, atol: Array | float | None, rtol: Array | float | None, hermitian: bool) -> Array:
    """The number of singular values above a tolerance."""
    A = matrices(lax.stop_gradient(A), "linalg.matrix_rank", square=hermitian)
    atol, rtol = _tolerances(A, atol, rtol, "matrix_rank")
    batch = broadcast_shapes(A.shape[:-2], atol.shape, rtol.shape)
    if not A.size:
        return jnp.zeros(batch, jnp.int64)
    sizes = jnp.abs(eigh_factors(A)[0]) if hermitian else singular_values(A)
    return jnp.sum(sizes > threshold(sizes, atol, rtol)[..., None], -1, dtype=jnp.int64)


@numpy_names
def matrix_rank(A, tol=None, hermitian: bool = False, *, atol=None, rtol=None):
    """The rank of matrices: how many singular values are greater than ``max(atol, rtol * greatest)``.

    Args:
        A: matrices of shape ``(..., m, n)``.
        tol: another name for `atol`.
        hermitian: `A` is Hermitian, and only its lower triangle is read.
        atol, rtol: numbers or tensors of the batch's shape. Default of `rtol`: the dtype's precision times the longer side; 0 if `atol` is given.
    """
    return _matrix_rank(A, tol if atol is None else atol, rtol, hermitian)


# --- powers and products -------------------------------------------------------------------------------------------


@op(name="linalg.matrix_power", method=False)
def _matrix_power(A: Array, n: int) -> Array:
    """The n-th power of square matrices, by repeated squaring."""
    A = strong(A)
    if A.ndim < 2:
        raise ShapeError(f"linalg.matrix_power: The input tensor A must have at least 2 dimensions. Got shape {tuple(A.shape)}")
    if A.shape[-1] != A.shape[-2]:
        raise ShapeError(f"linalg.matrix_power: A must be batches of square matrices, but they are {A.shape[-2]} by {A.shape[-1]} matrices")
    if A.dtype == bool:
        raise DtypeError('"matrix_power" not implemented for neurarust_jax.bool; convert with .to(dtype)')
    result = jnp.broadcast_to(jnp.eye(A.shape[-1], dtype=A.dtype), A.shape) if n == 0 else None
    while n > 0:
        if n & 1:
            result = A if result is None else multiply(result, A)
        n >>= 1
        A = multiply(A, A) if n else A
    return result


@numpy_names
def matrix_power(A, n: int):
    """The `n`-th power of square matrices.

    Args:
        A: matrices of shape ``(..., m, m)``.
        n: the exponent; a negative one raises the inverse to ``-n``.

    Raises:
        RuntimeError: `n` is negative and a matrix is singular.
    """
    return _matrix_power(inv(A), -n) if n < 0 else _matrix_power(A, n)


_PADE_7 = (17297280, 8648640, 1995840, 277200, 25200, 1512, 56, 1)
_PADE_13 = (
    64764752532480000, 32382376266240000, 7771770303897600, 1187353796428800, 129060195264000, 10559470521600, 670442572800, 33522128640, 1323241920,
    40840800, 960960, 16380, 182, 1,
)  # fmt: skip
_MOST_SQUARINGS = 32  # for norms up to 1e10


def _exponential(A: Array) -> Array:
    """The matrix exponential by a Pade approximant, scaled and squared.

    Source: N. Higham, "The scaling and squaring method for the matrix exponential revisited", 2005.
    """
    double = jnp.real(A).dtype == jnp.float64
    coefficients, largest = (_PADE_13, 5.371920351148152) if double else (_PADE_7, 3.925724783138660)
    norm = jnp.max(jnp.sum(jnp.abs(lax.stop_gradient(A)), -2), -1)
    squarings = jnp.clip(jnp.ceil(jnp.log2(jnp.maximum(norm, largest) / largest)), 0, _MOST_SQUARINGS)
    A = A * jnp.exp2(-squarings)[..., None, None].astype(A.dtype)
    squared = multiply(A, A)
    odd = even = jnp.zeros_like(A)
    power = jnp.broadcast_to(jnp.eye(A.shape[-1], dtype=A.dtype), A.shape)
    for k in range(0, len(coefficients), 2):
        even, odd = even + coefficients[k] * power, odd + coefficients[k + 1] * power
        power = multiply(power, squared) if k + 2 < len(coefficients) else power
    odd = multiply(A, odd)
    result, _ = solve_system(even - odd, even + odd)

    def square(x, step):
        wanted = step < squarings
        return lax.cond(jnp.any(wanted), lambda x: jnp.where(wanted[..., None, None], multiply(x, x), x), lambda x: x, x), None

    return lax.scan(square, result, jnp.arange(_MOST_SQUARINGS, dtype=squarings.dtype))[0]


@op(name="linalg.matrix_exp", method=False, keeps_vjp=True)
def matrix_exp(A: Array) -> Array:
    """The exponential of square matrices, ``sum over k of A^k / k!``.

    Args:
        A: matrices of shape ``(..., n, n)``.
    """
    A = strong(A)
    wide = matrices(cast(A, jnp.float32) if A.dtype.kind in "fV" and A.dtype.itemsize < 4 else A, "linalg.matrix_exp", square=True)
    return cast(_exponential(wide), A.dtype) if A.size else A


@op(name="linalg.multi_dot", method=False)
def multi_dot(tensors: Sequence[Array]) -> Array:
    """The product of several matrices in the order that takes the fewest multiplications.

    Args:
        tensors: at least two matrices; the first and the last may be vectors, a row and a column.
    """
    if len(tensors) < 2:
        raise ShapeError(f"multi_dot(): expected at least 2 tensors but got {len(tensors)}")
    tensors = [strong(x) for x in tensors]
    for i, x in enumerate(tensors):
        if x.dtype != tensors[0].dtype:
            raise DtypeError(f"multi_dot(): all tensors must have be the same dtype: tensor 0 has {tensors[0].dtype} and tensor {i} {x.dtype}")
        if x.ndim != 2 and not (x.ndim == 1 and i in (0, len(tensors) - 1)):
            expected = "1D or 2D" if i in (0, len(tensors) - 1) else "2D"
            raise ShapeError(f"multi_dot(): tensor {i} must be {expected} but got {x.ndim}D")
    first, last = tensors[0].ndim == 1, tensors[-1].ndim == 1
    chain = [tensors[0][None] if first else tensors[0], *tensors[1:-1], tensors[-1][:, None] if last else tensors[-1]]
    for i, (a, b) in enumerate(zip(chain, chain[1:], strict=False)):
        if a.shape[1] != b.shape[0]:
            raise ShapeError(f"multi_dot(): tensors {i} and {i + 1} with shapes {list(a.shape)} and {list(b.shape)} cannot be multiplied")
    product = multiply_chain(chain)
    product = product[0] if first else product
    return product[..., 0] if last else product


@op(name="linalg.cross", method=False)
def cross(input: Array, other: Array, *, dim: int = -1) -> Array:
    """The cross product of vectors of three elements along `dim`.

    Args:
        input: a tensor with 3 elements along `dim`.
        other: a tensor with as many dimensions; those of size 1 broadcast.
        dim: the dimension of the vectors.
    """
    if jnp.ndim(input) != jnp.ndim(other):
        raise ShapeError(f"linalg.cross: inputs must have the same number of dimensions: shapes {jnp.shape(input)} and {jnp.shape(other)}")
    return cross_along(input, other, dim)


@numpy_names
def diagonal(A, *, offset: int = 0, dim1: int = -2, dim2: int = -1):
    """The diagonals of matrices. `nr.diagonal` with the last two dimensions by default."""
    return _diagonal_of(A, offset, dim1, dim2)


@op(name="linalg.vecdot", method=False)
def vecdot(x: Array, y: Array, *, dim: int = -1) -> Array:
    """The dot products of the vectors along `dim`, those of `x` conjugated: ``sum(conj(x) * y)``, with broadcasting.

    Args:
        x: a floating-point or complex tensor.
        y: a tensor of the same dtype.
        dim: the dimension of the vectors.
    """
    for name, v in (("x", x), ("y", y)):
        if not is_inexact(v):
            raise DtypeError(f"linalg.vecdot: Expected a floating point or complex tensor as input. Got {dtypes.from_numpy(v.dtype)}; write {name}.float()")
    if x.dtype != y.dtype:
        raise DtypeError(f"linalg.vecdot: Expected x and y to have the same dtype, but got {x.dtype} and {y.dtype}; write y.to(x.dtype)")
    x, y = promote(x, y)
    dim = wrap_dim(dim, max(x.ndim, y.ndim))
    return jnp.sum(jnp.conj(x) * y, dim) if x.ndim else jnp.conj(x) * y


@op(name="linalg.vander", method=False)
def vander(x: Array, N: int | None = None) -> Array:
    """Vandermonde matrices: the powers 0 to ``N - 1`` of every element, along a new last dimension.

    Args:
        x: a tensor.
        N: how many powers, at least two. Default: as many as `x` has elements along its last dimension.
    """
    x = strong(x)
    if x.dtype.kind in "biu":
        x = cast(x, jnp.int64)
    x = x.reshape(1) if x.ndim == 0 else x
    count = x.shape[-1] if N is None else N
    if count <= 1:
        raise ShapeError(f"N must be greater than 1, got {count} for an input of shape {tuple(x.shape)}")
    powers = jnp.broadcast_to(x[..., None], (*x.shape, count - 1))
    return jnp.concatenate([jnp.ones((*x.shape, 1), x.dtype), jnp.cumprod(powers, -1, dtype=x.dtype)], -1)


# --- tensors as matrices -------------------------------------------------------------------------------------------


@numpy_names
def tensorinv(A, ind: int = 2):
    """The inverse of a tensor as a map: ``tensordot(tensorinv(A, ind), A, ind)`` is the identity.

    Args:
        A: a tensor for which the product of the first `ind` sizes equals that of the others.
        ind: how many dimensions the map gives.

    Raises:
        RuntimeError: the sizes do not fit, or the map has no inverse.
    """
    if ind <= 0:
        raise ShapeError(f"Expected a strictly positive integer for 'ind', got {ind}")
    shape = tuple(A.shape)
    rows, columns = math.prod(shape[:ind]), math.prod(shape[ind:])
    if rows != columns:
        raise ShapeError(f"Expected self to satisfy the requirement prod(self.shape[ind:]) == prod(self.shape[:ind]), but got {columns} != {rows}")
    inverse, info = inv_ex(A.reshape(rows, columns))
    raise_if_failed(info, "linalg.tensorinv", _SINGULAR)
    return inverse.reshape(shape[ind:] + shape[:ind])


@numpy_names
def tensorsolve(A, B, dims: tuple[int, ...] | None = None):
    """The solution `X` of ``tensordot(A, X, X.ndim) = B``.

    Args:
        A: a tensor whose shape is that of `B` followed by that of `X`.
        B: a tensor.
        dims: dimensions of `A` to move to the end first.

    Raises:
        RuntimeError: the sizes do not fit, or there is no solution.
    """
    if dims is not None:
        last = [wrap_dim(d, A.ndim) for d in ((dims,) if isinstance(dims, int) else dims)]
        A = A.permute([d for d in range(A.ndim) if d not in last] + last)
    shape = tuple(A.shape[B.ndim :])
    if math.prod(shape) != math.prod(A.shape[: B.ndim]):
        raise ShapeError(
            f"Expected self to satisfy the requirement prod(self.shape[other.ndim:]) == prod(self.shape[:other.ndim]), "
            f"but got {math.prod(shape)} != {math.prod(A.shape[: B.ndim])}"
        )
    return solve(A.reshape(-1, math.prod(shape)), B.reshape(-1)).reshape(shape)
