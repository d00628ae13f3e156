"""Adagrad."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from .optimizer import Optimizer, check, check_rate, check_switches, with_weight_decay

__all__ = ["Adagrad"]


class Adagrad(Optimizer):
    r"""Adagrad (Duchi et al., 2011): ``sum = sum + grad^2``, ``p = p - lr / (1 + (t - 1) lr_decay) * grad / (sqrt(sum) + eps)``.

    Args:
        params: parameters, or dicts of parameters with options.
        lr: learning rate. Default: 1e-2.
        lr_decay: how fast the learning rate falls. Default: 0.
        weight_decay: factor of the L2 penalty, added to the gradient. Default: 0.
        initial_accumulator_value: what the sum of squares starts with. Default: 0.
        eps: added to the denominator. Default: 1e-10.
        foreach, differentiable, fused: accepted and without effect: all parameters are updated in one compiled call.
        maximize: ascend. Default: `False`.

    Examples:
        >>> import neurarust_jax as nr
        >>> p = nr.nn.Parameter(nr.tensor([1.0]))
        >>> optimizer = nr.optim.Adagrad([p], lr=0.1)
        >>> (p * p).sum().backward()
        >>> optimizer.step()
        >>> p.detach()
        tensor([0.9000])
    """

    _has_state_from_the_start = True

    def __init__(
        self, params: Any, lr: Any = 1e-2, lr_decay: float = 0, weight_decay: float = 0, initial_accumulator_value: float = 0, eps: float = 1e-10,
        foreach: bool | None = None, *, maximize: bool = False, differentiable: bool = False, fused: bool | None = None,
    ):  # fmt: skip
        check_rate(lr)
        check(lr_decay >= 0.0, "lr_decay value", lr_decay)
        check(weight_decay >= 0.0, "weight_decay value", weight_decay)
        check(initial_accumulator_value >= 0.0, "initial_accumulator_value value", initial_accumulator_value)
        check(eps >= 0.0, "epsilon value", eps)
        check_switches(fused, foreach, differentiable)
        options = {
            "lr": lr, "lr_decay": lr_decay, "eps": eps, "weight_decay": weight_decay, "initial_accumulator_value": initial_accumulator_value,
            "foreach": foreach, "maximize": maximize, "differentiable": differentiable, "fused": fused,
        }  # fmt: skip
        super().__init__(params, options)

    def _state_names(self, parameter, options):
        return ("sum",)

    def _initial_state(self, name, parameter, options):
        start = self.defaults["initial_accumulator_value"]
        return jnp.full_like(parameter._value, complex(start, start) if parameter.is_complex() else start)

    def _derived(self, options):
        return {"rate": options.lr / (1 + (options.step - 1) * options.lr_decay)}

    def _rule(self, parameter, gradient, state, numbers, options):
        gradient = with_weight_decay(gradient, parameter, numbers)
        total = state["sum"] + gradient * gradient
        return parameter - numbers.rate * gradient / (jnp.sqrt(total) + numbers.eps), {"sum": total}
