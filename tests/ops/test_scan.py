"""Running sums, products and extremes, differences and the trapezoidal rule against PyTorch."""

import numpy as np
import pytest
import torch

import neurarust_jax as nr
from tests.oracle import check, check_both_raise

X = np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32)
I = np.random.default_rng(1).integers(-3, 4, (3, 4))  # noqa: E741
C = (X + 1j * X[::-1]).astype(np.complex64)
INPUTS = {"float32": X, "float64": X.astype(np.float64), "int64": I, "uint8": np.abs(I).astype(np.uint8), "bool": I > 0, "complex64": C, "empty": X[:0]}


def both(name, *arguments):
    return (lambda x: getattr(nr, name)(x, *arguments)), (lambda x: getattr(torch, name)(x, *arguments))


@pytest.mark.parametrize("name", ["cumsum", "cumprod", "cummax", "cummin", "logcumsumexp"])
@pytest.mark.parametrize("x", [*INPUTS.values(), X[0, 0]], ids=[*INPUTS, "0-d"])
@pytest.mark.parametrize("dim", [0, -1])
def test_scan_equals_pytorch(name, x, dim):
    if (name in ("cummax", "cummin") and x.dtype.kind == "c") or (name == "logcumsumexp" and x.dtype.kind in "biu"):
        return check_both_raise(*both(name, dim), x)
    check(*both(name, dim), x)


@pytest.mark.parametrize("name", ["cumsum", "cumprod"])
def test_dtype_of_scan(name):
    check(lambda x: getattr(nr, name)(x, 0, dtype=nr.float64), lambda x: getattr(torch, name)(x, 0, dtype=torch.float64), X)
    check(lambda x: getattr(nr, name)(x, 0, dtype=nr.int32), lambda x: getattr(torch, name)(x, 0, dtype=torch.int32), I)
    check_both_raise(lambda x: getattr(nr, name)(x, 0, dtype=nr.bool), lambda x: getattr(torch, name)(x, 0, dtype=torch.bool), I)
    check_both_raise(*both(name, 2), X)


@pytest.mark.parametrize("zeros", [[0], [1], [1, 2], [0, 3]], ids=str)
def test_gradient_of_cumprod_is_exact_at_zeros(zeros):
    x = X.copy()
    x[:, zeros] = 0
    check(*both("cumprod", 1), x)


@pytest.mark.parametrize("name", ["cummax", "cummin"])
@pytest.mark.parametrize("x", [[1, 1, 0, 1, 2, 2], [2, 2, 1, 1, 1, 3], [1, np.nan, 2, np.nan, 0, 1]], ids=str)
def test_running_extremes_at_ties_and_nan(name, x):
    check(*both(name, 0), np.array(x, np.float32))


def test_logcumsumexp_without_overflow_and_of_infinities():
    for x in ([100.0, 200.0, 1000.0], [-1000.0, -1000.5], [-np.inf, 1.0, 2.0], [1.0, np.inf, 0.0]):
        check(*both("logcumsumexp", 0), np.array(x, np.float32), grad=np.isfinite(x).all())


@pytest.mark.parametrize("options", [{}, {"n": 2}, {"n": 0}, {"n": 5}, {"dim": 0}, {"n": 3, "dim": 0}], ids=str)
@pytest.mark.parametrize("x", INPUTS.values(), ids=INPUTS)
def test_diff_equals_pytorch(x, options):
    check(nr.diff, torch.diff, x, compiled=not options, **options)


def test_diff_with_what_is_put_before_and_after():
    check(lambda x, a, b: nr.diff(x, prepend=a, append=b), lambda x, a, b: torch.diff(x, prepend=a, append=b), X, X[:, :1], X[:, :2])
    check(lambda x, a: nr.diff(x, 1, 0, a), lambda x, a: torch.diff(x, 1, 0, a), X, I)
    for wrong in (X[:2], X[0]):
        check_both_raise(lambda x, a: nr.diff(x, prepend=a), lambda x, a: torch.diff(x, prepend=a), X, wrong)
    check_both_raise(nr.diff, torch.diff, X[0, 0])
    check_both_raise(nr.diff, torch.diff, X, n=-1)


@pytest.mark.parametrize("name", ["trapezoid", "trapz", "cumulative_trapezoid"])
@pytest.mark.parametrize("y", [X, X.astype(np.float64), I, C, X[0]], ids=["float32", "float64", "int64", "complex64", "1-d"])
def test_trapezoidal_rule_equals_pytorch(name, y):
    if name == "trapz":
        check(lambda y: nr.trapz(y, dx=0.5), lambda y: torch.trapz(y, dx=0.5), y, grad=y.dtype.kind != "i")
        return
    ours, theirs = getattr(nr, name), getattr(torch, name)
    check(ours, theirs, y)
    check(ours, theirs, y, dx=0.5, dim=0, compiled=False)
    check(ours, theirs, y, y * y, compiled=False)
    check(ours, theirs, y, y.reshape(-1)[: y.shape[-1]].copy(), compiled=False)


@pytest.mark.parametrize("name", ["trapezoid", "cumulative_trapezoid"])
def test_trapezoidal_rule_of_nothing_and_refusals(name):
    ours, theirs = getattr(nr, name), getattr(torch, name)
    check(ours, theirs, X[:, :1])
    check(ours, theirs, X[:0])
    if name == "trapezoid":
        check(ours, theirs, X[:, :0], grad=False)
    check_both_raise(ours, theirs, I > 0)
    check_both_raise(ours, theirs, X, X[0, :3])
    check_both_raise(ours, theirs, X, dx=1j)
