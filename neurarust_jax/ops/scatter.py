"""Ops that read and write elements by index tensors and masks: gather, scatter, index_select, index_add, masked_select, nonzero and their kin.

Index values that lie outside are found where it is cheap, on concrete tensors in the CPU's memory, by the plain public functions here; elsewhere
reads hold them at the border and writes pass them over, as XLA does. Where several writes meet in one place, one of them wins.
"""

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .. import dtypes
from ..dispatch import Array, op
from ..errors import DtypeError, IndexOutOfRangeError, IndexTensorError, ShapeError, TracedValueError
from ..tensor import Tensor, array_from, attach, wrap
from .common import broadcast_shapes, cast, check_indices, is_inexact, numpy_names, refuse, strong, wrap_dim
from .creation import full_like
from .indexing import update

__all__ = [
    "gather", "scatter", "scatter_add", "scatter_reduce", "index_select", "index_add", "index_copy", "index_fill", "index_put", "index_reduce",
    "masked_select", "masked_scatter", "take", "take_along_dim", "put", "nonzero", "nonzero_static", "argwhere",
]  # fmt: skip


def _check(function: str, input: Any, dim: Any, index: Any, negative: bool = False) -> None:
    """Look at the values of an index tensor for dimension `dim`; the op itself refuses a dimension that does not exist."""
    shape = input.shape or (1,)
    if isinstance(dim, int) and -len(shape) <= dim < len(shape):
        check_indices(function, index, shape[dim], dim, negative)


def _whole_numbers(index: Array, function: str) -> Array:
    if index.dtype.name not in ("int32", "int64"):
        raise DtypeError(f"{function}(): Expected dtype int32/int64 for index, got {dtypes.from_numpy(index.dtype)}; write index.long()")
    return index


def _at_least_1d(*arrays: Array) -> list[Array]:
    return [x if x.ndim else x.reshape(1) for x in arrays]


# --- by an index for each element ----------------------------------------------------------------------------------


@op(name="gather", method=False, linear=True)
def _gather(input: Array, dim: int, index: Array) -> Array:
    """The elements at `index` along `dim`."""
    input, shape = strong(input), index.shape
    dim = wrap_dim(dim, input.ndim)
    if not index.size:
        return jnp.zeros(shape, input.dtype)
    index = _whole_numbers(index, "gather")
    input, index = _at_least_1d(input, index)
    if input.ndim != index.ndim:
        raise ShapeError(f"Index tensor must have the same number of dimensions as input tensor: index {shape}, input {input.shape}")
    for d in range(input.ndim):
        if d != dim and index.shape[d] > input.shape[d]:
            raise ShapeError(
                f"Size does not match at dimension {d} expected index {list(shape)} to be no larger than self {list(input.shape)} apart from dimension {dim}"
            )
    used = input[tuple(slice(None) if d == dim else slice(index.shape[d]) for d in range(input.ndim))]
    # checked or not, XLA's gather holds an index inside; to say "clip" would cost a pass over `index`
    return jnp.take_along_axis(used, index, dim, mode="promise_in_bounds").reshape(shape)


@numpy_names
def gather(input: Any, dim: int, index: Any, *, sparse_grad: bool = False) -> Tensor:
    """The elements of `input` at the positions that `index` gives along `dim`.

    In three dimensions and with ``dim=1``: ``out[i][j][k] = input[i][index[i][j][k]][k]``.

    Args:
        input: a tensor.
        dim: the dimension along which `index` points.
        index: an int64 or int32 tensor with as many dimensions as `input`, in the others no longer than it.
        sparse_grad: accepted and without effect.

    Returns:
        A tensor of the shape of `index`.

    Raises:
        IndexError: an index lies outside the dimension; the error is a RuntimeError too, as in PyTorch.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.gather(nr.tensor([[1, 2], [3, 4]]), 1, nr.tensor([[0, 0], [1, 0]]))
        tensor([[1, 1],
                [4, 3]])
    """
    _check("gather", input, dim, index)
    return _gather(input, dim, index)


def _scatter_places(input: Array, dim: int, index: Array, src: Array, function: str) -> tuple[tuple[Array, ...], Array]:
    """The coordinates that the elements of `src` go to, and those elements of `src` that are used."""
    index = _whole_numbers(index, function)
    if not index.size:
        return tuple(jnp.zeros(0, np.int32) for _ in input.shape), jnp.zeros(0, src.dtype)
    if index.ndim != input.ndim or src.ndim != input.ndim:
        raise IndexTensorError(f"Index tensor must have as many dimensions as self tensor and src: index {index.shape}, self {input.shape}, src {src.shape}")
    for d in range(input.ndim):
        if (d != dim and index.shape[d] > input.shape[d]) or index.shape[d] > src.shape[d]:
            raise ShapeError(
                f"Expected index {list(index.shape)} to be no larger than self {list(input.shape)} apart from dimension {dim} "
                f"and to be no larger size than src {list(src.shape)}"
            )
    return _coordinates(index, dim), src[tuple(slice(n) for n in index.shape)]


def _coordinates(index: Array, dim: int) -> tuple[Array, ...]:
    """Index arrays for all dimensions, where `index` is that of `dim`."""
    along = [np.arange(n, dtype=index.dtype).reshape([-1 if e == d else 1 for e in range(index.ndim)]) for d, n in enumerate(index.shape)]
    return tuple(index if d == dim else along[d] for d in range(index.ndim))


@op(name="scatter", method=False, linear=True)
def _scatter(input: Array, dim: int, index: Array, src: Array) -> Array:
    """A copy of `input` with the elements of `src` at `index` along `dim`."""
    input, src = strong(input), strong(src)
    dim, shape = wrap_dim(dim, input.ndim), input.shape
    if src.dtype != input.dtype:
        raise DtypeError(f"scatter(): Expected self.dtype to be equal to src.dtype, got {input.dtype} and {src.dtype}; write src.to(x.dtype)")
    input, index, src = _at_least_1d(input, index, src)
    places, src = _scatter_places(input, dim, index, src, "scatter")
    return input.at[places].set(src, mode="drop", unique_indices=True, wrap_negative_indices=False).reshape(shape)


@op(name="_scatter_number", method=False, linear=True)
def _scatter_number(input: Array, dim: int, index: Array, value: Array | float) -> Array:
    """A copy of `input` with a number at `index` along `dim`."""
    input = strong(input)
    dim, shape = wrap_dim(dim, input.ndim), input.shape
    input, index = _at_least_1d(input, index)
    places, src = _scatter_places(input, dim, index, jnp.broadcast_to(cast(value, input.dtype).reshape(()), index.shape), "scatter")
    return input.at[places].set(src, mode="drop", wrap_negative_indices=False).reshape(shape)


@numpy_names
def scatter(input: Any, dim: int, index: Any, src: Any = None, value: Any = None, *, reduce: str | None = None) -> Tensor:
    """A copy of `input` with the elements of `src` at the positions that `index` gives along `dim`; the inverse of `gather`.

    Args:
        input: a tensor.
        dim: the dimension along which `index` points.
        index: an int64 or int32 tensor with as many dimensions as `input`.
        src: a tensor of `input`'s dtype, in no dimension shorter than `index`; or a number.
        value: a number, instead of `src`.
        reduce: `"add"` or `"multiply"`: combine with what is there. Prefer `scatter_reduce`.

    Raises:
        IndexError: an index lies outside the dimension; the error is a RuntimeError too, as in PyTorch.
    """
    _check("scatter", input, dim, index)
    source = value if src is None else src
    is_number = not isinstance(source, Tensor | jax.Array | np.ndarray) or src is None
    if reduce is None:
        return _scatter_number(input, dim, index, source) if is_number else _scatter(input, dim, index, source)
    if reduce not in ("add", "multiply"):
        raise ShapeError(f"reduce argument must be either add or multiply, got {reduce!r}")
    if is_number:
        source = full_like(index, source, dtype=input.dtype)
    return _scatter_reduce(input, dim, index, source, "sum" if reduce == "add" else "prod", True)


@op(name="scatter_reduce", method=False)
def _scatter_reduce(input: Array, dim: int, index: Array, src: Array, reduce: str, include_self: bool) -> Array:
    """A copy of `input` into which `src` is reduced at `index` along `dim`."""
    input, src = strong(input), strong(src)
    dim, shape = wrap_dim(dim, input.ndim), input.shape
    if src.dtype != input.dtype:
        raise DtypeError(f"scatter(): Expected self.dtype to be equal to src.dtype, got {input.dtype} and {src.dtype}; write src.to(x.dtype)")
    input, index, src = _at_least_1d(input, index, src)
    places, src = _scatter_places(input, dim, index, src, "scatter_reduce")
    return _reduced_into(input, places, src, reduce, include_self).reshape(shape)


@op(name="scatter_add", method=False, linear=True)
def _scatter_add(input: Array, dim: int, index: Array, src: Array) -> Array:
    """A copy of `input` with `src` added at `index` along `dim`."""
    return _scatter_reduce.op.function(input, dim, index, src, "sum", True)


@numpy_names
def scatter_add(input: Any, dim: int, index: Any, src: Any) -> Tensor:
    """A copy of `input` with the elements of `src` added at the positions that `index` gives along `dim`. See `scatter`.

    Args:
        input: a tensor.
        dim: the dimension along which `index` points.
        index: an int64 or int32 tensor with as many dimensions as `input`.
        src: a tensor of `input`'s dtype, in no dimension shorter than `index`.
    """
    _check("scatter_add", input, dim, index)
    return _scatter_add(input, dim, index, src)


@numpy_names
def scatter_reduce(input: Any, dim: int, index: Any, src: Any, reduce: str, *, include_self: bool = True) -> Tensor:
    """A copy of `input` into which the elements of `src` are reduced at the positions that `index` gives along `dim`.

    Args:
        input: a tensor.
        dim: the dimension along which `index` points.
        index: an int64 or int32 tensor with as many dimensions as `input`.
        src: a tensor of `input`'s dtype, in no dimension shorter than `index`.
        reduce: `"sum"`, `"prod"`, `"mean"`, `"amax"` or `"amin"`.
        include_self: whether the element of `input` counts too.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.zeros(2).scatter_reduce(0, nr.tensor([0, 1, 1]), nr.tensor([1.0, 2.0, 5.0]), "amax")
        tensor([1., 5.])
    """
    _check("scatter_reduce", input, dim, index)
    return _scatter_reduce(input, dim, index, src, reduce, include_self)


def _reduced_into(input: Array, places: tuple[Array, ...], src: Array, reduce: str, include_self: bool) -> Array:
    if reduce not in ("sum", "prod", "mean", "amax", "amin"):
        raise ShapeError(f"reduce argument must be either sum, prod, mean, amax or amin, got {reduce}")
    how = {"mode": "drop", "wrap_negative_indices": False}
    if reduce in ("amax", "amin"):
        refuse(input, "c", f"scatter_reduce with {reduce}")
    if not include_self:
        input = input.at[places].set(_neutral(reduce, input.dtype), **how)
    if reduce == "prod":
        return _multiplied_into(input, places, src)
    if reduce in ("amax", "amin"):
        writer = input.at[places]
        return (writer.max if reduce == "amax" else writer.min)(src, **how)
    total = _added(input.at[places], src, **how)
    if reduce == "sum":
        return total
    count = jnp.full(input.shape, 1 if include_self else 0, input.dtype if input.dtype != bool else np.int32).at[places].add(1, **how)
    count = jnp.maximum(count, 1) if input.dtype.kind != "c" else jnp.where(count == 0, 1, count)
    return total / count if is_inexact(input) else cast(jnp.floor_divide(total, count), input.dtype)


def _added(writer: Any, src: Array, **how: Any) -> Array:
    """`src` added in the places of ``x.at[places]``; for booleans OR."""
    return (writer.max if src.dtype == bool else writer.add)(src, **how)


def _neutral(reduce: str, dtype: np.dtype) -> Any:
    if reduce in ("sum", "mean"):
        return jnp.zeros((), dtype)
    if reduce == "prod":
        return jnp.ones((), dtype)
    greatest = reduce == "amin"
    if dtype.kind == "b":
        return jnp.asarray(greatest)
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        return jnp.asarray(limits.max if greatest else limits.min, dtype)
    return jnp.asarray(np.inf if greatest else -np.inf, dtype)


@jax.custom_jvp
def _multiplied_into(input: Array, places: tuple[Array, ...], src: Array) -> Array:
    """`input` times all elements of `src` that go to the same place."""
    writer = input.at[places]
    return (writer.min if src.dtype == bool else writer.multiply)(src, mode="drop", wrap_negative_indices=False)


@_multiplied_into.defjvp
def _multiplied_into_jvp(primals, tangents):
    """JAX has no derivative for places met twice: to each factor belongs the product of the others, which a zero leaves only if it is the only one."""
    input, places, src = primals
    input_dot, _, src_dot = tangents
    how = {"mode": "drop", "wrap_negative_indices": False}
    zeros = jnp.where(input == 0, 1, 0).astype(np.int32).at[places].add(jnp.where(src == 0, 1, 0).astype(np.int32), **how)
    factors = [jnp.where(x == 0, jnp.ones_like(x), x) for x in (input, src)]
    product = _multiplied_into(factors[0], places, factors[1])

    def of_the_others(x, factor, product, zeros):
        return jnp.where(zeros == (x == 0), product / factor, jnp.zeros_like(product))

    at_src = [x.at[places].get(mode="clip", wrap_negative_indices=False) for x in (product, zeros)]
    change = input_dot * of_the_others(input, factors[0], product, zeros)
    change = change.at[places].add(src_dot * of_the_others(src, factors[1], *at_src), **how)
    return _multiplied_into(input, places, src), change


for _function in (gather, scatter, scatter_add, scatter_reduce):
    attach(_function.__name__, _function)


# --- by an index for each slice ------------------------------------------------------------------------------------


def _vector(index: Array, function: str) -> Array:
    if index.ndim > 1:
        raise IndexTensorError(f"{function}(): Index is supposed to be a vector, but got shape {index.shape}")
    return _whole_numbers(index, function).reshape(-1)


@op(name="index_select", method=False, linear=True)
def _index_select(input: Array, dim: int, index: Array) -> Array:
    """The slices at `index` along `dim`."""
    input, index = strong(input), _vector(index, "index_select")
    dim = wrap_dim(dim, input.ndim)
    if not input.ndim:
        if index.size != 1:
            raise IndexTensorError(f"index_select(): Index to scalar can have only 1 value, got {index.size} value(s)")
        return input
    return jnp.take(input, index, dim, mode="clip")


@numpy_names
def index_select(input: Any, dim: int, index: Any) -> Tensor:
    """The slices of the tensor at `index` along `dim`.

    Args:
        input: a tensor.
        dim: the dimension.
        index: a vector of int64 or int32.

    Raises:
        IndexError: an index lies outside the dimension.
    """
    _check("index_select", input, dim, index)
    return _index_select(input, dim, index)


def _slices(input: Array, dim: int, index: Array, source: Array, function: str) -> tuple[int, Array, Array, Array]:
    """Arguments of a write of slices, checked and of at least one dimension."""
    input, source, index = strong(input), strong(source), _vector(index, function)
    dim = wrap_dim(dim, input.ndim)
    if source.dtype != input.dtype:
        raise DtypeError(f"{function}(): self and source expected to have the same dtype, but got (self) {input.dtype} and (source) {source.dtype}")
    shape = source.shape
    input, source = _at_least_1d(input, source)
    if source.ndim != input.ndim:
        raise IndexTensorError(f"{function}(): source and self must have as many dimensions, but source has shape {shape} and self {input.shape}")
    if source.shape[dim] != index.size:
        raise IndexTensorError(f"{function}(): Number of indices ({index.size}) should be equal to source.size(dim): ({source.shape[dim]}), for dim: {dim}")
    if source.shape[:dim] + source.shape[dim + 1 :] != input.shape[:dim] + input.shape[dim + 1 :]:
        raise ShapeError(f"{function}(): source shape {shape} must match self shape {input.shape}, excluding the specified dimension {dim}")
    return dim, input, index, source


@op(name="index_add", method=False, linear=True)
def _index_add(input: Array, dim: int, index: Array, source: Array, alpha: Array | float = 1) -> Array:
    """A copy of `input` with the slices of `source` added at `index`."""
    shape = input.shape
    dim, input, index, source = _slices(input, dim, index, source, "index_add")
    if not isinstance(alpha, int):
        source = source * cast(alpha, source.dtype)
    return _added(input.at[(slice(None),) * dim + (index,)], source, mode="drop", wrap_negative_indices=False).reshape(shape)


@numpy_names
def index_add(input: Any, dim: int, index: Any, source: Any, *, alpha: Any = 1) -> Tensor:
    """A copy of `input` with the slices of `source`, times `alpha`, added to its slices at `index` along `dim`.

    Args:
        input: a tensor.
        dim: the dimension.
        index: a vector of int64 or int32; slices that occur several times add up.
        source: a tensor of `input`'s dtype, and of its shape except along `dim`.
        alpha: a number that `source` is multiplied by. Default: 1.
    """
    _check("index_add", input, dim, index)
    return _index_add(input, dim, index, source, alpha)


@op(name="index_copy", method=False, linear=True)
def _index_copy(input: Array, dim: int, index: Array, source: Array) -> Array:
    """A copy of `input` with the slices of `source` at `index`."""
    shape = input.shape
    dim, input, index, source = _slices(input, dim, index, source, "index_copy")
    return input.at[(slice(None),) * dim + (index,)].set(source, mode="drop", unique_indices=True, wrap_negative_indices=False).reshape(shape)


@numpy_names
def index_copy(input: Any, dim: int, index: Any, source: Any) -> Tensor:
    """A copy of `input` with the slices of `source` in place of its slices at `index` along `dim`. See `index_add`."""
    _check("index_copy", input, dim, index)
    return _index_copy(input, dim, index, source)


@op(name="index_fill", method=False, linear=True)
def _index_fill(input: Array, dim: int, index: Array, value: Array | float) -> Array:
    """A copy of `input` with a number in its slices at `index`."""
    input, shape = strong(input), input.shape
    if getattr(value, "ndim", 0):
        raise ShapeError(f"index_fill_ only supports a 0-dimensional value tensor, but got tensor with {value.ndim} dimension(s).")
    dim, index = wrap_dim(dim, input.ndim), _vector(index, "index_fill")
    (input,) = _at_least_1d(input)
    return input.at[(slice(None),) * dim + (index,)].set(cast(value, input.dtype), mode="drop").reshape(shape)


@numpy_names
def index_fill(input: Any, dim: int, index: Any, value: Any) -> Tensor:
    """A copy of `input` with `value` in its slices at `index` along `dim`.

    Args:
        input: a tensor.
        dim: the dimension.
        index: a vector of int64 or int32; negative indices count from the end.
        value: a number or 0-d tensor.
    """
    _check("index_fill", input, dim, index, negative=True)
    return _index_fill(input, dim, index, value)


@op(name="index_reduce", method=False)
def _index_reduce(input: Array, dim: int, index: Array, source: Array, reduce: str, include_self: bool) -> Array:
    """A copy of `input` into whose slices at `index` those of `source` are reduced."""
    shape = input.shape
    dim, input, index, source = _slices(input, dim, index, source, "index_reduce")
    if reduce not in ("prod", "mean", "amax", "amin"):
        raise ShapeError(f"index_reduce(): Expected reduce to be one of prod, mean, amax or amin but got {reduce}.")
    index = jnp.broadcast_to(index.reshape([-1 if d == dim else 1 for d in range(source.ndim)]), source.shape)
    return _reduced_into(input, _coordinates(index, dim), source, reduce, include_self).reshape(shape)


@numpy_names
def index_reduce(input: Any, dim: int, index: Any, source: Any, reduce: str, *, include_self: bool = True) -> Tensor:
    """A copy of `input` into whose slices at `index` along `dim` the slices of `source` are reduced.

    Args:
        input: a tensor.
        dim: the dimension.
        index: a vector of int64 or int32.
        source: a tensor of `input`'s dtype, and of its shape except along `dim`.
        reduce: `"prod"`, `"mean"`, `"amax"` or `"amin"`.
        include_self: whether the slice of `input` counts too.
    """
    _check("index_reduce", input, dim, index)
    return _index_reduce(input, dim, index, source, reduce, include_self)


@numpy_names
def index_put(input: Any, indices: Sequence[Any], values: Any, accumulate: bool = False) -> Tensor:
    """A copy of `input` with `values` at ``input[indices]``.

    Args:
        input: a tensor.
        indices: index tensors, for one dimension after the other; boolean masks, and `None` for a whole dimension.
        values: a tensor of `input`'s dtype that broadcasts to ``input[indices]``.
        accumulate: add to what is there.
    """
    values = values if isinstance(values, Tensor) else wrap(array_from(values))
    input = input if isinstance(input, Tensor) else wrap(array_from(input))
    if values.dtype != input.dtype:
        raise DtypeError(f"Index put requires the source and destination dtypes match, got {values.dtype} for the source and {input.dtype} for the destination")
    how = "set" if not accumulate else "max" if values.dtype == dtypes.bool_ else "add"
    return update(input, tuple(slice(None) if i is None else i for i in indices), values, how)


for _function in (index_select, index_add, index_copy, index_fill, index_reduce, index_put):
    attach(_function.__name__, _function)


# --- by position in the flattened tensor ---------------------------------------------------------------------------


@op(name="take", method=False, linear=True)
def _take(input: Array, index: Array) -> Array:
    """The elements at positions of the flattened tensor."""
    input, index = strong(input), _whole_numbers(index, "take")
    if not input.size and index.size:
        raise IndexOutOfRangeError("take(): tried to take from an empty tensor")
    return jnp.ravel(input).at[index].get(mode="clip") if index.size else jnp.zeros(index.shape, input.dtype)


@numpy_names
def take(input: Any, index: Any) -> Tensor:
    """The elements at positions of the flattened tensor, in the shape of `index`.

    Args:
        input: a tensor.
        index: an int64 tensor; negative positions count from the end.

    Raises:
        IndexError: a position lies outside.
    """
    check_indices("take", index, math.prod(input.shape), negative=True)
    return _take(input, index)


@op(name="put", method=False, linear=True)
def _put(input: Array, index: Array, source: Array, accumulate: bool) -> Array:
    """A copy of `input` with `source` at positions of its flattened form."""
    input, source, index = strong(input), strong(source), _whole_numbers(index, "put")
    if source.dtype != input.dtype:
        raise DtypeError(f"put(): self and source expected to have the same dtype, but got self.dtype = {input.dtype} and source.dtype = {source.dtype}")
    if index.size != source.size:
        raise IndexTensorError(f"put(): Expected source and index to have the same number of elements, but got {source.size} and {index.size}")
    writer = jnp.ravel(input).at[jnp.ravel(index)]
    written = _added(writer, jnp.ravel(source), mode="drop") if accumulate else writer.set(jnp.ravel(source), mode="drop", unique_indices=True)
    return written.reshape(input.shape)


@numpy_names
def put(input: Any, index: Any, source: Any, accumulate: bool = False) -> Tensor:
    """A copy of `input` with the elements of `source` at positions of its flattened form.

    Args:
        input: a tensor.
        index: an int64 tensor; negative positions count from the end.
        source: a tensor of `input`'s dtype with as many elements as `index`.
        accumulate: add to what is there.
    """
    check_indices("put", index, math.prod(input.shape), negative=True)
    return _put(input, index, source, accumulate)


@op(name="take_along_dim", method=False, linear=True)
def _take_along_dim(input: Array, indices: Array, dim: int | None) -> Array:
    """The elements at `indices` along `dim`, with broadcasting."""
    input, indices = strong(input), _whole_numbers(indices, "take_along_dim")
    if dim is None:
        return jnp.take_along_axis(jnp.ravel(input), jnp.ravel(indices), 0, mode="promise_in_bounds")
    if input.ndim != indices.ndim:
        raise ShapeError(
            f"torch.take_along_dim(): input and indices should have the same number of dimensions, but got {input.ndim} dimensions for input, "
            f"and {indices.ndim} dimensions for indices"
        )
    if not input.ndim:
        raise IndexOutOfRangeError(f"Dimension specified as {dim} but tensor has no dimensions")
    dim = wrap_dim(dim, input.ndim)
    if not indices.size:
        return jnp.zeros(indices.shape, input.dtype)
    if not input.shape[dim]:
        raise IndexTensorError(f"torch.take_along_dim(): no element to take along dimension {dim} of a tensor of shape {input.shape}")
    others = broadcast_shapes(*(x.shape[:dim] + (1,) + x.shape[dim + 1 :] for x in (input, indices)))
    input, indices = (jnp.broadcast_to(x, (*others[:dim], x.shape[dim], *others[dim + 1 :])) for x in (input, indices))
    return jnp.take_along_axis(input, jnp.remainder(indices, cast(input.shape[dim], indices.dtype)), dim, mode="promise_in_bounds")


@numpy_names
def take_along_dim(input: Any, indices: Any, dim: int | None = None) -> Tensor:
    """The elements of `input` at `indices` along `dim`; in the other dimensions the two broadcast.

    Args:
        input: a tensor.
        indices: an int64 tensor with as many dimensions; taken modulo the length of the dimension, so -1 is the last.
        dim: the dimension. Default: positions of the flattened tensor, which must lie inside.
    """
    if dim is None:
        check_indices("take_along_dim", indices, math.prod(input.shape))
    return _take_along_dim(input, indices, dim)


for _function in (take, put, take_along_dim):
    attach(_function.__name__, _function)


# --- by a mask -----------------------------------------------------------------------------------------------------


@op(name="_flat_places", method=False)
def _flat_places(mask: Array, shape: tuple[int, ...], size: int) -> Array:
    """The first `size` positions of the flattened mask where it holds; for those that are missing one beyond the end."""
    return jnp.nonzero(jnp.ravel(jnp.broadcast_to(mask, shape)), size=size, fill_value=math.prod(shape))[0]


@op(name="masked_select", method=False, linear=True)
def _masked_select(input: Array, places: Array, fill_value: Array | float, shape: tuple[int, ...]) -> Array:
    """The elements at positions of the flattened, broadcast tensor; `fill_value` beyond its end."""
    input = strong(input)
    if not places.size:
        return jnp.zeros(0, input.dtype)
    taken = jnp.ravel(jnp.broadcast_to(input, shape)).at[places].get(mode="clip")
    return jnp.where(places < math.prod(shape), taken, cast(fill_value, input.dtype))


@numpy_names
def masked_select(input: Any, mask: Any, *, size: int | None = None, fill_value: Any = 0) -> Tensor:
    """The elements of `input` where `mask` holds, in one dimension.

    Args:
        input: a tensor.
        mask: a bool tensor that broadcasts with it.
        size: the number of elements that come out; needed inside a transformation, where the number that holds is unknown.
        fill_value: stands for the elements that are missing where `size` exceeds their number.

    Raises:
        TracedValueError: inside a transformation without `size`.

    Examples:
        >>> import neurarust_jax as nr
        >>> x = nr.tensor([3, -1, 2])
        >>> nr.masked_select(x, x > 0)
        tensor([3, 2])
    """
    value = _value_of(mask)
    if value.dtype != bool:
        raise DtypeError(f"masked_select: expected BoolTensor for mask, got {dtypes.from_numpy(value.dtype)}; write mask.bool()")
    shape = broadcast_shapes(tuple(input.shape), value.shape)
    if size is not None:
        return _masked_select(input, _flat_places(value, shape, size), fill_value, shape)
    _refuse_tracer(value, "masked_select", "nr.masked_select(x, mask, size=n) or nr.where(mask, x, 0)")
    return _masked_select(input, np.flatnonzero(np.broadcast_to(np.asarray(value), shape)), fill_value, shape)


def _value_of(x: Any) -> Any:
    return x._value if isinstance(x, Tensor) else array_from(x)


def _refuse_tracer(value: Any, function: str, instead: str) -> None:
    if isinstance(value, jax.core.Tracer):
        raise TracedValueError(
            f"{function} of a tensor of shape {tuple(value.shape)} has a size that is unknown inside nr.jit and other transformations; write {instead}"
        )


@op(name="masked_scatter", method=False, linear=True)
def _masked_scatter(input: Array, mask: Array, source: Array) -> Array:
    """`input` with the elements of `source`, in order, where the mask holds."""
    input, source = strong(input), strong(source)
    if source.dtype != input.dtype:
        raise DtypeError(f"masked_scatter_: expected self and source to have same dtypes but got {input.dtype} and {source.dtype}")
    if mask.dtype != bool:
        raise DtypeError(f"masked_scatter_ only supports boolean masks, but got mask with dtype {mask.dtype}")
    shape = broadcast_shapes(input.shape, mask.shape)
    if not source.size or not math.prod(shape):
        return jnp.broadcast_to(input, shape)
    mask = jnp.broadcast_to(mask, shape)
    order = jnp.cumsum(jnp.ravel(mask), dtype=np.int32 if mask.size < 2**31 else np.int64).reshape(shape) - 1
    return jnp.where(mask, jnp.ravel(source).at[order].get(mode="clip"), input)


@numpy_names
def masked_scatter(input: Any, mask: Any, source: Any) -> Tensor:
    """`input` with the elements of `source`, in order, in the places where `mask` holds.

    Args:
        input: a tensor.
        mask: a bool tensor that broadcasts with it.
        source: a tensor of `input`'s dtype with at least as many elements as places.

    Raises:
        RuntimeError: `source` has too few elements (not looked at inside a transformation).
    """
    value, available = _value_of(mask), math.prod(source.shape)
    shape = broadcast_shapes(tuple(input.shape), value.shape)
    if available < math.prod(shape) and not isinstance(value, jax.core.Tracer):
        wanted = int(np.count_nonzero(np.broadcast_to(np.asarray(value), shape)))
        if wanted > available:
            raise ShapeError(f"masked_scatter: Number of elements of source < number of ones in mask: {available} < {wanted}")
    return _masked_scatter(input, mask, source)


@op(name="nonzero", method=False)
def _nonzero(input: Array, size: int, fill_value: int) -> Array:
    """The coordinates of the first `size` elements that are not zero, as rows."""
    if not input.size or not input.ndim:
        return jnp.full((size, input.ndim), fill_value, np.int64)
    return jnp.stack([cast(x, np.int64) for x in jnp.nonzero(input, size=size, fill_value=fill_value)], 1)


@numpy_names
def nonzero(input: Any, *, as_tuple: bool = False, size: int | None = None, fill_value: int = 0) -> Any:
    """Where the elements are not zero.

    Args:
        input: a tensor.
        as_tuple: a tuple with an index tensor for each dimension, which can index `input`, rather than one matrix.
        size: the number of elements to return; needed inside a transformation, where the number of nonzero ones is unknown.
        fill_value: the coordinate of those that are missing where `size` exceeds their number. Default: 0.

    Returns:
        An int64 tensor of shape (n, ndim) with the coordinates of an element in each row, or a tuple of ndim tensors of length n.

    Raises:
        TracedValueError: inside a transformation without `size`.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.nonzero(nr.tensor([[0, 7], [5, 0]]))
        tensor([[0, 1],
                [1, 0]])
    """
    value = _value_of(input)
    if as_tuple and not value.ndim:
        value = value.reshape(1)
    if size is not None:
        found = _nonzero(value, size, 0 if fill_value is None else fill_value)
    else:
        _refuse_tracer(value, "nonzero", "nr.nonzero(x, size=n) or nr.where(condition, a, b)")
        found = wrap(array_from(np.argwhere(np.asarray(value))))
    return found.unbind(1) if as_tuple else found


@numpy_names
def nonzero_static(input: Any, *, size: int, fill_value: int = -1) -> Tensor:
    """The coordinates of the first `size` elements that are not zero, as rows; rows that are missing hold `fill_value`.

    Args:
        input: a tensor.
        size: the number of rows.
        fill_value: Default: -1.
    """
    if size < 0:
        raise ShapeError(f"nonzero_static: 'size' must be an non-negative integer, got {size}")
    return _nonzero(input, size, fill_value)


@numpy_names
def argwhere(input: Any, *, size: int | None = None, fill_value: int = 0) -> Tensor:
    """The coordinates of the elements that are not zero, as rows: `nonzero`."""
    return nonzero(input, size=size, fill_value=fill_value)


for _function in (masked_select, masked_scatter, nonzero, nonzero_static, argwhere):
    attach(_function.__name__, _function)
