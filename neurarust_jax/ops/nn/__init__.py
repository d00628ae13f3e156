"""Ops of neural networks: what `nn.functional` names."""

# ruff: noqa: F403
import sys

from .activation import *
from .adaptive_pooling import *
from .attention import *
from .convolution import *
from .cross_entropy import *
from .ctc import *
from .distance import *
from .dropout import *
from .embedding import *
from .fold import *
from .fractional_pooling import *
from .linear import *
from .loss import *
from .margin_loss import *
from .normalization import *
from .padding import *
from .pooling import *
from .resizing import *
from .sampling import *
from .shuffling import *
from .unpooling import *

_FAMILIES = (
    "activation",
    "adaptive_pooling",
    "attention",
    "convolution",
    "cross_entropy",
    "ctc",
    "distance",
    "dropout",
    "embedding",
    "fold",
    "fractional_pooling",
    "linear",
    "loss",
    "margin_loss",
    "normalization",
    "padding",
    "pooling",
    "resizing",
    "sampling",
    "shuffling",
    "unpooling",
)
__all__ = [name for family in _FAMILIES for name in sys.modules[f"{__name__}.{family}"].__all__]  # pyright: ignore[reportUnsupportedDunderAll]
