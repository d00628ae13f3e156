"""The von Mises distribution."""

from __future__ import annotations

import math
from typing import Any

from ..autograd import no_grad
from ..ops import cos, log
from ..ops.random import _von_mises, draw
from ..ops.special import i0e, i1e
from ..tensor import Tensor
from . import constraints
from .distribution import Distribution
from .utils import broadcast_all, lazy_property

__all__ = ["VonMises"]


class VonMises(Distribution):
    """The von Mises distribution of angles, the normal distribution's counterpart on the circle. Samples lie between -pi and pi.

    Args:
        loc: the mean angle, in radians.
        concentration: how narrow it is.
        validate_args: see `Distribution`.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.distributions.VonMises(0.0, 1.0).log_prob(nr.tensor(0.0))
        tensor(-1.0738)
    """

    arg_constraints = {"loc": constraints.real, "concentration": constraints.positive}
    support = constraints.real
    has_rsample = False

    def __init__(self, loc: Any, concentration: Any, validate_args: bool | None = None):
        self.loc, self.concentration = broadcast_all(loc, concentration)
        super().__init__(self.loc.shape, validate_args=validate_args)

    @property
    def mean(self) -> Tensor:
        return self.loc

    @property
    def mode(self) -> Tensor:
        return self.loc

    @lazy_property
    def variance(self) -> Tensor:
        """The circular variance."""
        return 1 - i1e(self.concentration) / i0e(self.concentration)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        with no_grad():
            angle = draw(_von_mises, None, self.concentration, tuple(self._extended_shape(sample_shape)))
            return (angle + math.pi + self.loc) % (2 * math.pi) - math.pi

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        k = self.concentration
        return k * (cos(value - self.loc) - 1) - math.log(2 * math.pi) - log(i0e(k))
