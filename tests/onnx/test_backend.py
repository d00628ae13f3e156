"""ONNX's own backend tests, all cases that the wheel ships.

The default run takes a sample of them; `make test-all` takes all.
"""

import os
import tempfile
import unittest
import warnings

import pytest

os.environ.setdefault("ONNX_HOME", tempfile.mkdtemp())  # where the runner writes the inputs of its larger models

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # ONNX computes what it expects while it lists its cases, with overflows and more
    from onnx.backend.test import BackendTest

    from neurarust_jax.onnx.backend import JaxBackend

    CASES = {name: getattr(tests, name) for tests in BackendTest(JaxBackend, __name__).test_cases.values() for name in dir(tests) if name.endswith("_cpu")}

_EVERY = 10  # of the cases is in the default run

_DRAWS = "the numbers drawn are those of NumPy's generator, which ONNX leaves to the runtime"
FAILING = {
    **{f"test_bernoulli{kind}_cpu": _DRAWS for kind in ("", "_double", "_seed", "_expanded", "_double_expanded", "_seed_expanded")},
    **{f"test_training_dropout{kind}_cpu": _DRAWS for kind in ("", "_default", "_mask", "_default_mask")},
    "test_attention_4d_causal_fp16_cpu": "softmax and sums are those of float32, and round to the neighbouring float16 in 4 of 192 elements",
    "test_loop16_seq_none_cpu": "ONNX's runner cannot compare a sequence of 0-d arrays: it asks for their length",
}
"""Cases that are known to fail, each with the reason."""


def _marked(number, name):
    marks = [] if number % _EVERY == 0 else [pytest.mark.exhaustive]
    if name in FAILING:
        marks.append(pytest.mark.xfail(reason=FAILING[name], strict=True))
    return pytest.param(name, marks=marks)


def test_all_cases_of_the_wheel_are_listed():
    assert len(CASES) >= 2000
    assert set(FAILING) <= set(CASES)


@pytest.mark.parametrize("name", [_marked(number, name) for number, name in enumerate(sorted(CASES))])
def test_onnx_backend_case(name):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=RuntimeWarning, module="onnx|numpy")
        try:
            CASES[name](None)
        except unittest.SkipTest as skipped:
            pytest.fail(str(skipped))
