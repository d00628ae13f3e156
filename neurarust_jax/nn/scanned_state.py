"""The state of an optimizer over a `ScannedStack`, exchanged with one over layers that stand one by one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp

from .. import dtypes
from ..errors import StateDictError
from ..tensor import Tensor, array_from, wrap
from .module import Module
from .scanned import ScannedStack

__all__ = ["exchange_optimizer_state"]


class _Stacked(NamedTuple):
    """Where a stacked parameter belongs."""

    stack: ScannedStack
    prefix: str  # the stack's name in the model, with a dot
    name: str  # the parameter's in a layer


def exchange_optimizer_state(optimizer: Any, model: Module) -> None:
    """Let an optimizer's `state_dict` have an entry for each layer of the model's `ScannedStack`s, and load such ones, as a `Sequential` or `ModuleList` of the layers would.

    So a checkpoint goes back and forth between the stack and layers called one by one, and PyTorch. What the optimizer itself gave before, with stacked entries, is still loaded. The order is that
    of ``model.parameters()`` with unrolled layers, group by group: in each parameter group the parameters of a stack stand side by side.

    Args:
        optimizer: an optimizer over ``model.parameters()``, or over groups of them.
        model: the module that holds the stacks, or a stack.

    Examples:
        >>> import neurarust_jax as nr
        >>> from neurarust_jax import nn
        >>> model = nn.ScannedStack(nn.Linear(2, 2) for _ in range(3))
        >>> optimizer = nr.optim.Adam(model.parameters())
        >>> nn.exchange_optimizer_state(optimizer, model)
        >>> optimizer.state_dict()["param_groups"][0]["params"]
        [0, 1, 2, 3, 4, 5]
    """
    places: dict[int, _Stacked] = {}
    for name, module in model.named_modules():
        if isinstance(module, ScannedStack):
            for of_layer, parameter in module.layer.named_parameters():
                places[id(parameter)] = _Stacked(module, f"{name}." if name else "", of_layer)

    def unrolled(optimizer: Any, state_dict: dict[str, Any]) -> dict[str, Any]:
        state, groups, number = {}, [], 0
        for group, saved in zip(optimizer.param_groups, state_dict["param_groups"], strict=True):
            numbers, names = [], []
            for position, layer, parameter in _in_order(group["params"], places):
                found = state_dict["state"].get(saved["params"][position])
                if found is not None:
                    state[number] = found if layer is None else {n: _row(v, layer, parameter) for n, v in found.items()}
                numbers.append(number)
                number += 1
                if "param_names" in saved:
                    place = places.get(id(parameter))
                    names.append(saved["param_names"][position] if place is None else f"{place.prefix}{layer}.{place.name}")
            groups.append({**saved, "params": numbers, **({"param_names": names} if names else {})})
        return {"state": state, "param_groups": groups}

    def stacked(optimizer: Any, state_dict: Mapping[str, Any]) -> dict[str, Any] | None:
        groups = state_dict["param_groups"]
        sizes = [sum(1 for _ in _in_order(group["params"], places)) for group in optimizer.param_groups]
        if [len(saved["params"]) for saved in groups] != sizes:
            return None  # stacked already, or not of this model: the optimizer says so
        state, packed, number = {}, [], 0
        for group, saved in zip(optimizer.param_groups, groups, strict=True):
            rows: dict[int, list[Any]] = {}
            for (position, _, _), theirs in zip(_in_order(group["params"], places), saved["params"], strict=True):
                rows.setdefault(position, []).append(state_dict["state"].get(theirs))
            for position, parameter in enumerate(group["params"]):
                found = _together(rows[position], parameter) if id(parameter) in places else rows[position][0]
                if found:
                    state[number + position] = found
            numbers = list(range(number, number + len(group["params"])))
            number += len(numbers)
            names = {"param_names": group["param_names"]} if "param_names" in group else {}
            packed.append({**{n: v for n, v in saved.items() if n != "param_names"}, "params": numbers, **names})
        return {**state_dict, "state": state, "param_groups": packed}

    optimizer.register_state_dict_post_hook(unrolled)
    optimizer.register_load_state_dict_pre_hook(stacked)


def _in_order(parameters: Sequence[Any], places: dict[int, _Stacked]) -> Iterator[tuple[int, int | None, Any]]:
    """(position in the group, number of the layer or `None`, parameter), as the layers' own parameters would follow each other."""
    position = 0
    while position < len(parameters):
        place = places.get(id(parameters[position]))
        if place is None:
            yield position, None, parameters[position]
            position += 1
            continue
        end = position
        while end < len(parameters) and (other := places.get(id(parameters[end]))) is not None and other.stack is place.stack:
            end += 1
        for layer in range(place.stack.length):
            yield from ((i, layer, parameters[i]) for i in range(position, end))
        position = end


def _row(value: Any, layer: int, parameter: Any) -> Any:
    """What of a state belongs to one layer: a row, or all of a count of steps."""
    return value[layer] if getattr(value, "ndim", 0) and value.shape[0] == parameter.shape[0] else value


def _together(rows: Sequence[Mapping[str, Any] | None], parameter: Any) -> dict[str, Any]:
    """The state of a stacked parameter, from those of its layers."""
    present = [row for row in rows if row]
    if not present:
        return {}
    if len(present) != len(rows) or any(row.keys() != present[0].keys() for row in present):
        raise StateDictError("the layers of a stack have states of different kinds, and share one here: some were trained, or by another optimizer, and some not")
    return {name: _stacked_values(name, [row[name] for row in present], parameter) for name in present[0]}


def _stacked_values(name: str, values: Sequence[Any], parameter: Any) -> Any:
    if values[0] is None:
        return None
    shape = tuple(getattr(values[0], "shape", ()))
    if name != "step" and (shape or tuple(parameter.shape[1:]) == ()) and hasattr(values[0], "shape"):
        arrays = [array_from(v) for v in values]
        with dtypes.x64():
            return wrap(jnp.stack(arrays))
    numbers = {float(v.item() if isinstance(v, Tensor) or hasattr(v, "item") else v) for v in values}
    if len(numbers) > 1:
        raise StateDictError(f"the layers of a stack share one {name!r} here, and the state dict has {sorted(numbers)} for them")
    return values[0]
