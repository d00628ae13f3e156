"""The generalized Pareto distribution."""

from __future__ import annotations

import math
from typing import Any

from ..ops import exp, expm1, log, log1p, rand, where
from ..tensor import Tensor
from . import constraints
from .distribution import Distribution
from .utils import broadcast_all

__all__ = ["GeneralizedPareto"]


class GeneralizedPareto(Distribution):
    """The generalized Pareto distribution, that of what exceeds a high threshold.

    Args:
        loc: the least value.
        scale: what a standard one is multiplied by.
        concentration: the shape: 0 is the exponential distribution, below 0 there is a greatest value.
        validate_args: see `Distribution`.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.distributions.GeneralizedPareto(0.0, 1.0, 0.5).mean
        tensor(2.)
    """

    arg_constraints = {"loc": constraints.real, "scale": constraints.positive, "concentration": constraints.real}
    has_rsample = True

    def __init__(self, loc: Any, scale: Any, concentration: Any, validate_args: bool | None = None):
        self.loc, self.scale, self.concentration = broadcast_all(loc, scale, concentration)
        super().__init__(self.loc.shape, validate_args=validate_args)

    @constraints.dependent_property(is_discrete=False, event_dim=0)
    def support(self) -> Any:
        most = where(self.concentration < 0, self.loc - self.scale / self.concentration, math.inf)
        return constraints.interval(self.loc, most)

    def _is_exponential(self) -> tuple[Tensor, Tensor]:
        """Where the concentration is 0, and the concentration with 1 in these places."""
        exponential = self.concentration.abs() <= 1e-8
        return exponential, where(exponential, 1.0, self.concentration)

    @property
    def mean(self) -> Tensor:
        k = self.concentration
        return where(k < 1, self.loc + self.scale / (1 - k), math.nan)

    @property
    def mode(self) -> Tensor:
        return self.loc

    @property
    def variance(self) -> Tensor:
        k = self.concentration
        return where(k < 0.5, self.scale**2 / ((1 - k) ** 2 * (1 - 2 * k)), math.nan)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        return self.icdf(rand(tuple(self._extended_shape(sample_shape)), dtype=self.loc.dtype))

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        exponential, k = self._is_exponential()
        z = (value - self.loc) / self.scale
        return where(exponential, -z, -(1 / k + 1) * log1p(k * z)) - log(self.scale)

    def log_survival_function(self, value: Tensor) -> Tensor:
        """The logarithm of the probability of what is above `value`."""
        if self._validate_args:
            self._validate_sample(value)
        exponential, k = self._is_exponential()
        z = (value - self.loc) / self.scale
        return where(exponential, -z, -log1p(k * z) / k)

    def log_cdf(self, value: Tensor) -> Tensor:
        """The logarithm of `cdf`."""
        return log1p(-exp(self.log_survival_function(value)))

    def cdf(self, value: Tensor) -> Tensor:
        return exp(self.log_cdf(value))

    def icdf(self, value: Tensor) -> Tensor:
        exponential, k = self._is_exponential()
        above = log1p(-value)
        return self.loc + self.scale * where(exponential, -above, expm1(-k * above) / k)

    def entropy(self) -> Tensor:
        return log(self.scale) + self.concentration + 1
