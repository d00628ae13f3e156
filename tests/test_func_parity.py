"""`nr.func` against `torch.func`: the examples of its guides, nested transformations in both orders, chunks, randomness, pytrees and tied weights."""

import numpy as np
import pytest
import torch

import neurarust_jax as nr
from neurarust_jax import nn

# PyTorch's own forward mode scripts a helper, which warns
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:DeprecationWarning")

X = np.random.default_rng(0).standard_normal((5, 4)).astype(np.float32)
Y = np.random.default_rng(1).standard_normal((5, 4)).astype(np.float32)


def compare(ours, theirs):
    if isinstance(theirs, tuple | list):
        assert len(ours) == len(theirs)
        for a, b in zip(ours, theirs, strict=True):
            compare(a, b)
    elif isinstance(theirs, dict):
        assert set(ours) == set(theirs)
        for key in theirs:
            compare(ours[key], theirs[key])
    else:
        assert tuple(ours.shape) == tuple(theirs.shape)
        np.testing.assert_allclose(ours.detach().numpy(), theirs.detach().numpy(), rtol=2e-4, atol=2e-5)


def both(program, *arrays):
    compare(program(nr, nr.func, *map(nr.tensor, arrays)), program(torch, torch.func, *map(torch.tensor, arrays)))


PROGRAMS = {
    "hessian-vector product": lambda m, f, x, y: f.jvp(f.grad(lambda x: (x.sin() ** 2).sum()), (x,), (y,))[1],
    "grad of jvp": lambda m, f, x, y: f.grad(lambda x: f.jvp(lambda x: x.sin() * x, (x,), (y,))[1].sum())(x),
    "vmap of grad": lambda m, f, x, y: f.vmap(f.grad(lambda a, b: (a * b).sin().sum()))(x, y),
    "grad of vmap": lambda m, f, x, y: f.grad(lambda x: f.vmap(lambda a, b: (a * b).sin().sum())(x, y).sum())(x),
    "vmap of jvp": lambda m, f, x, y: f.vmap(lambda a, t: f.jvp(m.sin, (a,), (t,)))(x, y),
    "vmap of vjp": lambda m, f, x, y: f.vmap(lambda a, t: f.vjp(m.sin, a)[1](t))(x, y),
    "vmap of vmap": lambda m, f, x, y: f.vmap(f.vmap(lambda a, b: a * b), (0, None))(x, y[0]),
    "vmap of jacrev": lambda m, f, x, y: f.vmap(f.jacrev(lambda a: a.sin() * a.sum()))(x),
    "vmap of hessian": lambda m, f, x, y: f.vmap(f.hessian(lambda a: a.sin().prod()))(x),
    "jacfwd of jacrev": lambda m, f, x, y: f.jacfwd(f.jacrev(lambda a: (a**3).sum() * a))(x[0]),
    "jacrev of jacfwd": lambda m, f, x, y: f.jacrev(f.jacfwd(lambda a: (a**3).sum() * a))(x[0]),
    "jacrev of several": lambda m, f, x, y: f.jacrev(lambda a, b: (a * b, {"s": (a + b).sum()}), (0, 1))(x[0], y[0]),
    "jacrev in chunks": lambda m, f, x, y: f.jacrev(lambda a, b: (m.outer(a, b), b.sum()), (0, 1), chunk_size=3)(x[0], y[0]),
    "jacrev with aux": lambda m, f, x, y: f.jacrev(lambda a: (a.sin(), a + 1), has_aux=True, chunk_size=2)(x[0]),
    "jacfwd with aux": lambda m, f, x, y: f.jacfwd(lambda a: (a.sin(), a + 1), has_aux=True)(x[0]),
    "jacfwd of several": lambda m, f, x, y: f.jacfwd(lambda a, b: {"p": m.outer(a, b)}, (0, 1))(x[0], y[0]),
    "vjp of pytrees": lambda m, f, x, y: f.vjp(lambda d: {"o": d["a"] * d["b"], "s": d["a"].sum()}, {"a": x, "b": y})[1]({"o": y, "s": m.tensor(2.0)}),
    "vjp with aux": lambda m, f, x, y: (f.vjp(lambda a: (a.sin(), {"k": a + 1}), x, has_aux=True)[2], f.vjp(lambda a: (a.sin(), a), x, has_aux=True)[1](y)),
    "vjp of several": lambda m, f, x, y: f.vjp(lambda a, b: a * b, x, y)[1](x),
    "jvp with aux": lambda m, f, x, y: f.jvp(lambda a: (a.sin(), a + 1), (x,), (y,), has_aux=True),
    "jvp strict": lambda m, f, x, y: f.jvp(lambda a: a.sin(), (x,), (y,), strict=True),
    "linearize": lambda m, f, x, y: f.linearize(lambda a: a.sin() * 2, x)[1](y) if f is nr.func else f.jvp(lambda a: a.sin() * 2, (x,), (y,))[1],
    "argnums": lambda m, f, x, y: f.grad(lambda a, b: (a * b).sum(), argnums=(1, 0))(x, y),
    "value with aux": lambda m, f, x, y: f.grad_and_value(lambda a, b: ((a * b).sum(), {"b": b}), has_aux=True)(x, y),
    "in_dims nested": lambda m, f, x, y: f.vmap(lambda d, t: d["a"] * t[0] + d["b"] * t[1], ({"a": 0, "b": None}, (-2, None)))({"a": x, "b": y[0]}, (y, x[0])),
    "in_dims negative": lambda m, f, x, y: f.vmap(lambda a, b: a @ b, (-1, 1))(x, y),
    "out_dims nested": lambda m, f, x, y: f.vmap(lambda a: (a, {"k": a * 2}), out_dims=(1, {"k": -1}))(x) if f is nr.func else f.vmap(lambda a: (a, {"k": a * 2}), out_dims=(1, 1))(x),
    "chunks": lambda m, f, x, y: f.vmap(lambda a, b: (a * b, a.sum()), (0, None), (1, 0), chunk_size=2)(x, y[0]),
    "chunks that divide": lambda m, f, x, y: f.vmap(lambda a: a.sin(), -1, -1, chunk_size=2)(x),
    "chunks of one": lambda m, f, x, y: f.vmap(f.grad(lambda a: a.sin().sum()), chunk_size=1)(x),
}


@pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS.keys())
def test_programs_of_torch_func(program):
    both(program, X, Y)


@pytest.mark.parametrize("name", ["vmap of grad", "grad of vmap", "vmap of hessian", "jacrev in chunks", "chunks"])
def test_compiled_inside_and_outside(name):
    expected = PROGRAMS[name](torch, torch.func, torch.tensor(X), torch.tensor(Y))
    compare(nr.jit(lambda x, y: PROGRAMS[name](nr, nr.func, x, y))(nr.tensor(X), nr.tensor(Y)), expected)


def test_jit_inside_vmap_and_grad():
    f = nr.jit(lambda a, b: (a * b).sin().sum())
    both_orders = nr.vmap(nr.grad(f))(nr.tensor(X), nr.tensor(Y)), nr.jit(nr.vmap(nr.grad(f)))(nr.tensor(X), nr.tensor(Y))
    for found in both_orders:
        np.testing.assert_allclose(found.numpy(), np.cos(X * Y) * Y, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(nr.hessian(nr.jit(lambda a: (a**3).sum()))(nr.tensor(X[0])).numpy(), np.diag(6 * X[0]), rtol=1e-4, atol=1e-5)


# --- the guides --------------------------------------------------------------------------------------------------------


def models(count=1):
    torch.manual_seed(0)
    theirs = [torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.Tanh(), torch.nn.Linear(6, 3)) for _ in range(count)]
    ours = [nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3)) for _ in range(count)]
    for a, b in zip(ours, theirs, strict=True):
        a.load_state_dict(b.state_dict())
    return ours, theirs


def per_sample_gradients(library, f, model, x, targets):
    cross_entropy = library.nn.functional.cross_entropy
    params = {k: v.detach() for k, v in model.named_parameters()}
    buffers = {k: v.detach() for k, v in model.named_buffers()}

    def loss(params, buffers, sample, target):
        return cross_entropy(f.functional_call(model, (params, buffers), (sample.unsqueeze(0),)), target.unsqueeze(0))

    return f.vmap(f.grad(loss), in_dims=(None, None, 0, 0), chunk_size=2)(params, buffers, x, targets)


def neural_tangent_kernel(library, f, model, x, _):
    params = {k: v.detach() for k, v in model.named_parameters()}
    single = lambda params, x: f.functional_call(model, params, (x.unsqueeze(0),)).squeeze(0)  # noqa: E731
    jacobians = f.vmap(f.jacrev(single), (None, 0))(params, x)
    return sum(library.einsum("Naf,Mbf->NMab", j.flatten(2), j.flatten(2)) for j in jacobians.values())


@pytest.mark.parametrize("guide", [per_sample_gradients, neural_tangent_kernel])
def test_guides_over_one_model(guide):
    (ours,), (theirs,) = models()
    targets = np.array([0, 1, 2, 1, 0])
    compare(guide(nr, nr.func, ours, nr.tensor(X), nr.tensor(targets)), guide(torch, torch.func, theirs, torch.tensor(X), torch.tensor(targets)))


def test_an_ensemble_trains_through_vmap():
    ours, theirs = models(3)
    found = []
    for library, f, members in ((nr, nr.func, ours), (torch, torch.func, theirs)):
        params, buffers = f.stack_module_state(members)
        base, x = members[0], library.tensor(X)
        out = f.vmap(lambda p, b, x=x, base=base, f=f: f.functional_call(base, (p, b), (x,)))(params, buffers)
        out.square().sum().backward()
        found.append((out, {k: p.grad for k, p in params.items()}))
    compare(*found)


def test_gradients_flow_through_vmap_to_parameters_and_inputs():
    (ours,), (theirs,) = models()
    grads = []
    for library, f, model in ((nr, nr.func, ours), (torch, torch.func, theirs)):
        x = library.tensor(X).requires_grad_()
        f.vmap(model)(x).sin().sum().backward()
        grads.append((x.grad, [p.grad for p in model.parameters()]))
    compare(*grads)


def test_functional_call_ties_weights_as_pytorch():
    def make(library):
        class Tied(library.nn.Module):
            def __init__(self):
                super().__init__()
                self.a = library.nn.Linear(4, 4)
                self.b = library.nn.Linear(4, 4)
                self.b.weight = self.a.weight

            def forward(self, x):
                return self.b(self.a(x))

        return Tied()

    ours, theirs = make(nr), make(torch)
    ours.load_state_dict(theirs.state_dict())
    for options in ({}, {"tie_weights": True}):
        given = {"a.weight": Y[:4]}
        compare(
            nr.func.functional_call(ours, {k: nr.tensor(v) for k, v in given.items()}, nr.tensor(X), **options),
            torch.func.functional_call(theirs, {k: torch.tensor(v) for k, v in given.items()}, torch.tensor(X), **options),
        )


# --- randomness and chunks ---------------------------------------------------------------------------------------------


def test_jacfwd_says_what_random_operations_do():
    f = lambda x: x * nr.rand(4)  # noqa: E731
    x = nr.ones(4)
    with pytest.raises(RuntimeError, match="randomness flags on jacfwd"):
        nr.jacfwd(f)(x)
    before = nr.get_rng_state()
    same, different = (nr.jacfwd(f, randomness=r)(x) for r in ("same", "different"))
    assert nr.count_nonzero(same).item() == 4 and not nr.equal(nr.get_rng_state(), before)
    draws = [nr.jacfwd(lambda x: nr.ones(4) * x[0] * nr.rand(()) + x.sum() * 0, randomness="same")(x)[0, 0].item() for _ in range(2)]
    assert draws[0] != draws[1] and nr.count_nonzero(different).item() == 4
    spread = nr.jacfwd(lambda x: x.sum() * nr.rand(()), randomness="different")(x)
    alike = nr.jacfwd(lambda x: x.sum() * nr.rand(()), randomness="same")(x)
    assert len(set(spread.tolist())) == 4 and len(set(alike.tolist())) == 1
    with pytest.raises(ValueError, match="Only allowed values"):
        nr.jacfwd(f, randomness="sometimes")


@pytest.mark.parametrize("randomness", ["different", "same"])
def test_chunks_draw_apart(randomness):
    x = nr.zeros(6, 3)
    out = nr.vmap(lambda r: r + nr.rand(3), randomness=randomness, chunk_size=2)(x)
    rows = {tuple(r) for r in out.tolist()}
    assert len(rows) == (6 if randomness == "different" else 3)  # PyTorch too draws anew for each chunk


def test_chunks_bound_the_memory():
    import jax

    f = lambda x: (x[:, None] * x).sin().sum()  # noqa: E731
    x = nr.randn(64, 128)
    sizes = []
    for chunk_size in (None, 4):
        g = lambda a, c=chunk_size: nr.vmap(nr.grad(f), chunk_size=c)(nr.as_tensor(a))._value  # noqa: E731
        sizes.append(jax.jit(g).lower(x._value).compile().memory_analysis().temp_size_in_bytes)
    assert sizes[1] < 0.5 * sizes[0]
    rows = lambda c: lambda a: nr.jacrev(lambda x: nr.tanh(x.outer(x)).flatten(), chunk_size=c)(nr.as_tensor(a))._value  # noqa: E731
    a = nr.randn(24)._value
    whole, chunked = (jax.jit(rows(c)).lower(a).compile().memory_analysis().temp_size_in_bytes for c in (None, 8))
    assert chunked < whole


@pytest.mark.parametrize(
    ("run", "text"),
    [(lambda: nr.vmap(nr.sin, chunk_size=0)(nr.ones(2)), "chunk_size should be None or greater than 0"), (lambda: nr.jacrev(nr.sin, chunk_size=-1), "should be greater than 0")],
)
def test_chunk_sizes_are_checked(run, text):
    with pytest.raises(ValueError, match=text):
        run()
