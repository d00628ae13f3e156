"""The multivariate normal distribution."""

from __future__ import annotations

import math
from typing import Any

from ..errors import ArgumentError
from ..ops import cholesky_inverse, eye, log
from ..ops.common import broadcast_shapes
from ..ops.factorization import cholesky
from ..ops.linalg import solve_triangular
from ..tensor import Size, Tensor
from . import constraints
from .distribution import Distribution
from .utils import as_tensors, lazy_property, standard_normal

__all__ = ["MultivariateNormal"]


def log_diagonal(factor: Tensor) -> Tensor:
    """The sum of the logarithms of the diagonal: of a Cholesky factor, half the logarithm of the matrix's determinant."""
    return log(factor.diagonal(dim1=-2, dim2=-1)).sum(-1)


def mahalanobis(factor: Tensor, difference: Tensor) -> Tensor:
    """The squared length of vectors in the metric of the inverse of the matrix whose Cholesky factor is given; batches broadcast."""
    if factor.dim() == 2:  # one matrix for all vectors
        flat = difference.reshape(-1, difference.shape[-1])
        solved = solve_triangular(factor, flat.mT, upper=False)
        return (solved**2).sum(0).reshape(difference.shape[:-1])
    solved = solve_triangular(factor, difference.unsqueeze(-1), upper=False)
    return (solved.squeeze(-1) ** 2).sum(-1)


def precision_to_scale_tril(precision: Tensor) -> Tensor:
    """The Cholesky factor of the inverse of a matrix."""
    flipped = cholesky(precision.flip((-2, -1)))
    upper = flipped.flip((-2, -1)).mT
    return solve_triangular(upper, eye(precision.shape[-1], dtype=precision.dtype), upper=False)


def one_of(covariance_matrix: Any, precision_matrix: Any, scale_tril: Any) -> tuple[str, Tensor]:
    """The name and the value of the only matrix that is given."""
    given = {"covariance_matrix": covariance_matrix, "precision_matrix": precision_matrix, "scale_tril": scale_tril}
    given = {name: value for name, value in given.items() if value is not None}
    if len(given) != 1:
        raise ArgumentError("Exactly one of covariance_matrix or precision_matrix or scale_tril may be specified.")
    ((name, value),) = given.items()
    (matrix,) = as_tensors(value)
    if matrix.dim() < 2:
        raise ArgumentError(f"{name} must be at least two-dimensional, with optional leading batch dimensions")
    return name, matrix


def factor_of(name: str, matrix: Tensor) -> Tensor:
    """The Cholesky factor of the covariance, of whichever matrix is given."""
    return matrix if name == "scale_tril" else cholesky(matrix) if name == "covariance_matrix" else precision_to_scale_tril(matrix)


class MultivariateNormal(Distribution):
    """The multivariate normal distribution, by its covariance, its precision, or the Cholesky factor of its covariance. The factor is the cheapest.

    Args:
        loc: the mean.
        covariance_matrix: symmetric and positive-definite.
        precision_matrix: its inverse, in its place.
        scale_tril: its lower Cholesky factor, in its place.
        validate_args: see `Distribution`.

    Examples:
        >>> import neurarust_jax as nr
        >>> normal = nr.distributions.MultivariateNormal(nr.zeros(2), nr.eye(2))
        >>> normal.log_prob(nr.tensor([0.0, 1.0]))
        tensor(-2.3379)
    """

    arg_constraints = {
        "loc": constraints.real_vector,
        "covariance_matrix": constraints.positive_definite,
        "precision_matrix": constraints.positive_definite,
        "scale_tril": constraints.lower_cholesky,
    }
    support = constraints.real_vector
    has_rsample = True

    def __init__(
        self, loc: Tensor, covariance_matrix: Any = None, precision_matrix: Any = None, scale_tril: Any = None, validate_args: bool | None = None
    ):  # fmt: skip
        (loc,) = as_tensors(loc)
        if loc.dim() < 1:
            raise ArgumentError("loc must be at least one-dimensional.")
        name, matrix = one_of(covariance_matrix, precision_matrix, scale_tril)
        batch_shape = Size(broadcast_shapes(tuple(matrix.shape[:-2]), tuple(loc.shape[:-1])))
        self.__dict__[name] = matrix.expand(batch_shape + matrix.shape[-2:])
        self.loc = loc.expand(batch_shape + loc.shape[-1:])
        super().__init__(batch_shape, self.loc.shape[-1:], validate_args=validate_args)
        self._unbroadcasted_scale_tril = factor_of(name, matrix)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        new = self._get_checked_instance(MultivariateNormal, _instance)
        return expanded(
            self, new, Size(batch_shape), {"loc": 1, "covariance_matrix": 2, "precision_matrix": 2, "scale_tril": 2}, ("_unbroadcasted_scale_tril",)
        )

    @lazy_property
    def scale_tril(self) -> Tensor:
        """The lower Cholesky factor of the covariance."""
        return self._unbroadcasted_scale_tril.expand(self._batch_shape + self._event_shape + self._event_shape)

    @lazy_property
    def covariance_matrix(self) -> Tensor:
        """The covariance."""
        factor = self._unbroadcasted_scale_tril
        return (factor @ factor.mT).expand(self._batch_shape + self._event_shape + self._event_shape)

    @lazy_property
    def precision_matrix(self) -> Tensor:
        """The inverse of the covariance."""
        return cholesky_inverse(self._unbroadcasted_scale_tril).expand(self._batch_shape + self._event_shape + self._event_shape)

    @property
    def mean(self) -> Tensor:
        return self.loc

    @property
    def mode(self) -> Tensor:
        return self.loc

    @property
    def variance(self) -> Tensor:
        return (self._unbroadcasted_scale_tril**2).sum(-1).expand(self._batch_shape + self._event_shape)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        noise = standard_normal(self._extended_shape(sample_shape), self.loc)
        return self.loc + (self._unbroadcasted_scale_tril @ noise.unsqueeze(-1)).squeeze(-1)

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        distance = mahalanobis(self._unbroadcasted_scale_tril, value - self.loc)
        return -0.5 * (self._event_shape[0] * math.log(2 * math.pi) + distance) - log_diagonal(self._unbroadcasted_scale_tril)

    def entropy(self) -> Tensor:
        result = 0.5 * self._event_shape[0] * (1.0 + math.log(2 * math.pi)) + log_diagonal(self._unbroadcasted_scale_tril)
        return result.expand(self._batch_shape)


def expanded(old: Any, new: Any, batch_shape: Size, dims: dict[str, int], as_they_are: tuple[str, ...]) -> Any:
    """Fill an instance with parameters expanded to a batch shape, each with so many dimensions of its own, and others as they are."""
    for name, dim in dims.items():
        if name in old.__dict__:
            value = old.__dict__[name]
            new.__dict__[name] = value.expand(batch_shape + value.shape[value.dim() - dim :])
    for name in as_they_are:
        new.__dict__[name] = old.__dict__[name]
    Distribution.__init__(new, batch_shape, old.event_shape, validate_args=False)
    new._validate_args = old._validate_args
    return new
