"""`nr.testing`: comparing tensors in tests, and making random ones.

The comparison follows PyTorch's step by step and is computed in NumPy, in the dtype of the operands.
"""

from __future__ import annotations

import cmath
import functools
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

import numpy as np

from . import dtypes
from .errors import ArgumentError
from .ops.complex import complex as complex_of
from .ops.conversion import finfo, iinfo
from .ops.creation import as_tensor, full, size_of, tensor
from .ops.elementwise import where
from .ops.random import rand, randint
from .tensor import Tensor

__all__ = ["assert_allclose", "assert_close", "make_tensor"]

# (rtol, atol) by dtype, PyTorch's; all others compare exactly
_TOLERANCES = {
    dtypes.float16: (1e-3, 1e-5),
    dtypes.bfloat16: (1.6e-2, 1e-5),
    dtypes.float32: (1.3e-6, 1e-5),
    dtypes.float64: (1e-7, 1e-7),
    dtypes.complex64: (1.3e-6, 1e-5),
    dtypes.complex128: (1e-7, 1e-7),
}
_OLDER_TOLERANCES = {dtypes.float16: (1e-3, 1e-3), dtypes.float32: (1e-4, 1e-5), dtypes.float64: (1e-5, 1e-8)}
_NUMBERS = {int: dtypes.int64, float: dtypes.float64, complex: dtypes.complex128}

Place = tuple[Any, ...]  # indices and keys that lead to an element of nested containers
Message = str | Callable[[str], str] | None


def _fail(error: type[Exception], text: str, place: Place, msg: Message = None) -> NoReturn:
    """Raise the error with the place of the failure, or with the message that the user gave."""
    if not isinstance(msg, str):
        if place:
            text += f"\n\nThe failure occurred for item {''.join(f'[{key!r}]' for key in place)}"
        msg = msg(text) if callable(msg) else text
    raise error(msg)


def assert_close(
    actual: Any, expected: Any, *, allow_subclasses: bool = True, rtol: float | None = None, atol: float | None = None, equal_nan: bool = False,
    check_device: bool = True, check_dtype: bool = True, check_layout: bool = True, check_stride: bool = False, msg: Message = None,
) -> None:  # fmt: skip
    """Raise an error that says what differs unless `actual` and `expected` are close: ``|actual - expected| <= atol + rtol * |expected|``, elementwise.

    Tensors, NumPy and JAX arrays are compared with their own kind, numbers with numbers; sequences and mappings element by element.

    Args:
        actual: what was computed.
        expected: what it should be.
        allow_subclasses: compare a `Parameter` with a `Tensor` too, and other types of which one is derived from the other.
        rtol: the relative tolerance; goes with `atol`. Default for both: by the dtype, the greater of the two operands', see below.
        atol: the absolute tolerance.
        equal_nan: whether NaN equals NaN.
        check_device: require the same device.
        check_dtype: require the same dtype (of numbers, the same type). Otherwise both are converted to the promoted dtype.
        check_layout, check_stride: accepted and without effect: the layout of all tensors is strided, and their strides follow from their shape.
        msg: the text of the error, or a function that makes it of the text generated.

    The default tolerances `(rtol, atol)` are ``(1e-3, 1e-5)`` for float16, ``(1.6e-2, 1e-5)`` for bfloat16, ``(1.3e-6, 1e-5)`` for float32 and
    complex64, ``(1e-7, 1e-7)`` for float64 and complex128, and 0 for all others.

    Raises:
        AssertionError: shape, device, dtype or values differ, or the lengths of sequences or the keys of mappings.
        ValueError: only one of `rtol` and `atol` was given.
        TypeError: the two are of types that are not compared with one another.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.testing.assert_close(nr.tensor([1.0, 2.0]), nr.tensor([1.0, 2.5]))
        Traceback (most recent call last):
            ...
        AssertionError: Tensor-likes are not close!
        <BLANKLINE>
        Mismatched elements: 1 / 2 (50.0%)
        Greatest absolute difference: 0.5 at index (1,) (up to 1e-05 allowed)
        Greatest relative difference: 0.20000000298023224 at index (1,) (up to 1.3e-06 allowed)
    """
    __tracebackhide__ = True
    if (rtol is None) != (atol is None):
        raise ArgumentError(f"Both 'rtol' and 'atol' must be either specified or omitted, but got no {'rtol' if rtol is None else 'atol'}.")
    given = None if rtol is None or atol is None else (rtol, atol)
    for place, compare in _comparisons(actual, expected, (), given, equal_nan, allow_subclasses, check_device, check_dtype):
        difference = compare()
        if difference is not None:
            _fail(AssertionError, difference, place, msg)


Comparison = tuple[Place, Callable[[], str | None]]


def _comparisons(actual: Any, expected: Any, place: Place, *options: Any) -> list[Comparison]:
    """The comparisons of all elements of nested containers, each of which returns what differs, or `None`. Differences in structure are raised at once."""
    if _is_sequence(actual) and _is_sequence(expected):
        if len(actual) != len(expected):
            _fail(AssertionError, f"The length of the sequences mismatch: {len(actual)} != {len(expected)}", place)
        return [c for i in range(len(actual)) for c in _comparisons(actual[i], expected[i], (*place, i), *options)]
    if isinstance(actual, Mapping) and isinstance(expected, Mapping):
        if actual.keys() != expected.keys():
            text = (
                f"The keys of the mappings do not match:\nMissing keys in the actual mapping: {_in_order(expected.keys() - actual.keys())}\n"
                f"Additional keys in the actual mapping: {_in_order(actual.keys() - expected.keys())}"
            )
            _fail(AssertionError, text, place)
        return [c for key in _in_order(actual) for c in _comparisons(actual[key], expected[key], (*place, key), *options)]
    return [(place, _comparison(actual, expected, place, *options))]


def _is_sequence(x: Any) -> bool:
    return isinstance(x, Sequence) and not isinstance(x, str | bytes)


def _in_order(keys: Any) -> list[Any]:
    try:
        return sorted(keys)
    except TypeError:
        return list(keys)


def _comparison(
    actual: Any, expected: Any, place: Place, given: tuple[float, float] | None, equal_nan: bool, allow_subclasses: bool, check_device: bool, check_dtype: bool
) -> Callable[[], str | None]:
    both = (actual, expected)
    if actual is None or expected is None:
        return lambda: None if actual is expected else f"None mismatch: {actual} is not {expected}"
    if all(isinstance(x, bool | np.bool_) for x in both):
        return lambda: None if bool(actual) is bool(expected) else f"Booleans mismatch: {bool(actual)} is not {bool(expected)}"
    if all(isinstance(x, int | float | complex | np.number) for x in both):
        a, b = (x.item() if isinstance(x, np.number) else x for x in both)
        tolerances = given or _default_tolerances([_NUMBERS.get(type(x), dtypes.int64) for x in (a, b)])
        return functools.partial(_compare_numbers, a, b, *tolerances, equal_nan, check_dtype)
    related = isinstance(actual, type(expected)) or isinstance(expected, type(actual))
    if related and (allow_subclasses or type(actual) is type(expected)):
        try:
            a, b = as_tensor(actual).detach(), as_tensor(expected).detach()
        except (TypeError, ValueError):
            related = False
        else:
            tolerances = given or _default_tolerances([a.dtype, b.dtype])
            return functools.partial(_compare_tensors, a, b, *tolerances, equal_nan, check_device, check_dtype)
    _fail(TypeError, f"No comparison pair was able to handle inputs of type {type(actual)} and {type(expected)}.", place)


def _default_tolerances(of: list[dtypes.dtype], table: dict[dtypes.dtype, tuple[float, float]] = _TOLERANCES) -> tuple[float, float]:
    pairs = [table.get(d, (0.0, 0.0)) for d in of]
    return max(rtol for rtol, _ in pairs), max(atol for _, atol in pairs)


# --- numbers -------------------------------------------------------------------------------------------------------


def _compare_numbers(actual: Any, expected: Any, rtol: float, atol: float, equal_nan: bool, check_dtype: bool) -> str | None:
    if check_dtype and type(actual) is not type(expected):
        return f"The (d)types do not match: {type(actual)} != {type(expected)}."
    if actual == expected or (equal_nan and cmath.isnan(actual) and cmath.isnan(expected)):
        return None
    difference = abs(actual - expected)
    if cmath.isfinite(difference) and difference <= atol + rtol * abs(expected):
        return None
    return _differing_numbers(actual, expected, rtol, atol)


def _differing_numbers(actual: Any, expected: Any, rtol: float, atol: float) -> str:
    difference = abs(actual - expected)
    return "\n".join([
        f"Scalars are not {_closeness(rtol, atol)}!\n",
        f"Expected {expected} but got {actual}.",
        f"Absolute difference: {difference}{_allowed(atol, rtol, atol)}",
        f"Relative difference: {math.inf if expected == 0 else difference / abs(expected)}{_allowed(rtol, rtol, atol)}",
    ])  # fmt: skip


def _closeness(rtol: float, atol: float) -> str:
    return "equal" if rtol == atol == 0 else "close"


def _allowed(tolerance: float, rtol: float, atol: float) -> str:
    return "" if rtol == atol == 0 else f" (up to {tolerance} allowed)"


# --- tensors -------------------------------------------------------------------------------------------------------


def _compare_tensors(a: Tensor, b: Tensor, rtol: float, atol: float, equal_nan: bool, check_device: bool, check_dtype: bool) -> str | None:
    checked: list[tuple[str, Any, Any]] = [("shape", a.shape, b.shape)]
    if check_device:
        checked.append(("device", a.device, b.device))
    if check_dtype:
        checked.append(("dtype", a.dtype, b.dtype))
    for name, ours, theirs in checked:
        if ours != theirs:
            return f"The values for attribute '{name}' do not match: {ours} != {theirs}."
    x, y = a.numpy(), b.numpy()
    if x.dtype != y.dtype:
        common = dtypes.promote_types(*(np.dtype(np.int64) if v.dtype.kind == "u" and v.dtype.itemsize > 1 else v.dtype for v in (x, y))).dtype
        x, y = x.astype(common), y.astype(common)
    if _is_float8(x) and (rtol or atol):
        return f"Rtol={rtol} and atol={atol} are not supported for bitwise comparison of low dimensional floats. Please use rtol=0.0 and atol=0.0."
    with np.errstate(all="ignore"):
        matches = _close(x, y, rtol, atol, equal_nan)
        if matches.all():
            return None
        return _differing_tensors(x, y, matches, rtol, atol) if x.ndim else _differing_numbers(x.item(), y.item(), rtol, atol)


def _is_float8(x: np.ndarray) -> bool:
    return x.dtype.itemsize == 1 and x.dtype.kind not in "biu"


def _close(x: np.ndarray, y: np.ndarray, rtol: float, atol: float, equal_nan: bool) -> np.ndarray:
    """Where the two are close. Half precision is rounded after every step, as in PyTorch."""
    if _is_float8(x):
        x, y = x.astype(np.float32), y.astype(np.float32)
    matches = x == y
    if equal_nan and x.dtype.kind not in "biu":
        matches |= np.isnan(x) & np.isnan(y)
    if rtol == atol == 0:
        return matches
    if x.dtype.kind in "biu":
        x, y = x.astype(np.float32), y.astype(np.float32)
    real = x.real.dtype if x.dtype.kind == "c" else x.dtype
    wide = np.dtype(np.float32) if real.itemsize < 4 else real
    tolerance = (wide.type(atol) + np.abs((wide.type(rtol) * y).astype(y.dtype)).astype(wide)).astype(real)
    error = np.abs(x - y)
    return matches | (np.isfinite(error) & (error <= tolerance))


def _differing_tensors(x: np.ndarray, y: np.ndarray, matches: np.ndarray, rtol: float, atol: float) -> str:
    """What PyTorch says of tensors that differ: how many elements, and where most."""
    wrong = matches.size - int(matches.sum())
    count = f"Mismatched elements: {wrong} / {matches.size} ({wrong / matches.size:.1%})"
    if _is_float8(x):
        return f"Tensor-likes are not 'equal'!\n\n{count}\nThe first mismatched element is at index {_position(int(np.argmin(matches)), matches.shape)}."
    lines = [f"Tensor-likes are not {_closeness(rtol, atol)}!\n", count]
    if x.dtype.kind in "biu":
        x, y = x.astype(np.int64), y.astype(np.int64)
    absolute = np.abs(x - y)
    magnitude = np.abs(y)
    relative = absolute.astype(np.float32) / magnitude.astype(np.float32) if absolute.dtype.kind == "i" else absolute / magnitude
    for name, differences, tolerance in (("absolute", absolute, atol), ("relative", relative, rtol)):
        differences = np.where(matches, np.zeros((), differences.dtype), differences).reshape(-1)
        worst = _worst(differences)
        where_ = _position(worst, matches.shape)
        lines.append(f"Greatest {name} difference: {differences[worst].item()} at index {where_}{_allowed(tolerance, rtol, atol)}")
    return "\n".join(lines)


def _worst(differences: np.ndarray) -> int:
    """The place of the first NaN, or else of the greatest."""
    missing = np.isnan(differences)
    return int(np.argmax(missing if missing.any() else differences))


def _position(flat: int, shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(int(i) for i in np.unravel_index(flat, shape))


def assert_allclose(actual: Any, expected: Any, rtol: float | None = None, atol: float | None = None, equal_nan: bool = True, msg: str = "") -> None:
    """The older form of `assert_close`, deprecated as in PyTorch: it does not compare dtypes, NaN equals NaN, and its default tolerances are wider.

    Args:
        actual: what was computed: a tensor, or what `nr.tensor` takes.
        expected: what it should be, converted to the dtype of `actual` unless it is a tensor.
        rtol, atol: the tolerances. Default: (1e-3, 1e-3) for float16, (1e-4, 1e-5) for float32, (1e-5, 1e-8) for float64, 0 for all others.
        equal_nan: whether NaN equals NaN.
        msg: the text of the error.

    Raises:
        AssertionError: shape, device or values differ.
    """
    warnings.warn("assert_allclose() is deprecated; write nr.testing.assert_close(actual, expected)", FutureWarning, stacklevel=2)
    actual = actual if isinstance(actual, Tensor) else tensor(actual)
    expected = expected if isinstance(expected, Tensor) else tensor(expected, dtype=actual.dtype)
    if rtol is None and atol is None:
        rtol, atol = _default_tolerances([actual.dtype, expected.dtype], _OLDER_TOLERANCES)
    assert_close(actual, expected, rtol=rtol, atol=atol, equal_nan=equal_nan, check_dtype=False, msg=msg or None)


# --- random tensors ------------------------------------------------------------------------------------------------


def make_tensor(
    *shape: int | Sequence[int], dtype: Any, device: Any = None, low: float | None = None, high: float | None = None, requires_grad: bool = False,
    noncontiguous: bool = False, exclude_zero: bool = False, memory_format: Any = None,
) -> Tensor:  # fmt: skip
    """A tensor of uniform random numbers in [low, high), drawn from the default generator.

    Args:
        *shape: the shape, as ints or as one sequence.
        dtype: any dtype.
        device: where to put it.
        low: the least value. Default: -9; 0 for unsigned and boolean dtypes. Clamped to the values that `dtype` has.
        high: the bound, which is left out. Default: 9; 10 for integers, 2 for booleans. Clamped likewise.
        requires_grad: whether gradients are accumulated in `.grad`.
        noncontiguous: accepted and without effect: XLA chooses the layout.
        exclude_zero: put the least positive normal number (1 for integers and booleans) in the place of 0.
        memory_format: accepted and without effect; not together with `noncontiguous`.

    Returns:
        A tensor; of complex dtype, real and imaginary part are both drawn so.

    Raises:
        ValueError: `low` is not below `high`, one of them is NaN, no value of the dtype lies between them, or `requires_grad` for an integer dtype.

    Examples:
        >>> import neurarust_jax as nr
        >>> x = nr.testing.make_tensor(2, 3, dtype=nr.float32, low=-1, high=1)
        >>> x.shape, bool((x.abs() <= 1).all())
        (neurarust_jax.Size([2, 3]), True)
    """
    chosen = dtypes.as_dtype(dtype)
    size = size_of(shape)
    if noncontiguous and memory_format is not None:
        raise ArgumentError(f"noncontiguous and memory_format exclude each other, but got {noncontiguous=} and {memory_format=}")
    whole = chosen.dtype.kind in "biu"
    if requires_grad and whole:
        raise ArgumentError(f"`requires_grad=True` is not supported for boolean and integral dtypes, but got {dtype=}")
    least, bound = _range(chosen, low, high)
    result = randint(least, bound, size, dtype=chosen, device=device) if whole else _uniform(size, chosen, least, bound, device)
    if exclude_zero:
        result = where(result == 0, full((), 1 if whole else finfo(chosen).tiny, dtype=chosen), result)
    return result.requires_grad_() if requires_grad else result


def _range(dtype: dtypes.dtype, low: Any, high: Any) -> tuple[Any, Any]:
    """The bounds, the defaults filled in, clamped to what the dtype can hold; for integers as ints."""
    whole = dtype.dtype.kind in "biu"
    least, bound, default_low, default_high = _limits(dtype)
    low, high = default_low if low is None else low, default_high if high is None else high
    if math.isnan(low) or math.isnan(high):
        raise ArgumentError(f"`low` and `high` cannot be NaN, but got {low=} and {high=}")
    if low == high and not whole:
        warnings.warn("make_tensor() with low == high is deprecated; write nr.full(shape, low)", FutureWarning, stacklevel=3)
    elif low >= high:
        raise ArgumentError(f"`low` must be less than `high`, but got {low} >= {high}")
    elif high < least or low >= bound:
        raise ArgumentError(f"The value interval specified by `low` and `high` is [{low}, {high}), but {dtype} only supports [{least}, {bound})")
    low, high = (min(max(x, least), bound) for x in (low, high))
    return (math.ceil(low), math.ceil(high)) if whole else (float(low), float(high))


def _limits(dtype: dtypes.dtype) -> tuple[Any, Any, Any, Any]:
    """(least value, bound of the values, default low, default high) of a dtype."""
    if dtype.dtype.kind == "b":
        return 0, 2, 0, 2
    if dtype.dtype.kind in "iu":
        limits = iinfo(dtype)
        return limits.min, min(limits.max + 1, 2**63 - 1), -9, 10  # integers are drawn as int64
    limits = finfo(dtype)
    return limits.min, limits.max, -9, 9


def _uniform(size: tuple[int, ...], dtype: dtypes.dtype, low: float, high: float, device: Any) -> Tensor:
    """Uniform numbers in [low, high), whose difference may exceed the greatest number; of complex ones both parts are so."""
    if dtype.is_complex:
        return complex_of(*(_uniform(size, dtype.to_real(), low, high, device) for _ in range(2)))
    drawn = rand(size, dtype=dtypes.float32 if dtype.itemsize == 1 else dtype, device=device)
    between = (low / 2 + drawn * (high / 2 - low / 2)) * 2
    return where(between < high, between, low).to(dtype)  # rounding can reach `high`
