"""Linear models and support vector machines of ai.onnx.ml."""

from __future__ import annotations

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ...errors import ArgumentError
from ..registry import handler
from ..values import apply
from .ml_scores import as_matrix, chosen, floating, labels_of, transformed, two_columns

_ML = "ai.onnx.ml"


def _affine(x, weight, bias):
    x = floating(x)
    x = x[None] if x.ndim == 1 else x
    return jnp.matmul(x, weight.astype(x.dtype).T, precision="highest") + bias.astype(x.dtype)


def _linear_regressor(x, weight, bias, transform: str):
    return transformed(_affine(x, weight, bias), transform).astype(np.float32)


@handler("LinearRegressor", domain=_ML)
def linear_regressor(node, x):
    targets = node.get("targets", 1)
    bias = np.array(node.get("intercepts") or [0.0] * targets, np.float32)
    return apply(_linear_regressor, x, as_matrix(node.get("coefficients"), targets), bias, transform=node.get("post_transform", "NONE"))


def _linear_classifier(x, weight, bias, transform: str, classes: int):
    scores = _affine(x, weight, bias)
    number = jnp.argmax(scores, 1) if scores.shape[1] > 1 else scores[:, 0] > 0
    if scores.shape[1] > 1 or classes != 2:
        scores = transformed(scores, transform)
    else:
        scores = jnp.concatenate([1 - scores, scores], 1) if transform == "NONE" else two_columns(scores, transform)
    return number.astype(np.int64), scores.astype(np.float32)


@handler("LinearClassifier", domain=_ML)
def linear_classifier(node, x):
    labels, known = labels_of(node, "classlabels_strings", "classlabels_ints")
    bias = node.get("intercepts")
    rows = len(bias) if bias else max(len(labels), 1)
    weight = as_matrix(node.get("coefficients"), rows)
    bias = np.zeros(rows, np.float32) if bias is None else np.array(bias, np.float32)
    number, scores = apply(_linear_classifier, x, weight, bias, transform=node.get("post_transform", "NONE"), classes=len(labels))
    if known and len(labels) == 1:
        labels = np.array(["", labels[0]], object) if labels.dtype.kind == "O" else np.array([0, labels[0]], np.int64)
    return (chosen(labels, number) if known else number), scores


# --- support vector machines -----------------------------------------------------------------------------------------


def _kernel(x, vectors, kind: str, gamma: float, coef0: float, degree: float):
    """The kernel of every row with every support vector."""
    if kind == "RBF":
        return jnp.exp(-gamma * ((x[:, None] - vectors) ** 2).sum(-1))
    product = jnp.matmul(x, vectors.T, precision="highest")
    if kind == "LINEAR":
        return product
    if kind == "POLY":
        return (gamma * product + coef0) ** degree
    if kind == "SIGMOID":
        return jnp.tanh(gamma * product + coef0)
    raise ArgumentError(f"kernel_type is LINEAR, POLY, RBF or SIGMOID, got {kind!r}")


def _kernel_options(node) -> dict[str, Any]:
    gamma, coef0, degree = (node.get("kernel_params") or [0.0, 0.0, 0.0])[:3]
    return {"kind": node.get("kernel_type", "LINEAR"), "gamma": gamma, "coef0": coef0, "degree": degree}


def _svm_regressor(x, vectors, coefficients, rho, one_class: bool, transform: str, **options: Any):
    x = floating(x)
    features = x if vectors is None else _kernel(x, vectors.astype(x.dtype), **options)
    score = jnp.matmul(features, coefficients.astype(x.dtype), precision="highest")[:, None] + rho[0].astype(x.dtype)
    if one_class:
        return jnp.where(score > 0, 1, -1).astype(np.float32)
    return transformed(score, transform).astype(np.float32)


@handler("SVMRegressor", domain=_ML)
def svm_regressor(node, x):
    count = node.get("n_supports", 0)
    vectors = as_matrix(node.get("support_vectors"), count) if count else None
    coefficients, rho = np.array(node.get("coefficients"), np.float32), np.array(node.get("rho") or [0.0], np.float32)
    transform, one_class = node.get("post_transform", "NONE"), bool(node.get("one_class", 0))
    return apply(_svm_regressor, x, vectors, coefficients, rho, one_class=one_class, transform=transform, **_kernel_options(node))


def _pairwise(kernels, coefficients, rho, counts: tuple[int, ...]):
    """(decision values of each pair of classes, votes for each class)"""
    starts = np.cumsum((0, *counts))
    decisions, votes = [], [jnp.zeros(kernels.shape[0], kernels.dtype) for _ in counts]
    for number, (i, j) in enumerate(itertools.combinations(range(len(counts)), 2)):
        first, second = slice(starts[i], starts[i + 1]), slice(starts[j], starts[j + 1])
        value = kernels[:, first] @ coefficients[j - 1, first] + kernels[:, second] @ coefficients[i, second] + rho[number]
        decisions.append(value)
        votes[i] = votes[i] + (value > 0)
        votes[j] = votes[j] + ~(value > 0)
    return jnp.stack(decisions, 1), jnp.stack(votes, 1)


def _coupled(pairwise):
    """Class probabilities from those of each pair, shape (N, k, k), by the fixed point of Wu, Lin and Weng (2004)."""
    k = pairwise.shape[-1]
    squares = (pairwise**2).sum(-2)  # over j of r_jt ** 2
    q = jnp.where(np.eye(k, dtype=bool), squares[:, :, None], -jnp.swapaxes(pairwise, 1, 2) * pairwise)

    def turn(_: Any, state: Any) -> Any:
        p, done = state
        new, qp = p, jnp.einsum("nij,nj->ni", q, p)
        pqp = (p * qp).sum(-1)
        done = done | (jnp.abs(qp - pqp[:, None]).max(-1) < 0.005 / k)
        for t in range(k):
            step = (pqp - qp[:, t]) / q[:, t, t]
            new = new.at[:, t].add(step) / (1 + step)[:, None]
            pqp = (pqp + step * (step * q[:, t, t] + 2 * qp[:, t])) / (1 + step) ** 2
            qp = (qp + step[:, None] * q[:, t]) / (1 + step)[:, None]
        return jnp.where(done[:, None], p, new), done

    start = jnp.full(pairwise.shape[:2], 1 / k, pairwise.dtype), jnp.zeros(pairwise.shape[0], bool)
    return lax.fori_loop(0, max(100, k), turn, start)[0]


def _probabilities(decisions, a, b, classes: int):
    sigmoid = jnp.clip(1 - jax.nn.sigmoid(decisions * a + b), 1e-7, 1 - 1e-7)
    matrix = jnp.zeros((decisions.shape[0], classes, classes), decisions.dtype)
    for number, (i, j) in enumerate(itertools.combinations(range(classes), 2)):
        matrix = matrix.at[:, i, j].set(sigmoid[:, number]).at[:, j, i].set(1 - sigmoid[:, number])
    return _coupled(matrix)


def _svm_classifier(x, vectors, coefficients, rho, a, b, counts: tuple[int, ...], classes: int, transform: str, **options: Any):
    x = floating(x)
    coefficients, rho = coefficients.astype(x.dtype), rho.astype(x.dtype)
    if vectors is None:
        scores = jnp.matmul(x, coefficients.reshape(classes, -1).T, precision="highest") + rho[0]
        number = jnp.argmax(scores, 1)
    else:
        kernels = _kernel(x, vectors.astype(x.dtype), **options)
        scores, votes = _pairwise(kernels, coefficients.reshape(-1, kernels.shape[1]), rho, counts)
        number = jnp.argmax(votes, 1)
        if a is not None:
            scores = _probabilities(scores, a.astype(x.dtype), b.astype(x.dtype), classes)
    scores = transformed(scores, transform) if scores.shape[1] > 1 else two_columns(scores, transform)
    return number.astype(np.int64), scores.astype(np.float32)


@handler("SVMClassifier", domain=_ML)
def svm_classifier(node, x):
    labels, known = labels_of(node, "classlabels_strings", "classlabels_ints")
    counts = tuple(node.get("vectors_per_class") or ())
    vectors = as_matrix(node.get("support_vectors"), sum(counts)) if sum(counts) else None
    a, b = (np.array(node.get(name), np.float32) if node.get(name) and vectors is not None else None for name in ("prob_a", "prob_b"))
    number, scores = apply(
        _svm_classifier, x, vectors, np.array(node.get("coefficients"), np.float32), np.array(node.get("rho") or [0.0], np.float32), a, b,
        counts=counts, classes=max(len(labels), 1), transform=node.get("post_transform", "NONE"), **_kernel_options(node),
    )  # fmt: skip
    return (chosen(labels, number) if known else number), scores
