"""In-place methods of `.data` and of gradients, as PyTorch's programs write them: the same programs run over both libraries."""

import copy
import pickle

import jax
import numpy as np
import pytest
import torch

import neurarust_jax as nr

X = np.array([[1.0, -2.0, 3.0], [0.5, 4.0, -1.0]], np.float32)
W = np.array([[0.5, -1.0, 2.0], [1.5, 0.25, -0.75]], np.float32)


def trained(library, update, steps=2):
    layer = library.nn.Linear(3, 2)
    layer.weight.data = library.tensor(W)
    layer.bias.data.zero_()
    for _ in range(steps):
        update(library, layer, lambda: library.nn.functional.mse_loss(layer(library.tensor(X)), library.zeros(2, 2)).backward())
    return layer


def plain_descent(library, layer, backward):
    layer.zero_grad()
    backward()
    for p in layer.parameters():
        p.data.add_(p.grad, alpha=-0.1)


def accumulating_and_zeroed_by_hand(library, layer, backward):
    backward()
    with library.no_grad():
        for p in layer.parameters():
            p -= 0.1 * p.grad
            p.grad.zero_()


def clipped_weights_and_gradients(library, layer, backward):
    backward()
    for p in layer.parameters():
        p.grad.data.clamp_(-0.5, 0.5)
        p.data -= p.grad.data
        p.data.clamp_(-1, 1)


def an_average(library, layer, backward):
    target = copy.deepcopy(layer)
    plain_descent(library, layer, backward)
    for p, q in zip(layer.parameters(), target.parameters(), strict=True):
        q.data.copy_(0.9 * q.data + 0.1 * p.data)
        p.data[0] = q.data[0]


def changed_gradients(library, layer, backward):
    backward()
    for p in layer.parameters():
        p.grad.add_(p.data, alpha=0.01).mul_(0.5)
        p.grad.data[0] *= 2
        p.grad.data /= 3
        p.grad.data = p.grad.data + 1
    library.optim.SGD(layer.parameters(), lr=0.1).step()


@pytest.mark.parametrize("update", [plain_descent, accumulating_and_zeroed_by_hand, clipped_weights_and_gradients, an_average, changed_gradients])
@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "jit"])
def test_programs_that_write_into_data_and_gradients(update, compiled):
    run = (lambda library, layer, backward: nr.jit(lambda: update(library, layer, backward))()) if compiled else update
    ours, theirs = trained(nr, run), trained(torch, update)
    for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
        np.testing.assert_allclose(p.detach().numpy(), q.detach().numpy(), rtol=1e-5, atol=1e-6)
        assert p.requires_grad and (p.grad is None) == (q.grad is None)
        if q.grad is not None:
            np.testing.assert_allclose(p.grad.numpy(), q.grad.numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("library", [nr, torch])
def test_data_is_the_value_whenever_it_is_looked_at(library):
    p = library.nn.Parameter(library.ones(2))
    data, copied = p.data, p.data.clone()
    with library.no_grad():
        p.mul_(3)
    assert data.tolist() == [3, 3] and copied.tolist() == [1, 1] and not data.requires_grad
    data[1] = 5
    assert p.tolist() == [3, 5] == (data * 1).tolist()


@pytest.mark.parametrize("library", [nr, torch])
def test_a_gradient_that_was_cleared_is_written_no_more(library):
    x = library.ones(2, requires_grad=True)
    (x * x).sum().backward()
    kept = x.grad
    x.grad = None
    kept.mul_(3)
    assert x.grad is None and kept.tolist() == [6, 6]


def test_initializers_write_into_data():
    layer = nr.nn.Linear(3, 2)
    nr.nn.init.zeros_(layer.weight.data)
    nr.nn.init.normal_(layer.bias.data, 5.0, 0.1)
    assert not layer.weight.any() and (layer.bias > 3).all()
    nr.clamp_(layer.bias.data, max=1.0)
    assert layer.bias.tolist() == [1, 1]


def test_they_are_tensors_like_others():
    p = nr.nn.Parameter(nr.ones(2))
    (p * 2).sum().backward()
    for x, value in ((p.data, [1, 1]), (p.grad, [2, 2])):
        assert nr.jit(lambda x: x * 2)(x).tolist() == jax.jit(lambda x: x * 2)(x).tolist() == (x * 2).tolist() == [2 * v for v in value]
        assert type(copy.deepcopy(x)) is type(pickle.loads(pickle.dumps(x))) is nr.Tensor and repr(x) == repr(x.clone())
        assert nr.vmap(lambda x: x + 1)(x).tolist() == [v + 1 for v in value] and jax.tree.leaves(x)[0].tolist() == value
        with pytest.raises(RuntimeError, match="doesn't match the broadcast shape"):
            x.add_(nr.ones(3, 2))
        with pytest.raises(RuntimeError, match="can't be cast"):
            x.add_(1j)


def test_a_gradient_read_outside_is_not_written_inside():
    p = nr.nn.Parameter(nr.ones(2))
    (p * 2).sum().backward()
    outside = p.grad

    @nr.jit
    def inside(x):
        outside.add_(x)

    with pytest.raises(RuntimeError, match="read it, as p.grad, inside too"):
        inside(nr.ones(2))
    assert p.grad.tolist() == outside.tolist() == [2, 2]


def test_a_module_that_keeps_data_keeps_the_value_of_then():
    layer = nr.nn.Linear(2, 1)
    layer.before = layer.weight.data
    layer.weight.data.zero_()
    assert layer.before.any() and type(layer.before) is nr.Tensor
