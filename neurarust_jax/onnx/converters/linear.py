"""Linear maps and products of matrices."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..builder import Graph, Value
from ..lowering import case, converter
from .elementwise import in_result_dtype, is_constant

_GEMM = (np.float16, np.float32, np.float64)


@converter(
    "linear",
    cases=[
        case("F.linear(x, w, b)", "Gemm", x=(2, 3), w=(4, 3), b=(4,)),
        case("F.linear(x, w)", "Gemm", x=(2, 3), w=(4, 3)),
        case("nn.Linear(3, 4)(x)", "Add MatMul", x=(5, 2, 3)),
        case("nn.Linear(3, 4, bias=False)(x)", "MatMul", x=(3,)),
    ],
)
def linear(g: Graph, input: Value, weight: Value, bias: Value | None) -> Value:
    if weight.ndim == 2 and input.ndim == 2 and input.dtype in _GEMM:
        return g.add("Gemm", input, weight, bias, transB=1)
    product = g.add("MatMul", input, g.transpose(weight, [1, 0]) if weight.ndim == 2 else weight)
    return product if bias is None else g.add("Add", product, bias)


@converter("bilinear", cases=[case("F.bilinear(x, y, w, b)", "Add Einsum", x=(2, 3), y=(2, 4), w=(5, 3, 4), b=(5,))])
def bilinear(g: Graph, input1: Value, input2: Value, weight: Value, bias: Value | None) -> Value:
    lead = "abcdefgh"[: input1.ndim - 1]
    product = g.add("Einsum", input1, weight, input2, equation=f"{lead}i,oij,{lead}j->{lead}o")
    return product if bias is None else g.add("Add", product, bias)


@converter(
    "matmul",
    "mm",
    "bmm",
    "mv",
    "dot",
    cases=[case("x @ y", "MatMul", x=(2, 3, 4), y=(4, 5)), case("nr.mv(x, y)", "MatMul", x=(2, 3), y=(3,)), case("nr.dot(x, x)", "MatMul", x=(3,))],
)
def matmul(g: Graph, input: Value, **other: Any) -> Value | None:
    (right,) = other.values()
    return _product(g, input, right)


@converter("_reverse_matmul")
def _reverse_matmul(g: Graph, input: Value, other: Value) -> Value | None:
    return _product(g, other, input)


@converter("inner", cases=[case("nr.inner(x, y)", "MatMul Transpose", x=(2, 3), y=(4, 3))])
def inner(g: Graph, input: Value, other: Value) -> Value | None:
    if other.ndim != 2 or input.ndim < 1:
        return None
    return _product(g, input, g.transpose(other, [1, 0]))


@converter("outer", cases=[case("nr.outer(x, y)", "Mul Unsqueeze", x=(2,), y=(3,))])
def outer(g: Graph, input: Value, vec2: Value) -> Value:
    left, right = in_result_dtype(g, input, vec2)
    return g.add("Mul", g.unsqueeze(left, [1]), right)


def _product(g: Graph, left: Value, right: Value) -> Value | None:
    dtype = np.dtype(g.results[0].dtype)
    if dtype.kind in "b":
        return None
    if dtype.kind in "iu" and dtype.itemsize < 4:
        return None
    return g.add("MatMul", *in_result_dtype(g, left, right))


def _combined(g: Graph, input: Value, product: Value, beta: Value | None, alpha: Value | None) -> Value:
    for factor, name in ((beta, "input"), (alpha, "product")):
        if factor is not None and not is_constant(factor, 1):
            scaled = g.add("Mul", input if name == "input" else product, g.cast(factor, product.dtype))
            input, product = (scaled, product) if name == "input" else (input, scaled)
    return g.add("Add", input, product)


@converter(
    "addmm",
    cases=[case("nr.addmm(b, x, y)", "Gemm", x=(2, 3), y=(3, 4), b=(4,)), case("nr.addmm(b, x, y, beta=0.5, alpha=2)", "Gemm", x=(2, 3), y=(3, 4), b=(2, 4))],
)
def addmm(g: Graph, input: Value, mat1: Value, mat2: Value, beta: Value | None, alpha: Value | None) -> Value:
    known = all(f is None or f.constant is not None for f in (beta, alpha))
    if mat1.dtype in _GEMM and known:
        alpha_number, beta_number = (None if f is None or f.constant is None else float(f.constant) for f in (alpha, beta))
        return g.add("Gemm", mat1, mat2, input, alpha=alpha_number, beta=beta_number)
    return _combined(g, input, g.add("MatMul", mat1, mat2), beta, alpha)


@converter("baddbmm", cases=[case("nr.baddbmm(b, x, y)", "Add MatMul", x=(2, 3, 4), y=(2, 4, 5), b=(2, 3, 5))])
def baddbmm(g: Graph, input: Value, batch1: Value, batch2: Value, beta: Value | None, alpha: Value | None) -> Value:
    return _combined(g, input, g.add("MatMul", batch1, batch2), beta, alpha)


@converter("addmv", cases=[case("nr.addmv(b, x, y)", "Add MatMul", x=(2, 3), y=(3,), b=(2,))])
def addmv(g: Graph, input: Value, mat: Value, vec: Value, beta: Value | None, alpha: Value | None) -> Value:
    return _combined(g, input, g.add("MatMul", mat, vec), beta, alpha)
