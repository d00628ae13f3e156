"""Complex numbers: their parts, conjugates, angles, and making them from parts."""

import jax.numpy as jnp
from jax import lax

from .. import dtypes
from ..dispatch import Array, op
from ..errors import DtypeError
from ..tensor import attach
from .common import broadcast_shapes, floating, strong
from .elementwise import real_sign

__all__ = ["real", "imag", "conj", "conj_physical", "angle", "polar", "complex", "sgn", "isreal"]


@op(method=False, linear=True)
def real(input: Array) -> Array:
    """The real part of each element."""
    return jnp.real(strong(input))


@op(method=False, linear=True)
def imag(input: Array) -> Array:
    """The imaginary part of each element of a complex tensor."""
    input = strong(input)
    if input.dtype.kind != "c":
        raise DtypeError(f"imag is not implemented for tensors with non-complex dtypes, got {dtypes.from_numpy(input.dtype)}")
    return jnp.imag(input)


attach("real", property(real, doc="The real part of each element."))
attach("imag", property(imag, doc="The imaginary part of each element of a complex tensor."))


@op(method=("conj", "conj_physical"), linear=True)
def conj(input: Array) -> Array:
    """The complex conjugate of each element."""
    input = strong(input)
    return jnp.conj(input) if input.dtype.kind == "c" else input


@op
def angle(input: Array) -> Array:
    """The angle of each element in the complex plane, in radians: of real numbers 0, or pi if negative. Its gradient at 0 is 0."""
    input = floating(input)
    if input.dtype.kind != "c":
        fixed = lax.stop_gradient(input)
        return jnp.where(jnp.isnan(fixed), fixed, jnp.where(fixed < 0, jnp.asarray(jnp.pi, input.dtype), jnp.zeros_like(fixed)))
    zero = input == 0
    found = jnp.angle(jnp.where(zero, 1, input))
    return jnp.where(zero, lax.stop_gradient(jnp.angle(input)), found)


def _parts(function: str, a: Array, b: Array, names: tuple[str, str]) -> tuple[Array, Array]:
    """Two real tensors of one dtype from which complex numbers can be made."""
    a, b = strong(a), strong(b)
    for x in (a, b):
        if x.dtype not in (jnp.float32, jnp.float64):
            raise DtypeError(
                f"{function}: Expected both inputs to be Half, Float or Double tensors but got {a.dtype} and {b.dtype}; write {names[0]}.float(). "
                "There is no complex dtype of half precision here"
            )
    if a.dtype != b.dtype:
        raise DtypeError(
            f"{function}: Expected object of scalar type {a.dtype} but got scalar type {b.dtype} for second argument; write {names[1]}.to({names[0]}.dtype)"
        )
    broadcast_shapes(a.shape, b.shape)
    return a, b


@op(method=False, linear=True, tensors="both")
def complex(real: Array, imag: Array) -> Array:
    """The complex numbers of these real and imaginary parts.

    Args:
        real: a float32 or float64 tensor.
        imag: a tensor of the same dtype.
    """
    return lax.complex(*jnp.broadcast_arrays(*_parts("complex", real, imag, ("real", "imag"))))


@op(method=False, tensors="both")
def polar(abs: Array, angle: Array) -> Array:
    """The complex numbers of this absolute value and angle: ``abs * cos(angle) + i abs * sin(angle)``.

    Args:
        abs: a float32 or float64 tensor.
        angle: a tensor of the same dtype, in radians.
    """
    abs, angle = jnp.broadcast_arrays(*_parts("polar", abs, angle, ("abs", "angle")))
    return lax.complex(abs * jnp.cos(angle), abs * jnp.sin(angle))


@op
def sgn(input: Array) -> Array:
    """The sign of each element; of complex elements ``input / abs(input)``, and 0 at 0."""
    input = strong(input)
    if input.dtype.kind != "c":
        return real_sign(input)
    zero = input == 0
    size = jnp.abs(jnp.where(zero, 1, input))
    return jnp.where(zero, 0, input / size)


@op
def isreal(input: Array) -> Array:
    """Whether each element has no imaginary part."""
    input = strong(input)
    return jnp.imag(input) == 0 if input.dtype.kind == "c" else jnp.ones(input.shape, bool)


conj_physical = conj
