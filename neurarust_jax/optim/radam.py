"""RAdam."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jax import lax

from .adam import check_betas
from .optimizer import Optimizer, check, check_rate, lerp, with_weight_decay

__all__ = ["RAdam"]


class RAdam(Optimizer):
    r"""Rectified Adam (Liu et al., 2020): Adam that divides by the root of the square only once its variance is tractable.

    With ``m``, ``v`` as in `Adam`, ``r = 2 / (1 - beta2) - 1`` and ``r_t = r - 2 t beta2^t / (1 - beta2^t)``: ``p = p - lr m / (1 - beta1^t)`` as long as
    ``r_t <= 5``, then the same times ``sqrt((r_t - 4)(r_t - 2) r / ((r - 4)(r - 2) r_t)) sqrt(1 - beta2^t) / (sqrt(v) + eps)``.

    Args:
        params: parameters, or dicts of parameters with options.
        lr: learning rate. Default: 1e-3.
        betas: decay of the running means of gradient and square. Default: (0.9, 0.999).
        eps: added to the denominator. Default: 1e-8.
        weight_decay: factor of the L2 penalty, added to the gradient. Default: 0.
        decoupled_weight_decay: shrink the parameters instead, as `AdamW`. Default: `False`.
        foreach, capturable, differentiable: accepted and without effect: all parameters are updated in one compiled call.
        maximize: ascend. Default: `False`.

    Examples:
        >>> import neurarust_jax as nr
        >>> p = nr.nn.Parameter(nr.tensor([1.0]))
        >>> optimizer = nr.optim.RAdam([p], lr=0.1)
        >>> (p * p).sum().backward()
        >>> optimizer.step()
        >>> p.detach()
        tensor([0.8000])
    """

    def __init__(
        self, params: Any, lr: Any = 1e-3, betas: Any = (0.9, 0.999), eps: float = 1e-8, weight_decay: float = 0, decoupled_weight_decay: bool = False, *,
        foreach: bool | None = None, maximize: bool = False, capturable: bool = False, differentiable: bool = False,
    ):  # fmt: skip
        check_rate(lr)
        check(eps >= 0.0, "epsilon value", eps)
        check_betas(betas)
        check(weight_decay >= 0.0, "weight_decay value", weight_decay)
        options = {
            "lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "maximize": maximize, "foreach": foreach, "capturable": capturable,
            "decoupled_weight_decay": decoupled_weight_decay, "differentiable": differentiable,
        }  # fmt: skip
        super().__init__(params, options)

    def _state_names(self, parameter, options):
        return "exp_avg", "exp_avg_sq"

    def _derived(self, options):
        (beta1, beta2), step = options.betas, options.step
        correction = 1 - beta2**step
        limit = 2 / (1 - beta2) - 1
        length = limit - 2 * step * beta2**step / correction
        rectified = jnp.sqrt((length - 4) * (length - 2) * limit / ((limit - 4) * (limit - 2) * length))
        return {
            "shrink": 1 - options.lr * options.weight_decay,
            "new1": 1 - beta1,
            "beta2": beta2,
            "new2": 1 - beta2,
            "correction1": 1 - beta1**step,
            "root_correction2": jnp.sqrt(correction),
            "is_long": length > 5.0,
            "rectified": rectified,
        }

    def _rule(self, parameter, gradient, state, numbers, options):
        if options.decoupled_weight_decay:
            parameter = parameter * numbers.shrink
        else:
            gradient = with_weight_decay(gradient, parameter, numbers)
        average = lerp(state["exp_avg"], gradient, "new1", numbers)
        square = numbers.beta2 * state["exp_avg_sq"] + numbers.new2 * gradient * gradient
        update = average / numbers.correction1 * numbers.lr
        adapted = update * (numbers.root_correction2 / (jnp.sqrt(square) + numbers.eps)) * numbers.rectified
        return parameter - lax.select(numbers.exact("is_long"), adapted, update), {"exp_avg": average, "exp_avg_sq": square}
