"""Normalization layers."""

from __future__ import annotations

from typing import Any

from ..errors import ShapeError
from ..ops.creation import empty, ones, tensor, zeros
from ..parameter import Parameter
from ..tensor import Tensor
from . import functional as F
from . import init
from .module import Module

__all__ = ["BatchNorm2d", "LayerNorm"]


class _BatchNorm(Module):
    """What the batch normalizations of 1, 2 and 3 spatial dimensions share."""

    def __init__(
        self, num_features: int, eps: float = 1e-5, momentum: float | None = 0.1, affine: bool = True, track_running_stats: bool = True,
        device: Any = None, dtype: Any = None, *, bias: bool = True,
    ):  # fmt: skip
        super().__init__()
        self.num_features = num_features
        self.eps = eps
        self.momentum = momentum
        self.affine = affine
        self.track_running_stats = track_running_stats
        self.register_parameter("weight", Parameter(empty(num_features, device=device, dtype=dtype)) if affine else None)
        self.register_parameter("bias", Parameter(empty(num_features, device=device, dtype=dtype)) if affine and bias else None)
        self.register_buffer("running_mean", zeros(num_features, device=device, dtype=dtype) if track_running_stats else None)
        self.register_buffer("running_var", ones(num_features, device=device, dtype=dtype) if track_running_stats else None)
        self.register_buffer("num_batches_tracked", tensor(0, device=device) if track_running_stats else None)
        self.reset_parameters()

    def reset_running_stats(self) -> None:
        """Forget the statistics seen so far."""
        if self.track_running_stats:
            self.running_mean.zero_()
            self.running_var.fill_(1)
            self.num_batches_tracked.zero_()

    def reset_parameters(self) -> None:
        """Set weight to 1, bias to 0, and forget the statistics."""
        self.reset_running_stats()
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)

    def _check_input_dim(self, input: Tensor) -> None:
        raise NotImplementedError

    def forward(self, input: Tensor) -> Tensor:
        self._check_input_dim(input)
        momentum: Any = 0.0 if self.momentum is None else self.momentum
        if self.training and self.track_running_stats:
            self.num_batches_tracked.add_(1)
            if self.momentum is None:  # the plain average over all batches
                momentum = 1.0 / self.num_batches_tracked
        use_batch = self.training or self.running_mean is None
        mean, variance = (self.running_mean, self.running_var) if not self.training or self.track_running_stats else (None, None)
        return F.batch_norm(input, mean, variance, self.weight, self.bias, use_batch, momentum, self.eps)

    def extra_repr(self) -> str:
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, bias={self.bias is not None}, "
            f"track_running_stats={self.track_running_stats}"
        )


class BatchNorm2d(_BatchNorm):
    r"""Batch normalization of images (Ioffe and Szegedy, 2015): ``(x - mean) / sqrt(var + eps) * weight + bias`` for each channel.

    In training mode mean and variance are the batch's, and running statistics are kept; in evaluation mode those are used.

    Args:
        num_features: the number of channels C.
        eps: added to the variance. Default: 1e-5.
        momentum: weight of the batch in the running statistics; `None` for the plain average. Default: 0.1.
        affine: whether to learn `weight` and `bias`. Default: `True`.
        bias: whether to learn `bias`. Default: `True`.
        track_running_stats: whether to keep running statistics; without, the batch's are always used. Default: `True`.
        device, dtype: of parameters and statistics.

    Shape:
        - Input: (N, C, H, W).
        - Output: (N, C, H, W).

    Attributes:
        weight: shape (C), ones at first.
        bias: shape (C), zeros at first.
        running_mean, running_var: buffers of shape (C), zeros and ones at first.
        num_batches_tracked: a buffer that counts batches.
    """

    def _check_input_dim(self, input: Tensor) -> None:
        if input.dim() != 4:
            raise ShapeError(f"expected 4D input (got {input.dim()}D input): BatchNorm2d takes (N, C, H, W), got {tuple(input.shape)}")


class LayerNorm(Module):
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
    """

    def __init__(
        self, normalized_shape: Any, eps: float = 1e-5, elementwise_affine: bool = True, bias: bool = True, device: Any = None, dtype: Any = None
    ):
        super().__init__()
        self.normalized_shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
        self.eps = eps
        self.elementwise_affine = elementwise_affine
        if elementwise_affine:
            self.weight = Parameter(empty(self.normalized_shape, device=device, dtype=dtype))
        else:
            self.register_parameter("weight", None)
        if elementwise_affine and bias:
            self.bias = Parameter(empty(self.normalized_shape, device=device, dtype=dtype))
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Set weight to 1 and bias to 0."""
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)

    def forward(self, input: Tensor) -> Tensor:
        return F.layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}, bias={self.bias is not None}"
