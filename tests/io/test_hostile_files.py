"""Files that are truncated, altered, or made to do harm: each gives an error of ours or loads, quickly, in little memory, and executes nothing."""

import io
import pickle
import random
import struct
import sys
import threading
import time
import tracemalloc
import zipfile

import numpy as np
import pytest
import torch

import neurarust_jax as nr
from neurarust_jax.errors import NeuraRustError

SECONDS, BYTES = 1.0, 64 << 20


def safetensors_file():
    path = io.BytesIO()
    from neurarust_jax.io import safetensors

    safetensors.save({"w": np.arange(64, dtype=np.float32).reshape(8, 8), "b": np.ones(3, np.int64)}, path, {"format": "pt"})
    return path.getvalue()


def pytorch_file(zipped):
    file = io.BytesIO()
    model = torch.nn.Linear(4, 3)
    state = {
        "model": model.state_dict(),
        "epoch": 3,
        "names": ["a", ("b", b"c")],
        "view": torch.arange(10)[2:6],
        "p": torch.nn.Parameter(torch.ones(2)),
        "np": np.float64(1),
    }
    torch.save(state, file, _use_new_zipfile_serialization=zipped)
    return file.getvalue()


def load(content):
    """Load, and check the time, the memory and the class of the error, which is returned."""
    tracemalloc.start()
    begin = time.perf_counter()
    error = None
    try:
        nr.load(io.BytesIO(content))
    except (NeuraRustError, UnicodeError) as raised:
        error = raised
    seconds, (_, peak) = time.perf_counter() - begin, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert seconds < SECONDS and peak < BYTES, (seconds, peak)
    return error


def altered(content, rng):
    """A copy with one kind of damage."""
    data = bytearray(content)
    kind = rng.randrange(5)
    if kind == 0:
        return bytes(data[: rng.randrange(len(data))])
    if kind == 1:
        for _ in range(rng.randint(1, 4)):
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    elif kind == 2:  # a forged length
        width = rng.choice([2, 4, 8])
        at = rng.randrange(len(data) - width)
        data[at : at + width] = rng.choice([b"\xff" * width, (1 << (8 * width - 2)).to_bytes(width, "little"), rng.randbytes(width)])
    elif kind == 3:  # a piece in another place
        a, b, n = rng.randrange(len(data)), rng.randrange(len(data)), rng.randrange(1, 64)
        data[a : a + n] = data[b : b + n]
    else:
        at = rng.randrange(len(data))
        data[at:at] = rng.randbytes(rng.randint(1, 16))
    return bytes(data)


def zipped(pickled, records=()):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a/data.pkl", pickled)
        for name, data in records:
            archive.writestr(f"a/{name}", data)
    return file.getvalue()


def random_pickle(rng):
    """Opcodes in any order, as code that a file brings would be made of."""
    pieces = [
        b"cos\nsystem\n", b"cbuiltins\neval\n", b"cposix\nsystem\n", b"cbuiltins\ngetattr\n", b"X\x04\x00\x00\x00echo", b"(", b"t", b"R", b"\x85", b"\x81", b"b", b"}", b"]", b"u", b"e", b"s",
        b"a", b"N", b"K\x01", b"q\x00", b"h\x00", b"r" + b"\xff" * 4, b"2", b"0", b"1", b"ctorch._utils\n_rebuild_tensor_v2\n", b"ctorch\nFloatStorage\n", b"Q", b"ccollections\nOrderedDict\n",
        b"\x8b" + b"\xff" * 4, b"\x8e" + b"\xff" * 8, b"X\xff\xff\xff\xff", b"\x96" + b"\xff" * 7 + b"\x0f", b"\x8a\xff", b"c__builtin__\nset\n", b"cbuiltins\nbytearray\n", b"\x93", b"i", b"o",
    ]  # fmt: skip
    return b"\x80\x02" + b"".join(rng.choice(pieces) for _ in range(rng.randint(1, 60))) + rng.choice([b".", b"R.", b"tR.", b""])


def fuzz(count, seed):
    """Load `count` inputs, and return how many were refused."""
    rng = random.Random(seed)
    wholes = [safetensors_file(), pytorch_file(True), pytorch_file(False)]
    inner = zipfile.ZipFile(io.BytesIO(wholes[1]))
    prefix = inner.namelist()[0].partition("/")[0]
    records = [(name.partition("/")[2], inner.read(name)) for name in inner.namelist() if "data/" in name]
    refused = 0
    for i in range(count):
        if i % 4 == 0:
            content = zipped(random_pickle(rng))
        elif i % 4 == 1:  # past the archive's checksums, so that the pickle is read
            content = zipped(altered(inner.read(f"{prefix}/data.pkl"), rng), records)
        else:
            content = altered(rng.choice(wholes), rng)
        refused += load(content) is not None
    return refused


@pytest.fixture(autouse=True)
def nothing_is_executed():
    """Any start of a process, class looked up by a pickle, or code run is noticed, but for modules imported on first use and the code that ops are made of."""
    noticed = []
    watching = [True]

    def hook(event, arguments):
        if (
            watching[0]
            and event in ("os.system", "subprocess.Popen", "os.exec", "os.posix_spawn", "os.fork", "pickle.find_class", "exec")
            and not any(own in str(arguments)[:200] for own in ("torch", "<op ", "site-packages", "neurarust_jax"))
        ):
            noticed.append((event, str(arguments)[:100]))

    if not hasattr(sys, "_watched_by_hostile_files"):
        sys.addaudithook(lambda event, arguments: sys._watched_by_hostile_files(event, arguments) if getattr(sys, "_watched_by_hostile_files", None) else None)
    sys._watched_by_hostile_files = hook
    nr.load(io.BytesIO(pytorch_file(True)))  # compiles and imports what it needs
    noticed.clear()
    yield noticed
    watching[0] = False
    sys._watched_by_hostile_files = None
    assert not noticed


def test_a_sample_of_damaged_files(nothing_is_executed):
    assert fuzz(120, 0) > 90


@pytest.mark.exhaustive
def test_a_thousand_damaged_files(nothing_is_executed):
    assert fuzz(2000, 1) > 1500


def rebuild(storage, offset, size, stride):
    """The pickle of one tensor under the name 'layer.weight'."""
    numbers = lambda values: b"(" + b"".join(b"\x8a" + bytes([len(b)]) + b for b in (v.to_bytes(v.bit_length() // 8 + 1, "little") for v in values)) + b"t"  # noqa: E731
    text = lambda s: b"X" + struct.pack("<I", len(s)) + s.encode()  # noqa: E731
    identity = b"(" + text("storage") + b"ctorch\nFloatStorage\n" + text("0") + text("cpu") + numbers([storage])[1:-1] + b"tQ"
    arguments = b"(" + identity + numbers([offset])[1:-1] + numbers(size) + numbers(stride) + b"\x89" + b"ccollections\nOrderedDict\n)Rt"
    return b"\x80\x02}" + text("layer.weight") + b"ctorch._utils\n_rebuild_tensor_v2\n" + arguments + b"Rs."


class Runs:
    def __reduce__(self):
        import os

        return os.system, ("touch /tmp/was_executed",)


HOSTILE = {
    "code": (lambda: zipped(pickle.dumps({"layer.weight": Runs()}, 2)), "layer.weight.*system.*refused"),
    "code of protocol 4": (lambda: zipped(pickle.dumps(Runs(), 4)), "system.*refused"),
    "storage larger than the file": (lambda: zipped(rebuild(1 << 40, 0, [1 << 40], [1]), [("data/0", b"1234")]), "layer.weight"),
    "record shorter than its storage": (lambda: zipped(rebuild(3, 0, [3], [1]), [("data/0", bytes(8))]), "layer.weight.*8 bytes"),
    "view outside its storage": (lambda: zipped(rebuild(2, 1, [2], [1]), [("data/0", bytes(8))]), "layer.weight.*reach element 2"),
    "strides far away": (lambda: zipped(rebuild(2, 0, [2], [1 << 60]), [("data/0", bytes(8))]), "layer.weight.*reach element"),
    "one element expanded to a petabyte": (lambda: zipped(rebuild(1, 0, [1 << 50], [0]), [("data/0", bytes(4))]), "layer.weight.*more memory than the file"),
    "no record": (lambda: zipped(rebuild(1, 0, [1], [1])), "layer.weight.*no record data/0"),
    "int of four gigabytes": (lambda: zipped(b"\x80\x02\x8b\xff\xff\xff\xff."), "int of"),
    "text of an exabyte": (lambda: zipped(b"\x80\x04\x8d" + b"\xff" * 7 + b"\x0f."), "more bytes were to come"),
    "memo of four billion": (lambda: zipped(b"\x80\x02Nr\xff\xff\xff\xff0]a."), "damaged"),
    "nested for ever": (lambda: zipped(b"\x80\x02" + b"(" * 100_000 + b"."), "nested too deeply"),
    "key that takes for ever to hash": (lambda: zipped(b"\x80\x02})" + b"q\x00h\x00\x86" * 60 + b"Ns."), "too many parts"),
    "bytearray by its length": (lambda: zipped(b"\x80\x02cbuiltins\nbytearray\n\x8a\x06" + bytes([0, 0, 0, 0, 0, 1]) + b"\x85R."), "bytearray"),
    "attribute of an ordered dict": (lambda: zipped(b"\x80\x02ccollections\nOrderedDict\n)RK\x01b."), "state of an OrderedDict"),
    "state of a tensor class": (lambda: zipped(b"\x80\x02ctorch\nTensor\n}b."), "refused"),
    "compressed bomb": (lambda: bomb(), "compressed"),
    "overlapping records": (lambda: overlapping(), "cannot be"),
    "tar": (lambda: b"storages".ljust(257, b"\0") + b"ustar".ljust(2000, b"\0"), "no file of torch.save"),
}  # fmt: skip


def bomb():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data.pkl", bytes(1 << 24))
    return file.getvalue()


def overlapping():
    """A directory that names one record of a megabyte a hundred times."""
    content = bytearray(zipped(b"\x80\x02N.", [("data/0", bytes(1 << 20))]))
    end = content.rfind(b"PK\x05\x06")
    begin = int.from_bytes(content[end + 16 : end + 20], "little")
    entries = bytes(content[begin:end])
    second = entries.find(b"PK\x01\x02", 4)
    many = entries[:second] + b"".join(entries[second:].replace(b"data/0", f"data/{i}"[:6].ljust(6).encode()) for i in range(100))
    tail = content[end:]
    tail[8:12] = struct.pack("<2H", 101, 101)
    tail[12:16] = struct.pack("<L", len(many))
    return bytes(content[:begin]) + many + bytes(tail)


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_refused(name, tmp_path, nothing_is_executed):
    make, text = HOSTILE[name]
    error = load(make())
    assert error is not None
    with pytest.raises(RuntimeError, match=text):
        raise error
    path = tmp_path / "hostile.pt"
    path.write_bytes(make())
    with pytest.raises(RuntimeError, match="hostile.pt"):
        nr.load(path)


def test_a_file_refused_at_load_has_changed_nothing(tmp_path):
    model = nr.nn.Linear(4, 4)
    path = tmp_path / "w.pt"
    nr.save(model.state_dict(), path)
    content = bytearray(path.read_bytes())
    at = content.find(model.bias.numpy(force=True).tobytes())
    content[at] ^= 1
    path.write_bytes(content)
    before = model.weight.detach()
    with pytest.raises(RuntimeError, match=r"w\.pt is damaged.*'bias'.*checksum"):
        model.load_state_dict(nr.load(path))
    assert nr.equal(model.weight, before)


# --- large files, whose records threads read ---------------------------------------------------------------------------


@pytest.fixture
def large(tmp_path):
    """A file of 20 MB, its path and its tensors."""
    tensors = {f"layer{i}.weight": torch.arange(i, i + 500_000, dtype=torch.float32) for i in range(10)}
    torch.save(tensors, tmp_path / "large.pt")
    return tmp_path / "large.pt", tensors


def test_a_large_file_is_read_whole(large):
    path, tensors = large
    for f in (path, io.BytesIO(path.read_bytes())):  # in threads, and by one
        loaded = nr.load(f)
        assert list(loaded) == list(tensors)
        for name, tensor in tensors.items():
            np.testing.assert_array_equal(loaded[name].numpy(), tensor.numpy())


@pytest.mark.parametrize("number", [0, 4, 9])
def test_a_flipped_bit_in_a_large_file_is_told_with_the_tensor(large, number):
    path, _ = large
    damaged = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        begin = archive.getinfo(f"large/data/{number}").header_offset
    damaged[begin + 1_000_000] ^= 4
    path.write_bytes(damaged)
    with pytest.raises(NeuraRustError, match=rf"large\.pt.*record 'large/data/{number}' of .*layer{number}\.weight.*checksum differs"):
        nr.load(path)


def test_a_large_file_that_is_refused_is_not_read(large):
    path, tensors = large
    torch.save({"first": pickle.PickleBuffer, **tensors}, path)
    tracemalloc.start()
    with pytest.raises(pickle.UnpicklingError, match="PickleBuffer"):
        nr.load(path)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 1 << 20


def test_threads_that_read_end_with_the_load(large):
    before = threading.active_count()
    path, tensors = large
    torch.save({**tensors, "last": pickle.PickleBuffer}, path)
    with pytest.raises(pickle.UnpicklingError, match="PickleBuffer"):
        nr.load(path)
    assert threading.active_count() == before
