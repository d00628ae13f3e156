"""`nr.testing` against `torch.testing`: the same comparisons fail, with the same text."""

import functools
import math
from collections import OrderedDict

import jax.numpy as jnp
import numpy as np
import pytest
import torch

import neurarust_jax as nr
from tests.oracle import to_nr, to_torch

inf, nan = math.inf, math.nan
F = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], np.float32)


def near(x, by):
    return (x * (1 + by)).astype(x.dtype)


def raised(function, *arguments, **options):
    """The class and text of the error, or `None`."""
    try:
        function(*arguments, **options)
    except Exception as error:
        return type(error), str(error)
    return None


def convert(x, leaf):
    if isinstance(x, dict):
        return type(x)((k, convert(v, leaf)) for k, v in x.items())
    if isinstance(x, list | tuple):
        return type(x)(convert(v, leaf) for v in x)
    return leaf(x) if isinstance(x, np.ndarray) else x


def compare(actual, expected, leaf=None, **options):
    """Both libraries accept, or both refuse with one text."""
    ours = raised(nr.testing.assert_close, *(convert(x, leaf or to_nr) for x in (actual, expected)), **options)
    theirs = raised(torch.testing.assert_close, *(convert(x, leaf or to_torch) for x in (actual, expected)), **options)
    if theirs is None:
        assert ours is None
        return
    assert ours is not None, f"accepted; PyTorch: {theirs[1]}"
    assert issubclass(ours[0], theirs[0])
    text = theirs[1].replace("torch.Size", "neurarust_jax.Size").replace("torch.", "neurarust_jax.")
    assert ours[1].replace("neurarust_jax.tensor.Tensor", "neurarust_jax.Tensor") == text


TENSORS = {
    "equal": (F, F),
    "close": (near(F, 1e-6), F),
    "one apart": (F + np.eye(2, 3, 1, dtype=np.float32), F),
    "far apart": (F * 3, F),
    "at zero": (np.array([1.0, 0.0], np.float32), np.array([0.0, 0.0], np.float32)),
    "float64": (near(F.astype(np.float64), 1e-5), F.astype(np.float64)),
    "float16": (near(F.astype(np.float16), 5e-3), F.astype(np.float16)),
    "float16 close": (near(F.astype(np.float16), 1e-3), F.astype(np.float16)),
    "complex": (np.array([6 + 8j, 1], np.complex64), np.array([3 + 4j, 1], np.complex64)),
    "integers": (np.array([1, 2, 9]), np.array([1, 3, 2])),
    "small integers": (np.array([250, 2], np.uint8), np.array([1, 2], np.uint8)),
    "integers at zero": (np.array([1, 2]), np.array([0, 2])),
    "booleans": (np.array([True, False]), np.array([True, True])),
    "zero-dimensional": (np.array(1.0, np.float32), np.array(1.5, np.float32)),
    "zero-dimensional integers": (np.array(1), np.array(2)),
    "empty": (F[:0], F[:0]),
    "NaN": (np.array([nan, 1.0, 2.0]), np.array([nan, 1.0, 3.0])),
    "infinite": (np.array([inf, -inf, inf]), np.array([inf, inf, 1.0])),
    "shapes": (F, F[:, :2]),
    "dtypes": (F, F.astype(np.float64)),
    "signedness": (np.array([1, 2], np.uint16), np.array([1, 2], np.int32)),
}


@pytest.mark.parametrize("case", TENSORS)
@pytest.mark.parametrize(
    "options",
    [{}, {"rtol": 0, "atol": 0}, {"rtol": 0.5, "atol": 0.1}, {"equal_nan": True}, {"check_dtype": False}],
    ids=["default", "exact", "wide", "equal_nan", "any_dtype"],
)
def test_tensors_compare_as_in_pytorch(case, options):
    compare(*TENSORS[case], **options)


def test_bfloat16_and_float8_compare_as_in_pytorch():
    for dtype in ("bfloat16", "float8_e5m2"):
        for a, b in [(F, F), (near(F, 0.01), F), (F * 1.5, F), (F * np.array([1, 1, 2], np.float32), F)]:
            ours = raised(nr.testing.assert_close, *(nr.tensor(x).to(getattr(nr, dtype)) for x in (a, b)))
            theirs = raised(torch.testing.assert_close, *(torch.tensor(x).to(getattr(torch, dtype)) for x in (a, b)))
            assert ours == theirs
    x = nr.tensor(F).to(nr.float8_e5m2)
    with pytest.raises(AssertionError, match="bitwise comparison"):
        nr.testing.assert_close(x, x, rtol=0.1, atol=0.1)


NUMBERS = [(1, 1), (1, 2), (1.0, 1.0 + 1e-9), (1.0, 1.1), (1.0, 0.0), (1, 1.0), (1j, 1.5j), (nan, nan), (inf, inf), (inf, 1.0), (True, False), (None, None), (None, 1)]


@pytest.mark.parametrize("options", [{}, {"rtol": 0, "atol": 0}, {"equal_nan": True, "check_dtype": False}], ids=str)
@pytest.mark.parametrize("pair", NUMBERS, ids=str)
def test_numbers_compare_as_in_pytorch(pair, options):
    compare(*pair, **options)


def test_numpy_numbers_and_arrays_compare_with_their_own_kind():
    compare(np.float32(1.0), 1.0, leaf=lambda x: x)
    compare(np.float32(1.0), np.float64(1.5), leaf=lambda x: x)
    compare(np.bool_(True), False, leaf=lambda x: x)
    compare(F, F + 1, leaf=lambda x: x)
    compare(F, F.copy(), leaf=lambda x: x)


def test_jax_arrays_compare_with_jax_arrays():
    nr.testing.assert_close(jnp.asarray(F), jnp.asarray(F))
    with pytest.raises(AssertionError, match=r"Mismatched elements: 6 / 6"):
        nr.testing.assert_close(jnp.asarray(F), jnp.asarray(F + 1))


CONTAINERS = {
    "lists": ([F, F], [F, F + 1]),
    "list and tuple": ([F, 1.0], (F, 1.0)),
    "lengths": ([F], [F, F]),
    "lengths inside": ([[1, 2], [1]], [[1, 2], [1, 2]]),
    "mappings": ({"a": F, "b": [1, 2]}, OrderedDict(b=[1, 3], a=F)),
    "keys": ({"a": F, "c": F}, {"a": F, "b": F}),
    "mixed keys": ({1: 1.0, "a": 2.0}, {"a": 2.0, 1: 1.0}),
    "None inside": ([None, 1], [None, 1]),
    "text": (["a"], ["a"]),
    "kinds": ([1.0], [F]),
}


@pytest.mark.parametrize("case", CONTAINERS)
def test_containers_compare_as_in_pytorch(case):
    compare(*CONTAINERS[case])


@pytest.mark.parametrize("msg", ["mine", lambda text: f"head\n{text}\nfoot"], ids=["text", "function"])
def test_the_message_can_be_given(msg):
    compare([F, 1.0], [F + 1, 1.0], msg=msg)


def test_only_one_tolerance_is_refused():
    compare(F, F, rtol=0.1)
    compare(1.0, 1.0, atol=0.1)


def test_subclasses():
    x = nr.tensor(F)
    nr.testing.assert_close(nr.nn.Parameter(x), x)
    with pytest.raises(TypeError, match="No comparison pair"):
        nr.testing.assert_close(nr.nn.Parameter(x), x, allow_subclasses=False)
    with pytest.raises(TypeError, match="No comparison pair"):
        nr.testing.assert_close(F, x)


def test_tensors_that_require_grad_and_all_checks_off():
    x = nr.tensor(F, requires_grad=True)
    nr.testing.assert_close(x, nr.tensor(F), check_device=False, check_dtype=False, check_layout=False, check_stride=True)


def test_values_of_a_traced_tensor_are_refused():
    with pytest.raises(RuntimeError, match="transformation"):
        nr.jit(lambda x: nr.testing.assert_close(x, x))(nr.tensor(F))


def test_assert_equal_can_be_made_of_it():
    functools.partial(nr.testing.assert_close, rtol=0, atol=0)(nr.tensor(F), nr.tensor(F))


def test_assert_allclose_warns_and_is_wider():
    for actual, expected, options in [(near(F, 5e-5), F, {}), (F * 2, F, {}), (F, F.tolist(), {}), (F * 2, F, {"rtol": 3.0, "atol": 0.0}), (F, F + 1, {"msg": "mine"})]:
        with pytest.warns(FutureWarning):
            ours = raised(nr.testing.assert_allclose, to_nr(actual), convert(expected, to_nr), **options)
        with pytest.warns(FutureWarning):
            theirs = raised(torch.testing.assert_allclose, to_torch(actual), convert(expected, to_torch), **options)
        assert ours == theirs


DTYPES = [
    "bool", "uint8", "int8", "int16", "int32", "int64", "uint16", "uint32", "uint64", "float16", "bfloat16", "float32", "float64", "complex64",
    "complex128", "float8_e4m3fn", "float8_e5m2",
]  # fmt: skip


def parts(x):
    return np.asarray(nr.view_as_real(x) if x.is_complex() else x).astype(np.float64)


@pytest.mark.parametrize("dtype", DTYPES)
def test_make_tensor_draws_from_the_default_range(dtype):
    nr.manual_seed(0)
    x = nr.testing.make_tensor(40, 25, dtype=getattr(nr, dtype))
    assert x.shape == (40, 25) and x.dtype == getattr(nr, dtype)
    theirs = torch.testing.make_tensor(40, 25, dtype=getattr(torch, dtype), device="cpu")
    theirs = (torch.view_as_real(theirs) if theirs.is_complex() else theirs).double().numpy()
    ours = parts(x)
    width = theirs.max() - theirs.min()
    assert abs(ours.mean() - theirs.mean()) < width / 8
    assert ours.min() >= theirs.min() - width / 20 and ours.max() <= theirs.max() + width / 20


def test_make_tensor_keeps_to_its_bounds():
    for dtype in ("float16", "bfloat16", "float32", "complex64", "int32"):
        values = parts(nr.testing.make_tensor((2000,), dtype=getattr(nr, dtype), low=1, high=3))
        assert values.min() >= 1 and values.max() < 3
    assert parts(nr.testing.make_tensor(100, dtype=nr.uint8, low=-5, high=1000)).max() <= 255
    values = parts(nr.testing.make_tensor(100, dtype=nr.float32, low=-inf, high=inf))
    assert np.isfinite(values).all() and values.max() > 1e37 and values.min() < -1e37
    nr.testing.make_tensor(10, dtype=nr.int64, low=-(2**63), high=2**63)
    nr.testing.make_tensor(10, dtype=nr.uint64, low=0, high=2**64)


def test_make_tensor_without_zeros():
    for dtype, least in ((nr.int32, 1), (nr.bool, True), (nr.float32, 1.1754943508222875e-38)):
        assert (nr.testing.make_tensor(200, dtype=dtype, low=0, high=2, exclude_zero=True) != 0).all()
        if dtype != nr.float32:
            assert nr.testing.make_tensor(200, dtype=dtype, low=0, high=1, exclude_zero=True).tolist() == [least] * 200


def test_make_tensor_accepts_pytorchs_arguments():
    x = nr.testing.make_tensor((2, 3), dtype=nr.float32, device="cpu", requires_grad=True, noncontiguous=True)
    assert x.requires_grad and x.is_leaf and x.shape == (2, 3)
    assert nr.testing.make_tensor((), dtype=nr.float32).shape == ()
    assert nr.testing.make_tensor(0, dtype=nr.float32, memory_format=nr.contiguous_format).shape == (0,)


def test_make_tensor_refuses_what_pytorch_refuses():
    for options in [
        {"low": 2, "high": 1}, {"low": nan}, {"low": 1e39, "high": 1e40}, {"low": -5, "high": -1, "dtype": "uint8"}, {"requires_grad": True, "dtype": "int32"},
        {"noncontiguous": True, "memory_format": 0},
    ]:  # fmt: skip
        dtype = options.pop("dtype", "float32")
        for library in (nr, torch):
            with pytest.raises(ValueError):  # noqa: PT011 (for both libraries)
                library.testing.make_tensor(3, dtype=getattr(library, dtype), device="cpu", **options)
    with pytest.warns(FutureWarning):
        assert nr.testing.make_tensor(2, dtype=nr.float32, low=3, high=3).tolist() == [3.0, 3.0]
