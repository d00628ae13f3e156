"""What the classifiers and regressors of ai.onnx.ml share: transformations of scores, and labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ...errors import ArgumentError
from ..values import apply, static_value

TRANSFORMS = ("NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO", "PROBIT")


def transformed(scores, name: str):
    """Scores after a transformation of each row; `scores` is a JAX array."""
    if name == "NONE":
        return scores
    if name == "LOGISTIC":
        return jax.nn.sigmoid(scores)
    if name == "SOFTMAX":
        return jax.nn.softmax(scores, -1)
    if name == "SOFTMAX_ZERO":  # what is zero stays zero
        top = scores.max(-1, keepdims=True)
        powers = jnp.where(jnp.abs(scores) > 1e-7, jnp.exp(scores - top), scores * jnp.exp(-top))
        total = powers.sum(-1, keepdims=True)
        return jnp.where(total == 0, 0.5, powers / jnp.where(total == 0, 1, total))
    if name == "PROBIT":
        return jax.scipy.special.ndtri(scores)
    raise ArgumentError(f"post_transform is one of {', '.join(TRANSFORMS)}, got {name!r}")


def two_columns(score, name: str):
    """The scores of the two classes from that of the second one, shape (N, 1) to (N, 2)."""
    return transformed(jnp.concatenate([-score, score], 1), name)


def floating(x):
    """As float32, or float64 if it is that."""
    return x if x.dtype == np.float64 else x.astype(np.float32)


def labels_of(node, strings: str, integers: str) -> tuple[np.ndarray, bool]:
    """The labels of a classifier, and whether there are any."""
    texts, numbers = node.get(strings), node.get(integers)
    if texts:
        return np.array(texts, object), True
    return np.array(numbers or [], np.int64), bool(numbers)


def chosen(labels: np.ndarray, numbers: Any) -> Any:
    """The label of each class number; strings only where the numbers are known."""
    if labels.dtype.kind == "O":
        return labels[np.asarray(static_value(numbers, "the class, whose label is a string,"))]
    return apply(_taken, labels, numbers)


def _taken(labels, numbers):
    return jnp.take(labels, numbers, mode="clip")


def as_matrix(values: Sequence[float] | None, rows: int) -> np.ndarray:
    """A list of numbers as float32 rows."""
    return np.array(values or [], np.float32).reshape(rows, -1)
