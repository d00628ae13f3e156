"""Containers of modules and parameters, each scenario in both libraries."""

import copy
import pickle
import warnings
from collections import OrderedDict

import numpy as np
import pytest
import torch

import neurarust_jax as nr
from neurarust_jax import nn

from .test_module_hooks import plain


def both(scenario):
    """What a scenario returns is the same in both libraries; errors are noted by their class."""
    assert plain(scenario(nr)) == plain(scenario(torch))


def raised(function, *arguments):
    """The builtin class of the error that a call raises."""
    try:
        function(*arguments)
    except Exception as error:
        return next(k.__name__ for k in (IndexError, KeyError, ValueError, TypeError, AssertionError, RuntimeError, AttributeError) if isinstance(error, k))
    return None


def test_sequential_has_the_operations_of_a_list():
    def scenario(lib):
        m = lib.nn
        seq = m.Sequential(m.Linear(1, 2), m.ReLU(), m.Linear(2, 3))
        seq.append(m.Tanh()).insert(0, m.Identity()).extend([m.ELU(), m.Flatten()])
        notes = [repr(seq), len(seq), [n for n, _ in seq.named_children()]]
        del seq[0]
        del seq[-2:]
        seq[1] = m.Tanh()
        notes += [repr(seq), repr(seq[1:]), repr(seq[-1]), repr(seq.pop(-1)), repr(seq.pop(slice(0, 1))), repr(seq)]
        notes += [repr(seq + m.Sequential(m.ReLU())), repr(seq * 2), repr(2 * seq)]
        seq += m.Sequential(m.ReLU())
        seq *= 3
        notes += [repr(seq), sorted(d for d in dir(seq) if d[0] in "0123456789")]
        notes += [raised(lambda: seq[77]), raised(lambda: seq + [1]), raised(lambda: seq * 0), raised(lambda: seq * "a"), raised(seq.insert, 99, m.ReLU()),
                  raised(seq.insert, 0, 3), raised(seq.append, 3), raised(m.Sequential, 3)]  # fmt: skip
        named = m.Sequential(OrderedDict(a=m.ReLU(), b=m.Tanh()))
        notes += [repr(named), repr(named[:1]), repr(named.a), list(named.state_dict())]
        return notes

    both(scenario)


def test_module_list_has_the_operations_of_a_list():
    def scenario(lib):
        m = lib.nn
        many = m.ModuleList(m.Linear(1, 1) for _ in range(3))
        many += [m.ReLU()]
        many.extend([m.ReLU(), m.Tanh()])
        many.insert(1, m.ELU())
        notes = [repr(many), len(many), repr(many[1:3]), repr(many[-1]), repr(many + [m.GELU()]), repr(m.ModuleList())]
        del many[0]
        del many[1:3]
        many[0] = m.Sequential(m.Tanh(), m.Tanh())
        notes += [repr(many), repr(many.pop(0)), [n for n, _ in many.named_modules()]]
        notes += [raised(lambda: many[7]), raised(many.extend, 3), raised(many.append, "a"), raised(many, 1)]
        return notes

    both(scenario)


def test_module_dict_has_the_operations_of_a_dict():
    def scenario(lib):
        m = lib.nn
        table = m.ModuleDict({"x": m.ReLU(), "w": m.Linear(1, 1)})
        table["y"] = m.Tanh()
        table["x"] = m.ELU()
        table.update([("z", m.ReLU())])
        table.update(m.ModuleDict({"v": m.Tanh()}))
        notes = [repr(table), list(table), "y" in table, len(table), repr(table.pop("y")), list(table.keys()), [repr(v) for v in table.values()]]
        del table["z"]
        notes += [[k for k, _ in table.items()], list(table.state_dict())]
        notes += [raised(table.update, 3), raised(table.update, [3]), raised(table.update, [("a", m.ReLU(), 1)]), raised(lambda: table["q"]), raised(table.update, {"a.b": m.ReLU()})]
        table.clear()
        return [*notes, len(table), repr(table)]

    both(scenario)


def test_parameter_list_has_the_operations_of_a_list():
    def scenario(lib):
        m = lib.nn
        many = m.ParameterList([m.Parameter(lib.ones(2)), lib.zeros(3), 5])
        many += [lib.ones(1)]
        many.append("text").extend([m.Parameter(lib.ones(1), requires_grad=False)])
        many[1] = lib.ones(3) * 2
        notes = [repr(many).replace("neurarust_jax.", "torch."), len(many), [n for n, _ in many.named_parameters()], [type(v).__name__ for v in many]]
        notes += [many[1], list(many[::2])[1], [p.requires_grad for p in many.parameters()], list(many.state_dict())]
        notes += [raised(lambda: many[9]), raised(many.extend, 3), raised(many.extend, lib.ones(2)), raised(many, 1), many[-1]]
        return notes

    both(scenario)


def test_parameter_dict_has_the_operations_of_a_dict():
    def scenario(lib):
        m = lib.nn
        table = m.ParameterDict({"b": m.Parameter(lib.ones(2)), "a": lib.zeros(1)})
        table["c"] = 3
        table.update(OrderedDict(z=lib.ones(1), y=lib.ones(1)))
        table.update([("x", lib.ones(1))])
        notes = [list(table), list(reversed(table)), len(table), "b" in table, table["b"], [n for n, _ in table.named_parameters()]]
        notes += [table.pop("x"), table.popitem(), table.get("q", 1), table.get("c"), table.setdefault("n", lib.ones(1)), table.setdefault("c", 9), list(table.keys())]
        other = m.ParameterDict(OrderedDict(b=lib.ones(1) * 7, r=lib.ones(1)))
        both = table | other
        table |= other
        notes += [both["b"], list(both), list(table), len(table.copy()), [k for k, _ in table.items()], len(list(table.values())), list(table.state_dict())]
        notes += [list(table.fromkeys(["k", "l"], 1).values())]
        notes += [raised(lambda: table[3]), raised(table, 1), raised(lambda: table["nothing"]), raised(table.update, 3), raised(table.update, [(1,)])]
        del table["b"]
        table.clear()
        return [*notes, len(table), raised(table.popitem)]

    both(scenario)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.scales = nn.ParameterList([nr.ones(2), nr.ones(2) * 2])
        self.shifts = nn.ParameterDict({"a": nr.zeros(2)})

    def forward(self, x):
        for scale in self.scales:
            x = x * scale
        return x + self.shifts["a"]


def test_containers_of_parameters_train_save_and_copy():
    net = Net()
    assert list(net.state_dict()) == ["scales.0", "scales.1", "shifts.a"]
    step = nr.jit(lambda x: net(x).sum().backward())
    step(nr.ones(2))
    assert net.scales[0].grad.tolist() == [2, 2] and net.shifts["a"].grad.tolist() == [1, 1]
    for twin in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        twin.load_state_dict(net.state_dict())
        np.testing.assert_array_equal(twin(nr.ones(2)).detach().numpy(), [2, 2])


def test_container_is_deprecated():
    for m in (nn, torch.nn):
        with pytest.warns(FutureWarning, match="nn.Container"):
            c = m.Container(a=m.ReLU())
        assert repr(c.a) == "ReLU()"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        nn.Sequential(nn.ReLU())
