"""Rprop."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from .optimizer import Optimizer, check, check_rate

__all__ = ["Rprop"]


class Rprop(Optimizer):
    r"""Resilient backpropagation (Riedmiller and Braun, 1993), for gradients of the whole data set.

    Each element has a step size of its own, that grows by `etas[1]` where the gradient keeps its sign and shrinks by `etas[0]` where it changes, and the element
    moves by the step size against the sign of the gradient; not at all where that has just changed.

    Args:
        params: parameters, or dicts of parameters with options.
        lr: the first step size. Default: 1e-2.
        etas: factors by which step sizes shrink and grow. Default: (0.5, 1.2).
        step_sizes: the least and the greatest step size. Default: (1e-6, 50).
        capturable, foreach, differentiable: accepted and without effect: all parameters are updated in one compiled call.
        maximize: ascend. Default: `False`.

    Examples:
        >>> import neurarust_jax as nr
        >>> p = nr.nn.Parameter(nr.tensor([1.0]))
        >>> optimizer = nr.optim.Rprop([p], lr=0.1)
        >>> (p * p).sum().backward()
        >>> optimizer.step()
        >>> p.detach()
        tensor([0.9000])
    """

    def __init__(
        self, params: Any, lr: Any = 1e-2, etas: Any = (0.5, 1.2), step_sizes: Any = (1e-6, 50), *, capturable: bool = False,
        foreach: bool | None = None, maximize: bool = False, differentiable: bool = False,
    ):  # fmt: skip
        check_rate(lr)
        check(0.0 < etas[0] < 1.0 < etas[1], "eta values", f"{etas[0]}, {etas[1]}")
        options = {
            "lr": lr, "etas": etas, "step_sizes": step_sizes, "foreach": foreach, "maximize": maximize, "differentiable": differentiable,
            "capturable": capturable,
        }  # fmt: skip
        super().__init__(params, options)

    def _state_names(self, parameter, options):
        return "prev", "step_size"

    def _derived(self, options):
        return {"shrink": options.etas[0], "grow": options.etas[1], "least": options.step_sizes[0], "greatest": options.step_sizes[1]}

    def _rule(self, parameter, gradient, state, numbers, options):
        agreement = gradient * state["prev"]
        factor = jnp.where(agreement > 0, numbers.grow, jnp.where(agreement < 0, numbers.shrink, jnp.where(agreement == 0, 1, agreement)))
        size = jnp.where(options.step == 1, numbers.lr, state["step_size"])
        size = jnp.clip(size * factor, numbers.least, numbers.greatest)
        gradient = jnp.where(agreement < 0, 0, gradient)
        return parameter - jnp.sign(gradient) * size, {"prev": gradient, "step_size": size}
