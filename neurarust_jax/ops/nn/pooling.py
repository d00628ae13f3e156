"""Pooling over windows of a fixed size: maximum, average and p-norm."""

import functools
import math
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from ...dispatch import Array, op
from ...errors import ShapeError
from ...tensor import Tensor
from ..common import cast, refuse
from ..elementwise import _power
from .extremes import windows_of
from .sliding import Ints, at_least, every, extend, spatial_dims, tuple_of

__all__ = [
    "avg_pool1d", "avg_pool2d", "avg_pool3d", "lp_pool1d", "lp_pool2d", "lp_pool3d", "max_pool1d", "max_pool1d_with_indices", "max_pool2d",
    "max_pool2d_with_indices", "max_pool3d", "max_pool3d_with_indices",
]  # fmt: skip


def pooled_length(size: int, kernel: int, stride: int, padding: int, dilation: int, ceil_mode: bool) -> int:
    """Length of a pooled dimension; with `ceil_mode` the last window may reach past the end, but must start inside."""
    span = size + 2 * padding - dilation * (kernel - 1) - 1
    length = (-(-span // stride) if ceil_mode else span // stride) + 1
    if ceil_mode and (length - 1) * stride >= size + padding:
        length -= 1
    return length


class _Windows:
    """The windows of a pooling over the last `n` dimensions, checked.

    Attributes:
        lead: the number of dimensions before.
        kernel, stride, padding, dilation, lengths: of each dimension.
        pads: (before, after) of each dimension, as far as windows reach.
    """

    def __init__(self, input: Array, kernel_size: Ints, stride: Ints | None, padding: Ints, dilation: Ints, ceil_mode: bool, n: int, name: str):
        self.lead = spatial_dims(input, n, name)
        self.kernel = tuple_of(kernel_size, n, "kernel_size")
        self.stride = self.kernel if stride is None or stride == () else tuple_of(stride, n, "stride")
        self.padding, self.dilation = tuple_of(padding, n, "padding"), tuple_of(dilation, n, "dilation")
        at_least(1, kernel_size=self.kernel, stride=self.stride, dilation=self.dilation)
        at_least(0, padding=self.padding)
        self.lengths, self.pads = [], []
        for size, k, s, p, d in zip(input.shape[self.lead :], self.kernel, self.stride, self.padding, self.dilation, strict=True):
            if 2 * p > k:
                raise ShapeError(f"{name}: pad should be at most half of kernel size, but got padding={p} and kernel_size={k}")
            length = pooled_length(size, k, s, p, d, ceil_mode)
            if length < 1:
                raise ShapeError(f"{name}: output size is too small: input of shape {tuple(input.shape)} and kernel_size={self.kernel} give the length {length}")
            self.lengths.append(length)
            self.pads.append((p, max(0, (length - 1) * s + d * (k - 1) + 1 - size - p)))


def max_pool(
    input: Array, kernel_size: Ints, stride: Ints | None, padding: Ints, dilation: Ints, ceil_mode: bool, return_indices: bool, n: int, name: str
) -> Any:
    """The maximum of each window over the last `n` dimensions, and its place if that is asked for."""
    refuse(input, "bc", name)
    w = _Windows(input, kernel_size, stride, padding, dilation, ceil_mode, n, name)
    values, places = windows_of(input, w.lead, w.kernel, w.stride, w.dilation, w.pads, w.lengths)
    return (values, cast(places, np.int64)) if return_indices else values


def window_sums(x: Array, axis: int, kernel: int, stride: int, length: int) -> Array:
    """The sum of each of `length` windows along a dimension."""
    if kernel <= 3:  # 4 times as fast on the CPU as XLA's primitive
        return functools.reduce(jnp.add, [every(x, axis, i, stride, length) for i in range(kernel)])
    one = [1] * x.ndim
    x = lax.slice_in_dim(x, 0, (length - 1) * stride + kernel, axis=axis)
    return lax.reduce_window(x, np.zeros((), x.dtype), lax.add, [*one[:axis], kernel, *one[axis + 1 :]], [*one[:axis], stride, *one[axis + 1 :]], "VALID")


def wide(x: Array) -> Array:
    """`x` in a dtype for sums: half precision becomes single."""
    return cast(x, np.float32) if x.dtype.itemsize == 2 and x.dtype.kind in "fV" else x


def avg_pool(
    input: Array, kernel_size: Ints, stride: Ints | None, padding: Ints, ceil_mode: bool, count_include_pad: bool, divisor_override: int | None, n: int, name: str
) -> Array:
    """The mean of each window over the last `n` dimensions."""
    if input.dtype != np.int64:
        refuse(input, "biuc", name)
    if divisor_override == 0:
        raise ShapeError(f"{name}: divisor must be not zero")
    w = _Windows(input, kernel_size, stride, padding, 1, ceil_mode, n, name)
    x = extend(wide(input), w.lead, w.pads)
    for i in reversed(range(n)):
        x = window_sums(x, w.lead + i, w.kernel[i], w.stride[i], w.lengths[i])
    if divisor_override is None:
        count = functools.reduce(np.multiply.outer, _counts(input.shape[w.lead :], w, count_include_pad))
        count = count.flat[0] if count.min() == count.max() else count
    else:
        count = divisor_override
    count = np.asarray(count, x.dtype)
    return cast(x / count if x.dtype.kind != "i" else lax.div(x, jnp.broadcast_to(count, x.shape)), input.dtype)


def _counts(sizes: Sequence[int], w: _Windows, count_include_pad: bool) -> list[np.ndarray]:
    """How many elements each window along each dimension has."""
    counts = []
    for size, kernel, stride, padding, length in zip(sizes, w.kernel, w.stride, w.padding, w.lengths, strict=True):
        start = np.arange(length) * stride - padding
        stop = np.minimum(start + kernel, size + padding)
        if not count_include_pad:
            start, stop = np.maximum(start, 0), np.minimum(stop, size)
        counts.append(np.maximum(stop - start, 1))
    return counts


def lp_pool(input: Array, norm_type: float, kernel_size: Ints, stride: Ints | None, ceil_mode: bool, n: int, name: str) -> Array:
    """The p-norm of each window over the last `n` dimensions."""
    if norm_type in (math.inf, -math.inf):
        sign = 1 if norm_type > 0 else -1
        return sign * max_pool(sign * jnp.abs(input), kernel_size, stride, 0, 1, ceil_mode, False, n, name)
    mean = avg_pool(_power(input, norm_type), kernel_size, stride, 0, ceil_mode, True, None, n, name)
    size = jnp.abs(mean)
    mean = jnp.sign(mean) * jnp.where(size <= 0, jnp.zeros_like(size), size)  # so that the gradient of a window of zeros is 0, as in PyTorch
    return _power(mean * np.asarray(math.prod(tuple_of(kernel_size, n, "kernel_size")), mean.dtype), 1.0 / norm_type)


@op(method=False)
def max_pool1d(
    input: Array, kernel_size: Ints, stride: Ints | None = None, padding: Ints = 0, dilation: Ints = 1, ceil_mode: bool = False, return_indices: bool = False
) -> Any:
    """The maximum of each window. Of equal elements the first gets the gradient, as in PyTorch; a NaN counts as the maximum.

    Args:
        input: shape (N, C, L) or (C, L), a real dtype.
        kernel_size: length of the window.
        stride: step of the window. Default: `kernel_size`.
        padding: elements of minus infinity added on both sides, at most half of the window.
        dilation: distance between the elements of a window.
        ceil_mode: let the last window reach past the end.
        return_indices: give the positions of the maxima too.

    Returns:
        Shape (N, C, L_out) with ``L_out = floor((L + 2 padding - dilation (kernel_size - 1) - 1) / stride + 1)``; with `return_indices` a pair,
        whose second is int64.

    Raises:
        RuntimeError: the input has no such dimensions, or no window fits in.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.max_pool1d(nr.tensor([[1.0, 3.0, 2.0, 0.0]]), 2, return_indices=True)
        (tensor([[3., 2.]]), tensor([[1, 2]]))
    """
    return max_pool(input, kernel_size, stride, padding, dilation, ceil_mode, return_indices, 1, "max_pool1d")


@op(method=False)
def max_pool2d(
    input: Array, kernel_size: Ints, stride: Ints | None = None, padding: Ints = 0, dilation: Ints = 1, ceil_mode: bool = False, return_indices: bool = False
) -> Any:
    """The maximum of each window. Of equal elements the first gets the gradient, as in PyTorch; a NaN counts as the maximum.

    Args:
        input: shape (N, C, H, W) or (C, H, W), a real dtype.
        kernel_size: height and width of the window, one int or two.
        stride: step of the window, one int or two. Default: `kernel_size`.
        padding: elements of minus infinity added on both sides, at most half of the window.
        dilation: distance between the elements of a window.
        ceil_mode: let the last window reach past the end.
        return_indices: give the positions of the maxima too, counted in the flattened H * W.

    Returns:
        Shape (N, C, H_out, W_out) with ``H_out = floor((H + 2 padding - dilation (kH - 1) - 1) / stride + 1)``; with `return_indices` a pair,
        whose second is int64.

    Raises:
        RuntimeError: the input has no such dimensions, or no window fits in.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.max_pool2d(nr.arange(16.0).reshape(1, 4, 4), 2)
        tensor([[[ 5.,  7.],
                 [13., 15.]]])
    """
    return max_pool(input, kernel_size, stride, padding, dilation, ceil_mode, return_indices, 2, "max_pool2d")


@op(method=False)
def max_pool3d(
    input: Array, kernel_size: Ints, stride: Ints | None = None, padding: Ints = 0, dilation: Ints = 1, ceil_mode: bool = False, return_indices: bool = False
) -> Any:
    """The maximum of each window. Of equal elements the first gets the gradient, as in PyTorch; a NaN counts as the maximum.

    Args:
        input: shape (N, C, D, H, W) or (C, D, H, W), a real dtype.
        kernel_size: size of the window, one int or three.
        stride: step of the window, one int or three. Default: `kernel_size`.
        padding: elements of minus infinity added on both sides, at most half of the window.
        dilation: distance between the elements of a window.
        ceil_mode: let the last window reach past the end.
        return_indices: give the positions of the maxima too, counted in the flattened D * H * W.

    Returns:
        Shape (N, C, D_out, H_out, W_out) with ``D_out = floor((D + 2 padding - dilation (kD - 1) - 1) / stride + 1)``; with `return_indices` a
        pair, whose second is int64.

    Raises:
        RuntimeError: the input has no such dimensions, or no window fits in.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.max_pool3d(nr.arange(8.0).reshape(1, 2, 2, 2), 2)
        tensor([[[[7.]]]])
    """
    return max_pool(input, kernel_size, stride, padding, dilation, ceil_mode, return_indices, 3, "max_pool3d")


def max_pool1d_with_indices(
    input: Tensor, kernel_size: Ints, stride: Ints | None = None, padding: Ints = 0, dilation: Ints = 1, ceil_mode: bool = False, return_indices: bool = False
) -> tuple[Tensor, Tensor]:
    """`max_pool1d` with the positions of the maxima, always."""
    return max_pool1d(input, kernel_size, stride, padding, dilation, ceil_mode, True)


def max_pool2d_with_indices(
    input: Tensor, kernel_size: Ints, stride: Ints | None = None, padding: Ints = 0, dilation: Ints = 1, ceil_mode: bool = False, return_indices: bool = False
) -> tuple[Tensor, Tensor]:
    """`max_pool2d` with the positions of the maxima, always."""
    return max_pool2d(input, kernel_size, stride, padding, dilation, ceil_mode, True)


def max_pool3d_with_indices(
    input: Tensor, kernel_size: Ints, stride: Ints | None = None, padding: Ints = 0, dilation: Ints = 1, ceil_mode: bool = False, return_indices: bool = False
) -> tuple[Tensor, Tensor]:
    """`max_pool3d` with the positions of the maxima, always."""
    return max_pool3d(input, kernel_size, stride, padding, dilation, ceil_mode, True)


@op(method=False, linear=True)
def avg_pool1d(input: Array, kernel_size: Ints, stride: Ints | None = None, padding: Ints = 0, ceil_mode: bool = False, count_include_pad: bool = True) -> Array:
    """The mean of each window.

    Args:
        input: shape (N, C, L) or (C, L), a floating-point dtype or int64.
        kernel_size: length of the window.
        stride: step of the window. Default: `kernel_size`.
        padding: zeros added on both sides, at most half of the window.
        ceil_mode: let the last window reach past the end.
        count_include_pad: whether the zeros are counted in the mean.

    Returns:
        Shape (N, C, L_out) with ``L_out = floor((L + 2 padding - kernel_size) / stride + 1)``.

    Raises:
        RuntimeError: the input has no such dimensions, or no window fits in.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.avg_pool1d(nr.tensor([[1.0, 3.0, 2.0, 0.0]]), 2, stride=1)
        tensor([[2.0000, 2.5000, 1.0000]])
    """
    return avg_pool(input, kernel_size, stride, padding, ceil_mode, count_include_pad, None, 1, "avg_pool1d")


@op(method=False, linear=True)
def avg_pool2d(
    input: Array, kernel_size: Ints, stride: Ints | None = None, padding: Ints = 0, ceil_mode: bool = False, count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Array:  # fmt: skip
    """The mean of each window.

    Args:
        input: shape (N, C, H, W) or (C, H, W), a floating-point dtype or int64.
        kernel_size: height and width of the window, one int or two.
        stride: step of the window, one int or two. Default: `kernel_size`.
        padding: zeros added on both sides, at most half of the window.
        ceil_mode: let the last window reach past the end.
        count_include_pad: whether the zeros are counted in the mean.
        divisor_override: what the sums are divided by, instead of the number of elements.

    Returns:
        Shape (N, C, H_out, W_out) with ``H_out = floor((H + 2 padding - kH) / stride + 1)``.

    Raises:
        RuntimeError: the input has no such dimensions, or no window fits in.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.nn.functional.avg_pool2d(nr.arange(16.0).reshape(1, 4, 4), 2)
        tensor([[[ 2.5000,  4.5000],
                 [10.5000, 12.5000]]])
    """
    return avg_pool(input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override, 2, "avg_pool2d")


@op(method=False, linear=True)
def avg_pool3d(
    input: Array, kernel_size: Ints, stride: Ints | None = None, padding: Ints = 0, ceil_mode: bool = False, count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Array:  # fmt: skip
    """The mean of each window.

    Args:
        input: shape (N, C, D, H, W) or (C, D, H, W), a floating-point dtype or int64.
        kernel_size: size of the window, one int or three.
        stride: step of the window, one int or three. Default: `kernel_size`.
        padding: zeros added on both sides, at most half of the window.
        ceil_mode: let the last window reach past the end.
        count_include_pad: whether the zeros are counted in the mean.
        divisor_override: what the sums are divided by, instead of the number of elements.

    Returns:
        Shape (N, C, D_out, H_out, W_out) with ``D_out = floor((D + 2 padding - kD) / stride + 1)``.

    Raises:
        RuntimeError: the input has no such dimensions, or no window fits in.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.nn.functional.avg_pool3d(nr.arange(8.0).reshape(1, 2, 2, 2), 2)
        tensor([[[[3.5000]]]])
    """
    return avg_pool(input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override, 3, "avg_pool3d")


@op(method=False)
def lp_pool1d(input: Array, norm_type: float, kernel_size: Ints, stride: Ints | None = None, ceil_mode: bool = False) -> Array:
    """The p-norm of each window, ``(sum of x ** p) ** (1 / p)``. The gradient of a window of zeros is 0.

    Args:
        input: shape (N, C, L) or (C, L).
        norm_type: p, which may be infinite: the greatest absolute value, or the least.
        kernel_size: length of the window.
        stride: step of the window. Default: `kernel_size`.
        ceil_mode: let the last window reach past the end.

    Returns:
        Shape (N, C, L_out) with ``L_out = floor((L - kernel_size) / stride + 1)``.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.nn.functional.lp_pool1d(nr.tensor([[3.0, 4.0, 0.0, 2.0]]), 2, 2)
        tensor([[5., 2.]])
    """
    return lp_pool(input, norm_type, kernel_size, stride, ceil_mode, 1, "lp_pool1d")


@op(method=False)
def lp_pool2d(input: Array, norm_type: float, kernel_size: Ints, stride: Ints | None = None, ceil_mode: bool = False) -> Array:
    """The p-norm of each window, ``(sum of x ** p) ** (1 / p)``. The gradient of a window of zeros is 0.

    Args:
        input: shape (N, C, H, W) or (C, H, W).
        norm_type: p, which may be infinite: the greatest absolute value, or the least.
        kernel_size: height and width of the window, one int or two.
        stride: step of the window, one int or two. Default: `kernel_size`.
        ceil_mode: let the last window reach past the end.

    Returns:
        Shape (N, C, H_out, W_out) with ``H_out = floor((H - kH) / stride + 1)``.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.nn.functional.lp_pool2d(nr.ones(1, 4, 4), 2, 2)
        tensor([[[2., 2.],
                 [2., 2.]]])
    """
    return lp_pool(input, norm_type, kernel_size, stride, ceil_mode, 2, "lp_pool2d")


@op(method=False)
def lp_pool3d(input: Array, norm_type: float, kernel_size: Ints, stride: Ints | None = None, ceil_mode: bool = False) -> Array:
    """The p-norm of each window, ``(sum of x ** p) ** (1 / p)``. The gradient of a window of zeros is 0.

    Args:
        input: shape (N, C, D, H, W) or (C, D, H, W).
        norm_type: p, which may be infinite: the greatest absolute value, or the least.
        kernel_size: size of the window, one int or three.
        stride: step of the window, one int or three. Default: `kernel_size`.
        ceil_mode: let the last window reach past the end.

    Returns:
        Shape (N, C, D_out, H_out, W_out) with ``D_out = floor((D - kD) / stride + 1)``.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.nn.functional.lp_pool3d(nr.ones(1, 2, 2, 2), 3, 2)
        tensor([[[[2.]]]])
    """
    return lp_pool(input, norm_type, kernel_size, stride, ceil_mode, 3, "lp_pool3d")
