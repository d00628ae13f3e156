"""`bincount` and the histograms against PyTorch."""

import jax
import numpy as np
import pytest
import torch

import neurarust_jax as nr
from tests.oracle import check, check_both_raise

X = np.random.default_rng(0).standard_normal((5, 2)).astype(np.float32)
I = np.array([3, 0, 3, 1])  # noqa: E741
EDGES = np.array([-1.0, -0.5, 0.0, 2.0], np.float32)


def plain(**options):
    """The call without gradients: PyTorch has none for histograms."""
    return {"grad": False, **options}


@pytest.mark.parametrize("x", [I, I.astype(np.uint8), I[:0]], ids=["int64", "uint8", "empty"])
def test_bincount_equals_pytorch(x):
    check(nr.bincount, torch.bincount, x, compiled=False)
    check(nr.bincount, torch.bincount, x, compiled=False, minlength=6)
    for dtype in (np.float32, np.float64, np.int64, np.float16):
        check(nr.bincount, torch.bincount, x, np.arange(len(x)).astype(dtype), compiled=False, grad=False, rtol=0)


@pytest.mark.parametrize("x", [-I, I[None], I.astype(np.float32), I > 0], ids=["negative", "2-d", "float32", "bool"])
def test_bincount_refuses_what_pytorch_refuses(x):
    check_both_raise(nr.bincount, torch.bincount, x)
    check_both_raise(nr.bincount, torch.bincount, I, minlength=-1)
    check_both_raise(nr.bincount, torch.bincount, I, np.ones(3, np.float32))


def test_bincount_inside_a_transformation_needs_a_size():
    with pytest.raises(RuntimeError, match=r"nr.bincount\(x, size=n\)"):
        jax.jit(lambda x: nr.bincount(nr.as_tensor(x))._value)(I)
    assert jax.jit(lambda x: nr.bincount(nr.as_tensor(x), size=3)._value)(I).tolist() == [1, 1, 0]


@pytest.mark.parametrize("options", [{}, {"bins": 3}, {"bins": 4, "min": -1, "max": 1}, {"bins": 2, "min": 1, "max": 1}], ids=str)
@pytest.mark.parametrize("x", [X, X.astype(np.float64), X.astype(np.float16), X[:0], X[0, 0], np.ones(3, np.float32)], ids=lambda x: f"{x.dtype}{x.shape}")
def test_histc_equals_pytorch(x, options):
    check(nr.histc, torch.histc, x, **plain(**options))


def test_histc_leaves_out_nan_and_refuses_bad_ranges():
    x = np.array([1.0, 2.0, np.nan], np.float32)
    check(nr.histc, torch.histc, x, **plain(bins=3, min=0, max=3))
    check_both_raise(nr.histc, torch.histc, x, bins=3)
    for options in ({"bins": 0}, {"min": 2, "max": 1}, {"max": float("inf")}):
        check_both_raise(nr.histc, torch.histc, X, **options)
    check_both_raise(nr.histc, torch.histc, I)


@pytest.mark.parametrize("density", [False, True])
@pytest.mark.parametrize("x", [X, X.astype(np.float64), X[0, 0], np.float32(1) + np.zeros(3, np.float32)], ids=lambda x: f"{x.dtype}{x.shape}")
def test_histogram_equals_pytorch(x, density):
    check(nr.histogram, torch.histogram, x, **plain(bins=4, density=density))
    check(nr.histogram, torch.histogram, x, **plain(bins=3, range=(-1.0, 1.5), compiled=False))
    check(nr.histogram, torch.histogram, x, EDGES.astype(x.dtype), **plain(density=density, compiled=False))


def test_weighted_histogram_equals_pytorch():
    ours = lambda x, w: nr.histogram(x, 3, weight=w, density=True)  # noqa: E731
    check(ours, lambda x, w: torch.histogram(x, 3, weight=w, density=True), X, np.abs(X), **plain())
    check_both_raise(ours, lambda x, w: torch.histogram(x, 3, weight=w), X, X[:1])
    check_both_raise(ours, lambda x, w: torch.histogram(x, 3, weight=w), X, X.astype(np.float64))


@pytest.mark.parametrize("options", [{"bins": 0}, {"bins": 3, "range": (2.0, 1.0)}], ids=str)
def test_histogram_refuses_what_pytorch_refuses(options):
    check_both_raise(nr.histogram, torch.histogram, X, **options)
    check_both_raise(nr.histogram, torch.histogram, X, EDGES.astype(np.float64))
    check_both_raise(nr.histogram, torch.histogram, X, EDGES[None])
    check_both_raise(nr.histogram, torch.histogram, np.array([np.nan, 1], np.float32), 2)
    check_both_raise(nr.histogram, torch.histogram, I, 2)


@pytest.mark.parametrize("bins", [3, [2, 3], [EDGES, EDGES[1:]]], ids=["one number", "numbers", "edges"])
@pytest.mark.parametrize("density", [False, True])
def test_histogramdd_equals_pytorch(bins, density):
    check(nr.histogramdd, torch.histogramdd, X, bins, **plain(density=density))


def test_histogramdd_with_weights_a_range_and_more_dimensions():
    weight = np.arange(5, dtype=np.float32)[None]
    check(lambda x, w: nr.histogramdd(x, [2, 2], weight=w), lambda x, w: torch.histogramdd(x, [2, 2], weight=w), X[None], weight, **plain())
    check(nr.histogramdd, torch.histogramdd, X, **plain(bins=2, range=[-1.0, 1, -2, 2]))
    check_both_raise(nr.histogramdd, torch.histogramdd, X, [2])
    check_both_raise(nr.histogramdd, torch.histogramdd, X[0], [2])
    check_both_raise(nr.histogramdd, torch.histogramdd, X, 2, range=[0.0, 1.0])
