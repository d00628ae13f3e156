"""Sliding windows: the arguments, lengths and slices that convolution, pooling and fold share. No public functions."""

import operator
from typing import Any

from jax import lax

from ...dispatch import Array
from ...errors import ArgumentTypeError, ShapeError
from ..common import cast

__all__: list[str] = []

Ints = int | tuple[int, ...]  # one for all spatial dimensions, or one for each


def tuple_of(value: Any, n: int, name: str) -> tuple[int, ...]:
    """An argument that PyTorch takes as one int for all spatial dimensions, or one for each."""
    try:
        values = tuple(map(operator.index, value if isinstance(value, tuple | list) else (value,)))
    except TypeError:
        raise ArgumentTypeError(f"{name} takes ints, got {value!r}") from None
    if len(values) not in (1, n):
        raise ShapeError(f"{name} takes one int or {n}, got {value!r}")
    return values * n if len(values) == 1 else values


def at_least(least: int, **values: tuple[int, ...]) -> None:
    """Raise if one of the ints is less than 0 or 1."""
    for name, value in values.items():
        if min(value) < least:
            raise ShapeError(f"{name} must be {'positive' if least else 'non-negative'}, got {name}={value}")


def spatial_dims(input: Array, n: int, name: str, channels: bool = True) -> int:
    """The number of dimensions before the last `n`: 1 without a batch, else 2. Only the batch may be empty (and the channels, unless `channels`)."""
    lead = input.ndim - n
    if lead not in (1, 2):
        raise ShapeError(f"{name}: expected {n + 1}D or {n + 2}D input, got shape {tuple(input.shape)}")
    if 0 in input.shape[lead - 1 if channels else lead :]:
        raise ShapeError(f"{name}: only the batch may be empty, got input of shape {tuple(input.shape)}")
    return lead


def extend(x: Array, first: int, pads: list[tuple[int, int]], value: Any = 0) -> Array:
    """Pad the dimensions from `first` on by (before, after); negative numbers cut."""
    if not any(map(any, pads)):
        return x
    rest = x.ndim - first - len(pads)
    return lax.pad(x, cast(value, x.dtype), [(0, 0, 0)] * first + [(*p, 0) for p in pads] + [(0, 0, 0)] * rest)


def every(x: Array, axis: int, start: int, stride: int, length: int) -> Array:
    """`length` elements along a dimension: every `stride`-th from `start` on."""
    return lax.slice_in_dim(x, start, start + (length - 1) * stride + 1, stride, axis)
