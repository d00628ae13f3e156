"""What distributions have that are given by a probability or by its log-odds."""

from __future__ import annotations

from ..tensor import Size, Tensor
from .distribution import Distribution
from .utils import lazy_property, logits_to_probs, probs_to_logits


class OfOdds(Distribution):
    """A distribution given by one of `probs` and `logits`, which computes the other when it is asked for."""

    @property
    def _param(self) -> Tensor:
        """One that is known."""
        return self.__dict__["probs" if "probs" in self.__dict__ else "logits"]

    @lazy_property
    def logits(self) -> Tensor:
        """The log-odds."""
        return probs_to_logits(self.probs, is_binary=True)

    @lazy_property
    def probs(self) -> Tensor:
        """The probability."""
        return logits_to_probs(self.logits, is_binary=True)

    @property
    def param_shape(self) -> Size:
        """The shape of the parameter."""
        return self._param.size()
