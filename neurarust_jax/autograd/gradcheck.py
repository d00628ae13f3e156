"""`gradcheck` and `gradgradcheck`: gradients against numerical differentiation, in float64.

The numerical derivative is Ridders' (Advances in Engineering Software, 1982): central differences at a falling sequence of steps, extrapolated to step zero. It
chooses the step by itself for every input element, by that element's own magnitude, so that badly scaled inputs do no harm; and it gives an
estimate of its own error, so that a comparison that means nothing is reported as such instead of passing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..errors import ArgumentError, NeuraRustError
from ..tensor import Tensor, array_from, wrap
from .engine import grad
from .graph import no_grad

_SHRINK = 1.6  # each step is so much smaller than the one before
_STEPS = 12


class GradcheckError(NeuraRustError, RuntimeError):
    """An analytical gradient differs from the numerical one, or the numerical one cannot be trusted."""


def gradcheck(
    func: Callable,
    inputs: Any,
    *,
    eps: float | None = None,
    atol: float = 1e-7,
    rtol: float = 1e-5,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
    check_undefined_grad: bool = True,
    check_batched_grad: bool = False,
    check_forward_ad: bool = False,
    check_backward_ad: bool = True,
    fast_mode: bool = False,
    masked: bool | None = None,
) -> bool:
    r"""Check the gradients of `func` against numerical differentiation.

    Args:
        func: takes `inputs`, and returns a tensor or a tuple of tensors.
        inputs: tensors; those that require grad must be float64 or complex128, and are differentiated by.
        eps: a fixed step for plain central differences. Default: steps by the magnitude of each element, extrapolated to zero.
        atol: absolute tolerance, in units of the greatest derivative of the same output by the same input (so that scale does not matter).
        rtol: relative tolerance.
        raise_exception: raise, rather than return `False`.
        nondet_tol: how much two backward passes over the same graph may differ.
        check_undefined_grad, check_batched_grad, check_forward_ad, check_backward_ad, fast_mode, masked: accepted and without effect.

    Returns:
        Whether all gradients agree.

    Raises:
        GradcheckError: a gradient is wrong: it names input, output and both values. Or the function is not smooth enough there to tell.
        ValueError: no input requires grad, or one is not of double precision.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.autograd.gradcheck(nr.sin, nr.rand(3, dtype=nr.float64, requires_grad=True))
        True
    """
    try:
        _check(func, _as_tuple(inputs), eps, atol, rtol, nondet_tol)
    except GradcheckError:
        if raise_exception:
            raise
        return False
    return True


def gradgradcheck(
    func: Callable, inputs: Any, grad_outputs: Any = None, *, eps: float | None = None, atol: float = 1e-7, rtol: float = 1e-5, raise_exception: bool = True, **options: Any
) -> bool:
    """Check the gradients of the gradients of `func`, by its inputs and by the cotangents of its outputs.

    Args:
        func, inputs: as for `gradcheck`.
        grad_outputs: cotangents of the outputs. Default: random ones.

    Raises:
        GradcheckError: a gradient of a gradient is wrong.
    """
    inputs = _as_tuple(inputs)
    if grad_outputs is None:
        generator = np.random.default_rng(0)
        grad_outputs = []
        for y in _outputs(func(*inputs)):
            drawn = generator.standard_normal(tuple(y.shape))
            if y.is_complex():
                drawn = drawn + 1j * generator.standard_normal(tuple(y.shape))
            grad_outputs.append(wrap(array_from(np.asarray(drawn, y.dtype.dtype))).requires_grad_())
    grad_outputs = _as_tuple(grad_outputs)
    count = len(inputs)

    def first_gradients(*arguments: Any) -> tuple[Any, ...]:
        inner, cotangents = arguments[:count], arguments[count:]
        wanted = [x for x in inner if isinstance(x, Tensor) and x.requires_grad]
        return grad(_outputs(func(*inner)), wanted, cotangents, create_graph=True, materialize_grads=True)

    return gradcheck(first_gradients, (*inputs, *grad_outputs), eps=eps, atol=atol, rtol=rtol, raise_exception=raise_exception)


def _as_tuple(x: Any) -> tuple[Any, ...]:
    return (x,) if isinstance(x, Tensor) else tuple(x)


def _outputs(returned: Any) -> list[Tensor]:
    """The outputs that have gradients."""
    everything = returned if isinstance(returned, tuple | list) else (returned,)
    return [y for y in everything if isinstance(y, Tensor) and y.requires_grad]


def _check(func: Callable, inputs: tuple[Any, ...], eps: float | None, atol: float, rtol: float, nondet_tol: float) -> None:
    wanted = [i for i, x in enumerate(inputs) if isinstance(x, Tensor) and x.requires_grad]
    if not wanted:
        raise ArgumentError("gradcheck expects at least one input tensor to require gradient, but none of the them have requires_grad=True.")
    for i in wanted:
        if inputs[i].dtype.name not in ("float64", "complex128"):
            raise ArgumentError(f"gradcheck: input {i} requires gradient and is not of double precision: {inputs[i].dtype}; write x.double().requires_grad_()")
    leaves = [x.detach().requires_grad_() if i in wanted else x for i, x in enumerate(inputs)]
    outputs = _outputs(func(*leaves))
    if not outputs:
        _check_constant(func, inputs, wanted)
        return
    for number, output in enumerate(outputs):
        analytical = [_analytical(output, leaves[i], nondet_tol, number, i) for i in wanted]
        for jacobian, i in zip(analytical, wanted, strict=True):
            numerical, error = _numerical(func, inputs, i, number, eps)
            _compare(jacobian, numerical, error, atol, rtol, number, i)


def _check_constant(func: Callable, inputs: tuple[Any, ...], wanted: Sequence[int]) -> None:
    """No output requires grad: then none may depend on the inputs."""
    with no_grad():
        before = func(*inputs)
    for i in wanted:
        moved = list(inputs)
        moved[i] = wrap(array_from(_concrete(inputs[i]) * (1 + 1e-3) + 1e-3))
        with no_grad():
            after = func(*moved)
        for x, y in zip(_as_tuple(before), _as_tuple(after), strict=True):
            if not np.allclose(_concrete(x), _concrete(y), rtol=1e-12, atol=1e-12):
                raise GradcheckError(f"no output requires grad, yet the output changes with input {i}: the gradient is lost on the way")


def _concrete(x: Any) -> np.ndarray:
    return np.asarray(x.detach())


def _analytical(output: Tensor, leaf: Tensor, nondet_tol: float, number: int, i: int) -> np.ndarray:
    """The Jacobian by `backward`, a row for each real number of the output, a column for each of the input."""
    units = [1.0] if not output.is_complex() else [1.0, 1j]
    rows = []
    for k in range(output.numel()):
        for unit in units:
            cotangent = np.zeros(output.numel(), output.dtype.dtype)
            cotangent[k] = unit
            passes = []
            for _ in range(2):
                (g,) = grad(output, leaf, wrap(array_from(cotangent.reshape(output.shape))), retain_graph=True, materialize_grads=True)
                passes.append(_real_vector(_concrete(g)))
            rounding = 1e-13 * np.abs(passes[0]).max(initial=0)  # the same pass may be compiled in two ways
            if np.abs(passes[0] - passes[1]).max(initial=0) > nondet_tol + rounding:
                raise GradcheckError(
                        f"Backward is not reentrant: two passes gave different gradients of output {number} with respect to input {i}: {passes[0]} and {passes[1]}, a difference of {np.abs(passes[0] - passes[1]).max():.1g}"
                    )
            rows.append(passes[0])
    width = leaf.numel() * (2 if leaf.is_complex() else 1)
    return np.array(rows).reshape(output.numel() * len(units), width)


def _real_vector(x: np.ndarray) -> np.ndarray:
    """Complex numbers as pairs of their parts."""
    flat = np.ascontiguousarray(x).reshape(-1)
    return flat.view(np.float64).copy() if flat.dtype.kind == "c" else flat.astype(np.float64)


def _numerical(func: Callable, inputs: tuple[Any, ...], i: int, number: int, eps: float | None) -> tuple[np.ndarray, np.ndarray]:
    """The Jacobian by differences, and an estimate of its error."""
    start = _real_vector(_concrete(inputs[i]))
    dtype, shape = inputs[i].dtype.dtype, tuple(inputs[i].shape)

    def value(x: np.ndarray) -> np.ndarray:
        moved = list(inputs)
        array = x.view(np.complex128) if dtype.kind == "c" else x
        moved[i] = wrap(array_from(array.reshape(shape).astype(dtype))).requires_grad_()
        return _real_vector(_concrete(_outputs(func(*moved))[number]))

    columns, errors = [], []
    for k in range(start.size):
        derivative, error = _derivative(value, start, k, eps)
        columns.append(derivative)
        errors.append(error)
    if not columns:
        return np.zeros((value(start).size, 0)), np.zeros((value(start).size, 0))
    return np.stack(columns, 1), np.stack(errors, 1)


def _difference(value: Callable, start: np.ndarray, k: int, step: float) -> tuple[np.ndarray, np.ndarray]:
    """The central difference, and what rounding of the function's values does to it."""
    up, down = start.copy(), start.copy()
    up[k] += step
    down[k] -= step
    above, below = value(up), value(down)
    width = up[k] - down[k]
    return (above - below) / width, 4 * np.finfo(np.float64).eps * np.maximum(np.abs(above), np.abs(below)) / width


def _derivative(value: Callable, start: np.ndarray, k: int, eps: float | None) -> tuple[np.ndarray, np.ndarray]:
    """The derivative of a vector function by element `k`, and its error."""
    if eps is not None:
        return _difference(value, start, k, eps)
    magnitude = abs(start[k])
    step = 0.05 * magnitude if magnitude > 0 else 0.05 * (np.abs(start[start != 0]).min(initial=1.0))
    first, noise = _difference(value, start, k, step)
    table = [first]
    best, error = first, np.full(first.shape, np.inf)
    for _ in range(_STEPS - 1):
        step /= _SHRINK
        first, noise = _difference(value, start, k, step)
        row = [first]
        factor = 1.0
        for previous in table:
            factor *= _SHRINK**2
            extrapolated = (row[-1] * factor - previous) / (factor - 1)
            with np.errstate(invalid="ignore"):
                uncertainty = np.maximum(np.abs(extrapolated - row[-1]), np.abs(extrapolated - previous)) + noise
            better = uncertainty <= error
            best, error = np.where(better, extrapolated, best), np.where(better, uncertainty, error)
            row.append(extrapolated)
        table = row
    return best, error


def _compare(analytical: np.ndarray, numerical: np.ndarray, error: np.ndarray, atol: float, rtol: float, number: int, i: int) -> None:
    if not analytical.size:
        return
    scale = max(np.abs(numerical).max(), np.abs(analytical).max())
    allowed = atol * scale + rtol * np.abs(numerical)
    difference = np.abs(analytical - numerical)
    wrong = ~(difference <= allowed + 2 * error)
    unsure = error > 1e-3 * scale + 1e-10  # where the derivative is 0 everywhere, rounding is all that is left
    if (wrong & ~unsure).any():
        row, column = np.argwhere(wrong & ~unsure)[0]
        raise GradcheckError(
            f"Jacobian mismatch for output {number} with respect to input {i}, at element [{row}, {column}]:\n"
            f"numerical:  {numerical[row, column]:.10g} (error {error[row, column]:.1g})\nanalytical: {analytical[row, column]:.10g}\n"
            f"whole numerical:\n{numerical}\nwhole analytical:\n{analytical}"
        )
    if unsure.any():
        row, column = np.argwhere(unsure)[0]
        raise GradcheckError(
            f"the numerical derivative of output {number} by input {i}, at element [{row}, {column}], cannot be trusted: {numerical[row, column]:.4g} with error "
            f"{error[row, column]:.1g}. The function is not smooth there (a kink, a jump, randomness): move the input away from it."
        )
