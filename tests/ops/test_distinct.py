"""`unique` and `unique_consecutive` against PyTorch."""

import jax
import ml_dtypes
import numpy as np
import pytest
import torch

import neurarust_jax as nr
from tests.oracle import check, check_both_raise

FEW = np.random.default_rng(0).integers(0, 3, (4, 3))
ROWS = np.array([[1, 2], [1, 2], [0, 5], [1, 2]])
NAN = np.array([2.0, np.nan, np.nan, 1.0, 1.0], np.float32)
FLAGS = [{}, {"return_inverse": True}, {"return_counts": True}, {"return_inverse": True, "return_counts": True}]


@pytest.mark.parametrize("name", ["unique", "unique_consecutive"])
@pytest.mark.parametrize("options", FLAGS, ids=str)
@pytest.mark.parametrize("x", [FEW, FEW.astype(np.float32), FEW > 1, FEW.astype(np.uint8), NAN, FEW[:0], FEW[0, 0]], ids=lambda x: f"{x.dtype}{x.shape}")
def test_distinct_elements_equal_pytorch(name, options, x):
    check(getattr(nr, name), getattr(torch, name), x, grad=False, compiled=False, **options)


@pytest.mark.parametrize("name", ["unique", "unique_consecutive"])
@pytest.mark.parametrize("dim", [0, 1, -1])
@pytest.mark.parametrize("x", [ROWS, ROWS.T.copy(), ROWS.astype(np.float32), FEW], ids=lambda x: f"{x.dtype}{x.shape}")
def test_distinct_slices_equal_pytorch(name, x, dim):
    check(getattr(nr, name), getattr(torch, name), x, grad=False, compiled=False, dim=dim, return_inverse=True, return_counts=True)


@pytest.mark.parametrize("name", ["unique", "unique_consecutive"])
def test_distinct_slices_of_nothing(name):
    ours, theirs = getattr(nr, name), getattr(torch, name)
    check(ours, theirs, FEW[:0], grad=False, compiled=False, dim=0, return_inverse=True, return_counts=True)
    check_both_raise(ours, theirs, FEW[:0], dim=1)
    check_both_raise(ours, theirs, FEW[0, 0], dim=0)
    check_both_raise(ours, theirs, FEW.astype(np.complex64))


def test_bfloat16_is_taken():
    x = nr.tensor(np.array([2, 1, 2], ml_dtypes.bfloat16))
    assert nr.unique(x).tolist() == [1, 2]
    assert nr.unique(x).dtype == nr.bfloat16


def test_gradient_goes_to_the_first_occurrence():
    x = nr.tensor([3.0, 1.0, 3.0], requires_grad=True)
    (nr.unique(x) * nr.tensor([1.0, 2.0])).sum().backward()
    assert x.grad.tolist() == [2.0, 1.0, 0.0]


@pytest.mark.parametrize("name", ["unique", "unique_consecutive"])
def test_inside_a_transformation_a_size_is_needed(name):
    function = getattr(nr, name)
    x = np.array([1.0, 1.0, 4.0, 2.0], np.float32)
    with pytest.raises(RuntimeError, match=rf"nr.{name}\(x, size=n\)"):
        jax.jit(lambda x: function(nr.as_tensor(x))._value)(x)

    def sized(x):
        found = function(nr.as_tensor(x), return_inverse=True, return_counts=True, size=5, fill_value=-1)
        return tuple(f._value for f in found)

    values, inverse, counts = jax.jit(sized)(x)
    expected = function(nr.tensor(x), return_inverse=True, return_counts=True)
    assert values.tolist() == [*expected[0].tolist(), -1, -1]
    assert inverse.tolist() == expected[1].tolist()
    assert counts.tolist() == [*expected[2].tolist(), 0, 0]


@pytest.mark.parametrize("name", ["unique", "unique_consecutive"])
def test_size_cuts_what_is_beyond_it(name):
    assert getattr(nr, name)(nr.tensor(ROWS), dim=0, size=1).shape == (1, 2)
    assert getattr(nr, name)(nr.tensor([1, 2, 3]), size=2).tolist() == [1, 2]
