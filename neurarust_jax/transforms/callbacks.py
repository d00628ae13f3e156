"""Calls out of compiled programs into Python: `pure_callback` and `io_callback`, by JAX's interface, over Tensors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from .. import dtypes
from ..dtypes import as_dtype
from ..tensor import Tensor, array_from, wrap
from .lift import is_tensor, value_of

__all__ = ["io_callback", "pure_callback"]


def pure_callback(callback: Callable, result_shape_dtypes: Any, *args: Any, sharding: Any = None, vmap_method: str | None = None, **kwargs: Any) -> Any:
    """Call a Python function without side effects from a compiled program. It may be called several times, or not at all.

    It has no derivative; give it one by `nr.custom_vjp` or `autograd.Function`.

    Args:
        callback: takes NumPy arrays in the structure of the arguments, and returns arrays or tensors in that of the result.
        result_shape_dtypes: what it returns: tensors, arrays, or `jax.ShapeDtypeStruct`, in any structure.
        *args, **kwargs: tensors, arrays and numbers in any structure.
        sharding: where it runs, as in JAX.
        vmap_method: what `vmap` does: `"sequential"`, `"expand_dims"`, `"broadcast_all"`, ... as in JAX. By default it raises.

    Returns:
        Tensors in the structure of `result_shape_dtypes`.

    Examples:
        >>> import numpy as np
        >>> import neurarust_jax as nr
        >>> x = nr.tensor([1.0, 4.0])
        >>> nr.jit(lambda x: nr.func.pure_callback(np.sqrt, x, x))(x)
        tensor([1., 2.])
    """
    with dtypes.x64():
        results = jax.pure_callback(
            _on_arrays(callback, result_shape_dtypes), _shapes(result_shape_dtypes), *_arrays(args), sharding=sharding, vmap_method=vmap_method, **_arrays(kwargs)
        )
    return jax.tree.map(wrap, results)


def io_callback(callback: Callable, result_shape_dtypes: Any, *args: Any, sharding: Any = None, ordered: bool = False, **kwargs: Any) -> Any:
    """Call a Python function with side effects from a compiled program: once each time that the program comes there.

    Args:
        callback: takes NumPy arrays in the structure of the arguments, and returns arrays or tensors in that of the result.
        result_shape_dtypes: what it returns: tensors, arrays, or `jax.ShapeDtypeStruct`, in any structure; `None` for nothing.
        *args, **kwargs: tensors, arrays and numbers in any structure.
        sharding: where it runs, as in JAX.
        ordered: whether calls happen in the order of the program.

    Returns:
        Tensors in the structure of `result_shape_dtypes`.

    Examples:
        >>> import neurarust_jax as nr
        >>> seen = []
        >>> @nr.jit
        ... def f(x):
        ...     nr.func.io_callback(lambda x: seen.append(float(x)), None, x, ordered=True)
        ...     return x + 1
        >>> f(nr.tensor(1.0)), seen
        (tensor(2.), [1.0])
    """
    from jax.experimental import io_callback as jax_io_callback

    with dtypes.x64():
        results = jax_io_callback(
            _on_arrays(callback, result_shape_dtypes), _shapes(result_shape_dtypes), *_arrays(args), sharding=sharding, ordered=ordered, **_arrays(kwargs)
        )
    return jax.tree.map(wrap, results)


def _on_arrays(callback: Callable, results: Any) -> Callable:
    """The user's function, as JAX calls it."""
    shapes = _shapes(results)

    def called(*args: Any, **kwargs: Any) -> Any:
        args, kwargs = jax.tree.map(np.asarray, (args, kwargs))
        returned = jax.tree.map(lambda x: np.asarray(x._value if isinstance(x, Tensor) else x), callback(*args, **kwargs), is_leaf=is_tensor)
        if not jax.tree.leaves(shapes):
            return shapes
        return jax.tree.map(lambda shape, x: x.astype(shape.dtype) if x.dtype.kind in "biuf" else x, shapes, returned)

    return called


def _shapes(results: Any) -> Any:
    return jax.tree.map(_shape, results, is_leaf=is_tensor)


def _shape(x: Any) -> jax.ShapeDtypeStruct:
    dtype = x._value.dtype if isinstance(x, Tensor) else as_dtype(x.dtype).dtype
    return jax.ShapeDtypeStruct(tuple(x.shape), dtype)


def _arrays(args: Any) -> Any:
    return jax.tree.map(lambda x: value_of(x) if isinstance(x, Tensor | jax.Array) else array_from(x), args, is_leaf=is_tensor)
