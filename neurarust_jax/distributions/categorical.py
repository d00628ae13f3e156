"""The categorical distribution."""

from __future__ import annotations

import math
from typing import Any

from ..autograd import no_grad
from ..errors import ArgumentError
from ..ops import arange, broadcast_tensors, clamp, finfo, full, gather, logsumexp, multinomial
from ..tensor import Size, Tensor
from . import constraints
from .distribution import Distribution
from .utils import as_tensors, lazy_property, logits_to_probs, probs_or_logits, probs_to_logits, product

__all__ = ["Categorical"]


class Categorical(Distribution):
    """One of the integers from 0 to ``K - 1``.

    Args:
        probs: weights along the last dimension; they are divided by their sum.
        logits: logarithms of weights along the last dimension, in the place of `probs`; they are normalized too.
        validate_args: see `Distribution`.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.distributions.Categorical(nr.tensor([1.0, 3.0])).probs
        tensor([0.2500, 0.7500])
    """

    arg_constraints = {"probs": constraints.simplex, "logits": constraints.real_vector}
    has_enumerate_support = True

    def __init__(self, probs: Any = None, logits: Any = None, validate_args: bool | None = None):
        given = "probs" if probs_or_logits(probs, logits) else "logits"
        (weights,) = as_tensors(probs if given == "probs" else logits)
        if weights.dim() < 1:
            raise ArgumentError(f"`{given}` parameter must be at least one-dimensional.")
        if given == "probs":
            self.probs = weights / weights.sum(-1, keepdim=True)
        else:
            self.logits = weights - logsumexp(weights, -1, keepdim=True)
        self._num_events = weights.size(-1)
        super().__init__(weights.shape[:-1], validate_args=validate_args)

    @property
    def _param(self) -> Tensor:
        return self.__dict__["probs" if "probs" in self.__dict__ else "logits"]

    @constraints.dependent_property(is_discrete=True, event_dim=0)
    def support(self) -> Any:
        return constraints.integer_interval(0, self._num_events - 1)

    @lazy_property
    def logits(self) -> Tensor:
        """The logarithms of the probabilities."""
        return probs_to_logits(self.probs)

    @lazy_property
    def probs(self) -> Tensor:
        """The probabilities."""
        return logits_to_probs(self.logits)

    @property
    def param_shape(self) -> Size:
        """The shape of the parameter."""
        return self._param.size()

    @property
    def mean(self) -> Tensor:
        return full(tuple(self._batch_shape), math.nan, dtype=self.probs.dtype)

    @property
    def mode(self) -> Tensor:
        return self.probs.argmax(-1)

    @property
    def variance(self) -> Tensor:
        return self.mean

    def sample(self, sample_shape: Any = ()) -> Tensor:
        shape = self._extended_shape(sample_shape)
        count = product(shape[: len(shape) - len(self._batch_shape)])
        with no_grad():
            drawn = multinomial(self.probs.reshape(-1, self._num_events), count, True) if product(shape) else full((0,), 0)
        return drawn.T.reshape(shape)

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        index, logits = broadcast_tensors(value.long().unsqueeze(-1), self.logits)
        return gather(logits, -1, index[..., :1]).squeeze(-1)

    def entropy(self) -> Tensor:
        logits = clamp(self.logits, min=finfo(self.logits.dtype).min)
        return -(logits * self.probs).sum(-1)

    def enumerate_support(self, expand: bool = True) -> Tensor:
        values = arange(self._num_events).reshape(-1, *(1,) * len(self._batch_shape))
        return values.expand(-1, *self._batch_shape) if expand else values
