"""`nr.save`, `nr.load` and `nr.io.open`: tensors and nested objects on disk, in the format that a path's ending or a file's content says."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import ArgumentError
from . import pytorch, pytorch_writer, safetensors
from .placement import checked
from .safetensors import INDEX, TensorFile
from .source import Source, replacing

__all__ = ["load", "open", "save"]


def save(
    obj: Any, f: Any, pickle_module: Any = None, pickle_protocol: int = 2, *, metadata: Mapping[str, str] | None = None,
    max_shard_size: int | str | None = None,
) -> None:  # fmt: skip
    """Write tensors to a file. It appears whole or not at all: whatever happens meanwhile, what was there before stays readable.

    A path that ends in ``.safetensors`` gets the safetensors format, a dict of tensors by name. Any other path, such as ``.pt``, ``.pth`` or ``.bin``, and any
    file object gets PyTorch's format, which takes nested objects too; `torch.load` reads it, with ``weights_only=True``.

    Args:
        obj: a state dict. For PyTorch's format also lists, tuples, dicts and sets of any depth of tensors, numbers, strings, bytes, `None`, dtypes and devices.
            Arrays are written as tensors, NumPy's numbers as Python's, a defaultdict as a dict.
        f: a path, or a file object opened for writing bytes.
        pickle_module: must be `None`.
        pickle_protocol: must be 2, the one that PyTorch reads safely.
        metadata: strings to keep beside the tensors (safetensors).
        max_shard_size: bytes, or a text such as ``"5GB"``. A larger dict goes into several files and Hugging Face's index ``model.safetensors.index.json``
            (safetensors).

    Raises:
        TypeError: a value is none that the format takes.

    Examples:
        >>> import tempfile, neurarust_jax as nr
        >>> folder = tempfile.mkdtemp()
        >>> nr.save({"w": nr.ones(2)}, folder + "/w.safetensors")
        >>> nr.load(folder + "/w.safetensors")
        {'w': tensor([1., 1.])}
        >>> nr.save({"model": {"w": nr.ones(2)}, "epoch": 3}, folder + "/training.pt")
        >>> nr.load(folder + "/training.pt")
        {'model': {'w': tensor([1., 1.])}, 'epoch': 3}
    """
    if pickle_module is not None or pickle_protocol != 2:
        raise ArgumentError("save writes pickles of its own, of protocol 2: leave out pickle_module and pickle_protocol")
    is_path = isinstance(f, str | os.PathLike)
    if is_path and Path(f).name.endswith((".safetensors", ".safetensors" + INDEX)):
        return safetensors.save(obj, str(f).removesuffix(INDEX), metadata, max_shard_size)
    if metadata is not None or max_shard_size is not None:
        raise ArgumentError(f"metadata and max_shard_size are for a path that ends in .safetensors, got {f!r}")
    if not is_path:
        return pytorch_writer.save(obj, f)
    with replacing(f) as file:
        pytorch_writer.save(obj, file, Path(f).stem or "archive")
    return None


def load(
    f: Any, map_location: Any = None, pickle_module: Any = None, *, weights_only: bool | None = True, mmap: bool | None = None, **pickle_load_args: Any
) -> Any:
    """Read a file: safetensors, also one of several by Hugging Face's index, or what `torch.save` wrote, which needs no PyTorch. The content says which.

    Nothing in a file is executed. From PyTorch's files come tensors, containers, numbers and strings; anything else is refused by its name.

    Args:
        f: a path, a folder with ``model.safetensors``, or a file object opened for reading bytes.
        map_location: where the tensors go. `None`: JAX's default device. A device, or a `jax.sharding.Sharding` for all. A dict: from names of tensors, or from
            devices that the file names, to such. A function of a tensor and such a device's name: it returns a tensor, a device, or `None`.
        pickle_module: must be `None`.
        weights_only: accepted and without effect: nothing but data is ever read.
        mmap: share the file's memory instead of reading it; the file must not be changed while the tensors live. Default: `False`.
        encoding: of the strings of Python 2 in a file of PyTorch's. Default: ``"utf-8"``.

    Returns:
        A dict of tensors by name, or the object that was saved.

    Raises:
        RuntimeError: the file is damaged, cut off or lies about itself: the error names the file and the tensor.
        UnpicklingError: it holds objects that are no data.

    Examples:
        >>> import io, neurarust_jax as nr
        >>> file = io.BytesIO()
        >>> nr.save({"step": 7, "w": nr.zeros(2)}, file)
        >>> _ = file.seek(0)
        >>> nr.load(file, map_location="cpu")
        {'step': 7, 'w': tensor([0., 0.])}
    """
    encoding = pickle_load_args.pop("encoding", "utf-8")
    if pickle_module is not None or pickle_load_args:
        raise ArgumentError("load reads pickles by itself and executes nothing in them: leave out pickle_module and its arguments")
    placement = checked(map_location)
    is_path = isinstance(f, str | os.PathLike)
    if mmap and not is_path:
        raise ArgumentError("f must be a file path in order to use the mmap argument")
    if is_path:
        f = safetensors.located(f)
        if f.name.endswith(INDEX) and not f.name.endswith(".safetensors" + INDEX):
            return _load_sharded(f, map_location, bool(mmap))
    if not (is_path and f.name.endswith(INDEX)):
        with Source(f, bool(mmap)) as source:
            if not _is_safetensors(source, f if is_path else None):
                return pytorch.load(source, placement, bool(mmap), encoding)
            source.finish(0)
    with open(f, map_location, mmap=bool(mmap)) as tensors:
        return dict(tensors)


def open(f: Any, map_location: Any = None, *, mmap: bool = False) -> TensorFile:  # noqa: A001
    """A safetensors file, sharded or not, as a mapping from names to tensors, each of which is read when it is asked for. See `TensorFile`.

    Args:
        f: the path of a file, of an index, or of a folder with either; or a file object.
        map_location: where tensors go, as in `load`.
        mmap: share the file's memory instead of reading it.
    """
    return TensorFile(f, map_location, mmap=mmap)


def _is_safetensors(source: Source, path: Path | None) -> bool:
    """By the content, and of what could be neither format, by the path's ending."""
    if source.size >= 9:
        start = source.bytes(0, 9)
        if start[8:] == b"{" and int.from_bytes(start[:8], "little") <= source.size - 8:
            return True
        if start[:4] == b"PK\x03\x04" or start[:1] == b"\x80":
            return path is not None and path.suffix == ".safetensors" and start[:4] != b"PK\x03\x04"
    return path is not None and path.suffix == ".safetensors"


def _load_sharded(index: Path, map_location: Any, mapped: bool) -> dict[str, Any]:
    """A state dict in several files of PyTorch's, by Hugging Face's older index."""
    shard_of, _ = safetensors.read_index(index)
    found: dict[str, Any] = {}
    for name in sorted(set(shard_of.values())):
        found.update(load(index.parent / name, map_location, mmap=mapped))
    return {name: found[name] for name in shard_of if name in found}
