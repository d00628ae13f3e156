"""Adam and AdamW."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from ..errors import ArgumentError
from .optimizer import Optimizer, check, check_rate, check_switches, lerp, with_weight_decay

__all__ = ["Adam", "AdamW"]


class Adam(Optimizer):
    r"""Adam (Kingma and Ba, 2015).

    ``m = beta1 m + (1 - beta1) grad``, ``v = beta2 v + (1 - beta2) grad^2``, ``p = p - lr / (1 - beta1^t) * m / (sqrt(v) / sqrt(1 - beta2^t) + eps)``.

    Args:
        params: parameters, or dicts of parameters with options.
        lr: learning rate. Default: 1e-3.
        betas: decay of the running means of gradient and square, both floats or both tensors. Default: (0.9, 0.999).
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
        if foreach and not capturable and hasattr(lr, "shape"):
            raise ArgumentError("lr as a Tensor is not supported for capturable=False and foreach=True")
        check_rate(lr)
        check(eps >= 0.0, "epsilon value", eps)
        check_betas(betas)
        check(weight_decay >= 0.0, "weight_decay value", weight_decay)
        tensors = [hasattr(beta, "shape") for beta in betas]
        if not all(tensors) and not all(isinstance(beta, float) for beta in betas):
            raise ArgumentError("betas must be either both floats or both Tensors")
        for i, beta in enumerate(betas if all(tensors) else ()):
            if foreach and not capturable:
                raise ArgumentError(f"betas[{i}] as a Tensor is not supported for capturable=False and foreach=True")
            if beta.numel() != 1:
                raise ArgumentError(f"Tensor betas[{i}] must be 1-element")
        check_switches(fused, foreach, differentiable)
        options = {
            "lr": lr, "betas": tuple(betas), "eps": eps, "weight_decay": weight_decay, "amsgrad": amsgrad, "maximize": maximize, "foreach": foreach,
            "capturable": capturable, "differentiable": differentiable, "fused": fused, "decoupled_weight_decay": decoupled_weight_decay,
        }  # fmt: skip
        super().__init__(params, options)

    def _state_names(self, parameter, options):
        return ("exp_avg", "exp_avg_sq", "max_exp_avg_sq") if options["amsgrad"] else ("exp_avg", "exp_avg_sq")

    def _derived(self, options):
        beta1, beta2 = options.betas
        return {
            "shrink": 1 - options.lr * options.weight_decay,
            "new1": 1 - beta1,
            "beta2": beta2,
            "new2": 1 - beta2,
            "step_size": options.lr / (1 - beta1**options.step),
            "correction": jnp.sqrt(1 - beta2**options.step),
        }

    def _rule(self, parameter, gradient, state, numbers, options):
        if options.decoupled_weight_decay:
            parameter = parameter * numbers.shrink
        else:
            gradient = with_weight_decay(gradient, parameter, numbers)
        average = lerp(state["exp_avg"], gradient, "new1", numbers)
        square = numbers.beta2 * state["exp_avg_sq"] + numbers.new2 * gradient * gradient
        new = {"exp_avg": average, "exp_avg_sq": square}
        if options.amsgrad:
            square = new["max_exp_avg_sq"] = jnp.maximum(state["max_exp_avg_sq"], square)
        denominator = jnp.sqrt(square) / numbers.correction + numbers.eps
        return parameter - numbers.step_size * average / denominator, new


class AdamW(Adam):
    r"""Adam with decoupled weight decay (Loshchilov and Hutter, 2019): ``p = p (1 - lr * weight_decay)`` before the step of Adam.

    Args:
        params: parameters, or dicts of parameters with options.
        lr: learning rate. Default: 1e-3.
        betas: decay of the running means of gradient and square, both floats or both tensors. Default: (0.9, 0.999).
        eps: added to the denominator. Default: 1e-8.
        weight_decay: Default: 1e-2.
        amsgrad: divide by the greatest `v` so far (Reddi et al., 2018). Default: `False`.
        maximize: ascend. Default: `False`.
        foreach, capturable, differentiable, fused: accepted and without effect.

    Examples:
        >>> import neurarust_jax as nr
        >>> p = nr.nn.Parameter(nr.tensor([1.0]))
        >>> optimizer = nr.optim.AdamW([p], lr=0.1, weight_decay=0.5)
        >>> (p * p).sum().backward()
        >>> optimizer.step()
        >>> p.detach()
        tensor([0.8500])
    """

    def __init__(
        self, params: Any, lr: Any = 1e-3, betas: Any = (0.9, 0.999), eps: float = 1e-8, weight_decay: float = 1e-2, amsgrad: bool = False, *,
        maximize: bool = False, foreach: bool | None = None, capturable: bool = False, differentiable: bool = False, fused: bool | None = None,
    ):  # fmt: skip
        super().__init__(
            params, lr, betas, eps, weight_decay, amsgrad, foreach=foreach, maximize=maximize, capturable=capturable, differentiable=differentiable,
            fused=fused, decoupled_weight_decay=True,
        )  # fmt: skip

    def _load_packed_states(self, pairs: Any, states: Any) -> None:
        super()._load_packed_states(pairs, states)
        for group in self.param_groups:
            group["decoupled_weight_decay"] = True  # also if the state dict is one of `Adam`


def check_betas(betas: Any) -> None:
    """Raise PyTorch's errors for decays out of their range."""
    for i in range(2):
        check(0.0 <= betas[i] < 1.0, f"beta parameter at index {i}", betas[i])
