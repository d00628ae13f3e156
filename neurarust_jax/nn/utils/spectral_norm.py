"""Spectral normalization by a hook before `forward`. `parametrizations.spectral_norm` is its successor."""

from __future__ import annotations

from typing import Any, TypeVar

from ...autograd.graph import no_grad
from ...errors import ArgumentError, HookError
from ...ops.linalg import pinv
from ...ops.nn.distance import normalize
from ...ops.random import randn
from ...parameter import Parameter, is_lazy
from ...tensor import Tensor
from ..module import Module

__all__ = ["SpectralNorm", "SpectralNormLoadStateDictPreHook", "SpectralNormStateDictHook", "remove_spectral_norm", "spectral_norm"]

M = TypeVar("M", bound=Module)


def as_matrix(weight: Tensor, dim: int) -> Tensor:
    """A weight as a matrix whose rows are the slices along `dim`."""
    return weight.movedim(dim, 0).flatten(1) if weight.dim() > 1 else weight.reshape(-1, 1)


def random_direction(weight: Tensor, length: int, eps: float) -> Tensor:
    """A random vector of length 1, in the dtype of a weight."""
    return normalize(randn(length, dtype=weight.dtype), dim=0, eps=eps)


def output_dim(module: Any) -> int:
    """The dimension of a module's weight that counts its outputs: 1 for transposed convolutions, else 0."""
    return int(any(cls.__name__.startswith("ConvTranspose") for cls in type(module).__mro__))


class SpectralNorm:
    """The hook: it divides the parameter `name_orig` by its spectral norm, which the buffers `name_u` and `name_v` estimate.

    Attributes:
        name: of the weight.
        n_power_iterations: steps of the power iteration at each call in training mode.
        dim: the dimension that counts the outputs.
        eps: added where a vector of length 0 would be normalized.
    """

    _version: int = 1  # of what state dicts note of it

    def __init__(self, name: str = "weight", n_power_iterations: int = 1, dim: int = 0, eps: float = 1e-12):
        if n_power_iterations <= 0:
            raise ArgumentError(f"Expected n_power_iterations to be positive, but got n_power_iterations={n_power_iterations}")
        self.name = name
        self.dim = dim
        self.n_power_iterations = n_power_iterations
        self.eps = eps

    def reshape_weight_to_matrix(self, weight: Tensor) -> Tensor:
        """The weight as a matrix whose rows are the outputs."""
        return as_matrix(weight, self.dim)

    def compute_weight(self, module: Any, do_power_iteration: bool) -> Tensor:
        """The weight as it is now, after steps of the power iteration if `do_power_iteration`."""
        weight = getattr(module, f"{self.name}_orig")
        u, v = getattr(module, f"{self.name}_u"), getattr(module, f"{self.name}_v")
        matrix = self.reshape_weight_to_matrix(weight)
        if do_power_iteration:
            with no_grad():
                for _ in range(self.n_power_iterations):
                    v.assign(normalize(matrix.T.mv(u), dim=0, eps=self.eps))
                    u.assign(normalize(matrix.mv(v), dim=0, eps=self.eps))
        return weight / u.detach().dot(matrix.mv(v.detach()))

    def remove(self, module: Any) -> None:
        """Make the weight a parameter again."""
        with no_grad():
            weight = self.compute_weight(module, do_power_iteration=False)
        for name in (self.name, f"{self.name}_u", f"{self.name}_v", f"{self.name}_orig"):
            delattr(module, name)
        module.register_parameter(self.name, Parameter(weight.detach()))

    def __call__(self, module: Any, inputs: Any) -> None:
        setattr(module, self.name, self.compute_weight(module, do_power_iteration=module.training))

    @staticmethod
    def apply(module: Any, name: str, n_power_iterations: int, dim: int, eps: float) -> SpectralNorm:
        """Put the hook on a module."""
        if any(isinstance(hook, SpectralNorm) and hook.name == name for hook in module._forward_pre_hooks.values()):
            raise HookError(f"Cannot register two spectral_norm hooks on the same parameter {name}")
        hook = SpectralNorm(name, n_power_iterations, dim, eps)
        weight = module._parameters[name]
        if weight is None:
            raise ArgumentError(f"`SpectralNorm` cannot be applied as parameter `{name}` is None")
        if is_lazy(weight):
            raise ArgumentError(
                "The module passed to `SpectralNorm` can't have uninitialized parameters. Make sure to run the dummy forward before applying spectral normalization"
            )
        with no_grad():
            rows, columns = hook.reshape_weight_to_matrix(weight).shape
            u, v = random_direction(weight, rows, eps), random_direction(weight, columns, eps)
        delattr(module, name)
        module.register_parameter(f"{name}_orig", weight)
        setattr(module, name, weight.detach())
        module.register_buffer(f"{name}_u", u)
        module.register_buffer(f"{name}_v", v)
        module.register_forward_pre_hook(hook)
        module._register_state_dict_hook(SpectralNormStateDictHook(hook))
        module._register_load_state_dict_pre_hook(SpectralNormLoadStateDictPreHook(hook), with_module=True)
        return hook


class SpectralNormStateDictHook:
    """Notes the hook's version in state dicts."""

    def __init__(self, fn: SpectralNorm):
        self.fn = fn

    def __call__(self, module: Any, state_dict: Any, prefix: str, local_metadata: dict[str, Any]) -> None:
        local_metadata.setdefault("spectral_norm", {})[f"{self.fn.name}.version"] = self.fn._version


class SpectralNormLoadStateDictPreHook:
    """Reads state dicts of before the hook had a version: they hold the divided weight, and no `name_v`, which is solved for."""

    def __init__(self, fn: SpectralNorm):
        self.fn = fn

    def __call__(self, module: Any, state_dict: Any, prefix: str, local_metadata: dict[str, Any], strict: bool, missing_keys: list[str], *_: Any) -> None:
        key = prefix + self.fn.name
        if local_metadata.get("spectral_norm", {}).get(f"{self.fn.name}.version") is not None or (f"{key}_v" in state_dict and key not in state_dict):
            return
        missing = [k for k in (f"{key}_orig", key, f"{key}_u") if k not in state_dict]
        if missing:
            missing_keys += missing if strict else []
            return
        original, u = state_dict[f"{key}_orig"], state_dict[f"{key}_u"]
        sigma = (original / state_dict.pop(key)).mean()
        matrix = self.fn.reshape_weight_to_matrix(original)
        v = pinv(matrix.T @ matrix) @ (matrix.T @ u)
        state_dict[f"{key}_v"] = v * (sigma / u.dot(matrix @ v))


def spectral_norm(module: M, name: str = "weight", n_power_iterations: int = 1, eps: float = 1e-12, dim: int | None = None) -> M:
    """Divide a weight by its largest singular value, which power iterations estimate (Miyato et al., 2018). `parametrizations.spectral_norm` is newer.

    Args:
        module: the module, which is changed.
        name: of the weight. It becomes the parameter `name_orig` and the buffers `name_u` and `name_v`.
        n_power_iterations: steps of the power iteration at each call in training mode. Default: 1.
        eps: added where a vector of length 0 would be normalized. Default: 1e-12.
        dim: the dimension that counts the outputs. Default: 0, for transposed convolutions 1.

    Returns:
        The module.

    Examples:
        >>> import neurarust_jax as nr
        >>> layer = nr.nn.utils.spectral_norm(nr.nn.Linear(3, 2))
        >>> [name for name, _ in layer.named_parameters()]
        ['bias', 'weight_orig']
    """
    SpectralNorm.apply(module, name, n_power_iterations, output_dim(module) if dim is None else dim, eps)
    return module


def remove_spectral_norm(module: M, name: str = "weight") -> M:
    """Make a weight one parameter again after `spectral_norm`.

    Raises:
        ValueError: the weight is not normalized.
    """
    fields = module.__dict__
    hook = next((h for h in fields["_forward_pre_hooks"].values() if isinstance(h, SpectralNorm) and h.name == name), None)
    if hook is None:
        raise ArgumentError(f"spectral_norm of '{name}' not found in {module}")
    hook.remove(module)
    for hooks in ("_forward_pre_hooks", "_state_dict_hooks", "_load_state_dict_pre_hooks"):
        for number in [n for n, h in fields[hooks].items() if h is hook or getattr(h, "fn", None) is hook]:
            del fields[hooks][number]
    module._note_change()
    return module
