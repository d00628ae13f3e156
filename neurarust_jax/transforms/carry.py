"""What a loop carries from turn to turn: the values that its functions hand on, and the cells that they write."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .. import dtypes
from ..cells import Cell, Leaf
from ..errors import ArgumentTypeError
from ..tensor import Tensor, array_from, wrap
from .closure import Aval, Closure, peek, shaped, union, write
from .jit import raw
from .lift import Form, Packing, is_tensor, tensors_of


def described(aval: Any) -> str:
    """Shape and dtype for an error."""
    return "nothing" if aval is None else f"{np.dtype(aval.dtype).name}{list(aval.shape)}"


class Carry:
    """Values in any structure, as flat tensors and arrays. Numbers become tensors, of the dtype that the loop gives them; modules, new modules of the same build.

    Attributes:
        leaves: the tensors and arrays; the parameters and buffers of modules as tensors.
        form: how they are put together.
        weak: for each whether it was a number.
        avals: their shapes and dtypes inside the loop.
    """

    def __init__(self, name: str, tree: Any):
        found = tensors_of(tree)
        self.name = name
        self.paths = [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_flatten_with_path(tree, is_leaf=is_tensor)[0]]
        self.weak = tuple(isinstance(x, bool | int | float | complex) for x in found)
        for path, x in zip(self.paths, found, strict=True):
            if not isinstance(x, Tensor | jax.Array | np.ndarray | np.generic | bool | int | float | complex):
                raise ArgumentTypeError(f"{name}: {path or 'the carried value'} is {x!r} of type {type(x).__name__}; expected tensors, arrays and numbers, in any structure")
        self.leaves = [x if isinstance(x, Tensor | jax.Array) else array_from(x) if isinstance(x, np.ndarray) else wrap(array_from(x)) for x in found]
        form = Packing(tree).form
        self.form = Form(form.ordered, [Tensor if weak or kind is not None else None for weak, kind in zip(self.weak, form.kinds, strict=True)])
        self.avals = [Aval(x.shape, raw(x).dtype) for x in self.leaves]

    @property
    def fixed(self) -> tuple:
        """What of it is no array: part of the key of a compiled loop."""
        return self.name, self.form, self.weak, tuple(self.paths)

    @classmethod
    def of_leaves(cls, fixed: tuple, leaves: Sequence[Any]) -> Carry:
        """The same with other leaves."""
        made = object.__new__(cls)
        made.name, made.form, made.weak, paths = fixed
        made.paths, made.leaves = list(paths), list(leaves)
        made.avals = [Aval(x.shape, raw(x).dtype) for x in leaves]
        return made

    def unpack(self, leaves: Sequence[Any]) -> Any:
        """The structure, of other tensors; arrays where arrays were."""
        return self.form.unpack(leaves)

    def leaves_of(self, returned: Any, what: str) -> tuple:
        """The leaves of what a function of the loop returned, which must have the same structure."""
        structure = jax.tree.structure(returned, is_leaf=is_tensor)
        if structure != self.form.structure:
            raise ArgumentTypeError(f"{self.name}: {what} must return what it carries in the structure that it takes, {self.form.structure}, but returned {structure}")
        return tuple(tensors_of(returned))

    def settle(self, avals: Sequence[Aval]) -> bool:
        """Compare with what came out after a turn, and give numbers the dtype that they have then. Whether something changed."""
        changed = False
        for i, (path, before, after) in enumerate(zip(self.paths, self.avals, avals, strict=True)):
            if before == after:
                continue
            if not (self.weak[i] and after.shape == () and dtypes._category(after.dtype) >= dtypes._category(before.dtype)):
                where = f"the carried value at {path}" if path else "the carried value"
                raise ArgumentTypeError(f"{self.name}: {where} must keep its shape and dtype, but goes in as {described(before)} and comes out as {described(after)}")
            self.leaves[i], self.avals[i], changed = wrap(array_from(self.leaves[i], dtypes.from_numpy(after.dtype))), after, True
        return changed


class CarriedCells:
    """The cells of a loop's functions, and the closures traced for the types that they have in the loop.

    Args:
        name: the loop's name, for errors.
        carry: what the functions hand on: the first outputs of the first closure.
        close: traces the functions, for given types of cells.
        at_least_once: whether the loop makes a turn for certain.

    Attributes:
        closures: the traced functions.
        inputs: cells whose value goes in.
        carried: cells whose value goes from turn to turn.
    """

    def __init__(self, name: str, carry: Carry, close: Callable[[dict[Cell, Aval]], list[Closure]], at_least_once: bool):
        self.name, self.carry, self.at_least_once = name, carry, at_least_once
        initial: dict[Cell, Aval] = {}
        while True:
            self.closures = close(initial)
            changed = carry.settle(self.closures[0].outputs.avals[: len(carry.leaves)])
            self.writes = union(c.writes for c in self.closures)
            self.types = {c: self._type(c) for c in self.writes}
            fresh: dict[Cell, Aval] = {c: t for c, t in self.types.items() if t is not None and shaped(peek(c)) is None and isinstance(c, Leaf) and c not in initial}
            initial.update(fresh)
            if not changed and not fresh:
                break
        self.carried = [c for c in self.writes if self.types[c] is not None]
        read = union(c.reads for c in self.closures)
        kept = [c for c in self.carried if shaped(peek(c)) == self.types[c]]
        self.inputs = [c for c in union([read, kept]) if shaped(peek(c)) is not None]

    def _type(self, cell: Cell) -> Aval | None:
        """The type that a cell has from turn to turn; `None` if it is empty before and after each. An empty gradient counts as zeros."""
        after = {c.writes[cell] for c in self.closures if cell in c.writes}
        now = shaped(peek(cell))
        matters = not self.at_least_once or any(cell in c.reads for c in self.closures)
        types = after | ({now} if matters else set())
        if isinstance(cell, Leaf):
            types = (after | {now}) - {None}
        if len(types) > 1:
            told = " and ".join(sorted(described(t) for t in after))
            raise ArgumentTypeError(
                f"{self.name}: {self.closures[0].describe(cell)} must keep its shape and dtype from turn to turn, but goes in as {described(now)} and comes out as {told}"
            )
        return next(iter(types), None)

    def start(self, outer: dict[Cell, Any]) -> list[Any]:
        """The values of the carried cells before the first turn."""
        return [outer[c] if c in outer and shaped(outer[c]) == self.types[c] else self._zeros(c) for c in self.carried]

    def inside(self, outer: dict[Cell, Any], kept: Sequence[Any]) -> dict[Cell, Any]:
        """The values of all cells in a turn."""
        return {**outer, **dict(zip(self.carried, kept, strict=True))}

    def after(self, kept: Sequence[Any], new: dict[Cell, Any]) -> list[Any]:
        """The values of the carried cells after a turn."""
        values = [new.get(c, old) for c, old in zip(self.carried, kept, strict=True)]
        return [self._zeros(c) if v is None else v for c, v in zip(self.carried, values, strict=True)]

    def _zeros(self, cell: Cell) -> Any:
        aval = self.types[cell]
        assert aval is not None
        return jnp.zeros(aval.shape, aval.dtype)

    def flags(self, operands: Sequence[bool]) -> tuple[list[bool], list[bool]]:
        """Which outputs of the first closure, and which carried cells, require grad after any number of turns."""
        body, count, needs = self.closures[0], len(self.carry.leaves), list(operands)
        while True:
            outputs, cells = body.flags(needs)
            after = [a or b for a, b in zip(needs[:count], outputs[:count], strict=True)]
            if after == needs[:count]:
                break
            needs[:count] = after
        final = outputs[:count] if self.at_least_once else after
        return [*final, *outputs[count:]], [cells.get(c, False) for c in self.carried]

    def write(self, values: Sequence[Tensor]) -> None:
        """Put the values after the last turn into the cells."""
        body = self.closures[0]
        emptied = [c for c, aval in body.writes.items() if aval is None]
        write(self.carried, values)
        write(emptied, [None] * len(emptied))
