"""What the functional transformations share: running a function with its cells lifted, and taking Tensors out of pytrees and putting them back."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax

from ..autograd.graph import deferred, enable_grad
from ..cells import Cell, StateTrace, write_all
from ..errors import AutogradError
from ..parameter import unflatten_as
from ..tensor import Tensor, array_from, wrap

REVERSE = (
    "while_loop has no reverse-mode derivative, because the number of its turns is known only when it runs. Write nr.fori_loop(0, n, ...) or nr.scan, whose length is fixed "
    "(nr.where keeps what a turn too many would change), or differentiate forward: nr.jvp, nr.func.jacfwd."
)


@contextlib.contextmanager
def explained() -> Iterator[None]:
    """Raise our errors for JAX's, where a function cannot be differentiated."""
    try:
        yield
    except ValueError as error:
        if "Reverse-mode differentiation does not work for lax.while_loop" in str(error):
            raise AutogradError(REVERSE) from error
        raise


def is_tensor(x: Any) -> bool:
    """Whether `x` is a Tensor: as `is_leaf`, it keeps JAX from taking Tensors apart."""
    return isinstance(x, Tensor)


class Packing:
    """Which leaves of a pytree are Tensors, so that a pytree of arrays in the same structure can be made one of Tensors again.

    Where a `Parameter` was, a new one stands: JAX takes two pytrees for alike only if their nodes are of one class.
    """

    def __init__(self, tree: Any):
        leaves, self.structure = jax.tree.flatten(tree, is_leaf=is_tensor)
        self.kinds = [type(x) if isinstance(x, Tensor) else None for x in leaves]
        self.leaves = [x._value if isinstance(x, Tensor) else x for x in leaves]

    def unpack(self, leaves: Sequence[Any]) -> Any:
        """The pytree with these arrays as leaves, Tensors where Tensors were."""
        return jax.tree.unflatten(self.structure, [_of_kind(kind, x) for x, kind in zip(leaves, self.kinds, strict=True)])


def _of_kind(kind: type | None, value: Any) -> Any:
    if kind is None:
        return value
    return unflatten_as(kind)(None, (value,)) if issubclass(kind, Cell) else wrap(value)


class Lifted:
    """A function whose writes to cells are outputs: calls to it are pure.

    Attributes:
        cells: the cells that the last call wrote.
    """

    def __init__(self, function: Callable):
        self.function = function
        self.cells: list[Cell] = []

    def __call__(self, *arguments: Any, **named: Any) -> tuple[Any, list[Any]]:
        """(what the function returned, new values of `cells`)"""
        with StateTrace() as trace, enable_grad(), deferred():
            returned = self.function(*arguments, **named)
        self.cells = list(trace.written_cells)
        return returned, [v._value if isinstance(v := trace.values[c], Tensor) else v for c in self.cells]

    def write(self, values: Sequence[Any]) -> None:
        """Put the new values of the last call into the cells."""
        write_all(self.cells, values)


def value_of(x: Any) -> Any:
    """The array of a Tensor, array or number."""
    return x._value if isinstance(x, Tensor) else x if isinstance(x, jax.Array) else array_from(x)
