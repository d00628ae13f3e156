"""The geometric distribution."""

from __future__ import annotations

from typing import Any

from ..autograd import no_grad
from ..errors import ArgumentError
from ..nn import functional as F
from ..ops import finfo, log, log1p, rand, where, zeros_like
from ..tensor import Tensor
from . import constraints
from .odds import OfOdds
from .utils import as_tensors, broadcast_all, is_traced, probs_or_logits

__all__ = ["Geometric"]


class Geometric(OfOdds):
    """The number of failures before the first success.

    Args:
        probs: the probability of a success, above 0.
        logits: its log-odds, in the place of `probs`.
        validate_args: see `Distribution`.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.distributions.Geometric(0.25).mean
        tensor(3.)
    """

    arg_constraints = {"probs": constraints.unit_interval, "logits": constraints.real}
    support = constraints.nonnegative_integer

    def __init__(self, probs: Any = None, logits: Any = None, validate_args: bool | None = None):
        given = "probs" if probs_or_logits(probs, logits) else "logits"
        (parameter,) = as_tensors(probs if given == "probs" else logits)
        self.__dict__[given] = parameter
        super().__init__(parameter.shape, validate_args=validate_args)
        if self._validate_args and given == "probs" and not is_traced(parameter) and not bool((parameter > 0).all()):
            raise ArgumentError(f"Expected parameter probs of distribution {self!r} to be positive but found invalid values:\n{parameter.detach()}")

    @property
    def mean(self) -> Tensor:
        return 1.0 / self.probs - 1.0

    @property
    def mode(self) -> Tensor:
        return zeros_like(self.probs)

    @property
    def variance(self) -> Tensor:
        return (1.0 / self.probs - 1.0) / self.probs

    def sample(self, sample_shape: Any = ()) -> Tensor:
        with no_grad():
            uniform = rand(tuple(self._extended_shape(sample_shape)), dtype=self.probs.dtype).clamp(min=finfo(self.probs.dtype).tiny)
            return (log(uniform) / log1p(-self.probs)).floor()

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        value, probs = broadcast_all(value, self.probs)
        failure = where((probs == 1) & (value == 0), 0.0, probs)
        return value * log1p(-failure) + log(self.probs)

    def entropy(self) -> Tensor:
        return F.binary_cross_entropy_with_logits(self.logits, self.probs, reduction="none") / self.probs
