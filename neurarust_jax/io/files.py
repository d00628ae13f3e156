"""`nr.save` and `nr.load`: state dicts as safetensors files."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .. import dtypes
from ..errors import ArgumentError, ArgumentTypeError, StateDictError
from ..ops.creation import finish
from ..tensor import Tensor, array_from, wrap

__all__ = ["load", "save"]

# names of dtypes in the format, https://github.com/huggingface/safetensors#format
_NAMES = {
    "bool": "BOOL", "uint8": "U8", "int8": "I8", "int16": "I16", "uint16": "U16", "int32": "I32", "uint32": "U32", "int64": "I64", "uint64": "U64",
    "float16": "F16", "bfloat16": "BF16", "float32": "F32", "float64": "F64", "float8_e4m3fn": "F8_E4M3", "float8_e5m2": "F8_E5M2",
    "complex64": "C64",
}  # fmt: skip
_DTYPES = {name: dtypes._NAMES[d].dtype for d, name in _NAMES.items()}


def save(obj: Mapping[str, Any], f: str | os.PathLike, *, metadata: Mapping[str, str] | None = None) -> None:
    """Write tensors by name to a safetensors file. The file appears whole or not at all.

    Args:
        obj: a state dict: tensors or arrays by name.
        f: the path; it ends in ``.safetensors``.
        metadata: strings to keep beside them.

    Raises:
        TypeError: a value is no tensor.
        ValueError: the path has another ending.

    Examples:
        >>> import tempfile, neurarust_jax as nr
        >>> path = tempfile.mkdtemp() + "/w.safetensors"
        >>> nr.save({"w": nr.ones(2)}, path)
        >>> nr.load(path)
        {'w': tensor([1., 1.])}
    """
    path = _checked(f)
    if not isinstance(obj, Mapping):
        raise ArgumentTypeError(f"save takes a dict of tensors by name, got {type(obj).__name__}; write nr.save(model.state_dict(), path)")
    from safetensors.numpy import save_file

    arrays = {}
    for name, value in obj.items():
        if not isinstance(name, str) or not (isinstance(value, Tensor) or hasattr(value, "__array__")):
            raise ArgumentTypeError(f"save: {name!r} is a {type(value).__name__}; a safetensors file holds tensors by string names")
        array = np.ascontiguousarray(value.numpy(force=True) if isinstance(value, Tensor) else np.asarray(value)).reshape(value.shape)
        kind = dtypes.from_numpy(array.dtype).name
        if kind not in _NAMES:
            raise ArgumentTypeError(f"save: {name!r} has dtype {kind}, which safetensors has no name for; convert it with .to(dtype)")
        arrays[name] = array
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        save_file(arrays, temporary, dict(metadata) if metadata else None)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def load(f: str | os.PathLike, map_location: Any = None) -> dict[str, Tensor]:
    """Read a safetensors file.

    Args:
        f: the path.
        map_location: the device to put the tensors on.

    Returns:
        Tensors by name.

    Raises:
        RuntimeError: the file is damaged: the error names the file and what is wrong with it. Nothing in it is executed.
    """
    path = _checked(f)
    from safetensors import SafetensorError, deserialize

    try:
        entries = deserialize(path.read_bytes())
    except SafetensorError as error:
        raise StateDictError(f"{path} is no safetensors file, or is damaged or cut off: {error}") from None
    found = {}
    for name, entry in entries:
        if entry["dtype"] not in _DTYPES:
            raise StateDictError(f"{path}: tensor {name!r} has dtype {entry['dtype']}, which nr has no name for")
        array = np.frombuffer(entry["data"], _DTYPES[entry["dtype"]]).reshape(entry["shape"])
        found[name] = finish(wrap(array_from(array)), map_location)
    return found


def _checked(f: str | os.PathLike) -> Path:
    path = Path(f)
    if path.suffix != ".safetensors":
        raise ArgumentError(f"nr.save and nr.load take a path that ends in .safetensors, got {str(path)!r}")
    return path
