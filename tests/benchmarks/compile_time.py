"""How long a whole training step of a GPT takes to compile by its depth: forward, backward and AdamW, with the layers as one scanned stack, on the CPU.

Run: python -m tests.benchmarks.compile_time [--unrolled]
Prints seconds of the first call (trace and compile) less a later call, for 4 and 48 layers, their ratio, and seconds a step; with `--unrolled` the same of
layers called one by one.
"""

from __future__ import annotations

import sys
import time

import jax
import numpy as np

import neurarust_jax as nr
import neurarust_jax.nn.functional as F
from neurarust_jax import nn
from tests.benchmarks.models import CONTEXT, VOCABULARY, class_loss, make_gpt, training_step

SHALLOW, DEEP = 4, 48
BOUND = 1.3


def gpt(layers: int, scanned: bool) -> nn.Module:
    """The GPT of the other benchmarks, its blocks as a stack or one by one."""
    nr.manual_seed(0)
    model = make_gpt(nn, F, layers)
    if scanned:
        blocks = nn.ScannedStack(model.blocks)
        model.blocks = nn.ModuleList([blocks])  # called as one block, whose parameters are named as in `state_dict`
    return model


def measure(layers: int, scanned: bool, rounds: int = 3) -> tuple[float, float]:
    """(least seconds to trace and compile a step, least seconds a step)"""
    tokens = np.random.default_rng(0).integers(0, VOCABULARY, (2, CONTEXT + 1))
    x, y = nr.tensor(tokens[:, :-1]), nr.tensor(tokens[:, 1:])
    firsts, later = [], []
    for _ in range(rounds):
        model = gpt(layers, scanned)
        step = nr.jit(training_step(model, F, class_loss, nr.optim.AdamW(model.parameters(), lr=1e-3)))
        jax.clear_caches()
        start = time.perf_counter()
        step(x, y).item()
        firsts.append(time.perf_counter() - start)
        for _ in range(5):
            start = time.perf_counter()
            step(x, y).item()
            later.append(time.perf_counter() - start)
    return min(firsts) - min(later), min(later)


def main() -> None:
    """Print a table."""
    for scanned in (True, False) if "--unrolled" in sys.argv else (True,):
        rounds = 3 if scanned else 1
        shallow, shallow_step = measure(SHALLOW, scanned, rounds)
        deep, deep_step = measure(DEEP, scanned, rounds)
        name = "scanned" if scanned else "unrolled"
        print(
            f"{name:9} {SHALLOW} layers: {shallow:6.2f}s to compile, {shallow_step * 1e3:7.1f}ms a step; {DEEP} layers: {deep:6.2f}s, {deep_step * 1e3:7.1f}ms; "
            f"ratio {deep / shallow:5.2f}" + (f" (at most {BOUND})" if scanned else ""),
            flush=True,
        )


if __name__ == "__main__":
    main()
