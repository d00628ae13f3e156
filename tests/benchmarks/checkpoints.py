"""Saving and loading a state dict of 200 MB, against `torch.save`, `torch.load` and the package safetensors; and the memory that loading takes.

Our saves wait until the file is on the disk (`fsync`), so the others are made to wait as well. Files are in the system's cache when they are read.
The memory is read from /proc, which Linux has.

Run: python -m tests.benchmarks.checkpoints
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

MEGABYTES, TENSORS = 200, 50


def _least(functions: dict[str, Callable[[], Any]], rounds: int = 7) -> dict[str, float]:
    """The least seconds of each function, in turns."""
    best = dict.fromkeys(functions, float("inf"))
    for _ in range(rounds):
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            best[name] = min(best[name], time.perf_counter() - start)
    return best


def _synced(path: Path, save: Callable[[Any], None]) -> None:
    save(path)
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _loaded(tensors: Any) -> None:
    import jax

    jax.block_until_ready([t._value for t in tensors.values()])


MEMORY = """
import re, sys
kind, path = sys.argv[1:]
peak = lambda: int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) / 1024
if kind.startswith("ours"):
    import jax, neurarust_jax as nr
    jax.block_until_ready(nr.ones(1)._value)
    load = lambda: [jax.block_until_ready(t._value) for t in nr.load(path, mmap=kind.endswith("mmap")).values()]
elif kind == "torch":
    import torch
    load = lambda: torch.load(path, weights_only=True)
else:
    import torch
    from safetensors.torch import load_file
    load = lambda: load_file(path)
before = peak()
kept = load()
print(peak() - before)
"""


def main() -> None:
    """Print seconds, and ratios to the others."""
    import numpy as np
    import safetensors.torch
    import torch

    import neurarust_jax as nr

    rows = MEGABYTES * 250_000 // TENSORS // 1000
    arrays = {f"layer{i}.weight": np.random.default_rng(i).standard_normal((rows, 1000), np.float32) for i in range(TENSORS)}
    ours = {name: nr.tensor(array) for name, array in arrays.items()}
    theirs = {name: torch.from_numpy(array) for name, array in arrays.items()}
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        a, b, c, d = (Path(folder) / name for name in ("ours.pt", "theirs.pt", "ours.safetensors", "theirs.safetensors"))
        results["save"] = _least({
            "nr.save .pt": lambda: nr.save(ours, a),
            "torch.save": lambda: _synced(b, lambda path: torch.save(theirs, path)),
            "nr.save .safetensors": lambda: nr.save(ours, c),
            "safetensors save_file": lambda: _synced(d, lambda path: safetensors.torch.save_file(theirs, path)),
        })  # fmt: skip
        results["load"] = _least({
            "nr.load .pt": lambda: _loaded(nr.load(a)),
            "nr.load .pt mmap": lambda: _loaded(nr.load(a, mmap=True)),
            "torch.load": lambda: torch.load(b, weights_only=True),
            "nr.load .safetensors": lambda: _loaded(nr.load(c)),
            "safetensors load_file": lambda: {name: t.clone() for name, t in safetensors.torch.load_file(d).items()},  # it maps, and reads when used
        })  # fmt: skip
        memory = {}
        for kind, path in (("ours", a), ("ours", c), ("ours mmap", a), ("torch", b), ("safetensors", d)):
            done = subprocess.run([sys.executable, "-c", MEMORY, kind, str(path)], capture_output=True, text=True, check=True)
            memory[f"{kind} {path.suffix}"] = float(done.stdout)
    for what, seconds in results.items():
        for name, value in seconds.items():
            print(f"{what}  {name:24} {value * 1000:8.1f} ms")
    for what, mine, other in (
        ("save", "nr.save .pt", "torch.save"), ("save", "nr.save .safetensors", "safetensors save_file"), ("load", "nr.load .pt", "torch.load"),
        ("load", "nr.load .safetensors", "safetensors load_file"),
    ):  # fmt: skip
        print(f"{mine} / {other}: {results[what][mine] / results[what][other]:.2f}")
    print("memory that loading adds at most, MB:", json.dumps({name: round(value) for name, value in memory.items()}))


if __name__ == "__main__":
    main()
