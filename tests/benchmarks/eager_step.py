"""Eager training steps, without `nr.jit`, against PyTorch eager on the CPU.

Run: python -m tests.benchmarks.eager_step
"""

from __future__ import annotations

import numpy as np
import torch

import neurarust_jax as nr
from tests.benchmarks import models
from tests.benchmarks.timing import compare


def torch_mlp(width: int, layers: int) -> torch.nn.Module:
    """The same MLP in PyTorch."""
    return torch.nn.Sequential(
        *[m for _ in range(layers - 1) for m in (torch.nn.Linear(width, width), torch.nn.ReLU())], torch.nn.Linear(width, width)
    )


def main() -> None:
    """Print one row for each size."""
    print(f"{'':28} {'ours':>12} {'PyTorch':>12} {'ratio':>7}")
    for width, layers, batch in ((64, 4, 32), (32, 12, 32), (256, 4, 128)):
        generator = np.random.default_rng(0)
        x, y = (generator.standard_normal((batch, width)).astype(np.float32) for _ in range(2))
        ours = models.make_mlp(width, layers)
        theirs = torch_mlp(width, layers)
        ours.load_state_dict(theirs.state_dict())
        step, _ = models.nr_step(ours, models.mlp_loss)
        optimizer = torch.optim.Adam(theirs.parameters(), lr=1e-3)

        def torch_step(a, b, theirs=theirs, optimizer=optimizer):
            optimizer.zero_grad()
            loss = torch.nn.functional.mse_loss(theirs(a), b)
            loss.backward()
            optimizer.step()
            return loss

        tensors, others = (nr.tensor(x), nr.tensor(y)), (torch.tensor(x), torch.tensor(y))
        assert abs(step(*tensors).item() - torch_step(*others).item()) < 1e-4
        found = compare({"ours": lambda s=step, t=tensors: s(*t), "torch": lambda s=torch_step, t=others: s(*t)}, seconds=1.0)
        print(f"{layers:3} layers, {width:4} wide, batch {batch:4} {found['ours'] * 1e6:10.1f}us {found['torch'] * 1e6:10.1f}us {found['ours'] / found['torch']:7.3f}")


if __name__ == "__main__":
    main()
