"""Adaptive pooling: windows that divide each dimension into a given number of parts, from ``floor(i * size / length)`` to ``ceil((i + 1) * size / length)``."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from ...dispatch import Array, op
from ...errors import ArgumentError, ShapeError
from ...tensor import Tensor
from ..common import cast, refuse
from .extremes import between, in_windows, placed
from .pooling import wide, window_sums
from .sliding import spatial_dims, tuple_of

__all__ = [
    "adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_avg_pool3d", "adaptive_max_pool1d", "adaptive_max_pool1d_with_indices", "adaptive_max_pool2d",
    "adaptive_max_pool2d_with_indices", "adaptive_max_pool3d", "adaptive_max_pool3d_with_indices",
]  # fmt: skip

Sizes = int | None | tuple[int | None, ...]  # one for all spatial dimensions, or one for each; `None` keeps a size


def _geometry(input: Array, output_size: Sizes, n: int, name: str, channels: bool) -> tuple[int, tuple[int, ...]]:
    """(number of dimensions before the last `n`, the sizes wanted of those), checked."""
    if isinstance(output_size, tuple) and input.ndim <= n > 1:
        raise ArgumentError(f"{name}: Input dimension should be at least {n + 1}, got shape {tuple(input.shape)}")
    lead = spatial_dims(input, n, name, channels)
    wanted = output_size if isinstance(output_size, tuple) else (output_size,) * n
    if len(wanted) != n:
        raise ShapeError(f"{name}: output_size must have {n} elements, got {output_size}")
    sizes = tuple_of(tuple(have if want is None else want for want, have in zip(wanted, input.shape[lead:], strict=True)), n, "output_size")
    if min(sizes) < 0:
        raise ShapeError(f"{name}: elements of output_size must be greater than or equal to 0 but received {output_size}")
    return lead, sizes


def _bounds(size: int, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Where each window starts and stops. Their sizes are the same or differ by one."""
    i = np.arange(length)
    return i * size // length, -(-(i + 1) * size // length)


def adaptive_max_pool(input: Array, output_size: Sizes, return_indices: bool, n: int, name: str) -> Any:
    """The maximum of each window over the last `n` dimensions, and its place if that is asked for."""
    refuse(input, "biuc", name)
    lead, wanted = _geometry(input, output_size, n, name, True)
    if 0 in wanted:
        shape = (*input.shape[:lead], *wanted)
        return (jnp.zeros(shape, input.dtype), jnp.zeros(shape, np.int64)) if return_indices else jnp.zeros(shape, input.dtype)
    elements = placed(input, lead)
    for axis in reversed(range(lead, input.ndim)):
        size, length = input.shape[axis], wanted[axis - lead]
        if size % length == 0:
            elements = in_windows(elements, axis, size // length, size // length, 1, length, False)
        else:
            elements = between(elements, axis, *_bounds(size, length))
    return (elements[0], cast(jnp.broadcast_to(elements[1], elements[0].shape), np.int64)) if return_indices else elements[0]


def adaptive_avg_pool(input: Array, output_size: Sizes, n: int, name: str) -> Array:
    """The mean of each window over the last `n` dimensions."""
    refuse(input, "biuc", name)
    lead, wanted = _geometry(input, output_size, n, name, False)
    if 0 in wanted:
        return jnp.zeros((*input.shape[:lead], *wanted), input.dtype)
    x = wide(input)
    for axis in reversed(range(lead, input.ndim)):
        size, length = input.shape[axis], wanted[axis - lead]
        if size == length:
            continue
        if size % length == 0:
            x = x.reshape(*x.shape[:axis], length, size // length, *x.shape[axis + 1 :]).sum(axis + 1) / np.asarray(size // length, x.dtype)
            continue
        starts, stops = _bounds(size, length)
        shortest = -(-size // length)
        column = (-1, *[1] * (x.ndim - axis - 1))
        sums = jnp.take(window_sums(x, axis, shortest, 1, size - shortest + 1), starts, axis)
        sums = sums + jnp.where((stops - starts > shortest).reshape(column), jnp.take(x, stops - 1, axis), 0)
        x = sums / (stops - starts).astype(x.dtype).reshape(column)
    return cast(x, input.dtype)


@op(method=False)
def adaptive_max_pool1d(input: Array, output_size: Sizes, return_indices: bool = False) -> Any:
    """The maximum of each of the windows that divide a signal into `output_size` parts.

    Args:
        input: shape (N, C, L) or (C, L), a floating-point dtype.
        output_size: the output's length.
        return_indices: give the positions of the maxima too.

    Returns:
        Shape (N, C, output_size); with `return_indices` a pair, whose second is int64.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.nn.functional.adaptive_max_pool1d(nr.tensor([[1.0, 5.0, 2.0, 4.0, 3.0]]), 3)
        tensor([[5., 5., 4.]])
    """
    return adaptive_max_pool(input, output_size, return_indices, 1, "adaptive_max_pool1d")


@op(method=False)
def adaptive_max_pool2d(input: Array, output_size: Sizes, return_indices: bool = False) -> Any:
    """The maximum of each of the windows that divide height and width into `output_size` parts.

    Args:
        input: shape (N, C, H, W) or (C, H, W), a floating-point dtype.
        output_size: the output's height and width, one int or two; `None` keeps a size.
        return_indices: give the positions of the maxima too, counted in the flattened H * W.

    Returns:
        Shape (N, C, *output_size); with `return_indices` a pair, whose second is int64.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.nn.functional.adaptive_max_pool2d(nr.arange(12.0).reshape(1, 3, 4), (None, 1))
        tensor([[[ 3.],
                 [ 7.],
                 [11.]]])
    """
    return adaptive_max_pool(input, output_size, return_indices, 2, "adaptive_max_pool2d")


@op(method=False)
def adaptive_max_pool3d(input: Array, output_size: Sizes, return_indices: bool = False) -> Any:
    """The maximum of each of the windows that divide depth, height and width into `output_size` parts.

    Args:
        input: shape (N, C, D, H, W) or (C, D, H, W), a floating-point dtype.
        output_size: the output's depth, height and width, one int or three; `None` keeps a size.
        return_indices: give the positions of the maxima too, counted in the flattened D * H * W.

    Returns:
        Shape (N, C, *output_size); with `return_indices` a pair, whose second is int64.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.nn.functional.adaptive_max_pool3d(nr.arange(8.0).reshape(1, 2, 2, 2), 1)
        tensor([[[[7.]]]])
    """
    return adaptive_max_pool(input, output_size, return_indices, 3, "adaptive_max_pool3d")


def adaptive_max_pool1d_with_indices(input: Tensor, output_size: Sizes, return_indices: bool = False) -> tuple[Tensor, Tensor]:
    """`adaptive_max_pool1d` with the positions of the maxima, always."""
    return adaptive_max_pool1d(input, output_size, True)


def adaptive_max_pool2d_with_indices(input: Tensor, output_size: Sizes, return_indices: bool = False) -> tuple[Tensor, Tensor]:
    """`adaptive_max_pool2d` with the positions of the maxima, always."""
    return adaptive_max_pool2d(input, output_size, True)


def adaptive_max_pool3d_with_indices(input: Tensor, output_size: Sizes, return_indices: bool = False) -> tuple[Tensor, Tensor]:
    """`adaptive_max_pool3d` with the positions of the maxima, always."""
    return adaptive_max_pool3d(input, output_size, True)


@op(method=False, linear=True)
def adaptive_avg_pool1d(input: Array, output_size: Sizes) -> Array:
    """The mean of each of the windows that divide a signal into `output_size` parts.

    Args:
        input: shape (N, C, L) or (C, L), a floating-point dtype.
        output_size: the output's length.

    Returns:
        Shape (N, C, output_size).

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.adaptive_avg_pool1d(nr.tensor([[1.0, 5.0, 3.0, 4.0, 2.0]]), 3)
        tensor([[3., 4., 3.]])
    """
    return adaptive_avg_pool(input, output_size, 1, "adaptive_avg_pool1d")


@op(method=False, linear=True)
def adaptive_avg_pool2d(input: Array, output_size: Sizes) -> Array:
    """The mean of each of the windows that divide height and width into `output_size` parts.

    Args:
        input: shape (N, C, H, W) or (C, H, W), a floating-point dtype.
        output_size: the output's height and width, one int or two; `None` keeps a size.

    Returns:
        Shape (N, C, *output_size).

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.nn.functional.adaptive_avg_pool2d(nr.arange(12.0).reshape(1, 3, 4), 1)
        tensor([[[5.5000]]])
    """
    return adaptive_avg_pool(input, output_size, 2, "adaptive_avg_pool2d")


@op(method=False, linear=True)
def adaptive_avg_pool3d(input: Array, output_size: Sizes) -> Array:
    """The mean of each of the windows that divide depth, height and width into `output_size` parts.

    Args:
        input: shape (N, C, D, H, W) or (C, D, H, W), a floating-point dtype.
        output_size: the output's depth, height and width, one int or three; `None` keeps a size.

    Returns:
        Shape (N, C, *output_size).

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.nn.functional.adaptive_avg_pool3d(nr.arange(8.0).reshape(1, 2, 2, 2), (1, None, 1))
        tensor([[[[2.5000],
                  [4.5000]]]])
    """
    return adaptive_avg_pool(input, output_size, 3, "adaptive_avg_pool3d")
