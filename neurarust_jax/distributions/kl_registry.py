"""Which function computes the divergence of two families of distributions. The functions are in `kl_within.py` and `kl_across.py`."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any

from ..errors import UnsupportedError
from ..tensor import Tensor
from .distribution import Distribution

_KL_REGISTRY: dict[tuple[type, type], Callable] = {}


def register_kl(type_p: type, type_q: type) -> Callable[[Callable], Callable]:
    """Register a function of two distributions as what `kl_divergence` calls for these classes and their subclasses.

    Args:
        type_p, type_q: the classes.

    Examples:
        >>> import neurarust_jax as nr
        >>> from neurarust_jax.distributions import Normal, kl_divergence, register_kl
        >>> class Sharp(Normal):
        ...     pass
        >>> @register_kl(Sharp, Sharp)
        ... def divergence(p, q):
        ...     return nr.tensor(0.0)
        >>> kl_divergence(Sharp(0.0, 1.0), Sharp(1.0, 1.0)), kl_divergence(Sharp(0.0, 1.0), Normal(1.0, 1.0))
        (tensor(0.), tensor(0.5000))
    """
    for given in (type_p, type_q):
        if not (isinstance(given, type) and issubclass(given, Distribution)):
            raise TypeError(f"Expected a subclass of Distribution but got {given!r}")

    def register(function: Callable) -> Callable:
        _KL_REGISTRY[type_p, type_q] = function
        _function_for.cache_clear()
        return function

    return register


@functools.cache
def _function_for(type_p: type, type_q: type) -> Callable | None:
    """The function registered for the nearest classes: nearest by the first distribution and nearest by the second, which should be the same."""
    matches = [(p, q) for p, q in _KL_REGISTRY if issubclass(type_p, p) and issubclass(type_q, q)]
    if not matches:
        return None
    distance = {pair: (type_p.__mro__.index(pair[0]), type_q.__mro__.index(pair[1])) for pair in matches}
    left = min(matches, key=lambda pair: distance[pair])
    right = min(matches, key=lambda pair: distance[pair][::-1])
    if _KL_REGISTRY[left] is not _KL_REGISTRY[right]:
        warnings.warn(
            f"Ambiguous kl_divergence({type_p.__name__}, {type_q.__name__}). Please register_kl({left[0].__name__}, {right[1].__name__})",
            RuntimeWarning,
            stacklevel=3,
        )
    return _KL_REGISTRY[left]


def kl_divergence(p: Distribution, q: Distribution) -> Tensor:
    r"""The Kullback-Leibler divergence of `q` from `p`, the mean of ``log p(x) - log q(x)`` over `p`, one number for each element of the batch.

    Args:
        p: a distribution.
        q: another one.

    Raises:
        NotImplementedError: no function is registered for the two.

    Examples:
        >>> from neurarust_jax.distributions import Normal, kl_divergence
        >>> kl_divergence(Normal(0.0, 1.0), Normal(1.0, 2.0))
        tensor(0.4431)
    """
    function: Any = _function_for(type(p), type(q))
    if function is None:
        raise UnsupportedError(
            f"No KL(p || q) is implemented for p type {type(p).__name__} and q type {type(q).__name__}; write one and register it with register_kl"
        )
    return function(p, q)
