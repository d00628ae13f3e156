"""Modules made of `torch.nn`'s layers as modules of ours, and back: the same classes, with constructor arguments read off the module."""

from __future__ import annotations

import dataclasses
import inspect
import warnings
from collections.abc import Callable
from typing import Any

import torch

from ... import nn
from ...dtypes import dtype
from ...errors import UnsupportedError
from ...generator import default_generator
from ...nn.attention import NonDynamicallyQuantizableLinear
from ...ops.nn.cross_entropy import LinearCrossEntropyOptions
from ...parameter import Buffer, Parameter, is_lazy
from ...tensor import Tensor
from .functions import constant, function_from_torch, function_to_torch
from .tensors import dtype_to_torch, tensor_from_torch, tensor_to_torch

_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
_CONTAINERS = ("ModuleList", "ModuleDict", "ParameterList", "ParameterDict")  # they have no forward
_NOT_READ = {"self", "device", "dtype", "args", "kwargs", "size_average", "reduce", "min_value", "max_value", "_weight", "_freeze"}


def _encoder_layer(m: Any) -> dict[str, Any]:
    return {
        "d_model": m.self_attn.embed_dim, "nhead": m.self_attn.num_heads, "dim_feedforward": m.linear1.out_features, "dropout": m.dropout.p,
        "layer_norm_eps": m.norm1.eps, "batch_first": m.self_attn.batch_first, "bias": m.linear1.bias is not None,
    }  # fmt: skip


def _recurrent(m: Any) -> dict[str, Any]:
    names = ["input_size", "hidden_size", "num_layers", "bias", "batch_first", "dropout", "bidirectional"]
    names += ["proj_size"] * (m.mode == "LSTM") + ["nonlinearity"] * m.mode.startswith("RNN")
    return {name: getattr(m, name) for name in names}


# arguments that the module does not keep under their own names
_READ_OTHERWISE: dict[str, Callable[[Any], dict[str, Any]]] = {
    "AdaptiveLogSoftmaxWithLoss": lambda m: {"cutoffs": m.cutoffs[:-1], "head_bias": m.head.bias is not None},
    "LinearCrossEntropyLoss": lambda m: {"in_features": m.linear.in_features, "bias": m.linear.bias is not None},
    "MultiheadAttention": lambda m: {"bias": m.in_proj_bias is not None, "add_bias_kv": m.bias_k is not None},
    "PairwiseDistance": lambda m: {"p": m.norm},
    "Transformer": lambda m: {"num_encoder_layers": 0, "num_decoder_layers": 0, "dim_feedforward": 1},  # encoder and decoder are put in as children
    "TransformerDecoder": lambda m: {"decoder_layer": m.layers[0]},
    "TransformerDecoderLayer": _encoder_layer,
    "TransformerEncoder": lambda m: {"encoder_layer": m.layers[0]},
    "TransformerEncoderLayer": _encoder_layer,
    **dict.fromkeys(("RNN", "LSTM", "GRU"), _recurrent),
}


def known_class(module: Any, library: Any, base: type) -> type | None:
    """The class of layers of `library` that a module is, though perhaps by a subclass that only builds it; `None` if it computes something of its own."""
    for cls in type(module).__mro__:
        if cls is base:
            return None
        if getattr(library, cls.__name__, None) is cls or cls.__name__ == "NonDynamicallyQuantizableLinear":
            if cls.__name__ in _CONTAINERS:
                return cls if type(module).forward is base.forward else None
            same = type(module).forward is cls.forward and "forward" not in vars(module)
            return cls if same else None
    return None


class _Conversion:
    """One conversion of a module with all below it; what is shared stays shared.

    Attributes:
        source, target: the libraries, `torch.nn` and ours or the other way.
        done: what has been converted already, by identity, kept with the original so that identities stay their own.
    """

    name: str
    source: Any
    target: Any
    base: type

    def __init__(self):
        self.done: dict[int, tuple[Any, Any]] = {}
        self.paths: list[str] = []

    def once(self, original: Any, make: Callable[[Any], Any]) -> Any:
        """`make(original)`, or what it gave before."""
        if id(original) not in self.done:
            self.done[id(original)] = (original, make(original))
        return self.done[id(original)][1]

    def module(self, module: Any) -> Any:
        """The counterpart of a module."""
        return self.once(module, self._module)

    def _module(self, module: Any) -> Any:
        self._check_hooks(module)
        cls = known_class(module, self.source, self.base)
        if cls is None:
            return self._of_own_forward(module)
        made = self._construct(cls, module)
        self.fill(made, module)
        return made

    def fill(self, made: Any, module: Any) -> None:
        """Give `made` the parameters, buffers, submodules and the mode of `module`."""
        for name, child in module._modules.items():
            self.paths.append(name)
            made._modules[name] = None if child is None else self.module(child)
            self.paths.pop()
        for name, parameter in module._parameters.items():
            if parameter is None or not is_uninitialized(parameter):
                made._parameters[name] = None if parameter is None else self.once(parameter, self._tensor)
        for name, buffer in module._buffers.items():
            if buffer is None or not is_uninitialized(buffer):
                persistent = name not in module._non_persistent_buffers_set
                made._buffers[name] = None if buffer is None else self.once(buffer, lambda b, p=persistent: self._buffer(b, p))
                (made._non_persistent_buffers_set.discard if persistent else made._non_persistent_buffers_set.add)(name)
        made.training = module.training

    def _construct(self, cls: type, module: Any) -> Any:
        target = NonDynamicallyQuantizableLinear if cls.__name__ == "NonDynamicallyQuantizableLinear" else getattr(self.target, cls.__name__, None)
        if target is None:
            raise UnsupportedError(f"{self.name}: there is no {cls.__name__} on the other side{self.where()}")
        if target is NonDynamicallyQuantizableLinear and self.target is torch.nn:
            target = torch.nn.modules.linear.NonDynamicallyQuantizableLinear
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # those of the constructor came when the original was made
            return self._build(target, self._arguments(target, cls, module))

    def _arguments(self, target: type, cls: type, module: Any) -> dict[str, Any]:
        if cls.__name__ == "ParameterList":
            return {"values": [self._member(value) for value in module]}
        if cls.__name__ == "ParameterDict":
            return {"parameters": {name: self._member(value) for name, value in module.items()}}
        read = _READ_OTHERWISE.get(cls.__name__, lambda m: {})(module)
        if cls.__name__ not in ("RNN", "LSTM", "GRU", "Sequential", "Container", *_CONTAINERS):
            for name, parameter in inspect.signature(cls.__init__).parameters.items():
                if name in _NOT_READ or name in read or not (hasattr(module, name) or parameter.default is parameter.empty):
                    continue
                value = getattr(module, name)
                read[name] = value is not None and value is not False if name == "bias" else value
        return {name: self.argument(value) for name, value in read.items()}

    def _member(self, value: Any) -> Any:
        return self.once(value, self._tensor) if isinstance(value, torch.nn.Parameter | Parameter) else self._constant(value)

    def argument(self, value: Any) -> Any:
        """A constructor argument as the other library takes it."""
        if isinstance(value, self.base):
            return self.module(value)
        if isinstance(value, tuple) and type(value) is not tuple:
            return tuple(value)
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return self._options(**{f.name: self.argument(getattr(value, f.name)) for f in dataclasses.fields(value)})
        return self._constant(value)

    def _check_hooks(self, module: Any) -> None:
        for hooks in _HOOKS:
            if getattr(module, hooks) and not any(map(is_uninitialized, module._parameters.values())) and not hasattr(module, "cls_to_become"):
                raise UnsupportedError(
                    f"{self.name} cannot take over what is registered in {hooks} of {type(module).__name__}{self.where()}; remove the hooks (for weight_norm and spectral_norm, "
                    "torch.nn.utils.parametrize.remove_parametrizations or remove_weight_norm), and register them on what is returned"
                )

    def where(self) -> str:
        """The path of the module under way, for errors."""
        return f" at {'.'.join(self.paths)!r}" if self.paths else ""

    # for each direction

    def _build(self, target: type, arguments: dict[str, Any]) -> Any:
        raise NotImplementedError

    def _tensor(self, tensor: Any) -> Any:
        raise NotImplementedError

    def _buffer(self, buffer: Any, persistent: bool) -> Any:
        raise NotImplementedError

    def _constant(self, value: Any) -> Any:
        raise NotImplementedError

    def _options(self, **options: Any) -> Any:
        raise NotImplementedError

    def _of_own_forward(self, module: Any) -> Any:
        raise NotImplementedError


def is_uninitialized(tensor: Any) -> bool:
    """Whether a parameter or buffer of either library has no shape yet."""
    return is_lazy(tensor) or torch.nn.parameter.is_lazy(tensor)


class FromTorch(_Conversion):
    """From PyTorch: modules with a `forward` of their own are traced by `torch.fx`."""

    name, source, target, base = "from_torch", torch.nn, nn, torch.nn.Module

    def top(self, module: torch.nn.Module) -> Any:
        """The counterpart of the outermost module, with those traced that call for it."""
        from .tracing import TracedModule, skeleton

        self.skeleton = skeleton(module)
        self.skeletons = dict(zip(map(id, module.modules()), self.skeleton.modules(), strict=True))
        made = self.module(module)
        stack = [made]
        while stack:  # the outermost modules with a forward of their own are traced at once, to tell now what cannot be
            found = stack.pop()
            if isinstance(found, TracedModule):
                found.trace_plainly()
            else:
                stack += list(found.children())
        return made

    def _of_own_forward(self, module: torch.nn.Module) -> Any:
        from .tracing import TracedModule

        if hasattr(module, "parametrizations"):
            raise UnsupportedError(f"from_torch cannot take over the parametrizations of {type(module).__name__}{self.where()}; write remove_parametrizations before")
        made = TracedModule(self.skeletons[id(module)], type(module).__name__)
        self.fill(made, module)
        return made

    def _build(self, target: type, arguments: dict[str, Any]) -> Any:
        state = default_generator._read()
        made = target(**arguments)
        default_generator._write(state)
        return made

    def _tensor(self, tensor: torch.Tensor) -> Any:
        return tensor_from_torch(tensor if isinstance(tensor, torch.nn.Parameter) else torch.nn.Parameter(tensor, tensor.requires_grad))

    def _buffer(self, buffer: torch.Tensor, persistent: bool) -> Any:
        return Buffer(tensor_from_torch(buffer.detach(), copy=True), persistent=persistent)

    def _constant(self, value: Any) -> Any:
        return function_from_torch(value) if callable(value) and not isinstance(value, type) else constant(value)

    def _options(self, **options: Any) -> Any:
        return LinearCrossEntropyOptions(**options)


class ToTorch(_Conversion):
    """To PyTorch."""

    name, source, target, base = "to_torch", nn, torch.nn, nn.Module

    def top(self, module: nn.Module) -> torch.nn.Module:
        """The counterpart of the outermost module."""
        return self.module(module)

    def _of_own_forward(self, module: nn.Module) -> Any:
        raise UnsupportedError(
            f"to_torch takes modules made of the layers of nr.nn, and {type(module).__name__}{self.where()} has a forward of its own. Write that class in PyTorch too, and give it the "
            "weights: theirs.load_state_dict(nr.interop.to_torch_state_dict(ours))"
        )

    def _build(self, target: type, arguments: dict[str, Any]) -> Any:
        if target.__name__.startswith("Lazy"):
            return target(**arguments)
        with torch.device("meta"):  # what is drawn here is replaced
            return target(**arguments)

    def _tensor(self, tensor: Tensor) -> Any:
        return tensor_to_torch(tensor)

    def _buffer(self, buffer: Tensor, persistent: bool) -> Any:
        return tensor_to_torch(buffer).detach()

    def _constant(self, value: Any) -> Any:
        if isinstance(value, Tensor):
            return tensor_to_torch(value, copy=True).detach()
        if isinstance(value, dtype):
            return dtype_to_torch(value)
        return function_to_torch(value) if callable(value) and not isinstance(value, type) else value

    def _options(self, **options: Any) -> Any:
        from torch.nn.modules.linear_cross_entropy_options import LinearCrossEntropyOptions

        return LinearCrossEntropyOptions(**options)
