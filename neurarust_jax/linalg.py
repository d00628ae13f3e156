"""`nr.linalg`: linear algebra. Everything is defined in `ops/linalg.py`, `ops/factorization.py` and `ops/spectral.py`."""

from .errors import LinAlgError
from .ops.factorization import (
    cholesky, cholesky_ex, householder_product, ldl_factor, ldl_factor_ex, ldl_solve, lu, lu_factor, lu_factor_ex, lu_solve, qr,
)  # fmt: skip
from .ops.linalg import (
    cond, cross, det, diagonal, inv, inv_ex, lstsq, matrix_exp, matrix_norm, matrix_power, matrix_rank, multi_dot, norm, pinv, slogdet, solve, solve_ex,
    solve_triangular, tensorinv, tensorsolve, vander, vecdot, vector_norm,
)  # fmt: skip
from .ops.matmul import matmul
from .ops.spectral import eig, eigh, eigvals, eigvalsh, svd, svdvals

__all__ = [
    "LinAlgError", "cholesky", "cholesky_ex", "cond", "cross", "det", "diagonal", "eig", "eigh", "eigvals", "eigvalsh", "householder_product", "inv",
    "inv_ex", "ldl_factor", "ldl_factor_ex", "ldl_solve", "lstsq", "lu", "lu_factor", "lu_factor_ex", "lu_solve", "matmul", "matrix_exp", "matrix_norm",
    "matrix_power", "matrix_rank", "multi_dot", "norm", "pinv", "qr", "slogdet", "solve", "solve_ex", "solve_triangular", "svd", "svdvals", "tensorinv",
    "tensorsolve", "vander", "vecdot", "vector_norm",
]  # fmt: skip
