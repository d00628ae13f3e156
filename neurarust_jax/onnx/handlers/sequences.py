"""Sequences, which are Python lists of tensors, and optional values, which are the value or `None`."""

from __future__ import annotations

from typing import Any

import numpy as np

import neurarust_jax as nr

from ...errors import ArgumentError, IndexOutOfRangeError
from ..registry import handler
from ..values import as_tensor


def _place(position: Any, length: int, op: str) -> int:
    """A position counted from the front; it must be within the sequence."""
    place = int(np.asarray(position).reshape(()))
    if not -length <= place < length:
        raise IndexOutOfRangeError(f"{op}: position {place} is out of range for a sequence of length {length}")
    return place % length


@handler("SequenceConstruct", since=11)
def sequence_construct(node, *inputs):
    return list(inputs)


@handler("SequenceEmpty", since=11)
def sequence_empty(node):
    return []


@handler("SequenceLength", since=11)
def sequence_length(node, sequence):
    return np.array(len(sequence), np.int64)


@handler("SequenceAt", since=11, static=("position",))
def sequence_at(node, sequence, position):
    return sequence[_place(position, len(sequence), "SequenceAt")]


@handler("SequenceErase", since=11, static=("position",))
def sequence_erase(node, sequence, position=None):
    place = len(sequence) - 1 if position is None else _place(position, len(sequence), "SequenceErase")
    return [element for i, element in enumerate(sequence) if i != place]


@handler("SequenceInsert", since=11, static=("position",))
def sequence_insert(node, sequence, element, position=None):
    length = len(sequence)
    place = length if position is None else int(np.asarray(position).reshape(()))
    if not -length <= place <= length:
        raise IndexOutOfRangeError(f"SequenceInsert: position {place} is out of range for a sequence of length {length}")
    place += length if place < 0 else 0
    return [*sequence[:place], element, *sequence[place:]]


@handler("SequenceMap", since=17)
def sequence_map(node, sequence, *others):
    body, rows = node.get("body"), []
    for i, element in enumerate(sequence):
        rows.append(tuple(body(element, *(other[i] if isinstance(other, list) else other for other in others))))
    return tuple(list(column) for column in zip(*rows, strict=True)) if rows else tuple([] for _ in node.outputs)


@handler("SplitToSequence", since=11, static=("split",))
def split_to_sequence(node, x, split=None):
    axis = node.get("axis", 0) % max(x.ndim, 1)
    length = x.shape[axis]
    if split is None:
        lengths = [1] * length
    elif split.ndim == 0:
        step = int(split)
        lengths = [min(step, length - start) for start in range(0, length, step)]
    else:
        lengths = [int(n) for n in split]
        if sum(lengths) != length:
            raise ArgumentError(f"SplitToSequence: lengths {lengths} do not add up to {length}, the length of dimension {axis}")
    if isinstance(x, np.ndarray):
        pieces = np.split(x, np.cumsum(lengths)[:-1], axis) if lengths else []
    else:
        pieces = list(nr.split(x, lengths, axis)) if lengths else []
    if split is None and not node.get("keepdims", 1):
        pieces = [piece.squeeze(axis) for piece in pieces]
    return pieces


@handler("ConcatFromSequence", since=11)
def concat_from_sequence(node, sequence):
    axis, join = node.get("axis"), "stack" if node.get("new_axis", 0) else "concatenate"
    if not sequence:
        raise ArgumentError("ConcatFromSequence: the sequence is empty, so that neither shape nor type of the result is known")
    if all(isinstance(element, np.ndarray) for element in sequence):
        return getattr(np, join)(sequence, axis)
    return (nr.stack if join == "stack" else nr.cat)([as_tensor(element) for element in sequence], axis)


# --- optional values -------------------------------------------------------------------------------------------------


@handler("Optional", since=15)
def optional(node, x=None):
    return x


@handler("OptionalHasElement", since=15)
def optional_has_element(node, x=None):
    return np.array(x is not None)


@handler("OptionalGetElement", since=15)
def optional_get_element(node, x):
    if x is None:
        raise ArgumentError(f"OptionalGetElement {node.name!r}: the optional value is empty; ask OptionalHasElement first")
    return x
