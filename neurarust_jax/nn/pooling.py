"""Pooling layers."""

from __future__ import annotations

from typing import Any

from ..tensor import Tensor
from . import functional as F
from .module import Module

__all__ = ["AdaptiveAvgPool2d", "MaxPool2d"]


class MaxPool2d(Module):
    r"""The maximum of each window.

    Args:
        kernel_size: height and width of the window, one int or two.
        stride: step of the window. Default: `kernel_size`.
        padding: minus infinity on both sides, at most half of the window. Default: 0.
        dilation: distance between the elements of a window. Default: 1.
        return_indices: give the positions of the maxima too. Default: `False`.
        ceil_mode: let the last window reach past the end. Default: `False`.

    Shape:
        - Input: (N, C, H, W) or (C, H, W).
        - Output: (N, C, H_out, W_out) with ``H_out = floor((H + 2 padding - dilation (kernel_size - 1) - 1) / stride + 1)``.
    """

    def __init__(
        self, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, return_indices: bool = False, ceil_mode: bool = False
    ):
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding = padding
        self.dilation = dilation
        self.return_indices = return_indices
        self.ceil_mode = ceil_mode

    def forward(self, input: Tensor) -> Any:
        return F.max_pool2d(input, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode, self.return_indices)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, dilation={self.dilation}, ceil_mode={self.ceil_mode}"


class AdaptiveAvgPool2d(Module):
    r"""Means over windows that divide height and width into `output_size` parts.

    Args:
        output_size: the output's height and width, one int or two; `None` keeps a size.

    Shape:
        - Input: (N, C, H, W) or (C, H, W).
        - Output: (N, C, \*output_size).
    """

    def __init__(self, output_size: Any):
        super().__init__()
        self.output_size = output_size

    def forward(self, input: Tensor) -> Tensor:
        return F.adaptive_avg_pool2d(input, self.output_size)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"
