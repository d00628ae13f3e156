"""Transforms that act on several numbers together: onto the simplex and onto matrices, of shapes, and on parts of a tensor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..nn import functional as F
from ..ops import arange, clamp, cumprod, cumsum, exp, eye, finfo, full, log, sigmoid, softmax, tanh
from ..ops import cat as _cat
from ..ops import stack as _stack
from ..ops.factorization import cholesky
from ..tensor import Size, Tensor
from . import constraints
from .transform import Transform
from .utils import pad_last, product, sum_rightmost, tril_matrix_to_vec, vec_to_tril_matrix

__all__ = [
    "CatTransform", "CorrCholeskyTransform", "LowerCholeskyTransform", "PositiveDefiniteTransform", "ReshapeTransform", "SoftmaxTransform", "StackTransform",
    "StickBreakingTransform",
]  # fmt: skip


class SoftmaxTransform(Transform):
    """``y = exp(x)`` divided by its sum along the last dimension. It is not bijective; `StickBreakingTransform` is."""

    domain = constraints.real_vector
    codomain = constraints.simplex

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SoftmaxTransform)

    __hash__ = object.__hash__

    def _call(self, x: Tensor) -> Tensor:
        return softmax(x, -1)

    def _inverse(self, y: Tensor) -> Tensor:
        return log(y)

    def forward_shape(self, shape: Any) -> Size:
        return _at_least(shape, 1)

    inverse_shape = forward_shape


def _at_least(shape: Any, dims: int) -> Size:
    if len(shape) < dims:
        raise ValueError("Too few dimensions on input")
    return Size(shape)


class StickBreakingTransform(Transform):
    """Vectors of ``n`` numbers as points of the simplex of ``n + 1``: each takes its share, by a sigmoid, of what is left of a stick of length 1."""

    domain = constraints.real_vector
    codomain = constraints.simplex
    bijective = True

    def __eq__(self, other: object) -> bool:
        return isinstance(other, StickBreakingTransform)

    __hash__ = object.__hash__

    def _call(self, x: Tensor) -> Tensor:
        share = sigmoid(x - log(_parts_left(x)))
        left = cumprod(1 - share, -1)
        return pad_last(share, 0, 1, 1.0) * pad_last(left, 1, 0, 1.0)

    def _inverse(self, y: Tensor) -> Tensor:
        most = y[..., :-1]
        left = clamp(1 - cumsum(most, -1), min=finfo(y.dtype).tiny)
        return log(most) - log(left) + log(_parts_left(most))

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        x = x - log(_parts_left(x))
        return (-x + F.logsigmoid(x) + log(y[..., :-1])).sum(-1)

    def forward_shape(self, shape: Any) -> Size:
        shape = _at_least(shape, 1)
        return Size((*shape[:-1], shape[-1] + 1))

    def inverse_shape(self, shape: Any) -> Size:
        shape = _at_least(shape, 1)
        return Size((*shape[:-1], shape[-1] - 1))


def _parts_left(x: Tensor) -> Tensor:
    """How many further parts the stick has after each: n, n - 1, ..., 1."""
    return arange(x.shape[-1], 0, -1, dtype=x.dtype)


class LowerCholeskyTransform(Transform):
    """Square matrices as lower triangular ones with a positive diagonal."""

    domain = constraints.independent(constraints.real, 2)
    codomain = constraints.lower_cholesky

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LowerCholeskyTransform)

    __hash__ = object.__hash__

    def _call(self, x: Tensor) -> Tensor:
        return x.tril(-1) + exp(x.diagonal(dim1=-2, dim2=-1)).diag_embed()

    def _inverse(self, y: Tensor) -> Tensor:
        return y.tril(-1) + log(y.diagonal(dim1=-2, dim2=-1)).diag_embed()


class PositiveDefiniteTransform(Transform):
    """Square matrices as positive-definite ones: the product of a `LowerCholeskyTransform` with its transpose."""

    domain = constraints.independent(constraints.real, 2)
    codomain = constraints.positive_definite

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PositiveDefiniteTransform)

    __hash__ = object.__hash__

    def _call(self, x: Tensor) -> Tensor:
        factor = LowerCholeskyTransform()(x)
        return factor @ factor.mT

    def _inverse(self, y: Tensor) -> Tensor:
        return LowerCholeskyTransform().inv(cholesky(y))


class CorrCholeskyTransform(Transform):
    """Vectors of ``n * (n - 1) / 2`` numbers as Cholesky factors of correlation matrices: the rows are broken like sticks by `tanh`."""

    domain = constraints.real_vector
    codomain = constraints.corr_cholesky
    bijective = True

    def _call(self, x: Tensor) -> Tensor:
        eps = finfo(x.dtype).eps
        lower = vec_to_tril_matrix(clamp(tanh(x), min=-1 + eps, max=1 - eps), diag=-1)
        left = cumprod((1 - lower**2).sqrt(), -1)
        return (lower + eye(lower.shape[-1], dtype=x.dtype)) * pad_last(left[..., :-1], 1, 0, 1.0)

    def _inverse(self, y: Tensor) -> Tensor:
        left = pad_last((1 - cumsum(y * y, -1))[..., :-1], 1, 0, 1.0)
        vector = tril_matrix_to_vec(y, diag=-1)
        partial = vector / tril_matrix_to_vec(left, diag=-1).sqrt()
        return (partial.log1p() - (-partial).log1p()) / 2  # the inverse of tanh

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        left = tril_matrix_to_vec(1 - cumsum(y * y, -1), diag=-2)
        rows = 0.5 * log(left).sum(-1)
        return rows - 2 * (x + F.softplus(-2 * x) - 0.6931471805599453).sum(-1)

    def forward_shape(self, shape: Any) -> Size:
        shape = _at_least(shape, 1)
        n = round((0.25 + 2 * shape[-1]) ** 0.5 + 0.5)
        if n * (n - 1) // 2 != shape[-1]:
            raise ValueError("Input is not a flattened lower-diagonal number")
        return Size((*shape[:-1], n, n))

    def inverse_shape(self, shape: Any) -> Size:
        shape = _at_least(shape, 2)
        if shape[-2] != shape[-1]:
            raise ValueError("Input is not square")
        return Size((*shape[:-2], shape[-1] * (shape[-1] - 1) // 2))


class ReshapeTransform(Transform):
    """The last dimensions in another shape.

    Args:
        in_shape, out_shape: the shapes of the event before and after.
        cache_size: see `Transform`.
    """

    bijective = True

    def __init__(self, in_shape: Any, out_shape: Any, cache_size: int = 0):
        self.in_shape, self.out_shape = Size(in_shape), Size(out_shape)
        if product(self.in_shape) != product(self.out_shape):
            raise ValueError("in_shape, out_shape have different numbers of elements")
        super().__init__(cache_size=cache_size)

    @constraints.dependent_property
    def domain(self) -> Any:
        return constraints.independent(constraints.real, len(self.in_shape))

    @constraints.dependent_property
    def codomain(self) -> Any:
        return constraints.independent(constraints.real, len(self.out_shape))

    def with_cache(self, cache_size: int = 1) -> Any:
        return self if self._cache_size == cache_size else ReshapeTransform(self.in_shape, self.out_shape, cache_size=cache_size)

    def _call(self, x: Tensor) -> Tensor:
        return x.reshape(x.shape[: x.dim() - len(self.in_shape)] + self.out_shape)

    def _inverse(self, y: Tensor) -> Tensor:
        return y.reshape(y.shape[: y.dim() - len(self.out_shape)] + self.in_shape)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        return full(tuple(x.shape[: x.dim() - len(self.in_shape)]), 0.0, dtype=x.dtype)

    def forward_shape(self, shape: Any) -> Size:
        return _exchanged(shape, self.in_shape, self.out_shape)

    def inverse_shape(self, shape: Any) -> Size:
        return _exchanged(shape, self.out_shape, self.in_shape)


def _exchanged(shape: Any, ending: Size, other: Size) -> Size:
    cut = len(_at_least(shape, len(ending))) - len(ending)
    if tuple(shape[cut:]) != tuple(ending):
        raise ValueError(f"Shape mismatch: expected {tuple(shape[cut:])} but got {tuple(ending)}")
    return Size(tuple(shape[:cut]) + tuple(other))


class _PartsTransform(Transform):
    """Transforms, each on its part of a dimension."""

    transforms: list[Transform]

    @property
    def bijective(self) -> bool:
        return all(t.bijective for t in self.transforms)


class CatTransform(_PartsTransform):
    """Transforms of parts of a dimension, one behind the other.

    Args:
        tseq: the transforms.
        dim: the dimension. Default: 0.
        lengths: of the parts. Default: 1 each.
        cache_size: see `Transform`.
    """

    def __init__(self, tseq: Sequence[Transform], dim: int = 0, lengths: Sequence[int] | None = None, cache_size: int = 0):
        super().__init__(cache_size=cache_size)
        self.transforms = [t.with_cache(cache_size) for t in tseq] if cache_size else list(tseq)
        self.lengths = [1] * len(self.transforms) if lengths is None else list(lengths)
        self.dim = dim

    @property
    def event_dim(self) -> int:
        return max(t.event_dim for t in self.transforms)

    @property
    def length(self) -> int:
        """The length of the dimension."""
        return sum(self.lengths)

    def with_cache(self, cache_size: int = 1) -> Any:
        return self if self._cache_size == cache_size else CatTransform(self.transforms, self.dim, self.lengths, cache_size)

    def _parts(self, x: Tensor) -> Sequence[Tensor]:
        if x.size(self.dim) != self.length:
            raise ValueError(f"dimension {self.dim} has length {x.size(self.dim)}, and the transforms take {self.length}")
        return x.split(self.lengths, self.dim)

    def _call(self, x: Tensor) -> Tensor:
        return _cat([t(part) for t, part in zip(self.transforms, self._parts(x), strict=True)], self.dim)

    def _inverse(self, y: Tensor) -> Tensor:
        return _cat([t.inv(part) for t, part in zip(self.transforms, self._parts(y), strict=True)], self.dim)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        terms = []
        for t, a, b in zip(self.transforms, self._parts(x), self._parts(y), strict=True):
            terms.append(sum_rightmost(t.log_abs_det_jacobian(a, b), self.event_dim - t.event_dim))
        dim = self.dim if self.dim < 0 else self.dim - x.dim()
        dim += self.event_dim
        return _cat(terms, dim) if dim < 0 else sum(terms[1:], terms[0])

    @constraints.dependent_property
    def domain(self) -> Any:
        return constraints.cat([t.domain for t in self.transforms], self.dim, self.lengths)

    @constraints.dependent_property
    def codomain(self) -> Any:
        return constraints.cat([t.codomain for t in self.transforms], self.dim, self.lengths)


class StackTransform(_PartsTransform):
    """A transform for each slice of a dimension.

    Args:
        tseq: the transforms.
        dim: the dimension. Default: 0.
        cache_size: see `Transform`.
    """

    def __init__(self, tseq: Sequence[Transform], dim: int = 0, cache_size: int = 0):
        super().__init__(cache_size=cache_size)
        self.transforms = [t.with_cache(cache_size) for t in tseq] if cache_size else list(tseq)
        self.dim = dim

    def with_cache(self, cache_size: int = 1) -> Any:
        return self if self._cache_size == cache_size else StackTransform(self.transforms, self.dim, cache_size)

    def _parts(self, x: Tensor) -> Sequence[Tensor]:
        if x.size(self.dim) != len(self.transforms):
            raise ValueError(f"dimension {self.dim} has length {x.size(self.dim)}, and there are {len(self.transforms)} transforms")
        return x.unbind(self.dim)

    def _call(self, x: Tensor) -> Tensor:
        return _stack([t(part) for t, part in zip(self.transforms, self._parts(x), strict=True)], self.dim)

    def _inverse(self, y: Tensor) -> Tensor:
        return _stack([t.inv(part) for t, part in zip(self.transforms, self._parts(y), strict=True)], self.dim)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        pairs = zip(self.transforms, self._parts(x), self._parts(y), strict=True)
        return _stack([t.log_abs_det_jacobian(a, b) for t, a, b in pairs], self.dim)

    @constraints.dependent_property
    def domain(self) -> Any:
        return constraints.stack([t.domain for t in self.transforms], self.dim)

    @constraints.dependent_property
    def codomain(self) -> Any:
        return constraints.stack([t.codomain for t in self.transforms], self.dim)
