"""Adamax."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from .adam import check_betas
from .optimizer import Optimizer, check, check_rate, lerp, with_weight_decay

__all__ = ["Adamax"]


class Adamax(Optimizer):
    r"""Adamax, the variant of Adam with the infinity norm (Kingma and Ba, 2015, section 7.1).

    ``m = beta1 m + (1 - beta1) grad``, ``u = max(beta2 u, |grad| + eps)``, ``p = p - lr / (1 - beta1^t) * m / u``.

    Args:
        params: parameters, or dicts of parameters with options.
        lr: learning rate. Default: 2e-3.
        betas: decay of the running mean and of the norm. Default: (0.9, 0.999).
        eps: added to the gradient's magnitude. Default: 1e-8.
        weight_decay: factor of the L2 penalty, added to the gradient. Default: 0.
        foreach, differentiable, capturable: accepted and without effect: all parameters are updated in one compiled call.
        maximize: ascend. Default: `False`.

    Examples:
        >>> import neurarust_jax as nr
        >>> p = nr.nn.Parameter(nr.tensor([1.0]))
        >>> optimizer = nr.optim.Adamax([p], lr=0.1)
        >>> (p * p).sum().backward()
        >>> optimizer.step()
        >>> p.detach()
        tensor([0.9000])
    """

    def __init__(
        self, params: Any, lr: Any = 2e-3, betas: Any = (0.9, 0.999), eps: float = 1e-8, weight_decay: float = 0, foreach: bool | None = None, *,
        maximize: bool = False, differentiable: bool = False, capturable: bool = False,
    ):  # fmt: skip
        check_rate(lr)
        check(eps >= 0.0, "epsilon value", eps)
        check_betas(betas)
        check(weight_decay >= 0.0, "weight_decay value", weight_decay)
        options = {
            "lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "foreach": foreach, "maximize": maximize, "differentiable": differentiable,
            "capturable": capturable,
        }  # fmt: skip
        super().__init__(params, options)

    def _state_names(self, parameter, options):
        return "exp_avg", "exp_inf"

    def _derived(self, options):
        beta1, beta2 = options.betas
        return {"new1": 1 - beta1, "beta2": beta2, "step_size": options.lr / (1 - beta1**options.step)}

    def _rule(self, parameter, gradient, state, numbers, options):
        gradient = with_weight_decay(gradient, parameter, numbers)
        average = lerp(state["exp_avg"], gradient, "new1", numbers)
        norm = jnp.maximum(state["exp_inf"] * numbers.beta2, jnp.abs(gradient) + numbers.eps)
        return parameter - numbers.step_size * average / norm, {"exp_avg": average, "exp_inf": norm}
