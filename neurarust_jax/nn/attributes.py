"""What a module keeps under which name: parameters, buffers, submodules, tensors and plain values, and how attributes lead there."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any

import jax

from .. import cells
from ..cells import Cell
from ..errors import ArgumentError, ArgumentTypeError
from ..parameter import Buffer, Parameter, note_change
from ..tensor import Tensor, WritableTensor, wrap

REGISTRIES = ("_parameters", "_buffers", "_modules", "_states")
HOOKS = (
    "_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks", "_state_dict_hooks", "_state_dict_pre_hooks",
    "_load_state_dict_pre_hooks", "_load_state_dict_post_hooks",
)  # fmt: skip
NOT_PLAIN = {*REGISTRIES, *HOOKS, "_non_persistent_buffers_set", "_containers", "_change", "_has_hooks", "_cached_signature"}

# called with (module, name, value) for everything that is registered in any module
parameter_registration_hooks: OrderedDict[int, Callable] = OrderedDict()
buffer_registration_hooks: OrderedDict[int, Callable] = OrderedDict()
module_registration_hooks: OrderedDict[int, Callable] = OrderedDict()


class _State(Cell):
    """The place of a plain Tensor attribute of a module: what `forward` keeps there is carried out of a compiled call like a buffer."""

    _may_hold_tensor = True

    def __init__(self, value: Tensor):
        self._state = value

    def __deepcopy__(self, memo: dict) -> _State:
        return memo.setdefault(id(self), _State(copy.deepcopy(self._value_alone(), memo)))

    def __reduce__(self) -> Any:
        return _State, (self._value_alone(),)

    def _value_alone(self) -> Any:
        """The value without the graph that it was computed by, which a copy does not share."""
        value = self._state
        return value.detach() if isinstance(value, Tensor) and not value.is_leaf else value


class ModuleAttributes:
    """The part of `Module` that registers and finds attributes."""

    _parameters: dict[str, Parameter | None]
    _buffers: dict[str, Buffer | None]
    _modules: dict[str, Any]
    _states: dict[str, _State]
    _containers: dict[str, None]  # names, in order, of plain attributes that are lists, tuples or dicts
    _non_persistent_buffers_set: set[str]
    _change: int  # counts changes of what compiled functions take as fixed
    _change_of_all: int = 0  # counts changes of the hooks that are common to all modules

    # --- access ----------------------------------------------------------------------------------------------------

    def __setattr__(self, name: str, value: Any) -> None:
        fields = self.__dict__
        if "_parameters" not in fields:
            if isinstance(value, Tensor | ModuleAttributes):
                raise AttributeError(f"cannot assign {name!r} before Module.__init__() call; write super().__init__() first in {type(self).__name__}.__init__")
            object.__setattr__(self, name, value)
            return
        if isinstance(value, Parameter):
            self._forget(name, "_parameters")
            self.register_parameter(name, value)
        elif isinstance(value, ModuleAttributes):
            self._forget(name, "_modules")
            self._modules[name] = _seen_by(module_registration_hooks, self, name, value)
        elif isinstance(value, Buffer):
            self._forget(name, "_buffers")
            self.register_buffer(name, value, value.persistent)
        elif name in self._parameters:
            if value is not None:
                raise ArgumentTypeError(
                    f"cannot assign '{type(value).__name__}' as parameter '{name}' (nr.nn.Parameter or None expected); to change its value write {name}.assign(value)"
                )
            self._parameters[name] = None
        elif name in self._buffers:
            self._set_buffer(name, value)
            if value is not None:
                return
        elif name in self._modules:
            if value is not None:
                raise ArgumentTypeError(f"cannot assign '{type(value).__name__}' as child module '{name}' (nr.nn.Module or None expected)")
            self._modules[name] = _seen_by(module_registration_hooks, self, name, None)
        elif isinstance(value, Tensor) and not isinstance(value, Cell) and not isinstance(getattr(type(self), name, None), property):
            if isinstance(value, WritableTensor):  # `.data` or `.grad` of a cell: what stands there now
                value = wrap(value._value)
            if name in self._states:
                self._states[name]._write(value)
                return
            self._forget(name)
            state = self._states[name] = _State(value)
            if cells.current_trace() is not None:
                state._state = None
                state._write(value)
        elif not name.startswith("__") and not isinstance(getattr(type(self), name, None), property):
            if name in self._states:
                del self._states[name]
            self._note_container(name, value)
            fields[name] = value
        else:
            object.__setattr__(self, name, value)
        self._note_change()

    def __getattr__(self, name: str) -> Any:
        fields = self.__dict__
        for registry in ("_parameters", "_buffers", "_modules"):
            found = fields.get(registry)
            if found is not None and name in found:
                return found[name]
        states = fields.get("_states")
        if states is not None and name in states:
            value = states[name]._read()
            return value if isinstance(value, Tensor) or value is None else wrap(value)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __delattr__(self, name: str) -> None:
        if any(name in self.__dict__[registry] for registry in REGISTRIES):
            self._forget(name)
        else:
            object.__delattr__(self, name)
            self._containers.pop(name, None)
        self._note_change()

    def __dir__(self) -> list[str]:
        names = {*super().__dir__(), *self._parameters, *self._buffers, *self._modules, *self._states}
        return sorted(name for name in names if not name[:1].isdigit())

    def _note_container(self, name: str, value: Any) -> None:
        if isinstance(value, list | tuple | dict | set):
            self._containers[name] = None
        else:
            self._containers.pop(name, None)

    def _set_buffer(self, name: str, value: Any) -> None:
        known = self._buffers[name]
        if value is None:
            self._buffers[name] = None
        elif isinstance(value, Tensor | jax.Array):
            if known is None:
                self.register_buffer(name, value, name not in self._non_persistent_buffers_set)
            else:
                known.assign(_seen_by(buffer_registration_hooks, self, name, value))
        else:
            raise ArgumentTypeError(f"cannot assign '{type(value).__name__}' as buffer '{name}' (nr.nn.Buffer, nr.Tensor or None expected)")

    def _forget(self, name: str, keep: str = "") -> None:
        """Take a name out of wherever it is registered, before it is registered in `keep`, where it holds its position."""
        for registry in REGISTRIES:
            if registry != keep:
                self.__dict__[registry].pop(name, None)
        self._non_persistent_buffers_set.discard(name)
        self._containers.pop(name, None)
        self.__dict__.pop(name, None)

    def _note_change(self) -> None:
        self.__dict__["_change"] += 1
        note_change()

    # --- registration ----------------------------------------------------------------------------------------------

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Add a parameter under `name`; `None` reserves the name.

        Raises:
            TypeError, KeyError: the name is no attribute name or taken, or the value no `Parameter`.
        """
        self._check_name(name, self.__dict__.get("_parameters"), "parameter")
        if param is not None:
            if not isinstance(param, Parameter):
                raise ArgumentTypeError(f"cannot assign '{type(param).__name__}' object to parameter '{name}' (nr.nn.Parameter or None required)")
            if not param.is_leaf:
                raise ArgumentError(
                    f"Cannot assign non-leaf Tensor to parameter '{name}'. Model parameters must be created explicitly. To express '{name}' as a function of another "
                    "Tensor, compute the value in the forward() method."
                )
            param = _seen_by(parameter_registration_hooks, self, name, param)
        self._parameters[name] = param
        self._note_change()

    def register_buffer(self, name: str, tensor: Any, persistent: bool = True) -> None:
        """Add a buffer under `name`: state that is not learned.

        Args:
            name: the attribute's name.
            tensor: its value, or `None` to reserve the name.
            persistent: whether it is part of `state_dict`.

        Raises:
            TypeError, KeyError: the name is no attribute name or taken, or the value no tensor.
        """
        self._check_name(name, self.__dict__.get("_buffers"), "buffer")
        if tensor is not None and not isinstance(tensor, Tensor | jax.Array):
            raise ArgumentTypeError(f"cannot assign '{type(tensor).__name__}' object to buffer '{name}' (nr.Tensor or None required)")
        tensor = _seen_by(buffer_registration_hooks, self, name, tensor)
        if tensor is not None and not isinstance(tensor, Buffer):
            tensor = Buffer(tensor.detach() if isinstance(tensor, Tensor) else tensor, persistent=persistent)
        self._buffers[name] = tensor
        (self._non_persistent_buffers_set.discard if persistent else self._non_persistent_buffers_set.add)(name)
        self._note_change()

    def add_module(self, name: str, module: Any) -> None:
        """Add a submodule under `name`; `None` reserves the name.

        Raises:
            TypeError, KeyError: the name is no attribute name or taken, or the value no `Module`.
        """
        if module is not None and not isinstance(module, ModuleAttributes):
            raise ArgumentTypeError(f"{type(module).__name__} is not a Module subclass")
        self._check_name(name, self.__dict__.get("_modules"), "module")
        self._modules[name] = _seen_by(module_registration_hooks, self, name, module)
        self._note_change()

    def register_module(self, name: str, module: Any) -> None:
        """The same as `add_module`."""
        self.add_module(name, module)

    def _check_name(self, name: str, registry: dict[str, Any] | None, kind: str) -> None:
        if registry is None:
            raise AttributeError(f"cannot assign {kind} before Module.__init__() call; write super().__init__() first in {type(self).__name__}.__init__")
        if not isinstance(name, str):
            raise ArgumentTypeError(f"{kind} name should be a string. Got {type(name).__name__}")
        if "." in name:
            raise KeyError(f'{kind} name can\'t contain ".", got: {name}')
        if name == "":
            raise KeyError(f'{kind} name can\'t be empty string ""')
        if name not in registry and (name in self.__dict__ or hasattr(type(self), name) or any(name in self.__dict__[r] for r in REGISTRIES)):
            raise KeyError(f"attribute '{name}' already exists")

    def _contained(self) -> Iterator[tuple[str, Any]]:
        """Modules and parameters inside plain lists, tuples and dicts, with names such as ``layers.0``."""

        def walk(prefix: str, value: Any) -> Iterator[tuple[str, Any]]:
            if isinstance(value, ModuleAttributes | Parameter):
                yield prefix, value
            elif isinstance(value, list | tuple):
                for i, element in enumerate(value):
                    yield from walk(f"{prefix}.{i}", element)
            elif isinstance(value, dict):
                for key, element in value.items():
                    yield from walk(f"{prefix}.{key}", element)

        for name in self._containers:
            yield from walk(name, self.__dict__.get(name))

    # --- what compiled functions take as fixed -----------------------------------------------------------------------

    def _signature(self) -> Any:
        """The plain attributes and the registered names, to compare with what they were when a function was compiled."""
        fields = self.__dict__
        cached = fields.get("_cached_signature")
        if cached is not None and cached[0] == (self._change, self._change_of_all) and not self._containers:
            return cached[1]
        plain = [(name, fixed(value)) for name, value in fields.items() if name not in NOT_PLAIN]
        registered = [(name, _Identified(value)) for r in REGISTRIES for name, value in fields[r].items()]
        hooks = [tuple(fields[h]) for h in HOOKS]
        signature = (plain, registered, hooks, self._change_of_all)
        fields["_cached_signature"] = ((self._change, self._change_of_all), signature)
        return signature

    def _holds_mutable_values(self) -> bool:
        return bool(self._containers)


def _seen_by(hooks: OrderedDict[int, Callable], module: Any, name: str, value: Any) -> Any:
    """`value`, or what the registration hooks put in its place."""
    for hook in hooks.values():
        replaced = hook(module, name, value)
        if replaced is not None:
            value = replaced
    return value


class _Identified:
    """An attribute value that is compared by identity, and kept alive so that the identity stays its own."""

    __slots__ = ("value",)

    def __init__(self, value: Any):
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Identified) and self.value is other.value

    __hash__ = None  # type: ignore[assignment]


def fixed(value: Any) -> Any:
    """A snapshot of a plain attribute: numbers and strings by value, containers by content, all else by identity."""
    if isinstance(value, bool | int | float | complex | str | bytes | None):
        return (type(value), value)
    if isinstance(value, list | tuple | set):
        return (type(value), [fixed(element) for element in value])
    if isinstance(value, dict):
        return (dict, [(key, fixed(element)) for key, element in value.items()])
    return _Identified(value)
