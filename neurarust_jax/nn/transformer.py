"""Transformers: layers of attention and feed-forward networks, and stacks of them."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from ..errors import ShapeError
from ..ops.creation import full
from ..tensor import Tensor
from . import functional as F
from . import init
from .activation import GELU, ReLU
from .attention import MultiheadAttention
from .containers import ModuleList
from .dropout import Dropout
from .linear import Linear
from .module import Module
from .normalization import LayerNorm

__all__ = ["Transformer", "TransformerDecoder", "TransformerDecoderLayer", "TransformerEncoder", "TransformerEncoderLayer"]

Activation = str | Callable[[Tensor], Tensor]


def _activation(activation: Activation) -> Callable[[Tensor], Tensor]:
    if not isinstance(activation, str):
        return activation
    if activation not in ("relu", "gelu"):
        raise ShapeError(f"activation should be relu/gelu, not {activation}")
    return F.relu if activation == "relu" else F.gelu


def _copies(module: Module, count: int) -> ModuleList:
    return ModuleList([copy.deepcopy(module) for _ in range(count)])


class TransformerEncoderLayer(Module):
    r"""Self-attention and a feed-forward network, each with dropout, residual connection and layer normalization (Vaswani et al., 2017)::

        x = norm1(x + attention(x))
        x = norm2(x + linear2(activation(linear1(x))))

    With `norm_first` (Xiong et al., 2020) ``x + attention(norm1(x))`` and likewise for the network.

    Args:
        d_model: size of the input, E.
        nhead: the number of attention heads.
        dim_feedforward: size of the hidden layer. Default: 2048.
        dropout: probability of the dropouts and of that of attention weights. Default: 0.1.
        activation: of the hidden layer: `"relu"`, `"gelu"` or a function. Default: `relu`.
        layer_norm_eps: added to variances. Default: 1e-5.
        batch_first: whether input and output have the batch in front. Default: `False`.
        norm_first: whether to normalize before. Default: `False`.
        bias: whether linear layers and normalizations learn biases. Default: `True`.
        device, dtype: of the parameters.

    Shape:
        - Source: (S, N, E), with `batch_first` (N, S, E), without a batch (S, E).
        - src_mask: (S, S) or (N \* nhead, S, S); true where attention is forbidden, or numbers that are added to the scores.
        - src_key_padding_mask: (N, S), or (S) without a batch; likewise.
        - Output: as the source.

    Examples:
        >>> import neurarust_jax as nr
        >>> layer = nr.nn.TransformerEncoderLayer(d_model=16, nhead=4, batch_first=True)
        >>> layer(nr.randn(2, 5, 16)).shape
        neurarust_jax.Size([2, 5, 16])
    """

    def __init__(
        self, d_model: int, nhead: int, dim_feedforward: int = 2048, dropout: float = 0.1, activation: Activation = F.relu, layer_norm_eps: float = 1e-5,
        batch_first: bool = False, norm_first: bool = False, bias: bool = True, device: Any = None, dtype: Any = None,
    ):  # fmt: skip
        super().__init__()
        self.self_attn = MultiheadAttention(d_model, nhead, dropout, bias, batch_first=batch_first, device=device, dtype=dtype)
        self.linear1 = Linear(d_model, dim_feedforward, bias, device, dtype)
        self.dropout = Dropout(dropout)
        self.linear2 = Linear(dim_feedforward, d_model, bias, device, dtype)
        self.norm_first = norm_first
        self.norm1 = LayerNorm(d_model, layer_norm_eps, bias=bias, device=device, dtype=dtype)
        self.norm2 = LayerNorm(d_model, layer_norm_eps, bias=bias, device=device, dtype=dtype)
        self.dropout1 = Dropout(dropout)
        self.dropout2 = Dropout(dropout)
        self.activation = _activation(activation)
        self.activation_relu_or_gelu = 1 if self.activation is F.relu or isinstance(activation, ReLU) else 2 if self.activation is F.gelu or isinstance(activation, GELU) else 0

    def forward(self, src: Tensor, src_mask: Tensor | None = None, src_key_padding_mask: Tensor | None = None, is_causal: bool = False) -> Tensor:
        x = src
        if self.norm_first:
            x = x + self._sa_block(self.norm1(x), src_mask, src_key_padding_mask, is_causal)
            return x + self._ff_block(self.norm2(x))
        x = self.norm1(x + self._sa_block(x, src_mask, src_key_padding_mask, is_causal))
        return self.norm2(x + self._ff_block(x))

    def _sa_block(self, x: Tensor, attn_mask: Tensor | None, key_padding_mask: Tensor | None, is_causal: bool = False) -> Tensor:
        return self.dropout1(self.self_attn(x, x, x, key_padding_mask, False, attn_mask, is_causal=is_causal)[0])

    def _ff_block(self, x: Tensor) -> Tensor:
        return self.dropout2(self.linear2(self.dropout(self.activation(self.linear1(x)))))


class TransformerDecoderLayer(Module):
    r"""Self-attention, attention to a memory, and a feed-forward network, each with dropout, residual connection and layer normalization (Vaswani et al., 2017)::

        x = norm1(x + self_attention(x))
        x = norm2(x + attention(x, memory))
        x = norm3(x + linear2(activation(linear1(x))))

    With `norm_first` (Xiong et al., 2020) what is added is computed of ``norm(x)``, and the sums are not normalized.

    Args:
        d_model: size of target and memory, E.
        nhead: the number of attention heads.
        dim_feedforward: size of the hidden layer. Default: 2048.
        dropout: probability of the dropouts and of those of attention weights. Default: 0.1.
        activation: of the hidden layer: `"relu"`, `"gelu"` or a function. Default: `relu`.
        layer_norm_eps: added to variances. Default: 1e-5.
        batch_first: whether inputs and output have the batch in front. Default: `False`.
        norm_first: whether to normalize before. Default: `False`.
        bias: whether linear layers and normalizations learn biases. Default: `True`.
        device, dtype: of the parameters.

    Shape:
        - Target: (T, N, E), with `batch_first` (N, T, E), without a batch (T, E).
        - Memory: (S, N, E), with `batch_first` (N, S, E), without a batch (S, E).
        - tgt_mask: (T, T) or (N \* nhead, T, T); memory_mask: (T, S) or (N \* nhead, T, S): true where attention is forbidden, or added to the scores.
        - tgt_key_padding_mask: (N, T) or (T); memory_key_padding_mask: (N, S) or (S); likewise.
        - Output: as the target.

    Examples:
        >>> import neurarust_jax as nr
        >>> layer = nr.nn.TransformerDecoderLayer(d_model=16, nhead=4)
        >>> layer(nr.randn(3, 2, 16), nr.randn(5, 2, 16)).shape
        neurarust_jax.Size([3, 2, 16])
    """

    def __init__(
        self, d_model: int, nhead: int, dim_feedforward: int = 2048, dropout: float = 0.1, activation: Activation = F.relu, layer_norm_eps: float = 1e-5,
        batch_first: bool = False, norm_first: bool = False, bias: bool = True, device: Any = None, dtype: Any = None,
    ):  # fmt: skip
        super().__init__()
        self.self_attn = MultiheadAttention(d_model, nhead, dropout, bias, batch_first=batch_first, device=device, dtype=dtype)
        self.multihead_attn = MultiheadAttention(d_model, nhead, dropout, bias, batch_first=batch_first, device=device, dtype=dtype)
        self.linear1 = Linear(d_model, dim_feedforward, bias, device, dtype)
        self.dropout = Dropout(dropout)
        self.linear2 = Linear(dim_feedforward, d_model, bias, device, dtype)
        self.norm_first = norm_first
        self.norm1 = LayerNorm(d_model, layer_norm_eps, bias=bias, device=device, dtype=dtype)
        self.norm2 = LayerNorm(d_model, layer_norm_eps, bias=bias, device=device, dtype=dtype)
        self.norm3 = LayerNorm(d_model, layer_norm_eps, bias=bias, device=device, dtype=dtype)
        self.dropout1 = Dropout(dropout)
        self.dropout2 = Dropout(dropout)
        self.dropout3 = Dropout(dropout)
        self.activation = _activation(activation)

    def forward(
        self, tgt: Tensor, memory: Tensor, tgt_mask: Tensor | None = None, memory_mask: Tensor | None = None, tgt_key_padding_mask: Tensor | None = None,
        memory_key_padding_mask: Tensor | None = None, tgt_is_causal: bool = False, memory_is_causal: bool = False,
    ) -> Tensor:  # fmt: skip
        x = tgt
        if self.norm_first:
            x = x + self._sa_block(self.norm1(x), tgt_mask, tgt_key_padding_mask, tgt_is_causal)
            x = x + self._mha_block(self.norm2(x), memory, memory_mask, memory_key_padding_mask, memory_is_causal)
            return x + self._ff_block(self.norm3(x))
        x = self.norm1(x + self._sa_block(x, tgt_mask, tgt_key_padding_mask, tgt_is_causal))
        x = self.norm2(x + self._mha_block(x, memory, memory_mask, memory_key_padding_mask, memory_is_causal))
        return self.norm3(x + self._ff_block(x))

    def _sa_block(self, x: Tensor, attn_mask: Tensor | None, key_padding_mask: Tensor | None, is_causal: bool = False) -> Tensor:
        return self.dropout1(self.self_attn(x, x, x, key_padding_mask, False, attn_mask, is_causal=is_causal)[0])

    def _mha_block(self, x: Tensor, mem: Tensor, attn_mask: Tensor | None, key_padding_mask: Tensor | None, is_causal: bool = False) -> Tensor:
        return self.dropout2(self.multihead_attn(x, mem, mem, key_padding_mask, False, attn_mask, is_causal=is_causal)[0])

    def _ff_block(self, x: Tensor) -> Tensor:
        return self.dropout3(self.linear2(self.dropout(self.activation(self.linear1(x)))))


class TransformerEncoder(Module):
    """A stack of encoder layers.

    Args:
        encoder_layer: the layer; the stack is made of copies of it, which start with the same parameters.
        num_layers: how many.
        norm: a normalization of the output, or `None`.
        enable_nested_tensor, mask_check: accepted and without effect: padded positions are computed like others.

    Shape:
        - Source, mask, src_key_padding_mask and output: as of `TransformerEncoderLayer`. `is_causal` says that the mask, which must be given, is causal.

    Examples:
        >>> import neurarust_jax as nr
        >>> encoder = nr.nn.TransformerEncoder(nr.nn.TransformerEncoderLayer(d_model=16, nhead=4), num_layers=2)
        >>> encoder(nr.randn(5, 2, 16)).shape
        neurarust_jax.Size([5, 2, 16])
    """

    def __init__(self, encoder_layer: Module, num_layers: int, norm: Module | None = None, enable_nested_tensor: bool = True, mask_check: bool = True):
        super().__init__()
        self.layers = _copies(encoder_layer, num_layers)
        self.num_layers = num_layers
        self.norm = norm
        self.enable_nested_tensor = enable_nested_tensor
        self.mask_check = mask_check

    def forward(self, src: Tensor, mask: Tensor | None = None, src_key_padding_mask: Tensor | None = None, is_causal: bool | None = None) -> Tensor:
        output = src
        for layer in self.layers:
            output = layer(output, src_mask=mask, is_causal=bool(is_causal), src_key_padding_mask=src_key_padding_mask)
        return output if self.norm is None else self.norm(output)


class TransformerDecoder(Module):
    """A stack of decoder layers.

    Args:
        decoder_layer: the layer; the stack is made of copies of it, which start with the same parameters.
        num_layers: how many.
        norm: a normalization of the output, or `None`.

    Shape:
        - Target, memory, masks and output: as of `TransformerDecoderLayer`.

    Examples:
        >>> import neurarust_jax as nr
        >>> decoder = nr.nn.TransformerDecoder(nr.nn.TransformerDecoderLayer(d_model=16, nhead=4), num_layers=2)
        >>> decoder(nr.randn(3, 2, 16), nr.randn(5, 2, 16)).shape
        neurarust_jax.Size([3, 2, 16])
    """

    def __init__(self, decoder_layer: Module, num_layers: int, norm: Module | None = None):
        super().__init__()
        self.layers = _copies(decoder_layer, num_layers)
        self.num_layers = num_layers
        self.norm = norm

    def forward(
        self, tgt: Tensor, memory: Tensor, tgt_mask: Tensor | None = None, memory_mask: Tensor | None = None, tgt_key_padding_mask: Tensor | None = None,
        memory_key_padding_mask: Tensor | None = None, tgt_is_causal: bool | None = None, memory_is_causal: bool = False,
    ) -> Tensor:  # fmt: skip
        output = tgt
        for layer in self.layers:
            output = layer(
                output, memory, tgt_mask=tgt_mask, memory_mask=memory_mask, tgt_key_padding_mask=tgt_key_padding_mask,
                memory_key_padding_mask=memory_key_padding_mask, tgt_is_causal=bool(tgt_is_causal), memory_is_causal=memory_is_causal,
            )  # fmt: skip
        return output if self.norm is None else self.norm(output)


class Transformer(Module):
    r"""Encoder and decoder (Vaswani et al., 2017). Embeddings, positions and the output layer are the user's.

    Args:
        d_model: size of source and target, E. Default: 512.
        nhead: the number of attention heads. Default: 8.
        num_encoder_layers, num_decoder_layers: how many layers the stacks have. Default: 6.
        dim_feedforward: size of the hidden layers. Default: 2048.
        dropout: probability of all dropouts. Default: 0.1.
        activation: of the hidden layers: `"relu"`, `"gelu"` or a function. Default: `relu`.
        custom_encoder, custom_decoder: modules to use in place of the stacks.
        layer_norm_eps: added to variances. Default: 1e-5.
        batch_first: whether inputs and output have the batch in front. Default: `False`.
        norm_first: whether the layers normalize before. Default: `False`.
        bias: whether linear layers and normalizations learn biases. Default: `True`.
        device, dtype: of the parameters, whose matrices are drawn by Glorot's uniform law.

    Shape:
        - Source: (S, N, E), with `batch_first` (N, S, E), without a batch (S, E).
        - Target: (T, N, E), with `batch_first` (N, T, E), without a batch (T, E).
        - src_mask: (S, S) or (N \* nhead, S, S); tgt_mask: (T, T) or (N \* nhead, T, T); memory_mask: (T, S) or (N \* nhead, T, S): true where
          attention is forbidden, or numbers that are added to the scores.
        - src_key_padding_mask, memory_key_padding_mask: (N, S) or (S); tgt_key_padding_mask: (N, T) or (T); likewise.
        - Output: as the target.

    Examples:
        >>> import neurarust_jax as nr
        >>> model = nr.nn.Transformer(d_model=16, nhead=4, num_encoder_layers=1, num_decoder_layers=1, dim_feedforward=32)
        >>> model(nr.randn(5, 2, 16), nr.randn(3, 2, 16), tgt_mask=model.generate_square_subsequent_mask(3)).shape
        neurarust_jax.Size([3, 2, 16])
    """

    def __init__(
        self, d_model: int = 512, nhead: int = 8, num_encoder_layers: int = 6, num_decoder_layers: int = 6, dim_feedforward: int = 2048, dropout: float = 0.1,
        activation: Activation = F.relu, custom_encoder: Any = None, custom_decoder: Any = None, layer_norm_eps: float = 1e-5, batch_first: bool = False,
        norm_first: bool = False, bias: bool = True, device: Any = None, dtype: Any = None,
    ):  # fmt: skip
        super().__init__()
        options = (d_model, nhead, dim_feedforward, dropout, activation, layer_norm_eps, batch_first, norm_first, bias, device, dtype)

        def norm() -> LayerNorm:
            return LayerNorm(d_model, layer_norm_eps, bias=bias, device=device, dtype=dtype)

        self.encoder = TransformerEncoder(TransformerEncoderLayer(*options), num_encoder_layers, norm()) if custom_encoder is None else custom_encoder
        self.decoder = TransformerDecoder(TransformerDecoderLayer(*options), num_decoder_layers, norm()) if custom_decoder is None else custom_decoder
        self._reset_parameters()
        self.d_model = d_model
        self.nhead = nhead
        self.batch_first = batch_first

    def forward(
        self, src: Tensor, tgt: Tensor, src_mask: Tensor | None = None, tgt_mask: Tensor | None = None, memory_mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None, tgt_key_padding_mask: Tensor | None = None, memory_key_padding_mask: Tensor | None = None,
        src_is_causal: bool | None = None, tgt_is_causal: bool | None = None, memory_is_causal: bool = False,
    ) -> Tensor:  # fmt: skip
        batch = 0 if self.batch_first else 1
        if src.dim() == 3 and src.size(batch) != tgt.size(batch):
            raise ShapeError(f"the batch number of src and tgt must be equal, got {tuple(src.shape)} and {tuple(tgt.shape)}")
        if src.size(-1) != self.d_model or tgt.size(-1) != self.d_model:
            raise ShapeError(f"the feature number of src and tgt must be equal to d_model, {self.d_model}, got {tuple(src.shape)} and {tuple(tgt.shape)}")
        memory = self.encoder(src, mask=src_mask, src_key_padding_mask=src_key_padding_mask, is_causal=src_is_causal)
        return self.decoder(
            tgt, memory, tgt_mask=tgt_mask, memory_mask=memory_mask, tgt_key_padding_mask=tgt_key_padding_mask,
            memory_key_padding_mask=memory_key_padding_mask, tgt_is_causal=tgt_is_causal, memory_is_causal=memory_is_causal,
        )  # fmt: skip

    @staticmethod
    def generate_square_subsequent_mask(sz: int, device: Any = None, dtype: Any = None) -> Tensor:
        """A causal mask of shape (sz, sz): -inf above the diagonal, else 0.

        Examples:
            >>> import neurarust_jax as nr
            >>> nr.nn.Transformer.generate_square_subsequent_mask(2)
            tensor([[0., -inf],
                    [0., 0.]])
        """
        return full((sz, sz), float("-inf"), dtype=dtype, device=device).triu(1)

    def _reset_parameters(self) -> None:
        for parameter in self.parameters():
            if parameter.dim() > 1:
                init.xavier_uniform_(parameter)
