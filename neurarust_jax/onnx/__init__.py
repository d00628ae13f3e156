"""`nr.onnx`: models in ONNX files. The library `onnx` is imported when one of these is used.

- `load`: a file as a `Module` that can be compiled, differentiated, trained and saved.
- `export`: a module or function as a file.
- `backend`: `load` by the interface that ONNX's own backend tests use.
- `registry`: where handlers of further ops are registered.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import backend, registry
    from .model import OnnxModule, load

__all__ = ["OnnxModule", "backend", "load", "registry"]

_HOMES = {"load": "model", "OnnxModule": "model"}
_FILES = ("backend", "registry")


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
    return sorted(__all__)
