"""The Dirichlet distribution."""

from __future__ import annotations

from typing import Any

from ..nn import functional as F
from ..ops import clamp, digamma, lgamma, where, xlogy, zeros
from ..ops.random import _dirichlet, draw
from ..tensor import Tensor
from . import constraints
from .exp_family import ExponentialFamily
from .utils import as_tensors

__all__ = ["Dirichlet"]


class Dirichlet(ExponentialFamily):
    """The Dirichlet distribution over the simplex.

    Args:
        concentration: along the last dimension.
        validate_args: see `Distribution`.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.distributions.Dirichlet(nr.tensor([1.0, 3.0])).mean
        tensor([0.2500, 0.7500])
    """

    arg_constraints = {"concentration": constraints.independent(constraints.positive, 1)}
    support = constraints.simplex
    has_rsample = True

    def __init__(self, concentration: Tensor, validate_args: bool | None = None):
        (concentration,) = as_tensors(concentration)
        if concentration.dim() < 1:
            raise ValueError("`concentration` parameter must be at least one-dimensional.")
        self.concentration = concentration
        super().__init__(concentration.shape[:-1], concentration.shape[-1:], validate_args=validate_args)

    @property
    def mean(self) -> Tensor:
        return self.concentration / self.concentration.sum(-1, keepdim=True)

    @property
    def mode(self) -> Tensor:
        above = clamp(self.concentration - 1, min=0.0)
        inside = above / above.sum(-1, keepdim=True)
        corner = F.one_hot(zeros(tuple(self._batch_shape), dtype="int64"), self.concentration.shape[-1]).to(inside.dtype)
        return where((self.concentration < 1).all(-1, keepdim=True), corner, inside)  # all corners are alike: the first one, as in PyTorch

    @property
    def variance(self) -> Tensor:
        total = self.concentration.sum(-1, keepdim=True)
        return self.concentration * (total - self.concentration) / (total**2 * (total + 1))

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        shape = self._extended_shape(sample_shape)
        return draw(_dirichlet, None, self.concentration, tuple(shape[:-1]))

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        c = self.concentration
        return xlogy(c - 1.0, value).sum(-1) + lgamma(c.sum(-1)) - lgamma(c).sum(-1)

    def entropy(self) -> Tensor:
        c, total = self.concentration, self.concentration.sum(-1)
        return lgamma(c).sum(-1) - lgamma(total) - (c.size(-1) - total) * digamma(total) - ((c - 1.0) * digamma(c)).sum(-1)

    @property
    def _natural_params(self) -> tuple[Tensor, ...]:
        return (self.concentration,)

    def _log_normalizer(self, x: Tensor) -> Tensor:
        return lgamma(x).sum(-1) - lgamma(x.sum(-1))
