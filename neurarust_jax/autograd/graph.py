"""The graph that recorded operations form, and the modes that say whether operations are recorded."""

from __future__ import annotations

import functools
import threading
import weakref
from collections.abc import Callable
from typing import Any, NamedTuple, Self, overload

from ..cells import Leaf, next_in_sequence


class Regime(NamedTuple):
    """What fixes a compiled program beside the grad mode.

    Attributes:
        autocast: pairs of a device type and the dtype that `amp.autocast` computes in there, for each device type where it is on.
        anomaly: what `autograd.detect_anomaly` looks for, or `None`.
    """

    autocast: tuple[tuple[str, Any], ...] = ()
    anomaly: Any = None


class _Mode(threading.local):
    grad = True
    inference = False
    regime: Regime | None = None  # `None` where nothing of it is on
    constructs = 0  # counts loops and checkpoints that were recorded where they lose their form if JAX differentiates the whole
    forward = False  # whether the innermost derivative is taken in forward mode
    deferred = False  # whether operations on tracers compute what the backward pass needs only there: JAX differentiates, and sees each as it is


mode = _Mode()

on_regime_change: list[Callable[[Regime | None, Regime | None], None]] = []  # called with the regime before and after


def set_regime(regime: Regime | None) -> None:
    """Put a regime in force in this thread."""
    regime = None if regime == Regime() else regime
    before, mode.regime = mode.regime, regime
    if regime != before:
        for noted in on_regime_change:
            noted(before, regime)


class under_regime:  # noqa: N801
    """A regime for the duration of a `with` block."""

    __slots__ = ("regime", "before")

    def __init__(self, regime: Regime | None):
        self.regime = regime

    def __enter__(self) -> None:
        self.before = mode.regime
        if self.regime != self.before:
            set_regime(self.regime)

    def __exit__(self, *exception: object) -> None:
        if mode.regime != self.before:
            set_regime(self.before)


class Node:
    """One recorded operation.

    It keeps the operation and its inputs; what the backward pass needs beyond them it computes again inside the one compiled program that
    the pass becomes, where XLA drops or fuses it. So recording costs no more than running. Two cases keep more or less than that: a
    node recorded inside a transformation, and one whose forward pass is dear, keep `vjp`; a linear operation keeps only the shapes of its inputs.

    Attributes:
        kernel: the operation, a `dispatch.Kernel`.
        values: its inputs: arrays, Python numbers, `None`; `Hollow` where only the shape is kept. `None` once freed.
        positions: which of the inputs gradients flow to.
        edges: for each of those, the node (or `Leaf`) and output number it came from.
        vjp: the pulled-back function with its residuals, a pytree, or `None`.
        outputs: the number of outputs; with `vjp`, a `Hollow` for each.
        traced: whether the values are tracers.
    """

    __slots__ = ("kernel", "values", "positions", "edges", "vjp", "outputs", "traced", "sequence", "hooks", "retained", "__weakref__")

    def __init__(self, kernel: Any, values: Any, positions: Any, edges: Any, vjp: Any, outputs: Any, traced: bool):
        self.kernel = kernel
        self.values: Any = values
        self.positions = positions
        self.edges = edges
        self.vjp: Any = vjp
        self.outputs = outputs
        self.traced = traced
        self.sequence = next_in_sequence()
        self.hooks: dict[int, dict[int, Callable]] | None = None
        self.retained: dict[int, Leaf] | None = None

    @property
    def next_functions(self) -> tuple[tuple[Any, int], ...]:
        """The nodes that gradients flow to next, each with the output number."""
        return tuple(self.edges)

    def name(self) -> str:
        """The name of the operation's backward pass, as PyTorch writes it."""
        words = self.kernel.name.strip("_").split("_")
        return "".join(word[:1].upper() + word[1:] for word in words) + "Backward0"

    def free(self) -> None:
        """Forget the inputs and residuals."""
        self.values = self.vjp = None

    @property
    def is_freed(self) -> bool:
        """Whether the inputs and residuals are forgotten."""
        return self.values is None

    def __repr__(self) -> str:
        return f"<{self.name()}>"


class Hollow:
    """Shape and dtype in place of an array that a linear operation's backward pass does not read."""

    __slots__ = ("shape", "dtype")

    def __init__(self, shape, dtype):
        self.shape = shape
        self.dtype = dtype


scope_of_modules: Callable[[], str] = str  # set by `nn`: the names of the modules that are running, with slashes
scopes: weakref.WeakKeyDictionary[Node, str] = weakref.WeakKeyDictionary()  # of nodes recorded inside transformations


def note_scope(node: Node) -> None:
    """Keep which modules are running, so that a compiled backward pass carries their names too."""
    scope = scope_of_modules()
    if scope:
        scopes[node] = scope


class _ModeSwitch:
    """A mode for the duration of a `with` block, or of the calls of a decorated function."""

    attribute = "grad"

    def __init__(self, value: bool):
        self.value = value
        self.previous: list[bool] = []

    def __enter__(self) -> None:
        self.previous.append(getattr(mode, self.attribute))
        setattr(mode, self.attribute, self.value)

    def __exit__(self, *exception: object) -> None:
        setattr(mode, self.attribute, self.previous.pop())

    def __call__(self, function: Callable) -> Callable:
        @functools.wraps(function)
        def wrapped(*args, **kwargs):
            with self:
                return function(*args, **kwargs)

        return wrapped


class deferred(_ModeSwitch):  # noqa: N801
    """Context in which a function is traced for JAX to differentiate: operations keep their own derivative rules."""

    attribute = "deferred"

    def __init__(self, value: bool = True):
        super().__init__(value)


class in_direction(_ModeSwitch):  # noqa: N801
    """Context in which a function is differentiated in forward mode, or in reverse mode."""

    attribute = "forward"


class no_grad(_ModeSwitch):  # noqa: N801 (PyTorch's name)
    """Context manager and decorator under which no operation is recorded.

    Examples:
        >>> import neurarust_jax as nr
        >>> x = nr.ones(2, requires_grad=True)
        >>> with nr.no_grad():
        ...     y = x * 2
        >>> y.requires_grad
        False
    """

    @overload
    def __new__(cls, function: None = None) -> Self: ...
    @overload
    def __new__(cls, function: Callable) -> Callable: ...
    def __new__(cls, function: Callable | None = None) -> Any:
        """The mode for `with`, or, where it stands as a bare decorator, the decorated function."""
        made = super().__new__(cls)
        if function is None:
            return made
        made.__init__()
        return made(function)

    def __init__(self, function: Callable | None = None):
        super().__init__(False)


class enable_grad(no_grad):  # noqa: N801
    """Context manager and decorator under which operations are recorded, also inside `no_grad`."""

    def __init__(self, function: Callable | None = None):
        _ModeSwitch.__init__(self, True)


class inference_mode(_ModeSwitch):  # noqa: N801
    """Context manager and decorator under which no operation is recorded: the same as `no_grad` here, where tensors have no versions to count.

    Args:
        mode: `False` has no effect, as in PyTorch.
    """

    @overload
    def __new__(cls, mode: bool = True) -> Self: ...
    @overload
    def __new__(cls, mode: Callable) -> Callable: ...
    def __new__(cls, mode: Any = True) -> Any:
        """The mode for `with`, or, where it stands as a bare decorator, the decorated function."""
        made = super().__new__(cls)
        if callable(mode):
            made.__init__(True)
            return made(mode)
        return made

    def __init__(self, mode: Any = True):
        super().__init__(not mode)
        self.mode = bool(mode)
        self.inference_before: list[bool] = []

    def __enter__(self) -> None:
        self.inference_before.append(mode.inference)
        mode.inference = self.mode
        super().__enter__()
        if not self.mode:
            mode.grad = self.previous[-1]

    def __exit__(self, *exception: object) -> None:
        mode.inference = self.inference_before.pop()
        super().__exit__(*exception)


class set_grad_enabled(_ModeSwitch):  # noqa: N801
    """Switch recording on or off, from the call on, or for a `with` block only.

    Args:
        mode: whether operations are recorded.
    """

    def __init__(self, mode: bool):
        super().__init__(bool(mode))
        self.before_call = _current()
        _set(self.value)

    def __enter__(self) -> None:
        self.previous.append(self.before_call)
        _set(self.value)

    def __call__(self, function: Callable) -> Callable:
        """Decorate a function; recording outside its calls is as before."""
        _set(self.before_call)
        switch = _ModeSwitch(self.value)
        return switch(function)


def _current() -> bool:
    return mode.grad


def _set(value: bool) -> None:
    mode.grad = value


def is_grad_enabled() -> bool:
    """Whether operations are recorded now."""
    return mode.grad


def is_inference_mode_enabled() -> bool:
    """Whether `inference_mode` is in force."""
    return mode.inference
