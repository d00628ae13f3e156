"""The memory of compiled training steps, by XLA's account, against the same steps written by hand in JAX and optax with all state donated.

Run: python -m tests.benchmarks.peak_memory
Prints, in MiB, what a step needs (inputs, outputs and temporaries, donated memory counted once): as users write it, with `zero_grad()` last, and by hand.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np

import neurarust_jax as nr
import neurarust_jax.nn.functional as F
from tests.benchmarks.models import Program, programs


def _ours(program: Program, clear_last: bool) -> int:
    model, step = program.ours()
    if clear_last:
        name, options = program.optimizer
        optimizer = getattr(nr.optim, name)(model.parameters(), **options)

        def step(x: Any, y: Any) -> Any:
            loss = program.loss(F, model(x), y)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            return loss

    compiled, inputs = nr.jit(step), (nr.tensor(program.x), nr.tensor(program.y))
    for _ in range(2):
        compiled(*inputs)
    return compiled.peak_memory(*inputs)


def _by_hand(program: Program) -> int:
    runner = program.by_hand(program.ours()[0])
    x, y = (jnp.asarray(a if a.dtype == np.float32 else a.astype(np.int32)) for a in (program.x, program.y))
    found = runner.step.lower(runner.params, runner.state, x, y).compile().memory_analysis()
    return found.argument_size_in_bytes + found.output_size_in_bytes + found.temp_size_in_bytes - found.alias_size_in_bytes


def main() -> None:
    """Print one row for each model."""
    print(f"{'':9} {'ours':>8} {'clear last':>11} {'by hand':>8} {'ratio':>7} {'ratio':>7}")
    for kind, program in programs().items():
        usual, cleared, by_hand = (n / 2**20 for n in (_ours(program, False), _ours(program, True), _by_hand(program)))
        print(f"{kind:9} {usual:8.2f} {cleared:11.2f} {by_hand:8.2f} {usual / by_hand:7.3f} {cleared / by_hand:7.3f}", flush=True)


if __name__ == "__main__":
    main()
