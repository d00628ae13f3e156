"""`from_torch` and `to_torch`: tensors, modules, optimizers' and modules' state dicts, one by one or in containers."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import torch

from ...errors import ArgumentTypeError
from ...nn.module import Module
from ...tensor import Tensor
from .modules import FromTorch, ToTorch
from .tensors import dtype_from_torch, dtype_to_torch, tensor_from_torch, tensor_to_torch


def from_torch(obj: Any, *, copy: bool = False) -> Any:
    """A tensor, module or dtype of PyTorch as ours; containers element by element.

    Args:
        obj: a tensor: shares its memory where dtype, layout and device allow, so that who writes into it in PyTorch changes a value here. A
            `torch.nn.Module`: a module with copies of its parameters and buffers, the same names, flags and ties. Layers of `torch.nn` become ours; a module with a
            `forward` of its own is traced by `torch.fx`, and its record runs here. A dtype. A list, tuple or dict of all these.
        copy: never share memory.

    Returns:
        What stands for it here. A traced module is traced anew for other arguments that are no tensors, and for another training mode.

    Raises:
        NotImplementedError: a module cannot be traced, or calls what has no counterpart; the error names it.
        TypeError: nothing stands for `obj` here.

    Examples:
        >>> import torch
        >>> import neurarust_jax as nr
        >>> nr.interop.from_torch(torch.nn.Linear(3, 2))
        Linear(in_features=3, out_features=2, bias=True)
    """
    if isinstance(obj, torch.Tensor):
        return tensor_from_torch(obj, copy)
    if isinstance(obj, torch.nn.Module):
        return FromTorch().top(obj)
    if isinstance(obj, torch.dtype):
        return dtype_from_torch(obj)
    return _in_containers(obj, lambda x: from_torch(x, copy=copy), "from_torch", "PyTorch")


def to_torch(obj: Any, *, copy: bool = False) -> Any:
    """One of our tensors, modules or dtypes as PyTorch's; containers element by element.

    Args:
        obj: a tensor: shares its memory, so that nobody may write into what is returned; a `Parameter` becomes a `torch.nn.Parameter` of its own memory. A module made of
            our layers: PyTorch's module of the same layers, with copies of parameters and buffers, the same names, flags and ties. A dtype. A list, tuple or dict of all these.
        copy: never share memory.

    Raises:
        NotImplementedError: a module has a `forward` of its own; take its `state_dict` over instead, by `to_torch_state_dict`.
        TypeError: PyTorch has nothing for `obj`.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.interop.to_torch(nr.arange(3))
        tensor([0, 1, 2])
    """
    if isinstance(obj, Tensor):
        return tensor_to_torch(obj, copy)
    if isinstance(obj, Module):
        return ToTorch().top(obj)
    if type(obj).__name__ == "dtype" and obj in _dtypes():
        return dtype_to_torch(obj)
    return _in_containers(obj, lambda x: to_torch(x, copy=copy), "to_torch", "neurarust_jax")


def _dtypes() -> Any:
    from ...dtypes import ALL

    return ALL


def _in_containers(obj: Any, convert: Any, name: str, library: str) -> Any:
    if isinstance(obj, Mapping):
        made = OrderedDict() if isinstance(obj, OrderedDict) else {}
        made.update((key, convert(value)) for key, value in obj.items())
        if hasattr(obj, "_metadata"):
            made._metadata = obj._metadata  # type: ignore[union-attr]
        return made
    if isinstance(obj, tuple) and hasattr(obj, "_fields"):
        return type(obj)(*map(convert, obj))
    if isinstance(obj, list | tuple):
        return type(obj)(map(convert, obj))
    if obj is None or isinstance(obj, bool | int | float | complex | str):
        return obj
    raise ArgumentTypeError(f"{name} takes tensors, modules and dtypes of {library}, and containers of them, got {type(obj).__name__}")


def from_torch_state_dict(state_dict: Mapping[str, Any]) -> Any:
    """A state dict of PyTorch, of a module or an optimizer, with our tensors, which are copies. `load_state_dict` takes PyTorch's as it is, too."""
    return from_torch(state_dict, copy=True)


def to_torch_state_dict(module_or_state_dict: Any) -> Any:
    """The state dict of a module or optimizer, or a state dict given as such, with PyTorch's tensors, which are copies: for `load_state_dict` there, or `torch.save`.

    Args:
        module_or_state_dict: what has `state_dict()`, or what that returned.

    Examples:
        >>> import torch
        >>> import neurarust_jax as nr
        >>> ours, theirs = nr.nn.Linear(3, 2), torch.nn.Linear(3, 2)
        >>> theirs.load_state_dict(nr.interop.to_torch_state_dict(ours))
        <All keys matched successfully>
    """
    given = module_or_state_dict
    state = given.state_dict() if hasattr(given, "state_dict") else given
    return _in_containers(state, _copied, "to_torch_state_dict", "neurarust_jax")


def _copied(obj: Any) -> Any:
    if isinstance(obj, Tensor):
        return tensor_to_torch(obj, copy=True).detach()
    return obj if not isinstance(obj, Mapping | list | tuple) else _in_containers(obj, _copied, "to_torch_state_dict", "neurarust_jax")
