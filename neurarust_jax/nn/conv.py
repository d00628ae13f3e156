"""Convolution layers."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from ..errors import ArgumentError
from ..ops.creation import empty
from ..ops.nn.sliding import Ints, tuple_of
from ..parameter import Parameter
from ..tensor import Tensor
from . import functional as F
from . import init
from .module import Module

__all__ = ["Conv1d", "Conv2d", "Conv3d", "ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d"]

_PADDING_MODES = ("zeros", "reflect", "replicate", "circular")


class _ConvNd(Module):
    """What all convolution layers share: the arguments, the parameters and their laws, the text."""

    _dimensions: int
    transposed = False
    output_padding: tuple[int, ...]
    weight: Any
    bias: Any

    def _configure(
        self, in_channels: int, out_channels: int, kernel_size: Ints, stride: Ints, padding: Ints | str, dilation: Ints, output_padding: Ints, groups: int,
        bias: bool, padding_mode: str, device: Any, dtype: Any,
    ) -> None:  # fmt: skip
        if groups <= 0:
            raise ArgumentError(f"groups must be a positive integer, got {groups}")
        if in_channels % groups or out_channels % groups:
            raise ArgumentError(f"in_channels and out_channels must be divisible by groups: got {in_channels}, {out_channels} and groups={groups}")
        n = self._dimensions
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = tuple_of(kernel_size, n, "kernel_size")
        self.stride = tuple_of(stride, n, "stride")
        self.padding = padding if isinstance(padding, str) else tuple_of(padding, n, "padding")
        self.dilation = tuple_of(dilation, n, "dilation")
        self.output_padding = tuple_of(output_padding, n, "output_padding")
        self.groups = groups
        self.padding_mode = padding_mode
        if isinstance(padding, str):
            if padding not in ("same", "valid"):
                raise ArgumentError(f"Invalid padding string {padding!r}, should be 'same' or 'valid'")
            if padding == "same" and any(s != 1 for s in self.stride):
                raise ArgumentError(f"padding='same' is not supported for strided convolutions, got stride={self.stride}")
        if padding_mode not in _PADDING_MODES:
            raise ArgumentError(f"padding_mode must be one of {_PADDING_MODES}, but got padding_mode={padding_mode!r}")
        first, second = (in_channels, out_channels) if self.transposed else (out_channels, in_channels)
        self.weight = Parameter(empty(first, second // groups, *self.kernel_size, device=device, dtype=dtype))
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

    def extra_repr(self) -> str:
        n = self._dimensions
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"
        for name, usual in (("padding", (0,) * n), ("dilation", (1,) * n), ("output_padding", (0,) * n), ("groups", 1)):
            if getattr(self, name) != usual:
                text += f", {name}={getattr(self, name)}"
        text += ", bias=False" if self.bias is None else ""
        return text if self.padding_mode == "zeros" else f"{text}, padding_mode={self.padding_mode}"


class _Conv(_ConvNd):
    _function: Callable[..., Tensor]

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: Ints, stride: Ints = 1, padding: Ints | str = 0, dilation: Ints = 1, groups: int = 1,
        bias: bool = True, padding_mode: str = "zeros", device: Any = None, dtype: Any = None,
    ):  # fmt: skip
        super().__init__()
        self._configure(in_channels, out_channels, kernel_size, stride, padding, dilation, 0, groups, bias, padding_mode, device, dtype)

    def forward(self, input: Tensor) -> Tensor:
        return self._conv_forward(input, self.weight, self.bias)

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """The convolution with other parameters than the layer's own."""
        padding = self.padding
        if self.padding_mode != "zeros":
            input, padding = F.pad(input, self._reversed_padding_repeated_twice, mode=self.padding_mode), 0
        return type(self)._function(input, weight, bias, self.stride, padding, self.dilation, self.groups)

    @property
    def _reversed_padding_repeated_twice(self) -> tuple[int, ...]:
        """The padding as `F.pad` takes it: (before, after) from the last dimension to the first."""
        if self.padding == "valid":
            return (0, 0) * self._dimensions
        if self.padding == "same":
            total = [d * (k - 1) for d, k in zip(self.dilation, self.kernel_size, strict=True)]
            return tuple(p for t in reversed(total) for p in (t // 2, t - t // 2))
        return tuple(p for p in reversed(self.padding) for _ in range(2))  # type: ignore[misc]


class _ConvTransposeNd(_ConvNd):
    _function: Callable[..., Tensor]
    transposed = True

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: Ints, stride: Ints = 1, padding: Ints = 0, output_padding: Ints = 0, groups: int = 1,
        bias: bool = True, dilation: Ints = 1, padding_mode: str = "zeros", device: Any = None, dtype: Any = None,
    ):  # fmt: skip
        super().__init__()
        if padding_mode != "zeros":
            raise ArgumentError(f'Only "zeros" padding mode is supported for {type(self).__name__}, got {padding_mode!r}')
        padding = tuple_of(padding, self._dimensions, "padding")
        self._configure(in_channels, out_channels, kernel_size, stride, padding, dilation, output_padding, groups, bias, padding_mode, device, dtype)

    def forward(self, input: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        extra = self.output_padding if output_size is None else self._output_padding(input, output_size)
        return type(self)._function(input, self.weight, self.bias, self.stride, self.padding, extra, self.groups, self.dilation)

    def _output_padding(self, input: Tensor, output_size: Sequence[int]) -> tuple[int, ...]:
        """The output padding that makes the output as large as asked for."""
        n, name = self._dimensions, type(self).__name__
        others = input.dim() - n
        wanted = tuple(output_size)[others:] if len(output_size) == n + others else tuple(output_size)
        if len(wanted) != n:
            raise ArgumentError(f"{name}: for {input.dim()}D input, output_size must have {n} or {n + others} elements (got {len(output_size)})")
        geometry = zip(input.shape[others:], self.stride, self.padding, self.dilation, self.kernel_size, strict=True)
        least = [(size - 1) * s - 2 * p + d * (k - 1) + 1 for size, s, p, d, k in geometry]  # type: ignore[operator]
        if any(not low <= size < low + s for size, low, s in zip(wanted, least, self.stride, strict=True)):
            most = [low + s - 1 for low, s in zip(least, self.stride, strict=True)]
            raise ArgumentError(f"{name}: requested an output size of {output_size}, but valid sizes range from {least} to {most} (for an input of {tuple(input.shape)})")
        return tuple(size - low for size, low in zip(wanted, least, strict=True))


class Conv1d(_Conv):
    r"""1-d convolution (cross-correlation).

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: length of the kernel.
        stride: step of the kernel. Default: 1.
        padding: length added on both sides, or `"valid"` for none, or `"same"` for an output as long as the input. Default: 0.
        dilation: distance between kernel elements. Default: 1.
        groups: groups that the input channels are split into. Default: 1.
        bias: whether to learn a bias. Default: `True`.
        padding_mode: what is added: `"zeros"`, `"reflect"`, `"replicate"` or `"circular"`, as by `F.pad`. Default: `"zeros"`.
        device, dtype: of the parameters.

    Shape:
        - Input: (N, C_in, L) or (C_in, L).
        - Output: (N, C_out, L_out) with ``L_out = floor((L + 2 padding - dilation (kernel_size - 1) - 1) / stride + 1)``.

    Attributes:
        weight: shape (out_channels, in_channels / groups, kernel_size), drawn from U(-k, k) with ``k = sqrt(groups / (C_in kernel_size))``.
        bias: shape (out_channels), drawn from U(-k, k) too.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.nn.Conv1d(4, 8, 3, stride=2)(nr.randn(2, 4, 15)).shape
        neurarust_jax.Size([2, 8, 7])
    """

    _dimensions = 1
    _function = staticmethod(F.conv1d)


class Conv2d(_Conv):
    r"""2-d convolution (cross-correlation).

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: height and width of the kernel, one int or two.
        stride: step of the kernel, one int or two. Default: 1.
        padding: rows and columns added on both sides, one int or two, or `"valid"` for none, or `"same"` for an output of the input's size. Default: 0.
        dilation: distance between kernel elements, one int or two. Default: 1.
        groups: groups that the input channels are split into. Default: 1.
        bias: whether to learn a bias. Default: `True`.
        padding_mode: what is added: `"zeros"`, `"reflect"`, `"replicate"` or `"circular"`, as by `F.pad`. Default: `"zeros"`.
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

    _dimensions = 2
    _function = staticmethod(F.conv2d)


class Conv3d(_Conv):
    r"""3-d convolution (cross-correlation).

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: size of the kernel, one int or three.
        stride: step of the kernel, one int or three. Default: 1.
        padding: length added on both sides, one int or three, or `"valid"` for none, or `"same"` for an output of the input's size. Default: 0.
        dilation: distance between kernel elements, one int or three. Default: 1.
        groups: groups that the input channels are split into. Default: 1.
        bias: whether to learn a bias. Default: `True`.
        padding_mode: what is added: `"zeros"`, `"reflect"`, `"replicate"` or `"circular"`, as by `F.pad`. Default: `"zeros"`.
        device, dtype: of the parameters.

    Shape:
        - Input: (N, C_in, D, H, W) or (C_in, D, H, W).
        - Output: (N, C_out, D_out, H_out, W_out) with ``D_out = floor((D + 2 padding - dilation (kernel_size - 1) - 1) / stride + 1)``.

    Attributes:
        weight: shape (out_channels, in_channels / groups, kD, kH, kW), drawn from U(-k, k) with ``k = sqrt(groups / (C_in kD kH kW))``.
        bias: shape (out_channels), drawn from U(-k, k) too.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.nn.Conv3d(1, 2, 3, padding="same")(nr.randn(2, 1, 4, 5, 6)).shape
        neurarust_jax.Size([2, 2, 4, 5, 6])
    """

    _dimensions = 3
    _function = staticmethod(F.conv3d)


class ConvTranspose1d(_ConvTransposeNd):
    r"""1-d transposed convolution: the gradient of `Conv1d` in its input, as a layer of its own.

    Called with `output_size`, it chooses the output padding that gives this size, which the stride leaves open.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: length of the kernel.
        stride: distance in the output between the kernel's positions. Default: 1.
        padding: how much of the output's ends is cut off. Default: 0.
        output_padding: length added at the end of the output. Default: 0.
        groups: groups that the input channels are split into. Default: 1.
        bias: whether to learn a bias. Default: `True`.
        dilation: distance between kernel elements. Default: 1.
        padding_mode: only `"zeros"`.
        device, dtype: of the parameters.

    Shape:
        - Input: (N, C_in, L) or (C_in, L).
        - Output: (N, C_out, L_out) with ``L_out = (L - 1) stride - 2 padding + dilation (kernel_size - 1) + output_padding + 1``.

    Attributes:
        weight: shape (in_channels, out_channels / groups, kernel_size), drawn from U(-k, k) with ``k = sqrt(groups / (C_out kernel_size))``.
        bias: shape (out_channels), drawn from U(-k, k) too.

    Examples:
        >>> import neurarust_jax as nr
        >>> layer = nr.nn.ConvTranspose1d(4, 2, 3, stride=2)
        >>> layer(nr.randn(5, 4, 7)).shape, layer(nr.randn(5, 4, 7), output_size=(16,)).shape
        (neurarust_jax.Size([5, 2, 15]), neurarust_jax.Size([5, 2, 16]))
    """

    _dimensions = 1
    _function = staticmethod(F.conv_transpose1d)


class ConvTranspose2d(_ConvTransposeNd):
    r"""2-d transposed convolution: the gradient of `Conv2d` in its input, as a layer of its own.

    Called with `output_size`, it chooses the output padding that gives this size, which the stride leaves open.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: height and width of the kernel, one int or two.
        stride: distance in the output between the kernel's positions, one int or two. Default: 1.
        padding: how much of the output's ends is cut off, one int or two. Default: 0.
        output_padding: rows and columns added at the end of the output, one int or two. Default: 0.
        groups: groups that the input channels are split into. Default: 1.
        bias: whether to learn a bias. Default: `True`.
        dilation: distance between kernel elements, one int or two. Default: 1.
        padding_mode: only `"zeros"`.
        device, dtype: of the parameters.

    Shape:
        - Input: (N, C_in, H, W) or (C_in, H, W).
        - Output: (N, C_out, H_out, W_out) with ``H_out = (H - 1) stride - 2 padding + dilation (kernel_size - 1) + output_padding + 1``.

    Attributes:
        weight: shape (in_channels, out_channels / groups, kH, kW), drawn from U(-k, k) with ``k = sqrt(groups / (C_out kH kW))``.
        bias: shape (out_channels), drawn from U(-k, k) too.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.nn.ConvTranspose2d(4, 2, 4, stride=2, padding=1)(nr.randn(1, 4, 8, 8)).shape
        neurarust_jax.Size([1, 2, 16, 16])
    """

    _dimensions = 2
    _function = staticmethod(F.conv_transpose2d)


class ConvTranspose3d(_ConvTransposeNd):
    r"""3-d transposed convolution: the gradient of `Conv3d` in its input, as a layer of its own.

    Called with `output_size`, it chooses the output padding that gives this size, which the stride leaves open.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: size of the kernel, one int or three.
        stride: distance in the output between the kernel's positions, one int or three. Default: 1.
        padding: how much of the output's ends is cut off, one int or three. Default: 0.
        output_padding: length added at the end of each dimension of the output, one int or three. Default: 0.
        groups: groups that the input channels are split into. Default: 1.
        bias: whether to learn a bias. Default: `True`.
        dilation: distance between kernel elements, one int or three. Default: 1.
        padding_mode: only `"zeros"`.
        device, dtype: of the parameters.

    Shape:
        - Input: (N, C_in, D, H, W) or (C_in, D, H, W).
        - Output: (N, C_out, D_out, H_out, W_out) with ``D_out = (D - 1) stride - 2 padding + dilation (kernel_size - 1) + output_padding + 1``.

    Attributes:
        weight: shape (in_channels, out_channels / groups, kD, kH, kW), drawn from U(-k, k) with ``k = sqrt(groups / (C_out kD kH kW))``.
        bias: shape (out_channels), drawn from U(-k, k) too.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.nn.ConvTranspose3d(4, 2, 2, stride=2)(nr.randn(1, 4, 2, 3, 4)).shape
        neurarust_jax.Size([1, 2, 4, 6, 8])
    """

    _dimensions = 3
    _function = staticmethod(F.conv_transpose3d)
