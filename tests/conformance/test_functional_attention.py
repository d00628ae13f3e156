"""Attention of `nn.functional` against PyTorch, every argument."""

import numpy as np
import pytest
import torch
import torch.nn.functional as TF

import neurarust_jax as nr
import neurarust_jax.nn.functional as F
from tests.oracle import check

G = np.random.default_rng(0)


def normal(*shape):
    return G.standard_normal(shape).astype(np.float32)


Q, K, V = normal(2, 4, 5, 8), normal(2, 4, 6, 8), normal(2, 4, 6, 3)


@pytest.mark.parametrize(
    "mask",
    [None, G.random((5, 6)) > 0.4, (G.random((2, 1, 5, 6)) > 0.3), normal(5, 6), normal(2, 4, 5, 6)],
    ids=["none", "bool", "bool-batch", "float", "float-batch"],
)
@pytest.mark.parametrize("scale", [None, 0.3])
def test_attention_with_masks(mask, scale):
    if mask is None or mask.dtype == bool:
        m, n = (None, None) if mask is None else (nr.tensor(mask), torch.tensor(mask))
        check(
            lambda q, k, v: F.scaled_dot_product_attention(q, k, v, m, scale=scale), lambda q, k, v: TF.scaled_dot_product_attention(q, k, v, n, scale=scale), Q, K, V
        )
    else:
        check(
            lambda q, k, v, a: F.scaled_dot_product_attention(q, k, v, a, scale=scale),
            lambda q, k, v, a: TF.scaled_dot_product_attention(q, k, v, a, scale=scale),
            Q, K, V, mask,
        )  # fmt: skip


def test_attention_causal_grouped_and_without_heads():
    check(lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True), lambda q, k, v: TF.scaled_dot_product_attention(q, k, v, is_causal=True), Q, K, V)
    check(
        lambda q, k, v: F.scaled_dot_product_attention(q, k, v, enable_gqa=True),
        lambda q, k, v: TF.scaled_dot_product_attention(q, k, v, enable_gqa=True),
        Q, K[:, :2], V[:, :2],
    )  # fmt: skip
    check(F.scaled_dot_product_attention, TF.scaled_dot_product_attention, Q[0, 0], K[0, 0], V[0, 0])
    masked = np.zeros((5, 6), bool)
    check(
        lambda q, k, v: F.scaled_dot_product_attention(q, k, v, nr.tensor(masked)), lambda q, k, v: TF.scaled_dot_product_attention(q, k, v, torch.tensor(masked)), Q, K, V, grad=False
    )


def test_attention_dropout_keeps_the_mean():
    v = nr.ones(2, 4, 6, 3)
    out = nr.stack([F.scaled_dot_product_attention(nr.tensor(Q), nr.tensor(K), v, dropout_p=0.5) for _ in range(40)])
    assert abs(out.mean().item() - 1) < 0.05 and out.std().item() > 0.1


def test_attention_explains_bad_input():
    q, k, v = nr.tensor(Q), nr.tensor(K), nr.tensor(V)
    with pytest.raises(RuntimeError, match=r"query \(\.\.\., L, E\).*\(2, 4, 6, 3\)"):
        F.scaled_dot_product_attention(q, v, v)
    with pytest.raises(RuntimeError, match="enable_gqa=True"):
        F.scaled_dot_product_attention(q, k[:, :2], v[:, :2])
    with pytest.raises((RuntimeError, ValueError), match="is_causal=True"):
        F.scaled_dot_product_attention(q, k, v, nr.ones(5, 6), is_causal=True)
