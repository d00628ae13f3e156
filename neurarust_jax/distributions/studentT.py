"""Student's t distribution."""

from __future__ import annotations

import math
from typing import Any

from ..ops import clamp, digamma, finfo, lgamma, log, log1p, where
from ..tensor import Tensor
from . import constraints
from .distribution import Distribution
from .gamma import standard_gamma
from .utils import broadcast_all, standard_normal

__all__ = ["StudentT"]


class StudentT(Distribution):
    """Student's t distribution, moved and scaled.

    Args:
        df: the degrees of freedom.
        loc: the center. Default: 0.
        scale: what a standard one is multiplied by. Default: 1.
        validate_args: see `Distribution`.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.distributions.StudentT(4.0).variance
        tensor(2.)
    """

    arg_constraints = {"df": constraints.positive, "loc": constraints.real, "scale": constraints.positive}
    support = constraints.real
    has_rsample = True

    def __init__(self, df: Any, loc: Any = 0.0, scale: Any = 1.0, validate_args: bool | None = None):
        self.df, self.loc, self.scale = broadcast_all(df, loc, scale)
        super().__init__(self.df.shape, validate_args=validate_args)

    @property
    def mean(self) -> Tensor:
        return where(self.df > 1, self.loc, math.nan)

    @property
    def mode(self) -> Tensor:
        return self.loc

    @property
    def variance(self) -> Tensor:
        finite = self.scale**2 * self.df / (self.df - 2)
        return where(self.df > 2, finite, where(self.df > 1, math.inf, math.nan))

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        shape = self._extended_shape(sample_shape)
        normal = standard_normal(shape, self.df)
        chi2 = clamp(2 * standard_gamma(0.5 * self.df, shape), min=finfo(self.df.dtype).tiny)
        return self.loc + self.scale * normal * (self.df / chi2).sqrt()

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        y = (value - self.loc) / self.scale
        half = 0.5 * (self.df + 1)
        normalizer = log(self.scale) + 0.5 * log(self.df) + 0.5 * math.log(math.pi) + lgamma(0.5 * self.df) - lgamma(half)
        return -half * log1p(y**2 / self.df) - normalizer

    def entropy(self) -> Tensor:
        half = 0.5 * (self.df + 1)
        log_beta = lgamma(0.5 * self.df) + math.lgamma(0.5) - lgamma(half)
        return log(self.scale) + half * (digamma(half) - digamma(0.5 * self.df)) + 0.5 * log(self.df) + log_beta
