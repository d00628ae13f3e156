"""The LKJ distribution of Cholesky factors of correlation matrices."""

from __future__ import annotations

import math
from typing import Any

from ..autograd import no_grad
from ..errors import ArgumentError
from ..ops import arange, cat, clamp, finfo, lgamma, log, mvlgamma, sqrt, where, zeros
from ..ops.linalg import norm
from ..tensor import Tensor
from . import constraints
from .beta import Beta
from .distribution import Distribution
from .utils import as_tensors, standard_normal

__all__ = ["LKJCholesky"]


class LKJCholesky(Distribution):
    """Cholesky factors of correlation matrices whose density is the determinant of the matrix to the power ``concentration - 1`` (Lewandowski, Kurowicka and Joe, 2009).

    Samples are drawn row by row, by the onion method.

    Args:
        dim: the size of the matrices, from 2.
        concentration: 1 is the uniform distribution of correlation matrices. Default: 1.
        validate_args: see `Distribution`.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.distributions.LKJCholesky(3, 0.5).sample().shape
        neurarust_jax.Size([3, 3])
    """

    arg_constraints = {"concentration": constraints.positive}
    support = constraints.corr_cholesky

    def __init__(self, dim: int, concentration: Any = 1.0, validate_args: bool | None = None):
        if dim < 2:
            raise ArgumentError(f"Expected dim to be an integer greater than or equal to 2. Found dim={dim}.")
        self.dim = dim
        (self.concentration,) = as_tensors(concentration)
        super().__init__(self.concentration.size(), (dim, dim), validate_args=validate_args)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        with no_grad():
            shape = self._extended_shape(sample_shape)
            dtype = self.concentration.dtype
            row = cat([zeros(1, dtype=dtype), arange(self.dim - 1, dtype=dtype)], 0)
            other = (self.concentration + 0.5 * (self.dim - 2)).unsqueeze(-1) - 0.5 * row
            radius = Beta(row + 0.5, other, validate_args=False).sample(sample_shape).unsqueeze(-1)
            normal = standard_normal(shape, self.concentration).tril(-1)
            length = norm(normal, dim=-1, keepdim=True)
            direction = where(length > 0, normal / where(length > 0, length, 1.0), 0.0)  # the first row has none
            below = sqrt(radius) * direction
            diagonal = sqrt(clamp(1 - (below**2).sum(-1), min=finfo(dtype).tiny))
            return below + diagonal.diag_embed()

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        diagonal = value.diagonal(dim1=-1, dim2=-2)[..., 1:]
        powers = 2 * (self.concentration - 1).unsqueeze(-1) + self.dim - arange(2, self.dim + 1)
        less = self.dim - 1
        alpha = self.concentration + 0.5 * less
        normalizer = 0.5 * less * math.log(math.pi) + mvlgamma(alpha - 0.5, less) - lgamma(alpha) * less
        return (powers * log(diagonal)).sum(-1) - normalizer
