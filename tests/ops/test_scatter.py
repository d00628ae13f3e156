"""Reads and writes by index tensors and masks against PyTorch: values, dtypes, gradients, compiled and eager, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

import neurarust_jax as nr
from tests.oracle import assert_same, check, check_both_raise

RANDOM = np.random.default_rng(0)
X = RANDOM.standard_normal((4, 5)).astype(np.float32)
S = RANDOM.standard_normal((3, 5)).astype(np.float32)
DTYPES = [np.float64, np.int64, np.bool_, np.complex64, np.int32]
ONCE = np.argsort(RANDOM.standard_normal((4, 5)), axis=0)[:3]  # along dimension 0 no index twice in a column
OFTEN = np.array([[0, 1, 0, 2, 3], [0, 1, 1, 2, 0], [0, 1, 0, 2, 3]])
VECTOR = np.array([2, 0, 3])
WHERE = np.array([2, 0, 2])
ZERO = np.float32(1.5)


def both(name, *arguments, **options):
    """`name` in either library, of an input, tensors in `arguments` by their place."""

    def of(library):
        return lambda *x: getattr(library, name)(*x, *arguments, **options)

    return of(nr), of(torch)


def along(name, dim, **options):
    """`name(input, dim, *tensors)` in either library."""

    def of(library):
        return lambda x, *tensors: getattr(library, name)(x, dim, *tensors, **options)

    return of(nr), of(torch)


# --- by an index for each element ----------------------------------------------------------------------------------


@pytest.mark.parametrize("dim", [0, -2, 1])
@pytest.mark.parametrize("index", [ONCE, OFTEN, OFTEN[:1, :2], OFTEN[:0], OFTEN.astype(np.int32)], ids=lambda i: f"{i.shape}{i.dtype}")
def test_gather_equals_pytorch(dim, index):
    check(*along("gather", dim), X, index)


@pytest.mark.parametrize("dtype", DTYPES)
def test_gather_and_scatter_take_every_dtype(dtype):
    x, src = (3 * X).astype(dtype), (3 * S).astype(dtype)
    check(*along("gather", 0), x, OFTEN, compiled=False)
    check(*along("scatter", 0), x, ONCE, src, compiled=False)
    check(*along("scatter_add", 0), x, OFTEN, src, compiled=False)


@pytest.mark.parametrize("dim", [0, 1, -1])
def test_scatter_puts_elements_and_numbers(dim):
    index = ONCE if dim == 0 else np.argsort(S, axis=1)
    check(*along("scatter", dim), X, index, S)
    check(*along("scatter", dim), X, index[:2, :2], S, grad=False)  # PyTorch has a gradient only where src and index have one shape
    check(lambda x, i: x.scatter(dim, i, 2.5), lambda x, i: x.scatter(dim, i, 2.5), X, OFTEN)
    check(lambda x, i: nr.scatter(x, dim, i, value=7), lambda x, i: torch.scatter(x, dim, i, value=7), X, OFTEN)
    check(*along("scatter", dim), X, OFTEN[:0], S, grad=False)


@pytest.mark.filterwarnings("ignore:The reduce argument")
@pytest.mark.parametrize("reduce", ["add", "multiply"])
def test_scatter_with_a_reduction(reduce):
    check(*along("scatter", 0, reduce=reduce), X, OFTEN, S, grad=False)  # PyTorch's has no gradient
    check(lambda x, i: nr.scatter(x, 0, i, 3.0, reduce=reduce), lambda x, i: torch.scatter(x, 0, i, 3.0, reduce=reduce), X, OFTEN, grad=False)


@pytest.mark.parametrize("dim", [0, 1])
def test_scatter_add_adds_up(dim):
    check(*along("scatter_add", dim), X, OFTEN, S)
    check(lambda x, i, s: x.scatter_add(dim, i, s), lambda x, i, s: x.scatter_add(dim, i, s), X, OFTEN[:, :2], S, grad=False)


@pytest.mark.parametrize("include_self", [True, False])
@pytest.mark.parametrize("reduce", ["sum", "prod", "mean", "amax", "amin"])
def test_scatter_reduce_equals_pytorch(reduce, include_self):
    for dim in (0, 1):
        check(*along("scatter_reduce", dim, reduce=reduce, include_self=include_self), X, OFTEN, S)
    for dtype in (np.int64, np.float64, np.bool_):
        if dtype is np.bool_ and reduce == "mean":
            continue  # not in PyTorch
        check(*along("scatter_reduce", 0, reduce=reduce, include_self=include_self), (4 * X).astype(dtype), OFTEN, (4 * S).astype(dtype), compiled=False)


def test_gradient_of_products_with_zeros():
    index = np.array([0, 0, 1, 1, 1])
    for src in ([2, 0, 3, 4, 5], [0, 0, 3, 0, 5], [2, 3, 4, 5, 6]):
        for x in ([1, 2, 3], [0, 2, 3], [0, 0, 0]):
            inputs = np.array(x, np.float32), index, np.array(src, np.float32)
            check(*along("scatter_reduce", 0, reduce="prod"), *inputs, compiled=False)


def test_gradient_of_extremes_is_shared_among_ties():
    inputs = np.array([1, 5, 3], np.float32), np.array([1, 1, 0]), np.array([5, 5, 2], np.float32)
    for reduce in ("amax", "amin"):
        check(*along("scatter_reduce", 0, reduce=reduce), *inputs)


def test_zero_dimensional_input():
    index = np.int64(0)
    check(*along("gather", 0), ZERO, index)
    check(*along("scatter", 0), ZERO, index, ZERO * 2)
    check(*along("scatter_add", 0), ZERO, np.array([0]), np.array([2], np.float32))
    check(*along("index_select", 0), ZERO, np.array([0]))
    check(*along("index_fill", 0), ZERO, index, np.float32(3), grad=False)
    check(*along("index_add", 0), ZERO, index, ZERO)
    check(*both("take"), ZERO, np.array([[0, 0]]))


def test_no_place_is_written_twice_by_an_index_outside_under_a_transformation():
    got = jax.jit(lambda x, i: nr.scatter_add(x, 0, i, nr.ones(2)))(nr.zeros(3), nr.tensor([1, 7]))
    assert_same(got, torch.tensor([0.0, 1.0, 0.0]))


# --- by an index for each slice ------------------------------------------------------------------------------------


@pytest.mark.parametrize("index", [WHERE, VECTOR, WHERE[:0], np.int64(1), VECTOR.astype(np.int32)], ids=str)
def test_index_select_equals_pytorch(index):
    for dim in (0, 1, -1):
        check(*along("index_select", dim), X, index, compiled=dim == 0)


@pytest.mark.parametrize("dtype", [np.float32, *DTYPES])
def test_slices_are_written_by_index(dtype):
    x, src = (3 * X).astype(dtype), (3 * S).astype(dtype)
    compiled = dtype == np.float32
    check(*along("index_add", 0), x, WHERE, src, compiled=compiled)
    check(*along("index_add", 1), x, WHERE, x[:, :3], compiled=compiled)
    check(*along("index_copy", 0), x, VECTOR, src, compiled=compiled)
    check(*along("index_copy", -1), x, VECTOR, x[:, :3], compiled=compiled)
    check(lambda x, i: x.index_fill(0, i, 2), lambda x, i: x.index_fill(0, i, 2), x, -VECTOR - 1, compiled=compiled)
    check(lambda x, i: x.index_fill(1, i, 2), lambda x, i: x.index_fill(1, i, 2), x, WHERE, compiled=False)


def test_index_add_scales_by_alpha():
    check(*along("index_add", 0, alpha=-2.5), X, WHERE, S)
    check(*along("index_add", 0, alpha=3), (9 * X).astype(np.int64), WHERE, (9 * S).astype(np.int64))


@pytest.mark.filterwarnings("ignore:index_reduce")
@pytest.mark.parametrize("include_self", [True, False])
@pytest.mark.parametrize("reduce", ["prod", "mean", "amax", "amin"])
def test_index_reduce_equals_pytorch(reduce, include_self):
    check(*along("index_reduce", 0, reduce=reduce, include_self=include_self), X, WHERE, S)
    check(*along("index_reduce", 1, reduce=reduce, include_self=include_self), X, WHERE, 2 * X[:, :3], compiled=False)


@pytest.mark.parametrize("accumulate", [False, True])
def test_index_put_equals_pytorch(accumulate):
    rows, columns, mask = np.array([0, 2, 3]), np.array([1, 1, 4]), X > 0
    for indices, values in (
        ((rows, columns), X[0, :3]),
        ((rows,), S),
        ((rows, columns), np.float32(3)),
        ((mask,), np.float32(2)),
        ((rows[:, None], columns[1:]), X[0, :2]),
    ):
        check(
            lambda x, v, indices=indices: x.index_put(tuple(map(nr.tensor, indices)), v, accumulate),
            lambda x, v, indices=indices: x.index_put(tuple(map(torch.tensor, indices)), v, accumulate),
            X,
            values,
            compiled=False,
        )


# --- by position in the flattened tensor ---------------------------------------------------------------------------


@pytest.mark.parametrize("index", [np.array([[0, 19], [-1, 7]]), np.array([3, 3]), np.int64(-20), np.zeros((0, 2), np.int64)], ids=str)
def test_take_equals_pytorch(index):
    check(*both("take"), X, index)
    check(*both("take"), (9 * X).astype(np.int64), index, compiled=False)


@pytest.mark.parametrize("accumulate", [False, True])
def test_put_equals_pytorch(accumulate):
    index = np.array([[0, 7], [-1, 3]])
    check(lambda x, i, s: nr.put(x, i, s, accumulate), lambda x, i, s: torch.put(x, i, s, accumulate), X, index, S[0, :4])
    check(lambda x, i, s: x.put(i, s, accumulate), lambda x, i, s: x.put(i, s, accumulate), (9 * X).astype(np.int64), index, index + 5, compiled=False)


def test_take_along_dim_broadcasts():
    order = np.argsort(X, axis=1)
    check(*both("take_along_dim", 1), X, order)
    check(*both("take_along_dim", dim=-1), X, order[:1, :2] - 7)
    check(*both("take_along_dim", 0), X[:, :1], OFTEN)
    check(*both("take_along_dim"), X, OFTEN)


# --- by a mask -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mask", [X > 0, X > 9, X < 9, X[0] > 0, X[:, :1] > 0], ids=lambda m: f"{m.shape}{m.sum()}")
def test_masks_select_and_scatter(mask):
    check(*both("masked_select"), X, mask, compiled=False)
    check(*both("masked_select"), (9 * X).astype(np.int64), mask, compiled=False)
    check(*both("masked_scatter"), X, mask, np.arange(20, dtype=np.float32))


def test_masked_select_inside_a_transformation_needs_the_size():
    with pytest.raises(RuntimeError, match="size="):
        jax.jit(lambda x: nr.masked_select(x, x > 0))(nr.tensor(X))
    got = jax.jit(lambda x: nr.masked_select(x, x > 0, size=3, fill_value=-1))(nr.tensor([2.0, -3.0, 4.0]))
    assert got.tolist() == [2, 4, -1]


@pytest.mark.parametrize(
    "x", [X, (3 * X).astype(np.int64), X > 0, X[0], X[:0], ZERO, np.float32(0), np.array([0.0, np.nan])], ids=lambda x: f"{x.dtype}{np.shape(x)}"
)
def test_nonzero_gives_coordinates(x):
    check(nr.nonzero, torch.nonzero, x, compiled=False)
    check(nr.argwhere, torch.argwhere, x, compiled=False)
    check(lambda x: nr.nonzero(x, as_tuple=True), lambda x: torch.nonzero(x, as_tuple=True), x, compiled=False)
    check(lambda x: nr.where(x), lambda x: torch.where(x), x, compiled=False)
    for size in (0, 2, 30):
        check(*both("nonzero_static", size=size), x, compiled=size == 2)


def test_nonzero_inside_a_transformation_needs_the_size():
    with pytest.raises(RuntimeError, match="nonzero.*size="):
        jax.jit(nr.nonzero)(nr.tensor(X))
    got = jax.jit(lambda x: nr.nonzero(x, size=3, as_tuple=True))(nr.tensor([0, 5, 0, 7]))
    assert [g.tolist() for g in got] == [[1, 3, 0]]


# --- what is refused -----------------------------------------------------------------------------------------------

OUTSIDE = [
    ("gather", 0, (np.array([[4]]),)), ("gather", 0, (np.array([[-1]]),)), ("scatter", 0, (np.array([[9]]), S)), ("scatter_add", 1, (np.array([[5]]), S)),
    ("index_select", 0, (np.array([4]),)), ("index_select", 0, (np.array([-1]),)), ("index_add", 0, (np.array([7]), S[:1])),
    ("index_copy", 0, (np.array([7]), S[:1])), ("index_fill", 0, (np.array([-5]), np.float32(1))),
]  # fmt: skip


@pytest.mark.parametrize(("name", "dim", "tensors"), OUTSIDE, ids=lambda x: x if isinstance(x, str) else "")
def test_index_outside_raises_as_in_pytorch(name, dim, tensors):
    check_both_raise(*along(name, dim), X, *tensors)
    with pytest.raises(IndexError, match=rf"{name}\(\): index .* is out of bounds for dimension {dim} with size"):
        getattr(nr, name)(nr.tensor(X), dim, *map(nr.tensor, tensors))


def test_position_outside_raises_as_in_pytorch():
    for index in (20, -21):
        check_both_raise(nr.take, torch.take, X, np.array([index]))
        check_both_raise(nr.put, torch.put, X, np.array([index]), S[0, :1])
        check_both_raise(nr.take_along_dim, torch.take_along_dim, X, np.array([index]))


@pytest.mark.parametrize(
    ("name", "tensors"),
    [
        ("gather", (OFTEN.astype(np.float32),)), ("gather", (OFTEN[0],)), ("gather", (np.zeros((2, 9), np.int64),)), ("scatter", (OFTEN, S.astype(np.float64))),
        ("scatter", (OFTEN, S[:1])), ("scatter_add", (OFTEN, S[0])), ("index_select", (OFTEN,)), ("index_select", (VECTOR.astype(np.float32),)),
        ("index_add", (VECTOR, S[:2])), ("index_add", (VECTOR, S.astype(np.float64))), ("index_copy", (VECTOR, S[:, :2])), ("index_copy", (VECTOR, S[0])),
        ("index_fill", (VECTOR, S)),
    ],
    ids=lambda x: x if isinstance(x, str) else "",
)  # fmt: skip
def test_tensors_that_do_not_fit_raise_as_in_pytorch(name, tensors):
    check_both_raise(*along(name, 0), X, *tensors)


def test_wrong_reductions_and_masks_are_refused():
    check_both_raise(*along("scatter_reduce", 0, reduce="median"), X, OFTEN, S)
    check_both_raise(*along("scatter", 0, reduce="median"), X, OFTEN, S)
    check_both_raise(nr.masked_select, torch.masked_select, X, OFTEN)
    check_both_raise(nr.masked_scatter, torch.masked_scatter, X, X < 9, S)
    check_both_raise(nr.put, torch.put, X, VECTOR, S)
    check_both_raise(lambda x: nr.nonzero_static(x, size=-1), lambda x: torch.nonzero_static(x, size=-1), X)
    with pytest.raises(TypeError, match="out = nr.gather"):
        nr.gather(nr.tensor(X), 0, nr.tensor(OFTEN), out=nr.ones(3, 5))


def test_raw_arrays_and_numpys_names():
    assert nr.gather(jnp.asarray(X), axis=0, index=jnp.asarray(ONCE)).shape == (3, 5)
    assert nr.index_select(nr.tensor(X), axis=1, index=nr.tensor([0])).shape == (4, 1)
