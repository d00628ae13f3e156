"""Padding."""

import jax.numpy as jnp
from jax import lax

from ...dispatch import Array, op
from ...errors import ShapeError, UnsupportedError
from .sliding import extend

__all__ = ["pad"]


def _reflected(x: Array, axis: int, before: int, after: int) -> Array:
    size = x.shape[axis]
    if max(before, after) >= size:
        raise ShapeError(f"Padding size should be less than the corresponding input dimension, but got: padding ({before}, {after}) at dimension {axis} of input {list(x.shape)}")
    left = lax.rev(lax.slice_in_dim(x, 1, 1 + max(before, 0), axis=axis), (axis,))
    right = lax.rev(lax.slice_in_dim(x, size - 1 - max(after, 0), size - 1, axis=axis), (axis,))
    return lax.concatenate([left, x, right], axis)


def _replicated(x: Array, axis: int, before: int, after: int) -> Array:
    size = x.shape[axis]
    if not size:
        raise ShapeError(f"mode 'replicate' has no element to repeat along dimension {axis} of input {list(x.shape)}")
    left, right = lax.slice_in_dim(x, 0, 1, axis=axis), lax.slice_in_dim(x, size - 1, size, axis=axis)
    return jnp.concatenate([jnp.repeat(left, max(before, 0), axis), x, jnp.repeat(right, max(after, 0), axis)], axis)


def _wrapped(x: Array, axis: int, before: int, after: int) -> Array:
    size = x.shape[axis]
    if max(before, after) > size:
        raise ShapeError(f"Padding value causes wrapping around more than once: padding ({before}, {after}) at dimension {axis}, of which {size} elements are left")
    left, right = lax.slice_in_dim(x, size - max(before, 0), size, axis=axis), lax.slice_in_dim(x, 0, max(after, 0), axis=axis)
    return lax.concatenate([left, x, right], axis)


_OUTSIDE = {"reflect": _reflected, "replicate": _replicated, "circular": _wrapped}


@op(method=False, linear=True)
def pad(input: Array, pad: tuple[int, ...], mode: str = "constant", value: float | None = None) -> Array:
    r"""The input with elements added at the ends of its last dimensions, or cut off from them.

    Args:
        input: any dtype. For `"constant"` any shape (\*); the other modes pad the last one, two or three dimensions of an input that has one
            or two more.
        pad: (before, after) for the last dimension, then for the one before it, and so on. A negative number cuts.
        mode: what is added: `"constant"`; `"reflect"`, the elements mirrored at the last one, which is not repeated; `"replicate"`, the last
            element; `"circular"`, the elements of the other end.
        value: the constant. Default: 0.

    Returns:
        A tensor of the input's dtype.

    Raises:
        NotImplementedError: an unknown mode, or one that does not take this many dimensions.
        RuntimeError: `pad` does not fit the input.

    Examples:
        >>> import neurarust_jax as nr
        >>> import neurarust_jax.nn.functional as F
        >>> F.pad(nr.tensor([[1, 2, 3]]), (1, 2), value=9)
        tensor([[9, 1, 2, 3, 9, 9]])
        >>> F.pad(nr.tensor([[1, 2, 3]]), (2, -1), "reflect")
        tensor([[3, 2, 1, 2]])
    """
    if len(pad) % 2:
        raise ShapeError(f"Padding length must be divisible by 2: pad takes (before, after) for each dimension, got {pad}")
    if len(pad) > 2 * input.ndim:
        raise ShapeError(
            f"Padding length should be less than or equal to two times the input dimension but got padding length {len(pad)} and input of dimension {input.ndim}"
        )
    pads = [(pad[i], pad[i + 1]) for i in range(0, len(pad), 2)][::-1]
    first = input.ndim - len(pads)
    cuts = [(min(before, 0), min(after, 0)) for before, after in pads]
    if mode in ("constant", "circular") and any(sum(cut) < -size for cut, size in zip(cuts, input.shape[first:], strict=True)):
        raise ShapeError(f"pad={pad} cuts off more than there is of an input of shape {tuple(input.shape)}")
    if mode == "constant":
        return extend(input, first, pads, 0 if value is None else value)
    if mode not in _OUTSIDE:
        raise UnsupportedError(f"Unrecognised padding mode {mode}; expected 'constant', 'reflect', 'replicate' or 'circular'")
    if first not in (1, 2) or len(pads) not in (1, 2, 3):
        raise UnsupportedError(
            f"Padding size {len(pad)} is not supported for {input.ndim}D input tensor: mode {mode!r} pads the last 1, 2 or 3 dimensions of an input with 1 or 2 more"
        )
    if value:
        raise ShapeError(f"Padding mode {mode!r} doesn't take in value argument, got {value}")
    sizes = [size + sum(ends) for size, ends in zip(input.shape[first:], pads, strict=True)]
    if min(sizes) < (0 if mode == "circular" else 1):
        raise ShapeError(f"input of shape {tuple(input.shape)} is too small for pad={pad}: the padded dimensions would have the sizes {sizes}")
    if mode == "circular":  # what is cut off is gone before the rest goes around; the other modes still see it
        input = extend(input, first, cuts)
    for axis, (before, after) in enumerate(pads, first):
        input = _OUTSIDE[mode](input, axis, before, after)
    return input if mode == "circular" else extend(input, first, cuts)
