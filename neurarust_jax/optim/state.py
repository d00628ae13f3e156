"""`optimizer.state`: what an optimizer keeps for each parameter, by PyTorch's names.

Tensors are kept as `Buffer`s and numbers in cells too, so that a compiled step reads and writes them; anything else is kept as it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from .. import cells, dtypes
from ..cells import Cell
from ..errors import ArgumentError
from ..parameter import Buffer
from ..tensor import Tensor, array_from, wrap

if TYPE_CHECKING:
    from .groups import ParamGroup
    from .optimizer import Optimizer

__all__ = ["ParameterState", "States"]


class _Number(Cell):
    """An entry that was given as a Python number. It is read as one outside of traces, and as a tensor inside."""

    def __init__(self, value: Any = None):
        self._state = value

    def read(self) -> Any:
        value = self._read()
        return wrap(value) if isinstance(value, jax.core.Tracer) else np.asarray(value).item()

    def __reduce__(self) -> Any:
        return _Number, (np.asarray(self._state),)


class ParameterState(MutableMapping):
    """What an optimizer keeps for one parameter. Reading an entry gives the place itself, so that its in-place methods work; assigning writes it.

    As in PyTorch it is empty before the parameter's first step.

    Attributes:
        names: the entries that the update rule reads and writes.
        cells: entries that are tensors or numbers.
        others: all other entries.
    """

    def __init__(self, optimizer: Optimizer, group: ParamGroup, index: int):
        self.optimizer = optimizer
        self.group = group
        self.index = index
        self.names: tuple[str, ...] = ()
        self.cells: dict[str, Cell] = {}
        self.others: dict[str, Any] = {}

    # the count of steps is the group's

    @property
    def steps(self) -> Any:
        """How many steps the parameter has made; `None` if that is not counted."""
        if self.group.steps is None:
            return None
        counted = self.group.steps._read()
        if not isinstance(counted, jax.core.Tracer):
            counted = np.asarray(counted)
        return counted[self.index] if np.ndim(counted) else counted

    def set_steps(self, steps: Any) -> None:
        """Set how many steps the parameter has made."""
        counted = self.group.steps
        assert counted is not None
        with dtypes.x64():
            if cells.current_trace() is not None:
                every = jax.numpy.broadcast_to(counted._read(), (len(self.group.params),))
                counted._write(every.at[self.index].set(steps))
                return
        every = np.array(np.broadcast_to(counted._state, (len(self.group.params),)))
        every[self.index] = steps
        counted._write(every[0] if (every == every[0]).all() else every)

    @property
    def _begun(self) -> bool:
        if self.optimizer._has_state_from_the_start or not self.names:
            return True
        steps = self.steps
        return steps is None or isinstance(steps, jax.core.Tracer) or bool(steps != 0)

    @property
    def _shows_steps(self) -> bool:
        return self.group.steps is not None and self.optimizer._shows_steps

    def __getitem__(self, name: str) -> Any:
        if name not in self:
            raise KeyError(name)
        if name == "step" and self._shows_steps:
            steps = self.steps
            return wrap(steps if isinstance(steps, jax.core.Tracer) else array_from(np.asarray(steps)))
        cell = self.cells.get(name)
        if cell is None:
            return self.others[name]
        return cell.read() if isinstance(cell, _Number) else cell

    def __setitem__(self, name: str, value: Any) -> None:
        cell = self.cells.get(name)
        if value is cell and cell is not None:
            return
        if name == "step" and self._shows_steps:
            self.set_steps(_array(value) if _is_array(value) else value)
        elif _is_array(value):
            traced_number = isinstance(cell, _Number) and cells.current_trace() is not None and not np.shape(value)
            self._write(name, _array(value), cell if traced_number or isinstance(cell, Buffer) else Buffer())
        elif isinstance(value, int | float) and not isinstance(value, bool):
            self._write(name, np.asarray(value), cell if isinstance(cell, _Number) else _Number())
        else:
            self.cells.pop(name, None)
            self.others[name] = value
            self.optimizer._note_structure()

    def _write(self, name: str, array: Any, cell: Any) -> None:
        if cell is not self.cells.get(name):
            cell._state = None  # until it is written: in a compiled step, until its first run is over
            self.cells[name] = cell
            self.others.pop(name, None)
            self.optimizer._note_structure(cell)
        cell._write(array)

    def __delitem__(self, name: str) -> None:
        if name in self.names or (name == "step" and self._shows_steps):
            raise ArgumentError(f"the update rule of {type(self.optimizer).__name__} needs {name!r}; to start again write optimizer.state[p].clear()")
        (self.cells if name in self.cells else self.others).pop(name)
        self.optimizer._note_structure()

    def __iter__(self) -> Iterator[str]:
        if not self._begun:
            return
        if self._shows_steps:
            yield "step"
        yield from (name for name, cell in self.cells.items() if cell._read() is not None)
        yield from self.others

    def __contains__(self, name: object) -> bool:
        return any(name == known for known in self)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __repr__(self) -> str:
        return repr(dict(self))

    def setdefault(self, name: str, default: Any = None) -> Any:
        """The entry; made from `default` if there is none."""
        if name not in self:
            self[name] = default
        return self[name]

    def clear(self) -> None:
        """Forget all, as if the parameter had made no step."""
        extra = [name for name in self.cells if name not in self.names]
        for name in extra:
            del self.cells[name]
        if extra or self.others:
            self.others.clear()
            self.optimizer._note_structure()
        options, parameter = self.group.present(), self.group.params[self.index]
        with cells.outside_traces(), dtypes.x64():
            for name in self.names:
                self.cells[name]._write(self.optimizer._initial_state(name, parameter, options))
        if self.group.steps is not None:
            self.set_steps(0)

    def present(self) -> dict[str, Any]:
        """A dict of the entries as they are now, tensors as values."""
        return {name: value.detach() if isinstance(value, Tensor) else value for name, value in self.items()}

    def load(self, saved: Mapping[str, Any]) -> None:
        """Take the entries of a state dict, ours or PyTorch's. Floating-point tensors get the dtype of the parameter, or keep that of the rule."""
        self.clear()
        parameter = self.group.params[self.index]
        known = [name for name in self.names if saved.get(name) is not None]
        if self.group.steps is not None and not self._shows_steps:
            self.set_steps(bool(known))  # the rule asks only whether there was a step
        for name, value in saved.items():
            if value is None and name in self.names:
                continue
            if name == "step" and self._shows_steps:
                self.set_steps(float(value if value is not None else 0))
            elif name in self.names:
                self.cells[name]._write(array_from(_array(value), dtypes.from_numpy(self.cells[name]._state.dtype)))
            else:
                self[name] = _loaded(value, parameter)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "optimizer"}


class States(MutableMapping):
    """`optimizer.state`: a `ParameterState` for each parameter."""

    def __init__(self, states: dict[Any, ParameterState]):
        self._states = states

    def __getitem__(self, parameter: Any) -> ParameterState:
        if parameter not in self._states:
            raise KeyError(f"the parameter of shape {tuple(getattr(parameter, 'shape', ()))} is not in this optimizer")
        return self._states[parameter]

    def __setitem__(self, parameter: Any, state: Mapping[str, Any]) -> None:
        self[parameter].load(dict(state))

    def __delitem__(self, parameter: Any) -> None:
        self[parameter].clear()

    def clear(self) -> None:
        """Forget all, as if no step had been made."""
        for state in self._states.values():
            state.clear()

    def __iter__(self) -> Iterator[Any]:
        return (parameter for parameter, state in self._states.items() if len(state))

    def __contains__(self, parameter: object) -> bool:
        return parameter in self._states and len(self._states[parameter]) > 0

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __repr__(self) -> str:
        return repr(dict(self))


class Snapshot:
    """All that an optimizer holds, to be put back if loading a state dict fails halfway."""

    def __init__(self, optimizer: Optimizer):
        self._optimizer = optimizer
        self._groups = [(group, group.present(), group.steps, group.prepared) for group in optimizer.param_groups]
        self._states = [(state, state.names, dict(state.cells), dict(state.others)) for state in optimizer._states.values()]
        counts = [group.steps for group in optimizer.param_groups if group.steps is not None]
        places = [*counts, *(cell for _, _, kept, _ in self._states for cell in kept.values()), *optimizer._shared_places()]
        self._values = [(cell, cell._state) for cell in places]

    def put_back(self) -> None:
        """Undo every change since."""
        for group, options, steps, prepared in self._groups:
            group._given = options
            group._lay_out()
            group.steps, group.prepared = steps, prepared
        for state, names, kept, others in self._states:
            state.names, state.cells, state.others = names, kept, others
        for cell, value in self._values:
            cell._state = value
        self._optimizer._note_structure()


def _is_array(value: Any) -> bool:
    return isinstance(value, Tensor | jax.Array | np.ndarray) or (hasattr(value, "__dlpack__") and hasattr(value, "shape"))


def _array(value: Any) -> Any:
    return value.detach()._value if isinstance(value, Tensor) else array_from(value, copy=True)  # PyTorch's tensors would change later


def _loaded(value: Any, parameter: Any) -> Any:
    """An entry of a state dict: floating-point tensors in the dtype of the parameter, as PyTorch casts them."""
    if isinstance(value, list | tuple):
        return type(value)(_loaded(element, parameter) for element in value)
    if isinstance(value, dict):
        return {name: _loaded(element, parameter) for name, element in value.items()}
    if not _is_array(value):
        return value
    array = _array(value)
    return wrap(array_from(array, parameter.dtype) if parameter.is_floating_point() else array)
