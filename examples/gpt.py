"""Train a small GPT on the characters of a text, and let it write.

    python examples/gpt.py                      # on some of the Python standard library's own sources
    python examples/gpt.py --text file.txt      # on any text file
    python examples/gpt.py --steps 2000         # longer, and better

The model is that of A. Radford et al., "Language Models are Unsupervised Multitask Learners" (2019), made small: normalization before each part,
learned positions, and one matrix as both the embedding and the output layer.
"""

from __future__ import annotations

import argparse
import math
import sysconfig
from pathlib import Path

import numpy as np
from tqdm import tqdm

import neurarust_jax as nr
import neurarust_jax.nn.functional as F
from neurarust_jax import nn, optim

STANDARD_LIBRARY = ("argparse.py", "ast.py", "collections/__init__.py", "dataclasses.py", "inspect.py", "pathlib.py", "statistics.py", "typing.py")


class Block(nn.Module):
    """Attention and a two-layer perceptron, each over normalized input and added to it."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.attention_norm = nn.LayerNorm(width)
        self.attention = nn.Linear(width, 3 * width)
        self.projection = nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x):
        batch, length, width = x.shape
        q, k, v = (
            part.reshape(batch, length, self.heads, width // self.heads).transpose(1, 2)
            for part in self.attention(self.attention_norm(x)).chunk(3, dim=-1)
        )
        attended = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.projection(attended.transpose(1, 2).reshape(batch, length, width))
        return x + self.mlp(x)


class GPT(nn.Module):
    """Logits of the next character at every position: (batch, length) integers to (batch, length, vocabulary)."""

    def __init__(self, vocabulary: int, context: int, width: int, heads: int, layers: int):
        super().__init__()
        self.characters = nn.Embedding(vocabulary, width)
        self.positions = nn.Embedding(context, width)
        self.blocks = nn.Sequential(*[Block(width, heads) for _ in range(layers)])
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocabulary, bias=False)
        self.head.weight = self.characters.weight
        for table in (self.characters, self.positions):  # PyTorch's standard deviation of 1 would make large logits of a table that is also the output
            nn.init.normal_(table.weight, std=0.1)

    def forward(self, characters):
        x = self.characters(characters) + self.positions(nr.arange(characters.shape[1]))
        return self.head(self.norm(self.blocks(x)))


class Text:
    """A text as integers, one for each character, its last tenth kept apart."""

    def __init__(self, text: str):
        self.alphabet = sorted(set(text))
        self.numbers = {character: i for i, character in enumerate(self.alphabet)}
        encoded = self.encode(text)
        self.training, self.held_out = np.split(encoded, [len(encoded) * 9 // 10])

    def encode(self, text: str) -> np.ndarray:
        """The numbers of characters; those that the text does not have are left out."""
        return np.array([self.numbers[c] for c in text if c in self.numbers], np.int64)

    def decode(self, numbers: list[int]) -> str:
        """The characters of numbers."""
        return "".join(self.alphabet[i] for i in numbers)


def read_corpus(path: str | None) -> str:
    """The text of a file, or of a few modules of the standard library."""
    if path is not None:
        return Path(path).read_text(encoding="utf-8")
    folder = Path(sysconfig.get_path("stdlib"))
    files = [folder / name for name in STANDARD_LIBRARY if (folder / name).exists()]
    return "\n\n".join(file.read_text(encoding="utf-8") for file in files)


def batches(numbers: np.ndarray, context: int, batch_size: int, seed: int):
    """Random pieces of the text without end: (inputs, the characters that follow them), both (batch_size, context)."""
    generator = np.random.default_rng(seed)
    while True:
        starts = generator.integers(0, len(numbers) - context, batch_size)
        pieces = numbers[starts[:, None] + np.arange(context + 1)]
        yield nr.tensor(pieces[:, :-1]), nr.tensor(pieces[:, 1:])


def loss_of(model: nn.Module, x, y):
    """The cross entropy of the next characters, in nats for each."""
    return F.cross_entropy(model(x).flatten(0, 1), y.flatten())


def learning_rate(step: int, steps: int, highest: float) -> float:
    """Rises over the first twentieth, then falls to a tenth along a cosine."""
    rise = min(1, 20 * (step + 1) / steps)
    return highest * rise * (0.55 + 0.45 * math.cos(math.pi * step / steps))


def write(model: nn.Module, text: Text, prompt: str, count: int, context: int, temperature: float) -> str:
    """Continue `prompt` by `count` characters drawn from the model."""

    @nr.jit
    def draw(window, length):
        logits = model(window)[0, length - 1]
        return nr.multinomial(F.softmax(logits / temperature, dim=-1), 1)

    numbers = text.encode(prompt).tolist() or [0]
    with nr.no_grad():
        for _ in range(count):
            recent = numbers[-context:]
            window = np.zeros((1, context), np.int64)  # of one length, so that one program does; what follows the text does not reach back
            window[0, : len(recent)] = recent
            numbers.append(draw(nr.tensor(window), nr.tensor(len(recent))).item())
    return text.decode(numbers)


def main(argv: list[str] | None = None) -> float:
    """Run the program, and return the loss on the held-out text."""
    parser = argparse.ArgumentParser(description="Train a small GPT on the characters of a text, and let it write.")
    parser.add_argument("--text", metavar="FILE", help="a UTF-8 text file (default: some of the Python standard library's sources)")
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--context", type=int, default=64, help="characters that the model sees")
    parser.add_argument("--width", type=int, default=96)
    parser.add_argument("--heads", type=int, default=4)
    parser.add_argument("--layers", type=int, default=3)
    parser.add_argument("--lr", type=float, default=6e-3, help="the highest learning rate")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--eager", action="store_true", help="run without compiling the training step")
    parser.add_argument("--prompt", default="def ")
    parser.add_argument("--characters", type=int, default=300, help="how many characters to write at the end")
    parser.add_argument("--temperature", type=float, default=0.8)
    options = parser.parse_args(argv)

    text = Text(read_corpus(options.text))
    if len(text.held_out) <= options.context:
        raise SystemExit(f"the text has {len(text.training) + len(text.held_out)} characters; a context of {options.context} takes more than ten times as many")
    nr.manual_seed(options.seed)
    model = GPT(len(text.alphabet), options.context, options.width, options.heads, options.layers)
    optimizer = optim.AdamW(model.parameters(), lr=options.lr, betas=(0.9, 0.99))
    print(f"{len(text.training)} characters of {len(text.alphabet)} kinds; {sum(p.numel() for p in model.parameters())} parameters")

    compiled = (lambda function: function) if options.eager else nr.jit

    @compiled
    def train_step(x, y):
        optimizer.zero_grad()
        loss = loss_of(model, x, y)
        loss.backward()
        optimizer.step()
        return loss

    pieces = batches(text.training, options.context, options.batch_size, options.seed)
    with tqdm(total=options.steps, unit=" steps", desc="training") as progress:
        for step in range(options.steps):
            optimizer.param_groups[0]["lr"] = learning_rate(step, options.steps, options.lr)
            loss = train_step(*next(pieces))
            if step % 20 == 0 or step == options.steps - 1:
                progress.set_postfix(loss=f"{loss:.3f}", refresh=False)
            progress.update()

    with nr.no_grad():
        x, y = next(batches(text.held_out, options.context, 64, options.seed))
        held_out = loss_of(model, x, y).item()
    print(f"loss {loss:.3f} at the last step, {held_out:.3f} on held-out text (nats a character)\n")
    print(write(model, text, options.prompt, options.characters, options.context, options.temperature))
    return held_out


if __name__ == "__main__":
    main()
