"""Modules of PyTorch's layers, by `from_torch` and `to_torch`: equal outputs, gradients and states for every row of the table of layers."""

import copy

import numpy as np
import pytest
import torch

import neurarust_jax as nr
from neurarust_jax import nn
from neurarust_jax.interop import from_torch, to_torch, to_torch_state_dict
from tests.conformance.rows import all_rows
from tests.conformance.test_layers import _arguments, apply, arguments_of, leaves, pytorchs_own
from tests.oracle import TOLERANCE, assert_same, to_nr
from tests.oracle import to_torch as array_to_torch

ROWS = all_rows()
SHOWN = {id(row) for row in {row.name: row for row in ROWS}.values()}  # one setting of each; all of them in the exhaustive run


def build(row):
    torch.manual_seed(0)
    return getattr(torch.nn, row.name)(*_arguments(row.args, torch.nn), **_arguments(row.kwargs, torch.nn))


def check_alike(row, ours, theirs, gradients):
    a, a_named = arguments_of(row, to_nr)
    b, b_named = arguments_of(row, array_to_torch)
    with torch.set_grad_enabled(gradients):
        y, w = leaves(ours(*a, **a_named)), leaves(theirs(*apply(lambda x: x.clone(), b), **b_named))
    rtol, atol = (row.loose * t for t in TOLERANCE["float32"])
    assert_same(y, w, rtol, atol)
    pairs = [(p, q) for p, q in zip(y, w, strict=True) if q.requires_grad]
    if gradients and pairs:
        cotangents = [np.random.default_rng(1).standard_normal(tuple(q.shape)).astype(np.float32) for _, q in pairs]
        torch.autograd.backward([q for _, q in pairs], [torch.tensor(c) for c in cotangents])
        nr.autograd.backward([p for p, _ in pairs], [nr.tensor(c) for c in cotangents])
        for (name, p), q in zip(ours.named_parameters(), theirs.parameters(), strict=True):
            if q.grad is not None:
                np.testing.assert_allclose(p.grad.numpy(), q.grad.numpy(), rtol=1e-4 * row.loose, atol=1e-5 * row.loose, err_msg=name)
    for name, value in theirs.state_dict().items():
        np.testing.assert_allclose(ours.state_dict()[name].numpy(), value.numpy(), rtol=1e-5, atol=1e-6, err_msg=name)


@pytorchs_own
@pytest.mark.parametrize("row", [pytest.param(r, id=str(r), marks=() if id(r) in SHOWN else pytest.mark.exhaustive) for r in ROWS])
def test_a_layer_comes_over_with_its_arguments_and_goes_back(row):
    theirs = build(row).train(not row.random)
    ours = from_torch(theirs)
    assert type(ours) is getattr(nn, row.name) and repr(ours) == repr(theirs)
    back = to_torch(ours)
    assert type(back) is type(theirs) and repr(back) == repr(theirs) and list(back.state_dict()) == list(theirs.state_dict())
    for name, value in theirs.state_dict().items():
        assert torch.equal(back.state_dict()[name], value), name
    check_alike(row, ours, theirs, gradients=True)


class Block(torch.nn.Sequential):
    """A subclass that only builds."""

    def __init__(self, width):
        super().__init__(torch.nn.Linear(width, width), torch.nn.ReLU(inplace=True))


def nested():
    shared = torch.nn.Linear(4, 4)
    model = torch.nn.Sequential(shared, Block(4), torch.nn.Sequential(shared, torch.nn.BatchNorm1d(4)), torch.nn.Linear(4, 4))
    model[3].weight = model[1][0].weight
    model[3].bias.requires_grad_(False)
    model[2].eval()
    model.register_buffer("kept", torch.arange(3))
    model.register_buffer("left_out", torch.ones(2), persistent=False)
    model.register_parameter("scale", torch.nn.Parameter(torch.ones(1, dtype=torch.float64)))
    return model


@pytest.mark.parametrize("there", [lambda m: from_torch(m), lambda m: to_torch(from_torch(m))], ids=["from_torch", "and back"])
def test_ties_flags_modes_and_buffers_are_kept(there):
    theirs = nested()
    made = there(theirs)
    assert [n for n, _ in made.named_parameters()] == [n for n, _ in theirs.named_parameters()]
    assert [n for n, _ in made.named_buffers()] == [n for n, _ in theirs.named_buffers()]
    assert list(made.state_dict()) == list(theirs.state_dict())
    assert made[0] is made[2][0] and made[3].weight is made[1][0].weight and made[3].bias is not made[0].bias
    assert [p.requires_grad for p in made.parameters()] == [p.requires_grad for p in theirs.parameters()]
    assert [m.training for m in made.modules()] == [m.training for m in theirs.modules()]
    assert "float64" in str(made.scale.dtype)


def test_what_is_converted_shares_no_memory_with_its_parameters():
    theirs = torch.nn.Linear(8, 8)
    ours = from_torch(theirs)
    before = ours.weight.detach().numpy().copy()
    with torch.no_grad():
        theirs.weight.zero_()
        to_torch(ours).weight.zero_()
    assert (ours.weight.detach().numpy() == before).all()


def test_containers_of_modules_and_parameters():
    theirs = torch.nn.ModuleDict({
        "list": torch.nn.ModuleList([torch.nn.Linear(2, 2), torch.nn.ReLU()]),
        "numbers": torch.nn.ParameterDict({"a": torch.ones(2)}),
        "more": torch.nn.ParameterList([torch.zeros(1), torch.ones(3)]),
    })  # fmt: skip
    ours = from_torch(theirs)
    assert repr(ours["list"]) == repr(theirs["list"])
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert type(ours["numbers"]) is nn.ParameterDict and list(ours["numbers"].keys()) == ["a"] and len(ours["more"]) == 2
    assert list(to_torch(ours).state_dict()) == list(theirs.state_dict())


TRANSFORMERS = {
    "encoder layer": lambda lib: lib.TransformerEncoderLayer(8, 2, 16, 0.0, activation="gelu", batch_first=True, norm_first=True, bias=False),
    "encoder": lambda lib: lib.TransformerEncoder(lib.TransformerEncoderLayer(8, 2, 16, 0.0, batch_first=True), 2, lib.LayerNorm(8), enable_nested_tensor=False),
    "decoder layer": lambda lib: lib.TransformerDecoderLayer(8, 2, 16, 0.0, activation=lib.functional.relu, layer_norm_eps=1e-3),
    "decoder": lambda lib: lib.TransformerDecoder(lib.TransformerDecoderLayer(8, 4, 16, 0.0), 2),
    "transformer": lambda lib: lib.Transformer(8, 2, 1, 2, 16, 0.0, batch_first=True),
    "attention": lambda lib: lib.MultiheadAttention(8, 2, add_bias_kv=True, kdim=8, vdim=8),
}


@pytorchs_own
@pytest.mark.parametrize("name", TRANSFORMERS)
def test_transformers(name):
    torch.manual_seed(0)
    theirs = TRANSFORMERS[name](torch.nn).eval()
    ours = from_torch(theirs)
    assert repr(ours) == repr(theirs) == repr(to_torch(ours))
    x = np.random.default_rng(0).standard_normal((3, 5, 8)).astype(np.float32)
    inputs = [x] * {"encoder": 1, "encoder layer": 1, "attention": 3}.get(name, 2)
    expected = leaves(theirs(*map(torch.tensor, inputs)))
    assert_same(leaves(ours(*map(nr.tensor, inputs))), expected, 1e-4, 1e-5)
    assert_same(from_torch(leaves(to_torch(ours)(*map(torch.tensor, inputs)))), expected, 1e-4, 1e-5)


def test_a_lazy_layer_stays_lazy():
    ours = from_torch(torch.nn.LazyLinear(3))
    assert type(ours) is nn.LazyLinear and ours(nr.ones(2, 5)).shape == (2, 3)
    theirs = to_torch(nn.LazyLinear(3))
    assert theirs(torch.ones(2, 5)).shape == (2, 3)


def test_hooks_and_own_forwards_are_refused_by_name():
    model = torch.nn.Sequential(torch.nn.Linear(2, 2))
    model[0].register_forward_hook(lambda *a: None)
    with pytest.raises(NotImplementedError, match="_forward_hooks of Linear at '0'"):
        from_torch(model)

    class Own(nn.Module):
        def forward(self, x):
            return x

    with pytest.raises(NotImplementedError, match="Own at '0' has a forward of its own.*to_torch_state_dict"):
        to_torch(nn.Sequential(Own()))
    with pytest.raises(TypeError, match="from_torch takes tensors, modules and dtypes of PyTorch"):
        from_torch({1, 2})


def test_state_dicts_both_ways_and_an_optimizers():
    ours, theirs = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)), torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    theirs.load_state_dict(to_torch_state_dict(ours))
    x = np.random.default_rng(0).standard_normal((5, 3)).astype(np.float32)
    assert_same(ours(nr.tensor(x)), theirs(torch.tensor(x)), 1e-5, 1e-6)
    ours.load_state_dict(nr.interop.from_torch_state_dict(theirs.state_dict()))
    first, second = nr.optim.Adam(ours.parameters()), torch.optim.Adam(theirs.parameters())
    for model, optimizer, library in ((ours, first, nr), (theirs, second, torch)):
        model(library.tensor(x)).square().mean().backward()
        optimizer.step()
    second.load_state_dict(to_torch_state_dict(first))
    first.load_state_dict(nr.interop.from_torch_state_dict(second.state_dict()))
    assert torch.equal(second.state_dict()["state"][0]["step"], torch.tensor(1.0))


def test_copies_leave_the_original_alone():
    ours = from_torch(nested())
    twin = copy.deepcopy(ours)
    twin[0].weight.data = nr.zeros(4, 4)
    assert ours[0].weight.any()
