"""The half-Cauchy distribution."""

from __future__ import annotations

import math
from typing import Any

from ..ops import full
from ..tensor import Tensor
from .cauchy import Cauchy
from .elementwise_transforms import AbsTransform
from .half import Half

__all__ = ["HalfCauchy"]


class HalfCauchy(Half):
    """The distribution of the absolute value of a Cauchy number of median 0.

    Args:
        scale: that of the Cauchy number.
        validate_args: see `Distribution`.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.distributions.HalfCauchy(1.0).cdf(nr.tensor(1.0))
        tensor(0.5000)
    """

    def __init__(self, scale: Any, validate_args: bool | None = None):
        super().__init__(Cauchy(0, scale, validate_args=False), AbsTransform(), validate_args=validate_args)

    @property
    def mean(self) -> Tensor:
        return full(tuple(self._extended_shape()), math.inf, dtype=self.scale.dtype)

    @property
    def variance(self) -> Tensor:
        return self.base_dist.variance
