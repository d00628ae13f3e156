"""Hooks of modules, and hooks common to all of them: each scenario runs in PyTorch too, and what it notes down must be the same."""

import copy
import pickle
import warnings

import numpy as np
import pytest
import torch

import neurarust_jax as nr
from neurarust_jax import nn


def plain(x):
    """Tensors as lists, so that notes of both libraries compare."""
    if isinstance(x, nr.Tensor | torch.Tensor):
        return np.round(np.asarray(x.detach().tolist()), 4).tolist()
    if isinstance(x, dict):
        return {k: plain(v) for k, v in x.items()}
    return type(x)(map(plain, x)) if isinstance(x, list | tuple) else x


def both(scenario):
    """Run ``scenario(lib, notes)`` with both libraries; the notes must agree."""
    ours, theirs = [], []
    scenario(nr, ours)
    scenario(torch, theirs)
    assert plain(ours) == plain(theirs)
    assert ours


def test_forward_hooks_replace_come_in_order_and_take_keywords():
    def scenario(lib, notes):
        class Net(lib.nn.Module):
            def forward(self, x, k=1):
                return x * k

        net = Net()
        net.register_forward_pre_hook(lambda m, args: notes.append("second") or (args[0] + 1,))
        net.register_forward_pre_hook(lambda m, args: notes.append("first"), prepend=True)
        net.register_forward_pre_hook(lambda m, args, kwargs: (args, {"k": kwargs["k"] + 1}), with_kwargs=True)
        net.register_forward_hook(lambda m, args, out: notes.append(("out", out)) or out * 2)
        handle = net.register_forward_hook(lambda m, args, kwargs, out: notes.append((args, kwargs, out)), with_kwargs=True, prepend=True)
        notes.append(net(lib.ones(2), k=3))
        handle.remove()
        notes.append(net(lib.ones(2), k=3))
        net.register_forward_pre_hook(lambda m, args, kwargs: args, with_kwargs=True)
        with pytest.raises(RuntimeError, match="forward pre-hook must return None or a tuple"):
            net(lib.ones(2), k=3)

    both(scenario)


def test_hooks_that_are_always_called_are_called_when_forward_raises():
    def scenario(lib, notes):
        class Net(lib.nn.Module):
            def forward(self, x):
                raise KeyError("inside")

        net = Net()
        net.register_forward_hook(lambda m, args, out: notes.append("never"))
        net.register_forward_hook(lambda m, args, out: notes.append(("always", out)), always_call=True)
        net.register_forward_hook(lambda m, args, kwargs, out: notes.append(("kwargs", kwargs)), always_call=True, with_kwargs=True)
        with pytest.raises(KeyError, match="inside"):
            net(lib.ones(1))
        net.register_forward_hook(lambda m, args, out: 1 / 0, always_call=True)
        with pytest.raises(KeyError, match="inside"), pytest.warns(UserWarning, match="silenced"):
            net(lib.ones(1))

    both(scenario)


def test_backward_hooks_see_and_replace_gradients():
    def scenario(lib, notes):
        class Net(lib.nn.Module):
            def forward(self, a, b, scale):
                return a * 2 * scale, b.sum(), a * 3

        net = Net()
        a, b = lib.ones(2, requires_grad=True), lib.ones(2)
        net.register_full_backward_pre_hook(lambda m, go: notes.append(("pre", go)))
        net.register_full_backward_pre_hook(lambda m, go: (go[0] * 10, *go[1:]))
        net.register_full_backward_hook(lambda m, gi, go: notes.append(("full", gi[0], gi[2], go)))
        net.register_full_backward_hook(lambda m, gi, go: (gi[0] + 1, *gi[1:]))
        net.register_full_backward_hook(lambda m, gi, go: notes.append("first"), prepend=True)
        x, y, z = net(a, b, 4)
        notes += [y.requires_grad, x.requires_grad]
        (x + z).sum().backward()
        notes.append(a.grad)

    both(scenario)


def test_backward_hooks_fire_at_the_outputs_when_no_input_requires_grad():
    def scenario(lib, notes):
        layer = lib.nn.Linear(2, 1)
        with lib.no_grad():
            layer.weight.fill_(2.0)
        layer.register_full_backward_hook(lambda m, gi, go: notes.append((gi, go)))
        y = layer(lib.ones(2))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            y.backward()
        notes.append(layer.weight.grad.tolist())
        layer.register_full_backward_hook(lambda m, gi, go: (1, 2))
        with pytest.raises(RuntimeError, match="invalid number of grad_input, got 2, but expected 1"):
            layer(lib.ones(2, requires_grad=True)).backward()

    both(scenario)


def test_backward_hooks_hold_inside_compiled_functions():
    layer = nn.Linear(2, 1, bias=False)
    layer.register_full_backward_hook(lambda m, gi, go: (gi[0] * 10,))
    x = nr.nn.Parameter(nr.ones(1, 2))

    @nr.jit
    def step():
        layer(x).sum().backward()

    step()
    np.testing.assert_allclose(x.grad.numpy(), 10 * layer.weight.detach().numpy(), rtol=1e-6)
    z = nr.ones(1, 2, requires_grad=True)
    nr.jit(layer)(z).sum().backward()
    np.testing.assert_allclose(z.grad.numpy(), 10 * layer.weight.detach().numpy(), rtol=1e-6)


def test_hooks_common_to_all_modules():
    def scenario(lib, notes):
        common = lib.nn.modules.module
        layer = lib.nn.ReLU()
        layer.register_forward_hook(lambda m, args, out: notes.append("own"))
        handles = [
            common.register_module_forward_pre_hook(lambda m, args: notes.append(("pre", args))),
            common.register_module_forward_hook(lambda m, args, out: notes.append(("post", out)) or out * 2),
            common.register_module_forward_hook(lambda m, args, kwargs, out: notes.append(kwargs), with_kwargs=True),
            common.register_module_full_backward_hook(lambda m, gi, go: notes.append((gi, go))),
            common.register_module_full_backward_pre_hook(lambda m, go: notes.append(go)),
        ]
        x = lib.ones(2, requires_grad=True)
        layer(x).sum().backward()
        notes.append(x.grad)
        for handle in handles:
            handle.remove()
        notes.append(layer(x).detach())

    both(scenario)


def test_hooks_common_to_all_modules_reach_compiled_functions():
    layer = nn.ReLU()
    compiled = nr.jit(layer)
    x = nr.ones(2)
    assert compiled(x).tolist() == [1, 1]
    with nn.modules.module.register_module_forward_hook(lambda m, args, out: out * 3):
        assert compiled(x).tolist() == [3, 3]
    assert compiled(x).tolist() == [1, 1]


def test_registration_hooks():
    def scenario(lib, notes):
        common = lib.nn.modules.module
        handles = [
            common.register_module_parameter_registration_hook(lambda m, name, p: notes.append(("parameter", name))),
            common.register_module_buffer_registration_hook(lambda m, name, b: notes.append(("buffer", name)) or (None if b is None else b * 2)),
            common.register_module_module_registration_hook(lambda m, name, c: notes.append(("module", name))),
        ]
        net = lib.nn.Module()
        net.a = lib.nn.Parameter(lib.ones(1))
        net.register_buffer("b", lib.ones(1))
        net.c = lib.nn.ReLU()
        net.add_module("d", lib.nn.ReLU())
        for handle in handles:
            handle.remove()
        notes.append(net.b)
        net.e = lib.nn.ReLU()

    both(scenario)


def test_state_dict_hooks():
    def scenario(lib, notes):
        net = lib.nn.Sequential(lib.nn.Linear(1, 1), lib.nn.Linear(1, 1))
        net.register_state_dict_pre_hook(lambda m, prefix, keep: notes.append(("pre", prefix, keep)))
        net.register_state_dict_post_hook(lambda m, state, prefix, meta: notes.append((sorted(state), prefix, meta)) or state.update(more=1))
        net[1].register_state_dict_post_hook(lambda m, state, prefix, meta: notes.append((prefix, meta)))
        state = net.state_dict(prefix="p.")
        notes += [sorted(state), {k: dict(v) for k, v in state._metadata.items()}]
        net._register_state_dict_hook(lambda m, state, prefix, meta: {"only": 1})
        notes.append(net.state_dict())
        net.register_state_dict_post_hook(lambda m, state, prefix, meta: state)
        with pytest.raises(RuntimeError, match="must return None"):
            net.state_dict()
        with pytest.warns(FutureWarning, match="Positional args"):
            notes.append(sorted(lib.nn.Linear(1, 1).state_dict({}, "x.")))

    both(scenario)


def test_hooks_before_and_after_loading():
    def scenario(lib, notes):
        net = lib.nn.Sequential(lib.nn.Linear(1, 1), lib.nn.Linear(1, 1, bias=False))
        state = {f"old.{k}": v * 0 + 7 for k, v in net.state_dict().items() if k != "1.weight"}

        def rename(module, state_dict, prefix, meta, strict, missing, unexpected, errors):
            notes.append(("load", prefix, strict))
            for key in [k for k in state_dict if k.startswith("old.")]:
                state_dict[key[4:]] = state_dict.pop(key)

        def forgive(module, keys):
            notes.append((list(keys.missing_keys), list(keys.unexpected_keys)))
            keys.missing_keys.clear()

        net.register_load_state_dict_pre_hook(rename)
        net[0].register_load_state_dict_post_hook(lambda m, keys: notes.append(m.weight.detach()))
        net[0]._register_load_state_dict_pre_hook(lambda state_dict, prefix, *_: notes.append((sorted(state_dict), prefix)))
        handle = net.register_load_state_dict_post_hook(forgive)
        notes.append(repr(net.load_state_dict(dict(state))))
        notes.append(net[0].bias)
        handle.remove()
        with pytest.raises(RuntimeError, match='Missing key.s. in state_dict: "1.weight"'):
            net.load_state_dict(dict(state))
        net.register_load_state_dict_post_hook(lambda m, keys: keys)
        with pytest.raises(AssertionError, match="not expected to return new values"):
            net.load_state_dict(dict(state), strict=False)

    both(scenario)


def test_a_subclass_reads_an_older_format():
    def scenario(lib, notes):
        class Scale(lib.nn.Module):
            _version = 2

            def __init__(self):
                super().__init__()
                self.factor = lib.nn.Parameter(lib.ones(1))

            def _save_to_state_dict(self, destination, prefix, keep_vars):
                super()._save_to_state_dict(destination, prefix, keep_vars)
                destination[prefix + "extra"] = lib.zeros(1)

            def _load_from_state_dict(self, state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs):
                notes.append((local_metadata.get("version"), prefix))
                if local_metadata.get("version", 1) < 2:
                    state_dict[prefix + "factor"] = state_dict.pop(prefix + "scale")
                state_dict.pop(prefix + "extra", None)
                super()._load_from_state_dict(state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs)

        net = lib.nn.Sequential(Scale())
        notes.append(sorted(net.state_dict()))
        notes.append(repr(net.load_state_dict(net.state_dict())))
        notes.append(repr(net.load_state_dict({"0.scale": lib.ones(1) * 5})))
        notes.append(net[0].factor)

    both(scenario)


def test_hooks_are_copied_and_pickled_with_their_module():
    layer = nn.Linear(2, 2)
    layer.register_forward_hook(_doubled)
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        np.testing.assert_allclose(twin(nr.ones(2)).detach().numpy(), layer(nr.ones(2)).detach().numpy())
        twin.register_forward_hook(_doubled)
        np.testing.assert_allclose(twin(nr.ones(2)).detach().numpy(), 2 * layer(nr.ones(2)).detach().numpy())


def _doubled(module, args, output):
    return output * 2
