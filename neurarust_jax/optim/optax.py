"""Any optax transformation as an optimizer."""

from __future__ import annotations

from typing import Any

import jax

from .. import dtypes
from ..cells import Cell
from ..errors import ArgumentError, StateDictError
from ..tensor import array_from, wrap
from .optimizer import Optimizer, ParamGroup

__all__ = ["Optax"]


class Optax(Optimizer):
    """An optimizer whose rule is an optax transformation.

    Args:
        params: the parameters.
        transformation: an `optax.GradientTransformation`, learning rate included.

    Examples:
        >>> import neurarust_jax as nr, optax
        >>> p = nr.nn.Parameter(nr.tensor([1.0]))
        >>> optimizer = nr.optim.Optax([p], optax.lion(1e-2))
        >>> (p * p).sum().backward()
        >>> optimizer.step()
        >>> p.detach()
        tensor([0.9900])
    """

    def __init__(self, params: Any, transformation: Any):
        self.transformation = transformation
        self._state_cells: list[Cell] = []
        self._structure: Any = None
        super().__init__(params, {})
        with dtypes.x64():
            leaves, self._structure = jax.tree.flatten(transformation.init([p._value for p in self._parameters()]))
        for leaf in leaves:
            cell = Cell()
            cell._state = leaf
            self._state_cells.append(cell)

    def _counts_steps(self, group: ParamGroup) -> bool:
        return False

    def _parameters(self) -> list[Any]:
        return [p for group in self.param_groups for p in group.params]

    def add_param_group(self, param_group: Any) -> None:
        """Add a group; only possible before the state is made."""
        if self._structure is not None:
            raise ArgumentError("an optax state belongs to its parameters: make a new optimizer, or use optax.multi_transform for groups")
        super().add_param_group(param_group)

    def _apply(self, plan: list[tuple[ParamGroup, tuple[int, ...]]], values: list[Any], gradients: list[Any], numbers: list[Any]) -> list[Any]:
        import optax

        count = len(gradients)
        parameters, state = values[:count], jax.tree.unflatten(self._structure, values[count:])
        with dtypes.x64():
            updates, state = self.transformation.update(gradients, state, parameters)
            updated: Any = optax.apply_updates(parameters, updates)
            return [*updated, *jax.tree.leaves(state)]

    def _shared_places(self) -> list[Cell]:
        return self._state_cells

    def state_dict(self) -> dict[str, Any]:
        """The optax state as a list of arrays, in the order of `jax.tree.leaves`."""
        return {"state": {"optax": [wrap(c._read()) for c in self._state_cells]}, "param_groups": super().state_dict()["param_groups"]}

    def load_state_dict(self, state_dict: Any) -> None:
        """Continue from what `state_dict` returned."""
        arrays = [array_from(x) for x in state_dict["state"]["optax"]]
        have, want = [tuple(a.shape) for a in arrays], [tuple(c._state.shape) for c in self._state_cells]
        if have != want:
            raise StateDictError(f"the saved optax state has arrays of shapes {have}, this optimizer {want}")
        for cell, array in zip(self._state_cells, arrays, strict=True):
            cell._write(array)

    def _cells(self):
        yield from super()._cells()
        yield from self._state_cells
