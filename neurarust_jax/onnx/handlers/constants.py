"""Ops that make values of nothing or of shapes alone, and those that hand a value on."""

from __future__ import annotations

import numpy as np

from ...errors import ArgumentError, ShapeError
from ..registry import handler
from ..values import shape_of
from .shaping import ints


@handler("Constant")
def constant(node):
    for name, dtype in (("value", None), ("sparse_value", None), ("value_float", np.float32), ("value_floats", np.float32), ("value_int", np.int64),
                        ("value_ints", np.int64), ("value_string", object), ("value_strings", object)):  # fmt: skip
        value = node.get(name)
        if value is not None:
            return np.asarray(value, dtype)
    raise ArgumentError(f"{node.describe()} has no value")


@handler("ConstantOfShape", static=("shape",))
def constant_of_shape(node, shape):
    lengths = ints(shape)
    if min(lengths, default=0) < 0:
        raise ShapeError(f"ConstantOfShape takes lengths of at least 0, got {list(lengths)}")
    value = node.get("value")
    return np.broadcast_to(np.zeros((), np.float32) if value is None else value.reshape(()), lengths)


@handler("Shape")
def shape(node, x):
    lengths = shape_of(x)
    return np.asarray(lengths[node.get("start", 0) : node.get("end", len(lengths))], np.int64)


@handler("Size")
def size(node, x):
    return np.asarray(np.prod(shape_of(x), dtype=np.int64), np.int64)


@handler("Identity")
def identity(node, x):
    return x
