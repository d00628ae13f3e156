"""Instance normalization."""

from __future__ import annotations

import warnings
from typing import Any

from ..errors import ArgumentError
from ..tensor import Tensor
from . import functional as F
from .batchnorm import LazyNormBase, _NormBase

__all__ = ["InstanceNorm1d", "InstanceNorm2d", "InstanceNorm3d", "LazyInstanceNorm1d", "LazyInstanceNorm2d", "LazyInstanceNorm3d"]


class _InstanceNorm(_NormBase):
    """What the instance normalizations of 1, 2 and 3 spatial dimensions share."""

    _unbatched_dims: int  # of an input without a batch

    def __init__(
        self, num_features: int, eps: float = 1e-5, momentum: float | None = 0.1, affine: bool = False, track_running_stats: bool = False,
        device: Any = None, dtype: Any = None, *, bias: bool = True,
    ):  # fmt: skip
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device, dtype, bias=bias)

    def _check_input_dim(self, input: Tensor) -> None:
        self._require_dims(input, self._unbatched_dims, self._unbatched_dims + 1)

    def forward(self, input: Tensor) -> Tensor:
        self._check_input_dim(input)
        dim = input.dim() - self._unbatched_dims
        if input.shape[dim] != self.num_features:
            if self.affine:
                raise ArgumentError(f"expected input's size at dim={dim} to match num_features ({self.num_features}), but got: {input.shape[dim]}.")
            warnings.warn(
                f"input's size at dim={dim} does not match num_features. You can silence this warning by not passing in num_features, which is not used "
                "because affine=False",
                stacklevel=2,
            )
        return self._normalize(input) if dim else self._normalize(input.unsqueeze(0)).squeeze(0)

    def _normalize(self, input: Tensor) -> Tensor:
        momentum = 0.0 if self.momentum is None else self.momentum
        of_input = self.training or not self.track_running_stats
        return F.instance_norm(input, self.running_mean, self.running_var, self.weight, self.bias, of_input, momentum, self.eps)

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, local_metadata: dict[str, Any], strict: bool, missing_keys: list[str], unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:  # fmt: skip
        if local_metadata.get("version") is None and not self.track_running_stats:
            old = [prefix + name for name in ("running_mean", "running_var") if prefix + name in state_dict]
            if old:
                error_msgs.append(
                    f"Unexpected running stats buffer(s) {' and '.join(map(repr, old))} for {self._get_name()} with track_running_stats=False. If state_dict is a "
                    "checkpoint of PyTorch before 0.4.0, remove them from it; if the statistics are needed, write track_running_stats=True."
                )
                for key in old:
                    state_dict.pop(key)
        super()._load_from_state_dict(state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs)


class InstanceNorm1d(_InstanceNorm):
    """Instance normalization of sequences (Ulyanov et al., 2016): ``(x - mean) / sqrt(var + eps) * weight + bias`` for each channel of each example.

    Mean and variance are those of the example; with `track_running_stats` in evaluation mode the running ones.

    Args:
        num_features: the number of channels C.
        eps: added to the variance. Default: 1e-5.
        momentum: weight of the batch in the running statistics. Default: 0.1.
        affine: whether to learn `weight` and `bias`. Default: `False`.
        track_running_stats: whether to keep running statistics, and use them in evaluation mode. Default: `False`.
        device, dtype: of parameters and statistics.
        bias: whether to learn `bias`, if `affine`. Default: `True`.

    Shape:
        - Input: (N, C, L) or (C, L).
        - Output: the same.

    Attributes:
        weight: shape (C), ones at first.
        bias: shape (C), zeros at first.
        running_mean, running_var: buffers of shape (C), zeros and ones at first.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.nn.InstanceNorm1d(3)(nr.randn(2, 3, 8)).shape
        neurarust_jax.Size([2, 3, 8])
    """

    _unbatched_dims = 2


class InstanceNorm2d(_InstanceNorm):
    """Instance normalization of images. Arguments and attributes are those of `InstanceNorm1d`.

    Shape:
        - Input: (N, C, H, W) or (C, H, W).
        - Output: the same.
    """

    _unbatched_dims = 3


class InstanceNorm3d(_InstanceNorm):
    """Instance normalization of volumes. Arguments and attributes are those of `InstanceNorm1d`.

    Shape:
        - Input: (N, C, D, H, W) or (C, D, H, W).
        - Output: the same.
    """

    _unbatched_dims = 4


class LazyInstanceNorm1d(LazyNormBase, _InstanceNorm):
    """An `InstanceNorm1d` that takes `num_features` from its first input; `affine` and `track_running_stats` are `True` by default."""

    cls_to_become = InstanceNorm1d
    _unbatched_dims = 2


class LazyInstanceNorm2d(LazyNormBase, _InstanceNorm):
    """An `InstanceNorm2d` that takes `num_features` from its first input. See `LazyInstanceNorm1d`."""

    cls_to_become = InstanceNorm2d
    _unbatched_dims = 3


class LazyInstanceNorm3d(LazyNormBase, _InstanceNorm):
    """An `InstanceNorm3d` that takes `num_features` from its first input. See `LazyInstanceNorm1d`."""

    cls_to_become = InstanceNorm3d
    _unbatched_dims = 4
