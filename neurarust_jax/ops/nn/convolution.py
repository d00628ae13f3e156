"""Convolutions.

Users see PyTorch's channels-first layout. Inside, the convolution runs channels-last: on the CPU XLA does that about a third faster, and the
transposes to and fro become layouts of the neighbouring operations.
"""

from jax import lax

from ...dispatch import Array, op
from ...errors import ArgumentError, ShapeError
from .linear import require_same_dtype

__all__ = ["conv2d"]


def tuple_of(value: int | tuple[int, ...], n: int, name: str) -> tuple[int, ...]:
    """An argument that PyTorch takes as one int for all spatial dimensions, or one for each."""
    if isinstance(value, int):
        return (value,) * n
    if len(value) == 1:
        return tuple(value) * n
    if len(value) != n:
        raise ArgumentError(f"{name} takes one int or {n}, got {value}")
    return tuple(value)


def convolution(
    input: Array,
    weight: Array,
    bias: Array | None,
    stride: int | tuple[int, ...],
    padding: int | tuple[int, ...] | str,
    dilation: int | tuple[int, ...],
    groups: int,
    n: int,
    name: str,
) -> Array:
    """A convolution (cross-correlation) over `n` spatial dimensions, with or without a batch dimension."""
    if input.ndim not in (n + 1, n + 2):
        raise ShapeError(f"Expected {n + 1}D (unbatched) or {n + 2}D (batched) input to {name}, but got input of size: {list(input.shape)}")
    if weight.ndim != n + 2:
        raise ShapeError(f"{name} expects a weight of {n + 2} dimensions (out, in / groups, *kernel), got {list(weight.shape)}")
    if input.ndim == n + 1:
        return convolution(input[None], weight, bias, stride, padding, dilation, groups, n, name)[0]
    require_same_dtype(name, input=input, weight=weight, bias=bias)
    if input.shape[1] != weight.shape[1] * groups or weight.shape[0] % groups:
        raise ShapeError(
            f"Given groups={groups}, weight of size {list(weight.shape)}, expected input{list(input.shape)} to have {weight.shape[1] * groups} channels, "
            f"but got {input.shape[1]} channels instead. Dimension 1 holds the channels: write x.permute(0, {n + 1}, ...) if they come last."
        )
    stride, dilation = tuple_of(stride, n, "stride"), tuple_of(dilation, n, "dilation")
    if isinstance(padding, str):
        if padding not in ("valid", "same"):
            raise ArgumentError(f"padding is 'valid', 'same', an int or ints, got {padding!r}")
        if padding == "same" and any(s != 1 for s in stride):
            raise ArgumentError("padding='same' is not supported for strided convolutions")
        total = [d * (k - 1) if padding == "same" else 0 for d, k in zip(dilation, weight.shape[2:], strict=True)]
        pads = [(t // 2, t - t // 2) for t in total]
    else:
        pads = [(p, p) for p in tuple_of(padding, n, "padding")]
    for size, kernel, d, (before, after) in zip(input.shape[2:], weight.shape[2:], dilation, pads, strict=True):
        if size + before + after < d * (kernel - 1) + 1:
            raise ShapeError(
                f"Calculated padded input size per channel: {size + before + after}. Kernel size: {kernel} (dilation {d}). Kernel size can't be greater than "
                f"actual input size: {name} got input {list(input.shape)} and weight {list(weight.shape)}"
            )
    spatial = "DHW"[3 - n :]
    output = lax.conv_general_dilated(
        lax.transpose(input, (0, *range(2, n + 2), 1)),
        lax.transpose(weight, (*range(2, n + 2), 1, 0)),
        stride,
        pads,
        rhs_dilation=dilation,
        feature_group_count=groups,
        dimension_numbers=(f"N{spatial}C", f"{spatial}IO", f"N{spatial}C"),
    )
    if bias is not None:
        output = output + bias
    return lax.transpose(output, (0, n + 1, *range(1, n + 1)))


@op(method=False)
def conv2d(
    input: Array,
    weight: Array,
    bias: Array | None = None,
    stride: int | tuple[int, ...] = 1,
    padding: int | tuple[int, ...] | str = 0,
    dilation: int | tuple[int, ...] = 1,
    groups: int = 1,
) -> Array:
    r"""2-d convolution (cross-correlation, as everywhere in deep learning).

    Args:
        input: shape (N, C_in, H, W) or (C_in, H, W).
        weight: shape (C_out, C_in / groups, kH, kW).
        bias: shape (C_out).
        stride: step of the kernel, one int or two.
        padding: zeros added on both sides, one int or two, or `"valid"`, `"same"`.
        dilation: distance between kernel elements.
        groups: number of groups that input channels are split into.

    Returns:
        Shape (N, C_out, H_out, W_out) with ``H_out = floor((H + 2 padding - dilation (kH - 1) - 1) / stride + 1)``.

    Raises:
        RuntimeError: shapes do not fit, or dtypes differ.
    """
    return convolution(input, weight, bias, stride, padding, dilation, groups, 2, "conv2d")
