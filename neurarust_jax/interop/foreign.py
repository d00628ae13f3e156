"""What the layers made of other libraries' modules share: a pure function over the values of cells, run as one operation, so that it is recorded, compiled and differentiated."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax
import numpy as np

from .. import dtypes
from ..cells import Cell
from ..dispatch import Array as _Array
from ..dispatch import Kernel, call, op
from ..nn.module import Module
from ..ops.random import draw, key_of
from ..parameter import Buffer, CellTensor, Parameter
from ..tensor import Tensor, wrap


class Kernels(dict):
    """Compiled forms of a function; a copy of the module starts without."""

    def __reduce__(self) -> Any:
        return Kernels, ()


class Holder(Module):
    """A place in the tree of names: the parameters, buffers and places below one name."""

    def _get_name(self) -> str:
        return "Variables"

    def extra_repr(self) -> str:
        """Names and shapes of what it holds."""
        return "\n".join(f"({name}): {tuple(cell.shape)} {cell.dtype.name}" for name, cell in (*self._parameters.items(), *self._buffers.items()) if cell is not None)


def _key_function(state: _Array) -> tuple[_Array, _Array]:
    """The words of a key, and the generator's state after it."""
    key, state = key_of(state)
    return jax.random.key_data(key), state


_key_function.__annotations__ = {"state": _Array}
_draw_key = op(_key_function, name="_key_data", method=False)


class ForeignModule(Holder):
    """Base of layers that run another library's module.

    Args:
        name: of the class of that module, for the repr.
    """

    def __init__(self, name: str):
        super().__init__()
        self.__dict__["_foreign_name"] = name
        self.__dict__["_kernels"] = Kernels()

    def _get_name(self) -> str:
        return f"{type(self).__name__}[{self._foreign_name}]"

    def _place(self, path: Sequence[str], value: Any, learned: bool) -> CellTensor:
        """A new cell of a value, under the names of the path."""
        holder: Module = self
        for part in path[:-1]:
            holder = holder._modules.setdefault(part, Holder())
        name = path[-1]
        taken = (*holder._parameters, *holder._buffers, *holder._modules)
        while name in taken:
            name += "_"
        cell: CellTensor
        if learned:
            cell = holder._parameters[name] = Parameter(value)
        else:
            cell = holder._buffers[name] = Buffer(value)
        self._note_change()
        return cell

    def _run(self, variant: Any, pure: Callable, cells: Sequence[Cell], random: bool, arguments: tuple) -> Any:
        """Call ``pure(values of cells, key or None, *arguments)``, which gives (output, new values of cells or `None`), and write what is new.

        Args:
            variant: whatever `pure` depends on beside its arguments; hashable.
            pure: written over arrays.
            cells: parameters and buffers.
            random: whether it takes a key from the default generator.
            arguments: pytrees of tensors, arrays and plain values; the latter are fixed in what is compiled.
        """
        leaves, structure = jax.tree.flatten(arguments, is_leaf=lambda x: isinstance(x, Tensor))
        traced = [x for x in leaves if is_array(x)]
        fixed = tuple(None if is_array(x) else _Plain(x) for x in leaves)
        shapes = tuple((tuple(x.shape), str(x.dtype)) for x in (*cells, *traced))
        x64 = jax.config.jax_enable_x64
        key = (variant, random, x64, structure, fixed, shapes)
        found = self._kernels.get(key)
        if found is None:
            found = self._kernels[key] = _Compiled(self._foreign_name, pure, len(cells), random, x64, structure, fixed)
        inputs = [*cells, *([draw(_draw_key, None)] if random else []), *traced]
        return found.finish(cells, call(found.kernel, inputs))


class _Compiled:
    """A pure function for one structure of arguments.

    Attributes:
        kernel: of flat arrays: the cells' values, the key's words, the arguments.
        output: structure of the output and, for its leaves that are no arrays, those.
        written: numbers of the cells that it gives new values for.
    """

    def __init__(self, name: str, pure: Callable, cells: int, random: bool, x64: bool, structure: Any, fixed: tuple):
        self.pure, self.cells, self.random, self.x64, self.structure, self.fixed = pure, cells, random, x64, structure, fixed
        self.output: Any = None
        self.written: list[int] = []
        self.kernel = Kernel(name, self._flat, keeps_vjp=True)

    def _flat(self, *inputs: Any) -> tuple:
        values, rest = list(inputs[: self.cells]), inputs[self.cells :]
        words, rest = (rest[0], rest[1:]) if self.random else (None, rest)
        remaining = iter(rest)
        with jax.enable_x64(self.x64):  # the other library's code runs as it would outside
            leaves = [_narrow(next(remaining), self.x64) if plain is None else plain.value for plain in self.fixed]
            arguments = jax.tree.unflatten(self.structure, leaves)
            key = None if words is None else jax.random.wrap_key_data(words, impl="threefry2x32")
            output, new = self.pure(values, key, *arguments)
        found, tree = jax.tree.flatten(output, is_leaf=lambda x: isinstance(x, Tensor))
        found = [x._value if isinstance(x, Tensor) else x for x in found]
        self.output = tree, [None if is_array(x) else _Plain(x) for x in found]
        self.written = [i for i, (old, value) in enumerate(zip(values, new, strict=True)) if value is not None and value is not old]
        return (*(x for x in found if is_array(x)), *(new[i] for i in self.written))

    def finish(self, cells: Sequence[Cell], results: tuple) -> Any:
        """The output, once the new values are in the cells."""
        tree, plain = self.output
        values = iter(results)
        leaves = [next(values) if p is None else p.value for p in plain]
        for number in self.written:
            cells[number]._write(next(values).detach()._value)
        return jax.tree.unflatten(tree, leaves)


def is_array(x: Any) -> bool:
    """Whether a leaf of a pytree is traced."""
    return isinstance(x, Tensor | jax.Array | np.ndarray | np.generic)


def _narrow(x: Any, x64: bool) -> Any:
    """Integers of 64 bits as JAX has them while its 64-bit types are off."""
    if x64 or x.dtype not in (np.int64, np.uint64):
        return x
    return jax.lax.convert_element_type(x, np.int32 if x.dtype == np.int64 else np.uint32)


class _Plain:
    """A value that is fixed, compared by value where that can be."""

    __slots__ = ("value",)

    def __init__(self, value: Any):
        self.value = value

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Plain):
            return False
        if self.value is other.value:
            return True
        return type(self.value) is type(other.value) and isinstance(self.value, bool | int | float | complex | str | bytes) and self.value == other.value

    def __hash__(self) -> int:
        try:
            return hash(self.value)
        except TypeError:
            return id(self.value)


def names_of(path: Iterable[Any]) -> list[str]:
    """The names along a path of JAX's, as attributes; dots inside become underscores."""
    names = []
    for part in path:
        name = next((str(getattr(part, a)) for a in ("key", "name", "idx") if hasattr(part, a)), str(part))
        names.append(name.replace(".", "_"))
    return names


def seeded_key() -> Any:
    """A key of JAX from the default generator, at once."""
    words = draw(_draw_key, None)._value
    with dtypes.x64():
        return jax.random.wrap_key_data(words, impl="threefry2x32")


def unwrapped(tree: Any) -> Any:
    """A pytree with arrays in place of tensors."""
    return jax.tree.map(lambda x: x._value if isinstance(x, Tensor) else x, tree, is_leaf=lambda x: isinstance(x, Tensor))


def wrapped(tree: Any) -> Any:
    """A pytree with tensors in place of arrays."""
    return jax.tree.map(lambda x: wrap(x) if isinstance(x, jax.Array) else x, tree)
