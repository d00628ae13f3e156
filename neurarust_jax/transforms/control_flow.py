"""Choices and loops whose number of turns is not known when they are compiled: `cond`, `switch`, `while_loop`. Those of known length are in `loops.py`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .. import dtypes
from ..autograd.graph import Node, mode
from ..cells import Cell, Leaf
from ..errors import ArgumentError, ArgumentTypeError, AutogradError
from ..tensor import Tensor, wrap
from .carry import CarriedCells, Carry, described
from .closure import Aval, Closure, Inputs, eagerly, is_traced, peek, run, shaped, union, write
from .jit import _join, _split_in_order
from .lift import REVERSE, tell_forward_only, value_of

__all__ = ["cond", "switch", "while_loop"]


def cond(pred: Any, true_fn: Callable, false_fn: Callable, *operands: Any) -> Any:
    """`true_fn` or `false_fn` of the operands, as a condition says that may be known only when the program runs.

    Both may read and write cells (parameters, buffers, generators), and take tensors from the functions around them. Outside of transformations only the
    chosen one runs, as with a Python `if`; inside, both are traced, and must return the same structure, shapes and dtypes.

    Args:
        pred: a bool, a number, or a tensor with one element.
        true_fn, false_fn: functions of the operands.
        *operands: PyTorch's tuple of operands, or the operands one by one as in JAX. Default: none.

    Returns:
        What the chosen function returns.

    Raises:
        RuntimeError: the condition has several elements.
        TypeError: inside a transformation, the functions return different things.

    Examples:
        >>> import neurarust_jax as nr
        >>> x = nr.tensor([1.0, 2.0])
        >>> nr.jit(lambda x: nr.cond(x.sum() > 0, lambda x: x.sin(), lambda x: x.cos(), (x,)))(x)
        tensor([0.8415, 0.9093])
    """
    if len(operands) == 1 and isinstance(operands[0], tuple | list):
        operands = tuple(operands[0])
    for name, function in (("true_fn", true_fn), ("false_fn", false_fn)):
        if not callable(function):
            raise ArgumentTypeError(f"cond: {name} is {type(function).__name__}, expected a function")
    value = _one_element("cond", "pred", pred)
    if not isinstance(value, jax.core.Tracer):
        return (true_fn if bool(value) else false_fn)(*operands)
    return _choose("cond", ("false_fn", "true_fn"), (false_fn, true_fn), value.astype(bool).astype(np.int32), operands)


def switch(index: Any, branches: Sequence[Callable], *operands: Any) -> Any:
    """The function at `index` in `branches`, of the operands. An index outside is taken for the nearest inside, as in JAX.

    Args:
        index: an integer, or an integer tensor with one element.
        branches: functions of the operands, under the conditions of `cond`.
        *operands: the operands one by one, or one tuple of them.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.switch(2, [nr.sin, nr.cos, nr.neg], nr.ones(2))
        tensor([-1., -1.])
    """
    branches = tuple(branches)
    if not branches:
        raise ArgumentError("switch: got no branches")
    if len(operands) == 1 and isinstance(operands[0], tuple | list):
        operands = tuple(operands[0])
    value = _one_element("switch", "index", index)
    if value.dtype.kind not in "iu":
        raise ArgumentTypeError(f"switch: expected an integer index, got dtype {value.dtype}")
    if not isinstance(value, jax.core.Tracer):
        return branches[min(max(int(value), 0), len(branches) - 1)](*operands)
    with dtypes.x64():
        number = jnp.clip(value, 0, len(branches) - 1).astype(np.int32)
    return _choose("switch", [f"branches[{i}]" for i in range(len(branches))], branches, number, operands)


def _one_element(name: str, what: str, given: Any) -> Any:
    value = value_of(given) if isinstance(given, Tensor | jax.Array) else np.asarray(given)
    if value.size != 1:
        raise AutogradError(f"{name}: expected {what} to be a number or a tensor with one element, got shape {tuple(value.shape)}")
    if value.dtype.kind not in "biuf":
        raise ArgumentTypeError(f"{name}: expected {what} to be a number or a tensor with one element, got {given!r}")
    return value.reshape(())


def _choose(name: str, names: Sequence[str], functions: Sequence[Callable], index: Any, arguments: tuple) -> Any:
    """The choice inside a transformation."""
    structure, marks, leaves = _split_in_order(arguments, {})

    def of_leaves(function: Callable) -> Callable:
        return lambda *inside: function(*_join(structure, marks, inside)[0])

    branches = [Closure(name, of_leaves(f), leaves, [f, arguments]) for f in functions]
    _check_alike(name, names, branches)
    writes = union(b.writes for b in branches)
    targets = {c: _common_type(name, names, branches, c) for c in writes}
    passed = [c for c in writes if shaped(peek(c)) is not None and any(c not in b.writes for b in branches)]
    inputs = Inputs(union([*(b.reads for b in branches), passed]), union(b.captured for b in branches), [wrap(index), *leaves])
    written = [c for c in writes if targets[c] is not None]

    def pure(*values: Any) -> tuple:
        cells, captured, (number, *operands) = inputs.split(values)

        def apply(branch: Closure) -> Callable:
            def chosen() -> list[Any]:
                outputs, new = branch(cells, captured, operands)
                return [*outputs, *(_settled(new.get(c, cells.get(c)), targets[c]) for c in written)]

            return chosen

        return tuple(jax.lax.switch(number, [apply(b) for b in branches]))

    flags = [b.flags() for b in branches]
    outputs_flags = [any(of_one) for of_one in zip(*(f[0] for f in flags), strict=True)]
    results = run(name, pure, inputs, [*outputs_flags, *(any(f[1].get(c, False) for f in flags) for c in written)])
    count = len(outputs_flags)
    write([c for c in writes if targets[c] is None], [None] * (len(writes) - len(written)))
    write(written, results[count:])
    return branches[0].outputs.unpack(results[:count])


def _check_alike(name: str, names: Sequence[str], branches: Sequence[Closure]) -> None:
    """Raise if the branches return different structures, shapes or dtypes."""
    first = branches[0].outputs
    for other_name, branch in zip(names[1:], branches[1:], strict=True):
        other = branch.outputs
        if first.structure != other.structure:
            raise ArgumentTypeError(
                f"{name}: {names[0]} and {other_name} must return the same structure, but {names[0]} returned {first.structure} and {other_name} {other.structure}"
            )
        for path, mine, theirs in zip(first.paths, first.avals, other.avals, strict=True):
            if mine != theirs:
                where = f"output{path}" if path else "the output"
                raise ArgumentTypeError(
                    f"{name}: {names[0]} and {other_name} must return the same shapes and dtypes, but {where} is {described(mine)} in {names[0]} and {described(theirs)} in {other_name}"
                )


def _common_type(name: str, names: Sequence[str], branches: Sequence[Closure], cell: Cell) -> Aval | None:
    """The type that a cell has after the choice. A gradient that one branch accumulates and another does not is zeros in the other."""
    found = {n: b.writes[cell] if cell in b.writes else shaped(peek(cell)) for n, b in zip(names, branches, strict=True)}
    types = set(found.values()) - ({None} if isinstance(cell, Leaf) else set())
    if len(types) > 1:
        told = ", ".join(f"{described(aval)} in {n}" for n, aval in found.items())
        raise ArgumentTypeError(f"{name}: the branches leave {branches[0].describe(cell)} with different shapes or dtypes: {told}")
    return next(iter(types), None)


def _settled(value: Any, target: Aval | None) -> Any:
    return jnp.zeros(target.shape, target.dtype) if value is None and target is not None else value


# --- while ---------------------------------------------------------------------------------------------------------


def while_loop(cond_fn: Callable, body_fn: Callable, carried_inputs: Any) -> Any:
    """Repeat `body_fn` as long as `cond_fn` holds.

    Both functions may read and write cells; what they write, a random generator for instance, goes from turn to turn. The loop has a derivative in forward mode
    (`nr.jvp`) and none in reverse mode, since the number of turns is unknown: use `fori_loop` or `scan` there.

    Args:
        cond_fn: a function of the carried values, which returns a bool tensor with one element.
        body_fn: a function of the carried values, which returns their new values, of the same structure, shapes and dtypes.
        carried_inputs: a tuple or list, whose elements the functions take one by one, as in PyTorch; anything else is one argument, as in JAX. Numbers become tensors.

    Returns:
        The last carried values.

    Raises:
        RuntimeError: a gradient is asked of the result in reverse mode.
        TypeError: the body returns other shapes or dtypes.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.while_loop(lambda i, x: i < 3, lambda i, x: (i + 1, x * 2), (0, nr.ones(2)))
        (tensor(3), tensor([8., 8.]))
    """
    spread = isinstance(carried_inputs, tuple | list)
    carry = Carry("while_loop", tuple(carried_inputs) if spread else carried_inputs)
    functions, fixed = (cond_fn, body_fn), (spread, carry.fixed)
    leaves, flags = _while(functions, fixed, carry.leaves) if is_traced(functions, carry.leaves) else eagerly(_while, functions, fixed, carry.leaves)
    return carry.unpack(forward_only(leaves, flags))


def _while(functions: Sequence[Callable], fixed: tuple, operands: list[Any]) -> tuple[list[Tensor], tuple[bool, ...]]:
    """(the last carried values, which of them require grad)"""
    spread, of_carry = fixed
    condition, step = functions
    carry = Carry.of_leaves(of_carry, operands)

    def applied(function: Callable) -> Callable:
        return lambda *inside: function(*carry.unpack(inside)) if spread else function(carry.unpack(inside))

    def turn(*inside: Any) -> Any:
        returned = applied(step)(*inside)
        return carry.leaves_of(tuple(returned) if spread and isinstance(returned, list) else returned, "body_fn")

    def close(initial: dict[Cell, Aval]) -> list[Closure]:
        test = Closure("while_loop", applied(condition), carry.leaves, [condition], carry.avals, initial, watched=True)
        if len(test.outputs.avals) != 1 or test.outputs.avals[0].shape not in ((), (1,)):
            raise AutogradError(f"while_loop: cond_fn must return a bool tensor with one element, got {', '.join(map(described, test.outputs.avals))}")
        return [Closure("while_loop", turn, carry.leaves, [step], carry.avals, initial, watched=True), test]

    cells = CarriedCells("while_loop", carry, close, at_least_once=False)
    body, test = cells.closures
    inputs = Inputs(cells.inputs, union(c.captured for c in (body, test)), carry.leaves)

    def pure(*values: Any) -> tuple:
        tell_forward_only(REVERSE)
        outer, captured, leaves = inputs.split(values)

        def tested(state: Any) -> tuple[Any, Any]:
            outputs, new = test(cells.inside(outer, state[1]), captured, state[0])
            return outputs[0].reshape(()).astype(bool), cells.after(state[1], new)

        def turned(state: Any) -> Any:
            outputs, new = body(cells.inside(outer, state[1]), captured, state[0])
            return outputs, cells.after(state[1], new)

        def asked(state: Any) -> Any:
            go, kept = tested(state)
            return go, (state[0], kept)

        start = (leaves, cells.start(outer))
        if test.writes:  # what the condition writes is carried too, so that it is asked at the end of each turn
            leaves, kept = jax.lax.while_loop(lambda s: s[0], lambda s: asked(turned(s[1])), asked(start))[1]
        else:
            leaves, kept = jax.lax.while_loop(lambda s: tested(s)[0], turned, start)
        return *leaves, *kept

    flags, _ = cells.flags([isinstance(x, Tensor) and x._node is not None for x in carry.leaves])
    results = run("while_loop", pure, inputs, [False] * (len(carry.leaves) + len(cells.carried)))
    cells.write(results[len(carry.leaves) :])
    return results[: len(carry.leaves)], tuple(flags)


class _NoReverse(Node):
    """The node of a loop that has no backward pass."""

    __slots__ = ()

    def name(self) -> str:
        return "WhileLoopBackward0"


def forward_only(tensors: list[Tensor], flags: Sequence[bool], explanation: str = REVERSE) -> list[Tensor]:
    """Tie outputs that require grad to a node whose backward pass says what to write instead."""
    if any(flags) and mode.grad:

        def refuse(arrived: Any) -> Any:
            raise AutogradError(explanation)

        node = _NoReverse(None, (), (), (), refuse, len(tensors), False)
        for index, (tensor, wanted) in enumerate(zip(tensors, flags, strict=True)):
            if wanted and isinstance(tensor, Tensor):
                tensor._node, tensor._index = node, index
    return tensors
