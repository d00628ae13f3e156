"""Unpooling: maxima put back where they came from."""

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ...dispatch import Array, op
from ...errors import ArgumentError, DtypeError, ShapeError
from ...tensor import Tensor
from ..common import check_indices, refuse
from .sliding import Ints, spatial_dims, tuple_of

__all__ = ["max_unpool1d", "max_unpool2d", "max_unpool3d"]


def _rows(values: Array, places: Array, size: int) -> tuple[Array, tuple[Array, Array]]:
    """(zeros, where in them the values go)."""
    return jnp.zeros((values.shape[0], size), values.dtype), (jnp.arange(values.shape[0])[:, None], places)


@jax.custom_jvp
def _put(values: Array, places: Array, empty: Array) -> Array:
    """Zeros of the shape of `empty`, with the values in each row at their places."""
    zeros, where = _rows(values, places, empty.shape[1])
    return zeros.at[where].set(values, mode="drop")


@_put.defjvp
def _put_jvp(primals: Any, tangents: Any) -> Any:
    # The gradient is a look-up at the places also for values that others overwrote, as in PyTorch: the adjoint of addition.
    values, places, empty = primals
    zeros, where = _rows(values, places, empty.shape[1])
    return _put(values, places, empty), zeros.at[where].add(tangents[0], mode="drop")


@op(name="_max_unpool", method=False)
def _max_unpool(input: Array, indices: Array, size: tuple[int, ...], name: str) -> Array:
    """Zeros of a spatial size with the elements of the input at their places."""
    refuse(input, "biuc", name)
    lead = input.ndim - len(size)
    rows = math.prod(input.shape[:lead])
    flat = rows, math.prod(input.shape[lead:])
    output = _put(input.reshape(flat), indices.reshape(flat), jnp.zeros((rows, math.prod(size)), input.dtype))
    return output.reshape(*input.shape[:lead], *size)


def _unpool(input: Tensor, indices: Tensor, kernel_size: Any, stride: Any, padding: Any, output_size: Any, n: int, name: str) -> Tensor:
    """Find the output's size, check the indices and unpool."""
    spatial_dims(input, n, name)
    kernel, padding = tuple_of(kernel_size, n, "kernel_size"), tuple_of(padding, n, "padding")
    stride = kernel if stride is None or stride == () else tuple_of(stride, n, "stride")
    default = [(length - 1) * s + k - 2 * p for length, s, k, p in zip(input.shape[-n:], stride, kernel, padding, strict=True)]
    size = default
    if output_size is not None:
        size = [int(length) for length in output_size]
        size = size[2:] if len(size) == n + 2 else size
        if len(size) != n:
            raise ArgumentError(f"output_size should be a sequence containing {n} or {n + 2} elements, but it has a length of '{len(size)}'")
        if any(not d - s < length < d + s for length, d, s in zip(size, default, stride, strict=True)):
            raise ArgumentError(f'invalid output_size "{output_size}": without it the size is {default}, from which it may differ by less than stride={stride}')
    if min(size) < 0:
        raise ArgumentError(f"max_unpooling: output_size must contain non-negative spatial dimensions, but got {size}")
    if indices.dtype != np.int64:
        raise DtypeError(f"elements in indices should be type int64 but got: {indices.dtype}; write .long()")
    if indices.shape != input.shape:
        raise ShapeError(f"Expected shape of indices to be same as that of the input tensor ({list(input.shape)}) but got indices tensor with shape: {list(indices.shape)}")
    check_indices(name, indices, math.prod(size))
    return _max_unpool(input, indices, tuple(size), name)


def max_unpool1d(
    input: Tensor, indices: Tensor, kernel_size: Ints, stride: Ints | None = None, padding: Ints = 0, output_size: Sequence[int] | None = None
) -> Tensor:
    """The inverse of `max_pool1d`, as far as there is one: each maximum at its place, zeros elsewhere.

    Args:
        input: what was pooled, shape (N, C, L) or (C, L), a floating-point dtype.
        indices: the places of the maxima, in int64 and the shape of `input`. If a place comes twice, which value it gets is undefined.
        kernel_size: length of the window.
        stride: step of the window. Default: `kernel_size`.
        padding: that of the pooling.
        output_size: the shape before the pooling, which `kernel_size` and `stride` leave open: (L,) or (N, C, L).

    Returns:
        Shape (N, C, L_out) with ``L_out = (L - 1) stride - 2 padding + kernel_size`` unless `output_size` says otherwise.

    Raises:
        ValueError: `output_size` is not possible.
        RuntimeError: an index lies outside the output (seen eagerly on the CPU; elsewhere the value is dropped).

    Examples:
        >>> import neurarust_jax as nr
        >>> import neurarust_jax.nn.functional as F
        >>> values, places = F.max_pool1d(nr.tensor([[1.0, 3.0, 2.0, 0.0]]), 2, return_indices=True)
        >>> F.max_unpool1d(values, places, 2)
        tensor([[0., 3., 2., 0.]])
    """
    return _unpool(input, indices, kernel_size, stride, padding, output_size, 1, "max_unpool1d")


def max_unpool2d(
    input: Tensor, indices: Tensor, kernel_size: Ints, stride: Ints | None = None, padding: Ints = 0, output_size: Sequence[int] | None = None
) -> Tensor:
    """The inverse of `max_pool2d`, as far as there is one: each maximum at its place, zeros elsewhere.

    Args:
        input: what was pooled, shape (N, C, H, W) or (C, H, W), a floating-point dtype.
        indices: the places of the maxima, in int64 and the shape of `input`. If a place comes twice, which value it gets is undefined.
        kernel_size: height and width of the window, one int or two.
        stride: step of the window, one int or two. Default: `kernel_size`.
        padding: that of the pooling, one int or two.
        output_size: the shape before the pooling, which `kernel_size` and `stride` leave open: (H, W) or (N, C, H, W).

    Returns:
        Shape (N, C, H_out, W_out) with ``H_out = (H - 1) stride - 2 padding + kH`` unless `output_size` says otherwise.

    Raises:
        ValueError: `output_size` is not possible.
        RuntimeError: an index lies outside the output (seen eagerly on the CPU; elsewhere the value is dropped).

    Examples:
        >>> import neurarust_jax as nr
        >>> import neurarust_jax.nn.functional as F
        >>> F.max_unpool2d(nr.tensor([[[5.0]]]), nr.tensor([[[2]]]), 2)
        tensor([[[0., 0.],
                 [5., 0.]]])
    """
    return _unpool(input, indices, kernel_size, stride, padding, output_size, 2, "max_unpool2d")


def max_unpool3d(
    input: Tensor, indices: Tensor, kernel_size: Ints, stride: Ints | None = None, padding: Ints = 0, output_size: Sequence[int] | None = None
) -> Tensor:
    """The inverse of `max_pool3d`, as far as there is one: each maximum at its place, zeros elsewhere.

    Args:
        input: what was pooled, shape (N, C, D, H, W) or (C, D, H, W), a floating-point dtype.
        indices: the places of the maxima, in int64 and the shape of `input`. If a place comes twice, which value it gets is undefined.
        kernel_size: size of the window, one int or three.
        stride: step of the window, one int or three. Default: `kernel_size`.
        padding: that of the pooling, one int or three.
        output_size: the shape before the pooling, which `kernel_size` and `stride` leave open: (D, H, W) or (N, C, D, H, W).

    Returns:
        Shape (N, C, D_out, H_out, W_out) with ``D_out = (D - 1) stride - 2 padding + kD`` unless `output_size` says otherwise.

    Raises:
        ValueError: `output_size` is not possible.
        RuntimeError: an index lies outside the output (seen eagerly on the CPU; elsewhere the value is dropped).

    Examples:
        >>> import neurarust_jax as nr
        >>> import neurarust_jax.nn.functional as F
        >>> F.max_unpool3d(nr.tensor([[[[5.0]]]]), nr.tensor([[[[7]]]]), 2).shape
        neurarust_jax.Size([1, 2, 2, 2])
    """
    return _unpool(input, indices, kernel_size, stride, padding, output_size, 3, "max_unpool3d")
