"""Padding layers."""

from __future__ import annotations

from ..errors import ArgumentError
from ..ops.nn.sliding import Ints, tuple_of
from ..tensor import Tensor
from . import functional as F
from .module import Module

__all__ = [
    "CircularPad1d", "CircularPad2d", "CircularPad3d", "ConstantPad1d", "ConstantPad2d", "ConstantPad3d", "ReflectionPad1d", "ReflectionPad2d",
    "ReflectionPad3d", "ReplicationPad1d", "ReplicationPad2d", "ReplicationPad3d", "ZeroPad1d", "ZeroPad2d", "ZeroPad3d",
]  # fmt: skip


class _PadNd(Module):
    """What all padding layers share.

    Attributes:
        padding: (before, after) for each dimension, the last one first.
    """

    _dimensions: int
    _mode: str

    def __init__(self, padding: Ints):
        super().__init__()
        self.padding = tuple_of(padding, 2 * self._dimensions, "padding")

    def forward(self, input: Tensor) -> Tensor:
        return F.pad(input, self.padding, self._mode)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class _CircularPadNd(_PadNd):
    _mode = "circular"

    def forward(self, input: Tensor) -> Tensor:
        n = self._dimensions
        if input.dim() not in (n + 1, n + 2):
            raise ArgumentError(f"expected {n + 1}D or {n + 2}D input (got {input.dim()}D input)")
        return super().forward(input)


class _ConstantPadNd(_PadNd):
    def __init__(self, padding: Ints, value: float):
        super().__init__(padding)
        self.value = value

    def forward(self, input: Tensor) -> Tensor:
        return F.pad(input, self.padding, "constant", self.value)

    def extra_repr(self) -> str:
        return f"padding={self.padding}, value={self.value}"


class _ZeroPadNd(_ConstantPadNd):
    def __init__(self, padding: Ints):
        super().__init__(padding, 0.0)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class CircularPad1d(_CircularPadNd):
    r"""Adds at the ends of the last dimension the elements of the other end, so that the input repeats.

    Args:
        padding: a number for both ends, or (left, right). A number may not exceed the dimension's size. A negative one cuts.

    Shape:
        - Input: (N, C, W) or (C, W).
        - Output: (N, C, W + left + right).

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.nn.CircularPad1d((2, 1))(nr.arange(4.0).reshape(1, 4))
        tensor([[2., 3., 0., 1., 2., 3., 0.]])
    """

    _dimensions = 1


class CircularPad2d(_CircularPadNd):
    r"""Adds at the ends of the last two dimensions the elements of the other end, so that the input repeats.

    Args:
        padding: a number for all four ends, or (left, right, top, bottom). A number may not exceed the dimension's size. A negative one cuts.

    Shape:
        - Input: (N, C, H, W) or (C, H, W).
        - Output: (N, C, H + top + bottom, W + left + right).

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.nn.CircularPad2d((1, 0, 0, 1))(nr.arange(4.0).reshape(1, 2, 2))
        tensor([[[1., 0., 1.],
                 [3., 2., 3.],
                 [1., 0., 1.]]])
    """

    _dimensions = 2


class CircularPad3d(_CircularPadNd):
    r"""Adds at the ends of the last three dimensions the elements of the other end, so that the input repeats.

    Args:
        padding: a number for all six ends, or (left, right, top, bottom, front, back). A number may not exceed the dimension's size. A negative one cuts.

    Shape:
        - Input: (N, C, D, H, W) or (C, D, H, W).
        - Output: (N, C, D + front + back, H + top + bottom, W + left + right).

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.nn.CircularPad3d(1)(nr.randn(2, 1, 4, 5, 6)).shape
        neurarust_jax.Size([2, 1, 6, 7, 8])
    """

    _dimensions = 3


class ReflectionPad1d(_PadNd):
    r"""Adds at the ends of the last dimension the elements mirrored at the last one, which is not repeated.

    Args:
        padding: a number for both ends, or (left, right). A number must be less than the dimension's size. A negative one cuts.

    Shape:
        - Input: (N, C, W) or (C, W).
        - Output: (N, C, W + left + right).

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.nn.ReflectionPad1d((2, 1))(nr.arange(4.0).reshape(1, 4))
        tensor([[2., 1., 0., 1., 2., 3., 2.]])
    """

    _dimensions = 1
    _mode = "reflect"


class ReflectionPad2d(_PadNd):
    r"""Adds at the ends of the last two dimensions the elements mirrored at the last one, which is not repeated.

    Args:
        padding: a number for all four ends, or (left, right, top, bottom). A number must be less than the dimension's size. A negative one cuts.

    Shape:
        - Input: (N, C, H, W) or (C, H, W).
        - Output: (N, C, H + top + bottom, W + left + right).

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.nn.ReflectionPad2d((1, 0, 0, 1))(nr.arange(4.0).reshape(1, 2, 2))
        tensor([[[1., 0., 1.],
                 [3., 2., 3.],
                 [1., 0., 1.]]])
    """

    _dimensions = 2
    _mode = "reflect"


class ReflectionPad3d(_PadNd):
    r"""Adds at the ends of the last three dimensions the elements mirrored at the last one, which is not repeated.

    Args:
        padding: a number for all six ends, or (left, right, top, bottom, front, back). A number must be less than the dimension's size. A negative one cuts.

    Shape:
        - Input: (N, C, D, H, W) or (C, D, H, W).
        - Output: (N, C, D + front + back, H + top + bottom, W + left + right).

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.nn.ReflectionPad3d(1)(nr.randn(2, 1, 4, 5, 6)).shape
        neurarust_jax.Size([2, 1, 6, 7, 8])
    """

    _dimensions = 3
    _mode = "reflect"


class ReplicationPad1d(_PadNd):
    r"""Adds at the ends of the last dimension the last element.

    Args:
        padding: a number for both ends, or (left, right). A negative one cuts.

    Shape:
        - Input: (N, C, W) or (C, W).
        - Output: (N, C, W + left + right).

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.nn.ReplicationPad1d((2, 1))(nr.arange(4.0).reshape(1, 4))
        tensor([[0., 0., 0., 1., 2., 3., 3.]])
    """

    _dimensions = 1
    _mode = "replicate"


class ReplicationPad2d(_PadNd):
    r"""Adds at the ends of the last two dimensions the last element.

    Args:
        padding: a number for all four ends, or (left, right, top, bottom). A negative one cuts.

    Shape:
        - Input: (N, C, H, W) or (C, H, W).
        - Output: (N, C, H + top + bottom, W + left + right).

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.nn.ReplicationPad2d((1, 0, 0, 1))(nr.arange(4.0).reshape(1, 2, 2))
        tensor([[[0., 0., 1.],
                 [2., 2., 3.],
                 [2., 2., 3.]]])
    """

    _dimensions = 2
    _mode = "replicate"


class ReplicationPad3d(_PadNd):
    r"""Adds at the ends of the last three dimensions the last element.

    Args:
        padding: a number for all six ends, or (left, right, top, bottom, front, back). A negative one cuts.

    Shape:
        - Input: (N, C, D, H, W) or (C, D, H, W).
        - Output: (N, C, D + front + back, H + top + bottom, W + left + right).

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.nn.ReplicationPad3d(1)(nr.randn(2, 1, 4, 5, 6)).shape
        neurarust_jax.Size([2, 1, 6, 7, 8])
    """

    _dimensions = 3
    _mode = "replicate"


class ConstantPad1d(_ConstantPadNd):
    r"""Adds a constant at the ends of the last dimension.

    Args:
        padding: a number for both ends, or (left, right). A negative one cuts.
        value: the number.

    Shape:
        - Input: (\*, W).
        - Output: (\*, W + left + right).

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.nn.ConstantPad1d((2, -1), 3.5)(nr.tensor([[1.0, 2.0, 3.0]]))
        tensor([[3.5000, 3.5000, 1.0000, 2.0000]])
    """

    _dimensions = 1


class ConstantPad2d(_ConstantPadNd):
    r"""Adds a constant at the ends of the last two dimensions.

    Args:
        padding: a number for all four ends, or (left, right, top, bottom). A negative one cuts.
        value: the number.

    Shape:
        - Input: (\*, H, W).
        - Output: (\*, H + top + bottom, W + left + right).

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.nn.ConstantPad2d((1, 0, 0, 1), 3.5)(nr.tensor([[[1.0, 2.0]]]))
        tensor([[[3.5000, 1.0000, 2.0000],
                 [3.5000, 3.5000, 3.5000]]])
    """

    _dimensions = 2


class ConstantPad3d(_ConstantPadNd):
    r"""Adds a constant at the ends of the last three dimensions.

    Args:
        padding: a number for all six ends, or (left, right, top, bottom, front, back). A negative one cuts.
        value: the number.

    Shape:
        - Input: (\*, D, H, W).
        - Output: (\*, D + front + back, H + top + bottom, W + left + right).

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.nn.ConstantPad3d(1, 3.5)(nr.randn(2, 1, 4, 5, 6)).shape
        neurarust_jax.Size([2, 1, 6, 7, 8])
    """

    _dimensions = 3


class ZeroPad1d(_ZeroPadNd):
    r"""Adds zeros at the ends of the last dimension.

    Args:
        padding: a number for both ends, or (left, right). A negative one cuts.

    Shape:
        - Input: (\*, W).
        - Output: (\*, W + left + right).

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.nn.ZeroPad1d((2, -1))(nr.tensor([[1.0, 2.0, 3.0]]))
        tensor([[0., 0., 1., 2.]])
    """

    _dimensions = 1


class ZeroPad2d(_ZeroPadNd):
    r"""Adds zeros at the ends of the last two dimensions.

    Args:
        padding: a number for all four ends, or (left, right, top, bottom). A negative one cuts.

    Shape:
        - Input: (\*, H, W).
        - Output: (\*, H + top + bottom, W + left + right).

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.nn.ZeroPad2d((1, 0, 0, 1))(nr.tensor([[[1.0, 2.0]]]))
        tensor([[[0., 1., 2.],
                 [0., 0., 0.]]])
    """

    _dimensions = 2


class ZeroPad3d(_ZeroPadNd):
    r"""Adds zeros at the ends of the last three dimensions.

    Args:
        padding: a number for all six ends, or (left, right, top, bottom, front, back). A negative one cuts.

    Shape:
        - Input: (\*, D, H, W).
        - Output: (\*, D + front + back, H + top + bottom, W + left + right).

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.nn.ZeroPad3d(1)(nr.randn(2, 1, 4, 5, 6)).shape
        neurarust_jax.Size([2, 1, 6, 7, 8])
    """

    _dimensions = 3
