"""Normalization over features, groups and neighboring channels. That over batches and instances is in `batchnorm.py` and `instancenorm.py`."""

from __future__ import annotations

from typing import Any

from ..errors import ArgumentError
from ..ops.creation import empty
from ..ops.nn.normalization import cross_map_lrn
from ..parameter import Parameter
from ..tensor import Tensor
from . import functional as F
from . import init
from .module import Module

__all__ = ["CrossMapLRN2d", "GroupNorm", "LayerNorm", "LocalResponseNorm", "RMSNorm"]


class _Affine(Module):
    """What the normalizations share that learn a weight and a bias."""

    def _make_parameters(self, shape: tuple[int, ...], weight: bool, bias: bool, device: Any, dtype: Any) -> None:
        self.register_parameter("weight", Parameter(empty(shape, device=device, dtype=dtype)) if weight else None)
        self.register_parameter("bias", Parameter(empty(shape, device=device, dtype=dtype)) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set weight to 1 and bias to 0."""
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)


class LayerNorm(_Affine):
    r"""Layer normalization (Ba et al., 2016): ``(x - mean) / sqrt(var + eps) * weight + bias`` over the last dimensions.

    Args:
        normalized_shape: the shape of the dimensions that are normalized together, or the size of the last one.
        eps: added to the variance. Default: 1e-5.
        elementwise_affine: whether to learn `weight` and `bias`. Default: `True`.
        bias: whether to learn `bias`. Default: `True`.
        device, dtype: of the parameters.

    Shape:
        - Input: (N, \*, \*normalized_shape).
        - Output: the same.

    Attributes:
        weight: shape `normalized_shape`, ones at first.
        bias: shape `normalized_shape`, zeros at first.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.nn.LayerNorm(10)(nr.randn(20, 5, 10)).shape
        neurarust_jax.Size([20, 5, 10])
    """

    def __init__(
        self, normalized_shape: Any, eps: float = 1e-5, elementwise_affine: bool = True, bias: bool = True, device: Any = None, dtype: Any = None
    ):
        super().__init__()
        self.normalized_shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
        self.eps = eps
        self.elementwise_affine = elementwise_affine
        self._make_parameters(self.normalized_shape, elementwise_affine, elementwise_affine and bias, device, dtype)

    def forward(self, input: Tensor) -> Tensor:
        return F.layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}, bias={self.bias is not None}"


class RMSNorm(Module):
    r"""Root mean square normalization (Zhang and Sennrich, 2019): ``x / sqrt(mean(x ** 2) + eps) * weight`` over the last dimensions.

    Args:
        normalized_shape: the shape of the dimensions that are normalized together, or the size of the last one.
        eps: added to the mean square. Default: the machine epsilon of the dtype.
        elementwise_affine: whether to learn `weight`. Default: `True`.
        device, dtype: of the weight.

    Shape:
        - Input: (N, \*, \*normalized_shape).
        - Output: the same.

    Attributes:
        weight: shape `normalized_shape`, ones at first.
    """

    def __init__(self, normalized_shape: Any, eps: float | None = None, elementwise_affine: bool = True, device: Any = None, dtype: Any = None):
        super().__init__()
        self.normalized_shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
        self.eps = eps
        self.elementwise_affine = elementwise_affine
        self.register_parameter("weight", Parameter(empty(self.normalized_shape, device=device, dtype=dtype)) if elementwise_affine else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set weight to 1."""
        if self.weight is not None:
            init.ones_(self.weight)

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, self.normalized_shape, self.weight, self.eps)

    def extra_repr(self) -> str:
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"


class GroupNorm(_Affine):
    r"""Group normalization (Wu and He, 2018): ``(x - mean) / sqrt(var + eps) * weight + bias`` for each group of channels of each example.

    Args:
        num_groups: into how many groups the channels are split.
        num_channels: the number of channels C.
        eps: added to the variance. Default: 1e-5.
        affine: whether to learn `weight` and `bias`. Default: `True`.
        device, dtype: of the parameters.
        bias: whether to learn `bias`. Default: `True`.

    Shape:
        - Input: (N, C, \*).
        - Output: the same.

    Attributes:
        weight: shape (C), ones at first.
        bias: shape (C), zeros at first.
    """

    def __init__(
        self, num_groups: int, num_channels: int, eps: float = 1e-5, affine: bool = True, device: Any = None, dtype: Any = None, *, bias: bool = True
    ):
        super().__init__()
        if num_channels % num_groups:
            raise ArgumentError(f"num_channels ({num_channels}) must be divisible by num_groups ({num_groups})")
        self.num_groups = num_groups
        self.num_channels = num_channels
        self.eps = eps
        self.affine = affine
        self._make_parameters((num_channels,), affine, affine and bias, device, dtype)

    def forward(self, input: Tensor) -> Tensor:
        return F.group_norm(input, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine}, bias={self.bias is not None}"


class _ResponseNorm(Module):
    """What the normalizations over neighboring channels share."""

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0):
        super().__init__()
        self.size = size
        self.alpha = alpha
        self.beta = beta
        self.k = k

    def extra_repr(self) -> str:
        return f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"


class LocalResponseNorm(_ResponseNorm):
    r"""``x / (k + alpha * mean of x ** 2 over neighboring channels) ** beta`` (Krizhevsky et al., 2012).

    Args:
        size: how many channels count as neighbors; beyond the ends there are zeros.
        alpha, beta, k: as in the formula. Default: 1e-4, 0.75 and 1.

    Shape:
        - Input: (N, C, \*).
        - Output: the same.
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.local_response_norm(input, self.size, self.alpha, self.beta, self.k)


class CrossMapLRN2d(_ResponseNorm):
    """`LocalResponseNorm` of images, over a window that has as many channels before as after. As in PyTorch, the first channel counts for all.

    Its gradient is that of what it computes; PyTorch's is not.

    Args:
        size: how many channels count as neighbors; an even number counts as the odd one below it, but the sum is divided by `size`.
        alpha, beta, k: as in `LocalResponseNorm`.

    Shape:
        - Input: (N, C, H, W).
        - Output: the same.
    """

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1):
        super().__init__(size, alpha, beta, k)

    def forward(self, input: Tensor) -> Tensor:
        return cross_map_lrn(input, self.size, float(self.alpha), float(self.beta), float(self.k))
