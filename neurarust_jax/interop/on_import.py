"""Calling a function once another library is imported, be it before this package or after."""

from __future__ import annotations

import importlib.abc
import importlib.util
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any


def when_imported(name: str, then: Callable[[], Any]) -> None:
    """Call `then` when the module `name` has been imported: at once if it is there already. Nothing is imported for it."""
    if name in sys.modules:
        then()
    else:
        sys.meta_path.insert(0, _Watcher(name, then))


class _Watcher(importlib.abc.MetaPathFinder):
    """A finder that finds nothing itself: it waits for one module, and lets the others find it."""

    def __init__(self, name: str, then: Callable[[], Any]):
        self.name, self.then = name, then

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> Any:
        if fullname != self.name:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(fullname)
        if spec is None or spec.loader is None:  # not installed; perhaps later
            sys.meta_path.insert(0, self)
            return None
        spec.loader = _Followed(spec.loader, self.then)  # type: ignore[arg-type]  (typeshed knows loaders of an older kind too)
        return spec


class _Followed(importlib.abc.Loader):
    """A loader that calls a function after the module has run."""

    def __init__(self, loader: importlib.abc.Loader, then: Callable[[], Any]):
        self.loader, self.then = loader, then

    def create_module(self, spec: Any) -> ModuleType | None:
        return self.loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        spec = module.__spec__
        assert spec is not None
        spec.loader = module.__loader__ = self.loader
        self.loader.exec_module(module)
        self.then()
