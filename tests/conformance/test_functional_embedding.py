"""Look-ups, bags and one-hot vectors of `nn.functional` against PyTorch, every argument."""

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


TABLE = normal(6, 3)
INDICES = np.array([[1, 2, 1], [5, 0, 2]])


def compare(name, arguments, *differentiated, **options):
    """Values, and gradients with respect to `differentiated`, which come after the first argument."""
    ours, theirs = [nr.tensor(a) if isinstance(a, np.ndarray) else a for a in arguments], [torch.tensor(a) if isinstance(a, np.ndarray) else a for a in arguments]
    check(
        lambda *x: getattr(F, name)(ours[0], *x, *ours[1:], **options), lambda *x: getattr(TF, name)(theirs[0], *x, *theirs[1:], **options), *differentiated
    )


@pytest.mark.parametrize("options", [{}, {"padding_idx": 1}, {"padding_idx": -1}, {"scale_grad_by_freq": True}, {"scale_grad_by_freq": True, "padding_idx": 2}], ids=str)
@pytest.mark.parametrize("indices", [INDICES, INDICES.astype(np.int32)[0], np.array(3), np.zeros((0, 2), np.int64)], ids=lambda x: str(x.shape))
def test_embedding(indices, options):
    compare("embedding", (indices,), TABLE, **options)


def test_embedding_explains_bad_input():
    table = nr.tensor(normal(4, 3))
    with pytest.raises(IndexError, match=r"embedding\(\): index 4 is out of bounds for dimension 0 with size 4; valid are 0 to 3"):
        F.embedding(nr.tensor([1, 4]), table)
    with pytest.raises(IndexError, match="index -1 is out of bounds"):
        F.embedding(nr.tensor([-1]), table)
    with pytest.raises(RuntimeError, match=r"\.long\(\)"):
        F.embedding(nr.tensor([1.0]), table)
    with pytest.raises(ValueError, match="got 4 for 4 rows"):
        F.embedding(nr.tensor([1]), table, padding_idx=4)


@pytest.mark.parametrize("norm_type", [2.0, 1.0])
def test_max_norm_shrinks_the_rows_in_the_table_also_when_compiled(norm_type):
    for run in (lambda f: f, nr.jit):
        table = nr.nn.Parameter(nr.tensor(TABLE * 5))
        theirs = torch.tensor(TABLE * 5, requires_grad=True)
        y = run(lambda i, t=table: F.embedding(i, t, max_norm=1.0, norm_type=norm_type))(nr.tensor([0, 2, 2]))
        w = TF.embedding(torch.tensor([0, 2, 2]), theirs, max_norm=1.0, norm_type=norm_type)
        np.testing.assert_allclose(y.detach().numpy(), w.detach().numpy(), rtol=1e-5)
        np.testing.assert_allclose(table.detach().numpy(), theirs.detach().numpy(), rtol=1e-5)
        if run is not nr.jit:
            y.sum().backward(), w.sum().backward()
            np.testing.assert_array_equal(table.grad.numpy(), theirs.grad.numpy())


def test_max_norm_of_a_plain_tensor_shrinks_what_is_looked_up():
    table = nr.tensor(TABLE * 5, requires_grad=True)
    y = F.embedding(nr.tensor(INDICES), table, max_norm=0.5)
    np.testing.assert_allclose(y.detach().norm(dim=-1).numpy(), np.full((2, 3), 0.5), rtol=1e-5)
    np.testing.assert_array_equal(table.detach().numpy(), TABLE * 5)
    y.sum().backward()
    assert table.grad[1].tolist() == [2, 2, 2]  # as if nothing had been shrunk, like PyTorch's


BAGS = [
    {"mode": "sum"}, {"mode": "mean"}, {"mode": "max"}, {"mode": "mean", "padding_idx": 1}, {"mode": "max", "padding_idx": 1}, {"mode": "sum", "padding_idx": -1},
]  # fmt: skip


@pytest.mark.parametrize("options", BAGS, ids=str)
def test_embedding_bag(options):
    compare("embedding_bag", (INDICES,), TABLE, **options)
    flat = np.array([1, 2, 1, 5, 0, 2, 1])
    compare("embedding_bag", (flat, np.array([0, 3, 3, 6])), TABLE, **options)
    compare("embedding_bag", (flat, np.array([0, 0, 3, 5, 7])), TABLE, include_last_offset=True, **options)
    compare("embedding_bag", (np.zeros((0,), np.int64), np.array([0, 0])), TABLE, **options)


@pytest.mark.parametrize("mode", ["sum", "mean"])
def test_embedding_bag_whose_gradients_are_divided_by_frequency(mode):
    # PyTorch divides by the frequency of another index where frequencies differ
    compare("embedding_bag", (np.array([[1, 2, 1], [0, 0, 2]]),), TABLE, mode=mode, scale_grad_by_freq=True)
    compare("embedding_bag", (np.array([1, 2, 1, 0, 0, 2]), np.array([0, 1, 5])), TABLE, mode=mode, scale_grad_by_freq=True)


def test_embedding_bag_with_weights_for_each_sample():
    for options in ({}, {"padding_idx": 2}):
        ours = lambda t, w, o=options: F.embedding_bag(nr.tensor(INDICES), t, mode="sum", per_sample_weights=w, **o)  # noqa: E731
        theirs = lambda t, w, o=options: TF.embedding_bag(torch.tensor(INDICES), t, mode="sum", per_sample_weights=w, **o)  # noqa: E731
        check(ours, theirs, TABLE, normal(2, 3))
        ours = lambda t, w, o=options: F.embedding_bag(nr.tensor(INDICES[0]), t, nr.tensor([0, 1]), mode="sum", per_sample_weights=w, **o)  # noqa: E731
        theirs = lambda t, w, o=options: TF.embedding_bag(torch.tensor(INDICES[0]), t, torch.tensor([0, 1]), mode="sum", per_sample_weights=w, **o)  # noqa: E731
        check(ours, theirs, TABLE, normal(3))


def test_embedding_bag_with_max_norm_and_traced_offsets():
    table, theirs = nr.nn.Parameter(nr.tensor(TABLE * 5)), torch.tensor(TABLE * 5)
    step = nr.jit(lambda i, o: F.embedding_bag(i, table, o, max_norm=1.0))
    y = step(nr.tensor([0, 2, 2]), nr.tensor([0, 1]))
    np.testing.assert_allclose(y.detach().numpy(), TF.embedding_bag(torch.tensor([0, 2, 2]), theirs, torch.tensor([0, 1]), max_norm=1.0).numpy(), rtol=1e-5)
    np.testing.assert_allclose(table.detach().numpy(), theirs.numpy(), rtol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        ((INDICES, TABLE, np.array([0])), {}),
        ((INDICES[0], TABLE), {}),
        ((INDICES[0], TABLE, np.array([1])), {}),
        ((INDICES[0], TABLE, np.array([0, 9])), {}),
        ((INDICES, TABLE), {"mode": "median"}),
        ((INDICES, TABLE), {"mode": "max", "scale_grad_by_freq": True}),
        ((INDICES, TABLE), {"mode": "max", "sparse": True}),
        ((INDICES, TABLE[0]), {}),
        ((INDICES[None], TABLE), {}),
    ],
)
def test_both_refuse(arguments, options):
    check_both_raise(F.embedding_bag, TF.embedding_bag, *arguments, **options)


def test_weights_for_each_sample_fit_the_input_and_the_mode():
    for library, tensor, i in ((F, nr.tensor, nr.tensor(INDICES)), (TF, torch.tensor, torch.tensor(INDICES))):
        with pytest.raises(ValueError, match="same shape as the input"):
            library.embedding_bag(i, tensor(TABLE), mode="sum", per_sample_weights=tensor(normal(3)))
        with pytest.raises((RuntimeError, NotImplementedError), match="mode='sum'"):
            library.embedding_bag(i, tensor(TABLE), per_sample_weights=tensor(normal(2, 3)))


def test_one_hot():
    for x in (np.array([[0, 2], [1, 1]]), np.array(3)):
        check(F.one_hot, TF.one_hot, x, compiled=False)
        check(lambda a: F.one_hot(a, 5), lambda a: TF.one_hot(a, 5), x)
    check(lambda a: F.one_hot(a, 5), lambda a: TF.one_hot(a, 5), np.zeros((2, 0), np.int64))
    for bad, options in ((np.array([1, -1]), {}), (np.array([1, 3]), {"num_classes": 2}), (np.zeros(0, np.int64), {}), (np.array([0.5]), {}), (np.array([1]), {"num_classes": 0})):
        check_both_raise(F.one_hot, TF.one_hot, bad, **options)
    with pytest.raises(RuntimeError, match=r"one_hot\(x, num_classes=n\)"):
        nr.jit(F.one_hot)(nr.tensor([1]))


def test_layers_over_given_tables():
    for name, indices in (("Embedding", INDICES), ("EmbeddingBag", INDICES)):
        ours, theirs = getattr(nr.nn, name).from_pretrained(nr.tensor(TABLE)), getattr(torch.nn, name).from_pretrained(torch.tensor(TABLE))
        np.testing.assert_allclose(ours(nr.tensor(indices)).numpy(), theirs(torch.tensor(indices)).numpy(), rtol=1e-5)
        assert not ours.weight.requires_grad and getattr(nr.nn, name).from_pretrained(nr.tensor(TABLE), freeze=False).weight.requires_grad
        with pytest.raises(ValueError, match="2-dimensional"):
            getattr(nr.nn, name).from_pretrained(nr.ones(3))
        assert (getattr(nr.nn, name)(4, 3, padding_idx=-1).weight[3] == 0).all()
