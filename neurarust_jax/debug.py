"""Looking into compiled functions: why they were traced, what they hold on to, and values while they run."""

from __future__ import annotations

import contextlib
import gc
import types
from collections.abc import Callable, Iterator
from typing import Any

import jax

from .autograd.anomaly import anomaly_mode, detect_anomaly, set_detect_anomaly
from .errors import ArgumentTypeError, LeakError
from .tensor import Tensor
from .transforms import retraces
from .transforms.jit import CompiledFunction
from .transforms.lift import is_tensor

__all__ = ["anomaly_mode", "breakpoint", "callback", "check_leaks", "detect_anomaly", "explain", "log_recompiles", "print", "set_detect_anomaly"]

# --- why functions are traced ----------------------------------------------------------------------------------------


def explain(function: Callable) -> str:
    """How often a function under `nr.jit` was traced, when, at which call, and what had changed: an argument, an attribute, a shape, a mode, with the old and the new value.

    Args:
        function: what `nr.jit` returned.

    Raises:
        TypeError: it is no such function.

    Examples:
        >>> import neurarust_jax as nr
        >>> @nr.jit
        ... def scaled(x, factor):
        ...     return x * factor
        >>> _ = scaled(nr.ones(2), 3), scaled(nr.ones(2), 4), scaled(nr.ones(5), 4)
        >>> for trace in scaled.traces:
        ...     trace.reasons
        ('the first call',)
        ("argument 'factor' was 3 and is 4",)
        ("argument 'x' was float32[2] and is float32[5]",)
    """
    function = getattr(function, "func", function)  # a method under nr.jit is bound by a partial
    if not isinstance(function, CompiledFunction):
        raise ArgumentTypeError(f"explain takes a function that nr.jit returned, got {type(function).__name__}")
    return retraces.explain(function)


class log_recompiles:  # noqa: N801 (a switch and a context manager, as PyTorch's are)
    """Log every time that a function under `nr.jit` is traced again, with the reason, from the call on or for a `with` block only.

    The messages are warnings of the logger ``"neurarust_jax.retraces"``, which Python prints to the standard error unless told otherwise.

    Args:
        enabled: whether to log. Default: `True`.
    """

    def __init__(self, enabled: bool = True):
        self.before, retraces.log = retraces.log, bool(enabled)

    def __enter__(self) -> None:
        pass

    def __exit__(self, *exception: object) -> None:
        retraces.log = self.before


# --- values while a program runs -------------------------------------------------------------------------------------


def _as_arrays(tree: Any) -> Any:
    return jax.tree.map(lambda x: x._value if isinstance(x, Tensor) else x, tree, is_leaf=is_tensor)


def print(fmt: str, *args: Any, ordered: bool = False, **kwargs: Any) -> None:  # noqa: A001 (JAX's name)
    """Print values when they are computed: at once in eager code, and in compiled functions each time they run.

    Args:
        fmt: a format string, as for `str.format`.
        *args, **kwargs: the values; tensors, arrays, numbers or pytrees of them.
        ordered: keep to the order of the program. Default: `False`.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.debug.print("x is {}", nr.ones(2))
        x is [1. 1.]
    """
    jax.debug.print(fmt, *_as_arrays(args), ordered=ordered, **_as_arrays(kwargs))


def breakpoint(**options: Any) -> None:  # noqa: A001 (JAX's name)
    """Stop in a debugger, in compiled functions when they run: the values of the frame's variables can be looked at there. See `jax.debug.breakpoint`.

    Args:
        **options: those of `jax.debug.breakpoint`.
    """
    jax.debug.breakpoint(num_frames=options.pop("num_frames", None), **options)


def callback(function: Callable[..., None], *args: Any, ordered: bool = False, **kwargs: Any) -> None:
    """Call a Python function with values when they are computed, in compiled functions each time they run.

    Args:
        function: is called with NumPy arrays in place of tensors; what it returns is dropped.
        *args, **kwargs: the values.
        ordered: keep to the order of the program. Default: `False`.
    """
    jax.debug.callback(function, *_as_arrays(args), ordered=ordered, **_as_arrays(kwargs))


# --- leaks -----------------------------------------------------------------------------------------------------------


def _traced_tensors() -> dict[int, Tensor]:
    """The tensors alive that hold a tracer."""
    alive = {}
    for x in gc.get_objects():
        if type(x) is Tensor and isinstance(x.__dict__.get("_value"), jax.core.Tracer):
            alive[id(x)] = x
    return alive


@contextlib.contextmanager
def check_leaks() -> Iterator[None]:
    """Context manager that raises if tensors from inside a transformation are still held when it ends: they have no values, and never will.

    It looks at what is alive when the block ends, so what leaks and is dropped again goes unnoticed. Use it around a whole call, not inside one.

    Raises:
        RuntimeError: it names the shape and dtype of each, and who holds it.

    Examples:
        >>> import neurarust_jax as nr
        >>> kept = []
        >>> @nr.jit
        ... def f(x):
        ...     kept.append(x * 2)
        ...     return x
        >>> with nr.debug.check_leaks():
        ...     y = f(nr.ones(3))
        Traceback (most recent call last):
            ...
        neurarust_jax.errors.LeakError: 1 tensor has left the transformation it was made in...
        >>> kept.clear()
    """
    gc.collect()
    before = set(_traced_tensors())
    yield
    gc.collect()
    leaked = [x for number, x in _traced_tensors().items() if number not in before]
    if leaked:
        what = "1 tensor has" if len(leaked) == 1 else f"{len(leaked)} tensors have"
        lines = [f"  {x.dtype.name}{list(x.shape)} held by {_holders(x, leaked)}" for x in leaked]
        raise LeakError(
            f"{what} left the transformation it was made in, and there is no value to them outside:\n" + "\n".join(lines) + "\n"
            "Return such values from the function; what a module keeps as an attribute is carried out by nr.jit."
        )


def _holders(tensor: Tensor, leaked: list[Tensor]) -> str:
    """Who refers to a tensor, with the names it has there."""
    named, others = [], []
    for holder in gc.get_referrers(tensor):
        if holder is leaked or type(holder).__name__ in ("frame", "list_iterator"):
            continue
        owner, fields = f"a {type(holder).__name__}", getattr(holder, "__dict__", {})
        if isinstance(holder, dict):
            owners = [o for o in gc.get_referrers(holder) if getattr(o, "__dict__", None) is holder]
            fields, owner = holder, _called(owners[0]) if owners else "a dict"
        elif isinstance(holder, list | tuple):
            owner = f"a {type(holder).__name__} of {len(holder)}"
        names = _names(fields, tensor)
        (named if names else others).append(f"{owner} as {names}" if names else owner)
    return "; ".join(dict.fromkeys(named or others)) or "a variable"


def _names(fields: Any, tensor: Tensor) -> str:
    found = []
    for name, value in fields.items():  # a generator expression would hold the tensor too
        if value is tensor:
            found.append(repr(name))
    return ", ".join(found)


def _called(owner: Any) -> str:
    return f"the module {owner.__name__}" if isinstance(owner, types.ModuleType) else f"a {type(owner).__name__}"
