"""PyTorch's operator database exported one operator at a time: the samples as inputs of a model that ONNX Runtime runs, compared with ours run eagerly."""

from __future__ import annotations

import warnings
from typing import Any

import jax
import numpy as np
import torch

import neurarust_jax as nr
from tests.onnx.exported import checked, outputs
from tests.ops.database import NAMES_ONE_OF_EQUALS, UNSPECIFIED, Entry, convert, leaves, over_ours, processes


def function_of(entry: Entry, sample: Any) -> tuple[Any, list[nr.Tensor]]:
    """The operator as a function of the sample's tensors, and these."""
    kwargs = {n: v for n, v in sample.kwargs.items() if n not in ("memory_format", "layout")}
    flat, tree = jax.tree.flatten(convert([sample.input, sample.args, kwargs]), is_leaf=lambda x: isinstance(x, nr.Tensor))
    places = [i for i, x in enumerate(flat) if isinstance(x, nr.Tensor)]

    def function(*tensors: nr.Tensor) -> Any:
        filled = list(flat)
        for place, tensor in zip(places, tensors, strict=True):
            filled[place] = tensor
        given, args, named = jax.tree.unflatten(tree, filled)
        output = entry.ours(given, *args, **named)
        if processes(sample):
            output = over_ours(sample.output_process_fn_grad)(output)
        return [nr.view_as_real(t.resolve_conj()) if t.is_complex() else t for t in leaves(output)]  # ONNX has no complex outputs

    return function, [flat[i].detach() for i in places]


def compare(entry: Entry, sample: Any, opset: int) -> None:
    """The exported operator gives what ours gives."""
    function, tensors = function_of(entry, sample)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = [np.asarray(t.detach()) for t in function(*tensors)]
        model = checked(nr.onnx.export(function, tuple(tensors), opset_version=opset))
    found = outputs(model, *tensors)
    assert [(f.shape, f.dtype) for f in found] == [(e.shape, e.dtype) for e in expected]
    if entry.info.name in UNSPECIFIED | NAMES_ONE_OF_EQUALS:
        return
    for ours, theirs in zip(found, expected, strict=True):
        scale = float(np.abs(theirs[np.isfinite(theirs)]).max(initial=1.0)) if theirs.dtype.kind == "f" else 0.0
        rtol = {"float64": 1e-6}.get(theirs.dtype.name, 2e-5) if theirs.dtype.kind == "f" else 0
        np.testing.assert_allclose(ours, theirs, rtol=rtol, atol=rtol * scale)


def samples(entry: Entry, limit: int) -> list[Any]:
    dtype = torch.float32 if torch.float32 in entry.info.dtypes else torch.int64 if torch.int64 in entry.info.dtypes else torch.bool
    return entry.samples(dtype, limit=limit) if dtype in entry.info.dtypes else []
