"""`map_location`: where the tensors of a file go."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from .. import devices, dtypes
from ..errors import ArgumentTypeError
from ..parameter import CellTensor
from ..tensor import Tensor, wrap

__all__ = ["Placement"]


class Placement:
    """Puts arrays of a file where the user wants them.

    Args:
        map_location: `None` for JAX's default device; a device; a `jax.sharding.Sharding`; a mapping from names of tensors, or from the devices that the file
            names, to such; or a function of a tensor and the device that the file names, which returns a tensor, such a place, or `None`.
    """

    def __init__(self, map_location: Any):
        self.map_location = map_location
        if map_location is None or isinstance(map_location, Mapping) or _is_place(map_location):
            return
        if not callable(map_location):
            devices.device(map_location)  # raises for what is none

    @property
    def by_name(self) -> bool:
        """Whether the place depends on the tensor's name."""
        return isinstance(self.map_location, Mapping)

    def put(self, array: np.ndarray, names: tuple[str, ...] = (), location: str = "cpu") -> Tensor:
        """A tensor of the array, which nobody writes to from now on.

        Args:
            array: the elements.
            names: what the mapping may call the tensor, the most exact name first.
            location: the device that the file names.
        """
        where = self.map_location
        if isinstance(where, Mapping):
            where = next((where[name] for name in (*names, location) if name in where), None)
        if callable(where) and not _is_place(where):
            tensor = wrap(put(array, None))
            where = where(tensor, location)
            if where is None or isinstance(where, Tensor):
                return tensor if where is None else where
        return wrap(put(array, where))

    def replace(self, obj: Any) -> Any:
        """`obj` with every tensor in it, in containers of any depth, where the mapping wants it by its name."""
        return self._replace(obj, (), {})

    def _replace(self, obj: Any, path: tuple[str, ...], done: dict[int, Any]) -> Any:
        if id(obj) in done:
            return done[id(obj)][1]
        if isinstance(obj, Tensor):
            names = tuple(".".join(path[i:]) for i in range(len(path)))
            placed: Any = self.put(np.asarray(obj._value), names)
            if isinstance(obj, CellTensor):
                placed = obj.assign(placed)
            elif obj.requires_grad:
                placed.requires_grad_()
            done[id(obj)] = obj, placed
            return placed
        done[id(obj)] = obj, obj
        if isinstance(obj, dict):
            for key, value in obj.items():
                obj[key] = self._replace(value, (*path, str(key)), done)
        elif isinstance(obj, list):
            obj[:] = [self._replace(value, (*path, str(i)), done) for i, value in enumerate(obj)]
        elif type(obj) is tuple:
            made = tuple(self._replace(value, (*path, str(i)), done) for i, value in enumerate(obj))
            done[id(obj)] = obj, made
            return made
        return obj


def put(array: np.ndarray, where: Any) -> Any:
    """The array as a `jax.Array`, sharing its memory where that is possible; on a device or sharding, or `None` for JAX's default device."""
    with dtypes.x64():
        if isinstance(where, jax.sharding.Sharding):
            return jax.make_array_from_callback(array.shape, where, lambda index: np.ascontiguousarray(array[index]))
        return jax.device_put(array, None if where is None else devices.device(where).jax())


def place_of(name: str, shape: tuple[int, ...], places: Mapping[str, Any]) -> Any:
    """The sharding of the array of that name; `None` for JAX's own choice."""
    if name in places:
        return places[name]
    found = places.get(name.rpartition(".")[0])
    return found[0] if isinstance(found, tuple) and found[1] == shape else None


def checked(map_location: Any) -> Placement:
    """The placement, or an error that says what `map_location` can be."""
    try:
        return Placement(map_location)
    except ArgumentTypeError:
        raise ArgumentTypeError(
            f"map_location is a device, a jax.sharding.Sharding, a dict or a function of a tensor and a device's name, got {map_location!r}"
        ) from None


def _is_place(where: Any) -> bool:
    return isinstance(where, str | devices.device | jax.Device | jax.sharding.Sharding) or str(where).startswith(("cpu", "cuda"))
