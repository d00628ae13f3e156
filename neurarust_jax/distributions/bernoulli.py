"""The Bernoulli distribution."""

from __future__ import annotations

import math
from typing import Any

from ..autograd import no_grad
from ..nn import functional as F
from ..ops import arange, bernoulli, exp, log1p, where
from ..tensor import Tensor
from . import constraints
from .exp_family import ExponentialFamily
from .odds import OfOdds
from .utils import as_tensors, broadcast_all, probs_or_logits

__all__ = ["Bernoulli"]


class Bernoulli(OfOdds, ExponentialFamily):
    """1 with probability `probs`, else 0.

    Args:
        probs: the probability of 1.
        logits: the log-odds of 1, in the place of `probs`.
        validate_args: see `Distribution`.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.distributions.Bernoulli(0.25).log_prob(nr.tensor(1.0)).exp()
        tensor(0.2500)
    """

    arg_constraints = {"probs": constraints.unit_interval, "logits": constraints.real}
    support = constraints.boolean
    has_enumerate_support = True
    _mean_carrier_measure = 0

    def __init__(self, probs: Any = None, logits: Any = None, validate_args: bool | None = None):
        if probs_or_logits(probs, logits):
            (self.probs,) = as_tensors(probs)
        else:
            (self.logits,) = as_tensors(logits)
        super().__init__(self._param.shape, validate_args=validate_args)

    @property
    def mean(self) -> Tensor:
        return self.probs

    @property
    def mode(self) -> Tensor:
        return where(self.probs == 0.5, math.nan, (self.probs >= 0.5).to(self.probs.dtype))

    @property
    def variance(self) -> Tensor:
        return self.probs * (1 - self.probs)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        with no_grad():
            return bernoulli(self.probs.expand(self._extended_shape(sample_shape)))

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        logits, value = broadcast_all(self.logits, value)
        return -F.binary_cross_entropy_with_logits(logits, value, reduction="none")

    def entropy(self) -> Tensor:
        return F.binary_cross_entropy_with_logits(self.logits, self.probs, reduction="none")

    def enumerate_support(self, expand: bool = True) -> Tensor:
        values = arange(2, dtype=self._param.dtype).reshape(-1, *(1,) * len(self._batch_shape))
        return values.expand(-1, *self._batch_shape) if expand else values

    @property
    def _natural_params(self) -> tuple[Tensor, ...]:
        return (self.logits,)

    def _log_normalizer(self, x: Tensor) -> Tensor:
        return log1p(exp(x))
