"""Window functions for spectral analysis: the older `nr.hann_window` and its kin, and those of `nr.signal.windows`."""

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from .. import dtypes
from ..errors import ArgumentError, ArgumentTypeError, ShapeError
from ..tensor import Tensor, array_from, wrap
from .creation import finish

__all__ = ["hann_window", "hamming_window", "blackman_window", "bartlett_window", "kaiser_window"]
NAMESPACE = ["bartlett", "blackman", "cosine", "exponential", "gaussian", "general_cosine", "general_hamming", "hamming", "hann", "kaiser", "nuttall"]

# --- nr.hann_window and its kin ------------------------------------------------------------------------------------


def _window(name: str, length: int, shape: Any, periodic: bool, dtype: Any, device: Any, requires_grad: bool) -> Tensor:
    """The window whose elements are `shape` of (0 ... size - 1, size - 1); a periodic one lacks the last element of a symmetric one."""
    chosen = dtypes.as_dtype(dtype or dtypes.get_default_dtype())
    if not chosen.is_floating_point:
        raise ShapeError(f"{name} expects floating point dtypes, got: {chosen}")
    if length < 0:
        raise ShapeError(f"{name} requires non-negative window_length, got window_length={length}")
    size = length + 1 if periodic else length
    values = np.ones(length) if length <= 1 else shape(np.arange(length, dtype=np.float64), size - 1)
    return finish(wrap(array_from(values, chosen)), device, requires_grad)


def hann_window(
    window_length: int, periodic: bool = True, *, dtype: Any = None, layout: Any = None, device: Any = None, pin_memory: bool = False,
    requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """The Hann window, ``0.5 - 0.5 cos(2 pi k / (N - 1))``.

    Args:
        window_length: the number of elements.
        periodic: for spectra: of the symmetric window that is longer by one (``N = window_length + 1``), without the last element. Otherwise symmetric.
        dtype: a floating-point dtype. Default: the default dtype.
        layout, pin_memory: accepted and without effect.
        device: where to put the result.
        requires_grad: whether gradients are accumulated in `.grad`.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.hann_window(4)
        tensor([0.0000, 0.5000, 1.0000, 0.5000])
    """
    return _window("hann_window", window_length, lambda k, n: 0.5 - 0.5 * np.cos(2 * np.pi * k / n), periodic, dtype, device, requires_grad)


def hamming_window(
    window_length: int, periodic: bool = True, alpha: float = 0.54, beta: float = 0.46, *, dtype: Any = None, layout: Any = None, device: Any = None,
    pin_memory: bool = False, requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """The Hamming window, ``alpha - beta cos(2 pi k / (N - 1))``. See `hann_window`."""
    return _window("hamming_window", window_length, lambda k, n: alpha - beta * np.cos(2 * np.pi * k / n), periodic, dtype, device, requires_grad)


def blackman_window(
    window_length: int, periodic: bool = True, *, dtype: Any = None, layout: Any = None, device: Any = None, pin_memory: bool = False,
    requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """The Blackman window, ``0.42 - 0.5 cos(2 pi k / (N - 1)) + 0.08 cos(4 pi k / (N - 1))``. See `hann_window`."""

    def shape(k, n):
        return 0.42 - 0.5 * np.cos(2 * np.pi * k / n) + 0.08 * np.cos(4 * np.pi * k / n)

    return _window("blackman_window", window_length, shape, periodic, dtype, device, requires_grad)


def bartlett_window(
    window_length: int, periodic: bool = True, *, dtype: Any = None, layout: Any = None, device: Any = None, pin_memory: bool = False,
    requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """The Bartlett window, a triangle from 0 over 1 to 0. See `hann_window`."""
    return _window("bartlett_window", window_length, lambda k, n: 1 - np.abs(2 * k / n - 1), periodic, dtype, device, requires_grad)


def kaiser_window(
    window_length: int, periodic: bool = True, beta: float = 12.0, *, dtype: Any = None, layout: Any = None, device: Any = None, pin_memory: bool = False,
    requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """The Kaiser window of shape `beta`, ``I0(beta sqrt(1 - (2 k / (N - 1) - 1) ** 2)) / I0(beta)``. See `hann_window`."""

    def shape(k, n):
        return np.i0(beta * np.sqrt(np.maximum(1 - (2 * k / n - 1) ** 2, 0))) / np.i0(beta)

    return _window("kaiser_window", window_length, shape, periodic, dtype, device, requires_grad)


# --- nr.signal.windows ---------------------------------------------------------------------------------------------


def _signal_window(name: str, M: int, shape: Any, sym: bool, dtype: Any, layout: Any, device: Any, requires_grad: bool) -> Tensor:
    """The window whose elements are `shape` of (0 ... M - 1, the last place of the symmetric window)."""
    if layout is not None and str(layout).rpartition(".")[2] != "strided":
        raise ArgumentError(f"{name} is implemented for strided tensors only, got: {layout}")
    chosen = dtypes.as_dtype(dtype or dtypes.get_default_dtype())
    if chosen not in (dtypes.float32, dtypes.float64):
        raise ArgumentError(f"{name} expects float32 or float64 dtypes, got: {chosen}")
    if M < 0:
        raise ArgumentError(f"{name} requires non-negative window length, got M={M}")
    values = np.ones(M) if M <= 1 else shape(np.arange(M, dtype=np.float64), M - 1 if sym else M)
    return finish(wrap(array_from(values, chosen)), device, requires_grad)


def general_cosine(M: int, *, a: Iterable, sym: bool = True, dtype: Any = None, layout: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """A sum of cosines, ``a[0] - a[1] cos(2 pi k / (M - 1)) + a[2] cos(4 pi k / (M - 1)) - ...``.

    Args:
        M: the number of elements.
        a: the coefficients.
        sym: the symmetric window; otherwise the periodic one, for spectra, which is that of ``M + 1`` without the last element.
        dtype: float32 or float64. Default: the default dtype.
        layout: `nr.strided`, the only one, or `None`.
        device: where to put the result.
        requires_grad: whether gradients are accumulated in `.grad`.

    Raises:
        ValueError: `M` is negative, the dtype is neither, or there are no coefficients.
        TypeError: `a` is no list.
    """
    if isinstance(a, str) or not isinstance(a, Iterable):
        raise ArgumentTypeError(f"Coefficients must be a list/tuple of numbers, got {a!r}")
    coefficients = [float(c) for c in a]
    if not coefficients:
        raise ArgumentError("Coefficients cannot be empty")

    def shape(k, n):
        return sum((-1) ** i * c * np.cos(2 * np.pi * i * k / n) for i, c in enumerate(coefficients))

    return _signal_window("general_cosine", M, shape, sym, dtype, layout, device, requires_grad)


def general_hamming(
    M: int, *, alpha: float = 0.54, sym: bool = True, dtype: Any = None, layout: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """The window ``alpha - (1 - alpha) cos(2 pi k / (M - 1))``. See `general_cosine`."""
    return general_cosine(M, a=[alpha, 1.0 - alpha], sym=sym, dtype=dtype, layout=layout, device=device, requires_grad=requires_grad)


def hamming(M: int, *, sym: bool = True, dtype: Any = None, layout: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """The Hamming window. See `general_hamming`."""
    return general_hamming(M, sym=sym, dtype=dtype, layout=layout, device=device, requires_grad=requires_grad)


def hann(M: int, *, sym: bool = True, dtype: Any = None, layout: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """The Hann window. See `general_hamming`."""
    return general_hamming(M, alpha=0.5, sym=sym, dtype=dtype, layout=layout, device=device, requires_grad=requires_grad)


def blackman(M: int, *, sym: bool = True, dtype: Any = None, layout: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """The Blackman window. See `general_cosine`."""
    return general_cosine(M, a=[0.42, 0.5, 0.08], sym=sym, dtype=dtype, layout=layout, device=device, requires_grad=requires_grad)


def nuttall(M: int, *, sym: bool = True, dtype: Any = None, layout: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Nuttall's minimal window of four terms. See `general_cosine`."""
    return general_cosine(M, a=[0.3635819, 0.4891775, 0.1365995, 0.0106411], sym=sym, dtype=dtype, layout=layout, device=device, requires_grad=requires_grad)


def bartlett(M: int, *, sym: bool = True, dtype: Any = None, layout: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """The Bartlett window, a triangle from 0 over 1 to 0. See `general_cosine`."""
    return _signal_window("bartlett", M, lambda k, n: 1 - np.abs(2 * k / n - 1), sym, dtype, layout, device, requires_grad)


def cosine(M: int, *, sym: bool = True, dtype: Any = None, layout: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """The sine window, ``sin(pi (k + 0.5) / M)``. See `general_cosine`."""
    return _signal_window("cosine", M, lambda k, n: np.sin(np.pi * (k + 0.5) / (n + 1)), sym, dtype, layout, device, requires_grad)


def exponential(
    M: int, *, center: float | None = None, tau: float = 1.0, sym: bool = True, dtype: Any = None, layout: Any = None, device: Any = None,
    requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """The exponential window, ``exp(-|k - center| / tau)``.

    Args:
        M: the number of elements.
        center: where the window is 1; for a symmetric one `None`, the middle.
        tau: how fast it decays, in elements.
        sym, dtype, layout, device, requires_grad: as in `general_cosine`.

    Raises:
        ValueError: `tau` is not positive, or a symmetric window has a `center`.
    """
    if tau <= 0:
        raise ArgumentError(f"Tau must be positive, got: {tau} instead.")
    if sym and center is not None:
        raise ArgumentError("Center must be None for symmetric windows")
    return _signal_window("exponential", M, lambda k, n: np.exp(-np.abs(k - (n / 2 if center is None else center)) / tau), sym, dtype, layout, device, requires_grad)


def gaussian(M: int, *, std: float = 1.0, sym: bool = True, dtype: Any = None, layout: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """The Gaussian window of standard deviation `std`, in elements. See `general_cosine`."""
    if std <= 0:
        raise ArgumentError(f"Standard deviation must be positive, got: {std} instead.")
    return _signal_window("gaussian", M, lambda k, n: np.exp(-(((k - n / 2) / (std * math.sqrt(2))) ** 2)), sym, dtype, layout, device, requires_grad)


def kaiser(M: int, *, beta: float = 12.0, sym: bool = True, dtype: Any = None, layout: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """The Kaiser window of shape `beta`. See `general_cosine`."""
    if beta < 0:
        raise ArgumentError(f"beta must be non-negative, got: {beta} instead.")

    def shape(k, n):
        return np.i0(beta * np.sqrt(np.maximum(1 - (2 * k / n - 1) ** 2, 0))) / np.i0(beta)

    return _signal_window("kaiser", M, shape, sym, dtype, layout, device, requires_grad)
