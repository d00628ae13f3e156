"""Convolution layers that find the number of their input channels at the first call."""

from __future__ import annotations

from typing import Any

from ..errors import ArgumentError, ShapeError
from ..ops.nn.sliding import Ints
from ..parameter import UninitializedParameter
from ..tensor import Tensor
from .conv import Conv1d, Conv2d, Conv3d, ConvTranspose1d, ConvTranspose2d, ConvTranspose3d, _ConvNd
from .lazy import LazyModuleMixin

__all__ = ["LazyConv1d", "LazyConv2d", "LazyConv3d", "LazyConvTranspose1d", "LazyConvTranspose2d", "LazyConvTranspose3d"]


class _LazyConvNd(LazyModuleMixin, _ConvNd):
    def _defer(self, out_channels: int, bias: bool, device: Any, dtype: Any) -> None:
        self.weight = UninitializedParameter(device=device, dtype=dtype)
        self.out_channels = out_channels
        if bias:
            self.bias = UninitializedParameter(device=device, dtype=dtype)

    def reset_parameters(self) -> None:
        if not self.has_uninitialized_params() and self.in_channels != 0:
            super().reset_parameters()

    def initialize_parameters(self, input: Tensor, *args: Any, **kwargs: Any) -> None:
        n, groups = self._dimensions, self.groups
        if input.dim() not in (n + 1, n + 2):
            raise ShapeError(f"Expected {n + 1}D (unbatched) or {n + 2}D (batched) input to {type(self).__name__}, but got input of size: {tuple(input.shape)}")
        self.in_channels = input.shape[-n - 1]
        if self.in_channels % groups or self.out_channels % groups:
            raise ArgumentError(f"in_channels and out_channels must be divisible by groups: got {self.in_channels}, {self.out_channels} and groups={groups}")
        if self.has_uninitialized_params():
            first, second = (self.in_channels, self.out_channels) if self.transposed else (self.out_channels, self.in_channels)
            self.weight.materialize((first, second // groups, *self.kernel_size))
            if self.bias is not None:
                self.bias.materialize((self.out_channels,))
            self.reset_parameters()


class _LazyConv(_LazyConvNd):
    def __init__(
        self, out_channels: int, kernel_size: Ints, stride: Ints = 1, padding: Ints | str = 0, dilation: Ints = 1, groups: int = 1, bias: bool = True,
        padding_mode: str = "zeros", device: Any = None, dtype: Any = None,
    ):  # fmt: skip
        super().__init__(0, 0, kernel_size, stride, padding, dilation, groups, False, padding_mode)
        self._defer(out_channels, bias, device, dtype)


class _LazyConvTranspose(_LazyConvNd):
    def __init__(
        self, out_channels: int, kernel_size: Ints, stride: Ints = 1, padding: Ints = 0, output_padding: Ints = 0, groups: int = 1, bias: bool = True,
        dilation: Ints = 1, padding_mode: str = "zeros", device: Any = None, dtype: Any = None,
    ):  # fmt: skip
        super().__init__(0, 0, kernel_size, stride, padding, output_padding, groups, False, dilation, padding_mode)
        self._defer(out_channels, bias, device, dtype)


class LazyConv1d(_LazyConv, Conv1d):
    """A `Conv1d` that takes `in_channels` from its first input. The other arguments are those of `Conv1d`."""

    cls_to_become = Conv1d


class LazyConv2d(_LazyConv, Conv2d):
    """A `Conv2d` that takes `in_channels` from its first input. The other arguments are those of `Conv2d`.

    Examples:
        >>> import neurarust_jax as nr
        >>> layer = nr.nn.LazyConv2d(8, 3)
        >>> layer(nr.ones(2, 4, 5, 5)).shape, layer
        (neurarust_jax.Size([2, 8, 3, 3]), Conv2d(4, 8, kernel_size=(3, 3), stride=(1, 1)))
    """

    cls_to_become = Conv2d


class LazyConv3d(_LazyConv, Conv3d):
    """A `Conv3d` that takes `in_channels` from its first input. The other arguments are those of `Conv3d`."""

    cls_to_become = Conv3d


class LazyConvTranspose1d(_LazyConvTranspose, ConvTranspose1d):
    """A `ConvTranspose1d` that takes `in_channels` from its first input. The other arguments are those of `ConvTranspose1d`."""

    cls_to_become = ConvTranspose1d


class LazyConvTranspose2d(_LazyConvTranspose, ConvTranspose2d):
    """A `ConvTranspose2d` that takes `in_channels` from its first input. The other arguments are those of `ConvTranspose2d`.

    Examples:
        >>> import neurarust_jax as nr
        >>> layer = nr.nn.LazyConvTranspose2d(8, 2, stride=2)
        >>> layer(nr.ones(2, 4, 5, 5)).shape, layer.in_channels
        (neurarust_jax.Size([2, 8, 10, 10]), 4)
    """

    cls_to_become = ConvTranspose2d


class LazyConvTranspose3d(_LazyConvTranspose, ConvTranspose3d):
    """A `ConvTranspose3d` that takes `in_channels` from its first input. The other arguments are those of `ConvTranspose3d`."""

    cls_to_become = ConvTranspose3d
