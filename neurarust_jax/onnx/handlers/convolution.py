"""Convolutions: plain, transposed, deformable, and causal with a state."""

from __future__ import annotations

import itertools
import math
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from ...errors import ArgumentError, ShapeError
from ...nn import functional as F  # noqa: N812
from ...ops.nn.convolution import convolution, transposed_convolution
from ..registry import handler
from ..values import apply, as_tensor, shape_of
from .windows import Windows, pads_of_node, windows_of_node


@handler("Conv")
def conv(node, x, weight, bias=None):
    sizes = shape_of(x)[2:]
    return convolved(x, weight, bias, windows_of_node(node, sizes, shape_of(weight)[2:]), node.get("group", 1))


def convolved(x: Any, weight: Any, bias: Any, w: Windows, groups: int) -> Any:
    """The convolution of `x` (N, C, ...) with `weight` (M, C / groups, ...)."""
    n = len(w.kernel)
    padding = tuple(before for before, _ in w.pads)
    if any(before != after for before, after in w.pads):
        x, padding = apply(_surround, x, pads=w.pads), (0,) * n
    if n not in (1, 2, 3):
        return apply(_general, x, weight, bias, stride=w.stride, padding=padding, dilation=w.dilation, groups=groups)
    function = (F.conv1d, F.conv2d, F.conv3d)[n - 1]
    return function(as_tensor(x), as_tensor(weight), as_tensor(bias), w.stride, padding, w.dilation, groups)


def _surround(x, pads):
    return lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0)] * (x.ndim - len(pads)) + [(*p, 0) for p in pads])


def _general(x, weight, bias, stride, padding, dilation, groups):
    return convolution(x, weight, bias, stride, padding, dilation, groups, x.ndim - 2, "Conv")


# --- transposed ------------------------------------------------------------------------------------------------------


@handler("ConvTranspose")
def conv_transpose(node, x, weight, bias=None):
    sizes, kernel = shape_of(x)[2:], shape_of(weight)[2:]
    n = len(sizes)
    stride, dilation = tuple(node.get("strides") or (1,) * n), tuple(node.get("dilations") or (1,) * n)
    extra = tuple(node.get("output_padding") or (0,) * n)
    if not len(kernel) == len(stride) == len(dilation) == len(extra) == n or min((*stride, *dilation, *kernel), default=1) < 1:
        given = f"kernel {list(kernel)}, strides {list(stride)}, dilations {list(dilation)} and output_padding {list(extra)}"
        raise ArgumentError(f"{node.describe()}: {given} for {n} spatial dimensions")
    full = [s * (size - 1) + d * (k - 1) + 1 for s, size, d, k in zip(stride, sizes, dilation, kernel, strict=True)]
    pads, extra = _transposed_pads(node, sizes, stride, full, extra)
    groups = node.get("group", 1)
    if n in (1, 2, 3):
        function = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)[n - 1]
        y = function(as_tensor(x), as_tensor(weight), None, stride, 0, 0, groups, dilation)
    else:
        y = apply(_general_transposed, x, weight, stride=stride, dilation=dilation, groups=groups)
    cuts = tuple((-before, e - after) for (before, after), e in zip(pads, extra, strict=True))
    return apply(_finish_transposed, y, bias, cuts=cuts)


def _general_transposed(x, weight, stride, dilation, groups):
    return transposed_convolution(x, weight, None, stride, 0, 0, groups, dilation, x.ndim - 2, "ConvTranspose")


def _transposed_pads(node, sizes, stride, full, extra):
    """What to cut before and after, and what to add after."""
    mode, wanted = node.get("auto_pad", "NOTSET"), node.get("output_shape")
    if wanted is None and mode not in ("SAME_UPPER", "SAME_LOWER"):
        return pads_of_node(node, sizes, full, stride), extra
    wanted = [size * s for size, s in zip(sizes, stride, strict=True)] if wanted is None else wanted[-len(sizes) :]
    totals = [f + e - w for f, e, w in zip(full, extra, wanted, strict=True)]
    halves = [(t // 2, t - t // 2) if mode == "SAME_UPPER" else (t - t // 2, t // 2) for t in totals]
    return [(max(a, 0), t - max(a, 0)) for (a, _), t in zip(halves, totals, strict=True)], extra


def _finish_transposed(y, bias, cuts):
    y = _surround(y, cuts)
    return y if bias is None else y + bias.reshape((-1, *(1,) * len(cuts)))


# --- deformable ------------------------------------------------------------------------------------------------------


@handler("DeformConv")
def deform_conv(node, x, weight, offset, bias=None, mask=None):
    windows = windows_of_node(node, shape_of(x)[2:], shape_of(weight)[2:])
    return apply(_deformed, x, weight, offset, bias, mask, windows=windows, groups=node.get("group", 1), offset_groups=node.get("offset_group", 1))


def _deformed(x, weight, offset, bias, mask, windows, groups, offset_groups):
    """Each element of each window is read where the offset says, between the elements of `x` by linear interpolation (Dai et al., 2017)."""
    batch, channels, *sizes = x.shape
    taps, lengths = math.prod(windows.kernel), windows.lengths
    offset = offset.reshape(batch, offset_groups, taps, len(sizes), *lengths)
    places = [_base(windows, axis) + offset[:, :, :, axis] for axis in range(len(sizes))]
    values = _between(x.reshape(batch, offset_groups, channels // offset_groups, -1), places, sizes)
    if mask is not None:
        values = values * mask.reshape(batch, offset_groups, 1, taps, *lengths)
    values = values.reshape(batch, groups, channels // groups, taps, *lengths)
    kernel = weight.reshape(groups, -1, channels // groups, taps)
    y = jnp.einsum("ngct...,goct->ngo...", values, kernel).reshape(batch, -1, *lengths)
    return y if bias is None else y + bias.reshape((-1, *(1,) * len(sizes)))


def _base(w, axis):
    """Where along `axis` the elements of each window are without an offset; shape (elements of the window, *lengths)."""
    n = len(w.kernel)
    element = jnp.arange(w.kernel[axis]).reshape([-1 if i == axis else 1 for i in range(n)])
    element = jnp.broadcast_to(element, w.kernel).reshape((-1, *(1,) * n)) * w.dilation[axis]
    window = jnp.arange(w.lengths[axis]).reshape([1] + [-1 if i == axis else 1 for i in range(n)]) * w.stride[axis]
    return element + window - w.pads[axis][0]


def _between(x, places, sizes):
    """Elements of `x` (N, G, C, flat) at `places`, one array (N, G, *) for each spatial dimension; zero outside."""
    floors = [jnp.floor(p) for p in places]
    total: Any = 0
    for corner in itertools.product((0, 1), repeat=len(sizes)):
        factor: Any = 1
        inside: Any = True
        flat: Any = 0
        for place, floor, step, size in zip(places, floors, corner, sizes, strict=True):
            index = floor.astype(jnp.int32) + step
            factor = factor * (place - floor if step else 1 - (place - floor))
            inside = inside & (index >= 0) & (index < size)
            flat = flat * size + jnp.clip(index, 0, size - 1)
        picked = jnp.take_along_axis(x, flat.reshape(*flat.shape[:2], 1, -1), axis=-1).reshape(*x.shape[:3], *flat.shape[2:])
        total = total + picked * jnp.where(inside, factor, 0)[:, :, None].astype(x.dtype)
    return total


# --- causal ----------------------------------------------------------------------------------------------------------


@handler("CausalConvWithState")
def causal_conv_with_state(node, x, weight, bias=None, past=None):
    activation = node.get("activation", "none")
    if activation not in ("none", "silu", "swish"):
        raise ArgumentError(f"CausalConvWithState has the activations none, silu and swish, got {activation!r}")
    if len(shape_of(x)) != 3 or len(shape_of(weight)) != 3:
        raise ShapeError(f"CausalConvWithState takes an input and a weight of 3 dimensions, got {shape_of(x)} and {shape_of(weight)}")
    y, present = apply(_causal, x, weight, bias, past, activates=activation != "none")
    return y, present


def _causal(x, weight, bias, past, activates):
    """In half precision the sums are those of single precision."""
    carried = weight.shape[-1] - 1
    past = jnp.zeros((*x.shape[:2], carried), x.dtype) if past is None else past
    joined = jnp.concatenate([past.astype(x.dtype), x], -1)
    inner = joined.astype(jnp.float32) if x.dtype.itemsize == 2 else joined
    y: Any = sum(weight[:, 0, i, None].astype(inner.dtype) * inner[..., i : i + x.shape[-1]] for i in range(carried + 1))
    y = y if bias is None else y + bias[:, None].astype(inner.dtype)
    return (jax.nn.silu(y) if activates else y).astype(x.dtype), joined[..., joined.shape[-1] - carried :]
