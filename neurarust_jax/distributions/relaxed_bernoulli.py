"""The relaxed Bernoulli distribution."""

from __future__ import annotations

from typing import Any

from ..ops import exp, log, log1p, rand
from ..tensor import Tensor
from . import constraints
from .elementwise_transforms import SigmoidTransform
from .odds import OfOdds
from .transformed_distribution import TransformedDistribution
from .utils import as_tensors, broadcast_all, clamp_probs, probs_or_logits

__all__ = ["LogitRelaxedBernoulli", "RelaxedBernoulli"]


class LogitRelaxedBernoulli(OfOdds):
    """The distribution of the logits of `RelaxedBernoulli` samples.

    Args:
        temperature: how far from 0 and 1 samples may be.
        probs: the probability of 1.
        logits: the log-odds of 1, in the place of `probs`.
        validate_args: see `Distribution`.
    """

    arg_constraints = {"probs": constraints.unit_interval, "logits": constraints.real}
    support = constraints.real
    has_rsample = True

    def __init__(self, temperature: Any, probs: Any = None, logits: Any = None, validate_args: bool | None = None):
        self.temperature = temperature
        if probs_or_logits(probs, logits):
            (self.probs,) = as_tensors(probs)
        else:
            (self.logits,) = as_tensors(logits)
        super().__init__(self._param.shape, validate_args=validate_args)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        shape = self._extended_shape(sample_shape)
        probs = clamp_probs(self.probs)
        uniforms = clamp_probs(rand(tuple(shape), dtype=probs.dtype))
        return (log(uniforms) - log1p(-uniforms) + log(probs) - log1p(-probs)) / self.temperature

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        logits, value = broadcast_all(self.logits, value)
        difference = logits - value * self.temperature
        return log(as_tensors(self.temperature)[0]) + difference - 2 * log1p(exp(difference))


class RelaxedBernoulli(TransformedDistribution):
    """A Bernoulli distribution made continuous, so that gradients flow through its samples (Maddison et al., 2016; Jang et al., 2016).

    Args:
        temperature: how far from 0 and 1 samples may be.
        probs: the probability of 1.
        logits: the log-odds of 1, in the place of `probs`.
        validate_args: see `Distribution`.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.distributions.RelaxedBernoulli(nr.tensor(0.5), nr.tensor([0.1, 0.9])).rsample().shape
        neurarust_jax.Size([2])
    """

    arg_constraints = {"probs": constraints.unit_interval, "logits": constraints.real}
    support = constraints.unit_interval
    has_rsample = True

    def __init__(self, temperature: Any, probs: Any = None, logits: Any = None, validate_args: bool | None = None):
        super().__init__(LogitRelaxedBernoulli(temperature, probs, logits), SigmoidTransform(), validate_args=validate_args)

    @property
    def temperature(self) -> Any:
        """How far from 0 and 1 samples may be."""
        return self.base_dist.temperature

    @property
    def logits(self) -> Tensor:
        """The log-odds of 1."""
        return self.base_dist.logits

    @property
    def probs(self) -> Tensor:
        """The probability of 1."""
        return self.base_dist.probs
