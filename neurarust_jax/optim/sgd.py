"""Stochastic gradient descent."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from ..errors import ArgumentError
from .optimizer import Optimizer, ParamGroup, check, zeros_like

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

    def __init__(
        self, params: Any, lr: Any = 1e-3, momentum: float = 0, dampening: float = 0, weight_decay: Any = 0, nesterov: bool = False, *,
        maximize: bool = False, foreach: bool | None = None, differentiable: bool = False, fused: bool | None = None,
    ):  # fmt: skip
        check(lr >= 0.0, "learning rate", lr)
        check(momentum >= 0.0, "momentum value", momentum)
        check(weight_decay >= 0.0, "weight_decay value", weight_decay)
        if nesterov and (momentum <= 0 or dampening != 0):
            raise ArgumentError("Nesterov momentum requires a momentum and zero dampening")
        options = {
            "lr": float(lr), "momentum": float(momentum), "dampening": float(dampening), "weight_decay": float(weight_decay), "nesterov": nesterov,
            "maximize": maximize, "foreach": foreach, "differentiable": differentiable, "fused": fused,
        }  # fmt: skip
        super().__init__(params, options)

    def _initial_state(self, parameter: Any, group: ParamGroup) -> dict[str, Any]:
        return {"momentum_buffer": zeros_like(parameter)} if group["momentum"] != 0 else {}

    def _counts_steps(self, group: ParamGroup) -> bool:
        return group["momentum"] != 0  # the first buffer is the gradient itself

    def _rule(self, parameter, gradient, state, step, options):
        def once(name, compute):
            return options.once(name, compute, parameter)

        if options.maximize:
            gradient = -gradient
        if options.weight_decay is not None:
            gradient = gradient + once("weight_decay", lambda: options.weight_decay) * parameter
        if "momentum_buffer" in state:
            momentum = once("momentum", lambda: 0.0 if options.momentum is None else options.momentum)
            buffer = momentum * state["momentum_buffer"] + once("1 - dampening", lambda: 1 - options.dampening) * gradient
            buffer = jnp.where(step == 1, gradient, buffer)
            state = {"momentum_buffer": buffer}
            gradient = gradient + momentum * buffer if options.nesterov else buffer
        return parameter - once("lr", lambda: options.lr) * gradient, state

    def _state_of(self, parameter: Any) -> dict[str, Any]:
        state = super()._state_of(parameter)
        return {name: value for name, value in state.items() if name != "step"}  # PyTorch's SGD counts none
