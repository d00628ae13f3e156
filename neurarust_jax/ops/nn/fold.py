"""Sliding blocks of an image as columns (`unfold`), and their sum back (`fold`)."""

import math

import jax
import jax.numpy as jnp
import numpy as np

from ...dispatch import Array, op
from ...errors import ShapeError
from ..common import cast, is_inexact
from .sliding import Ints, at_least, every, extend, spatial_dims, tuple_of

__all__ = ["fold", "unfold"]


def _geometry(
    size: tuple[int, ...], kernel_size: Ints, dilation: Ints, padding: Ints, stride: Ints, name: str
) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], tuple[int, ...], list[int]]:
    """(kernel, dilation, padding, stride, number of blocks in each dimension), checked."""
    kernel, dilation = tuple_of(kernel_size, 2, "kernel_size"), tuple_of(dilation, 2, "dilation")
    padding, stride = tuple_of(padding, 2, "padding"), tuple_of(stride, 2, "stride")
    at_least(1, kernel_size=kernel, dilation=dilation, stride=stride)
    at_least(0, padding=padding)
    blocks = [(n + 2 * p - d * (k - 1) - 1) // s + 1 for n, p, d, k, s in zip(size, padding, dilation, kernel, stride, strict=True)]
    if min(blocks) < 1:
        raise ShapeError(
            f"{name}: spatial size {size}, kernel_size={kernel}, dilation={dilation}, padding={padding}: calculated shape of the array of sliding blocks as "
            f"{tuple(blocks)}, but its components must be at least one"
        )
    return kernel, dilation, padding, stride, blocks


def _blocks(x: Array, kernel: tuple[int, ...], dilation: tuple[int, ...], padding: tuple[int, ...], stride: tuple[int, ...], blocks: list[int]) -> Array:
    """(N, C, H, W) to (N, C * kH * kW, blocks): one dimension after the other, so that there are kH + kW slices and not kH * kW."""
    x = extend(x, 2, [(p, p) for p in padding])
    for axis, k, d, s, length in zip((2, 4), kernel, dilation, stride, blocks, strict=True):  # (N, C, kH, H', W), then (N, C, kH, H', kW, W')
        x = jnp.stack([every(x, axis, i * d, s, length) for i in range(k)], axis)
    x = jnp.swapaxes(x, 3, 4)
    return x.reshape(x.shape[0], math.prod(x.shape[1:4]), math.prod(blocks))


@op(method=False, linear=True)
def unfold(input: Array, kernel_size: Ints, dilation: Ints = 1, padding: Ints = 0, stride: Ints = 1) -> Array:
    """The sliding blocks of an image, each as a column ("im2col").

    Args:
        input: shape (N, C, H, W) or (C, H, W), any dtype.
        kernel_size: height and width of a block, one int or two.
        dilation: distance between the elements of a block.
        padding: zeros added on both sides.
        stride: step from one block to the next.

    Returns:
        Shape (N, C * kH * kW, L) or (C * kH * kW, L), where L is the number of blocks, row by row.

    Raises:
        RuntimeError: no block fits into the input.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.nn.functional.unfold(nr.arange(6.0).reshape(1, 2, 3), (2, 2))
        tensor([[0., 1.],
                [1., 2.],
                [3., 4.],
                [4., 5.]])
    """
    if spatial_dims(input, 2, "unfold") == 1:
        return unfold.op.function(input[None], kernel_size, dilation, padding, stride)[0]
    return _blocks(input, *_geometry(input.shape[2:], kernel_size, dilation, padding, stride, "unfold"))


@op(method=False, linear=True)
def fold(input: Array, output_size: Ints, kernel_size: Ints, dilation: Ints = 1, padding: Ints = 0, stride: Ints = 1) -> Array:
    """The sum of sliding blocks, each at its place in an image ("col2im"): the adjoint of `unfold`.

    Args:
        input: shape (N, C * kH * kW, L) or (C * kH * kW, L), where L is the number of blocks, row by row.
        output_size: height and width of the image, one int or two.
        kernel_size: height and width of a block, one int or two.
        dilation: distance between the elements of a block.
        padding: width of the margin that is cut off.
        stride: step from one block to the next.

    Returns:
        Shape (N, C, H, W) or (C, H, W). Where blocks overlap, they are added.

    Raises:
        RuntimeError: the input's shape does not fit the blocks.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.nn.functional.fold(nr.ones(4, 2), (2, 3), (2, 2))
        tensor([[[1., 2., 1.],
                 [1., 2., 1.]]])
    """
    if input.ndim not in (2, 3) or 0 in input.shape[-2:]:
        raise ShapeError(f"fold: expected 2D or 3D (batch mode) input with possibly 0 batch size and non-zero dimensions, got shape {list(input.shape)}")
    if input.ndim == 2:
        return fold.op.function(input[None], output_size, kernel_size, dilation, padding, stride)[0]
    size = tuple_of(output_size, 2, "output_size")
    at_least(0, output_size=size)
    geometry = _geometry(size, kernel_size, dilation, padding, stride, "fold")
    elements, blocks = math.prod(geometry[0]), math.prod(geometry[-1])
    if input.shape[1] % elements:
        raise ShapeError(f"fold: expected dimension 1 to be divisible by the product of kernel_size={geometry[0]}, got input of shape {list(input.shape)}")
    if input.shape[2] != blocks:
        raise ShapeError(f"fold: expected {blocks} sliding blocks in the last dimension for output_size={size}, got input of shape {list(input.shape)}")
    dtype = input.dtype
    wide = dtype if is_inexact(input) else np.dtype(np.float64)  # JAX transposes maps of inexact numbers
    image = jax.ShapeDtypeStruct((input.shape[0], input.shape[1] // elements, *size), wide)
    return cast(jax.linear_transpose(lambda x: _blocks(x, *geometry), image)(cast(input, wide))[0], dtype)
