"""Elementwise ops against PyTorch: values, dtypes, gradients, compiled and eager."""

import numpy as np
import pytest
import torch

import neurarust_jax as nr
from tests.oracle import check, check_both_raise

X = np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32)
Y = np.random.default_rng(1).standard_normal((4,)).astype(np.float32)
I = np.arange(-6, 6).reshape(3, 4)  # noqa: E741
B = I % 2 == 0
BINARY = "add sub mul div true_divide maximum minimum atan2 eq ne lt le gt ge logical_and logical_or logical_xor hypot".split()
UNARY = (
    "exp exp2 expm1 sin cos tan asin acos atan sinh cosh tanh asinh atanh erf erfc sigmoid neg abs sign square floor ceil trunc round frac "
    "isnan isinf isfinite logical_not"
).split()


@pytest.mark.parametrize("name", BINARY)
@pytest.mark.parametrize("pair", [(X, Y), (I, X), (I, I + 1), (X[:0], Y), (X, np.float32(2.0)), (np.float64(2.0), X), (I, np.int32(3))], ids=str)
def test_binary_op_equals_pytorch(name, pair):
    ours, theirs = getattr(nr, name), getattr(torch, name)
    if name == "hypot" and not all(x.dtype.kind == "f" for x in pair):
        pair = tuple(np.asarray(x, np.float32) for x in pair)  # PyTorch's hypot takes floats only
    check(ours, theirs, *pair)


@pytest.mark.parametrize("name", UNARY)
@pytest.mark.parametrize("x", [X * 0.5, X.astype(np.float64) * 0.5, X[:0], np.float32(0.3), I], ids=["float32", "float64", "empty", "0-d", "int64"])
def test_unary_op_equals_pytorch(name, x):
    if name == "frac" and x.dtype.kind == "i":
        return check_both_raise(nr.frac, torch.frac, x)
    check(getattr(nr, name), getattr(torch, name), x)


@pytest.mark.parametrize("scalar", [2, -3, 0.5, True, 1 + 2j], ids=str)
@pytest.mark.parametrize("x", [X, I, B, X.astype(np.float64), I.astype(np.uint8), X.astype(np.complex64)], ids=lambda x: x.dtype.name)
def test_python_numbers_promote_as_in_pytorch(x, scalar):
    check(lambda a: a * scalar, lambda a: a * scalar, x)
    check(lambda a: scalar + a, lambda a: scalar + a, x)


@pytest.mark.parametrize("mode", [None, "floor", "trunc"])
@pytest.mark.parametrize("divisor", [3, -3, 2.5, -0.7])
def test_division_rounds_as_asked(mode, divisor):
    check(lambda a: nr.div(a, divisor, rounding_mode=mode), lambda a: torch.div(a, divisor, rounding_mode=mode), X * 4)
    check(lambda a: nr.div(a, divisor, rounding_mode=mode), lambda a: torch.div(a, divisor, rounding_mode=mode), I)


@pytest.mark.parametrize("exponent", [0, 1, 2, 3, -1, 0.5, -0.5, 2.5, 7])
def test_pow_by_number(exponent):
    check(lambda a: a**exponent, lambda a: a**exponent, np.abs(X) + 0.1)
    if exponent == int(exponent) >= 0:
        check(lambda a: a**exponent, lambda a: a**exponent, I)


def test_pow_gradient_at_zero():
    zero = np.zeros(3, np.float32)
    for exponent in (0, 1, 2, 3):
        check(lambda a, e=exponent: a**e, lambda a, e=exponent: a**e, zero)


@pytest.mark.parametrize("dtype", ["int64", "int32", "uint8", "int8"])
def test_integers_to_large_powers_wrap_around(dtype):
    base = np.array([0, 1, 2, 3, 7, 100], dtype)
    for exponent in (5, 63, 64, 65, 100, 127):
        check(lambda a, b: a**b, lambda a, b: a**b, base, np.array(exponent, dtype))
        check(lambda a, e=exponent: a**e, lambda a, e=exponent: a**e, base)
        check(lambda b: 3**b, lambda b: 3**b, np.array(exponent, dtype))


def test_asinh_takes_the_side_of_its_branch_cut_from_the_sign_of_zero():
    x = np.array([complex(a, b) for a in (0.0, -0.0, 0.5, -0.5) for b in (-1.5, 1.5, 0.5, -0.5)])
    check(nr.asinh, torch.asinh, x)


def test_a_complex_number_with_an_infinite_part_has_an_infinite_absolute_value():
    parts = (np.inf, -np.inf, np.nan, 0.0, 1.0)
    check(nr.abs, torch.abs, np.array([complex(a, b) for a in parts for b in parts]), grad=False)
    check(nr.abs, torch.abs, np.array([0, 1j, 3 - 4j]))


@pytest.mark.parametrize("name", ["sign", "sgn"])
def test_sign_of_nan_is_0(name):
    check(getattr(nr, name), getattr(torch, name), np.array([-2, -0.0, 0, np.nan, np.inf, -np.inf], np.float32), grad=False)


def test_heaviside():
    x = np.array([-1, 0, -0.0, 2, np.nan, np.inf, -np.inf, 0], np.float32)
    check(nr.heaviside, torch.heaviside, x, np.array([5, 5, 6, 5, 5, 5, 5, np.nan], np.float32), grad=False)
    check(nr.heaviside, torch.heaviside, I, np.full_like(I, 3))


def test_bounds_that_are_nan_make_clamp_nan():
    x, nan = np.array([-1, 0, 2, np.nan], np.float32), np.array([np.nan, 0.5, np.nan, 1], np.float32)
    for bounds in ((nan, None), (None, nan), (nan, np.full(4, 9, np.float32)), (np.full(4, -9, np.float32), nan)):
        check(lambda a, low, high: nr.clamp(a, low, high), torch.clamp, x, *bounds)
    for bounds in ((float("nan"), None), (None, float("nan")), (0.0, float("nan"))):
        check(lambda a, b=bounds: nr.clamp(a, *b), lambda a, b=bounds: torch.clamp(a, *b), x)


@pytest.mark.parametrize("bounds", [(-0.5, 0.5), (None, 0.2), (0.1, None), (1.0, -1.0)])
def test_clamp_and_its_gradient_at_the_bounds(bounds):
    check(lambda a: a.clamp(*bounds), lambda a: a.clamp(*bounds), np.array([-1, -0.5, 0, 0.2, 0.5, 2, np.nan], np.float32))


def test_reflected_operators():
    check(lambda a: 2 - a, lambda a: 2 - a, X)
    check(lambda a: 2 / a, lambda a: 2 / a, X)
    check(lambda a: 2**a, lambda a: 2**a, X)
    check(lambda a: 7 // a, lambda a: 7 // a, I + 20)
    check(lambda a: 7 % a, lambda a: 7 % a, I + 20)


def test_shapes_that_do_not_broadcast_are_named():
    with pytest.raises(RuntimeError, match=r"tensor a \(3\) must match the size of tensor b \(4\).*\(2, 3\).*\(4,\)"):
        nr.ones(2, 3) + nr.ones(4)
    check_both_raise(lambda a, b: a + b, lambda a, b: a + b, X, X.T)


def test_out_is_refused_with_the_line_to_write():
    with pytest.raises(TypeError, match=r"takes no out=.*out = nr.add"):
        nr.add(nr.ones(2), 1, out=nr.ones(2))
