"""Linen and NNX modules as layers of ours, and ours in Flax's training loops."""

import copy
import pickle

import flax.linen
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import neurarust_jax as nr
from neurarust_jax.interop import FromLinen, FromNNX, to_linen, to_nnx

X = np.random.default_rng(0).standard_normal((16, 3)).astype(np.float32)
T = np.arange(16) % 2


class Linen(flax.linen.Module):
    @flax.linen.compact
    def __call__(self, x, train: bool):
        x = flax.linen.relu(flax.linen.BatchNorm(use_running_average=not train)(flax.linen.Dense(8)(x)))
        return flax.linen.Dense(2)(flax.linen.Dropout(0.5, deterministic=not train)(x))


class NNX(nnx.Module):
    def __init__(self, rngs):
        self.first, self.norm, self.dropout = nnx.Linear(3, 8, rngs=rngs), nnx.BatchNorm(8, rngs=rngs), nnx.Dropout(0.5, rngs=rngs)
        self.layers = nnx.List([nnx.Linear(8, 2, rngs=rngs)])

    def __call__(self, x):
        return self.layers[0](self.dropout(nnx.relu(self.norm(self.first(x)))))


def nested(flat):
    tree = {}
    for name, value in flat:
        place = tree
        *parents, last = name.split(".")
        for parent in parents:
            place = place.setdefault(parent, {})
        place[last] = value._value
    return tree


def trains(ours, statistics):
    """A layer made of a Flax module trains, compiled, with everything that changes in a step."""
    x, t = nr.tensor(X), nr.tensor(T)
    optimizer = nr.optim.Adam(ours.parameters(), lr=0.05)

    @nr.jit
    def step(x, t):
        optimizer.zero_grad()
        loss = nr.nn.functional.cross_entropy(ours(x), t)
        loss.backward()
        optimizer.step()
        return loss

    ours.train()
    assert not (ours(x) == ours(x)).all()
    losses = [step(x, t).item() for _ in range(25)]
    assert losses[-1] < losses[0]
    assert ours.state_dict()[statistics].any()
    ours.eval()
    for twin in (copy.deepcopy(ours), pickle.loads(pickle.dumps(ours))):
        assert (twin(x) == ours(x)).all()
    assert nr.vmap(ours)(x.reshape(4, 4, 3)).shape == (4, 4, 2)


def test_a_linen_module_is_a_layer():
    ours = FromLinen(Linen(), nr.ones(1, 3)).eval()
    x = nr.tensor(X, requires_grad=True)
    variables = {"params": nested(ours.named_parameters()), "batch_stats": nested(ours.named_buffers())}

    def theirs(params, x):
        return Linen().apply({**variables, "params": params}, x, train=False)

    np.testing.assert_allclose(ours(x).detach().numpy(), theirs(variables["params"], X), rtol=1e-5, atol=1e-6)
    (ours(x) ** 2).sum().backward()
    by_params, by_x = jax.grad(lambda p, x: (theirs(p, x) ** 2).sum(), (0, 1))(variables["params"], jnp.asarray(X))
    np.testing.assert_allclose(x.grad.numpy(), by_x, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(ours.Dense_0.kernel.grad.numpy(), by_params["Dense_0"]["kernel"], rtol=1e-4, atol=1e-6)
    assert "BatchNorm_0.mean" in ours.state_dict() and "BatchNorm_0.mean" not in dict(ours.named_parameters())
    trains(ours, "BatchNorm_0.mean")


def test_the_first_call_initializes_a_linen_module_even_compiled():
    ours = FromLinen(flax.linen.Embed(10, 4))
    assert nr.jit(ours)(nr.tensor([1, 2])).shape == (2, 4) and [n for n, _ in ours.named_parameters()] == ["embedding"]


def test_an_nnx_module_is_a_layer():
    theirs = NNX(nnx.Rngs(0))
    ours = FromNNX(theirs).eval()
    theirs.eval()
    np.testing.assert_allclose(ours(nr.tensor(X)).detach().numpy(), theirs(X), rtol=1e-5, atol=1e-6)
    assert "layers.0.kernel" in dict(ours.named_parameters()) and "norm.mean" in dict(ours.named_buffers())
    trains(ours, "norm.mean")
    with pytest.raises(TypeError, match="for flax.nnx write FromNNX"):
        FromLinen(theirs)


class Sampler(nnx.Module):
    def __init__(self, rngs):
        self.rngs = rngs

    def __call__(self, x):
        return x + jax.random.normal(self.rngs(), x.shape)


def test_an_nnx_module_may_draw_in_evaluation():
    ours, x = FromNNX(Sampler(nnx.Rngs(0))).eval(), nr.tensor(X)
    assert not (ours(x) == ours(x)).all()


def net():
    return nr.nn.Sequential(nr.nn.Linear(3, 8), nr.nn.BatchNorm1d(8), nr.nn.ReLU(), nr.nn.Dropout(0.3), nr.nn.Linear(8, 2))


def test_flax_trains_our_module_as_linens():
    ours = net()
    linen = to_linen(ours)
    variables = linen.init(jax.random.key(0), X)
    np.testing.assert_allclose(linen.apply(variables, X, train=False), copy.deepcopy(ours).eval()(nr.tensor(X)).detach().numpy(), rtol=1e-5)
    rule = optax.adam(0.05)
    state = rule.init(variables["params"])

    @jax.jit
    def step(variables, state, key):
        def loss(params):
            y, changed = linen.apply({**variables, "params": params}, X, train=True, mutable=["buffers"], rngs={"dropout": key})
            return optax.softmax_cross_entropy_with_integer_labels(y, T).mean(), changed

        (value, changed), gradient = jax.value_and_grad(loss, has_aux=True)(variables["params"])
        updates, state = rule.update(gradient, state)
        return {"params": optax.apply_updates(variables["params"], updates), **changed}, state, value

    losses = []
    for i in range(25):
        variables, state, value = step(variables, state, jax.random.key(i))
        losses.append(float(value))
    assert losses[-1] < losses[0] and int(variables["buffers"]["1"]["num_batches_tracked"]) == 25
    assert not ours[1].running_mean.any()
    with pytest.raises(TypeError, match="given no stream"):
        linen.apply(variables, X, train=True, mutable=["buffers"])


def test_flax_trains_our_module_as_nnxs():
    theirs = to_nnx(net(), nnx.Rngs(dropout=0))
    optimizer = nnx.Optimizer(theirs, optax.adam(0.05), wrt=nnx.Param)

    @nnx.jit
    def step(model, optimizer):
        def loss(model):
            return optax.softmax_cross_entropy_with_integer_labels(model(X), T).mean()

        value, gradient = nnx.value_and_grad(loss)(model)
        optimizer.update(model, gradient)
        return value

    losses = [float(step(theirs, optimizer)) for _ in range(25)]
    assert losses[-1] < losses[0]
    assert not (theirs(X) == theirs(X)).all()
    theirs.eval()
    assert (theirs(X) == theirs(X)).all()
