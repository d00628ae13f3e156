"""One row a distribution: how it is made of its parameters, their values, and values to look at."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch

import neurarust_jax as nr

THEIRS, OURS = torch.distributions, nr.distributions


class Row(NamedTuple):
    """A distribution with parameters.

    Attributes:
        name: of the class, or of the row.
        parameters: arrays by name.
        value: where the density is looked at.
        make: of the module `distributions` and tensors by name; by default the class is called with them.
        moments: whether samples are held against mean and variance: the fourth moment is finite.
        label: what the test is called by.
    """

    name: str
    parameters: dict[str, Any]
    value: Any
    make: Callable | None = None
    moments: bool = True
    label: str = ""

    def arrays(self, dtype: str = "float64") -> dict[str, np.ndarray]:
        return {name: np.asarray(value, dtype) for name, value in self.parameters.items()}

    def build(self, library: Any, tensors: dict[str, Any], **options: Any) -> Any:
        return self.make(library, **tensors, **options) if self.make else getattr(library, self.name)(**tensors, **options)

    def ours(self, dtype: str = "float64") -> Any:
        return self.build(OURS, {k: nr.tensor(v) for k, v in self.arrays(dtype).items()})

    def theirs(self, dtype: str = "float64") -> Any:
        return self.build(THEIRS, {k: torch.tensor(v) for k, v in self.arrays(dtype).items()})

    def __str__(self) -> str:
        return self.label or self.name


LOC, SCALE = [0.3, -1.2, 2.0], [0.7, 1.5, 2.2]
PROBS, LOGITS = [0.2, 0.5, 0.9], [-0.4, 0.3, 1.5]
WEIGHTS = [[0.1, 0.5, 0.4], [0.3, 0.3, 0.4]]

ROWS = [
    Row("Normal", {"loc": LOC, "scale": SCALE}, [0.1, 1.0, -2.0]),
    Row("Uniform", {"low": [0.0, -1.0, 2.0], "high": [1.0, 3.0, 2.5]}, [0.2, 2.5, 2.0]),
    Row("Bernoulli", {"probs": PROBS}, [0.0, 1.0, 1.0]),
    Row("Bernoulli", {"logits": LOGITS}, [0.0, 1.0, 1.0], label="Bernoulli-logits"),
    Row("Categorical", {"probs": WEIGHTS}, [1.0, 2.0]),
    Row("Categorical", {"logits": WEIGHTS}, [1.0, 2.0], label="Categorical-logits"),
    Row("Independent", {"loc": LOC, "scale": SCALE}, [0.1, 1.0, -2.0], lambda D, loc, scale: D.Independent(D.Normal(loc, scale), 1)),
]
