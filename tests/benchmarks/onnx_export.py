"""Exported models against those that PyTorch exports: how many nodes they have, and how long ONNX Runtime takes for them on one thread.

Run: python -m tests.benchmarks.onnx_export [opset]
For each model it prints the nodes of both files, microseconds a run, and the ratio ours / PyTorch's; the two sessions take turns in one process.
"""

from __future__ import annotations

import math
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch

import neurarust_jax as nr


def mlp(nn: Any, library: Any) -> Any:
    """Three linear layers."""
    return nn.Sequential(nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 256), nn.GELU(), nn.Linear(256, 10))


def cnn(nn: Any, library: Any) -> Any:
    """Convolutions with batch normalization and pooling."""
    return nn.Sequential(
        nn.Conv2d(3, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10),
    )  # fmt: skip


def lstm(nn: Any, library: Any) -> Any:
    """A two-layer LSTM with a classifier on the last step."""

    class Classifier(nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm = nn.LSTM(32, 64, 2, batch_first=True)
            self.head = nn.Linear(64, 10)

        def forward(self, x):
            return self.head(self.lstm(x)[0][:, -1])

    return Classifier()


def encoder(nn: Any, library: Any) -> Any:
    """One transformer block."""
    return nn.TransformerEncoderLayer(64, 4, 256, activation="gelu", batch_first=True, norm_first=True)


def gpt(nn: Any, library: Any) -> Any:
    """A GPT of two blocks, as in `examples/gpt.py`."""
    attend = library.nn.functional.scaled_dot_product_attention

    class Block(nn.Module):
        def __init__(self, width, heads):
            super().__init__()
            self.heads = heads
            self.attention_norm = nn.LayerNorm(width)
            self.attention = nn.Linear(width, 3 * width)
            self.projection = nn.Linear(width, width)
            self.mlp = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

        def forward(self, x):
            batch, length, width = x.shape
            q, k, v = (
                part.reshape(batch, length, self.heads, width // self.heads).transpose(1, 2) for part in self.attention(self.attention_norm(x)).chunk(3, dim=-1)
            )
            attended = attend(q, k, v, is_causal=True)
            x = x + self.projection(attended.transpose(1, 2).reshape(batch, length, width))
            return x + self.mlp(x)

    class GPT(nn.Module):
        def __init__(self):
            super().__init__()
            self.characters = nn.Embedding(96, 64)
            self.positions = nn.Embedding(32, 64)
            self.blocks = nn.Sequential(Block(64, 4), Block(64, 4))
            self.norm = nn.LayerNorm(64)
            self.head = nn.Linear(64, 96, bias=False)
            self.head.weight = self.characters.weight

        def forward(self, characters):
            x = self.characters(characters) + self.positions(library.arange(characters.shape[1]))
            return self.head(self.norm(self.blocks(x)))

    return GPT()


def inputs() -> dict[str, tuple[Callable, np.ndarray, dict[int, str]]]:
    """For each model its maker, an input, and the dimensions that may be open."""
    random = np.random.default_rng(0)

    def normal(*shape: int) -> np.ndarray:
        return random.standard_normal(shape).astype(np.float32)

    return {
        "MLP": (mlp, normal(16, 64), {0: "batch"}),
        "CNN": (cnn, normal(4, 3, 32, 32), {0: "batch"}),
        "LSTM": (lstm, normal(4, 16, 32), {0: "batch"}),
        "transformer block": (encoder, normal(4, 16, 64), {0: "batch", 1: "length"}),
        "GPT": (gpt, random.integers(0, 96, (2, 16)), {0: "batch", 1: "length"}),
    }


def both(make: Callable, array: np.ndarray, opset: int | None, axes: dict[int, str] | None) -> tuple[onnx.ModelProto, onnx.ModelProto]:
    """Our model and PyTorch's, with the same weights; batch normalization folded, as PyTorch always does."""
    torch.manual_seed(0)
    theirs = make(torch.nn, torch).eval()
    ours = make(nr.nn, nr).eval()
    ours.load_state_dict({name: nr.tensor(value.numpy()) for name, value in theirs.state_dict().items()})
    program = nr.onnx.export(ours, (nr.tensor(array),), opset_version=opset, dynamic_shapes=None if axes is None else (axes,), fold_batch_norm=True)
    shapes = None if axes is None else ({axis: torch.export.Dim(name) for axis, name in axes.items()},)
    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
        warnings.simplefilter("ignore")
        path = Path(folder) / "theirs.onnx"
        torch.onnx.export(theirs, (torch.tensor(array),), path, opset_version=opset, dynamic_shapes=shapes, dynamo=True, verbose=False, external_data=False)
        return program.model_proto, onnx.load(path)


def nodes(model: onnx.ModelProto) -> list[str]:
    """The operators of a model's nodes."""
    return [node.op_type for node in model.graph.node]


def session(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    """A session on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def microseconds(models: tuple[onnx.ModelProto, onnx.ModelProto], array: np.ndarray, rounds: int = 400) -> list[float]:
    """The least time of a run of each model, over rounds in which they take turns."""
    sessions = [session(model) for model in models]
    feeds = [{s.get_inputs()[0].name: array} for s in sessions]
    results = [s.run(None, feed)[0] for s, feed in zip(sessions, feeds, strict=True)]
    np.testing.assert_allclose(results[0], results[1], rtol=1e-4, atol=1e-5)
    best = [math.inf] * 2
    for i in range(rounds):
        for j in (0, 1) if i % 2 else (1, 0):
            start = time.perf_counter()
            sessions[j].run(None, feeds[j])
            best[j] = min(best[j], time.perf_counter() - start)
    return [b * 1e6 for b in best]


def main(opset: int | None) -> None:
    """Print the comparison."""
    print(f"{'':28}{'nodes':>7}{'theirs':>8}{'us':>9}{'theirs':>9}{'ratio':>7}")
    for name, (make, array, axes) in inputs().items():
        for kind, open_axes in (("fixed", None), ("open", axes)):
            models = both(make, array, opset, open_axes)
            ours, theirs = microseconds(models, array)
            counts = [len(nodes(m)) for m in models]
            print(f"{name + ', ' + kind:28}{counts[0]:7}{counts[1]:8}{ours:9.1f}{theirs:9.1f}{ours / theirs:7.3f}")
            if "-v" in sys.argv:
                print("  ours  ", *nodes(models[0]))
                print("  theirs", *nodes(models[1]))


if __name__ == "__main__":
    main(next((int(a) for a in sys.argv[1:] if a.isdigit()), None))
