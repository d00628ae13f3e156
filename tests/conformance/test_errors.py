"""Errors of layers and their functions: they are PyTorch's classes, and say what was given, what was expected and in which layer."""

import numpy as np
import pytest
import torch.nn.functional as TF

import neurarust_jax as nr
import neurarust_jax.nn.functional as F
from tests.oracle import check_both_raise

G = np.random.default_rng(0)


def normal(*shape):
    return G.standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: nr.nn.Linear(3, 2)(nr.ones(4, 5)), r"mat1 and mat2 shapes cannot be multiplied.*\(4, 5\) and \(2, 3\).*in_features=5.*\n.*Linear\(in_features=3"),
        (lambda: nr.nn.Linear(3, 2)(nr.ones(4, 3).double()), r"one dtype, got input float64, weight float32.*\.to\(nr\.float64\)"),
        (lambda: nr.nn.Conv2d(3, 2, 3)(nr.ones(1, 4, 8, 8)), r"to have 3 channels, but got 4"),
        (lambda: nr.nn.Conv2d(3, 2, 3)(nr.ones(3, 8)), r"Expected 3D \(unbatched\) or 4D \(batched\) input"),
        (lambda: nr.nn.Conv2d(3, 2, 5)(nr.ones(1, 3, 4, 4)), r"Kernel size can't be greater than actual input size"),
        (lambda: nr.nn.LayerNorm(3)(nr.ones(2, 4)), r"normalized_shape=\[3\], expected input with shape \[\*, 3\], but got input of size\[2, 4\]"),
        (lambda: nr.nn.BatchNorm2d(3)(nr.ones(2, 3, 4)), r"expected 4D input \(got 3D input\)"),
        (lambda: nr.nn.BatchNorm2d(3)(nr.ones(2, 4, 4, 4)), r"running_mean should contain 4 elements not 3"),
        (lambda: nr.nn.BatchNorm2d(3)(nr.ones(1, 3, 1, 1)), r"more than 1 value per channel when training.*model\.eval\(\)"),
        (lambda: nr.nn.MaxPool2d(2)(nr.ones(3, 4)), r"expected 3D or 4D input"),
        (lambda: nr.nn.Dropout(1.5), r"between 0 and 1, but got 1\.5"),
    ],
)
def test_layers_explain_bad_input(call, text):
    with pytest.raises((RuntimeError, ValueError), match=f"(?s){text}"):
        call()


def test_an_error_names_the_layers_path():
    class Block(nr.nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = [nr.nn.Linear(4, 4), nr.nn.Linear(3, 4)]

        def forward(self, x):
            return self.layers[1](self.layers[0](x))

    model = nr.nn.Sequential(nr.nn.ReLU(), Block())
    for run in (model, nr.jit(model)):
        with pytest.raises(RuntimeError, match=r"in layer '1\.layers\.1': Linear\(in_features=3, out_features=4, bias=True\)"):
            run(nr.ones(2, 4))


def test_errors_are_pytorchs_classes():
    check_both_raise(lambda *x: F.linear(*x), lambda *x: TF.linear(*x), normal(2, 3), normal(4, 5))
    check_both_raise(F.cross_entropy, TF.cross_entropy, normal(2, 3), np.array([0, 5]))
    check_both_raise(F.embedding, TF.embedding, np.array([9]), normal(2, 3))
