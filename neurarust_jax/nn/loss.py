"""Loss layers. Each hands on to the function of the same name in `functional`, which says more."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

from ..errors import ArgumentError, ArgumentTypeError, ShapeError
from ..ops.nn.cross_entropy import LinearCrossEntropyOptions
from ..ops.nn.loss import check_reduction
from ..tensor import Tensor
from . import functional as F
from .distance import PairwiseDistance
from .linear import Linear
from .module import Module

__all__ = [
    "BCELoss", "BCEWithLogitsLoss", "CTCLoss", "CosineEmbeddingLoss", "CrossEntropyLoss", "GaussianNLLLoss", "HingeEmbeddingLoss", "HuberLoss", "KLDivLoss",
    "L1Loss", "LinearCrossEntropyLoss", "LinearCrossEntropyOptions", "MSELoss", "MarginRankingLoss", "MultiLabelMarginLoss", "MultiLabelSoftMarginLoss",
    "MultiMarginLoss", "NLLLoss", "NLLLoss2d", "PoissonNLLLoss", "SmoothL1Loss", "SoftMarginLoss", "TripletMarginLoss", "TripletMarginWithDistanceLoss",
]  # fmt: skip


class _Loss(Module):
    """What the losses share: the reduction, also by PyTorch's two old arguments."""

    def __init__(self, size_average: bool | None = None, reduce: bool | None = None, reduction: str = "mean"):
        super().__init__()
        old = size_average is not None or reduce is not None
        self.reduction = check_reduction(reduction, size_average, reduce, stacklevel=4) if old else reduction


class _WeightedLoss(_Loss):
    """What the losses share that weigh classes or elements."""

    weight: Tensor | None

    def __init__(self, weight: Any = None, size_average: bool | None = None, reduce: bool | None = None, reduction: str = "mean"):
        super().__init__(size_average, reduce, reduction)
        self.register_buffer("weight", weight)


# --- regression ----------------------------------------------------------------------------------------------------


class L1Loss(_Loss):
    r"""The mean of the absolute differences.

    Args:
        size_average, reduce: the older way to say `reduction`, deprecated.
        reduction: `"mean"`, `"sum"` or `"none"`.

    Shape:
        - Input: (\*).
        - Target: the same.
        - Output: (), or with `"none"` (\*).
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.l1_loss(input, target, reduction=self.reduction)


class MSELoss(_Loss):
    r"""The mean of the squared differences.

    Args:
        size_average, reduce: the older way to say `reduction`, deprecated.
        reduction: `"mean"`, `"sum"` or `"none"`.

    Shape:
        - Input: (\*).
        - Target: the same.
        - Output: (), or with `"none"` (\*).

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.nn.MSELoss()(nr.tensor([1.0, 2.0]), nr.tensor([3.0, 2.0]))
        tensor(2.)
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.mse_loss(input, target, reduction=self.reduction)


class SmoothL1Loss(_Loss):
    r"""``0.5 * d * d / beta`` of differences `d` that are smaller than `beta`, ``|d| - 0.5 * beta`` of others (Girshick, 2015).

    Args:
        size_average, reduce: the older way to say `reduction`, deprecated.
        reduction: `"mean"`, `"sum"` or `"none"`.
        beta: where the square ends. Default: 1.

    Shape:
        - Input: (\*).
        - Target: the same.
        - Output: (), or with `"none"` (\*).
    """

    def __init__(self, size_average: bool | None = None, reduce: bool | None = None, reduction: str = "mean", beta: float = 1.0):
        super().__init__(size_average, reduce, reduction)
        self.beta = beta

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.smooth_l1_loss(input, target, reduction=self.reduction, beta=self.beta)


class HuberLoss(_Loss):
    r"""``0.5 * d * d`` of differences `d` up to `delta`, ``delta * (|d| - 0.5 * delta)`` of greater ones (Huber, 1964).

    Args:
        reduction: `"mean"`, `"sum"` or `"none"`.
        delta: where the square ends. Default: 1.

    Shape:
        - Input: (\*).
        - Target: the same.
        - Output: (), or with `"none"` (\*).
    """

    def __init__(self, reduction: str = "mean", delta: float = 1.0):
        if not isinstance(delta, float | int):
            raise ArgumentTypeError(f"delta must be a float or int, got: {type(delta)}")
        super().__init__(reduction=reduction)
        self.delta = delta

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.huber_loss(input, target, reduction=self.reduction, delta=self.delta)


# --- two classes ---------------------------------------------------------------------------------------------------


class BCELoss(_WeightedLoss):
    r"""The binary cross entropy of probabilities, ``-(y * log(x) + (1 - y) * log(1 - x))``, with logarithms that are held above -100.

    Args:
        weight: a factor that broadcasts to the target.
        size_average, reduce: the older way to say `reduction`, deprecated.
        reduction: `"mean"`, `"sum"` or `"none"`.

    Shape:
        - Input: (\*), probabilities.
        - Target: the same.
        - Output: (), or with `"none"` (\*).
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.binary_cross_entropy(input, target, weight=self.weight, reduction=self.reduction)


class BCEWithLogitsLoss(_WeightedLoss):
    r"""The binary cross entropy of logits, without overflow.

    Args:
        weight: a factor for each element, which broadcasts.
        size_average, reduce: the older way to say `reduction`, deprecated.
        reduction: `"mean"`, `"sum"` or `"none"`.
        pos_weight: a factor for the share of the positive class, which broadcasts.

    Shape:
        - Input: (\*), logits.
        - Target: the same, probabilities.
        - Output: (), or with `"none"` (\*).
    """

    pos_weight: Tensor | None

    def __init__(
        self, weight: Any = None, size_average: bool | None = None, reduce: bool | None = None, reduction: str = "mean", pos_weight: Any = None
    ):
        super().__init__(weight, size_average, reduce, reduction)
        self.register_buffer("pos_weight", pos_weight)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(input, target, self.weight, pos_weight=self.pos_weight, reduction=self.reduction)


class SoftMarginLoss(_Loss):
    r"""``log(1 + exp(-y * x))``.

    Args:
        size_average, reduce: the older way to say `reduction`, deprecated.
        reduction: `"mean"`, `"sum"` or `"none"`.

    Shape:
        - Input: (\*).
        - Target: the same, 1 or -1.
        - Output: (), or with `"none"` (\*).
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.soft_margin_loss(input, target, reduction=self.reduction)


# --- likelihoods and divergence ------------------------------------------------------------------------------------


class PoissonNLLLoss(_Loss):
    r"""Minus the log-likelihood of Poisson counts, without the term ``log(target!)``.

    Args:
        log_input: the input holds logarithms of rates: ``exp(x) - y * x``; otherwise ``x - y * log(x + eps)``. Default: `True`.
        full: add Stirling's approximation of ``log(target!)``. Default: `False`.
        size_average, reduce: the older way to say `reduction`, deprecated.
        eps: keeps the logarithm finite. Default: 1e-8.
        reduction: `"mean"`, `"sum"` or `"none"`.

    Shape:
        - Input: (\*).
        - Target: the same.
        - Output: (), or with `"none"` (\*).
    """

    def __init__(
        self, log_input: bool = True, full: bool = False, size_average: bool | None = None, eps: float = 1e-8, reduce: bool | None = None,
        reduction: str = "mean",
    ):  # fmt: skip
        super().__init__(size_average, reduce, reduction)
        self.log_input = log_input
        self.full = full
        self.eps = eps

    def forward(self, log_input: Tensor, target: Tensor) -> Tensor:
        return F.poisson_nll_loss(log_input, target, log_input=self.log_input, full=self.full, eps=self.eps, reduction=self.reduction)


class GaussianNLLLoss(_Loss):
    r"""``0.5 * (log(var) + (x - y) ** 2 / var)``: minus the log-likelihood of a normal distribution (Nix and Weigend, 1994).

    Args:
        full: add the constant ``0.5 * log(2 * pi)``. Default: `False`.
        eps: variances are held above it. Default: 1e-6.
        reduction: `"mean"`, `"sum"` or `"none"`.

    Shape:
        - Input: (N, \*), means.
        - Target: the same, or one that broadcasts.
        - Var: a number, the input's shape, that with a last dimension of 1, or without the last dimension.
        - Output: (), or with `"none"` the input's shape.
    """

    def __init__(self, *, full: bool = False, eps: float = 1e-6, reduction: str = "mean"):
        super().__init__(reduction=reduction)
        self.full = full
        self.eps = eps

    def forward(self, input: Tensor, target: Tensor, var: Tensor | float) -> Tensor:
        return F.gaussian_nll_loss(input, target, var, full=self.full, eps=self.eps, reduction=self.reduction)


class KLDivLoss(_Loss):
    r"""``y * (log(y) - x)``: the Kullback-Leibler divergence of distributions from targets.

    Args:
        size_average, reduce: the older way to say `reduction`, deprecated.
        reduction: `"batchmean"` (the definition's), `"mean"` over all elements, `"sum"` or `"none"`.
        log_target: whether targets are logarithms. Default: `False`.

    Shape:
        - Input: (\*), log-probabilities.
        - Target: the same, probabilities.
        - Output: (), or with `"none"` (\*).
    """

    def __init__(self, size_average: bool | None = None, reduce: bool | None = None, reduction: str = "mean", log_target: bool = False):
        super().__init__(size_average, reduce, reduction)
        self.log_target = log_target

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.kl_div(input, target, reduction=self.reduction, log_target=self.log_target)


# --- classes -------------------------------------------------------------------------------------------------------


class NLLLoss(_WeightedLoss):
    """Minus the log-probability of each target class.

    Args:
        weight: a factor for each class, shape (C).
        size_average, reduce: the older way to say `reduction`, deprecated.
        ignore_index: a target that counts nothing. Default: -100.
        reduction: `"mean"`, `"sum"` or `"none"`.

    Shape:
        - Input: (C), (N, C) or (N, C, d1, ...), log-probabilities.
        - Target: (), (N) or (N, d1, ...), classes.
        - Output: (), or with `"none"` the target's shape.
    """

    def __init__(
        self, weight: Any = None, size_average: bool | None = None, ignore_index: int = -100, reduce: bool | None = None, reduction: str = "mean"
    ):
        super().__init__(weight, size_average, reduce, reduction)
        self.ignore_index = ignore_index

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.nll_loss(input, target, self.weight, ignore_index=self.ignore_index, reduction=self.reduction)


class NLLLoss2d(NLLLoss):
    """The older name of `NLLLoss` for images, deprecated."""

    def __init__(
        self, weight: Any = None, size_average: bool | None = None, ignore_index: int = -100, reduce: bool | None = None, reduction: str = "mean"
    ):
        warnings.warn("`NLLLoss2d` has been deprecated. Please use `NLLLoss` instead as a drop-in replacement.", FutureWarning, stacklevel=2)
        super().__init__(weight, size_average, ignore_index, reduce, reduction)


class CrossEntropyLoss(_WeightedLoss):
    """``-log softmax(x)[y]``: cross entropy of logits.

    Args:
        weight: a factor for each class, shape (C).
        size_average, reduce: the older way to say `reduction`, deprecated.
        ignore_index: a target that counts nothing. Default: -100.
        reduction: `"mean"`, `"sum"` or `"none"`.
        label_smoothing: the share that is spread over all classes. Default: 0.

    Shape:
        - Input: (C), (N, C) or (N, C, d1, ...), logits.
        - Target: (), (N) or (N, d1, ...), classes; or the input's shape, probabilities.
        - Output: (), or with `"none"` the shape of the classes.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.nn.CrossEntropyLoss()(nr.zeros(2, 4), nr.tensor([0, 3]))
        tensor(1.3863)
    """

    def __init__(
        self, weight: Any = None, size_average: bool | None = None, ignore_index: int = -100, reduce: bool | None = None, reduction: str = "mean",
        label_smoothing: float = 0.0,
    ):  # fmt: skip
        super().__init__(weight, size_average, reduce, reduction)
        self.ignore_index = ignore_index
        self.label_smoothing = label_smoothing

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(
            input, target, self.weight, ignore_index=self.ignore_index, reduction=self.reduction, label_smoothing=self.label_smoothing
        )


class LinearCrossEntropyLoss(_WeightedLoss):
    """Cross entropy of the logits that a linear layer inside makes.

    Args:
        in_features: size of each input sample.
        num_classes: the number of classes C.
        out_features: the dimensions (d1, ...) of a loss at many positions. Default: none.
        bias: whether the linear layer learns a bias. Default: `False`.
        device, dtype: of the linear layer's parameters.
        reduction: `"mean"`, `"sum"` or `"none"`.
        weight: a factor for each class, shape (C).
        ignore_index: a target that counts nothing. Default: -100.
        label_smoothing: the share that is spread over all classes. Default: 0.
        options: how to go over the batch in pieces, so that not all logits exist at once.

    Shape:
        - Input: (in_features) or (N, in_features).
        - Target: (), (N) or (N, d1, ...), classes; or (C), (N, C) or (N, C, d1, ...), probabilities.
        - Output: (), or with `"none"` the shape of the classes.

    Attributes:
        linear: the linear layer; its outputs are the classes at all positions.
    """

    def __init__(
        self, in_features: int, num_classes: int, *, out_features: tuple[int, ...] = (), bias: bool = False, device: Any = None, dtype: Any = None,
        reduction: str = "mean", weight: Any = None, ignore_index: int | None = None, label_smoothing: float = 0.0,
        options: LinearCrossEntropyOptions | None = None,
    ):  # fmt: skip
        if weight is not None and tuple(weight.shape) != (num_classes,):
            raise ShapeError(f"expected weight shape to be {(num_classes,)}, got {tuple(weight.shape)}")
        if not 0 <= label_smoothing <= 1:
            raise ShapeError(f"expected label_smoothing to be in range [0, 1], got {label_smoothing}")
        super().__init__(weight, reduction=reduction)
        self.num_classes = num_classes
        self.out_features = out_features
        self.ignore_index = ignore_index
        self.label_smoothing = label_smoothing
        self.linear = Linear(in_features, math.prod(out_features, start=num_classes), bias, device, dtype)
        self.options = options

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        shape = (self.num_classes, *self.out_features)
        return F.linear_cross_entropy(
            input, self.linear.weight.reshape(*shape, self.linear.in_features), target,
            linear_bias=None if self.linear.bias is None else self.linear.bias.reshape(shape), weight=self.weight, reduction=self.reduction,
            ignore_index=self.ignore_index, label_smoothing=self.label_smoothing, options=self.options,
        )  # fmt: skip

    def extra_repr(self) -> str:
        return (
            f"in_features={self.linear.in_features}, num_classes={self.num_classes}, out_features={self.out_features}, bias={self.linear.bias is not None}, "
            f"reduction={self.reduction}, ignore_index={self.ignore_index}, label_smoothing={self.label_smoothing}, options={self.options}"
        )


class CTCLoss(_Loss):
    """The loss of label sequences that are not aligned with the input (Graves et al., 2006).

    Args:
        blank: the class that stands for no label. Default: 0.
        reduction: `"mean"` divides each loss by its target's length, and takes the mean; `"sum"`; `"none"`.
        zero_infinity: losses of targets that do not fit into their input count nothing. Default: `False`.

    Shape:
        - Log_probs: (T, N, C) or (T, C).
        - Targets: (N, S), padded; or (sum of the lengths).
        - Input_lengths, target_lengths: (N) or ().
        - Output: (), or with `"none"` (N).
    """

    def __init__(self, blank: int = 0, reduction: str = "mean", zero_infinity: bool = False):
        super().__init__(reduction=reduction)
        self.blank = blank
        self.zero_infinity = zero_infinity

    def forward(self, log_probs: Tensor, targets: Tensor, input_lengths: Any, target_lengths: Any) -> Tensor:
        return F.ctc_loss(log_probs, targets, input_lengths, target_lengths, self.blank, self.reduction, self.zero_infinity)


# --- margins -------------------------------------------------------------------------------------------------------


class MarginRankingLoss(_Loss):
    """``max(-y * (x1 - x2) + margin, 0)``: `x1` should rank above `x2` where `y` is 1, below where it is -1.

    Args:
        margin: by how much. Default: 0.
        size_average, reduce: the older way to say `reduction`, deprecated.
        reduction: `"mean"`, `"sum"` or `"none"`.

    Shape:
        - Input1, input2: (N) or ().
        - Target: the same, 1 or -1.
        - Output: (), or with `"none"` the input's shape.
    """

    def __init__(self, margin: float = 0.0, size_average: bool | None = None, reduce: bool | None = None, reduction: str = "mean"):
        super().__init__(size_average, reduce, reduction)
        self.margin = margin

    def forward(self, input1: Tensor, input2: Tensor, target: Tensor) -> Tensor:
        return F.margin_ranking_loss(input1, input2, target, margin=self.margin, reduction=self.reduction)


class HingeEmbeddingLoss(_Loss):
    r"""Distances `x` where `y` is 1, ``max(margin - x, 0)`` where it is -1.

    Args:
        margin: how far apart others should be. Default: 1.
        size_average, reduce: the older way to say `reduction`, deprecated.
        reduction: `"mean"`, `"sum"` or `"none"`.

    Shape:
        - Input: (\*).
        - Target: the same, 1 or -1.
        - Output: (), or with `"none"` (\*).
    """

    def __init__(self, margin: float = 1.0, size_average: bool | None = None, reduce: bool | None = None, reduction: str = "mean"):
        super().__init__(size_average, reduce, reduction)
        self.margin = margin

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.hinge_embedding_loss(input, target, margin=self.margin, reduction=self.reduction)


class MultiMarginLoss(_WeightedLoss):
    """The mean over the other classes `i` of ``max(margin - x[y] + x[i], 0) ** p`` (Crammer and Singer, 2001).

    Args:
        p: 1 or 2. Default: 1.
        margin: Default: 1.
        weight: a factor for each target class, shape (C).
        size_average, reduce: the older way to say `reduction`, deprecated.
        reduction: `"mean"`, `"sum"` or `"none"`.

    Shape:
        - Input: (N, C) or (C).
        - Target: (N) or (), classes.
        - Output: (), or with `"none"` the target's shape.
    """

    def __init__(
        self, p: int = 1, margin: float = 1.0, weight: Any = None, size_average: bool | None = None, reduce: bool | None = None, reduction: str = "mean"
    ):
        super().__init__(weight, size_average, reduce, reduction)
        if p not in (1, 2):
            raise ArgumentError(f"only p == 1 and p == 2 supported, got {p}")
        if weight is not None and weight.dim() != 1:
            raise ArgumentError(f"MultiMarginLoss: expected weight to be None or 1D tensor, got {weight.dim()}D instead")
        self.p = p
        self.margin = margin

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.multi_margin_loss(input, target, p=self.p, margin=self.margin, weight=self.weight, reduction=self.reduction)


class MultiLabelMarginLoss(_Loss):
    """The sum over labels `j` and other classes `i` of ``max(1 - (x[j] - x[i]), 0)``, divided by the number of classes.

    Args:
        size_average, reduce: the older way to say `reduction`, deprecated.
        reduction: `"mean"`, `"sum"` or `"none"`.

    Shape:
        - Input: (C) or (N, C).
        - Target: the same: the labels, padded with -1.
        - Output: (), or with `"none"` (N).
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.multilabel_margin_loss(input, target, reduction=self.reduction)


class MultiLabelSoftMarginLoss(_WeightedLoss):
    """The mean over classes of the binary cross entropy of logits.

    Args:
        weight: a factor for each class, shape (C).
        size_average, reduce: the older way to say `reduction`, deprecated.
        reduction: `"mean"`, `"sum"` or `"none"`.

    Shape:
        - Input: (N, C).
        - Target: the same, 1 for labels and 0 for others.
        - Output: (), or with `"none"` (N).
    """

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.multilabel_soft_margin_loss(input, target, weight=self.weight, reduction=self.reduction)


class CosineEmbeddingLoss(_Loss):
    """``1 - cos(x1, x2)`` where `y` is 1, ``max(cos(x1, x2) - margin, 0)`` where it is -1.

    Args:
        margin: Default: 0.
        size_average, reduce: the older way to say `reduction`, deprecated.
        reduction: `"mean"`, `"sum"` or `"none"`.

    Shape:
        - Input1, input2: (N, D) or (D).
        - Target: (N) or (), 1 or -1.
        - Output: (), or with `"none"` the target's shape.
    """

    def __init__(self, margin: float = 0.0, size_average: bool | None = None, reduce: bool | None = None, reduction: str = "mean"):
        super().__init__(size_average, reduce, reduction)
        self.margin = margin

    def forward(self, input1: Tensor, input2: Tensor, target: Tensor) -> Tensor:
        return F.cosine_embedding_loss(input1, input2, target, margin=self.margin, reduction=self.reduction)


class TripletMarginLoss(_Loss):
    """``max(d(anchor, positive) - d(anchor, negative) + margin, 0)`` with the p-norm as distance `d` (Balntas et al., 2016).

    Args:
        margin: how much farther the negative should be; positive. Default: 1.
        p: the norm. Default: 2.
        eps: keeps the distance of equal vectors from 0. Default: 1e-6.
        swap: take the negative's distance to the positive where that is less. Default: `False`.
        size_average, reduce: the older way to say `reduction`, deprecated.
        reduction: `"mean"`, `"sum"` or `"none"`.

    Shape:
        - Anchor, positive, negative: (N, D) or (D).
        - Output: (), or with `"none"` (N).
    """

    def __init__(
        self, margin: float = 1.0, p: float = 2.0, eps: float = 1e-6, swap: bool = False, size_average: bool | None = None, reduce: bool | None = None,
        reduction: str = "mean",
    ):  # fmt: skip
        super().__init__(size_average, reduce, reduction)
        if margin <= 0:
            raise ArgumentError(f"TripletMarginLoss: expected margin to be greater than 0, got {margin} instead")
        self.margin = margin
        self.p = p
        self.eps = eps
        self.swap = swap

    def forward(self, anchor: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        return F.triplet_margin_loss(anchor, positive, negative, margin=self.margin, p=self.p, eps=self.eps, swap=self.swap, reduction=self.reduction)


class TripletMarginWithDistanceLoss(_Loss):
    r"""`TripletMarginLoss` with a distance of one's own.

    Args:
        distance_function: a function of two tensors. Default: `PairwiseDistance`.
        margin: how much farther the negative should be; positive. Default: 1.
        swap: take the negative's distance to the positive where that is less. Default: `False`.
        reduction: `"mean"`, `"sum"` or `"none"`.

    Shape:
        - Anchor, positive, negative: (N, \*), as the distance takes them.
        - Output: (), or with `"none"` (N).
    """

    def __init__(
        self, *, distance_function: Callable[[Tensor, Tensor], Tensor] | None = None, margin: float = 1.0, swap: bool = False, reduction: str = "mean"
    ):
        super().__init__(reduction=reduction)
        if margin <= 0:
            raise ArgumentError(f"TripletMarginWithDistanceLoss: expected margin to be greater than 0, got {margin} instead")
        self.distance_function = PairwiseDistance() if distance_function is None else distance_function
        self.margin = margin
        self.swap = swap

    def forward(self, anchor: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
        return F.triplet_margin_with_distance_loss(
            anchor, positive, negative, distance_function=self.distance_function, margin=self.margin, swap=self.swap, reduction=self.reduction
        )
