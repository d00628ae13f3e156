"""Adaptive softmax: a classifier for many classes of very different frequency."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from ..errors import ArgumentError, ShapeError
from ..ops.elementwise import where
from ..ops.joining import cat
from ..ops.nn.loss import values_outside
from ..tensor import Tensor
from . import functional as F
from .containers import ModuleList, Sequential
from .linear import Linear
from .module import Module

__all__ = ["AdaptiveLogSoftmaxWithLoss"]


class _Result(NamedTuple):
    """What `AdaptiveLogSoftmaxWithLoss` returns."""

    output: Tensor
    loss: Tensor


_Result.__name__ = "ASMoutput"  # as PyTorch prints it


class AdaptiveLogSoftmaxWithLoss(Module):
    """A softmax whose rare classes are gathered in clusters with smaller projections (Grave et al., 2017).

    Classes are sorted by frequency, the most frequent first. The head scores the classes below the first cutoff and one token for each cluster.

    Args:
        in_features: size of each input sample.
        n_classes: the number of classes.
        cutoffs: the first class of each cluster, increasing.
        div_value: cluster `i`, counted from 0, projects to ``in_features / div_value ** (i + 1)`` features. Default: 4.
        head_bias: whether the head learns a bias. Default: `False`.
        device, dtype: of the parameters.

    Shape:
        - Input: (N, in_features) or (in_features).
        - Target: (N) or (), classes.
        - Output: (N) or (), the log-probability of each target.
        - Loss: (), minus their mean.

    Attributes:
        head: the linear layer of the head.
        tail: for each cluster a projection and a linear layer.

    Examples:
        >>> import neurarust_jax as nr
        >>> layer = nr.nn.AdaptiveLogSoftmaxWithLoss(16, 100, cutoffs=[10, 40])
        >>> layer(nr.randn(8, 16), nr.arange(8)).output.shape
        neurarust_jax.Size([8])
        >>> layer.log_prob(nr.randn(8, 16)).shape
        neurarust_jax.Size([8, 100])
    """

    def __init__(
        self, in_features: int, n_classes: int, cutoffs: Sequence[int], div_value: float = 4.0, head_bias: bool = False, device: Any = None,
        dtype: Any = None,
    ):  # fmt: skip
        super().__init__()
        cutoffs = list(cutoffs)
        if not cutoffs:
            raise ArgumentError("cutoffs should be a sequence of length larger than 0")
        if any(int(c) != c for c in cutoffs) or sorted(set(cutoffs)) != cutoffs or cutoffs[0] <= 0 or cutoffs[-1] > n_classes - 1:
            raise ArgumentError(
                "cutoffs should be a sequence of unique, positive integers sorted in an increasing order, where each value is between 1 and n_classes-1; "
                f"got {cutoffs} for {n_classes} classes"
            )
        self.in_features = in_features
        self.n_classes = n_classes
        self.cutoffs = [*cutoffs, n_classes]
        self.div_value = div_value
        self.head_bias = head_bias
        self.shortlist_size = self.cutoffs[0]
        self.n_clusters = len(cutoffs)
        self.head_size = self.shortlist_size + self.n_clusters
        self.head = Linear(in_features, self.head_size, head_bias, device, dtype)
        self.tail = ModuleList()
        for i in range(self.n_clusters):
            hidden = int(in_features // div_value ** (i + 1))
            size = self.cutoffs[i + 1] - self.cutoffs[i]
            self.tail.append(
                Sequential(Linear(in_features, hidden, bias=False, device=device, dtype=dtype), Linear(hidden, size, bias=False, device=device, dtype=dtype))
            )

    def reset_parameters(self) -> None:
        """Draw the parameters anew."""
        self.head.reset_parameters()
        for projection, scores in self.tail:
            projection.reset_parameters()
            scores.reset_parameters()

    def forward(self, input_: Tensor, target_: Tensor) -> _Result:
        input, target = input_, target_
        if target.dim() > 1:
            raise ShapeError(f"0D or 1D target tensor expected, multi-target not supported; got shape {tuple(target.shape)}")
        if input.dim() != target.dim() + 1:
            raise ShapeError(f"{target.dim()}D target tensor expects {target.dim() + 1}D input tensors, but found inputs with size {tuple(input.shape)}")
        if target.dim() == 1 and input.shape[0] != target.shape[0]:
            raise ShapeError(f"Input and target should have the same size in the batch dimension, got {input.shape[0]} and {target.shape[0]}.")
        if values_outside(target, 0, self.n_classes - 1):
            raise ShapeError(f"Target values should be in [0, {self.n_classes - 1}], but values in range [{target.min().item()}, {target.max().item()}] were found.")
        if target.dim() == 0:
            output, loss = self.forward(input.unsqueeze(0), target.unsqueeze(0))
            return _Result(output.squeeze(0), loss)
        head = F.log_softmax(self.head(input), dim=1)
        output = head.gather(1, target.clamp(max=self.shortlist_size - 1).unsqueeze(1)).squeeze(1)
        for i, cluster in enumerate(self.tail):  # every cluster scores every row: which rows belong to it is not known while compiling
            low, high = self.cutoffs[i], self.cutoffs[i + 1]
            scores = F.log_softmax(cluster(input), dim=1).gather(1, (target - low).clamp(0, high - low - 1).unsqueeze(1)).squeeze(1)
            output = where((target >= low) & (target < high), head[:, self.shortlist_size + i] + scores, output)
        return _Result(output, -output.mean())

    def log_prob(self, input: Tensor) -> Tensor:
        """The log-probabilities of all classes, shape (N, n_classes), for input of shape (N, in_features)."""
        head = F.log_softmax(self.head(input), dim=1)
        clusters = [
            F.log_softmax(cluster(input), dim=1) + head[:, self.shortlist_size + i].unsqueeze(1) for i, cluster in enumerate(self.tail)
        ]
        return cat([head[:, : self.shortlist_size], *clusters], dim=1)

    def predict(self, input: Tensor) -> Tensor:
        """The most probable class of each row, shape (N), for input of shape (N, in_features)."""
        return self.log_prob(input).argmax(dim=1)
