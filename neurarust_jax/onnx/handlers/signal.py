"""Fourier transforms, windows and mel filters."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from ...errors import ArgumentError, ShapeError
from ..registry import handler
from ..tensors import numpy_dtype
from ..values import apply, shape_of


def _complex(x, double: bool):
    """(..., 1) or (..., 2) as the numbers whose parts stand in the last dimension; real ones stay real."""
    x = x.astype(np.float64 if double and jax.default_backend() == "cpu" else np.promote_types(x.dtype, np.float32))
    return x[..., 0] if x.shape[-1] == 1 else x[..., 0] + 1j * x[..., 1]


def _parts(x, dtype):
    return jnp.stack([x.real, x.imag], -1).astype(dtype)


def _dft(x, length: int | None, axis: int, inverse: bool, onesided: bool):
    signal = _complex(x, double=not inverse)  # as ONNX's expected values were computed, which must be met within 1e-7 even where they are 0
    if inverse and onesided:
        return jnp.fft.irfft(signal, length, axis)[..., None].astype(x.dtype)
    if inverse:
        return _parts(jnp.fft.ifft(signal, length, axis), x.dtype)
    if not onesided:
        return _parts(jnp.fft.fft(signal, length, axis), x.dtype)
    if jnp.iscomplexobj(signal):
        count = (signal.shape[axis] if length is None else length) // 2 + 1
        return _parts(jnp.take(jnp.fft.fft(signal, length, axis), np.arange(count), axis), x.dtype)
    return _parts(jnp.fft.rfft(signal, length, axis), x.dtype)


def _transformed(node, x, length, axis: int):
    shape = shape_of(x)
    if len(shape) < 2 or shape[-1] not in (1, 2):
        raise ShapeError(f"DFT: expected real and imaginary parts in a last dimension of length 1 or 2, got shape {shape}")
    axis %= len(shape)
    if axis == len(shape) - 1:
        raise ArgumentError(f"DFT: the last dimension of {shape} holds real and imaginary parts; axis is another one")
    length = None if length is None else int(length.reshape(()))
    return apply(_dft, x, length=length, axis=axis, inverse=bool(node.get("inverse", 0)), onesided=bool(node.get("onesided", 0)))


@handler("DFT", since=17, static=("length",))
def dft_by_attribute(node, x, length=None):
    return _transformed(node, x, length, node.get("axis", 1))


@handler("DFT", since=20, static=("length", "axis"))
def dft(node, x, length=None, axis=None):
    return _transformed(node, x, length, -2 if axis is None else int(axis.reshape(())))


def _stft(x, window, step: int, length: int, onesided: bool):
    signal = _complex(x, double=False)
    count = (signal.shape[1] - length) // step + 1
    frames = signal[:, np.arange(count)[:, None] * step + np.arange(length)]
    if window is not None:
        frames = frames * window.astype(signal.real.dtype)
    if onesided and not jnp.iscomplexobj(frames):
        return _parts(jnp.fft.rfft(frames), x.dtype)
    spectrum = jnp.fft.fft(frames)
    return _parts(spectrum[..., : length // 2 + 1] if onesided else spectrum, x.dtype)


@handler("STFT", since=17, static=("step", "length"))
def stft(node, x, step, window=None, length=None):
    shape = shape_of(x)
    default = shape[1] if window is None else shape_of(window)[0]
    frame = default if length is None else int(length.reshape(()))
    if window is not None and shape_of(window) != (frame,):
        raise ShapeError(f"STFT: expected a window of shape ({frame},), as frame_length says, got {shape_of(window)}")
    if frame > shape[1]:
        raise ShapeError(f"STFT: frames of {frame} do not fit into a signal of length {shape[1]}")
    return apply(_stft, x, window, step=int(step.reshape(())), length=frame, onesided=bool(node.get("onesided", 1)))


# --- windows ---------------------------------------------------------------------------------------------------------


def _window(node, size: np.ndarray, of_angle: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    length = int(size.reshape(()))
    period = length if node.get("periodic", 1) else length - 1
    values = of_angle(2 * np.pi * np.arange(length) / period) if period > 0 else np.ones(length)
    return values.astype(numpy_dtype(node.get("output_datatype", 1)))


@handler("HannWindow", since=17, static=("size",))
def hann_window(node, size):
    return _window(node, size, lambda angle: 0.5 - 0.5 * np.cos(angle))


@handler("HammingWindow", since=17, static=("size",))
def hamming_window(node, size):
    return _window(node, size, lambda angle: 25 / 46 - 21 / 46 * np.cos(angle))


@handler("BlackmanWindow", since=17, static=("size",))
def blackman_window(node, size):
    return _window(node, size, lambda angle: 0.42 - 0.5 * np.cos(angle) + 0.08 * np.cos(2 * angle))


@handler("MelWeightMatrix", since=17, static=("bins", "dft_length", "sample_rate", "lowest", "highest"))
def mel_weight_matrix(node, bins, dft_length, sample_rate, lowest, highest):
    bins, dft_length, sample_rate = (int(x.reshape(())) for x in (bins, dft_length, sample_rate))
    low, high = (2595 * np.log10(1 + float(x.reshape(())) / 700) for x in (lowest, highest))
    mels = low + np.arange(bins + 2) * ((high - low) / (bins + 2))
    edges = np.floor((dft_length + 1) * (700 * (10 ** (mels / 2595) - 1)) / sample_rate).astype(int)
    places, weights = np.arange(dft_length // 2 + 1), np.zeros((dft_length // 2 + 1, bins))
    for column, (left, center, right) in enumerate(zip(edges[:-2], edges[1:-1], edges[2:], strict=True)):
        rising = (places >= left) & (places <= center)
        falling = (places >= center) & (places < right)
        weights[rising, column] = (places[rising] - left) / max(center - left, 1) if center > left else 1
        weights[falling, column] = (right - places[falling]) / max(right - center, 1)
    return weights.astype(numpy_dtype(node.get("output_datatype", 1)))
