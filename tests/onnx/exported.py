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


def is_tensor(x: Any) -> bool:
    return isinstance(x, nr.Tensor)


def check_loaded(program: Any, function: Any, inputs: Any, named: Any) -> None:
    """The file read by `nr.onnx.load` gives the function's outputs, and the gradients of its inputs and parameters."""
    loaded = nr.onnx.load(program.model_proto.SerializeToString())
    everything, structure = jax.tree.flatten((inputs, named), is_leaf=is_tensor)
    places = [i for i, x in enumerate(everything) if is_tensor(x)]
    learned = [i for i in places if everything[i].dtype.is_floating_point]

    def original(values):
        given, keywords = jax.tree.unflatten(structure, values)
        return function(*given, **keywords)

    def read_back(values):
        return loaded(*(values[i] for i in places))

    for ours, theirs in zip(leaves(read_back(everything)), leaves(original(everything)), strict=True):
        assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)
    if isinstance(function, nr.nn.CTCLoss):
        return  # its gradient, as PyTorch's, takes its input for a log_softmax

    def gradients(call, module):
        values = list(everything)
        for place in learned:
            values[place] = everything[place].detach().requires_grad_()
        for parameter in module.parameters() if isinstance(module, nr.nn.Module) else ():
            parameter.grad = None
        found = [x for x in jax.tree.leaves(call(values), is_leaf=is_tensor) if is_tensor(x) and x.dtype.is_floating_point]
        total = sum((x.tanh().sum() for x in found), nr.zeros(()))  # of infinite outputs too
        if total.requires_grad:
            total.backward()
        return [np.zeros(values[i].shape, np.float32) if values[i].grad is None else values[i].grad.numpy() for i in learned]

    for ours, theirs in zip(gradients(read_back, loaded), gradients(original, function), strict=True):
        known = ~np.isnan(theirs)  # what the gradient of an element that is no number is, is nobody's concern
        np.testing.assert_allclose(ours[known], theirs[known], rtol=1e-4, atol=1e-5)
    if isinstance(function, nr.nn.Module) and not _are_others(function):
        _check_parameters(dict(loaded.named_parameters()), dict(function.named_parameters()))


def _are_others(layer: Any) -> bool:
    """Whether gradients of parameters are not those of the file's."""
    if isinstance(layer, nr.nn.Embedding):  # a file does not know that a row is fixed, or gradients scaled
        return layer.padding_idx is not None or layer.scale_grad_by_freq
    return isinstance(layer, nr.nn.LSTM) and layer.proj_size > 0  # which ONNX has no operator for: weights are there halved, and biases as sums


def _check_parameters(loaded: dict[str, Any], original: dict[str, Any]) -> None:
    """Gradients of parameters are the same: by name, and, of those that the file holds in another form, taken together."""
    ours, theirs = ({name: p.grad.numpy() for name, p in table.items() if p.grad is not None} for table in (loaded, original))
    for name in [name for name in theirs if name in ours or f"{name}.T" in ours]:
        found = ours.pop(name) if name in ours else ours.pop(f"{name}.T").T
        wanted = theirs.pop(name)
        # a small element is a sum of terms as large as the largest element, which cancel, and ONNX's nodes add them in another order
        rounding = 2e-6 * np.abs(wanted).max(initial=0.0)
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=max(1e-5, rounding), err_msg=name)
    a, b = (np.sort(np.concatenate([np.zeros(0), *(-np.abs(g).ravel() for g in table.values())])) for table in (ours, theirs))
    length = max(a.size, b.size)  # zeros may have been added, or left out
    a, b = (np.pad(x, (0, length - x.size)) for x in (a, b))
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5, err_msg=f"{sorted(ours)} for {sorted(theirs)}")
