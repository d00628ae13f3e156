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

__all__ = ["Embedding"]


class Embedding(Module):
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
        if _weight is None:
            self.weight = Parameter(empty(num_embeddings, embedding_dim, device=device, dtype=dtype), requires_grad=not _freeze)
            self.reset_parameters()
        else:
            if tuple(_weight.shape) != (num_embeddings, embedding_dim):
                raise ShapeError(f"Shape of weight does not match num_embeddings and embedding_dim: {tuple(_weight.shape)}")
            self.weight = Parameter(_weight, requires_grad=not _freeze)

    def reset_parameters(self) -> None:
        """Draw the table anew; the padding row becomes zeros."""
        init.normal_(self.weight)
        if self.padding_idx is not None:
            with no_grad():
                self.weight[self.padding_idx] = 0

    def forward(self, input: Tensor) -> Tensor:
        return F.embedding(input, self.weight, self.padding_idx, self.max_norm, self.norm_type, self.scale_grad_by_freq, self.sparse)

    @classmethod
    def from_pretrained(
        cls, embeddings: Tensor, freeze: bool = True, padding_idx: int | None = None, max_norm: float | None = None, norm_type: float = 2.0,
        scale_grad_by_freq: bool = False, sparse: bool = False,
    ) -> Embedding:  # fmt: skip
        """A layer over a given table of shape (num_embeddings, embedding_dim), by default one that is not learned."""
        rows, size = embeddings.shape
        return cls(rows, size, padding_idx, max_norm, norm_type, scale_grad_by_freq, sparse, _weight=embeddings, _freeze=freeze)

    def extra_repr(self) -> str:
        text = f"{self.num_embeddings}, {self.embedding_dim}"
        if self.padding_idx is not None:
            text += f", padding_idx={self.padding_idx}"
        if self.max_norm is not None:
            text += f", max_norm={self.max_norm}"
        if self.norm_type != 2:
            text += f", norm_type={self.norm_type}"
        return text + (", scale_grad_by_freq=True" if self.scale_grad_by_freq else "") + (", sparse=True" if self.sparse else "")
