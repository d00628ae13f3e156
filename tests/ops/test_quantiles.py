"""Median, mode, k-th value and quantiles against PyTorch."""

import jax
import numpy as np
import pytest
import torch

import neurarust_jax as nr
from tests.oracle import check, check_both_raise

X = np.random.default_rng(0).standard_normal((3, 4, 5)).astype(np.float32)
I = np.random.default_rng(1).permutation(60).reshape(3, 4, 5)  # noqa: E741
NAN = np.array([[1.0, np.nan, 3.0, np.nan, 2.0], [2.0, 4.0, -1.0, 0.0, 7.0], [np.nan] * 5], np.float32)


@pytest.mark.parametrize("name", ["median", "nanmedian"])
@pytest.mark.parametrize("arguments", [(), (0,), (1, True), (-1,)], ids=str)
@pytest.mark.parametrize("x", [X, X.astype(np.float64), I, X[0, 0, 0]], ids=["float32", "float64", "int64", "0-d"])
def test_median_equals_pytorch(name, arguments, x):
    if x.ndim == 0 and arguments == (1, True):
        return check_both_raise(lambda x: getattr(nr, name)(x, *arguments), lambda x: getattr(torch, name)(x, *arguments), x)
    check(lambda x: getattr(nr, name)(x, *arguments), lambda x: getattr(torch, name)(x, *arguments), x)


@pytest.mark.parametrize("name", ["median", "nanmedian"])
def test_median_of_nan(name):
    check(getattr(nr, name), getattr(torch, name), NAN)
    check(getattr(nr, name), getattr(torch, name), NAN[:2], dim=1)
    assert getattr(nr.tensor(NAN[2]), name)(0).values.isnan()


def test_median_of_nothing():
    check(nr.median, torch.median, X[:0])
    check(nr.median, torch.median, I[:0])
    check_both_raise(nr.median, torch.median, X[:0], dim=0)


def test_equal_medians_share_the_gradient():
    check(nr.median, torch.median, np.array([1.0, 2.0, 2.0, 2.0, 3.0], np.float32))


@pytest.mark.parametrize("options", [{}, {"dim": 0}, {"dim": 1, "keepdim": True}], ids=str)
def test_mode_equals_pytorch(options):
    few = np.random.default_rng(2).integers(0, 3, (4, 6, 3))
    check(nr.mode, torch.mode, few, **options)
    check(nr.mode, torch.mode, few.astype(np.float32), compiled=False, **options)
    check(nr.mode, torch.mode, few > 0, compiled=False, **options)
    check(nr.mode, torch.mode, X, compiled=False, **options)


def test_mode_of_nan_of_one_and_of_nothing():
    check(nr.mode, torch.mode, np.array([np.nan, np.nan, np.nan, 1, 1], np.float32))
    check(nr.mode, torch.mode, X[0, 0, 0])
    check(nr.mode, torch.mode, X[..., :1])
    check_both_raise(nr.mode, torch.mode, X[..., :0])


@pytest.mark.parametrize("k", [1, 2, 3])
@pytest.mark.parametrize("options", [{}, {"dim": 0}, {"dim": 1, "keepdim": True}], ids=str)
def test_kthvalue_equals_pytorch(k, options):
    check(nr.kthvalue, torch.kthvalue, X, k=k, **options)
    check(nr.kthvalue, torch.kthvalue, I, k=k, compiled=False, **options)


def test_kthvalue_out_of_range_is_refused():
    for k in (0, 6):
        check_both_raise(nr.kthvalue, torch.kthvalue, X, k=k)
    check(nr.kthvalue, torch.kthvalue, X[0, 0, 0], k=1)


@pytest.mark.parametrize("name", ["quantile", "nanquantile"])
@pytest.mark.parametrize("interpolation", ["linear", "lower", "higher", "midpoint", "nearest"])
@pytest.mark.parametrize("options", [{}, {"dim": 1}, {"dim": -1, "keepdim": True}, {"keepdim": True}], ids=str)
def test_quantile_equals_pytorch(name, interpolation, options):
    q = np.array([0.0, 0.3, 0.5, 1.0], np.float32)
    check(getattr(nr, name), getattr(torch, name), X, q, compiled=not options, interpolation=interpolation, **options)
    check(lambda x: getattr(nr, name)(x, 0.4, **options), lambda x: getattr(torch, name)(x, 0.4, **options), NAN, compiled=False, grad=name == "quantile")


def test_quantile_of_one_element_and_in_float64():
    check(lambda x: nr.quantile(x, 0.5), lambda x: torch.quantile(x, 0.5), X[0, 0, 0])
    check(nr.quantile, torch.quantile, X.astype(np.float64), np.float64(0.21), dim=0)


@pytest.mark.parametrize("q", [1.5, -0.1, np.array([0.5, 2.0], np.float32), np.float64(0.5), np.full((2, 2), 0.5, np.float32)], ids=str)
def test_quantile_refuses_what_pytorch_refuses(q):
    check_both_raise(nr.quantile, torch.quantile, X, q)
    check_both_raise(nr.quantile, torch.quantile, X[:0], 0.5)
    check_both_raise(nr.quantile, torch.quantile, I, 0.5)
    check_both_raise(nr.quantile, torch.quantile, X, 0.5, interpolation="cubic")


def test_quantile_runs_inside_transformations():
    found = jax.jit(lambda x, q: nr.quantile(nr.as_tensor(x), nr.as_tensor(q)))(X, np.array([0.5], np.float32))
    np.testing.assert_allclose(np.asarray(found), np.quantile(X, [0.5]), rtol=1e-6)
