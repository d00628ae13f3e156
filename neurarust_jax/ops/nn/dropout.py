"""Dropout: of elements, of whole channels, and the kind that keeps mean and variance."""

import math
import warnings
from typing import Any

import jax.numpy as jnp
from jax import lax

from ...dispatch import Array, op
from ...errors import ArgumentError, DtypeError, ShapeError
from ...generator import Generator
from ...tensor import Tensor
from ..common import is_inexact
from ..random import draw, dropout_mask
from .activation import SELU_ALPHA, SELU_SCALE

__all__ = ["dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_alpha_dropout"]


@op(name="_apply_mask", method=False, linear=True)
def _apply_mask(input: Array, mask: Array, scale: Array | float) -> Array:
    """`input` times `scale` where the mask holds, 0 elsewhere."""
    if not is_inexact(input):
        raise DtypeError(f"result type Float can't be cast to the desired output type {input.dtype}: dropout takes floating-point tensors")
    return jnp.where(mask, input * lax.convert_element_type(scale, input.dtype), jnp.zeros_like(input))


def _check_probability(p: float) -> None:
    if not 0 <= p <= 1:
        raise ArgumentError(f"dropout probability has to be between 0 and 1, but got {p}")


def masked(input: Tensor, mask_shape: tuple[int, ...], p: float, training: bool, generator: Any = None) -> Tensor:
    """Dropout with one decision for each element of a mask that broadcasts with the input."""
    _check_probability(p)
    if not training or p == 0:
        return input
    if p == 1:
        return input * 0
    return _apply_mask(input, draw(dropout_mask, generator, mask_shape, 1.0 - p), 1 / (1 - p))


def by_channel(input: Tensor) -> tuple[int, ...]:
    """The shape of a mask with one element for each channel of each example."""
    if input.dim() < 2:
        raise ShapeError(f"Feature dropout requires at least 2 dimensions in the input, got shape {tuple(input.shape)}")
    return (*input.shape[:2], *(1,) * (input.dim() - 2))


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


def _feature_dropout(input: Tensor, p: float, training: bool, generator: Generator | None, unbatched_dims: int | None = None) -> Tensor:
    """Dropout of channels; an input of `unbatched_dims` dimensions is one example."""
    _check_probability(p)
    if not training:
        return input
    shape = by_channel(input) if input.dim() != unbatched_dims else (input.shape[0], *(1,) * (input.dim() - 1))
    return masked(input, shape, p, True, generator)


def dropout1d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False, *, generator: Generator | None = None) -> Tensor:
    """Each channel zeroed with probability `p`, the others scaled by ``1 / (1 - p)`` (Tompson et al., 2015).

    Args:
        input: shape (N, C, L) or (C, L).
        p: the probability of a channel to be zeroed.
        training: do it; otherwise `input` comes back.
        inplace: accepted and without effect.
        generator: the source of randomness.

    Raises:
        ValueError: `p` is no probability.
        RuntimeError: the input has neither two nor three dimensions.
    """
    _check_probability(p)
    if input.dim() not in (2, 3):
        raise ShapeError(f"dropout1d: Expected 2D or 3D input, but received a {input.dim()}D input: shapes are (N, C, L) or (C, L)")
    return _feature_dropout(input, p, training, generator, unbatched_dims=2)


def dropout2d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False, *, generator: Generator | None = None) -> Tensor:
    """`dropout1d` for shape (N, C, H, W). As in PyTorch, (N, C, L) is taken too, and numbers of dimensions but 4 give a warning."""
    _check_probability(p)
    if input.dim() not in (3, 4):
        warnings.warn(
            f"dropout2d: Received a {input.dim()}-D input to dropout2d, which is deprecated and will result in an error in a future release. To retain the "
            "behavior and silence this warning, please use dropout instead.",
            stacklevel=2,
        )
    if input.dim() == 3:
        warnings.warn(
            "dropout2d: Received a 3D input to dropout2d and assuming that channel-wise 1D dropout behavior is desired - input is interpreted as shape "
            "(N, C, L), where C is the channel dim. To maintain the 1D channel-wise dropout behavior, please switch to using dropout1d instead.",
            stacklevel=2,
        )
    return _feature_dropout(input, p, training, generator)


def dropout3d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False, *, generator: Generator | None = None) -> Tensor:
    """`dropout1d` for shapes (N, C, D, H, W) and (C, D, H, W). As in PyTorch, other numbers of dimensions give a warning."""
    _check_probability(p)
    if input.dim() not in (4, 5):
        warnings.warn(
            f"dropout3d: Received a {input.dim()}-D input to dropout3d, which is deprecated and will result in an error in a future release. To retain the "
            "behavior and silence this warning, please use dropout instead.",
            stacklevel=2,
        )
    return _feature_dropout(input, p, training, generator, unbatched_dims=None if input.dim() == 5 else input.dim())


@op(name="_apply_alpha_mask", method=False, linear=True)
def _apply_alpha_mask(input: Array, mask: Array, p: float) -> Array:
    """`input` where the mask holds, the limit of SELU elsewhere, then scaled and moved to the mean and variance that it had."""
    if not is_inexact(input):
        raise DtypeError(f"result type Float can't be cast to the desired output type {input.dtype}: dropout takes floating-point tensors")
    limit = -SELU_ALPHA * SELU_SCALE
    scale = 1 / math.sqrt((limit * limit * p + 1) * (1 - p))
    return jnp.where(mask, input * scale, scale * limit) - scale * limit * p


def _alpha_dropout(input: Tensor, shape: tuple[int, ...], p: float, training: bool, generator: Generator | None) -> Tensor:
    _check_probability(p)
    if not training or p == 0 or not input.numel():
        return input
    if p == 1:
        return input * 0
    return _apply_alpha_mask(input, draw(dropout_mask, generator, shape, 1.0 - p), float(p))


def alpha_dropout(input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False, *, generator: Generator | None = None) -> Tensor:
    """Dropout that keeps mean 0 and variance 1, for networks of SELUs (Klambauer et al., 2017): elements become the negative limit of SELU.

    Args:
        input: any shape; a floating-point dtype.
        p: the probability of an element to be replaced.
        training: do it; otherwise `input` comes back. Default: `False`.
        inplace: accepted and without effect.
        generator: the source of randomness.

    Raises:
        ValueError: `p` is no probability.
    """
    return _alpha_dropout(input, tuple(input.shape), p, training, generator)


def feature_alpha_dropout(input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False, *, generator: Generator | None = None) -> Tensor:
    r"""`alpha_dropout` of whole channels.

    Args:
        input: shape (N, C, \*); a floating-point dtype.
        p: the probability of a channel to be replaced.
        training: do it; otherwise `input` comes back. Default: `False`.
        inplace: accepted and without effect.
        generator: the source of randomness.

    Raises:
        ValueError: `p` is no probability.
        RuntimeError: the input has less than two dimensions.
    """
    return _alpha_dropout(input, by_channel(input) if training else (), p, training, generator)
