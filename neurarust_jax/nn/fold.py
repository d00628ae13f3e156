"""Layers that take images apart into blocks and put them together."""

from __future__ import annotations

from typing import Any

from ..ops.nn.sliding import Ints
from ..tensor import Tensor
from . import functional as F
from .module import Module

__all__ = ["Fold", "Unfold"]


class Unfold(Module):
    r"""The sliding blocks of an image, each as a column.

    Args:
        kernel_size: height and width of a block, one int or two.
        dilation: distance between the elements of a block. Default: 1.
        padding: zeros added on both sides. Default: 0.
        stride: step from one block to the next. Default: 1.

    Shape:
        - Input: (N, C, H, W) or (C, H, W).
        - Output: (N, C kH kW, L) or (C kH kW, L), where L is the number of blocks: the product of
          ``floor((size + 2 padding - dilation (kernel_size - 1) - 1) / stride + 1)`` over height and width.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.nn.Unfold(kernel_size=(2, 3))(nr.randn(2, 5, 3, 4)).shape
        neurarust_jax.Size([2, 30, 4])
    """

    def __init__(self, kernel_size: Ints, dilation: Ints = 1, padding: Ints = 0, stride: Ints = 1):
        super().__init__()
        self.kernel_size = kernel_size
        self.dilation = dilation
        self.padding = padding
        self.stride = stride

    def forward(self, input: Tensor) -> Tensor:
        return F.unfold(input, self.kernel_size, self.dilation, self.padding, self.stride)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, dilation={self.dilation}, padding={self.padding}, stride={self.stride}"


class Fold(Module):
    r"""The sum of sliding blocks, each at its place in an image: the adjoint of `Unfold`.

    Args:
        output_size: height and width of the image, one int or two.
        kernel_size: height and width of a block, one int or two.
        dilation: distance between the elements of a block. Default: 1.
        padding: width of the margin that is cut off. Default: 0.
        stride: step from one block to the next. Default: 1.

    Shape:
        - Input: (N, C kH kW, L) or (C kH kW, L), where L is the number of blocks.
        - Output: (N, C, H, W) or (C, H, W).

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.nn.Fold(output_size=(4, 5), kernel_size=(2, 2))(nr.randn(1, 3 * 2 * 2, 12)).shape
        neurarust_jax.Size([1, 3, 4, 5])
    """

    def __init__(self, output_size: Any, kernel_size: Ints, dilation: Ints = 1, padding: Ints = 0, stride: Ints = 1):
        super().__init__()
        self.output_size = output_size
        self.kernel_size = kernel_size
        self.dilation = dilation
        self.padding = padding
        self.stride = stride

    def forward(self, input: Tensor) -> Tensor:
        return F.fold(input, self.output_size, self.kernel_size, self.dilation, self.padding, self.stride)

    def extra_repr(self) -> str:
        geometry = f"kernel_size={self.kernel_size}, dilation={self.dilation}, padding={self.padding}, stride={self.stride}"
        return f"output_size={self.output_size}, {geometry}"
