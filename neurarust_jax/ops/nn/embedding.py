"""Look-up tables."""


import jax.numpy as jnp
from jax import lax

from ...autograd.graph import no_grad
from ...cells import Cell
from ...dispatch import Array, op
from ...errors import ArgumentError, ArgumentTypeError, DtypeError
from ...tensor import Tensor
from ..common import check_indices

__all__ = ["embedding"]


@op(name="_embedding", method=False, linear=True)
def _embedding(input: Array, weight: Array, padding_idx: int | None) -> Array:
    """Rows of the table."""
    rows = weight.at[input].get(mode="clip", wrap_negative_indices=False)
    return rows if padding_idx is None else jnp.where((input == padding_idx)[..., None], lax.stop_gradient(rows), rows)


@op(name="_renormalize_rows", method=False)
def _renormalize_rows(weight: Array, indices: Array, max_norm: float, norm_type: float) -> Array:
    """The table with the rows that are looked up scaled down to a norm of at most `max_norm`."""
    norms = jnp.linalg.norm(weight, ord=norm_type, axis=1, keepdims=True)
    used = jnp.zeros(weight.shape[0], bool).at[indices.reshape(-1)].set(True)[:, None]
    return jnp.where(used & (norms > max_norm), weight * (max_norm / (norms + 1e-7)), weight)


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
        max_norm: rows that are looked up and have a greater norm are scaled down, in the table itself, which must be a cell then.
        norm_type: which norm.
        scale_grad_by_freq: divide each row's gradient by how often it was looked up.
        sparse: accepted and without effect: gradients are dense.

    Returns:
        Shape (\*, embedding_dim).

    Raises:
        IndexError: an index is out of range (seen eagerly on the CPU; elsewhere it is clipped).
    """
    value = getattr(input, "_value", input)
    if value.dtype.kind not in "iu":
        raise DtypeError(f"Expected tensor for argument #1 'indices' to have one of the following scalar types: Long, Int; but got {input.dtype} instead; write .long()")
    rows = weight.shape[0]
    if padding_idx is not None:
        if not -rows <= padding_idx < rows:
            raise ArgumentError(f"padding_idx must be within num_embeddings: got {padding_idx} for {rows} rows")
        padding_idx %= rows
    check_indices("embedding", value, rows, 0)
    if max_norm is not None:
        if not isinstance(weight, Cell):
            raise ArgumentTypeError("max_norm changes the table: pass a Parameter or Buffer")
        with no_grad():
            weight._write(_renormalize_rows(weight, input, float(max_norm), float(norm_type))._value)
    if scale_grad_by_freq:
        return _embedding_scaled(input, weight, padding_idx)
    return _embedding(input, weight, padding_idx)


@op(name="_embedding_scaled", method=False)
def _embedding_scaled(input: Array, weight: Array, padding_idx: int | None) -> Array:
    """Rows of the table, whose gradient is divided by the number of look-ups."""
    count = jnp.zeros(weight.shape[0], weight.dtype).at[input.reshape(-1)].add(1)
    share = (1 / jnp.maximum(count, 1))[:, None]
    return _embedding.op.function(input, lax.stop_gradient(weight) * (1 - share) + weight * share, padding_idx)
