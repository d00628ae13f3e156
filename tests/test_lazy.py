"""Lazy layers and cells without a shape."""

import copy
import pickle

import numpy as np
import pytest
import torch

import neurarust_jax as nr
from neurarust_jax import nn


def test_cells_without_a_shape_can_be_converted_and_materialized():
    for m, lib in ((nn, nr), (torch.nn, torch)):
        p, b = m.UninitializedParameter(), m.UninitializedBuffer(dtype=lib.float64)
        assert m.parameter.is_lazy(p) and isinstance(p, m.Parameter) and p.requires_grad and not b.requires_grad
        assert p.dtype == lib.float32 and b.dtype == lib.float64 and repr(p) == "<UninitializedParameter>"
        with pytest.raises(RuntimeError, match="Can't access the shape of an uninitialized"):
            p.shape  # noqa: B018
        with pytest.raises(ValueError, match="uninitialized parameter"):
            p + 1
        twin = copy.deepcopy(p)
        p.materialize((2, 3))
        assert type(p) is m.Parameter and tuple(p.shape) == (2, 3) and p.requires_grad and m.parameter.is_lazy(twin)
        b.materialize((4,), dtype=lib.float16)
        assert tuple(b.shape) == (4,) and b.dtype == lib.float16 and not m.parameter.is_lazy(b)
        net = m.Module()
        net.p = m.UninitializedParameter(requires_grad=False)
        net.double()
        assert net.p.dtype == lib.float64 and m.parameter.is_lazy(net.p) and not net.p.requires_grad
    p = pickle.loads(pickle.dumps(nn.UninitializedParameter(dtype=nr.float16)))
    assert nn.parameter.is_lazy(p) and p.dtype == nr.float16 and p.requires_grad


def test_a_lazy_layer_becomes_an_ordinary_one():
    for m, lib in ((nn, nr), (torch.nn, torch)):
        layer = m.LazyLinear(3)
        assert repr(layer) == "LazyLinear(in_features=0, out_features=3, bias=True)" and list(layer.state_dict()) == ["weight", "bias"]
        assert layer.has_uninitialized_params()
        layer.double()
        y = layer(lib.ones(2, 5, dtype=lib.float64))
        assert type(layer) is m.Linear and tuple(y.shape) == (2, 3) and layer.in_features == 5 and layer.weight.dtype == lib.float64
        assert y.requires_grad and repr(layer) == "Linear(in_features=5, out_features=3, bias=True)"
        assert m.LazyLinear(3, bias=False).bias is None


def test_lazy_layers_are_initialized_inside_transformations():
    model = nn.Sequential(nn.LazyLinear(4), nn.Dropout(), nn.LazyLinear(1))
    x = nr.randn(8, 3)

    @nr.jit
    def step(x):
        loss = (model(x) ** 2).mean()
        loss.backward()
        return loss

    step(x)
    assert type(model[2]) is nn.Linear and model[2].weight.shape == (1, 4) and model[0].weight.grad.shape == (4, 3)
    assert model[0].weight.std() > 0.05
    assert step(x).shape == ()
    layer = nn.LazyLinear(2)
    assert nr.vmap(layer)(x).shape == (8, 2) and layer.weight.shape == (2, 3)


def test_state_dicts_of_lazy_layers():
    for m, lib in ((nn, nr), (torch.nn, torch)):
        done, lazy = m.Linear(4, 3), m.LazyLinear(3)
        lazy.load_state_dict(done.state_dict())
        assert not lazy.has_uninitialized_params() and lib.equal(lazy.weight, done.weight)
        with pytest.raises(RuntimeError, match="in_features inferred from input: 7" if m is nn else "") if m is nn else pytest.raises(AssertionError):
            lazy(lib.ones(1, 7))
        lazy(lib.ones(1, 4))
        assert type(lazy) is m.Linear and lazy.in_features == 4
        m.LazyLinear(3).load_state_dict(m.LazyLinear(3).state_dict())
        with pytest.raises(RuntimeError, match="uninitialized parameter"):
            done.load_state_dict(m.LazyLinear(3).state_dict())


def test_copies_of_lazy_layers_are_lazy():
    layer = nn.LazyLinear(2)
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert twin(nr.ones(3)).shape == (2,) and type(twin) is nn.Linear and type(layer) is nn.LazyLinear


@pytest.mark.parametrize(("m", "lib"), [(nn, nr), (torch.nn, torch)])
def test_a_users_lazy_layer(m, lib):
    class Scale(m.modules.lazy.LazyModuleMixin, m.Module):
        def __init__(self):
            super().__init__()
            self.factor = m.UninitializedParameter()

        def initialize_parameters(self, input):  # noqa: A002
            self.factor.materialize(input.shape[-1:])
            m.init.constant_(self.factor, 3)

        def forward(self, input):  # noqa: A002
            return input * self.factor

    np.testing.assert_array_equal(Scale()(lib.ones(2)).detach().numpy(), [3, 3])
    forgetful = m.LazyLinear(2)
    forgetful.initialize_parameters = lambda input: None  # noqa: A006
    with pytest.raises(RuntimeError, match="has not been fully initialized"):
        forgetful(lib.ones(2))
