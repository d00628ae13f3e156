"""Losses of classification."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from ...errors import ArgumentError
from ..registry import handler
from ..values import apply


@handler("NegativeLogLikelihoodLoss")
def negative_log_likelihood_loss(node, logs, target, weight=None):
    return apply(_loss, logs, target, weight, ignored=node.get("ignore_index"), reduction=_reduction(node))


@handler("SoftmaxCrossEntropyLoss")
def softmax_cross_entropy_loss(node, scores, target, weight=None):
    logs = apply(_log_softmax, scores)
    return apply(_loss, logs, target, weight, ignored=node.get("ignore_index"), reduction=_reduction(node)), logs


def _reduction(node):
    reduction = node.get("reduction", "mean")
    if reduction not in ("none", "sum", "mean"):
        raise ArgumentError(f"{node.op_type} reduces by none, sum or mean, got {reduction!r}")
    return reduction


def _log_softmax(scores):
    return jax.nn.log_softmax(scores, 1)


def _loss(logs, target, weight, ignored, reduction):
    """The classes are dimension 1; a target of `ignored` counts nothing, whatever its value."""
    counted = jnp.ones(target.shape, jnp.bool_) if ignored is None else target != ignored
    classes = jnp.where(counted, target, 0)
    picked = jnp.take_along_axis(logs, jnp.expand_dims(classes, 1), 1).squeeze(1)
    factor = jnp.ones(target.shape, logs.dtype) if weight is None else jnp.take(weight, classes)
    factor = jnp.where(counted, factor, 0)
    losses = -picked * factor
    if reduction == "none":
        return losses
    return jnp.sum(losses) if reduction == "sum" else jnp.sum(losses) / jnp.sum(factor)
