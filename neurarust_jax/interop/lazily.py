"""Names of `nr.interop` and where they are defined: a bridge, and the library behind it, is imported when a name of it is first asked for."""

from __future__ import annotations

import importlib
import warnings
from typing import Any

BRIDGES = {
    "torch": ("from_torch", "to_torch", "to_torch_state_dict", "from_torch_state_dict"),
    "flax": ("FromLinen", "FromNNX", "to_linen", "to_nnx"),
    "pytrees": ("FromPytree",),
    "einops": (),
    "array_api": (),
}

_HOME = {name: bridge for bridge, names in BRIDGES.items() for name in names}


def bridge_to_einops() -> None:
    """Let einops know of Tensors."""
    try:
        importlib.import_module(f"{__package__}.einops")
    except ImportError as error:
        warnings.warn(f"einops does not take tensors of neurarust_jax, because this version of it is built another way: {error}. Install einops>=0.8,<0.9.", stacklevel=2)


def __getattr__(name: str) -> Any:
    if name in BRIDGES:
        return importlib.import_module(f"{__package__}.{name}")
    if name in _HOME:
        return getattr(importlib.import_module(f"{__package__}.{_HOME[name]}"), name)
    raise AttributeError(f"module {__package__!r} has no attribute {name!r}; it has {', '.join(__dir__())}")


def __dir__() -> list[str]:
    return sorted([*BRIDGES, *_HOME])
