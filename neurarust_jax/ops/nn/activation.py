"""Activation functions, and the softmaxes whose dimension may be left out. Half precision is computed in float32 and rounded once, as PyTorch does it."""

import math
import warnings
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ... import dtypes
from ...dispatch import Array, op
from ...errors import ArgumentError, DtypeError, ShapeError
from ...generator import Generator
from ...tensor import Tensor
from .. import reduction
from ..common import cast, floating, refuse, strong, wrap_dim
from ..elementwise import abs as absolute
from ..inplace import in_place_function
from ..random import _uniform, draw
from ..reduction import widened

__all__ = [
    "relu", "relu_", "relu6", "elu", "elu_", "selu", "selu_", "celu", "celu_", "leaky_relu", "leaky_relu_", "prelu", "rrelu", "rrelu_", "glu", "gelu",
    "logsigmoid", "hardshrink", "tanhshrink", "softsign", "softplus", "softmin", "softmax", "softshrink", "gumbel_softmax", "log_softmax", "silu", "mish",
    "hardsigmoid", "hardswish", "hardtanh", "hardtanh_", "threshold", "threshold_",
]  # fmt: skip


def _pointwise(name: str, input: Array, function: Callable[[Array], Array], refused: str = "biuc") -> Array:
    """`function` of `input` in at least float32, in the dtype of `input`; kinds of dtypes that PyTorch's function does not take are refused."""
    x = strong(input)
    refuse(x, refused, name)
    return cast(function(widened(x)), x.dtype)


# --- rectifiers ----------------------------------------------------------------------------------------------------


@op(method="relu")
def relu(input: Array, inplace: bool = False) -> Array:
    """``max(input, 0)``, elementwise. The gradient at 0 is 0.

    Args:
        input: any shape; a real dtype.
        inplace: accepted and without effect.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.relu(nr.tensor([-1.0, 2.0]))
        tensor([0., 2.])
    """
    input = strong(input)
    refuse(input, "bc", "relu")
    return jnp.where(input <= 0, jnp.zeros_like(input), input)  # NaN goes through, as in PyTorch


def _held(name: str, input: Array, low: float, high: float) -> Array:
    x = strong(input)
    refuse(x, "bc", name)
    if x.dtype.kind == "u" and low < 0:
        raise DtypeError(f"cannot do hardtanh on an unsigned type with negative limits: got {x.dtype} and min_val={low}")
    least, greatest = cast(low, x.dtype), cast(high, x.dtype)
    return jnp.where(x <= least, least, jnp.where(x >= greatest, greatest, x))


@op(method=False)
def hardtanh(input: Array, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Array:
    """``input`` held between `min_val` and `max_val`, elementwise. The gradient is 0 at the bounds and beyond.

    Args:
        input: any shape; a real dtype.
        min_val: the lower bound. Default: -1.
        max_val: the upper bound. Default: 1.
        inplace: accepted and without effect.

    Raises:
        ValueError: `min_val` exceeds `max_val`.
    """
    if min_val > max_val:
        raise ArgumentError(f"min_val cannot be greater than max_val, got {min_val} and {max_val}")
    return _held("hardtanh", input, min_val, max_val)


@op(method=False)
def relu6(input: Array, inplace: bool = False) -> Array:
    """``min(max(input, 0), 6)``, elementwise (Krizhevsky, 2010). See `hardtanh`."""
    return _held("relu6", input, 0, 6)


@op(method=False)
def threshold(input: Array, threshold: float, value: float, inplace: bool = False) -> Array:
    """`input` where it exceeds `threshold`, else `value`, elementwise.

    Args:
        input: any shape; a real dtype.
        threshold: the bound.
        value: what replaces elements that do not exceed it.
        inplace: accepted and without effect.
    """
    x = strong(input)
    refuse(x, "bc", "threshold")
    return jnp.where(x <= cast(threshold, x.dtype), cast(value, x.dtype), x)


def _exponential_linear(x: Array, negative: float, positive: float = 1.0, sharpness: float = 1.0) -> Array:
    """``positive * x`` above 0, ``negative * expm1(sharpness * x)`` below, whose slope also counts at 0."""
    below = jnp.where(x > 0, 0, x)
    return jnp.where(x > 0, positive * x, negative * jnp.expm1(sharpness * below))


@op(method=False)
def elu(input: Array, alpha: float = 1.0, inplace: bool = False) -> Array:
    """The exponential linear unit, elementwise (Clevert et al., 2016): `input` above 0, ``alpha * (exp(input) - 1)`` below.

    Args:
        input: any shape; a floating-point dtype.
        alpha: minus the value for very negative input. Default: 1.
        inplace: accepted and without effect.
    """
    return _pointwise("elu", input, lambda x: _exponential_linear(x, alpha))


@op(method=False)
def selu(input: Array, inplace: bool = False) -> Array:
    """The scaled exponential linear unit, elementwise (Klambauer et al., 2017): ``scale * elu(input, alpha)`` with the constants that keep mean and variance.

    Args:
        input: any shape; a floating-point dtype.
        inplace: accepted and without effect.
    """
    return _pointwise("elu", input, lambda x: _exponential_linear(x, SELU_SCALE * SELU_ALPHA, SELU_SCALE))


SELU_ALPHA, SELU_SCALE = 1.6732632423543772848170429916717, 1.0507009873554804934193349852946


@op(method=False)
def celu(input: Array, alpha: float = 1.0, inplace: bool = False) -> Array:
    """The continuously differentiable exponential linear unit, elementwise (Barron, 2017): `input` above 0, ``alpha * (exp(input / alpha) - 1)`` below.

    Args:
        input: any shape; a floating-point dtype.
        alpha: minus the value for very negative input; not 0. Default: 1.
        inplace: accepted and without effect.
    """
    if alpha == 0:
        raise ShapeError("ZeroDivisionError: alpha cannot be 0 for CELU")
    return _pointwise("celu", input, lambda x: _exponential_linear(x, alpha, sharpness=1 / alpha))


@op(method=False)
def leaky_relu(input: Array, negative_slope: float = 0.01, inplace: bool = False) -> Array:
    """`input` above 0, ``negative_slope * input`` below, elementwise (Maas et al., 2013).

    Args:
        input: any shape; a floating-point dtype.
        negative_slope: Default: 0.01.
        inplace: accepted and without effect.
    """
    return _pointwise("leaky_relu", input, lambda x: jnp.where(x > 0, x, x * negative_slope))


@op(method="prelu")
def prelu(input: Array, weight: Array) -> Array:
    r"""`input` above 0, ``weight * input`` below, elementwise, with a weight that is learned (He et al., 2015).

    Args:
        input: shape (N, C, \*), or any shape for a single weight; a floating-point dtype.
        weight: shape (), (1) or (C), of the dtype of `input`.

    Raises:
        RuntimeError: the weight has neither one element nor one a channel, or another dtype.
    """
    refuse(input, "biuc", "prelu_cpu")
    if input.dtype != weight.dtype:
        raise DtypeError(f"prelu: Type promoting not supported. Got {input.dtype} and {weight.dtype}; write weight.to(input.dtype)")
    if weight.ndim > 1:
        raise ShapeError(f"prelu: Expected `weight` to be a scalar or 1D tensor, but got: ndim = {weight.ndim}")
    if weight.size != 1:
        if not input.ndim:
            raise ShapeError("Not allow zero-dim input tensor with a weight of more than one element.")
        channels = input.shape[1] if input.ndim > 1 else 1
        if channels != weight.size:
            raise ShapeError(f"Mismatch of parameter numbers and input channel size. Found parameter numbers = {weight.size} and channel size = {channels}.")
        weight = weight.reshape((1, -1) + (1,) * (input.ndim - 2))
    else:
        weight = weight.reshape(())
    return jnp.where(input > 0, input, input * weight)


@op(name="_leaky_relu_by_element", method=False)
def _leaky_relu_by_element(input: Array, slopes: Array) -> Array:
    """`input` above 0, ``slopes * input`` below."""
    return jnp.where(input > 0, input, input * slopes)


def rrelu(
    input: Tensor, lower: float = 1.0 / 8, upper: float = 1.0 / 3, training: bool = False, inplace: bool = False, *, generator: Generator | None = None
) -> Tensor:
    """`leaky_relu` with a slope drawn for each element (Xu et al., 2015).

    Args:
        input: any shape; a floating-point dtype.
        lower, upper: in training slopes are drawn from U(lower, upper); otherwise the slope is their mean. Default: 1/8 and 1/3.
        training: draw.
        inplace: accepted and without effect.
        generator: the source of randomness.

    Raises:
        RuntimeError: `lower` exceeds `upper`.
    """
    if lower > upper:
        raise ShapeError(f"Lower bound should be less than or equal to the upper bound, got {lower} and {upper}")
    if not training:
        return leaky_relu(input, (lower + upper) / 2)
    if not input.dtype.is_floating_point:
        raise DtypeError(f'"rrelu_with_noise" not implemented for {input.dtype}; convert with .to(dtype)')
    return _leaky_relu_by_element(input, draw(_uniform, generator, tuple(input.shape), input.dtype, lower, upper))


# --- smooth units --------------------------------------------------------------------------------------------------


@op(method=False)
def glu(input: Array, dim: int = -1) -> Array:
    """The gated linear unit (Dauphin et al., 2017): ``a * sigmoid(b)`` of the two halves of `input` along `dim`.

    Args:
        input: a floating-point tensor, of even length along `dim`.
        dim: the dimension that is halved. Default: the last.

    Raises:
        RuntimeError: the length is odd, or there are no dimensions.
    """
    if not input.ndim:
        raise ShapeError("glu does not support scalars because halving size must be even")
    refuse(input, "biuc", "glu_cpu")
    dim = wrap_dim(dim, input.ndim)
    if input.shape[dim] % 2:
        raise ShapeError(f"Halving dimension must be even, but dimension {dim} is size {input.shape[dim]}")
    value, gate = jnp.split(widened(input), 2, dim)
    return cast(value * lax.logistic(gate), input.dtype)


@op(method=False)
def gelu(input: Array, approximate: str = "none") -> Array:
    r"""The Gaussian error linear unit, ``x * Phi(x)``, elementwise (Hendrycks and Gimpel, 2016).

    Args:
        input: any shape; a floating-point dtype.
        approximate: `"none"` computes ``0.5 * x * (1 + erf(x / sqrt(2)))``, `"tanh"` the approximation by tanh.

    Raises:
        RuntimeError: `approximate` is neither.
    """
    if approximate == "none":  # by erf: erfc costs five times as much
        return _pointwise("GeluKernelImpl", input, lambda x: 0.5 * x * (1 + lax.erf(x * math.sqrt(0.5))))
    if approximate == "tanh":
        return _pointwise("GeluKernelImpl", input, lambda x: jax.nn.gelu(x, approximate=True))
    raise ShapeError(f"approximate argument must be either none or tanh, got {approximate!r}")


@op(method=False)
def silu(input: Array, inplace: bool = False) -> Array:
    """``x * sigmoid(x)``, elementwise (Hendrycks and Gimpel, 2016).

    Args:
        input: any shape; a floating-point or complex dtype.
        inplace: accepted and without effect.
    """
    return _pointwise("silu_cpu", input, lambda x: x * lax.logistic(x), "biu")


@op(method=False)
def mish(input: Array, inplace: bool = False) -> Array:
    """``x * tanh(softplus(x))``, elementwise (Misra, 2019).

    Args:
        input: any shape; a floating-point dtype.
        inplace: accepted and without effect.
    """
    return _pointwise("mish_cpu", input, lambda x: x * jnp.tanh(jax.nn.softplus(x)))


@op(method=False)
def softplus(input: Array, beta: float = 1.0, threshold: float = 20.0) -> Array:
    """``log(1 + exp(beta * x)) / beta``, elementwise: a smooth `relu` (Glorot et al., 2011).

    Args:
        input: any shape; a floating-point dtype.
        beta: the sharpness. Default: 1.
        threshold: where ``beta * x`` exceeds it, the result is `x` itself. Default: 20.
    """

    def function(x: Array) -> Array:
        linear = x * beta > threshold
        return jnp.where(linear, x, jnp.log1p(jnp.exp(jnp.where(linear, 0, x * beta))) / beta)

    return _pointwise("softplus", input, function)


@op(method=False)
def logsigmoid(input: Array) -> Array:
    """``log(sigmoid(x))``, elementwise, without underflow.

    Args:
        input: any shape; a floating-point dtype.
    """
    return _pointwise("log_sigmoid_cpu", input, jax.nn.log_sigmoid)


@op(method=False)
def softsign(input: Array) -> Array:
    """``x / (1 + |x|)``, elementwise; integers become the default dtype."""
    return floating(input) / (absolute.op.function(floating(input)) + 1)


@op(method=False)
def tanhshrink(input: Array) -> Array:
    """``x - tanh(x)``, elementwise; integers become the default dtype."""
    return floating(input) - jnp.tanh(floating(input))


# --- units of straight pieces --------------------------------------------------------------------------------------


@op(method=False)
def hardsigmoid(input: Array, inplace: bool = False) -> Array:
    """``min(max(x + 3, 0), 6) / 6``, elementwise (Courbariaux et al., 2015). The gradient is 0 at -3 and 3 and beyond.

    Args:
        input: any shape; a floating-point dtype.
        inplace: accepted and without effect.
    """
    return _pointwise("hardsigmoid", input, lambda x: jnp.where(x <= -3, 0, jnp.where(x >= 3, 1, (x + 3) / 6)))


@op(method=False)
def hardswish(input: Array, inplace: bool = False) -> Array:
    """``x * hardsigmoid(x)``, elementwise (Howard et al., 2019).

    Args:
        input: any shape; a floating-point dtype.
        inplace: accepted and without effect.
    """

    def function(x: Array) -> Array:
        middle = jnp.where((x > -3) & (x < 3), x, 0)
        return jnp.where(x <= -3, lax.stop_gradient(0 * x), jnp.where(x < 3, middle * (middle + 3) / 6, x))

    return _pointwise("hardswish", input, function)


@op
def hardshrink(input: Array, lambd: float = 0.5) -> Array:
    """`input` where it lies outside of ``[-lambd, lambd]``, else 0, elementwise.

    Args:
        input: any shape; a floating-point dtype.
        lambd: Default: 0.5.
    """
    return _pointwise("hardshrink", input, lambda x: jnp.where((x >= -lambd) & (x <= lambd), 0, x))


@op(method=False)
def softshrink(input: Array, lambd: float = 0.5) -> Array:
    """`input` moved towards 0 by `lambd`, but not beyond, elementwise.

    Args:
        input: any shape; a floating-point dtype.
        lambd: not negative. Default: 0.5.
    """
    if lambd < 0:
        raise ShapeError(f"lambda must be greater or equal to 0, but found to be {lambd}.")

    def function(x: Array) -> Array:
        return jnp.where(x > lambd, x - lambd, jnp.where(x < -lambd, x + lambd, lax.stop_gradient(0 * x)))

    return _pointwise("softshrink", input, function)


# --- softmaxes -----------------------------------------------------------------------------------------------------


def _implicit_dim(name: str, ndim: int, stacklevel: int) -> int:
    warnings.warn(f"Implicit dimension choice for {name} has been deprecated. Change the call to include dim=X as an argument.", stacklevel=stacklevel)
    return 0 if ndim in (0, 1, 3) else 1


def softmax(input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: dtypes.dtype | None = None) -> Tensor:
    r"""The softmax along a dimension: :math:`\exp(x_i) / \sum_j \exp(x_j)`.

    Args:
        input: a floating-point tensor.
        dim: the dimension along which the result sums to 1. `None` means 0 for tensors of 0, 1 or 3 dimensions, else 1, with a warning.
        dtype: convert to this first.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.nn.functional.softmax(nr.tensor([0.0, 0.0]), dim=0)
        tensor([0.5000, 0.5000])
    """
    return reduction.softmax(input, _implicit_dim("softmax", input.ndim, _stacklevel) if dim is None else dim, dtype)


def softmin(input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: dtypes.dtype | None = None) -> Tensor:
    """``softmax(-input, dim)``. See `softmax`."""
    return reduction.softmin(input, _implicit_dim("softmin", input.ndim, _stacklevel) if dim is None else dim, dtype)


def log_softmax(input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: dtypes.dtype | None = None) -> Tensor:
    """The logarithm of `softmax`, exact where softmax would be 0. The arguments are those of `softmax`."""
    return reduction.log_softmax(input, _implicit_dim("log_softmax", input.ndim, _stacklevel) if dim is None else dim, dtype)


@op(name="_gumbel_softmax", method=False)
def _gumbel_softmax(logits: Array, uniform: Array, tau: Array | float, hard: bool, dim: int) -> Array:
    """The softmax of noisy logits, from uniform numbers in (0, 1)."""
    x = widened(logits)
    soft = reduction.softmax.op.function((x - jnp.log(-jnp.log(uniform))) / cast(tau, x.dtype), dim)
    if hard and soft.ndim:
        dim = wrap_dim(dim, soft.ndim)
        sample = jnp.argmax(soft, dim, keepdims=True) == lax.broadcasted_iota(np.int32, soft.shape, dim)
        soft = lax.stop_gradient(cast(sample, soft.dtype) - soft) + soft
    return cast(soft, logits.dtype)


def gumbel_softmax(logits: Tensor, tau: float = 1, hard: bool = False, eps: float = 1e-10, dim: int = -1, *, generator: Generator | None = None) -> Tensor:
    """A sample of the Gumbel-softmax distribution (Jang et al., 2017; Maddison et al., 2017).

    Args:
        logits: unnormalized log-probabilities; a floating-point dtype.
        tau: the temperature. Default: 1.
        hard: give one-hot vectors, through which the gradient goes as if they were the soft sample.
        eps: without effect, deprecated.
        dim: the dimension along which the sample sums to 1. Default: the last.
        generator: the source of randomness.
    """
    if eps != 1e-10:
        warnings.warn("`eps` parameter is deprecated and has no effect.", stacklevel=2)
    if not logits.dtype.is_floating_point:
        raise DtypeError(f'"gumbel_softmax" not implemented for {logits.dtype}; convert with .to(dtype)')
    dtype = dtypes.float64 if logits.dtype == dtypes.float64 else dtypes.float32
    noise = draw(_uniform, generator, tuple(logits.shape), dtype, float(np.finfo(np.float32).tiny), 1.0)
    return _gumbel_softmax(logits, noise, tau, bool(hard), dim)


# --- in place ------------------------------------------------------------------------------------------------------

relu_ = in_place_function("relu_", relu)
elu_ = in_place_function("elu_", elu)
selu_ = in_place_function("selu_", selu)
celu_ = in_place_function("celu_", celu)
leaky_relu_ = in_place_function("leaky_relu_", leaky_relu)
rrelu_: Any = in_place_function("rrelu_", rrelu)
hardtanh_ = in_place_function("hardtanh_", hardtanh)
threshold_ = in_place_function("threshold_", threshold)
