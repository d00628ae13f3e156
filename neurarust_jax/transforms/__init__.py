"""Function transformations: PyTorch's `torch.func` and JAX's own, over Tensors, Modules and any pytree, with cells lifted."""

from .derivatives import grad, grad_and_value, hessian, jacfwd, jacrev, jvp, linearize, value_and_grad, vjp
from .functional import functional_call, stack_module_state
from .jit import compile, jit
from .vectorize import vmap

__all__ = [
    "compile", "functional_call", "grad", "grad_and_value", "hessian", "jacfwd", "jacrev", "jit", "jvp", "linearize", "stack_module_state", "value_and_grad", "vjp",
    "vmap",
]  # fmt: skip
