"""How tensors print: PyTorch's format, with its options."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from . import dtypes
from .errors import ArgumentError

if TYPE_CHECKING:
    from .tensor import Tensor


@dataclass(frozen=True)
class _Options:
    precision: int = 4
    threshold: float = 1000
    edgeitems: int = 3
    linewidth: int = 80
    sci_mode: bool | None = None


_PROFILES = {"default": _Options(), "short": _Options(precision=2, edgeitems=2), "full": _Options(threshold=math.inf)}
_options = _Options()


def set_printoptions(
    precision: int | None = None,
    threshold: float | None = None,
    edgeitems: int | None = None,
    linewidth: int | None = None,
    profile: str | None = None,
    sci_mode: bool | None = None,
) -> None:
    """Set how tensors print.

    Args:
        precision: digits after the point. Default: 4.
        threshold: number of elements past which a summary is printed. Default: 1000.
        edgeitems: elements at each end of a dimension in a summary. Default: 3.
        linewidth: characters a line. Default: 80.
        profile: `"default"`, `"short"` or `"full"`, to start from.
        sci_mode: scientific notation always or never. Default: as the values demand.
    """
    global _options
    if profile is not None:
        if profile not in _PROFILES:
            raise ArgumentError(f"profile is one of {', '.join(_PROFILES)}, got {profile!r}")
        _options = _PROFILES[profile]
    given = {"precision": precision, "threshold": threshold, "edgeitems": edgeitems, "linewidth": linewidth}
    _options = replace(_options, **{name: value for name, value in given.items() if value is not None}, sci_mode=sci_mode)


class _Formatter:
    """Formats single elements to a common width."""

    def __init__(self, elements: np.ndarray):
        self.integral = elements.dtype.kind in "biu"
        self.whole = self.scientific = False
        self.width = 1
        if self.integral:
            self.width = max((len(str(e)) for e in elements.tolist()), default=1)
            return
        values = elements.astype(np.float64)
        counted = values[np.isfinite(values) & (values != 0)]
        finite = np.abs(counted)
        if not finite.size:
            self.whole = True
            return
        largest, smallest = finite.max(), finite.min()
        self.whole = bool((finite == np.ceil(finite)).all())
        self.scientific = bool(largest / smallest > 1000 or largest > 1e8 or (not self.whole and smallest < 1e-4))
        if _options.sci_mode is not None:
            self.scientific = _options.sci_mode
        self.width = max(len(self(v)) for v in counted)  # zeros, infinities and NaN do not count

    def __call__(self, value: Any) -> str:
        if self.integral:
            return str(value).rjust(self.width)
        if self.scientific:
            text = f"{value:.{_options.precision}e}"
        elif self.whole:
            text = f"{value:.0f}"
            text = text if not math.isfinite(value) else text + "."
        else:
            text = f"{value:.{_options.precision}f}"
        return text.rjust(self.width)


class _ComplexFormatter:
    def __init__(self, elements: np.ndarray):
        self.real, self.imag = _Formatter(elements.real), _Formatter(elements.imag)
        self.width = self.real.width + self.imag.width + 2

    def __call__(self, value: Any) -> str:
        imaginary = self.imag(value.imag).lstrip()
        sign = "" if imaginary.startswith("-") else "+"
        return f"{self.real(value.real)}{sign}{imaginary}j"


def _summarize(array: np.ndarray) -> np.ndarray:
    """The corners that a summary shows, from which the width is taken."""
    for axis, length in enumerate(array.shape):
        if length > 2 * _options.edgeitems:
            kept = [*range(_options.edgeitems), *range(length - _options.edgeitems, length)]
            array = array.take(kept, axis)
    return array


def _lines(array: np.ndarray, indent: int, summarize: bool, formatter: Any) -> str:
    if array.ndim == 0:
        return formatter(array.item() if array.dtype.kind != "V" else float(array))
    edge = _options.edgeitems
    shortened = summarize and len(array) > 2 * edge
    if array.ndim == 1:
        per_line = max(1, (_options.linewidth - indent) // (formatter.width + 2))
        elements = [*array[:edge], *array[-edge:]] if shortened else list(array)
        words = [formatter(e.item() if hasattr(e, "item") else e) for e in elements]
        if shortened:
            words.insert(edge, " ...")
        rows = [words[i : i + per_line] for i in range(0, len(words), per_line)] or [[]]
        return "[" + (",\n" + " " * (indent + 1)).join(", ".join(row) for row in rows) + "]"
    if shortened:
        parts = [_lines(a, indent + 1, summarize, formatter) for a in array[:edge]]
        parts += ["..."] + [_lines(a, indent + 1, summarize, formatter) for a in array[-edge:]]
    else:
        parts = [_lines(a, indent + 1, summarize, formatter) for a in array]
    return "[" + ("," + "\n" * (array.ndim - 1) + " " * (indent + 1)).join(parts) + "]"


def tensor_repr(tensor: Tensor) -> str:
    """PyTorch's text for a tensor; inside a transformation its shape and dtype."""
    value = tensor._value
    suffixes = []
    if isinstance(value, jax.core.Tracer) or not isinstance(value, jax.Array | np.ndarray):
        shape = tuple(getattr(value, "shape", ()))
        kind = dtypes.from_numpy(value.dtype) if hasattr(value, "dtype") else type(value).__name__
        return f"tensor(<traced>, shape={shape}, dtype={kind})"
    if isinstance(value, jax.Array) and value.committed and len(value.devices()) == 1 and tensor.device.type != "cpu":
        suffixes.append(f"device='{tensor.device}'")
    prefix = "tensor("
    array = np.asarray(value)
    usual = (dtypes.get_default_dtype(), dtypes.int64, dtypes.bool_, dtypes.get_default_dtype().to_complex())
    if array.size == 0:
        content = "[]"
        if array.ndim != 1:
            suffixes.append(f"size={tuple(array.shape)}")
        if tensor.dtype != dtypes.get_default_dtype():
            suffixes.append(f"dtype={tensor.dtype}")
    else:
        if tensor.dtype not in usual:
            suffixes.append(f"dtype={tensor.dtype}")
        summarize = array.size > _options.threshold
        if array.dtype.kind == "V" or array.dtype in dtypes._LOW_PRECISION or array.dtype == np.float16:
            array = array.astype(np.float32)
        shown = (_summarize(array) if summarize else array).reshape(-1)
        formatter = _ComplexFormatter(shown) if array.dtype.kind == "c" else _Formatter(shown)
        content = _lines(array, len(prefix), summarize, formatter)
    if tensor.grad_fn is not None:
        suffixes.append(f"grad_fn={tensor.grad_fn!r}")
    elif tensor.requires_grad:
        suffixes.append("requires_grad=True")
    return _with_suffixes(prefix + content, suffixes)


def _with_suffixes(text: str, suffixes: list[str]) -> str:
    length = len(text) - text.rfind("\n")
    for suffix in suffixes:
        if length + len(suffix) + 2 > _options.linewidth:
            text += ",\n" + " " * len("tensor(") + suffix
            length = len("tensor(") + len(suffix)
        else:
            text += ", " + suffix
            length += len(suffix) + 2
    return text + ")"
