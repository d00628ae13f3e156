"""What the functional transformations share: running a function with its cells lifted, and taking Tensors out of pytrees and putting them back."""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax

from ..autograd.graph import deferred, enable_grad
from ..cells import Cell, Leaf, StateTrace, write_all
from ..errors import AutogradError
from ..parameter import unflatten_as
from ..tensor import Tensor, array_from, wrap
from .ordering import flatten, unordered

REVERSE = (
    "while_loop has no reverse-mode derivative, because the number of its turns is known only when it runs. Write nr.fori_loop(0, n, ...) or nr.scan, whose length is fixed "
    "(nr.where keeps what a turn too many would change), or differentiate forward: nr.jvp, nr.func.jacfwd."
)


FORWARD = (
    "a function that has only a backward rule of its own has no derivative in forward mode. You must implement the jvp function for custom autograd.Function to use it with forward "
    "mode AD; instead of nr.custom_vjp, write nr.custom_jvp."
)


_told: contextvars.ContextVar[list[str] | None] = contextvars.ContextVar("what loops say that have no reverse-mode derivative", default=None)


def tell_forward_only(explanation: str) -> None:
    """Say why the loop that is being traced has no reverse-mode derivative, for the error if one is asked for."""
    told = _told.get()
    if told is not None and explanation not in told:
        told.append(explanation)


@contextlib.contextmanager
def explained(told: list[str] | None = None) -> Iterator[list[str]]:
    """Raise our errors for JAX's, where a function cannot be differentiated. Gives what its loops said, which a later part of the work can be given."""
    told = [] if told is None else told
    outer = _told.set(told)
    try:
        yield told
    except ValueError as error:
        if "Reverse-mode differentiation does not work for lax.while_loop" in str(error):
            raise AutogradError("\n".join(told) or REVERSE) from error
        raise
    except TypeError as error:
        if "forward-mode autodiff (jvp) to a custom_vjp" in str(error):
            raise AutogradError(FORWARD) from error
        raise
    finally:
        _told.reset(outer)


def is_tensor(x: Any) -> bool:
    """Whether `x` is a Tensor: as `is_leaf`, it keeps JAX from taking Tensors apart."""
    return isinstance(x, Tensor)


class Form:
    """How a pytree is made of arrays, where Tensors, parameters and modules stand.

    Where a `Parameter` was, a new one comes to stand, and where a module was, a new module: JAX takes two pytrees for alike only if their nodes are of one class.

    Args:
        ordered: the pytree's structure, Tensors counting as leaves, as `ordering.flatten` gives it.
        kinds: for each leaf the class of its Tensor, or `None`.
    """

    __slots__ = ("ordered", "structure", "kinds")

    def __init__(self, ordered: Any, kinds: Sequence[type | None]):
        self.ordered, self.structure, self.kinds = ordered, unordered(ordered), tuple(kinds)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Form) and self.kinds == other.kinds and self.ordered == other.ordered

    def __hash__(self) -> int:
        return hash((self.ordered, self.kinds))

    def unpack(self, leaves: Sequence[Any]) -> Any:
        """The pytree with these arrays or Tensors as leaves. Those that require grad keep their places in the graph."""
        unpacked = self.ordered.unflatten([_of_kind(kind, x) for x, kind in zip(leaves, self.kinds, strict=True)])
        if any(kind is None and isinstance(x, Tensor) and x._node is not None for x, kind in zip(leaves, self.kinds, strict=True)):
            _give_places(unpacked, leaves)
        return unpacked


class Packing:
    """A pytree, taken apart.

    Attributes:
        form: how to make such a pytree of other leaves.
        leaves: the arrays, and what is none.
        places: of those Tensors that require grad, the places in the graph.
    """

    def __init__(self, tree: Any):
        leaves, ordered = flatten(tree, is_leaf=is_tensor)
        self.form = Form(ordered, [type(x) if isinstance(x, Tensor) else None for x in leaves])
        self.leaves = [x._value if isinstance(x, Tensor) else x for x in leaves]
        self.places = [(x._node, x._index) for x in leaves if isinstance(x, Tensor) and x._node is not None]

    def unpack(self, leaves: Sequence[Any]) -> Any:
        """The pytree with these arrays as leaves."""
        return self.form.unpack(leaves)


def tensors_of(tree: Any) -> list[Any]:
    """The leaves of a pytree, Tensors where they are; for cells, also for those of modules, Tensors in their places in the graph."""
    return [t for node in jax.tree.leaves(tree, is_leaf=keeps_together) for t in (_tensors_in(node) if hasattr(node, "_own_cells") else [_placed(node)])]


def _of_kind(kind: type | None, value: Any) -> Any:
    if kind is None:
        return value._value if isinstance(value, Tensor) else value
    if not issubclass(kind, Cell):
        return value if isinstance(value, Tensor) else wrap(value)
    cell = unflatten_as(kind)(None, (value_of(value),))
    if isinstance(value, Tensor) and value._node is not None:
        _give_place(cell, value)
    return cell


def _give_place(cell: Any, tensor: Tensor) -> None:
    cell.__dict__.pop("_kept_leaf", None)
    if isinstance(tensor._node, Leaf):
        cell.__dict__["_kept_leaf"] = tensor._node
    cell.__dict__["_node"], cell.__dict__["_index"] = tensor._node, tensor._index


def _placed(x: Any) -> Any:
    """A cell as a Tensor in the same place in the graph; anything else as it is."""
    if not isinstance(x, Cell):
        return x
    value = x if isinstance(x, Tensor) else x._read()
    tensor = wrap(value_of(value))
    if isinstance(value, Tensor) and value._node is not None:
        _give_place(tensor, value)
    return tensor


def _tensors_in(module: Any) -> list[Any]:
    return [_placed(cell) for cell in cells_in_order(module) if cell._read() is not None]


def modules_in(tree: Any) -> list[Any]:
    """The modules in a pytree."""
    return [x for x in jax.tree.leaves(tree, is_leaf=keeps_together) if hasattr(x, "_own_cells")]


def keeps_together(x: Any) -> bool:
    """Whether `x` is a Tensor or a module: as `is_leaf`, it keeps JAX from taking them apart."""
    return isinstance(x, Tensor) or hasattr(x, "_own_cells")


def _give_places(tree: Any, leaves: Sequence[Any]) -> None:
    """Give the cells of new modules the places in the graph of the Tensors that they were made from."""
    remaining = iter(leaves)
    for node in jax.tree.leaves(tree, is_leaf=keeps_together):
        if not hasattr(node, "_own_cells"):
            next(remaining)
            continue
        for cell in cells_in_order(node):
            if cell._read() is not None:
                tensor = next(remaining)
                if isinstance(tensor, Tensor) and tensor._node is not None and isinstance(cell, Tensor):
                    _give_place(cell, tensor)


def cells_in_order(module: Any) -> list[Cell]:
    """The cells of a module, as they are its leaves."""
    return list(dict.fromkeys(cell for m in module.modules() for cell in m._own_cells() if not isinstance(cell, Leaf)))


def originals(rebuilt: Any, arguments: Any) -> dict[Cell, Cell]:
    """For each cell of the modules in a pytree that `Packing` made, the cell that it stands for."""
    pairs = zip(modules_in(rebuilt), modules_in(arguments), strict=True)
    return {new: old for a, b in pairs if a is not b for new, old in zip(cells_in_order(a), cells_in_order(b), strict=True)}


class Lifted:
    """A function whose writes to cells are outputs: calls to it are pure.

    Attributes:
        cells: the cells that the last call wrote.
        originals: for cells that stand for others in the function, those others, which are written in their place.
    """

    def __init__(self, function: Callable):
        self.function = function
        self.cells: list[Cell] = []
        self.originals: dict[Cell, Cell] = {}

    def __call__(self, *arguments: Any, **named: Any) -> tuple[Any, list[Any]]:
        """(what the function returned, new values of `cells`)"""
        with StateTrace() as trace, enable_grad(), deferred():
            returned = self.function(*arguments, **named)
        self.cells = [self.originals.get(c, c) for c in trace.written_cells]
        return returned, [v._value if isinstance(v := trace.values[c], Tensor) else v for c in trace.written_cells]

    def write(self, values: Sequence[Any]) -> None:
        """Put the new values of the last call into the cells."""
        write_all(self.cells, values)


def map_tensors(function: Callable, tree: Any) -> Any:
    """The pytree with a function applied to its tensors and arrays, the parameters of modules among them."""
    return Packing(tree).unpack([function(x) for x in tensors_of(tree)])


def value_of(x: Any) -> Any:
    """The array of a Tensor, array or number."""
    return x._value if isinstance(x, Tensor) else x if isinstance(x, jax.Array) else array_from(x)
