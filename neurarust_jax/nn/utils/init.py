"""Modules made without drawing their parameters."""

from __future__ import annotations

import inspect
from typing import Any

from ...errors import StateDictError
from ...generator import default_generator
from ..module import Module

__all__ = ["skip_init"]


def skip_init(module_cls: type[Module], *args: Any, **kwargs: Any) -> Module:
    """A module whose parameters may have any values, for those that will be loaded or drawn otherwise. The random generator stays as it is.

    Args:
        module_cls: a class of modules whose constructor takes `device`.
        *args, **kwargs: the arguments of the constructor.

    Raises:
        RuntimeError: `module_cls` is no such class.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.nn.utils.skip_init(nr.nn.Linear, 5, 1)
        Linear(in_features=5, out_features=1, bias=True)
    """
    if not (isinstance(module_cls, type) and issubclass(module_cls, Module)):
        raise StateDictError(f"Expected a Module; got {module_cls}")
    if "device" not in inspect.signature(module_cls).parameters:
        raise StateDictError("Module must support a 'device' arg to skip initialization")
    state = default_generator._read()
    module = module_cls(*args, **kwargs)
    default_generator._write(state)
    return module
