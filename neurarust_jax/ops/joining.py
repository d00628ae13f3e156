"""Ops that join tensors and split them: cat, stack and their kin; split, chunk and theirs."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from jax import lax

from .. import dtypes
from ..dispatch import Array, op
from ..errors import ArgumentError, ArgumentTypeError, ShapeError
from ..tensor import attach
from .common import cast, strong, wrap_dim

__all__ = [
    "cat", "stack", "hstack", "vstack", "dstack", "column_stack", "block_diag", "split", "split_with_sizes", "tensor_split", "chunk", "hsplit",
    "vsplit", "dsplit", "concat", "concatenate", "row_stack", "unsafe_split", "unsafe_chunk", "split_with_sizes_copy", "split_copy",
    "unsafe_split_with_sizes",
]  # fmt: skip

# --- joining -------------------------------------------------------------------------------------------------------


@op(method=False, linear=True)
def cat(tensors: Sequence[Array], dim: int = 0) -> Array:
    """The tensors joined along a dimension that they have.

    Args:
        tensors: a sequence of tensors whose shapes agree in all other dimensions; those of shape (0,) are passed over.
        dim: the dimension.

    Returns:
        A tensor of the promoted dtype.

    Raises:
        RuntimeError: the shapes do not fit.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.cat([nr.zeros(2, 1), nr.ones(2, 2)], dim=1)
        tensor([[0., 1., 1.],
                [0., 1., 1.]])
    """
    if not tensors:
        raise ArgumentError("cat(): expected a non-empty list of Tensors")
    return _joined(_same_dtype(tensors), dim)


def _same_dtype(tensors: Sequence[Array]) -> list[Array]:
    for position, x in enumerate(tensors):
        if x is None:
            raise ArgumentTypeError(f"expected Tensor as element {position} in argument 0, but got NoneType")
    dtype = dtypes.result_numpy_dtype(*tensors)
    return [cast(x, dtype) for x in tensors]


def _joined(tensors: list[Array], dim: int) -> Array:
    for position, x in enumerate(tensors):
        if not x.ndim:
            raise ShapeError(f"zero-dimensional tensor (at position {position}) cannot be concatenated; write nr.stack")
    filled = [(position, x) for position, x in enumerate(tensors) if x.shape != (0,)]
    if not filled:
        return tensors[0]
    first = filled[0][1]
    dim = wrap_dim(dim, first.ndim)
    for position, x in filled:
        if x.ndim != first.ndim:
            raise ShapeError(f"Tensors must have same number of dimensions: got {first.ndim} and {x.ndim}, shapes {[x.shape for _, x in filled]}")
        for d in range(x.ndim):
            if d != dim and x.shape[d] != first.shape[d]:
                raise ShapeError(
                    f"Sizes of tensors must match except in dimension {dim}. Expected size {first.shape[d]} but got size {x.shape[d]} "
                    f"in dimension {d} for tensor number {position} in the list: shapes {[x.shape for _, x in filled]}"
                )
    return lax.concatenate([x for _, x in filled], dim)


@op(method=False, linear=True)
def stack(tensors: Sequence[Array], dim: int = 0) -> Array:
    """The tensors joined along a new dimension.

    Args:
        tensors: a sequence of tensors of one shape.
        dim: where the new dimension goes.

    Returns:
        A tensor of the promoted dtype.
    """
    if not tensors:
        raise ShapeError("stack expects a non-empty TensorList")
    tensors = _same_dtype(tensors)
    dim = wrap_dim(dim, tensors[0].ndim + 1)
    for position, x in enumerate(tensors):
        if x.shape != tensors[0].shape:
            raise ShapeError(f"stack expects each tensor to be equal size, but got {list(tensors[0].shape)} at entry 0 and {list(x.shape)} at entry {position}")
    return lax.concatenate([lax.expand_dims(x, (dim,)) for x in tensors], dim)


def _not_empty(tensors: Sequence[Array], function: str) -> list[Array]:
    if not tensors:
        raise ShapeError(f"{function} expects a non-empty TensorList")
    return _same_dtype(tensors)


@op(method=False, linear=True)
def hstack(tensors: Sequence[Array]) -> Array:
    """The tensors joined along dimension 1, vectors along dimension 0."""
    tensors = [jnp.atleast_1d(x) for x in _not_empty(tensors, "hstack")]
    return _joined(tensors, 0 if tensors[0].ndim == 1 else 1)


@op(method=False, linear=True)
def vstack(tensors: Sequence[Array]) -> Array:
    """The tensors joined along dimension 0, vectors as rows."""
    return _joined([jnp.atleast_2d(x) for x in _not_empty(tensors, "vstack")], 0)


@op(method=False, linear=True)
def dstack(tensors: Sequence[Array]) -> Array:
    """The tensors joined along dimension 2, vectors and matrices as layers."""
    return _joined([jnp.atleast_3d(x) for x in _not_empty(tensors, "dstack")], 2)


@op(method=False, linear=True)
def column_stack(tensors: Sequence[Array]) -> Array:
    """The tensors joined along dimension 1, vectors as columns."""
    return _joined([x.reshape(-1, 1) if x.ndim < 2 else x for x in _not_empty(tensors, "column_stack")], 1)


@op(name="block_diag", method=False, linear=True)
def _block_diag(tensors: Sequence[Array]) -> Array:
    """The matrices along the diagonal of a greater one."""
    tensors = _same_dtype(tensors) if tensors else [jnp.zeros((1, 0), dtypes.get_default_dtype().dtype)]
    for position, x in enumerate(tensors):
        if x.ndim > 2:
            raise ShapeError(f"torch.block_diag: Input tensors must have 2 or fewer dimensions. Input {position} has {x.ndim} dimensions")
    tensors = [jnp.atleast_2d(x) for x in tensors]
    columns = sum(x.shape[1] for x in tensors)
    rows, before = [], 0
    for x in tensors:
        rows.append(jnp.pad(x, ((0, 0), (before, columns - before - x.shape[1]))))
        before += x.shape[1]
    return lax.concatenate(rows, 0)


def block_diag(*tensors: Any) -> Any:
    """The matrices along the diagonal of a greater one, zeros elsewhere; vectors count as matrices of one row."""
    return _block_diag(tensors)


# --- splitting -----------------------------------------------------------------------------------------------------


def _pieces(input: Array, sizes: Sequence[int], dim: int) -> tuple[Array, ...]:
    ends, pieces = 0, []
    for size in sizes:
        pieces.append(lax.slice_in_dim(input, ends, ends + size, axis=dim))
        ends += size
    return tuple(pieces)


def _has_dims(input: Array, function: str) -> Array:
    input = strong(input)
    if not input.ndim:
        raise ShapeError(f"{function} expects at least a 1-dimensional tensor")
    return input


@op(method=False, linear=True)
def split(tensor: Array, split_size_or_sections: int | tuple[int, ...], dim: int = 0) -> tuple[Array, ...]:
    """The tensor cut along a dimension.

    Args:
        tensor: a tensor.
        split_size_or_sections: the length of each piece (the last may be shorter), or a sequence of all lengths.
        dim: the dimension.

    Returns:
        The pieces.

    Examples:
        >>> import neurarust_jax as nr
        >>> [piece.tolist() for piece in nr.arange(5).split(2)]
        [[0, 1], [2, 3], [4]]
    """
    tensor = _has_dims(tensor, "split")
    if isinstance(split_size_or_sections, tuple):
        return _split_with_sizes(tensor, split_size_or_sections, dim)
    dim, size = wrap_dim(dim, tensor.ndim), split_size_or_sections
    length = tensor.shape[dim]
    if size < 0:
        raise ShapeError(f"split expects split_size be non-negative, but got split_size={size}")
    if size == 0 and length:
        raise ShapeError(f"split_size can only be 0 if dimension size is 0, but got dimension size of {length}")
    return _pieces(tensor, _equal_parts(length, size), dim)


def _equal_parts(length: int, size: int) -> list[int]:
    if not length:
        return [0]
    return [min(size, length - start) for start in range(0, length, size)]


def _split(self: Any, split_size: Any, dim: int = 0) -> Any:
    """The tensor cut along a dimension: `nr.split`."""
    return split(self, split_size, dim)


_split.__name__ = "split"
attach("split", _split)
attach("unsafe_split", _split)


@op(linear=True)
def split_with_sizes(input: Array, split_sizes: tuple[int, ...], dim: int = 0) -> tuple[Array, ...]:
    """The tensor cut along a dimension into pieces of given lengths."""
    return _split_with_sizes(_has_dims(input, "split_with_sizes"), split_sizes, dim)


def _split_with_sizes(input: Array, sizes: tuple[int, ...], dim: int) -> tuple[Array, ...]:
    dim = wrap_dim(dim, input.ndim)
    if any(size < 0 for size in sizes):
        raise ShapeError(f"split_with_sizes expects split_sizes have only non-negative entries, but got split_sizes={list(sizes)}")
    if sum(sizes) != input.shape[dim]:
        raise ShapeError(
            f"split_with_sizes expects split_sizes to sum exactly to {input.shape[dim]} (input tensor's size at dimension {dim}), "
            f"but got split_sizes={list(sizes)}"
        )
    return _pieces(input, sizes, dim)


@op(method=("chunk", "unsafe_chunk"), linear=True)
def chunk(input: Array, chunks: int, dim: int = 0) -> tuple[Array, ...]:
    """The tensor cut along a dimension into at most `chunks` pieces of equal length; the last may be shorter."""
    input = _has_dims(input, "chunk")
    dim = wrap_dim(dim, input.ndim)
    if chunks <= 0:
        raise ShapeError(f"chunk expects `chunks` to be greater than 0, got: {chunks}")
    length = input.shape[dim]
    if not length:
        return (input,) * chunks
    return _pieces(input, _equal_parts(length, -(-length // chunks)), dim)


@op(linear=True)
def tensor_split(input: Array, indices_or_sections: int | tuple[int, ...], dim: int = 0) -> tuple[Array, ...]:
    """The tensor cut along a dimension into a number of nearly equal pieces, or before given indices.

    Args:
        input: a tensor.
        indices_or_sections: the number of pieces, the first of which are longer by one where it does not divide the length; or the indices,
            as a sequence or a tensor, where a piece begins.
        dim: the dimension.
    """
    return _tensor_split(_has_dims(input, "tensor_split"), indices_or_sections, dim)


def _tensor_split(input: Array, indices_or_sections: int | tuple[int, ...], dim: int) -> tuple[Array, ...]:
    dim = wrap_dim(dim, input.ndim)
    length = input.shape[dim]
    if isinstance(indices_or_sections, tuple):
        bounds = [0, *(slice(i, None).indices(length)[0] for i in indices_or_sections), length]
        return tuple(lax.slice_in_dim(input, start, max(start, end), axis=dim) for start, end in zip(bounds[:-1], bounds[1:], strict=True))
    sections = indices_or_sections
    if sections <= 0:
        raise ShapeError(f"number of sections must be larger than 0, got {sections}")
    each, longer = divmod(length, sections)
    return _pieces(input, [each + 1] * longer + [each] * (sections - longer), dim)


def _split_evenly(name: str, dim: int, least: int, doc: str):
    def split_along(input: Array, indices_or_sections: int | tuple[int, ...]) -> tuple[Array, ...]:
        input = strong(input)
        if input.ndim < least:
            raise ShapeError(
                f"torch.{name} requires a tensor with at least {least} dimension{'s' * (least > 1)}, but got a tensor with {input.ndim} dimensions!"
            )
        along = 0 if input.ndim == 1 else dim
        if not isinstance(indices_or_sections, tuple) and (indices_or_sections <= 0 or input.shape[along] % indices_or_sections):
            raise ShapeError(
                f"torch.{name} attempted to split along dimension {along}, but the size of the dimension {input.shape[along]} "
                f"is not divisible by the split_size {indices_or_sections}!"
            )
        return _tensor_split(input, indices_or_sections, along)

    split_along.__name__, split_along.__doc__ = name, doc
    return op(split_along, name=name, linear=True)


hsplit = _split_evenly("hsplit", 1, 1, "The tensor cut along dimension 1, a vector along dimension 0, as by `tensor_split`; the pieces must be equal.")
vsplit = _split_evenly("vsplit", 0, 2, "The tensor cut along dimension 0, as by `tensor_split`; the pieces must be equal.")
dsplit = _split_evenly("dsplit", 2, 3, "The tensor cut along dimension 2, as by `tensor_split`; the pieces must be equal.")

# --- second names --------------------------------------------------------------------------------------------------

concat = concatenate = cat
row_stack = vstack
unsafe_split, unsafe_chunk, split_copy, unsafe_split_with_sizes, split_with_sizes_copy = split, chunk, split, split_with_sizes, split_with_sizes
attach("unsafe_split_with_sizes", unsafe_split_with_sizes)
