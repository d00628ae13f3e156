"""How large an integer can be that a graph computes: so that a loop whose trip count is being traced, and is bounded by a constant, has a gradient."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from ..tensor import Tensor
from .values import is_known, shape_of

_SAME = {"Identity", "Cast", "Squeeze", "Unsqueeze", "Reshape", "Flatten", "Expand"}


def upper_bound(value: Any) -> int | None:
    """The number that a value of one element does not exceed, if one is known."""
    if isinstance(value, Tensor):
        return getattr(value, "_upper_bound", None)
    if is_known(value) and np.size(value) == 1 and np.asarray(value).dtype.kind in "iuf" and np.isfinite(value).all():
        return int(np.floor(np.asarray(value).reshape(()).item()))
    return None


def note_bound(node: Any, inputs: list[Any], result: Any) -> None:
    """Remember the bound of a traced result that follows from its node."""
    if not isinstance(result, Tensor) or not isinstance(result._value, jax.core.Tracer) or result._value.size != 1:
        return
    bound = _bound_of(node, inputs)
    if bound is not None:
        result._upper_bound = bound  # type: ignore[attr-defined]  (known to this file alone)


def _bound_of(node: Any, inputs: list[Any]) -> int | None:
    op = node.op_type
    if op in _SAME and inputs:
        return upper_bound(inputs[0])
    if op in ("Min", "Max"):
        bounds = [upper_bound(x) for x in inputs]
        known = [b for b in bounds if b is not None]
        if op == "Min":
            return min(known, default=None)
        return max(known) if len(known) == len(bounds) else None
    if op == "Clip":
        most = inputs[2] if len(inputs) > 2 else node.get("max")
        bounds = [b for b in (upper_bound(inputs[0]), None if most is None else upper_bound(most)) if b is not None]
        return min(bounds, default=None)
    if op == "Where":
        bounds = [upper_bound(x) for x in inputs[1:]]
        return None if None in bounds else max(b for b in bounds if b is not None)
    if op == "Mod" and not node.get("fmod", 0):
        divisor = upper_bound(inputs[1]) if is_known(inputs[1]) else None
        return divisor - 1 if divisor is not None and divisor > 0 else None
    if op in ("ArgMax", "ArgMin"):
        shape = shape_of(inputs[0])
        return shape[node.get("axis", 0)] - 1 if shape else None
    return None
