"""Initializers: what they compute, what they draw from, what they refuse."""

import math
import warnings

import numpy as np
import pytest
import torch

import neurarust_jax as nr
from neurarust_jax import nn


def filled(name, shape, *arguments, **named):
    """The values after an initializer, in both libraries."""
    ours, theirs = nn.Parameter(nr.empty(*shape)), torch.nn.Parameter(torch.empty(*shape))
    assert getattr(nn.init, name)(ours, *arguments, **named) is ours and ours.requires_grad
    getattr(torch.nn.init, name)(theirs, *arguments, **named)
    return ours.detach().numpy(), theirs.detach().numpy()


def test_all_of_pytorchs_names_are_there():
    assert set(nn.init.__all__) == set(torch.nn.init.__all__)


def test_laws_without_chance():
    for name, shape, arguments in (
        ("constant_", (2, 3), (0.3,)), ("ones_", (2, 3), ()), ("zeros_", (0,), ()), ("eye_", (3, 5), ()), ("eye_", (4, 2), ()),
        ("dirac_", (4, 2, 3), ()), ("dirac_", (6, 4, 3, 2), (3,)), ("dirac_", (2, 4, 1, 2, 3), (2,)), ("dirac_", (2, 3, 4), ()),
    ):  # fmt: skip
        np.testing.assert_array_equal(*filled(name, shape, *arguments))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("uniform_", {"a": -2.0, "b": 3.0}), ("normal_", {"mean": 1.0, "std": 3.0}), ("trunc_normal_", {"std": 0.02}),
        ("trunc_normal_", {"mean": 0.5, "std": 2.0, "a": -1.0, "b": 4.0}), ("trunc_normal_", {"a": 1.5, "b": 1.8}), ("xavier_uniform_", {"gain": 2.0}), ("xavier_normal_", {}),
        ("kaiming_uniform_", {"a": 2.0}), ("kaiming_uniform_", {"mode": "fan_out", "nonlinearity": "relu"}), ("kaiming_normal_", {"mode": "FAN_OUT", "nonlinearity": "tanh"}),
        ("sparse_", {"sparsity": 0.3}),
    ],
    ids=str,
)  # fmt: skip
def test_laws_of_chance(name, options):
    nr.manual_seed(0)
    torch.manual_seed(0)
    shape = (200, 60) if name == "sparse_" else (200, 60, 3)
    ours, theirs = filled(name, shape, **options)
    scale = theirs.std()
    assert abs(ours.mean() - theirs.mean()) < 0.05 * scale and abs(ours.std() / scale - 1) < 0.03
    for share in (0, 1, 25, 50, 75, 99, 100):
        tolerance = 0.8 if share in (0, 100) and "uniform" not in name else 0.1
        assert abs(np.percentile(ours, share) - np.percentile(theirs, share)) < tolerance * scale, share


def test_truncated_normal_numbers_far_in_the_tail():
    with pytest.warns(UserWarning, match="more than 2 std"):
        x = nn.init.trunc_normal_(nn.Parameter(nr.empty(20000)), a=5.0, b=7.0).detach().numpy()
    expected = math.exp(-12.5) / math.sqrt(2 * math.pi) / (0.5 * math.erfc(5 / math.sqrt(2)))  # the mean of the tail beyond 5
    assert x.min() >= 5 and x.max() <= 7 and abs(x.mean() - expected) < 0.01 and len(np.unique(x)) > 10000
    with pytest.warns(UserWarning, match="more than 2 std"):
        y = nn.init.trunc_normal_(nn.Parameter(nr.empty(20000)), mean=9.0, a=2.0, b=4.0).detach().numpy()
    assert y.max() <= 4 and abs(4 - y.mean() - (expected - 5)) < 0.01
    half = nn.init.trunc_normal_(nn.Parameter(nr.empty(1000, dtype=nr.bfloat16)), std=0.02, a=-0.03, b=0.03)
    assert half.dtype == nr.bfloat16 and half.abs().max().item() <= nr.tensor(0.03, dtype=nr.bfloat16).item()


@pytest.mark.parametrize("shape", [(4, 7), (7, 4), (5, 2, 3), (3, 3)])
def test_orthogonal_weights_are_orthogonal_and_uniform(shape):
    w = nn.init.orthogonal_(nn.Parameter(nr.empty(*shape, dtype=nr.float64)), gain=3).detach().numpy().reshape(shape[0], -1) / 3
    product = w @ w.T if w.shape[0] <= w.shape[1] else w.T @ w
    np.testing.assert_allclose(product, np.eye(len(product)), atol=1e-12)
    signs = [np.sign(nn.init.orthogonal_(nn.Parameter(nr.empty(*shape))).detach().numpy().ravel()[0]) for _ in range(30)]
    assert -25 < sum(signs) < 25
    assert nn.init.orthogonal_(nn.Parameter(nr.empty(3, 0))).shape == (3, 0)


def test_sparse_weights_have_the_same_number_of_zeros_in_each_column():
    w = nn.init.sparse_(nn.Parameter(nr.empty(11, 30)), sparsity=0.4, std=1.0).detach().numpy()
    assert ((w == 0).sum(0) == 5).all() and len({tuple(c) for c in (w == 0).T}) > 5


def test_a_generator_decides():
    for name, arguments in (("uniform_", ()), ("normal_", ()), ("trunc_normal_", ()), ("xavier_uniform_", ()), ("xavier_normal_", ()), ("kaiming_uniform_", ()),
                            ("kaiming_normal_", ()), ("orthogonal_", ()), ("sparse_", (0.5,))):  # fmt: skip
        draws = [getattr(nn.init, name)(nn.Parameter(nr.empty(4, 4)), *arguments, generator=nr.Generator().manual_seed(3)).detach().numpy() for _ in range(2)]
        np.testing.assert_array_equal(*draws)


def test_gains():
    for name in ("linear", "conv1d", "conv_transpose3d", "sigmoid", "tanh", "relu", "leaky_relu", "selu"):
        assert nn.init.calculate_gain(name) == torch.nn.init.calculate_gain(name)
    assert nn.init.calculate_gain("leaky_relu", 0.2) == torch.nn.init.calculate_gain("leaky_relu", 0.2)
    for m in (nn, torch.nn):
        for arguments in (("gelu",), ("leaky_relu", True), ("leaky_relu", "a"), ("convolution",)):
            with pytest.raises(ValueError, match="Unsupported|not a valid"):
                m.init.calculate_gain(*arguments)


def test_refusals():
    for m, lib in ((nn, nr), (torch.nn, torch)):
        p = lambda *shape, m=m, lib=lib: m.Parameter(lib.empty(*shape))  # noqa: E731
        for function, arguments, text in (
            (m.init.eye_, (p(2),), "2 dimensions"), (m.init.dirac_, (p(2, 2),), "3, 4, or 5 dimensions"), (m.init.dirac_, (p(3, 2, 2), 2), "divisible by groups"),
            (m.init.orthogonal_, (p(2),), "2 or more dimensions"), (m.init.sparse_, (p(2, 2, 2), 0.1), "2 dimensions"), (m.init.xavier_uniform_, (p(2),), "fewer than 2"),
            (m.init.kaiming_normal_, (p(2, 2), 0, "fan_both"), "not supported"),
        ):  # fmt: skip
            with pytest.raises(ValueError, match=text):
                function(*arguments)
        for function in (m.init.kaiming_uniform_, m.init.kaiming_normal_):
            with pytest.warns(UserWarning, match="Initializing zero-element tensors is a no-op"):
                function(p(0, 3))
    with pytest.raises(RuntimeError, match="never changes"):
        nn.init.ones_(nr.empty(2))


def test_names_without_the_underscore_are_deprecated():
    for name in ("uniform", "normal", "constant", "eye", "dirac", "xavier_uniform", "xavier_normal", "kaiming_uniform", "kaiming_normal", "orthogonal", "sparse"):
        shape = (2, 2, 2) if name == "dirac" else (2, 2)
        arguments = {"constant": (1.0,), "sparse": (0.5,)}.get(name, ())
        for m, lib in ((nn, nr), (torch.nn, torch)):
            with pytest.warns(FutureWarning, match=f"`nn.init.{name}` is now deprecated in favor of `nn.init.{name}_`"):
                getattr(m.init, name)(m.Parameter(lib.empty(*shape)), *arguments)


def test_initializers_inside_compiled_functions():
    p = nn.Parameter(nr.zeros(3, 4))
    fill = nr.jit(lambda: nn.init.trunc_normal_(nn.init.orthogonal_(p)))
    fill()
    first = p.detach().numpy().copy()
    fill()
    assert first.any() and (first != p.detach().numpy()).all()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        nn.Linear(3, 2)
