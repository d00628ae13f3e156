r"""Activation layers.

Those that say nothing else work on each element: input and output have shape (\*). `inplace` is accepted and without effect, since a tensor's value never
changes here.
"""

from __future__ import annotations

import warnings
from typing import Any

from ..errors import ArgumentError
from ..ops.creation import empty
from ..parameter import Parameter
from ..tensor import Tensor
from . import functional as F
from . import init as initializers
from .module import Module

__all__ = [
    "CELU", "ELU", "GELU", "GLU", "Hardshrink", "Hardsigmoid", "Hardswish", "Hardtanh", "LeakyReLU", "LogSigmoid", "LogSoftmax", "Mish", "PReLU", "RReLU",
    "ReLU", "ReLU6", "SELU", "SiLU", "Sigmoid", "Softmax", "Softmax2d", "Softmin", "Softplus", "Softshrink", "Softsign", "Tanh", "Tanhshrink", "Threshold",
]  # fmt: skip


class _Unit(Module):
    """What the units share that PyTorch can compute in place.

    Args:
        inplace: accepted and without effect.
    """

    def __init__(self, inplace: bool = False):
        super().__init__()
        self.inplace = inplace

    def extra_repr(self) -> str:
        return "inplace=True" if self.inplace else ""

    def _repr_with(self, settings: str) -> str:
        return settings + (", inplace=True" if self.inplace else "")


# --- rectifiers ----------------------------------------------------------------------------------------------------


class ReLU(_Unit):
    """``max(x, 0)``.

    Args:
        inplace: accepted and without effect.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.nn.ReLU()(nr.tensor([-1.0, 2.0]))
        tensor([0., 2.])
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.relu(input, self.inplace)


class Hardtanh(_Unit):
    """The input held between two bounds.

    Args:
        min_val: the lower bound. Default: -1.
        max_val: the upper bound. Default: 1.
        inplace: accepted and without effect.
        min_value, max_value: older names of the bounds.
    """

    def __init__(
        self, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False, min_value: float | None = None, max_value: float | None = None
    ):
        super().__init__(inplace)
        if min_value is not None:
            warnings.warn("keyword argument `min_value` is deprecated and renamed to `min_val`", FutureWarning, stacklevel=2)
            min_val = min_value
        if max_value is not None:
            warnings.warn("keyword argument `max_value` is deprecated and renamed to `max_val`", FutureWarning, stacklevel=2)
            max_val = max_value
        if max_val <= min_val:
            raise ArgumentError(f"max_val ({max_val}) must be greater than min_val ({min_val})")
        self.min_val = min_val
        self.max_val = max_val

    def forward(self, input: Tensor) -> Tensor:
        return F.hardtanh(input, self.min_val, self.max_val, self.inplace)

    def extra_repr(self) -> str:
        return self._repr_with(f"min_val={self.min_val}, max_val={self.max_val}")


class ReLU6(Hardtanh):
    """``min(max(x, 0), 6)`` (Krizhevsky, 2010).

    Args:
        inplace: accepted and without effect.
    """

    def __init__(self, inplace: bool = False):
        super().__init__(0.0, 6.0, inplace)

    def extra_repr(self) -> str:
        return "inplace=True" if self.inplace else ""


class Threshold(_Unit):
    """``x`` where it exceeds `threshold`, else `value`.

    Args:
        threshold: the bound.
        value: what replaces elements that do not exceed it.
        inplace: accepted and without effect.
    """

    def __init__(self, threshold: float, value: float, inplace: bool = False):
        super().__init__(inplace)
        self.threshold = threshold
        self.value = value

    def forward(self, input: Tensor) -> Tensor:
        return F.threshold(input, self.threshold, self.value, self.inplace)

    def extra_repr(self) -> str:
        return self._repr_with(f"threshold={self.threshold}, value={self.value}")


class LeakyReLU(_Unit):
    """``max(x, 0) + negative_slope * min(x, 0)`` (Maas et al., 2013).

    Args:
        negative_slope: Default: 0.01.
        inplace: accepted and without effect.
    """

    def __init__(self, negative_slope: float = 1e-2, inplace: bool = False):
        super().__init__(inplace)
        self.negative_slope = negative_slope

    def forward(self, input: Tensor) -> Tensor:
        return F.leaky_relu(input, self.negative_slope, self.inplace)

    def extra_repr(self) -> str:
        return self._repr_with(f"negative_slope={self.negative_slope}")


class RReLU(_Unit):
    """Leaky ReLU whose slope is drawn for each element in training mode, and is the mean of the bounds in evaluation mode (Xu et al., 2015).

    Args:
        lower, upper: slopes are drawn from U(lower, upper). Default: 1/8 and 1/3.
        inplace: accepted and without effect.
    """

    def __init__(self, lower: float = 1.0 / 8, upper: float = 1.0 / 3, inplace: bool = False):
        super().__init__(inplace)
        self.lower = lower
        self.upper = upper

    def forward(self, input: Tensor) -> Tensor:
        return F.rrelu(input, self.lower, self.upper, self.training, self.inplace)

    def extra_repr(self) -> str:
        return self._repr_with(f"lower={self.lower}, upper={self.upper}")


class PReLU(Module):
    r"""``max(x, 0) + weight * min(x, 0)``, with a weight that is learned (He et al., 2015).

    Args:
        num_parameters: 1 for one weight, or the number of channels for one each. Default: 1.
        init: the weight at first. Default: 0.25.
        device, dtype: of the weight.

    Shape:
        - Input: (N, C, \*); any for a single weight.
        - Output: the same.

    Attributes:
        weight: shape (num_parameters), filled with `init`.
    """

    def __init__(self, num_parameters: int = 1, init: float = 0.25, device: Any = None, dtype: Any = None):
        super().__init__()
        self.num_parameters = num_parameters
        self.init = init
        self.weight = Parameter(empty(num_parameters, device=device, dtype=dtype))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Fill the weight with `init`."""
        initializers.constant_(self.weight, self.init)

    def forward(self, input: Tensor) -> Tensor:
        return F.prelu(input, self.weight)

    def extra_repr(self) -> str:
        return f"num_parameters={self.num_parameters}"


class _ExponentialUnit(_Unit):
    """What ELU and CELU share."""

    def __init__(self, alpha: float = 1.0, inplace: bool = False):
        super().__init__(inplace)
        self.alpha = alpha

    def extra_repr(self) -> str:
        return self._repr_with(f"alpha={self.alpha}")


class ELU(_ExponentialUnit):
    """``x`` above 0, ``alpha * (exp(x) - 1)`` below (Clevert et al., 2016).

    Args:
        alpha: minus the value for very negative input. Default: 1.
        inplace: accepted and without effect.
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.elu(input, self.alpha, self.inplace)


class CELU(_ExponentialUnit):
    """``x`` above 0, ``alpha * (exp(x / alpha) - 1)`` below (Barron, 2017).

    Args:
        alpha: minus the value for very negative input. Default: 1.
        inplace: accepted and without effect.
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.celu(input, self.alpha, self.inplace)


class SELU(_Unit):
    """``scale * (max(x, 0) + min(alpha * (exp(x) - 1), 0))`` with the constants that keep mean and variance (Klambauer et al., 2017).

    Args:
        inplace: accepted and without effect.
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.selu(input, self.inplace)


# --- smooth units --------------------------------------------------------------------------------------------------


class GLU(Module):
    r"""``a * sigmoid(b)`` of the two halves of the input (Dauphin et al., 2017).

    Args:
        dim: the dimension that is halved. Default: the last.

    Shape:
        - Input: (\*, 2N, \*).
        - Output: (\*, N, \*).
    """

    def __init__(self, dim: int = -1):
        super().__init__()
        self.dim = dim

    def forward(self, input: Tensor) -> Tensor:
        return F.glu(input, self.dim)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class GELU(Module):
    """Gaussian error linear unit, ``x * Phi(x)`` (Hendrycks and Gimpel, 2016).

    Args:
        approximate: `"none"` for the exact one by erf, `"tanh"` for the approximation.
    """

    def __init__(self, approximate: str = "none"):
        super().__init__()
        self.approximate = approximate

    def forward(self, input: Tensor) -> Tensor:
        return F.gelu(input, approximate=self.approximate)

    def extra_repr(self) -> str:
        return f"approximate={self.approximate!r}"


class SiLU(_Unit):
    """``x * sigmoid(x)`` (Hendrycks and Gimpel, 2016).

    Args:
        inplace: accepted and without effect.
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.silu(input, self.inplace)


class Mish(_Unit):
    """``x * tanh(log(1 + exp(x)))`` (Misra, 2019).

    Args:
        inplace: accepted and without effect.
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.mish(input, self.inplace)


class Softplus(Module):
    """``log(1 + exp(beta * x)) / beta`` (Glorot et al., 2011).

    Args:
        beta: the sharpness. Default: 1.
        threshold: where ``beta * x`` exceeds it, the result is `x` itself. Default: 20.
    """

    def __init__(self, beta: float = 1.0, threshold: float = 20.0):
        super().__init__()
        self.beta = beta
        self.threshold = threshold

    def forward(self, input: Tensor) -> Tensor:
        return F.softplus(input, self.beta, self.threshold)

    def extra_repr(self) -> str:
        return f"beta={self.beta}, threshold={self.threshold}"


class Sigmoid(Module):
    """``1 / (1 + exp(-x))``."""

    def forward(self, input: Tensor) -> Tensor:
        return F.sigmoid(input)


class LogSigmoid(Module):
    """``log(1 / (1 + exp(-x)))``."""

    def forward(self, input: Tensor) -> Tensor:
        return F.logsigmoid(input)


class Tanh(Module):
    """The hyperbolic tangent."""

    def forward(self, input: Tensor) -> Tensor:
        return F.tanh(input)


class Tanhshrink(Module):
    """``x - tanh(x)``."""

    def forward(self, input: Tensor) -> Tensor:
        return F.tanhshrink(input)


class Softsign(Module):
    """``x / (1 + |x|)``."""

    def forward(self, input: Tensor) -> Tensor:
        return F.softsign(input)


# --- units of straight pieces --------------------------------------------------------------------------------------


class Hardsigmoid(_Unit):
    """``min(max(x + 3, 0), 6) / 6`` (Courbariaux et al., 2015).

    Args:
        inplace: accepted and without effect.
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.hardsigmoid(input, self.inplace)

    def extra_repr(self) -> str:
        return ""


class Hardswish(_Unit):
    """``x * min(max(x + 3, 0), 6) / 6`` (Howard et al., 2019).

    Args:
        inplace: accepted and without effect.
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.hardswish(input, self.inplace)

    def extra_repr(self) -> str:
        return ""


class _Shrinkage(Module):
    """What the shrinkages share: a bound."""

    def __init__(self, lambd: float = 0.5):
        super().__init__()
        self.lambd = lambd

    def extra_repr(self) -> str:
        return f"{self.lambd}"


class Hardshrink(_Shrinkage):
    """``x`` where it lies outside of ``[-lambd, lambd]``, else 0.

    Args:
        lambd: Default: 0.5.
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.hardshrink(input, self.lambd)


class Softshrink(_Shrinkage):
    """``x`` moved towards 0 by `lambd`, but not beyond.

    Args:
        lambd: not negative. Default: 0.5.
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.softshrink(input, self.lambd)


# --- softmaxes -----------------------------------------------------------------------------------------------------


class _AlongDimension(Module):
    """What the softmaxes share: a dimension."""

    def __init__(self, dim: int | None = None):
        super().__init__()
        self.dim = dim

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class Softmax(_AlongDimension):
    r"""``exp(x_i) / sum_j exp(x_j)`` along a dimension.

    Args:
        dim: the dimension along which the result sums to 1. Without it PyTorch's old choice is taken, with a warning.

    Shape:
        - Input: (\*).
        - Output: the same.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.nn.Softmax(dim=0)(nr.tensor([0.0, 0.0]))
        tensor([0.5000, 0.5000])
    """

    def forward(self, input: Tensor) -> Tensor:
        return F.softmax(input, self.dim, _stacklevel=5)


class Softmin(_AlongDimension):
    """`Softmax` of ``-x``. The arguments are those of `Softmax`."""

    def forward(self, input: Tensor) -> Tensor:
        return F.softmin(input, self.dim, _stacklevel=5)


class LogSoftmax(_AlongDimension):
    """The logarithm of `Softmax`. The arguments are those of `Softmax`."""

    def forward(self, input: Tensor) -> Tensor:
        return F.log_softmax(input, self.dim, _stacklevel=5)


class Softmax2d(Module):
    """`Softmax` over the channels of images.

    Shape:
        - Input: (N, C, H, W) or (C, H, W).
        - Output: the same.
    """

    def forward(self, input: Tensor) -> Tensor:
        if input.dim() not in (3, 4):
            raise ArgumentError(f"Softmax2d: expected input to be 3D or 4D, got {input.dim()}D instead")
        return F.softmax(input, -3)
