"""Look-up tables, bags of looked-up vectors, and one-hot vectors."""

import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ...autograd.graph import no_grad
from ...cells import Cell
from ...dispatch import Array, op
from ...errors import ArgumentError, DtypeError, ShapeError
from ...tensor import Tensor
from ..common import _bounds, check_indices
from ..moments import vector_norm

__all__ = ["embedding", "embedding_bag", "one_hot"]

# --- rows of a table -----------------------------------------------------------------------------------------------


@jax.custom_jvp
def _with_gradient_times(x: Array, factor: Array) -> Array:
    """`x`, whose gradient is multiplied by a factor."""
    return x


@_with_gradient_times.defjvp
def _with_gradient_times_jvp(primals, tangents):
    return primals[0], tangents[0] * primals[1]


def _rows(input: Array, weight: Array, padding_idx: int | None, max_norm: float | None, norm_type: float, scale_grad_by_freq: bool) -> Array:
    """The rows of `weight` at the indices `input`; the gradient of rows is changed as the arguments say, but not by `max_norm`."""
    rows = weight.at[input].get(mode="clip", wrap_negative_indices=False)
    if max_norm is not None:
        shrunk = lax.stop_gradient(rows)
        shrunk = shrunk * _shrinkage(shrunk, max_norm, norm_type)
        rows = _with_value(rows, shrunk)
    factor = None
    if scale_grad_by_freq:
        count = jnp.zeros(weight.shape[0], weight.dtype).at[input.reshape(-1)].add(1)
        factor = 1 / count.at[input].get(mode="clip", wrap_negative_indices=False)
    if padding_idx is not None:
        learned = (input != padding_idx).astype(weight.dtype)
        factor = learned if factor is None else factor * learned
    return rows if factor is None else _with_gradient_times(rows, jnp.broadcast_to(factor[..., None], rows.shape))


@jax.custom_jvp
def _with_value(x: Array, value: Array) -> Array:
    """`value`, with the gradient of `x`."""
    return value


@_with_value.defjvp
def _with_value_jvp(primals, tangents):
    return primals[1], tangents[0]


def _shrinkage(rows: Array, max_norm: float, norm_type: float) -> Array:
    """The factor that brings rows of a greater norm down to `max_norm`."""
    size = vector_norm(rows, norm_type, (rows.ndim - 1,), True)
    return jnp.where(size > max_norm, max_norm / (size + 1e-7), 1).astype(rows.dtype)


@op(name="_renormalize_rows", method=False)
def _renormalize_rows(weight: Array, indices: Array, max_norm: float, norm_type: float) -> Array:
    """The table with the rows that are looked up scaled down to a norm of at most `max_norm`."""
    used = jnp.zeros(weight.shape[0], bool).at[indices.reshape(-1)].set(True)[:, None]
    return jnp.where(used, weight * _shrinkage(weight, max_norm, norm_type), weight)


@op(name="_embedding", method=False, linear=True)
def _embedding(input: Array, weight: Array, padding_idx: int | None, max_norm: float | None, norm_type: float, scale_grad_by_freq: bool) -> Array:
    """Rows of the table."""
    return _rows(input, weight, padding_idx, max_norm, norm_type, scale_grad_by_freq)


def _check_look_up(name: str, input: Tensor, weight: Tensor, padding_idx: int | None) -> int | None:
    """The padding index, counted from the front, after a check of the indices."""
    value = getattr(input, "_value", input)
    if value.dtype.kind not in "iu":
        raise DtypeError(f"Expected tensor for argument #1 'indices' to have one of the following scalar types: Long, Int; but got {input.dtype} instead; write .long()")
    rows = weight.shape[0]
    if padding_idx is not None:
        if not -rows <= padding_idx < rows:
            raise ArgumentError(f"Padding_idx must be within num_embeddings: got {padding_idx} for {rows} rows")
        padding_idx %= rows
    check_indices(name, value, rows, 0)
    return padding_idx


def _shrunk_table(weight: Tensor, input: Tensor, max_norm: float | None, norm_type: float) -> float | None:
    """Scale down the rows in a cell that are too long, and return what bound remains for the look-up: of a plain tensor the value never changes."""
    if max_norm is None or not isinstance(weight, Cell):
        return max_norm
    with no_grad():
        weight._write(_renormalize_rows(weight, input, float(max_norm), float(norm_type))._value)
    return None


def embedding(
    input: Tensor,
    weight: Tensor,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    r"""Rows of `weight`, looked up by index.

    Args:
        input: integer tensor of any shape (\*), with values in [0, num_embeddings).
        weight: shape (num_embeddings, embedding_dim).
        padding_idx: a row that gets no gradient.
        max_norm: rows that are looked up and have a greater norm are scaled down: of a `Parameter` or `Buffer` in the table itself, of a plain tensor in
            the result.
        norm_type: which norm.
        scale_grad_by_freq: divide each row's gradient by how often it was looked up.
        sparse: accepted and without effect: gradients are dense.

    Returns:
        Shape (\*, embedding_dim).

    Raises:
        IndexError: an index is out of range (seen eagerly on the CPU; elsewhere it is clipped).

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.nn.functional.embedding(nr.tensor([2, 0]), nr.tensor([[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]))
        tensor([[4., 5.],
                [0., 1.]])
    """
    if weight.dim() != 2:
        raise ShapeError(f"'weight' must be 2-D, got shape {tuple(weight.shape)}")
    padding_idx = _check_look_up("embedding", input, weight, padding_idx)
    max_norm = _shrunk_table(weight, input, max_norm, norm_type)
    return _embedding(input, weight, padding_idx, max_norm, float(norm_type), bool(scale_grad_by_freq))


# --- bags ----------------------------------------------------------------------------------------------------------


@op(name="_bags_of_equal_length", method=False)
def _bags_of_equal_length(
    input: Array, weight: Array, per_sample_weights: Array | None, mode: str, padding_idx: int | None, max_norm: float | None, norm_type: float, by_freq: bool
) -> Array:
    """Bags in the rows of a matrix of indices."""
    rows = _rows(input, weight, padding_idx, max_norm, norm_type, by_freq)
    counts = jnp.ones(input.shape, bool) if padding_idx is None else input != padding_idx
    if mode == "max":
        if not input.shape[1]:
            return jnp.zeros((input.shape[0], weight.shape[1]), weight.dtype)
        greatest = jnp.max(jnp.where(counts[..., None], rows, -jnp.inf), 1)
        return jnp.where(jnp.any(counts, 1, keepdims=True), greatest, 0)
    if per_sample_weights is not None:
        rows = rows * per_sample_weights[..., None]
    total = jnp.where(counts[..., None], rows, 0).sum(1)
    return total / jnp.maximum(counts.sum(1, dtype=np.int32), 1)[:, None].astype(total.dtype) if mode == "mean" else total


@op(name="_bags_by_offset", method=False)
def _bags_by_offset(
    input: Array, weight: Array, offsets: Array, per_sample_weights: Array | None, mode: str, include_last_offset: bool, padding_idx: int | None,
    max_norm: float | None, norm_type: float, by_freq: bool,
) -> Array:  # fmt: skip
    """Bags one after the other in a vector of indices."""
    rows = _rows(input, weight, padding_idx, max_norm, norm_type, by_freq)
    count = offsets.shape[0] - include_last_offset
    bag = jnp.searchsorted(offsets, jnp.arange(input.shape[0], dtype=offsets.dtype), side="right").astype(np.int32) - 1
    if padding_idx is not None:
        bag = jnp.where(input == padding_idx, count, bag)  # out of range: counts nothing
    ordered = padding_idx is None
    sizes = jax.ops.segment_sum(jnp.ones(bag.shape, np.int32), bag, count, indices_are_sorted=ordered)[:, None]
    if mode == "max":
        return jnp.where(sizes > 0, jax.ops.segment_max(rows, bag, count, indices_are_sorted=ordered), 0)
    if per_sample_weights is not None:
        rows = rows * per_sample_weights[:, None]
    total = jax.ops.segment_sum(rows, bag, count, indices_are_sorted=ordered)
    return total / jnp.maximum(sizes, 1).astype(total.dtype) if mode == "mean" else total


def embedding_bag(
    input: Tensor,
    weight: Tensor,
    offsets: Tensor | None = None,
    max_norm: float | None = None,
    norm_type: float = 2,
    scale_grad_by_freq: bool = False,
    mode: str = "mean",
    sparse: bool = False,
    per_sample_weights: Tensor | None = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> Tensor:
    """The sums, means or maxima of bags of looked-up rows.

    Args:
        input: indices: shape (B, N) for B bags of N, or (N) for the bags that `offsets` divides it into.
        weight: shape (num_embeddings, embedding_dim).
        offsets: where each bag begins in a vector of indices, shape (B); the first is 0.
        max_norm: rows that are looked up and have a greater norm are scaled down: of a `Parameter` or `Buffer` in the table itself, of a plain tensor in
            the result.
        norm_type: which norm.
        scale_grad_by_freq: divide each row's gradient by how often it was looked up; not for `"max"`.
        mode: `"sum"`, `"mean"` or `"max"`.
        sparse: accepted and without effect: gradients are dense.
        per_sample_weights: a factor for each index, of the shape of `input`; only for `"sum"`.
        include_last_offset: `offsets` has one element more, the end of the last bag.
        padding_idx: an index that counts nothing, whose row gets no gradient.

    Returns:
        Shape (B, embedding_dim); zeros for an empty bag.

    Raises:
        ValueError: shapes, mode or arguments do not fit together.
        IndexError: an index is out of range (seen eagerly on the CPU; elsewhere it is clipped).

    Examples:
        >>> import neurarust_jax as nr
        >>> table = nr.tensor([[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]])
        >>> nr.nn.functional.embedding_bag(nr.tensor([0, 1, 2]), table, nr.tensor([0, 2]), mode="sum")
        tensor([[2., 4.],
                [4., 5.]])
    """
    if weight.dtype.dtype.kind in "iu" and input.is_floating_point():
        warnings.warn(
            "Argument order of nn.functional.embedding_bag was changed. Usage `embedding_bag(weight, input, ...)` is deprecated, and should now be "
            "`embedding_bag(input, weight, ...)`.",
            stacklevel=2,
        )
        weight, input = input, weight
    if per_sample_weights is not None and tuple(input.shape) != tuple(per_sample_weights.shape):
        raise ArgumentError(
            f"embedding_bag: If per_sample_weights ({tuple(per_sample_weights.shape)}) is not None, then it must have the same shape as the input "
            f"({tuple(input.shape)})"
        )
    if weight.dim() != 2:
        raise ArgumentError(f"weight has to be a 2D Tensor, but got Tensor of dimension {weight.dim()}")
    if mode not in ("sum", "mean", "max"):
        raise ArgumentError(f"mode has to be one of sum, mean or max, got {mode!r}")
    if mode == "max" and (scale_grad_by_freq or sparse):
        raise ArgumentError(f"max mode does not support {'scaling the gradient by the frequency' if scale_grad_by_freq else 'sparse weights'}")
    _check_offsets(input, offsets)
    if per_sample_weights is not None and mode != "sum":
        raise ShapeError(f"embedding_bag: per_sample_weights is only supported for mode='sum' (got mode={mode!r}).")
    padding_idx = _check_look_up("embedding_bag", input, weight, padding_idx)
    max_norm = _shrunk_table(weight, input, max_norm, norm_type)
    options = (padding_idx, max_norm, float(norm_type), bool(scale_grad_by_freq))
    if offsets is None:
        return _bags_of_equal_length(input, weight, per_sample_weights, mode, *options)
    return _bags_by_offset(input, weight, offsets, per_sample_weights, mode, bool(include_last_offset), *options)


def _check_offsets(input: Tensor, offsets: Tensor | None) -> None:
    """Offsets are there if and only if the input is a vector, and eagerly on the CPU they lie within it."""
    if input.dim() == 2:
        if offsets is not None:
            raise ArgumentError(f"if input is 2D, then offsets has to be None, as input is treated is a mini-batch of fixed length sequences. Got {type(offsets)}")
        return
    if input.dim() != 1:
        raise ArgumentError(f"input has to be 1D or 2D Tensor, but got Tensor of dimension {input.dim()}")
    if offsets is None or offsets.dim() != 1:
        raise ArgumentError(f"offsets has to be a 1D Tensor but got {None if offsets is None else tuple(offsets.shape)}")
    value = getattr(offsets, "_value", offsets)
    if isinstance(value, jax.core.Tracer) or not value.size or (isinstance(value, jax.Array) and next(iter(value.devices())).platform != "cpu"):
        return
    first, (_, last) = int(np.asarray(value)[0]), _bounds(value)
    if first != 0:
        raise ShapeError(f"offsets[0] has to be 0, i.e., the first sequence in the mini-batch has to start from position 0. However, got {first}")
    if last > input.shape[0]:
        raise ShapeError(f"offsets[-1] can not be greater than input's length({input.shape[0]}) but got offsets[-1] of {last}")


# --- one-hot vectors -----------------------------------------------------------------------------------------------


@op(name="_one_hot", method=False)
def _one_hot(input: Array, num_classes: int) -> Array:
    """1 at each index, 0 elsewhere."""
    return (input[..., None] == jnp.arange(num_classes, dtype=input.dtype)).astype(np.int64)


def one_hot(input: Tensor, num_classes: int = -1) -> Tensor:
    r"""Vectors that are 1 at an index and 0 elsewhere.

    Args:
        input: integers of any shape (\*), not negative.
        num_classes: the length of the vectors. Default: one more than the greatest index, which must be known then: not inside a transformation.

    Returns:
        An int64 tensor of shape (\*, num_classes).

    Raises:
        RuntimeError: an index is negative or too great (seen eagerly), or the number of classes cannot be known.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.nn.functional.one_hot(nr.tensor([0, 2]))
        tensor([[1, 0, 0],
                [0, 0, 1]])
    """
    if input.dtype.dtype.kind not in "iu":
        raise DtypeError(f"one_hot is only applicable to index tensor of type LongTensor, got {input.dtype}; write .long()")
    value: Any = input._value
    if not value.size:
        if num_classes <= 0:
            raise ShapeError("Can not infer total number of classes from empty tensor; pass num_classes.")
    elif num_classes == -1:
        input._concrete("one_hot() without num_classes", "Write one_hot(x, num_classes=n).")
        num_classes = _bounds(value)[1] + 1
    elif num_classes < 1:
        raise ShapeError(f"num_classes should be positive, got {num_classes}")
    if value.size and not isinstance(value, jax.core.Tracer):
        low, high = _bounds(value)
        if low < 0:
            raise ShapeError(f"Class values must be non-negative, got {low}.")
        if high >= num_classes:
            raise ShapeError(f"Class values must be smaller than num_classes, got {high} for {num_classes} classes.")
    return _one_hot(input, int(num_classes))
