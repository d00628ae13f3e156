"""Normalizations of `nn.functional` against PyTorch: running statistics, dtypes, errors; lazy layers and old state dicts."""

from collections import OrderedDict

import numpy as np
import pytest
import torch
import torch.nn.functional as TF

import neurarust_jax as nr
import neurarust_jax.nn.functional as F
from tests.oracle import assert_same, check, check_both_raise

G = np.random.default_rng(0)


def normal(*shape):
    return G.standard_normal(shape).astype(np.float32)


MEAN, VAR = normal(4), np.abs(normal(4))


@pytest.mark.parametrize("shape", [(5, 4), (3, 4, 5), (2, 4, 3, 2)])
@pytest.mark.parametrize("training", [True, False])
def test_batch_norm(shape, training):
    w, b = normal(4), normal(4)
    check(
        lambda x, w, b: F.batch_norm(x, nr.tensor(MEAN), nr.tensor(VAR), w, b, training, eps=0.1),
        lambda x, w, b: TF.batch_norm(x, torch.tensor(MEAN), torch.tensor(VAR), w, b, training, eps=0.1),
        normal(*shape), w, b,
    )  # fmt: skip


@pytest.mark.parametrize("function", ["batch_norm", "instance_norm"])
@pytest.mark.parametrize("momentum", [0.1, 0.0, 1.0])
def test_running_statistics_are_written_into_cells(function, momentum):
    x = normal(3, 4, 5)
    ours, theirs = [nr.nn.Buffer(nr.tensor(v)) for v in (MEAN, VAR)], [torch.tensor(v.copy()) for v in (MEAN, VAR)]
    getattr(F, function)(nr.tensor(x), *ours, **{"training" if function == "batch_norm" else "use_input_stats": True}, momentum=momentum)
    getattr(TF, function)(torch.tensor(x), *theirs, **{"training" if function == "batch_norm" else "use_input_stats": True}, momentum=momentum)
    for a, b in zip(ours, theirs, strict=True):
        assert_same(nr.tensor(np.asarray(a)), b)
    plain = nr.tensor(MEAN)
    F.batch_norm(nr.tensor(x), plain, nr.tensor(VAR), training=True)
    np.testing.assert_array_equal(plain.numpy(), MEAN)


def test_an_empty_batch_leaves_the_running_statistics():
    mean = nr.nn.Buffer(nr.zeros(3))
    assert F.batch_norm(nr.ones(0, 3, 2), mean, nr.nn.Buffer(nr.ones(3)), training=True).shape == (0, 3, 2)
    assert (mean == 0).all()


@pytest.mark.parametrize("use_input_stats", [True, False])
def test_instance_norm(use_input_stats):
    check(
        lambda x, w, b: F.instance_norm(x, nr.tensor(MEAN), nr.tensor(VAR), w, b, use_input_stats),
        lambda x, w, b: TF.instance_norm(x, torch.tensor(MEAN), torch.tensor(VAR), w, b, use_input_stats),
        normal(3, 4, 5, 2), normal(4), normal(4),
    )  # fmt: skip


def test_group_layer_and_rms_norm():
    check(lambda x, w, b: F.group_norm(x, 2, w, b, 0.1), lambda x, w, b: TF.group_norm(x, 2, w, b, 0.1), normal(3, 4, 5), normal(4), normal(4))
    check(lambda x: F.group_norm(x, 2), lambda x: TF.group_norm(x, 2), normal(3, 4), grad=False)
    check(lambda x, w, b: F.layer_norm(x, (4, 5), w, b), lambda x, w, b: TF.layer_norm(x, (4, 5), w, b), normal(3, 4, 5), normal(4, 5), normal(4, 5))
    check(lambda x: F.layer_norm(x, (5,)), lambda x: TF.layer_norm(x, (5,)), normal(0, 5))
    check(lambda x, w: F.rms_norm(x, (5,), w), lambda x, w: TF.rms_norm(x, (5,), w), normal(3, 5), normal(5))
    small = normal(3, 5) * 1e-3  # the default eps is the dtype's
    for dtype in (np.float16, np.float32, np.float64):
        check(lambda x: F.rms_norm(x, (5,)), lambda x: TF.rms_norm(x, (5,)), small.astype(dtype), grad=False, compiled=False)
    z = (normal(3, 5) + 1j * normal(3, 5)).astype(np.complex64)
    check(lambda x: F.rms_norm(x, (5,), eps=0.1), lambda x: TF.rms_norm(x, (5,), eps=0.1), z)


@pytest.mark.parametrize("shape", [(2, 5, 3), (2, 5, 3, 2), (1, 5, 2, 2, 2)])
@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_local_response_norm(shape, size):
    check(lambda x: F.local_response_norm(x, size, 0.3, 0.6, 2.0), lambda x: TF.local_response_norm(x, size, 0.3, 0.6, 2.0), normal(*shape))


@pytest.mark.parametrize("size", [1, 3, 4, 5])
def test_cross_map_lrn_has_pytorchs_values(size):
    ours, theirs = nr.nn.CrossMapLRN2d(size, 0.5, 0.6, 2.0), torch.nn.CrossMapLRN2d(size, 0.5, 0.6, 2.0)
    check(ours, theirs, normal(2, 7, 3, 2), grad=False)
    assert repr(ours) == repr(theirs)
    check_both_raise(ours, theirs, normal(2, 7, 3))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_with_single_precision_parameters(dtype):
    x, w = nr.tensor(normal(3, 4, 5)).to(getattr(nr, dtype)), nr.tensor(np.abs(normal(4)))
    t, v = torch.tensor(np.asarray(x.float())).to(getattr(torch, dtype)), torch.tensor(np.asarray(w))
    tolerance = {"rtol": 2e-2, "atol": 1e-2}
    assert_same(F.batch_norm(x, nr.zeros(4), nr.ones(4), w, w, True), TF.batch_norm(t, torch.zeros(4), torch.ones(4), v, v, True), **tolerance)
    assert_same(F.group_norm(x, 2, w, w), TF.group_norm(t, 2, v, v), **tolerance)
    assert_same(F.layer_norm(x.mT, (4,), w, w), TF.layer_norm(t.mT, (4,), v, v), **tolerance)
    large = nr.full((2, 3000), 3.0, dtype=nr.float16)  # whose sum no float16 holds
    assert F.layer_norm(large, (3000,)).abs().max() < 1e-4


@pytest.mark.parametrize(
    ("name", "arguments", "options"),
    [
        ("batch_norm", (normal(1, 3), None, None), {"training": True}),
        ("batch_norm", (normal(2, 3), None, None), {"training": True, "eps": 0.0}),
        ("batch_norm", (normal(2, 3), None, None), {}),
        ("batch_norm", (normal(2, 3), normal(4), normal(4)), {}),
        ("instance_norm", (normal(2, 3, 1),), {}),
        ("instance_norm", (normal(2, 3, 4),), {"use_input_stats": False}),
        ("group_norm", (normal(2, 3, 4), 2), {}),
        ("group_norm", (normal(4), 2), {}),
        ("group_norm", (normal(1, 2), 2), {}),
        ("group_norm", (normal(2, 4), 2, normal(3)), {}),
        ("layer_norm", (normal(2, 4), (3,)), {}),
        ("layer_norm", (normal(2, 4), ()), {}),
        ("layer_norm", (normal(2, 4), (4,), normal(3)), {}),
        ("layer_norm", (np.ones((2, 4), np.int64), (4,)), {}),
        ("rms_norm", (normal(2, 4), (3,)), {}),
        ("local_response_norm", (normal(2, 4), 3), {}),
    ],
)
def test_both_refuse(name, arguments, options):
    check_both_raise(getattr(F, name), getattr(TF, name), *arguments, **options)


@pytest.mark.parametrize(("layer", "shape"), [("BatchNorm1d", (2, 3, 4, 5)), ("BatchNorm2d", (2, 3, 4)), ("BatchNorm3d", (2, 3, 4, 5)), ("InstanceNorm1d", (3,)), ("InstanceNorm2d", (3, 4))])
def test_layers_refuse_other_numbers_of_dimensions(layer, shape):
    check_both_raise(getattr(nr.nn, layer)(3), getattr(torch.nn, layer)(3), normal(*shape))


def test_an_instance_norm_of_other_channels_warns_or_raises():
    with pytest.warns(UserWarning, match="does not match num_features"):
        nr.nn.InstanceNorm1d(3)(nr.ones(2, 4, 5))
    check_both_raise(nr.nn.InstanceNorm1d(3, affine=True), torch.nn.InstanceNorm1d(3, affine=True), normal(2, 4, 5))


@pytest.mark.parametrize("name", ["BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "InstanceNorm1d", "InstanceNorm2d", "InstanceNorm3d"])
def test_lazy_layers_become_ordinary_ones(name):
    dims = int(name[-2])
    lazy = getattr(nr.nn, f"Lazy{name}")()
    theirs = getattr(torch.nn, f"Lazy{name}")()
    x = normal(2, 3, *(4,) * dims)
    assert_same(lazy(nr.tensor(x)), theirs(torch.tensor(x)))
    assert type(lazy) is getattr(nr.nn, name) and repr(lazy) == repr(theirs)
    assert list(lazy.state_dict()) == list(theirs.state_dict())
    np.testing.assert_allclose(lazy.running_mean.numpy(), theirs.running_mean.numpy(), rtol=1e-5, atol=1e-6)


def test_a_lazy_layer_without_statistics_keeps_none():
    layer = nr.nn.LazyBatchNorm1d(affine=False, track_running_stats=False)
    layer(nr.ones(2, 3))
    assert type(layer) is nr.nn.BatchNorm1d and not list(layer.parameters()) and layer.running_mean is None


def test_the_plain_average_of_all_batches():
    ours, theirs = nr.nn.BatchNorm1d(2, momentum=None), torch.nn.BatchNorm1d(2, momentum=None)
    step = nr.jit(ours)
    for _ in range(3):
        x = normal(4, 2)
        step(nr.tensor(x)), theirs(torch.tensor(x))
    np.testing.assert_allclose(ours.running_var.numpy(), theirs.running_var.numpy(), rtol=1e-5)
    assert ours.num_batches_tracked.item() == 3


def test_sync_batch_norm_takes_the_place_of_every_batch_norm():
    model = nr.nn.Sequential(nr.nn.Linear(3, 4), nr.nn.Sequential(nr.nn.BatchNorm1d(4, eps=0.1), nr.nn.ReLU())).eval()
    inner = model[1][0]
    converted = nr.nn.SyncBatchNorm.convert_sync_batchnorm(model)
    assert converted is model and type(model[1][0]) is nr.nn.SyncBatchNorm
    assert model[1][0].weight is inner.weight and model[1][0].running_var is inner.running_var and model[1][0].eps == 0.1 and not model[1][0].training
    with pytest.raises(ValueError, match="at least 2D"):
        nr.nn.SyncBatchNorm(3)(nr.ones(3))


def test_state_dicts_from_before_batches_were_counted_load():
    layer = nr.nn.BatchNorm1d(2)
    old = OrderedDict(weight=nr.ones(2), bias=nr.ones(2), running_mean=nr.ones(2), running_var=nr.ones(2))
    layer.load_state_dict(old)
    assert layer.num_batches_tracked.item() == 0 and (layer.running_mean == 1).all()
    with pytest.raises(RuntimeError, match="running stats"):
        nr.nn.InstanceNorm1d(2).load_state_dict(OrderedDict(running_mean=nr.ones(2)))
