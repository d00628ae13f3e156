"""Masked reductions and normalizations against PyTorch."""

import numpy as np
import pytest
import torch

import neurarust_jax as nr
from tests.oracle import check, check_both_raise

G = np.random.default_rng(0)
X = G.standard_normal((3, 4, 2)).astype(np.float32)
C = (X + 1j * X[::-1]).astype(np.complex64)
I = G.integers(-5, 6, (3, 4, 2))  # noqa: E741
INPUTS = {"float32": X, "float64": X.astype(np.float64), "int64": I, "int32": I.astype(np.int32), "bool": I > 0, "complex64": C}
MASK = G.random((3, 4, 2)) > 0.4
MASK[0] = False  # nothing valid there
MASKS = {"full": MASK, "broadcast": MASK[2, :, :1], "integer": MASK.astype(np.int64), "none": None}

SUMS = ["sum", "prod"]
EXTREMES = ["amax", "amin"]
MOMENTS = ["mean", "var", "std"]
NORMALIZATIONS = ["softmax", "log_softmax", "softmin", "cumsum", "cumprod"]
REAL = ("float32", "float64", "int64", "int32")
FLOATING = ("float32", "float64")
TAKES = {
    **dict.fromkeys(SUMS, tuple(INPUTS)), **dict.fromkeys([*EXTREMES, "argmax", "argmin", "logsumexp"], REAL), "mean": (*FLOATING, "complex64"),
    **dict.fromkeys(["var", "std"], (*REAL, "complex64")), **dict.fromkeys(["softmax", "log_softmax", "softmin"], FLOATING),
    **dict.fromkeys(["cumsum", "cumprod"], (*REAL, "complex64")),
}  # fmt: skip


def compare(name, x, mask, *arguments, grad=True, compiled=False, **options):
    """`name` of x with a mask, both as tensors of either library."""
    ours, theirs = getattr(nr.masked, name), getattr(torch.masked, name)
    if mask is None:
        check(lambda x: ours(x, *arguments, **options), lambda x: theirs(x, *arguments, **options), x, grad=grad, compiled=compiled)
    else:
        check(
            lambda x, m: ours(x, *arguments, mask=m, **options), lambda x, m: theirs(x, *arguments, mask=m, **options), x, mask, grad=grad, compiled=compiled
        )


def test_the_namespace_is_pytorchs_without_the_class_of_masked_tensors():
    from neurarust_jax.ops.masked import NAMESPACE

    assert sorted(nr.masked.__all__) == sorted(NAMESPACE)
    assert set(torch.masked.__all__) - set(nr.masked.__all__) == {"as_masked_tensor", "is_masked_tensor", "masked_tensor", "MaskedTensor"}


@pytest.mark.parametrize("name", [*SUMS, *EXTREMES, *MOMENTS, "logsumexp"])
def test_reductions_equal_pytorch_for_every_dtype_and_mask(name):
    for dtype in TAKES[name]:
        compare(name, INPUTS[dtype], MASK, dim=1, grad=dtype in ("float64", "complex64"))
    for options in ({}, {"dim": (0, -1), "keepdim": True}):
        compare(name, X, MASK, grad=False, **options)
    for mask in MASKS.values():
        compare(name, X, mask, dim=1, grad=False)


@pytest.mark.parametrize("name", NORMALIZATIONS)
def test_normalizations_equal_pytorch_for_every_dtype_and_mask(name):
    for dtype in TAKES[name]:
        compare(name, INPUTS[dtype], MASK, 1, grad=dtype in ("float64", "complex64"))
    for mask in MASKS.values():
        compare(name, X, mask, 1, grad=False)


@pytest.mark.parametrize("name", [*SUMS, *EXTREMES, *MOMENTS, "logsumexp", *NORMALIZATIONS])
def test_dtype_is_converted_where_pytorch_does(name):
    arguments = (0,) if name in NORMALIZATIONS else ()
    for x in (X, I):
        if x.dtype.name in TAKES[name]:
            ours = lambda x: getattr(nr.masked, name)(x, *arguments, dtype=nr.float64, mask=nr.tensor(MASK))  # noqa: E731
            theirs = lambda x: getattr(torch.masked, name)(x, *arguments, dtype=torch.float64, mask=torch.tensor(MASK))  # noqa: E731
            check(ours, theirs, x, grad=False, compiled=False)


@pytest.mark.parametrize("name", ["argmax", "argmin"])
def test_positions_have_the_dtype_of_the_input(name):
    for dtype in TAKES[name]:
        for options in ({}, {"dim": 1}, {"dim": -1, "keepdim": True}):
            compare(name, INPUTS[dtype], MASK, grad=False, **options)


@pytest.mark.parametrize("arguments", [{"unbiased": False}, {"unbiased": True}, {"correction": 0}, {"correction": 2}, {"dim": 1, "keepdim": True}], ids=str)
@pytest.mark.parametrize("name", ["var", "std"])
def test_corrections_of_the_variance(name, arguments):
    compare(name, X, MASKS["broadcast"], **arguments)
    compare(name, X, None, **arguments)


@pytest.mark.parametrize("ord", [2, 1, 3.5, 0, float("inf"), -float("inf")])
def test_norms_equal_pytorch(ord):
    for options in ({"dim": 1}, {"dim": (0, 2), "keepdim": True}):
        compare("norm", X, MASK, ord, **options)
    compare("norm", X, None, ord)
    if ord != -float("inf"):
        compare("norm", C, MASK, ord, 1)
        compare("normalize", X, MASK, ord, 1)
    compare("normalize", X, None, ord, 1, eps=0.5)


def test_median_ignores_what_is_masked_out():
    for x in (X, X.astype(np.float64)):
        compare("median", x, MASK)
        compare("median", x, MASKS["broadcast"], 1, keepdim=True)
    compare("median", I, None, 0)
    valid = MASK.copy()
    valid[..., 0] = True
    compare("median", I, valid, 2)
    check_both_raise(lambda x, m: nr.masked.median(x, 2, mask=m), lambda x, m: torch.masked.median(x, 2, mask=m), I, MASK)


def test_logaddexp_takes_a_mask_for_either_side():
    def call(library):
        return lambda x, y, m, n: library.masked.logaddexp(x, y, input_mask=m, other_mask=n)

    check(call(nr), call(torch), X, X[::-1].copy(), MASK, MASK[::-1].copy(), grad=False)
    check(nr.masked.logaddexp, torch.masked.logaddexp, X, X[::-1].copy())


def test_zero_dimensional_and_empty_inputs():
    for name in (*SUMS, *EXTREMES, *MOMENTS, "norm", "logsumexp"):
        compare(name, np.float32(2.5), np.array(True))
        compare(name, np.float32(2.5), np.array(False), grad=False)
    for name in (*SUMS, "norm"):
        compare(name, X[:0], MASK[:0])
    for name in EXTREMES:
        check_both_raise(getattr(nr.masked, name), getattr(torch.masked, name), X[:0])


def test_compiled_programs_equal_eager_ones():
    for name, arguments in {"sum": (1,), "var": (0,), "softmax": (1,), "norm": (2.0, 1), "median": (1,), "normalize": (2.0, 1)}.items():
        compare(name, X, MASK, *arguments, grad=False, compiled=True)


def test_masks_that_do_not_fit_are_refused():
    for mask in (np.ones((1, 3, 4, 2), bool), np.ones(3, bool)):
        check_both_raise(lambda x, m: nr.masked.sum(x, mask=m), lambda x, m: torch.masked.sum(x, mask=m), X, mask)


def test_dtypes_without_an_identity_are_refused():
    for name in ("amax", "argmin"):
        for x in (I > 0, C):
            with pytest.raises(RuntimeError, match=f"identity of {name}"):
                getattr(nr.masked, name)(nr.tensor(x), mask=nr.tensor(MASK))
    check_both_raise(nr.masked.mean, torch.masked.mean, I)
    check_both_raise(nr.masked.norm, torch.masked.norm, I)
    check_both_raise(lambda x: nr.masked.softmax(x, 0), lambda x: torch.masked.softmax(x, 0), I)
