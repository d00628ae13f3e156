"""A hundred steps of every optimizer, with the settings that PyTorch tests its own with, against PyTorch."""

import numpy as np
import pytest
import torch

import neurarust_jax as nr
from neurarust_jax import optim

from .pairs import DB, RULES, advance, assert_alike, assert_states_alike, gradient, ours, reset, start, theirs

SETTINGS = [(name, i) for name in RULES for i in range(len(DB[name].optim_inputs_func("cpu")))]
IDS = [f"{name}-{DB[name].optim_inputs_func('cpu')[i].desc}" for name, i in SETTINGS]


def has_tensors(options):
    """PyTorch computes with float32 tensors among the options in float32, we in float64."""
    return any(isinstance(v, torch.Tensor) for v in options.values())


@pytest.mark.parametrize(("name", "setting"), SETTINGS, ids=IDS)
def test_a_hundred_eager_steps_equal_pytorchs(name, setting, limit):
    options = DB[name].optim_inputs_func("cpu")[setting].kwargs
    values = start(name)
    params, optimizer = reset(name, options, values)
    others, other = theirs(name, options, values)
    assert repr(optimizer) == repr(other)
    advance(params, optimizer, range(100))
    advance(others, other, range(100))
    if has_tensors(options):
        assert_alike(params, others, rtol=1e-5, atol=1e-4 if name == "Muon" else 1e-6)
    elif limit is not None and options.keys() & {"ns_steps", "ns_coefficients"}:
        # Muon iterates in bfloat16, where unoptimized programs, which do not fuse a product and a sum, round otherwise, and these iterations go on to where it shows
        assert_alike(params, others, rtol=1e-3)
        assert_states_alike(optimizer.state_dict(), other.state_dict(), rtol=1e-2)
    else:
        assert_alike(params, others, rtol=1e-9)
        assert_states_alike(optimizer.state_dict(), other.state_dict(), rtol=1e-6)
    assert len(optimizer._programs) == 1  # numbers among the options have compiled nothing anew


RICH = {
    "SGD": {"lr": 0.05, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1}, "Adam": {"weight_decay": 0.1, "amsgrad": True},
    "AdamW": {"lr": 0.02, "betas": (0.4, 0.9), "maximize": True}, "Adamax": {"weight_decay": 0.1}, "NAdam": {"weight_decay": 0.1, "decoupled_weight_decay": True},
    "RAdam": {"lr": 0.01, "betas": (0.9, 0.95), "weight_decay": 0.1}, "RMSprop": {"centered": True, "momentum": 0.8, "weight_decay": 0.1}, "Rprop": {},
    "Adagrad": {"lr_decay": 0.1, "initial_accumulator_value": 0.3}, "Adadelta": {"rho": 0.8, "weight_decay": 0.1}, "ASGD": {"t0": 20, "lambd": 0.1},
    "Adafactor": {"weight_decay": 0.1, "eps": (1e-4, 0.1), "d": 1.5}, "Muon": {"lr": 0.02, "nesterov": False, "adjust_lr_fn": "match_rms_adamw"},
}  # fmt: skip


@pytest.mark.parametrize("name", RULES)
def test_a_hundred_compiled_steps_in_single_precision_equal_pytorchs_while_the_options_change(name):
    values = start(name, "float32")
    params, optimizer = ours(name, RICH[name], values)
    others, other = theirs(name, RICH[name], values)
    traced = []

    @nr.jit
    def step(*gradients):
        traced.append(1)
        for p, g in zip(params, gradients, strict=True):
            p.grad = g
        optimizer.step()

    for i in range(100):
        step(*[nr.tensor(gradient(p.detach().numpy(), i)) for p in params])
        advance(others, other, [i])
        for o in (optimizer, other):
            group = o.param_groups[0]
            group["lr"] = 0.0 if i == 20 else RICH[name].get("lr", 0.01) / (1 + 0.02 * i)
            if "weight_decay" in group:
                group["weight_decay"] = (i % 3) * 0.05
    assert len(traced) == 1
    assert_alike(params, others, rtol=1e-4, atol=1e-5)
    assert_states_alike(optimizer.state_dict(), other.state_dict(), rtol=1e-3)
    assert isinstance(optimizer.param_groups[0]["lr"], float)


@pytest.mark.parametrize("name", ["SGD", "RMSprop"])
def test_momentum_may_be_switched_on_and_off(name):
    values = start(name)
    (params, optimizer), (others, other) = ours(name, {"lr": 0.01}, values), theirs(name, {"lr": 0.01}, values)
    for i, momentum in enumerate((0, 0, 0.9, 0.9, 0, 0.5)):
        if name == "RMSprop" and i == 2:
            other.state.clear()  # PyTorch makes no buffers for states that it has
            optimizer.state.clear()
        optimizer.param_groups[0]["momentum"] = other.param_groups[0]["momentum"] = momentum
        advance(params, optimizer, [i])
        advance(others, other, [i])
        assert_alike(params, others, rtol=1e-12)


@pytest.mark.parametrize("name", ["SGD", "Adam", "NAdam", "ASGD", "Rprop"])
def test_parameters_without_a_gradient_are_left_alone(name):
    options = {"momentum": 0.9} if name == "SGD" else {}
    values = start(name)
    (params, optimizer), (others, other) = ours(name, options, values), theirs(name, options, values)
    for i in range(7):
        advance(params, optimizer, [])
        for library, all_of_them, o in ((nr, params, optimizer), (torch, others, other)):
            for k, p in enumerate(all_of_them):
                p.grad = None if k == 1 and i in (0, 1, 4) else library.tensor(gradient(p.detach().numpy(), i))
            o.step()
    assert_alike(params, others, rtol=1e-12)
    assert_states_alike(optimizer.state_dict(), other.state_dict(), rtol=1e-6)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("name", ["SGD", "Adam", "Adafactor"])
def test_parameters_of_16_bits_are_updated_in_single_precision(name, dtype):
    values = [np.asarray(x, np.float32) for x in start(name)[:2]]
    params = [nr.nn.Parameter(nr.tensor(x).to(getattr(nr, dtype))) for x in values]
    others = [torch.nn.Parameter(torch.tensor(x).to(getattr(torch, dtype))) for x in values]
    optimizer, other = getattr(optim, name)(params, lr=0.05), getattr(torch.optim, name)(others, lr=0.05)
    for i in range(5):
        for p, q, x in zip(params, others, values, strict=True):
            p.grad, q.grad = nr.tensor(gradient(x, i)).to(p.dtype), torch.tensor(gradient(x, i)).to(q.dtype)
        optimizer.step(), other.step()
    for p, q in zip(params, others, strict=True):
        assert p.dtype.name == dtype
        np.testing.assert_allclose(p.detach().float().numpy(), q.detach().float().numpy(), rtol=3e-2, atol=1e-2)


@pytest.mark.parametrize("name", ["Adafactor", "Muon"])
def test_complex_parameters_are_refused_where_pytorch_refuses_them(name):
    p = nr.nn.Parameter(nr.tensor(np.ones((2, 2), np.complex64)))
    p.grad = nr.ones(2, 2).to(nr.complex64)
    with pytest.raises(RuntimeError, match=f"{name} does not support complex parameters"):
        getattr(optim, name)([p]).step()
