"""What loading a state dict needs beside the module: the result, and one value checked and converted."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax

from ..parameter import CellTensor
from ..tensor import array_from


class IncompatibleKeys(NamedTuple):
    """Names that a state dict lacked, and names that nothing was found for."""

    missing_keys: list[str]
    unexpected_keys: list[str]

    def __repr__(self) -> str:
        if not self.missing_keys and not self.unexpected_keys:
            return "<All keys matched successfully>"
        return f"_IncompatibleKeys(missing_keys={self.missing_keys}, unexpected_keys={self.unexpected_keys})"


def loaded(key: str, given: Any, cell: CellTensor, assign: bool, errors: list[str]) -> Any:
    """The array to load into `cell`, or `None` with an entry in `errors`."""
    try:
        array = array_from(given)
    except Exception as error:
        errors.append(f'While copying the parameter named "{key}", expected a tensor but received {type(given).__name__}: {error}')
        return None
    have, want = tuple(array.shape), tuple(cell.shape)
    if have != want and not (want == () and have == (1,)):
        errors.append(f"size mismatch for {key}: copying a param with shape {have} from checkpoint, the shape in current model is {want}.")
        return None
    array = array.reshape(want)
    if assign:
        return array
    if array.dtype != cell.dtype.dtype:
        array = array_from(array, cell.dtype)
    old = cell._value
    if isinstance(old, jax.Array) and not isinstance(old, jax.core.Tracer) and old.committed and array.sharding != old.sharding:
        array = jax.device_put(array, old.sharding)
    return array
