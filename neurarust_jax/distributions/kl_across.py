"""Divergences between two families. Where the first can draw what the second cannot, the divergence is infinite."""

from __future__ import annotations

import math

from ..ops import full, log
from ..tensor import Tensor
from .distribution import Distribution
from .kl_registry import register_kl
from .normal import Normal
from .uniform import Uniform
from .utils import as_tensors


def _infinite(p: Distribution, q: Distribution) -> Tensor:
    """Infinity in the shape and dtype of the first distribution's parameters."""
    parameter = next(getattr(p, name) for name in p.arg_constraints)
    return full(tuple(parameter.shape), math.inf, dtype=as_tensors(parameter)[0].dtype)


for _p, _q in [(Normal, Uniform)]:
    register_kl(_p, _q)(_infinite)


@register_kl(Uniform, Normal)
def _uniform_normal(p: Uniform, q: Normal) -> Tensor:
    width = p.high - p.low
    distance = ((p.high + p.low) / 2 - q.loc) ** 2 + width**2 / 12
    return log(math.sqrt(2 * math.pi) * q.scale / width) + distance / (2 * q.scale**2)
