"""Lowering of complex numbers as pairs of real and imaginary parts, and of Fourier transforms."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..emitter import Aval, Complex, Emitter, Operand, is_static
from ..support import carrier
from .registry import is_complex, lowers_complex, rule_of


def _real(dtype: Any) -> np.dtype:
    return np.dtype({"complex64": "float32", "complex128": "float64"}.get(np.dtype(dtype).name, dtype))


def _real_variable(variable: Any) -> Any:
    return SimpleNamespace(aval=Aval(variable.aval.shape, _real(variable.aval.dtype)))


def _part_of(equation: Any, params: dict[str, Any] | None = None) -> Any:
    """The same equation over real numbers."""
    return SimpleNamespace(
        primitive=equation.primitive,
        params=equation.params if params is None else params,
        invars=[_real_variable(v) for v in equation.invars],
        outvars=[_real_variable(v) for v in equation.outvars],
    )


@lowers_complex(
    "add", "add_any", "sub", "neg", "reshape", "broadcast_in_dim", "transpose", "squeeze", "expand_dims", "concatenate", "stack", "tile", "split", "slice", "rev", "dynamic_slice",
    "dynamic_update_slice", "pad", "reduce_sum", "cumsum", "select_n", "scatter", "scatter-add", "scatter_add", "reduce_window_sum", "empty", "empty2",
)  # fmt: skip
def _each_part(g: Emitter, equation: Any, *inputs: Operand) -> list[Operand]:
    rule, same = rule_of(equation.primitive.name), _part_of(equation)
    parts = []
    for place in (0, 1):
        outputs = rule(g, same, *(x[place] if isinstance(x, Complex) else x for x in inputs))
        parts.append(list(outputs) if isinstance(outputs, list | tuple) else [outputs])
    return [Complex(a, b) for a, b in zip(*parts, strict=True)]


@lowers_complex("gather")
def _gather(g: Emitter, equation: Any, x: Operand, indices: Operand) -> Operand:
    fill = equation.params["fill_value"]
    fills = (None, None) if fill is None else (np.real(fill), np.imag(fill))
    return Complex(*(rule_of("gather")(g, _part_of(equation, {**equation.params, "fill_value": f}), part, indices) for f, part in zip(fills, x, strict=True)))


@lowers_complex("complex")
def _complex(g: Emitter, equation: Any, real: Operand, imag: Operand) -> Operand:
    return Complex(real, imag)


@lowers_complex("real")
def _real_part(g: Emitter, equation: Any, x: Complex) -> Operand:
    return x.real


@lowers_complex("imag")
def _imaginary_part(g: Emitter, equation: Any, x: Complex) -> Operand:
    return x.imag


@lowers_complex("conj")
def _conj(g: Emitter, equation: Any, x: Operand) -> Operand:
    dtype = _real(equation.outvars[0].aval.dtype)
    if not isinstance(x, Complex):
        return Complex(x, _zeros(g, equation.invars[0].aval, dtype))
    return Complex(x.real, -x.imag if isinstance(x.imag, np.ndarray) else g.op("Neg", dtype, x.imag))


def _zeros(g: Emitter, aval: Any, dtype: np.dtype) -> Operand:
    return g.expand(np.zeros((), dtype), aval.shape, (), dtype)


@lowers_complex("convert_element_type")
def _convert(g: Emitter, equation: Any, x: Operand) -> Operand:
    source, target = equation.invars[0].aval, np.dtype(equation.params["new_dtype"])
    if isinstance(x, Complex):
        real = g.cast(x.real, _real(source.dtype), _real(target))
        return Complex(real, g.cast(x.imag, _real(source.dtype), _real(target))) if target.kind == "c" else real
    return Complex(g.cast(x, source.dtype, _real(target)), _zeros(g, source, _real(target)))


# --- arithmetic --------------------------------------------------------------------------------------------------------

Pair = tuple[Any, Any]


def _multiply(x: Pair, y: Pair) -> Pair:
    return x[0] * y[0] - x[1] * y[1], x[0] * y[1] + x[1] * y[0]


def _divide(x: Pair, y: Pair) -> Pair:
    """By the greater part of the divisor (Smith, Algorithm 116, 1962)."""
    flat = jnp.abs(y[0]) >= jnp.abs(y[1])
    large, small = jnp.where(flat, y[0], y[1]), jnp.where(flat, y[1], y[0])
    ratio = small / jnp.where(large == 0, 1, large)
    scale = large + small * ratio
    real = jnp.where(flat, x[0] + x[1] * ratio, x[0] * ratio + x[1]) / scale
    return real, jnp.where(flat, x[1] - x[0] * ratio, x[1] * ratio - x[0]) / scale


def _absolute(x: Pair) -> Any:
    large, small = jnp.maximum(jnp.abs(x[0]), jnp.abs(x[1])), jnp.minimum(jnp.abs(x[0]), jnp.abs(x[1]))
    ratio = small / jnp.where((large == 0) | (large == jnp.inf), 1, large)
    return large * jnp.sqrt(1 + ratio * ratio)


def _exp(x: Pair) -> Pair:
    size = jnp.exp(x[0])
    return size * jnp.cos(x[1]), size * jnp.sin(x[1])


def _log(x: Pair) -> Pair:
    return jnp.log(_absolute(x)), jnp.arctan2(x[1], x[0])


def _sqrt(x: Pair) -> Pair:
    size = _absolute(x)
    big = jnp.sqrt((size + jnp.abs(x[0])) / 2)
    other = jnp.abs(x[1]) / jnp.where(big == 0, 1, 2 * big)
    right = x[0] >= 0
    return jnp.where(right, big, other), jnp.where(x[1] < 0, -1, 1).astype(x[1].dtype) * jnp.where(right, other, big)


def _sin(x: Pair) -> Pair:
    return jnp.sin(x[0]) * jnp.cosh(x[1]), jnp.cos(x[0]) * jnp.sinh(x[1])


def _cos(x: Pair) -> Pair:
    return jnp.cos(x[0]) * jnp.cosh(x[1]), -jnp.sin(x[0]) * jnp.sinh(x[1])


def _sinh(x: Pair) -> Pair:
    return jnp.sinh(x[0]) * jnp.cos(x[1]), jnp.cosh(x[0]) * jnp.sin(x[1])


def _cosh(x: Pair) -> Pair:
    return jnp.cosh(x[0]) * jnp.cos(x[1]), jnp.sinh(x[0]) * jnp.sin(x[1])


def _one(x: Pair) -> Pair:
    return jnp.ones_like(x[0]), jnp.zeros_like(x[0])


def _tanh(x: Pair) -> Pair:
    """(tanh a (1 + tan^2 b) + i tan b (1 - tanh^2 a)) / (1 + tanh^2 a tan^2 b)."""
    t, u = jnp.tanh(x[0]), jnp.tan(x[1])
    scale = 1 + (t * u) ** 2
    return t * (1 + u * u) / scale, u * (1 - t * t) / scale


def _tan(x: Pair) -> Pair:
    real, imag = _tanh((-x[1], x[0]))
    return imag, -real


def _power(x: Pair, y: Pair) -> Pair:
    real, imag = _exp(_multiply(y, _log(x)))
    zero = (x[0] == 0) & (x[1] == 0)
    return jnp.where(zero, jnp.where((y[0] == 0) & (y[1] == 0), 1, 0), real), jnp.where(zero, 0, imag)


def _sign(x: Pair) -> Pair:
    size = _absolute(x)
    safe = jnp.where(size == 0, 1, size)
    return x[0] / safe, x[1] / safe


def _reciprocal_root(x: Pair) -> Pair:
    return _divide(_one(x), _sqrt(x))


def _logistic(x: Pair) -> Pair:
    real, imag = _exp((-x[0], -x[1]))
    return _divide(_one(x), (1 + real, imag))


def _expm1(x: Pair) -> Pair:
    half = jnp.sin(x[1] / 2)
    return jnp.expm1(x[0]) * jnp.cos(x[1]) - 2 * half * half, jnp.exp(x[0]) * jnp.sin(x[1])


def _log1p(x: Pair) -> Pair:
    return 0.5 * jnp.log1p(x[0] * (2 + x[0]) + x[1] * x[1]), jnp.arctan2(x[1], 1 + x[0])


_FUNCTIONS: dict[str, Callable] = {
    "mul": _multiply, "div": _divide, "abs": _absolute, "exp": _exp, "log": _log, "sqrt": _sqrt, "sin": _sin, "cos": _cos, "sinh": _sinh, "cosh": _cosh, "tanh": _tanh,
    "tan": _tan, "pow": _power, "sign": _sign, "rsqrt": _reciprocal_root, "logistic": _logistic, "expm1": _expm1, "log1p": _log1p, "square": lambda x: _multiply(x, x),
    "eq": lambda x, y: (x[0] == y[0]) & (x[1] == y[1]), "ne": lambda x, y: (x[0] != y[0]) | (x[1] != y[1]), "is_finite": lambda x: jnp.isfinite(x[0]) & jnp.isfinite(x[1]),
}  # fmt: skip


@lowers_complex(*_FUNCTIONS)
def _arithmetic(g: Emitter, equation: Any, *inputs: Operand) -> Any:
    return _on_pairs(g, equation, _FUNCTIONS[equation.primitive.name], inputs)


def _on_pairs(g: Emitter, equation: Any, function: Callable, inputs: Sequence[Operand]) -> Any:
    """Write a function over pairs of real arrays."""
    operands, avals = [], []
    for x, variable in zip(inputs, equation.invars, strict=True):
        parts = x if isinstance(x, Complex) else (x,)
        operands += parts
        avals += [Aval(variable.aval.shape, _real(variable.aval.dtype))] * len(parts)
    kinds = [is_complex(v.aval) for v in equation.invars]

    def over_parts(*arrays):
        remaining = iter(arrays)
        return function(*((next(remaining), next(remaining)) if pair else (next(remaining), 0.0) for pair in kinds))

    outputs = g.trace(over_parts, avals, *operands)
    return Complex(*outputs) if is_complex(equation.outvars[0].aval) else outputs


@lowers_complex("integer_pow")
def _integer_power(g: Emitter, equation: Any, x: Operand) -> Any:
    exponent = equation.params["y"]

    def power(base):
        result, square, left = _one(base), base, abs(exponent)
        while left:
            result = _multiply(result, square) if left & 1 else result
            left >>= 1
            square = _multiply(square, square) if left else square
        return result if exponent >= 0 else _divide(_one(base), result)

    return _on_pairs(g, equation, power, (x,))


@lowers_complex("reduce_prod", "cumprod")
def _products(g: Emitter, equation: Any, x: Operand) -> Any:
    name, p = equation.primitive.name, equation.params
    axes = [int(a) for a in p["axes"]] if name == "reduce_prod" else [int(p["axis"])]

    def step(so_far: Pair, element: Pair) -> tuple[Pair, Pair]:
        following = _multiply(so_far, element)
        return following, following

    def product(x):
        if not axes:
            return x
        kept = [n for d, n in enumerate(x[0].shape) if d not in axes]
        real, imag = (jnp.moveaxis(part, axes, range(len(axes))).reshape(-1, *kept) for part in x)
        last, running = jax.lax.scan(step, (jnp.ones(kept, real.dtype), jnp.zeros(kept, real.dtype)), (real, imag), reverse=bool(p.get("reverse")))
        return last if name == "reduce_prod" else tuple(jnp.moveaxis(part, 0, axes[0]) for part in running)

    return _on_pairs(g, equation, product, (x,))


@lowers_complex("dot_general", "conv_general_dilated")
def _product(g: Emitter, equation: Any, x: Operand, y: Operand) -> Operand:
    params = {**equation.params}
    if params.get("preferred_element_type") is not None:
        params["preferred_element_type"] = _real(params["preferred_element_type"])
    same = _part_of(equation, params)
    rule, dtype = rule_of(equation.primitive.name), _real(equation.outvars[0].aval.dtype)

    def times(a: Operand, b: Operand) -> Operand:
        return rule(g, same, a, b)

    if not isinstance(x, Complex):
        return Complex(times(x, y.real), times(x, y.imag))
    if not isinstance(y, Complex):
        return Complex(times(x.real, y), times(x.imag, y))
    real = g.op("Sub", dtype, times(x.real, y.real), times(x.imag, y.imag))
    return Complex(real, g.op("Add", dtype, times(x.real, y.imag), times(x.imag, y.real)))


# --- Fourier transforms ------------------------------------------------------------------------------------------------


@lowers_complex("fft")
def _fft(g: Emitter, equation: Any, x: Operand) -> Operand:
    kind = str(equation.params["fft_type"]).rpartition(".")[2]
    kind = {"0": "FFT", "1": "IFFT", "2": "RFFT", "3": "IRFFT"}.get(kind, kind)
    lengths = equation.params["fft_lengths"]
    aval = equation.invars[0].aval
    dtype = _real(aval.dtype)
    rank = len(aval.shape)
    axes = list(range(rank - len(lengths), rank))
    inner = carrier("DFT", dtype, {})
    if kind == "RFFT":
        packed = g.unsqueeze(g.cast(x, dtype, inner), [rank])
        packed = _transform(g, packed, axes[-1], onesided=True)
        axes, inverse = axes[:-1], False
    else:
        packed = g.concat([g.unsqueeze(g.cast(part, dtype, inner), [rank]) for part in x], rank)
        inverse = kind != "FFT"
    for axis in axes:
        if kind == "IRFFT" and axis == axes[-1]:
            packed = _whole_spectrum(g, packed, aval.shape, axis, lengths[-1], inner)
        packed = _transform(g, packed, axis, inverse=inverse)
    real, imag = g.split_pair(packed, rank)
    if kind == "IRFFT":
        return g.cast(real, inner, dtype)
    return Complex(g.cast(real, inner, dtype), g.cast(imag, inner, dtype))


def _transform(g: Emitter, packed: Operand, axis: int, inverse: bool = False, onesided: bool = False) -> Operand:
    """DFT along `axis`; it wants a batch before it."""
    opened = g.unsqueeze(packed, [0])
    attributes = {name: 1 for name, given in (("inverse", inverse), ("onesided", onesided)) if given}
    if g.opset < 20:
        return g.squeeze(g.node("DFT", opened, axis=axis + 1, **attributes), [0])
    return g.squeeze(g.node("DFT", opened, None, np.asarray(axis + 1, np.int64), **attributes), [0])


def _whole_spectrum(g: Emitter, packed: Operand, shape: tuple, axis: int, length: Any, dtype: np.dtype) -> Operand:
    """Both sides of the spectrum of a real signal: the conjugates, in reverse order, follow the half that is given."""
    half = shape[axis]
    if not is_static((length, half)):
        raise g.unsupported("an inverse real Fourier transform along a dynamic dimension has no form in ONNX")
    missing = length - half
    if missing <= 0:
        return g.slice(packed, [0], [length], [axis])
    mirrored = g.slice(packed, [missing], [0], [axis], [-1])
    sign = np.asarray([1, -1], dtype)
    return g.concat([packed, g.node("Mul", mirrored, sign)], axis)
