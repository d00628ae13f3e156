"""The binomial distribution."""

from __future__ import annotations

from typing import Any

from ..autograd import no_grad
from ..errors import UnsupportedError
from ..ops import arange, binomial, exp, lgamma, logaddexp, zeros_like
from ..tensor import Tensor
from . import constraints
from .odds import OfOdds
from .utils import as_tensors, broadcast_all, probs_or_logits

__all__ = ["Binomial"]


class Binomial(OfOdds):
    """The number of successes in `total_count` trials.

    Args:
        total_count: the number of trials. Default: 1.
        probs: the probability of a success.
        logits: its log-odds, in the place of `probs`.
        validate_args: see `Distribution`.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.distributions.Binomial(10, nr.tensor(0.3)).mean
        tensor(3.)
    """

    arg_constraints = {"total_count": constraints.nonnegative_integer, "probs": constraints.unit_interval, "logits": constraints.real}
    has_enumerate_support = True

    def __init__(self, total_count: Any = 1, probs: Any = None, logits: Any = None, validate_args: bool | None = None):
        given = "probs" if probs_or_logits(probs, logits) else "logits"
        (parameter,) = as_tensors(probs if given == "probs" else logits)
        self._count = total_count if isinstance(total_count, int) else None  # known inside compiled functions too
        count, parameter = broadcast_all(total_count, parameter)
        self.total_count = count.to(parameter.dtype)
        self.__dict__[given] = parameter
        super().__init__(parameter.shape, validate_args=validate_args)

    @constraints.dependent_property(is_discrete=True, event_dim=0)
    def support(self) -> Any:
        return constraints.integer_interval(0, self.total_count)

    @property
    def mean(self) -> Tensor:
        return self.total_count * self.probs

    @property
    def mode(self) -> Tensor:
        return ((self.total_count + 1) * self.probs).floor().minimum(self.total_count)

    @property
    def variance(self) -> Tensor:
        return self.total_count * self.probs * (1 - self.probs)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        shape = self._extended_shape(sample_shape)
        with no_grad():
            return binomial(self.total_count.expand(shape), self.probs.expand(shape))

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        n, logits = self.total_count, self.logits
        ways = lgamma(n + 1) - lgamma(value + 1) - lgamma(n - value + 1)
        return ways + value * logits - n * logaddexp(logits, zeros_like(logits))

    def _one_count(self, function: str) -> int:
        """The number of trials, which must be the same over the batch."""
        if self._count is not None:
            return self._count
        counts = self.total_count.detach()
        most = int(counts.max())
        if not int(counts.min()) == most:
            raise UnsupportedError(f"Inhomogeneous total count not supported by `{function}`.")
        return most

    def entropy(self) -> Tensor:
        self._one_count("entropy")
        log_prob = self.log_prob(self.enumerate_support(False))
        return -(exp(log_prob) * log_prob).sum(0)

    def enumerate_support(self, expand: bool = True) -> Tensor:
        values = arange(1 + self._one_count("enumerate_support"), dtype=self._param.dtype).reshape(-1, *(1,) * len(self._batch_shape))
        return values.expand(-1, *self._batch_shape) if expand else values
