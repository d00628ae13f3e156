"""Losses that ONNX has an operator for."""

from __future__ import annotations

import numpy as np

from ..builder import Graph, Value
from ..lowering import case, converter
from .elementwise import out_dtype
from .embedding import indices


@converter("_cross_entropy", cases=[case("F.cross_entropy(x, n)", "SoftmaxCrossEntropyLoss", x=(3, 5), n=("below", 5, 3))])
def _cross_entropy(g: Graph, input: Value, target: Value, weight: Value | None, ignore_index: int, reduction: str, label_smoothing: float) -> Value | None:
    if label_smoothing or target.dtype.kind not in "iu" or not _fits(input, target, weight) or input.dtype != out_dtype(g):
        return None
    return g.add("SoftmaxCrossEntropyLoss", input, indices(g, target), weight, ignore_index=ignore_index, reduction=reduction)


@converter("_nll_loss", cases=[case("F.nll_loss(F.log_softmax(x, 1), n)", "LogSoftmax NegativeLogLikelihoodLoss", x=(3, 5), n=("below", 5, 3))])
def _nll_loss(g: Graph, input: Value, target: Value, weight: Value | None, ignore_index: int, reduction: str) -> Value | None:
    if not _fits(input, target, weight):
        return None
    return g.add("NegativeLogLikelihoodLoss", input, indices(g, target), weight, ignore_index=ignore_index, reduction=reduction)


def _fits(input: Value, target: Value, weight: Value | None) -> bool:
    return input.ndim >= 2 and target.ndim == input.ndim - 1 and input.dtype in (np.float32, np.float64) and (weight is None or weight.dtype == input.dtype)
