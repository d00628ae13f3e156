"""Sums, products, extremes and softmax against PyTorch."""

import numpy as np
import pytest
import torch

import neurarust_jax as nr
from tests.oracle import check, check_both_raise

X = np.random.default_rng(0).standard_normal((3, 4, 2)).astype(np.float32)
I = np.random.default_rng(1).integers(-3, 4, (3, 4, 2))  # noqa: E741
C = (X + 1j * X[::-1]).astype(np.complex64)
NAN = np.array([[1.0, np.nan, 3.0, np.nan], [2.0, 2.0, -1.0, 0.0], [np.nan] * 4], np.float32)
TIES = np.array([[1.0, 3.0, 3.0], [3.0, 1.0, 1.0]], np.float32)
INPUTS = {"float32": X, "float64": X.astype(np.float64), "int64": I, "uint8": np.abs(I).astype(np.uint8), "bool": I > 0, "complex64": C, "0-d": X[0, 0, 0]}
ORDERED = {k: v for k, v in INPUTS.items() if k != "complex64"}
ARGUMENTS = [(), (0,), (1, True), ((-1, 0),), (None, True)]


def both(name, *arguments, **options):
    """The op of this name in both libraries, with these arguments after the input."""
    return (lambda x: getattr(nr, name)(x, *arguments, **options)), (lambda x: getattr(torch, name)(x, *arguments, **options))


def with_dtype(name, dtype, *arguments):
    return (lambda x: getattr(nr, name)(x, *arguments, dtype=getattr(nr, dtype))), (lambda x: getattr(torch, name)(x, *arguments, dtype=getattr(torch, dtype)))


@pytest.mark.parametrize("arguments", ARGUMENTS, ids=str)
@pytest.mark.parametrize("x", INPUTS.values(), ids=INPUTS)
@pytest.mark.parametrize("name", ["sum", "mean", "all", "any", "amax", "amin", "nansum"])
def test_reduction_equals_pytorch(name, x, arguments):
    if name in ("mean", "nanmean") and x.dtype.kind in "biu":
        return check_both_raise(*both(name, *arguments), x)
    if name in ("amax", "amin", "nansum") and x.dtype.kind == "c":
        return check_both_raise(*both(name, *arguments), x)
    if x.ndim == 0 and arguments not in [(), (0,), (None, True)]:
        return check_both_raise(*both(name, *arguments), x)
    if name in ("amax", "amin") and arguments[:1] == (None,):
        arguments = ((), True)
    check(*both(name, *arguments), x, compiled=arguments == (0,))


@pytest.mark.parametrize("arguments", [(), (0,), (-1, True)], ids=str)
@pytest.mark.parametrize("x", INPUTS.values(), ids=INPUTS)
def test_prod_equals_pytorch(x, arguments):
    check(*both("prod", *arguments), x)


@pytest.mark.parametrize("zeros", [0, 1, 2, 3])
def test_gradient_of_prod_is_exact_at_zeros(zeros):
    x = np.array([2.0, -3.0, 4.0], np.float32)
    x[:zeros] = 0
    check(*both("prod", 0), x)


@pytest.mark.parametrize("name", ["nansum", "nanmean", "sum", "amax", "argmax", "argmin", "any"])
@pytest.mark.parametrize("arguments", [(), (1,)], ids=str)
def test_nan_is_treated_as_in_pytorch(name, arguments):
    check(*both(name, *arguments), NAN, grad=False)
    check(*both(name, *arguments), NAN[:2])


@pytest.mark.parametrize("name", ["sum", "prod", "nansum"])
@pytest.mark.parametrize("dtype", ["float64", "int32", "bool", "float16"])
def test_dtype_converts_first(name, dtype):
    check(*with_dtype(name, dtype), X * 3, rtol=2e-3 if dtype == "float16" else None, grad=dtype == "float64")


def test_mean_of_integers_in_a_floating_dtype():
    check(*with_dtype("mean", "float64", 0), I)


@pytest.mark.parametrize("name", ["sum", "mean", "prod", "all", "any", "count_nonzero", "nansum", "nanmean"])
@pytest.mark.parametrize("shape", [(0,), (2, 0), (0, 2)], ids=str)
def test_reduction_of_nothing(name, shape):
    for arguments in [(), (0,), (-1,)]:
        check(*both(name, *arguments), np.zeros(shape, np.float32), compiled=False)


@pytest.mark.parametrize("name", ["max", "min"])
@pytest.mark.parametrize("x", ORDERED.values(), ids=ORDERED)
@pytest.mark.parametrize("arguments", [(), (0,), (-1,), (-1, True)], ids=str)
def test_extremes_equal_pytorch(name, x, arguments):
    check(*both(name, *arguments), x)


@pytest.mark.parametrize("name", ["argmax", "argmin"])
@pytest.mark.parametrize("x", [X, I, X[0, 0, 0], NAN, TIES], ids=["float32", "int64", "0-d", "nan", "ties"])
@pytest.mark.parametrize("arguments", [(), (0,), (-1, True), (None, True)], ids=str)
def test_positions_of_extremes_equal_pytorch(name, x, arguments):
    check(*both(name, *arguments), x)


@pytest.mark.parametrize("x", [TIES, NAN, np.ones((2, 2), np.float32)], ids=["ties", "nan", "equal"])
@pytest.mark.parametrize("arguments", [(), (1,)], ids=str)
@pytest.mark.parametrize("name", ["max", "min", "amax", "amin"])
def test_gradient_of_extremes_at_ties_and_nan(name, arguments, x):
    check(*both(name, *arguments), x)


def test_max_of_two_tensors():
    check(nr.max, torch.max, X, X[::-1].copy())
    check(lambda a, b: a.min(b), lambda a, b: a.min(b), X, X[::-1].copy())
    check(lambda a, b: nr.max(a, other=b), lambda a, b: torch.max(a, other=b), I, X)


@pytest.mark.parametrize("options", [{}, {"dim": 0}, {"dim": -1, "keepdim": True}], ids=str)
@pytest.mark.parametrize("x", [X, I, TIES, NAN, X[0, 0, 0]], ids=["float32", "int64", "ties", "nan", "0-d"])
def test_aminmax_equals_pytorch(x, options):
    check(nr.aminmax, torch.aminmax, x, **options)


def test_results_have_pytorch_field_names():
    found = nr.tensor(X).max(dim=1)
    assert found.values.shape == found.indices.shape == (3, 2)
    assert nr.aminmax(nr.tensor(I)).max == nr.tensor(I).max()


@pytest.mark.parametrize("dim", [None, 0, (0, 2)], ids=str)
@pytest.mark.parametrize("x", INPUTS.values(), ids=INPUTS)
def test_count_nonzero_equals_pytorch(x, dim):
    if x.ndim:
        check(*both("count_nonzero", dim), x)


@pytest.mark.parametrize("dim", [0, -1, (0, 2)], ids=str)
@pytest.mark.parametrize("x", [X, X * 100, X.astype(np.float64), I, C, X[:0], X.astype(np.float16)], ids=lambda x: f"{x.dtype}{x.shape}")
def test_logsumexp_equals_pytorch(x, dim):
    check(*both("logsumexp", dim), x)


@pytest.mark.parametrize("x", [[-np.inf, -np.inf], [1, -np.inf], [1, np.inf], [np.nan, 1]], ids=str)
def test_logsumexp_and_softmax_of_infinities(x):
    for name in ("logsumexp", "softmax", "log_softmax"):
        check(*both(name, 0), np.array(x, np.float32), grad=False)


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
@pytest.mark.parametrize("dim", [0, 1, -1])
@pytest.mark.parametrize("x", [X, X * 100, X.astype(np.float64), X[:0], X.astype(np.float16)], ids=lambda x: f"{x.dtype}{x.shape}")
def test_softmax_equals_pytorch(name, x, dim):
    check(*both(name, dim), x)


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_softmax_of_0d_of_integers_and_as_method(name):
    check(*both(name, -1), X[0, 0, 0])
    check(*with_dtype(name, "float64", 0), I)
    check(lambda x: getattr(x, name)(1), lambda x: getattr(x, name)(1), X)
    check_both_raise(*both(name, 0), I)
    check_both_raise(*both(name, 3), X)


def test_softmin_is_softmax_of_the_negative():
    check(lambda x: nr.softmin(x, 1), lambda x: torch.nn.functional.softmin(x, 1), X)


@pytest.mark.parametrize("name", ["softmax", "log_softmax", "logsumexp"])
def test_second_derivatives_of_softmax(name):
    def second(library, grad):
        def function(x):
            y = getattr(library, name)(x, 0)
            (first,) = grad((y * y).sum(), x, create_graph=True)
            return grad((first * first).sum(), x)[0]

        return function

    x = nr.tensor(X[0]).requires_grad_(), torch.tensor(X[0]).requires_grad_()
    ours, theirs = second(nr, nr.autograd.grad)(x[0]), second(torch, torch.autograd.grad)(x[1])
    np.testing.assert_allclose(np.asarray(ours), theirs.numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [("sum", (3,)), ("sum", ((0, 0),)), ("max", (3,)), ("argmax", (-4,)), ("amax", ((0, -3),)), ("prod", (5,)), ("logsumexp", (3,))],
    ids=str,
)
def test_dimensions_that_do_not_exist_or_repeat_are_refused(name, arguments):
    check_both_raise(*both(name, *arguments), X)


@pytest.mark.parametrize("name", ["max", "min", "argmax", "argmin", "amax", "amin", "aminmax"])
def test_no_extreme_of_nothing(name):
    check_both_raise(*both(name), X[:0])
    check_both_raise(*both(name, dim=0), X[:0])
    check(*both(name, dim=1), X[:0])


def test_numpy_names_are_taken():
    x = nr.tensor(X)
    assert nr.sum(x, axis=1, keepdims=True).shape == (3, 1, 2)
    assert nr.max(x, axis=0).values.shape == (4, 2)
    with pytest.raises(TypeError, match=r"out = nr.max"):
        nr.max(x, out=x)


def test_half_precision_is_summed_in_float32():
    ones = np.ones(5000, np.float16)
    assert nr.tensor(ones).sum().item() == torch.tensor(ones).sum().item() == 5000
    assert nr.tensor(ones).mean().item() == 1
