"""Compiled training steps in PyTorch's idiom, against PyTorch eager and against the same steps written by hand in JAX and optax, on the CPU.

Run: python -m tests.benchmarks.compiled_step [mlp "wide mlp" cnn lstm gpt]
Prints seconds a step, their ratios, and the ratio of the first calls (trace and compile).
"""

from __future__ import annotations

import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import torch

import neurarust_jax as nr
from tests.benchmarks.models import programs
from tests.benchmarks.timing import compare


def main() -> None:
    """Print one row for each model."""
    print(f"{'':9} {'ours':>11} {'PyTorch':>11} {'by hand':>11} {'/PyTorch':>9} {'/by hand':>9} {'first call':>11} {'by hand':>9} {'ratio':>7}")
    for kind, program in programs().items():
        if sys.argv[1:] and kind not in sys.argv[1:]:
            continue
        model, step = program.ours()
        step = nr.jit(step)
        theirs, by_hand = program.theirs(model.state_dict()), program.by_hand(model)
        inputs = {
            "ours": (nr.tensor(program.x), nr.tensor(program.y)),
            "theirs": (torch.tensor(program.x), torch.tensor(program.y)),
            "by hand": tuple(jnp.asarray(a if a.dtype == np.float32 else a.astype(np.int32)) for a in (program.x, program.y)),
        }
        steps = {"ours": step, "theirs": theirs, "by hand": by_hand}
        firsts, losses = {}, {}
        for name, function in steps.items():
            jax.clear_caches()
            start = time.perf_counter()
            losses[name] = function(*inputs[name]).item()
            firsts[name] = time.perf_counter() - start
        assert np.allclose(list(losses.values()), losses["ours"], rtol=1e-4), losses
        found = compare({name: lambda f=function, a=inputs[name]: f(*a) for name, function in steps.items()}, seconds=0.6 if kind == "mlp" else 4)
        print(
            f"{kind:9} {found['ours'] * 1e6:9.1f}us {found['theirs'] * 1e6:9.1f}us {found['by hand'] * 1e6:9.1f}us {found['ours'] / found['theirs']:9.3f} "
            f"{found['ours'] / found['by hand']:9.3f} {firsts['ours']:10.2f}s {firsts['by hand']:8.2f}s {firsts['ours'] / firsts['by hand']:7.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
