"""Parametrizations: tensors of a module that are computed, at every access, from what is learned."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import jax

from ...autograd.graph import mode, no_grad
from ...cells import current_trace
from ...errors import ArgumentError, StateDictError
from ...parameter import CellTensor, Parameter
from ...tensor import Tensor
from ..containers import ModuleDict, ModuleList
from ..module import Module

__all__ = [
    "ParametrizationList", "cached", "is_parametrized", "register_parametrization", "remove_parametrizations", "transfer_parametrizations_and_params",
    "type_before_parametrizations",
]  # fmt: skip

_cached_depth = 0
_cache: dict[Any, Tensor] = {}


@contextlib.contextmanager
def cached() -> Iterator[None]:
    """Compute each parametrized tensor once only while the `with` block lasts.

    Examples:
        >>> import neurarust_jax as nr
        >>> from neurarust_jax.nn.utils import parametrizations, parametrize
        >>> layer = parametrizations.weight_norm(nr.nn.Linear(2, 2))
        >>> with parametrize.cached():
        ...     layer.weight is layer.weight
        True
    """
    global _cached_depth
    _cached_depth += 1
    try:
        yield
    finally:
        _cached_depth -= 1
        if not _cached_depth:
            _cache.clear()


def _set(cell: CellTensor, value: Tensor) -> None:
    """Give a parameter or buffer another value: it stays the object that optimizers know."""
    cell.assign(value.detach())


def _register(module: Module, name: str, tensor: Any) -> None:
    (module.register_parameter if isinstance(tensor, Parameter) else module.register_buffer)(name, tensor)


class ParametrizationList(ModuleList):
    """The parametrizations of one tensor, applied one after the other, and what they are applied to.

    Args:
        modules: the parametrizations, at least one.
        original: the parameter or buffer before.
        unsafe: whether dtype and shape may change, so that neither is checked.

    Attributes:
        original: the parameter or buffer that is learned; `original0`, `original1`, ... if the first parametrization takes several.
        unsafe: as the argument.
    """

    original: Any

    def __init__(self, modules: Sequence[Module], original: Any, unsafe: bool = False):
        if not len(modules):
            raise ArgumentError("ParametrizationList requires one or more modules.")
        super().__init__(modules)
        self.unsafe = unsafe
        shape, dtype = original.shape, original.dtype
        with no_grad():
            new: Any = original
            for module in reversed(list(self)):
                if hasattr(module, "right_inverse"):
                    with contextlib.suppress(NotImplementedError):  # then it counts as the identity
                        new = module.right_inverse(new)
        if not isinstance(new, Tensor | Sequence):
            raise ArgumentError(f"'right_inverse' must return a Tensor or a Sequence of tensors (list, tuple...). Got {type(new).__name__}")
        self.is_tensor = isinstance(new, Tensor)
        self.ntensors = 1 if isinstance(new, Tensor) else len(new)
        if isinstance(new, Tensor):
            if new.dtype != dtype:
                raise ArgumentError(
                    f"When `right_inverse` outputs one tensor, it may not change the dtype.\noriginal.dtype: {dtype}\nright_inverse(original).dtype: {new.dtype}"
                )
            if new is not original:
                _set(original, new)
            _register(self, "original", original)
        else:
            for i, tensor in enumerate(new):
                if not isinstance(tensor, Tensor):
                    raise ArgumentError(
                        f"'right_inverse' must return a Tensor or a Sequence of tensors (list, tuple...). Got element {i} of the sequence with type {type(tensor).__name__}."
                    )
                value = tensor.detach()
                _register(self, f"original{i}", Parameter(value, original.requires_grad) if isinstance(original, Parameter) else value)
        if not unsafe:
            result = self()
            if not isinstance(result, Tensor):
                raise ArgumentError(f"A parametrization must return a tensor. Got {type(result).__name__}.")
            _check_alike(dtype, result.dtype, "dtype", "unparametrized dtype", "parametrized dtype")
            _check_alike(shape, result.shape, "shape", "unparametrized shape", "parametrized shape")

    def originals(self) -> list[Any]:
        """What the first parametrization is applied to."""
        return [self.original] if self.is_tensor else [getattr(self, f"original{i}") for i in range(self.ntensors)]

    def right_inverse(self, value: Any) -> None:
        """Set the originals so that the parametrizations make `value` of them, as far as their `right_inverse` can.

        Raises:
            RuntimeError: a parametrization has no `right_inverse`.
            ValueError: it returns something else than at registration.
        """
        with no_grad():
            for module in reversed(list(self)):
                if not hasattr(module, "right_inverse"):
                    raise StateDictError(f"parametrization {type(module).__name__} does not implement right_inverse.")
                value = module.right_inverse(value)
            if self.is_tensor and not isinstance(value, Tensor):
                raise ArgumentError(f"`right_inverse` should return a tensor. Got {type(value).__name__}")
            if not self.is_tensor and not isinstance(value, Sequence):
                raise ArgumentError(f"'right_inverse' must return a sequence of tensors. Got {type(value).__name__}.")
            values = [value] if self.is_tensor else list(value)
            if len(values) != self.ntensors:
                raise ArgumentError(f"'right_inverse' must return a sequence of tensors of length {self.ntensors}. Got a sequence of length {len(values)}.")
            for i, (tensor, cell) in enumerate(zip(values, self.originals(), strict=True)):
                if not isinstance(tensor, Tensor):
                    raise ArgumentError(f"'right_inverse' must return a sequence of tensors. Got element {i} of type {type(tensor).__name__}.")
                if tensor.dtype != cell.dtype:
                    raise ArgumentError(f"Tensor {i} returned by `right_inverse` has dtype {tensor.dtype} while `original{i}` has dtype {cell.dtype}")
                _set(cell, tensor)

    def forward(self) -> Tensor:
        first, *rest = self._modules.values()
        tensor = first(*self.originals())
        for module in rest:
            tensor = module(tensor)
        return tensor


def _check_alike(before: Any, after: Any, what: str, name_before: str, name_after: str) -> None:
    if before != after:
        raise ArgumentError(
            f"Registering a parametrization may not change the {what} of the tensor, unless the `unsafe` flag is enabled.\n{name_before}: {before}\n{name_after}: {after}"
        )


# --- classes with properties -------------------------------------------------------------------------------------------


def _property(name: str) -> property:
    def get(self: Any) -> Tensor:
        parametrization = self.parametrizations[name]
        if not _cached_depth:
            return parametrization()
        key = (id(self), name, mode.grad, current_trace())
        found = _cache.get(key)
        if found is None:
            found = parametrization()
            if current_trace() is not None or not isinstance(found._value, jax.core.Tracer):
                _cache[key] = found
        return found

    def set_original(self: Any, value: Any) -> None:
        self.parametrizations[name].right_inverse(value)

    return property(get, set_original)


def _with_properties(cls: type, names: tuple[str, ...]) -> type:
    """The subclass whose instances compute the tensors `names`; the class itself for none. It is made once, and pickled by what it is made of."""
    if not names:
        return cls
    made = cls.__dict__.get("_parametrized_classes")
    if made is None:
        made = {}
        cls._parametrized_classes = made  # type: ignore[attr-defined]
    if names not in made:
        members: dict[str, Any] = {name: _property(name) for name in names}
        members["_parametrized_names"] = names
        members["__reduce_ex__"] = lambda self, protocol: (_rebuild, (cls, names), self.__getstate__())
        made[names] = type(f"Parametrized{cls.__name__}", (cls,), members)
    return made[names]


def _rebuild(cls: type, names: tuple[str, ...]) -> Any:
    return object.__new__(_with_properties(cls, names))


def _names(module: Module) -> tuple[str, ...]:
    return getattr(type(module), "_parametrized_names", ())


# --- the functions -----------------------------------------------------------------------------------------------------


def register_parametrization(module: Any, tensor_name: str, parametrization: Module, *, unsafe: bool = False) -> Any:
    """Compute a tensor of a module by `parametrization` at every access, from a parameter that is learned in its place.

    The parameter moves to ``module.parametrizations.<name>.original``, and stays the object that an optimizer knows. Several parametrizations of a tensor are
    applied one after the other. One with a method ``right_inverse`` is given the tensor at registration, and what it returns is learned; if that is a
    sequence, each tensor of it, under `original0`, `original1`, ... With `right_inverse`, values can be assigned to the tensor.

    Args:
        module: the module, which is changed; its class becomes a subclass with a property.
        tensor_name: the name of a parameter or buffer.
        parametrization: a module that takes the tensor and returns another.
        unsafe: let dtype and shape change, and check neither.

    Returns:
        The module.

    Raises:
        ValueError: there is no such tensor, or the parametrization changes dtype or shape.

    Examples:
        >>> import neurarust_jax as nr
        >>> from neurarust_jax.nn.utils import parametrize
        >>> class Symmetric(nr.nn.Module):
        ...     def forward(self, x):
        ...         return x.triu() + x.triu(1).T
        ...     def right_inverse(self, a):
        ...         return a.triu()
        >>> layer = parametrize.register_parametrization(nr.nn.Linear(3, 3), "weight", Symmetric())
        >>> nr.equal(layer.weight, layer.weight.T)
        True
        >>> layer.weight = nr.eye(3)
        >>> layer.weight.diagonal()
        tensor([1., 1., 1.], grad_fn=<DiagonalBackward0>)
    """
    parametrization.train(module.training)
    if is_parametrized(module, tensor_name):
        known = module.parametrizations[tensor_name]
        if not unsafe:
            _check_addition(module, tensor_name, parametrization)
        known.append(parametrization)
        known.unsafe |= unsafe
    elif tensor_name in module._buffers or tensor_name in module._parameters:
        original = getattr(module, tensor_name)
        parametrizations = ParametrizationList([parametrization], original, unsafe=unsafe)
        delattr(module, tensor_name)
        if not is_parametrized(module):
            module.parametrizations = ModuleDict()
        module.__class__ = _with_properties(type_before_parametrizations(module), (*_names(module), tensor_name))
        module.parametrizations[tensor_name] = parametrizations
    else:
        raise ArgumentError(f"Module '{module}' does not have a parameter, a buffer, or a parametrized element with name '{tensor_name}'")
    module._note_change()
    return module


def _check_addition(module: Any, name: str, parametrization: Any) -> None:
    """Raise if a further parametrization changes dtype or shape."""
    before = getattr(module, name)
    after = parametrization(before)
    if not isinstance(after, Tensor):
        raise ArgumentError(f"A parametrization must return a tensor. Got {type(after).__name__}.")
    for what in ("dtype", "shape"):
        _check_alike(getattr(before, what), getattr(after, what), what, f"module.{name}.{what}", f"parametrization(module.{name}).{what}")
    if hasattr(parametrization, "right_inverse"):
        try:
            back = parametrization.right_inverse(after)
        except NotImplementedError:
            return
        if not isinstance(back, Tensor):
            raise ArgumentError(f"parametrization.right_inverse must return a tensor. Got: {type(back).__name__}")
        for what in ("dtype", "shape"):
            if getattr(back, what) != getattr(before, what):
                raise ArgumentError(
                    f"The tensor returned by parametrization.right_inverse must have the same {what} as module.{name}, unless the `unsafe` flag is enabled.\n"
                    f"module.{name}.{what}: {getattr(before, what)}\nreturned {what}: {getattr(back, what)}"
                )


def is_parametrized(module: Any, tensor_name: str | None = None) -> bool:
    """Whether a module has parametrized tensors, or whether `tensor_name` is one of them."""
    parametrizations = getattr(module, "parametrizations", None)
    if not isinstance(parametrizations, ModuleDict):
        return False
    return len(parametrizations) > 0 if tensor_name is None else tensor_name in parametrizations


def remove_parametrizations(module: Any, tensor_name: str, leave_parametrized: bool = True) -> Any:
    """Make a parametrized tensor a parameter or buffer again.

    Args:
        module: the module, which is changed.
        tensor_name: the name of the tensor.
        leave_parametrized: keep the value that the parametrizations compute now, instead of the original one.

    Returns:
        The module.

    Raises:
        ValueError: the tensor is not parametrized, or is made of several and `leave_parametrized` is false.
    """
    if not is_parametrized(module, tensor_name):
        raise ArgumentError(f"Module {module} does not have a parametrization on {tensor_name}")
    parametrizations = module.parametrizations[tensor_name]
    if not parametrizations.is_tensor and not leave_parametrized:
        raise ArgumentError("Cannot leave unparametrized (`leave_parametrized=False`) a tensor that is parametrized in terms of a sequence of tensors.")
    if parametrizations.is_tensor:
        original = parametrizations.original
        if leave_parametrized:
            with no_grad():
                _set(original, getattr(module, tensor_name))
    else:
        value = getattr(module, tensor_name)
        original = Parameter(value.detach()) if value.requires_grad else value
    del module.parametrizations[tensor_name]
    cls = type_before_parametrizations(module)
    if not module.parametrizations:
        cls = type(module).__bases__[0]
        del module.parametrizations
    module.__class__ = _with_properties(cls, tuple(n for n in _names(module) if n != tensor_name))
    _register(module, tensor_name, original)
    module._note_change()
    return module


def type_before_parametrizations(module: Any) -> type:
    """The class of a module without its parametrizations."""
    return type(module).__bases__[0] if is_parametrized(module) else type(module)


def transfer_parametrizations_and_params(from_module: Any, to_module: Any, tensor_name: str | None = None) -> Any:
    """Parametrize a second module as a first one, with the same parametrizations and originals.

    Args:
        from_module: the module with parametrizations; without any, nothing happens.
        to_module: the module that is changed. Tensors that it lacks are made.
        tensor_name: one tensor only.

    Returns:
        `to_module`.
    """
    if not is_parametrized(from_module):
        return to_module
    for name in list(from_module.parametrizations) if tensor_name is None else [tensor_name]:
        if not hasattr(to_module, name):
            setattr(to_module, name, Parameter(getattr(from_module, name).detach()))
        given = from_module.parametrizations[name]
        for parametrization in given:
            register_parametrization(to_module, name, parametrization)
        taken = to_module.parametrizations[name]
        for i, original in enumerate(given.originals()):
            setattr(taken, "original" if given.is_tensor else f"original{i}", original)
    return to_module
