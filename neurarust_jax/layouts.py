"""`nr.layout` and `nr.memory_format`: PyTorch's names for how elements lie in memory. They have no effect, since XLA chooses the layout by itself."""

from __future__ import annotations

__all__ = ["channels_last", "channels_last_3d", "contiguous_format", "layout", "legacy_contiguous_format", "memory_format", "preserve_format", "strided"]


class layout:  # noqa: N801 (PyTorch's name)
    """How a tensor is stored. There is one, `nr.strided`: every tensor is dense.

    Args:
        name: its name in `nr`.
    """

    __slots__ = ("name",)

    def __init__(self, name: str):
        self.name = name

    def __repr__(self) -> str:
        return f"neurarust_jax.{self.name}"

    def __reduce__(self) -> str:
        return self.name


class memory_format(layout):  # noqa: N801 (PyTorch's name)
    """The order of a tensor's dimensions in memory. Accepted wherever PyTorch takes it, and without effect.

    Args:
        name: its name in `nr`.
    """

    __slots__ = ()


strided = layout("strided")
contiguous_format, preserve_format = memory_format("contiguous_format"), memory_format("preserve_format")
legacy_contiguous_format = contiguous_format
channels_last, channels_last_3d = memory_format("channels_last"), memory_format("channels_last_3d")
