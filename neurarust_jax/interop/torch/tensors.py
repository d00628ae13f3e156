"""Tensors between PyTorch and here: by DLPack, so without a copy, where dtype, layout and device allow; with one copy elsewhere."""

from __future__ import annotations

from typing import Any

import jax
import ml_dtypes  # noqa: F401 (gives NumPy the names of the low-precision dtypes)
import numpy as np
import torch

from ... import dtypes
from ...errors import ArgumentTypeError, DtypeError, TracedValueError
from ...parameter import CellTensor, Parameter, is_lazy
from ...tensor import Tensor, array_from, wrap

_DTYPES = {getattr(torch, d.name): d for d in dtypes.ALL}
_TO_TORCH = {d: t for t, d in _DTYPES.items()}


def dtype_from_torch(dtype: torch.dtype) -> dtypes.dtype:
    """Our dtype for one of PyTorch's."""
    found = _DTYPES.get(dtype)
    if found is None:
        raise DtypeError(f"there is no tensor of {dtype} here; convert it before, for example by .to(torch.float32)")
    return found


def dtype_to_torch(dtype: dtypes.dtype) -> torch.dtype:
    """PyTorch's dtype for one of ours."""
    return _TO_TORCH[dtype]


def tensor_from_torch(tensor: torch.Tensor, copy: bool = False) -> Tensor:
    """Our tensor over the memory of PyTorch's, or a copy. A `torch.nn.Parameter` becomes a `Parameter`, always copied.

    `requires_grad` is kept as a flag; the graph of a computed tensor stays in PyTorch.
    """
    if tensor.layout is not torch.strided:
        raise ArgumentTypeError(f"a tensor of layout {tensor.layout} has no counterpart here; write tensor.to_dense() before")
    if tensor.is_quantized:
        raise ArgumentTypeError("a quantized tensor has no counterpart here; write tensor.dequantize() before")
    dtype_from_torch(tensor.dtype)
    if tensor.device.type == "meta":
        raise ArgumentTypeError("a tensor on the device meta has no elements to convert")
    is_parameter = isinstance(tensor, torch.nn.Parameter)
    value = array_from(tensor.detach(), copy=copy or is_parameter)
    if is_parameter:
        return Parameter(value, requires_grad=tensor.requires_grad)
    return wrap(value).requires_grad_(tensor.requires_grad)


def tensor_to_torch(tensor: Any, copy: bool = False) -> torch.Tensor:
    """PyTorch's tensor over the memory of ours, or a copy. A `Parameter` becomes a `torch.nn.Parameter`, always copied.

    `requires_grad` of a leaf is kept; the graph of a computed tensor stays here.
    """
    if is_lazy(tensor):
        raise ArgumentTypeError(f"{tensor!r} has no shape yet; call the lazy module with a batch before")
    value = tensor._value if isinstance(tensor, Tensor) else tensor
    if isinstance(value, jax.core.Tracer):
        raise TracedValueError("to_torch needs the elements of the tensor, and inside nr.jit or another transformation it has none yet; convert what the function returns")
    made = _over_memory(value)
    if copy or isinstance(tensor, CellTensor):
        made = made.clone()
    if isinstance(tensor, Parameter):
        return torch.nn.Parameter(made, requires_grad=tensor.requires_grad)
    if isinstance(tensor, Tensor) and tensor.requires_grad and tensor.is_leaf:
        made.requires_grad_()
    return made


def _over_memory(value: Any) -> torch.Tensor:
    if len(value.sharding.device_set) == 1:
        try:
            return torch.from_dlpack(value)
        except (RuntimeError, BufferError, TypeError, ValueError):  # a device that this build of PyTorch lacks
            pass
    array = np.array(value)
    plain = array if array.dtype.isbuiltin == 1 else array.view(f"u{array.dtype.itemsize}")  # NumPy's own dtypes pass, ml_dtypes' as bits
    made = torch.from_numpy(plain)
    return made if plain is array else made.view(_TO_TORCH[dtypes.from_numpy(array.dtype)])
