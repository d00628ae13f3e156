"""Initializers: they fill a parameter or buffer in place, by PyTorch's laws."""

from __future__ import annotations

import functools
import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from ..autograd.graph import no_grad
from ..errors import ArgumentError
from ..generator import Generator
from ..ops.creation import as_tensor
from ..ops.creation import eye as identity_matrix
from ..ops.random import _orthogonal, _sampling_dtype, _truncated_normal, _uniform, draw
from ..parameter import CellTensor

__all__ = [
    "calculate_gain", "uniform_", "normal_", "trunc_normal_", "constant_", "ones_", "zeros_", "eye_", "dirac_", "xavier_uniform_", "xavier_normal_",
    "kaiming_uniform_", "kaiming_normal_", "orthogonal_", "sparse_",
    "uniform", "normal", "constant", "eye", "dirac", "xavier_uniform", "xavier_normal", "kaiming_uniform", "kaiming_normal", "orthogonal", "sparse",
]  # fmt: skip


# --- simple laws ---------------------------------------------------------------------------------------------------


@no_grad()
def uniform_(tensor: CellTensor, a: float = 0.0, b: float = 1.0, generator: Generator | None = None) -> CellTensor:
    """Fill with uniform numbers in [a, b)."""
    return tensor.uniform_(a, b, generator=generator)


@no_grad()
def normal_(tensor: CellTensor, mean: float = 0.0, std: float = 1.0, generator: Generator | None = None) -> CellTensor:
    """Fill with normal numbers of a mean and a standard deviation."""
    return tensor.normal_(mean, std, generator=generator)


@no_grad()
def trunc_normal_(
    tensor: CellTensor, mean: float = 0.0, std: float = 1.0, a: float = -2.0, b: float = 2.0, generator: Generator | None = None
) -> CellTensor:
    """Fill with normal numbers, of which those outside [a, b] are left out.

    Args:
        tensor: a parameter or buffer.
        mean: of the normal law before it is cut.
        std: its standard deviation.
        a: the least value.
        b: the greatest value.
        generator: where the random numbers come from. Default: the global one.

    Examples:
        >>> import neurarust_jax as nr
        >>> w = nr.nn.init.trunc_normal_(nr.nn.Parameter(nr.empty(1000)), std=5.0)
        >>> bool((w.abs() <= 2).all())
        True
    """
    if mean < a - 2 * std or mean > b + 2 * std:
        warnings.warn("mean is more than 2 std from [a, b] in nn.init.trunc_normal_. The distribution of values may be incorrect.", stacklevel=3)
    return tensor.copy_(draw(_truncated_normal, generator, mean, std, a, b, tuple(tensor.shape), _sampling_dtype(tensor)))


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
    """Fill a matrix with the identity, so that a linear layer hands on as many inputs as it can."""
    if tensor.dim() != 2:
        raise ArgumentError(f"Only tensors with 2 dimensions are supported, got shape {tuple(tensor.shape)}")
    return tensor.copy_(identity_matrix(*tensor.shape, dtype=tensor.dtype))


@no_grad()
def dirac_(tensor: CellTensor, groups: int = 1) -> CellTensor:
    """Fill the weight of a convolution so that it hands on as many input channels as it can.

    Args:
        tensor: three, four or five dimensions.
        groups: each group of output channels hands on the input channels anew. Default: 1.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.nn.init.dirac_(nr.nn.Buffer(nr.empty(2, 2, 3)))
        tensor([[[0., 1., 0.],
                 [0., 0., 0.]],
        <BLANKLINE>
                [[0., 0., 0.],
                 [0., 1., 0.]]])
    """
    if tensor.dim() not in (3, 4, 5):
        raise ArgumentError(f"Only tensors with 3, 4, or 5 dimensions are supported, got shape {tuple(tensor.shape)}")
    if tensor.shape[0] % groups:
        raise ArgumentError(f"dim 0 must be divisible by groups: got {tensor.shape[0]} and groups={groups}")
    per_group = tensor.shape[0] // groups
    weight = np.zeros(tuple(tensor.shape), np.float32)
    channels = np.arange(min(per_group, tensor.shape[1]))
    middle = tuple(length // 2 for length in tensor.shape[2:])
    for group in range(groups):
        weight[(group * per_group + channels, channels, *middle)] = 1
    return tensor.copy_(as_tensor(weight))


# --- laws by the size of the layer -----------------------------------------------------------------------------------


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """The factor by which a nonlinearity shrinks the standard deviation, as PyTorch tabulates it.

    Args:
        nonlinearity: `"linear"`, `"conv1d"` and its like, `"sigmoid"`, `"tanh"`, `"relu"`, `"leaky_relu"` or `"selu"`.
        param: the negative slope of leaky ReLU. Default: 0.01.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.nn.init.calculate_gain("leaky_relu", 1.0)
        1.0
    """
    if nonlinearity in _GAINS:
        return _GAINS[nonlinearity]
    if nonlinearity == "leaky_relu":
        if isinstance(param, bool) or not isinstance(param, int | float | None):
            raise ArgumentError(f"negative_slope {param} not a valid number")
        return math.sqrt(2.0 / (1 + (0.01 if param is None else param) ** 2))
    raise ArgumentError(f"Unsupported nonlinearity {nonlinearity}; expected one of {', '.join(_GAINS)}, leaky_relu")


_LINEAR = "linear conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d sigmoid".split()
_GAINS = {**dict.fromkeys(_LINEAR, 1), "tanh": 5.0 / 3, "relu": math.sqrt(2.0), "selu": 3.0 / 4}


def _calculate_fan_in_and_fan_out(tensor: Any) -> tuple[int, int]:
    """(inputs, outputs) that one element of a weight connects."""
    if tensor.dim() < 2:
        raise ArgumentError(f"Fan in and fan out can not be computed for tensor with fewer than 2 dimensions, got shape {tuple(tensor.shape)}")
    field = math.prod(tensor.shape[2:])
    return tensor.shape[1] * field, tensor.shape[0] * field


def _fan(tensor: Any, mode: str) -> int:
    mode = mode.lower()
    if mode not in ("fan_in", "fan_out"):
        raise ArgumentError(f"Mode {mode} not supported, please use one of ['fan_in', 'fan_out']")
    return _calculate_fan_in_and_fan_out(tensor)[mode == "fan_out"]


def _is_empty(tensor: Any) -> bool:
    if 0 in tensor.shape:
        warnings.warn("Initializing zero-element tensors is a no-op", stacklevel=3)
        return True
    return False


def kaiming_uniform_(
    tensor: CellTensor, a: float = 0, mode: str = "fan_in", nonlinearity: str = "leaky_relu", generator: Generator | None = None
) -> CellTensor:
    """Uniform in +-bound with ``bound = gain * sqrt(3 / fan)`` (He et al., 2015).

    Args:
        tensor: a weight, of shape (outputs, inputs, ...).
        a: the negative slope, if the nonlinearity is leaky ReLU.
        mode: `"fan_in"` keeps the variance of the forward pass, `"fan_out"` that of the backward pass.
        nonlinearity: what follows the layer; see `calculate_gain`.
        generator: where the random numbers come from. Default: the global one.
    """
    if _is_empty(tensor):
        return tensor
    bound = math.sqrt(3.0) * calculate_gain(nonlinearity, a) / math.sqrt(_fan(tensor, mode))
    return uniform_(tensor, -bound, bound, generator)


def kaiming_normal_(
    tensor: CellTensor, a: float = 0, mode: str = "fan_in", nonlinearity: str = "leaky_relu", generator: Generator | None = None
) -> CellTensor:
    """Normal with ``std = gain / sqrt(fan)`` (He et al., 2015). Arguments as for `kaiming_uniform_`."""
    if _is_empty(tensor):
        return tensor
    return normal_(tensor, 0.0, calculate_gain(nonlinearity, a) / math.sqrt(_fan(tensor, mode)), generator)


def xavier_uniform_(tensor: CellTensor, gain: float = 1.0, generator: Generator | None = None) -> CellTensor:
    """Uniform in +-bound with ``bound = gain * sqrt(6 / (fan_in + fan_out))`` (Glorot and Bengio, 2010)."""
    bound = gain * math.sqrt(6.0 / sum(_calculate_fan_in_and_fan_out(tensor)))
    return uniform_(tensor, -bound, bound, generator)


def xavier_normal_(tensor: CellTensor, gain: float = 1.0, generator: Generator | None = None) -> CellTensor:
    """Normal with ``std = gain * sqrt(2 / (fan_in + fan_out))`` (Glorot and Bengio, 2010)."""
    return normal_(tensor, 0.0, gain * math.sqrt(2.0 / sum(_calculate_fan_in_and_fan_out(tensor))), generator)


# --- matrices ------------------------------------------------------------------------------------------------------------


@no_grad()
def orthogonal_(tensor: CellTensor, gain: float = 1, generator: Generator | None = None) -> CellTensor:
    """Fill with orthonormal rows or columns, whichever are fewer, times `gain` (Saxe et al., 2014). Dimensions after the first count as one.

    Examples:
        >>> import neurarust_jax as nr
        >>> w = nr.nn.init.orthogonal_(nr.nn.Parameter(nr.empty(2, 5)))
        >>> nr.allclose(w @ w.T, nr.eye(2), atol=1e-6)
        True
    """
    if tensor.dim() < 2:
        raise ArgumentError(f"Only tensors with 2 or more dimensions are supported, got shape {tuple(tensor.shape)}")
    if not tensor.numel():
        return tensor
    rows = tensor.shape[0]
    return tensor.copy_(draw(_orthogonal, generator, rows, tensor.numel() // rows, tensor.dtype).reshape(tensor.shape) * gain)


@no_grad()
def sparse_(tensor: CellTensor, sparsity: float, std: float = 0.01, generator: Generator | None = None) -> CellTensor:
    """Fill a matrix with normal numbers, and set the same share of each column, at random places, to zero (Martens, 2010).

    Args:
        tensor: two dimensions.
        sparsity: the share of zeros in each column.
        std: the standard deviation of the others.
        generator: where the random numbers come from. Default: the global one.
    """
    if tensor.dim() != 2:
        raise ArgumentError(f"Only tensors with 2 dimensions are supported, got shape {tuple(tensor.shape)}")
    zeros = math.ceil(sparsity * tensor.shape[0])
    tensor.normal_(0, std, generator=generator)
    ranks = draw(_uniform, generator, tuple(tensor.shape), _sampling_dtype(tensor), 0.0, 1.0).argsort(0).argsort(0)
    return tensor.masked_fill_(ranks < zeros, 0)


# --- names without the underscore ------------------------------------------------------------------------------------


def _deprecated(function: Callable[..., CellTensor]) -> Callable[..., CellTensor]:
    new = function.__name__
    old = new[:-1]

    @functools.wraps(function)
    def renamed(*args: Any, **kwargs: Any) -> CellTensor:
        warnings.warn(f"`nn.init.{old}` is now deprecated in favor of `nn.init.{new}`.", FutureWarning, stacklevel=2)
        return function(*args, **kwargs)

    renamed.__name__ = old
    renamed.__doc__ = f"Deprecated: the same as `{new}`."
    return renamed


uniform = _deprecated(uniform_)
normal = _deprecated(normal_)
constant = _deprecated(constant_)
eye = _deprecated(eye_)
dirac = _deprecated(dirac_)
xavier_uniform = _deprecated(xavier_uniform_)
xavier_normal = _deprecated(xavier_normal_)
kaiming_uniform = _deprecated(kaiming_uniform_)
kaiming_normal = _deprecated(kaiming_normal_)
orthogonal = _deprecated(orthogonal_)
sparse = _deprecated(sparse_)
