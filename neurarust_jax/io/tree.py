"""Nested states as JSON beside arrays: taking them apart, and putting them together again."""

from __future__ import annotations

import base64
import math
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from .. import devices, dtypes
from ..errors import ArgumentTypeError, FileFormatError
from ..parameter import is_lazy
from ..tensor import Size, Tensor, wrap


def split(obj: Any, name: str) -> tuple[Any, dict[str, Any]]:
    """A nested object as what JSON can hold, and the arrays that it refers to by name.

    Args:
        obj: tensors, numbers, strings, and containers of them.
        name: what its arrays' names begin with.

    Raises:
        TypeError: something in it is none of these.
    """
    parts = _Parts()
    return parts.split(obj, (name,)), parts.arrays


class _Parts:
    """The arrays met so far, each under one name."""

    def __init__(self):
        self.arrays: dict[str, Any] = {}
        self._names: dict[int, str] = {}

    def split(self, obj: Any, path: tuple[str, ...]) -> Any:
        kind = type(obj)
        if obj is None or kind in (bool, int, str):
            return obj
        if kind is float:
            return obj if math.isfinite(obj) else {"$float": repr(obj)}
        if kind is list:
            return [self.split(value, (*path, str(i))) for i, value in enumerate(obj)]
        if isinstance(obj, dict):
            return self._dict(obj, kind, path)
        if isinstance(obj, Tensor | jax.Array | np.ndarray):
            return self._array(obj, path)
        if isinstance(obj, np.generic):
            return self.split(obj.item(), path)
        if kind in _ENCODERS:
            tag, encode = _ENCODERS[kind]
            return {tag: self.split(encode(obj), path)}
        raise ArgumentTypeError(
            f"a checkpoint cannot keep {'.'.join(path)!r}, a {kind.__module__}.{kind.__qualname__}: it takes tensors, arrays, numbers, strings, and lists, tuples, dicts "
            "and sets of them"
        )

    def _dict(self, obj: dict, kind: type, path: tuple[str, ...]) -> Any:
        if kind is dict and all(type(key) is str and not key.startswith("$") for key in obj):
            return {key: self.split(value, (*path, key)) for key, value in obj.items()}
        items = [[self.split(key, path), self.split(value, (*path, str(key)))] for key, value in obj.items()]
        if kind is OrderedDict:
            metadata = getattr(obj, "_metadata", None)
            return {"$ordered": items} if metadata is None else {"$ordered": items, "metadata": self.split(metadata, path)}
        return {"$counter" if kind is Counter else "$dict": items}

    def _array(self, obj: Any, path: tuple[str, ...]) -> dict[str, Any]:
        if is_lazy(obj):
            raise ArgumentTypeError(f"a checkpoint cannot keep {'.'.join(path)!r}: it is {obj!r}, which has no elements yet; call the lazy module with a batch first")
        tag = "$tensor" if isinstance(obj, Tensor) else "$jax" if isinstance(obj, jax.Array) else "$array"
        value = obj._value if isinstance(obj, Tensor) else obj
        dtype = dtypes.from_numpy(value.dtype).name
        if id(value) not in self._names:
            name = ".".join(path)
            while name in self.arrays:
                name += "'"
            self._names[id(value)] = name
            self.arrays[name] = value.copy() if isinstance(value, np.ndarray) else value
        return {tag: self._names[id(value)], "dtype": dtype, "shape": [int(n) for n in value.shape]}


_ENCODERS: dict[type, tuple[str, Callable[[Any], Any]]] = {
    tuple: ("$tuple", list),
    set: ("$set", list),
    Size: ("$size", list),
    bytes: ("$bytes", lambda data: base64.b64encode(data).decode()),
    complex: ("$complex", lambda number: [number.real, number.imag]),
    dtypes.dtype: ("$dtype", lambda dtype: dtype.name),
    devices.device: ("$device", str),
}
_DECODERS: dict[str, Callable[[Any], Any]] = {
    "$tuple": tuple, "$set": set, "$size": Size, "$bytes": base64.b64decode, "$complex": lambda parts: complex(*parts),
    "$dtype": lambda name: dtypes._NAMES[name], "$device": devices.device, "$float": float, "$dict": dict,
    "$counter": lambda items: Counter(dict(items)),
}  # fmt: skip


def join(plain: Any, arrays: Mapping[str, Any]) -> Any:
    """The nested object that `split` took apart.

    Args:
        plain: what JSON held.
        arrays: the arrays by name: `jax.Array`s, and of those that the object had as NumPy's, NumPy arrays.

    Raises:
        RuntimeError: it is nothing that `split` returned.
    """
    if isinstance(plain, list):
        return [join(value, arrays) for value in plain]
    if not isinstance(plain, dict):
        return plain
    tag = next(iter(plain), "")
    if not tag.startswith("$"):
        return {key: join(value, arrays) for key, value in plain.items()}
    try:
        if tag in ("$tensor", "$jax", "$array"):
            value = arrays[plain[tag]]
            return wrap(value) if tag == "$tensor" else value
        content = join(plain[tag], arrays)
        if tag == "$ordered":
            ordered = OrderedDict(content)
            if "metadata" in plain:
                ordered._metadata = join(plain["metadata"], arrays)  # type: ignore[attr-defined]
            return ordered
        return _DECODERS[tag](content)
    except (KeyError, ValueError, TypeError) as error:
        raise FileFormatError(f"the entry {str(plain)[:80]} is unknown: {error}") from None


def references(plain: Any) -> dict[str, dict[str, Any]]:
    """What is said of each array that a taken-apart object refers to."""
    found: dict[str, dict[str, Any]] = {}
    left = [plain]
    while left:
        value = left.pop()
        if isinstance(value, list):
            left.extend(value)
        elif isinstance(value, dict):
            tag = next((tag for tag in ("$tensor", "$jax", "$array") if tag in value), None)
            if tag is None:
                left.extend(value.values())
            else:
                found[value[tag]] = {**value, "tag": tag}
    return found
