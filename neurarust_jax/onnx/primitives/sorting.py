"""Lowering of sorting by TopK, which orders equal elements by their place and so is stable."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..emitter import Emitter, Operand
from ..support import carrier
from .comparison import is_nan
from .elementwise import dtype_of
from .registry import lowers


def _order(g: Emitter, key: Operand, dtype: np.dtype, length: Any, axis: int, largest: bool) -> tuple[Operand, Operand]:
    """The `length` first elements in order, and their places; a NaN counts as the greatest element."""
    inner = carrier("TopK", dtype, {}) if dtype.kind != "b" else np.dtype(np.uint8)
    key = g.cast(key, dtype, inner)
    ranked = key
    if dtype.kind in "fV":
        ranked = g.where(is_nan(g, key, inner), np.asarray(np.inf, inner), key, inner)
    values, places = g.node("TopK", ranked, g.shape([length]), outputs=2, axis=axis, largest=int(largest), sorted=1)
    if ranked is not key:
        values = g.node("GatherElements", key, places, axis=axis)
    return g.cast(values, inner, dtype), places


@lowers("sort")
def _sort(g: Emitter, equation: Any, *inputs: Operand) -> list[Operand]:
    axis, keys = int(equation.params["dimension"]), equation.params["num_keys"]
    length = equation.invars[0].aval.shape[axis]
    if not equation.invars[0].aval.shape:
        return list(inputs)
    sorted_key, places = _order(g, inputs[keys - 1], dtype_of(equation, keys - 1), length, axis, largest=False)
    for number in range(keys - 2, -1, -1):  # from the last key to the first: each order keeps the one before among equals
        ordered = g.node("GatherElements", inputs[number], places, axis=axis)
        sorted_key, refined = _order(g, ordered, dtype_of(equation, number), length, axis, largest=False)
        places = g.node("GatherElements", places, refined, axis=axis)
    outputs = []
    for number, (x, variable) in enumerate(zip(inputs, equation.invars, strict=True)):
        if number == 0:
            outputs.append(sorted_key)
        elif isinstance(x, np.ndarray) and _counts_along(x, axis):
            outputs.append(g.cast(places, np.int64, variable.aval.dtype))
        else:
            outputs.append(g.node("GatherElements", x, places, axis=axis))
    return outputs


def _counts_along(x: np.ndarray, axis: int) -> bool:
    """Whether the elements are their own places along `axis`."""
    places = np.arange(x.shape[axis]).reshape([-1 if d == axis else 1 for d in range(x.ndim)])
    return x.dtype.kind in "iu" and bool((x == places).all())


@lowers("top_k", "approx_top_k")
def _top_k(g: Emitter, equation: Any, x: Operand) -> list[Operand]:
    p, aval = equation.params, equation.invars[0].aval
    axis = int(p.get("axis", p.get("reduction_dimension", -1))) % len(aval.shape)
    values, places = _order(g, x, np.dtype(aval.dtype), p["k"], axis, largest=bool(p.get("is_max_k", True)))
    return [values, g.cast(places, np.int64, equation.outvars[1].aval.dtype)]
