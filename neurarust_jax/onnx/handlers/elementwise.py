"""Elementwise mathematics, logic, comparison and bits. Types are exact: the result of an arithmetic op has the type of its inputs."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ...errors import ArgumentError
from ..registry import handler
from ..values import apply, is_strings, shape_of


def _aligned(node, a, b):
    """Before opset 7 broadcasting is asked for by `broadcast`, and `axis` says which dimension of `a` the first one of `b` meets."""
    if node.opset >= 7 or not node.get("broadcast", 0) or node.get("axis") is None:
        return b
    ndim, axis = len(shape_of(a)), node.get("axis")
    axis += ndim if axis < 0 else 0
    shape = shape_of(b)
    return apply(_reshape, b, shape=(*shape, *(1,) * (ndim - axis - len(shape))))


def _reshape(x, shape):
    return x.reshape(shape)


# --- of one input ----------------------------------------------------------------------------------------------------


def _erf(x):
    return lax.erf(x) if x.dtype.kind == "f" or x.dtype.name == "bfloat16" else lax.erf(x.astype(jnp.float32)).astype(x.dtype)


def _reciprocal(x):
    return 1 / x


def _sign(x):
    return jnp.sign(x)


_OF_ONE = {
    "Abs": jnp.abs, "Neg": jnp.negative, "Sign": _sign, "Reciprocal": _reciprocal, "Sqrt": jnp.sqrt, "Exp": jnp.exp, "Log": jnp.log, "Erf": _erf,
    "Floor": jnp.floor, "Ceil": jnp.ceil, "Round": jnp.round, "Sin": jnp.sin, "Cos": jnp.cos, "Tan": jnp.tan, "Asin": jnp.arcsin, "Acos": jnp.arccos,
    "Atan": jnp.arctan, "Sinh": jnp.sinh, "Cosh": jnp.cosh, "Tanh": jnp.tanh, "Asinh": jnp.arcsinh, "Acosh": jnp.arccosh, "Atanh": jnp.arctanh,
    "IsNaN": jnp.isnan, "Not": jnp.logical_not, "BitwiseNot": jnp.bitwise_not,
}  # fmt: skip


@handler(*_OF_ONE)
def of_one(node, x):
    return apply(_OF_ONE[node.op_type], x)


@handler("IsInf")
def is_inf(node, x):
    return apply(_is_inf, x, negative=bool(node.get("detect_negative", 1)), positive=bool(node.get("detect_positive", 1)))


def _is_inf(x, negative, positive):
    return (jnp.isneginf(x) & negative) | (jnp.isposinf(x) & positive)


# --- of two inputs ---------------------------------------------------------------------------------------------------


def _divide(a, b):
    if a.dtype.kind not in "iu":
        return a / b
    return lax.div(*jnp.broadcast_arrays(a, b))


def _power(a, b):
    if a.dtype.kind in "iu" and b.dtype.kind in "iu":
        exponent = b.astype(jnp.int64)
        magnitude = jnp.where(exponent < 0, 0, exponent)
        raised = jnp.power(a, magnitude.astype(a.dtype) if a.dtype.itemsize == 8 else magnitude.astype(jnp.int64)).astype(a.dtype)
        return jnp.where(exponent < 0, jnp.where(jnp.abs(a) == 1, raised * jnp.where(exponent % 2 == 0, a, 1), 0).astype(a.dtype), raised)
    if a.dtype.kind in "iu":
        return jnp.power(a.astype(jnp.float64), b.astype(jnp.float64)).astype(a.dtype)
    return jnp.power(a, b.astype(a.dtype) if b.dtype.itemsize <= a.dtype.itemsize or b.dtype.kind in "iu" else b).astype(a.dtype)


_OF_TWO = {
    "Add": jnp.add, "Sub": jnp.subtract, "Mul": jnp.multiply, "Div": _divide, "Pow": _power, "And": jnp.logical_and, "Or": jnp.logical_or,
    "Xor": jnp.logical_xor, "Greater": jnp.greater, "GreaterOrEqual": jnp.greater_equal, "Less": jnp.less, "LessOrEqual": jnp.less_equal,
    "BitwiseAnd": jnp.bitwise_and, "BitwiseOr": jnp.bitwise_or, "BitwiseXor": jnp.bitwise_xor,
}  # fmt: skip


@handler(*_OF_TWO)
def of_two(node, a, b):
    return apply(_OF_TWO[node.op_type], a, _aligned(node, a, b))


@handler("Equal")
def equal(node, a, b):
    if is_strings(a):
        return np.asarray(a == b, np.bool_)
    return apply(jnp.equal, a, _aligned(node, a, b))


@handler("BitShift")
def bit_shift(node, a, b):
    direction = node.get("direction")
    if direction not in ("LEFT", "RIGHT"):
        raise ArgumentError(f"BitShift takes the direction LEFT or RIGHT, got {direction!r}")
    return apply(_bit_shift, a, b, left=direction == "LEFT")


def _bit_shift(a, b, left):
    a, b = jnp.broadcast_arrays(a, b)
    return lax.shift_left(a, b) if left else (lax.shift_right_arithmetic if a.dtype.kind == "i" else lax.shift_right_logical)(a, b)


@handler("Mod")
def mod(node, a, b):
    return apply(_mod, a, b, truncates=bool(node.get("fmod", 0)))


def _mod(a, b, truncates):
    a, b = jnp.broadcast_arrays(a, b)
    return lax.rem(a, b) if truncates else jnp.mod(a, b)


# --- of any number of inputs -----------------------------------------------------------------------------------------


def _fold(function):
    def folded(*inputs):
        result = inputs[0]
        for x in inputs[1:]:
            result = function(result, x)
        return result

    return folded


_maximum, _minimum, _sum = _fold(jnp.maximum), _fold(jnp.minimum), _fold(jnp.add)


def _mean(*inputs):
    return (_sum(*inputs) / len(inputs)).astype(inputs[0].dtype)


_OF_MANY = {"Max": _maximum, "Min": _minimum, "Sum": _sum, "Mean": _mean}


@handler(*_OF_MANY)
def of_many(node, *inputs):
    return apply(_OF_MANY[node.op_type], *inputs)


@handler("Clip")
def clip_by_attributes(node, x):
    return apply(_clip, x, np.asarray(node.get("min", -3.4028234663852886e38), np.float32), np.asarray(node.get("max", 3.4028234663852886e38), np.float32))


@handler("Clip", since=11)
def clip(node, x, low=None, high=None):
    return apply(_clip, x, low, high)


def _clip(x, low, high):
    """First the lower bound and then the upper one, which wins if they cross."""
    if low is not None:
        x = jnp.maximum(x, low.astype(x.dtype))
    return x if high is None else jnp.minimum(x, high.astype(x.dtype))


# --- activations -----------------------------------------------------------------------------------------------------


def _exact(function):
    """An activation in the type of its input, with the numbers in it."""

    def activation(x, **numbers):
        return function(x, **{name: jnp.asarray(value, x.dtype) for name, value in numbers.items()}).astype(x.dtype)

    activation.__name__ = function.__name__
    return activation


def _celu(x, alpha):
    return jnp.maximum(x, 0) + jnp.minimum(0, alpha * jnp.expm1(x / alpha))


def _elu(x, alpha):
    return jnp.where(x < 0, alpha * jnp.expm1(jnp.minimum(x, 0)), x)


def _hard_sigmoid(x, alpha, beta):
    return jnp.clip(alpha * x + beta, 0, 1)


def _leaky_relu(x, alpha):
    return jnp.where(x < 0, alpha * x, x)


def _selu(x, alpha, gamma):
    return gamma * jnp.where(x <= 0, alpha * jnp.expm1(jnp.minimum(x, 0)), x)


def _shrink(x, bias, lambd):
    return jnp.where(x < -lambd, x + bias, jnp.where(x > lambd, x - bias, jnp.zeros_like(x)))


def _swish(x, alpha):
    return x * jax.nn.sigmoid(alpha * x)


def _thresholded_relu(x, alpha):
    return jnp.where(x > alpha, x, 0)


_WITH_NUMBERS = {
    "Celu": (_exact(_celu), {"alpha": 1.0}),
    "Elu": (_exact(_elu), {"alpha": 1.0}),
    "HardSigmoid": (_exact(_hard_sigmoid), {"alpha": 0.2, "beta": 0.5}),
    "LeakyRelu": (_exact(_leaky_relu), {"alpha": 0.01}),
    "Selu": (_exact(_selu), {"alpha": 1.67326319217681884765625, "gamma": 1.05070102214813232421875}),
    "Shrink": (_exact(_shrink), {"bias": 0.0, "lambd": 0.5}),
    "Swish": (_exact(_swish), {"alpha": 1.0}),
    "ThresholdedRelu": (_exact(_thresholded_relu), {"alpha": 1.0}),
}


@handler(*_WITH_NUMBERS)
def activation_with_numbers(node, x):
    function, numbers = _WITH_NUMBERS[node.op_type]
    return apply(function, x, **{name: float(node.get(name, default)) for name, default in numbers.items()})


def _relu(x):
    return jnp.maximum(x, 0)


def _hard_swish(x):
    return (x * jnp.clip(x / 6 + 0.5, 0, 1)).astype(x.dtype)


def _mish(x):
    return x * jnp.tanh(jnp.logaddexp(x, jnp.zeros_like(x)))


def _softplus(x):
    return jnp.logaddexp(x, jnp.zeros_like(x))


_ACTIVATIONS = {
    "Relu": jax.nn.relu, "Sigmoid": jax.nn.sigmoid, "Softplus": _softplus, "Softsign": jax.nn.soft_sign, "HardSwish": _hard_swish, "Mish": _mish,
}  # fmt: skip


@handler(*_ACTIVATIONS)
def activation(node, x):
    return apply(_ACTIVATIONS[node.op_type], x)


@handler("Gelu")
def gelu(node, x):
    return apply(_gelu, x, tanh=node.get("approximate", "none") == "tanh")


def _gelu(x, tanh):
    if tanh:
        return (0.5 * x * (1 + jnp.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))).astype(x.dtype)
    return (0.5 * x * (1 + _erf(x / math.sqrt(2)))).astype(x.dtype)


@handler("PRelu")
def prelu(node, x, slope):
    shape = shape_of(slope)
    if node.opset < 7 and len(shape) == 1 and len(shape_of(x)) > 1:
        slope = apply(_reshape, slope, shape=(*shape, *(1,) * (len(shape_of(x)) - 2)))
    return apply(_prelu, x, slope)


def _prelu(x, slope):
    return jnp.where(x < 0, x * slope, x)


@handler("SwiGLU")
def swiglu(node, gate, x):
    return apply(_swiglu, gate, x, alpha=float(node.get("alpha", 1.0)))


def _swiglu(gate, x, alpha):
    return gate * jax.nn.sigmoid(jnp.asarray(alpha, gate.dtype) * gate) * x


@handler("Softmax", "LogSoftmax", "Hardmax")
def softmax_of_matrix(node, x):
    """Before opset 13 the input counts as a matrix whose rows begin at `axis`."""
    shape = shape_of(x)
    axis = node.get("axis", 1)
    axis += len(shape) if axis < 0 else 0
    rows = apply(_reshape, x, shape=(math.prod(shape[:axis]), math.prod(shape[axis:])))
    return apply(_reshape, apply(_SOFTMAXES[node.op_type], rows, axis=1), shape=shape)


@handler("Softmax", "LogSoftmax", "Hardmax", since=13)
def softmax(node, x):
    return apply(_SOFTMAXES[node.op_type], x, axis=node.get("axis", -1))


def _softmax(x, axis):
    return jax.nn.softmax(x, axis)


def _log_softmax(x, axis):
    return jax.nn.log_softmax(x, axis)


def _hardmax(x, axis):
    return jax.nn.one_hot(jnp.argmax(x, axis), x.shape[axis], dtype=x.dtype, axis=axis)


_SOFTMAXES = {"Softmax": _softmax, "LogSoftmax": _log_softmax, "Hardmax": _hardmax}
