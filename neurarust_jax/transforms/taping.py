"""How a transformation that JAX makes stands on the tape: a call of `nr.grad`, `nr.vmap` or their kin is one operation, where something that it takes or reads requires grad."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import numpy as np

from .. import dtypes
from ..autograd.engine import graph_behind
from ..autograd.graph import mode
from ..cells import Cell
from ..dispatch import Kernel, call
from ..tensor import Tensor, array_from, wrap
from .closure import Aval, Closure, Inputs, eagerly, is_traced, run, write
from .environment import Environment, cells_around
from .jit import _opaque
from .lift import Form, value_of
from .ordering import flatten

Places = list[tuple[Any, int]]


class MissedError(Exception):
    """The function returned a tensor that requires grad, and nothing around it was found to."""


class Packed:
    """A pytree in pieces, as long as a call is on its way to the tape: its form, and the arrays of the leaves."""

    def __init__(self, form: Form, leaves: Sequence[Any]):
        self.form, self.leaves = form, list(leaves)

    def unpack(self) -> Any:
        """The pytree."""
        return self.form.unpack(self.leaves)


class _Aside:
    """Leaves that are no tensors, equal to nothing but themselves: they are fixed in a compiled program."""

    def __init__(self, form: Form, others: dict[int, Any]):
        self.form, self.others = form, others


def _flatten(packed: Packed) -> tuple[list[Any], _Aside]:
    others = {i: x for i, x in enumerate(packed.leaves) if not isinstance(x, Tensor | jax.Array | np.ndarray)}
    return [x if isinstance(x, Tensor) else wrap(x) for i, x in enumerate(packed.leaves) if i not in others], _Aside(packed.form, others)


def _unflatten(aside: _Aside, children: Sequence[Any]) -> Packed:
    arrays = iter(children)
    return Packed(aside.form, [aside.others[i] if i in aside.others else next(arrays) for i in range(len(children) + len(aside.others))])


jax.tree_util.register_pytree_node(Packed, _flatten, _unflatten)


class Linear:
    """A linear function of arrays that JAX's derivatives gave, which can be recorded: what it has kept from its making, its residuals, may require grad too.

    Args:
        function: takes a list of arrays, and returns a pytree of arrays.
        arguments: arrays as it takes.
        recorded: whether the making is being recorded.

    Attributes:
        shapes: the shapes and dtypes of its arguments.
    """

    def __init__(self, function: Callable, arguments: Sequence[Any], recorded: bool):
        self.shapes = [Aval(x.shape, x.dtype) for x in arguments]
        self.function = function
        self.residuals: list[Any] = []
        self.program: _LinearProgram | None = None
        if recorded:
            self._convert()

    def _convert(self) -> _LinearProgram:
        with dtypes.x64():
            closed, structure = jax.make_jaxpr(self.function, return_shape=True)(self.shapes)
        self.program = _LinearProgram(closed.jaxpr, jax.tree.structure(structure), self.shapes)
        self.residuals = [wrap(array_from(x)) for x in closed.consts]
        return self.program

    def __call__(self, given: Sequence[Any]) -> Any:
        """The result for tensors and arrays: a pytree of arrays, or of Tensors where it is recorded."""
        if self.program is None and not (mode.grad and requires_grad(list(given))):
            with dtypes.x64():
                return self.function([value_of(x).astype(aval.dtype) for x, aval in zip(given, self.shapes, strict=True)])
        program = self.program or self._convert()
        given = [x.to(dtypes.from_numpy(a.dtype)) if isinstance(x, Tensor) else wrap(array_from(x, a.dtype)) for x, a in zip(given, self.shapes, strict=True)]
        return jax.tree.unflatten(program.structure, call(program.kernel, [*self.residuals, *given]))


class _LinearProgram:
    """What is fixed of a linear function, equal to nothing but itself."""

    def __init__(self, jaxpr: Any, structure: Any, shapes: list[Aval]):
        self.structure, self.shapes = structure, shapes
        count = len(jaxpr.constvars)
        self.kernel = Kernel("linear_map", lambda *values: tuple(jax.core.eval_jaxpr(jaxpr, values[:count], *values[count:])))


def _relinear(program: Any, residuals: Sequence[Any]) -> Linear:
    linear = object.__new__(Linear)
    linear.program, linear.residuals, linear.shapes = program, list(residuals), program.shapes
    return linear


jax.tree_util.register_pytree_node(Linear, lambda linear: (linear.residuals, linear.program), _relinear)


def _is_packed(x: Any) -> bool:
    return isinstance(x, Packed | Linear | Tensor)


def unpacked(tree: Any) -> Any:
    """The same with every `Packed` put together."""
    leaves, structure = flatten(tree, is_leaf=_is_packed)
    return structure.unflatten([x.unpack() if isinstance(x, Packed) else x for x in leaves])


def taped(name: str, transformed: Callable) -> Callable:
    """A transformed function whose calls are recorded, as one operation, where something that it takes or reads requires grad.

    Args:
        name: that of the transformation.
        transformed: takes the arguments of the transformed function, those by name as a dict, and a list if the call is being recorded: there it puts the places in the
            graph of what the function gave. It may give `Packed` pytrees, and raise `MissedError` if the call is not recorded.
    """

    @functools.wraps(transformed)
    def recorded(*args: Any, **named: Any) -> Any:
        if not (mode.grad and _requires_grad(function, args, named)):
            try:
                return unpacked(transformed(args, named, None))
            except MissedError:
                pass
        operands = (args, named)
        return unpacked(_taped((transformed,), (name,), operands) if is_traced((transformed,), operands) else eagerly(_taped, (transformed,), (name,), operands))

    function = getattr(transformed, "__wrapped__", transformed)
    if getattr(function, "__code__", None) is recorded.__code__:
        function = function._of  # what stands around a transformed function stands around the user's
    recorded._of = function  # type: ignore[attr-defined]
    return recorded


def note_places(places: Places, reached: Places | None, started: int) -> None:
    """Tell where in the graph what the transformed function gave stands; if the call is not recorded and it should be, raise.

    Args:
        places: where it stands.
        reached: the list to tell it to.
        started: when the function was called: what a gradient reaches that is older stands outside of it.
    """
    if reached is not None:
        reached += places
    elif mode.grad and any(source.sequence < started for node, _ in places for source in graph_behind(node)):
        raise MissedError


def requires_grad(tree: Any) -> bool:
    """Whether a tensor or cell in a pytree requires grad."""
    return any(isinstance(x, Tensor) and x._node is not None for x in jax.tree.leaves(tree, is_leaf=_opaque))


def _requires_grad(function: Callable, args: tuple, named: dict[str, Any]) -> bool:
    def around() -> Iterator[Any]:
        yield from Environment([function]).tensors
        yield from cells_around([function, args, named])

    return requires_grad((args, named)) or any(isinstance(x, Tensor) and x._node is not None for x in around())


def _taped(functions: Sequence[Callable], fixed: tuple, operands: tuple[tuple, dict[str, Any]]) -> Any:
    (function,), (name,), (args, named) = functions, fixed, operands
    flat, structure = flatten((args, named), is_leaf=_opaque)
    places = [i for i, x in enumerate(flat) if isinstance(x, Tensor | jax.Array | np.ndarray) and not isinstance(x, Cell)]
    leaves = [flat[i] if not isinstance(flat[i], np.ndarray) else array_from(flat[i]) for i in places]

    def of_leaves(*inside: Any) -> Any:
        everything = list(flat)
        for place, x in zip(places, inside, strict=True):
            everything[place] = x
        args, named = structure.unflatten(everything)
        reached: Places = []
        return function(args, named, reached), [_witness(*place) for place in dict.fromkeys(reached)]

    closure = Closure(name, of_leaves, leaves, [function, [x for x in flat if type(x) is not Tensor]])
    written = [c for c, aval in closure.writes.items() if aval is not None]
    inputs = Inputs(list(closure.reads), closure.captured, leaves)

    def pure(*values: Any) -> tuple:
        outputs, new = closure(*inputs.split(values))
        return *outputs, *(new[c] for c in written)

    flags = [np.dtype(aval.dtype).kind in "fcV" for aval in closure.outputs.avals]
    results = run(name, pure, inputs, [*flags, *([False] * len(written))])
    write(written, results[len(flags) :])
    emptied = [c for c, aval in closure.writes.items() if aval is None]
    write(emptied, [None] * len(emptied))
    return closure.outputs.unpack(results[: len(flags)])[0]


def _witness(node: Any, index: int) -> Tensor:
    """An empty tensor in a place in the graph, so that the closure sees where gradients of the function would flow."""
    tensor = wrap(np.zeros(0, np.float32))
    tensor._node, tensor._index = node, index
    return tensor
