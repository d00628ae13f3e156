"""`Parameter` and `Buffer`, under the names that PyTorch gives them."""

from ..parameter import Buffer, Parameter

__all__ = ["Buffer", "Parameter"]
