"""Distance layers."""

from __future__ import annotations

from ..tensor import Tensor
from . import functional as F
from .module import Module

__all__ = ["CosineSimilarity", "PairwiseDistance"]


class PairwiseDistance(Module):
    """The p-norm of ``x1 - x2 + eps`` along the last dimension.

    Args:
        p: the norm. Default: 2.
        eps: keeps the distance of equal vectors from 0. Default: 1e-6.
        keepdim: keep the last dimension with length 1. Default: `False`.

    Shape:
        - Input1, input2: (N, D) or (D).
        - Output: (N) or (), with `keepdim` (N, 1) or (1).

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.nn.PairwiseDistance()(nr.randn(100, 128), nr.randn(100, 128)).shape
        neurarust_jax.Size([100])
    """

    def __init__(self, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False):
        super().__init__()
        self.norm = p
        self.eps = eps
        self.keepdim = keepdim

    def forward(self, x1: Tensor, x2: Tensor) -> Tensor:
        return F.pairwise_distance(x1, x2, self.norm, self.eps, self.keepdim)


class CosineSimilarity(Module):
    r"""The cosine of the angle between vectors, ``x1 . x2 / (max(|x1|, eps) * max(|x2|, eps))``.

    Args:
        dim: the dimension that holds the vectors. Default: 1.
        eps: the least length that is divided by. Default: 1e-8.

    Shape:
        - Input1, input2: (\*, D, \*), with D at position `dim`; they broadcast.
        - Output: (\*, \*).
    """

    def __init__(self, dim: int = 1, eps: float = 1e-8):
        super().__init__()
        self.dim = dim
        self.eps = eps

    def forward(self, x1: Tensor, x2: Tensor) -> Tensor:
        return F.cosine_similarity(x1, x2, self.dim, self.eps)
