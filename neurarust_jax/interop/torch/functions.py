"""PyTorch's functions, methods and constants by what stands for them here."""

from __future__ import annotations

import builtins
import functools
import importlib
import math
import operator
from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional as torch_functional

from ...errors import ArgumentTypeError, UnsupportedError
from ...tensor import Tensor
from .tensors import dtype_from_torch, tensor_from_torch

_PACKAGE = __name__.partition(".")[0]
# in the order in which they are asked: many of PyTorch's functions stand in several namespaces
_NAMESPACES: tuple[tuple[Any, str], ...] = (
    (torch_functional, f"{_PACKAGE}.nn.functional"),
    (torch, _PACKAGE),
    (torch.linalg, f"{_PACKAGE}.linalg"),
    (torch.fft, f"{_PACKAGE}.fft"),
    (torch.special, f"{_PACKAGE}.special"),
    (torch.signal.windows, f"{_PACKAGE}.signal.windows"),
    (torch.nn.utils.rnn, f"{_PACKAGE}.nn.utils.rnn"),
)
_PYTHONS = (operator, math, builtins)


@functools.cache
def _names() -> dict[Any, str]:
    """Dotted names here by PyTorch's function."""
    found: dict[Any, str] = {}
    for theirs, name in _NAMESPACES:
        ours = importlib.import_module(name)
        for attribute, function in vars(theirs).items():
            if callable(function) and not isinstance(function, type) and hasattr(ours, attribute):
                found.setdefault(function, f"{name}:{attribute}")
    found[torch._assert] = f"{__name__}:check"
    found[torch.functional.einsum] = f"{_PACKAGE}:einsum"
    return found


def name_of(function: Any) -> str:
    """The dotted name of what stands here for a function of PyTorch, of `operator`, `math` or Python itself.

    Raises:
        NotImplementedError: nothing does.
    """
    found = _names().get(function) if _hashable(function) else None
    if found is not None:
        return found
    name = getattr(function, "__name__", "")
    for module in _PYTHONS:
        if getattr(module, name, None) is function:
            return f"{module.__name__}:{name}"
    if getattr(torch.Tensor, name, None) is function and hasattr(Tensor, name):
        return f"{_PACKAGE}:Tensor.{name}"
    if isinstance(function, type) and issubclass(function, tuple):
        return f"{function.__module__}:{function.__qualname__}"
    where = getattr(function, "__module__", None)
    raise UnsupportedError(f"from_torch knows nothing that stands for the function {f'{where}.{name}' if where else function!r}; write the module anew, or put that part outside it")


def _hashable(function: Any) -> bool:
    try:
        hash(function)
    except TypeError:
        return False
    return True


@functools.cache
def function_named(name: str) -> Callable:
    """The function of a name that `name_of` gave."""
    module, _, attribute = name.partition(":")
    return operator.attrgetter(attribute)(importlib.import_module(module))


def function_from_torch(function: Any) -> Callable:
    """What stands here for a function that a layer was given, such as the activation of a `TransformerEncoderLayer`."""
    return function_named(name_of(function))


def function_to_torch(function: Any) -> Callable:
    """PyTorch's function for one of ours."""
    for theirs, name in _NAMESPACES:
        ours = importlib.import_module(name)
        attribute = getattr(function, "__name__", "")
        if getattr(ours, attribute, None) is function and hasattr(theirs, attribute):
            return getattr(theirs, attribute)
    raise UnsupportedError(f"to_torch knows no function of PyTorch for {function!r}")


def constant(value: Any) -> Any:
    """A constant argument of a recorded call: PyTorch's dtypes, devices, sizes and tensors as ours."""
    if isinstance(value, torch.dtype):
        return dtype_from_torch(value)
    if isinstance(value, torch.device):
        return None if value.type == "meta" else str(value)
    if isinstance(value, torch.Size):
        return tuple(value)
    if isinstance(value, torch.Tensor):
        return tensor_from_torch(value, copy=True).detach()
    if isinstance(value, torch.memory_format | torch.layout):
        return getattr(importlib.import_module(f"{_PACKAGE}.layouts"), str(value).removeprefix("torch."), None)
    if isinstance(value, torch.Generator):
        raise ArgumentTypeError("from_torch cannot take over a torch.Generator; random functions draw from nr.default_generator")
    return value


def check(condition: Any, message: str = "") -> None:
    """`torch._assert`: raise where the condition is known and false."""
    import jax

    value = condition._value if isinstance(condition, Tensor) else condition
    if not isinstance(value, jax.core.Tracer) and not value:
        raise AssertionError(message)
