"""Pooling."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from ...dispatch import Array, op
from ...errors import ArgumentError, ShapeError
from ..common import cast
from .convolution import tuple_of

__all__ = ["max_pool2d", "adaptive_avg_pool2d"]


def pooled_length(size: int, kernel: int, stride: int, padding: int, dilation: int, ceil_mode: bool) -> int:
    """Length of a pooled dimension; with `ceil_mode` the last window may reach past the end, but must start inside."""
    span = size + 2 * padding - dilation * (kernel - 1) - 1
    length = (-(-span // stride) if ceil_mode else span // stride) + 1
    if ceil_mode and (length - 1) * stride >= size + padding:
        length -= 1
    return length


def window_of(
    input: Array, kernel_size: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool, n: int, name: str
) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], list[tuple[int, int]]]:
    """(kernel, stride, dilation, padding before and after) of a pooling over the last `n` dimensions, checked."""
    if input.ndim not in (n + 1, n + 2):
        raise ShapeError(f"{name}: expected {n + 1}D or {n + 2}D input, got shape {tuple(input.shape)}")
    kernel = tuple_of(kernel_size, n, "kernel_size")
    stride = kernel if stride is None or stride == () else tuple_of(stride, n, "stride")
    padding, dilation = tuple_of(padding, n, "padding"), tuple_of(dilation, n, "dilation")
    pads = []
    for size, k, s, p, d in zip(input.shape[-n:], kernel, stride, padding, dilation, strict=True):
        if p < 0 or 2 * p > (k - 1) * d + 1:
            raise ArgumentError(f"pad should be at most half of effective kernel size, but got pad={p}, kernel_size={k} and dilation={d}")
        length = pooled_length(size, k, s, p, d, ceil_mode)
        if length < 1:
            raise ShapeError(f"{name}: input of shape {tuple(input.shape)} is too small for kernel_size={kernel}: the output would have length {length}")
        pads.append((p, max(0, (length - 1) * s + d * (k - 1) + 1 - size - p)))
    return kernel, stride, dilation, pads


def max_pool(input: Array, kernel_size: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool, n: int, name: str) -> Array:
    """The maximum of each window over the last `n` dimensions."""
    if tuple_of(dilation, n, "dilation") != (1,) * n:  # JAX has no gradient for a dilated window's maximum
        return max_pool_with_indices(input, kernel_size, stride, padding, dilation, ceil_mode, n, name)[0]
    kernel, stride, dilation, pads = window_of(input, kernel_size, stride, padding, dilation, ceil_mode, n, name)
    lead = input.ndim - n
    least = -np.inf if input.dtype.kind in "fV" else np.iinfo(input.dtype).min
    return lax.reduce_window(
        input,
        np.asarray(least, input.dtype),
        lax.max,
        (1,) * lead + kernel,
        (1,) * lead + stride,
        [(0, 0)] * lead + pads,
        window_dilation=(1,) * lead + dilation,
    )


def max_pool_with_indices(
    input: Array, kernel_size: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool, n: int, name: str
) -> tuple[Array, Array]:
    """The maximum of each window, and its position in the flattened spatial dimensions."""
    kernel, stride, dilation, pads = window_of(input, kernel_size, stride, padding, dilation, ceil_mode, n, name)
    lead = input.ndim - n
    spatial = input.shape[lead:]
    places = jnp.broadcast_to(jnp.arange(int(np.prod(spatial)), dtype=np.int32).reshape(spatial), input.shape)
    least = -np.inf if input.dtype.kind in "fV" else np.iinfo(input.dtype).min

    def greater(a, b):
        first = (a[0] > b[0]) | ((a[0] == b[0]) & (a[1] < b[1])) | (a[0] != a[0])
        return jnp.where(first, a[0], b[0]), jnp.where(first, a[1], b[1])

    _, indices = lax.reduce_window(
        (lax.stop_gradient(input), places),
        (np.asarray(least, input.dtype), np.asarray(np.iinfo(np.int32).max, np.int32)),
        greater,
        (1,) * lead + kernel,
        (1,) * lead + stride,
        [(0, 0)] * lead + pads,
        window_dilation=(1,) * lead + dilation,
    )
    flat = input.reshape(*input.shape[:lead], -1)
    values = jnp.take_along_axis(flat, indices.reshape(*indices.shape[:lead], -1), axis=-1)
    return values.reshape(indices.shape), cast(indices, np.int64)


@op(name="_max_pool2d", method=False)
def _max_pool2d(input: Array, kernel_size: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool) -> Array:
    """The maximum of each window."""
    return max_pool(input, kernel_size, stride, padding, dilation, ceil_mode, 2, "max_pool2d")


@op(name="_max_pool2d_with_indices", method=False)
def _max_pool2d_with_indices(input: Array, kernel_size: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool) -> tuple[Array, Array]:
    """The maximum of each window and its position."""
    return max_pool_with_indices(input, kernel_size, stride, padding, dilation, ceil_mode, 2, "max_pool2d")


def max_pool2d(input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode: bool = False, return_indices: bool = False):
    """The maximum of each window.

    Args:
        input: shape (N, C, H, W) or (C, H, W).
        kernel_size: height and width of the window, one int or two.
        stride: step of the window. Default: `kernel_size`.
        padding: cells of minus infinity added on both sides, at most half of the window.
        dilation: distance between the elements of a window.
        ceil_mode: let the last window reach past the end.
        return_indices: give the positions of the maxima too, counted in the flattened H * W.

    Returns:
        Shape (N, C, H_out, W_out); with `return_indices` a pair.
    """
    pool = _max_pool2d_with_indices if return_indices else _max_pool2d
    return pool(input, kernel_size, stride, padding, dilation, bool(ceil_mode))


def averaging_matrix(size: int, length: int, dtype: Any) -> np.ndarray:
    """Rows that average the ``floor(i * size / length)`` up to ``ceil((i + 1) * size / length)`` elements of a dimension."""
    matrix = np.zeros((length, size), np.float64)
    for i in range(length):
        start, stop = i * size // length, -(-(i + 1) * size // length)
        matrix[i, start:stop] = 1 / (stop - start)
    return matrix.astype(dtype)


def adaptive_avg_pool(input: Array, output_size: Any, n: int, name: str) -> Array:
    """Means over windows that divide each of the last `n` dimensions into `output_size` parts."""
    if input.ndim not in (n + 1, n + 2):
        raise ShapeError(f"{name}: expected {n + 1}D or {n + 2}D input, got shape {tuple(input.shape)}")
    sizes = (output_size,) * n if output_size is None or isinstance(output_size, int) else tuple(output_size)
    for i, length in enumerate(sizes):
        axis = input.ndim - n + i
        size = input.shape[axis]
        length = size if length is None else length
        if length == size:
            continue
        if length and size % length == 0:
            input = input.reshape(*input.shape[:axis], length, size // length, *input.shape[axis + 1 :]).mean(axis + 1, dtype=input.dtype)
        else:
            input = jnp.moveaxis(jnp.tensordot(input, averaging_matrix(size, length, input.dtype), ((axis,), (1,))), -1, axis)
    return input


@op(method=False)
def adaptive_avg_pool2d(input: Array, output_size: Any) -> Array:
    """Means over windows that divide height and width into `output_size` parts.

    Args:
        input: shape (N, C, H, W) or (C, H, W).
        output_size: the output's height and width, one int or two; `None` keeps a size.
    """
    return adaptive_avg_pool(input, output_size, 2, "adaptive_avg_pool2d")
