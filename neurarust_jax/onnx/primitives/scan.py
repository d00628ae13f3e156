"""Lowering of cumulative sums, products, extremes and log-sum-exps along a dimension."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..emitter import Emitter, Operand, is_static
from ..support import carrier
from .elementwise import dtype_of
from .reduction import identity_of
from .registry import lowers

_COMBINE: dict[str, Callable] = {"cumprod": jnp.multiply, "cummax": jnp.maximum, "cummin": jnp.minimum, "cumlogsumexp": jnp.logaddexp}


@lowers("cumsum")
def _cumsum(g: Emitter, equation: Any, x: Operand) -> Operand:
    axis, dtype = np.asarray(int(equation.params["axis"]), np.int64), dtype_of(equation)
    inner = carrier("CumSum", dtype, {})
    return g.cast(g.node("CumSum", g.cast(x, dtype, inner), axis, reverse=int(equation.params["reverse"])), inner, dtype)


@lowers(*_COMBINE)
def _cumulative(g: Emitter, equation: Any, x: Operand) -> Operand:
    """In steps of doubled reach where the length is known, as a scan otherwise."""
    name = equation.primitive.name
    combine = _COMBINE[name]
    axis, reverse = int(equation.params["axis"]), equation.params["reverse"]
    aval = equation.invars[0].aval

    def doubling(x):
        length, reach = x.shape[axis], 1
        while reach < length:
            ahead = jax.lax.slice_in_dim(x, reach, length, axis=axis)
            behind = jax.lax.slice_in_dim(x, 0, length - reach, axis=axis)
            parts = [combine(behind, ahead), jax.lax.slice_in_dim(x, length - reach, length, axis=axis)]
            if not reverse:
                parts = [jax.lax.slice_in_dim(x, 0, reach, axis=axis), combine(behind, ahead)]
            x = jnp.concatenate(parts, axis)
            reach *= 2
        return x

    def scanned(x):
        moved = jnp.moveaxis(x, axis, 0)
        first = moved[-1] if reverse else moved[0]
        start = jnp.full_like(first, 1 if name == "cumprod" else identity_of("min" if name == "cummin" else "max", np.dtype(x.dtype)))
        return jnp.moveaxis(jax.lax.scan(lambda c, e: (combine(c, e),) * 2, start, moved, reverse=reverse)[1], 0, axis)

    return g.trace(doubling if is_static((aval.shape[axis],)) else scanned, [aval], x)
