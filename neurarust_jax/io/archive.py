"""The zip archives of PyTorch's files: uncompressed records by name. What the directory says is checked against the file before anything is read."""

from __future__ import annotations

import os
import struct
import threading
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from ..errors import FileFormatError
from .source import Source

_END = b"PK\x05\x06"
_END_64 = b"PK\x06\x06"
_LOCATOR_64 = b"PK\x06\x07"
_ENTRY = b"PK\x01\x02"
LOCAL = b"PK\x03\x04"
_UNKNOWN = 0xFFFF_FFFF
_MOST_THREADS = 4
_WORTH_THREADS = 1 << 23  # bytes


class _Record(NamedTuple):
    begin: int  # of its local header
    size: int
    checksum: int


class Archive:
    """The records of a zip archive.

    Args:
        source: the file.

    Attributes:
        records: where each is, by name.
        prefix: the folder that all of them are in.

    Raises:
        RuntimeError: the archive is damaged, or has compressed or encrypted records.
    """

    def __init__(self, source: Source):
        self.source = source
        begin, size, count = self._directory()
        self._directory_begin = begin
        self.records = self._parse(source.bytes(begin, size, "the zip directory"), count)
        self.prefix = next(iter(self.records), "").partition("/")[0] + "/"
        self._ahead: dict[str, Future] = {}
        self._pool: ThreadPoolExecutor | None = None
        self._stopped = threading.Event()

    def damaged(self, what: str) -> FileFormatError:
        """The error for an archive that is not what it should be."""
        return FileFormatError(f"{self.source.name} is damaged or cut off: {what}")

    def _directory(self) -> tuple[int, int, int]:
        """(where the directory begins, its bytes, its entries)"""
        source = self.source
        tail_begin = max(0, source.size - 65_557)
        tail = source.bytes(tail_begin, source.size - tail_begin)
        at = tail.rfind(_END)
        if at < 0 or len(tail) - at < 22:
            raise self.damaged("the end of the zip archive is missing")
        _, _, _, count, size, begin, _ = struct.unpack("<4H2LH", tail[at + 4 : at + 22])
        if _UNKNOWN in (size, begin) or count == 0xFFFF:
            locator = tail[max(0, at - 20) : at]
            if locator[:4] == _LOCATOR_64:
                record = source.bytes(struct.unpack("<Q", locator[8:16])[0], 56, "the zip64 directory's end")
                if record[:4] != _END_64:
                    raise self.damaged("the zip64 directory's end is missing")
                _, count, size, begin = struct.unpack("<4Q", record[24:56])
        if begin + size > tail_begin + at:
            raise self.damaged(f"the zip directory should have {size} bytes at {begin}, and the file has {source.size} in all")
        return begin, size, count

    def _parse(self, directory: bytes, count: int) -> dict[str, _Record]:
        records: dict[str, _Record] = {}
        at = total = 0
        for _ in range(count):
            if directory[at : at + 4] != _ENTRY or len(directory) < at + 46:
                raise self.damaged("an entry of the zip directory is missing")
            flags, method = struct.unpack_from("<2H", directory, at + 8)
            checksum, packed, size, name_length, extra_length, comment_length = struct.unpack_from("<3L3H", directory, at + 16)
            (begin,) = struct.unpack_from("<L", directory, at + 42)
            name = directory[at + 46 : at + 46 + name_length].decode("utf-8", "replace")
            extra = directory[at + 46 + name_length : at + 46 + name_length + extra_length]
            size, packed, begin = _wide(extra, size, packed, begin)
            at += 46 + name_length + extra_length + comment_length
            if flags & 1 or method != 0:
                raise self.damaged(
                    f"record {name!r} is {'encrypted' if flags & 1 else 'compressed'}, which torch.save never does; unpack it, and zip it with zip -0"
                )
            total += size
            if size != packed or begin + size > self._directory_begin or total > self.source.size or name in records:
                raise self.damaged(f"record {name!r} should have {size} bytes at {begin}, which cannot be")
            records[name] = _Record(begin, size, checksum)
        return records

    def find(self, name: str) -> str | None:
        """The full name of the record of that name in the archive's folder."""
        full = self.prefix + name
        return full if full in self.records else None

    def size(self, name: str) -> int:
        """The bytes of a record, by its full name."""
        return self.records[name].size

    def read(self, name: str, what: str = "") -> np.ndarray:
        """The bytes of a record, by its full name; its checksum is compared, unless the file is mapped."""
        begin, record = self._begin(name, what), self.records[name]
        if self.source._map is not None:
            return self.source.array(begin, record.size, f"record {name!r}{what}")
        ahead = self._ahead.pop(name, None)
        if ahead is None or ahead.exception() is not None:  # reading it here gives the error with the tensor's name
            data, checksum = self.source.array_and_checksum(begin, record.size, f"record {name!r}{what}")
        else:
            data, checksum = ahead.result()
        if checksum != record.checksum:
            raise self.damaged(f"record {name!r}{what} is not what was written: its checksum differs")
        return data

    def _begin(self, name: str, what: str = "") -> int:
        """Where a record's bytes begin."""
        record = self.records[name]
        header = self.source.bytes(record.begin, 30, f"record {name!r}")
        if header[:4] != LOCAL:
            raise self.damaged(f"record {name!r}{what} does not begin where the zip directory says")
        name_length, extra_length = struct.unpack("<2H", header[26:30])
        begin = record.begin + 30 + name_length + extra_length
        if begin + record.size > self._directory_begin:
            raise self.damaged(f"record {name!r}{what} reaches into the zip directory")
        return begin

    def read_ahead(self, names: Iterable[str]) -> None:
        """Begin to read records, and to compute their checksums, in threads; `read` waits for them."""
        names = list(names)
        threads = min(_MOST_THREADS, len(names), _processors())
        if threads < 2 or not self.source.serves_threads or self.source._map is not None or sum(map(self.size, names)) < _WORTH_THREADS:
            return
        self._pool = ThreadPoolExecutor(threads, "nr.load")
        self._ahead = {name: self._pool.submit(self._fetch, name) for name in names}

    def _fetch(self, name: str) -> tuple[np.ndarray, int]:
        return self.source.array_and_checksum(self._begin(name), self.records[name].size, stops=self._stopped.is_set)

    def stop(self) -> None:
        """Let the threads end."""
        self._stopped.set()
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
        self._ahead = {}


def _processors() -> int:
    """How many of them this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _wide(extra: bytes, *values: int) -> list[int]:
    """Those of the values that did not fit into 32 bits, from the extra field."""
    found = list(values)
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, at)
        if kind == 1:
            numbers = iter(struct.unpack_from(f"<{min(length, len(extra) - at - 4) // 8}Q", extra, at + 4))
            found = [next(numbers, value) if value == _UNKNOWN else value for value in values]
        at += 4 + length
    return found
