"""Products of vectors and matrices against PyTorch: values, dtypes, gradients, and the errors that name both shapes."""

import jax
import numpy as np
import pytest
import torch

import neurarust_jax as nr
from tests.oracle import check, check_both_raise

RNG = np.random.default_rng(0)


def normal(*shape, dtype=np.float32):
    values = RNG.standard_normal(shape)
    if np.dtype(dtype).kind == "c":
        values = values + 1j * RNG.standard_normal(shape)
    return values.astype(dtype)


SHAPES = [((3,), (3,)), ((2, 3), (3,)), ((3,), (3, 2)), ((2, 3), (3, 4)), ((5, 2, 3), (3, 4)), ((5, 1, 2, 3), (4, 3, 2)), ((3,), (4, 3, 2)), ((4, 2, 3), (3,))]


@pytest.mark.parametrize("shapes", SHAPES, ids=str)
def test_matmul_broadcasts_as_pytorch(shapes):
    check(lambda a, b: a @ b, lambda a, b: a @ b, *(normal(*s) for s in shapes))


@pytest.mark.parametrize("dtype", [np.float64, np.complex64, np.int64, np.uint8, np.float16], ids=lambda d: np.dtype(d).name)
def test_matmul_keeps_the_dtype(dtype):
    a, b = (normal(4, 3) * 3).astype(dtype), (normal(3, 5) * 3).astype(dtype)
    if np.dtype(dtype).kind == "c":
        a, b = normal(4, 3, dtype=dtype), normal(3, 5, dtype=dtype)
    check(nr.matmul, torch.matmul, a, b, compiled=False)


@pytest.mark.parametrize("shapes", [((0, 3), (3, 4)), ((2, 0), (0, 4)), ((0, 2, 3), (0, 3, 4))], ids=str)
def test_products_of_empty_matrices(shapes):
    check(nr.matmul, torch.matmul, *(normal(*s) for s in shapes), compiled=False)


NAMED = {
    "mm": ((2, 3), (3, 4)), "bmm": ((5, 2, 3), (5, 3, 4)), "mv": ((2, 3), (3,)), "dot": ((3,), (3,)), "vdot": ((3,), (3,)), "inner": ((2, 3), (4, 3)),
    "outer": ((2,), (3,)), "ger": ((2,), (3,)), "kron": ((2, 3), (4, 1, 2)),
}  # fmt: skip


@pytest.mark.parametrize("name", NAMED)
@pytest.mark.parametrize("dtype", [np.float32, np.complex64], ids=["float32", "complex64"])
def test_named_products(name, dtype):
    operands = [normal(*s, dtype=dtype) for s in NAMED[name]]
    check(getattr(nr, name), getattr(torch, name), *operands)
    ours, theirs = getattr(nr.tensor(operands[0]), name, None), getattr(torch.tensor(operands[0]), name, None)
    assert (ours is None) == (theirs is None)


def test_inner_with_a_number_is_a_product():
    check(nr.inner, torch.inner, normal(2, 3), normal())


def test_a_numpy_matrix_on_the_left():
    a, b = normal(2, 3), normal(3, 4)
    result = a @ nr.tensor(b)
    assert isinstance(result, nr.Tensor)
    np.testing.assert_allclose(np.asarray(result), a @ b, rtol=1e-6)


ADDED = {
    "addmm": ((4,), (2, 3), (3, 4)), "addmv": ((1,), (2, 3), (3,)), "addr": ((2, 3), (2,), (3,)), "baddbmm": ((2, 1), (5, 2, 3), (5, 3, 4)),
    "addbmm": ((2, 4), (5, 2, 3), (5, 3, 4)),
}  # fmt: skip


@pytest.mark.parametrize("name", ADDED)
@pytest.mark.parametrize("factors", [{}, {"beta": 0.5, "alpha": 2}, {"beta": 0, "alpha": -1.5}], ids=str)
def test_product_added_to_a_tensor(name, factors):
    check(getattr(nr, name), getattr(torch, name), *(normal(*s) for s in ADDED[name]), **factors)


@pytest.mark.parametrize("name", ADDED)
def test_integers_take_the_whole_part_of_the_factors(name):
    operands = [RNG.integers(-5, 5, s) for s in ADDED[name]]
    if name == "addr":
        check_both_raise(nr.addr, torch.addr, *operands, alpha=1.5)
    else:
        check(getattr(nr, name), getattr(torch, name), *operands, beta=2.7, alpha=1.5, compiled=False)


def test_beta_zero_ignores_nan():
    result = nr.addmm(nr.full((2, 2), float("nan")), nr.ones(2, 3), nr.ones(3, 2), beta=0)
    assert result.tolist() == [[3.0, 3.0], [3.0, 3.0]]


EQUATIONS = [
    ("ij,jk->ik", (2, 3), (3, 4)), ("ij,jk", (2, 3), (3, 4)), ("ii", (3, 3)), ("ii->i", (3, 3)), ("...ij->...ji", (2, 3, 4)), ("...ij->ji", (2, 3, 4)),
    ("bA", (2, 3)), ("i...,i...", (2, 3), (2, 3)), ("i...,...j->...ij", (2, 3, 1), (5, 4)), ("ij,jk,kl->il", (2, 3), (3, 4), (4, 5)), ("i->", (3,)),
    (" i j , j k -> i k", (2, 3), (3, 4)), ("ij,jk->ik", (2, 1), (3, 4)), ("ij,jk->ki", (0, 3), (3, 4)), ("b...i,b...j->b...ij", (2, 3, 4), (2, 3, 5)), (",", (), ()),
]  # fmt: skip


@pytest.mark.parametrize("case", EQUATIONS, ids=str)
def test_einsum(case):
    equation, *shapes = case
    check(lambda *x: nr.einsum(equation, *x), lambda *x: torch.einsum(equation, *x), *(normal(*s) for s in shapes), compiled=equation == "ij,jk->ik")


def test_einsum_with_lists_of_subscripts():
    a, b = normal(2, 3), normal(3, 4)
    check(lambda a, b: nr.einsum(a, [0, 1], b, [1, 2], [2, 0]), lambda a, b: torch.einsum(a, [0, 1], b, [1, 2], [2, 0]), a, b)
    check(lambda a, b: nr.einsum(a, [..., 1], b, [1, 2]), lambda a, b: torch.einsum(a, [..., 1], b, [1, 2]), a, b, compiled=False)
    check(lambda a, b: nr.einsum("ij,jk", [a, b]), lambda a, b: torch.einsum("ij,jk", [a, b]), a, b, compiled=False)


@pytest.mark.parametrize("case", [("ij->iij", (2, 2)), ("ij->k", (2, 2)), ("iij", (2, 3, 4)), ("ij", (2,)), ("i", (2, 3)), ("i..", (2, 3)), ("i1", (2, 3)),
                                  ("ij,ij", (2, 3)), ("...i...", (2, 3)), ("ij,j", (2, 3), (4,))], ids=str)  # fmt: skip
def test_einsum_refuses(case):
    equation, *shapes = case
    check_both_raise(lambda *x: nr.einsum(equation, *x), lambda *x: torch.einsum(equation, *x), *(normal(*s) for s in shapes))


@pytest.mark.parametrize("dims", [1, 0, ([1, 0], [0, 1]), ([-1], [-2])], ids=str)
def test_tensordot(dims):
    a, b = ((3, 4, 5), (4, 3, 2)) if isinstance(dims, tuple) and len(dims[0]) == 2 else ((2, 3), (3, 4))
    check(nr.tensordot, torch.tensordot, normal(*a), normal(*b), dims=dims)


def test_tensordot_sums_over_a_dimension_that_meets_size_one():
    check(nr.tensordot, torch.tensordot, normal(2, 3), normal(1, 4), dims=1)


@pytest.mark.filterwarnings("ignore:torch.chain_matmul is deprecated")
def test_chain_matmul_chooses_the_order():
    check(nr.chain_matmul, torch.chain_matmul, normal(5, 2), normal(2, 7), normal(7, 1), normal(1, 4))


@pytest.mark.filterwarnings("ignore:Using torch.cross without specifying the dim")
def test_cross():
    check(nr.cross, torch.cross, normal(4, 3), normal(4, 3))
    check(nr.cross, torch.cross, normal(3, 4), normal(3, 1), dim=0)
    check_both_raise(nr.cross, torch.cross, normal(4, 2), normal(4, 2))


@pytest.mark.parametrize("p", [0.0, 0.5, 1.0, 2.0, 3.0, float("inf")])
def test_cdist_and_its_gradient_where_points_coincide(p):
    a, b = normal(2, 4, 3), normal(1, 5, 3)
    b[0, 2] = a[0, 1]
    check(nr.cdist, torch.cdist, a, b, p=p)


def test_cdist_by_matrix_product():
    check(nr.cdist, torch.cdist, normal(30, 4), normal(7, 4), rtol=1e-4, atol=1e-5)  # squares cancel
    check(nr.cdist, torch.cdist, normal(30, 4), normal(7, 4), compute_mode="donot_use_mm_for_euclid_dist")


def test_pdist():
    check(nr.pdist, torch.pdist, normal(5, 3), p=1.5)


@pytest.mark.parametrize("function", ["matmul", "mm"])
def test_shapes_that_do_not_fit_are_named_with_the_remedy(function):
    with pytest.raises(RuntimeError, match=r"mat1 and mat2 shapes cannot be multiplied \(2x3 and 4x5\)"):
        getattr(nr, function)(nr.ones(2, 3), nr.ones(4, 5))
    with pytest.raises(RuntimeError, match=r"\(2x3 and 5x3\): transpose the second: mat2.T is 3x5"):
        getattr(nr, function)(nr.ones(2, 3), nr.ones(5, 3))


@pytest.mark.parametrize("case", [("mm", (2, 3), (3,)), ("bmm", (2, 3), (3, 4)), ("bmm", (2, 3, 4), (3, 4, 5)), ("mv", (2, 3), (2,)), ("dot", (3,), (4,)),
                                  ("dot", (2, 3), (3,)), ("matmul", (), (3,)), ("matmul", (2, 3), (2,)),
                                  ("matmul", (2, 2, 3), (3, 3, 3)), ("outer", (2, 2), (2,)), ("inner", (2, 3), (2, 4))], ids=str)  # fmt: skip
def test_products_refuse_shapes(case):
    name, *shapes = case
    operands = [normal(*s) for s in shapes]
    check_both_raise(getattr(nr, name), getattr(torch, name), *operands)


def test_dtypes_that_differ_are_named_with_the_remedy():
    with pytest.raises(RuntimeError, match=r"float32 != float64.*mat2.to\(nr.float32\)"):
        nr.ones(2, 2) @ nr.ones(2, 2).double()
    check_both_raise(nr.mm, torch.mm, normal(2, 2) > 0, normal(2, 2) > 0)


def test_precision_is_set_by_name():
    assert nr.get_float32_matmul_precision() == "highest"
    nr.set_float32_matmul_precision("medium")
    try:
        assert nr.get_float32_matmul_precision() == "medium"
        text = jax.jit(lambda a: nr.mm(a, a)).lower(np.ones((2, 2), np.float32)).as_text()
        assert "HIGHEST" not in text
    finally:
        nr.set_float32_matmul_precision("highest")
    assert "HIGHEST" in jax.jit(lambda a: nr.mm(a, a)).lower(np.ones((2, 2), np.float32)).as_text()
    with pytest.raises(ValueError, match="highest"):
        nr.set_float32_matmul_precision("low")
