"""`ParamGroup`: parameters and their options, and how an update rule sees those.

Every number among the options is an element of one float64 vector, a cell. So a changed learning rate is data to a compiled step, and compiles nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, MutableMapping
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from .. import cells, dtypes
from ..cells import Cell
from ..errors import ArgumentError, TracedValueError
from ..parameter import note_change
from ..tensor import Tensor, array_from, wrap

__all__ = ["ParamGroup"]


class _Fixed(NamedTuple):
    """An element of an option that is no number."""

    value: Any


class ParamGroup(MutableMapping):
    """One group of parameters with its options: a mapping such as ``{"params": [...], "lr": 0.1}``.

    The numbers of the options that the optimizer's defaults name are traced; what else these options hold is fixed in a compiled program, and a change
    compiles another one. Entries of other names are kept as they are.

    Args:
        options: the entries, ``"params"`` among them.
        ruled: names of the options that the update rule reads.
        fixed: those of them that shape the program, though they are numbers.

    Attributes:
        params: the parameters.
        steps: how many steps each parameter has made: one number for all, or one for each; `None` if nobody asks.
        prepared: how many parameters the optimizer has made states for.
        on_change: called with the group when another state may be needed.
    """

    def __init__(self, options: Mapping[str, Any], ruled: Collection[str], fixed: Collection[str] = ()):
        self.params: list[Any] = list(options["params"])
        self.steps: Cell | None = None
        self.prepared = -1
        self.on_change: Callable[[ParamGroup], None] | None = None
        self._ruled = frozenset(ruled)
        self._fixed = frozenset(fixed)
        self._read_while_tracing: set[str] = set()  # entries of other names that compiled programs depend on
        self._given = {name: usual(value) for name, value in options.items() if name != "params"}
        self._numbers = Cell()
        self._lay_out()

    def _lay_out(self) -> None:
        """Give every number its place in the vector."""
        numbers: list[float] = []
        self._places = {name: place for name, value in self._given.items() if (place := self._place(name, value, numbers)) is not None}
        self._known_signature: Any = None
        self._store(np.array(numbers, np.float64))

    def _place(self, name: str, value: Any, numbers: list[float]) -> Any:
        """Where the numbers of an option stand: an index, or a tuple of indices and fixed elements; `None` if it has no numbers."""
        if name not in self._ruled or name in self._fixed:
            return None
        known = len(numbers)
        place = _place(value, numbers)
        return place if len(numbers) > known else None

    def _store(self, numbers: np.ndarray) -> None:
        old = self._numbers._state
        with dtypes.x64():
            state = jax.device_put(numbers, old.sharding if getattr(old, "committed", False) else None)
        self._numbers._state = state
        self._mirror = state, numbers

    def _present(self) -> np.ndarray:
        """The vector outside any trace, on the host."""
        state = self._numbers._state
        if self._mirror[0] is not state:
            self._mirror = state, np.asarray(state)
        return self._mirror[1]

    # --- the mapping -----------------------------------------------------------------------------------------------

    def __getitem__(self, name: str) -> Any:
        if name == "params":
            return self.params
        tracing = cells.current_trace() is not None
        given = self._given[name]
        if name not in self._places:
            if tracing and name not in self._ruled:
                self._read_while_tracing.add(name)
            return given
        if tracing:
            with dtypes.x64():
                return _map_numbers(wrap, _pick(self._places[name], self._numbers._read()))
        return _as_given(given, self._places[name], self._present())

    def present(self) -> dict[str, Any]:
        """All options as they are outside any trace."""
        numbers = self._present()
        return {name: _as_given(given, self._places[name], numbers) if name in self._places else given for name, given in self._given.items()}

    def __setitem__(self, name: str, value: Any) -> None:
        self.update({name: value})

    def update(self, *mappings: Any, **named: Any) -> None:
        """Set several options at once."""
        changes = {name: usual(value) for name, value in dict(*mappings, **named).items()}
        if "params" in changes:
            self.params, self.prepared = list(changes.pop("params")), -1
        if cells.current_trace() is not None:
            changes = self._write_traced(changes)
        before = self._present()
        numbers, fits = before.copy(), True
        for name, value in changes.items():
            fresh: list[float] = []
            form = _form(self._place(name, value, fresh), value)
            if name not in self._given or form != _form(self._places.get(name), self._given[name]):
                fits = fits and name not in self._ruled | self._read_while_tracing
            elif fresh:
                numbers[_indices(self._places[name])] = fresh
        if fits:
            self._given.update(changes)
            if not np.array_equal(numbers, before, equal_nan=True):
                self._store(numbers)
            zeros_stay = np.array_equal(numbers == 0, before == 0)
        else:
            self._given = {**self.present(), **changes}
            self._lay_out()
            note_change()
            zeros_stay = False
        if self.on_change is not None and not (zeros_stay and self.prepared == len(self.params)):
            self.on_change(self)

    def _write_traced(self, changes: dict[str, Any]) -> dict[str, Any]:
        """Write numbers under a trace, and return the other changes."""
        left = {}
        for name, value in changes.items():
            place = self._places.get(name)
            values = value if isinstance(value, tuple) else (value,)
            if place is not None:
                values = [v for v, p in zip(values, place if isinstance(place, tuple) else (place,), strict=True) if not isinstance(p, _Fixed)]
                with dtypes.x64():
                    raw = [jnp.asarray(v._value if isinstance(v, Tensor) else v, np.float64).reshape(()) for v in values]
                    self._numbers._write(self._numbers._read().at[np.array(_indices(place))].set(jnp.stack(raw)))
            elif any(isinstance(v, Tensor) and isinstance(v._value, jax.core.Tracer) for v in values):
                raise TracedValueError(
                    f"option {name!r} of a param group was set to a traced tensor, whose value is known only inside the transformation. Only options that are "
                    "numbers from the start can be set there: give it a number when you make the optimizer."
                )
            else:
                left[name] = value
        return left

    def setdefault(self, name: str, default: Any = None) -> Any:
        """The option; `default`, which it is set to, if there is none."""
        if name != "params" and name not in self._given:
            self[name] = default
        return self[name]

    def __delitem__(self, name: str) -> None:
        if name == "params":
            raise ArgumentError("a param group without parameters is none: its 'params' cannot be deleted")
        current = self.present()
        del current[name]
        self._given = current
        self._lay_out()
        note_change()

    def __contains__(self, name: object) -> bool:
        return name == "params" or name in self._given

    def __iter__(self) -> Iterator[str]:
        yield "params"
        yield from self._given

    def __len__(self) -> int:
        return 1 + len(self._given)

    def __repr__(self) -> str:
        return repr(dict(self))

    def __getstate__(self) -> dict[str, Any]:
        steps = None if self.steps is None else np.asarray(self.steps._state)
        return {"params": self.params, "options": self.present(), "steps": steps, "ruled": self._ruled, "fixed": self._fixed}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__({"params": state["params"], **state["options"]}, state["ruled"], state["fixed"])
        if state["steps"] is not None:
            self.steps = Cell()
            self.steps._state = state["steps"]

    # --- what a compiled update sees -------------------------------------------------------------------------------

    def signature(self) -> Any:
        """What a compiled update depends on, beside arrays."""
        names = self._ruled | self._read_while_tracing
        if self._known_signature is None or self._known_signature[0] != len(names):
            form = tuple((name, _form(self._places.get(name), value)) for name, value in self._given.items() if name in names)
            self._known_signature = len(names), form
        return self._known_signature[1]

    def ruling(self, numbers: Any) -> dict[str, Any]:
        """The options that the rule reads, given the traced vector."""
        return {
            name: _pick(self._places[name], numbers) if name in self._places else given for name, given in self._given.items() if name in self._ruled
        }


class Options:
    """The options of a group as a rule sees them: attributes, numbers being float64 scalars.

    Attributes:
        step: the number of the step, counted from 1; `None` if the optimizer counts none.
    """

    step: Any

    def __init__(self, values: dict[str, Any], step: Any):
        self.__dict__.update(values)
        self.step = step

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...


class Numbers:
    """The numbers among a group's options, and those derived from them, in one dtype. Each is converted once for all parameters of that dtype.

    Attributes:
        dtype: the dtype of the parameter, which may be a narrower one than that of the numbers.
    """

    def __init__(self, options: Options, derived: Mapping[str, Any], dtype: Any, wide: Any):
        self._options, self._derived, self._wide = options, derived, wide
        self.dtype = dtype

    def exact(self, name: str) -> Any:
        """A number as it was computed, in float64."""
        return self._derived[name] if name in self._derived else getattr(self._options, name)

    def once(self, name: str, compute: Callable[[], Any]) -> Any:
        """What `compute` returns, computed once for all parameters of the dtype."""
        if name not in self.__dict__:
            self.__dict__[name] = compute()
        return self.__dict__[name]

    def __getattr__(self, name: str) -> Any:
        number = self.__dict__[name] = lax.convert_element_type(jnp.asarray(self.exact(name)), self._wide)
        return number


# --- places of numbers ---------------------------------------------------------------------------------------------


def usual(value: Any) -> Any:
    """An option as it is kept: arrays (PyTorch's too) as tensors, NumPy's numbers as Python's, lists of numbers as tuples."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, list | tuple):
        elements = tuple(map(usual, value))
        return elements if isinstance(value, tuple) or any(_indices(_place(e, [])) for e in elements) else value
    if isinstance(value, Tensor):
        return value.detach()
    if hasattr(value, "shape") and (hasattr(value, "__dlpack__") or hasattr(value, "__array__")):
        return wrap(array_from(value))
    return value


def _place(value: Any, numbers: list[float]) -> Any:
    if isinstance(value, tuple):
        return tuple(_place(element, numbers) for element in value)
    if isinstance(value, bool) or not (isinstance(value, int | float) or (isinstance(value, Tensor) and value.numel() == 1)):
        return _Fixed(value)
    numbers.append(float(value))
    return len(numbers) - 1


def _indices(place: Any) -> list[int]:
    if isinstance(place, _Fixed):
        return []
    return [place] if isinstance(place, int) else [i for element in place for i in _indices(element)]


def _form(place: Any, value: Any) -> Any:
    """A place without its indices: what is fixed of an option."""
    if place is None or isinstance(place, _Fixed):
        return type(value), repr(value)
    return "number" if isinstance(place, int) else tuple(map(_form, place, value))


def _pick(place: Any, numbers: Any) -> Any:
    if isinstance(place, _Fixed):
        return place.value
    if isinstance(place, int):
        return lax.index_in_dim(numbers, place, keepdims=False)
    return tuple(_pick(element, numbers) for element in place)


def _map_numbers(function: Callable[[Any], Any], picked: Any) -> Any:
    if isinstance(picked, tuple):
        return tuple(_map_numbers(function, element) for element in picked)
    return function(picked) if isinstance(picked, jax.Array) else picked


def _as_given(given: Any, place: Any, numbers: np.ndarray) -> Any:
    """The present value of an option: the very object that was given, unless a compiled step has changed the number since."""
    if isinstance(place, _Fixed):
        return given
    if isinstance(place, tuple):
        return tuple(map(lambda g, p: _as_given(g, p, numbers), given, place))
    number = float(numbers[place])
    if float(given) == number:
        return given
    return wrap(array_from(np.full(given.shape, number), given.dtype)) if isinstance(given, Tensor) else number
