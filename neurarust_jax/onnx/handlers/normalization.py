"""Normalization over batches, channels, groups and layers, and Dropout."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

import neurarust_jax as nr

from ...ops.common import cast
from ..registry import handler
from ..values import apply, dtype_of, shape_of


def _wide(x):
    """Half precision as single."""
    return x.astype(jnp.float32) if x.dtype.itemsize == 2 else x


def _by_channel(parameter, ndim):
    return parameter.reshape((1, -1, *(1,) * (ndim - 2)))


# --- batches ---------------------------------------------------------------------------------------------------------


@handler("BatchNormalization")
def batch_norm(node, x, scale, bias, mean, variance):
    epsilon = float(node.get("epsilon", 1e-5))
    trains = (
        node.get("training_mode", 0) if node.opset >= 14 else any(node.outputs[1:]) if node.opset >= 7 else not node.get("is_test", 0) and any(node.outputs[1:])
    )
    spatial = bool(node.get("spatial", 1)) or len(shape_of(scale)) == 1
    if not trains:
        return apply(_batch_norm, x, scale, bias, mean, variance, epsilon=epsilon, spatial=spatial)
    found = apply(_batch_norm_training, x, scale, bias, mean, variance, epsilon=epsilon, momentum=float(node.get("momentum", 0.9)), spatial=spatial)
    return found if node.opset < 14 else found[:3]


def _normalized(x, scale, bias, mean, variance, epsilon, spatial):
    def shaped(p):
        return _wide(_by_channel(p, x.ndim) if spatial else p[None])

    factor = shaped(scale) * lax.rsqrt(shaped(variance) + epsilon)
    return cast(_wide(x) * factor + (shaped(bias) - shaped(mean) * factor), x.dtype)


def _batch_norm(x, scale, bias, mean, variance, epsilon, spatial):
    return _normalized(x, scale, bias, mean, variance, epsilon, spatial)


def _batch_norm_training(x, scale, bias, mean, variance, epsilon, momentum, spatial):
    axes = (0, *range(2, x.ndim)) if spatial else (0,)
    now, spread = jnp.mean(_wide(x), axes), jnp.var(_wide(x), axes)
    y = _normalized(x, scale, bias, now, spread, epsilon, spatial)
    kept = [cast(old * momentum + new * (1 - momentum), old.dtype) for old, new in ((mean, now), (variance, spread))]
    return y, *kept, cast(now, mean.dtype), cast(spread, variance.dtype)


# --- instances, groups, layers ---------------------------------------------------------------------------------------


@handler("InstanceNormalization")
def instance_norm(node, x, scale, bias):
    return apply(_group_norm, x, scale, bias, groups=shape_of(x)[1], epsilon=float(node.get("epsilon", 1e-5)))


@handler("GroupNormalization", since=18)
def group_norm_by_groups(node, x, scale, bias):
    """At first there was a scale for each group, now there is one for each channel."""
    channels, groups = shape_of(x)[1], node.get("num_groups")
    scale, bias = (apply(_repeated, p, times=channels // groups) if node.opset < 21 else p for p in (scale, bias))
    return apply(_group_norm, x, scale, bias, groups=groups, epsilon=float(node.get("epsilon", 1e-5)))


def _repeated(x, times):
    return jnp.repeat(x, times)


def _group_norm(x, scale, bias, groups, epsilon):
    grouped = _wide(x).reshape(x.shape[0], groups, -1)
    mean, variance = jnp.mean(grouped, -1, keepdims=True), jnp.var(grouped, -1, keepdims=True)
    y = ((grouped - mean) * lax.rsqrt(variance + epsilon)).reshape(x.shape)
    return cast(y * _by_channel(_wide(scale), x.ndim) + _by_channel(_wide(bias), x.ndim), x.dtype)


@handler("LayerNormalization")
def layer_norm(node, x, scale, bias=None):
    found = apply(_layer_norm, x, scale, bias, axis=node.get("axis", -1), epsilon=float(node.get("epsilon", 1e-5)))
    return found if any(node.outputs[1:]) else found[0]


def _layer_norm(x, scale, bias, axis, epsilon):
    axes = tuple(range(axis % x.ndim, x.ndim))
    inner = _wide(x)
    mean = jnp.mean(inner, axes, keepdims=True)
    inverse = lax.rsqrt(jnp.var(inner, axes, keepdims=True) + epsilon)
    y = cast((inner - mean) * inverse, x.dtype) * scale
    return cast(y if bias is None else y + bias, x.dtype), mean, inverse


@handler("RMSNormalization")
def rms_norm(node, x, scale):
    return apply(_rms_norm, x, scale, axis=node.get("axis", -1), epsilon=float(node.get("epsilon", 1e-5)))


def _rms_norm(x, scale, axis, epsilon):
    axes = tuple(range(axis % x.ndim, x.ndim))
    inner = _wide(x)
    y = inner * lax.rsqrt(jnp.mean(jnp.square(inner), axes, keepdims=True) + epsilon)
    return cast(cast(y, x.dtype) * scale, x.dtype)


@handler("MeanVarianceNormalization")
def mean_variance_norm(node, x):
    axes = node.get("axes") or ([0, *range(2, len(shape_of(x)))] if node.get("across_channels", 0) == 0 else list(range(len(shape_of(x)))))
    return apply(_mean_variance_norm, x, axes=tuple(axes))


def _mean_variance_norm(x, axes):
    inner = _wide(x)
    centered = inner - jnp.mean(inner, axes, keepdims=True)
    return cast(centered / (jnp.sqrt(jnp.mean(jnp.square(centered), axes, keepdims=True)) + 1e-9), x.dtype)


# --- neighbours ------------------------------------------------------------------------------------------------------


@handler("LRN")
def local_response_norm(node, x):
    numbers = {name: float(node.get(name, default)) for name, default in (("alpha", 1e-4), ("beta", 0.75), ("bias", 1.0))}
    return apply(_local_response_norm, x, size=node.get("size"), **numbers)


def _local_response_norm(x, size, alpha, beta, bias):
    squares = jnp.square(_wide(x))
    below = (size - 1) // 2
    padded = jnp.pad(squares, [(0, 0), (below, size - 1 - below)] + [(0, 0)] * (x.ndim - 2))
    sums: Any = sum(padded[:, i : i + x.shape[1]] for i in range(size))
    return cast(_wide(x) / (bias + alpha / size * sums) ** beta, x.dtype)


@handler("LpNormalization")
def lp_norm(node, x):
    return apply(_lp_norm, x, axis=node.get("axis", -1), p=node.get("p", 2))


def _lp_norm(x, axis, p):
    inner = _wide(x)
    sums = jnp.sum(jnp.abs(inner) if p == 1 else jnp.square(inner), axis, keepdims=True)
    safe = jnp.where(sums == 0, 1, sums)
    return cast(inner / (safe if p == 1 else jnp.sqrt(safe)), x.dtype)


# --- dropout ---------------------------------------------------------------------------------------------------------


@handler("Dropout", stateful=True)
def dropout_by_attributes(node, x):
    """Versions 1 and 6 say by `is_test` whether elements are dropped, 7 and 10 never drop any."""
    trains = node.opset < 7 and not node.get("is_test", 0)
    y, mask = _dropped(x, float(node.get("ratio", 0.5)), trains)
    return y, mask if node.opset >= 10 else apply(cast, mask, dtype=dtype_of(x))


@handler("Dropout", since=12, static=("ratio", "training_mode"), stateful=True)
def dropout(node, x, ratio=None, training_mode=None):
    trains = training_mode is not None and bool(np.asarray(training_mode).reshape(()))
    return _dropped(x, 0.5 if ratio is None else float(np.asarray(ratio).reshape(())), trains)


def _dropped(x, ratio, trains):
    shape = shape_of(x)
    if not trains or ratio == 0:
        return x, apply(_all_true, x)
    mask = nr.rand(*shape) >= ratio
    return apply(_keep, x, mask, scale=1 / (1 - ratio)), mask


def _all_true(x):
    return jnp.ones(x.shape, jnp.bool_)


def _keep(x, mask, scale):
    return jnp.where(mask, x * jnp.asarray(scale, x.dtype), 0)
