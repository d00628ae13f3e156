"""Sorting, the greatest elements, binary search and membership against PyTorch."""

import jax
import numpy as np
import pytest
import torch

import neurarust_jax as nr
from tests.oracle import assert_same, check, check_both_raise, to_torch

X = np.random.default_rng(0).standard_normal((3, 4, 5)).astype(np.float32)
I = np.random.default_rng(1).permutation(60).reshape(3, 4, 5)  # noqa: E741
FEW = np.random.default_rng(2).integers(0, 3, (4, 7))
NAN = np.array([3.0, np.nan, -np.inf, 1.0, np.inf, -np.nan, 1.0], np.float32)


@pytest.mark.parametrize("options", [{}, {"dim": 0}, {"dim": 1, "descending": True}, {"descending": True}], ids=str)
@pytest.mark.parametrize("x", [X, X.astype(np.float64), I, I.astype(np.uint8), X.astype(np.float16), X[:0]], ids=lambda x: f"{x.dtype}{x.shape}")
def test_sort_equals_pytorch(x, options):
    check(nr.sort, torch.sort, x, **options)
    check(nr.argsort, torch.argsort, x, compiled=False, **options)


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("x", [FEW, FEW > 1, FEW.astype(np.float32), NAN], ids=["int64", "bool", "float32", "nan"])
def test_sort_keeps_the_order_of_equal_elements(x, descending):
    check(nr.sort, torch.sort, x, dim=-1, descending=descending, stable=True)
    check(nr.argsort, torch.argsort, x, dim=0, descending=descending, stable=True)


def test_sort_of_one_number_and_of_complex_ones():
    check(nr.sort, torch.sort, X[0, 0, 0])
    check(nr.msort, torch.msort, X)
    check(nr.msort, torch.msort, X[0, 0, 0])
    check_both_raise(nr.sort, torch.sort, X.astype(np.complex64))
    check_both_raise(nr.sort, torch.sort, X, dim=3)


@pytest.mark.parametrize("options", [{}, {"dim": 0}, {"dim": 1, "largest": False}, {"largest": False, "sorted": True}], ids=str)
@pytest.mark.parametrize("x", [X, X.astype(np.float64), I, (I + 10).astype(np.uint8), X.astype(np.float16)], ids=lambda x: x.dtype.name)
@pytest.mark.parametrize("k", [0, 1, 3])
def test_topk_equals_pytorch(x, k, options):
    check(nr.topk, torch.topk, x, k=k, compiled=k == 3, **options)


@pytest.mark.parametrize("largest", [True, False])
@pytest.mark.parametrize("k", [2, 4, 5])
def test_topk_counts_nan_as_the_greatest(largest, k):
    ours, theirs = nr.tensor(NAN).topk(k, largest=largest), torch.tensor(NAN).topk(k, largest=largest)
    assert_same(ours.values, theirs.values)


def test_topk_out_of_range_is_refused():
    check_both_raise(nr.topk, torch.topk, X, 6)
    check_both_raise(nr.topk, torch.topk, X, -1)
    check(nr.topk, torch.topk, X[0, 0, 0], 1)


# --- binary search -------------------------------------------------------------------------------------------------

EDGES = np.array([1.0, 2.0, 2.0, 5.0], np.float32)
VALUES = np.array([[0.0, 1.0, 2.0, 3.0], [5.0, 6.0, np.nan, -np.inf]], np.float32)


@pytest.mark.parametrize("options", [{}, {"right": True}, {"side": "right"}, {"side": "left", "out_int32": True}], ids=str)
@pytest.mark.parametrize("edges", [EDGES, np.stack([EDGES, EDGES * 2]), EDGES[:0], EDGES[:1], np.append(EDGES, np.float32(np.nan))], ids=lambda e: str(e.shape))
def test_searchsorted_equals_pytorch(edges, options):
    check(nr.searchsorted, torch.searchsorted, edges, VALUES, grad=False, **options)


@pytest.mark.parametrize("edges", [EDGES, EDGES.astype(np.int64)], ids=["float32", "int64"])
@pytest.mark.parametrize("value", [2, 2.5, -1.0, np.float32(2.5), np.array([2, 3]), np.array([2.5], np.float64)], ids=str)
def test_searched_values_promote_with_the_sequence(edges, value):
    for right in (False, True):
        check(nr.searchsorted, torch.searchsorted, edges, value, right=right, grad=False)
        check(lambda e, v: nr.bucketize(v, e, right=right), lambda e, v: torch.bucketize(v, e, right=right), edges, value, grad=False)  # noqa: B023


def test_searchsorted_with_a_sorter():
    order = np.array([2, 0, 3, 1])
    shuffled = np.empty_like(EDGES)
    shuffled[order] = EDGES
    check(lambda s, v, o: nr.searchsorted(s, v, sorter=o), lambda s, v, o: torch.searchsorted(s, v, sorter=o), shuffled, VALUES, order, grad=False)


@pytest.mark.parametrize(
    ("edges", "values", "options"),
    [
        (EDGES, VALUES, {"side": "middle"}),
        (EDGES, VALUES, {"side": "left", "right": True}),
        (EDGES[0], VALUES, {}),
        (np.stack([EDGES] * 3), VALUES, {}),
        (np.stack([EDGES] * 2), 1.0, {}),
        (EDGES.astype(np.complex64), VALUES, {}),
    ],
    ids=str,
)
def test_searchsorted_refuses_what_pytorch_refuses(edges, values, options):
    check_both_raise(nr.searchsorted, torch.searchsorted, edges, values, **options)


def test_sorter_and_boundaries_of_the_wrong_form_are_refused():
    for sorter in (np.arange(4, dtype=np.int32), np.arange(3)):
        check_both_raise(lambda s, v, o: nr.searchsorted(s, v, sorter=o), lambda s, v, o: torch.searchsorted(s, v, sorter=o), EDGES, VALUES, sorter)
    check_both_raise(nr.bucketize, torch.bucketize, VALUES, EDGES[None])


@pytest.mark.parametrize("invert", [False, True])
@pytest.mark.parametrize("tested", [np.array([1, 2]), np.array([[2.5, 1.0]]), np.arange(0), 2, 1.5, np.array([np.nan, 1], np.float32)], ids=str)
def test_isin_equals_pytorch(tested, invert):
    for elements in (FEW, FEW.astype(np.float32), NAN, np.int64(2)):
        check(nr.isin, torch.isin, elements, tested, invert=invert, grad=False)


def test_isin_of_a_number():
    assert bool(nr.isin(2, nr.tensor(FEW)))
    check_both_raise(nr.isin, torch.isin, FEW.astype(np.complex64), FEW)


def test_sorting_runs_under_a_jit_without_64_bit_types():
    def function(x):
        x = nr.as_tensor(x)
        return x.sort().values._value, x.topk(2).values._value, x.argmax(0)._value, nr.searchsorted(x.sort().values, 0.5)._value

    values, top, position, place = jax.jit(function)(X[0, 0])
    theirs = to_torch(X[0, 0])
    np.testing.assert_array_equal(values, theirs.sort().values)
    np.testing.assert_array_equal(top, theirs.topk(2).values)
    assert int(position) == int(theirs.argmax())
    assert int(place) == int(torch.searchsorted(theirs.sort().values, 0.5))
