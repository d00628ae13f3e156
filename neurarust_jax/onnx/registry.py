"""The table of handlers: for each ONNX op and version a small function that computes it.

A handler is registered by `@handler("Softmax", since=13)`. It takes the node and the node's inputs by position (`None` for one left out, `*inputs` for a
variadic list) and returns one value or a tuple. What the values are is said in `values.py`.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Sequence
from typing import NamedTuple


class Handler(NamedTuple):
    """A function that computes an op from one version on.

    Attributes:
        function: called with the node and its inputs.
        since: the first version of the op's domain that it holds for.
        static: numbers of the inputs that must be known while tracing; they arrive as NumPy arrays.
        stateful: whether it gives another result at every call, so that it is never computed beforehand.
    """

    function: Callable
    since: int
    static: tuple[int, ...]
    stateful: bool


_TABLE: dict[tuple[str, str], list[Handler]] = {}
_is_complete = False


def handler(*op_types: str, since: int = 1, domain: str = "", static: Sequence[str | int] = (), stateful: bool = False) -> Callable[[Callable], Callable]:
    """Register a function as the handler of ops.

    Args:
        op_types: the ops.
        since: the first version of the domain that it holds for; of several handlers the one with the highest version up to the model's is taken.
        domain: the ops' domain; empty for ai.onnx.
        static: names of arguments, or numbers of inputs, that must be known while tracing.
        stateful: whether each call gives another result.
    """

    def register(function: Callable) -> Callable:
        names = list(inspect.signature(function).parameters)[1:]
        numbers = tuple(names.index(s) if isinstance(s, str) else s for s in static)
        for op_type in op_types:
            _TABLE.setdefault((domain, op_type), []).append(Handler(function, since, numbers, stateful))
        return function

    return register


def find(domain: str, op_type: str, version: int) -> Handler | None:
    """The handler of an op for a version of its domain, or `None`."""
    global _is_complete
    if not _is_complete:
        from . import handlers

        for module in pkgutil.iter_modules(handlers.__path__):
            importlib.import_module(f"{handlers.__name__}.{module.name}")
        _is_complete = True
    fitting = [h for h in _TABLE.get((domain, op_type), ()) if h.since <= version]
    return max(fitting, key=lambda h: h.since, default=None)


def known_ops() -> list[tuple[str, str, int]]:
    """(domain, op, version) of every handler."""
    find("", "Identity", 1)
    return sorted((domain, op_type, h.since) for (domain, op_type), found in _TABLE.items() for h in found)
