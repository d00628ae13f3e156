"""Walking over a module and those below it, and finding what has a dotted name."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from ..cells import Cell
from ..errors import ArgumentError
from ..parameter import Buffer, Parameter, is_lazy
from .attributes import ModuleAttributes

if TYPE_CHECKING:
    from .module import Module


class ModuleHierarchy(ModuleAttributes):
    """The part of `Module` that names what is below it."""

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The direct submodules with their names, each once."""
        seen: set[int] = set()
        for name, module in self._children():
            if id(module) not in seen:
                seen.add(id(module))
                yield name, module

    def _children(self) -> Iterator[tuple[str, Any]]:
        """The direct submodules with their names, those in plain lists, tuples and dicts too."""
        everything = itertools.chain(self._modules.items(), self._contained()) if self._containers else self._modules.items()
        for name, module in everything:
            if isinstance(module, ModuleAttributes):
                yield name, module

    def children(self) -> Iterator[Module]:
        """The direct submodules, each once."""
        for _, module in self.named_children():
            yield module

    def named_modules(self, memo: set[Module] | None = None, prefix: str = "", remove_duplicate: bool = True) -> Iterator[tuple[str, Module]]:
        """This module and all below it, with dotted names; the first name is `prefix`.

        Args:
            memo: modules to leave out.
            prefix: put before every name.
            remove_duplicate: leave out a module that came already.
        """
        memo = set() if memo is None else memo
        if self in memo:
            return
        if remove_duplicate:
            memo.add(self)  # type: ignore[arg-type]
        yield prefix, self  # type: ignore[misc]
        for name, module in self._children():
            yield from module.named_modules(memo, f"{prefix}.{name}" if prefix else name, remove_duplicate)

    def modules(self, remove_duplicate: bool = True) -> Iterator[Module]:
        """This module and all below it, each once unless `remove_duplicate` is false."""
        for _, module in self.named_modules(remove_duplicate=remove_duplicate):
            yield module

    def _named_members(
        self, get_members_fn: Callable[[Any], Iterable[tuple[str, Any]]], prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Any]]:
        seen: set[int] = set()
        modules = self.named_modules(prefix=prefix, remove_duplicate=remove_duplicate) if recurse else [(prefix, self)]
        for module_prefix, module in modules:
            for name, member in get_members_fn(module):
                if member is None or (remove_duplicate and id(member) in seen):
                    continue
                seen.add(id(member))
                yield f"{module_prefix}.{name}" if module_prefix else name, member

    def _own_parameters(self) -> Iterable[tuple[str, Parameter | None]]:
        if not self._containers:
            return self._parameters.items()
        return itertools.chain(self._parameters.items(), ((n, p) for n, p in self._contained() if isinstance(p, Parameter)))

    def named_parameters(self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True) -> Iterator[tuple[str, Parameter]]:
        """Parameters with dotted names, shared ones once.

        Args:
            prefix: put before every name.
            recurse: those of submodules too.
            remove_duplicate: leave out a parameter that came already.
        """
        return self._named_members(ModuleHierarchy._own_parameters, prefix, recurse, remove_duplicate)

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """Parameters, shared ones once; with `recurse` those of submodules too."""
        for _, parameter in self.named_parameters(recurse=recurse):
            yield parameter

    def named_buffers(self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True) -> Iterator[tuple[str, Buffer]]:
        """Buffers with dotted names, shared ones once. Arguments as for `named_parameters`."""
        return self._named_members(lambda m: m._buffers.items(), prefix, recurse, remove_duplicate)

    def buffers(self, recurse: bool = True) -> Iterator[Buffer]:
        """Buffers, shared ones once; with `recurse` those of submodules too."""
        for _, buffer in self.named_buffers(recurse=recurse):
            yield buffer

    def get_submodule(self, target: str) -> Module:
        """The submodule of a dotted name; of the empty name, the module itself.

        Raises:
            AttributeError: there is none.
        """
        found: Any = self
        for name in target.split(".") if target else ():
            if isinstance(found, list | tuple) and name.isdigit() and int(name) < len(found):
                found = found[int(name)]
            elif isinstance(found, dict) and name in found:
                found = found[name]
            elif isinstance(found, ModuleAttributes) and hasattr(found, name):
                found = getattr(found, name)
            else:
                raise AttributeError(f"{_name_of(found)} has no attribute `{name}`")
            if not isinstance(found, ModuleAttributes | list | tuple | dict):
                raise AttributeError(f"`{name}` is not an nn.Module")
        if not isinstance(found, ModuleAttributes):
            raise AttributeError(f"`{target}` is not an nn.Module")
        return found  # type: ignore[return-value]

    def set_submodule(self, target: str, module: Module, strict: bool = False) -> None:
        """Put `module` in the place of the dotted name.

        Args:
            target: the name; all but its last part must exist.
            module: the new submodule.
            strict: the last part must exist too.

        Raises:
            ValueError: the name is empty, or `module` is no module.
            AttributeError: what the name leads through, or with `strict` the place itself, does not exist or is no module.
        """
        if target == "":
            raise ArgumentError("Cannot set the submodule without a target name!")
        if not isinstance(module, ModuleAttributes):
            raise ArgumentError(f"`module` is not an nn.Module, found {type(module)}")
        parent, _, name = target.rpartition(".")
        owner = self.get_submodule(parent)
        if hasattr(owner, name):
            if not isinstance(getattr(owner, name), ModuleAttributes):
                raise AttributeError(f"`{name}` is not an nn.Module")
        elif strict:
            raise AttributeError(f"{_name_of(owner)} has no attribute `{name}`")
        setattr(owner, name, module)

    def get_parameter(self, target: str) -> Parameter:
        """The parameter of a dotted name.

        Raises:
            AttributeError: there is none.
        """
        return self._member(target, Parameter, "an nn.Parameter")

    def get_buffer(self, target: str) -> Buffer:
        """The buffer of a dotted name.

        Raises:
            AttributeError: there is none.
        """
        return self._member(target, Buffer, "a buffer")

    def _member(self, target: str, kind: type, described: str) -> Any:
        parent, _, name = target.rpartition(".")
        owner = self.get_submodule(parent)
        if not hasattr(owner, name):
            raise AttributeError(f"{_name_of(owner)} has no attribute `{name}`")
        found = getattr(owner, name)
        if not isinstance(found, kind):
            raise AttributeError(f"`{name}` is not {described}")
        return found

    def _cells(self) -> Iterator[Cell]:
        """Every cell that the module and its submodules hold, gradients included, but for those that have no shape yet."""
        for module in self.modules():
            yield from (cell for cell in module._own_cells() if not is_lazy(cell))

    def _own_cells(self) -> Iterator[Cell]:
        for _, parameter in self._own_parameters():
            if parameter is not None:
                yield parameter
                if "_kept_leaf" in parameter.__dict__:
                    yield parameter._leaf()
        yield from (b for b in self._buffers.values() if b is not None)
        yield from self._states.values()


def _name_of(found: Any) -> str:
    return found._get_name() if isinstance(found, ModuleAttributes) else type(found).__name__
