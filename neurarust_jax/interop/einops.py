"""einops: its functions take Tensors as soon as both libraries are imported, and its layers stand here as modules, under the names of `einops.layers.torch`."""

from __future__ import annotations

from typing import Any

from einops._backends import AbstractBackend
from einops.layers import RearrangeMixin, ReduceMixin
from einops.layers._einmix import _EinmixMixin

from .. import nn, ops
from ..dtypes import int64
from ..tensor import Tensor

__all__ = ["EinMix", "Rearrange", "Reduce"]


class TensorBackend(AbstractBackend):
    """What einops asks of a library of tensors. It finds this class by itself."""

    framework_name = "neurarust_jax"

    def is_appropriate_type(self, tensor: Any) -> bool:
        """Whether `tensor` is one of ours."""
        return isinstance(tensor, Tensor)

    def from_numpy(self, x: Any) -> Tensor:
        """A tensor of the values of a NumPy array."""
        return ops.tensor(x)

    def to_numpy(self, x: Tensor) -> Any:
        """The values as a NumPy array."""
        return x.numpy(force=True)

    def arange(self, start: int, stop: int) -> Tensor:
        """The integers from `start` to `stop`."""
        return ops.arange(start, stop, dtype=int64)

    def reduce(self, x: Tensor, operation: str, axes: Any) -> Tensor:
        """The tensor without some dimensions."""
        names = {"min": "amin", "max": "amax"}
        if operation not in ("prod", "any", "all"):
            return getattr(x, names.get(operation, operation))(dim=tuple(axes))
        for axis in sorted(axes, reverse=True):
            x = getattr(x, operation)(dim=axis)
        return x

    def transpose(self, x: Tensor, axes: Any) -> Tensor:
        """The tensor with its dimensions in another order."""
        return x.permute(axes)

    def stack_on_zeroth_dimension(self, tensors: list[Any]) -> Tensor:
        """Tensors along a new first dimension."""
        return ops.stack(tensors)

    def add_axis(self, x: Tensor, new_position: int) -> Tensor:
        """The tensor with a new dimension of length 1."""
        return x.unsqueeze(new_position)

    def add_axes(self, x: Tensor, n_axes: int, pos2len: dict[int, int]) -> Tensor:
        """The tensor with new dimensions, along which it is repeated."""
        lengths = [-1] * n_axes
        for position, length in pos2len.items():
            x, lengths[position] = x.unsqueeze(position), length
        return x.expand(lengths)

    def tile(self, x: Tensor, repeats: Any) -> Tensor:
        """The tensor, repeated along its dimensions."""
        return x.repeat(repeats)

    def concat(self, tensors: list[Any], axis: int) -> Tensor:
        """Tensors one after the other."""
        return ops.cat(tensors, axis)

    def is_float_type(self, x: Tensor) -> bool:
        """Whether the values are floating-point numbers."""
        return x.is_floating_point()

    def einsum(self, pattern: str, *x: Tensor) -> Tensor:
        """Sums of products by Einstein's convention."""
        return ops.einsum(pattern, *x)

    def layers(self) -> Any:
        """Where the layers are."""
        from . import einops

        return einops


class Rearrange(RearrangeMixin, nn.Module):
    """`einops.rearrange` as a layer.

    Args:
        pattern: as of `einops.rearrange`.
        **axes_lengths: lengths of dimensions that the pattern splits.

    Examples:
        >>> import neurarust_jax as nr
        >>> from neurarust_jax.interop.einops import Rearrange
        >>> flatten = Rearrange("batch channel row column -> batch (row column) channel")
        >>> flatten(nr.ones(2, 3, 4, 5)).shape
        neurarust_jax.Size([2, 20, 3])
    """

    def forward(self, input: Tensor) -> Tensor:
        """The tensor in its new form."""
        return self._apply_recipe(input)


class Reduce(ReduceMixin, nn.Module):
    """`einops.reduce` as a layer.

    Args:
        pattern: as of `einops.reduce`.
        reduction: `"min"`, `"max"`, `"sum"`, `"mean"`, `"prod"`, `"any"` or `"all"`.
        **axes_lengths: lengths of dimensions that the pattern splits.

    Examples:
        >>> import neurarust_jax as nr
        >>> from neurarust_jax.interop.einops import Reduce
        >>> pool = Reduce("b c (h 2) (w 2) -> b c h w", "max")
        >>> pool(nr.arange(16.0).reshape(1, 1, 4, 4))
        tensor([[[[ 5.,  7.],
                  [13., 15.]]]])
    """

    def forward(self, input: Tensor) -> Tensor:
        """The tensor in its new form."""
        return self._apply_recipe(input)


class EinMix(_EinmixMixin, nn.Module):
    """A linear layer over any dimensions, said by a pattern.

    Args:
        pattern: the dimensions before and after, such as ``"batch token c_in -> batch token c_out"``.
        weight_shape: the dimensions of the weight: those that it takes and those that it gives, ``"c_in c_out"``.
        bias_shape: the dimensions of the bias. Default: none.
        **axes_lengths: lengths of the dimensions of the weight and of those that the pattern splits.

    Examples:
        >>> import neurarust_jax as nr
        >>> from neurarust_jax.interop.einops import EinMix
        >>> mix = EinMix("b t c_in -> b t c_out", weight_shape="c_in c_out", bias_shape="c_out", c_in=4, c_out=3)
        >>> mix(nr.ones(2, 5, 4)).shape
        neurarust_jax.Size([2, 5, 3])
    """

    pre_rearrange: Rearrange | None
    post_rearrange: Rearrange | None

    def _create_parameters(self, weight_shape: Any, weight_bound: float, bias_shape: Any, bias_bound: float) -> None:
        self.weight = _uniform(weight_shape, weight_bound)
        self.bias = None if bias_shape is None else _uniform(bias_shape, bias_bound)

    def _create_rearrange_layers(self, pre_reshape_pattern: Any, pre_reshape_lengths: Any, post_reshape_pattern: Any, post_reshape_lengths: Any) -> None:
        self.pre_rearrange = None if pre_reshape_pattern is None else Rearrange(pre_reshape_pattern, **pre_reshape_lengths)
        self.post_rearrange = None if post_reshape_pattern is None else Rearrange(post_reshape_pattern, **post_reshape_lengths)

    def forward(self, input: Tensor) -> Tensor:
        """The tensor in its new form."""
        if self.pre_rearrange is not None:
            input = self.pre_rearrange(input)
        result = ops.einsum(self.einsum_pattern, input, self.weight)
        if self.bias is not None:
            result = result + self.bias
        return result if self.post_rearrange is None else self.post_rearrange(result)


def _uniform(shape: Any, bound: float) -> nn.Parameter:
    parameter = nn.Parameter(ops.empty(shape))
    nn.init.uniform_(parameter, -bound, bound)
    return parameter
