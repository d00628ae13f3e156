"""`nr.func`'s transformations as operations on the tape: `backward()` goes through what they return, to tensors, parameters and modules, as through PyTorch's."""

import jax
import numpy as np
import pytest
import torch

import neurarust_jax as nr
from neurarust_jax import nn

# PyTorch's own forward mode scripts a helper, which warns
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:DeprecationWarning")

X = np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32)
W = np.random.default_rng(1).standard_normal((4, 4)).astype(np.float32)


def cubed(m, f, x, w):
    return ((x @ w) ** 3).sum()


PROGRAMS = {
    "grad": lambda m, f, x, w: f.grad(lambda x: cubed(m, f, x, w))(x),
    "grad of an argument": lambda m, f, x, w: f.grad(lambda x, w: cubed(m, f, x, w))(x, w),
    "grad of a constant": lambda m, f, x, w: f.grad(lambda x: cubed(m, f, x, w))(x.detach()),
    "grad by both": lambda m, f, x, w: f.grad(lambda x, w: cubed(m, f, x, w), argnums=(0, 1))(x, w),
    "value and aux": lambda m, f, x, w: f.grad_and_value(lambda x: (cubed(m, f, x, w), {"a": x * w[:3], "b": [w]}), has_aux=True)(x),
    "grad of dicts": lambda m, f, x, w: f.grad(lambda d: cubed(m, f, d["x"], d["w"]))({"x": x, "w": w}),
    "grad of grad": lambda m, f, x, w: f.grad(lambda x: (f.grad(lambda x: cubed(m, f, x, w))(x) * w[:3]).sum())(x),
    "vjp": lambda m, f, x, w: f.vjp(lambda x: m.sin(x @ w), x)[1](x),
    "vjp's output and several": lambda m, f, x, w: (f.vjp(lambda x, w: m.sin(x @ w), x, w)[0], f.vjp(lambda x, w: m.sin(x @ w), x, w)[1](x.detach())),
    "vjp of constants": lambda m, f, x, w: f.vjp(lambda x: m.sin(x), x.detach())[1](x),
    "vjp with aux": lambda m, f, x, w: (lambda found: (found[0], found[1](x), found[2]))(f.vjp(lambda x: (m.sin(x @ w), x * 2), x, has_aux=True)),
    "jvp": lambda m, f, x, w: f.jvp(lambda x: m.sin(x @ w), (x,), (x * x,)),
    "jvp along w": lambda m, f, x, w: f.jvp(m.sin, (x.detach(),), (w[:3],))[1],
    "jvp with aux": lambda m, f, x, w: f.jvp(lambda x: (m.sin(x @ w), x * 3), (x,), (x,), has_aux=True),
    "jacrev": lambda m, f, x, w: f.jacrev(lambda x: m.sin(x @ w))(x[0]),
    "jacrev in chunks": lambda m, f, x, w: f.jacrev(lambda x: (m.sin(x @ w), x.sum() * w[0]), chunk_size=3)(x[0]),
    "jacfwd": lambda m, f, x, w: f.jacfwd(lambda x, w: m.sin(x @ w), argnums=(0, 1))(x[0], w),
    "hessian": lambda m, f, x, w: f.hessian(lambda x: cubed(m, f, x, w))(x[0]),
    "vmap of grad": lambda m, f, x, w: f.vmap(f.grad(lambda x: cubed(m, f, x, w)))(x),
    "vmap of hessian": lambda m, f, x, w: f.vmap(f.hessian(lambda x: cubed(m, f, x, w)))(x),
    "grad of vmap": lambda m, f, x, w: f.grad(lambda x: f.vmap(lambda r: m.sin(r @ w))(x).sum())(x),
    "grad of vjp": lambda m, f, x, w: f.grad(lambda x: (f.vjp(lambda x: m.sin(x @ w), x)[1](x)[0] ** 2).sum())(x),
    "jvp of grad": lambda m, f, x, w: f.jvp(f.grad(lambda x: cubed(m, f, x, w)), (x,), (w[:3],))[1],
}


def tensors_of(tree):
    if isinstance(tree, dict):
        return [t for key in sorted(tree) for t in tensors_of(tree[key])]
    return [t for x in tree for t in tensors_of(x)] if isinstance(tree, tuple | list) else [tree]


def squared(tensors):
    total = 0
    for t in tensors:
        total = total + (t * t.detach().cos()).sum()
    return total


def run(m, f, program, tensor):
    x, w = tensor(X).requires_grad_(), tensor(W).requires_grad_()
    found = tensors_of(program(m, f, x, w))
    squared([t for t in found if t.requires_grad]).backward()
    return found, [x.grad, w.grad]


FURTHER = {"grad of an argument", "grad by both", "vjp of constants", "jvp along w", "jacrev in chunks", "vmap of hessian", "grad of vjp", "vjp with aux", "jvp with aux"}


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.exhaustive] if name in FURTHER else []) for name in PROGRAMS])
def test_backward_goes_through(name):
    ours, our_gradients = run(nr, nr.func, PROGRAMS[name], nr.tensor)
    theirs, their_gradients = run(torch, torch.func, PROGRAMS[name], torch.tensor)
    assert len(ours) == len(theirs)
    for a, b in zip([*ours, *our_gradients], [*theirs, *their_gradients], strict=True):
        if b is None or a is None:
            assert b is None or not b.any()
            assert a is None or not a.any()
            continue
        np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=2e-4, atol=2e-4)


def test_linearize_and_vjp_keep_what_they_drew():
    nr.manual_seed(0)
    x, w = nr.tensor(X, requires_grad=True), nr.tensor(W, requires_grad=True)
    output, push = nr.func.linearize(lambda x: nr.nn.functional.dropout(x @ w), x)
    kept = (output != 0).float()
    tangent = push(nr.ones(3, 4))
    np.testing.assert_allclose(tangent.detach().numpy(), (kept * (nr.ones(3, 4) @ w) * 2).detach().numpy(), rtol=1e-5)
    tangent.sum().backward()
    np.testing.assert_allclose(w.grad.numpy(), (kept.sum(0) * nr.ones(4, 4) * 2).numpy(), rtol=1e-5)
    output, pull = nr.vjp(lambda x: nr.nn.functional.dropout(x @ w), x)
    (gradient,) = pull(nr.ones(3, 4))
    np.testing.assert_allclose(gradient.detach().numpy(), ((output != 0).float() * 2 @ w.T).detach().numpy(), rtol=1e-5)


def test_third_derivatives_through_grad_and_the_tape():
    x, t = nr.tensor(2.0, requires_grad=True), torch.tensor(2.0, requires_grad=True)
    found = []
    for m, f, v in ((nr, nr.func, x), (torch, torch.func, t)):
        (second,) = m.autograd.grad(f.grad(lambda v: v**4 * v.sin())(v), v, create_graph=True)
        (third,) = m.autograd.grad(second, v)
        found.append((second.item(), third.item()))
    np.testing.assert_allclose(*found, rtol=1e-5)


def network(library):
    return library.nn.Sequential(library.nn.Linear(4, 5), library.nn.BatchNorm1d(5), library.nn.Tanh(), library.nn.Linear(5, 1))


def pair():
    theirs = network(torch)
    ours = network(nr)
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


def penalty(m, f, model, x):
    gradient = f.grad(lambda x: model(x).sum())(x)
    return ((gradient.norm(2, dim=1) - 1) ** 2).mean()


@pytest.mark.parametrize("compiled", [False, True])
def test_gradient_penalty_reaches_parameters_and_running_statistics(compiled):
    ours, theirs = pair()
    penalty(torch, torch.func, theirs.eval(), torch.tensor(X)).backward()
    ours.eval()

    def step(x):
        value = penalty(nr, nr.func, ours, x)
        value.backward()
        return value

    (nr.jit(step) if compiled else step)(nr.tensor(X))
    for (name, p), q in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        np.testing.assert_allclose(p.grad.numpy() if p.grad is not None else 0, q.grad.numpy() if q.grad is not None else 0, rtol=1e-4, atol=1e-5, err_msg=name)
    nr.grad(lambda x: ours.train()(x).sum())(nr.tensor(X))
    nr.grad(lambda m: m(nr.tensor(X)).sum())(ours)
    assert ours[1].num_batches_tracked == 2 and ours[1].running_mean.any()


def test_gradients_by_a_module_and_by_a_dict_of_parameters_have_a_graph():
    ours, theirs = pair()
    ours.eval(), theirs.eval()
    params = dict(theirs.named_parameters())
    gradients = torch.func.grad(lambda p: (torch.func.functional_call(theirs, p, (torch.tensor(X),)) ** 2).sum())(params)
    sum((g**2).sum() for g in gradients.values()).backward()
    x = nr.tensor(X)
    by_module = nr.grad(lambda model: (model(x) ** 2).sum())(ours)
    assert isinstance(by_module, nn.Sequential)
    by_name = nr.grad(lambda p: (nr.func.functional_call(ours, p, (x,)) ** 2).sum())(dict(ours.named_parameters()))
    assert jax.tree.map(lambda p, g: p - g, dict(ours.named_parameters()), by_name).keys() == params.keys()
    for found in (dict(by_module.named_parameters()), by_name):
        ours.zero_grad()
        sum((g**2).sum() for g in found.values()).backward()
        for name, p in ours.named_parameters():
            np.testing.assert_allclose(p.grad.numpy(), params[name].grad.numpy(), rtol=2e-3, atol=1e-3, err_msg=name)


def test_a_compiled_step_that_changes_what_its_value_comes_from_records_nothing():
    model = nn.Linear(4, 1)

    @nr.jit
    def step(x):
        value, gradient = nr.value_and_grad(lambda m: (m(x) ** 2).mean())(model)
        with nr.no_grad():
            for p, g in zip(model.parameters(), gradient.parameters(), strict=True):
                p.sub_(0.1 * g)
        return value, model(x).sum()

    value, after = step(nr.tensor(X))
    assert not value.requires_grad and after.requires_grad
    with pytest.raises(RuntimeError, match="changed the parameters"):
        value.backward()


def test_nothing_is_recorded_without_need():
    w = nr.tensor(W, requires_grad=True)
    assert not nr.grad(lambda x: (x**2).sum())(nr.tensor(X)).requires_grad
    with nr.no_grad():
        assert not nr.grad(lambda x: (x @ w).sin().sum())(nr.tensor(X)).requires_grad
    model = nn.Linear(4, 1)
    params = {name: p.detach() for name, p in model.named_parameters()}
    assert not nr.grad(lambda p: nr.func.functional_call(model, p, (nr.tensor(X),)).sum())(params)["weight"].requires_grad


def test_a_tensor_hidden_from_view_is_found_or_named():
    class Box:
        pass

    box = inner = Box()
    for _ in range(12):
        inner.box = Box()
        inner = inner.box
    inner.w = nr.tensor(W, requires_grad=True)

    def deep(x):
        found = box
        while hasattr(found, "box"):
            found = found.box
        return ((x @ found.w) ** 2).sum()

    with pytest.raises(RuntimeError, match="a gradient would flow to a tensor from outside"):
        nr.grad(deep)(nr.tensor(X))


def test_aux_may_hold_what_is_no_tensor():
    x = nr.tensor(X, requires_grad=True)
    gradient, aux = nr.grad(lambda x: ((x**2).sum(), {"name": "loss", "n": 3, "y": x * 2}), has_aux=True)(x)
    assert gradient.requires_grad and aux["name"] == "loss" and aux["n"] == 3 and aux["y"].requires_grad


def test_parameters_made_inside_the_function_are_its_own():
    def f(x):
        return (nn.Linear(4, 1)(x) * nr.tensor(2.0, requires_grad=True)).sum()

    gradient = nr.grad(f)(nr.tensor(X))
    assert tuple(gradient.shape) == (3, 4) and not gradient.requires_grad


@pytest.mark.parametrize("compiled", [False, True])
def test_dicts_keep_the_order_of_their_keys(compiled):
    params = {"w": nr.ones(2), "b": {"z": nr.zeros(2), "a": nr.ones(1)}, "a": nr.zeros(3)}
    seen = []

    def total(p):
        seen.append([*p, *p["b"]])
        return sum(x.sum() for x in (*p["b"].values(), p["w"], p["a"]))

    def program(p):
        carried, _ = nr.scan(lambda c, _: ({k: c[k] for k in sorted(c)}, None), {"y": p["w"], "x": p["a"]}, length=2)
        return nr.grad(total)(p), nr.vmap(lambda x: {"second": x, "first": x})(p["w"]), carried, nr.checkpoint(lambda p: {"p": p["w"], "o": p["a"]}, p)

    gradient, mapped, carried, kept = (nr.jit(program) if compiled else program)(params)
    assert list(gradient) == list(params) and list(gradient["b"]) == ["z", "a"] and seen[0] == ["w", "b", "a", "z", "a"]
    assert list(mapped) == ["second", "first"] and list(carried) == ["y", "x"] and list(kept) == ["p", "o"]
