"""Modules of PyTorch with a `forward` of their own: traced by `torch.fx`, and what was recorded run with our functions."""

from __future__ import annotations

import copy
import functools
import inspect
import operator
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

import jax
import numpy as np
import torch
from torch import fx

from ...errors import UnsupportedError
from ...nn.module import Module
from ...tensor import Tensor
from .modules import known_class
from .program import Program, assign

_FACTORIES = (
    "zeros", "ones", "full", "empty", "arange", "range", "linspace", "logspace", "eye", "tensor", "as_tensor", "asarray", "scalar_tensor", "tril_indices", "triu_indices",
    "rand", "randn", "randint", "randperm", "normal", "complex", "polar", "zeros_like", "ones_like", "full_like", "empty_like", "rand_like", "randn_like", "randint_like",
)  # fmt: skip


def skeleton(module: torch.nn.Module) -> torch.nn.Module:
    """A copy of a module whose parameters and buffers have no elements: enough to trace it."""
    memo: dict[int, Any] = {}
    for tensor in (*module.parameters(), *module.buffers()):
        if not torch.nn.parameter.is_lazy(tensor):
            empty = torch.empty_like(tensor, device="meta")
            memo[id(tensor)] = torch.nn.Parameter(empty, tensor.requires_grad) if isinstance(tensor, torch.nn.Parameter) else empty
    return copy.deepcopy(module, memo)


class TracedModule(Module):
    """A PyTorch module with a `forward` of its own, as a module of ours.

    It has the submodules, parameters and buffers of the original under the same names. A call runs the record of a trace for the structure of the
    arguments: tensors are open, anything else is fixed in the record, and so are the modes of modules with a `forward` of their own. The first call of another kind
    traces again, without running anything in PyTorch. A copy read from a pickle has the records that were made before it.
    """

    def __init__(self, original: torch.nn.Module, name: str):
        super().__init__()
        self.__dict__["_traced_name"] = name
        self.__dict__["_traced_original"] = _Hidden(original)
        self.__dict__["_traced_signature"] = _Hidden(_plain_signature(type(original).forward))
        self.__dict__["_traced_programs"] = _Hidden({})

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Run the record of the original's `forward` for arguments of this structure."""
        leaves: list[Any] = []
        bound = self._traced_signature.value.bind(*args, **kwargs)
        bound.apply_defaults()
        structure = (_split(bound.args, leaves), _split(tuple(sorted(bound.kwargs.items())), leaves))
        return self._program(structure).run(self, leaves)

    def _program(self, structure: Any) -> Program:
        modes = tuple(m.training for m in self.modules() if isinstance(m, TracedModule))
        programs = self._traced_programs.value
        key = (modes, structure)
        if key not in programs:
            programs[key] = self._trace(structure)
        return programs[key]

    def _trace(self, structure: Any) -> Program:
        original = self._traced_original.value
        if original is None:
            raise UnsupportedError(f"{self._traced_name} was read from a pickle, and called in a way in which it was not before; call from_torch on the original again")
        for name, module in self.named_modules():
            original.get_submodule(name).training = module.training
        return Program(_Tracer(structure, self._traced_name).record(original), self._traced_name)

    def trace_plainly(self) -> None:
        """Trace a call with a tensor for each argument that has no default."""
        leaves = 0
        args: list[Any] = []
        named: list[Any] = []
        for p in self._traced_signature.value.parameters.values():
            if p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD):
                continue
            value = _Fixed(p.default)
            if p.default is p.empty:
                value, leaves = _Slot(leaves), leaves + 1
            if p.kind is p.KEYWORD_ONLY:
                named.append(("tuple", (_Fixed(p.name), value)))
            else:
                args.append(value)
        self._program((("tuple", tuple(args)), ("tuple", tuple(sorted(named, key=lambda n: n[1][0].value)))))

    def _get_name(self) -> str:
        return self._traced_name

    def __getstate__(self) -> dict[str, Any]:
        return super().__getstate__() | {"_traced_original": _Hidden(None)}

    def __deepcopy__(self, memo: dict[int, Any]) -> TracedModule:
        twin = memo[id(self)] = object.__new__(type(self))
        for name, value in self.__dict__.items():
            if name != "_cached_signature":
                twin.__dict__[name] = value if isinstance(value, _Hidden) else copy.deepcopy(value, memo)
        return twin


class _Hidden:
    """A value that copies of a module share, and that compiled functions need not compare."""

    def __init__(self, value: Any):
        self.value = value


def _plain_signature(function: Callable) -> inspect.Signature:
    """The signature without `self` and annotations."""
    _, *parameters = inspect.signature(function).parameters.values()
    return inspect.Signature([p.replace(annotation=p.empty) for p in parameters])


# --- arguments -------------------------------------------------------------------------------------------------------


class _Slot:
    """The place of a tensor among the arguments of a call."""

    __slots__ = ("number",)

    def __init__(self, number: int):
        self.number = number

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Slot) and other.number == self.number

    def __hash__(self) -> int:
        return self.number


class _Fixed:
    """An argument that is no tensor: part of the record."""

    __slots__ = ("value",)

    def __init__(self, value: Any):
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Fixed) and (self.value is other.value or (type(self.value) is type(other.value) and self.value == other.value))

    def __hash__(self) -> int:
        try:
            return hash(self.value)
        except TypeError:
            return id(self.value)


def _split(argument: Any, leaves: list[Any]) -> Any:
    """The structure of an argument, hashable; its tensors go to `leaves`."""
    if isinstance(argument, Tensor | jax.Array | np.ndarray):
        leaves.append(argument)
        return _Slot(len(leaves) - 1)
    if type(argument) in (list, tuple):
        return (type(argument).__name__, tuple(_split(a, leaves) for a in argument))
    if isinstance(argument, tuple) and hasattr(argument, "_fields"):
        return (type(argument), tuple(_split(a, leaves) for a in argument))
    if type(argument) is dict:
        return ("dict", tuple((key, _split(a, leaves)) for key, a in argument.items()))
    return _Fixed(argument)


def _join(structure: Any, make: Callable[[int], Any]) -> Any:
    """The argument of a structure, with `make(number)` for each tensor."""
    if isinstance(structure, _Slot):
        return make(structure.number)
    if isinstance(structure, _Fixed):
        return structure.value
    kind, elements = structure
    if kind == "dict":
        return {key: _join(e, make) for key, e in elements}
    made = [_join(e, make) for e in elements]
    return made if kind == "list" else tuple(made) if kind == "tuple" else kind(*made)


# --- the trace -------------------------------------------------------------------------------------------------------


class _Proxy(fx.Proxy):
    """A value that is not known yet. Beyond what fx records, it records augmented assignments and assignments to elements."""

    __hash__ = fx.Proxy.__hash__

    def __setitem__(self, index: Any, value: Any) -> None:
        self.tracer.create_proxy("call_function", operator.setitem, (self, index, value), {})


def _augmented(function: Callable) -> Callable:
    return lambda self, other: self.tracer.create_proxy("call_function", function, (self, other), {})


for _name in ("iadd", "isub", "imul", "itruediv", "ifloordiv", "imod", "ipow", "iand", "ior", "ixor", "imatmul"):
    setattr(_Proxy, f"__{_name}__", _augmented(getattr(operator, _name)))


class _Tracer(fx.Tracer):
    """Records one call of a module's `forward`. Layers of `torch.nn`, and containers of nothing else, are recorded as calls; the rest is looked into."""

    def __init__(self, structure: Any, name: str):
        super().__init__(param_shapes_constant=True)
        self.proxy_buffer_attributes = True
        self.structure = structure
        self.name = name

    def record(self, module: torch.nn.Module) -> fx.Graph:
        """The record of a call.

        Raises:
            NotImplementedError: `forward` cannot be traced; the error names why.
        """
        self.cells = {id(t): name for members in (module.named_parameters, module.named_buffers) for name, t in members()}
        self.names = set(self.cells.values())
        try:
            with torch.enable_grad(), _recording(self):
                return self.trace(module)
        except UnsupportedError:
            raise
        except Exception as error:
            raise UnsupportedError(
                f"from_torch could not trace {self.name}.forward: {type(error).__name__}: {error}\nWhat depends on the elements or the shape of a tensor (if, while, range, len, int) "
                "cannot be traced by torch.fx. Write that module anew with nr.nn, and load its weights: ours.load_state_dict(theirs.state_dict())"
            ) from error

    def is_leaf_module(self, m: torch.nn.Module, module_qualified_name: str) -> bool:
        return all(known_class(below, torch.nn, torch.nn.Module) is not None for below in m.modules())

    def create_args_for_root(self, root_fn: Any, is_module: bool, concrete_args: Any = None) -> tuple[Callable, list[Any]]:
        proxies: dict[int, Any] = {}

        def placeholder(number: int) -> Any:
            return proxies.setdefault(number, self.create_proxy("placeholder", f"input_{number}", (), {}))

        positional = _join(self.structure[0], placeholder)
        named = dict(_join(self.structure[1], placeholder))
        return lambda: root_fn(self.root, *positional, **named), []

    def proxy(self, node: fx.Node) -> fx.Proxy:
        return _Proxy(node, self)

    def create_node(self, kind: str, target: Any, *args: Any, **kwargs: Any) -> fx.Node:
        if torch.is_autocast_enabled("cpu") or torch.is_autocast_enabled("cuda"):
            raise UnsupportedError(f"from_torch cannot take over the torch.autocast inside {self.name}.forward; put it around the call")
        node = super().create_node(kind, target, *args, **kwargs)
        node.meta["no_grad"] = not torch.is_grad_enabled()
        if kind == "call_module":
            node.meta["inplace"] = bool(getattr(self.root.get_submodule(target), "inplace", False))
        elif kind == "get_attr" and target not in self.names:
            node.meta["constant"] = self._constant(target)
        return node

    def _constant(self, name: str) -> torch.Tensor:
        """A tensor that is an attribute of a module, or that `forward` made of no argument."""
        value = operator.attrgetter(name)(self.root)
        if value.device.type == "meta":
            raise UnsupportedError(
                f"from_torch cannot tell how {self.name}.forward makes {name}, a tensor of shape {tuple(value.shape)}, from parameters: it reaches them otherwise than by attributes"
            )
        return value

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, Any]) -> Any:
        name = self.cells.get(id(attr_val)) if isinstance(attr_val, torch.Tensor) else None
        if name is None:
            return attr_val
        if name not in parameter_proxy_cache:
            value = attr_val
            parameter_proxy_cache[name] = self.create_proxy(
                "get_attr", name, (), {}, proxy_factory_fn=lambda node: _CellProxy(self, node, name, value)
            )
        return parameter_proxy_cache[name]


class _CellProxy(fx.proxy.ParameterProxy, _Proxy):
    """A parameter or buffer, whose shape is known."""

    def __init__(self, tracer: Any, node: fx.Node, name: str, tensor: torch.Tensor):
        fx.Proxy.__init__(self, node, tracer)
        self.param, self.name = tensor, name


@contextmanager
def _recording(tracer: _Tracer) -> Iterator[None]:
    """Record what fx runs at once: the making of tensors, random ones above all, and the assignment of buffers."""

    def recorded(function: Callable) -> Callable:
        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            return tracer.create_proxy("call_function", function, args, kwargs)

        return wrapper

    set_attribute = torch.nn.Module.__setattr__

    def set_buffer(module: torch.nn.Module, name: str, value: Any) -> None:
        buffer = module.__dict__.get("_buffers", {}).get(name)
        if isinstance(value, fx.Proxy) and buffer is not None:
            tracer.create_proxy("call_function", assign, (tracer.create_proxy("get_attr", tracer.cells[id(buffer)], (), {}), value), {})
        else:
            set_attribute(module, name, value)  # type: ignore[arg-type]

    def refuse(function: Any, *args: Any, **kwargs: Any) -> Any:
        raise UnsupportedError(f"from_torch cannot take over the backward pass of {function.__name__}, a torch.autograd.Function; write the module anew with nr.autograd.Function")

    with ExitStack() as stack:
        for name in _FACTORIES:
            stack.enter_context(mock.patch.object(torch, name, recorded(getattr(torch, name))))
        stack.enter_context(mock.patch.object(torch.nn.Module, "__setattr__", set_buffer))
        stack.enter_context(mock.patch.object(torch.autograd.Function, "apply", classmethod(refuse)))
        yield
