"""What `Tensor` answers to the array API and to NumPy's universal functions. The namespace itself is imported when it is asked for."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import ArgumentError
from ..tensor import Tensor, array_from, attach, wrap

VERSIONS = ("2021.12", "2022.12", "2023.12", "2024.12")


def _array_namespace(self: Tensor, *, api_version: str | None = None) -> Any:
    """The functions of the array API standard over tensors.

    Args:
        api_version: the version wanted; the newest is 2024.12.

    Raises:
        ValueError: there is no such version here.
    """
    if api_version is not None and api_version not in VERSIONS:
        raise ArgumentError(f"array API {api_version!r} is not here; there are {', '.join(VERSIONS)}")
    from . import array_api

    return array_api


def _to_device(self: Tensor, device: Any, /, *, stream: Any = None) -> Tensor:
    """The tensor on a device, by the array API's name."""
    return self.to(device=device)


def _array_wrap(self: Tensor, array: Any, context: Any = None, return_scalar: bool = False) -> Tensor:
    """What a universal function of NumPy computed from the tensor, as a tensor; truth values become `uint8`, as in PyTorch."""
    array = np.asarray(array)
    return wrap(array_from(array.astype(np.uint8) if array.dtype == bool else array))


attach("__array_namespace__", _array_namespace)
attach("__array_wrap__", _array_wrap)
attach("to_device", _to_device)
