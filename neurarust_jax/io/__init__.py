"""Files: tensors and nested objects on disk, and checkpoints of whole training states."""

from .checkpoint import Checkpoint, Checkpointer
from .files import load, open, save
from .safetensors import TensorFile

__all__ = ["Checkpoint", "Checkpointer", "TensorFile", "load", "open", "save"]
