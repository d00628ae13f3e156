"""What JAX's primitives become in ONNX, one file a family: for ops without a converter, and for code in `jax.numpy`.

A file registers functions under `@primitive` of `lowering`. Each takes the `Lowering` (its `graph` to write into, `run_closed` for a jaxpr inside, `within` for the graph of a
branch or loop body), the equation, and the values of its inputs; it returns the values of its outputs.
"""

import importlib
import pkgutil


def load_all() -> None:
    """Register the functions of all families."""
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")
