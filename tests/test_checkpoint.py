"""`nr.checkpoint`: the same values, gradients and cells as without, and less memory."""

import functools

import jax
import numpy as np
import pytest

import neurarust_jax as nr
from neurarust_jax import nn
from neurarust_jax.utils.checkpoint import (
    CheckpointPolicy,
    SelectiveCheckpointContext,
    checkpoint,
    checkpoint_sequential,
    create_selective_checkpoint_contexts,
    noop_context_fn,
    set_checkpoint_early_stop,
)  # fmt: skip


def make(dropout=0.5):
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.GELU(), nn.Dropout(dropout), nn.Linear(8, 4))


def states(run, model, x, compiled):
    def step(x):
        y = run(model, x)
        loss = (y * y).sum()
        loss.backward()
        return loss.detach()

    nr.manual_seed(3)
    model.zero_grad()
    model[1].reset_running_stats()
    inside = x.detach().requires_grad_()
    loss = (nr.jit(step) if compiled else step)(inside)
    return [loss, inside.grad, *(p.grad for p in model.parameters()), *(b.detach() for b in model.buffers()), nr.rand(1)]


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize(
    "run",
    [
        lambda m, x: checkpoint(m, x, use_reentrant=False),
        lambda m, x: nr.checkpoint(lambda x: m(x), x, policy="dots_saveable", preserve_rng_state=True),
        lambda m, x: checkpoint_sequential(m, 2, x, use_reentrant=True),
        lambda m, x: nr.remat(m)(x),
    ],
)
def test_checkpoint_changes_no_value(run, compiled):
    model, x = make(), nr.randn(6, 4)
    mine, plain = states(run, model, x, compiled), states(lambda m, x: m(x), model, x, compiled)
    for a, b in zip(mine, plain, strict=True):
        np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=1e-5, atol=1e-6)
    assert model[1].num_batches_tracked.item() == 1


def depth(x, w, wrap):
    for _ in range(12):
        x = wrap(lambda x: nr.tanh(nr.sin(x @ w) * 2).exp().tanh())(x)
    return x.sum()


def temporary_bytes(wrap):
    x, w = nr.randn(256, 64), nr.randn(64, 64)
    gradient = lambda w: nr.grad(lambda w: depth(x, w, wrap))(nr.as_tensor(w))._value  # noqa: E731
    return jax.jit(gradient).lower(w._value).compile().memory_analysis().temp_size_in_bytes


def test_checkpoint_takes_less_memory_in_a_compiled_step():
    plain, less = temporary_bytes(lambda f: f), temporary_bytes(nr.remat)
    assert less < 0.6 * plain, (less, plain)


def held_bytes(tensor):
    """The bytes of the residuals on the tape."""
    seen, total, stack = set(), 0, [tensor.grad_fn]
    while stack:
        node = stack.pop()
        if node is None or not hasattr(node, "edges"):
            continue
        for leaf in jax.tree.leaves((node.values, node.vjp)):
            if hasattr(leaf, "nbytes") and id(leaf) not in seen:
                seen.add(id(leaf))
                total += leaf.nbytes
        stack += [n for n, _ in node.edges]
    return total


def test_checkpoint_keeps_only_inputs_on_the_tape():
    x, w = nr.randn(256, 64), nr.randn(64, 64, requires_grad=True)
    assert held_bytes(depth(x, w, nr.remat)) < 0.4 * held_bytes(depth(x, w, lambda f: f))


def test_policies_say_what_is_kept():
    w = nr.randn(8, 8, requires_grad=True)

    def f(x):
        named = nr.func.checkpoint_name(nr.sin(x @ w), "kept")
        return nr.cos(named).sum()

    x = nr.randn(8, 8)
    reference = nr.grad(lambda x: f(x))(x)
    sizes = {}
    for policy in (None, ["kept"], "everything_saveable", jax.checkpoint_policies.dots_saveable):
        np.testing.assert_allclose(nr.grad(nr.remat(f, policy=policy))(x).detach().numpy(), reference.detach().numpy(), rtol=1e-5)
        sizes[str(policy)] = held_bytes(nr.checkpoint(f, x, policy=policy))
    assert sizes["None"] < sizes["['kept']"] <= sizes["everything_saveable"]
    with pytest.raises(ValueError, match="no policy 'dots'; the names are .*dots_saveable"):
        nr.checkpoint(f, x, policy="dots")
    with pytest.raises(ValueError, match="contexts of its own"):
        nr.checkpoint(f, x, context_fn=lambda: (nr.no_grad(), nr.no_grad()))
    with set_checkpoint_early_stop(False):
        assert len(noop_context_fn()) == 2


def test_checkpoint_takes_modules_keywords_and_structures():
    model = nn.Linear(3, 3)

    def f(m, xs, scale=1.0, name=None):
        return {"y": m(xs["a"]) * scale, "name": (xs["b"][0],)}

    x = nr.randn(2, 3, requires_grad=True)
    out = nr.checkpoint(f, model, {"a": x, "b": [nr.ones(2)]}, scale=2.0, name="n")
    assert out["y"].requires_grad and not out["name"][0].requires_grad
    out["y"].sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), np.tile(2 * model.weight.detach().numpy().sum(0), (2, 1)), rtol=1e-5)
    with pytest.raises(TypeError, match="takes a function"):
        nr.checkpoint(3, x)
    with nr.no_grad():
        assert not nr.checkpoint(model, x).requires_grad


def test_checkpoint_under_vmap_and_nested_in_scan():
    layers = [nn.Linear(3, 3) for _ in range(2)]
    block = lambda x: nr.checkpoint(lambda x: nr.checkpoint(lambda x: nr.tanh(layers[0](x)), x) + layers[1](x), x)  # noqa: E731
    plain = lambda x: nr.tanh(layers[0](x)) + layers[1](x)  # noqa: E731
    x = nr.randn(5, 3)
    np.testing.assert_allclose(nr.vmap(block)(x).detach().numpy(), plain(x).detach().numpy(), rtol=1e-5)
    loop = lambda f: nr.grad(lambda x: nr.scan(lambda c, _: (f(c), None), x, length=3)[0].sum())(x)  # noqa: E731
    np.testing.assert_allclose(loop(block).detach().numpy(), loop(plain).detach().numpy(), rtol=1e-5, atol=1e-6)
    (first,) = nr.autograd.grad(block(w := x.detach().requires_grad_()).pow(2).sum(), w, create_graph=True)
    (second,) = nr.autograd.grad(first.sum(), w)
    (f1,) = nr.autograd.grad(plain(w).pow(2).sum(), w, create_graph=True)
    (f2,) = nr.autograd.grad(f1.sum(), w)
    np.testing.assert_allclose(second.numpy(), f2.numpy(), rtol=1e-4, atol=1e-5)


def test_operations_in_loops_keep_their_own_derivative_rules():
    p = nn.Parameter(nr.zeros(3))
    reference = nr.grad(lambda x: (x + p).norm())(nr.zeros(3))
    assert not reference.isnan().any()
    for run in (lambda f, x: nr.checkpoint(f, x), lambda f, x: nr.scan(lambda c, _: (f(c), None), x, length=1)[0]):
        p.grad = None
        x = nr.zeros(3, requires_grad=True)
        run(lambda v: (v + p).norm() + v, x).sum().backward()
        assert not x.grad.isnan().any() and not p.grad.isnan().any()


def test_selective_contexts_say_what_is_kept():
    w = nr.randn(8, 8, requires_grad=True)

    def f(x):
        return nr.cos(nr.sin(nr.matmul(nr.matmul(x, w), w))).sum()

    def policy(context, op, *args, **kwargs):
        assert isinstance(context, SelectiveCheckpointContext) and not context.is_recompute
        return CheckpointPolicy.MUST_SAVE if op in (nr.matmul, nr.sin) else CheckpointPolicy.PREFER_RECOMPUTE

    x = nr.randn(8, 8)
    (wanted,) = nr.autograd.grad(f(x), w)
    sizes = []
    for kept in (None, [nr.matmul], policy):
        options = {} if kept is None else {"context_fn": functools.partial(create_selective_checkpoint_contexts, kept)}
        sizes.append(held_bytes(nr.checkpoint(f, x, use_reentrant=False, **options)))
        (gradient,) = nr.autograd.grad(nr.checkpoint(f, x, **options), w)
        np.testing.assert_allclose(gradient.numpy(), wanted.numpy(), rtol=1e-5)
    assert sizes[0] < sizes[1] < sizes[2]
    with pytest.raises(ValueError, match="Expected op in `op_list` to be an operation"):
        create_selective_checkpoint_contexts([np.sin])
    with pytest.raises(TypeError, match="either a function or a list"):
        create_selective_checkpoint_contexts(3)
