"""The array API's namespace: every function of the standard, against NumPy's; and SciPy and scikit-learn dispatching to it."""

import os
import subprocess
import sys

import jax
import numpy as np
import pytest

import neurarust_jax as nr

xp = nr.ones(1).__array_namespace__()
G = np.random.default_rng(0)
A, B = G.standard_normal((3, 4)), G.standard_normal((3, 4))
K, J = G.integers(-5, 6, (3, 4)), G.integers(1, 4, (3, 4))
C = A + 1j * B
S = G.standard_normal((2, 3, 3))
P = S @ S.swapaxes(1, 2) + np.eye(3)
T = K > 0
U = np.array([3, 1, 3, 2, 1])

UNARY = "abs acos acosh asin asinh atan atanh ceil conj cos cosh exp expm1 floor imag isfinite isinf isnan log log1p log2 log10 negative positive real reciprocal round sign "
UNARY += "signbit sin sinh sqrt square tan tanh trunc"
BINARY = "add atan2 copysign divide equal floor_divide greater greater_equal hypot less less_equal logaddexp maximum minimum multiply nextafter not_equal pow remainder subtract"


def to_nr(x):
    if isinstance(x, np.ndarray | np.generic):
        return nr.tensor(np.asarray(x))
    if isinstance(x, list | tuple):
        return type(x)(map(to_nr, x))
    return DTYPES.get(x, x) if isinstance(x, type) else x


DTYPES = {np.float32: nr.float32, np.int32: nr.int32, np.float64: nr.float64}


def check(name, *args, **named):
    ours, theirs = xp, np
    for part in name.split("."):
        ours, theirs = getattr(ours, part), getattr(theirs, part)
    got, expected = ours(*map(to_nr, args), **{k: to_nr(v) for k, v in named.items()}), theirs(*args, **named)
    same(name, got, expected)


def same(name, got, expected):
    if isinstance(expected, list | tuple):
        assert len(got) == len(expected), name
        for a, b in zip(got, expected, strict=True):
            same(name, a, b)
        return
    expected = np.asarray(expected)
    assert isinstance(got, nr.Tensor), name
    assert tuple(got.shape) == expected.shape, f"{name}: {tuple(got.shape)} {expected.shape}"
    assert got.dtype.dtype == expected.dtype, f"{name}: {got.dtype} {expected.dtype}"
    np.testing.assert_allclose(np.asarray(got), expected, rtol=1e-10, atol=1e-10, err_msg=name)


def test_element_by_element():
    with np.errstate(all="ignore"):
        for name in UNARY.split():
            x = np.abs(A) + 1 if name in ("acosh", "log", "log2", "log10", "log1p", "sqrt") else np.tanh(A) if name in ("acos", "asin", "atanh") else A
            check(name, C if name == "imag" else x)
        for name in ("abs", "conj", "exp", "isfinite", "real", "sqrt", "sign"):
            check(name, C)
        for name in BINARY.split():
            check(name, np.abs(A) if name == "pow" else A, B)
        for name in ("add", "multiply", "floor_divide", "remainder", "equal", "less", "maximum", "bitwise_and", "bitwise_or", "bitwise_xor", "bitwise_left_shift", "subtract"):
            check(name, np.abs(K), J)
        for name in ("ceil", "floor", "round", "trunc", "negative", "sign", "bitwise_invert", "square"):
            check(name, K)
        for name in ("logical_and", "logical_or", "logical_xor", "bitwise_and"):
            check(name, T, ~T)
        check("logical_not", T)
        check("clip", A, -0.5, 0.5)
        check("where", T, A, B)


@pytest.mark.parametrize("axis", [None, 0, -1, (0, 1)], ids=str)
def test_statistics(axis):
    for name in ("sum", "prod", "max", "min", "mean", "std", "var", "any", "all", "count_nonzero"):
        for keepdims in (False, True):
            check(name, A if name in ("mean", "std", "var") else K, axis=axis, keepdims=keepdims)
    check("var", A, axis=axis, correction=1)
    check("sum", K.astype(np.int32), axis=axis)
    check("sum", J.astype(np.uint8), axis=axis)
    if not isinstance(axis, tuple):
        for name in ("argmax", "argmin"):
            check(name, A, axis=axis, keepdims=True)


def test_shapes():
    check("permute_dims", S, (2, 0, 1))
    check("matrix_transpose", S)
    check("expand_dims", A, axis=(0, -1))
    check("squeeze", A[:, None], axis=1)
    check("concat", [A, B], axis=1)
    check("concat", [A, B], axis=None)
    check("stack", [A, B], axis=-1)
    check("unstack", A, axis=1)
    check("flip", A)
    check("flip", A, axis=0)
    check("roll", A, 2)
    check("roll", A, (1, -1), axis=(0, 1))
    check("repeat", A, 2, axis=1)
    check("repeat", U, J[0, 0])
    check("tile", A, (2, 1, 2))
    check("reshape", A, (2, -1))
    check("broadcast_to", A[0], (5, 4))
    check("broadcast_arrays", A[:1], B[:, :1])
    check("moveaxis", S, 0, -1)
    check("meshgrid", A[0], B[0])
    with pytest.raises(ValueError, match="has not length 1"):
        xp.squeeze(nr.ones(2), 0)


def test_searching_and_sorting():
    for descending in (False, True):
        got = xp.sort(nr.tensor(A), axis=0, descending=descending)
        same("sort", got, np.sort(A, axis=0)[:: -1 if descending else 1])
    check("argsort", A, axis=-1, stable=True)
    check("nonzero", K)
    check("searchsorted", np.sort(A[0]), B[0], side="right")
    check("take", A, np.array([0, -1]), axis=1)
    check("take_along_axis", A, np.argsort(A, axis=1), axis=1)
    same("unique_values", xp.unique_values(nr.tensor(U)), np.unique(U))
    for name in ("unique_all", "unique_counts", "unique_inverse"):
        check(name, U)
    check("cumulative_sum", A, axis=1, include_initial=True)
    check("cumulative_prod", A, axis=0)
    check("diff", A, axis=0)
    check("diff", A, n=2, prepend=A[:, :1])


def test_making():
    for name, args, named in [
        ("arange", (5,), {}), ("arange", (2, 9, 3), {}), ("arange", (5, 1), {}), ("linspace", (0.0, 1.0, 5), {}), ("linspace", (0.0, 1.0, 4), {"endpoint": False}),
        ("eye", (3, 4), {"k": 1}), ("zeros", ((2, 3),), {}), ("ones", (3,), {}), ("full", ((2,), 7), {}), ("zeros_like", (A,), {}), ("ones_like", (K,), {}),
        ("full_like", (A, 2.0), {}), ("asarray", ([1.0, 2.0],), {}), ("empty", ((0, 2),), {}),
    ]:  # fmt: skip
        kinds = {"dtype": np.float64} if name in ("linspace", "eye", "zeros", "ones", "empty") or name == "asarray" else {}
        check(name, *args, **named, **kinds)


def test_linalg_and_fft():
    for name, args, named in [
        ("matmul", (A, B.T), {}), ("vecdot", (C, C), {}), ("tensordot", (A, B), {"axes": 2}), ("tensordot", (A, B), {"axes": ((0,), (0,))}), ("linalg.cholesky", (P,), {}),
        ("linalg.cross", (S[0], S[1]), {}), ("linalg.det", (P,), {}), ("linalg.diagonal", (S,), {"offset": 1}), ("linalg.eigvalsh", (P,), {}), ("linalg.inv", (P,), {}),
        ("linalg.matrix_norm", (S,), {"keepdims": True}), ("linalg.matrix_power", (S, 3), {}), ("linalg.matrix_rank", (P,), {}), ("linalg.outer", (A[0], B[1]), {}),
        ("linalg.pinv", (A,), {}), ("linalg.slogdet", (P,), {}), ("linalg.solve", (P, S), {}), ("linalg.solve", (P[0], A[:, 0]), {}), ("linalg.svdvals", (A,), {}),
        ("linalg.trace", (S,), {}), ("linalg.vector_norm", (A,), {"axis": 0, "ord": 1}), ("linalg.vector_norm", (A,), {}), ("fft.fft", (A,), {"n": 5, "axis": 0}),
        ("fft.irfft", (C,), {}), ("fft.fftn", (A,), {"axes": (0,)}), ("fft.fftshift", (A,), {"axes": 1}), ("fft.fftfreq", (5,), {"d": 0.5, "dtype": np.float64}),
    ]:  # fmt: skip
        if name == "fft.fftfreq":
            same(name, xp.fft.fftfreq(5, d=0.5, dtype=nr.float64), np.fft.fftfreq(5, 0.5))
        elif name == "linalg.matrix_rank":
            assert xp.linalg.matrix_rank(nr.tensor(P)).tolist() == [3, 3]
        else:
            check(name, *args, **named)
    q, r = xp.linalg.qr(nr.tensor(A), mode="reduced")
    same("qr", q @ r, A)
    u, s, vh = xp.linalg.svd(nr.tensor(A), full_matrices=False)
    same("svd", (u * s) @ vh, A)


def test_dtypes_and_information():
    assert xp.isdtype(nr.float32, "real floating") and xp.isdtype(nr.int8, ("bool", "integral")) and not xp.isdtype(nr.bool, "numeric")
    assert xp.result_type(nr.ones(2, dtype=nr.float32), nr.float64) is nr.float64 and xp.result_type(nr.int8, 1) is nr.int8
    assert xp.can_cast(nr.int8, nr.int16) and not xp.can_cast(nr.float64, nr.float32)
    assert xp.finfo(nr.float32).dtype is nr.float32 and xp.iinfo(nr.int8).max == 127
    assert xp.astype(nr.ones(2), nr.int32).dtype is nr.int32
    info = xp.__array_namespace_info__()
    assert info.capabilities()["boolean indexing"] and set(info.dtypes(kind="complex floating")) == {"complex64", "complex128"}
    assert info.default_device() in info.devices() and len(info.devices()) == len(jax.devices()) and info.default_dtypes()["integral"] is nr.int64
    x = nr.ones(2)
    assert x.to_device(info.devices()[1]).device == info.devices()[1] and x.to_device(x.device).device == x.device
    assert x.__array_namespace__(api_version="2024.12") is xp
    with pytest.raises(ValueError, match="array API '1999'"):
        x.__array_namespace__(api_version="1999")


def test_asarray_copies_where_it_is_told_to():
    x = nr.ones(2)
    assert xp.asarray(x, copy=False) is not None and (xp.asarray(x, copy=True) == x).all()
    with pytest.raises(ValueError, match="copy=False"):
        xp.asarray([1.0], copy=False)
    with pytest.raises(ValueError, match="copy=False"):
        nr.asarray(x, dtype=nr.float64, copy=False)


def test_scipy_and_scikit_learn_dispatch_to_it():
    code = """
import numpy as np, neurarust_jax as nr
from scipy import special, stats, integrate, signal
x = np.random.default_rng(0).standard_normal((20, 3))
t = nr.tensor(x)
def check(a, b):
    assert isinstance(a, nr.Tensor), type(a)
    np.testing.assert_allclose(np.asarray(a), b, rtol=1e-8)
check(special.softmax(t, axis=1), special.softmax(x, axis=1))
check(stats.skew(t), stats.skew(x))
check(stats.gmean(abs(t)), stats.gmean(abs(x)))
check(stats.ttest_1samp(t, 0.0).pvalue, stats.ttest_1samp(x, 0.0).pvalue)
check(integrate.trapezoid(t, axis=0), integrate.trapezoid(x, axis=0))
check(signal.detrend(t, axis=0), signal.detrend(x, axis=0))
import sklearn
from sklearn.decomposition import PCA
from sklearn.metrics import mean_squared_error
with sklearn.config_context(array_api_dispatch=True):
    check(PCA(2, svd_solver="full").fit(t).explained_variance_, PCA(2, svd_solver="full").fit(x).explained_variance_)
    np.testing.assert_allclose(mean_squared_error(t[:, 0], t[:, 1]), mean_squared_error(x[:, 0], x[:, 1]))
print("done")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=os.environ | {"SCIPY_ARRAY_API": "1"})
    assert done.stdout == "done\n", done.stderr[-3000:]
