"""PyTorch's `torch.utils.checkpoint`, by its names."""

from ..transforms.checkpoint import checkpoint, checkpoint_sequential, noop_context_fn
from ..transforms.selective import CheckpointPolicy, SelectiveCheckpointContext, create_selective_checkpoint_contexts

__all__ = [
    "CheckpointPolicy", "SelectiveCheckpointContext", "checkpoint", "checkpoint_sequential", "create_selective_checkpoint_contexts", "noop_context_fn",
    "set_checkpoint_debug_enabled", "set_checkpoint_early_stop",
]  # fmt: skip


class set_checkpoint_early_stop:  # noqa: N801 (PyTorch's name)
    """Context manager that is accepted and without effect: what is not needed is never computed again.

    Args:
        enable: accepted.
    """

    def __init__(self, enable: bool):
        self.enable = enable

    def __enter__(self) -> None:
        pass

    def __exit__(self, *exception: object) -> None:
        pass


class set_checkpoint_debug_enabled(set_checkpoint_early_stop):  # noqa: N801
    """Context manager that is accepted and without effect.

    Args:
        enabled: accepted.
    """

    def __init__(self, enabled: bool | None):
        super().__init__(bool(enabled))
