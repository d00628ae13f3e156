"""PyTorch's `torch.utils`: names only."""

from . import checkpoint, data

__all__ = ["checkpoint", "data"]
