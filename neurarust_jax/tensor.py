"""`Tensor`: an immutable value around one `jax.Array`.

Here are its attributes, its conversions to Python, NumPy and JAX, and its part in the graph of recorded operations. Its arithmetic, indexing
and the rest of its methods are ops, and attach themselves from `neurarust_jax.ops`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from . import devices, dtypes
from .cells import Leaf
from .errors import ArgumentError, ArgumentTypeError, AutogradError, DLPackError, IndexOutOfRangeError, ShapeError, TracedValueError, writes_into_a_tensor
from .layouts import strided

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Size(tuple):
    """The shape of a tensor: a tuple of ints with `numel()`."""

    __slots__ = ()

    def numel(self) -> int:
        """The number of elements of a tensor of this shape."""
        count = 1
        for length in self:
            count *= length
        return count

    def __repr__(self) -> str:
        return f"neurarust_jax.Size({list(self)})"

    def __getitem__(self, index: Any) -> Any:
        found = tuple.__getitem__(self, index)
        return Size(found) if isinstance(index, slice) else found

    def __add__(self, other):
        return Size(tuple.__add__(self, tuple(other)))


class Tensor:
    """An n-dimensional array whose value never changes, with PyTorch's methods and gradients.

    It wraps one `jax.Array`, is a pytree with that array as its one leaf, and goes wherever `jax.numpy` takes an array. Make tensors
    with `nr.tensor`, `nr.zeros` and the other creation functions.

    Args:
        data: numbers, nested lists of numbers, or an array; the result has the default dtype, as in PyTorch.

    Examples:
        >>> import neurarust_jax as nr
        >>> x = nr.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
        >>> (x * x).sum().backward()
        >>> x.grad
        tensor([[2., 4.],
                [6., 8.]])
    """

    _value: Any  # the jax.Array, or a tracer inside a transformation
    _node: Any = None  # the recorded operation that made this tensor, its own Leaf, or None: requires no gradient
    _index: int = 0  # which of the node's outputs it is

    __array_priority__ = 1000  # numpy_array + tensor asks the tensor first
    __hash__ = object.__hash__

    def __init__(self, *data: Any):
        if len(data) == 1 and not isinstance(data[0], int):
            (content,) = data
            if isinstance(content, Size):
                content = np.zeros(content)
            self._value = array_from(content, dtypes.get_default_dtype(), copy=True)
        else:
            if not all(isinstance(length, int) for length in data):
                raise ArgumentTypeError(f"Tensor takes one array or a shape of ints, got {data!r}; write nr.tensor([...])")
            self._value = array_from(np.zeros(data or (0,)), dtypes.get_default_dtype())

    if TYPE_CHECKING:  # the ops attach themselves; the stub lists them for editors

        def __getattr__(self, name: str) -> Any: ...
        def __setitem__(self, index: Any, value: Any) -> None: ...
        def __getitem__(self, index: Any) -> Tensor: ...
        def __add__(self, other: Any) -> Tensor: ...
        def __radd__(self, other: Any) -> Tensor: ...
        def __sub__(self, other: Any) -> Tensor: ...
        def __rsub__(self, other: Any) -> Tensor: ...
        def __mul__(self, other: Any) -> Tensor: ...
        def __rmul__(self, other: Any) -> Tensor: ...
        def __truediv__(self, other: Any) -> Tensor: ...
        def __rtruediv__(self, other: Any) -> Tensor: ...
        def __floordiv__(self, other: Any) -> Tensor: ...
        def __mod__(self, other: Any) -> Tensor: ...
        def __pow__(self, other: Any) -> Tensor: ...
        def __rpow__(self, other: Any) -> Tensor: ...
        def __matmul__(self, other: Any) -> Tensor: ...
        def __neg__(self) -> Tensor: ...
        def __lt__(self, other: Any) -> Tensor: ...
        def __le__(self, other: Any) -> Tensor: ...
        def __gt__(self, other: Any) -> Tensor: ...
        def __ge__(self, other: Any) -> Tensor: ...
        def __and__(self, other: Any) -> Tensor: ...
        def __or__(self, other: Any) -> Tensor: ...
        def __invert__(self) -> Tensor: ...

    # --- shape, type, place --------------------------------------------------------------------------------------

    @property
    def shape(self) -> Size:
        """The length of each dimension."""
        return Size(self._value.shape)

    def size(self, dim: int | None = None) -> Any:
        """The shape, or the length of dimension `dim`."""
        if dim is None:
            return Size(self._value.shape)
        shape = self._value.shape
        if not -len(shape) <= dim < len(shape):
            raise IndexOutOfRangeError(
                f"Dimension out of range: size({dim}) of a tensor of shape {tuple(shape)}; "
                f"expected to be in range of [{-len(shape)}, {len(shape) - 1}]"
            )
        return shape[dim]

    def dim(self) -> int:
        """The number of dimensions."""
        return self._value.ndim

    @property
    def ndim(self) -> int:
        """The number of dimensions."""
        return self._value.ndim

    ndimension = dim

    def numel(self) -> int:
        """The number of elements."""
        return self._value.size

    nelement = numel

    @property
    def dtype(self) -> dtypes.dtype:
        """The type of the elements, such as `nr.float32`."""
        return dtypes.from_numpy(self._value.dtype)

    @property
    def itemsize(self) -> int:
        """Bytes of one element."""
        return self._value.dtype.itemsize

    element_size = lambda self: self._value.dtype.itemsize  # noqa: E731

    @property
    def nbytes(self) -> int:
        """Bytes of all elements."""
        return self._value.size * self._value.dtype.itemsize

    @property
    def device(self) -> devices.device:
        """The device that holds the elements (of a sharded tensor, the first one)."""
        return devices.of_array(self._value)

    @property
    def sharding(self) -> Any:
        """How the elements are spread over devices, a `jax.sharding.Sharding`."""
        return self._value.sharding

    is_cuda = property(lambda self: self.device.type == "cuda", doc="Whether the tensor is on an NVIDIA or AMD GPU.")
    is_cpu = property(lambda self: self.device.type == "cpu", doc="Whether the tensor is in the CPU's memory.")
    is_sparse = is_sparse_csr = is_quantized = is_nested = is_meta = is_mps = is_mkldnn = is_vulkan = is_xla = is_xpu = is_ipu = is_mtia = is_maia = False
    layout = strided

    def stride(self, dim: int | None = None) -> Any:
        """Elements between neighbours along each dimension, as if contiguous: XLA chooses the real layout by itself."""
        strides, step = [], 1
        for length in reversed(self._value.shape):
            strides.append(step)
            step *= max(length, 1)
        strides.reverse()
        return tuple(strides) if dim is None else strides[dim]

    def storage_offset(self) -> int:
        """Always 0: tensors share no storage."""
        return 0

    def is_contiguous(self, memory_format: Any = None) -> bool:
        """Always true: XLA chooses the layout by itself."""
        return True

    # --- conversions ---------------------------------------------------------------------------------------------

    def _concrete(self, what: str, instead: str) -> np.ndarray:
        """The elements as a NumPy array, or an error if there are none yet."""
        value = self._value
        if isinstance(value, jax.core.Tracer):
            raise TracedValueError(
                f"{what} needs the elements of a tensor of shape {tuple(value.shape)} and dtype {self.dtype}, and inside nr.jit, grad, vmap or another "
                f"transformation it has none yet. {instead}"
            )
        return np.asarray(value)

    def item(self) -> Any:
        """The one element, as a Python number.

        Raises:
            RuntimeError: the tensor has more or fewer than one element, or has no value yet inside a transformation.
        """
        if self._value.size != 1:
            raise _not_one_element(self, "item()")
        return self._concrete("item()", "Return the tensor from the function, and call .item() outside.").item()

    def tolist(self) -> Any:
        """The elements as nested lists of Python numbers; of a 0-d tensor, the number."""
        return self._concrete("tolist()", "Return the tensor from the function, and call .tolist() outside.").tolist()

    def numpy(self, *, force: bool = False) -> np.ndarray:
        """The elements as a NumPy array; on the CPU a read-only view without a copy.

        Args:
            force: also of a tensor that requires a gradient.

        Raises:
            RuntimeError: the tensor requires a gradient and `force` is false.
        """
        if self._node is not None and not force:
            raise AutogradError("Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead.")
        return self._concrete("numpy()", "Use jax.numpy functions instead, or return the tensor and convert it outside.")

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        array = self.numpy()
        return array if dtype is None and not copy else np.array(array, dtype=dtype)

    def __jax_array__(self) -> Any:
        return self._value

    def __dlpack__(self, **options: Any) -> Any:
        if self._node is not None:
            raise DLPackError("Can't export tensors that require gradient, use tensor.detach()")
        return self._value.__dlpack__(**options)

    def __dlpack_device__(self) -> Any:
        return self._value.__dlpack_device__()

    def __len__(self) -> int:
        if self._value.ndim == 0:
            raise ArgumentTypeError("len() of a 0-d tensor")
        return self._value.shape[0]

    def __iter__(self) -> Iterator[Tensor]:
        if self._value.ndim == 0:
            raise ArgumentTypeError("iteration over a 0-d tensor; write x.item() for its value")
        return iter([self[i] for i in range(self._value.shape[0])])

    def __bool__(self) -> bool:
        if self._value.size != 1:
            raise _not_one_element(self, "bool()")
        return bool(self._concrete("A Python `if`, `while` or `and`", "Write nr.where(condition, a, b), or nr.cond / nr.while_loop."))

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __complex__(self) -> complex:
        return complex(self.item())

    def __index__(self) -> int:
        if self._value.dtype.kind not in "iub" or self._value.size != 1:
            raise ArgumentTypeError(f"only integer tensors of a single element can be an index, got shape {tuple(self._value.shape)} of {self.dtype}")
        return int(self.item())

    def __contains__(self, element: Any) -> bool:
        return bool((self == element).any())

    def __format__(self, spec: str) -> str:
        if self._value.ndim == 0 and not isinstance(self._value, jax.core.Tracer):
            return format(self.item(), spec)
        return format(repr(self), spec)

    def __repr__(self, *, tensor_contents: Any = None) -> str:
        from .printing import tensor_repr

        return tensor_repr(self)

    def __reduce__(self) -> Any:
        return _rebuild, (self.numpy(force=True), self._node is not None)

    def __deepcopy__(self, memo: dict) -> Tensor:
        if not self.is_leaf:
            raise AutogradError("Only Tensors created explicitly by the user support the deepcopy protocol; write x.detach() first")
        copy = wrap(self._value)
        if self._node is not None:
            copy.requires_grad = True
        return memo.setdefault(id(self), copy)

    # --- gradients -----------------------------------------------------------------------------------------------

    @property
    def requires_grad(self) -> bool:
        """Whether gradients flow to or through this tensor."""
        return self._node is not None

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        self.requires_grad_(value)

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Let gradients be accumulated in `.grad` of this leaf, or stop it.

        Raises:
            RuntimeError: the tensor is no leaf, or its dtype has no gradient.
        """
        if bool(requires_grad) == (self._node is not None):
            return self
        if not self.is_leaf:
            raise AutogradError(
                "you can only change requires_grad flags of leaf variables. If you want to use a computed variable in a subgraph "
                "that doesn't require differentiation use var_no_grad = var.detach()."
            )
        if requires_grad and self._value.dtype.kind in "biu":
            raise AutogradError(f"only Tensors of floating point and complex dtype can require gradients, got {self.dtype}; write x.float().requires_grad_()")
        self._node = self._leaf() if requires_grad else None
        return self

    def _leaf(self) -> Leaf:
        """The place for this tensor's gradient; kept while `requires_grad` is switched off and on."""
        found = self.__dict__.get("_kept_leaf")
        if found is None:
            found = self.__dict__["_kept_leaf"] = Leaf(isinstance(self._value, jax.core.Tracer))
        return found

    @property
    def is_leaf(self) -> bool:
        """Whether the tensor was not made by a recorded operation."""
        return self._node is None or isinstance(self._node, Leaf)

    @property
    def grad_fn(self) -> Any:
        """The recorded operation that made this tensor, or `None` for a leaf."""
        return None if self.is_leaf else self._node

    @property
    def output_nr(self) -> int:
        """Which output of `grad_fn` this tensor is."""
        return self._index

    @property
    def grad(self) -> Tensor | None:
        """The gradient that `backward()` accumulated here, or `None`."""
        if self.is_leaf:
            leaf = self.__dict__.get("_kept_leaf")
        else:
            retained = self._node.retained
            leaf = None if retained is None else retained.get(self._index)
        value = None if leaf is None else leaf._read()
        return value if leaf is None or value is None or isinstance(value, Tensor) else Gradient(leaf, value)

    @grad.setter
    def grad(self, value: Any) -> None:
        if value is None:
            if self.is_leaf:
                if "_kept_leaf" in self.__dict__:
                    self._leaf()._write(None)
            elif self._node.retained:
                self._node.retained.pop(self._index, None)
            return
        array = value._value if isinstance(value, Tensor) else array_from(value)
        if tuple(array.shape) != tuple(self._value.shape) or array.dtype != self._value.dtype:
            raise AutogradError(
                f"assigned grad has shape {tuple(array.shape)} and dtype {dtypes.from_numpy(array.dtype)}, but the tensor has "
                f"{tuple(self._value.shape)} and {self.dtype}"
            )
        keeps_graph = isinstance(value, Tensor) and value._node is not None
        self._leaf()._write(value if keeps_graph else array)

    @property
    def data(self) -> Tensor:
        """The value without its graph."""
        return self.detach()

    @data.setter
    def data(self, value: Any) -> None:
        raise writes_into_a_tensor("x.data = value", "x = value")

    def detach(self) -> Tensor:
        """The same value, through which no gradient flows."""
        value = self._value
        return wrap(jax.lax.stop_gradient(value) if isinstance(value, jax.core.Tracer) else value)

    def contiguous(self, memory_format: Any = None) -> Tensor:
        """The tensor itself: XLA chooses the layout by itself."""
        return self

    def resolve_conj(self) -> Tensor:
        """The tensor itself: conjugation is never lazy here."""
        return self

    resolve_neg = resolve_conj

    def is_conj(self) -> bool:
        """Always false: conjugation is never lazy here."""
        return False

    is_neg = is_conj

    def is_floating_point(self) -> bool:
        """Whether the dtype is a floating-point one."""
        return self.dtype.is_floating_point

    def is_complex(self) -> bool:
        """Whether the dtype is a complex one."""
        return self.dtype.is_complex

    def is_signed(self) -> bool:
        """Whether the dtype has negative values."""
        return self.dtype.is_signed


_new = object.__new__


class WritableTensor(Tensor):
    """A tensor with in-place methods. Subclasses say with `_write` where a new value goes."""

    _write: Callable[[Any], None]

    @property
    def data(self) -> Tensor:
        """The tensor itself, without a graph. Setting it replaces the value."""
        return self

    @data.setter
    def data(self, value: Any) -> None:
        self.assign(value)

    def assign(self, value: Any) -> WritableTensor:
        """Replace the value; shape and dtype may change too. In-place methods and `copy_` keep both.

        Args:
            value: a tensor or array.
        """
        self._write(array_from(value))
        return self

    def _replace(self, value: Tensor, method: str) -> WritableTensor:
        """Write the result of an in-place `method`, cast to the dtype that it is written into."""
        old, new = self._value, value._value
        if tuple(new.shape) != tuple(old.shape):
            raise ShapeError(f"output with shape {tuple(old.shape)} doesn't match the broadcast shape {tuple(new.shape)} in {method}")
        if new.dtype != old.dtype:
            if dtypes._category(new.dtype) > dtypes._category(old.dtype):
                raise AutogradError(
                    f"result type {dtypes.from_numpy(new.dtype)} can't be cast to the desired output type {dtypes.from_numpy(old.dtype)} in {method}"
                )
            with dtypes.x64():
                new = jax.lax.convert_element_type(new, old.dtype)
        self._write(new)
        return self


class Gradient(WritableTensor):
    """What `.grad` gives. In-place methods write into the place that it was read from, as long as its value still stands there."""

    _node = None

    def __init__(self, leaf: Leaf, value: Any):
        self._source = leaf
        self._value = value

    def _write(self, value: Any) -> None:
        if isinstance(value, jax.core.Tracer) and not isinstance(self._value, jax.core.Tracer):
            raise TracedValueError("a gradient that was read outside a compiled or transformed function was written inside; read it, as p.grad, inside too")
        if self._source._read() is self._value:
            self._source._write(value)
        self._value = value


def wrap(value: Any) -> Tensor:
    """A Tensor around an array that is already as it should be."""
    tensor = _new(Tensor)
    tensor._value = value
    tensor._node = None
    return tensor


def _rebuild(array: np.ndarray, requires_grad: bool) -> Tensor:
    tensor = wrap(array_from(array))
    return tensor.requires_grad_(requires_grad)


def _not_one_element(tensor: Tensor, what: str) -> AutogradError:
    shape = tuple(tensor._value.shape)
    if what == "bool()":
        return AutogradError(f"Boolean value of Tensor with more than one value is ambiguous: its shape is {shape}; write x.any() or x.all()")
    return AutogradError(f"a Tensor with {tensor._value.size} elements cannot be converted to Scalar: {what} of shape {shape}; write x.tolist()")


def array_from(data: Any, dtype: Any = None, copy: bool = False) -> Any:
    """`data` as a `jax.Array` of `dtype`, by PyTorch's defaults: Python ints become int64, floats the default dtype.

    Takes tensors, JAX and NumPy arrays, numbers, nested sequences of all these, and anything with `__dlpack__` or `__array__`
    (a PyTorch tensor). `copy` makes sure that memory is shared with nobody.
    """
    target = None if dtype is None else dtypes.as_dtype(dtype).dtype
    if isinstance(data, Tensor):
        data = data._value
    elif hasattr(data, "__jax_array__") and not isinstance(data, jax.Array):
        data = data.__jax_array__()
    if isinstance(data, jax.Array):
        if target is None or data.dtype == target:
            return data if not getattr(data, "weak_type", False) else _cast(data, data.dtype)
        return _cast(data, target)
    if hasattr(data, "__dlpack__") and not isinstance(data, np.ndarray):
        data = _from_dlpack(data)
        if target is not None and data.dtype != target:
            return _cast(data, target)
        return jax.numpy.array(data, copy=True) if copy else data
    if not isinstance(data, np.ndarray | np.generic):
        data = _from_python(data, target)
        if isinstance(data, jax.Array):  # tracers inside the list
            return data
    if data.dtype.kind in "OUSMmV" and data.dtype not in dtypes._FROM_NUMPY:
        raise ArgumentTypeError(f"can't convert an array of {data.dtype} to a tensor; expected numbers or booleans")
    if target is not None and data.dtype != target:
        data = data.astype(target)
        copy = False
    if data.dtype not in dtypes._FROM_NUMPY:
        data = data.astype(data.dtype.newbyteorder("="))
        dtypes.from_numpy(data.dtype)
    previous = dtypes.enter_x64(True)
    try:  # jax.device_put may share memory with an aligned NumPy array, which somebody could then write into
        return jax.numpy.array(data, copy=True) if copy or data.base is not None or data.flags.writeable else jax.device_put(data)
    finally:
        dtypes.leave_x64(previous)


def _cast(array: Any, target: Any) -> Any:
    previous = dtypes.enter_x64(True)
    try:
        return jax.lax.convert_element_type(array, target)
    finally:
        dtypes.leave_x64(previous)


def _from_dlpack(data: Any) -> Any:
    if hasattr(data, "detach"):
        data = data.detach()
    if hasattr(data, "resolve_conj"):
        data = data.resolve_conj().resolve_neg()
    previous = dtypes.enter_x64(True)
    try:
        return jax.numpy.from_dlpack(data)
    except Exception:  # a layout, dtype or device that dlpack or JAX does not take
        if hasattr(data, "cpu"):
            data = data.cpu()
        if hasattr(data, "contiguous"):
            return jax.numpy.from_dlpack(data.contiguous())
        return jax.numpy.array(np.asarray(data), copy=True)
    finally:
        dtypes.leave_x64(previous)


def _from_python(data: Any, target: np.dtype | None) -> Any:
    """Numbers and nested sequences as a NumPy array (or, if tracers are inside, a stacked tracer)."""
    kinds: set[type] = set()
    arrays: list[Any] = []
    plain = _look(data, kinds, arrays)
    if any(isinstance(a, jax.core.Tracer) for a in arrays):
        previous = dtypes.enter_x64(True)
        try:
            result = _stack(plain)
            return result if target is None else jax.lax.convert_element_type(result, target)
        finally:
            dtypes.leave_x64(previous)
    if target is None:
        target = arrays[0].dtype if arrays else _python_dtype(kinds)
    try:
        with np.errstate(over="ignore"):  # a float that is too large becomes infinite
            return np.array(plain, dtype=target)
    except OverflowError as error:
        whole = np.array(plain)
        if np.dtype(target).kind == "u" and whole.dtype.kind == "i" and np.abs(whole).max() <= np.iinfo(target).max:  # -1 is the greatest number, as in C
            return whole.astype(target)
        raise ArgumentError(f"value cannot be converted to type {target} without overflow: {type(data).__name__} {_shorten(data)}") from error
    except (ValueError, TypeError) as error:
        raise ArgumentTypeError(f"cannot make a tensor of {target} from {type(data).__name__} {_shorten(data)}: {error}") from error


def _shorten(data: Any) -> str:
    text = repr(data)
    return text if len(text) < 80 else text[:77] + "..."


def _look(data: Any, kinds: set[type], arrays: list[Any]) -> Any:
    """`data` with tensors replaced by arrays; collects the types of its numbers and its arrays."""
    if isinstance(data, list | tuple):
        if data and all(type(element) in (int, float, bool) for element in data):
            kinds.update(map(type, data))
            return data
        return [_look(element, kinds, arrays) for element in data]
    if isinstance(data, Tensor):
        data = data._value
    if isinstance(data, jax.core.Tracer):
        arrays.append(data)
        return data
    if isinstance(data, jax.Array | np.ndarray | np.generic) or hasattr(data, "__array__") or hasattr(data, "__array_interface__"):
        data = np.asarray(data)
        arrays.append(data)
        return data
    if isinstance(data, bool | int | float | complex):
        kinds.add(type(data))
        return data
    if isinstance(data, range):
        kinds.add(int)
        return list(data)
    raise ArgumentTypeError(f"cannot make a tensor from {type(data).__name__} {_shorten(data)}; expected numbers, lists of numbers or arrays")


def _python_dtype(kinds: set[type]) -> np.dtype:
    if complex in kinds:
        return dtypes.get_default_dtype().to_complex().dtype
    if float in kinds or not kinds:
        return dtypes.get_default_dtype().dtype
    return np.dtype(np.bool_ if kinds == {bool} else np.int64)


def _stack(data: Any) -> Any:
    if isinstance(data, list | tuple):
        return jax.numpy.stack([_stack(element) for element in data])
    return jax.numpy.asarray(data, dtype=_python_dtype({type(data)}) if isinstance(data, bool | int | float | complex) else None)


def _flatten(tensor: Tensor) -> tuple[tuple[Any], None]:
    return (tensor._value,), None


def _unflatten(_: None, children: Any) -> Tensor:
    return wrap(children[0])


for _cls in (Tensor, Gradient):
    jax.tree_util.register_pytree_node(_cls, _flatten, _unflatten)


def attach(name: str, method: Callable[..., Any] | property) -> None:
    """Make an op a method of `Tensor` (called by the op table)."""
    setattr(Tensor, name, method)
