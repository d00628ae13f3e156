"""The safetensors format, against the package of that name."""

import json

import jax
import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import neurarust_jax as nr
from neurarust_jax import dtypes


def test_files_cross_to_pytorch_and_back(tmp_path):
    path = tmp_path / "w.safetensors"
    state = {"a": nr.randn(2, 3), "b": nr.ones(2, dtype=nr.bfloat16), "c": nr.tensor(3), "d": nr.zeros(0, 4), "e": nr.tensor([True])}
    nr.save(state, path, metadata={"format": "pt"})
    theirs, ours = load_file(path), nr.load(path)
    assert list(ours) == list(state)
    for name, value in state.items():
        assert ours[name].dtype == value.dtype and nr.equal(ours[name], value)
        assert theirs[name].float().tolist() == value.float().tolist()
    with safe_open(path, "np") as file:
        assert file.metadata() == {"format": "pt"}
    save_file({"x": torch.arange(3.0)}, path)
    assert nr.load(path)["x"].tolist() == [0, 1, 2]
    model = nr.nn.Linear(2, 2)
    nr.save(model.state_dict(), path)
    twin = nr.nn.Linear(2, 2)
    twin.load_state_dict(nr.load(path))
    assert nr.equal(twin.weight, model.weight)


@pytest.mark.parametrize("dtype", [d for d in dtypes.ALL if d.name != "complex128"], ids=lambda d: d.name)
def test_every_dtype_crosses_bit_for_bit(tmp_path, dtype):
    path = tmp_path / "w.safetensors"
    bits = np.random.default_rng(0).integers(0, 256, 24 * dtype.itemsize, np.uint8)
    array = (bits % 2).astype(bool) if dtype.name == "bool" else bits.view(dtype.dtype)
    nr.save({"odd": nr.ones(1, dtype=nr.int8), "x": array.reshape(2, 3, -1)}, path)
    assert nr.load(path)["x"].numpy().tobytes() == array.tobytes()
    theirs = load_file(path)["x"]
    assert theirs.dtype == getattr(torch, dtype.name)
    assert theirs.contiguous().view(torch.uint8).numpy().tobytes() == array.tobytes()
    save_file({"odd": torch.ones(1, dtype=torch.int8), "x": theirs}, path)
    for mmap in (False, True):
        assert nr.load(path, mmap=mmap)["x"].numpy().tobytes() == array.tobytes()


def test_complex128_has_no_name_in_the_format(tmp_path):
    with pytest.raises(TypeError, match="'x' has dtype complex128"):
        nr.save({"x": nr.zeros(1, dtype=nr.complex128)}, tmp_path / "w.safetensors")


def test_a_file_is_read_lazily_and_in_parts(tmp_path):
    path = tmp_path / "w.safetensors"
    state = {"weight": nr.arange(12.0).reshape(4, 3), "bias": nr.tensor(2)}
    nr.save(state, path, metadata={"by": "nr"})
    with nr.io.open(path) as file:
        assert list(file) == ["weight", "bias"] and len(file) == 2 and "bias" in file and "other" not in file
        assert file.metadata() == {"by": "nr"} and file.offset_keys() == ["bias", "weight"]
        assert file.shape("weight") == (4, 3) and file.dtype("bias") is nr.int64
        assert file["bias"].item() == 2 and file.get_tensor("weight").shape == (4, 3)
        part = file.get_slice("weight")
        assert part.get_shape() == [4, 3] and part.get_dtype() == "F32"
        assert part[1:3, ::2].tolist() == [[3, 5], [6, 8]]
        with pytest.raises(KeyError):
            file["other"]
    with open(path, "rb") as handle, nr.io.open(handle) as file:
        assert file["weight"][1].tolist() == [3, 4, 5] and file.get_slice("weight")[0, 0].item() == 0
    with open(path, "rb") as handle:
        assert nr.equal(nr.load(handle)["weight"], state["weight"])


def test_large_dicts_are_sharded_by_hugging_faces_index(tmp_path):
    path = tmp_path / "model.safetensors"
    state = {f"layer{i}": nr.full((100,), float(i)) for i in range(5)}
    nr.save(state, path, max_shard_size="1KB", metadata={"format": "pt"})
    names = sorted(p.name for p in tmp_path.iterdir())
    assert names == [*(f"model-0000{i}-of-00003.safetensors" for i in (1, 2, 3)), "model.safetensors.index.json"]
    index = json.loads((tmp_path / "model.safetensors.index.json").read_text())
    assert index["metadata"]["total_size"] == 2000 and index["weight_map"]["layer4"] == names[2]
    for source in (path, tmp_path, tmp_path / "model.safetensors.index.json"):
        loaded = nr.load(source)
        assert list(loaded) == list(state) and all(nr.equal(loaded[n], state[n]) for n in state)
    with nr.io.open(tmp_path) as file:
        assert file["layer3"][0] == 3 and len(file._open) == 1 and file.metadata() == {"format": "pt"}
    nr.save({n: t + 1 for n, t in state.items()}, path, max_shard_size=800)
    assert nr.load(path)["layer4"][0] == 5 and len(list(tmp_path.iterdir())) == 4
    nr.save(state, path)
    assert [p.name for p in tmp_path.iterdir()] == ["model.safetensors"] and nr.load(path)["layer4"][0] == 4
    nr.save({"a": nr.ones(1)}, tmp_path / "small.safetensors", max_shard_size="5GiB")
    assert (tmp_path / "small.safetensors").exists()
    with pytest.raises(ValueError, match="max_shard_size"):
        nr.save(state, path, max_shard_size="many")


def test_an_index_names_only_files_of_its_folder(tmp_path):
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "../../etc/passwd"}}))
    with pytest.raises(RuntimeError, match=r"index\.json .*no file of its own folder"):
        nr.load(index)
    nr.save({"b": nr.ones(1)}, tmp_path / "shard.safetensors")
    index.write_text(json.dumps({"weight_map": {"a": "shard.safetensors"}}))
    with pytest.raises(RuntimeError, match=r"shard\.safetensors has no tensor 'a'"):
        nr.load(tmp_path)
    with pytest.raises(FileNotFoundError, match="neither"):
        nr.load(tmp_path.parent)


def test_tensors_go_where_map_location_says(tmp_path):
    path = tmp_path / "w.safetensors"
    nr.save({"a": nr.arange(8.0), "b": nr.ones(2)}, path)
    cpu = jax.devices("cpu")[0]
    sharding = jax.sharding.NamedSharding(jax.sharding.Mesh(np.array([cpu]), ("x",)), jax.sharding.PartitionSpec("x"))
    assert not nr.load(path)["a"]._value.committed
    for where in ("cpu", nr.device("cpu"), cpu, torch.device("cpu"), {"cpu": "cpu"}, lambda tensor, location: location, lambda tensor, location: tensor):
        assert nr.load(path, where)["a"].tolist() == list(range(8))
    assert nr.load(path, sharding)["a"].sharding == sharding
    mixed = nr.load(path, {"a": sharding})
    assert mixed["a"].sharding == sharding and not mixed["b"]._value.committed
    with pytest.raises(RuntimeError, match="no device 'cuda'"):
        nr.load(path, "cuda")
    with pytest.raises(TypeError, match="map_location"):
        nr.load(path, 3.5)


def test_a_failed_save_leaves_the_old_file(tmp_path):
    path = tmp_path / "w.safetensors"
    nr.save({"a": nr.ones(1)}, path)
    with pytest.raises(TypeError, match="'b' is a str"):
        nr.save({"a": nr.zeros(1), "b": "text"}, path)
    assert nr.load(path)["a"].item() == 1 and len(list(tmp_path.iterdir())) == 1
    with pytest.raises(ValueError, match=r"ends in \.safetensors"):
        nr.save({}, tmp_path / "w.bin", metadata={"a": "b"})
    with pytest.raises(TypeError, match="model.state_dict"):
        nr.save(nr.nn.Linear(1, 1), path)


def test_loaded_arrays_are_not_copied_and_survive_donation(tmp_path):
    path = tmp_path / "w.safetensors"
    nr.save({"a": nr.ones(1024)}, path)
    model = nr.nn.Linear(1024, 1, bias=False)
    state = {"weight": nr.load(path)["a"].reshape(1, -1)}
    model.load_state_dict(state)
    optimizer = nr.optim.SGD(model.parameters(), lr=1.0)

    @nr.jit
    def step(x):
        optimizer.zero_grad()
        model(x).sum().backward()
        optimizer.step()

    step(nr.ones(1, 1024))
    step(nr.ones(1, 1024))
    assert model.weight[0, 0].item() == -1 and state["weight"][0, 0].item() == 1


@pytest.mark.parametrize("damage", [lambda b: b[: len(b) // 2], lambda b: b[:4], lambda b: b"\xff" * 8 + b[8:], lambda b: b[:9] + b"#" + b[10:], lambda b: b"", lambda b: b + b"x"])
def test_damaged_files_are_named(tmp_path, damage):
    path = tmp_path / "w.safetensors"
    nr.save({"a": nr.ones(100)}, path)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(RuntimeError, match=r"w\.safetensors is no safetensors file"):
        nr.load(path)


@pytest.mark.parametrize(
    ("entry", "text"),
    [
        ({"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}, "'x'.*takes 8 bytes"),
        ({"dtype": "F32", "shape": [1 << 62, 1 << 62], "data_offsets": [0, 4]}, "'x'.*takes"),
        ({"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}, "'x'.*cannot be"),
        ({"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}, "'x' begins at 4"),
        ({"dtype": "F32", "shape": [1]}, "'x': 'data_offsets'"),
        ({"dtype": "F4", "shape": [8], "data_offsets": [0, 4]}, "'x' has dtype F4"),
        ([], "'x': its entry is no JSON object"),
    ],
)
def test_forged_headers_are_refused_by_the_tensors_name(tmp_path, entry, text):
    path = tmp_path / "w.safetensors"
    header = json.dumps({"x": entry}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))
    with pytest.raises(RuntimeError, match=text):
        nr.load(path)
