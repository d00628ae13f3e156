"""Every module of PyTorch's own database: outputs, input gradients and parameter gradients, in training and evaluation, and errors. `make test-all` takes all samples."""

import types
import warnings

import numpy as np
import pytest
import torch
from torch.testing._internal.common_modules import ModuleErrorEnum, module_db

import neurarust_jax as nr
from neurarust_jax import nn
from tests.ops.database import convert, leaves, replaced
from tests.oracle import assert_same

LEFT_OUT: dict[str, str] = {}  # name: reason
DIFFERENT = {}  # (name, words of the sample's description): reason
TOLERANCE = {  # (name, dtype): (relative, absolute), where PyTorch itself is off that far, by its own result in float64
    ("nn.CTCLoss", torch.float32): (1e-4, 2e-4),  # PyTorch 1.3e-4, ours 4e-5
    ("nn.MultiheadAttention", torch.float32): (1e-4, 1e-4),  # PyTorch 3e-5, ours 4e-5, where the softmax is nearly saturated
}
each_module = pytest.mark.parametrize("info", [i for i in module_db if i.name not in LEFT_OUT], ids=lambda i: i.name)


def _samples(info, dtype, training, limit):
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = info.module_inputs_func(info, device="cpu", dtype=dtype, requires_grad=True, training=training)
    return found if limit is None or len(found) <= limit else [found[i * len(found) // limit] for i in range(limit)]


def _converted(x, seen=None):
    """A constructor's or call's arguments as ours, one for one; functions written over `torch` run over `nr`."""
    seen = {} if seen is None else seen
    if isinstance(x, torch.Tensor):
        return seen[id(x)] if id(x) in seen else seen.setdefault(id(x), convert(x))
    if isinstance(x, torch.nn.TransformerEncoderLayer):
        activation = x.activation if isinstance(x.activation, torch.nn.Module) else getattr(nn.functional, x.activation.__name__)
        attention = x.self_attn
        return nn.TransformerEncoderLayer(
            attention.embed_dim, attention.num_heads, x.linear1.out_features, x.dropout.p, _converted(activation), x.norm1.eps, attention.batch_first, x.norm_first,
            x.linear1.bias is not None,
        )  # fmt: skip
    if isinstance(x, torch.nn.Module):
        return getattr(nn, type(x).__name__)()
    if hasattr(x, "op"):  # one of ours already
        return x
    if isinstance(x, types.FunctionType) and x.__module__ != "torch.nn.functional" and not x.__module__.startswith("torch.nn"):
        return types.FunctionType(x.__code__, {**x.__globals__, "torch": nr, "F": nn.functional}, x.__name__, x.__defaults__, x.__closure__)
    if isinstance(x, torch.nn.utils.rnn.PackedSequence):
        return nn.utils.rnn.PackedSequence(*(convert(part) if isinstance(part, torch.Tensor) else part for part in x))
    if isinstance(x, list | tuple) and not isinstance(x, torch.Size):
        return type(x)(_converted(element, seen) for element in x)
    if isinstance(x, dict):
        return {name: _converted(value, seen) for name, value in x.items()}
    return convert(x)


def _compare(info, sample, dtype, training, compiled=False):
    """Outputs and gradients agree; ours computed eagerly, or all by one compiled program, which is had sooner."""
    made = sample.constructor_input
    args, kwargs = sample.forward_input.args, sample.forward_input.kwargs
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = info.module_cls(*made.args, **made.kwargs).to(dtype).train(training)
        ours = getattr(nn, info.module_cls.__name__)(*_converted(made.args), **_converted(made.kwargs)).to(convert(dtype)).train(training)
        if any(isinstance(p, torch.nn.parameter.UninitializedTensorMixin) for p in (*theirs.parameters(), *theirs.buffers())):
            theirs(*args, **kwargs)
        ours.load_state_dict(theirs.state_dict())
        arguments = _converted([list(args), kwargs])
        w = leaves(theirs(*_copied(args), **_copied(kwargs)))
        chosen = [position for position, b in enumerate(w) if b.requires_grad and not (training and _random(theirs))]
        generator = np.random.default_rng(0)
        cotangents = [torch.tensor(generator.standard_normal(tuple(w[p].shape))).to(w[p].dtype) for p in chosen]
        run = _outputs_and_gradients(ours, arguments, chosen, [convert(c) for c in cotangents])
        y, got = (nr.jit(run) if compiled else run)(leaves(arguments))
    if training and _random(theirs):
        assert [tuple(a.shape) for a in y] == [tuple(b.shape) for b in w]
        return
    tolerance = TOLERANCE.get((info.name, dtype)) or {torch.float32: (1e-4, 1e-5), torch.float64: (1e-7, 1e-7)}[dtype]
    assert_same(y, w, *tolerance)
    if not chosen:
        return
    theirs_in = [x for x in (*leaves([args, kwargs]), *theirs.parameters()) if x.requires_grad]
    expected = torch.autograd.grad([w[p] for p in chosen], theirs_in, cotangents, allow_unused=True)
    for a, b in zip(got, expected, strict=True):
        if a is None or b is None:
            other = b if a is None else a
            assert other is None or not np.asarray(other.detach()).any()
        else:
            assert_same(a, b, *tolerance)


def _outputs_and_gradients(module, arguments, chosen, cotangents):
    """The module's outputs, and the gradients of some of them at the arguments and parameters, as a function of the tensors in the arguments."""
    places = leaves(arguments)

    def run(values):
        new = {id(old): x.detach().requires_grad_(old.requires_grad) for old, x in zip(places, values, strict=True)}
        args, kwargs = replaced(arguments, new)
        outputs = leaves(module(*args, **kwargs))
        inputs = [x for x in (*(new[id(old)] for old in places), *module.parameters()) if x.requires_grad]  # one given twice, as in some samples, stands there twice
        return outputs, list(nr.autograd.grad([outputs[p] for p in chosen], inputs, cotangents, allow_unused=True)) if chosen else []

    return run


def _eager_only(info, sample):
    """Lazy modules find their shapes at the first call, and packed sequences have lengths that programs are compiled for."""
    return "Lazy" in info.name or any(isinstance(x, torch.nn.utils.rnn.PackedSequence) for x in sample.forward_input.args)


def _copied(x):
    """Arguments whose leaves in-place layers may write on."""
    if isinstance(x, torch.Tensor):
        return x * 1 if x.requires_grad else x
    if isinstance(x, torch.nn.utils.rnn.PackedSequence):
        return x
    if isinstance(x, list | tuple):
        return type(x)(map(_copied, x))
    return {name: _copied(value) for name, value in x.items()} if isinstance(x, dict) else x


def _random(module):
    return (
        any("Dropout" in type(m).__name__ and m.p > 0 for m in module.modules())
        or getattr(module, "dropout", 0)
        or type(module).__name__ in ("RReLU",)
        or "Fractional" in type(module).__name__
    )


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@each_module
def test_outputs_and_gradients_equal_pytorchs(info, training, limit):
    if not training and not info.train_and_eval_differ and limit:
        return
    for dtype in (torch.float64, torch.float32)[: None if limit is None else 1]:
        failed = []
        samples = _samples(info, dtype, training, limit)
        for position, sample in enumerate(samples):
            try:
                _compare(info, sample, dtype, training, compiled=position >= 2 and not _eager_only(info, sample))
            except Exception as error:
                failed.append((sample, error))
        if failed:
            sample, error = failed[0]
            raise AssertionError(
                f"{info.name} {dtype}: {len(failed)} of {len(samples)} samples fail; the first: {sample.desc or sample.constructor_input.kwargs}"
            ) from error


@pytest.mark.parametrize("info", [i for i in module_db if i.module_error_inputs_func], ids=lambda i: i.name)
def test_input_that_pytorch_refuses_is_refused(info):
    for case in info.module_error_inputs_func(info, device="cpu", dtype=torch.float32, requires_grad=False, training=True):
        made, given = case.module_error_input.constructor_input, case.module_error_input.forward_input
        theirs, ours = info.module_cls, getattr(nn, info.module_cls.__name__)
        if case.error_on is ModuleErrorEnum.CONSTRUCTION_ERROR:
            given = made
        else:
            theirs, ours = theirs(*made.args, **made.kwargs), ours(*_converted(made.args), **_converted(made.kwargs))
        try:
            theirs(*given.args, **given.kwargs)
        except Exception as error:
            assert isinstance(error, case.error_type)
        else:  # the database has cases for other devices
            continue
        with pytest.raises(case.error_type):
            ours(*_converted(given.args), **_converted(given.kwargs))
