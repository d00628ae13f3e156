"""Fourier transforms by their names in `nr.fft`: complex, of real signals (`r`), to real signals (`h`), over one, two or more dimensions."""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from .. import dtypes
from ..dispatch import Array, op
from ..errors import DtypeError, IndexOutOfRangeError, ShapeError
from ..tensor import Tensor, array_from, wrap
from .common import float_dtype, numpy_dtype, strong, wrap_dim, wrap_dims
from .creation import finish

__all__: list[str] = []
NAMESPACE = [
    "fft", "fft2", "fftfreq", "fftn", "fftshift", "hfft", "hfft2", "hfftn", "ifft", "ifft2", "ifftn", "ifftshift", "ihfft", "ihfft2", "ihfftn", "irfft",
    "irfft2", "irfftn", "rfft", "rfft2", "rfftfreq", "rfftn",
]  # fmt: skip

# --- what the transforms share -------------------------------------------------------------------------------------


def _signal(input: Array, function: str, real: bool) -> Array:
    """The input as a complex signal, or a real one where `real`: integers become the default dtype."""
    x = strong(input)
    if real and x.dtype.kind == "c":
        raise DtypeError(f"{function} expects a real input tensor, but got {dtypes.from_numpy(x.dtype)}; write nr.fft.fft(x), or x.real")
    dtype = dtypes.from_numpy(float_dtype(x.dtype))
    if dtype.itemsize < 4:
        raise DtypeError(f"Unsupported dtype {dtype}: {function} takes float32, float64 and complex numbers; write x.float()")
    return x.astype(dtype.dtype if real else dtype.to_complex().dtype)


def _factor(norm: str | None, count: int, forward: bool) -> float:
    """What the plain sum is multiplied with. For a transform in the opposite direction the names change places."""
    norm = "backward" if norm is None else norm
    if norm not in ("backward", "forward", "ortho"):
        raise ShapeError(f'Invalid normalization mode: "{norm}"; expected "backward", "forward" or "ortho"')
    if norm == "ortho":
        return count**-0.5
    return 1 / count if (norm == "forward") == forward else 1.0


def _resized(x: Array, lengths: dict[int, int]) -> Array:
    """`x` cut, or filled up with zeros at the end, to these lengths of dimensions."""
    for dim, length in lengths.items():
        if length < 1:
            raise ShapeError(f"Invalid number of data points ({length}) specified for dimension {dim} of a Fourier transform of shape {tuple(x.shape)}")
        if length < x.shape[dim]:
            x = lax.slice_in_dim(x, 0, length, axis=dim)
    padding = [(0, max(lengths.get(d, 0) - size, 0)) for d, size in enumerate(x.shape)]
    return jnp.pad(x, padding) if any(after for _, after in padding) else x


def _dims_and_lengths(x: Array, s: tuple[int, ...] | int | None, dim: tuple[int, ...] | int | None, function: str) -> tuple[tuple[int, ...], list[int | None]]:
    """The dimensions to transform and the length wanted of each, `None` for its own."""
    s = (s,) if isinstance(s, int) else s
    dim = (dim,) if isinstance(dim, int) else dim
    if dim is not None:
        if x.ndim == 0 and dim:
            raise IndexOutOfRangeError(f"{function}: Dimension specified as {dim[0]} but tensor has no dimensions")
        wrapped = [wrap_dim(d, x.ndim) for d in dim]
        if len(set(wrapped)) != len(wrapped):
            raise ShapeError(f"FFT dims must be unique, got {dim}")
        dims = tuple(wrapped)
        if s is not None and len(s) != len(dims):
            raise ShapeError(f"When given, dim and shape arguments must have the same length, got {len(dims)} and {len(s)}")
    elif s is not None:
        if len(s) > x.ndim:
            raise ShapeError(f"Got shape with {len(s)} values but input tensor only has {x.ndim} dimensions.")
        dims = tuple(range(x.ndim - len(s), x.ndim))
    else:
        dims = tuple(range(x.ndim))
    return dims, [None if s is None or s[i] == -1 else s[i] for i in range(len(dims))]


def _plain(x: Array, dims: tuple[int, ...], forward: bool) -> Array:
    """The sum without a factor, of a complex signal."""
    if not dims or not x.size:
        return x
    for start in range(0, len(dims), 3):  # XLA takes three dimensions at a time
        part = dims[start : start + 3]
        x = jnp.fft.fftn(x, axes=part, norm="backward") if forward else jnp.fft.ifftn(x, axes=part, norm="forward")
    return x


def _scaled(x: Array, factor: float) -> Array:
    return x if factor == 1 else x * jnp.asarray(factor, jnp.real(x).dtype)


def _complex_to_complex(input: Array, s: Any, dim: Any, norm: str | None, forward: bool, function: str) -> Array:
    x = _signal(input, function, False)
    dims, wanted = _dims_and_lengths(x, s, dim, function)
    x = _resized(x, {d: x.shape[d] if n is None else n for d, n in zip(dims, wanted, strict=True)})
    count = int(np.prod([x.shape[d] for d in dims], dtype=np.int64))
    return _scaled(_plain(x, dims, forward), _factor(norm, count, forward))


def _real_to_complex(input: Array, s: Any, dim: Any, norm: str | None, forward: bool, function: str) -> Array:
    """A real signal's spectrum, its last dimension by the half; not forward, the conjugate."""
    x = _signal(input, function, True)
    dims, wanted = _dims_and_lengths(x, s, dim, function)
    if not dims:
        raise ShapeError(f"{function} must transform at least one axis")
    x = _resized(x, {d: x.shape[d] if n is None else n for d, n in zip(dims, wanted, strict=True)})
    count = int(np.prod([x.shape[d] for d in dims], dtype=np.int64))
    if x.size:
        half = jnp.fft.rfft(x, axis=dims[-1], norm="backward")
    else:
        shape = [size // 2 + 1 if d == dims[-1] else size for d, size in enumerate(x.shape)]
        half = jnp.zeros(shape, dtypes.from_numpy(x.dtype).to_complex().dtype)
    spectrum = _plain(half, dims[:-1], True)
    return _scaled(spectrum if forward else jnp.conj(spectrum), _factor(norm, count, forward))


def _complex_to_real(input: Array, s: Any, dim: Any, norm: str | None, forward: bool, function: str) -> Array:
    """The real signal of half a spectrum; forward, of its conjugate."""
    x = _signal(input, function, False)
    dims, wanted = _dims_and_lengths(x, s, dim, function)
    if not dims:
        raise ShapeError(f"{function} must transform at least one axis")
    *others, last = dims
    n = 2 * (x.shape[last] - 1) if wanted[-1] is None else wanted[-1]
    if n < 1:
        raise ShapeError(f"Invalid number of data points ({n}) specified for dimension {last} of a Fourier transform of shape {tuple(x.shape)}")
    lengths = {d: x.shape[d] if m is None else m for d, m in zip(others, wanted, strict=False)}
    x = _resized(x, {**lengths, last: n // 2 + 1})
    x = jnp.conj(x) if forward else x
    count = n * int(np.prod([x.shape[d] for d in others], dtype=np.int64))
    x = _plain(x, tuple(others), False)
    if x.size:
        signal = jnp.fft.irfft(x, n, axis=last, norm="forward")
    else:
        signal = jnp.zeros([n if d == last else size for d, size in enumerate(x.shape)], jnp.real(x).dtype)
    return _scaled(signal, _factor(norm, count, forward))


def _one(dim: int) -> tuple[int]:
    return (dim,)


# --- one dimension -------------------------------------------------------------------------------------------------


@op(name="fft.fft", method=False, linear=True)
def fft(input: Array, n: int | None = None, dim: int = -1, norm: str | None = None) -> Array:
    """The discrete Fourier transform along one dimension.

    Args:
        input: a tensor, complex or real.
        n: cut or fill up the signal with zeros to this length first.
        dim: the dimension.
        norm: `"backward"` (the default) no factor; `"forward"` ``1 / n``; `"ortho"` ``1 / sqrt(n)``. The inverse transform has the other one.

    Examples:
        >>> import neurarust_jax as nr
        >>> import neurarust_jax.fft
        >>> nr.fft.fft(nr.tensor([1.0, 0.0, 0.0, 0.0])).real
        tensor([1., 1., 1., 1.])
    """
    return _complex_to_complex(input, n, _one(dim), norm, True, "fft")


@op(name="fft.ifft", method=False, linear=True)
def ifft(input: Array, n: int | None = None, dim: int = -1, norm: str | None = None) -> Array:
    """The inverse of `fft`, with the factor ``1 / n`` by default. See `fft`."""
    return _complex_to_complex(input, n, _one(dim), norm, False, "ifft")


@op(name="fft.rfft", method=False, linear=True)
def rfft(input: Array, n: int | None = None, dim: int = -1, norm: str | None = None) -> Array:
    """The Fourier transform of a real signal: the first ``n // 2 + 1`` frequencies, of which the others are the conjugates. See `fft`."""
    return _real_to_complex(input, n, _one(dim), norm, True, "rfft")


@op(name="fft.irfft", method=False, linear=True)
def irfft(input: Array, n: int | None = None, dim: int = -1, norm: str | None = None) -> Array:
    """The inverse of `rfft`.

    Args:
        input: half a spectrum.
        n: the length of the real signal. Default: even, ``2 * (input.shape[dim] - 1)``.
        dim: the dimension.
        norm: as in `fft`.
    """
    return _complex_to_real(input, n, _one(dim), norm, False, "irfft")


@op(name="fft.hfft", method=False, linear=True)
def hfft(input: Array, n: int | None = None, dim: int = -1, norm: str | None = None) -> Array:
    """The Fourier transform, which is real, of a signal of which half is given, the rest being the conjugates. See `irfft`."""
    return _complex_to_real(input, n, _one(dim), norm, True, "hfft")


@op(name="fft.ihfft", method=False, linear=True)
def ihfft(input: Array, n: int | None = None, dim: int = -1, norm: str | None = None) -> Array:
    """The inverse of `hfft`. See `rfft`."""
    return _real_to_complex(input, n, _one(dim), norm, False, "ihfft")


# --- more dimensions -----------------------------------------------------------------------------------------------


@op(name="fft.fftn", method=False, linear=True)
def fftn(input: Array, s: tuple[int, ...] | None = None, dim: tuple[int, ...] | None = None, norm: str | None = None) -> Array:
    """The discrete Fourier transform over several dimensions.

    Args:
        input: a tensor, complex or real.
        s: cut or fill up with zeros to these lengths first; -1 leaves one as it is.
        dim: the dimensions. Default: all, or the last ``len(s)``.
        norm: as in `fft`, with the number of all elements.
    """
    return _complex_to_complex(input, s, dim, norm, True, "fftn")


@op(name="fft.ifftn", method=False, linear=True)
def ifftn(input: Array, s: tuple[int, ...] | None = None, dim: tuple[int, ...] | None = None, norm: str | None = None) -> Array:
    """The inverse of `fftn`."""
    return _complex_to_complex(input, s, dim, norm, False, "ifftn")


@op(name="fft.rfftn", method=False, linear=True)
def rfftn(input: Array, s: tuple[int, ...] | None = None, dim: tuple[int, ...] | None = None, norm: str | None = None) -> Array:
    """The Fourier transform of a real signal over several dimensions; of the last, the first half. See `fftn`."""
    return _real_to_complex(input, s, dim, norm, True, "rfftn")


@op(name="fft.irfftn", method=False, linear=True)
def irfftn(input: Array, s: tuple[int, ...] | None = None, dim: tuple[int, ...] | None = None, norm: str | None = None) -> Array:
    """The inverse of `rfftn`; `s` holds the lengths of the real signal."""
    return _complex_to_real(input, s, dim, norm, False, "irfftn")


@op(name="fft.hfftn", method=False, linear=True)
def hfftn(input: Array, s: tuple[int, ...] | None = None, dim: tuple[int, ...] | None = None, norm: str | None = None) -> Array:
    """`hfft` over several dimensions: of the last, half is given. `s` holds the lengths of the real result."""
    return _complex_to_real(input, s, dim, norm, True, "hfftn")


@op(name="fft.ihfftn", method=False, linear=True)
def ihfftn(input: Array, s: tuple[int, ...] | None = None, dim: tuple[int, ...] | None = None, norm: str | None = None) -> Array:
    """The inverse of `hfftn`."""
    return _real_to_complex(input, s, dim, norm, False, "ihfftn")


def _over_two(function: Any, name: str) -> Any:
    def transform(input, s: tuple[int, int] | None = None, dim: tuple[int, int] = (-2, -1), norm: str | None = None, **named: Any):
        return function(input, s, dim, norm, **named)

    transform.__name__ = transform.__qualname__ = name
    transform.__doc__ = f"`{function.__name__}` over the last two dimensions, or those that `dim` names."
    return transform


fft2, ifft2 = _over_two(fftn, "fft2"), _over_two(ifftn, "ifft2")
rfft2, irfft2 = _over_two(rfftn, "rfft2"), _over_two(irfftn, "irfft2")
hfft2, ihfft2 = _over_two(hfftn, "hfft2"), _over_two(ihfftn, "ihfft2")

# --- frequencies ---------------------------------------------------------------------------------------------------


def _frequencies(name: str, counts: np.ndarray, n: int, d: float, dtype: Any, device: Any, requires_grad: bool) -> Tensor:
    numpy = numpy_dtype(dtype, dtypes.get_default_dtype().dtype)
    if numpy.kind in "biu":
        raise DtypeError(f"{name} requires a floating point or complex dtype, got {dtype}")
    with np.errstate(divide="ignore", invalid="ignore"):
        values = counts * (np.float64(1.0) / np.float64(n * d)) if counts.size else counts.astype(np.float64)
    return finish(wrap(array_from(values, numpy)), device, requires_grad)


def fftfreq(n: int, d: float = 1.0, *, dtype: Any = None, layout: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """The frequencies of the elements of an `fft`, in cycles per unit of `d`: ``[0, 1, ..., -2, -1] / (n d)``.

    Args:
        n: the length of the signal.
        d: the distance between samples.
        dtype: Default: the default dtype.
        layout: accepted and without effect.
        device: where to put the result.
        requires_grad: whether gradients are accumulated in `.grad`.
    """
    counts = np.concatenate([np.arange((n + 1) // 2), np.arange(-(n // 2), 0)])
    return _frequencies("fftfreq", counts, n, d, dtype, device, requires_grad)


def rfftfreq(n: int, d: float = 1.0, *, dtype: Any = None, layout: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """The frequencies of the elements of an `rfft`: ``[0, 1, ..., n // 2] / (n d)``. See `fftfreq`."""
    return _frequencies("rfftfreq", np.arange(n // 2 + 1), n, d, dtype, device, requires_grad)


@op(name="fft.fftshift", method=False, linear=True)
def fftshift(input: Array, dim: int | tuple[int, ...] | None = None) -> Array:
    """`input` with the frequency 0 moved to the middle of the dimensions `dim`, by default all."""
    dims = wrap_dims(dim, input.ndim)
    return jnp.roll(strong(input), [input.shape[d] // 2 for d in dims], dims)


@op(name="fft.ifftshift", method=False, linear=True)
def ifftshift(input: Array, dim: int | tuple[int, ...] | None = None) -> Array:
    """The inverse of `fftshift`."""
    dims = wrap_dims(dim, input.ndim)
    return jnp.roll(strong(input), [(input.shape[d] + 1) // 2 for d in dims], dims)
