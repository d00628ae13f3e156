"""Batches of sequences of different lengths: padded, and packed.

A packed batch holds the first step of all sequences, then the second step of those that last so long, and so on. Its shapes depend on the lengths, so lengths
must be known while a function is compiled, and every set of lengths is a program of its own: pad to a few fixed lengths where that matters.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from ... import devices, dtypes
from ...errors import ArgumentError, IndexOutOfRangeError, ShapeError
from ...ops.creation import arange, as_tensor
from ...ops.recurrent import concrete_sizes, padded_stack, places_of_packed, places_of_padded, rows
from ...tensor import Tensor, wrap

__all__ = [
    "PackedSequence", "invert_permutation", "pack_padded_sequence", "pad_packed_sequence", "pad_sequence", "unpad_sequence", "pack_sequence", "unpack_sequence",
]  # fmt: skip


def _on_host(values: np.ndarray) -> Tensor:
    """A tensor in the CPU's memory that has its values also while a function is traced."""
    with jax.ensure_compile_time_eval(), dtypes.x64():
        return wrap(jax.device_put(values, devices.device("cpu").jax()))


class _Fields(NamedTuple):
    data: Tensor
    batch_sizes: Tensor
    sorted_indices: Tensor | None
    unsorted_indices: Tensor | None


class PackedSequence(_Fields):
    """A batch of sequences of different lengths without padding, which recurrent layers take as input. Made by `pack_padded_sequence` and `pack_sequence`.

    For the sequences ``abc`` and ``x``, `data` is ``axbc`` and `batch_sizes` is ``[2, 1, 1]``.

    Attributes:
        data: the steps of all sequences, those of one step side by side.
        batch_sizes: how many sequences there are at each step, int64, in the CPU's memory. Fixed in a compiled function.
        sorted_indices: which sequence of the batch stands at each place, the longest first; `None` if they came in that order.
        unsorted_indices: at which place each sequence of the batch stands, the inverse of `sorted_indices`.
    """

    def __new__(cls, data: Any, batch_sizes: Any = None, sorted_indices: Any = None, unsorted_indices: Any = None) -> PackedSequence:
        if batch_sizes is None:
            data, batch_sizes = data
        if batch_sizes.device.type != "cpu":
            raise ArgumentError(
                f"batch_sizes should always be on CPU, got {batch_sizes.device}: write batch_sizes.cpu(), or make the sequence by pack_sequence or pack_padded_sequence"
            )
        if unsorted_indices is None:
            unsorted_indices = invert_permutation(sorted_indices)
        return super().__new__(cls, data, batch_sizes, sorted_indices, unsorted_indices)

    def to(self, *args: Any, **kwargs: Any) -> PackedSequence:
        """With `data` converted as by `Tensor.to`; the indices follow it to its device, and `batch_sizes` stays."""
        data = self.data.to(*args, **kwargs)
        if data is self.data:
            return self
        indices = (None if i is None else i.to(device=data.device) for i in (self.sorted_indices, self.unsorted_indices))
        return type(self)(data, self.batch_sizes, *indices)

    def cpu(self) -> PackedSequence:
        """On the CPU."""
        return self.to(device="cpu")

    def cuda(self, device: Any = None) -> PackedSequence:
        """On a GPU, by default the first."""
        return self.to(device="cuda" if device is None else device)

    def double(self) -> PackedSequence:
        """With float64 data."""
        return self.to(dtypes.float64)

    def float(self) -> PackedSequence:
        """With float32 data."""
        return self.to(dtypes.float32)

    def half(self) -> PackedSequence:
        """With float16 data."""
        return self.to(dtypes.float16)

    def long(self) -> PackedSequence:
        """With int64 data."""
        return self.to(dtypes.int64)

    def int(self) -> PackedSequence:
        """With int32 data."""
        return self.to(dtypes.int32)

    def short(self) -> PackedSequence:
        """With int16 data."""
        return self.to(dtypes.int16)

    def char(self) -> PackedSequence:
        """With int8 data."""
        return self.to(dtypes.int8)

    def byte(self) -> PackedSequence:
        """With uint8 data."""
        return self.to(dtypes.uint8)

    @property
    def is_cuda(self) -> bool:
        """Whether `data` is on a GPU."""
        return self.data.is_cuda

    def pin_memory(self) -> PackedSequence:
        """Itself: JAX copies to a device without it."""
        return self

    def is_pinned(self) -> bool:
        """Always false."""
        return False


def _flatten(sequence: PackedSequence) -> tuple[tuple[Any, ...], tuple[int, ...]]:
    return (sequence.data, sequence.sorted_indices, sequence.unsorted_indices), tuple(concrete_sizes(sequence.batch_sizes).tolist())


def _unflatten(batch_sizes: tuple[int, ...], children: Any) -> PackedSequence:
    data, *indices = children
    return PackedSequence._make((data, _on_host(np.array(batch_sizes, np.int64)), *indices))


jax.tree_util.register_pytree_node(PackedSequence, _flatten, _unflatten)


def invert_permutation(permutation: Tensor | None) -> Tensor | None:
    """The inverse of a permutation, a vector of integers; `None` for `None`.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.nn.utils.rnn.invert_permutation(nr.tensor([2, 0, 1]))
        tensor([1, 2, 0])
    """
    if permutation is None:
        return None
    return permutation.scatter(0, permutation, arange(permutation.numel(), dtype=permutation.dtype))


def pack_padded_sequence(input: Tensor, lengths: Any, batch_first: bool = False, enforce_sorted: bool = True) -> PackedSequence:
    r"""Pack a padded batch.

    Args:
        input: shape (T, B, \*), or (B, T, \*) with `batch_first`.
        lengths: how many steps of each sequence count: a list, or a tensor whose values are known.
        batch_first: whether the batch is in front. Default: `False`.
        enforce_sorted: whether the sequences come sorted, the longest first. `False` sorts them. Default: `True`.

    Raises:
        RuntimeError: the lengths are not sorted, not positive, greater than T, or not B of them.

    Examples:
        >>> import neurarust_jax as nr
        >>> padded = nr.tensor([[1, 2, 0], [3, 0, 0], [4, 5, 6]])
        >>> packed = nr.nn.utils.rnn.pack_padded_sequence(padded, [2, 1, 3], batch_first=True, enforce_sorted=False)
        >>> packed.data, packed.batch_sizes
        (tensor([4, 1, 3, 5, 2, 6]), tensor([3, 2, 1]))
    """
    lengths = concrete_sizes(lengths).astype(np.int64)
    if lengths.ndim != 1:
        raise ShapeError(f"'lengths' argument should be a 1D CPU int64 tensor, but got shape {lengths.shape}")
    if 0 in input.shape:
        raise ShapeError(f"Cannot pack empty tensors: got shape {tuple(input.shape)}")
    if input.dim() < 2:
        raise IndexOutOfRangeError(f"pack_padded_sequence takes (T, B, *) or (B, T, *), got shape {tuple(input.shape)}")
    batch, steps = input.shape[:2] if batch_first else (input.shape[1], input.shape[0])
    if len(lengths) != batch:
        raise ShapeError(f"Expected `len(lengths)` to be equal to batch_size, but got {len(lengths)} (batch_size={batch})")
    order = np.arange(batch) if enforce_sorted else np.argsort(-lengths, kind="stable")
    lengths = lengths[order]
    if np.any(lengths[1:] > lengths[:-1]):
        raise ShapeError(
            "`lengths` array must be sorted in decreasing order when `enforce_sorted` is True. Write enforce_sorted=False to have pack_padded_sequence sort them"
        )
    if lengths[-1] <= 0:
        raise ShapeError(f"Length of all samples has to be greater than 0, but found an element in 'lengths' that is <= 0: {lengths.tolist()}")
    if lengths[0] > steps:
        raise ShapeError(f"a length of {lengths[0]} is more than the {steps} steps of an input of shape {tuple(input.shape)}")
    sizes = np.sum(np.arange(lengths[0])[:, None] < lengths, 1)
    step, sequence = places_of_packed(sizes)
    index = order[sequence] * steps + step if batch_first else step * batch + order[sequence]
    indices = (None, None) if enforce_sorted else (as_tensor(order), as_tensor(np.argsort(order)))
    return PackedSequence(rows(input, index, 0, 2), _on_host(sizes), *indices)


def pad_packed_sequence(
    sequence: PackedSequence, batch_first: bool = False, padding_value: float = 0.0, total_length: int | None = None
) -> tuple[Tensor, Tensor]:
    r"""Pad a packed batch: the inverse of `pack_padded_sequence`.

    Args:
        sequence: the packed batch.
        batch_first: whether the result has the batch in front. Default: `False`.
        padding_value: what fills the places behind the end of a sequence. Default: 0.
        total_length: the number of steps of the result. Default: that of the longest sequence.

    Returns:
        (a tensor of shape (T, B, \*) or (B, T, \*), the lengths), in the order that the sequences had before they were packed.

    Raises:
        ValueError: `total_length` is less than that of the longest sequence.

    Examples:
        >>> import neurarust_jax as nr
        >>> from neurarust_jax.nn.utils.rnn import pack_sequence, pad_packed_sequence
        >>> pad_packed_sequence(pack_sequence([nr.tensor([1, 2]), nr.tensor([3])]), batch_first=True)
        (tensor([[1, 2],
                [3, 0]]), tensor([2, 1]))
    """
    sizes = concrete_sizes(sequence.batch_sizes)
    longest = len(sizes)
    if total_length is not None and total_length < longest:
        raise ArgumentError(
            "Expected total_length to be at least the length of the longest sequence in input, but got "
            f"total_length={total_length} and max sequence length being {longest}"
        )
    places: Any = places_of_padded(sizes, total_length or longest)
    lengths = _on_host(np.sum(np.arange(sizes[0])[:, None] < sizes, -1))
    if batch_first:
        places = places.T
    if sequence.unsorted_indices is not None:
        places = as_tensor(places).index_select(0 if batch_first else 1, sequence.unsorted_indices)
        lengths = lengths.index_select(0, sequence.unsorted_indices.to(device="cpu"))
    return rows(sequence.data, places, padding_value), lengths


def _is_plain(x: Any) -> bool:
    """Whether a tensor has its values in the CPU's memory, and no graph."""
    return x._node is None and not isinstance(x._value, jax.core.Tracer) and x.is_cpu


def pad_sequence(sequences: Any, batch_first: bool = False, padding_value: float = 0.0, padding_side: str = "right") -> Tensor:
    r"""Stack sequences of different lengths, padded to the longest.

    Args:
        sequences: tensors of shape (L, \*), which differ in L alone.
        batch_first: whether the batch is in front. Default: `False`.
        padding_value: what fills the places where a sequence has ended. Default: 0.
        padding_side: `"right"` or `"left"`. Default: `"right"`.

    Returns:
        A tensor of shape (T, B, \*), or (B, T, \*) with `batch_first`, of the dtype of the first sequence.

    Raises:
        RuntimeError: there are no sequences, or their other dimensions differ.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.nn.utils.rnn.pad_sequence([nr.tensor([1, 2, 3]), nr.tensor([4])], batch_first=True)
        tensor([[1, 2, 3],
                [4, 0, 0]])
    """
    if not isinstance(sequences, Iterable):
        raise ShapeError(f"pad_sequence: Expected iterable for input sequences, but got arg of type: {type(sequences)}")
    sequences = tuple(map(as_tensor, sequences))
    if not sequences:
        raise ShapeError("received an empty list of sequences")
    if padding_side not in ("left", "right"):
        raise ShapeError(f"Expected padding_side to be one of left or right, but got {padding_side}.")
    if any(s.dim() == 0 or s.shape[1:] != sequences[0].shape[1:] for s in sequences):
        raise ShapeError(f"pad_sequence takes tensors of shape (L, *) that differ in L alone, got {', '.join(str(tuple(s.shape)) for s in sequences)}")
    left = padding_side == "left"
    if not all(map(_is_plain, sequences)):
        return padded_stack(sequences, batch_first, padding_value, left)
    # almost every batch has new lengths: in NumPy none of them is compiled for
    longest, trailing = max(s.shape[0] for s in sequences), tuple(sequences[0].shape[1:])
    shape = (len(sequences), longest) if batch_first else (longest, len(sequences))
    padded = np.full((*shape, *trailing), padding_value).astype(sequences[0]._value.dtype)
    by_sequence = padded if batch_first else padded.swapaxes(0, 1)
    for place, s in zip(by_sequence, sequences, strict=True):
        place[longest - s.shape[0] if left else 0 : longest if left else s.shape[0]] = s.numpy()
    return as_tensor(padded)


def unpad_sequence(padded_sequences: Tensor, lengths: Any, batch_first: bool = False) -> list[Tensor]:
    r"""Take a padded batch apart into its sequences.

    Args:
        padded_sequences: shape (T, B, \*), or (B, T, \*) with `batch_first`.
        lengths: how many steps of each sequence count: a list, or a tensor whose values are known.
        batch_first: whether the batch is in front. Default: `False`.

    Raises:
        ValueError: there are not B lengths.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.nn.utils.rnn.unpad_sequence(nr.tensor([[1, 2, 3], [4, 0, 0]]), [3, 1], batch_first=True)
        [tensor([1, 2, 3]), tensor([4])]
    """
    lengths = concrete_sizes(lengths).tolist()
    batch = padded_sequences.shape[0 if batch_first else 1]
    if len(lengths) != batch:
        raise ArgumentError(f"unpad_sequence got {len(lengths)} lengths for {batch} sequences")
    if _is_plain(padded_sequences):
        values = padded_sequences.numpy()
        values = values if batch_first else values.swapaxes(0, 1)
        return [as_tensor(v[: max(length, 0)]) for v, length in zip(values, lengths, strict=True)]
    sequences = padded_sequences.unbind(0 if batch_first else 1)
    return [s[: max(length, 0)] for s, length in zip(sequences, lengths, strict=True)]


def pack_sequence(sequences: Sequence[Tensor], enforce_sorted: bool = True) -> PackedSequence:
    r"""Pack sequences of different lengths.

    Args:
        sequences: tensors of shape (L, \*).
        enforce_sorted: whether they come sorted, the longest first. `False` sorts them. Default: `True`.

    Raises:
        RuntimeError: the sequences are not sorted.

    Examples:
        >>> import neurarust_jax as nr
        >>> packed = nr.nn.utils.rnn.pack_sequence([nr.tensor([1, 2, 3]), nr.tensor([4, 5]), nr.tensor([6])])
        >>> packed.data, packed.batch_sizes
        (tensor([1, 4, 6, 2, 5, 3]), tensor([3, 2, 1]))
    """
    return pack_padded_sequence(pad_sequence(sequences), [s.shape[0] for s in sequences], enforce_sorted=enforce_sorted)


def unpack_sequence(packed_sequences: PackedSequence) -> list[Tensor]:
    """The sequences of a packed batch, in the order that they had before they were packed.

    Examples:
        >>> import neurarust_jax as nr
        >>> from neurarust_jax.nn.utils.rnn import pack_sequence, unpack_sequence
        >>> unpack_sequence(pack_sequence([nr.tensor([1, 2]), nr.tensor([3])]))
        [tensor([1, 2]), tensor([3])]
    """
    padded, lengths = pad_packed_sequence(packed_sequences, batch_first=True)
    return unpad_sequence(padded, lengths, batch_first=True)
