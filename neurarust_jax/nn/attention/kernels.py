"""PyTorch's choice among kernels of `scaled_dot_product_attention`, which has no effect: the one that is best for the device is taken."""

from __future__ import annotations

import contextlib
import enum
from collections.abc import Iterator
from typing import Any

from ...errors import ArgumentTypeError

__all__ = ["SDPBackend", "sdpa_kernel"]


class SDPBackend(enum.Enum):
    """Kernels that PyTorch has."""

    ERROR = -1
    MATH = 0
    FLASH_ATTENTION = 1
    EFFICIENT_ATTENTION = 2
    CUDNN_ATTENTION = 3
    OVERRIDEABLE = 4


@contextlib.contextmanager
def sdpa_kernel(backends: Any, set_priority: bool = False) -> Iterator[None]:
    """Accepted and without effect: `scaled_dot_product_attention` takes the kernel that suits the device.

    Args:
        backends: one `SDPBackend`, or a list of them.
        set_priority: whether their order counts.

    Raises:
        TypeError: they are no backends.

    Examples:
        >>> import neurarust_jax as nr
        >>> from neurarust_jax.nn.attention import SDPBackend, sdpa_kernel
        >>> q = nr.ones(1, 2, 3, 4)
        >>> with sdpa_kernel(SDPBackend.FLASH_ATTENTION):
        ...     nr.nn.functional.scaled_dot_product_attention(q, q, q).shape
        neurarust_jax.Size([1, 2, 3, 4])
    """
    given = backends if isinstance(backends, list | tuple) else [backends]
    if not all(isinstance(b, SDPBackend) for b in given):
        raise ArgumentTypeError(f"sdpa_kernel takes an SDPBackend or a list of them, got {backends!r}")
    yield
