"""PyTorch's `torch.utils`: names only."""

from . import data

__all__ = ["data"]
