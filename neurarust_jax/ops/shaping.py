"""Ops that change the shape of a tensor or the order of its elements: reshape, permute, expand, repeat, flip, roll.

A Tensor never changes and shares no storage, so PyTorch's views and copies are one thing here.
"""

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from .. import dtypes
from ..dispatch import Array, Shape, op
from ..errors import DtypeError, IndexOutOfRangeError, ShapeError, TracedValueError
from ..tensor import Size, Tensor, array_from, attach, wrap
from . import common
from .common import numpy_names, refuse, strong, wrap_dim, wrap_dims

__all__ = [
    "reshape", "permute", "transpose", "t", "adjoint", "squeeze", "unsqueeze", "flatten", "unflatten", "ravel", "movedim", "swapaxes", "swapdims",
    "atleast_1d", "atleast_2d", "atleast_3d", "broadcast_to", "broadcast_tensors", "broadcast_shapes", "tile", "repeat_interleave", "flip", "fliplr",
    "flipud", "roll", "rot90", "view_as_real", "view_as_complex", "moveaxis", "permute_copy", "transpose_copy", "t_copy", "squeeze_copy",
    "unsqueeze_copy", "expand_copy", "view_copy", "alias_copy", "view_as_real_copy", "view_as_complex_copy",
]  # fmt: skip

# --- reshape -------------------------------------------------------------------------------------------------------


@op(linear=True)
def reshape(input: Array, shape: Shape) -> Array:
    """The same elements, in the same order, in another shape.

    Args:
        input: a tensor.
        *shape: the new shape, as ints or as one sequence; one length may be -1 and is inferred.

    Raises:
        RuntimeError: the shape does not hold as many elements.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.arange(6).reshape(2, -1)
        tensor([[0, 1, 2],
                [3, 4, 5]])
    """
    return _reshape(strong(input), shape)


def _reshape(input: Array, shape: tuple[int, ...]) -> Array:
    return lax.reshape(input, inferred_shape(shape, input.size))


def inferred_shape(shape: tuple[int, ...], count: int) -> tuple[int, ...]:
    """`shape` with its -1 replaced by the length that makes it hold `count` elements."""
    unknown = [i for i, length in enumerate(shape) if length == -1]
    if len(unknown) > 1:
        raise ShapeError(f"only one dimension can be inferred, got shape {list(shape)}")
    if any(length < -1 for length in shape):
        raise ShapeError(f"invalid shape dimension {min(shape)} in {list(shape)}; lengths are at least 0, or -1 to be inferred")
    known = math.prod(length for length in shape if length != -1)
    if unknown and known == 0 and count == 0:
        raise ShapeError(
            f"cannot reshape tensor of 0 elements into shape {list(shape)} because the unspecified dimension size -1 can be any value and is ambiguous"
        )
    if (count != known) if not unknown else (known == 0 or count % known):
        raise ShapeError(f"shape '{list(shape)}' is invalid for input of size {count}")
    return tuple(count // known if length == -1 else length for length in shape)


@op(method="view", linear=True)
def view(input: Array, size: Shape) -> Array:
    """The same elements in another shape, as `reshape`; or, given one dtype, the same bits read as that dtype."""
    input = strong(input)
    if len(size) == 1 and not isinstance(size[0], int):
        return _reinterpret(input, dtypes.as_dtype(size[0]).dtype)
    return _reshape(input, size)


def _reinterpret(input: Array, dtype: np.dtype) -> Array:
    """The bits of `input` as another dtype; the last dimension grows or shrinks by the ratio of the item sizes."""
    if dtype == input.dtype:
        return input
    have, want, shape = input.dtype.itemsize, dtype.itemsize, input.shape
    if have != want:
        if not shape:
            raise ShapeError(f"self.dim() cannot be 0 to view {input.dtype} as {dtype} (different element sizes)")
        if shape[-1] * have % want:
            raise ShapeError(
                f"self.size(-1) must be divisible by {want // have} to view {input.dtype} as {dtype} (different element sizes), but got {shape[-1]}"
            )
        shape = (*shape[:-1], shape[-1] * have // want)
    bits = jnp.ravel(lax.stop_gradient(input))
    if bits.dtype.kind == "c":  # XLA reinterprets neither complex numbers nor booleans
        bits = jnp.ravel(_parts(bits))
    elif bits.dtype.kind == "b":
        bits = bits.astype(np.uint8)
    plain = np.dtype(f"f{want // 2}") if dtype.kind == "c" else np.dtype(np.uint8) if dtype.kind == "b" else dtype
    if plain.itemsize > bits.dtype.itemsize:
        bits = bits.reshape(-1, plain.itemsize // bits.dtype.itemsize)
    bits = lax.bitcast_convert_type(bits, plain)
    if dtype.kind == "c":
        bits = bits.reshape(-1, 2)
        bits = lax.complex(bits[:, 0], bits[:, 1])
    return (bits != 0 if dtype.kind == "b" else bits).reshape(shape)


def reshape_as(input: Any, other: Any) -> Tensor:
    """`input` in the shape of `other`."""
    return reshape(input, tuple(other.shape))


def view_as(input: Any, other: Any) -> Tensor:
    """`input` in the shape of `other`."""
    return view(input, tuple(other.shape))


def expand_as(input: Any, other: Any) -> Tensor:
    """`input` expanded to the shape of `other`."""
    return expand(input, tuple(other.shape))


attach("reshape_as", reshape_as)
attach("view_as", view_as)
attach("expand_as", expand_as)


@op(linear=True)
def flatten(input: Array, start_dim: int = 0, end_dim: int = -1) -> Array:
    """The dimensions from `start_dim` to `end_dim`, both included, made one. A 0-d tensor becomes 1-d."""
    input = strong(input)
    start, end = wrap_dim(start_dim, input.ndim), wrap_dim(end_dim, input.ndim)
    if start > end:
        raise ShapeError(f"flatten() has invalid args: start_dim cannot come after end_dim, got {start_dim} and {end_dim}")
    shape = input.shape or (1,)
    return lax.reshape(input, (*shape[:start], math.prod(shape[start : end + 1]), *shape[end + 1 :]))


@op(linear=True)
def ravel(input: Array) -> Array:
    """All elements in one dimension."""
    return jnp.ravel(strong(input))


@op(linear=True)
def unflatten(input: Array, dim: int, sizes: tuple[int, ...]) -> Array:
    """One dimension made several.

    Args:
        input: a tensor.
        dim: the dimension to split up.
        sizes: the lengths that it becomes; one may be -1.
    """
    input = strong(input)
    dim = wrap_dim(dim, input.ndim)
    sizes = sizes if isinstance(sizes, tuple) else (sizes,)
    if not sizes:
        raise ShapeError("unflatten: sizes must be non-empty")
    if not input.ndim:
        raise IndexOutOfRangeError("unflatten: a 0-d tensor has no dimension to split up")
    length = input.shape[dim]
    known = math.prod(s for s in sizes if s != -1)
    if (known != length) if -1 not in sizes else (known <= 0 or length % known):
        raise ShapeError(f"unflatten: Provided sizes {list(sizes)} don't multiply up to the size of dim {dim} ({length}) in the input tensor")
    return lax.reshape(input, (*input.shape[:dim], *inferred_shape(sizes, length), *input.shape[dim + 1 :]))


@op(linear=True)
def squeeze(input: Array, dim: Shape = None) -> Array:
    """The tensor without its dimensions of length 1.

    Args:
        input: a tensor.
        *dim: the dimensions to look at; those of another length stay. Default: all.
    """
    input = strong(input)
    dims = wrap_dims(dim, input.ndim, empty_is_all=False)
    return lax.squeeze(input, [d for d in dims if input.shape[d] == 1])


@op(linear=True)
def unsqueeze(input: Array, dim: int) -> Array:
    """The tensor with a new dimension of length 1 at `dim`."""
    input = strong(input)
    return lax.expand_dims(input, (wrap_dim(dim, input.ndim + 1),))


def _at_least(name: str, function: Any, doc: str):
    def one_tensor(input: Array) -> Array:
        return function(strong(input))

    one_tensor.__doc__ = doc
    one = op(one_tensor, name=name, method=False, linear=True)

    def at_least(*tensors: Any) -> Any:
        if len(tensors) == 1 and not isinstance(tensors[0], list | tuple):
            return one(tensors[0])
        return tuple(map(one, one_or_many(tensors)))

    at_least.__name__, at_least.__doc__ = name, doc
    return at_least


def _at_least_3d(input: Array) -> Array:
    return input.reshape((1, *input.shape, 1)[-3:] if input.ndim == 1 else (*(1,) * (2 - input.ndim), *input.shape, 1)) if input.ndim < 3 else input


atleast_1d = _at_least("atleast_1d", jnp.atleast_1d, "The tensor, a 0-d one with a dimension of length 1; of several tensors a tuple.")
atleast_2d = _at_least("atleast_2d", jnp.atleast_2d, "The tensor with dimensions of length 1 in front up to two; of several tensors a tuple.")
atleast_3d = _at_least("atleast_3d", _at_least_3d, "The tensor with dimensions of length 1 up to three: a vector in the middle, a matrix in front.")


# --- order of dimensions -------------------------------------------------------------------------------------------


@op(linear=True)
def permute(input: Array, dims: Shape) -> Array:
    """The dimensions in another order: dimension `i` of the result is dimension `dims[i]` of `input`.

    Args:
        input: a tensor.
        *dims: every dimension once.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.zeros(2, 3, 4).permute(2, 0, 1).shape
        neurarust_jax.Size([4, 2, 3])
    """
    input = strong(input)
    if len(dims) != input.ndim:
        raise ShapeError(
            "permute: number of dimensions in the tensor input does not match the length of the desired ordering of dimensions "
            f"i.e. input.dim() = {input.ndim} is not equal to len(dims) = {len(dims)}"
        )
    order = [wrap_dim(d, input.ndim) for d in dims]
    if len(set(order)) != len(order):
        raise ShapeError(f"permute(): duplicate dims are not allowed, got {dims}")
    return lax.transpose(input, order)


@op(linear=True)
def transpose(input: Array, dim0: int, dim1: int) -> Array:
    """The tensor with two dimensions exchanged.

    Args:
        input: a tensor.
        dim0: the first dimension.
        dim1: the second dimension.
    """
    return _exchanged(strong(input), dim0, dim1)


def _exchanged(input: Array, dim0: int, dim1: int) -> Array:
    order = list(range(input.ndim))
    dim0, dim1 = wrap_dim(dim0, input.ndim), wrap_dim(dim1, input.ndim)
    if order:
        order[dim0], order[dim1] = order[dim1], order[dim0]
    return lax.transpose(input, order)


@op(linear=True)
def swapaxes(input: Array, axis0: int, axis1: int) -> Array:
    """The tensor with two dimensions exchanged, as `transpose`."""
    return _exchanged(strong(input), axis0, axis1)


@op(linear=True)
def swapdims(input: Array, dim0: int, dim1: int) -> Array:
    """The tensor with two dimensions exchanged, as `transpose`."""
    return _exchanged(strong(input), dim0, dim1)


@op(linear=True)
def t(input: Array) -> Array:
    """The transpose of a matrix; a tensor of fewer dimensions as it is."""
    input = strong(input)
    if input.ndim > 2:
        raise ShapeError(f"t() expects a tensor with <= 2 dimensions, but self is {input.ndim}D; write x.transpose(-2, -1) or x.mT")
    return lax.transpose(input, range(input.ndim)[::-1])


@op(name="_T", method=False, linear=True)
def _reversed_dims(input: Array) -> Array:
    """The tensor with its dimensions in reverse order."""
    return jnp.transpose(strong(input))


@op(name="_mT", method=False, linear=True)
def _matrix_transpose(input: Array) -> Array:
    """The tensor with its last two dimensions exchanged."""
    return _matrices(strong(input), "tensor.mT")


@op(name="_mH", method=False, linear=True)
def _matrix_adjoint(input: Array) -> Array:
    """The complex conjugate with its last two dimensions exchanged."""
    return jnp.conj(_matrices(strong(input), "tensor.mH"))


@op(name="_H", method=False, linear=True)
def _adjoint_of_matrix(input: Array) -> Array:
    """The conjugate transpose of a matrix."""
    input = strong(input)
    if input.ndim not in (0, 2):
        raise ShapeError(f"tensor.H is only supported on matrices (2-D tensors). Got {input.ndim}-D tensor. For batches of matrices write x.mH")
    return jnp.conj(_matrices(input, "tensor.H"))


@op(linear=True)
def adjoint(input: Array) -> Array:
    """The complex conjugate of a matrix or a batch of matrices, transposed."""
    return jnp.conj(_matrices(strong(input), "tensor.adjoint()"))


def _matrices(input: Array, what: str) -> Array:
    if input.ndim == 1:
        raise ShapeError(f"{what} is only supported on matrices or batches of matrices. Got 1-D tensor.")
    return jnp.swapaxes(input, -2, -1) if input.ndim else input


attach("T", property(_reversed_dims, doc="The tensor with its dimensions in reverse order; of a matrix the transpose."))
attach("mT", property(_matrix_transpose, doc="The tensor with its last two dimensions exchanged."))
attach("H", property(_adjoint_of_matrix, doc="The conjugate transpose of a matrix."))
attach("mH", property(_matrix_adjoint, doc="The complex conjugate with its last two dimensions exchanged."))


@op(method=("movedim", "moveaxis"), linear=True)
def movedim(input: Array, source: int | tuple[int, ...], destination: int | tuple[int, ...]) -> Array:
    """Dimensions moved to other places; the rest keep their order.

    Args:
        input: a tensor.
        source: the dimensions to move, an int or several.
        destination: where they go.
    """
    input = strong(input)
    sources = source if isinstance(source, tuple) else (source,)
    destinations = destination if isinstance(destination, tuple) else (destination,)
    if len(sources) != len(destinations):
        raise ShapeError(
            f"movedim: Invalid source or destination dims: source ({list(sources)} dims) should contain the same number of dims "
            f"as destination ({list(destinations)} dims)"
        )
    sources, destinations = ([wrap_dim(d, input.ndim) for d in dims] for dims in (sources, destinations))
    for name, dims in (("source", sources), ("destination", destinations)):
        if len(set(dims)) != len(dims):
            raise ShapeError(f"movedim: repeated dim in `{name}` ({dims})")
    return jnp.moveaxis(input, sources, destinations) if input.ndim else input


# --- broadcasting and repetition -----------------------------------------------------------------------------------


@op(linear=True, method="expand")
def expand(input: Array, size: Shape) -> Array:
    """The tensor repeated along its dimensions of length 1, and along new ones in front, up to a larger shape.

    Args:
        input: a tensor.
        *size: the shape wanted, as ints or as one sequence; -1 leaves a length as it is.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.tensor([[1], [2]]).expand(-1, 3)
        tensor([[1, 1, 1],
                [2, 2, 2]])
    """
    return _expanded(strong(input), size, "expand")


@op(linear=True)
def broadcast_to(input: Array, size: Shape) -> Array:
    """The tensor broadcast to a shape, as `expand`."""
    return _expanded(strong(input), size, "broadcast_to")


def _expanded(input: Array, size: tuple[int, ...], function: str) -> Array:
    new = len(size) - input.ndim
    if new < 0:
        raise ShapeError(
            f"{function}: the number of sizes provided ({len(size)}) must be greater or equal to the number of dimensions in the tensor ({input.ndim}): "
            f"size={list(size)}, the tensor's shape is {list(input.shape)}"
        )
    target = list(size)
    for dim, wanted in enumerate(size):
        have = input.shape[dim - new] if dim >= new else 1
        if wanted == -1 and dim >= new:
            target[dim] = have
        elif wanted < 0:
            raise ShapeError(
                f"The expanded size of the tensor ({wanted}) isn't allowed in dimension {dim}; lengths are at least 0, or -1 for an existing dimension"
            )
        elif have not in (1, wanted):
            raise ShapeError(
                f"The expanded size of the tensor ({wanted}) must match the existing size ({have}) at non-singleton dimension {dim}.  "
                f"Target sizes: {list(size)}.  Tensor sizes: {list(input.shape)}"
            )
    return jnp.broadcast_to(input, target)


@op(name="broadcast_tensors", method=False, linear=True)
def _broadcast_tensors(tensors: Sequence[Array]) -> tuple[Array, ...]:
    """The tensors in their common shape."""
    tensors = [strong(x) for x in tensors]
    shape = common.broadcast_shapes(*(x.shape for x in tensors))
    return tuple(jnp.broadcast_to(x, shape) for x in tensors)


def broadcast_tensors(*tensors: Any) -> tuple[Tensor, ...]:
    """The tensors, each broadcast to the shape that all have together."""
    return _broadcast_tensors(one_or_many(tensors))


def one_or_many(tensors: tuple[Any, ...]) -> tuple[Any, ...]:
    """Tensors given one by one, or as one sequence."""
    return tuple(tensors[0]) if len(tensors) == 1 and isinstance(tensors[0], list | tuple) else tensors


def broadcast_shapes(*shapes: Any) -> Size:
    """The shape that tensors of these shapes broadcast to.

    Args:
        *shapes: tuples of ints, or ints.

    Raises:
        RuntimeError: they do not broadcast.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.broadcast_shapes((2, 1), (3,))
        neurarust_jax.Size([2, 3])
    """
    shapes = tuple((s,) if isinstance(s, int) else tuple(s) for s in shapes)
    if any(length < 0 for shape in shapes for length in shape):
        raise ShapeError(f"Trying to create tensor with negative dimension: {', '.join(map(str, shapes))}")
    return Size(common.broadcast_shapes(*shapes))


@op(method="repeat", linear=True)
def repeat(input: Array, repeats: Shape) -> Array:
    """The tensor laid end to end.

    Args:
        input: a tensor.
        *repeats: how many times along each dimension, at least one number for each; further ones in front make new dimensions.
    """
    input = strong(input)
    if len(repeats) < input.ndim:
        raise ShapeError(f"Number of dimensions of repeat dims can not be smaller than number of dimensions of tensor: repeat{repeats} of shape {input.shape}")
    return _tiled(input, repeats)


@op(linear=True)
def tile(input: Array, dims: Shape) -> Array:
    """The tensor laid end to end, `dims` times along its last dimensions."""
    return _tiled(strong(input), dims)


def _tiled(input: Array, repeats: tuple[int, ...]) -> Array:
    if any(times < 0 for times in repeats):
        raise ShapeError(f"Trying to create tensor with negative dimension: repeats {repeats}")
    return jnp.tile(input, repeats)


@op(name="_repeat_each", method=False, linear=True)
def _repeat_each(input: Array, repeats: int, dim: int | None) -> Array:
    """Every element repeated the same number of times."""
    input = strong(input)
    if repeats < 0:
        raise ShapeError(f"repeats must be non-negative, got {repeats}")
    return jnp.repeat(jnp.ravel(input) if dim is None else input, repeats, 0 if dim is None else wrap_dim(dim, input.ndim))


@op(name="_repeat_by", method=False, linear=True)
def _repeat_by(input: Array, repeats: Array, dim: int | None, output_size: int) -> Array:
    """Every element repeated its own number of times."""
    input = strong(input)
    input, dim = (jnp.ravel(input), 0) if dim is None else (input, wrap_dim(dim, input.ndim))
    if repeats.ndim > 1:
        raise ShapeError(f"repeats must be 0-dim or 1-dim tensor, got shape {repeats.shape}")
    if repeats.size not in (1, input.shape[dim] if input.ndim else 1):
        raise ShapeError(
            f"repeats must have the same size as input along dim, but got repeats.size(0) = {repeats.size} and input.size({dim}) = {input.shape[dim]}"
        )
    ends = jnp.cumsum(jnp.broadcast_to(repeats.reshape(-1), (input.shape[dim] if input.ndim else 1,)))
    source = jnp.searchsorted(ends, jnp.arange(output_size, dtype=ends.dtype), side="right")
    return jnp.take(jnp.atleast_1d(input), source, dim, mode="clip")


@numpy_names
def repeat_interleave(input: Any, repeats: Any = None, dim: int | None = None, *, output_size: int | None = None) -> Tensor:
    """Every element repeated, the copies next to each other.

    Args:
        input: a tensor; if it stands alone, it is taken as the `repeats` of the numbers 0, 1, 2...
        repeats: how many times: an int, or an integer tensor with a number for each index along `dim`.
        dim: the dimension. Default: of the flattened tensor.
        output_size: the length that comes out; needed inside a transformation, where the sum of `repeats` is not known.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.repeat_interleave(nr.tensor([5, 6]), nr.tensor([1, 3]))
        tensor([5, 6, 6, 6])
    """
    if repeats is None:
        repeats, dim = input, 0
        if repeats.ndim != 1:
            raise ShapeError(f"repeat_interleave only accept 1D vector as repeat, got shape {tuple(repeats.shape)}")
        input = wrap(array_from(np.arange(repeats.shape[0])))
    if isinstance(repeats, int):
        return _repeat_each(input, repeats, dim)
    value = repeats._value if isinstance(repeats, Tensor) else array_from(repeats)
    if value.dtype.kind not in "iu":
        raise DtypeError(f"repeats has to be Long or Int tensor, got {dtypes.from_numpy(value.dtype)}; write repeats.long()")
    if isinstance(value, jax.core.Tracer):
        if output_size is None:
            raise TracedValueError(
                "repeat_interleave with a tensor of repeats has a size that is unknown inside nr.jit and other transformations; "
                "write nr.repeat_interleave(x, repeats, dim, output_size=n)"
            )
        return _repeat_by(input, value, dim, output_size)
    counts = np.asarray(value)
    if (counts < 0).any():
        raise ShapeError(f"repeats can not be negative, got {counts.min()}")
    if counts.size == 1:
        shape = tuple(input.shape) or (1,)
        counts = np.broadcast_to(counts, math.prod(shape) if dim is None else shape[dim])
    total = int(counts.sum())
    if output_size not in (None, total):
        raise ShapeError(f"allocated size does not match required size: output_size={output_size}, the repeats add up to {total}")
    return _repeat_by(input, value, dim, total)


attach("repeat_interleave", repeat_interleave)


# --- order of elements ---------------------------------------------------------------------------------------------


@op(linear=True)
def flip(input: Array, dims: Shape) -> Array:
    """The elements in reverse order along the dimensions given."""
    input = strong(input)
    return lax.rev(input, wrap_dims(dims, input.ndim, empty_is_all=False))


@op(linear=True)
def fliplr(input: Array) -> Array:
    """The elements in reverse order along dimension 1."""
    input = strong(input)
    if input.ndim < 2:
        raise ShapeError(f"Input must be >= 2-d, got {input.ndim}-d; write x.flip(0)")
    return lax.rev(input, (1,))


@op(linear=True)
def flipud(input: Array) -> Array:
    """The elements in reverse order along dimension 0."""
    input = strong(input)
    if input.ndim < 1:
        raise ShapeError("Input must be >= 1-d, got a 0-d tensor")
    return lax.rev(input, (0,))


@op(linear=True)
def roll(input: Array, shifts: int | tuple[int, ...], dims: int | tuple[int, ...] | None = None) -> Array:
    """The elements shifted along dimensions; those that leave at the end come in at the front.

    Args:
        input: a tensor.
        shifts: by how many places, an int or one for each of `dims`.
        dims: the dimensions. Default: the flattened tensor is shifted.
    """
    input = strong(input)
    shifts = shifts if isinstance(shifts, tuple) else (shifts,)
    dims = () if dims is None else dims if isinstance(dims, tuple) else (dims,)
    if not shifts:
        raise ShapeError("`shifts` required")
    if len(shifts) != (len(dims) or 1):
        raise ShapeError(f"shifts and dimensions must align. shifts: {len(shifts)}, dims: {len(dims)}")
    if not dims:
        return jnp.roll(input, shifts[0])
    if not input.ndim:
        raise IndexOutOfRangeError(f"Dimension specified as {dims[0]} but tensor has no dimensions")
    return jnp.roll(input, shifts, tuple(wrap_dim(d, input.ndim) for d in dims))


@op(linear=True)
def rot90(input: Array, k: int = 1, dims: tuple[int, ...] = (0, 1)) -> Array:
    """The tensor turned by `k` right angles in the plane of two dimensions, from the first towards the second."""
    input = strong(input)
    if len(dims) != 2:
        raise ShapeError(f"expected total rotation dims == 2, but got dims = {len(dims)}")
    if input.ndim < 2:
        raise ShapeError(f"expected total dims >= 2, but got total dims = {input.ndim}")
    dims = tuple(wrap_dim(d, input.ndim) for d in dims)
    if dims[0] == dims[1]:
        raise ShapeError(f"expected rotation dims to be different, but got dim0 = {dims[0]} and dim1 = {dims[1]}")
    return jnp.rot90(input, k, dims)


# --- real and complex ----------------------------------------------------------------------------------------------


def _parts(input: Array) -> Array:
    return jnp.stack([jnp.real(input), jnp.imag(input)], -1)


@op(method=False, linear=True)
def view_as_real(input: Array) -> Array:
    """A complex tensor as a real one with a last dimension of length 2, real part first."""
    refuse(strong(input), "biuf", "view_as_real")
    return _parts(strong(input))


@op(method=False, linear=True)
def view_as_complex(input: Array) -> Array:
    """A real tensor whose last dimension has length 2, real part first, as a complex one."""
    input = strong(input)
    if input.dtype.name not in ("float32", "float64"):
        raise DtypeError(f"view_as_complex is only supported for float32 and float64 tensors, but got {dtypes.from_numpy(input.dtype)}")
    if not input.ndim or input.shape[-1] != 2:
        raise ShapeError(f"Tensor must have a last dimension of size 2, got shape {list(input.shape)}")
    return lax.complex(input[..., 0], input[..., 1])


@op(method=False, linear=True)
def alias_copy(input: Array) -> Array:
    """The same value."""
    return strong(input)


# --- second names --------------------------------------------------------------------------------------------------
# PyTorch's `_copy` forms differ from the views only in storage, which nothing here shares.

moveaxis = movedim
permute_copy, transpose_copy, t_copy, squeeze_copy, unsqueeze_copy, expand_copy, view_copy = permute, transpose, t, squeeze, unsqueeze, expand, view
view_as_real_copy, view_as_complex_copy = view_as_real, view_as_complex
