"""Lazy layers: they find the size of their input at the first call, and become ordinary layers then."""

from __future__ import annotations

from typing import Any

from ..cells import outside_traces
from ..errors import ShapeError
from ..parameter import UninitializedParameter, is_lazy
from ..tensor import Tensor
from .linear import Linear
from .module import Module

__all__ = ["LazyLinear"]


class LazyModuleMixin:
    """What lazy layers share: before the first call they find the shapes of their parameters, and then change their class.

    A subclass names this class first and a class of layers second, makes its parameters as `UninitializedParameter` and `UninitializedBuffer`, and defines
    ``initialize_parameters(*inputs)``, which gives them shapes by `materialize`. The first call may be inside `nr.jit` or another transformation.

    Attributes:
        cls_to_become: the class of layers that it turns into; `None` to stay what it is.

    Examples:
        >>> import neurarust_jax as nr
        >>> layer = nr.nn.LazyLinear(2)
        >>> layer.weight
        <UninitializedParameter>
        >>> layer(nr.ones(5, 3)).shape, layer
        (neurarust_jax.Size([5, 2]), Linear(in_features=3, out_features=2, bias=True))
    """

    cls_to_become: type[Module] | None = None

    def __init__(self: Any, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self._load_hook = self._register_load_state_dict_pre_hook(self._lazy_load_hook)
        self._initialize_hook = self.register_forward_pre_hook(self._infer_parameters, with_kwargs=True)

    def initialize_parameters(self, *args: Any, **kwargs: Any) -> None:
        """Give the parameters and buffers their shapes, and values, by the shapes of the arguments of `forward`."""
        raise NotImplementedError(f"initialize_parameters is not implemented for {type(self).__name__}")

    def has_uninitialized_params(self: Any) -> bool:
        """Whether some parameter or buffer has no shape yet."""
        return any(is_lazy(cell) for cell in (*self._parameters.values(), *self._buffers.values()))

    def _infer_parameters(self, module: Any, args: tuple, kwargs: dict[str, Any]) -> None:
        with outside_traces():
            module.initialize_parameters(*args, **kwargs)
        if module.has_uninitialized_params():
            raise ShapeError(f"module {module._get_name()} has not been fully initialized: initialize_parameters must materialize all parameters and buffers")
        module._initialize_hook.remove()
        module._load_hook.remove()
        del module._initialize_hook, module._load_hook
        if module.cls_to_become is not None:
            module.__class__ = module.cls_to_become
        module._note_change()

    def _lazy_load_hook(self: Any, state_dict: dict[str, Any], prefix: str, *_: Any) -> None:
        """Take the shapes of parameters from the state dict that is being loaded."""
        for name, cell in (*self._parameters.items(), *self._buffers.items()):
            given = state_dict.get(prefix + name)
            if is_lazy(cell) and given is not None and not is_lazy(given):
                cell.materialize(given.shape)


class LazyLinear(LazyModuleMixin, Linear):
    """A `Linear` that takes `in_features` from the last dimension of its first input.

    Args:
        out_features: size of each output sample.
        bias: whether to learn a bias. Default: `True`.
        device, dtype: of the parameters.

    Attributes:
        weight: shape (out_features, in_features), drawn as in `Linear` at the first call.
        bias: shape (out_features).

    Examples:
        >>> import neurarust_jax as nr
        >>> model = nr.nn.Sequential(nr.nn.LazyLinear(4), nr.nn.ReLU(), nr.nn.LazyLinear(1))
        >>> model(nr.randn(2, 7)).shape
        neurarust_jax.Size([2, 1])
    """

    cls_to_become = Linear

    def __init__(self, out_features: int, bias: bool = True, device: Any = None, dtype: Any = None):
        super().__init__(0, 0, False)
        self.weight = UninitializedParameter(device=device, dtype=dtype)
        self.out_features = out_features
        if bias:
            self.bias = UninitializedParameter(device=device, dtype=dtype)

    def reset_parameters(self) -> None:
        if not self.has_uninitialized_params() and self.in_features != 0:
            super().reset_parameters()

    def initialize_parameters(self, input: Tensor) -> None:
        if self.has_uninitialized_params():
            self.in_features = input.shape[-1]
            self.weight.materialize((self.out_features, self.in_features))
            if self.bias is not None:
                self.bias.materialize((self.out_features,))
            self.reset_parameters()
        if self.in_features == 0:  # the parameters came from a state dict
            if input.shape[-1] != self.weight.shape[-1]:
                raise ShapeError(f"The in_features inferred from input: {input.shape[-1]} is not equal to in_features from self.weight: {self.weight.shape[-1]}")
            self.in_features = input.shape[-1]
