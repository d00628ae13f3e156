"""Losses over classes: negative log-likelihood, cross entropy, and cross entropy of a linear map."""

import dataclasses
import math
import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ... import dtypes
from ...dispatch import Array, op
from ...errors import ArgumentError, DtypeError, IndexOutOfRangeError, ShapeError
from ...tensor import Tensor
from ..common import _bounds, cast, refuse
from ..matmul import precision
from ..reduction import log_softmax, widened
from .linear import linear
from .loss import check_reduction, reduced

__all__ = ["cross_entropy", "nll_loss", "linear_cross_entropy"]


def _class_axis(shape: tuple[int, ...]) -> int:
    return 0 if len(shape) == 1 else 1


def _along_classes(weight: Array, ndim: int, axis: int) -> Array:
    return weight.reshape([-1 if d == axis else 1 for d in range(ndim)])


def _counted(target: Array, weight: Array | None, ignore_index: int, dtype: np.dtype) -> tuple[Array, Array]:
    """(class of each target, 0 for those that count nothing; the factor of each)."""
    counts = target != ignore_index
    index = jnp.where(counts, target, 0).astype(np.int32)
    factor = cast(counts, dtype) if weight is None else jnp.where(counts, weight.at[index].get(mode="clip"), 0)
    return index, lax.stop_gradient(factor)


def _averaged(losses: Array, factor: Array, reduction: str) -> Array:
    """`losses`, which hold their factors, reduced; the mean is over the factors."""
    if reduction != "mean":
        return reduced(losses, reduction)
    return cast(jnp.sum(widened(losses)) / jnp.sum(widened(factor)), losses.dtype)


def _pick(log_probabilities: Array, target: Array, weight: Array | None, ignore_index: int) -> tuple[Array, Array]:
    """(minus the log-probability of each target times its factor, the factors)."""
    axis = _class_axis(log_probabilities.shape)
    index, factor = _counted(target, weight, ignore_index, log_probabilities.dtype)
    picked = -jnp.take_along_axis(log_probabilities, jnp.expand_dims(index, axis), axis, mode="clip").squeeze(axis)
    return jnp.where(target == ignore_index, 0, picked * factor), factor  # `where`: 0 times infinity is no number


@op(name="_nll_loss", method=False)
def _nll_loss(input: Array, target: Array, weight: Array | None, ignore_index: int, reduction: str) -> Array:
    """The negative log-likelihood of class indices."""
    refuse(input, "biuc", "nll_loss_out_frame")
    target = _classes("nll_loss", input.shape, input.dtype, target, weight)
    return _averaged(*_pick(input, target, weight, ignore_index), reduction)


@op(name="_cross_entropy", method=False)
def _cross_entropy(input: Array, target: Array, weight: Array | None, ignore_index: int, reduction: str, label_smoothing: float) -> Array:
    """Cross entropy with class indices, or with probabilities in the shape of the input."""
    if not 0 <= label_smoothing <= 1:
        raise ShapeError(f"label_smoothing must be between 0.0 and 1.0. Got: {label_smoothing}")
    axis = _class_axis(input.shape)
    if input.shape == target.shape:
        if target.dtype.kind in "biu":
            raise DtypeError(f"Expected floating point type for target with class probabilities, got {target.dtype}; for class indices drop dimension 1")
        if ignore_index >= 0:
            raise ShapeError(f"ignore_index is not supported for floating point target, got {ignore_index}")
        _check_weight("cross_entropy", input.shape, input.dtype, weight)
        return _of_probabilities(log_softmax.op.function(input, axis), target, weight, axis, reduction, label_smoothing)
    target = _classes("cross_entropy", input.shape, input.dtype, target, weight)
    logs = log_softmax.op.function(input, axis)
    losses, factor = _pick(logs, target, weight, ignore_index)
    if label_smoothing:
        uniform = -(logs if weight is None else logs * _along_classes(weight, logs.ndim, axis)).sum(axis)
        uniform = jnp.where(target == ignore_index, 0, uniform)
        losses = (1 - label_smoothing) * losses + label_smoothing / logs.shape[axis] * uniform
    return _averaged(losses, factor, reduction)


def _of_probabilities(logs: Array, target: Array, weight: Array | None, axis: int, reduction: str, label_smoothing: float) -> Array:
    if label_smoothing:
        target = target * (1 - label_smoothing) + label_smoothing / logs.shape[axis]
    losses = -(logs * target if weight is None else logs * target * _along_classes(weight, logs.ndim, axis)).sum(axis)
    return reduced(losses, reduction)


# --- checks --------------------------------------------------------------------------------------------------------


def _classes(function: str, shape: tuple[int, ...], dtype: np.dtype | None, target: Array, weight: Array | None) -> Array:
    """The class indices, after a check that they and the weight fit an input of shape (C), (N, C) or (N, C, ...)."""
    expected = shape[:1] + shape[2:] if len(shape) > 1 else ()
    if not shape or (target.shape != expected and not (len(shape) == 1 and target.shape == (1,))):
        given = tuple(target.shape)
        listed = f"{function}: Expected target of shape {expected} for input of shape {shape} (classes are dimension {_class_axis(shape)}), got target of shape {given}"
        if len(shape) > 1 and given[:1] != shape[:1]:
            raise ArgumentError(f"{listed}. Expected input batch_size ({shape[0]}) to match target batch_size ({given[0] if given else 'none'}).")
        raise ShapeError(listed)
    if target.dtype.kind not in "iu":
        raise DtypeError(f"{function}: expected scalar type Long but found {target.dtype} for the target; write target.long()")
    _check_weight(function, shape, dtype, weight)
    return target.reshape(expected)


def _check_weight(function: str, shape: tuple[int, ...], dtype: np.dtype | None, weight: Array | None) -> None:
    classes = shape[_class_axis(shape)]
    if weight is not None and weight.shape != (classes,):
        raise ShapeError(
            f"{function}: weight tensor should be defined either for all {classes} classes or no classes but got weight tensor of shape: {list(weight.shape)}"
        )
    if weight is not None and dtype not in (None, weight.dtype):
        raise DtypeError(f"{function}: expected scalar type {dtype} but found {weight.dtype} for the weight; write weight.to(input.dtype)")


def _check_values(function: str, classes: int, target: Any, ignore_index: int) -> None:
    """The targets are classes, or are ignored. Looked at only where that is cheap: concrete, in the CPU's memory."""
    value = getattr(target, "_value", target)
    if isinstance(value, jax.core.Tracer) or not value.size or value.dtype.kind not in "iu":
        return
    if isinstance(value, jax.Array) and next(iter(value.devices())).platform != "cpu":
        return
    low, high = _bounds(value)
    if low >= 0 and high < classes:
        return
    found = np.asarray(value)
    wrong = found[(found != ignore_index) & ((found < 0) | (found >= classes))]
    if wrong.size:
        raise IndexOutOfRangeError(f"Target {wrong.flat[0]} is out of bounds: {function} got {classes} classes, so targets lie in [0, {classes - 1}] or are {ignore_index}")


# --- public --------------------------------------------------------------------------------------------------------


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
        size_average, reduce: the older way to say `reduction`, deprecated.
        ignore_index: a target that counts nothing.
        reduction: `"mean"`, `"sum"` or `"none"`.

    Raises:
        IndexError: a target is no class (seen eagerly on the CPU).
        RuntimeError, ValueError: shapes do not fit.
    """
    reduction = check_reduction(reduction, size_average, reduce)
    output = _nll_loss(input, target, weight, int(ignore_index), reduction)
    _check_values("nll_loss", input.shape[_class_axis(input.shape)], target, ignore_index)  # after the shapes
    return output


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
        size_average, reduce: the older way to say `reduction`, deprecated.
        ignore_index: a target index that counts nothing.
        reduction: `"mean"`, `"sum"` or `"none"`.
        label_smoothing: the share, in [0, 1], that is spread over all classes (Szegedy et al., 2016).

    Returns:
        A 0-d tensor, or with `"none"` one in the shape of the indices.

    Raises:
        IndexError: a target is no class (seen eagerly on the CPU).
        RuntimeError, ValueError: shapes do not fit.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.nn.functional.cross_entropy(nr.zeros(2, 4), nr.tensor([0, 3]))
        tensor(1.3863)
    """
    reduction = check_reduction(reduction, size_average, reduce)
    output = _cross_entropy(input, target, weight, int(ignore_index), reduction, float(label_smoothing))
    _check_values("cross_entropy", input.shape[_class_axis(input.shape)], target, ignore_index)  # after the shapes
    return output


# --- of a linear map -----------------------------------------------------------------------------------------------

_LOW_PRECISION = ("float16", "bfloat16")


@dataclasses.dataclass(slots=True, frozen=True)
class LinearCrossEntropyOptions:
    """How `linear_cross_entropy` goes over the batch in pieces, so that the logits of the whole batch never exist.

    Each piece's logits are computed again in the backward pass. It pays where there are many more classes than features.

    Attributes:
        allow_retain_graph: accepted and without effect: a second backward pass always works.
        batch_chunk_size: rows in a piece. Default: as `chunking_method` says, or all.
        chunking_method: `"aspect_ratio"` makes a piece's logits as large as the input, `"aspect_ratio:N"` one `N`-th of that, `"auto"` chooses; `None`
            leaves it to `batch_chunk_size`.
        acc_policy: `"accurate"`, `"balanced"`, `"compact"` or `"auto"`. Accepted and without effect: XLA plans the buffers by itself.
        acc_dtype: the dtype of the logits and of all that follows. Default: float32 for half precision, else that of the input.
    """

    allow_retain_graph: bool = False
    batch_chunk_size: int | None = None
    chunking_method: str | None = "auto"
    acc_policy: str = "auto"
    acc_dtype: dtypes.dtype | None = None

    def __post_init__(self):
        if self.acc_policy not in {"auto", "accurate", "balanced", "compact"}:
            raise ArgumentError(f"invalid acc_policy: {self.acc_policy!r}")
        if self.chunking_method not in (None, "auto"):
            name, colon, factor = self.chunking_method.partition(":")
            if name != "aspect_ratio" or (colon and not (factor.isdigit() and int(factor) > 0)):
                raise ArgumentError(f"invalid chunking_method: {self.chunking_method!r}")
        if self.batch_chunk_size is not None and not (isinstance(self.batch_chunk_size, int) and self.batch_chunk_size > 0):
            raise ArgumentError(f"batch_chunk_size must be positive int or None, got {self.batch_chunk_size!r}")
        if self.acc_dtype is not None and self.acc_dtype not in (dtypes.float16, dtypes.bfloat16, dtypes.float32, dtypes.float64):
            raise ArgumentError(f"acc_dtype must be None or a floating-point dtype of 16 to 64 bits, got {self.acc_dtype!r}")

    def rows_at_once(self, rows: int, features: int, classes: int, low_precision: bool) -> int:
        """How many rows a piece has."""
        method = self.chunking_method
        if method == "auto":
            method = None if self.batch_chunk_size is not None else "aspect_ratio" if low_precision else "aspect_ratio:2"
        if method is None:
            return max(rows if self.batch_chunk_size is None else min(self.batch_chunk_size, rows), 1)
        factor = int(method.partition(":")[2] or 1)
        wanted = math.ceil(rows / math.ceil(classes / features))
        found = max(min((1 << (wanted - 1).bit_length()) // factor, rows), 1)
        if self.batch_chunk_size is not None and min(self.batch_chunk_size, rows) != found:
            raise ArgumentError(
                f"batch_chunk_size (={self.batch_chunk_size}) and chunking_method ({method!r}) give different chunk sizes "
                f"({self.batch_chunk_size} vs {found}); pass only one."
            )
        return found


@op(name="_chunked_cross_entropy", method=False)
def _chunked_cross_entropy(
    input: Array, linear_weight: Array, target: Array, linear_bias: Array | None, weight: Array | None, ignore_index: int, reduction: str, rows: int, dtype: Any
) -> Array:
    """Cross entropy of a linear map, `rows` rows of the input at a time."""
    target = _classes("linear_cross_entropy", (input.shape[0], linear_weight.shape[0]), None, target, weight)

    @jax.checkpoint
    def losses_of(input: Array, target: Array) -> tuple[Array, Array]:
        logits = jnp.matmul(input, linear_weight.T, precision=precision(), preferred_element_type=dtype)
        if linear_bias is not None:
            logits = logits + cast(linear_bias, dtype)
        return _pick(log_softmax.op.function(logits, 1), target, None if weight is None else cast(weight, dtype), ignore_index)

    whole = input.shape[0] // rows * rows
    pieces = (input[:whole].reshape(-1, rows, input.shape[1]), target[:whole].reshape(-1, rows))
    losses, factors = (x.reshape(-1) for x in lax.map(lambda piece: losses_of(*piece), pieces))
    if whole < input.shape[0]:
        rest = losses_of(input[whole:], target[whole:])
        losses, factors = jnp.concatenate([losses, rest[0]]), jnp.concatenate([factors, rest[1]])
    return cast(_averaged(losses, factors, reduction), input.dtype)


def linear_cross_entropy(
    input: Tensor,
    linear_weight: Tensor,
    target: Tensor,
    *,
    linear_bias: Tensor | None = None,
    weight: Tensor | None = None,
    reduction: str = "mean",
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
    options: LinearCrossEntropyOptions | None = None,
) -> Tensor:
    """``cross_entropy(linear(input, linear_weight, linear_bias), target)``, with `options` piece by piece.

    Args:
        input: shape (in_features) or (N, in_features).
        linear_weight: shape (C, in_features) or (C, d1, ..., in_features); with more than two dimensions the input is a batch.
        target: class indices of shape (), (N) or (N, d1, ...), or class probabilities of shape (C), (N, C) or (N, C, d1, ...).
        linear_bias: shape (C) or (C, d1, ...).
        weight: a factor for each class, shape (C).
        reduction: `"mean"`, `"sum"` or `"none"`.
        ignore_index: a target index that counts nothing. Default: -100.
        label_smoothing: the share, in [0, 1], that is spread over all classes.
        options: go over the batch in pieces. For class indices, two dimensions and no smoothing; otherwise a warning is given, and the whole is computed.

    Raises:
        RuntimeError: shapes do not fit.
    """
    classes, features = linear_weight.shape[0] if linear_weight.dim() else 0, input.shape[-1] if input.dim() else 0
    if input.dim() not in (1, 2):
        raise ShapeError(f"expected input with dimensionality 1 or 2, got {input.dim()}")
    if linear_weight.dim() < 2:
        raise ShapeError(f"expected linear_weight with dimensionality at least 2, got {linear_weight.dim()}")
    if features != linear_weight.shape[-1]:
        raise ShapeError(f"expected equal input and linear_weight last dimensions (in_features), got {features} and {linear_weight.shape[-1]}, respectively")
    positions = tuple(linear_weight.shape[1:-1])
    if linear_bias is not None and tuple(linear_bias.shape) != (classes, *positions):
        raise ShapeError(f"expected linear_bias shape {(classes, *positions)}, got {tuple(linear_bias.shape)}")
    if positions and input.dim() == 1:
        raise ShapeError(
            f"K-dimensional loss defined by linear_weight shape {tuple(linear_weight.shape)} requires batched input, (N, {features}), "
            f"got unbatched input with shape {tuple(input.shape)}"
        )
    shape = (*input.shape[:-1], classes, *positions)
    if tuple(target.shape) == shape and ignore_index is not None:
        raise ShapeError("ignore_index cannot be specified when target contains probabilities")
    ignore_index = -100 if ignore_index is None else ignore_index
    if options is not None:
        if not positions and label_smoothing == 0 and target.dtype == dtypes.int64:
            return _in_pieces(input, linear_weight, target, linear_bias, weight, check_reduction(reduction), ignore_index, options)
        warnings.warn(
            "linear_cross_entropy: ``options`` ignored; pieces need label_smoothing == 0, target.dtype == int64 and a linear_weight of two dimensions. Got "
            f"label_smoothing={label_smoothing}, target.dtype={target.dtype}, linear_weight of shape {tuple(linear_weight.shape)}.",
            stacklevel=2,
        )
    if positions:
        linear_weight = linear_weight.reshape(-1, features)
        linear_bias = None if linear_bias is None else linear_bias.reshape(-1)
    logits = linear(input, linear_weight, linear_bias).reshape(shape)
    return cross_entropy(logits, target, weight, ignore_index=ignore_index, reduction=reduction, label_smoothing=label_smoothing)


def _in_pieces(
    input: Tensor, linear_weight: Tensor, target: Tensor, linear_bias: Any, weight: Any, reduction: str, ignore_index: int, options: LinearCrossEntropyOptions
) -> Tensor:
    batched = input.dim() == 2
    if not batched:
        input, target = input.unsqueeze(0), target.reshape(1)
    rows, features = input.shape
    low = input.dtype.name in _LOW_PRECISION
    dtype = options.acc_dtype or (dtypes.float32 if low and options.acc_policy == "auto" else input.dtype)
    if dtype != input.dtype and not (low and dtype == dtypes.float32):
        raise ShapeError(f"linear_cross_entropy supports float32 acc_dtype with float16/bfloat16 inputs, but got {dtype} acc_dtype and {input.dtype} inputs.")
    size = options.rows_at_once(rows, features, linear_weight.shape[0], low)
    losses = _chunked_cross_entropy(input, linear_weight, target, linear_bias, weight, int(ignore_index), reduction, size, dtype)
    _check_values("linear_cross_entropy", linear_weight.shape[0], target, ignore_index)
    return losses.squeeze(0) if not batched and reduction == "none" else losses
