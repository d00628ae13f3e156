"""Linen and NNX modules as layers of ours."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Sequence
from typing import Any

import flax.linen
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from ...cells import outside_traces
from ...errors import ArgumentTypeError, UnsupportedError
from ..foreign import ForeignModule, is_array, names_of, seeded_key, unwrapped

_TRAINS = ("train", "training", "is_training")  # names of arguments that say so
_DOES_NOT = ("deterministic", "use_running_average", "inference")


class FromLinen(ForeignModule):
    """A Linen module as a layer: the collection `params` as parameters, all others as buffers, named by their paths.

    It is initialized by sample inputs, or by the first call, from the default generator. In training mode it updates its other collections (`batch_stats`) and gets
    a new key for each call. Where the module's `__call__` takes `train`, `training`, `deterministic`, `use_running_average` or the like, `train()` and
    `eval()` decide, unless the call does.

    Args:
        module: the Linen module.
        *samples: inputs of the shapes to come, to initialize it now, so that an optimizer can be made before the first call.
        rngs: names of the random streams that it draws from.
        mutable: collections that are updated in evaluation too, such as `cache`.

    Examples:
        >>> import flax.linen
        >>> import neurarust_jax as nr
        >>> layer = nr.interop.FromLinen(flax.linen.Dense(3), nr.ones(1, 2))
        >>> [(name, tuple(p.shape)) for name, p in layer.named_parameters()]
        [('bias', (3,)), ('kernel', (2, 3))]
        >>> layer(nr.ones(5, 2)).shape
        neurarust_jax.Size([5, 3])
    """

    def __init__(self, module: flax.linen.Module, *samples: Any, rngs: Sequence[str] = ("dropout",), mutable: Sequence[str] = ()):
        if not isinstance(module, flax.linen.Module):
            raise ArgumentTypeError(f"FromLinen takes a flax.linen.Module, got {type(module).__name__}; for flax.nnx write FromNNX")
        super().__init__(type(module).__name__)
        self.linen = module
        self.rngs, self.mutable = tuple(rngs), tuple(mutable)
        self.__dict__["_structure"] = None
        self.__dict__["_mode_argument"] = _mode_argument(type(module).__call__)
        if samples:
            self.initialize(*samples)

    def initialize(self, *samples: Any, **named: Any) -> FromLinen:
        """Make the parameters and buffers, for inputs of these shapes."""
        if self._structure is None:
            with outside_traces():
                self._make(samples, named)
        return self

    def _make(self, samples: tuple, named: dict[str, Any]) -> None:
        keys = {name: seeded_key() for name in dict.fromkeys(("params", *self.rngs))}
        leaves, structure = jax.tree.flatten(unwrapped((samples, self._with_mode(named))))
        places = [i for i, x in enumerate(leaves) if is_array(x)]

        def initial(keys: Any) -> Any:
            known = [jnp.zeros(x.shape, _default_dtype(x.dtype)) if i in places else x for i, x in enumerate(leaves)]
            arguments, options = jax.tree.unflatten(structure, known)
            return self.linen.init(keys, *arguments, **options)

        variables = jax.jit(initial)(keys)
        found, tree = jax.tree_util.tree_flatten_with_path(variables)
        collections = [names_of(path[:1])[0] for path, _ in found]
        cells = [self._place(_without_boxes(path[1:]), value, c == "params") for c, (path, value) in zip(collections, found, strict=True)]
        self.__dict__["_structure"] = tree
        self.__dict__["_all_cells"] = _Order([self._name_of(cell) for cell in cells])
        self.__dict__["_collections"] = tuple(dict.fromkeys(collections))

    def _name_of(self, cell: Any) -> str:
        named = (*self.named_parameters(), *self.named_buffers())
        return next(name for name, c in named if c is cell)

    def _with_mode(self, named: dict[str, Any]) -> dict[str, Any]:
        mode = self._mode_argument
        if mode is None or mode in named:
            return named
        return named | {mode: self.training if mode in _TRAINS else not self.training}

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the Linen module computes; arrays of its output are tensors."""
        if self._structure is None:
            self.initialize(*args, **kwargs)
        structure, linen, rngs = self._structure, self.linen, self.rngs
        others = [c for c in self._collections if c != "params"]
        mutable = tuple(c for c in dict.fromkeys((*others, *self.mutable)) if self.training or c in self.mutable)

        def pure(values: list[Any], key: Any, arguments: tuple, options: dict[str, Any]) -> Any:
            variables = jax.tree.unflatten(structure, values)
            keys = {} if key is None else {name: jax.random.fold_in(key, i) for i, name in enumerate(rngs)}
            if not mutable:
                return linen.apply(variables, *arguments, rngs=keys, **options), [None] * len(values)
            output, updates = linen.apply(variables, *arguments, rngs=keys, mutable=list(mutable), **options)
            kept = {c: updates[c] for c in updates if c in variables}
            after, tree = jax.tree.flatten({**variables, **kept})
            if tree != jax.tree.structure({**variables}):
                raise UnsupportedError(f"{type(linen).__name__} changed the structure of its variables; initialize it by inputs that make them all")
            return output, after

        random = self.training and bool(rngs)
        return self._run((mutable, self.training), pure, self._all_cells.of(self), random, (args, self._with_mode(kwargs)))


class _Order:
    """The cells of a module in an order, by name: copies of the module find their own."""

    def __init__(self, names: list[str]):
        self.names = [name.split(".") for name in names]

    def of(self, module: Any) -> list[Any]:
        cells = []
        for *parents, name in self.names:
            holder = module
            for parent in parents:
                holder = holder._modules[parent]
            cells.append(holder._parameters[name] if name in holder._parameters else holder._buffers[name])
        return cells


def _mode_argument(call: Any) -> str | None:
    parameters = inspect.signature(call).parameters
    return next((name for name in (*_TRAINS, *_DOES_NOT) if name in parameters), None)


def _without_boxes(path: Sequence[Any]) -> list[str]:
    """Names of a path, without those that metadata boxes (`flax.linen.Partitioned`) put in."""
    return names_of(part for part in path if not isinstance(part, jax.tree_util.GetAttrKey))


def _default_dtype(dtype: Any) -> Any:
    """The dtype as JAX has it now: of 32 bits unless its 64-bit types are on."""
    if jax.config.jax_enable_x64:
        return dtype
    return {np.dtype("int64"): np.int32, np.dtype("uint64"): np.uint32, np.dtype("float64"): np.float32}.get(np.dtype(dtype), dtype)


class FromNNX(ForeignModule):
    """An NNX module as a layer: its `nnx.Param` variables as parameters, other variables as buffers, named by their paths.

    The values are copied: the NNX module stays as it is. Random streams in it draw from the default generator instead. `train()` and `eval()` are NNX's `train`
    and `eval`.

    Args:
        module: the NNX module.

    Examples:
        >>> from flax import nnx
        >>> import neurarust_jax as nr
        >>> layer = nr.interop.FromNNX(nnx.Linear(2, 3, rngs=nnx.Rngs(0)))
        >>> layer(nr.ones(5, 2)).shape
        neurarust_jax.Size([5, 3])
    """

    def __init__(self, module: nnx.Module):
        if not isinstance(module, nnx.Module):
            raise ArgumentTypeError(f"FromNNX takes a flax.nnx.Module, got {type(module).__name__}; for flax.linen write FromLinen")
        super().__init__(type(module).__name__)
        graph, state = nnx.split(module)
        types = {tuple(map(str, path)): type(variable) for path, variable in nnx.to_flat_state(state)}
        found, tree = jax.tree_util.tree_flatten_with_path(state)
        kinds, names = [], []
        for path, value in found:
            parts = _without_boxes(path)
            kind = types.get(tuple(parts), nnx.Variable)
            kinds.append(kind if issubclass(kind, nnx.RngState) else None)
            if kinds[-1] is None:
                cell = self._place(parts, value, issubclass(kind, nnx.Param))
                names.append(next(n for n, c in (*self.named_parameters(), *self.named_buffers()) if c is cell))
        self.__dict__["_state_structure"] = tree
        self.__dict__["_kinds"] = tuple(kinds)
        self.__dict__["_all_cells"] = _Order(names)
        self.__dict__["_draws_in_evaluation"] = False
        self.__dict__["_graphs"] = _Graphs({training: _graph_in_mode(graph, state, training) for training in (True, False)})

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the NNX module computes; arrays of its output are tensors."""
        graph, tree, kinds = self._graphs.by_mode[self.training], self._state_structure, self._kinds
        has_streams = any(kind is not None for kind in kinds)

        def pure(values: list[Any], key: Any, arguments: tuple, options: dict[str, Any]) -> Any:
            drawn_from = jax.random.key(0) if key is None else key
            remaining = iter(values)
            leaves = [next(remaining) if kind is None else _stream(kind, drawn_from, i) for i, kind in enumerate(kinds)]
            module = nnx.merge(graph, jax.tree.unflatten(tree, leaves))
            output = module(*arguments, **options)
            _, state = nnx.split(module)
            after = jax.tree.leaves(state)
            if len(after) != len(leaves):
                raise UnsupportedError(f"{type(module).__name__} made or dropped variables in its call; make them all when it is built")
            if key is None and any(old is not new for old, new, kind in zip(leaves, after, kinds, strict=True) if kind is not None):
                raise _DrewError
            return output, [value for value, kind in zip(after, kinds, strict=True) if kind is None]

        random = has_streams and (self.training or self._draws_in_evaluation)
        try:
            return self._run(self.training, pure, self._all_cells.of(self), random, (args, kwargs))
        except _DrewError:
            self.__dict__["_draws_in_evaluation"] = True
            return self._run(self.training, pure, self._all_cells.of(self), True, (args, kwargs))


class _DrewError(Exception):
    """A module drew random numbers in evaluation, where few do."""


class _Graphs:
    """The static part of an NNX module in training and in evaluation."""

    def __init__(self, by_mode: dict[bool, Any]):
        self.by_mode = by_mode


def _graph_in_mode(graph: Any, state: Any, training: bool) -> Any:
    module = nnx.merge(graph, state, copy=True)
    module.train() if training else module.eval()
    return nnx.split(module)[0]


@functools.cache
def _is_count(kind: type) -> bool:
    return issubclass(kind, nnx.RngCount)


def _stream(kind: type, key: Any, number: int) -> Any:
    """The part of a random stream for one call: its own key, and a count that starts at 0."""
    return jnp.zeros((), jnp.uint32) if _is_count(kind) else jax.random.fold_in(key, number)
