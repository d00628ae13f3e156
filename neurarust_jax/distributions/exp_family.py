"""Exponential families, whose entropy follows from their log-normalizer."""

from __future__ import annotations

from typing import Any

from ..autograd import enable_grad, grad
from ..errors import UnsupportedError
from ..tensor import Tensor
from .distribution import Distribution, missing
from .utils import sum_rightmost

__all__ = ["ExponentialFamily"]


class ExponentialFamily(Distribution):
    """A distribution with the density ``exp(t(x) . theta - F(theta) + k(x))``.

    A subclass that gives its natural parameters ``theta`` as `_natural_params`, ``F`` as `_log_normalizer` and the mean of ``k`` as `_mean_carrier_measure` has an
    entropy and a divergence without more.
    """

    _natural_params: Any = missing("natural parameters", "The natural parameters, a tuple of tensors.")
    _mean_carrier_measure: Any = missing("mean carrier measure", "The mean of the carrier measure's logarithm.")

    def _log_normalizer(self, *natural_params: Tensor) -> Tensor:
        """The logarithm of the normalizer as a function of the natural parameters."""
        raise UnsupportedError(f"{type(self).__name__} has no log-normalizer")

    def _mean_statistics(self) -> tuple[Tensor, list[Tensor], tuple[Any, ...]]:
        """The log-normalizer, the natural parameters, and its gradient by them: the means of the statistics."""
        parameters = [p.detach().requires_grad_() for p in self._natural_params]
        with enable_grad():
            normalizer = self._log_normalizer(*parameters)
            means = grad(normalizer.sum(), parameters, create_graph=True)
        return normalizer, parameters, means

    def entropy(self) -> Tensor:
        """The entropy, by the gradient of the log-normalizer."""
        result = -self._mean_carrier_measure
        normalizer, parameters, means = self._mean_statistics()
        products = [p * m for p, m in zip(parameters, means, strict=True)]
        return result + normalizer - sum(sum_rightmost(x, x.dim() - len(self.batch_shape)) for x in products)
