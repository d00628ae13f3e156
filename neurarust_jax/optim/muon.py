"""Muon."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
from jax import lax

from ..errors import ArgumentError
from .optimizer import Optimizer, lerp

__all__ = ["Muon"]


class Muon(Optimizer):
    r"""Muon (Jordan, 2024, https://kellerjordan.github.io/posts/muon), for the matrices of hidden layers: momentum whose singular values are made nearly equal.

    ``buffer = momentum * buffer + (1 - momentum) grad``, `O` the matrix nearly orthogonal that some Newton-Schulz iterations in bfloat16 make of it (with
    `nesterov`, of ``(1 - momentum) grad + momentum * buffer``), then ``p = (1 - lr * weight_decay) p - rate * O``.

    Biases, embeddings and whatever else is no matrix are left to another optimizer, such as `AdamW`. Products in bfloat16 differ from machine to machine, so
    trajectories agree with PyTorch's to about two digits of the update.

    Args:
        params: real matrices, or dicts of matrices with options.
        lr: learning rate. Default: 1e-3.
        weight_decay: the parameters shrink by ``lr * weight_decay`` a step. Default: 0.1.
        momentum: Default: 0.95.
        nesterov: Nesterov's momentum. Default: `True`.
        ns_coefficients: of the polynomial ``a X + b X X^T X + c (X X^T)^2 X`` that is iterated. Default: (3.4445, -4.775, 2.0315).
        eps: the least norm that is divided by. Default: 1e-7.
        ns_steps: number of iterations, below 100. Default: 5.
        adjust_lr_fn: `rate` for a matrix of shape (A, B): ``"original"`` (also `None`): ``lr sqrt(max(1, A / B))``; ``"match_rms_adamw"`` (Liu et al., 2025):
            ``0.2 lr sqrt(max(A, B))``. Default: `None`.

    Examples:
        >>> import neurarust_jax as nr
        >>> model = nr.nn.Sequential(nr.nn.Linear(4, 4), nr.nn.Linear(4, 1))
        >>> matrices = [p for p in model.parameters() if p.ndim == 2]
        >>> others = [p for p in model.parameters() if p.ndim != 2]
        >>> optimizers = nr.optim.Muon(matrices, lr=0.02), nr.optim.AdamW(others)
        >>> model(nr.ones(1, 4)).sum().backward()
        >>> for optimizer in optimizers:
        ...     optimizer.step()
    """

    _fixed_options = ("ns_steps",)
    _shows_steps = False
    _takes_complex = False
    _looks_at_wholes = True

    def __init__(
        self, params: Any, lr: Any = 1e-3, weight_decay: float = 0.1, momentum: float = 0.95, nesterov: bool = True,
        ns_coefficients: Any = (3.4445, -4.7750, 2.0315), eps: float = 1e-7, ns_steps: int = 5, adjust_lr_fn: str | None = None,
    ):  # fmt: skip
        if hasattr(lr, "shape") and lr.numel() != 1:
            raise ArgumentError("Tensor lr must be 1-element")
        for holds, text in (
            (lr >= 0.0, f"Learning rate should be >= 0 but is: {lr}"),
            (momentum >= 0.0, f"momentum should be >= 0 but is: {momentum}"),
            (weight_decay >= 0.0, f"weight decay should be >= 0 but is: {weight_decay}"),
            (adjust_lr_fn in (None, "original", "match_rms_adamw"), f"Adjust learning rate function {adjust_lr_fn} is not supported"),
        ):
            if not holds:
                raise ArgumentError(text)
        options = {
            "lr": lr, "weight_decay": weight_decay, "momentum": momentum, "nesterov": nesterov, "ns_coefficients": ns_coefficients, "eps": eps,
            "ns_steps": ns_steps, "adjust_lr_fn": adjust_lr_fn,
        }  # fmt: skip
        super().__init__(params, options)

    def add_param_group(self, param_group: Mapping[str, Any]) -> None:
        """Add a group of matrices with options of its own."""
        super().add_param_group(param_group)
        for p in self.param_groups[-1].params:
            if p.ndim - p._layer_dims != 2:
                raise ArgumentError(f"Muon only supports 2D parameters whereas we found a parameter with size: {p.size()}")

    def _state_names(self, parameter, options):
        return ("momentum_buffer",)

    def _derived(self, options):
        return {"new": 1 - options.momentum, "shrink": 1 - options.lr * options.weight_decay}

    def _rule(self, parameter, gradient, state, numbers, options):
        buffer = lerp(state["momentum_buffer"], gradient, "new", numbers)
        update = lerp(gradient, buffer, "momentum", numbers) if options.nesterov else buffer
        update = _orthogonalized(update, options.ns_coefficients, options.ns_steps, options.eps)
        rows, columns = parameter.shape
        ratio = 0.2 * math.sqrt(max(rows, columns)) if options.adjust_lr_fn == "match_rms_adamw" else math.sqrt(max(1, rows / columns))
        rate = (options.lr * ratio).astype(parameter.dtype)
        return parameter * numbers.shrink - rate * update.astype(parameter.dtype), {"momentum_buffer": buffer}


def _orthogonalized(matrix: Any, coefficients: Any, steps: int, eps: Any) -> Any:
    """The matrix, in bfloat16, with singular values near 1, by iterations of Newton and Schulz."""
    if steps >= 100:
        raise ArgumentError("Number of steps must be less than 100 for computational efficiency")
    if len(coefficients) != 3:
        raise ArgumentError("Coefficients must be a tuple of exactly 3 values")
    a, b, c = (coefficient.astype(jnp.float32) for coefficient in coefficients)
    x = _rounded(matrix)
    x = x.T if matrix.shape[0] > matrix.shape[1] else x
    norm = _rounded(jnp.sqrt(jnp.sum(jnp.square(x.astype(jnp.float32)))))
    x = _rounded(x.astype(jnp.float32) / jnp.maximum(norm, _rounded(eps)).astype(jnp.float32))
    for _ in range(steps):
        gram = _rounded(_product(x, x.T))
        polynomial = _rounded(b * gram + c * _product(gram, gram))
        x = _rounded(a * x + _product(polynomial, x))
    return x.T if matrix.shape[0] > matrix.shape[1] else x


def _rounded(x: Any) -> Any:
    """In bfloat16; XLA, left alone, would keep the digits of float32 between operations that it fuses."""
    return lax.reduce_precision(x.astype(jnp.float32), 8, 7).astype(jnp.bfloat16)


def _product(x: Any, y: Any) -> Any:
    return jnp.matmul(x, y, preferred_element_type=jnp.float32)
