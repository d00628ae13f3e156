"""`Module`: the base class of every layer and model, with PyTorch's interface.

A module is a Python object; its parameters and buffers are cells, found by the names of its attributes. To JAX it is a pytree whose leaves are the
values of its cells. `functional_call` and the transformations turn it into a pure function.
"""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

import jax

from .. import cells, devices, dtypes
from ..autograd.engine import RemovableHandle
from ..cells import Cell
from ..errors import ArgumentTypeError, NeuraRustError, StateDictError
from ..parameter import Buffer, Parameter, note_change
from ..tensor import Tensor, wrap
from .hooks import BackwardHooks, KwargsHook, global_forward_hooks, global_forward_pre_hooks
from .state_dict import IncompatibleKeys, loaded

Self = TypeVar("Self", bound="Module")

REGISTRIES = ("_parameters", "_buffers", "_modules", "_states")
HOOKS = (
    "_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks", "_state_dict_hooks", "_state_dict_pre_hooks",
    "_load_state_dict_pre_hooks", "_load_state_dict_post_hooks",
)  # fmt: skip
_hook_numbers = itertools.count()


class _State(Cell):
    """The place of a plain Tensor attribute of a module: what `forward` keeps there is carried out of a compiled call like a buffer."""

    _may_hold_tensor = True

    def __init__(self, value: Tensor):
        self._state = value


class Module:
    r"""Base class of layers and models.

    A subclass assigns parameters and submodules as attributes in `__init__` and computes in `forward`. Submodules may also stand in lists, tuples and
    dicts that are attributes; they are found there under names such as ``layers.0``.

    Attributes:
        training: whether the module is in training mode, which `train()` and `eval()` set.

    Examples:
        >>> import neurarust_jax as nr
        >>> from neurarust_jax import nn
        >>> class Net(nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.fc = nn.Linear(4, 2)
        ...     def forward(self, x):
        ...         return self.fc(x).relu()
        >>> Net()
        Net(
          (fc): Linear(in_features=4, out_features=2, bias=True)
        )
    """

    training: bool
    _version: int = 1  # of the state dict's format, as in PyTorch
    _parameters: dict[str, Parameter | None]
    _buffers: dict[str, Buffer | None]
    _modules: dict[str, Module | None]
    _states: dict[str, _State]

    def __init__(self, *arguments: Any, **named: Any):
        if arguments or named:
            raise ArgumentTypeError(f"{type(self).__name__}.__init__() got unexpected arguments {arguments or tuple(named)}")
        fields = self.__dict__
        for registry in REGISTRIES:
            fields[registry] = {}
        for hooks in HOOKS:
            fields[hooks] = OrderedDict()
        fields["_non_persistent_buffers_set"] = set()
        fields["_containers"] = {}  # names, in order, of plain attributes that are lists, tuples or dicts
        fields["_change"] = 0  # counts changes of what compiled functions take as fixed
        fields["_has_hooks"] = False
        fields["training"] = True

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        from .pytree import register  # which needs this class first

        register(cls)

    def forward(self, *inputs: Any) -> Any:
        """What the module computes. Every subclass defines it."""
        raise NotImplementedError(f"Module [{type(self).__name__}] is missing the required \"forward\" function")

    def __call__(self, *inputs: Any, **named: Any) -> Any:
        if cells._traces:
            trace = cells.current_trace()
            if trace is not None:
                trace.note_module(self)
        try:
            if self._has_hooks:
                return self._call_with_hooks(inputs, named)
            return self.forward(*inputs, **named)
        except NeuraRustError as error:
            self._add_path(error)
            raise

    def _add_path(self, error: NeuraRustError) -> None:
        """Put this module in front of the layer path that the error carries."""
        inner = getattr(error, "_innermost_reached", None)
        name = ""
        if inner is not None:
            name = next((n for n, m in self.named_modules() if m is inner), "")
            error.modules[-1] = (name, error.modules[-1][1])
        error.in_module("", repr(self) if not self._modules else type(self).__name__)
        error._innermost_reached = self  # type: ignore[attr-defined]

    def _call_with_hooks(self, inputs: tuple, named: dict[str, Any]) -> Any:
        for hook in (*global_forward_pre_hooks.values(), *self._forward_pre_hooks.values()):
            if getattr(hook, "with_kwargs", False):
                replaced = hook.function(self, inputs, named)
                if replaced is not None:
                    inputs, named = replaced
            else:
                replaced = hook(self, inputs) if not isinstance(hook, KwargsHook) else hook.function(self, inputs)
                if replaced is not None:
                    inputs = replaced if isinstance(replaced, tuple) else (replaced,)
        backward = BackwardHooks(self) if self._backward_hooks or self._backward_pre_hooks else None
        if backward is not None:
            inputs = backward.watch_inputs(inputs)
        try:
            output = self.forward(*inputs, **named)
        except Exception:
            for hook in self._forward_hooks.values():
                if getattr(hook, "always_call", False):
                    hook.function(self, inputs, None)
            raise
        for hook in (*global_forward_hooks.values(), *self._forward_hooks.values()):
            if getattr(hook, "with_kwargs", False):
                replaced = hook.function(self, inputs, named, output)
            else:
                replaced = (hook.function if isinstance(hook, KwargsHook) else hook)(self, inputs, output)
            if replaced is not None:
                output = replaced
        return output if backward is None else backward.watch_outputs(output)

    # --- attributes ------------------------------------------------------------------------------------------------

    def __setattr__(self, name: str, value: Any) -> None:
        fields = self.__dict__
        if "_parameters" not in fields:
            if isinstance(value, Tensor | Module):
                raise AttributeError(f"cannot assign {name!r} before Module.__init__() call; write super().__init__() first in {type(self).__name__}.__init__")
            object.__setattr__(self, name, value)
            return
        if isinstance(value, Parameter):
            self._forget(name, "_parameters")
            self.register_parameter(name, value)
        elif isinstance(value, Module):
            self._forget(name, "_modules")
            self._modules[name] = value
        elif isinstance(value, Buffer):
            self._forget(name, "_buffers")
            self.register_buffer(name, value, value.persistent)
        elif name in self._parameters:
            if value is not None:
                raise ArgumentTypeError(
                    f"cannot assign '{type(value).__name__}' as parameter {name!r} (nr.nn.Parameter or None expected); to change its value write {name}.assign(value)"
                )
            self._parameters[name] = None
        elif name in self._buffers:
            self._set_buffer(name, value)
            if value is not None:
                return
        elif name in self._modules:
            if value is not None:
                raise ArgumentTypeError(f"cannot assign '{type(value).__name__}' as child module {name!r} (nr.nn.Module or None expected)")
            self._modules[name] = None
        elif isinstance(value, Tensor) and not isinstance(value, Cell) and not isinstance(getattr(type(self), name, None), property):
            if name in self._states:
                self._states[name]._write(value)
                return
            self._forget(name)
            state = self._states[name] = _State(value)
            if cells.current_trace() is not None:
                state._state = None
                state._write(value)
        elif not isinstance(getattr(type(self), name, None), property):
            if name in self._states:
                del self._states[name]
            self._note_container(name, value)
            fields[name] = value
        else:
            object.__setattr__(self, name, value)
        self._note_change()

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
                self._buffers[name] = Buffer(value, persistent=name not in self._non_persistent_buffers_set)
                self._note_change()
            else:
                known.assign(value)
        else:
            raise ArgumentTypeError(f"cannot assign '{type(value).__name__}' as buffer {name!r} (a Tensor or None expected)")

    def _forget(self, name: str, keep: str = "") -> None:
        """Take a name out of wherever it is registered, before it is registered in `keep`, where it holds its position."""
        for registry in REGISTRIES:
            if registry != keep:
                self.__dict__[registry].pop(name, None)
        self._non_persistent_buffers_set.discard(name)
        self._containers.pop(name, None)
        self.__dict__.pop(name, None)

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

    def _note_change(self) -> None:
        self.__dict__["_change"] += 1
        note_change()

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Add a parameter under `name`; `None` reserves the name.

        Raises:
            TypeError, KeyError: the name is no attribute name, or the value no `Parameter`.
        """
        self._check_name(name, self._parameters)
        if param is not None and not isinstance(param, Parameter):
            raise ArgumentTypeError(f"cannot assign '{type(param).__name__}' object to parameter {name!r} (nr.nn.Parameter or None required)")
        self._parameters[name] = param
        self._note_change()

    def register_buffer(self, name: str, tensor: Any, persistent: bool = True) -> None:
        """Add a buffer under `name`: state that is not learned.

        Args:
            name: the attribute's name.
            tensor: its value, or `None` to reserve the name.
            persistent: whether it is part of `state_dict`.
        """
        self._check_name(name, self._buffers)
        if tensor is not None and not isinstance(tensor, Buffer):
            if not isinstance(tensor, Tensor | jax.Array):
                raise ArgumentTypeError(f"cannot assign '{type(tensor).__name__}' object to buffer {name!r} (a Tensor or None required)")
            tensor = Buffer(tensor.detach() if isinstance(tensor, Tensor) else tensor, persistent=persistent)
        self._buffers[name] = tensor
        (self._non_persistent_buffers_set.discard if persistent else self._non_persistent_buffers_set.add)(name)
        self._note_change()

    def _check_name(self, name: str, registry: dict[str, Any]) -> None:
        if "_parameters" not in self.__dict__:
            raise AttributeError("cannot register before Module.__init__() call; write super().__init__() first")
        if not isinstance(name, str):
            raise ArgumentTypeError(f"a name is a string, got {name!r}")
        if "." in name or name == "":
            raise KeyError(f"a name has no dot and is not empty, got {name!r}")
        if name not in registry and (name in self.__dict__ or hasattr(type(self), name) or any(name in self.__dict__[r] for r in REGISTRIES)):
            raise KeyError(f"attribute {name!r} already exists")

    def add_module(self, name: str, module: Module | None) -> None:
        """Add a submodule under `name`."""
        if module is not None and not isinstance(module, Module):
            raise ArgumentTypeError(f"{type(module).__name__} is not a Module subclass")
        self._check_name(name, self._modules)
        self._modules[name] = module
        self._note_change()

    register_module = add_module

    # --- walking ---------------------------------------------------------------------------------------------------

    def _contained(self) -> Iterator[tuple[str, Any]]:
        """Modules and parameters inside plain lists, tuples and dicts, with names such as ``layers.0``."""

        def walk(prefix: str, value: Any) -> Iterator[tuple[str, Any]]:
            if isinstance(value, Module | Parameter):
                yield prefix, value
            elif isinstance(value, list | tuple):
                for i, element in enumerate(value):
                    yield from walk(f"{prefix}.{i}", element)
            elif isinstance(value, dict):
                for key, element in value.items():
                    yield from walk(f"{prefix}.{key}", element)

        for name in self._containers:
            yield from walk(name, self.__dict__.get(name))

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The direct submodules with their names, each once."""
        seen: set[int] = set()
        everything = itertools.chain(self._modules.items(), self._contained() if self._containers else ())
        for name, module in everything:
            if isinstance(module, Module) and id(module) not in seen:
                seen.add(id(module))
                yield name, module

    def children(self) -> Iterator[Module]:
        """The direct submodules, each once."""
        for _, module in self.named_children():
            yield module

    def named_modules(self, memo: set[Module] | None = None, prefix: str = "", remove_duplicate: bool = True) -> Iterator[tuple[str, Module]]:
        """This module and all below it, with dotted names; the first name is empty."""
        memo = set() if memo is None else memo
        if self in memo:
            return
        if remove_duplicate:
            memo.add(self)
        yield prefix, self
        everything = itertools.chain(self._modules.items(), self._contained() if self._containers else ())
        for name, module in everything:
            if isinstance(module, Module):
                yield from module.named_modules(memo, f"{prefix}.{name}" if prefix else name, remove_duplicate)

    def modules(self) -> Iterator[Module]:
        """This module and all below it, each once."""
        for _, module in self.named_modules():
            yield module

    def _named_members(self, members: Callable[[Module], Iterable[tuple[str, Any]]], prefix: str, recurse: bool, remove_duplicate: bool):
        seen: set[int] = set()
        modules = self.named_modules(prefix=prefix, remove_duplicate=remove_duplicate) if recurse else [(prefix, self)]
        for module_prefix, module in modules:
            for name, member in members(module):
                if member is None or (remove_duplicate and id(member) in seen):
                    continue
                seen.add(id(member))
                yield f"{module_prefix}.{name}" if module_prefix else name, member

    def _own_parameters(self) -> Iterable[tuple[str, Parameter | None]]:
        if not self._containers:
            return self._parameters.items()
        return itertools.chain(self._parameters.items(), ((n, p) for n, p in self._contained() if isinstance(p, Parameter)))

    def named_parameters(self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True) -> Iterator[tuple[str, Parameter]]:
        """Parameters with dotted names, shared ones once.

        Args:
            prefix: put before every name.
            recurse: those of submodules too.
            remove_duplicate: leave out a parameter that came already.
        """
        return self._named_members(Module._own_parameters, prefix, recurse, remove_duplicate)

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """Parameters, shared ones once."""
        for _, parameter in self.named_parameters(recurse=recurse):
            yield parameter

    def named_buffers(self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True) -> Iterator[tuple[str, Buffer]]:
        """Buffers with dotted names, shared ones once."""
        return self._named_members(lambda m: m._buffers.items(), prefix, recurse, remove_duplicate)

    def buffers(self, recurse: bool = True) -> Iterator[Buffer]:
        """Buffers, shared ones once."""
        for _, buffer in self.named_buffers(recurse=recurse):
            yield buffer

    def get_submodule(self, target: str) -> Module:
        """The submodule of a dotted name.

        Raises:
            AttributeError: there is none.
        """
        module: Any = self
        for name in target.split(".") if target else ():
            found = getattr(module, name, None) if isinstance(module, Module) else None
            if found is None and isinstance(module, list | tuple) and name.isdigit():
                found = module[int(name)]
            elif found is None and isinstance(module, dict):
                found = module.get(name)
            if found is None:
                raise AttributeError(f"{type(module).__name__} has no attribute `{name}`, in {target!r}")
            module = found
        if not isinstance(module, Module):
            raise AttributeError(f"`{target}` is not an nn.Module")
        return module

    def set_submodule(self, target: str, module: Module, strict: bool = False) -> None:
        """Put `module` in the place of the dotted name."""
        parent, _, name = target.rpartition(".")
        owner = self.get_submodule(parent)
        if strict and name not in owner._modules:
            raise AttributeError(f"{type(owner).__name__} has no attribute `{name}`")
        setattr(owner, name, module)

    def get_parameter(self, target: str) -> Parameter:
        """The parameter of a dotted name."""
        return self._member(target, Parameter)

    def get_buffer(self, target: str) -> Buffer:
        """The buffer of a dotted name."""
        return self._member(target, Buffer)

    def _member(self, target: str, kind: type) -> Any:
        parent, _, name = target.rpartition(".")
        found = getattr(self.get_submodule(parent), name, None)
        if not isinstance(found, kind):
            raise AttributeError(f"`{target}` is not a {kind.__name__}")
        return found

    def _cells(self) -> Iterator[Cell]:
        """Every cell that the module and its submodules hold, gradients included."""
        for module in self.modules():
            for _, parameter in module._own_parameters():
                if parameter is not None:
                    yield parameter
                    if "_kept_leaf" in parameter.__dict__:
                        yield parameter._leaf()
            yield from (b for b in module._buffers.values() if b is not None)
            yield from module._states.values()

    # --- what compiled functions take as fixed -----------------------------------------------------------------------

    def _signature(self) -> Any:
        """The plain attributes and the registered names, to compare with what they were when a function was compiled."""
        fields = self.__dict__
        cached = fields.get("_cached_signature")
        if cached is not None and cached[0] == self._change and not self._containers:
            return cached[1]
        plain = [(name, fixed(value)) for name, value in fields.items() if name not in NOT_PLAIN]
        registered = [(name, _Identified(value)) for r in REGISTRIES for name, value in fields[r].items()]
        hooks = [tuple(fields[h]) for h in HOOKS]
        signature = (plain, registered, hooks)
        fields["_cached_signature"] = (self._change, signature)
        return signature

    def _holds_mutable_values(self) -> bool:
        return bool(self._containers)

    # --- modes, types, places ----------------------------------------------------------------------------------------

    def train(self: Self, mode: bool = True) -> Self:
        """Set training mode, here and below. It matters to dropout, batch normalization and their like."""
        if not isinstance(mode, bool):
            raise ArgumentTypeError("training mode is expected to be boolean")
        for module in self.modules():
            if module.training != mode:
                module.training = mode
        return self

    def eval(self: Self) -> Self:
        """Set evaluation mode, here and below."""
        return self.train(False)

    def apply(self: Self, fn: Callable[[Module], Any]) -> Self:
        """Call `fn` on every submodule, the innermost first, and on this module last."""
        for module in self.children():
            module.apply(fn)
        fn(self)
        return self

    def _apply(self: Self, fn: Callable[[Any], Any]) -> Self:
        """Replace the array of every parameter, gradient and buffer by `fn` of it."""
        with dtypes.x64():
            for cell in dict.fromkeys(self._cells()):
                value = cell._read()
                if value is not None:
                    cell._write(fn(value._value if isinstance(value, Tensor) else value))
        note_change()
        return self

    def to(self: Self, *arguments: Any, dtype: Any = None, device: Any = None, non_blocking: bool = False, memory_format: Any = None) -> Self:
        """Move the module's cells to a device, and its floating-point ones to a dtype.

        Args:
            *arguments: a dtype, a device, both, or a tensor whose both are taken.
            dtype: a floating-point or complex dtype.
            device: a device or a `jax.sharding.Sharding`.

        Raises:
            TypeError: the dtype is no floating-point one.
            DeviceError: there is no such device.
        """
        for argument in arguments:
            if isinstance(argument, Tensor):
                dtype, device = argument.dtype, argument._value.sharding
            elif isinstance(argument, dtypes.dtype) or str(argument).startswith("torch.") or argument in dtypes._NAMES:
                dtype = argument
            elif argument is not None and not isinstance(argument, bool):
                device = argument
        if dtype is not None:
            target = dtypes.as_dtype(dtype)
            if not (target.is_floating_point or target.is_complex):
                raise ArgumentTypeError(f"nn.Module.to only accepts floating point or complex dtypes, but got desired dtype={target}")
            self._apply(lambda v: jax.lax.convert_element_type(v, target.dtype) if _is_floating(v) else v)
        if device is not None:
            self._apply(lambda v: devices.put(v, device))
        return self

    def cpu(self: Self) -> Self:
        """Move all cells to the CPU."""
        return self.to(device="cpu")

    def cuda(self: Self, device: Any = None) -> Self:
        """Move all cells to a GPU, by default the first."""
        return self.to(device="cuda" if device is None else device)

    def type(self: Self, dst_type: Any) -> Self:
        """Convert all parameters and buffers to a dtype."""
        target = dtypes.as_dtype(dst_type).dtype
        return self._apply(lambda v: jax.lax.convert_element_type(v, target))

    def float(self: Self) -> Self:
        """Convert floating-point cells to float32."""
        return self.to(dtypes.float32)

    def double(self: Self) -> Self:
        """Convert floating-point cells to float64."""
        return self.to(dtypes.float64)

    def half(self: Self) -> Self:
        """Convert floating-point cells to float16."""
        return self.to(dtypes.float16)

    def bfloat16(self: Self) -> Self:
        """Convert floating-point cells to bfloat16."""
        return self.to(dtypes.bfloat16)

    def requires_grad_(self: Self, requires_grad: bool = True) -> Self:
        """Let gradients be accumulated in all parameters, or stop it."""
        for parameter in self.parameters():
            parameter.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop the gradients of all parameters, or set them to zeros."""
        for parameter in self.parameters():
            if parameter.grad is not None:
                parameter.grad = None if set_to_none else parameter.grad * 0

    def compile(self, *arguments: Any, **named: Any) -> None:
        """Compile this module's calls with `nr.jit`."""
        from ..transforms.jit import jit

        self.__dict__["forward"] = jit(type(self).forward).__get__(self)

    # --- state dict ------------------------------------------------------------------------------------------------

    def get_extra_state(self) -> Any:
        """What else belongs into `state_dict`; for subclasses to define, with `set_extra_state`."""
        raise NotImplementedError("define get_extra_state and set_extra_state to keep extra state in the state_dict")

    set_extra_state = None  # type: ignore[assignment]

    def state_dict(self, *arguments: Any, destination: dict[str, Any] | None = None, prefix: str = "", keep_vars: bool = False) -> dict[str, Any]:
        """The values of all parameters and persistent buffers by their dotted names.

        Args:
            destination: a dict to fill.
            prefix: put before every name.
            keep_vars: the cells themselves instead of their present values.

        Returns:
            An ordered dict of tensors. They are values: what the module learns later does not change them.
        """
        if arguments:
            defaults: tuple[Any, ...] = (None, "", False)
            destination, prefix, keep_vars = (*arguments, *defaults[len(arguments) :])
        if destination is None:
            destination = OrderedDict()
            destination._metadata = OrderedDict()  # type: ignore[attr-defined]
        if hasattr(destination, "_metadata"):
            destination._metadata[prefix[:-1]] = {"version": self._version}
        for hook in self._state_dict_pre_hooks.values():
            hook(self, prefix, keep_vars)
        self._save_to_state_dict(destination, prefix, keep_vars)
        everything = itertools.chain(self._modules.items(), self._contained() if self._containers else ())
        for name, module in everything:
            if isinstance(module, Module):
                module.state_dict(destination=destination, prefix=f"{prefix}{name}.", keep_vars=keep_vars)
        for hook in self._state_dict_hooks.values():
            replaced: dict[str, Any] | None = hook(self, destination, prefix, {})
            if replaced is not None:
                destination = replaced
        return destination

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        for name, cell in (*self._own_parameters(), *self._buffers.items()):
            if cell is not None and name not in self._non_persistent_buffers_set:
                destination[prefix + name] = cell if keep_vars else cell.detach()
        if type(self).get_extra_state is not Module.get_extra_state:
            destination[prefix + "_extra_state"] = self.get_extra_state()

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> IncompatibleKeys:
        """Set parameters and buffers from the values that `state_dict` returned, here or in PyTorch.

        Args:
            state_dict: tensors (ours, PyTorch's, NumPy's or JAX's) by name.
            strict: raise if names are missing or unexpected.
            assign: take the given dtypes and devices too, instead of keeping the module's.

        Returns:
            A namedtuple with `missing_keys` and `unexpected_keys`.

        Raises:
            RuntimeError: shapes differ, or names with `strict`. Nothing has been changed then.
        """
        if not isinstance(state_dict, Mapping):
            raise ArgumentTypeError(f"Expected state_dict to be dict-like, got {type(state_dict)}.")
        state = dict(state_dict)
        metadata = getattr(state_dict, "_metadata", {})
        missing: list[str] = []
        errors: list[str] = []
        writes: list[tuple[Any, Any]] = []
        known: set[str] = set()

        def visit(module: Module, prefix: str) -> None:
            local = metadata.get(prefix[:-1], {})
            if assign:
                local = {**local, "assign_to_params_buffers": True}
            for hook in module._load_state_dict_pre_hooks.values():
                hook(module, state, prefix, local, strict, missing, known_unexpected, errors)
            module._load_from_state_dict(state, prefix, local, True, missing, known_unexpected, errors, writes=writes, known=known)
            for name, child in (*module._modules.items(), *(module._contained() if module._containers else ())):
                if isinstance(child, Module):
                    visit(child, f"{prefix}{name}.")

        known_unexpected: list[str] = []
        visit(self, "")
        unexpected = [*known_unexpected, *(key for key in state if key not in known and key not in known_unexpected)]
        result = IncompatibleKeys(missing, unexpected)
        for module in self.modules():
            for hook in module._load_state_dict_post_hooks.values():
                hook(module, result)
        if strict and result.unexpected_keys:
            errors.insert(0, "Unexpected key(s) in state_dict: {}. ".format(", ".join(f'"{k}"' for k in result.unexpected_keys)))
        if strict and result.missing_keys:
            errors.insert(0, "Missing key(s) in state_dict: {}. ".format(", ".join(f'"{k}"' for k in result.missing_keys)))
        if errors:
            raise StateDictError("Error(s) in loading state_dict for {}:\n\t{}".format(type(self).__name__, "\n\t".join(errors)))
        for write, value in writes:
            write(value)
        return result

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, local_metadata: dict, strict: bool, missing_keys: list[str], unexpected_keys: list[str],
        error_msgs: list[str], *, writes: list[tuple[Any, Any]] | None = None, known: set[str] | None = None,
    ) -> None:  # fmt: skip
        """Check this module's own entries, and note what is to be written; subclasses extend it to read older formats."""
        direct = writes is None
        writes = [] if writes is None else writes
        known = set() if known is None else known
        assign = local_metadata.get("assign_to_params_buffers", False)
        for name, cell in (*self._own_parameters(), *self._buffers.items()):
            if cell is None or name in self._non_persistent_buffers_set:
                continue
            key = prefix + name
            known.add(key)
            if key not in state_dict:
                if strict:
                    missing_keys.append(key)
                continue
            value = loaded(key, state_dict[key], cell, assign, error_msgs)
            if value is not None:
                writes.append((cell.assign, value))
        if type(self).set_extra_state is not Module.set_extra_state:
            key = prefix + "_extra_state"
            known.add(key)
            if key in state_dict:
                writes.append((self.set_extra_state, state_dict[key]))
            elif strict:
                missing_keys.append(key)
        if direct:
            for write, value in writes:
                write(value)

    # --- hooks -----------------------------------------------------------------------------------------------------

    def _add_hook(self, kind: str, hook: Callable | KwargsHook, prepend: bool = False) -> RemovableHandle:
        hooks = self.__dict__[kind]
        number = next(_hook_numbers)
        hooks[number] = hook
        if prepend:
            hooks.move_to_end(number, last=False)
        self.__dict__["_has_hooks"] = True
        self._note_change()
        return RemovableHandle(hooks, number, self._note_change)

    def register_forward_pre_hook(self, hook: Callable, *, prepend: bool = False, with_kwargs: bool = False) -> RemovableHandle:
        """Call ``hook(module, inputs)`` before every `forward`; what it returns, if not `None`, replaces the inputs."""
        return self._add_hook("_forward_pre_hooks", KwargsHook(hook, with_kwargs) if with_kwargs else hook, prepend)

    def register_forward_hook(self, hook: Callable, *, prepend: bool = False, with_kwargs: bool = False, always_call: bool = False) -> RemovableHandle:
        """Call ``hook(module, inputs, output)`` after every `forward`; what it returns, if not `None`, replaces the output."""
        return self._add_hook("_forward_hooks", KwargsHook(hook, with_kwargs, always_call) if with_kwargs or always_call else hook, prepend)

    def register_full_backward_hook(self, hook: Callable, prepend: bool = False) -> RemovableHandle:
        """Call ``hook(module, grad_input, grad_output)`` when the gradients at the module's inputs are known; what it returns replaces them."""
        return self._add_hook("_backward_hooks", hook, prepend)

    register_backward_hook = register_full_backward_hook

    def register_full_backward_pre_hook(self, hook: Callable, prepend: bool = False) -> RemovableHandle:
        """Call ``hook(module, grad_output)`` when the gradients at the module's outputs are known; what it returns replaces them."""
        return self._add_hook("_backward_pre_hooks", hook, prepend)

    def register_state_dict_post_hook(self, hook: Callable) -> RemovableHandle:
        """Call ``hook(module, state_dict, prefix, local_metadata)`` after `state_dict` filled in this module's entries."""
        return self._add_hook("_state_dict_hooks", hook)

    _register_state_dict_hook = register_state_dict_post_hook

    def register_state_dict_pre_hook(self, hook: Callable) -> RemovableHandle:
        """Call ``hook(module, prefix, keep_vars)`` before `state_dict` fills in this module's entries."""
        return self._add_hook("_state_dict_pre_hooks", hook)

    def register_load_state_dict_pre_hook(self, hook: Callable) -> RemovableHandle:
        """Call ``hook(module, state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs)`` before loading."""
        return self._add_hook("_load_state_dict_pre_hooks", hook)

    def _register_load_state_dict_pre_hook(self, hook: Callable, with_module: bool = False) -> RemovableHandle:
        return self._add_hook("_load_state_dict_pre_hooks", hook if with_module else lambda module, *arguments: hook(*arguments))

    def register_load_state_dict_post_hook(self, hook: Callable) -> RemovableHandle:
        """Call ``hook(module, incompatible_keys)`` after loading."""
        return self._add_hook("_load_state_dict_post_hooks", hook)

    # --- printing, copying ---------------------------------------------------------------------------------------------

    def extra_repr(self) -> str:
        """What stands in the parentheses of the module's repr; for subclasses to define."""
        return ""

    def _get_name(self) -> str:
        return type(self).__name__

    def __repr__(self) -> str:
        extra = self.extra_repr()
        lines = extra.split("\n") if extra else []
        children = [f"({name}): {_indent(repr(module))}" for name, module in self._modules.items()]
        children += [f"({name}): {_indent(repr(m))}" for name, m in self._contained() if isinstance(m, Module)]
        if not children and len(lines) < 2:
            return f"{self._get_name()}({extra})"
        return f"{self._get_name()}(\n  " + "\n  ".join(lines + children) + "\n)"

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_cached_signature"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._note_change()


NOT_PLAIN = {*REGISTRIES, *HOOKS, "_non_persistent_buffers_set", "_containers", "_change", "_has_hooks", "_cached_signature"}


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


def _is_floating(value: Any) -> bool:
    return value.dtype.kind in "fcV"


def _indent(text: str) -> str:
    return text.replace("\n", "\n  ")
