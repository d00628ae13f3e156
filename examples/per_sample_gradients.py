"""The gradient of every example of a batch by itself, in one call.

    python examples/per_sample_gradients.py

`loss.backward()` gives the mean over the batch. Methods that clip or compare gradients example by example (Abadi et al., "Deep Learning with
Differential Privacy", 2016) need each one. `grad` of a function of one example gives it, and `vmap` runs that over the batch.
"""

from __future__ import annotations

import argparse
import time

import jax

import neurarust_jax as nr
import neurarust_jax.nn.functional as F
from neurarust_jax import nn
from neurarust_jax.func import functional_call, grad, vmap


def make_model() -> nn.Module:
    """A small CNN for images of 28x28 pixels. (Batch normalization would mix the examples.)"""
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, stride=2), nn.ReLU(), nn.Conv2d(8, 16, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(256, 10)
    )


def by_vmap(model: nn.Module, x: nr.Tensor, y: nr.Tensor) -> dict[str, nr.Tensor]:
    """Gradients by name, with the batch as their first dimension."""

    def loss_of_one(parameters, image, label):
        logits = functional_call(model, parameters, (image[None],))
        return F.cross_entropy(logits, label[None])

    parameters = {name: p.detach() for name, p in model.named_parameters()}
    return vmap(grad(loss_of_one), in_dims=(None, 0, 0))(parameters, x, y)


def by_loop(model: nn.Module, x: nr.Tensor, y: nr.Tensor) -> dict[str, nr.Tensor]:
    """The same by one `backward()` an example."""
    found = []
    for i in range(len(x)):
        model.zero_grad()
        F.cross_entropy(model(x[i : i + 1]), y[i : i + 1]).backward()
        found.append({name: p.grad for name, p in model.named_parameters()})
    return {name: nr.stack([gradients[name] for gradients in found]) for name in found[0]}


def seconds(function, *arguments) -> float:
    """The time of one call, once everything is compiled."""
    start = time.perf_counter()
    jax.block_until_ready(function(*arguments))
    return time.perf_counter() - start


def main(argv: list[str] | None = None) -> float:
    """Run the program, and return the greatest difference between the two ways."""
    parser = argparse.ArgumentParser(description="Per-sample gradients by vmap and by a loop.")
    parser.add_argument("--batch-size", type=int, default=64)
    options = parser.parse_args(argv)

    nr.manual_seed(0)
    model = make_model()
    x, y = nr.randn(options.batch_size, 1, 28, 28), nr.randint(0, 10, (options.batch_size,))
    compiled = nr.jit(by_vmap)
    gradients, expected = compiled(model, x, y), by_loop(model, x, y)

    norms = sum((g.flatten(1) ** 2).sum(1) for g in gradients.values()).sqrt()
    print(f"norms of the gradients of {options.batch_size} examples: {norms.min():.3f} to {norms.max():.3f}, median {norms.median():.3f}")
    difference = max((gradients[name] - expected[name]).abs().max().item() for name in expected)
    print(f"greatest difference from the loop: {difference:.1e}")
    print(f"vmap, compiled: {1e3 * seconds(compiled, model, x, y):.1f} ms; loop: {1e3 * seconds(by_loop, model, x, y):.1f} ms")
    return difference


if __name__ == "__main__":
    main()
