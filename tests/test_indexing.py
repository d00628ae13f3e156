"""`x[...]`, `x.at[...]` and writing to cells by index, against PyTorch."""

import jax
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import neurarust_jax as nr

X = np.random.default_rng(0).standard_normal((4, 5, 6)).astype(np.float32)
I = np.array([0, 2, 1])  # noqa: E741
CASES = [
    0, -1, (1, 2), (1, 2, 3), (slice(None), 0), slice(1, 3), (slice(0, 4, 2), slice(1, None)), None, ..., (..., 1), (0, ..., slice(2, 5)), (slice(None), None, 1),
    I, (slice(None), I), (I, I), (0, slice(None), I), (I, slice(None), I), (slice(None), I, I), (I, None, I), (I[:, None], I), I - 3, [0, 1], [-1],
    X[:, :, 0] > 0, X > 0, (slice(None), [True, False, True, True, False]), True, False, (1, True), (X[:, 0, 0] > 0, 1), np.zeros(0, np.int64),
    slice(-3, -1), slice(10, 20), slice(3, 1), (), (None, None, 0), (I, 0, slice(1, 3)), np.int32(2),
]  # fmt: skip


def _convert(index, make):
    if isinstance(index, tuple):
        return tuple(_convert(part, make) for part in index)
    return make(index) if isinstance(index, np.ndarray) else index


def _ids(case):
    return str(case).replace("\n", "")[:40]


@pytest.mark.parametrize("case", CASES, ids=_ids)
def test_reading_and_writing_by_every_kind_of_index(case):
    ours, theirs = nr.tensor(X), torch.tensor(X)
    mine, other = _convert(case, nr.tensor), _convert(case, torch.tensor)
    expected = theirs[other]
    np.testing.assert_array_equal(ours[mine].numpy(), expected.numpy())
    values = np.random.default_rng(1).standard_normal(tuple(expected.shape)).astype(np.float32)
    for value in (values, 7.0):
        changed = theirs.clone()
        changed[other] = torch.tensor(value)
        np.testing.assert_array_equal(ours.at[mine].set(nr.tensor(value)).numpy(), changed.numpy())
        cell = nr.nn.Buffer(nr.tensor(X))
        cell[mine] = nr.tensor(value)
        np.testing.assert_array_equal(cell.numpy(), changed.numpy())
    np.testing.assert_array_equal(ours.numpy(), X)


@pytest.mark.parametrize("case", CASES, ids=_ids)
def test_gradients_of_reading(case):
    ours, theirs = nr.tensor(X, requires_grad=True), torch.tensor(X, requires_grad=True)
    y, z = ours[_convert(case, nr.tensor)], theirs[_convert(case, torch.tensor)]
    weights = np.random.default_rng(2).standard_normal(tuple(z.shape)).astype(np.float32)
    (y * nr.tensor(weights)).sum().backward()
    (z * torch.tensor(weights)).sum().backward()
    np.testing.assert_allclose(ours.grad.numpy(), theirs.grad.numpy(), rtol=1e-6)


@pytest.mark.parametrize("case", [c for c in CASES if not (isinstance(c, np.ndarray) and c.dtype == bool)], ids=_ids)
def test_indexing_inside_jit(case):
    index = _convert(case, nr.tensor)
    concrete = any(isinstance(p, np.ndarray | list) and np.asarray(p).dtype == bool for p in (case if isinstance(case, tuple) else (case,)))
    if concrete:
        index = case
    np.testing.assert_array_equal(nr.jit(lambda x: x[index])(nr.tensor(X)).numpy(), nr.tensor(X)[index].numpy())


@settings(max_examples=60, deadline=None)
@given(st.integers(-6, 6), st.integers(-6, 6), st.integers(1, 3), st.integers(-4, 3))
def test_slices_are_pythons(start, stop, step, row):
    expected = X[row, start:stop:step]
    np.testing.assert_array_equal(nr.tensor(X)[row, start:stop:step].numpy(), expected)


def test_a_byte_tensor_is_a_mask():
    assert nr.arange(3)[nr.tensor([1, 0, 1], dtype=nr.uint8)].tolist() == [0, 2]


def test_at_combines_values():
    x = nr.tensor([1.0, 2.0, 3.0])
    i = nr.tensor([0, 0, 2])
    assert x.at[i].add(1.0).tolist() == [3, 2, 4]
    assert x.at[1].multiply(5.0).tolist() == [1, 10, 3]
    assert x.at[1:].divide(2.0).tolist() == [1, 1, 1.5]
    assert x.at[...].power(2.0).tolist() == [1, 4, 9]
    assert x.at[:2].min(1.5).tolist() == [1, 1.5, 3]
    assert x.at[:2].max(1.5).tolist() == [1.5, 2, 3]
    assert x.at[0].apply(lambda v: v + 10).tolist() == [11, 2, 3]
    assert x.at[i].get().tolist() == [1, 1, 3]


def test_gradients_flow_through_at():
    x, v = nr.ones(3, requires_grad=True), nr.tensor(5.0, requires_grad=True)
    (x.at[1].set(v) * nr.tensor([1.0, 2.0, 3.0])).sum().backward()
    assert x.grad.tolist() == [1, 0, 3] and v.grad.item() == 2


def test_a_loop_over_rows_compiles_once():
    from neurarust_jax.ops.indexing import _ROW

    x = nr.randn(50, 3)
    x[0]
    before = _ROW.run._cache_size()
    for i in range(50):
        x[i]
    assert _ROW.run._cache_size() == before


@pytest.mark.parametrize(
    ("index", "text"),
    [
        (4, r"index 4 is out of bounds for dimension 0 with size 4"),
        ((0, -6), r"index -6 is out of bounds for dimension 1 with size 5"),
        ((0, 0, 0, 0), "too many indices for tensor of dimension 3"),
        (np.array([0, 9]), "index 9 is out of bounds for dimension 0 with size 4"),
        ((..., 0, ...), "single ellipsis"),
        ("a", "valid indices"),
        (np.array([1.0]), "long, int, byte or bool"),
        (np.ones((3, 5), bool), "shape of the mask"),
    ],
    ids=str,
)
def test_wrong_indices_raise_index_error(index, text):
    with pytest.raises(IndexError, match=text):
        nr.tensor(X)[nr.tensor(index) if isinstance(index, np.ndarray) else index]


def test_negative_steps_are_refused_with_flip():
    with pytest.raises(IndexError, match=r"x\.flip"):
        nr.arange(3)[::-1]


def test_a_mask_inside_jit_names_the_way_out():
    with pytest.raises(nr.errors.TracedValueError, match=r"nr\.where"):
        nr.jit(lambda x: x[x > 0])(nr.tensor(X))


def test_value_that_does_not_fit_names_both_shapes():
    with pytest.raises(RuntimeError, match="broadcast"):
        nr.zeros(4, 5).at[0].set(nr.ones(3))


def test_indexing_under_jax_transformations():
    x, i = nr.tensor(X), nr.tensor(I)
    rows = nr.vmap(lambda r, k: r[k])(x[:3], i)
    np.testing.assert_array_equal(rows.numpy(), X[np.arange(3), I])
    assert jax.jit(lambda t: t[1:3, None])(x).shape == (2, 1, 5, 6)
