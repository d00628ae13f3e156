"""Losses of `nn.functional` against PyTorch, every argument."""

import numpy as np
import pytest
import torch
import torch.nn.functional as TF

import neurarust_jax as nr
import neurarust_jax.nn.functional as F
from tests.oracle import assert_same, check, check_both_raise

G = np.random.default_rng(0)


def normal(*shape):
    return G.standard_normal(shape).astype(np.float32)


def uniform(*shape):
    return G.random(shape).astype(np.float32)


def signs(*shape):
    return np.where(G.random(shape) < 0.5, -1, 1).astype(np.float32)


def both(name, **options):
    """The function of that name in either library, with fixed options; arrays among them become tensors."""

    def call(library, tensor):
        fixed = {k: tensor(v) if isinstance(v, np.ndarray) else v for k, v in options.items()}
        return lambda *arguments: getattr(library, name)(*arguments, **fixed)

    return call(F, nr.tensor), call(TF, torch.tensor)


REDUCTIONS = ["mean", "sum", "none"]
each_reduction = pytest.mark.parametrize("reduction", REDUCTIONS)
TARGETS = G.integers(0, 5, 6)
WEIGHT = np.abs(normal(5))


# --- classes -------------------------------------------------------------------------------------------------------


@each_reduction
@pytest.mark.parametrize("options", [{}, {"weight": WEIGHT}, {"ignore_index": 2}, {"label_smoothing": 0.2}, {"weight": WEIGHT, "ignore_index": 1, "label_smoothing": 0.1}], ids=str)
@pytest.mark.parametrize("shape", ["NC", "NCd", "C"])
def test_cross_entropy_of_classes(shape, options, reduction):
    x, t = {"NC": (normal(6, 5), TARGETS), "NCd": (normal(6, 5, 2, 3), G.integers(0, 5, (6, 2, 3))), "C": (normal(5), np.array(3))}[shape]
    check(*both("cross_entropy", reduction=reduction, **options), x, t)


@each_reduction
@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_cross_entropy_of_probabilities(reduction, smoothing):
    p = np.abs(normal(6, 5, 2))
    p /= p.sum(1, keepdims=True)
    check(*both("cross_entropy", reduction=reduction, label_smoothing=smoothing), normal(6, 5, 2), p)
    check(*both("cross_entropy", reduction=reduction, label_smoothing=smoothing, weight=WEIGHT), normal(6, 5, 2), p)


def test_cross_entropy_where_all_are_ignored_is_nan_as_in_pytorch():
    check(F.cross_entropy, TF.cross_entropy, normal(2, 3), np.array([-100, -100]), grad=False)
    check(*both("cross_entropy", reduction="sum"), normal(2, 3), np.array([-100, -100]))


@each_reduction
@pytest.mark.parametrize("ignore", [-100, 2])
def test_nll_loss(reduction, ignore):
    check(*both("nll_loss", reduction=reduction, ignore_index=ignore, weight=WEIGHT), normal(6, 5), TARGETS)
    check(*both("nll_loss", reduction=reduction, ignore_index=ignore), normal(6, 5, 3, 2), G.integers(0, 5, (6, 3, 2)))


def test_nll_loss_of_impossible_classes_ignores_what_is_ignored():
    logs = np.array([[-0.7, -0.7, -np.inf], [-np.inf, -0.7, -0.7]], np.float32)
    check(*both("nll_loss", reduction="sum"), logs, np.array([0, -100]))


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_linear_cross_entropy(bias, reduction):
    x, w, b = normal(7, 4), normal(6, 4), normal(6)
    t = G.integers(0, 6, 7)
    t[2] = -100
    options = {"linear_bias": b} if bias else {}
    check(*both("linear_cross_entropy", reduction=reduction, weight=np.abs(normal(6)), **options), x, w, t)
    check(*both("linear_cross_entropy", reduction=reduction, **options), x[0], w, t[0])
    check(*both("linear_cross_entropy", reduction=reduction), x, normal(6, 3, 4), G.integers(0, 6, (7, 3)))


@each_reduction
@pytest.mark.parametrize("size", [1, 3, 7, 20])
def test_linear_cross_entropy_in_pieces_is_that_of_the_whole(size, reduction):
    x, w, t = normal(7, 4), normal(6, 4), G.integers(0, 6, 7)
    options = nr.nn.LinearCrossEntropyOptions(batch_chunk_size=size)
    ours = lambda a, b, c: F.linear_cross_entropy(a, b, c, reduction=reduction, options=options)  # noqa: E731
    check(ours, both("linear_cross_entropy", reduction=reduction)[1], x, w, t)


@pytest.mark.parametrize("method", ["auto", "aspect_ratio", "aspect_ratio:4", None])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_linear_cross_entropy_takes_pieces_of_pytorchs_size(method, dtype):
    for rows, features, classes in ((64, 8, 100), (5, 7, 3), (1, 4, 9)):
        theirs = torch.nn.LinearCrossEntropyOptions(chunking_method=method)._adjust(rows, features, classes, getattr(torch, dtype), torch.device("cpu"))
        ours = nr.nn.LinearCrossEntropyOptions(chunking_method=method).rows_at_once(rows, features, classes, dtype == "bfloat16")
        assert ours == theirs.batch_chunk_size


def test_linear_cross_entropy_options_are_checked():
    for bad in ({"batch_chunk_size": 0}, {"chunking_method": "half"}, {"chunking_method": "aspect_ratio:0"}, {"acc_policy": "fast"}):
        for library in (nr.nn, torch.nn):
            with pytest.raises(ValueError):
                library.LinearCrossEntropyOptions(**bad)
    with pytest.warns(UserWarning, match="options.* ignored"):
        F.linear_cross_entropy(nr.ones(2, 3), nr.ones(4, 3), nr.tensor([0, 1]), label_smoothing=0.1, options=nr.nn.LinearCrossEntropyOptions())
    with pytest.raises(ValueError, match="pass only one"):
        F.linear_cross_entropy(
            nr.ones(64, 8), nr.ones(100, 8), nr.zeros(64, dtype=nr.int64), options=nr.nn.LinearCrossEntropyOptions(batch_chunk_size=5, chunking_method="aspect_ratio")
        )


# --- regression ----------------------------------------------------------------------------------------------------


@each_reduction
@pytest.mark.parametrize("name", ["l1_loss", "mse_loss", "smooth_l1_loss", "huber_loss"])
def test_losses_of_differences(name, reduction):
    x = np.array([0.0, 0.5, 1.0, 3.0, -2.0], np.float32)
    check(*both(name, reduction=reduction), x, np.zeros(5, np.float32))
    check(*both(name, reduction=reduction), normal(0, 4), normal(0, 4))
    if name != "smooth_l1_loss":
        check(*both(name, reduction=reduction, weight=np.abs(normal(3, 4))), normal(3, 4), normal(3, 4))
    if name == "smooth_l1_loss":
        check(*both(name, reduction=reduction, beta=0.5), x, np.zeros(5, np.float32))
        check(*both(name, reduction=reduction, beta=0.0), x, np.zeros(5, np.float32))
    if name == "huber_loss":
        check(*both(name, reduction=reduction, delta=0.5), x, np.zeros(5, np.float32))


def test_l1_loss_of_complex_numbers():
    x = (normal(4) + 1j * normal(4)).astype(np.complex64)
    check(F.l1_loss, TF.l1_loss, x, np.conj(x))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_adds_up_in_single_precision(dtype):
    n = 20_000
    assert F.mse_loss(nr.ones(n, dtype=getattr(nr, dtype)), nr.zeros(n, dtype=getattr(nr, dtype))).item() == 1


# --- two classes, likelihoods, divergence --------------------------------------------------------------------------


@each_reduction
def test_binary_cross_entropy(reduction):
    p, t = uniform(3, 4), uniform(3, 4)
    check(*both("binary_cross_entropy", reduction=reduction), p, t)
    check(*both("binary_cross_entropy", reduction=reduction, weight=uniform(4)), p, t)
    ours, theirs = both("binary_cross_entropy", reduction=reduction)  # logarithms are held above -100, and so is the gradient
    ends, labels = np.array([0.0, 1.0, 0.0, 1.0], np.float32), np.array([1.0, 0.0, 0.0, 1.0], np.float32)
    check(lambda a: ours(a, nr.tensor(labels)), lambda a: theirs(a, torch.tensor(labels)), ends)


@each_reduction
def test_binary_cross_entropy_with_logits(reduction):
    x, t = normal(3, 4) * 30, uniform(3, 4)
    check(*both("binary_cross_entropy_with_logits", reduction=reduction), x, t)
    check(*both("binary_cross_entropy_with_logits", reduction=reduction, weight=uniform(3, 1), pos_weight=uniform(4) * 3), x, t)


@each_reduction
def test_likelihoods(reduction):
    for log_input in (True, False):
        for full in (True, False):
            check(*both("poisson_nll_loss", reduction=reduction, log_input=log_input, full=full), uniform(6) * 2, uniform(6) * 5 + 0.1)
    var = uniform(3, 4)
    var[0, 0] = 0  # held above eps, and the gradient goes through
    for full in (True, False):
        check(*both("gaussian_nll_loss", reduction=reduction, full=full), normal(3, 4), normal(3, 4), var)
    for shape in ((3, 1), (3,)):
        check(*both("gaussian_nll_loss", reduction=reduction, eps=0.1), normal(3, 4), normal(3, 4), uniform(*shape))
    check(lambda a, b: F.gaussian_nll_loss(a, b, 0.5, reduction=reduction), lambda a, b: TF.gaussian_nll_loss(a, b, 0.5, reduction=reduction), normal(3), normal(3))


@pytest.mark.parametrize("reduction", ["sum", "none", "batchmean"])
@pytest.mark.parametrize("log_target", [False, True])
def test_kl_div(reduction, log_target):
    p, q = uniform(3, 4), uniform(3, 4)
    check(*both("kl_div", reduction=reduction, log_target=log_target), np.log(q), np.log(p) if log_target else p)
    if not log_target:
        p[0] = 0
        check(*both("kl_div", reduction=reduction), np.log(q), p, grad=False)


def test_kl_div_warns_of_its_mean_and_averages_over_all():
    x, t = np.log(uniform(3, 4)), uniform(3, 4)
    with pytest.warns(UserWarning, match="batchmean"):
        ours = F.kl_div(nr.tensor(x), nr.tensor(t))
    with pytest.warns(UserWarning, match="batchmean"):
        assert_same(ours, TF.kl_div(torch.tensor(x), torch.tensor(t)))


# --- margins -------------------------------------------------------------------------------------------------------


@each_reduction
def test_losses_of_scores_with_signs(reduction):
    labels = signs(3, 4)
    ours, theirs = both("soft_margin_loss", reduction=reduction)
    check(lambda a: ours(a, nr.tensor(labels)), lambda a: theirs(a, torch.tensor(labels)), normal(3, 4))
    check(*both("hinge_embedding_loss", reduction=reduction, margin=0.7), normal(3, 4), signs(3, 4))
    target = signs(5)
    ours, theirs = both("margin_ranking_loss", reduction=reduction, margin=0.3)
    check(lambda a, b: ours(a, b, nr.tensor(target)), lambda a, b: theirs(a, b, torch.tensor(target)), normal(5), normal(5))
    zero = np.zeros(3, np.float32)  # at the edge of the margin the gradient is PyTorch's
    check(*both("margin_ranking_loss", reduction=reduction), zero, zero, np.ones(3, np.float32))


@each_reduction
@pytest.mark.parametrize("p", [1, 2])
def test_multi_margin_loss(reduction, p):
    check(*both("multi_margin_loss", reduction=reduction, p=p, margin=0.5, weight=WEIGHT), normal(6, 5), TARGETS)
    check(*both("multi_margin_loss", reduction=reduction, p=p), normal(5), np.array(3))
    check(*both("multi_margin_loss", reduction=reduction, p=p), normal(5), np.array([3]))


@each_reduction
def test_losses_of_labels(reduction):
    labels = np.array([[3, 0, -1, 1], [-1, 2, 2, 2], [1, 2, 0, 3], [2, 2, -1, 0]])
    check(*both("multilabel_margin_loss", reduction=reduction), normal(4, 4), labels)
    check(*both("multilabel_margin_loss", reduction=reduction), normal(4), labels[0])
    check(*both("multilabel_soft_margin_loss", reduction=reduction, weight=uniform(4)), normal(3, 4), (uniform(3, 4) > 0.5).astype(np.float32))


@each_reduction
def test_losses_of_embeddings(reduction):
    a, b, c = normal(5, 4), normal(5, 4), normal(5, 4)
    check(*both("triplet_margin_loss", reduction=reduction, swap=True, p=1, margin=0.4), a, b, c)
    check(*both("triplet_margin_loss", reduction=reduction), a[0], b[0], c[0])
    check(*both("triplet_margin_with_distance_loss", reduction=reduction, swap=True), a, b, c)
    ours = lambda *x: F.triplet_margin_with_distance_loss(*x, distance_function=lambda u, v: (u - v).abs().amax(-1), reduction=reduction)  # noqa: E731
    theirs = lambda *x: TF.triplet_margin_with_distance_loss(*x, distance_function=lambda u, v: (u - v).abs().amax(-1), reduction=reduction)  # noqa: E731
    check(ours, theirs, a, b, c)
    check(*both("cosine_embedding_loss", reduction=reduction, margin=0.1), a, b, signs(5).astype(np.int64))
    check(*both("cosine_embedding_loss", reduction=reduction), a[0], b[0], np.array(-1))


# --- sequences -----------------------------------------------------------------------------------------------------

LOG_PROBS = torch.tensor(normal(12, 3, 6)).log_softmax(2).numpy()
LABELS = G.integers(1, 6, (3, 5))
LENGTHS = np.array([12, 10, 11]), np.array([5, 0, 3])


@each_reduction
@pytest.mark.parametrize("zero_infinity", [False, True])
def test_ctc_loss_of_padded_and_joined_targets(reduction, zero_infinity):
    options = {"reduction": reduction, "zero_infinity": zero_infinity}
    joined = np.concatenate([row[:n] for row, n in zip(LABELS, LENGTHS[1], strict=True)])
    for targets in (LABELS, joined):
        ours = lambda x, t=targets: F.ctc_loss(x, nr.tensor(t), *map(nr.tensor, LENGTHS), **options)  # noqa: E731
        theirs = lambda x, t=targets: TF.ctc_loss(x, torch.tensor(t), *map(torch.tensor, LENGTHS), **options)  # noqa: E731
        check(ours, theirs, LOG_PROBS, rtol=1e-4, atol=1e-5)


def test_ctc_loss_without_a_batch_with_another_blank_and_lengths_as_tuples():
    ours = lambda x: F.ctc_loss(x, nr.tensor(LABELS[0] - 1), (12,), (5,), blank=5, reduction="none")  # noqa: E731
    theirs = lambda x: TF.ctc_loss(x, torch.tensor(LABELS[0] - 1), (12,), (5,), blank=5, reduction="none")  # noqa: E731
    check(ours, theirs, LOG_PROBS[:, 0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("reduction", ["sum", "none"])
def test_ctc_loss_of_targets_that_do_not_fit_is_infinite_or_counts_nothing(reduction):
    lengths = np.array([4, 12, 0]), np.array([5, 5, 2])
    for zero_infinity in (False, True):
        options = {"reduction": reduction, "zero_infinity": zero_infinity}
        ours = lambda x, o=options: F.ctc_loss(x, nr.tensor(LABELS), *map(nr.tensor, lengths), **o)  # noqa: E731
        theirs = lambda x, o=options: TF.ctc_loss(x, torch.tensor(LABELS), *map(torch.tensor, lengths), **o)  # noqa: E731
        check(ours, theirs, LOG_PROBS, grad=zero_infinity, rtol=1e-4, atol=1e-5)


def test_ctc_loss_compiles_with_traced_lengths():
    args = nr.tensor(LOG_PROBS), nr.tensor(LABELS.reshape(-1)), nr.tensor([12, 12, 12]), nr.tensor([5, 5, 5])
    np.testing.assert_allclose(nr.jit(F.ctc_loss)(*args).item(), F.ctc_loss(*args).item(), rtol=1e-6)


# --- errors and warnings -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "arguments", "options"),
    [
        ("cross_entropy", (normal(2, 3), np.array([0, 5])), {}),
        ("cross_entropy", (normal(6, 5), np.zeros(4, np.int64)), {}),
        ("cross_entropy", (normal(6, 5, 3), np.zeros((6, 2), np.int64)), {}),
        ("cross_entropy", (normal(6, 5), normal(6)), {}),
        ("cross_entropy", (normal(6, 5), np.zeros((6, 5), np.int64)), {}),
        ("cross_entropy", (normal(6, 5), TARGETS), {"label_smoothing": 1.5}),
        ("nll_loss", (normal(6, 5), TARGETS, normal(4)), {}),
        ("mse_loss", (normal(3), normal(3)), {"reduction": "avg"}),
        ("smooth_l1_loss", (normal(3), normal(3)), {"beta": -1.0}),
        ("huber_loss", (normal(3), normal(3)), {"delta": 0.0}),
        ("binary_cross_entropy", (normal(3) + 5, uniform(3)), {}),
        ("binary_cross_entropy", (uniform(3), uniform(2)), {}),
        ("binary_cross_entropy_with_logits", (uniform(3), uniform(2)), {}),
        ("gaussian_nll_loss", (normal(3), normal(3), -uniform(3)), {}),
        ("gaussian_nll_loss", (normal(3, 4), normal(3, 4), uniform(2)), {}),
        ("multi_margin_loss", (normal(2, 3), np.array([0, 3])), {}),
        ("multi_margin_loss", (normal(2, 3), np.array([0, 1])), {"p": 3}),
        ("multilabel_margin_loss", (normal(2, 3), np.array([[0, 1, 4], [0, 1, -1]])), {}),
        ("triplet_margin_loss", (normal(2, 3), normal(3), normal(2, 3)), {}),
        ("triplet_margin_loss", (normal(3), normal(3), normal(3)), {"margin": 0}),
        ("cosine_embedding_loss", (normal(2, 3), normal(2, 3), signs(2, 3)), {}),
        ("margin_ranking_loss", (normal(2, 3), normal(2), signs(2)), {}),
        ("ctc_loss", (LOG_PROBS, LABELS, np.array([13, 12, 12]), np.array([5, 5, 5])), {}),
        ("ctc_loss", (LOG_PROBS, LABELS, np.array([12, 12]), np.array([5, 5, 5])), {}),
        ("ctc_loss", (LOG_PROBS, LABELS, np.array([12, 12, 12]), np.array([5, 5, 5])), {"blank": 6}),
    ],
)  # fmt: skip
def test_both_refuse(name, arguments, options):
    check_both_raise(getattr(F, name), getattr(TF, name), *arguments, **options)


def test_losses_explain_bad_input():
    with pytest.raises(ValueError, match=r"Expected target of shape \(6,\) for input of shape \(6, 5\).*got target of shape \(4,\)"):
        F.cross_entropy(nr.zeros(6, 5), nr.zeros(4, dtype=nr.int64))
    with pytest.raises(IndexError, match=r"Target 7 is out of bounds: cross_entropy got 5 classes"):
        F.cross_entropy(nr.zeros(2, 5), nr.tensor([1, 7]))
    with pytest.raises(RuntimeError, match=r"target\.long\(\)"):
        F.cross_entropy(nr.zeros(2, 5), nr.zeros(2))
    with pytest.raises(ValueError, match="not a valid value for reduction"):
        F.mse_loss(nr.zeros(2), nr.zeros(2), reduction="avg")


@pytest.mark.parametrize("name", ["l1_loss", "mse_loss", "smooth_l1_loss", "huber_loss"])
def test_shapes_that_differ_broadcast_with_a_warning(name):
    x, y = normal(2, 1), normal(3)
    with pytest.warns(UserWarning, match="different to the input size"):
        ours = getattr(F, name)(nr.tensor(x), nr.tensor(y), reduction="none")
    with pytest.warns(UserWarning, match="different to the input size"):
        assert_same(ours, getattr(TF, name)(torch.tensor(x), torch.tensor(y), reduction="none"))


@pytest.mark.parametrize(("old", "new"), [((False, None), "sum"), ((None, False), "none"), ((True, True), "mean"), ((False, False), "none")])
def test_the_old_arguments_say_the_reduction_with_a_warning(old, new):
    x, y = nr.tensor(normal(3)), nr.tensor(normal(3))
    with pytest.warns(UserWarning, match=f"reduction='{new}'"):
        found = F.mse_loss(x, y, *old)
    np.testing.assert_array_equal(np.asarray(found), np.asarray(F.mse_loss(x, y, reduction=new)))
    with pytest.warns(UserWarning, match=f"reduction='{new}'"):
        assert nr.nn.MSELoss(*old).reduction == new
    with pytest.warns(FutureWarning, match="NLLLoss2d"):
        nr.nn.NLLLoss2d()
