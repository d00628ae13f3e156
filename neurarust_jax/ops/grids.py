"""Ops that make grids, combinations and coordinates: meshgrid, cartesian_prod, combinations, vander, indices of triangles, unravel_index."""

import itertools
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from .. import dtypes
from ..dispatch import Array, op
from ..errors import ArgumentError, ArgumentTypeError, DtypeError, ShapeError
from ..tensor import Tensor, array_from, wrap
from .common import cast, strong
from .creation import finish
from .shaping import one_or_many

__all__ = ["meshgrid", "cartesian_prod", "combinations", "vander", "tril_indices", "triu_indices", "unravel_index"]


@op(name="meshgrid", method=False, linear=True)
def _meshgrid(tensors: Sequence[Array], indexing: str) -> tuple[Array, ...]:
    """The grids of coordinates."""
    tensors = [strong(x) for x in tensors]
    if not tensors:
        raise ShapeError("meshgrid expects a non-empty TensorList")
    if any(x.ndim > 1 for x in tensors):
        raise ShapeError(f"torch.meshgrid: Expected 0D or 1D tensor in the tensor list but got shapes {[x.shape for x in tensors]}")
    if any(x.dtype != tensors[0].dtype for x in tensors):
        raise DtypeError(f"torch.meshgrid expects all tensors to have the same dtype, got {[str(x.dtype) for x in tensors]}")
    if indexing not in ("ij", "xy"):
        raise ShapeError(f'torch.meshgrid: indexing must be one of "xy" or "ij", but received: {indexing}')
    return tuple(jnp.meshgrid(*(jnp.ravel(x) for x in tensors), indexing=indexing))


def meshgrid(*tensors: Any, indexing: str | None = None) -> tuple[Tensor, ...]:
    """The grids of coordinates that vectors span.

    Args:
        *tensors: vectors or 0-d tensors of one dtype, or one sequence of them.
        indexing: `"ij"`, the default: the first vector runs along the first dimension; `"xy"`: along the second.

    Returns:
        For each vector a tensor with its values spread over the grid.
    """
    return _meshgrid(one_or_many(tensors), indexing or "ij")


@op(name="cartesian_prod", method=False, linear=True)
def _cartesian_prod(tensors: Sequence[Array]) -> Array:
    """All tuples of elements, as rows."""
    tensors = [strong(x) for x in tensors]
    if any(x.ndim != 1 for x in tensors):
        raise ShapeError(f"cartesian_prod: expected 1D vectors, got shapes {[x.shape for x in tensors]}")
    if any(x.dtype != tensors[0].dtype for x in tensors):
        raise DtypeError(f"cartesian_prod expects all tensors to have the same dtype, got {[str(x.dtype) for x in tensors]}")
    if len(tensors) == 1:
        return tensors[0]
    return jnp.stack([jnp.ravel(g) for g in jnp.meshgrid(*tensors, indexing="ij")], 1)


def cartesian_prod(*tensors: Any) -> Tensor:
    """All tuples that take one element from each vector, as the rows of a matrix. Of one vector, itself."""
    return _cartesian_prod(one_or_many(tensors))


@op(linear=True)
def combinations(input: Array, r: int = 2, with_replacement: bool = False) -> Array:
    """All combinations of `r` elements of a vector, as the rows of a matrix, in the order of `itertools.combinations`."""
    input = strong(input)
    if input.ndim != 1:
        raise ShapeError(f"Expect a 1D vector, but got shape {list(input.shape)}")
    if r < 0:
        raise ShapeError(f"Expect a non-negative number, but got {r}")
    if r == 0:
        return jnp.zeros((0,), input.dtype)
    choose = itertools.combinations_with_replacement if with_replacement else itertools.combinations
    places = np.array(list(choose(range(input.shape[0]), r)), np.int32).reshape(-1, r)
    return jnp.take(input, places, 0, mode="clip") if places.size else jnp.zeros(places.shape, input.dtype)


@op(method=False)
def vander(x: Array, N: int | None = None, increasing: bool = False) -> Array:
    """The powers of a vector's elements, as the columns of a matrix.

    Args:
        x: a vector.
        N: the number of columns. Default: the length of `x`.
        increasing: powers from 0 up, rather than down to 0.
    """
    x = strong(x)
    if x.ndim != 1:
        raise ShapeError(f"x must be a one-dimensional tensor, got shape {x.shape}")
    columns = x.shape[0] if N is None else N
    if columns < 0:
        raise ShapeError(f"N must be non-negative, got {N}")
    x = cast(x, np.int64) if x.dtype.kind in "biu" else x
    powers = jnp.concatenate([jnp.ones_like(x, shape=(x.shape[0], 1)), jnp.broadcast_to(x[:, None], (x.shape[0], max(columns - 1, 0)))], 1)[:, :columns]
    powers = jnp.cumprod(powers, 1)
    return powers if increasing else powers[:, ::-1]


def _triangle_indices(function: str, indices: Any, row: int, col: int, dtype: Any, device: Any) -> Tensor:
    if row < 0 or col < 0:
        raise ShapeError(f"{function}: row and col must be non-negative, got row={row} and col={col}")
    made = array_from(np.stack(indices), dtypes.int64 if dtype is None else dtype)
    return finish(wrap(made), device)


def tril_indices(row: int, col: int, offset: int = 0, *, dtype: Any = None, device: Any = None, layout: Any = None) -> Tensor:
    """The rows and columns of the lower triangle of a `row` by `col` matrix, a tensor of shape (2, n).

    Args:
        row: the number of rows.
        col: the number of columns.
        offset: the last diagonal that belongs to it.
        dtype: Default: `nr.int64`.
        device: where to put it. Default: JAX's default device.
        layout: accepted and without effect.
    """
    return _triangle_indices("tril_indices", np.tril_indices(max(row, 0), offset, max(col, 0)), row, col, dtype, device)


def triu_indices(row: int, col: int, offset: int = 0, *, dtype: Any = None, device: Any = None, layout: Any = None) -> Tensor:
    """The rows and columns of the upper triangle of a `row` by `col` matrix, a tensor of shape (2, n). See `tril_indices`."""
    return _triangle_indices("triu_indices", np.triu_indices(max(row, 0), offset, max(col, 0)), row, col, dtype, device)


def unravel_index(indices: Any, shape: Any) -> tuple[Tensor, ...]:
    """The coordinates of positions in the flattened form of an array.

    Args:
        indices: an integer tensor of positions.
        shape: the shape of the array, an int or a sequence of ints.

    Returns:
        For each dimension of `shape` an int64 tensor in the shape of `indices`.

    Raises:
        TypeError: `indices` holds no integers.
        ValueError: a length is negative.
    """
    lengths = (shape,) if isinstance(shape, int) else tuple(shape)
    if not all(isinstance(length, int) for length in lengths):
        raise ArgumentTypeError(f"expected 'shape' to be int or sequence of ints, but got {shape!r}")
    if any(length < 0 for length in lengths):
        raise ArgumentError(f"'shape' cannot have negative values, but got {lengths}")
    return _unravel_index(indices, lengths)


@op(name="unravel_index", method=False)
def _unravel_index(indices: Array, shape: tuple[int, ...]) -> tuple[Array, ...]:
    """The coordinates of flat positions."""
    if indices.dtype.kind not in "iu":
        raise ArgumentTypeError(f"expected 'indices' to be integer dtype, but got {dtypes.from_numpy(indices.dtype)}")
    rest, coordinates = cast(indices, np.int64), []
    for length in reversed(shape):
        coordinates.append(jnp.remainder(rest, length))
        rest = jnp.floor_divide(rest, length)
    return tuple(reversed(coordinates))
