"""Losses with a margin: between scores, classes, labels and embeddings."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from ...dispatch import Array, op
from ...errors import ArgumentError, DtypeError, ShapeError
from ...tensor import Tensor
from ..common import cast, floating, promote, refuse
from ..reduction import summable, widened
from .distance import pairwise_distance
from .loss import check_reduction, clamp_at_zero, reduced, values_outside

__all__ = [
    "margin_ranking_loss", "hinge_embedding_loss", "multi_margin_loss", "multilabel_margin_loss", "multilabel_soft_margin_loss", "triplet_margin_loss",
    "triplet_margin_with_distance_loss", "cosine_embedding_loss",
]  # fmt: skip

# --- scores --------------------------------------------------------------------------------------------------------


@op(name="_margin_ranking_loss", method=False)
def _margin_ranking_loss(input1: Array, input2: Array, target: Array, margin: float, reduction: str) -> Array:
    """``max(-target * (input1 - input2) + margin, 0)``, reduced."""
    input1, input2, target = promote(input1, input2, target)
    return reduced(clamp_at_zero(floating(-target * (input1 - input2)) + margin), reduction)


def margin_ranking_loss(
    input1: Tensor,
    input2: Tensor,
    target: Tensor,
    margin: float = 0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """``max(-target * (input1 - input2) + margin, 0)``: `input1` should rank above `input2` where `target` is 1, below where it is -1.

    Args:
        input1, input2: scores.
        target: 1 or -1; as many dimensions as the scores, and shapes that broadcast.
        margin: by how much. Default: 0.
        size_average, reduce: the older way to say `reduction`, deprecated.
        reduction: `"mean"`, `"sum"` or `"none"`.

    Raises:
        RuntimeError: numbers of dimensions differ.
    """
    reduction = check_reduction(reduction, size_average, reduce)
    if not input1.dim() == input2.dim() == target.dim():
        raise ShapeError(
            "margin_ranking_loss : All input tensors should have same dimension but got sizes: "
            f"input1: {tuple(input1.shape)}, input2: {tuple(input2.shape)}, target: {tuple(target.shape)}"
        )
    return _margin_ranking_loss(input1, input2, target, float(margin), reduction)


@op(name="_hinge_embedding_loss", method=False)
def _hinge_embedding_loss(input: Array, target: Array, margin: float, reduction: str) -> Array:
    """`input` where the target is 1, ``max(margin - input, 0)`` where it is -1, reduced."""
    apart = clamp_at_zero(margin - floating(input))
    return reduced(jnp.where(target != 1, apart, 0) + jnp.where(target != -1, input, 0), reduction)


def hinge_embedding_loss(
    input: Tensor, target: Tensor, margin: float = 1.0, size_average: bool | None = None, reduce: bool | None = None, reduction: str = "mean"
) -> Tensor:
    """Distances `input` where `target` is 1, ``max(margin - input, 0)`` where it is -1.

    Args:
        input: distances.
        target: 1 or -1; shapes broadcast.
        margin: how far apart others should be. Default: 1.
        size_average, reduce: the older way to say `reduction`, deprecated.
        reduction: `"mean"`, `"sum"` or `"none"`.
    """
    return _hinge_embedding_loss(input, target, float(margin), check_reduction(reduction, size_average, reduce))


# --- classes and labels --------------------------------------------------------------------------------------------


@op(name="_multi_margin_loss", method=False)
def _multi_margin_loss(input: Array, target: Array, weight: Array | None, p: int, margin: float, reduction: str) -> Array:
    """The mean over classes of how far each comes within the margin of the target's, reduced."""
    refuse(input, "biuc", "multi_margin_loss")
    classes = input.shape[-1] if input.ndim else 1
    x, index = input.reshape(-1, classes), target.reshape(-1)
    picked = jnp.take_along_axis(x, index[:, None], 1, mode="clip")
    excess = margin - picked + x
    losses = jnp.where(excess > 0, excess if p == 1 else excess * excess, 0)
    if weight is not None:
        losses = losses * weight.at[index].get(mode="clip")[:, None]
    losses = jnp.where(lax.broadcasted_iota(index.dtype, x.shape, 1) == index[:, None], 0, losses).sum(1) / classes
    return reduced(cast(losses, input.dtype).reshape(target.shape), reduction)


def multi_margin_loss(
    input: Tensor,
    target: Tensor,
    p: int = 1,
    margin: float = 1.0,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """The mean over the other classes `i` of ``max(margin - input[target] + input[i], 0) ** p`` (Crammer and Singer, 2001).

    Args:
        input: scores, shape (C) or (N, C).
        target: class indices, shape () or (N).
        p: 1 or 2. Default: 1.
        margin: Default: 1.
        weight: a factor for each target class, shape (C).
        size_average, reduce: the older way to say `reduction`, deprecated.
        reduction: `"mean"`, `"sum"` or `"none"`.

    Raises:
        ValueError: `p` is neither 1 nor 2, or `weight` has not one dimension.
        RuntimeError: shapes do not fit, or a target is no class (seen eagerly on the CPU).
    """
    reduction = check_reduction(reduction, size_average, reduce)
    if p not in (1, 2):
        raise ArgumentError(f"only p == 1 and p == 2 supported, got {p}")
    if weight is not None and weight.dim() != 1:
        raise ArgumentError(f"weight must be one-dimensional, got {weight.dim()}D")
    shape = tuple(input.shape)
    classes = shape[-1] if shape else 1
    if len(shape) > 2 or (shape and not classes) or target.dim() > 1:
        raise ShapeError(f"Expected non-empty vector or matrix with optional 0-dim batch size, but got: {list(shape)}")
    if target.numel() != (shape[0] if len(shape) == 2 else 1):
        raise ShapeError(f"inconsistent target size, expected {shape[0] if len(shape) == 2 else 1} but got {list(target.shape)}")
    if target.dtype.dtype.kind not in "iu":
        raise DtypeError(f"expected scalar type Long but found {target.dtype}; write target.long()")
    if weight is not None and weight.numel() != classes:
        raise ShapeError(f"inconsistent weight size, expected {classes} but got {list(weight.shape)}")
    if values_outside(target, 0, classes - 1):
        raise ShapeError(f"multi_margin_loss: target out of range; classes lie in [0, {classes - 1}]")
    return _multi_margin_loss(input, target, weight, int(p), float(margin), reduction)


@op(name="_multilabel_margin_loss", method=False)
def _multilabel_margin_loss(input: Array, target: Array, reduction: str) -> Array:
    """How far the classes that are no labels come within 1 of those that are, reduced."""
    refuse(input, "biuc", "multilabel_margin_loss")
    classes = input.shape[-1] if input.ndim else 1
    x, labels = input.reshape(-1, classes), target.reshape(-1, classes)
    present = jnp.cumsum(labels < 0, 1) == 0  # labels end at the first negative one
    index = jnp.where(present, labels, 0)
    is_label = jnp.any((index[:, :, None] == jnp.arange(classes)) & present[:, :, None], 1)
    excess = 1 - jnp.take_along_axis(x, index, 1, mode="clip")[:, :, None] + x[:, None, :]
    losses = jnp.where((excess > 0) & present[:, :, None] & ~is_label[:, None, :], excess, 0).sum((1, 2)) / classes
    return reduced(cast(losses, input.dtype).reshape(input.shape[:-1]), reduction)


def multilabel_margin_loss(
    input: Tensor, target: Tensor, size_average: bool | None = None, reduce: bool | None = None, reduction: str = "mean"
) -> Tensor:
    """The sum over labels `j` and other classes `i` of ``max(1 - (input[j] - input[i]), 0)``, divided by the number of classes.

    Args:
        input: scores, shape (C) or (N, C).
        target: of the same shape: the labels, padded with -1.
        size_average, reduce: the older way to say `reduction`, deprecated.
        reduction: `"mean"`, `"sum"` or `"none"`.

    Raises:
        RuntimeError: shapes do not fit, or a label is no class (seen eagerly on the CPU).
    """
    reduction = check_reduction(reduction, size_average, reduce)
    shape = tuple(input.shape)
    classes = shape[-1] if shape else 1
    if len(shape) > 2 or (shape and not classes):
        raise ShapeError(f"Expected non-empty vector or matrix with optional 0-dim batch size, but got: {list(shape)}")
    if tuple(target.shape) != shape and not (len(shape) < 2 and target.numel() == classes and target.dim() < 2):
        raise ShapeError(f"inconsistent target size: {list(target.shape)} for input of size: {list(shape)}")
    if target.dtype.dtype.kind not in "iu":
        raise DtypeError(f"expected scalar type Long but found {target.dtype}; write target.long()")
    if values_outside(target, -1, classes - 1):
        raise ShapeError(f"multilabel_margin_loss: target out of range; labels lie in [0, {classes - 1}], and -1 ends them")
    return _multilabel_margin_loss(input, target, reduction)


@op(name="_multilabel_soft_margin_loss", method=False)
def _multilabel_soft_margin_loss(input: Array, target: Array, weight: Array | None, reduction: str) -> Array:
    """The mean over classes of the binary cross entropy of logits, reduced."""
    refuse(input, "biuc", "log_sigmoid_cpu")
    x = widened(input)
    losses = -(target * jax.nn.log_sigmoid(x) + (1 - target) * jax.nn.log_sigmoid(-x))
    if weight is not None:
        losses = losses * weight
    return reduced(cast(losses.sum(-1) / input.shape[-1], promote(input, target)[0].dtype), reduction)


def multilabel_soft_margin_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    r"""The mean over classes of ``-(target * log(sigmoid(input)) + (1 - target) * log(sigmoid(-input)))``.

    Args:
        input: scores, shape (\*, C).
        target: 1 for labels, 0 for others, of the same shape.
        weight: a factor for each class, shape (C).
        size_average, reduce: the older way to say `reduction`, deprecated.
        reduction: `"mean"`, `"sum"` or `"none"`.

    Returns:
        A 0-d tensor, or with `"none"` one of shape (\*).
    """
    return _multilabel_soft_margin_loss(input, target, weight, check_reduction(reduction, size_average, reduce))


# --- embeddings ----------------------------------------------------------------------------------------------------


def _check_same_dimensions(anchor: Any, positive: Any, negative: Any) -> None:
    if not anchor.ndim == positive.ndim == negative.ndim:
        raise ShapeError(
            "The anchor, positive, and negative tensors are expected to have the same number of dimensions, but got: "
            f"anchor {anchor.ndim}D, positive {positive.ndim}D, and negative {negative.ndim}D inputs"
        )


@op(name="_triplet_margin_loss", method=False)
def _triplet_margin_loss(anchor: Array, positive: Array, negative: Array, margin: float, p: float, eps: float, swap: bool, reduction: str) -> Array:
    """``max(distance(anchor, positive) - distance(anchor, negative) + margin, 0)``, reduced."""

    def distance(a: Array, b: Array) -> Array:
        return pairwise_distance.op.function(a, b, p, eps)

    near, far = distance(anchor, positive), distance(anchor, negative)
    if swap:
        far = jnp.minimum(far, distance(positive, negative))
    return reduced(clamp_at_zero(margin + near - far), reduction)


def triplet_margin_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    margin: float = 1.0,
    p: float = 2,
    eps: float = 1e-6,
    swap: bool = False,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    r"""``max(d(anchor, positive) - d(anchor, negative) + margin, 0)`` (Balntas et al., 2016) with `pairwise_distance` as `d`.

    Args:
        anchor, positive, negative: shape (\*, D), all of as many dimensions; they broadcast.
        margin: how much farther the negative should be; positive. Default: 1.
        p: the norm. Default: 2.
        eps: keeps the distance of equal vectors from 0. Default: 1e-6.
        swap: take the negative's distance to the positive where that is less.
        size_average, reduce: the older way to say `reduction`, deprecated.
        reduction: `"mean"`, `"sum"` or `"none"`.

    Raises:
        ValueError: the margin is not positive.
        RuntimeError: numbers of dimensions differ.
    """
    reduction = check_reduction(reduction, size_average, reduce)
    if margin <= 0:
        raise ArgumentError(f"margin must be greater than 0, got {margin}")
    _check_same_dimensions(anchor, positive, negative)
    return _triplet_margin_loss(anchor, positive, negative, float(margin), p, float(eps), bool(swap), reduction)


@op(name="_triplet_margin_of_distances", method=False)
def _triplet_margin_of_distances(near: Array, far: Array, swapped: Array | None, margin: float, reduction: str) -> Array:
    """``max(near - far + margin, 0)``, reduced."""
    if swapped is not None:
        far = jnp.minimum(*promote(far, swapped))
    return reduced(clamp_at_zero(margin + near - far), reduction)


def triplet_margin_with_distance_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    *,
    distance_function: Callable[[Tensor, Tensor], Tensor] | None = None,
    margin: float = 1.0,
    swap: bool = False,
    reduction: str = "mean",
) -> Tensor:
    """`triplet_margin_loss` with a distance of one's own.

    Args:
        anchor, positive, negative: tensors of as many dimensions.
        distance_function: a function of two tensors. Default: `pairwise_distance`.
        margin: how much farther the negative should be; positive. Default: 1.
        swap: take the negative's distance to the positive where that is less.
        reduction: `"mean"`, `"sum"` or `"none"`.

    Raises:
        ValueError: the margin is not positive.
        RuntimeError: numbers of dimensions differ.
    """
    reduction = check_reduction(reduction)
    if margin <= 0:
        raise ArgumentError(f"margin must be greater than 0, got {margin}")
    _check_same_dimensions(anchor, positive, negative)
    distance = pairwise_distance if distance_function is None else distance_function
    swapped = distance(positive, negative) if swap else None
    return _triplet_margin_of_distances(distance(anchor, positive), distance(anchor, negative), swapped, float(margin), reduction)


@op(name="_cosine_embedding_loss", method=False)
def _cosine_embedding_loss(input1: Array, input2: Array, target: Array, margin: float, reduction: str) -> Array:
    """``1 - cos`` where the target is 1, ``max(cos - margin, 0)`` where it is -1, reduced."""

    def dot(a: Array, b: Array) -> Array:
        return floating(jnp.sum(summable(a * b, None), target.ndim))

    cosine = dot(*promote(input1, input2)) / jnp.sqrt((dot(input1, input1) + 1e-12) * (dot(input2, input2) + 1e-12))
    losses = jnp.where(target == 1, 1 - cosine, 0) + jnp.where(target == -1, clamp_at_zero(cosine - margin), 0)
    return reduced(losses, reduction)


def cosine_embedding_loss(
    input1: Tensor,
    input2: Tensor,
    target: Tensor,
    margin: float = 0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """``1 - cos(input1, input2)`` where `target` is 1, ``max(cos(input1, input2) - margin, 0)`` where it is -1.

    Args:
        input1, input2: shape (D) or (N, D); they broadcast.
        target: 1 or -1, shape () or (N).
        margin: Default: 0.
        size_average, reduce: the older way to say `reduction`, deprecated.
        reduction: `"mean"`, `"sum"` or `"none"`.

    Raises:
        RuntimeError: numbers of dimensions do not fit.
    """
    reduction = check_reduction(reduction, size_average, reduce)
    wanted = target.dim() + 1
    if wanted > 2:
        raise ShapeError(f"0D or 1D target tensor expected, multi-target not supported; got shape {tuple(target.shape)}")
    if input1.dim() != wanted or input2.dim() != wanted:
        raise ShapeError(
            f"{wanted - 1}D target tensor expects {wanted}D input tensors, but found inputs with sizes {list(input1.shape)} and {list(input2.shape)}."
        )
    return _cosine_embedding_loss(input1, input2, target, float(margin), reduction)
