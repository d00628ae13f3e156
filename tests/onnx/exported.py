"""Exporting a function, checking the file, and running it in ONNX Runtime."""

from __future__ import annotations

import warnings
from typing import Any

import jax
import numpy as np
import onnx
import onnxruntime

import neurarust_jax as nr


def leaves(tree: Any) -> list[np.ndarray]:
    """The tensors of a pytree as NumPy arrays."""
    found = jax.tree.leaves(tree, is_leaf=lambda x: isinstance(x, nr.Tensor))
    return [np.asarray(x.detach() if isinstance(x, nr.Tensor) else x) for x in found if hasattr(x, "shape")]


def checked(program: Any) -> onnx.ModelProto:
    """The model of an export, checked in full: types and shapes that the nodes imply must be those written down."""
    model = program.model_proto
    onnx.checker.check_model(model, full_check=True)
    onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True)
    return model


def session(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    """A session on one thread that says nothing."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def outputs(model: onnx.ModelProto, *arguments: Any, **named: Any) -> list[np.ndarray]:
    """What ONNX Runtime computes."""
    running = session(model)
    given = dict(zip((i.name for i in running.get_inputs()), leaves((arguments, named)), strict=False))
    return running.run(None, given)


def assert_same(model: onnx.ModelProto, function: Any, *arguments: Any, rtol: float = 1e-5, atol: float | None = None, **named: Any) -> None:
    """The model gives what the function gives, in value, dtype and shape."""
    with warnings.catch_warnings(), nr.no_grad():
        warnings.simplefilter("ignore")
        expected = leaves(function(*arguments, **named))
    found = outputs(model, *arguments, **named)
    assert len(found) == len(expected)
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.shape == theirs.shape
        assert ours.dtype == theirs.dtype
        scale = float(np.abs(theirs[np.isfinite(theirs)]).max(initial=0)) if theirs.dtype.kind == "f" else 0
        np.testing.assert_allclose(ours, theirs, rtol=rtol, atol=rtol * max(scale, 1e-3) if atol is None else atol)
