"""Parametrizations of weights: orthogonal, with a norm learned apart, and with spectral norm 1."""

from __future__ import annotations

import enum
from typing import Any, TypeVar

import numpy as np

from ...autograd.graph import no_grad
from ...errors import ArgumentError, IndexOutOfRangeError
from ...ops.creation import eye, zeros_like
from ...ops.elementwise import allclose, where
from ...ops.factorization import householder_product
from ...ops.joining import cat
from ...ops.linalg import solve
from ...ops.matrix import geqrf, matrix_exp, norm_except_dim
from ...ops.nn.distance import normalize
from ...ops.random import randn
from ...tensor import Tensor
from ..module import Module
from .parametrize import register_parametrization
from .spectral_norm import as_matrix, output_dim, random_direction
from .weight_norm import normalized_weight

__all__ = ["orthogonal", "spectral_norm", "weight_norm"]

M = TypeVar("M", bound=Module)


def _tensor_of(module: Any, name: str) -> Tensor:
    weight = getattr(module, name, None)
    if not isinstance(weight, Tensor):
        raise ArgumentError(f"Module '{module}' has no parameter or buffer with name '{name}'")
    return weight


# --- orthogonal ----------------------------------------------------------------------------------------------------------


class _OrthMaps(enum.Enum):
    matrix_exp = enum.auto()
    cayley = enum.auto()
    householder = enum.auto()


class _Orthogonal(Module):
    """Orthonormal columns, or rows if they are fewer, of a matrix that is free (Lezcano-Casado, 2019)."""

    def __init__(self, weight: Tensor, orthogonal_map: _OrthMaps, *, use_trivialization: bool = True):
        super().__init__()
        if weight.is_complex() and orthogonal_map is _OrthMaps.householder:
            raise ArgumentError("The householder parametrization does not support complex tensors.")
        self.shape = weight.shape
        self.orthogonal_map = orthogonal_map
        if use_trivialization:
            self.register_buffer("base", None)

    def forward(self, X: Tensor) -> Tensor:
        transposed = X.shape[-2] < X.shape[-1]
        X = X.mT if transposed else X
        n, k = X.shape[-2:]
        if self.orthogonal_map is _OrthMaps.householder:
            A = X.tril(-1)
            Q = householder_product(A, 2 / (1 + (A * A).sum(-2)))
            Q = Q * X.diagonal(0, -2, -1).detach().sign().unsqueeze(-2)
        else:
            X = X.tril()
            if n != k:
                X = cat([X, X.new_zeros(*X.shape[:-2], n, n - k)], -1)
            A = X - X.mH
            if self.orthogonal_map is _OrthMaps.matrix_exp:
                Q = matrix_exp(A)
            else:
                identity = eye(n, dtype=A.dtype)
                Q = solve(identity - A / 2, identity + A / 2)
            Q = Q[..., :k]
        if hasattr(self, "base"):
            Q = self.base @ Q
        return Q.mT if transposed else Q

    @no_grad()
    def right_inverse(self, Q: Tensor) -> Tensor:
        """What `forward` makes `Q` of, or the orthogonal matrix next to it."""
        if Q.shape != self.shape:
            raise ArgumentError(f"Expected a matrix or batch of matrices of shape {self.shape}. Got a tensor of shape {Q.shape}.")
        given = Q = Q.detach()
        transposed = Q.shape[-2] < Q.shape[-1]
        Q = Q.mT if transposed else Q
        n, k = Q.shape[-2:]
        if not hasattr(self, "base"):
            if self.orthogonal_map is not _OrthMaps.householder:
                raise NotImplementedError(
                    "It is not possible to assign to the matrix exponential or the Cayley parametrizations when use_trivialization=False."
                )
            A, tau = geqrf(Q)
            signs = A.diagonal(0, -2, -1).sign()
            signs = where(tau == 0, -signs, signs)  # where no reflection was needed, R's diagonal is not the negative of what it would be
            A = where(_diagonal_of(A), signs.unsqueeze(-2), A)
            return A.mT if transposed else A
        if n != k:
            Q = _orthogonalized(cat([Q, randn(*Q.shape[:-2], n, n - k, dtype=Q.dtype)], -1))
        elif not _is_orthogonal(Q):
            Q = _orthogonalized(Q)
        self.base = Q
        return where(_diagonal_of(given), -1.0, zeros_like(given)).to(given.dtype)


def _diagonal_of(matrix: Tensor) -> Tensor:
    return eye(*matrix.shape[-2:]).bool()


def _is_orthogonal(Q: Tensor) -> bool:
    n, k = Q.shape[-2:]
    eps = float(np.finfo(Q.dtype.dtype).eps)
    return bool(allclose(Q.mH @ Q, eye(k, dtype=Q.dtype).expand(*Q.shape[:-2], k, k), atol=10.0 * n * eps))


def _orthogonalized(A: Tensor) -> Tensor:
    """The Q of the QR decomposition whose R has a positive diagonal."""
    X, tau = geqrf(A)
    return householder_product(X, tau) * X.diagonal(0, -2, -1).sgn().unsqueeze(-2)


def orthogonal(module: M, name: str = "weight", orthogonal_map: str | None = None, *, use_trivialization: bool = True) -> M:
    """Keep a matrix, or a batch of them, orthogonal (unitary, if complex): orthonormal columns, or rows if they are fewer.

    Args:
        module: the module, which is changed.
        name: of the tensor.
        orthogonal_map: `"matrix_exp"` or `"cayley"` of a skew-symmetric matrix, or a product of `"householder"` reflections. Default: the first for square or
            complex matrices, else the last.
        use_trivialization: multiply with the initial matrix, a buffer, so that what is learned starts at zero; and so that values can be assigned.

    Returns:
        The module. The tensor is orthogonal at once: it is made so if it was not.

    Raises:
        ValueError: there is no such tensor, it has fewer than two dimensions, or there is no such map.

    Examples:
        >>> import neurarust_jax as nr
        >>> layer = nr.nn.utils.parametrizations.orthogonal(nr.nn.Linear(4, 2))
        >>> nr.allclose(layer.weight @ layer.weight.T, nr.eye(2), atol=1e-5)
        True
    """
    weight = _tensor_of(module, name)
    if weight.dim() < 2:
        raise ArgumentError(f"Expected a matrix or batch of matrices. Got a tensor of {weight.dim()} dimensions.")
    if orthogonal_map is None:
        orthogonal_map = "matrix_exp" if weight.shape[-2] == weight.shape[-1] or weight.is_complex() else "householder"
    if orthogonal_map not in _OrthMaps.__members__:
        raise ArgumentError(f'orthogonal_map has to be one of "matrix_exp", "cayley", "householder". Got: {orthogonal_map}')
    return register_parametrization(module, name, _Orthogonal(weight, _OrthMaps[orthogonal_map], use_trivialization=use_trivialization), unsafe=True)


# --- norms ---------------------------------------------------------------------------------------------------------------


class _WeightNorm(Module):
    """Magnitude times direction."""

    def __init__(self, dim: int | None = 0):
        super().__init__()
        self.dim = -1 if dim is None else dim

    def forward(self, weight_g: Tensor, weight_v: Tensor) -> Tensor:
        return normalized_weight(weight_v, weight_g, self.dim)

    def right_inverse(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Magnitude and direction."""
        return norm_except_dim(weight, 2, self.dim), weight


class _ReadHookNames:
    """Before loading: what the hooks of `nn.utils.weight_norm` call the parameters."""

    def __init__(self, name: str):
        self.name = name

    def __call__(self, module: Any, state_dict: dict[str, Any], prefix: str, *_: Any) -> None:
        old = [f"{prefix}{self.name}_{letter}" for letter in "gv"]
        if all(key in state_dict for key in old):
            for i, key in enumerate(old):
                state_dict[f"{prefix}parametrizations.{self.name}.original{i}"] = state_dict.pop(key)


def weight_norm(module: M, name: str = "weight", dim: int | None = 0) -> M:
    """Learn magnitude and direction of a weight apart: ``w = g * v / norm(v)`` (Salimans and Kingma, 2016).

    Args:
        module: the module, which is changed.
        name: of the weight. What is learned is `original0`, the magnitude, and `original1`, the direction.
        dim: the dimension along which each slice has a magnitude of its own; `None` for one magnitude. Default: 0.

    Returns:
        The module. It also loads state dicts of `nn.utils.weight_norm`.

    Examples:
        >>> import neurarust_jax as nr
        >>> layer = nr.nn.utils.parametrizations.weight_norm(nr.nn.Linear(4, 2))
        >>> layer.parametrizations.weight.original0.shape
        neurarust_jax.Size([2, 1])
    """
    register_parametrization(module, name, _WeightNorm(dim), unsafe=True)
    module._register_load_state_dict_pre_hook(_ReadHookNames(name), with_module=True)
    return module


class _SpectralNorm(Module):
    """A weight divided by its largest singular value."""

    def __init__(self, weight: Tensor, n_power_iterations: int = 1, dim: int = 0, eps: float = 1e-12):
        super().__init__()
        ndim = weight.dim()
        if not -ndim <= dim < ndim:
            raise IndexOutOfRangeError(f"Dimension out of range (expected to be in range of [-{ndim}, {ndim - 1}] but got {dim})")
        if n_power_iterations <= 0:
            raise ArgumentError(f"Expected n_power_iterations to be positive, but got n_power_iterations={n_power_iterations}")
        self.dim = dim % ndim
        self.eps = eps
        if ndim > 1:
            self.n_power_iterations = n_power_iterations
            with no_grad():
                matrix = as_matrix(weight, self.dim)
                self.register_buffer("_u", random_direction(weight, matrix.shape[0], eps))
                self.register_buffer("_v", random_direction(weight, matrix.shape[1], eps))
            self._power_method(matrix, 15)

    @no_grad()
    def _power_method(self, matrix: Tensor, n_power_iterations: int) -> None:
        for _ in range(n_power_iterations):
            self._u = normalize(matrix.mv(self._v), dim=0, eps=self.eps)
            self._v = normalize(matrix.mH.mv(self._u), dim=0, eps=self.eps)

    def forward(self, weight: Tensor) -> Tensor:
        if weight.dim() == 1:
            return normalize(weight, dim=0, eps=self.eps)
        matrix = as_matrix(weight, self.dim)
        if self.training:
            self._power_method(matrix, self.n_power_iterations)
        return weight / self._u.detach().vdot(matrix.mv(self._v.detach()))

    def right_inverse(self, value: Tensor) -> Tensor:
        """The value itself."""
        return value


def spectral_norm(module: M, name: str = "weight", n_power_iterations: int = 1, eps: float = 1e-12, dim: int | None = None) -> M:
    """Divide a weight by its largest singular value, which power iterations estimate (Miyato et al., 2018).

    Args:
        module: the module, which is changed.
        name: of the weight. A vector is divided by its length.
        n_power_iterations: steps of the power iteration at each access in training mode. Default: 1.
        eps: added where a vector of length 0 would be normalized. Default: 1e-12.
        dim: the dimension that counts the outputs. Default: 0, for transposed convolutions 1.

    Returns:
        The module.

    Examples:
        >>> import neurarust_jax as nr
        >>> layer = nr.nn.utils.parametrizations.spectral_norm(nr.nn.Linear(4, 2), n_power_iterations=50)
        >>> round(nr.linalg.matrix_norm(layer.weight, 2).item(), 3)
        1.0
    """
    weight = _tensor_of(module, name)
    return register_parametrization(module, name, _SpectralNorm(weight, n_power_iterations, output_dim(module) if dim is None else dim, eps))
