"""Activations and softmaxes of `nn.functional` against PyTorch: special values, dtypes, errors, warnings. Their ordinary use is in the table of layers."""

import jax
import numpy as np
import pytest
import torch
import torch.nn.functional as TF

import neurarust_jax as nr
import neurarust_jax.nn.functional as F
from tests.oracle import assert_same, check, check_both_raise

G = np.random.default_rng(0)
EDGES = np.array([-100, -30, -3, -1, -0.5, -0.0, 0.0, 0.5, 1, 3, 6, 30, 100, np.inf, -np.inf], np.float32)


def normal(*shape):
    return G.standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("relu", {}), ("relu6", {}), ("elu", {"alpha": 2.0}), ("selu", {}), ("celu", {"alpha": 0.5}), ("leaky_relu", {"negative_slope": 0.2}), ("rrelu", {}),
        ("gelu", {}), ("gelu", {"approximate": "tanh"}), ("silu", {}), ("mish", {}), ("softplus", {"beta": 2.0, "threshold": 10.0}), ("logsigmoid", {}),
        ("softsign", {}), ("tanhshrink", {}), ("hardsigmoid", {}), ("hardswish", {}), ("hardshrink", {"lambd": 1.0}), ("softshrink", {"lambd": 1.0}),
        ("hardtanh", {"min_val": -0.5, "max_val": 3.0}), ("threshold", {"threshold": 0.5, "value": 7.0}),
    ],
    ids=str,
)  # fmt: skip
def test_values_and_gradients_at_the_edges_are_pytorchs(name, options):
    finite = name in ("gelu", "silu", "mish", "softsign", "softplus", "tanhshrink")  # whose limits have gradients that are no numbers, or not PyTorch's
    check(lambda x: getattr(F, name)(x, **options), lambda x: getattr(TF, name)(x, **options), EDGES[:-2] if finite else EDGES)
    nan = np.array([np.nan], np.float32)
    check(lambda x: getattr(F, name)(x, **options), lambda x: getattr(TF, name)(x, **options), nan, grad=False, compiled=False)


@pytest.mark.parametrize("dtype", [np.int64, np.uint8])
def test_integers_stay_integers_in_units_of_straight_pieces(dtype):
    x = np.array([0, 1, 5, 9], dtype)
    for call in (lambda f, x: f.relu(x), lambda f, x: f.relu6(x), lambda f, x: f.hardtanh(x, 1, 4), lambda f, x: f.threshold(x, 2, 7)):
        check(lambda x, c=call: c(F, x), lambda x, c=call: c(TF, x), x, compiled=False)
    for name in ("softsign", "tanhshrink"):
        check(getattr(F, name), getattr(TF, name), x, compiled=False)


def test_complex_numbers():
    x = (normal(5) + 1j * normal(5)).astype(np.complex64)
    for name in ("silu", "softsign", "tanhshrink"):
        check(getattr(F, name), getattr(TF, name), x, grad=name != "silu")  # of which PyTorch has no complex gradient


def test_exact_gelu_is_computed_by_erf():
    primitives = str(jax.make_jaxpr(F.gelu)(nr.ones(3)))
    assert "erf" in primitives and "erfc" not in primitives  # erfc costs five times as much
    x = np.linspace(-6, 6, 101)
    check(F.gelu, TF.gelu, x)


@pytest.mark.parametrize("shape", [(3, 4, 2), (3, 4), (4,), ()])
def test_prelu_weights(shape):
    check(F.prelu, TF.prelu, normal(*shape), np.array([0.3], np.float32))
    check(F.prelu, TF.prelu, normal(*shape), np.array(0.3, np.float32))
    if len(shape) > 1:
        check(F.prelu, TF.prelu, normal(*shape), normal(4))


def test_glu_along_each_dimension():
    for dim in (0, 1, -1):
        check(lambda x, d=dim: F.glu(x, d), lambda x, d=dim: TF.glu(x, d), normal(2, 4, 6))


def test_rrelu_draws_a_slope_for_each_element():
    x = nr.full((10_000,), -1.0, requires_grad=True)
    y = F.rrelu(x, 0.2, 0.4, training=True)
    y.sum().backward()
    slopes = -y.detach().numpy()
    assert 0.2 <= slopes.min() < 0.21 and 0.39 < slopes.max() <= 0.4
    np.testing.assert_array_equal(x.grad.numpy(), slopes)
    assert (F.rrelu(nr.ones(5), training=True) == 1).all()


def test_gumbel_softmax_samples_the_categorical_distribution():
    nr.manual_seed(0)
    logits = nr.tensor([0.1, 0.3, 0.6]).log().expand(20_000, 3).requires_grad_()
    hard = F.gumbel_softmax(logits, tau=0.5, hard=True)
    assert set(np.unique(np.asarray(hard.detach()).round(5))) == {0.0, 1.0} and (hard.sum(1) == 1).all()
    np.testing.assert_allclose(hard.detach().mean(0).numpy(), [0.1, 0.3, 0.6], atol=0.015)
    (gradient,) = nr.autograd.grad(hard[:, 0].sum(), logits)
    assert gradient.abs().sum() > 0
    soft = F.gumbel_softmax(logits, dim=0)
    np.testing.assert_allclose(soft.detach().sum(0).numpy(), np.ones(3), rtol=1e-3)
    with pytest.warns(UserWarning, match="`eps` parameter is deprecated"):
        F.gumbel_softmax(logits, eps=1e-5)
    assert F.gumbel_softmax(nr.zeros(4, dtype=nr.float16)).dtype == nr.float16


@pytest.mark.parametrize("name", ["softmax", "log_softmax", "softmin"])
@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (2, 3, 4), (2, 2, 3, 2)])
def test_the_implicit_dimension_is_pytorchs_with_its_warning(name, shape):
    x = normal(*shape)
    with pytest.warns(UserWarning, match=f"Implicit dimension choice for {name}") as warned:
        ours = getattr(F, name)(nr.tensor(x))
    assert warned[0].filename == __file__
    with pytest.warns(UserWarning, match="Implicit dimension"):
        assert_same(ours, getattr(TF, name)(torch.tensor(x)))


def test_the_warning_of_a_softmax_layer_points_at_its_call():
    with pytest.warns(UserWarning, match="Implicit dimension choice for softmax") as warned:
        nr.nn.Softmax()(nr.ones(3))
    assert warned[0].filename == __file__


def test_softmaxes_take_a_dtype():
    x = np.array([[1, 2, 200]], np.uint8)
    for name in ("softmax", "log_softmax", "softmin"):
        check(
            lambda a, n=name: getattr(F, n)(a, 1, dtype=nr.float64), lambda a, n=name: getattr(TF, n)(a, 1, dtype=torch.float64), x, rtol=1e-12, atol=1e-12
        )


def test_in_place_names_write_into_cells_and_refuse_tensors():
    for name, arguments in {"relu_": (), "elu_": (0.5,), "selu_": (), "celu_": (2.0,), "leaky_relu_": (0.1,), "rrelu_": (), "hardtanh_": (-0.5, 0.5), "threshold_": (0.1, 3.0)}.items():
        x = normal(5)
        cell = nr.nn.Buffer(nr.tensor(x))
        assert getattr(F, name)(cell, *arguments) is cell
        assert_same(nr.tensor(np.asarray(cell)), getattr(TF, name)(torch.tensor(x), *arguments))
        with pytest.raises(nr.errors.ImmutableTensorError, match=rf"{name}\(x\)"):
            getattr(F, name)(nr.tensor(x), *arguments)
    with pytest.raises(nr.errors.ImmutableTensorError, match=r"x = x\.relu"):
        nr.ones(2).relu_()
    assert (nr.nn.Buffer(-nr.ones(2)).relu_() == 0).all()


def test_inplace_is_accepted():
    x = nr.tensor(normal(4))
    for name in ("relu", "relu6", "elu", "selu", "celu", "leaky_relu", "silu", "mish", "hardsigmoid", "hardswish", "hardtanh"):
        np.testing.assert_array_equal(np.asarray(getattr(F, name)(x, inplace=True)), np.asarray(getattr(F, name)(x)))


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("relu", (np.array([True]),)),
        ("elu", (np.array([1, 2]),)),
        ("silu", (np.array([1, 2]),)),
        ("hardtanh", (normal(3), 1.0, -1.0)),
        ("hardtanh", (np.array([1], np.uint8),)),
        ("celu", (normal(3), 0.0)),
        ("softshrink", (normal(3), -1.0)),
        ("rrelu", (normal(3), 0.6, 0.5)),
        ("glu", (normal(3),)),
        ("glu", (np.array(1.0),)),
        ("prelu", (normal(3, 4), normal(3))),
        ("prelu", (normal(3, 4), normal(2, 2))),
        ("prelu", (np.array([1]), np.array([1]))),
        ("softmax", (np.array([1, 2]), 0)),
        ("softmax", (normal(3), 2)),
    ],
)
def test_both_refuse(name, arguments):
    check_both_raise(getattr(F, name), getattr(TF, name), *arguments)


def test_both_refuse_another_approximation_of_gelu():
    check_both_raise(F.gelu, TF.gelu, normal(3), approximate="erf")
