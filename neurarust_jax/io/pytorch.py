"""Reading the files that `torch.save` writes, in the zip format and in the one before it, without PyTorch and without executing anything in them."""

from __future__ import annotations

import math
import re
import sys
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import devices, dtypes
from ..errors import ArgumentError, DeviceError, FileFormatError, RefusedObjectError
from ..parameter import Buffer, Parameter
from ..tensor import Size, Tensor
from .archive import LOCAL, Archive
from .pickles import Built, Function, PickleReader, checked_key
from .placement import Placement
from .source import Source, aligned

__all__: list[str] = []

STORAGES = {
    "DoubleStorage": "float64", "FloatStorage": "float32", "HalfStorage": "float16", "BFloat16Storage": "bfloat16", "LongStorage": "int64",
    "IntStorage": "int32", "ShortStorage": "int16", "CharStorage": "int8", "ByteStorage": "uint8", "BoolStorage": "bool",
    "ComplexFloatStorage": "complex64", "ComplexDoubleStorage": "complex128", "UntypedStorage": "uint8",
}  # fmt: skip
MAGIC = 0x1950A86A20F9469CFC6C
PROTOCOL = 1001
_BYTES_BEYOND_STORAGES = 1 << 28  # how much more memory than the file's size tensors may take that repeat elements, such as expanded ones
_FIRST_PIECE = 1 << 20


class _Storage:
    """Memory that tensors of a file are views of."""

    def __init__(self, key: str, dtype: np.dtype, count: int, location: str):
        self.key, self.dtype, self.count, self.location = key, dtype, count, location
        self.bytes: np.ndarray | None = None  # once it is read

    @property
    def size(self) -> int:
        return self.count * self.dtype.itemsize


class _StorageType:
    """A storage class of PyTorch, which says the dtype."""

    def __init__(self, dtype: np.dtype):
        self.dtype = dtype


class _TensorReader:
    """What the zip format and the older one have in common: rebuilding tensors from storages.

    Args:
        source: the file.
        placement: where tensors go.
        encoding: of the strings of Python 2.
    """

    def __init__(self, source: Source, placement: Placement, encoding: str = "utf-8"):
        self.source, self.placement, self.encoding = source, placement, encoding
        self.storages: dict[str, _Storage] = {}
        self.views: dict[Any, Tensor] = {}
        self.budget = source.size + _BYTES_BEYOND_STORAGES
        self.is_swapped = False
        self.reader: PickleReader
        self.functions = {**_PLAIN, **{name: Function(name, call) for name, call in self._rebuilding().items()}}

    def _rebuilding(self) -> dict[str, Callable]:
        return {
            "torch._utils._rebuild_tensor": self.tensor,
            "torch._utils._rebuild_tensor_v2": self.tensor,
            "torch._utils._rebuild_tensor_v3": self.tensor_of_dtype,
            "torch._utils._rebuild_parameter": _parameter,
            "torch._utils._rebuild_parameter_with_state": _parameter,
            "torch._tensor._rebuild_from_type_v2": _of_type,
        }

    def fill(self, storage: _Storage, place: str) -> None:
        """Read the storage's bytes."""
        raise NotImplementedError

    def storage(self, identity: Any) -> Any:
        """The storage that a persistent id stands for."""
        if type(identity) is not tuple or len(identity) < 5 or _text(identity[0]) != "storage":
            raise self.reader.refused("persistent object that is no storage")
        kind, key, location, count = identity[1:5]
        if not isinstance(kind, _StorageType):
            raise TypeError("a storage has no type")
        key, location = _text(key), _text(location)
        if type(count) is not int or count < 0 or not isinstance(key, str) or not isinstance(location, str):
            raise TypeError(f"a storage of {count!r} elements cannot be")
        known = self.storages.get(key)
        if known is None:
            known = self.storages[key] = _Storage(key, kind.dtype, count, location)
            self.source.check(0, known.size, f"storage {key!r} of {self.reader.place()!r}")
        elif known.dtype != kind.dtype:
            raise TypeError(f"storage {key!r} has two dtypes")
        if len(identity) > 5 and identity[5] is not None:
            return self._part(known, identity[5])
        return known

    def _part(self, root: _Storage, view: Any) -> _Storage:
        """A storage of the oldest files that is a part of another one."""
        _, offset, count = view
        if not (type(offset) is int and type(count) is int and 0 <= offset <= offset + count <= root.count):
            raise ValueError(f"a view of storage {root.key!r} does not lie in it")
        part = _Storage(f"{root.key}[{offset}]", root.dtype, count, root.location)
        if root.bytes is not None:
            part.bytes = root.bytes[offset * root.dtype.itemsize :][: part.size]
        return part

    def tensor(self, storage: Any, offset: Any, size: Any, stride: Any, requires_grad: Any = False, hooks: Any = None, metadata: Any = None) -> Tensor:
        """A view of a storage."""
        if not isinstance(storage, _Storage):
            raise TypeError(f"a tensor's storage is a {type(storage).__name__}")
        return self._view(storage, storage.dtype, offset, size, stride, requires_grad, metadata)

    def tensor_of_dtype(self, storage: Any, offset: Any, size: Any, stride: Any, requires_grad: Any, hooks: Any, dtype: Any, metadata: Any = None) -> Tensor:
        """A view of a storage that does not know its dtype."""
        if not isinstance(storage, _Storage) or not isinstance(dtype, dtypes.dtype):
            raise TypeError("a tensor has no storage or no dtype")
        return self._view(storage, dtype.dtype, offset, size, stride, requires_grad, metadata)

    def _view(self, storage: _Storage, dtype: np.dtype, offset: Any, size: Any, stride: Any, requires_grad: Any, metadata: Any) -> Tensor:
        numbers = (offset, *size, *stride)
        if len(size) != len(stride) or len(size) > 64 or not all(type(n) is int and 0 <= n < 1 << 62 for n in numbers):
            raise ValueError(f"a tensor of shape {tuple(size)[:9]} and strides {tuple(stride)[:9]} at {offset} cannot be")
        if not isinstance(requires_grad, bool) or not (metadata is None or isinstance(metadata, dict)):
            raise TypeError("a tensor's flags are none")
        size, stride = tuple(size), tuple(stride)
        bits = tuple(bool((metadata or {}).get(bit)) for bit in ("conj", "neg"))
        key = storage.key, dtype, offset, size, stride, bits
        if key not in self.views:
            self.views[key] = self._elements(storage, dtype, offset, size, stride, bits)
        found = self.views[key].detach()
        if requires_grad and dtype.kind in "biu":
            raise ValueError(f"a tensor of {dtype} cannot require a gradient")
        return found.requires_grad_(requires_grad)

    def _elements(self, storage: _Storage, dtype: np.dtype, offset: int, size: tuple[int, ...], stride: tuple[int, ...], bits: tuple[bool, ...]) -> Tensor:
        place = self.reader.place() or "?"
        count = math.prod(size)
        last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True)) if count else -1
        if (last + 1) * dtype.itemsize > storage.size:
            raise ValueError(f"its shape {size} and strides {stride} reach element {last}, and storage {storage.key!r} has {storage.size // dtype.itemsize}")
        self.budget -= count * dtype.itemsize
        if self.budget < 0:
            raise ValueError(f"tensors such as this one of shape {size}, views of smaller storages, would take far more memory than the file")
        if storage.bytes is None:
            self.fill(storage, place)
        assert storage.bytes is not None
        if not count:
            array = np.empty(size, dtype)
        else:
            data = storage.bytes[offset * dtype.itemsize : (last + 1) * dtype.itemsize]
            if data.ctypes.data % dtype.itemsize:
                data, mapped = aligned(data.size), data
                data[:] = mapped
            array = np.ndarray(size, dtype, data, strides=[step * dtype.itemsize for step in stride])
        if self.is_swapped and dtype.itemsize > 1:
            array = _swapped(array)
        if not array.flags.c_contiguous:
            array = np.array(array, order="C")
        if bits[0]:
            array = np.conjugate(array)
        if bits[1]:
            array = np.negative(array)
        return self.placement.put(array, location=storage.location)


class _ZipReader(_TensorReader):
    """Reads the zip format, each storage when the first tensor asks for it."""

    def load(self) -> Any:
        self.archive = archive = Archive(self.source)
        pickle = archive.find("data.pkl")
        if pickle is None:
            raise FileFormatError(f"{self.source.name} is a zip archive, but no file of torch.save: it has no record data.pkl")
        if archive.find("constants.pkl") is not None:
            raise FileFormatError(f"{self.source.name} is a TorchScript archive, which holds code; save the module's state_dict() in PyTorch, and load that")
        order = archive.find("byteorder")
        written = "little" if order is None else archive.read(order).tobytes().decode("ascii", "replace")
        if written not in ("little", "big"):
            raise archive.damaged(f"the record byteorder says {written!r}")
        self.is_swapped = written != sys.byteorder
        self.reader = PickleReader(self.source.name, archive.read(pickle).tobytes(), self.functions, self.storage, encoding=self.encoding)
        self.is_reading_ahead = False
        try:
            return self.reader.load()
        finally:
            archive.stop()

    def fill(self, storage: _Storage, place: str) -> None:
        if not self.is_reading_ahead:  # not before a first tensor is asked for: a file that is refused is not read
            self.is_reading_ahead = True
            self.archive.read_ahead(name for name in self.archive.records if name.startswith(f"{self.archive.prefix}data/"))
        record = self.archive.find(f"data/{storage.key}")
        if record is None:
            if storage.size:
                raise ValueError(f"the archive has no record data/{storage.key}")
            storage.bytes = np.empty(0, np.uint8)
        elif not storage.size <= self.archive.size(record) < storage.size + storage.dtype.itemsize:
            raise ValueError(f"record {record!r} has {self.archive.size(record)} bytes, and its {storage.count} elements take {storage.size}")
        else:
            storage.bytes = self.archive.read(record, f" of {place!r}")


class _LegacyReader(_TensorReader):
    """Reads the format of PyTorch before 1.6: pickles one after the other, then the storages."""

    def load(self) -> Any:
        source = self.source
        self.is_dry = True
        first = source.bytes(0, min(_FIRST_PIECE, source.size))
        self.reader = reader = PickleReader(source.name, first, self.functions, self.storage, self._more, self.encoding)
        try:
            is_ours = reader.load() == MAGIC
        except RefusedObjectError:
            raise
        except FileFormatError:
            is_ours = False
        if not is_ours:
            raise FileFormatError(
                f"{source.name} is no file of torch.save: it is neither a zip archive nor begins with PyTorch's magic number; or it is damaged"
            )
        version, begins = reader.load(), None
        if version != PROTOCOL:
            raise FileFormatError(f"{source.name} has version {version!r} of PyTorch's older format, and only {PROTOCOL} is known")
        reader.load()  # what system wrote it; the elements are little-endian whatever it says
        begins = reader.position
        reader.load()  # for the storages alone: their elements come after the object
        keys = reader.load()
        end = self._read_storages(keys, reader.position)
        self.is_dry, reader.position = False, begins
        result = reader.load()
        source.finish(end)
        return result

    def _more(self, count: int) -> bytes:
        if count > self.source.size:
            raise ValueError(f"it ends at byte {self.source.size}, and more was to come")
        return self.source.bytes(0, min(self.source.size, max(count, 2 * len(self.reader.data))))

    def _read_storages(self, keys: Any, position: int) -> int:
        self.is_swapped = sys.byteorder != "little"
        if type(keys) is not list or {_text(key) for key in keys if isinstance(key, str | bytes)} != self.storages.keys() or len(keys) != len(self.storages):
            raise FileFormatError(f"{self.source.name} is damaged: it does not list the storages that its tensors are made of")
        for key in map(_text, keys):
            storage = self.storages[key]
            count = int.from_bytes(self.source.bytes(position, 8, f"storage {key!r}"), "little", signed=True)
            if count != storage.count:
                raise FileFormatError(f"{self.source.name} is damaged: storage {key!r} should have {storage.count} elements, and says that it has {count}")
            storage.bytes = self.source.array(position + 8, storage.size, f"storage {key!r}")
            position += 8 + storage.size
        return position

    def _view(self, storage: _Storage, *arguments: Any) -> Tensor:
        return _UNREAD if self.is_dry else super()._view(storage, *arguments)  # type: ignore[return-value]

    def fill(self, storage: _Storage, place: str) -> None:
        raise ValueError(f"storage {storage.key!r} was not read")


_UNREAD = Tensor.__new__(Tensor)
_UNREAD._node = None


def load(source: Source, placement: Placement, mapped: bool, encoding: str = "utf-8") -> Any:
    """The object in a file of PyTorch's."""
    later = Placement(None) if placement.by_name else placement
    if source.size >= 4 and source.bytes(0, 4) == LOCAL:
        result = _ZipReader(source, later, encoding).load()
    elif mapped:
        raise ArgumentError(f"mmap=True needs a file in PyTorch's zip format, and {source.name} has the older one; load it without mmap")
    else:
        result = _LegacyReader(source, later, encoding).load()
    if not placement.by_name:
        return result
    try:
        return placement.replace(result)
    except RecursionError:
        raise FileFormatError(f"{source.name}: its containers are nested too deeply") from None


def _swapped(array: np.ndarray) -> np.ndarray:
    """Elements of the other byte order, in this machine's."""
    if array.dtype.kind == "V":  # ml_dtypes know no byte order
        return array.view(f"u{array.dtype.itemsize}").byteswap().view(array.dtype)
    return array.byteswap()


def _text(value: Any) -> Any:
    return value.decode("ascii", "replace") if isinstance(value, bytes) else value


# --- what a pickle may name ----------------------------------------------------------------------------------------


def _parameter(data: Any, requires_grad: Any = True, hooks: Any = None, state: Any = None) -> Parameter:
    if not isinstance(data, Tensor) or not isinstance(requires_grad, bool):
        raise TypeError("a parameter is made of a tensor")
    if data is _UNREAD:
        return data  # type: ignore[return-value]
    if requires_grad and data.dtype.dtype.kind in "biu":
        raise ValueError(f"a parameter of {data.dtype} cannot require a gradient")
    return Parameter(data.detach(), requires_grad)


def _of_type(function: Any, kind: Any, arguments: Any, state: Any) -> Any:
    """A tensor with attributes, which are left out."""
    if not isinstance(function, Function) or not isinstance(kind, _TensorType):
        raise TypeError("it is a tensor of an unknown class")
    made = function.call(*arguments)
    if made is _UNREAD or isinstance(made, Parameter):
        return made
    return {"Parameter": Parameter, "Buffer": Buffer}[kind.name](made) if kind.name != "Tensor" else made


class _TensorType:
    """A tensor class of PyTorch."""

    def __init__(self, name: str):
        self.name = name


def _size(lengths: Any = ()) -> Size:
    if not all(type(n) is int for n in lengths):
        raise TypeError("a torch.Size holds ints")
    return Size(lengths)


def _device(kind: Any, index: Any = None) -> devices.device:
    try:
        return devices.device(str(kind), index if isinstance(index, int) else None)
    except DeviceError as error:
        raise ValueError(str(error)) from None


def _encode(text: Any, encoding: Any = "latin1") -> bytes:
    if type(text) is not str or str(encoding).replace("-", "").replace("_", "").lower() not in ("latin1", "utf8", "ascii"):
        raise TypeError("bytes are made of a text")
    return text.encode(encoding)


def _bytearray(data: Any = b"", encoding: Any = None) -> bytearray:
    return bytearray(data if isinstance(data, bytes) and encoding is None else _encode(data, encoding))


def _bytes(data: Any = b"") -> bytes:
    if type(data) is not bytes:
        raise TypeError("bytes are made of bytes")
    return data


def _complex(real: Any, imaginary: Any = 0.0) -> complex:
    if not all(type(part) in (int, float) for part in (real, imaginary)):
        raise TypeError("a complex number is made of two numbers")
    return complex(real, imaginary)


def _elements_of(kind: type) -> Callable:
    def make(elements: Any = ()) -> Any:
        if type(elements) not in (list, tuple):
            raise TypeError(f"a {kind.__name__} is made of a list")
        return kind(map(checked_key, elements))

    return make


def _ordered(pairs: Any = ()) -> OrderedDict:
    if type(pairs) not in (list, tuple):
        raise TypeError("an OrderedDict is made of pairs")
    return OrderedDict((checked_key(key), value) for key, value in pairs)


def _counter(counts: Any = None) -> Counter:
    if counts is not None and type(counts) is not dict:
        raise TypeError("a Counter is made of a dict")
    return Counter(counts)


def _default(factory: Any = None, *rest: Any) -> defaultdict:
    chosen = None if factory is None else _FACTORIES.get(getattr(factory, "name", ""))
    if rest or (factory is not None and chosen is None):
        raise TypeError("the factory of a defaultdict is not one of Python's containers and numbers")
    return defaultdict(chosen)


_FACTORIES: dict[str, type] = {f"builtins.{kind.__name__}": kind for kind in (list, dict, set, int, float, str, bool, tuple)}
_FACTORIES["collections.OrderedDict"] = OrderedDict


class _NumpyDtype(Built):
    """A NumPy dtype of numbers, whose byte order comes with its state."""

    def build(self, state: Any) -> np.dtype:
        order = state[1]
        if order not in ("<", ">", "=", "|"):
            raise ValueError("the byte order of a NumPy dtype is unknown")
        return self.value.newbyteorder(order)


class _NumpyArray(Built):
    """A NumPy array, whose elements come with its state."""

    def build(self, state: Any) -> np.ndarray:
        _, shape, dtype, is_fortran, data = state
        if not isinstance(dtype, np.dtype) or not isinstance(data, bytes | bytearray) or not all(type(n) is int and n >= 0 for n in shape):
            raise TypeError("it holds objects that are no numbers")
        if math.prod(shape) * dtype.itemsize != len(data):
            raise ValueError(f"a NumPy array of shape {tuple(shape)} and dtype {dtype} does not have {len(data)} bytes")
        return np.frombuffer(data, dtype).reshape(shape, order="F" if is_fortran else "C").copy(order="K")


def _numpy_dtype(code: Any, align: Any = False, copy: Any = True) -> _NumpyDtype:
    if type(code) is not str or not re.fullmatch(r"[<>=|]?(b1|[iu][1248]|f[248]|c8|c16|\?|[bhilqBHILQefdFD])", code):
        raise TypeError(f"a NumPy dtype {str(code)[:40]!r} is not one of numbers")
    return _NumpyDtype(np.dtype(code))


def _numpy_scalar(dtype: Any, data: Any) -> np.generic:
    if not isinstance(dtype, np.dtype) or not isinstance(data, bytes) or len(data) != dtype.itemsize:
        raise TypeError("it is no number")
    return np.frombuffer(data, dtype)[0]


def _numpy_array(kind: Any, *rest: Any) -> _NumpyArray:
    if kind is not np.ndarray:
        raise TypeError("it is of another class than numpy.ndarray")
    return _NumpyArray(np.empty(0))


def _plain() -> dict[str, Any]:
    table: dict[str, Any] = {}
    for module in ("torch", "torch.cuda", "torch.storage"):
        table.update((f"{module}.{name}", _StorageType(dtypes._NAMES[d].dtype)) for name, d in STORAGES.items())
    for name, d in dtypes._NAMES.items():
        table[f"torch.{name}"] = d
    for name, kind in (("torch.Tensor", "Tensor"), ("torch._tensor.Tensor", "Tensor"), ("torch.nn.parameter.Parameter", "Parameter"),
                       ("torch.nn.parameter.Buffer", "Buffer")):  # fmt: skip
        table[name] = _TensorType(kind)
    table["numpy.ndarray"] = np.ndarray
    functions: dict[str, Callable] = {
        "torch.Size": _size, "torch.device": _device, "_codecs.encode": _encode, "builtins.bytearray": _bytearray, "builtins.bytes": _bytes,
        "builtins.complex": _complex, "builtins.set": _elements_of(set), "builtins.frozenset": _elements_of(frozenset), "collections.OrderedDict": _ordered,
        "collections.Counter": _counter, "collections.defaultdict": _default, "numpy.dtype": _numpy_dtype,
    }  # fmt: skip
    for module in ("numpy.core", "numpy._core"):
        functions[f"{module}.multiarray.scalar"] = _numpy_scalar
        functions[f"{module}.multiarray._reconstruct"] = _numpy_array
    for name in _FACTORIES:
        functions.setdefault(name, _not_called)
    table.update((name, Function(name, call)) for name, call in functions.items())
    return table


def _not_called(*arguments: Any) -> Any:
    raise TypeError("only a defaultdict may name this")


_PLAIN = _plain()
