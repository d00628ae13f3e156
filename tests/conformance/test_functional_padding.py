"""Padding, unfold and fold against PyTorch."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as TF

import neurarust_jax as nr
import neurarust_jax.nn.functional as F
from tests.oracle import check, check_both_raise

G = np.random.default_rng(0)


def normal(*shape):
    return G.standard_normal(shape)


def both(name, *arrays, **options):
    """The function in both libraries, with values, gradients, eagerly and compiled."""
    check(getattr(F, name), getattr(TF, name), *arrays, **options)


@pytest.mark.parametrize(
    ("size", "pad"),
    [((3, 5), (2, 1)), ((2, 3, 5), (-2, 3)), ((2, 3, 5), (3, -4)), ((3, 4, 5), (1, 2, 3, 0)), ((2, 3, 4, 5), (-1, 2, 2, -2)), ((1, 2, 3, 4, 5), (1, 2, -1, 2, 0, 1)), ((0, 3, 5), (1, 2))],
    ids=str,
)
@pytest.mark.parametrize("mode", ["constant", "reflect", "replicate", "circular"])
def test_every_mode_adds_and_cuts(mode, size, pad):
    if mode == "circular" and pad == (3, -4):
        return  # one element is left, which does not go around three times
    both("pad", normal(*size), pad, mode=mode)


def test_constant_of_any_shape_and_dtype():
    both("pad", np.float64(3.0), [])
    both("pad", normal(3), (1, 2), value=-math.inf)
    both("pad", normal(2, 1, 3, 1, 2, 2), (1, 0, 0, 0, 2, 1, 0, 3), value=1.5)
    both("pad", normal(2, 3), (-1, -2))
    both("pad", normal(2, 3), (0, 0, 0, 0))
    both("pad", normal(2, 0), (1, 1, 0, 1), value=2)
    both("pad", G.integers(-5, 5, (2, 3)), (1, 1), value=1.7)
    both("pad", G.integers(0, 5, (2, 3)).astype(np.uint8), (1, 1), value=7)
    both("pad", G.random((2, 3)) > 0.5, (1, 1), value=2)
    both("pad", normal(2, 3) + 1j * normal(2, 3), (1, 1), value=2)
    both("pad", normal(2, 3).astype(np.float16), (1, 1), value=2)


def test_other_modes_of_other_dtypes():
    for mode in ("reflect", "replicate", "circular"):
        both("pad", G.integers(-5, 5, (2, 3)), (2, 1), mode=mode)
        both("pad", normal(2, 3) + 1j * normal(2, 3), (2, 1), mode=mode, value=None)
    both("pad", G.random((2, 3)) > 0.5, (3, 1), mode="circular")
    both("pad", normal(2, 3), (-1, -2), mode="circular")
    both("pad", normal(2, 3), (1, 1), mode="reflect", value=0)


@pytest.mark.parametrize(
    ("size", "pad", "options"),
    [
        ((2, 3), (1,), {}),
        ((2, 3), (1, 1, 1, 1, 1, 1), {}),
        ((2, 3), (-2, -2), {}),
        ((2, 3), (3, -4), {}),
        ((2, 3), (1, 1), {"mode": "mirror"}),
        ((2, 3), (1, 1), {"mode": "reflect", "value": 1.0}),
        ((2, 3), (3, 1), {"mode": "reflect"}),
        ((2, 3), (1, -4), {"mode": "reflect"}),
        ((2, 0), (1, 1), {"mode": "replicate"}),
        ((2, 3), (4, 0), {"mode": "circular"}),
        ((3,), (1, 1), {"mode": "reflect"}),
        ((1, 1, 3, 3), (1, 1), {"mode": "circular"}),
        ((2, 3), (1, 1, 1, 1), {"mode": "replicate"}),
        ((2, 3), (), {"mode": "reflect"}),
    ],
    ids=str,
)
def test_pad_errors_are_pytorchs_classes(size, pad, options):
    check_both_raise(F.pad, TF.pad, normal(*size), pad, **options)


def test_a_mode_that_does_not_exist_is_not_implemented():
    for library in (F, TF):
        with pytest.raises(NotImplementedError, match="Unrecognised padding mode mirror"):
            library.pad({F: nr.ones, TF: torch.ones}[library](2, 3), (1, 1), mode="mirror")
        with pytest.raises(NotImplementedError, match="Padding size 2 is not supported for 1D input tensor"):
            library.pad({F: nr.ones, TF: torch.ones}[library](3), (1, 1), mode="reflect")


def test_padding_layers_refuse_what_pytorchs_refuse():
    for make, kind in (
        (lambda nn, ones: nn.CircularPad1d(1)(ones(2, 3, 4, 5)), ValueError),
        (lambda nn, ones: nn.ReflectionPad2d(1)(ones(3, 4)), NotImplementedError),
        (lambda nn, ones: nn.ReplicationPad1d(1)(ones(4)), NotImplementedError),
    ):
        for library in (torch, nr):
            with pytest.raises(kind):
                make(library.nn, library.ones)


UNFOLDS = [
    ((2, 3, 5, 6), {"kernel_size": (2, 3)}),
    ((3, 5, 6), {"kernel_size": 2, "stride": (2, 1), "padding": (1, 0)}),
    ((1, 2, 7, 8), {"kernel_size": (3, 2), "dilation": (2, 3), "padding": 2, "stride": (1, 3)}),
    ((0, 2, 3, 4), {"kernel_size": 2}),
]


@pytest.mark.parametrize(("size", "options"), UNFOLDS, ids=str)
def test_unfold_and_fold(size, options):
    x = normal(*size)
    both("unfold", x, **options)
    columns = normal(*TF.unfold(torch.tensor(x), **options).shape)
    both("fold", columns, output_size=size[-2:], **options)
    both("unfold", x + 1j * normal(*size), **options)
    both("fold", columns * 1j, output_size=size[-2:], **options)


def test_unfold_and_fold_of_booleans_and_half_precision():
    both("unfold", G.random((1, 1, 3, 4)) > 0.5, 2)
    both("fold", G.random((1, 4, 6)) > 0.5, (3, 4), 2)
    both("unfold", normal(1, 1, 3, 4).astype(np.float16), 2)
    both("fold", normal(1, 4, 6).astype(np.float16), (3, 4), 2)


@pytest.mark.parametrize(
    ("name", "size", "arguments"),
    [
        ("unfold", (1, 1, 3, 3), (4,)),
        ("unfold", (1, 1, 3, 3), (2, 1, 0, 0)),
        ("unfold", (1, 1, 3, 3), (0,)),
        ("unfold", (1, 1, 3, 3), (2, 0)),
        ("unfold", (1, 1, 3, 3), (2, 1, -1)),
        ("unfold", (1, 0, 3, 3), (2,)),
        ("fold", (1, 3, 1), (2, 2)),
        ("fold", (1, 4, 2), (2, 2)),
        ("fold", (4,), (2, 2)),
        ("fold", (1, 4, 1), ((2, 2, 2), 2)),
        ("fold", (1, 4, 1), (0, 2)),
    ],
    ids=str,
)
def test_fold_errors_are_pytorchs_classes(name, size, arguments):
    check_both_raise(getattr(F, name), getattr(TF, name), normal(*size), *arguments)
