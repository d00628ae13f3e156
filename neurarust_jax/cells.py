"""Cells: the named places that hold a value and can change, and the state trace that a transformation reads and writes them under.

A cell is a `Parameter`, a `Buffer`, a random `Generator`, an entry of an optimizer's state, or the gradient of a leaf.
Outside a transformation a cell's value is `cell._state`. Under a transformation every read and write goes to a `StateTrace`, an overlay
over the real values: the function that JAX traces sees tracers there, while `_state` keeps what it had. So no tracer can stay in a
cell, whatever the function raises.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Iterable, Iterator
from itertools import count
from typing import Any

import jax

from .errors import TracedValueError

next_in_sequence = count().__next__  # orders recorded operations and the writes to cells under a trace


class Cell:
    """A place that holds one value: a `jax.Array`, or `None` while it is empty."""

    _state: Any = None
    _may_hold_tensor = False  # whether the value can be a Tensor with a graph

    def _read(self) -> Any:
        if not _traces:
            return self._state
        trace = _thread.trace
        return self._state if trace is None else trace.read(self)

    def _write(self, value: Any) -> None:
        trace = _thread.trace if _traces else None
        if trace is not None:
            trace.write(self, value)
            return
        if isinstance(value, jax.core.Tracer) and self._is_outside():
            raise TracedValueError(
                f"a {type(self).__name__} was written inside jax.jit, jax.lax.scan or the like, and its new value is only known there. Use nr.jit and the other "
                "transformations of neurarust_jax, which carry changes out, or pass the module as an argument and return it."
            )
        self._state = value

    def _is_outside(self) -> bool:
        """Whether the cell was made outside the transformation that writes it."""
        return not isinstance(self._state, jax.core.Tracer)


class Leaf(Cell):
    """Where the gradient of a leaf tensor is accumulated: the end of a path through the graph.

    Its value is a `jax.Array`, `None`, or, after `backward(create_graph=True)`, a Tensor with a graph of its own.
    """

    hooks: dict[int, Any] | None = None
    _may_hold_tensor = True

    def __init__(self, traced: bool = False):
        self.traced = traced  # whether the tensor it belongs to was made inside a transformation
        self.sequence = next_in_sequence()

    def _is_outside(self) -> bool:
        return not self.traced

    def __repr__(self) -> str:
        return "<AccumulateGrad>"


class _Thread(threading.local):
    trace: StateTrace | None = None


_thread = _Thread()
_traces = 0  # state traces under way in any thread, and one more while calls are watched; while it is 0 a read costs no thread-local look-up
_lock = threading.Lock()


class StateTrace:
    """Values of cells as one transformed function sees them.

    Args:
        values: the values that cells start with, in place of those outside.

    Attributes:
        values: the value of every cell that was read or written so far.
        read_cells: cells whose value from outside was asked for, in order.
        written_cells: cells that were written, in order, and when they were last.
        modules: modules that were called.
    """

    __slots__ = ("values", "read_cells", "written_cells", "modules", "parent")

    def __init__(self, values: dict[Cell, Any] | None = None):
        self.values: dict[Cell, Any] = dict(values or {})
        self.read_cells: dict[Cell, None] = {}
        self.written_cells: dict[Cell, int] = {}
        self.modules: dict[Any, None] = {}
        self.parent: StateTrace | None = None

    def read(self, cell: Cell) -> Any:
        """The value of `cell` as the function sees it; that of outside until it is written."""
        if cell not in self.written_cells:
            self.read_cells[cell] = None
            if cell not in self.values:
                self.values[cell] = cell._state if self.parent is None else self.parent.read(cell)
        return self.values[cell]

    def note_module(self, module: Any) -> None:
        """Note that the function depends on the plain attributes of `module`."""
        self.modules[module] = None
        if self.parent is not None:
            self.parent.note_module(module)

    def write(self, cell: Cell, value: Any) -> None:
        """Give `cell` a value that only the function sees."""
        self.written_cells[cell] = next_in_sequence()
        self.values[cell] = value

    def __enter__(self) -> StateTrace:
        global _traces
        with _lock:
            _traces += 1
        self.parent, _thread.trace = _thread.trace, self
        return self

    def __exit__(self, *exception: object) -> None:
        global _traces
        _thread.trace = self.parent
        with _lock:
            _traces -= 1


def watch_calls(on: bool) -> None:
    """Let calls of modules be followed also where nothing is traced, or no longer."""
    global _traces
    with _lock:
        _traces += 1 if on else -1


def current_trace() -> StateTrace | None:
    """The innermost state trace of this thread."""
    return _thread.trace if _traces else None


@contextlib.contextmanager
def outside_traces() -> Iterator[None]:
    """What runs in the `with` block belongs to no transformation: cells change for good, and operations on known values run at once."""
    suspended, _thread.trace = _thread.trace, None
    try:
        with jax.ensure_compile_time_eval():
            yield
    finally:
        _thread.trace = suspended


def write_all(cells: Iterable[Cell], values: Iterable[Any]) -> None:
    """Write `values` into `cells`, in the surrounding trace if there is one."""
    for cell, value in zip(cells, values, strict=True):
        cell._write(value)


# --- donation --------------------------------------------------------------------------------------------------------
# A program that writes a cell's new value into the old one's memory invalidates the old array. Who else may hold that array, a tensor made by
# `detach()` or a recorded graph, counts as a reference to it.


def donatable(values: list[Any]) -> list[Any]:
    """Values of cells that may be donated: copies of those that somebody else holds too. Call it with a fresh list and no other name for the values."""
    if not values or max(map(sys.getrefcount, values)) <= _REFERENCES:
        return values
    return [_unshared(values, i) for i in range(len(values))]


def _unshared(values: list[Any], i: int) -> Any:
    shared = max(map(sys.getrefcount, values[i : i + 1])) > _REFERENCES + 1  # the slice holds one more
    return jax.numpy.copy(values[i]) if shared and isinstance(values[i], jax.Array) else values[i]


def _references_of_unshared() -> int:
    """What `max(map(getrefcount, ...))` finds for a value that only its cell and the list hold."""
    cell = Cell()
    cell._state = object()
    values = [c._state for c in (cell,)]
    return max(map(sys.getrefcount, values))


_REFERENCES = _references_of_unshared()
