"""The same models and training steps in neurarust_jax, in JAX with optax by hand, and in PyTorch."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import neurarust_jax as nr
import neurarust_jax.nn.functional as F
from neurarust_jax import nn, optim

VOCABULARY, CONTEXT, WIDTH, HEADS, LAYERS = 64, 128, 128, 4, 4


class Block(nn.Module):
    """One layer of the GPT, norm first."""

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
    """A small GPT."""

    def __init__(self, vocabulary: int = VOCABULARY, context: int = CONTEXT, width: int = WIDTH, heads: int = HEADS, layers: int = LAYERS):
        super().__init__()
        self.tokens = nn.Embedding(vocabulary, width)
        self.positions = nn.Embedding(context, width)
        self.blocks = nn.ModuleList([Block(width, heads) for _ in range(layers)])
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocabulary, bias=False)

    def forward(self, tokens: Any) -> Any:
        x = self.tokens(tokens) + self.positions.weight[: tokens.shape[1]]
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


def make_mlp(width: int = 64, layers: int = 4) -> nn.Module:
    """An MLP of equal layers with ReLU between."""
    return nn.Sequential(*[m for _ in range(layers - 1) for m in (nn.Linear(width, width), nn.ReLU())], nn.Linear(width, width))


def nr_step(model: nn.Module, loss_function: Any) -> tuple[Any, Any]:
    """(the training step in PyTorch's idiom, its optimizer)"""
    optimizer = optim.Adam(model.parameters(), lr=1e-3)

    def train_step(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        loss = loss_function(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    return train_step, optimizer


def mlp_loss(output: Any, y: Any) -> Any:
    """Mean squared error."""
    return F.mse_loss(output, y)


def gpt_loss(logits: Any, y: Any) -> Any:
    """Cross entropy of the next token."""
    return F.cross_entropy(logits.reshape(-1, logits.shape[-1]), y.reshape(-1))


# --- by hand -----------------------------------------------------------------------------------------------------------


def jax_parameters(model: nn.Module) -> dict[str, Any]:
    """The model's parameters as a flat dict of arrays, copied."""
    return {name: jnp.array(np.asarray(p.detach())) for name, p in model.named_parameters()}


def jax_mlp(params: dict[str, Any], x: Any) -> Any:
    names = sorted({int(n.split(".")[0]) for n in params})
    for i in names:
        x = x @ params[f"{i}.weight"].T + params[f"{i}.bias"]
        if i != names[-1]:
            x = jnp.maximum(x, 0)
    return x


def _layer_norm(params: dict[str, Any], name: str, x: Any) -> Any:
    mean = x.mean(-1, keepdims=True)
    variance = jnp.square(x - mean).mean(-1, keepdims=True)
    return (x - mean) * jax.lax.rsqrt(variance + 1e-5) * params[f"{name}.weight"] + params[f"{name}.bias"]


def _linear(params: dict[str, Any], name: str, x: Any) -> Any:
    y = x @ params[f"{name}.weight"].T
    return y + params[f"{name}.bias"] if f"{name}.bias" in params else y


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
        hidden = 0.5 * hidden * (1 + jax.lax.erf(hidden * np.float32(np.sqrt(0.5))))
        x = x + _linear(params, b + "down", hidden)
    return _linear(params, "head", _layer_norm(params, "norm", x))


def jax_step(forward: Any, loss_of: Any) -> tuple[Any, Any]:
    """(the compiled training step with donated state, its optax transformation)"""
    transformation = optax.adam(1e-3)

    @functools.partial(jax.jit, donate_argnums=(0, 1))
    def train_step(params: Any, state: Any, x: Any, y: Any) -> Any:
        loss, gradients = jax.value_and_grad(lambda p: loss_of(forward(p, x), y))(params)
        updates, state = transformation.update(gradients, state, params)
        return optax.apply_updates(params, updates), state, loss

    return train_step, transformation


def jax_mlp_loss(output: Any, y: Any) -> Any:
    return jnp.square(output - y).mean()


def jax_gpt_loss(logits: Any, y: Any) -> Any:
    return -jnp.take_along_axis(jax.nn.log_softmax(logits), y[..., None], -1).mean()


class JaxRunner:
    """Keeps parameters and state between the calls of a step written by hand."""

    def __init__(self, forward: Any, loss_of: Any, params: dict[str, Any]):
        self.step, transformation = jax_step(forward, loss_of)
        self.params, self.state = params, transformation.init(params)

    def __call__(self, x: Any, y: Any) -> Any:
        self.params, self.state, loss = self.step(self.params, self.state, x, y)
        return loss


def data(kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Input and target of the MLP (batch 32, width 64) or the GPT (batch 8, context 128)."""
    generator = np.random.default_rng(0)
    if kind == "mlp":
        return generator.standard_normal((32, 64)).astype(np.float32), generator.standard_normal((32, 64)).astype(np.float32)
    tokens = generator.integers(0, VOCABULARY, (8, CONTEXT + 1))
    return tokens[:, :-1], tokens[:, 1:]


def seeded(make: Any) -> Any:
    nr.manual_seed(0)
    return make()
