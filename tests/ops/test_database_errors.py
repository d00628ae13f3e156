"""Every input that PyTorch's operator database says must be refused: ours refuses it too, with an error that is caught as PyTorch's is."""

import warnings

import pytest
import torch

import neurarust_jax as nr

from . import database
from .database import convert, leaves

ENTRIES = [e for e in database.entries() if e.info.error_inputs_func is not None]
NOT_COMPARED = {  # why some inputs of an operator are accepted, or refused with another class
    "out": "takes no out=, which is a TypeError for any value",
    "meta": "tensors without elements are out of scope",
    "dims": "NumPy holds no more than 64 dimensions either, and says so with its own class",
}
DIFFERENT = {
    "narrow_copy": "PyTorch ends in an internal assertion for a dimension that `narrow` refuses with IndexError, as ours does",
    **dict.fromkeys(
        ["__radd__", "__rmul__", "__rand__", "__ror__", "__rxor__"],
        "an unbound method called on a number: the descriptor refuses it in PyTorch, ours is the function itself",
    ),
}
KINDS = (IndexError, NotImplementedError, ValueError, TypeError, RuntimeError)


def _left_out(sample):
    tensors = leaves([sample.input, sample.args, sample.kwargs])
    if sample.kwargs.get("out") is not None:
        return "out"
    return "meta" if any(x.is_meta for x in tensors) else "dims" if any(x.ndim > 64 for x in tensors) else None


def _raised(f, sample):
    try:
        f(sample.input, *sample.args, **sample.kwargs)
    except Exception as error:
        return error
    return None


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda e: e.name)
def test_input_that_pytorch_refuses_is_refused(entry):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for case in entry.info.error_inputs("cpu"):
            sample = case.sample_input
            if _left_out(sample) in NOT_COMPARED or entry.name in DIFFERENT:
                continue
            theirs = _raised(entry.theirs, sample)
            if theirs is None:  # the database has cases for other devices
                continue
            kind = case.error_type if case.error_type is not Exception else next(k for k in KINDS if isinstance(theirs, k))
            with pytest.raises(kind):
                entry.ours(convert(sample.input), *convert(sample.args), **convert(sample.kwargs))


def test_numbers_in_the_place_of_tensors_are_refused():
    x = nr.ones(2)
    for call in (
        lambda: nr.maximum(x, 0.5),
        lambda: nr.eq(2, x),
        lambda: nr.pow(2, 3),
        lambda: nr.bitwise_and(1, 3),
        lambda: nr.clamp(2, 3),
        lambda: nr.max(2, x),
    ):
        with pytest.raises(TypeError, match=r"Tensor, not|at least one tensor"):
            call()
    assert (x == 2).tolist() == [False, False] and (2**x).tolist() == [2, 2] and (nr.tensor(6) & 3).item() == (3 & nr.tensor(6)).item() == 2


@pytest.mark.parametrize(
    ("value", "dtype"), [(-5, "uint8"), (-256, "uint8"), (300, "uint8"), (300, "int8"), (2**31, "int32"), (-2.5, "uint8"), (2.5, "int32"), (1e6, "float16")]
)
def test_numbers_beyond_a_dtype_are_refused_or_wrap_as_in_pytorch(value, dtype):
    for make in (lambda library, d: library.full((2,), value, dtype=d), lambda library, d: library.tensor([value, 1], dtype=d)):
        try:
            expected = make(torch, getattr(torch, dtype)).tolist()
        except RuntimeError:
            with pytest.raises(RuntimeError, match="without overflow"):
                make(nr, getattr(nr, dtype))
        else:
            assert make(nr, getattr(nr, dtype)).tolist() == expected


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_in_place_power_in_double_precision_needs_a_cell_of_it(dtype):
    cell = nr.nn.Buffer(nr.tensor([2.0, 3.0], dtype=getattr(nr, dtype)))
    if dtype == "float64":
        assert cell.float_power_(2).tolist() == [4, 9]
    else:
        with pytest.raises(RuntimeError, match="requires dtype float64|requires dtype neurarust_jax.float64"):
            cell.float_power_(2)
