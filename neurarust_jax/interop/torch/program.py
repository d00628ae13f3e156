"""The record of a trace, as a list of steps with our functions."""

from __future__ import annotations

import functools
import inspect
import operator
from collections.abc import Callable
from typing import Any, NamedTuple

from torch import fx

from ...autograd.graph import _ModeSwitch
from ...cells import Cell
from ...errors import UnsupportedError
from ...ops.creation import full_like, zeros_like
from ...parameter import Buffer
from ...tensor import Tensor
from .functions import constant, function_named, name_of

_AUGMENTED = {"iadd": "add", "isub": "sub", "imul": "mul", "itruediv": "div", "ifloordiv": "floor_divide", "imod": "remainder", "ipow": "pow", "imatmul": "matmul"}
_RANDOM = {"normal_", "uniform_", "bernoulli_", "exponential_", "random_", "cauchy_", "log_normal_", "geometric_"}
_VIEWS = {
    "view", "view_as", "reshape", "reshape_as", "transpose", "t", "permute", "movedim", "moveaxis", "swapaxes", "swapdims", "squeeze", "unsqueeze", "expand", "expand_as",
    "narrow", "select", "chunk", "split", "tensor_split", "unbind", "flatten", "unflatten", "diagonal", "getitem", "contiguous", "detach", "to", "unfold", "T", "mT", "real", "imag",
    "ravel", "hsplit", "vsplit", "dsplit", "adjoint", "type", "type_as", "float", "view_as_real", "view_as_complex",
}  # fmt: skip


def assign(cell: Any, value: Any) -> None:
    """Give a buffer of the module a new value."""
    cell.assign(value.detach() if isinstance(value, Tensor) else value)


class _Value(NamedTuple):
    """The result of a step, as an argument of a later one."""

    number: int


class _Step(NamedTuple):
    kind: str  # input, cell, constant, module, function, method, inplace
    target: Any
    args: Any
    kwargs: Any
    aliases: tuple[int, ...]  # for a step in place: the results that stand for the same tensor
    no_grad: bool
    last_used: tuple[int, ...]  # results that no later step uses


class Program:
    """The steps of a recorded call; plain values, which can be pickled.

    Raises:
        NotImplementedError: a step calls what has no counterpart here.
    """

    def __init__(self, graph: fx.Graph, name: str):
        self.name = name
        self.numbers: dict[fx.Node, int] = {}
        self.same: dict[fx.Node, set[fx.Node]] = {}
        self.steps: list[_Step] = []
        self.output: Any = None
        nodes = list(graph.nodes)
        last_use = {used: i for i, node in enumerate(nodes) for used in node.all_input_nodes}
        for i, node in enumerate(nodes):
            self.numbers[node] = i
            done = tuple(self.numbers[used] for used in node.all_input_nodes if last_use[used] == i)
            if node.op == "output":
                self.output = self._argument(node.args[0])
            else:
                self.steps.append(self._step(node, done, nodes[i + 1 :]))
        self.numbers, self.same = {}, {}

    # making it

    def _step(self, node: fx.Node, done: tuple[int, ...], later: list[fx.Node]) -> _Step:
        kind, target = node.op, node.target
        writes = False
        if kind == "placeholder":
            kind, target = "input", int(str(target).removeprefix("input_"))
        elif kind == "get_attr":
            kind, target = ("constant", constant(node.meta["constant"])) if "constant" in node.meta else ("cell", tuple(str(target).split(".")))
        elif kind == "call_module":
            kind, target, writes = "module", tuple(str(target).split(".")), node.meta["inplace"]
        else:
            name = str(target) if kind == "call_method" else getattr(target, "__name__", "")
            if kind == "call_method":
                self._check_method(name)
            if self._writes(node, name):
                kind, target, writes = "inplace", name, True
            elif kind == "call_method":
                kind = "method"
            else:
                kind, target, writes = "function", f"{__name__}:assign" if target is assign else name_of(target), _writes_by_flag(node)
        aliases = self._written(node, later) if writes else ()
        return _Step(kind, target, self._argument(node.args), self._argument(node.kwargs), aliases, node.meta["no_grad"], done)

    @staticmethod
    def _writes(node: fx.Node, name: str) -> bool:
        if name == "setitem" or name in _AUGMENTED or name in ("iand", "ior", "ixor"):
            return node.op == "call_function"
        return name.endswith("_") and not name.endswith("__") and name != "requires_grad_"

    @staticmethod
    def _check_method(name: str) -> None:
        plain = name.removesuffix("_")
        if not hasattr(Tensor, name) and not hasattr(Tensor, plain):
            raise UnsupportedError(f"from_torch knows nothing that stands for the method Tensor.{name}; write the module anew, or put that part outside it")

    def _written(self, node: fx.Node, later: list[fx.Node]) -> tuple[int, ...]:
        """The results that stand for the tensor that a step writes into.

        Raises:
            NotImplementedError: it is part of another tensor that is used later.
        """
        (target, *_) = node.args or tuple(node.kwargs.values())
        if not isinstance(target, fx.Node):
            return ()
        if _is_written_back(node, target):
            return ()
        group = self.same.setdefault(target, {target})
        group.add(node)
        self.same[node] = group
        following = set(later)
        for related in _sharing_memory(target):
            if related in self.numbers and related not in group and any(user in following for user in related.users):
                raise UnsupportedError(
                    f"from_torch cannot take over {node.format_node()}: it writes into a view of {related.name}, which {self.name}.forward uses later; write it without the view"
                )
        return tuple(self.numbers[n] for n in group if n is not node)

    def _argument(self, argument: Any) -> Any:
        if isinstance(argument, fx.Node):
            return _Value(self.numbers[argument])
        if type(argument) is slice:
            return slice(*map(self._argument, (argument.start, argument.stop, argument.step)))
        if isinstance(argument, dict):
            return {key: self._argument(value) for key, value in argument.items()}
        if isinstance(argument, list | tuple) and type(argument).__name__ != "Size":
            made = [self._argument(a) for a in argument]
            if isinstance(argument, list):
                return made
            return type(argument)(*made) if hasattr(argument, "_fields") else tuple(made)
        return constant(argument)

    # running it

    def run(self, module: Any, inputs: list[Any]) -> Any:
        """What the call returns, with the cells and submodules of `module`."""
        results: dict[int, Any] = {}
        for number, step in enumerate(self.steps):
            if step.no_grad:
                with _ModeSwitch(False):
                    results[number] = _run(step, module, inputs, results)
            else:
                results[number] = _run(step, module, inputs, results)
            if step.aliases and isinstance(results[number], Tensor):
                for alias in step.aliases:
                    results[alias] = results[number]
            for used in step.last_used:
                del results[used]
        return _filled(self.output, results)


def _run(step: _Step, module: Any, inputs: list[Any], results: dict[int, Any]) -> Any:
    kind = step.kind
    if kind == "input":
        return _as_tensor(inputs[step.target])
    if kind == "constant":
        return step.target
    if kind == "cell":
        return _found(module, step.target, ("_parameters", "_buffers"))
    args, kwargs = _filled(step.args, results), _filled(step.kwargs, results)
    if kind == "module":
        return _found(module, step.target, ("_modules",))(*args, **kwargs)
    if kind == "function":
        return function_named(step.target)(*args, **kwargs)
    if kind == "method":
        return getattr(args[0], step.target)(*args[1:], **kwargs)
    return in_place(step.target, *args, **kwargs)


def _as_tensor(x: Any) -> Tensor:
    from ...ops.creation import as_tensor

    return x if isinstance(x, Tensor) else as_tensor(x)


def _found(module: Any, path: tuple[str, ...], registries: tuple[str, ...]) -> Any:
    *parents, name = path
    for parent in parents:
        module = module._modules[parent]
    return next(vars(module)[r][name] for r in registries if name in vars(module)[r])


def _filled(argument: Any, results: dict[int, Any]) -> Any:
    """An argument with the results that it names."""
    kind = type(argument)
    if kind is _Value:
        return results[argument.number]
    if kind is tuple:
        return tuple([_filled(a, results) for a in argument])
    if kind is list:
        return [_filled(a, results) for a in argument]
    if kind is dict:
        return {key: _filled(a, results) for key, a in argument.items()}
    if kind is slice:
        return slice(_filled(argument.start, results), _filled(argument.stop, results), _filled(argument.step, results))
    if isinstance(argument, tuple) and hasattr(argument, "_fields"):
        return kind(*[_filled(a, results) for a in argument])
    return argument


def in_place(name: str, target: Any, *args: Any, **kwargs: Any) -> Any:
    """What a tensor is after a call that writes into it; a cell is written."""
    if not isinstance(target, Tensor):  # a number, such as a length: it was no write
        return getattr(operator, name)(target, *args, **kwargs)
    if name == "setitem":
        index, value = args
        if isinstance(target, Cell):
            target[index] = value
            return target
        return target.at[index].set(value)
    plain = _AUGMENTED.get(name, {"iand": "bitwise_and", "ior": "bitwise_or", "ixor": "bitwise_xor"}.get(name, name.removesuffix("_")))
    if isinstance(target, Cell):
        return getattr(target, plain + "_")(*args, **kwargs)
    if name in _RANDOM:
        return getattr(Buffer(target.detach()), name)(*args, **kwargs).detach()
    if name == "zero_":
        return zeros_like(target)
    if name == "fill_":
        return full_like(target, *args, **kwargs)
    if name == "copy_":
        return args[0].to(target.dtype).expand_as(target)
    return getattr(target, plain)(*args, **kwargs).to(target.dtype)


# --- what writes into a tensor ----------------------------------------------------------------------------------------


def _writes_by_flag(node: fx.Node) -> bool:
    """Whether a function of `torch.nn.functional` was called with `inplace=True`."""
    if node.op != "call_function" or not callable(node.target):
        return False
    names = _parameters(node.target)
    if "inplace" not in names:
        return False
    position = names.index("inplace")
    return bool(node.kwargs.get("inplace", node.args[position] if position < len(node.args) else False))


@functools.cache
def _parameters(function: Callable) -> list[str]:
    try:
        return list(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        return []


def _is_view(node: fx.Node) -> bool:
    if node.op == "call_method":
        return node.target in _VIEWS
    if node.op != "call_function":
        return False
    name = getattr(node.target, "__name__", "")
    return name in _VIEWS or (name == "getattr" and node.args[1] in _VIEWS | {"data"})


def _is_written_back(node: fx.Node, target: fx.Node) -> bool:
    """Whether a step is the middle one of `x[i] += y`, which the assignment to `x[i]` follows."""
    if target.target is not operator.getitem:
        return False
    return any(user.target is operator.setitem and user.args == (*target.args, node) for user in node.users)


def _sharing_memory(node: fx.Node) -> set[fx.Node]:
    """The values that may be views of the same memory."""
    found: set[fx.Node] = set()
    stack = [node]
    while stack:
        one = stack.pop()
        if one in found:
            continue
        found.add(one)
        if _is_view(one) and isinstance(one.args[0], fx.Node):
            stack.append(one.args[0])
        stack += [user for user in one.users if _is_view(user) and user.args[0] is one]
    found.discard(node)
    return found
