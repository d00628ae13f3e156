"""Functions of `nn.functional` against PyTorch, every argument."""

import numpy as np
import pytest
import torch
import torch.nn.functional as TF

import neurarust_jax as nr
import neurarust_jax.nn.functional as F
from tests.oracle import check, check_both_raise

G = np.random.default_rng(0)


def normal(*shape):
    return G.standard_normal(shape).astype(np.float32)


TARGETS = G.integers(0, 5, 6)
WEIGHT = np.abs(normal(5))


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("options", [{}, {"weight": WEIGHT}, {"ignore_index": 2}, {"label_smoothing": 0.2}, {"weight": WEIGHT, "ignore_index": 1, "label_smoothing": 0.1}], ids=str)
@pytest.mark.parametrize("shape", ["NC", "NCd", "C"])
def test_cross_entropy_of_classes(shape, options, reduction):
    x, t = {"NC": (normal(6, 5), TARGETS), "NCd": (normal(6, 5, 2, 3), G.integers(0, 5, (6, 2, 3))), "C": (normal(5), np.array(3))}[shape]
    options = dict(options)
    weight = options.pop("weight", None)
    ours = lambda a, b, w=None: F.cross_entropy(a, b, w, reduction=reduction, **options)  # noqa: E731
    theirs = lambda a, b, w=None: TF.cross_entropy(a, b, w, reduction=reduction, **options)  # noqa: E731
    if weight is None:
        check(ours, theirs, x, t)
    else:  # PyTorch gives the class weights no gradient
        check(lambda a: ours(a, nr.tensor(t), nr.tensor(weight)), lambda a: theirs(a, torch.tensor(t), torch.tensor(weight)), x)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_cross_entropy_of_probabilities(reduction, smoothing):
    p = np.abs(normal(6, 5, 2))
    p /= p.sum(1, keepdims=True)
    options = {"reduction": reduction, "label_smoothing": smoothing}
    check(lambda a, b: F.cross_entropy(a, b, **options), lambda a, b: TF.cross_entropy(a, b, **options), normal(6, 5, 2), p)
    check(
        lambda a: F.cross_entropy(a, nr.tensor(p), nr.tensor(WEIGHT), **options), lambda a: TF.cross_entropy(a, torch.tensor(p), torch.tensor(WEIGHT), **options), normal(6, 5, 2)
    )


def test_cross_entropy_where_all_are_ignored_is_nan_as_in_pytorch():
    check(F.cross_entropy, TF.cross_entropy, normal(2, 3), np.array([-100, -100]), grad=False)
    check(lambda a, b: F.cross_entropy(a, b, reduction="sum"), lambda a, b: TF.cross_entropy(a, b, reduction="sum"), normal(2, 3), np.array([-100, -100]))


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("ignore", [-100, 2])
def test_nll_loss(reduction, ignore):
    options = {"reduction": reduction, "ignore_index": ignore}
    check(lambda a, b: F.nll_loss(a, b, **options), lambda a, b: TF.nll_loss(a, b, **options), normal(6, 5), TARGETS)
    check(lambda a, b: F.nll_loss(a, b, **options), lambda a, b: TF.nll_loss(a, b, **options), normal(6, 5, 3, 2), G.integers(0, 5, (6, 3, 2)))


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_mse_loss(reduction):
    check(lambda a, b: F.mse_loss(a, b, reduction=reduction), lambda a, b: TF.mse_loss(a, b, reduction=reduction), normal(3, 4), normal(3, 4))
    check(lambda a, b: F.mse_loss(a, b, reduction=reduction), lambda a, b: TF.mse_loss(a, b, reduction=reduction), normal(0, 4), normal(0, 4))


def test_losses_explain_bad_input():
    with pytest.raises(RuntimeError, match=r"Expected target of shape \(6,\) for input of shape \(6, 5\).*got target of shape \(4,\)"):
        F.cross_entropy(nr.zeros(6, 5), nr.zeros(4, dtype=nr.int64))
    with pytest.raises(IndexError, match=r"Target 7 is out of bounds: cross_entropy got 5 classes"):
        F.cross_entropy(nr.zeros(2, 5), nr.tensor([1, 7]))
    with pytest.raises(RuntimeError, match=r"target\.long\(\)"):
        F.cross_entropy(nr.zeros(2, 5), nr.zeros(2))
    with pytest.raises(ValueError, match="not a valid value for reduction"):
        F.mse_loss(nr.zeros(2), nr.zeros(2), reduction="avg")
    with pytest.warns(UserWarning, match="different to the input size"):
        F.mse_loss(nr.zeros(2, 1), nr.zeros(2))
    with pytest.warns(DeprecationWarning, match="reduction="):
        assert F.mse_loss(nr.ones(2), nr.zeros(2), size_average=False).item() == 2


Q, K, V = normal(2, 4, 5, 8), normal(2, 4, 6, 8), normal(2, 4, 6, 3)


@pytest.mark.parametrize(
    "mask",
    [None, G.random((5, 6)) > 0.4, (G.random((2, 1, 5, 6)) > 0.3), normal(5, 6), normal(2, 4, 5, 6)],
    ids=["none", "bool", "bool-batch", "float", "float-batch"],
)
@pytest.mark.parametrize("scale", [None, 0.3])
def test_attention_with_masks(mask, scale):
    if mask is None or mask.dtype == bool:
        m, n = (None, None) if mask is None else (nr.tensor(mask), torch.tensor(mask))
        check(
            lambda q, k, v: F.scaled_dot_product_attention(q, k, v, m, scale=scale), lambda q, k, v: TF.scaled_dot_product_attention(q, k, v, n, scale=scale), Q, K, V
        )
    else:
        check(
            lambda q, k, v, a: F.scaled_dot_product_attention(q, k, v, a, scale=scale),
            lambda q, k, v, a: TF.scaled_dot_product_attention(q, k, v, a, scale=scale),
            Q, K, V, mask,
        )  # fmt: skip


def test_attention_causal_grouped_and_without_heads():
    check(lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True), lambda q, k, v: TF.scaled_dot_product_attention(q, k, v, is_causal=True), Q, K, V)
    check(
        lambda q, k, v: F.scaled_dot_product_attention(q, k, v, enable_gqa=True),
        lambda q, k, v: TF.scaled_dot_product_attention(q, k, v, enable_gqa=True),
        Q, K[:, :2], V[:, :2],
    )  # fmt: skip
    check(F.scaled_dot_product_attention, TF.scaled_dot_product_attention, Q[0, 0], K[0, 0], V[0, 0])
    masked = np.zeros((5, 6), bool)
    check(
        lambda q, k, v: F.scaled_dot_product_attention(q, k, v, nr.tensor(masked)), lambda q, k, v: TF.scaled_dot_product_attention(q, k, v, torch.tensor(masked)), Q, K, V, grad=False
    )


def test_attention_dropout_keeps_the_mean():
    v = nr.ones(2, 4, 6, 3)
    out = nr.stack([F.scaled_dot_product_attention(nr.tensor(Q), nr.tensor(K), v, dropout_p=0.5) for _ in range(40)])
    assert abs(out.mean().item() - 1) < 0.05 and out.std().item() > 0.1


def test_attention_explains_bad_input():
    q, k, v = nr.tensor(Q), nr.tensor(K), nr.tensor(V)
    with pytest.raises(RuntimeError, match=r"query \(\.\.\., L, E\).*\(2, 4, 6, 3\)"):
        F.scaled_dot_product_attention(q, v, v)
    with pytest.raises(RuntimeError, match="enable_gqa=True"):
        F.scaled_dot_product_attention(q, k[:, :2], v[:, :2])
    with pytest.raises((RuntimeError, ValueError), match="is_causal=True"):
        F.scaled_dot_product_attention(q, k, v, nr.ones(5, 6), is_causal=True)


def test_embedding_out_of_range_and_max_norm():
    table = nr.nn.Parameter(nr.tensor(normal(4, 3) * 10))
    with pytest.raises(IndexError, match=r"embedding\(\): index 4 is out of bounds for dimension 0 with size 4; valid are 0 to 3"):
        F.embedding(nr.tensor([1, 4]), table)
    with pytest.raises(IndexError, match="index -1 is out of bounds"):
        F.embedding(nr.tensor([-1]), table)
    with pytest.raises(RuntimeError, match=r"\.long\(\)"):
        F.embedding(nr.tensor([1.0]), table)
    theirs = torch.tensor(table.detach().numpy().copy())
    F.embedding(nr.tensor([0, 2]), table, max_norm=1.0)
    TF.embedding(torch.tensor([0, 2]), theirs, max_norm=1.0)
    np.testing.assert_allclose(table.detach().numpy(), theirs.numpy(), rtol=1e-5)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: nr.nn.Linear(3, 2)(nr.ones(4, 5)), r"mat1 and mat2 shapes cannot be multiplied.*\(4, 5\) and \(2, 3\).*in_features=5.*\n.*Linear\(in_features=3"),
        (lambda: nr.nn.Linear(3, 2)(nr.ones(4, 3).double()), r"one dtype, got input float64, weight float32.*\.to\(nr\.float64\)"),
        (lambda: nr.nn.Conv2d(3, 2, 3)(nr.ones(1, 4, 8, 8)), r"to have 3 channels, but got 4"),
        (lambda: nr.nn.Conv2d(3, 2, 3)(nr.ones(3, 8)), r"Expected 3D \(unbatched\) or 4D \(batched\) input"),
        (lambda: nr.nn.Conv2d(3, 2, 5)(nr.ones(1, 3, 4, 4)), r"Kernel size can't be greater than actual input size"),
        (lambda: nr.nn.LayerNorm(3)(nr.ones(2, 4)), r"normalized_shape=\[3\], expected input with shape \[\*, 3\], but got input of size\[2, 4\]"),
        (lambda: nr.nn.BatchNorm2d(3)(nr.ones(2, 3, 4)), r"expected 4D input \(got 3D input\)"),
        (lambda: nr.nn.BatchNorm2d(3)(nr.ones(2, 4, 4, 4)), r"running_mean should contain 4 elements not 3"),
        (lambda: nr.nn.BatchNorm2d(3)(nr.ones(1, 3, 1, 1)), r"more than 1 value per channel when training.*model\.eval\(\)"),
        (lambda: nr.nn.MaxPool2d(2)(nr.ones(3, 4)), r"expected 3D or 4D input"),
        (lambda: nr.nn.Dropout(1.5), r"between 0 and 1, but got 1\.5"),
    ],
)
def test_layers_explain_bad_input(call, text):
    with pytest.raises((RuntimeError, ValueError), match=f"(?s){text}"):
        call()


def test_an_error_names_the_layers_path():
    class Block(nr.nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = [nr.nn.Linear(4, 4), nr.nn.Linear(3, 4)]

        def forward(self, x):
            return self.layers[1](self.layers[0](x))

    model = nr.nn.Sequential(nr.nn.ReLU(), Block())
    for run in (model, nr.jit(model)):
        with pytest.raises(RuntimeError, match=r"in layer '1\.layers\.1': Linear\(in_features=3, out_features=4, bias=True\)"):
            run(nr.ones(2, 4))


def test_errors_are_pytorchs_classes():
    check_both_raise(TFLinear(F), TFLinear(TF), normal(2, 3), normal(4, 5))
    check_both_raise(F.cross_entropy, TF.cross_entropy, normal(2, 3), np.array([0, 5]))
    check_both_raise(F.embedding, TF.embedding, np.array([9]), normal(2, 3))


class TFLinear:
    """The same call in either library."""

    def __init__(self, library):
        self.library = library

    def __call__(self, *arguments):
        return self.library.linear(*arguments)
