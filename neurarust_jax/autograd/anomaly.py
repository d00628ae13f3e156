"""`detect_anomaly`: where a NaN or an infinity first appears, forward or backward, eagerly or in a compiled function.

While it is on, every op looks at its results, and every node of the graph at its gradients. An eager op is asked at once. In a compiled function each check is a callback of the
program, which then exists apart from the one without checks; after a call the earliest finding is raised. While it is off nothing of this is there.
"""

from __future__ import annotations

import itertools
import linecache
import os
import sys
import threading
import types
import weakref
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from .. import cells, dtypes
from ..cells import Leaf
from ..dispatch import Kernel, put_around
from ..errors import AnomalyError
from ..tensor import Tensor
from .graph import Regime, mode, on_regime_change, set_regime

__all__ = ["anomaly_mode", "detect_anomaly", "is_anomaly_check_nan_enabled", "is_anomaly_enabled", "set_anomaly_enabled", "set_detect_anomaly"]


class Checks(NamedTuple):
    """What is looked for.

    Attributes:
        nan: results that are not a number, computed from numbers.
        inf: infinite results, computed from finite ones.
    """

    nan: bool
    inf: bool


class Origin(NamedTuple):
    """Where an op was called.

    Attributes:
        op: its name.
        layer: the path of the module whose `forward` called it.
        line: file, line and code.
    """

    op: str
    layer: str
    line: str

    def __str__(self) -> str:
        return f"{self.line}" + (f"\n    in layer {self.layer}" if self.layer else "")


class _Finding(NamedTuple):
    number: int
    what: str
    origin: Origin | None
    backward: str  # the name of the node, for a gradient


layer_path: Callable[[], str] = str  # set by `nn`: the path of the module that is running
_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_FOREIGN = (_PACKAGE + os.sep, os.path.dirname(os.path.abspath(jax.__file__)) + os.sep)
_numbers = itertools.count().__next__
_origins: weakref.WeakKeyDictionary[Any, Origin] = weakref.WeakKeyDictionary()  # of recorded nodes
_found: list[_Finding] = []  # by the callbacks of programs
_lock = threading.Lock()


def user_frame() -> types.FrameType:
    """The innermost frame that is neither of this package nor of JAX."""
    frame = sys._getframe(1)
    while frame.f_back is not None and (frame.f_code.co_filename.startswith((*_FOREIGN, "<op ")) or frame.f_code.co_filename == "<string>"):
        frame = frame.f_back
    return frame


def _origin(op: str) -> Origin:
    frame = user_frame()

    path, number = frame.f_code.co_filename, frame.f_lineno
    code = linecache.getline(path, number).strip()
    return Origin(op, layer_path(), f'File "{path}", line {number}, in {frame.f_code.co_name}' + (f"\n    {code}" if code else ""))


# --- looking at values -----------------------------------------------------------------------------------------------


def _inexact(values: Sequence[Any]) -> list[Any]:
    arrays = [v._value if isinstance(v, Tensor) else v for v in values]
    return [a for a in arrays if isinstance(a, float | complex) or (hasattr(a, "dtype") and np.dtype(a.dtype).kind in "fcV")]


def _flags(outputs: list[Any], inputs: list[Any]) -> Any:
    """(a NaN has appeared, an infinity has appeared)"""
    has_nan = lambda arrays: jnp.array([jnp.isnan(jax.lax.stop_gradient(a)).any() for a in arrays] or [False]).any()  # noqa: E731
    has_inf = lambda arrays: jnp.array([jnp.isinf(jax.lax.stop_gradient(a)).any() for a in arrays] or [False]).any()  # noqa: E731
    nan_before, inf_before = has_nan(inputs), has_inf(inputs)
    return jnp.stack([has_nan(outputs) & ~nan_before, has_inf(outputs) & ~(nan_before | inf_before)])


_eager_flags = jax.jit(_flags)


def look(outputs: Sequence[Any], inputs: Sequence[Any], origin: Origin | None, backward: str = "") -> None:
    """Raise if what is looked for has appeared in `outputs` and was not in `inputs`; of traced values see to it that the program says so.

    Raises:
        AnomalyError: it has appeared.
    """
    assert mode.regime is not None
    checks: Checks = mode.regime.anomaly
    results, given = _inexact(outputs), _inexact(inputs)
    if not results:
        return
    number = _numbers()

    def report(flags: Any) -> list[_Finding]:
        named = [("nan", checks.nan and flags[0]), ("inf", checks.inf and flags[1])]
        return [_Finding(number, what, origin, backward) for what, is_there in named if is_there]

    traced = any(isinstance(x, jax.core.Tracer) for x in (*results, *given))
    with dtypes.x64():
        if not traced:
            found = report(np.asarray(_eager_flags(results, given)))
            if found:
                raise _error(found[0])
            return

        def note(flags: Any) -> None:
            found = report(np.asarray(flags).reshape(-1, 2).any(0))
            with _lock:
                _found.extend(found)

        jax.debug.callback(note, _flags(results, given))


def _error(finding: _Finding) -> AnomalyError:
    _, what, origin, backward = finding
    kind = "nan" if what == "nan" else "infinite"
    if backward:
        place = "" if origin is None else f" Its forward operation, {origin.op}, was called at\n  {origin}"
        return AnomalyError(f"Function '{backward}' returned {kind} values in its gradients.{place}")
    assert origin is not None
    return AnomalyError(f"{origin.op} returned {kind} values, and there were none in its inputs. It was called at\n  {origin}")


def raise_findings() -> None:
    """Raise the earliest of what the programs run so far have found."""
    jax.effects_barrier()
    with _lock:
        found = sorted(_found)
        _found.clear()
    if found:
        raise _error(found[0])


# --- where it looks --------------------------------------------------------------------------------------------------


def _watched(call: Callable) -> Callable:
    """What runs the kernels of ops while it is on."""

    def call_watched(kernel: Kernel, arguments: Any) -> Any:
        output = call(kernel, arguments)
        regime = mode.regime
        if regime is not None and regime.anomaly is not None:
            origin = _origin(kernel.name.strip("_"))
            outputs = [x for x in (output if isinstance(output, tuple) else (output,)) if isinstance(x, Tensor)]
            for x in outputs:
                if x._node is not None and not isinstance(x._node, Leaf):
                    _origins[x._node] = origin
            inputs = [*arguments, *(v for v in kernel.fixed.values() if isinstance(v, float))]
            if any(isinstance(x, Tensor) or hasattr(x, "dtype") for x in arguments):  # what is only made, as nr.full(2, inf), is meant
                look(outputs, inputs, origin)
        return output

    return call_watched


def look_at_gradients(node: Any, gradients: Sequence[Any], arrived: Sequence[Any]) -> None:
    """Look at what one node of the graph returned."""
    look([g for g in gradients if g is not None], [a for a in arrived if a is not None], _origins.get(node), node.name())


def checked_program(compiled: Callable) -> Callable:
    """A compiled program whose findings are raised when it has run."""

    def run(*arguments: Any) -> Any:
        result = compiled(*arguments)
        if not any(isinstance(x, jax.core.Tracer) for x in jax.tree.leaves(result)):
            raise_findings()
        return result

    run.lower = compiled.lower  # type: ignore[attr-defined]
    return run


class CheckedKernel(Kernel):
    """The kernel of a compiled function with checks."""

    __slots__ = ()

    def record(self, positions: tuple[int, ...]) -> Callable:
        """As that of `Kernel`."""
        return checked_program(super().record(positions))


_on = 0  # in how many threads and blocks it is on


def _note(before: Regime | None, after: Regime | None) -> None:
    global _on
    change = (after is not None and after.anomaly is not None) - (before is not None and before.anomaly is not None)
    if change:
        with _lock:
            was, _on = _on, max(_on + change, 0)
        if bool(was) != bool(_on):
            put_around("watch", None, _watched if _on else None)
            cells.watch_calls(bool(_on))


on_regime_change.append(_note)


# --- the switches ----------------------------------------------------------------------------------------------------


def _set(checks: Checks | None) -> None:
    set_regime((mode.regime or Regime())._replace(anomaly=checks))


class set_detect_anomaly:  # noqa: N801 (PyTorch's name)
    """Switch the search for NaN and infinity on or off in this thread, from the call on, or for a `with` block only. See `detect_anomaly`.

    Args:
        mode: whether to look.
        check_nan: whether to look for NaN. Default: `True`.
        check_inf: whether to look for infinities. Default: `True`.
    """

    def __init__(self, mode: bool, check_nan: bool = True, check_inf: bool = True):
        self.checks = Checks(bool(check_nan), bool(check_inf)) if mode else None
        self.before = _present()
        _set(self.checks)

    def __enter__(self) -> None:
        pass

    def __exit__(self, *exception: Any) -> None:
        _set(self.before)
        _finish(exception[0] is None)


def set_anomaly_enabled(mode: bool, check_nan: bool = True) -> None:
    """Switch the search for NaN and infinity on or off in this thread, as `set_detect_anomaly` does.

    Args:
        mode: whether to look.
        check_nan: whether to look for NaN, and for infinities. Default: `True`.
    """
    _set(Checks(bool(check_nan), bool(check_nan)) if mode else None)


class detect_anomaly:  # noqa: N801 (PyTorch's name)
    """Context manager under which the op that first makes a NaN or an infinity raises an error that names it, its layer and its source line.

    Forward, an op is reported if its result holds a NaN and its inputs do not, or an infinity and its inputs are finite; what is only made, such as ``nr.full((2,), -inf)``, or passed on, is
    not. Backward, the same of the gradients that a recorded operation returns, with the line of its forward operation (PyTorch reports NaN in the backward pass alone). Everything runs slower:
    eager ops wait for their results, backward passes go step by step, and functions under `nr.jit` are compiled apart, with checks inside that are raised after the call. A compiled
    call that raises has changed no parameter, nor any other cell.

    Args:
        check_nan: whether to look for NaN. Default: `True`.
        check_inf: whether to look for infinities: `False` where a `GradScaler` lets gradients overflow. Default: `True`.

    Raises:
        RuntimeError: a NaN or an infinity has appeared.

    Examples:
        >>> import neurarust_jax as nr
        >>> with nr.autograd.detect_anomaly():
        ...     y = nr.tensor([-1.0]).sqrt()
        Traceback (most recent call last):
            ...
        neurarust_jax.errors.AnomalyError: sqrt returned nan values, and there were none in its inputs. It was called at
        ...
    """

    def __init__(self, check_nan: bool = True, check_inf: bool = True):
        self.checks = Checks(bool(check_nan), bool(check_inf))
        self.before: list[Checks | None] = []

    def __enter__(self) -> None:
        self.before.append(_present())
        _set(self.checks)

    def __exit__(self, *exception: Any) -> None:
        _set(self.before.pop())
        _finish(exception[0] is None)


anomaly_mode = detect_anomaly


def _finish(raises: bool) -> None:
    """At the end of a block: raise what was found where nobody has asked, as by `jax.jit` and by transformations outside `nr.jit`; after an error, forget it."""
    if raises:
        raise_findings()
    with _lock:
        _found.clear()


def _present() -> Checks | None:
    return None if mode.regime is None else mode.regime.anomaly


def is_anomaly_enabled() -> bool:
    """Whether `detect_anomaly` is in force in this thread."""
    return _present() is not None


def is_anomaly_check_nan_enabled() -> bool:
    """Whether `detect_anomaly` looks for NaN; true where it is not in force, as in PyTorch."""
    present = _present()
    return present is None or present.nan
