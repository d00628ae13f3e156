"""ai.onnx.preview.training: gradients inside a graph, and the optimizer steps `Adagrad`, `Adam`, `Momentum`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

import neurarust_jax as nr

from ...errors import ArgumentError
from ..registry import handler
from ..values import apply, as_tensor

_TRAINING = "ai.onnx.preview.training"


def _for_each(step: Callable, rate: Any, count: Any, tensors: Sequence[Any], groups: int, **options: Any) -> tuple[Any, ...]:
    """A step for each parameter: `tensors` are all parameters, then all their gradients, then all their states."""
    number = len(tensors) // groups
    if number * groups != len(tensors):
        raise ArgumentError(f"an optimizer step takes {groups} tensors for each parameter, got {len(tensors)} in all")
    results = [apply(step, rate, count, *tensors[i::number], **options) for i in range(number)]
    return tuple(one for column in zip(*results, strict=True) for one in column)


def _adagrad(rate, count, x, gradient, squares, decay: float, epsilon: float, norm: float):
    rate = rate / (1 + count.astype(rate.dtype) * decay)
    gradient = norm * x + gradient
    squares = squares + gradient * gradient
    return x - rate.astype(x.dtype) * gradient / (jnp.sqrt(squares) + epsilon), squares


@handler("Adagrad", domain=_TRAINING)
def adagrad(node, rate, count, *tensors):
    options = {"decay": node.get("decay_factor", 0.0), "epsilon": node.get("epsilon", 1e-6), "norm": node.get("norm_coefficient", 0.0)}
    return _for_each(_adagrad, rate, count, tensors, 3, **options)


def _adam(rate, count, x, gradient, mean, squares, alpha: float, beta: float, epsilon: float, norm: float, norm_post: float):
    gradient = norm * x + gradient
    mean = alpha * mean + (1 - alpha) * gradient
    squares = beta * squares + (1 - beta) * gradient * gradient
    steps = count.astype(rate.dtype)
    corrected = rate * jnp.sqrt(1 - jnp.power(np.asarray(beta, rate.dtype), steps)) / (1 - jnp.power(np.asarray(alpha, rate.dtype), jnp.maximum(steps, 1)))
    rate = jnp.where(count > 0, corrected, rate).astype(x.dtype)
    return (1 - norm_post) * (x - rate * mean / (jnp.sqrt(squares) + epsilon)), mean, squares


@handler("Adam", domain=_TRAINING)
def adam(node, rate, count, *tensors):
    options = {
        "alpha": node.get("alpha", 0.9), "beta": node.get("beta", 0.999), "epsilon": node.get("epsilon", 1e-6),
        "norm": node.get("norm_coefficient", 0.0), "norm_post": node.get("norm_coefficient_post", 0.0),
    }  # fmt: skip
    return _for_each(_adam, rate, count, tensors, 4, **options)


def _momentum(rate, count, x, gradient, velocity, alpha: float, beta: float, norm: float, nesterov: bool):
    gradient = norm * x + gradient
    velocity = alpha * velocity + jnp.where(count > 0, np.asarray(beta, x.dtype), np.asarray(1, x.dtype)) * gradient
    return x - rate.astype(x.dtype) * (gradient + alpha * velocity if nesterov else velocity), velocity


@handler("Momentum", domain=_TRAINING)
def momentum(node, rate, count, *tensors):
    mode = node.get("mode")
    if mode not in ("standard", "nesterov"):
        raise ArgumentError(f"Momentum: mode is standard or nesterov, got {mode!r}")
    options = {"alpha": node.get("alpha"), "beta": node.get("beta"), "norm": node.get("norm_coefficient"), "nesterov": mode == "nesterov"}
    return _for_each(_momentum, rate, count, tensors, 3, **options)


@handler("Gradient", domain=_TRAINING)
def gradient(node, *inputs):
    """The derivative of the sum of `y` by each of `xs`; `parse.py` has made a graph of what lies between."""
    count, between = len(node.get("xs")), node.get("graph")

    def total(*xs: Any) -> Any:
        return as_tensor(between(*xs, *inputs[count:])[0]).sum()

    return nr.grad(total, argnums=tuple(range(count)))(*map(as_tensor, inputs[:count]))
