"""The functional interface, PyTorch's `torch.nn.functional`: it names what `neurarust_jax.ops` defines.

Examples:
    >>> import neurarust_jax as nr
    >>> import neurarust_jax.nn.functional as F
    >>> F.relu(nr.tensor([-1.0, 2.0]))
    tensor([0., 2.])
"""

# ruff: noqa: F403
from ..ops import nn as _families
from ..ops.elementwise import sigmoid, tanh
from ..ops.nn import *

__all__ = [*_families.__all__, "sigmoid", "tanh"]  # pyright: ignore[reportUnsupportedDunderAll]
