"""Parts, diagonals and triangles against PyTorch: values, dtypes, gradients, compiled and eager."""

import jax
import numpy as np
import pytest
import torch

import neurarust_jax as nr
from tests.oracle import check, check_both_raise

X = np.random.default_rng(0).standard_normal((4, 5, 3)).astype(np.float32)
M = X[..., 0]
I = np.arange(60).reshape(4, 5, 3)  # noqa: E741
DTYPES = [X.astype(np.float64), I, I % 2 == 0, (X + 1j * X).astype(np.complex64)]

METHODS = [
    ("narrow", (0, 1, 2)), ("narrow", (-1, -2, 2)), ("narrow", (1, 5, 0)), ("select", (0, 3)), ("select", (1, -1)), ("select", (-1, 0)), ("unbind", ()),
    ("unbind", (-1,)), ("unfold", (1, 2, 1)), ("unfold", (0, 3, 2)), ("unfold", (-1, 3, 1)), ("as_strided", ((2, 2), (1, 3))),
    ("as_strided", ((3, 3), (1, 1), 4)), ("diagonal", ()), ("diagonal", (1,)), ("diagonal", (-2, 1, 0)), ("diagonal", (0, -1, 0)), ("diagonal", (9,)),
    ("diag_embed", ()), ("diag_embed", (1,)), ("diag_embed", (-2, 0, 2)), ("diagflat", ()), ("diagflat", (-1,)), ("tril", ()), ("tril", (1,)),
    ("triu", ()), ("triu", (-1,)), ("triu", (7,)),
]  # fmt: skip


@pytest.mark.parametrize(("name", "arguments"), METHODS, ids=str)
def test_part_of_a_tensor_equals_pytorch(name, arguments):
    check(lambda x: getattr(x, name)(*arguments), lambda x: getattr(x, name)(*arguments), X)
    for x in DTYPES:
        check(lambda x: getattr(x, name)(*arguments), lambda x: getattr(x, name)(*arguments), x, compiled=False)


@pytest.mark.parametrize("offset", [0, 2, -1, 4, -6])
@pytest.mark.parametrize("x", [M, M[0], M[:0]], ids=lambda x: str(x.shape))
def test_diag_of_vectors_and_matrices(x, offset):
    check(lambda x: nr.diag(x, offset), lambda x: torch.diag(x, offset), x)


def test_zero_dimensional_input():
    check(lambda x: x.unfold(0, 1, 1), lambda x: x.unfold(0, 1, 1), np.float32(2))
    check(lambda x: x.as_strided((2, 2), (0, 0)), lambda x: x.as_strided((2, 2), (0, 0)), np.float32(2))
    check(nr.diagflat, torch.diagflat, np.float32(2))


def test_select_and_narrow_take_index_tensors():
    one = nr.tensor(1), torch.tensor(1)
    check(lambda x: nr.select(x, 0, one[0]), lambda x: torch.select(x, 0, one[1]), X)
    check(lambda x: nr.narrow(x, 0, one[0], 2), lambda x: torch.narrow(x, 0, one[1], 2), X)
    np.testing.assert_array_equal(np.asarray(jax.jit(lambda x, i: x.select(0, i))(nr.tensor(X), nr.tensor(2))), X[2])


def test_a_loop_over_select_compiles_once():
    x = nr.tensor(X)
    kernels = len(nr.dispatch.OPS["select"].kernels)
    for i in range(4):
        x.select(0, i), x.select(0, -i)
    assert len(nr.dispatch.OPS["select"].kernels) <= kernels + 1


SCATTERS = [
    ("select_scatter", X[:, 0], (1, 2)), ("select_scatter", X[:, 0], (1, -1)), ("slice_scatter", X[:2], (0, 1, 3)), ("slice_scatter", X[:, :3], (1, 0, 5, 2)),
    ("slice_scatter", X, ()), ("slice_scatter", X[:, :2], (1, -2)),
    ("as_strided_scatter", X[0, :2, :2], ((2, 2), (1, 3))),
]  # fmt: skip


@pytest.mark.parametrize(("name", "src", "arguments"), SCATTERS, ids=lambda x: str(x) if not isinstance(x, np.ndarray) else "")
def test_part_put_back_equals_pytorch(name, src, arguments):
    gradient = name != "as_strided_scatter"  # PyTorch 2.13's own gradient of that is wrong: it is zero where nothing was replaced
    check(lambda x, s: getattr(x, name)(s, *arguments), lambda x, s: getattr(x, name)(s, *arguments), X, src, grad=gradient)


@pytest.mark.parametrize("arguments", [(), (1,), (-2, 0, 2), (0, 2, 1), (3, -1, -2)], ids=str)
def test_diagonal_put_back_equals_pytorch(arguments):
    src = torch.tensor(X).diagonal(*arguments).numpy() * 2
    check(lambda x, s: nr.diagonal_scatter(x, s, *arguments), lambda x, s: torch.diagonal_scatter(x, s, *arguments), X, src.copy())
    check(lambda x, s: nr.diagonal_scatter(x, s, *arguments), lambda x, s: torch.diagonal_scatter(x, s, *arguments), I, src.astype(np.int64), compiled=False)


def test_gradient_of_as_strided_scatter_is_where_nothing_was_replaced():
    x, src = nr.zeros(3, requires_grad=True), nr.ones(2, requires_grad=True)
    x.as_strided_scatter(src, (2,), (2,)).sum().backward()
    assert x.grad.tolist() == [0, 1, 0]
    assert src.grad.tolist() == [1, 1]


@pytest.mark.parametrize(
    ("name", "arguments"),
    [("narrow", (0, 3, 2)), ("narrow", (0, 5, 0)), ("narrow", (0, 0, -1)), ("narrow", (3, 0, 1)), ("select", (0, 4)), ("select", (0, -5)), ("select", (5, 0)),
     ("unbind", (3,)), ("unfold", (0, 5, 1)), ("unfold", (0, 2, 0)), ("as_strided", ((2,), (1, 1))), ("as_strided", ((2,), (-1,))),
     ("as_strided", ((70,), (1,))), ("diagonal", (0, 1, 1)), ("diag", ()), ("diag_embed", (0, 1, 1))],
    ids=str,
)  # fmt: skip
def test_wrong_arguments_raise_as_in_pytorch(name, arguments):
    check_both_raise(lambda x: getattr(x, name)(*arguments), lambda x: getattr(x, name)(*arguments), X)


def test_parts_that_do_not_fit_are_refused():
    check_both_raise(lambda x, s: x.select_scatter(s, 0, 0), lambda x, s: x.select_scatter(s, 0, 0), X, M)
    check_both_raise(lambda x, s: x.slice_scatter(s, 0, 0, 2), lambda x, s: x.slice_scatter(s, 0, 0, 2), X, M)
    check_both_raise(lambda x, s: x.diagonal_scatter(s), lambda x, s: x.diagonal_scatter(s), X, M)
    check_both_raise(lambda x: x[0, 0, 0].select(0, 0), lambda x: x[0, 0, 0].select(0, 0), X)
    for name in ("tril", "triu"):
        check_both_raise(getattr(nr, name), getattr(torch, name), np.float32(1))


def test_copies_under_pytorchs_names():
    check(lambda x: nr.unfold_copy(x, 0, 2, 1), lambda x: torch.unfold_copy(x, 0, 2, 1), X, compiled=False)
    check(lambda x: nr.narrow_copy(x, 0, 1, 2), lambda x: torch.narrow_copy(x, 0, 1, 2), X, compiled=False, grad=False)  # PyTorch's has no gradient
