"""Param groups, options, states, hooks, copies and errors of optimizers."""

import copy
import importlib
import pickle
import warnings

import numpy as np
import pytest
import torch
from torch.testing._internal.common_optimizers import OptimizerErrorEnum

import neurarust_jax as nr
from neurarust_jax import nn, optim
from neurarust_jax.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook, required

from .pairs import DB, to_nr

START = [np.random.default_rng(i).standard_normal(s).astype(np.float32) for i, s in enumerate([(3, 4), (4,), ()])]


def ours_and_theirs(name, options, start=START):
    ours = [nn.Parameter(nr.tensor(x)) for x in start]
    theirs = [torch.nn.Parameter(torch.tensor(x)) for x in start]
    return ours, getattr(optim, name)(ours, **options), theirs, getattr(torch.optim, name)(theirs, **options)


def step(m, optimizer, params, i):
    optimizer.zero_grad()
    sum((m.sin(p) * (k + 1)).sum() * (1 + 0.01 * i) for k, p in enumerate(params)).backward()
    optimizer.step()


def assert_equal(ours, theirs, rtol=1e-5):
    for p, q in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(p.detach().numpy(), q.detach().numpy(), rtol=rtol, atol=1e-6)


def one(optimizer=optim.SGD, **options):
    p = nn.Parameter(nr.tensor([1.0]))
    return p, optimizer([p], **options)


# --- groups --------------------------------------------------------------------------------------------------------


def test_groups_have_options_of_their_own():
    results = []
    for m, library, lib_optim in ((nr, nn, optim), (torch, torch.nn, torch.optim)):
        params = [library.Parameter(m.tensor(x)) for x in START]
        optimizer = lib_optim.SGD([{"params": params[:1], "lr": 0.5}, {"params": params[1]}], lr=0.1, momentum=0.9)
        optimizer.add_param_group({"params": [params[2]], "lr": 0.01, "weight_decay": 0.1})
        for i in range(5):
            step(m, optimizer, params, i)
        results.append((params, repr(optimizer)))
        assert [g["lr"] for g in optimizer.param_groups] == [0.5, 0.1, 0.01]
    assert_equal(results[0][0], results[1][0])
    assert results[0][1] == results[1][1]


def test_a_group_is_a_mapping():
    p, optimizer = one(lr=0.1)
    group = optimizer.param_groups[0]
    assert list(group)[:2] == ["params", "lr"] and len(group) == len(dict(group)) and "momentum" in group and "other" not in group
    assert group.setdefault("initial_lr", 0.3) == 0.3 and group.get("other") is None
    group.update(lr=0.2, tag="head")
    assert (group["lr"], group.pop("tag"), "tag" in group) == (0.2, "head", False)
    assert group["momentum"] == 0 and isinstance(group["momentum"], int) and repr(group).startswith("{'params': [Parameter")
    with pytest.raises(ValueError, match="cannot be deleted"):
        del group["params"]


def test_named_parameters_leave_their_names_in_the_groups():
    texts = []
    for m in (nr, torch):
        model = m.nn.Sequential(m.nn.Linear(2, 3), m.nn.Linear(3, 1))
        optimizer = m.optim.AdamW([{"params": model[0].named_parameters()}, {"params": list(model[1].named_parameters()), "lr": 0.1}])
        assert optimizer.param_groups[0]["param_names"] == ["weight", "bias"] and optimizer.state_dict()["param_groups"][1]["param_names"] == ["weight", "bias"]
        other = m.optim.AdamW(m.nn.Linear(2, 3).named_parameters())
        other.load_state_dict({"state": {}, "param_groups": [{**other.state_dict()["param_groups"][0], "param_names": ["w", "b"]}]})
        assert other.param_groups[0]["param_names"] == ["w", "b"]
        texts.append(repr(optimizer))
    assert texts[0] == texts[1]


def test_parameters_of_a_group_may_be_replaced():
    a, b, c = (nn.Parameter(nr.ones(2)) for _ in range(3))
    optimizer = optim.Adam([a, b], lr=0.1)
    for p in (a, b, c):
        p.grad = nr.ones(2)
    optimizer.step()
    optimizer.param_groups[0]["params"] = [a, c]
    optimizer.step()
    assert [round(p[0].item(), 2) for p in (a, b, c)] == [0.8, 0.9, 0.9] and [optimizer.state[p]["step"].item() for p in (a, c)] == [2, 1]


def test_parameters_of_lazy_layers_get_states_once_they_have_a_shape():
    model = nn.LazyLinear(2)
    optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    model(nr.ones(1, 3)).sum().backward()
    optimizer.step()
    assert optimizer.state[model.weight]["momentum_buffer"].shape == (2, 3)


# --- options -------------------------------------------------------------------------------------------------------


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
    assert sum(map(len, run.programs.values())) == 1


def test_a_switch_compiles_another_program():
    ours, a, theirs, b = ours_and_theirs("Adam", {"lr": 0.1})
    run = nr.jit(lambda i: step(nr, a, ours, i))
    for i, maximize in enumerate((False, True, True, False)):
        a.param_groups[0]["maximize"] = b.param_groups[0]["maximize"] = maximize
        run(nr.tensor(float(i)))
        step(torch, b, theirs, i)
    assert_equal(ours, theirs)
    assert sum(map(len, run.programs.values())) == 2
    a.param_groups[0]["amsgrad"] = True
    run(nr.tensor(4.0))
    assert "max_exp_avg_sq" in a.state[ours[0]]


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

    @nr.jit
    def set_what_is_no_number(x):
        optimizer.param_groups[0]["new"] = x

    with pytest.raises(RuntimeError, match="option 'new' of a param group was set to a traced tensor"):
        set_what_is_no_number(nr.ones(()))


def test_entries_beside_the_options_are_noticed_by_programs_that_read_them():
    p, optimizer = one(lr=1.0)
    optimizer.param_groups[0]["scale"] = 2.0
    scaled = nr.jit(lambda x: x * optimizer.param_groups[0]["scale"])
    run = nr.jit(optimizer.step)
    p.grad = nr.ones(1)
    run()
    assert scaled(nr.ones(1)).item() == 2.0
    optimizer.param_groups[0]["initial_lr"] = 1.0
    run()
    assert sum(map(len, run.programs.values())) == 1 and p.item() == -1.0


def test_a_learning_rate_that_was_given_as_a_tensor_stays_one():
    p, optimizer = one(optim.Adam, lr=nr.tensor(0.1))
    q = torch.nn.Parameter(torch.tensor([1.0]))
    other = torch.optim.Adam([q], lr=torch.tensor(0.1))
    assert repr(optimizer) == repr(other)
    lr = optimizer.param_groups[0]["lr"]
    assert isinstance(lr, nr.Tensor) and lr.dtype == nr.float32
    optimizer.param_groups[0]["lr"] = nr.tensor(0.2)
    p.grad = nr.ones(1)
    optimizer.step()
    assert p.detach().numpy() == pytest.approx(0.8) and optimizer.param_groups[0]["lr"].item() == pytest.approx(0.2)
    optimizer.param_groups[0]["lr"] = 0.3
    assert optimizer.param_groups[0]["lr"] == 0.3


@pytest.mark.parametrize("switch", ["foreach", "fused", "capturable", "differentiable"])
def test_switches_of_pytorchs_are_accepted_and_kept(switch):
    _, optimizer = one(optim.Adam, **{switch: True})
    assert optimizer.param_groups[0][switch] is True and optimizer.defaults[switch] is True


# --- states --------------------------------------------------------------------------------------------------------


def test_state_is_empty_before_the_first_step_and_named_as_in_pytorch():
    p, optimizer = one(optim.Adam, amsgrad=True)
    assert optimizer.state_dict()["state"] == {} and len(optimizer.state) == 0 and p not in optimizer.state
    p.grad = nr.ones(1)
    optimizer.step()
    assert list(optimizer.state[p]) == ["step", "exp_avg", "exp_avg_sq", "max_exp_avg_sq"] and optimizer.state[p]["step"].item() == 1
    assert p in optimizer.state and [list(s) for s in optimizer.state.values()] == [list(optimizer.state[p])]
    assert repr(optimizer.state[p]).startswith("{'step': tensor(1.), 'exp_avg': ")


def test_state_can_be_written():
    p, optimizer = one(lr=1.0, momentum=1.0)
    p.grad = nr.ones(1)
    optimizer.step()
    optimizer.state[p]["momentum_buffer"].mul_(10)
    optimizer.step()
    assert p.item() == 1 - 1 - 11
    optimizer.state[p]["momentum_buffer"] = nr.zeros(1)
    optimizer.state[p]["note"] = "mine"
    optimizer.step()
    assert p.item() == -12 and optimizer.state_dict()["state"][0]["note"] == "mine"
    del optimizer.state[p]["note"]
    with pytest.raises(ValueError, match="the update rule of SGD needs 'momentum_buffer'"):
        del optimizer.state[p]["momentum_buffer"]
    optimizer.state[p].clear()
    assert len(optimizer.state[p]) == 0
    optimizer.state = {}
    assert len(optimizer.state) == 0
    with pytest.raises(KeyError, match="is not in this optimizer"):
        optimizer.state[nn.Parameter(nr.ones(2))]


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "jit"])
def test_a_tensor_that_was_moved_to_where_it_is_survives_a_step(compiled):
    p, optimizer = one(lr=1.0)
    values = [p.detach(), p.detach().to(p.device), copy.deepcopy(p).detach()]
    p.grad = nr.ones(1)
    (nr.jit(optimizer.step) if compiled else optimizer.step)()
    assert [value.item() for value in values] == [1, 1, 1] and p.item() == 0


def test_state_dicts_are_values():
    p, optimizer = one(lr=1.0, momentum=0.5)
    p.grad = nr.ones(1)
    optimizer.step()
    saved = optimizer.state_dict()
    optimizer.step()
    assert saved["state"][0]["momentum_buffer"].item() == 1 and optimizer.state[p]["momentum_buffer"].item() == 1.5


class Written(optim.Optimizer):
    """Adam written as one does in PyTorch."""

    def __init__(self, params, lr=0.1, betas=(0.9, 0.999)):
        super().__init__(params, {"lr": lr, "betas": betas})

    @nr.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            beta1, beta2 = group["betas"]
            for p in group["params"]:
                state = self.state[p]
                if len(state) == 0:
                    state["step"] = 0
                    state["m"], state["v"] = nr.zeros_like(p), nr.zeros_like(p)
                state["step"] += 1
                state["m"].mul_(beta1).add_(p.grad * (1 - beta1))
                state["v"].mul_(beta2).addcmul_(p.grad, p.grad * (1 - beta2))
                m, v = state["m"] / (1 - beta1 ** state["step"]), state["v"] / (1 - beta2 ** state["step"])
                p.sub_(group["lr"] * m / (v.sqrt() + 1e-8))


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "jit"])
def test_optimizers_written_as_in_pytorch_keep_their_state(compiled):
    results = []
    for make in (lambda p: Written([p]), lambda p: optim.Adam([p], lr=0.1)):
        p = nn.Parameter(nr.tensor([1.0, -2.0]))
        optimizer, traced = make(p), []

        def run(p=p, optimizer=optimizer, traced=traced):
            traced.append(1)
            optimizer.zero_grad()
            (p * p).sum().backward()
            optimizer.step()

        call = nr.jit(run) if compiled else run
        for i in range(10):
            call()
            if i == 4:
                optimizer.param_groups[0]["lr"] = 0.05
        results.append(p.detach().numpy())
        assert not compiled or len(traced) <= 2  # the first step makes the state, so there is a second program for all others
        assert optimizer.state_dict()["state"][0]["step"] == 10
    np.testing.assert_allclose(*results, rtol=1e-5)
    assert isinstance(Written([p]).state, type(optimizer.state))


@pytest.mark.parametrize("copied", [lambda o: pickle.loads(pickle.dumps(o)), copy.deepcopy], ids=["pickle", "deepcopy"])
@pytest.mark.parametrize("name", ["SGD", "Adam", "NAdam"])
def test_copies_go_on_as_the_optimizer_does(name, copied):
    ours, a, _, _ = ours_and_theirs(name, {"momentum": 0.9} if name == "SGD" else {"lr": 0.1})
    a.register_step_pre_hook(lambda *_: None)  # is left behind, as in PyTorch
    a.param_groups[0]["lr"] = 0.05
    for i in range(3):
        step(nr, a, ours, i)
    twin = copied(a)
    params = twin.param_groups[0]["params"]
    assert repr(twin) == repr(a) and type(twin) is type(a) and all(p is not q for p, q in zip(params, ours, strict=True))
    for i in range(3, 6):
        step(nr, a, ours, i)
        step(nr, twin, params, i)
    for p, q in zip(ours, params, strict=True):
        np.testing.assert_array_equal(p.detach().numpy(), q.detach().numpy())


def test_a_deep_copy_of_model_and_optimizer_keeps_them_together():
    model = nn.Linear(2, 1)
    twin, optimizer = copy.deepcopy((model, optim.Adam(model.parameters())))
    assert optimizer.param_groups[0]["params"][0] is twin.weight and twin.weight in optimizer._states


# --- hooks, closures, zero_grad ------------------------------------------------------------------------------------


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
    p.grad = nr.tensor([float("nan"), 1.0])
    optimizer.zero_grad(set_to_none=False)
    assert p.grad.tolist() == [0, 0]
    optimizer.zero_grad()
    assert p.grad is None


@pytest.mark.parametrize("library", [nr, torch], ids=["ours", "pytorch"])
def test_hooks_come_in_pytorchs_order_and_may_replace_the_arguments(library):
    p = library.nn.Parameter(library.ones(1))
    optimizer = library.optim.SGD([p], lr=0.1)
    hooks = importlib.import_module(f"{library.__name__}.optim.optimizer")
    calls = []
    handles = [
        hooks.register_optimizer_step_post_hook(lambda o, a, k: calls.append("global post")),
        hooks.register_optimizer_step_pre_hook(lambda o, a, k: calls.append("global pre")),
    ]
    optimizer.register_step_pre_hook(lambda o, a, k: ((a[0], lambda: calls.append("replaced")), {}))
    optimizer.register_step_post_hook(lambda o, a, k: calls.append(f"post {len(a)}"))
    optimizer.register_state_dict_pre_hook(lambda o: calls.append("state dict"))
    optimizer.register_state_dict_pre_hook(lambda o: calls.append("first"), prepend=True)
    optimizer.register_state_dict_post_hook(lambda o, state_dict: {**state_dict, "more": 1})
    optimizer.register_load_state_dict_pre_hook(lambda o, state_dict: {**state_dict, "param_groups": [{**state_dict["param_groups"][0], "lr": 7.0}]})
    optimizer.register_load_state_dict_post_hook(lambda o: calls.append(o.param_groups[0]["lr"]))
    optimizer.step(lambda: calls.append("given"))
    for handle in handles:
        handle.remove()
    optimizer.load_state_dict(optimizer.state_dict())
    assert optimizer.state_dict()["more"] == 1
    assert calls == ["global pre", "replaced", "post 2", "global post", "first", "state dict", 7.0, "first", "state dict"]
    optimizer.register_step_pre_hook(lambda o, a, k: 3)
    with pytest.raises(RuntimeError, match=r"must return None or a tuple of \(new_args, new_kwargs\)"):
        optimizer.step()


def test_hooks_are_called_once_where_a_step_calls_that_of_its_base():
    class Twice(optim.SGD):
        def step(self, closure=None):
            super().step()
            return super().step(closure)

    p, optimizer = one(Twice, lr=1.0)
    calls = []
    handles = [register_optimizer_step_pre_hook(lambda *_: calls.append(1)), register_optimizer_step_post_hook(lambda *_: calls.append(2))]
    p.grad = nr.ones(1)
    optimizer.step()
    for handle in handles:
        handle.remove()
    assert calls == [1, 2] and p.item() == -1


# --- errors --------------------------------------------------------------------------------------------------------


def error_inputs():
    for name, info in DB.items():
        for i, given in enumerate(info.optim_error_inputs_func("cpu", torch.float32)):
            if given.error_on is OptimizerErrorEnum.CONSTRUCTION_ERROR:
                yield pytest.param(name, i, id=f"{name}-{given.optimizer_error_input.desc}")


def to_cells(params):
    """Parameters of PyTorch's as ours; the same one for the same one."""
    made = {}

    def convert(x):
        if isinstance(x, torch.Tensor):
            return made.setdefault(id(x), nn.Parameter(nr.tensor(x.detach().numpy())))
        return {k: convert(v) for k, v in x.items()} if isinstance(x, dict) else type(x)(map(convert, x)) if isinstance(x, list | tuple) else x

    return convert(params)


@pytest.mark.parametrize(("name", "i"), list(error_inputs()))
def test_constructors_raise_pytorchs_errors(name, i):
    given = DB[name].optim_error_inputs_func("cpu", torch.float32)[i]
    params = given.optimizer_error_input.params
    params = [nn.Parameter(nr.ones(2, 2))] if params is None else to_cells(params)
    refusal = pytest.warns if issubclass(given.error_type, Warning) else pytest.raises
    with refusal(given.error_type, match=given.error_regex):
        getattr(optim, name)(params, **{k: to_nr(v) for k, v in given.optimizer_error_input.kwargs.items()})


@pytest.mark.filterwarnings("ignore:optimizer contains a parameter group with duplicate")
def test_parameter_given_twice_is_changed_once():
    p = nn.Parameter(nr.ones(2))
    optimizer = optim.SGD([("a", p), ("b", nn.Parameter(nr.ones(1))), ("a", p)], lr=0.5)
    p.sum().backward()
    optimizer.step()
    assert p.tolist() == [0.5, 0.5]
    assert optimizer.param_groups[0]["param_names"] == ["a", "b"]


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda p: optim.SGD([], lr=0.1), "empty parameter list"),
        (lambda p: optim.SGD(p, lr=0.1), r"write \[p\]"),
        (lambda p: optim.SGD([nr.ones(1)], lr=0.1), r"nr\.nn\.Parameter\(x\)"),
        (lambda p: optim.SGD([p * 2], lr=0.1), "can't optimize a non-leaf Tensor"),
        (lambda p: optim.SGD([1], lr=0.1), "one of the params is int"),
        (lambda p: optim.SGD([p], lr=-1), "Invalid learning rate: -1"),
        (lambda p: optim.SGD([p], nesterov=True), "Nesterov momentum requires"),
        (lambda p: optim.Adam([p], fused=True, foreach=True), "`fused` and `foreach` cannot be `True` together"),
        (lambda p: optim.Adagrad([p], fused=True, differentiable=True), "`fused` does not support `differentiable`"),
        (lambda p: optim.Muon([p.detach()[None]]), "cells"),
        (lambda p: optim.SGD([p]).add_param_group([p]), "param_group must be a dict"),
        (lambda p: optim.SGD([{"params": {p}}]), "ordered collections"),
        (lambda p: optim.Optimizer([{"params": [p]}], {"lr": required}), "didn't specify a value of required optimization parameter lr"),
        (lambda p: optim.LBFGS([{"params": [p]}, {"params": [nn.Parameter(nr.ones(1))]}]), "doesn't support per-parameter options"),
    ],
)
def test_bad_arguments_are_explained(call, text):
    with pytest.raises((ValueError, TypeError, RuntimeError), match=text):
        call(nn.Parameter(nr.ones(1)))


def test_muon_checks_its_iterations_at_the_first_step():
    p = nn.Parameter(nr.ones(2, 2))
    p.grad = nr.ones(2, 2)
    with pytest.raises(ValueError, match="less than 100"):
        optim.Muon([p], ns_steps=100).step()
    with pytest.raises(ValueError, match="exactly 3 values"):
        optim.Muon([p], ns_coefficients=(1.0, 2.0)).step()


def test_a_state_dict_that_does_not_fit_changes_nothing():
    ours, a, _, _ = ours_and_theirs("Adam", {"lr": 0.1})
    step(nr, a, ours, 0)
    other = optim.Adam([nn.Parameter(nr.ones(7)) for _ in range(3)], lr=0.5)
    with pytest.raises(RuntimeError, match=r"state 'exp_avg' of parameter 0 has shape \(3, 4\), and the parameter \(7,\)"):
        other.load_state_dict(a.state_dict())
    assert other.param_groups[0]["lr"] == 0.5
    with pytest.raises(ValueError, match=r"groups of \[3\] parameters, this optimizer of \[1\]"):
        optim.Adam([nn.Parameter(nr.ones(1))]).load_state_dict(a.state_dict())
    with pytest.raises(ValueError, match="different number of parameter groups"):
        optim.Adam([{"params": [ours[0]]}, {"params": ours[1:]}]).load_state_dict(a.state_dict())


def test_no_optimizer_warns():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name in DB:
            getattr(optim, name)([nn.Parameter(nr.ones(2, 2))])
