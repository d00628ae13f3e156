"""`GradScaler`: the loss scaled up so that small gradients survive float16, and steps skipped whose gradients overflowed.

Scale, growth tracker and what was found of each optimizer's gradients are cells. So a whole step, `scale`, `backward`, `unscale_`, clipping, `step` and `update`, compiles into
one program, in which a skipped step is a choice between the new and the old values of all that the optimizer writes. Which methods were called for an optimizer since the
last `update` shows in which of its cells are empty, for Python does not run when a compiled step does.
"""

from __future__ import annotations

import inspect
import warnings
import weakref
from collections.abc import Iterable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .. import cells, devices, dtypes
from ..autograd.graph import no_grad
from ..cells import Cell, StateTrace
from ..errors import AmpError, ArgumentError, ScalerAssertionError
from ..parameter import note_change
from ..tensor import Tensor, array_from, wrap

__all__ = ["GradScaler"]


class _Checks:
    """What is known of one optimizer's gradients since the last `update`. An empty cell says that it has not come to that yet.

    Attributes:
        found_inf: above 0 if a gradient was infinite or not a number.
        unscaled, stepped: marks that `unscale_` and `step` were called.
    """

    def __init__(self):
        self.found_inf, self.unscaled, self.stepped = Cell(), Cell(), Cell()

    def cells(self) -> tuple[Cell, ...]:
        return self.found_inf, self.unscaled, self.stepped


class GradScaler:
    """Scales the loss, so that gradients too small for float16 do not become 0, and finds by itself the largest scale at which none overflows.

    ``scaler.scale(loss).backward()`` gives scaled gradients; ``scaler.step(optimizer)`` divides them by the scale, and steps unless one is infinite or not a
    number; ``scaler.update()`` then lowers the scale, or raises it after `growth_interval` steps in a row without overflow. Call ``scaler.unscale_(optimizer)`` before `step` to clip or
    look at the gradients. All of it may stand inside `nr.jit`; bfloat16 needs none of it.

    Args:
        device: `"cuda"`, `"cpu"` or another device type. With `"cuda"`, the default, and no GPU it is disabled, with a warning. Default: `"cuda"`.
        init_scale: the scale at the start. Default: 65536.
        growth_factor: by what the scale is raised. Default: 2.
        backoff_factor: by what it is multiplied after an overflow. Default: 0.5.
        growth_interval: how many steps without overflow raise the scale. Default: 2000.
        enabled: `False` to make all methods do nothing, and `step` call ``optimizer.step()``.

    Raises:
        AssertionError: a factor is on the wrong side of 1.

    Examples:
        >>> import neurarust_jax as nr
        >>> model = nr.nn.Linear(3, 1)
        >>> optimizer = nr.optim.SGD(model.parameters(), lr=0.1)
        >>> scaler = nr.amp.GradScaler("cpu")
        >>> @nr.jit
        ... def step(x):
        ...     optimizer.zero_grad()
        ...     with nr.autocast("cpu", dtype=nr.float16):
        ...         loss = model(x).sum()
        ...     scaler.scale(loss).backward()
        ...     scaler.step(optimizer)
        ...     scaler.update()
        >>> step(nr.full((2, 3), 1e4))
        >>> scaler.get_scale()
        32768.0
    """

    def __init__(
        self, device: str = "cuda", init_scale: float = 2.0**16, growth_factor: float = 2.0, backoff_factor: float = 0.5, growth_interval: int = 2000, enabled: bool = True
    ):  # fmt: skip
        self._device = device
        self._enabled = enabled
        if device == "cuda" and enabled and not devices.is_available("cuda"):
            warnings.warn("GradScaler is enabled, but CUDA is not available.  Disabling.", stacklevel=2)
            self._enabled = False
        if self._enabled:
            if growth_factor <= 1.0:
                raise ScalerAssertionError(f"The growth factor must be > 1.0, got {growth_factor}.")
            if backoff_factor >= 1.0:
                raise ScalerAssertionError(f"The backoff factor must be < 1.0, got {backoff_factor}.")
        self._growth_factor, self._backoff_factor, self._growth_interval = growth_factor, backoff_factor, growth_interval
        self._has_scaled = False  # whether `scale` was called
        self._start(init_scale, 0)

    def _start(self, scale: float, tracker: int) -> None:
        self._scale_cell, self._tracker_cell = Cell(), Cell()
        self._scale_cell._state = np.asarray(scale, np.float32)
        self._tracker_cell._state = np.asarray(tracker, np.int32)
        self._checks: weakref.WeakKeyDictionary[Any, _Checks] = weakref.WeakKeyDictionary()

    # --- what compiled functions ask ---------------------------------------------------------------------------------

    def _cells(self) -> Iterator[Cell]:
        """Every cell that its methods read or write."""
        yield self._scale_cell
        yield self._tracker_cell
        for checks in self._checks.values():
            yield from checks.cells()

    def _signature(self) -> Any:
        """What a compiled step depends on, beside arrays."""
        return self._growth_factor, self._backoff_factor, self._growth_interval

    def _holds_mutable_values(self) -> bool:
        return False

    def _note_use(self) -> None:
        trace = cells.current_trace()
        if trace is not None:
            trace.note_module(self)

    # --- scaling -----------------------------------------------------------------------------------------------------

    @property
    def _scale(self) -> Tensor | None:
        """The scale, or `None` before the first call of `scale`."""
        return wrap(self._scale_cell._read()) if self._has_scaled else None

    @property
    def _growth_tracker(self) -> Tensor | None:
        return wrap(self._tracker_cell._read()) if self._has_scaled else None

    def _check_has_scaled(self, method: str) -> None:
        if not self._has_scaled:
            raise ScalerAssertionError(
                f"Attempted {method} but _scale is None.  This may indicate your script did not use scaler.scale(loss or outputs) earlier in the iteration."
            )

    def scale(self, outputs: Any) -> Any:
        """Multiply by the scale.

        Args:
            outputs: a tensor, or an iterable of tensors and such iterables.

        Returns:
            The same, scaled; lists and tuples as such.

        Raises:
            ValueError: something else is among the outputs.
        """
        if not self._enabled:
            return outputs
        self._note_use()
        if isinstance(outputs, Tensor):
            self._has_scaled = True
            return outputs * wrap(self._scale_cell._read())
        if isinstance(outputs, Iterable):
            made = map(self.scale, outputs)
            return type(outputs)(made) if isinstance(outputs, list | tuple) else made  # type: ignore[call-arg]
        raise ArgumentError(f"outputs must be a Tensor or an iterable of Tensors, got {type(outputs).__name__}")

    def unscale_(self, optimizer: Any) -> None:
        """Divide the gradients of an optimizer's parameters by the scale, and note whether one is infinite or not a number.

        Only for what comes between `backward` and `step`, such as clipping: `step` calls it if it was not called.

        Args:
            optimizer: the optimizer.

        Raises:
            RuntimeError: it was called already since the last `update`, or `step` was.
            ValueError: a gradient is of float16. Keep the parameters in float32, and use `autocast`.
        """
        if not self._enabled:
            return
        self._check_has_scaled("unscale_")
        self._note_use()
        checks = self._checks_of(optimizer)
        if checks.stepped._read() is not None:
            raise AmpError("unscale_() is being called after step().")
        if checks.unscaled._read() is not None:
            raise AmpError("unscale_() has already been called on this optimizer since the last update().")
        self._unscale(optimizer, checks, self._scale_cell._read(), allow_fp16=False)
        checks.unscaled._write(np.zeros((), np.bool_))

    def _checks_of(self, optimizer: Any) -> _Checks:
        found = self._checks.get(optimizer)
        if found is None:
            found = self._checks[optimizer] = _Checks()
        return found

    @no_grad()
    def _unscale(self, optimizer: Any, checks: _Checks, scale: Any, allow_fp16: bool) -> None:
        params = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        gradients = [p.grad._value for p in params]
        if not allow_fp16 and any(g.dtype == np.float16 for g in gradients):
            raise ArgumentError("Attempting to unscale FP16 gradients: parameters of float16 give them. Keep the parameters in float32, and use nr.autocast.")
        if not params:
            return
        with dtypes.x64():
            try:
                found, new = _unscaled(gradients, scale)
            except ValueError as error:
                if "incompatible devices" not in str(error):
                    raise
                each = [_unscaled([g], np.asarray(scale)) for g in gradients]  # they lie apart
                found, new = jnp.asarray(max(float(f) for f, _ in each), np.float32), [n for _, (n,) in each]
        checks.found_inf._write(found)
        for p, gradient in zip(params, new, strict=True):
            p.grad = wrap(gradient)

    # --- the step ----------------------------------------------------------------------------------------------------

    def step(self, optimizer: Any, *args: Any, **kwargs: Any) -> Any:
        """Unscale the gradients if that was not done, and update the parameters unless a gradient is infinite or not a number.

        Args:
            optimizer: the optimizer.
            *args, **kwargs: for ``optimizer.step``.

        Returns:
            What ``optimizer.step`` returned; `None` for a step that was skipped, inside `nr.jit` as if it were not.

        Raises:
            RuntimeError: it was called already since the last `update`, or with a closure, which could not be called again with the scale that it finds.
            AssertionError: `scale` was not called, or no parameter has a gradient.
        """
        if not self._enabled:
            return optimizer.step(*args, **kwargs)
        if "closure" in kwargs:
            raise AmpError("Closure use is not currently supported if GradScaler is enabled.")
        self._check_has_scaled("step")
        self._note_use()
        checks = self._checks_of(optimizer)
        if checks.stepped._read() is not None:
            raise AmpError("step() has already been called since the last update().")
        if getattr(optimizer, "_step_supports_amp_scaling", False):
            returned = self._step_that_scales(optimizer, checks, args, kwargs)
        else:
            if checks.unscaled._read() is None:
                self.unscale_(optimizer)
            found = checks.found_inf._read()
            if found is None:
                raise ScalerAssertionError("No inf checks were recorded for this optimizer: none of its parameters has a gradient.")
            if isinstance(found, jax.core.Tracer):
                returned = _step_unless(found, optimizer, args, kwargs)
            else:
                returned = None if np.asarray(found) else optimizer.step(*args, **kwargs)
        checks.stepped._write(np.zeros((), np.bool_))
        return returned

    def _step_that_scales(self, optimizer: Any, checks: _Checks, args: tuple, kwargs: dict[str, Any]) -> Any:
        """The step of an optimizer that says it unscales and skips by itself: it gets the scaler, or scale and findings as attributes."""
        if "grad_scaler" in inspect.signature(optimizer.step).parameters:
            warnings.warn(
                "GradScaler is going to stop passing itself as a keyword argument to the passed optimizer. In the near future GradScaler registers `grad_scale: Tensor` and "
                "`found_inf: Tensor` to the passed optimizer and let the optimizer use them directly.",
                FutureWarning,
                stacklevel=3,
            )
            return optimizer.step(*args, **kwargs, grad_scaler=self)
        known = getattr(optimizer, "grad_scale", None)
        if checks.unscaled._read() is None:
            self._check_inf_per_device(optimizer)
            scale = wrap(self._scale_cell._read())
            known = scale if known is None else scale * known
        optimizer.grad_scale = known
        optimizer.found_inf = wrap(checks.found_inf._read())
        try:
            return optimizer.step(*args, **kwargs)
        finally:
            del optimizer.grad_scale, optimizer.found_inf

    def _check_inf_per_device(self, optimizer: Any) -> dict[Any, Tensor]:
        self._check_has_scaled("_check_inf_per_device")
        self._unscale(optimizer, self._checks_of(optimizer), np.ones((), np.float32), allow_fp16=True)
        return self._found_inf_per_device(optimizer)

    def _found_inf_per_device(self, optimizer: Any) -> dict[Any, Tensor]:
        found = self._checks_of(optimizer).found_inf._read()
        return {} if found is None else {devices.of_array(found) if isinstance(found, jax.Array) else devices.device("cpu"): wrap(found)}

    def update(self, new_scale: Any = None) -> None:
        """Lower the scale if a step was skipped, raise it after `growth_interval` steps in a row that were not. Call it once, after all steps.

        Args:
            new_scale: a float, or a tensor of one element, to set the scale instead.

        Raises:
            AssertionError: `scale` was not called, or neither `step` nor `unscale_`; or `new_scale` is another tensor.
        """
        if not self._enabled:
            return
        self._check_has_scaled("update")
        self._note_use()
        if new_scale is not None:
            self._scale_cell._write(self._given_scale(new_scale))
        else:
            found = [f for checks in self._checks.values() if (f := checks.found_inf._read()) is not None]
            if not found:
                raise ScalerAssertionError("No inf checks were recorded prior to update.")
            with dtypes.x64():
                scale, tracker = _updated(self._scale_cell._read(), self._tracker_cell._read(), found, *self._signature())
            self._scale_cell._write(scale)
            self._tracker_cell._write(tracker)
        for checks in self._checks.values():
            for cell in checks.cells():
                cell._write(None)

    def _given_scale(self, new_scale: Any) -> Any:
        if isinstance(new_scale, float | int):
            return np.asarray(new_scale, np.float32)
        if not isinstance(new_scale, Tensor) or new_scale.numel() != 1 or new_scale.requires_grad or new_scale.device.type != self._device:
            raise ScalerAssertionError(f"new_scale should be a float or a 1-element tensor on {self._device!r} with requires_grad=False, got {new_scale!r}")
        return array_from(new_scale.reshape(()), np.float32)

    # --- what is set and asked ---------------------------------------------------------------------------------------

    def is_enabled(self) -> bool:
        """Whether it does anything."""
        return self._enabled

    def get_scale(self) -> float:
        """The scale as a Python float; 1.0 if disabled. It waits for the steps before."""
        return wrap(self._scale_cell._read()).item() if self._enabled else 1.0

    def _get_scale_async(self) -> Tensor | None:
        return self._scale

    def _get_growth_tracker(self) -> int:
        return wrap(self._tracker_cell._read()).item() if self._enabled else 0

    def get_growth_factor(self) -> float:
        """By what the scale is raised."""
        return self._growth_factor

    def set_growth_factor(self, new_factor: float) -> None:
        """Set by what the scale is raised; a compiled step compiles anew."""
        self._growth_factor = new_factor
        note_change()

    def get_backoff_factor(self) -> float:
        """By what the scale is multiplied after an overflow."""
        return self._backoff_factor

    def set_backoff_factor(self, new_factor: float) -> None:
        """Set by what the scale is multiplied after an overflow; a compiled step compiles anew."""
        self._backoff_factor = new_factor
        note_change()

    def get_growth_interval(self) -> int:
        """How many steps without overflow raise the scale."""
        return self._growth_interval

    def set_growth_interval(self, new_interval: int) -> None:
        """Set how many steps without overflow raise the scale; a compiled step compiles anew."""
        self._growth_interval = new_interval
        note_change()

    def state_dict(self) -> dict[str, Any]:
        """The state as Python numbers, in PyTorch's layout; call it after `update`. Empty if disabled."""
        if not self._enabled:
            return {}
        return {
            "scale": self.get_scale(),
            "growth_factor": self._growth_factor,
            "backoff_factor": self._backoff_factor,
            "growth_interval": self._growth_interval,
            "_growth_tracker": self._get_growth_tracker(),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from what `state_dict` returned, here or in PyTorch. Does nothing if disabled.

        Raises:
            RuntimeError: the dict is empty, as that of a disabled scaler.
        """
        if not self._enabled:
            return
        if not state_dict:
            raise AmpError("The source state dict is empty, possibly because it was saved from a disabled instance of GradScaler.")
        self._scale_cell._write(np.asarray(state_dict["scale"], np.float32))
        self._tracker_cell._write(np.asarray(state_dict["_growth_tracker"], np.int32))
        self._growth_factor, self._backoff_factor = state_dict["growth_factor"], state_dict["backoff_factor"]
        self._growth_interval = state_dict["growth_interval"]
        note_change()

    def __getstate__(self) -> dict[str, Any]:
        if any(cell._read() is not None for checks in self._checks.values() for cell in checks.cells()):
            raise ScalerAssertionError("A GradScaler instance may only be pickled at the beginning of an iteration, or at the end after scaler.update().")
        kept = ("_device", "_enabled", "_growth_factor", "_backoff_factor", "_growth_interval", "_has_scaled")
        return {name: getattr(self, name) for name in kept} | {"start": (float(self._scale_cell._read()), int(self._tracker_cell._read()))}

    def __setstate__(self, state: dict[str, Any]) -> None:
        state = dict(state)
        start = state.pop("start")
        self.__dict__.update(state)
        self._start(*start)


# --- inside a compiled step ------------------------------------------------------------------------------------------


@jax.jit
def _unscaled(gradients: list[Any], scale: Any) -> tuple[Any, list[Any]]:
    """(1 if an element is infinite or not a number, else 0; the gradients divided by the scale)"""
    inverse = (1.0 / jnp.asarray(scale, np.float64)).astype(np.float32)
    finite = [jnp.isfinite(g).all() for g in gradients]
    return 1 - jnp.stack(finite).all().astype(np.float32), [_times(g, inverse) for g in gradients]


def _times(gradient: Any, factor: Any) -> Any:
    """The product, computed in float32 at least, in the gradient's dtype."""
    if gradient.dtype.kind == "c":
        return gradient * factor.astype(gradient.real.dtype)
    wide = gradient if gradient.dtype.itemsize >= 4 else gradient.astype(np.float32)
    return (wide * factor.astype(wide.dtype)).astype(gradient.dtype)


@jax.jit
def _updated(scale: Any, tracker: Any, found: list[Any], growth_factor: float, backoff_factor: float, growth_interval: int) -> tuple[Any, Any]:
    """The scale and the count of steps without overflow, after one more."""
    exact = jnp.asarray(scale, np.float64)
    overflowed = sum(found) > 0
    counted = tracker + np.ones((), np.int32)
    grows = counted == growth_interval
    grown = (exact * growth_factor).astype(np.float32)
    grown = jnp.where(grows & jnp.isfinite(grown), grown, scale)
    new = jnp.where(overflowed, (exact * backoff_factor).astype(np.float32), grown)
    return new, jnp.where(overflowed | grows, 0, counted).astype(np.int32)


def _step_unless(found_inf: Any, optimizer: Any, args: tuple, kwargs: dict[str, Any]) -> Any:
    """A step inside a trace whose results count only if `found_inf` is 0. It is computed on gradients of 0 if not, so that nothing overflows in it."""
    skipped = found_inf > 0
    leaves = [p._leaf() for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
    with dtypes.x64():
        gradients = {leaf: jnp.where(skipped, 0, g).astype(g.dtype) for leaf in leaves if (g := _array(leaf._read())) is not None}
    with StateTrace(gradients) as trace:
        returned = optimizer.step(*args, **kwargs)
    with dtypes.x64():
        for cell in trace.written_cells:
            old, new = _array(cell._read()), _array(trace.values[cell])
            if old is not None and new is not None:
                new = jnp.where(skipped, jnp.asarray(old).astype(new.dtype), new)
            cell._write(new)
    return returned


def _array(value: Any) -> Any:
    return value._value if isinstance(value, Tensor) else value
