"""Compiled training steps against the same ones in Flax NNX and Equinox, on the CPU.

Run: python -m tests.benchmarks.compiled_peers [mlp "wide mlp" cnn lstm gpt]
Prints seconds a step and their ratios.
"""

from __future__ import annotations

import sys

import jax.numpy as jnp
import numpy as np

import neurarust_jax as nr
from tests.benchmarks.models import programs
from tests.benchmarks.peers import EQUINOX, NNX
from tests.benchmarks.timing import compare


def main() -> None:
    """Print one row for each model."""
    print(f"{'':9} {'ours':>11} {'NNX':>11} {'Equinox':>11} {'/NNX':>7} {'/Equinox':>9}")
    for kind, program in programs().items():
        if sys.argv[1:] and kind not in sys.argv[1:]:
            continue
        _, step = program.ours()
        tensors = nr.tensor(program.x), nr.tensor(program.y)
        arrays = tuple(jnp.asarray(a if a.dtype == np.float32 else a.astype(np.int32)) for a in (program.x, program.y))
        ours, nnx, equinox = nr.jit(step), NNX[kind](), EQUINOX[kind]()
        functions = {"ours": lambda f=ours, a=tensors: f(*a), "NNX": lambda f=nnx, a=arrays: f(*a), "Equinox": lambda f=equinox, a=arrays: f(*a)}
        found = compare(functions, seconds=0.6 if kind == "mlp" else 4)
        times = " ".join(f"{seconds * 1e6:9.1f}us" for seconds in found.values())
        print(f"{kind:9} {times} {found['ours'] / found['NNX']:7.3f} {found['ours'] / found['Equinox']:9.3f}", flush=True)


if __name__ == "__main__":
    main()
