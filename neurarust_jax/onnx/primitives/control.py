"""Lowering of control flow: `cond` to If, `while` to Loop, `scan` to Scan, with their bodies as graphs of their own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..builder import Graph, Value
from ..dimensions import is_symbolic
from ..emitter import Emitter, Operand
from .comparison import choose
from .registry import lowers


def _close(g: Emitter, outputs: Sequence[Operand], avals: Sequence[Any]) -> Graph:
    """The graph of a child emitter with these outputs, each under a name that the graph itself makes."""
    made = []
    for operand, aval in zip(outputs, avals, strict=True):
        value = g.graph.add("Identity", g.value(operand), dtype=aval.dtype)
        made.append(g.graph.declare(value, aval.shape, aval.dtype))
    g.graph.outputs = made
    return g.graph


def _declared(values: Any, avals: Sequence[Any], g: Emitter) -> list[Value]:
    return [g.graph.declare(v, a.shape, a.dtype) for v, a in zip(values, avals, strict=True)]


# --- If ----------------------------------------------------------------------------------------------------------------


@lowers("platform_index")
def _platform(g: Emitter, equation: Any, *_: Operand) -> Operand:
    platforms = equation.params["platforms"]
    return np.asarray(next((i for i, p in enumerate(platforms) if p is None), 0), np.int32)  # what runs anywhere


@lowers("cond")
def _cond(g: Emitter, equation: Any, index: Operand, *inputs: Operand) -> list[Operand]:
    branches = equation.params["branches"]
    if isinstance(index, np.ndarray):
        return g.enter(branches[int(np.clip(index, 0, len(branches) - 1))], inputs)
    avals = [v.aval for v in equation.outvars]
    dtype = np.dtype(equation.invars[0].aval.dtype)
    if len(branches) == 2:
        condition = g.cast(index, dtype, bool)
        return _if(g, condition, lambda inner: inner.enter(branches[1], inputs), lambda inner: inner.enter(branches[0], inputs), avals)
    return _switch(g, index, dtype, branches, 0, inputs, avals)


def _switch(g: Emitter, index: Operand, dtype: np.dtype, branches: Any, first: int, inputs: Sequence[Operand], avals: Sequence[Any]) -> list[Operand]:
    if first == len(branches) - 1:
        return g.enter(branches[first], inputs)
    chosen = g.op("LessOrEqual", dtype, index, np.asarray(first, dtype), result=bool)

    def others(inner: Emitter) -> list[Operand]:
        return _switch(inner, index, dtype, branches, first + 1, inputs, avals)

    return _if(g, chosen, lambda inner: inner.enter(branches[first], inputs), others, avals)


def _if(g: Emitter, condition: Operand, then: Callable, otherwise: Callable, avals: Sequence[Any]) -> list[Operand]:
    graphs = []
    for branch in (then, otherwise):
        inner = g.child()
        graphs.append(_close(inner, branch(inner), avals))
    outputs = g.graph.add_many("If", [g.value(condition)], [(a.dtype, a.shape) for a in avals], then_branch=graphs[0], else_branch=graphs[1])
    return list(outputs)


# --- Loop --------------------------------------------------------------------------------------------------------------


@lowers("while")
def _while(g: Emitter, equation: Any, *inputs: Operand) -> list[Operand]:
    p = equation.params
    consts = p["cond_nconsts"], p["cond_nconsts"] + p["body_nconsts"]
    of_condition, of_body, carry = inputs[: consts[0]], inputs[consts[0] : consts[1]], inputs[consts[1] :]
    avals = [v.aval for v in equation.outvars]
    of_predicate = p["cond_jaxpr"].out_avals[0]
    (start,) = g.enter(p["cond_jaxpr"], [*of_condition, *carry])
    start = _any(g, start, of_predicate)
    inner = g.child()
    inner.graph.input(inner.graph.unique("iteration"), np.int64, ())
    inner.graph.input(inner.graph.unique("condition"), bool, ())
    values = [inner.graph.input(inner.graph.unique("carried"), a.dtype, a.shape) for a in avals]
    outputs = inner.enter(p["body_jaxpr"], [*of_body, *values])
    if of_predicate.shape:  # loops side by side, under vmap: those that have ended keep their values
        (running,) = inner.enter(p["cond_jaxpr"], [*of_condition, *values])
        outputs = [_kept(inner, running, of_predicate, new, old, a) for new, old, a in zip(outputs, values, avals, strict=True)]
    (goes_on,) = inner.enter(p["cond_jaxpr"], [*of_condition, *outputs])
    body = _close(inner, [_any(inner, goes_on, of_predicate), *outputs], [Scalar, *avals])
    made = g.graph.add_many("Loop", [None, g.value(start), *map(g.value, carry)], [(a.dtype, a.shape) for a in avals], body=body)
    return list(made)


def _any(g: Emitter, condition: Operand, aval: Any) -> Operand:
    """Whether any of the conditions of loops side by side holds."""
    if not aval.shape:
        return condition
    return g.cast(g.reduce("ReduceMax", g.cast(condition, bool, np.uint8), range(len(aval.shape)), np.uint8), np.uint8, bool)


def _kept(g: Emitter, running: Operand, of_predicate: Any, new: Operand, old: Operand, aval: Any) -> Operand:
    """The new values of the loops that are running, the old ones of the others."""
    condition = g.unsqueeze(running, range(len(of_predicate.shape), len(aval.shape)))
    return choose(g, condition, new, old, np.dtype(aval.dtype))


class Scalar:
    """The type of a condition."""

    shape, dtype = (), np.dtype(bool)


# --- Scan --------------------------------------------------------------------------------------------------------------


@lowers("scan")
def _scan(g: Emitter, equation: Any, *inputs: Operand) -> list[Operand]:
    p = equation.params
    first_carry, first_xs = p["num_consts"], p["num_consts"] + p["num_carry"]
    consts, carry, xs = inputs[:first_carry], inputs[first_carry:first_xs], inputs[first_xs:]
    body, length = p["jaxpr"], p["length"]
    avals = [v.aval for v in equation.outvars]
    of_carry, of_ys = avals[: len(carry)], avals[len(carry) :]
    if not is_symbolic(length) and length == 0:  # onnxruntime's Scan takes no empty inputs
        return [*carry, *(np.zeros(a.shape, a.dtype) for a in of_ys)]
    if not xs:
        xs = [g.arange(length)]
    inner = g.child()
    carried = [inner.graph.input(inner.graph.unique("carried"), a.dtype, a.shape) for a in of_carry]
    slices = [inner.graph.input(inner.graph.unique("element"), v.aval.dtype, v.aval.shape[1:]) for v in equation.invars[first_xs:]]
    if not slices:
        inner.graph.input(inner.graph.unique("iteration"), np.int64, ())
    outputs = inner.enter(body, [*consts, *carried, *slices])
    graph = _close(inner, outputs, [*of_carry, *(_Element(a) for a in of_ys)])
    backwards: dict[str, Any] = {}
    if p["reverse"]:
        backwards = {"scan_input_directions": [1] * len(xs)}
        if of_ys:
            backwards["scan_output_directions"] = [1] * len(of_ys)
    made = g.graph.add_many(
        "Scan", [*map(g.value, carry), *map(g.value, xs)], [(a.dtype, a.shape) for a in avals], body=graph, num_scan_inputs=len(xs), **backwards
    )
    return list(made)


class _Element:
    """The type of one element of a stacked output."""

    def __init__(self, aval: Any):
        self.shape, self.dtype = aval.shape[1:], aval.dtype
