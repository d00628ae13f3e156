"""Losses of each element: regression, probabilities of two classes, and likelihoods. The other losses are in `cross_entropy.py`, `margin_loss.py` and `ctc.py`."""

import math
import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ...dispatch import Array, op
from ...errors import ArgumentError, DtypeError, ShapeError
from ...tensor import Tensor
from ..common import broadcast_shapes, cast, floating, promote, refuse
from ..elementwise import abs as absolute
from ..reduction import widened
from ..special import xlogy

__all__ = [
    "l1_loss", "mse_loss", "smooth_l1_loss", "huber_loss", "binary_cross_entropy", "binary_cross_entropy_with_logits", "poisson_nll_loss",
    "gaussian_nll_loss", "kl_div", "soft_margin_loss",
]  # fmt: skip

# --- what all losses share -----------------------------------------------------------------------------------------


def reduced(losses: Array, reduction: str) -> Array:
    """The losses themselves, their sum or their mean; of half precision added up in float32."""
    if reduction == "none":
        return losses
    total = jnp.sum(widened(losses)) if losses.dtype.kind in "fcV" else jnp.sum(losses)
    if reduction == "mean":
        if losses.dtype.kind in "biu":
            raise DtypeError("mean(): could not infer output dtype. Input dtype must be either a floating point or complex dtype; write reduction='sum' or .float()")
        total = total / losses.size if losses.size else total * np.nan
    return cast(total, losses.dtype if losses.dtype.kind in "fcV" else np.int64)


REDUCTIONS = ("mean", "sum", "none")


def check_reduction(reduction: str, size_average: bool | None = None, reduce: bool | None = None, stacklevel: int = 3) -> str:
    """The reduction asked for, also by PyTorch's two old arguments."""
    if size_average is not None or reduce is not None:
        reduction = "none" if reduce is False else "sum" if size_average is False else "mean"
        warnings.warn(
            f"size_average and reduce args will be deprecated, please use reduction='{reduction}' instead.", category=UserWarning, stacklevel=stacklevel
        )
    elif reduction == "elementwise_mean":
        warnings.warn("reduction='elementwise_mean' is deprecated. Please use reduction='mean' instead.", category=UserWarning, stacklevel=stacklevel)
        return "mean"
    if reduction not in REDUCTIONS:
        raise ArgumentError(f"{reduction} is not a valid value for reduction; expected one of {', '.join(map(repr, REDUCTIONS))}")
    return reduction


def _warn_if_broadcast(input: Any, target: Any) -> None:
    if tuple(input.shape) != tuple(target.shape):
        warnings.warn(
            f"Using a target size ({tuple(target.shape)}) that is different to the input size ({tuple(input.shape)}). This will likely lead to incorrect "
            "results due to broadcasting. Please ensure they have the same size.",
            stacklevel=3,
        )


def clamp_at_zero(x: Array) -> Array:
    """``max(x, 0)``, whose gradient at 0 is 1, as that of PyTorch's `clamp_min`."""
    return jnp.where(x < 0, 0, x)


def values_outside(x: Any, low: float, high: float) -> bool:
    """Whether an element lies outside of [low, high]. Looked at only where that is cheap: concrete, in the CPU's memory."""
    value = x._value if isinstance(x, Tensor) else x
    if isinstance(value, jax.core.Tracer) or not getattr(value, "size", 0):
        return False
    if isinstance(value, jax.Array) and next(iter(value.devices())).platform != "cpu":
        return False
    array = np.asarray(value)
    return bool(np.minimum.reduce(array, None) < low or np.maximum.reduce(array, None) > high)


# --- regression ----------------------------------------------------------------------------------------------------


def _weighted(losses: Array, weight: Array | None, input: Array, reduction: str, mean_over_weights: bool = True) -> Array:
    if weight is None:
        return reduced(losses, reduction)
    if weight.shape != input.shape:
        raise ArgumentError(f"Weights and input must have the same size, got {tuple(weight.shape)} and {tuple(input.shape)}.")
    losses, factor = promote(losses, weight)
    losses = losses * factor
    return losses.sum() / factor.sum() if reduction == "mean" and mean_over_weights else reduced(losses, reduction)


def _difference(name: str, input: Array, target: Array, refused: str = "biuc") -> Array:
    input, target = promote(input, target)
    refuse(input, refused, name)
    return input - target


@op(name="_l1_loss", method=False)
def _l1_loss(input: Array, target: Array, weight: Array | None, reduction: str) -> Array:
    """Absolute differences, reduced."""
    return _weighted(absolute.op.function(_difference("l1_loss", input, target, "b")), weight, input, reduction)


def l1_loss(
    input: Tensor, target: Tensor, size_average: bool | None = None, reduce: bool | None = None, reduction: str = "mean", weight: Tensor | None = None
) -> Tensor:
    """The mean of the absolute differences.

    Args:
        input, target: tensors of one shape; other shapes broadcast, with a warning. Complex ones too.
        size_average, reduce: the older way to say `reduction`, deprecated.
        reduction: `"mean"`, `"sum"` or `"none"`.
        weight: a factor for each element, of the shape of `input`; `"mean"` divides by their sum.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.nn.functional.l1_loss(nr.tensor([1.0, 2.0]), nr.tensor([3.0, 2.0]))
        tensor(1.)
    """
    _warn_if_broadcast(input, target)
    return _l1_loss(input, target, weight, check_reduction(reduction, size_average, reduce))


@op(name="_mse_loss", method=False)
def _mse_loss(input: Array, target: Array, weight: Array | None, reduction: str) -> Array:
    """Squared differences, reduced."""
    return _weighted(jnp.square(_difference("mse_cpu", input, target)), weight, input, reduction)


def mse_loss(
    input: Tensor, target: Tensor, size_average: bool | None = None, reduce: bool | None = None, reduction: str = "mean", weight: Tensor | None = None
) -> Tensor:
    """The mean of the squared differences. The arguments are those of `l1_loss`, without complex tensors.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.nn.functional.mse_loss(nr.tensor([1.0, 2.0]), nr.tensor([3.0, 2.0]))
        tensor(2.)
    """
    _warn_if_broadcast(input, target)
    return _mse_loss(input, target, weight, check_reduction(reduction, size_average, reduce))


@op(name="_smooth_l1_loss", method=False)
def _smooth_l1_loss(input: Array, target: Array, reduction: str, beta: float) -> Array:
    """Squares of small differences, absolute values of great ones."""
    difference = _difference("smooth_l1_cpu", input, target)
    size = absolute.op.function(difference)
    return reduced(jnp.where(size < beta, 0.5 * difference * difference / beta, size - 0.5 * beta), reduction)


def smooth_l1_loss(
    input: Tensor, target: Tensor, size_average: bool | None = None, reduce: bool | None = None, reduction: str = "mean", beta: float = 1.0
) -> Tensor:
    """``0.5 * d * d / beta`` of differences `d` that are smaller than `beta`, ``|d| - 0.5 * beta`` of others (Girshick, 2015).

    Args:
        input, target: tensors of one shape; other shapes broadcast, with a warning.
        size_average, reduce: the older way to say `reduction`, deprecated.
        reduction: `"mean"`, `"sum"` or `"none"`.
        beta: where the square ends; with 0 this is `l1_loss`. Default: 1.

    Raises:
        RuntimeError: `beta` is negative.
    """
    _warn_if_broadcast(input, target)
    reduction = check_reduction(reduction, size_average, reduce)
    if beta < 0:
        raise ShapeError(f"smooth_l1_loss does not support negative values for beta, got {beta}")
    return _l1_loss(input, target, None, reduction) if beta == 0 else _smooth_l1_loss(input, target, reduction, float(beta))


@op(name="_huber_loss", method=False)
def _huber_loss(input: Array, target: Array, weight: Array | None, reduction: str, delta: float) -> Array:
    """Squares of small differences, a multiple of the absolute values of great ones."""
    difference = _difference("huber_cpu", input, target)
    size = absolute.op.function(difference)
    losses = jnp.where(size <= delta, 0.5 * difference * difference, delta * (size - 0.5 * delta))
    return _weighted(losses, weight, input, reduction, mean_over_weights=False)


def huber_loss(input: Tensor, target: Tensor, reduction: str = "mean", delta: float = 1.0, weight: Tensor | None = None) -> Tensor:
    """``0.5 * d * d`` of differences `d` up to `delta`, ``delta * (|d| - 0.5 * delta)`` of greater ones (Huber, 1964).

    Args:
        input, target: tensors of one shape; other shapes broadcast, with a warning.
        reduction: `"mean"`, `"sum"` or `"none"`.
        delta: where the square ends; positive. Default: 1.
        weight: a factor for each element, of the shape of `input`; `"mean"` divides by the number of elements all the same.

    Raises:
        RuntimeError: `delta` is not positive.
    """
    _warn_if_broadcast(input, target)
    if delta <= 0:
        raise ShapeError(f"huber_loss does not support non-positive values for delta, got {delta}")
    return _huber_loss(input, target, weight, check_reduction(reduction), float(delta))


# --- two classes ---------------------------------------------------------------------------------------------------


@jax.custom_jvp
def _binary_cross_entropy(input: Array, target: Array) -> Array:
    """Minus the log-likelihood, whose logarithms are held above -100."""
    return (target - 1) * jnp.maximum(jnp.log1p(-input), -100) - target * jnp.maximum(jnp.log(input), -100)


@_binary_cross_entropy.defjvp
def _binary_cross_entropy_jvp(primals, tangents):
    (input, target), (d_input, d_target) = primals, tangents
    slope = (input - target) / jnp.maximum((1 - input) * input, 1e-12)
    return _binary_cross_entropy(input, target), slope * d_input + (jnp.log1p(-input) - jnp.log(input)) * d_target


@op(name="_bce_loss", method=False)
def _bce_loss(input: Array, target: Array, weight: Array | None, reduction: str) -> Array:
    """The cross entropy of probabilities, reduced."""
    refuse(input, "biuc", "binary_cross_entropy")
    if input.dtype != target.dtype:
        raise DtypeError(f"binary_cross_entropy: Found dtype {target.dtype} but expected {input.dtype}; write target.to(input.dtype)")
    losses = cast(_binary_cross_entropy(widened(input), widened(target)), input.dtype)
    if weight is not None:
        if broadcast_shapes(target.shape, weight.shape) != target.shape:
            raise ShapeError(f"binary_cross_entropy: the weight of shape {tuple(weight.shape)} does not broadcast to the target's {tuple(target.shape)}")
        losses = losses * cast(weight, losses.dtype)
    return reduced(losses, reduction)


def binary_cross_entropy(
    input: Tensor, target: Tensor, weight: Tensor | None = None, size_average: bool | None = None, reduce: bool | None = None, reduction: str = "mean"
) -> Tensor:
    """``-(target * log(input) + (1 - target) * log(1 - input))``, with logarithms that are held above -100.

    Args:
        input: probabilities.
        target: probabilities of the same shape and dtype.
        weight: a factor that broadcasts to the target.
        size_average, reduce: the older way to say `reduction`, deprecated.
        reduction: `"mean"`, `"sum"` or `"none"`.

    Raises:
        ValueError: input and target differ in shape.
        RuntimeError: an element is no probability (seen eagerly on the CPU).
    """
    reduction = check_reduction(reduction, size_average, reduce)
    if tuple(target.shape) != tuple(input.shape):
        raise ArgumentError(
            f"Using a target size ({tuple(target.shape)}) that is different to the input size ({tuple(input.shape)}) is deprecated. "
            "Please ensure they have the same size."
        )
    for name, x in (("input", input), ("target", target)):
        if values_outside(x, 0, 1):
            raise ShapeError(f"all elements of {name} should be between 0 and 1; for logits there is binary_cross_entropy_with_logits")
    return _bce_loss(input, target, weight, reduction)


@op(name="_bce_with_logits", method=False)
def _bce_with_logits(input: Array, target: Array, weight: Array | None, pos_weight: Array | None, reduction: str) -> Array:
    """The cross entropy of logits, reduced."""
    given = [input, target] + [x for x in (weight, pos_weight) if x is not None]
    dtype = promote(*given)[0].dtype
    input, target = floating(cast(input, dtype)), cast(target, dtype)
    log_probability = cast(jax.nn.log_sigmoid(widened(input)), input.dtype)
    if pos_weight is not None:
        log_probability = log_probability * ((pos_weight - 1) * target + 1)
    losses = (1 - target) * input - log_probability
    return reduced(losses if weight is None else losses * weight, reduction)


def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    pos_weight: Tensor | None = None,
) -> Tensor:
    """`binary_cross_entropy` of ``sigmoid(input)``, without overflow.

    Args:
        input: logits.
        target: probabilities of the same shape.
        weight: a factor for each element, which broadcasts.
        size_average, reduce: the older way to say `reduction`, deprecated.
        reduction: `"mean"`, `"sum"` or `"none"`.
        pos_weight: a factor for the share of the positive class, which broadcasts.

    Raises:
        ValueError: input and target differ in shape.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.nn.functional.binary_cross_entropy_with_logits(nr.zeros(3), nr.ones(3))
        tensor(0.6931)
    """
    reduction = check_reduction(reduction, size_average, reduce)
    if tuple(target.shape) != tuple(input.shape):
        raise ArgumentError(f"Target size ({tuple(target.shape)}) must be the same as input size ({tuple(input.shape)})")
    return _bce_with_logits(input, target, weight, pos_weight, reduction)


@op(name="_soft_margin_loss", method=False)
def _soft_margin_loss(input: Array, target: Array, reduction: str) -> Array:
    """``log(1 + exp(-target * input))``, reduced."""
    input, target = promote(input, target)
    refuse(input, "biuc", "soft_margin_loss")
    return reduced(cast(jax.nn.softplus(-widened(target) * widened(input)), input.dtype), reduction)


def soft_margin_loss(
    input: Tensor, target: Tensor, size_average: bool | None = None, reduce: bool | None = None, reduction: str = "mean"
) -> Tensor:
    """``log(1 + exp(-target * input))``, without overflow.

    Args:
        input: a floating-point tensor.
        target: 1 or -1 for each element; shapes broadcast.
        size_average, reduce: the older way to say `reduction`, deprecated.
        reduction: `"mean"`, `"sum"` or `"none"`.
    """
    return _soft_margin_loss(input, target, check_reduction(reduction, size_average, reduce))


# --- likelihoods and divergence ------------------------------------------------------------------------------------


@op(name="_poisson_nll_loss", method=False)
def _poisson_nll_loss(input: Array, target: Array, log_input: bool, full: bool, eps: float, reduction: str) -> Array:
    """Minus the log-likelihood of counts, reduced."""
    broadcast_shapes(input.shape, target.shape)
    losses = jnp.exp(floating(input)) - target * input if log_input else input - target * jnp.log(floating(input) + eps)
    losses = cast(losses, promote(floating(input), target)[0].dtype)
    if full:
        counted = jnp.where(target > 1, target, 1)
        logarithm = jnp.log(floating(counted))
        stirling = counted * logarithm - counted + 0.5 * jnp.log(2 * math.pi * floating(counted))
        losses = losses + cast(jnp.where(target > 1, stirling, 0), losses.dtype)
    return reduced(losses, reduction)


def poisson_nll_loss(
    input: Tensor,
    target: Tensor,
    log_input: bool = True,
    full: bool = False,
    size_average: bool | None = None,
    eps: float = 1e-8,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Minus the log-likelihood of Poisson counts, without the term ``log(target!)``.

    Args:
        input: rates, or with `log_input` their logarithms.
        target: counts; shapes broadcast.
        log_input: ``exp(input) - target * input``; otherwise ``input - target * log(input + eps)``.
        full: add Stirling's approximation of ``log(target!)`` where `target` exceeds 1.
        size_average, reduce: the older way to say `reduction`, deprecated.
        eps: keeps the logarithm finite. Default: 1e-8.
        reduction: `"mean"`, `"sum"` or `"none"`.
    """
    return _poisson_nll_loss(input, target, bool(log_input), bool(full), float(eps), check_reduction(reduction, size_average, reduce))


def held_above(x: Array, least: float) -> Array:
    """``max(x, least)``, through which the gradient goes as if nothing had been held."""
    return jnp.where(x < least, lax.stop_gradient(cast(least, x.dtype) - x) + x, x)


@op(name="_gaussian_nll_loss", method=False)
def _gaussian_nll_loss(input: Array, target: Array, var: Array | float, full: bool, eps: float, reduction: str) -> Array:
    """Minus the log-likelihood of a normal distribution, reduced."""
    broadcast_shapes(input.shape, target.shape)
    if not hasattr(var, "shape") or getattr(var, "weak_type", False):
        var = jnp.full(input.shape, cast(var, input.dtype))
    elif var.shape != input.shape:
        if input.shape[:-1] == var.shape:
            var = jnp.expand_dims(var, -1)
        elif input.ndim != var.ndim or sum(v for i, v in zip(input.shape, var.shape, strict=True) if i != v) != 1:
            raise ArgumentError(f"var is of incorrect size: {tuple(var.shape)} for input of shape {tuple(input.shape)}")
    var = held_above(var, eps)
    losses = 0.5 * (jnp.log(var) + jnp.square(input - target) / var)
    return reduced(losses + 0.5 * math.log(2 * math.pi) if full else losses, reduction)


def gaussian_nll_loss(
    input: Tensor, target: Tensor, var: Tensor | float, full: bool = False, eps: float = 1e-6, reduction: str = "mean"
) -> Tensor:
    """``0.5 * (log(var) + (input - target) ** 2 / var)``: minus the log-likelihood of a normal distribution (Nix and Weigend, 1994).

    Args:
        input: means.
        target: samples; shapes broadcast.
        var: variances: a number, of the shape of `input`, of that shape with a last dimension of 1, or without the last dimension.
        full: add the constant ``0.5 * log(2 * pi)``.
        eps: variances are held above it, while their gradient goes through. Default: 1e-6.
        reduction: `"mean"`, `"sum"` or `"none"`.

    Raises:
        ValueError: a variance is negative (seen eagerly on the CPU), or their shape does not fit.
    """
    if var < 0 if isinstance(var, float | int) else values_outside(var, 0, np.inf):
        raise ArgumentError("var has negative entry/entries")
    return _gaussian_nll_loss(input, target, var, bool(full), float(eps), check_reduction(reduction))


@op(name="_kl_div", method=False)
def _kl_div(input: Array, target: Array, log_target: bool, reduction: str, divisor: int | None) -> Array:
    """The terms of the divergence, reduced."""
    broadcast_shapes(input.shape, target.shape)
    losses = jnp.exp(target) * (target - input) if log_target else xlogy.op.function(target, target) - target * input
    losses = reduced(losses, reduction)
    return losses if divisor is None else losses / divisor


def kl_div(
    input: Tensor, target: Tensor, size_average: bool | None = None, reduce: bool | None = None, reduction: str = "mean", log_target: bool = False
) -> Tensor:
    """``target * (log(target) - input)``: the Kullback-Leibler divergence of distributions `input` from `target`.

    Args:
        input: log-probabilities.
        target: probabilities, or with `log_target` their logarithms; shapes broadcast.
        size_average, reduce: the older way to say `reduction`, deprecated.
        reduction: `"batchmean"` divides the sum by the length of the first dimension, which is the divergence of the definition; `"mean"`, with a
            warning, by the number of elements; `"sum"`; `"none"`.
        log_target: whether `target` holds logarithms.

    Examples:
        >>> import neurarust_jax as nr
        >>> p = nr.tensor([[0.5, 0.5]])
        >>> nr.nn.functional.kl_div(nr.tensor([[0.25, 0.75]]).log(), p, reduction="batchmean")
        tensor(0.1438)
    """
    divisor = None
    if size_average is None and reduce is None:
        if reduction == "mean":
            warnings.warn(
                "reduction: 'mean' divides the total loss by both the batch size and the support size. 'batchmean' divides only by the batch size, and aligns "
                "with the KL div math definition. 'mean' will be changed to behave the same as 'batchmean' in the next major release.",
                stacklevel=2,
            )
        elif reduction == "batchmean":
            reduction, divisor = "sum", input.shape[0] if input.dim() else 1
    return _kl_div(input, target, bool(log_target), check_reduction(reduction, size_average, reduce), divisor)
