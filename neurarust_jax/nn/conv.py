"""Convolution layers."""

from __future__ import annotations

import math
from typing import Any

from ..errors import ArgumentError
from ..ops.creation import empty
from ..ops.nn.convolution import tuple_of
from ..parameter import Parameter
from ..tensor import Tensor
from . import functional as F
from . import init
from .module import Module

__all__ = ["Conv2d"]


class Conv2d(Module):
    r"""2-d convolution (cross-correlation).

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: height and width of the kernel, one int or two.
        stride: step of the kernel. Default: 1.
        padding: zeros on both sides, or `"valid"`, `"same"`. Default: 0.
        dilation: distance between kernel elements. Default: 1.
        groups: groups that the input channels are split into. Default: 1.
        bias: whether to learn a bias. Default: `True`.
        padding_mode: only `"zeros"` so far.
        device, dtype: of the parameters.

    Shape:
        - Input: (N, C_in, H, W) or (C_in, H, W).
        - Output: (N, C_out, H_out, W_out) with ``H_out = floor((H + 2 padding - dilation (kernel_size - 1) - 1) / stride + 1)``.

    Attributes:
        weight: shape (out_channels, in_channels / groups, kH, kW), drawn from U(-k, k) with ``k = sqrt(groups / (C_in kH kW))``.
        bias: shape (out_channels), drawn from U(-k, k) too.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.nn.Conv2d(1, 8, 3, padding=1)(nr.randn(2, 1, 8, 8)).shape
        neurarust_jax.Size([2, 8, 8, 8])
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: Any, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1,
        bias: bool = True, padding_mode: str = "zeros", device: Any = None, dtype: Any = None,
    ):  # fmt: skip
        super().__init__()
        if groups <= 0 or in_channels % groups or out_channels % groups:
            raise ArgumentError(f"in_channels and out_channels must be divisible by groups: got {in_channels}, {out_channels} and groups={groups}")
        if padding_mode != "zeros":
            raise ArgumentError(f"padding_mode must be 'zeros', got {padding_mode!r}; pad the input before the layer")
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = tuple_of(kernel_size, 2, "kernel_size")
        self.stride = tuple_of(stride, 2, "stride")
        self.padding = padding if isinstance(padding, str) else tuple_of(padding, 2, "padding")
        self.dilation = tuple_of(dilation, 2, "dilation")
        self.groups = groups
        self.padding_mode = padding_mode
        self.weight = Parameter(empty(out_channels, in_channels // groups, *self.kernel_size, device=device, dtype=dtype))
        if bias:
            self.bias = Parameter(empty(out_channels, device=device, dtype=dtype))
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the parameters anew."""
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            fan_in = math.prod(self.weight.shape[1:])
            bound = 1 / math.sqrt(fan_in) if fan_in else 0
            init.uniform_(self.bias, -bound, bound)

    def forward(self, input: Tensor) -> Tensor:
        return F.conv2d(input, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups)

    def extra_repr(self) -> str:
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"
        if self.padding != (0, 0):
            text += f", padding={self.padding}"
        if self.dilation != (1, 1):
            text += f", dilation={self.dilation}"
        if self.groups != 1:
            text += f", groups={self.groups}"
        return text if self.bias is not None else text + ", bias=False"
