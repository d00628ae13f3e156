"""Attention: softmax attention, and multi-head attention with its projections.

Heads lie before positions, (batch, head, position, feature), which matrix products on a CPU take without a copy. Where the scores are many, they are made for
as many heads and queries at a time as stay in the cache, and made again for the gradient: with 16 heads of 1024 positions a forward pass on two cores takes 56 ms
instead of 98, and memory does not grow with the square of the length.
"""

import math
import os
import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ...dispatch import Array, op
from ...errors import ArgumentError, DtypeError, ShapeAssertionError, ShapeError
from ...tensor import Tensor
from ..common import broadcast_shapes
from ..matmul import multiply, precision
from ..random import draw, dropout_mask
from .linear import require_same_dtype

__all__ = ["multi_head_attention_forward", "scaled_dot_product_attention"]

_SCORES_IN_CACHE = 1 << 19  # of a CPU's core: 2 MB in single precision
_SCORES_ON_DEVICE = 1 << 28  # of an accelerator: 1 GB


# --- softmax attention -------------------------------------------------------------------------------------------------


def _scores(query: Array, key: Array, mask: Array | None, position: Array | None, scale: float) -> Array:
    """Scaled products of queries and keys in float32 at least, -inf where attention is not allowed."""
    wide = np.promote_types(query.dtype, np.float32)
    before = query.dtype == wide  # there are fewer queries than scores, but in half precision they would be rounded
    query = query * np.asarray(scale, wide) if before else query
    scores = jnp.einsum("...qd,...kd->...qk", query, key, precision=precision(), preferred_element_type=wide)
    scores = scores if before else scores * np.asarray(scale, wide)
    if position is not None:
        scores = jnp.where(jnp.arange(key.shape[-2]) <= position[:, None], scores, -jnp.inf)
    if mask is None:
        return scores
    return jnp.where(mask, scores, -jnp.inf) if mask.dtype == bool else scores + mask.astype(wide)


def _attend(query: Array, key: Array, value: Array, mask: Array | None, dropped: Array | None, position: Array | None, scale: float, keep: float) -> Array:
    """Attention of queries to all keys. One that may look at no key gets zeros, as in PyTorch."""
    scores = _scores(query, key, mask, position, scale)
    top = lax.stop_gradient(jnp.max(scores, -1, keepdims=True))
    weights = jnp.exp(scores - jnp.where(top == -jnp.inf, 0, top))
    total = jnp.sum(weights, -1, keepdims=True)
    weights = weights / jnp.where(total == 0, 1, total)
    if dropped is not None:
        weights = jnp.where(dropped, weights * np.asarray(1 / keep if keep else 0, weights.dtype), 0)
    return jnp.einsum("...qk,...kd->...qd", weights.astype(value.dtype), value, precision=precision(), preferred_element_type=scores.dtype).astype(query.dtype)


def attend(
    query: Array, key: Array, value: Array, mask: Array | None, dropped: Array | None, causal: bool, scale: float, keep: float
) -> Array:
    """Attention over (..., heads, positions, features), of which key and value may have fewer heads, each for several of the query."""
    length, keys = query.shape[-2], key.shape[-2]
    position = jnp.arange(length) if causal else None
    shape = None
    if query.ndim > 2 and query.ndim == key.ndim == value.ndim and query.shape[-3] > key.shape[-3] == value.shape[-3] > 0:
        shape, heads = query.shape, key.shape[-3]  # queries of heads that share keys become more queries of one head
        groups = shape[-3] // heads
        query = query.reshape(*shape[:-3], heads, groups * length, shape[-1])
        position = None if position is None else jnp.tile(position, groups)
        mask, dropped = (_over_groups(m, heads, groups, length) for m in (mask, dropped))
    lead = broadcast_shapes(query.shape[:-2], key.shape[:-2], value.shape[:-2])
    if 0 in (*lead, *query.shape[-2:-1], keys, value.shape[-1]):
        output = jnp.zeros((*lead, query.shape[-2], value.shape[-1]), query.dtype)
    else:
        heads, queries = _block(math.prod(lead), query.shape[-2], keys)
        if heads == math.prod(lead) and queries == query.shape[-2]:
            output = _attend(query, key, value, mask, dropped, position, scale, keep)
        else:
            output = _attend_in_blocks(lead, heads, queries, (query, key, value, mask, dropped), position, scale, keep)
    return output if shape is None else output.reshape(*output.shape[:-3], shape[-3], length, output.shape[-1])


def _over_groups(mask: Array | None, heads: int, groups: int, length: int) -> Array | None:
    """A mask over (..., heads * groups, length, keys) as one over (..., heads, groups * length, keys)."""
    if mask is None or math.prod(mask.shape[-3:-1]) == 1:
        return mask
    mask = mask if mask.ndim > 2 else mask[None]
    own = heads if mask.shape[-3] > 1 else 1
    mask = jnp.broadcast_to(mask.reshape(*mask.shape[:-3], own, mask.shape[-3] // own, *mask.shape[-2:]), (*mask.shape[:-3], own, groups, length, mask.shape[-1]))
    return mask.reshape(*mask.shape[:-4], own, groups * length, mask.shape[-1])


def _block(heads: int, queries: int, keys: int) -> tuple[int, int]:
    """How many heads, and how many of their queries, to take at a time. On a CPU first fewer heads, which have nothing in common."""
    on_cpu = jax.default_backend() == "cpu"
    room = _SCORES_IN_CACHE * (os.cpu_count() or 1) if on_cpu else _SCORES_ON_DEVICE
    if heads * queries * keys < 2 * room:
        return heads, queries
    if on_cpu:
        heads = max(n for n in range(1, heads + 1) if heads % n == 0 and (n == 1 or n * queries * keys <= room))
    return heads, min(max(room // (heads * keys) // 16 * 16, 64), queries)


def _attend_in_blocks(
    lead: tuple[int, ...], heads: int, queries: int, arrays: tuple[Array | None, ...], position: Array | None, scale: float, keep: float
) -> Array:
    """The same, for so many heads and queries at a time; what the gradient needs of a block is computed again."""
    total, length = math.prod(lead), arrays[0].shape[-2]  # type: ignore[union-attr]
    count = -(-length // queries)

    def of_heads(x: Array | None) -> Array | None:
        """Blocks of heads in front; one alone if it is for all."""
        if x is None:
            return None
        if math.prod(x.shape[:-2]) == 1:
            return x.reshape(1, 1, *x.shape[-2:])
        return jnp.broadcast_to(x, (*lead, *x.shape[-2:])).reshape(total // heads, heads, *x.shape[-2:])

    def of_queries(x: Array | None) -> Array | None:
        """Blocks of queries in front; one alone if it is for all."""
        if x is None or x.shape[-2] == 1:
            return None if x is None else x[None]
        x = jnp.pad(x, [(0, 0)] * (x.ndim - 2) + [(0, count * queries - length), (0, 0)])
        return jnp.moveaxis(x.reshape(*x.shape[:-2], count, queries, x.shape[-1]), -3, 0)

    @jax.checkpoint
    def of_block(query, key, value, mask, dropped, position):
        return _attend(query, key, value, mask, dropped, None if position is None else position[:, 0], scale, keep)

    def of_head(query, key, value, mask, dropped):
        if count == 1:
            return of_block(query, key, value, mask, dropped, None if position is None else position[:, None])
        parts = [of_queries(x) for x in (query, mask, dropped, None if position is None else position[:, None])]
        output = _map(lambda query, mask, dropped, position: of_block(query, key, value, mask, dropped, position), parts, count)
        return jnp.moveaxis(output, 0, -3).reshape(*query.shape[:-2], count * queries, value.shape[-1])[..., :length, :]

    return _map(of_head, [of_heads(x) for x in arrays], total // heads).reshape(*lead, length, -1)


def _map(function: Any, arrays: list[Array | None], count: int) -> Array:
    """`function` of the `count` elements of the arrays one after the other; of those that have one only, of that."""
    shared = [None if x is None or x.shape[0] == count else x[0] for x in arrays]
    own = [x if x is not None and x.shape[0] == count else None for x in arrays]
    return lax.map(lambda parts: function(*(s if p is None else p for p, s in zip(parts, shared, strict=True))), own)


def _fused(query: Array, key: Array, value: Array, causal: bool, scale: float) -> Array | None:
    """The kernel that JAX has for NVIDIA GPUs, or `None` where it does not apply."""
    halves = query.dtype in (np.dtype(np.float16), np.dtype(jnp.bfloat16))
    if jax.default_backend() != "gpu" or not halves or query.ndim != 4 or query.shape[0] != key.shape[0] or key.shape != value.shape:
        return None
    if query.shape[-1] % 8 or query.shape[-1] > 128 or 0 in (*query.shape, *key.shape) or query.shape[1] % key.shape[1] or (causal and query.shape[2] != key.shape[2]):
        return None

    def kernel(query, key, value):
        swapped = (jnp.swapaxes(x, 1, 2) for x in (query, key, value))
        return jnp.swapaxes(jax.nn.dot_product_attention(*swapped, scale=scale, is_causal=causal, implementation="cudnn"), 1, 2)

    def plain(query, key, value):
        return attend(query, key, value, None, None, causal, scale, 1.0)

    try:
        return lax.platform_dependent(query, key, value, cuda=kernel, default=plain)
    except RuntimeError:  # cuDNN is too old, or the GPU
        return None


@op(name="_attention", method=False)
def _attention(
    query: Array, key: Array, value: Array, attn_mask: Array | None, dropped: Array | None, is_causal: bool, scale: float | None, keep: float, enable_gqa: bool
) -> Array:
    """See `scaled_dot_product_attention`."""
    _check(query, key, value, attn_mask, enable_gqa)
    scale = (1 / math.sqrt(query.shape[-1]) if query.shape[-1] else 1.0) if scale is None else scale
    if attn_mask is None and dropped is None:
        output = _fused(query, key, value, is_causal, scale)
        if output is not None:
            return output
    if enable_gqa and key.shape[-3] != value.shape[-3]:  # heads of the query share them differently
        key, value = (jnp.repeat(x, query.shape[-3] // x.shape[-3], -3) for x in (key, value))
    return attend(query, key, value, attn_mask, dropped, is_causal, scale, keep)


def _check(query: Array, key: Array, value: Array, mask: Array | None, enable_gqa: bool) -> None:
    """Raise PyTorch's errors for shapes and dtypes that do not fit."""
    shapes = f"query {tuple(query.shape)}, key {tuple(key.shape)} and value {tuple(value.shape)}"
    if min(query.ndim, key.ndim, value.ndim) < 2:
        raise ShapeError(f"Expected query, key, and value to all be at least 2 dimensional, but got {shapes}")
    require_same_dtype("scaled_dot_product_attention", query=query, key=key, value=value)
    if query.dtype.kind in "biuc":
        raise DtypeError(f"scaled_dot_product_attention takes floating-point tensors, got {query.dtype}; write .float()")
    if query.shape[-1] != key.shape[-1] or key.shape[-2] != value.shape[-2]:
        raise ShapeError(f"attention expects query (..., L, E), key (..., S, E) and value (..., S, Ev), got {shapes}")
    lead = query.shape[:-2]
    if enable_gqa:
        if min(query.ndim, key.ndim, value.ndim) < 3:
            raise ShapeError(f"with enable_gqa=True query, key and value have heads, (..., heads, length, features), got {shapes}")
        if any(not x.shape[-3] or query.shape[-3] % x.shape[-3] for x in (key, value)):
            raise ShapeError(f"Number of heads in key and value must divide the number of heads in query, got {shapes}")
        lead = (*broadcast_shapes(query.shape[:-3], key.shape[:-3], value.shape[:-3]), query.shape[-3])
    else:
        try:
            lead = broadcast_shapes(lead, key.shape[:-2], value.shape[:-2])
        except ShapeError as error:
            raise ShapeError(f"{error} In attention these are batch and heads of {shapes}; write enable_gqa=True to share heads of keys among those of queries") from None
    if mask is None:
        return
    if mask.dtype != bool and mask.dtype not in (query.dtype, np.dtype(np.float32)):
        raise DtypeError(f"Expected attn_mask dtype to be bool or float or to match query dtype, but got attn_mask.dtype: {mask.dtype} and query.dtype: {query.dtype}")
    scores = (*lead, query.shape[-2], key.shape[-2])
    if mask.ndim < 2 or broadcast_shapes(scores, mask.shape) != scores:
        raise ShapeError(f"attn_mask must broadcast to the scores, whose shape is {scores}, got {tuple(mask.shape)}")


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

    On a CPU the scores of many queries are not all held at a time; on an NVIDIA GPU half-precision attention without mask and dropout runs in cuDNN's kernel.

    Args:
        query: shape (N, ..., Hq, L, E).
        key: shape (N, ..., H, S, E).
        value: shape (N, ..., H, S, Ev).
        attn_mask: broadcastable to (N, ..., Hq, L, S): a bool tensor, true where attention is allowed, or a floating one that is added to the scores.
        dropout_p: probability with which attention weights are dropped, always, as in PyTorch: pass 0 in evaluation. Default: 0.
        is_causal: each position attends to itself and earlier ones. Default: `False`.
        scale: Default: ``1 / sqrt(E)``.
        enable_gqa: Hq may be a multiple of H: heads of keys and values are shared (Ainslie et al., 2023). Default: `False`.

    Returns:
        Shape (N, ..., Hq, L, Ev). Where a query may attend to nothing, zeros.

    Raises:
        RuntimeError: shapes or dtypes do not fit.
        ValueError: both a mask and `is_causal` are given, or `dropout_p` is no probability.

    Examples:
        >>> import neurarust_jax as nr
        >>> x = nr.tensor([[1.0, 0.0], [0.0, 1.0]])
        >>> nr.nn.functional.scaled_dot_product_attention(x, x, x, is_causal=True)
        tensor([[1.0000, 0.0000],
                [0.3302, 0.6698]])
    """
    if is_causal and attn_mask is not None:
        raise ArgumentError("_scaled_dot_product_attention: Explicit attn_mask should not be set when is_causal=True; put both into the mask")
    _check_probability(dropout_p)
    dropped = None
    if dropout_p > 0:
        lead = query.shape[:-2] if enable_gqa else broadcast_shapes(query.shape[:-2], key.shape[:-2])
        dropped = draw(dropout_mask, None, (*lead, query.shape[-2], key.shape[-2]), 1.0 - dropout_p)
    return _attention(query, key, value, attn_mask, dropped, is_causal, None if scale is None else float(scale), 1.0 - float(dropout_p), enable_gqa)


def _check_probability(p: float) -> None:
    if not 0 <= p <= 1:
        raise ArgumentError(f"dropout probability has to be between 0 and 1, but got {p}")


# --- multi-head attention ------------------------------------------------------------------------------------------------


def _projected(query: Array, key: Array | None, value: Array | None, packed: Array | None, separate: list[Any], bias: Array | None) -> list[Array]:
    """Queries, keys and values. No key means that it is the query, no value that it is the key: with the weights in one, inputs that are the same share a product."""
    if packed is not None and key is None:
        parts = [(query, 3)]
    elif packed is not None and value is None:
        parts = [(query, 1), (key, 2)]
    else:
        key = query if key is None else key
        parts = [(query, 1), (key, 1), (key if value is None else value, 1)]
    found: list[Array] = []
    for x, count in parts:
        first, width = len(found), (separate[0] if packed is None else packed).shape[0] // (1 if packed is None else 3)
        own = slice(first * width, (first + count) * width)
        y = multiply(x, (separate[first] if packed is None else packed[own]).T)
        found += jnp.split(y if bias is None else y + bias[own], count, -1)
    return found


@op(name="_multi_head_attention", method=False)
def _multi_head_attention(
    query: Array, key: Array | None, value: Array | None, in_weight: Array | None, q_weight: Array | None, k_weight: Array | None, v_weight: Array | None,
    in_bias: Array | None, bias_k: Array | None, bias_v: Array | None, out_weight: Array, out_bias: Array | None, key_padding_mask: Array | None,
    attn_mask: Array | None, dropped: Array | None, static_k: Array | None, static_v: Array | None, embed_dim: int, heads: int, add_zero: bool, need_weights: bool,
    average: bool, is_causal: bool, keep: float, batch_first: bool,
) -> tuple[Array, ...]:  # fmt: skip
    """(output,), or with `need_weights` (output, weights). See `multi_head_attention_forward`."""
    batched = _check_inputs(query, key, value, in_weight, [q_weight, k_weight, v_weight], key_padding_mask, attn_mask, embed_dim, heads)
    require_same_dtype("multi_head_attention_forward", query=query, key=key, value=value, in_proj_weight=in_weight, q_proj_weight=q_weight, out_proj_weight=out_weight)
    q, k, v = _projected(query, key, value, in_weight, [q_weight, k_weight, v_weight], in_bias)
    if not batched:
        q, k, v = (x[None] for x in (q, k, v))
        key_padding_mask = None if key_padding_mask is None else key_padding_mask[None]
    elif not batch_first:
        q, k, v = (jnp.swapaxes(x, 0, 1) for x in (q, k, v))
    batch, length, source, features = *q.shape[:2], (k if static_k is None else static_k).shape[1], embed_dim // heads
    if is_causal and attn_mask is None:
        raise ShapeError("Need attn_mask if specifying the is_causal hint. nn.Transformer.generate_square_subsequent_mask makes one")
    if attn_mask is not None and tuple(attn_mask.shape) not in ((length, source), (batch * heads, length, source)):
        expected = (length, source) if attn_mask.ndim == 2 else (batch * heads, length, source)
        raise ShapeError(f"The shape of the {attn_mask.ndim}D attn_mask is {tuple(attn_mask.shape)}, but should be {expected}.")
    if key_padding_mask is not None and tuple(key_padding_mask.shape) != (batch, source):
        raise ShapeAssertionError(f"Expected key_padding_mask of shape {(batch, source)}, but got {tuple(key_padding_mask.shape)}")
    if k.shape[0] != batch:
        raise ShapeError(f"query has a batch of {batch}, key one of {k.shape[0]}: {tuple(query.shape)} and {tuple(query.shape if key is None else key.shape)}")
    if (bias_k is None) != (bias_v is None):
        raise ShapeAssertionError("bias_k and bias_v come together, got one of them")
    if bias_k is not None and bias_v is not None:
        if static_k is not None or static_v is not None:
            raise ShapeAssertionError("bias cannot be added to static key or static value.")
        k, v = (jnp.concatenate([x, jnp.broadcast_to(b.reshape(1, 1, -1), (batch, 1, embed_dim))], 1) for x, b in ((k, bias_k), (v, bias_v)))
    q, k, v = (jnp.swapaxes(x.reshape(batch, x.shape[1], heads, features), 1, 2) for x in (q, k, v))
    k, v = (x if s is None else _static(s, name, batch, heads, features) for x, s, name in ((k, static_k, "static_k"), (v, static_v, "static_v")))
    if add_zero:
        k, v = (jnp.pad(x, ((0, 0), (0, 0), (0, 1), (0, 0))) for x in (k, v))
    added = k.shape[2] - source
    causal = is_causal and key_padding_mask is None and not need_weights
    mask = None if causal else _merged(attn_mask, key_padding_mask, batch, heads, added)
    scale = 1 / math.sqrt(features)
    weights = None
    if need_weights:
        weights = jax.nn.softmax(_scores(q, k, mask, None, scale), axis=-1).astype(q.dtype)  # not a number where nothing may be attended to, as in PyTorch
        if dropped is not None:
            weights = jnp.where(dropped, weights * np.asarray(1 / keep if keep else 0, weights.dtype), 0)
        output = multiply(weights, v)
    else:
        output = _fused(q, k, v, causal, scale) if mask is None and dropped is None else None
        if output is None:
            output = attend(q, k, v, mask, dropped, causal, scale, keep)
    output = jnp.swapaxes(output, 1, 2).reshape(batch, length, embed_dim)
    if batched and not batch_first:
        output = jnp.swapaxes(output, 0, 1)
    output = multiply(output if batched else output[0], out_weight.T)
    if out_bias is not None:
        output = output + out_bias
    if weights is None:
        return (output,)
    weights = jnp.mean(weights, 1) if average else weights
    return output, weights if batched else weights[0]


def _static(x: Array, name: str, batch: int, heads: int, features: int) -> Array:
    if x.shape[0] != batch * heads or x.shape[2] != features:
        raise ShapeAssertionError(f"expecting {name} of shape ({batch * heads}, S, {features}), but got {tuple(x.shape)}")
    return x.reshape(batch, heads, *x.shape[1:])


def _merged(attn_mask: Array | None, key_padding_mask: Array | None, batch: int, heads: int, added: int) -> Array | None:
    """Both masks as one for `attend`, over (batch, heads, L, S): bool and true where attention is allowed, or to be added. Added keys are allowed."""
    masks = []
    if attn_mask is not None:
        masks.append(attn_mask[None, None] if attn_mask.ndim == 2 else attn_mask.reshape(batch, heads, *attn_mask.shape[1:]))
    if key_padding_mask is not None:
        masks.append(key_padding_mask[:, None, None])
    masks = [jnp.pad(m, [(0, 0)] * 3 + [(0, added)]) for m in masks]
    if not masks:
        return None
    if all(m.dtype == bool for m in masks):
        forbidden = masks[0] if len(masks) == 1 else masks[0] | masks[1]
        return ~forbidden
    masks = [jnp.where(m, -jnp.inf, np.float32(0)) if m.dtype == bool else m for m in masks]
    return masks[0] if len(masks) == 1 else masks[0] + masks[1]


def _check_inputs(
    query: Array, key: Array | None, value: Array | None, packed: Array | None, separate: list[Array | None], key_padding_mask: Array | None,
    attn_mask: Array | None, embed_dim: int, heads: int,
) -> bool:  # fmt: skip
    """Raise PyTorch's errors, or say whether there is a batch."""
    key = query if key is None else key
    value = key if value is None else value
    shapes = f"query {tuple(query.shape)}, key {tuple(key.shape)}, value {tuple(value.shape)}"
    if query.ndim not in (2, 3):
        raise ShapeAssertionError(f"query should be unbatched 2D or batched 3D tensor but received {query.ndim}-D query tensor")
    if key.ndim != query.ndim or value.ndim != query.ndim:
        raise ShapeAssertionError(f"expected `key` and `value` to be {query.ndim}-D as `query`, but found {shapes}")
    if key_padding_mask is not None and key_padding_mask.ndim != query.ndim - 1:
        raise ShapeAssertionError(f"For {query.ndim}-D `query`, expected `key_padding_mask` to be `None` or {query.ndim - 1}-D but found {key_padding_mask.ndim}-D tensor instead")
    if attn_mask is not None and attn_mask.ndim not in (2, 3):
        raise ShapeAssertionError(f"expected `attn_mask` to be `None`, 2-D or 3-D but found {attn_mask.ndim}-D tensor instead")
    for name, mask in (("key_padding_mask", key_padding_mask), ("attn_mask", attn_mask)):
        if mask is not None and mask.dtype.kind in "iuc":
            raise ShapeAssertionError(f"only bool and floating types of {name} are supported, got {mask.dtype}; write mask.bool()")
    if query.shape[-1] != embed_dim:
        raise ShapeAssertionError(f"was expecting embedding dimension of {embed_dim}, but got {query.shape[-1]}")
    if embed_dim % heads:
        raise ShapeAssertionError(f"embed_dim {embed_dim} not divisible by num_heads {heads}")
    if packed is not None and key.shape != value.shape:
        raise ShapeAssertionError(f"key shape {tuple(key.shape)} does not match value shape {tuple(value.shape)}")
    if packed is None:
        if key.shape[:-1] != value.shape[:-1]:
            raise ShapeAssertionError(f"key's sequence and batch dims {tuple(key.shape[:-1])} do not match value's {tuple(value.shape[:-1])}")
        for name, x, weight in zip("qkv", (query, key, value), separate, strict=True):
            if weight is None or tuple(weight.shape) != (embed_dim, x.shape[-1]):
                got = None if weight is None else tuple(weight.shape)
                raise ShapeAssertionError(f"expecting {name}_proj_weight of shape {(embed_dim, x.shape[-1])}, but got {got}")
    elif key.shape[-1] != embed_dim:
        raise ShapeError(f"mat1 and mat2 shapes cannot be multiplied: in_proj_weight takes {embed_dim} features, got {shapes}")
    return query.ndim == 3


def multi_head_attention(
    query: Tensor, key: Tensor, value: Tensor, embed_dim: int, num_heads: int, in_weights: tuple[Any, ...], biases: tuple[Any, ...], add_zero_attn: bool,
    dropout_p: float, out_weights: tuple[Any, ...], key_padding_mask: Any, need_weights: bool, attn_mask: Any, statics: tuple[Any, ...], average_attn_weights: bool,
    is_causal: bool, batch_first: bool,
) -> tuple[Tensor, Tensor | None]:  # fmt: skip
    """`multi_head_attention_forward` with its arguments in groups, and for inputs that have the batch in front."""
    if key_padding_mask is not None and attn_mask is not None and key_padding_mask.dtype != attn_mask.dtype:
        warnings.warn("Support for mismatched key_padding_mask and attn_mask is deprecated. Use same type for both instead.", stacklevel=3)
    dropped = None
    if dropout_p > 0:
        _check_probability(dropout_p)
        batch, length, source = 1, query.shape[0], key.shape[0]
        if query.dim() == 3:
            (batch, length), source = (query.shape[:2], key.shape[1]) if batch_first else ((query.shape[1], query.shape[0]), key.shape[0])
        source = (source if statics[0] is None else statics[0].shape[1]) + (biases[1] is not None) + add_zero_attn
        dropped = draw(dropout_mask, None, (batch, num_heads, length, source), 1.0 - dropout_p)
    same = key is value
    output, *weights = _multi_head_attention(
        query, None if same and query is key else key, None if same else value, *in_weights, *biases, *out_weights, key_padding_mask, attn_mask, dropped, *statics,
        embed_dim, num_heads, add_zero_attn, need_weights, average_attn_weights, is_causal, 1.0 - dropout_p, batch_first,
    )  # fmt: skip
    return output, weights[0] if weights else None


def multi_head_attention_forward(
    query: Tensor, key: Tensor, value: Tensor, embed_dim_to_check: int, num_heads: int, in_proj_weight: Any, in_proj_bias: Any, bias_k: Any, bias_v: Any,
    add_zero_attn: bool, dropout_p: float, out_proj_weight: Any, out_proj_bias: Any, training: bool = True, key_padding_mask: Any = None,
    need_weights: bool = True, attn_mask: Any = None, use_separate_proj_weight: bool = False, q_proj_weight: Any = None, k_proj_weight: Any = None,
    v_proj_weight: Any = None, static_k: Any = None, static_v: Any = None, average_attn_weights: bool = True, is_causal: bool = False,
) -> tuple[Tensor, Tensor | None]:  # fmt: skip
    r"""What `nr.nn.MultiheadAttention` computes: projections of query, key and value, attention in each head, and a projection of all heads together.

    Args:
        query: shape (L, N, E), or (L, E) without a batch.
        key, value: shapes (S, N, E_k) and (S, N, E_v), or without a batch (S, E_k) and (S, E_v).
        embed_dim_to_check: E.
        num_heads: the number of heads, which divides E.
        in_proj_weight: shape (3 \* E, E), the weights of query, key and value one below the other; or `None` with `use_separate_proj_weight`.
        in_proj_bias: shape (3 \* E), or `None`.
        bias_k, bias_v: shape (1, 1, E): one key and one value more for all queries, or `None`.
        add_zero_attn: whether to append a key and a value of zeros.
        dropout_p: probability with which in training attention weights are dropped.
        out_proj_weight, out_proj_bias: shapes (E, E) and (E); the bias may be `None`.
        training: whether to drop. Default: `True`.
        key_padding_mask: shape (N, S), or (S) without a batch: true where a key is to be ignored, or numbers added to the scores.
        need_weights: whether to return the attention weights, which costs memory and time. Default: `True`.
        attn_mask: shape (L, S) or (N \* num_heads, L, S): true where attention is forbidden, or numbers added to the scores.
        use_separate_proj_weight: whether the projections are given one by one. Default: `False`.
        q_proj_weight, k_proj_weight, v_proj_weight: shapes (E, E), (E, E_k) and (E, E_v).
        static_k, static_v: shape (N \* num_heads, S, E / num_heads), in place of the projected key and value.
        average_attn_weights: whether the weights are averaged over the heads. Default: `True`.
        is_causal: says that `attn_mask`, which must be given, is causal, so that it need not be read. Default: `False`.

    Returns:
        (output of the shape of `query`, weights or `None`). The weights have the shape (N, L, S), or (N, num_heads, L, S) if they are not averaged.

    Raises:
        AssertionError, RuntimeError: shapes or dtypes do not fit.
    """
    if not use_separate_proj_weight:
        if in_proj_weight is None:
            raise ShapeAssertionError("use_separate_proj_weight is False but in_proj_weight is None")
        in_weights = (in_proj_weight, None, None, None)
    else:
        in_weights = (None, q_proj_weight, k_proj_weight, v_proj_weight)
    return multi_head_attention(
        query, key, value, embed_dim_to_check, num_heads, in_weights, (in_proj_bias, bias_k, bias_v), add_zero_attn, dropout_p if training else 0.0,
        (out_proj_weight, out_proj_bias), key_padding_mask, need_weights, attn_mask, (static_k, static_v), average_attn_weights, is_causal, False,
    )  # fmt: skip
