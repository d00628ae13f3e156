"""Random operators. They draw from the generator that `nr.manual_seed` seeds; a node with a seed of its own gives the same at every call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

import neurarust_jax as nr

from ...generator import Generator
from ..conversion import convert
from ..registry import handler
from ..tensors import numpy_dtype
from ..values import as_tensor, dtype_of, shape_of


def _generator(node) -> Generator | None:
    seed = node.get("seed")
    return None if seed is None or np.isnan(seed) else Generator().manual_seed(int(np.float32(seed).view(np.uint32)))


def _dtype(node, like: Any = None, default: int | None = 1) -> np.dtype:
    number = node.get("dtype", default if like is None else None)
    return numpy_dtype(number) if number else dtype_of(like)


def _drawn(node, function, shape: Sequence[int], dtype: np.dtype, first: float, second: float) -> Any:
    """A sample times `second` plus `first`, drawn in a type that samples can have, then in the type wanted."""
    working = np.dtype(np.float64 if dtype == np.float64 else np.float32)
    sample = function(tuple(shape), generator=_generator(node), dtype=working) * second + first
    return convert(sample, dtype)


def _normal(node, shape: Sequence[int], dtype: np.dtype) -> Any:
    return _drawn(node, nr.randn, shape, dtype, node.get("mean", 0.0), node.get("scale", 1.0))


def _uniform(node, shape: Sequence[int], dtype: np.dtype) -> Any:
    low = node.get("low", 0.0)
    return _drawn(node, nr.rand, shape, dtype, low, node.get("high", 1.0) - low)


@handler("RandomNormal", since=1, stateful=True)
def random_normal(node):
    return _normal(node, node.get("shape"), _dtype(node))


@handler("RandomNormalLike", since=1, stateful=True)
def random_normal_like(node, x):
    return _normal(node, shape_of(x), _dtype(node, x))


@handler("RandomUniform", since=1, stateful=True)
def random_uniform(node):
    return _uniform(node, node.get("shape"), _dtype(node))


@handler("RandomUniformLike", since=1, stateful=True)
def random_uniform_like(node, x):
    return _uniform(node, shape_of(x), _dtype(node, x))


@handler("Bernoulli", since=15, stateful=True)
def bernoulli(node, x):
    probability = as_tensor(convert(x, np.float64 if dtype_of(x) == np.float64 else np.float32))
    return convert(nr.bernoulli(probability, generator=_generator(node)), _dtype(node, x))


@handler("Multinomial", since=7, stateful=True)
def multinomial(node, x):
    weights = as_tensor(convert(x, np.float32)).softmax(-1)
    return convert(nr.multinomial(weights, node.get("sample_size", 1), replacement=True, generator=_generator(node)), _dtype(node, default=6))
