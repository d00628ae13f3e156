"""Optax transformations as optimizers."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import neurarust_jax as nr
from neurarust_jax import nn, optim

START = [np.random.default_rng(i).standard_normal(s).astype(np.float32) for i, s in enumerate([(3, 4), (4,), ()])]


def loss(m, params, i):
    return sum((m.sin(p) * (k + 1)).sum() * (1 + 0.01 * i) for k, p in enumerate(params))


def step(optimizer, params, i, **extra):
    optimizer.zero_grad()
    loss(nr, params, i).backward()
    optimizer.step(**extra)


def fresh():
    return [nn.Parameter(nr.tensor(x)) for x in START]


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "jit"])
def test_steps_are_those_of_optax(compiled):
    ours = fresh()
    transformation = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(optax.linear_schedule(0.1, 0.01, 5)))
    optimizer = optim.Optax(ours, transformation)
    params = [jnp.asarray(x) for x in START]
    state = transformation.init(params)
    run = nr.jit(lambda i: step(optimizer, ours, i)) if compiled else lambda i: step(optimizer, ours, i)
    for i in range(5):
        run(nr.tensor(float(i)))
        with jax.enable_x64(True):  # optax's scalars in double precision, as they are in ours
            gradients = jax.grad(lambda p, i=i: loss(jnp, p, i))(params)
            updates, state = transformation.update(gradients, state, params)
            params = optax.apply_updates(params, updates)
    for p, q in zip(ours, params, strict=True):
        np.testing.assert_allclose(p.detach().numpy(), q, rtol=1e-5)


def test_state_dicts_go_on():
    ours = fresh()
    optimizer = optim.Optax(ours, optax.adam(0.1))
    step(optimizer, ours, 0)
    saved = optimizer.state_dict()
    twins = [nn.Parameter(p.detach()) for p in ours]
    other = optim.Optax(twins, optax.adam(0.1))
    other.load_state_dict(saved)
    step(optimizer, ours, 1), step(other, twins, 1)
    for p, q in zip(ours, twins, strict=True):
        np.testing.assert_array_equal(p.detach().numpy(), q.detach().numpy())
    with pytest.raises(RuntimeError, match="arrays of shapes"):
        optim.Optax([nn.Parameter(nr.ones(k + 1)) for k in range(3)], optax.adam(0.1)).load_state_dict(saved)
    with pytest.raises(ValueError, match="multi_transform"):
        other.add_param_group({"params": [nn.Parameter(nr.ones(1))]})


def test_parameters_without_a_gradient_keep_their_value():
    a, b = nn.Parameter(nr.ones(2)), nn.Parameter(nr.ones(2))
    optimizer = optim.Optax([a, b], optax.adamw(0.1, weight_decay=0.5))
    a.grad = nr.ones(2)
    optimizer.step()
    assert b.detach().tolist() == [1, 1] and a[0] < 1
    b.grad = nr.ones(2)
    optimizer.step()
    assert b[0] < 1


def test_names_reach_the_transformation():
    model = nn.Linear(2, 1)
    label = lambda params: {name: "frozen" if name == "bias" else "trained" for name in params}  # noqa: E731
    optimizer = optim.Optax(model.named_parameters(), optax.multi_transform({"frozen": optax.set_to_zero(), "trained": optax.sgd(0.1)}, label))
    before = {name: p.detach() for name, p in model.named_parameters()}
    model(nr.ones(1, 2)).sum().backward()
    optimizer.step()
    assert nr.equal(model.bias, before["bias"]) and nr.allclose(model.weight, before["weight"] - 0.1)


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "jit"])
def test_named_arguments_reach_the_transformation(compiled):
    p = nn.Parameter(nr.tensor([2.0]))
    optimizer = optim.Optax([p], optax.polyak_sgd())

    def run(x):
        optimizer.zero_grad()
        value = (p * p * x).sum()
        value.backward()
        optimizer.step(value=value)

    call = nr.jit(run) if compiled else run
    for _ in range(3):
        call(nr.ones(1))
    assert p.item() == pytest.approx(0.25)  # every step halves it
    assert compiled or len(optimizer._programs) == 1
    optimizer = optim.Optax([p], optax.contrib.sophia(0.1))
    p.grad = nr.ones(1)
    optimizer.step(obj_fn=lambda params: (params[0] ** 2).sum())
    assert p.item() < 0.25


def test_the_closure_gives_the_loss_back():
    p = nn.Parameter(nr.tensor([2.0]))
    optimizer = optim.Optax([p], optax.sgd(0.5))

    def closure():
        optimizer.zero_grad()
        value = (p * p).sum()
        value.backward()
        return value

    with nr.no_grad():
        assert optimizer.step(closure).item() == 4 and p.item() == 0


def test_the_state_can_be_read_and_replaced():
    p = nn.Parameter(nr.tensor([2.0]))
    optimizer = optim.Optax([p], optax.inject_hyperparams(optax.sgd)(learning_rate=0.5))
    run = nr.jit(lambda: step(optimizer, [p], 0))
    run()
    state = optimizer.optax_state
    state.hyperparams["learning_rate"] = jnp.asarray(0.0)
    optimizer.optax_state = state
    before = p.item()
    run()
    assert p.item() == before and sum(map(len, run.programs.values())) == 1
    with pytest.raises(RuntimeError, match="has the structure"):
        optimizer.optax_state = {"a": 1}
