"""Averages of models over training, against PyTorch's."""

import copy

import numpy as np
import pytest
import torch

import neurarust_jax as nr
from neurarust_jax import nn
from neurarust_jax.optim import swa_utils

IMAGES = np.random.default_rng(0).standard_normal((4, 6, 2, 3, 3)).astype(np.float32)


def build(library):
    return library.nn.Sequential(library.nn.Conv2d(2, 3, 3), library.nn.BatchNorm2d(3), library.nn.Flatten(), library.nn.Linear(3, 1))


def pair():
    """A model in both libraries."""
    torch.manual_seed(0)
    theirs = build(torch)
    ours = build(nr)
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


def train(library, model, optimizer, images):
    optimizer.zero_grad()
    model(library.tensor(images)).square().mean().backward()
    optimizer.step()


def assert_models_alike(ours, theirs, rtol=1e-4):
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    for name, value in theirs.state_dict().items():
        np.testing.assert_allclose(ours.state_dict()[name].numpy(), value.numpy(), rtol=rtol, atol=1e-6, err_msg=name)


def in_place(average, value, n):
    for a, v in zip(average, value, strict=True):
        if a.is_floating_point():
            a.mul_(0.8).add_(v, alpha=0.2)


MAKERS = {
    "default": lambda utils: {},
    "ema": lambda utils: {"multi_avg_fn": utils.get_ema_multi_avg_fn(0.7)},
    "swa": lambda utils: {"multi_avg_fn": utils.get_swa_multi_avg_fn()},
    "one by one": lambda utils: {"avg_fn": utils.get_ema_avg_fn(0.7)},
    "own function": lambda utils: {"avg_fn": lambda average, value, n: average * 0.5 + value * 0.5 / (n + 1)},
    "own function in place": lambda utils: {"multi_avg_fn": in_place},
    "buffers": lambda utils: {"use_buffers": True},
    "ema with buffers": lambda utils: {"use_buffers": True, "multi_avg_fn": utils.get_ema_multi_avg_fn(0.7)},
}


@pytest.mark.parametrize("options", MAKERS.values(), ids=MAKERS)
def test_averages_equal_pytorchs(options):
    ours, theirs = pair()
    results = []
    for library, model in ((nr, ours), (torch, theirs)):
        utils = library.optim.swa_utils
        average = utils.AveragedModel(model, **options(utils))
        optimizer = library.optim.SGD(model.parameters(), lr=0.1)
        for images in IMAGES:
            train(library, model, optimizer, images)
            average.update_parameters(model)
        results.append(average)
    assert_models_alike(*results)
    assert results[0].n_averaged.item() == 4 and not any(p.requires_grad is False for p in results[0].parameters())
    ours.eval(), results[0].eval(), results[1].eval()
    np.testing.assert_allclose(results[0](nr.tensor(IMAGES[0])).detach().numpy(), results[1](torch.tensor(IMAGES[0])).detach().numpy(), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("options", [MAKERS["default"], MAKERS["ema with buffers"], MAKERS["own function"]], ids=["default", "ema", "own"])
def test_averages_inside_a_compiled_step_equal_eager_ones(options):
    results = []
    for compiled in (False, True):
        model, _ = pair()
        average = swa_utils.AveragedModel(model, **options(swa_utils))
        optimizer = nr.optim.SGD(model.parameters(), lr=0.1)

        def step(images, model=model, optimizer=optimizer, average=average):
            train(nr, model, optimizer, images)
            average.update_parameters(model)

        run = nr.jit(step) if compiled else step
        for images in IMAGES:
            run(nr.tensor(images))
        assert not compiled or sum(map(len, run.programs.values())) == 1
        results.append(average)
    for name, value in results[0].state_dict().items():
        np.testing.assert_allclose(results[1].state_dict()[name].numpy(), value.numpy(), rtol=1e-4, atol=1e-6, err_msg=name)


def test_state_dicts_of_averages_cross():
    ours, theirs = pair()
    mine, other = swa_utils.AveragedModel(ours), torch.optim.swa_utils.AveragedModel(theirs)
    with torch.no_grad():
        theirs[3].weight.fill_(3.0)
    other.update_parameters(theirs)
    mine.load_state_dict(other.state_dict())
    assert mine.n_averaged.item() == 1 and mine.module[3].weight[0, 0].item() == 3
    assert copy.deepcopy(mine).state_dict().keys() == other.state_dict().keys()


def test_batch_normalization_is_updated_as_in_pytorch():
    ours, theirs = pair()
    ours.eval(), theirs.eval()
    swa_utils.update_bn([(nr.tensor(x), 1) for x in IMAGES], ours, device="cpu")
    torch.optim.swa_utils.update_bn([(torch.tensor(x), 1) for x in IMAGES], theirs)
    assert_models_alike(ours, theirs)
    assert not ours.training and ours[1].momentum == 0.1
    swa_utils.update_bn([nr.ones(1, 2)], nn.Linear(2, 1))  # nothing to do


def test_integers_are_averaged_too():
    for library, average in ((nr, nn.Buffer(nr.tensor([2]))), (torch, torch.tensor([2]))):
        library.optim.swa_utils.get_ema_multi_avg_fn(0.5)([average], [library.tensor([5])], 3)
        assert average.item() == 3


@pytest.mark.parametrize("library", [nr, torch], ids=["ours", "pytorch"])
def test_bad_arguments_raise_pytorchs_errors(library):
    utils, model = library.optim.swa_utils, library.nn.Linear(1, 1)
    for make in (utils.get_ema_avg_fn, utils.get_ema_multi_avg_fn):
        with pytest.raises(ValueError, match="Invalid decay value 1.5 provided"):
            make(1.5)
    with pytest.raises(AssertionError, match="Only one of avg_fn and multi_avg_fn"):
        utils.AveragedModel(model, avg_fn=max, multi_avg_fn=max)
    optimizer = library.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(ValueError, match="anneal_strategy must be one of"):
        utils.SWALR(optimizer, 0.1, anneal_strategy="no")
    with pytest.raises(ValueError, match="anneal_epochs must be equal or greater than 0"):
        utils.SWALR(optimizer, 0.1, anneal_epochs=-1)
