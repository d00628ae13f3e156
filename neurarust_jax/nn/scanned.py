"""Stacks of equal layers that are compiled once: `ScannedStack`, whose parameters lie stacked, and `scan_layers` for layers that keep their own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from .. import dtypes
from ..cells import Cell
from ..errors import ArgumentError, ArgumentTypeError, IndexOutOfRangeError
from ..ops.joining import stack
from ..parameter import CellTensor, Parameter, is_lazy
from ..tensor import Tensor, array_from, wrap
from ..transforms.checkpoint import checkpoint
from ..transforms.functional import call_with
from ..transforms.loops import looped
from .module import Module, indented

__all__ = ["ScannedStack", "scan_layers"]


class ScannedStack(Module):
    """Equal layers called one after the other, as one loop: compiled once, however many there are.

    Each parameter of the layers is kept once, stacked along a new first dimension, and so are buffers. `parameters()` gives the stacked ones, which keeps an
    optimizer's update short too; `state_dict` has an entry for each layer, under the names that a `Sequential` or `ModuleList` of the layers would have, so that
    files go back and forth between them, and PyTorch. Each layer draws its own random numbers, and writes its own buffers.

    Args:
        layers: modules of one build, which are copied: the same class, attributes, and shapes. Each takes what the one before returned.
        remat: compute what a layer computes on the way again in the backward pass, as `nr.checkpoint`: `True`, or a policy. Default: `False`, which keeps products, convolutions and what else
            is dear, and computes elementwise operations again.
        unroll: how many layers to put into one turn of the loop. Default: 1.

    Shape:
        - Input: what the first layer takes; further arguments go to every layer.
        - Output: the same as the input.

    Attributes:
        layer: a module like each of the layers, that holds the stacked parameters and buffers.

    Raises:
        ValueError: the layers differ, or hold a `ScannedStack` themselves.

    Examples:
        >>> import neurarust_jax as nr
        >>> from neurarust_jax import nn
        >>> stack = nn.ScannedStack(nn.Sequential(nn.Linear(4, 4), nn.Tanh()) for _ in range(12))
        >>> stack(nr.ones(2, 4)).shape
        neurarust_jax.Size([2, 4])
        >>> [(name, tuple(p.shape)) for name, p in stack.named_parameters()]
        [('layer.0.weight', (12, 4, 4)), ('layer.0.bias', (12, 4))]
        >>> list(stack.state_dict())[:3]
        ['0.0.weight', '0.0.bias', '1.0.weight']
    """

    layer: Module

    def __init__(self, layers: Iterable[Module], remat: Any = False, unroll: int = 1):
        super().__init__()
        layers = list(layers)
        _check_alike("ScannedStack", layers)
        if any(isinstance(m, ScannedStack) for m in layers[0].modules()):
            raise ArgumentError("ScannedStack: the layers hold a ScannedStack themselves; put all layers into one")
        self.length = len(layers)
        self.remat = remat
        self.unroll = unroll
        with dtypes.x64():
            self.layer = jax.tree.map(lambda *values: jnp.stack(values), *layers)
        _add_layer_dims(self.layer, 1)

    def forward(self, input: Any, *args: Any, **kwargs: Any) -> Any:
        cells = _cells_of(self.layer)
        output, new = _run(self.layer, cells, cells, self.length, (input, args, kwargs), self.remat, self.unroll)
        for cell, value in new.items():
            cell._write(value._value)
        return output

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Module:
        """A copy of one of the layers, with parameters of its own."""
        if not -self.length <= index < self.length:
            raise IndexOutOfRangeError(f"index {index} is out of range for a stack of {self.length} layers")
        with dtypes.x64():
            one = jax.tree.map(lambda value: value[index], self.layer)
        _add_layer_dims(one, -1)
        return one

    def __iter__(self) -> Iterator[Module]:
        return iter([self[i] for i in range(self.length)])

    def extra_repr(self) -> str:
        return ""

    def __repr__(self) -> str:
        return f"{self._get_name()}(\n  (0-{self.length - 1}): {self.length} x {indented(repr(self.layer))}\n)"

    # --- state dicts: an entry for each layer --------------------------------------------------------------------------

    def state_dict(self, *args: Any, destination: dict[str, Any] | None = None, prefix: str = "", keep_vars: bool = False) -> dict[str, Any]:
        """As of a `Sequential` of the layers: the values by the names ``0.weight``, ``1.weight``, ..."""
        result = super().state_dict(*args, destination=destination, prefix=prefix, keep_vars=keep_vars)
        for name in [name for name in result if name.startswith(f"{prefix}layer.")]:
            del result[name]
        metadata = getattr(result, "_metadata", {})
        stacked = f"{prefix}layer"
        for name in [name for name in metadata if name == stacked or name.startswith(f"{stacked}.")]:
            one = metadata.pop(name)
            for i in range(self.length):
                metadata[f"{prefix}{i}{name[len(stacked) :]}"] = one
        return result

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        stacked = self.layer.state_dict(keep_vars=True)
        for i in range(self.length):
            for name, cell in stacked.items():
                destination[f"{prefix}{i}.{name}"] = cell[i] if keep_vars else cell.detach()[i]

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, local_metadata: dict[str, Any], strict: bool, missing_keys: list[str], unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:  # fmt: skip
        for hook in self._load_state_dict_pre_hooks.values():
            hook(self, state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs)
        cells = self.layer.state_dict(keep_vars=True)
        known = {f"{prefix}{i}.{name}" for i in range(self.length) for name in cells}
        if strict:
            unexpected_keys += [key for key in state_dict if key.startswith(prefix) and key not in known]
            missing_keys += [key for key in sorted(known, key=_layer_order) if key not in state_dict]
        for name, cell in cells.items():
            rows = [self._row(f"{prefix}{i}.{name}", state_dict, cell, i, error_msgs) for i in range(self.length)]
            with dtypes.x64():
                state_dict[f"{prefix}layer.{name}"] = wrap(jnp.stack([row.astype(rows[0].dtype) for row in rows]))  # the layer takes it from there

    @staticmethod
    def _row(key: str, state_dict: dict[str, Any], cell: Any, index: int, errors: list[str]) -> Any:
        """The value to load for one layer; the present one if there is none."""
        present, shape = cell.detach()._value[index], tuple(cell.shape[1:])
        if key not in state_dict:
            return present
        array = array_from(state_dict[key], copy=True)
        if tuple(array.shape) != shape:
            errors.append(f"size mismatch for {key}: copying a param with shape {tuple(array.shape)} from checkpoint, the shape in current model is {shape}.")
            return present
        return array


def _add_layer_dims(layer: Module, count: int) -> None:
    for p in layer.parameters():
        p._layer_dims += count


def _layer_order(key: str) -> list[tuple[bool, Any]]:
    return [(part.isdigit(), int(part) if part.isdigit() else part) for part in key.split(".")]


def scan_layers(layers: Sequence[Module], input: Any, *args: Any, remat: Any = False, unroll: int = 1, **kwargs: Any) -> Any:
    """Call equal layers one after the other, as one loop: their forward and backward pass is compiled once.

    The layers keep their own parameters, which are stacked at every call. That costs a copy of them, and an optimizer still updates each by itself;
    `ScannedStack` keeps them stacked.

    Args:
        layers: a `ModuleList`, a `Sequential` or a list of modules of one build: the same class, attributes, and shapes.
        input: what the first layer takes; each takes what the one before returned.
        *args, **kwargs: further arguments of every layer.
        remat: compute what a layer computes on the way again in the backward pass: `True`, or a policy of `nr.checkpoint`.
        unroll: how many layers to put into one turn of the loop.

    Returns:
        What the last layer returns.

    Examples:
        >>> import neurarust_jax as nr
        >>> layers = nr.nn.ModuleList(nr.nn.Linear(4, 4) for _ in range(3))
        >>> nr.nn.scan_layers(layers, nr.ones(2, 4)).shape
        neurarust_jax.Size([2, 4])
    """
    layers = list(layers)
    _check_alike("scan_layers", layers)
    by_layer = [_cells_of(layer) for layer in layers]
    stacked = [stack([_value(c) for c in column]) for column in zip(*by_layer, strict=True)]
    output, new = _run(layers[0], by_layer[0], stacked, len(layers), (input, args, kwargs), remat, unroll)
    places = dict(zip(by_layer[0], zip(*by_layer, strict=True), strict=True))
    for cell, rows in new.items():
        for i, of_layer in enumerate(places[cell]):
            of_layer._write(rows[i]._value)
    return output


def _check_alike(name: str, layers: Sequence[Module]) -> None:
    if not layers:
        raise ArgumentError(f"{name}: got no layers")
    for i, layer in enumerate(layers):
        if not isinstance(layer, Module):
            raise ArgumentTypeError(f"{name}: layer {i} is {type(layer).__name__}, expected a Module")
        if any(is_lazy(c) for c in (*layer.parameters(), *layer.buffers())):
            raise ArgumentError(f"{name}: layer {i} has parameters without a shape yet; call it with a batch first")
    first = jax.tree.structure(layers[0])
    for i, layer in enumerate(layers[1:], 1):
        alike = type(layer) is type(layers[0]) and jax.tree.structure(layer) == first
        mine, others = _shapes(layer), _shapes(layers[0])
        if not alike or mine != others:
            different = [f"{n} is {mine.get(n)} and {others.get(n)}" for n in {**others, **mine} if mine.get(n) != others.get(n)]
            reason = f"{different[0]} in layer 0" if different else "their classes or attributes differ"
            raise ArgumentError(f"{name}: layers {i} and 0 are not of one build, and cannot be compiled as one: {reason}")


def _shapes(module: Module) -> dict[str, str]:
    return {name: f"{cell.dtype}{list(cell.shape)}" for name, cell in (*module.named_parameters(), *module.named_buffers())}


def _cells_of(module: Module) -> list[Cell]:
    """Parameters, buffers and tensor attributes, each once."""
    return list(dict.fromkeys([*module.parameters(), *module.buffers(), *(s for m in module.modules() for s in m._states.values())]))


def _value(cell: Cell) -> Any:
    value = cell if isinstance(cell, CellTensor) else cell._read()
    return value if isinstance(value, Tensor) else wrap(value)


_KEPT = frozenset({
    "conv_general_dilated", "cholesky", "cumlogsumexp", "cummax", "cummin", "cumprod", "cumsum", "custom_call", "dot_general", "eig", "eigh", "ffi_call", "fft",
    "gather", "lu", "pure_callback", "qr", "ragged_dot_general", "random_bits", "reduce_window", "scaled_matmul", "schur", "scatter", "scatter-add", "sort", "svd", "threefry2x32",
    "top_k", "triangular_solve",
})  # fmt: skip


def _dear(primitive: Any, *_: Any, **__: Any) -> bool:
    """Whether a loop over layers keeps what an operation gives for its backward pass.

    A turn of a loop writes what it keeps into a stack and reads it back, which costs more than to compute again what is elementwise. Layers called one by one are one program, in which XLA sees
    that by itself.
    """
    return primitive.name in _KEPT


def _run(template: Module, cells: list[Cell], stacked: Sequence[Any], length: int, call: tuple[Any, tuple, dict], remat: Any, unroll: int) -> tuple[Any, dict[Cell, Tensor]]:
    """(the output of the last layer, the new values of cells that the layers wrote, stacked)"""
    input, args, kwargs = call

    def one(x: Any, values: list[Any]) -> tuple[Any, list[Any]]:
        output, written = call_with(template, dict(zip(cells, values, strict=True)), (x, *args), kwargs)
        for cell in written:
            if isinstance(cell, Parameter):
                raise ArgumentError("a layer of a scanned stack writes to a parameter; only buffers can be written there")
        return output, [written.get(cell) for cell in cells]

    def turn(x: Any, values: list[Any]) -> tuple[Any, list[Any]]:
        return checkpoint(one, x, values, policy=_dear if remat is False else None if remat is True else remat)

    values = [s if isinstance(s, Tensor) else _value(s) for s in stacked]
    output, rows = looped("scan_layers", turn, input, values, (), length, unroll=unroll)
    return output, {cell: row for cell, row in zip(cells, rows, strict=True) if row is not None}
