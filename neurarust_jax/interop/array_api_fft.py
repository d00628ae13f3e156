"""The array API's `fft` over tensors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import fft as _fft
from ..tensor import Tensor

__all__ = ["fft", "fftfreq", "fftn", "fftshift", "hfft", "ifft", "ifftn", "ifftshift", "ihfft", "irfft", "irfftn", "rfft", "rfftfreq", "rfftn"]


def _along_one(function: Callable) -> Callable:
    def transformed(x: Tensor, /, *, n: int | None = None, axis: int = -1, norm: str = "backward") -> Tensor:
        return function(x, n, axis, norm)

    transformed.__name__, transformed.__doc__ = function.__name__, function.__doc__
    return transformed


def _along_several(function: Callable) -> Callable:
    def transformed(x: Tensor, /, *, s: Any = None, axes: Any = None, norm: str = "backward") -> Tensor:
        return function(x, s, axes, norm)

    transformed.__name__, transformed.__doc__ = function.__name__, function.__doc__
    return transformed


fft, ifft, rfft, irfft, hfft, ihfft = (_along_one(getattr(_fft, name)) for name in ("fft", "ifft", "rfft", "irfft", "hfft", "ihfft"))
fftn, ifftn, rfftn, irfftn = (_along_several(getattr(_fft, name)) for name in ("fftn", "ifftn", "rfftn", "irfftn"))


def fftshift(x: Tensor, /, *, axes: Any = None) -> Tensor:
    """The zero frequency in the middle."""
    return _fft.fftshift(x, axes)


def ifftshift(x: Tensor, /, *, axes: Any = None) -> Tensor:
    """What `fftshift` did undone."""
    return _fft.ifftshift(x, axes)


def fftfreq(n: int, /, *, d: float = 1.0, dtype: Any = None, device: Any = None) -> Tensor:
    """The frequencies of `fft`."""
    return _fft.fftfreq(n, d, dtype=dtype, device=device)


def rfftfreq(n: int, /, *, d: float = 1.0, dtype: Any = None, device: Any = None) -> Tensor:
    """The frequencies of `rfft`."""
    return _fft.rfftfreq(n, d, dtype=dtype, device=device)
