"""Variance, standard deviation, norms and distances against PyTorch."""

import numpy as np
import pytest
import torch

import neurarust_jax as nr
from tests.oracle import check, check_both_raise

X = np.random.default_rng(0).standard_normal((3, 4, 2)).astype(np.float32)
C = (X + 1j * X[::-1]).astype(np.complex64)
ZEROS = np.zeros((2, 3), np.float32)
MOMENTS = ["var", "std", "var_mean", "std_mean"]
INPUTS = {"float32": X, "float64": X.astype(np.float64), "complex64": C, "float16": X.astype(np.float16)}
inf = float("inf")


@pytest.mark.parametrize("name", MOMENTS)
@pytest.mark.parametrize("options", [{}, {"dim": 1}, {"dim": (0, -1), "keepdim": True}, {"dim": -1, "correction": 0}, {"correction": 0.5}], ids=str)
@pytest.mark.parametrize("x", INPUTS.values(), ids=INPUTS)
def test_moments_equal_pytorch(name, options, x):
    check(getattr(nr, name), getattr(torch, name), x, compiled=not options, **options)


@pytest.mark.parametrize("name", MOMENTS)
@pytest.mark.parametrize("arguments", [(False,), (True,), (0, False), (1, True, True), ((0, 1), False, True)], ids=str)
def test_unbiased_in_its_three_places(name, arguments):
    check(lambda x: getattr(nr, name)(x, *arguments), lambda x: getattr(torch, name)(x, *arguments), X, compiled=False)
    check(lambda x: getattr(nr, name)(x, unbiased=False), lambda x: getattr(torch, name)(x, unbiased=False), X, compiled=False)


def test_unbiased_is_not_taken_for_dimension_1():
    x = nr.tensor(X)
    assert x.var(1).shape == (3, 2)
    assert x.var(True).shape == ()


@pytest.mark.parametrize("name", ["var", "std"])
@pytest.mark.filterwarnings("ignore:.*degrees of freedom")
def test_moments_without_degrees_of_freedom(name):
    for x, options in [(X[:1], {"dim": 0}), (X[:0], {"dim": 0}), (X[0, 0, 0], {})]:
        check(getattr(nr, name), getattr(torch, name), x, **options)
    check(getattr(nr, name), getattr(torch, name), X[:2], grad=False, dim=0, correction=3)


def test_gradient_of_std_at_0_is_0():
    check(nr.std, torch.std, ZEROS)
    check(nr.std_mean, torch.std_mean, ZEROS, dim=1)


@pytest.mark.parametrize("name", MOMENTS)
def test_moments_refuse_integers_and_mixed_corrections(name):
    check_both_raise(getattr(nr, name), getattr(torch, name), np.arange(4))
    check_both_raise(getattr(nr, name), getattr(torch, name), X, unbiased=True, correction=1)
    check_both_raise(getattr(nr, name), getattr(torch, name), X, dim=3)


def test_second_derivative_of_variance():
    ours, theirs = nr.tensor(X).requires_grad_(), torch.tensor(X).requires_grad_()
    (first,) = nr.autograd.grad((ours**3).var(0).sum(), ours, create_graph=True)
    (expected,) = torch.autograd.grad((theirs**3).var(0).sum(), theirs, create_graph=True)
    second = nr.autograd.grad((first**2).sum(), ours)[0], torch.autograd.grad((expected**2).sum(), theirs)[0]
    np.testing.assert_allclose(np.asarray(second[0]), second[1].numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("p", ["fro", None, 2, 1, 0, 3, 0.5, 1.5, -1, inf, -inf], ids=str)
@pytest.mark.parametrize("options", [{}, {"dim": 0}, {"dim": (0, 2), "keepdim": True}], ids=str)
@pytest.mark.parametrize("x", [X, C], ids=["float32", "complex64"])
def test_norm_equals_pytorch(p, options, x):
    check(nr.norm, torch.norm, x, p=p, compiled=False, **options)


@pytest.mark.parametrize("p", [2, 1, 0, 3, 0.5, 1.5, inf])
def test_gradient_of_norm_at_0_equals_pytorch(p):
    check(nr.norm, torch.norm, ZEROS, p=p, dim=1)


def test_norm_of_nothing_of_numbers_and_in_another_dtype():
    check(nr.norm, torch.norm, X[:0])
    check(nr.norm, torch.norm, X[0, 0, 0])
    check(lambda x: nr.norm(x, dtype=nr.float64), lambda x: torch.norm(x, dtype=torch.float64), X)
    check(nr.norm, torch.norm, (X * 300).astype(np.float16))
    check(lambda x: x.norm(1, 0), lambda x: x.norm(1, 0), X)


@pytest.mark.parametrize("options", [{}, {"keepdim": True}, {"dim": (1, 0)}], ids=str)
def test_nuclear_norm_equals_pytorch(options):
    check(nr.norm, torch.norm, X[:, :, 0], p="nuc", **options)
    check(nr.norm, torch.norm, X, p="nuc", dim=(0, 2), keepdim="keepdim" in options)


def test_norm_refuses_what_pytorch_refuses():
    check_both_raise(nr.norm, torch.norm, np.arange(3))
    check_both_raise(nr.norm, torch.norm, X, p="nuc")
    check_both_raise(nr.norm, torch.norm, X, p="inf")
    check_both_raise(nr.norm, torch.norm, X, p="fro", dim=(0, 1, 2))
    check_both_raise(nr.norm, torch.norm, X, dim=(0, 0))
    check_both_raise(nr.norm, torch.norm, X[:0], p=inf)
    check_both_raise(lambda x: nr.norm(x, dtype=nr.float16), lambda x: torch.norm(x, dtype=torch.float16), X)
    check_both_raise(lambda x: nr.norm(x, dtype=nr.int64), lambda x: torch.norm(x, dtype=torch.int64), X)


@pytest.mark.parametrize("p", [2, 1, 0, 3, inf])
def test_dist_equals_pytorch(p):
    for other in (X[0] * 2, X):
        check(nr.dist, torch.dist, X, other, p=p, grad=p != 0)  # PyTorch's own backward fails at p=0
