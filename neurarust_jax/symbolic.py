"""Arithmetic of sizes by PyTorch's names: `nr.sym_max` and its kin. Every size is a Python number here, also inside transformations."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from .errors import ArgumentTypeError

__all__ = ["sym_float", "sym_int", "sym_ite", "sym_max", "sym_min", "sym_not", "sym_sqrt", "sym_sum"]


def sym_int(a: Any) -> int:
    """The number rounded towards zero, as an int."""
    return int(a)


def sym_float(a: Any) -> float:
    """The number as a float."""
    return float(a)


def _compared(function: str, a: Any, b: Any) -> tuple[Any, Any]:
    """Both numbers, as floats if one is a float."""
    for x in (a, b):
        if isinstance(x, bool) or not isinstance(x, int | float):
            raise ArgumentTypeError(f"{function} takes two ints or floats, got {a!r} and {b!r}")
    return (float(a), float(b)) if isinstance(a, float) or isinstance(b, float) else (a, b)


def sym_max(a: Any, b: Any) -> Any:
    """The greater of two numbers, a float if one of them is.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.sym_max(3, 2.0)
        3.0
    """
    return max(_compared("sym_max", a, b))


def sym_min(a: Any, b: Any) -> Any:
    """The lesser of two numbers, a float if one of them is."""
    return min(_compared("sym_min", a, b))


def sym_not(a: Any) -> bool:
    """Whether the value is false."""
    return not a


def sym_ite(b: bool, t: Any, f: Any) -> Any:
    """`t` if `b` is true, else `f`, which must be of the same type."""
    if not isinstance(b, bool) or type(t) is not type(f):
        raise ArgumentTypeError(f"sym_ite takes a bool and two values of one type, got {b!r}, {t!r} and {f!r}")
    return t if b else f


def sym_sum(args: Iterable[Any]) -> Any:
    """The sum of numbers."""
    return sum(args)


def sym_sqrt(a: Any) -> float:
    """The square root."""
    return math.sqrt(a)
