"""Flax: Linen and NNX modules as layers here, and our modules as Linen's and NNX's."""

from .inward import FromLinen, FromNNX
from .outward import to_linen, to_nnx

__all__ = ["FromLinen", "FromNNX", "to_linen", "to_nnx"]
