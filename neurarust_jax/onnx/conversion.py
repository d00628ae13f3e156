"""Exact conversions between ONNX's element types: what `Cast` and the quantizing operators share.

Integers of 4 and 2 bits, 4-bit floats and float8_e8m0fnu live in tensors although `nr` has no names for them. XLA lacks 6-bit floats, which can only be known values.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np

from ..errors import ArgumentError, UnsupportedError
from ..tensor import Tensor
from .values import apply

STRING = np.dtype(object)
SMALL_INTEGERS = {np.dtype(t) for t in (ml_dtypes.uint4, ml_dtypes.int4, ml_dtypes.uint2, ml_dtypes.int2)}
_FLOAT8 = {np.dtype(t) for t in (ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e4m3fnuz, ml_dtypes.float8_e5m2, ml_dtypes.float8_e5m2fnuz)}
_FLOAT6 = {np.dtype(t) for t in (ml_dtypes.float6_e2m3fn, ml_dtypes.float6_e3m2fn)}
_E8M0 = np.dtype(ml_dtypes.float8_e8m0fnu)


def is_integer(dtype: Any) -> bool:
    """Whether a dtype holds integers, those of 4 and 2 bits among them."""
    return np.dtype(dtype).kind in "iu" or dtype in SMALL_INTEGERS


def bit_width(dtype: Any) -> int:
    """Bits of one element, which may be fewer than it takes in memory."""
    dtype = np.dtype(dtype)
    if dtype.kind in "biufc":
        return 8 * dtype.itemsize
    return ml_dtypes.iinfo(dtype).bits if dtype in SMALL_INTEGERS else ml_dtypes.finfo(dtype).bits


def _to_e8m0(x: Any, saturate: bool, round_mode: str, lib: Any) -> Any:
    """The powers of two next to positive floats, by their bits: the exponent, one more where the mantissa is rounded up."""
    x = x.astype(np.float32)
    bits = x.view(np.uint32) if lib is np else jax.lax.bitcast_convert_type(x, np.uint32)
    exponent, mantissa = (bits >> 23) & 0xFF, bits & 0x7FFFFF
    if round_mode == "up":
        raised = mantissa > 0
    elif round_mode == "nearest":  # half a unit goes up, but below the least power, whose neighbour is as near
        raised = (mantissa > 0x400000) | ((mantissa == 0x400000) & (exponent > 0))
    elif round_mode == "down":
        raised = mantissa < 0
    else:
        raise ArgumentError(f"round_mode is 'up', 'down' or 'nearest', got {round_mode!r}")
    raised = raised & (exponent < (0xFE if saturate else 0xFF))
    exponent = (exponent + raised).astype(np.uint8)
    return exponent.view(_E8M0) if lib is np else jax.lax.bitcast_convert_type(exponent, _E8M0)


def converted(x: Any, dtype: Any, saturate: bool = True, round_mode: str = "up") -> Any:
    """A NumPy or JAX array of another numeric type, by ONNX's rules for `Cast`.

    Args:
        x: the array.
        dtype: the type wanted.
        saturate: whether what does not fit into 8 bits becomes the greatest value, rather than infinite or NaN.
        round_mode: for float8_e8m0fnu: `"up"`, `"down"` or `"nearest"`.
    """
    lib = np if isinstance(x, np.ndarray) else jnp
    if x.dtype == dtype:
        return x
    if x.dtype.kind == "c" and dtype.kind != "c":
        x = x.real
    if dtype.kind == "b":
        return x != 0
    if dtype == _E8M0:
        return _to_e8m0(x, saturate, round_mode, lib)
    with np.errstate(invalid="ignore", over="ignore"):
        if dtype in _FLOAT8 and saturate:
            wide = x if x.dtype in (np.float32, np.float64) else x.astype(np.float32)
            limit = float(ml_dtypes.finfo(dtype).max)
            return lib.clip(wide, -limit, limit).astype(dtype)
        if dtype in SMALL_INTEGERS and not is_integer(x.dtype):
            x = x.astype(np.int32)  # so that higher bits are cut off, where XLA would saturate
        return x.astype(dtype)


def convert(x: Any, dtype: Any, saturate: bool = True, round_mode: str = "up") -> Any:
    """A tensor or known value with another numeric type; see `converted`. A known value stays one."""
    dtype = np.dtype(dtype)
    if not isinstance(x, Tensor):
        return np.asarray(converted(np.asarray(x), dtype, saturate, round_mode))
    if x._value.dtype == dtype:
        return x
    if dtype in _FLOAT6:
        raise UnsupportedError(f"XLA has no {dtype}: what is converted to it must be known while the model is traced")
    return apply(converted, x, dtype=dtype, saturate=bool(saturate), round_mode=round_mode)
