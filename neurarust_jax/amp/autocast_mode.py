"""`autocast`: regions in which operations choose their dtypes, so that most of the work is done in 16 bits.

Its state is part of the thread's `Regime`, which fixes compiled programs. While autocast is on anywhere, the functions of the listed ops run their kernels by way of
`_with_conversion`; while it is off nowhere, they are as if there were no autocast, and it costs nothing.
"""

from __future__ import annotations

import functools
import threading
import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax
import numpy as np

from .. import devices, dtypes
from ..autograd.graph import Regime, mode, on_regime_change, set_regime
from ..dispatch import Kernel, put_around
from ..errors import AmpError, ArgumentError, ArgumentTypeError
from ..tensor import Tensor
from . import policies

__all__ = [
    "autocast", "autocast_decorator", "autocast_decrement_nesting", "autocast_increment_nesting", "clear_autocast_cache", "custom_bwd", "custom_fwd",
    "get_autocast_dtype", "is_autocast_available", "is_autocast_cache_enabled", "is_autocast_enabled", "set_autocast_cache_enabled", "set_autocast_dtype",
    "set_autocast_enabled",
]  # fmt: skip

_DEFAULTS = {
    "cpu": dtypes.bfloat16, "cuda": dtypes.float16, "hpu": dtypes.bfloat16, "ipu": dtypes.float16, "maia": dtypes.bfloat16, "mps": dtypes.float16,
    "mtia": dtypes.float16, "tpu": dtypes.bfloat16, "xla": dtypes.bfloat16, "xpu": dtypes.float16,
}  # fmt: skip
_KNOWN = {*_DEFAULTS, "fpga", "hip", "lazy", "meta", "mkldnn", "opencl", "opengl", "ideep", "privateuseone", "ve", "vulkan"}
_LOW = (dtypes.bfloat16, dtypes.float16)


class _Thread(threading.local):
    """What PyTorch keeps for each thread beside the state itself."""

    def __init__(self):
        self.dtypes = dict(_DEFAULTS)  # for each device type the dtype last set
        self.cache = True
        self.nesting = 0


_thread = _Thread()

# --- how ops run while it is on --------------------------------------------------------------------------------------


def _with_conversion(call: Callable) -> Callable:
    """What runs the kernels of listed ops: as autocast wants it, if it is on in this thread and for this device."""

    def call_converted(kernel: Kernel, arguments: Any) -> Any:
        regime = mode.regime
        if regime is not None and regime.autocast:
            kernel = _converting(kernel, regime.autocast, arguments)
        return call(kernel, arguments)

    return call_converted


def _converting(kernel: Kernel, state: tuple[tuple[str, Any], ...], arguments: Any) -> Kernel:
    chosen = state[0] if len(state) == 1 and _only_device_type() == state[0][0] else _choose(state, arguments)
    if chosen is None:
        return kernel
    found = kernel.variants.get(chosen)
    if found is None:
        function = policies.apply(*chosen, kernel.name, kernel.fixed, kernel.function)
        found = kernel if function is kernel.function else Kernel(kernel.name, function, kernel.linear, kernel.keeps_vjp, kernel.fixed)
        kernel.variants[chosen] = found
    return found


@functools.cache
def _only_device_type() -> str | None:
    """The type of all devices, if there is only one: then nobody need ask where a tensor lies."""
    return "cpu" if jax.default_backend() == "cpu" else None


def _choose(state: tuple[tuple[str, Any], ...], arguments: Any) -> tuple[str, Any] | None:
    """The device type and dtype for an op over these arguments: that of the device they lie on. What is traced lies where the one that is on, is."""
    for x in arguments:
        value = x._value if isinstance(x, Tensor) else x
        if isinstance(value, jax.Array) and not isinstance(value, jax.core.Tracer):
            return next((pair for pair in state if pair[0] == devices.of_array(value).type), None)
    if len(state) == 1:
        return state[0]
    return next((pair for pair in state if pair[0] == devices.default().type), None)


_LISTED = frozenset(policies.CPU.keys() | policies.OTHERS.keys())
_on = 0  # in how many threads and blocks it was switched on
_lock = threading.Lock()


def _note(before: Regime | None, after: Regime | None) -> None:
    """Let the listed ops look at the state while it is on anywhere."""
    global _on
    change = (after is not None and after.autocast != ()) - (before is not None and before.autocast != ())
    if not change:
        return
    with _lock:
        was, _on = _on, max(_on + change, 0)
        if bool(was) != bool(_on):
            put_around("autocast", _LISTED, _with_conversion if _on else None)


on_regime_change.append(_note)

# --- the state -------------------------------------------------------------------------------------------------------


def _checked(device_type: Any) -> str:
    if not isinstance(device_type, str):
        raise ArgumentTypeError(f"expected a device type such as 'cpu' or 'cuda', got {type(device_type).__name__}")
    name = device_type.partition(":")[0]
    name = {"gpu": "cuda"}.get(name, name)
    if name not in _KNOWN:
        raise AmpError(f"Expected one of {', '.join(sorted(_KNOWN))} device type at start of device string: {device_type}")
    if name not in _DEFAULTS:
        raise AmpError(f"unknown device type for autocast: {device_type!r}; expected one of {', '.join(_DEFAULTS)}")
    return name


def is_autocast_available(device_type: str) -> bool:
    """Whether there is autocast for a device type.

    Args:
        device_type: such as `"cpu"`, `"cuda"` or `"tpu"`.

    Raises:
        RuntimeError: it is no device type.
    """
    try:
        return _checked(device_type) in _DEFAULTS
    except AmpError:
        if device_type.partition(":")[0] in _KNOWN:
            return False
        raise


def is_autocast_enabled(device_type: str | None = None) -> bool:
    """Whether autocast is on in this thread.

    Args:
        device_type: for which device type. Default: `"cuda"`, as in PyTorch.
    """
    name = "cuda" if device_type is None else _checked(device_type)
    return mode.regime is not None and any(on == name for on, _ in mode.regime.autocast)


def set_autocast_enabled(*arguments: Any) -> None:
    """Switch autocast on or off in this thread: ``set_autocast_enabled(device_type, enabled)``, or ``set_autocast_enabled(enabled)`` for `"cuda"`."""
    if len(arguments) not in (1, 2) or not isinstance(arguments[-1], bool):
        raise ArgumentTypeError(f"set_autocast_enabled takes a device type and a bool, got {arguments!r}")
    name = "cuda" if len(arguments) == 1 else _checked(arguments[0])
    _set(name, _thread.dtypes[name] if arguments[-1] else None)


def get_autocast_dtype(device_type: str) -> dtypes.dtype:
    """The dtype that autocast computes in on a device type, whether it is on or off.

    Args:
        device_type: such as `"cpu"` (by default bfloat16) or `"cuda"` (float16).
    """
    return _thread.dtypes[_checked(device_type)]


def set_autocast_dtype(device_type: str, dtype: Any) -> None:
    """Set the dtype that autocast computes in on a device type, in this thread.

    Args:
        device_type: such as `"cpu"` or `"cuda"`.
        dtype: `nr.float16` or `nr.bfloat16`.
    """
    name = _checked(device_type)
    if isinstance(dtype, str):
        raise ArgumentTypeError(f"set_autocast_dtype(): argument 'dtype' (position 2) must be a dtype such as nr.bfloat16, not {dtype!r}")
    _thread.dtypes[name] = dtypes.as_dtype(dtype)
    if is_autocast_enabled(name):
        _set(name, _thread.dtypes[name])


def _set(name: str, low: dtypes.dtype | None) -> None:
    """Put the state for one device type in force: the dtype, or `None` for off."""
    regime = mode.regime or Regime()
    others = [pair for pair in regime.autocast if pair[0] != name]
    state = others if low is None else sorted([*others, (name, low.dtype)], key=lambda pair: pair[0])
    set_regime(regime._replace(autocast=tuple(state)))


def is_autocast_cache_enabled() -> bool:
    """What `set_autocast_cache_enabled` set."""
    return _thread.cache


def set_autocast_cache_enabled(enabled: bool) -> None:
    """Note whether converted weights are kept. Without effect: the conversion is part of the op's compiled program, and nothing is kept."""
    _thread.cache = bool(enabled)


def clear_autocast_cache() -> None:
    """Does nothing: no converted weights are kept."""


def autocast_increment_nesting() -> int:
    """Count one more region of autocast that this thread is in."""
    _thread.nesting += 1
    return _thread.nesting


def autocast_decrement_nesting() -> int:
    """Count one less."""
    _thread.nesting -= 1
    return _thread.nesting


class autocast:  # noqa: N801 (PyTorch's name)
    """Context manager and decorator under which operations choose their dtypes: products run in 16 bits, what needs range or precision in float32.

    Parameters stay in float32, their master copy: an op converts its inputs inside its own compiled program, so gradients arrive in float32. Wrap the forward pass and
    the loss; call ``backward()`` and the optimizer outside. Regions nest, and the innermost counts; ``enabled=False`` switches it off. The state belongs to the thread. A
    function under `nr.jit` compiles a program of its own for each state that it is called in, and may hold regions inside.

    Which operations run in which dtype depends on the device type, by PyTorch's lists: https://docs.pytorch.org/docs/stable/amp.html#autocast-op-reference

    Args:
        device_type: `"cpu"`, `"cuda"`, `"tpu"` or another; operations over tensors on other devices are not affected.
        dtype: `nr.float16` or `nr.bfloat16`. Default: `get_autocast_dtype(device_type)`, bfloat16 on the CPU and on TPUs, float16 on GPUs.
        enabled: `False` for a region without it. Default: `True`.
        cache_enabled: accepted and without effect: converted weights are not kept.

    Raises:
        RuntimeError: there is no autocast for the device type.
        ValueError: the device type is no string.

    Examples:
        >>> import neurarust_jax as nr
        >>> model = nr.nn.Linear(3, 1)
        >>> with nr.autocast("cpu", dtype=nr.bfloat16):
        ...     output = model(nr.ones(2, 3))
        >>> output.dtype
        neurarust_jax.bfloat16
        >>> output.sum().backward()
        >>> model.weight.grad.dtype
        neurarust_jax.float32
    """

    def __init__(self, device_type: str, dtype: Any = None, enabled: bool = True, cache_enabled: bool | None = None):
        if not isinstance(device_type, str):
            raise ArgumentError(f"Expected `device_type` of type `str`, got: `{type(device_type)}`")
        if not is_autocast_available(device_type):
            raise AmpError(f"User specified an unsupported autocast device_type '{device_type}'")
        self.device = _checked(device_type)
        self.fast_dtype = get_autocast_dtype(self.device) if dtype is None else dtypes.as_dtype(dtype)
        self._cache_enabled = is_autocast_cache_enabled() if cache_enabled is None else bool(cache_enabled)
        self._enabled = bool(enabled) and self._is_possible()
        self._before: list[tuple[Any, Any, bool]] = []

    def _is_possible(self) -> bool:
        if self.device == "cuda":
            if not devices.is_available("cuda"):
                warnings.warn("CUDA is not available. Disabling autocast.", stacklevel=3)
                return False
        elif self.fast_dtype not in _LOW:
            name = self.device.upper()
            warnings.warn(
                f"In {name} autocast, but the target dtype is not supported. Disabling autocast.\n"
                f"{name} Autocast only supports dtypes of {', '.join(map(str, _LOW))} currently.",
                stacklevel=3,
            )
            return False
        return True

    def __enter__(self) -> autocast:
        self._before.append((mode.regime, _thread.dtypes[self.device], _thread.cache))
        _thread.dtypes[self.device] = self.fast_dtype
        _set(self.device, self.fast_dtype if self._enabled else None)
        _thread.cache = self._cache_enabled
        _thread.nesting += 1
        return self

    def __exit__(self, *exception: object) -> None:
        _thread.nesting -= 1
        regime, _thread.dtypes[self.device], _thread.cache = self._before.pop()
        set_regime((mode.regime or Regime())._replace(autocast=() if regime is None else regime.autocast))

    def __call__(self, func: Callable) -> Callable:
        """Decorate a function: its calls run under autocast."""
        if not callable(func):
            raise ArgumentTypeError(
                f"autocast()(func) requires a callable, but got {type(func).__name__}. Did you mean to use autocast as a context manager? For example:\n"
                "    with nr.autocast(device_type=...):\n        output = model(input)"
            )
        return autocast_decorator(self, func)


def autocast_decorator(autocast_instance: autocast, func: Callable) -> Callable:
    """The function with its calls in a region."""

    @functools.wraps(func)
    def decorated(*args: Any, **kwargs: Any) -> Any:
        with autocast_instance:
            return func(*args, **kwargs)

    return decorated


# --- functions with a gradient of their own --------------------------------------------------------------------------


def _cast(value: Any, device_type: str, dtype: Any) -> Any:
    """Floating-point tensors on a device type in another dtype, also inside containers."""
    if isinstance(value, Tensor):
        eligible = value.is_floating_point() and value.dtype != dtypes.float64 and value.device.type == device_type
        return value.to(dtype) if eligible else value
    if isinstance(value, str | bytes | np.ndarray | jax.Array):
        return value
    if isinstance(value, Mapping):
        return {_cast(k, device_type, dtype): _cast(v, device_type, dtype) for k, v in value.items()}
    if isinstance(value, Iterable):
        made = (_cast(v, device_type, dtype) for v in value)
        return type(value)(made) if isinstance(value, list | tuple) else made  # type: ignore[call-arg]
    return value


def custom_fwd(fwd: Callable | None = None, *, device_type: str, cast_inputs: Any = None) -> Callable:
    """Decorate the `forward` of an `autograd.Function` that is used under autocast.

    Args:
        fwd: the method.
        device_type: of which autocast it takes note.
        cast_inputs: convert floating-point tensors among the arguments to this dtype, and run with autocast off. Default: run under autocast as it is.

    Raises:
        ValueError: the device type is no string.
    """
    if not isinstance(device_type, str):
        raise ArgumentError(f"Expected `device_type` of type `str`, got: `{type(device_type)}`")
    if fwd is None:
        return functools.partial(custom_fwd, device_type=device_type, cast_inputs=cast_inputs)

    @functools.wraps(fwd)
    def decorated(*args: Any, **kwargs: Any) -> Any:
        context, on = args[0], is_autocast_enabled(device_type)
        context._dtype = get_autocast_dtype(device_type)
        context._fwd_used_autocast = on and cast_inputs is None
        if cast_inputs is None or not on:
            return fwd(*args, **kwargs)
        with autocast(device_type=device_type, enabled=False):
            given = [_cast(a, device_type, cast_inputs) for a in args[1:]]
            return fwd(context, *given, **_cast(kwargs, device_type, cast_inputs))

    return decorated


def custom_bwd(bwd: Callable | None = None, *, device_type: str) -> Callable:
    """Decorate the `backward` of an `autograd.Function` whose `forward` is under `custom_fwd`: it runs under the same autocast.

    Args:
        bwd: the method.
        device_type: the same as that of `custom_fwd`.

    Raises:
        ValueError: the device type is no string.
    """
    if not isinstance(device_type, str):
        raise ArgumentError(f"Expected `device_type` of type `str`, got: `{type(device_type)}`")
    if bwd is None:
        return functools.partial(custom_bwd, device_type=device_type)

    @functools.wraps(bwd)
    def decorated(*args: Any, **kwargs: Any) -> Any:
        with autocast(device_type=device_type, enabled=args[0]._fwd_used_autocast, dtype=args[0]._dtype):
            return bwd(*args, **kwargs)

    return decorated
