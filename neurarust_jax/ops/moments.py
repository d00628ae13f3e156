"""Variance, standard deviation, covariance, norms and distances."""

import functools
import math
import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from .. import dtypes
from ..dispatch import Array, op
from ..errors import ArgumentTypeError, DtypeError, ShapeError
from ..tensor import Tensor, attach
from .common import cast, floating, is_inexact, numpy_dtype, numpy_names, promote, wrap_dims
from .matmul import precision
from .reduction import Dims, widened

__all__ = ["var", "std", "var_mean", "std_mean", "cov", "corrcoef", "norm", "dist"]

# --- moments -------------------------------------------------------------------------------------------------------


@functools.partial(jax.custom_jvp, nondiff_argnums=(1, 2))
def _variance(x: Array, dims: tuple[int, ...], correction: float) -> Array:
    """Variance along `dims`, which are kept. The derivative is stated, because JAX's own sums the deviations once more, to 0."""
    deviation = x - jnp.mean(x, dims, keepdims=True)
    return jnp.sum(_squared_modulus(deviation), dims, keepdims=True) / _degrees_of_freedom(x, dims, correction)


def _squared_modulus(x: Array) -> Array:
    return jnp.square(x.real) + jnp.square(x.imag) if x.dtype.kind == "c" else jnp.square(x)


def _degrees_of_freedom(x: Array, dims: tuple[int, ...], correction: float) -> Array:
    count = math.prod(x.shape[d] for d in dims)
    return jnp.asarray(max(count - correction, 0), x.real.dtype)


@_variance.defjvp
def _variance_jvp(dims, correction, primals, tangents):
    (x,), (tangent,) = primals, tangents
    deviation = x - jnp.mean(x, dims, keepdims=True)
    scaled = deviation * (2 / _degrees_of_freedom(x, dims, correction))
    moved = (jnp.conj(scaled) * tangent).real if x.dtype.kind == "c" else scaled * tangent
    return _variance(x, dims, correction), jnp.sum(moved, dims, keepdims=True)


def _moments(input: Array, dim: Dims, correction: float, keepdim: bool, function: str) -> tuple[Array, Array]:
    """(variance, mean), half precision computed in float32."""
    if not is_inexact(input):
        raise DtypeError(f"{function} only support floating point and complex dtypes, got {dtypes.from_numpy(input.dtype)}; write x.float().{function}()")
    dims = wrap_dims(dim, input.ndim)
    x = widened(input)
    pair = _variance(x, dims, correction), jnp.mean(x, dims, keepdims=True)
    variance, mean = pair if keepdim else (lax.squeeze(m, dims) for m in pair)
    return variance, mean


def safe_sqrt(x: Array) -> Array:
    """The square root, with the gradient 0 at 0."""
    return jnp.where(x == 0, 0, jnp.sqrt(jnp.where(x == 0, 1, x)))


def _real_dtype(input: Array) -> np.dtype:
    return input.real.dtype if input.dtype.kind == "c" else input.dtype


@op(name="_var", method=False)
def _var(input: Array, dim: Dims, correction: float, keepdim: bool) -> Array:
    """Variance."""
    return cast(_moments(input, dim, correction, keepdim, "var")[0], _real_dtype(input))


@op(name="_std", method=False)
def _std(input: Array, dim: Dims, correction: float, keepdim: bool) -> Array:
    """Standard deviation."""
    return cast(safe_sqrt(_moments(input, dim, correction, keepdim, "std")[0]), _real_dtype(input))


@op(name="_var_mean", method=False)
def _var_mean(input: Array, dim: Dims, correction: float, keepdim: bool) -> tuple[Array, Array]:
    """Variance and mean."""
    variance, mean = _moments(input, dim, correction, keepdim, "var_mean")
    return cast(variance, _real_dtype(input)), cast(mean, input.dtype)


@op(name="_std_mean", method=False)
def _std_mean(input: Array, dim: Dims, correction: float, keepdim: bool) -> tuple[Array, Array]:
    """Standard deviation and mean."""
    variance, mean = _moments(input, dim, correction, keepdim, "std_mean")
    return cast(safe_sqrt(variance), _real_dtype(input)), cast(mean, input.dtype)


def _moment_arguments(function: str, dim: Any, unbiased: bool | None, keepdim: bool, correction: float | None) -> tuple[Any, float, bool]:
    """(dim, correction, keepdim) of PyTorch's three overloads, of which one takes `unbiased` in the place of `dim`."""
    if isinstance(dim, bool):
        dim, unbiased = None, dim
    if unbiased is not None and correction is not None:
        raise ArgumentTypeError(f"{function}() takes either unbiased= or correction=, not both")
    if correction is None:
        correction = 1 if unbiased is None else int(unbiased)
    return dim, correction, keepdim


@numpy_names
def var(input, dim=None, unbiased: bool | None = None, keepdim: bool = False, *, correction: float | None = None):
    """The variance of the elements along dimensions: ``sum((x - mean) ** 2) / (n - correction)``.

    Args:
        input: a floating-point or complex tensor.
        dim: the dimension, or a tuple of them. Default: all. A bool in this place is `unbiased`.
        unbiased: the older way to say ``correction=1`` (true) or ``correction=0`` (false).
        keepdim: keep the dimensions with length 1.
        correction: the difference between sample size and degrees of freedom. Default: 1, Bessel's correction.

    Returns:
        A tensor without the dimensions `dim`; real for complex input.

    Raises:
        RuntimeError: `input` is neither floating-point nor complex.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.var(nr.tensor([1.0, 2.0, 3.0, 4.0]), correction=0)
        tensor(1.2500)
    """
    return _var(input, *_moment_arguments("var", dim, unbiased, keepdim, correction))


@numpy_names
def std(input, dim=None, unbiased: bool | None = None, keepdim: bool = False, *, correction: float | None = None):
    """The standard deviation of the elements along dimensions, the square root of `var`; its gradient at 0 is 0. The arguments are those of `var`."""
    return _std(input, *_moment_arguments("std", dim, unbiased, keepdim, correction))


@numpy_names
def var_mean(input, dim=None, unbiased: bool | None = None, keepdim: bool = False, *, correction: float | None = None):
    """The pair (variance, mean) of the elements along dimensions. The arguments are those of `var`."""
    return _var_mean(input, *_moment_arguments("var_mean", dim, unbiased, keepdim, correction))


@numpy_names
def std_mean(input, dim=None, unbiased: bool | None = None, keepdim: bool = False, *, correction: float | None = None):
    """The pair (standard deviation, mean) of the elements along dimensions. The arguments are those of `var`."""
    return _std_mean(input, *_moment_arguments("std_mean", dim, unbiased, keepdim, correction))


attach("var", var)
attach("std", std)


# --- covariance ----------------------------------------------------------------------------------------------------


def _check_weights(input: Array, weights: Array | None, kinds: str, name: str) -> None:
    if weights is None:
        return
    kind = "floating point" if "f" in kinds else "integral"
    if weights.ndim > 1:
        raise ShapeError(f"cov(): expected {name} to have one or fewer dimensions but got {name} with {weights.ndim} dimensions")
    if dtypes.from_numpy(weights.dtype).is_floating_point != ("f" in kinds) or weights.dtype.kind in "bc":
        raise DtypeError(f"cov(): expected {name} to have {kind} dtype but got {name} with {dtypes.from_numpy(weights.dtype)} dtype")
    if weights.size != input.shape[1]:
        raise ShapeError(
            f"cov(): expected {name} to have the same numel as there are observations in the input but got {weights.size} != {input.shape[1]}"
        )


def _covariance(input: Array, correction: float, fweights: Array | None, aweights: Array | None) -> Array:
    if input.ndim > 2:
        raise ShapeError(f"cov(): expected input to have two or fewer dimensions but got an input with {input.ndim} dimensions")
    if input.dtype == bool:
        raise DtypeError("cov(): bool dtype is not supported for input; write x.float()")
    x = input.reshape(1, -1) if input.ndim < 2 else input
    _check_weights(x, fweights, "i", "fweights")
    _check_weights(x, aweights, "f", "aweights")
    x = floating(x)
    if fweights is None and aweights is None:
        total = jnp.asarray(x.shape[1], x.real.dtype)
        freedom = total - correction
        weighted = x
    else:
        given = [w.reshape(-1) for w in (fweights, aweights) if w is not None]
        weights = given[0] if len(given) == 1 else jnp.multiply(*promote(*given))
        total = jnp.sum(weights)
        of_correction = 1 if aweights is None else jnp.sum(jnp.multiply(*promote(weights, aweights.reshape(-1)))) / total
        freedom = total - correction * of_correction
        x, weights = promote(x, weights)
        weighted = x * weights
    freedom = jnp.maximum(freedom, 0)
    deviation = x - jnp.sum(weighted, 1, keepdims=True) / cast(total, x.dtype)
    scaled = deviation if weighted is x else deviation * weights
    found = jnp.matmul(deviation, jnp.conj(scaled).T, precision=precision()) / cast(freedom, x.dtype)
    return found if found.size != 1 else found.reshape(())


@op(name="_cov", method=False)
def _cov(input: Array, correction: int, fweights: Array | None, aweights: Array | None) -> Array:
    """Covariance."""
    return _covariance(input, correction, fweights, aweights)


def _refuse_weights(weights: Any, name: str) -> None:
    """Raise PyTorch's errors for weights that are negative or sum to 0; inside a transformation they have no value yet."""
    values = weights._value if isinstance(weights, Tensor) else weights
    if isinstance(values, jax.core.Tracer) or not np.size(values):
        return
    values = np.asarray(values)
    if values.min() < 0:
        raise ShapeError(f"cov(): {name} cannot be negative")
    if values.sum() == 0:
        raise ShapeError("cov(): weights sum to zero, can't be normalized")


def cov(input, *, correction: int = 1, fweights=None, aweights=None):
    """The covariance matrix of variables, whose rows are observations of them: ``input[i]`` are those of the i-th variable.

    Args:
        input: a tensor of shape (variables, observations), or (observations,) for one variable.
        correction: the difference between sample size and degrees of freedom. Default: 1, Bessel's correction.
        fweights: how often each observation was made, a tensor of integers.
        aweights: how much each observation counts, a floating-point tensor.

    Returns:
        A tensor of shape (variables, variables); of one variable a 0-d tensor, its variance.

    Raises:
        RuntimeError: weights of the wrong shape, dtype or sign.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.cov(nr.tensor([[0.0, 1.0, 2.0], [2.0, 1.0, 0.0]]))
        tensor([[ 1., -1.],
                [-1.,  1.]])
    """
    for weights, name in ((fweights, "fweights"), (aweights, "aweights")):
        if weights is not None:
            _refuse_weights(weights, name)
    if fweights is None and aweights is None and (input.shape[-1] if len(input.shape) else 1) - correction <= 0:
        warnings.warn("cov(): degrees of freedom is <= 0. Correction should be strictly less than the number of observations.", UserWarning, stacklevel=2)
    return _cov(input, correction, fweights, aweights)


@op
def corrcoef(input: Array) -> Array:
    """The matrix of Pearson's correlation coefficients of variables, whose rows are observations of them; between -1 and 1.

    Args:
        input: a tensor of shape (variables, observations), or (observations,) for one variable.

    Returns:
        A tensor of shape (variables, variables); of one variable a 0-d tensor, 1.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.corrcoef(nr.tensor([[0.0, 1.0, 2.0], [2.0, 1.0, 0.0]]))
        tensor([[ 1., -1.],
                [-1.,  1.]])
    """
    if input.ndim > 2:
        raise ShapeError(f"corrcoef(): expected input to have two or fewer dimensions but got an input with {input.ndim} dimensions")
    found = _covariance(input, 1, None, None)
    if not found.ndim:
        return found / found
    deviation = jnp.sqrt(jnp.diagonal(found).real)
    found = found / deviation[:, None] / deviation[None, :]
    if found.dtype.kind == "c":
        return cast(lax.complex(jnp.clip(found.real, -1, 1), jnp.clip(found.imag, -1, 1)), found.dtype)
    return jnp.clip(found, -1, 1)


attach("cov", cov)


# --- norms ---------------------------------------------------------------------------------------------------------


def vector_norm(x: Array, p: float, dims: tuple[int, ...], keepdim: bool, dtype: Any = None) -> Array:
    """The `p`-norm along `dims`, with PyTorch's gradients at 0 (they are 0) and checks. `x` and the function are for other ops too."""
    if not is_inexact(x):
        raise DtypeError(f"linalg.vector_norm: Expected a floating point or complex tensor as input. Got {dtypes.from_numpy(x.dtype)}; write x.float()")
    if dtype is not None:
        x = _widen_to(x, numpy_dtype(dtype))
    if (p < 0 or p == math.inf) and 0 in (x.shape[d] for d in dims):
        raise ShapeError(f"linalg.vector_norm cannot compute the {p} norm on an empty tensor because the operation does not have an identity")
    result_dtype = _real_dtype(x)
    x = widened(x)
    if p == 2:
        found = safe_sqrt(jnp.sum(_squared_modulus(x), dims, keepdims=keepdim))
    elif p == 0:
        found = jnp.sum(x != 0, dims, dtype=_real_dtype(x), keepdims=keepdim)
    elif p == 1:
        found = jnp.sum(_modulus(x), dims, keepdims=keepdim)
    elif math.isinf(p):
        found = (jnp.max if p > 0 else jnp.min)(_modulus(x), dims, keepdims=keepdim)
    else:
        terms = _safe_power(_modulus(x), p)
        found = _safe_power(jnp.sum(terms, dims, keepdims=keepdim), 1 / p)
    return cast(found, result_dtype)


def _widen_to(x: Array, dtype: np.dtype) -> Array:
    if not jnp.issubdtype(dtype, jnp.inexact):
        raise DtypeError(f"linalg.vector_norm: dtype should be floating point or complex, but got {dtypes.from_numpy(dtype)}")
    if (x.dtype.kind == "c") != (dtype.kind == "c"):
        kind = "complex for complex" if x.dtype.kind == "c" else "real for real"
        raise DtypeError(f"linalg.vector_norm: dtype should be {kind} inputs, but got {dtypes.from_numpy(dtype)}")
    if dtypes.promote_types(x.dtype, dtype) != dtype:
        raise DtypeError(
            f"linalg.vector_norm: the dtype of the input ({dtypes.from_numpy(x.dtype)}) should be convertible without narrowing to the specified dtype "
            f"({dtypes.from_numpy(dtype)}); convert with .to(dtype)"
        )
    return cast(x, dtype)


def _modulus(x: Array) -> Array:
    if x.dtype.kind == "c":
        return jnp.abs(x)
    return jnp.where(x == 0, jnp.zeros_like(x), jnp.abs(x))  # JAX's gradient of abs at 0 is 1, PyTorch's 0


def _safe_power(x: Array, exponent: float) -> Array:
    """``x ** exponent`` of numbers that are not negative, with the gradient 0 at 0."""
    return jnp.where(x == 0, 0 if exponent > 0 else jnp.inf, jnp.power(jnp.where(x == 0, 1, x), jnp.asarray(exponent, x.dtype)))


@op
def norm(input: Array, p: float | str | None = "fro", dim: Dims = None, keepdim: bool = False, dtype: dtypes.dtype | None = None) -> Array:
    """The norm of the vectors, or matrices, along dimensions.

    Args:
        input: a floating-point or complex tensor.
        p: the order of a vector norm (a number, `inf` and `-inf` included); `"fro"` for the square root of the sum of squares; `"nuc"` for the sum of
            the singular values of a matrix.
        dim: the dimension, or a tuple of them. Default: all.
        keepdim: keep them with length 1.
        dtype: convert to this first.

    Returns:
        A real tensor without the dimensions `dim`. Where a norm is 0, so is its gradient.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.norm(nr.tensor([3.0, 4.0]))
        tensor(5.)
    """
    dims = wrap_dims(dim, input.ndim)
    if p == "nuc":
        return _nuclear_norm(cast(input, numpy_dtype(dtype, input.dtype)), dims, keepdim)
    if isinstance(p, str) and p != "fro":
        raise ShapeError(f"linalg.matrix_norm: Order {p} not supported: expected a number, float('inf') among them, 'fro' or 'nuc'")
    if p == "fro" and dim is not None and len(dims) > 2:
        raise ShapeError(f"norm: p='fro' takes at most two dimensions, got {dim}; write p=2 for a vector norm over several")
    return vector_norm(input, 2 if p in ("fro", None) else p, dims, keepdim, dtype)


def _nuclear_norm(x: Array, dims: tuple[int, ...], keepdim: bool) -> Array:
    if len(dims) != 2:
        raise ShapeError(f"linalg.matrix_norm: the input tensor must be a matrix: p='nuc' takes two dimensions, got {dims} of shape {x.shape}")
    found = jnp.sum(jnp.linalg.svd(jnp.moveaxis(x, dims, (-2, -1)), compute_uv=False), -1)
    return lax.expand_dims(found, dims) if keepdim else found


@op
def dist(input: Array, other: Array, p: float = 2) -> Array:
    """The `p`-norm of ``input - other``, a 0-d tensor; the shapes must broadcast."""
    difference = jnp.subtract(*promote(input, other))
    return vector_norm(difference, p, tuple(range(difference.ndim)), False)
