"""Lowering of primitives that hand their inputs on."""

from __future__ import annotations

from typing import Any

from ..emitter import Emitter, Operand
from .registry import lowers, lowers_complex


@lowers("stop_gradient", "copy", "copy_p", "optimization_barrier", "sharding_constraint", "name", "pvary", "device_put", "reshard", "mesh_cast", "layout_constraint")
@lowers_complex("stop_gradient", "copy", "copy_p", "optimization_barrier", "sharding_constraint", "name", "pvary", "device_put", "reshard", "mesh_cast", "layout_constraint")
def _hand_on(g: Emitter, equation: Any, *inputs: Operand) -> list[Operand]:
    return list(inputs)


@lowers("custom_linear_solve", "linear_solve")
def _linear_solve(g: Emitter, equation: Any, *inputs: Operand) -> list[Operand]:
    lengths, jaxprs = equation.params["const_lengths"], equation.params["jaxprs"]
    skipped = lengths.matvec + lengths.vecmat
    total = skipped + lengths.solve + lengths.transpose_solve
    return g.enter(jaxprs.solve, [*inputs[skipped : skipped + lengths.solve], *inputs[total:]])


@lowers("custom_vmap_call", "run_state", "custom_partitioning")
def _enter_call(g: Emitter, equation: Any, *inputs: Operand) -> list[Operand]:
    return g.enter(equation.params["call"], inputs)
