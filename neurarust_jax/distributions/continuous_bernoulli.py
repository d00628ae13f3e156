"""The continuous Bernoulli distribution."""

from __future__ import annotations

import math
from typing import Any

from ..autograd import no_grad
from ..errors import ArgumentError
from ..nn import functional as F
from ..ops import expm1, full_like, log, log1p, rand, sqrt, where
from ..tensor import Tensor
from . import constraints
from .exp_family import ExponentialFamily
from .odds import OfOdds
from .utils import as_tensors, broadcast_all, clamp_probs, is_traced, lazy_property, logits_to_probs, probs_or_logits

__all__ = ["ContinuousBernoulli"]


class ContinuousBernoulli(OfOdds, ExponentialFamily):
    """A distribution over numbers between 0 and 1 whose density is a Bernoulli's probability, normalized (Loaiza-Ganem and Cunningham, 2019).

    Args:
        probs: between 0 and 1.
        logits: their log-odds, in the place of `probs`.
        lims: between these, Taylor series around 1/2 take the place of the formulas.
        validate_args: see `Distribution`.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.distributions.ContinuousBernoulli(0.5).mean
        tensor(0.5000)
    """

    arg_constraints = {"probs": constraints.unit_interval, "logits": constraints.real}
    support = constraints.unit_interval
    has_rsample = True
    _mean_carrier_measure = 0

    def __init__(self, probs: Any = None, logits: Any = None, lims: tuple[float, float] = (0.499, 0.501), validate_args: bool | None = None):
        if probs_or_logits(probs, logits):
            (probs,) = as_tensors(probs)
            if validate_args and not is_traced(probs) and not bool(constraints.unit_interval.check(probs.detach()).all()):
                raise ArgumentError("The parameter probs has invalid values")
            self.probs = clamp_probs(probs)
        else:
            (self.logits,) = as_tensors(logits)
        self._lims = lims
        super().__init__(self._param.shape, validate_args=validate_args)

    @lazy_property
    def probs(self) -> Tensor:
        """The parameter between 0 and 1."""
        return clamp_probs(logits_to_probs(self.logits, is_binary=True))

    def _stable(self) -> tuple[Tensor, Tensor, Tensor]:
        """Where the formulas hold, the parameter with another one in the other places, and its distance from 1/2."""
        stable = (self.probs <= self._lims[0]) | (self.probs > self._lims[1])
        return stable, where(stable, self.probs, self._lims[0]), self.probs - 0.5

    def _cont_bern_log_norm(self) -> Tensor:
        """The logarithm of the normalizing factor."""
        stable, p, x = self._stable()
        low = p <= 0.5
        difference = where(low, log1p(-2 * where(low, p, 0.0)), log(2 * where(low, 1.0, p) - 1))
        return where(stable, log((log1p(-p) - log(p)).abs()) - difference, math.log(2) + (4 / 3 + 104 / 45 * x**2) * x**2)

    @property
    def mean(self) -> Tensor:
        stable, p, x = self._stable()
        return where(stable, p / (2 * p - 1) + 1 / (log1p(-p) - log(p)), 0.5 + (1 / 3 + 16 / 45 * x**2) * x)

    @property
    def stddev(self) -> Tensor:
        return sqrt(self.variance)

    @property
    def variance(self) -> Tensor:
        stable, p, x = self._stable()
        return where(stable, p * (p - 1) / (1 - 2 * p) ** 2 + 1 / (log1p(-p) - log(p)) ** 2, 1 / 12 - (1 / 15 - 128 / 945 * x**2) * x**2)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        with no_grad():
            return self.rsample(sample_shape)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        return self.icdf(rand(tuple(self._extended_shape(sample_shape)), dtype=self.probs.dtype))

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        logits, value = broadcast_all(self.logits, value)
        return -F.binary_cross_entropy_with_logits(logits, value, reduction="none") + self._cont_bern_log_norm()

    def cdf(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        stable, p, _ = self._stable()
        inside = where(stable, (p**value * (1 - p) ** (1 - value) + p - 1) / (2 * p - 1), value)
        return where(value <= 0, 0.0, where(value >= 1, 1.0, inside))

    def icdf(self, value: Tensor) -> Tensor:
        stable, p, _ = self._stable()
        return where(stable, (log1p(-p + value * (2 * p - 1)) - log1p(-p)) / (log(p) - log1p(-p)), value)

    def entropy(self) -> Tensor:
        zeros, ones = log1p(-self.probs), log(self.probs)
        return self.mean * (zeros - ones) - self._cont_bern_log_norm() - zeros

    @property
    def _natural_params(self) -> tuple[Tensor, ...]:
        return (self.logits,)

    def _log_normalizer(self, x: Tensor) -> Tensor:
        stable = (x <= self._lims[0] - 0.5) | (x > self._lims[1] - 0.5)
        held = where(stable, x, full_like(x, self._lims[0] - 0.5))
        return where(stable, log(expm1(held).abs()) - log(held.abs()), 0.5 * x + x**2 / 24 - x**4 / 2880)
