"""Calls into Python from compiled programs, and programs that are saved and called again."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export as jax_export

import neurarust_jax as nr
from neurarust_jax import nn


def test_pure_callback_eagerly_and_under_the_transformations():
    def host(x, scale):
        assert isinstance(x, np.ndarray)
        return {"y": np.sin(x) * scale}

    f = lambda x: nr.pure_callback(host, {"y": x}, x, scale=2.0, vmap_method="expand_dims")["y"]  # noqa: E731
    x = nr.tensor([1.0, 2.0])
    expected = np.sin([1.0, 2.0]) * 2
    for run in (f, nr.jit(f), nr.vmap(f), lambda x: nr.scan(lambda c, v: (c, f(v)), 0, x)[1]):
        np.testing.assert_allclose(run(x).numpy(), expected, rtol=1e-6)
    assert nr.pure_callback(lambda i: i + 1, jax.ShapeDtypeStruct((), np.int64), 3).dtype == nr.int64


def test_a_callback_gets_its_gradient_by_custom_vjp():
    f = nr.custom_vjp(lambda x: nr.pure_callback(np.exp, x, x))
    f.defvjp(lambda x: (f(x), f(x)), lambda y, g: (g * y,))
    x = nr.tensor([0.5], requires_grad=True)
    nr.jit(lambda x: f(x).sum())(x).backward()
    np.testing.assert_allclose(x.grad.numpy(), np.exp([0.5]), rtol=1e-6)


def test_io_callback_runs_once_for_each_turn_in_order():
    seen = []
    note = lambda x: seen.append(x.item())  # noqa: E731

    @nr.jit
    def f(x):
        def body(i, v):
            nr.io_callback(note, None, v, ordered=True)
            return v * 2

        return nr.fori_loop(0, 3, body, x)

    assert f(nr.tensor(1.0)).item() == 8
    jax.effects_barrier()
    assert seen == [1, 2, 4]


def test_a_module_comes_back_from_bytes():
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Dropout(0.5)).eval()
    x = nr.randn(5, 3)
    expected = model(x).detach().numpy()
    exported = nr.export(nr.jit(model))(x)
    program = nr.func.Exported.deserialize(bytes(exported.serialize(vjp_order=1)))
    for run in (exported, program, nr.jit(program)):
        np.testing.assert_allclose(run(x).numpy(), expected, rtol=1e-6)
    gradient = nr.grad(lambda x: model(x).sum())(x).detach().numpy()
    np.testing.assert_allclose(nr.grad(lambda x: program(x).sum())(x).numpy(), gradient, rtol=1e-5)
    inside = x.detach().requires_grad_()
    program(inside).sum().backward()
    np.testing.assert_allclose(inside.grad.numpy(), gradient, rtol=1e-5)
    assert "stablehlo" in program.mlir_module() and program.in_avals[0].shape == (5, 3)
    with pytest.raises(ValueError, match="writes to .*num_batches_tracked.*model.eval"):
        nr.export(model.train())(x)
    with pytest.raises(ValueError, match="not what Exported.serialize"):
        nr.func.Exported.deserialize(b"something")


def test_state_as_input_goes_in_and_comes_out():
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    x = nr.randn(5, 3)
    program = nr.func.Exported.deserialize(nr.export(model, state="input")(x).serialize())
    state = model.state_dict()
    assert set(program.state_names) == set(state)
    assert set(program.writes) == {"1.running_mean", "1.running_var", "1.num_batches_tracked"}
    output, new = program({name: state[name] for name in program.state_names}, x)
    np.testing.assert_allclose(output.numpy(), model(x).detach().numpy(), rtol=1e-5, atol=1e-6)
    for name in program.writes:
        np.testing.assert_allclose(new[name].numpy(), model.state_dict()[name].numpy(), rtol=1e-5, atol=1e-6)


def test_structures_symbols_and_fixed_arguments():
    def f(tree, *, power, names=()):
        return {"a": tree["x"] ** power, "b": (tree["i"] + 1, [tree["x"].sum()])}

    tree = {"x": nr.tensor([1.0, 2.0], dtype=nr.float64), "i": nr.tensor(1)}
    program = nr.func.Exported.deserialize(nr.export(f)(tree, power=3, names=("n",)).serialize())
    for out in (program(tree), program(tree, power=3)):
        assert out["a"].tolist() == [1, 8] and out["b"][0].item() == 2 and out["a"].dtype == nr.float64
    (n,) = jax_export.symbolic_shape("n")
    rows = nr.export(lambda x: nr.tanh(x) * 2)(jax.ShapeDtypeStruct((n, 3), jnp.float32))
    for count in (1, 4):
        assert rows(nr.zeros(count, 3)).shape == (count, 3)
    both = nr.export(lambda x: x + 1, platforms=["cpu", "cuda"])(nr.ones(2))
    assert both.exported.platforms == ("cpu", "cuda") and both(nr.ones(2)).tolist() == [2, 2]
    with pytest.raises(ValueError, match="'frozen' or 'input'"):
        nr.export(f, state="outside")


def test_an_exported_program_keeps_the_order_of_keys():
    def f(x):
        return {"total": x.sum(), "mean": x.mean(), "parts": [{"b": x, "a": -x}]}

    exported = nr.export(f)(nr.ones(3))
    for program in (exported, nr.func.Exported.deserialize(exported.serialize()), nr.jit(exported)):
        found = program(nr.ones(3))
        assert list(found) == ["total", "mean", "parts"] and list(found["parts"][0]) == ["b", "a"]
        assert found["total"] == 3 and found["parts"][0]["a"].tolist() == [-1, -1, -1]
