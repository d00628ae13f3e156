"""RMSprop."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jax import lax

from .optimizer import Optimizer, check, check_rate, lerp, with_weight_decay

__all__ = ["RMSprop"]


class RMSprop(Optimizer):
    r"""RMSprop (Hinton, lecture 6e of "Neural Networks for Machine Learning", 2012; centered: Graves, 2013).

    ``v = alpha v + (1 - alpha) grad^2``, ``p = p - lr * grad / (sqrt(v) + eps)``. Centered, ``v - g^2`` stands for ``v``, where ``g = alpha g + (1 - alpha) grad``.
    With momentum: ``buffer = momentum * buffer + grad / (sqrt(v) + eps)``, ``p = p - lr * buffer``.

    Args:
        params: parameters, or dicts of parameters with options.
        lr: learning rate. Default: 1e-2.
        alpha: decay of the running mean of squares. Default: 0.99.
        eps: added to the denominator. Default: 1e-8.
        weight_decay: factor of the L2 penalty, added to the gradient. Default: 0.
        momentum: Default: 0.
        centered: divide by an estimate of the standard deviation. Default: `False`.
        capturable, foreach, differentiable: accepted and without effect: all parameters are updated in one compiled call.
        maximize: ascend. Default: `False`.

    Examples:
        >>> import neurarust_jax as nr
        >>> p = nr.nn.Parameter(nr.tensor([1.0]))
        >>> optimizer = nr.optim.RMSprop([p], lr=0.01)
        >>> (p * p).sum().backward()
        >>> optimizer.step()
        >>> p.detach()
        tensor([0.9000])
    """

    def __init__(
        self, params: Any, lr: Any = 1e-2, alpha: float = 0.99, eps: float = 1e-8, weight_decay: float = 0, momentum: float = 0, centered: bool = False,
        capturable: bool = False, foreach: bool | None = None, maximize: bool = False, differentiable: bool = False,
    ):  # fmt: skip
        check_rate(lr)
        check(eps >= 0.0, "epsilon value", eps)
        check(momentum >= 0.0, "momentum value", momentum)
        check(weight_decay >= 0.0, "weight_decay value", weight_decay)
        check(alpha >= 0.0, "alpha value", alpha)
        options = {
            "lr": lr, "momentum": momentum, "alpha": alpha, "eps": eps, "centered": centered, "weight_decay": weight_decay, "capturable": capturable,
            "foreach": foreach, "maximize": maximize, "differentiable": differentiable,
        }  # fmt: skip
        super().__init__(params, options)

    def _state_names(self, parameter, options):
        return ("square_avg", *(["momentum_buffer"] if options["momentum"] > 0 else ()), *(["grad_avg"] if options["centered"] else ()))

    def _derived(self, options):
        return {"new": 1 - options.alpha}

    def _rule(self, parameter, gradient, state, numbers, options):
        gradient = with_weight_decay(gradient, parameter, numbers)
        square = state["square_avg"] * numbers.alpha + numbers.new * gradient * gradient
        new = {"square_avg": square}
        if options.centered:
            mean = new["grad_avg"] = lerp(state["grad_avg"], gradient, "new", numbers)
            square = square - mean * mean
        root = jnp.sqrt(square) + numbers.eps
        plain = parameter - numbers.lr * gradient / root
        if "momentum_buffer" not in state:
            return plain, new
        buffer = state["momentum_buffer"] * numbers.momentum + gradient / root
        has_momentum = numbers.once("has momentum", lambda: options.momentum > 0)
        new["momentum_buffer"] = lax.select(has_momentum, buffer, state["momentum_buffer"])
        return lax.select(has_momentum, parameter - numbers.lr * buffer, plain), new
