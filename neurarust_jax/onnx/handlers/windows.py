"""What convolutions and pools share: pads, strides and the lengths that follow from them. No handlers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from ...errors import ArgumentError


class Windows(NamedTuple):
    """Windows that slide over spatial dimensions; a number for each dimension.

    Attributes:
        kernel, stride, dilation: lengths of the window, of its steps, and from one of its elements to the next.
        pads: padding before and after.
        lengths: how many windows there are.
    """

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    pads: tuple[tuple[int, int], ...]
    lengths: tuple[int, ...]


def windows_of_node(node: Any, sizes: Sequence[int], kernel: Sequence[int]) -> Windows:
    """The windows that a node's attributes describe.

    Args:
        node: a convolution or pool.
        sizes: lengths of the input's spatial dimensions.
        kernel: lengths of the window.
    """
    n = len(sizes)
    stride, dilation = tuple(node.get("strides") or (1,) * n), tuple(node.get("dilations") or (1,) * n)
    if not len(kernel) == len(stride) == len(dilation) == n or min((*stride, *dilation, *kernel), default=1) < 1:
        raise ArgumentError(f"{node.describe()}: kernel {list(kernel)}, strides {list(stride)} and dilations {list(dilation)} for {n} spatial dimensions")
    spans = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
    pads = pads_of_node(node, sizes, spans, stride)
    ceils = bool(node.get("ceil_mode", 0))
    lengths = []
    for size, span, step, (before, after) in zip(sizes, spans, stride, pads, strict=True):
        room = size + before + after - span
        length = (-(-room // step) if ceils else room // step) + 1
        if ceils and (length - 1) * step >= size + before:
            length -= 1  # it would begin in the padding after the input
        lengths.append(max(length, 0))
    return Windows(tuple(kernel), stride, dilation, tuple(pads), tuple(lengths))


def pads_of_node(node: Any, sizes: Sequence[int], spans: Sequence[int], stride: Sequence[int]) -> list[tuple[int, int]]:
    """Padding before and after each spatial dimension, by `pads` or `auto_pad`."""
    mode = node.get("auto_pad", "NOTSET")
    if mode in ("NOTSET", ""):
        pads = node.get("pads") or [0] * (2 * len(sizes))
        return list(zip(pads[: len(sizes)], pads[len(sizes) :], strict=True))
    if mode == "VALID":
        return [(0, 0)] * len(sizes)
    if mode not in ("SAME_UPPER", "SAME_LOWER"):
        raise ArgumentError(f"auto_pad is NOTSET, VALID, SAME_UPPER or SAME_LOWER, got {mode!r}")
    totals = [max((-(-size // step) - 1) * step + span - size, 0) for size, span, step in zip(sizes, spans, stride, strict=True)]
    return [(t // 2, t - t // 2) if mode == "SAME_UPPER" else (t - t // 2, t // 2) for t in totals]
