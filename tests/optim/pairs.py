"""Optimizers in both libraries on the same parameters, fed with the same gradients."""

import functools

import jax
import numpy as np
import torch
from torch.testing._internal.common_optimizers import optim_db

import neurarust_jax as nr
from neurarust_jax import nn, optim

DB = {info.optim_cls.__name__: info for info in optim_db if info.optim_cls.__name__ != "SparseAdam"}
RULES = [name for name in DB if name != "LBFGS"]


def start(name, dtype="float64"):
    """A matrix and a vector, and a complex matrix where the optimizer takes one; for Muon matrices alone."""
    generator = np.random.default_rng(0)
    shapes = [(3, 4), (4, 3)] if name == "Muon" else [(3, 4), (4,)]
    values = [generator.standard_normal(shape).astype(dtype) for shape in shapes]
    if DB[name].supports_complex and name != "Muon":
        values.append((generator.standard_normal((2, 2)) + 1j * generator.standard_normal((2, 2))).astype(np.result_type(dtype, np.complex64)))
    return values


def gradient(x, step):
    """A gradient at an array: towards 0, with waves that make some elements change their sign."""
    return np.asarray(0.7 * x + 0.5 * np.sin(x * (1 + 0.01 * step)) + 0.1 * np.cos(step), x.dtype)


def to_nr(value):
    """Options with our tensors in place of PyTorch's."""
    if isinstance(value, tuple):
        return tuple(map(to_nr, value))
    return nr.tensor(value.numpy()) if isinstance(value, torch.Tensor) else value


def to_torch(state_dict):
    """A state dict with PyTorch's tensors in place of ours, as the guide shows it."""
    return jax.tree.map(lambda x: torch.tensor(np.asarray(x)) if isinstance(x, nr.Tensor) else x, state_dict, is_leaf=lambda x: isinstance(x, nr.Tensor))


def theirs(name, options, values):
    params = [torch.nn.Parameter(torch.tensor(x)) for x in values]
    return params, DB[name].optim_cls(params, **options)


def ours(name, options, values):
    params = [nn.Parameter(nr.tensor(x)) for x in values]
    return params, getattr(optim, name)(params, **{k: to_nr(v) for k, v in options.items()})


@functools.cache
def shared(name, form, dtype):
    """An optimizer that tests of one form of options use in turn, so that it is compiled once."""
    return ours(name, dict(form), start(name, dtype))


def reset(name, options, values):
    """Parameters with these values, and an optimizer that is as if newly made, but compiled already if there was one of the same form before."""
    form = tuple((k, v) for k, v in options.items() if isinstance(v, bool | str | None) or k == "ns_steps")
    with_momentum = {"momentum": 0.5} if options.get("momentum") else {}
    params, optimizer = shared(name, (*form, *with_momentum.items()), str(values[0].dtype))
    for p, x in zip(params, values, strict=True):
        p.assign(nr.tensor(x))
    fresh = getattr(optim, name)(params, **{k: to_nr(v) for k, v in options.items()})
    optimizer.load_state_dict(fresh.state_dict())
    return params, optimizer


def advance(params, optimizer, steps, values=None):
    """Make steps, with gradients at the present values."""
    for i in steps:
        for p in params:
            x = p.detach().numpy()
            p.grad = (torch if isinstance(p, torch.Tensor) else nr).tensor(gradient(x, i))
        optimizer.step()


def assert_alike(a, b, rtol, atol=0.0):
    for p, q in zip(a, b, strict=True):
        np.testing.assert_allclose(p.detach().numpy(), q.detach().numpy(), rtol=rtol, atol=atol)


def assert_states_alike(a, b, rtol):
    """State dicts of both libraries have the same entries with the same values, dtypes and shapes, in the same order."""
    assert a["state"].keys() == b["state"].keys()
    for number, state in b["state"].items():
        given = {name: value for name, value in state.items() if value is not None}
        assert list(a["state"][number]) == list(given)
        for name, value in given.items():
            mine = a["state"][number][name].numpy()
            assert (mine.shape, mine.dtype) == (tuple(value.shape), value.numpy().dtype), name
            np.testing.assert_allclose(mine, value.numpy(), rtol=rtol, atol=rtol * float(np.max(np.abs(value.numpy()), initial=0)), err_msg=name)
    for mine, other in zip(a["param_groups"], b["param_groups"], strict=True):
        assert mine == to_nr_group(other)


def to_nr_group(group):
    return {name: to_nr(value) for name, value in group.items()}
