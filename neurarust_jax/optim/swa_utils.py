"""Averages of a model's parameters over training: PyTorch's `torch.optim.swa_utils`."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from .. import dtypes
from ..autograd.graph import no_grad
from ..dispatch import decided
from ..errors import ArgumentError
from ..nn.batchnorm import _BatchNorm
from ..nn.module import Module
from ..ops.creation import tensor
from ..ops.elementwise import lerp as _lerp
from ..ops.elementwise import where
from ..tensor import Tensor, wrap
from .lr_scheduler.scheduler import LRScheduler, for_each_group
from .optimizer import Optimizer

__all__ = ["SWALR", "AveragedModel", "get_ema_avg_fn", "get_ema_multi_avg_fn", "get_swa_avg_fn", "get_swa_multi_avg_fn", "update_bn"]


def get_ema_multi_avg_fn(decay: float = 0.999) -> Callable[[Sequence[Any], Sequence[Any], Any], None]:
    """The exponential moving average, ``average = decay * average + (1 - decay) * model``, of all parameters in one compiled call.

    Args:
        decay: between 0 and 1. Default: 0.999.

    Returns:
        A function of the averaged parameters, which it changes, the model's parameters, and a number that it makes no use of.

    Raises:
        ValueError: `decay` is outside its range.

    Examples:
        >>> import neurarust_jax as nr
        >>> average = nr.nn.Parameter(nr.tensor([1.0]))
        >>> nr.optim.swa_utils.get_ema_multi_avg_fn(0.9)([average], [nr.tensor([2.0])], 0)
        >>> average.detach()
        tensor([1.1000])
    """
    _check_decay(decay)

    def ema_update(ema_param_list: Sequence[Any], current_param_list: Sequence[Any], _: Any) -> None:
        _mix(ema_param_list, current_param_list, 1 - decay)

    return ema_update


def get_swa_multi_avg_fn() -> Callable[[Sequence[Any], Sequence[Any], Any], None]:
    """The plain average, ``average = average + (model - average) / (n + 1)``, of all parameters in one compiled call.

    Returns:
        A function of the averaged parameters, which it changes, the model's parameters, and how many models have been averaged.

    Examples:
        >>> import neurarust_jax as nr
        >>> average = nr.nn.Parameter(nr.tensor([1.0]))
        >>> nr.optim.swa_utils.get_swa_multi_avg_fn()([average], [nr.tensor([2.0])], 1)
        >>> average.detach()
        tensor([1.5000])
    """

    def swa_update(averaged_param_list: Sequence[Any], current_param_list: Sequence[Any], num_averaged: Any) -> None:
        count = num_averaged.double() if isinstance(num_averaged, Tensor) else num_averaged
        _mix(averaged_param_list, current_param_list, 1 / (count + 1))

    return swa_update


def get_ema_avg_fn(decay: float = 0.999) -> Callable[[Any, Any, Any], Any]:
    """The exponential moving average of one parameter, ``decay * average + (1 - decay) * model``.

    Args:
        decay: between 0 and 1. Default: 0.999.

    Returns:
        A function of the averaged parameter, the model's, and a number that it makes no use of.

    Raises:
        ValueError: `decay` is outside its range.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.optim.swa_utils.get_ema_avg_fn(0.9)(nr.tensor([1.0]), nr.tensor([2.0]), 0)
        tensor([1.1000])
    """
    _check_decay(decay)

    @no_grad()
    def ema_update(ema_param: Any, current_param: Any, num_averaged: Any) -> Any:
        return decay * ema_param + (1 - decay) * current_param

    return ema_update


def get_swa_avg_fn() -> Callable[[Any, Any, Any], Any]:
    """The plain average of one parameter, ``average + (model - average) / (n + 1)``.

    Returns:
        A function of the averaged parameter, the model's, and how many models have been averaged.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.optim.swa_utils.get_swa_avg_fn()(nr.tensor([1.0]), nr.tensor([2.0]), 1)
        tensor([1.5000])
    """

    @no_grad()
    def swa_update(averaged_param: Any, current_param: Any, num_averaged: Any) -> Any:
        return averaged_param + (current_param - averaged_param) / (num_averaged + 1)

    return swa_update


def _check_decay(decay: float) -> None:
    if decay < 0.0 or decay > 1.0:
        raise ArgumentError(f"Invalid decay value {decay} provided. Please provide a value in [0,1] range.")


def _mix(averages: Sequence[Any], values: Sequence[Any], weight: Any) -> None:
    """Move each average towards the value by `weight` of the way, also integers, whose result is cut off."""
    with dtypes.x64():
        mixed = _mixed([a._value for a in averages], [v._value for v in values], weight._value if isinstance(weight, Tensor) else jnp.float64(weight))
    with no_grad():
        for average, new in zip(averages, mixed, strict=True):
            average.copy_(wrap(new))


@jax.jit
def _mixed(averages: list[Any], values: list[Any], weight: Any) -> list[Any]:
    def mix(average: Any, value: Any) -> Any:
        if jnp.issubdtype(average.dtype, jnp.inexact):
            return _lerp.op.function(average, value, weight)
        return (average * (1 - weight) + value * weight).astype(average.dtype)

    return list(map(mix, averages, values))


class AveragedModel(Module):
    r"""A copy of a model whose parameters are averages over training.

    By default the average is plain (stochastic weight averaging, Izmailov et al., 2018); with `get_ema_multi_avg_fn` it is an exponential moving average (Polyak
    averaging). The first `update_parameters` copies the model. It may stand inside functions under `nr.jit`, in a training step for instance.

    Args:
        model: the model, which stays as it is.
        device: where the averages are kept, by default where the model is.
        avg_fn: gives the new average of one parameter, from the old one, the model's parameter, and how many models have been averaged.
        multi_avg_fn: changes the averages in a list, given the model's parameters in a list, and how many models have been averaged.
        use_buffers: average buffers too, instead of copying them. Default: `False`.

    Attributes:
        module: the copy.
        n_averaged: a buffer that counts the models averaged.

    Raises:
        AssertionError: both functions are given.

    Examples:
        >>> import neurarust_jax as nr
        >>> from neurarust_jax.optim import swa_utils
        >>> model = nr.nn.Linear(1, 1, bias=False)
        >>> average = swa_utils.AveragedModel(model, multi_avg_fn=swa_utils.get_ema_multi_avg_fn(0.75))
        >>> for value in (1.0, 3.0):
        ...     with nr.no_grad():
        ...         _ = model.weight.fill_(value)
        ...     average.update_parameters(model)
        >>> average(nr.ones(1)).item()
        1.5
    """

    n_averaged: Any

    def __init__(
        self, model: Module, device: Any = None, avg_fn: Callable[[Any, Any, Any], Any] | None = None,
        multi_avg_fn: Callable[[Sequence[Any], Sequence[Any], Any], None] | None = None, use_buffers: bool = False,
    ):  # fmt: skip
        super().__init__()
        if avg_fn is not None and multi_avg_fn is not None:
            raise AssertionError("Only one of avg_fn and multi_avg_fn should be provided")
        self.module = copy.deepcopy(model)
        if device is not None:
            self.module = self.module.to(device)
        self.register_buffer("n_averaged", tensor(0, device=device))
        self.avg_fn = avg_fn
        self.multi_avg_fn = multi_avg_fn
        self.use_buffers = use_buffers

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Call the copy."""
        return self.module(*args, **kwargs)

    @no_grad()
    def update_parameters(self, model: Module) -> None:
        """Take in the present parameters of the model."""
        averages = [*self.module.parameters(), *(self.module.buffers() if self.use_buffers else ())]
        values = [*model.parameters(), *(model.buffers() if self.use_buffers else ())]
        values = [_on(a, v) for a, v in zip(averages, values, strict=True)]
        is_first = decided(self.n_averaged == 0)
        if is_first is True:
            for average, value in zip(averages, values, strict=True):
                average.copy_(value)
        else:
            self._average(averages, values)
            if is_first is not False:  # known only when the compiled function runs
                for average, value in zip(averages, values, strict=True):
                    average.copy_(where(is_first, value, average.detach()))
        if not self.use_buffers:
            for average, value in zip(self.module.buffers(), model.buffers(), strict=True):
                average.copy_(_on(average, value))
        self.n_averaged.add_(1)

    def _average(self, averages: list[Any], values: list[Any]) -> None:
        count = self.n_averaged.detach()
        if self.avg_fn is not None:
            for average, value in zip(averages, values, strict=True):
                average.copy_(self.avg_fn(average.detach(), value, count.to(average.device)))
            return
        alike: dict[Any, list[int]] = {}
        for i, average in enumerate(averages):
            alike.setdefault((average.device, average.dtype), []).append(i)
        for (device, _), places in alike.items():
            update = self.multi_avg_fn or get_swa_multi_avg_fn()
            update([averages[i] for i in places], [values[i] for i in places], count.to(device))


def _on(average: Any, value: Any) -> Any:
    """The value of a cell, where the average is."""
    return value.detach() if value.device == average.device else value.detach().to(average.device)


@no_grad()
def update_bn(loader: Iterable[Any], model: Module, device: Any = None) -> None:
    """Compute the running statistics of the batch normalizations of a model anew, as plain averages over a data set.

    Args:
        loader: gives batches: tensors, or lists or tuples that begin with one.
        model: the model. It is run in training mode; its mode is as before afterwards.
        device: where to put the batches first.

    Examples:
        >>> import neurarust_jax as nr
        >>> model = nr.nn.BatchNorm2d(1)
        >>> nr.optim.swa_utils.update_bn([nr.ones(2, 1, 1, 1), 3 * nr.ones(2, 1, 1, 1)], model)
        >>> model.running_mean
        tensor([2.])
    """
    layers = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    for layer in layers:
        layer.reset_running_stats()
    if not layers:
        return
    momenta, was_training = [layer.momentum for layer in layers], model.training
    model.train()
    for layer in layers:
        layer.momentum = None
    for batch in loader:
        batch = batch[0] if isinstance(batch, list | tuple) else batch
        model(batch if device is None else batch.to(device))
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum
    model.train(was_training)


class SWALR(LRScheduler):
    """The rate from where it is to a constant one, for the epochs that are averaged.

    Args:
        optimizer: the optimizer.
        swa_lr: the constant rate, or one for each group.
        anneal_epochs: epochs of the way there. Default: 10.
        anneal_strategy: ``"cos"`` or ``"linear"``. Default: ``"cos"``.
        last_epoch: the number of the last epoch. Default: -1.

    Examples:
        >>> import neurarust_jax as nr
        >>> optimizer = nr.optim.SGD([nr.nn.Parameter(nr.ones(1))], lr=1.0)
        >>> scheduler = nr.optim.swa_utils.SWALR(optimizer, swa_lr=0.5, anneal_epochs=2, anneal_strategy="linear")
        >>> for _ in range(3):
        ...     optimizer.step()
        ...     scheduler.step()
        ...     print(scheduler.get_last_lr())
        [0.75]
        [0.5]
        [0.5]
    """

    def __init__(self, optimizer: Optimizer, swa_lr: Any, anneal_epochs: int = 10, anneal_strategy: str = "cos", last_epoch: int = -1):
        for rate, group in zip(for_each_group("swa_lr", optimizer, swa_lr), optimizer.param_groups, strict=True):
            group["swa_lr"] = rate
        if anneal_strategy not in ("cos", "linear"):
            raise ArgumentError(f"anneal_strategy must be one of 'cos' or 'linear', instead got {anneal_strategy}")
        self._anneal_strategy = anneal_strategy
        if not isinstance(anneal_epochs, int) or anneal_epochs < 0:
            raise ArgumentError(f"anneal_epochs must be equal or greater than 0, got {anneal_epochs}")
        self.anneal_epochs = anneal_epochs
        super().__init__(optimizer, last_epoch)

    def anneal_func(self, t: float) -> float:
        """The share of the way that is done at the share `t` of the epochs."""
        return t if self._anneal_strategy == "linear" else (1 - math.cos(math.pi * t)) / 2

    def get_lr(self) -> list[Any]:
        """The next rates."""
        self._warn_if_called_alone()
        step = self._step_count - 1
        if self.anneal_epochs == 0:
            step = max(1, step)
        before = self.anneal_func(max(0, min(1, (step - 1) / max(1, self.anneal_epochs))))
        now = self.anneal_func(max(0, min(1, step / max(1, self.anneal_epochs))))
        rates = []
        for group in self.optimizer.param_groups:
            constant = group["swa_lr"]
            initial = constant if before == 1 else (group["lr"] - before * constant) / (1 - before)
            rates.append(constant * now + initial * (1 - now))
        return rates
