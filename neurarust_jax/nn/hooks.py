"""Hooks of modules: registering them, calling them around `forward`, and watching what flows back through a module."""

from __future__ import annotations

import itertools
import warnings
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from ..autograd.engine import RemovableHandle
from ..autograd.function import Function
from ..autograd.graph import mode
from ..errors import HookError
from ..parameter import note_change
from ..tensor import Tensor, wrap
from .attributes import ModuleAttributes, buffer_registration_hooks, module_registration_hooks, parameter_registration_hooks

if TYPE_CHECKING:
    from .module import Module

# common to all modules, and called before a module's own
_forward_hooks: OrderedDict[int, Callable] = OrderedDict()
_forward_pre_hooks: OrderedDict[int, Callable] = OrderedDict()
_backward_hooks: OrderedDict[int, Callable] = OrderedDict()
_backward_pre_hooks: OrderedDict[int, Callable] = OrderedDict()
_numbers = itertools.count()


class OptionedHook:
    """A hook that is called in another way than its kind usually is.

    Attributes:
        function: what is called.
        with_kwargs: a forward hook that takes keyword arguments too.
        always_call: a forward hook that is called even when the call raises.
        with_module: a hook before loading that takes the module.
        public: a hook after `state_dict` that must return nothing.
    """

    def __init__(self, function: Callable, with_kwargs: bool = False, always_call: bool = False, with_module: bool = True, public: bool = False):
        self.function = function
        self.with_kwargs = with_kwargs
        self.always_call = always_call
        self.with_module = with_module
        self.public = public

    def __call__(self, module: Any, *arguments: Any) -> Any:
        return self.function(module, *arguments) if self.with_module else self.function(*arguments)


class ModuleHooks(ModuleAttributes):
    """The part of `Module` that has to do with hooks."""

    _has_hooks: bool = False  # set on the class while there are hooks common to all modules

    def _call_with_hooks(self: Any, inputs: tuple, named: dict[str, Any]) -> Any:
        output = None
        called = []
        try:
            inputs, named = self._before_forward(inputs, named)
            watch = None
            if self._backward_hooks or self._backward_pre_hooks or _backward_hooks or _backward_pre_hooks:
                watch = _BackwardWatch(self)
                inputs = watch.inputs(inputs)
            output = self.forward(*inputs, **named)
            for hook in (*_forward_hooks.values(), *self._forward_hooks.values()):
                called.append(hook)
                replaced = _call_forward_hook(hook, self, inputs, named, output)
                if replaced is not None:
                    output = replaced
            return output if watch is None else watch.outputs(output)
        except Exception:
            for hook in (*_forward_hooks.values(), *self._forward_hooks.values()):
                if getattr(hook, "always_call", False) and not any(hook is c for c in called):
                    try:
                        replaced = _call_forward_hook(hook, self, inputs, named, output)
                        output = output if replaced is None else replaced
                    except Exception as silenced:
                        warnings.warn(f"module forward hook with ``always_call=True`` raised an exception that was silenced as another error was raised in forward: {silenced}", stacklevel=3)
            raise

    def _before_forward(self: Any, inputs: tuple, named: dict[str, Any]) -> tuple[tuple, dict[str, Any]]:
        """The arguments as the hooks before `forward` leave them."""
        for hook in (*_forward_pre_hooks.values(), *self._forward_pre_hooks.values()):
            if getattr(hook, "with_kwargs", False):
                replaced = hook.function(self, inputs, named)
                if replaced is not None:
                    if not isinstance(replaced, tuple) or len(replaced) != 2:
                        raise HookError(f"forward pre-hook must return None or a tuple of (new_args, new_kwargs), but got {replaced}.")
                    inputs, named = replaced
            else:
                replaced = hook(self, inputs)
                if replaced is not None:
                    inputs = replaced if isinstance(replaced, tuple) else (replaced,)
        return inputs, named

    # --- registration ----------------------------------------------------------------------------------------------

    def _add_hook(self, kind: str, hook: Callable, prepend: bool = False) -> RemovableHandle:
        hooks = self.__dict__[kind]
        number = next(n for n in _numbers if n not in hooks)  # a module that was unpickled has hooks numbered elsewhere
        hooks[number] = hook
        if prepend:
            hooks.move_to_end(number, last=False)
        self.__dict__["_has_hooks"] = True
        self._note_change()
        return RemovableHandle(hooks, number, self._note_change)

    def register_forward_pre_hook(self, hook: Callable, *, prepend: bool = False, with_kwargs: bool = False) -> RemovableHandle:
        """Call ``hook(module, args)`` before every `forward`.

        Args:
            hook: what it returns, if not `None`, replaces the positional arguments.
            prepend: call it before the hooks that are there already.
            with_kwargs: call ``hook(module, args, kwargs)``, which returns `None` or a pair of both.

        Returns:
            A handle whose `remove()` takes the hook away.
        """
        return self._add_hook("_forward_pre_hooks", OptionedHook(hook, with_kwargs) if with_kwargs else hook, prepend)

    def register_forward_hook(self, hook: Callable, *, prepend: bool = False, with_kwargs: bool = False, always_call: bool = False) -> RemovableHandle:
        """Call ``hook(module, args, output)`` after every `forward`.

        Args:
            hook: what it returns, if not `None`, replaces the output.
            prepend: call it before the hooks that are there already.
            with_kwargs: call ``hook(module, args, kwargs, output)``.
            always_call: call it, with the output so far, even if the call raises.

        Returns:
            A handle whose `remove()` takes the hook away.
        """
        return self._add_hook("_forward_hooks", OptionedHook(hook, with_kwargs, always_call) if with_kwargs or always_call else hook, prepend)

    def register_full_backward_hook(self, hook: Callable, prepend: bool = False) -> RemovableHandle:
        """Call ``hook(module, grad_input, grad_output)`` once the gradients at the module's positional inputs are known.

        If no input requires a gradient, it is called when those at the outputs are known, with `None`s for `grad_input`. A compiled function whose outputs
        require gradients calls it while it is traced.

        Args:
            hook: what it returns, if not `None`, replaces the gradients at the inputs; a tuple with an entry for each.
            prepend: call it before the hooks that are there already.

        Returns:
            A handle whose `remove()` takes the hook away.
        """
        return self._add_hook("_backward_hooks", hook, prepend)

    def register_backward_hook(self, hook: Callable) -> RemovableHandle:
        """The same as `register_full_backward_hook`."""
        return self._add_hook("_backward_hooks", hook)

    def register_full_backward_pre_hook(self, hook: Callable, prepend: bool = False) -> RemovableHandle:
        """Call ``hook(module, grad_output)`` once the gradients at the module's outputs are known.

        Args:
            hook: what it returns, if not `None`, replaces them; a tuple with an entry for each output.
            prepend: call it before the hooks that are there already.

        Returns:
            A handle whose `remove()` takes the hook away.
        """
        return self._add_hook("_backward_pre_hooks", hook, prepend)

    def register_state_dict_post_hook(self, hook: Callable) -> RemovableHandle:
        """Call ``hook(module, state_dict, prefix, local_metadata)`` after `state_dict` filled in this module's entries; it may change the dict."""
        return self._add_hook("_state_dict_hooks", OptionedHook(hook, public=True))

    def _register_state_dict_hook(self, hook: Callable) -> RemovableHandle:
        return self._add_hook("_state_dict_hooks", hook)

    def register_state_dict_pre_hook(self, hook: Callable) -> RemovableHandle:
        """Call ``hook(module, prefix, keep_vars)`` before `state_dict` fills in this module's entries."""
        return self._add_hook("_state_dict_pre_hooks", hook)

    def register_load_state_dict_pre_hook(self, hook: Callable) -> RemovableHandle:
        """Call ``hook(module, state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs)`` before loading."""
        return self._add_hook("_load_state_dict_pre_hooks", hook)

    def _register_load_state_dict_pre_hook(self, hook: Callable, with_module: bool = False) -> RemovableHandle:
        return self._add_hook("_load_state_dict_pre_hooks", hook if with_module else OptionedHook(hook, with_module=False))

    def register_load_state_dict_post_hook(self, hook: Callable) -> RemovableHandle:
        """Call ``hook(module, incompatible_keys)`` after loading; it may change the two lists, and must return nothing."""
        return self._add_hook("_load_state_dict_post_hooks", hook)


def _call_forward_hook(hook: Callable, module: Any, inputs: tuple, named: dict[str, Any], output: Any) -> Any:
    return hook.function(module, inputs, named, output) if getattr(hook, "with_kwargs", False) else hook(module, inputs, output)


# --- what flows back -------------------------------------------------------------------------------------------------


class _Watch(Function):
    """The tensors as they are; `see` is called with the gradients that flow back through them, and returns others."""

    @staticmethod
    def forward(ctx: Any, see: Callable, *tensors: Tensor) -> tuple[Tensor, ...]:
        ctx.see = see
        ctx.set_materialize_grads(False)
        outputs = tuple(wrap(t._value) for t in tensors)
        ctx.mark_non_differentiable(*(y for y, needed in zip(outputs, ctx.needs_input_grad[1:], strict=True) if not needed))
        return outputs

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        return (None, *ctx.see(gradients))


class _BackwardWatch:
    """Calls the backward hooks of one call of a module."""

    def __init__(self, module: Any):
        self.module = module
        self.hooks = [*_backward_hooks.values(), *module._backward_hooks.values()]
        self.pre_hooks = [*_backward_pre_hooks.values(), *module._backward_pre_hooks.values()]
        self.grad_outputs: tuple | None = None
        self.count = 0
        self.watches_inputs = False

    def inputs(self, inputs: tuple) -> tuple:
        """The arguments of `forward`, watched."""
        self.count = len(inputs)
        watched, self.watches_inputs = _watch(inputs, self._at_inputs)
        return watched

    def outputs(self, output: Any) -> Any:
        """What `forward` returned, watched."""
        if not isinstance(output, Tensor | tuple):
            warnings.warn(f"For backward hooks to be called, module output should be a Tensor or a tuple of Tensors but received {type(output)}", stacklevel=4)
        if isinstance(output, tuple):
            return _watch(output, self._at_outputs)[0]
        return _watch((output,), self._at_outputs)[0][0]

    def _at_outputs(self, gradients: tuple) -> tuple:
        self.grad_outputs = _through(self.pre_hooks, "Backward pre hook returned an invalid number of grad_output", gradients, self.module)
        seen = self.grad_outputs
        if not self.watches_inputs:
            warnings.warn("Full backward hook is firing when gradients are computed with respect to module outputs since no inputs require gradients.", stacklevel=2)
            for hook in self.hooks:
                returned = hook(self.module, (None,) * self.count, self.grad_outputs)
                if returned is not None and any(g is not None for g in returned):
                    raise HookError("Backward hook for Modules where no input requires gradient should always return None or None for all gradients.")
            self.grad_outputs = None
        return seen

    def _at_inputs(self, gradients: tuple) -> tuple:
        if self.grad_outputs is None:  # the gradient came by another way than the module's outputs
            return gradients
        grad_outputs, self.grad_outputs = self.grad_outputs, None
        return _through(self.hooks, "Backward hook returned an invalid number of grad_input", gradients, self.module, grad_outputs)


def _watch(values: tuple, see: Callable[[tuple], tuple]) -> tuple[tuple, bool]:
    """(the values with their tensors watched, whether any gradient flows); `see` takes an entry for each value."""
    places = [i for i, x in enumerate(values) if isinstance(x, Tensor) and (x.is_floating_point() or x.is_complex())]
    if not mode.grad or not any(values[i].requires_grad for i in places):
        return values, False

    def see_tensors(gradients: Sequence[Any]) -> list[Any]:
        spread: list[Any] = [None] * len(values)
        for place, gradient in zip(places, gradients, strict=True):
            spread[place] = gradient
        seen = see(tuple(spread))
        return [seen[place] for place in places]

    watched = list(values)
    for place, tensor in zip(places, _Watch.apply(see_tensors, *(values[i] for i in places)), strict=True):
        watched[place] = tensor
    return (values._make(watched) if hasattr(values, "_make") else tuple(watched)), True  # type: ignore[attr-defined]


def _through(hooks: list[Callable], complaint: str, gradients: tuple, module: Any, *more: Any) -> tuple:
    """The gradients as the hooks leave them."""
    for hook in hooks:
        replaced = hook(module, gradients, *more)
        if replaced is None:
            continue
        replaced = (replaced,) if isinstance(replaced, Tensor) else tuple(replaced)
        if len(replaced) != len(gradients):
            raise HookError(f"{complaint}, got {len(replaced)}, but expected {len(gradients)}")
        gradients = replaced
    return gradients


# --- hooks common to all modules -------------------------------------------------------------------------------------


def _add_common_hook(hooks: OrderedDict[int, Callable], hook: Callable) -> RemovableHandle:
    number = next(_numbers)
    hooks[number] = hook
    _note_common_change()
    return RemovableHandle(hooks, number, _note_common_change)


def _note_common_change() -> None:
    ModuleHooks._has_hooks = any((_forward_hooks, _forward_pre_hooks, _backward_hooks, _backward_pre_hooks))
    ModuleAttributes._change_of_all += 1
    note_change()


def register_module_forward_pre_hook(hook: Callable[[Module, tuple], Any]) -> RemovableHandle:
    """Call ``hook(module, args)`` before the `forward` of every module, and before that module's own hooks.

    Args:
        hook: what it returns, if not `None`, replaces the positional arguments.

    Returns:
        A handle whose `remove()` takes the hook away.

    Examples:
        >>> from neurarust_jax import nn
        >>> import neurarust_jax as nr
        >>> with nn.modules.module.register_module_forward_pre_hook(lambda module, args: print(module)):
        ...     _ = nn.ReLU()(nr.ones(1))
        ReLU()
    """
    return _add_common_hook(_forward_pre_hooks, hook)


def register_module_forward_hook(hook: Callable, *, with_kwargs: bool = False, always_call: bool = False) -> RemovableHandle:
    """Call ``hook(module, args, output)`` after the `forward` of every module, and before that module's own hooks.

    Args:
        hook: what it returns, if not `None`, replaces the output.
        with_kwargs: call ``hook(module, args, kwargs, output)``.
        always_call: call it even if the call raises.

    Returns:
        A handle whose `remove()` takes the hook away.
    """
    return _add_common_hook(_forward_hooks, OptionedHook(hook, with_kwargs, always_call) if with_kwargs or always_call else hook)


def register_module_full_backward_hook(hook: Callable) -> RemovableHandle:
    """Call ``hook(module, grad_input, grad_output)`` for every module, as `Module.register_full_backward_hook` does for one."""
    return _add_common_hook(_backward_hooks, hook)


def register_module_backward_hook(hook: Callable) -> RemovableHandle:
    """The same as `register_module_full_backward_hook`."""
    return _add_common_hook(_backward_hooks, hook)


def register_module_full_backward_pre_hook(hook: Callable) -> RemovableHandle:
    """Call ``hook(module, grad_output)`` for every module, as `Module.register_full_backward_pre_hook` does for one."""
    return _add_common_hook(_backward_pre_hooks, hook)


def register_module_buffer_registration_hook(hook: Callable) -> RemovableHandle:
    """Call ``hook(module, name, buffer)`` whenever a buffer is registered; what it returns, if not `None`, is registered instead."""
    return _add_common_hook(buffer_registration_hooks, hook)


def register_module_module_registration_hook(hook: Callable) -> RemovableHandle:
    """Call ``hook(module, name, submodule)`` whenever a submodule is registered; what it returns, if not `None`, is registered instead."""
    return _add_common_hook(module_registration_hooks, hook)


def register_module_parameter_registration_hook(hook: Callable) -> RemovableHandle:
    """Call ``hook(module, name, param)`` whenever a parameter is registered; what it returns, if not `None`, is registered instead."""
    return _add_common_hook(parameter_registration_hooks, hook)
