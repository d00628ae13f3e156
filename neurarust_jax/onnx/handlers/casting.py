"""Changes of the element type: `Cast`, `CastLike`, `BitCast`."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from ...errors import ArgumentError, UnsupportedError
from ..conversion import SMALL_INTEGERS, STRING, bit_width, convert, is_integer
from ..registry import handler
from ..tensors import numpy_dtype
from ..values import apply, dtype_of, is_strings, static_value

_NUMBERS_BY_NAME = {"FLOAT": 1, "UINT8": 2, "INT8": 3, "UINT16": 4, "INT16": 5, "INT32": 6, "INT64": 7, "STRING": 8, "BOOL": 9, "FLOAT16": 10, "DOUBLE": 11,
                    "UINT32": 12, "UINT64": 13, "COMPLEX64": 14, "COMPLEX128": 15, "BFLOAT16": 16}  # fmt: skip


def to_strings(x: np.ndarray) -> np.ndarray:
    """Each number as text: the shortest that gives the same number again."""
    if is_strings(x):
        return x
    if x.dtype.kind == "V":
        x = x.astype(np.int32 if x.dtype in SMALL_INTEGERS else np.float32)
    texts = np.empty(x.shape, STRING)
    texts.reshape(-1)[:] = [str(number) for number in x.reshape(-1)]
    return texts


def _number(text: Any, integer: bool) -> Any:
    if isinstance(text, bytes):
        text = text.decode()
    try:
        return int(text) if integer else float(text)
    except ValueError:
        if integer:
            return int(float(text))
        raise ArgumentError(f"Cast: {text!r} is not the text of a number") from None


def from_strings(x: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """The numbers that texts such as "3.14", "1e-5", "NaN" or "-INF" stand for."""
    if dtype.kind == "b":
        return np.array([str(text).strip().lower() not in ("", "0", "false") for text in x.reshape(-1)], bool).reshape(x.shape)
    integer = is_integer(dtype)
    numbers = np.array([_number(text, integer) for text in x.reshape(-1)], (np.int64 if dtype != np.uint64 else np.uint64) if integer else np.float64)
    return convert(numbers.reshape(x.shape), dtype)


def cast_to(x: Any, dtype: np.dtype, saturate: bool = True, round_mode: str = "up") -> Any:
    """A value with another element type, strings included."""
    if dtype == STRING:
        return x if is_strings(x) else to_strings(static_value(x, "Cast to strings"))
    return from_strings(x, dtype) if is_strings(x) else convert(x, dtype, saturate, round_mode)


@handler("Cast", since=1)
def cast_by_name(node, x):
    to = node.get("to")
    return cast_to(x, numpy_dtype(_NUMBERS_BY_NAME[to.upper()] if isinstance(to, str) else to))


@handler("Cast", since=6)
def cast(node, x):
    return cast_to(x, numpy_dtype(node.get("to")), bool(node.get("saturate", 1)), node.get("round_mode", "up"))


@handler("CastLike", since=15)
def cast_like(node, x, target):
    return cast_to(x, STRING if is_strings(target) else dtype_of(target), bool(node.get("saturate", 1)), node.get("round_mode", "up"))


# --- BitCast ---------------------------------------------------------------------------------------------------------


def _bit_cast(x, dtype: np.dtype):
    """The same bits as another type of the same width."""
    if x.dtype == bool:
        x = x.astype(np.uint8)
    return jax.lax.bitcast_convert_type(x, np.uint8) != 0 if dtype.kind == "b" else jax.lax.bitcast_convert_type(x, dtype)


@handler("BitCast", since=26)
def bit_cast(node, x):
    dtype = numpy_dtype(node.get("to"))
    if dtype == STRING or is_strings(x):
        raise UnsupportedError("BitCast: strings have no bits; write Cast")
    if bit_width(dtype) != bit_width(dtype_of(x)):
        raise ArgumentError(f"BitCast: expected types of one width, got {dtype_of(x)} ({bit_width(dtype_of(x))} bits) and {dtype} ({bit_width(dtype)} bits)")
    return np.ascontiguousarray(x).view(dtype).reshape(x.shape) if isinstance(x, np.ndarray) else apply(_bit_cast, x, dtype=dtype)
