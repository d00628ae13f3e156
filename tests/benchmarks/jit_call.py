"""What `nr.jit` adds to a compiled call for each cell, against the same program under `jax.jit` over flat lists.

Run: python -m tests.benchmarks.jit_call
Prints microseconds a call for 10 to 2,000 cells, and the growth per cell.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

import neurarust_jax as nr
from tests.benchmarks.timing import compare


def main() -> None:
    """Print one row for each number of cells."""
    print(f"{'cells':>6} {'nr.jit':>10} {'jax.jit':>10} {'own':>10}")
    own = {}
    one = nr.tensor(1.0)
    for count in (10, 100, 500, 2000):
        cells = [nr.nn.Buffer(nr.zeros(())) for _ in range(count)]

        @nr.jit
        def ours(x, cells=cells):
            for cell in cells:
                cell.add_(x)
            return x

        arrays = [jnp.zeros(()) for _ in range(count)]
        program = jax.jit(lambda arrays, x: ([a + x for a in arrays], x), donate_argnums=0)
        kept = [arrays]

        def theirs(x, kept=kept, program=program):
            kept[0], x = program(kept[0], x)
            return x

        found = compare({"ours": lambda f=ours: f(one), "theirs": lambda f=theirs: f(one._value)}, seconds=0.5)
        own[count] = found["ours"] - found["theirs"]
        print(f"{count:6} {found['ours'] * 1e6:8.1f}us {found['theirs'] * 1e6:8.1f}us {own[count] * 1e6:8.1f}us", flush=True)
    print(f"own cost per cell: {(own[2000] - own[10]) / 1990 * 1e6:.3f} us")


if __name__ == "__main__":
    main()
