"""Modules among the arguments of a function with its own derivative: their parameters and buffers become arguments, each for itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax

from ..cells import current_trace
from ..errors import AutogradError
from .jit import _Same
from .lift import Packing, cells_in_order, keeps_together, modules_in, originals, tensors_of


class OverModules:
    """A function of modules and pytrees, and its rules, as functions of tensors.

    Args:
        nondiff_argnums: numbers of the arguments that have no derivative. They stay as they are, before all others.
        args: the arguments of a call.

    Attributes:
        given: the arguments of that call as the new function takes them.
        nondiff_argnums: the numbers among them of those without derivative.
        key: equal for calls that the same new function serves: those with the same modules, in pytrees of one form.
    """

    def __init__(self, nondiff_argnums: Sequence[int], args: tuple):
        self.numbers = [i for i in range(len(args)) if i not in nondiff_argnums]
        self.fixed = list(nondiff_argnums)
        chosen = tuple(args[i] for i in self.numbers)
        self.form = Packing(chosen).form
        self.modules = modules_in(chosen)
        self.given = [*(args[i] for i in self.fixed), *tensors_of(chosen)]
        self.nondiff_argnums = tuple(range(len(self.fixed)))
        self.key = (self.form, *map(_Same, self.modules))
        self.parts = [_Part(x) for x in chosen]

    def _rebuilt(self, tensors: Sequence[Any]) -> tuple:
        return self.form.unpack(tensors)

    def _arguments(self, given: Sequence[Any]) -> tuple[list[Any], tuple]:
        """(all arguments of the user's function, those of them that have a derivative)"""
        count = len(self.fixed)
        rebuilt = self._rebuilt(given[count:])
        everything = dict(zip((*self.fixed, *self.numbers), (*given[:count], *rebuilt), strict=True))
        return [everything[i] for i in sorted(everything)], rebuilt

    def function(self, fun: Callable, *given: Any) -> Any:
        """The user's function. What it writes to buffers of the modules is written."""
        arguments, rebuilt = self._arguments(given)
        returned = fun(*arguments)
        trace = current_trace()
        for new, old in originals(rebuilt, self.modules).items():
            if trace is not None and new in trace.written_cells:
                old._write(trace.values[new])
        return returned

    def forward_rule(self, rule: Callable, *given: Any) -> Any:
        """`fwd`."""
        return rule(*self._arguments(given)[0])

    def backward_rule(self, rule: Callable, *given: Any) -> tuple:
        """`bwd`, with a gradient for each tensor of the modules."""
        returned = rule(*given)
        returned = tuple(returned) if isinstance(returned, tuple | list) else (returned,)
        if len(returned) != len(self.parts):
            raise AutogradError(f"bwd must return a gradient or None for each of the {len(self.parts)} arguments, but returned {len(returned)}")
        return tuple(g for part, gradient in zip(self.parts, returned, strict=True) for g in part.flattened(gradient))

    def tangent_rule(self, rule: Callable, *given: Any) -> Any:
        """The rule of `custom_jvp`, with modules whose parameters hold tangents."""
        *fixed, primals, tangents = given
        return rule(*fixed, self._rebuilt(primals), self._rebuilt(tangents))


class _Part:
    """An argument with its modules left whole, to take its gradient apart."""

    def __init__(self, argument: Any):
        nodes, self.structure = jax.tree.flatten(argument, is_leaf=keeps_together)
        self.names = [_names(node) if hasattr(node, "_own_cells") else None for node in nodes]

    def flattened(self, gradient: Any) -> list[Any]:
        """A gradient or `None` for each tensor."""
        if gradient is None:
            return [None] * sum(1 if names is None else len(names) for names in self.names)
        found: list[Any] = []
        for names, node in zip(self.names, self.structure.flatten_up_to(gradient), strict=True):
            if names is None:
                found.append(node)
            elif node is None or isinstance(node, dict):
                found += _by_name(names, node or {})
            else:
                found += tensors_of(node)
        return found


def _names(module: Any) -> list[str]:
    """The names of a module's tensors, in the order in which they are its leaves."""
    names = {id(cell): name for name, cell in (*module.named_parameters(), *module.named_buffers())}
    return [names.get(id(cell), "") for cell in cells_in_order(module) if cell._read() is not None]


def _by_name(names: list[str], gradients: dict[str, Any]) -> list[Any]:
    unknown = set(gradients).difference(names)
    if unknown:
        raise AutogradError(f"bwd returned gradients for {sorted(unknown)}, and the module has {sorted(filter(None, names))}")
    return [gradients.get(name) for name in names]
