"""`nr.onnx`: models in ONNX files. The library `onnx` is imported when one of these is used.

- `load`: a file as a `Module` that can be compiled, differentiated, trained and saved.
- `export`: a module or function as a file.
- `backend`: `load` by the interface that ONNX's own backend tests use.
- `registry`: where handlers of further ops are registered.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import backend, registry
    from .dynamic import Dim
    from .exporter import export
    from .model import OnnxModule, load
    from .serialization import OnnxProgram

__all__ = ["Dim", "OnnxModule", "OnnxProgram", "backend", "export", "load", "registry"]

_HOMES = {"load": "model", "OnnxModule": "model", "export": "exporter", "Dim": "dynamic", "OnnxProgram": "serialization"}
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
