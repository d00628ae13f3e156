"""PyTorch's `torch.func`, by its names."""

from .nn.stateless import replace_all_batch_norm_modules_
from .ops.rearrange import rearrange
from .transforms import (
    Exported, associative_scan, checkpoint, checkpoint_name, checkpoint_sequential, cond, custom_jvp, custom_vjp, export, fori_loop, functional_call,
    grad, grad_and_value, hessian, io_callback, jacfwd, jacrev, jvp, linearize, map, pure_callback, remat, scan, stack_module_state, switch,
    value_and_grad, vjp, vmap, while_loop,
)  # fmt: skip
from .transforms.functional import debug_unwrap, functionalize

__all__ = [
    "Exported", "associative_scan", "checkpoint", "checkpoint_name", "checkpoint_sequential", "cond", "custom_jvp", "custom_vjp", "debug_unwrap",
    "export", "fori_loop", "functional_call", "functionalize", "grad", "grad_and_value", "hessian", "io_callback", "jacfwd", "jacrev", "jvp",
    "linearize", "map", "pure_callback", "rearrange", "remat", "replace_all_batch_norm_modules_", "scan", "stack_module_state", "switch",
    "value_and_grad", "vjp", "vmap", "while_loop",
]  # fmt: skip
