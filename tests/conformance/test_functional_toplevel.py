"""Functions of layers at the top level: `nr.conv1d` and its kin, where their arguments are not those of `nn.functional`."""

import numpy as np
import pytest
import torch

import neurarust_jax as nr
import neurarust_jax.nn.functional as F
from neurarust_jax.ops import layer_forms
from tests.oracle import check, check_both_raise

G = np.random.default_rng(0)


def normal(*shape):
    return G.standard_normal(shape).astype(np.float32)


X, Y, Z = normal(4, 6), normal(4, 6), normal(4, 6)
SIGNS = np.sign(normal(4)).astype(np.float32)
IMAGE = normal(2, 4, 7, 8)


def compare(name, *arguments, **options):
    """`name` at the top level of either library."""
    check(getattr(nr, name), getattr(torch, name), *arguments, compiled=False, **options)


def test_names_are_pytorchs_and_the_same_functions_where_they_agree():
    assert not [name for name in layer_forms.__all__ if not hasattr(torch, name)]
    for name in ("conv2d", "conv_transpose1d", "avg_pool1d", "prelu", "relu", "selu", "celu", "cosine_similarity", "pixel_shuffle", "rms_norm", "threshold"):
        assert getattr(nr, name) is getattr(F, name)


@pytest.mark.parametrize("reduction", [0, 1, 2])
def test_losses_take_their_reduction_as_a_number(reduction):
    P, Q = np.abs(X) + 0.1, np.abs(Y) + 0.1
    compare("binary_cross_entropy_with_logits", X, (Y > 0).astype(np.float32), np.abs(Z), np.abs(Z[0]), reduction, grad=False)
    compare("cosine_embedding_loss", X, Y, SIGNS, 0.1, reduction)
    compare("hinge_embedding_loss", X[:, 0], SIGNS, 0.5, reduction)
    compare("kl_div", X, P, reduction)
    compare("kl_div", X, Y, reduction, log_target=True)
    compare("margin_ranking_loss", X[:, 0], Y[:, 0], SIGNS, 0.2, reduction)
    compare("poisson_nll_loss", X, Q, True, True, 1e-6, reduction)
    compare("triplet_margin_loss", X, Y, Z, 0.5, 2, 1e-6, True, reduction)
    for library in (nr, torch):
        with pytest.raises(TypeError):
            library.kl_div(library.ones(2), library.ones(2), "mean")


def test_ctc_loss_takes_its_reduction_as_a_number():
    logits = normal(8, 3, 5)
    targets, lengths = G.integers(1, 5, (3, 3)), ([8, 7, 6], [3, 2, 1])
    for reduction in (0, 1, 2):
        check(
            lambda x: nr.ctc_loss(x.log_softmax(2), nr.tensor(targets), *lengths, 0, reduction),  # noqa: B023
            lambda x: torch.ctc_loss(x.log_softmax(2), torch.tensor(targets), *lengths, 0, reduction),  # noqa: B023
            logits, compiled=False, rtol=1e-4, atol=1e-5,
        )  # fmt: skip


def test_normalizations_take_weights_before_statistics():
    weight, bias, mean, var = normal(4), normal(4), normal(4), np.abs(normal(4)) + 1
    for training in (False, True):
        for name in ("batch_norm", "instance_norm"):
            compare(name, IMAGE, weight, bias, None if training else mean, None if training else var, training, 0.1, 1e-5, False, rtol=1e-4, atol=1e-4, grad=training)
    compare("layer_norm", IMAGE, (7, 8), normal(7, 8), normal(7, 8), 1e-5, True, rtol=1e-4, atol=1e-4)
    compare("group_norm", IMAGE, 2, weight, bias, 1e-5, False, rtol=1e-4, atol=1e-4)


def test_batch_norm_updates_running_statistics():
    ours, theirs = [nr.nn.Buffer(nr.zeros(4)), nr.nn.Buffer(nr.ones(4))], [torch.zeros(4), torch.ones(4)]
    nr.batch_norm(nr.tensor(IMAGE), None, None, *ours, True, 0.1, 1e-5, False)
    torch.batch_norm(torch.tensor(IMAGE), None, None, *theirs, True, 0.1, 1e-5, False)
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("transposed", [False, True], ids=["direct", "transposed"])
def test_convolution_over_any_number_of_dimensions(transposed):
    for n in (1, 2, 3):
        x, weight = normal(2, 4, *(6, 5, 4)[:n]), normal(4, 2, *(3, 2, 2)[:n])
        bias = normal(4)
        extra = (1,) if transposed else (0,)
        compare("convolution", x, weight, bias, (2,), (1,) * n, (1,), transposed, extra, 2, rtol=1e-4, atol=1e-4)
    check_both_raise(
        lambda x, w: nr.convolution(x, w, None, (1,), (0,), (1,), False, (0,), 1),
        lambda x, w: torch.convolution(x, w, None, (1,), (0,), (1,), False, (0,), 1), normal(4, 6), normal(2, 4, 3),
    )  # fmt: skip


def test_pooling_and_padding():
    compare("adaptive_max_pool1d", normal(2, 3, 8), 3)
    compare("max_pool1d_with_indices", normal(2, 3, 8), 3, 2)
    compare("max_pool1d", normal(2, 3, 8), 3, 2, 1)
    compare("constant_pad_nd", X, (1, 2, 0, -1), 1.5)
    compare("constant_pad_nd", X, (1, 1))


def test_look_up_tables_come_first():
    table, places = normal(5, 3), np.array([[0, 4], [4, 2]])
    for options in ({}, {"padding_idx": 4}, {"scale_grad_by_freq": True}):
        compare("embedding", table, places, **options)
    ours, theirs = nr.nn.Parameter(nr.tensor(table) * 5), torch.tensor(table) * 5
    with nr.no_grad():
        assert nr.embedding_renorm_(ours, nr.tensor(places), 1.0, 2.0) is ours
    np.testing.assert_allclose(ours.detach().numpy(), torch.embedding_renorm_(theirs, torch.tensor(places).flatten(), 1.0, 2.0).numpy(), rtol=1e-5)
    with pytest.raises(RuntimeError, match="leaf Variable"):
        nr.embedding_renorm_(ours, nr.tensor(places), 1.0, 2.0)
    with pytest.raises(RuntimeError, match="Write instead"):
        nr.embedding_renorm_(nr.tensor(table), nr.tensor(places), 1.0, 2.0)


def test_dropout_takes_all_arguments():
    x = nr.ones(1000)
    assert nr.dropout(x, 0.5, False) is x and 300 < (nr.dropout(x, 0.5, True) == 0).sum().item() < 700
    for library in (nr, torch):
        with pytest.raises(TypeError):
            library.dropout(library.ones(2), 0.5)
    for name in ("feature_dropout", "feature_alpha_dropout", "alpha_dropout"):
        y = nr.ones(20, 30, 2, 2, 2)
        assert getattr(nr, name)(y, 0.5, False) is y
        dropped = getattr(nr, name)(y, 0.5, True)
        assert dropped.shape == y.shape and dropped.unique().numel() == 2
        whole = (dropped.flatten(2) == dropped.flatten(2)[..., :1]).all()
        assert bool(whole) is name.startswith("feature")
    for library in (nr, torch):
        with pytest.raises(RuntimeError):
            library.feature_dropout(library.ones(3), 0.5, True)
    cell = nr.nn.Buffer(x)
    assert nr.dropout_(cell, 1.0, True) is cell and not cell.any()
    for name in ("relu_", "celu_", "selu_", "threshold_", "rrelu_", "dropout_", "alpha_dropout_", "feature_dropout_", "feature_alpha_dropout_"):
        with pytest.raises(RuntimeError, match="Write instead"):
            getattr(nr, name)(x)
