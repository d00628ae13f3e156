"""Scaled dot-product and multi-head attention: one Attention node where the opset has it, else its products and softmax."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..builder import Graph, Value
from ..dimensions import is_symbolic
from ..lowering import case, converter
from .elementwise import number, out_dtype
from .reduction import reduced

_OPSET = 23


# --- masks ---------------------------------------------------------------------------------------------------------------


def _causal(g: Graph, queries: Any, keys: Any, dtype: np.dtype) -> Value:
    """Zeros where a position is itself or an earlier one, minus infinity elsewhere."""
    if not is_symbolic(queries) and not is_symbolic(keys):
        return g.constant(np.triu(np.full((queries, keys), -np.inf), 1).astype(dtype))
    full = g.add("ConstantOfShape", g.shape_vector((queries, keys)), value=np.full((1,), -np.inf, dtype), dtype=dtype, shape=(queries, keys))
    return g.add("Trilu", full, g.constant(np.int64(1)), upper=1, shape=(queries, keys))


def _may_forbid_all(mask: Value) -> bool:
    """Whether a bool mask, true where attention is allowed, may leave a query nothing."""
    return mask.constant is None or not bool(mask.constant.any(-1).all())


def _masked(g: Graph, scores: Value, allowed: Value) -> Value:
    return g.add("Where", allowed, scores, number(g, -np.inf, scores.dtype), dtype=scores.dtype, shape=scores.shape)


# --- the products --------------------------------------------------------------------------------------------------------


def _weights(g: Graph, query: Value, key: Value, scale: float, shape: Any, masks: list[tuple[str, Value]], zero_where_none: bool = True) -> Value:
    """The softmax of the scores. Masks are `"allowed"`, `"forbidden"` (both bool) or `"added"`."""
    scaled = query if scale == 1 else g.add("Mul", query, number(g, scale, query.dtype), shape=query.shape)
    turned = g.transpose(key, [*range(key.ndim - 2), key.ndim - 1, key.ndim - 2])
    scores = g.add("MatMul", scaled, turned, shape=shape)
    uncertain = False
    for kind, mask in masks:
        if kind == "added":
            scores = g.add("Add", scores, g.cast(mask, scores.dtype), shape=shape)
        elif kind == "allowed":
            scores = _masked(g, scores, mask)
            uncertain = uncertain or _may_forbid_all(mask)
        else:
            scores = g.add("Where", mask, number(g, -np.inf, scores.dtype), scores, dtype=scores.dtype, shape=shape)
            uncertain = True
    weights = g.add("Softmax", scores, axis=-1, shape=shape)
    if uncertain and zero_where_none:
        weights = g.add("Where", g.add("IsNaN", weights, dtype=bool, shape=shape), number(g, 0, weights.dtype), weights, dtype=weights.dtype, shape=shape)
    return weights


def _dropped(g: Graph, weights: Value, dropped: Value | None, keep: float) -> Value:
    if dropped is None:
        return weights
    kept = g.add("Mul", weights, number(g, 1 / keep if keep else 0, weights.dtype), shape=weights.shape)
    return g.add("Where", dropped, kept, number(g, 0, weights.dtype), dtype=weights.dtype, shape=weights.shape)


_HEADS = (2, 3, 4, 5)


@converter(
    "_attention",
    cases=[
        case("F.scaled_dot_product_attention(x, y, y)", "Attention", 23, x=_HEADS, y=(2, 3, 6, 5)),
        case("F.scaled_dot_product_attention(x, x, x, is_causal=True)", "Attention", 23, x=_HEADS),
        case("F.scaled_dot_product_attention(x, x, x, attn_mask=y)", "Attention", 23, x=_HEADS, y=(4, 4)),
        case("F.scaled_dot_product_attention(x, y, y)", "MatMul MatMul Mul Softmax Transpose", x=_HEADS, y=(2, 3, 6, 5)),
        case("F.scaled_dot_product_attention(x, x, x, is_causal=True)", "Add MatMul MatMul Mul Softmax Transpose", x=_HEADS),
        case("F.scaled_dot_product_attention(x, x, x, attn_mask=y > 0)", "Greater IsNaN MatMul MatMul Mul Softmax Transpose Where Where", x=_HEADS, y=(4, 4)),
    ],
)
def _attention(
    g: Graph,
    query: Value,
    key: Value,
    value: Value,
    attn_mask: Value | None,
    dropped: Value | None,
    is_causal: bool,
    scale: float | None,
    keep: float,
    enable_gqa: bool,
) -> Value | None:
    features = query.known_shape[-1]
    scale = (1 / math.sqrt(features) if features else 1.0) if scale is None else scale
    if g.opset >= _OPSET and dropped is None and _takes(query, key, value, attn_mask):
        heads = g.add("Attention", query, key, value, attn_mask, scale=scale, is_causal=int(is_causal))
        return heads
    if enable_gqa and query.ndim >= 3:
        key, value = (_repeated(g, x, query.known_shape[-3]) for x in (key, value))
    lead = _lead(query, key)
    shape = (*lead, query.known_shape[-2], key.known_shape[-2])
    masks: list[tuple[str, Value]] = []
    if is_causal:
        masks.append(("added", _causal(g, query.known_shape[-2], key.known_shape[-2], query.dtype)))
    if attn_mask is not None:
        masks.append(("allowed" if attn_mask.dtype == bool else "added", attn_mask))
    weights = _dropped(g, _weights(g, query, key, scale, shape, masks), dropped, keep)
    return g.add("MatMul", weights, value)


def _takes(query: Value, key: Value, value: Value, mask: Value | None) -> bool:
    """Whether ONNX's operator takes these: with heads, one batch for all, a mask that never forbids everything."""
    if not query.ndim == key.ndim == value.ndim == 4 or query.dtype not in (np.float16, np.float32, np.float64):
        return False
    if any(str(query.known_shape[0]) != str(x.known_shape[0]) for x in (key, value)) or str(key.known_shape[1]) != str(value.known_shape[1]):
        return False
    if mask is None:
        return True
    return mask.ndim >= 2 and (mask.dtype == query.dtype or (mask.dtype == bool and not _may_forbid_all(mask)))


def _lead(query: Value, key: Value) -> tuple[Any, ...]:
    """The dimensions in front of the scores."""
    first, second = query.known_shape[:-2], key.known_shape[:-2]
    longer = max(len(first), len(second))
    first, second = ((1,) * (longer - len(x)) + tuple(x) for x in (first, second))
    return tuple(b if not is_symbolic(a) and a == 1 else a for a, b in zip(first, second, strict=True))


def _repeated(g: Graph, x: Value, heads: int) -> Value:
    """Heads of keys or values, each as often as the query has heads for it."""
    own = x.known_shape[-3]
    if own == heads:
        return x
    lead, rest = x.known_shape[:-3], x.known_shape[-2:]
    spread = g.expand(g.unsqueeze(x, [x.ndim - 2]), (*lead, own, heads // own, *rest))
    return g.reshape(spread, (*lead, heads, *rest))


# --- multi-head attention ------------------------------------------------------------------------------------------------


@converter(
    "_multi_head_attention",
    cases=[
        case(
            "nn.MultiheadAttention(6, 2, batch_first=True)(x, x, x, need_weights=False)[0]",
            "Add Add MatMul MatMul MatMul MatMul Mul Reshape Reshape Reshape Reshape Softmax Split Transpose Transpose Transpose Transpose",
            x=(2, 4, 6),
        ),
        case("nn.MultiheadAttention(6, 2, batch_first=True)(x, x, x, need_weights=False)[0]", "Add Add Attention MatMul MatMul Split", 23, x=(2, 4, 6)),
    ],
)
def _multi_head_attention(
    g: Graph, query: Value, key: Value | None, value: Value | None, in_weight: Value | None, q_weight: Value | None, k_weight: Value | None, v_weight: Value | None,
    in_bias: Value | None, bias_k: Value | None, bias_v: Value | None, out_weight: Value, out_bias: Value | None, key_padding_mask: Value | None,
    attn_mask: Value | None, dropped: Value | None, static_k: Value | None, static_v: Value | None, embed_dim: int, heads: int, add_zero: bool, need_weights: bool,
    average: bool, is_causal: bool, keep: float, batch_first: bool,
) -> list[Value] | None:  # fmt: skip
    if any(x is not None for x in (bias_k, bias_v, static_k, static_v)) or add_zero:
        return None
    weights = [w for w in (in_weight, q_weight, k_weight, v_weight, in_bias, out_weight) if w is not None]
    if any(w.constant is None for w in weights):
        return None
    batched = query.ndim == 3
    if not batched:
        query, key, value = (None if x is None else g.unsqueeze(x, [0]) for x in (query, key, value))  # type: ignore[assignment]
        key_padding_mask = None if key_padding_mask is None else g.unsqueeze(key_padding_mask, [0])
        batch_first = True
    assert query is not None
    layout = _Layout(query, key, heads, embed_dim, batch_first)
    causal = is_causal and key_padding_mask is None and not need_weights
    masks = _masks(g, layout, None if causal else attn_mask, key_padding_mask)
    if g.opset >= _OPSET and not need_weights and dropped is None and batch_first and not masks and query.dtype in (np.float16, np.float32, np.float64):
        q, k, v = _projected(g, query, key, value, in_weight, [q_weight, k_weight, v_weight], in_bias)
        attended = g.add(
            "Attention",
            q,
            k,
            v,
            q_num_heads=heads,
            kv_num_heads=heads,
            scale=layout.scale,
            is_causal=int(causal),
            shape=(layout.batch, layout.length, embed_dim),
        )
        return [_finish(g, attended, out_weight, out_bias, batched)]
    q, k, v = _split_into_heads(g, layout, query, key, value, in_weight, [q_weight, k_weight, v_weight], in_bias)
    if causal:
        masks.insert(0, ("added", _causal(g, layout.length, layout.source, query.dtype)))
    found = _weights(g, q, k, layout.scale, (layout.batch, heads, layout.length, layout.source), masks, zero_where_none=not need_weights)
    found = _dropped(g, found, dropped, keep)
    joined = layout.joined(g, g.add("MatMul", found, v, shape=(layout.batch, heads, layout.length, layout.features)))
    output = _finish(g, joined, out_weight, out_bias, batched)
    if not need_weights:
        return [output]
    found = reduced(g, "ReduceMean", found, 1, False) if average else found
    return [output, found if batched else g.squeeze(found, [0])]


class _Layout:
    """Where batch, positions and heads are."""

    def __init__(self, query: Value, key: Value | None, heads: int, embed_dim: int, batch_first: bool):
        self.batch_first, self.heads, self.embed_dim = batch_first, heads, embed_dim
        self.batch, self.length = query.known_shape[:2] if batch_first else query.known_shape[1::-1]
        self.source = (query if key is None else key).known_shape[1 if batch_first else 0]
        self.features = embed_dim // heads
        self.scale = 1 / math.sqrt(self.features)

    def positions(self, length: Any) -> tuple[Any, Any]:
        """The first two dimensions of an input."""
        return (self.batch, length) if self.batch_first else (length, self.batch)

    def apart(self, g: Graph, x: Value, length: Any) -> Value:
        """(batch, heads, positions, features) of what a projection gives."""
        split = g.reshape(x, (*self.positions(length), self.heads, self.features))
        return g.transpose(split, [0, 2, 1, 3] if self.batch_first else [1, 2, 0, 3])

    def joined(self, g: Graph, x: Value) -> Value:
        """The heads side by side again."""
        turned = g.transpose(x, [0, 2, 1, 3] if self.batch_first else [2, 0, 1, 3])
        return g.reshape(turned, (*self.positions(self.length), self.embed_dim))


def _masks(g: Graph, layout: _Layout, attn_mask: Value | None, key_padding_mask: Value | None) -> list[tuple[str, Value]]:
    masks: list[tuple[str, Value]] = []
    for mask, kind in ((attn_mask, "attention"), (key_padding_mask, "padding")):
        if mask is None:
            continue
        if kind == "padding":
            mask = g.unsqueeze(mask, [1, 2])
        elif mask.ndim == 3:
            mask = g.reshape(mask, (layout.batch, layout.heads, layout.length, layout.source))
        masks.append(("forbidden" if mask.dtype == bool else "added", mask))
    return masks


def _part(g: Graph, weight: Value | None, first: int, count: int, what: str) -> Value | None:
    """Some of the three parts of the packed projection's weight or bias."""
    if weight is None or count == 3:
        return weight
    width = weight.known_shape[0] // 3
    assert weight.constant is not None
    return g.derived(weight, weight.constant[first * width : (first + count) * width], "." + "qkv"[first : first + count])


def _project(g: Graph, x: Value, weight: Value, bias: Value | None) -> Value:
    width = weight.known_shape[0]
    shape = (*x.known_shape[:-1], width)
    product = g.add("MatMul", x, g.transpose(weight, [1, 0]), shape=shape)
    return product if bias is None else g.add("Add", product, bias, shape=shape)


def _sources(query: Value, key: Value | None, value: Value | None, packed: bool) -> list[tuple[Value, int]]:
    """What is projected, and into how many of query, key and value at once."""
    if packed and key is None:
        return [(query, 3)]
    if packed and value is None:
        return [(query, 1), (query if key is None else key, 2)]
    key = query if key is None else key
    return [(query, 1), (key, 1), (key if value is None else value, 1)]


def _products(
    g: Graph, query: Value, key: Value | None, value: Value | None, packed: Value | None, separate: list[Value | None], bias: Value | None
) -> list[tuple[Value, int]]:
    """The projections, some of them side by side."""
    found, first = [], 0
    for x, count in _sources(query, key, value, packed is not None):
        weight = _part(g, packed, first, count, "weight") if packed is not None else separate[first]
        assert weight is not None
        found.append((_project(g, x, weight, _part(g, bias, first, count, "bias")), count))
        first += count
    return found


def _projected(
    g: Graph, query: Value, key: Value | None, value: Value | None, packed: Value | None, separate: list[Value | None], bias: Value | None
) -> list[Value]:
    """Queries, keys and values, all heads side by side."""
    parts: list[Value] = []
    for product, count in _products(g, query, key, value, packed, separate, bias):
        width = product.known_shape[-1] // count
        shape = (*product.known_shape[:-1], width)
        parts += (
            [product] if count == 1 else g.add_many("Split", [product], [(product.dtype, shape)] * count, axis=-1, num_outputs=count if g.opset >= 18 else None)
        )
    return parts


def _split_into_heads(
    g: Graph, layout: _Layout, query: Value, key: Value | None, value: Value | None, packed: Value | None, separate: list[Value | None], bias: Value | None
) -> list[Value]:
    """Queries, keys and values over (batch, heads, positions, features)."""
    parts = _projected(g, query, key, value, packed, separate, bias)
    return [layout.apart(g, part, length) for part, length in zip(parts, (layout.length, layout.source, layout.source), strict=True)]


def _finish(g: Graph, joined: Value, weight: Value, bias: Value | None, batched: bool) -> Value:
    output = g.cast(_project(g, joined, weight, bias), out_dtype(g))
    return output if batched else g.squeeze(output, [0])
