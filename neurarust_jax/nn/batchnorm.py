"""Batch normalization, and what it shares with instance normalization."""

from __future__ import annotations

from typing import Any

from ..errors import ArgumentError
from ..ops.creation import empty, ones, tensor, zeros
from ..parameter import Buffer, Parameter, UninitializedBuffer, UninitializedParameter
from ..tensor import Tensor
from . import functional as F
from . import init
from .lazy import LazyModuleMixin
from .module import Module

__all__ = ["BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "LazyBatchNorm1d", "LazyBatchNorm2d", "LazyBatchNorm3d", "SyncBatchNorm"]


class _NormBase(Module):
    """What batch and instance normalization share: weight and bias, running statistics, and their representation."""

    _version = 2  # since which `num_batches_tracked` is saved
    weight: Parameter | None
    bias: Parameter | None
    running_mean: Any  # a Buffer or `None`, as the next two
    running_var: Any
    num_batches_tracked: Any

    def __init__(
        self, num_features: int, eps: float = 1e-5, momentum: float | None = 0.1, affine: bool = True, track_running_stats: bool = True,
        device: Any = None, dtype: Any = None, *, bias: bool = True,
    ):  # fmt: skip
        super().__init__()
        self.num_features = num_features
        self.eps = eps
        self.momentum = momentum
        self.affine = affine
        self.track_running_stats = track_running_stats
        self.register_parameter("weight", Parameter(empty(num_features, device=device, dtype=dtype)) if affine else None)
        self.register_parameter("bias", Parameter(empty(num_features, device=device, dtype=dtype)) if affine and bias else None)
        self.register_buffer("running_mean", zeros(num_features, device=device, dtype=dtype) if track_running_stats else None)
        self.register_buffer("running_var", ones(num_features, device=device, dtype=dtype) if track_running_stats else None)
        self.register_buffer("num_batches_tracked", tensor(0, device=device) if track_running_stats else None)
        self.reset_parameters()

    def reset_running_stats(self) -> None:
        """Forget the statistics seen so far."""
        if self.track_running_stats:
            self.running_mean.zero_()
            self.running_var.fill_(1)
            self.num_batches_tracked.zero_()

    def reset_parameters(self) -> None:
        """Set weight to 1, bias to 0, and forget the statistics."""
        self.reset_running_stats()
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)

    def _check_input_dim(self, input: Tensor) -> None:
        raise NotImplementedError

    def _require_dims(self, input: Tensor, *allowed: int) -> None:
        if input.dim() not in allowed:
            expected = " or ".join(f"{n}D" for n in allowed)
            raise ArgumentError(f"expected {expected} input (got {input.dim()}D input): {self._get_name()} got shape {tuple(input.shape)}")

    def extra_repr(self) -> str:
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, bias={self.bias is not None}, "
            f"track_running_stats={self.track_running_stats}"
        )

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, local_metadata: dict[str, Any], strict: bool, missing_keys: list[str], unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:  # fmt: skip
        version, counter = local_metadata.get("version"), prefix + "num_batches_tracked"
        if (version is None or version < 2) and self.track_running_stats and counter not in state_dict:
            state_dict[counter] = tensor(0) if self.num_batches_tracked is None else self.num_batches_tracked.detach()
        super()._load_from_state_dict(state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs)


class _BatchNorm(_NormBase):
    """What the batch normalizations of 1, 2 and 3 spatial dimensions share."""

    def forward(self, input: Tensor) -> Tensor:
        self._check_input_dim(input)
        momentum: Any = 0.0 if self.momentum is None else self.momentum
        if self.training and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
            if self.momentum is None:  # the plain average over all batches
                momentum = 1.0 / self.num_batches_tracked
        of_batch = self.training or (self.running_mean is None and self.running_var is None)
        mean, variance = (self.running_mean, self.running_var) if not self.training or self.track_running_stats else (None, None)
        return F.batch_norm(input, mean, variance, self.weight, self.bias, of_batch, momentum, self.eps)


class BatchNorm1d(_BatchNorm):
    """Batch normalization of features or sequences (Ioffe and Szegedy, 2015): ``(x - mean) / sqrt(var + eps) * weight + bias`` for each channel.

    In training mode mean and variance are the batch's, and running statistics are kept; in evaluation mode those are used.

    Args:
        num_features: the number of channels C.
        eps: added to the variance. Default: 1e-5.
        momentum: weight of the batch in the running statistics; `None` for the plain average. Default: 0.1.
        affine: whether to learn `weight` and `bias`. Default: `True`.
        track_running_stats: whether to keep running statistics; without, the batch's are always used. Default: `True`.
        device, dtype: of parameters and statistics.
        bias: whether to learn `bias`. Default: `True`.

    Shape:
        - Input: (N, C) or (N, C, L).
        - Output: the same.

    Attributes:
        weight: shape (C), ones at first.
        bias: shape (C), zeros at first.
        running_mean, running_var: buffers of shape (C), zeros and ones at first.
        num_batches_tracked: a buffer that counts batches.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.nn.BatchNorm1d(100)(nr.randn(20, 100)).shape
        neurarust_jax.Size([20, 100])
    """

    def _check_input_dim(self, input: Tensor) -> None:
        self._require_dims(input, 2, 3)


class BatchNorm2d(_BatchNorm):
    """Batch normalization of images. Arguments and attributes are those of `BatchNorm1d`.

    Shape:
        - Input: (N, C, H, W).
        - Output: the same.
    """

    def _check_input_dim(self, input: Tensor) -> None:
        self._require_dims(input, 4)


class BatchNorm3d(_BatchNorm):
    """Batch normalization of volumes. Arguments and attributes are those of `BatchNorm1d`.

    Shape:
        - Input: (N, C, D, H, W).
        - Output: the same.
    """

    def _check_input_dim(self, input: Tensor) -> None:
        self._require_dims(input, 5)


class SyncBatchNorm(_BatchNorm):
    r"""Batch normalization whose statistics are those of the whole batch, wherever its parts lie.

    A batch that is sharded over devices is one tensor here, so every batch normalization does that, and this one is as the others.

    Args:
        num_features, eps, momentum, affine, track_running_stats, device, dtype, bias: as in `BatchNorm1d`.
        process_group: accepted and without effect.

    Shape:
        - Input: (N, C, \*).
        - Output: the same.
    """

    def __init__(
        self, num_features: int, eps: float = 1e-5, momentum: float | None = 0.1, affine: bool = True, track_running_stats: bool = True,
        process_group: Any = None, device: Any = None, dtype: Any = None, *, bias: bool = True,
    ):  # fmt: skip
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device, dtype, bias=bias)
        self.process_group = process_group

    def _check_input_dim(self, input: Tensor) -> None:
        if input.dim() < 2:
            raise ArgumentError(f"expected at least 2D input (got {input.dim()}D input)")
        if input.shape[1] == 0:
            raise ArgumentError("SyncBatchNorm number of input channels should be non-zero")

    @classmethod
    def convert_sync_batchnorm(cls, module: Module, process_group: Any = None) -> Module:
        """The module with every batch normalization in it replaced by a `SyncBatchNorm` of the same parameters and statistics.

        Args:
            module: a module, which is changed unless it is a batch normalization itself.
            process_group: accepted and without effect.
        """
        converted = module
        if isinstance(module, _BatchNorm):
            converted = cls(
                module.num_features, module.eps, module.momentum, module.affine, module.track_running_stats, process_group, bias=module.bias is not None
            )
            converted.weight, converted.bias = module.weight, module.bias
            converted.running_mean, converted.running_var = module.running_mean, module.running_var
            converted.num_batches_tracked = module.num_batches_tracked
            converted.training = module.training
        for name, child in module.named_children():
            converted.add_module(name, cls.convert_sync_batchnorm(child, process_group))
        return converted


class LazyNormBase(LazyModuleMixin, _NormBase):
    """What the lazy batch and instance normalizations share."""

    def __init__(
        self, eps: float = 1e-5, momentum: float | None = 0.1, affine: bool = True, track_running_stats: bool = True, device: Any = None,
        dtype: Any = None, *, bias: bool = True,
    ):  # fmt: skip
        super().__init__(0, eps, momentum, False, False, device, dtype, bias=False)
        self.affine = affine
        self.track_running_stats = track_running_stats
        if affine:
            self.weight = UninitializedParameter(device=device, dtype=dtype)
            if bias:
                self.bias = UninitializedParameter(device=device, dtype=dtype)
        if track_running_stats:
            self.running_mean = UninitializedBuffer(device=device, dtype=dtype)
            self.running_var = UninitializedBuffer(device=device, dtype=dtype)
            self.num_batches_tracked = Buffer(tensor(0, device=device))

    def reset_parameters(self) -> None:
        if not self.has_uninitialized_params() and self.num_features != 0:
            super().reset_parameters()

    def initialize_parameters(self, input: Tensor) -> None:
        if self.has_uninitialized_params():
            self.num_features = input.shape[1]
            for cell in (self.weight, self.bias, self.running_mean, self.running_var):
                if isinstance(cell, UninitializedParameter | UninitializedBuffer):
                    cell.materialize((self.num_features,))
            self.reset_parameters()


class LazyBatchNorm1d(LazyNormBase, _BatchNorm):
    """A `BatchNorm1d` that takes `num_features` from its first input. The other arguments are those of `BatchNorm1d`."""

    cls_to_become = BatchNorm1d
    _check_input_dim = BatchNorm1d._check_input_dim


class LazyBatchNorm2d(LazyNormBase, _BatchNorm):
    """A `BatchNorm2d` that takes `num_features` from its first input. The other arguments are those of `BatchNorm2d`.

    Examples:
        >>> import neurarust_jax as nr
        >>> layer = nr.nn.LazyBatchNorm2d()
        >>> layer(nr.ones(2, 3, 4, 4)).shape, layer.num_features
        (neurarust_jax.Size([2, 3, 4, 4]), 3)
    """

    cls_to_become = BatchNorm2d
    _check_input_dim = BatchNorm2d._check_input_dim


class LazyBatchNorm3d(LazyNormBase, _BatchNorm):
    """A `BatchNorm3d` that takes `num_features` from its first input. The other arguments are those of `BatchNorm3d`."""

    cls_to_become = BatchNorm3d
    _check_input_dim = BatchNorm3d._check_input_dim
