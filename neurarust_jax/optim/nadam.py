"""NAdam."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np

from .adam import check_betas
from .optimizer import Optimizer, check, check_rate, lerp, scalar_dtype, with_weight_decay

__all__ = ["NAdam"]


class NAdam(Optimizer):
    r"""Adam with Nesterov's momentum (Dozat, 2016).

    With ``mu_t = beta1 (1 - 0.96^(t * momentum_decay) / 2)`` and ``m``, ``v`` as in `Adam`:
    ``p = p - lr ((1 - mu_t) / (1 - mu_1 ... mu_t) grad + mu_(t+1) / (1 - mu_1 ... mu_(t+1)) m) / (sqrt(v / (1 - beta2^t)) + eps)``.

    Args:
        params: parameters, or dicts of parameters with options.
        lr: learning rate. Default: 2e-3.
        betas: decay of the running means of gradient and square. Default: (0.9, 0.999).
        eps: added to the denominator. Default: 1e-8.
        weight_decay: factor of the L2 penalty, added to the gradient. Default: 0.
        momentum_decay: how fast `mu` approaches `beta1`. Default: 4e-3.
        decoupled_weight_decay: shrink the parameters instead, as `AdamW`. Default: `False`.
        foreach, capturable, differentiable: accepted and without effect: all parameters are updated in one compiled call.
        maximize: ascend. Default: `False`.

    Examples:
        >>> import neurarust_jax as nr
        >>> p = nr.nn.Parameter(nr.tensor([1.0]))
        >>> optimizer = nr.optim.NAdam([p], lr=0.1)
        >>> (p * p).sum().backward()
        >>> optimizer.step()
        >>> p.detach()
        tensor([0.8944])
    """

    def __init__(
        self, params: Any, lr: Any = 2e-3, betas: Any = (0.9, 0.999), eps: float = 1e-8, weight_decay: float = 0, momentum_decay: float = 4e-3,
        decoupled_weight_decay: bool = False, *, foreach: bool | None = None, maximize: bool = False, capturable: bool = False, differentiable: bool = False,
    ):  # fmt: skip
        check_rate(lr)
        check(eps >= 0.0, "epsilon value", eps)
        check_betas(betas)
        check(weight_decay >= 0.0, "weight_decay value", weight_decay)
        check(momentum_decay >= 0.0, "momentum_decay value", momentum_decay)
        options = {
            "lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "momentum_decay": momentum_decay,
            "decoupled_weight_decay": decoupled_weight_decay, "maximize": maximize, "foreach": foreach, "capturable": capturable,
            "differentiable": differentiable,
        }  # fmt: skip
        super().__init__(params, options)

    def _state_names(self, parameter, options):
        return "mu_product", "exp_avg", "exp_avg_sq"

    def _initial_state(self, name, parameter, options):
        return jnp.ones((), scalar_dtype()) if name == "mu_product" else super()._initial_state(name, parameter, options)

    def _derived(self, options):
        beta1, beta2 = options.betas

        def mu(step):
            return beta1 * (1.0 - 0.5 * 0.96 ** (step * options.momentum_decay))

        return {
            "shrink": 1 - options.lr * options.weight_decay,
            "new1": 1 - beta1,
            "beta2": beta2,
            "new2": 1 - beta2,
            "correction": 1 - beta2**options.step,
            "mu": mu(options.step),
            "next_mu": mu(options.step + 1),
        }

    def _rule(self, parameter, gradient, state, numbers, options):
        if options.decoupled_weight_decay:
            parameter = parameter * numbers.shrink
        else:
            gradient = with_weight_decay(gradient, parameter, numbers)
        average = lerp(state["exp_avg"], gradient, "new1", numbers)
        square = numbers.beta2 * state["exp_avg_sq"] + numbers.new2 * gradient * gradient
        denominator = jnp.sqrt(square / numbers.correction) + numbers.eps
        product = state["mu_product"] * numbers.exact("mu").astype(state["mu_product"].dtype)
        exact, mu, next_mu = product.astype(np.float64), numbers.exact("mu"), numbers.exact("next_mu")
        of_gradient = (options.lr * (1 - mu) / (1 - exact)).astype(parameter.dtype)
        of_average = (options.lr * next_mu / (1 - exact * next_mu)).astype(parameter.dtype)
        parameter = parameter - of_gradient * gradient / denominator - of_average * average / denominator
        return parameter, {"mu_product": product, "exp_avg": average, "exp_avg_sq": square}
