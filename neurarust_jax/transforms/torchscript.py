"""What programs for PyTorch ask of `torch.jit`, as attributes of `nr.jit`: TorchScript's decorators, which change nothing here, and whether it is at work, which it never is."""

from __future__ import annotations

import typing
from collections.abc import Callable
from typing import Any

from .jit import CompiledFunction, jit


def script(obj: Any, optimize: None = None, _frames_up: int = 0, _rcb: Any = None, example_inputs: Any = None) -> Any:
    """A function, module or class as it is: there is no TorchScript, and `nr.jit` compiles what calls it.

    Args:
        obj: what TorchScript would compile.
        optimize, example_inputs: accepted and without effect.

    Examples:
        >>> import neurarust_jax as nr
        >>> @nr.jit.script
        ... def double(x):
        ...     return x * 2
        >>> double(nr.ones(2)), nr.jit.is_scripting()
        (tensor([2., 2.]), False)
    """
    return obj


def trace(func: Callable, example_inputs: Any = None, **options: Any) -> CompiledFunction:
    """``nr.jit(func)``, which traces the function when it is called, for the arguments that it is called with.

    Args:
        func: a function or a module.
        example_inputs: accepted and without effect, as are all options.
    """
    return jit(func)


def export(fn: Callable) -> Callable:
    """The function as it is; it marked methods for TorchScript."""
    return fn


def ignore(drop: Any = False, **kwargs: Any) -> Any:
    """The function as it is, whether as ``@nr.jit.ignore`` or as ``@nr.jit.ignore(drop=True)``; it hid methods from TorchScript."""
    return drop if callable(drop) else lambda function: function


def unused(fn: Callable) -> Callable:
    """The function as it is; it hid methods from TorchScript."""
    return fn


def script_if_tracing(fn: Callable) -> Callable:
    """The function as it is."""
    return fn


def interface(obj: type) -> type:
    """The class as it is."""
    return obj


def is_scripting() -> bool:
    """Whether TorchScript compiles the code: never."""
    return False


def is_tracing() -> bool:
    """Whether `torch.jit.trace` records the code: never."""
    return False


def annotate(the_type: Any, the_value: Any) -> Any:
    """The value as it is."""
    return the_value


for _function in (script, trace, export, ignore, unused, script_if_tracing, interface, is_scripting, is_tracing, annotate):
    setattr(jit, _function.__name__, _function)
setattr(jit, "Final", typing.Final)  # noqa: B010 (a function has no such attribute for the type checker)
