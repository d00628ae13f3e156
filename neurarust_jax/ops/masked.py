"""`nr.masked`: reductions and normalizations over the elements that a mask marks as valid.

A masked function is the plain one of `input` with the masked-out elements replaced by the identity of its operation: 0 for a sum, -inf for a maximum.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .. import dtypes
from ..dispatch import Array, op
from ..errors import ArgumentError, ArgumentTypeError, DtypeError, IndexOutOfRangeError, ShapeError
from . import elementwise, moments, quantiles, reduction, scan
from .common import cast, is_inexact, numpy_dtype, promote, promote_to_float, strong, wrap_dim, wrap_dims
from .reduction import Dims

__all__: list[str] = []
NAMESPACE = [
    "amax", "amin", "argmax", "argmin", "cumprod", "cumsum", "log_softmax", "logaddexp", "logsumexp", "mean", "median", "norm", "normalize", "prod",
    "softmax", "softmin", "std", "sum", "var",
]  # fmt: skip


def _whole_mask(input: Array, mask: Array) -> Array:
    """The mask as booleans of the shape of `input`."""
    if mask.ndim > input.ndim:
        raise IndexOutOfRangeError(f"expected a mask of at most the {input.ndim} dimensions of the input, got one of shape {mask.shape} for {input.shape}")
    fitting = [have in (1, wanted) for have, wanted in zip(mask.shape[::-1], input.shape[::-1], strict=False)]
    if not all(fitting):
        raise ShapeError(f"a mask of shape {mask.shape} does not broadcast to the input's shape {input.shape}; its sizes must be those of the input or 1")
    return jnp.broadcast_to(cast(mask, bool), input.shape)


def _filled(input: Array, mask: Array | None, identity: float) -> Array:
    """`input` with the identity of an operation in the place of masked-out elements."""
    input = strong(input)
    return input if mask is None else jnp.where(_whole_mask(input, strong(mask)), input, jnp.asarray(identity, input.dtype))


def _extreme(dtype: np.dtype, greatest: bool, function: str) -> Any:
    """The greatest or the least value of a dtype."""
    if dtype.kind in "bc" or (dtype.kind == "u" and dtype != np.uint8):
        raise DtypeError(f"identity of {function} on {dtypes.from_numpy(dtype)} input is not defined; convert the input with .to(dtype)")
    if jnp.issubdtype(dtype, jnp.inexact):
        return np.inf if greatest else -np.inf
    return np.iinfo(dtype).max if greatest else np.iinfo(dtype).min


def _without_maximum(input: Array, mask: Array | None, function: str) -> Array:
    """`input` with the identity of the maximum in the place of masked-out elements."""
    return input if mask is None else _filled(input, mask, _extreme(input.dtype, False, function))


def _without_minimum(input: Array, mask: Array | None, function: str) -> Array:
    return input if mask is None else _filled(input, mask, _extreme(input.dtype, True, function))


def _as(x: Array, dtype: Any, otherwise: Any) -> Array:
    return cast(x, numpy_dtype(dtype, otherwise))


# --- sums and products ---------------------------------------------------------------------------------------------


@op(name="masked.sum", method=False)
def sum(input: Array, dim: Dims = None, *, keepdim: bool = False, dtype: dtypes.dtype | None = None, mask: Array | None = None) -> Array:
    """The sum of the valid elements along dimensions; 0 where there are none.

    Args:
        input: a tensor.
        dim: the dimension, or a tuple of them. Default: all.
        keepdim: keep them with length 1.
        dtype: the dtype of the sum. Default: the dtype of `input`; int64 for integers and booleans.
        mask: a tensor whose nonzero elements mark the valid elements of `input`, to whose shape it must broadcast. Default: all are valid.

    Returns:
        A tensor without the dimensions `dim`.

    Raises:
        IndexError: the mask has more dimensions than `input`.
        RuntimeError: the mask does not broadcast to the shape of `input`.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.masked.sum(nr.tensor([[1, 2], [3, 4]]), dim=1, mask=nr.tensor([[True, False], [False, False]]))
        tensor([1, 0])
    """
    return reduction.sum.op.function(_filled(input, mask, 0), dim, keepdim, dtype=dtype)


@op(name="masked.prod", method=False)
def prod(input: Array, dim: Dims = None, *, keepdim: bool = False, dtype: dtypes.dtype | None = None, mask: Array | None = None) -> Array:
    """The product of the valid elements along dimensions; 1 where there are none. The arguments are those of `sum`."""
    x = reduction.summable(_filled(input, mask, 1), dtype)
    for d in sorted(wrap_dims(dim, input.ndim), reverse=True):
        x = reduction.prod.op.function(x, d, keepdim, dtype=x.dtype)
    return x


@op(name="masked.cumsum", method=False)
def cumsum(input: Array, dim: int, *, dtype: dtypes.dtype | None = None, mask: Array | None = None) -> Array:
    """The running sum of the valid elements along a dimension; a masked-out element repeats the one before.

    Args:
        input: a tensor.
        dim: the dimension.
        dtype: the dtype of the result. Default: that of `input`.
        mask: marks the valid elements, see `sum`.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.masked.cumsum(nr.tensor([1, 2, 3]), 0, mask=nr.tensor([True, False, True]))
        tensor([1, 1, 4])
    """
    return scan.cumsum.op.function(_filled(input, mask, 0), dim, dtype=numpy_dtype(dtype, input.dtype))


@op(name="masked.cumprod", method=False)
def cumprod(input: Array, dim: int, *, dtype: dtypes.dtype | None = None, mask: Array | None = None) -> Array:
    """The running product of the valid elements along a dimension; a masked-out element repeats the one before. The arguments are those of `cumsum`."""
    return scan.cumprod.op.function(_filled(input, mask, 1), dim, dtype=numpy_dtype(dtype, input.dtype))


# --- extremes ------------------------------------------------------------------------------------------------------


@op(name="masked.amax", method=False)
def amax(input: Array, dim: Dims = None, *, keepdim: bool = False, dtype: dtypes.dtype | None = None, mask: Array | None = None) -> Array:
    """The greatest of the valid elements along dimensions; the least value of the dtype where there are none.

    Args:
        input: a real tensor.
        dim: the dimension, or a tuple of them. Default: all.
        keepdim: keep them with length 1.
        dtype: the dtype of the result. Default: that of `input`.
        mask: marks the valid elements, see `sum`.

    Raises:
        RuntimeError: `input` is boolean or complex and there is a mask.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.masked.amax(nr.tensor([1.0, 3.0, 2.0]), mask=nr.tensor([True, False, True]))
        tensor(2.)
    """
    x = _without_maximum(input, mask, "amax")
    return _as(reduction.amax.op.function(x, wrap_dims(dim, x.ndim), keepdim), dtype, input.dtype)


@op(name="masked.amin", method=False)
def amin(input: Array, dim: Dims = None, *, keepdim: bool = False, dtype: dtypes.dtype | None = None, mask: Array | None = None) -> Array:
    """The least of the valid elements along dimensions; the greatest value of the dtype where there are none. The arguments are those of `amax`."""
    x = _without_minimum(input, mask, "amin")
    return _as(reduction.amin.op.function(x, wrap_dims(dim, x.ndim), keepdim), dtype, input.dtype)


@op(name="masked.argmax", method=False)
def argmax(input: Array, dim: int | None = None, *, keepdim: bool = False, dtype: dtypes.dtype | None = None, mask: Array | None = None) -> Array:
    """The position of the greatest valid element along a dimension, in the dtype of `input`.

    Args:
        input: a real tensor.
        dim: the dimension. Default: the position in the flattened tensor.
        keepdim: keep the dimension with length 1.
        dtype: the dtype of the result. Default: that of `input`, as in PyTorch.
        mask: marks the valid elements, see `sum`.
    """
    return _as(reduction.argmax.op.function(_without_maximum(input, mask, "argmax"), dim, keepdim), dtype, input.dtype)


@op(name="masked.argmin", method=False)
def argmin(input: Array, dim: int | None = None, *, keepdim: bool = False, dtype: dtypes.dtype | None = None, mask: Array | None = None) -> Array:
    """The position of the least valid element along a dimension, in the dtype of `input`. The arguments are those of `argmax`."""
    return _as(reduction.argmin.op.function(_without_minimum(input, mask, "argmin"), dim, keepdim), dtype, input.dtype)


# --- moments -------------------------------------------------------------------------------------------------------


def _count(input: Array, mask: Array | None, dim: Dims, keepdim: bool) -> Array:
    """The number of valid elements, int64."""
    valid = jnp.ones(input.shape, bool) if mask is None else _whole_mask(input, strong(mask))
    return jnp.sum(valid, wrap_dims(dim, input.ndim), dtype=np.int64, keepdims=keepdim)


@op(name="masked.mean", method=False)
def mean(input: Array, dim: Dims = None, *, keepdim: bool = False, dtype: dtypes.dtype | None = None, mask: Array | None = None) -> Array:
    """The mean of the valid elements along dimensions; NaN where there are none.

    Args:
        input: a tensor.
        dim: the dimension, or a tuple of them. Default: all.
        keepdim: keep them with length 1.
        dtype: the floating-point or complex dtype of the result. Default: that of `input`.
        mask: marks the valid elements, see `sum`.

    Raises:
        ValueError: the dtype is neither floating-point nor complex.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.masked.mean(nr.tensor([1.0, 2.0, 6.0]), mask=nr.tensor([True, True, False]))
        tensor(1.5000)
    """
    chosen = numpy_dtype(dtype, input.dtype)
    if not jnp.issubdtype(chosen, jnp.inexact):
        raise ArgumentError(
            f"mean(): Could not infer output dtype. {'Input' if dtype is None else 'Optional'} dtype must be either a floating point or complex dtype. "
            f"Got: {dtypes.from_numpy(chosen)}; write dtype=nr.float32"
        )
    total = sum.op.function(input, dim, keepdim=keepdim, dtype=chosen, mask=mask)
    return total / cast(_count(input, mask, dim, keepdim), chosen)


def _variance(input: Array, dim: Dims, unbiased: bool | None, correction: float | None, keepdim: bool, dtype: Any, mask: Array | None) -> Array:
    """The variance, in steps whose dtypes are PyTorch's; of complex numbers it is complex, its imaginary part 0."""
    if unbiased is not None and correction is not None:
        raise ArgumentTypeError("Only one of unbiased and correction may be given")
    if correction is None:
        correction = 1 if unbiased is None else int(unbiased)
    dtype = numpy_dtype(dtype, input.dtype if is_inexact(input) else np.float32)
    computed = dtype if jnp.issubdtype(dtype, jnp.inexact) else np.dtype(np.float32)
    total = sum.op.function(input, dim, keepdim=True, dtype=dtype, mask=mask)
    average = jnp.divide(*promote_to_float(total, _count(input, mask, dim, True)))
    deviation = jnp.subtract(*promote(input, average))
    squares = sum.op.function(deviation * jnp.conj(deviation), dim, keepdim=keepdim, dtype=computed, mask=mask)
    count = cast(_count(input, mask, dim, keepdim), jnp.finfo(computed).dtype)
    return cast(squares / cast(jnp.maximum(count - cast(correction, count.dtype), 0), computed), dtype)


@op(name="masked.var", method=False)
def var(
    input: Array, dim: Dims = None, unbiased: bool | None = None, *, correction: float | None = None, keepdim: bool = False, dtype: dtypes.dtype | None = None,
    mask: Array | None = None,
) -> Array:  # fmt: skip
    """The variance of the valid elements along dimensions; NaN where there are none.

    Args:
        input: a tensor.
        dim: the dimension, or a tuple of them. Default: all.
        unbiased: the older way to say ``correction=1`` (true, the default) or ``correction=0`` (false).
        correction: the difference between sample size and degrees of freedom. Default: 1.
        keepdim: keep the dimensions with length 1.
        dtype: the dtype of the result. Default: that of `input`; float32 for integers and booleans.
        mask: marks the valid elements, see `sum`.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.masked.var(nr.tensor([1.0, 9.0, 3.0]), mask=nr.tensor([True, False, True]))
        tensor(2.)
    """
    return _variance(input, dim, unbiased, correction, keepdim, dtype, mask)


@op(name="masked.std", method=False)
def std(
    input: Array, dim: Dims = None, unbiased: bool | None = None, *, correction: float | None = None, keepdim: bool = False, dtype: dtypes.dtype | None = None,
    mask: Array | None = None,
) -> Array:  # fmt: skip
    """The standard deviation of the valid elements along dimensions, the square root of `var`; NaN where there are none. The arguments are those of `var`."""
    found = _variance(input, dim, unbiased, correction, keepdim, dtype, mask)
    return jnp.sqrt(*promote_to_float(found))


@op(name="masked._median", method=False, keeps_vjp=True)
def _median(input: Array, dim: int, keepdim: bool, mask: Array | None = None) -> Array:
    """The median along a dimension, in float32 if the input is no floating-point tensor."""
    x = input if is_inexact(input) and input.dtype.kind != "c" else cast(input, np.float32)
    return quantiles.nanmedian.op.function(_filled(x, mask, np.nan), wrap_dim(dim, x.ndim), keepdim).values


def median(input: Any, dim: int = -1, *, keepdim: bool = False, dtype: Any = None, mask: Any = None) -> Any:
    """The median of the valid elements along a dimension, of an even number the lower of the two in the middle; NaN where there are none.

    Args:
        input: a tensor. NaN counts as masked out.
        dim: the dimension. Default: the last.
        keepdim: keep it with length 1.
        dtype: the dtype of the result for integer `input`. Default: that of `input`.
        mask: marks the valid elements, see `sum`.

    Raises:
        ValueError: nothing is valid along the dimension, and `input` is no floating-point tensor. (Inside a transformation this is not noticed.)

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.masked.median(nr.tensor([5.0, 1.0, 3.0]), mask=nr.tensor([False, True, True]))
        tensor(1.)
    """
    found = _median(input, dim, keepdim, mask)
    if input.is_floating_point():
        return found
    if not isinstance(found._value, jax.core.Tracer) and np.isnan(found.numpy(force=True)).any():
        raise ArgumentError("masked median expects no fully masked out rows if dtype is not floating point; write x.float()")
    return found.to(input.dtype if dtype is None else dtype)


# --- norms ---------------------------------------------------------------------------------------------------------


def _norm(input: Array, ord: float, dim: Dims, keepdim: bool, dtype: Any, mask: Array | None) -> Array:
    if ord is None:
        raise ArgumentTypeError("masked.norm takes a number for ord, got None; write ord=2.0")
    return moments.vector_norm(_filled(input, mask, np.inf if ord == -np.inf else 0), ord, wrap_dims(dim, input.ndim), keepdim, dtype)


@op(name="masked.norm", method=False)
def norm(
    input: Array, ord: float = 2.0, dim: Dims = None, *, keepdim: bool = False, dtype: dtypes.dtype | None = None, mask: Array | None = None
) -> Array:
    """The vector norm of the valid elements along dimensions; 0 where there are none (inf for ``ord=-inf``).

    Args:
        input: a floating-point or complex tensor.
        ord: the order of the norm, `inf` and `-inf` included. Default: 2.
        dim: the dimension, or a tuple of them. Default: all.
        keepdim: keep them with length 1.
        dtype: convert to this first.
        mask: marks the valid elements, see `sum`.

    Raises:
        RuntimeError: `input` is neither floating-point nor complex.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.masked.norm(nr.tensor([3.0, 100.0, 4.0]), mask=nr.tensor([True, False, True]))
        tensor(5.)
    """
    return _norm(input, ord, dim, keepdim, dtype, mask)


@op(name="masked.normalize", method=False)
def normalize(
    input: Array, ord: float, dim: int, *, eps: float = 1e-12, dtype: dtypes.dtype | None = None, mask: Array | None = None
) -> Array:
    """The valid elements divided by their norm along a dimension: ``x / max(norm(x), eps)``; masked-out elements become 0.

    Args:
        input: a floating-point or complex tensor.
        ord: the order of the norm.
        dim: the dimension.
        eps: the least divisor.
        dtype: the dtype in which the norm is computed.
        mask: marks the valid elements, see `sum`.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.masked.normalize(nr.tensor([3.0, 100.0, 4.0]), 2, 0, mask=nr.tensor([True, False, True]))
        tensor([0.6000, 0.0000, 0.8000])
    """
    length = _norm(input, ord, dim, True, dtype, mask)
    return jnp.divide(*promote_to_float(_filled(input, mask, 0), elementwise.maximum.op.function(length, jnp.asarray(eps, length.dtype))))


# --- exponentials --------------------------------------------------------------------------------------------------


@op(name="masked.logsumexp", method=False)
def logsumexp(input: Array, dim: Dims = None, *, keepdim: bool = False, dtype: dtypes.dtype | None = None, mask: Array | None = None) -> Array:
    """``log(sum(exp(x)))`` of the valid elements along dimensions, in the dtype of `input`; -inf where there are none.

    Args:
        input: a tensor.
        dim: the dimension, or a tuple of them. Default: all.
        keepdim: keep them with length 1.
        dtype: the dtype of the result. Default: that of `input`.
        mask: marks the valid elements, see `sum`.
    """
    identity = -np.inf if input.dtype.kind == "c" or mask is None else _extreme(input.dtype, False, "logsumexp")
    return _as(reduction.logsumexp.op.function(_filled(input, mask, identity), wrap_dims(dim, input.ndim), keepdim), dtype, input.dtype)


@op(name="masked.logaddexp", method=False)
def logaddexp(
    input: Array, other: Array, *, dtype: dtypes.dtype | None = None, input_mask: Array | None = None, other_mask: Array | None = None
) -> Array:
    """``log(exp(input) + exp(other))``, elementwise, of the elements that are valid; -inf where neither is.

    Args:
        input: a floating-point tensor.
        other: a floating-point tensor.
        dtype: the dtype of the result. Default: that of `input`.
        input_mask: marks the valid elements of `input`, see `sum`.
        other_mask: marks the valid elements of `other`.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.masked.logaddexp(nr.tensor([0.0, 0.0]), nr.tensor([0.0, 0.0]), input_mask=nr.tensor([True, False]))
        tensor([0.6931, 0.0000])
    """
    x, y = _without_maximum(input, input_mask, "logaddexp"), _without_maximum(other, other_mask, "logaddexp")
    return _as(elementwise.logaddexp.op.function(x, y), dtype, input.dtype)


@op(name="masked.softmax", method=False)
def softmax(input: Array, dim: int, *, dtype: dtypes.dtype | None = None, mask: Array | None = None) -> Array:
    """The softmax of the valid elements along a dimension; masked-out elements become 0, and NaN where none are valid.

    Args:
        input: a floating-point tensor.
        dim: the dimension along which the result sums to 1.
        dtype: convert to this before the exponential.
        mask: marks the valid elements, see `sum`.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.masked.softmax(nr.tensor([0.0, 9.0, 0.0]), 0, mask=nr.tensor([True, False, True]))
        tensor([0.5000, 0.0000, 0.5000])
    """
    return reduction.softmax.op.function(_without_maximum(input, mask, "softmax"), dim, dtype)


@op(name="masked.log_softmax", method=False)
def log_softmax(input: Array, dim: int, *, dtype: dtypes.dtype | None = None, mask: Array | None = None) -> Array:
    """The logarithm of `softmax`; masked-out elements become -inf. The arguments are those of `softmax`."""
    return reduction.log_softmax.op.function(_without_maximum(input, mask, "log_softmax"), dim, dtype)


@op(name="masked.softmin", method=False)
def softmin(input: Array, dim: int, *, dtype: dtypes.dtype | None = None, mask: Array | None = None) -> Array:
    """The softmax of ``-input``, of the valid elements along a dimension. The arguments are those of `softmax`."""
    return reduction.softmin.op.function(_without_minimum(input, mask, "softmin"), dim, dtype)
