"""Layers under PyTorch's longer name for them, `torch.nn.modules`: what `nn` has is here too."""

from typing import Any

from . import container, lazy, module


def __getattr__(name: str) -> Any:
    from .. import __dict__ as names

    if name.startswith("_") or name not in names:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return names[name]


def __dir__() -> list[str]:
    from .. import __dict__ as names

    return sorted({*globals(), *(name for name in names if not name.startswith("_"))})
