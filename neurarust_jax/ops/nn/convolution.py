"""Convolutions and transposed convolutions.

Users see PyTorch's channels-first layout. Inside, the convolution runs channels-last: on the CPU XLA does that about a third faster, and the
transposes to and fro become layouts of the neighbouring operations. The same holds for the gradients, which JAX makes of the same primitive in the
same layout. `correlation.py` chooses the form for each platform.
"""

from collections.abc import Sequence

import jax.numpy as jnp
from jax import lax

from ...dispatch import Array, op
from ...errors import ArgumentError, ShapeError
from ..common import refuse
from .correlation import correlate
from .linear import require_same_dtype
from .sliding import Ints, at_least, extend, tuple_of

__all__ = ["conv1d", "conv2d", "conv3d", "conv_tbc", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d"]


def _check(input: Array, weight: Array, bias: Array | None, groups: int, n: int, name: str, transposed: bool) -> None:
    """Shapes and dtypes fit together."""
    if input.ndim not in (n + 1, n + 2):
        raise ShapeError(f"Expected {n + 1}D (unbatched) or {n + 2}D (batched) input to {name}, but got input of size: {list(input.shape)}")
    if weight.ndim != n + 2:
        names = "(in, out / groups, *kernel)" if transposed else "(out, in / groups, *kernel)"
        raise ShapeError(f"{name} expects a weight of {n + 2} dimensions {names}, got {list(weight.shape)}")
    at_least(1, groups=(groups,))
    require_same_dtype(name, input=input, weight=weight, bias=bias)
    refuse(input, "b", name)
    channels = input.shape[-n - 1]
    expected = weight.shape[0] if transposed else weight.shape[1] * groups
    if channels != expected or weight.shape[0] % groups:
        raise ShapeError(
            f"Given groups={groups}, weight of size {list(weight.shape)}, expected input{list(input.shape)} to have {expected} channels, but got {channels} channels "
            f"instead. The channels are dimension {-n - 1}: write x.movedim(-1, {-n - 1}) if they come last."
        )
    if 0 in (*weight.shape[2:], weight.shape[0]) or 0 in input.shape[-n:]:
        raise ShapeError(f"{name}: only the batch may be empty, got input {list(input.shape)} and weight {list(weight.shape)}")
    outputs = weight.shape[1] * groups if transposed else weight.shape[0]
    if bias is not None and bias.shape != (outputs,):
        raise ShapeError(f"Given weight of size {list(weight.shape)}, expected bias to be 1-dimensional with {outputs} elements, but got bias of size {list(bias.shape)} instead")


def _channels_last(x: Array) -> Array:
    return lax.transpose(x, (0, *range(2, x.ndim), 1))


def _channels_first(x: Array, bias: Array | None) -> Array:
    """The layout of the user again, after the bias, if any, is added."""
    x = x if bias is None else x + bias
    return lax.transpose(x, (0, x.ndim - 1, *range(1, x.ndim - 1)))


def _padding(padding: Ints | str, stride: Sequence[int], dilation: Sequence[int], window: Sequence[int]) -> list[tuple[int, int]]:
    """Zeros before and after each dimension."""
    if not isinstance(padding, str):
        padding = tuple_of(padding, len(window), "padding")
        at_least(0, padding=padding)
        return [(p, p) for p in padding]
    if padding not in ("valid", "same"):
        raise ShapeError(f"Invalid padding string: padding is 'valid', 'same', an int or ints, got {padding!r}")
    if padding == "same" and any(s != 1 for s in stride):
        raise ShapeError("padding='same' is not supported for strided convolutions")
    total = [d * (k - 1) if padding == "same" else 0 for d, k in zip(dilation, window, strict=True)]
    return [(t // 2, t - t // 2) for t in total]


def convolution(input: Array, weight: Array, bias: Array | None, stride: Ints, padding: Ints | str, dilation: Ints, groups: int, n: int, name: str) -> Array:
    """A convolution (cross-correlation) over `n` spatial dimensions, with or without a batch dimension."""
    _check(input, weight, bias, groups, n, name, False)
    if input.ndim == n + 1:
        return convolution(input[None], weight, bias, stride, padding, dilation, groups, n, name)[0]
    stride, dilation, window = tuple_of(stride, n, "stride"), tuple_of(dilation, n, "dilation"), weight.shape[2:]
    at_least(1, stride=stride, dilation=dilation)
    pads = _padding(padding, stride, dilation, window)
    for size, k, d, (before, after) in zip(input.shape[2:], window, dilation, pads, strict=True):
        if size + before + after < d * (k - 1) + 1:
            raise ShapeError(
                f"Calculated padded input size per channel: {size + before + after}. Kernel size: {k} (dilation {d}). Kernel size can't be greater than "
                f"actual input size: {name} got input {list(input.shape)} and weight {list(weight.shape)}"
            )
    kernel = lax.transpose(weight, (*range(2, n + 2), 1, 0))
    return _channels_first(correlate(_channels_last(input), kernel, stride, pads, dilation, groups), bias)


def transposed_convolution(
    input: Array, weight: Array, bias: Array | None, stride: Ints, padding: Ints, output_padding: Ints, groups: int, dilation: Ints, n: int, name: str
) -> Array:
    """The adjoint of `convolution` in its input, over `n` spatial dimensions.

    With a stride, output position ``m * stride + r`` meets only the elements ``u * stride + r`` of the kernel. So the kernel is split by `r` into
    smaller ones, which are applied together without stride, and their outputs are interleaved (Shi et al., 2016, "Is the deconvolution layer the
    same as a convolutional layer?"). Nothing is multiplied with the zeros of a spread-out input, and the gradient of the weight is that of an
    ordinary convolution, which on the CPU is 20 times as fast.
    """
    _check(input, weight, bias, groups, n, name, True)
    if input.ndim == n + 1:
        return transposed_convolution(input[None], weight, bias, stride, padding, output_padding, groups, dilation, n, name)[0]
    stride, dilation = tuple_of(stride, n, "stride"), tuple_of(dilation, n, "dilation")
    padding, extra = tuple_of(padding, n, "padding"), tuple_of(output_padding, n, "output_padding")
    at_least(1, stride=stride, dilation=dilation)
    at_least(0, padding=padding, output_padding=extra)
    if any(e >= max(s, d) for e, s, d in zip(extra, stride, dilation, strict=True)):
        raise ShapeError(f"output padding must be smaller than either stride or dilation, but got output_padding={extra}, stride={stride}, dilation={dilation}")
    spans = [d * (k - 1) + 1 for d, k in zip(dilation, weight.shape[2:], strict=True)]
    lengths = [(x - 1) * s - 2 * p + w + e for x, s, p, w, e in zip(input.shape[2:], stride, padding, spans, extra, strict=True)]
    if min(lengths) < 1:
        raise ShapeError(f"{name}: calculated output size {lengths} is too small for input {list(input.shape)}, weight {list(weight.shape)} and padding={padding}")
    x, outputs = _channels_last(input), weight.shape[1] * groups
    weight = weight.reshape(groups, -1, *weight.shape[1:])  # (groups, in / groups, out / groups, *window)
    if all(s == 1 for s in stride):
        kernel = lax.transpose(lax.rev(weight, range(3, n + 3)), (*range(3, n + 3), 1, 0, 2)).reshape(*weight.shape[3:], weight.shape[1], outputs)
        pads = [(w - 1 - p, w - 1 - p + e) for w, p, e in zip(spans, padding, extra, strict=True)]
        return _channels_first(correlate(x, kernel, stride, pads, dilation, groups), bias)
    parts = [-(-w // s) for w, s in zip(spans, stride, strict=True)]  # length of the smaller kernels
    spread = [(0, u * s - w, d - 1) for u, s, w, d in zip(parts, stride, spans, dilation, strict=True)]
    weight = lax.pad(weight, jnp.zeros((), weight.dtype), [(0, 0, 0)] * 3 + spread)
    weight = weight.reshape(*weight.shape[:3], *(length for pair in zip(parts, stride, strict=True) for length in pair))
    weight = lax.rev(weight, range(3, 2 * n + 3, 2))
    kernel = lax.transpose(weight, (*range(3, 2 * n + 3, 2), 1, 0, *range(4, 2 * n + 3, 2), 2)).reshape(*parts, weight.shape[1], -1)
    together = correlate(x, kernel, (1,) * n, [(u - 1, u - 1) for u in parts], (1,) * n, groups)
    places = together.shape[1:-1]
    together = together.reshape(-1 if together.size else 0, *places, groups, *stride, outputs // groups)
    interleaved = [axis for i in range(n) for axis in (1 + i, n + 2 + i)]
    together = lax.transpose(together, (0, *interleaved, n + 1, 2 * n + 2)).reshape(x.shape[0], *(m * s for m, s in zip(places, stride, strict=True)), outputs)
    cuts = [(-p, length + p - have) for p, length, have in zip(padding, lengths, together.shape[1:], strict=False)]
    return _channels_first(extend(together, 1, cuts), bias)


@op(method=False)
def conv1d(input: Array, weight: Array, bias: Array | None = None, stride: Ints = 1, padding: Ints | str = 0, dilation: Ints = 1, groups: int = 1) -> Array:
    r"""1-d convolution (cross-correlation, as everywhere in deep learning).

    Args:
        input: shape (N, C_in, L) or (C_in, L).
        weight: shape (C_out, C_in / groups, k), in the input's dtype, which may be floating-point, complex or integer.
        bias: shape (C_out).
        stride: step of the kernel.
        padding: zeros added on both sides, or `"valid"`, `"same"`.
        dilation: distance between kernel elements.
        groups: number of groups that input channels are split into.

    Returns:
        Shape (N, C_out, L_out) with ``L_out = floor((L + 2 padding - dilation (k - 1) - 1) / stride + 1)``.

    Raises:
        RuntimeError: shapes do not fit, or dtypes differ.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.conv1d(nr.tensor([[1.0, 2.0, 4.0, 8.0]]), nr.tensor([[[-1.0, 1.0]]]))
        tensor([[1., 2., 4.]])
    """
    return convolution(input, weight, bias, stride, padding, dilation, groups, 1, "conv1d")


@op(method=False)
def conv2d(input: Array, weight: Array, bias: Array | None = None, stride: Ints = 1, padding: Ints | str = 0, dilation: Ints = 1, groups: int = 1) -> Array:
    r"""2-d convolution (cross-correlation, as everywhere in deep learning).

    Args:
        input: shape (N, C_in, H, W) or (C_in, H, W).
        weight: shape (C_out, C_in / groups, kH, kW), in the input's dtype, which may be floating-point, complex or integer.
        bias: shape (C_out).
        stride: step of the kernel, one int or two.
        padding: zeros added on both sides, one int or two, or `"valid"`, `"same"`.
        dilation: distance between kernel elements, one int or two.
        groups: number of groups that input channels are split into.

    Returns:
        Shape (N, C_out, H_out, W_out) with ``H_out = floor((H + 2 padding - dilation (kH - 1) - 1) / stride + 1)``.

    Raises:
        RuntimeError: shapes do not fit, or dtypes differ.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.conv2d(nr.ones(1, 1, 3, 3), nr.ones(1, 1, 3, 3), padding=1)
        tensor([[[[4., 6., 4.],
                  [6., 9., 6.],
                  [4., 6., 4.]]]])
    """
    return convolution(input, weight, bias, stride, padding, dilation, groups, 2, "conv2d")


@op(method=False)
def conv3d(input: Array, weight: Array, bias: Array | None = None, stride: Ints = 1, padding: Ints | str = 0, dilation: Ints = 1, groups: int = 1) -> Array:
    r"""3-d convolution (cross-correlation, as everywhere in deep learning).

    Args:
        input: shape (N, C_in, D, H, W) or (C_in, D, H, W).
        weight: shape (C_out, C_in / groups, kD, kH, kW), in the input's dtype, which may be floating-point, complex or integer.
        bias: shape (C_out).
        stride: step of the kernel, one int or three.
        padding: zeros added on both sides, one int or three, or `"valid"`, `"same"`.
        dilation: distance between kernel elements, one int or three.
        groups: number of groups that input channels are split into.

    Returns:
        Shape (N, C_out, D_out, H_out, W_out) with ``D_out = floor((D + 2 padding - dilation (kD - 1) - 1) / stride + 1)``.

    Raises:
        RuntimeError: shapes do not fit, or dtypes differ.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.conv3d(nr.ones(2, 1, 4, 4, 4), nr.ones(3, 1, 2, 2, 2), stride=2).shape
        neurarust_jax.Size([2, 3, 2, 2, 2])
    """
    return convolution(input, weight, bias, stride, padding, dilation, groups, 3, "conv3d")


@op(method=False)
def conv_transpose1d(
    input: Array, weight: Array, bias: Array | None = None, stride: Ints = 1, padding: Ints = 0, output_padding: Ints = 0, groups: int = 1, dilation: Ints = 1
) -> Array:
    r"""1-d transposed convolution: the gradient of `conv1d` in its input, as an operation of its own.

    Args:
        input: shape (N, C_in, L) or (C_in, L).
        weight: shape (C_in, C_out / groups, k).
        bias: shape (C_out).
        stride: distance in the output between the kernel's positions.
        padding: how much of the output's ends is cut off.
        output_padding: length added at the end of the output, less than the stride or the dilation.
        groups: number of groups that input channels are split into.
        dilation: distance between kernel elements.

    Returns:
        Shape (N, C_out, L_out) with ``L_out = (L - 1) stride - 2 padding + dilation (k - 1) + output_padding + 1``.

    Raises:
        RuntimeError: shapes do not fit, or dtypes differ.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.conv_transpose1d(nr.tensor([[1.0, 2.0]]), nr.tensor([[[1.0, 10.0, 100.0]]]), stride=2)
        tensor([[  1.,  10., 102.,  20., 200.]])
    """
    return transposed_convolution(input, weight, bias, stride, padding, output_padding, groups, dilation, 1, "conv_transpose1d")


@op(method=False)
def conv_transpose2d(
    input: Array, weight: Array, bias: Array | None = None, stride: Ints = 1, padding: Ints = 0, output_padding: Ints = 0, groups: int = 1, dilation: Ints = 1
) -> Array:
    r"""2-d transposed convolution: the gradient of `conv2d` in its input, as an operation of its own.

    Args:
        input: shape (N, C_in, H, W) or (C_in, H, W).
        weight: shape (C_in, C_out / groups, kH, kW).
        bias: shape (C_out).
        stride: distance in the output between the kernel's positions, one int or two.
        padding: how much of the output's ends is cut off, one int or two.
        output_padding: length added at the end of each dimension of the output, less than the stride or the dilation, one int or two.
        groups: number of groups that input channels are split into.
        dilation: distance between kernel elements, one int or two.

    Returns:
        Shape (N, C_out, H_out, W_out) with ``H_out = (H - 1) stride - 2 padding + dilation (kH - 1) + output_padding + 1``.

    Raises:
        RuntimeError: shapes do not fit, or dtypes differ.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.conv_transpose2d(nr.ones(1, 4, 8, 8), nr.ones(4, 2, 4, 4), stride=2, padding=1).shape
        neurarust_jax.Size([1, 2, 16, 16])
    """
    return transposed_convolution(input, weight, bias, stride, padding, output_padding, groups, dilation, 2, "conv_transpose2d")


@op(method=False)
def conv_transpose3d(
    input: Array, weight: Array, bias: Array | None = None, stride: Ints = 1, padding: Ints = 0, output_padding: Ints = 0, groups: int = 1, dilation: Ints = 1
) -> Array:
    r"""3-d transposed convolution: the gradient of `conv3d` in its input, as an operation of its own.

    Args:
        input: shape (N, C_in, D, H, W) or (C_in, D, H, W).
        weight: shape (C_in, C_out / groups, kD, kH, kW).
        bias: shape (C_out).
        stride: distance in the output between the kernel's positions, one int or three.
        padding: how much of the output's ends is cut off, one int or three.
        output_padding: length added at the end of each dimension of the output, less than the stride or the dilation, one int or three.
        groups: number of groups that input channels are split into.
        dilation: distance between kernel elements, one int or three.

    Returns:
        Shape (N, C_out, D_out, H_out, W_out) with ``D_out = (D - 1) stride - 2 padding + dilation (kD - 1) + output_padding + 1``.

    Raises:
        RuntimeError: shapes do not fit, or dtypes differ.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.conv_transpose3d(nr.ones(1, 4, 2, 3, 4), nr.ones(4, 2, 2, 2, 2), stride=2).shape
        neurarust_jax.Size([1, 2, 4, 6, 8])
    """
    return transposed_convolution(input, weight, bias, stride, padding, output_padding, groups, dilation, 3, "conv_transpose3d")


@op(method=False)
def conv_tbc(input: Array, weight: Array, bias: Array, pad: int = 0) -> Array:
    """1-d convolution of sequences laid out as (time, batch, channels).

    Args:
        input: shape (T, N, C_in).
        weight: shape (k, C_in, C_out).
        bias: shape (C_out).
        pad: zeros added at both ends of the time.

    Returns:
        Shape (T + 2 pad - k + 1, N, C_out).

    Raises:
        RuntimeError: shapes do not fit, or dtypes differ.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.conv_tbc(nr.ones(5, 2, 3), nr.ones(2, 3, 4), nr.zeros(4)).shape
        neurarust_jax.Size([4, 2, 4])
    """
    if input.ndim != 3 or weight.ndim != 3 or bias.ndim != 1:
        raise ShapeError(f"conv_tbc expects input (T, N, C_in), weight (k, C_in, C_out), bias (C_out); got {input.shape}, {weight.shape}, {bias.shape}")
    first = lax.transpose(input, (1, 2, 0))
    if pad < 0:
        raise ArgumentError(f"pad must be non-negative, got {pad}")
    return lax.transpose(convolution(first, lax.transpose(weight, (2, 1, 0)), bias, 1, pad, 1, 1, 1, "conv_tbc"), (2, 0, 1))
