"""Ops of neural networks: what `nn.functional` names."""

# ruff: noqa: F403
import sys

from .activation import *
from .attention import *
from .convolution import *
from .dropout import *
from .embedding import *
from .linear import *
from .loss import *
from .normalization import *
from .pooling import *
from .resizing import *
from .sampling import *
from .shuffling import *

_FAMILIES = (
    "activation",
    "attention",
    "convolution",
    "dropout",
    "embedding",
    "linear",
    "loss",
    "normalization",
    "pooling",
    "resizing",
    "sampling",
    "shuffling",
)
__all__ = [name for family in _FAMILIES for name in sys.modules[f"{__name__}.{family}"].__all__]  # pyright: ignore[reportUnsupportedDunderAll]
