"""`nr.linalg` against PyTorch: determinants, inverses, systems, norms, powers, tensors as matrices."""

import math

import jax
import numpy as np
import pytest
import torch

import neurarust_jax as nr
import neurarust_jax.linalg as ours
from neurarust_jax.ops import factorization, linalg, spectral
from tests.oracle import check, check_both_raise

theirs = torch.linalg
RNG = np.random.default_rng(0)
inf = math.inf


def normal(*shape, dtype=np.float64):
    values = RNG.standard_normal(shape)
    if np.dtype(dtype).kind == "c":
        values = values + 1j * RNG.standard_normal(shape)
    return values.astype(dtype)


def well_conditioned(*shape, dtype=np.float64):
    return normal(*shape, dtype=dtype) + 3 * np.eye(*shape[-2:]).astype(dtype)


LOOSE = {"rtol": 1e-9, "atol": 1e-9}  # PyTorch's LAPACK and XLA's eliminate in another order


def test_the_public_module_names_what_the_families_define_and_all_of_pytorchs():
    assert set(ours.__all__) == {*factorization.NAMESPACE, *linalg.NAMESPACE, *spectral.NAMESPACE}
    assert {n for n in dir(theirs) if not n.startswith("_") and callable(getattr(theirs, n))} <= set(ours.__all__)


@pytest.mark.parametrize("name", ["det", "slogdet", "inv", "inv_ex", "matrix_exp"])
@pytest.mark.parametrize("dtype", [np.float64, np.complex128], ids=["real", "complex"])
@pytest.mark.parametrize("shape", [(3, 3), (2, 4, 4), (0, 3, 3), (2, 0, 0)], ids=str)
def test_functions_of_square_matrices(name, dtype, shape):
    check(getattr(ours, name), getattr(theirs, name), well_conditioned(*shape, dtype=dtype), compiled=shape == (3, 3), **LOOSE)


def test_float32_stays_float32():
    check(ours.inv, theirs.inv, well_conditioned(3, 3, dtype=np.float32))
    check(ours.det, theirs.det, well_conditioned(5, 5, dtype=np.float32), rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("rank", [2, 1])
def test_gradient_of_the_determinant_of_a_singular_matrix(rank):
    A = normal(3, rank) @ normal(rank, 3)
    check(ours.det, theirs.det, A, atol=1e-9)


@pytest.mark.parametrize("shapes", [((3, 3), (3,)), ((3, 3), (3, 2)), ((2, 3, 3), (2, 3)), ((2, 3, 3), (3, 2)), ((1, 3, 3), (4, 3, 2)), ((0, 3, 3), (0, 3, 1))], ids=str)
@pytest.mark.parametrize("dtype", [np.float64, np.complex128], ids=["real", "complex"])
def test_solve(shapes, dtype):
    a, b = shapes
    check(ours.solve, theirs.solve, well_conditioned(*a, dtype=dtype), normal(*b, dtype=dtype), compiled=dtype == np.float64, **LOOSE)


def test_solve_from_the_right():
    check(ours.solve, theirs.solve, well_conditioned(2, 3, 3), normal(4, 3), left=False, **LOOSE)
    check_both_raise(ours.solve, theirs.solve, well_conditioned(3, 3), normal(3), left=False)


@pytest.mark.parametrize("upper", [True, False])
@pytest.mark.parametrize("left", [True, False])
@pytest.mark.parametrize("unitriangular", [True, False])
def test_solve_triangular(upper, left, unitriangular):
    A, B = well_conditioned(2, 3, 3, dtype=np.complex128), normal(*((3, 4) if left else (4, 3)), dtype=np.complex128)
    check(ours.solve_triangular, theirs.solve_triangular, A, B, upper=upper, left=left, unitriangular=unitriangular, compiled=False, **LOOSE)


@pytest.mark.parametrize("shape", [(4, 3), (3, 4), (2, 3, 3), (0, 3), (2, 3, 0)], ids=str)
@pytest.mark.parametrize("dtype", [np.float64, np.complex128], ids=["real", "complex"])
def test_pinv(shape, dtype):
    check(ours.pinv, theirs.pinv, normal(*shape, dtype=dtype), compiled=dtype == np.float64, **LOOSE)


@pytest.mark.parametrize("options", [{"rtol": 0.3}, {"atol": 1.0}, {"atol": 0.1, "rtol": 0.2}, {"hermitian": True}, {"rcond": 0.3}], ids=str)
def test_pinv_tolerances(options):
    A = normal(3, 3)
    A = A + A.T
    named = {("rtol" if k == "rcond" else k): v for k, v in options.items()}
    check(lambda A: ours.pinv(A, **options), lambda A: theirs.pinv(A, **named), A, compiled=False, **LOOSE)
    check(lambda A: ours.pinv(A, rtol=nr.tensor([0.1, 0.5])), lambda A: theirs.pinv(A, rtol=torch.tensor([0.1, 0.5])), np.stack([A, A]), compiled=False, **LOOSE)


@pytest.mark.parametrize("driver", [None, "gels", "gelsy", "gelsd", "gelss"])
@pytest.mark.parametrize("shapes", [((4, 3), (4, 2)), ((3, 4), (3, 2)), ((2, 4, 3), (2, 4)), ((4, 3), (4, 1))], ids=str)
def test_lstsq(driver, shapes):
    check(ours.lstsq, theirs.lstsq, normal(*shapes[0]), normal(*shapes[1]), driver=driver, compiled=False, **LOOSE)


def test_lstsq_of_a_matrix_without_full_rank():
    A, B = np.ones((3, 2)), normal(3, 1)
    check(ours.lstsq, theirs.lstsq, A, B, driver="gelsd", grad=False, compiled=False, atol=1e-9)
    with pytest.raises(RuntimeError, match="does not have full rank"):
        ours.lstsq(nr.tensor(A), nr.tensor(B), driver="gels")
    check_both_raise(ours.lstsq, theirs.lstsq, A, B, driver="unknown")


# --- norms ---


@pytest.mark.parametrize("order", [2, 0, 1, 3, -1, 0.5, inf, -inf])
@pytest.mark.parametrize("dim", [None, -1, (0, 2)], ids=str)
def test_vector_norm(order, dim):
    check(ours.vector_norm, theirs.vector_norm, normal(2, 3, 4), ord=order, dim=dim, compiled=False)


@pytest.mark.parametrize("order", ["fro", "nuc", 1, -1, 2, -2, inf, -inf])
@pytest.mark.parametrize("dim", [(-2, -1), (2, 0)], ids=str)
def test_matrix_norm(order, dim):
    for keepdim in (False, True):
        check(ours.matrix_norm, theirs.matrix_norm, normal(2, 3, 4), ord=order, dim=dim, keepdim=keepdim, compiled=keepdim, **LOOSE)


def test_norm_of_complex_matrices_and_of_wider_dtype():
    check(ours.matrix_norm, theirs.matrix_norm, normal(3, 3, dtype=np.complex128), ord="nuc", **LOOSE)
    x = normal(3, 3, dtype=np.float32)
    np.testing.assert_allclose(ours.norm(nr.tensor(x), dtype=nr.float64).item(), theirs.norm(torch.tensor(x), dtype=torch.float64).item())


@pytest.mark.parametrize("options", [{}, {"ord": 2}, {"ord": "fro"}, {"ord": 1, "dim": 0}, {"ord": 1, "dim": (0, 1)}, {"dim": (0, 1), "keepdim": True}], ids=str)
def test_norm_is_of_a_vector_or_matrix_by_its_dimensions(options):
    check(ours.norm, theirs.norm, normal(3, 4), **options, compiled=False, **LOOSE)


def test_norms_of_zeros_have_the_gradient_zero():
    for order in (1, 2, inf):
        check(ours.vector_norm, theirs.vector_norm, np.zeros(3), ord=order, compiled=False)


@pytest.mark.parametrize("p", [None, 2, -2, "fro", "nuc", 1, -1, inf, -inf])
def test_cond(p):
    A = well_conditioned(2, 3, 3)
    check(ours.cond, theirs.cond, A, p=p, grad=False, rtol=1e-8, atol=1e-8)
    if p not in (None, 2, -2):  # PyTorch's own gradient fails: "modified by an inplace operation"
        check(lambda A: ours.cond(A, p), lambda A: theirs.norm(A, p, (1, 2)) * theirs.norm(theirs.inv(A), p, (1, 2)), A, compiled=False, rtol=1e-8, atol=1e-8)
    else:
        check(ours.cond, theirs.cond, A, p=p, compiled=False, rtol=1e-8, atol=1e-8)


def test_cond_of_a_singular_matrix_is_infinite():
    assert ours.cond(nr.zeros(2, 2), 1).item() == inf
    check(ours.cond, theirs.cond, np.zeros((3, 0, 0)), grad=False)


@pytest.mark.parametrize("options", [{}, {"atol": 1.0}, {"rtol": 0.5}, {"tol": 2.0}, {"hermitian": True}], ids=str)
def test_matrix_rank(options):
    A = normal(2, 4, 2) @ normal(2, 2, 4)
    A = A + np.swapaxes(A, -1, -2)
    check(lambda A: ours.matrix_rank(A, **options), lambda A: theirs.matrix_rank(A, **options), A, grad=False)


# --- powers and products ---


@pytest.mark.parametrize("n", [0, 1, 2, 3, 5, -1, -3])
def test_matrix_power(n):
    check(ours.matrix_power, theirs.matrix_power, well_conditioned(2, 3, 3), n=n, compiled=n == 3, **LOOSE)


def test_matrix_power_of_integers():
    check(ours.matrix_power, theirs.matrix_power, np.array([[1, 2], [3, 4]]), n=4)
    check_both_raise(ours.matrix_power, theirs.matrix_power, np.array([[True]]), n=2)


def test_matrix_exp_of_large_matrices():
    check(ours.matrix_exp, theirs.matrix_exp, 10 * np.array([[0.0, 1.0], [-1.0, 0.0]]), rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("shapes", [((2, 3), (3, 4)), ((5, 2), (2, 7), (7, 1), (1, 4)), ((3,), (3, 2), (2, 4)), ((4, 3), (3, 2), (2,)), ((3,), (3,))], ids=str)
def test_multi_dot(shapes):
    check(lambda *x: ours.multi_dot(x), lambda *x: theirs.multi_dot(x), *(normal(*s) for s in shapes), **LOOSE)


def test_multi_dot_names_the_pair_that_does_not_fit():
    with pytest.raises(RuntimeError, match=r"tensors 1 and 2 with shapes \[3, 4\] and \[5, 6\]"):
        ours.multi_dot([nr.ones(2, 3), nr.ones(3, 4), nr.ones(5, 6)])


def test_cross_and_vecdot_and_diagonal():
    check(ours.cross, theirs.cross, normal(4, 3), normal(1, 3), compiled=False)
    check_both_raise(ours.cross, theirs.cross, normal(4, 3), normal(3))
    check(ours.vecdot, theirs.vecdot, normal(4, 3, dtype=np.complex128), normal(3, dtype=np.complex128), compiled=False)
    check(ours.vecdot, theirs.vecdot, normal(4, 3), normal(4, 3), dim=0, compiled=False)
    check(ours.diagonal, theirs.diagonal, normal(2, 3, 4), offset=1, compiled=False)


@pytest.mark.parametrize("N", [None, 2, 5])
def test_vander(N):
    check(ours.vander, theirs.vander, normal(2, 3), N=N, compiled=False)
    check(ours.vander, theirs.vander, np.array([1, 2, 3], np.int32), N=N, compiled=False)


def test_tensors_as_matrices():
    check(ours.tensorinv, theirs.tensorinv, well_conditioned(6, 6).reshape(2, 3, 6), ind=2, **LOOSE)
    check(ours.tensorsolve, theirs.tensorsolve, well_conditioned(6, 6).reshape(2, 3, 6), normal(2, 3), **LOOSE)
    check(ours.tensorsolve, theirs.tensorsolve, well_conditioned(6, 6).reshape(6, 2, 3), normal(2, 3), dims=(0,), **LOOSE)
    check_both_raise(ours.tensorinv, theirs.tensorinv, normal(2, 3, 4), ind=1)


# --- errors ---


@pytest.mark.parametrize("name", ["inv", "det", "slogdet", "solve", "matrix_exp", "cholesky", "eigh", "eig"])
def test_square_matrices_of_floats_are_asked_for(name):
    def call(module, A):
        return getattr(module, name)(A, A) if name == "solve" else getattr(module, name)(A)

    for bad in (normal(2, 3), normal(3), np.eye(2, dtype=np.int64), normal(2, 2).astype(np.float16)):
        if not (name == "matrix_exp" and bad.dtype == np.float16):  # PyTorch takes half precision there
            check_both_raise(lambda A: call(ours, A), lambda A: call(theirs, A), bad)


def test_a_singular_matrix_raises_with_its_place_in_the_batch():
    batch = nr.stack([nr.eye(2), nr.zeros(2, 2)])
    for raises in (lambda: ours.inv(batch), lambda: ours.inv(nr.zeros(2, 2)), lambda: ours.solve(batch, nr.ones(2)), lambda: ours.matrix_power(batch, -1)):
        with pytest.raises(ours.LinAlgError, match="singular"):
            raises()
    with pytest.raises(RuntimeError, match=r"\(Batch element 1\): The diagonal element 1 is zero"):
        ours.inv(batch)
    assert ours.inv_ex(batch).info.tolist() == [0, 1]


def test_a_singular_matrix_gives_no_error_under_jit():
    result = jax.jit(lambda A: ours.inv(A))(nr.zeros(2, 2))
    assert not np.isfinite(np.asarray(result)).any()


def test_out_is_refused_with_the_line_to_write():
    with pytest.raises(TypeError, match="takes no out="):
        ours.inv(nr.eye(2), out=nr.eye(2))
