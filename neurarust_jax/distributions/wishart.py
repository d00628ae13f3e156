"""The Wishart distribution."""

from __future__ import annotations

import math
from typing import Any

from ..errors import ArgumentError
from ..ops import arange, cholesky_inverse, cholesky_solve, clamp, digamma, finfo, mvlgamma, sqrt, where
from ..ops.common import broadcast_shapes
from ..ops.linalg import slogdet
from ..tensor import Size, Tensor
from . import constraints
from .exp_family import ExponentialFamily
from .gamma import standard_gamma
from .multivariate_normal import expanded, factor_of, log_diagonal, one_of
from .utils import as_tensors, is_traced, lazy_property, standard_normal

__all__ = ["Wishart"]


def _multivariate_digamma(x: Tensor, p: int) -> Tensor:
    """The derivative of `mvlgamma`."""
    return digamma(x.unsqueeze(-1) - 0.5 * arange(p, dtype=x.dtype)).sum(-1)


class Wishart(ExponentialFamily):
    """The Wishart distribution of positive-definite matrices: that of the sum of `df` outer products of normal vectors.

    Args:
        df: the degrees of freedom, above the size of the matrices less 1.
        covariance_matrix: that of the normal vectors.
        precision_matrix: its inverse, in its place.
        scale_tril: its lower Cholesky factor, in its place.
        validate_args: see `Distribution`.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.distributions.Wishart(nr.tensor(3.0), nr.eye(2)).mean
        tensor([[3., 0.],
                [0., 3.]])
    """

    support = constraints.positive_definite
    has_rsample = True
    _mean_carrier_measure = 0

    def __init__(
        self, df: Any, covariance_matrix: Any = None, precision_matrix: Any = None, scale_tril: Any = None, validate_args: bool | None = None
    ):  # fmt: skip
        name, matrix = one_of(covariance_matrix, precision_matrix, scale_tril)
        (df,) = as_tensors(df)
        batch_shape = Size(broadcast_shapes(tuple(matrix.shape[:-2]), tuple(df.shape)))
        event_shape = tuple(matrix.shape[-2:])
        if not is_traced(df) and bool((df <= event_shape[-1] - 1).any()):
            raise ArgumentError(f"Value of df={df.detach()} expected to be greater than ndim - 1 = {event_shape[-1] - 1}.")
        self.df = df.expand(batch_shape)
        self.__dict__[name] = matrix.expand(batch_shape + event_shape)
        super().__init__(batch_shape, event_shape, validate_args=validate_args)
        self._unbroadcasted_scale_tril = factor_of(name, matrix)

    @property
    def arg_constraints(self) -> dict[str, Any]:
        return {
            "covariance_matrix": constraints.positive_definite,
            "precision_matrix": constraints.positive_definite,
            "scale_tril": constraints.lower_cholesky,
            "df": constraints.greater_than(self._event_shape[-1] - 1),
        }

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        new = self._get_checked_instance(Wishart, _instance)
        return expanded(self, new, Size(batch_shape), {"df": 0, "covariance_matrix": 2, "precision_matrix": 2, "scale_tril": 2}, ("_unbroadcasted_scale_tril",))

    @lazy_property
    def scale_tril(self) -> Tensor:
        """The lower Cholesky factor of the covariance."""
        return self._unbroadcasted_scale_tril.expand(self._batch_shape + self._event_shape)

    @lazy_property
    def covariance_matrix(self) -> Tensor:
        """The covariance of the normal vectors."""
        factor = self._unbroadcasted_scale_tril
        return (factor @ factor.mT).expand(self._batch_shape + self._event_shape)

    @lazy_property
    def precision_matrix(self) -> Tensor:
        """The inverse of the covariance."""
        return cholesky_inverse(self._unbroadcasted_scale_tril).expand(self._batch_shape + self._event_shape)

    def _df_of_matrices(self) -> Tensor:
        return self.df.reshape(self._batch_shape + (1, 1))

    @property
    def mean(self) -> Tensor:
        return self._df_of_matrices() * self.covariance_matrix

    @property
    def mode(self) -> Tensor:
        factor = self._df_of_matrices() - self._event_shape[-1] - 1
        return where(factor <= 0, math.nan, factor) * self.covariance_matrix

    @property
    def variance(self) -> Tensor:
        covariance = self.covariance_matrix
        diagonal = covariance.diagonal(dim1=-2, dim2=-1)
        return self._df_of_matrices() * (covariance**2 + diagonal.unsqueeze(-1) * diagonal.unsqueeze(-2))

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        shape = self._extended_shape(sample_shape)
        p = shape[-1]
        chi2 = 2 * standard_gamma(0.5 * (self.df.unsqueeze(-1) - arange(p, dtype=self.df.dtype)), shape[:-1])
        noise = sqrt(clamp(chi2, min=finfo(chi2.dtype).tiny)).diag_embed() + standard_normal(shape, self.df).tril(-1)  # Bartlett's decomposition
        factor = self._unbroadcasted_scale_tril @ noise
        return factor @ factor.mT

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        nu, p, factor = self.df, self._event_shape[-1], self._unbroadcasted_scale_tril
        normalizer = nu * (0.5 * p * math.log(2) + log_diagonal(factor)) + mvlgamma(nu / 2, p)
        factor = factor.expand(*broadcast_shapes(tuple(value.shape[:-2]), tuple(factor.shape[:-2])), p, p)
        trace = cholesky_solve(value.expand(factor.shape), factor).diagonal(dim1=-2, dim2=-1).sum(-1)
        return (nu - p - 1) / 2 * slogdet(value)[1] - trace / 2 - normalizer

    def entropy(self) -> Tensor:
        nu, p = self.df, self._event_shape[-1]
        scale = (p + 1) * (0.5 * p * math.log(2) + log_diagonal(self._unbroadcasted_scale_tril))
        return scale + mvlgamma(nu / 2, p) - (nu - p - 1) / 2 * _multivariate_digamma(nu / 2, p) + nu * p / 2

    @property
    def _natural_params(self) -> tuple[Tensor, ...]:
        return -self.precision_matrix / 2, (self.df - self._event_shape[-1] - 1) / 2

    def _log_normalizer(self, x: Tensor, y: Tensor) -> Tensor:
        p = self._event_shape[-1]
        half = y + (p + 1) / 2
        return half * (p * math.log(2) - slogdet(-2 * x)[1]) + mvlgamma(half, p)
