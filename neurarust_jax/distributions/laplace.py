"""The Laplace distribution."""

from __future__ import annotations

from typing import Any

from ..ops import expm1, finfo, log, log1p, rand, sign
from ..tensor import Tensor
from . import constraints
from .distribution import Distribution
from .utils import broadcast_all

__all__ = ["Laplace"]


class Laplace(Distribution):
    """The Laplace distribution.

    Args:
        loc: the mean.
        scale: the mean distance from it.
        validate_args: see `Distribution`.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.distributions.Laplace(0.0, 1.0).log_prob(nr.tensor(0.0)).exp()
        tensor(0.5000)
    """

    arg_constraints = {"loc": constraints.real, "scale": constraints.positive}
    support = constraints.real
    has_rsample = True

    def __init__(self, loc: Any, scale: Any, validate_args: bool | None = None):
        self.loc, self.scale = broadcast_all(loc, scale)
        super().__init__(self.loc.shape, validate_args=validate_args)

    @property
    def mean(self) -> Tensor:
        return self.loc

    @property
    def mode(self) -> Tensor:
        return self.loc

    @property
    def variance(self) -> Tensor:
        return 2 * self.scale**2

    @property
    def stddev(self) -> Tensor:
        return 2**0.5 * self.scale

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        least = finfo(self.loc.dtype).eps - 1
        u = least + rand(tuple(self._extended_shape(sample_shape)), dtype=self.loc.dtype) * (1 - least)
        return self.loc - self.scale * sign(u) * log1p(-u.abs())

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        return -log(2 * self.scale) - (value - self.loc).abs() / self.scale

    def cdf(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        distance = value - self.loc
        return 0.5 - 0.5 * sign(distance) * expm1(-distance.abs() / self.scale)

    def icdf(self, value: Tensor) -> Tensor:
        side = value - 0.5
        return self.loc - self.scale * sign(side) * log1p(-2 * side.abs())

    def entropy(self) -> Tensor:
        return 1 + log(2 * self.scale)
