"""Distances and similarities of vectors, and their normalization. `cdist` and `pdist` are in `ops/matmul.py`."""

import jax.numpy as jnp

from ...dispatch import Array, op
from ...errors import DtypeError
from ..common import cast, floating, is_inexact, promote, strong, wrap_dims
from ..matmul import pdist
from ..moments import vector_norm
from ..reduction import widened
from .loss import held_above

__all__ = ["cosine_similarity", "normalize", "pairwise_distance", "pdist"]


@op(method=False)
def pairwise_distance(x1: Array, x2: Array, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> Array:
    r"""The p-norm of ``x1 - x2 + eps`` along the last dimension.

    Args:
        x1, x2: shape (\*, D); they broadcast.
        p: the norm. Default: 2.
        eps: keeps the distance of equal vectors from 0. Default: 1e-6.
        keepdim: keep the last dimension with length 1.

    Returns:
        Shape (\*).

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.pairwise_distance(nr.tensor([[3.0, 4.0]]), nr.zeros(1, 2))
        tensor([5.0000])
    """
    x1, x2 = promote(x1, x2)
    return vector_norm(floating(x1 - x2) + eps, p, (max(x1.ndim, x2.ndim) - 1,), keepdim)


@op(method=False)
def cosine_similarity(x1: Array, x2: Array, dim: int = 1, eps: float = 1e-8) -> Array:
    """The cosine of the angle between vectors: the dot product of ``x1 / max(|x1|, eps)`` and ``x2 / max(|x2|, eps)``.

    Args:
        x1, x2: floating-point tensors that broadcast.
        dim: the dimension that holds the vectors. Default: 1.
        eps: the least length that is divided by. Default: 1e-8.

    Returns:
        A tensor without the dimension `dim`.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.cosine_similarity(nr.tensor([1.0, 1.0]), nr.tensor([1.0, 0.0]), dim=0)
        tensor(0.7071)
    """
    x1, x2 = jnp.broadcast_arrays(*promote(x1, x2))
    if not is_inexact(x1) or x1.dtype.kind == "c":
        raise DtypeError(f"expected common dtype to be floating point, yet common dtype is {x1.dtype}; write .float()")
    dims, dtype = wrap_dims(dim, x1.ndim), x1.dtype
    unit = [x / held_above(vector_norm(x, 2, dims, True), eps) for x in (widened(x1), widened(x2))]
    return cast(jnp.sum(unit[0] * unit[1], dims), dtype)


@op(method=False)
def normalize(input: Array, p: float = 2.0, dim: int | tuple[int, ...] = 1, eps: float = 1e-12) -> Array:
    """``input / max(norm, eps)``, with the p-norm along a dimension.

    Args:
        input: a floating-point or complex tensor.
        p: the norm. Default: 2.
        dim: the dimension, or a tuple of them. Default: 1.
        eps: the least length that is divided by. Default: 1e-12.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.nn.functional.normalize(nr.tensor([[3.0, 4.0]]))
        tensor([[0.6000, 0.8000]])
    """
    x = strong(input)
    size = vector_norm(x, p, wrap_dims(dim, x.ndim), True)
    return x / jnp.where(size < eps, jnp.asarray(eps, size.dtype), size)
