"""Linear layers."""

from __future__ import annotations

import math
from typing import Any

from ..errors import ArgumentError
from ..ops.creation import empty
from ..parameter import Parameter
from ..tensor import Tensor
from . import functional as F
from . import init
from .module import Module

__all__ = ["Bilinear", "Identity", "Linear"]


class Identity(Module):
    """Gives back its input; arguments are accepted and without effect."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__()

    def forward(self, input: Tensor) -> Tensor:
        return input


class Linear(Module):
    r"""``y = x @ weight.T + bias``.

    Args:
        in_features: size of each input sample.
        out_features: size of each output sample.
        bias: whether to learn a bias. Default: `True`.
        device: where the parameters lie.
        dtype: of the parameters.

    Shape:
        - Input: (\*, in_features), any number of dimensions, or none.
        - Output: (\*, out_features).

    Attributes:
        weight: shape (out_features, in_features), drawn from U(-k, k) with ``k = sqrt(1 / in_features)``.
        bias: shape (out_features), drawn from U(-k, k) too.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.nn.Linear(20, 30)(nr.randn(128, 20)).shape
        neurarust_jax.Size([128, 30])
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = True, device: Any = None, dtype: Any = None):
        super().__init__()
        self.in_features = in_features
        self.out_features = out_features
        self.weight = Parameter(empty(out_features, in_features, device=device, dtype=dtype))
        if bias:
            self.bias = Parameter(empty(out_features, device=device, dtype=dtype))
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the parameters anew."""
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        if self.bias is not None:
            bound = 1 / math.sqrt(self.in_features) if self.in_features > 0 else 0
            init.uniform_(self.bias, -bound, bound)

    def forward(self, input: Tensor) -> Tensor:
        return F.linear(input, self.weight, self.bias)

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"


class Bilinear(Module):
    r"""``y[o] = x1 @ weight[o] @ x2 + bias[o]``.

    Args:
        in1_features: size of each first input sample.
        in2_features: size of each second input sample.
        out_features: size of each output sample.
        bias: whether to learn a bias. Default: `True`.
        device, dtype: of the parameters.

    Shape:
        - Input1: (\*, in1_features).
        - Input2: (\*, in2_features).
        - Output: (\*, out_features).

    Attributes:
        weight: shape (out_features, in1_features, in2_features), drawn from U(-k, k) with ``k = sqrt(1 / in1_features)``.
        bias: shape (out_features), drawn from U(-k, k) too.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.nn.Bilinear(20, 30, 40)(nr.randn(128, 20), nr.randn(128, 30)).shape
        neurarust_jax.Size([128, 40])
    """

    def __init__(self, in1_features: int, in2_features: int, out_features: int, bias: bool = True, device: Any = None, dtype: Any = None):
        super().__init__()
        if in1_features <= 0:
            raise ArgumentError(f"in1_features must be > 0, but got (in1_features={in1_features})")
        self.in1_features = in1_features
        self.in2_features = in2_features
        self.out_features = out_features
        self.weight = Parameter(empty(out_features, in1_features, in2_features, device=device, dtype=dtype))
        self.register_parameter("bias", Parameter(empty(out_features, device=device, dtype=dtype)) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the parameters anew."""
        bound = 1 / math.sqrt(self.in1_features)
        init.uniform_(self.weight, -bound, bound)
        if self.bias is not None:
            init.uniform_(self.bias, -bound, bound)

    def forward(self, input1: Tensor, input2: Tensor) -> Tensor:
        return F.bilinear(input1, input2, self.weight, self.bias)

    def extra_repr(self) -> str:
        return (
            f"in1_features={self.in1_features}, in2_features={self.in2_features}, out_features={self.out_features}, bias={self.bias is not None}"
        )
