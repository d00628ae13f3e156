"""Eager training steps, without `nr.jit`, against PyTorch eager on the CPU.

Run: python -m tests.benchmarks.eager_step
"""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
import torch

import neurarust_jax as nr
from tests.benchmarks.models import make_mlp, programs
from tests.benchmarks.timing import compare


def main() -> None:
    """Print one row for each program."""
    print(f"{'':28} {'ours':>12} {'PyTorch':>12} {'ratio':>7}")
    known = programs()
    cases = {}
    for width, layers, batch in ((64, 4, 32), (32, 12, 32), (256, 4, 128)):
        generator = np.random.default_rng(0)
        x, y = (generator.standard_normal((batch, width)).astype(np.float32) for _ in range(2))
        make = functools.partial(make_mlp, sizes=(width,) * (layers + 1))
        cases[f"{layers} layers, {width} wide, batch {batch}"] = dataclasses.replace(known["mlp"], make=make, optimizer=("Adam", {"lr": 1e-3}), x=x, y=y)
    cases["gpt"] = known["gpt"]
    for name, program in cases.items():
        model, step = program.ours()
        theirs = program.theirs(model.state_dict())
        tensors, others = (nr.tensor(program.x), nr.tensor(program.y)), (torch.tensor(program.x), torch.tensor(program.y))
        assert abs(step(*tensors).item() - theirs(*others).item()) < 1e-4
        found = compare({"ours": lambda s=step, t=tensors: s(*t), "torch": lambda s=theirs, t=others: s(*t)}, seconds=4.0 if name == "gpt" else 1.0)
        print(f"{name:28} {found['ours'] * 1e6:10.1f}us {found['torch'] * 1e6:10.1f}us {found['ours'] / found['torch']:7.3f}", flush=True)


if __name__ == "__main__":
    main()
