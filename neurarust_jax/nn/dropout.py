"""Dropout layers."""

from __future__ import annotations

from ..errors import ArgumentError
from ..tensor import Tensor
from . import functional as F
from .module import Module

__all__ = ["Dropout"]


class Dropout(Module):
    r"""In training mode zeroes each element with probability `p` and scales the others by ``1 / (1 - p)`` (Srivastava et al., 2014).

    The mask is drawn anew at every call, also inside `nr.jit`.

    Args:
        p: probability of an element to be zeroed. Default: 0.5.
        inplace: accepted and without effect.

    Shape:
        - Input: (\*).
        - Output: the same.
    """

    def __init__(self, p: float = 0.5, inplace: bool = False):
        super().__init__()
        if not 0 <= p <= 1:
            raise ArgumentError(f"dropout probability has to be between 0 and 1, but got {p}")
        self.p = p
        self.inplace = inplace

    def forward(self, input: Tensor) -> Tensor:
        return F.dropout(input, self.p, self.training, self.inplace)

    def extra_repr(self) -> str:
        return f"p={self.p}, inplace={self.inplace}"
