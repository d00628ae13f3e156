"""Training that begins in one library and goes on in the other."""

import numpy as np
import pytest
import torch

import neurarust_jax as nr
from neurarust_jax import optim

from .pairs import DB, RULES, advance, assert_alike, assert_states_alike, ours, start, theirs, to_torch
from .test_trajectories import RICH


@pytest.mark.parametrize("name", RULES)
def test_training_begun_in_pytorch_goes_on_here_and_the_other_way_round(name):
    values = start(name)
    others, other = theirs(name, RICH[name], values)
    params, optimizer = ours(name, RICH[name], values)
    advance(others, other, range(5))
    for p, q in zip(params, others, strict=True):
        p.assign(nr.tensor(q.detach().numpy()))
    optimizer.load_state_dict(other.state_dict())  # with PyTorch's tensors
    assert_states_alike(optimizer.state_dict(), other.state_dict(), rtol=1e-12)
    advance(params, optimizer, range(5, 10))
    advance(others, other, range(5, 10))
    assert_alike(params, others, rtol=1e-6)

    resumed, fresh = theirs(name, RICH[name], [p.detach().numpy() for p in params])
    fresh.load_state_dict(to_torch(optimizer.state_dict()))
    advance(resumed, fresh, range(10, 15))
    advance(params, optimizer, range(10, 15))
    assert_alike(params, resumed, rtol=1e-6)
    assert len(optimizer._programs) == 1  # loading compiled nothing anew


def test_options_come_with_the_state_dict():
    values = start("AdamW")
    _, other = theirs("AdamW", {"lr": 0.3, "betas": (0.5, 0.6), "amsgrad": True, "foreach": True}, values)
    params, optimizer = ours("AdamW", {}, values)
    optimizer.param_groups[0]["initial_lr"] = 1.0
    optimizer.load_state_dict(other.state_dict())
    assert repr(optimizer) == repr(other)
    assert "initial_lr" not in optimizer.param_groups[0]
    advance(params, optimizer, range(2))
    assert "max_exp_avg_sq" in optimizer.state[params[0]]


def test_the_weight_decay_of_adamw_stays_decoupled():
    values = start("Adam")
    _, other = theirs("Adam", {}, values)
    _, optimizer = ours("AdamW", {}, values)
    optimizer.load_state_dict(other.state_dict())
    assert optimizer.param_groups[0]["decoupled_weight_decay"] is True


def test_steps_may_differ_between_parameters():
    values = start("Adam")
    (params, optimizer), (others, other) = ours("Adam", {}, values), theirs("Adam", {}, values)
    for k, q in enumerate(others):
        for i in range(k):
            q.grad = torch.tensor(np.ones_like(values[k]) * (i + 1))
            other.step()
            other.zero_grad()
    optimizer.load_state_dict(other.state_dict())
    assert set(optimizer.state_dict()["state"]) == {1, 2} and optimizer.state[params[2]]["step"].item() == 2
    for p, q in zip(params, others, strict=True):
        p.assign(nr.tensor(q.detach().numpy()))
    advance(params, optimizer, range(2))
    advance(others, other, range(2))
    assert_alike(params, others, rtol=1e-6)


def test_a_compiled_step_goes_on_with_what_was_loaded():
    values = start("Adam", "float32")
    (params, optimizer), (others, other) = ours("Adam", {}, values), theirs("Adam", {"lr": 0.1}, values)
    advance(others, other, range(3))

    @nr.jit
    def step():
        for p in params:
            p.grad = p.detach()
        optimizer.step()

    step()
    for p, q in zip(params, others, strict=True):
        p.assign(nr.tensor(q.detach().numpy()))
    optimizer.load_state_dict(other.state_dict())
    step()
    for q in others:
        q.grad = q.detach().clone()
    other.step()
    assert_alike(params, others, rtol=1e-5)
    assert sum(map(len, step.programs.values())) == 1


def test_a_loaded_state_shares_no_memory_with_pytorch():
    p, average = nr.nn.Parameter(nr.ones(64, 64)), torch.ones(64, 64)
    optimizer = optim.Adam([p])
    state = {"step": torch.tensor(1.0), "exp_avg": average, "exp_avg_sq": torch.ones(64, 64)}
    optimizer.load_state_dict({"state": {0: state}, "param_groups": optimizer.state_dict()["param_groups"]})
    average.fill_(7)
    assert optimizer.state[p]["exp_avg"].max().item() == 1
    p.grad = nr.ones(64, 64)
    optimizer.step()
    assert average.min().item() == 7


def test_unknown_entries_of_a_state_are_kept():
    p = nr.nn.Parameter(nr.ones(2))
    optimizer = optim.SGD([p], momentum=0.9)
    entries = {"momentum_buffer": torch.ones(2), "mine": [torch.zeros(2, dtype=torch.float64), None], "names": {"a": "b"}, "count": 3}
    optimizer.load_state_dict({"state": {0: entries}, "param_groups": optimizer.state_dict()["param_groups"]})
    state = optimizer.state[p]
    assert state["mine"][0].dtype == nr.float32 and state["mine"][1] is None and (state["names"], state["count"]) == ({"a": "b"}, 3)
    other = optim.SGD([nr.nn.Parameter(nr.ones(2))], momentum=0.9)
    other.load_state_dict(optimizer.state_dict())
    assert list(other.state_dict()["state"][0]) == ["momentum_buffer", "count", "mine", "names"]


def test_every_optimizer_of_pytorchs_is_here():
    assert set(DB) <= set(optim.__all__)
    assert set(torch.optim.__all__) - set(optim.__all__) == {"SparseAdam", "swap_in_optimizer_params_and_state"}
