"""The programs in examples/ run, and do what they say."""

import gzip
import importlib.util
import struct
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

EXAMPLES = Path(__file__).parents[1] / "examples"


def load(name):
    """An example as a module."""
    specification = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


# --- mnist -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def mnist():
    return load("mnist")


@pytest.fixture(scope="module")
def compiled_run(mnist, tmp_path_factory):
    """(accuracy, folder) of the demo as `make demo` runs it."""
    out = tmp_path_factory.mktemp("demo")
    return mnist.main(["--out", str(out)]), out


def test_demo_reaches_97_percent_and_writes_weights_and_pictures(compiled_run):
    accuracy, out = compiled_run
    assert accuracy >= 0.97
    assert sorted(path.name for path in out.iterdir()) == ["learning_curve.png", "predictions.png", "weights.safetensors"]
    assert all(path.stat().st_size > 10_000 for path in out.iterdir())


def test_demo_ends_with_the_same_accuracy_eagerly(mnist, compiled_run, tmp_path):
    assert mnist.main(["--out", str(tmp_path), "--eager"]) == compiled_run[0]


@pytest.mark.parametrize("mode", [[], ["--eager"]], ids=["compiled", "eager"])
def test_demo_repeats_bit_for_bit_for_a_seed(mnist, tmp_path, mode):
    weights = []
    for name, seed in (("a", "7"), ("b", "7"), ("c", "8")):
        mnist.main(["--epochs", "1", "--seed", seed, "--out", str(tmp_path / name), *mode])
        weights.append((tmp_path / name / "weights.safetensors").read_bytes())
    assert weights[0] == weights[1]
    assert weights[0] != weights[2]


def write_idx(path, array):
    content = b"\0\0\x08" + bytes([array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


@pytest.mark.parametrize(("parts", "suffix"), [(["train", "t10k"], ""), (["t10k"], ".gz")])
def test_demo_trains_on_idx_files(mnist, tmp_path, parts, suffix, capsys):
    digits = load_digits()
    images = np.kron(digits.images[:600] / 16 * 255, np.ones((2, 2))).astype(np.uint8)
    for part in parts:
        write_idx(tmp_path / f"{part}-images-idx3-ubyte{suffix}", images)
        write_idx(tmp_path / f"{part}-labels-idx1-ubyte{suffix}", digits.target[:600].astype(np.uint8))
    assert mnist.main(["--data", str(tmp_path), "--epochs", "5", "--out", str(tmp_path / "out")]) > 0.8
    assert ("600 images to train on, 600 held out" if len(parts) == 2 else "480 images to train on, 120 held out") in capsys.readouterr().out


def test_demo_says_what_is_wrong_with_idx_files(mnist, tmp_path):
    with pytest.raises(SystemExit, match="has neither train-images-idx3-ubyte"):
        mnist.main(["--data", str(tmp_path)])
    write_idx(tmp_path / "t10k-images-idx3-ubyte", np.zeros((4, 8, 8), np.uint8))
    write_idx(tmp_path / "t10k-labels-idx1-ubyte", np.zeros(3, np.uint8))
    with pytest.raises(SystemExit, match=r"images of shape \(4, 8, 8\) and labels of shape \(3,\)"):
        mnist.main(["--data", str(tmp_path)])
    path = tmp_path / "t10k-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(SystemExit, match="t10k-images-idx3-ubyte is cut off"):
        mnist.main(["--data", str(tmp_path)])
    path.write_bytes(b"PNG")
    with pytest.raises(SystemExit, match="is no IDX file"):
        mnist.main(["--data", str(tmp_path)])


# --- the others --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [[], ["--eager"]], ids=["compiled", "eager"])
def test_gpt_learns_a_text_and_writes(tmp_path, capsys, mode):
    path = tmp_path / "text.txt"
    path.write_text("to be or not to be, that is the question. " * 50, encoding="utf-8")
    small = ["--context", "16", "--width", "32", "--heads", "2", "--layers", "1", "--characters", "20", "--prompt", "to be or", "--steps", "80"]
    loss = load("gpt").main(["--text", str(path), *small, *mode])
    assert loss < 1.5  # of log(17) = 2.8 at the start
    assert capsys.readouterr().out.splitlines()[-1].startswith("to be or")


def test_gpt_reads_the_standard_library_by_default():
    text = load("gpt").read_corpus(None)
    assert len(text) > 100_000
    assert "class ArgumentParser" in text


def test_gpt_refuses_a_text_shorter_than_its_context(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("short", encoding="utf-8")
    with pytest.raises(SystemExit, match="the text has 5 characters"):
        load("gpt").main(["--text", str(path)])


def test_per_sample_gradients_agree_with_a_loop(capsys):
    assert load("per_sample_gradients").main(["--batch-size", "8"]) < 1e-6
    assert "greatest difference from the loop" in capsys.readouterr().out
