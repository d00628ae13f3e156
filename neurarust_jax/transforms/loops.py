"""Loops of a length known when they are compiled, which have derivatives in both modes: `scan`, `fori_loop`, `map`, `associative_scan`."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from ..cells import Cell, current_trace
from ..errors import ArgumentError, ArgumentTypeError
from ..ops.creation import arange
from ..ops.joining import cat, stack
from ..tensor import Tensor, wrap
from .carry import CarriedCells, Carry
from .closure import Aval, Closure, Inputs, eagerly, is_traced, run
from .control_flow import while_loop
from .jit import raw
from .lift import cells_in_order, is_tensor, map_tensors, modules_in, originals, value_of
from .vectorize import vmap

__all__ = ["associative_scan", "fori_loop", "map", "scan"]


def scan(f: Callable, init: Any, xs: Any = None, length: int | None = None, reverse: bool = False, unroll: int | bool = 1, *, dim: int = 0) -> tuple[Any, Any]:
    """Go through `xs` with a carried value: a loop that is compiled once, however long it is.

    `f` may read and write cells. Parameters that it reads get their gradients; what it writes (running statistics, a random generator, gradients and an
    optimizer's state, if it holds a whole training step) goes from turn to turn. What it writes to buffers of a module in `xs`, it writes in the slice of its turn.

    Args:
        f: takes ``(carry, x)`` and returns ``(carry, y)``. The carry keeps its structure, shapes and dtypes.
        init: the first carry: tensors, arrays and numbers in any structure. Numbers become tensors.
        xs: tensors or arrays in any structure, each of which is taken apart along `dim`; `None` for none.
        length: the number of turns, where `xs` does not tell.
        reverse: begin at the end.
        unroll: how many turns to put into one of the compiled loop.
        dim: the dimension of `xs` to go along. Default: 0.

    Returns:
        ``(carry, ys)``: the last carry, and what `f` returned as `y`, stacked along `dim`.

    Raises:
        TypeError: the carry changes its structure, shape or dtype.
        ValueError: lengths differ, or there is none.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.scan(lambda total, x: (total + x, total), 0.0, nr.tensor([1.0, 2.0, 3.0]))
        (tensor(6.), tensor([0., 1., 3.]))
    """
    along = xs if dim == 0 else map_tensors(lambda x: _moved(x, dim, 0), xs)
    lengths = lengths_of("scan", along)
    lengths |= set() if length is None else {int(length)}
    if len(lengths) != 1:
        raise ArgumentError(f"scan: got lengths {sorted(lengths)} in xs and length=; expected one" if lengths else "scan: with xs=None write length=")
    stand_ins = [(cell, old, cell._read()) for cell, old in originals(along, xs).items()]
    carry, ys = looped("scan", f, init, along, (), lengths.pop(), bool(reverse), unroll)
    for cell, old, before in stand_ins:
        if cell._read() is not before:
            old._write(jax.numpy.moveaxis(value_of(cell._read()), 0, dim))
    return carry, jax.tree.map(lambda y: _moved(y, 0, dim if -y.ndim <= dim < y.ndim else 0), ys, is_leaf=is_tensor)


def lengths_of(name: str, xs: Any, axis: int = 0) -> set[int]:
    """The lengths of tensors along a dimension."""
    leaves = jax.tree.leaves(xs, is_leaf=is_tensor)
    if not all(getattr(x, "shape", ()) for x in leaves):
        raise ArgumentError(f"{name}: a number or a 0-d tensor has no dimension to go along; hand it on in another argument, or let the function take it from around it")
    return {x.shape[axis] for x in leaves}


def _one_length(name: str, xs: Any, axis: int) -> set[int]:
    lengths = lengths_of(name, xs, axis)
    if len(lengths) != 1:
        raise ArgumentError(f"{name}: expected tensors of one length along dimension {axis}, got lengths {sorted(lengths) or 'of no tensor'}")
    return lengths


def _moved(x: Any, source: int, target: int) -> Any:
    return x if source == target else x.movedim(source, target) if isinstance(x, Tensor) else jax.numpy.moveaxis(x, source, target)


def looped(name: str, f: Callable, init: Any, xs: Any, extras: tuple, length: int, reverse: bool = False, unroll: int | bool = 1) -> tuple[Any, Any]:
    """A scan whose function takes `extras` too, the same in all turns."""
    parts = [Carry(name, init), Carry(name, xs), Carry(name, extras)]
    operands = [p.leaves for p in parts]
    fixed = (name, tuple(p.fixed for p in parts), length, reverse, unroll)
    last, (ys, written) = _scan((f,), fixed, operands) if is_traced((f,), operands) else eagerly(_scan, (f,), fixed, operands)
    cells = _cells_of_modules(xs)
    for position, value in written.items():
        cells[position]._write(value_of(value))
    return parts[0].unpack(last), ys


def _cells_of_modules(tree: Any) -> list[Cell]:
    return [cell for module in modules_in(tree) for cell in cells_in_order(module)]


def _scan(functions: Sequence[Callable], fixed: tuple, operands: list[list[Any]]) -> tuple[list[Tensor], Any]:
    """(the leaves of the last carry, (what came out beside it, new values of the cells of modules in the elements, by their positions))"""
    (f,), (name, parts, length, reverse, unroll) = functions, fixed
    carry, elements, rest = (Carry.of_leaves(part, leaves) for part, leaves in zip(parts, operands, strict=True))
    a, b = len(carry.leaves), len(carry.leaves) + len(elements.leaves)
    slices = [Aval(x.shape[1:], x.dtype) for x in elements.avals]

    def turn(*inside: Any) -> Any:
        element = elements.unpack(inside[a:b])
        returned = f(carry.unpack(inside[:a]), element, *rest.unpack(inside[b:]))
        if not isinstance(returned, tuple | list) or len(returned) != 2:
            raise ArgumentTypeError(f"{name}: the function must return a pair (carry, y), got {type(returned).__name__}; write `return carry, None` for no y")
        trace = current_trace()
        assert trace is not None
        written = {i: raw(trace.values[c]) for i, c in enumerate(_cells_of_modules(element)) if c in trace.written_cells}
        return carry.leaves_of(returned[0], "the function"), (returned[1], written)

    def close(initial: dict[Cell, Aval]) -> list[Closure]:
        leaves = [*carry.leaves, *elements.leaves, *rest.leaves]
        return [Closure(name, turn, leaves, [f], [*carry.avals, *slices, *rest.avals], initial, watched=True)]

    cells = CarriedCells(name, carry, close, at_least_once=length > 0)
    (body,) = cells.closures
    inputs = Inputs(cells.inputs, body.captured, [*carry.leaves, *elements.leaves, *rest.leaves])

    def pure(*values: Any) -> tuple:
        outer, captured, leaves = inputs.split(values)

        def step(state: Any, xs: list[Any]) -> Any:
            outputs, new = body(cells.inside(outer, state[1]), captured, [*state[0], *xs, *leaves[b:]])
            return (outputs[:a], cells.after(state[1], new)), outputs[a:]

        turns = None if a < b else length  # which the elements tell; their number may be a symbol
        (last, kept), ys = jax.lax.scan(step, (leaves[:a], cells.start(outer)), leaves[a:b], turns, reverse, unroll)
        return *last, *kept, *ys

    flags, of_cells = cells.flags([isinstance(x, Tensor) and x._node is not None for x in inputs.operands])
    results = run(name, pure, inputs, [*flags[:a], *of_cells, *flags[a:]])
    c = a + len(cells.carried)
    cells.write(results[a:c])
    return results[:a], body.outputs.unpack([*results[:a], *results[c:]])[1]


def fori_loop(lower: Any, upper: Any, body_fun: Callable, init_val: Any, *, unroll: int | bool | None = None) -> Any:
    """``for i in range(lower, upper): val = body_fun(i, val)``, compiled once. With bounds that are plain numbers it is a `scan`, and has derivatives.

    Args:
        lower, upper: integers. A tensor whose value is known only when the program runs makes it a `while_loop`, without a derivative in reverse mode.
        body_fun: takes ``(i, val)``, `i` a tensor, and returns the new value, of the same structure, shapes and dtypes.
        init_val: tensors, arrays and numbers in any structure.
        unroll: how many turns to put into one of the compiled loop, for fixed bounds.

    Returns:
        The last value.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.fori_loop(0, 5, lambda i, total: total + i, 0)
        tensor(10)
    """
    bounds = [value_of(x) if isinstance(x, Tensor | jax.Array) else np.asarray(x) for x in (lower, upper)]
    if any(x.dtype.kind not in "iu" or x.size != 1 for x in bounds):
        raise ArgumentTypeError(f"fori_loop: expected lower and upper to be integers, got {lower!r} and {upper!r}")
    if not any(isinstance(x, jax.core.Tracer) for x in bounds):
        first, last = (int(x.item()) for x in bounds)
        return looped("fori_loop", _Counted(body_fun), init_val, arange(first, max(first, last)), (), max(0, last - first), False, unroll or 1)[0]
    return while_loop(lambda i, end, _: i < end, lambda i, end, val: (i + 1, end, body_fun(i, val)), (lower, upper, init_val))[2]


class _Counted(functools.partial):
    """A function of (i, value) as one of (carry, x) that gives (carry, y)."""

    def __call__(self, value: Any, i: Any) -> Any:
        return self.func(i, value), None


class _Mapped(functools.partial):
    """A function of x as one of (carry, x) that gives (carry, y)."""

    def __call__(self, carry: Any, x: Any, *extras: Any) -> Any:
        return carry, self.func(x, *extras)


def map(f: Callable, xs: Any, *args: Any, batch_size: int | None = None) -> Any:  # noqa: A001 (JAX's and PyTorch's name)
    """Apply a function to each element of `xs` along the first dimension, one after the other, and stack the results.

    Unlike `vmap` it takes the memory of one call, and each call may draw random numbers and write cells in its turn.

    Args:
        f: a function of an element.
        xs: tensors or arrays in any structure.
        *args: further arguments of `f`, the same for all elements.
        batch_size: how many elements to compute at a time, by `vmap`. Default: one.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.func.map(lambda row: row.sum(), nr.ones(3, 2))
        tensor([2., 2., 2.])
    """
    (length,) = _one_length("map", xs, 0)
    if batch_size is None:
        return looped("map", _Mapped(f), (), xs, args, length)[1]
    if batch_size < 1:
        raise ArgumentError(f"map: batch_size={batch_size}; expected a positive number")
    whole = length - length % batch_size
    together = vmap(f, (0, *[None] * len(args)), randomness="different")

    def batched(x: Any) -> Any:
        return x[:whole].reshape(whole // batch_size, batch_size, *x.shape[1:])

    def flat(y: Any) -> Any:
        return y.reshape(whole, *y.shape[2:])

    parts = []
    if whole:
        parts.append(jax.tree.map(flat, map(together, map_tensors(batched, xs), *args), is_leaf=is_tensor))
    if whole < length:
        parts.append(together(map_tensors(lambda x: x[whole:], xs), *args))
    return parts[0] if len(parts) == 1 else jax.tree.map(lambda a, b: cat([a, b]), *parts, is_leaf=is_tensor)


def associative_scan(fn: Callable, elems: Any, reverse: Any = False, axis: int = 0, *, dim: int | None = None, combine_mode: str = "pointwise") -> Any:
    """All partial results of an associative function, in logarithmically many steps: ``y[i] = fn(...fn(x[0], x[1])..., x[i])``.

    Args:
        fn: a function of two elements in the structure of `elems`, which is called on many elements at once, along `axis`.
        elems: tensors or arrays in any structure, of the same length along `axis`.
        reverse: begin at the end. An int here, as in PyTorch's order of arguments, is taken for `dim`, and what follows it for `reverse`.
        axis, dim: the dimension to go along. Default: 0.
        combine_mode: `"generic"` calls `fn` under `vmap`, on elements without the dimension.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.associative_scan(lambda a, b: a * b, nr.tensor([1.0, 2.0, 3.0, 4.0]))
        tensor([ 1.,  2.,  6., 24.])
    """
    if not isinstance(reverse, bool):
        axis, reverse = int(reverse), bool(axis)
    axis = axis if dim is None else dim
    if combine_mode not in ("pointwise", "generic"):
        raise ArgumentError(f"associative_scan: combine_mode is 'pointwise' or 'generic', got {combine_mode!r}")
    _one_length("associative_scan", elems, axis)
    fixed = (bool(reverse), axis, combine_mode)
    return _associative((fn,), fixed, elems) if is_traced((fn,), elems) else eagerly(_associative, (fn,), fixed, elems)


def _associative(functions: Sequence[Callable], fixed: tuple, elems: Any) -> Any:
    (fn,), (reverse, axis, combine_mode) = functions, fixed
    carry = Carry("associative_scan", elems)
    elements = [x if isinstance(x, Tensor) else wrap(x) for x in carry.leaves]
    elements = [x.movedim(axis, 0) for x in elements]
    if reverse:
        elements = [x.flip(0) for x in elements]

    def combine(a: list[Tensor], b: list[Tensor]) -> list[Tensor]:
        shift = (lambda x: x) if combine_mode == "generic" or axis == 0 else (lambda x: x.movedim(0, axis))
        back = (lambda x: x) if combine_mode == "generic" or axis == 0 else (lambda x: x.movedim(axis, 0))
        function = vmap(fn) if combine_mode == "generic" else fn
        result = function(carry.unpack([shift(x) for x in a]), carry.unpack([shift(x) for x in b]))
        return [back(x if isinstance(x, Tensor) else wrap(x)) for x in carry.leaves_of(result, "fn")]

    results = _partial_results(combine, elements)
    for path, x, y in zip(carry.paths, elements, results, strict=True):
        if x.shape != y.shape or x.dtype != y.dtype:
            raise ArgumentTypeError(f"associative_scan: fn must keep shape and dtype, but at {path or 'its output'} takes {x.dtype}{list(x.shape)} and gives {y.dtype}{list(y.shape)}")
    if reverse:
        results = [x.flip(0) for x in results]
    return carry.unpack([x.movedim(0, axis) for x in results])


def _partial_results(combine: Callable, elements: list[Tensor]) -> list[Tensor]:
    """Combine neighbours, take the partial results of those, and fill in the ones between."""
    length = elements[0].shape[0]
    if length < 2:
        return elements
    pairs = combine([x[: length - 1 : 2] for x in elements], [x[1::2] for x in elements])
    odd = _partial_results(combine, pairs)
    if length == 2:
        return [cat([x[:1], y]) for x, y in zip(elements, odd, strict=True)]
    between = [y[: (length - 1) // 2] for y in odd]
    even = combine(between, [x[2::2] for x in elements])
    even = [cat([x[:1], y]) for x, y in zip(elements, even, strict=True)]
    return [_interleaved(a, b) for a, b in zip(even, odd, strict=True)]


def _interleaved(a: Tensor, b: Tensor) -> Tensor:
    count = b.shape[0]
    woven = stack([a[:count], b], 1).flatten(0, 1)
    return woven if a.shape[0] == count else cat([woven, a[count:]])
