"""Matrix products."""

from __future__ import annotations

import jax.numpy as jnp

from ...ops.matmul import multiply
from ..registry import handler
from ..values import apply


@handler("MatMul")
def matmul(node, a, b):
    return apply(multiply, a, b)


@handler("Gemm")
def gemm(node, a, b, c=None):
    named = {"alpha": float(node.get("alpha", 1.0)), "beta": float(node.get("beta", 1.0))}
    return apply(_gemm, a, b, c, flips_a=bool(node.get("transA", 0)), flips_b=bool(node.get("transB", 0)), **named)


def _gemm(a, b, c, alpha, beta, flips_a, flips_b):
    product = multiply(a.T if flips_a else a, b.T if flips_b else b)
    result = product if alpha == 1 else (jnp.asarray(alpha, _factor_dtype(a)) * product).astype(a.dtype)
    if c is None or beta == 0:
        return result
    return result + (c if beta == 1 else (jnp.asarray(beta, _factor_dtype(a)) * c).astype(a.dtype))


def _factor_dtype(x):
    """Integers are multiplied by a factor as numbers with a fraction."""
    return jnp.float64 if x.dtype.kind in "iu" else x.dtype
