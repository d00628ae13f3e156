"""`flex_attention`: attention whose scores and mask are given by functions of one score and its place (Dong et al., 2024, https://arxiv.org/abs/2412.05496).

The functions are mapped over all places; under `nr.jit` XLA fuses them with the softmax. All scores are formed: a mask that leaves out whole blocks saves no time here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from ... import dtypes
from ...dtypes import int32
from ...errors import ArgumentError, ShapeError, UnsupportedError
from ...ops import arange, argsort, logsumexp, softmax, where, zeros
from ...tensor import Tensor
from ...transforms.vectorize import vmap

__all__ = ["AuxOutput", "AuxRequest", "BlockMask", "and_masks", "create_block_mask", "create_mask", "flex_attention", "noop_mask", "or_masks"]


class AuxRequest(NamedTuple):
    """What `flex_attention` is to return beside the output."""

    lse: bool = False
    max_scores: bool = False


class AuxOutput(NamedTuple):
    """What `flex_attention` returned beside the output: of each query the logarithm of the sum of exponentials of its scores, and their maximum."""

    lse: Tensor | None = None
    max_scores: Tensor | None = None


# --- masks by rule -----------------------------------------------------------------------------------------------------


def noop_mask(batch: Tensor, head: Tensor, token_q: Tensor, token_kv: Tensor) -> Tensor:
    """The mask that lets every query look at every key."""
    return batch.new_ones((), dtype=dtypes.bool_)


def and_masks(*mask_mods: Callable) -> Callable:
    """The mask that is true where all of several are."""
    return _combined(mask_mods, lambda a, b: a & b, True)


def or_masks(*mask_mods: Callable) -> Callable:
    """The mask that is true where one of several is."""
    return _combined(mask_mods, lambda a, b: a | b, False)


def _combined(mask_mods: Sequence[Callable], join: Callable, start: bool) -> Callable:
    if not all(callable(m) for m in mask_mods):
        raise RuntimeError(f"All inputs should be callable mask_mods: {mask_mods}")

    def combined(b: Tensor, h: Tensor, q_idx: Tensor, kv_idx: Tensor) -> Tensor:
        found = b.new_full((), start, dtype=dtypes.bool_)
        for mask in mask_mods:
            found = join(found, mask(b, h, q_idx, kv_idx))
        return found

    return combined


def _over_places(function: Callable, with_score: bool) -> Callable:
    """A function of one place, mapped over keys, queries, heads and the batch."""
    first = (0,) if with_score else ()
    for dims in ((None, None, None, 0), (None, None, 0, None), (None, 0, None, None), (0, None, None, None)):
        function = vmap(function, (*first, *dims))
    return function


def _places(*lengths: int) -> list[Tensor]:
    return [arange(n, dtype=int32) for n in lengths]


def create_mask(mod_fn: Callable, B: int | None, H: int | None, Q_LEN: int, KV_LEN: int, device: Any = None) -> Tensor:
    """The dense mask of a rule.

    Args:
        mod_fn: takes four 0-d tensors, the places in the batch, among the heads, the queries and the keys, and returns whether that query may look at that key.
        B, H: the batch size and the number of heads; `None` for 1, where the rule does not depend on them.
        Q_LEN, KV_LEN: the numbers of queries and keys.
        device: where to put the mask.

    Returns:
        A boolean tensor of shape (B, H, Q_LEN, KV_LEN).

    Examples:
        >>> import neurarust_jax as nr
        >>> from neurarust_jax.nn.attention.flex_attention import create_mask
        >>> create_mask(lambda b, h, q, k: q >= k, 1, 1, 2, 3).tolist()
        [[[[True, False, False], [True, True, False]]]]
    """
    mask = _over_places(lambda *place: _as_bool(mod_fn(*place)), False)(*_places(B or 1, H or 1, Q_LEN, KV_LEN))
    return mask if device is None else mask.to(device)


def _as_bool(x: Any) -> Tensor:
    return x.to(dtypes.bool_)


class BlockMask:
    """A mask by rule, with an account of which blocks of scores it leaves wholly, partly, or not at all. `create_block_mask` makes it.

    Attributes:
        mask_mod: the rule.
        seq_lengths: the numbers of queries and keys.
        BLOCK_SIZE: the lengths of a block.
        kv_num_blocks, kv_indices: for each block of queries, how many blocks of keys it looks at in part, and which: their numbers come first in `kv_indices`.
        full_kv_num_blocks, full_kv_indices: likewise those that it looks at wholly; `None` where those are counted among the others.
        q_num_blocks, q_indices, full_q_num_blocks, full_q_indices: the same for each block of keys.
    """

    def __init__(
        self, seq_lengths: tuple[int, int], kv_num_blocks: Tensor, kv_indices: Tensor, full_kv_num_blocks: Tensor | None, full_kv_indices: Tensor | None,
        BLOCK_SIZE: tuple[int, int], mask_mod: Callable, of_blocks: bool = False,
    ):  # fmt: skip
        self.seq_lengths, self.BLOCK_SIZE, self.mask_mod = tuple(seq_lengths), tuple(BLOCK_SIZE), mask_mod
        self.kv_num_blocks, self.kv_indices = kv_num_blocks, kv_indices
        self.full_kv_num_blocks, self.full_kv_indices = full_kv_num_blocks, full_kv_indices
        self.q_num_blocks, self.q_indices = _listed(_dense(kv_num_blocks, kv_indices).mT)
        full = None if full_kv_num_blocks is None else _dense(full_kv_num_blocks, full_kv_indices).mT
        self.full_q_num_blocks, self.full_q_indices = (None, None) if full is None else _listed(full)
        self._of_blocks = of_blocks  # whether the blocks say more than the rule

    @classmethod
    def from_kv_blocks(
        cls, kv_num_blocks: Tensor, kv_indices: Tensor, full_kv_num_blocks: Tensor | None = None, full_kv_indices: Tensor | None = None,
        BLOCK_SIZE: int | tuple[int, int] = 128, mask_mod: Callable | None = None, seq_lengths: tuple[int, int] | None = None, compute_q_blocks: bool = True,
    ) -> BlockMask:  # fmt: skip
        """A mask of given blocks.

        Args:
            kv_num_blocks: for each block of queries, how many blocks of keys it looks at as the rule says: shape (B, H, number of blocks).
            kv_indices: which, shape (B, H, number of blocks of queries, number of blocks of keys).
            full_kv_num_blocks, full_kv_indices: likewise blocks that it looks at wholly.
            BLOCK_SIZE: the lengths of a block, of queries and of keys.
            mask_mod: the rule within blocks. Default: `noop_mask`.
            seq_lengths: the numbers of queries and keys. Default: whole blocks.
            compute_q_blocks: accepted and without effect.
        """
        if kv_indices.dim() < 2:
            raise RuntimeError("BlockMask must have at least 2 dimensions")
        if (full_kv_num_blocks is None) != (full_kv_indices is None):
            raise ArgumentError("full_kv_num_blocks and full_kv_indices must be both provided or omitted")
        size = (BLOCK_SIZE, BLOCK_SIZE) if isinstance(BLOCK_SIZE, int) else BLOCK_SIZE
        if seq_lengths is None:
            seq_lengths = (kv_indices.shape[-2] * size[0], kv_indices.shape[-1] * size[1])
        return cls(seq_lengths, kv_num_blocks, kv_indices, full_kv_num_blocks, full_kv_indices, size, mask_mod or noop_mask, True)

    @property
    def shape(self) -> tuple[int, ...]:
        """(batch, heads, queries, keys)."""
        return (*self.kv_indices.shape[:-2], *self.seq_lengths)

    def as_tuple(self, flatten: bool = True) -> tuple:
        """All fields."""
        sizes = (*self.seq_lengths, *self.BLOCK_SIZE) if flatten else (self.seq_lengths, self.BLOCK_SIZE)
        tables = (
            self.kv_num_blocks, self.kv_indices, self.full_kv_num_blocks, self.full_kv_indices, self.q_num_blocks, self.q_indices, self.full_q_num_blocks, self.full_q_indices,
        )  # fmt: skip
        split = 2 if flatten else 1
        return (*sizes[:split], *tables, *sizes[split:], self.mask_mod)

    def to_dense(self) -> Tensor:
        """For each pair of blocks 1 if there is something to look at, else 0; int32, shape (B, H, blocks of queries, blocks of keys)."""
        found = _dense(self.kv_num_blocks, self.kv_indices)
        if self.full_kv_num_blocks is not None:
            found = found | _dense(self.full_kv_num_blocks, self.full_kv_indices)
        return found.to(int32)

    def numel(self) -> int:
        """The number of scores."""
        count = 1
        for length in self.shape:
            count *= length
        return count

    def sparsity(self) -> float:
        """The percentage of scores that lie in blocks left out."""
        blocks = int(self.kv_num_blocks.sum()) + (0 if self.full_kv_num_blocks is None else int(self.full_kv_num_blocks.sum()))
        return 100 * (1 - blocks * self.BLOCK_SIZE[0] * self.BLOCK_SIZE[1] / self.numel())

    def to(self, device: Any) -> BlockMask:
        """The mask on another device."""
        return self._with(lambda table: table.to(device))

    def __getitem__(self, index: Any) -> BlockMask:
        """The mask of a part of the batch and of the heads."""
        index = tuple(slice(i, i + 1) if isinstance(i, int) and i != -1 else slice(i, None) if isinstance(i, int) else i for i in (index if isinstance(index, tuple) else (index,)))
        return self._with(lambda table: table[index])

    def _with(self, change: Callable) -> BlockMask:
        tables = [None if t is None else change(t) for t in (self.kv_num_blocks, self.kv_indices, self.full_kv_num_blocks, self.full_kv_indices)]
        return BlockMask(self.seq_lengths, *tables, self.BLOCK_SIZE, self.mask_mod, self._of_blocks)  # type: ignore[arg-type]  (the first two are never `None`)

    def mask(self, batch: int, heads: int) -> Tensor:
        """The dense mask, of shape (batch, heads, queries, keys)."""
        q, k = self.seq_lengths
        allowed = create_mask(self.mask_mod, batch, heads, q, k)
        if not self._of_blocks:
            return allowed
        full = zeros((), dtype=dtypes.bool_) if self.full_kv_num_blocks is None else self._by_element(self.full_kv_num_blocks, self.full_kv_indices)
        return full | (self._by_element(self.kv_num_blocks, self.kv_indices) & allowed)

    def _by_element(self, counts: Tensor, indices: Any) -> Tensor:
        blocks = _dense(counts, indices).repeat_interleave(self.BLOCK_SIZE[0], -2).repeat_interleave(self.BLOCK_SIZE[1], -1)
        return blocks[..., : self.seq_lengths[0], : self.seq_lengths[1]]

    def __repr__(self) -> str:
        name = getattr(self.mask_mod, "__name__", repr(self.mask_mod))
        return f"BlockMask(shape={self.shape}, BLOCK_SIZE={self.BLOCK_SIZE}, sparsity={self.sparsity():.2f}%, mask_mod={name})"


def _dense(counts: Tensor, indices: Any) -> Tensor:
    """Where the blocks that are listed stand."""
    columns = indices.shape[-1]
    listed = arange(columns, dtype=int32) < counts.unsqueeze(-1)
    return ((indices.unsqueeze(-1) == arange(columns, dtype=int32)) & listed.unsqueeze(-1)).any(-2)


def _listed(blocks: Tensor) -> tuple[Tensor, Tensor]:
    """(of each row how many blocks there are, the numbers of those and then of the others)"""
    return blocks.sum(-1).to(int32), argsort(blocks.to(int32), dim=-1, descending=True, stable=True).to(int32)


def create_block_mask(
    mask_mod: Callable, B: int | None, H: int | None, Q_LEN: int, KV_LEN: int, device: Any = None, BLOCK_SIZE: int | tuple[int, int] = 128, _compile: bool = False,
    separate_full_blocks: bool = True, compute_dq_write_order: bool = False, dq_kv_order: bool = True,
) -> BlockMask:  # fmt: skip
    """A mask by rule for `flex_attention`.

    Args:
        mask_mod: takes four 0-d integer tensors, the places in the batch, among the heads, the queries and the keys, and returns whether that query may look at that key.
        B, H: the batch size and the number of heads; `None` for 1, where the rule does not depend on them.
        Q_LEN, KV_LEN: the numbers of queries and keys.
        device: where to put the tables.
        BLOCK_SIZE: the lengths of a block, of queries and of keys. Default: 128.
        separate_full_blocks: whether blocks that are looked at wholly have tables of their own.
        compute_dq_write_order, dq_kv_order: accepted and without effect.

    Examples:
        >>> import neurarust_jax as nr
        >>> from neurarust_jax.nn.attention.flex_attention import create_block_mask, flex_attention
        >>> causal = create_block_mask(lambda b, h, q, k: q >= k, None, None, 256, 256)
        >>> causal
        BlockMask(shape=(1, 1, 256, 256), BLOCK_SIZE=(128, 128), sparsity=25.00%, mask_mod=<lambda>)
        >>> q = nr.randn(1, 2, 256, 16)
        >>> flex_attention(q, q, q, block_mask=causal).shape
        neurarust_jax.Size([1, 2, 256, 16])
    """
    size = (BLOCK_SIZE, BLOCK_SIZE) if isinstance(BLOCK_SIZE, int) else BLOCK_SIZE
    mask = create_mask(mask_mod, B, H, Q_LEN, KV_LEN, device)
    rows, columns = -(-Q_LEN // size[0]), -(-KV_LEN // size[1])
    padded = zeros(*mask.shape[:2], rows * size[0], columns * size[1], dtype=int32).slice_scatter(
        zeros(*mask.shape[:2], Q_LEN, columns * size[1], dtype=int32).slice_scatter(mask.to(int32), 3, 0, KV_LEN), 2, 0, Q_LEN
    )
    counts = padded.reshape(*mask.shape[:2], rows, size[0], columns, size[1]).sum((3, 5))
    full = counts == size[0] * size[1]
    if not separate_full_blocks:
        return BlockMask((Q_LEN, KV_LEN), *_listed(counts > 0), None, None, size, mask_mod)
    return BlockMask((Q_LEN, KV_LEN), *_listed((counts > 0) & ~full), *_listed(full), size, mask_mod)


# --- attention ---------------------------------------------------------------------------------------------------------


def flex_attention(
    query: Tensor, key: Tensor, value: Tensor, score_mod: Callable | None = None, block_mask: BlockMask | None = None, scale: float | None = None, enable_gqa: bool = False,
    return_lse: bool = False, kernel_options: Any = None, *, return_aux: AuxRequest | None = None,
) -> Any:  # fmt: skip
    """Attention with a function of each score and its place, and a mask by rule.

    Args:
        query: shape (B, Hq, L, E).
        key: shape (B, Hkv, S, E).
        value: shape (B, Hkv, S, Ev).
        score_mod: takes a score and the places in the batch, among the heads, the queries and the keys, five 0-d tensors, and returns the new score. Tensors that it takes
            from around it have gradients.
        block_mask: what `create_block_mask` made.
        scale: factor of the scores. Default: ``1 / sqrt(E)``.
        enable_gqa: whether several heads of the query share one of key and value: Hq is a multiple of Hkv.
        return_lse: whether to return the logarithms of the sums of exponentials, shape (B, Hq, L), too.
        kernel_options: accepted and without effect.
        return_aux: what to return beside the output, as an `AuxOutput`.

    Returns:
        The output, shape (B, Hq, L, Ev), zero for queries that look at nothing; with `return_lse` or `return_aux` a pair.

    Raises:
        ValueError: the numbers of heads, the batch sizes, or the lengths of mask and tensors do not fit.

    Examples:
        >>> import neurarust_jax as nr
        >>> from neurarust_jax.nn.attention.flex_attention import flex_attention
        >>> slopes = nr.tensor([0.5, 0.25])
        >>> q = nr.randn(1, 2, 6, 4)
        >>> flex_attention(q, q, q, lambda score, b, h, q, k: score + slopes[h] * (k - q)).shape
        neurarust_jax.Size([1, 2, 6, 4])
    """
    if not query.dim() == key.dim() == value.dim() == 4:
        raise UnsupportedError("NYI: query, key, and value must be 4D tensors")
    (batch, heads, length, width), (keys_batch, key_heads, keys, _) = query.shape, key.shape
    if batch != keys_batch and (keys_batch != 1 or block_mask is None):
        raise ArgumentError(f"Expect query and key/value to have the same batch size, or non-none block_mask, but got block_mask={block_mask}, Bq={batch}, and Bkv={keys_batch}.")
    if heads != key_heads and not enable_gqa:
        raise ArgumentError(f"Expect query and key/value to have the same number of heads but got Hq={heads} and Hkv={key_heads}. Try setting enable_gqa=True for GQA.")
    if heads % key_heads:
        raise ArgumentError(f"Expect number of query heads to be a multiple of kv heads for GQA but got Hq={heads} and Hkv={key_heads}.")
    if query.shape[-1] != key.shape[-1] or key.shape[-2] != value.shape[-2]:
        raise ShapeError(f"flex_attention: query {tuple(query.shape)}, key {tuple(key.shape)} and value {tuple(value.shape)} do not fit")
    if block_mask is not None and block_mask.seq_lengths != (length, keys):
        raise ArgumentError(
            f"block_mask was created for block_mask.shape={block_mask.shape} but got q_len={length} and kv_len={keys}. Create it for these lengths: create_block_mask(mask_mod, "
            f"B, H, {length}, {keys})."
        )
    if heads != key_heads:
        key, value = (x.repeat_interleave(heads // key_heads, 1) for x in (key, value))
    working = dtypes.float64 if query.dtype == dtypes.float64 else dtypes.float32
    scores = (query @ key.mT).to(working) * (width**-0.5 if scale is None else scale)
    if score_mod is not None:
        scores = _over_places(lambda score, *place: score_mod(score, *place), True)(scores, *_places(batch, heads, length, keys)).to(working)
    if block_mask is not None:
        allowed = block_mask.mask(*(n if m > 1 or not block_mask._of_blocks else 1 for n, m in zip((batch, heads), block_mask.shape, strict=False)))
        scores = where(allowed, scores, -float("inf"))
    greatest = scores.detach().amax(-1, keepdim=True)
    weights = where(greatest == -float("inf"), 0.0, softmax(where(greatest == -float("inf"), 0.0, scores), -1))
    output = weights.to(query.dtype) @ value
    if not return_lse and return_aux is None:
        return output
    wanted = AuxRequest(lse=True) if return_aux is None else return_aux
    lse = logsumexp(scores, -1) if wanted.lse else None
    if return_aux is None:
        return output, lse
    return output, AuxOutput(lse=lse, max_scores=greatest.squeeze(-1) if wanted.max_scores else None)
