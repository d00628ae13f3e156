"""Our modules as Linen and NNX modules, so that Flax's training loops train them."""

from __future__ import annotations

from typing import Any

import flax.linen
import jax
import jax.numpy as jnp
from flax import nnx

from ...errors import ArgumentTypeError
from ...generator import default_generator
from ...nn.module import Module
from ...tensor import wrap
from ...transforms.functional import _Substituted
from ..foreign import unwrapped, wrapped


class _Pure:
    """A module of ours as a pure function; an attribute that Flax does not look into."""

    def __init__(self, module: Module):
        if not isinstance(module, Module):
            raise ArgumentTypeError(f"expected a neurarust_jax.nn.Module, got {type(module).__name__}")
        self.module = module

    def initial(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """(parameters, buffers) by dotted name, with the present values."""
        parameters = {name: jnp.array(p._value, copy=True) for name, p in self.module.named_parameters()}
        return parameters, {name: jnp.array(b._value, copy=True) for name, b in self.module.named_buffers()}

    def __call__(self, parameters: dict[str, Any], buffers: dict[str, Any], key: Any, training: bool | None, args: tuple, kwargs: dict) -> tuple[Any, dict[str, Any]]:
        """(output, new buffers). Without a key, drawing random numbers is an error."""
        module = self.module
        cells = dict((*module.named_parameters(), *module.named_buffers()))
        trace = _Trace({cells[name]: wrap(value) for name, value in (parameters | buffers).items()})
        trace.key = key
        if key is not None:
            words = jax.random.key_data(key).ravel()[-2:]
            trace.values[default_generator] = jnp.concatenate([words.astype(jnp.uint32), jnp.zeros(1, jnp.uint32)])
        modes = [(m, m.training) for m in module.modules()]
        try:
            if training is not None and training != module.training:
                module.train(training)
            with trace:
                output = module(*wrapped(args), **wrapped(kwargs))
        finally:
            for m, mode in modes:
                if m.training != mode:
                    m.training = mode
        return unwrapped(output), {name: trace.values[cells[name]] for name in buffers}


class _Trace(_Substituted):
    """The values that a call sees; without a key, nothing may draw from the default generator."""

    __slots__ = ("key",)

    def read(self, cell: Any) -> Any:
        """The value of a cell."""
        if cell is default_generator and self.key is None:
            raise ArgumentTypeError("the module draws random numbers, as dropout does in training, and was given no stream for it; pass rngs={'dropout': key}, or evaluate")
        return super().read(cell)


def _nested(flat: dict[str, Any]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for name, value in flat.items():
        *parents, last = name.split(".")
        place = tree
        for parent in parents:
            place = place.setdefault(parent, {})
        place[last] = value
    return tree


def _flat(tree: Any, prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in tree.items():
        if hasattr(value, "items"):
            found |= _flat(value, f"{prefix}{name}.")
        else:
            found[prefix + name] = value
    return found


class ToLinen(flax.linen.Module):
    """A module of ours as a Linen module: parameters in the collection `params`, buffers in `buffers`.

    Attributes:
        pure: the module as a pure function.
    """

    pure: _Pure

    @flax.linen.compact
    def __call__(self, *args: Any, train: bool | None = None, **kwargs: Any) -> Any:
        """Run the module on arrays; `train` sets its mode for the call."""
        parameters, buffers = map(_nested, self.pure.initial())
        params = {name: self.param(name, lambda _, v=value: v) for name, value in parameters.items()}
        variables = {name: self.variable("buffers", name, lambda v=value: v) for name, value in buffers.items()}
        stream = next((name for name in ("dropout", "params") if self.has_rng(name)), None)
        key = None if stream is None else self.make_rng(stream)
        output, after = self.pure(_flat(params), _flat({n: v.value for n, v in variables.items()}), key, train, args, kwargs)
        if self.is_mutable_collection("buffers") and not self.is_initializing():
            for name, value in _nested(after).items():
                variables[name].value = value
        return output


def to_linen(module: Module) -> ToLinen:
    """A module of ours as a Linen module, for `init`, `apply` and Flax's training loops.

    `init` gives the module's present values. Parameters lie in the collection `params`, buffers in `buffers` (pass ``mutable=["buffers"]`` to keep running statistics), in
    nested dicts by PyTorch's names. Randomness draws from the stream `dropout`. `train=True` or `False` in a call sets the mode.

    Args:
        module: the module; it is not changed.

    Examples:
        >>> import jax, jax.numpy as jnp
        >>> import neurarust_jax as nr
        >>> linen = nr.interop.to_linen(nr.nn.Sequential(nr.nn.Linear(2, 3)))
        >>> variables = linen.init(jax.random.key(0), jnp.ones((1, 2)))
        >>> jax.tree.map(jnp.shape, variables)
        {'params': {'0': {'bias': (3,), 'weight': (3, 2)}}}
        >>> linen.apply(variables, jnp.ones((5, 2))).shape
        (5, 3)
    """
    return ToLinen(_Pure(module))


class ModuleBuffer(nnx.Variable):
    """A buffer of a module of ours, as a variable of NNX."""


class _Variables(nnx.Module):
    """The variables below one name."""


class ToNNX(nnx.Module):
    """A module of ours as an NNX module: parameters as `nnx.Param`, buffers as `ModuleBuffer`, nested by PyTorch's names.

    Attributes:
        deterministic: whether it runs in evaluation mode; `train()` and `eval()` set it.
    """

    def __init__(self, module: Module, rngs: nnx.Rngs | None = None):
        self.pure = _Pure(module)
        self.deterministic = not module.training
        self.rngs = None if rngs is None else rngs["dropout"].fork() if hasattr(rngs["dropout"], "fork") else rngs
        parameters, buffers = self.pure.initial()
        self.names = tuple(parameters), tuple(buffers)
        for kind, values in ((nnx.Param, parameters), (ModuleBuffer, buffers)):
            for name, value in values.items():
                *parents, last = name.split(".")
                holder: Any = self
                for parent in parents:
                    if not hasattr(holder, parent):
                        setattr(holder, parent, _Variables())
                    holder = getattr(holder, parent)
                setattr(holder, last, kind(value))

    def _variable(self, name: str) -> Any:
        found: Any = self
        for part in name.split("."):
            found = getattr(found, part)
        return found

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the module on arrays."""
        parameters, buffers = ({name: self._variable(name)[...] for name in names} for names in self.names)
        key = None if self.rngs is None or self.deterministic else self.rngs()
        output, after = self.pure(parameters, buffers, key, not self.deterministic, args, kwargs)
        for name, value in after.items():
            if value is not buffers[name]:
                self._variable(name)[...] = value
        return output


def to_nnx(module: Module, rngs: nnx.Rngs | None = None) -> ToNNX:
    """A module of ours as an NNX module, for `nnx.jit`, `nnx.grad`, `nnx.Optimizer` and the rest.

    It starts with copies of the module's values, in variables nested by PyTorch's names. `train()` and `eval()` set the mode.

    Args:
        module: the module; it is not changed.
        rngs: where randomness comes from: its stream `dropout`.

    Examples:
        >>> import jax.numpy as jnp
        >>> import neurarust_jax as nr
        >>> layer = nr.interop.to_nnx(nr.nn.Linear(2, 3))
        >>> layer(jnp.ones((5, 2))).shape, layer.weight.shape
        ((5, 3), (3, 2))
    """
    return ToNNX(module, rngs)
