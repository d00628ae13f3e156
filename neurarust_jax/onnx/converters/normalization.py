"""Normalization over batches, instances, groups and features."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..builder import Graph, Value
from ..lowering import case, converter
from .elementwise import number
from .reduction import count_along, reduced


def _vector(g: Graph, like: Value, length: int, fill: float) -> Value:
    return g.constant(np.full((length,), fill, like.dtype))


def _scale_and_shift(g: Graph, input: Value, weight: Value | None, bias: Value | None, channels: int) -> tuple[Value, Value]:
    """Weight and bias, ones and zeros where there are none."""
    return (
        _vector(g, input, channels, 1) if weight is None else weight,
        _vector(g, input, channels, 0) if bias is None else bias,
    )


def _by_channel(g: Graph, x: Value, ndim: int) -> Value:
    """A vector with one element a channel in the shape that broadcasts with (N, C, *)."""
    return x if ndim == 2 else g.reshape(x, (*x.known_shape, *[1] * (ndim - 2)))


def _affine(g: Graph, x: Value, weight: Value | None, bias: Value | None, ndim: int) -> Value:
    if weight is not None:
        x = g.add("Mul", x, g.cast(_by_channel(g, weight, ndim), x.dtype))
    return x if bias is None else g.add("Add", x, g.cast(_by_channel(g, bias, ndim), x.dtype))


@converter(
    "_batch_norm_inference",
    cases=[case("nn.BatchNorm2d(4)(x)", "BatchNormalization", x=(2, 4, 3, 3)), case("nn.BatchNorm1d(4, affine=False)(x)", "BatchNormalization", x=(2, 4))],
)
def _batch_norm_inference(
    g: Graph, input: Value, weight: Value | None, bias: Value | None, running_mean: Value, running_var: Value, eps: float, function: str
) -> Value:
    scale, shift = _scale_and_shift(g, input, weight, bias, running_mean.known_shape[0])
    if scale.dtype != shift.dtype:
        shift = g.cast(shift, scale.dtype)
    return g.add("BatchNormalization", input, scale, shift, running_mean, running_var, epsilon=float(eps))


def _moments(g: Graph, x: Value, axes: tuple[int, ...]) -> tuple[Value, Value, Value]:
    """(mean, variance, what deviates from the mean) along axes, which stay."""
    mean = reduced(g, "ReduceMean", x, axes, True)
    centered = g.add("Sub", x, mean, shape=x.shape)
    return mean, reduced(g, "ReduceMean", g.add("Mul", centered, centered, shape=x.shape), axes, True), centered


def _updated(g: Graph, running: Value, new: Value, momentum: Value) -> Value:
    factor = g.cast(momentum, running.dtype)
    return g.add("Add", running, g.add("Mul", factor, g.add("Sub", g.cast(new, running.dtype), running)))


@converter(
    "_batch_norm_training",
    cases=[
        case(
            "F.batch_norm(x, None, None, w, b, training=True)",
            "Add Add Div Mul Mul ReduceMean ReduceMean Reshape Reshape Sqrt Sub",
            x=(2, 4, 3, 3),
            w=(4,),
            b=(4,),
        )
    ],
)
def _batch_norm_training(
    g: Graph, input: Value, weight: Value | None, bias: Value | None, running_mean: Value | None, running_var: Value | None, momentum: Value, eps: float
) -> list[Value]:
    axes = (0, *range(2, input.ndim))
    mean, variance, centered = _moments(g, input, axes)
    deviation = g.add("Sqrt", g.add("Add", variance, number(g, eps, input.dtype)))
    output = _affine(g, g.add("Div", centered, deviation, shape=input.shape), weight, bias, input.ndim)
    if running_mean is None or running_var is None:
        return [output]
    channels = running_mean.known_shape
    count, less = count_along(g, input, axes, input.dtype), count_along(g, input, axes, input.dtype, 1)
    corrected = g.add("Mul", variance, g.add("Div", count, less))
    return [output, _updated(g, running_mean, g.reshape(mean, channels), momentum), _updated(g, running_var, g.reshape(corrected, channels), momentum)]


@converter(
    "_instance_norm",
    cases=[
        case("nn.InstanceNorm2d(4)(x)", "InstanceNormalization", x=(2, 4, 3, 3)),
        case("F.instance_norm(x, weight=w, bias=b)", "InstanceNormalization", x=(2, 4, 5), w=(4,), b=(4,)),
    ],
)
def _instance_norm(
    g: Graph, input: Value, weight: Value | None, bias: Value | None, running_mean: Value | None, running_var: Value | None, momentum: Value, eps: float
) -> list[Value] | None:
    if not isinstance(input.known_shape[1], int) or input.ndim < 3:
        return None
    scale, shift = _scale_and_shift(g, input, weight, bias, input.known_shape[1])
    output = g.add("InstanceNormalization", input, g.cast(scale, input.dtype), g.cast(shift, input.dtype), epsilon=float(eps))
    if running_mean is None or running_var is None:
        return [output]
    mean, variance, _ = _moments(g, input, tuple(range(2, input.ndim)))
    axes = tuple(range(2, input.ndim))
    corrected = g.add("Mul", variance, g.add("Div", count_along(g, input, axes, input.dtype), count_along(g, input, axes, input.dtype, 1)))
    over_batch = [
        g.reshape(reduced(g, "ReduceMean", g.declare(x, [*input.known_shape[:2], *[1] * (input.ndim - 2)], x.dtype), (0,), False), running_mean.known_shape)
        for x in (mean, corrected)
    ]
    return [output, _updated(g, running_mean, over_batch[0], momentum), _updated(g, running_var, over_batch[1], momentum)]


@converter(
    "group_norm",
    cases=[
        case("nn.GroupNorm(2, 4)(x)", "Add InstanceNormalization Mul Reshape Reshape", x=(2, 4, 3, 3)),
        case("nn.GroupNorm(2, 4)(x)", "GroupNormalization", 21, x=(2, 4, 3, 3)),
        case("F.group_norm(x, 2)", "InstanceNormalization Reshape Reshape", x=(2, 4)),
    ],
)
def group_norm(g: Graph, input: Value, num_groups: int, weight: Value | None, bias: Value | None, eps: float) -> Value | None:
    channels = input.known_shape[1]
    if g.opset >= 21 and input.ndim > 2 and isinstance(channels, int):
        scale, shift = _scale_and_shift(g, input, weight, bias, channels)
        return g.add("GroupNormalization", input, g.cast(scale, input.dtype), g.cast(shift, input.dtype), num_groups=num_groups, epsilon=float(eps))
    rest: Any = channels // num_groups
    for d in input.known_shape[2:]:
        rest = rest * d
    grouped = g.reshape(input, (input.known_shape[0], num_groups, rest))
    ones, zeros = _vector(g, input, num_groups, 1), _vector(g, input, num_groups, 0)
    normalized = g.add("InstanceNormalization", grouped, ones, zeros, epsilon=float(eps))
    back = (
        g.add("Reshape", normalized, g.shape_vector(input.known_shape), shape=input.shape) if _several_open(input) else g.reshape(normalized, input.known_shape)
    )
    return _affine(g, back, weight, bias, input.ndim)


def _several_open(x: Value) -> bool:
    return sum(not isinstance(d, int) for d in x.known_shape) > 2


@converter(
    "layer_norm",
    cases=[
        case("nn.LayerNorm(4)(x)", "LayerNormalization", x=(2, 3, 4)),
        case("F.layer_norm(x, (3, 4))", "LayerNormalization", 17, x=(2, 3, 4)),
        case("nn.LayerNorm(4, bias=False)(x)", "LayerNormalization", x=(2, 3, 4)),
    ],
)
def layer_norm(g: Graph, input: Value, normalized_shape: Any, weight: Value | None, bias: Value | None, eps: float) -> Value:
    shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
    scale = g.constant(np.ones(shape, input.dtype)) if weight is None else weight
    return g.add(
        "LayerNormalization", input, g.cast(scale, input.dtype), None if bias is None else g.cast(bias, input.dtype), axis=-len(shape), epsilon=float(eps)
    )


@converter(
    "rms_norm",
    cases=[
        case("nn.RMSNorm(4)(x)", "RMSNormalization", 23, x=(2, 3, 4)),
        case("nn.RMSNorm(4)(x)", "Add Div Mul Mul ReduceMean Sqrt", x=(2, 3, 4)),
    ],
)
def rms_norm(g: Graph, input: Value, normalized_shape: Any, weight: Value | None, eps: float | None) -> Value:
    shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
    wide = np.dtype(np.float64 if input.dtype == np.float64 else np.float32)
    epsilon = float(np.finfo(wide).eps) if eps is None else float(eps)
    if g.opset >= 23:
        scale = g.constant(np.ones(shape, input.dtype)) if weight is None else g.cast(weight, input.dtype)
        return g.add("RMSNormalization", input, scale, axis=-len(shape), epsilon=epsilon)
    x = g.cast(input, wide)
    x.shape = input.shape
    mean = reduced(g, "ReduceMean", g.add("Mul", x, x, shape=input.shape), tuple(range(input.ndim - len(shape), input.ndim)), True)
    output = g.add("Div", x, g.add("Sqrt", g.add("Add", mean, number(g, epsilon, wide))))
    output = output if weight is None else g.add("Mul", output, g.cast(weight, wide))
    return g.cast(output, input.dtype)


@converter("local_response_norm", cases=[case("F.local_response_norm(x, 3)", "LRN", x=(2, 4, 3, 3))])
def local_response_norm(g: Graph, input: Value, size: int, alpha: float, beta: float, k: float) -> Value | None:
    if size % 2 == 0 or input.dtype != np.float32 or input.ndim != 4:
        return None
    return g.add("LRN", input, size=size, alpha=float(alpha), beta=float(beta), bias=float(k))
