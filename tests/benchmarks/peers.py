"""The same training steps in Flax NNX and in Equinox, as their guides write them, for `compiled_peers`.

Each entry of `NNX` and `EQUINOX` makes a function of (x, y) that runs one step and returns the loss.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from flax import nnx

from tests.benchmarks.models import CLASSES, CONTEXT, HEADS, HIDDEN, LAYERS, VOCABULARY, WIDTH, jax_class_loss, jax_square_loss

SMALL, WIDE = (64, 64, 64, 64, 64), (784, 512, 512, CLASSES)


# --- Flax NNX ----------------------------------------------------------------------------------------------------------


class NnxMLP(nnx.Module):
    def __init__(self, sizes: tuple[int, ...], rngs: nnx.Rngs):
        self.layers = nnx.List([nnx.Linear(a, b, rngs=rngs) for a, b in zip(sizes, sizes[1:], strict=False)])

    def __call__(self, x: Any) -> Any:
        for layer in self.layers[:-1]:
            x = nnx.relu(layer(x))
        return self.layers[-1](x)


class NnxCNN(nnx.Module):
    def __init__(self, rngs: nnx.Rngs):
        self.convolutions = nnx.List([nnx.Conv(a, b, (3, 3), rngs=rngs) for a, b in ((3, 32), (32, 64), (64, 64))])
        self.head = nnx.Linear(1024, CLASSES, rngs=rngs)

    def __call__(self, x: Any) -> Any:
        x = x.transpose(0, 2, 3, 1)
        for convolution in self.convolutions:
            x = nnx.max_pool(nnx.relu(convolution(x)), (2, 2), (2, 2))
        return self.head(x.reshape(x.shape[0], -1))


class NnxLSTM(nnx.Module):
    def __init__(self, rngs: nnx.Rngs):
        self.lstm = nnx.RNN(nnx.OptimizedLSTMCell(HIDDEN, HIDDEN, rngs=rngs), time_major=True)
        self.head = nnx.Linear(HIDDEN, CLASSES, rngs=rngs)

    def __call__(self, x: Any) -> Any:
        return self.head(self.lstm(x)[-1])


class NnxBlock(nnx.Module):
    def __init__(self, rngs: nnx.Rngs):
        self.norm1, self.norm2 = nnx.LayerNorm(WIDTH, rngs=rngs), nnx.LayerNorm(WIDTH, rngs=rngs)
        self.attention = nnx.MultiHeadAttention(HEADS, WIDTH, decode=False, rngs=rngs)
        self.up, self.down = nnx.Linear(WIDTH, 4 * WIDTH, rngs=rngs), nnx.Linear(4 * WIDTH, WIDTH, rngs=rngs)

    def __call__(self, x: Any, mask: Any) -> Any:
        x = x + self.attention(self.norm1(x), mask=mask)
        return x + self.down(nnx.gelu(self.up(self.norm2(x)), approximate=False))


class NnxGPT(nnx.Module):
    def __init__(self, rngs: nnx.Rngs):
        self.tokens, self.positions = nnx.Embed(VOCABULARY, WIDTH, rngs=rngs), nnx.Embed(CONTEXT, WIDTH, rngs=rngs)
        self.blocks = nnx.List([NnxBlock(rngs) for _ in range(LAYERS)])
        self.norm, self.head = nnx.LayerNorm(WIDTH, rngs=rngs), nnx.Linear(WIDTH, VOCABULARY, use_bias=False, rngs=rngs)

    def __call__(self, tokens: Any) -> Any:
        x = self.tokens(tokens) + self.positions(jnp.arange(tokens.shape[1]))
        mask = nnx.make_causal_mask(tokens)
        for block in self.blocks:
            x = block(x, mask)
        return self.head(self.norm(x))


def _nnx(make: Callable, loss_of: Callable, transformation: optax.GradientTransformation) -> Callable:
    model = make(nnx.Rngs(0))
    optimizer = nnx.Optimizer(model, transformation, wrt=nnx.Param)

    @nnx.jit
    def train_step(model: Any, optimizer: Any, x: Any, y: Any) -> Any:
        loss, gradients = nnx.value_and_grad(lambda m: loss_of(m(x), y))(model)
        optimizer.update(model, gradients)
        return loss

    return lambda x, y: train_step(model, optimizer, x, y)


NNX: dict[str, Callable[[], Callable]] = {
    "mlp": lambda: _nnx(lambda rngs: NnxMLP(SMALL, rngs), jax_square_loss, optax.sgd(1e-2)),
    "wide mlp": lambda: _nnx(lambda rngs: NnxMLP(WIDE, rngs), jax_class_loss, optax.adam(1e-3)),
    "cnn": lambda: _nnx(NnxCNN, jax_class_loss, optax.adam(1e-3)),
    "lstm": lambda: _nnx(NnxLSTM, jax_class_loss, optax.adam(1e-3)),
    "gpt": lambda: _nnx(NnxGPT, jax_class_loss, optax.adamw(1e-3, weight_decay=0.01)),
}


# --- Equinox -----------------------------------------------------------------------------------------------------------


class EqxMLP(eqx.Module):
    layers: list

    def __init__(self, sizes: tuple[int, ...], key: Any):
        keys = jax.random.split(key, len(sizes) - 1)
        self.layers = [eqx.nn.Linear(a, b, key=k) for a, b, k in zip(sizes, sizes[1:], keys, strict=False)]

    def __call__(self, x: Any) -> Any:
        for layer in self.layers[:-1]:
            x = jax.nn.relu(layer(x))
        return self.layers[-1](x)


class EqxCNN(eqx.Module):
    convolutions: list
    pool: eqx.nn.MaxPool2d
    head: eqx.nn.Linear

    def __init__(self, key: Any):
        keys = jax.random.split(key, 4)
        self.convolutions = [eqx.nn.Conv2d(a, b, 3, padding=1, key=k) for (a, b), k in zip(((3, 32), (32, 64), (64, 64)), keys, strict=False)]
        self.pool = eqx.nn.MaxPool2d(2, 2)
        self.head = eqx.nn.Linear(1024, CLASSES, key=keys[3])

    def __call__(self, x: Any) -> Any:
        for convolution in self.convolutions:
            x = self.pool(jax.nn.relu(convolution(x)))
        return self.head(x.reshape(-1))


class EqxLSTM(eqx.Module):
    cell: eqx.nn.LSTMCell
    head: eqx.nn.Linear

    def __init__(self, key: Any):
        one, two = jax.random.split(key)
        self.cell, self.head = eqx.nn.LSTMCell(HIDDEN, HIDDEN, key=one), eqx.nn.Linear(HIDDEN, CLASSES, key=two)

    def __call__(self, x: Any) -> Any:
        (h, _), _ = jax.lax.scan(lambda state, step: (self.cell(step, state), None), (jnp.zeros(HIDDEN), jnp.zeros(HIDDEN)), x)
        return self.head(h)


class EqxBlock(eqx.Module):
    norm1: eqx.nn.LayerNorm
    norm2: eqx.nn.LayerNorm
    attention: eqx.nn.MultiheadAttention
    up: eqx.nn.Linear
    down: eqx.nn.Linear

    def __init__(self, key: Any):
        keys = jax.random.split(key, 3)
        self.norm1, self.norm2 = eqx.nn.LayerNorm(WIDTH), eqx.nn.LayerNorm(WIDTH)
        biases = {f"use_{name}_bias": True for name in ("query", "key", "value", "output")}
        self.attention = eqx.nn.MultiheadAttention(HEADS, WIDTH, **biases, key=keys[0])
        self.up, self.down = eqx.nn.Linear(WIDTH, 4 * WIDTH, key=keys[1]), eqx.nn.Linear(4 * WIDTH, WIDTH, key=keys[2])

    def __call__(self, x: Any, mask: Any) -> Any:
        y = jax.vmap(self.norm1)(x)
        x = x + self.attention(y, y, y, mask=mask)
        y = jax.nn.gelu(jax.vmap(self.up)(jax.vmap(self.norm2)(x)), approximate=False)
        return x + jax.vmap(self.down)(y)


class EqxGPT(eqx.Module):
    tokens: eqx.nn.Embedding
    positions: eqx.nn.Embedding
    blocks: list
    norm: eqx.nn.LayerNorm
    head: eqx.nn.Linear

    def __init__(self, key: Any):
        keys = jax.random.split(key, LAYERS + 3)
        self.tokens, self.positions = eqx.nn.Embedding(VOCABULARY, WIDTH, key=keys[0]), eqx.nn.Embedding(CONTEXT, WIDTH, key=keys[1])
        self.blocks = [EqxBlock(k) for k in keys[3:]]
        self.norm, self.head = eqx.nn.LayerNorm(WIDTH), eqx.nn.Linear(WIDTH, VOCABULARY, use_bias=False, key=keys[2])

    def __call__(self, tokens: Any) -> Any:
        x = jax.vmap(self.tokens)(tokens) + self.positions.weight[: tokens.shape[0]]
        mask = jnp.tril(jnp.ones((len(tokens), len(tokens)), bool))
        for block in self.blocks:
            x = block(x, mask)
        return jax.vmap(self.head)(jax.vmap(self.norm)(x))


def _equinox(make: Callable, loss_of: Callable, transformation: optax.GradientTransformation, batch: int = 0) -> Callable:
    model = make(jax.random.key(0))
    state = transformation.init(eqx.filter(model, eqx.is_inexact_array))

    @eqx.filter_jit(donate="all-except-first")
    def train_step(data: Any, model: Any, state: Any) -> Any:
        x, y = data
        loss, gradients = eqx.filter_value_and_grad(lambda m: loss_of(jax.vmap(m, in_axes=batch)(x), y))(model)
        updates, state = transformation.update(gradients, state, eqx.filter(model, eqx.is_inexact_array))
        return eqx.apply_updates(model, updates), state, loss

    def call(x: Any, y: Any) -> Any:
        nonlocal model, state
        model, state, loss = train_step((x, y), model, state)
        return loss

    return call


EQUINOX: dict[str, Callable[[], Callable]] = {
    "mlp": lambda: _equinox(lambda key: EqxMLP(SMALL, key), jax_square_loss, optax.sgd(1e-2)),
    "wide mlp": lambda: _equinox(lambda key: EqxMLP(WIDE, key), jax_class_loss, optax.adam(1e-3)),
    "cnn": lambda: _equinox(EqxCNN, jax_class_loss, optax.adam(1e-3)),
    "lstm": lambda: _equinox(EqxLSTM, jax_class_loss, optax.adam(1e-3), batch=1),
    "gpt": lambda: _equinox(EqxGPT, jax_class_loss, optax.adamw(1e-3, weight_decay=0.01)),
}
