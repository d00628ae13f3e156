"""Quantized numbers: `QuantizeLinear`, `DequantizeLinear` and the products over integers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import ml_dtypes
import numpy as np
from jax import Array, lax

from ...errors import ArgumentError, ShapeError
from ..conversion import bit_width, converted, is_integer
from ..registry import handler
from ..tensors import numpy_dtype
from ..values import apply, dtype_of, shape_of


def _spread(factor: Array, shape: Sequence[int], axis: int, block_size: int, what: str) -> Array:
    """A scale or zero point in a shape that broadcasts against the quantized tensor: one for all, one along `axis`, or one a block along it."""
    if factor.size == 1 and factor.ndim <= 1:
        return factor.reshape(())
    if not -len(shape) <= axis < len(shape):
        raise ShapeError(f"{what}: axis {axis} is out of range for shape {tuple(shape)}")
    axis %= len(shape)
    if block_size:
        if factor.ndim != len(shape) or factor.shape[axis] != math.ceil(shape[axis] / block_size):
            raise ShapeError(f"{what}: blocks of {block_size} along dimension {axis} of shape {tuple(shape)} do not go with a scale of shape {factor.shape}")
        return lax.slice_in_dim(jnp.repeat(factor, block_size, axis), 0, shape[axis], axis=axis)
    if factor.ndim != 1 or factor.shape[0] != shape[axis]:
        raise ShapeError(f"{what}: expected one scale, or {shape[axis]} of them for dimension {axis} of shape {tuple(shape)}, got shape {factor.shape}")
    return factor.reshape([-1 if i == axis else 1 for i in range(len(shape))])


def _limits(dtype: np.dtype) -> tuple[int, int]:
    info = ml_dtypes.iinfo(dtype)
    return int(info.min), int(info.max)


def _rounded(x: Array, zero_point: Array | None, dtype: np.dtype) -> Array:
    """Floats rounded to even, shifted by the zero point, saturated."""
    x = x.astype(np.float32) if x.dtype.itemsize < 4 else x
    low, high = _limits(dtype)
    shifted = jnp.rint(x) if zero_point is None else jnp.rint(x) + zero_point.astype(np.int32).astype(x.dtype)
    return jnp.clip(shifted, low, high).astype(np.int32).astype(dtype)


def _wide(x: Array) -> Array:
    """An integer or a low-precision float as int32 or float32."""
    return x.astype(np.int32) if is_integer(np.dtype(x.dtype)) and x.dtype.itemsize < 4 else x


def _quotient(x: Array, scale: Array) -> Array:
    """The exactly rounded x / scale, which decides ties; XLA would multiply by the reciprocal of a scale that is broadcast."""
    return x / lax.optimization_barrier(jnp.broadcast_to(scale, x.shape))


def _quantize(x: Array, scale: Array, zero_point: Array | None, dtype: Any, axis: int, block_size: int, saturate: bool, precision: Any) -> Array:
    """The nearest quantized number to x / scale + zero_point."""
    scale = _spread(scale, x.shape, axis, block_size, "QuantizeLinear")
    if zero_point is not None:
        zero_point = _spread(zero_point, x.shape, axis, block_size, "QuantizeLinear")
    if precision is None:
        precision = np.dtype(np.float32) if is_integer(np.dtype(x.dtype)) else x.dtype
        scale = scale.astype(precision) if not is_integer(np.dtype(scale.dtype)) or precision == np.float32 else scale
    quotient = _quotient(x.astype(precision), scale.astype(precision))
    if is_integer(dtype):
        return _rounded(quotient, zero_point, dtype)
    if zero_point is not None and bit_width(dtype) < 8:
        quotient = quotient + zero_point.astype(quotient.dtype)
    return converted(quotient, dtype, saturate)


def _dequantize(x: Array, scale: Array, zero_point: Array | None, dtype: Any, axis: int, block_size: int) -> Array:
    """(x - zero_point) * scale"""
    scale = _spread(scale, x.shape, axis, block_size, "DequantizeLinear")
    if zero_point is not None and is_integer(np.dtype(x.dtype)):
        zero_point = _spread(zero_point, x.shape, axis, block_size, "DequantizeLinear")
        x = _wide(x) - _wide(zero_point)
    wide = np.dtype(np.float64) if scale.dtype == np.float64 else np.dtype(np.float32)
    return converted(x.astype(wide) * scale.astype(wide), dtype)


@handler("QuantizeLinear", since=10)
def quantize_linear(node, x, scale, zero_point=None):
    number = node.get("output_dtype", 0)
    if zero_point is not None:
        dtype = dtype_of(zero_point)
        if number and numpy_dtype(number) != dtype:
            raise ArgumentError(f"QuantizeLinear: output_dtype is {numpy_dtype(number)}, but the zero point has {dtype}")
    else:
        dtype = numpy_dtype(number) if number else np.dtype(np.uint8)
    precision = numpy_dtype(node.get("precision")) if node.get("precision", 0) else None
    layout = {"axis": node.get("axis", 1), "block_size": node.get("block_size", 0)}
    return apply(_quantize, x, scale, zero_point, dtype=dtype, **layout, saturate=bool(node.get("saturate", 1)), precision=precision)


@handler("DequantizeLinear", since=10)
def dequantize_linear(node, x, scale, zero_point=None):
    number = node.get("output_dtype", 0)
    dtype = numpy_dtype(number) if number else dtype_of(scale)
    return apply(_dequantize, x, scale, zero_point, dtype=dtype, axis=node.get("axis", 1), block_size=node.get("block_size", 0))


def _dynamic_quantize(x: Array) -> tuple[Array, Array, Array]:
    """Bytes that cover the range of the input and zero, with their scale and zero point."""
    low, high = jnp.minimum(x.min(initial=0), 0), jnp.maximum(x.max(initial=0), 0)
    scale = (high - low) / np.float32(255)
    divisor = jnp.where(scale == 0, np.float32(1), scale)
    zero_point = jnp.clip(jnp.rint(-low / divisor), 0, 255).astype(np.uint8)
    return _rounded(_quotient(x, divisor), zero_point, np.dtype(np.uint8)), scale, zero_point


@handler("DynamicQuantizeLinear", since=11)
def dynamic_quantize_linear(node, x):
    return apply(_dynamic_quantize, x)


# --- products over integers ------------------------------------------------------------------------------------------


def _shifted(x: Array, zero_point: Array | None, axis: int) -> Array:
    """int32 numbers less their zero point, which is one, or one for each place along `axis`, or of a shape that broadcasts."""
    x = x.astype(np.int32)
    if zero_point is None:
        return x
    zero_point = zero_point.astype(np.int32)
    if zero_point.ndim == 1 and zero_point.size > 1 and x.ndim > 1:
        zero_point = zero_point.reshape([-1 if i == axis % x.ndim else 1 for i in range(x.ndim)])
    elif zero_point.size == 1:
        zero_point = zero_point.reshape(())
    return x - zero_point


def _matmul_integer(a: Array, b: Array, a_zero_point: Array | None, b_zero_point: Array | None) -> Array:
    """The matrix product of bytes in int32."""
    return jnp.matmul(_shifted(a, a_zero_point, -2), _shifted(b, b_zero_point, -1), preferred_element_type=np.int32)


@handler("MatMulInteger", since=10)
def matmul_integer(node, a, b, a_zero_point=None, b_zero_point=None):
    return apply(_matmul_integer, a, b, a_zero_point, b_zero_point)


def _requantized(product: Array, scale: Array, zero_point: Array) -> Array:
    return _rounded(product.astype(np.float32) * scale.astype(np.float32), zero_point, np.dtype(zero_point.dtype))


def _along(scale: Array, axis: int, ndim: int) -> Array:
    """A scale or several along `axis` of a result with `ndim` dimensions."""
    if scale.size == 1:
        return scale.reshape(())
    return scale.reshape([-1 if i == axis % ndim else 1 for i in range(ndim)]) if scale.ndim == 1 else scale


def _qlinear_matmul(
    a: Array, a_scale: Array, a_zero_point: Array, b: Array, b_scale: Array, b_zero_point: Array, y_scale: Array, y_zero_point: Array
) -> Array:
    """The matrix product of quantized matrices, quantized again."""
    product = _matmul_integer(a, b, a_zero_point, b_zero_point)
    ndim = max(product.ndim, 1)
    scale = _along(a_scale, -2, ndim).astype(np.float32) * _along(b_scale, -1, ndim).astype(np.float32) / _along(y_scale, -2, ndim).astype(np.float32)
    if y_zero_point.ndim == 1:
        y_zero_point = _along(y_zero_point, -2, ndim)
    return _requantized(product, scale, y_zero_point)


@handler("QLinearMatMul", since=10)
def qlinear_matmul(node, a, a_scale, a_zero_point, b, b_scale, b_zero_point, y_scale, y_zero_point):
    return apply(_qlinear_matmul, a, a_scale, a_zero_point, b, b_scale, b_zero_point, y_scale, y_zero_point)


def _window(node, x_shape: Sequence[int], w_shape: Sequence[int]) -> tuple[tuple[int, ...], tuple[tuple[int, int], ...], tuple[int, ...], int]:
    """(strides, padding, dilations, groups) of a convolution over `x_shape`."""
    n = len(x_shape) - 2
    strides = tuple(node.get("strides") or (1,) * n)
    dilations = tuple(node.get("dilations") or (1,) * n)
    kernel = tuple(node.get("kernel_shape") or w_shape[2:])
    pads, auto = node.get("pads") or (0,) * (2 * n), node.get("auto_pad", "NOTSET")
    padding = [(int(pads[i]), int(pads[n + i])) for i in range(n)]
    if auto == "VALID":
        padding = [(0, 0)] * n
    elif auto in ("SAME_UPPER", "SAME_LOWER"):
        padding = []
        for length, k, s, d in zip(x_shape[2:], kernel, strides, dilations, strict=True):
            total = max((math.ceil(length / s) - 1) * s + d * (k - 1) + 1 - length, 0)
            less, more = total // 2, total - total // 2
            padding.append((less, more) if auto == "SAME_UPPER" else (more, less))
    elif auto != "NOTSET":
        raise ArgumentError(f"{node.op_type}: unknown auto_pad {auto!r}")
    return strides, tuple(padding), dilations, node.get("group", 1)


def _convolution(x: Array, w: Array, x_zero_point: Array | None, w_zero_point: Array | None, window: Any) -> Array:
    """A convolution of bytes in int32; the padding is the zero point."""
    strides, padding, dilations, groups = window
    return lax.conv_general_dilated(
        _shifted(x, x_zero_point, 1), _shifted(w, w_zero_point, 0), strides, padding,
        rhs_dilation=dilations, feature_group_count=groups, preferred_element_type=np.int32,
    )  # fmt: skip


@handler("ConvInteger", since=10)
def conv_integer(node, x, w, x_zero_point=None, w_zero_point=None):
    return apply(_convolution, x, w, x_zero_point, w_zero_point, window=_window(node, shape_of(x), shape_of(w)))


def _qlinear_conv(
    x: Array, x_scale: Array, x_zero_point: Array, w: Array, w_scale: Array, w_zero_point: Array, y_scale: Array, y_zero_point: Array,
    bias: Array | None, window: Any,
) -> Array:  # fmt: skip
    """The convolution of quantized images, quantized again."""
    product = _convolution(x, w, x_zero_point, w_zero_point, window)
    if bias is not None:
        product = product + bias.astype(np.int32).reshape([-1 if i == 1 else 1 for i in range(product.ndim)])
    scale = x_scale.reshape(()) * _along(w_scale, 1, product.ndim) / y_scale.reshape(())
    return _requantized(product, scale, y_zero_point.reshape(()))


@handler("QLinearConv", since=10)
def qlinear_conv(node, x, x_scale, x_zero_point, w, w_scale, w_zero_point, y_scale, y_zero_point, bias=None):
    window = _window(node, shape_of(x), shape_of(w))
    return apply(_qlinear_conv, x, x_scale, x_zero_point, w, w_scale, w_zero_point, y_scale, y_zero_point, bias, window=window)
