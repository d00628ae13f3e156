"""The cross-correlation under all convolutions, channels last, in the form that each platform runs fast. No public functions.

XLA has one primitive for it. On GPU and TPU that is always the right form. On the CPU it is for dense kernels of one and two dimensions
over many channels; over few channels, matrix products of all windows are faster, and for grouped and three-dimensional kernels the primitive
falls back to plain loops, which other forms avoid. The times beside them are of a CPU with two cores and float32, XLA's primitive against the
form chosen.
"""

import functools
import itertools
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.custom_derivatives import SymbolicZero

from ...dispatch import Array
from ..matmul import convolution_precision
from .sliding import every, extend

__all__: list[str] = []

FEW_CHANNELS = 32  # up to here the gradient of the weight is a product of windows
FEW_FACTORS = 32  # up to here (elements of a window times channels) the forward pass is one too
MOST_TAPS = 64  # up to here a depthwise kernel is written out
MOST_PARTS = 8  # up to here the groups are convolved one by one


def correlate(x: Array, kernel: Array, stride: Sequence[int], pads: list[tuple[int, int]], dilation: Sequence[int], groups: int) -> Array:
    """Cross-correlation, channels last.

    Args:
        x: shape (N, *spatial, C).
        kernel: shape (*window, C / groups, O).
        stride: step of the window in each spatial dimension.
        pads: zeros before and after each spatial dimension; negative numbers cut.
        dilation: distance between the elements of the window in each spatial dimension.
        groups: groups of channels that are kept apart.

    Returns:
        Shape (N, *spatial, O).
    """
    if groups == 1 and len(stride) < 3:
        return _dense(x, kernel, stride, pads, dilation)
    on_cpu = functools.partial(_on_cpu, stride=stride, pads=pads, dilation=dilation, groups=groups)
    elsewhere = functools.partial(_primitive, stride=stride, pads=pads, dilation=dilation, groups=groups)
    return lax.platform_dependent(x, kernel, cpu=on_cpu, default=elsewhere)


def _primitive(x: Array, kernel: Array, stride: Sequence[int], pads: list[tuple[int, int]], dilation: Sequence[int], groups: int) -> Array:
    """XLA's primitive."""
    spatial = "".join(map(chr, range(ord("a"), ord("a") + len(stride))))
    numbers = (f"N{spatial}C", f"{spatial}IO", f"N{spatial}C")
    return lax.conv_general_dilated(
        x, kernel, stride, pads, rhs_dilation=dilation, feature_group_count=groups, dimension_numbers=numbers, precision=convolution_precision()
    )


def _dense(x: Array, kernel: Array, stride: Sequence[int], pads: list[tuple[int, int]], dilation: Sequence[int]) -> Array:
    """All channels together, in one or two dimensions."""
    n = len(stride)
    if kernel.shape[:n] == (1,) * n:  # a matrix product; the gradient of the weight takes 1.3 ms instead of 5.8
        for axis, s in enumerate(stride, 1):
            x = extend(x, axis, [pads[axis - 1]])
            x = every(x, axis, 0, s, (x.shape[axis] - 1) // s + 1)
        return lax.dot_general(x, kernel.reshape(kernel.shape[n:]), (((n + 1,), (0,)), ((), ())), precision=convolution_precision())
    grows = any(b + a > d * (k - 1) for (b, a), d, k in zip(pads, dilation, kernel.shape, strict=False))
    if grows or min(map(min, pads)) < 0:  # the gradient of the weight slides a window greater than the input: 1.4 ms instead of 30 if it is padded before
        x, pads = extend(x, 1, pads), [(0, 0)] * n
    if kernel.shape[n] <= FEW_CHANNELS and x.dtype in (np.float32, np.float64) and x.size:
        return _over_few_channels(x, kernel, tuple(stride), tuple(pads), tuple(dilation))
    return _primitive(x, kernel, stride, pads, dilation, 1)


@functools.partial(jax.custom_jvp, nondiff_argnums=(2, 3, 4))
def _over_few_channels(x: Array, kernel: Array, stride: tuple[int, ...], pads: tuple[tuple[int, int], ...], dilation: tuple[int, ...]) -> Array:
    """The primitive with forms of its own on the CPU: of 3 channels forward 1.0 ms instead of 3.0; of 32 channels the gradient of the weight 3.1 ms instead of 6.6.

    Its rule for tangents says each of the two linear maps in the form whose transpose is fast.
    """
    primitive = functools.partial(_primitive, stride=stride, pads=pads, dilation=dilation, groups=1)
    if math.prod(kernel.shape[:-1]) > FEW_FACTORS:
        return primitive(x, kernel)
    return lax.platform_dependent(x, kernel, cpu=functools.partial(_by_windows, stride=stride, pads=pads, dilation=dilation), default=primitive)


@functools.partial(_over_few_channels.defjvp, symbolic_zeros=True)
def _over_few_channels_jvp(stride: Any, pads: Any, dilation: Any, primals: tuple, tangents: tuple) -> tuple[Array, Any]:
    (x, kernel), (d_x, d_kernel) = primals, tangents
    primitive = functools.partial(_primitive, stride=stride, pads=pads, dilation=dilation, groups=1)
    parts = []
    if not isinstance(d_x, SymbolicZero):
        parts.append(primitive(d_x, kernel))
    if not isinstance(d_kernel, SymbolicZero):
        channels_first = functools.partial(_by_windows, stride=stride, pads=pads, dilation=dilation, first=True)
        parts.append(lax.platform_dependent(x, d_kernel, cpu=channels_first, default=primitive))
    output = _over_few_channels(x, kernel, stride, pads, dilation)
    return output, functools.reduce(jnp.add, parts) if parts else jnp.zeros_like(output)


def _by_windows(x: Array, kernel: Array, stride: Sequence[int], pads: Sequence[tuple[int, int]], dilation: Sequence[int], first: bool = False) -> Array:
    """One product of the kernel with all windows, laid side by side.

    With `first` the product has the channels first, and is turned round. Its transpose in the kernel is then a product of two matrices as they lie.
    """
    n = len(stride)
    windows = jnp.concatenate(_windows(extend(x, 1, list(pads)), kernel.shape[:n], stride, dilation), -1)
    kernel = kernel.reshape(-1, kernel.shape[-1])
    if first:
        return jnp.moveaxis(lax.dot_general(kernel, windows, (((0,), (n + 1,)), ((), ())), precision=convolution_precision()), 0, -1)
    return lax.dot_general(windows, kernel, (((n + 1,), (0,)), ((), ())), precision=convolution_precision())


def _on_cpu(x: Array, kernel: Array, stride: Sequence[int], pads: list[tuple[int, int]], dilation: Sequence[int], groups: int) -> Array:
    if x.dtype.itemsize == 2 and x.dtype.kind in "fV":  # sums are kept in single precision, as in PyTorch
        return _on_cpu(x.astype(np.float32), kernel.astype(np.float32), stride, pads, dilation, groups).astype(x.dtype)
    if groups == 1:
        return _by_depth(x, kernel, stride, pads, dilation) if len(stride) >= 3 else _dense(x, kernel, stride, pads, dilation)
    if kernel.shape[-2] == 1:
        return _depthwise(x, kernel, stride, pads, dilation)
    if groups <= MOST_PARTS:  # forward 3 ms instead of 6, gradient of the weight 3 ms instead of 220
        parts = zip(jnp.split(x, groups, -1), jnp.split(kernel, groups, -1), strict=True)
        return jnp.concatenate([_on_cpu(a, b, stride, pads, dilation, 1) for a, b in parts], -1)
    return jax.checkpoint(functools.partial(_by_patches, stride=stride, pads=pads, dilation=dilation, groups=groups))(x, kernel)


def _by_depth(x: Array, kernel: Array, stride: Sequence[int], pads: list[tuple[int, int]], dilation: Sequence[int]) -> Array:
    """Three dimensions as two (and four as three): the depths that a window meets become channels, the depths of the output examples. 5 ms instead of 28."""
    x = extend(x, 1, pads[:1])
    depth = (x.shape[1] - dilation[0] * (kernel.shape[0] - 1) - 1) // stride[0] + 1
    x = jnp.concatenate([every(x, 1, i * dilation[0], stride[0], depth) for i in range(kernel.shape[0])], -1)
    n = len(stride)
    kernel = lax.transpose(kernel, (*range(1, n), 0, n, n + 1)).reshape(*kernel.shape[1:n], -1, kernel.shape[-1])
    output = _on_cpu(x.reshape(-1, *x.shape[2:]), kernel, stride[1:], pads[1:], dilation[1:], 1)
    return output.reshape(-1 if output.shape[0] else 0, depth, *output.shape[1:])


def _windows(x: Array, window: Sequence[int], stride: Sequence[int], dilation: Sequence[int], first: int = 1) -> list[Array]:
    """What each element of the window meets, in the dimensions from `first` on; all of the same shape."""
    axes = range(first, first + len(window))
    lengths = [(x.shape[a] - d * (k - 1) - 1) // s + 1 for a, k, s, d in zip(axes, window, stride, dilation, strict=True)]
    met = []
    for place in itertools.product(*map(range, window)):
        part = x
        for axis, i, s, d, length in zip(axes, place, stride, dilation, lengths, strict=True):
            part = every(part, axis, i * d, s, length)
        met.append(part)
    return met


def _depthwise(x: Array, kernel: Array, stride: Sequence[int], pads: list[tuple[int, int]], dilation: Sequence[int]) -> Array:
    """One input channel to each group: a sum of products, which XLA fuses to one loop. Forward 1 ms instead of 11, the input's gradient 1 instead of 11."""
    window, channels = kernel.shape[: len(stride)], kernel.shape[-1]
    if channels != x.shape[-1]:
        x = jnp.repeat(x, channels // x.shape[-1], axis=-1)
    if math.prod(window) > MOST_TAPS:
        return _primitive(x, kernel, stride, pads, dilation, channels)
    parts = _windows(extend(x, 1, pads), window, stride, dilation)
    return functools.reduce(jnp.add, (p * w for p, w in zip(parts, kernel.reshape(-1, channels), strict=True)))


def _by_patches(x: Array, kernel: Array, stride: Sequence[int], pads: list[tuple[int, int]], dilation: Sequence[int], groups: int) -> Array:
    """Many groups as one batched product of all windows with the kernel: the gradient of the weight takes 8 ms instead of 1,700.

    Zeros in one dense kernel would be twice as fast, but let the infinities of one group into the next.
    """
    window, (inputs, outputs) = kernel.shape[: len(stride)], kernel.shape[-2:]
    x = extend(x, 1, pads)
    x = jnp.moveaxis(x.reshape(*x.shape[:-1], groups, inputs), (-2, -1), (0, 1))
    met = _windows(x, window, stride, dilation, 3)
    patches = jnp.stack(met, 1).reshape(groups, len(met) * inputs, -1)
    kernel = kernel.reshape(-1, groups, outputs // groups)
    output = lax.dot_general(kernel, patches, (((0,), (1,)), ((1,), (0,))), precision=convolution_precision())  # (groups, O / groups, N * places)
    return jnp.moveaxis(output.reshape(outputs, *met[0].shape[2:]), 0, -1)
