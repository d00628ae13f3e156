"""Lowering of products of tensors: MatMul where the dimensions stand as it wants them, Einsum otherwise."""

from __future__ import annotations

import string
from typing import Any

import numpy as np

from ..emitter import Emitter, Operand
from ..support import carrier
from .registry import lowers


@lowers("dot_general")
def _dot_general(g: Emitter, equation: Any, x: Operand, y: Operand) -> Operand:
    (contract_x, contract_y), (batch_x, batch_y) = equation.params["dimension_numbers"]
    dims = [tuple(map(int, d)) for d in (contract_x, contract_y, batch_x, batch_y)]
    shapes = [v.aval.shape for v in equation.invars]
    dtype = np.dtype(equation.outvars[0].aval.dtype)
    x, y = (g.cast(v, variable.aval.dtype, dtype) for v, variable in zip((x, y), equation.invars, strict=True))
    if dtype.kind == "b":
        product = dot(g, g.cast(x, bool, np.int32), g.cast(y, bool, np.int32), dims, shapes, np.dtype(np.int32))
        return g.cast(product, np.int32, bool)
    return dot(g, x, y, dims, shapes, dtype)


def dot(g: Emitter, x: Operand, y: Operand, dims: list[tuple[int, ...]], shapes: list[tuple], dtype: np.dtype) -> Operand:
    """The product of `x` and `y`, summed over the dimensions `dims[0]` and `dims[1]`, along those of `dims[2]` and `dims[3]` together."""
    contract_x, contract_y, batch_x, batch_y = dims
    free_x = [d for d in range(len(shapes[0])) if d not in contract_x + batch_x]
    free_y = [d for d in range(len(shapes[1])) if d not in contract_y + batch_y]
    inner = carrier("MatMul", dtype, {})
    x, y = g.cast(x, dtype, inner), g.cast(y, dtype, inner)
    if not contract_x and not batch_x and (not shapes[0] or not shapes[1]):
        product = g.op("Mul", inner, x, y)
    elif len(contract_x) == 1 and not batch_x and len(free_y) <= 1:
        product = g.node("MatMul", g.transpose(x, [*free_x, *contract_x]), g.transpose(y, [*contract_y, *free_y]))
    elif len(contract_x) == 1 and batch_x and len(free_x) == len(free_y) == 1:
        product = g.node("MatMul", g.transpose(x, [*batch_x, *free_x, *contract_x]), g.transpose(y, [*batch_y, *contract_y, *free_y]))
    else:
        product = _einsum(g, x, y, dims, shapes, inner)
    return g.cast(product, inner, dtype)


def _einsum(g: Emitter, x: Operand, y: Operand, dims: list[tuple[int, ...]], shapes: list[tuple], dtype: np.dtype) -> Operand:
    contract_x, contract_y, batch_x, batch_y = dims
    letters = iter(string.ascii_letters)
    names_x = [next(letters) for _ in shapes[0]]
    names_y = [""] * len(shapes[1])
    for a, b in zip((*contract_x, *batch_x), (*contract_y, *batch_y), strict=True):
        names_y[b] = names_x[a]
    names_y = [n or next(letters) for n in names_y]
    output = [names_x[d] for d in batch_x]
    output += [n for d, n in enumerate(names_x) if d not in contract_x + batch_x]
    output += [n for d, n in enumerate(names_y) if d not in contract_y + batch_y]
    return g.op("Einsum", dtype, x, y, equation=f"{''.join(names_x)},{''.join(names_y)}->{''.join(output)}")
