"""Dropout layers. In evaluation mode they give back their input."""

from __future__ import annotations

from ..errors import ArgumentError
from ..tensor import Tensor
from . import functional as F
from .module import Module

__all__ = ["AlphaDropout", "Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "FeatureAlphaDropout"]


class _Dropout(Module):
    """What the dropouts share: a probability."""

    def __init__(self, p: float = 0.5, inplace: bool = False):
        super().__init__()
        if not 0 <= p <= 1:
            raise ArgumentError(f"dropout probability has to be between 0 and 1, but got {p}")
        self.p = p
        self.inplace = inplace

    def extra_repr(self) -> str:
        return f"p={self.p}, inplace={self.inplace}"


class Dropout(_Dropout):
    r"""In training mode zeroes each element with probability `p` and scales the others by ``1 / (1 - p)`` (Srivastava et al., 2014).

    The mask is drawn anew at every call, also inside `nr.jit`.

    Args:
        p: probability of an element to be zeroed. Default: 0.5.
        inplace: accepted and without effect.

    Shape:
        - Input: (\*).
        - Output: the same.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.nn.Dropout(0.2).eval()(nr.tensor([1.0, 2.0]))
        tensor([1., 2.])
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.dropout(input, self.p, self.training, self.inplace)


class Dropout1d(_Dropout):
    """Zeroes each channel with probability `p` and scales the others by ``1 / (1 - p)`` (Tompson et al., 2015).

    Args:
        p: probability of a channel to be zeroed. Default: 0.5.
        inplace: accepted and without effect.

    Shape:
        - Input: (N, C, L) or (C, L).
        - Output: the same.
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.dropout1d(input, self.p, self.training, self.inplace)


class Dropout2d(_Dropout):
    """`Dropout1d` of images. The arguments are those of `Dropout1d`.

    Shape:
        - Input: (N, C, H, W) or, with a warning, (N, C, L).
        - Output: the same.
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.dropout2d(input, self.p, self.training, self.inplace)


class Dropout3d(_Dropout):
    """`Dropout1d` of volumes. The arguments are those of `Dropout1d`.

    Shape:
        - Input: (N, C, D, H, W) or (C, D, H, W).
        - Output: the same.
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.dropout3d(input, self.p, self.training, self.inplace)


class AlphaDropout(_Dropout):
    r"""Dropout that keeps mean 0 and variance 1, for networks of SELUs (Klambauer et al., 2017).

    Args:
        p: probability of an element to become the negative limit of SELU. Default: 0.5.
        inplace: accepted and without effect.

    Shape:
        - Input: (\*).
        - Output: the same.
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.alpha_dropout(input, self.p, self.training)


class FeatureAlphaDropout(_Dropout):
    r"""`AlphaDropout` of whole channels. The arguments are those of `AlphaDropout`.

    Shape:
        - Input: (N, C, \*).
        - Output: the same.
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.feature_alpha_dropout(input, self.p, self.training)
