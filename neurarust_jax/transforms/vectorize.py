"""`nr.vmap`: a function of one example as a function of a batch."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .. import dtypes
from ..cells import Cell, StateTrace, next_in_sequence, write_all
from ..errors import ArgumentError, TracedValueError
from ..generator import Generator
from ..tensor import Tensor
from .lift import Packing, is_tensor, value_of
from .taping import Places, note_places, taped

__all__ = ["vmap"]

_RANDOMNESS = ("error", "different", "same")


class BatchTrace(StateTrace):
    """A state trace under which a generator gives each example numbers of its own, the same, or none."""

    __slots__ = ("randomness", "example", "transformation")

    def __init__(self, randomness: str, example: Any, transformation: str = "vmap"):
        super().__init__()
        self.randomness = randomness
        self.example = example
        self.transformation = transformation

    def read(self, cell: Cell) -> Any:
        first = cell not in self.values
        value = super().read(cell)
        if isinstance(cell, Generator) and first:
            if self.randomness == "error":
                raise TracedValueError(
                    f"vmap: called random operation while in randomness error mode. Please either use the 'same' or 'different' randomness flags on {self.transformation} or "
                    f"perform the randomness operation outside of {self.transformation}"
                )
            if self.randomness == "different":  # a key of its own for each example, from that of this draw; its counter starts anew
                with dtypes.x64():
                    words = jnp.asarray(value, np.uint32)
                    key = jax.random.fold_in(jax.random.wrap_key_data(words[:2], impl="threefry2x32"), words[2])
                    key = jax.random.key_data(jax.random.fold_in(key, self.example))
                    value = self.values[cell] = jnp.concatenate([key, np.zeros(1, np.uint32)])
        return value

    def after(self, cell: Cell, value: Any) -> Any:
        """The value that a cell has after the batch, which an example left as `value`: a generator whose examples drew apart moves on by one draw."""
        if isinstance(cell, Generator) and self.randomness == "different":
            outside = cell._state if self.parent is None else self.parent.read(cell)
            with dtypes.x64():
                return jnp.asarray(outside, np.uint32) + np.array([0, 0, 1], np.uint32)
        return value._value if isinstance(value, Tensor) else value


def check_randomness(randomness: str) -> None:
    """Raise PyTorch's error for an unknown mode."""
    if randomness not in _RANDOMNESS:
        raise ArgumentError(f"Only allowed values for randomness are 'error', 'different', or 'same'. Got {randomness!r}")


def vmap(func: Callable, in_dims: Any = 0, out_dims: Any = 0, randomness: str = "error", *, chunk_size: int | None = None) -> Callable:
    """The function that applies `func`, written for one example, to a batch.

    Args:
        func: a function of tensors or pytrees.
        in_dims: for each positional argument the dimension that holds the batch, `None` for arguments that all examples share; one int for all, or
            a tuple that may be nested like the arguments.
        out_dims: where the batch goes in the outputs.
        randomness: what a random operation inside does: `"error"` raises, `"different"` draws for each example, `"same"` draws once for all.
        chunk_size: how many examples to compute at a time. Default: all.

    Returns:
        The function of batches. Keyword arguments are batched over their first dimension.

    Raises:
        ValueError: dimensions do not fit, or batch sizes differ.
        RuntimeError: `func` writes a value that differs between examples to a cell, such as running statistics.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.vmap(nr.dot)(nr.ones(3, 2), nr.ones(3, 2))
        tensor([2., 2., 2.])
    """
    check_randomness(randomness)
    if chunk_size is not None and chunk_size <= 0:
        raise ArgumentError(f"vmap: chunk_size should be None or greater than 0. (got {chunk_size})")

    @functools.wraps(func)
    def transformed(arguments: tuple, named: dict[str, Any], reached: Places | None) -> Any:
        if not arguments and not named:
            raise ArgumentError("vmap(func)(): got no inputs; the batch size comes from them")
        packing = Packing((arguments, named))
        axes = _axes(arguments, named, in_dims)
        leaves = [value_of(x) if axis is not None else x for x, axis in zip(packing.leaves, axes, strict=True)]
        size = _batch_size(leaves, axes)
        if chunk_size is not None and size > chunk_size:
            return _in_chunks(functools.partial(transformed_whole, reached), packing, leaves, axes, size, chunk_size, out_dims)
        return transformed_whole(reached, packing, leaves, axes, size)

    def transformed_whole(reached: Places | None, packing: Packing, leaves: list[Any], axes: list[Any], size: int) -> Any:
        started = next_in_sequence()
        cells: list[Cell] = []
        outputs: list[Packing] = []
        mapped = [i for i, axis in enumerate(axes) if axis is not None]

        def one(example: Any, *values: Any) -> Any:
            everything = list(leaves)
            for i, value in zip(mapped, values, strict=True):
                everything[i] = value
            arguments, named = packing.unpack(everything)
            trace = BatchTrace(randomness, example)
            with trace:
                returned = func(*arguments, **named)
            outputs[:] = [Packing(returned)]
            cells[:] = trace.written_cells
            written = [trace.after(c, trace.values[c]) for c in cells]
            return list(map(value_of, outputs[0].leaves)), written

        with dtypes.x64():
            examples = jnp.arange(size, dtype=np.uint32)
            values, written = _with_output_axes(one, out_dims, mapped, axes, outputs)(examples, *(leaves[i] for i in mapped))
        note_places(outputs[0].places, reached, started)
        write_all(cells, written)
        return outputs[0].unpack(values)

    return taped("vmap", transformed)


def _with_output_axes(one: Callable, out_dims: Any, mapped: list[int], axes: list[Any], outputs: list[Packing]) -> Callable:
    """`jax.vmap` of `one` with `out_dims` laid over what it returns, which is known only once it has been traced."""

    def run(examples: Any, *values: Any) -> Any:
        in_axes = (0, *(axes[i] for i in mapped))
        try:
            results, written = jax.vmap(one, in_axes=in_axes, out_axes=(0, None))(examples, *values)
        except ValueError as error:
            if "out_axes" in str(error):
                raise TracedValueError(
                    "vmap: a cell (a buffer such as a running mean, or a module's attribute) was written with a value that differs between the examples. Call model.eval(), or do "
                    "the update outside of vmap."
                ) from error
            raise
        dims = _spread(out_dims, outputs[0])
        placed = []
        for result, dim in zip(results, dims, strict=True):
            if dim is not None and not -result.ndim <= dim < result.ndim:
                raise ArgumentError(f"vmap: out_dims={out_dims} does not fit an output of {result.ndim - 1} dimensions")
            placed.append(result[0] if dim is None else jnp.moveaxis(result, 0, dim))
        return placed, written

    return run


def _spread(dims: Any, packing: Packing) -> list[Any]:
    """One entry of `dims` for each leaf of a pytree."""
    if dims is None or isinstance(dims, int):
        return [dims] * len(packing.leaves)
    tree = jax.tree.unflatten(packing.form.structure, range(len(packing.leaves)))
    if isinstance(dims, list | tuple) and isinstance(tree, list | tuple) and type(dims) is not type(tree):
        dims = type(tree)(dims)
    try:
        spread = jax.tree.map(lambda d, sub: [d] * len(jax.tree.leaves(sub)), dims, tree, is_leaf=lambda d: d is None or isinstance(d, int))
    except (ValueError, TypeError) as error:
        raise ArgumentError(f"vmap: out_dims={dims} is not compatible with the structure of the outputs") from error
    flat: list[Any] = []

    def collect(x: Any) -> None:
        if isinstance(x, list) and all(e is None or isinstance(e, int) for e in x):
            flat.extend(x)
        else:
            for element in x.values() if isinstance(x, dict) else x:
                collect(element)

    collect(spread)
    return flat


def _axes(arguments: tuple, named: dict[str, Any], in_dims: Any) -> list[Any]:
    """The batch dimension of every leaf of the arguments, counted from the front; `None` for leaves without."""
    if isinstance(in_dims, int):
        in_dims = (in_dims,) * len(arguments)
    if not isinstance(in_dims, tuple | list):
        raise ArgumentError(f"vmap: expected in_dims to be int or a tuple, got {in_dims!r}")
    if len(in_dims) != len(arguments):
        raise ArgumentError(f"vmap: in_dims={in_dims} has {len(in_dims)} entries for {len(arguments)} arguments")
    found: list[Any] = []

    def walk(dims: Any, x: Any, path: str) -> None:
        leaves = jax.tree.leaves(x, is_leaf=is_tensor)
        if dims is None or isinstance(dims, int):
            for leaf in leaves:
                found.append(_axis(dims, leaf, path))
            return
        if isinstance(x, dict) and isinstance(dims, dict):
            for key in sorted(x):
                walk(dims[key], x[key], f"{path}[{key!r}]")
        elif isinstance(x, list | tuple) and isinstance(dims, list | tuple) and len(x) == len(dims):
            for i, (d, element) in enumerate(zip(dims, x, strict=True)):
                walk(d, element, f"{path}[{i}]")
        else:
            raise ArgumentError(f"vmap: in_dims={in_dims} is not compatible with the structure of inputs, at {path}")

    for i, (dims, argument) in enumerate(zip(in_dims, arguments, strict=True)):
        walk(dims, argument, f"argument {i}")
    for name in sorted(named):
        walk(0, named[name], f"argument {name!r}")
    return found


def _axis(dim: int | None, leaf: Any, path: str) -> int | None:
    shape = getattr(leaf, "shape", None)
    if dim is None or (shape is None and not isinstance(leaf, int | float | complex)):
        return None
    if not shape:
        raise ArgumentError(f"vmap: got in_dim={dim} for {path}, which is a number or a 0-d tensor; write in_dims=None for it")
    if not -len(shape) <= dim < len(shape):
        raise ArgumentError(f"vmap: got in_dim={dim} for {path}, whose shape is {tuple(shape)}")
    return dim % len(shape)


def _batch_size(leaves: list[Any], axes: list[Any]) -> int:
    sizes = {leaf.shape[axis] for leaf, axis in zip(leaves, axes, strict=True) if axis is not None}
    if not sizes:
        raise ArgumentError("vmap: no argument is batched; at least one in_dims is not None")
    if len(sizes) > 1:
        raise ArgumentError(f"vmap: expected all tensors to have the same size in the mapped dimension, got sizes {sorted(sizes)} for the mapped dimension")
    return sizes.pop()


def _in_chunks(run: Callable, packing: Packing, leaves: list[Any], axes: list[Any], size: int, chunk: int, out_dims: Any) -> Any:
    """The batch as a loop over chunks, and one smaller chunk for the rest."""
    from .loops import looped  # which takes `vmap` from here

    mapped = [i for i, axis in enumerate(axes) if axis is not None]
    whole = size - size % chunk
    with dtypes.x64():
        rows = [jnp.moveaxis(leaves[i], axes[i], 0) for i in mapped]
        chunks = [r[:whole].reshape(whole // chunk, chunk, *r.shape[1:]) for r in rows]
        rest = [r[whole:] for r in rows]
    in_front = [axis if axis is None else 0 for axis in axes]

    def of_chunk(values: list[Any]) -> Any:
        everything = list(leaves)
        for i, value in zip(mapped, values, strict=True):
            everything[i] = value
        return run(packing, everything, in_front, len(values[0]))

    _, found = looped("vmap", lambda carry, values: (carry, of_chunk(values)), (), chunks, (), whole // chunk)
    last = Packing(found)
    dims = _spread(out_dims, last)
    with dtypes.x64():
        parts = [[x[0] if d is None else _merged(x, d % (x.ndim - 1)) for x, d in zip(last.leaves, dims, strict=True)]]
    if whole < size:
        parts.append(Packing(of_chunk(rest)).leaves)
    with dtypes.x64():
        return last.unpack([c[0] if d is None or len(c) == 1 else jnp.concatenate(c, axis=d) for c, d in zip(zip(*parts, strict=True), dims, strict=True)])


def _merged(x: Any, dim: int) -> Any:
    """Chunks that are stacked in front, one behind the other along `dim`."""
    moved = jnp.moveaxis(x, 0, dim)
    return moved.reshape(*moved.shape[:dim], -1, *moved.shape[dim + 2 :])
