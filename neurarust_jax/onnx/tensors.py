"""Tensors in ONNX files as NumPy arrays, those in external data files too, and ONNX's element types as NumPy dtypes."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ModelFileError

_LARGEST_DENSE = 1 << 31  # bytes that a sparse tensor may take when it is filled up


def numpy_dtype(element_type: int) -> np.dtype:
    """The NumPy dtype of a `TensorProto.DataType`; strings are objects."""
    import onnx

    if element_type == onnx.TensorProto.STRING:
        return np.dtype(object)
    try:
        return np.dtype(onnx.helper.tensor_dtype_to_np_dtype(element_type))
    except KeyError:
        raise ModelFileError(f"{element_type} is no element type of ONNX {onnx.__version__}") from None


def element_type(dtype: Any) -> int:
    """The `TensorProto.DataType` of a NumPy dtype."""
    import onnx

    dtype = np.dtype(dtype)
    return onnx.TensorProto.STRING if dtype.kind in "OUS" else onnx.helper.np_dtype_to_tensor_dtype(dtype)


def read_tensor(proto: Any, folder: Path | None, where: str) -> np.ndarray:
    """The elements of a `TensorProto`.

    Args:
        proto: the tensor.
        folder: where external data files lie; `None` if the model came from no file.
        where: the file and the tensor, for errors.
    """
    import onnx

    if any(length < 0 for length in proto.dims):
        raise ModelFileError(f"{where} has the shape {list(proto.dims)}; lengths are at least 0")
    if proto.data_location == onnx.TensorProto.EXTERNAL:
        return _read_external(proto, folder, where)
    try:
        array = onnx.numpy_helper.to_array(proto)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, UnicodeDecodeError, OverflowError, MemoryError) as error:
        raise ModelFileError(f"{where} is damaged: its data do not fit its shape {list(proto.dims)} and element type {proto.data_type} ({error})") from None
    if proto.data_type == onnx.TensorProto.STRING:
        return np.asarray([s.decode("utf-8", "surrogateescape") for s in proto.string_data], object).reshape(tuple(proto.dims))
    return np.asarray(array)


def _read_external(proto: Any, folder: Path | None, where: str) -> np.ndarray:
    """The elements of a tensor whose data lie in a file beside the model, never outside the model's folder."""
    entries = {entry.key: entry.value for entry in proto.external_data}
    location = entries.get("location", "")
    if folder is None:
        raise ModelFileError(f"{where} has its data in the file {location!r}, and the model came without a path; load it by its path")
    path = (folder / location).resolve()
    if not location or not path.is_relative_to(folder.resolve()) or not path.is_file():
        raise ModelFileError(f"{where} has its data in {location!r}, which is no file in the folder of the model, {folder}")
    dtype = numpy_dtype(proto.data_type)
    if dtype.kind == "O":
        raise ModelFileError(f"{where} is a tensor of strings in an external file, which ONNX does not allow")
    count = math.prod(proto.dims)
    size = -(-count * _bits(dtype) // 8)
    try:
        offset = int(entries.get("offset", 0))
        length = int(entries.get("length", size))
    except ValueError:
        raise ModelFileError(f"{where} has offset {entries.get('offset')!r} and length {entries.get('length')!r}; expected numbers") from None
    if length != size or offset < 0 or offset + length > path.stat().st_size:
        raise ModelFileError(
            f"{where} of shape {list(proto.dims)} needs {size} bytes from {offset} on in {location!r}; the entry says {length} bytes, and the file has "
            f"{path.stat().st_size}"
        )
    with path.open("rb") as file:
        file.seek(offset)
        data = file.read(length)
    if _bits(dtype) == 8 * dtype.itemsize:
        return np.frombuffer(data, dtype.newbyteorder("<")).astype(dtype).reshape(tuple(proto.dims))
    import onnx

    inline = onnx.TensorProto(data_type=proto.data_type, dims=proto.dims, raw_data=data)
    return np.asarray(onnx.numpy_helper.to_array(inline))


def _bits(dtype: np.dtype) -> int:
    import ml_dtypes

    if dtype.kind in "biufc":
        return 8 * dtype.itemsize
    if "int" in dtype.name:
        return ml_dtypes.iinfo(dtype).bits
    return ml_dtypes.finfo(dtype).bits


def read_sparse(proto: Any, folder: Path | None, where: str) -> np.ndarray:
    """The elements of a `SparseTensorProto`, filled up with zeros."""
    values = read_tensor(proto.values, folder, where)
    indices = read_tensor(proto.indices, folder, where)
    shape = tuple(proto.dims)
    if any(length < 0 for length in shape) or math.prod(shape) * max(values.dtype.itemsize, 1) > _LARGEST_DENSE:
        raise ModelFileError(f"{where} is a sparse tensor of shape {list(shape)}, which is too large to be filled up with zeros")
    if indices.dtype != np.int64 or values.ndim != 1 or indices.shape not in ((len(values),), (len(values), len(shape))):
        raise ModelFileError(f"{where} is damaged: {values.shape} values of a sparse tensor with indices of shape {indices.shape} and dtype {indices.dtype}")
    dense = np.zeros(shape, values.dtype)
    try:
        if indices.ndim == 1:
            dense.reshape(-1)[indices] = values
        else:
            dense[tuple(indices.T)] = values
    except IndexError as error:
        raise ModelFileError(f"{where} is damaged: a sparse tensor's {error}") from None
    return dense
