"""Lowering of the `scatter` family to ScatterND with computed indices."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..emitter import Aval, Emitter, Operand, is_static
from ..support import carrier
from .elementwise import dtype_of
from .gather import Mode, Places
from .reduction import identity_of
from .registry import lowers

_REDUCTIONS = {"scatter": "none", "scatter-add": "add", "scatter_add": "add", "scatter-mul": "mul", "scatter_mul": "mul"}
_REDUCTIONS |= {"scatter-min": "min", "scatter_min": "min", "scatter-max": "max", "scatter_max": "max"}


@lowers(*_REDUCTIONS)
def _scatter(g: Emitter, equation: Any, operand: Operand, indices: Operand, updates: Operand) -> Operand:
    numbers = equation.params["dimension_numbers"]
    shape, update_shape = equation.invars[0].aval.shape, equation.invars[2].aval.shape
    if is_static(update_shape) and 0 in update_shape:
        return operand
    batching = {int(a): int(b) for a, b in zip(numbers.operand_batching_dims, numbers.scatter_indices_batching_dims, strict=True)}
    inserted = {int(d) for d in numbers.inserted_window_dims}
    window_dims = [int(d) for d in numbers.update_window_dims]
    staying = [d for d in range(len(shape)) if d not in inserted and d not in batching]
    windows = {d: update_shape[w] for d, w in zip(staying, window_dims, strict=True)}
    index_map = [int(d) for d in numbers.scatter_dims_to_operand_dims]
    limits = [shape[d] - windows.get(d, 1) for d in index_map]
    places = Places(g, indices, equation.invars[1].aval, index_map, limits, equation.params["mode"])
    of_windows = dict(zip(staying, window_dims, strict=True))
    order = [d for d in range(len(update_shape)) if d not in window_dims]
    return _scattered(g, operand, updates, places, _Layout(shape, update_shape, batching, windows, order, of_windows), _REDUCTIONS[equation.primitive.name], dtype_of(equation))


class _Layout:
    """How the updates lie: `order`, their dimensions of the batch, and `of_windows`, for dimensions of the operand those of the updates."""

    def __init__(self, shape: tuple, update_shape: tuple, batching: dict, windows: dict, order: list[int], of_windows: dict):
        self.shape, self.update_shape, self.batching, self.windows, self.order, self.of_windows = shape, update_shape, batching, windows, order, of_windows


def _scattered(g: Emitter, operand: Operand, updates: Operand, places: Places, layout: _Layout, reduction: str, dtype: np.dtype) -> Operand:
    shape, windows = layout.shape, layout.windows
    whole = [d for d in windows if d not in places.dims and windows[d] == shape[d]]
    partial = [d for d in range(len(shape)) if d not in whole]
    if not partial:
        partial, whole = whole[:1], whole[1:]
    staying = {d: windows[d] for d in partial if d in windows}
    updates = g.transpose(updates, [*layout.order, *(layout.of_windows[d] for d in [*staying, *whole])])
    update_shape = [*places.batch, *staying.values(), *(windows[d] for d in whole)]
    moved = g.transpose(operand, [*partial, *whole])
    grid = places.grid(partial, layout.batching, staying)
    back = [[*partial, *whole].index(d) for d in range(len(shape))]
    trash = None
    if places.valid is not None:
        valid = g.unsqueeze(places.valid, range(len(places.batch), len(update_shape)))
        if reduction == "none":  # what falls outside goes to a row of its own, which is cut off in the end
            trash = shape[partial[0]]
            moved = g.concat([moved, g.slice(moved, [0], [1], [0])], 0)
            grid = _redirected(g, grid, places, len(staying), trash, len(partial))
        else:
            neutral = np.zeros((), dtype) if reduction == "add" else np.ones((), dtype) if reduction == "mul" else identity_of(reduction, dtype)
            updates = g.where(valid, updates, neutral, dtype)
    moved_shape = [*(shape[d] for d in partial), *(shape[d] for d in whole)]
    written = _scatter_nd(g, moved, grid, updates, reduction, dtype, Aval(tuple(moved_shape), dtype), Aval((*update_shape[: len(update_shape) - len(whole)], len(partial)), np.int64), Aval(tuple(update_shape), dtype))
    if trash is not None:
        written = g.slice(written, [0], [trash], [0])
    return g.transpose(written, back)


def _redirected(g: Emitter, grid: Operand, places: Places, windows: int, trash: Any, length: int) -> Operand:
    """Index vectors whose first component is `trash` where the place is not valid."""
    valid = g.unsqueeze(places.valid, range(len(places.batch), len(places.batch) + windows + 1))
    outside = g.concat([g.shape([trash]), np.zeros(length - 1, np.int64)], 0) if length > 1 else g.shape([trash])
    return g.where(valid, grid, outside, np.int64)


def _scatter_nd(g: Emitter, x: Operand, indices: Operand, updates: Operand, reduction: str, dtype: np.dtype, of_x: Aval, of_indices: Aval, of_updates: Aval) -> Operand:
    if reduction in ("min", "max") and g.opset < 18:
        return _one_by_one(g, x, indices, updates, reduction, of_x, of_indices, of_updates)
    inner = carrier("ScatterND", dtype, {"reduction": reduction})
    combined = None if reduction == "none" else reduction
    return g.cast(g.node("ScatterND", g.cast(x, dtype, inner), indices, g.cast(updates, dtype, inner), reduction=combined), inner, dtype)


def _one_by_one(g: Emitter, x: Operand, indices: Operand, updates: Operand, reduction: str, of_x: Aval, of_indices: Aval, of_updates: Aval) -> Operand:
    """A loop over the updates, where ScatterND knows no minimum and maximum yet."""
    batch, depth = len(of_indices.shape) - 1, of_indices.shape[-1]
    better = jnp.minimum if reduction == "min" else jnp.maximum

    def written(x, indices, updates):
        indices, updates = indices.reshape(-1, depth), updates.reshape(-1, *updates.shape[batch:])

        def step(y, pair):
            index, update = pair
            place = tuple(index[d] for d in range(depth))
            old = y.at[place].get(mode="promise_in_bounds")
            return y.at[place].set(better(old, update), mode="promise_in_bounds"), None

        return jax.lax.scan(step, x, (indices, updates))[0]

    return g.trace(written, [of_x, of_indices, of_updates], x, indices, updates)


def write_window(g: Emitter, x: Operand, update: Operand, begin: Operand, axes: list[int], shape: tuple, sizes: tuple, dtype: np.dtype) -> Operand:
    """`x` with `update` written at `begin` along `axes`."""
    places = Places(g, begin, Aval((len(axes),), np.int64), axes, [shape[d] - sizes[d] for d in axes], Mode.PROMISE_IN_BOUNDS)
    windows = dict(enumerate(sizes))
    return _scattered(g, x, update, places, _Layout(shape, sizes, {}, windows, [], {d: d for d in windows}), "none", dtype)
