"""Symbolic dimensions: arithmetic over names such as ``batch`` that an exported model leaves open. They are those of `jax.export`."""

from __future__ import annotations

import ast
import functools
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any

import jax
import numpy as np

is_symbolic = jax.export.is_symbolic_dim

LARGEST = 40_000  # what a dimension is taken to be at most: the product of two still fits 32 bits

_MOST_SAMPLES = 53


@functools.cache
def _sample_lengths(number: int) -> list[int]:
    """The lengths of a name in the samples: far from each other and with every remainder that strides up to 32 leave, in an order of the name's own."""
    return [67 + 4 * number + 11 * int(i) for i in np.random.default_rng(number).permutation(_MOST_SAMPLES)]


def parsed(dim: Any) -> ast.expr:
    """The expression that a symbolic dimension is, over names, ints, ``+ - * **`` and the functions floordiv, mod, max and min."""
    return ast.parse(str(dim).replace("^", "**"), mode="eval").body


def names_in(dim: Any) -> list[str]:
    """The names in a dimension, sorted."""
    if not is_symbolic(dim):
        return []
    return sorted({node.id for node in ast.walk(parsed(dim)) if isinstance(node, ast.Name)} - _FUNCTIONS.keys())


_FUNCTIONS: dict[str, Callable] = {"floordiv": lambda a, b: a // b, "mod": lambda a, b: a % b, "max": max, "min": min}


def evaluate(dim: Any, values: Mapping[str, int]) -> int:
    """A dimension's length where its names have these values."""
    return evaluate_text(str(dim), values) if is_symbolic(dim) else int(dim)


def evaluate_text(text: str, values: Mapping[str, int]) -> int:
    """The value of a dimension's text."""
    code = compile(ast.Expression(parsed(text)), "<dimension>", "eval")
    return eval(code, {"__builtins__": {}, **_FUNCTIONS}, dict(values))


def concrete(value: Any, values: Mapping[str, int]) -> Any:
    """The same nested tuples, with lengths for symbolic dimensions."""
    if isinstance(value, tuple):
        return tuple(concrete(v, values) for v in value)
    return evaluate(value, values) if is_symbolic(value) else value


# --- output shapes of functions that cannot be traced with symbols -------------------------------------------------------


def shapes_by_samples(function_at: Callable[[Mapping[str, int]], Callable], values: Sequence[Any], static: Mapping[str, Any]) -> Any:
    """Types of an op's outputs, with symbolic dimensions, found from those for several lengths of each name. `None` if they follow no simple law.

    Args:
        function_at: the op's function where names have given lengths.
        values: its traced arguments.
        static: its other arguments.
    """
    shapes = [tuple(getattr(v, "shape", ())) for v in values]
    known = {str(d): d for shape in (*shapes, _symbols(tuple(static.values()))) for d in shape if is_symbolic(d)}
    names = sorted({n for d in known.values() for n in names_in(d)})
    samples: list[Mapping[str, int]] = []
    results: list[Any] = []
    for count in (6, 12, 24, _MOST_SAMPLES):
        while len(samples) < count:
            sample = {name: _sample_lengths(i)[len(samples)] for i, name in enumerate(names)}
            arguments = [
                jax.ShapeDtypeStruct(concrete(shape, sample), v.dtype) if isinstance(v, jax.Array) else v for v, shape in zip(values, shapes, strict=True)
            ]
            try:
                results.append(jax.eval_shape(function_at(sample), *arguments))
            except Exception:  # whatever the op finds wrong with these lengths
                return None
            samples.append(sample)
        outputs, certain = _laws(results, samples, known)
        if certain:
            break
    return None if outputs is None else jax.tree.unflatten(jax.tree.structure(results[0]), outputs)


def _laws(results: Sequence[Any], samples: Sequence[Mapping[str, int]], known: Mapping[str, Any]) -> tuple[list[Any] | None, bool]:
    """(the types of outputs that have these shapes for these samples, whether no other simple law fits)"""
    outputs, certain = [], True
    for alternatives in zip(*map(jax.tree.leaves, results), strict=True):
        shape = []
        for axis in range(alternatives[0].ndim):
            dim, is_only = _law([a.shape[axis] for a in alternatives], samples, known)
            if dim is None:
                return None, True
            shape.append(dim)
            certain = certain and is_only
        outputs.append(jax.ShapeDtypeStruct(tuple(shape), alternatives[0].dtype))
    return outputs, certain


def _symbols(value: Any) -> list[Any]:
    if isinstance(value, tuple | list):
        return [d for v in value for d in _symbols(v)]
    return [value] if is_symbolic(value) else []


def _law(lengths: Sequence[int], samples: Sequence[Mapping[str, int]], known: Mapping[str, Any]) -> tuple[Any, bool]:
    """The dimension that has these lengths for these samples: a constant, one of the known ones or ``(a * known + b) // c`` or a product of two."""
    if len(set(lengths)) == 1:
        return lengths[0], len(samples) > 6 or not known
    inputs = [(d, [evaluate(d, s) for s in samples]) for d in known.values()]
    pairs = [(a * b, [x * y for x, y in zip(u, v, strict=True)]) for (a, u), (b, v) in itertools.combinations_with_replacement(inputs, 2)]
    for dim, values in (*inputs, *pairs):
        found, is_only = _linear(dim, values, lengths)
        if found is not None:
            return found, is_only
    return None, True


def _linear(dim: Any, values: Sequence[int], lengths: Sequence[int]) -> tuple[Any, bool]:
    if len(set(values)) == 1:
        return None, True
    (x0, y0), (x1, y1) = sorted(zip(values, lengths, strict=True))[:: len(values) - 1]
    for denominator in range(1, 33):
        numerator = round(Fraction(y1 - y0, x1 - x0) * denominator)
        if numerator == 0 or math.gcd(numerator, denominator) > 1:
            continue
        least = max(denominator * y - numerator * x for x, y in zip(values, lengths, strict=True))
        most = min(denominator * y - numerator * x for x, y in zip(values, lengths, strict=True)) + denominator - 1
        if least <= most:
            return (numerator * dim + min(max(0, least), most)) // denominator, least == most
    return None, True


def example(dims: Sequence[Any], values: Mapping[str, int]) -> tuple[int, ...]:
    """A shape with lengths for its names."""
    return tuple(int(np.asarray(evaluate(d, values))) for d in dims)
