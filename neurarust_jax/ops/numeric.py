"""Less common elementwise ops: signs, bits and neighbours of floating-point numbers, extremes that pass over NaN, common divisors, angles, bounds."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from .. import dtypes
from ..dispatch import Array, op
from ..errors import DtypeError
from ..tensor import Tensor, attach
from .common import cast, floating, is_inexact, numpy_names, promote, promote_to_float, refuse, strong
from .elementwise import _power, bitwise_left_shift, bitwise_right_shift, clamp

__all__ = [
    "copysign", "signbit", "heaviside", "nextafter", "frexp", "ldexp", "float_power", "logaddexp2", "fmax", "fmin", "gcd", "lcm", "isposinf", "isneginf",
    "deg2rad", "rad2deg", "clamp_min", "clamp_max",
]  # fmt: skip

# --- signs, bits, neighbours ---------------------------------------------------------------------------------------


def _refuse_complex(x: Array, function: str) -> None:
    if x.dtype.kind == "c":
        raise DtypeError(f"{function} is not implemented for complex tensors, got {dtypes.from_numpy(x.dtype)}")


@op(tensors="first")
def copysign(input: Array, other: Array | float) -> Array:
    """The size of `input` with the sign of `other`, elementwise. Where `input` is 0, so is the gradient."""
    input, other = promote_to_float(input, other)
    _refuse_complex(input, "copysign")
    flipped = jnp.signbit(input) != jnp.signbit(other)
    result = jnp.where(flipped, -input, input)
    return jnp.where(input == 0, lax.stop_gradient(result), result)


@op
def signbit(input: Array) -> Array:
    """Whether each element has a minus sign, ``-0.0`` included."""
    input = strong(input)
    _refuse_complex(input, "signbit")
    return jnp.signbit(input) if is_inexact(input) else input < 0


@op(tensors="both")
def heaviside(input: Array, values: Array) -> Array:
    """The step function, elementwise: 0 below 0, 1 above, and `values` at 0. NaN counts as below. It has no gradient.

    Args:
        input: a real tensor.
        values: a tensor of the same dtype, broadcast with `input`.
    """
    input, values = strong(input), strong(values)
    _refuse_complex(input, "heaviside")
    _refuse_complex(values, "heaviside")
    if input.dtype != values.dtype:
        raise DtypeError(f"heaviside is not yet implemented for tensors with different dtypes: {input.dtype} and {values.dtype}; write values.to(input.dtype)")
    input, values = promote(input, values)
    return lax.stop_gradient(jnp.where(input == 0, values, (input > 0).astype(input.dtype)))


@jax.custom_jvp
def _neighbour(input: Array, other: Array) -> Array:
    return lax.nextafter(input, other)


@_neighbour.defjvp
def _neighbour_jvp(primals, tangents):
    input, other = primals
    return _neighbour(input, other), jnp.where(input == other, 0, tangents[0])


@op(tensors="both")
def nextafter(input: Array, other: Array) -> Array:
    """The next floating-point number after `input` towards `other`, elementwise."""
    input, other = promote(input, other)
    refuse(input, "biuc", "nextafter")
    return _neighbour(*jnp.broadcast_arrays(input, other))


class FrexpResult(NamedTuple):
    """``mantissa * 2 ** exponent``, with the mantissa's size in [0.5, 1)."""

    mantissa: Tensor
    exponent: Tensor


@op
def frexp(input: Array) -> FrexpResult:
    """Each element as ``mantissa * 2 ** exponent``.

    Args:
        input: a floating-point tensor.

    Returns:
        A namedtuple `(mantissa, exponent)`; the exponent is int32.
    """
    input = strong(input)
    if not is_inexact(input) or input.dtype.kind == "c":
        raise DtypeError(f"torch.frexp() only supports floating-point dtypes, got {dtypes.from_numpy(input.dtype)}; write x.float()")
    _, exponent = jnp.frexp(lax.stop_gradient(input))
    exponent = exponent.astype(jnp.int32)
    half = exponent // 2  # in two steps, so that no power of two overflows
    scale = cast(2, input.dtype)
    mantissa = input * scale ** (-half).astype(input.dtype) * scale ** (half - exponent).astype(input.dtype)
    return FrexpResult(mantissa, exponent)


@op(tensors="both")
def ldexp(input: Array, other: Array) -> Array:
    """``input * 2 ** other``, elementwise."""
    input, other = strong(input), strong(other)
    power = jnp.exp2(floating(other)) if other.dtype.kind == "c" else jnp.power(cast(2, floating(other).dtype), floating(other))
    input, power = promote(input, power)
    return input * power


@op(tensors="one")
def float_power(input: Array | float, exponent: Array | float) -> Array:
    """``input ** exponent``, elementwise, in float64 (of complex operands in complex128)."""
    kind = dtypes.result_numpy_dtype(input, exponent).kind
    dtype = jnp.complex128 if kind == "c" else jnp.float64
    return _power(cast(input, dtype), exponent if isinstance(exponent, int | float) else cast(exponent, dtype))


@op(tensors="both")
def logaddexp2(input: Array, other: Array) -> Array:
    """``log2(2 ** input + 2 ** other)``, elementwise, without overflow."""
    input, other = promote_to_float(input, other)
    _refuse_complex(input, "logaddexp2")
    return jnp.logaddexp2(input, other)


# --- extremes, divisors --------------------------------------------------------------------------------------------


@op(tensors="both")
def fmax(input: Array, other: Array) -> Array:
    """The greater of the two, elementwise; NaN only if both are. Where they are equal, `input` gets the gradient."""
    input, other = promote(input, other)
    _refuse_complex(input, "fmax")
    chosen = input >= other
    return jnp.where(chosen | jnp.isnan(other) if is_inexact(input) else chosen, input, other)


@op(tensors="both")
def fmin(input: Array, other: Array) -> Array:
    """The lesser of the two, elementwise; NaN only if both are. Where they are equal, `input` gets the gradient."""
    input, other = promote(input, other)
    _refuse_complex(input, "fmin")
    chosen = input <= other
    return jnp.where(chosen | jnp.isnan(other) if is_inexact(input) else chosen, input, other)


@op(tensors="both")
def gcd(input: Array, other: Array) -> Array:
    """The greatest common divisor, elementwise; of integers. ``gcd(0, 0)`` is 0."""
    input, other = promote(input, other)
    refuse(input, "bfcV", "gcd")
    return jnp.gcd(input, other)


@op(tensors="both")
def lcm(input: Array, other: Array) -> Array:
    """The least common multiple, elementwise; of integers."""
    input, other = promote(input, other)
    refuse(input, "bfcV", "lcm")
    return jnp.lcm(input, other)


# --- infinities, angles, bounds ------------------------------------------------------------------------------------


@op
def isposinf(input: Array) -> Array:
    """Whether each element is positive infinity."""
    input = strong(input)
    _refuse_complex(input, "isposinf")
    return input == jnp.inf if is_inexact(input) else jnp.zeros(input.shape, bool)


@op
def isneginf(input: Array) -> Array:
    """Whether each element is negative infinity."""
    input = strong(input)
    _refuse_complex(input, "isneginf")
    return input == -jnp.inf if is_inexact(input) else jnp.zeros(input.shape, bool)


@op(linear=True)
def deg2rad(input: Array) -> Array:
    """Degrees as radians."""
    input = floating(input)
    _refuse_complex(input, "deg2rad")
    return input * cast(jnp.pi / 180, input.dtype)


@op(linear=True)
def rad2deg(input: Array) -> Array:
    """Radians as degrees."""
    input = floating(input)
    _refuse_complex(input, "rad2deg")
    return input * cast(180 / jnp.pi, input.dtype)


@numpy_names
def clamp_min(input, min):
    """`input` with every element at least `min`, a number or tensor. See `clamp`."""
    return clamp(input, min)


@numpy_names
def clamp_max(input, max):
    """`input` with every element at most `max`, a number or tensor. See `clamp`."""
    return clamp(input, None, max)


attach("clamp_min", clamp_min)
attach("clamp_max", clamp_max)
attach("__rlshift__", lambda self, other: bitwise_left_shift(other, self))
attach("__rrshift__", lambda self, other: bitwise_right_shift(other, self))
