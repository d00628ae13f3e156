"""Lowering of shifts, of the count of bits, and of bit patterns seen as another type."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np

from ..builder import element_type
from ..emitter import Emitter, Operand
from .elementwise import dtype_of, operands
from .registry import lowers


@lowers("shift_left", "shift_right_logical")
def _shift(g: Emitter, equation: Any, *inputs: Operand) -> Operand:
    x, amount = operands(g, equation, inputs)
    direction = "LEFT" if equation.primitive.name == "shift_left" else "RIGHT"
    return _shifted(g, x, amount, dtype_of(equation), direction)


def _shifted(g: Emitter, x: Operand, amount: Operand, dtype: np.dtype, direction: str) -> Operand:
    """Bits moved, zeros following; an amount of the width or more leaves zeros."""
    unsigned = np.dtype(f"u{dtype.itemsize}")
    width = dtype.itemsize * 8
    x, amount = g.cast(x, dtype, unsigned), g.cast(amount, dtype, unsigned)
    if isinstance(amount, np.ndarray):
        if (amount >= width).any():
            kept = np.where(amount < width, np.iinfo(unsigned).max, 0).astype(unsigned)
            moved = g.node("BitShift", x, np.minimum(amount, width - 1).astype(unsigned), direction=direction)
            moved = g.where(kept.astype(bool), moved, np.zeros((), unsigned), unsigned)
        else:
            moved = g.node("BitShift", x, amount, direction=direction)
    else:
        inside = g.op("Less", unsigned, amount, np.asarray(width, unsigned), result=bool)
        moved = g.where(inside, g.node("BitShift", x, amount, direction=direction), np.zeros((), unsigned), unsigned)
    return g.cast(moved, unsigned, dtype)


@lowers("shift_right_arithmetic")
def _shift_arithmetic(g: Emitter, equation: Any, *inputs: Operand) -> Operand:
    x, amount = operands(g, equation, inputs)
    dtype = dtype_of(equation)
    if dtype.kind == "u":
        return _shifted(g, x, amount, dtype, "RIGHT")
    negative = g.op("Less", dtype, x, np.zeros((), dtype), result=bool)
    flipped = g.op("Sub", dtype, np.asarray(-1, dtype), x)
    moved = _shifted(g, g.where(negative, flipped, x, dtype), amount, dtype, "RIGHT")
    return g.where(negative, g.op("Sub", dtype, np.asarray(-1, dtype), moved), moved, dtype)


@lowers("population_count")
def _population_count(g: Emitter, equation: Any, x: Operand) -> Operand:
    dtype = dtype_of(equation)
    return g.cast(g.reduce("ReduceSum", _bits(g, x, dtype), [-1], np.int64), np.int64, dtype)


@lowers("clz")
def _leading_zeros(g: Emitter, equation: Any, x: Operand) -> Operand:
    dtype = dtype_of(equation)
    width = dtype.itemsize * 8
    highest = g.reduce("ReduceMax", g.op("Mul", np.int64, _bits(g, x, dtype), np.arange(1, width + 1, dtype=np.int64)), [-1], np.int64)
    return g.cast(g.op("Sub", np.int64, np.asarray(width, np.int64), highest), np.int64, dtype)


def _bits(g: Emitter, x: Operand, dtype: np.dtype) -> Operand:
    """The bits, lowest first, as int64 along a last dimension."""
    width = dtype.itemsize * 8
    wide = g.cast(g.cast(g.unsqueeze(x, [-1]), dtype, np.dtype(f"u{dtype.itemsize}")), np.dtype(f"u{dtype.itemsize}"), np.uint64)
    places = g.node("BitShift", wide, np.arange(width, dtype=np.uint64), direction="RIGHT")
    return g.cast(g.op("Mod", np.uint64, places, np.asarray(2, np.uint64)), np.uint64, np.int64)


@lowers("bitcast_convert_type")
def _bitcast(g: Emitter, equation: Any, x: Operand) -> Operand:
    source, target = dtype_of(equation), np.dtype(equation.params["new_dtype"])
    if source == target:
        return x
    if source.itemsize != target.itemsize or bool in (source, target):
        raise g.unsupported(f"seeing {source} as {target} of another width has no form in ONNX")
    if source.kind in "iu" and target.kind in "iu":
        return g.cast(x, source, target)
    if g.opset >= 26:
        return g.node("BitCast", x, dtype=target, to=element_type(target))
    if source.kind in "fV":
        bits = _float_to_bits(g, equation.invars[0].aval, x)
        return g.cast(bits, np.int64, target)
    return _bits_to_float(g, equation.invars[0].aval, x, target)


def _layout(dtype: np.dtype) -> tuple[int, int, int]:
    """Bits of the mantissa, the bias of the exponent, and the width."""
    info = jnp.finfo(dtype)
    return info.nmant, 1 - int(info.minexp) if dtype.name == "bfloat16" else 2 ** (info.nexp - 1) - 1, dtype.itemsize * 8


def _float_to_bits(g: Emitter, aval: Any, x: Operand) -> Operand:
    """The bits of floating-point numbers by arithmetic: sign, exponent and mantissa as whole numbers."""
    mantissa, bias, width = _layout(np.dtype(aval.dtype))
    top = 1 << (width - 1)
    infinite = (2 * bias + 1) << mantissa

    def bits(x):
        wide = x.astype(jnp.float64)
        size = jnp.abs(wide)
        finite = (size < jnp.inf) & (size > 0)
        safe = jnp.where(finite, size, 1.0)
        exponent = jnp.maximum(jnp.floor(jnp.log2(safe)), 1 - bias)
        exponent = jnp.where(exponent < -1000, exponent, jnp.where(safe < _power_of_two(exponent), exponent - 1, exponent))
        exponent = jnp.where(safe >= _power_of_two(exponent) * 2, exponent + 1, exponent)
        exponent = jnp.maximum(exponent, 1 - bias)
        fraction = safe / _power_of_two(exponent)
        normal = fraction >= 1
        field = jnp.where(normal, exponent + bias, 0).astype(jnp.int64)
        rest = (jnp.where(normal, fraction - 1, fraction) * 2.0**mantissa).astype(jnp.int64)
        whole = jnp.where(finite, field * (1 << mantissa) + rest, jnp.where(size == 0, 0, infinite))
        whole = jnp.where(jnp.isnan(wide), infinite + (1 << (mantissa - 1)), whole)
        negative = (wide < 0) | ((wide == 0) & (1 / wide < 0))  # onnxruntime's Where turns -0 into 0, its Div does not
        return jnp.where(negative, whole + jnp.asarray(-top if width == 64 else top, jnp.int64), whole)

    return g.trace(bits, [aval], x)


def _power_of_two(exponent: Any) -> Any:
    return jnp.power(jnp.asarray(2.0, jnp.float64), exponent)


def _bits_to_float(g: Emitter, aval: Any, x: Operand, target: np.dtype) -> Operand:
    """Floating-point numbers of bits by arithmetic."""
    mantissa, bias, width = _layout(target)
    top_field = 2 * bias + 1

    def number(x):
        wide = x.astype(jnp.int64)
        negative = wide < 0 if width == 64 or x.dtype.kind == "i" else wide >= (1 << (width - 1))
        lowest = jnp.asarray(-(1 << 63) if width == 64 else -(1 << (width - 1)) if x.dtype.kind == "i" else 1 << (width - 1), jnp.int64)
        size = jnp.where(negative, wide - lowest, wide)
        field = size // (1 << mantissa)
        rest = size - field * (1 << mantissa)
        fraction = rest.astype(jnp.float64) / 2.0**mantissa + jnp.where(field > 0, 1.0, 0.0)
        scaled = fraction * _power_of_two(jnp.where(field > 0, field - bias, 1 - bias).astype(jnp.float64))
        value = jnp.where(field == top_field, jnp.where(rest == 0, jnp.inf, jnp.nan), scaled)
        return jnp.where(negative, -value, value).astype(target)

    return g.trace(number, [aval], x)
