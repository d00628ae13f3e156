"""`Module`: the base class of every layer and model, with PyTorch's interface.

A module is a Python object; its parameters and buffers are cells, found by the names of its attributes. To JAX it is a pytree whose leaves are the
values of its cells. `functional_call` and the transformations turn it into a pure function. Here are its construction, its call and its repr; the rest
comes from the files of its bases.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, TypeVar

from .. import cells
from ..errors import ArgumentTypeError, NeuraRustError
from . import scopes
from .attributes import HOOKS, REGISTRIES
from .conversion import ModuleConversion
from .hooks import ModuleHooks
from .state_dict import ModuleStateDict


class Module(ModuleConversion, ModuleStateDict, ModuleHooks):
    r"""Base class of layers and models.

    A subclass assigns parameters and submodules as attributes in `__init__` and computes in `forward`. Submodules may also stand in lists, tuples and
    dicts that are attributes; they are found there under names such as ``layers.0``.

    Attributes:
        training: whether the module is in training mode, which `train()` and `eval()` set.
        call_super_init: whether `__init__` hands its arguments on to the class that comes after `Module`. Default: `False`.

    Examples:
        >>> import neurarust_jax as nr
        >>> from neurarust_jax import nn
        >>> class Net(nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.fc = nn.Linear(4, 2)
        ...     def forward(self, x):
        ...         return self.fc(x).relu()
        >>> Net()
        Net(
          (fc): Linear(in_features=4, out_features=2, bias=True)
        )
    """

    dump_patches: bool = False
    call_super_init: bool = False
    T_destination = TypeVar("T_destination", bound=dict[str, Any])

    def __init__(self, *args: Any, **kwargs: Any):
        if (args or kwargs) and not self.call_super_init:
            if kwargs:
                raise ArgumentTypeError(f"{type(self).__name__}.__init__() got an unexpected keyword argument '{next(iter(kwargs))}'")
            raise ArgumentTypeError(f"{type(self).__name__}.__init__() takes 1 positional argument but {len(args) + 1} were given")
        fields = self.__dict__
        for registry in REGISTRIES:
            fields[registry] = {}
        for hooks in HOOKS:
            fields[hooks] = OrderedDict()
        fields["_non_persistent_buffers_set"] = set()
        fields["_containers"] = {}
        fields["_change"] = 0
        fields["training"] = True
        if self.call_super_init:
            super().__init__(*args, **kwargs)

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        from .pytree import register  # which needs this class first

        register(cls)

    def forward(self, *input: Any) -> Any:
        """What the module computes. Every subclass defines it."""
        raise NotImplementedError(f"Module [{type(self).__name__}] is missing the required \"forward\" function")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if cells._traces:
            with scopes.entered(self):
                return self._forward_or_explain(args, kwargs)
        try:
            if self._has_hooks:
                return self._call_with_hooks(args, kwargs)
            return self.forward(*args, **kwargs)
        except NeuraRustError as error:
            self._add_path(error)
            raise

    def _forward_or_explain(self, args: tuple, kwargs: dict[str, Any]) -> Any:
        """What `__call__` does, apart from it so that an eager call is one frame."""
        try:
            return self._call_with_hooks(args, kwargs) if self._has_hooks else self.forward(*args, **kwargs)
        except NeuraRustError as error:
            self._add_path(error)
            raise

    def _add_path(self, error: NeuraRustError) -> None:
        """Put this module in front of the layer path that the error carries."""
        inner = getattr(error, "_innermost_reached", None)
        name = ""
        if inner is not None:
            name = next((n for n, m in self.named_modules() if m is inner), "")
            error.modules[-1] = (name, error.modules[-1][1])
        error.in_module("", repr(self) if not self._modules else type(self).__name__)
        error._innermost_reached = self  # type: ignore[attr-defined]

    def extra_repr(self) -> str:
        """What stands in the parentheses of the module's repr; for subclasses to define."""
        return ""

    def _get_name(self) -> str:
        return type(self).__name__

    def __repr__(self) -> str:
        extra = self.extra_repr()
        lines = extra.split("\n") if extra else []
        children = [f"({name}): {indented(repr(module))}" for name, module in self._modules.items()]
        children += [f"({name}): {indented(repr(m))}" for name, m in self._contained() if isinstance(m, Module)]
        if not children and len(lines) < 2:
            return f"{self._get_name()}({extra})"
        return f"{self._get_name()}(\n  " + "\n  ".join(lines + children) + "\n)"

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._note_change()


def indented(text: str) -> str:
    """`text` with all lines but the first two spaces further right."""
    return text.replace("\n", "\n  ")
