"""Layers for images: resizing, and rearranging channels."""

from __future__ import annotations

from typing import Any

from ..tensor import Tensor
from . import functional as F
from .module import Module

__all__ = ["ChannelShuffle", "PixelShuffle", "PixelUnshuffle", "Upsample", "UpsamplingBilinear2d", "UpsamplingNearest2d"]


class Upsample(Module):
    r"""Resizes signals, images or volumes, as `F.interpolate` does.

    Args:
        size: the new size of each spatial dimension, or one int for all.
        scale_factor: instead of `size`, what the sizes are multiplied by, or one number for all.
        mode: `"nearest"`, `"nearest-exact"`, `"linear"`, `"bilinear"`, `"bicubic"` or `"trilinear"`. Default: `"nearest"`.
        align_corners: whether the centers of the corner cells stay where they are, rather than the corners of the image. Default: `None`, which means false.
        recompute_scale_factor: go by the sizes, which are rounded, rather than by `scale_factor` itself.

    Shape:
        - Input: (N, C, L), (N, C, H, W) or (N, C, D, H, W).
        - Output: the same with other sizes; with `scale_factor`, ``floor(size * scale_factor)``.

    Examples:
        >>> import neurarust_jax as nr
        >>> x = nr.arange(1.0, 5.0).reshape(1, 1, 2, 2)
        >>> nr.nn.Upsample(scale_factor=2, mode="nearest")(x)
        tensor([[[[1., 1., 2., 2.],
                  [1., 1., 2., 2.],
                  [3., 3., 4., 4.],
                  [3., 3., 4., 4.]]]])
    """

    def __init__(
        self, size: Any = None, scale_factor: Any = None, mode: str = "nearest", align_corners: bool | None = None, recompute_scale_factor: bool | None = None
    ):
        super().__init__()
        self.name = type(self).__name__
        self.size = size
        if isinstance(scale_factor, tuple):
            self.scale_factor: Any = tuple(map(float, scale_factor))
        else:
            self.scale_factor = float(scale_factor) if scale_factor else None
        self.mode = mode
        self.align_corners = align_corners
        self.recompute_scale_factor = recompute_scale_factor

    def forward(self, input: Tensor) -> Tensor:
        return F.interpolate(input, self.size, self.scale_factor, self.mode, self.align_corners, recompute_scale_factor=self.recompute_scale_factor)

    def extra_repr(self) -> str:
        extent = f"scale_factor={self.scale_factor!r}" if self.scale_factor is not None else f"size={self.size!r}"
        return f"{extent}, mode={self.mode!r}"


class UpsamplingNearest2d(Upsample):
    """`Upsample` of images with ``mode="nearest"``.

    Args:
        size: the new height and width, or one int for both.
        scale_factor: instead of `size`, what they are multiplied by.

    Shape:
        - Input: (N, C, H, W).
        - Output: (N, C, H_out, W_out).
    """

    def __init__(self, size: Any = None, scale_factor: Any = None):
        super().__init__(size, scale_factor, mode="nearest")


class UpsamplingBilinear2d(Upsample):
    """`Upsample` of images with ``mode="bilinear"`` and ``align_corners=True``.

    Args:
        size: the new height and width, or one int for both.
        scale_factor: instead of `size`, what they are multiplied by.

    Shape:
        - Input: (N, C, H, W).
        - Output: (N, C, H_out, W_out).
    """

    def __init__(self, size: Any = None, scale_factor: Any = None):
        super().__init__(size, scale_factor, mode="bilinear", align_corners=True)


class PixelShuffle(Module):
    r"""Moves groups of ``r * r`` channels into blocks of ``r * r`` pixels (Shi et al., 2016).

    Args:
        upscale_factor: ``r``.

    Shape:
        - Input: (\*, C r r, H, W).
        - Output: (\*, C, H r, W r).

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.nn.PixelShuffle(3)(nr.randn(1, 9, 4, 4)).shape
        neurarust_jax.Size([1, 1, 12, 12])
    """

    def __init__(self, upscale_factor: int):
        super().__init__()
        self.upscale_factor = upscale_factor

    def forward(self, input: Tensor) -> Tensor:
        return F.pixel_shuffle(input, self.upscale_factor)

    def extra_repr(self) -> str:
        return f"upscale_factor={self.upscale_factor}"


class PixelUnshuffle(Module):
    r"""Moves blocks of ``r * r`` pixels into groups of ``r * r`` channels: the inverse of `PixelShuffle`.

    Args:
        downscale_factor: ``r``.

    Shape:
        - Input: (\*, C, H r, W r).
        - Output: (\*, C r r, H, W).
    """

    def __init__(self, downscale_factor: int):
        super().__init__()
        self.downscale_factor = downscale_factor

    def forward(self, input: Tensor) -> Tensor:
        return F.pixel_unshuffle(input, self.downscale_factor)

    def extra_repr(self) -> str:
        return f"downscale_factor={self.downscale_factor}"


class ChannelShuffle(Module):
    r"""Interleaves the channels of `groups` groups (Zhang et al., 2018).

    Args:
        groups: divides the number of channels.

    Shape:
        - Input: (N, C, \*).
        - Output: the same.
    """

    def __init__(self, groups: int):
        super().__init__()
        self.groups = groups

    def forward(self, input: Tensor) -> Tensor:
        return F.channel_shuffle(input, self.groups)

    def extra_repr(self) -> str:
        return f"groups={self.groups}"
