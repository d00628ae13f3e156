"""Pooling layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..errors import ArgumentError
from ..ops.nn.adaptive_pooling import Sizes
from ..ops.nn.sliding import Ints, tuple_of
from ..tensor import Tensor
from . import functional as F
from .module import Module

__all__ = [
    "AdaptiveAvgPool1d", "AdaptiveAvgPool2d", "AdaptiveAvgPool3d", "AdaptiveMaxPool1d", "AdaptiveMaxPool2d", "AdaptiveMaxPool3d", "AvgPool1d", "AvgPool2d",
    "AvgPool3d", "FractionalMaxPool2d", "FractionalMaxPool3d", "LPPool1d", "LPPool2d", "LPPool3d", "MaxPool1d", "MaxPool2d", "MaxPool3d", "MaxUnpool1d",
    "MaxUnpool2d", "MaxUnpool3d",
]  # fmt: skip


# --- what the layers of one kind share --------------------------------------------------------------------------------


class _MaxPoolNd(Module):
    def __init__(
        self, kernel_size: Ints, stride: Ints | None = None, padding: Ints = 0, dilation: Ints = 1, return_indices: bool = False, ceil_mode: bool = False
    ):
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding = padding
        self.dilation = dilation
        self.return_indices = return_indices
        self.ceil_mode = ceil_mode

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, dilation={self.dilation}, ceil_mode={self.ceil_mode}"


class _MaxUnpoolNd(Module):
    _dimensions: int

    def __init__(self, kernel_size: Ints, stride: Ints | None = None, padding: Ints = 0):
        super().__init__()
        self.kernel_size = tuple_of(kernel_size, self._dimensions, "kernel_size")
        self.stride = self.kernel_size if stride is None else tuple_of(stride, self._dimensions, "stride")
        self.padding = tuple_of(padding, self._dimensions, "padding")

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class _AvgPoolNd(Module):
    def __init__(
        self, kernel_size: Ints, stride: Ints | None = None, padding: Ints = 0, ceil_mode: bool = False, count_include_pad: bool = True,
        divisor_override: int | None = None,
    ):  # fmt: skip
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding = padding
        self.ceil_mode = ceil_mode
        self.count_include_pad = count_include_pad
        self.divisor_override = divisor_override

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class _FractionalMaxPoolNd(Module):
    _dimensions: int

    def __init__(
        self, kernel_size: Ints, output_size: Ints | None = None, output_ratio: float | tuple[float, ...] | None = None, return_indices: bool = False,
        _random_samples: Tensor | None = None,
    ):  # fmt: skip
        super().__init__()
        n, name = self._dimensions, type(self).__name__
        if (output_size is None) == (output_ratio is None):
            raise ArgumentError(f"{name} requires specifying either an output size, or a pooling ratio: got output_size={output_size} and output_ratio={output_ratio}")
        self.kernel_size = tuple_of(kernel_size, n, "kernel_size")
        if min(self.kernel_size) < 1:
            raise ArgumentError(f"kernel_size must be greater than 0, but got {kernel_size}")
        self.return_indices = return_indices
        self.register_buffer("_random_samples", _random_samples)
        self.output_size = None if output_size is None else tuple_of(output_size, n, "output_size")
        self.output_ratio = None if output_ratio is None else tuple(output_ratio) if isinstance(output_ratio, tuple | list) else (output_ratio,) * n
        if self.output_ratio is not None and not all(0 < ratio < 1 for ratio in self.output_ratio):
            raise ArgumentError(f"output_ratio must be between 0 and 1 (got {output_ratio})")


class _LPPoolNd(Module):
    def __init__(self, norm_type: float, kernel_size: Ints, stride: Ints | None = None, ceil_mode: bool = False):
        super().__init__()
        self.norm_type = norm_type
        self.kernel_size = kernel_size
        self.stride = stride
        self.ceil_mode = ceil_mode

    def extra_repr(self) -> str:
        return f"norm_type={self.norm_type}, kernel_size={self.kernel_size}, stride={self.stride}, ceil_mode={self.ceil_mode}"


class _AdaptiveMaxPoolNd(Module):
    def __init__(self, output_size: Sizes, return_indices: bool = False):
        super().__init__()
        self.output_size = output_size
        self.return_indices = return_indices

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


class _AdaptiveAvgPoolNd(Module):
    def __init__(self, output_size: Sizes):
        super().__init__()
        self.output_size = output_size

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


# --- the layers -------------------------------------------------------------------------------------------------------


class MaxPool1d(_MaxPoolNd):
    r"""The maximum of each window.

    Args:
        kernel_size: length of the window.
        stride: step of the window. Default: `kernel_size`.
        padding: minus infinity on both sides, at most half of the window. Default: 0.
        dilation: distance between the elements of a window. Default: 1.
        return_indices: give the positions of the maxima too: see `MaxUnpool1d`. Default: `False`.
        ceil_mode: let the last window reach past the end. Default: `False`.

    Shape:
        - Input: (N, C, L) or (C, L).
        - Output: (N, C, L_out) with ``L_out = floor((L + 2 padding - dilation (kernel_size - 1) - 1) / stride + 1)``.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.nn.MaxPool1d(2)(nr.randn(2, 4, 12)).shape
        neurarust_jax.Size([2, 4, 6])
    """

    def forward(self, input: Tensor) -> Any:
        return F.max_pool1d(input, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode, self.return_indices)


class MaxPool2d(_MaxPoolNd):
    r"""The maximum of each window.

    Args:
        kernel_size: height and width of the window, one int or two.
        stride: step of the window, one int or two. Default: `kernel_size`.
        padding: minus infinity on both sides, at most half of the window. Default: 0.
        dilation: distance between the elements of a window. Default: 1.
        return_indices: give the positions of the maxima too, counted in the flattened H * W: see `MaxUnpool2d`. Default: `False`.
        ceil_mode: let the last window reach past the end. Default: `False`.

    Shape:
        - Input: (N, C, H, W) or (C, H, W).
        - Output: (N, C, H_out, W_out) with ``H_out = floor((H + 2 padding - dilation (kernel_size - 1) - 1) / stride + 1)``.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.nn.MaxPool2d(2)(nr.randn(2, 4, 12, 9)).shape
        neurarust_jax.Size([2, 4, 6, 4])
    """

    def forward(self, input: Tensor) -> Any:
        return F.max_pool2d(input, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode, self.return_indices)


class MaxPool3d(_MaxPoolNd):
    r"""The maximum of each window.

    Args:
        kernel_size: size of the window, one int or three.
        stride: step of the window, one int or three. Default: `kernel_size`.
        padding: minus infinity on both sides, at most half of the window. Default: 0.
        dilation: distance between the elements of a window. Default: 1.
        return_indices: give the positions of the maxima too, counted in the flattened D * H * W: see `MaxUnpool3d`. Default: `False`.
        ceil_mode: let the last window reach past the end. Default: `False`.

    Shape:
        - Input: (N, C, D, H, W) or (C, D, H, W).
        - Output: (N, C, D_out, H_out, W_out) with ``D_out = floor((D + 2 padding - dilation (kernel_size - 1) - 1) / stride + 1)``.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.nn.MaxPool3d(2)(nr.randn(2, 4, 12, 9, 6)).shape
        neurarust_jax.Size([2, 4, 6, 4, 3])
    """

    def forward(self, input: Tensor) -> Any:
        return F.max_pool3d(input, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode, self.return_indices)


class MaxUnpool1d(_MaxUnpoolNd):
    r"""The inverse of `MaxPool1d`, as far as there is one: each maximum at its place, zeros elsewhere.

    Called with the maxima, their positions, and optionally `output_size`, the shape before the pooling.

    Args:
        kernel_size: length of the window.
        stride: step of the window. Default: `kernel_size`.
        padding: that of the pooling. Default: 0.

    Shape:
        - Input: (N, C, L) or (C, L), the positions likewise.
        - Output: (N, C, L_out) with ``L_out = (L - 1) stride - 2 padding + kernel_size`` unless `output_size` is given.

    Examples:
        >>> import neurarust_jax as nr
        >>> pool, unpool = nr.nn.MaxPool1d(2, return_indices=True), nr.nn.MaxUnpool1d(2)
        >>> x = nr.randn(2, 4, 12)
        >>> unpool(*pool(x), output_size=x.shape).shape == x.shape
        True
    """

    _dimensions = 1

    def forward(self, input: Tensor, indices: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        return F.max_unpool1d(input, indices, self.kernel_size, self.stride, self.padding, output_size)


class MaxUnpool2d(_MaxUnpoolNd):
    r"""The inverse of `MaxPool2d`, as far as there is one: each maximum at its place, zeros elsewhere.

    Called with the maxima, their positions, and optionally `output_size`, the shape before the pooling.

    Args:
        kernel_size: height and width of the window, one int or two.
        stride: step of the window, one int or two. Default: `kernel_size`.
        padding: that of the pooling. Default: 0.

    Shape:
        - Input: (N, C, H, W) or (C, H, W), the positions likewise.
        - Output: (N, C, H_out, W_out) with ``H_out = (H - 1) stride - 2 padding + kernel_size`` unless `output_size` is given.

    Examples:
        >>> import neurarust_jax as nr
        >>> pool, unpool = nr.nn.MaxPool2d(2, return_indices=True), nr.nn.MaxUnpool2d(2)
        >>> x = nr.randn(2, 4, 12, 9)
        >>> unpool(*pool(x), output_size=x.shape).shape == x.shape
        True
    """

    _dimensions = 2

    def forward(self, input: Tensor, indices: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        return F.max_unpool2d(input, indices, self.kernel_size, self.stride, self.padding, output_size)


class MaxUnpool3d(_MaxUnpoolNd):
    r"""The inverse of `MaxPool3d`, as far as there is one: each maximum at its place, zeros elsewhere.

    Called with the maxima, their positions, and optionally `output_size`, the shape before the pooling.

    Args:
        kernel_size: size of the window, one int or three.
        stride: step of the window, one int or three. Default: `kernel_size`.
        padding: that of the pooling. Default: 0.

    Shape:
        - Input: (N, C, D, H, W) or (C, D, H, W), the positions likewise.
        - Output: (N, C, D_out, H_out, W_out) with ``D_out = (D - 1) stride - 2 padding + kernel_size`` unless `output_size` is given.

    Examples:
        >>> import neurarust_jax as nr
        >>> pool, unpool = nr.nn.MaxPool3d(2, return_indices=True), nr.nn.MaxUnpool3d(2)
        >>> x = nr.randn(2, 4, 12, 9, 6)
        >>> unpool(*pool(x), output_size=x.shape).shape == x.shape
        True
    """

    _dimensions = 3

    def forward(self, input: Tensor, indices: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        return F.max_unpool3d(input, indices, self.kernel_size, self.stride, self.padding, output_size)


class AvgPool1d(_AvgPoolNd):
    r"""The mean of each window.

    Args:
        kernel_size: length of the window.
        stride: step of the window. Default: `kernel_size`.
        padding: zeros on both sides, at most half of the window. Default: 0.
        ceil_mode: let the last window reach past the end. Default: `False`.
        count_include_pad: whether the zeros are counted in the mean. Default: `True`.

    Shape:
        - Input: (N, C, L) or (C, L).
        - Output: (N, C, L_out) with ``L_out = floor((L + 2 padding - kernel_size) / stride + 1)``.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.nn.AvgPool1d(2)(nr.randn(2, 4, 12)).shape
        neurarust_jax.Size([2, 4, 6])
    """

    def __init__(self, kernel_size: Ints, stride: Ints | None = None, padding: Ints = 0, ceil_mode: bool = False, count_include_pad: bool = True):
        stride = kernel_size if stride is None else stride
        super().__init__(tuple_of(kernel_size, 1, "kernel_size"), tuple_of(stride, 1, "stride"), tuple_of(padding, 1, "padding"), ceil_mode, count_include_pad)

    def forward(self, input: Tensor) -> Tensor:
        return F.avg_pool1d(input, self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad)


class AvgPool2d(_AvgPoolNd):
    r"""The mean of each window.

    Args:
        kernel_size: height and width of the window, one int or two.
        stride: step of the window, one int or two. Default: `kernel_size`.
        padding: zeros on both sides, at most half of the window. Default: 0.
        ceil_mode: let the last window reach past the end. Default: `False`.
        count_include_pad: whether the zeros are counted in the mean. Default: `True`.
        divisor_override: what the sums are divided by, instead of the number of elements. Default: that number.

    Shape:
        - Input: (N, C, H, W) or (C, H, W).
        - Output: (N, C, H_out, W_out) with ``H_out = floor((H + 2 padding - kernel_size) / stride + 1)``.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.nn.AvgPool2d(2)(nr.randn(2, 4, 12, 9)).shape
        neurarust_jax.Size([2, 4, 6, 4])
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.avg_pool2d(input, self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad, self.divisor_override)


class AvgPool3d(_AvgPoolNd):
    r"""The mean of each window.

    Args:
        kernel_size: size of the window, one int or three.
        stride: step of the window, one int or three. Default: `kernel_size`.
        padding: zeros on both sides, at most half of the window. Default: 0.
        ceil_mode: let the last window reach past the end. Default: `False`.
        count_include_pad: whether the zeros are counted in the mean. Default: `True`.
        divisor_override: what the sums are divided by, instead of the number of elements. Default: that number.

    Shape:
        - Input: (N, C, D, H, W) or (C, D, H, W).
        - Output: (N, C, D_out, H_out, W_out) with ``D_out = floor((D + 2 padding - kernel_size) / stride + 1)``.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.nn.AvgPool3d(2)(nr.randn(2, 4, 12, 9, 6)).shape
        neurarust_jax.Size([2, 4, 6, 4, 3])
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.avg_pool3d(input, self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad, self.divisor_override)


class FractionalMaxPool2d(_FractionalMaxPoolNd):
    r"""The maximum of each of windows that lie at random distances (Graham, 2014, "Fractional Max-Pooling").

    Args:
        kernel_size: height and width of the window, one int or two.
        output_size: the output's size, one int or two.
        output_ratio: the output's size as a share of the input's, if `output_size` is not given: one number between 0 and 1, or two.
        return_indices: give the positions of the maxima too, counted in the flattened H * W. Default: `False`.

    Shape:
        - Input: (N, C, H, W) or (C, H, W).
        - Output: (N, C, H_out, W_out) with `output_size`, or ``floor(output_ratio * H)`` and so on.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.nn.FractionalMaxPool2d(2, output_ratio=0.5)(nr.randn(2, 4, 12, 9)).shape
        neurarust_jax.Size([2, 4, 6, 4])
    """

    _dimensions = 2

    def forward(self, input: Tensor) -> Any:
        return F.fractional_max_pool2d(input, self.kernel_size, self.output_size, self.output_ratio, self.return_indices, self._random_samples)


class FractionalMaxPool3d(_FractionalMaxPoolNd):
    r"""The maximum of each of windows that lie at random distances (Graham, 2014, "Fractional Max-Pooling").

    Args:
        kernel_size: size of the window, one int or three.
        output_size: the output's size, one int or three.
        output_ratio: the output's size as a share of the input's, if `output_size` is not given: one number between 0 and 1, or three.
        return_indices: give the positions of the maxima too, counted in the flattened D * H * W. Default: `False`.

    Shape:
        - Input: (N, C, D, H, W) or (C, D, H, W).
        - Output: (N, C, D_out, H_out, W_out) with `output_size`, or ``floor(output_ratio * D)`` and so on.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.nn.FractionalMaxPool3d(2, output_ratio=0.5)(nr.randn(2, 4, 12, 9, 6)).shape
        neurarust_jax.Size([2, 4, 6, 4, 3])
    """

    _dimensions = 3

    def forward(self, input: Tensor) -> Any:
        return F.fractional_max_pool3d(input, self.kernel_size, self.output_size, self.output_ratio, self.return_indices, self._random_samples)


class LPPool1d(_LPPoolNd):
    r"""The p-norm of each window, ``(sum of x ** p) ** (1 / p)``. The gradient of a window of zeros is 0.

    Args:
        norm_type: p, which may be infinite.
        kernel_size: length of the window.
        stride: step of the window. Default: `kernel_size`.
        ceil_mode: let the last window reach past the end. Default: `False`.

    Shape:
        - Input: (N, C, L) or (C, L).
        - Output: (N, C, L_out) with ``L_out = floor((L - kernel_size) / stride + 1)``.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.nn.LPPool1d(2, 2)(nr.randn(2, 4, 12)).shape
        neurarust_jax.Size([2, 4, 6])
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.lp_pool1d(input, float(self.norm_type), self.kernel_size, self.stride, self.ceil_mode)


class LPPool2d(_LPPoolNd):
    r"""The p-norm of each window, ``(sum of x ** p) ** (1 / p)``. The gradient of a window of zeros is 0.

    Args:
        norm_type: p, which may be infinite.
        kernel_size: height and width of the window, one int or two.
        stride: step of the window, one int or two. Default: `kernel_size`.
        ceil_mode: let the last window reach past the end. Default: `False`.

    Shape:
        - Input: (N, C, H, W) or (C, H, W).
        - Output: (N, C, H_out, W_out) with ``H_out = floor((H - kernel_size) / stride + 1)``.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.nn.LPPool2d(2, 2)(nr.randn(2, 4, 12, 9)).shape
        neurarust_jax.Size([2, 4, 6, 4])
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.lp_pool2d(input, float(self.norm_type), self.kernel_size, self.stride, self.ceil_mode)


class LPPool3d(_LPPoolNd):
    r"""The p-norm of each window, ``(sum of x ** p) ** (1 / p)``. The gradient of a window of zeros is 0.

    Args:
        norm_type: p, which may be infinite.
        kernel_size: size of the window, one int or three.
        stride: step of the window, one int or three. Default: `kernel_size`.
        ceil_mode: let the last window reach past the end. Default: `False`.

    Shape:
        - Input: (N, C, D, H, W) or (C, D, H, W).
        - Output: (N, C, D_out, H_out, W_out) with ``D_out = floor((D - kernel_size) / stride + 1)``.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.nn.LPPool3d(2, 2)(nr.randn(2, 4, 12, 9, 6)).shape
        neurarust_jax.Size([2, 4, 6, 4, 3])
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.lp_pool3d(input, float(self.norm_type), self.kernel_size, self.stride, self.ceil_mode)


class AdaptiveMaxPool1d(_AdaptiveMaxPoolNd):
    r"""The maximum of each of the windows that divide a signal into `output_size` parts.

    Args:
        output_size: the output's length.
        return_indices: give the positions of the maxima too. Default: `False`.

    Shape:
        - Input: (N, C, L) or (C, L).
        - Output: (N, C, \*output_size).

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.nn.AdaptiveMaxPool1d(5)(nr.randn(2, 4, 12)).shape
        neurarust_jax.Size([2, 4, 5])
    """

    def forward(self, input: Tensor) -> Any:
        return F.adaptive_max_pool1d(input, self.output_size, self.return_indices)


class AdaptiveMaxPool2d(_AdaptiveMaxPoolNd):
    r"""The maximum of each of the windows that divide height and width into `output_size` parts.

    Args:
        output_size: the output's height and width, one int or two; `None` keeps a size.
        return_indices: give the positions of the maxima too, counted in the flattened H * W. Default: `False`.

    Shape:
        - Input: (N, C, H, W) or (C, H, W).
        - Output: (N, C, \*output_size).

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.nn.AdaptiveMaxPool2d(5)(nr.randn(2, 4, 12, 9)).shape
        neurarust_jax.Size([2, 4, 5, 5])
    """

    def forward(self, input: Tensor) -> Any:
        return F.adaptive_max_pool2d(input, self.output_size, self.return_indices)


class AdaptiveMaxPool3d(_AdaptiveMaxPoolNd):
    r"""The maximum of each of the windows that divide depth, height and width into `output_size` parts.

    Args:
        output_size: the output's depth, height and width, one int or three; `None` keeps a size.
        return_indices: give the positions of the maxima too, counted in the flattened D * H * W. Default: `False`.

    Shape:
        - Input: (N, C, D, H, W) or (C, D, H, W).
        - Output: (N, C, \*output_size).

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.nn.AdaptiveMaxPool3d(5)(nr.randn(2, 4, 12, 9, 6)).shape
        neurarust_jax.Size([2, 4, 5, 5, 5])
    """

    def forward(self, input: Tensor) -> Any:
        return F.adaptive_max_pool3d(input, self.output_size, self.return_indices)


class AdaptiveAvgPool1d(_AdaptiveAvgPoolNd):
    r"""The mean of each of the windows that divide a signal into `output_size` parts.

    Args:
        output_size: the output's length.

    Shape:
        - Input: (N, C, L) or (C, L).
        - Output: (N, C, \*output_size).

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.nn.AdaptiveAvgPool1d(5)(nr.randn(2, 4, 12)).shape
        neurarust_jax.Size([2, 4, 5])
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.adaptive_avg_pool1d(input, self.output_size)


class AdaptiveAvgPool2d(_AdaptiveAvgPoolNd):
    r"""The mean of each of the windows that divide height and width into `output_size` parts.

    Args:
        output_size: the output's height and width, one int or two; `None` keeps a size.

    Shape:
        - Input: (N, C, H, W) or (C, H, W).
        - Output: (N, C, \*output_size).

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.nn.AdaptiveAvgPool2d(5)(nr.randn(2, 4, 12, 9)).shape
        neurarust_jax.Size([2, 4, 5, 5])
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.adaptive_avg_pool2d(input, self.output_size)


class AdaptiveAvgPool3d(_AdaptiveAvgPoolNd):
    r"""The mean of each of the windows that divide depth, height and width into `output_size` parts.

    Args:
        output_size: the output's depth, height and width, one int or three; `None` keeps a size.

    Shape:
        - Input: (N, C, D, H, W) or (C, D, H, W).
        - Output: (N, C, \*output_size).

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.nn.AdaptiveAvgPool3d(5)(nr.randn(2, 4, 12, 9, 6)).shape
        neurarust_jax.Size([2, 4, 5, 5, 5])
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.adaptive_avg_pool3d(input, self.output_size)
