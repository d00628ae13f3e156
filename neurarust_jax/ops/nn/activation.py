"""Activation functions."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ...dispatch import Array, op
from ...errors import ArgumentError
from ..common import floating, strong

__all__ = ["relu", "gelu", "silu"]


@op(method="relu")
def relu(input: Array) -> Array:
    """``max(input, 0)``, elementwise. The gradient at 0 is 0.

    Args:
        input: any shape; a real dtype.
    """
    input = strong(input)
    return jnp.where(input <= 0, jnp.zeros_like(input), input)  # NaN goes through, as in PyTorch


@op(method=False)
def gelu(input: Array, approximate: str = "none") -> Array:
    r"""Gaussian error linear unit, ``x * Phi(x)`` (Hendrycks and Gimpel, 2016).

    Args:
        input: any shape; a floating-point dtype.
        approximate: `"none"` computes ``0.5 * x * (1 + erf(x / sqrt(2)))``, `"tanh"` the approximation by tanh.
    """
    if approximate == "none":
        return 0.5 * input * (1 + lax.erf(input * np.asarray(np.sqrt(0.5), input.dtype)))
    if approximate == "tanh":
        return jax.nn.gelu(input, approximate=True)
    raise ArgumentError(f"approximate argument must be either none or tanh, got {approximate!r}")


@op(method=False)
def silu(input: Array) -> Array:
    """``x * sigmoid(x)``, elementwise."""
    input = floating(input)
    return input * lax.logistic(input)
