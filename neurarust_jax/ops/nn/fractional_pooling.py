"""Fractional max pooling: windows at random distances."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from ...dispatch import Array, op
from ...errors import ArgumentError, DtypeError, ShapeError
from ...tensor import Tensor
from ..common import cast, refuse
from ..random import rand
from .extremes import along, at, placed
from .sliding import Ints, at_least, spatial_dims, tuple_of

__all__ = ["fractional_max_pool2d", "fractional_max_pool2d_with_indices", "fractional_max_pool3d", "fractional_max_pool3d_with_indices"]


def _starts(sample: Array, size: int, kernel: int, length: int) -> Array:
    """Where the windows along one dimension start, for a random number from each channel: shape (*sample.shape, length)."""
    sample = sample[..., None]
    if length == 1:
        return jnp.full_like(sample, size - kernel, np.int32)
    step = np.asarray(size - kernel, sample.dtype) / np.asarray(length - 1, sample.dtype)
    starts = cast((jnp.arange(length, dtype=sample.dtype) + sample) * step, np.int32) - cast(sample * step, np.int32)
    return starts.at[..., -1].set(size - kernel)


@op(name="_fractional_max_pool", method=False)
def _fractional_max_pool(input: Array, samples: Array, kernel: tuple[int, ...], lengths: tuple[int, ...], return_indices: bool, name: str) -> Any:
    """The maximum of each window over the last dimensions, and its place if that is asked for."""
    n = len(kernel)
    lead = spatial_dims(input, n, name)
    refuse(input, "biuc", name)
    if samples.dtype != input.dtype:
        raise DtypeError(f"{name}: expected _random_samples to have the same dtype as input, got {samples.dtype} and {input.dtype}")
    channels = (1, *input.shape[:1]) if lead == 1 else input.shape[:2]
    if samples.ndim != 3 or samples.shape[0] < channels[0] or samples.shape[1:] != (channels[1], n):
        raise ShapeError(f"{name}: expected _random_samples of shape {(*channels, n)}, got {tuple(samples.shape)}")
    for size, k, length in zip(input.shape[lead:], kernel, lengths, strict=True):
        if length + k - 1 > size:
            raise ShapeError(f"{name}: kernel_size={kernel} and output_size={lengths} are too large relative to input of shape {tuple(input.shape)}")
    samples = samples[0] if lead == 1 else samples[: input.shape[0]]
    order = range(n) if n == 3 else (1, 0)  # PyTorch gives the first random number to the width in 2-d, and to the depth in 3-d
    elements = placed(lax.stop_gradient(input), lead)
    elements = elements[0], jnp.broadcast_to(elements[1], input.shape)
    for i in reversed(range(n)):
        axis = lead + i
        starts = _starts(samples[..., order[i]], input.shape[axis], kernel[i], lengths[i])
        wanted = (starts[..., None] + jnp.arange(kernel[i], dtype=np.int32)).reshape(*starts.shape[:-1], *[1] * i, lengths[i] * kernel[i], *[1] * (n - 1 - i))
        met = [jnp.take_along_axis(x, wanted, axis) for x in elements]
        elements = along(*(x.reshape(*x.shape[:axis], lengths[i], kernel[i], *x.shape[axis + 1 :]) for x in met), axis + 1)
    values = at(input, elements[1], lead)
    return (values, cast(elements[1], np.int64)) if return_indices else values


def _fractional(input: Tensor, kernel_size: Any, output_size: Any, output_ratio: Any, return_indices: bool, samples: Any, n: int, name: str) -> Any:
    """Find the output's size, draw the random numbers and pool."""
    if output_size is None and output_ratio is None:
        raise ArgumentError(f"{name} requires specifying either an output_size or an output_ratio")
    if input.dim() not in (n + 1, n + 2):
        raise ShapeError(f"{name}: expected {n + 1}D (unbatched) or {n + 2}D (batched) input, got shape {tuple(input.shape)}")
    if output_size is None:
        ratios = tuple(output_ratio) if isinstance(output_ratio, tuple | list) else (output_ratio,) * n
        if len(ratios) != n:
            raise ArgumentError(f"{name} requires output_ratio to be one number or {n}, got {output_ratio}")
        output_size = tuple(int(size * ratio) for size, ratio in zip(input.shape[-n:], ratios, strict=True))
    kernel, lengths = tuple_of(kernel_size, n, "kernel_size"), tuple_of(output_size, n, "output_size")
    at_least(1, kernel_size=kernel, output_size=lengths)
    if samples is None:
        samples = rand(1 if input.dim() == n + 1 else input.shape[0], input.shape[-n - 1], n, dtype=input.dtype)
    return _fractional_max_pool(input, samples, kernel, lengths, bool(return_indices), name)


def fractional_max_pool2d(
    input: Tensor, kernel_size: Ints, output_size: Ints | None = None, output_ratio: float | tuple[float, ...] | None = None, return_indices: bool = False,
    _random_samples: Tensor | None = None,
) -> Any:  # fmt: skip
    """The maximum of each of windows that lie at random distances (Graham, 2014, "Fractional Max-Pooling").

    Args:
        input: shape (N, C, H, W) or (C, H, W), a floating-point dtype.
        kernel_size: height and width of the window, one int or two.
        output_size: the output's height and width, one int or two.
        output_ratio: the output's size as a share of the input's, if `output_size` is not given: one number or two.
        return_indices: give the positions of the maxima too, counted in the flattened H * W.
        _random_samples: numbers in [0, 1) that decide where the windows lie, shape (N, C, 2). Default: drawn.

    Returns:
        Shape (N, C, H_out, W_out); with `return_indices` a pair, whose second is int64.

    Raises:
        ValueError: neither a size nor a ratio is given.
        RuntimeError: the windows do not fit in.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.nn.functional.fractional_max_pool2d(nr.randn(2, 3, 16, 16), 2, output_ratio=(0.7, 0.5)).shape
        neurarust_jax.Size([2, 3, 11, 8])
    """
    return _fractional(input, kernel_size, output_size, output_ratio, return_indices, _random_samples, 2, "fractional_max_pool2d")


def fractional_max_pool3d(
    input: Tensor, kernel_size: Ints, output_size: Ints | None = None, output_ratio: float | tuple[float, ...] | None = None, return_indices: bool = False,
    _random_samples: Tensor | None = None,
) -> Any:  # fmt: skip
    """The maximum of each of windows that lie at random distances (Graham, 2014, "Fractional Max-Pooling").

    Args:
        input: shape (N, C, D, H, W) or (C, D, H, W), a floating-point dtype.
        kernel_size: size of the window, one int or three.
        output_size: the output's depth, height and width, one int or three.
        output_ratio: the output's size as a share of the input's, if `output_size` is not given: one number or three.
        return_indices: give the positions of the maxima too, counted in the flattened D * H * W.
        _random_samples: numbers in [0, 1) that decide where the windows lie, shape (N, C, 3). Default: drawn.

    Returns:
        Shape (N, C, D_out, H_out, W_out); with `return_indices` a pair, whose second is int64.

    Raises:
        ValueError: neither a size nor a ratio is given.
        RuntimeError: the windows do not fit in.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.nn.functional.fractional_max_pool3d(nr.randn(2, 3, 8, 8, 8), 2, output_size=5).shape
        neurarust_jax.Size([2, 3, 5, 5, 5])
    """
    return _fractional(input, kernel_size, output_size, output_ratio, return_indices, _random_samples, 3, "fractional_max_pool3d")


def fractional_max_pool2d_with_indices(
    input: Tensor, kernel_size: Ints, output_size: Ints | None = None, output_ratio: float | tuple[float, ...] | None = None, return_indices: bool = False,
    _random_samples: Tensor | None = None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """`fractional_max_pool2d` with the positions of the maxima, always."""
    return fractional_max_pool2d(input, kernel_size, output_size, output_ratio, True, _random_samples)


def fractional_max_pool3d_with_indices(
    input: Tensor, kernel_size: Ints, output_size: Ints | None = None, output_ratio: float | tuple[float, ...] | None = None, return_indices: bool = False,
    _random_samples: Tensor | None = None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """`fractional_max_pool3d` with the positions of the maxima, always."""
    return fractional_max_pool3d(input, kernel_size, output_size, output_ratio, True, _random_samples)
