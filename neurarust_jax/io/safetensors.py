"""The safetensors format: a header of JSON, and the elements of the tensors one after the other (https://github.com/huggingface/safetensors#format).

The package of that name copies every tensor several times on its way through Python; here each is read once, into memory that JAX shares, or is not read until asked for.
"""

from __future__ import annotations

import contextlib
import glob
import json
import math
import os
import re
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .. import dtypes
from ..errors import ArgumentError, ArgumentTypeError, FileFormatError
from ..tensor import Tensor
from .placement import Placement, checked
from .source import Source, aligned, remove_leftovers, replacing, sync_directory

__all__ = ["TensorFile"]

_NAMES = {
    "bool": "BOOL", "uint8": "U8", "int8": "I8", "int16": "I16", "uint16": "U16", "int32": "I32", "uint32": "U32", "int64": "I64", "uint64": "U64",
    "float16": "F16", "bfloat16": "BF16", "float32": "F32", "float64": "F64", "float8_e4m3fn": "F8_E4M3", "float8_e5m2": "F8_E5M2",
    "float8_e4m3fnuz": "F8_E4M3FNUZ", "float8_e5m2fnuz": "F8_E5M2FNUZ", "complex64": "C64",
}  # fmt: skip
_DTYPES = {name: dtypes._NAMES[d].dtype for d, name in _NAMES.items()}
_LARGEST_HEADER = 100_000_000  # bytes, as in the reference implementation
_ALIGNMENT = 64
_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40}
INDEX = ".index.json"


class Entry(NamedTuple):
    """What the header says of one tensor."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


# --- reading -------------------------------------------------------------------------------------------------------


class SingleFile:
    """One open safetensors file: its header, checked, and its tensors as NumPy arrays."""

    def __init__(self, f: Any, mapped: bool = False):
        self.source = Source(f, mapped)
        try:
            self.entries, self.metadata, self.start = read_header(self.source)
        except BaseException:
            self.source.close()
            raise
        self._whole: Source | None = None

    def array(self, name: str) -> np.ndarray:
        """The elements of a tensor."""
        entry, dtype = self.entries[name], self.dtype(name)
        data = self.source.array(self.start + entry.begin, entry.end - entry.begin, f"tensor {name!r}")
        if data.ctypes.data % max(dtype.itemsize, 1):  # mapped, and the file has it at an odd place
            data = _copied(data)
        return data.view(dtype).reshape(entry.shape)

    def mapped_array(self, name: str) -> np.ndarray:
        """The elements of a tensor, of which only what is used will be read."""
        entry, dtype = self.entries[name], self.dtype(name)
        if not self.source._owned or self.source._map is not None or entry.begin == entry.end:
            return self.array(name)
        return np.memmap(self.source.name, dtype, "r", self.start + entry.begin, entry.shape or (1,)).reshape(entry.shape)

    def dtype(self, name: str) -> np.dtype:
        """The NumPy dtype of a tensor."""
        entry = self.entries[name]
        if entry.dtype not in _DTYPES:
            raise FileFormatError(f"{self.source.name}: tensor {name!r} has dtype {entry.dtype}, which nr has no name for")
        return _DTYPES[entry.dtype]


def read_header(source: Source) -> tuple[dict[str, Entry], dict[str, str], int]:
    """(what the header says of each tensor, the metadata, where the elements begin); everything is checked against the file's size."""

    def damaged(what: str) -> FileFormatError:
        return FileFormatError(f"{source.name} is no safetensors file, or is damaged or cut off: {what}")

    if source.size < 8:
        raise damaged(f"it has {source.size} bytes, and the length of the header alone takes 8")
    length = int.from_bytes(source.bytes(0, 8), "little")
    if length > min(source.size - 8, _LARGEST_HEADER):
        raise damaged(f"its header should have {length} bytes, and the file has {source.size}")
    try:
        header = json.loads(source.bytes(8, length, "the header").decode(), object_pairs_hook=_without_repetition)
    except (ValueError, RecursionError) as error:
        raise damaged(f"its header is no JSON: {error}") from None
    if not isinstance(header, dict):
        raise damaged("its header is no JSON object")
    metadata = header.pop("__metadata__", None) or {}
    if not (isinstance(metadata, dict) and all(isinstance(value, str) for value in metadata.values())):
        raise damaged("its metadata are not strings by name")
    entries = {}
    for name, given in header.items():
        try:
            entries[name] = _entry(given)
        except (TypeError, ValueError, KeyError) as error:
            raise damaged(f"tensor {name!r}: {error or type(error).__name__}") from None
    end = 0
    for name, entry in sorted(entries.items(), key=lambda item: item[1][2:]):
        if entry.begin != end:
            raise damaged(f"tensor {name!r} begins at {entry.begin}, and the one before ends at {end}")
        end = entry.end
    if 8 + length + end != source.size:
        raise damaged(f"its tensors end at byte {8 + length + end}, and the file has {source.size}")
    return entries, metadata, 8 + length


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands in it twice")
    return found


def _entry(given: Any) -> Entry:
    if not isinstance(given, dict):
        raise TypeError("its entry is no JSON object")
    dtype, shape, offsets = given["dtype"], given["shape"], given["data_offsets"]
    if not isinstance(dtype, str) or not isinstance(shape, list) or not isinstance(offsets, list) or len(offsets) != 2:
        raise TypeError("its entry has no dtype, shape and data_offsets as they should be")
    if not all(type(n) is int and 0 <= n < 1 << 63 for n in (*shape, *offsets)) or len(shape) > 64:
        raise ValueError(f"shape {_shorten(shape)} or data_offsets {_shorten(offsets)} cannot be")
    begin, end = offsets
    if dtype in _DTYPES and math.prod(shape) * _DTYPES[dtype].itemsize != end - begin:
        raise ValueError(f"shape {shape} of {dtype} takes {math.prod(shape) * _DTYPES[dtype].itemsize} bytes, and data_offsets {offsets} hold {end - begin}")
    if end < begin:
        raise ValueError(f"data_offsets {offsets} cannot be")
    return Entry(dtype, tuple(shape), begin, end)


def _shorten(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 80 else text[:77] + "..."


def _copied(data: np.ndarray) -> np.ndarray:
    copy = aligned(data.size)
    copy[:] = data
    return copy


class TensorSlice:
    """A tensor of a file that is read in parts: only what `[...]` asks for.

    Args:
        array: the elements in the file.
        placement: where parts go.
    """

    def __init__(self, array: np.ndarray, placement: Placement):
        self._array, self._placement = array, placement

    def __getitem__(self, index: Any) -> Tensor:
        return self._placement.put(np.array(self._array[index], order="C"))

    def get_shape(self) -> list[int]:
        """The shape of the whole tensor."""
        return list(self._array.shape)

    def get_dtype(self) -> str:
        """The dtype by the format's name, such as ``"F32"``."""
        return _NAMES[dtypes.from_numpy(self._array.dtype).name]


class TensorFile(Mapping):
    """Tensors by name in a safetensors file, or in one sharded by Hugging Face's index. Each is read when it is asked for, and not kept.

    It has the methods of `safetensors.safe_open` too, and closes with a ``with`` block.

    Args:
        f: the path of a file, of an index, or of a folder with either; or a file object.
        map_location: where tensors go, as in `nr.load`.
        mmap: share the file's memory instead of reading it.

    Raises:
        RuntimeError: the file is damaged: the error names it, and the tensor.

    Examples:
        >>> import tempfile, neurarust_jax as nr
        >>> path = tempfile.mkdtemp() + "/w.safetensors"
        >>> nr.save({"weight": nr.ones(3, 2), "bias": nr.zeros(3)}, path)
        >>> with nr.io.open(path) as tensors:
        ...     print(list(tensors), tensors["bias"], tensors.get_slice("weight")[:1])
        ['weight', 'bias'] tensor([0., 0., 0.]) tensor([[1., 1.]])
    """

    def __init__(self, f: Any, map_location: Any = None, *, mmap: bool = False):
        self._placement = checked(map_location)
        self._mapped = bool(mmap)
        self._open: dict[str, SingleFile] = {}
        path = located(f) if isinstance(f, str | os.PathLike) else None
        if path is not None and path.name.endswith(INDEX):
            self._folder, (self._shard_of, self._metadata) = path.parent, read_index(path)
            self._index = str(path)
        else:
            single = SingleFile(f if path is None else path, self._mapped)
            self._open[""] = single
            self._shard_of, self._metadata = dict.fromkeys(single.entries, ""), single.metadata

    def _file(self, name: str) -> SingleFile:
        shard = self._shard_of[name]
        if shard not in self._open:
            self._open[shard] = SingleFile(self._folder / shard, self._mapped)
        found = self._open[shard]
        if name not in found.entries:
            raise FileFormatError(f"{found.source.name} has no tensor {name!r}, which {self._index} says it has")
        return found

    def __getitem__(self, name: str) -> Tensor:
        if name not in self._shard_of:
            raise KeyError(name)
        file = self._file(name)
        array = file.mapped_array(name) if self._placement.by_name or hasattr(self._placement.map_location, "shard_shape") else file.array(name)
        return self._placement.put(array, (name,))

    def __iter__(self) -> Iterator[str]:
        return iter(self._shard_of)

    def __len__(self) -> int:
        return len(self._shard_of)

    def __contains__(self, name: object) -> bool:
        return name in self._shard_of

    def metadata(self) -> dict[str, str]:
        """The strings kept beside the tensors."""
        return dict(self._metadata)

    def get_tensor(self, name: str) -> Tensor:
        """The tensor of that name."""
        return self[name]

    def get_slice(self, name: str) -> TensorSlice:
        """The tensor of that name, to be read in parts."""
        return TensorSlice(self._file(name).mapped_array(name), self._placement)

    def offset_keys(self) -> list[str]:
        """The names in the order of the file, in which they are read fastest."""
        return sorted(self, key=lambda name: (self._shard_of[name], self._file(name).entries[name].begin))

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of a tensor, without reading it."""
        return self._file(name).entries[name].shape

    def dtype(self, name: str) -> dtypes.dtype:
        """The dtype of a tensor, without reading it."""
        return dtypes.from_numpy(self._file(name).dtype(name))

    def close(self) -> None:
        """Close the file."""
        for file in self._open.values():
            file.source.close()

    def __enter__(self) -> TensorFile:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"TensorFile({', '.join(self)})"


def located(f: str | os.PathLike) -> Path:
    """The file meant by a path: that file, the index that took its place, or what a folder has of these."""
    path = Path(f)
    if path.is_dir():
        found = next((name for name in ("model.safetensors", "model.safetensors" + INDEX) if (path / name).exists()), None)
        if found is None:
            raise FileNotFoundError(f"the folder {path} has neither model.safetensors nor model.safetensors.index.json")
        return path / found
    index = path.with_name(path.name + INDEX)
    return index if path.suffix == ".safetensors" and not path.exists() and index.exists() else path


def read_index(path: Path) -> tuple[dict[str, str], dict[str, str]]:
    """(the shard of each tensor, the metadata that are strings)"""
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
        shard_of, metadata = index["weight_map"], index.get("metadata") or {}
        names = {*shard_of, *shard_of.values()}
        if not all(isinstance(name, str) for name in names):
            raise TypeError("its weight_map does not name files")
        strange = [name for name in sorted(set(shard_of.values())) if Path(name).name != name or name in ("", ".", "..") or "\\" in name or "\0" in name]
        if strange:
            raise ValueError(f"it names {strange[0]!r}, which is no file of its own folder")
        return dict(shard_of), {name: value for name, value in metadata.items() if isinstance(value, str)}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise FileFormatError(f"{path} is no index of a sharded file, or is damaged: {error}") from None


# --- writing -------------------------------------------------------------------------------------------------------


def save(obj: Any, f: Any, metadata: Mapping[str, str] | None = None, max_shard_size: int | str | None = None) -> None:
    """Write a dict of tensors, as one file or several."""
    tensors, metadata = _checked_tensors(obj), dict(metadata or {})
    if not all(isinstance(text, str) for item in metadata.items() for text in item):
        raise ArgumentTypeError(f"metadata are strings by name, got {metadata!r}")
    if max_shard_size is None or not isinstance(f, str | os.PathLike):
        if max_shard_size is not None:
            raise ArgumentError("max_shard_size makes several files: give save the path of the first instead of a file object")
        return _save_single(tensors, f, metadata)
    shards = _sharded(tensors, _bytes_of(max_shard_size))
    if len(shards) <= 1:
        return _save_single(tensors, f, metadata)
    return _save_shards(shards, Path(f), metadata)


def _save_single(tensors: dict[str, Any], f: Any, metadata: dict[str, str]) -> None:
    if not isinstance(f, str | os.PathLike):
        return _write(tensors, metadata, f)
    path = Path(f)
    with replacing(path) as file:
        _write(tensors, metadata, file)
    _remove_shards(path, keep=set())
    return None


def _save_shards(shards: list[dict[str, Any]], path: Path, metadata: dict[str, str]) -> None:
    """Write shards, then the index that makes them count, then remove what an earlier save left."""
    index = path.with_name(path.name + INDEX)
    stem = path.name.removesuffix(".safetensors")
    if index.exists():  # until the new index stands, the old one has to find its files as they were
        stem += "-" + secrets.token_hex(4)
    remove_leftovers(path.parent, glob.escape(path.name.removesuffix(".safetensors")) + "*")
    names = [f"{stem}-{i:05}-of-{len(shards):05}.safetensors" for i in range(1, len(shards) + 1)]
    for name, shard in zip(names, shards, strict=True):
        with replacing(path.with_name(name)) as file:
            _write(shard, metadata, file)
    size = sum(_size(tensor) for shard in shards for tensor in shard.values())
    weight_map = {tensor: name for name, shard in zip(names, shards, strict=True) for tensor in shard}
    with replacing(index) as file:
        file.write(json.dumps({"metadata": {**metadata, "total_size": size}, "weight_map": weight_map}, indent=2).encode())
    path.unlink(missing_ok=True)
    _remove_shards(path, keep=set(names))
    sync_directory(path.parent)


def _remove_shards(path: Path, keep: set[str]) -> None:
    """Remove the shards of earlier saves to `path`, and their index unless shards are kept."""
    index = path.with_name(path.name + INDEX)
    if not index.exists() and not keep:
        return
    if not keep:
        index.unlink()
    stem = re.escape(path.name.removesuffix(".safetensors"))
    for file in path.parent.iterdir():
        if re.fullmatch(stem + r"(-[0-9a-f]{8})?-\d{5}-of-\d{5}\.safetensors", file.name) and file.name not in keep:
            with contextlib.suppress(FileNotFoundError):
                file.unlink()


def _checked_tensors(obj: Any) -> dict[str, Any]:
    if not isinstance(obj, Mapping):
        raise ArgumentTypeError(f"save takes a dict of tensors by name, got {type(obj).__name__}; write nr.save(model.state_dict(), path)")
    for name, value in obj.items():
        if not isinstance(name, str) or not (isinstance(value, Tensor) or hasattr(value, "__array__")):
            raise ArgumentTypeError(
                f"save: {name!r} is a {type(value).__name__}; a safetensors file holds tensors by string names. Nested objects go into a file that ends in .pt"
            )
        if name == "__metadata__":
            raise ArgumentError("save: '__metadata__' is no name for a tensor in a safetensors file; strings go into metadata=")
        kind = dtypes.from_numpy(value.dtype.dtype if isinstance(value.dtype, dtypes.dtype) else np.asarray(value).dtype).name
        if kind not in _NAMES:
            raise ArgumentTypeError(f"save: {name!r} has dtype {kind}, which safetensors has no name for; convert it with .to(dtype), or save to a .pt file")
    return dict(obj)


def host_array(value: Any) -> np.ndarray:
    """The elements of a tensor or array in the CPU's memory, contiguous and little-endian; without a copy where they are so already."""
    array = value.numpy(force=True) if isinstance(value, Tensor) else np.asarray(value)
    if array.dtype.byteorder == ">":
        array = array.astype(array.dtype.newbyteorder("<"))
    return array if array.flags.c_contiguous else np.array(array, order="C")  # ascontiguousarray would give a 0-d array a dimension


def raw(array: np.ndarray) -> memoryview:
    """The bytes of a contiguous array."""
    return array.reshape(-1).view(np.uint8).data


def _size(value: Any) -> int:
    return value.nbytes if isinstance(value, Tensor) else np.asarray(value).nbytes


def _kind(value: Any) -> dtypes.dtype:
    return value.dtype if isinstance(value, Tensor) else dtypes.from_numpy(np.asarray(value).dtype)


def _write(tensors: dict[str, Any], metadata: dict[str, str], file: Any) -> None:
    """Write one file, whose header has the order of `tensors`, and whose elements go from wide to narrow ones, so that they stay aligned."""
    order = sorted(tensors, key=lambda name: -_kind(tensors[name]).itemsize)
    offsets, end = {}, 0
    for name in order:
        offsets[name] = [end, end + _size(tensors[name])]
        end = offsets[name][1]
    header: dict[str, Any] = {"__metadata__": metadata} if metadata else {}
    for name, value in tensors.items():
        header[name] = {"dtype": _NAMES[_kind(value).name], "shape": [int(n) for n in np.shape(value)], "data_offsets": offsets[name]}
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-(8 + len(text)) % _ALIGNMENT)
    if len(text) > _LARGEST_HEADER:
        raise ArgumentError(f"save: the names and metadata take {len(text)} bytes, and a safetensors file takes up to {_LARGEST_HEADER}")
    file.write(len(text).to_bytes(8, "little") + text)
    for name in order:
        file.write(raw(host_array(tensors[name])))


def _sharded(tensors: dict[str, Any], largest: int) -> list[dict[str, Any]]:
    """Tensors in groups of at most `largest` bytes, in order; one that is larger stands alone."""
    shards: list[dict[str, Any]] = []
    size = 0
    for name, value in tensors.items():
        if not shards or size + _size(value) > largest:
            shards.append({})
            size = 0
        shards[-1][name] = value
        size += _size(value)
    return shards


def _bytes_of(size: int | str) -> int:
    """A number of bytes, given as such or as a text such as ``"5GB"``."""
    if isinstance(size, str):
        match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Z]*)\s*", size.upper())
        size = int(float(match[1]) * _UNITS[match[2]]) if match and match[2] in _UNITS else 0
    if isinstance(size, bool) or not isinstance(size, int) or size <= 0:
        raise ArgumentError(f"max_shard_size is a number of bytes or a text such as '5GB', got {size!r}")
    return size
