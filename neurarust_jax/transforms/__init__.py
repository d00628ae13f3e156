"""Function transformations: PyTorch's `torch.func` and JAX's own, over Tensors, Modules and any pytree, with cells lifted."""

from .checkpoint import checkpoint, checkpoint_name, checkpoint_sequential, remat
from .control_flow import cond, switch, while_loop
from .custom import custom_jvp, custom_vjp
from .derivatives import grad, grad_and_value, hessian, jacfwd, jacrev, jvp, linearize, value_and_grad, vjp
from .functional import functional_call, stack_module_state
from .jit import compile, jit
from .loops import associative_scan, fori_loop, map, scan
from .vectorize import vmap

__all__ = [
    "associative_scan", "checkpoint", "checkpoint_name", "checkpoint_sequential", "compile", "cond", "custom_jvp", "custom_vjp", "fori_loop", "functional_call", "grad",
    "grad_and_value", "hessian", "jacfwd", "jacrev", "jit", "jvp", "linearize", "map", "remat", "scan", "stack_module_state", "switch", "value_and_grad", "vjp", "vmap", "while_loop",
]  # fmt: skip
