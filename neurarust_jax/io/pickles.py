"""A reader of pickles that executes nothing: it builds plain data, and calls only the functions of a table that it is given.

It differs from `pickle.Unpickler` in that no name is ever imported, no attribute of an object is set, and no length in the stream is believed before the bytes
are there.
"""

from __future__ import annotations

import struct
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable, Mapping
from typing import Any

from ..errors import FileFormatError, NeuraRustError, RefusedObjectError

_MOST_MARKS = 5_000  # how deeply unfinished containers may be nested
_MOST_WAITING = 2_000_000  # objects that wait to be put into a container
_LONGEST_INT = 4_096  # bytes


class Function:
    """A function that a pickle may call.

    Args:
        name: what the pickle calls it.
        call: what it does, given checked arguments or raising `TypeError` or `ValueError`.
    """

    __slots__ = ("name", "call")

    def __init__(self, name: str, call: Callable[..., Any]):
        self.name, self.call = name, call


class Built:
    """An object that is filled after it was made (the pickle's BUILD): what it becomes is `value`."""

    __slots__ = ("value",)

    def __init__(self, value: Any):
        self.value = value

    def build(self, state: Any) -> Any:
        """What stands in its place once the state is known."""
        raise NotImplementedError


class PickleReader:
    """Reads the pickles in a stream of bytes, one after the other.

    Args:
        name: the file, for errors.
        data: the bytes, or as many of them as are there yet.
        functions: by dotted name, what a pickle may name: a `Function` or a plain value.
        persistent_load: makes the object that a persistent id stands for.
        more: returns at least the given number of bytes of the stream, or raises.
        encoding: of the strings of Python 2.

    Attributes:
        position: where the next pickle begins.
    """

    def __init__(
        self, name: str, data: bytes, functions: Mapping[str, Any], persistent_load: Callable[[Any], Any], more: Callable[[int], bytes] | None = None,
        encoding: str = "utf-8",
    ):  # fmt: skip
        self.name, self.data, self.functions, self.persistent_load = name, data, functions, persistent_load
        self._more, self._encoding = more, encoding
        self.position = 0
        self.stack: list[Any] = []
        self.waiting: list[list[Any]] = []  # the stacks below the marks
        self._memo: dict[int, Any] = {}
        self._count = 0

    def load(self) -> Any:
        """The next object.

        Raises:
            UnpicklingError: it asks for something that is refused.
            RuntimeError: it is damaged.
        """
        self.stack, self.waiting, self._memo, self._count = [], [], {}, 0
        operations = _OPERATIONS
        while True:
            try:
                code = self.take(1)[0]
                if code == 0x2E:  # STOP
                    (result,) = self.stack
                    if self.waiting:
                        raise ValueError("it ends inside a container")
                    return _opened(result)
                operations[code](self)
                if len(self.stack) > _MOST_WAITING:
                    raise ValueError("too many objects are in no container")
            except NeuraRustError:
                raise
            except KeyError as error:
                raise self.damaged(f"{'the opcode' if code not in operations else 'the entry'} {error} is unknown") from None
            except (ValueError, TypeError, IndexError, OverflowError, AttributeError, struct.error, RecursionError, MemoryError) as error:
                raise self.damaged(str(error) or type(error).__name__) from None

    def damaged(self, what: str) -> FileFormatError:
        """The error for a stream that cannot be read on."""
        place = self.place()
        return FileFormatError(f"{self.name} is damaged or cut off{f', at {place!r}' if place else ''}: {what} (at byte {self.position} of the pickle)")

    def refused(self, name: str) -> RefusedObjectError:
        """The error for an object that is no data."""
        place = self.place()
        return RefusedObjectError(
            f"{self.name}: {f'{place!r} is or holds' if place else 'it holds'} a {name}, which is refused: only tensors, containers, numbers and strings are read, and "
            "nothing in a file is executed. If you trust the file, load it with PyTorch and save there what you need, such as model.state_dict()."
        )

    def place(self) -> str | None:
        """The name in a dict that is being read: the last string before the unfinished object."""
        for stack in (self.stack, *reversed(self.waiting)):
            for value in reversed(stack):
                if type(value) is str:
                    return value if len(value) < 200 else value[:200] + "..."
        return None

    # --- the stream and the stacks ---------------------------------------------------------------------------------

    def take(self, count: int) -> bytes:
        """The next bytes."""
        start, self.position = self.position, self.position + count
        if self.position > len(self.data):
            if self._more is None:
                raise ValueError(f"it ends at byte {len(self.data)}, and {count} more bytes were to come")
            self.data = self._more(self.position)
        return self.data[start : self.position]

    def line(self) -> str:
        """The next line of text, of at most a few thousand characters."""
        found = bytearray()
        while (byte := self.take(1)) != b"\n":
            found += byte
            if len(found) > _LONGEST_INT:
                raise ValueError("a line of text is too long")
        return found.decode()

    def counted(self, width: int) -> bytes:
        """Bytes that are preceded by their number, in `width` bytes."""
        return self.take(int.from_bytes(self.take(width), "little"))

    def push(self, value: Any) -> None:
        """Put a value on the stack."""
        self.stack.append(value)

    def mark(self) -> None:
        """Begin a container's elements."""
        self._count += len(self.stack)
        if len(self.waiting) >= _MOST_MARKS or self._count > _MOST_WAITING:
            raise ValueError("containers are nested too deeply")
        self.waiting.append(self.stack)
        self.stack = []

    def pop_mark(self) -> list[Any]:
        """The elements since the last mark."""
        items, self.stack = self.stack, self.waiting.pop()
        self._count -= len(self.stack)
        return [_opened(item) for item in items]

    def pop(self) -> Any:
        """The last value of the stack."""
        return _opened(self.stack.pop())

    def put(self, index: int) -> None:
        """Remember the last value."""
        self._memo[index] = self.stack[-1]

    # --- objects ---------------------------------------------------------------------------------------------------

    def named(self, module: Any, name: Any) -> None:
        """Push what the table has by that name."""
        if type(module) is not str or type(name) is not str:
            raise TypeError("a global's name is no text")
        dotted = f"{'builtins' if module == '__builtin__' else module}.{name}"
        if dotted not in self.functions:
            raise self.refused(dotted.removeprefix("builtins."))
        self.push(self.functions[dotted])

    def call(self) -> None:
        """Call a function of the table."""
        arguments, function = self.pop(), self.stack.pop()
        if not isinstance(function, Function):
            raise self.refused(f"call of {getattr(function, '__name__', type(function).__name__)}")
        if type(arguments) is not tuple:
            raise TypeError(f"the arguments of {function.name} are no tuple")
        try:
            self.push(function.call(*arguments))
        except (ValueError, TypeError, IndexError, OverflowError, AttributeError) as error:
            raise self.damaged(f"{function.name}: {error}") from None

    def build(self) -> None:
        """Give an object its state: only to those made for it, and to an ordered dict its metadata."""
        state, target = self.pop(), self.stack[-1]
        if isinstance(target, Built):
            target.value = target.build(state)
        elif type(target) is OrderedDict:
            if type(state) is tuple and len(state) == 2 and not state[1]:
                state = state[0]
            if type(state) is not dict:
                raise TypeError("the state of an OrderedDict is no dict")
            if isinstance(state.get("_metadata"), dict):
                target._metadata = state["_metadata"]  # type: ignore[attr-defined]
        else:
            raise self.refused(f"state of a {type(target).__name__}")

    def append(self, items: list[Any]) -> None:
        """Add to the list below."""
        target = self.stack[-1]
        if type(target) is not list:
            raise TypeError(f"elements are added to a {type(target).__name__}")
        target.extend(items)

    def set_items(self, items: list[Any]) -> None:
        """Add keys and values in turns to the dict below."""
        target = self.stack[-1]
        if type(target) not in (dict, OrderedDict, defaultdict, Counter) or len(items) % 2:
            raise TypeError(f"items are set in a {type(target).__name__}")
        for i in range(0, len(items), 2):
            target[checked_key(items[i])] = items[i + 1]

    def add(self, items: list[Any]) -> None:
        """Add to the set below."""
        target = self.stack[-1]
        if type(target) is not set:
            raise TypeError(f"elements are added to a {type(target).__name__}")
        target.update(map(checked_key, items))


def _opened(value: Any) -> Any:
    return value.value if isinstance(value, Built) else value


def checked_key(value: Any) -> Any:
    """A key of a dict: plain, and no maze of tuples that takes for ever to hash."""
    budget = [1_000]

    def look(value: Any, depth: int) -> None:
        budget[0] -= 1
        if budget[0] < 0 or depth > 16:
            raise ValueError("a key is a tuple of too many parts")
        if isinstance(value, tuple | frozenset):
            for part in value:
                look(part, depth + 1)
        elif isinstance(value, Function | Built) or getattr(type(value), "__hash__", None) is None:
            raise TypeError(f"a key is a {type(value).__name__}")

    if type(value) not in (str, int):
        look(value, 0)
    return value


def _int_of_bytes(reader: PickleReader, width: int) -> int:
    count = int.from_bytes(reader.take(width), "little")
    if count > _LONGEST_INT:
        raise ValueError(f"an int of {count} bytes")
    return int.from_bytes(reader.take(count), "little", signed=True)


def _int_of_line(text: str) -> int | bool:
    if text in ("00", "01"):
        return text == "01"
    return int(text.removesuffix("L"))


def _python2_string(reader: PickleReader, data: bytes) -> str | bytes:
    return data if reader._encoding == "bytes" else data.decode(reader._encoding)


def _last_as_tuple(reader: PickleReader, count: int) -> None:
    if len(reader.stack) < count:
        raise IndexError("the stack is empty")
    reader.stack[-count:] = [tuple(map(_opened, reader.stack[-count:]))]


def _stack_global(reader: PickleReader) -> None:
    name, module = reader.pop(), reader.pop()
    reader.named(module, name)


def _set_item(reader: PickleReader) -> None:
    value, key = reader.pop(), reader.pop()
    reader.set_items([key, value])


def _append(reader: PickleReader) -> None:
    item = reader.pop()
    reader.append([item])


def _pop(reader: PickleReader) -> None:
    if reader.stack:
        reader.stack.pop()
    else:
        reader.pop_mark()


def _dict_of_marked(reader: PickleReader) -> None:
    items = reader.pop_mark()
    reader.push({})
    reader.set_items(items)


def _protocol(reader: PickleReader) -> None:
    protocol = reader.take(1)[0]
    if protocol > 5:
        raise ValueError(f"pickle protocol {protocol} is unknown")


def _new_with_names(reader: PickleReader) -> None:
    if reader.pop():
        raise TypeError("an object is made with named arguments")
    reader.call()


def _bytearray(data: bytes) -> bytearray:
    return bytearray(data)


_OPERATIONS: dict[int, Callable[[PickleReader], None]] = {
    opcode[0]: operation
    for opcode, operation in {
        b"\x80": _protocol,
        b"\x95": lambda r: r.take(8) and None,  # FRAME: its length says nothing that the bytes do not
        b"N": lambda r: r.push(None),
        b"\x88": lambda r: r.push(True),
        b"\x89": lambda r: r.push(False),
        # numbers
        b"J": lambda r: r.push(int.from_bytes(r.take(4), "little", signed=True)),
        b"K": lambda r: r.push(r.take(1)[0]),
        b"M": lambda r: r.push(int.from_bytes(r.take(2), "little")),
        b"\x8a": lambda r: r.push(_int_of_bytes(r, 1)),
        b"\x8b": lambda r: r.push(_int_of_bytes(r, 4)),
        b"I": lambda r: r.push(_int_of_line(r.line())),
        b"L": lambda r: r.push(_int_of_line(r.line())),
        b"F": lambda r: r.push(float(r.line())),
        b"G": lambda r: r.push(struct.unpack(">d", r.take(8))[0]),
        # text and bytes
        b"X": lambda r: r.push(r.counted(4).decode("utf-8", "surrogatepass")),
        b"\x8c": lambda r: r.push(r.counted(1).decode("utf-8", "surrogatepass")),
        b"\x8d": lambda r: r.push(r.counted(8).decode("utf-8", "surrogatepass")),
        b"T": lambda r: r.push(_python2_string(r, r.counted(4))),
        b"U": lambda r: r.push(_python2_string(r, r.counted(1))),
        b"B": lambda r: r.push(r.counted(4)),
        b"C": lambda r: r.push(r.counted(1)),
        b"\x8e": lambda r: r.push(r.counted(8)),
        b"\x96": lambda r: r.push(_bytearray(r.counted(8))),
        # containers
        b"(": PickleReader.mark,
        b")": lambda r: r.push(()),
        b"t": lambda r: r.push(tuple(r.pop_mark())),
        b"\x85": lambda r: _last_as_tuple(r, 1),
        b"\x86": lambda r: _last_as_tuple(r, 2),
        b"\x87": lambda r: _last_as_tuple(r, 3),
        b"]": lambda r: r.push([]),
        b"l": lambda r: r.push(r.pop_mark()),
        b"a": _append,
        b"e": lambda r: r.append(r.pop_mark()),
        b"}": lambda r: r.push({}),
        b"d": _dict_of_marked,
        b"s": _set_item,
        b"u": lambda r: r.set_items(r.pop_mark()),
        b"\x8f": lambda r: r.push(set()),
        b"\x90": lambda r: r.add(r.pop_mark()),
        b"\x91": lambda r: r.push(frozenset(map(checked_key, r.pop_mark()))),
        # the stack and the memo
        b"0": _pop,
        b"1": lambda r: r.pop_mark() and None,
        b"2": lambda r: r.push(r.stack[-1]),
        b"h": lambda r: r.push(r._memo[r.take(1)[0]]),
        b"j": lambda r: r.push(r._memo[int.from_bytes(r.take(4), "little")]),
        b"g": lambda r: r.push(r._memo[int(r.line())]),
        b"q": lambda r: r.put(r.take(1)[0]),
        b"r": lambda r: r.put(int.from_bytes(r.take(4), "little")),
        b"p": lambda r: r.put(int(r.line())),
        b"\x94": lambda r: r.put(len(r._memo)),
        # names and calls
        b"c": lambda r: r.named(r.line(), r.line()),
        b"\x93": _stack_global,
        b"R": PickleReader.call,
        b"\x81": PickleReader.call,
        b"\x92": _new_with_names,
        b"b": PickleReader.build,
        b"Q": lambda r: r.push(r.persistent_load(r.pop())),
    }.items()
}
