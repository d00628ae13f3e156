"""Batch normalizations folded into the layer before them."""

from __future__ import annotations

import copy
from typing import Any

from ...parameter import Parameter
from ...tensor import Tensor

__all__ = ["fuse_conv_bn_eval", "fuse_conv_bn_weights", "fuse_linear_bn_eval", "fuse_linear_bn_weights"]


def fuse_conv_bn_eval(conv: Any, bn: Any, transpose: bool = False) -> Any:
    """A convolution that does what a convolution and the batch normalization after it do, both in evaluation mode.

    Args:
        conv: the convolution, which stays as it is.
        bn: the batch normalization, with running statistics.
        transpose: whether the convolution is a transposed one.

    Raises:
        AssertionError: one of them is in training mode, or there are no running statistics.

    Examples:
        >>> import neurarust_jax as nr
        >>> conv, bn = nr.nn.Conv2d(1, 2, 3).eval(), nr.nn.BatchNorm2d(2).eval()
        >>> x = nr.randn(1, 1, 5, 5)
        >>> nr.allclose(nr.nn.utils.fuse_conv_bn_eval(conv, bn)(x), bn(conv(x)), atol=1e-6)
        True
    """
    fused = _copy_to_fuse(conv, bn)
    fused.weight, fused.bias = fuse_conv_bn_weights(fused.weight, fused.bias, bn.running_mean, bn.running_var, bn.eps, bn.weight, bn.bias, transpose)
    return fused


def _copy_to_fuse(layer: Any, bn: Any) -> Any:
    if layer.training or bn.training:
        raise AssertionError("Fusion only for eval!")
    if bn.running_mean is None or bn.running_var is None:
        raise AssertionError("bn.running_mean and bn.running_var must not be None")
    return copy.deepcopy(layer)


def fuse_conv_bn_weights(
    conv_w: Tensor, conv_b: Tensor | None, bn_rm: Tensor, bn_rv: Tensor, bn_eps: float, bn_w: Tensor | None, bn_b: Tensor | None, transpose: bool = False
) -> tuple[Parameter, Parameter]:
    """Weight and bias of the fused convolution.

    Args:
        conv_w, conv_b: of the convolution.
        bn_rm, bn_rv: the running mean and variance.
        bn_eps: what is added to the variance.
        bn_w, bn_b: weight and bias of the batch normalization, `None` for 1 and 0.
        transpose: whether the convolution is a transposed one.
    """
    scale = (bn_rv + bn_eps).rsqrt() if bn_w is None else bn_w * (bn_rv + bn_eps).rsqrt()
    channels = [1] * (conv_w.dim() - 2)
    weight = (conv_w * scale.reshape(1, -1, *channels) if transpose else conv_w * scale.reshape(-1, 1, *channels)).to(conv_w.dtype)
    return Parameter(weight, conv_w.requires_grad), _fused_bias(conv_w, conv_b, bn_rm, scale, bn_b)


def _fused_bias(weight: Tensor, bias: Tensor | None, mean: Tensor, scale: Tensor, bn_bias: Tensor | None) -> Parameter:
    fused = (-mean if bias is None else bias - mean) * scale
    fused = fused if bn_bias is None else fused + bn_bias
    return Parameter(fused.to(weight.dtype if bias is None else bias.dtype), bias is not None and bias.requires_grad)


def fuse_linear_bn_eval(linear: Any, bn: Any) -> Any:
    """A linear layer that does what a linear layer and the batch normalization after it do, both in evaluation mode.

    Args:
        linear: the linear layer, which stays as it is.
        bn: the batch normalization, with running statistics, over as many features as `linear` puts out, or one.

    Raises:
        AssertionError: one of them is in training mode, there are no running statistics, or the features do not fit.
    """
    fused = _copy_to_fuse(linear, bn)
    if linear.out_features != bn.num_features and bn.num_features != 1:
        raise AssertionError(
            "To fuse, linear.out_features == bn.num_features or bn.num_features == 1, "
            f"got linear.out_features={linear.out_features} and bn.num_features={bn.num_features}"
        )
    fused.weight, fused.bias = fuse_linear_bn_weights(fused.weight, fused.bias, bn.running_mean, bn.running_var, bn.eps, bn.weight, bn.bias)
    return fused


def fuse_linear_bn_weights(
    linear_w: Tensor, linear_b: Tensor | None, bn_rm: Tensor, bn_rv: Tensor, bn_eps: float, bn_w: Tensor, bn_b: Tensor
) -> tuple[Parameter, Parameter]:
    """Weight and bias of the fused linear layer. Arguments as for `fuse_conv_bn_weights`."""
    scale = bn_w * (bn_rv + bn_eps).rsqrt()
    weight = linear_w * scale.unsqueeze(-1).to(linear_w.dtype)
    return Parameter(weight, linear_w.requires_grad), _fused_bias(linear_w, linear_b, bn_rm, scale, bn_b)
