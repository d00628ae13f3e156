"""`Optimizer`: PyTorch's interface over pure update rules.

A subclass gives a rule: a pure function of one parameter, its gradient, its state and the hyperparameters. All parameters are updated in one compiled
call; inside `nr.jit` the rules become part of the surrounding program. Options are in `groups.py`, states in `state.py`.
"""

from __future__ import annotations

import functools
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import count
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from .. import cells, devices, dtypes
from ..autograd.engine import RemovableHandle
from ..autograd.graph import enable_grad
from ..cells import Cell
from ..errors import ArgumentError, ArgumentTypeError, DtypeError, OptimizerError, StateDictError
from ..parameter import Buffer, UninitializedTensorMixin, note_change
from ..tensor import Tensor
from .groups import Numbers, Options, ParamGroup
from .state import ParameterState, Snapshot, States

__all__ = ["Optimizer", "register_optimizer_step_post_hook", "register_optimizer_step_pre_hook"]

_global_pre_hooks: OrderedDict[int, Callable] = OrderedDict()
_global_post_hooks: OrderedDict[int, Callable] = OrderedDict()
_hook_numbers = count()


class _Required:
    def __repr__(self) -> str:
        return "<required parameter>"


required: Any = _Required()
"""The default of an option that every group has to give."""


def _with_hooks(step: Callable) -> Callable:
    """A `step` method that calls the hooks around it."""

    @functools.wraps(step)
    def stepped(self: Optimizer, *arguments: Any, **named: Any) -> Any:
        if self._stepping:  # a subclass's step calls that of its base
            return step(self, *arguments, **named)
        self._opt_called = True  # PyTorch's name: schedulers look at it
        trace = cells.current_trace()
        if trace is not None:
            trace.note_module(self)
        given: tuple = (self, *arguments)
        for hook in (*_global_pre_hooks.values(), *self._step_pre_hooks.values()):
            replaced = hook(self, given, named)
            if replaced is not None:
                if not isinstance(replaced, tuple) or len(replaced) != 2:
                    raise OptimizerError(f"a step pre-hook must return None or a tuple of (new_args, new_kwargs), but {hook} returned {replaced}")
                given, named = replaced
        self._stepping = True
        try:
            result = step(*given, **named)
        finally:
            self._stepping = False
        for hook in (*self._step_post_hooks.values(), *_global_post_hooks.values()):
            hook(self, given, named)
        return result

    stepped._notes_call = True  # type: ignore[attr-defined]
    return stepped


class Optimizer:
    """Base class of the optimizers.

    A subclass may also be written as in PyTorch: its `step` goes through `param_groups` and keeps what it needs in `state[p]`, in eager mode and under `nr.jit`.

    Args:
        params: parameters, pairs of name and parameter, or dicts that each hold either under ``"params"`` and options of their own.
        defaults: options of groups that do not give them.

    Attributes:
        param_groups: the groups, mappings of options.
        state: for each parameter a mapping of what the optimizer keeps.
        defaults: the default options.

    Raises:
        TypeError, ValueError: the parameters are none, or stand in several places.

    Examples:
        >>> import neurarust_jax as nr
        >>> class Momentum(nr.optim.Optimizer):
        ...     def __init__(self, params, lr=0.1):
        ...         super().__init__(params, {"lr": lr})
        ...     @nr.no_grad()
        ...     def step(self, closure=None):
        ...         for group in self.param_groups:
        ...             for p in group["params"]:
        ...                 buffer = self.state[p].setdefault("buffer", nr.zeros_like(p))
        ...                 buffer.mul_(0.9).add_(p.grad)
        ...                 p.add_(buffer, alpha=-group["lr"])
        >>> p = nr.nn.Parameter(nr.tensor([1.0]))
        >>> optimizer = Momentum([p])
        >>> for _ in range(2):
        ...     optimizer.zero_grad()
        ...     (p * p).sum().backward()
        ...     optimizer.step()
        >>> p.detach()
        tensor([0.4600])
    """

    _fixed_options: tuple[str, ...] = ()  # numbers among the options that shape the program
    _shows_steps = True  # whether the count of steps is an entry of the state
    _has_state_from_the_start = False  # whether the state shows before the first step
    _takes_complex = True
    _looks_at_wholes = False  # whether the rule computes an element from others: of a stack of layers it is given one at a time
    _settings: Any = None  # what else an eager update is compiled for

    def __init__(self, params: Any, defaults: dict[str, Any]):
        self.defaults = defaults
        self.param_groups: list[ParamGroup] = []
        self._states: dict[Any, ParameterState] = {}
        self._structure = 0  # counts changes of what the states hold
        self._pending: list[Cell] = []  # places made inside a compiled function that has not run yet
        self._stepping = False
        self._forget_programs_and_hooks()
        if isinstance(params, Tensor):
            raise ArgumentTypeError("params argument given to the optimizer should be an iterable of Tensors or dicts, but got a Tensor; write [p]")
        groups = list(params)
        if not groups:
            raise ArgumentError("optimizer got an empty parameter list")
        if not isinstance(groups[0], Mapping):
            groups = [{"params": groups}]
        for group in groups:
            self.add_param_group(group)

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "step" in cls.__dict__:
            cls.step = _with_hooks(cls.step)  # type: ignore[method-assign]

    def _forget_programs_and_hooks(self) -> None:
        self._programs: dict[Any, Callable] = {}
        self._step_pre_hooks: OrderedDict[int, Callable] = OrderedDict()
        self._step_post_hooks: OrderedDict[int, Callable] = OrderedDict()
        self._state_dict_pre_hooks: OrderedDict[int, Callable] = OrderedDict()
        self._state_dict_post_hooks: OrderedDict[int, Callable] = OrderedDict()
        self._load_state_dict_pre_hooks: OrderedDict[int, Callable] = OrderedDict()
        self._load_state_dict_post_hooks: OrderedDict[int, Callable] = OrderedDict()

    # --- what subclasses give --------------------------------------------------------------------------------------

    def _counts_steps(self, options: Mapping[str, Any]) -> bool:
        """Whether the rule asks for the number of the step."""
        return type(self)._rule is not Optimizer._rule

    def _state_names(self, parameter: Any, options: Mapping[str, Any]) -> Sequence[str]:
        """Entries of a parameter's state that the rule reads and writes, by PyTorch's names."""
        return ()

    def _initial_state(self, name: str, parameter: Any, options: Mapping[str, Any]) -> Any:
        """The array that an entry starts with."""
        return jnp.zeros_like(parameter._value)

    def _derived(self, options: Options) -> dict[str, Any]:
        """Numbers that the rule needs beside the options, computed in float64, once for all parameters."""
        return {}

    def _rule(self, parameter: Any, gradient: Any, state: dict[str, Any], numbers: Numbers, options: Options) -> tuple[Any, dict[str, Any]]:
        """The new parameter, and those entries of its state that are new.

        Args:
            parameter, gradient, state: real arrays. Of a complex parameter come the real and the imaginary parts, in a last dimension; a parameter of 16 bits
                comes in float32. With `maximize` the gradient has been negated.
            numbers: options, and what `_derived` returned, in the dtype of the parameter.
            options: the same as float64 scalars, and all options that are no numbers.
        """
        raise NotImplementedError

    def _shared_places(self) -> list[Cell]:
        """Cells of a state that belongs to all parameters together."""
        return []

    # --- groups ----------------------------------------------------------------------------------------------------

    def add_param_group(self, param_group: Mapping[str, Any]) -> None:
        """Add a group of parameters with options of its own.

        Args:
            param_group: a dict: parameters, or pairs of name and parameter, under ``"params"``, and options.

        Raises:
            TypeError: a member is no parameter.
            ValueError: a parameter stands in a group already, or some have names and some have not.
        """
        if not isinstance(param_group, Mapping):
            raise ArgumentTypeError(f"param_group must be a dict, but got {type(param_group)}")
        params = param_group["params"]
        if isinstance(params, set):
            raise ArgumentTypeError("optimizer parameters need to be organized in ordered collections, but a set has no order; write a list")
        members = [params] if isinstance(params, Tensor) else list(params)
        names = [m[0] for m in members if isinstance(m, tuple)]
        params = [m[1] if isinstance(m, tuple) else m for m in members]
        if names and len(names) != len(params):
            raise ArgumentError("all optimizer params should be with/without names. Some param names are missing")
        for p in params:
            self._check(p)
        options = {**self.defaults, **{name: value for name, value in param_group.items() if name != "params"}}
        if names:
            options["param_names"] = names
        for name, value in options.items():
            if value is required:
                raise ArgumentError(f"parameter group didn't specify a value of required optimization parameter {name}")
        if len(set(params)) != len(params):
            warnings.warn("optimizer contains a parameter group with duplicate parameters; each is changed once a step. Leave each in once.", stacklevel=3)
            first = {p: position for position, p in reversed(list(enumerate(params)))}
            kept = [position for position, p in enumerate(params) if first[p] == position]
            params = [params[position] for position in kept]
            if names:
                options["param_names"] = [names[position] for position in kept]
        if any(("param_names" in group) != ("param_names" in options) for group in self.param_groups):
            with_or_without = "with names" if "param_names" in options else "without names"
            raise ArgumentError(
                f"all optimizer param groups should be with/without names. cannot add param group {with_or_without} to the optimizer"
            )
        if any(p in self._states for p in params):
            raise ArgumentError("some parameters appear in more than one parameter group")
        group = ParamGroup({"params": params, **options}, self.defaults, self._fixed_options)
        group.on_change = self._prepare
        self.param_groups.append(group)
        self._prepare(group)
        self._note_structure()

    def _check(self, p: Any) -> None:
        if not isinstance(p, Tensor):
            raise ArgumentTypeError(f"optimizer can only optimize Tensors, but one of the params is {type(p).__name__}")
        if not p.is_leaf:
            raise ArgumentError("can't optimize a non-leaf Tensor")
        if not isinstance(p, Cell):
            raise ArgumentTypeError("optimizer can only change cells, and a Tensor's value never changes: write nr.nn.Parameter(x)")

    def _prepare(self, group: ParamGroup) -> None:
        """Make the states that the rule needs with the options as they are, where they are missing."""
        options = group.present()
        earlier = {p: state for p, state in self._states.items() if state.group is group}
        made = list(map(id, earlier)) != list(map(id, group.params))
        if made:  # the group has other parameters than before
            counts = [earlier[p].steps if p in earlier else 0 for p in group.params]
            for p in earlier.keys() - set(group.params):
                del self._states[p]
            if group.steps is not None and counts:
                differ = len({*map(float, counts)}) > 1
                group.steps._write(np.array(counts if differ else counts[0], scalar_dtype()))
        for index, p in enumerate(group.params):
            state = self._states.get(p)
            if state is None:
                state = self._states[p] = ParameterState(self, group, index)
            state.index = index
            if isinstance(p, UninitializedTensorMixin):
                continue
            missing = [name for name in self._state_names(p, options) if name not in state.names]
            with cells.outside_traces(), dtypes.x64():
                for name in missing:
                    state.cells[name] = buffer = Buffer()
                    buffer._state = self._initial_state(name, p, options)
            made |= bool(missing)
            state.names += tuple(missing)
        if group.steps is None and self._counts_steps(options):
            group.steps = Cell()  # one number for all parameters, until one of them misses a step
            group.steps._state = np.zeros((), scalar_dtype())
            made = True
        lazy = any(isinstance(p, UninitializedTensorMixin) for p in group.params)
        group.prepared = -1 if lazy else len(group.params)
        if made:
            self._note_structure()

    def _note_structure(self, made: Cell | None = None) -> None:
        """Note that states hold other entries than before, and that one of them was `made` inside a compiled function."""
        self._structure += 1
        if made is not None and cells.current_trace() is not None:
            self._pending.append(made)
        note_change()

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop the gradients of all parameters.

        Args:
            set_to_none: `False` to set them to zeros instead. Default: `True`.
        """
        for group in self.param_groups:
            for p in group.params:
                if set_to_none:
                    p.grad = None
                elif p.grad is not None:
                    p.grad = p.grad.new_zeros(p.grad.shape)

    # --- the step --------------------------------------------------------------------------------------------------

    @_with_hooks
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update the parameters by their gradients; those without one are left alone.

        Args:
            closure: computes the loss anew, with `backward()`, and returns it.

        Returns:
            What `closure` returned, or `None`.
        """
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        self._update()
        return loss

    def _gather(self) -> tuple[list[tuple[ParamGroup, tuple[int, ...]]], list[Cell], list[Any]]:
        """(for each group which parameters have gradients, the cells to update in the order that `_apply` takes them, the gradients)"""
        plan, places, gradients = [], [], []
        for group in self.param_groups:
            if group.prepared != len(group.params):
                self._prepare(group)
            with_gradient = []
            for i, p in enumerate(group.params):
                gradient = p._leaf()._read() if "_kept_leaf" in p.__dict__ else None
                if gradient is None:
                    continue
                with_gradient.append(i)
                gradients.append(gradient._value if isinstance(gradient, Tensor) else gradient)
                places.append(p)
                state = self._states[p]
                places.extend(state.cells[name] for name in state.names)
            if group.steps is not None:
                if 0 < len(with_gradient) < len(group.params) and not np.ndim(group.steps._read()):
                    with dtypes.x64():
                        group.steps._write(jnp.broadcast_to(jnp.asarray(group.steps._read()), (len(group.params),)))
                places.append(group.steps)
            plan.append((group, tuple(with_gradient)))
        return plan, places, gradients

    def _update(self, **extra: Any) -> None:
        """Update the parameters; `extra` holds further arrays for `_apply`."""
        plan, places, gradients = self._gather()
        places += self._shared_places()
        numbers = [group._numbers._read() for group in self.param_groups]
        values = [c._read() for c in places]
        if cells.current_trace() is not None or any(isinstance(v, jax.core.Tracer) for v in gradients):
            new = self._apply(plan, values, gradients, numbers, **extra)
        else:
            key = (self._structure, self._settings, *((group.signature(), indices) for group, indices in plan))
            program = self._programs.get(key)
            if program is None:
                program = self._programs[key] = jax.jit(
                    lambda values, gradients, numbers, extra: self._apply(plan, values, gradients, numbers, **extra), donate_argnums=0
                )
            values = cells.donatable(values)
            previous = dtypes.enter_x64(True)
            try:
                new = program(values, gradients, numbers, extra)
            finally:
                dtypes.leave_x64(previous)
        cells.write_all(places, new)

    def _apply(self, plan: list[tuple[ParamGroup, tuple[int, ...]]], values: list[Any], gradients: list[Any], numbers: list[Any], **extra: Any) -> list[Any]:
        """The update of all parameters as a pure function of flat lists."""
        with dtypes.x64():
            new: list[Any] = []
            left, gradients_left = iter(values), iter(gradients)
            for (group, indices), vector in zip(plan, numbers, strict=True):
                rows = [(i, next(left), {name: next(left) for name in self._states[group.params[i]].names}) for i in indices]
                steps = None if group.steps is None else _advanced(next(left), indices, len(group.params))
                hyperparameters = _Hyperparameters(self, group.ruling(vector), steps)
                for i, p, state in rows:
                    layer_dims = group.params[i]._layer_dims if self._looks_at_wholes else 0
                    p, state = self._updated(p, next(gradients_left), state, *hyperparameters.at(i, p.dtype), layer_dims)
                    new.append(p)
                    new.extend(state.values())
                if steps is not None:
                    new.append(steps)
            return new

    def _updated(self, p: Any, gradient: Any, state: dict[str, Any], numbers: Numbers, options: Options, layer_dims: int) -> tuple[Any, dict[str, Any]]:
        """Apply the rule to a parameter, or to each of a stack, as to real numbers of at least 32 bits: complex ones as pairs, as PyTorch does."""
        if p.dtype.kind == "c" and not self._takes_complex:
            raise DtypeError(f"{type(self).__name__} does not support complex parameters")
        if getattr(options, "maximize", False):
            gradient = -gradient

        def rule(parameter: Any, gradient: Any, state: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
            return self._rule(parameter, gradient, state, numbers, options)

        for _ in range(layer_dims):
            rule = jax.vmap(rule)
        p_new, changed = rule(_as_real(p), _as_real(gradient), {name: _as_real(value) for name, value in state.items()})
        return _as_before(p_new, p), {name: _as_before(changed[name], value) if name in changed else value for name, value in state.items()}

    # --- states ----------------------------------------------------------------------------------------------------

    @property
    def state(self) -> States:
        """For each parameter a mapping of what the optimizer keeps, by PyTorch's names. It is empty before the first step."""
        return States(self._states)

    @state.setter
    def state(self, value: Mapping[Any, Mapping[str, Any]]) -> None:
        kept = {parameter: dict(state) for parameter, state in value.items()}
        self.state.clear()
        self.state.update(kept)

    def state_dict(self) -> dict[str, Any]:
        """States and options, in PyTorch's layout: ``{"state": {number: {...}}, "param_groups": [{..., "params": [numbers]}]}``.

        The tensors are values: what the optimizer does later does not change them.
        """
        for hook in self._state_dict_pre_hooks.values():
            hook(self)
        every = [p for group in self.param_groups for p in group.params]
        numbers = {p: number for number, p in enumerate(every)}
        groups = [{**{n: v for n, v in group.items() if n != "params"}, "params": [numbers[p] for p in group.params]} for group in self.param_groups]
        state_dict = {"state": self._packed_states(every), "param_groups": groups}
        for hook in self._state_dict_post_hooks.values():
            replaced = hook(self, state_dict)
            state_dict = state_dict if replaced is None else replaced
        return state_dict

    def _packed_states(self, parameters: list[Any]) -> dict[Any, Any]:
        return {number: self._states[p].present() for number, p in enumerate(parameters) if len(self._states[p])}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Continue from what `state_dict` returned, here or in PyTorch.

        Args:
            state_dict: the states and options; tensors are ours, PyTorch's, NumPy's or JAX's.

        Raises:
            ValueError: the groups have other numbers of parameters.
            RuntimeError: a tensor has another shape. Whatever is raised, nothing has been changed.
        """
        state_dict = dict(state_dict)
        for hook in self._load_state_dict_pre_hooks.values():
            replaced = hook(self, state_dict)
            state_dict = state_dict if replaced is None else replaced
        groups = state_dict["param_groups"]
        if len(groups) != len(self.param_groups):
            raise ArgumentError(f"loaded state dict has a different number of parameter groups: {len(groups)}, and this optimizer {len(self.param_groups)}")
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
                cell = self._states[p].cells.get(name)
                if isinstance(cell, Buffer) and value is not None and shape != tuple(cell._state.shape):
                    raise StateDictError(f"state {name!r} of parameter {number} has shape {shape}, and the parameter {tuple(p.shape)}")
        before = Snapshot(self)
        try:
            for group, saved in zip(self.param_groups, groups, strict=True):
                for name in [n for n in group if n not in saved and n not in self.defaults and n != "param_names"]:
                    del group[name]
                group.update({name: value for name, value in saved.items() if name != "params"})
            self._load_packed_states(pairs, state_dict["state"])
        except BaseException:
            before.put_back()
            raise
        for hook in self._load_state_dict_post_hooks.values():
            hook(self)

    def _load_packed_states(self, pairs: list[tuple[Any, Any]], states: Mapping[Any, Any]) -> None:
        for p, number in pairs:
            self._states[p].load(states.get(number, {}))

    def to(self, device: Any) -> Optimizer:
        """Move the state to a device (or a `jax.sharding.Sharding`), as `Module.to` moves the parameters."""
        parameters = set(self._states)
        with dtypes.x64():
            for cell in (*self._cells(), *self._shared_places()):
                if cell not in parameters and not isinstance(cell, cells.Leaf):
                    cell._write(devices.put(cell._read(), device))
        return self

    # --- what compiled functions ask -------------------------------------------------------------------------------

    def _cells(self) -> Iterator[Cell]:
        """Every cell that a step reads or writes."""
        for group in self.param_groups:
            yield group._numbers
            if group.steps is not None:
                yield group.steps
        for p, state in self._states.items():
            yield p
            yield from (cell for cell in state.cells.values() if cell._state is not None)
            if "_kept_leaf" in p.__dict__:
                yield p._leaf()

    def _signature(self) -> Any:
        """What a compiled step depends on, beside arrays. A step that made new places fits no further call: it would make them again."""
        self._pending = [cell for cell in self._pending if cell._state is None]
        return object() if self._pending else (self._structure, [group.signature() for group in self.param_groups])

    def _holds_mutable_values(self) -> bool:
        return bool(self._pending)

    # --- copies, hooks, printing -----------------------------------------------------------------------------------

    def __getstate__(self) -> dict[str, Any]:
        left_out = ("_programs", "_pending", "_step_pre_hooks", "_step_post_hooks", "_state_dict_pre_hooks", "_state_dict_post_hooks",
                    "_load_state_dict_pre_hooks", "_load_state_dict_post_hooks")  # fmt: skip
        return {name: value for name, value in self.__dict__.items() if name not in left_out}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._pending = []
        self._forget_programs_and_hooks()
        for group in self.param_groups:
            group.on_change = self._prepare
            group.prepared = len(group.params)
        for kept in self._states.values():
            kept.optimizer = self

    def register_step_pre_hook(self, hook: Callable) -> RemovableHandle:
        """Call ``hook(optimizer, args, kwargs)`` before every step; what it returns, if not `None`, replaces the arguments.

        The optimizer is the first of `args`. Under `nr.jit` hooks run while the step is traced.
        """
        return _register(self._step_pre_hooks, hook)

    def register_step_post_hook(self, hook: Callable) -> RemovableHandle:
        """Call ``hook(optimizer, args, kwargs)`` after every step."""
        return _register(self._step_post_hooks, hook)

    def register_state_dict_pre_hook(self, hook: Callable, prepend: bool = False) -> RemovableHandle:
        """Call ``hook(optimizer)`` before `state_dict`; with `prepend` before the hooks registered so far."""
        return _register(self._state_dict_pre_hooks, hook, prepend)

    def register_state_dict_post_hook(self, hook: Callable, prepend: bool = False) -> RemovableHandle:
        """Call ``hook(optimizer, state_dict)`` after `state_dict`; what it returns, if not `None`, is returned instead."""
        return _register(self._state_dict_post_hooks, hook, prepend)

    def register_load_state_dict_pre_hook(self, hook: Callable, prepend: bool = False) -> RemovableHandle:
        """Call ``hook(optimizer, state_dict)`` before loading; what it returns, if not `None`, is loaded instead."""
        return _register(self._load_state_dict_pre_hooks, hook, prepend)

    def register_load_state_dict_post_hook(self, hook: Callable, prepend: bool = False) -> RemovableHandle:
        """Call ``hook(optimizer)`` after loading."""
        return _register(self._load_state_dict_post_hooks, hook, prepend)

    def __repr__(self) -> str:
        text = type(self).__name__ + " ("
        for i, group in enumerate(self.param_groups):
            text += f"\nParameter Group {i}\n"
            text += "".join(f"    {name}: {group[name]}\n" for name in sorted(group) if name != "params")
        return text + ")"


def register_optimizer_step_pre_hook(hook: Callable) -> RemovableHandle:
    """Call ``hook(optimizer, args, kwargs)`` before every step of every optimizer; what it returns, if not `None`, replaces the arguments.

    Returns:
        A handle; its `remove()` takes the hook away.
    """
    return _register(_global_pre_hooks, hook)


def register_optimizer_step_post_hook(hook: Callable) -> RemovableHandle:
    """Call ``hook(optimizer, args, kwargs)`` after every step of every optimizer.

    Returns:
        A handle; its `remove()` takes the hook away.
    """
    return _register(_global_post_hooks, hook)


def _register(hooks: OrderedDict[int, Callable], hook: Callable, prepend: bool = False) -> RemovableHandle:
    number = next(_hook_numbers)
    hooks[number] = hook
    if prepend:
        hooks.move_to_end(number, last=False)
    return RemovableHandle(hooks, number)


# --- inside a compiled update --------------------------------------------------------------------------------------


class _Hyperparameters:
    """The options of a group for each of its parameters: the same for all, unless they have made different numbers of steps."""

    def __init__(self, optimizer: Optimizer, ruling: dict[str, Any], steps: Any):
        self.optimizer, self.ruling = optimizer, ruling
        self.steps = None if steps is None else steps.astype(np.float64)
        self.options: dict[int, tuple[Options, dict[str, Any]]] = {}
        self.numbers: dict[Any, Numbers] = {}

    def at(self, index: int, dtype: Any) -> tuple[Numbers, Options]:
        """(numbers in the dtype of a parameter, exact ones)"""
        index = index if self.steps is not None and self.steps.ndim else 0
        if index not in self.options:
            options = Options(self.ruling, self.steps[index] if self.steps is not None and self.steps.ndim else self.steps)
            self.options[index] = options, self.optimizer._derived(options)
        options, derived = self.options[index]
        if (index, dtype) not in self.numbers:
            self.numbers[index, dtype] = Numbers(options, derived, dtype, _real_dtype(dtype))
        return self.numbers[index, dtype], options


def _advanced(steps: Any, indices: tuple[int, ...], length: int) -> Any:
    """The numbers of steps after one in which the parameters at `indices` take part."""
    steps = jnp.asarray(steps)
    if len(indices) == length:
        return steps + np.ones((), steps.dtype)
    return steps.at[np.array(indices, np.int32)].add(1) if indices else steps


def _real_dtype(dtype: Any) -> np.dtype:
    """The dtype that the rule computes in."""
    if dtype.kind == "c":
        return np.dtype(np.float32 if dtype == np.complex64 else np.float64)
    return np.dtype(np.float32) if dtype.itemsize < 4 else dtype


def _as_real(x: Any) -> Any:
    return jnp.stack([x.real, x.imag], -1) if x.dtype.kind == "c" else x.astype(_real_dtype(x.dtype))


def _as_before(new: Any, old: Any) -> Any:
    return lax.complex(new[..., 0], new[..., 1]) if old.dtype.kind == "c" else new.astype(old.dtype)


# --- what the rules share ------------------------------------------------------------------------------------------

def lerp(start: Any, end: Any, weight: str, numbers: Numbers) -> Any:
    """``start + weight * (end - start)``, counted from the nearer end as PyTorch does; `weight` is the name of a number."""

    def ends() -> tuple[Any, Any]:
        share = getattr(numbers, weight)
        is_near = jnp.abs(share) < 0.5
        return is_near, lax.select(is_near, share, share - 1)

    is_near, share = numbers.once(f"lerp {weight}", ends)
    return lax.select(is_near, start, end) + share * (end - start)


def with_weight_decay(gradient: Any, parameter: Any, numbers: Numbers) -> Any:
    """The gradient with the L2 penalty's: untouched if the weight decay is 0, even where the parameter is not finite."""
    is_off = numbers.once("no weight decay", lambda: numbers.weight_decay == 0)
    return lax.select(is_off, gradient, gradient + numbers.weight_decay * parameter)


def scalar_dtype() -> np.dtype:
    """The dtype of PyTorch's counts of steps, and of other numbers kept for each parameter."""
    return np.dtype(np.float64 if dtypes.get_default_dtype() == dtypes.float64 else np.float32)


def check(condition: Any, name: str, value: Any) -> None:
    """Raise PyTorch's error for an option out of its range."""
    if not condition:
        raise ArgumentError(f"Invalid {name}: {value}")


def check_rate(lr: Any) -> None:
    """Raise PyTorch's errors for a learning rate that is no number, or is negative."""
    if hasattr(lr, "shape") and int(np.prod(lr.shape)) != 1:
        raise ArgumentError("Tensor lr must be 1-element")
    check(lr >= 0.0, "learning rate", lr)


def check_switches(fused: Any, foreach: Any, differentiable: Any) -> None:
    """Raise PyTorch's errors for switches that exclude each other."""
    if fused and differentiable:
        raise OptimizerError("`fused` does not support `differentiable`")
    if fused and foreach:
        raise OptimizerError("`fused` and `foreach` cannot be `True` together.")
