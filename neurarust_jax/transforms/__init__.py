"""Function transformations: PyTorch's `torch.func` and JAX's own, over Tensors, Modules and any pytree, with cells lifted."""

from .callbacks import io_callback, pure_callback
from .checkpoint import checkpoint, checkpoint_name, checkpoint_sequential, remat
from .control_flow import cond, switch, while_loop
from .custom import custom_jvp, custom_vjp
from .derivatives import grad, grad_and_value, hessian, jacfwd, jacrev, jvp, linearize, value_and_grad, vjp
from .export import Exported, export
from .functional import functional_call, stack_module_state
from .jit import compile, jit
from .loops import associative_scan, fori_loop, map, scan
from .vectorize import vmap
from . import torchscript  # gives `jit` TorchScript's names

__all__ = [
    "Exported", "associative_scan", "checkpoint", "checkpoint_name", "checkpoint_sequential", "compile", "cond", "custom_jvp", "custom_vjp", "export", "fori_loop",
    "functional_call", "grad", "grad_and_value", "hessian", "io_callback", "jacfwd", "jacrev", "jit", "jvp", "linearize", "map", "pure_callback", "remat", "scan",
    "stack_module_state", "switch", "value_and_grad", "vjp", "vmap", "while_loop",
]  # fmt: skip
