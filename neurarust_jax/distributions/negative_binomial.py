"""The negative binomial distribution."""

from __future__ import annotations

from typing import Any

from ..autograd import no_grad
from ..nn import functional as F
from ..ops import clamp, exp, lgamma, poisson, sigmoid, where
from ..tensor import Tensor
from . import constraints
from .gamma import Gamma
from .odds import OfOdds
from .utils import as_tensors, broadcast_all, probs_or_logits

__all__ = ["NegativeBinomial"]


class NegativeBinomial(OfOdds):
    """The number of successes before `total_count` failures.

    Args:
        total_count: the number of failures; any number from 0.
        probs: the probability of a success, below 1.
        logits: its log-odds, in the place of `probs`.
        validate_args: see `Distribution`.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.distributions.NegativeBinomial(3.0, nr.tensor(0.5)).mean
        tensor(3.)
    """

    arg_constraints = {
        "total_count": constraints.greater_than_eq(0),
        "probs": constraints.half_open_interval(0.0, 1.0),
        "logits": constraints.real,
    }
    support = constraints.nonnegative_integer

    def __init__(self, total_count: Any, probs: Any = None, logits: Any = None, validate_args: bool | None = None):
        given = "probs" if probs_or_logits(probs, logits) else "logits"
        (parameter,) = as_tensors(probs if given == "probs" else logits)
        count, parameter = broadcast_all(total_count, parameter)
        self.total_count = count.to(parameter.dtype)
        self.__dict__[given] = parameter
        super().__init__(parameter.shape, validate_args=validate_args)

    @property
    def mean(self) -> Tensor:
        return self.total_count * exp(self.logits)

    @property
    def mode(self) -> Tensor:
        return clamp(((self.total_count - 1) * exp(self.logits)).floor(), min=0.0)

    @property
    def variance(self) -> Tensor:
        return self.mean / sigmoid(-self.logits)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        with no_grad():
            rate = Gamma(self.total_count, exp(-self.logits), validate_args=False).sample(sample_shape)
            return poisson(rate)

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        n = self.total_count
        weight = n * F.logsigmoid(-self.logits) + value * F.logsigmoid(self.logits)
        ways = lgamma(n + value) - lgamma(1.0 + value) - lgamma(n)
        return weight + where(n + value == 0, 0.0, ways)
