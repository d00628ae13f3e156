"""Loss functions."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np

from ...dispatch import Array, op
from ...errors import ArgumentError, DtypeError, IndexOutOfRangeError, ShapeError
from ...tensor import Tensor
from ..common import broadcast_shapes, promote

__all__ = ["cross_entropy", "nll_loss", "mse_loss"]

_REDUCTIONS = ("mean", "sum", "none")


def reduced(losses: Array, reduction: str) -> Array:
    """The losses themselves, their sum or their mean."""
    if reduction == "mean":
        return losses.mean(dtype=losses.dtype)
    return losses.sum(dtype=losses.dtype) if reduction == "sum" else losses


def check_reduction(reduction: str, size_average: bool | None = None, reduce: bool | None = None) -> str:
    """The reduction asked for, also by PyTorch's two old arguments."""
    if size_average is not None or reduce is not None:
        warnings.warn("size_average and reduce are deprecated: pass reduction='mean', 'sum' or 'none'", DeprecationWarning, stacklevel=3)
        return "none" if reduce is False else "sum" if size_average is False else "mean"
    if reduction not in _REDUCTIONS:
        raise ArgumentError(f"{reduction} is not a valid value for reduction; expected one of {', '.join(map(repr, _REDUCTIONS))}")
    return reduction


@op(name="_mse_loss", method=False)
def _mse_loss(input: Array, target: Array, weight: Array | None, reduction: str) -> Array:
    """Squared differences, reduced."""
    input, target = promote(input, target)
    losses = jnp.square(input - target)
    if weight is not None:
        losses = losses * weight
        return losses.sum() / jnp.broadcast_to(weight, losses.shape).sum() if reduction == "mean" else reduced(losses, reduction)
    return reduced(losses, reduction)


def mse_loss(
    input: Tensor, target: Tensor, size_average: bool | None = None, reduce: bool | None = None, reduction: str = "mean", weight: Tensor | None = None
) -> Tensor:
    """The mean of the squared differences.

    Args:
        input, target: tensors of one shape; other shapes broadcast, with a warning.
        reduction: `"mean"`, `"sum"` or `"none"`.
        weight: a factor for each element.
    """
    if tuple(input.shape) != tuple(target.shape):
        warnings.warn(
            f"Using a target size ({tuple(target.shape)}) that is different to the input size ({tuple(input.shape)}). This will likely lead to incorrect results due to "
            "broadcasting. Please ensure they have the same size.",
            stacklevel=2,
        )
        broadcast_shapes(tuple(input.shape), tuple(target.shape))
    return _mse_loss(input, target, weight, check_reduction(reduction, size_average, reduce))


def _pick(log_probabilities: Array, target: Array, weight: Array | None, ignore_index: int, reduction: str) -> Array:
    """Minus the log-probability of each target; classes are dimension 1, or 0 if there is no other."""
    axis = 0 if log_probabilities.ndim == 1 else 1
    counted = target != ignore_index
    index = jnp.where(counted, target, 0)
    picked = -jnp.take_along_axis(log_probabilities, jnp.expand_dims(index, axis), axis=axis, mode="clip").squeeze(axis)
    factor = counted.astype(picked.dtype) if weight is None else jnp.where(counted, weight[index], 0).astype(picked.dtype)
    losses = jnp.where(counted, picked * factor, 0)
    return losses.sum() / factor.sum() if reduction == "mean" else reduced(losses, reduction)


@op(name="_nll_loss", method=False)
def _nll_loss(input: Array, target: Array, weight: Array | None, ignore_index: int, reduction: str) -> Array:
    """The negative log-likelihood of class indices."""
    return _pick(input, target, weight, ignore_index, reduction)


@op(name="_cross_entropy_of_classes", method=False)
def _cross_entropy_of_classes(input: Array, target: Array, weight: Array | None, ignore_index: int, reduction: str, label_smoothing: float) -> Array:
    """Cross entropy with class indices."""
    axis = 0 if input.ndim == 1 else 1
    logs = jax.nn.log_softmax(input, axis=axis)
    loss = _pick(logs, target, weight, ignore_index, reduction)
    if not label_smoothing:
        return loss
    counted = target != ignore_index
    shape = [1] * logs.ndim
    shape[axis] = -1
    uniform = -(logs if weight is None else logs * weight.reshape(shape)).sum(axis)
    uniform = jnp.where(counted, uniform, 0)
    if reduction == "mean":
        index = jnp.where(counted, target, 0)
        total = counted.sum().astype(logs.dtype) if weight is None else jnp.where(counted, weight[index], 0).sum()
        uniform = uniform.sum() / total
    else:
        uniform = reduced(uniform, reduction)
    return (1 - label_smoothing) * loss + label_smoothing / logs.shape[axis] * uniform


@op(name="_cross_entropy_of_probabilities", method=False)
def _cross_entropy_of_probabilities(input: Array, target: Array, weight: Array | None, reduction: str, label_smoothing: float) -> Array:
    """Cross entropy with class probabilities."""
    axis = 0 if input.ndim == 1 else 1
    logs = jax.nn.log_softmax(input, axis=axis)
    if label_smoothing:
        target = target * (1 - label_smoothing) + label_smoothing / input.shape[axis]
    shape = [1] * input.ndim
    shape[axis] = -1
    losses = -(logs * target if weight is None else logs * target * weight.reshape(shape)).sum(axis)
    return losses.sum() / max(losses.size, 1) if reduction == "mean" else reduced(losses, reduction)


def _check_classes(name: str, input: Tensor, target: Tensor, ignore_index: int) -> None:
    """Shapes of input (N, C, ...) and target (N, ...) fit, and eagerly on the CPU the classes exist."""
    shape = tuple(input.shape)
    expected = shape[:1] + shape[2:] if len(shape) > 1 else ()
    if not shape or tuple(target.shape) != expected:
        raise ShapeError(
            f"{name}: Expected target of shape {expected} for input of shape {shape} (classes are dimension {0 if len(shape) == 1 else 1}), got target of shape "
            f"{tuple(target.shape)}"
        )
    value = getattr(target, "_value", target)
    if value.dtype.kind not in "iu":
        raise DtypeError(f"{name}: expected scalar type Long but found {target.dtype} for the target; write target.long()")
    if isinstance(value, jax.core.Tracer) or not value.size or next(iter(value.devices())).platform != "cpu":
        return
    classes = shape[0] if len(shape) == 1 else shape[1]
    given = np.asarray(value)
    wrong = given[(given != ignore_index) & ((given < 0) | (given >= classes))]
    if wrong.size:
        raise IndexOutOfRangeError(f"Target {wrong.flat[0]} is out of bounds: {name} got {classes} classes, so targets lie in [0, {classes - 1}] or are {ignore_index}")


def nll_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    r"""Minus the log-probability of each target class.

    Args:
        input: log-probabilities, shape (C), (N, C) or (N, C, d1, ...).
        target: class indices, shape (), (N) or (N, d1, ...).
        weight: a factor for each class, shape (C); `"mean"` divides by the sum of the factors used.
        ignore_index: a target that counts nothing.
        reduction: `"mean"`, `"sum"` or `"none"`.

    Raises:
        IndexError: a target is no class (seen eagerly on the CPU).
        RuntimeError: shapes do not fit.
    """
    _check_classes("nll_loss", input, target, ignore_index)
    return _nll_loss(input, target, weight, int(ignore_index), check_reduction(reduction, size_average, reduce))


def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    r"""``-log softmax(input)[target]``.

    Args:
        input: logits, shape (C), (N, C) or (N, C, d1, ...).
        target: class indices of shape (), (N) or (N, d1, ...), or class probabilities in the shape of the input.
        weight: a factor for each class, shape (C).
        ignore_index: a target index that counts nothing.
        reduction: `"mean"`, `"sum"` or `"none"`.
        label_smoothing: the share, in [0, 1], that is spread over all classes.

    Returns:
        A 0-d tensor, or with `"none"` one in the shape of the indices.

    Raises:
        IndexError: a target is no class (seen eagerly on the CPU).
        RuntimeError: shapes do not fit.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.nn.functional.cross_entropy(nr.zeros(2, 4), nr.tensor([0, 3]))
        tensor(1.3863)
    """
    reduction = check_reduction(reduction, size_average, reduce)
    if not 0 <= label_smoothing <= 1:
        raise ArgumentError(f"label_smoothing must be between 0.0 and 1.0. Got: {label_smoothing}")
    if tuple(input.shape) == tuple(target.shape):
        if target.dtype.dtype.kind in "biu":
            raise DtypeError(f"Expected floating point type for target with class probabilities, got {target.dtype}; for class indices drop dimension 1")
        return _cross_entropy_of_probabilities(input, target, weight, reduction, float(label_smoothing))
    _check_classes("cross_entropy", input, target, ignore_index)
    return _cross_entropy_of_classes(input, target, weight, int(ignore_index), reduction, float(label_smoothing))


