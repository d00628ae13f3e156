"""Bridges to other libraries: each is imported when it is first used."""

from . import protocols  # what Tensor answers to NumPy and the array API
from .lazily import __getattr__, __dir__, bridge_to_einops
from .on_import import when_imported

when_imported("einops", bridge_to_einops)
