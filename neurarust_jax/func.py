"""PyTorch's `torch.func`, by its names."""

from .nn.stateless import replace_all_batch_norm_modules_
from .ops.rearrange import rearrange
from .transforms import functional_call, grad, grad_and_value, hessian, jacfwd, jacrev, jvp, linearize, stack_module_state, value_and_grad, vjp, vmap
from .transforms.functional import debug_unwrap, functionalize

__all__ = [
    "debug_unwrap", "functional_call", "functionalize", "grad", "grad_and_value", "hessian", "jacfwd", "jacrev", "jvp", "linearize", "rearrange",
    "replace_all_batch_norm_modules_", "stack_module_state", "value_and_grad", "vjp", "vmap",
]  # fmt: skip
