"""`nr.signal`: signal processing. The short-time Fourier transform is `nr.stft`."""

from . import windows

__all__ = ["windows"]
