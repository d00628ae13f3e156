"""Pooling and unpooling against PyTorch: every argument, ties, NaN, infinities and empty inputs."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as TF

import neurarust_jax as nr
import neurarust_jax.nn.functional as F
from tests.oracle import check, check_both_raise

G = np.random.default_rng(0)
nan, inf = math.nan, math.inf


def normal(*shape):
    return G.standard_normal(shape)


def both(name, *arrays, **options):
    """The function in both libraries, with values, gradients, eagerly and compiled."""
    check(getattr(F, name), getattr(TF, name), *arrays, **options)


@pytest.mark.parametrize(
    ("size", "options"),
    [
        ((2, 3, 9), {"kernel_size": 3, "stride": 2, "padding": 1, "dilation": 2, "ceil_mode": True}),
        ((3, 12), {"kernel_size": 12}),
        ((3, 13), {"kernel_size": 7, "stride": 1, "padding": 3}),
        ((3, 13), {"kernel_size": 5, "stride": 6, "padding": 2, "ceil_mode": True}),
        ((3, 13), {"kernel_size": 1, "stride": 2}),
        ((2, 3, 7, 8), {"kernel_size": (3, 2), "stride": (2, 1), "padding": (1, 0)}),
        ((3, 9, 8), {"kernel_size": [4, 5], "padding": [0, 2], "ceil_mode": True}),
        ((0, 3, 7, 8), {"kernel_size": 2}),
        ((2, 2, 4, 5, 6), {"kernel_size": (2, 3, 2), "stride": (1, 2, 2), "padding": (1, 1, 0), "dilation": (2, 1, 2)}),
    ],
    ids=str,
)
def test_max_pool(size, options):
    n = len(size) - (1 if size[0] == 3 else 2)  # those without a batch have 3 channels first
    both(f"max_pool{n}d", normal(*size), return_indices=True, **options)
    both(f"max_pool{n}d_with_indices", normal(*size), grad=False, compiled=False, **options)


def test_of_equal_maxima_the_first_gets_the_gradient_and_of_nans_the_last():
    x = G.integers(0, 3, (2, 3, 8, 9)).astype(np.float64)
    both("max_pool2d", x, kernel_size=3, stride=2, padding=1, return_indices=True)
    both("max_pool2d", x, kernel_size=(5, 4), stride=(5, 4), return_indices=True)
    both("adaptive_max_pool2d", x, output_size=(3, 4), return_indices=True)
    x[G.random(x.shape) < 0.2] = nan
    both("max_pool2d", x, kernel_size=3, stride=2, padding=1, return_indices=True)
    both("max_pool2d", x, kernel_size=(4, 5), stride=(4, 5), return_indices=True)
    both("adaptive_max_pool2d", x, output_size=(3, 4), return_indices=True)


def test_padding_is_never_a_maximum():
    both("max_pool2d", np.full((1, 5, 5), -inf), kernel_size=3, stride=2, padding=1, return_indices=True)
    both("max_pool2d", np.full((1, 5, 5), -128, np.int8), kernel_size=3, stride=2, padding=1, return_indices=True)
    both("max_pool2d", np.zeros((1, 5, 5), np.uint8), kernel_size=4, stride=4, padding=2, ceil_mode=True, return_indices=True)
    both("max_pool3d", G.integers(-9, 9, (1, 3, 4, 5)), kernel_size=2, padding=1, return_indices=True)


@pytest.mark.parametrize(
    ("size", "options"),
    [
        ((2, 3, 9), {"kernel_size": 3, "stride": 2, "padding": 1, "ceil_mode": True}),
        ((3, 9), {"kernel_size": (5,), "padding": (2,), "count_include_pad": False}),
        ((2, 3, 7, 8), {"kernel_size": (3, 2), "stride": (2, 3), "padding": (1, 1), "ceil_mode": True, "count_include_pad": False}),
        ((2, 3, 7, 8), {"kernel_size": 5, "stride": 2, "padding": 2, "divisor_override": -3}),
        ((3, 9, 8), {"kernel_size": 4, "ceil_mode": True}),
        ((0, 3, 9, 8), {"kernel_size": 4}),
        ((2, 2, 4, 5, 6), {"kernel_size": (2, 3, 4), "stride": (1, 2, 2), "padding": (1, 1, 2), "ceil_mode": True}),
    ],
    ids=str,
)
def test_avg_pool(size, options):
    n = len(size) - (1 if size[0] == 3 else 2)
    both(f"avg_pool{n}d", normal(*size), **options)


def test_avg_pool_of_integers_rounds_towards_zero():
    both("avg_pool1d", np.arange(-8, 8).reshape(1, 16), kernel_size=3)
    both("avg_pool2d", np.arange(-8, 8).reshape(1, 4, 4), kernel_size=2, stride=1, padding=1)
    with pytest.raises(RuntimeError, match="not implemented for"):
        F.avg_pool2d(nr.ones(1, 4, 4, dtype=nr.int32), 2)
    with pytest.raises(RuntimeError, match="not implemented for"):
        F.max_pool2d(nr.ones(1, 4, 4, dtype=nr.bool), 2)


@pytest.mark.parametrize("norm_type", [1, 2, 2.0, 3.5, inf, -inf])
def test_lp_pool(norm_type):
    both("lp_pool1d", np.abs(normal(2, 3, 9)), norm_type, 4, stride=2, ceil_mode=True)
    both("lp_pool2d", np.abs(normal(3, 5, 6)), norm_type, (2, 3))
    both("lp_pool3d", np.abs(normal(1, 3, 4, 5)), norm_type, 2)


def test_lp_pool_of_zeros_negative_numbers_and_integers():
    x = normal(1, 6, 6)
    x[:, :4, :4] = 0
    both("lp_pool2d", x, 2, 2)
    both("lp_pool2d", np.abs(x), 1.5, 2)
    both("lp_pool2d", -np.abs(x), 3, 2, grad=False)  # a root of a negative number: NaN
    both("lp_pool2d", np.arange(16).reshape(1, 4, 4), 2, 2)


@pytest.mark.parametrize(
    ("size", "output_size"),
    [((2, 3, 10), 4), ((3, 4), 7), ((2, 3, 8, 9), (4, None)), ((3, 8, 9), 5), ((0, 3, 8, 9), 3), ((1, 2, 4, 7, 6), (3, None, 5)), ((3, 4, 7, 6), 1)],
    ids=str,
)
def test_adaptive_pool(size, output_size):
    n = len(size) - (1 if size[0] == 3 else 2)
    both(f"adaptive_max_pool{n}d", normal(*size), output_size, return_indices=True)
    both(f"adaptive_max_pool{n}d_with_indices", normal(*size), output_size, grad=False, compiled=False)
    both(f"adaptive_avg_pool{n}d", normal(*size), output_size)


def test_an_output_without_elements():
    both("adaptive_max_pool2d", normal(3, 8, 9), (0, 2), return_indices=True, grad=False)
    both("adaptive_avg_pool2d", normal(3, 8, 9), (0, 2), grad=False)
    both("adaptive_avg_pool2d", normal(2, 0, 8, 9), 3, grad=False)


def test_an_infinity_stays_in_its_windows():
    x = normal(1, 1, 10)
    x[0, 0, 4] = inf
    both("adaptive_avg_pool1d", x, 4, grad=False)
    both("adaptive_avg_pool1d", x, 5, grad=False)


def test_avg_pool_of_half_precision_adds_up_in_single():
    x = (1000 + normal(1, 1, 30, 31)).astype(np.float16)
    for ours in (F.avg_pool2d(nr.tensor(x), (30, 31)), F.adaptive_avg_pool2d(nr.tensor(x), 1), F.adaptive_avg_pool2d(nr.tensor(x), 4).mean()):
        assert ours.dtype == nr.float16
        assert abs(float(ours.item()) - x.astype(np.float64).mean()) < 1


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_fractional_max_pool(dtype):
    for options in ({"output_size": (4, 3)}, {"output_ratio": (0.5, 0.7)}, {"output_size": 1}):
        samples = G.random((2, 3, 2)).astype(dtype)
        check(
            lambda x, o=options, s=samples: F.fractional_max_pool2d(x, (2, 3), return_indices=True, _random_samples=nr.tensor(s), **o),
            lambda x, o=options, s=samples: TF.fractional_max_pool2d(x, (2, 3), return_indices=True, _random_samples=torch.tensor(s), **o),
            normal(2, 3, 9, 8).astype(dtype),
        )
    samples = G.random((1, 3, 3)).astype(dtype)
    for x in (normal(3, 6, 7, 8).astype(dtype), normal(0, 3, 6, 7, 8).astype(dtype), G.choice([1, 2, nan], (1, 3, 6, 7, 8)).astype(dtype)):
        s = samples[: x.shape[0]] if x.ndim == 5 else samples
        check(
            lambda x, s=s: F.fractional_max_pool3d_with_indices(x, 2, (3, 2, 4), _random_samples=nr.tensor(s)),
            lambda x, s=s: TF.fractional_max_pool3d_with_indices(x, 2, (3, 2, 4), _random_samples=torch.tensor(s)),
            x,
        )


def test_fractional_max_pool_draws_its_windows():
    x = nr.arange(400.0).reshape(1, 1, 20, 20).expand(1, 50, 20, 20)
    nr.manual_seed(0)
    first, second = F.fractional_max_pool2d(x, 2, 9), F.fractional_max_pool2d(x, 2, 9)
    nr.manual_seed(0)
    assert (F.fractional_max_pool2d(x, 2, 9) == first).all().item()
    assert not (first == second).all().item()
    assert len(np.unique(first[0, :, 3, 3].numpy())) > 2
    with pytest.raises(ValueError, match="either an output_size or an output_ratio"):
        F.fractional_max_pool2d(x, 2)
    for make in (lambda nn: nn.FractionalMaxPool2d(2), lambda nn: nn.FractionalMaxPool2d(2, 3, 0.5), lambda nn: nn.FractionalMaxPool3d(2, output_ratio=1.5), lambda nn: nn.FractionalMaxPool3d(0, 2)):
        for library in (torch.nn, nr.nn):
            with pytest.raises(ValueError):  # noqa: PT011
                make(library)


def test_max_unpool_undoes_max_pool():
    for n, size in ((1, (2, 3, 9)), (2, (3, 9, 8)), (3, (1, 2, 4, 6, 5))):
        x = normal(*size)
        values, places = getattr(TF, f"max_pool{n}d")(torch.tensor(x), 3, 2, return_indices=True)
        both(f"max_unpool{n}d", values.numpy(), places.numpy(), 3, 2, output_size=size[-n:])


def test_max_unpool_with_a_place_that_comes_twice():
    both("max_unpool1d", np.array([[1.0, 2.0, 3.0]]), np.array([[1, 1, 4]]), 2)


def test_max_unpool_explains_bad_input():
    x, i = np.ones((1, 2, 2)), np.array([[[0, 3], [8, 10]]])
    for options in ({"output_size": (9, 9)}, {"output_size": (4,)}, {"stride": 1, "padding": 3}):
        check_both_raise(F.max_unpool2d, TF.max_unpool2d, x, i, 2, **options)
    for indices in (i.astype(np.int32), i[:, :1], i + 6, i - 1):
        check_both_raise(F.max_unpool2d, TF.max_unpool2d, x, indices, 2)
    check_both_raise(F.max_unpool2d, TF.max_unpool2d, x[0], i[0], 2)
    with pytest.raises(RuntimeError, match=r"index 16 is out of bounds .* valid are 0 to 15"):
        F.max_unpool2d(nr.tensor(x), nr.tensor(i + 6), 2)


@pytest.mark.parametrize(
    ("name", "size", "options"),
    [
        ("max_pool2d", (1, 4, 4), {"kernel_size": 2, "stride": 0}),
        ("max_pool2d", (1, 4, 4), {"kernel_size": 0}),
        ("max_pool2d", (1, 4, 4), {"kernel_size": 2, "padding": 2}),
        ("max_pool2d", (1, 4, 4), {"kernel_size": 2, "padding": -1}),
        ("max_pool2d", (1, 4, 4), {"kernel_size": 2, "dilation": 0}),
        ("max_pool2d", (1, 4, 4), {"kernel_size": 5}),
        ("max_pool2d", (1, 4, 4), {"kernel_size": (2, 2, 2)}),
        ("max_pool2d", (1, 4, 4), {"kernel_size": 2.5}),
        ("max_pool2d", (4, 4), {"kernel_size": 2}),
        ("max_pool2d", (2, 0, 4, 4), {"kernel_size": 2}),
        ("max_pool1d", (4,), {"kernel_size": 2}),
        ("avg_pool2d", (1, 4, 4), {"kernel_size": 2, "divisor_override": 0}),
        ("avg_pool2d", (1, 4, 4), {"kernel_size": 2, "padding": 2}),
        ("avg_pool3d", (1, 4, 4), {"kernel_size": 2}),
        ("adaptive_avg_pool2d", (2, 4, 4), {"output_size": -1}),
        ("adaptive_avg_pool2d", (1, 2, 4, 4), {"output_size": (2, 2, 2)}),
        ("adaptive_max_pool2d", (2, 0, 4, 4), {"output_size": 2}),
        ("fractional_max_pool2d", (1, 4, 4), {"kernel_size": 3, "output_size": 3}),
        ("fractional_max_pool3d", (1, 4, 4, 4), {"kernel_size": 3, "output_size": 3}),
    ],
    ids=str,
)
def test_errors_are_pytorchs_classes(name, size, options):
    check_both_raise(getattr(F, name), getattr(TF, name), normal(*size), **options)
