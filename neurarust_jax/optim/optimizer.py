"""`Optimizer`: PyTorch's interface over pure update rules, and the param groups and states behind it.

A subclass gives a rule: a pure function of one parameter, its gradient, its state and the hyperparameters. All parameters are updated in one compiled
call; inside `nr.jit` the rules become part of the surrounding program. Hyperparameters that are numbers are elements of one array a group, so that
changing them never compiles anew.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from itertools import count
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .. import cells, devices, dtypes
from ..autograd.engine import RemovableHandle
from ..autograd.graph import enable_grad
from ..cells import Cell
from ..errors import ArgumentError, ArgumentTypeError, StateDictError
from ..parameter import note_change
from ..tensor import Tensor, array_from, wrap


class ParamGroup(MutableMapping):
    """One group of parameters with its options: a mapping such as ``{"params": [...], "lr": 0.1}``.

    Options that are floats, or tuples of floats, are traced; whether they are 0, and all other options, are fixed in a compiled program.
    """

    def __init__(self, options: Mapping[str, Any]):
        self.params: list[Any] = options["params"]
        self._fixed: dict[str, Any] = {}
        self._places: dict[str, slice | int] = {}
        self._order: list[str] = ["params"]
        self._numbers = Cell()  # all traced options, in one float64 vector
        self._mirror: tuple[Any, np.ndarray] = (None, np.zeros(0))
        numbers: list[float] = []
        for name, value in options.items():
            if name == "params":
                continue
            self._order.append(name)
            value = _plain(value)
            if isinstance(value, float):
                self._places[name] = len(numbers)
                numbers.append(value)
            elif isinstance(value, tuple) and value and all(isinstance(v, float) for v in value):
                self._places[name] = slice(len(numbers), len(numbers) + len(value))
                numbers.extend(value)
            else:
                self._fixed[name] = value
        self._store(np.array(numbers, np.float64))

    def _store(self, numbers: np.ndarray) -> None:
        with dtypes.x64():
            state = jax.device_put(numbers)
        self._numbers._write(state)
        self._mirror = (state, numbers)

    def _present(self) -> np.ndarray:
        state = self._numbers._state
        if self._mirror[0] is not state:
            self._mirror = (state, np.asarray(state))
        return self._mirror[1]

    def __getitem__(self, name: str) -> Any:
        if name == "params":
            return self.params
        if name not in self._places:
            return self._fixed[name]
        place = self._places[name]
        if cells.current_trace() is not None:
            with dtypes.x64():
                return wrap(self._numbers._read()[place])
        found = self._present()[place]
        return float(found) if isinstance(place, int) else tuple(found.tolist())

    def __setitem__(self, name: str, value: Any) -> None:
        if name == "params":
            self.params = value
            return
        if name not in self._places:
            if name not in self._fixed:
                self._order.append(name)
            self._fixed[name] = _plain(value)
            note_change()
            return
        place = self._places[name]
        if cells.current_trace() is not None:
            with dtypes.x64():
                raw = value._value if isinstance(value, Tensor) else value
                self._numbers._write(self._numbers._read().at[place].set(jnp.asarray(raw, np.float64)))
            return
        numbers = self._present().copy()
        before = numbers[place] == 0
        numbers[place] = np.asarray(value._value) if isinstance(value, Tensor) else value
        self._store(numbers)
        if np.any(before != (numbers[place] == 0)):
            note_change()

    def __delitem__(self, name: str) -> None:
        self._fixed.pop(name)
        self._order.remove(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._order)

    def __len__(self) -> int:
        return len(self._order)

    def __repr__(self) -> str:
        return repr(dict(self))

    def _signature(self) -> Any:
        """What a compiled update depends on, beside arrays."""
        zeros = (self._present() == 0).tobytes() if not isinstance(self._numbers._state, jax.core.Tracer) else b""
        return (tuple((n, repr(v)) for n, v in self._fixed.items()), tuple(self._places), zeros)

    def options(self, numbers: Any) -> _Options:
        """The options as an update rule sees them, given the traced vector."""
        zero = self._present() == 0
        values = dict(self._fixed)
        for name, place in self._places.items():
            values[name] = None if isinstance(place, int) and zero[place] and name in _SWITCHED_OFF_BY_ZERO else numbers[place]
        return _Options(values)


_SWITCHED_OFF_BY_ZERO = {"weight_decay", "momentum"}


class _Options:
    """Options of a group by attribute; a traced one that is 0 and thereby switches something off is `None`."""

    def __init__(self, values: dict[str, Any]):
        self.__dict__.update(values)
        self._known: dict[Any, Any] = {}

    def __getattr__(self, name: str) -> Any:
        return self.__dict__[name]

    def once(self, name: str, compute: Callable[[], Any], like: Any, step: Any = None) -> Any:
        """A float64 scalar in the dtype of an array, computed once for all parameters that share the step."""
        key = (name, like.dtype, id(step))
        if key not in self._known:
            self._known[key] = jnp.asarray(compute()).astype(like.dtype), step
        return self._known[key][0]


def _plain(value: Any) -> Any:
    """Options in their usual form: 0-d tensors and NumPy numbers as floats, lists as tuples."""
    if isinstance(value, Tensor | np.generic | np.ndarray | jax.Array) or type(value).__module__ == "torch":
        value = value.item()
    if isinstance(value, list | tuple):
        value = tuple(map(_plain, value))
        return tuple(map(float, value)) if all(isinstance(v, int | float) and not isinstance(v, bool) for v in value) else value
    return value


class _States(MutableMapping):
    """`optimizer.state`: for each parameter a dict of the tensors that the optimizer keeps."""

    def __init__(self, optimizer: Optimizer):
        self._optimizer = optimizer

    def __getitem__(self, parameter: Any) -> dict[str, Any]:
        return self._optimizer._state_of(parameter)

    def __setitem__(self, parameter: Any, state: Mapping[str, Any]) -> None:
        self._optimizer._load_state_of(parameter, state)

    def __delitem__(self, parameter: Any) -> None:
        raise ArgumentError("an optimizer's state belongs to its parameters; make a new optimizer to start again")

    def __iter__(self) -> Iterator[Any]:
        return (p for group in self._optimizer.param_groups for p in group.params if self._optimizer._state_of(p))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __contains__(self, parameter: Any) -> bool:
        return any(p is parameter for p in self)


class Optimizer:
    """Base class of the optimizers.

    Args:
        params: parameters, or dicts that each hold ``"params"`` and options of their own.
        defaults: options of groups that do not give them.

    Attributes:
        param_groups: the groups, mappings of options.
        state: for each parameter a dict of what the optimizer keeps.
        defaults: the default options.
    """

    def __init__(self, params: Any, defaults: dict[str, Any]):
        self.defaults = defaults
        self.param_groups: list[ParamGroup] = []
        self.state = _States(self)
        self._slots: dict[int, dict[str, Cell]] = {}  # id of a parameter: its state's cells
        self._steps: dict[int, Cell] = {}  # id of a group: the number of steps of each of its parameters
        self._programs: dict[Any, Callable] = {}
        self._step_pre_hooks: OrderedDict[int, Callable] = OrderedDict()
        self._step_post_hooks: OrderedDict[int, Callable] = OrderedDict()
        if isinstance(params, Tensor):
            raise ArgumentTypeError("params argument given to the optimizer should be an iterable of Tensors or dicts, but got a Tensor; write [p]")
        groups = list(params)
        if not groups:
            raise ArgumentError("optimizer got an empty parameter list")
        if isinstance(groups[0], tuple) and isinstance(groups[0][0], str):
            groups = [p for _, p in groups]
        if not isinstance(groups[0], Mapping):
            groups = [{"params": groups}]
        for group in groups:
            self.add_param_group(group)

    # --- what subclasses give --------------------------------------------------------------------------------------

    def _counts_steps(self, group: ParamGroup) -> bool:
        """Whether the rule needs the number of the step."""
        return True

    def _initial_state(self, parameter: Any, group: ParamGroup) -> dict[str, Any]:
        """Arrays that the rule keeps for a parameter, by PyTorch's names."""
        return {}

    def _rule(self, parameter: Any, gradient: Any, state: dict[str, Any], step: Any, options: _Options) -> tuple[Any, dict[str, Any]]:
        """The new parameter and state. `step` counts from 1, in float64; `options` are float64 scalars."""
        raise NotImplementedError

    def _shared_places(self) -> list[Cell]:
        """Cells of a state that belongs to all parameters together."""
        return []

    # --- groups ----------------------------------------------------------------------------------------------------

    def add_param_group(self, param_group: Mapping[str, Any]) -> None:
        """Add a group of parameters with options of its own.

        Raises:
            TypeError, ValueError: a member is no leaf tensor, or stands in a group already.
        """
        if not isinstance(param_group, Mapping):
            raise ArgumentTypeError(f"param_group must be a dict, but got {type(param_group).__name__}")
        params = param_group["params"]
        if isinstance(params, set):
            raise ArgumentTypeError("optimizer parameters need to be organized in ordered collections, but a set has no order; write a list")
        params = [params] if isinstance(params, Tensor) else list(params)
        if params and isinstance(params[0], tuple):
            params = [p for _, p in params]
        for p in params:
            if not isinstance(p, Tensor):
                raise ArgumentTypeError(f"optimizer can only optimize Tensors, but one of the params is {type(p).__name__}")
            if not isinstance(p, Cell):
                raise ArgumentTypeError("optimizer can only change cells, and a Tensor's value never changes: write nr.nn.Parameter(x)")
        if len({id(p) for p in params}) != len(params):
            raise ArgumentError("optimizer contains a parameter group with duplicate parameters")
        if any(id(p) in self._slots for p in params):
            raise ArgumentError("some parameters appear in more than one parameter group")
        missing = [name for name, value in self.defaults.items() if value is _REQUIRED and name not in param_group]
        if missing:
            raise ArgumentError(f"parameter group didn't specify a value of required optimization parameter {missing[0]}")
        group = ParamGroup({"params": params, **self.defaults, **{k: v for k, v in param_group.items() if k != "params"}})
        self.param_groups.append(group)
        for p in params:
            slots = self._slots[id(p)] = {}
            with dtypes.x64():
                for name, value in self._initial_state(p, group).items():
                    slots[name] = Cell()
                    slots[name]._state = value
        if self._counts_steps(group):
            steps = self._steps[id(group)] = Cell()
            steps._state = np.zeros((), np.float32)  # one number for all, until one of them misses a step
        note_change()

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop the gradients of all parameters, or set them to zeros."""
        for group in self.param_groups:
            for p in group.params:
                if set_to_none:
                    p.grad = None
                elif p.grad is not None:
                    p.grad = p.grad * 0

    # --- the step --------------------------------------------------------------------------------------------------

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update the parameters by their gradients; those without one are left alone.

        Args:
            closure: computes the loss anew, with `backward()`, and returns it.

        Returns:
            What `closure` returned, or `None`.
        """
        for hook in self._step_pre_hooks.values():
            hook(self, (closure,) if closure is not None else (), {})
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        self._update()
        for hook in self._step_post_hooks.values():
            hook(self, (closure,) if closure is not None else (), {})
        return loss

    def _update(self) -> None:
        trace = cells.current_trace()
        if trace is not None:
            trace.note_module(self)
        plan, places, gradients, numbers = [], [], [], []
        for group in self.param_groups:
            with_gradient = []
            for i, p in enumerate(group.params):
                gradient = p._leaf()._read() if "_kept_leaf" in p.__dict__ else None
                if gradient is None:
                    continue
                with_gradient.append(i)
                gradients.append(gradient._value if isinstance(gradient, Tensor) else gradient)
                places.append(p)
                places.extend(self._slots[id(p)].values())
            if id(group) in self._steps:
                steps = self._steps[id(group)]
                if 0 < len(with_gradient) < len(group.params) and not np.ndim(steps._read()):
                    with dtypes.x64():
                        steps._write(jnp.broadcast_to(jnp.asarray(steps._read()), (len(group.params),)))
                places.append(steps)
            plan.append((group, tuple(with_gradient)))
            numbers.append(group._numbers._read())
        places += self._shared_places()
        values = [c._read() for c in places]
        if trace is not None or any(isinstance(v, jax.core.Tracer) for v in gradients):
            new = self._apply(plan, values, gradients, numbers)
        else:
            key = tuple((group._signature(), indices) for group, indices in plan)
            program = self._programs.get(key)
            if program is None:
                program = self._programs[key] = jax.jit(lambda values, gradients, numbers: self._apply(plan, values, gradients, numbers), donate_argnums=0)
            values = cells.donatable(values)
            previous = dtypes.enter_x64(True)
            try:
                new = program(values, gradients, numbers)
            finally:
                dtypes.leave_x64(previous)
        cells.write_all(places, new)

    def _apply(self, plan: list[tuple[ParamGroup, tuple[int, ...]]], values: list[Any], gradients: list[Any], numbers: list[Any]) -> list[Any]:
        """The update of all parameters as a pure function of flat lists."""
        with dtypes.x64():
            new: list[Any] = []
            left, gradients_left = iter(values), iter(gradients)
            for (group, indices), vector in zip(plan, numbers, strict=True):
                options = group.options(vector)
                rows = []
                for i in indices:
                    names = list(self._slots[id(group.params[i])])
                    rows.append((i, next(left), next(gradients_left), {name: next(left) for name in names}))
                steps = shared = None
                if id(group) in self._steps:
                    steps = jnp.asarray(next(left), np.float32)
                    if len(indices) == len(group.params):
                        steps = steps + 1
                    elif indices:
                        steps = steps.at[np.array(indices, np.int32)].add(1)
                    shared = steps.astype(np.float64)
                for i, p, gradient, state in rows:
                    step = None if shared is None else shared[i] if shared.ndim else shared
                    p, state = _on_real_parts(self._rule, p, gradient, state, step, options)
                    new.append(p)
                    new.extend(state.values())
                if steps is not None:
                    new.append(steps)
            return new

    # --- states ----------------------------------------------------------------------------------------------------

    def _group_of(self, parameter: Any) -> tuple[ParamGroup, int]:
        for group in self.param_groups:
            for i, p in enumerate(group.params):
                if p is parameter:
                    return group, i
        raise ArgumentError(f"the parameter of shape {tuple(parameter.shape)} is not in this optimizer")

    def _state_of(self, parameter: Any) -> dict[str, Any]:
        """The state of a parameter, empty before its first step."""
        group, i = self._group_of(parameter)
        state = {name: wrap(cell._read()) for name, cell in self._slots[id(parameter)].items()}
        if id(group) in self._steps:
            steps = np.asarray(self._steps[id(group)]._read())
            step = steps[i] if steps.ndim else steps
            if step == 0:
                return {}
            state = {"step": wrap(array_from(np.float32(step))), **state}
        return state

    def _load_state_of(self, parameter: Any, state: Mapping[str, Any]) -> None:
        group, i = self._group_of(parameter)
        for name, cell in self._slots[id(parameter)].items():
            if state.get(name) is not None:
                cell._write(array_from(array_from(state[name]), dtypes.from_numpy(cell._state.dtype)))
        if id(group) in self._steps and ("step" in state or state):
            steps = np.array(np.broadcast_to(self._steps[id(group)]._read(), (len(group.params),)))
            steps[i] = float(np.asarray(array_from(state["step"]))) if "step" in state else 1
            self._steps[id(group)]._write(array_from(steps if (steps != steps[0]).any() else steps[0]))

    def state_dict(self) -> dict[str, Any]:
        """States and options, in PyTorch's layout: ``{"state": {number: {...}}, "param_groups": [{..., "params": [numbers]}]}``."""
        numbers: dict[int, int] = {}
        for group in self.param_groups:
            for p in group.params:
                numbers[id(p)] = len(numbers)
        state = {numbers[id(p)]: self._state_of(p) for group in self.param_groups for p in group.params}
        groups = [{**{n: v for n, v in group.items() if n != "params"}, "params": [numbers[id(p)] for p in group.params]} for group in self.param_groups]
        return {"state": {n: s for n, s in state.items() if s}, "param_groups": groups}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Continue from what `state_dict` returned, here or in PyTorch.

        Raises:
            ValueError: the groups have other sizes. Nothing has been changed then.
        """
        groups = state_dict["param_groups"]
        sizes, given = [len(g.params) for g in self.param_groups], [len(g["params"]) for g in groups]
        if sizes != given:
            raise ArgumentError(
                f"loaded state dict contains a parameter group that doesn't match the size of optimizer's group: it has groups of {given} parameters, this "
                f"optimizer of {sizes}"
            )
        pairs = [(p, number) for group, saved in zip(self.param_groups, groups, strict=True) for p, number in zip(group.params, saved["params"], strict=True)]
        for p, number in pairs:
            for name, value in state_dict["state"].get(number, {}).items():
                shape = tuple(getattr(value, "shape", ()))
                cell = self._slots[id(p)].get(name)
                if cell is not None and value is not None and shape != tuple(cell._state.shape):
                    raise StateDictError(f"state {name!r} of parameter {number} has shape {shape}, and the parameter {tuple(p.shape)}")
        for group, saved in zip(self.param_groups, groups, strict=True):
            for name, value in saved.items():
                if name != "params":
                    group[name] = value
        for p, number in pairs:
            if number in state_dict["state"]:
                self._load_state_of(p, state_dict["state"][number])

    def to(self, device: Any) -> Optimizer:
        """Move the state to a device (or a `jax.sharding.Sharding`), as `Module.to` moves the parameters."""
        cells = [cell for slots in self._slots.values() for cell in slots.values()]
        with dtypes.x64():
            for cell in (*cells, *self._steps.values(), *self._shared_places(), *(group._numbers for group in self.param_groups)):
                cell._write(devices.put(cell._read(), device))
        return self

    def _cells(self) -> Iterator[Cell]:
        """Every cell that a step reads or writes."""
        for group in self.param_groups:
            yield group._numbers
            if id(group) in self._steps:
                yield self._steps[id(group)]
            for p in group.params:
                yield p  # type: ignore[misc]
                yield from self._slots[id(p)].values()
                if "_kept_leaf" in p.__dict__:
                    yield p._leaf()

    def _signature(self) -> Any:
        return [group._signature() for group in self.param_groups]

    def _holds_mutable_values(self) -> bool:
        return False

    # --- hooks, printing -------------------------------------------------------------------------------------------

    def register_step_pre_hook(self, hook: Callable) -> RemovableHandle:
        """Call ``hook(optimizer, args, kwargs)`` before every step."""
        return _register(self._step_pre_hooks, hook)

    def register_step_post_hook(self, hook: Callable) -> RemovableHandle:
        """Call ``hook(optimizer, args, kwargs)`` after every step."""
        return _register(self._step_post_hooks, hook)

    def __repr__(self) -> str:
        text = type(self).__name__ + " ("
        for i, group in enumerate(self.param_groups):
            text += f"\nParameter Group {i}\n"
            text += "".join(f"    {name}: {group[name]}\n" for name in sorted(group) if name != "params")
        return text + ")"


_REQUIRED = object()
_numbers = count()


def _register(hooks: OrderedDict[int, Callable], hook: Callable) -> RemovableHandle:
    number = next(_numbers)
    hooks[number] = hook
    return RemovableHandle(hooks, number)


def _on_real_parts(rule: Callable, p: Any, gradient: Any, state: dict[str, Any], step: Any, options: _Options) -> tuple[Any, dict[str, Any]]:
    """Apply a rule; to a complex parameter as to a real one with a last dimension of two, as PyTorch does."""
    if p.dtype.kind != "c":
        p_new, state_new = rule(p, gradient, state, step, options)
        return p_new.astype(p.dtype), {name: state_new[name].astype(value.dtype) for name, value in state.items()}

    def split(x: Any) -> Any:
        return jnp.stack([x.real, x.imag], -1) if x.dtype.kind == "c" else x

    p_new, state_new = rule(split(p), split(gradient), {name: split(value) for name, value in state.items()}, step, options)
    joined = {name: jax.lax.complex(v[..., 0], v[..., 1]) if state[name].dtype.kind == "c" else v for name, v in state_new.items()}
    return jax.lax.complex(p_new[..., 0], p_new[..., 1]), joined


def check(condition: bool, name: str, value: Any) -> None:
    """Raise PyTorch's error for an option out of its range."""
    if not condition:
        raise ArgumentError(f"Invalid {name}: {value}")


def zeros_like(parameter: Any) -> Any:
    """A state array in the shape and dtype, and on the device, of a parameter."""
    return jnp.zeros_like(parameter._value)


