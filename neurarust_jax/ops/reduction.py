"""Reductions: sums, products, extremes, and softmax with its kin.

Variances and norms are in `moments.py`, what sorts first (median, mode, quantile) in `quantiles.py`.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from .. import dtypes
from ..dispatch import Array, op
from ..errors import ArgumentError, DtypeError, IndexOutOfRangeError, ShapeError
from ..tensor import Tensor, attach
from .common import cast, floating, is_inexact, numpy_dtype, numpy_names, refuse, strong, wrap_dim, wrap_dims
from .elementwise import maximum, minimum

__all__ = [
    "sum", "nansum", "mean", "nanmean", "prod", "max", "min", "amax", "amin", "aminmax", "argmax", "argmin", "all", "any", "count_nonzero",
    "logsumexp", "softmax", "log_softmax", "softmin", "hash_tensor",
]  # fmt: skip

Dims = int | tuple[int, ...] | None


class ValuesAndIndices(NamedTuple):
    """Elements chosen along a dimension, and where they were."""

    values: Any
    indices: Any


class MinAndMax(NamedTuple):
    """The least and the greatest element."""

    min: Any
    max: Any


# --- sums and products ---------------------------------------------------------------------------------------------


def summable(input: Array, dtype: Any) -> Array:
    """`input` in the dtype that its sum has: `dtype`, or else int64 for integers and booleans."""
    return cast(input, numpy_dtype(dtype, np.int64 if input.dtype.kind in "biu" else input.dtype))


@op(linear=True)
def sum(input: Array, dim: Dims = None, keepdim: bool = False, *, dtype: dtypes.dtype | None = None) -> Array:
    """The sum of the elements along dimensions.

    Args:
        input: a tensor.
        dim: the dimension, or a tuple of them, to sum along. Default: all.
        keepdim: keep them with length 1.
        dtype: convert to this first. Default: the dtype of `input`; int64 for integers and booleans.

    Returns:
        A tensor without the dimensions `dim`.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.sum(nr.tensor([[1.0, 2.0], [3.0, 4.0]]), dim=1)
        tensor([3., 7.])
    """
    return _add_up(summable(input, dtype), wrap_dims(dim, input.ndim), keepdim)


def _add_up(x: Array, dims: tuple[int, ...], keepdim: bool) -> Array:
    if x.dtype == bool:
        return jnp.any(x, dims, keepdims=keepdim)
    return jnp.sum(x, dims, dtype=_integer_dtype(x), keepdims=keepdim)


def _integer_dtype(x: Array) -> np.dtype | None:
    """The dtype to ask `jnp.sum` for, which would widen integers; half precision it sums in float32 only if not asked."""
    return None if is_inexact(x) else x.dtype


@op(name="_sum_to_size", method=False, linear=True)
def _sum_to_size(input: Array, size: tuple[int, ...]) -> Array:
    """The sum of the elements that broadcasting `size` to the shape of `input` would repeat."""
    extra = input.ndim - len(size)
    if extra < 0 or [have for have, wanted in zip(input.shape[extra:], size, strict=True) if have != wanted != 1]:
        raise ShapeError(f"size {list(size)} is not expandable to size {list(input.shape)}.")
    dims = [d for d in range(input.ndim) if d < extra or (size[d - extra] == 1 != input.shape[d])]
    return _add_up(summable(input, None), tuple(dims), True).reshape(size)


def _sum_to(self: Tensor, *size: Any) -> Tensor:
    """The sum of the elements that broadcasting `size` to this shape would repeat: the inverse of `expand`.

    Args:
        *size: the shape, as ints or as one sequence; it must be expandable to that of the tensor, which is handed back if it has it already.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.ones(2, 3).sum_to_size(1, 3)
        tensor([[2., 2., 2.]])
    """
    size = tuple(size[0]) if len(size) == 1 and not isinstance(size[0], int) else size
    return self if size and size == tuple(self.shape) else _sum_to_size(self, size)  # to () PyTorch always adds up


attach("sum_to_size", _sum_to)


@op
def nansum(input: Array, dim: Dims = None, keepdim: bool = False, *, dtype: dtypes.dtype | None = None) -> Array:
    """The sum of the elements along dimensions, NaN counted as 0. See `sum`."""
    refuse(input, "c", "nansum")
    return _add_up(summable(_without_nan(input), dtype), wrap_dims(dim, input.ndim), keepdim)


def _without_nan(x: Array) -> Array:
    return jnp.where(jnp.isnan(x), jnp.zeros((), x.dtype), x) if is_inexact(x) else x


@op(linear=True)
def mean(input: Array, dim: Dims = None, keepdim: bool = False, *, dtype: dtypes.dtype | None = None) -> Array:
    """The mean of the elements along dimensions; NaN of none.

    Args:
        input: a floating-point or complex tensor.
        dim: the dimension, or a tuple of them, to take the mean along. Default: all.
        keepdim: keep them with length 1.
        dtype: convert to this first.

    Returns:
        A tensor without the dimensions `dim`.

    Raises:
        RuntimeError: `input` (or `dtype`) is neither floating-point nor complex.
    """
    return jnp.mean(_averageable(input, dtype, "mean"), wrap_dims(dim, input.ndim), keepdims=keepdim)


def _averageable(input: Array, dtype: Any, function: str) -> Array:
    input = cast(input, numpy_dtype(dtype, input.dtype))
    if not is_inexact(input):
        raise DtypeError(
            f"{function}(): could not infer output dtype. Input dtype must be either a floating point or complex dtype. "
            f"Got: {dtypes.from_numpy(input.dtype)}; write x.float().{function}() or {function}(dtype=nr.float32)"
        )
    return input


@op
def nanmean(input: Array, dim: Dims = None, keepdim: bool = False, *, dtype: dtypes.dtype | None = None) -> Array:
    """The mean of the elements that are not NaN, along dimensions. See `mean`."""
    input = _averageable(input, dtype, "nanmean")
    dims = wrap_dims(dim, input.ndim)
    count = jnp.sum(~jnp.isnan(input), dims, dtype=np.int64, keepdims=keepdim)
    return jnp.sum(_without_nan(input), dims, keepdims=keepdim) / cast(count, input.dtype)


@op
def prod(input: Array, dim: int | None = None, keepdim: bool = False, *, dtype: dtypes.dtype | None = None) -> Array:
    """The product of the elements, of all or along one dimension. Its gradient is exact where elements are 0.

    Args:
        input: a tensor.
        dim: the dimension to multiply along. Default: all.
        keepdim: keep it with length 1.
        dtype: convert to this first. Default: the dtype of `input`; int64 for integers and booleans.
    """
    input = summable(input, dtype)
    dims = wrap_dims(dim if dim is None else wrap_dim(dim, input.ndim), input.ndim)
    if input.dtype == bool:
        return jnp.all(input, dims, keepdims=keepdim)
    return jnp.prod(input, dims, dtype=_integer_dtype(input), keepdims=keepdim)


def widened(x: Array) -> Array:
    """`x`, half precision as float32: sums of many terms are computed so, as PyTorch does."""
    return cast(x, np.float32) if x.dtype.itemsize < 4 else x


# --- extremes ------------------------------------------------------------------------------------------------------


@functools.partial(jax.custom_jvp, nondiff_argnums=(2,))
def pick(x: Array, index: Array, dim: int) -> Array:
    """The elements at `index` (which keeps `dim` with length 1). Its gradient is a mask, which XLA fuses where a scatter would not."""
    return jnp.take_along_axis(x, index, dim, mode="clip")


@pick.defjvp
def _pick_jvp(dim, primals, tangents):
    x, index = primals
    here = lax.broadcasted_iota(index.dtype, x.shape, dim) == index
    return pick(x, index, dim), jnp.sum(jnp.where(here, tangents[0], 0), dim, keepdims=True)


@functools.partial(jax.custom_jvp, nondiff_argnums=(1, 2, 3))
def shared(x: Array, choose: Any, dims: tuple[int, ...], nan_is_equal: bool) -> Array:
    """``choose(x)``, which keeps `dims`: elements of `x`, whose gradient all elements along `dims` that are equal to them share."""
    return choose(x)


@shared.defjvp
def _shared_jvp(choose, dims, nan_is_equal, primals, tangents):
    (x,), (tangent,) = primals, tangents
    value = shared(x, choose, dims, nan_is_equal)
    equal = x == value
    if nan_is_equal:
        equal = equal | (jnp.isnan(x) & jnp.isnan(value))
    count = cast(jnp.sum(equal, dims, keepdims=True), widened(x).dtype)
    share = cast(jnp.where(equal, 1 / count, 0 / count), x.dtype)  # NaN where nothing is equal, as in PyTorch
    return value, jnp.sum(tangent * share, dims, keepdims=True)


def index_dtype(length: int) -> Any:
    """The dtype of positions along a dimension: int32 wherever that suffices, which lowers with 64-bit types off too."""
    return np.dtype(np.int32 if length < 2**31 else np.int64)


def _ordered(input: Array, function: str) -> Array:
    """`input`, unless its elements have no order, being complex."""
    refuse(input, "c", function)
    return strong(input)


def _nothing_to_choose(function: str) -> ShapeError:
    return ShapeError(f"{function}(): Expected reduction dim to be specified for input.numel() == 0. Specify the reduction dim with the 'dim' argument.")


def check_not_empty(input: Array, dim: int, function: str) -> None:
    """Raise PyTorch's error if there is nothing to choose from along `dim`."""
    if input.ndim and not input.shape[dim]:
        raise IndexOutOfRangeError(f"{function}(): Expected reduction dim {dim} to have non-zero size; the input's shape is {input.shape}")


def _arg_extreme(input: Array, dim: int, greatest: bool) -> Array:
    """Position of the first extreme along `dim`, which is kept; NaN counts as extreme."""
    x = lax.stop_gradient(cast(input, np.uint8) if input.dtype == bool else input)
    index = index_dtype(x.shape[dim])

    def in_one_pass(x: Array) -> Array:
        return lax.expand_dims((lax.argmax if greatest else lax.argmin)(x, dim, index), (dim,))

    def in_two_passes(x: Array) -> Array:  # XLA vectorizes both on the CPU, and not the one pass: 4 times as fast
        here = x == (jnp.max if greatest else jnp.min)(x, dim, keepdims=True)
        if is_inexact(x):
            here = here | jnp.isnan(x)
        places = lax.broadcasted_iota(index, x.shape, dim)
        return jnp.min(jnp.where(here, places, x.shape[dim]), dim, keepdims=True)

    return lax.platform_dependent(x, cpu=in_two_passes, default=in_one_pass)


def _shared_extreme(x: Array, reduce: Any, dims: tuple[int, ...], keepdim: bool, nan_is_equal: bool = False) -> Array:
    choose = functools.partial(reduce, axis=dims, keepdims=True)
    found = shared(x, choose, dims, nan_is_equal) if is_inexact(x) else choose(x)
    return found if keepdim else lax.squeeze(found, dims)


def _extreme(input: Array, dim: int | None, keepdim: bool, greatest: bool) -> Any:
    function, reduce = ("max", jnp.max) if greatest else ("min", jnp.min)
    input = _ordered(input, function)
    if dim is None:
        if not input.size:
            raise _nothing_to_choose(function)
        return _shared_extreme(input, reduce, wrap_dims(None, input.ndim), False, nan_is_equal=True)
    dim = wrap_dim(dim, input.ndim)
    check_not_empty(input, dim, function)
    if input.ndim == 0:
        return ValuesAndIndices(input, jnp.zeros((), np.int64))
    index = _arg_extreme(input, dim, greatest)
    return values_and_indices(pick(input, index, dim), index, dim, keepdim)


def values_and_indices(values: Array, index: Array, dim: int, keepdim: bool) -> ValuesAndIndices:
    """The pair that PyTorch returns, from arrays that keep `dim`."""
    if not keepdim:
        values, index = lax.squeeze(values, (dim,)), lax.squeeze(index, (dim,))
    return ValuesAndIndices(values, cast(index, np.int64))


@op(name="_max", method=False, tensors="first")
def _max(input: Array, dim: int | None = None, keepdim: bool = False) -> Array | ValuesAndIndices:
    """The greatest element of all, or along a dimension the greatest and their positions."""
    return _extreme(input, dim, keepdim, greatest=True)


@op(name="_min", method=False, tensors="first")
def _min(input: Array, dim: int | None = None, keepdim: bool = False) -> Array | ValuesAndIndices:
    """The least element of all, or along a dimension the least and their positions."""
    return _extreme(input, dim, keepdim, greatest=False)


def _is_operand(x: Any) -> bool:
    return isinstance(x, Tensor | jax.Array | np.ndarray)


@numpy_names
def max(input, dim=None, keepdim: bool = False, *, other=None):
    """The greatest element of all; along a dimension; or of two tensors, elementwise. NaN counts as the greatest.

    Args:
        input: a tensor.
        dim: a dimension; or a tensor, for ``maximum(input, other)``.
        keepdim: keep the dimension with length 1.
        other: the second tensor.

    Returns:
        Without `dim` a 0-d tensor, whose gradient all elements equal to it share. With `dim` a named tuple `(values, indices)`; the gradient goes to
        the first of equal elements.

    Raises:
        RuntimeError: an empty `input` without `dim`.
        IndexError: the dimension has length 0.

    Examples:
        >>> import neurarust_jax as nr
        >>> values, indices = nr.max(nr.tensor([[1.0, 5.0], [3.0, 2.0]]), dim=1)
        >>> values, indices
        (tensor([5., 3.]), tensor([1, 0]))
    """
    if other is not None or _is_operand(dim):
        return maximum(input, dim if other is None else other)
    return _max(input, dim, keepdim)


@numpy_names
def min(input, dim=None, keepdim: bool = False, *, other=None):
    """The least element of all; along a dimension; or of two tensors, elementwise. NaN counts as the least. See `max`.

    Args:
        input: a tensor.
        dim: a dimension; or a tensor, for ``minimum(input, other)``.
        keepdim: keep the dimension with length 1.
        other: the second tensor.

    Returns:
        Without `dim` a 0-d tensor; with it a named tuple `(values, indices)`.
    """
    if other is not None or _is_operand(dim):
        return minimum(input, dim if other is None else other)
    return _min(input, dim, keepdim)


attach("max", max)
attach("min", min)


def _reduce_extreme(input: Array, dim: Dims, keepdim: bool, reduce: Any, function: str) -> Array:
    input = _ordered(input, function)
    dims = wrap_dims(dim, input.ndim)
    if not input.size and (dim is None or dim == ()):
        raise _nothing_to_choose(function)
    for d in dims:
        check_not_empty(input, d, function)
    return _shared_extreme(input, reduce, dims, keepdim)


@op
def amax(input: Array, dim: Dims = (), keepdim: bool = False) -> Array:
    """The greatest element along dimensions; all elements equal to it share its gradient.

    Args:
        input: a tensor.
        dim: a dimension, or a tuple of them. Default: all.
        keepdim: keep them with length 1.
    """
    return _reduce_extreme(input, dim, keepdim, jnp.max, "amax")


@op
def amin(input: Array, dim: Dims = (), keepdim: bool = False) -> Array:
    """The least element along dimensions; all elements equal to it share its gradient. See `amax`."""
    return _reduce_extreme(input, dim, keepdim, jnp.min, "amin")


@op
def aminmax(input: Array, *, dim: int | None = None, keepdim: bool = False) -> MinAndMax:
    """The least and the greatest element, of all or along one dimension.

    Returns:
        A named tuple `(min, max)`.
    """
    input = _ordered(input, "aminmax")
    if not input.size and dim is None:
        raise ShapeError("aminmax(): cannot compute aminmax over an empty dimension as the operation has no identity.")
    dims = wrap_dims(dim if dim is None else wrap_dim(dim, input.ndim), input.ndim)
    for d in dims:
        check_not_empty(input, d, "aminmax")
    return MinAndMax(_shared_extreme(input, jnp.min, dims, keepdim), _shared_extreme(input, jnp.max, dims, keepdim))


def _position(input: Array, dim: int | None, keepdim: bool, greatest: bool) -> Array:
    function = "argmax" if greatest else "argmin"
    input = _ordered(input, function)
    if dim is None:
        if not input.size:
            raise IndexOutOfRangeError(str(_nothing_to_choose(function)))
        found = _arg_extreme(input.reshape(-1), 0, greatest)
        return cast(found.reshape((1,) * input.ndim if keepdim else ()), np.int64)
    dim = wrap_dim(dim, input.ndim)
    check_not_empty(input, dim, function)
    if input.ndim == 0:
        return jnp.zeros((), np.int64)
    found = _arg_extreme(input, dim, greatest)
    return cast(found if keepdim else lax.squeeze(found, (dim,)), np.int64)


@op
def argmax(input: Array, dim: int | None = None, keepdim: bool = False) -> Array:
    """Position of the greatest element along `dim` (default: in the flattened tensor), int64; of equal ones the first. NaN counts as the greatest."""
    return _position(input, dim, keepdim, greatest=True)


@op
def argmin(input: Array, dim: int | None = None, keepdim: bool = False) -> Array:
    """Position of the least element along `dim` (default: in the flattened tensor), int64; of equal ones the first. NaN counts as the least."""
    return _position(input, dim, keepdim, greatest=False)


# --- truth ---------------------------------------------------------------------------------------------------------


def _truth(input: Array, dim: Dims, keepdim: bool, reduce: Any) -> Array:
    found = reduce(cast(input, bool), wrap_dims(dim, input.ndim), keepdims=keepdim)
    return cast(found, np.uint8) if input.dtype == np.uint8 else found  # PyTorch's exception


@op
def all(input: Array, dim: Dims = None, keepdim: bool = False) -> Array:
    """Whether all elements along dimensions (default: all) are nonzero; a bool tensor (uint8 of uint8)."""
    return _truth(input, dim, keepdim, jnp.all)


@op
def any(input: Array, dim: Dims = None, keepdim: bool = False) -> Array:
    """Whether any element along dimensions (default: all) is nonzero; a bool tensor (uint8 of uint8)."""
    return _truth(input, dim, keepdim, jnp.any)


@op
def count_nonzero(input: Array, dim: Dims = None) -> Array:
    """The number of nonzero elements along dimensions (default: all), int64."""
    return jnp.sum(cast(input, bool), wrap_dims(dim, input.ndim), dtype=np.int64)


@op
def hash_tensor(input: Array, dim: Dims = (), *, keepdim: bool = False, mode: int = 0) -> Array:
    """A hash of the elements along dimensions: the exclusive or of their bits, as 64-bit floats or integers.

    Args:
        input: a real tensor.
        dim: the dimension, or a tuple of them. Default: all.
        keepdim: keep them with length 1.
        mode: 0, the only one.

    Returns:
        A tensor of uint64; 0 of no elements.
    """
    refuse(input, "c", "hash_tensor")
    if mode != 0:
        raise ArgumentError(f"hash_tensor() knows mode=0 only, got {mode}")
    dims = wrap_dims(dim, input.ndim)
    if not input.size and (dim is None or dim == ()):
        raise _nothing_to_choose("hash_tensor")
    bits = lax.bitcast_convert_type(cast(input, np.float64 if is_inexact(input) else np.int64), np.uint64)
    found = lax.reduce(bits, np.uint64(0), lax.bitwise_xor, dims)
    return lax.expand_dims(found, sorted(dims)) if keepdim else found


# --- exponentials --------------------------------------------------------------------------------------------------


@op
def logsumexp(input: Array, dim: Dims, keepdim: bool = False) -> Array:
    """``log(sum(exp(input)))`` along dimensions, without overflow; -inf of none.

    Args:
        input: a tensor; integers become the default dtype.
        dim: the dimension, or a tuple of them.
        keepdim: keep them with length 1.
    """
    x = floating(input)
    return cast(jax.nn.logsumexp(widened(x), wrap_dims(dim, x.ndim), keepdims=keepdim), x.dtype)


def _softmaxable(input: Array, dtype: Any, function: str) -> Array:
    x = strong(input) if dtype is None else cast(input, numpy_dtype(dtype))
    if not is_inexact(x) or x.dtype.kind == "c":
        raise DtypeError(f'"{function}" not implemented for {dtypes.from_numpy(x.dtype)}; write {function}(x, dim, dtype=nr.float32)')
    return x


def _along(function: Any, x: Array, dim: int) -> Array:
    """`function(x, dim)` in at least float32; a 0-d tensor as one of length 1."""
    dim = wrap_dim(dim, x.ndim)
    return cast(function(widened(x).reshape(x.shape or (1,)), dim), x.dtype).reshape(x.shape)


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def _softmax(x: Array, dim: int) -> Array:
    exponential = jnp.exp(x - jnp.max(x, dim, keepdims=True, initial=-jnp.inf))
    return exponential / jnp.sum(exponential, dim, keepdims=True)


@_softmax.defjvp
def _softmax_jvp(dim, primals, tangents):
    y = _softmax(primals[0], dim)  # the derivative in terms of the result: one exponential and one division less
    moved = y * tangents[0]
    return y, moved - y * jnp.sum(moved, dim, keepdims=True)


@op
def softmax(input: Array, dim: int, dtype: dtypes.dtype | None = None) -> Array:
    r"""The softmax along a dimension: :math:`\exp(x_i) / \sum_j \exp(x_j)`.

    Args:
        input: a floating-point tensor.
        dim: the dimension along which the result sums to 1.
        dtype: convert to this first.

    Returns:
        A tensor of the shape of `input`, with elements between 0 and 1.

    Raises:
        RuntimeError: `input` is not floating-point and no `dtype` is given.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.softmax(nr.tensor([0.0, 0.0]), dim=0)
        tensor([0.5000, 0.5000])
    """
    return _along(_softmax, _softmaxable(input, dtype, "softmax"), dim)


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def _log_softmax(x: Array, dim: int) -> Array:
    shifted = x - jnp.max(x, dim, keepdims=True, initial=-jnp.inf)
    return shifted - jnp.log(jnp.sum(jnp.exp(shifted), dim, keepdims=True))


@_log_softmax.defjvp
def _log_softmax_jvp(dim, primals, tangents):
    y = _log_softmax(primals[0], dim)
    return y, tangents[0] - jnp.sum(jnp.exp(y) * tangents[0], dim, keepdims=True)


@op
def log_softmax(input: Array, dim: int, dtype: dtypes.dtype | None = None) -> Array:
    """The logarithm of `softmax` along a dimension, exact where softmax would be 0.

    Args:
        input: a floating-point tensor.
        dim: the dimension along which softmax sums to 1.
        dtype: convert to this first.

    Raises:
        RuntimeError: `input` is not floating-point and no `dtype` is given.
    """
    return _along(_log_softmax, _softmaxable(input, dtype, "log_softmax"), dim)


@op(method=False)
def softmin(input: Array, dim: int, dtype: dtypes.dtype | None = None) -> Array:
    """``softmax(-input, dim)``. See `softmax`."""
    return _along(_softmax, _softmaxable(-strong(input), dtype, "softmin"), dim)  # unsigned integers wrap around, as in PyTorch
