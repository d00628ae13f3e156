"""Dropout of `nn.functional`: what is dropped, how it is scaled, and what PyTorch refuses."""

import numpy as np
import pytest
import torch
import torch.nn.functional as TF

import neurarust_jax as nr
import neurarust_jax.nn.functional as F
from tests.oracle import check_both_raise

ALL = ["dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_alpha_dropout"]


def ones(name):
    return nr.ones(40, 50, *(2,) * {"dropout1d": 1, "dropout2d": 2, "dropout3d": 3}.get(name, 1))


@pytest.mark.parametrize("name", ALL)
def test_share_scale_and_gradient(name):
    nr.manual_seed(0)
    x = ones(name).requires_grad_()
    y = getattr(F, name)(x, 0.3, training=True)
    torch.manual_seed(0)
    w = getattr(TF, name)(torch.ones(tuple(x.shape)), 0.3, training=True)
    values = np.unique(np.asarray(y.detach()))
    np.testing.assert_allclose(values, np.unique(w.numpy()), rtol=1e-5)
    assert abs((y == values[0].item()).float().mean().item() - 0.3) < 0.06
    (gradient,) = nr.autograd.grad(y.sum(), x)
    assert len(np.unique(np.asarray(gradient))) == 2


@pytest.mark.parametrize("name", ["dropout1d", "dropout2d", "dropout3d", "feature_alpha_dropout"])
def test_whole_channels_are_dropped(name):
    y = np.asarray(getattr(F, name)(ones(name), 0.5, training=True)).reshape(2000, -1)
    assert (y == y[:, :1]).all() and 0.4 < (y[:, 0] == y.min()).mean() < 0.6


def test_channels_of_one_example():
    for name, shape in (("dropout1d", (500, 3)), ("dropout3d", (500, 3, 2, 2))):
        y = np.asarray(getattr(F, name)(nr.ones(*shape), 0.5)).reshape(500, -1)
        assert (y == y[:, :1]).all() and 0.4 < (y[:, 0] == 0).mean() < 0.6


@pytest.mark.parametrize("name", ALL)
def test_nothing_happens_in_evaluation_and_all_is_zero_at_probability_one(name):
    x = ones(name)
    assert getattr(F, name)(x, 0.5, training=False) is x and getattr(F, name)(x, 0.0, training=True) is x
    assert (getattr(F, name)(x, 1.0, training=True) == 0).all()


def test_alpha_dropout_keeps_mean_and_variance():
    nr.manual_seed(0)
    y = F.alpha_dropout(nr.randn(100_000), 0.4, training=True)
    assert abs(y.mean().item()) < 0.02 and abs(y.var().item() - 1) < 0.02


def test_a_compiled_dropout_draws_anew_and_a_generator_repeats():
    step = nr.jit(lambda x: F.dropout2d(x, 0.5))
    x = nr.ones(20, 20, 2, 2)
    assert (step(x) != step(x)).any()
    first, second = (F.dropout(x, 0.5, generator=nr.Generator().manual_seed(3)) for _ in range(2))
    assert (first == second).all()


@pytest.mark.parametrize("name", ALL)
def test_both_refuse_what_is_no_probability(name):
    for p in (-0.1, 1.1):
        check_both_raise(getattr(F, name), getattr(TF, name), np.ones((2, 3, 4), np.float32), p)


def test_both_refuse_integers_and_too_few_dimensions():
    check_both_raise(F.dropout, TF.dropout, np.ones((2, 3), np.int64))
    check_both_raise(F.dropout1d, TF.dropout1d, np.ones(3, np.float32))
    check_both_raise(F.feature_alpha_dropout, TF.feature_alpha_dropout, np.ones(3, np.float32), training=True)


def test_unusual_numbers_of_dimensions_give_pytorchs_warnings():
    for name, shape, text in (("dropout2d", (2, 3), "2-D input to dropout2d"), ("dropout2d", (2, 3, 4), "3D input to dropout2d"), ("dropout3d", (2, 3, 4), "3-D input to dropout3d")):
        for function, x in ((getattr(F, name), nr.ones(*shape)), (getattr(TF, name), torch.ones(*shape))):
            with pytest.warns(UserWarning, match=text):
                assert function(x).shape == shape
