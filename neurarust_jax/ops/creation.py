"""Making tensors: from data, filled, counted, and like another tensor."""

import functools
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .. import devices, dtypes
from ..dispatch import Array, Number, decided, op
from ..errors import ArgumentError, ArgumentTypeError, ShapeError
from ..tensor import Size, Tensor, array_from, attach, wrap
from .common import cast

__all__ = [
    "tensor", "as_tensor", "asarray", "from_numpy", "from_dlpack", "frombuffer", "scalar_tensor", "zeros", "ones", "full", "empty", "zeros_like",
    "ones_like", "full_like", "empty_like", "arange", "range", "linspace", "logspace", "eye", "numel", "is_tensor", "is_nonzero",
    "is_floating_point", "is_complex", "to_dlpack", "from_file", "empty_strided", "empty_permuted", "fill",
]  # fmt: skip

# --- from data -----------------------------------------------------------------------------------------------------


def tensor(data: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False, pin_memory: bool = False) -> Tensor:
    """A tensor with a copy of `data`.

    Args:
        data: a number, a nested sequence of numbers, or an array of any library that speaks DLPack or `__array__`.
        dtype: Default: that of an array; int64 for Python ints, the default dtype for floats, bool for bools.
        device: where to put it. Default: JAX's default device.
        requires_grad: whether gradients are accumulated in `.grad`.
        pin_memory: accepted and without effect.

    Raises:
        TypeError: `data` holds something that is no number.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.tensor([[1, 2], [3, 4]]).dtype
        neurarust_jax.int64
    """
    return finish(wrap(array_from(data, dtype, copy=True)), device, requires_grad)


def as_tensor(data: Any, dtype: Any = None, device: Any = None) -> Tensor:
    """`data` as a tensor, sharing memory and graph where it can. See `tensor`."""
    if isinstance(data, Tensor):
        return data.to(device=device, dtype=dtype) if dtype is not None or device is not None else data
    return finish(wrap(array_from(data, dtype)), device)


def asarray(obj: Any, *, dtype: Any = None, device: Any = None, copy: bool | None = None, requires_grad: bool = False) -> Tensor:
    """`obj` as a tensor, copied only where it must be.

    Args:
        obj: as for `tensor`.
        dtype, device: of the result. Default: those of `obj`.
        copy: `True`: share memory with nobody. `False`: raise if memory cannot be shared.
        requires_grad: whether the result requires a gradient; it has no part in the graph of `obj`.

    Raises:
        ValueError: `copy` is false, and `obj` is no tensor or array that can be taken as it is.
    """
    made = as_tensor(obj, dtype, device).detach()
    if copy:
        with dtypes.x64():
            made = wrap(jnp.copy(made._value))
    elif copy is not None:
        kept = made.dtype == dtypes.as_dtype(obj.dtype) if isinstance(obj, Tensor | jax.Array) or hasattr(obj, "__dlpack__") and not isinstance(obj, np.ndarray) else False
        if not kept:
            raise ArgumentError(f"can't alias tensor with dtype '{made.dtype}' into memory of {type(obj).__name__}: asarray(copy=False) cannot share it; leave copy out")
    return made.requires_grad_(requires_grad) if requires_grad else made


def from_numpy(ndarray: np.ndarray) -> Tensor:
    """A tensor with the elements and dtype of a NumPy array. They are copied: a later write to the array does not reach the tensor."""
    if not isinstance(ndarray, np.ndarray):
        raise ArgumentTypeError(f"expected np.ndarray (got {type(ndarray).__name__}); write nr.tensor(data)")
    return wrap(array_from(ndarray))


def from_dlpack(ext_tensor: Any, *, device: Any = None, copy: bool | None = None) -> Tensor:
    """A tensor over the memory of an array of another library (PyTorch, CuPy, NumPy), without a copy where the layout allows it.

    Args:
        ext_tensor: an array with the method `__dlpack__`.
        device: where to put it. Default: where it is.
        copy: make a copy in any case.
    """
    if isinstance(ext_tensor, np.ndarray):
        return finish(from_numpy(ext_tensor), device)
    return finish(wrap(array_from(ext_tensor, copy=bool(copy))), device)


def to_dlpack(tensor: Tensor) -> Any:
    """A DLPack capsule over the tensor's memory, for a library that takes no object with `__dlpack__`; it can be used once, and nobody may write to it."""
    return tensor.__dlpack__()


def from_file(
    filename: str, shared: bool | None = None, size: int = 0, *, dtype: Any = None, layout: Any = None, device: Any = None, pin_memory: bool = False
) -> Tensor:
    """A 1-d tensor of the numbers in a file, which are read, not mapped.

    Args:
        filename: the file.
        shared: accepted and without effect: a tensor's value never changes, so nothing is written back.
        size: how many numbers.
        dtype: of the numbers. Default: the default dtype.
        device: where to put it.
        layout, pin_memory: accepted and without effect.

    Raises:
        RuntimeError: the file cannot be read or has fewer numbers.
    """
    chosen = dtypes.get_default_dtype() if dtype is None else dtypes.as_dtype(dtype)
    try:
        values = np.fromfile(filename, chosen.dtype, size)
    except OSError as error:
        raise ShapeError(f"unable to open file <{filename}> in read-only mode: {error}") from error
    if values.size < size:
        raise ShapeError(f"the file <{filename}> holds {values.size} numbers of {chosen}, and size={size} were asked for")
    return finish(wrap(array_from(values)), device)


def frombuffer(buffer: Any, *, dtype: Any, count: int = -1, offset: int = 0, requires_grad: bool = False) -> Tensor:
    """A 1-d tensor with a copy of the elements in a Python buffer."""
    return finish(from_numpy(np.frombuffer(buffer, dtypes.as_dtype(dtype).dtype, count, offset)), None, requires_grad)


def scalar_tensor(s: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """A 0-d tensor of the default dtype."""
    return finish(wrap(array_from(s, dtype or dtypes.get_default_dtype())), device, requires_grad)


def finish(made: Tensor, device: Any, requires_grad: bool = False) -> Tensor:
    """`made` on `device`, as a leaf that requires grad or not. Inside a transformation the device is that of the whole computation."""
    if device is not None and not isinstance(made._value, jax.core.Tracer):
        made = wrap(devices.put(made._value, device))
    return made.requires_grad_() if requires_grad else made


# --- filled --------------------------------------------------------------------------------------------------------


@op(name="_constant", method=False)
def _constant(size: tuple[int, ...], value: Number, dtype: dtypes.dtype) -> Array:
    """A tensor filled with a number that is compiled in."""
    return jnp.full(size, value, dtype.dtype)


@op(name="_filled", method=False)
def _filled(value: Array | float, size: tuple[int, ...], dtype: dtypes.dtype) -> Array:
    """A tensor filled with a number."""
    return jnp.broadcast_to(cast(value, dtype.dtype), size)


def size_of(size: Sequence[Any]) -> tuple[int, ...]:
    """A shape given as separate ints or as one sequence."""
    if len(size) == 1 and not isinstance(size[0], int) and not jax.export.is_symbolic_dim(size[0]):
        (size,) = size
        if isinstance(size, Tensor | np.ndarray | np.generic):
            size = size.tolist()
            size = size if isinstance(size, list) else [size]
    try:
        size = tuple(map(_length, size))
    except TypeError:
        raise ArgumentTypeError(f"a size is a sequence of ints, got {size!r}") from None
    if any(length < 0 for length in size):
        raise ArgumentError(f"Trying to create tensor with negative dimension: {list(size)}")
    return size


def _length(x: Any) -> int:
    """A length as an int, or the symbol that it is while a model is exported for any length."""
    return x if jax.export.is_symbolic_dim(x) else int(x)


def _maker(name: str, value: float, doc: str):
    def make(*size: Any, dtype: Any = None, layout: Any = None, device: Any = None, requires_grad: bool = False, pin_memory: bool = False, **named: Any) -> Tensor:
        if named:
            size = _only(name, named, "size", size)
        chosen = dtypes.get_default_dtype() if dtype is None else dtypes.as_dtype(dtype)
        return finish(_constant(size_of(size), value, chosen), device, requires_grad)

    make.__name__ = make.__qualname__ = name
    make.__doc__ = f"""{doc}

    Args:
        *size: the shape, as ints or as one sequence of ints.
        dtype: Default: the default dtype.
        device: where to put it. Default: JAX's default device.
        requires_grad: whether gradients are accumulated in `.grad`.
        layout, pin_memory: accepted and without effect.
    """
    return make


def _only(function: str, named: dict[str, Any], name: str, otherwise: Any) -> Any:
    value = (named.pop(name),) if name in named else otherwise
    named.pop("memory_format", None)
    if named.pop("out", None) is not None:
        raise ArgumentTypeError(f"{function}() takes no out=: a Tensor's value never changes here. Write instead:  out = nr.{function}(...)")
    if named:
        raise ArgumentTypeError(f"{function}() got an unexpected keyword argument {next(iter(named))!r}")
    return value


zeros = _maker("zeros", 0, "A tensor of zeros.")
ones = _maker("ones", 1, "A tensor of ones.")
empty = _maker("empty", 0, "A tensor whose elements nobody should rely on (they are zeros: XLA has no uninitialised memory).")


def empty_strided(
    size: Any, stride: Any, *, dtype: Any = None, layout: Any = None, device: Any = None, requires_grad: bool = False, pin_memory: bool = False
) -> Tensor:
    """As `empty`. The strides, one for each dimension, have no effect: XLA chooses the layout by itself."""
    if len(size) != len(stride):
        raise ShapeError(f"dimensionality of sizes ({len(size)}) must match dimensionality of strides ({len(stride)})")
    return empty(size, dtype=dtype, device=device, requires_grad=requires_grad)


def empty_permuted(
    size: Any, physical_layout: Any, *, dtype: Any = None, layout: Any = None, device: Any = None, requires_grad: bool = False, pin_memory: bool = False
) -> Tensor:
    """As `empty`. The order of the dimensions in memory, a permutation of them, has no effect: XLA chooses the layout by itself."""
    if sorted(physical_layout) != np.arange(len(size)).tolist():
        raise ShapeError(f"empty_permuted(): physical_layout={tuple(physical_layout)} is no permutation of the {len(size)} dimensions of size={tuple(size)}")
    return empty(size, dtype=dtype, device=device, requires_grad=requires_grad)


@op(method=False, linear=True)
def fill(input: Array, value: Array | float) -> Array:
    """A tensor of the shape and dtype of `input` whose elements are all `value`, a number or a 0-d tensor, to which the gradient flows.

    Raises:
        RuntimeError: `value` has dimensions.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.fill(nr.zeros(2), 3)
        tensor([3., 3.])
    """
    if getattr(value, "ndim", 0):
        raise ShapeError(f"fill only supports a 0-dimensional value but got a tensor with {value.ndim} dimensions; write value.expand(shape)")
    return jnp.broadcast_to(cast(value, input.dtype), input.shape)


def full(size: Any, fill_value: Any, *, dtype: Any = None, layout: Any = None, device: Any = None, requires_grad: bool = False, **named: Any) -> Tensor:
    """A tensor filled with `fill_value`.

    Args:
        size: the shape.
        fill_value: a number or 0-d tensor.
        dtype: Default: that which `nr.tensor(fill_value)` has.
        device: where to put it. Default: JAX's default device.
        requires_grad: whether gradients are accumulated in `.grad`.

    Raises:
        RuntimeError: the dtype does not hold a number of that size.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.full((2,), True)
        tensor([True, True])
    """
    _only("full", named, "", None)
    chosen = dtypes.from_numpy(dtypes.result_numpy_dtype(fill_value)) if dtype is None else dtypes.as_dtype(dtype)
    _check_range(fill_value, chosen)
    return finish(_filled(fill_value, size_of((size,)), chosen), device, requires_grad)


@functools.cache
def _limits(dtype: np.dtype) -> tuple[Any, Any]:
    """The least and the greatest number of an integer dtype."""
    found = jnp.iinfo(dtype)
    return found.min, found.max


def _check_range(value: Any, dtype: dtypes.dtype) -> None:
    """Raise PyTorch's error if a Python number is too large for the dtype; a negative one wraps in an unsigned dtype."""
    if type(value) not in (int, float, complex) or dtype.dtype.kind == "b":
        return
    if type(value) is complex:
        fits = dtype.is_complex or not value.imag
    elif dtype.is_floating_point or dtype.is_complex:
        fits = not math.isfinite(value) or abs(value) <= float(jnp.finfo(dtype.dtype).max)
    else:
        least, greatest = _limits(dtype.dtype)
        fits = math.isfinite(value) and (least or -greatest) <= value <= greatest and not (type(value) is float and least == 0 > value)
    if not fits:
        raise ArgumentError(f"value cannot be converted to type {dtype.dtype.name} without overflow: {value}")


def _liker(name: str, value: float, doc: str):
    def make(
        input: Any, *, dtype: Any = None, layout: Any = None, device: Any = None, requires_grad: bool = False, memory_format: Any = None, pin_memory: bool = False
    ) -> Tensor:
        chosen = dtypes.from_numpy(input.dtype) if dtype is None else dtypes.as_dtype(dtype)
        return finish(_constant(tuple(input.shape), value, chosen), _device_like(input, device), requires_grad)

    make.__name__ = make.__qualname__ = name
    make.__doc__ = f"""{doc}

    Args:
        input: the tensor whose shape, dtype and device are taken.
        dtype, device: others, if given.
        requires_grad: whether gradients are accumulated in `.grad`.
    """
    return make


def _device_like(input: Any, device: Any) -> Any:
    """The device asked for, or that of `input` where it is not the default one."""
    value = getattr(input, "_value", input)
    if device is not None or not isinstance(value, jax.Array) or isinstance(value, jax.core.Tracer) or not value.committed:
        return device
    return value.sharding if len(value.devices()) == 1 else None


zeros_like = _liker("zeros_like", 0, "Zeros in the shape of another tensor.")
ones_like = _liker("ones_like", 1, "Ones in the shape of another tensor.")
empty_like = _liker("empty_like", 0, "A tensor in the shape of another, whose elements nobody should rely on.")


def full_like(
    input: Any, fill_value: Any, *, dtype: Any = None, layout: Any = None, device: Any = None, requires_grad: bool = False, memory_format: Any = None
) -> Tensor:
    """`fill_value` in the shape, and by default the dtype, of another tensor."""
    chosen = dtypes.from_numpy(input.dtype) if dtype is None else dtypes.as_dtype(dtype)
    _check_range(fill_value, chosen)
    return finish(_filled(fill_value, tuple(input.shape), chosen), _device_like(input, device), requires_grad)


# --- counted -------------------------------------------------------------------------------------------------------


@op(name="_arange", method=False)
def _arange(start: Array | float, step: Array | float, length: int, dtype: dtypes.dtype) -> Array:
    """``start + i * step`` for i below `length`; compiled once per length."""
    exact = np.dtype(np.int64) if dtype.dtype.kind in "iub" else np.dtype(np.float64)
    counted = cast(start, exact) + jax.lax.iota(np.int32 if length < 2**31 else np.int64, length).astype(exact) * cast(step, exact)
    return cast(counted, dtype.dtype)


def arange(
    start: Any = None, end: Any = None, step: Any = 1, *, dtype: Any = None, layout: Any = None, device: Any = None, requires_grad: bool = False, **named: Any
) -> Tensor:
    """The numbers from `start` up to, and without, `end`, by `step`.

    Args:
        start: the first number. Default: 0.
        end: the bound, which is left out.
        step: the distance between neighbours. Default: 1.
        dtype: Default: int64 if all are ints, else the default dtype.

    Raises:
        RuntimeError: `step` is 0, or leads away from `end`.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.arange(1, 4)
        tensor([1, 2, 3])
    """
    _only("arange", named, "", None)
    if end is None:
        start, end = 0, start
    start, end, step = (_number(x, "arange") for x in (0 if start is None else start, end, step))
    integers = all(isinstance(x, int) or jax.export.is_symbolic_dim(x) for x in (start, end, step))
    inferred = dtypes.int64 if integers else dtypes.get_default_dtype()
    chosen = inferred if dtype is None else dtypes.as_dtype(dtype)
    if step == 0:
        raise ArgumentError("step must be nonzero")
    if any(isinstance(x, float) and not math.isfinite(x) for x in (start, end)):
        raise ArgumentError(f"unsupported range: {start} -> {end}")
    if chosen is dtypes.int64:  # PyTorch counts whole numbers here, but not for the other integer dtypes
        start, end, step, integers = _length(start), _length(end), _length(step), True
        if step == 0:
            raise ArgumentError("step must be nonzero: dtype=int64 makes it a whole number first")
    if (end - start) * step < 0:
        raise ArgumentError(f"upper bound and lower bound inconsistent with step sign: from {start} to {end} by {step}")
    length = jax.core.max_dim(0, -_length((start - end) // step)) if integers else int(np.ceil((end - start) / step))
    return finish(_arange(start, step, length, chosen), device, requires_grad)


def range(start: Any = 0, end: Any = None, step: Any = 1, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """The numbers from `start` to `end`, `end` included, in the default dtype. Prefer `arange`."""
    if end is None:
        start, end = 0, start
    length = int((end - start) // step) + 1
    return finish(_arange(start, step, length, dtypes.as_dtype(dtype or dtypes.get_default_dtype())), device, requires_grad)


def _number(x: Any, function: str) -> Any:
    if isinstance(x, bool | int | float) or jax.export.is_symbolic_dim(x):
        return x
    if isinstance(x, Tensor | np.generic | np.ndarray | jax.Array):
        return x.item()
    raise ArgumentTypeError(f"{function}() takes numbers, got {x!r}")


@op(name="_linspace", method=False)
def _linspace(start: Array | float, end: Array | float, steps: int, dtype: dtypes.dtype, base: Number) -> Array:
    """`steps` numbers from `start` to `end`, counted from the nearer end as PyTorch does; with a base, its powers."""
    wide = np.dtype(np.complex128 if dtype.is_complex else np.float64)
    integers = not (dtype.is_floating_point or dtype.is_complex)
    start, end = (cast(jnp.trunc(x) if integers else x, wide) for x in (start, end))
    index = jax.lax.iota(np.int32, steps)
    parts = jax.lax.optimization_barrier(np.asarray(max(steps - 1, 1), wide))  # XLA would multiply by the reciprocal, and integers fall short of their number
    step = (end - start) / parts
    near_start = index < steps // 2 if steps > 1 else True
    numbers = jnp.where(near_start, start, end) + step * jnp.where(near_start, index, index - (steps - 1))
    if base:
        numbers = jnp.power(jnp.asarray(base, wide), numbers)
    return cast(jnp.trunc(numbers) if integers else numbers, dtype.dtype)


def _spaced(name: str, start: Any, end: Any, steps: int, dtype: Any, base: float) -> Tensor:
    if not isinstance(steps, int) and not hasattr(steps, "__index__"):
        raise ArgumentTypeError(f"{name}(): argument 'steps' must be int, not {type(steps).__name__}")
    for x in (start, end):
        if getattr(x, "ndim", 0):
            raise ShapeError(f"{name} only supports 0-dimensional start and end tensors, but got {x.ndim} dimension(s), shape {tuple(x.shape)}")
    if steps < 0:
        raise ArgumentError("number of steps must be non-negative")
    if dtype is None:
        given = any(isinstance(x, complex) or getattr(x, "dtype", dtypes.float32) in (dtypes.complex64, dtypes.complex128) for x in (start, end))
        chosen = dtypes.get_default_dtype().to_complex() if given else dtypes.get_default_dtype()
    else:
        chosen = dtypes.as_dtype(dtype)
    return _linspace(start, end, int(steps), chosen, float(base))


def linspace(start: Any, end: Any, steps: int, *, dtype: Any = None, layout: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """`steps` numbers at equal distances from `start` to `end`, both included.

    Args:
        start: the first number.
        end: the last number.
        steps: how many.
        dtype: Default: the default dtype.
    """
    return finish(_spaced("linspace", start, end, steps, dtype, 0.0), device, requires_grad)


def logspace(
    start: Any, end: Any, steps: int, base: float = 10.0, *, dtype: Any = None, layout: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """`steps` powers of `base`, with exponents at equal distances from `start` to `end`."""
    return finish(_spaced("logspace", start, end, steps, dtype, base), device, requires_grad)


@op(name="_eye", method=False)
def _eye(n: int, m: int, dtype: dtypes.dtype) -> Array:
    """Ones on the diagonal."""
    return jnp.eye(n, m, dtype=dtype.dtype)


def eye(n: int, m: int | None = None, *, dtype: Any = None, layout: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """An `n` by `m` matrix with ones on its diagonal. `m` defaults to `n`."""
    n, m = size_of((n, n if m is None else m))
    return finish(_eye(n, m, dtypes.as_dtype(dtype or dtypes.get_default_dtype())), device, requires_grad)


# --- questions -----------------------------------------------------------------------------------------------------


def numel(input: Any) -> int:
    """The number of elements."""
    return Size(input.shape).numel()


def is_tensor(obj: Any) -> bool:
    """Whether `obj` is a `Tensor`."""
    return isinstance(obj, Tensor)


def is_nonzero(input: Tensor) -> bool:
    """Whether the one element is not 0."""
    if input.numel() != 1:
        raise ArgumentError(f"bool value of Tensor with {input.numel()} values is ambiguous")
    return decided(input != 0)


def is_floating_point(input: Tensor) -> bool:
    """Whether the dtype is a floating-point one."""
    return input.dtype.is_floating_point


def is_complex(input: Tensor) -> bool:
    """Whether the dtype is a complex one."""
    return input.dtype.is_complex


def _new_like(make):
    def method(self: Tensor, *arguments: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False, **named: Any) -> Tensor:
        made = make(*arguments, dtype=dtype or self.dtype, **named)
        return finish(made, _device_like(self, device), requires_grad)

    method.__doc__ = f"As `nr.{make.__name__}`, with this tensor's dtype and device unless others are given."
    return method


for _name, _make in {"new_zeros": zeros, "new_ones": ones, "new_empty": empty, "new_full": full, "new_tensor": tensor, "new_empty_strided": empty_strided}.items():
    attach(_name, _new_like(_make))

