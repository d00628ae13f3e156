"""In-place methods, and the functions of their names.

They write into cells, `Parameter` and `Buffer`, through `.data` too, and into `.grad`; of a plain Tensor each raises the error that shows the line to write. `x += y` on a
plain Tensor makes a new one, as for Python's numbers.
"""

from collections.abc import Callable
from typing import Any

from ..autograd.graph import mode
from ..errors import AutogradError, DtypeError, writes_into_a_tensor
from ..tensor import Tensor, WritableTensor, attach, wrap
from .indexing import update
from .random import FILLERS

# the functions that PyTorch has at its top level; `attach_in_place_methods` makes them
__all__: list[str] = [  # pyright: ignore[reportUnsupportedDunderAll]
    f"{base}_"
    for base in (
        "abs acos acosh addmv arccos arccosh arcsin arcsinh arctan arctanh as_strided asin asinh atan atanh ceil clamp clamp_max clamp_min clip conj_physical "
        "cos cosh deg2rad detach erf erfc exp2 exp expm1 fill fix floor frac gcd i0 index_put lcm ldexp log10 log1p log2 log logit nan_to_num neg negative "
        "rad2deg reciprocal round rsqrt sigmoid sin sinc sinh sqrt square tan tanh trunc xlogy zero"
    ).split()
]

# the methods of which PyTorch has an in-place form, by the name of the other form
_METHODS = (
    "abs absolute acos acosh add addbmm addcdiv addcmul addmm addmv addr arccos arccosh arcsin arcsinh arctan arctan2 arctanh as_strided asin asinh atan atan2 "
    "atanh baddbmm bitwise_and bitwise_left_shift bitwise_not bitwise_or bitwise_right_shift bitwise_xor ceil clamp clamp_max clamp_min clip conj_physical "
    "copysign cos cosh cumprod cumsum deg2rad detach digamma div divide eq erf erfc erfinv exp exp2 expm1 fix float_power floor floor_divide fmod frac gcd ge "
    "greater greater_equal gt heaviside hypot i0 igamma igammac index_add index_copy index_fill index_put index_reduce lcm ldexp le lerp less less_equal "
    "lgamma log log10 log1p log2 logical_and logical_not logical_or logical_xor logit lt masked_fill masked_scatter mul multiply mvlgamma nan_to_num ne neg "
    "negative nextafter not_equal polygamma pow put rad2deg reciprocal relu remainder renorm round rsqrt scatter scatter_add scatter_reduce sgn sigmoid sign "
    "sin sinc sinh sqrt square squeeze sub subtract swapaxes swapdims t tan tanh transpose tril triu true_divide trunc unsqueeze xlogy"
).split()

_RESHAPING = {"as_strided_", "squeeze_", "swapaxes_", "swapdims_", "t_", "transpose_", "unsqueeze_"}


def check_writable(cell: Tensor, method: str) -> None:
    """Raise PyTorch's error for writing into a leaf whose gradient is being recorded."""
    if cell._node is not None and mode.grad:
        raise AutogradError(
            f"a leaf Variable that requires grad is being used in an in-place operation: {method}. Write it under `with nr.no_grad():`"
        )


def _in_place(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    def method(self: WritableTensor, *arguments: Any, **named: Any) -> WritableTensor:
        check_writable(self, f"{name}()")
        result = function(wrap(self._value), *arguments, **named)
        return self.assign(result) if name in _RESHAPING else self._replace(result, f"{name}()")

    method.__name__ = name
    method.__doc__ = f"Replace the cell's value by that of `{name.removesuffix('_')}`. Not for a plain Tensor, whose value never changes."
    return method


def _refusal(name: str, function: Callable[..., Any] | None) -> Callable[..., Any]:
    other_form = name.removesuffix("_")
    instead = f"x = x.{other_form}(...)" if function is not None else _INSTEAD.get(name, f"x = nr.{other_form}(...)")

    def method(self: Tensor, *arguments: Any, **named: Any) -> Any:
        raise writes_into_a_tensor(f"x.{name}()", instead)

    method.__name__ = name
    method.__doc__ = f"Raises `ImmutableTensorError`: a Tensor's value never changes. Write ``{instead}``."
    return method


_INSTEAD = {
    "zero_": "x = nr.zeros_like(x)",
    "fill_": "x = nr.full_like(x, value)",
    "copy_": "x = other",
    "set_": "x = other",
    "resize_": "x = x.reshape(shape)",
    "uniform_": "x = nr.rand_like(x)",
    "normal_": "x = nr.randn_like(x)",
    "random_": "x = nr.randint_like(x, high)",
    "bernoulli_": "x = nr.bernoulli(nr.full_like(x, p))",
    "exponential_": "x = -nr.rand_like(x).log()",
    "cauchy_": "x = (nr.pi * (nr.rand_like(x) - 0.5)).tan()",
    "log_normal_": "x = nr.randn_like(x).exp()",
    "geometric_": "x = (nr.rand_like(x).log() / math.log(1 - p)).ceil()",
    "fill_diagonal_": "x = x.diagonal_scatter(values)",
    "resize_as_": "x = x.reshape(other.shape)",
    "apply_": "x = nr.vmap(function)(x.flatten()).reshape(x.shape)",
    "map_": "x = nr.vmap(function)(x.flatten(), other.flatten()).reshape(x.shape)",
    "map2_": "x = nr.vmap(function)(x.flatten(), y.flatten(), z.flatten()).reshape(x.shape)",
}


def in_place_function(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """The function `name`, which writes what `function` gives into its first argument, a cell; of a plain Tensor it raises the error that shows the line to write."""
    write, instead = _in_place(name, function), _INSTEAD.get(name, f"x = {name.removesuffix('_')}(x)")

    def in_place(input: Any, *arguments: Any, **named: Any) -> WritableTensor:
        if not isinstance(input, WritableTensor):
            raise writes_into_a_tensor(f"{name}(x)", instead)
        return write(input, *arguments, **named)

    in_place.__name__ = in_place.__qualname__ = name
    in_place.__doc__ = f"Replace the value of a `Parameter` or `Buffer` by its `{name.removesuffix('_')}`. Not for a plain Tensor, whose value never changes."
    return in_place


def _zero(cell: Tensor) -> Tensor:
    return cell.new_zeros(cell.shape)


def _filled(cell: Tensor, value: Any) -> Tensor:
    return cell.new_full(cell.shape, value)


def _copied(cell: Tensor, src: Any, non_blocking: bool = False) -> Tensor:
    source = src if isinstance(src, Tensor) else cell.new_tensor(src)
    source = wrap(source._value).to(cell.dtype)
    return source.expand(cell.shape) if source.shape != cell.shape else source


def _float_powered(cell: Tensor, exponent: Any) -> Tensor:
    powers = cell.float_power(exponent)
    if powers.dtype != cell.dtype:
        raise DtypeError(f"the base given to float_power_ has dtype {cell.dtype} but the operation's result requires dtype {powers.dtype}")
    return powers


def _mapped(cell: Tensor, *others: Any) -> Tensor:
    """A Python function, given last, of each element of the cell and of other tensors in its shape."""
    *tensors, function = others
    values = zip(*(t.expand(cell.shape).flatten().tolist() for t in (cell, *tensors)), strict=True)
    return cell.new_tensor([function(*v) for v in values]).reshape(cell.shape)


_OTHERS: dict[str, Callable[..., Any]] = {
    "zero_": _zero, "fill_": _filled, "copy_": _copied, "float_power_": _float_powered, "apply_": _mapped, "map_": _mapped, "map2_": _mapped, **FILLERS,
}  # fmt: skip


def attach_in_place_methods() -> None:
    """Attach every in-place method whose other form exists, and make the functions; called once all families of ops are attached."""
    for base in _METHODS:
        function = getattr(Tensor, base, None)
        if function is not None:
            setattr(WritableTensor, base + "_", _in_place(base + "_", function))
            attach(base + "_", _refusal(base + "_", function))
    for name, function in _OTHERS.items():
        setattr(WritableTensor, name, _in_place(name, function))
    for name in (*_OTHERS, "set_", "resize_", "resize_as_", "fill_diagonal_"):
        attach(name, _refusal(name, None))
    for name in __all__:
        globals()[name] = in_place_function(name, _OTHERS[name] if name in _OTHERS else getattr(Tensor, name[:-1]))
    for symbol, base in _AUGMENTED.items():
        setattr(WritableTensor, f"__i{symbol}__", _in_place(f"__i{symbol}__", getattr(Tensor, base)))


_AUGMENTED = {"add": "__add__", "sub": "__sub__", "mul": "__mul__", "truediv": "__truediv__", "floordiv": "__floordiv__", "pow": "__pow__"}


def _setitem(self: WritableTensor, index: Any, value: Any) -> None:
    check_writable(self, "c[index] = value")
    self._replace(update(wrap(self._value), index, value, "set"), "c[index] = value")


def _refuse_setitem(self: Tensor, index: Any, value: Any) -> None:
    raise writes_into_a_tensor("x[index] = value", "x = x.at[index].set(value)")


WritableTensor.__setitem__ = _setitem
attach("__setitem__", _refuse_setitem)
