"""The Fisher-Snedecor, or F, distribution."""

from __future__ import annotations

import math
from typing import Any

from ..ops import clamp, finfo, lgamma, log, log1p, where
from ..tensor import Tensor
from . import constraints
from .distribution import Distribution
from .gamma import standard_gamma
from .utils import broadcast_all

__all__ = ["FisherSnedecor"]


class FisherSnedecor(Distribution):
    """The distribution of the ratio of two chi-squared numbers, each divided by its degrees of freedom.

    Args:
        df1, df2: the degrees of freedom of the numerator and of the denominator.
        validate_args: see `Distribution`.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.distributions.FisherSnedecor(1.0, 4.0).mean
        tensor(2.)
    """

    arg_constraints = {"df1": constraints.positive, "df2": constraints.positive}
    support = constraints.positive
    has_rsample = True

    def __init__(self, df1: Any, df2: Any, validate_args: bool | None = None):
        self.df1, self.df2 = broadcast_all(df1, df2)
        super().__init__(self.df1.shape, validate_args=validate_args)

    @property
    def mean(self) -> Tensor:
        return where(self.df2 > 2, self.df2 / (self.df2 - 2), math.nan)

    @property
    def mode(self) -> Tensor:
        return where(self.df1 > 2, (self.df1 - 2) / self.df1 * self.df2 / (self.df2 + 2), math.nan)

    @property
    def variance(self) -> Tensor:
        m, n = self.df1, self.df2
        return where(n > 4, 2 * n**2 * (m + n - 2) / (m * (n - 2) ** 2 * (n - 4)), math.nan)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        shape = self._extended_shape(sample_shape)
        tiny = finfo(self.df1.dtype).tiny
        above = standard_gamma(0.5 * self.df1, shape) / (0.5 * self.df1)
        below = clamp(standard_gamma(0.5 * self.df2, shape) / (0.5 * self.df2), min=tiny)
        return clamp(above / below, min=tiny)

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        first, second, ratio = 0.5 * self.df1, 0.5 * self.df2, self.df1 / self.df2
        normalizer = lgamma(first + second) - lgamma(first) - lgamma(second)
        return normalizer + first * log(ratio) + (first - 1) * log(value) - (first + second) * log1p(ratio * value)
