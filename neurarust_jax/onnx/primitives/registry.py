"""How a rule enters the table of primitives that `lowering` keeps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from ..builder import Value
from ..emitter import Complex, Emitter, as_operand, as_value
from ..lowering import PRIMITIVES, Lowering

_RULES: dict[str, Callable[..., Any]] = {}
_COMPLEX_RULES: dict[str, Callable[..., Any]] = {}


def lowers(*names: str) -> Callable:
    """Register a function as the rule of primitives: `rule(emitter, equation, *operands)` gives the output, or a list of them."""

    def enter(rule: Callable) -> Callable:
        for name in names:
            _RULES[name] = rule
            PRIMITIVES[name] = _apply
        return rule

    return enter


def lowers_complex(*names: str) -> Callable:
    """Register the rule of primitives where an input or an output is complex; known arrays and values of the graph come as pairs too."""

    def enter(rule: Callable) -> Callable:
        for name in names:
            _COMPLEX_RULES[name] = rule
            PRIMITIVES[name] = _apply
        return rule

    return enter


def rule_of(name: str) -> Callable:
    """The rule of a primitive on real numbers."""
    return _RULES[name]


def _apply(lowering: Lowering, equation: Any, *values: Value) -> list[Value]:
    g = Emitter(lowering)
    name = equation.primitive.name
    operands = [as_operand(v) for v in values]
    if any(is_complex(v.aval) for v in (*equation.invars, *equation.outvars)):
        if name not in _COMPLEX_RULES:
            raise g.unsupported(f"JAX's primitive {name!r} on complex numbers has no form in ONNX: {equation}")
        operands = [_parts(x) if is_complex(v.aval) else x for x, v in zip(operands, equation.invars, strict=True)]
        outputs = _COMPLEX_RULES[name](g, equation, *operands)
    else:
        if name not in _RULES:
            raise g.unsupported(f"JAX's primitive {name!r} on real numbers has no form in ONNX: {equation}")
        outputs = _RULES[name](g, equation, *operands)
    if not isinstance(outputs, Sequence) or isinstance(outputs, Complex):
        outputs = [outputs]
    return [as_value(g, _typed(x, v.aval), v.aval) for x, v in zip(outputs, equation.outvars, strict=True)]


def _typed(x: Any, aval: Any) -> Any:
    """Known arrays in the dtype of the output: NumPy's promotion is not JAX's."""
    if not isinstance(x, np.ndarray) or jax.numpy.issubdtype(aval.dtype, jax.dtypes.extended) or x.dtype == aval.dtype:
        return x
    return x.astype(aval.dtype)


def is_complex(aval: Any) -> bool:
    """Whether the elements are complex numbers."""
    return getattr(aval.dtype, "kind", "") == "c"


def _parts(x: Any) -> Complex:
    return x if isinstance(x, Complex) else Complex(np.real(x), np.imag(x))
