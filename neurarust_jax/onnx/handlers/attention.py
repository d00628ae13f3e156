"""Attention, its linear forms, and rotary position embeddings."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ...errors import ArgumentError, ShapeError
from ...nn import functional as F  # noqa: N812
from ...ops.matmul import multiply
from ..registry import handler
from ..tensors import numpy_dtype
from ..values import apply, as_tensor, dtype_of, shape_of


@handler("Attention")
def attention(node, query, key, value, mask=None, past_key=None, past_value=None, lengths=None):
    if (past_key is None) != (past_value is None):
        raise ArgumentError("Attention takes past_key and past_value together, got one of them")
    is_packed = len(shape_of(query)) == 3
    if is_packed:
        heads, shared = node.get("q_num_heads"), node.get("kv_num_heads")
        query, key, value = (apply(_apart, x, heads=h) for x, h in ((query, heads), (key, shared), (value, shared)))
    before = 0 if past_key is None else shape_of(past_key)[2]
    if past_key is not None:
        key, value = apply(_joined, past_key, key), apply(_joined, past_value, value)
    query, key, value = as_tensor(query), as_tensor(key), as_tensor(value)
    if shape_of(query)[1] % shape_of(key)[1]:
        raise ShapeError(f"Attention: {shape_of(query)[1]} heads of the query over {shape_of(key)[1]} of the keys; expected a multiple")
    y, scores = _attended(node, query, key, value, mask, lengths, before)
    return apply(_together, y) if is_packed else y, key, value, scores


def _attended(node, query, key, value, mask, lengths, before):
    """(output, the scores that were asked for)"""
    scale = node.get("scale")
    scale = 1 / math.sqrt(shape_of(query)[-1]) if scale is None else float(scale)
    bounds = {"causal": bool(node.get("is_causal", 0)), "left": node.get("left_window_size", -1), "right": node.get("right_window_size", -1)}
    wants_scores = len(node.outputs) > 3 and bool(node.outputs[3])
    precision, softcap = node.get("softmax_precision"), float(node.get("softcap", 0.0))
    is_restricted = mask is not None or lengths is not None or bounds != {"causal": False, "left": -1, "right": -1}
    bias = apply(_bias, query, key, mask, lengths, before=before, **bounds) if is_restricted else None
    softmax_dtype = dtype_of(query) if precision is None else numpy_dtype(precision)
    if not wants_scores and not softcap and softmax_dtype in (dtype_of(query), np.dtype(np.float32)):
        return F.scaled_dot_product_attention(query, key, value, bias, scale=scale, enable_gqa=True), None
    options = {"scale": scale, "softcap": softcap, "softmax_dtype": softmax_dtype, "mode": node.get("qk_matmul_output_mode", 0)}
    return apply(_attend, query, key, value, bias, **options)


def _apart(x, heads):
    return x.reshape(*x.shape[:2], heads, -1).transpose(0, 2, 1, 3)


def _together(x):
    x = x.transpose(0, 2, 1, 3)
    return x.reshape(*x.shape[:2], -1)


def _joined(past, new):
    return jnp.concatenate([past, new], 2)


def _bias(query, key, mask, lengths, before, causal, left, right):
    """What is added to the scores: the mask, and minus infinity where a query may not see a key."""
    queries, keys = query.shape[2], key.shape[2]
    offset = jnp.asarray(before) if lengths is None or before else lengths.reshape(-1, 1, 1, 1) - queries
    place = jnp.arange(queries)[:, None] + offset
    other = jnp.arange(keys)[None]
    seen = jnp.ones((queries, keys), jnp.bool_)
    if causal:
        seen = seen & (other <= place)
    if left >= 0:
        seen = seen & (other >= place - left)
    if right >= 0:
        seen = seen & (other <= place + right)
    if lengths is not None:
        seen = seen & (other < lengths.reshape(-1, 1, 1, 1))
    if mask is None:
        return jnp.where(seen, 0, -jnp.inf).astype(query.dtype)
    missing = [(0, 0)] * (mask.ndim - 1) + [(0, keys - mask.shape[-1])]
    if mask.dtype.kind == "b":
        return jnp.where(seen & jnp.pad(mask, missing), 0, -jnp.inf).astype(query.dtype)
    return jnp.where(seen, jnp.pad(mask, missing, constant_values=-jnp.inf), -jnp.inf).astype(query.dtype)


def _attend(query, key, value, bias, scale, softcap, softmax_dtype, mode):
    """Attention with all its steps, and the scores after one of them: the products, after the cap, after the mask, after the softmax."""
    groups = query.shape[1] // key.shape[1]
    key, value = jnp.repeat(key, groups, 1), jnp.repeat(value, groups, 1)
    root = jnp.asarray(math.sqrt(scale), query.dtype)
    stages = [multiply(query * root, jnp.swapaxes(key, -1, -2) * root)]
    stages.append(softcap * jnp.tanh(stages[0] / softcap) if softcap else stages[0])
    stages.append(stages[1] if bias is None else stages[1] + bias)
    logits = stages[2].astype(softmax_dtype)
    blind = None if bias is None else jnp.all(jnp.isneginf(bias), -1, keepdims=True)
    weights = jax.nn.softmax(logits if blind is None else jnp.where(blind, 0, logits), -1)
    weights = (weights if blind is None else jnp.where(blind, 0, weights)).astype(query.dtype)
    stages.append(weights)
    return multiply(weights, value), stages[mode].astype(query.dtype)


# --- with steps of one's own -----------------------------------------------------------------------------------------


@handler("FlexAttention", domain="ai.onnx.preview")
def flex_attention(node, query, key, value):
    """Attention whose scores and weights pass through subgraphs of the node."""
    scale, precision = node.get("scale"), node.get("softmax_precision")
    scale = 1 / math.sqrt(shape_of(query)[-1]) if scale is None else float(scale)
    dtype = numpy_dtype(precision) if precision else np.dtype(np.float64 if dtype_of(query) == np.float64 else np.float32)
    scores = apply(_flex_scores, query, key, scale=scale, dtype=dtype)
    scores = node.get("score_mod")(scores)[0] if node.get("score_mod") else scores
    weights = apply(_softmax, scores)
    weights = node.get("prob_mod")(weights)[0] if node.get("prob_mod") else weights
    return apply(_flex_output, weights, value)


def _flex_scores(query, key, scale, dtype):
    key = jnp.repeat(key, query.shape[1] // key.shape[1], 1)
    return multiply(query, jnp.swapaxes(key, -1, -2)).astype(dtype) * jnp.asarray(scale, dtype)


def _softmax(scores):
    return jax.nn.softmax(scores, -1)


def _flex_output(weights, value):
    return multiply(weights.astype(value.dtype), jnp.repeat(value, weights.shape[1] // value.shape[1], 1))


# --- linear ----------------------------------------------------------------------------------------------------------


@handler("LinearAttention")
def linear_attention(node, query, key, value, past=None, decay=None, rate=None):
    heads, shared = node.get("q_num_heads"), node.get("kv_num_heads")
    rule = node.get("update_rule", "gated_delta")
    if rule not in ("linear", "gated", "delta", "gated_delta"):
        raise ArgumentError(f"LinearAttention has the update rules linear, gated, delta and gated_delta, got {rule!r}")
    scale = float(node.get("scale", 0.0)) or 1 / math.sqrt(shape_of(query)[-1] // heads)
    decay = decay if rule.startswith("gated") else None
    return apply(_linear_attention, query, key, value, past, decay, rate, heads=heads, shared=shared, scale=scale, is_delta=rule.endswith("delta"))


def _linear_attention(query, key, value, past, decay, rate, heads, shared, scale, is_delta):
    """One pass over the steps; the state of each head is a matrix from keys to values."""
    dtype = jnp.float32 if query.dtype.itemsize == 2 else query.dtype

    def steps(x: Any, count: int) -> Any:
        return None if x is None else jnp.moveaxis(x.astype(dtype).reshape(*x.shape[:2], count, -1), 1, 0)

    q, k, v, g, beta = (
        steps(query, heads),
        steps(key, shared),
        steps(value, shared),
        steps(decay, shared),
        steps(rate, shared if rate is not None and rate.shape[-1] != 1 else 1),
    )
    state = jnp.zeros((query.shape[0], shared, k.shape[-1], v.shape[-1]), dtype) if past is None else past.astype(dtype)

    def step(state, now):
        q, k, v, g, beta = now
        state = state if g is None else jnp.exp(g)[..., None] * state
        change = v - jnp.einsum("bhkv,bhk->bhv", state, k) if is_delta else v
        change = change if beta is None or not is_delta else beta * change
        state = state + k[..., None] * change[..., None, :]
        return state, scale * jnp.einsum("bhkv,bhk->bhv", jnp.repeat(state, heads // shared, 1), q)

    state, outputs = jax.lax.scan(step, state, (q, k, v, g, beta))
    y = jnp.moveaxis(outputs, 0, 1).reshape(*query.shape[:2], -1)
    return y.astype(query.dtype), state.astype(query.dtype if past is None else past.dtype)


# --- positions -------------------------------------------------------------------------------------------------------


@handler("RotaryEmbedding")
def rotary_embedding(node, x, cosines, sines, positions=None):
    named = {"width": node.get("rotary_embedding_dim", 0), "interleaved": bool(node.get("interleaved", 0)), "heads": node.get("num_heads", 0)}
    return apply(_rotated, x, cosines, sines, positions, **named)


def _rotated(x, cosines, sines, positions, width, interleaved, heads):
    """Pairs of features turned by an angle that grows with the position (Su et al., 2021)."""
    shape = x.shape
    x = x.reshape(*shape[:2], heads, -1) if x.ndim == 3 else x.transpose(0, 2, 1, 3)
    width = width or x.shape[-1]
    cosines, sines = (c if positions is None else jnp.take(c, positions, 0) for c in (cosines, sines))
    cosines, sines = cosines[..., None, :], sines[..., None, :]
    turned, rest = x[..., :width], x[..., width:]
    a, b = (turned[..., 0::2], turned[..., 1::2]) if interleaved else (turned[..., : width // 2], turned[..., width // 2 :])
    pair = [a * cosines - b * sines, a * sines + b * cosines]
    turned = jnp.stack(pair, -1).reshape(turned.shape) if interleaved else jnp.concatenate(pair, -1)
    y = jnp.concatenate([turned, rest], -1).astype(x.dtype)
    return y.reshape(shape) if len(shape) == 3 else y.transpose(0, 2, 1, 3)
