"""Reading a file at any place without believing what it says of its own lengths, and replacing a file as a whole."""

from __future__ import annotations

import contextlib
import glob
import io
import os
import re
import secrets
import shutil
import socket
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np

from ..errors import ArgumentTypeError, FileFormatError

_ALIGNMENT = 64  # JAX shares the memory of a NumPy array on the CPU if it begins at a multiple of this
_CHUNK = 1 << 26
_PIECE = 1 << 19  # of which the checksum is computed at a time


class Source:
    """The bytes of a file, or of a file object from its present position on.

    Args:
        f: a path or a binary file object.
        mapped: map the file into memory instead of reading it.

    Attributes:
        name: what errors call it.
        size: how many bytes there are.
    """

    def __init__(self, f: Any, mapped: bool = False):
        self._owned = isinstance(f, str | os.PathLike)
        if self._owned:
            self.name = os.fspath(f)
            self._file: Any = open(f, "rb", buffering=0)  # noqa: SIM115 (closed by `close`)
        elif hasattr(f, "read"):
            self.name = str(getattr(f, "name", None) or f"<{type(f).__name__}>")
            self._file = f if hasattr(f, "seek") and getattr(f, "seekable", lambda: True)() else io.BytesIO(f.read())
        else:
            raise ArgumentTypeError(f"expected a path or a file object opened for reading bytes, got {type(f).__name__}")
        self._start = 0 if self._owned else self._file.tell()
        self.size = self._file.seek(0, os.SEEK_END) - self._start
        self._map = np.memmap(f, np.uint8, "r") if mapped and self.size else None
        self._file.seek(self._start)

    def bytes(self, offset: int, count: int, what: str = "data") -> bytes:
        """`count` bytes from `offset` on; `what` names them in an error."""
        self.check(offset, count, what)
        buffer = bytearray(count)
        self._fill(offset, memoryview(buffer))
        return bytes(buffer)

    def array(self, offset: int, count: int, what: str = "data") -> np.ndarray:
        """The same as an array whose memory JAX can share, if it is not mapped at an odd place."""
        self.check(offset, count, what)
        if self._map is not None:
            return self._map[offset : offset + count]
        array = aligned(count)
        self._fill(offset, array.data)
        return array

    def array_and_checksum(self, offset: int, count: int, what: str = "data", stops: Callable[[], bool] = lambda: False) -> tuple[np.ndarray, int]:
        """The same and its CRC-32, which is computed piece by piece, while a piece is in the processor's cache.

        Args:
            offset, count, what: as for `array`.
            stops: asked after each piece whether nobody waits for it any longer.
        """
        self.check(offset, count, what)
        array, checksum = aligned(count), 0
        for begin in range(0, count, _PIECE):
            piece = array.data[begin : begin + _PIECE]
            self._fill(offset + begin, piece)
            checksum = zlib.crc32(piece, checksum)
            if stops():
                break
        return array, checksum

    @property
    def serves_threads(self) -> bool:
        """Whether several threads may read at once."""
        return self._owned and hasattr(os, "preadv")

    def check(self, offset: int, count: int, what: str) -> None:
        """Raise if the file ends before `offset + count`."""
        if offset < 0 or count < 0 or offset + count > self.size:
            raise FileFormatError(f"{self.name} is damaged or cut off: {what} should have {count} bytes at {offset}, and the file has {self.size} in all")

    def _fill(self, offset: int, view: memoryview) -> None:
        if not self.serves_threads:
            self._file.seek(self._start + offset)
        readinto = getattr(self._file, "readinto", None)
        done = 0
        while done < len(view):
            if self.serves_threads:
                got = os.preadv(self._file.fileno(), [view[done : done + _CHUNK]], offset + done)
            elif readinto is not None:
                got = readinto(view[done : done + _CHUNK])
            else:
                piece = self._file.read(min(_CHUNK, len(view) - done))
                got = len(piece)
                view[done : done + got] = piece
            if not got:
                raise FileFormatError(f"{self.name} became shorter while it was read: it ends at byte {offset + done}")
            done += got

    def finish(self, offset: int) -> None:
        """Leave the file object at `offset`, where what follows can be read."""
        if not self._owned:
            self._file.seek(self._start + offset)

    def close(self) -> None:
        """Close the file, if it was opened here. What was mapped stays so."""
        if self._owned:
            self._file.close()

    def __enter__(self) -> Source:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def aligned(count: int) -> np.ndarray:
    """`count` bytes of new memory that JAX can share."""
    array = np.empty(count + _ALIGNMENT, np.uint8)
    first = -array.ctypes.data % _ALIGNMENT
    return array[first : first + count]


@contextlib.contextmanager
def replacing(path: str | os.PathLike) -> Iterator[IO[bytes]]:
    """A file object to write to; when the block ends well, what was written is at `path`, whole, and before that what was there."""
    target = Path(os.path.realpath(path))
    if target.exists() and not target.is_file():  # a device, a pipe; of a directory it raises
        with target.open("wb") as file:
            yield file
        return
    remove_leftovers(target.parent, glob.escape(target.name))
    temporary = part_of(target)
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_directory(target.parent)


def part_of(target: Path) -> Path:
    """A name beside `target` for what is not whole yet, or no longer."""
    return target.with_name(f".{target.name}.{socket.gethostname()}.{os.getpid()}.{secrets.token_hex(4)}.part")


def remove_leftovers(folder: Path, name: str) -> None:
    """Remove the parts of `name` (a glob pattern) that processes of this machine left when they were killed."""
    marks = re.compile(r"\." + re.escape(socket.gethostname()) + r"\.(\d+)\.[0-9a-f]{8}\.part")
    for path in folder.glob(f".{name}.*.part"):
        match = marks.search(path.name)
        if match and not _is_alive(int(match[1])):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def _is_alive(process: int) -> bool:
    if process == os.getpid() or os.name != "posix":
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def sync_directory(path: str | os.PathLike) -> None:
    """Make a change of names in a directory last, where the system can."""
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
