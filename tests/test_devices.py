"""Devices: the same code wherever tensors lie. The test process has eight CPU devices."""

import jax
import numpy as np
import pytest

import neurarust_jax as nr
import neurarust_jax.nn.functional as F
from neurarust_jax import nn, optim


def test_names():
    assert nr.device("cuda:1") == nr.device("cuda", 1) == nr.device(nr.device("cuda:1")) and nr.device("gpu").type == "cuda"
    assert str(nr.device("cpu")) == "cpu" and repr(nr.device("cuda", 0)) == "device(type='cuda', index=0)"
    assert nr.device(jax.devices()[2]) == nr.device("cpu:2") and len({nr.device("cpu"), nr.device("cpu")}) == 1
    with pytest.raises(TypeError, match="cannot read the device"):
        nr.device("cuda:x")
    with pytest.raises(RuntimeError, match="no device 'cpu:99' here"):
        nr.zeros(1, device="cpu:99")


def test_creation_and_moves():
    x = nr.ones(2, device="cpu:3")
    assert x.device == nr.device("cpu:3") == (x * 2).device == nr.zeros_like(x).device == x.new_ones(1).device
    assert nr.rand(2, device="cpu:1").device.index == 1 and nr.tensor([1.0], device="cpu:2").device.index == 2
    y = nr.ones(2, requires_grad=True)
    (y.to("cpu:4") * 3).sum().backward()
    assert y.grad.tolist() == [3, 3]


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "jit"])
def test_training_on_another_device(compiled):
    nr.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 2)).to("cpu:5")
    optimizer = optim.Adam(model.parameters(), lr=0.01)
    x, y = nr.randn(16, 4, device="cpu:5"), nr.randint(0, 2, (16,), device="cpu:5")

    def step(x, y):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    run = nr.jit(step) if compiled else step
    losses = [run(x, y).item() for _ in range(20)]
    assert losses[-1] < losses[0] and model[0].weight.device == nr.device("cpu:5") and run(x, y).device.index == 5
    assert (nr.rand(2, device="cpu:1") + nr.ones(2, device="cpu:1")).device.index == 1
    model.to("cpu:6")
    optimizer.zero_grad()
    optimizer.to("cpu:6")
    run(x.to("cpu:6"), y.to("cpu:6"))
    assert model[0].weight.device.index == 6 and optimizer.state[model[0].weight]["exp_avg"].device.index == 6


def test_sharded_tensors():
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    sharding = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))
    x = nr.arange(16).float().to(sharding)
    assert len(x.sharding.device_set) == 8 and (x * 2).sharding == sharding
    np.testing.assert_allclose((x * 2).sum().item(), 240)
    model = nn.Linear(1, 1).to(jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec()))
    model(x[:, None]).sum().backward()
    assert model.weight.grad.item() == 120
