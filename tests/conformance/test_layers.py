"""One row a layer; each row is driven through forward, gradients, dtypes, jit, vmap, state dicts, pickle, deepcopy and repr, against PyTorch."""

import copy
import pickle
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np
import pytest
import torch

import neurarust_jax as nr
from neurarust_jax import nn
from tests.oracle import TOLERANCE, assert_same, to_nr, to_torch

G = np.random.default_rng(0)


def normal(*shape):
    return G.standard_normal(shape).astype(np.float32)


@dataclass
class Row:
    """A layer by name, its constructor's arguments, and inputs for it."""

    name: str
    args: tuple = ()
    kwargs: dict[str, Any] = field(default_factory=dict)
    inputs: tuple = ()
    random: bool = False  # draws random numbers in training
    batch_dependent: bool = False  # examples of a batch influence each other in training
    half: bool = True

    def __str__(self):
        return f"{self.name}{self.args}{self.kwargs or ''}-{'x'.join(map(str, self.inputs[0].shape))}"


IMAGE = normal(2, 4, 7, 8)
ROWS = [
    Row("Linear", (5, 3), inputs=(normal(2, 5),)),
    Row("Linear", (5, 3), {"bias": False}, (normal(2, 4, 5),)),
    Row("Linear", (5, 3), inputs=(normal(5),)),
    Row("Linear", (5, 3), inputs=(normal(0, 5),)),
    Row("Identity", (1, 2), inputs=(normal(3),)),
    Row("Conv2d", (4, 6, 3), inputs=(IMAGE,)),
    Row("Conv2d", (4, 6, (3, 2)), {"stride": (2, 1), "padding": (1, 0), "dilation": (1, 2), "groups": 2}, (IMAGE,)),
    Row("Conv2d", (4, 4, 3), {"padding": "same", "groups": 4, "bias": False}, (IMAGE,)),
    Row("Conv2d", (4, 6, 3), {"padding": "valid"}, (IMAGE[0],)),
    Row("Conv2d", (4, 6, 2), {"padding": "same", "dilation": 3}, (IMAGE,)),
    Row("BatchNorm2d", (4,), inputs=(IMAGE,), batch_dependent=True),
    Row("BatchNorm2d", (4,), {"affine": False, "momentum": None, "eps": 1e-3}, (IMAGE,), batch_dependent=True),
    Row("BatchNorm2d", (4,), {"track_running_stats": False}, (IMAGE,), batch_dependent=True),
    Row("LayerNorm", (8,), inputs=(IMAGE,)),
    Row("LayerNorm", ([7, 8],), {"bias": False}, (IMAGE,)),
    Row("LayerNorm", (8,), {"elementwise_affine": False, "eps": 1e-2}, (IMAGE,)),
    Row("Embedding", (10, 3), inputs=(G.integers(0, 10, (2, 4)),)),
    Row("Embedding", (10, 3), {"padding_idx": -1}, (np.array([[9, 1], [9, 2]]),)),
    Row("Embedding", (10, 3), {"scale_grad_by_freq": True}, (np.array([1, 1, 2]),)),
    Row("Dropout", (0.3,), inputs=(IMAGE,), random=True),
    Row("Dropout", (0.0,), inputs=(IMAGE,)),
    Row("Dropout", (1.0,), inputs=(IMAGE,)),
    Row("ReLU", inputs=(np.array([-1, 0, 2, np.nan], np.float32),)),
    Row("ReLU", (True,), inputs=(IMAGE,)),
    Row("GELU", inputs=(IMAGE,)),
    Row("GELU", ("tanh",), inputs=(IMAGE,)),
    Row("SiLU", inputs=(IMAGE,)),
    Row("Sigmoid", inputs=(IMAGE,)),
    Row("Tanh", inputs=(IMAGE,)),
    Row("MaxPool2d", (2,), inputs=(IMAGE,)),
    Row("MaxPool2d", (3,), {"stride": 2, "padding": 1, "dilation": 2}, (IMAGE,)),
    Row("MaxPool2d", ((3, 2),), {"stride": (2, 3), "ceil_mode": True}, (IMAGE[0],)),
    Row("MaxPool2d", (2,), {"return_indices": True, "padding": 1}, (IMAGE,)),
    Row("AdaptiveAvgPool2d", (1,), inputs=(IMAGE,)),
    Row("AdaptiveAvgPool2d", ((3, None),), inputs=(IMAGE,)),
    Row("AdaptiveAvgPool2d", ((7, 5),), inputs=(IMAGE[0],)),
    Row("Flatten", inputs=(IMAGE,)),
    Row("Flatten", (0, -2), inputs=(IMAGE,)),
    Row("Unflatten", (1, (2, 2)), inputs=(IMAGE,)),
]


def build(row):
    """The layer in both libraries, with PyTorch's weights in both."""
    torch.manual_seed(0)
    theirs = getattr(torch.nn, row.name)(*row.args, **row.kwargs)
    ours = getattr(nn, row.name)(*row.args, **row.kwargs)
    assert {n: tuple(v.shape) for n, v in ours.state_dict().items()} == {n: tuple(v.shape) for n, v in theirs.state_dict().items()}
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


def first(output):
    return output[0] if isinstance(output, tuple) else output


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")  # PyTorch's own, about its copy
@pytest.mark.parametrize("row", ROWS, ids=str)
@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
def test_forward_gradients_and_state_equal_pytorchs(row, training):
    ours, theirs = build(row)
    ours.train(training)
    theirs.train(training)
    x, z = to_nr(row.inputs[0]), to_torch(row.inputs[0])
    if x.is_floating_point():
        x.requires_grad_()
        z.requires_grad_()
    y, w = ours(x), theirs(z * 1)  # PyTorch's in-place layers refuse a leaf
    if row.random and training:
        dropped = (y == 0).float().mean().item()
        assert abs(dropped - row.args[0]) < 0.1 and y.shape == tuple(w.shape)
        return
    assert_same(y if isinstance(w, tuple) else (y,), w if isinstance(w, tuple) else (w,))
    cotangent = np.random.default_rng(1).standard_normal(tuple(first(w).shape)).astype(np.float32)
    if first(w).requires_grad:
        first(y).backward(nr.tensor(cotangent))
        first(w).backward(torch.tensor(cotangent))
        if x.is_floating_point():
            assert_same(x.grad, z.grad, atol=1e-5)
        for (name, p), q in zip(ours.named_parameters(), theirs.parameters(), strict=True):
            np.testing.assert_allclose(p.grad.numpy(), q.grad.numpy(), rtol=1e-4, atol=1e-5, err_msg=name)
    for name, value in theirs.state_dict().items():
        np.testing.assert_allclose(ours.state_dict()[name].numpy(), value.numpy(), rtol=1e-5, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_repr_is_pytorchs(row):
    ours, theirs = build(row)
    assert repr(ours) == repr(theirs)


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_compiled_equals_eager_and_leaves_no_tracer(row):
    ours, _ = build(row)
    x = to_nr(row.inputs[0])
    nr.manual_seed(3)
    before = copy.deepcopy(ours)
    expected = before(x)
    nr.manual_seed(3)
    got = nr.jit(ours)(x)
    for a, b in zip(got if isinstance(got, tuple) else (got,), expected if isinstance(expected, tuple) else (expected,), strict=True):
        np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=1e-5, atol=1e-6)
    for name, value in before.state_dict().items():
        np.testing.assert_allclose(ours.state_dict()[name].numpy(), value.numpy(), rtol=1e-6)
    assert not any(isinstance(c._state, jax.core.Tracer) for c in ours._cells())


@pytest.mark.parametrize("row", [r for r in ROWS if not r.random], ids=str)
def test_vmap_equals_a_loop(row):
    ours, _ = build(row)
    if row.batch_dependent and row.kwargs.get("track_running_stats") is not False:
        ours.eval()
    x = np.stack([row.inputs[0], row.inputs[0][..., ::-1] if row.inputs[0].dtype.kind == "f" else row.inputs[0]])
    got = first(nr.vmap(ours)(nr.tensor(x)))
    for i in range(2):
        np.testing.assert_allclose(got[i].detach().numpy(), first(ours(nr.tensor(x[i].copy()))).detach().numpy(), rtol=1e-5, atol=2e-6)


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
@pytest.mark.parametrize("row", ROWS, ids=str)
def test_other_dtypes(row, dtype):
    ours, theirs = build(row)
    if row.random:
        ours.eval(), theirs.eval()
    ours, theirs = ours.to(getattr(nr, dtype)), theirs.to(getattr(torch, dtype))
    x, z = to_nr(row.inputs[0]), to_torch(row.inputs[0])
    if x.is_floating_point():
        x, z = x.to(getattr(nr, dtype)), z.to(getattr(torch, dtype))
    rtol, atol = TOLERANCE[dtype]
    assert_same(first(ours(x)), first(theirs(z)), rtol=rtol * 4, atol=atol * 4)  # PyTorch rounds intermediate results, XLA keeps some of them wide


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_pickle_and_deepcopy(row):
    ours, _ = build(row)
    ours.eval()
    x = to_nr(row.inputs[0])
    expected = first(ours(x)).detach().numpy()
    for twin in (pickle.loads(pickle.dumps(ours)), copy.deepcopy(ours)):
        np.testing.assert_array_equal(first(twin(x)).detach().numpy(), expected)
        assert not twin.training and [n for n, _ in twin.named_parameters()] == [n for n, _ in ours.named_parameters()]


@pytest.mark.parametrize("row", [r for r in ROWS if r.name in ("Linear", "Conv2d", "Embedding")][:8], ids=str)
def test_initial_parameters_are_drawn_from_pytorchs_distributions(row):
    """Mean, standard deviation and range over many draws."""
    ours = [getattr(nn, row.name)(*row.args, **row.kwargs) for _ in range(60)]
    theirs = [getattr(torch.nn, row.name)(*row.args, **row.kwargs) for _ in range(60)]
    for name, _ in ours[0].named_parameters():
        a = np.concatenate([m.get_parameter(name).detach().numpy().ravel() for m in ours])
        b = np.concatenate([m.get_parameter(name).detach().numpy().ravel() for m in theirs])
        assert abs(a.mean() - b.mean()) < 0.15 * b.std() + 1e-3
        assert abs(a.std() / b.std() - 1) < 0.15
        assert 0.8 < np.abs(a).max() / np.abs(b).max() < 1.25
