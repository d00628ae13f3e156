"""`functional_call`, under the name that it first had in PyTorch."""

from __future__ import annotations

import warnings
from typing import Any

from ...transforms import functional

__all__ = ["functional_call"]


def functional_call(
    module: Any, parameters_and_buffers: dict[str, Any], args: Any = None, kwargs: dict[str, Any] | None = None, *, tie_weights: bool = True, strict: bool = False
) -> Any:
    """Deprecated: the same as `nr.func.functional_call`."""
    warnings.warn("`torch.nn.utils.stateless.functional_call` is deprecated in favor of `torch.func.functional_call`.", FutureWarning, stacklevel=2)
    return functional.functional_call(module, parameters_and_buffers, args, kwargs, tie_weights=tie_weights, strict=strict)
