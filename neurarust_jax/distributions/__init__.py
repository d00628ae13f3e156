"""Probability distributions: PyTorch's `torch.distributions`. A family's file is imported when one of its names is used.

Samples come from the default generator, so `nr.manual_seed` fixes them, and inside `nr.jit` every call draws anew.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import constraints, kl, utils
    from .bernoulli import Bernoulli
    from .categorical import Categorical
    from .distribution import Distribution
    from .exp_family import ExponentialFamily
    from .independent import Independent
    from .kl import kl_divergence, register_kl
    from .normal import Normal
    from .uniform import Uniform

_HOMES = {
    "Bernoulli": "bernoulli",
    "Categorical": "categorical",
    "Distribution": "distribution",
    "ExponentialFamily": "exp_family",
    "Independent": "independent",
    "Normal": "normal",
    "Uniform": "uniform",
    "kl_divergence": "kl",
    "register_kl": "kl",
}
_FILES = {"constraints", "kl", "utils", *_HOMES.values()}

__all__ = [
    "Bernoulli", "Categorical", "Distribution", "ExponentialFamily", "Independent", "Normal", "Uniform", "kl_divergence", "register_kl",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    import importlib

    if name in _HOMES:
        found = getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
    elif name in _FILES:
        found = importlib.import_module(f".{name}", __name__)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*__all__, *_FILES})
