"""`nr.grad`, `vmap` and their kin over tensors, modules and pytrees."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

import neurarust_jax as nr
import neurarust_jax.nn.functional as F
from neurarust_jax import nn

# PyTorch's own forward mode scripts a helper, which warns
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:DeprecationWarning")

X = np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32)


def both(name, f, *arguments, **options):
    """The transformation in both libraries, applied to f(library, ...)."""
    ours = getattr(nr.func, name)(lambda *a: f(nr, *a), **options)(*[nr.tensor(a) for a in arguments])
    theirs = getattr(torch.func, name)(lambda *a: f(torch, *a), **options)(*[torch.tensor(a) for a in arguments])
    compare(ours, theirs)


def compare(ours, theirs):
    if isinstance(theirs, tuple | list):
        assert len(ours) == len(theirs)
        for a, b in zip(ours, theirs, strict=True):
            compare(a, b)
    elif isinstance(theirs, dict):
        assert ours.keys() == theirs.keys()
        for key in theirs:
            compare(ours[key], theirs[key])
    else:
        assert isinstance(ours, nr.Tensor)
        np.testing.assert_allclose(ours.detach().numpy(), theirs.detach().numpy(), rtol=2e-5, atol=1e-6)


def test_grad_argnums_and_aux():
    both("grad", lambda m, x, y: (x * y).sum(), X, X + 1)
    both("grad", lambda m, x, y: (x * y).sum(), X, X + 1, argnums=(1, 0))
    both("grad", lambda m, x, y: (x * y).sum(), X, X + 1, argnums=-1)
    both("grad", lambda m, x: ((x * x).sum(), x + 1), X, has_aux=True)
    both("grad_and_value", lambda m, x: ((x * x).sum(), {"a": x + 1}), X, has_aux=True)
    with pytest.raises(RuntimeError, match=r"expected .* to return a 0-d tensor, got shape \(3, 4\)"):
        nr.grad(lambda x: x * 2)(nr.tensor(X))
    with pytest.raises(ValueError, match="argnums=2"):
        nr.grad(lambda x: x.sum(), argnums=2)(nr.tensor(X))


def test_grads_nest_with_each_other_and_with_the_tape():
    both("grad", lambda m, x: m.func.grad(lambda t: (t**3).sum())(x).sum(), X)
    x = nr.tensor(2.0, requires_grad=True)

    def inner(t):
        (g,) = nr.autograd.grad(t**3, t) if t.requires_grad else (3 * t**2,)
        return g * t

    assert nr.grad(inner)(nr.tensor(2.0)).item() == 36
    (y,) = nr.vjp(lambda t: t * t, nr.tensor(3.0))[1](nr.tensor(1.0))
    assert y.item() == 6 and x.grad is None


def test_grad_respects_detach_and_no_grad():
    def f(x):
        with nr.no_grad():
            c = x * 2
        return (x * c + x.detach() * x).sum()

    assert nr.grad(f)(nr.tensor([3.0])).tolist() == [9]
    with nr.no_grad():
        assert nr.grad(lambda x: (x * x).sum())(nr.tensor([3.0])).tolist() == [6]


def test_value_and_grad_over_modules_and_pytrees():
    model = nn.Sequential(nn.Linear(4, 2), nn.Tanh(), nn.Linear(2, 1))
    x = nr.tensor(X)
    value, gradient = nr.value_and_grad(lambda m: m(x).sum())(model)
    model(x).sum().backward()
    assert isinstance(gradient, nn.Sequential) and value.shape == ()
    for (name, p), g in zip(model.named_parameters(), gradient.parameters(), strict=True):
        np.testing.assert_allclose(g.detach().numpy(), p.grad.numpy(), rtol=1e-5, err_msg=name)
    tree = {"a": nr.ones(2), "b": [jnp.ones(2), (nr.zeros(1),)]}
    g = nr.grad(lambda t: (t["a"] * 2).sum() + t["b"][1][0].sum() + (t["b"][0] * 3).sum())(tree)
    assert isinstance(g["a"], nr.Tensor) and isinstance(g["b"][0], jax.Array) and g["b"][1][0].tolist() == [1]


def test_parameter_dicts_go_through_tree_map():
    model = nn.Linear(2, 1)
    params = dict(model.named_parameters())
    x = nr.ones(3, 2)
    grads = nr.grad(lambda p: (nr.func.functional_call(model, p, (x,)) ** 2).mean())(params)
    stepped = jax.tree.map(lambda p, g: p - 0.1 * g, params, grads)
    assert stepped.keys() == params.keys() and tuple(stepped["weight"].shape) == (1, 2)


def test_vjp_jvp_linearize():
    x, t = nr.tensor(X), nr.ones(3, 4)
    out, pull = nr.vjp(lambda a, b: (a * b, a.sum()), x, x)
    ga, gb = pull((t, nr.tensor(1.0)))
    np.testing.assert_allclose(ga.numpy(), X + 1)
    np.testing.assert_allclose(gb.numpy(), X)
    assert isinstance(out, tuple)
    value, tangent = nr.jvp(nr.sin, (x,), (t,))
    np.testing.assert_allclose(tangent.numpy(), np.cos(X), rtol=1e-6)
    value, tangent, aux = nr.jvp(lambda a: (a.sin(), a + 1), (x,), (t,), has_aux=True)
    assert aux.shape == (3, 4)
    value, push = nr.func.linearize(nr.sin, x)
    np.testing.assert_allclose(push(t).numpy(), np.cos(X), rtol=1e-6)
    with pytest.raises(RuntimeError, match=r"expected shapes \[\(3, 4\)\], got \[\(3,\)\]"):
        nr.vjp(nr.sin, x)[1](nr.ones(3))
    with pytest.raises(ValueError, match="takes tuples"):
        nr.jvp(nr.sin, x, t)


@pytest.mark.parametrize("name", ["jacrev", "jacfwd"])
def test_jacobians(name):
    both(name, lambda m, x: m.sin(x), X[0])
    both(name, lambda m, x, y: x[:, None] * y, X[0], X[1], argnums=1)
    both(name, lambda m, x, y: (x * y, {"s": x.sum()}), X[0], X[1], argnums=(0, 1))
    both(name, lambda m, x: (x * 2, x.sum()), X[0], has_aux=True)


def test_hessian():
    both("hessian", lambda m, x: (x**3).sum() * x[0], X[0])
    both("hessian", lambda m, x, y: (x * y * y).sum(), X[0], X[1], argnums=(0, 1))


@pytest.mark.parametrize(
    ("in_dims", "out_dims", "shapes"),
    [(0, 0, ((3, 4), (3, 4))), ((0, None), 0, ((3, 4), (4,))), ((1, 0), 0, ((4, 3), (3, 4))), ((-1, 0), 1, ((4, 3), (3, 4))), ((None, 0), 0, ((4,), (3, 4)))],
)
def test_vmap_dims(in_dims, out_dims, shapes):
    generator = np.random.default_rng(1)
    a, b = (generator.standard_normal(s).astype(np.float32) for s in shapes)
    ours = nr.vmap(lambda x, y: x * y + 1, in_dims, out_dims)(nr.tensor(a), nr.tensor(b))
    theirs = torch.vmap(lambda x, y: x * y + 1, in_dims, out_dims)(torch.tensor(a), torch.tensor(b))
    compare(ours, theirs)


def test_vmap_of_pytrees_outputs_and_chunks():
    x = nr.tensor(X)
    out = nr.vmap(lambda d, k: {"p": d["a"] * k, "q": (d["b"].sum(),)}, ({"a": 0, "b": None}, None))({"a": x, "b": x}, 2.0)
    assert out["p"].shape == (3, 4) and out["q"][0].shape == (3,)
    pair = nr.vmap(lambda r: (r, r.sum()), out_dims=(1, 0))(x)
    assert pair[0].shape == (4, 3) and pair[1].shape == (3,)
    np.testing.assert_allclose(nr.vmap(lambda r: r.sum(), chunk_size=2)(x).numpy(), X.sum(1), rtol=1e-6)
    np.testing.assert_allclose(nr.vmap(nr.vmap(lambda s: s * 2))(x).numpy(), X * 2)


@pytest.mark.parametrize(
    ("in_dims", "arguments", "text"),
    [
        (0, (X, X[:2]), "same size in the mapped dimension"),
        ((0,), (X, X), "1 entries for 2 arguments"),
        (None, (X,), "in_dims"),
        (3, (X,), r"in_dim=3 for argument 0, whose shape is \(3, 4\)"),
        (0, (np.float32(1),), "0-d"),
    ],
)
def test_vmap_explains_dims_that_do_not_fit(in_dims, arguments, text):
    with pytest.raises(ValueError, match=text):
        nr.vmap(lambda *a: a[0], in_dims)(*[nr.tensor(a) for a in arguments])


def test_vmap_randomness():
    x = nr.zeros(5, 3)
    with pytest.raises(RuntimeError, match="randomness error mode"):
        nr.vmap(lambda r: r + nr.rand(3))(x)
    different = nr.vmap(lambda r: r + nr.rand(3), randomness="different")(x)
    same = nr.vmap(lambda r: r + nr.rand(3), randomness="same")(x)
    assert len(np.unique(different.numpy())) == 15 and (same == same[0]).all()
    again = nr.vmap(lambda r: r + nr.rand(3), randomness="different")(x)
    assert (again != different).any()
    assert not isinstance(nr.get_rng_state()._value, jax.core.Tracer)
    with pytest.raises(ValueError, match="Only allowed values"):
        nr.vmap(nr.sin, randomness="sometimes")


def test_vmap_refuses_running_statistics_that_differ():
    model = nn.BatchNorm2d(1)
    with pytest.raises(nr.errors.TracedValueError, match=r"model\.eval\(\)"):
        nr.vmap(model)(nr.randn(3, 2, 1, 4, 4))
    assert nr.vmap(model.eval())(nr.randn(3, 2, 1, 4, 4)).shape == (3, 2, 1, 4, 4)


def test_per_sample_gradients_equal_a_loop():
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    x, y = nr.randn(6, 4), nr.randint(0, 2, (6,))
    params = {n: p.detach() for n, p in model.named_parameters()}

    def loss(p, a, b):
        return F.cross_entropy(nr.func.functional_call(model, p, (a[None],)), b[None])

    rows = nr.vmap(nr.grad(loss), (None, 0, 0))(params, x, y)
    for i in range(6):
        model.zero_grad()
        F.cross_entropy(model(x[i : i + 1]), y[i : i + 1]).backward()
        for name, p in model.named_parameters():
            np.testing.assert_allclose(rows[name][i].numpy(), p.grad.numpy(), rtol=1e-5, atol=1e-6)


def test_transformations_under_jit_and_cells_they_write():
    counter = nn.Buffer(nr.zeros(()))

    def f(x):
        counter.add_(1)
        return (x**2).sum()

    assert nr.jit(nr.grad(f))(nr.tensor([3.0])).tolist() == [6] and counter.item() == 1
    assert nr.grad(nr.jit(f))(nr.tensor([3.0])).tolist() == [6] and counter.item() == 2
    drop = nn.Dropout(0.5)
    a, b = (nr.grad(lambda x: drop(x).sum())(nr.ones(100)) for _ in range(2))
    assert (a != b).any()


def test_functional_call():
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm2d(2).eval())
    model = nn.Linear(2, 2)
    w = nr.zeros(2, 2, requires_grad=True)
    out = nr.func.functional_call(model, {"weight": w}, nr.ones(1, 2))
    np.testing.assert_allclose(out.detach().numpy()[0], model.bias.detach().numpy())
    out.sum().backward()
    assert w.grad.tolist() == [[1, 1], [1, 1]] and model.weight.grad is None and model.bias.grad.tolist() == [1, 1]
    with pytest.raises(RuntimeError, match=r"Unexpected key\(s\): wieght; Linear has weight, bias"):
        nr.func.functional_call(model, {"wieght": w}, nr.ones(1, 2))
    with pytest.raises(RuntimeError, match=r"Missing key\(s\): bias"):
        nr.func.functional_call(model, {"weight": w}, nr.ones(1, 2), strict=True)


def test_functional_call_with_buffers_and_tied_weights():
    norm = nn.BatchNorm2d(1)
    before = norm.running_mean.detach()
    nr.func.functional_call(norm, dict(norm.named_buffers()), (nr.randn(2, 1, 3, 3),))
    assert nr.equal(norm.running_mean, before)

    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.Linear(2, 2, bias=False)
            self.b = nn.Linear(2, 2, bias=False)
            self.b.weight = self.a.weight

        def forward(self, x):
            return self.b(self.a(x))

    model = Tied()
    assert len(list(model.parameters())) == 1
    out = nr.func.functional_call(model, {"a.weight": nr.eye(2) * 2}, nr.ones(2))
    assert out.tolist() == [4, 4]


def test_ensembles_by_stack_module_state():
    models = [nn.Linear(2, 1) for _ in range(3)]
    params, buffers = nr.func.stack_module_state(models)
    x = nr.ones(4, 2)
    out = nr.vmap(lambda p, b: nr.func.functional_call(models[0], (p, b), (x,)))(params, buffers)
    assert out.shape == (3, 4, 1)
    np.testing.assert_allclose(out[2].detach().numpy(), models[2](x).detach().numpy(), rtol=1e-6)


def test_bare_jax_transformations_take_modules():
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1))
    x = nr.ones(3, 2)
    np.testing.assert_allclose(jax.jit(lambda m, t: m(t))(model, x).detach().numpy(), model(x).detach().numpy(), rtol=1e-6)
    grads = jax.grad(lambda m: m(x).sum()._value)(model)
    assert isinstance(grads, nn.Sequential)
    doubled = jax.tree.map(lambda a: a * 2, model)
    np.testing.assert_allclose(doubled[0].weight.detach().numpy(), 2 * model[0].weight.detach().numpy())
    assert doubled[0].weight is not model[0].weight and list(doubled.state_dict()) == list(model.state_dict())
    assert jax.tree.structure(model) == jax.tree.structure(doubled)
    names = [jax.tree_util.keystr(k) for k, _ in jax.tree_util.tree_flatten_with_path(model)[0]]
    assert names == [".0.weight", ".0.bias", ".2.weight", ".2.bias"]
