"""A compiled training step in PyTorch's idiom against the same step written by hand in JAX and optax.

Run: python -m tests.benchmarks.compiled_step
Prints seconds a step, the ratio, and the ratio of the first calls (trace and compile).
"""

from __future__ import annotations

import time

import jax
import jax.numpy as jnp
import numpy as np

import neurarust_jax as nr
from tests.benchmarks import models
from tests.benchmarks.timing import compare


def main() -> None:
    """Print one row for each model."""
    print(f"{'':6} {'ours':>12} {'by hand':>12} {'ratio':>7} {'first call':>12} {'by hand':>12} {'ratio':>7}")
    for kind, make, forward, loss, jax_loss in (
        ("mlp", models.make_mlp, models.jax_mlp, models.mlp_loss, models.jax_mlp_loss),
        ("gpt", models.GPT, models.jax_gpt, models.gpt_loss, models.jax_gpt_loss),
    ):
        model = models.seeded(make)
        x, y = models.data(kind)
        by_hand = models.JaxRunner(forward, jax_loss, models.jax_parameters(model))
        jx, jy = (jnp.asarray(a if a.dtype == np.float32 else a.astype(np.int32)) for a in (x, y))
        firsts = {}
        for name in ("by hand", "ours") if kind == "gpt" else ("ours", "by hand"):
            jax.clear_caches()
            if name == "ours":
                step = nr.jit(models.nr_step(model, loss)[0])
                tx, ty = nr.tensor(x), nr.tensor(y)
                start = time.perf_counter()
                ours_loss = step(tx, ty).item()
            else:
                start = time.perf_counter()
                hand_loss = float(by_hand(jx, jy))
            firsts[name] = time.perf_counter() - start
        assert abs(ours_loss - hand_loss) < 1e-4 * abs(hand_loss), (ours_loss, hand_loss)
        found = compare({"ours": lambda s=step, a=tx, b=ty: s(a, b), "by hand": lambda r=by_hand, a=jx, b=jy: r(a, b)}, seconds=0.6 if kind == "mlp" else 6)
        print(
            f"{kind:6} {found['ours'] * 1e6:10.1f}us {found['by hand'] * 1e6:10.1f}us {found['ours'] / found['by hand']:7.3f} "
            f"{firsts['ours']:11.2f}s {firsts['by hand']:11.2f}s {firsts['ours'] / firsts['by hand']:7.2f}"
        )


if __name__ == "__main__":
    main()
