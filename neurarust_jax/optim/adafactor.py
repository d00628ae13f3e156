"""Adafactor."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np

from ..errors import ArgumentError
from .optimizer import Optimizer, lerp

__all__ = ["Adafactor"]


class Adafactor(Optimizer):
    r"""Adafactor (Shazeer and Stern, 2018): for a matrix it keeps means of the squared gradient over rows and over columns alone.

    With ``b = t^beta2_decay``, ``R`` and ``C`` the running means (weight `b` of the new) of ``grad^2`` over the last dimension and over the last but one, and
    ``V = R C / max(mean(R), eps1)``; of a vector, ``V`` is the running mean of ``grad^2`` itself. Then ``U = grad / sqrt(max(V, eps1^2))`` and
    ``p = (1 - lr * weight_decay) p - max(eps2, rms(p)) min(lr, 1 / sqrt(t)) U / max(1, rms(U) / d)``.

    Args:
        params: real parameters, or dicts of parameters with options.
        lr: the greatest step size, relative to the size of the parameter. Default: 1e-2.
        beta2_decay: power of the step by which the weight of a new square falls, at most 0. Default: -0.8.
        eps: ``(eps1, eps2)``: the least root of a square (`None`: the machine epsilon of the dtype), and the least size of a parameter that counts.
            Default: (None, 1e-3).
        d: updates whose root mean square is greater are clipped to it. Default: 1.0.
        weight_decay: the parameters shrink by ``lr * weight_decay`` a step. Default: 0.
        foreach: accepted and without effect: all parameters are updated in one compiled call.
        maximize: ascend. Default: `False`.

    Examples:
        >>> import neurarust_jax as nr
        >>> p = nr.nn.Parameter(nr.ones(2, 2))
        >>> optimizer = nr.optim.Adafactor([p])
        >>> (p * p).sum().backward()
        >>> optimizer.step()
        >>> p.detach()
        tensor([[0.9900, 0.9900],
                [0.9900, 0.9900]])
    """

    _takes_complex = False
    _looks_at_wholes = True

    def __init__(
        self, params: Any, lr: Any = 1e-2, beta2_decay: float = -0.8, eps: Any = (None, 1e-3), d: float = 1.0, weight_decay: float = 0.0, *,
        foreach: bool | None = None, maximize: bool = False,
    ):  # fmt: skip
        if hasattr(lr, "shape") and lr.numel() != 1:
            raise ArgumentError("Tensor lr must be 1-element")
        for holds, text in (
            (lr >= 0.0, f"Learning rate should be >= 0 but is: {lr}"),
            (beta2_decay <= 0.0, f"beta2_decay should be <= 0 but is: {beta2_decay}"),
            (eps[0] is None or eps[0] >= 0.0, f"epsilon1 should be >= 0 but is: {eps[0]}"),
            (eps[1] >= 0.0, f"epsilon2 should be >= 0 but is: {eps[1]}"),
            (d >= 1.0, f"Clipping threshold d should be >= 1 but is: {d}"),
            (weight_decay >= 0.0, f"weight_decay should be >= 0 but is: {weight_decay}"),
        ):
            if not holds:
                raise ArgumentError(text)
        options = {"lr": lr, "beta2_decay": beta2_decay, "eps": eps, "d": d, "weight_decay": weight_decay, "foreach": foreach, "maximize": maximize}
        super().__init__(params, options)

    def _state_names(self, parameter, options):
        return ("row_var", "col_var") if parameter.dim() - parameter._layer_dims > 1 else ("variance",)

    def _initial_state(self, name, parameter, options):
        averaged = {"row_var": -1, "col_var": -2}.get(name)
        value = parameter._value
        return jnp.zeros_like(value if averaged is None else value.sum(averaged, keepdims=True))

    def _derived(self, options):
        return {
            "new": options.step**options.beta2_decay,
            "relative": jnp.minimum(options.lr, 1 / jnp.sqrt(options.step)),
            "shrink": 1 - options.lr * options.weight_decay,
        }

    def _rule(self, parameter, gradient, state, numbers, options):
        least, least_size = options.eps
        least = np.float64(jnp.finfo(numbers.dtype).eps) if least is None else least
        size = _root_mean_square(parameter)
        parameter = parameter * numbers.shrink
        squares = gradient * gradient
        if gradient.ndim > 1:
            rows = lerp(state["row_var"], squares.mean(-1, keepdims=True), "new", numbers)
            columns = lerp(state["col_var"], squares.mean(-2, keepdims=True), "new", numbers)
            variance = rows * columns / jnp.maximum(rows.mean(-2, keepdims=True), jnp.asarray(least, rows.dtype))
            new = {"row_var": rows, "col_var": columns}
        else:
            variance = lerp(state["variance"], squares, "new", numbers)
            new = {"variance": variance}
        update = gradient / jnp.sqrt(jnp.maximum(variance, jnp.asarray(least * least, variance.dtype)))
        step_size = jnp.maximum(least_size, size) * numbers.exact("relative") / jnp.maximum(1.0, _root_mean_square(update) / options.d)
        return parameter - step_size.astype(parameter.dtype) * update, new


def _root_mean_square(x: Any) -> Any:
    """In float64."""
    return jnp.sqrt(jnp.sum(x * x)).astype(np.float64) / max(x.size, 1) ** 0.5
