"""Questions about a tensor that read none of its elements, and the parts of PyTorch's interface that storages and layouts leave behind here."""

import types
from typing import Any

import jax

from .. import dtypes
from ..errors import ArgumentTypeError, TracedValueError
from ..parameter import CellTensor
from ..tensor import Tensor, attach
from .conversion import _to_dtype
from .creation import empty, is_nonzero, tensor

__all__ = [
    "detach", "detach_copy", "get_device", "is_conj", "is_distributed", "is_inference", "is_neg", "is_same_size", "is_signed", "resolve_conj", "resolve_neg",
    "typename",
]  # fmt: skip


def _tensor(x: Any, function: str) -> Tensor:
    if not isinstance(x, Tensor):
        raise ArgumentTypeError(f"{function}(): argument must be Tensor, not {type(x).__name__}")
    return x


# --- questions -----------------------------------------------------------------------------------------------------


def is_same_size(input: Tensor, other: Tensor) -> bool:
    """Whether two tensors have the same shape.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.is_same_size(nr.zeros(2, 3), nr.ones(2, 3))
        True
    """
    return tuple(_tensor(input, "is_same_size").shape) == tuple(_tensor(other, "is_same_size").shape)


def is_signed(input: Tensor) -> bool:
    """Whether the dtype has negative values."""
    return _tensor(input, "is_signed").is_signed()


def is_conj(input: Tensor) -> bool:
    """Always false: conjugation is never lazy here."""
    return _tensor(input, "is_conj").is_conj()


def is_neg(input: Tensor) -> bool:
    """Always false: negation is never lazy here."""
    return _tensor(input, "is_neg").is_neg()


def is_inference(input: Tensor) -> bool:
    """Always false: a tensor made under `nr.inference_mode()` is like any other and may take part in gradients later."""
    return _tensor(input, "is_inference") is None


def is_distributed(input: Tensor) -> bool:
    """Always false, as in PyTorch. Whether a tensor is spread over devices, ``x.sharding`` says."""
    return _tensor(input, "is_distributed") is None


def get_device(input: Tensor) -> int:
    """The number of the GPU or other accelerator that holds the tensor, -1 for the CPU."""
    device = _tensor(input, "get_device").device
    return -1 if device.type == "cpu" else device.index or 0


def typename(obj: Any) -> str:
    """The name of the type of an object, with its module; of a tensor the name that `Tensor.type` gives.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.typename(nr.ones(2)), nr.typename(nr.nn.Linear), nr.typename(3)
        ('neurarust_jax.FloatTensor', 'neurarust_jax.nn.linear.Linear', 'int')
    """
    if isinstance(obj, Tensor):
        return obj.type()
    if isinstance(obj, types.ModuleType):
        return obj.__name__
    named = obj if hasattr(obj, "__qualname__") else type(obj)
    module = getattr(named, "__module__", None) or ""
    return named.__qualname__ if module in ("", "builtins") else f"{module}.{named.__qualname__}"


# --- the same tensor -----------------------------------------------------------------------------------------------


def detach(input: Tensor) -> Tensor:
    """The same value, through which no gradient flows."""
    return _tensor(input, "detach").detach()


detach_copy = detach


def resolve_conj(input: Tensor) -> Tensor:
    """The tensor itself: conjugation is never lazy here."""
    return _tensor(input, "resolve_conj")


def resolve_neg(input: Tensor) -> Tensor:
    """The tensor itself: negation is never lazy here."""
    return _tensor(input, "resolve_neg")


# --- methods -------------------------------------------------------------------------------------------------------


def _data_ptr(self: Tensor) -> int:
    """The address of the first element in the memory of its device."""
    if isinstance(self._value, jax.core.Tracer):
        raise TracedValueError("data_ptr() needs memory, and inside nr.jit, grad, vmap or another transformation a tensor has none yet. Call it outside.")
    return self._value.unsafe_buffer_pointer()


def _new(self: Tensor, *data: Any, device: Any = None) -> Tensor:
    """A tensor of this dtype, from data or of a shape. Better: `new_tensor`, `new_empty`."""
    if len(data) == 1 and not isinstance(data[0], int) and not (isinstance(data[0], tuple) and hasattr(data[0], "numel")):
        return tensor(data[0], dtype=self.dtype, device=device)
    return empty(*data or (0,), dtype=self.dtype, device=device)


def _to_dense(self: Tensor, dtype: Any = None, *, masked_grad: bool = True) -> Tensor:
    """The tensor itself, which is dense, in another dtype if one is given."""
    return self if dtype is None else _to_dtype(self, dtypes.as_dtype(dtype))


def _dim_order(self: Tensor, *, ambiguity_check: Any = False) -> tuple[int, ...]:
    """The dimensions from the outermost to the innermost in memory, as if contiguous: XLA chooses the real order by itself."""
    return tuple(range(self.dim()))


def _is_set_to(self: Tensor, tensor: Tensor) -> bool:
    """Whether both are the same value in memory."""
    return self._value is tensor._value


def _module_load(self: Tensor, other: Tensor, assign: bool = False) -> Tensor:
    """What `Module.load_state_dict` puts in this tensor's place: with `assign` the other tensor, else this cell with the other's value."""
    return other if assign else self.copy_(other).detach()


def _as_subclass(self: Tensor, cls: type[Tensor]) -> Tensor:
    """The same value, with its graph, as an instance of a class derived from `Tensor`."""
    if not (isinstance(cls, type) and issubclass(cls, Tensor)):
        raise ArgumentTypeError(f"as_subclass takes a class derived from nr.Tensor, got {cls!r}")
    made = cls.__new__(cls)
    if isinstance(made, CellTensor):
        made._state = self._value
    else:
        made._value, made._node, made._index = self._value, self._node, self._index
    return made


def _itself(self: Tensor, device: Any = None) -> Tensor:
    """The tensor itself: JAX manages the memory of hosts and devices."""
    return self


def _never(self: Tensor, device: Any = None) -> bool:
    """Always false: JAX manages the memory of hosts and devices."""
    return False


for _name, _method in {
    "is_same_size": is_same_size, "is_inference": is_inference, "is_distributed": is_distributed, "get_device": get_device, "is_nonzero": is_nonzero,
    "data_ptr": _data_ptr, "const_data_ptr": _data_ptr, "new": _new, "to_dense": _to_dense, "dim_order": _dim_order, "is_set_to": _is_set_to,
    "module_load": _module_load, "as_subclass": _as_subclass, "pin_memory": _itself, "share_memory_": _itself, "is_pinned": _never, "is_shared": _never,
}.items():  # fmt: skip
    attach(_name, _method)

attach("name", property(lambda self: None, doc="Always `None`, as in PyTorch."))
attach("volatile", property(lambda self: False, doc="Always false, as in PyTorch."))
attach("grad_dtype", property(lambda self: self.dtype, doc="The dtype of the tensor's gradient: its own."))
