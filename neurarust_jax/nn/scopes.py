"""Which modules are running: their paths name the parts of a compiled program, and the place of an anomaly. Followed only while something is traced or watched."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import jax

from .. import cells
from ..autograd import anomaly, graph


class _Thread(threading.local):
    def __init__(self):
        self.running: list[tuple[Any, str]] = []  # (module, what it is in the module that called it), the innermost last


_thread = _Thread()


def _name(module: Any) -> str:
    """What a module is in the one that is running: its path there, such as ``layers.0``, or the name of its class if it is no part of it."""
    if _thread.running:
        caller = _thread.running[-1][0]
        for name, child in caller._modules.items():
            if child is module:
                return name
        for name, found in caller.named_modules():
            if found is module and name:
                return name
    return type(module).__name__


@contextlib.contextmanager
def entered(module: Any) -> Iterator[None]:
    """A module's call: noted in the trace under way, and its name given to what is traced."""
    trace = cells.current_trace()
    if trace is not None:
        trace.note_module(module)
    name = _name(module)
    _thread.running.append((module, name))
    try:
        if trace is None:
            yield
        else:
            with jax.named_scope(name):
                yield
    finally:
        _thread.running.pop()


def _running_path() -> str:
    if not _thread.running:
        return ""
    module = _thread.running[-1][0]
    path = ".".join(name for _, name in _thread.running)
    return f"{path!r}: {type(module).__name__}({module.extra_repr()})"


def _running_scope() -> str:
    return "/".join(name for _, name in _thread.running)


anomaly.layer_path = _running_path
graph.scope_of_modules = _running_scope
