"""State dicts of modules: making them, checking them against a module, and loading them."""

from __future__ import annotations

import contextlib
import warnings
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax

from .. import devices
from ..errors import ArgumentTypeError, StateDictError
from ..parameter import CellTensor, is_lazy
from ..tensor import Tensor, array_from
from .hierarchy import ModuleHierarchy

_EXTRA_STATE = "_extra_state"


class _IncompatibleKeys(NamedTuple):
    """Names that a state dict lacked, and names that nothing was found for."""

    missing_keys: list[str]
    unexpected_keys: list[str]

    def __repr__(self) -> str:
        if not self.missing_keys and not self.unexpected_keys:
            return "<All keys matched successfully>"
        return f"_IncompatibleKeys(missing_keys={self.missing_keys}, unexpected_keys={self.unexpected_keys})"

    __str__ = __repr__


class _Entries(OrderedDict):
    """The part of a state dict that is being loaded into one module.

    Attributes:
        writes: what is to be written once everything has been checked.
    """

    def __init__(self, entries: Any, writes: _Writes):
        super().__init__(entries)
        self.writes = writes


class _Writes:
    """Values that are written together, and taken back if the loading fails later."""

    def __init__(self):
        self.pending: list[tuple[Callable, Any, Callable, Any]] = []  # (write, value, undo, value before)
        self.done: list[tuple[Callable, Any]] = []

    def to_cell(self, cell: CellTensor, value: Any) -> None:
        """Note a value for a cell."""
        self.pending.append((cell.assign, value, cell._write, None if is_lazy(cell) else cell._value))

    def to_module(self, module: Any, state: Any) -> None:
        """Note extra state of a module."""
        before = None
        if type(module).get_extra_state is not ModuleStateDict.get_extra_state:
            with contextlib.suppress(Exception):  # it may have none yet
                before = module.get_extra_state()
        self.pending.append((module.set_extra_state, state, module.set_extra_state, before))

    def write(self) -> None:
        """Write what is pending; if that fails, nothing of what was written since the beginning stays."""
        pending, self.pending = self.pending, []
        try:
            for write, value, undo, before in pending:
                self.done.append((undo, before))
                write(value)
        except BaseException:
            self.undo()
            raise

    def undo(self) -> None:
        """Give back every value that was replaced."""
        for undo, before in reversed(self.done):
            if before is not None:
                with contextlib.suppress(Exception):  # the error that led here is the one to show
                    undo(before)
        self.done.clear()


class ModuleStateDict(ModuleHierarchy):
    """The part of `Module` that saves and loads."""

    _version: int = 1  # of the state dict's format
    _state_dict_hooks: OrderedDict[int, Callable]
    _state_dict_pre_hooks: OrderedDict[int, Callable]
    _load_state_dict_pre_hooks: OrderedDict[int, Callable]
    _load_state_dict_post_hooks: OrderedDict[int, Callable]

    def get_extra_state(self) -> Any:
        """What else belongs into `state_dict`; for subclasses to define, with `set_extra_state`."""
        raise StateDictError(f"{type(self).__name__} has no extra state: define get_extra_state and set_extra_state to keep some in the state_dict")

    def set_extra_state(self, state: Any) -> None:
        """Take back what `get_extra_state` returned; for subclasses to define."""
        raise StateDictError(f"{type(self).__name__} has no extra state: define get_extra_state and set_extra_state to keep some in the state_dict")

    def state_dict(self, *args: Any, destination: dict[str, Any] | None = None, prefix: str = "", keep_vars: bool = False) -> dict[str, Any]:
        """The values of all parameters and persistent buffers by their dotted names.

        Args:
            destination: a dict to fill.
            prefix: put before every name.
            keep_vars: the cells themselves instead of their present values.

        Returns:
            An ordered dict of tensors. They are values: what the module learns later does not change them.
        """
        if args:
            warnings.warn("Positional args are being deprecated, use kwargs instead: state_dict(destination=..., prefix=..., keep_vars=...)", FutureWarning, stacklevel=2)
            destination = args[0] if destination is None else destination
            prefix = args[1] if len(args) > 1 and prefix == "" else prefix
            keep_vars = args[2] if len(args) > 2 and keep_vars is False else keep_vars
        if destination is None:
            destination = OrderedDict()
            destination._metadata = OrderedDict()  # type: ignore[attr-defined]
        metadata = {"version": self._version}
        if hasattr(destination, "_metadata"):
            destination._metadata[prefix[:-1]] = metadata
        for hook in self._state_dict_pre_hooks.values():
            hook(self, prefix, keep_vars)
        self._save_to_state_dict(destination, prefix, keep_vars)
        for name, module in self._children():
            module.state_dict(destination=destination, prefix=f"{prefix}{name}.", keep_vars=keep_vars)
        for hook in self._state_dict_hooks.values():
            replaced: dict[str, Any] | None = hook(self, destination, prefix, metadata)
            if replaced is not None:
                if getattr(hook, "public", False):
                    raise StateDictError("state_dict post-hook must return None: change the dict that it is given")
                destination = replaced
        return destination

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        """Put this module's own entries into `destination`."""
        for name, cell in self._saved_cells().items():
            destination[prefix + name] = cell if keep_vars else cell.detach()
        if type(self).get_extra_state is not ModuleStateDict.get_extra_state:
            destination[prefix + _EXTRA_STATE] = self.get_extra_state()

    def _saved_cells(self) -> dict[str, CellTensor]:
        """The module's own parameters and persistent buffers."""
        cells: dict[str, Any] = {name: p for name, p in self._own_parameters() if p is not None}
        cells.update((name, b) for name, b in self._buffers.items() if b is not None and name not in self._non_persistent_buffers_set)
        return cells

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> _IncompatibleKeys:
        """Set parameters and buffers from the values that `state_dict` returned, here or in PyTorch.

        Args:
            state_dict: tensors (ours, PyTorch's, NumPy's or JAX's) by name.
            strict: raise if names are missing or unexpected.
            assign: take the given dtypes and devices too, instead of keeping the module's. Parameters stay the objects that they are.

        Returns:
            A namedtuple with `missing_keys` and `unexpected_keys`.

        Raises:
            RuntimeError: shapes differ, or names with `strict`. Nothing has been changed then, except what a hook after loading did by itself.
        """
        if not isinstance(state_dict, Mapping):
            raise ArgumentTypeError(f"Expected state_dict to be dict-like, got {type(state_dict)}.")
        metadata = getattr(state_dict, "_metadata", None)
        result = _IncompatibleKeys([], [])
        errors: list[str] = []
        writes = _Writes()

        def load(module: Any, entries: _Entries, prefix: str) -> None:
            local = {} if metadata is None else dict(metadata.get(prefix[:-1], {}))
            if assign:
                local["assign_to_params_buffers"] = True
            module._load_from_state_dict(entries, prefix, local, True, *result, errors)
            for name, child in module._children():
                below = f"{prefix}{name}."
                load(child, _Entries(((k, v) for k, v in entries.items() if k.startswith(below)), writes), below)
            if module._load_state_dict_post_hooks:
                if not errors:
                    writes.write()
                for hook in module._load_state_dict_post_hooks.values():
                    if hook(module, result) is not None:
                        raise AssertionError(
                            "Hooks registered with ``register_load_state_dict_post_hook`` are not expected to return new values, if incompatible_keys need to be "
                            "modified, it should be done inplace."
                        )

        entries = _Entries(state_dict, writes)
        if metadata is not None:
            entries._metadata = metadata  # type: ignore[attr-defined]
        try:
            load(self, entries, "")
        except BaseException:
            writes.undo()
            raise
        if strict:
            for keys, complaint in ((result.unexpected_keys, "Unexpected"), (result.missing_keys, "Missing")):
                if keys:
                    errors.insert(0, f"{complaint} key(s) in state_dict: " + ", ".join(f'"{k}"' for k in keys) + ". ")
        if errors:
            writes.undo()
            raise StateDictError("Error(s) in loading state_dict for {}:\n\t{}".format(type(self).__name__, "\n\t".join(errors)))
        writes.write()
        return result

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, local_metadata: dict[str, Any], strict: bool, missing_keys: list[str], unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:  # fmt: skip
        """Check this module's own entries and load them; subclasses extend it to read older formats.

        Under `load_state_dict` the values are written only once all modules have been checked.
        """
        for hook in self._load_state_dict_pre_hooks.values():
            hook(self, state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs)
        pending = state_dict.writes if isinstance(state_dict, _Entries) else None
        writes = _Writes() if pending is None else pending
        assign = local_metadata.get("assign_to_params_buffers", False)
        cells = self._saved_cells()
        for name, cell in cells.items():
            key = prefix + name
            if key in state_dict:
                value = _loaded(key, state_dict[key], cell, assign, error_msgs)
                if value is not None:
                    writes.to_cell(cell, value)
            elif strict:
                missing_keys.append(key)
        extra = prefix + _EXTRA_STATE
        takes_extra = type(self).set_extra_state is not ModuleStateDict.set_extra_state
        if takes_extra and extra in state_dict:
            writes.to_module(self, state_dict[extra])
        elif takes_extra and strict:
            missing_keys.append(extra)
        if strict:
            known = {prefix + name for name in cells} | ({extra} if takes_extra else set())
            below = tuple(f"{prefix}{name}." for name in (*self._modules, *(n for n, m in self._contained() if isinstance(m, ModuleHierarchy))))
            unexpected_keys += [k for k in state_dict if k.startswith(prefix) and k not in known and not k.startswith(below)]
        if pending is None:
            writes.write()


def _loaded(key: str, given: Any, cell: CellTensor, assign: bool, errors: list[str]) -> Any:
    """The array to load into `cell`, or `None`, with an entry in `errors` if it does not fit."""
    if is_lazy(given) and is_lazy(cell):
        return None
    if isinstance(given, str | bytes) or not (hasattr(given, "shape") or isinstance(given, Tensor)):
        errors.append(f'While copying the parameter named "{key}", expected nr.Tensor or Tensor-like object from checkpoint but received {type(given)}')
        return None
    try:
        array = array_from(given, copy=True)  # a PyTorch tensor may be written later
    except Exception as error:
        errors.append(f'While copying the parameter named "{key}", an exception occurred: {error}')
        return None
    have, want = tuple(array.shape), tuple(cell.shape)
    if have != want and not (want == () and have == (1,)):
        errors.append(f"size mismatch for {key}: copying a param with shape {have} from checkpoint, the shape in current model is {want}.")
        return None
    array = array.reshape(want)
    if assign:
        return array
    if array.dtype != cell.dtype.dtype:
        array = array_from(array, cell.dtype)
    old = cell._value
    if isinstance(old, jax.Array) and not isinstance(old, jax.core.Tracer) and old.committed and array.sharding != old.sharding:
        array = devices.put(array, old.sharding)
    return array
