"""Resizing, sampling and shuffling of images against PyTorch."""

import numpy as np
import pytest
import torch
import torch.nn.functional as TF

import neurarust_jax as nr
import neurarust_jax.nn.functional as F
from tests.oracle import assert_same, check, check_both_raise

G = np.random.default_rng(0)


def normal(*shape):
    return G.standard_normal(shape).astype(np.float32)


SIGNAL, IMAGE, VOLUME = normal(2, 3, 9), normal(2, 3, 7, 10), normal(1, 2, 3, 5, 4)
BYTES = G.integers(0, 256, (2, 3, 7, 10)).astype(np.uint8)


# --- interpolate -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{"size": (4,)}, {"scale_factor": 2}, {"scale_factor": 1.7}, {"scale_factor": 0.6, "recompute_scale_factor": True}], ids=str)
@pytest.mark.parametrize("mode", ["nearest", "nearest-exact", "area", "linear"])
def test_interpolate_resizes_signals(mode, options):
    check(F.interpolate, TF.interpolate, SIGNAL, mode=mode, **options)


@pytest.mark.parametrize("options", [{"size": (14, 5)}, {"scale_factor": (3.0, 1.3)}, {"scale_factor": (0.4, 2.9), "recompute_scale_factor": True}], ids=str)
@pytest.mark.parametrize("mode", ["nearest", "nearest-exact", "area", "bilinear", "bicubic", "bilinear corners", "bicubic corners"])
def test_interpolate_resizes_images(mode, options):
    mode, *corners = mode.split()
    check(F.interpolate, TF.interpolate, IMAGE, mode=mode, rtol=1e-4, atol=1e-5, **({"align_corners": True} if corners else {}), **options)


@pytest.mark.parametrize("mode", ["nearest", "nearest-exact", "area", "trilinear", "trilinear corners"])
def test_interpolate_resizes_volumes(mode):
    mode, *corners = mode.split()
    check(F.interpolate, TF.interpolate, VOLUME, mode=mode, scale_factor=(2.0, 1.5, 0.8), **({"align_corners": True} if corners else {}))


@pytest.mark.parametrize("options", [{"size": (14, 4)}, {"size": (3, 25)}, {"scale_factor": (0.4, 1.6)}, {"size": (7, 5)}], ids=str)
@pytest.mark.parametrize("mode", ["bilinear", "bicubic", "lanczos"])
def test_antialiasing_stretches_the_kernel(mode, options):
    check(F.interpolate, TF.interpolate, IMAGE, mode=mode, antialias=True, rtol=1e-4, atol=1e-5, **options)


@pytest.mark.parametrize("antialias", [False, True])
@pytest.mark.parametrize("mode", ["nearest", "nearest-exact", "bilinear", "bicubic"])
def test_bytes_are_rounded_and_saturated(mode, antialias):
    if antialias and mode.startswith("nearest"):
        return
    for size in ((4, 23), (15, 10), (3, 3)):
        check(F.interpolate, TF.interpolate, BYTES, mode=mode, antialias=antialias, size=size)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_interpolate_in_other_dtypes(dtype):
    for mode in ("nearest", "bilinear", "bicubic"):
        ours = F.interpolate(nr.tensor(IMAGE).to(getattr(nr, dtype)), size=(5, 17), mode=mode)
        assert_same(ours, TF.interpolate(torch.tensor(IMAGE).to(getattr(torch, dtype)), size=(5, 17), mode=mode))


def test_interpolate_keeps_what_is_not_finite_in_its_place():
    x = np.array([[[np.inf, 1, np.nan, 2, -np.inf, 3]]], np.float32)
    for mode in ("nearest", "linear"):
        check(F.interpolate, TF.interpolate, x, size=9, mode=mode, grad=False)


def test_gradients_of_large_images_go_by_scatter(monkeypatch):
    from neurarust_jax.ops.nn import resizing

    monkeypatch.setattr(resizing, "_DENSE_UP_TO", 0)
    check(F.interpolate, TF.interpolate, normal(1, 2, 8, 6), mode="bilinear", size=(11, 13))


def test_interpolate_is_differentiated_twice_and_forward():
    x = nr.tensor(IMAGE)
    f = lambda x: (F.interpolate(x, scale_factor=1.5, mode="bilinear") ** 2).sum()  # noqa: E731
    tangent = nr.ones_like(x)
    _, directional = nr.func.jvp(f, (x,), (tangent,))
    np.testing.assert_allclose(directional.item(), nr.grad(f)(x).sum().item(), rtol=1e-4)
    assert nr.vmap(lambda x: F.interpolate(x, size=(3, 3)))(nr.tensor(normal(2, 1, 1, 4, 4))).shape == (2, 1, 1, 3, 3)


@pytest.mark.parametrize(
    ("shape", "options"),
    [
        ((1, 1, 4, 4), {}),
        ((1, 1, 4, 4), {"size": 2, "scale_factor": 2}),
        ((1, 1, 4, 4), {"size": (2, 2, 2)}),
        ((1, 1, 4, 4), {"scale_factor": (2.0,)}),
        ((1, 1, 4, 4), {"size": (2.5, 2)}),
        ((1, 1, 4, 4), {"size": 2, "align_corners": True}),
        ((1, 1, 4, 4), {"size": 2, "recompute_scale_factor": True}),
        ((1, 1, 4, 4), {"size": 2, "mode": "linear"}),
        ((1, 1, 4, 4), {"size": 2, "mode": "trilinear"}),
        ((1, 1, 4), {"size": 2, "mode": "bilinear"}),
        ((1, 1, 4), {"size": 2, "mode": "bicubic"}),
        ((1, 4), {"size": 2}),
        ((1, 1, 4, 4), {"size": 2, "mode": "unknown"}),
        ((1, 1, 4, 4), {"size": 2, "antialias": True}),
        ((1, 1, 4), {"size": 2, "mode": "linear", "antialias": True}),
        ((1, 1, 4, 4), {"size": 2, "mode": "lanczos"}),
        ((1, 1, 4, 4), {"size": 2, "mode": "lanczos", "antialias": True, "align_corners": True}),
        ((1, 1, 4, 4), {"size": 0}),
        ((1, 0, 4, 4), {"size": 2}),
    ],
    ids=str,
)
def test_interpolate_refuses_what_does_not_go_together(shape, options):
    check_both_raise(F.interpolate, TF.interpolate, normal(*shape), **options)


def test_interpolate_takes_empty_batches_and_refuses_integers():
    check(F.interpolate, TF.interpolate, normal(0, 1, 4, 4), size=2)
    check_both_raise(F.interpolate, TF.interpolate, np.ones((1, 1, 4, 4), np.int64), size=2)
    check_both_raise(F.interpolate, TF.interpolate, np.ones((1, 1, 4), np.uint8), size=2, mode="linear")


def test_upsample_is_deprecated():
    for name, options in (("upsample", {"mode": "bilinear"}), ("upsample_nearest", {}), ("upsample_bilinear", {})):
        with pytest.warns(UserWarning, match=name):
            ours = getattr(F, name)(nr.tensor(IMAGE), scale_factor=2, **options)
        with pytest.warns(UserWarning, match=name):
            assert_same(ours, getattr(TF, name)(torch.tensor(IMAGE), scale_factor=2, **options))


# --- grid_sample -----------------------------------------------------------------------------------------------------

GRID = G.uniform(-1.6, 1.6, (2, 4, 5, 2)).astype(np.float32)


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("padding_mode", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("mode", ["bilinear", "nearest", "bicubic"])
def test_grid_sample_of_images(mode, padding_mode, align_corners):
    check(F.grid_sample, TF.grid_sample, IMAGE, GRID, mode=mode, padding_mode=padding_mode, align_corners=align_corners, rtol=1e-3, atol=2e-5)


@pytest.mark.parametrize("padding_mode", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("mode", ["bilinear", "nearest"])
def test_grid_sample_of_volumes(mode, padding_mode):
    grid = G.uniform(-1.6, 1.6, (1, 2, 4, 3, 3)).astype(np.float32)
    check(F.grid_sample, TF.grid_sample, VOLUME, grid, mode=mode, padding_mode=padding_mode, align_corners=False, rtol=1e-3, atol=2e-5)


def test_grid_sample_of_many_channels_of_small_images_and_of_far_points():
    options = {"align_corners": False, "rtol": 1e-3, "atol": 2e-5}
    check(F.grid_sample, TF.grid_sample, normal(2, 9, 4, 5), GRID, **options)
    for padding_mode in ("zeros", "reflection"):
        check(F.grid_sample, TF.grid_sample, normal(2, 1, 1, 1), GRID, padding_mode=padding_mode, align_corners=True)
        check(F.grid_sample, TF.grid_sample, normal(0, 1, 2, 2), normal(0, 3, 3, 2), padding_mode=padding_mode, align_corners=True)
    far = np.array([[[[1e30, 0], [-1e30, 1], [0, 1e30], [np.nan, 0]]]], np.float32)
    for padding_mode in ("zeros", "border"):
        ours = F.grid_sample(nr.tensor(IMAGE[:1]), nr.tensor(far), padding_mode=padding_mode, align_corners=False)
        assert_same(ours[..., :3], TF.grid_sample(torch.tensor(IMAGE[:1]), torch.tensor(far), padding_mode=padding_mode, align_corners=False)[..., :3])


def test_grid_samplers_by_numbers():
    for mode in range(2):
        check(nr.grid_sampler, torch.grid_sampler, IMAGE, GRID, interpolation_mode=mode, padding_mode=1, align_corners=False, rtol=1e-3, atol=2e-5)
    assert nr.grid_sampler_2d is nr.grid_sampler_3d


@pytest.mark.parametrize(
    ("image", "grid", "options"),
    [
        (normal(1, 1, 4), normal(1, 4, 4, 2), {}),
        (normal(1, 1, 4, 4), normal(1, 1, 4, 4, 3), {}),
        (normal(1, 1, 4, 4), normal(2, 4, 4, 2), {}),
        (normal(1, 1, 4, 4), normal(1, 4, 4, 3), {}),
        (normal(1, 1, 0, 4), normal(1, 4, 4, 2), {}),
        (normal(1, 1, 4, 4, 4), normal(1, 4, 4, 4, 3), {"mode": "bicubic"}),
        (normal(1, 1, 4, 4), normal(1, 4, 4, 2), {"mode": "linear"}),
        (normal(1, 1, 4, 4), normal(1, 4, 4, 2), {"padding_mode": "circular"}),
        (normal(1, 1, 4, 4), normal(1, 4, 4, 2).astype(np.float64), {}),
        (np.ones((1, 1, 4, 4), np.int64), np.ones((1, 4, 4, 2), np.int64), {}),
    ],
)
def test_grid_sample_refuses_what_does_not_go_together(image, grid, options):
    check_both_raise(F.grid_sample, TF.grid_sample, image, grid, align_corners=False, **options)


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("size", [(2, 1, 3, 4), (2, 5, 2, 3, 4)], ids=str)
def test_affine_grid(size, align_corners):
    n = len(size) - 2
    check(F.affine_grid, TF.affine_grid, normal(2, n, n + 1), size=size, align_corners=align_corners, atol=1e-5)
    check(nr.affine_grid_generator, torch.affine_grid_generator, normal(2, n, n + 1), size=size, align_corners=align_corners, atol=1e-5)


def test_affine_grid_of_one_cell_and_what_it_refuses():
    check(F.affine_grid, TF.affine_grid, normal(1, 2, 3), size=(1, 1, 1, 3), align_corners=False)
    for theta, size in ((normal(1, 2, 3), (1, 1, 2)), (normal(1, 3, 4), (1, 1, 2, 2)), (normal(1, 2, 3), (1, 1, 0, 2)), (np.ones((1, 2, 3), np.int64), (1, 1, 2, 2))):
        check_both_raise(F.affine_grid, TF.affine_grid, theta, size=size, align_corners=False)


# --- shuffles ------------------------------------------------------------------------------------------------------------


def test_pixel_and_channel_shuffles():
    for x in (normal(2, 8, 4, 6), G.integers(0, 9, (8, 4, 6)), normal(2, 1, 8, 2, 2).astype(np.float64)):
        check(nr.pixel_shuffle, torch.pixel_shuffle, x, upscale_factor=2)
        check(F.pixel_unshuffle, TF.pixel_unshuffle, x, downscale_factor=2)
    for x in (normal(2, 6, 4), normal(1, 6, 2, 3), G.integers(0, 9, (2, 6, 1, 2, 2)) + 1j):
        check(nr.channel_shuffle, torch.channel_shuffle, x, groups=3)
        check(F.native_channel_shuffle, torch.native_channel_shuffle, x, groups=3, grad=False)


def test_shuffles_refuse_what_does_not_divide():
    for name, x, factor in (
        ("pixel_shuffle", normal(3, 4, 4), 2), ("pixel_shuffle", normal(4, 4), 2), ("pixel_shuffle", normal(4, 4, 4), 0),
        ("pixel_unshuffle", normal(3, 5, 4), 2), ("pixel_unshuffle", normal(3, 4, 5), 2), ("pixel_unshuffle", normal(4, 4), 2), ("pixel_unshuffle", normal(4, 4, 4), -1),
        ("channel_shuffle", normal(1, 5, 4), 2), ("channel_shuffle", normal(4, 4), 2), ("channel_shuffle", normal(1, 4, 4), 0),
    ):  # fmt: skip
        check_both_raise(lambda x, f=factor, n=name: getattr(F, n)(x, f), lambda x, f=factor, n=name: getattr(TF, n)(x, f), x)
