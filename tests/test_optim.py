"""Optimizers against PyTorch's: trajectories, state dicts, groups, and learning rates that change."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch

import neurarust_jax as nr
from neurarust_jax import nn, optim

START = [np.random.default_rng(i).standard_normal(s).astype(np.float32) for i, s in enumerate([(3, 4), (4,), ()])]
SETTINGS = [
    ("SGD", {"lr": 0.1}),
    ("SGD", {"lr": 0.1, "momentum": 0.9}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.5, "weight_decay": 0.1}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True, "maximize": True, "weight_decay": 0.01}),
    ("Adam", {}),
    ("Adam", {"lr": 0.05, "betas": (0.8, 0.95), "eps": 1e-4, "weight_decay": 0.1}),
    ("Adam", {"lr": 0.05, "amsgrad": True, "maximize": True}),
    ("AdamW", {"lr": 0.05}),
    ("AdamW", {"lr": 0.05, "weight_decay": 0.3, "amsgrad": True}),
]
IDS = [f"{n}-{o}" for n, o in SETTINGS]


def ours_and_theirs(name, options, start=START):
    ours = [nn.Parameter(nr.tensor(x)) for x in start]
    theirs = [torch.nn.Parameter(torch.tensor(x)) for x in start]
    return ours, getattr(optim, name)(ours, **options), theirs, getattr(torch.optim, name)(theirs, **options)


def loss(m, params, i):
    return sum((m.sin(p) * (k + 1)).sum() * (1 + 0.01 * i) for k, p in enumerate(params))


def step(m, optimizer, params, i, skip=None):
    optimizer.zero_grad()
    used = [p for k, p in enumerate(params) if k != skip]
    loss(m, used, i).backward()
    optimizer.step()


def assert_equal(ours, theirs, rtol=1e-5):
    for p, q in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(p.detach().numpy(), q.detach().numpy(), rtol=rtol, atol=1e-6)


@pytest.mark.parametrize(("name", "options"), SETTINGS, ids=IDS)
@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "jit"])
def test_a_hundred_steps_equal_pytorchs(name, options, compiled):
    ours, a, theirs, b = ours_and_theirs(name, options)
    run = nr.jit(lambda i: step(nr, a, ours, i)) if compiled else lambda i: step(nr, a, ours, i)
    for i in range(100):
        run(nr.tensor(float(i)))
        step(torch, b, theirs, i)
    assert_equal(ours, theirs)


@pytest.mark.parametrize(("name", "options"), SETTINGS, ids=IDS)
def test_state_dicts_cross_in_both_directions(name, options):
    ours, a, theirs, b = ours_and_theirs(name, options)
    for i in range(3):
        step(nr, a, ours, i)
        step(torch, b, theirs, i)
    mine, other = a.state_dict(), b.state_dict()
    assert mine["state"].keys() == other["state"].keys()
    for number, state in other["state"].items():
        given = {n: v for n, v in state.items() if v is not None}
        assert mine["state"][number].keys() == given.keys()
        for key, value in given.items():
            np.testing.assert_allclose(mine["state"][number][key].numpy(), np.asarray(value), rtol=1e-5, atol=1e-7)
    assert mine["param_groups"][0]["params"] == other["param_groups"][0]["params"]
    twin, c, counterpart, d = ours_and_theirs(name, {"lr": 1.0}, [p.detach().numpy() for p in ours]) if not options.get("momentum") and not options.get(
        "amsgrad"
    ) else ours_and_theirs(name, options, [p.detach().numpy() for p in ours])
    c.load_state_dict(other)
    d.load_state_dict(
        {
            "state": {n: {k: torch.tensor(v.numpy()) for k, v in s.items()} for n, s in mine["state"].items()},
            "param_groups": [{**other["param_groups"][0], **{k: v for k, v in mine["param_groups"][0].items() if k in other["param_groups"][0]}}],
        }
    )
    for i in range(3, 6):
        step(nr, c, twin, i)
        step(torch, d, counterpart, i)
        step(torch, b, theirs, i)
    assert_equal(twin, theirs)
    assert_equal(twin, counterpart)


@pytest.mark.parametrize("name", ["SGD", "Adam"])
def test_parameters_without_a_gradient_are_left_alone(name):
    options = {"lr": 0.1, "momentum": 0.9} if name == "SGD" else {"lr": 0.1}
    ours, a, theirs, b = ours_and_theirs(name, options)
    for i in range(9):
        skip = 1 if i in (0, 1, 4) else None
        step(nr, a, ours, i, skip)
        step(torch, b, theirs, i, skip)
        assert_equal(ours, theirs)


def test_groups_have_options_of_their_own():
    results = []
    for m, library, lib_optim in ((nr, nn, optim), (torch, torch.nn, torch.optim)):
        params = [library.Parameter(m.tensor(x)) for x in START]
        optimizer = lib_optim.SGD([{"params": params[:1], "lr": 0.5}, {"params": params[1]}], lr=0.1, momentum=0.9)
        optimizer.add_param_group({"params": [params[2]], "lr": 0.01, "weight_decay": 0.1})
        for i in range(5):
            step(m, optimizer, params, i)
        results.append(params)
        assert [g["lr"] for g in optimizer.param_groups] == [0.5, 0.1, 0.01]
    assert_equal(*results)


def test_a_changed_learning_rate_counts_at_once():
    ours, a, theirs, b = ours_and_theirs("Adam", {"lr": 0.1})
    run = nr.jit(lambda i: step(nr, a, ours, i))
    for i in range(6):
        for optimizer in (a, b):
            optimizer.param_groups[0]["lr"] = 0.1 / (i + 1)
            optimizer.param_groups[0]["betas"] = (0.9 - 0.1 * i, 0.999)
        run(nr.tensor(float(i)))
        step(torch, b, theirs, i)
    assert_equal(ours, theirs)
    group = a.param_groups[0]
    assert group["lr"] == 0.1 / 6 and isinstance(group["lr"], float) and dict(group)["amsgrad"] is False


def test_switching_weight_decay_on_and_off_is_noticed():
    ours, a, theirs, b = ours_and_theirs("SGD", {"lr": 0.1})
    run = nr.jit(lambda i: step(nr, a, ours, i))
    for i, decay in enumerate((0.0, 0.5, 0.5, 0.0)):
        a.param_groups[0]["weight_decay"] = b.param_groups[0]["weight_decay"] = decay
        run(nr.tensor(float(i)))
        step(torch, b, theirs, i)
    assert_equal(ours, theirs)


def test_the_rate_can_be_set_inside_a_compiled_step():
    p = nn.Parameter(nr.zeros(1))
    optimizer = optim.SGD([p], lr=1.0)

    @nr.jit
    def run():
        optimizer.zero_grad()
        p.sum().backward()
        optimizer.step()
        optimizer.param_groups[0]["lr"] = optimizer.param_groups[0]["lr"] * 0.5

    for _ in range(3):
        run()
    assert p.item() == -1.75 and optimizer.param_groups[0]["lr"] == 0.125


def test_closures_hooks_and_zero_grad():
    p = nn.Parameter(nr.ones(2))
    optimizer = optim.SGD([p], lr=0.1)
    calls = []
    optimizer.register_step_pre_hook(lambda o, a, k: calls.append("pre"))
    handle = optimizer.register_step_post_hook(lambda o, a, k: calls.append("post"))

    def closure():
        optimizer.zero_grad()
        value = (p * p).sum()
        value.backward()
        return value

    with nr.no_grad():
        assert optimizer.step(closure).item() == 2
    handle.remove()
    optimizer.step()
    assert calls == ["pre", "post", "pre"]
    optimizer.zero_grad(set_to_none=False)
    assert p.grad.tolist() == [0, 0]
    optimizer.zero_grad()
    assert p.grad is None
    assert "lr: 0.1" in repr(optimizer) and repr(optimizer).startswith("SGD (\nParameter Group 0")


def test_state_is_empty_before_the_first_step_and_named_as_in_pytorch():
    p = nn.Parameter(nr.ones(2))
    optimizer = optim.Adam([p], amsgrad=True)
    assert optimizer.state_dict()["state"] == {} and len(optimizer.state) == 0
    (p * p).sum().backward()
    optimizer.step()
    assert list(optimizer.state[p]) == ["step", "exp_avg", "exp_avg_sq", "max_exp_avg_sq"] and optimizer.state[p]["step"].item() == 1


@pytest.mark.parametrize("dtype", ["float64", "bfloat16", "complex64"])
def test_other_dtypes_keep_theirs(dtype):
    start = [x.astype(np.complex64) * (1 + 1j) if dtype == "complex64" else x for x in START[:2]]
    ours = [nn.Parameter(nr.tensor(x).to(getattr(nr, dtype))) for x in start]
    theirs = [torch.nn.Parameter(torch.tensor(x).to(getattr(torch, dtype))) for x in start]
    a, b = optim.Adam(ours, lr=0.1), torch.optim.Adam(theirs, lr=0.1)
    for _ in range(3):
        for o, params in ((a, ours), (b, theirs)):
            o.zero_grad()
            sum((p * p.conj()).real.sum() if dtype == "complex64" else (p * p).sum() for p in params).backward()
            o.step()
    for p, q in zip(ours, theirs, strict=True):
        assert p.dtype.name == dtype
        exact = q.detach().float() if dtype == "bfloat16" else q.detach()
        np.testing.assert_allclose(np.asarray(p.detach()).astype(exact.numpy().dtype), exact.numpy(), rtol=3e-2 if dtype == "bfloat16" else 1e-5, atol=1e-2 if dtype == "bfloat16" else 1e-6)


def test_optax_transformations():
    ours = [nn.Parameter(nr.tensor(x)) for x in START]
    optimizer = optim.Optax(ours, optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(0.1)))
    params = [jnp.asarray(x) for x in START]
    transformation = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(0.1))
    state = transformation.init(params)
    run = nr.jit(lambda i: step(nr, optimizer, ours, i))
    for i in range(5):
        run(nr.tensor(float(i)))
        with jax.enable_x64(True):  # optax's scalars in double precision, as they are in ours
            gradients = jax.grad(lambda p, i=i: loss(jnp, p, i))(params)
            updates, state = transformation.update(gradients, state, params)
            params = optax.apply_updates(params, updates)
    for p, q in zip(ours, params, strict=True):
        np.testing.assert_allclose(p.detach().numpy(), q, rtol=1e-5)
    saved = optimizer.state_dict()
    other = optim.Optax([nn.Parameter(p.detach()) for p in ours], transformation)
    other.load_state_dict(saved)
    with pytest.raises(RuntimeError, match="arrays of shapes"):
        optim.Optax([nn.Parameter(nr.ones(1))], transformation).load_state_dict(saved)
    with pytest.raises(ValueError, match="multi_transform"):
        other.add_param_group({"params": [nn.Parameter(nr.ones(1))]})


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda p: optim.SGD([], lr=0.1), "empty parameter list"),
        (lambda p: optim.SGD(p, lr=0.1), r"write \[p\]"),
        (lambda p: optim.SGD([nr.ones(1)], lr=0.1), r"nr\.nn\.Parameter\(x\)"),
        (lambda p: optim.SGD([1], lr=0.1), "one of the params is int"),
        (lambda p: optim.SGD([p], lr=-1), "Invalid learning rate: -1"),
        (lambda p: optim.SGD([p], nesterov=True), "Nesterov momentum requires"),
        (lambda p: optim.Adam([p], betas=(1.0, 0.9)), "Invalid beta parameter at index 0: 1.0"),
        (lambda p: optim.SGD([p, p]), "duplicate parameters"),
        (lambda p: optim.SGD([{"params": [p]}, {"params": [p]}]), "more than one parameter group"),
        (lambda p: optim.SGD([{"params": {p}}]), "ordered collections"),
    ],
)
def test_bad_arguments_are_explained(call, text):
    with pytest.raises((ValueError, TypeError), match=text):
        call(nn.Parameter(nr.ones(1)))


def test_a_state_dict_that_does_not_fit_changes_nothing():
    ours, a, _, _ = ours_and_theirs("Adam", {"lr": 0.1})
    step(nr, a, ours, 0)
    other = optim.Adam([nn.Parameter(nr.ones(7)) for _ in range(3)], lr=0.5)
    with pytest.raises(RuntimeError, match=r"state 'exp_avg' of parameter 0 has shape \(3, 4\), and the parameter \(7,\)"):
        other.load_state_dict(a.state_dict())
    assert other.param_groups[0]["lr"] == 0.5
    with pytest.raises(ValueError, match=r"groups of \[3\] parameters, this optimizer of \[1\]"):
        optim.Adam([nn.Parameter(nr.ones(1))]).load_state_dict(a.state_dict())
