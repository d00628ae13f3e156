"""Random tensors. Every op takes the state of a `Generator` and gives back the next one, so that compiled functions draw anew at every call."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .. import dtypes
from ..dispatch import Array, op
from ..errors import ArgumentError, ArgumentTypeError, DtypeError
from ..generator import Generator, default_generator
from ..tensor import Tensor, attach
from .common import cast, float_dtype, floating
from .creation import _device_like, finish, size_of

__all__ = [
    "rand", "rand_like", "randn", "randn_like", "randint", "randint_like", "randperm", "normal", "bernoulli", "multinomial", "poisson", "binomial",
]  # fmt: skip


def draw(random_op: Any, generator: Generator | None, *arguments: Any) -> Tensor:
    """Run a random op on the generator's state, and advance it."""
    generator = default_generator if generator is None else generator
    if not isinstance(generator, Generator):
        raise ArgumentTypeError(f"generator= takes a nr.Generator, got {type(generator).__name__}; write nr.Generator().manual_seed(0)")
    state = generator._read()
    if isinstance(state, jax.Array) and not isinstance(state, jax.core.Tracer) and state.committed:
        state = np.asarray(state)  # a compiled function left it on that function's device, which need not be where the sample goes
    sample, state = random_op(state, *arguments)
    generator._write(state._value)
    return sample


def key_of(state: Array) -> tuple[Array, Array]:
    """The key of this draw, and the state after it."""
    state = jnp.asarray(state, np.uint32)
    key = jax.random.fold_in(jax.random.wrap_key_data(state[:2], impl="threefry2x32"), state[2])
    return key, state + np.array([0, 0, 1], np.uint32)


def _real(dtype: np.dtype) -> np.dtype:
    return np.zeros(0, dtype).real.dtype if dtype.kind == "c" else dtype


# --- the distributions ---------------------------------------------------------------------------------------------


@op(name="_uniform", method=False)
def _uniform(state: Array, size: tuple[int, ...], dtype: dtypes.dtype, low: Array | float, high: Array | float) -> tuple[Array, Array]:
    """Uniform numbers in [low, high)."""
    key, state = key_of(state)
    real = _real(dtype.dtype)
    low, high = cast(low, real), cast(high, real)
    if dtype.is_complex:
        parts = jax.random.uniform(key, (2, *size), real)
        return cast(jax.lax.complex(parts[0], parts[1]), dtype.dtype), state
    return low + jax.random.uniform(key, size, real) * (high - low), state


@op(name="_normal", method=False)
def _normal(state: Array, size: tuple[int, ...], dtype: dtypes.dtype) -> tuple[Array, Array]:
    """Standard normal numbers; complex ones have variance 1 too."""
    key, state = key_of(state)
    return jax.random.normal(key, size, dtype.dtype), state


@op(name="_scaled_normal", method=False)
def _scaled_normal(state: Array, mean: Array | float, std: Array | float, size: tuple[int, ...], dtype: dtypes.dtype) -> tuple[Array, Array]:
    """Normal numbers with a mean and standard deviation for each element."""
    key, state = key_of(state)
    return cast(mean, dtype.dtype) + cast(std, _real(dtype.dtype)) * jax.random.normal(key, size, dtype.dtype), state


@op(name="_truncated_normal", method=False)
def _truncated_normal(
    state: Array, mean: Array | float, std: Array | float, low: Array | float, high: Array | float, size: tuple[int, ...], dtype: dtypes.dtype
) -> tuple[Array, Array]:
    """Normal numbers that lie in [low, high], by the inverse of the distribution function, which is taken in the tail where it is precise."""
    key, state = key_of(state)
    real = np.float64 if dtype.dtype == np.float64 else np.float32
    mean, std, low, high = (cast(x, real) for x in (mean, std, low, high))
    least, most = (low - mean) / std, (high - mean) / std
    upper = least > 0
    least, most = jnp.where(upper, -most, least), jnp.where(upper, -least, most)
    first, last = jax.scipy.special.ndtr(least), jax.scipy.special.ndtr(most)
    deviations = jax.scipy.special.ndtri(first + jax.random.uniform(key, size, real) * (last - first))
    sample = cast(mean + std * jnp.where(upper, -deviations, deviations), dtype.dtype)
    return jnp.clip(sample, cast(low, dtype.dtype), cast(high, dtype.dtype)), state


@op(name="_orthogonal", method=False)
def _orthogonal(state: Array, rows: int, columns: int, dtype: dtypes.dtype) -> tuple[Array, Array]:
    """A matrix with orthonormal rows or columns, whichever are fewer, drawn uniformly (Mezzadri, 2007)."""
    key, state = key_of(state)
    working = dtype.dtype if dtype.dtype.itemsize >= 4 else np.dtype(np.float32)
    sample = jax.random.normal(key, (max(rows, columns), min(rows, columns)), working)
    q, r = jnp.linalg.qr(sample)
    q = q * jnp.sign(jnp.diagonal(r))
    return cast(q.T if rows < columns else q, dtype.dtype), state


@op(name="_integers", method=False)
def _integers(state: Array, low: Array | int, high: Array | int, size: tuple[int, ...], dtype: dtypes.dtype) -> tuple[Array, Array]:
    """Integers in [low, high)."""
    key, state = key_of(state)
    return cast(jax.random.randint(key, size, cast(low, np.int64), cast(high, np.int64), np.int64), dtype.dtype), state


@op(name="_permutation", method=False)
def _permutation(state: Array, n: int, dtype: dtypes.dtype) -> tuple[Array, Array]:
    """The integers below n in random order."""
    key, state = key_of(state)
    return cast(jax.random.permutation(key, n), dtype.dtype), state


@op(name="_bernoulli", method=False, linear=True)
def _bernoulli(state: Array, probability: Array | float, size: tuple[int, ...], dtype: dtypes.dtype) -> tuple[Array, Array]:
    """1 with the given probability, else 0."""
    key, state = key_of(state)
    return cast(jax.random.uniform(key, size, np.float32) < jax.lax.stop_gradient(floating(probability)), dtype.dtype), state


@op(name="_categorical", method=False)
def _categorical(state: Array, weights: Array, count: int, replacement: bool) -> tuple[Array, Array]:
    """Indices drawn by their weights: by Gumbel noise, which without replacement takes the `count` largest (Efraimidis and Spirakis, 2006)."""
    key, state = key_of(state)
    logits = jnp.log(weights)
    if replacement:
        chosen = jax.random.categorical(key, logits[..., None, :], axis=-1, shape=(*weights.shape[:-1], count))
    else:
        noise = jax.random.gumbel(key, weights.shape, logits.dtype)
        chosen = jax.lax.top_k(jnp.where(weights > 0, logits + noise, -jnp.inf), count)[1]
    return cast(chosen, np.int64), state


@op(name="_poisson", method=False)
def _poisson(state: Array, rate: Array) -> tuple[Array, Array]:
    """Poisson counts."""
    key, state = key_of(state)
    return cast(jax.random.poisson(key, jax.lax.stop_gradient(floating(rate)), dtype=np.int32), rate.dtype), state


@op(name="_binomial", method=False)
def _binomial(state: Array, count: Array, prob: Array) -> tuple[Array, Array]:
    """Binomial counts."""
    key, state = key_of(state)
    dtype = float_dtype(count.dtype)
    return cast(jax.random.binomial(key, jax.lax.stop_gradient(cast(count, dtype)), jax.lax.stop_gradient(cast(prob, dtype))), dtype), state


@op(name="_standard_gamma", method=False, keeps_vjp=True)
def _standard_gamma(state: Array, concentration: Array, size: tuple[int, ...]) -> tuple[Array, Array]:
    """Gamma numbers of rate 1. Their gradient by the concentration is that of the distribution function, held at the same value (Figurnov et al., 2018)."""
    key, state = key_of(state)
    return jax.random.gamma(key, concentration, size, concentration.dtype), state


@op(name="_dirichlet", method=False, keeps_vjp=True)
def _dirichlet(state: Array, concentration: Array, size: tuple[int, ...]) -> tuple[Array, Array]:
    """Points of the simplex along the last dimension, in a batch of shape `size`, from the logarithms of gamma numbers; they do not vanish where concentrations are small."""
    key, state = key_of(state)
    return jax.random.dirichlet(key, concentration, size, concentration.dtype), state


@op(name="_von_mises", method=False)
def _von_mises(state: Array, concentration: Array, size: tuple[int, ...]) -> tuple[Array, Array]:
    """Angles around 0, by rejection from a wrapped Cauchy distribution (Best and Fisher, 1979)."""
    key, state = key_of(state)
    dtype = concentration.dtype
    wide = cast(jax.lax.stop_gradient(concentration), np.float64)  # the proposal's shape is a difference of near numbers
    root = 1 + jnp.sqrt(1 + 4 * wide**2)
    rho = (root - jnp.sqrt(2 * root)) / (2 * wide)
    shape = cast(jnp.where(wide < 1e-5, 1 / wide + wide, (1 + rho**2) / (2 * rho)), dtype)
    least = cast(jnp.finfo(dtype).tiny, dtype)

    def attempt(carry):
        angle, done, key = carry
        key, now = jax.random.split(key)
        first, second, third = jax.random.uniform(now, (3, *size), dtype, minval=least)
        z = jnp.cos(cast(np.pi, dtype) * first)
        f = (1 + shape * z) / (shape + z)
        c = concentration * (shape - f)
        accepted = (c * (2 - c) - second > 0) | (jnp.log(c / second) + 1 - c >= 0)
        proposal = jnp.sign(third - 0.5) * jnp.arccos(jnp.clip(f, -1, 1))
        return jnp.where(accepted & ~done, proposal, angle), done | accepted, key

    angle = jax.lax.while_loop(lambda carry: ~carry[1].all(), attempt, (jnp.zeros(size, dtype), jnp.zeros(size, np.bool_), key))[0]
    return angle, state


@op(name="_dropout_mask", method=False)
def dropout_mask(state: Array, size: tuple[int, ...], keep: Array | float) -> tuple[Array, Array]:
    """True with probability `keep`. Sixteen random bits decide, which is half of what a uniform float costs."""
    key, state = key_of(state)
    bits = jax.random.bits(key, size, np.uint16)
    return bits.astype(np.float32) < cast(keep, np.float32) * 65536, state


# --- public --------------------------------------------------------------------------------------------------------


def _floating_dtype(dtype: Any, function: str) -> dtypes.dtype:
    chosen = dtypes.get_default_dtype() if dtype is None else dtypes.as_dtype(dtype)
    if not (chosen.is_floating_point or chosen.is_complex):
        raise DtypeError(f'"{function}" not implemented for {chosen}; expected a floating-point or complex dtype')
    return chosen


def rand(*size: Any, generator: Generator | None = None, dtype: Any = None, layout: Any = None, device: Any = None, requires_grad: bool = False, pin_memory: bool = False) -> Tensor:
    """Uniform random numbers in [0, 1).

    Args:
        *size: the shape, as ints or as one sequence.
        generator: the source. Default: the one that `nr.manual_seed` seeds.
        dtype: Default: the default dtype.
        device: where to put it.
        requires_grad: whether gradients are accumulated in `.grad`.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.rand(2, 3).shape
        neurarust_jax.Size([2, 3])
    """
    return finish(draw(_uniform, generator, size_of(size), _floating_dtype(dtype, "rand"), 0.0, 1.0), device, requires_grad)


def randn(*size: Any, generator: Generator | None = None, dtype: Any = None, layout: Any = None, device: Any = None, requires_grad: bool = False, pin_memory: bool = False) -> Tensor:
    """Random numbers from the normal distribution with mean 0 and variance 1. See `rand`."""
    return finish(draw(_normal, generator, size_of(size), _floating_dtype(dtype, "randn")), device, requires_grad)


def randint(low: Any, high: Any = None, size: Any = None, *, generator: Generator | None = None, dtype: Any = None, layout: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Random integers in [low, high).

    Args:
        low: the least. Default: 0.
        high: the bound, which is left out.
        size: the shape.
        generator: the source.
        dtype: Default: int64.

    Raises:
        RuntimeError: `high` is not above `low`.
    """
    if size is None:
        low, high, size = (0, low, high) if isinstance(high, tuple | list | Tensor) else (low, high, size)
    if high is None:
        low, high = 0, low
    if size is None:
        raise ArgumentTypeError("randint() needs a size; write nr.randint(0, 10, (3,))")
    if high <= low:
        raise ArgumentError(f"random_ expects 'from' to be less than 'to', but got from={low} >= to={high}")
    chosen = dtypes.int64 if dtype is None else dtypes.as_dtype(dtype)
    return finish(draw(_integers, generator, int(low), int(high), size_of((size,)), chosen), device, requires_grad)


def rand_like(input: Tensor, *, dtype: Any = None, layout: Any = None, device: Any = None, requires_grad: bool = False, memory_format: Any = None, generator: Generator | None = None) -> Tensor:
    """Uniform random numbers in [0, 1) in the shape and dtype of another tensor."""
    return finish(draw(_uniform, generator, tuple(input.shape), _floating_dtype(dtype or input.dtype, "rand_like"), 0.0, 1.0), _device_like(input, device), requires_grad)


def randn_like(input: Tensor, *, dtype: Any = None, layout: Any = None, device: Any = None, requires_grad: bool = False, memory_format: Any = None, generator: Generator | None = None) -> Tensor:
    """Standard normal random numbers in the shape and dtype of another tensor."""
    return finish(draw(_normal, generator, tuple(input.shape), _floating_dtype(dtype or input.dtype, "randn_like")), _device_like(input, device), requires_grad)


def randint_like(input: Tensor, low: Any, high: Any = None, *, dtype: Any = None, device: Any = None, requires_grad: bool = False, generator: Generator | None = None) -> Tensor:
    """Random integers in [low, high) in the shape and dtype of another tensor."""
    return randint(low, high, tuple(input.shape), dtype=dtype or input.dtype, device=device, requires_grad=requires_grad, generator=generator) if high is not None else (
        randint(0, low, tuple(input.shape), dtype=dtype or input.dtype, device=device, requires_grad=requires_grad, generator=generator)
    )


def randperm(n: int, *, generator: Generator | None = None, dtype: Any = None, layout: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """The integers from 0 to ``n - 1`` in random order, int64 by default."""
    return finish(draw(_permutation, generator, int(n), dtypes.as_dtype(dtype or dtypes.int64)), device, requires_grad)


def normal(mean: Any, std: Any = 1.0, size: Any = None, *, generator: Generator | None = None, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """Normal random numbers with the given means and standard deviations.

    Args:
        mean, std: numbers, or tensors that broadcast together.
        size: the shape; only for two numbers.

    Raises:
        RuntimeError: a standard deviation is negative.
    """
    if isinstance(std, float | int) and std < 0:
        raise ArgumentError(f"normal expects std >= 0.0, but found std {std}")
    if size is not None:
        return finish(draw(_scaled_normal, generator, mean, std, size_of((size,)), _floating_dtype(dtype, "normal")), device, requires_grad)
    given = [x for x in (mean, std) if isinstance(x, Tensor)]
    shape = np.broadcast_shapes(*(tuple(x.shape) for x in given))
    return draw(_scaled_normal, generator, mean, std, shape, _floating_dtype(given[0].dtype, "normal"))


def bernoulli(input: Tensor, p: float | None = None, *, generator: Generator | None = None) -> Tensor:
    """1 with the probability that `input` gives for each element (or `p`, for all), else 0; in the dtype of `input`."""
    return draw(_bernoulli, generator, input if p is None else p, tuple(input.shape), input.dtype)


def multinomial(input: Tensor, num_samples: int, replacement: bool = False, *, generator: Generator | None = None) -> Tensor:
    """Indices drawn by the weights in each row of `input`.

    Args:
        input: nonnegative weights, shape (n,) or (m, n), with a positive sum in each row.
        num_samples: how many indices a row.
        replacement: whether an index can be drawn again.

    Returns:
        An int64 tensor of shape (num_samples,) or (m, num_samples).
    """
    if input.dim() not in (1, 2):
        raise ArgumentError(f"prob_dist must be 1 or 2 dim, got shape {tuple(input.shape)}")
    if num_samples <= 0 or (not replacement and num_samples > input.shape[-1]):
        raise ArgumentError(f"cannot sample n_sample={num_samples} of {input.shape[-1]} weights {'with' if replacement else 'without'} replacement")
    _check_weights(input)
    return draw(_categorical, generator, input.detach(), int(num_samples), bool(replacement))


def _check_weights(input: Tensor) -> None:
    """The weights are such that `multinomial` can draw by them. Their values are looked at only where that is cheap: concrete, in the CPU's memory."""
    if input.dtype.dtype.kind in "biuc":
        raise DtypeError(f"multinomial only supports floating-point dtypes for input, got: {input.dtype}; write input.float()")
    if input.shape[-1] > 2**24:
        raise ArgumentError(f"number of categories cannot exceed 2^24, got {input.shape[-1]}")
    value = input._value
    if isinstance(value, jax.core.Tracer) or not value.size or next(iter(value.devices())).platform != "cpu":
        return
    weights = np.asarray(value)
    if not (np.isfinite(weights) & (weights >= 0)).all():
        raise ArgumentError("probability tensor contains either `inf`, `nan` or element < 0")
    if not weights.any(-1).all():
        raise ArgumentError("invalid multinomial distribution (sum of probabilities <= 0)")


def poisson(input: Tensor, generator: Generator | None = None) -> Tensor:
    """Poisson counts with the rates in `input`, in its dtype."""
    return draw(_poisson, generator, input)


def binomial(count: Tensor, prob: Tensor, generator: Generator | None = None) -> Tensor:
    """The number of successes in `count` trials of probability `prob`, elementwise."""
    return draw(_binomial, generator, count, prob)


attach("bernoulli", lambda self, p=None, *, generator=None: bernoulli(self, p, generator=generator))
attach("multinomial", multinomial)


# --- fillers of cells; ops/inplace.py makes the in-place methods of them ---------------------------------------------


def _fill(cell: Tensor, sample: Any) -> Tensor:
    return sample if sample.dtype == cell.dtype else sample.to(cell.dtype)


def _sampling_dtype(cell: Tensor) -> dtypes.dtype:
    return cell.dtype if cell.dtype.is_floating_point or cell.dtype.is_complex else dtypes.float32


def _uniform_like(cell: Tensor, function: Any, generator: Generator | None) -> Tensor:
    """`function` of uniform numbers in (0, 1)."""
    smallest = float(np.finfo(np.float32).tiny)
    return _fill(cell, function(draw(_uniform, generator, tuple(cell.shape), _sampling_dtype(cell), smallest, 1.0)))


FILLERS: dict[str, Any] = {
    "uniform_": lambda c, from_=0.0, to=1.0, generator=None: _fill(c, draw(_uniform, generator, tuple(c.shape), _sampling_dtype(c), from_, to)),
    "normal_": lambda c, mean=0.0, std=1.0, generator=None: _fill(c, draw(_scaled_normal, generator, mean, std, tuple(c.shape), _sampling_dtype(c))),
    "bernoulli_": lambda c, p=0.5, generator=None: draw(_bernoulli, generator, p, tuple(c.shape), c.dtype),
    "exponential_": lambda c, lambd=1.0, generator=None: _uniform_like(c, lambda u: -u.log() / lambd, generator),
    "cauchy_": lambda c, median=0.0, sigma=1.0, generator=None: _uniform_like(c, lambda u: median + sigma * (np.pi * (u - 0.5)).tan(), generator),
    "log_normal_": lambda c, mean=1.0, std=2.0, generator=None: _fill(
        c, draw(_scaled_normal, generator, mean, std, tuple(c.shape), _sampling_dtype(c)).exp()
    ),
    "geometric_": lambda c, p, generator=None: _uniform_like(c, lambda u: (u.log() / np.log1p(-p)).ceil().clamp(min=1), generator),
    "random_": lambda c, from_=0, to=None, generator=None: draw(
        _integers, generator, *((0, from_) if to is None and from_ else (from_, to or _largest(c))), tuple(c.shape), c.dtype
    ),
}


def _largest(cell: Tensor) -> int:
    if cell.dtype.is_floating_point:
        return 2 ** (np.finfo(np.float32).nmant + 1)
    return 2 if cell.dtype.name == "bool" else int(np.iinfo(cell.dtype.dtype).max)


