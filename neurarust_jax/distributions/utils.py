"""What distributions share: parameters brought to one shape, probabilities and logits into each other, properties that are computed once."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from numbers import Number
from typing import Any

import jax

from .. import dtypes
from ..autograd import enable_grad
from ..errors import ArgumentError
from ..nn import functional as F
from ..ops import broadcast_tensors, cat, clamp, finfo, log, log1p, randn, sigmoid, softmax, tensor, tril_indices, zeros
from ..tensor import Tensor, wrap

__all__ = [
    "broadcast_all", "clamp_probs", "euler_constant", "lazy_property", "logits_to_probs", "probs_to_logits", "tril_matrix_to_vec", "vec_to_tril_matrix",
]  # fmt: skip

euler_constant = 0.57721566490153286060
"""Euler's constant."""


def as_tensors(*values: Any) -> tuple[Tensor, ...]:
    """Numbers as tensors of the dtype that the first tensor among the values has, or of the default one."""
    for value in values:
        if not isinstance(value, Tensor | jax.Array | Number):
            raise ArgumentError(f"Input arguments must all be instances of Number or Tensor, got {type(value).__name__}; write nr.tensor(x)")
    values = tuple(wrap(v) if isinstance(v, jax.Array) else v for v in values)
    dtype = next((v.dtype for v in values if isinstance(v, Tensor)), dtypes.get_default_dtype())
    return tuple(v if isinstance(v, Tensor) else tensor(v, dtype=dtype) for v in values)


def broadcast_all(*values: Any) -> tuple[Tensor, ...]:
    """Tensors and numbers as tensors of one shape.

    Args:
        *values: tensors and numbers; numbers take the dtype of the first tensor, or the default one.

    Raises:
        ValueError: something is neither a number nor a tensor.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.distributions.utils.broadcast_all(1.0, nr.zeros(2))
        (tensor([1., 1.]), tensor([0., 0.]))
    """
    return tuple(broadcast_tensors(*as_tensors(*values)))


def is_traced(value: Any) -> bool:
    """Whether a tensor has no value yet, inside a compiled or transformed function."""
    return isinstance(value, Tensor) and isinstance(value._value, jax.core.Tracer)


def surely_fails(valid: Tensor) -> bool:
    """Whether a check is known to have failed somewhere. Inside a compiled or transformed function nothing is known."""
    return not is_traced(valid) and not bool(valid.all())


def standard_normal(shape: Any, like: Tensor) -> Tensor:
    """Standard normal numbers in the dtype of a tensor."""
    return randn(tuple(shape), dtype=like.dtype)


def sum_rightmost(value: Tensor, dims: int) -> Tensor:
    """The sum over the last `dims` dimensions."""
    return value if dims == 0 else value.reshape(*value.shape[:-dims], -1).sum(-1)


def product(sizes: Any) -> int:
    """How many elements a shape has."""
    return math.prod(sizes)


def clamp_probs(probs: Tensor) -> Tensor:
    """Probabilities held as far from 0 and 1 as the dtype's precision."""
    eps = finfo(probs.dtype).eps
    return clamp(probs, min=eps, max=1 - eps)


def logits_to_probs(logits: Tensor, is_binary: bool = False) -> Tensor:
    """Probabilities of logits: their sigmoid for binary ones, else the softmax along the last dimension."""
    return sigmoid(logits) if is_binary else softmax(logits, -1)


def probs_to_logits(probs: Tensor, is_binary: bool = False) -> Tensor:
    """Logits of probabilities: log-odds for binary ones, else logarithms."""
    held = clamp_probs(probs)
    return log(held) - log1p(-held) if is_binary else log(held)


def probs_or_logits(probs: Any, logits: Any) -> bool:
    """Whether a distribution is given by probabilities; raises unless it is given by one of the two."""
    if (probs is None) == (logits is None):
        raise ArgumentError("Either `probs` or `logits` must be specified, but not both.")
    return probs is not None


class lazy_property:  # noqa: N801 (PyTorch's name)
    """A property that is computed when it is first asked for, and kept.

    What is computed inside a compiled or transformed function is not kept: it has no meaning outside.

    Args:
        wrapped: the function of the instance.
    """

    def __init__(self, wrapped: Callable[[Any], Any]):
        self.wrapped = wrapped
        functools.update_wrapper(self, wrapped)  # type: ignore[arg-type]  (it takes any object)

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        if instance is None:
            return self
        with enable_grad():
            value = self.wrapped(instance)
        if not is_traced(value):
            name = self.wrapped.__name__
            instance.__dict__[name] = value
            instance.__dict__["_kept"] = instance.__dict__.get("_kept", frozenset()) | {name}
        return value


def tril_matrix_to_vec(mat: Tensor, diag: int = 0) -> Tensor:
    """The lower triangles of matrices as vectors, row by row.

    Args:
        mat: shape (..., n, n).
        diag: the last diagonal that belongs to the triangle.
    """
    n = mat.shape[-1]
    if diag < -n or diag >= n:
        raise ArgumentError(f"diag ({diag}) provided is outside [{-n}, {n - 1}].")
    rows, columns = tril_indices(n, n, diag)
    return mat[..., rows, columns]


def vec_to_tril_matrix(vec: Tensor, diag: int = 0) -> Tensor:
    """Vectors as the lower triangles of matrices, row by row; the inverse of `tril_matrix_to_vec`.

    Args:
        vec: shape (..., d).
        diag: the last diagonal that belongs to the triangle.
    """
    n = (-(1 + 2 * diag) + ((1 + 2 * diag) ** 2 + 8 * vec.shape[-1] + 4 * abs(diag) * (diag + 1)) ** 0.5) / 2
    if not round(n) - n == 0:
        raise ArgumentError(f"The size of last dimension is {vec.shape[-1]} which cannot be expressed as the lower triangular part of a square D x D matrix.")
    n = round(n)
    rows, columns = tril_indices(n, n, diag)
    matrix = zeros(*vec.shape[:-1], n, n, dtype=vec.dtype)
    return matrix.at[..., rows, columns].set(vec)


def pad_last(value: Tensor, before: int, after: int, fill: float) -> Tensor:
    """The last dimension made longer."""
    return F.pad(value, (before, after), value=fill)


def joined(*parts: Tensor) -> Tensor:
    """Tensors one behind the other along the last dimension."""
    return cat(parts, -1)
