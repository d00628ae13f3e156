"""`nr.custom_jvp` and `nr.custom_vjp`: the given rules hold on the tape, under the transformations, and inside loops and checkpoints."""

import functools

import numpy as np
import pytest

import neurarust_jax as nr
from neurarust_jax import nn


@nr.custom_vjp
def scaled(x, y):
    return x * y


# deliberately not the true gradient, so that it shows whose rule was used
scaled.defvjp(lambda x, y: (x * y, (x, {"y": y, "tag": 3})), lambda kept, g: (10 * g * kept[1]["y"], kept[1]["tag"] * g * kept[0]))


@nr.custom_jvp
def tenfold(x):
    return x * 2


@tenfold.defjvp
def _(primals, tangents):
    return tenfold(*primals), 10 * tangents[0]


X, Y = nr.tensor([1.0, 2.0]), nr.tensor([3.0, 5.0])
WRAPPERS = {
    "plain": lambda f: f,
    "jit": nr.jit,
    "checkpoint": lambda f: lambda *a: nr.checkpoint(f, *a),
    "scan": lambda f: lambda x, *a: nr.scan(lambda c, _: (c + f(x, *a), None), nr.zeros_like(x), length=1)[0],
    "cond": lambda f: nr.jit(lambda *a: nr.cond(a[0].sum() > 0, lambda *a: f(*a), lambda *a: a[0] * 7, a)),
    "vmap": lambda f: lambda *a: nr.vmap(f)(*a),
}


@pytest.mark.parametrize("wrap", WRAPPERS.values(), ids=WRAPPERS.keys())
def test_the_given_gradient_is_used(wrap):
    f = wrap(scaled)
    assert nr.equal(f(X, Y), X * Y)
    gx, gy = nr.grad(lambda x, y: f(x, y).sum(), (0, 1))(X, Y)
    assert nr.equal(gx, 10 * Y) and nr.equal(gy, 3 * X)
    x, y = X.detach().requires_grad_(), Y.detach().requires_grad_()
    f(x, y).sum().backward()
    assert nr.equal(x.grad, 10 * Y) and nr.equal(y.grad, 3 * X)
    assert nr.equal(nr.jit(nr.grad(lambda x, y: f(x, y).sum()))(X, Y), 10 * Y)


@pytest.mark.parametrize("wrap", WRAPPERS.values(), ids=WRAPPERS.keys())
def test_the_given_tangent_is_used_in_both_modes(wrap):
    f = wrap(tenfold)
    assert nr.jvp(f, (X,), (nr.ones(2),))[1].tolist() == [10, 10]
    assert nr.grad(lambda x: f(x).sum())(X).tolist() == [10, 10]
    x = X.detach().requires_grad_()
    f(x).sum().backward()
    assert x.grad.tolist() == [10, 10]


def test_a_compiled_training_step_uses_the_rule():
    p = nn.Parameter(nr.ones(2))

    @nr.jit
    def step():
        loss = scaled(p, Y).sum()
        loss.backward()
        return loss.detach()

    step()
    assert nr.equal(p.grad, 10 * Y)


def test_arguments_without_derivative_pytrees_and_keywords():
    @nr.func.custom_vjp
    def f(x, tree):
        return {"a": x * tree["w"], "b": (tree["n"] + 1,)}

    f.defvjp(lambda x, tree: (f(x, tree), tree["w"]), lambda w, g: (g["a"] * w, {"w": g["a"] * 100, "n": None}))
    out, pull = nr.vjp(lambda x, w: f(x=x, tree={"w": w, "n": nr.tensor(1)}), X, Y)
    assert out["b"][0].item() == 2
    gx, gw = pull({"a": nr.ones(2), "b": (nr.tensor(0),)})
    assert nr.equal(gx, Y) and gw.tolist() == [100, 100]

    power = nr.custom_vjp(lambda x, n: x**n, nondiff_argnums=(1,))
    power.defvjp(lambda x, n: (x**n, x), lambda n, x, g: (n * 100 * g,))
    assert nr.grad(lambda x: power(x, 3).sum())(X).tolist() == [300, 300]
    g = nr.custom_jvp(lambda h, x: h(x), nondiff_argnums=(0,))
    g.defjvp(lambda h, primals, tangents: (h(*primals), 4 * tangents[0]))
    assert nr.grad(lambda x: g(nr.sin, x).sum())(X).tolist() == [4, 4]


def test_defjvps_and_second_derivatives():
    f = nr.custom_jvp(lambda x, y: x.sin() * y)
    f.defjvps(lambda t, out, x, y: t * x.cos() * y, None)
    assert nr.grad(lambda x, y: f(x, y).sum(), 1)(X, Y).tolist() == [0, 0]
    first = lambda x: nr.grad(lambda x: f(x, Y).sum())(x)  # noqa: E731
    np.testing.assert_allclose(nr.grad(lambda x: first(x).sum())(X).numpy(), (-X.sin() * Y).numpy(), rtol=1e-6)
    x = X.detach().requires_grad_()
    (g,) = nr.autograd.grad(f(x, Y).sum(), x, create_graph=True)
    (h,) = nr.autograd.grad(g.sum(), x)
    np.testing.assert_allclose(h.numpy(), (-X.sin() * Y).numpy(), rtol=1e-6)


def test_cells_are_read_and_written_by_the_function():
    drop, calls = nn.Dropout(0.5), nn.Buffer(nr.zeros(()))

    def noisy(x):
        calls.add_(1)
        return drop(x)

    f = nr.custom_vjp(noisy)
    f.defvjp(lambda x: (x, None), lambda _, g: (g * 2,))
    plain = f(nr.ones(100)), f(nr.ones(100))
    assert calls.item() == 2 and not nr.equal(*plain)
    assert nr.grad(lambda x: f(x).sum())(nr.ones(2)).tolist() == [2, 2] and calls.item() == 3


@pytest.mark.parametrize(
    ("rules", "error", "text"),
    [
        (None, AttributeError, "No VJP defined for custom_vjp function"),
        ((lambda x: x, lambda r, g: (g,)), TypeError, r"fwd must return a pair"),
        ((lambda x: ((x, x), None), lambda r, g: (g,)), TypeError, "must have the structure of the function's output"),
        ((lambda x: (x, None), lambda r, g: (g, g)), RuntimeError, "each of the 1 arguments, but returned 2"),
        ((lambda x: (x, None), lambda r, g: (g.sum(),)), RuntimeError, r"a gradient of shape \[\] for argument 0, which has \[2\]"),
    ],
)
def test_rules_that_do_not_fit_are_explained(rules, error, text):
    f = nr.custom_vjp(lambda x: x * 1)
    if rules is not None:
        f.defvjp(*rules)
    with pytest.raises(error, match=text):
        nr.grad(lambda x: f(x).sum())(X)


def test_a_parameter_around_the_function_is_named_and_not_passed_over():
    p, x = nn.Parameter(nr.ones(2)), X.detach().requires_grad_()
    captured = nr.ones(2, requires_grad=True)
    for around in (p, captured):
        f = nr.custom_vjp((lambda x: x * p) if around is p else (lambda x: x * captured))
        f.defvjp(lambda x: (x * 1, None), lambda _, g: (g * 7,))
        with pytest.raises(RuntimeError, match="Make it an argument of the function .* or write .detach"):
            f(x).sum().backward()
        with pytest.raises(RuntimeError, match="Make it an argument of the function"):
            nr.jit(lambda x: f(x).sum().backward())(x)  # noqa: B023
        assert nr.autograd.grad(f(x).sum(), x)[0].tolist() == [7, 7]
        assert nr.grad(lambda x: f(x).sum())(X).detach().tolist() == [7, 7]  # noqa: B023
    with pytest.raises(RuntimeError, match="Make it an argument of the function"):
        nr.grad(lambda w: nr.func.functional_call(Applied(f), {"w": w}, (X,)).sum())(nr.ones(2))
    g = nr.custom_jvp(lambda x: x * p.detach())
    g.defjvp(lambda primals, tangents: (primals[0], 3 * tangents[0]))
    g(x).sum().backward()
    assert x.grad.tolist() == [3, 3]


class Applied(nn.Module):
    def __init__(self, f):
        super().__init__()
        self.w = nn.Parameter(nr.ones(2))
        self.f = nr.custom_vjp(lambda x: x * self.w)
        self.f.defvjp(lambda x: (x * 1, None), lambda _, g: (g,))

    def forward(self, x):
        return self.f(x)


class Normed(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 2)
        self.norm = nn.BatchNorm1d(2)

    def forward(self, x):
        return self.norm(self.linear(x))


def _through_module(gradient_as):
    """A function of a module whose gradient by the weight is `7`, by the input ten times the true one."""

    @nr.custom_vjp
    def apply(module, x, scale):
        return module(x) * scale

    def forward(module, x, scale):
        return module(x) * scale, (module, x, scale)

    def backward(kept, g):
        module, x, scale = kept
        y, pull = nr.vjp(lambda x: module(x) * scale, x)
        return gradient_as(module), 10 * pull(g)[0], None

    apply.defvjp(forward, backward)
    return apply


def _as_module(module):
    zeros = nr.grad(lambda m: 0 * m.linear.weight.sum())(module)
    zeros.linear.weight.data = nr.full((2, 3), 7.0)
    return zeros


@pytest.mark.parametrize("gradient_as", [lambda m: {"linear.weight": nr.full((2, 3), 7.0)}, _as_module], ids=["dict", "module"])
@pytest.mark.parametrize("wrap", [lambda f: f, nr.jit, lambda f: lambda *a: nr.checkpoint(f, *a)], ids=["plain", "jit", "checkpoint"])
def test_a_module_among_the_arguments_gets_the_gradient_that_the_rule_gives_it(gradient_as, wrap):
    f = wrap(_through_module(gradient_as))
    nr.manual_seed(0)
    module, twin = Normed(), Normed()
    twin.load_state_dict(module.state_dict())
    x = nr.randn(5, 3, requires_grad=True)
    cotangent = nr.randn(5, 2)
    for turn in range(2):
        module.zero_grad()
        x.grad = None
        y = f(module, x, 2.0)
        expected = twin(x) * 2.0
        assert nr.allclose(y, expected)
        assert nr.allclose(module.norm.running_mean, twin.norm.running_mean) and int(module.norm.num_batches_tracked) == turn + 1
        y.backward(cotangent)
        assert module.linear.weight.grad.tolist() == [[7.0] * 3] * 2
        assert module.norm.weight.grad is None or not module.norm.weight.grad.any()
        assert nr.allclose(x.grad, 10 * nr.autograd.grad(expected, x, cotangent)[0], atol=1e-5)
    gradient = nr.grad(lambda m: (f(m, x.detach(), 2.0) * cotangent).sum())(module)
    assert gradient.linear.weight.tolist() == [[7.0] * 3] * 2


def test_another_module_of_the_same_build_is_not_taken_for_the_first():
    f = _through_module(lambda m: None)
    nr.manual_seed(0)
    first, second = Normed(), Normed()
    x = nr.randn(5, 3)
    for module in (first, second):
        reference = Normed()
        reference.load_state_dict(module.state_dict())
        assert nr.allclose(f(module, x, 1.0), reference(x))
        assert nr.allclose(module.norm.running_mean, reference.norm.running_mean)
    assert int(first.norm.num_batches_tracked) == int(second.norm.num_batches_tracked) == 1
    with pytest.raises(RuntimeError, match=r"bwd returned gradients for \['bias'\]"):
        g = _through_module(lambda m: {"bias": nr.zeros(2)})
        g(first, x, 1.0).sum().backward()


def test_tangents_of_a_module_are_a_module():
    @nr.custom_jvp
    def apply(module, x):
        return module(x)

    @apply.defjvp
    def _(primals, tangents):
        (module, x), (direction, t) = primals, tangents
        return module(x), 3 * (t @ module.weight.T) + 5 * (x @ direction.weight.T)

    linear, x = nn.Linear(3, 2), nr.randn(4, 3)
    apply(linear, x).sum().backward()
    assert nr.allclose(linear.weight.grad, 5 * x.sum(0).expand(2, 3))
    assert linear.bias.grad is None or not linear.bias.grad.any()
    along = nr.jvp(lambda m: apply(m, x), (linear,), (linear,))[1]
    assert nr.allclose(along, 5 * (x @ linear.weight.T), atol=1e-6)


def test_an_argument_without_derivative_stands_before_the_module():
    @functools.partial(nr.custom_vjp, nondiff_argnums=(1,))
    def apply(module, name, x):
        return getattr(module, name)(x)

    apply.defvjp(lambda module, name, x: (getattr(module, name)(x), None), lambda name, kept, g: ({f"{name}.weight": nr.full((2, 3), 9.0)}, None))
    module = Normed()
    apply(module, "linear", nr.randn(5, 3)).sum().backward()
    assert module.linear.weight.grad.tolist() == [[9.0] * 3] * 2
