"""Sums and other reductions along axes, running sums, and the places of extremes."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from ..registry import handler
from ..values import apply, shape_of
from .shaping import ints, positive_axes

_AXES_ARE_INPUT_OF_ALL = 18


def _extreme(x, least):
    if x.dtype.kind == "b":
        return not least
    if x.dtype.kind in "iu":
        return jnp.iinfo(x.dtype).min if least else jnp.iinfo(x.dtype).max
    return -jnp.inf if least else jnp.inf


def _max(x, axis, keepdims):
    return jnp.max(x, axis, keepdims=keepdims, initial=_extreme(x, True) if x.size == 0 and x.dtype.kind != "b" else False if x.dtype.kind == "b" else None)


def _min(x, axis, keepdims):
    return jnp.min(x, axis, keepdims=keepdims, initial=_extreme(x, False) if x.size == 0 and x.dtype.kind != "b" else True if x.dtype.kind == "b" else None)


def _sum(x, axis, keepdims):
    return jnp.sum(x, axis, keepdims=keepdims, dtype=x.dtype)


def _mean(x, axis, keepdims):
    if x.dtype.kind in "iu":
        return jnp.trunc(jnp.mean(x, axis, keepdims=keepdims, dtype=jnp.float64)).astype(x.dtype)
    return jnp.mean(x, axis, keepdims=keepdims)


def _prod(x, axis, keepdims):
    return jnp.prod(x, axis, keepdims=keepdims, dtype=x.dtype)


def _l1(x, axis, keepdims):
    return _sum(jnp.abs(x), axis, keepdims)


def _l2(x, axis, keepdims):
    if x.dtype.kind in "iu":
        return jnp.sqrt(_sum(jnp.square(x.astype(jnp.float64)), axis, keepdims)).astype(x.dtype)
    return jnp.sqrt(_sum(jnp.square(x), axis, keepdims))


def _sum_square(x, axis, keepdims):
    return _sum(jnp.square(x), axis, keepdims)


def _log_sum(x, axis, keepdims):
    return jnp.log(_sum(x, axis, keepdims)).astype(x.dtype)


def _log_sum_exp(x, axis, keepdims):
    if x.dtype.kind in "iu":
        return jax.nn.logsumexp(x.astype(jnp.float64), axis, keepdims=keepdims).astype(x.dtype)
    return jax.nn.logsumexp(x, axis, keepdims=keepdims)


_REDUCTIONS = {
    "ReduceMax": _max, "ReduceMin": _min, "ReduceSum": _sum, "ReduceMean": _mean, "ReduceProd": _prod, "ReduceL1": _l1, "ReduceL2": _l2,
    "ReduceSumSquare": _sum_square, "ReduceLogSum": _log_sum, "ReduceLogSumExp": _log_sum_exp,
}  # fmt: skip
_OTHERS = [name for name in _REDUCTIONS if name != "ReduceSum"]


@handler(*_REDUCTIONS)
def reduce_by_attribute(node, x):
    return _reduced(node, x, node.get("axes"))


@handler(*_OTHERS, since=_AXES_ARE_INPUT_OF_ALL, static=("axes",))
@handler("ReduceSum", since=13, static=("axes",))
def reduce(node, x, axes=None):
    return _reduced(node, x, axes)


def _reduced(node, x, axes):
    ndim = len(shape_of(x))
    chosen = () if axes is None else positive_axes(axes, ndim, node.op_type)
    if not chosen and not node.get("noop_with_empty_axes", 0):
        chosen = tuple(range(ndim))
    elif not chosen and node.op_type in ("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd"):
        return x
    return apply(_REDUCTIONS[node.op_type], x, axis=chosen, keepdims=bool(node.get("keepdims", 1)))


@handler("ArgMax", "ArgMin")
def arg_extreme(node, x):
    named = {"axis": node.get("axis", 0), "keepdims": bool(node.get("keepdims", 1)), "last": bool(node.get("select_last_index", 0))}
    return apply(_argmax if node.op_type == "ArgMax" else _argmin, x, **named)


def _argmax(x, axis, keepdims, last):
    return _arg(jnp.argmax, x, axis, keepdims, last)


def _argmin(x, axis, keepdims, last):
    return _arg(jnp.argmin, x, axis, keepdims, last)


def _arg(function, x, axis, keepdims, last):
    if last:
        return x.shape[axis] - 1 - function(jnp.flip(x, axis), axis, keepdims=keepdims).astype(jnp.int64)
    return function(x, axis, keepdims=keepdims).astype(jnp.int64)


@handler("CumSum", "CumProd", static=("axis",))
def cumulative(node, x, axis):
    function = _cumsum if node.op_type == "CumSum" else _cumprod
    return apply(function, x, axis=ints(axis)[0], exclusive=bool(node.get("exclusive", 0)), reverse=bool(node.get("reverse", 0)))


def _cumsum(x, axis, exclusive, reverse):
    return _running(jnp.cumsum, 0, x, axis, exclusive, reverse)


def _cumprod(x, axis, exclusive, reverse):
    return _running(jnp.cumprod, 1, x, axis, exclusive, reverse)


def _running(function, neutral, x, axis, exclusive, reverse):
    axis %= x.ndim
    x = jnp.flip(x, axis) if reverse else x
    if exclusive:
        widths = [(0, 0)] * x.ndim
        widths[axis] = (1, 0)
        x = jnp.pad(jnp.take(x, np.arange(x.shape[axis] - 1), axis), widths, constant_values=neutral)
    x = function(x, axis, dtype=x.dtype)
    return jnp.flip(x, axis) if reverse else x
