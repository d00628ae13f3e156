"""Train a small CNN on handwritten digits, save its weights, and draw what it learned.

    python examples/mnist.py                    # scikit-learn's 1,797 images of 8x8 pixels; nothing is downloaded
    python examples/mnist.py --data folder      # MNIST's IDX files, plain or .gz
    python examples/mnist.py --eager            # the same without compilation

The images come from `sklearn.datasets.load_digits`, which holds the test set of E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten
Digits", UCI Machine Learning Repository (1998).
"""

from __future__ import annotations

import argparse
import gzip
import math
import struct
import time
from pathlib import Path

import matplotlib
import numpy as np
from tqdm import tqdm

import neurarust_jax as nr
import neurarust_jax.nn.functional as F
from neurarust_jax import nn, optim
from neurarust_jax.utils.data import DataLoader, TensorDataset

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402 (after the choice of the backend)
from matplotlib.layout_engine import ConstrainedLayoutEngine  # noqa: E402

BLUE, RED, GRAY = "#2563eb", "#dc2626", "#6b7280"


# --- data ----------------------------------------------------------------------------------------------------------


def load_digits() -> tuple[np.ndarray, np.ndarray]:
    """The images (1797, 1, 8, 8) in [0, 1] and labels (1797,) that come with scikit-learn."""
    from sklearn import datasets

    digits = datasets.load_digits()
    return (digits.images[:, None] / 16).astype(np.float32), digits.target.astype(np.int64)


def read_idx(path: Path) -> np.ndarray:
    """An array from a file in MNIST's IDX format, http://yann.lecun.com/exdb/mnist."""
    content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    if len(content) < 4 or content[:3] != b"\0\0\x08":
        raise SystemExit(f"{path} is no IDX file of unsigned bytes")
    header = 4 + 4 * content[3]
    shape = struct.unpack(f">{content[3]}I", content[4:header])
    if len(content) - header != math.prod(shape):
        raise SystemExit(f"{path} is cut off: its header says {shape}, and {len(content) - header} bytes follow")
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)


def load_idx(folder: Path, part: str) -> tuple[np.ndarray, np.ndarray] | None:
    """The images and labels of `part` (`"train"` or `"t10k"`), or `None` if the folder has no such files."""
    found = []
    for name in (f"{part}-images-idx3-ubyte", f"{part}-labels-idx1-ubyte"):
        candidates = [path for path in (folder / name, folder / f"{name}.gz") if path.exists()]
        if not candidates:
            return None
        found.append(read_idx(candidates[0]))
    images, labels = found
    if images.ndim != 3 or labels.shape != images.shape[:1]:
        raise SystemExit(f"{folder}: {part} has images of shape {images.shape} and labels of shape {labels.shape}")
    return (images[:, None] / 255).astype(np.float32), labels.astype(np.int64)


def load_data(folder: str | None) -> tuple[str, TensorDataset, TensorDataset]:
    """(name, training set, held-out set). The held-out fifth of undivided data is the same in every run."""
    if folder is None:
        name, (images, labels) = "scikit-learn's digits", load_digits()
    else:
        parts = [part for part in (load_idx(Path(folder), "train"), load_idx(Path(folder), "t10k")) if part is not None]
        if len(parts) == 2:
            train, test = parts
            return "MNIST", TensorDataset(*map(nr.tensor, train)), TensorDataset(*map(nr.tensor, test))
        if not parts:
            raise SystemExit(f"{folder} has neither train-images-idx3-ubyte and train-labels-idx1-ubyte nor the t10k pair, plain or .gz")
        name, (images, labels) = "MNIST, one of its two parts", parts[0]
    order = np.random.default_rng(0).permutation(len(images))
    held_out, training = (TensorDataset(nr.tensor(images[rows]), nr.tensor(labels[rows])) for rows in np.split(order, [len(order) // 5]))
    return name, training, held_out


# --- model and training --------------------------------------------------------------------------------------------


def make_model() -> nn.Module:
    """Two convolutions and a linear layer, for gray images of any size from 2x2 on."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(4),
        nn.Flatten(),
        nn.Dropout(0.3),
        nn.Linear(32 * 4 * 4, 10),
    )


def predict(model: nn.Module, images: nr.Tensor, batch_size: int = 1000) -> np.ndarray:
    """The probabilities (N, 10) that the model gives the classes."""
    model.eval()
    with nr.no_grad():
        parts = [F.softmax(model(batch), dim=1).numpy() for batch in images.split(batch_size)]
    model.train()
    return np.concatenate(parts)


def train(training: TensorDataset, held_out: TensorDataset, epochs: int, batch_size: int, lr: float, seed: int, eager: bool) -> tuple[nn.Module, dict]:
    """Train a model. Returns it with a history: the loss of every step, the held-out accuracy after every epoch."""
    nr.manual_seed(seed)
    model = make_model()
    optimizer = optim.AdamW(model.parameters(), lr=lr, weight_decay=1e-2)
    batch_size = min(batch_size, len(training))
    loader = DataLoader(training, batch_size=batch_size, shuffle=True, drop_last=True)
    compiled = (lambda function: function) if eager else nr.jit

    @compiled
    def train_step(x, y):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    forward = compiled(model)
    images, labels = held_out.tensors
    history: dict = {"loss": [], "accuracy": []}
    steps = epochs * len(loader)
    with tqdm(total=steps * batch_size, unit=" examples", unit_scale=True, desc="training") as progress:
        for _ in range(epochs):
            for x, y in loader:
                step = len(history["loss"])
                optimizer.param_groups[0]["lr"] = lr * (1 + math.cos(math.pi * step / steps)) / 2
                history["loss"].append(train_step(x, y).item())
                progress.set_postfix(loss=f"{history['loss'][-1]:.4f}", refresh=False)
                progress.update(len(y))
            history["accuracy"].append(float((predict(forward, images).argmax(1) == labels.numpy()).mean()))
    return model, history


# --- pictures ------------------------------------------------------------------------------------------------------


def draw_learning_curve(history: dict, path: Path) -> None:
    """The loss of every step with its running mean, and the held-out accuracy after every epoch."""
    losses, accuracies = np.array(history["loss"]), 100 * np.array(history["accuracy"])
    epochs = np.arange(1, len(losses) + 1) * len(accuracies) / len(losses)
    width = max(1, len(losses) // len(accuracies))
    smooth = np.convolve(losses, np.ones(width) / width, mode="valid")
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    left.plot(epochs, losses, color=BLUE, alpha=0.25, linewidth=1, label="each step")
    left.plot(epochs[width - 1 :], smooth, color=BLUE, linewidth=2, label="mean over the last epoch")
    left.set(title="Training loss", xlabel="epoch", ylabel="cross entropy", yscale="log")
    left.legend(frameon=False)
    right.plot(range(1, len(accuracies) + 1), accuracies, color=BLUE, marker="o", markersize=4, linewidth=2)
    right.set(title=f"Held-out accuracy: {accuracies[-1]:.2f} % at the end", xlabel="epoch", ylabel="%")
    for axes in (left, right):
        axes.grid(color="#e5e7eb", linewidth=0.8)
        axes.spines[["top", "right"]].set_visible(False)
        axes.xaxis.get_major_locator().set_params(integer=True)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def draw_predictions(images: np.ndarray, labels: np.ndarray, probabilities: np.ndarray, path: Path, rows: int = 5, columns: int = 10) -> None:
    """A page of images with the class predicted and its probability: mistakes first, in red, up to half of the page, then others in the order of the data."""
    predicted = probabilities.argmax(1)
    wrong = np.flatnonzero(predicted != labels)
    shown = np.concatenate([wrong[: rows * columns // 2], np.flatnonzero(predicted == labels)])[: rows * columns]
    figure, grid = plt.subplots(rows, columns, figsize=(columns, rows * 1.3 + 0.4), layout=ConstrainedLayoutEngine(hspace=0.1))
    for axes in grid.flat:
        axes.axis("off")
    for axes, i in zip(grid.flat, shown, strict=False):
        axes.imshow(images[i, 0], cmap="gray_r", vmin=0, vmax=1)
        text, color = f"{predicted[i]}", GRAY
        if predicted[i] != labels[i]:
            text, color = f"{predicted[i]}, is {labels[i]}", RED
        axes.set_title(f"{text}  ({100 * probabilities[i, predicted[i]]:.0f} %)", fontsize=8, color=color)
    figure.suptitle(f"{len(labels)} held-out images, {len(wrong)} mistaken (in red): class predicted and its probability")
    figure.savefig(path, dpi=150)
    plt.close(figure)


# --- the program ---------------------------------------------------------------------------------------------------


def main(argv: list[str] | None = None) -> float:
    """Run the program, and return the accuracy on the held-out images."""
    parser = argparse.ArgumentParser(description="Train a small CNN on handwritten digits.")
    parser.add_argument("--data", metavar="FOLDER", help="folder with MNIST's IDX files (default: the digits that come with scikit-learn)")
    parser.add_argument("--epochs", type=int, help="passes over the training images (default: as many as make 30,000 images, at least 1)")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--lr", type=float, default=1e-2, help="learning rate at the start; it falls to 0 along a cosine")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--eager", action="store_true", help="run without compiling the training step")
    parser.add_argument("--out", default="demo_output", metavar="FOLDER", help="where to write the results (default: demo_output)")
    options = parser.parse_args(argv)

    name, training, held_out = load_data(options.data)
    epochs = options.epochs or max(1, round(30_000 / len(training)))
    images, labels = (t.numpy() for t in held_out.tensors)
    print(f"{name}: {len(training)} images to train on, {len(held_out)} held out, on {held_out.tensors[0].device}")

    start = time.perf_counter()
    model, history = train(training, held_out, epochs, options.batch_size, options.lr, options.seed, options.eager)
    seconds = time.perf_counter() - start
    accuracy = history["accuracy"][-1]
    print(f"held-out accuracy {100 * accuracy:.2f} % after {epochs} epochs in {seconds:.1f} s ({'eager' if options.eager else 'compiled'})")

    out = Path(options.out)
    out.mkdir(parents=True, exist_ok=True)
    nr.save(model.state_dict(), out / "weights.safetensors")
    reloaded = make_model()
    reloaded.load_state_dict(nr.load(out / "weights.safetensors"))
    probabilities = predict(nr.jit(reloaded), held_out.tensors[0])
    if (probabilities.argmax(1) == labels).mean() != accuracy:
        raise SystemExit("the weights that were saved and loaded again give another accuracy")
    draw_learning_curve(history, out / "learning_curve.png")
    draw_predictions(images, labels, probabilities, out / "predictions.png")
    print(f"In {out.resolve()}:")
    print("  weights.safetensors  the weights; nr.load reads them, and so does the safetensors package")
    print("  learning_curve.png   loss and held-out accuracy")
    print("  predictions.png      held-out images with the classes predicted")
    return accuracy


if __name__ == "__main__":
    main()
