"""`ImageDecoder`: encoded images, read by Pillow."""

from __future__ import annotations

import io

import numpy as np

from ...errors import ArgumentError, UnsupportedError
from ..registry import handler

_MODES = {"RGB": "RGB", "BGR": "RGB", "Grayscale": "L"}


@handler("ImageDecoder", since=20, static=("encoded",))
def image_decoder(node, encoded):
    pixel_format = node.get("pixel_format", "RGB")
    if pixel_format not in _MODES:
        raise ArgumentError(f"ImageDecoder: pixel_format is RGB, BGR or Grayscale, got {pixel_format!r}")
    try:
        from PIL import Image
    except ImportError:
        raise UnsupportedError("ImageDecoder reads images by Pillow, which is not installed; run: pip install pillow") from None
    try:
        with Image.open(io.BytesIO(encoded.tobytes())) as image:
            pixels = np.asarray(image.convert(_MODES[pixel_format]))
    except OSError as error:
        raise ArgumentError(f"ImageDecoder: the {encoded.size} bytes are no image that Pillow reads: {error}") from None
    if pixel_format == "Grayscale":
        return pixels[..., None].copy()
    return np.ascontiguousarray(pixels[..., ::-1] if pixel_format == "BGR" else pixels)
