"""The short-time Fourier transform and its inverse."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np

from .. import dtypes
from ..dispatch import Array, op
from ..errors import ArgumentError, DtypeError, ShapeError
from ..tensor import attach
from .common import is_inexact, strong
from .shaping import view_as_real

__all__ = ["stft", "istft"]

_PAD_MODES = {"constant": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}


def _full_window(window: Array | None, n_fft: int, win_length: int, dtype) -> Array:
    """The window, all ones if none is given, with zeros around it to the length `n_fft`."""
    window = jnp.ones(win_length, dtype) if window is None else strong(window)
    before = (n_fft - win_length) // 2
    return jnp.pad(window, (before, n_fft - win_length - before))


def _check(function: str, x: Array, n_fft: int, hop_length: int, win_length: int, window: Array | None) -> None:
    if hop_length <= 0:
        raise ShapeError(f"{function}: expected hop_length > 0, but got hop_length={hop_length}")
    if not 0 < win_length <= n_fft:
        raise ShapeError(f"{function}: expected 0 < win_length <= n_fft, but got win_length={win_length} and n_fft={n_fft}")
    if window is not None and window.shape != (win_length,):
        raise ShapeError(
            f"{function}: expected a 1D window tensor of size equal to win_length={win_length}, but got window with size {tuple(window.shape)}; "
            f"write win_length={window.shape[0] if window.ndim else 1}"
        )


@op(name="stft", method=False)
def _stft(
    input: Array, n_fft: int, hop_length: int, win_length: int, window: Array | None, center: bool, pad_mode: str, normalized: bool, onesided: bool,
    align_to_window: bool,
) -> Array:  # fmt: skip
    """The short-time Fourier transform, complex."""
    x = strong(input)
    _check("stft", x, n_fft, hop_length, win_length, window)
    if not is_inexact(x):
        raise DtypeError(f"stft: expected a tensor of floating point or complex values, got {dtypes.from_numpy(x.dtype)}; write x.float()")
    if x.ndim not in (1, 2):
        raise ShapeError(f"stft: expected a 1D or 2D tensor, but got {x.ndim}D tensor of shape {tuple(x.shape)}")
    signal = x if x.ndim == 2 else x[None]
    padding = n_fft // 2 if center else (n_fft - win_length) // 2 if align_to_window else 0
    if padding:
        if pad_mode not in _PAD_MODES:
            raise ArgumentError(f"stft: unrecognised padding mode {pad_mode!r}; expected one of {', '.join(_PAD_MODES)}")
        if padding >= signal.shape[1] and pad_mode == "reflect":
            raise ShapeError(
                f"stft: Padding size should be less than the corresponding input dimension, but got: padding ({padding}, {padding}) of input {tuple(x.shape)}; "
                "write pad_mode='constant'"
            )
        signal = jnp.pad(signal, ((0, 0), (padding, padding)), mode=_PAD_MODES[pad_mode])
    length = signal.shape[1]
    if not 0 < n_fft <= length:
        raise ShapeError(f"stft: expected 0 < n_fft <= {length}, but got n_fft={n_fft}")
    frames = 1 + (length - n_fft) // hop_length
    places = np.arange(frames)[:, None] * hop_length + np.arange(n_fft)
    pieces = signal[:, places] * _full_window(window, n_fft, win_length, jnp.real(x).dtype)
    spectrum = jnp.fft.rfft(pieces, axis=-1) if onesided else jnp.fft.fft(pieces, axis=-1)
    spectrum = jnp.swapaxes(spectrum, 1, 2) * jnp.asarray(n_fft**-0.5 if normalized else 1, jnp.real(x).dtype)
    return spectrum if x.ndim == 2 else spectrum[0]


def stft(
    input, n_fft: int, hop_length: int | None = None, win_length: int | None = None, window=None, center: bool = True, pad_mode: str = "reflect",
    normalized: bool = False, onesided: bool | None = None, return_complex: bool | None = None, align_to_window: bool | None = None,
):  # fmt: skip
    """The short-time Fourier transform: the spectra of overlapping pieces of a signal.

    Args:
        input: a signal, or a batch of signals as rows; real or complex.
        n_fft: the length of the pieces.
        hop_length: the distance between pieces. Default: ``n_fft // 4``.
        win_length: the length of the window, at most `n_fft`; zeros around it fill it up. Default: `n_fft`.
        window: what every piece is multiplied by, a 1-d tensor of length `win_length`. Default: ones.
        center: pad the signal on both sides, so that piece `t` is centered on element ``t * hop_length``; otherwise it begins there.
        pad_mode: `"reflect"`, `"constant"`, `"replicate"` or `"circular"`.
        normalized: divide by ``sqrt(n_fft)``.
        onesided: return only the first ``n_fft // 2 + 1`` frequencies, of which the others are the conjugates. Default: for real signals and windows.
        return_complex: must be given for real signals: a complex result, or real and imaginary parts along a last dimension of 2.
        align_to_window: without `center`, let the window rather than the piece begin at the first element.

    Returns:
        A tensor of shape ``(batch, frequencies, pieces)``, without the batch if `input` has none.

    Raises:
        RuntimeError: the lengths do not fit, or `return_complex` is missing.
    """
    complex_input = input.is_complex() or (window is not None and window.is_complex())
    if return_complex is None:
        if not complex_input:
            raise DtypeError("stft requires the return_complex parameter be given for real inputs; write return_complex=True")
        return_complex = True
    if align_to_window is not None and center:
        raise ShapeError("stft: align_to_window should only be set when center = false")
    if onesided and complex_input:
        raise DtypeError("Cannot have onesided output if window or input is complex; write onesided=False")
    hop_length, win_length = n_fft // 4 if hop_length is None else hop_length, n_fft if win_length is None else win_length
    onesided = not complex_input if onesided is None else onesided
    spectrum = _stft(input, n_fft, hop_length, win_length, window, center, pad_mode, normalized, onesided, bool(align_to_window))
    return spectrum if return_complex else view_as_real(spectrum)


def _overlap(pieces: Array, hop_length: int) -> Array:
    """The sum of pieces, of shape (batch, number, length), laid at their places one after the other."""
    batch, frames, length = pieces.shape
    places = np.arange(frames)[:, None] * hop_length + np.arange(length)
    total = jnp.zeros((batch, length + hop_length * (frames - 1)), pieces.dtype)
    return total.at[:, places].add(pieces)


@op(name="istft", method=False)
def _istft(
    input: Array, n_fft: int, hop_length: int, win_length: int, window: Array | None, center: bool, normalized: bool, length: int | None,
    return_complex: bool,
) -> Array:  # fmt: skip
    """The inverse of the short-time Fourier transform, without a check of the window."""
    x = strong(input)
    spectrum = x if x.ndim == 3 else x[None]
    real = jnp.real(x).dtype
    pieces = jnp.swapaxes(spectrum, 1, 2) * jnp.asarray(n_fft**0.5 if normalized else 1, real)
    half = pieces[..., : n_fft // 2 + 1]  # enough for a real signal
    pieces = jnp.fft.ifft(pieces, axis=-1) if return_complex else jnp.fft.irfft(half, n_fft, axis=-1)
    full = _full_window(window, n_fft, win_length, real)
    frames = pieces.shape[1]
    signal = _overlap(pieces * full, hop_length)
    envelope = _overlap(jnp.broadcast_to(full * full, (1, frames, n_fft)), hop_length)
    start, end = _part(n_fft, hop_length, frames, center, length)
    signal = signal[:, start:end] / envelope[:, start:end]
    if length is not None and signal.shape[1] < length:
        signal = jnp.pad(signal, ((0, 0), (0, length - signal.shape[1])))
    return signal if x.ndim == 3 else signal[0]


def _part(n_fft: int, hop_length: int, frames: int, center: bool, length: int | None) -> tuple[int, int]:
    """From where to where the signal is the result."""
    whole = n_fft + hop_length * (frames - 1)
    start = n_fft // 2 if center else 0
    if length is not None:
        return start, min(start + length, whole)
    return start, whole - n_fft // 2 if center else whole


def _check_overlap(window, n_fft: int, hop_length: int, win_length: int, frames: int, center: bool, length: int | None) -> None:
    """Raise if somewhere in the result no window lies, and warn if the result ends before `length`. A window without values yet is taken as good."""
    start, end = _part(n_fft, hop_length, frames, center, length)
    value = np.ones(win_length) if window is None else window._value
    if not isinstance(value, jax.core.Tracer):
        before = (n_fft - win_length) // 2
        squares = np.pad(np.asarray(value), (before, n_fft - win_length - before)) ** 2
        envelope = np.zeros(n_fft + hop_length * (frames - 1), squares.dtype)
        for frame in range(frames):
            envelope[frame * hop_length : frame * hop_length + n_fft] += squares
        if end > start and np.abs(envelope[start:end]).min() < 1e-11:
            raise ShapeError(
                f"istft: window overlap add min: {np.abs(envelope[start:end]).min()}: somewhere in the result the window is 0, so that nothing is known of "
                "the signal; write center=True, a shorter hop_length, or another window"
            )
    if length is not None and start + length > end:
        warnings.warn("The length of signal is shorter than the length parameter. Result is being padded with zeros in the tail.", stacklevel=3)


def istft(
    input, n_fft: int, hop_length: int | None = None, win_length: int | None = None, window=None, center: bool = True, normalized: bool = False,
    onesided: bool | None = None, length: int | None = None, return_complex: bool = False,
):  # fmt: skip
    """The inverse of `stft`: the signal whose pieces have these spectra, by least squares.

    Args:
        input: a complex tensor of shape ``(frequencies, pieces)`` or ``(batch, frequencies, pieces)``.
        n_fft, hop_length, win_length, window, center, normalized: as given to `stft`.
        onesided: `input` holds the first ``n_fft // 2 + 1`` frequencies. Default: if it has so many.
        length: cut or fill up the signal with zeros to this length.
        return_complex: the signal is complex.

    Returns:
        A tensor of shape ``(length,)`` or ``(batch, length)``.

    Raises:
        RuntimeError: the shapes do not fit, or the windows leave a gap.
    """
    hop_length, win_length = n_fft // 4 if hop_length is None else hop_length, n_fft if win_length is None else win_length
    if not input.is_complex():
        raise DtypeError("istft requires a complex-valued input tensor matching the output from stft with return_complex=True.")
    if input.numel() == 0:
        raise ShapeError(f"istft: input tensor cannot be empty, got shape {tuple(input.shape)}")
    if input.dim() not in (2, 3):
        raise ShapeError(f"istft: expected a tensor with 2 or 3 dimensions, but got {input.dim()} of shape {tuple(input.shape)}")
    if not 0 < hop_length <= win_length:
        raise ShapeError(f"istft: expected 0 < hop_length <= win_length, but got hop_length={hop_length} and win_length={win_length}")
    _check("istft", input, n_fft, hop_length, win_length, window)
    frequencies, frames = input.shape[-2:]
    onesided = frequencies != n_fft if onesided is None else onesided
    expected = n_fft // 2 + 1 if onesided else n_fft
    if frequencies != expected:
        raise ShapeError(f"istft: expected the frequency dimension to have {expected} elements when onesided={onesided}, but got {frequencies}")
    if return_complex and onesided:
        raise DtypeError("Cannot have onesided output if window or input is complex; write onesided=False")
    if not return_complex and window is not None and window.is_complex():
        raise DtypeError("Complex windows are incompatible with return_complex=False")
    _check_overlap(window, n_fft, hop_length, win_length, frames, center, length)
    return _istft(input, n_fft, hop_length, win_length, window, center, normalized, length, return_complex)


attach("stft", stft)
attach("istft", istft)
