"""Training that goes from PyTorch's files to ours and back, and state dicts that load wholly or not at all."""

import numpy as np
import pytest
import torch

import neurarust_jax as nr
import neurarust_jax.nn.functional as F
from neurarust_jax import nn, optim


def models(library):
    return library.nn.Sequential(
        library.nn.Conv2d(1, 4, 3, padding=1), library.nn.BatchNorm2d(4), library.nn.ReLU(), library.nn.Flatten(), library.nn.Linear(4 * 36, 16), library.nn.GELU(),
        library.nn.LayerNorm(16), library.nn.Linear(16, 3),
    )  # fmt: skip


@pytest.mark.parametrize("ending", ["pt", "safetensors"])
def test_weights_of_pytorch_are_trained_here_and_agree_at_both_ends(tmp_path, ending):
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    batches = [(rng.standard_normal((8, 1, 6, 6), np.float32), rng.integers(0, 3, 8)) for _ in range(20)]
    probe = rng.standard_normal((5, 1, 6, 6), np.float32)
    theirs, path = models(torch), tmp_path / f"weights.{ending}"
    if ending == "pt":
        torch.save(theirs.state_dict(), path)
    else:
        from safetensors.torch import save_file

        save_file(theirs.state_dict(), path)
    ours = models(nr)
    ours.load_state_dict(nr.load(path))

    def logits(model, library):
        model.eval()
        with library.no_grad():
            result = model(library.tensor(probe)).numpy()
        model.train()
        return result

    np.testing.assert_allclose(logits(ours, nr), logits(theirs, torch), rtol=1e-5, atol=1e-6)
    ours.train()
    optimizer, other = optim.SGD(ours.parameters(), lr=0.05, momentum=0.9), torch.optim.SGD(theirs.parameters(), lr=0.05, momentum=0.9)

    @nr.jit
    def step(x, y):
        optimizer.zero_grad()
        loss = F.cross_entropy(ours(x), y)
        loss.backward()
        optimizer.step()
        return loss

    for x, y in batches:
        loss = step(nr.tensor(x), nr.tensor(y))
        other.zero_grad()
        expected = torch.nn.functional.cross_entropy(theirs(torch.tensor(x)), torch.tensor(y))
        expected.backward()
        other.step()
        np.testing.assert_allclose(loss.item(), expected.item(), rtol=1e-3)
    nr.save(ours.state_dict(), path)
    back = models(torch)
    if ending == "pt":
        back.load_state_dict(torch.load(path, weights_only=True))
    else:
        from safetensors.torch import load_file

        back.load_state_dict(load_file(path))
    np.testing.assert_allclose(logits(back, torch), logits(ours, nr), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(logits(back, torch), logits(theirs, torch), rtol=1e-2, atol=1e-3)


def snapshot(module):
    return {name: value.numpy(force=True).tobytes() for name, value in module.state_dict().items() if isinstance(value, nr.Tensor)}


def test_a_module_changes_wholly_or_not_at_all():
    class WithExtra(nn.Linear):
        def get_extra_state(self):
            return self.__dict__.get("extra", 0)

        def set_extra_state(self, state):
            self.extra = state
            if state == "bad":
                raise RuntimeError("this extra state is bad")

    model = nn.Sequential(nn.Linear(2, 3), WithExtra(3, 3), nn.BatchNorm1d(3), nn.Linear(3, 1))
    before = snapshot(model)
    good = {name: value + 1 if isinstance(value, nr.Tensor) else 5 for name, value in model.state_dict().items()}
    for wrong in (
        {**good, "3.bias": nr.ones(2)}, {**good, "3.bias": "text"}, {**good, "more": nr.ones(1)}, {k: v for k, v in good.items() if k != "3.weight"},
        {**good, "1._extra_state": "bad"},
    ):  # fmt: skip
        with pytest.raises(RuntimeError):
            model.load_state_dict(wrong)
        assert snapshot(model) == before and model[1].get_extra_state() == 0
    handle = model[0].register_load_state_dict_post_hook(lambda module, keys: None)  # the values of earlier modules are written before it runs
    with pytest.raises(RuntimeError, match="size mismatch for 3.bias"):
        model.load_state_dict({**good, "3.bias": nr.ones(2)})
    assert snapshot(model) == before
    handle.remove()
    model.load_state_dict(good)
    assert snapshot(model) != before and model[1].extra == 5


@pytest.mark.parametrize(
    "spoil",
    [
        lambda s: s["state"][1].update(exp_avg=nr.ones(7)),
        lambda s: s["state"][1].update(step="three"),
        lambda s: s["state"][1].update(step=nr.ones(2)),
        lambda s: s["state"][1].update(exp_avg="text"),
        lambda s: s["param_groups"][0].update(params=[0]),
        lambda s: s["param_groups"].append(s["param_groups"][0]),
    ],
)
def test_an_optimizer_changes_wholly_or_not_at_all(spoil):
    model = nn.Linear(3, 2)
    optimizer = optim.Adam(model.parameters(), lr=0.5)

    def train():
        optimizer.zero_grad()
        model(nr.ones(1, 3)).square().sum().backward()
        optimizer.step()

    train()
    saved = optimizer.state_dict()
    saved["param_groups"][0]["lr"] = 0.25
    saved["state"] = {i: dict(entries) for i, entries in saved["state"].items()}
    spoil(saved)
    train()
    before = str(optimizer.state_dict())
    with pytest.raises((RuntimeError, ValueError, TypeError)):
        optimizer.load_state_dict(saved)
    assert str(optimizer.state_dict()) == before and optimizer.param_groups[0]["lr"] == 0.5
    train()
