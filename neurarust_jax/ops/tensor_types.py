"""PyTorch's classes of tensors by dtype, `FloatTensor` and its kin: the older way to make a tensor, to ask for its dtype, and to name one."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import dtypes
from ..dtypes import dtype as Dtype
from ..errors import ArgumentTypeError
from ..tensor import Size, Tensor
from .conversion import LEGACY_TYPES
from .creation import tensor, zeros

__all__ = [f"{_name}Tensor" for _name in LEGACY_TYPES]


class TensorType(type):
    """The class of such classes: an instance of one is any tensor of its dtype."""

    dtype: Dtype
    device: str | None = None  # of a class under `nr.cuda`

    def __instancecheck__(cls, instance: Any) -> bool:
        return isinstance(instance, Tensor) and instance.dtype == cls.dtype and cls.device in (None, instance.device.type)

    def __call__(cls, *data: Any, device: Any = None) -> Tensor:
        device = cls.device if device is None else device
        if all(isinstance(length, int) and not isinstance(length, bool) for length in data):
            return zeros(data or (0,), dtype=cls.dtype, device=device)
        (content,) = data if len(data) == 1 else (None,)
        if isinstance(content, Size):
            return zeros(content, dtype=cls.dtype, device=device)
        if isinstance(content, Tensor) and content.dtype != cls.dtype:
            raise ArgumentTypeError(f"{cls.__name__} takes a tensor of dtype {cls.dtype}, got {content.dtype}; write x.to(nr.{cls.dtype.name})")
        if isinstance(content, Tensor):
            return content.detach() if device is None else content.detach().to(device)
        if isinstance(content, str) or not (isinstance(content, np.ndarray) and content.ndim or hasattr(type(content), "__len__") and hasattr(type(content), "__getitem__")):
            raise ArgumentTypeError(f"{cls.__name__}: data must be a sequence, an array, a tensor, or lengths as ints, got {', '.join(map(repr, data))}")
        return tensor(content, dtype=cls.dtype, device=device)


def tensor_type(name: str, dtype: Dtype, device: str | None = None) -> TensorType:
    """The class for a dtype, of tensors on one kind of device or on any."""
    doc = f"""Tensors of {dtype.name}. ``nr.tensor(data, dtype=nr.{dtype.name})`` is the newer way to make one.

    Args:
        *data: a sequence, an array or a tensor; or lengths, for a tensor of zeros.
        device: where to put it.

    Examples:
        >>> import neurarust_jax as nr
        >>> x = nr.{name}([1, 0])
        >>> isinstance(x, nr.{name}), nr.zeros(2).type(nr.{name}).dtype == x.dtype
        (True, True)
    """
    return TensorType(name, (), {"dtype": dtype, "device": device, "__doc__": doc, "__module__": f"neurarust_jax{'' if device is None else f'.{device}'}"})


for _name, _of in LEGACY_TYPES.items():
    globals()[f"{_name}Tensor"] = tensor_type(f"{_name}Tensor", dtypes.as_dtype(_of))
