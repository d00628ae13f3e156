"""Weight normalization by a hook before `forward`. `parametrizations.weight_norm` is its successor."""

from __future__ import annotations

import warnings
from typing import Any, TypeVar

from ...errors import ArgumentError, HookError
from ...ops.matrix import norm_except_dim
from ...parameter import Parameter, is_lazy
from ...tensor import Tensor
from ..module import Module

__all__ = ["WeightNorm", "remove_weight_norm", "weight_norm"]

M = TypeVar("M", bound=Module)


def normalized_weight(v: Tensor, g: Tensor, dim: int) -> Tensor:
    """``g * v / norm(v)``, with a norm for each slice along `dim`, or one norm if it is -1."""
    return v * (g / norm_except_dim(v, 2, dim))


class WeightNorm:
    """The hook: it makes the weight of its direction `name_v` and its magnitude `name_g`.

    Attributes:
        name: of the weight.
        dim: the dimension along which each slice has a norm of its own; -1 for one norm.
    """

    def __init__(self, name: str, dim: int | None):
        self.name = name
        self.dim = -1 if dim is None else dim

    def compute_weight(self, module: Any) -> Tensor:
        """The weight as it is now."""
        return normalized_weight(getattr(module, f"{self.name}_v"), getattr(module, f"{self.name}_g"), self.dim)

    @staticmethod
    def apply(module: Any, name: str, dim: int | None) -> WeightNorm:
        """Put the hook on a module."""
        if any(isinstance(hook, WeightNorm) and hook.name == name for hook in module._forward_pre_hooks.values()):
            raise HookError(f"Cannot register two weight_norm hooks on the same parameter {name}")
        hook = WeightNorm(name, dim)
        weight = getattr(module, name)
        if is_lazy(weight):
            raise ArgumentError(
                "The module passed to `WeightNorm` can't have uninitialized parameters. Make sure to run the dummy forward before applying weight normalization"
            )
        delattr(module, name)
        module.register_parameter(f"{name}_g", Parameter(norm_except_dim(weight, 2, hook.dim).detach()))
        module.register_parameter(f"{name}_v", Parameter(weight.detach()))
        setattr(module, name, hook.compute_weight(module))
        module.register_forward_pre_hook(hook)
        return hook

    def remove(self, module: Any) -> None:
        """Make the weight a parameter again."""
        weight = self.compute_weight(module).detach()
        for name in (self.name, f"{self.name}_g", f"{self.name}_v"):
            delattr(module, name)
        setattr(module, self.name, Parameter(weight))

    def __call__(self, module: Any, inputs: Any) -> None:
        setattr(module, self.name, self.compute_weight(module))


def weight_norm(module: M, name: str = "weight", dim: int | None = 0) -> M:
    """Deprecated: learn magnitude and direction of a weight apart (Salimans and Kingma, 2016). Use `parametrizations.weight_norm`.

    Args:
        module: the module, which is changed.
        name: of the weight. It becomes the parameters `name_g` and `name_v`.
        dim: the dimension along which each slice has a magnitude of its own; `None` for one magnitude. Default: 0.

    Returns:
        The module.
    """
    warnings.warn("`torch.nn.utils.weight_norm` is deprecated in favor of `torch.nn.utils.parametrizations.weight_norm`.", FutureWarning, stacklevel=2)
    WeightNorm.apply(module, name, dim)
    return module


def remove_weight_norm(module: M, name: str = "weight") -> M:
    """Make a weight one parameter again after `weight_norm`.

    Raises:
        ValueError: the weight is not normalized.
    """
    for number, hook in module.__dict__["_forward_pre_hooks"].items():
        if isinstance(hook, WeightNorm) and hook.name == name:
            hook.remove(module)
            del module.__dict__["_forward_pre_hooks"][number]
            module._note_change()
            return module
    raise ArgumentError(f"weight_norm of '{name}' not found in {module}")
