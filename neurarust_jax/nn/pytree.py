"""Modules as pytrees: their leaves are the values of their cells, and a module made from other leaves is a second module of the same build."""

from __future__ import annotations

from typing import Any

import jax

from ..cells import Cell
from ..parameter import CellTensor
from ..tensor import Tensor
from .attributes import HOOKS, NOT_PLAIN, REGISTRIES, fixed
from .module import Module


class _Structure:
    """The static part of a module as a pytree: its class, plain attributes, and where its cells are. Equal for modules built alike."""

    __slots__ = ("module", "names", "signature")

    def __init__(self, module: Module, names: tuple):
        self.module = module
        self.names = names
        self.signature = [(name, type(m), _plain(m)) for name, m in module.named_modules()]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Structure) and self.names == other.names and self.signature == other.signature

    def __hash__(self) -> int:
        return hash(self.names)


def _plain(module: Module) -> list[tuple[str, Any]]:
    kept = [(n, v) for n, v in module.__dict__.items() if n not in NOT_PLAIN and n not in module._containers]
    kept += [(n, module.__dict__[n]) for n in module._containers if not any(c.startswith(n + ".") for c, _ in module._contained())]
    return [(n, fixed(v)) for n, v in kept]


def _module_cells(module: Module) -> list[tuple[str, Any]]:
    """Parameters, buffers and tensor attributes, each once, by name."""
    seen: set[int] = set()
    found = []
    for prefix, m in module.named_modules():
        for name, cell in (*m._own_parameters(), *m._buffers.items(), *m._states.items()):
            if cell is not None and id(cell) not in seen:
                seen.add(id(cell))
                found.append((f"{prefix}.{name}" if prefix else name, cell))
    return found


def _flatten(module: Module) -> tuple[tuple, _Structure]:
    named = _module_cells(module)
    values = tuple(v._value if isinstance(v := c._read(), Tensor) else v for _, c in named)
    return values, _Structure(module, tuple(name for name, _ in named))


def _flatten_with_keys(module: Module) -> tuple[tuple, _Structure]:
    values, structure = _flatten(module)
    return tuple((jax.tree_util.GetAttrKey(n), v) for n, v in zip(structure.names, values, strict=True)), structure


def _unflatten(structure: _Structure, values: Any) -> Module:
    """A second module of the same build, whose cells hold `values`."""
    originals = [cell for _, cell in _module_cells(structure.module)]
    twins = {id(cell): _twin(cell, value) for cell, value in zip(originals, values, strict=True)}
    return _rebuilt(structure.module, twins)


def _twin(cell: Cell, value: Any) -> Cell:
    twin = object.__new__(type(cell))
    twin.__dict__.update({n: v for n, v in cell.__dict__.items() if n not in ("_state", "_node", "_kept_leaf")})
    twin._state = value
    if isinstance(cell, CellTensor) and cell._node is not None and hasattr(value, "dtype"):
        Tensor.requires_grad_(twin, True)  # type: ignore[arg-type]
    return twin


def _rebuilt(module: Any, twins: dict[int, Any]) -> Any:
    """`module` with its cells replaced, submodules rebuilt, and plain attributes shared."""
    if id(module) in twins:
        return twins[id(module)]
    if isinstance(module, list | tuple):
        return type(module)(_rebuilt(element, twins) for element in module) if any(isinstance(e, Module | Cell | list | tuple | dict) for e in module) else module
    if isinstance(module, dict):
        return {key: _rebuilt(element, twins) for key, element in module.items()}
    if not isinstance(module, Module):
        return module
    copy = object.__new__(type(module))
    twins[id(module)] = copy
    for name, value in module.__dict__.items():
        if name in REGISTRIES or name in module._containers:
            copy.__dict__[name] = _rebuilt(value, twins)
        elif name in HOOKS or name == "_containers" or isinstance(value, set):
            copy.__dict__[name] = value.copy()
        elif name != "_cached_signature":
            copy.__dict__[name] = value
    return copy


def register(cls: type[Module]) -> None:
    """Make a class of modules known to JAX."""
    jax.tree_util.register_pytree_with_keys(cls, _flatten_with_keys, _unflatten, _flatten)


register(Module)
