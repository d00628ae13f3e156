"""What each op of `nr` becomes in ONNX, one file a family. A converter carries its examples: what is exported, and which nodes it becomes."""

import importlib
import pkgutil


def load_all() -> None:
    """Register the converters of all families."""
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")
