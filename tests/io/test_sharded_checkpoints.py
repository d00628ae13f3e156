"""Checkpoints through orbax: asynchronous, and sharded over several devices."""

import subprocess
import sys

import numpy as np
import pytest

import neurarust_jax as nr
from neurarust_jax import nn, optim

PROGRAM = """
import os, sys
os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=8"
import jax, numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec as P
import neurarust_jax as nr
from neurarust_jax import nn, optim

mesh = Mesh(np.array(jax.devices()).reshape(4, 2), ("a", "b"))
row, column = NamedSharding(mesh, P("a")), NamedSharding(mesh, P(None, "b"))

def make(sharding):
    model = nn.Linear(8, 16, bias=False)
    model.weight.assign(jax.device_put(model.weight._value, sharding))
    optimizer = optim.Adam(model.parameters(), lr=0.1)
    for cell in optimizer._cells():
        if cell is not model.weight and cell._state is not None and np.ndim(cell._state) == 2:
            cell._state = jax.device_put(cell._state, sharding)
    return model, optimizer

def train(model, optimizer):
    optimizer.zero_grad()
    model(nr.ones(2, 8)).square().sum().backward()
    optimizer.step()

for sharded in (False, True):
    folder = f"{sys.argv[1]}/{sharded}"
    model, optimizer = make(row)
    train(model, optimizer)
    with nr.io.Checkpointer(folder, {"model": model, "optimizer": optimizer}, sharded=sharded) as checkpointer:
        checkpointer.save(1)
    other, adam = make(column)
    with nr.io.Checkpointer(folder, {"model": other, "optimizer": adam}, sharded=sharded) as checkpointer:
        assert checkpointer.restore().step == 1
    assert other.weight._value.sharding == column and np.array_equal(other.weight.numpy(force=True), model.weight.numpy(force=True))
    state, old = adam.state[other.weight], optimizer.state[model.weight]
    for name in ("exp_avg", "exp_avg_sq"):
        assert state[name]._value.sharding == column, (sharded, state[name]._value.sharding)
        assert np.array_equal(state[name].numpy(), old[name].numpy())
    path = f"{folder}/w.safetensors"
    nr.save(model.state_dict(), path)
    assert nr.load(path, {"weight": column})["weight"].sharding == column
    assert np.array_equal(nr.load(path, column)["weight"].numpy(), model.weight.numpy(force=True))
print("done")
"""


def test_arrays_spread_over_devices_are_saved_and_restored_in_place(tmp_path):
    done = subprocess.run([sys.executable, "-c", PROGRAM, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.stdout == "done\n", done.stderr


@pytest.mark.parametrize("asynchronous", [False, True])
def test_states_are_kept_by_policy_and_restored_bit_for_bit(tmp_path, asynchronous):
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    optimizer = optim.Adam(model.parameters(), lr=0.1)
    options = {"keep_last": 1, "keep_best": 1, "metric": "loss", "asynchronous": asynchronous, "sharded": True}
    extra = {f"t{i}": nr.ones(2, dtype=dtype) for i, dtype in enumerate(nr.dtypes.ALL)} | {"none": nr.zeros(0, 3), "np": np.arange(3), "n": 2**60 + nr.arange(2)}
    checkpointer = nr.io.Checkpointer(tmp_path, {"model": model, "optimizer": optimizer}, **options)
    saved = []
    for step, loss in enumerate([2.0, 1.0, 3.0, 4.0]):
        model(nr.randn(4, 3)).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()
        checkpointer.save(step, metrics={"loss": loss}, extra=extra)
        saved.append((model[0].weight.detach(), optimizer.state[model[0].weight]["exp_avg"].detach(), nr.get_rng_state()))
        nr.rand(1)
    assert checkpointer.steps() == [1, 3] and checkpointer.best() == 1
    with pytest.raises(ValueError, match="orbax replaces none"):
        checkpointer.save(3, metrics={"loss": 0.0})
    checkpointer.close()
    with nr.io.Checkpointer(tmp_path, {"model": model, "optimizer": optimizer}, **options) as again:
        for step in (1, 3):
            found = again.restore(step)
            assert found.metrics == {"loss": [2.0, 1.0, 3.0, 4.0][step]}
            weight, average, random = saved[step]
            assert nr.equal(model[0].weight, weight) and nr.equal(optimizer.state[model[0].weight]["exp_avg"], average)
            assert nr.equal(nr.get_rng_state(), random) and model[1].num_batches_tracked.item() == step + 1
        assert found.extra.keys() == extra.keys() and found.extra["np"].tolist() == [0, 1, 2] and isinstance(found.extra["np"], np.ndarray)
        for name, value in extra.items():
            assert name == "np" or (found.extra[name].dtype == value.dtype and nr.equal(found.extra[name], value))


def test_a_damaged_checkpoint_is_named_and_changes_nothing(tmp_path):
    model = nn.Linear(3, 2)
    with nr.io.Checkpointer(tmp_path, {"model": model}, sharded=True) as checkpointer:
        checkpointer.save(0)
        weight = model.weight.detach()
        files = sorted((p for p in tmp_path.rglob("*") if p.is_file() and "arrays" in str(p)), key=lambda p: -p.stat().st_size)
        for file in files:
            file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
        with pytest.raises(RuntimeError, match=r"step 0 in .* is damaged"):
            checkpointer.restore()
        assert nr.equal(model.weight, weight)
