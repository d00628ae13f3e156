"""What functions take from around them, found without running them: the tensors and cells of their closures, and the rest, which compiled programs depend on."""

from __future__ import annotations

import functools
import types
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import jax

from ..cells import Cell
from ..tensor import Tensor
from .jit import _names_in, _objects_around, _Same

_DEEPEST = 10
_LONGEST = 1000
_OWN_ROOMS = ("jax", "numpy", "neurarust_jax")


class Environment:
    """The surroundings of functions.

    Attributes:
        tensors: plain tensors that the functions will probably read.
        key: the rest, to compare with: two environments with equal keys differ only in the values of tensors and cells.
    """

    def __init__(self, functions: Sequence[Any]):
        self.tensors: list[Tensor] = []
        self._numbers: dict[int, int] = {}
        self.key = tuple(self._look(f, 0) for f in functions)

    def _look(self, x: Any, depth: int) -> Any:
        if x is None or isinstance(x, bool | int | float | complex | str | bytes):
            return type(x), x
        if isinstance(x, Cell) or hasattr(x, "_cells") or isinstance(x, types.ModuleType | type | types.BuiltinFunctionType | jax.Array) or depth > _DEEPEST:
            return _Same(x)
        number = self._numbers.get(id(x))
        if number is not None:
            return number
        self._numbers[id(x)] = len(self._numbers)
        if isinstance(x, Tensor):
            self.tensors.append(x)
            return Tensor
        parts = self._parts(x, depth)
        return _Same(x) if parts is None else (type(x), *[p if isinstance(p, _Code) else self._look(p, depth + 1) for p in parts])

    @staticmethod
    def _parts(x: Any, depth: int) -> list[Any] | None:
        """What an object is made of; `None` if it is compared by identity."""
        if isinstance(x, types.FunctionType):
            if x.__module__ and x.__module__.partition(".")[0] in _OWN_ROOMS and not x.__closure__:
                return None
            contents = [c.cell_contents for c in x.__closure__ or () if _is_set(c)]
            named = [x.__globals__[n] for n in sorted(_names_in(x.__code__)) if n in x.__globals__]
            return [_Code(x.__code__), *contents, *named, *(x.__defaults__ or ()), *(x.__kwdefaults__ or {}).values()]
        if isinstance(x, types.MethodType):
            return [x.__self__, x.__func__]
        if isinstance(x, functools.partial):
            return [x.func, *x.args, *(part for item in x.keywords.items() for part in item)]
        if isinstance(x, tuple | list) and len(x) < _LONGEST:
            return list(x)
        if isinstance(x, dict) and len(x) < _LONGEST and all(isinstance(k, str | int) for k in x):
            return [part for item in x.items() for part in item]
        if "__wrapped__" in getattr(x, "__dict__", ()) and not isinstance(x, type):  # a function that was compiled or given its own derivative
            return [_Code(_Same(x)), *(part for part in vars(x).values() if isinstance(part, types.FunctionType | types.MethodType | functools.partial))]
        if depth <= 2 and type(x).__module__.partition(".")[0] not in ("builtins", *_OWN_ROOMS) and hasattr(x, "__dict__"):
            return [_Code(_Same(x)), *(part for item in vars(x).items() for part in item)]
        return None


class _Code:
    """A part of a key that is not looked into."""

    __slots__ = ("value",)

    def __init__(self, value: Any):
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Code) and self.value == other.value

    def __hash__(self) -> int:
        return hash(self.value)


def _is_set(cell: Any) -> bool:
    try:
        _ = cell.cell_contents
    except ValueError:
        return False
    return True


def cells_around(functions: Sequence[Any]) -> Iterator[Cell]:
    """Cells that functions will probably read."""
    for found in _objects_around(tuple(functions)):
        if isinstance(found, Cell):
            yield found
            leaf = found.__dict__.get("_kept_leaf")
            if leaf is not None:
                yield leaf
        else:
            yield from found._cells()


@contextmanager
def substituted(tensors: Sequence[Tensor], stand_ins: Sequence[Tensor]) -> Iterator[None]:
    """For the duration of a `with` block the tensors have the values and the places in the graph of others."""
    kept = [_taken(t) for t in tensors]
    for t, other in zip(tensors, stand_ins, strict=True):
        _give(t, _taken(other))
    try:
        yield
    finally:
        for t, fields in zip(tensors, kept, strict=True):
            _give(t, fields)


_FIELDS = ("_value", "_node", "_index", "_kept_leaf")


def _taken(tensor: Tensor) -> dict[str, Any]:
    return {name: value for name, value in tensor.__dict__.items() if name in _FIELDS}


def _give(tensor: Tensor, fields: dict[str, Any]) -> None:
    for name in _FIELDS:
        tensor.__dict__.pop(name, None)
    tensor.__dict__.update(fields)
