"""Sums, means, extremes and their places, norms and running sums."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...ops.common import wrap_dims
from ..builder import Graph, Value
from ..dimensions import is_symbolic
from ..lowering import case, converter
from .elementwise import in_result_dtype, number, out_dtype

_AXES_AS_INPUT = {"ReduceSum": 13}


def reduced(g: Graph, operator: str, x: Value, dim: Any, keepdim: bool) -> Value:
    """One of ONNX's reductions along the dimensions that PyTorch's `dim` means."""
    dims = list(wrap_dims(dim, x.ndim))
    axes = None if len(dims) == x.ndim else dims
    shape = [1 if i in dims else d for i, d in enumerate(x.known_shape) if keepdim or i not in dims]
    if g.opset >= _AXES_AS_INPUT.get(operator, 18):
        return g.add(operator, x, None if axes is None else g.ints(*axes), keepdims=int(keepdim), shape=shape)
    return g.add(operator, x, axes=axes, keepdims=int(keepdim), shape=shape)


def count_along(g: Graph, x: Value, dim: Any, dtype: Any, minus: float = 0) -> Value:
    """How many elements a reduction takes together, as a scalar of a dtype, less a correction (at least 0)."""
    dims = wrap_dims(dim, x.ndim)
    size = math.prod(x.known_shape[i] for i in dims)
    if not is_symbolic(size):
        return number(g, max(size - minus, 0), dtype)
    count = g.cast(g.scalar_dim(size), dtype)
    return g.add("Max", g.add("Sub", count, number(g, minus, dtype)), number(g, 0, dtype)) if minus else count


@converter(
    "sum",
    cases=[
        case("x.sum()", "ReduceSum", x=(2, 3)),
        case("x.sum((0, 2), keepdim=True)", "ReduceSum", x=(2, 3, 4)),
        case("(n > 3).sum(1)", "Cast Greater ReduceSum", n=("below", 9, 2, 3)),
    ],
)
def sum(g: Graph, input: Value, dim: Any, keepdim: bool, dtype: Any) -> Value:
    (x,) = in_result_dtype(g, input)
    return reduced(g, "ReduceSum", x, dim, keepdim)


@converter("mean", cases=[case("x.mean()", "ReduceMean", x=(2, 3)), case("x.mean(-1)", "ReduceMean", 17, x=(2, 3))])
def mean(g: Graph, input: Value, dim: Any, keepdim: bool, dtype: Any) -> Value:
    (x,) = in_result_dtype(g, input)
    return reduced(g, "ReduceMean", x, dim, keepdim)


@converter("prod", cases=[case("x.prod(1)", "ReduceProd", x=(2, 3))])
def prod(g: Graph, input: Value, dim: Any, keepdim: bool, dtype: Any) -> Value:
    (x,) = in_result_dtype(g, input)
    return reduced(g, "ReduceProd", x, dim, keepdim)


@converter("nansum", cases=[case("x.nansum(1)", "IsNaN ReduceSum Where", x=(2, 3))])
def nansum(g: Graph, input: Value, dim: Any, keepdim: bool, dtype: Any) -> Value:
    (x,) = in_result_dtype(g, input)
    if x.dtype.kind == "f":
        x = g.add("Where", g.add("IsNaN", x, dtype=bool), number(g, 0, x.dtype), x, dtype=x.dtype, shape=x.shape)
    return reduced(g, "ReduceSum", x, dim, keepdim)


def _extreme(g: Graph, operator: str, x: Value, dim: Any, keepdim: bool) -> Value:
    if x.dtype == bool and g.opset < 20:
        return g.cast(reduced(g, operator, g.cast(x, np.int32), dim, keepdim), bool)
    if x.dtype in (np.int16, np.uint16):
        return g.cast(reduced(g, operator, g.cast(x, np.int32), dim, keepdim), x.dtype)
    return reduced(g, operator, x, dim, keepdim)


@converter("amax", cases=[case("x.amax(1)", "ReduceMax", x=(2, 3))])
def amax(g: Graph, input: Value, dim: Any, keepdim: bool) -> Value:
    return _extreme(g, "ReduceMax", input, dim, keepdim)


@converter("amin", cases=[case("x.amin((0, 1))", "ReduceMin", x=(2, 3, 4))])
def amin(g: Graph, input: Value, dim: Any, keepdim: bool) -> Value:
    return _extreme(g, "ReduceMin", input, dim, keepdim)


def _max_or_min(operator: str, place: str) -> Any:
    def convert(g: Graph, input: Value, dim: int | None, keepdim: bool) -> Any:
        value = _extreme(g, operator, input, dim, keepdim)
        return value if dim is None else (value, _place(g, place, input, dim, keepdim))

    return convert


converter("_max", cases=[case("x.max()", "ReduceMax", x=(2, 3)), case("x.max(1)", "ArgMax ReduceMax", x=(2, 3))])(_max_or_min("ReduceMax", "ArgMax"))
converter("_min", cases=[case("x.min(0, keepdim=True)", "ArgMin ReduceMin", x=(2, 3))])(_max_or_min("ReduceMin", "ArgMin"))


@converter("aminmax", cases=[case("nr.aminmax(x)", "ReduceMax ReduceMin", x=(2, 3))])
def aminmax(g: Graph, input: Value, dim: int | None, keepdim: bool) -> list[Value]:
    return [_extreme(g, operator, input, dim, keepdim) for operator in ("ReduceMin", "ReduceMax")]


def _place(g: Graph, operator: str, x: Value, dim: int | None, keepdim: bool) -> Value:
    if x.dtype == bool or x.dtype.kind == "u" or x.dtype.itemsize < 4 and x.dtype.kind == "i":
        x = g.cast(x, np.int32 if x.dtype.itemsize < 4 else np.int64)
    shape = g.results[0].shape
    if x.ndim == 0:
        return g.constant(np.int64(0))
    if dim is None:
        rank = x.ndim
        flat = g.reshape(x, (math.prod(x.known_shape),))
        place = g.add(operator, flat, axis=0, keepdims=0, dtype=np.int64, shape=())
        return g.reshape(place, (1,) * rank) if keepdim else place
    return g.add(operator, x, axis=dim % x.ndim, keepdims=int(keepdim), dtype=np.int64, shape=shape)


@converter("argmax", cases=[case("x.argmax(-1)", "ArgMax", x=(2, 3)), case("x.argmax()", "ArgMax Reshape", x=(2, 3))])
def argmax(g: Graph, input: Value, dim: int | None, keepdim: bool) -> Value:
    return _place(g, "ArgMax", input, dim, keepdim)


@converter("argmin", cases=[case("x.argmin(0, keepdim=True)", "ArgMin", x=(2, 3))])
def argmin(g: Graph, input: Value, dim: int | None, keepdim: bool) -> Value:
    return _place(g, "ArgMin", input, dim, keepdim)


@converter("any", cases=[case("(x > 0).any(1)", "Cast Cast Greater ReduceMax", x=(2, 3)), case("(x > 0).any()", "Greater ReduceMax", 20, x=(2, 3))])
def any(g: Graph, input: Value, dim: Any, keepdim: bool) -> Value:
    return g.cast(_extreme(g, "ReduceMax", g.cast(input, bool), dim, keepdim), out_dtype(g))


@converter("all", cases=[case("(x > 0).all(1)", "Cast Cast Greater ReduceMin", x=(2, 3))])
def all(g: Graph, input: Value, dim: Any, keepdim: bool) -> Value:
    return g.cast(_extreme(g, "ReduceMin", g.cast(input, bool), dim, keepdim), out_dtype(g))


@converter("count_nonzero", cases=[case("nr.count_nonzero(n, 1)", "Cast Cast ReduceSum", n=("below", 3, 2, 4))])
def count_nonzero(g: Graph, input: Value, dim: Any) -> Value:
    return reduced(g, "ReduceSum", g.cast(g.cast(input, bool), np.int64), dim, False)


# --- variance and norms --------------------------------------------------------------------------------------------------


def _variance(g: Graph, input: Value, dim: Any, correction: float, keepdim: bool) -> tuple[Value, Value] | None:
    (x,) = in_result_dtype(g, input)
    if x.dtype.kind != "f" or x.ndim == 0:
        return None
    mean = reduced(g, "ReduceMean", x, dim, True)
    squares = reduced(g, "ReduceSumSquare", g.add("Sub", x, mean, shape=x.shape), dim, keepdim)
    shape = squares.shape
    variance = g.add("Div", squares, count_along(g, x, dim, x.dtype, correction), shape=shape)
    return variance, mean if keepdim else g.reshape(mean, squares.known_shape)


@converter("_var", cases=[case("x.var(1)", "Div ReduceMean ReduceSumSquare Sub", x=(2, 3))])
def _var(g: Graph, input: Value, dim: Any, correction: float, keepdim: bool) -> Value | None:
    found = _variance(g, input, dim, correction, keepdim)
    return None if found is None else found[0]


@converter("_std", cases=[case("x.std()", "Div ReduceMean ReduceSumSquare Sqrt Sub", x=(2, 3))])
def _std(g: Graph, input: Value, dim: Any, correction: float, keepdim: bool) -> Value | None:
    found = _variance(g, input, dim, correction, keepdim)
    return None if found is None else g.add("Sqrt", found[0])


@converter("_var_mean", cases=[case("nr.var_mean(x, 1, keepdim=True)", "Div ReduceMean ReduceSumSquare Sub", x=(2, 3))])
def _var_mean(g: Graph, input: Value, dim: Any, correction: float, keepdim: bool) -> tuple[Value, Value] | None:
    return _variance(g, input, dim, correction, keepdim)


@converter("_std_mean")
def _std_mean(g: Graph, input: Value, dim: Any, correction: float, keepdim: bool) -> tuple[Value, Value] | None:
    found = _variance(g, input, dim, correction, keepdim)
    return None if found is None else (g.add("Sqrt", found[0]), found[1])


@converter("norm", cases=[case("x.norm()", "ReduceL2", x=(2, 3)), case("x.norm(p=1, dim=1)", "ReduceL1", x=(2, 3))])
def norm(g: Graph, input: Value, p: Any, dim: Any, keepdim: bool, dtype: Any) -> Value | None:
    p = 2 if p == "fro" else p
    return None if not isinstance(p, int | float) else _vector_norm(g, input, p, dim, keepdim)


@converter(
    "linalg.vector_norm",
    cases=[case("nr.linalg.vector_norm(x, dim=1)", "ReduceL2", x=(2, 3)), case("nr.linalg.vector_norm(x, float('inf'))", "Abs ReduceMax", x=(2, 3))],
)
def vector_norm(g: Graph, x: Value, ord: Any, dim: Any, keepdim: bool, dtype: Any) -> Value | None:
    return _vector_norm(g, x, ord, dim, keepdim)


def _vector_norm(g: Graph, input: Value, p: float, dim: Any, keepdim: bool) -> Value | None:
    (x,) = in_result_dtype(g, input)
    if x.dtype.kind != "f":
        return None
    if p in (1, 2):
        return reduced(g, f"ReduceL{int(p)}", x, dim, keepdim)
    if math.isinf(p):
        return reduced(g, "ReduceMax" if p > 0 else "ReduceMin", g.add("Abs", x, shape=x.shape), dim, keepdim)
    if p == 0:
        return None
    powers = g.add("Pow", g.add("Abs", x), number(g, p, x.dtype), shape=x.shape)
    return g.add("Pow", reduced(g, "ReduceSum", powers, dim, keepdim), number(g, 1 / p, x.dtype))


@converter("normalize", cases=[case("F.normalize(x, dim=1)", "Div Max ReduceL2", x=(2, 3))])
def normalize(g: Graph, input: Value, p: float, dim: Any, eps: float) -> Value | None:
    length = _vector_norm(g, input, p, dim, True)
    return None if length is None else g.add("Div", input, g.add("Max", length, number(g, eps, input.dtype)))


# --- running sums --------------------------------------------------------------------------------------------------------


@converter("cumsum", cases=[case("x.cumsum(1)", "CumSum", x=(2, 3))])
def cumsum(g: Graph, input: Value, dim: int, dtype: Any) -> Value | None:
    (x,) = in_result_dtype(g, input)
    if x.ndim == 0:
        return x
    if x.dtype not in (np.float32, np.float64, np.int32, np.int64):
        return None
    return g.add("CumSum", x, g.constant(np.int64(dim % x.ndim)))


@converter("cumprod", cases=[case("x.cumprod(1)", "CumProd", 26, x=(2, 3))])
def cumprod(g: Graph, input: Value, dim: int, dtype: Any) -> Value | None:
    (x,) = in_result_dtype(g, input)
    if x.ndim == 0:
        return x
    if g.opset < 26 or x.dtype not in (np.float32, np.float64, np.int32, np.int64):
        return None
    return g.add("CumProd", x, g.constant(np.int64(dim % x.ndim)))
