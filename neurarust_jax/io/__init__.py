"""Files: state dicts on disk."""

from .files import load, save

__all__ = ["load", "save"]
