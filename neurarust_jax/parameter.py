"""`Parameter` and `Buffer`: tensors that are cells, so that their value can be replaced; and those of lazy layers, whose shape comes later."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from . import devices, dtypes
from .cells import Cell, Leaf, outside_traces
from .errors import ArgumentError, ShapeError
from .tensor import Tensor, WritableTensor, array_from, wrap

changes = 0  # counts changes of what a compiled function takes as fixed: flags of cells and plain attributes of modules


def note_change() -> None:
    """Tell compiled functions to look again at the flags and attributes that they were compiled for."""
    global changes
    changes += 1


class CellTensor(Cell, WritableTensor):
    """A tensor that is a cell. Base of `Parameter` and `Buffer`."""

    _value = property(Cell._read)  # type: ignore[assignment]

    def __init__(self, data: Any = None, requires_grad: bool = False):
        self._state = array_from(data if data is not None else [])
        if requires_grad:
            Tensor.requires_grad_(self)

    @property
    def data(self) -> Tensor:
        """The value, without a graph; in-place methods of it write into the cell. Setting it replaces the value."""
        return Data(self)

    @data.setter
    def data(self, value: Any) -> None:
        self.assign(value)

    def requires_grad_(self, requires_grad: bool = True) -> CellTensor:
        """Let gradients be accumulated in `.grad`, or stop it."""
        if bool(requires_grad) != (self._node is not None):
            note_change()
        Tensor.requires_grad_(self, requires_grad)
        return self

    def __reduce__(self) -> Any:
        return _rebuild, (type(self), self.numpy(force=True), self._node is not None, self._extra_state())

    def _extra_state(self) -> dict[str, Any]:
        hidden = ("_state", "_node", "_kept_leaf")
        return {name: value for name, value in self.__dict__.items() if name not in hidden}

    def __deepcopy__(self, memo: dict) -> CellTensor:
        twin = _rebuild(type(self), self._value, self._node is not None, copy.deepcopy(self._extra_state(), memo))
        memo[id(self)] = twin
        return twin


class Data(WritableTensor):
    """What `.data` of a cell gives: the value that the cell has whenever it is looked at, without a graph. In-place methods write into the cell."""

    _node = None

    def __init__(self, cell: CellTensor):
        self._cell = cell

    @property
    def _value(self) -> Any:
        return self._cell.detach()._value

    def _write(self, value: Any) -> None:
        self._cell._write(value)


def _as_tensor(_: None, children: Any) -> Any:
    return wrap(children[0])


jax.tree_util.register_pytree_node(Data, lambda data: ((data._value,), None), _as_tensor)


def _rebuild(cls: type[CellTensor], value: Any, requires_grad: bool, extra: dict[str, Any]) -> CellTensor:
    cell = cls.__new__(cls)
    cell._state = array_from(value)
    cell.__dict__.update(extra)
    if requires_grad:
        Tensor.requires_grad_(cell)
    return cell


class Parameter(CellTensor):
    r"""A tensor that a module learns: assigned as an attribute of a `Module` it appears among its parameters.

    Args:
        data: the initial value.
        requires_grad: whether `backward()` accumulates a gradient here. Default: `True`.

    Examples:
        >>> import neurarust_jax as nr
        >>> p = nr.nn.Parameter(nr.ones(2))
        >>> with nr.no_grad():
        ...     _ = p.mul_(3)
        >>> p
        Parameter containing:
        tensor([3., 3.], requires_grad=True)
    """

    _layer_dims = 0  # first dimensions along which parameters of equal layers lie, each one for itself to an optimizer

    def __init__(self, data: Any = None, requires_grad: bool = True):
        super().__init__(data, requires_grad)

    def __repr__(self, *, tensor_contents: Any = None) -> str:
        return "Parameter containing:\n" + super().__repr__()


class Buffer(CellTensor):
    """A tensor that belongs to a module's state and is not learned, such as a running mean.

    Args:
        data: the initial value.
        persistent: whether it is part of the module's `state_dict`. Default: `True`.
    """

    def __init__(self, data: Any = None, *, persistent: bool = True):
        super().__init__(data)
        self.persistent = persistent


class UninitializedTensorMixin:
    """What cells share whose shape is not known yet: they have a dtype and a device, and no elements."""

    cls_to_become: type[CellTensor]
    _state: Any
    _node: Any

    def _prepare(self, device: Any, dtype: Any) -> None:
        with outside_traces(), dtypes.x64():
            empty = jax.numpy.zeros(0, dtypes.as_dtype(dtypes.get_default_dtype() if dtype is None else dtype).dtype)
            self._state = empty if device is None else devices.put(empty, device)

    def materialize(self, shape: Any, device: Any = None, dtype: Any = None) -> None:
        """Give the cell a shape, and make it an ordinary parameter or buffer; its elements are zeros.

        Args:
            shape: the shape.
            device, dtype: by default those that it was made with.
        """
        with outside_traces(), dtypes.x64():
            placed = self._state if device is None else devices.put(self._state, device)
            value = jax.numpy.zeros(tuple(shape), self._state.dtype if dtype is None else dtypes.as_dtype(dtype).dtype)
            self._state = jax.device_put(value, placed.sharding) if placed.committed else value
        self.__class__ = self.cls_to_become  # type: ignore[assignment]
        note_change()

    @property
    def _value(self) -> Any:
        raise ArgumentError(
            f"Attempted to use an uninitialized parameter: {self!r} has no shape yet. Call `forward` of the lazy module with a batch, so that it finds the shape, "
            "before anything else uses its parameters."
        )

    @property
    def shape(self) -> Any:
        """Raises: the shape is not known yet."""
        raise ShapeError(
            "Can't access the shape of an uninitialized parameter or buffer. This error usually happens in `load_state_dict` when trying to load an uninitialized "
            "parameter into an initialized one. Call `forward` to initialize the parameters before accessing their attributes."
        )

    @property
    def dtype(self) -> dtypes.dtype:
        """The dtype that the cell will have."""
        return dtypes.from_numpy(self._state.dtype)

    @property
    def device(self) -> devices.device:
        """Where the cell will lie."""
        return devices.of_array(self._state)

    @property
    def data(self) -> Tensor:
        """An empty tensor of the dtype and on the device."""
        return wrap(self._state)

    def detach(self) -> Any:
        """The cell itself."""
        return self

    def requires_grad_(self, requires_grad: bool = True) -> Any:
        """Let gradients be accumulated in `.grad` once there is a shape, or not."""
        self._node = self._leaf() if requires_grad else None
        note_change()
        return self

    def _leaf(self) -> Leaf:
        return self.__dict__.setdefault("_kept_leaf", Leaf())

    def __repr__(self, *, tensor_contents: Any = None) -> str:
        return f"<{type(self).__name__}>"

    def __deepcopy__(self, memo: dict) -> Any:
        rebuild, arguments = self.__reduce__()
        return memo.setdefault(id(self), rebuild(*arguments))

    def __reduce__(self) -> Any:
        return _rebuild_uninitialized, (type(self), np.asarray(self._state), self._node is not None, getattr(self, "persistent", None))


def _rebuild_uninitialized(cls: Any, value: Any, requires_grad: bool, persistent: bool | None) -> Any:
    cell = cls.__new__(cls)
    cell._state = array_from(value)
    if persistent is not None:
        cell.persistent = persistent
    if requires_grad:
        cell.requires_grad_()
    return cell


class UninitializedParameter(UninitializedTensorMixin, Parameter):  # type: ignore[misc]
    """A parameter whose shape is not known yet. `materialize` makes it a `Parameter`.

    Args:
        requires_grad: whether `backward()` will accumulate a gradient here. Default: `True`.
        device, dtype: of the parameter that it becomes.
    """

    cls_to_become = Parameter

    def __init__(self, requires_grad: bool = True, device: Any = None, dtype: Any = None):
        self._prepare(device, dtype)
        if requires_grad:
            self.requires_grad_()


class UninitializedBuffer(UninitializedTensorMixin, Buffer):  # type: ignore[misc]
    """A buffer whose shape is not known yet. `materialize` makes it a `Buffer`.

    Args:
        requires_grad: whether gradients flow to it. Default: `False`.
        device, dtype: of the buffer that it becomes.
        persistent: whether it is part of the module's `state_dict`. Default: `True`.
    """

    cls_to_become = Buffer

    def __init__(self, requires_grad: bool = False, device: Any = None, dtype: Any = None, persistent: bool = True):
        self._prepare(device, dtype)
        self.persistent = persistent
        if requires_grad:
            self.requires_grad_()


def is_lazy(param: Any) -> bool:
    """Whether a cell's shape is not known yet."""
    return isinstance(param, UninitializedTensorMixin)


def _flatten(cell: CellTensor) -> tuple[tuple[Any], None]:
    return (cell._value,), None


def unflatten_as(cls: type[Cell]) -> Callable[[Any, Any], Any]:
    """The function that makes a new cell of a class around a value, as JAX asks of a pytree node."""

    def unflatten(_: None, children: Any) -> Cell:
        cell = cls.__new__(cls)
        cell._state = children[0]
        return cell

    return unflatten


for _cls in (Parameter, Buffer):
    jax.tree_util.register_pytree_node(_cls, _flatten, unflatten_as(_cls))
