"""`LRScheduler`, the base of the schedules, and what they share."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from ... import cells
from ...errors import ArgumentError, ArgumentTypeError, TracedValueError
from ...ops.creation import full_like
from ...tensor import Tensor
from ..optimizer import Optimizer

__all__ = ["LRScheduler"]

EPOCH_WARNING = (
    "The epoch parameter in `scheduler.step()` was not necessary and is being deprecated where possible. Please use `scheduler.step()` to step the scheduler. "
    "During the deprecation, if epoch is different from None, the closed form is used instead of the new chainable form, where available."
)
_ORDER = "See more details at https://pytorch.org/docs/stable/optim.html#how-to-adjust-learning-rate"


class LRScheduler:
    r"""Base class of the schedules. A subclass defines `get_lr`.

    Making a schedule sets the learning rates of its optimizer, so load an optimizer's state dict afterwards.

    Args:
        optimizer: the optimizer whose param groups get new rates.
        last_epoch: the number of the last epoch; -1 to begin. Default: -1.

    Attributes:
        optimizer: the optimizer.
        last_epoch: how many steps were made.
        base_lrs: the rates at the beginning, one for each group.

    Raises:
        TypeError: `optimizer` is none.
        KeyError: `last_epoch` continues a schedule, and a group has no ``"initial_lr"``.

    Examples:
        >>> import neurarust_jax as nr
        >>> class Halving(nr.optim.lr_scheduler.LRScheduler):
        ...     def get_lr(self):
        ...         return [lr / 2**self.last_epoch for lr in self.base_lrs]
        >>> optimizer = nr.optim.SGD([nr.nn.Parameter(nr.ones(1))], lr=1.0)
        >>> scheduler = Halving(optimizer)
        >>> optimizer.step()
        >>> scheduler.step()
        >>> scheduler.get_last_lr()
        [0.5]
    """

    _get_lr_called_within_step = False
    _is_initial = False
    optimizer: Optimizer
    last_epoch: int

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1):
        self.optimizer = check_optimizer(optimizer)
        if last_epoch == -1:
            for group in optimizer.param_groups:
                group.setdefault("initial_lr", group["lr"])
        else:
            for i, group in enumerate(optimizer.param_groups):
                if "initial_lr" not in group:
                    raise KeyError(
                        f"param 'initial_lr' is not specified in param_groups[{i}] when resuming scheduler with last_epoch >= 0: load the optimizer's state dict "
                        "first, or begin with last_epoch=-1"
                    )
        self.base_lrs: list[Any] = values_of(optimizer, "initial_lr")
        self.last_epoch = last_epoch
        _note_calls(optimizer)
        self._initial_step()

    def _initial_step(self) -> None:
        self._step_count = 0
        self._is_initial = True
        try:
            self.step()
        finally:
            self._is_initial = False

    def state_dict(self) -> dict[str, Any]:
        """Everything but the optimizer, under PyTorch's names."""
        return {name: value for name, value in self.__dict__.items() if name != "optimizer"}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from what `state_dict` returned, here or in PyTorch."""
        self.__dict__.update(state_dict)

    def get_last_lr(self) -> list[Any]:
        """The rates that the last step set, one for each group."""
        return self._last_lr

    def get_lr(self) -> list[Any]:
        """The next rates, one for each group. Called by `step` alone; `get_last_lr` tells the present ones."""
        raise NotImplementedError

    def step(self, epoch: int | None = None) -> None:
        """Set the next rates. Call it after the optimizer's `step`, and outside functions under `nr.jit`.

        Args:
            epoch: the number of the epoch, if it is not the next one. Deprecated.
        """
        check_outside_traces(self)
        if self._step_count == 1:
            if not hasattr(self.optimizer.step, "_notes_call"):
                warnings.warn(
                    "Seems like `optimizer.step()` has been overridden after learning rate scheduler initialization. Please, make sure to call "
                    f"`optimizer.step()` before `lr_scheduler.step()`. {_ORDER}",
                    UserWarning,
                    stacklevel=2,
                )
            elif not getattr(self.optimizer, "_opt_called", False):
                warnings.warn(
                    "Detected call of `lr_scheduler.step()` before `optimizer.step()`. In PyTorch 1.1.0 and later, you should call them in the opposite order: "
                    "`optimizer.step()` before `lr_scheduler.step()`.  Failure to do this will result in skipping the first value of the learning rate "
                    f"schedule. {_ORDER}",
                    UserWarning,
                    stacklevel=2,
                )
        self._step_count += 1
        if epoch is not None:
            warnings.warn(EPOCH_WARNING, UserWarning, stacklevel=2)
        self._update_lr(epoch)

    def _update_lr(self, epoch: int | None = None) -> None:
        with self._within_step():
            if epoch is None:
                self.last_epoch += 1
                values = self.get_lr()
            else:
                self.last_epoch = epoch
                values = self._get_closed_form_lr() if hasattr(self, "_get_closed_form_lr") else self.get_lr()  # type: ignore[attr-defined]
        self._set(values)

    def _set(self, rates: list[Any]) -> None:
        for group, lr in zip(self.optimizer.param_groups, rates, strict=True):
            set_value(group, "lr", lr)
        self._last_lr = values_of(self.optimizer, "lr")

    @contextmanager
    def _within_step(self) -> Iterator[None]:
        """In the block `get_lr` is called as it should be."""
        self._get_lr_called_within_step = True
        try:
            yield
        finally:
            self._get_lr_called_within_step = False

    def _warn_if_called_alone(self) -> None:
        if not self._get_lr_called_within_step:
            warnings.warn("To get the last learning rate computed by the scheduler, please use `get_last_lr()`.", UserWarning, stacklevel=3)

    def _rates(self) -> list[Any]:
        return values_of(self.optimizer, "lr")


class _LRScheduler(LRScheduler):
    """The base class under PyTorch's older name."""


def check_optimizer(optimizer: Any) -> Optimizer:
    """The optimizer, or PyTorch's error for what is none."""
    if not isinstance(optimizer, Optimizer):
        raise ArgumentTypeError(f"{type(optimizer).__name__} is not an Optimizer")
    if any("lr" not in group for group in optimizer.param_groups):
        raise KeyError(f"the param groups of {type(optimizer).__name__} have no 'lr' that could be set; an optax transformation takes a schedule of optax's")
    return optimizer


def check_outside_traces(scheduler: Any) -> None:
    """Raise if a schedule is to make its step inside a compiled function, which would make it only once."""
    if cells.current_trace() is not None:
        raise TracedValueError(
            f"{type(scheduler).__name__}.step() counts in Python, and inside nr.jit it would count only once, while the function is traced. Call it outside, after "
            "the compiled step: the learning rate is data to that, and a new one compiles nothing."
        )


def _note_calls(optimizer: Any) -> None:
    """See to it that the optimizer notes calls of its `step`, also of one that was put into the instance."""
    step = optimizer.step
    if hasattr(step, "_notes_call"):
        return

    @functools.wraps(step)
    def noted(*arguments: Any, **named: Any) -> Any:
        optimizer._opt_called = True
        return step(*arguments, **named)

    noted._notes_call = True  # type: ignore[attr-defined]
    optimizer.step = noted


def values_of(optimizer: Optimizer, name: str) -> list[Any]:
    """An option of each group."""
    return [group[name] for group in optimizer.param_groups]


def set_value(group: Any, name: str, value: Any) -> None:
    """Set an option; one that was given as a tensor stays one, of its dtype."""
    known = group[name]
    group[name] = full_like(known, float(value)) if isinstance(known, Tensor) else value


def for_each_group(name: str, optimizer: Optimizer, value: Any) -> list[Any]:
    """A list with a value for each group, of one for all or of a list."""
    count = len(optimizer.param_groups)
    if not isinstance(value, list | tuple):
        return [value] * count
    if len(value) != count:
        raise ArgumentError(f"{name} must have the same length as optimizer.param_groups. {name} has {len(value)} values, param_groups has {count}.")
    return list(value)


def state_of_function(function: Callable) -> dict[str, Any] | None:
    """What a state dict keeps of a user's function: the attributes of a callable object; of a function, nothing."""
    return None if type(function) is type(state_of_function) else function.__dict__.copy()
