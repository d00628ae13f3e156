"""Joining and splitting against PyTorch: values, dtypes, gradients, compiled and eager."""

from operator import methodcaller

import numpy as np
import pytest
import torch

import neurarust_jax as nr
from tests.oracle import check, check_both_raise

X = np.random.default_rng(0).standard_normal((4, 6)).astype(np.float32)
Y = np.random.default_rng(1).standard_normal((2, 6)).astype(np.float32)
I = np.arange(24).reshape(4, 6)  # noqa: E741
V = X[0]
CUBE = np.random.default_rng(2).standard_normal((2, 3, 4)).astype(np.float32)


def joined(name, **options):
    return lambda *x: getattr(nr, name)(x, **options), lambda *x: getattr(torch, name)(x, **options)


@pytest.mark.parametrize("name", ["cat", "concat", "concatenate"])
@pytest.mark.parametrize(
    "tensors", [(X, Y), (X, I), (X,), (X, np.zeros(0, np.float32)), (X[:0], Y), (I % 2 == 0, I), (X.astype(np.complex64), X), (X, X.astype(np.float64))]
)
def test_cat_joins_along_a_dimension(name, tensors):
    check(*joined(name), *tensors)


@pytest.mark.parametrize("dim", [0, 1, -1])
def test_cat_and_stack_along_any_dimension(dim):
    check(*joined("cat", dim=dim), X, X)
    check(*joined("stack", dim=dim), X, X, X)
    check(*joined("stack", dim=dim), X, I)
    np.testing.assert_array_equal(nr.concatenate([nr.tensor(X)] * 2, axis=dim).numpy(), np.concatenate([X, X], axis=dim))


@pytest.mark.parametrize("name", ["hstack", "vstack", "row_stack", "dstack", "column_stack"])
@pytest.mark.parametrize("tensors", [(V, V), (X, X), (X, I), (CUBE, CUBE), (np.float32(1), np.float32(2)), (V,)], ids=lambda t: str(np.ndim(t[0])))
def test_stacks_by_numpys_names(name, tensors):
    check(*joined(name), *tensors)


def test_stacks_of_zero_dimensional_tensors():
    check(*joined("stack"), np.float32(1), np.float64(2), np.int64(3))
    check(*joined("column_stack"), V, X[:, :2][:, 0][:4].repeat(2)[:6])


def test_block_diag_takes_matrices_vectors_and_numbers():
    check(nr.block_diag, torch.block_diag, X, V, np.float32(2))
    check(nr.block_diag, torch.block_diag, X, I, compiled=False)
    check(nr.block_diag, torch.block_diag, X[:0], X, compiled=False)
    check_both_raise(nr.block_diag, torch.block_diag, CUBE)


SPLITS = [
    ("split", (2,)), ("split", (3,)), ("split", (4, 1)), ("split", ([1, 3],)), ("split", ((1, 2, 3), -1)), ("split", (9,)), ("split_with_sizes", ([1, 3],)),
    ("split_with_sizes", ((2, 0, 4), 1)), ("chunk", (2,)), ("chunk", (3,)), ("chunk", (4, -1)), ("chunk", (9,)), ("tensor_split", (3,)),
    ("tensor_split", (4, 1)), ("tensor_split", ((1, 3),)), ("tensor_split", ((2, 1, -1), 1)), ("tensor_split", ((1, 50),)), ("hsplit", (3,)),
    ("hsplit", ((1, 4),)), ("vsplit", (2,)), ("vsplit", ([1, 2],)), ("unsafe_split", (3,)), ("unsafe_chunk", (3,)),
]  # fmt: skip


@pytest.mark.parametrize(("name", "arguments"), SPLITS, ids=str)
def test_split_cuts_as_pytorch_does(name, arguments):
    check(lambda x: getattr(x, name)(*arguments), lambda x: getattr(x, name)(*arguments), X)
    check(lambda x: getattr(nr, name)(x, *arguments), lambda x: getattr(torch, name)(x, *arguments), I, compiled=False)


def test_split_of_three_dimensions_and_of_vectors():
    check(lambda x: nr.dsplit(x, 2), lambda x: torch.dsplit(x, 2), CUBE)
    check(lambda x: nr.hsplit(x, 2), lambda x: torch.hsplit(x, 2), V)
    for where in ([1, 4], 4):
        ours, theirs = nr.tensor(where), torch.tensor(where)
        check(lambda x, at=ours: nr.tensor_split(x, at), lambda x, at=theirs: torch.tensor_split(x, at), V)


def test_split_of_empty_dimensions():
    for name, argument in (("split", 2), ("split", 0), ("chunk", 3), ("tensor_split", 3)):
        cut = methodcaller(name, argument)
        check(cut, cut, X[:0], compiled=False)


def test_gradient_flows_from_the_pieces_that_are_used():
    check(lambda x: x.split(2)[1], lambda x: x.split(2)[1], X)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (lambda x: nr.cat([]), lambda x: torch.cat([])),
        (lambda x: nr.stack([]), lambda x: torch.stack([])),
        (lambda x: nr.cat([x, x[0]]), lambda x: torch.cat([x, x[0]])),
        (lambda x: nr.cat([x, x[:, :2]]), lambda x: torch.cat([x, x[:, :2]])),
        (lambda x: nr.cat([x, x], 2), lambda x: torch.cat([x, x], 2)),
        (lambda x: nr.cat([x.sum()]), lambda x: torch.cat([x.sum()])),
        (lambda x: nr.stack([x, x[0]]), lambda x: torch.stack([x, x[0]])),
        (lambda x: x.split(-1), lambda x: x.split(-1)),
        (lambda x: x.split(0), lambda x: x.split(0)),
        (lambda x: x.split([1, 1]), lambda x: x.split([1, 1])),
        (lambda x: x.split([-1, 5]), lambda x: x.split([-1, 5])),
        (lambda x: x.chunk(0), lambda x: x.chunk(0)),
        (lambda x: x.tensor_split(0), lambda x: x.tensor_split(0)),
        (lambda x: x.hsplit(4), lambda x: x.hsplit(4)),
        (lambda x: x.dsplit(2), lambda x: x.dsplit(2)),
        (lambda x: x.sum().split(1), lambda x: x.sum().split(1)),
    ],
)
def test_wrong_arguments_raise_as_in_pytorch(ours, theirs):
    check_both_raise(ours, theirs, X)


def test_cat_error_names_the_tensor_that_does_not_fit():
    with pytest.raises(RuntimeError, match=r"Expected size 6 but got size 2 in dimension 1 for tensor number 1"):
        nr.cat([nr.tensor(X), nr.tensor(X[:, :2])])
