"""Optimizers: PyTorch's `torch.optim`, and any optax transformation."""

from .adam import Adam, AdamW
from .optax import Optax
from .optimizer import Optimizer
from .sgd import SGD

__all__ = ["SGD", "Adam", "AdamW", "Optax", "Optimizer"]
