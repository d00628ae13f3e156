"""Callable pytrees of arrays, such as Equinox modules, as layers of ours."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from ..errors import ArgumentTypeError
from ..tensor import Tensor
from .foreign import ForeignModule, is_array, names_of


class FromPytree(ForeignModule):
    """A callable pytree of arrays as a layer: its floating-point and complex arrays are parameters, other arrays buffers, named by their paths.

    It takes an Equinox module, a `jax.tree_util.Partial`, or any callable object that is registered as a pytree. In training mode, a call that takes an argument `key` and
    is given none gets one from the default generator. `eval()` sets `inference` of Equinox's layers, and `train()` resets it. What else is not an array is fixed.

    Args:
        function: the callable pytree.

    Examples:
        >>> import jax
        >>> import neurarust_jax as nr
        >>> layer = nr.interop.FromPytree(jax.tree_util.Partial(lambda w, x: x @ w, jax.numpy.ones((2, 3))))
        >>> layer(nr.ones(5, 2)).shape, len(list(layer.parameters()))
        (neurarust_jax.Size([5, 3]), 1)
    """

    def __init__(self, function: Callable):
        if not callable(function):
            raise ArgumentTypeError(f"FromPytree takes a callable pytree, got {type(function).__name__}")
        super().__init__(type(function).__name__)
        found, tree = jax.tree_util.tree_flatten_with_path(function, is_leaf=lambda x: isinstance(x, Tensor))
        places: list[Any] = []
        for path, value in found:
            if is_array(value):
                cell = self._place(names_of(path), value, np.dtype(value.dtype).kind in "fcV")
                places.append(next(n for n, c in (*self.named_parameters(), *self.named_buffers()) if c is cell).split("."))
            else:
                places.append(_Fixed(value))
        self.__dict__["_tree"] = _Fixed((tree, places))
        self.__dict__["_takes_key"] = _takes_key(function)

    def _cells_in_order(self) -> list[Any]:
        cells = []
        for place in self._tree.value[1]:
            if isinstance(place, list):
                *parents, name = place
                holder: Any = self
                for parent in parents:
                    holder = holder._modules[parent]
                cells.append(holder._parameters[name] if name in holder._parameters else holder._buffers[name])
        return cells

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the callable computes; arrays of its output are tensors."""
        tree, places = self._tree.value
        training = self.training
        random = self._takes_key and training and "key" not in kwargs

        def pure(values: list[Any], key: Any, arguments: tuple, options: dict[str, Any]) -> Any:
            remaining = iter(values)
            leaves = [next(remaining) if isinstance(p, list) else p.value for p in places]
            function = _in_mode(jax.tree.unflatten(tree, leaves), training)
            output = function(*arguments, **options) if key is None else function(*arguments, key=key, **options)
            return output, [None] * len(values)

        return self._run(training, pure, self._cells_in_order(), random, (args, kwargs))


class _Fixed:
    """What is no array, shared by copies of the layer."""

    def __init__(self, value: Any):
        self.value = value

    def __deepcopy__(self, memo: dict[int, Any]) -> _Fixed:
        return self


def _takes_key(function: Callable) -> bool:
    try:
        return "key" in inspect.signature(function).parameters
    except (TypeError, ValueError):
        return False


def _in_mode(function: Any, training: bool) -> Any:
    """An Equinox module in the mode; anything else as it is."""
    equinox = sys.modules.get("equinox")
    if equinox is None or not isinstance(function, equinox.Module):
        return function
    return equinox.nn.inference_mode(function, not training)
