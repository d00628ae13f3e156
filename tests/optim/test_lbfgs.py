"""L-BFGS against PyTorch's: iterates, numbers of evaluations, states."""

import numpy as np
import pytest
import torch

import neurarust_jax as nr
from neurarust_jax import nn, optim

from .pairs import to_nr, to_torch

SETTINGS = [
    {}, {"lr": 0.01}, {"lr": torch.tensor(0.001)}, {"tolerance_grad": 1e-6}, {"line_search_fn": "strong_wolfe"}, {"lr": 0.3, "history_size": 2, "tolerance_change": 1e-3},
    {"line_search_fn": "strong_wolfe", "history_size": 3, "max_iter": 7}, {"line_search_fn": "strong_wolfe", "lr": 0.1, "max_eval": 40},
]  # fmt: skip


def start(dtype):
    generator = np.random.default_rng(3)
    a, b = generator.standard_normal((2, 3)).astype(dtype), generator.standard_normal(4).astype(dtype)
    c = generator.standard_normal(2) + 1j * generator.standard_normal(2)
    return [a, b, c.astype(np.result_type(dtype, np.complex64))]


def prepared(library, optimizers, options, dtype="float64", values=None):
    """(parameters, optimizer, closure, list that counts its calls)"""
    params = [library.nn.Parameter(library.tensor(x)) for x in (start(dtype) if values is None else values)]
    optimizer = optimizers.LBFGS(params, **options)
    calls = []

    def closure():
        calls.append(1)
        optimizer.zero_grad()
        a, b, c = params
        loss = ((1 - a) ** 2).sum() + 10 * ((b[1:] - b[:-1] ** 2) ** 2).sum() + (c * c.conj()).real.sum() ** 2 + (a.sum() - b.sum()) ** 2
        loss.backward()
        return loss

    return params, optimizer, closure, calls


def assert_near(params, others, rtol):
    for p, q in zip(params, others, strict=True):
        np.testing.assert_allclose(p.detach().numpy(), q.detach().numpy(), rtol=rtol, atol=rtol)


@pytest.mark.parametrize("options", SETTINGS, ids=str)
def test_iterates_and_evaluations_equal_pytorchs(options):
    params, optimizer, closure, calls = prepared(nr, optim, {k: to_nr(v) for k, v in options.items()})
    others, other, closure_of_torch, calls_of_torch = prepared(torch, torch.optim, options)
    for _ in range(4):
        loss, expected = optimizer.step(closure).item(), other.step(closure_of_torch).item()
        assert loss == pytest.approx(expected, rel=1e-5) and len(calls) == len(calls_of_torch)
    assert_near(params, others, 1e-5)
    mine, theirs = (o.state_dict()["state"][0] for o in (optimizer, other))
    assert mine.keys() == theirs.keys() and (mine["n_iter"], mine["func_evals"]) == (theirs["n_iter"], theirs["func_evals"])
    for name, value in theirs.items():
        assert isinstance(mine[name], nr.Tensor if isinstance(value, torch.Tensor) else type(value)), name
        if isinstance(value, torch.Tensor):
            assert mine[name].shape == tuple(value.shape) and mine[name].dtype.name == str(value.dtype).removeprefix("torch.")
    assert len(mine["old_dirs"]) == len(theirs["old_dirs"]) and repr(optimizer) == repr(other)


def test_single_precision_is_near():
    params, optimizer, closure, _ = prepared(nr, optim, {"line_search_fn": "strong_wolfe"}, "float32")
    others, other, closure_of_torch, _ = prepared(torch, torch.optim, {"line_search_fn": "strong_wolfe"}, "float32")
    for _ in range(4):
        optimizer.step(closure), other.step(closure_of_torch)
    assert_near(params, others, 1e-2)
    assert params[0].dtype == nr.float32 and optimizer.state[params[0]]["d"].dtype == nr.float32


@pytest.mark.parametrize("search", [None, "strong_wolfe"])
def test_training_goes_on_in_the_other_library(search):
    options = {"line_search_fn": search, "max_iter": 4, "history_size": 3}
    others, other, closure_of_torch, _ = prepared(torch, torch.optim, options)
    for _ in range(2):
        other.step(closure_of_torch)
    params, optimizer, closure, _ = prepared(nr, optim, {}, values=[q.detach().numpy().copy() for q in others])
    optimizer.load_state_dict(other.state_dict())
    for _ in range(2):
        optimizer.step(closure), other.step(closure_of_torch)
    assert_near(params, others, 1e-7)
    resumed, fresh, closure_of_fresh, _ = prepared(torch, torch.optim, {}, values=[p.detach().numpy() for p in params])
    fresh.load_state_dict(to_torch(optimizer.state_dict()))
    for _ in range(2):
        optimizer.step(closure), fresh.step(closure_of_fresh)
    assert_near(params, resumed, 1e-7)


def test_the_closure_may_be_compiled_and_the_step_may_not():
    params, optimizer, closure, calls = prepared(nr, optim, {"line_search_fn": "strong_wolfe"})
    compiled = nr.jit(closure)
    first = optimizer.step(compiled).item()
    assert optimizer.step(compiled).item() < first and len(calls) == 1
    with pytest.raises(RuntimeError, match="Compile the closure"):
        nr.jit(lambda: optimizer.step(closure))()


def test_parameters_without_a_gradient_count_as_if_it_were_zero():
    p, q = (nn.Parameter(nr.ones(2)) for _ in range(2))
    optimizer = optim.LBFGS([p, q])

    def closure():
        optimizer.zero_grad()
        loss = (p * p).sum()
        loss.backward()
        return loss

    assert optimizer.step(closure).item() == 2 and q.detach().tolist() == [1, 1]
    assert nr.allclose(p, nr.zeros(2), atol=1e-5)
    assert optimizer.step(closure).item() < 1e-10  # ends at once: the gradient is 0


def test_an_unknown_line_search_is_refused():
    params, optimizer, closure, _ = prepared(nr, optim, {"line_search_fn": "newton"})
    with pytest.raises(RuntimeError, match="only 'strong_wolfe' is supported"):
        optimizer.step(closure)
