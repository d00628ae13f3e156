"""Clipping of gradients. Each function is one compiled call over all gradients, and waits for no result, so that it works inside `nr.jit` too."""

import types
import warnings
from collections.abc import Iterable, Sequence
from typing import Any

import jax.numpy as jnp

from ... import dtypes
from ...autograd.graph import no_grad
from ...dispatch import Array, op
from ...errors import AutogradError
from ...ops.common import cast
from ...ops.creation import as_tensor
from ...ops.moments import vector_norm
from ...ops.reduction import widened
from ...tensor import Tensor

__all__ = ["clip_grad_norm", "clip_grad_norm_", "clip_grad_value_", "clip_grads_with_norm_", "get_total_norm"]


def _norm_of_all(tensors: Sequence[Array], p: float) -> Array:
    norms = [vector_norm(x, p, tuple(range(x.ndim)), False) for x in tensors]
    dtype = dtypes.result_numpy_dtype(*norms)
    return vector_norm(jnp.stack([cast(n, dtype) for n in norms]), p, (0,), False)


def _scaled_down(tensors: Sequence[Array], total_norm: Array, max_norm: Any) -> list[Array]:
    factor = jnp.minimum(cast(max_norm, total_norm.dtype) / (total_norm + cast(1e-6, total_norm.dtype)), 1)
    return [cast(widened(x) * cast(factor, widened(x).real.dtype), x.dtype) for x in tensors]


@op(name="_total_norm", method=False)
def _total_norm(tensors: Sequence[Array], p: float) -> Array:
    """The norm of the norms."""
    return _norm_of_all(tensors, p)


@op(name="_clip", method=False)
def _clip(tensors: Sequence[Array], max_norm: Array | float, p: float) -> tuple[Array, ...]:
    """The total norm, and the tensors scaled down to `max_norm`."""
    total_norm = _norm_of_all(tensors, p)
    return (total_norm, *_scaled_down(tensors, total_norm, max_norm))


@op(name="_scale_down", method=False)
def _scale_down(tensors: Sequence[Array], total_norm: Array | float, max_norm: Array | float) -> tuple[Array, ...]:
    """The tensors scaled down as if their total norm were `total_norm`."""
    return tuple(_scaled_down(tensors, jnp.asarray(total_norm), max_norm))


@op(name="_hold", method=False)
def _hold(tensors: Sequence[Array], most: float) -> tuple[Array, ...]:
    """The tensors with their elements between ``-most`` and ``most``."""
    return tuple(jnp.clip(x, cast(-most, x.dtype), cast(most, x.dtype)) for x in tensors)


def _places(tensors: Sequence[Tensor]) -> list[list[int]]:
    """The numbers of the tensors that lie on the same devices."""
    places: dict[Any, list[int]] = {}
    for number, tensor in enumerate(tensors):
        places.setdefault(frozenset(tensor._value.devices()), []).append(number)
    return list(places.values())


def _lie_apart(error: ValueError) -> bool:
    return "incompatible devices" in str(error)


def _total(tensors: Sequence[Tensor], p: float) -> Tensor:
    try:
        return _total_norm(tensors, p)
    except ValueError as error:
        if not _lie_apart(error):
            raise
    return _total_norm([_total_norm([tensors[i] for i in place], p).to(tensors[0].device) for place in _places(tensors)], p)


def _with_gradients(parameters: Any) -> list[Any]:
    given = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    return [p for p in given if p.grad is not None]


def _set_gradients(parameters: list[Any], gradients: Iterable[Tensor]) -> None:
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient


def _check_finite(total_norm: Tensor, norm_type: float) -> None:
    if not total_norm.isfinite():
        raise AutogradError(
            f"The total norm of order {norm_type} for gradients from `parameters` is non-finite, so it cannot be clipped. To disable this error and scale the gradients "
            "by the non-finite norm anyway, set `error_if_nonfinite=False`"
        )


@no_grad()
def get_total_norm(tensors: Any, norm_type: float = 2.0, error_if_nonfinite: bool = False, foreach: bool | None = None) -> Tensor:
    """The norm of tensors as if they were one vector.

    Args:
        tensors: an iterable of tensors, or one.
        norm_type: the order of the norm; `"inf"` for the largest modulus. Default: 2.
        error_if_nonfinite: raise if the norm is infinite or NaN. Not inside `nr.jit`, where the norm has no value yet.
        foreach: accepted and without effect.

    Raises:
        RuntimeError: the norm is not finite, with `error_if_nonfinite`.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.nn.utils.get_total_norm([nr.tensor([3.0]), nr.tensor([[4.0]])])
        tensor(5.)
    """
    tensors = [tensors] if isinstance(tensors, Tensor) else list(tensors)
    if not tensors:
        return as_tensor(0.0)
    total_norm = _total(tensors, float(norm_type))
    if error_if_nonfinite:
        _check_finite(total_norm, float(norm_type))
    return total_norm


@no_grad()
def clip_grad_norm_(parameters: Any, max_norm: float, norm_type: float = 2.0, error_if_nonfinite: bool = False, foreach: bool | None = None) -> Tensor:
    """Scale the gradients of parameters down so that their norm, as one vector, is at most `max_norm`.

    Args:
        parameters: an iterable of parameters, or one.
        max_norm: the norm that is allowed.
        norm_type: the order of the norm; `"inf"` for the largest modulus. Default: 2.
        error_if_nonfinite: raise if the norm is infinite or NaN. Not inside `nr.jit`, where the norm has no value yet.
        foreach: accepted and without effect.

    Returns:
        The norm before.

    Raises:
        RuntimeError: the norm is not finite, with `error_if_nonfinite`.

    Examples:
        >>> import neurarust_jax as nr
        >>> p = nr.nn.Parameter(nr.zeros(2))
        >>> p.grad = nr.tensor([3.0, 4.0])
        >>> nr.nn.utils.clip_grad_norm_([p], max_norm=1.0), p.grad
        (tensor(5.), tensor([0.6000, 0.8000]))
    """
    if isinstance(parameters, types.GeneratorType):
        parameters = list(parameters)
        if not parameters:
            warnings.warn("`parameters` is an empty generator, no gradient clipping will occur.", stacklevel=3)
    clipped = _with_gradients(parameters)
    if not clipped:
        return get_total_norm([])
    try:
        total_norm, *gradients = _clip([p.grad for p in clipped], float(max_norm), float(norm_type))
    except ValueError as error:
        if not _lie_apart(error):
            raise
        total_norm, gradients = _total([p.grad for p in clipped], float(norm_type)), None
    if error_if_nonfinite:
        _check_finite(total_norm, float(norm_type))
    if gradients is None:
        clip_grads_with_norm_(clipped, max_norm, total_norm)
    else:
        _set_gradients(clipped, gradients)
    return total_norm


@no_grad()
def clip_grads_with_norm_(parameters: Any, max_norm: float, total_norm: Tensor, foreach: bool | None = None) -> None:
    """Scale the gradients of parameters by ``max_norm / total_norm`` if that is less than 1.

    Args:
        parameters: an iterable of parameters, or one.
        max_norm: the norm that is allowed.
        total_norm: the norm that they have, from `get_total_norm`.
        foreach: accepted and without effect.
    """
    clipped = _with_gradients(parameters)
    try:
        if clipped:
            _set_gradients(clipped, _scale_down([p.grad for p in clipped], total_norm, float(max_norm)))
    except ValueError as error:
        if not _lie_apart(error):
            raise
        for place in _places([p.grad for p in clipped]):
            here = [clipped[i] for i in place]
            _set_gradients(here, _scale_down([p.grad for p in here], total_norm.to(here[0].grad.device), float(max_norm)))


def clip_grad_norm(parameters: Any, max_norm: float, norm_type: float = 2.0, error_if_nonfinite: bool = False, foreach: bool | None = None) -> Tensor:
    """Deprecated: the same as `clip_grad_norm_`."""
    warnings.warn("`torch.nn.utils.clip_grad_norm` is now deprecated in favor of `torch.nn.utils.clip_grad_norm_`.", FutureWarning, stacklevel=2)
    return clip_grad_norm_(parameters, max_norm, norm_type, error_if_nonfinite, foreach)


@no_grad()
def clip_grad_value_(parameters: Any, clip_value: float, foreach: bool | None = None) -> None:
    """Hold every element of the gradients of parameters between ``-clip_value`` and ``clip_value``.

    Args:
        parameters: an iterable of parameters, or one.
        clip_value: the largest modulus that is allowed.
        foreach: accepted and without effect.

    Examples:
        >>> import neurarust_jax as nr
        >>> p = nr.nn.Parameter(nr.zeros(2))
        >>> p.grad = nr.tensor([3.0, -0.4])
        >>> nr.nn.utils.clip_grad_value_(p, 0.5)
        >>> p.grad
        tensor([ 0.5000, -0.4000])
    """
    clipped = _with_gradients(parameters)
    try:
        if clipped:
            _set_gradients(clipped, _hold([p.grad for p in clipped], float(clip_value)))
    except ValueError as error:
        if not _lie_apart(error):
            raise
        for parameter in clipped:
            _set_gradients([parameter], _hold([parameter.grad], float(clip_value)))
