"""Grids, combinations and coordinates against PyTorch."""

import numpy as np
import pytest
import torch

import neurarust_jax as nr
from tests.oracle import assert_same, check, check_both_raise

V = np.random.default_rng(0).standard_normal(4).astype(np.float32)
W = np.random.default_rng(1).standard_normal(3).astype(np.float32)
I = np.arange(4)  # noqa: E741


@pytest.mark.parametrize("indexing", ["ij", "xy"])
@pytest.mark.parametrize("vectors", [(V, W), (V,), (V, W, V[:2]), (I, I[:0]), (np.float32(3), V)], ids=lambda v: str([np.shape(x) for x in v]))
def test_meshgrid_spans_the_grid(vectors, indexing):
    check(lambda *v: nr.meshgrid(*v, indexing=indexing), lambda *v: torch.meshgrid(*v, indexing=indexing), *vectors)


def test_meshgrid_takes_a_list_and_defaults_to_ij():
    ours = nr.meshgrid([nr.tensor(V), nr.tensor(W)])
    assert_same(ours, torch.meshgrid(torch.tensor(V), torch.tensor(W), indexing="ij"))


@pytest.mark.parametrize("vectors", [(V, W), (V,), (I, I, I[:2]), (V, W[:0])], ids=lambda v: str([x.shape for x in v]))
def test_cartesian_prod_lists_all_tuples(vectors):
    check(nr.cartesian_prod, torch.cartesian_prod, *vectors)


@pytest.mark.parametrize("replace", [False, True])
@pytest.mark.parametrize("r", [0, 1, 2, 3, 5])
def test_combinations_keep_the_order_of_itertools(r, replace):
    check(lambda x: nr.combinations(x, r, replace), lambda x: torch.combinations(x, r, replace), V, compiled=r == 2, grad=r > 0)
    check(lambda x: nr.combinations(x, r, replace), lambda x: torch.combinations(x, r, replace), I, compiled=False)


@pytest.mark.parametrize("increasing", [False, True])
@pytest.mark.parametrize("columns", [None, 0, 1, 6])
def test_vander_holds_the_powers(columns, increasing):
    for x in (V, I, I % 2 == 0, V.astype(np.complex64), V[:0], np.zeros(2, np.float32)):
        check(lambda x: nr.vander(x, columns, increasing), lambda x: torch.vander(x, columns, increasing), x, compiled=x is V, grad=False)


def test_gradient_of_vander():  # PyTorch cannot differentiate torch.vander; torch.linalg.vander is the increasing form
    for x in (V, np.zeros(2, np.float32)):
        check(lambda x: nr.vander(x, 4, True), lambda x: torch.linalg.vander(x, N=4), x)


@pytest.mark.parametrize("name", ["tril_indices", "triu_indices"])
@pytest.mark.parametrize("arguments", [(3, 3), (4, 2), (2, 4, 1), (3, 5, -2), (0, 3), (3, 0), (3, 3, 9), (3, 3, -9)], ids=str)
def test_triangle_indices_equal_pytorch(name, arguments):
    assert_same(getattr(nr, name)(*arguments), getattr(torch, name)(*arguments))
    assert_same(getattr(nr, name)(*arguments, dtype=nr.int32), getattr(torch, name)(*arguments, dtype=torch.int32))


@pytest.mark.parametrize("shape", [(2, 12), (4, 3, 2), 24, (24,)], ids=str)
def test_unravel_index_gives_the_coordinates(shape):
    check(lambda i: nr.unravel_index(i, shape), lambda i: torch.unravel_index(i, shape), np.array([[0, 5], [23, 7]]))
    check(lambda i: nr.unravel_index(i, shape), lambda i: torch.unravel_index(i, shape), np.int64(9))


def test_wrong_arguments_raise_as_in_pytorch():
    matrix = np.ones((2, 2), np.float32)
    check_both_raise(nr.meshgrid, lambda x: torch.meshgrid(x, indexing="ij"), matrix)
    check_both_raise(nr.meshgrid, lambda *x: torch.meshgrid(*x, indexing="ij"), V, I)
    check_both_raise(lambda x: nr.meshgrid(x, indexing="ji"), lambda x: torch.meshgrid(x, indexing="ji"), V)
    check_both_raise(nr.cartesian_prod, torch.cartesian_prod, matrix, V)
    check_both_raise(nr.combinations, torch.combinations, matrix)
    check_both_raise(lambda x: nr.combinations(x, -1), lambda x: torch.combinations(x, -1), V)
    check_both_raise(nr.vander, torch.vander, matrix)
    check_both_raise(lambda: nr.tril_indices(-1, 2), lambda: torch.tril_indices(-1, 2))
    check_both_raise(lambda i: nr.unravel_index(i, (2, 2)), lambda i: torch.unravel_index(i, (2, 2)), V)
    check_both_raise(lambda i: nr.unravel_index(i, (2, -2)), lambda i: torch.unravel_index(i, (2, -2)), I)
