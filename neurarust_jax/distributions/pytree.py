"""Distributions and transforms as pytrees, so that compiled and transformed functions take and return them: their tensors are the leaves."""

from __future__ import annotations

from typing import Any

import jax

from ..tensor import Tensor

_NOT_CARRIED = frozenset({"_inv_reference", "_cached_x_y", "_kept"})


class Static:
    """The attributes without tensors, which are fixed in a compiled program."""

    def __init__(self, values: dict[str, Any]):
        self.values = values

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Static) and self.values == other.values

    def __hash__(self) -> int:
        return hash(tuple(self.values))


class Node:
    """A class whose instances, and those of its subclasses, are pytrees."""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        jax.tree_util.register_pytree_with_keys(cls, _flatten, lambda aux, children: _unflatten(cls, aux, children))


def _holds_tensors(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return any(map(_holds_tensors, value))
    return isinstance(value, Tensor | jax.Array | Node)


def _flatten(node: Any) -> tuple[list[tuple[Any, Any]], tuple[tuple[str, ...], Static]]:
    left_out = _NOT_CARRIED | node.__dict__.get("_kept", frozenset())  # what is computed lazily is computed anew
    carried = {name: value for name, value in node.__dict__.items() if name not in left_out}
    names = tuple(sorted(name for name, value in carried.items() if _holds_tensors(value)))
    static = Static({name: value for name, value in carried.items() if name not in names})
    return [(jax.tree_util.GetAttrKey(name), carried[name]) for name in names], (names, static)


def _unflatten(cls: type, aux: tuple[tuple[str, ...], Static], children: Any) -> Any:
    names, static = aux
    node = object.__new__(cls)
    node.__dict__.update(static.values)
    node.__dict__.update(zip(names, children, strict=True))
    return node
