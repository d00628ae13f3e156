"""Eager ops on 8x8 operands against jax.numpy's own eager calls, and PyTorch's for comparison.

Run: python -m tests.benchmarks.eager_ops
Prints microseconds a call and the ratio ours / jnp; the last line is the geometric mean.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import torch

import neurarust_jax as nr
import neurarust_jax.nn.functional as F
from tests.benchmarks.timing import compare, geometric_mean


def cases() -> dict[str, tuple]:
    """For each op the call in neurarust_jax, jax.numpy and PyTorch."""
    generator = np.random.default_rng(0)
    array = generator.standard_normal((8, 8)).astype(np.float32)
    index = np.arange(0, 8, 2)
    image, kernel = generator.standard_normal((1, 8, 8, 8)).astype(np.float32), generator.standard_normal((8, 8, 3, 3)).astype(np.float32)
    x, i, im, k = (nr.tensor(a) for a in (array, index, image, kernel))
    jx, ji, jim, jk = (jnp.asarray(a) for a in (array, index, image, kernel))
    tx, ti, tim, tk = (torch.tensor(a) for a in (array, index, image, kernel))
    row, jrow, trow = x[0], jx[0], tx[0]
    wide, jwide, twide = (m for m in (nr.tensor(index[None].repeat(8, 0)), jnp.asarray(index[None].repeat(8, 0)), torch.tensor(index[None].repeat(8, 0))))

    def jax_layer_norm(a, w, b):
        mean = a.mean(-1, keepdims=True)
        variance = jnp.square(a - mean).mean(-1, keepdims=True)
        return (a - mean) * jax.lax.rsqrt(variance + 1e-5) * w + b

    return {
        "add": (lambda: x + x, lambda: jx + jx, lambda: tx + tx),
        "mul by a scalar": (lambda: x * 2.5, lambda: jx * 2.5, lambda: tx * 2.5),
        "matmul": (lambda: x @ x, lambda: jx @ jx, lambda: tx @ tx),
        "relu": (lambda: F.relu(x), lambda: jax.nn.relu(jx), lambda: torch.relu(tx)),
        "softmax": (lambda: F.softmax(x, -1), lambda: jax.nn.softmax(jx, -1), lambda: torch.softmax(tx, -1)),
        "sum": (lambda: x.sum(), lambda: jx.sum(), lambda: tx.sum()),
        "slice": (lambda: x[2:5], lambda: jx[2:5], lambda: tx[2:5]),
        "integer index": (lambda: x[3], lambda: jx[3], lambda: tx[3]),
        "integer array index": (lambda: x[i], lambda: jx[ji], lambda: tx[ti]),
        "gather": (lambda: x.gather(1, wide), lambda: jnp.take_along_axis(jx, jwide, 1), lambda: tx.gather(1, twide)),
        "reshape": (lambda: x.reshape(4, 16), lambda: jx.reshape(4, 16), lambda: tx.reshape(4, 16)),
        "transpose": (lambda: x.T, lambda: jx.T, lambda: tx.T),
        "cat": (lambda: nr.cat([x, x]), lambda: jnp.concatenate([jx, jx]), lambda: torch.cat([tx, tx])),
        "layer_norm": (lambda: F.layer_norm(x, (8,), row, row), lambda: jax_layer_norm(jx, jrow, jrow), lambda: torch.layer_norm(tx, (8,), trow, trow)),
        "conv2d": (
            lambda: F.conv2d(im, k),
            lambda: jax.lax.conv_general_dilated(jim, jk, (1, 1), "VALID", dimension_numbers=("NCHW", "OIHW", "NCHW")),
            lambda: torch.conv2d(tim, tk),
        ),
        "where": (lambda: nr.where(x > 0, x, x), lambda: jnp.where(jx > 0, jx, jx), lambda: torch.where(tx > 0, tx, tx)),
        "argmax": (lambda: x.argmax(1), lambda: jx.argmax(1), lambda: tx.argmax(1)),
    }


def main() -> None:
    """Print one row for each op."""
    print(f"{'':20} {'ours':>8} {'jnp':>8} {'torch':>8} {'ours/jnp':>9}")
    ratios = []
    for name, (ours, theirs, pytorch) in cases().items():
        found = compare({"ours": ours, "jnp": theirs, "torch": pytorch}, rounds=25)
        ratios.append(found["ours"] / found["jnp"])
        print(f"{name:20} {found['ours'] * 1e6:8.2f} {found['jnp'] * 1e6:8.2f} {found['torch'] * 1e6:8.2f} {ratios[-1]:9.3f}")
    print(f"geometric mean {geometric_mean(ratios):.3f}, greatest {max(ratios):.3f}")


if __name__ == "__main__":
    main()
