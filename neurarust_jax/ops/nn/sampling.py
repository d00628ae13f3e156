"""Sampling of images and volumes at given points: `grid_sample`, and grids of points under affine maps."""

import itertools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ...dispatch import Array, op
from ...errors import ArgumentError, DtypeError, ShapeError
from ..common import cast, refuse
from ..reduction import widened
from .resizing import cubic_kernel

__all__ = ["affine_grid", "grid_sample"]

_MODES = ("bilinear", "nearest", "bicubic")
_PADDINGS = ("zeros", "border", "reflection")
_CHANNELS_LAST_FROM = 8  # so many channels are worth two transpositions: the gather and its gradient then move rows


@op(method=False)
def grid_sample(input: Array, grid: Array, mode: str = "bilinear", padding_mode: str = "zeros", align_corners: bool | None = None) -> Array:
    r"""The input's values at the points of `grid`.

    Args:
        input: shape (N, C, H, W) or (N, C, D, H, W).
        grid: shape (N, H_out, W_out, 2) or (N, D_out, H_out, W_out, 3): the points as (x, y) or (x, y, z), where -1 and 1 are the ends of the image.
        mode: `"bilinear"` weights the two neighbours along each dimension, `"nearest"` takes the next one, `"bicubic"` (4-d only) weights four by Keys' kernel
            with ``a = -0.75``.
        padding_mode: what is outside: `"zeros"`, the values of the `"border"`, or the `"reflection"` of the image at its border.
        align_corners: whether -1 and 1 are the centers of the corner cells, rather than their outer corners. Default: false.

    Returns:
        Shape (N, C, H_out, W_out) or (N, C, D_out, H_out, W_out). A point that is NaN counts as -1.

    Raises:
        ValueError: no such mode.
        RuntimeError: shapes or dtypes do not go together.

    Examples:
        >>> import neurarust_jax as nr
        >>> image = nr.arange(4.0).reshape(1, 1, 2, 2)
        >>> nr.nn.functional.grid_sample(image, nr.zeros(1, 1, 1, 2))
        tensor([[[[1.5000]]]])
    """
    if mode not in _MODES:
        raise ArgumentError(f"nn.functional.grid_sample(): expected mode to be 'bilinear', 'nearest' or 'bicubic', but got: '{mode}'")
    if padding_mode not in _PADDINGS:
        raise ArgumentError(f"nn.functional.grid_sample(): expected padding_mode to be 'zeros', 'border', or 'reflection', but got: '{padding_mode}'")
    n = input.ndim - 2
    _check_grid(input, grid, n)
    if mode == "bicubic" and n == 3:
        raise ShapeError("grid_sampler(): bicubic interpolation only supports 4D input")
    sizes, aligned = input.shape[2:], bool(align_corners)
    points = widened(grid).reshape(grid.shape[0], math.prod(grid.shape[1:-1]), n)
    places = [_unnormalized(points[..., n - 1 - axis], size, aligned) for axis, size in enumerate(sizes)]  # x is the last dimension
    channels_last = input.shape[1] >= _CHANNELS_LAST_FROM
    flat = widened(input).reshape(*input.shape[:2], math.prod(sizes))
    flat = jnp.swapaxes(flat, 1, 2) if channels_last else flat
    total = None
    for taps in itertools.product(*(_taps(place, size, mode, padding_mode, aligned) for place, size in zip(places, sizes, strict=True))):
        index, weight, inside = _combined(taps, sizes)
        values = jax.vmap(lambda row, i: row[i] if channels_last else row[:, i])(flat, index)
        channel = 2 if channels_last else 1
        if weight is not None:
            values = values * jnp.expand_dims(weight, channel)
        if inside is not None:
            values = jnp.where(jnp.expand_dims(inside, channel), values, 0)
        total = values if total is None else total + values
    assert total is not None
    total = jnp.swapaxes(total, 1, 2) if channels_last else total
    return cast(total.reshape(*input.shape[:2], *grid.shape[1:-1]), input.dtype)


def _check_grid(input: Array, grid: Array, n: int) -> None:
    if n not in (2, 3) or grid.ndim != input.ndim:
        raise ShapeError(
            "grid_sampler(): expected 4D or 5D input and grid with same number of dimensions, but got input with sizes "
            f"{list(input.shape)} and grid with sizes {list(grid.shape)}"
        )
    if input.shape[0] != grid.shape[0]:
        raise ShapeError(
            f"grid_sampler(): expected grid and input to have same batch size, but got input with sizes {list(input.shape)} and grid with sizes {list(grid.shape)}"
        )
    if grid.shape[-1] != n:
        raise ShapeError(f"grid_sampler(): expected grid to have size {n} in last dimension, but got grid with sizes {list(grid.shape)}")
    if 0 in input.shape[2:]:
        raise ShapeError(f"grid_sampler(): expected input to have non-empty spatial dimensions, but input has sizes {list(input.shape)}")
    refuse(input, "biuc", f"grid_sampler_{n}d")
    if input.dtype != grid.dtype:
        raise DtypeError(f"grid_sampler(): expected input and grid to have same dtype, but input has {input.dtype} and grid has {grid.dtype}; convert one with .to(dtype)")


def _unnormalized(x: Array, size: int, aligned: bool) -> Array:
    """Positions in [-1, 1] as places among the elements of a dimension."""
    return (x + 1) * ((size - 1) / 2) if aligned else (x + 1) * (size / 2) - 0.5


def _taps(place: Array, size: int, mode: str, padding: str, aligned: bool) -> list[tuple[Array, Array | None, Array | None]]:
    """(whole places, weights, whether they are inside) of each neighbour along one dimension; `None` for weights of 1, and where all are inside."""
    if mode != "bicubic":
        place = _padded(place, size, padding, aligned)
    if mode == "nearest":
        return [_tap(jnp.round(jax.lax.stop_gradient(place)), None, size, padding)]
    first = jnp.floor(place)
    right = place - first
    if mode == "bilinear":
        return [_tap(first, 1 - right, size, padding), _tap(first + 1, right, size, padding)]
    return [_tap(_padded(first + i, size, padding, aligned), cubic_kernel(right - i, -0.75), size, padding) for i in range(-1, 3)]


def _tap(place: Array, weight: Array | None, size: int, padding: str) -> tuple[Array, Array | None, Array | None]:
    place = jax.lax.stop_gradient(place)
    inside = (place >= 0) & (place < size) if padding == "zeros" else None
    return cast(jnp.clip(jnp.nan_to_num(place), 0, size - 1), np.int32), weight, inside


def _combined(taps: Any, sizes: tuple[int, ...]) -> tuple[Array, Array | None, Array | None]:
    """A neighbour along every dimension as one: its number in the flattened image, its weight, whether it is inside."""
    index, weight, inside = jnp.int32(0), None, None
    for (place, w, ok), size in zip(taps, sizes, strict=True):
        index = index * np.int32(size) + place
        weight = w if weight is None else weight * w
        inside = ok if inside is None else inside & ok
    return index, weight, inside


def _padded(place: Array, size: int, padding: str, aligned: bool) -> Array:
    """Places outside brought inside; at and past the border their gradient is 0."""
    if padding == "zeros":
        return place
    if padding == "reflection":
        low, span = (0.0, float(size - 1)) if aligned else (-0.5, float(size))
        place = _reflected(place, low, span) if span else jnp.zeros_like(place)
    return jnp.where(place > 0, jnp.where(place < size - 1, place, size - 1), 0)


def _reflected(place: Array, low: float, span: float) -> Array:
    distance = jnp.where(place < low, low - place, place - low)
    flips = jax.lax.stop_gradient(jnp.floor(distance / span))
    extra = distance - flips * span
    return jnp.where(flips % 2 == 0, extra + low, span - extra + low)


@op(method=False, linear=True)
def affine_grid(theta: Array, size: Any, align_corners: bool | None = None) -> Array:
    r"""The points of an image after an affine map, as `grid_sample` takes them.

    Args:
        theta: the maps, shape (N, 2, 3) or (N, 3, 4); they act on points (x, y, 1) or (x, y, z, 1).
        size: of the image that will be sampled, (N, C, H, W) or (N, C, D, H, W).
        align_corners: whether -1 and 1 are the centers of the corner cells, rather than their outer corners. Default: false.

    Returns:
        Shape (N, H, W, 2) or (N, D, H, W, 3).

    Raises:
        ValueError: `theta` is not floating-point, its shape does not go with `size`, or a size is not positive.
        NotImplementedError: `size` has another length than 4 or 5.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.nn.functional.affine_grid(nr.eye(2, 3).reshape(1, 2, 3), (1, 1, 1, 2))
        tensor([[[[-0.5000,  0.0000],
                  [ 0.5000,  0.0000]]]])
    """
    if theta.dtype.kind not in "fV":
        raise ArgumentError(f"Expected theta to have floating point type, but got {theta.dtype}")
    n = len(size) - 2
    if n not in (2, 3):
        raise NotImplementedError(f"affine_grid only supports 4D and 5D sizes, for 2D and 3D affine transforms, respectively. Got size {size}.")
    if theta.ndim != 3 or theta.shape[1:] != (n, n + 1):
        raise ArgumentError(f"Expected a batch of {n}D affine matrices of shape Nx{n}x{n + 1} for size {size}. Got {theta.shape}.")
    if min(size) <= 0:
        raise ArgumentError(f"Expected non-zero, positive output size. Got {size}")
    if theta.shape[0] != size[0]:
        raise ShapeError(f"Expected a batch of {size[0]} affine matrices for size {size}, got {theta.shape[0]}")
    wide, spatial = widened(theta), tuple(size[2:])
    total = wide[:, :, n].reshape(theta.shape[0], *(1,) * n, n)
    for axis, length in enumerate(spatial):
        column = wide[:, :, n - 1 - axis].reshape(theta.shape[0], *(1,) * n, n)  # x is the last dimension
        total = total + column * _base(length, bool(align_corners), wide.dtype).reshape((-1,) + (1,) * (n - axis))
    return cast(jnp.broadcast_to(total, (theta.shape[0], *spatial, n)), theta.dtype)


def _base(length: int, aligned: bool, dtype: np.dtype) -> np.ndarray:
    """The centers of `length` cells between -1 and 1."""
    if length == 1:
        return np.zeros(1, dtype)
    return (np.linspace(-1, 1, length) * (1 if aligned else (length - 1) / length)).astype(dtype)


def grid_sampler(input: Any, grid: Any, interpolation_mode: int, padding_mode: int, align_corners: bool) -> Any:
    """`grid_sample` with numbers for the modes: 0 bilinear, 1 nearest, 2 bicubic; 0 zeros, 1 border, 2 reflection."""
    return grid_sample(input, grid, _MODES[interpolation_mode], _PADDINGS[padding_mode], align_corners)


grid_sampler_2d = grid_sampler_3d = grid_sampler


def affine_grid_generator(theta: Any, size: Any, align_corners: bool) -> Any:
    """The same as `affine_grid`."""
    return affine_grid(theta, size, align_corners)
