"""The same models and training steps in neurarust_jax, in PyTorch, and by hand in JAX with optax.

Each network is written once over `nn` and `F`, which are ours or PyTorch's; the functions `jax_...` say the same in plain JAX.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import neurarust_jax as nr

VOCABULARY, CONTEXT, WIDTH, HEADS, LAYERS = 64, 128, 128, 4, 4
STEPS, HIDDEN, CLASSES = 64, 128, 10


# --- over ours or PyTorch's nn -------------------------------------------------------------------------------------------


def make_mlp(nn: Any, F: Any, sizes: tuple[int, ...] = (64, 64, 64, 64, 64)) -> Any:
    """An MLP with ReLU between its layers."""
    layers = [m for a, b in zip(sizes, sizes[1:], strict=False) for m in (nn.Linear(a, b), nn.ReLU())]
    return nn.Sequential(*layers[:-1])


def make_cnn(nn: Any, F: Any) -> Any:
    """Three convolutions, each with ReLU and pooling, and a linear head."""
    return nn.Sequential(
        nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(64, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(1024, CLASSES),
    )  # fmt: skip


def make_lstm(nn: Any, F: Any) -> Any:
    """An LSTM whose last state is classified."""

    class Classifier(nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm = nn.LSTM(HIDDEN, HIDDEN)
            self.head = nn.Linear(HIDDEN, CLASSES)

        def forward(self, x: Any) -> Any:
            return self.head(self.lstm(x)[0][-1])

    return Classifier()


def make_gpt(nn: Any, F: Any, layers: int = LAYERS) -> Any:
    """A small GPT, norm first."""

    class Block(nn.Module):
        def __init__(self, width: int, heads: int):
            super().__init__()
            self.heads = heads
            self.norm1 = nn.LayerNorm(width)
            self.attention = nn.Linear(width, 3 * width)
            self.projection = nn.Linear(width, width)
            self.norm2 = nn.LayerNorm(width)
            self.up = nn.Linear(width, 4 * width)
            self.down = nn.Linear(4 * width, width)

        def forward(self, x: Any) -> Any:
            batch, length, width = x.shape
            q, k, v = self.attention(self.norm1(x)).reshape(batch, length, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
            attended = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(batch, length, width)
            x = x + self.projection(attended)
            return x + self.down(F.gelu(self.up(self.norm2(x))))

    class GPT(nn.Module):
        def __init__(self):
            super().__init__()
            self.tokens = nn.Embedding(VOCABULARY, WIDTH)
            self.positions = nn.Embedding(CONTEXT, WIDTH)
            self.blocks = nn.ModuleList([Block(WIDTH, HEADS) for _ in range(layers)])
            self.norm = nn.LayerNorm(WIDTH)
            self.head = nn.Linear(WIDTH, VOCABULARY, bias=False)

        def forward(self, tokens: Any) -> Any:
            x = self.tokens(tokens) + self.positions.weight[: tokens.shape[1]]
            for block in self.blocks:
                x = block(x)
            return self.head(self.norm(x))

    return GPT()


def square_loss(F: Any, output: Any, y: Any) -> Any:
    """Mean squared error."""
    return F.mse_loss(output, y)


def class_loss(F: Any, output: Any, y: Any) -> Any:
    """Cross entropy over the last dimension."""
    return F.cross_entropy(output.reshape(-1, output.shape[-1]), y.reshape(-1))


def training_step(model: Any, F: Any, loss_function: Callable, optimizer: Any) -> Callable:
    """The training step in PyTorch's idiom."""

    def train_step(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        loss = loss_function(F, model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    return train_step


# --- by hand -----------------------------------------------------------------------------------------------------------


def jax_parameters(model: Any) -> dict[str, Any]:
    """The model's parameters as a flat dict of arrays, copied."""
    return {name: jnp.array(np.asarray(p.detach())) for name, p in model.named_parameters()}


def _linear(params: dict[str, Any], name: str, x: Any) -> Any:
    y = x @ params[f"{name}.weight"].T
    return y + params[f"{name}.bias"] if f"{name}.bias" in params else y


def jax_mlp(params: dict[str, Any], x: Any) -> Any:
    names = sorted({int(n.split(".")[0]) for n in params})
    for i in names:
        x = _linear(params, str(i), x)
        if i != names[-1]:
            x = jnp.maximum(x, 0)
    return x


def jax_cnn(params: dict[str, Any], x: Any) -> Any:
    for i in (0, 3, 6):
        x = jax.lax.conv_general_dilated(x, params[f"{i}.weight"], (1, 1), "SAME", dimension_numbers=("NCHW", "OIHW", "NCHW"))
        x = jnp.maximum(x + params[f"{i}.bias"][:, None, None], 0)
        x = jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, 1, 2, 2), (1, 1, 2, 2), "VALID")
    return _linear(params, "10", x.reshape(x.shape[0], -1))


def jax_lstm(params: dict[str, Any], x: Any) -> Any:
    def step(state: Any, x: Any) -> Any:
        h, c = state
        gates = x @ params["lstm.weight_ih_l0"].T + params["lstm.bias_ih_l0"] + h @ params["lstm.weight_hh_l0"].T + params["lstm.bias_hh_l0"]
        i, f, g, o = jnp.split(gates, 4, -1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        return (h, c), h

    zeros = jnp.zeros((x.shape[1], HIDDEN), x.dtype)
    return _linear(params, "head", jax.lax.scan(step, (zeros, zeros), x)[1][-1])


def _layer_norm(params: dict[str, Any], name: str, x: Any) -> Any:
    mean = x.mean(-1, keepdims=True)
    variance = jnp.square(x - mean).mean(-1, keepdims=True)
    return (x - mean) * jax.lax.rsqrt(variance + 1e-5) * params[f"{name}.weight"] + params[f"{name}.bias"]


def jax_gpt(params: dict[str, Any], tokens: Any, layers: int = LAYERS, heads: int = HEADS) -> Any:
    batch, length = tokens.shape
    x = params["tokens.weight"][tokens] + params["positions.weight"][:length]
    width = x.shape[-1]
    mask = jnp.tril(jnp.ones((length, length), bool))
    for i in range(layers):
        b = f"blocks.{i}."
        qkv = _linear(params, b + "attention", _layer_norm(params, b + "norm1", x))
        q, k, v = qkv.reshape(batch, length, 3, heads, width // heads).transpose(2, 0, 3, 1, 4)
        scores = jnp.einsum("bhqd,bhkd->bhqk", q * (width // heads) ** -0.5, k)
        weights = jax.nn.softmax(jnp.where(mask, scores, -jnp.inf), -1)
        attended = jnp.einsum("bhqk,bhkd->bhqd", weights, v).transpose(0, 2, 1, 3).reshape(batch, length, width)
        x = x + _linear(params, b + "projection", attended)
        hidden = _linear(params, b + "up", _layer_norm(params, b + "norm2", x))
        x = x + _linear(params, b + "down", jax.nn.gelu(hidden, approximate=False))
    return _linear(params, "head", _layer_norm(params, "norm", x))


def jax_square_loss(output: Any, y: Any) -> Any:
    return jnp.square(output - y).mean()


def jax_class_loss(logits: Any, y: Any) -> Any:
    return -jnp.take_along_axis(jax.nn.log_softmax(logits), y[..., None], -1).mean()


class JaxRunner:
    """Keeps parameters and state between the calls of a compiled step written by hand, which donates them."""

    def __init__(self, forward: Callable, loss_of: Callable, transformation: optax.GradientTransformation, params: dict[str, Any]):
        self.params, self.state = params, transformation.init(params)

        @functools.partial(jax.jit, donate_argnums=(0, 1))
        def train_step(params: Any, state: Any, x: Any, y: Any) -> Any:
            loss, gradients = jax.value_and_grad(lambda p: loss_of(forward(p, x), y))(params)
            updates, state = transformation.update(gradients, state, params)
            return optax.apply_updates(params, updates), state, loss

        self.step = train_step

    def __call__(self, x: Any, y: Any) -> Any:
        self.params, self.state, loss = self.step(self.params, self.state, x, y)
        return loss


# --- the programs --------------------------------------------------------------------------------------------------------


@dataclass
class Program:
    """A model with its data, loss and optimizer, in all three libraries.

    Attributes:
        make: (nn, F) -> the model.
        loss: (F, output, y) -> the loss.
        optimizer: the name and options of an optimizer in `optim`, ours and PyTorch's.
        forward, jax_loss, transformation: the same by hand.
        x, y: a batch.
    """

    make: Callable
    loss: Callable
    optimizer: tuple[str, dict[str, float]]
    forward: Callable
    jax_loss: Callable
    transformation: optax.GradientTransformation
    x: np.ndarray
    y: np.ndarray

    def ours(self) -> tuple[Any, Callable]:
        """(the model, its step), drawn from the seed 0."""
        import neurarust_jax.nn.functional as F

        nr.manual_seed(0)
        model = self.make(nr.nn, F)
        name, options = self.optimizer
        return model, training_step(model, F, self.loss, getattr(nr.optim, name)(model.parameters(), **options))

    def theirs(self, state: dict[str, Any]) -> Callable:
        """PyTorch's step, from the parameters in `state`."""
        import torch

        model = self.make(torch.nn, torch.nn.functional)
        model.load_state_dict({key: torch.tensor(np.array(value)) for key, value in state.items()})
        name, options = self.optimizer
        return training_step(model, torch.nn.functional, self.loss, getattr(torch.optim, name)(model.parameters(), **options))

    def by_hand(self, model: Any) -> JaxRunner:
        """The step in JAX and optax, from the model's parameters."""
        return JaxRunner(self.forward, self.jax_loss, self.transformation, jax_parameters(model))


def programs() -> dict[str, Program]:
    """The five that are compared: two MLPs, a CNN, an LSTM and a GPT."""
    generator = np.random.default_rng(0)

    def normal(*shape: int) -> np.ndarray:
        return generator.standard_normal(shape).astype(np.float32)

    def classes(*shape: int) -> np.ndarray:
        return generator.integers(0, CLASSES, shape)

    tokens = generator.integers(0, VOCABULARY, (8, CONTEXT + 1))
    adam, adamw = ("Adam", {"lr": 1e-3}), ("AdamW", {"lr": 1e-3, "weight_decay": 0.01})
    wide = functools.partial(make_mlp, sizes=(784, 512, 512, CLASSES))
    return {
        "mlp": Program(make_mlp, square_loss, ("SGD", {"lr": 1e-2}), jax_mlp, jax_square_loss, optax.sgd(1e-2), normal(32, 64), normal(32, 64)),
        "wide mlp": Program(wide, class_loss, adam, jax_mlp, jax_class_loss, optax.adam(1e-3), normal(128, 784), classes(128)),
        "cnn": Program(make_cnn, class_loss, adam, jax_cnn, jax_class_loss, optax.adam(1e-3), normal(32, 3, 32, 32), classes(32)),
        "lstm": Program(make_lstm, class_loss, adam, jax_lstm, jax_class_loss, optax.adam(1e-3), normal(STEPS, 32, HIDDEN), classes(32)),
        "gpt": Program(make_gpt, class_loss, adamw, jax_gpt, jax_class_loss, optax.adamw(1e-3, weight_decay=0.01), tokens[:, :-1], tokens[:, 1:]),
    }
