"""`nn.Module`: registration, walking, state dicts, hooks, copies."""

import copy
import pickle
from collections import OrderedDict

import numpy as np
import pytest
import torch

import neurarust_jax as nr
import neurarust_jax.nn.functional as F
from neurarust_jax import nn


def build(m):
    class Net(m.Module):
        def __init__(self):
            super().__init__()
            self.conv = m.Conv2d(1, 2, 3)
            self.block = m.Sequential(OrderedDict(norm=m.BatchNorm2d(2), act=m.ReLU()))
            self.heads = m.ModuleList([m.Linear(4, 2), m.Linear(4, 2, bias=False)])
            self.table = m.ModuleDict({"a": m.Linear(1, 1)})
            self.scale = m.Parameter((nr if m is nn else torch).ones(1))
            self.register_buffer("offset", (nr if m is nn else torch).zeros(2))
            self.register_buffer("hidden", (nr if m is nn else torch).zeros(2), persistent=False)
            self.register_parameter("nothing", None)
            self.shared = self.heads[0]

    return Net()


def test_names_shapes_and_order_are_pytorchs():
    ours, theirs = build(nn), build(torch.nn)
    for method in ("named_parameters", "named_buffers"):
        assert [(n, tuple(p.shape)) for n, p in getattr(ours, method)()] == [(n, tuple(p.shape)) for n, p in getattr(theirs, method)()]
        assert [n for n, _ in getattr(ours, method)(remove_duplicate=False)] == [n for n, _ in getattr(theirs, method)(remove_duplicate=False)]
        assert [n for n, _ in getattr(ours, method)(prefix="p", recurse=False)] == [n for n, _ in getattr(theirs, method)(prefix="p", recurse=False)]
    assert [n for n, _ in ours.named_modules()] == [n for n, _ in theirs.named_modules()]
    assert [n for n, _ in ours.named_children()] == [n for n, _ in theirs.named_children()]
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert repr(ours) == repr(theirs)
    assert len(list(ours.modules())) == len(list(theirs.modules()))


def test_state_dicts_cross_to_pytorch_and_back():
    ours, theirs = build(nn), build(torch.nn)
    assert repr(ours.load_state_dict(theirs.state_dict())) == "<All keys matched successfully>"
    for name, value in theirs.state_dict().items():
        np.testing.assert_array_equal(ours.state_dict()[name].numpy(), value.numpy())
    theirs.load_state_dict({n: torch.from_dlpack(v) for n, v in build(nn).state_dict().items()})


def test_loading_reports_missing_unexpected_and_misfitting_names_and_changes_nothing():
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    before = {n: v.numpy().copy() for n, v in model.state_dict().items()}
    state = {"0.weight": nr.zeros(3, 5), "0.bias": nr.zeros(3), "1.weight": nr.zeros(1, 3), "2.bias": nr.zeros(1)}
    with pytest.raises(RuntimeError) as caught:
        model.load_state_dict(state)
    text = str(caught.value)
    assert "Error(s) in loading state_dict for Sequential" in text
    assert 'Missing key(s) in state_dict: "1.bias"' in text and 'Unexpected key(s) in state_dict: "2.bias"' in text
    assert "size mismatch for 0.weight: copying a param with shape (3, 5) from checkpoint, the shape in current model is (3, 2)" in text
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), before[name])
    result = model.load_state_dict({"0.bias": nr.ones(3), "x": nr.ones(1)}, strict=False)
    assert result.missing_keys == ["0.weight", "1.weight", "1.bias"] and result.unexpected_keys == ["x"]
    assert model[0].bias.tolist() == [1, 1, 1]
    with pytest.raises(TypeError, match="dict-like"):
        model.load_state_dict([1])


def test_load_keeps_the_modules_dtype_unless_it_assigns():
    model = nn.Linear(2, 1)
    state = {"weight": np.ones((1, 2)), "bias": nr.ones(1, dtype=nr.float64)}
    model.load_state_dict(state)
    assert model.weight.dtype == nr.float32
    model.load_state_dict(state, assign=True)
    assert model.weight.dtype == nr.float64 and isinstance(model.weight, nn.Parameter)


def test_a_state_dict_is_a_snapshot():
    model = nn.Linear(1, 1)
    state = model.state_dict()
    kept = state["weight"].item()
    with nr.no_grad():
        model.weight.add_(1)
    assert state["weight"].item() == kept != model.weight.item()
    assert model.state_dict(keep_vars=True)["weight"] is model.weight


def test_lists_tuples_and_dicts_of_modules_work():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = [nn.Linear(2, 2), [nn.Linear(2, 1)]]
            self.pair = (nn.Linear(1, 1, bias=False), nr.nn.Parameter(nr.ones(1)))
            self.named = {"a": nn.ReLU(), "b": nn.Linear(1, 1, bias=False)}

        def forward(self, x):
            return self.named["b"](self.pair[0](self.layers[1][0](self.layers[0](x)))) * self.pair[1]

    net = Net()
    assert [n for n, _ in net.named_parameters()] == [
        "pair.1", "layers.0.weight", "layers.0.bias", "layers.1.0.weight", "layers.1.0.bias", "pair.0.weight", "named.b.weight",
    ]  # fmt: skip
    net(nr.ones(1, 2)).sum().backward()
    assert all(p.grad is not None for p in net.parameters())
    assert net.eval().layers[1][0].training is False
    twin = Net()
    twin.load_state_dict(net.state_dict())
    np.testing.assert_array_equal(twin(nr.ones(1, 2)).detach().numpy(), net(nr.ones(1, 2)).detach().numpy())
    assert net.get_submodule("layers.1.0") is net.layers[1][0]
    assert "(layers.0): Linear" in repr(net)
    assert len(list(copy.deepcopy(net).parameters())) == 7


def test_attributes_register_replace_and_delete():
    net = nn.Module()
    net.p = nn.Parameter(nr.ones(1))
    assert "p" in dict(net.named_parameters()) and "p" in dir(net)
    net.p = None
    assert net.p is None and not list(net.parameters())
    net.p = nn.Parameter(nr.zeros(1))
    with pytest.raises(TypeError, match=r"cannot assign 'Tensor' as parameter 'p'.*p\.assign"):
        net.p = nr.ones(1)
    del net.p
    with pytest.raises(AttributeError, match="'Module' object has no attribute 'p'"):
        net.p  # noqa: B018
    net.b = nn.Buffer(nr.ones(2), persistent=False)
    assert net.b.tolist() == [1, 1] and not net.state_dict()
    net.b = nr.zeros(2)
    assert isinstance(net.b, nn.Buffer) and net.b.tolist() == [0, 0]
    net.x = nr.ones(1)
    net.x = net.x + 1
    assert net.x.item() == 2 and not net.state_dict()
    net.x = "text"
    assert net.x == "text"
    with pytest.raises(KeyError, match="already exists"):
        net.register_buffer("x", nr.ones(1))
    with pytest.raises(KeyError, match="name can"):
        net.register_parameter("a.b", None)
    with pytest.raises(TypeError, match="not a Module"):
        net.add_module("m", 3)


def test_forgetting_super_init_is_explained():
    class Net(nn.Module):
        def __init__(self):
            self.fc = nn.Linear(1, 1)

    with pytest.raises(AttributeError, match=r"super\(\)\.__init__\(\) first in Net"):
        Net()
    with pytest.raises(NotImplementedError, match="missing the required"):
        nn.Module()(1)


def test_modes_types_and_requires_grad():
    net = build(nn)
    assert net.training and not net.eval().block.training and net.train().block[0].training
    with pytest.raises(ValueError, match="boolean"):
        net.train(1)
    net.double()
    assert net.scale.dtype == nr.float64 and net.block.norm.num_batches_tracked.dtype == nr.int64 and net.offset.dtype == nr.float64
    net.to(nr.bfloat16)
    assert net.conv.weight.dtype == nr.bfloat16
    net.float().to("cpu:1")
    assert net.conv.weight.device == nr.device("cpu", 1)
    net.to("cpu:0", nr.float64)
    with pytest.raises(TypeError, match="floating point"):
        net.to(nr.int32)
    assert not any(p.requires_grad for p in net.requires_grad_(False).parameters())
    seen = []
    net.apply(lambda m: seen.append(type(m).__name__))
    assert seen[-1] == "Net" and {"Conv2d", "ReLU", "ModuleDict"} <= set(seen)


def test_forward_hooks():
    layer = nn.Linear(2, 2)
    x = nr.ones(1, 2)
    calls = []
    pre = layer.register_forward_pre_hook(lambda m, args: calls.append("pre") or (args[0] * 2,))
    post = layer.register_forward_hook(lambda m, args, out: calls.append("post") or out + 1)
    expected = F.linear(x * 2, layer.weight, layer.bias) + 1
    np.testing.assert_allclose(layer(x).detach().numpy(), expected.detach().numpy())
    assert calls == ["pre", "post"]
    pre.remove()
    post.remove()
    np.testing.assert_allclose(layer(x).detach().numpy(), F.linear(x, layer.weight, layer.bias).detach().numpy())
    with layer.register_forward_hook(lambda m, args, kwargs, out: out * kwargs.get("k", 3), with_kwargs=True):
        np.testing.assert_allclose(layer(x).detach().numpy(), 3 * F.linear(x, layer.weight, layer.bias).detach().numpy(), rtol=1e-6)
    compiled = nr.jit(layer)
    before = compiled(x)
    with layer.register_forward_hook(lambda m, args, out: out * 0):
        assert compiled(x).tolist() == [[0, 0]]
    assert nr.equal(compiled(x), before)


def test_backward_hooks():
    layer = nn.Linear(2, 1, bias=False)
    seen = {}

    def hook(module, grad_input, grad_output):
        seen["in"], seen["out"] = grad_input[0].tolist(), grad_output[0].tolist()
        return (grad_input[0] * 10,)

    layer.register_full_backward_hook(hook)
    x = nr.ones(1, 2, requires_grad=True)
    layer(x).sum().backward()
    np.testing.assert_allclose(seen["in"], layer.weight.tolist())
    assert seen["out"] == [[1]]
    np.testing.assert_allclose(x.grad.numpy(), 10 * layer.weight.detach().numpy())


def test_state_dict_hooks_and_extra_state():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.extra = 1

        def get_extra_state(self):
            return self.extra

        def set_extra_state(self, state):
            self.extra = state

    net, twin = Net(), Net()
    net.extra = 7
    twin.load_state_dict(net.state_dict())
    assert twin.extra == 7
    layer = nn.Linear(1, 1)
    layer.register_state_dict_post_hook(lambda m, state, prefix, meta: state.update(more=nr.ones(1)))
    assert "more" in layer.state_dict()
    other = nn.Linear(1, 1)
    other.register_load_state_dict_pre_hook(lambda m, state, *_: state.pop("more"))
    other.load_state_dict(layer.state_dict())


def test_weight_tying_survives_copies_and_training():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.Embedding(5, 3)
            self.b = nn.Linear(3, 5, bias=False)
            self.b.weight = self.a.weight

        def forward(self, i):
            return self.b(self.a(i))

    net = Net()
    for twin in (net, copy.deepcopy(net)):
        assert twin.a.weight is twin.b.weight and len(list(twin.parameters())) == 1 and len(twin.state_dict()) == 2
    net(nr.tensor([1, 2])).sum().backward()
    theirs = torch.tensor(net.a.weight.detach().numpy().copy(), requires_grad=True)
    (theirs[[1, 2]] @ theirs.T).sum().backward()
    np.testing.assert_allclose(net.a.weight.grad.numpy(), theirs.grad.numpy(), rtol=1e-5)


def test_containers():
    a, b, c = nn.Linear(1, 2), nn.ReLU(), nn.Linear(2, 3)
    seq = nn.Sequential(a, b, c)
    assert seq[0] is a and seq[-1] is c and list(seq[:2]) == [a, b] and isinstance(seq[1:], nn.Sequential) and len(seq) == 3
    seq.append(nn.ReLU()).insert(0, nn.Identity())
    assert len(seq) == 5 and [n for n, _ in seq.named_children()] == ["0", "1", "2", "3", "4"]
    del seq[0]
    seq[1] = nn.Tanh()
    assert isinstance(seq[1], nn.Tanh) and seq.pop(-1) is not None and len(seq) == 3
    assert len(seq + nn.Sequential(b)) == 4
    many = nn.ModuleList(nn.Linear(1, 1) for _ in range(3))
    many += [nn.ReLU()]
    many.extend([nn.ReLU()])
    assert len(many) == 5 and isinstance(many[1:3], nn.ModuleList)
    with pytest.raises(IndexError, match="out of range"):
        many[7]
    table = nn.ModuleDict({"x": a})
    table["y"] = b
    table.update({"z": c})
    assert list(table) == ["x", "y", "z"] and "y" in table and table.pop("y") is b and [k for k, _ in table.items()] == ["x", "z"]


def test_parameters_and_buffers_change_in_place_only():
    p = nn.Parameter(nr.ones(2))
    with pytest.raises(RuntimeError, match=r"leaf Variable that requires grad.*with nr\.no_grad\(\)"):
        p.add_(1)
    with nr.no_grad():
        p.add_(1).mul_(nr.tensor([2.0, 3.0]))
        p[0] = 10
        p -= 1
        assert isinstance(p, nn.Parameter) and p.tolist() == [9, 5]
        p.copy_(nr.zeros(2, dtype=nr.float64)).fill_(3).clamp_(max=2).zero_()
        p.normal_(5.0, 0.0)
        assert p.tolist() == [5, 5] and p.dtype == nr.float32
        with pytest.raises(RuntimeError, match=r"output with shape \(2,\) doesn't match the broadcast shape \(3, 2\)"):
            p.add_(nr.ones(3, 2))
        b = nn.Buffer(nr.tensor([1, 2]))
        with pytest.raises(RuntimeError, match=r"float32 can't be cast to the desired output type .*int64"):
            b.mul_(1.5)
    p.data = nr.ones(3)
    assert p.shape == (3,) and p.assign(nr.ones(1, dtype=nr.float64)).dtype == nr.float64
    assert copy.deepcopy(p) is not p and pickle.loads(pickle.dumps(b)).tolist() == [1, 2]


def test_module_has_pytorchs_public_names():
    ours, theirs = (({n for n in dir(m.Module) if not n.startswith("_")}) for m in (nn, torch.nn))
    assert theirs - ours == {"ipu", "xpu", "mtia"}
    assert set(torch.nn.modules.module.__all__) == set(nn.modules.module.__all__)
    assert nn.modules.Linear is nn.Linear and "Linear" in dir(nn.modules)
    with pytest.raises(AttributeError):
        nn.modules.nothing  # noqa: B018


def test_names_lead_to_what_they_name():
    for m, lib in ((nn, nr), (torch.nn, torch)):
        net = build(m)
        assert net.get_submodule("") is net and net.get_submodule("heads.1") is net.heads[1]
        assert net.get_parameter("block.norm.weight") is net.block.norm.weight and tuple(net.get_buffer("block.norm.running_mean").shape) == (2,)
        for method, name, text in (
            (net.get_submodule, "heads.7", "has no attribute `7`"),
            (net.get_submodule, "scale", "`scale` is not an nn.Module"),
            (net.get_parameter, "block.norm", "`norm` is not an nn.Parameter"),
            (net.get_parameter, "block.nothing", "has no attribute `nothing`"),
            (net.get_buffer, "scale", "`scale` is not a buffer"),
        ):
            with pytest.raises(AttributeError, match=text):
                method(name)
        net.set_submodule("block.norm", m.Identity())
        net.set_submodule("block.new", m.Tanh())
        assert isinstance(net.block.norm, m.Identity) and isinstance(net.block.new, m.Tanh)
        with pytest.raises(AttributeError, match="no attribute `other`"):
            net.set_submodule("block.other", m.Tanh(), strict=True)
        with pytest.raises(AttributeError, match="is not an nn.Module"):
            net.set_submodule("scale", m.Tanh())
        for arguments in (("", m.Tanh()), ("block", 3)):
            with pytest.raises(ValueError, match="submodule|is not an nn.Module"):
                net.set_submodule(*arguments)
        assert len(list(net.modules(remove_duplicate=False))) == len(list(net.modules())) + 1
        assert net.share_memory() is net and net.to_empty(device=None) is net and net.to_empty(device="cpu").scale.shape == lib.ones(1).shape


def test_arguments_of_init_go_to_the_next_class_only_if_asked():
    class Named:
        def __init__(self, name):
            self.name = name

    for m in (nn, torch.nn):
        cls = type("Net", (m.Module, Named), {"call_super_init": True})
        assert cls("x").name == "x"
        with pytest.raises(TypeError, match="got an unexpected keyword argument 'name'"):
            m.Module(name=1)
        with pytest.raises(TypeError, match="takes 1 positional argument but 2 were given"):
            m.Module(1)


def test_gradients_are_dropped_or_set_to_zero():
    layer = nn.Linear(2, 1)
    layer(nr.tensor([float("inf"), 1.0])).backward()
    layer.zero_grad(set_to_none=False)
    assert layer.weight.grad.tolist() == [[0, 0]]
    layer.zero_grad()
    assert layer.weight.grad is None


def test_a_compiled_module_runs_as_one_program_and_its_copies_do_not():
    net = nn.Sequential(nn.Linear(2, 3), nn.Tanh())
    x = nr.ones(4, 2)
    expected = net(x).detach().numpy()
    ran = []
    net[1].register_forward_hook(lambda *_: ran.append(1))
    net.compile(fullgraph=True)
    for _ in range(3):
        np.testing.assert_allclose(net(x).detach().numpy(), expected, rtol=1e-6)
    assert len(ran) == 1
    net.train().eval()
    net[1]._forward_hooks.clear()
    assert "forward" not in vars(copy.deepcopy(net)) and "forward" not in vars(pickle.loads(pickle.dumps(net)))


def test_the_class_of_a_module_can_be_replaced():
    class Twice(nn.Linear):
        def forward(self, input):  # noqa: A002
            return 2 * super().forward(input)

    layer = nn.Linear(2, 1)
    y = layer(nr.ones(2))
    layer.__class__ = Twice
    np.testing.assert_allclose(layer(nr.ones(2)).detach().numpy(), 2 * y.detach().numpy())


def test_unflatten_refuses_sizes_that_are_no_ints():
    for m in (nn, torch.nn):
        for size in (3, (2, 1.5), ("a",)):
            with pytest.raises(TypeError, match="unflattened_size must be"):
                m.Unflatten(1, size)
