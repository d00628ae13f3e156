"""Gathering and scattering by indices, choosing by a condition, and triangles."""

from __future__ import annotations

import math

import jax.numpy as jnp
import numpy as np
from jax import Array

from ...errors import ArgumentError, ShapeError
from ..registry import handler
from ..values import apply, move, namespace, shape_of


def _from_front(indices, length):
    return namespace(indices).where(indices < 0, indices + length, indices)


@handler("Gather")
def gather(node, x, indices):
    return move(_gather, x, indices, axis=node.get("axis", 0))


def _gather(x, indices, axis):
    if isinstance(x, np.ndarray):
        return np.asarray(np.take(x, indices, axis))
    return jnp.take(x, _from_front(indices, x.shape[axis]), axis, mode="clip")


def _along(x, indices, axis):
    """An index that picks for each place of `indices` the element with that number along `axis`, at the same place of the other dimensions."""
    if indices.ndim != x.ndim:
        raise ShapeError(f"indices of shape {indices.shape} along axis {axis} of a tensor of shape {x.shape}; expected as many dimensions")
    axis %= x.ndim
    found = list(namespace(indices).indices(indices.shape, sparse=True))
    found[axis] = _from_front(indices, x.shape[axis])
    return tuple(found)


@handler("GatherElements")
def gather_elements(node, x, indices):
    return move(_gather_elements, x, indices, axis=node.get("axis", 0))


def _gather_elements(x, indices, axis):
    return x[_along(x, indices, axis)]


@handler("GatherND")
def gather_nd(node, x, indices):
    return move(_gather_nd, x, indices, batch=node.get("batch_dims", 0))


def _gather_nd(x, indices, batch):
    xp = namespace(x)
    flat = x.reshape((math.prod(x.shape[:batch]), *x.shape[batch:]))
    where = indices.reshape((flat.shape[0], *indices.shape[batch:]))
    lead = xp.arange(flat.shape[0]).reshape((-1, *(1,) * (where.ndim - 2)))
    parts = [_from_front(where[..., i], flat.shape[1 + i]) for i in range(where.shape[-1])]
    found = flat[(lead, *parts)]
    return found.reshape((*indices.shape[:-1], *x.shape[batch + indices.shape[-1] :]))


# --- scattering ------------------------------------------------------------------------------------------------------


def _scattered(x: Array, index: tuple, updates: Array, reduction: str) -> Array:
    at = x.at[index]
    updates = updates.astype(x.dtype)
    methods = {"none": at.set, "add": at.add, "mul": at.multiply, "max": at.max, "min": at.min}
    if reduction not in methods:
        raise ArgumentError(f"a scatter reduces by none, add, mul, max or min, got {reduction!r}")
    return methods[reduction](updates)


@handler("Scatter", "ScatterElements")
def scatter_elements(node, x, indices, updates):
    if isinstance(x, np.ndarray) and x.dtype.kind == "O":
        result = np.array(x)
        result[_along(x, np.asarray(indices), node.get("axis", 0))] = updates
        return result
    return apply(_scatter_elements, x, indices, updates, axis=node.get("axis", 0), reduction=node.get("reduction", "none"))


def _scatter_elements(x, indices, updates, axis, reduction):
    return _scattered(x, _along(x, indices, axis), updates, reduction)


@handler("ScatterND")
def scatter_nd(node, x, indices, updates):
    if isinstance(x, np.ndarray) and x.dtype.kind == "O":
        result = np.array(x)
        result[tuple(np.moveaxis(np.asarray(indices), -1, 0))] = updates
        return result
    return apply(_scatter_nd, x, indices, updates, reduction=node.get("reduction", "none"))


def _scatter_nd(x, indices, updates, reduction):
    parts = tuple(_from_front(indices[..., i], x.shape[i]) for i in range(indices.shape[-1]))
    return _scattered(x, parts, updates, reduction)


@handler("TensorScatter")
def tensor_scatter(node, cache, update, write_indices=None):
    if write_indices is None:
        write_indices = np.zeros(shape_of(cache)[0], np.int64)
    return apply(_tensor_scatter, cache, update, write_indices, axis=node.get("axis", -2), wraps=node.get("mode", "linear") == "circular")


def _tensor_scatter(cache, update, starts, axis, wraps):
    axis %= cache.ndim
    batch = jnp.arange(cache.shape[0])[:, None]
    places = starts[:, None].astype(jnp.int64) + jnp.arange(update.shape[axis])[None]
    if wraps:
        places = places % cache.shape[axis]
    moved = jnp.moveaxis(cache, axis, 1).at[batch, places].set(jnp.moveaxis(update, axis, 1))
    return jnp.moveaxis(moved, 1, axis)


# --- choosing --------------------------------------------------------------------------------------------------------


@handler("Where")
def where(node, condition, x, y):
    return move(_where, condition, x, y)


def _where(condition, x, y):
    return namespace(condition).where(condition, x, y)


@handler("Trilu", static=("k",))
def trilu(node, x, k=None):
    return apply(_upper if node.get("upper", 1) else _lower, x, k=0 if k is None else int(np.asarray(k).reshape(())))


def _upper(x, k):
    return jnp.triu(x, k)


def _lower(x, k):
    return jnp.tril(x, k)
