"""Initializers: they fill a parameter or buffer in place, by PyTorch's laws."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..autograd.graph import no_grad
from ..errors import ArgumentError
from ..generator import Generator
from ..parameter import CellTensor

__all__ = [
    "calculate_gain", "constant_", "eye_", "kaiming_normal_", "kaiming_uniform_", "normal_", "ones_", "uniform_", "xavier_normal_",
    "xavier_uniform_", "zeros_",
]  # fmt: skip


@no_grad()
def uniform_(tensor: CellTensor, a: float = 0.0, b: float = 1.0, generator: Generator | None = None) -> CellTensor:
    """Fill with uniform numbers in [a, b)."""
    return tensor.uniform_(a, b, generator=generator)


@no_grad()
def normal_(tensor: CellTensor, mean: float = 0.0, std: float = 1.0, generator: Generator | None = None) -> CellTensor:
    """Fill with normal numbers."""
    return tensor.normal_(mean, std, generator=generator)


@no_grad()
def constant_(tensor: CellTensor, val: float) -> CellTensor:
    """Fill with a number."""
    return tensor.fill_(val)


def ones_(tensor: CellTensor) -> CellTensor:
    """Fill with ones."""
    return constant_(tensor, 1.0)


def zeros_(tensor: CellTensor) -> CellTensor:
    """Fill with zeros."""
    return constant_(tensor, 0.0)


@no_grad()
def eye_(tensor: CellTensor) -> CellTensor:
    """Fill a matrix with the identity."""
    if tensor.dim() != 2:
        raise ArgumentError(f"Only tensors with 2 dimensions are supported, got shape {tuple(tensor.shape)}")
    return tensor.assign(np.eye(*tensor.shape).astype(tensor.dtype.dtype))


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """The factor by which a nonlinearity shrinks the standard deviation, as PyTorch tabulates it.

    Args:
        nonlinearity: `"linear"`, `"conv2d"`, `"sigmoid"`, `"tanh"`, `"relu"`, `"leaky_relu"` or `"selu"`.
        param: the negative slope of leaky ReLU. Default: 0.01.
    """
    if nonlinearity == "linear" or nonlinearity.startswith("conv") or nonlinearity == "sigmoid":
        return 1.0
    gains = {"tanh": 5.0 / 3, "relu": math.sqrt(2.0), "selu": 3.0 / 4}
    if nonlinearity in gains:
        return gains[nonlinearity]
    if nonlinearity == "leaky_relu":
        return math.sqrt(2.0 / (1 + (0.01 if param is None else param) ** 2))
    raise ArgumentError(f"Unsupported nonlinearity {nonlinearity}")


def _fans(tensor: Any) -> tuple[int, int]:
    """(inputs, outputs) that one element of a weight connects."""
    if tensor.dim() < 2:
        raise ArgumentError(f"Fan in and fan out can not be computed for tensor with fewer than 2 dimensions, got shape {tuple(tensor.shape)}")
    field = math.prod(tensor.shape[2:])
    return tensor.shape[1] * field, tensor.shape[0] * field


def _fan(tensor: Any, mode: str) -> int:
    if mode not in ("fan_in", "fan_out"):
        raise ArgumentError(f"Mode {mode} not supported, please use one of fan_in, fan_out")
    return _fans(tensor)[mode == "fan_out"]


def kaiming_uniform_(
    tensor: CellTensor, a: float = 0, mode: str = "fan_in", nonlinearity: str = "leaky_relu", generator: Generator | None = None
) -> CellTensor:
    """Uniform in +-bound with ``bound = gain * sqrt(3 / fan)`` (He et al., 2015)."""
    if 0 in tensor.shape:
        return tensor
    bound = math.sqrt(3.0) * calculate_gain(nonlinearity, a) / math.sqrt(_fan(tensor, mode))
    return uniform_(tensor, -bound, bound, generator)


def kaiming_normal_(
    tensor: CellTensor, a: float = 0, mode: str = "fan_in", nonlinearity: str = "leaky_relu", generator: Generator | None = None
) -> CellTensor:
    """Normal with ``std = gain / sqrt(fan)`` (He et al., 2015)."""
    if 0 in tensor.shape:
        return tensor
    return normal_(tensor, 0.0, calculate_gain(nonlinearity, a) / math.sqrt(_fan(tensor, mode)), generator)


def xavier_uniform_(tensor: CellTensor, gain: float = 1.0, generator: Generator | None = None) -> CellTensor:
    """Uniform in +-bound with ``bound = gain * sqrt(6 / (fan_in + fan_out))`` (Glorot and Bengio, 2010)."""
    bound = gain * math.sqrt(6.0 / sum(_fans(tensor)))
    return uniform_(tensor, -bound, bound, generator)


def xavier_normal_(tensor: CellTensor, gain: float = 1.0, generator: Generator | None = None) -> CellTensor:
    """Normal with ``std = gain * sqrt(2 / (fan_in + fan_out))`` (Glorot and Bengio, 2010)."""
    return normal_(tensor, 0.0, gain * math.sqrt(2.0 / sum(_fans(tensor))), generator)
