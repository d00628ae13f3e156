"""PyTorch: tensors without a copy, modules and state dicts both ways."""

from .convert import from_torch, from_torch_state_dict, to_torch, to_torch_state_dict

__all__ = ["from_torch", "from_torch_state_dict", "to_torch", "to_torch_state_dict"]
