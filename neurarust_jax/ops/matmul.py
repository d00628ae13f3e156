"""Products of vectors and matrices: matmul and its named cases, the `add*mm` family, einsum, tensordot, kron, and pairwise distances."""

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import lax

from .. import dtypes
from ..dispatch import Array, op
from ..errors import ArgumentError, DtypeError, ShapeError
from ..tensor import Tensor
from .common import broadcast_shapes, cast, is_inexact, numpy_names, promote, refuse, strong, wrap_dim, wrap_dims

__all__ = [
    "matmul", "mm", "bmm", "mv", "dot", "vdot", "inner", "outer", "ger", "addmm", "addmv", "addr", "baddbmm", "addbmm", "einsum", "tensordot",
    "kron", "chain_matmul", "cross", "cdist", "pdist", "set_float32_matmul_precision", "get_float32_matmul_precision",
]  # fmt: skip

# --- precision -----------------------------------------------------------------------------------------------------

_PRECISIONS = {"highest": lax.Precision.HIGHEST, "high": lax.Precision.HIGH, "medium": lax.Precision.DEFAULT}
_precision = "highest"
_convolutions_may_be_coarse = True


def set_float32_matmul_precision(precision: str) -> None:
    """Set how exactly accelerators multiply float32 matrices. On the CPU it is without effect.

    Functions under `nr.jit` and eager operations compile anew once for each precision, and none anew when it is set back.

    Args:
        precision: `"highest"` (the default) computes in float32; `"high"` may use TensorFloat32 or three bfloat16 products; `"medium"` one product
            of what the device multiplies fastest. A precision set with `jax.default_matmul_precision` goes first.

    Raises:
        ValueError: `precision` is none of these.
    """
    global _precision
    if precision not in _PRECISIONS:
        raise ArgumentError(f"set_float32_matmul_precision takes 'highest', 'high' or 'medium', got {precision!r}")
    _precision = precision
    _note_precision()


def _note_precision() -> None:
    dtypes.set_compiled_setting("float32_matmul_precision", None if _precision == "highest" else _precision)
    dtypes.set_compiled_setting("convolutions", None if _convolutions_may_be_coarse else "exact")


def get_float32_matmul_precision() -> str:
    """How exactly accelerators multiply float32 matrices: `"highest"`, `"high"` or `"medium"`."""
    return _precision


def precision() -> lax.Precision | None:
    """The precision that products are compiled with."""
    return None if jax.config.jax_default_matmul_precision is not None else _PRECISIONS[_precision]


def set_coarse_convolutions(allowed: bool) -> None:
    """Set whether convolutions of float32 may be computed as coarsely as the device is fastest (PyTorch's `cudnn.allow_tf32`, true by default)."""
    global _convolutions_may_be_coarse
    _convolutions_may_be_coarse = bool(allowed)
    _note_precision()


def are_convolutions_coarse() -> bool:
    """What `set_coarse_convolutions` set."""
    return _convolutions_may_be_coarse


def convolution_precision() -> lax.Precision | None:
    """The precision that convolutions are compiled with."""
    return None if _convolutions_may_be_coarse or jax.config.jax_default_matmul_precision is not None else lax.Precision.HIGHEST


# --- checks --------------------------------------------------------------------------------------------------------


def _same_dtype(function: str, **operands) -> tuple[Array, ...]:
    """The operands as strongly typed arrays; they must have one dtype, and a number type."""
    arrays = {name: strong(x) for name, x in operands.items()}
    (first, a), *others = arrays.items()
    for name, b in others:
        if a.dtype != b.dtype:
            have, got = dtypes.from_numpy(a.dtype), dtypes.from_numpy(b.dtype)
            raise DtypeError(
                f"{function}: expected {first} and {name} to have the same dtype, but got: {have.name} != {got.name}. "
                f"Convert one of them, for example {name}.to(nr.{have.name})"
            )
    refuse(a, "b", function)
    return tuple(arrays.values())


def _sizes(x: Array) -> str:
    return "x".join(map(str, x.shape))


def _ndim(function: str, ndim: int, **operands: Array) -> None:
    for name, x in operands.items():
        if x.ndim != ndim:
            kind = {1: "1D", 2: "a matrix", 3: "a 3D tensor"}[ndim]
            raise ShapeError(f"{function}: {name} must be {kind}, got shape {tuple(x.shape)} ({x.ndim}D); nr.matmul takes any number of dimensions")


def _multipliable(a: Array, b: Array, names: tuple[str, str] = ("mat1", "mat2")) -> None:
    """Raise if the last dimension of `a` and the second-last of `b` differ."""
    if a.shape[-1] == b.shape[-2]:
        return
    first, second = names
    if a.shape[-1] == b.shape[-1]:
        remedy = f"transpose the second: {second}.mT" if b.ndim > 2 else f"transpose the second: {second}.T is {b.shape[1]}x{b.shape[0]}"
    elif a.shape[-2] == b.shape[-2]:
        remedy = f"transpose the first: {first}.mT" if a.ndim > 2 else f"transpose the first: {first}.T is {a.shape[1]}x{a.shape[0]}"
    else:
        remedy = "the last size of the first must equal the second-last of the second"
    if a.ndim > 2 or b.ndim > 2:
        raise ShapeError(
            f"{first} and {second} shapes cannot be multiplied: {tuple(a.shape)} and {tuple(b.shape)} have {a.shape[-1]} columns and {b.shape[-2]} rows; {remedy}"
        )
    raise ShapeError(f"{first} and {second} shapes cannot be multiplied ({_sizes(a)} and {_sizes(b)}): {remedy}")


def _same_batch(function: str, batch1: Array, batch2: Array) -> None:
    """Raise if two stacks of matrices cannot be multiplied pairwise."""
    _ndim(function, 3, batch1=batch1, batch2=batch2)
    if batch1.shape[0] != batch2.shape[0] or batch1.shape[2] != batch2.shape[1]:
        raise ShapeError(
            f"{function}: Expected size for first two dimensions of batch2 tensor to be: [{batch1.shape[0]}, {batch1.shape[2]}] "
            f"but got: [{batch2.shape[0]}, {batch2.shape[1]}]: batch1 is {_sizes(batch1)} and batch2 {_sizes(batch2)}. "
            "nr.matmul broadcasts the batch dimensions; .mT transposes the matrices"
        )


def multiply(a: Array, b: Array) -> Array:
    """``a @ b`` of arrays of one dtype and fitting shapes, in that dtype."""
    return jnp.matmul(a, b, precision=precision(), preferred_element_type=a.dtype)


# --- matmul and its named cases ------------------------------------------------------------------------------------


@op(method=("matmul", "__matmul__"))
def matmul(input: Array, other: Array) -> Array:
    """The matrix product, with broadcasting over all dimensions but the last two.

    Two vectors give their dot product; a vector on the left is a row, on the right a column, and its dimension disappears from the result.

    Args:
        input: a tensor of at least one dimension.
        other: a tensor of at least one dimension, of the same dtype.

    Raises:
        RuntimeError: the shapes do not fit, or the dtypes differ.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.matmul(nr.ones(10, 3, 4), nr.ones(4, 5)).shape
        neurarust_jax.Size([10, 3, 5])
        >>> nr.tensor([1.0, 2.0]) @ nr.tensor([[1.0, 0.0], [0.0, 2.0]])
        tensor([1., 4.])
    """
    return _matmul(*_matmul_operands(input, other))


@op(method="__rmatmul__")
def _reverse_matmul(input: Array, other: Array) -> Array:
    """``other @ input``."""
    return _matmul(*_matmul_operands(other, input))


def _matmul_operands(a, b) -> tuple[Array, Array]:
    for x in (a, b):
        if not jnp.ndim(x):
            raise ShapeError(f"both arguments to matmul need to be at least 1D, but they are {jnp.ndim(a)}D and {jnp.ndim(b)}D; write a * b")
    return _same_dtype("matmul", mat1=a, mat2=b)


def _matmul(a: Array, b: Array) -> Array:
    if a.ndim == b.ndim == 1:
        return _dot(a, b, "matmul")
    if b.ndim == 1:
        if a.ndim == 2:
            return _mv(a, b)
        _multipliable(a, b[:, None])
    elif a.ndim == 1:
        _multipliable(a[None], b)
    else:
        _multipliable(a, b)
        broadcast_shapes(a.shape[:-2], b.shape[:-2])
    return multiply(a, b)


@op
def mm(input: Array, mat2: Array) -> Array:
    """The product of two matrices, without broadcasting. See `matmul`."""
    input, mat2 = _same_dtype("mm", mat1=input, mat2=mat2)
    _ndim("mm", 2, mat1=input, mat2=mat2)
    _multipliable(input, mat2)
    return multiply(input, mat2)


@op
def bmm(input: Array, mat2: Array) -> Array:
    """The products of matrices stacked along the first dimension: ``(b, n, m)`` with ``(b, m, p)`` gives ``(b, n, p)``, without broadcasting."""
    input, mat2 = _same_dtype("bmm", batch1=input, batch2=mat2)
    _same_batch("bmm", input, mat2)
    return multiply(input, mat2)


@op
def mv(input: Array, vec: Array) -> Array:
    """The product of a matrix and a vector."""
    input, vec = _same_dtype("mv", mat=input, vec=vec)
    if input.ndim != 2 or vec.ndim != 1:
        raise ShapeError(f"vector + matrix @ vector expected, got 1D, {input.ndim}D, {vec.ndim}D: mv takes a matrix and a vector, and nr.matmul anything")
    return _mv(input, vec)


def _mv(mat: Array, vec: Array) -> Array:
    if mat.shape[1] != vec.shape[0]:
        remedy = "; transpose the matrix: mat.T" if mat.shape[0] == vec.shape[0] else ""
        raise ShapeError(
            f"size mismatch, got input ({mat.shape[0]}), mat ({_sizes(mat)}), vec ({vec.shape[0]}): "
            f"shapes {tuple(mat.shape)} and {tuple(vec.shape)} cannot be multiplied{remedy}"
        )
    return multiply(mat, vec)


@op
def dot(input: Array, tensor: Array) -> Array:
    """The dot product of two vectors, without conjugation.

    Args:
        input: a 1-d tensor.
        tensor: a 1-d tensor of the same length and dtype.
    """
    return _dot(*_same_dtype("dot", input=input, tensor=tensor), "dot")


@op
def vdot(input: Array, other: Array) -> Array:
    """The dot product of two vectors, the first conjugated."""
    input, other = _same_dtype("vdot", input=input, other=other)
    return _dot(jnp.conj(input), other, "vdot")


def _dot(a: Array, b: Array, function: str) -> Array:
    if a.ndim != 1 or b.ndim != 1:
        raise ShapeError(
            f"1D tensors expected, but got {a.ndim}D and {b.ndim}D tensors: {function} of shapes {tuple(a.shape)} and {tuple(b.shape)}; use matmul"
        )
    if a.shape != b.shape:
        raise ShapeError(
            f"inconsistent tensor size, expected tensor [{a.shape[0]}] and src [{b.shape[0]}] to have the same number of elements, "
            f"but got {a.shape[0]} and {b.shape[0]} elements respectively"
        )
    return multiply(a, b)


@op
def inner(input: Array, other: Array) -> Array:
    """The dot products along the last dimension of both: shape ``input.shape[:-1] + other.shape[:-1]``. With a 0-d tensor, the product."""
    if not jnp.ndim(input) or not jnp.ndim(other):
        input, other = promote(input, other)
        return input * other
    input, other = _same_dtype("inner", input=input, other=other)
    if input.shape[-1] != other.shape[-1]:
        raise ShapeError(f"inner() the last dimension must match on both input tensors but got shapes {list(input.shape)} and {list(other.shape)}")
    return jnp.tensordot(input, other, (-1, -1), precision=precision(), preferred_element_type=input.dtype)


@op(method=("outer", "ger"))
def outer(input: Array, vec2: Array) -> Array:
    """The products of each element of `input` with each of `vec2`: the matrix ``input[:, None] * vec2``.

    Args:
        input: a 1-d tensor.
        vec2: a 1-d tensor.
    """
    if jnp.ndim(input) != 1 or jnp.ndim(vec2) != 1:
        raise ShapeError(f"outer: Expected 1-D arguments, but got {jnp.ndim(input)}-D and {jnp.ndim(vec2)}-D; write a[..., None] * b")
    input, vec2 = promote(input[:, None], vec2[None, :])
    return input * vec2


# --- a product added to a tensor -----------------------------------------------------------------------------------


def _combined(function: str, input: Array, product: Array, beta, alpha) -> Array:
    """``beta * input + alpha * product``; where `beta` is 0, `input` counts as 0 even if NaN. Integer tensors take the factors' whole part."""
    try:
        shape = jnp.broadcast_shapes(input.shape, product.shape)
    except ValueError:
        shape = None
    if shape != product.shape:
        raise ShapeError(f"{function}: input of shape {tuple(input.shape)} cannot be expanded to the shape of the product, {tuple(product.shape)}")
    if not (isinstance(alpha, int) and alpha == 1):
        product = cast(alpha, product.dtype) * product
    if isinstance(beta, int) and beta == 1:
        return input + product
    beta = cast(beta, input.dtype)
    return jnp.where(beta == 0, jnp.zeros_like(input), beta * input) + product


@op
def addmm(input: Array, mat1: Array, mat2: Array, *, beta: Array | float = 1, alpha: Array | float = 1) -> Array:
    """``beta * input + alpha * (mat1 @ mat2)``.

    Args:
        input: a tensor that broadcasts to the product.
        mat1: a matrix.
        mat2: a matrix of the same dtype.
        beta: a factor; where it is 0, `input` is ignored, NaN and infinity included.
        alpha: a factor.
    """
    input, mat1, mat2 = _same_dtype("addmm", input=input, mat1=mat1, mat2=mat2)
    _ndim("addmm", 2, mat1=mat1, mat2=mat2)
    _multipliable(mat1, mat2)
    return _combined("addmm", input, multiply(mat1, mat2), beta, alpha)


@op
def addmv(input: Array, mat: Array, vec: Array, *, beta: Array | float = 1, alpha: Array | float = 1) -> Array:
    """``beta * input + alpha * (mat @ vec)``. See `addmm`."""
    input, mat, vec = _same_dtype("addmv", input=input, mat=mat, vec=vec)
    if input.ndim > 1 or mat.ndim != 2 or vec.ndim != 1:
        raise ShapeError(f"vector + matrix @ vector expected, got {input.ndim}D, {mat.ndim}D, {vec.ndim}D")
    return _combined("addmv", input, _mv(mat, vec), beta, alpha)


@op
def addr(input: Array, vec1: Array, vec2: Array, *, beta: Array | float = 1, alpha: Array | float = 1) -> Array:
    """``beta * input + alpha * outer(vec1, vec2)``. See `addmm`."""
    if jnp.ndim(vec1) != 1 or jnp.ndim(vec2) != 1:
        raise ShapeError(f"addr: Expected 1-D argument vec1 and vec2, but got {jnp.ndim(vec1)}-D and {jnp.ndim(vec2)}-D")
    dtype = dtypes.result_numpy_dtype(input, vec1, vec2)
    input, vec1, vec2 = (cast(x, dtype) for x in (input, vec1, vec2))
    for name, factor in (("beta", beta), ("alpha", alpha)):
        if not is_inexact(input) and not isinstance(factor, int) and factor.dtype.kind in "fc":
            raise DtypeError(f"For integral input tensors, argument {name} must not be a floating point number: addr of {input.dtype} tensors")
    return _combined("addr", input, vec1[:, None] * vec2, beta, alpha)


@op
def baddbmm(input: Array, batch1: Array, batch2: Array, *, beta: Array | float = 1, alpha: Array | float = 1) -> Array:
    """``beta * input + alpha * bmm(batch1, batch2)``. See `addmm`."""
    input, batch1, batch2 = _same_dtype("baddbmm", input=input, batch1=batch1, batch2=batch2)
    _same_batch("baddbmm", batch1, batch2)
    return _combined("baddbmm", input, multiply(batch1, batch2), beta, alpha)


@op
def addbmm(input: Array, batch1: Array, batch2: Array, *, beta: Array | float = 1, alpha: Array | float = 1) -> Array:
    """``beta * input + alpha * sum over b of (batch1[b] @ batch2[b])``. See `addmm`."""
    input, batch1, batch2 = _same_dtype("addbmm", input=input, batch1=batch1, batch2=batch2)
    _same_batch("addbmm", batch1, batch2)
    product = jnp.einsum("bnm,bmp->np", batch1, batch2, precision=precision(), preferred_element_type=batch1.dtype)
    return _combined("addbmm", input, product, beta, alpha)


# --- einsum, tensordot, kron ---------------------------------------------------------------------------------------


@op(name="_einsum", method=False)
def _einsum(subscripts: tuple[tuple, ...], output: tuple | None, operands: Sequence[Array]) -> Array:
    """`einsum` with the labels of each operand given as tuples of letters and `Ellipsis`; `output` may be `None`."""
    operands = [strong(x) for x in operands]
    batch = 0  # how many dimensions the longest ellipsis stands for
    for i, (labels, x) in enumerate(zip(subscripts, operands, strict=True)):
        named = len([label for label in labels if label is not ...])
        if named > x.ndim or (named < x.ndim and ... not in labels):
            raise ShapeError(
                f"einsum(): the number of subscripts in the equation ({named}) does not match the number of dimensions ({x.ndim}) for operand {i} "
                f"of shape {tuple(x.shape)}{'' if ... in labels else ' and no ellipsis was given'}"
            )
        if ... in labels:
            batch = max(batch, x.ndim - named)
    expanded = [_expand_ellipsis(labels, x.ndim - len(labels) + 1) for labels, x in zip(subscripts, operands, strict=True)]
    if output is None:
        flat = [label for labels in expanded for label in labels]
        ellipsis = _expand_ellipsis((...,), batch)
        output = ellipsis + tuple(sorted(label for label in set(flat) if isinstance(label, str) and flat.count(label) == 1))
    else:
        output = _expand_ellipsis(output, batch)
    sizes: dict = {}
    for i, (labels, x) in enumerate(zip(expanded, operands, strict=True)):
        for label, size in zip(labels, x.shape, strict=True):
            if x.shape[labels.index(label)] != size:
                raise ShapeError(f"einsum(): subscript {label} is repeated for operand {i} but the sizes don't match, {size} != {x.shape[labels.index(label)]}")
            if sizes.setdefault(label, size) == 1:
                sizes[label] = size
            if size not in (1, sizes[label]):
                name = label if isinstance(label, str) else "..."
                raise ShapeError(
                    f"einsum(): subscript {name} has size {size} for operand {i} which does not broadcast with previously seen size {sizes[label]}"
                )
    for label in output:
        if label not in sizes:
            raise ShapeError(f"einsum(): output subscript {label} does not appear in the equation for any input operand")
    operands = _einsum_operands(operands, expanded, output)
    numbers = {label: n for n, label in enumerate(sizes)}
    arguments = []
    for labels, x in zip(expanded, operands, strict=True):
        kept = [d for d, label in enumerate(labels) if x.shape[d] == sizes[label]]
        if len(kept) < x.ndim:  # dimensions of size 1 that broadcast: jnp.einsum takes equal sizes only
            x = x.reshape([x.shape[d] for d in kept])
        arguments += [x, [numbers[labels[d]] for d in kept]]
    output_numbers = [numbers[label] for label in output]
    return jnp.einsum(*arguments, output_numbers, precision=precision(), preferred_element_type=operands[0].dtype)


def _einsum_operands(operands: Sequence[Array], subscripts: Sequence[tuple], output: tuple) -> Sequence[Array]:
    """The operands with one dtype: a matrix product takes equal ones, elementwise products promote, and sums of integers are int64."""
    occurrences = [label for labels in subscripts for label in set(labels)]
    summed = set(occurrences) - set(output)
    if any(occurrences.count(label) > 1 for label in summed):
        return _same_dtype("einsum", **{f"operand {i}": x for i, x in enumerate(operands)})
    dtype = dtypes.result_numpy_dtype(*operands)
    if summed and dtype.kind in "biu":
        dtype = jnp.int64
    return [cast(x, dtype) for x in operands]


def _expand_ellipsis(labels: tuple, count: int) -> tuple:
    """Labels with the ellipsis replaced by numbers that count dimensions from the right."""
    if ... not in labels:
        return labels
    place = labels.index(...)
    return labels[:place] + tuple(range(count - 1, -1, -1)) + labels[place + 1 :]


def einsum(*args):
    """Sums of products of the operands' elements, by Einstein's notation.

    Args:
        args: an equation and the operands, as ``einsum("bij,bjk->bik", a, b)``; or each operand followed by the list of its subscripts, numbers
            from 0 to 51, and last, if wanted, the subscripts of the result: ``einsum(a, [0, 1], b, [1, 2], [0, 2])``. Every letter names a
            dimension. Letters that are not in the result are summed over; ``...`` stands for dimensions that broadcast. Without ``->``, the
            result has the dimensions of the ellipsis and then the letters that occur once, in alphabetical order.

    Raises:
        RuntimeError: the equation does not fit the operands, or their dtypes differ.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.einsum("ij,j->i", nr.tensor([[1.0, 2.0], [3.0, 4.0]]), nr.tensor([1.0, 10.0]))
        tensor([21., 43.])
    """
    if not args:
        raise ArgumentError("einsum(): must provide at least one operand; write nr.einsum('ij,jk->ik', a, b)")
    if not isinstance(args[0], str):
        return _einsum_of_lists(args)
    equation, *operands = args
    if len(operands) == 1 and isinstance(operands[0], list | tuple):
        operands = operands[0]
    if not operands:
        raise ArgumentError("einsum(): must provide at least one operand; write nr.einsum('ij,jk->ik', a, b)")
    left, arrow, right = equation.partition("->")
    subscripts = tuple(_letters(part, equation) for part in left.split(","))
    if len(subscripts) != len(operands):
        more = "fewer" if len(operands) < len(subscripts) else "more"
        raise ShapeError(f"einsum(): {more} operands were provided than specified in the equation: {len(operands)} for {equation!r}")
    return _einsum(subscripts, _letters(right, equation, is_output=True) if arrow else None, operands)


def _letters(part: str, equation: str, is_output: bool = False) -> tuple:
    """One operand's subscripts as letters and `Ellipsis`."""
    part = part.replace(" ", "")
    before, ellipsis, after = part.partition("...")
    if "." in before or "." in after:
        raise ShapeError(f"einsum(): found '.' in {equation!r} that is not part of an ellipsis ('...'), or more than one ellipsis for one operand")
    labels = [*before, *([...] if ellipsis else []), *after]
    for label in labels:
        if label is not ... and not (label.isascii() and label.isalpha()):
            raise ShapeError(f"einsum(): invalid subscript given: {label!r} in {equation!r}; subscripts must be in [a-zA-Z]")
        if is_output and label is not ... and labels.count(label) > 1:
            raise ShapeError(f"einsum(): output subscript {label} appears more than once in the output of {equation!r}")
    return tuple(labels)


def _einsum_of_lists(args: tuple):
    if len(args) < 2:
        raise ArgumentError("einsum(): operands in the sublist format are each followed by the list of its subscripts")
    pairs, output = args, None
    if len(args) % 2:
        pairs, output = args[:-1], _letters_of_numbers(args[-1])
    return _einsum(tuple(_letters_of_numbers(s) for s in pairs[1::2]), output, pairs[0::2])


_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def _letters_of_numbers(numbers: Sequence) -> tuple:
    for n in numbers:
        if n is not ... and not 0 <= n < 52:
            raise ArgumentError(f"einsum(): subscripts in the sublist format are in the range [0, 52), got {n}")
    return tuple(n if n is ... else _ALPHABET[n] for n in numbers)


@op(name="tensordot", method=False)
def _tensordot(a: Array, b: Array, dims: int | tuple = 2) -> Array:
    """The contraction of two tensors over several dimensions."""
    a, b = _same_dtype("tensordot", a=a, b=b)
    if isinstance(dims, int):
        if dims < 0:
            raise ShapeError(f"tensordot expects dims >= 0, but got dims={dims}")
        if dims > min(a.ndim, b.ndim):
            raise ShapeError(f"tensordot expects dims < ndim_a or ndim_b, but got dims={dims} for shapes {tuple(a.shape)} and {tuple(b.shape)}")
        dims = (tuple(range(a.ndim - dims, a.ndim)), tuple(range(dims)))
    left, right = ((d,) if isinstance(d, int) else d for d in dims)
    if len(left) != len(right):
        raise ShapeError(f"both dimension lists should have same length, got {list(left)} and {list(right)}")
    left, right = wrap_dims(left, a.ndim, empty_is_all=False), wrap_dims(right, b.ndim, empty_is_all=False)
    for i, j in zip(left, right, strict=True):
        if a.shape[i] != b.shape[j]:
            if b.shape[j] == 1:
                a = jnp.sum(a, i, keepdims=True, dtype=a.dtype)
            elif a.shape[i] == 1:
                b = jnp.sum(b, j, keepdims=True, dtype=b.dtype)
            else:
                raise ShapeError(
                    f"contracted dimensions need to match, but first has size {a.shape[i]} in dim {i} and second has size {b.shape[j]} in dim {j}: "
                    f"shapes {tuple(a.shape)} and {tuple(b.shape)}"
                )
    return jnp.tensordot(a, b, (left, right), precision=precision(), preferred_element_type=a.dtype)


@numpy_names
def tensordot(a, b, dims=2):
    """The contraction of two tensors over several dimensions.

    Args:
        a: a tensor.
        b: a tensor of the same dtype.
        dims: how many dimensions to contract, the last of `a` with the first of `b`; or two lists, the dimensions of `a` and those of `b`.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.tensordot(nr.ones(3, 4, 5), nr.ones(4, 3, 2), dims=([1, 0], [0, 1])).shape
        neurarust_jax.Size([5, 2])
    """
    if isinstance(dims, Tensor):
        dims = dims.tolist()
    return _tensordot(a, b, dims)


@op
def kron(input: Array, other: Array) -> Array:
    """The Kronecker product: every element of `input` times the whole of `other`, in blocks. Shapes are padded with leading ones."""
    dtype = dtypes.result_numpy_dtype(input, other)
    input, other = cast(input, dtype), cast(other, dtype)
    ndim = max(input.ndim, other.ndim)
    a, b = (x.reshape((1,) * (ndim - x.ndim) + x.shape) for x in (input, other))
    product = a.reshape([n for size in a.shape for n in (size, 1)]) * b.reshape([n for size in b.shape for n in (1, size)])
    return product.reshape([m * n for m, n in zip(a.shape, b.shape, strict=True)])


@op(name="chain_matmul", method=False)
def _chain_matmul(matrices: Sequence[Array]) -> Array:
    """The product of several matrices in the cheapest order."""
    matrices = _same_dtype("chain_matmul", **{f"matrix {i}": x for i, x in enumerate(matrices)})
    for x in matrices:
        _ndim("chain_matmul", 2, matrix=x)
    return multiply_chain(matrices)


def multiply_chain(matrices: Sequence[Array]) -> Array:
    """The product of several matrices in the order that takes the fewest multiplications."""
    for a, b in zip(matrices, matrices[1:], strict=False):
        _multipliable(a, b)
    n = len(matrices)
    sizes = [matrices[0].shape[0], *(x.shape[1] for x in matrices)]
    cost = [[0] * n for _ in range(n)]
    split = [[0] * n for _ in range(n)]
    for length in range(1, n):  # Cormen et al., Introduction to Algorithms, "Matrix-chain multiplication"
        for i in range(n - length):
            j = i + length
            costs = [cost[i][k] + cost[k + 1][j] + sizes[i] * sizes[k + 1] * sizes[j + 1] for k in range(i, j)]
            cost[i][j] = min(costs)
            split[i][j] = i + costs.index(cost[i][j])

    def product(i: int, j: int) -> Array:
        return matrices[i] if i == j else multiply(product(i, split[i][j]), product(split[i][j] + 1, j))

    return product(0, n - 1)


@numpy_names
def chain_matmul(*matrices):
    """The product of several matrices in the order that takes the fewest multiplications. `nr.linalg.multi_dot` is its successor."""
    if not matrices:
        raise ShapeError("chain_matmul(): Expected one or more matrices")
    return _chain_matmul(matrices)


@op
def cross(input: Array, other: Array, dim: int | None = None) -> Array:
    """The cross product of vectors of three elements along `dim`.

    Args:
        input: a tensor with 3 elements along `dim`.
        other: a tensor with 3 elements along `dim`; the other dimensions broadcast.
        dim: the dimension of the vectors. Default: the first of size 3.
    """
    if dim is None:
        shape = broadcast_shapes(jnp.shape(input), jnp.shape(other))
        if 3 not in shape:
            raise ShapeError(f"no dimension of size 3 in input: shape {shape}")
        dim = shape.index(3) - len(shape)
    return cross_along(input, other, dim)


def cross_along(input: Array, other: Array, dim: int) -> Array:
    """The cross product along one dimension of tensors of the same number of dimensions."""
    input, other = promote(input, other)
    refuse(input, "b", "cross")
    if dim < 0 and input.ndim != other.ndim:  # `dim` found from the right
        ndim = max(input.ndim, other.ndim)
        input, other = (x.reshape((1,) * (ndim - x.ndim) + x.shape) for x in (input, other))
    dim = wrap_dim(dim, input.ndim)
    if input.shape[dim] != 3 or other.shape[dim] != 3:
        raise ShapeError(f"linalg.cross: inputs dimension {dim} must have length 3. Got {input.shape[dim]} and {other.shape[dim]}")
    input, other = jnp.broadcast_arrays(input, other)
    a, b = jnp.moveaxis(input, dim, 0), jnp.moveaxis(other, dim, 0)
    product = [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
    return jnp.stack(product, dim)


# --- pairwise distances --------------------------------------------------------------------------------------------


def _norm_of(difference: Array, p: float) -> Array:
    """The p-norm along the last dimension; its gradient is 0 where the norm is 0."""
    size = jnp.abs(difference)
    if p == 0:
        return jnp.sum(difference != 0, -1, dtype=difference.dtype)
    if p == 1:
        return jnp.sum(jnp.sign(lax.stop_gradient(difference)) * difference, -1)
    if math.isinf(p):
        largest = lax.stop_gradient(jnp.max(size, -1, keepdims=True, initial=0.0))
        towards = jnp.where(size == largest, jnp.sign(lax.stop_gradient(difference)), 0)  # all that tie get the whole gradient, as in PyTorch
        return largest[..., 0] + jnp.sum(towards * (difference - lax.stop_gradient(difference)), -1)
    powers = difference * difference if p == 2 else jnp.where(size == 0, 0, jnp.where(size == 0, 1, size) ** p)
    total = jnp.sum(powers, -1)
    root = jnp.where(total == 0, 1, total)
    return jnp.where(total == 0, 0, jnp.sqrt(root) if p == 2 else root ** (1 / p))


@op(method=False)
def cdist(x1: Array, x2: Array, p: float = 2.0, compute_mode: str | None = "use_mm_for_euclid_dist_if_necessary") -> Array:
    """The p-norm distance of every row of `x1` to every row of `x2`.

    Args:
        x1: a tensor of shape ``(..., P, M)``.
        x2: a tensor of shape ``(..., R, M)``; the leading dimensions broadcast.
        p: the norm, from 0 to infinity. At 0 it counts the elements that differ.
        compute_mode: whether Euclidean distances come by way of a matrix product: `"use_mm_for_euclid_dist_if_necessary"` for more than 25 rows,
            `"use_mm_for_euclid_dist"`, `"donot_use_mm_for_euclid_dist"`.

    Returns:
        A tensor of shape ``(..., P, R)``. The gradient is 0 where the distance is.
    """
    x1, x2 = strong(x1), strong(x2)
    for name, x in (("X1", x1), ("X2", x2)):
        if not is_inexact(x) or x.dtype.kind == "c":
            raise DtypeError(f"cdist only supports floating-point dtypes, {name} got: {dtypes.from_numpy(x.dtype)}; write {name.lower()}.float()")
        if x.ndim < 2:
            raise ShapeError(f"cdist only supports at least 2D tensors, {name} got: {x.ndim}D")
    if x1.shape[-1] != x2.shape[-1]:
        raise ShapeError(f"X1 and X2 must have the same number of columns. X1: {x1.shape[-1]} X2: {x2.shape[-1]}")
    modes = ("use_mm_for_euclid_dist_if_necessary", "use_mm_for_euclid_dist", "donot_use_mm_for_euclid_dist")
    if compute_mode is not None and compute_mode not in modes:
        raise ArgumentError(f"{compute_mode} is not a valid value for compute_mode; expected one of {', '.join(modes)}")
    if p < 0:
        raise ShapeError(f"cdist only supports non-negative p values, got {p}")
    batch = broadcast_shapes(x1.shape[:-2], x2.shape[:-2])
    dtype = dtypes.result_numpy_dtype(x1, x2)
    x1, x2 = cast(x1, dtype), cast(x2, dtype)
    if 0 in (*batch, x1.shape[-2], x2.shape[-2], x1.shape[-1]):
        return jnp.zeros((*batch, x1.shape[-2], x2.shape[-2]), dtype)
    by_product = compute_mode == modes[1] or (compute_mode in (None, modes[0]) and max(x1.shape[-2], x2.shape[-2]) > 25)
    if p != 2 or not by_product:
        return _norm_of(x1[..., :, None, :] - x2[..., None, :, :], p)
    squares = jnp.sum(x1 * x1, -1)[..., :, None] + jnp.sum(x2 * x2, -1)[..., None, :] - 2 * multiply(x1, jnp.swapaxes(x2, -1, -2))
    return jnp.where(squares > 0, jnp.sqrt(jnp.where(squares > 0, squares, 1)), 0)


@op(method=False)
def pdist(input: Array, p: float = 2.0) -> Array:
    """The p-norm distances of every pair of rows of a matrix: the part of ``cdist(input, input, p)`` above the diagonal, row by row."""
    input = strong(input)
    if input.ndim != 2:
        raise ShapeError(f"pdist only supports 2D tensors, got: {input.ndim}D")
    if p < 0:
        raise ShapeError(f"pdist only supports non-negative p values, got {p}")
    first, second = jnp.triu_indices(input.shape[0], 1)
    return _norm_of(input[first] - input[second], p)


ger = outer
