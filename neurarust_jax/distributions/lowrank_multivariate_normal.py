"""The multivariate normal distribution whose covariance is a product of narrow matrices and a diagonal."""

from __future__ import annotations

import math
from typing import Any

from ..errors import ArgumentError
from ..ops import eye, log, sqrt
from ..ops.common import broadcast_shapes
from ..ops.factorization import cholesky
from ..ops.linalg import solve_triangular
from ..tensor import Size, Tensor
from . import constraints
from .distribution import Distribution
from .multivariate_normal import expanded, log_diagonal, mahalanobis
from .utils import as_tensors, lazy_property, standard_normal

__all__ = ["LowRankMultivariateNormal"]


class LowRankMultivariateNormal(Distribution):
    """The multivariate normal distribution with the covariance ``cov_factor @ cov_factor.mT + diag(cov_diag)``.

    Its density takes the Cholesky factor of a matrix as small as the rank, by Woodbury's formula.

    Args:
        loc: the mean, shape (..., n).
        cov_factor: shape (..., n, rank).
        cov_diag: positive, shape (..., n).
        validate_args: see `Distribution`.

    Examples:
        >>> import neurarust_jax as nr
        >>> normal = nr.distributions.LowRankMultivariateNormal(nr.zeros(2), nr.tensor([[1.0], [0.0]]), nr.ones(2))
        >>> normal.covariance_matrix
        tensor([[2., 0.],
                [0., 1.]])
    """

    arg_constraints = {
        "loc": constraints.real_vector,
        "cov_factor": constraints.independent(constraints.real, 2),
        "cov_diag": constraints.independent(constraints.positive, 1),
    }
    support = constraints.real_vector
    has_rsample = True

    def __init__(self, loc: Tensor, cov_factor: Tensor, cov_diag: Tensor, validate_args: bool | None = None):
        loc, cov_factor, cov_diag = as_tensors(loc, cov_factor, cov_diag)
        if loc.dim() < 1:
            raise ArgumentError("loc must be at least one-dimensional.")
        event_shape = tuple(loc.shape[-1:])
        if cov_factor.dim() < 2:
            raise ArgumentError("cov_factor must be at least two-dimensional, with optional leading batch dimensions")
        if tuple(cov_factor.shape[-2:-1]) != event_shape:
            raise ArgumentError(f"cov_factor must be a batch of matrices with shape {event_shape[0]} x m")
        if tuple(cov_diag.shape[-1:]) != event_shape:
            raise ArgumentError(f"cov_diag must be a batch of vectors with shape {event_shape}")
        try:
            batch_shape = Size(broadcast_shapes(tuple(loc.shape[:-1]), tuple(cov_factor.shape[:-2]), tuple(cov_diag.shape[:-1])))
        except RuntimeError as error:
            raise ArgumentError(f"Incompatible batch shapes: loc {loc.shape}, cov_factor {cov_factor.shape}, cov_diag {cov_diag.shape}") from error
        self.loc = loc.expand(batch_shape + loc.shape[-1:])
        self.cov_diag = cov_diag.expand(batch_shape + loc.shape[-1:])
        self.cov_factor = cov_factor.expand(batch_shape + cov_factor.shape[-2:])
        super().__init__(batch_shape, event_shape, validate_args=validate_args)
        self._unbroadcasted_cov_factor = cov_factor
        self._unbroadcasted_cov_diag = cov_diag
        scaled = cov_factor.mT / cov_diag.unsqueeze(-2)
        self._capacitance_tril = cholesky(scaled @ cov_factor + eye(cov_factor.shape[-1], dtype=cov_factor.dtype))

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        new = self._get_checked_instance(LowRankMultivariateNormal, _instance)
        as_they_are = ("_unbroadcasted_cov_factor", "_unbroadcasted_cov_diag", "_capacitance_tril")
        return expanded(self, new, Size(batch_shape), {"loc": 1, "cov_factor": 2, "cov_diag": 1}, as_they_are)

    def _whole(self, matrix: Tensor) -> Tensor:
        return matrix.expand(self._batch_shape + self._event_shape + self._event_shape)

    @property
    def mean(self) -> Tensor:
        return self.loc

    @property
    def mode(self) -> Tensor:
        return self.loc

    @lazy_property
    def variance(self) -> Tensor:
        """The variances."""
        variance = (self._unbroadcasted_cov_factor**2).sum(-1) + self._unbroadcasted_cov_diag
        return variance.expand(self._batch_shape + self._event_shape)

    @lazy_property
    def scale_tril(self) -> Tensor:
        """The lower Cholesky factor of the covariance."""
        root = sqrt(self._unbroadcasted_cov_diag).unsqueeze(-1)
        scaled = self._unbroadcasted_cov_factor / root
        return self._whole(root * cholesky(scaled @ scaled.mT + eye(self._event_shape[0], dtype=root.dtype)))

    @lazy_property
    def covariance_matrix(self) -> Tensor:
        """The covariance."""
        factor = self._unbroadcasted_cov_factor
        return self._whole(factor @ factor.mT + self._unbroadcasted_cov_diag.diag_embed())

    def _reduction(self) -> Tensor:
        """The matrix ``a`` with which the precision is ``diag(1 / cov_diag) - a.mT @ a``."""
        scaled = self._unbroadcasted_cov_factor.mT / self._unbroadcasted_cov_diag.unsqueeze(-2)
        return solve_triangular(self._capacitance_tril, scaled, upper=False)

    @lazy_property
    def precision_matrix(self) -> Tensor:
        """The inverse of the covariance."""
        a = self._reduction()
        return self._whole((1 / self._unbroadcasted_cov_diag).diag_embed() - a.mT @ a)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        shape = self._extended_shape(sample_shape)
        narrow = standard_normal(shape[:-1] + self.cov_factor.shape[-1:], self.loc)
        each = standard_normal(shape, self.loc)
        moved = (self._unbroadcasted_cov_factor @ narrow.unsqueeze(-1)).squeeze(-1)
        return self.loc + moved + sqrt(self._unbroadcasted_cov_diag) * each

    def _log_determinant(self) -> Tensor:
        """The logarithm of the determinant of the covariance."""
        return 2 * log_diagonal(self._capacitance_tril) + log(self._unbroadcasted_cov_diag).sum(-1)

    def _distance(self, difference: Tensor) -> Tensor:
        """The squared Mahalanobis length."""
        scaled = (self._unbroadcasted_cov_factor.mT / self._unbroadcasted_cov_diag.unsqueeze(-2)) @ difference.unsqueeze(-1)
        return (difference**2 / self._unbroadcasted_cov_diag).sum(-1) - mahalanobis(self._capacitance_tril, scaled.squeeze(-1))

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        distance = self._distance(value - self.loc)
        return -0.5 * (self._event_shape[0] * math.log(2 * math.pi) + self._log_determinant() + distance)

    def entropy(self) -> Tensor:
        result = 0.5 * (self._event_shape[0] * (1.0 + math.log(2 * math.pi)) + self._log_determinant())
        return result.expand(self._batch_shape)
