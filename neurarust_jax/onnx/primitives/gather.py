"""Lowering of `gather`: Gather and GatherElements in the forms that indexing makes, GatherND with computed indices in general."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from ..emitter import Emitter, Operand, is_static
from .registry import lowers

Mode = jax.lax.GatherScatterMode


class Places:
    """Where windows start in an operand.

    Args:
        g: where to write.
        starts: index vectors along their last dimension.
        aval: shape and dtype of `starts`.
        dims: the dimension of the operand that each component is a start in.
        limits: the greatest start in each of them.
        mode: what becomes of starts outside.
    """

    def __init__(self, g: Emitter, starts: Operand, aval: Any, dims: Sequence[int], limits: Sequence[Any], mode: Any):
        self.g = g
        self.dtype = np.dtype(aval.dtype)
        self.batch = tuple(aval.shape[:-1])
        self.dims = list(dims)
        self.limits = list(limits)
        self.checked = mode == Mode.FILL_OR_DROP or mode is None
        self.starts = starts
        self.valid: Operand | None = None
        if isinstance(starts, np.ndarray) and is_static(limits):
            last = np.asarray([int(n) for n in limits], np.int64).reshape(len(self.dims))
            wide = starts.astype(np.int64)
            inside = ((wide >= 0) & (wide <= last)).all(-1)
            if self.checked and not inside.all():
                self.valid = inside
            self.starts = np.clip(wide, 0, np.maximum(last, 0))
            self.dtype = np.dtype(np.int64)
            return
        if mode == Mode.PROMISE_IN_BOUNDS or not self.dims:
            return
        self._signed()
        if self.checked:
            self.valid = self._inside()
        self.starts = self._clipped(self.starts)

    def _signed(self) -> None:
        if self.dtype.kind == "u" or self.dtype.itemsize < 4:
            self.starts = self.g.cast(self.starts, self.dtype, np.int64)
            self.dtype = np.dtype(np.int64)

    def _last(self) -> Operand:
        return self.g.cast(self.g.shape(self.limits), np.int64, self.dtype)

    def _inside(self) -> Operand:
        g, last = self.g, self._last()
        low = g.node("GreaterOrEqual", self.starts, np.zeros((), self.dtype))
        inside = g.node("And", low, g.node("LessOrEqual", self.starts, last))
        if len(self.dims) == 1:
            return g.squeeze(inside, [len(self.batch)])
        return g.cast(g.reduce("ReduceMin", g.cast(inside, bool, np.uint8), [len(self.batch)], np.uint8), np.uint8, bool)

    def _clipped(self, starts: Operand) -> Operand:
        g, last = self.g, self._last()
        if len(self.dims) == 1 and isinstance(last, np.ndarray):
            return g.node("Clip", starts, np.zeros((), self.dtype), last.reshape(()))
        return g.node("Max", g.node("Min", starts, last), np.zeros((), self.dtype))

    def component(self, dim: int) -> Operand:
        """The starts in a dimension of the operand as int64, of the shape of the batch."""
        g, place = self.g, self.dims.index(dim)
        axis = len(self.batch)
        if isinstance(self.starts, np.ndarray):
            return self.starts[..., place].astype(np.int64)
        part = self.starts if len(self.dims) == 1 else g.slice(self.starts, [place], [place + 1], [axis])
        return g.cast(g.squeeze(part, [axis]), self.dtype, np.int64)

    def grid(self, dims: Sequence[int], batching: dict[int, int], windows: dict[int, Any]) -> Operand:
        """Full index vectors into the dimensions `dims`: of the shape of the batch, then of the windows, then of the vector.

        Args:
            dims: dimensions of the operand.
            batching: for dimensions that go along with one of the batch, that one.
            windows: for dimensions in which the window stays, its length, in order.
        """
        g = self.g
        shape = (*self.batch, *windows.values())
        if not windows and not batching and list(dims) == self.dims:
            return g.cast(self.starts, self.dtype, np.int64)
        components = []
        for dim in dims:
            if dim in batching:
                axis = batching[dim]
                part, part_shape = g.arange(self.batch[axis]), [self.batch[axis] if d == axis else 1 for d in range(len(shape))]
                part = g.reshape(part, part_shape, (self.batch[axis],))
            elif dim in self.dims:
                part = self.component(dim)
                part_shape = [*self.batch, *[1] * len(windows)]
                part = g.unsqueeze(part, range(len(self.batch), len(shape)))
            else:
                part, part_shape = np.zeros([1] * len(shape), np.int64), [1] * len(shape)
            if dim in windows and not (is_static((windows[dim],)) and windows[dim] == 1):
                axis = len(self.batch) + list(windows).index(dim)
                steps = g.reshape(g.arange(windows[dim]), [windows[dim] if d == axis else 1 for d in range(len(shape))], (windows[dim],))
                both_known = isinstance(part, np.ndarray) and isinstance(steps, np.ndarray)
                part = part + steps if both_known else g.node("Add", part, steps)
                part_shape[axis] = windows[dim]
            components.append(g.unsqueeze(g.expand(part, shape, part_shape, np.int64), [len(shape)]))
        return g.concat(components, len(shape))


def default_fill(fill: Any, dtype: np.dtype) -> np.ndarray:
    """What stands where an index is outside."""
    if fill is not None:
        return np.asarray(fill, dtype)
    if dtype.kind in "fcV":
        return np.asarray(np.nan, dtype)
    return np.asarray(True) if dtype.kind == "b" else np.asarray(np.iinfo(dtype).min if dtype.kind == "i" else np.iinfo(dtype).max, dtype)


@lowers("gather")
def _gather(g: Emitter, equation: Any, operand: Operand, starts: Operand) -> Operand:
    p, numbers = equation.params, equation.params["dimension_numbers"]
    shape, sizes = equation.invars[0].aval.shape, p["slice_sizes"]
    index_map = [int(d) for d in numbers.start_index_map]
    limits = [shape[d] - sizes[d] for d in index_map]
    places = Places(g, starts, equation.invars[1].aval, index_map, limits, p["mode"])
    batching = {int(a): int(b) for a, b in zip(numbers.operand_batching_dims, numbers.start_indices_batching_dims, strict=True)}
    collapsed = {int(d) for d in numbers.collapsed_slice_dims}
    windows = {d: sizes[d] for d in range(len(shape)) if d not in collapsed and d not in batching}
    out = equation.outvars[0].aval
    offsets = [int(d) for d in numbers.offset_dims]
    result, labels = _gathered(g, operand, shape, places, batching, collapsed, windows)
    batch_dims = [d for d in range(len(out.shape)) if d not in offsets]
    wanted: list[Any] = [None] * len(out.shape)
    for label, dim in zip(windows, offsets, strict=True):
        wanted[dim] = ("window", label)
    for number, dim in enumerate(batch_dims):
        wanted[dim] = ("batch", number)
    result = g.transpose(result, [labels.index(w) for w in wanted])
    if places.valid is None:
        return result
    valid = g.unsqueeze(places.valid, offsets)
    dtype = np.dtype(out.dtype)
    return g.where(valid, result, default_fill(p["fill_value"], dtype), dtype)


def _gathered(g: Emitter, operand: Operand, shape: tuple, places: Places, batching: dict, collapsed: set, windows: dict) -> tuple[Operand, list]:
    """What stands at the places, and for each dimension of that whether it is of the batch or of the window."""
    batch = [("batch", n) for n in range(len(places.batch))]
    whole = {d for d in windows if d not in places.dims and windows[d] == shape[d]}
    partial = [d for d in range(len(shape)) if d not in whole]
    if not partial:
        return g.expand(operand, (*places.batch, *shape), shape, np.dtype(operand.dtype)), [*batch, *(("window", d) for d in windows)]
    if len(partial) == 1 and not batching and partial == places.dims:
        return _along_one(g, operand, shape, places, windows, batch)
    elements = _as_elements(g, operand, shape, places, batching, collapsed) if not windows else None
    if elements is not None:
        return elements, batch
    moved = g.transpose(operand, [*partial, *sorted(whole)])
    staying = {d: windows[d] for d in partial if d in windows}
    indices = places.grid(partial, batching, staying)
    result = g.node("GatherND", moved, indices)
    return result, [*batch, *(("window", d) for d in staying), *(("window", d) for d in sorted(whole))]


def _along_one(g: Emitter, operand: Operand, shape: tuple, places: Places, windows: dict, batch: list) -> tuple[Operand, list]:
    """Slices along one dimension."""
    (dim,) = places.dims
    before, after = ([("window", d) for d in range(dim)], [("window", d) for d in range(dim + 1, len(shape))])
    size = windows.get(dim)
    if size is None or (is_static((size,)) and size == 1):
        starts = places.starts
        starts = starts[..., 0] if isinstance(starts, np.ndarray) else g.squeeze(starts, [len(places.batch)])
        if not isinstance(starts, np.ndarray) and places.dtype.name not in ("int32", "int64"):
            starts = g.cast(starts, places.dtype, np.int64)
        result = g.gather(operand, starts, dim)
        labels = [*before, *batch, *after]
        if size is not None:
            result = g.unsqueeze(result, [dim + len(batch)])
            labels.insert(dim + len(batch), ("window", dim))
        return result, labels
    if not batch:
        start = places.component(dim)
        if isinstance(start, np.ndarray):
            return g.slice(operand, [int(start)], [int(start) + size], [dim]), [*before, ("window", dim), *after]
        start = g.reshape(start, (1,), ())
        end = g.node("Add", start, g.shape([size]))
        return g.node("Slice", operand, start, end, np.asarray([dim])), [*before, ("window", dim), *after]
    indices = places.grid([dim], {}, {dim: size})
    indices = g.squeeze(indices, [len(batch) + 1])
    return g.gather(operand, indices, dim), [*before, *batch, ("window", dim), *after]


def _as_elements(g: Emitter, operand: Operand, shape: tuple, places: Places, batching: dict, collapsed: set) -> Operand | None:
    """`take_along_axis` as GatherElements: every dimension goes along with one of the indices but one, which is indexed."""
    if len(places.dims) != 1 or len(batching) + 1 != len(shape) or len(places.batch) not in (len(shape), len(shape) - 1):
        return None
    (dim,) = places.dims
    free = [b for b in range(len(places.batch)) if b not in batching.values()]
    indices = places.component(dim)
    order = [batching[d] if d in batching else free[0] if free else None for d in range(len(shape))]
    taken = [o for o in order if o is not None]
    indices = g.transpose(indices, taken)
    if not free:
        indices = g.unsqueeze(indices, [dim])
    result = g.node("GatherElements", operand, indices, axis=dim)
    if not free:
        result = g.squeeze(result, [dim])
    return g.transpose(result, [taken.index(b) for b in range(len(taken))])
