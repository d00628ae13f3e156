"""JAX's primitives in ONNX: functions over `jax.numpy` and `jax.lax`, exported, checked by `onnx` and run by ONNX Runtime, equal what JAX computes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import neurarust_jax as nr
from tests.onnx.exported import assert_same, checked


def check(function: Callable, *inputs: Any, opset: int = 23, **options: Any) -> Any:
    """Export a function of arrays; ONNX Runtime gives what JAX gives."""

    def over_arrays(*tensors: Any) -> Any:
        return function(*map(jnp.asarray, tensors))

    def expected(*tensors: Any) -> Any:
        with jax.enable_x64(True):
            return jax.jit(function)(*map(jnp.asarray, tensors))

    tensors = [nr.tensor(x) for x in inputs]
    with jax.enable_x64(True):  # code in jax.numpy is exported with the dtypes that it has where it is exported
        program = nr.onnx.export(over_arrays, tuple(tensors), opset_version=opset, **options)
    coarse = any(t.dtype == nr.float16 for t in tensors)
    assert_same(checked(program), expected, *tensors, rtol=2e-3 if coarse else 1e-5)
    return program.model_proto


RNG = np.random.default_rng(0)


def normal(*shape: int, dtype: Any = np.float32) -> np.ndarray:
    return RNG.standard_normal(shape).astype(dtype)


def positive(*shape: int) -> np.ndarray:
    return (np.abs(normal(*shape)) + 0.1).astype(np.float32)


def ints(*shape: int, low: int = -5, high: int = 6, dtype: Any = np.int32) -> np.ndarray:
    return RNG.integers(low, high, shape).astype(dtype)


def bools(*shape: int) -> np.ndarray:
    return RNG.random(shape) < 0.5


X, Y, POSITIVE, INTS, COUNTS, B = normal(2, 3, 4), normal(2, 3, 4), positive(2, 3, 4), ints(2, 3, 4), ints(2, 3, 4, low=1), bools(2, 3, 4)
SPECIAL = np.array([0.0, -0.0, 1.0, -1.5, np.inf, -np.inf, np.nan, 1e-30, 3e38], np.float32)
UNIT = RNG.uniform(-0.99, 0.99, (2, 3, 4)).astype(np.float32)
IMAGE, KERNEL = normal(2, 4, 7, 8), normal(6, 4, 3, 2)
NHWC = ("NHWC", "HWIO", "NHWC")

ELEMENTWISE: dict[str, tuple] = {
    "add": (jnp.add, X, Y), "sub": (jnp.subtract, X, Y), "mul": (jnp.multiply, X, Y), "div": (jnp.divide, X, Y), "add of bools": (lax.bitwise_or, B, ~B),
    "rem": (lax.rem, X, Y), "rem of ints": (lax.rem, INTS, COUNTS), "mod": (jnp.mod, X, Y), "floor_divide": (jnp.floor_divide, INTS, COUNTS), "div of ints": (lax.div, INTS, COUNTS), "ints by zero": (lambda x, y: (lax.div(x, y), lax.rem(x, y)), INTS, INTS[::-1]), "gcd": (jnp.gcd, INTS, INTS[::-1]),
    "max": (jnp.maximum, X, Y), "min": (jnp.minimum, X, Y), "max of int16": (jnp.maximum, INTS.astype(np.int16), COUNTS.astype(np.int16)), "max of bools": (lax.max, B, ~B),
    "neg": (jnp.negative, X), "neg of uint": (lax.neg, COUNTS.astype(np.uint32)), "abs": (jnp.abs, X), "sign": (jnp.sign, X), "square": (lax.square, X),
    "floor": (jnp.floor, X), "ceil": (jnp.ceil, X), "round": (jnp.round, X * 3), "round away": (lambda x: lax.round(x, lax.RoundingMethod.AWAY_FROM_ZERO), X * 3),
    "exp": (jnp.exp, X), "exp2": (jnp.exp2, X), "log": (jnp.log, POSITIVE), "sqrt": (jnp.sqrt, POSITIVE), "rsqrt": (lax.rsqrt, POSITIVE), "cbrt": (jnp.cbrt, X),
    "log1p": (jnp.log1p, UNIT), "log1p near zero": (jnp.log1p, UNIT * 1e-6), "expm1": (jnp.expm1, X), "expm1 near zero": (jnp.expm1, UNIT * 1e-6),
    "tanh": (jnp.tanh, X), "logistic": (jax.nn.sigmoid, X), "sin": (jnp.sin, X), "cos": (jnp.cos, X), "tan": (jnp.tan, X), "asin": (jnp.arcsin, UNIT),
    "acos": (jnp.arccos, UNIT), "atan": (jnp.arctan, X), "sinh": (jnp.sinh, X), "cosh": (jnp.cosh, X), "asinh": (jnp.arcsinh, X),
    "acosh": (jnp.arccosh, 1 + POSITIVE), "atanh": (jnp.arctanh, UNIT), "atan2": (jnp.arctan2, X, Y), "atan2 of special numbers": (jnp.arctan2, SPECIAL[:, None], SPECIAL),
    "pow": (jnp.power, POSITIVE, Y), "integer_pow": (lambda x: (x**2, x**3, x**4, x**-1, x**-2), X), "integer_pow of ints": (lambda x: (x**2, x**5), INTS),
    "clamp": (lambda x: jnp.clip(x, -0.5, 0.5), X), "clamp by arrays": (lax.clamp, -POSITIVE, X, POSITIVE), "nextafter": (jnp.nextafter, SPECIAL[:6], SPECIAL[::-1][:6]),
    "is_finite": (jnp.isfinite, SPECIAL), "isnan": (jnp.isnan, SPECIAL), "isinf": (jnp.isinf, SPECIAL), "signbit": (jnp.signbit, SPECIAL),
    "where": (jnp.where, B, X, Y), "where of numbers": (lambda b, x: jnp.where(b, x, 0.0), B, X), "where of bools": (jnp.where, B, X > 0, Y > 0),
    "select of three": (lambda i, x, y: lax.select_n(jnp.abs(i) % 3, x, y, x + y), INTS, X, Y), "where of uint64": (jnp.where, B, COUNTS.astype(np.uint64), COUNTS.astype(np.uint64) * 2),
    "known choices": (lambda x: (jnp.where(jnp.zeros((1, 1), bool), x[0, 0, 0], jnp.zeros((1, 1))), jnp.ones((2, 3, 4), bool) & (x[0] > 0)), X), "comparisons": (lambda x, y: (x < y, x <= y, x > y, x >= y, x == y, x != y), INTS, COUNTS), "comparisons of bools": (lambda x, y: (x < y, x == y, x != y), B, ~B),
    "logic": (lambda x, y: (x & y, x | y, x ^ y, ~x), B, bools(2, 3, 4)), "bits": (lambda x, y: (x & y, x | y, x ^ y, ~x), INTS, COUNTS),
    "bits of uint8": (lambda x, y: (x & y, x | y, x ^ y, ~x), COUNTS.astype(np.uint8), COUNTS.astype(np.uint8) * 3), "bits of int64": (lambda x, y: (x & y, x | y, x ^ y, ~x), INTS.astype(np.int64), COUNTS.astype(np.int64)),
    "shifts": (lambda x, y: (lax.shift_left(x, y), lax.shift_right_logical(x, y), lax.shift_right_arithmetic(x, y)), INTS, COUNTS),
    "shift beyond the width": (lambda x: (x << 40, lax.shift_right_logical(x, jnp.uint32(33))), COUNTS.astype(np.uint32)),
    "population_count": (lax.population_count, INTS), "clz": (lax.clz, COUNTS), "bitcast to int": (lambda x: x.view(jnp.int32), SPECIAL), "bitcast to float": (lambda x: x.view(jnp.float32), SPECIAL.view(np.int32)),
    "bitcast of float64": (lambda x: x.view(jnp.int64), normal(5, dtype=np.float64)), "bitcast of float16": (lambda x: x.view(jnp.uint16), normal(5, dtype=np.float16)),
    "frexp": (jnp.frexp, X), "ldexp": (jnp.ldexp, X, INTS), "copysign": (jnp.copysign, X, Y), "convert": (lambda x: (x.astype(jnp.int32), x.astype(bool), x.astype(jnp.float16), x.astype(jnp.int8)), X * 3),
    "reduce_precision": (lambda x: lax.reduce_precision(x, 8, 7), X), "float16": (lambda x, y: jnp.exp(x) * y - x / (1 + y * y), normal(4, dtype=np.float16), normal(4, dtype=np.float16)),
    "float64": (lambda x: (jnp.tan(x), jnp.sin(x), x**3, jax.nn.softmax(x)), normal(4, dtype=np.float64)), "softplus": (jax.nn.softplus, X), "gelu": (jax.nn.gelu, X), "logaddexp": (jnp.logaddexp, X, Y),
    "broadcast": (lambda x, y: x[:, None] * y + x.sum(), normal(3), normal(4)), "sinc": (jnp.sinc, X), "hypot": (jnp.hypot, X, Y), "heaviside": (jnp.heaviside, X, Y), "isclose": (jnp.isclose, X, Y),
}  # fmt: skip

SPECIAL_FUNCTIONS: dict[str, tuple] = {
    "erf": (jax.scipy.special.erf, X), "erfc": (jax.scipy.special.erfc, X * 2), "erf_inv": (jax.scipy.special.erfinv, UNIT), "lgamma": (jax.scipy.special.gammaln, X * 5),
    "digamma": (jax.scipy.special.digamma, X * 5), "igamma": (jax.scipy.special.gammainc, POSITIVE * 3, POSITIVE[::-1] * 3), "igammac": (jax.scipy.special.gammaincc, POSITIVE * 3, POSITIVE[::-1] * 3),
    "betainc": (jax.scipy.special.betainc, POSITIVE * 3, POSITIVE[::-1] * 3, np.abs(UNIT)), "zeta": (jax.scipy.special.zeta, POSITIVE + 1.1, POSITIVE[::-1] * 3),
    "polygamma": (lambda x: jax.scipy.special.polygamma(2, x), POSITIVE), "i0e": (jax.scipy.special.i0e, X * 8), "i1e": (jax.scipy.special.i1e, X * 8), "ndtri": (jax.scipy.special.ndtri, np.abs(UNIT)),
    "erf of float64": (jax.scipy.special.erf, X.astype(np.float64)), "logsumexp": (lambda x: jax.nn.logsumexp(x, axis=1), X), "log_ndtr": (jax.scipy.special.log_ndtr, X * 4), "igamma with broadcasting": (jax.scipy.special.gammainc, POSITIVE * 3, POSITIVE[:1, :1] * 3), "entr": (jax.scipy.special.entr, POSITIVE),
    "xlogy": (jax.scipy.special.xlogy, POSITIVE, POSITIVE),
}  # fmt: skip

SHAPING: dict[str, tuple] = {
    "reshape": (lambda x: x.reshape(4, 6), X), "ravel": (jnp.ravel, X), "transpose": (lambda x: x.transpose(2, 0, 1), X), "broadcast_to": (lambda x: jnp.broadcast_to(x, (5, 2, 3, 4)), X),
    "broadcast_in_dim": (lambda x: lax.broadcast_in_dim(x, (2, 5, 3), (0, 2)), normal(2, 1)), "squeeze": (lambda x: jnp.squeeze(x), normal(2, 1, 3, 1)), "expand_dims": (lambda x: x[:, None, :, None], normal(2, 3)),
    "concatenate": (lambda x, y: jnp.concatenate([x, y, x], 1), X, Y), "stack": (lambda x, y: jnp.stack([x, y], -1), X, Y), "tile": (lambda x: jnp.tile(x, (2, 1, 3)), X), "repeat": (lambda x: jnp.repeat(x, 3, axis=1), X),
    "split": (lambda x: jnp.split(x, [1, 3], axis=2), X), "slice": (lambda x: x[:, 1:, ::2], X), "slice with steps": (lambda x: x[::-1, 2::-2], X), "flip": (lambda x: jnp.flip(x, (0, 2)), X),
    "dynamic_slice": (lambda x, i: lax.dynamic_slice(x, (i * 0, i, i), (2, 2, 2)), X, np.int32(1)), "dynamic_slice outside": (lambda x, i: lax.dynamic_slice(x, (i * 0, i, i), (2, 2, 2)), X, np.int32(9)),
    "dynamic_update_slice": (lambda x, y, i: lax.dynamic_update_slice(x, y[:, :2], (i * 0, i, i * 0)), X, Y, np.int32(1)), "dynamic_update_slice in two": (lambda x, y, i: lax.dynamic_update_slice(x, y[:, :2, :2], (i * 0, i, i)), X, Y, np.int32(1)),
    "pad": (lambda x: jnp.pad(x, ((1, 2), (0, 0), (3, 0)), constant_values=2.5), X), "pad reflecting": (lambda x: jnp.pad(x, 1, mode="reflect"), X), "pad by the edge": (lambda x: jnp.pad(x, 1, mode="edge"), X), "pad wrapping": (lambda x: jnp.pad(x, 1, mode="wrap"), X),
    "pad negative": (lambda x: lax.pad(x, jnp.float32(0), ((-1, 2, 0), (1, -1, 0), (-1, -1, 0))), X), "pad between": (lambda x: lax.pad(x, jnp.float32(7), ((0, 0, 0), (1, 0, 2), (-2, 1, 1))), X), "pad of int16": (lambda x: jnp.pad(x, 1), INTS.astype(np.int16)),
    "iota": (lambda x: x + jnp.arange(4) + lax.broadcasted_iota(jnp.float32, (3, 4), 0), X), "eye": (lambda x: x + jnp.eye(4, dtype=jnp.float32)[:3], X), "tril": (jnp.tril, X), "triu": (lambda x: jnp.triu(x, 1), INTS),
    "roll": (lambda x: jnp.roll(x, 1, axis=1), X), "rot90": (jnp.rot90, X), "moveaxis": (lambda x: jnp.moveaxis(x, 0, -1), X), "diag": (jnp.diag, normal(4)), "diagonal": (lambda x: jnp.diagonal(x, axis1=1, axis2=2), X), "meshgrid": (lambda x, y: jnp.meshgrid(x, y), normal(3), normal(2)),
    "large constants": (lambda x: x + jnp.zeros((1200, 1)) + jnp.ones(1000), normal(1200, 1000)), "kron": (jnp.kron, normal(2, 3), normal(3, 2)), "interp": (lambda x: jnp.interp(x, jnp.arange(5.0), jnp.arange(5.0) ** 2), POSITIVE),
}  # fmt: skip

REDUCTIONS: dict[str, tuple] = {
    "sum": (lambda x: (x.sum(), x.sum(1), x.sum((0, 2), keepdims=True)), X), "sum of ints": (lambda x: x.sum(1), INTS), "sum of uint8": (lambda x: x.sum(0, dtype=jnp.uint8), COUNTS.astype(np.uint8)),
    "prod": (lambda x: x.prod(1), X), "max": (lambda x: (x.max(), x.max(2)), X), "min": (lambda x: x.min(0), X), "mean": (lambda x: x.mean(1), X), "var": (lambda x: x.var(1), X), "any": (lambda x: x.any(1), B), "all": (lambda x: x.all((0, 2)), B),
    "xor": (lambda x: jnp.bitwise_xor.reduce(x, axis=1), INTS), "or of ints": (lambda x: jnp.bitwise_or.reduce(x, axis=1), INTS), "argmax": (lambda x: (x.argmax(), x.argmax(1)), X), "argmin": (lambda x: x.argmin(2), INTS), "argmax of bools": (lambda x: x.argmax(2), B),
    "norm": (lambda x: jnp.linalg.norm(x, axis=-1), X), "reduce by a function": (lambda x: lax.reduce(x, jnp.float32(1), lambda a, b: a * 2 + b, (1,)), X), "max of nothing": (lambda x: jnp.max(x[:, :0], axis=1, initial=2.0), X), "sum of nothing": (lambda x: x[:, :0].sum(1), X),
    "cumsum": (lambda x: jnp.cumsum(x, 1), X), "cumsum reversed": (lambda x: lax.cumsum(x, 2, reverse=True), X), "cumsum of int8": (lambda x: lax.cumsum(x, 1), INTS.astype(np.int8)), "cumprod": (lambda x: jnp.cumprod(x, 2), X), "cummax": (lambda x: lax.cummax(x, 2), X),
    "cummin reversed": (lambda x: lax.cummin(x, 2, reverse=True), INTS), "cumlogsumexp": (lambda x: lax.cumlogsumexp(x, 2), X), "associative_scan": (lambda x: lax.associative_scan(lambda a, b: a * b + b, x, axis=2), X),
    "sort": (lambda x: jnp.sort(x, 1), X), "sort of special numbers": (jnp.sort, SPECIAL), "argsort": (lambda x: jnp.argsort(x, 2), INTS), "argsort descending": (lambda x: jnp.argsort(x, 2, descending=True), X), "sort by two keys": (lambda i, j: lax.sort((i, j, i * j), num_keys=2), INTS, COUNTS),
    "lexsort": (lambda i, j: jnp.lexsort((i, j)), INTS, COUNTS), "top_k": (lambda x: lax.top_k(x, 2), X), "median": (lambda x: jnp.median(x, 2), X), "quantile": (lambda x: jnp.quantile(x, 0.3, axis=2), X), "searchsorted": (lambda x: jnp.searchsorted(jnp.array([-1.0, 0.0, 1.0]), x), X),
    "bincount": (lambda i: jnp.bincount(i.ravel(), length=7), COUNTS), "histogram": (lambda x: jnp.histogram(x, bins=4, range=(-2, 2))[0], X), "unique": (lambda i: jnp.unique(i, size=8, fill_value=-9), INTS), "nonzero": (lambda b: jnp.nonzero(b, size=10), B),
}  # fmt: skip

CONTRACTIONS: dict[str, tuple] = {
    "matmul": (jnp.matmul, normal(3, 4), normal(4, 5)), "matmul of vectors": (jnp.matmul, normal(4), normal(4)), "matmul of batches": (jnp.matmul, normal(2, 3, 4), normal(2, 4, 5)), "matmul with broadcasting": (jnp.matmul, normal(2, 3, 4), normal(4, 5)),
    "matmul transposed": (lambda x, y: x @ y.T, normal(3, 4), normal(5, 4)), "tensordot": (lambda x, y: jnp.tensordot(x, y, ((1, 2), (0, 1))), normal(2, 3, 4), normal(3, 4, 5)), "outer": (jnp.outer, normal(3), normal(4)), "vdot": (jnp.vdot, normal(4), normal(4)),
    "einsum attention": (lambda q, k: jnp.einsum("bqhd,bkhd->bhqk", q, k), normal(2, 3, 4, 5), normal(2, 6, 4, 5)), "einsum diagonal": (lambda x: jnp.einsum("bii->bi", x), normal(2, 3, 3)), "einsum of three": (lambda x, y, z: jnp.einsum("ij,jk,kl->il", x, y, z), normal(2, 3), normal(3, 4), normal(4, 5)),
    "matmul of ints": (jnp.matmul, ints(3, 4), ints(4, 5)), "matmul of int8": (lambda x, y: lax.dot(x, y, preferred_element_type=jnp.int32), ints(3, 4, dtype=np.int8), ints(4, 5, dtype=np.int8)), "dot_general": (lambda x, y: lax.dot_general(x, y, (((0,), (2,)), ((2,), (0,)))), normal(3, 4, 2), normal(2, 5, 3)),
    "conv": (lambda x, w: lax.conv(x, w, (1, 1), "SAME"), IMAGE, KERNEL), "conv NHWC": (lambda x, w: lax.conv_general_dilated(x, w, (2, 1), "VALID", dimension_numbers=NHWC), normal(2, 7, 8, 4), normal(3, 2, 4, 6)),
    "conv in groups": (lambda x, w: lax.conv_general_dilated(x, w, (1, 2), ((1, 0), (2, 1)), rhs_dilation=(2, 1), feature_group_count=2), IMAGE, normal(6, 2, 3, 2)), "conv transposed": (lambda x, w: lax.conv_general_dilated(x, w, (1, 1), ((2, 1), (1, 1)), lhs_dilation=(2, 3)), IMAGE, KERNEL),
    "conv transposed in groups": (lambda x, w: lax.conv_general_dilated(x, w, (1, 1), ((1, 2), (1, 2)), lhs_dilation=(2, 2), rhs_dilation=(1, 2), feature_group_count=2), IMAGE, normal(6, 2, 3, 2)), "conv_transpose": (lambda x, w: lax.conv_transpose(x, w, (2, 2), "SAME"), normal(2, 5, 6, 4), normal(3, 3, 4, 2)),
    "conv with negative padding": (lambda x, w: lax.conv_general_dilated(x, w, (1, 1), ((-1, 2), (0, -1))), IMAGE, KERNEL), "conv dilated and strided": (lambda x, w: lax.conv_general_dilated(x, w, (2, 2), ((2, 2), (2, 2)), lhs_dilation=(2, 2)), IMAGE, KERNEL),
    "conv of float64": (lambda x, w: lax.conv_general_dilated(x, w, (2, 1), ((1, 1), (0, 1)), feature_group_count=2), IMAGE.astype(np.float64), normal(6, 2, 3, 2, dtype=np.float64)), "conv1d": (lambda x, w: lax.conv_general_dilated(x, w, (2,), "SAME"), normal(2, 3, 9), normal(4, 3, 3)),
    "conv over batch groups": (lambda x, w: lax.conv_general_dilated(x, w, (1, 1), "VALID", batch_group_count=2), normal(4, 3, 5, 5), normal(6, 3, 2, 2)), "max pool": (lambda x: lax.reduce_window(x, -jnp.inf, lax.max, (1, 1, 3, 2), (1, 1, 2, 2), "SAME"), IMAGE),
    "max pool NHWC": (lambda x: lax.reduce_window(x, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID"), IMAGE), "min pool": (lambda x: lax.reduce_window(x, jnp.inf, lax.min, (1, 1, 3, 2), (1, 1, 1, 2), "VALID"), IMAGE), "average pool": (lambda x: lax.reduce_window(x, 0.0, lax.add, (1, 1, 3, 2), (1, 1, 2, 2), "SAME") / 6, IMAGE),
    "pool of ints": (lambda x: lax.reduce_window(x, 0, lax.add, (1, 2, 2), (1, 1, 1), "SAME"), INTS), "pool over all": (lambda x: lax.reduce_window(x, -jnp.inf, lax.max, (2, 2, 2, 2), (1, 1, 1, 1), "VALID"), IMAGE), "pool dilated": (lambda x: lax.reduce_window(x, -jnp.inf, lax.max, (1, 1, 2, 2), (1, 1, 1, 1), "VALID", window_dilation=(1, 1, 2, 3)), IMAGE),
    "pool by products": (lambda x: lax.reduce_window(x, jnp.float32(1), lax.mul, (1, 1, 2, 2), (1, 1, 2, 2), "SAME"), IMAGE), "gradient of max pool": (jax.grad(lambda x: (lax.reduce_window(x, -jnp.inf, lax.max, (1, 1, 3, 2), (1, 1, 2, 2), "SAME") ** 2).sum()), IMAGE),
    "gradient of conv": (jax.grad(lambda x, w: (lax.conv(x, w, (2, 1), "SAME") ** 2).sum(), argnums=(0, 1)), IMAGE, KERNEL), "convolve": (lambda x, y: jnp.convolve(x, y, mode="same"), normal(9), normal(3)), "correlate": (lambda x, y: jnp.correlate(x, y), normal(9), normal(3)),
}  # fmt: skip

POINTS = ints(5, low=-3, high=3)
INDEXING: dict[str, tuple] = {
    "x[i]": (lambda x, i: x[i], X, np.int32(1)), "x[-1]": (lambda x: x[-1], X), "x[indices]": (lambda x, i: x[i], normal(4, 3), POINTS), "x[:, indices]": (lambda x, i: x[:, i], X, POINTS), "x[i, :, j]": (lambda x, i: x[i % 2, :, i], X, POINTS), "x[i, j, k]": (lambda x, i: x[i % 2, i % 3, i], X, POINTS),
    "x[indices, 1:3]": (lambda x, i: x[:, i, 1:3], X, POINTS), "x[indices of two dims]": (lambda x, i: x[:, i.reshape(5, 1)], X, POINTS), "known indices": (lambda x: x[:, jnp.array([2, 0, 1]), jnp.array([3, 1, 0])], X), "take": (lambda x, i: jnp.take(x, i, axis=2), X, POINTS), "take clipping": (lambda x, i: jnp.take(x, i * 3, axis=1, mode="clip"), X, POINTS),
    "take filling": (lambda x, i: jnp.take(x, i * 3, axis=1, mode="fill"), X, POINTS), "take wrapping": (lambda x, i: jnp.take(x, i * 3, axis=1, mode="wrap"), X, POINTS), "take_along_axis": (lambda x, i: jnp.take_along_axis(x, i, 1), X, ints(2, 5, 4, low=0, high=3)), "take_along_axis of one": (lambda x, i: jnp.take_along_axis(x, i, -1), X, ints(2, 3, 1, low=0, high=4)),
    "embedding": (lambda w, i: w[i], normal(10, 4), ints(2, 3, low=0, high=10, dtype=np.int64)), "at set": (lambda x, i: x.at[i % 2].set(1.0), X, np.int32(1)), "at add": (lambda x, i: x.at[:, i].add(2.0), X, POINTS), "at add of arrays": (lambda x, i, y: x.at[i, i].add(y), normal(4, 4, 2), POINTS, normal(5, 2)), "at mul": (lambda x, i: x.at[0, i].multiply(2.0), X, ints(2, low=0, high=3)),
    "at max": (lambda x, i: x.at[:, :, i].max(0.3), X, POINTS), "at min": (lambda x, i: x.at[1, i].min(0.3), X, POINTS), "at set outside": (lambda x, i: x.at[i].set(9.0), normal(4), np.array([1, 7, -9], np.int32)), "at add outside": (lambda x, i: x.at[i].add(9.0), normal(4), np.array([1, 7, -9], np.int32)), "at set of a slice": (lambda x: x.at[:, 1:].set(0.0), X),
    "at set clipping": (lambda x, i: x.at[i].set(9.0, mode="clip"), normal(4), np.array([1, 7], np.int32)), "at get fill": (lambda x, i: x.at[i].get(mode="fill", fill_value=3.0), normal(4), np.array([1, 7, -9], np.int32)), "segment_sum": (lambda x, i: jax.ops.segment_sum(x, i, 4), normal(5, 2), ints(5, low=0, high=4)),
    "segment_max": (lambda x, i: jax.ops.segment_max(x, i, 4), normal(5, 2), ints(5, low=0, high=4)), "put_along_axis": (lambda x, i: jnp.put_along_axis(x, i, 5.0, 2, inplace=False), X, ints(2, 3, 1, low=0, high=4)), "one_hot": (lambda i: jax.nn.one_hot(i, 6), ints(2, 3, low=0, high=6)), "vmapped slice": (lambda x, i: jax.vmap(lambda r, j: lax.dynamic_slice(r, (j,), (2,)))(x, i), normal(3, 6), ints(3, low=0, high=5)),
    "vmapped update": (lambda x, i: jax.vmap(lambda r, j: lax.dynamic_update_slice(r, jnp.ones(2, jnp.float32), (j,)))(x, i), normal(3, 6), ints(3, low=0, high=5)), "vmapped index": (lambda x, i: jax.vmap(lambda r, j: r[j])(x, i), normal(3, 6), ints(3, low=0, high=6)), "select by argmax": (lambda x: x[jnp.arange(4), x.argmax(1)], normal(4, 5)),
    "scatter of windows": (lambda x, u, i: lax.scatter_add(x, i, u, lax.ScatterDimensionNumbers((1, 2), (), (1, 0))), normal(5, 6), normal(3, 2, 2), ints(3, 2, low=0, high=4)), "gather of windows": (lambda x, i: lax.gather(x, i, lax.GatherDimensionNumbers((0, 2), (), (1, 0)), (2, 3), mode="clip"), normal(5, 6), ints(3, 2, low=0, high=9)),
    "at add of float16": (lambda x, i: x.at[i].add(jnp.float16(1)), normal(4, dtype=np.float16), POINTS),
}  # fmt: skip


def _scan_rnn(x, w):
    def step(h, e):
        h = jnp.tanh(e @ w + h)
        return h, h * 2

    return lax.scan(step, jnp.zeros((2, 4), jnp.float32), x)


CONTROL: dict[str, tuple] = {
    "cond": (lambda x: lax.cond(x.sum() > 0, lambda y: y * 2, lambda y: y - 1, x), X), "switch": (lambda i, x: lax.switch(i, [lambda y: y, lambda y: y * 2, lambda y: -y], x), np.int32(2), X), "switch outside": (lambda i, x: lax.switch(i, [lambda y: y, lambda y: y * 2, lambda y: -y], x), np.int32(-7), X), "cond of numbers": (lambda p, x: lax.cond(p, lambda: x, lambda: x * 0 + 1), np.bool_(True), X),
    "while": (lambda x: lax.while_loop(lambda s: s[1] < 20, lambda s: (s[0] + 1, s[1] + jnp.abs(x).sum()), (0, jnp.float32(0))), X), "fori": (lambda x: lax.fori_loop(0, 5, lambda i, y: y * 0.5 + i, x), X), "fori with bounds": (lambda n, x: lax.fori_loop(0, n, lambda i, y: y * 0.5 + i, x), np.int32(4), X), "scan": (_scan_rnn, normal(5, 2, 3), normal(3, 4)),
    "scan reversed": (lambda x: lax.scan(lambda c, e: (c * 0.5 + e, c - e), jnp.zeros(3, jnp.float32), x, reverse=True), normal(5, 3)), "scan without elements": (lambda x: lax.scan(lambda c, _: (c * 0.5 + 1, c.sum()), x, None, length=4), X), "map": (lambda x: lax.map(lambda r: r @ r, X[..., :3]) + x.sum(), X), "scan in scan": (lambda x: lax.scan(lambda c, r: lax.scan(lambda d, e: (d + e * c, d), c, r), jnp.float32(1), x), normal(3, 4)),
    "vmapped while": (lambda x: jax.vmap(lambda e: lax.while_loop(lambda s: s < 9, lambda s: s * 2 + 1, e))(x), POSITIVE[0, 0]), "vmapped cond": (lambda x: jax.vmap(lambda e: lax.cond(e > 0, jnp.sin, jnp.cos, e))(x), X[0, 0]),
    "cond in while": (lambda x: lax.while_loop(lambda s: s < 50, lambda s: lax.cond(s > 10, lambda t: t * 3, lambda t: t * 2 + 1, s), x), np.float32(0.3)), "checkpoint": (lambda x: jax.checkpoint(lambda y: jnp.sin(y) * 2)(x), X), "gradient": (jax.grad(lambda x: jax.nn.softmax(x).max()), normal(5)), "gradient of scan": (jax.grad(lambda x, w: _scan_rnn(x, w)[1].sum(), argnums=1), normal(5, 2, 3), normal(3, 4)),
    "random with a known key": (lambda x: x + jax.random.normal(jax.random.key(3), (3, 4), jnp.float32), X), "random with a key": (lambda k: (jax.random.bits(jax.random.wrap_key_data(k), (5,)), jax.random.uniform(jax.random.split(jax.random.wrap_key_data(k))[1], (3,), jnp.float32), jax.random.normal(jax.random.fold_in(jax.random.wrap_key_data(k), 7), (3,), jnp.float32)), np.array([3, 5], np.uint32)),
    "random by a seed": (lambda s: jax.random.bits(jax.random.key(s), (5,)), np.int64(12345)), "custom_jvp": (jax.nn.relu, X), "custom_vjp": (jax.nn.elu, X), "jit": (lambda x: jax.jit(lambda y: y * 2)(x), X),
}  # fmt: skip

SYMMETRIC = (lambda a: (a @ a.T + 3 * np.eye(4)).astype(np.float32))(normal(4, 4))
LINALG: dict[str, tuple] = {
    "cholesky": (jnp.linalg.cholesky, SYMMETRIC), "triangular_solve": (lambda a, b: jax.scipy.linalg.solve_triangular(a, b, lower=True), np.tril(SYMMETRIC), normal(4, 2)), "triangular_solve upper": (lambda a, b: jax.scipy.linalg.solve_triangular(a, b, trans=1, unit_diagonal=True), np.triu(SYMMETRIC) / 4, normal(4, 2)), "solve": (jnp.linalg.solve, SYMMETRIC, normal(4, 2)),
    "inv": (jnp.linalg.inv, SYMMETRIC), "det": (jnp.linalg.det, normal(3, 4, 4)), "slogdet": (jnp.linalg.slogdet, normal(4, 4)), "qr": (lambda a: jnp.abs(jnp.linalg.qr(a)[1]), normal(5, 3)), "eigvalsh": (jnp.linalg.eigvalsh, SYMMETRIC), "svdvals": (lambda a: jnp.linalg.svd(a, compute_uv=False), normal(5, 3)),
    "eigh": (lambda a: (lambda w, v: (v * w) @ v.T)(*jnp.linalg.eigh(a)), SYMMETRIC), "svd": (lambda a: (lambda u, s, v: (u * s) @ v)(*jnp.linalg.svd(a, full_matrices=False)), normal(5, 3)), "pinv": (jnp.linalg.pinv, normal(5, 3)), "lstsq": (lambda a, b: jnp.linalg.lstsq(a, b)[0], normal(5, 3), normal(5)), "matrix_power": (lambda a: jnp.linalg.matrix_power(a, 3), SYMMETRIC), "expm": (jax.scipy.linalg.expm, normal(3, 3)),
}  # fmt: skip

COMPLEX: dict[str, tuple] = {
    "rfft": (lambda x: jnp.abs(jnp.fft.rfft(x)), normal(3, 8)), "fft parts": (lambda x: (lambda y: (y.real, y.imag))(jnp.fft.fft(x)), normal(3, 6)), "ifft": (lambda x: jnp.fft.ifft(jnp.fft.fft(x)).real, normal(3, 6)), "irfft": (lambda x: jnp.fft.irfft(jnp.fft.rfft(x) * 2), normal(3, 8)), "irfft of odd length": (lambda x: jnp.fft.irfft(jnp.fft.rfft(x), 7), normal(3, 7)), "fft2": (lambda x: jnp.abs(jnp.fft.fft2(x)), normal(3, 4, 6)),
    "convolution by fft": (lambda x, y: jnp.fft.irfft(jnp.fft.rfft(x) * jnp.fft.rfft(y)), normal(8), normal(8)), "complex arithmetic": (lambda x, y: (lambda a, b: jnp.stack([((a + b) * a / (b + 3)).real, jnp.conj(a - b).imag, jnp.angle(a), jnp.abs(jnp.exp(1j * b))]))(lax.complex(x, y), lax.complex(y, x)), X, Y), "complex shaping": (lambda x, y: jnp.concatenate([lax.complex(x, y).transpose(1, 0, 2)[:, ::-1], jnp.ones((3, 2, 4), jnp.complex64)], 1).sum(0).imag, X, Y),
    "complex matmul": (lambda x, y: (lambda a: a @ jnp.conj(a).T)(lax.complex(x, y)).real, normal(3, 4), normal(3, 4)),
}  # fmt: skip

FAMILIES = {"elementwise": ELEMENTWISE, "special": SPECIAL_FUNCTIONS, "shaping": SHAPING, "reduction": REDUCTIONS, "contraction": CONTRACTIONS, "indexing": INDEXING, "control": CONTROL, "linalg": LINALG, "complex": COMPLEX}
ROWS = [pytest.param(row, id=f"{family}: {name}") for family, rows in FAMILIES.items() for name, row in rows.items()]


def _in_turns() -> list[Any]:
    """Each row at one of two opsets, the others with the exhaustive tests."""
    found = []
    for number, row in enumerate(ROWS):
        for place, opset in enumerate((23, 17)):
            marks = [] if number % 2 == place and number % 4 < 2 else [pytest.mark.exhaustive]
            found.append(pytest.param(*row.values, opset, id=f"{row.id}, opset {opset}", marks=marks))
    return found


@pytest.mark.parametrize(("row", "opset"), _in_turns())
def test_a_function_over_jax_numpy_computes_the_same_in_onnxruntime(row: tuple, opset: int) -> None:
    function, *inputs = row
    check(function, *inputs, opset=opset)


OPEN_BATCH: dict[str, Callable] = {
    "mean and softmax": lambda x: jax.nn.softmax(x - x.mean(0), -1),
    "reshape": lambda x: x.reshape(-1, 2).sum(1) * x.shape[0],
    "flatten": lambda x: x.reshape(x.shape[0], -1) @ jnp.ones((12, 5), jnp.float32),
    "reverse and slice": lambda x: x[::-1][1:],
    "concatenate and pad": lambda x: jnp.pad(jnp.concatenate([x, x]), ((1, 0), (0, 0), (0, 2))),
    "arange": lambda x: x * jnp.arange(x.shape[0], dtype=jnp.float32)[:, None, None],
    "sort and cumsum": lambda x: jnp.cumsum(jnp.sort(x, 0), 0),
    "cumprod along the batch": lambda x: lax.cumprod(x, 0),
    "scan along the batch": lambda x: lax.scan(lambda c, e: (c * 0.5 + e, c), jnp.zeros((3, 4), jnp.float32), x),
    "vmap": lambda x: jax.vmap(lambda m: m @ m.T)(x),
    "einsum attention": lambda x: jnp.einsum("bqk,bkd->bqd", jax.nn.softmax(jnp.einsum("bqd,bkd->bqk", x, x)), x),
    "gather of the greatest": lambda x: jnp.take_along_axis(x, x.argmax(-1, keepdims=True), -1),
    "scatter": lambda x: x.at[:, 1].set(0.0).at[:, :, 0].add(1.0),
    "broadcast and choose": lambda x: jnp.where(x > 0, jnp.broadcast_to(x[:, :1], x.shape), -1.0),
    "causal mask": lambda x: jnp.where(jnp.tril(jnp.ones((3, 4), bool)), x, -jnp.inf),
    "fori_loop": lambda x: lax.fori_loop(0, 3, lambda i, y: y * 0.5 + i, x),
}


@pytest.mark.parametrize("opset", [pytest.param(17, marks=pytest.mark.exhaustive), 23])
@pytest.mark.parametrize("name", OPEN_BATCH)
def test_a_function_with_an_open_batch_runs_at_other_lengths(name: str, opset: int) -> None:
    def over_arrays(x: Any) -> Any:
        return OPEN_BATCH[name](jnp.asarray(x))

    def expected(x: Any) -> Any:
        with jax.enable_x64(True):
            return jax.jit(OPEN_BATCH[name])(jnp.asarray(x))

    model = checked(nr.onnx.export(over_arrays, (nr.tensor(normal(3, 3, 4)),), opset_version=opset, dynamic_axes={"x": {0: "batch"}}))
    for length in (3, 5):
        assert_same(model, expected, nr.tensor(normal(length, 3, 4)))


def test_complex_outputs_are_refused_by_name() -> None:
    with pytest.raises(NotImplementedError, match=r"output 0 is complex.*view_as_real"):
        nr.onnx.export(lambda x: jnp.fft.fft(jnp.asarray(x)), (nr.ones(4),))


def test_what_has_no_form_in_onnx_is_named() -> None:
    with pytest.raises(NotImplementedError, match="'eig'"):
        nr.onnx.export(lambda x: jnp.linalg.eigvals(jnp.asarray(x)).real, (nr.ones(3, 3),))
