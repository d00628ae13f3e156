"""Rearrangements of channels: pixel shuffles and channel shuffles."""

import jax.numpy as jnp

from ...dispatch import Array, op
from ...errors import ShapeError

__all__ = ["channel_shuffle", "native_channel_shuffle", "pixel_shuffle", "pixel_unshuffle"]


def _check_image(input: Array, factor: int, function: str, argument: str) -> None:
    if input.ndim < 3:
        raise ShapeError(f"{function} expects input to have at least 3 dimensions, but got input with {input.ndim} dimension(s)")
    if factor <= 0:
        raise ShapeError(f"{function} expects a positive {argument}, but got {factor}")


@op(method=False, linear=True)
def pixel_shuffle(input: Array, upscale_factor: int) -> Array:
    r"""Move groups of ``r * r`` channels into blocks of ``r * r`` pixels (Shi et al., 2016).

    Args:
        input: shape (\*, C r r, H, W).
        upscale_factor: ``r``.

    Returns:
        Shape (\*, C, H r, W r).

    Raises:
        RuntimeError: there are fewer than three dimensions, or the channels are no multiple of ``r * r``.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.pixel_shuffle(nr.arange(4).reshape(4, 1, 1), 2)
        tensor([[[0, 1],
                 [2, 3]]])
    """
    r = upscale_factor
    _check_image(input, r, "pixel_shuffle", "upscale_factor")
    *lead, channels, height, width = input.shape
    if channels % (r * r):
        raise ShapeError(
            "pixel_shuffle expects its input's 'channel' dimension to be divisible by the square of upscale_factor, but "
            f"input.size(-3)={channels} is not divisible by {r * r}"
        )
    n = len(lead)
    split = input.reshape(*lead, channels // (r * r), r, r, height, width)
    moved = jnp.transpose(split, (*range(n), n, n + 3, n + 1, n + 4, n + 2))
    return moved.reshape(*lead, channels // (r * r), height * r, width * r)


@op(method=False, linear=True)
def pixel_unshuffle(input: Array, downscale_factor: int) -> Array:
    r"""Move blocks of ``r * r`` pixels into groups of ``r * r`` channels: the inverse of `pixel_shuffle`.

    Args:
        input: shape (\*, C, H r, W r).
        downscale_factor: ``r``.

    Returns:
        Shape (\*, C r r, H, W).

    Raises:
        RuntimeError: there are fewer than three dimensions, or height or width is no multiple of ``r``.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.pixel_unshuffle(nr.arange(4).reshape(1, 2, 2), 2).flatten()
        tensor([0, 1, 2, 3])
    """
    r = downscale_factor
    _check_image(input, r, "pixel_unshuffle", "downscale_factor")
    *lead, channels, height, width = input.shape
    for name, place, length in (("height", -2, height), ("width", -1, width)):
        if length % r:
            raise ShapeError(f"pixel_unshuffle expects {name} to be divisible by downscale_factor, but input.size({place})={length} is not divisible by {r}")
    n = len(lead)
    split = input.reshape(*lead, channels, height // r, r, width // r, r)
    moved = jnp.transpose(split, (*range(n), n, n + 2, n + 4, n + 1, n + 3))
    return moved.reshape(*lead, channels * r * r, height // r, width // r)


@op(method=False, linear=True)
def channel_shuffle(input: Array, groups: int) -> Array:
    r"""Interleave the channels of `groups` groups (Zhang et al., 2018).

    Args:
        input: shape (N, C, \*), at least three dimensions.
        groups: divides C.

    Returns:
        The same shape: channel ``i * groups + g`` was channel ``g * C / groups + i``.

    Raises:
        RuntimeError: there are fewer than three dimensions, or `groups` does not divide C.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.channel_shuffle(nr.arange(4).reshape(1, 4, 1), 2).flatten()
        tensor([0, 2, 1, 3])
    """
    if input.ndim < 3:
        raise ShapeError(f"channel_shuffle expects input with > 2 dims, but got input with sizes {list(input.shape)}")
    if groups <= 0:
        raise ShapeError(f"Number of groups to divide channels in must be positive. Value of groups:{groups}")
    if input.shape[1] % groups:
        raise ShapeError(f"Number of channels must be divisible by groups. Got {input.shape[1]} channels and {groups} groups.")
    split = input.reshape(input.shape[0], groups, input.shape[1] // groups, *input.shape[2:])
    return jnp.swapaxes(split, 1, 2).reshape(input.shape)


native_channel_shuffle = channel_shuffle
