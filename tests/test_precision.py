"""How exactly matrices are multiplied: the setting reaches the programs, and setting it back compiles nothing."""

import jax
import pytest
import torch

import neurarust_jax as nr


@pytest.fixture(autouse=True)
def _as_before():
    yield
    nr.set_float32_matmul_precision("highest")
    nr.backends.cudnn.allow_tf32 = True


def _precision_in(f, *arguments):
    """What the products of a function ask for."""
    text = jax.jit(f).lower(*arguments).as_text()
    return {level for level in ("HIGHEST", "HIGH", "DEFAULT") if f"precision = [{level}, {level}]" in text or f"[#stablehlo<precision {level}>" in text}


X, W = nr.ones(4, 4), nr.ones(4, 4)
PRODUCTS = {
    "matmul": lambda x, w: x @ w,
    "linear": lambda x, w: nr.nn.functional.linear(x, w),
    "bilinear": lambda x, w: nr.nn.functional.bilinear(x, x, w[None]),
    "einsum": lambda x, w: nr.einsum("ij,jk", x, w),
    "attention": lambda x, w: nr.nn.functional.scaled_dot_product_attention(x[None, None], w[None, None], w[None, None]),
    "cov": lambda x, w: nr.cov(x),
}


@pytest.mark.parametrize("name", PRODUCTS)
def test_the_setting_reaches_every_product(name):
    for setting, expected in (("highest", "HIGHEST"), ("high", "HIGH"), ("medium", "DEFAULT")):
        nr.set_float32_matmul_precision(setting)
        assert _precision_in(lambda x, w, n=setting: PRODUCTS[name](x, w), X, W) == {expected}


def test_a_precision_set_in_jax_goes_first():
    with jax.default_matmul_precision("highest"):
        nr.set_float32_matmul_precision("medium")
        assert _precision_in(lambda x, w: x @ w, X, W) == {"HIGHEST"}


def test_convolutions_have_a_switch_of_their_own():
    def f(x, w):
        return nr.nn.functional.conv2d(x[None, None], w[None, None])

    assert _precision_in(lambda x, w: f(x, w), X, W) == {"DEFAULT"}
    nr.backends.cudnn.allow_tf32 = False
    assert _precision_in(lambda x, w: f(x, w), X, W) == {"HIGHEST"}
    with nr.backends.cudnn.flags(allow_tf32=True):
        assert nr.backends.cudnn.allow_tf32
    assert not nr.backends.cudnn.allow_tf32


def test_setting_it_back_compiles_nothing():
    traced = []

    @nr.jit
    def f(x):
        traced.append(nr.get_float32_matmul_precision())
        return x @ x

    for _ in range(3):
        for setting in ("highest", "high"):
            nr.set_float32_matmul_precision(setting)
            f(X)
            kernel = next(iter(nr.matmul.op.kernels.values())) if X @ X is not None else None
            assert kernel is next(iter(nr.matmul.op.kernels.values()))
    assert traced == ["highest", "high"]
    kernels = []
    for setting in ("highest", "high", "highest"):
        nr.set_float32_matmul_precision(setting)
        _ = X @ X
        kernels.append(next(iter(nr.matmul.op.kernels.values())))
    assert kernels[0] is kernels[2]
    assert kernels[0] is not kernels[1]


def test_names_and_errors_are_those_of_pytorch():
    for library in (torch, nr):
        assert library.get_float32_matmul_precision() == "highest"
        library.backends.cuda.matmul.allow_tf32 = True
        assert library.get_float32_matmul_precision() == "high"
        library.backends.cuda.matmul.allow_tf32 = False
        assert library.get_float32_matmul_precision() == "highest"
        assert library.backends.cudnn.allow_tf32
        assert library.backends.cudnn.benchmark in (True, False)
        assert not library.backends.mps.is_available()
    with pytest.raises(ValueError, match="'highest', 'high' or 'medium'"):
        nr.set_float32_matmul_precision("low")
