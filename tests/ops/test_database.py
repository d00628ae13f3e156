"""Every operator of PyTorch's database: forward in ten dtypes, gradients, double gradients, eager == compiled, vmap == loop.

`make test` compares one sample of each operator, forward in two of the dtypes and backward; `make test-all` all samples, most of them many to a compiled program, and the rest. What is left out, and why, stands in `database.REASONS` and in the tables below.
"""

import warnings
import zlib

import jax
import numpy as np
import pytest
import torch

import neurarust_jax as nr

from . import database
from .database import UNSPECIFIED, compare_forward, compare_gradients, compare_second_gradients, convert, has_reference_samples, leaves, replaced
from .together import suspects

ENTRIES = list(database.entries())
each_entry = pytest.mark.parametrize("entry", ENTRIES, ids=lambda e: e.name)
FORWARD = [
    torch.float32, torch.int64, torch.bool, torch.complex64, torch.bfloat16, torch.float16, torch.uint8, torch.int32, torch.float64, torch.complex128,
]  # fmt: skip

DIFFERENT = {
    "as_strided/partial_views": "reads the storage beyond the tensor that it is given",
}
DIFFERENT_DTYPE = {
    ("matrix_exp", torch.bfloat16): "PyTorch's rounding ends in NaN",
    ("linalg.matrix_exp", torch.bfloat16): "PyTorch's rounding ends in NaN",
    ("matrix_exp", torch.float16): "PyTorch's rounding ends in NaN",
    ("linalg.matrix_exp", torch.float16): "PyTorch's rounding ends in NaN",
    ("nn.functional.grid_sample", torch.float16): "PyTorch rounds the coordinates to half precision, and so picks other pixels",
    ("nn.functional.grid_sample", torch.bfloat16): "PyTorch rounds the coordinates to half precision, and so picks other pixels",
    ("nn.functional.soft_margin_loss", torch.float16): "PyTorch's exponential overflows where the loss is finite",
    ("complex", torch.float16): "XLA has no complex numbers in half precision",
    ("view_as_complex", torch.float16): "XLA has no complex numbers in half precision",
}
DIFFERENT_REFERENCE = {
    "polygamma/polygamma_n_0 polygamma/polygamma_n_1 polygamma/polygamma_n_2 polygamma/polygamma_n_3 polygamma/polygamma_n_4 special.polygamma/special_polygamma_n_0": "near its zeros the reflection is a difference of large numbers",
    "byte char short int long": "what becomes of numbers that an integer dtype cannot hold is undefined",
    "signal.windows.kaiser": "PyTorch's Bessel function overflows where the window is finite",
    "special.airy_ai": "far below 0 float32 holds four digits of its phase",
    "nn.functional.grid_sample": "takes minutes",
    "igamma igammac": "of NaN and infinity PyTorch gives 0 or 1",
    "__rsub__": "of a number that is no tensor PyTorch returns NotImplemented",
    "nn.functional.interpolate/bilinear nn.functional.interpolate/bicubic": "PyTorch rounds the coordinates of pixels to float32 on the way",
}
DIFFERENT_GRADIENT = {
    "as_strided_scatter": "PyTorch passes the gradient of elements that were overwritten",
}
NOT_COMPILED = {
    "the shape of the result depends on values": "masked_select nonzero argwhere unique unique_consecutive repeat_interleave histogramdd histogram bincount "
    "combinations nn.functional.one_hot",
    "gives a Python value": "item equal allclose tolist",
    "draws random numbers": " ".join(UNSPECIFIED) + " svd_lowrank pca_lowrank rrelu",
    "takes tensors as sizes": "tensor_split",
}
UNCOMPILED = {name for names in NOT_COMPILED.values() for name in names.split()}


def _excused(table, entry):
    return any(entry.name in names.split() for names in table)


def _run(entry, compare, samples, dtype):
    """Compare all samples, if they are many only some eagerly; the report says how many fail, and how the first does."""
    failed, first = 0, None
    for sample in samples if entry.info.name in UNCOMPILED else (*samples[:2], *suspects(entry, compare, samples[2:], dtype)):
        try:
            compare(entry, sample, dtype)
        except (AssertionError, RuntimeError, TypeError, ValueError, IndexError, AttributeError, KeyError) as error:
            failed, first = failed + 1, first or (error, sample)
    if first:
        error, sample = first
        raise AssertionError(f"{entry.name} {dtype}: {failed} of {len(samples)} samples fail; the first: {sample}") from error


def _small(samples):
    """Samples whose first tensor is differentiable and small, the smallest that is not empty first."""
    fit = [s for s in samples if all(x.numel() <= 64 for x in leaves([s.input, s.args, s.kwargs])) and all(x.numel() for x in leaves([s.input, s.args, s.kwargs]))]
    return sorted(fit, key=lambda s: sum(x.numel() for x in leaves([s.input, s.args, s.kwargs])))


def _single_and_another(name):
    """Single precision, and one of the other dtypes, which differs from operator to operator."""
    others = [dtype for dtype in FORWARD if dtype != torch.float32]
    return torch.float32, others[zlib.crc32(name.encode()) % len(others)]


@each_entry
def test_forward(entry, limit):
    assert entry.ours is not None, f"nr has no {entry.name}"
    if _excused(DIFFERENT, entry):
        return
    for dtype in FORWARD if limit is None else _single_and_another(entry.name):
        if dtype in entry.info.supported_dtypes("cpu") and (entry.name, dtype) not in DIFFERENT_DTYPE:
            _run(entry, compare_forward, entry.samples(dtype, limit=limit and 1), dtype)


@pytest.mark.exhaustive
@pytest.mark.parametrize("entry", [entry for entry in ENTRIES if has_reference_samples(entry)], ids=lambda e: e.name)
def test_forward_of_reference_samples(entry):
    if _excused(DIFFERENT | DIFFERENT_REFERENCE, entry):
        return
    for dtype in (torch.float32, torch.int64):
        if dtype in entry.info.supported_dtypes("cpu"):
            _run(entry, compare_forward, entry.samples(dtype, limit=40, reference=True), dtype)


@each_entry
def test_gradients(entry, limit):
    if not entry.info.supports_autograd or _excused(DIFFERENT | DIFFERENT_GRADIENT, entry) or entry.info.name in UNSPECIFIED:
        return
    for dtype in (torch.float64, torch.complex128)[: None if limit is None else 1]:
        if dtype in entry.info.supported_dtypes("cpu"):
            _run(entry, compare_gradients, entry.samples(dtype, requires_grad=True, limit=limit and 1), dtype)


@pytest.mark.exhaustive
@each_entry
def test_second_gradients(entry):
    if not (entry.info.supports_autograd and entry.info.supports_gradgrad) or _excused(DIFFERENT | DIFFERENT_GRADIENT, entry) or entry.info.name in UNSPECIFIED:
        return
    if torch.float64 in entry.info.supported_dtypes("cpu"):
        _run(entry, compare_second_gradients, _small(entry.samples(torch.float64, requires_grad=True)), torch.float64)


@pytest.mark.exhaustive
@each_entry
def test_compiled_equals_eager(entry):
    if entry.info.name in UNCOMPILED or torch.float32 not in entry.info.supported_dtypes("cpu"):
        return
    for sample in _small(entry.samples(torch.float32))[:20]:
        arguments = convert([sample.input, sample.args, {n: v for n, v in sample.kwargs.items() if n not in ("layout", "memory_format")}])
        places = leaves(arguments)

        def call(*tensors, arguments=arguments, places=places):
            given = {id(old): new for old, new in zip(places, tensors, strict=True)}
            input, args, kwargs = replaced(arguments, given)
            return leaves(entry.ours(input, *args, **kwargs))

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            expected = call(*places)
            with jax.enable_x64(True):
                got = jax.jit(call)(*places)
        for a, b in zip(got, expected, strict=True):
            assert a.dtype == b.dtype
            np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-4, atol=1e-4)


@pytest.mark.exhaustive
@each_entry
def test_vmap_equals_a_loop(entry):
    if entry.info.name in UNCOMPILED or torch.float32 not in entry.info.supported_dtypes("cpu"):
        return
    samples = [s for s in _small(entry.samples(torch.float32)) if isinstance(s.input, torch.Tensor) and s.input.is_floating_point()]
    for sample in samples[:10]:
        x = convert(sample.input)
        args, kwargs = convert(sample.args), convert({n: v for n, v in sample.kwargs.items() if n not in ("layout", "memory_format")})

        def call(x, args=args, kwargs=kwargs):
            return leaves(entry.ours(x, *args, **kwargs))

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            both = [x, x * 1.5]
            expected = [call(x) for x in both]
            if not expected[0]:
                continue
            got = nr.vmap(call)(nr.stack(both))
        for i, one in enumerate(expected):
            for a, b in zip(got, one, strict=True):
                np.testing.assert_allclose(a[i].numpy(), b.numpy(), rtol=1e-4, atol=1e-4)


@pytest.mark.exhaustive
@each_entry
def test_second_gradients_by_finite_differences(entry):
    if not (entry.info.supports_autograd and entry.info.supports_gradgrad) or _excused(DIFFERENT_GRADIENT, entry) or entry.info.name in UNSPECIFIED:
        return
    if torch.float64 not in entry.info.supported_dtypes("cpu") or not entry.info.check_batched_gradgrad:
        return
    for sample in _small(entry.samples(torch.float64, requires_grad=True))[:1]:
        arguments = convert([sample.input, sample.args, sample.kwargs])
        inputs = [x for x in leaves(arguments) if x.requires_grad]

        def call(*tensors, arguments=arguments, inputs=inputs):
            given = {id(x): x for x in leaves(arguments)} | {id(old): new for old, new in zip(inputs, tensors, strict=True)}
            input, args, kwargs = replaced(arguments, given)
            return tuple(y for y in leaves(entry.ours(input, *args, **kwargs)) if y.requires_grad)

        assert nr.autograd.gradgradcheck(call, tuple(inputs), atol=1e-4, rtol=1e-3)
