"""Adadelta."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from .optimizer import Optimizer, check, check_rate, with_weight_decay

__all__ = ["Adadelta"]


class Adadelta(Optimizer):
    r"""Adadelta (Zeiler, 2012).

    ``v = rho v + (1 - rho) grad^2``, ``delta = sqrt(u + eps) / sqrt(v + eps) * grad``, ``u = rho u + (1 - rho) delta^2``, ``p = p - lr * delta``.

    Args:
        params: parameters, or dicts of parameters with options.
        lr: learning rate. Default: 1.0.
        rho: decay of the running means of squares. Default: 0.9.
        eps: added under the roots. Default: 1e-6.
        weight_decay: factor of the L2 penalty, added to the gradient. Default: 0.
        foreach, capturable, differentiable: accepted and without effect: all parameters are updated in one compiled call.
        maximize: ascend. Default: `False`.

    Examples:
        >>> import neurarust_jax as nr
        >>> p = nr.nn.Parameter(nr.tensor([1.0]))
        >>> optimizer = nr.optim.Adadelta([p], eps=0.01)
        >>> (p * p).sum().backward()
        >>> optimizer.step()
        >>> p.detach()
        tensor([0.6877])
    """

    def __init__(
        self, params: Any, lr: Any = 1.0, rho: float = 0.9, eps: float = 1e-6, weight_decay: float = 0, foreach: bool | None = None, *,
        capturable: bool = False, maximize: bool = False, differentiable: bool = False,
    ):  # fmt: skip
        check_rate(lr)
        check(0.0 <= rho <= 1.0, "rho value", rho)
        check(eps >= 0.0, "epsilon value", eps)
        check(weight_decay >= 0.0, "weight_decay value", weight_decay)
        options = {
            "lr": lr, "rho": rho, "eps": eps, "weight_decay": weight_decay, "maximize": maximize, "capturable": capturable, "foreach": foreach,
            "differentiable": differentiable,
        }  # fmt: skip
        super().__init__(params, options)

    def _state_names(self, parameter, options):
        return "square_avg", "acc_delta"

    def _derived(self, options):
        return {"new": 1 - options.rho}

    def _rule(self, parameter, gradient, state, numbers, options):
        gradient = with_weight_decay(gradient, parameter, numbers)
        square = state["square_avg"] * numbers.rho + numbers.new * gradient * gradient
        delta = jnp.sqrt(state["acc_delta"] + numbers.eps) / jnp.sqrt(square + numbers.eps) * gradient
        return parameter - numbers.lr * delta, {"square_avg": square, "acc_delta": state["acc_delta"] * numbers.rho + numbers.new * delta * delta}
