"""Mixtures of distributions of one family."""

from __future__ import annotations

from typing import Any

from ..autograd import no_grad
from ..errors import ArgumentError
from ..ops import gather, log_softmax, logsumexp
from ..ops.common import broadcast_shapes
from ..tensor import Size, Tensor
from . import constraints
from .categorical import Categorical
from .distribution import Distribution

__all__ = ["MixtureSameFamily"]


class MixtureSameFamily(Distribution):
    """A mixture whose components are the last batch dimension of one distribution.

    Args:
        mixture_distribution: a `Categorical` that chooses the component.
        component_distribution: the components.
        validate_args: see `Distribution`.

    Examples:
        >>> import neurarust_jax as nr
        >>> from neurarust_jax.distributions import Categorical, MixtureSameFamily, Normal
        >>> mixture = MixtureSameFamily(Categorical(nr.ones(2)), Normal(nr.tensor([-1.0, 1.0]), nr.ones(2)))
        >>> mixture.mean, mixture.variance
        (tensor(0.), tensor(2.))
    """

    arg_constraints = {}
    has_rsample = False

    def __init__(self, mixture_distribution: Categorical, component_distribution: Distribution, validate_args: bool | None = None):
        if not isinstance(mixture_distribution, Categorical):
            raise ArgumentError(f"mixture_distribution is a nr.distributions.Categorical, got {type(mixture_distribution).__name__}")
        if not isinstance(component_distribution, Distribution):
            raise ArgumentError(f"component_distribution is a nr.distributions.Distribution, got {type(component_distribution).__name__}")
        mixed, components = tuple(mixture_distribution.batch_shape), tuple(component_distribution.batch_shape)
        try:
            fits = not mixed or broadcast_shapes(mixed, components[:-1]) is not None
        except RuntimeError:
            fits = False
        if not components or not fits:
            raise ArgumentError(f"`mixture_distribution.batch_shape` ({mixed}) is not compatible with `component_distribution.batch_shape` ({components})")
        if mixture_distribution._num_events != components[-1]:
            raise ArgumentError(
                f"`mixture_distribution component` ({mixture_distribution._num_events}) does not equal `component_distribution.batch_shape[-1]` ({components[-1]})"
            )
        self._mixture_distribution = mixture_distribution
        self._component_distribution = component_distribution
        self._num_component = components[-1]
        self._event_ndims = len(component_distribution.event_shape)
        super().__init__(components[:-1], component_distribution.event_shape, validate_args=validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        new = self._get_checked_instance(MixtureSameFamily, _instance)
        batch_shape = Size(batch_shape)
        new._component_distribution = self._component_distribution.expand((*batch_shape, self._num_component))
        new._mixture_distribution = self._mixture_distribution.expand(batch_shape)
        new._num_component, new._event_ndims = self._num_component, self._event_ndims
        Distribution.__init__(new, batch_shape, self.event_shape, validate_args=False)
        new._validate_args = self._validate_args
        return new

    @constraints.dependent_property
    def support(self) -> Any:
        return constraints.MixtureSameFamilyConstraint(self._component_distribution.support)

    @property
    def mixture_distribution(self) -> Categorical:
        """What chooses the component."""
        return self._mixture_distribution

    @property
    def component_distribution(self) -> Distribution:
        """The components."""
        return self._component_distribution

    def _padded(self, x: Tensor) -> Tensor:
        """A value with a dimension for the components."""
        return x.unsqueeze(-1 - self._event_ndims)

    def _weights(self) -> Tensor:
        """The probabilities of the components, with dimensions for the event."""
        probs = self.mixture_distribution.probs
        return probs.reshape(*probs.shape, *(1,) * self._event_ndims)

    @property
    def mean(self) -> Tensor:
        return (self._weights() * self.component_distribution.mean).sum(-1 - self._event_ndims)

    @property
    def variance(self) -> Tensor:
        dim, weights = -1 - self._event_ndims, self._weights()
        within = (weights * self.component_distribution.variance).sum(dim)
        return within + (weights * (self.component_distribution.mean - self._padded(self.mean)) ** 2).sum(dim)

    def cdf(self, x: Tensor) -> Tensor:
        return (self.component_distribution.cdf(self._padded(x)) * self.mixture_distribution.probs).sum(-1)

    def log_prob(self, x: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(x)
        components = self.component_distribution.log_prob(self._padded(x))
        return logsumexp(components + log_softmax(self.mixture_distribution.logits, -1), -1)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        sample_shape = (sample_shape,) if isinstance(sample_shape, int) else tuple(sample_shape)
        with no_grad():
            shape = tuple(self._extended_shape(sample_shape))
            dim = len(shape) - self._event_ndims
            samples = self.component_distribution.sample(sample_shape)
            chosen = self.mixture_distribution.expand(self.batch_shape).sample(sample_shape)
            index = chosen.reshape(*chosen.shape, *(1,) * (self._event_ndims + 1)).expand(*shape[:dim], 1, *shape[dim:])
            return gather(samples, dim, index).squeeze(dim)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(\n  {self.mixture_distribution!r},\n  {self.component_distribution!r})"
