"""Look-up layers."""

from __future__ import annotations

from typing import Any

from ..autograd.graph import no_grad
from ..errors import ArgumentError, ShapeError
from ..ops.creation import empty
from ..parameter import Parameter
from ..tensor import Tensor
from . import functional as F
from . import init
from .module import Module

__all__ = ["Embedding", "EmbeddingBag"]


class _Table(Module):
    """What the look-up layers share: the table."""

    def __init__(
        self, num_embeddings: int, embedding_dim: int, padding_idx: int | None, max_norm: float | None, norm_type: float, scale_grad_by_freq: bool,
        sparse: bool, weight: Tensor | None, freeze: bool, device: Any, dtype: Any,
    ):  # fmt: skip
        super().__init__()
        self.num_embeddings = num_embeddings
        self.embedding_dim = embedding_dim
        if padding_idx is not None:
            if not -num_embeddings <= padding_idx < num_embeddings:
                raise ArgumentError(f"Padding_idx must be within num_embeddings: got {padding_idx} for {num_embeddings} rows")
            padding_idx %= num_embeddings
        self.padding_idx = padding_idx
        self.max_norm = max_norm
        self.norm_type = norm_type
        self.scale_grad_by_freq = scale_grad_by_freq
        self.sparse = sparse
        if weight is None:
            self.weight = Parameter(empty(num_embeddings, embedding_dim, device=device, dtype=dtype), requires_grad=not freeze)
            self.reset_parameters()
        else:
            if tuple(weight.shape) != (num_embeddings, embedding_dim):
                raise ShapeError(f"Shape of weight does not match num_embeddings and embedding_dim: {tuple(weight.shape)}")
            self.weight = Parameter(weight, requires_grad=not freeze)

    def reset_parameters(self) -> None:
        """Draw the table anew; the padding row becomes zeros."""
        init.normal_(self.weight)
        if self.padding_idx is not None:
            with no_grad():
                self.weight[self.padding_idx] = 0


def _rows_and_columns(embeddings: Tensor) -> tuple[int, int]:
    if embeddings.dim() != 2:
        raise ArgumentError(f"Embeddings parameter is expected to be 2-dimensional, got shape {tuple(embeddings.shape)}")
    return embeddings.shape[0], embeddings.shape[1]


class Embedding(_Table):
    r"""A table of vectors, looked up by index.

    Args:
        num_embeddings: rows of the table.
        embedding_dim: size of each vector.
        padding_idx: a row that starts as zeros and gets no gradient.
        max_norm: rows that are looked up are scaled down to at most this norm.
        norm_type: which norm. Default: 2.
        scale_grad_by_freq: divide gradients by how often a row was looked up. Default: `False`.
        sparse: accepted and without effect.
        device, dtype: of the table.

    Shape:
        - Input: (\*), integers in [0, num_embeddings).
        - Output: (\*, embedding_dim).

    Attributes:
        weight: shape (num_embeddings, embedding_dim), drawn from N(0, 1).

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.nn.Embedding(10, 3)(nr.tensor([[1, 2, 4, 5]])).shape
        neurarust_jax.Size([1, 4, 3])
    """

    def __init__(
        self, num_embeddings: int, embedding_dim: int, padding_idx: int | None = None, max_norm: float | None = None, norm_type: float = 2.0,
        scale_grad_by_freq: bool = False, sparse: bool = False, _weight: Tensor | None = None, _freeze: bool = False, device: Any = None,
        dtype: Any = None,
    ):  # fmt: skip
        super().__init__(num_embeddings, embedding_dim, padding_idx, max_norm, norm_type, scale_grad_by_freq, sparse, _weight, _freeze, device, dtype)

    def forward(self, input: Tensor) -> Tensor:
        return F.embedding(input, self.weight, self.padding_idx, self.max_norm, self.norm_type, self.scale_grad_by_freq, self.sparse)

    @classmethod
    def from_pretrained(
        cls, embeddings: Tensor, freeze: bool = True, padding_idx: int | None = None, max_norm: float | None = None, norm_type: float = 2.0,
        scale_grad_by_freq: bool = False, sparse: bool = False,
    ) -> Embedding:  # fmt: skip
        """A layer over a given table of shape (num_embeddings, embedding_dim), by default one that is not learned."""
        return cls(*_rows_and_columns(embeddings), padding_idx, max_norm, norm_type, scale_grad_by_freq, sparse, _weight=embeddings, _freeze=freeze)

    def extra_repr(self) -> str:
        text = f"{self.num_embeddings}, {self.embedding_dim}"
        if self.padding_idx is not None:
            text += f", padding_idx={self.padding_idx}"
        if self.max_norm is not None:
            text += f", max_norm={self.max_norm}"
        if self.norm_type != 2:
            text += f", norm_type={self.norm_type}"
        return text + (", scale_grad_by_freq=True" if self.scale_grad_by_freq else "") + (", sparse=True" if self.sparse else "")


class EmbeddingBag(_Table):
    """The sums, means or maxima of bags of vectors from a table.

    Args:
        num_embeddings: rows of the table.
        embedding_dim: size of each vector.
        max_norm: rows that are looked up are scaled down to at most this norm.
        norm_type: which norm. Default: 2.
        scale_grad_by_freq: divide gradients by how often a row was looked up; not for `"max"`. Default: `False`.
        mode: `"sum"`, `"mean"` or `"max"`. Default: `"mean"`.
        sparse: accepted and without effect.
        include_last_offset: offsets have one element more, the end of the last bag. Default: `False`.
        padding_idx: an index that counts nothing, whose row starts as zeros and gets no gradient.
        device, dtype: of the table.

    Shape:
        - Input: (B, N) for B bags of N, or (N) with offsets (B).
        - Per_sample_weights: the shape of the input; only for `"sum"`.
        - Output: (B, embedding_dim).

    Attributes:
        weight: shape (num_embeddings, embedding_dim), drawn from N(0, 1).

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.nn.EmbeddingBag(10, 3, mode="sum")(nr.tensor([1, 2, 4, 5, 4, 3, 2, 9]), nr.tensor([0, 4])).shape
        neurarust_jax.Size([2, 3])
    """

    def __init__(
        self, num_embeddings: int, embedding_dim: int, max_norm: float | None = None, norm_type: float = 2.0, scale_grad_by_freq: bool = False,
        mode: str = "mean", sparse: bool = False, _weight: Tensor | None = None, include_last_offset: bool = False, padding_idx: int | None = None,
        device: Any = None, dtype: Any = None,
    ):  # fmt: skip
        super().__init__(num_embeddings, embedding_dim, padding_idx, max_norm, norm_type, scale_grad_by_freq, sparse, _weight, False, device, dtype)
        self.mode = mode
        self.include_last_offset = include_last_offset

    def forward(self, input: Tensor, offsets: Tensor | None = None, per_sample_weights: Tensor | None = None) -> Tensor:
        return F.embedding_bag(
            input, self.weight, offsets, self.max_norm, self.norm_type, self.scale_grad_by_freq, self.mode, self.sparse, per_sample_weights,
            self.include_last_offset, self.padding_idx,
        )  # fmt: skip

    @classmethod
    def from_pretrained(
        cls, embeddings: Tensor, freeze: bool = True, max_norm: float | None = None, norm_type: float = 2.0, scale_grad_by_freq: bool = False,
        mode: str = "mean", sparse: bool = False, include_last_offset: bool = False, padding_idx: int | None = None,
    ) -> EmbeddingBag:  # fmt: skip
        """A layer over a given table of shape (num_embeddings, embedding_dim), by default one that is not learned."""
        rows, size = _rows_and_columns(embeddings)
        layer = cls(rows, size, max_norm, norm_type, scale_grad_by_freq, mode, sparse, embeddings, include_last_offset, padding_idx)
        layer.weight.requires_grad_(not freeze)
        return layer

    def extra_repr(self) -> str:
        text = f"{self.num_embeddings}, {self.embedding_dim}"
        if self.max_norm is not None:
            text += f", max_norm={self.max_norm}"
        if self.norm_type != 2:
            text += f", norm_type={self.norm_type}"
        if self.scale_grad_by_freq:
            text += f", scale_grad_by_freq={self.scale_grad_by_freq}"
        text += f", mode={self.mode!r}"
        return text + (f", padding_idx={self.padding_idx}" if self.padding_idx is not None else "")
