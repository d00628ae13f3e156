"""Averaged stochastic gradient descent."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from .optimizer import Optimizer, check, check_rate, scalar_dtype, with_weight_decay

__all__ = ["ASGD"]


class ASGD(Optimizer):
    r"""Averaged stochastic gradient descent (Polyak and Juditsky, 1992), with the step sizes of Bottou (2010).

    ``p = (1 - lambd * eta) p - eta * grad``, then ``ax = ax + mu (p - ax)``, ``eta = lr / (1 + lambd * lr * t)^alpha`` and ``mu = 1 / max(1, t - t0)``. The
    average is kept in ``optimizer.state[p]["ax"]``.

    Args:
        params: parameters, or dicts of parameters with options.
        lr: learning rate. Default: 1e-2.
        lambd: decay of the parameters. Default: 1e-4.
        alpha: power by which the step size falls. Default: 0.75.
        t0: the step at which averaging starts. Default: 1e6.
        weight_decay: factor of the L2 penalty, added to the gradient. Default: 0.
        foreach, differentiable, capturable: accepted and without effect: all parameters are updated in one compiled call.
        maximize: ascend. Default: `False`.

    Examples:
        >>> import neurarust_jax as nr
        >>> p = nr.nn.Parameter(nr.tensor([1.0]))
        >>> optimizer = nr.optim.ASGD([p], lr=0.1, t0=0)
        >>> for _ in range(2):
        ...     optimizer.zero_grad()
        ...     (p * p).sum().backward()
        ...     optimizer.step()
        >>> p.detach(), optimizer.state[p]["ax"]
        (tensor([0.6400]), tensor([0.6400]))
    """

    def __init__(
        self, params: Any, lr: Any = 1e-2, lambd: float = 1e-4, alpha: float = 0.75, t0: float = 1e6, weight_decay: float = 0,
        foreach: bool | None = None, maximize: bool = False, differentiable: bool = False, capturable: bool = False,
    ):  # fmt: skip
        check_rate(lr)
        check(weight_decay >= 0.0, "weight_decay value", weight_decay)
        options = {
            "lr": lr, "lambd": lambd, "alpha": alpha, "t0": t0, "weight_decay": weight_decay, "foreach": foreach, "maximize": maximize,
            "differentiable": differentiable, "capturable": capturable,
        }  # fmt: skip
        super().__init__(params, options)

    def _state_names(self, parameter, options):
        return "eta", "mu", "ax"

    def _initial_state(self, name, parameter, options):
        return super()._initial_state(name, parameter, options) if name == "ax" else jnp.ones((), scalar_dtype())

    def _derived(self, options):
        return {
            "next_eta": options.lr / (1 + options.lambd * options.lr * options.step) ** options.alpha,
            "next_mu": 1 / jnp.maximum(1, options.step - options.t0),
        }

    def _rule(self, parameter, gradient, state, numbers, options):
        kept = state["eta"].dtype
        eta = jnp.where(options.step == 1, options.lr.astype(kept), state["eta"]).astype(np.float64)
        gradient = with_weight_decay(gradient, parameter, numbers)
        parameter = parameter * (1 - options.lambd * eta).astype(parameter.dtype) - eta.astype(parameter.dtype) * gradient
        mu = state["mu"].astype(parameter.dtype)
        average = lax.select(mu == 1, parameter, state["ax"] + (parameter - state["ax"]) * mu)
        return parameter, {"eta": numbers.exact("next_eta").astype(kept), "mu": numbers.exact("next_mu").astype(kept), "ax": average}
