"""Whole training states: saved, kept by policy, and restored bit for bit."""

import json
import os
import subprocess
import sys
import threading

import numpy as np
import pytest

import neurarust_jax as nr
from neurarust_jax import nn, optim

PROGRAM = """
import sys, json, hashlib
import numpy as np
import neurarust_jax as nr
import neurarust_jax.nn.functional as F
from neurarust_jax import nn, optim
from neurarust_jax.utils import data

folder, begin, end, options = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), json.loads(sys.argv[4])
nr.manual_seed(begin + 17 * (begin > 0))  # a resumed process begins with another seed
model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.3), nn.ReLU(), nn.Linear(8, 2))
optimizer = optim.AdamW(model.parameters(), lr=0.01)
scheduler = optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=20)
host = np.random.default_rng(begin)
rows = np.arange(28, dtype=np.float32)
dataset = data.TensorDataset(nr.tensor(np.sin(np.outer(rows, np.arange(1, 5))), dtype=nr.float32), nr.tensor(rows % 2, dtype=nr.int64))
own = nr.Generator().manual_seed(begin) if options.pop("own_generator", False) else None
loader = data.DataLoader(dataset, batch_size=4, shuffle=True, generator=own, num_workers=options.pop("workers", 0))
checkpointer = nr.io.Checkpointer(
    folder, {"model": model, "optimizer": optimizer, "scheduler": scheduler, "loader": loader, "host": host}, **options
)

@nr.jit
def train_step(x, y):
    optimizer.zero_grad()
    loss = F.cross_entropy(model(x), y)
    loss.backward()
    optimizer.step()
    return loss

step = 0
if begin:
    found = checkpointer.restore()
    assert found == (begin, {"loss": 1.5}, {"note": ["x", 2]}), found
    step = found.step
while step < end:
    for x, y in loader:
        loss = train_step(x, y)
        scheduler.step()
        step += 1
        draw = float(nr.rand(())), float(host.random())
        if step > 5:
            order = hashlib.sha256(x.numpy().tobytes()).hexdigest()
            weights = hashlib.sha256(b"".join(p.numpy(force=True).tobytes() for p in model.state_dict().values())).hexdigest()
            print(json.dumps([step, loss.item().hex(), draw, order, weights, optimizer.param_groups[0]["lr"].hex()]))
        if step == 5 and not begin:
            checkpointer.save(5, metrics={"loss": 1.5}, extra={"note": ["x", 2]})
        if step == end:
            break
checkpointer.close()
"""


def run(folder, begin, end, options):
    """What a training program prints, started in a process of its own."""
    done = subprocess.run([sys.executable, "-c", PROGRAM, str(folder), str(begin), str(end), json.dumps(options)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize("options", [{}, pytest.param({"asynchronous": True, "own_generator": True, "workers": 2}, marks=pytest.mark.exhaustive)])
def test_training_resumed_in_a_new_process_goes_on_bit_for_bit(tmp_path, options):
    uninterrupted = run(tmp_path, 0, 10, options)
    resumed = run(tmp_path, 5, 10, options)
    assert len(uninterrupted) == 5 and resumed == uninterrupted


def small(folder, **options):
    model = nn.Linear(3, 2)
    optimizer = optim.Adam(model.parameters(), lr=0.1)
    return model, optimizer, nr.io.Checkpointer(folder, {"model": model, "optimizer": optimizer}, **options)


def train(model, optimizer):
    model(nr.ones(1, 3)).square().sum().backward()
    optimizer.step()
    optimizer.zero_grad()


def bits(*objects):
    """All arrays of state dicts."""
    leaves = []

    def look(value):
        if isinstance(value, dict):
            for element in value.values():
                look(element)
        elif isinstance(value, list | tuple):
            for element in value:
                look(element)
        elif isinstance(value, nr.Tensor):
            leaves.append(value.numpy(force=True).tobytes())
        else:
            leaves.append(value)

    for obj in objects:
        look(obj.state_dict())
    return leaves


@pytest.mark.parametrize("mode", ["min", "max"])
def test_the_last_and_the_best_are_kept(tmp_path, mode):
    _, _, checkpointer = small(tmp_path, keep_last=2, keep_best=2, metric="loss", mode=mode)
    sign = 1 if mode == "min" else -1
    for step, loss in enumerate([5, 1, 4, 1, float("nan"), 3, 6]):
        checkpointer.save(step, metrics={"loss": sign * loss})
    assert checkpointer.steps() == [1, 3, 5, 6] and checkpointer.best() == 3 and checkpointer.latest() == 6
    assert sorted(p.name for p in tmp_path.iterdir()) == [f"step_{i:010}" for i in (1, 3, 5, 6)]
    assert checkpointer.restore(1).metrics == {"loss": sign}
    again = small(tmp_path, keep_last=1, keep_best=1, metric="loss", mode=mode)[2]
    again.save(9, metrics={"loss": sign * 9})
    assert again.steps() == [3, 9]
    with pytest.raises(ValueError, match="'loss'"):
        again.save(10)


def test_a_state_is_that_of_the_call_however_long_the_writing_takes(tmp_path):
    model, optimizer, checkpointer = small(tmp_path, asynchronous=True)
    train(model, optimizer)
    begin = threading.Event()
    checkpointer._pool.submit(begin.wait)
    saved = bits(model, optimizer)
    checkpointer.save(1, extra={"array": np.arange(3), "t": nr.ones(2)})
    step = nr.jit(lambda: train(model, optimizer))
    step()
    step()
    assert bits(model, optimizer) != saved
    begin.set()
    found = checkpointer.restore()
    assert bits(model, optimizer) == saved and found.extra["array"].tolist() == [0, 1, 2] and nr.equal(found.extra["t"], nr.ones(2))
    checkpointer.close()


def test_an_error_in_the_background_is_raised_by_the_next_call(tmp_path, monkeypatch):
    _, _, checkpointer = small(tmp_path, asynchronous=True)

    def full(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr("neurarust_jax.io.folder._write_synced", full)
    checkpointer.save(1)
    with pytest.raises(OSError, match="no space"):
        checkpointer.wait()
    assert checkpointer.steps() == [] and list(tmp_path.iterdir()) == []
    checkpointer.close()


def test_every_kind_of_state_is_restored(tmp_path):
    import collections

    class Scaler:
        def __init__(self):
            self.state = None

        def state_dict(self):
            return self.state

        def load_state_dict(self, state):
            self.state = state

    scaler = Scaler()
    kept = {
        "numbers": [1, -1.5, float("inf"), 1 + 2j, True, None, 10**30], "text": "x", "bytes": b"\x00\xff", "tuple": (1, (2,)), "set": {1, 2}, 3: {"$odd": 1},
        "ordered": collections.OrderedDict(a=1), "counts": collections.Counter("aab"), "size": nr.Size([1, 2]), "dtype": nr.bfloat16, "device": nr.device("cpu"),
        "array": np.arange(3, dtype=np.int16),
    }  # fmt: skip
    for i, dtype in enumerate(nr.dtypes.ALL):
        kept[f"t{i}"] = nr.ones(2, dtype=dtype)
    scaler.state = kept
    checkpointer = nr.io.Checkpointer(tmp_path, {"scaler": scaler})
    checkpointer.save(0, extra=kept["t3"])
    scaler.state = None
    assert nr.equal(checkpointer.restore().extra, kept["t3"])
    found = scaler.state
    assert list(found) == list(kept)
    for name, value in kept.items():
        assert type(found[name]) is type(value)
        if isinstance(value, nr.Tensor):
            assert found[name].dtype == value.dtype and nr.equal(found[name], value)
        elif name != "array":
            assert found[name] == value
    assert found["array"].tolist() == [0, 1, 2] and found["array"].dtype == np.int16
    scaler.state = {"f": [len]}
    with pytest.raises(TypeError, match=r"'scaler\.f\.0'"):
        checkpointer.save(1)
    assert checkpointer.steps() == [0]


@pytest.mark.parametrize(
    ("scheduler"),
    [
        lambda o: optim.lr_scheduler.MultiStepLR(o, [2, 4]),
        lambda o: optim.lr_scheduler.CyclicLR(o, 0.1, 0.2, cycle_momentum=False),
        lambda o: optim.lr_scheduler.ReduceLROnPlateau(o),
        lambda o: optim.lr_scheduler.LambdaLR(o, lambda i: 0.9**i),
        lambda o: optim.lr_scheduler.CosineAnnealingWarmRestarts(o, 3),
        lambda o: optim.lr_scheduler.SequentialLR(o, [optim.lr_scheduler.ConstantLR(o), optim.lr_scheduler.ExponentialLR(o, 0.9)], [2]),
    ],
)
def test_schedulers_are_restored(tmp_path, scheduler):
    model, optimizer, _ = small(tmp_path / "unused")
    schedule = scheduler(optimizer)
    checkpointer = nr.io.Checkpointer(tmp_path, {"optimizer": optimizer, "schedule": schedule})
    optimizer.step()

    def advance():
        schedule.step(*([1.0] if isinstance(schedule, optim.lr_scheduler.ReduceLROnPlateau) else []))
        return optimizer.param_groups[0]["lr"]

    advance()
    checkpointer.save(1)
    rates = [advance() for _ in range(5)]
    checkpointer.restore()
    assert [advance() for _ in range(5)] == rates


def test_nothing_changes_if_a_part_does_not_fit_or_is_damaged(tmp_path):
    model, optimizer, checkpointer = small(tmp_path)
    train(model, optimizer)
    checkpointer.save(3)
    train(model, optimizer)
    before = bits(model, optimizer)
    folder = tmp_path / "step_0000000003"
    for name, text in (("optimizer.safetensors", "'optimizer.state.[01].exp_avg"), ("model.safetensors", "'model.(weight|bias)'")):
        path = folder / name
        whole = path.read_bytes()
        path.write_bytes(whole[:-3] + bytes([whole[-3] ^ 1]) + whole[-2:])
        with pytest.raises(RuntimeError, match=f"{name} is damaged: tensor {text}"):
            checkpointer.restore()
        path.write_bytes(whole[:-1])
        with pytest.raises(RuntimeError, match=f"{name}.*cut off"):
            checkpointer.restore()
        path.unlink()
        with pytest.raises(RuntimeError, match=f"{name} is missing"):
            checkpointer.restore()
        path.write_bytes(whole)
    other = nn.Linear(3, 2)
    twin = nr.io.Checkpointer(tmp_path, {"model": other, "optimizer": optim.Adam([other.weight])})
    weights = bits(other)
    with pytest.raises(ValueError, match="doesn't match the size"):
        twin.restore()
    assert bits(other) == weights and bits(model, optimizer) == before
    with pytest.raises(RuntimeError, match="no state of 'ema'"):
        nr.io.Checkpointer(tmp_path, {"ema": other}).restore()
    with pytest.raises(ValueError, match=r"no checkpoint of step 4 .*\[3\]"):
        checkpointer.restore(4)
    contents = (folder / "checkpoint.json").read_bytes()
    for damage in (contents[:-5], b"[]", b"{}", contents.replace(b'"version":1', b'"version":9')):
        (folder / "checkpoint.json").write_bytes(damage)
        with pytest.raises(RuntimeError, match=r"checkpoint\.json is damaged"):
            checkpointer.restore()
    (folder / "checkpoint.json").write_bytes(contents)
    assert checkpointer.restore().step == 3
    assert nr.io.Checkpointer(tmp_path / "new", {"m": other}).restore() is None


def test_the_same_step_is_replaced_and_leftovers_of_killed_processes_go(tmp_path):
    model, optimizer, checkpointer = small(tmp_path)
    for value in (1.0, 2.0, 3.0):
        with nr.no_grad():
            model.weight.fill_(value)
        checkpointer.save(7)
        assert checkpointer.steps() == [7] and len(list(tmp_path.iterdir())) == 1
    import socket

    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    (tmp_path / f".step_8.{socket.gethostname()}.{dead.pid}.01234567.part").mkdir()
    (tmp_path / f".step_8.{socket.gethostname()}.{os.getpid()}.01234567.part").mkdir()
    model, _, again = small(tmp_path)
    assert len(list(tmp_path.iterdir())) == 2
    again.restore()
    assert model.weight[0, 0].item() == 3


def test_wrong_arguments_are_told(tmp_path):
    with pytest.raises(TypeError, match="'epoch' is a int"):
        nr.io.Checkpointer(tmp_path, {"epoch": 3})
    with pytest.raises(ValueError, match="names its file"):
        nr.io.Checkpointer(tmp_path, {"../x": nn.Linear(1, 1)})
    with pytest.raises(ValueError, match="metric"):
        nr.io.Checkpointer(tmp_path, {}, keep_best=1)
    with pytest.raises(ValueError, match="'min' or 'max'"):
        nr.io.Checkpointer(tmp_path, {}, mode="least")
    with pytest.raises(TypeError, match="at least 0"):
        nr.io.Checkpointer(tmp_path, {}).save(-1)
