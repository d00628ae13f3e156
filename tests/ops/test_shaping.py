"""Shaping ops against PyTorch: values, dtypes, gradients, compiled and eager."""

from operator import attrgetter

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

import neurarust_jax as nr
from tests.oracle import check, check_both_raise

X = np.random.default_rng(0).standard_normal((2, 3, 4)).astype(np.float32)
C = (X + 1j * X[::-1]).astype(np.complex64)
I = np.arange(24).reshape(2, 3, 4)  # noqa: E741
DTYPES = [X, X.astype(np.float64), I, I % 2 == 0, C]

METHODS = [
    ("reshape", (4, 6)), ("reshape", (2, -1)), ("reshape", ([24],)), ("reshape", ((1, 4, 3, 2),)), ("view", (6, 4)), ("view", (-1,)),
    ("flatten", ()), ("flatten", (1,)), ("flatten", (0, 1)), ("flatten", (-2, -1)), ("ravel", ()), ("unflatten", (2, (2, -1))), ("unflatten", (-2, (3, 1))),
    ("permute", (2, 0, 1)), ("permute", ((-1, 0, 1),)), ("transpose", (0, 1)), ("transpose", (-1, 0)), ("swapaxes", (0, -1)), ("swapdims", (1, 2)),
    ("movedim", (0, -1)), ("movedim", ((0, 1), (-1, 0))), ("moveaxis", (2, 0)), ("unsqueeze", (0,)), ("unsqueeze", (-1,)), ("expand", (5, -1, 3, 4)),
    ("expand", ((2, 3, 4),)), ("broadcast_to", ((2, 2, 3, 4),)), ("repeat", (1, 2, 3)), ("repeat", (2, 1, 1, 1)), ("repeat", (0, 1, 1)), ("tile", (2,)),
    ("tile", ((2, 1, 1, 2),)), ("repeat_interleave", (2,)), ("repeat_interleave", (3, -1)), ("flip", (0,)), ("flip", (0, -1)), ("fliplr", ()), ("flipud", ()),
    ("roll", (5,)), ("roll", (1, 0)), ("roll", ((1, -2), (0, 2))), ("rot90", ()), ("rot90", (2,)), ("rot90", (-1, (1, 2))), ("adjoint", ()),
]  # fmt: skip


@pytest.mark.parametrize(("name", "arguments"), METHODS, ids=str)
def test_shaping_method_equals_pytorch(name, arguments):
    check(lambda x: getattr(x, name)(*arguments), lambda x: getattr(x, name)(*arguments), X)
    for x in DTYPES[1:]:
        check(lambda x: getattr(x, name)(*arguments), lambda x: getattr(x, name)(*arguments), x, compiled=False)
    for x in (X[:, :0], X[:1, :1, :1]):
        try:
            getattr(torch.tensor(x), name)(*arguments)
        except RuntimeError:
            continue
        check(lambda x: getattr(x, name)(*arguments), lambda x: getattr(x, name)(*arguments), x, compiled=False)


@pytest.mark.parametrize("dim", [(), (0,), (1,), (-1,), ((0, 2),), (0, 2), ((),)], ids=str)
def test_squeeze_removes_dimensions_of_length_one(dim):
    check(lambda x: x.squeeze(*dim), lambda x: x.squeeze(*dim), X[:1, :, :1])


@pytest.mark.parametrize("x", [X[0], C[0], I[0]], ids=lambda x: x.dtype.name)
def test_transposes_of_matrices(x):
    for name in ("T", "mT", "H", "mH"):
        check(attrgetter(name), attrgetter(name), x)
    check(nr.t, torch.t, x)
    check(nr.adjoint, torch.adjoint, x)


def test_transposes_of_batches():
    check(lambda x: x.mT, lambda x: x.mT, X)
    check(lambda x: x.mH, lambda x: x.mH, C)
    check(lambda x: x.T, lambda x: x.permute(2, 1, 0), X)
    check_both_raise(lambda x: x.H, lambda x: x.H, X)
    for name in ("mT", "mH", "H"):
        check_both_raise(attrgetter(name), attrgetter(name), X[0, 0])


@pytest.mark.parametrize(
    "shape", [lambda x: x.reshape(1, 1), lambda x: x.flatten(), lambda x: x.unsqueeze(-1), lambda x: x.squeeze(), lambda x: x.expand(3), lambda x: x.t(),
              lambda x: x.transpose(0, -1), lambda x: x.permute(()), lambda x: x.repeat(2, 2), lambda x: x.flip(()), lambda x: x.roll(1), lambda x: x.ravel(),
              lambda x: x.repeat_interleave(2)]
)  # fmt: skip
def test_zero_dimensional_input(shape):
    check(shape, shape, np.float32(2.5))


@pytest.mark.parametrize("x", [np.float32(1.5), X[0, 0], X[0], X, X[None]], ids=lambda x: str(np.ndim(x)))
def test_at_least_so_many_dimensions(x):
    for name in ("atleast_1d", "atleast_2d", "atleast_3d"):
        check(getattr(nr, name), getattr(torch, name), x)
        check(lambda a, name=name: getattr(nr, name)(a, a), lambda a, name=name: getattr(torch, name)(a, a), x, compiled=False)


def test_shape_of_another_tensor():
    for name in ("reshape_as", "view_as"):
        check(getattr(nr.Tensor, name), getattr(torch.Tensor, name), X, X.reshape(6, 4))
    check(lambda x, y: x.expand_as(y), lambda x, y: x.expand_as(y), X[:1], X)


def test_broadcasting_together():
    check(lambda *x: nr.broadcast_tensors(*x), lambda *x: torch.broadcast_tensors(*x), X, X[0, :, :1], np.float32(1))
    assert nr.broadcast_shapes((2, 1), 3, (1,)) == torch.broadcast_shapes((2, 1), 3, (1,))
    assert nr.broadcast_shapes() == ()
    with pytest.raises(RuntimeError, match=r"must match the size"):
        nr.broadcast_shapes((2,), (3,))


@pytest.mark.parametrize(("have", "want"), [("float32", "int32"), ("float64", "float32"), ("int32", "int64"), ("complex64", "float32"),
                                            ("float32", "complex64"),
                                            ("uint8", "bool"), ("bool", "uint8"), ("int16", "bfloat16"), ("complex128", "int64")])  # fmt: skip
def test_view_as_dtype_reads_the_same_bits(have, want):
    x = (I % 2).astype(have)
    check(lambda x: x.view(getattr(nr, want)), lambda x: x.view(getattr(torch, want)), x, grad=False)


def test_view_as_wider_dtype_needs_a_length_that_divides():
    check_both_raise(lambda x: x.view(nr.float64), lambda x: x.view(torch.float64), X[:, :, :3])
    check_both_raise(lambda x: x.view(nr.float64), lambda x: x.view(torch.float64), np.float32(1))


def test_real_and_complex_views():
    check(nr.view_as_real, torch.view_as_real, C)
    check(nr.view_as_complex, torch.view_as_complex, X[..., :2])
    check_both_raise(nr.view_as_complex, torch.view_as_complex, X)
    check_both_raise(nr.view_as_complex, torch.view_as_complex, I[..., :2])
    check_both_raise(nr.view_as_real, torch.view_as_real, X)


@pytest.mark.parametrize(("repeats", "dim"), [([1, 0, 3], 1), ([2], 0), ([0, 0], 0), (2, None)], ids=str)
def test_repeat_interleave_by_a_tensor(repeats, dim):
    ours, theirs = nr.tensor(repeats), torch.tensor(repeats)
    check(lambda x: nr.repeat_interleave(x, ours, dim), lambda x: torch.repeat_interleave(x, theirs, dim), X)


def test_repeat_interleave_inside_a_transformation_needs_the_size():
    repeats = nr.tensor([1, 3])
    with pytest.raises(RuntimeError, match="output_size="):
        jax.jit(lambda r: nr.repeat_interleave(nr.ones(2), r))(repeats)
    got = jax.jit(lambda r: nr.repeat_interleave(nr.tensor([5.0, 6.0]), r, output_size=4))(repeats)
    np.testing.assert_array_equal(np.asarray(got), [5, 6, 6, 6])
    check(nr.repeat_interleave, torch.repeat_interleave, np.array([2, 0, 1]), compiled=False)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [("reshape", (5,)), ("reshape", (-1, -1)), ("reshape", (-2, 12)), ("permute", (0, 1)), ("permute", (0, 0, 1)), ("transpose", (0, 3)),
     ("unsqueeze", (4,)), ("squeeze", (3,)), ("flatten", (2, 1)), ("unflatten", (1, (2, 2))), ("expand", (2, 3, 5)), ("expand", (3, 4)),
     ("expand", (-1, 2, 3, 4)), ("repeat", (2, 2)), ("movedim", ((0, 1), (0,))), ("movedim", ((0, 0), (1, 2))), ("roll", ((1, 2), (0,))),
     ("rot90", (1, (0, 0))), ("rot90", (1, (0,))), ("flip", (0, 0)), ("flip", (3,)), ("t", ()), ("repeat_interleave", (-1,))],
    ids=str,
)  # fmt: skip
def test_wrong_arguments_raise_as_in_pytorch(name, arguments):
    check_both_raise(lambda x: getattr(x, name)(*arguments), lambda x: getattr(x, name)(*arguments), X)


def test_reshape_error_says_the_shape_and_the_size():
    with pytest.raises(RuntimeError, match=r"shape '\[5, -1\]' is invalid for input of size 24"):
        nr.tensor(X).reshape(5, -1)
    with pytest.raises(RuntimeError, match="ambiguous"):
        nr.zeros(0).reshape(-1, 0)


def test_numpy_names_and_raw_arrays():
    assert nr.squeeze(nr.ones(1, 2), axis=0).shape == (2,)
    assert nr.reshape(jnp.ones((2, 3)), (3, 2)).shape == (3, 2)
    assert nr.reshape(nr.ones(4), shape=(2, 2)).shape == (2, 2)
    with pytest.raises(TypeError, match="out = nr.repeat_interleave"):
        nr.repeat_interleave(nr.ones(2), 2, out=nr.ones(4))


def test_copies_under_pytorchs_names():
    check(lambda x: nr.permute_copy(x, (2, 0, 1)), lambda x: torch.permute_copy(x, (2, 0, 1)), X, compiled=False)
    check(nr.alias_copy, lambda x: torch.clone(x), X, compiled=False)
