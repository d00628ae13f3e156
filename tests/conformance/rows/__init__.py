"""The table of layers: one row a layer and setting, one file a family, each with a list `ROWS`."""

import importlib
import pkgutil
from dataclasses import dataclass, field
from typing import Any

import numpy as np

G = np.random.default_rng(0)


def normal(*shape: int) -> np.ndarray:
    """Normal numbers in single precision."""
    return G.standard_normal(shape).astype(np.float32)


IMAGE = normal(2, 4, 7, 8)


@dataclass
class Row:
    """A layer by name, its constructor's arguments, and inputs for it.

    Attributes:
        inputs: positional arguments of the call: arrays, tuples of arrays, or anything else as it is.
        call: keyword arguments of the call, likewise.
        random: draws random numbers in training, so that only shape and the share of zeros compare there.
        batch_dependent: examples of a batch influence each other in training.
        half: compared in float16 and bfloat16 too. Say beside it why not.
        loose: factor on the tolerances, for layers that add up many terms.
        mapped: compared under vmap with a loop. Say beside it why not.
    """

    name: str
    args: tuple = ()
    kwargs: dict[str, Any] = field(default_factory=dict)
    inputs: tuple = ()
    call: dict[str, Any] = field(default_factory=dict)
    random: bool = False
    batch_dependent: bool = False
    half: bool = True
    loose: float = 1.0
    mapped: bool = True

    def __str__(self) -> str:
        shapes = "-".join("x".join(map(str, x.shape)) for x in self.inputs if isinstance(x, np.ndarray))
        return f"{self.name}{self.args}{self.kwargs or ''}-{shapes}{sorted(self.call) or ''}"


def all_rows() -> list[Row]:
    """The rows of all families."""
    return [row for module in pkgutil.iter_modules(__path__) for row in importlib.import_module(f"{__name__}.{module.name}").ROWS]
