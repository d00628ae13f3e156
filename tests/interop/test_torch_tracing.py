"""Modules of PyTorch with a `forward` of their own: equal outputs, gradients, buffers, names; what cannot be traced is named."""

import copy
import math
import pickle

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import neurarust_jax as nr
from neurarust_jax.interop import from_torch, to_torch
from tests.conformance.test_layers import leaves
from tests.oracle import assert_same, to_nr
from tests.oracle import to_torch as array_to_torch

from . import torch_programs as programs

G = np.random.default_rng(0)
IMAGES = G.standard_normal((3, 3, 8, 8)).astype(np.float32)
TOKENS = G.integers(1, 9, (3, 6))
POINTS = G.standard_normal((3, 4)).astype(np.float32)


def converted(make):
    torch.manual_seed(0)
    theirs = make()
    return theirs, from_torch(theirs)


def check(theirs, ours, *arrays, rtol=1e-4, atol=1e-5, **named):
    w = theirs(*map(array_to_torch, arrays), **{k: array_to_torch(v) for k, v in named.items()})
    y = ours(*map(to_nr, arrays), **{k: to_nr(v) for k, v in named.items()})
    assert_same(leaves(y), leaves(w), rtol, atol)
    outputs = [(p, q) for p, q in zip(leaves(y), leaves(w), strict=True) if q.requires_grad]
    assert all(p.requires_grad for p, _ in outputs)
    torch.autograd.backward([q.square().sum() for _, q in outputs])
    nr.autograd.backward([p.square().sum() for p, _ in outputs])
    for (name, p), (their_name, q) in zip(ours.named_parameters(), theirs.named_parameters(), strict=True):
        assert name == their_name and (p.grad is None) == (q.grad is None), name
        if q.grad is not None:
            np.testing.assert_allclose(p.grad.numpy(), q.grad.numpy(), rtol=1e-3, atol=1e-4, err_msg=name)
    mine, state = ours.state_dict(), theirs.state_dict()
    assert list(mine) == list(state)
    for name, value in state.items():
        np.testing.assert_allclose(mine[name].numpy(), value.numpy(), rtol=1e-4, atol=1e-5, err_msg=name)


dear = pytest.mark.exhaustive


@pytest.mark.parametrize(
    "make, arrays, training",
    [
        pytest.param(programs.ResNet, (IMAGES,), True, id="resnet train", marks=dear),
        pytest.param(programs.ResNet, (IMAGES,), False, id="resnet eval", marks=dear),
        pytest.param(programs.GPT, (TOKENS,), True, id="gpt", marks=dear),
        pytest.param(programs.GPT, (TOKENS, TOKENS), True, id="gpt with targets"),
        pytest.param(programs.Tagger, (TOKENS,), True, id="lstm train", marks=dear),
        pytest.param(programs.Tagger, (TOKENS,), False, id="lstm eval"),
        pytest.param(programs.Odds, (POINTS,), True, id="odds train"),
        pytest.param(programs.Odds, (POINTS,), False, id="odds eval", marks=dear),
    ],
)
def test_programs(make, arrays, training):
    theirs, ours = converted(make)
    check(theirs.train(training), ours.train(training), *arrays)


def test_state_in_arguments_and_keywords():
    theirs, ours = converted(programs.Recurrence)
    x = POINTS[:, :3]
    check(theirs, ours, x)
    check(theirs, ours, x, (POINTS, POINTS), scale=2.0)


def test_the_names_and_classes_of_the_original_are_kept():
    theirs, ours = converted(programs.GPT)
    assert repr(ours) == repr(theirs)
    assert ours.transformer["wte"].weight is ours.lm_head.weight
    assert list(ours.state_dict()) == list(theirs.state_dict())


def test_a_part_can_be_called_by_itself():
    theirs, ours = converted(programs.ResNet)
    x = G.standard_normal((2, 8, 4, 4)).astype(np.float32)
    assert_same(ours.layers[0](nr.tensor(x)), theirs.layers[0](torch.tensor(x)), 1e-4, 1e-5)


@dear
def test_it_trains_compiled_as_pytorch_trains():
    theirs, ours = converted(programs.ResNet)
    first, second = nr.optim.SGD(ours.parameters(), lr=0.05, momentum=0.9), torch.optim.SGD(theirs.parameters(), lr=0.05, momentum=0.9)
    targets = np.array([0, 1, 2])

    @nr.jit
    def step(x, y):
        first.zero_grad()
        loss = nr.nn.functional.cross_entropy(ours(x), y)
        loss.backward()
        first.step()
        return loss

    for _ in range(5):
        second.zero_grad()
        expected = F.cross_entropy(theirs(torch.tensor(IMAGES)), torch.tensor(targets))
        expected.backward()
        second.step()
        got = step(nr.tensor(IMAGES), nr.tensor(targets))
        np.testing.assert_allclose(got.item(), expected.item(), rtol=2e-3)


def test_a_copy_and_a_pickle_run_the_same():
    _, ours = converted(programs.ResNet)
    x = nr.tensor(IMAGES)
    ours.eval()
    expected = ours(x).detach().numpy()
    for twin in (copy.deepcopy(ours), pickle.loads(pickle.dumps(ours))):
        assert (twin(x).detach().numpy() == expected).all()
        twin.fc.weight.data = nr.zeros(5, 16)
        assert ours.fc.weight.any()
    with pytest.raises(NotImplementedError, match="read from a pickle"):
        pickle.loads(pickle.dumps(ours))(1.0)


def test_dropout_and_other_randomness_draw_from_our_generator():
    class Noisy(torch.nn.Module):
        def forward(self, x):
            x = F.dropout(x, 0.5, self.training) + torch.rand(4) * 1e-3
            return x * x.new_empty(x.shape[0], 1).bernoulli_(0.5)

    _, ours = converted(Noisy)
    x = nr.ones(64, 4)
    nr.manual_seed(1)
    first, second = ours(x), ours(x)
    nr.manual_seed(1)
    assert (ours(x) == first).all() and not (first == second).all()
    assert 0.1 < (first > 0.5).float().mean().item() < 0.4
    compiled = nr.jit(ours)
    assert not (compiled(x) == compiled(x)).all()


def refused(forward):
    module = type("Own", (torch.nn.Module,), {"forward": forward})()
    with pytest.raises(NotImplementedError) as caught:
        from_torch(module)
    return str(caught.value)


class Doubled(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x * 2

    @staticmethod
    def backward(ctx, g):
        return g


def test_what_cannot_be_taken_over_is_named():
    assert "Own.forward" in refused(lambda self, x: x if x.sum() > 0 else -x)
    assert "control flow" in refused(lambda self, x: x if x.sum() > 0 else -x)
    assert "Tensor.to_sparse" in refused(lambda self, x: x.to_sparse())
    assert "function torch._C" in refused(lambda self, x: torch.dequantize(x)) or "dequantize" in refused(lambda self, x: torch.dequantize(x))
    assert "backward pass of Doubled" in refused(lambda self, x: Doubled.apply(x))

    def writes_into_a_view(self, x):
        y = x.view(-1)
        y.add_(1)
        return x

    assert "writes into a view of" in refused(writes_into_a_view)

    def under_autocast(self, x):
        with torch.autocast("cpu"):
            return x @ x

    assert "torch.autocast inside Own.forward" in refused(under_autocast)


def test_augmented_lengths_are_numbers():
    class Lengths(torch.nn.Module):
        def forward(self, x):
            n = x.size(0)
            m = n
            m += 1
            return x.new_full((m, n), math.pi)

    theirs, ours = converted(Lengths)
    assert_same(ours(nr.tensor(POINTS)), theirs(torch.tensor(POINTS)))


def test_a_traced_module_stays_here():
    _, ours = converted(programs.Odds)
    with pytest.raises(NotImplementedError, match="forward of its own"):
        to_torch(ours)
