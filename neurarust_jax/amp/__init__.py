"""Mixed precision: PyTorch's `torch.amp`."""

from .autocast_mode import autocast, autocast_decorator, custom_bwd, custom_fwd, is_autocast_available
from .grad_scaler import GradScaler

__all__ = ["GradScaler", "autocast", "autocast_decorator", "custom_bwd", "custom_fwd", "is_autocast_available"]
