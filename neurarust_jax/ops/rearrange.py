"""`nr.func.rearrange`: reordering, merging and splitting dimensions by a pattern of names, as the library einops does."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import ArgumentError, ArgumentTypeError
from ..tensor import Tensor
from .joining import stack
from .shaping import permute, reshape

__all__: list[str] = []
NAMESPACE = ["rearrange"]

_TOKEN = re.compile(r"\s*(\.\.\.|[()]|[^\s().]+|.)")


def rearrange(tensor: Tensor | Sequence[Tensor], pattern: str, **axes_lengths: int) -> Tensor:
    """The elements of a tensor in the shape that a pattern such as ``"b c h w -> b (h w) c"`` describes.

    Names on the left stand for the dimensions of the tensor, the same names on the right say their new order. Names in parentheses are one dimension:
    on the left it is split, on the right they are merged. ``1`` is a dimension of length 1, ``...`` stands for all dimensions not named.

    Args:
        tensor: a tensor; or several of one shape, which are stacked along a new first dimension.
        pattern: the two sides, with ``->`` between them.
        **axes_lengths: lengths of names; of the names in one pair of parentheses on the left, all but one must be known.

    Raises:
        ValueError: the pattern is wrong, or does not fit the tensor.

    Examples:
        >>> import neurarust_jax as nr
        >>> images = nr.zeros(32, 30, 40, 3)
        >>> nr.func.rearrange(images, "b (h1 h) (w1 w) c -> (b h1 w1) c h w", h1=2, w1=2).shape
        neurarust_jax.Size([128, 3, 15, 20])
    """
    whole = tensor if isinstance(tensor, Tensor) else stack(list(tensor))
    for name, length in axes_lengths.items():
        if type(length) is not int:
            raise ArgumentTypeError(f"rearrange takes ints as lengths, got {name}={length!r}")
    split, order, merged = _plan(tuple(whole.shape), pattern, tuple(sorted(axes_lengths.items())))
    return reshape(permute(reshape(whole, split), order), merged)


@functools.lru_cache(256)
def _plan(shape: tuple[int, ...], pattern: str, lengths: tuple[tuple[str, int], ...]) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """(the shape with every name a dimension, their new order, the shape after merging)."""
    sides = pattern.split("->")
    if len(sides) != 2:
        raise ArgumentError(f"a pattern has two sides with one '->' between them, got {pattern!r}")
    left, right = (_parse(side, pattern) for side in sides)
    if any("..." in group for group in left if isinstance(group, list)):
        raise ArgumentError(f"an ellipsis in parentheses on the left side is not allowed: {pattern!r}")
    left, right = _with_ellipsis(left, right, len(shape), pattern)
    names, wanted = ([name for group in side for name in group] for side in (left, right))
    if set(names) != set(wanted):
        raise ArgumentError(f"names stand on only one side of the pattern {pattern!r}: {', '.join(sorted(set(names) ^ set(wanted)))}")
    unknown = {name for name, _ in lengths} - set(names)
    if unknown:
        raise ArgumentError(f"lengths are given for names that are not in the pattern {pattern!r}: {', '.join(sorted(unknown))}")
    found = _lengths(left, shape, dict(lengths), pattern)
    return (
        tuple(found[name] for name in names),
        tuple(names.index(name) for name in wanted),
        tuple(math.prod(found[name] for name in group) for group in right),
    )


Dimensions = list[list[str] | str]  # the names of each dimension; an ellipsis outside parentheses is the string alone


def _parse(side: str, pattern: str) -> Dimensions:
    dimensions: Dimensions = []
    group: list[str] | None = None
    seen: set[str] = set()
    for token in _TOKEN.findall(side.strip()):
        if token == "(":
            if group is not None:
                raise ArgumentError(f"parentheses inside parentheses are not allowed: {pattern!r}")
            group = []
        elif token == ")":
            if group is None:
                raise ArgumentError(f"the parentheses of {pattern!r} are not balanced")
            dimensions.append(group)
            group = None
        elif token == "1":
            if group is None:
                dimensions.append([])
        else:
            _check_name(token, seen, pattern)
            if group is None:
                dimensions.append(token if token == "..." else [token])
            else:
                group.append(token)
    if group is not None:
        raise ArgumentError(f"the parentheses of {pattern!r} are not balanced")
    return dimensions


def _check_name(name: str, seen: set[str], pattern: str) -> None:
    if name in seen:
        raise ArgumentError(f"the name {name!r} stands twice on one side of {pattern!r}")
    seen.add(name)
    if name != "..." and (not name.isidentifier() or name.startswith("_") or name.endswith("_")):
        raise ArgumentError(f"{name!r} in {pattern!r} is no name: names are identifiers without an underscore at either end, and the only number is 1")


def _with_ellipsis(left: Dimensions, right: Dimensions, ndim: int, pattern: str) -> tuple[list[list[str]], list[list[str]]]:
    """Both sides with a name for each dimension that the ellipsis stands for."""
    if "..." not in left:
        if any("..." in group for group in right):
            raise ArgumentError(f"an ellipsis stands on the right side of {pattern!r} and not on the left")
        if len(left) != ndim:
            raise ArgumentError(f"the left side of {pattern!r} names {len(left)} dimensions, and the tensor has {ndim}")
        return [list(group) for group in left], [list(group) for group in right]
    if len(left) - 1 > ndim:
        raise ArgumentError(f"the left side of {pattern!r} names {len(left) - 1} dimensions, and the tensor has {ndim}")
    rest = [f"...{i}" for i in range(ndim - len(left) + 1)]
    if not any("..." in group for group in right):
        raise ArgumentError(f"an ellipsis stands on the left side of {pattern!r} and not on the right")
    return _expanded(left, rest), _expanded(right, rest)


def _expanded(side: Dimensions, rest: list[str]) -> list[list[str]]:
    """One side with the names `rest` in the place of the ellipsis."""
    dimensions: list[list[str]] = []
    for group in side:
        if isinstance(group, str):
            dimensions += [[name] for name in rest]
        else:
            dimensions.append([name for part in group for name in (rest if part == "..." else [part])])
    return dimensions


def _lengths(left: list[list[str]], shape: tuple[int, ...], given: Mapping[str, int], pattern: str) -> dict[str, int]:
    """The length of every name."""
    found: dict[str, Any] = dict(given)
    for group, length in zip(left, shape, strict=True):
        unknown = [name for name in group if name not in found]
        if len(unknown) > 1:
            raise ArgumentError(f"the lengths of {', '.join(unknown)} in {pattern!r} cannot be told from the dimension's length {length}; give all but one")
        known = math.prod(found[name] for name in group if name in found)
        if unknown:
            if not known or length % known:
                raise ArgumentError(f"a dimension of length {length} cannot be split by {known}: ({' '.join(group)}) in {pattern!r}")
            found[unknown[0]] = length // known
        elif known != length:
            raise ArgumentError(f"({' '.join(group)}) in {pattern!r} has {known} places, and the dimension {length}")
    return found
