"""`LazyModuleMixin`, under PyTorch's name for its place."""

from ..lazy import LazyModuleMixin

__all__ = ["LazyModuleMixin"]
