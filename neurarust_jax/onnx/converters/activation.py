"""Activation functions and softmax."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..builder import Graph, Value
from ..lowering import case, converter
from .elementwise import in_result_dtype, number, out_dtype

_FLOATS = (np.float16, np.float32, np.float64)


@converter("relu", cases=[case("F.relu(x)", "Relu", x=(2, 3))])
def relu(g: Graph, input: Value, inplace: bool) -> Value:
    return g.add("Relu", input)


@converter("hardtanh", cases=[case("F.hardtanh(x, -0.5, 2.)", "Clip", x=(2, 3))])
def hardtanh(g: Graph, input: Value, min_val: float, max_val: float, inplace: bool) -> Value:
    return g.add("Clip", input, number(g, min_val, input.dtype), number(g, max_val, input.dtype))


@converter("relu6", cases=[case("F.relu6(x)", "Clip", x=(2, 3))])
def relu6(g: Graph, input: Value, inplace: bool) -> Value:
    return hardtanh(g, input, 0, 6, inplace)


@converter("threshold", cases=[case("F.threshold(x, 0.1, 0.)", "ThresholdedRelu", x=(2, 3)), case("F.threshold(x, 0.1, 20.)", "Greater Where", x=(2, 3))])
def threshold(g: Graph, input: Value, threshold: float, value: float, inplace: bool) -> Value:
    if value == 0 and input.dtype in _FLOATS:
        return g.add("ThresholdedRelu", input, alpha=float(threshold))
    above = g.add("Greater", input, number(g, threshold, input.dtype), dtype=bool)
    return g.add("Where", above, input, number(g, value, input.dtype), dtype=input.dtype)


@converter("elu", cases=[case("F.elu(x, 0.7)", "Elu", x=(2, 3))])
def elu(g: Graph, input: Value, alpha: float, inplace: bool) -> Value:
    return g.add("Elu", input, alpha=float(alpha))


@converter("selu", cases=[case("F.selu(x)", "Selu", x=(2, 3))])
def selu(g: Graph, input: Value, inplace: bool) -> Value:
    return g.add("Selu", input, alpha=1.6732632423543772, gamma=1.0507009873554805)


@converter("celu", cases=[case("F.celu(x, 1.3)", "Celu", x=(2, 3))])
def celu(g: Graph, input: Value, alpha: float, inplace: bool) -> Value:
    if input.dtype == np.float32:
        return g.add("Celu", input, alpha=float(alpha))
    scaled = g.add("Elu", g.add("Div", input, number(g, alpha, input.dtype)))
    inverse = g.add("Mul", g.add("Min", scaled, number(g, 0, input.dtype)), number(g, alpha, input.dtype))
    return g.add("Add", g.add("Relu", input), inverse)


@converter("leaky_relu", cases=[case("F.leaky_relu(x, 0.2)", "LeakyRelu", x=(2, 3))])
def leaky_relu(g: Graph, input: Value, negative_slope: float, inplace: bool) -> Value:
    return g.add("LeakyRelu", input, alpha=float(negative_slope))


@converter("prelu", cases=[case("F.prelu(x, w)", "PRelu", x=(2, 3, 4), w=(1,)), case("nn.PReLU(3)(x)", "PRelu", x=(2, 3, 4))])
def prelu(g: Graph, input: Value, weight: Value) -> Value:
    if input.ndim > 2 and weight.shape != (1,):
        weight = g.reshape(weight, (*weight.known_shape, *[1] * (input.ndim - 2)))
    elif input.ndim == 0:
        weight = g.reshape(weight, ())
    return g.add("PRelu", input, weight)


@converter("_leaky_relu_by_element", cases=[])
def _leaky_relu_by_element(g: Graph, input: Value, slopes: Value) -> Value:
    return g.add("PRelu", input, slopes)


@converter("glu", cases=[case("F.glu(x, 1)", "Mul Sigmoid Split", x=(2, 6))])
def glu(g: Graph, input: Value, dim: int) -> Value | None:
    half = [d if i != dim % input.ndim else None for i, d in enumerate(input.known_shape)]
    if not isinstance(input.known_shape[dim], int):
        return None
    half[dim % input.ndim] = input.known_shape[dim] // 2
    first, second = g.add_many("Split", [input], [(input.dtype, half)] * 2, axis=dim % input.ndim, num_outputs=2 if g.opset >= 18 else None)
    return g.add("Mul", first, g.add("Sigmoid", second))


@converter(
    "gelu",
    cases=[
        case("F.gelu(x)", "Gelu", 20, x=(2, 3)),
        case("F.gelu(x, approximate='tanh')", "Gelu", 20, x=(2, 3)),
        case("F.gelu(x)", "Add Div Erf Mul Mul", x=(2, 3)),
        case("F.gelu(x, approximate='tanh')", "Add Add Mul Mul Mul Mul Mul Mul Tanh", x=(2, 3)),
    ],
)
def gelu(g: Graph, input: Value, approximate: str) -> Value:
    if g.opset >= 20:
        return g.add("Gelu", input, approximate=None if approximate == "none" else approximate)

    def times(x: Value, y: Value | float) -> Value:
        return g.add("Mul", x, y if isinstance(y, Value) else number(g, y, input.dtype))

    one = number(g, 1, input.dtype)
    if approximate == "tanh":
        cubed = times(times(input, input), input)
        inner = g.add("Add", input, times(cubed, 0.044715))
        bent = g.add("Tanh", times(inner, math.sqrt(2 / math.pi)))
    else:
        bent = g.add("Erf", g.add("Div", input, number(g, math.sqrt(2), input.dtype)))
    return times(times(input, g.add("Add", bent, one)), 0.5)


@converter("silu", cases=[case("F.silu(x)", "Mul Sigmoid", x=(2, 3)), case("F.silu(x)", "Swish", 24, x=(2, 3))])
def silu(g: Graph, input: Value, inplace: bool) -> Value:
    return g.add("Swish", input) if g.opset >= 24 else g.add("Mul", input, g.add("Sigmoid", input))


@converter("mish", cases=[case("F.mish(x)", "Mish", x=(2, 3)), case("F.mish(x)", "Mul Softplus Tanh", 17, x=(2, 3))])
def mish(g: Graph, input: Value, inplace: bool) -> Value:
    if g.opset >= 18:
        return g.add("Mish", input)
    return g.add("Mul", input, g.add("Tanh", g.add("Softplus", input)))


@converter("softplus", cases=[case("F.softplus(x)", "Softplus", x=(2, 3)), case("F.softplus(x, 2.)", "Div Mul Softplus", x=(2, 3))])
def softplus(g: Graph, input: Value, beta: float, threshold: float) -> Value:
    factor = number(g, beta, input.dtype)
    scaled = input if beta == 1 else g.add("Mul", input, factor)
    soft = g.add("Softplus", scaled)
    soft = soft if beta == 1 else g.add("Div", soft, factor)
    if threshold >= 20:  # beyond it the two are equal to the last digit
        return soft
    return g.add("Where", g.add("Greater", scaled, number(g, threshold, input.dtype), dtype=bool), input, soft, dtype=input.dtype)


@converter("logsigmoid", cases=[case("F.logsigmoid(x)", "Neg Neg Softplus", x=(2, 3))])
def logsigmoid(g: Graph, input: Value) -> Value:
    return g.add("Neg", g.add("Softplus", g.add("Neg", input)))


@converter("softsign", cases=[case("F.softsign(x)", "Softsign", x=(2, 3))])
def softsign(g: Graph, input: Value) -> Value:
    (x,) = in_result_dtype(g, input)
    return g.add("Softsign", x)


@converter("tanhshrink", cases=[case("F.tanhshrink(x)", "Sub Tanh", x=(2, 3))])
def tanhshrink(g: Graph, input: Value) -> Value:
    (x,) = in_result_dtype(g, input)
    return g.add("Sub", x, g.add("Tanh", x))


@converter("hardsigmoid", cases=[case("F.hardsigmoid(x)", "HardSigmoid", x=(2, 3))])
def hardsigmoid(g: Graph, input: Value, inplace: bool) -> Value:
    return g.add("HardSigmoid", input, alpha=1 / 6, beta=0.5)


@converter("hardswish", cases=[case("F.hardswish(x)", "HardSwish", x=(2, 3))])
def hardswish(g: Graph, input: Value, inplace: bool) -> Value:
    return g.add("HardSwish", input)


@converter("hardshrink", cases=[case("F.hardshrink(x, 0.3)", "Shrink", x=(2, 3))])
def hardshrink(g: Graph, input: Value, lambd: float) -> Value:
    return g.add("Shrink", input, lambd=float(lambd), bias=0.0)


@converter("softshrink", cases=[case("F.softshrink(x, 0.3)", "Shrink", x=(2, 3))])
def softshrink(g: Graph, input: Value, lambd: float) -> Value:
    return g.add("Shrink", input, lambd=float(lambd), bias=float(lambd))


# --- softmax -----------------------------------------------------------------------------------------------------------


def _softmax(g: Graph, operator: str, input: Value, dim: int | None, sign: int = 1) -> Value:
    (x,) = in_result_dtype(g, input)
    if x.ndim == 0:
        flat = _softmax_along(g, operator, g.reshape(x, (1,)), 0)
        return g.reshape(flat, ())
    axis = (0 if x.ndim in (0, 1, 3) else 1) if dim is None else dim % x.ndim
    return _softmax_along(g, operator, g.add("Neg", x) if sign < 0 else x, axis)


def _softmax_along(g: Graph, operator: str, x: Value, axis: int) -> Value:
    return g.add(operator, x, axis=axis, shape=x.shape)


@converter("softmax", cases=[case("x.softmax(-1)", "Softmax", x=(2, 3)), case("F.softmax(x, 0, dtype=nr.float64)", "Cast Softmax", x=(2, 3))])
def softmax(g: Graph, input: Value, dim: int | None, dtype: Any) -> Value:
    return _softmax(g, "Softmax", input, dim)


@converter("log_softmax", cases=[case("F.log_softmax(x, 1)", "LogSoftmax", x=(2, 3, 4))])
def log_softmax(g: Graph, input: Value, dim: int | None, dtype: Any) -> Value:
    return _softmax(g, "LogSoftmax", input, dim)


@converter("softmin", cases=[case("F.softmin(x, 1)", "Neg Softmax", x=(2, 3))])
def softmin(g: Graph, input: Value, dim: int | None, dtype: Any) -> Value:
    return _softmax(g, "Softmax", input, dim, sign=-1)


@converter("logsumexp", cases=[case("x.logsumexp(1)", "ReduceLogSumExp", x=(2, 3))])
def logsumexp(g: Graph, input: Value, dim: Any, keepdim: bool) -> Value | None:
    from .reduction import reduced

    (x,) = in_result_dtype(g, input)
    if out_dtype(g).kind != "f":
        return None
    return reduced(g, "ReduceLogSumExp", x, dim, keepdim)
