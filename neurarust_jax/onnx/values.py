"""Values that pass between nodes of an ONNX graph, and how a handler works on them.

A value is a `Tensor` if it depends on inputs or parameters, a NumPy array if it is known while tracing (of `object` for strings), a list for a sequence,
and `None` for an input left out or an empty optional. Maps are dicts of plain numbers or strings.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from .. import dtypes
from ..cells import outside_traces
from ..dispatch import Kernel, call
from ..errors import TracedValueError
from ..tensor import Tensor, array_from, wrap


def is_known(value: Any) -> bool:
    """Whether a value is known while tracing: NumPy arrays, numbers and strings, and lists of such."""
    if isinstance(value, list | tuple):
        return all(map(is_known, value))
    return not isinstance(value, Tensor | jax.Array)


def is_strings(value: Any) -> bool:
    """Whether a value is an array of strings."""
    return isinstance(value, np.ndarray) and value.dtype.kind in "OUS"


def dtype_of(value: Any) -> np.dtype:
    """The NumPy dtype of a tensor or array, of the low-bit types of ml_dtypes too."""
    return np.dtype(value._value.dtype if isinstance(value, Tensor) else value.dtype)


def shape_of(value: Any) -> tuple[int, ...]:
    """The shape of a tensor or array."""
    return tuple(value._value.shape if isinstance(value, Tensor) else value.shape)


def as_tensor(value: Any) -> Any:
    """A NumPy or JAX array as a `Tensor` of the very same dtype; strings stay an object array, a list becomes one of tensors, `None` stays."""
    if value is None or isinstance(value, Tensor | dict):
        return value
    if isinstance(value, list | tuple):
        return [as_tensor(v) for v in value]
    if is_strings(value):
        return value
    if isinstance(value, np.ndarray) and value.dtype not in dtypes._FROM_NUMPY and value.dtype.isnative:
        with dtypes.x64():
            return wrap(jax.numpy.asarray(value))
    return wrap(array_from(value))


def as_numpy(value: Any) -> Any:
    """A concrete value with NumPy arrays in place of tensors."""
    if isinstance(value, list | tuple):
        return [as_numpy(v) for v in value]
    if isinstance(value, Tensor):
        return np.asarray(value._value)
    return np.asarray(value) if isinstance(value, jax.Array | np.generic) else value


def static_value(value: Any, what: str) -> Any:
    """The NumPy value of what must be known while tracing.

    Args:
        value: any value of a graph.
        what: which value of which node, for the error.

    Raises:
        RuntimeError: the value is being traced, so that it has no elements yet.
    """
    if isinstance(value, list | tuple):
        return [static_value(v, what) for v in value]
    if isinstance(value, Tensor):
        if isinstance(value._value, jax.core.Tracer):
            raise TracedValueError(
                f"{what} decides a shape or how the graph goes on, and it depends on inputs or parameters that nr.jit, vmap or another transformation is tracing. "
                "Call the model without the transformation, or make the value a constant of the graph before compiling it."
            )
        return np.asarray(value._value)
    return value


@functools.lru_cache(maxsize=4096)
def _kernel(function: Callable, static: tuple[tuple[str, Any], ...]) -> Kernel:
    return Kernel(function.__name__, functools.partial(function, **dict(static)))


def apply(function: Callable, *arrays: Any, **static: Any) -> Any:
    """Run a pure function over `jax.numpy` as an op: compiled, recorded for gradients, or inlined into a transformation.

    Args:
        function: a function at the top level of its module (each one is compiled once for each set of static arguments).
        arrays: tensors, NumPy or JAX arrays, `None`; what it computes with.
        static: further arguments by name, which can be hashed.

    Returns:
        A tensor, or a tuple of tensors if the function returns one.
    """
    kernel = _kernel(function, tuple(sorted(static.items())))
    return call(kernel, [as_tensor(a) for a in arrays])


def move(function: Callable, *arrays: Any, **static: Any) -> Any:
    """As `apply`, for functions that only move elements and are written for `namespace(x)`: known values, strings among them, are moved at once."""
    if all(map(is_known, arrays)):
        return function(*arrays, **static)
    if any(map(is_strings, arrays)):
        arrays = tuple(static_value(a, "an index into an array of strings") for a in arrays)
        return function(*arrays, **static)
    return apply(function, *arrays, **static)


def namespace(x: Any) -> Any:
    """The module whose functions take `x`: `numpy` or `jax.numpy`."""
    return np if isinstance(x, np.ndarray | np.generic) else jax.numpy


def run_now(function: Callable, *arguments: Any) -> Any:
    """Call a function outside of any transformation, and give its results as NumPy arrays."""
    with outside_traces():
        results = function(*arguments)
        return tuple(map(as_numpy, results)) if isinstance(results, tuple) else as_numpy(results)
