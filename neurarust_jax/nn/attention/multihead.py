"""Multi-head attention."""

from __future__ import annotations

from typing import Any

from ...errors import ArgumentError, ShapeAssertionError
from ...ops.creation import empty
from ...ops.nn.attention import multi_head_attention
from ...parameter import Parameter
from ...tensor import Tensor
from .. import init
from ..linear import Linear
from ..module import Module

__all__ = ["MultiheadAttention"]


class NonDynamicallyQuantizableLinear(Linear):
    """A `Linear` under the name that PyTorch shows for the output projection."""


class MultiheadAttention(Module):
    r"""Attention in several heads (Vaswani et al., 2017): ``concat(head_1, ..., head_h) @ W_out.T + b_out``.

    Head i is ``softmax(q_i @ k_i.T / sqrt(head_dim)) @ v_i`` of the i-th parts of the projected query, key and value.

    Args:
        embed_dim: size of queries and outputs, E.
        num_heads: the number of heads, which divides E.
        dropout: probability with which in training attention weights are dropped. Default: 0.
        bias: whether the projections have biases. Default: `True`.
        add_bias_kv: whether to learn one key and value that is added to every sequence. Default: `False`.
        add_zero_attn: whether to append a key and value of zeros to every sequence. Default: `False`.
        kdim, vdim: sizes of keys and values. Default: `embed_dim`.
        batch_first: whether input and output have the batch in front. Default: `False`.
        device, dtype: of the parameters.

    Shape:
        - Query: (L, N, E), with `batch_first` (N, L, E), without a batch (L, E).
        - Key, value: (S, N, kdim) and (S, N, vdim), with `batch_first` (N, S, ...), without a batch (S, ...).
        - key_padding_mask: (N, S), or (S) without a batch; true where a key is to be ignored, or numbers that are added to the scores.
        - attn_mask: (L, S) or (N \* num_heads, L, S); true where attention is forbidden, or numbers that are added to the scores.
        - Output: as the query. Pass ``need_weights=False`` if it is all that is needed: it costs much less.
        - Weights: (N, L, S), or (L, S) without a batch; with ``average_attn_weights=False`` (N, num_heads, L, S), or (num_heads, L, S).

    Attributes:
        in_proj_weight: shape (3 \* E, E), drawn by Glorot's uniform law; or, if `kdim` or `vdim` differ, q_proj_weight, k_proj_weight and v_proj_weight.
        in_proj_bias: shape (3 \* E), zeros at first.
        out_proj: the output projection, a `Linear`; its bias is zero at first.
        bias_k, bias_v: shape (1, 1, E), drawn by Glorot's normal law.

    Examples:
        >>> import neurarust_jax as nr
        >>> attention = nr.nn.MultiheadAttention(16, 4, batch_first=True)
        >>> x = nr.randn(2, 5, 16)
        >>> output, weights = attention(x, x, x)
        >>> output.shape, weights.shape
        (neurarust_jax.Size([2, 5, 16]), neurarust_jax.Size([2, 5, 5]))
    """

    def __init__(
        self, embed_dim: int, num_heads: int, dropout: float = 0.0, bias: bool = True, add_bias_kv: bool = False, add_zero_attn: bool = False,
        kdim: int | None = None, vdim: int | None = None, batch_first: bool = False, device: Any = None, dtype: Any = None,
    ):  # fmt: skip
        if embed_dim <= 0 or num_heads <= 0:
            raise ArgumentError(f"embed_dim and num_heads must be greater than 0, got embed_dim={embed_dim} and num_heads={num_heads} instead")
        super().__init__()
        self.embed_dim = embed_dim
        self.kdim = embed_dim if kdim is None else kdim
        self.vdim = embed_dim if vdim is None else vdim
        self._qkv_same_embed_dim = self.kdim == embed_dim and self.vdim == embed_dim
        self.num_heads = num_heads
        self.dropout = dropout
        self.batch_first = batch_first
        self.head_dim = embed_dim // num_heads
        if self.head_dim * num_heads != embed_dim:
            raise ShapeAssertionError(f"embed_dim must be divisible by num_heads, got {embed_dim} and {num_heads}")
        self.add_zero_attn = add_zero_attn
        separate = {"q_proj_weight": embed_dim, "k_proj_weight": self.kdim, "v_proj_weight": self.vdim}
        if not self._qkv_same_embed_dim:
            for name, size in separate.items():
                self.register_parameter(name, Parameter(empty(embed_dim, size, device=device, dtype=dtype)))
            self.register_parameter("in_proj_weight", None)
        else:
            self.in_proj_weight = Parameter(empty(3 * embed_dim, embed_dim, device=device, dtype=dtype))
            for name in separate:
                self.register_parameter(name, None)
        self.register_parameter("in_proj_bias", Parameter(empty(3 * embed_dim, device=device, dtype=dtype)) if bias else None)
        self.out_proj = NonDynamicallyQuantizableLinear(embed_dim, embed_dim, bias=bias, device=device, dtype=dtype)
        for name in ("bias_k", "bias_v"):
            self.register_parameter(name, Parameter(empty(1, 1, embed_dim, device=device, dtype=dtype)) if add_bias_kv else None)
        self._reset_parameters()

    def _reset_parameters(self) -> None:
        for weight in (self.in_proj_weight, self.q_proj_weight, self.k_proj_weight, self.v_proj_weight):
            if weight is not None:
                init.xavier_uniform_(weight)
        if self.in_proj_bias is not None:
            init.zeros_(self.in_proj_bias)
            init.zeros_(self.out_proj.bias)
        for bias in (self.bias_k, self.bias_v):
            if bias is not None:
                init.xavier_normal_(bias)

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, key_padding_mask: Tensor | None = None, need_weights: bool = True, attn_mask: Tensor | None = None,
        average_attn_weights: bool = True, is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:  # fmt: skip
        return multi_head_attention(
            query, key, value, self.embed_dim, self.num_heads, (self.in_proj_weight, self.q_proj_weight, self.k_proj_weight, self.v_proj_weight),
            (self.in_proj_bias, self.bias_k, self.bias_v), self.add_zero_attn, self.dropout if self.training else 0.0, (self.out_proj.weight, self.out_proj.bias),
            key_padding_mask, need_weights, attn_mask, (None, None), average_attn_weights, is_causal, self.batch_first,
        )  # fmt: skip
