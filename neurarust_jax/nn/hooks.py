"""Hooks of modules: what is called with them, and how backward hooks watch a module's inputs and outputs."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..tensor import Tensor

if TYPE_CHECKING:
    from .module import Module

global_forward_hooks: OrderedDict[int, Callable] = OrderedDict()
global_forward_pre_hooks: OrderedDict[int, Callable] = OrderedDict()


class KwargsHook:
    """A forward hook that takes keyword arguments too, or is called even when `forward` raises."""

    def __init__(self, function: Callable, with_kwargs: bool, always_call: bool = False):
        self.function = function
        self.with_kwargs = with_kwargs
        self.always_call = always_call


class BackwardHooks:
    """Calls a module's backward hooks, by way of hooks on the tensors that go in and come out."""

    def __init__(self, module: Module):
        self.module = module
        self.grad_outputs: list[Any] = []
        self.grad_inputs: list[Any] = []

    def watch_inputs(self, inputs: tuple) -> tuple:
        watched = [i for i, x in enumerate(inputs) if isinstance(x, Tensor) and x.requires_grad]
        self.grad_inputs = [None] * len(inputs)
        self.left = len(watched)
        result = list(inputs)
        for i in watched:
            result[i] = inputs[i].clone()

            def hook(gradient: Tensor, i: int = i) -> Tensor | None:
                self.grad_inputs[i] = gradient
                self.left -= 1
                return self._at_inputs(i) if self.left == 0 else None

            result[i].register_hook(hook)
        return tuple(result)

    def _at_inputs(self, last: int) -> Tensor | None:
        for hook in self.module._backward_hooks.values():
            replaced = hook(self.module, tuple(self.grad_inputs), tuple(self.grad_outputs))
            if replaced is not None:
                self.grad_inputs = list(replaced if isinstance(replaced, tuple) else (replaced,))
        return self.grad_inputs[last]

    def watch_outputs(self, output: Any) -> Any:
        outputs = list(output) if isinstance(output, tuple) else [output]
        self.grad_outputs = [None] * len(outputs)
        for i, y in enumerate(outputs):
            if not isinstance(y, Tensor) or not y.requires_grad:
                continue
            outputs[i] = y.clone()

            def hook(gradient: Tensor, i: int = i) -> Tensor | None:
                self.grad_outputs[i] = gradient
                for pre_hook in self.module._backward_pre_hooks.values():
                    replaced = pre_hook(self.module, tuple(self.grad_outputs))
                    if replaced is not None:
                        self.grad_outputs = list(replaced if isinstance(replaced, tuple) else (replaced,))
                if not any(isinstance(g, Tensor) for g in self.grad_inputs) and self.left == 0:
                    self._at_inputs_without_gradient()
                return self.grad_outputs[i]

            outputs[i].register_hook(hook)
        return tuple(outputs) if isinstance(output, tuple) else outputs[0]

    def _at_inputs_without_gradient(self) -> None:
        for hook in self.module._backward_hooks.values():
            hook(self.module, tuple(self.grad_inputs), tuple(self.grad_outputs))
