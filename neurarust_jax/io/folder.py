"""Checkpoints as folders of safetensors files and JSON: each appears whole, by being renamed, or not at all."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .. import dtypes
from ..errors import FileFormatError
from . import safetensors, tree
from .placement import place_of, put
from .safetensors import SingleFile, host_array, raw
from .source import part_of, remove_leftovers, sync_directory

_CONTENTS = "checkpoint.json"
_FORMAT = "neurarust_jax checkpoint"
_VERSION = 1
_NAME = re.compile(r"step_(\d{10,})(?:\.(\d+))?")


class Folder:
    """The checkpoints in a folder of the file system.

    Args:
        directory: the folder; it is made if it is not there.
    """

    def __init__(self, directory: str | os.PathLike):
        self.directory = Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self._metrics: dict[str, dict[str, float]] = {}  # by the folder's name
        remove_leftovers(self.directory, "step_*")

    def _found(self) -> dict[int, list[Path]]:
        """The folders of each step; the last of several counts, the others were about to be removed."""
        found: dict[int, list[tuple[int, Path]]] = {}
        for path in self.directory.iterdir():
            match = _NAME.fullmatch(path.name)
            if match:
                found.setdefault(int(match[1]), []).append((int(match[2] or 0), path))
        return {step: [path for _, path in sorted(paths)] for step, paths in sorted(found.items())}

    def steps(self) -> list[int]:
        """The steps that there are checkpoints of."""
        return list(self._found())

    def path(self, step: int) -> Path:
        """The folder of a checkpoint."""
        return self._found()[step][-1]

    # --- writing ---------------------------------------------------------------------------------------------------

    def write(self, step: int, contents: dict[str, Any], arrays: Mapping[str, Mapping[str, Any]]) -> None:
        """Write a checkpoint beside its place, and then rename it."""
        temporary = part_of(self.directory / f"step_{step}")
        temporary.mkdir()
        try:
            files = {}
            for name, found in arrays.items():
                if found:
                    files[name] = {"file": f"{name}.safetensors", "checksums": _write_arrays(temporary / f"{name}.safetensors", found)}
            text = json.dumps({"format": _FORMAT, "version": _VERSION, **contents, "files": files}, separators=(",", ":"))
            _write_synced(temporary / _CONTENTS, text.encode())
            sync_directory(temporary)
            earlier = self._found().get(step, [])
            os.rename(temporary, self.directory / _following(step, earlier))
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        sync_directory(self.directory)
        for path in earlier:
            self._remove(path)

    def delete(self, step: int) -> None:
        """Remove the checkpoint of a step."""
        for path in self._found()[step]:
            self._remove(path)

    def _remove(self, path: Path) -> None:
        """Remove a folder in such a way that half of it is never taken for a checkpoint."""
        doomed = part_of(path)
        with contextlib.suppress(FileNotFoundError):
            os.rename(path, doomed)
            shutil.rmtree(doomed, ignore_errors=True)

    # --- reading ---------------------------------------------------------------------------------------------------

    def read_contents(self, step: int) -> dict[str, Any]:
        """What a checkpoint says of itself, and its states without their arrays."""
        path = self.path(step) / _CONTENTS
        try:
            contents = json.loads(path.read_text(encoding="utf-8"))
            if contents["format"] != _FORMAT or contents["version"] != _VERSION:
                raise ValueError(f"it has format {contents['format']!r}, version {contents['version']!r}; this is for version {_VERSION}")
            if not all(isinstance(contents[name], dict) for name in ("metrics", "objects", "files")):
                raise TypeError("its parts are no JSON objects")
        except FileNotFoundError:
            raise FileFormatError(f"{path} is missing") from None
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise FileFormatError(f"{path} is damaged, or from another program: {error}") from None
        return contents

    def metrics(self, step: int) -> dict[str, float]:
        """The metrics of a checkpoint; none if it is damaged."""
        name = self.path(step).name
        if name not in self._metrics:
            try:
                self._metrics[name] = self.read_contents(step)["metrics"]
            except FileFormatError:
                return {}
        return self._metrics[name]

    def read_arrays(self, step: int, contents: dict[str, Any], wanted: Mapping[str, Any], places: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        """The arrays of the wanted states, checked against their checksums."""
        folder = self.path(step)
        found: dict[str, dict[str, Any]] = {}
        for name, plain in wanted.items():
            entry = contents["files"].get(name)
            asked = tree.references(plain)
            found[name] = {} if not asked else _read_arrays(folder, entry, asked, places)
        return found

    def wait(self) -> None:
        """Nothing is under way."""

    def close(self) -> None:
        """Nothing is open."""


def _following(step: int, earlier: list[Path]) -> str:
    """The name for a folder that counts before the earlier ones of the same step."""
    name = f"step_{step:010}"
    if not earlier:
        return name
    match = _NAME.fullmatch(earlier[-1].name)
    assert match is not None
    return f"{name}.{int(match[2] or 0) + 1}"


def _write_synced(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _write_arrays(path: Path, arrays: Mapping[str, Any]) -> dict[str, int]:
    """Write a safetensors file, and return the checksum of each array."""
    hosts = {name: _storable(host_array(value)) for name, value in arrays.items()}
    with path.open("wb") as file:
        safetensors._write(hosts, {}, file)
        file.flush()
        os.fsync(file.fileno())
    return {name: zlib.crc32(raw(array)) for name, array in hosts.items()}


def _storable(array: np.ndarray) -> np.ndarray:
    """The array in a dtype that the format has a name for."""
    if dtypes.from_numpy(array.dtype).name in safetensors._NAMES:
        return array
    return array.reshape(-1).view(np.float64 if array.dtype.kind == "c" else np.uint8)


def _read_arrays(folder: Path, entry: Any, asked: Mapping[str, dict[str, Any]], places: Mapping[str, Any]) -> dict[str, Any]:
    if not isinstance(entry, dict) or not isinstance(entry.get("file"), str) or Path(entry["file"]).name != entry["file"]:
        raise FileFormatError(f"{folder / _CONTENTS} is damaged: it names no file for {next(iter(asked))!r}")
    path = folder / entry["file"]
    try:
        file = SingleFile(path)
    except FileNotFoundError:
        raise FileFormatError(f"{path} is missing") from None
    found = {}
    with file.source:
        for name, said in asked.items():
            if name not in file.entries:
                raise FileFormatError(f"{path} has no tensor {name!r}")
            array = file.array(name)
            if zlib.crc32(raw(array)) != entry["checksums"].get(name):
                raise FileFormatError(f"{path} is damaged: tensor {name!r} is not what was written, its checksum differs")
            try:
                array = array.view(dtypes._NAMES[said["dtype"]].dtype).reshape(said["shape"])
            except (KeyError, ValueError, TypeError):
                raise FileFormatError(f"{path}: tensor {name!r} does not have the shape and dtype that {_CONTENTS} says") from None
            found[name] = array if said["tag"] == "$array" else put(array, place_of(name, array.shape, places))
    return found
