"""Modules as pure functions: `functional_call` and `stack_module_state`; and what of `torch.func` has nothing left to do here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax.numpy as jnp

from .. import dtypes
from ..cells import StateTrace, write_all
from ..errors import ArgumentError, StateDictError
from ..parameter import Parameter
from ..tensor import Tensor, array_from, wrap

__all__ = ["debug_unwrap", "functional_call", "functionalize", "stack_module_state"]


def functional_call(
    module: Any,
    parameter_and_buffer_dicts: Mapping[str, Any] | Sequence[Mapping[str, Any]],
    args: Any = None,
    kwargs: dict[str, Any] | None = None,
    *,
    tie_weights: bool = True,
    strict: bool = False,
) -> Any:
    """Call a module with other values for its parameters and buffers; its own stay as they are.

    Args:
        module: the module.
        parameter_and_buffer_dicts: tensors by dotted name, in one dict or several.
        args: the positional arguments: a tuple, or one value.
        kwargs: the keyword arguments.
        tie_weights: a value given for one name of a shared parameter counts for its other names too.
        strict: raise if names are missing or unexpected.

    Returns:
        What the module returns. Gradients flow to the tensors in the dict.

    Raises:
        RuntimeError: a name is no parameter or buffer (with `strict`, also missing names).

    Examples:
        >>> import neurarust_jax as nr
        >>> model = nr.nn.Linear(2, 1, bias=False)
        >>> nr.func.functional_call(model, {"weight": nr.ones(1, 2)}, (nr.ones(1, 2),))
        tensor([[2.]])
    """
    dicts = [parameter_and_buffer_dicts] if isinstance(parameter_and_buffer_dicts, Mapping) else list(parameter_and_buffer_dicts)
    given: dict[str, Any] = {}
    for one in dicts:
        repeated = given.keys() & one.keys()
        if repeated:
            raise ArgumentError(f"{sorted(repeated)[0]} appears in multiple dictionaries")
        given.update(one)
    named = dict([*module.named_parameters(remove_duplicate=False), *module.named_buffers(remove_duplicate=False)])
    unexpected = [name for name in given if name not in named]
    if unexpected:
        raise StateDictError(f"Unexpected key(s): {', '.join(unexpected)}; {type(module).__name__} has {', '.join(named)}")
    if strict and named.keys() - given.keys():
        raise StateDictError(f"Missing key(s): {', '.join(name for name in named if name not in given)}.")
    arguments = () if args is None else args if isinstance(args, tuple) else (args,)
    replaced: dict[Any, Tensor] = {}
    for name, value in given.items():
        cell = named[name]
        if cell in replaced and value is not given[name]:
            raise ArgumentError(f"functional_call got two values for the shared parameter {name!r}")
        replaced[cell] = value if isinstance(value, Tensor) else wrap(array_from(value))
    return call_with(module, replaced, arguments, kwargs or {})[0]


def call_with(function: Callable, replaced: dict[Any, Tensor], args: tuple, kwargs: dict[str, Any]) -> tuple[Any, dict[Any, Tensor]]:
    """Call a function while some cells have other values.

    Returns:
        What it returns, and the new values of those of the cells that it wrote; their own stay as they are.
    """
    with _Substituted(replaced) as trace:
        output = function(*args, **kwargs)
    changed = [c for c in trace.written_cells if c not in replaced]
    write_all(changed, [trace.values[c] for c in changed])
    written = {c: trace.values[c] for c in trace.written_cells if c in replaced}
    return output, {c: v if isinstance(v, Tensor) else wrap(v) for c, v in written.items()}


class _Substituted(StateTrace):
    """A state trace in which some cells have other values, and other places in the graph."""

    __slots__ = ("replaced", "kept")

    def __init__(self, replaced: dict[Any, Tensor]):
        super().__init__({cell: value._value for cell, value in replaced.items()})
        self.replaced = replaced

    def __enter__(self) -> _Substituted:
        super().__enter__()
        self.kept = [(cell, cell.__dict__.get("_node"), cell.__dict__.get("_index", 0)) for cell in self.replaced]
        for cell, value in self.replaced.items():
            cell.__dict__["_node"], cell.__dict__["_index"] = value._node, value._index
        return self

    def __exit__(self, *exception: object) -> None:
        for cell, node, index in self.kept:
            cell.__dict__["_node"], cell.__dict__["_index"] = node, index
        super().__exit__(*exception)


def stack_module_state(models: Sequence[Any]) -> tuple[dict[str, Parameter], dict[str, Tensor]]:
    """Parameters and buffers of several modules of one build, stacked along a new first dimension, for `vmap` over an ensemble.

    Args:
        models: modules of the same class and shapes.

    Returns:
        ``(parameters, buffers)``, dicts by name: parameters, which an optimizer can train, and tensors.
    """
    if not models:
        raise ArgumentError("stack_module_state: Expected at least one model, got 0.")

    def stacked(members: list[dict[str, Any]]) -> dict[str, Tensor]:
        with dtypes.x64():
            return {name: wrap(jnp.stack([m[name]._value for m in members])) for name in members[0]}

    parameters = stacked([dict(m.named_parameters()) for m in models])
    return {name: Parameter(value) for name, value in parameters.items()}, stacked([dict(m.named_buffers()) for m in models])


def functionalize(func: Callable, *, remove: str = "mutations") -> Callable:
    """The function itself: tensors have no views here and their value never changes, so that there is nothing to remove.

    Writes to cells (parameters, buffers, random generators) stay; the transformations carry those out by themselves.

    Args:
        func: a function.
        remove: `"mutations"` or `"mutations_and_views"`.
    """
    if remove not in ("mutations", "mutations_and_views"):
        raise ArgumentError(f"functionalize(func, remove={remove!r}): remove is 'mutations' or 'mutations_and_views'")
    return func


def debug_unwrap(tensor: Tensor, *, recurse: bool = True) -> Tensor:
    """The tensor itself. Inside a transformation it shows as what it is, a tracer, in `repr`; ``jax.debug.print`` prints its elements as they are computed.

    Args:
        tensor: a tensor.
        recurse: accepted and without effect.
    """
    return tensor
