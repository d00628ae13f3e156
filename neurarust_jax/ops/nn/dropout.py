"""Dropout."""

from typing import Any

import jax.numpy as jnp
from jax import lax

from ...dispatch import Array, op
from ...errors import ArgumentError
from ...generator import Generator
from ...tensor import Tensor
from ..random import draw, dropout_mask

__all__ = ["dropout"]


@op(name="_apply_mask", method=False, linear=True)
def _apply_mask(input: Array, mask: Array, scale: Array | float) -> Array:
    """`input` times `scale` where the mask holds, 0 elsewhere."""
    return jnp.where(mask, input * lax.convert_element_type(scale, input.dtype), jnp.zeros_like(input))


def dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False, *, generator: Generator | None = None) -> Tensor:
    """Each element zeroed with probability `p`, the others scaled by ``1 / (1 - p)`` (Srivastava et al., 2014).

    Args:
        input: any shape.
        p: the probability of an element to be zeroed.
        training: do it; otherwise `input` comes back.
        inplace: accepted and without effect.
        generator: the source of randomness.

    Raises:
        ValueError: `p` is no probability.
    """
    return masked(input, tuple(input.shape), p, training, generator)


def masked(input: Tensor, mask_shape: tuple[int, ...], p: float, training: bool, generator: Any = None) -> Tensor:
    """Dropout with one decision for each element of a mask that broadcasts with the input."""
    if not 0 <= p <= 1:
        raise ArgumentError(f"dropout probability has to be between 0 and 1, but got {p}")
    if not training or p == 0:
        return input
    if p == 1:
        return input * 0
    mask = draw(dropout_mask, generator, mask_shape, 1.0 - p)
    return _apply_mask(input, mask, 1 / (1 - p))
