"""Parameters as one vector, and back."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import jax.numpy as jnp

from ... import dtypes
from ...dispatch import Array, op
from ...errors import ArgumentTypeError, ShapeError
from ...ops.common import cast
from ...parameter import CellTensor
from ...tensor import Tensor

__all__ = ["parameters_to_vector", "vector_to_parameters"]


@op(name="_flatten_all", method=False, linear=True)
def _flatten_all(tensors: Sequence[Array]) -> Array:
    """All elements, one after the other."""
    dtype = dtypes.result_numpy_dtype(*tensors)
    return jnp.concatenate([cast(x, dtype).reshape(-1) for x in tensors])


@op(name="_take_apart", method=False)
def _take_apart(vec: Array, shapes: tuple[tuple[int, ...], ...]) -> tuple[Array, ...]:
    """The elements of a vector in tensors of these shapes."""
    parts, start = [], 0
    for shape in shapes:
        stop = start + math.prod(shape)
        parts.append(vec[start:stop].reshape(shape))
        start = stop
    return tuple(parts)


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """The elements of all parameters in one vector, through which gradients flow.

    Args:
        parameters: the parameters.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.nn.utils.parameters_to_vector([nr.ones(2), nr.zeros(1, 1)])
        tensor([1., 1., 0.])
    """
    return _flatten_all(list(parameters))


def vector_to_parameters(vec: Tensor, parameters: Iterable[CellTensor]) -> None:
    """Give parameters the elements of a vector as `parameters_to_vector` makes it.

    Args:
        vec: one dimension.
        parameters: the parameters, which are written to.

    Raises:
        TypeError: `vec` is no tensor.
        RuntimeError: it has too few elements.
    """
    if not isinstance(vec, Tensor):
        raise ArgumentTypeError(f"expected nr.Tensor, but got: {type(vec).__name__}")
    given: list[Any] = list(parameters)
    shapes = tuple(tuple(p.shape) for p in given)
    wanted = sum(map(math.prod, shapes))
    if vec.numel() < wanted:
        raise ShapeError(f"the vector has {vec.numel()} elements, and the parameters have {wanted}")
    if given:
        for parameter, value in zip(given, _take_apart(vec.detach(), shapes), strict=True):
            parameter.assign(value)
