"""What NumPy's and JAX's own functions do with tensors, and bare JAX transformations with modules."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch
from PIL import Image

import neurarust_jax as nr
from tests.oracle import assert_same

FUNCTIONS = {
    "sin": np.sin, "exp": np.exp, "isfinite": np.isfinite, "greater": lambda x: np.greater(x, 1), "add": lambda x: np.add(x, np.array([3.0, 4.0])),
    "multiply by an array first": lambda x: np.multiply(np.array([3.0, 4.0]), x), "square": np.square, "scalar": lambda x: np.float64(2) * x, "compare": lambda x: np.array([1.0, 0.0]) == x,
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:__array_wrap__ must accept context")  # PyTorch's does not
@pytest.mark.parametrize("name", FUNCTIONS)
def test_universal_functions_give_what_they_give_of_pytorchs_tensors(name):
    assert_same(FUNCTIONS[name](nr.tensor([1.0, 2.0])), FUNCTIONS[name](torch.tensor([1.0, 2.0])))


def test_arrays_and_tensors_mix():
    array, tensor = np.array([3.0, 4.0]), nr.tensor([1.0, 2.0], requires_grad=True)
    for value in (array * tensor, array + tensor, array - tensor, array**tensor, array < tensor):
        assert isinstance(value, nr.Tensor)
    (array * tensor).sum().backward()
    assert tensor.grad.tolist() == [3.0, 4.0]
    assert type(np.add(array, tensor.detach(), out=np.zeros(2))) is np.ndarray
    assert np.asarray(tensor.detach()).dtype == np.float32 and np.array(tensor.detach(), dtype=np.int8).tolist() == [1, 2]
    for function in (np.sin, np.asarray):
        with pytest.raises(RuntimeError, match="requires grad"):
            function(tensor)


def test_dlpack_with_its_options():
    x = nr.arange(3)
    assert np.from_dlpack(x, copy=True, device="cpu").tolist() == [0, 1, 2] and torch.from_dlpack(x).tolist() == [0, 1, 2]
    assert x.__dlpack__(stream=None, max_version=(1, 0), dl_device=None, copy=None) is not None and x.__dlpack_device__()[0] == 1
    for other in (np.arange(3), jnp.arange(3), torch.arange(3), nr.arange(3)):
        assert nr.from_dlpack(other).tolist() == [0, 1, 2]
    assert nr.as_tensor(Image.new("L", (3, 2), 7)).tolist() == [[7, 7, 7], [7, 7, 7]]


def test_jax_functions_take_tensors():
    x = nr.tensor([1.0, 2.0])
    assert np.allclose(jnp.sin(x), np.sin([1.0, 2.0])) and np.allclose(jnp.stack([x, x]), [[1, 2]] * 2) and float(jnp.ones(2) @ x) == 3
    assert isinstance(jax.jit(lambda a: a * 2)(x), nr.Tensor) and isinstance(jax.device_put(x), nr.Tensor) and isinstance(jax.vmap(lambda a: a * 2)(x), nr.Tensor)


def net():
    return nr.nn.Sequential(nr.nn.Linear(3, 4), nr.nn.BatchNorm1d(4), nr.nn.Tanh(), nr.nn.Linear(4, 1))


def test_bare_jax_takes_a_module_as_a_pytree():
    model, x = net(), nr.randn(8, 3)
    run = jax.jit(lambda m, x: (m(x), m))
    y, after = run(model, x)
    assert isinstance(y, nr.Tensor) and type(after) is nr.nn.Sequential
    assert after[1].running_mean.any() and not model[1].running_mean.any()
    run(net(), x)
    assert run._cache_size() == 1
    doubled = jax.tree.map(lambda a: a * 2 if a.dtype.kind == "f" else a, model)
    assert (doubled[0].weight == model[0].weight * 2).all()
    stacked = jax.tree.map(lambda *a: jnp.stack(a), net(), net())
    assert jax.vmap(lambda m: m(x))(stacked).shape == (2, 8, 1)

    @jax.jit
    def loss_and_gradient(m):
        return jax.value_and_grad(lambda m: jnp.asarray((m(x) ** 2).mean()), allow_int=True)(m)

    _, gradient = loss_and_gradient(model)
    (model(x) ** 2).mean().backward()
    np.testing.assert_allclose(gradient[0].weight.detach().numpy(), model[0].weight.grad.numpy(), rtol=1e-4, atol=1e-6)


def test_equinox_transforms_a_module():
    import equinox as eqx

    model, x = net(), nr.randn(8, 3)

    def loss(m, x):
        return jnp.asarray((m(x) ** 2).mean())

    parameters, rest = eqx.partition(model, eqx.is_inexact_array)
    assert np.allclose(eqx.combine(parameters, rest)(x).detach().numpy(), eqx.filter_jit(lambda m, x: m(x))(model, x).detach().numpy(), atol=1e-6)
    rule = optax.adam(0.03)
    state = rule.init(parameters)

    @eqx.filter_jit
    def step(model, state):
        value, gradient = eqx.filter_value_and_grad(loss)(model, x)
        updates, state = rule.update(gradient, state)
        return eqx.apply_updates(model, updates), state, value

    values = []
    for _ in range(15):
        model, state, value = step(model, state)
        values.append(float(value))
    assert values[-1] < 0.8 * values[0]


def test_a_callable_pytree_is_a_layer():
    import equinox as eqx

    theirs = eqx.nn.Sequential([
        eqx.nn.Linear(3, 16, key=jax.random.key(0)), eqx.nn.Lambda(jax.nn.relu), eqx.nn.Dropout(0.5), eqx.nn.Linear(16, 2, key=jax.random.key(1)),
    ])  # fmt: skip
    ours, x = nr.interop.FromPytree(theirs), nr.randn(3)
    assert list(ours.state_dict()) == ["layers.0.weight", "layers.0.bias", "layers.3.weight", "layers.3.bias"]
    assert not (ours(x) == ours(x)).all()
    np.testing.assert_allclose(ours.eval()(x).detach().numpy(), eqx.nn.inference_mode(theirs)(x._value), rtol=1e-5)
    optimizer = nr.optim.SGD(ours.parameters(), lr=0.05)

    @nr.jit
    def step():
        optimizer.zero_grad()
        loss = (ours(x) ** 2).sum()
        loss.backward()
        optimizer.step()
        return loss

    first = step().item()
    assert [step().item() for _ in range(5)][-1] < first
