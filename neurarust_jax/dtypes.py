"""Data types: `nr.float32` and the rest, PyTorch's promotion rules, and the 64-bit switch of JAX held off the user.

Importing this module runs no JAX computation and changes no JAX setting.
"""

from __future__ import annotations

from typing import Any

import jax
import ml_dtypes
import numpy as np

from .errors import ArgumentTypeError


class dtype:  # noqa: N801 (PyTorch's name)
    """The data type of a tensor's elements, such as `nr.float32`.

    Equal to the NumPy dtype that it stands for, and accepted by `numpy` and `jax.numpy` wherever they take a dtype.

    Attributes:
        dtype: the `numpy.dtype`.
        is_floating_point, is_complex, is_signed: kind of the elements.
        itemsize: bytes of one element.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.float32, nr.float32.itemsize, nr.float32 == "float32"
        (neurarust_jax.float32, 4, True)
    """

    __slots__ = ("dtype", "name", "is_floating_point", "is_complex", "is_signed", "itemsize", "_hash")

    def __init__(self, name: str, numpy_type: Any):
        self.dtype = np.dtype(numpy_type)
        self.name = name
        self.is_complex = self.dtype.kind == "c"
        self.is_floating_point = self.dtype.kind == "f" or self.dtype in _LOW_PRECISION
        self.is_signed = self.dtype.kind not in "bu"
        self.itemsize = self.dtype.itemsize
        self._hash = hash(self.dtype)

    def to_real(self) -> dtype:
        """The dtype of the real part (itself, unless complex)."""
        return {"complex64": float32, "complex128": float64}.get(self.name, self)

    def to_complex(self) -> dtype:
        """The complex dtype whose parts have this dtype."""
        if self.is_complex:
            return self
        return complex128 if self is float64 else complex64

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if isinstance(other, dtype):
            return False
        try:
            return self.dtype == np.dtype(other)  # type: ignore[arg-type]
        except TypeError:
            return NotImplemented

    def __hash__(self) -> int:
        return self._hash

    def __repr__(self) -> str:
        return f"neurarust_jax.{self.name}"

    def __reduce__(self):
        return (_by_name, (self.name,))


_LOW_PRECISION = {
    np.dtype(t)
    for t in (ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e4m3fnuz, ml_dtypes.float8_e5m2, ml_dtypes.float8_e5m2fnuz)
}

bool_ = dtype("bool", np.bool_)
uint8 = dtype("uint8", np.uint8)
uint16 = dtype("uint16", np.uint16)
uint32 = dtype("uint32", np.uint32)
uint64 = dtype("uint64", np.uint64)
int8 = dtype("int8", np.int8)
int16 = short = dtype("int16", np.int16)
int32 = int_ = dtype("int32", np.int32)
int64 = long = dtype("int64", np.int64)
float16 = half = dtype("float16", np.float16)
bfloat16 = dtype("bfloat16", ml_dtypes.bfloat16)
float32 = float_ = dtype("float32", np.float32)
float64 = double = dtype("float64", np.float64)
complex64 = cfloat = dtype("complex64", np.complex64)
complex128 = cdouble = dtype("complex128", np.complex128)
float8_e4m3fn = dtype("float8_e4m3fn", ml_dtypes.float8_e4m3fn)
float8_e4m3fnuz = dtype("float8_e4m3fnuz", ml_dtypes.float8_e4m3fnuz)
float8_e5m2 = dtype("float8_e5m2", ml_dtypes.float8_e5m2)
float8_e5m2fnuz = dtype("float8_e5m2fnuz", ml_dtypes.float8_e5m2fnuz)

ALL = (
    bool_, uint8, uint16, uint32, uint64, int8, int16, int32, int64, float16, bfloat16, float32, float64,
    complex64, complex128, float8_e4m3fn, float8_e4m3fnuz, float8_e5m2, float8_e5m2fnuz,
)  # fmt: skip
_FROM_NUMPY = {d.dtype: d for d in ALL}
_NAMES = {d.name: d for d in ALL}
_PYTHON = {bool: bool_, int: int64, float: None, complex: None}


def _by_name(name: str) -> dtype:
    return _NAMES[name]


def from_numpy(numpy_dtype: Any) -> dtype:
    """The `nr.dtype` of a NumPy or JAX dtype."""
    try:
        return _FROM_NUMPY[numpy_dtype]
    except (KeyError, TypeError):
        found = _FROM_NUMPY.get(np.dtype(numpy_dtype))
        if found is None:
            raise ArgumentTypeError(f"no tensor dtype for {numpy_dtype!r}; expected one of {', '.join(_NAMES)}") from None
        return found


def as_dtype(value: Any) -> dtype:
    """`value` as an `nr.dtype`: itself, a NumPy or JAX dtype, a name, or Python's `bool int float complex`."""
    if isinstance(value, dtype):
        return value
    if isinstance(value, type) and value in _PYTHON:
        return _PYTHON[value] or (get_default_dtype() if value is float else get_default_dtype().to_complex())
    if isinstance(value, str) and value in _NAMES:
        return _NAMES[value]
    name = getattr(value, "__module__", "").partition(".")[0] or str(value)
    if str(value).startswith("torch."):  # a torch.dtype, recognised by name so that torch need not be imported
        return _NAMES[str(value).removeprefix("torch.")]
    try:
        return from_numpy(np.dtype(value))
    except TypeError:
        raise ArgumentTypeError(f"expected a dtype such as nr.float32, got {value!r} ({name})") from None


_default = float32
_settings: dict = {}  # other settings of the whole program that compiled operations have inside, by name
_fixed: tuple = (_default,)  # all of it: part of the key of compiled functions
_on_default_change: list = []


def get_default_dtype() -> dtype:
    """The dtype of tensors made from Python floats (`nr.float32` unless `set_default_dtype` changed it)."""
    return _default


def set_default_dtype(d: Any) -> None:
    """Set the dtype of tensors made from Python floats, and of integer inputs to floating-point functions.

    Args:
        d: a floating-point dtype.

    Raises:
        TypeError: `d` is no floating-point dtype.
    """
    global _default
    d = as_dtype(d)
    if not d.is_floating_point:
        raise ArgumentTypeError(f"set_default_dtype takes a floating-point dtype, got {d!r}; write nr.set_default_dtype(nr.float32)")
    _default = d
    _note_settings()


def set_compiled_setting(name: str, value: Any) -> None:
    """Set what operations compiled from now on are compiled for, `None` for the default; those compiled before come back with the value that they were compiled for."""
    _settings[name] = value
    if value is None:
        del _settings[name]
    _note_settings()


def _note_settings() -> None:
    global _fixed
    before, _fixed = _fixed, (_default, *sorted(_settings.items()))
    if _fixed != before:
        for noted in _on_default_change:  # compiled ops have the old values inside
            noted()


# --- promotion -----------------------------------------------------------------------------------------------------
# PyTorch's rule (https://docs.pytorch.org/docs/stable/tensor_attributes.html#type-promotion-doc): the operands fall into three
# ranks (tensors with dimensions, 0-d tensors, Python numbers); a lower rank matters only if its category (bool < integer <
# floating < complex) is higher than that of every rank above.

_INTEGERS = [uint8, int8, int16, int32, int64]


def _category(d: np.dtype) -> int:
    if d.kind == "b":
        return 0
    if d.kind in "iu":
        return 1
    return 3 if d.kind == "c" else 2


def _promote_pair(a: np.dtype, b: np.dtype) -> np.dtype:
    if a == b:
        return a
    category_a, category_b = _category(a), _category(b)
    if category_a < category_b:
        a, b, category_a, category_b = b, a, category_b, category_a
    if category_a == 3:
        wide = a == np.complex128 or b in (np.complex128, np.float64)
        return np.dtype(np.complex128 if wide else np.complex64)
    if category_a == 2:
        if category_b < 2:
            return a
        if {a, b} == {np.dtype(np.float16), np.dtype(ml_dtypes.bfloat16)}:
            return np.dtype(np.float32)
        return a if a.itemsize > b.itemsize else b
    if category_b == 0:
        return a
    if a.kind != b.kind:  # signed with unsigned: the next wider signed type
        unsigned, signed = (a, b) if a.kind == "u" else (b, a)
        if unsigned.itemsize >= 8 and signed.itemsize <= 8:
            raise ArgumentTypeError(f"promotion of {unsigned} with {signed} is not defined; convert one with .to(dtype)")
        width = max(unsigned.itemsize * 2, signed.itemsize)
        return np.dtype(f"int{8 * width}")
    return a if a.itemsize >= b.itemsize else b


def promote_types(type1: Any, type2: Any) -> dtype:
    """The smallest dtype that holds both, by PyTorch's rules.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.promote_types(nr.int32, nr.float16), nr.promote_types(nr.uint8, nr.int8)
        (neurarust_jax.float16, neurarust_jax.int16)
    """
    return from_numpy(_promote_pair(as_dtype(type1).dtype, as_dtype(type2).dtype))


def _rank_and_dtype(x: Any) -> tuple[int, np.dtype]:
    """(2 dimensioned, 1 zero-dimensional, 0 Python number; dtype). Weakly typed arrays count as Python numbers."""
    if isinstance(x, bool):
        return 0, bool_.dtype
    if isinstance(x, int):
        return 0, int64.dtype
    if isinstance(x, float):
        return 0, _default.dtype
    if isinstance(x, complex):
        return 0, _default.to_complex().dtype
    d = np.dtype(x.dtype)
    if getattr(x, "weak_type", False) and not x.shape:
        return _rank_and_dtype(_WEAK[d.kind])
    return (2 if len(x.shape) else 1), d


_WEAK = {"b": True, "i": 1, "u": 1, "f": 1.0, "c": 1j}


def result_numpy_dtype(*operands: Any) -> np.dtype:
    """The NumPy dtype of an operation over arrays and Python numbers, by PyTorch's promotion."""
    best: list[np.dtype | None] = [None, None, None]
    for x in operands:
        rank, d = _rank_and_dtype(x)
        known = best[rank]
        best[rank] = d if known is None else _promote_pair(known, d)
    result = _combine(best[2], _combine(best[1], best[0]))
    assert result is not None
    return result


def _combine(higher: np.dtype | None, lower: np.dtype | None) -> np.dtype | None:
    """The dtype of two ranks together: the lower one counts only if its category is higher."""
    if higher is None or lower is None:
        return lower if higher is None else higher
    if _category(higher) == 2 and _category(lower) == 3:
        return from_numpy(higher).to_complex().dtype
    return _promote_pair(higher, lower) if _category(lower) > _category(higher) else higher


# --- the 64-bit switch ---------------------------------------------------------------------------------------------
# JAX makes 64-bit types only while `jax.enable_x64` is on. Ops switch it on for their own duration, in this thread alone.
# Entering the context object anew costs 0.6 us, swapping the thread's value 0.05 us.


class _X64Context:
    """Same two calls over the documented context manager, should the flag object lose its methods."""

    def __init__(self):
        self.stack: list = []

    def swap(self, on):
        context = jax.enable_x64(True)
        context.__enter__()
        return context

    def restore(self, context):
        context.__exit__(None, None, None)


if hasattr(jax.enable_x64, "swap_local") and hasattr(jax.enable_x64, "set_local"):
    enter_x64 = jax.enable_x64.swap_local  # type: ignore[attr-defined]
    leave_x64 = jax.enable_x64.set_local  # type: ignore[attr-defined]
else:
    enter_x64 = _X64Context().swap
    leave_x64 = _X64Context().restore


class x64:  # noqa: N801
    """Context manager under which JAX keeps 64-bit types."""

    __slots__ = ("previous",)

    def __enter__(self):
        self.previous = enter_x64(True)

    def __exit__(self, *exception):
        leave_x64(self.previous)
