"""Stochastic gradient descent."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jax import lax

from ..errors import ArgumentError
from .optimizer import Optimizer, check, check_rate, check_switches, with_weight_decay

__all__ = ["SGD"]


class SGD(Optimizer):
    r"""Stochastic gradient descent, with momentum (Sutskever et al., 2013) if asked for.

    With momentum: ``buffer = momentum * buffer + (1 - dampening) * grad``, the first buffer being the gradient itself; then ``p = p - lr * buffer``, or with `nesterov`
    ``p = p - lr * (grad + momentum * buffer)``.

    Args:
        params: parameters, or dicts of parameters with options.
        lr: learning rate. Default: 1e-3.
        momentum: Default: 0.
        dampening: of the momentum. Default: 0.
        weight_decay: factor of the L2 penalty, added to the gradient. Default: 0.
        nesterov: Nesterov's momentum. Default: `False`.
        maximize: ascend. Default: `False`.
        foreach, differentiable, fused: accepted and without effect: all parameters are updated in one compiled call.

    Examples:
        >>> import neurarust_jax as nr
        >>> p = nr.nn.Parameter(nr.tensor([1.0]))
        >>> optimizer = nr.optim.SGD([p], lr=0.1)
        >>> (p * p).sum().backward()
        >>> optimizer.step()
        >>> p.detach()
        tensor([0.8000])
    """

    _shows_steps = False

    def __init__(
        self, params: Any, lr: Any = 1e-3, momentum: float = 0, dampening: float = 0, weight_decay: Any = 0, nesterov: bool = False, *,
        maximize: bool = False, foreach: bool | None = None, differentiable: bool = False, fused: bool | None = None,
    ):  # fmt: skip
        check_rate(lr)
        check(momentum >= 0.0, "momentum value", momentum)
        check(weight_decay >= 0.0, "weight_decay value", weight_decay)
        if nesterov and (momentum <= 0 or dampening != 0):
            raise ArgumentError("Nesterov momentum requires a momentum and zero dampening")
        check_switches(fused, foreach, differentiable)
        options = {
            "lr": lr, "momentum": momentum, "dampening": dampening, "weight_decay": weight_decay, "nesterov": nesterov, "maximize": maximize,
            "foreach": foreach, "differentiable": differentiable, "fused": fused,
        }  # fmt: skip
        super().__init__(params, options)

    def _state_names(self, parameter, options):
        return ("momentum_buffer",) if options["momentum"] != 0 else ()

    def _counts_steps(self, options):
        return options["momentum"] != 0  # the first buffer is the gradient itself

    def _derived(self, options):
        return {"undampened": jnp.where(options.step == 1, 1, 1 - options.dampening)} if options.step is not None else {}

    def _rule(self, parameter, gradient, state, numbers, options):
        gradient = with_weight_decay(gradient, parameter, numbers)
        if "momentum_buffer" not in state:
            return parameter - numbers.lr * gradient, {}
        has_momentum = numbers.once("has momentum", lambda: options.momentum != 0)
        buffer = numbers.momentum * state["momentum_buffer"] + numbers.undampened * gradient  # at first it is zeros
        update = gradient + numbers.momentum * buffer if options.nesterov else lax.select(has_momentum, buffer, gradient)
        return parameter - numbers.lr * update, {"momentum_buffer": lax.select(has_momentum, buffer, state["momentum_buffer"])}
