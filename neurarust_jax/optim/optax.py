"""Any optax transformation as an optimizer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .. import dtypes
from ..autograd.graph import enable_grad
from ..cells import Cell
from ..errors import ArgumentError, StateDictError
from ..tensor import Tensor, array_from, wrap
from .groups import ParamGroup
from .optimizer import Optimizer

__all__ = ["Optax"]


class Optax(Optimizer):
    """An optimizer whose rule is an optax transformation.

    To optax the parameters are a list, or, if they were given with names, a dict by these names, for masks and labels. A parameter without a gradient keeps
    its value; for optax its gradient is zeros.

    Args:
        params: the parameters, or pairs of name and parameter, such as ``model.named_parameters()``.
        transformation: an `optax.GradientTransformation`, learning rate included.

    Attributes:
        transformation: the transformation.
        optax_state: its present state, as optax has it. Assign to replace it.

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
        self._state_tree: Any = None
        super().__init__(params, {})
        with dtypes.x64():
            leaves, self._state_tree = jax.tree.flatten(transformation.init(self._tree([p._value for p in self._parameters()])))
            for leaf in leaves:
                cell = Cell()
                cell._state = jnp.asarray(leaf)
                self._state_cells.append(cell)

    def _counts_steps(self, options: Mapping[str, Any]) -> bool:
        return False

    def _parameters(self) -> list[Any]:
        return [p for group in self.param_groups for p in group.params]

    def _tree(self, values: list[Any]) -> Any:
        """The values of all parameters as optax sees them."""
        if "param_names" not in self.param_groups[0]:
            return values
        return dict(zip([name for group in self.param_groups for name in group["param_names"]], values, strict=True))

    @property
    def optax_state(self) -> Any:
        """The state of the transformation, a pytree of arrays."""
        return jax.tree.unflatten(self._state_tree, [cell._read() for cell in self._state_cells])

    @optax_state.setter
    def optax_state(self, state: Any) -> None:
        leaves, tree = jax.tree.flatten(state)
        if tree != self._state_tree:
            raise StateDictError(f"the given optax state has the structure {tree}, this optimizer's is {self._state_tree}")
        with dtypes.x64():
            for cell, leaf in zip(self._state_cells, leaves, strict=True):
                cell._write(jnp.asarray(leaf, cell._read().dtype))

    def add_param_group(self, param_group: Mapping[str, Any]) -> None:
        """Add a group; only possible before the state is made."""
        if self._state_tree is not None:
            raise ArgumentError("an optax state belongs to its parameters: make a new optimizer, or use optax.multi_transform for groups")
        super().add_param_group(param_group)

    def step(self, closure: Callable[[], Any] | None = None, **extra: Any) -> Any:
        """Update the parameters by their gradients.

        Args:
            closure: computes the loss anew, with `backward()`, and returns it.
            **extra: what the transformation's `update` asks for by name, such as ``value=loss``. Tensors, arrays and numbers are traced.

        Returns:
            What `closure` returned, or `None`.
        """
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        arrays = {name: _array(value) for name, value in extra.items() if _is_traced(value)}
        self._settings = tuple((name, value) for name, value in extra.items() if name not in arrays)
        self._update(**arrays)
        return loss

    def _gather(self) -> Any:
        parameters = self._parameters()
        gradients = [p._leaf()._read() if "_kept_leaf" in p.__dict__ else None for p in parameters]
        given = tuple(i for i, gradient in enumerate(gradients) if gradient is not None)
        gradients = [g._value if isinstance(g, Tensor) else g for g in gradients if g is not None]
        return [(self.param_groups[0], given)], list(parameters), gradients

    def _apply(self, plan: list[tuple[ParamGroup, tuple[int, ...]]], values: list[Any], gradients: list[Any], numbers: list[Any], **extra: Any) -> list[Any]:
        import optax

        given = dict(zip(plan[0][1], gradients, strict=True))
        count = len(self._states)
        old, state = values[:count], jax.tree.unflatten(self._state_tree, values[count:])
        with dtypes.x64():
            tree = self._tree(old)
            whole = self._tree([given[i] if i in given else jnp.zeros_like(p) for i, p in enumerate(old)])
            transformation = optax.with_extra_args_support(self.transformation)
            updates, state = transformation.update(whole, state, tree, **extra, **dict(self._settings or ()))
            updated: Any = optax.apply_updates(tree, updates)
            updated = updated if isinstance(updated, list) else [updated[name] for name in tree]
            new = [updated[i] if i in given else p for i, p in enumerate(old)]
            return [*new, *(jnp.asarray(leaf, v.dtype) for leaf, v in zip(jax.tree.leaves(state), values[count:], strict=True))]

    def _shared_places(self) -> list[Cell]:
        return self._state_cells

    def _packed_states(self, parameters: list[Any]) -> dict[Any, Any]:
        """The optax state as a list of arrays, in the order of `jax.tree.leaves`."""
        return {"optax": [wrap(c._read()) for c in self._state_cells]}

    def _load_packed_states(self, pairs: list[tuple[Any, Any]], states: Mapping[Any, Any]) -> None:
        arrays = [array_from(x, copy=True) for x in states["optax"]]
        have, want = [tuple(a.shape) for a in arrays], [tuple(c._state.shape) for c in self._state_cells]
        if have != want:
            raise StateDictError(f"the saved optax state has arrays of shapes {have}, this optimizer {want}")
        for cell, array in zip(self._state_cells, arrays, strict=True):
            cell._write(array)

    def _cells(self):
        yield from super()._cells()
        yield from self._state_cells


def _is_traced(value: Any) -> bool:
    return isinstance(value, Tensor | jax.Array | np.ndarray | np.generic | int | float)


def _array(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.detach()._value
    with dtypes.x64():
        return jnp.asarray(value)
