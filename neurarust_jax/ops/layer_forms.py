"""The functions of layers that stand at the top level too, as `nr.conv1d` and `nr.dropout`, with the arguments that PyTorch's have there.

Those whose arguments are the same as in `nn.functional` are the same functions. Where they differ, a loss takes its reduction as a number: 0 for none, 1 for
the mean, 2 for the sum.
"""

from collections.abc import Sequence
from typing import Any

from ..autograd.graph import no_grad
from ..dispatch import Array, op
from ..errors import ArgumentError, ArgumentTypeError, ShapeError, writes_into_a_tensor
from ..tensor import Tensor, WritableTensor
from .inplace import check_writable, in_place_function
from .nn import adaptive_pooling, ctc, loss, margin_loss, normalization, padding
from .nn import convolution as convolutions
from .nn import embedding as functional_embedding
from .nn.activation import celu, celu_, hardshrink, prelu, relu, relu_, rrelu, rrelu_, selu, selu_, threshold, threshold_
from .nn.adaptive_pooling import adaptive_avg_pool1d
from .nn.convolution import conv1d, conv2d, conv3d, conv_tbc, conv_transpose1d, conv_transpose2d, conv_transpose3d
from .nn.distance import cosine_similarity, pairwise_distance
from .nn.dropout import alpha_dropout as functional_alpha_dropout
from .nn.dropout import by_channel, masked
from .nn.dropout import dropout as functional_dropout
from .nn.dropout import feature_alpha_dropout as functional_feature_alpha_dropout
from .nn.linear import bilinear
from .nn.normalization import rms_norm
from .nn.pooling import avg_pool1d, max_pool1d, max_pool1d_with_indices, max_pool2d, max_pool3d
from .nn.sampling import affine_grid_generator, grid_sampler, grid_sampler_2d, grid_sampler_3d
from .nn.shuffling import channel_shuffle, native_channel_shuffle, pixel_shuffle, pixel_unshuffle

__all__ = [
    "adaptive_avg_pool1d", "adaptive_max_pool1d", "affine_grid_generator", "alpha_dropout", "alpha_dropout_", "avg_pool1d", "batch_norm", "bilinear",
    "binary_cross_entropy_with_logits", "celu", "celu_", "channel_shuffle", "constant_pad_nd", "conv1d", "conv2d", "conv3d", "conv_tbc", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d",
    "convolution", "cosine_embedding_loss", "cosine_similarity", "ctc_loss", "dropout", "dropout_", "embedding", "embedding_renorm_", "feature_alpha_dropout",
    "feature_alpha_dropout_", "feature_dropout", "feature_dropout_", "grid_sampler",
    "grid_sampler_2d", "grid_sampler_3d", "group_norm", "hardshrink", "hinge_embedding_loss", "instance_norm", "kl_div", "layer_norm",
    "margin_ranking_loss", "max_pool1d", "max_pool1d_with_indices", "max_pool2d", "max_pool3d", "native_channel_shuffle", "pairwise_distance",
    "pixel_shuffle", "pixel_unshuffle", "poisson_nll_loss", "prelu", "relu", "relu_", "rms_norm", "rrelu", "rrelu_", "selu", "selu_", "threshold",
    "threshold_", "triplet_margin_loss",
]  # fmt: skip

# --- convolution, pooling and padding ------------------------------------------------------------------------------


@op(method=False)
def convolution(
    input: Array, weight: Array, bias: Array | None, stride: tuple[int, ...], padding: tuple[int, ...], dilation: tuple[int, ...], transposed: bool,
    output_padding: tuple[int, ...], groups: int,
) -> Array:  # fmt: skip
    """A convolution over as many dimensions as `weight` has beyond two, or with `transposed` its adjoint. See `conv2d` and `conv_transpose2d`.

    Args:
        input: shape (batch, in_channels, *size).
        weight: the kernel, shape (out_channels, in_channels / groups, *kernel_size); transposed (in_channels, out_channels / groups, *kernel_size).
        bias: shape (out_channels,), or `None`.
        stride, padding, dilation: one number for each dimension, or one for all.
        transposed: whether to compute the adjoint.
        output_padding: the additional length at one side of the output, only for the adjoint.
        groups: into how many groups the channels fall.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.convolution(nr.ones(1, 1, 3), nr.ones(1, 1, 2), None, (1,), (0,), (1,), False, (0,), 1)
        tensor([[[2., 2.]]])
    """
    n = weight.ndim - 2
    if n < 1 or input.ndim != weight.ndim:
        raise ShapeError(f"convolution takes an input and a weight of the same 3 to 5 dimensions, got shapes {input.shape} and {weight.shape}")
    stride, padding, dilation, extra = (x * n if len(x) == 1 else x for x in (stride, padding, dilation, output_padding))
    if transposed:
        return convolutions.transposed_convolution(input, weight, bias, stride, padding, extra, groups, dilation, n, "convolution")
    return convolutions.convolution(input, weight, bias, stride, padding, dilation, groups, n, "convolution")


def adaptive_max_pool1d(input: Tensor, output_size: Any) -> tuple[Tensor, Tensor]:
    """The greatest elements of `output_size` windows and their positions: `F.adaptive_max_pool1d` with ``return_indices=True``."""
    return adaptive_pooling.adaptive_max_pool1d_with_indices(input, output_size)


def constant_pad_nd(input: Tensor, pad: Sequence[int], value: float = 0) -> Tensor:
    """The tensor with a number around it: `F.pad` with ``mode="constant"``.

    Args:
        input: a tensor.
        pad: how many places to add before and after the last dimension, then the one before it, and so on; negative numbers cut.
        value: the number.
    """
    return padding.pad(input, pad, "constant", value)


# --- normalization -------------------------------------------------------------------------------------------------


def batch_norm(
    input: Tensor, weight: Any, bias: Any, running_mean: Any, running_var: Any, training: bool, momentum: float, eps: float, cudnn_enabled: bool = False
) -> Tensor:
    """`F.batch_norm` with the weight and the bias before the running statistics; `cudnn_enabled` has no effect."""
    return normalization.batch_norm(input, running_mean, running_var, weight, bias, training, momentum, eps)


def instance_norm(
    input: Tensor, weight: Any, bias: Any, running_mean: Any, running_var: Any, use_input_stats: bool, momentum: float, eps: float,
    cudnn_enabled: bool = False,
) -> Tensor:  # fmt: skip
    """`F.instance_norm` with the weight and the bias before the running statistics; `cudnn_enabled` has no effect."""
    return normalization.instance_norm(input, running_mean, running_var, weight, bias, use_input_stats, momentum, eps)


def layer_norm(
    input: Tensor, normalized_shape: Sequence[int], weight: Any = None, bias: Any = None, eps: float = 1e-05, cudnn_enable: bool = True
) -> Tensor:
    """`F.layer_norm`; `cudnn_enable` has no effect."""
    return normalization.layer_norm(input, normalized_shape, weight, bias, eps)


def group_norm(input: Tensor, num_groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-05, cudnn_enabled: bool = True) -> Tensor:
    """`F.group_norm`; `cudnn_enabled` has no effect."""
    return normalization.group_norm(input, num_groups, weight, bias, eps)


# --- dropout and look-up tables ------------------------------------------------------------------------------------


def dropout(input: Tensor, p: float, train: bool) -> Tensor:
    """`F.dropout`, whose arguments must all be given here.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.dropout(nr.ones(2), 0.5, False)
        tensor([1., 1.])
    """
    return functional_dropout(input, p, train)


def alpha_dropout(input: Tensor, p: float, train: bool) -> Tensor:
    """`F.alpha_dropout`, whose arguments must all be given here."""
    return functional_alpha_dropout(input, p, train)


def feature_dropout(input: Tensor, p: float, train: bool) -> Tensor:
    """Each channel zeroed with probability `p`, the others scaled by ``1 / (1 - p)``, whatever the number of dimensions after the first two."""
    return masked(input, by_channel(input) if train else (), p, train)


def feature_alpha_dropout(input: Tensor, p: float, train: bool) -> Tensor:
    """`F.feature_alpha_dropout`, whose arguments must all be given here."""
    return functional_feature_alpha_dropout(input, p, train)


dropout_ = in_place_function("dropout_", dropout)
alpha_dropout_ = in_place_function("alpha_dropout_", alpha_dropout)
feature_dropout_ = in_place_function("feature_dropout_", feature_dropout)
feature_alpha_dropout_ = in_place_function("feature_alpha_dropout_", feature_alpha_dropout)


def embedding(weight: Tensor, indices: Tensor, padding_idx: int = -1, scale_grad_by_freq: bool = False, sparse: bool = False) -> Tensor:
    """`F.embedding` with the table before the indices.

    Args:
        weight: the table, shape (num_embeddings, embedding_dim).
        indices: integers of any shape.
        padding_idx: a row that gets no gradient; -1 for none.
        scale_grad_by_freq: divide each row's gradient by how often it was looked up.
        sparse: accepted and without effect: gradients are dense.
    """
    return functional_embedding(indices, weight, None if padding_idx < 0 else padding_idx, scale_grad_by_freq=scale_grad_by_freq)


def embedding_renorm_(input: WritableTensor, indices: Tensor, max_norm: float, norm_type: float) -> WritableTensor:
    """Scale down the rows of a table that have a greater norm than `max_norm`, of those that `indices` name, in the table itself.

    Args:
        input: the table, a `Parameter` or `Buffer` of shape (num_embeddings, embedding_dim).
        indices: integers of any shape.
        max_norm: the norm.
        norm_type: which norm.
    """
    if not isinstance(input, WritableTensor):
        raise writes_into_a_tensor("embedding_renorm_(x, ...)", "rows = F.embedding(indices, x, max_norm=max_norm)")
    check_writable(input, "embedding_renorm_()")
    with no_grad():
        functional_embedding(indices, input, max_norm=max_norm, norm_type=norm_type)
    return input


# --- losses --------------------------------------------------------------------------------------------------------


def _reduction(number: int) -> str:
    if isinstance(number, str):
        raise ArgumentTypeError(f"reduction is 0 (none), 1 (mean) or 2 (sum) here, got {number!r}; the functions of nn.functional take its name")
    if number not in (0, 1, 2):
        raise ArgumentError(f"reduction is 0 (none), 1 (mean) or 2 (sum) here, got {number!r}")
    return ("none", "mean", "sum")[number]


def binary_cross_entropy_with_logits(input: Tensor, target: Tensor, weight: Any = None, pos_weight: Any = None, reduction: int = 1) -> Tensor:
    """`F.binary_cross_entropy_with_logits` with the reduction as a number."""
    return loss.binary_cross_entropy_with_logits(input, target, weight, reduction=_reduction(reduction), pos_weight=pos_weight)


def cosine_embedding_loss(input1: Tensor, input2: Tensor, target: Tensor, margin: float = 0.0, reduction: int = 1) -> Tensor:
    """`F.cosine_embedding_loss` with the reduction as a number."""
    return margin_loss.cosine_embedding_loss(input1, input2, target, margin, reduction=_reduction(reduction))


def ctc_loss(
    log_probs: Tensor, targets: Tensor, input_lengths: Any, target_lengths: Any, blank: int = 0, reduction: int = 1, zero_infinity: bool = False
) -> Tensor:
    """`F.ctc_loss` with the reduction as a number."""
    return ctc.ctc_loss(log_probs, targets, input_lengths, target_lengths, blank, _reduction(reduction), zero_infinity)


def hinge_embedding_loss(input: Tensor, target: Tensor, margin: float = 1.0, reduction: int = 1) -> Tensor:
    """`F.hinge_embedding_loss` with the reduction as a number."""
    return margin_loss.hinge_embedding_loss(input, target, margin, reduction=_reduction(reduction))


def kl_div(input: Tensor, target: Tensor, reduction: int = 1, *, log_target: bool = False) -> Tensor:
    """`F.kl_div` with the reduction as a number.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.kl_div(nr.zeros(2), nr.ones(2), 2)
        tensor(0.)
    """
    return loss._kl_div(input, target, bool(log_target), _reduction(reduction), None)


def margin_ranking_loss(input1: Tensor, input2: Tensor, target: Tensor, margin: float = 0.0, reduction: int = 1) -> Tensor:
    """`F.margin_ranking_loss` with the reduction as a number."""
    return margin_loss.margin_ranking_loss(input1, input2, target, margin, reduction=_reduction(reduction))


def poisson_nll_loss(input: Tensor, target: Tensor, log_input: bool, full: bool, eps: float, reduction: int) -> Tensor:
    """`F.poisson_nll_loss` with the reduction as a number, and all arguments given."""
    return loss.poisson_nll_loss(input, target, log_input, full, eps=eps, reduction=_reduction(reduction))


def triplet_margin_loss(
    anchor: Tensor, positive: Tensor, negative: Tensor, margin: float = 1.0, p: float = 2, eps: float = 1e-06, swap: bool = False, reduction: int = 1
) -> Tensor:
    """`F.triplet_margin_loss` with the reduction as a number."""
    return margin_loss.triplet_margin_loss(anchor, positive, negative, margin, p, eps, swap, reduction=_reduction(reduction))
