"""`Checkpointer`: whole training states, saved so that nothing can make them unreadable, and restored bit for bit."""

from __future__ import annotations

import os
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np

from ..errors import ArgumentError, ArgumentTypeError, FileFormatError
from ..generator import Generator, default_generator
from . import tree
from .folder import Folder

__all__ = ["Checkpoint", "Checkpointer"]

_RANDOM = "default_generator"


class Checkpoint(NamedTuple):
    """What a checkpoint says of itself.

    Attributes:
        step: the number it was saved under.
        metrics: the numbers it was saved with.
        extra: what else was to be kept.
    """

    step: int
    metrics: dict[str, float]
    extra: Any


class Checkpointer:
    """Saves and restores everything that training goes on from: each object given, and the default generator.

    A checkpoint is a folder ``step_0000001000`` with a safetensors file for each object and a file ``checkpoint.json`` for the rest. It is written beside its
    place and then renamed: a process that is killed at any moment leaves the checkpoints that were there. Every tensor has a checksum, and nothing is put into an
    object before the whole checkpoint has been read and checked.

    Args:
        directory: the folder to keep checkpoints in.
        objects: by name, whatever has `state_dict` and `load_state_dict` (modules, optimizers, schedulers, loaders, gradient scalers), and generators, ours or
            NumPy's.
        keep_last: how many of the newest checkpoints to keep. Default: all.
        keep_best: how many of the best ones to keep besides, by `metric`.
        metric: the name of the metric that the best ones are chosen by.
        mode: ``"min"`` or ``"max"``, whether it should be low or high.
        asynchronous: write in the background. The state is that of the call of `save`, whatever training does meanwhile.
        sharded: write through orbax (``pip install 'neurarust_jax[orbax]'``): every process writes the parts of arrays that it holds, and reads those it needs.

    Examples:
        >>> import tempfile, neurarust_jax as nr
        >>> model = nr.nn.Linear(2, 1)
        >>> optimizer = nr.optim.Adam(model.parameters())
        >>> checkpointer = nr.io.Checkpointer(tempfile.mkdtemp(), {"model": model, "optimizer": optimizer}, keep_last=2)
        >>> for step in range(3):
        ...     checkpointer.save(step, metrics={"loss": 1.0 / (step + 1)})
        >>> checkpointer.steps(), checkpointer.restore()
        ([1, 2], Checkpoint(step=2, metrics={'loss': 0.3333333333333333}, extra=None))
    """

    def __init__(
        self, directory: str | os.PathLike, objects: Mapping[str, Any], *, keep_last: int | None = None, keep_best: int = 0, metric: str | None = None,
        mode: str = "min", asynchronous: bool = False, sharded: bool = False,
    ):  # fmt: skip
        if mode not in ("min", "max"):
            raise ArgumentError(f"mode is 'min' or 'max', got {mode!r}")
        if keep_last is not None and keep_last < 1:
            raise ArgumentError(f"keep_last is at least 1, or None to keep all, got {keep_last}")
        if keep_best and metric is None:
            raise ArgumentError("keep_best needs the name of the metric that the best checkpoints are chosen by: metric='loss'")
        self.objects = {name: _checked(name, value) for name, value in objects.items()}
        if default_generator not in self.objects.values():
            self.objects[_RANDOM] = default_generator
        self.keep_last, self.keep_best, self.metric, self.mode = keep_last, keep_best, metric, mode
        self._store: Any
        self._is_sharded, self._has_new = sharded, False
        if sharded:
            from .orbax import OrbaxFolder

            self._store = OrbaxFolder(directory, asynchronous)
        else:
            self._store = Folder(directory)
        self._pool = ThreadPoolExecutor(1, "checkpoint") if asynchronous and not sharded else None
        self._pending: Future | None = None

    def save(self, step: int, *, metrics: Mapping[str, float] | None = None, extra: Any = None) -> None:
        """Save the present state of all objects. A checkpoint of the same number is replaced.

        Args:
            step: the number to save it under.
            metrics: numbers that describe it, such as the validation loss.
            extra: what else to keep: numbers, strings, tensors, and containers of them.

        Raises:
            ValueError: the metric that the best checkpoints are chosen by is missing.
            TypeError: a state holds something that cannot be saved.
        """
        self.wait()
        if not isinstance(step, int | np.integer) or isinstance(step, bool) or step < 0:
            raise ArgumentTypeError(f"a step is an int of at least 0, got {step!r}")
        numbers = {name: float(value) for name, value in (metrics or {}).items()}
        if self.keep_best and self.metric not in numbers:
            raise ArgumentError(f"the best checkpoints are kept by {self.metric!r}: give save metrics={{{self.metric!r}: value}}")
        plain, arrays = {}, {}
        for name, value in {**{name: _state_of(value) for name, value in self.objects.items()}, "$extra": extra}.items():
            plain[name], found = tree.split(value, name.removeprefix("$"))
            arrays[name] = found
        contents = {"step": int(step), "metrics": numbers, "objects": plain}
        self._has_new = self._is_sharded
        if self._pool is None:
            self._write(int(step), contents, arrays)
        else:
            self._pending = self._pool.submit(self._write, int(step), contents, arrays)

    def _write(self, step: int, contents: dict[str, Any], arrays: dict[str, dict[str, Any]]) -> None:
        self._store.write(step, contents, arrays)
        if not self._is_sharded:
            self._remove_others()

    def _remove_others(self) -> None:
        """Remove what the policy does not keep."""
        kept = self._kept()
        for other in self._store.steps():
            if other not in kept:
                self._store.delete(other)

    def _kept(self) -> set[int]:
        """The steps that the policy keeps."""
        steps = self._store.steps()
        kept = set(steps if self.keep_last is None else steps[-self.keep_last :])
        if self.keep_best:
            kept |= set(self._ranked()[: self.keep_best])
        return kept

    def _ranked(self) -> list[int]:
        """Steps from the best to the worst; of equal ones the newest first; NaN is worst."""

        def rank(step: int) -> tuple[bool, float, int]:
            value = self._store.metrics(step).get(self.metric, float("nan"))
            return value != value, value if self.mode == "min" else -value, -step

        return sorted(self._store.steps(), key=rank)

    def wait(self) -> None:
        """Wait until what is saved in the background is on disk.

        Raises:
            The error that the saving ended with.
        """
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()
        self._store.wait()
        if self._has_new:  # orbax removes only what is beside a finished checkpoint
            self._has_new = False
            self._remove_others()

    def steps(self) -> list[int]:
        """The steps of the checkpoints that are there, in order."""
        self.wait()
        return self._store.steps()

    def latest(self) -> int | None:
        """The greatest step of which there is a checkpoint."""
        return max(self.steps(), default=None)

    def best(self) -> int | None:
        """The step of the best checkpoint by the metric."""
        if self.metric is None:
            raise ArgumentError("best() needs the name of a metric: Checkpointer(..., metric='loss')")
        self.wait()
        return next(iter(self._ranked()), None)

    def restore(self, step: int | None = None) -> Checkpoint | None:
        """Put a saved state back into all objects. If anything is wrong, an error says what, and no object has changed.

        Args:
            step: which checkpoint. Default: the latest.

        Returns:
            The step, the metrics and the extra data; `None` if there is no checkpoint yet.

        Raises:
            ValueError: there is no checkpoint of that step.
            RuntimeError: a file is damaged, or does not fit the objects.
        """
        steps = self.steps()
        if step is None and not steps:
            return None
        step = steps[-1] if step is None else step
        if step not in steps:
            raise ArgumentError(f"there is no checkpoint of step {step} in {self._store.directory}; there are those of {steps}")
        contents = self._store.read_contents(step)
        missing = self.objects.keys() - contents["objects"].keys()
        if missing:
            raise FileFormatError(f"the checkpoint of step {step} in {self._store.directory} has no state of {', '.join(map(repr, sorted(missing)))}")
        wanted = {name: contents["objects"][name] for name in (*self.objects, "$extra")}
        arrays = self._store.read_arrays(step, contents, wanted, _places(self.objects))
        states = {name: tree.join(plain, arrays[name]) for name, plain in wanted.items()}
        extra = states.pop("$extra")
        self._load(states)
        return Checkpoint(step, contents["metrics"], extra)

    def _load(self, states: dict[str, Any]) -> None:
        before: dict[str, Any] = {}
        try:
            for name, value in self.objects.items():
                before[name] = _state_of(value)
                _load_into(value, states[name])
        except BaseException:
            for name, state in before.items():
                _load_into(self.objects[name], state)
            raise

    def close(self) -> None:
        """Wait for what is being saved, and end the thread that does it."""
        try:
            self.wait()
        finally:
            if self._pool is not None:
                self._pool.shutdown()
            self._store.close()

    def __enter__(self) -> Checkpointer:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _checked(name: str, value: Any) -> Any:
    is_generator = isinstance(value, Generator | np.random.Generator)
    if not is_generator and not (hasattr(value, "state_dict") and hasattr(value, "load_state_dict")):
        raise ArgumentTypeError(f"a checkpoint keeps objects with state_dict and load_state_dict, and generators; {name!r} is a {type(value).__name__}; plain data go into extra=")
    if not isinstance(name, str) or not name or name.startswith(("$", ".")) or set(name) & set('/\\:*?"<>|\0'):
        raise ArgumentError(f"the name of an object names its file in the checkpoint, and {name!r} cannot")
    return value


def _state_of(value: Any) -> Any:
    if isinstance(value, Generator):
        return {"state": np.asarray(value.get_state()._value), "seed": value._seed}
    if isinstance(value, np.random.Generator):
        return value.bit_generator.state
    return value.state_dict()


def _load_into(value: Any, state: Any) -> None:
    if isinstance(value, Generator):
        value.set_state(state["state"])
        value._seed = state["seed"]
    elif isinstance(value, np.random.Generator):
        value.bit_generator.state = state
    else:
        value.load_state_dict(state)


def _places(objects: Mapping[str, Any]) -> dict[str, Any]:
    """By name, the sharding of each array that an object holds on chosen devices now: where the one read in its stead goes."""
    places: dict[str, Any] = {}
    for name, value in objects.items():
        if isinstance(value, Generator | np.random.Generator):
            continue
        _, arrays = tree.split(value.state_dict(), name)
        places.update((key, array.sharding) for key, array in arrays.items() if getattr(array, "committed", False))
        parameters = [p for group in getattr(value, "param_groups", ()) for p in group["params"]]
        for i, p in enumerate(parameters):  # an optimizer's state lies as its parameters do, also before its first step
            if getattr(p._value, "committed", False):
                places[f"{name}.state.{i}"] = p._value.sharding, tuple(p.shape)
    return places
