"""Layers that change shapes."""

from __future__ import annotations

from typing import Any

from ..errors import ArgumentTypeError
from ..tensor import Tensor
from .module import Module

__all__ = ["Flatten", "Unflatten"]


class Flatten(Module):
    """Joins the dimensions from `start_dim` to `end_dim` into one.

    Args:
        start_dim: the first. Default: 1.
        end_dim: the last. Default: -1.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.nn.Flatten()(nr.zeros(3, 2, 4)).shape
        neurarust_jax.Size([3, 8])
    """

    def __init__(self, start_dim: int = 1, end_dim: int = -1):
        super().__init__()
        self.start_dim = start_dim
        self.end_dim = end_dim

    def forward(self, input: Tensor) -> Tensor:
        return input.flatten(self.start_dim, self.end_dim)

    def extra_repr(self) -> str:
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


class Unflatten(Module):
    """Splits one dimension into several.

    Args:
        dim: the dimension.
        unflattened_size: the lengths it is split into; one may be -1.

    Raises:
        TypeError: `unflattened_size` is no tuple or list of ints.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.nn.Unflatten(1, (2, -1))(nr.zeros(3, 8)).shape
        neurarust_jax.Size([3, 2, 4])
    """

    def __init__(self, dim: int, unflattened_size: Any):
        super().__init__()
        if not isinstance(unflattened_size, tuple | list):
            raise ArgumentTypeError(f"unflattened_size must be a tuple of ints, but found type {type(unflattened_size).__name__}")
        for i, length in enumerate(unflattened_size):
            if not isinstance(length, int):
                raise ArgumentTypeError(f"unflattened_size must be tuple of ints, but found element of type {type(length).__name__} at pos {i}")
        self.dim = dim
        self.unflattened_size = unflattened_size

    def forward(self, input: Tensor) -> Tensor:
        return input.unflatten(self.dim, self.unflattened_size)

    def extra_repr(self) -> str:
        return f"dim={self.dim}, unflattened_size={self.unflattened_size}"
