"""Checkpoints through orbax: every process writes the parts of arrays that it holds, in the background if asked."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from .. import dtypes
from ..errors import ArgumentError, FileFormatError
from . import tree
from .placement import place_of, put

__all__: list[str] = []


class OrbaxFolder:
    """The checkpoints in a folder, or a bucket, that orbax manages.

    Args:
        directory: the folder; it is made if it is not there.
        asynchronous: return from `write` once the arrays are copied off the devices.
    """

    def __init__(self, directory: str | os.PathLike, asynchronous: bool):
        try:
            import orbax.checkpoint as ocp
        except ImportError:
            raise ImportError("a Checkpointer with sharded=True writes through orbax, which is not installed: pip install 'neurarust_jax[orbax]'") from None
        self._ocp = ocp
        self.directory = Path(directory).absolute() if "://" not in str(directory) else directory
        options = ocp.CheckpointManagerOptions(
            max_to_keep=None, enable_async_checkpointing=asynchronous, step_prefix="step", step_format_fixed_length=10, cleanup_tmp_directories=True
        )
        self._manager = ocp.CheckpointManager(self.directory, options=options)
        self._metrics: dict[int, dict[str, float]] = {}

    def steps(self) -> list[int]:
        """The steps that there are checkpoints of."""
        return sorted(self._manager.all_steps())

    def write(self, step: int, contents: dict[str, Any], arrays: Mapping[str, Mapping[str, Any]]) -> None:
        """Begin to write a checkpoint, or write it."""
        if step in self._manager.all_steps():
            raise ArgumentError(f"there is a checkpoint of step {step} in {self.directory} already, and orbax replaces none; save under another step")
        flat = {name: _saved(value) for found in arrays.values() for name, value in found.items() if value.size}
        args = self._ocp.args
        items: dict[str, Any] = {"contents": args.JsonSave(contents)}
        if flat:
            items["arrays"] = args.StandardSave(flat)
        with dtypes.x64():
            self._manager.save(step, args=args.Composite(**items), force=True)

    def delete(self, step: int) -> None:
        """Remove the checkpoint of a step."""
        self._manager.delete(step)

    def read_contents(self, step: int) -> dict[str, Any]:
        """What a checkpoint says of itself, and its states without their arrays."""
        return self._restored(step, contents=self._ocp.args.JsonRestore())["contents"]

    def metrics(self, step: int) -> dict[str, float]:
        """The metrics of a checkpoint; none if it is damaged."""
        if step not in self._metrics:
            try:
                self._metrics[step] = self.read_contents(step)["metrics"]
            except FileFormatError:
                return {}
        return self._metrics[step]

    def read_arrays(self, step: int, contents: dict[str, Any], wanted: Mapping[str, Any], places: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        """The arrays of the wanted states, each process reading the parts that it will hold."""
        asked = {name: tree.references(plain) for name, plain in contents["objects"].items()}
        targets: dict[str, Any] = {}
        for said in (said for found in asked.values() for said in found.items()):
            name, dtype, shape = said[0], dtypes._NAMES[said[1]["dtype"]].dtype, tuple(said[1]["shape"])
            if np.prod(shape, dtype=np.int64):
                place = place_of(name, shape, places)
                with dtypes.x64():
                    targets[name] = np.broadcast_to(np.zeros((), dtype), shape) if place is None else jax.ShapeDtypeStruct(shape, dtype, sharding=place)
        read = self._restored(step, arrays=self._ocp.args.StandardRestore(targets))["arrays"] if targets else {}
        return {name: {key: _restored(key, read, said) for key, said in asked[name].items()} for name in wanted}

    def _restored(self, step: int, **items: Any) -> Any:
        try:
            with dtypes.x64():
                return self._manager.restore(step, args=self._ocp.args.Composite(**items))
        except Exception as error:  # tensorstore and orbax raise whatever they like
            raise FileFormatError(f"the checkpoint of step {step} in {self.directory} is damaged, or from another program: {error}") from error

    def wait(self) -> None:
        """Wait for what is being written."""
        self._manager.wait_until_finished()

    def close(self) -> None:
        """Wait, and end orbax's threads."""
        self._manager.close()


def _saved(value: Any) -> Any:
    """Arrays of several devices as they are; any other as a copy on the host, which the first process writes."""
    is_spread = isinstance(value, jax.Array) and len(value.sharding.device_set) > 1
    return value if is_spread else np.array(value)


def _restored(name: str, read: Mapping[str, Any], said: dict[str, Any]) -> Any:
    array = read.get(name)
    if array is None:
        array = np.empty(said["shape"], dtypes._NAMES[said["dtype"]].dtype)
    if said["tag"] == "$array":
        return np.asarray(array)
    return array if isinstance(array, jax.Array) else put(np.asarray(array), None)
