"""Attention."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ...dispatch import Array, op
from ...errors import ArgumentError, ShapeError
from ...tensor import Tensor
from ..random import draw, dropout_mask

__all__ = ["scaled_dot_product_attention"]


@op(name="_attention", method=False)
def _attention(
    query: Array, key: Array, value: Array, attn_mask: Array | None, dropout: Array | None, is_causal: bool, scale: float, keep: float
) -> Array:
    """Softmax attention over (..., heads, length, features)."""
    groups = query.shape[-3] // key.shape[-3] if query.ndim > 2 and key.ndim > 2 and key.shape[-3] else 1
    if groups > 1:
        key, value = jnp.repeat(key, groups, axis=-3), jnp.repeat(value, groups, axis=-3)
    scores = jnp.einsum("...qd,...kd->...qk", query * np.asarray(scale, query.dtype), key)
    if scores.dtype.itemsize < 4:
        scores = scores.astype(np.float32)
    if is_causal:
        allowed = jnp.tril(jnp.ones(scores.shape[-2:], bool))
        scores = jnp.where(allowed, scores, -jnp.inf)
    if attn_mask is not None:
        scores = jnp.where(attn_mask, scores, -jnp.inf) if attn_mask.dtype == bool else scores + attn_mask.astype(scores.dtype)
    weights = jax.nn.softmax(scores, axis=-1)
    if attn_mask is not None and attn_mask.dtype == bool:  # a row that may look at nothing gives zeros, as PyTorch's does
        weights = jnp.where(jnp.any(attn_mask, axis=-1, keepdims=True), weights, 0)
    weights = weights.astype(query.dtype)
    if dropout is not None:
        weights = jnp.where(dropout, weights / np.asarray(keep, weights.dtype), 0)
    return jnp.einsum("...qk,...kd->...qd", weights, value)


def scaled_dot_product_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Any = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    r"""``softmax(query @ key.T * scale + mask) @ value`` (Vaswani et al., 2017).

    Args:
        query: shape (N, ..., Hq, L, E).
        key: shape (N, ..., H, S, E).
        value: shape (N, ..., H, S, Ev).
        attn_mask: broadcastable to (N, ..., Hq, L, S): a bool tensor, true where attention is allowed, or a floating one that is added to the scores.
        dropout_p: probability with which attention weights are dropped, always, as in PyTorch: pass 0 in evaluation.
        is_causal: each position attends to itself and earlier ones.
        scale: default ``1 / sqrt(E)``.
        enable_gqa: Hq may be a multiple of H.

    Returns:
        Shape (N, ..., Hq, L, Ev).

    Raises:
        RuntimeError: shapes do not fit, or both a mask and `is_causal` are given.
    """
    if is_causal and attn_mask is not None:
        raise ArgumentError("_scaled_dot_product_attention: Explicit attn_mask should not be set when is_causal=True")
    if query.shape[-1] != key.shape[-1] or key.shape[-2] != value.shape[-2]:
        raise ShapeError(
            f"attention expects query (..., L, E), key (..., S, E), value (..., S, Ev); got {tuple(query.shape)}, {tuple(key.shape)}, {tuple(value.shape)}"
        )
    if query.dim() > 2 and query.shape[-3] != key.shape[-3] and not enable_gqa and 1 not in (query.shape[-3], key.shape[-3]):
        raise ShapeError(f"query has {query.shape[-3]} heads and key {key.shape[-3]}; write enable_gqa=True to share key heads among query heads")
    scale = 1 / math.sqrt(query.shape[-1]) if scale is None else float(scale)
    mask = None
    if dropout_p > 0:
        lead = np.broadcast_shapes(tuple(query.shape[:-2]), tuple(key.shape[:-2])) if not enable_gqa else tuple(query.shape[:-2])
        mask = draw(dropout_mask, None, (*lead, query.shape[-2], key.shape[-2]), 1.0 - dropout_p)
    return _attention(query, key, value, attn_mask, mask, bool(is_causal), scale, 1.0 - float(dropout_p))
