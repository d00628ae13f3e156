"""Causal masks for queries and keys of different lengths, as `attn_mask` of `scaled_dot_product_attention`."""

from __future__ import annotations

import enum

from ...ops.creation import ones
from ...tensor import Tensor

__all__ = ["CausalBias", "CausalVariant", "causal_lower_right", "causal_upper_left"]


class CausalVariant(enum.IntEnum):
    """Which corner of the scores the diagonal of a causal mask goes through."""

    UPPER_LEFT = 1
    LOWER_RIGHT = 2


class CausalBias(Tensor):
    """A causal mask: true where a query may look.

    Args:
        variant: the corner that the diagonal goes through.
        seq_len_q, seq_len_kv: how many queries and keys there are.

    Raises:
        ValueError: with the lower right corner, there are more queries than keys.
    """

    def __init__(self, variant: CausalVariant, seq_len_q: int, seq_len_kv: int):
        self.variant, self.seq_len_q, self.seq_len_kv = CausalVariant(variant), seq_len_q, seq_len_kv
        offset = seq_len_kv - seq_len_q if variant == CausalVariant.LOWER_RIGHT else 0
        self._value = ones(seq_len_q, seq_len_kv, dtype=bool).tril(offset)._value


def causal_upper_left(*size: int) -> CausalBias:
    """A mask by which query i looks at keys 0 to i.

    Args:
        size: the numbers of queries and of keys.

    Examples:
        >>> import neurarust_jax as nr
        >>> q, k = nr.ones(1, 2, 2, 4), nr.ones(1, 2, 3, 4)
        >>> mask = nr.nn.attention.bias.causal_upper_left(2, 3)
        >>> mask.tolist()
        [[True, False, False], [True, True, False]]
        >>> nr.nn.functional.scaled_dot_product_attention(q, k, k, attn_mask=mask).shape
        neurarust_jax.Size([1, 2, 2, 4])
    """
    return CausalBias(CausalVariant.UPPER_LEFT, *_two(size))


def causal_lower_right(*size: int) -> CausalBias:
    """A mask by which the last query looks at all keys, and each before it at one key less.

    Args:
        size: the numbers of queries and of keys.
    """
    return CausalBias(CausalVariant.LOWER_RIGHT, *_two(size))


def _two(size: tuple[int, ...]) -> tuple[int, int]:
    if len(size) != 2:
        raise ValueError(f"causal masks are matrices: expected the numbers of queries and of keys, got {size}")
    return size
