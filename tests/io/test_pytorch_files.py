"""Files of `torch.save` read without PyTorch, and files for `torch.load(weights_only=True)`."""

import argparse
import collections
import io
import os
import pickle
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import torch

import neurarust_jax as nr
from neurarust_jax import dtypes

FORMATS = pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])


def from_torch(obj, zipped=True, **options):
    file = io.BytesIO()
    torch.save(obj, file, _use_new_zipfile_serialization=zipped)
    file.seek(0)
    return nr.load(file, **options)


def to_torch(obj, **options):
    file = io.BytesIO()
    nr.save(obj, file)
    file.seek(0)
    return torch.load(file, weights_only=True, **options)


def same(ours, theirs):
    """Whether nested objects are equal bit for bit."""
    if isinstance(theirs, torch.Tensor):
        assert isinstance(ours, nr.Tensor) and ours.dtype.name == str(theirs.dtype).removeprefix("torch.") and tuple(ours.shape) == tuple(theirs.shape)
        assert ours.requires_grad == theirs.requires_grad and isinstance(ours, nr.nn.Parameter) == isinstance(theirs, torch.nn.Parameter)
        plain = theirs.detach().resolve_conj().resolve_neg().clone(memory_format=torch.contiguous_format).reshape(-1)
        assert ours.numpy(force=True).tobytes() == plain.view(torch.uint8).numpy().tobytes()
    elif isinstance(theirs, dict):
        assert list(ours) == list(theirs) and isinstance(ours, dict)
        for key, value in theirs.items():
            same(ours[key], value)
    elif isinstance(theirs, list | tuple):
        assert len(ours) == len(theirs) and isinstance(ours, list | tuple)
        for a, b in zip(ours, theirs, strict=True):
            same(a, b)
    elif isinstance(theirs, torch.dtype | torch.device):
        assert str(ours).replace("neurarust_jax", "torch") == str(theirs)
    else:
        assert ours == theirs and type(ours) is type(theirs)
    return True


@FORMATS
@pytest.mark.parametrize("dtype", dtypes.ALL, ids=lambda d: d.name)
def test_every_dtype_crosses_bit_for_bit(dtype, zipped):
    bits = torch.from_numpy(np.random.default_rng(0).integers(0, 2 if dtype.name == "bool" else 256, 12 * dtype.itemsize, np.uint8))
    theirs = bits.view(getattr(torch, dtype.name)).reshape(3, 4)
    ours = from_torch({"x": theirs, "t": theirs.t(), "part": theirs[1:, ::2], "none": theirs[:0], "one": theirs[0, 0]}, zipped)
    assert same(ours, {"x": theirs, "t": theirs.t(), "part": theirs[1:, ::2], "none": theirs[:0], "one": theirs[0, 0]})
    assert same(ours, to_torch(ours))


@FORMATS
def test_views_of_shared_storages(zipped):
    base = torch.arange(24.0)
    tied = torch.nn.Parameter(torch.ones(3))
    theirs = {
        "flat": base, "view": base[4:16].view(3, 4), "strided": base.as_strided((2, 3), (1, 7), 2), "expanded": torch.ones(1).expand(4, 5), "tied": [tied, tied],
        "conjugate": torch.tensor([1 + 2j]).conj(), "negative": torch.tensor([1 + 2j]).conj().imag, "frozen": torch.nn.Parameter(torch.ones(2), False),
        "grad": torch.ones(2, requires_grad=True),
    }  # fmt: skip
    ours = from_torch(theirs, zipped)
    assert same(ours, theirs) and ours["tied"][0] is ours["tied"][1]


PLAIN = {
    "numbers": [0, 1, 255, 256, 65535, 65536, -1, -(2**31), 2**31, 2**63, -(10**40), 0.1, -0.0, float("inf"), 1 + 2j, True, False, None],
    "text": ["", "naïve ☃", "a" * 300, b"", b"\x00\xff\n", bytearray(b"abc")],
    "containers": [(), (1,), (1, (2, [3, {4: {5}}])), [], {}, {(1, "a"): 2, 3: None, None: 1}, set(), {1, 2}],
    "classes": [torch.Size([2, 3]), torch.float16, torch.bfloat16, torch.device("cpu"), torch.device("cuda:1")],
    "ordered": collections.OrderedDict([("b", 1), ("a", 2)]), "counts": collections.Counter("abca"),
}  # fmt: skip


@FORMATS
def test_containers_and_numbers_cross(zipped):
    ours = from_torch(PLAIN, zipped)
    assert same(ours, {**PLAIN, "classes": ours["classes"]}) and same(ours["classes"], PLAIN["classes"])
    back = to_torch(ours)
    assert back == PLAIN and [type(x) for x in back["classes"]] == [type(x) for x in PLAIN["classes"]]
    assert type(back["ordered"]) is collections.OrderedDict and type(back["counts"]) is collections.Counter


def test_objects_that_hold_one_another_keep_their_identity():
    inner = [1]
    loop = {"a": inner, "b": inner}
    loop["self"] = loop
    for made in (from_torch(loop), to_torch(loop)):
        assert made["a"] is made["b"] and made["self"] is made


def test_numpy_numbers_and_arrays_are_read_and_written_as_pytorch_can_read_them():
    theirs = {"best": np.float64(0.5), "n": np.int32(3), "yes": np.bool_(True), "a": np.arange(6, dtype=np.int16).reshape(2, 3), "f": np.asfortranarray(np.eye(3)), "d": collections.defaultdict(list, x=[1])}
    ours = from_torch(theirs)
    assert ours["best"] == 0.5 and ours["n"].dtype == np.int32 and ours["yes"] and ours["d"] == {"x": [1]} and ours["d"]["y"] == []
    assert np.array_equal(ours["a"], theirs["a"]) and np.array_equal(ours["f"], theirs["f"])
    back = to_torch(ours)
    assert (back["best"], back["n"], back["yes"], back["d"]) == (0.5, 3, True, {"x": [1], "y": []}) and type(back["best"]) is float
    assert back["a"].dtype == torch.int16 and back["a"].tolist() == theirs["a"].tolist() and back["f"].tolist() == theirs["f"].tolist()


def test_training_files_cross_in_both_directions():
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    optimizer = torch.optim.AdamW(model.parameters(), lr=torch.tensor(0.01))
    model(torch.randn(5, 3)).square().sum().backward()
    optimizer.step()
    state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 3, "rng": torch.get_rng_state()}
    ours = from_torch(state)
    assert same(ours, state) and ours["model"]._metadata == state["model"]._metadata
    twin = nr.nn.Sequential(nr.nn.Linear(3, 4), nr.nn.BatchNorm1d(4))
    twin.load_state_dict(ours["model"])
    adam = nr.optim.AdamW(twin.parameters())
    adam.load_state_dict(ours["optimizer"])
    twin(nr.randn(5, 3)).square().sum().backward()
    adam.step()
    back = to_torch({"model": twin.state_dict(), "optimizer": adam.state_dict(), "scheduler": nr.optim.lr_scheduler.OneCycleLR(adam, 0.1, 10).state_dict()})
    model.load_state_dict(back["model"])
    optimizer.load_state_dict(back["optimizer"])
    assert optimizer.state_dict()["state"][0]["step"] == 2
    assert back["model"]._metadata == {"": {"version": 1}, "0": {"version": 1}, "1": {"version": 2}}


def test_files_on_disk_can_be_mapped_by_either_side(tmp_path):
    path = tmp_path / "w.pt"
    tensors = {f"t{i}": nr.randn(7, 3 + i) for i in range(4)}
    nr.save(tensors, path)
    assert same(tensors, torch.load(path, mmap=True, weights_only=True))
    torch.save({"a": torch.arange(5), "b": torch.ones(3, dtype=torch.bfloat16)}, path)
    mapped = nr.load(path, mmap=True)
    assert mapped["a"].tolist() == [0, 1, 2, 3, 4] and mapped["b"].dtype is nr.bfloat16
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
    nr.save(tensors, path)
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None and {i.header_offset % 1 for i in archive.infolist()} == {0}
    with pytest.raises(ValueError, match="f must be a file path"):
        nr.load(io.BytesIO(path.read_bytes()), mmap=True)
    torch.save({"a": torch.arange(5)}, path, _use_new_zipfile_serialization=False)
    with pytest.raises(ValueError, match="older one"):
        nr.load(path, mmap=True)


def test_the_content_says_the_format_whatever_the_ending(tmp_path):
    for name in ("w.bin", "w.pth", "w.ckpt", "checkpoint", "w.pth.tar"):
        nr.save({"a": nr.ones(2)}, tmp_path / name)
        assert torch.load(tmp_path / name, weights_only=True)["a"].tolist() == [1, 1]
    nr.save({"a": nr.ones(2)}, tmp_path / "w.safetensors")
    os.replace(tmp_path / "w.safetensors", tmp_path / "w.bin")
    assert nr.load(tmp_path / "w.bin")["a"].tolist() == [1, 1]
    os.replace(tmp_path / "w.pth", tmp_path / "w.safetensors")
    assert nr.load(tmp_path / "w.safetensors")["a"].tolist() == [1, 1]


def test_sharded_files_of_pytorch(tmp_path):
    import json

    torch.save({"a": torch.ones(2)}, tmp_path / "pytorch_model-00001-of-00002.bin")
    torch.save({"b": torch.zeros(2)}, tmp_path / "pytorch_model-00002-of-00002.bin")
    index = {"metadata": {}, "weight_map": {"b": "pytorch_model-00002-of-00002.bin", "a": "pytorch_model-00001-of-00002.bin"}}
    (tmp_path / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    loaded = nr.load(tmp_path / "pytorch_model.bin.index.json")
    assert list(loaded) == ["b", "a"] and loaded["a"].tolist() == [1, 1]


def test_big_endian_files():
    file = io.BytesIO()
    tensors = {"f": torch.tensor([1.5, -2.0]), "h": torch.tensor([1.0, 3.0], dtype=torch.bfloat16), "i": torch.tensor([1, 2**40]), "c": torch.tensor([1 + 2j]), "b": torch.tensor([True])}
    torch.save(tensors, file)
    swapped = io.BytesIO()
    sizes = {"data/0": 4, "data/1": 2, "data/2": 8, "data/3": 4, "data/4": 1}
    with zipfile.ZipFile(file) as old, zipfile.ZipFile(swapped, "w") as new:
        for info in old.infolist():
            data = old.read(info)
            name = info.filename.partition("/")[2]
            if name == "byteorder":
                data = b"big"
            elif name in sizes:
                data = np.frombuffer(data, f"u{sizes[name]}").byteswap().tobytes()
            new.writestr(info.filename, data)
    swapped.seek(0)
    assert same(nr.load(swapped), tensors)


def test_map_location_goes_by_device_name_or_function():
    import jax

    where = []
    cpu = jax.devices("cpu")[0]
    sharding = jax.sharding.NamedSharding(jax.sharding.Mesh(np.array([cpu]), ("x",)), jax.sharding.PartitionSpec("x"))
    theirs = {"model": {"a.w": torch.ones(4), "b": torch.nn.Parameter(torch.zeros(2))}, "pair": (torch.zeros(4), [torch.ones(1)])}
    from_torch(theirs, map_location=lambda tensor, location: where.append((tuple(tensor.shape), location)))
    assert where == [((4,), "cpu"), ((2,), "cpu"), ((4,), "cpu"), ((1,), "cpu")]
    assert from_torch(theirs, map_location="cpu")["model"]["a.w"]._value.committed
    ours = from_torch(theirs, map_location={"a.w": sharding, "pair.0": sharding, "model.b": sharding})
    assert ours["model"]["a.w"].sharding == ours["pair"][0].sharding == ours["model"]["b"].sharding == sharding
    assert isinstance(ours["model"]["b"], nr.nn.Parameter) and not ours["pair"][1][0]._value.committed


class Unpicklable:
    pass


@FORMATS
@pytest.mark.parametrize(
    ("thing", "name"),
    [
        (argparse.Namespace(a=1), "argparse.Namespace"),
        (torch.nn.ReLU(), "torch.nn.modules.activation.ReLU"),
        (torch.eye(2).to_sparse(), "_rebuild_sparse_tensor"),
        (torch.ones(2, device="meta"), "_rebuild_meta_tensor_no_storage"),
        (print, "print"),
        (os.system, "posix.system"),
        (np.array([Unpicklable()], dtype=object), "object|damaged"),
        (Unpicklable(), "Unpicklable"),
        (torch.Generator, "torch"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_data_is_refused_by_name(thing, name, zipped):
    with pytest.raises((pickle.UnpicklingError, RuntimeError), match=name) as caught:
        from_torch({"model": {"thing": thing}}, zipped)
    if "object" not in name:
        assert isinstance(caught.value, pickle.UnpicklingError) and "thing" in str(caught.value)


@pytest.mark.filterwarnings("ignore")
def test_quantized_tensors_are_refused_by_name():
    with pytest.raises(pickle.UnpicklingError, match="QInt8Storage|_rebuild_qtensor"):
        from_torch({"q": torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8)})


@pytest.mark.parametrize(
    ("thing", "name"),
    [(lambda: 1, "function"), (nr.nn.Linear(1, 1), r"save: at 'a\.0'.*Linear.*state_dict"), (frozenset(), "frozenset"), (1 << 3000, "376 bytes"), (range(3), "range")],
    ids=["function", "module", "frozenset", "int", "range"],
)
def test_what_no_file_takes_is_refused_and_the_old_file_stays(tmp_path, thing, name):
    path = tmp_path / "w.pt"
    nr.save(1, path)
    with pytest.raises(TypeError, match=name):
        nr.save({"a": [thing]}, path)
    assert nr.load(path) == 1 and len(list(tmp_path.iterdir())) == 1


def test_files_of_other_kinds_are_told_from_pytorchs(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.ones(2))
    with pytest.raises(RuntimeError, match=r"no file of torch\.save"):
        nr.load(tmp_path / "a.npz")
    with zipfile.ZipFile(tmp_path / "code.pt", "w") as archive:
        archive.writestr("m/data.pkl", b"\x80\x02N.")
        archive.writestr("m/constants.pkl", b"\x80\x02).")
    with pytest.raises(RuntimeError, match="TorchScript"):
        nr.load(tmp_path / "code.pt")
    (tmp_path / "t.pt").write_bytes(b"hello world" * 100)
    with pytest.raises(RuntimeError, match=r"t\.pt is no file of torch\.save"):
        nr.load(tmp_path / "t.pt")
    with pytest.raises(FileNotFoundError):
        nr.load(tmp_path / "absent.pt")


def test_several_objects_in_one_file_of_the_older_format():
    file = io.BytesIO()
    for i in range(3):
        torch.save({"x": torch.full((2,), i)}, file, _use_new_zipfile_serialization=False)
    file.seek(0)
    assert [nr.load(file)["x"].tolist() for _ in range(3)] == [[0, 0], [1, 1], [2, 2]]


def test_pytorch_is_not_needed(tmp_path):
    torch.save({"w": torch.arange(3), "f8": torch.ones(2).to(torch.float8_e5m2)}, tmp_path / "w.pt")
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "import neurarust_jax as nr\n"
        f"x = nr.load({str(tmp_path / 'w.pt')!r})\n"
        f"nr.save({{**x, 'd': nr.float16}}, {str(tmp_path / 'v.pt')!r})\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    loaded = torch.load(tmp_path / "v.pt", weights_only=True)
    assert loaded["w"].tolist() == [0, 1, 2] and loaded["f8"].dtype == torch.float8_e5m2 and loaded["d"] is torch.float16
