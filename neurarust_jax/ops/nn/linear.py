"""Linear maps."""

from typing import Any

import jax
import jax.export
import jax.numpy as jnp

from ... import dtypes
from ...dispatch import Array, op
from ...errors import DtypeError, ShapeError
from ..matmul import precision

__all__ = ["bilinear", "grouped_mm", "linear"]


@op(method=False)
def linear(input: Array, weight: Array, bias: Array | None = None) -> Array:
    r"""``input @ weight.T + bias``.

    Args:
        input: shape (\*, in_features), any number of dimensions, or none.
        weight: shape (out_features, in_features) or (in_features,).
        bias: shape (out_features) or ().

    Returns:
        Shape (\*, out_features), or (\*) for a weight of one dimension.

    Raises:
        RuntimeError: shapes do not fit, or dtypes differ.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.nn.functional.linear(nr.ones(2, 3), nr.ones(4, 3)).shape
        neurarust_jax.Size([2, 4])
    """
    if weight.ndim not in (1, 2) or not input.ndim or input.shape[-1] != weight.shape[-1]:
        rows = " and ".join(f"{tuple(s)}" for s in (input.shape, weight.shape))
        raise ShapeError(
            f"mat1 and mat2 shapes cannot be multiplied: linear got input and weight of shapes {rows}, and the last dimension of the input must be "
            f"{weight.shape[-1] if weight.ndim else 'that of the weight'}. Reshape the input, or set in_features={input.shape[-1] if input.ndim else 1}."
        )
    require_same_dtype("linear", input=input, weight=weight, bias=bias)
    output = jnp.matmul(input, weight.T, precision=precision())
    return output if bias is None else output + bias


def require_same_dtype(function: str, **tensors: Array | None) -> None:
    """Raise if the tensors, `None`s aside, differ in dtype, as PyTorch's matrix ops do."""
    given = {name: t.dtype for name, t in tensors.items() if t is not None}
    if len(set(given.values())) > 1:
        listed = ", ".join(f"{name} {dtype}" for name, dtype in given.items())
        first = next(iter(given.values()))
        raise DtypeError(f"{function} expects tensors of one dtype, got {listed}; write .to(nr.{first}) or use nr.amp.autocast")


@op(method=False)
def bilinear(input1: Array, input2: Array, weight: Array, bias: Array | None = None) -> Array:
    r"""``input1 @ weight[o] @ input2 + bias[o]`` for each output `o`.

    Args:
        input1: shape (\*, in1_features).
        input2: shape (\*, in2_features), of the same shape but for the last dimension.
        weight: shape (out_features, in1_features, in2_features).
        bias: shape (out_features).

    Returns:
        Shape (\*, out_features).

    Raises:
        RuntimeError: shapes do not fit, or dtypes differ.
    """
    if weight.ndim != 3:
        raise ShapeError(f"bilinear(): weight has shape (out_features, in1_features, in2_features), got {tuple(weight.shape)}")
    if input1.ndim != input2.ndim or input1.shape[:-1] != input2.shape[:-1]:
        raise ShapeError(f"bilinear(): input batch dimensions do not match: got {tuple(input1.shape)} and {tuple(input2.shape)}")
    for number, x in ((1, input1), (2, input2)):
        if not x.ndim or x.shape[-1] != weight.shape[number]:
            raise ShapeError(
                f"bilinear(): input{number} size does not match weight size: got {tuple(x.shape)} but expected a last dimension of {weight.shape[number]}"
            )
    if bias is not None and bias.shape != weight.shape[:1]:
        raise ShapeError(f"bilinear(): bias size does not match weight size: got {tuple(bias.shape)} but expected {weight.shape[:1]}")
    require_same_dtype("bilinear", input1=input1, input2=input2, weight=weight, bias=bias)
    output = jnp.einsum("...i,oij,...j->...o", input1, weight, input2, precision=precision())
    return output if bias is None else output + bias


@op(method=False)
def grouped_mm(mat_a: Array, mat_b: Array, *, offs: Array | None = None, bias: Array | None = None, out_dtype: Any = None) -> Array:
    """Matrix products of groups of different sizes, as the experts of a mixture take them.

    Each matrix of three dimensions holds one for each group; of one of two dimensions the groups take slices, which end at `offs`. What lies beyond the last of
    them counts for nothing: its results are 0.

    Args:
        mat_a: shape (G, M, K), or (M, K) of which the groups take rows, or with a `mat_b` of two dimensions columns.
        mat_b: shape (G, K, N), or (K, N) of which the groups take columns, or with a `mat_a` of two dimensions rows.
        offs: shape (G), int32, ascending: where the groups end. Needed unless both matrices have three dimensions.
        bias: must be `None`, as in PyTorch.
        out_dtype: must be the dtype of the matrices, as in PyTorch.

    Returns:
        Shape (G, M, N) where both matrices have the same number of dimensions, else (M, N).

    Raises:
        RuntimeError: shapes do not fit, dtypes differ, `offs` is missing or too many, or something is not supported.

    Examples:
        >>> import neurarust_jax as nr
        >>> tokens, experts = nr.ones(4, 2), nr.stack([nr.ones(2, 3), nr.full((2, 3), 2.0)])
        >>> nr.nn.functional.grouped_mm(tokens, experts, offs=nr.tensor([1, 4], dtype=nr.int32))[:, 0]
        tensor([2., 4., 4., 4.])
    """
    both = f"mat_a {tuple(mat_a.shape)} and mat_b {tuple(mat_b.shape)}"
    if mat_a.ndim not in (2, 3) or mat_b.ndim not in (2, 3):
        raise ShapeError(f"grouped_mm: mat_a and mat_b have to be 2 or 3 dimensional, got {both}")
    if mat_a.shape[-1] != mat_b.shape[-2]:
        raise ShapeError(f"grouped_mm: contraction dimension of mat_a and mat_b must match, got {both}")
    if (offs is None) != (mat_a.ndim == mat_b.ndim == 3):
        raise ShapeError(
            f"grouped_mm: Have to provide offsets if there is a 2d matrix, or no offset if both matrices are 3d; got {both}, offs {'missing' if offs is None else 'given'}"
        )
    if bias is not None:
        raise ShapeError("grouped_mm: Bias not supported yet; add it to the result")
    require_same_dtype("grouped_mm", mat_a=mat_a, mat_b=mat_b)
    if mat_a.dtype.kind not in "fV":
        raise DtypeError(f"grouped_mm: expected floating-point matrices, got {mat_a.dtype}")
    if out_dtype is not None and dtypes.as_dtype(out_dtype).dtype != mat_a.dtype:
        raise DtypeError(f"grouped_mm: output dtype must match `mat_a` dtype, {mat_a.dtype}, got {out_dtype}")
    if offs is None:
        if mat_a.shape[0] != mat_b.shape[0]:
            raise ShapeError(f"grouped_mm: batched dimension has to match, got {both}")
        return jnp.matmul(mat_a, mat_b, precision=precision())
    if offs.ndim != 1 or offs.dtype != jnp.int32:
        raise DtypeError(f"grouped_mm: offs has to be 1D, and Offsets have to be int32; got shape {tuple(offs.shape)} of {offs.dtype}")
    for x in (mat_a, mat_b):
        if x.ndim == 3 and x.shape[0] != offs.shape[0]:
            raise ShapeError(f"grouped_mm: matrix batch sizes have to match, got {both} with {offs.shape[0]} offsets")
    if mat_b.ndim == 3:
        return _of_groups_of_rows(mat_a, mat_b, offs)
    if mat_a.ndim == 3:
        return _of_groups_of_rows(mat_b.T, jnp.swapaxes(mat_a, 1, 2), offs).T
    return _sums_over_groups(mat_a, mat_b, offs)


# `lax.ragged_dot` multiplies every row with the matrix of every group on processors other than TPUs, and JAX can map it over an axis only if all its operands
# have that axis, which the derivatives of derivatives do not. So the groups are cut into blocks of one length, the last of each filled up, that are multiplied at once.


def _of_groups_of_rows(rows: Array, matrices: Array, ends: Array) -> Array:
    """Each of the rows (M, K) times the matrix (G, K, N) of its group."""
    if 0 in (*rows.shape, *matrices.shape):
        return jnp.zeros((rows.shape[0], matrices.shape[2]), rows.dtype)
    group, position = _blocks(ends, rows.shape[0])
    wide = jnp.promote_types(rows.dtype, jnp.float32)  # in which the gradients of a matrix from its blocks add up
    products = jnp.matmul(_at(rows, position), matrices.astype(wide)[group].astype(rows.dtype), precision=precision())
    return jnp.zeros((rows.shape[0], matrices.shape[2]), rows.dtype).at[position].add(products, mode="drop")


def _sums_over_groups(left: Array, right: Array, ends: Array) -> Array:
    """For each group the product of its columns of (M, K) with its rows of (K, N)."""
    shape = (ends.shape[0], left.shape[0], right.shape[1])
    if 0 in (*left.shape, *shape):
        return jnp.zeros(shape, left.dtype)
    group, position = _blocks(ends, right.shape[0])
    wide = jnp.promote_types(left.dtype, jnp.float32)
    products = jnp.matmul(jnp.swapaxes(_at(left.T, position), 1, 2), _at(right, position), precision=precision(), preferred_element_type=wide)
    return jnp.zeros(shape, wide).at[group].add(products).astype(left.dtype)


def _at(rows: Array, position: Array) -> Array:
    """The rows at the positions, 0 where there is none."""
    return rows.at[position].get(mode="fill", fill_value=0)


def _blocks(ends: Array, length: int) -> tuple[Array, Array]:
    """(the group of each block, shape (B), the positions in it, shape (B, L), which are `length` where nothing is) for groups of positions that end at `ends`.

    A block is a fourth as long as a group is on average: less than an eighth of the work is for nothing, as long as no group is much smaller than that.
    """
    groups = ends.shape[0]
    size = 128 if jax.export.is_symbolic_dim(length) else max(8, -(-length // (4 * groups)))
    starts = jnp.concatenate([jnp.zeros(1, jnp.int32), ends[:-1]])
    blocks = jnp.cumsum(-(-(ends - starts) // size), dtype=jnp.int32)  # up to and with each group
    number = jnp.arange(length // size + jax.core.min_dim(groups, length), dtype=jnp.int32)
    group = jnp.searchsorted(blocks, number, side="right").astype(jnp.int32)
    first = jnp.concatenate([jnp.zeros(1, jnp.int32), blocks])[group]
    position = starts.at[group].get(mode="fill", fill_value=length)[:, None] + (number - first)[:, None] * size + jnp.arange(size, dtype=jnp.int32)
    return jnp.minimum(group, groups - 1), jnp.where(position < ends.at[group].get(mode="fill", fill_value=0)[:, None], position, length)
