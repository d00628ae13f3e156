"""The array API's `linalg` over tensors."""

from __future__ import annotations

from typing import Any

from .. import dtypes, ops
from .. import linalg as _linalg
from ..errors import ShapeError
from ..tensor import Tensor

__all__ = [
    "cholesky", "cross", "det", "diagonal", "eigh", "eigvalsh", "inv", "matmul", "matrix_norm", "matrix_power", "matrix_rank", "matrix_transpose", "outer", "pinv", "qr", "slogdet",
    "solve", "svd", "svdvals", "tensordot", "trace", "vecdot", "vector_norm",
]  # fmt: skip

det, eigvalsh, inv, matrix_power, slogdet, svdvals = (getattr(_linalg, n) for n in ("det", "eigvalsh", "inv", "matrix_power", "slogdet", "svdvals"))
eigh, qr, svd = _linalg.eigh, _linalg.qr, _linalg.svd


def _promoted(x1: Tensor, x2: Tensor) -> tuple[Tensor, Tensor]:
    kind = dtypes.promote_types(x1.dtype, x2.dtype)
    return x1.to(kind), x2.to(kind)


def matmul(x1: Tensor, x2: Tensor, /) -> Tensor:
    """The matrix product."""
    x1, x2 = _promoted(x1, x2)
    return x1 @ x2


def matrix_transpose(x: Tensor, /) -> Tensor:
    """The transpose of each matrix."""
    if x.ndim < 2:
        raise ShapeError(f"matrix_transpose needs at least 2 dimensions, got shape {tuple(x.shape)}")
    return x.mT


def tensordot(x1: Tensor, x2: Tensor, /, *, axes: Any = 2) -> Tensor:
    """The sum of products over several dimensions."""
    x1, x2 = _promoted(x1, x2)
    return ops.tensordot(x1, x2, axes if isinstance(axes, int) else tuple(map(tuple, axes)))


def vecdot(x1: Tensor, x2: Tensor, /, *, axis: int = -1) -> Tensor:
    """The inner product of vectors; the first is conjugated."""
    x1, x2 = _promoted(x1, x2)
    return ops.sum(ops.conj(x1) * x2, axis, dtype=x1.dtype)


def outer(x1: Tensor, x2: Tensor, /) -> Tensor:
    """The products of each element of one vector with each of the other."""
    return ops.outer(*_promoted(x1, x2))


def cholesky(x: Tensor, /, *, upper: bool = False) -> Tensor:
    """The Cholesky factor."""
    return _linalg.cholesky(x, upper=upper)


def cross(x1: Tensor, x2: Tensor, /, *, axis: int = -1) -> Tensor:
    """The cross product of vectors of length 3."""
    return _linalg.cross(*_promoted(x1, x2), dim=axis)


def diagonal(x: Tensor, /, *, offset: int = 0) -> Tensor:
    """The diagonal of each matrix."""
    return ops.diagonal(x, offset, -2, -1)


def trace(x: Tensor, /, *, offset: int = 0, dtype: Any = None) -> Tensor:
    """The sum of the diagonal of each matrix."""
    return ops.sum(ops.diagonal(x, offset, -2, -1), -1, dtype=dtype)


def matrix_norm(x: Tensor, /, *, keepdims: bool = False, ord: Any = "fro") -> Tensor:
    """The norm of each matrix."""
    return _linalg.matrix_norm(x, ord, (-2, -1), keepdims)


def vector_norm(x: Tensor, /, *, axis: Any = None, keepdims: bool = False, ord: Any = 2) -> Tensor:
    """The norm of vectors, or of all elements."""
    return _linalg.vector_norm(x, ord, axis, keepdims)


def matrix_rank(x: Tensor, /, *, rtol: Any = None) -> Tensor:
    """The rank of each matrix."""
    return _linalg.matrix_rank(x, rtol=rtol)


def pinv(x: Tensor, /, *, rtol: Any = None) -> Tensor:
    """The pseudoinverse of each matrix."""
    return _linalg.pinv(x, rtol=rtol)


def solve(x1: Tensor, x2: Tensor, /) -> Tensor:
    """The solution of linear equations; `x2` is a vector only if it has one dimension."""
    x1, x2 = _promoted(x1, x2)
    if x2.ndim == 1:
        return _linalg.solve(x1, x2.unsqueeze(-1)).squeeze(-1)
    batch = ops.broadcast_shapes(tuple(x1.shape[:-2]), tuple(x2.shape[:-2]))
    return _linalg.solve(x1.expand(*batch, *x1.shape[-2:]), x2.expand(*batch, *x2.shape[-2:]))
