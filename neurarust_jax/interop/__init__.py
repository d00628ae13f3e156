"""Bridges to other libraries: each is imported when it is first used."""

from . import protocols  # what Tensor answers to NumPy and the array API
from .lazily import __getattr__, __dir__
