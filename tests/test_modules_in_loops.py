"""Modules as operands of loops and choices: what a loop carries, goes along, or a branch takes, has gradients."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import neurarust_jax as nr
from neurarust_jax import nn

X = nr.tensor(np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32))


def layers():
    nr.manual_seed(0)
    return [nn.Linear(4, 4) for _ in range(3)]


def stacked(modules):
    return jax.tree.map(lambda *values: jnp.stack(values), *modules)


def expected(modules):
    h = X
    for layer in modules:
        h = layer(h).tanh()
    (h**2).sum().backward()
    return [nr.stack([p.grad for p in column]) for column in zip(*(m.parameters() for m in modules), strict=True)]


@pytest.mark.parametrize("compiled", [False, True])
def test_a_module_in_xs_has_gradients(compiled):
    wanted = expected(layers())
    stack = stacked(layers())

    def step():
        h, _ = nr.scan(lambda h, layer: (layer(h).tanh(), None), X, stack)
        (h**2).sum().backward()

    (nr.jit(step) if compiled else step)()
    for p, g in zip(stack.parameters(), wanted, strict=True):
        np.testing.assert_allclose(p.grad.numpy(), g.numpy(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dim", [0, 1])
@pytest.mark.parametrize("compiled", [False, True])
def test_running_statistics_of_a_module_in_xs_are_written_slice_by_slice(compiled, dim):
    def built():
        nr.manual_seed(0)
        return [nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)) for _ in range(3)]

    modules = built()
    for module in modules:
        module[1].num_batches_tracked = None  # a 0-d buffer has no dimension 1
    stack = jax.tree.map(lambda *values: jnp.stack(values, dim), *modules)

    def step(x):
        h, _ = nr.scan(lambda h, module: (module(h), None), x, stack, dim=dim)
        (h**2).mean().backward()
        return h

    h = (nr.jit(step) if compiled else step)(X)
    reference = X
    for module in modules:
        reference = module(reference)
    (reference**2).mean().backward()
    np.testing.assert_allclose(h.detach().numpy(), reference.detach().numpy(), rtol=1e-4, atol=1e-5)
    for name in ("running_mean", "running_var"):
        wanted = np.stack([getattr(m[1], name).numpy() for m in modules], dim)
        np.testing.assert_allclose(getattr(stack[1], name).numpy(), wanted, rtol=1e-5, atol=1e-6)
    wanted = np.stack([m[0].weight.grad.numpy() for m in modules], dim)
    np.testing.assert_allclose(stack[0].weight.grad.numpy(), wanted, rtol=1e-3, atol=1e-5)


def test_a_carried_module_has_gradients_and_comes_out_in_its_place_in_the_graph():
    layer, other = layers()[0], layers()[0]

    def turn(carry, x):
        module, total = carry
        return (module, total + (module(x) ** 2).sum()), None

    (module, total), _ = nr.scan(turn, (layer, 0.0), X)
    (total + module.weight.sum()).backward()
    (sum((other(x) ** 2).sum() for x in X) + other.weight.sum()).backward()
    np.testing.assert_allclose(layer.weight.grad.numpy(), other.weight.grad.numpy(), rtol=1e-4)
    np.testing.assert_allclose(layer.bias.grad.numpy(), other.bias.grad.numpy(), rtol=1e-4)


def test_running_statistics_of_a_carried_module_go_from_turn_to_turn():
    norm, other = nn.BatchNorm1d(4), nn.BatchNorm1d(4)
    norm_after, _ = nr.fori_loop(0, 3, lambda i, carry: (carry[0], carry[0](X) + carry[1]), (norm, nr.zeros(3, 4)))
    for _ in range(3):
        other(X)
    assert norm_after.num_batches_tracked == 3 and norm.num_batches_tracked == 0
    np.testing.assert_allclose(norm_after.running_mean.numpy(), other.running_mean.numpy(), rtol=1e-5)


def test_a_training_step_may_carry_its_module():
    layer, other = layers()[0], layers()[0]

    def step(module, x):
        gradient = nr.grad(lambda m: (m(x) ** 2).sum())(module)
        return jax.tree.map(lambda p, g: p - 0.1 * g, module, gradient), None

    trained, _ = nr.scan(step, layer, X)
    with nr.no_grad():
        for x in X:
            gradient = nr.grad(lambda m, x=x: (m(x) ** 2).sum())(other)
            other.weight.sub_(0.1 * gradient.weight)
            other.bias.sub_(0.1 * gradient.bias)
    np.testing.assert_allclose(trained.weight.detach().numpy(), other.weight.detach().numpy(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("compiled", [False, True])
def test_modules_as_operands_of_choices(compiled):
    layer, other = layers()[0], layers()[0]

    def step(flag):
        nr.cond(flag, lambda m, x: m(x).sum(), lambda m, x: (m(x) ** 2).sum(), (layer, X)).backward()

    (nr.jit(step) if compiled else step)(nr.tensor(False))
    (other(X) ** 2).sum().backward()
    np.testing.assert_allclose(layer.weight.grad.numpy(), other.weight.grad.numpy(), rtol=1e-4)


def test_a_while_loop_over_a_module_refuses_its_gradient_by_name():
    layer = layers()[0]
    module, count = nr.while_loop(lambda m, i: i < 2, lambda m, i: (m, i + 1), (layer, 0))
    assert count == 2 and nr.equal(module.weight, layer.weight)
    with pytest.raises(RuntimeError, match=r"while_loop has no reverse-mode derivative"):
        module(X).sum().backward()


def test_a_loop_over_new_modules_of_one_build_is_compiled_once():
    traces = itertools.count()

    def turn(h, layer):
        next(traces)
        return layer(h), None

    for _ in range(3):
        nr.scan(turn, X, stacked(layers()))
    assert next(traces) <= 2
