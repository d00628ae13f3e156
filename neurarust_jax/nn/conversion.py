"""Modes, dtypes and devices of modules."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

from .. import devices, dtypes
from ..autograd.graph import no_grad
from ..cells import Cell
from ..errors import ArgumentError, ArgumentTypeError
from ..parameter import note_change
from ..tensor import Tensor, wrap
from ..transforms.jit import CompiledFunction, jit
from .hierarchy import ModuleHierarchy

Self = TypeVar("Self", bound="ModuleConversion")


class ModuleConversion(ModuleHierarchy):
    """The part of `Module` that changes a module and all below it."""

    training: bool

    def train(self: Self, mode: bool = True) -> Self:
        """Set training mode, here and below. It matters to dropout, batch normalization and their like.

        Raises:
            ValueError: `mode` is no bool.
        """
        if not isinstance(mode, bool):
            raise ArgumentError("training mode is expected to be boolean")
        if self.training != mode:
            self.training = mode
        for module in self.children():
            module.train(mode)
        return self

    def eval(self: Self) -> Self:
        """Set evaluation mode, here and below."""
        return self.train(False)

    def apply(self: Self, fn: Callable[[Any], Any]) -> Self:
        """Call `fn` on every submodule, the innermost first, and on this module last."""
        for module in self.children():
            module.apply(fn)
        fn(self)
        return self

    def _apply(self: Self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """Replace every parameter, gradient and buffer by `fn` of it, a function of tensors."""
        modules = self.modules() if recurse else (self,)
        cells: dict[Cell, None] = dict.fromkeys(cell for module in modules for cell in module._own_cells())
        with no_grad():
            for cell in cells:
                value = cell._read()
                if value is not None:
                    cell._write(fn(value if isinstance(value, Tensor) else wrap(value))._value)
        note_change()
        return self

    def to(self: Self, *args: Any, dtype: Any = None, device: Any = None, non_blocking: bool = False, memory_format: Any = None) -> Self:
        """Move the module's cells to a device, and its floating-point ones to a dtype.

        Args:
            *args: a dtype, a device, both, or a tensor whose both are taken.
            dtype: a floating-point or complex dtype.
            device: a device or a `jax.sharding.Sharding`.
            non_blocking: accepted without effect: moving never waits.
            memory_format: accepted without effect: XLA chooses the layout.

        Raises:
            TypeError: the dtype is no floating-point one.
            DeviceError: there is no such device.
        """
        for argument in args:
            if isinstance(argument, Tensor):
                dtype, device = argument.dtype, argument._value.sharding
            elif isinstance(argument, dtypes.dtype) or str(argument).startswith("torch.") or (isinstance(argument, str) and argument in dtypes._NAMES):
                dtype = argument
            elif argument is not None and not isinstance(argument, bool):
                device = argument
        if dtype is not None:
            target = dtypes.as_dtype(dtype)
            if not (target.is_floating_point or target.is_complex):
                raise ArgumentTypeError(f"nn.Module.to only accepts floating point or complex dtypes, but got desired dtype={target}")
            self._apply(lambda t: t.to(target) if t.is_floating_point() or t.is_complex() else t)
        if device is not None:
            self._apply(lambda t: wrap(devices.put(t._value, device)))
        return self

    def to_empty(self: Self, *, device: Any, recurse: bool = True) -> Self:
        """Move the module's cells to a device without their values, which are then anything; `None` leaves them where they are."""
        return self._apply(lambda t: t if device is None else t.new_empty(t.shape, device=device), recurse)

    def cpu(self: Self) -> Self:
        """Move all cells to the CPU."""
        return self.to(device="cpu")

    def cuda(self: Self, device: Any = None) -> Self:
        """Move all cells to a GPU, by default the first."""
        return self.to(device="cuda" if device is None else device)

    def type(self: Self, dst_type: Any) -> Self:
        """Convert all parameters and buffers to a dtype."""
        target = dtypes.as_dtype(dst_type)
        return self._apply(lambda t: t.to(target))

    def float(self: Self) -> Self:
        """Convert floating-point cells to float32."""
        return self._apply(lambda t: t.to(dtypes.float32) if t.is_floating_point() else t)

    def double(self: Self) -> Self:
        """Convert floating-point cells to float64."""
        return self._apply(lambda t: t.to(dtypes.float64) if t.is_floating_point() else t)

    def half(self: Self) -> Self:
        """Convert floating-point cells to float16."""
        return self._apply(lambda t: t.to(dtypes.float16) if t.is_floating_point() else t)

    def bfloat16(self: Self) -> Self:
        """Convert floating-point cells to bfloat16."""
        return self._apply(lambda t: t.to(dtypes.bfloat16) if t.is_floating_point() else t)

    def share_memory(self: Self) -> Self:
        """Accepted without effect: tensors never change, so that processes can always share them."""
        return self

    def requires_grad_(self: Self, requires_grad: bool = True) -> Self:
        """Let gradients be accumulated in all parameters, or stop it."""
        for parameter in self.parameters():
            parameter.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop the gradients of all parameters, or set them to zeros."""
        for parameter in self.parameters():
            gradient = parameter.grad
            if gradient is not None:
                parameter.grad = None if set_to_none else gradient.new_zeros(gradient.shape)

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Compile this module's calls with `nr.jit`. The options of `torch.compile` are accepted without effect; copies of the module are not compiled."""
        self.__dict__["forward"] = jit(type(self).forward).__get__(self)

    def __getstate__(self) -> dict[str, Any]:
        state = {name: value for name, value in self.__dict__.items() if name != "_cached_signature"}
        forward = state.get("forward")
        if isinstance(forward, functools.partial) and isinstance(forward.func, CompiledFunction):
            del state["forward"]
        return state
