"""Pytrees whose dicts keep the order of their keys: JAX takes dicts apart by sorted keys, and programs for PyTorch go along ``zip(params.values(), gradients.values())``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax


class Ordered:
    """A pytree's structure with dicts whose keys are not sorted. It stands where JAX's structure would, and is made where it makes a difference."""

    __slots__ = ("structure", "orders")

    def __init__(self, structure: Any, orders: tuple):
        self.structure, self.orders = structure, orders

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Ordered) and self.orders == other.orders and self.structure == other.structure

    def __hash__(self) -> int:
        return hash((self.structure, self.orders))

    def __str__(self) -> str:
        return str(self.structure)

    def unflatten(self, leaves: Sequence[Any]) -> Any:
        """The pytree of these leaves."""
        return reordered(self.structure.unflatten(leaves), self.orders)


def flatten(tree: Any, is_leaf: Callable[[Any], bool] | None = None) -> tuple[list[Any], Any]:
    """The leaves of a pytree, and its structure, whose `unflatten` puts keys of dicts in the order that they had."""
    leaves, structure = jax.tree.flatten(tree, is_leaf=is_leaf)
    return leaves, ordered(structure, tree)


def ordered(structure: Any, tree: Any) -> Any:
    """The structure of a pytree, with the order of its keys where that makes a difference."""
    orders = None if structure is None else orders_of(tree)
    return structure if orders is None else Ordered(structure, orders)


def unordered(structure: Any) -> Any:
    """JAX's structure, which does not know the order of keys."""
    return structure.structure if isinstance(structure, Ordered) else structure


_NESTED = {dict, list, tuple}


def orders_of(tree: Any) -> tuple | None:
    """For each dict, list and tuple (its keys or `None`, the orders of its elements), and `None` where all keys are sorted."""
    kind = type(tree)
    if kind not in _NESTED:
        return None
    elements = tree.values() if kind is dict else tree
    inner = [orders_of(x) for x in elements if type(x) in _NESTED]
    keys = None
    if kind is dict and len(tree) > 1:
        keys = list(tree)
        try:
            keys = None if keys == sorted(keys) else tuple(keys)
        except TypeError:  # JAX says what is wrong with the keys
            return None
    if keys is None and not any(inner):
        return None
    found = iter(inner)
    return tuple(tree) if kind is dict else None, tuple([next(found) if type(x) in _NESTED else None for x in elements])


def reordered(tree: Any, orders: Sequence[Any] | None) -> Any:
    """The pytree, with its keys in an order that `orders_of` gave."""
    if orders is None:
        return tree
    keys, inner = orders
    if keys is not None:
        return {key: reordered(tree[key], order) for key, order in zip(keys, inner, strict=True)}
    return type(tree)(reordered(element, order) for element, order in zip(tree, inner, strict=True))
