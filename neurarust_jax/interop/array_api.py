"""The array API standard, 2024.12, over tensors: what `Tensor.__array_namespace__` gives.

Functions that have the standard's behavior in `nr` already are taken from there; those where PyTorch's name, arguments or results differ stand here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, NamedTuple

import jax
import numpy as np

from .. import devices, dtypes
from .. import ops as _ops
from ..dtypes import bool_ as bool
from ..dtypes import complex64, complex128, float32, float64, int8, int16, int32, int64, uint8, uint16, uint32, uint64
from ..errors import ArgumentError, ArgumentTypeError, ShapeError
from ..ops.creation import asarray as _asarray
from ..tensor import Tensor
from . import array_api_fft as fft
from . import array_api_linalg as linalg
from .array_api_linalg import matmul, matrix_transpose, tensordot, vecdot

__array_api_version__ = "2024.12"

_SAME = (
    "abs acos acosh add asin asinh atan atan2 atanh bitwise_and bitwise_left_shift bitwise_or bitwise_right_shift bitwise_xor ceil clip copysign cos cosh divide exp "
    "expm1 floor floor_divide from_dlpack greater greater_equal hypot imag isfinite isinf isnan less less_equal log log1p log2 log10 logaddexp logical_and logical_not "
    "logical_or logical_xor maximum minimum moveaxis multiply negative nextafter not_equal positive pow real reciprocal remainder round signbit sin sinh "
    "square sqrt subtract tan tanh tril triu trunc where all any argmax argmin mean tile"
).split()
globals().update({name: getattr(_ops, name) for name in _SAME})

bitwise_invert, conj, equal, permute_dims, broadcast_to = _ops.bitwise_not, _ops.conj, _ops.eq, _ops.permute, _ops.broadcast_to
inf, nan, pi, e = math.inf, math.nan, math.pi, math.e
newaxis = None

Axis = int | tuple[int, ...] | None

__all__ = [
    *_SAME, "arange", "asarray", "astype", "bitwise_invert", "bool", "broadcast_arrays", "broadcast_to", "can_cast", "complex128", "complex64", "concat", "conj",
    "count_nonzero", "cumulative_prod", "cumulative_sum", "diff", "e", "empty", "empty_like", "equal", "expand_dims", "eye", "fft", "finfo", "flip", "float32", "float64",
    "full", "full_like", "iinfo", "inf", "int16", "int32", "int64", "int8", "isdtype", "linalg", "linspace", "matmul", "matrix_transpose", "max", "meshgrid", "min", "nan",
    "newaxis", "nonzero", "ones", "ones_like", "permute_dims", "pi", "prod", "repeat", "reshape", "result_type", "roll", "searchsorted", "sign", "sort", "argsort", "squeeze",
    "stack", "std", "sum", "take", "take_along_axis", "tensordot", "uint16", "uint32", "uint64", "uint8", "unique_all", "unique_counts", "unique_inverse", "unique_values",
    "unstack", "var", "vecdot", "zeros", "zeros_like",
]  # fmt: skip

# --- making arrays -----------------------------------------------------------------------------------------------------


def asarray(obj: Any, /, *, dtype: Any = None, device: Any = None, copy: Any = None) -> Tensor:
    """`obj` as a tensor. `copy=False` raises `ValueError` where memory cannot be shared."""
    return _asarray(obj, dtype=dtype, device=device, copy=copy)


def arange(start: float, /, stop: float | None = None, step: float = 1, *, dtype: Any = None, device: Any = None) -> Tensor:
    """Numbers from `start` to before `stop`."""
    if stop is None:
        start, stop = 0, start
    if (stop - start) / step <= 0:
        kind = int64 if all_ints(start, stop, step) else dtypes.get_default_dtype()
        return zeros((0,), dtype=kind if dtype is None else dtype, device=device)
    return _ops.arange(start, stop, step, dtype=dtype, device=device)


def all_ints(*numbers: Any) -> Any:
    """Whether all are Python ints."""
    return not [n for n in numbers if not isinstance(n, int)]


def linspace(start: Any, stop: Any, /, num: int, *, dtype: Any = None, device: Any = None, endpoint: Any = True) -> Tensor:
    """Numbers at equal distances; without `endpoint`, `stop` is not among them."""
    made = _ops.linspace(start, stop, num if endpoint else num + 1, dtype=dtype, device=device)
    return made if endpoint else made[:-1]


def eye(n_rows: int, n_cols: int | None = None, /, *, k: int = 0, dtype: Any = None, device: Any = None) -> Tensor:
    """Ones on the `k`-th diagonal."""
    columns = n_rows if n_cols is None else n_cols
    kind = dtypes.get_default_dtype() if dtype is None else dtype
    return (arange(n_rows, device=device)[:, None] + k == arange(columns, device=device)).to(kind)


def _shape(shape: int | Sequence[int]) -> tuple[int, ...]:
    return (shape,) if isinstance(shape, int) else tuple(shape)


def empty(shape: int | Sequence[int], *, dtype: Any = None, device: Any = None) -> Tensor:
    """A tensor of any values."""
    return _ops.zeros(_shape(shape), dtype=dtype, device=device)


def zeros(shape: int | Sequence[int], *, dtype: Any = None, device: Any = None) -> Tensor:
    """Zeros."""
    return _ops.zeros(_shape(shape), dtype=dtype, device=device)


def ones(shape: int | Sequence[int], *, dtype: Any = None, device: Any = None) -> Tensor:
    """Ones."""
    return _ops.ones(_shape(shape), dtype=dtype, device=device)


def full(shape: int | Sequence[int], fill_value: Any, *, dtype: Any = None, device: Any = None) -> Tensor:
    """A tensor of one value."""
    return _ops.full(_shape(shape), fill_value, dtype=dtype, device=device)


def empty_like(x: Tensor, /, *, dtype: Any = None, device: Any = None) -> Tensor:
    """A tensor of any values with the shape of `x`."""
    return _ops.zeros_like(x, dtype=dtype, device=device)


def zeros_like(x: Tensor, /, *, dtype: Any = None, device: Any = None) -> Tensor:
    """Zeros with the shape of `x`."""
    return _ops.zeros_like(x, dtype=dtype, device=device)


def ones_like(x: Tensor, /, *, dtype: Any = None, device: Any = None) -> Tensor:
    """Ones with the shape of `x`."""
    return _ops.ones_like(x, dtype=dtype, device=device)


def full_like(x: Tensor, /, fill_value: Any, *, dtype: Any = None, device: Any = None) -> Tensor:
    """One value with the shape of `x`."""
    return _ops.full_like(x, fill_value, dtype=dtype, device=device)


def meshgrid(*arrays: Tensor, indexing: str = "xy") -> tuple[Tensor, ...]:
    """Coordinates of the points of a grid."""
    return tuple(_ops.meshgrid(*arrays, indexing=indexing))


# --- dtypes ------------------------------------------------------------------------------------------------------------

_KINDS = {
    "bool": (bool,),
    "signed integer": (int8, int16, int32, int64),
    "unsigned integer": (uint8, uint16, uint32, uint64),
    "real floating": (float32, float64),
    "complex floating": (complex64, complex128),
}
_KINDS["integral"] = _KINDS["signed integer"] + _KINDS["unsigned integer"]
_KINDS["numeric"] = _KINDS["integral"] + _KINDS["real floating"] + _KINDS["complex floating"]


def astype(x: Tensor, dtype: Any, /, *, copy: Any = True, device: Any = None) -> Tensor:
    """`x` in another dtype."""
    return x.to(dtype=dtype, device=device, copy=copy)


def isdtype(dtype: Any, kind: Any) -> Any:
    """Whether a dtype is of a kind: a name such as `"real floating"`, a dtype, or a tuple of these."""
    if isinstance(kind, tuple):
        return builtin_any(isdtype(dtype, k) for k in kind)
    if isinstance(kind, str):
        if kind not in _KINDS:
            raise ArgumentError(f"isdtype knows no kind {kind!r}; there are {', '.join(map(repr, _KINDS))}")
        found = dtypes.as_dtype(dtype)
        return found in _KINDS[kind] or (kind in ("real floating", "numeric") and found.is_floating_point)
    return dtypes.as_dtype(dtype) == dtypes.as_dtype(kind)


def builtin_any(truths: Any) -> Any:
    """Python's `any`, whose name means another function here."""
    return next((True for t in truths if t), False)


def result_type(*arrays_and_dtypes: Any) -> dtypes.dtype:
    """The dtype of an operation between arrays, dtypes and numbers; the shapes of arrays do not matter."""
    scalars = [x for x in arrays_and_dtypes if isinstance(x, int | float | complex)]
    kinds = [x.dtype if isinstance(x, Tensor) else dtypes.as_dtype(x) for x in arrays_and_dtypes if not isinstance(x, int | float | complex)]
    if not kinds:
        raise ArgumentTypeError("result_type needs an array or a dtype")
    found = kinds[0]
    for kind in kinds[1:]:
        found = dtypes.promote_types(found, kind)
    return dtypes.from_numpy(dtypes.result_numpy_dtype(SimpleNamespace(dtype=found.dtype, shape=(1,)), *scalars))


def can_cast(from_: Any, to: Any, /) -> Any:
    """Whether promotion leads from one dtype, or the dtype of an array, to the other."""
    try:
        return result_type(from_, to) == dtypes.as_dtype(to)
    except ArgumentTypeError:
        return False


def finfo(type: Any, /) -> Any:
    """The limits of a floating-point dtype."""
    kind = type.dtype if isinstance(type, Tensor) else dtypes.as_dtype(type)
    limits = _ops.finfo(kind)
    return SimpleNamespace(bits=limits.bits, eps=limits.eps, max=limits.max, min=limits.min, smallest_normal=limits.smallest_normal, dtype=kind.to_real())


def iinfo(type: Any, /) -> Any:
    """The limits of an integer dtype."""
    kind = type.dtype if isinstance(type, Tensor) else dtypes.as_dtype(type)
    limits = _ops.iinfo(kind)
    return SimpleNamespace(bits=limits.bits, max=limits.max, min=limits.min, dtype=kind)


# --- elements and shapes -----------------------------------------------------------------------------------------------


def sign(x: Tensor, /) -> Tensor:
    """The sign; of a complex number, the number over its absolute value."""
    return _ops.sgn(x) if x.is_complex() else _ops.sign(x)


def broadcast_arrays(*arrays: Tensor) -> tuple[Tensor, ...]:
    """The arrays in their common shape."""
    return tuple(_ops.broadcast_tensors(*arrays))


def expand_dims(x: Tensor, /, *, axis: int | tuple[int, ...] = 0) -> Tensor:
    """`x` with new dimensions of length 1."""
    axes = (axis,) if isinstance(axis, int) else axis
    rank = x.ndim + len(axes)
    for one in sorted(_ops_position(a, rank) for a in axes):
        x = x.unsqueeze(one)
    return x


def _ops_position(axis: int, rank: int) -> int:
    if not -rank <= axis < rank:
        raise IndexError(f"axis {axis} is out of range for {rank} dimensions")
    return axis % rank


def squeeze(x: Tensor, /, axis: int | tuple[int, ...]) -> Tensor:
    """`x` without dimensions of length 1."""
    for one in (axis,) if isinstance(axis, int) else axis:
        if x.shape[one] != 1:
            raise ArgumentError(f"squeeze: dimension {one} of shape {tuple(x.shape)} has not length 1")
    return x.squeeze(axis)


def concat(arrays: Sequence[Tensor], /, *, axis: int | None = 0) -> Tensor:
    """The arrays one after the other; flattened if `axis` is `None`."""
    return _ops.cat([x.flatten() for x in arrays], 0) if axis is None else _ops.cat(list(arrays), axis)


def stack(arrays: Sequence[Tensor], /, *, axis: int = 0) -> Tensor:
    """The arrays along a new dimension."""
    kind = result_type(*arrays)
    return _ops.stack([x.to(kind) for x in arrays], axis)


def unstack(x: Tensor, /, *, axis: int = 0) -> tuple[Tensor, ...]:
    """The slices along a dimension."""
    return tuple(_ops.unbind(x, axis))


def flip(x: Tensor, /, *, axis: Axis = None) -> Tensor:
    """The elements in reverse order."""
    return x.flip(tuple(range(x.ndim)) if axis is None else axis)


def roll(x: Tensor, /, shift: int | tuple[int, ...], *, axis: Axis = None) -> Tensor:
    """The elements moved on, those at the end to the beginning."""
    return _ops.roll(x, shift, axis)


def repeat(x: Tensor, repeats: Any, /, *, axis: int | None = None) -> Tensor:
    """Each element several times."""
    return _ops.repeat_interleave(x, repeats, axis)


def reshape(x: Tensor, /, shape: tuple[int, ...], *, copy: Any = None) -> Tensor:
    """The elements in another shape."""
    return x.reshape(shape)


# --- searching and sorting ---------------------------------------------------------------------------------------------


def take(x: Tensor, indices: Tensor, /, *, axis: int | None = None) -> Tensor:
    """The slices at indices along a dimension."""
    if axis is None and x.ndim != 1:
        raise ArgumentError(f"take needs axis= for an array of {x.ndim} dimensions")
    return _ops.index_select(x, 0 if axis is None else axis, _ops.where(indices < 0, indices + x.shape[axis or 0], indices))


def take_along_axis(x: Tensor, indices: Tensor, /, *, axis: int = -1) -> Tensor:
    """The elements at indices, one for each place of the other dimensions."""
    return _ops.take_along_dim(x, _ops.where(indices < 0, indices + x.shape[axis], indices), axis)


def nonzero(x: Tensor, /) -> tuple[Tensor, ...]:
    """The indices of elements that are not 0, a tensor for each dimension."""
    if x.ndim == 0:
        raise ArgumentError("nonzero of a 0-d array")
    return tuple(_ops.nonzero(x, as_tuple=True))


def count_nonzero(x: Tensor, /, *, axis: Axis = None, keepdims: Any = False) -> Tensor:
    """How many elements are not 0."""
    return sum(_ops.ne(x, 0), axis=axis, keepdims=keepdims, dtype=int64)


def searchsorted(x1: Tensor, x2: Tensor, /, *, side: str = "left", sorter: Tensor | None = None) -> Tensor:
    """Where the elements of `x2` would stand in `x1`."""
    return _ops.searchsorted(x1, x2, side=side, sorter=sorter)


def sort(x: Tensor, /, *, axis: int = -1, descending: Any = False, stable: Any = True) -> Tensor:
    """The elements in order."""
    return _ops.sort(x, dim=axis, descending=descending, stable=stable)[0]


def argsort(x: Tensor, /, *, axis: int = -1, descending: Any = False, stable: Any = True) -> Tensor:
    """The indices that sort."""
    return _ops.sort(x, dim=axis, descending=descending, stable=stable)[1]


class UniqueAll(NamedTuple):
    """What `unique_all` gives."""

    values: Tensor
    indices: Tensor
    inverse_indices: Tensor
    counts: Tensor


class UniqueCounts(NamedTuple):
    """What `unique_counts` gives."""

    values: Tensor
    counts: Tensor


class UniqueInverse(NamedTuple):
    """What `unique_inverse` gives."""

    values: Tensor
    inverse_indices: Tensor


def unique_all(x: Tensor, /) -> UniqueAll:
    """The distinct elements, the first index of each, where each element stands among them, and how often."""
    found = np.unique(np.asarray(x.detach()), return_index=True, return_inverse=True, return_counts=True, equal_nan=False)
    values, indices, inverse, counts = (_asarray(part, device=x.device) for part in found)
    return UniqueAll(values, indices, inverse.reshape(x.shape), counts)


def unique_counts(x: Tensor, /) -> UniqueCounts:
    """The distinct elements, and how often each stands."""
    found = unique_all(x)
    return UniqueCounts(found.values, found.counts)


def unique_inverse(x: Tensor, /) -> UniqueInverse:
    """The distinct elements, and where each element stands among them."""
    found = unique_all(x)
    return UniqueInverse(found.values, found.inverse_indices)


def unique_values(x: Tensor, /) -> Tensor:
    """The distinct elements."""
    return unique_all(x).values


# --- statistics --------------------------------------------------------------------------------------------------------


def _axes(x: Tensor, axis: Axis) -> tuple[int, ...]:
    return tuple(range(x.ndim)) if axis is None else (axis,) if isinstance(axis, int) else tuple(axis)


def max(x: Tensor, /, *, axis: Axis = None, keepdims: Any = False) -> Tensor:
    """The greatest element."""
    return _extreme(_ops.amax, x, axis, keepdims)


def min(x: Tensor, /, *, axis: Axis = None, keepdims: Any = False) -> Tensor:
    """The least element."""
    return _extreme(_ops.amin, x, axis, keepdims)


def _extreme(function: Any, x: Tensor, axis: Axis, keepdims: Any) -> Tensor:
    axes = _axes(x, axis)
    if x.ndim and not math.prod(x.shape[a] for a in axes):
        raise ShapeError(f"there is no greatest or least element along {axes} of shape {tuple(x.shape)}")
    return function(x, axes, keepdims) if axes else x


def _sum_dtype(x: Tensor, dtype: Any) -> Any:
    if dtype is None and x.dtype in _KINDS["unsigned integer"]:
        return uint64
    return dtype


def sum(x: Tensor, /, *, axis: Axis = None, dtype: Any = None, keepdims: Any = False) -> Tensor:
    """The sum."""
    axes, kind = _axes(x, axis), _sum_dtype(x, dtype)
    if not axes:
        return x.to(kind or result_type(x, int64) if not (x.is_floating_point() or x.is_complex()) or kind else x.dtype)
    return _ops.sum(x, axes, keepdims, dtype=kind)


def prod(x: Tensor, /, *, axis: Axis = None, dtype: Any = None, keepdims: Any = False) -> Tensor:
    """The product."""
    kind = _sum_dtype(x, dtype)
    if x.ndim == 0:
        return _ops.prod(x, dtype=kind)
    for one in sorted((a % x.ndim for a in _axes(x, axis)), reverse=True):
        x = _ops.prod(x, one, keepdims, dtype=kind)
    return x


def std(x: Tensor, /, *, axis: Axis = None, correction: float = 0.0, keepdims: Any = False) -> Tensor:
    """The standard deviation."""
    return var(x, axis=axis, correction=correction, keepdims=keepdims).sqrt()


def var(x: Tensor, /, *, axis: Axis = None, correction: float = 0.0, keepdims: Any = False) -> Tensor:
    """The variance."""
    axes = _axes(x, axis)
    if not axes:
        return _ops.zeros_like(x)
    return _ops.var(x, axes, correction=correction, keepdim=keepdims)


def cumulative_sum(x: Tensor, /, *, axis: int | None = None, dtype: Any = None, include_initial: Any = False) -> Tensor:
    """The sums up to each element."""
    return _cumulative(_ops.cumsum, 0, x, axis, dtype, include_initial)


def cumulative_prod(x: Tensor, /, *, axis: int | None = None, dtype: Any = None, include_initial: Any = False) -> Tensor:
    """The products up to each element."""
    return _cumulative(_ops.cumprod, 1, x, axis, dtype, include_initial)


def _cumulative(function: Any, initial: int, x: Tensor, axis: int | None, dtype: Any, include_initial: Any) -> Tensor:
    if axis is None:
        if x.ndim > 1:
            raise ArgumentError(f"a cumulative function needs axis= for an array of {x.ndim} dimensions")
        axis = 0
    made = function(x, axis, dtype=_sum_dtype(x, dtype))
    if not include_initial:
        return made
    first = list(made.shape)
    first[axis] = 1
    return _ops.cat([_ops.full(tuple(first), initial, dtype=made.dtype, device=made.device), made], axis)


def diff(x: Tensor, /, *, axis: int = -1, n: int = 1, prepend: Tensor | None = None, append: Tensor | None = None) -> Tensor:
    """The differences of neighbours."""
    return _ops.diff(x, n, axis, prepend, append)


# --- what there is -----------------------------------------------------------------------------------------------------


class __array_namespace_info__:  # noqa: N801 (the standard's name)
    """What the namespace has: its capabilities, devices and dtypes."""

    def capabilities(self) -> dict[str, Any]:
        """Whether boolean masks can index, whether shapes can depend on data, and how many dimensions there can be."""
        return {"boolean indexing": True, "data-dependent shapes": True, "max dimensions": 64}

    def default_device(self) -> Any:
        """The device of new tensors."""
        return devices.default()

    def devices(self) -> list[Any]:
        """All devices."""
        return [devices.device(d) for d in jax.devices()]

    def default_dtypes(self, *, device: Any = None) -> dict[str, Any]:
        """The dtypes of new tensors, by kind."""
        real = dtypes.get_default_dtype()
        return {"real floating": real, "complex floating": real.to_complex(), "integral": int64, "indexing": int64}

    def dtypes(self, *, device: Any = None, kind: Any = None) -> dict[str, Any]:
        """The dtypes by name, those of a kind alone."""
        standard = [bool, *_KINDS["numeric"]]
        return {d.name: d for d in standard if kind is None or isdtype(d, kind)}


def __dir__() -> list[str]:
    return [*__all__, "__array_api_version__", "__array_namespace_info__"]
