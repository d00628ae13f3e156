"""Lowering of JAX's random bits: computed now where the key is known, by Threefry in integer arithmetic otherwise. A key is two numbers of uint32 along a last dimension."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..emitter import Aval, Emitter, Operand, is_static
from .registry import lowers


@lowers("random_wrap", "random_unwrap", "random_clone")
def _same_key(g: Emitter, equation: Any, key: Operand) -> Operand:
    return key


def _key(equation: Any, key: np.ndarray) -> Any:
    return jax.random.wrap_key_data(jnp.asarray(key), impl=_implementation(equation.invars[0].aval))


def _implementation(aval: Any) -> str:
    return {"fry": "threefry2x32", "rbg": "rbg", "urbg": "unsafe_rbg"}[str(aval.dtype).partition("<")[2].rstrip(">")]


def _is_threefry(g: Emitter, equation: Any) -> None:
    if _implementation(equation.invars[0].aval) != "threefry2x32":
        raise g.unsupported("random numbers of another generator than threefry2x32, with a key that is an input, have no form in ONNX")


@lowers("random_seed")
def _seed(g: Emitter, equation: Any, seed: Operand) -> Operand:
    aval = equation.invars[0].aval

    def halves(seed):
        wide = seed.astype(jnp.int64)
        low = wide & 0xFFFFFFFF
        high = jax.lax.shift_right_logical(wide, jnp.asarray(32, jnp.int64))
        return jnp.stack([high, low], -1).astype(jnp.uint32)

    return g.trace(halves, [aval], seed)


@lowers("random_bits")
def _bits(g: Emitter, equation: Any, key: Operand) -> Operand:
    shape, width = equation.params["shape"], equation.params["bit_width"]
    if isinstance(key, np.ndarray) and is_static(shape):
        return np.asarray(jax.random.bits(_key(equation, key), shape, f"uint{width}"))
    _is_threefry(g, equation)
    batch = equation.invars[0].aval.shape
    if batch or not is_static(shape):
        raise g.unsupported("random numbers of several keys at once, or of a dynamic shape, have no form in ONNX where the key is an input")

    def bits(key):
        high, low = _block(key, *_counts(math.prod(shape)))
        if width == 64:
            return (high.astype(jnp.uint64) << 32 | low.astype(jnp.uint64)).reshape(shape)
        return (high ^ low).astype(f"uint{width}").reshape(shape)

    return g.trace(bits, [Aval((2,), np.uint32)], key)


@lowers("random_split")
def _split(g: Emitter, equation: Any, key: Operand) -> Operand:
    shape = equation.params["shape"]
    if isinstance(key, np.ndarray):
        return np.asarray(jax.random.key_data(jax.random.split(_key(equation, key), shape)))
    _is_threefry(g, equation)

    def split(key):
        return jnp.stack(_block(key, *_counts(math.prod(shape))), -1).reshape(*shape, 2)

    return g.trace(split, [Aval((2,), np.uint32)], key)


@lowers("random_fold_in")
def _fold_in(g: Emitter, equation: Any, key: Operand, data: Operand) -> Operand:
    if isinstance(key, np.ndarray) and isinstance(data, np.ndarray):
        return np.asarray(jax.random.key_data(jax.random.fold_in(_key(equation, key), jnp.asarray(data))))
    _is_threefry(g, equation)

    def folded(key, data):
        return jnp.stack(_block(key, jnp.zeros((), jnp.uint32), data.astype(jnp.uint32)), -1)

    return g.trace(folded, [Aval((2,), np.uint32), equation.invars[1].aval], key, data)


def _counts(size: int) -> tuple[Any, Any]:
    counts = np.arange(size, dtype=np.uint64)
    return (counts >> np.uint64(32)).astype(np.uint32), counts.astype(np.uint32)


@lowers("threefry2x32")
def _threefry(g: Emitter, equation: Any, *inputs: Operand) -> list[Operand]:
    def block(k0, k1, x0, x1):
        return _block(jnp.stack([k0, k1], -1), x0, x1) if k0.ndim == 0 else _rounds(k0, k1, x0, x1)

    return g.trace(block, [v.aval for v in equation.invars], *inputs)


def _block(key: Any, x0: Any, x1: Any) -> tuple[Any, Any]:
    return _rounds(key[..., 0], key[..., 1], x0, x1)


def _rounds(k0: Any, k1: Any, x0: Any, x1: Any) -> tuple[Any, Any]:
    """Threefry-2x32 with 20 rounds (Salmon et al., Parallel random numbers: as easy as 1, 2, 3, SC 2011)."""
    keys = (k0, k1, k0 ^ k1 ^ jnp.uint32(0x1BD11BDA))
    x0, x1 = x0 + k0, x1 + k1
    for group in range(5):
        for turn in (13, 15, 26, 6) if group % 2 == 0 else (17, 29, 16, 24):
            x0 = x0 + x1
            x1 = (x1 << jnp.uint32(turn)) | jax.lax.shift_right_logical(x1, jnp.uint32(32 - turn))
            x1 = x0 ^ x1
        x0 = x0 + keys[(group + 1) % 3]
        x1 = x1 + keys[(group + 2) % 3] + jnp.uint32(group + 1)
    return x0, x1
