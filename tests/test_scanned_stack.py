"""`nn.ScannedStack` and `nn.scan_layers`: equal layers as one loop, with the values, gradients, buffers and names of layers called one by one."""

import copy
import pickle

import jax
import numpy as np
import pytest
import torch

import neurarust_jax as nr
from neurarust_jax import nn


def make_layers(count=4, p=0.3):
    nr.manual_seed(0)
    return [nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Tanh(), nn.Dropout(p)) for _ in range(count)]


def close(a, b):
    np.testing.assert_allclose(np.asarray(a.detach()), np.asarray(b.detach()), rtol=1e-4, atol=1e-5)


def step_of(forward, optimizer):
    def step(x):
        optimizer.zero_grad()
        loss = forward(x).square().sum()
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("remat", [False, True])
def test_a_stack_trains_as_its_layers_one_by_one(compiled, remat):
    layers, x = make_layers(), nr.randn(5, 3)
    plain, stack, separate = nn.Sequential(*layers), nn.ScannedStack(layers, remat=remat), nn.ModuleList(copy.deepcopy(layers))
    losses = []
    for forward, module in ((plain, plain), (stack, stack), (lambda x: nn.scan_layers(separate, x, remat=remat), separate)):
        step = step_of(forward, nr.optim.SGD(module.parameters(), lr=0.05, momentum=0.9))
        step = nr.jit(step) if compiled else step
        nr.manual_seed(1)
        losses.append([step(x).item() for _ in range(3)])
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-4)
    np.testing.assert_allclose(losses[2], losses[0], rtol=1e-4)
    states = [plain.state_dict(), stack.state_dict(), separate.state_dict()]
    assert list(states[0]) == list(states[1]) == list(states[2])
    for name, value in states[0].items():
        close(states[1][name], value)
        close(states[2][name], value)
    plain.eval(), stack.eval(), separate.eval()
    close(stack(x), plain(x))
    close(nn.scan_layers(separate, x), plain(x))


def test_layers_draw_apart_and_in_evaluation_not():
    stack = nn.ScannedStack([nn.Dropout(0.5) for _ in range(2)])
    kept = (stack(nr.ones(1000)) != 0).float().mean().item()
    assert 0.15 < kept < 0.35  # a quarter, not a half
    assert nr.equal(stack.eval()(nr.ones(4)), nr.ones(4))


def test_state_dicts_go_to_and_from_pytorch():
    theirs = torch.nn.ModuleDict({"blocks": torch.nn.Sequential(*[torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.BatchNorm1d(3)) for _ in range(11)])})
    stack = nn.ScannedStack([nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3)) for _ in range(11)])
    ours = nn.ModuleDict({"blocks": stack})
    assert str(ours.load_state_dict(theirs.state_dict())) == "<All keys matched successfully>"
    assert list(ours.state_dict()) == list(theirs.state_dict())
    for name, value in theirs.state_dict().items():
        np.testing.assert_array_equal(ours.state_dict()[name].numpy(), value.numpy())
    assert sorted(ours.state_dict()._metadata) == sorted(theirs.state_dict()._metadata)
    x = np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32)
    np.testing.assert_allclose(stack(nr.tensor(x)).detach().numpy(), theirs["blocks"](torch.tensor(x)).detach().numpy(), rtol=1e-3, atol=1e-4)
    theirs.load_state_dict({name: torch.tensor(np.asarray(value)) for name, value in ours.state_dict().items()})
    again = pickle.loads(pickle.dumps(ours))
    for name, value in ours.state_dict().items():
        assert nr.equal(again.state_dict()[name], value)


def test_loading_what_does_not_fit_is_refused_and_changes_nothing():
    stack = nn.ScannedStack([nn.Linear(2, 2) for _ in range(3)])
    state = stack.state_dict()
    before = stack.layer.weight.detach()
    wrong = {**{name: value + 1 for name, value in state.items()}, "1.weight": nr.ones(3, 2)}
    with pytest.raises(RuntimeError, match=r"size mismatch for 1\.weight"):
        stack.load_state_dict(wrong)
    with pytest.raises(RuntimeError, match=r"Missing key\(s\) in state_dict: \"2\.bias\""):
        stack.load_state_dict({name: value for name, value in state.items() if name != "2.bias"})
    with pytest.raises(RuntimeError, match=r"Unexpected key\(s\) in state_dict: \"layer\.weight\""):
        stack.load_state_dict({**state, "layer.weight": before})
    assert nr.equal(stack.layer.weight, before)
    found = stack.load_state_dict({"1.weight": nr.ones(2, 2)}, strict=False)
    assert len(found.missing_keys) == 5 and nr.equal(stack.layer.weight[1], nr.ones(2, 2)) and nr.equal(stack.layer.weight[0], before[0])


def test_a_stack_under_the_transformations():
    layers, x = [nn.Linear(3, 3) for _ in range(3)], nr.randn(4, 3)
    plain, stack = nn.Sequential(*layers), nn.ScannedStack(layers, unroll=2)
    close(nr.vmap(stack)(x), plain(x))
    close(nr.grad(lambda x: stack(x).sum())(x), nr.grad(lambda x: plain(x).sum())(x))
    gradient = nr.grad(lambda m: m(x).square().sum())(stack)
    plain(x).square().sum().backward()
    for i in range(3):
        close(gradient.layer.weight[i], plain[i].weight.grad)
    params = {name: p.detach() for name, p in stack.named_parameters()}
    close(nr.func.functional_call(stack, params, (x,)), plain(x))
    close(jax.jit(lambda m, x: m(x))(stack, x), plain(x))


def test_further_arguments_structures_and_single_layers():
    class Layer(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(3, 3)

        def forward(self, state, context, scale=1.0):
            h, count = state
            return (self.linear(h) * scale + context, count + 1)

    layers = [Layer() for _ in range(3)]
    stack = nn.ScannedStack(layers)
    context = nr.randn(2, 3, requires_grad=True)
    h, count = stack((nr.ones(2, 3), 0), context, scale=0.5)
    expected = (nr.ones(2, 3), 0)
    for layer in layers:
        expected = layer(expected, context, scale=0.5)
    close(h, expected[0])
    assert count.item() == 3
    (mine,) = nr.autograd.grad(h.sum(), context)
    (reference,) = nr.autograd.grad(expected[0].sum(), context)
    close(mine, reference)
    assert len(stack) == 3 and nr.equal(stack[1].linear.weight, layers[1].linear.weight) and len(list(stack)) == 3
    with pytest.raises(IndexError, match="out of range"):
        stack[3]
    assert "(0-2): 3 x Layer" in repr(stack)


@pytest.mark.parametrize(
    ("layers", "error", "text"),
    [
        ([nn.Linear(2, 2), nn.Linear(2, 3)], ValueError, "layers 1 and 0 are not of one build.*weight is .*"),
        ([nn.Dropout(0.1), nn.Dropout(0.2)], ValueError, "their classes or attributes differ"),
        ([nn.ReLU(), nn.Tanh()], ValueError, "their classes or attributes differ"),
        ([], ValueError, "got no layers"),
        ([nn.ReLU(), 3], TypeError, "layer 1 is int, expected a Module"),
        ([nn.LazyLinear(2), nn.LazyLinear(2)], ValueError, "without a shape yet"),
    ],
)
@pytest.mark.parametrize("call", [nn.ScannedStack, lambda layers: nn.scan_layers(layers, nr.ones(2))])
def test_layers_that_differ_are_refused(call, layers, error, text):
    with pytest.raises(error, match=text):
        call(layers)


def test_a_deep_stack_traces_its_layer_once():
    traced = []

    class Layer(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(2, 2)

        def forward(self, x):
            traced.append(1)
            return self.linear(x)

    counts = []
    for depth in (2, 20):
        stack = nn.ScannedStack(Layer() for _ in range(depth))
        step = nr.jit(step_of(stack, nr.optim.SGD(stack.parameters(), lr=0.1)))
        traced.clear()
        step(nr.ones(1, 2))
        counts.append(len(traced))
    assert counts[0] == counts[1] <= 2


@pytest.mark.parametrize("options", [{"name": "Adam"}, {"name": "SGD", "momentum": 0.9}, {"name": "Adadelta"}, {"name": "Adafactor"}], ids=lambda o: o["name"])
def test_optimizer_state_is_exchanged_with_layers_one_by_one(options):
    options = dict(options)
    kind, x = options.pop("name"), np.random.default_rng(0).standard_normal((5, 3)).astype(np.float32)

    def build(m, stacked):
        blocks = [m.nn.Sequential(m.nn.Linear(3, 3), m.nn.Tanh()) for _ in range(3)]
        return m.nn.Sequential(m.nn.Linear(3, 3), nn.ScannedStack(blocks) if stacked else m.nn.Sequential(*blocks), m.nn.Linear(3, 2))

    def groups(model):
        named = list(model.named_parameters())
        return [{"params": [p for n, p in named if n.endswith("weight")]}, {"params": [p for n, p in named if n.endswith("bias")], "lr": 0.02}]

    def train(model, optimizer, tensor, steps=2):
        for _ in range(steps):
            optimizer.zero_grad()
            (model(tensor(x)) ** 2).sum().backward()
            optimizer.step()

    theirs = build(torch, False)
    of_theirs = getattr(torch.optim, kind)(groups(theirs), lr=0.01, **options)
    ours = build(nr, True)
    ours.load_state_dict(theirs.state_dict())
    of_ours = getattr(nr.optim, kind)(groups(ours), lr=0.01, **options)
    nn.exchange_optimizer_state(of_ours, ours)
    train(theirs, of_theirs, torch.tensor)
    ours.load_state_dict(theirs.state_dict())
    of_ours.load_state_dict(of_theirs.state_dict())
    train(ours, of_ours, nr.tensor)
    train(theirs, of_theirs, torch.tensor)
    mine, wanted = of_ours.state_dict(), of_theirs.state_dict()
    assert [g["params"] for g in mine["param_groups"]] == [g["params"] for g in wanted["param_groups"]]
    for number, state in wanted["state"].items():
        for name, value in state.items():
            np.testing.assert_allclose(np.asarray(mine["state"][number][name]), np.asarray(value), rtol=1e-4, atol=1e-6)
    of_ours.load_state_dict(mine)
    plain = nr.optim.SGD(ours.parameters(), lr=0.1)
    nn.exchange_optimizer_state(plain, ours)
    uneven = {"state": {4: {"step": 1.0}, 6: {"step": 2.0}, 8: {"step": 2.0}}, "param_groups": [{"lr": 0.1, "params": list(range(10))}]}
    with pytest.raises(RuntimeError, match="states of different kinds|share one 'step'"):
        plain.load_state_dict(uneven)


@pytest.mark.parametrize("kind", ["Muon", "Adafactor"])
@pytest.mark.parametrize("compiled", [False, True])
def test_optimizers_that_look_at_whole_matrices_see_each_layer_by_itself(kind, compiled):
    nr.manual_seed(0)
    x = nr.randn(8, 6)
    layers = [nn.Sequential(nn.Linear(6, 6), nn.Tanh()) for _ in range(3)]
    stack = nn.Sequential(nn.ScannedStack(layers))
    plain = nn.Sequential(*copy.deepcopy(layers))

    def trained(model):
        chosen = [p for n, p in model.named_parameters() if kind == "Adafactor" or n.endswith("weight")]
        optimizer = getattr(nr.optim, kind)(chosen, lr=0.05)
        step = step_of(model, optimizer)
        for _ in range(3):
            (nr.jit(step) if compiled else step)(x)
        return np.stack([value.numpy() for n, value in model.state_dict().items() if n.endswith("weight")])

    # Muon's products are rounded to bfloat16, in an order that differs between a stack and single matrices
    np.testing.assert_allclose(trained(stack), trained(plain), rtol=1e-5, atol=5e-4 if kind == "Muon" else 1e-6)
    one = copy.deepcopy(stack)[0][1]
    assert nr.optim.Muon([one[0].weight]) and one[0].weight.shape == (6, 6)
    with pytest.raises(ValueError, match="Muon only supports 2D parameters"):
        nr.optim.Muon([stack[0].layer[0].bias])
    with pytest.raises(ValueError, match="hold a ScannedStack themselves"):
        nn.ScannedStack(nn.Sequential(nn.ScannedStack([layer])) for layer in layers)
