"""Normalization over batches, instances, groups, features and neighboring channels. Statistics of half precision are computed in float32."""

import math
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from ...cells import Cell
from ...dispatch import Array, op
from ...errors import ArgumentError, IndexOutOfRangeError, ShapeError
from ...tensor import Tensor
from ..common import cast, floating, is_inexact, refuse
from ..reduction import widened

__all__ = ["batch_norm", "group_norm", "instance_norm", "layer_norm", "local_response_norm", "rms_norm"]

# --- what they share -----------------------------------------------------------------------------------------------


def _moments(x: Array, axes: tuple[int, ...]) -> tuple[Array, Array]:
    """Mean and variance (not corrected) along `axes`, which stay with length 1."""
    mean = x.mean(axes, keepdims=True)
    return mean, jnp.square(x - mean).mean(axes, keepdims=True)


def _affine(x: Array, weight: Array | None, bias: Array | None, shape: tuple[int, ...]) -> Array:
    """``x * weight + bias`` with both in a shape that broadcasts with `x`."""
    if weight is not None:
        x = x * weight.reshape(shape)
    return x if bias is None else x + bias.reshape(shape)


def _by_channel(ndim: int) -> tuple[int, ...]:
    return (1, -1) + (1,) * (ndim - 2)


def _blended(running: Array, new: Array, momentum: Array | float) -> Array:
    """Running statistics moved towards new ones."""
    new = lax.stop_gradient(new)
    return cast(running + cast(momentum, new.dtype) * (new - running), running.dtype)


def _check_channels(function: str, input: Array, **statistics: Array | None) -> None:
    """The input has channels, and every other tensor one element for each."""
    refuse(input, "biu", function)
    if input.ndim < 2:
        raise IndexOutOfRangeError(f"{function} expects shape (N, C, *), got {tuple(input.shape)}")
    channels = input.shape[1]
    for name, x in statistics.items():
        if x is not None and x.shape != (channels,):
            raise ShapeError(f"{name} should contain {channels} elements not {x.size}: the input has shape {tuple(input.shape)}")


def _update(cells: tuple[Any, Any], values: list[Tensor]) -> None:
    for cell, value in zip(cells, values, strict=False):
        if isinstance(cell, Cell):
            cell._write(value._value)


# --- over batches and instances ------------------------------------------------------------------------------------


@op(name="_batch_norm_training", method=False)
def _batch_norm_training(
    input: Array, weight: Array | None, bias: Array | None, running_mean: Array | None, running_var: Array | None, momentum: Array | float, eps: float
) -> tuple[Array, ...]:
    """(normalized by the batch's statistics, new running mean, new running variance)."""
    if not input.size:
        return (input,) if running_mean is None or running_var is None else (input, running_mean, running_var)
    _check_channels("batch_norm", input, running_mean=running_mean, running_var=running_var, weight=weight, bias=bias)
    if input.size == input.shape[1]:
        raise ArgumentError(f"Expected more than 1 value per channel when training, got input size {list(input.shape)}; write model.eval()")
    if eps <= 0:
        raise ArgumentError(f"batch_norm eps must be positive during training, but got {eps}")
    x, axes = widened(input), (0, *range(2, input.ndim))
    mean, variance = _moments(x, axes)
    output = cast(_affine((x - mean) * lax.rsqrt(variance + eps), weight, bias, _by_channel(input.ndim)), input.dtype)
    if running_mean is None or running_var is None:
        return (output,)
    count = input.size // input.shape[1]
    corrected = variance.reshape(-1) * (count / max(count - 1, 1))
    return output, _blended(running_mean, mean.reshape(-1), momentum), _blended(running_var, corrected, momentum)


@op(name="_batch_norm_inference", method=False)
def _batch_norm_inference(
    input: Array, weight: Array | None, bias: Array | None, running_mean: Array | None, running_var: Array | None, eps: float, function: str
) -> Array:
    """Normalized by the running statistics."""
    if not input.size:
        return input
    _check_channels(function, input, running_mean=running_mean, running_var=running_var, weight=weight, bias=bias)
    if running_mean is None or running_var is None:
        raise ShapeError(f"{function}: Expected running_mean and running_var to be defined unless the statistics of the input are used; write training=True")
    if eps < 0:
        raise ArgumentError(f"{function} eps must be non-negative, but got {eps}")
    shape = _by_channel(input.ndim)
    normalized = (widened(input) - running_mean.reshape(shape)) * lax.rsqrt(widened(running_var) + eps).reshape(shape)
    return cast(_affine(normalized, weight, bias, shape), input.dtype)


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
        RuntimeError: a statistic or weight does not have one element a channel, or there are no statistics.
        ValueError: `training` with a single value per channel, or with an `eps` of 0.
    """
    if not training:
        return _batch_norm_inference(input, weight, bias, running_mean, running_var, float(eps), "batch_norm")
    output, *statistics = _batch_norm_training(input, weight, bias, running_mean, running_var, momentum, float(eps))
    _update((running_mean, running_var), statistics)
    return output


@op(name="_instance_norm", method=False)
def _instance_norm(
    input: Array, weight: Array | None, bias: Array | None, running_mean: Array | None, running_var: Array | None, momentum: Array | float, eps: float
) -> tuple[Array, ...]:
    """(normalized by each instance's statistics, new running mean, new running variance)."""
    _check_channels("instance_norm", input, running_mean=running_mean, running_var=running_var, weight=weight, bias=bias)
    if math.prod(input.shape[2:]) == 1:
        raise ArgumentError(f"Expected more than 1 spatial element when training, got input size {list(input.shape)}")
    x, axes = widened(input), tuple(range(2, input.ndim))
    mean, variance = _moments(x, axes)
    output = cast(_affine((x - mean) * lax.rsqrt(variance + eps), weight, bias, _by_channel(input.ndim)), input.dtype)
    if running_mean is None or running_var is None:
        return (output,)
    count = input.size // max(input.shape[0] * input.shape[1], 1)
    over_batch = mean.reshape(input.shape[:2]).mean(0), variance.reshape(input.shape[:2]).mean(0) * (count / max(count - 1, 1))
    return output, _blended(running_mean, over_batch[0], momentum), _blended(running_var, over_batch[1], momentum)


def instance_norm(
    input: Tensor,
    running_mean: Any = None,
    running_var: Any = None,
    weight: Any = None,
    bias: Any = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-05,
) -> Tensor:
    r"""``(x - mean) / sqrt(var + eps) * weight + bias``, for each channel of each example (Ulyanov et al., 2016).

    Args:
        input: shape (N, C, \*).
        running_mean, running_var: shape (C). With `use_input_stats` they are updated if they are cells (buffers), and not used.
        weight, bias: shape (C).
        use_input_stats: take mean and variance (not corrected) of each example.
        momentum: weight of the batch in the running statistics; the running variance takes the corrected variance.
        eps: added to the variance.

    Raises:
        RuntimeError: a statistic or weight does not have one element a channel, or there are no statistics.
        ValueError: `use_input_stats` with a single value for each channel of an example.
    """
    if not use_input_stats:
        return _batch_norm_inference(input, weight, bias, running_mean, running_var, float(eps), "instance_norm")
    output, *statistics = _instance_norm(input, weight, bias, running_mean, running_var, momentum, float(eps))
    _update((running_mean, running_var), statistics)
    return output


# --- over groups and features --------------------------------------------------------------------------------------


def normalized_groups(input: Array, num_groups: int, weight: Array | None, bias: Array | None, eps: float) -> tuple[Array, Array, Array]:
    """(normalized within groups of channels, mean and reciprocal deviation of each group)."""
    refuse(input, "biuc", "GroupNormKernelImpl")
    x = widened(input).reshape(input.shape[0], num_groups, -1)
    mean, variance = _moments(x, (2,))
    scale = lax.rsqrt(variance + eps)
    output = _affine(((x - mean) * scale).reshape(input.shape), weight, bias, _by_channel(input.ndim))
    return cast(output, input.dtype), mean[..., 0], scale[..., 0]


@op(method=False)
def group_norm(input: Array, num_groups: int, weight: Array | None = None, bias: Array | None = None, eps: float = 1e-05) -> Array:
    r"""``(x - mean) / sqrt(var + eps) * weight + bias``, for each group of channels of each example (Wu and He, 2018).

    Args:
        input: shape (N, C, \*).
        num_groups: into how many groups the channels are split.
        weight, bias: shape (C).
        eps: added to the variance.

    Raises:
        RuntimeError: the groups do not divide the channels, or a weight does not have one element a channel.
        ValueError: a group has a single value.
    """
    if input.ndim < 2:
        raise ShapeError(f"Expected at least 2 dimensions for input tensor but received {input.ndim}")
    channels = input.shape[1]
    if num_groups <= 0 or channels % num_groups:
        raise ShapeError(
            f"Expected number of channels in input to be divisible by num_groups, but got input of shape {list(input.shape)} and num_groups={num_groups}"
        )
    if input.size == num_groups:
        raise ArgumentError(f"Expected more than 1 value per channel when training, got input size {list(input.shape)} in {num_groups} groups")
    for name, x in (("weight", weight), ("bias", bias)):
        if x is not None and x.shape != (channels,):
            raise ShapeError(
                f"Expected {name} to be a vector of size equal to the number of channels in input, but got {name} of shape {list(x.shape)} "
                f"and input of shape {list(input.shape)}"
            )
    return normalized_groups(input, num_groups, weight, bias, eps)[0] if input.size else input


def _feature_axes(input: Array, normalized_shape: Any, **parameters: Array | None) -> tuple[int, ...]:
    """The last dimensions, after a check that they, and the parameters, have `normalized_shape`."""
    shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
    if not shape:
        raise ShapeError("Expected normalized_shape to be at least 1-dimensional, i.e., containing at least one element, but got normalized_shape = []")
    if input.ndim < len(shape) or tuple(input.shape[input.ndim - len(shape) :]) != shape:
        raise ShapeError(
            f"Given normalized_shape={list(shape)}, expected input with shape [*, {', '.join(map(str, shape))}], but got input of size{list(input.shape)}"
        )
    for name, x in parameters.items():
        if x is not None and tuple(x.shape) != shape:
            raise ShapeError(f"Expected {name} to be of same shape as normalized_shape, but got {name} of shape {list(x.shape)} and normalized_shape = {list(shape)}")
    return tuple(range(input.ndim - len(shape), input.ndim))


def normalized_features(input: Array, normalized_shape: Any, weight: Array | None, bias: Array | None, eps: float) -> tuple[Array, Array, Array]:
    """(normalized over the last dimensions, mean and reciprocal deviation with those of length 1)."""
    axes = _feature_axes(input, normalized_shape, weight=weight, bias=bias)
    refuse(input, "biuc", "LayerNormKernelImpl")
    x = widened(input)
    mean, variance = _moments(x, axes)
    scale = lax.rsqrt(variance + eps)
    return cast(_affine((x - mean) * scale, weight, bias, input.shape[axes[0] :]), input.dtype), mean, scale


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

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.nn.functional.layer_norm(nr.tensor([1.0, 2.0, 3.0]), (3,))
        tensor([-1.2247,  0.0000,  1.2247])
    """
    return normalized_features(input, normalized_shape, weight, bias, eps)[0]


@op(method=False)
def rms_norm(input: Array, normalized_shape: tuple[int, ...], weight: Array | None = None, eps: float | None = None) -> Array:
    r"""``x / sqrt(mean(x ** 2) + eps) * weight`` over the last dimensions (Zhang and Sennrich, 2019).

    Args:
        input: shape (\*, \*normalized_shape).
        normalized_shape: the shape of the dimensions that are normalized together.
        weight: of that shape.
        eps: added to the mean square. Default: the machine epsilon of the dtype, of half precision that of float32.

    Raises:
        RuntimeError: the input does not end in `normalized_shape`.
    """
    axes = _feature_axes(input, normalized_shape, weight=weight)
    refuse(input, "biu", "rms_norm")
    x = widened(input)
    eps = float(jnp.finfo(x.dtype).eps) if eps is None else eps
    return cast(_affine(x * lax.rsqrt((x * x).mean(axes, keepdims=True) + eps), weight, None, input.shape[axes[0] :]), input.dtype)


# --- over neighboring channels -------------------------------------------------------------------------------------


def _sum_of_neighbors(x: Array, before: int, after: int) -> Array:
    """The sum over channels from `before` positions before each to `after` positions after it."""
    others = (1,) * (x.ndim - 2)
    zero = np.zeros((), x.dtype)
    padding = [(0, 0), (before, after)] + [(0, 0)] * (x.ndim - 2)
    return lax.reduce_window(x, zero, lax.add, (1, before + after + 1, *others), (1,) * x.ndim, padding)


@op(method=False)
def local_response_norm(input: Array, size: int, alpha: float = 0.0001, beta: float = 0.75, k: float = 1.0) -> Array:
    r"""``x / (k + alpha * mean of x ** 2 over neighboring channels) ** beta`` (Krizhevsky et al., 2012).

    Args:
        input: shape (N, C, d1, \*).
        size: how many channels count as neighbors; beyond the ends there are zeros.
        alpha, beta, k: as in the formula.

    Raises:
        ValueError: the input has less than three dimensions.
    """
    if input.ndim < 3:
        raise ArgumentError(f"Expected 3D or higher dimensionality input (got {input.ndim} dimensions)")
    if not input.size:
        return input
    x = widened(input) if is_inexact(input) else input
    total = _sum_of_neighbors(x * x, size // 2, (size - 1) // 2)
    mean = total / size if is_inexact(x) else floating(total // size)
    output = floating(x) / (mean * alpha + k) ** beta
    return cast(output, input.dtype) if is_inexact(input) else output


@op(name="_cross_map_lrn", method=False)
def cross_map_lrn(input: Array, size: int, alpha: float, beta: float, k: float) -> Array:
    """`local_response_norm` over a window that has as many channels before as after. As in PyTorch, the first channel stays in the sum beyond its window."""
    if input.ndim != 4:
        raise ArgumentError(f"CrossMapLRN2d: Expected input to be 4D, got {input.ndim}D instead.")
    reach = (size - 1) // 2
    square = widened(input) * widened(input)
    total = _sum_of_neighbors(square, reach, reach)
    beyond = lax.broadcasted_iota(np.int32, total.shape, 1) > reach
    total = total + jnp.where(beyond, square[:, :1], 0)
    return cast(widened(input) * (total * (alpha / size) + k) ** -beta, input.dtype)
