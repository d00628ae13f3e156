"""L-BFGS, with and without a line search.

It decides after every evaluation how to go on, so it runs in Python: its vectors are arrays, its scalars NumPy's, which keep to the dtype of the parameters as
PyTorch's do. Compile the closure, where the work is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .. import cells, dtypes
from ..autograd.graph import enable_grad
from ..errors import ArgumentError, OptimizerError, TracedValueError
from ..tensor import Tensor, array_from, wrap
from .optimizer import Optimizer, check_rate

__all__ = ["LBFGS"]


class LBFGS(Optimizer):
    r"""Limited-memory BFGS (Nocedal, 1980), after M. Schmidt's minFunc.

    A step runs up to `max_iter` iterations: each multiplies the gradient by an estimate of the inverse Hessian, made of the last `history_size` differences of
    parameters and gradients, and goes that way, by `lr` or by a line search for the strong Wolfe conditions (Nocedal and Wright, "Numerical Optimization",
    algorithms 3.5 and 3.6).

    All parameters are in one group. A step cannot stand inside `nr.jit`, for it decides in Python how often to evaluate the loss; compile the closure instead.

    Args:
        params: parameters.
        lr: the length of a step, or the line search's first guess at it. Default: 1.
        max_iter: iterations of a step. Default: 20.
        max_eval: evaluations of a step. Default: ``max_iter * 5 // 4``.
        tolerance_grad: a step ends when no element of the gradient is greater. Default: 1e-7.
        tolerance_change: a step ends when the parameters or the loss change by less. Default: 1e-9.
        history_size: how many differences are kept. Default: 100.
        line_search_fn: ``"strong_wolfe"`` or `None`. Default: `None`.

    Examples:
        >>> import neurarust_jax as nr
        >>> p = nr.nn.Parameter(nr.tensor([-1.0, 2.0]))
        >>> optimizer = nr.optim.LBFGS([p], line_search_fn="strong_wolfe")
        >>> @nr.jit
        ... def closure():
        ...     optimizer.zero_grad()
        ...     loss = (1 - p[0]) ** 2 + 100 * (p[1] - p[0] ** 2) ** 2
        ...     loss.backward()
        ...     return loss
        >>> for _ in range(3):
        ...     loss = optimizer.step(closure)
        >>> nr.allclose(p, nr.ones(2), atol=1e-3)
        True
    """

    def __init__(
        self, params: Any, lr: Any = 1, max_iter: int = 20, max_eval: int | None = None, tolerance_grad: float = 1e-7, tolerance_change: float = 1e-9,
        history_size: int = 100, line_search_fn: str | None = None,
    ):  # fmt: skip
        check_rate(lr)
        options = {
            "lr": lr, "max_iter": max_iter, "max_eval": max_iter * 5 // 4 if max_eval is None else max_eval, "tolerance_grad": tolerance_grad,
            "tolerance_change": tolerance_change, "history_size": history_size, "line_search_fn": line_search_fn,
        }  # fmt: skip
        super().__init__(params, options)
        if len(self.param_groups) != 1:
            raise ArgumentError("LBFGS doesn't support per-parameter options (parameter groups)")

    def step(self, closure: Callable[[], Any]) -> Any:  # type: ignore[override]
        """Run up to `max_iter` iterations.

        Args:
            closure: drops the gradients, computes the loss anew, with `backward()`, and returns it.

        Returns:
            What `closure` returned first.

        Raises:
            RuntimeError: inside `nr.jit`, or `line_search_fn` is another one.
        """
        if cells.current_trace() is not None:
            raise TracedValueError(
                "LBFGS.step decides in Python, by the values of the loss, how often to call its closure, and inside nr.jit there are no values yet. Compile the "
                "closure, and call optimizer.step(closure) outside."
            )
        with dtypes.x64(), np.errstate(all="ignore"):
            return self._minimize(closure)

    def _minimize(self, closure: Callable[[], Any]) -> Any:
        options = self.param_groups[0].present()
        lr, max_iter, max_eval, tolerance_change = _scalar(options["lr"]), options["max_iter"], options["max_eval"], options["tolerance_change"]
        evaluations = 0

        def evaluate() -> tuple[Any, Any, Any]:
            """(loss, flat gradient, its greatest element)"""
            nonlocal evaluations
            evaluations += 1
            with enable_grad():
                loss = closure()
            gradient, greatest = self._flat_gradient()
            return loss, gradient, _scalar(greatest)

        def loss_at(start: list[Any], t: Any, direction: Any) -> tuple[float, Any]:
            self._write(_moved(start, t, direction))
            loss, gradient, _ = evaluate()
            return float(loss), gradient

        state = self.state[self.param_groups[0].params[0]]
        memory = _Memory(state, options["history_size"])
        calls = state.setdefault("func_evals", 0)
        state.setdefault("n_iter", 0)
        first_loss, gradient, greatest = evaluate()
        state["func_evals"] = calls + 1
        loss = float(first_loss)
        if greatest <= options["tolerance_grad"]:
            return first_loss
        for iteration in range(1, max_iter + 1):
            state["n_iter"] += 1
            first = state["n_iter"] == 1
            memory.find_direction(gradient, first)
            direction, previous_loss = memory.direction, loss
            size = 1.0 / _scalar(jnp.abs(gradient).sum()) if first else 1.0
            memory.t = t = min(1.0, size) * lr if first else lr
            slope = _scalar(_dot(gradient, direction))
            if slope > -tolerance_change:
                memory.loss = previous_loss
                break
            start = self._read()
            if options["line_search_fn"] == "strong_wolfe":
                search = lambda t, start=start, direction=direction: loss_at(start, t, direction)  # noqa: E731
                size = _scalar(jnp.abs(direction).max())
                tries = max_eval - evaluations
                loss, gradient, t = _strong_wolfe(search, t, direction, loss, gradient, slope, size, tries)
                self._write(_moved(start, t, direction))
                greatest = _scalar(jnp.abs(gradient).max())
            elif options["line_search_fn"] is None:
                self._write(_moved(start, t, direction))
                if iteration != max_iter:  # of the last iteration the loss would not be used
                    loss, gradient, greatest = evaluate()
                    loss = float(loss)
            else:
                raise OptimizerError(f"only 'strong_wolfe' is supported as line_search_fn, got {options['line_search_fn']!r}")
            memory.t, memory.loss = t, previous_loss
            state["func_evals"] = calls + evaluations
            if evaluations >= max_eval or greatest <= options["tolerance_grad"]:
                break
            if _scalar(jnp.abs(_scaled(direction, t)).max()) <= tolerance_change or abs(loss - previous_loss) < tolerance_change:
                break
        memory.keep()
        return first_loss

    # --- parameters and gradients as one vector --------------------------------------------------------------------

    def _read(self) -> list[Any]:
        return [p._read() for p in self.param_groups[0].params]

    def _write(self, values: list[Any]) -> None:
        cells.write_all(self.param_groups[0].params, values)

    def _flat_gradient(self) -> tuple[Any, Any]:
        gradients = [p.grad for p in self.param_groups[0].params]
        return _flattened([jnp.zeros_like(p) if g is None else g._value for p, g in zip(self._read(), gradients, strict=True)])


class _Memory:
    """The state of PyTorch's L-BFGS, taken out of a `ParameterState` for a step and put back after it."""

    def __init__(self, state: Any, size: int):
        self.state = state
        self.size = size
        self.direction: Any = _raw(state.get("d"))
        self.t: Any = _scalar(state.get("t"))
        self.gradient: Any = _raw(state.get("prev_flat_grad"))
        self.scale: Any = _raw(state.get("H_diag"))
        self.loss: Any = state.get("prev_loss")
        self.of_gradients: list[Any] = _raw(state.get("old_dirs", []))
        self.of_parameters: list[Any] = _raw(state.get("old_stps", []))
        self.inverses: list[Any] = _raw(state.get("ro", []))
        self.factors: list[Any] | None = _raw(state.get("al"))

    def find_direction(self, gradient: Any, first: bool) -> None:
        """Take in a new gradient, and multiply it by the inverse Hessian's estimate: the recursion in two loops."""
        if first:
            self.direction, self.of_gradients, self.of_parameters, self.inverses, self.scale = -gradient, [], [], [], 1
        else:
            y, s, ys, scale = _differences(gradient, self.gradient, self.direction, self.t)
            if _scalar(ys) > 1e-10:
                if len(self.of_gradients) == self.size:
                    for history in (self.of_gradients, self.of_parameters, self.inverses):
                        history.pop(0)
                self.of_gradients.append(y)
                self.of_parameters.append(s)
                self.inverses.append(1.0 / ys)
                self.scale = scale
            self.factors = self.factors or [None] * self.size
            direction = -gradient
            count = len(self.of_gradients)
            for i in reversed(range(count)):
                self.factors[i], direction = _backward(direction, self.of_parameters[i], self.of_gradients[i], self.inverses[i])
            direction = _scaled(direction, self.scale)
            for i in range(count):
                direction = _forward(direction, self.of_parameters[i], self.of_gradients[i], self.inverses[i], self.factors[i])
            self.direction = direction
        self.gradient = gradient

    def keep(self) -> None:
        """Put all into the state, by PyTorch's names."""
        self.state.update(
            d=wrap(self.direction), t=_wrapped(self.t), old_dirs=_wrapped(self.of_gradients), old_stps=_wrapped(self.of_parameters), ro=_wrapped(self.inverses),
            H_diag=_wrapped(self.scale), prev_flat_grad=wrap(self.gradient), prev_loss=self.loss,
        )  # fmt: skip
        if self.factors is not None:
            self.state["al"] = _wrapped(self.factors)


def _scalar(x: Any) -> Any:
    """A 0-d tensor or array as a NumPy scalar; a Python number as it is."""
    x = x._value if isinstance(x, Tensor) else x
    return np.asarray(x).reshape(())[()] if isinstance(x, jax.Array) else x


def _raw(x: Any) -> Any:
    if isinstance(x, list | tuple):
        return [_raw(element) for element in x]
    return x._value if isinstance(x, Tensor) else x


def _wrapped(x: Any) -> Any:
    if isinstance(x, list):
        return [_wrapped(element) for element in x]
    return wrap(array_from(x)) if isinstance(x, jax.Array | np.generic) and not isinstance(x, float) else x


# --- vector arithmetic, each function one compiled call ------------------------------------------------------------


@jax.jit
def _flattened(gradients: list[Any]) -> tuple[Any, Any]:
    """(all in one vector, complex ones as pairs; the greatest magnitude in it)"""
    flat = jnp.concatenate([(jnp.stack([g.real, g.imag], -1) if jnp.iscomplexobj(g) else g).reshape(-1) for g in gradients])
    return flat, jnp.abs(flat).max()


@jax.jit
def _moved(values: list[Any], t: Any, direction: Any) -> list[Any]:
    """The parameters after a step of length `t`."""
    moved, offset = [], 0
    for value in values:
        is_complex = jnp.iscomplexobj(value)
        length = value.size * (2 if is_complex else 1)
        part = direction[offset : offset + length]
        part = jax.lax.complex(part[::2], part[1::2]) if is_complex else part
        moved.append(value + (jnp.asarray(t).astype(value.real.dtype) * part.reshape(value.shape)).astype(value.dtype))
        offset += length
    return moved


@jax.jit
def _dot(x: Any, y: Any) -> Any:
    return jnp.vdot(x, y, precision=jax.lax.Precision.HIGHEST)


@jax.jit
def _scaled(x: Any, factor: Any) -> Any:
    return x * jnp.asarray(factor).astype(x.dtype)


@jax.jit
def _differences(gradient: Any, previous: Any, direction: Any, t: Any) -> tuple[Any, Any, Any, Any]:
    """(difference of gradients, of parameters, their product, the scale of the inverse Hessian)"""
    y, s = gradient - previous, _scaled(direction, t)
    ys = _dot(y, s)
    return y, s, ys, ys / _dot(y, y)


@jax.jit
def _backward(direction: Any, s: Any, y: Any, inverse: Any) -> tuple[Any, Any]:
    factor = _dot(s, direction) * inverse
    return factor, direction - factor * y


@jax.jit
def _forward(direction: Any, s: Any, y: Any, inverse: Any, factor: Any) -> Any:
    return direction + (factor - _dot(y, direction) * inverse) * s


# --- the line search -----------------------------------------------------------------------------------------------


def _strong_wolfe(search: Callable, t: Any, direction: Any, f: Any, g: Any, slope: Any, size: Any, tries: int) -> tuple[Any, Any, Any]:
    """A step length that fulfils the strong Wolfe conditions: (loss there, gradient there, length).

    Args:
        search: gives loss and gradient at a length.
        t: the first guess.
        direction: of the search.
        f, g, slope: loss, gradient and directional derivative at 0.
        size: the greatest magnitude in `direction`.
        tries: bound on the number of lengths tried.
    """
    c1, c2, tolerance = 1e-4, 0.9, 1e-9

    def point(t: Any) -> tuple[Any, Any, Any, Any]:
        loss, gradient = search(t)
        return t, loss, gradient, _scalar(_dot(gradient, direction))

    here, before, start = point(t), (0, f, g, slope), (0, f, g, slope)
    tried, done = 0, False
    bracket: list[Any] = []
    while tried < tries:  # find two lengths between which the conditions hold somewhere
        t, f_new, _, slope_new = here
        if f_new > f + c1 * t * slope or (tried > 1 and f_new >= before[1]):
            bracket = [before, here]
            break
        if abs(slope_new) <= -c2 * slope:
            bracket, done = [here], True
            break
        if slope_new >= 0:
            bracket = [before, here]
            break
        t = _interpolated(before, here, (t + 0.01 * (t - before[0]), t * 10))
        before, here = here, point(t)
        tried += 1
    if tried == tries:
        bracket = [start, here]
    low, high = (0, 1) if bracket[0][1] <= bracket[-1][1] else (1, 0)
    stalled = False
    while not done and tried < tries:  # narrow it down
        if abs(bracket[1][0] - bracket[0][0]) * size < tolerance:
            break
        t = _interpolated(*bracket)
        least, greatest = min(bracket[0][0], bracket[1][0]), max(bracket[0][0], bracket[1][0])
        margin = 0.1 * (greatest - least)
        if min(greatest - t, t - least) < margin:  # too near to an end: the second time in a row, keep away from it
            if stalled or t >= greatest or t <= least:
                t = greatest - margin if abs(t - greatest) < abs(t - least) else least + margin
                stalled = False
            else:
                stalled = True
        else:
            stalled = False
        here = point(t)
        tried += 1
        _, f_new, _, slope_new = here
        if f_new > f + c1 * t * slope or f_new >= bracket[low][1]:
            bracket[high] = here
            low, high = (0, 1) if bracket[0][1] <= bracket[1][1] else (1, 0)
        else:
            if abs(slope_new) <= -c2 * slope:
                done = True
            elif slope_new * (bracket[high][0] - bracket[low][0]) >= 0:
                bracket[high] = bracket[low]
            bracket[low] = here
    t, loss, gradient, _ = bracket[low]
    return loss, gradient, t


def _interpolated(one: Any, other: Any, bounds: Any = None) -> Any:
    """The minimum of the cubic through two points with their derivatives, within the bounds (Nocedal and Wright, equation 3.59)."""
    if one[0] > other[0]:
        one, other = other, one
    (x1, f1, _, g1), (x2, f2, _, g2) = one, other
    least, greatest = (x1, x2) if bounds is None else bounds
    d1 = g1 + g2 - 3 * (f1 - f2) / (x1 - x2)
    square = d1**2 - g1 * g2
    if not square >= 0:
        return (least + greatest) / 2.0
    d2 = np.sqrt(square)
    return min(max(x2 - (x2 - x1) * ((g2 + d2 - d1) / (g2 - g1 + 2 * d2)), least), greatest)
