"""Each row of the table of layers is driven through forward, gradients, dtypes, jit, vmap, state dicts, pickle, deepcopy and repr, against PyTorch."""

import copy
import pickle

import jax
import numpy as np
import pytest
import torch

import neurarust_jax as nr
from neurarust_jax import nn
from tests.oracle import TOLERANCE, assert_same, to_nr, to_torch

from .rows import all_rows

ROWS = all_rows()
each_row = pytest.mark.parametrize("row", ROWS, ids=str)
pytorchs_own = pytest.mark.filterwarnings(
    "ignore:Using padding='same' with even kernel lengths", "ignore:enable_nested_tensor is True", "ignore:.*nested tensors is in prototype",
    "ignore:LSTM with projections is not supported with oneDNN",
)


def build(row):
    """The layer in both libraries, with PyTorch's weights in both."""
    torch.manual_seed(0)
    theirs = getattr(torch.nn, row.name)(*_arguments(row.args, torch.nn), **_arguments(row.kwargs, torch.nn))
    ours = getattr(nn, row.name)(*_arguments(row.args, nn), **_arguments(row.kwargs, nn))
    assert {n: tuple(v.shape) for n, v in ours.state_dict().items()} == {n: tuple(v.shape) for n, v in theirs.state_dict().items()}
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


def _arguments(arguments, library):
    """Constructor arguments; a row inside becomes that library's layer, an array its tensor."""
    if isinstance(arguments, dict):
        return {name: _arguments(a, library) for name, a in arguments.items()}
    if isinstance(arguments, tuple | list):
        return type(arguments)(_arguments(a, library) for a in arguments)
    if hasattr(arguments, "inputs"):
        torch.manual_seed(1)
        return getattr(library, arguments.name)(*_arguments(arguments.args, library), **_arguments(arguments.kwargs, library))
    return to_nr(arguments) if library is nn else to_torch(arguments)


def leaves(x):
    """All tensors and arrays in nested tuples, lists and dicts."""
    if isinstance(x, dict):
        x = list(x.values())
    if isinstance(x, tuple | list):
        return [leaf for element in x for leaf in leaves(element)]
    return [x] if hasattr(x, "shape") else []


def apply(function, x):
    """`x` with the function applied to all tensors and arrays in it."""
    if isinstance(x, dict):
        return {name: apply(function, element) for name, element in x.items()}
    if isinstance(x, tuple | list):
        return type(x)(apply(function, element) for element in x)
    return function(x) if hasattr(x, "shape") else x


def arguments_of(row, convert, dtype=None):
    """The row's inputs as tensors of one library, floating-point ones in `dtype`."""

    def tensor(x):
        x = convert(x)
        return x.to(dtype) if dtype is not None and x.is_floating_point() else x

    return apply(tensor, row.inputs), apply(tensor, row.call)


@pytorchs_own
@each_row
@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
def test_forward_gradients_and_state_equal_pytorchs(row, training):
    ours, theirs = build(row)
    ours.train(training)
    theirs.train(training)
    (a, a_named), (b, b_named) = arguments_of(row, to_nr), arguments_of(row, to_torch)
    ours_in = [x for x in leaves((a, a_named)) if x.is_floating_point()]
    theirs_in = [x for x in leaves((b, b_named)) if x.is_floating_point()]
    for x in [*ours_in, *theirs_in]:
        x.requires_grad_()
    y, w = ours(*a, **a_named), theirs(*apply(lambda x: x.clone(), b), **b_named)  # PyTorch's in-place layers refuse a leaf
    if row.random and training:
        (y,), (w,) = leaves(y), leaves(w)
        assert abs((y == 0).float().mean().item() - (w == 0).float().mean().item()) < 0.25 and y.shape == tuple(w.shape)
        return
    y, w = leaves(y), leaves(w)
    rtol, atol = (row.loose * t for t in TOLERANCE["float32"])
    assert_same(y, w, rtol, atol)
    pairs = [(p, q) for p, q in zip(y, w, strict=True) if q.requires_grad]
    if pairs:
        cotangents = [np.random.default_rng(1).standard_normal(tuple(q.shape)).astype(np.float32) for _, q in pairs]
        torch.autograd.backward([q for _, q in pairs], [torch.tensor(c) for c in cotangents])
        nr.autograd.backward([p for p, _ in pairs], [nr.tensor(c) for c in cotangents])
        for p, q in zip(ours_in, theirs_in, strict=True):
            assert (p.grad is None) == (q.grad is None) or not np.any(np.asarray((p if q.grad is None else q).grad))
            if q.grad is not None and p.grad is not None:
                assert_same(p.grad, q.grad, atol=1e-5 * row.loose, rtol=rtol)
        for (name, p), q in zip(ours.named_parameters(), theirs.parameters(), strict=True):
            assert (p.grad is None) == (q.grad is None), name
            if q.grad is not None:
                np.testing.assert_allclose(p.grad.numpy(), q.grad.numpy(), rtol=1e-4 * row.loose, atol=1e-5 * row.loose, err_msg=name)
    for name, value in theirs.state_dict().items():
        np.testing.assert_allclose(ours.state_dict()[name].numpy(), value.numpy(), rtol=1e-5, atol=1e-6, err_msg=name)


@pytorchs_own
@each_row
def test_repr_is_pytorchs(row):
    ours, theirs = build(row)
    assert repr(ours) == repr(theirs)


@pytorchs_own
@each_row
def test_compiled_equals_eager_and_leaves_no_tracer(row):
    ours, _ = build(row)
    inputs, named = arguments_of(row, to_nr)
    nr.manual_seed(3)
    before = copy.deepcopy(ours)
    expected = before(*inputs, **named)
    nr.manual_seed(3)
    got = nr.jit(ours)(*inputs, **named)
    for a, b in zip(leaves(got), leaves(expected), strict=True):
        np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=1e-5 * row.loose, atol=1e-6 * row.loose)
    for name, value in before.state_dict().items():
        np.testing.assert_allclose(ours.state_dict()[name].numpy(), value.numpy(), rtol=1e-6)
    assert not any(isinstance(c._state, jax.core.Tracer) for c in ours._cells())


@pytorchs_own
@pytest.mark.parametrize("row", [r for r in ROWS if r.mapped and not r.random], ids=str)
def test_vmap_equals_a_loop(row):
    ours, _ = build(row)
    if row.batch_dependent and row.kwargs.get("track_running_stats") is not False:
        ours.eval()
    inputs, named = arguments_of(row, to_nr)
    places = [i for i, x in enumerate(inputs) if hasattr(x, "shape")]
    twice = [np.stack([x, x[..., ::-1] if x.dtype.kind == "f" and x.ndim else x]) for x in (np.asarray(inputs[i]) for i in places)]

    def call(*tensors):
        whole = list(inputs)
        for place, x in zip(places, tensors, strict=True):
            whole[place] = x
        return leaves(ours(*whole, **named))

    got = nr.vmap(call)(*map(nr.tensor, twice))
    for i in range(2):
        for a, b in zip(got, call(*(nr.tensor(x[i].copy()) for x in twice)), strict=True):
            np.testing.assert_allclose(a[i].detach().numpy(), b.detach().numpy(), rtol=1e-5 * row.loose, atol=2e-6 * row.loose)


@pytorchs_own
@pytest.mark.parametrize("dtype", ["bfloat16", *(pytest.param(d, marks=pytest.mark.exhaustive) for d in ("float16", "float64"))])
@each_row
def test_other_dtypes(row, dtype):
    if not row.half and dtype != "float64":
        return
    ours, theirs = build(row)
    if row.random:
        ours.eval(), theirs.eval()
    ours, theirs = ours.to(getattr(nr, dtype)), theirs.to(getattr(torch, dtype))
    (a, a_named), (b, b_named) = arguments_of(row, to_nr, getattr(nr, dtype)), arguments_of(row, to_torch, getattr(torch, dtype))
    rtol, atol = TOLERANCE[dtype]
    # PyTorch rounds intermediate results, XLA keeps some of them wide
    assert_same(leaves(ours(*a, **a_named)), leaves(theirs(*b, **b_named)), rtol=rtol * 4 * row.loose, atol=atol * 4 * row.loose)


@pytorchs_own
@each_row
def test_pickle_and_deepcopy(row):
    ours, _ = build(row)
    ours.eval()
    inputs, named = arguments_of(row, to_nr)
    expected = [y.detach().numpy() for y in leaves(ours(*inputs, **named))]
    for twin in (pickle.loads(pickle.dumps(ours)), copy.deepcopy(ours)):
        for got, y in zip(leaves(twin(*inputs, **named)), expected, strict=True):
            np.testing.assert_array_equal(got.detach().numpy(), y)
        assert not twin.training and [n for n, _ in twin.named_parameters()] == [n for n, _ in ours.named_parameters()]


def _drawn():
    """One row for each layer that draws parameters."""
    first = {}
    for row in ROWS:
        if next(iter(getattr(nn, row.name)(*_arguments(row.args, nn), **_arguments(row.kwargs, nn)).parameters()), None) is not None:
            first.setdefault(row.name, row)
    return list(first.values())


@pytorchs_own
@pytest.mark.parametrize("row", _drawn(), ids=str)
def test_initial_parameters_are_drawn_from_pytorchs_distributions(row):
    """Mean, standard deviation and range over many draws."""
    ours = [getattr(nn, row.name)(*_arguments(row.args, nn), **_arguments(row.kwargs, nn)) for _ in range(40)]
    theirs = [getattr(torch.nn, row.name)(*_arguments(row.args, torch.nn), **_arguments(row.kwargs, torch.nn)) for _ in range(40)]
    for name, _ in ours[0].named_parameters():
        a = np.concatenate([m.get_parameter(name).detach().numpy().ravel() for m in ours])
        b = np.concatenate([m.get_parameter(name).detach().numpy().ravel() for m in theirs])
        assert a.dtype == b.dtype
        if b.std() < 1e-12:
            np.testing.assert_array_equal(a, b)
            continue
        error = 5 * b.std() / np.sqrt(b.size)
        assert abs(a.mean() - b.mean()) < 2 * error
        assert abs(a.std() / b.std() - 1) < 0.05 + 5 / np.sqrt(b.size)
        assert 0.75 < np.abs(a).max() / np.abs(b).max() < 1.33
