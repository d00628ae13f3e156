"""Operators that move elements: `DepthToSpace`, `SpaceToDepth`, `CenterCropPad`, `Col2Im`, `ReverseSequence`."""

from __future__ import annotations

import itertools
import math

import jax.numpy as jnp
import numpy as np

from ...errors import ArgumentError, ShapeError
from ..registry import handler
from ..values import apply, shape_of


def _depth_to_space(x, block: int, mode: str):
    n, c, h, w = x.shape
    if mode == "DCR":
        x = x.reshape(n, block, block, c // block**2, h, w).transpose(0, 3, 4, 1, 5, 2)
    else:
        x = x.reshape(n, c // block**2, block, block, h, w).transpose(0, 1, 4, 2, 5, 3)
    return x.reshape(n, c // block**2, h * block, w * block)


@handler("DepthToSpace", since=1)
def depth_to_space(node, x):
    block, mode, shape = node.get("blocksize"), node.get("mode", "DCR"), shape_of(x)
    if mode not in ("DCR", "CRD"):
        raise ArgumentError(f"DepthToSpace: mode is DCR or CRD, got {mode!r}")
    if len(shape) != 4 or shape[1] % block**2:
        raise ShapeError(f"DepthToSpace: expected shape (N, C, H, W) with C a multiple of {block**2}, got {shape}")
    return apply(_depth_to_space, x, block=block, mode=mode)


def _space_to_depth(x, block: int, mode: str):
    n, c, h, w = x.shape
    x = x.reshape(n, c, h // block, block, w // block, block)
    x = x.transpose(0, 3, 5, 1, 2, 4) if mode == "DCR" else x.transpose(0, 1, 3, 5, 2, 4)
    return x.reshape(n, c * block**2, h // block, w // block)


@handler("SpaceToDepth", since=1)
def space_to_depth(node, x):
    block, shape = node.get("blocksize"), shape_of(x)
    if len(shape) != 4 or shape[2] % block or shape[3] % block:
        raise ShapeError(f"SpaceToDepth: expected shape (N, C, H, W) with H and W multiples of {block}, got {shape}")
    return apply(_space_to_depth, x, block=block, mode=node.get("mode", "DCR"))


# --- cropping and padding --------------------------------------------------------------------------------------------


def _center_crop_pad(x, lengths: tuple[tuple[int, int], ...]):
    for axis, length in lengths:
        have = x.shape[axis]
        if have > length:
            start = (have - length) // 2
            x = jnp.take(x, np.arange(start, start + length), axis)
        elif have < length:
            before = (length - have) // 2
            x = jnp.pad(x, [(before, length - have - before) if i == axis else (0, 0) for i in range(x.ndim)])
    return x


@handler("CenterCropPad", since=18, static=("shape",))
def center_crop_pad(node, x, shape):
    ndim = len(shape_of(x))
    axes = [axis % ndim for axis in node.get("axes") or range(ndim)]
    return apply(_center_crop_pad, x, lengths=tuple(zip(axes, map(int, shape), strict=True)))


# --- blocks of images ------------------------------------------------------------------------------------------------


def _col2im(columns, image: tuple[int, ...], block: tuple[int, ...], dilations: tuple[int, ...], pads: tuple[int, ...], strides: tuple[int, ...]):
    """The sum of the blocks, each at its place in an image of any number of dimensions."""
    n = len(image)
    counts = [(image[i] + pads[i] + pads[n + i] - dilations[i] * (block[i] - 1) - 1) // strides[i] + 1 for i in range(n)]
    batch, elements = columns.shape[0], math.prod(block)
    if columns.shape[1] % elements or columns.shape[2] != math.prod(counts):
        raise ShapeError(f"Col2Im: blocks of {block} in an image of {image} are {math.prod(counts)} columns, got shape {columns.shape}")
    columns = columns.reshape(batch, columns.shape[1] // elements, elements, *counts)
    total = jnp.zeros((*columns.shape[:2], *(image[i] + pads[i] + pads[n + i] for i in range(n))), columns.dtype)
    for number, offset in enumerate(itertools.product(*map(range, block))):
        starts = [o * d for o, d in zip(offset, dilations, strict=True)]
        places = tuple(slice(s, s + (c - 1) * step + 1, step) for s, c, step in zip(starts, counts, strides, strict=True))
        total = total.at[(..., *places)].add(columns[:, :, number])
    return total[(..., *(slice(pads[i], pads[i] + image[i]) for i in range(n)))]


@handler("Col2Im", since=18, static=("image_shape", "block_shape"))
def col2im(node, x, image_shape, block_shape):
    n = len(image_shape)
    return apply(
        _col2im, x, image=tuple(map(int, image_shape)), block=tuple(map(int, block_shape)), dilations=tuple(node.get("dilations") or (1,) * n),
        pads=tuple(node.get("pads") or (0,) * (2 * n)), strides=tuple(node.get("strides") or (1,) * n),
    )  # fmt: skip


# --- sequences in a batch --------------------------------------------------------------------------------------------


def _reverse_sequence(x, lengths, batch_axis: int, time_axis: int):
    time = jnp.arange(x.shape[time_axis], dtype=np.int64)
    lengths = lengths[:, None]
    places = jnp.where(time < lengths, lengths - 1 - time, time)  # (batch, time)
    places = places if batch_axis < time_axis else places.T
    return jnp.take_along_axis(x, jnp.expand_dims(places, [i for i in range(x.ndim) if i not in (batch_axis, time_axis)]), time_axis)


@handler("ReverseSequence", since=10)
def reverse_sequence(node, x, lengths):
    ndim = len(shape_of(x))
    return apply(_reverse_sequence, x, lengths, batch_axis=node.get("batch_axis", 1) % ndim, time_axis=node.get("time_axis", 0) % ndim)
