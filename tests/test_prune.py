"""`nn.utils.prune` against PyTorch."""

import copy
import pickle

import numpy as np
import pytest
import torch
import torch.nn.utils.prune

import neurarust_jax as nr
from neurarust_jax import nn
from neurarust_jax.nn.utils import prune
from tests.oracle import assert_same

G = np.random.default_rng(0)
LIBRARIES = ((nn, nr), (torch.nn, torch))


def twins(name="Linear", *arguments):
    torch.manual_seed(0)
    ours, theirs = getattr(nn, name)(*arguments or (6, 5)), getattr(torch.nn, name)(*arguments or (6, 5))
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


def same(ours, theirs):
    assert list(ours.state_dict()) == list(theirs.state_dict())
    for name, value in theirs.state_dict().items():
        assert_same(ours.state_dict()[name], value)
    assert_same(ours.weight, theirs.weight)


def test_names_are_pytorchs():
    theirs = {n for n, v in vars(torch.nn.utils.prune).items() if getattr(v, "__module__", "") == "torch.nn.utils.prune" and not n.startswith("_")}
    assert theirs == set(prune.__all__)


def test_the_least_elements_and_channels_are_pruned_one_method_after_the_other():
    for name, arguments in (("Linear", (6, 5)), ("Conv2d", (3, 4, 2))):
        ours, theirs = twins(name, *arguments)
        weight, names = ours.weight, [n for n, _ in ours.named_parameters()]
        for layer, m in ((ours, nn), (theirs, torch.nn)):
            p = m.utils.prune
            assert not p.is_pruned(layer)
            assert p.l1_unstructured(layer, "weight", amount=0.2) is layer
            assert p.is_pruned(layer) and p.is_pruned(m.Sequential(layer))
        same(ours, theirs)
        for layer, m in ((ours, nn), (theirs, torch.nn)):
            p = m.utils.prune
            p.ln_structured(layer, "weight", amount=1, n=2, dim=0)
            p.ln_structured(layer, "weight", amount=0.3, n=float("inf"), dim=-1)
            p.l1_unstructured(layer, "weight", amount=3)
            p.identity(layer, "bias")
        same(ours, theirs)
        (hook,) = [h for h in ours._forward_pre_hooks.values() if h._tensor_name == "weight"]
        assert isinstance(hook, prune.PruningContainer) and [type(h).__name__ for h in hook] == ["L1Unstructured", "LnStructured", "LnStructured", "L1Unstructured"]
        assert len(hook) == 4 and isinstance(hook[0], prune.L1Unstructured)
        assert ours.weight_orig is weight
        for layer, m in ((ours, nn), (theirs, torch.nn)):
            m.utils.prune.remove(layer, "weight")
            m.utils.prune.remove(layer, "bias")
        same(ours, theirs)
        assert ours.weight is weight and sorted(n for n, _ in ours.named_parameters()) == sorted(names) and not prune.is_pruned(ours)


def test_pruned_elements_get_no_gradient_and_stay_zero_in_training():
    layer = prune.l1_unstructured(nn.Linear(4, 3), "weight", 0.5)
    optimizer = nr.optim.SGD(layer.parameters(), lr=0.1)
    x = nr.tensor(G.standard_normal((5, 4)).astype(np.float32))

    @nr.jit
    def step():
        optimizer.zero_grad()
        (layer(x) ** 2).sum().backward()
        optimizer.step()

    mask, before = layer.weight_mask.numpy().copy(), layer.weight_orig.detach().numpy().copy()
    for _ in range(2):
        step()
    after = layer.weight_orig.detach().numpy()
    assert ((before != after) == (mask == 1)).all() and (layer.weight_orig.grad.numpy()[mask == 0] == 0).all()
    np.testing.assert_array_equal(prune.remove(layer, "weight").weight.detach().numpy(), after * mask)
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        np.testing.assert_array_equal(twin(x).detach().numpy(), layer(x).detach().numpy())


def test_importance_scores_decide_instead_of_the_parameter():
    scores = G.standard_normal((5, 6)).astype(np.float32)
    ours, theirs = twins()
    for layer, m, s in ((ours, nn, nr.tensor(scores)), (theirs, torch.nn, torch.tensor(scores))):
        m.utils.prune.l1_unstructured(layer, "weight", 7, importance_scores=s)
        m.utils.prune.ln_structured(layer, "weight", 2, n=1, dim=1, importance_scores=s)
        with pytest.raises(AssertionError, match="should have the same shape"):
            m.utils.prune.l1_unstructured(layer, "bias", 1, importance_scores=s)
        assert isinstance(layer.bias, m.Parameter)
    same(ours, theirs)


def test_random_pruning_takes_the_asked_amount():
    nr.manual_seed(0)
    masks = set()
    for _ in range(3):
        layer = prune.random_unstructured(nn.Linear(6, 5), "weight", amount=0.4)
        assert (layer.weight_mask == 0).sum().item() == 12
        prune.random_unstructured(layer, "weight", amount=5)
        assert (layer.weight_mask == 0).sum().item() == 17
        prune.random_structured(layer, "weight", amount=2, dim=1)
        assert (layer.weight_mask.sum(0) == 0).sum().item() >= 2
        masks.add(tuple(layer.weight_mask.numpy().ravel()))
    assert len(masks) == 3
    untouched = prune.random_structured(nn.Linear(6, 5), "weight", amount=0, dim=0)
    assert untouched.weight_mask.numpy().all()
    assert (prune.random_structured(nn.Conv2d(4, 6, 3), "weight", amount=0.5, dim=0).weight_mask.sum((1, 2, 3)) == 0).sum().item() == 3


def test_global_pruning_takes_parameters_as_one():
    results = []
    for m, lib in LIBRARIES:
        torch.manual_seed(1)
        source = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.Linear(3, 2))
        net = m.Sequential(m.Linear(4, 3), m.Linear(3, 2))
        net.load_state_dict(source.state_dict())
        pairs = [(net[0], "weight"), (net[1], "weight"), (net[1], "bias")]
        p = m.utils.prune
        p.global_unstructured(pairs, pruning_method=p.L1Unstructured, amount=6)
        p.global_unstructured(pairs, pruning_method=p.L1Unstructured, amount=0.25, importance_scores={(net[1], "bias"): lib.zeros(2)})
        results.append({n: np.asarray(v.tolist()) for n, v in net.state_dict().items()})
        with pytest.raises(TypeError, match='Only "unstructured" PRUNING_TYPE'):
            p.global_unstructured(pairs, pruning_method=p.LnStructured, amount=1, n=1)
        with pytest.raises(TypeError, match="not an Iterable"):
            p.global_unstructured(3, p.L1Unstructured, amount=1)
        with pytest.raises(TypeError, match="must be of type dict"):
            p.global_unstructured(pairs, p.L1Unstructured, importance_scores=[1], amount=1)
    assert list(results[0]) == list(results[1])
    for name in results[0]:
        np.testing.assert_allclose(results[0][name], results[1][name], rtol=1e-6)


def test_masks_of_the_users_own():
    for m, lib in LIBRARIES:
        layer = m.utils.prune.custom_from_mask(m.Linear(5, 3), "bias", mask=lib.tensor([0, 1, 0]))
        assert layer.bias_mask.tolist() == [0, 1, 0] and layer.bias[0].item() == 0
        m.utils.prune.custom_from_mask(layer, "bias", mask=lib.tensor([1, 0, 1]))
        assert layer.bias_mask.tolist() == [0, 0, 0] and layer(lib.ones(5)).shape == (3,)
        pruned = m.utils.prune.L1Unstructured(amount=2).prune(lib.tensor([3.0, -1.0, 0.5, 2.0]), default_mask=lib.tensor([0.0, 1.0, 1.0, 1.0]))
        assert pruned.tolist() == [0, 0, 0, 2]
        with pytest.raises(AssertionError, match="same shape as tensor t"):
            m.utils.prune.L1Unstructured(amount=2).prune(lib.ones(4), importance_scores=lib.ones(3))


def test_refusals():
    for m, _ in LIBRARIES:
        p = m.utils.prune
        for amount, kind in ((-1, ValueError), (1.5, ValueError), (-0.1, ValueError), ("a", TypeError), (100, ValueError)):
            layer = m.Linear(3, 3)
            with pytest.raises(kind, match="amount"):
                p.l1_unstructured(layer, "weight", amount)
            assert isinstance(layer.weight, m.Parameter) and not p.is_pruned(layer) and sorted(layer.state_dict()) == ["bias", "weight"]
        with pytest.raises(ValueError, match="multidimensional"):
            p.ln_structured(m.Linear(3, 3), "bias", 1, n=2, dim=0)
        with pytest.raises(IndexError, match="Invalid index"):
            p.random_structured(m.Linear(3, 3), "weight", 1, dim=2)
        with pytest.raises(ValueError, match="has to be pruned before"):
            p.remove(m.Linear(3, 3), "weight")
        container = p.PruningContainer()
        with pytest.raises(TypeError, match="not a BasePruningMethod"):
            container.add_pruning_method(3)
        container._tensor_name = "a"
        method = p.Identity()
        method._tensor_name = "b"
        with pytest.raises(ValueError, match="Can only add pruning methods acting on"):
            container.add_pruning_method(method)
        with pytest.raises(TypeError, match="abstract"):
            p.BasePruningMethod()
