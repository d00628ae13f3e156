"""Adam and AdamW."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from .optimizer import Optimizer, ParamGroup, check, zeros_like

__all__ = ["Adam", "AdamW"]


class Adam(Optimizer):
    r"""Adam (Kingma and Ba, 2015).

    ``m = beta1 m + (1 - beta1) grad``, ``v = beta2 v + (1 - beta2) grad^2``, ``p = p - lr / (1 - beta1^t) * m / (sqrt(v) / sqrt(1 - beta2^t) + eps)``.

    Args:
        params: parameters, or dicts of parameters with options.
        lr: learning rate. Default: 1e-3.
        betas: decay of the running means of gradient and square. Default: (0.9, 0.999).
        eps: added to the denominator. Default: 1e-8.
        weight_decay: factor of the L2 penalty, added to the gradient. Default: 0.
        amsgrad: divide by the greatest `v` so far (Reddi et al., 2018). Default: `False`.
        foreach, capturable, differentiable, fused: accepted and without effect: all parameters are updated in one compiled call.
        maximize: ascend. Default: `False`.
        decoupled_weight_decay: shrink the parameters instead, as AdamW. Default: `False`.

    Examples:
        >>> import neurarust_jax as nr
        >>> model = nr.nn.Linear(2, 1)
        >>> optimizer = nr.optim.Adam(model.parameters(), lr=0.01)
        >>> model(nr.ones(1, 2)).sum().backward()
        >>> optimizer.step()
    """

    def __init__(
        self, params: Any, lr: Any = 1e-3, betas: Any = (0.9, 0.999), eps: float = 1e-8, weight_decay: float = 0, amsgrad: bool = False, *,
        foreach: bool | None = None, maximize: bool = False, capturable: bool = False, differentiable: bool = False, fused: bool | None = None,
        decoupled_weight_decay: bool = False,
    ):  # fmt: skip
        check(lr >= 0.0, "learning rate", lr)
        check(eps >= 0.0, "epsilon value", eps)
        check(0.0 <= betas[0] < 1.0, "beta parameter at index 0", betas[0])
        check(0.0 <= betas[1] < 1.0, "beta parameter at index 1", betas[1])
        check(weight_decay >= 0.0, "weight_decay value", weight_decay)
        options = {
            "lr": float(lr), "betas": (float(betas[0]), float(betas[1])), "eps": float(eps), "weight_decay": float(weight_decay), "amsgrad": amsgrad,
            "maximize": maximize, "foreach": foreach, "capturable": capturable, "differentiable": differentiable, "fused": fused,
            "decoupled_weight_decay": decoupled_weight_decay,
        }  # fmt: skip
        super().__init__(params, options)

    def _initial_state(self, parameter: Any, group: ParamGroup) -> dict[str, Any]:
        names = ("exp_avg", "exp_avg_sq", "max_exp_avg_sq") if group["amsgrad"] else ("exp_avg", "exp_avg_sq")
        return {name: zeros_like(parameter) for name in names}

    def _rule(self, parameter, gradient, state, step, options):
        def once(name, compute, step=None):
            return options.once(name, compute, parameter, step)

        beta1, beta2 = options.betas[0], options.betas[1]
        if options.maximize:
            gradient = -gradient
        if options.weight_decay is not None:
            if options.decoupled_weight_decay:
                parameter = parameter * once("decay", lambda: 1 - options.lr * options.weight_decay)
            else:
                gradient = gradient + once("weight_decay", lambda: options.weight_decay) * parameter
        average = state["exp_avg"] + once("1 - beta1", lambda: 1 - beta1) * (gradient - state["exp_avg"])
        square = once("beta2", lambda: beta2) * state["exp_avg_sq"] + once("1 - beta2", lambda: 1 - beta2) * gradient * gradient
        new = {"exp_avg": average, "exp_avg_sq": square}
        if options.amsgrad:
            square = new["max_exp_avg_sq"] = jnp.maximum(state["max_exp_avg_sq"], square)
        step_size = once("step size", lambda: options.lr / (1 - beta1**step), step)
        denominator = jnp.sqrt(square) / once("correction", lambda: jnp.sqrt(1 - beta2**step), step) + once("eps", lambda: options.eps)
        return parameter - step_size * (average / denominator), new


class AdamW(Adam):
    r"""Adam with decoupled weight decay (Loshchilov and Hutter, 2019): ``p = p (1 - lr * weight_decay)`` before the step of Adam.

    Args:
        params: parameters, or dicts of parameters with options.
        lr: learning rate. Default: 1e-3.
        betas: decay of the running means of gradient and square. Default: (0.9, 0.999).
        eps: added to the denominator. Default: 1e-8.
        weight_decay: Default: 1e-2.
        amsgrad: divide by the greatest `v` so far (Reddi et al., 2018). Default: `False`.
        maximize: ascend. Default: `False`.
        foreach, capturable, differentiable, fused: accepted and without effect.
    """

    def __init__(
        self, params: Any, lr: Any = 1e-3, betas: Any = (0.9, 0.999), eps: float = 1e-8, weight_decay: float = 1e-2, amsgrad: bool = False, *,
        maximize: bool = False, foreach: bool | None = None, capturable: bool = False, differentiable: bool = False, fused: bool | None = None,
    ):  # fmt: skip
        super().__init__(
            params, lr, betas, eps, weight_decay, amsgrad, foreach=foreach, maximize=maximize, capturable=capturable, differentiable=differentiable,
            fused=fused, decoupled_weight_decay=True,
        )  # fmt: skip
