"""Normalization over batches and over features."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from ...cells import Cell
from ...dispatch import Array, op
from ...errors import ArgumentError, ShapeError
from ...tensor import Tensor
from ..common import cast

__all__ = ["batch_norm", "layer_norm"]


def _moments(x: Array, axes: tuple[int, ...], keepdims: bool = True) -> tuple[Array, Array]:
    """Mean and variance (not corrected) in float32 at least."""
    wide = x.astype(np.promote_types(x.dtype, np.float32)) if x.dtype.itemsize < 4 else x
    mean = wide.mean(axes, keepdims=True)
    variance = jnp.square(wide - mean).mean(axes, keepdims=True)
    return (mean, variance) if keepdims else (mean.squeeze(axes), variance.squeeze(axes))


@op(name="_batch_norm_training", method=False)
def _batch_norm_training(
    input: Array, weight: Array | None, bias: Array | None, running_mean: Array | None, running_var: Array | None, momentum: Array | float, eps: float
) -> tuple[Array, ...]:
    """(normalized by the batch's statistics, new running mean, new running variance)."""
    axes = (0, *range(2, input.ndim))
    count = input.size // max(input.shape[1], 1)
    if count <= 1 and input.size:
        raise ArgumentError(f"Expected more than 1 value per channel when training, got input size {list(input.shape)}; write model.eval()")
    mean, variance = _moments(input, axes)
    output = _affine((input - mean) * lax.rsqrt(variance + eps), weight, bias, 1).astype(input.dtype)
    if running_mean is None or running_var is None:
        return (output,)
    factor = cast(momentum, running_mean.dtype)
    mean, variance = lax.stop_gradient(mean.squeeze(axes)), lax.stop_gradient(variance.squeeze(axes)) * (count / max(count - 1, 1))
    return (
        output,
        (running_mean + factor * (mean - running_mean)).astype(running_mean.dtype),
        (running_var + factor * (variance - running_var)).astype(running_var.dtype),
    )


@op(name="_batch_norm_inference", method=False)
def _batch_norm_inference(input: Array, weight: Array | None, bias: Array | None, running_mean: Array, running_var: Array, eps: float) -> Array:
    """Normalized by the running statistics."""
    shape = (1, -1, *(1,) * (input.ndim - 2))
    normalized = (input - running_mean.reshape(shape)) * lax.rsqrt(running_var.reshape(shape) + eps)
    return _affine(normalized, weight, bias, 1).astype(input.dtype)


def _affine(x: Array, weight: Array | None, bias: Array | None, channel: int) -> Array:
    shape = (1,) * channel + (-1,) + (1,) * (x.ndim - channel - 1)
    if weight is not None:
        x = x * weight.reshape(shape)
    return x if bias is None else x + bias.reshape(shape)


def batch_norm(
    input: Tensor,
    running_mean: Any,
    running_var: Any,
    weight: Any = None,
    bias: Any = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-05,
) -> Tensor:
    r"""``(x - mean) / sqrt(var + eps) * weight + bias``, for each channel (Ioffe and Szegedy, 2015).

    Args:
        input: shape (N, C, \*).
        running_mean, running_var: shape (C). With `training` they are updated if they are cells (buffers), and not used.
        weight, bias: shape (C).
        training: take mean and variance (not corrected) of the batch.
        momentum: weight of the batch in the running statistics; the running variance takes the corrected variance.
        eps: added to the variance.

    Raises:
        RuntimeError: a statistic or weight does not have one element a channel.
        ValueError: `training` with a single value per channel.
    """
    channels = input.shape[1] if input.dim() > 1 else 0
    for name, x in (("running_mean", running_mean), ("running_var", running_var), ("weight", weight), ("bias", bias)):
        if x is not None and tuple(x.shape) != (channels,):
            raise ShapeError(f"{name} should contain {channels} elements not {x.numel()}: the input has shape {tuple(input.shape)}")
    if not training:
        if running_mean is None or running_var is None:
            raise ArgumentError("Expected running_mean and running_var to be defined when training=False")
        return _batch_norm_inference(input, weight, bias, running_mean, running_var, float(eps))
    output, *statistics = _batch_norm_training(input, weight, bias, running_mean, running_var, momentum, float(eps))
    for cell, value in zip((running_mean, running_var), statistics, strict=False):
        if isinstance(cell, Cell):
            cell._write(value._value)
    return output


@op(method=False)
def layer_norm(input: Array, normalized_shape: tuple[int, ...], weight: Array | None = None, bias: Array | None = None, eps: float = 1e-05) -> Array:
    r"""``(x - mean) / sqrt(var + eps) * weight + bias`` over the last dimensions (Ba et al., 2016).

    Args:
        input: shape (\*, \*normalized_shape).
        normalized_shape: the shape of the dimensions that are normalized together.
        weight, bias: of that shape.
        eps: added to the variance.

    Raises:
        RuntimeError: the input does not end in `normalized_shape`.
    """
    shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
    if not shape or tuple(input.shape[input.ndim - len(shape) :]) != shape or input.ndim < len(shape):
        raise ShapeError(
            f"Given normalized_shape={list(shape)}, expected input with shape [*, {', '.join(map(str, shape))}], but got input of size{list(input.shape)}"
        )
    for name, x in (("weight", weight), ("bias", bias)):
        if x is not None and tuple(x.shape) != shape:
            raise ShapeError(f"Expected {name} to be of same shape as normalized_shape, but got {name} of shape {list(x.shape)} and normalized_shape = {list(shape)}")
    mean, variance = _moments(input, tuple(range(input.ndim - len(shape), input.ndim)))
    output = ((input - mean) * lax.rsqrt(variance + eps)).astype(input.dtype)
    if weight is not None:
        output = output * weight
    return output if bias is None else output + bias
