"""`export`: a function with what it reads, as one portable program that is saved, and called again without its Python code."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import jax
from jax import export as jax_export

from .. import dtypes
from ..autograd.graph import enable_grad
from ..cells import Cell
from ..dispatch import Kernel, call
from ..errors import ArgumentError
from ..tensor import Tensor, array_from, wrap
from .closure import Aval, Closure
from .jit import CompiledFunction, _opaque
from .lift import is_tensor, value_of
from .ordering import orders_of, reordered

__all__ = ["Exported", "export"]

_MAGIC = b"neurarust-jax-export-1\n"


class Exported:
    """A program that `export` made. Calling it takes the tensors among the arguments that it was exported for, and gives tensors.

    Attributes:
        state_names: names of the values that it takes as its first argument, a dict, where it was exported with ``state="input"``.
        writes: names of those that it gives back new: it returns ``(output, dict of new values)`` if there are any.
        exported: the `jax.export.Exported` inside.
        orders: the order of the keys of dicts in what it returns, which JAX sorts; `None` if that makes no difference.
    """

    def __init__(self, exported: jax_export.Exported, state_names: Sequence[str], writes: Sequence[str], orders: Sequence[Any] | None = None):
        self.exported, self.state_names, self.writes = exported, tuple(state_names), tuple(writes)
        self.orders = orders
        self._kernels: dict[Any, tuple[Kernel, list[Any]]] = {}

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the program, under transformations too. Gradients are recorded."""
        leaves, structure = jax.tree.flatten(_only_tensors((args, kwargs)), is_leaf=is_tensor)
        if structure not in self._kernels:
            outputs: list[Any] = []

            def program(*values: Any) -> tuple:
                args, kwargs = jax.tree.unflatten(structure, values)
                found, tree = jax.tree.flatten(self.exported.call(*args, **kwargs))
                outputs[:] = [tree]
                return tuple(found)

            self._kernels[structure] = Kernel("exported", program, keeps_vjp=True), outputs
        kernel, known = self._kernels[structure]
        results = call(kernel, [x if isinstance(x, Tensor) else array_from(x) for x in leaves])
        return reordered(jax.tree.unflatten(known[0], results), self.orders)

    def serialize(self, vjp_order: int = 0) -> bytearray:
        """The program as bytes.

        Args:
            vjp_order: how many times it can be differentiated once it is loaded. Default: not at all.
        """
        header = json.dumps({"state": self.state_names, "writes": self.writes, "orders": self.orders}).encode()
        return bytearray(_MAGIC + len(header).to_bytes(8, "big") + header) + self.exported.serialize(vjp_order=vjp_order)

    @staticmethod
    def deserialize(data: bytes | bytearray) -> Exported:
        """The program that was serialized."""
        if not data.startswith(_MAGIC):
            raise ArgumentError("Exported.deserialize: these bytes are not what Exported.serialize() gave")
        start = len(_MAGIC) + 8
        end = start + int.from_bytes(data[len(_MAGIC) : start], "big")
        header = json.loads(data[start:end])
        return Exported(jax_export.deserialize(bytearray(data[end:])), header["state"], header["writes"], header.get("orders"))

    @property
    def in_avals(self) -> tuple:
        """Shapes and dtypes of the inputs, in order."""
        return tuple(self.exported.in_avals)

    @property
    def out_avals(self) -> tuple:
        """Shapes and dtypes of the outputs, in order."""
        return tuple(self.exported.out_avals)

    def mlir_module(self) -> str:
        """The program as text, in StableHLO."""
        return str(self.exported.mlir_module())


def export(function: Callable, *, platforms: Sequence[str] | None = None, state: str = "frozen") -> Callable:
    """Make a portable program of a function or a module.

    Args:
        function: a function, a compiled one, or a `Module`.
        platforms: for which platforms: ``["cpu", "cuda", "tpu"]``, say. Default: the present one.
        state: what becomes of parameters, buffers and other cells that it reads: `"frozen"` puts their present values into the program; with `"input"` they are its first
            argument, a dict by the names that they have in ``function.state_dict()`` (``cell0``, ... for others), and new values that it writes come out.

    Returns:
        A function of arguments as `function` takes them, which returns an `Exported`. Instead of a tensor it takes a `jax.ShapeDtypeStruct`, whose shape may have symbols
        (`jax.export.symbolic_shape`). Arguments that are no tensors are fixed in the program; calls of it may leave them out.

    Raises:
        ValueError: with frozen state, the function writes to cells.

    Examples:
        >>> import neurarust_jax as nr
        >>> model = nr.nn.Linear(3, 2).eval()
        >>> data = nr.export(model)(nr.ones(1, 3)).serialize()
        >>> program = nr.func.Exported.deserialize(data)
        >>> nr.allclose(program(nr.ones(1, 3)), model(nr.ones(1, 3)))
        True
    """
    if state not in ("frozen", "input"):
        raise ArgumentError(f"export: state is 'frozen' or 'input', got {state!r}")
    inner = function.function if isinstance(function, CompiledFunction) else function

    def exporter(*args: Any, **kwargs: Any) -> Exported:
        flat, structure = jax.tree.flatten((args, kwargs), is_leaf=_opaque)
        places = [i for i, x in enumerate(flat) if _is_traced_argument(x)]
        operands = [_operand(flat[i]) for i in places]
        avals = [x._value if isinstance(x, Tensor) and isinstance(x._value, Aval) else Aval(value_of(x).shape, value_of(x).dtype) for x in operands]

        def of_leaves(*inside: Any) -> Any:
            everything = list(flat)
            for place, x in zip(places, inside, strict=True):
                everything[place] = x
            args, kwargs = jax.tree.unflatten(structure, everything)
            return inner(*args, **kwargs)

        with enable_grad():  # so that JAX can differentiate the program
            closure = Closure("export", of_leaves, operands, [inner, args, kwargs], avals)
        names = _names(inner, closure)
        writes = [c for c, aval in closure.writes.items() if aval is not None]
        if writes and state == "frozen":
            told = ", ".join(names[c] for c in writes)
            raise ArgumentError(f"export: the function writes to {told}, which a program with frozen state cannot keep. Call model.eval() first, or export with state='input'.")
        given = {name: array_from(cell._read()) for cell, name in names.items() if cell in closure.reads}

        def program(cells: dict[str, Any], args: Any, kwargs: Any) -> Any:
            values = jax.tree.leaves((args, kwargs))
            outputs, new = closure({c: cells[names[c]] for c in closure.reads}, {t: t._value for t in closure.captured}, values)
            output = _plain(closure.outputs.unpack([wrap(v) for v in outputs]))
            returned = (output, {names[c]: new[c] for c in writes}) if writes else output
            orders.append(orders_of(returned) if _has_names(returned) else None)
            return returned

        orders: list[Any] = []

        stand_ins = dict(zip(places, avals, strict=True))
        arguments, named = _only_tensors(jax.tree.unflatten(structure, [stand_ins.get(i) for i in range(len(flat))]))
        with dtypes.x64():
            if state == "frozen":
                exported = jax_export.export(jax.jit(lambda *args, **kwargs: program(given, args, kwargs)), platforms=platforms)(*arguments, **named)
                return Exported(exported, (), (), orders[-1])
            shapes = {n: Aval(v.shape, v.dtype) for n, v in given.items()}
            exported = jax_export.export(jax.jit(lambda cells, *args, **kwargs: program(cells, args, kwargs)), platforms=platforms)(shapes, *arguments, **named)
        return Exported(exported, list(given), [names[c] for c in writes], orders[-1])

    return exporter


def _is_traced_argument(x: Any) -> bool:
    return not isinstance(x, Cell) and (isinstance(x, Tensor | jax.Array | Aval) or hasattr(x, "__array__"))


def _operand(x: Any) -> Any:
    if isinstance(x, Aval):
        return wrap(x)
    return x if isinstance(x, Tensor | jax.Array) else array_from(x)


def _names(function: Any, closure: Closure) -> dict[Cell, str]:
    """A name for every cell that is read or written."""
    known: dict[Any, str] = {}
    if hasattr(function, "named_parameters"):
        known = {c: n for n, c in (*function.named_parameters(), *function.named_buffers())}
    cells = dict.fromkeys([*closure.reads, *closure.writes])
    return {cell: known.get(cell, f"cell{number}") for number, cell in enumerate(cells)}


_LEFT_OUT = object()


def _only_tensors(arguments: tuple[tuple, dict[str, Any]]) -> tuple[tuple, dict[str, Any]]:
    """The arguments with everything but tensors left out: positional ones move up, entries of dicts go."""
    args, kwargs = map(_kept, arguments)
    return () if args is _LEFT_OUT else args, {} if kwargs is _LEFT_OUT else kwargs


def _kept(tree: Any) -> Any:
    if isinstance(tree, tuple | list):
        found = [y for x in tree if (y := _kept(x)) is not _LEFT_OUT]
        return _LEFT_OUT if not found else tuple(found) if isinstance(tree, tuple) else found
    if isinstance(tree, dict):
        entries = {name: y for name, x in tree.items() if (y := _kept(x)) is not _LEFT_OUT}
        return entries or _LEFT_OUT
    return tree if _is_traced_argument(tree) else _LEFT_OUT


def _has_names(tree: Any) -> bool:
    """Whether all keys of dicts are strings, which a file can keep."""
    if isinstance(tree, dict):
        return all(isinstance(name, str) and _has_names(x) for name, x in tree.items())
    return all(map(_has_names, tree)) if isinstance(tree, tuple | list) else True


def _plain(tree: Any) -> Any:
    """Arrays in tuples, lists and dicts, which every JAX can read back."""
    if isinstance(tree, tuple | list):
        return type(tree)(map(_plain, tree)) if type(tree) in (tuple, list) else tuple(map(_plain, tree))
    if isinstance(tree, dict):
        return {name: _plain(x) for name, x in tree.items()}
    return tree._value if isinstance(tree, Tensor) else tree
