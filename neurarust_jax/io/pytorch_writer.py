"""Writing files that `torch.load(weights_only=True)` reads: PyTorch's zip format, and the pickle in it with exactly PyTorch's names."""

from __future__ import annotations

import io
import struct
import sys
import zipfile
from collections import Counter, OrderedDict, defaultdict
from typing import Any

import jax
import numpy as np

from .. import devices, dtypes
from ..errors import ArgumentTypeError
from ..parameter import Parameter, is_lazy
from ..tensor import Size, Tensor
from .pytorch import STORAGES
from .safetensors import host_array, raw

__all__: list[str] = []

_STORAGE_OF = {d: name for name, d in STORAGES.items() if name != "UntypedStorage"}
_ALIGNMENT = 64


def save(obj: Any, file: Any, prefix: str = "archive") -> None:
    """Write an object to a file object: tensors, numbers, strings, and containers of them.

    Args:
        obj: the object.
        file: a file object opened for writing bytes.
        prefix: the folder in the archive.

    Raises:
        TypeError: something in it is none of these; nothing has been written then.
    """
    pickler = _Pickler()
    pickle = pickler.dump(obj)
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        _write(archive, f"{prefix}/data.pkl", pickle)
        _write(archive, f"{prefix}/.format_version", b"1")
        _write(archive, f"{prefix}/.storage_alignment", str(_ALIGNMENT).encode())
        _write(archive, f"{prefix}/byteorder", sys.byteorder.encode())
        for key, value in enumerate(pickler.storages):
            _write(archive, f"{prefix}/data/{key}", raw(host_array(value)))
        _write(archive, f"{prefix}/version", b"3\n")


def _write(archive: zipfile.ZipFile, name: str, data: bytes | memoryview) -> None:
    """A record whose bytes begin at a multiple of the alignment, so that it can be mapped."""
    info = zipfile.ZipInfo(name)
    info.file_size = len(data)
    is_large = len(data) > 0xFFFF_0000
    position = archive.start_dir + 30 + len(name.encode()) + 4 + (20 if is_large else 0)
    padding = -position % _ALIGNMENT
    info.extra = struct.pack("<2sH", b"FB", padding) + b"Z" * padding
    with archive.open(info, "w", force_zip64=is_large) as record:
        record.write(data)


class _Pickler:
    """Writes pickles of protocol 2, as far as `torch.load(weights_only=True)` reads them.

    Attributes:
        storages: the tensors and arrays whose elements go beside the pickle.
    """

    def __init__(self):
        self.storages: list[Any] = []
        self._keys: dict[int, int] = {}  # of storages, by the identity of the array
        self._memo: dict[int, tuple[int, Any]] = {}  # the object is kept so that its identity stays its own
        self._names: dict[str, int] = {}
        self._out = io.BytesIO()
        self._path: list[str] = []

    def dump(self, obj: Any) -> bytes:
        """The pickle of an object."""
        self._out.write(b"\x80\x02")
        try:
            self._save(obj)
        except RecursionError:
            raise ArgumentTypeError(f"save: the containers {self._place()} are nested too deeply, or a tuple holds itself") from None
        self._out.write(b".")
        return self._out.getvalue()

    def _place(self) -> str:
        return f"at {'.'.join(self._path)!r}" if self._path else "in the object"

    # --- the memo --------------------------------------------------------------------------------------------------

    def _remember(self, obj: Any) -> None:
        number = len(self._memo) + len(self._names)
        self._memo[id(obj)] = number, obj
        self._put(number)

    def _put(self, number: int) -> None:
        self._out.write(b"q" + bytes([number]) if number < 256 else b"r" + struct.pack("<I", number))

    def _get(self, number: int) -> None:
        self._out.write(b"h" + bytes([number]) if number < 256 else b"j" + struct.pack("<I", number))

    # --- objects ---------------------------------------------------------------------------------------------------

    def _save(self, obj: Any) -> None:
        known = self._memo.get(id(obj))
        if known is not None:
            self._get(known[0])
            return
        saver = _SAVERS.get(type(obj))
        if saver is not None:
            saver(self, obj)
        elif isinstance(obj, np.generic) and obj.dtype.kind in "biufc":
            self._save(obj.item())
        elif isinstance(obj, Tensor | jax.Array | np.ndarray):
            self._tensor(obj)
        elif isinstance(obj, dtypes.dtype):
            self._global(f"torch {obj.name}")
        else:
            self._refuse(obj)

    def _refuse(self, obj: Any) -> None:
        advice = "write nr.save(model.state_dict(), path)" if hasattr(obj, "state_dict") else "save what it is made of instead"
        raise ArgumentTypeError(
            f"save: {self._place()} is a {type(obj).__module__}.{type(obj).__qualname__}, and a file of PyTorch's takes tensors, numbers, strings, and lists, tuples, "
            f"dicts and sets of them; {advice}"
        )

    def _none(self, obj: None) -> None:
        self._out.write(b"N")

    def _bool(self, obj: bool) -> None:
        self._out.write(b"\x88" if obj else b"\x89")

    def _int(self, obj: int) -> None:
        if 0 <= obj < 1 << 8:
            self._out.write(b"K" + bytes([obj]))
        elif 0 <= obj < 1 << 16:
            self._out.write(b"M" + struct.pack("<H", obj))
        elif -(1 << 31) <= obj < 1 << 31:
            self._out.write(b"J" + struct.pack("<i", obj))
        else:
            data = obj.to_bytes(obj.bit_length() // 8 + 1, "little", signed=True)
            if len(data) > 255:
                raise ArgumentTypeError(f"save: {self._place()} is an int of {len(data)} bytes; a file of PyTorch's takes up to 255")
            self._out.write(b"\x8a" + bytes([len(data)]) + data)

    def _float(self, obj: float) -> None:
        self._out.write(b"G" + struct.pack(">d", obj))

    def _str(self, obj: str) -> None:
        data = obj.encode("utf-8", "surrogatepass")
        self._out.write(b"X" + struct.pack("<I", len(data)) + data)
        self._remember(obj)

    def _bytes(self, obj: bytes) -> None:
        self._call("_codecs encode", obj.decode("latin1"), "latin1")
        self._remember(obj)

    def _bytearray(self, obj: bytearray) -> None:
        self._call("__builtin__ bytearray", bytes(obj))
        self._remember(obj)

    def _complex(self, obj: complex) -> None:
        self._call("__builtin__ complex", obj.real, obj.imag)

    def _tuple(self, obj: tuple) -> None:
        self._out.write(b"(")
        self._elements(obj)
        if id(obj) in self._memo:  # it holds itself by way of a list
            raise RecursionError
        self._out.write(b"t")
        self._remember(obj)

    def _list(self, obj: list) -> None:
        self._out.write(b"]")
        self._remember(obj)
        if obj:
            self._out.write(b"(")
            self._elements(obj)
            self._out.write(b"e")

    def _set(self, obj: set) -> None:
        self._call("__builtin__ set", list(obj))
        self._remember(obj)

    def _elements(self, obj: Any) -> None:
        for i, element in enumerate(obj):
            self._path.append(str(i))
            self._save(element)
            self._path.pop()

    def _dict(self, obj: dict) -> None:
        self._out.write(b"}")
        self._remember(obj)
        self._items(obj)

    def _ordered(self, obj: OrderedDict) -> None:
        self._call("collections OrderedDict")
        self._remember(obj)
        self._items(obj)
        metadata = getattr(obj, "_metadata", None)
        if metadata is not None:
            self._save({"_metadata": metadata})
            self._out.write(b"b")

    def _counter(self, obj: Counter) -> None:
        self._call("collections Counter", dict(obj))
        self._remember(obj)

    def _items(self, obj: dict) -> None:
        if not obj:
            return
        self._out.write(b"(")
        for key, value in obj.items():
            self._path.append(str(key))
            self._save(key)
            self._save(value)
            self._path.pop()
        self._out.write(b"u")

    def _size(self, obj: Size) -> None:
        self._call("torch Size", tuple(obj))

    def _device(self, obj: devices.device) -> None:
        self._call("torch device", obj.type, *(() if obj.index is None else (obj.index,)))

    def _global(self, name: str) -> None:
        if name in self._names:
            self._get(self._names[name])
            return
        module, _, attribute = name.partition(" ")
        self._out.write(f"c{module}\n{attribute}\n".encode())
        self._names[name] = len(self._memo) + len(self._names)
        self._put(self._names[name])

    def _call(self, name: str, *arguments: Any) -> None:
        self._global(name)
        self._out.write(b"(")
        for argument in arguments:
            self._save(argument)
        self._out.write(b"tR")

    # --- tensors ---------------------------------------------------------------------------------------------------

    def _tensor(self, obj: Any) -> None:
        if is_lazy(obj):
            raise ArgumentTypeError(f"save: {self._place()} is {obj!r}, which has no elements yet; call the lazy module with a batch first")
        needs_gradient = isinstance(obj, Tensor) and obj.requires_grad
        if isinstance(obj, Parameter):
            self._global("torch._utils _rebuild_parameter")
            self._out.write(b"(")
            self._view(obj, False)
            self._bool(needs_gradient)
            self._call("collections OrderedDict")
            self._out.write(b"tR")
        else:
            self._view(obj, needs_gradient)
        self._remember(obj)

    def _view(self, obj: Any, needs_gradient: bool) -> None:
        dtype = obj.dtype if isinstance(obj, Tensor) else dtypes.from_numpy(obj.dtype)
        shape = tuple(int(n) for n in obj.shape)
        storage = _STORAGE_OF.get(dtype.name)
        self._global("torch._utils _rebuild_tensor_v2" if storage else "torch._utils _rebuild_tensor_v3")
        self._out.write(b"(")
        self._storage(obj, dtype, storage)
        self._int(0)
        self._fresh_tuple(shape)
        self._fresh_tuple(_strides(shape))
        self._bool(needs_gradient)
        self._call("collections OrderedDict")
        if not storage:
            self._global(f"torch {dtype.name}")
        self._out.write(b"tR")

    def _fresh_tuple(self, numbers: tuple[int, ...]) -> None:
        self._out.write(b"(")
        for number in numbers:
            self._int(number)
        self._out.write(b"t")

    def _storage(self, obj: Any, dtype: dtypes.dtype, storage: str | None) -> None:
        """The persistent id of the elements; tensors that are views of one array share it."""
        value = obj._value if isinstance(obj, Tensor) else obj
        key = self._keys.setdefault(id(value), len(self.storages))
        if key == len(self.storages):
            self.storages.append(value)
        count = int(np.prod(obj.shape, dtype=np.int64))
        self._out.write(b"(")
        self._save("storage")
        self._global(f"torch {storage}" if storage else "torch.storage UntypedStorage")
        self._save(str(key))
        self._save("cpu")
        self._int(count if storage else count * dtype.itemsize)
        self._out.write(b"tQ")


def _strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    strides, step = [], 1
    for length in reversed(shape):
        strides.append(step)
        step *= max(length, 1)
    return tuple(reversed(strides))


_SAVERS: dict[type, Any] = {
    type(None): _Pickler._none, bool: _Pickler._bool, int: _Pickler._int, float: _Pickler._float, complex: _Pickler._complex, str: _Pickler._str,
    bytes: _Pickler._bytes, bytearray: _Pickler._bytearray, tuple: _Pickler._tuple, list: _Pickler._list, set: _Pickler._set, dict: _Pickler._dict,
    OrderedDict: _Pickler._ordered, defaultdict: _Pickler._dict, Counter: _Pickler._counter, Size: _Pickler._size, devices.device: _Pickler._device,
}  # fmt: skip
