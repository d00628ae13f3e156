"""Convolutions against PyTorch: every argument, and every form that is chosen by shape."""

import jax
import numpy as np
import pytest
import torch
import torch.nn.functional as TF

import neurarust_jax as nr
import neurarust_jax.nn.functional as F
from tests.oracle import assert_same, check, check_both_raise

G = np.random.default_rng(0)


def normal(*shape, dtype=np.float64):
    values = G.standard_normal(shape)
    return (values + 1j * G.standard_normal(shape) if np.dtype(dtype).kind == "c" else values).astype(dtype)


def both(name, *arrays, **options):
    """The function in both libraries, with values, gradients, eagerly and compiled."""
    check(getattr(F, name), getattr(TF, name), *arrays, **options)


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")  # PyTorch's own
@pytest.mark.parametrize(
    ("size", "weight", "options"),
    [
        ((2, 3, 8), (4, 3, 3), {"stride": 2, "padding": 1, "dilation": 2}),
        ((2, 3, 6), (4, 3, 2), {"padding": 2}),  # the output is longer than the input
        ((2, 3, 5, 6), (4, 3, 1, 1), {"stride": (2, 3), "padding": (1, 0)}),  # a matrix product
        ((2, 3, 5, 6), (4, 3, 3, 2), {"padding": "same"}),
        ((3, 5, 6), (4, 3, 3, 2), {"padding": "valid", "stride": [1, 2]}),
        ((2, 4, 5, 6), (8, 1, 3, 2), {"groups": 4, "stride": (1, 2), "padding": 1}),  # depthwise, two outputs from each channel
        ((1, 2, 12, 11), (2, 1, 9, 8), {"groups": 2}),  # depthwise, too large a kernel to write out
        ((2, 6, 5, 6), (4, 3, 2, 2), {"groups": 2, "padding": 1}),  # a few groups
        ((2, 18, 5), (36, 2, 2), {"groups": 9, "stride": 2, "padding": 1}),  # many groups
        ((2, 18, 3, 4), (9, 2, 2, 2), {"groups": 9, "dilation": (1, 2)}),
        ((2, 2, 4, 5, 3), (3, 2, 2, 3, 2), {"stride": (2, 1, 1), "padding": (1, 0, 1), "dilation": (1, 2, 1)}),
        ((2, 2, 3, 4, 3), (4, 1, 2, 2, 1), {"groups": 2}),
        ((2, 18, 2, 3, 3), (9, 2, 2, 2, 1), {"groups": 9}),
        ((0, 3, 5, 6), (4, 3, 3, 2), {}),
        ((0, 18, 5), (9, 2, 2), {"groups": 9}),
        ((0, 2, 3, 3, 3), (2, 2, 2, 2, 2), {}),
    ],
    ids=str,
)
def test_convolution(size, weight, options):
    n = len(weight) - 2
    both(f"conv{n}d", normal(*size), normal(*weight), normal(weight[0]), **options)


@pytest.mark.parametrize(
    ("size", "weight", "options"),
    [
        ((2, 3, 5), (3, 4, 3), {"stride": 2, "padding": 1, "output_padding": 1}),
        ((2, 3, 5), (3, 4, 2), {"stride": 3, "padding": 3, "dilation": 4, "output_padding": 3}),  # more padding than the kernel is wide
        ((2, 3, 5), (3, 4, 2), {"padding": 2}),
        ((3, 4, 5), (3, 4, 3, 4), {"stride": (2, 1), "dilation": (1, 2)}),
        ((2, 4, 3, 4), (4, 3, 2, 2), {"stride": 2, "groups": 2}),
        ((2, 4, 3, 4), (4, 2, 1, 2), {"stride": (2, 3), "groups": 4}),
        ((2, 3, 4, 5), (3, 4, 3, 4), {"padding": 1, "dilation": 2, "output_padding": (1, 0)}),
        ((1, 2, 2, 3, 2), (2, 2, 3, 2, 1), {"stride": (2, 1, 3), "padding": (1, 0, 0), "output_padding": (1, 0, 2)}),
        ((0, 3, 4, 5), (3, 4, 3, 4), {"stride": 2}),
        ((0, 3, 4, 5), (3, 4, 3, 4), {}),
    ],
    ids=str,
)
def test_transposed_convolution(size, weight, options):
    n = len(weight) - 2
    both(f"conv_transpose{n}d", normal(*size), normal(*weight), normal(weight[1] * options.get("groups", 1)), **options)


@pytest.mark.parametrize(("groups", "channels"), [(1, 2), (2, 2), (9, 18)])
def test_complex_numbers_and_integers(groups, channels):
    shapes = (2, channels, 4, 5), (channels, channels // groups, 2, 2)
    both("conv2d", *(normal(*s, dtype=np.complex128) for s in shapes), padding=1, groups=groups)
    both("conv_transpose2d", *(normal(*s, dtype=np.complex128) for s in shapes), stride=2, groups=groups)
    both("conv2d", *(G.integers(-5, 5, s).astype(np.int32) for s in shapes), padding=1, groups=groups)
    both("conv_transpose2d", *(G.integers(-5, 5, s) for s in shapes), groups=groups)
    if groups == 1:
        both("conv3d", normal(1, 2, 3, 3, 3, dtype=np.complex64), normal(2, 2, 2, 2, 2, dtype=np.complex64), normal(2, dtype=np.complex64))


@pytest.mark.parametrize("groups", [1, 4, 9])
def test_half_precision_adds_up_in_single(groups):
    x, w = normal(2, 4 * groups, 6, 6, dtype=np.float16), normal(2 * groups, 4, 3, 3, dtype=np.float16)
    got = F.conv2d(nr.tensor(x), nr.tensor(w), groups=groups)
    exact = TF.conv2d(torch.tensor(x).double(), torch.tensor(w).double(), groups=groups).numpy()
    assert got.dtype == nr.float16
    np.testing.assert_allclose(got.numpy().astype(np.float64), exact, rtol=1e-3, atol=1e-2)


def test_conv_tbc():
    both("conv_tbc", normal(5, 2, 3), normal(2, 3, 4), normal(4), pad=1)
    both("conv_tbc", normal(5, 2, 3), normal(5, 3, 4), normal(4))


def test_infinities_stay_in_their_group():
    x = normal(1, 18, 5)
    x[0, 0] = np.inf
    w = np.abs(normal(9, 2, 2))
    both("conv1d", x, w, groups=9, grad=False)


def test_forward_mode_second_gradients_and_per_example_gradients():
    x, w = nr.tensor(normal(3, 12, 4, 5)), nr.tensor(normal(12, 1, 2, 2))
    loss = lambda x, w: (F.conv2d(x, w, groups=12, padding=1) ** 3).sum()  # noqa: E731
    gradient = nr.grad(loss, argnums=1)(x, w)
    _, tangent = nr.jvp(lambda w: loss(x, w), (w,), (w,))
    np.testing.assert_allclose(tangent.item(), (gradient * w).sum().item(), rtol=1e-10)
    apart = nr.vmap(nr.grad(lambda x, w: loss(x[None], w), argnums=1), (0, None))(x, w)
    np.testing.assert_allclose(apart.sum(0).numpy(), gradient.numpy(), rtol=1e-10)
    for groups, channels in ((1, 2), (9, 18)):
        arrays = normal(1, channels, 3, 4), normal(channels, channels // groups, 2, 2)
        ours = [nr.tensor(a).requires_grad_() for a in arrays]
        theirs = [torch.tensor(a).requires_grad_() for a in arrays]
        first = nr.autograd.grad((F.conv2d(*ours, groups=groups) ** 2).sum(), ours, create_graph=True)
        expected = torch.autograd.grad((TF.conv2d(*theirs, groups=groups) ** 2).sum(), theirs, create_graph=True)
        second = nr.autograd.grad((first[0] * first[1].sum()).sum(), ours)
        for a, b in zip(second, torch.autograd.grad((expected[0] * expected[1].sum()).sum(), theirs), strict=True):
            np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-10, atol=1e-9)


def test_a_network_of_convolutions_keeps_channels_last():
    """No convolution, forward or backward, runs in another layout than the one that XLA's CPU kernels take."""

    def loss(weights, x):
        for w in weights:
            x = jax.nn.relu(F.conv2d.op.function(x, w, padding=1))
        return x.sum()

    weights = [np.ones((8, 3, 3, 3), np.float32), np.ones((8, 8, 3, 3), np.float32)]
    text = str(jax.make_jaxpr(jax.grad(loss, argnums=(0, 1)))(weights, np.ones((2, 3, 8, 8), np.float32)))
    specs = [line for line in text.splitlines() if "lhs_spec" in line]
    assert len(specs) == 6
    assert all("lhs_spec=(0, 3, 1, 2)" in s or "lhs_spec=(3, 0, 1, 2)" in s for s in specs)


@pytest.mark.parametrize(
    ("name", "arrays", "options"),
    [
        ("conv2d", ((2, 2, 4, 4), (1, 2, 2, 2)), {"padding": -1}),
        ("conv2d", ((2, 2, 4, 4), (1, 2, 2, 2)), {"stride": 0}),
        ("conv2d", ((2, 2, 4, 4), (1, 2, 2, 2)), {"dilation": 0}),
        ("conv2d", ((2, 2, 4, 4), (1, 2, 2, 2)), {"groups": 0}),
        ("conv2d", ((2, 2, 4, 4), (1, 2, 2, 2)), {"stride": (1, 1, 1)}),
        ("conv2d", ((2, 2, 4, 4), (1, 2, 2, 2)), {"stride": 2.0}),
        ("conv2d", ((2, 2, 4, 4), (1, 2, 2, 2)), {"padding": "full"}),
        ("conv2d", ((2, 2, 4, 4), (1, 2, 2, 2)), {"padding": "same", "stride": 2}),
        ("conv2d", ((2, 2, 4, 4), (3, 2, 2, 2), (2,)), {}),
        ("conv2d", ((2, 2, 4, 4), (0, 2, 2, 2)), {}),
        ("conv2d", ((2, 2, 0, 4), (1, 2, 2, 2)), {"padding": 1}),
        ("conv2d", ((2, 2, 4, 4), (1, 2, 5, 2)), {}),
        ("conv2d", ((2, 4), (1, 2, 2, 2)), {}),
        ("conv3d", ((2, 2, 4, 4), (1, 2, 2, 2)), {}),
        ("conv_transpose2d", ((2, 2, 4, 4), (2, 2, 2, 2)), {"output_padding": 1}),
        ("conv_transpose2d", ((2, 2, 4, 4), (2, 2, 2, 2)), {"padding": 3}),
        ("conv_transpose2d", ((2, 3, 4, 4), (2, 2, 2, 2)), {}),
        ("conv_tbc", ((5, 2, 3), (2, 2, 4), (4,)), {}),
    ],
    ids=str,
)
def test_errors_are_pytorchs_classes(name, arrays, options):
    check_both_raise(getattr(F, name), getattr(TF, name), *(normal(*shape) for shape in arrays), **options)


def test_other_dtypes_are_refused():
    with pytest.raises(RuntimeError, match="not implemented for"):
        F.conv2d(nr.ones(1, 1, 2, 2, dtype=nr.bool), nr.ones(1, 1, 2, 2, dtype=nr.bool))
    with pytest.raises(RuntimeError, match=r"one dtype, got input float32, weight float64"):
        F.conv1d(nr.ones(1, 1, 2), nr.ones(1, 1, 2).double())


def test_layers_refuse_what_pytorchs_refuse():
    for make in (
        lambda nn: nn.Conv2d(4, 6, 3, groups=3),
        lambda nn: nn.Conv2d(4, 6, 3, groups=0),
        lambda nn: nn.Conv2d(4, 6, 3, padding="full"),
        lambda nn: nn.Conv2d(4, 6, 3, padding="same", stride=2),
        lambda nn: nn.Conv2d(4, 6, 3, padding_mode="mirror"),
        lambda nn: nn.ConvTranspose2d(4, 6, 3, padding_mode="reflect"),
    ):
        for library in (torch.nn, nr.nn):
            with pytest.raises(ValueError):  # noqa: PT011
                make(library)
    layer = nr.nn.ConvTranspose2d(1, 1, 3, stride=2)
    with pytest.raises(ValueError, match=r"valid sizes range from \[5, 7\] to \[6, 8\]"):
        layer(nr.ones(1, 1, 2, 3), output_size=(7, 7))
    with pytest.raises(ValueError, match=r"must have 2 or 4 elements \(got 3\)"):
        layer(nr.ones(1, 1, 2, 3), output_size=(1, 7, 7))


def test_a_lazy_convolution_learns_its_channels():
    for ours, theirs, shape in ((nr.nn.LazyConv2d(4, 3, groups=2), torch.nn.LazyConv2d(4, 3, groups=2), (2, 6, 5, 5)), (nr.nn.LazyConvTranspose1d(4, 3), torch.nn.LazyConvTranspose1d(4, 3), (6, 5))):
        assert repr(ours) == repr(theirs)
        theirs(torch.ones(shape))
        assert nr.jit(ours)(nr.ones(*shape)).shape == tuple(theirs(torch.ones(shape)).shape)
        assert repr(ours) == repr(theirs)
        assert [tuple(p.shape) for p in ours.parameters()] == [tuple(p.shape) for p in theirs.parameters()]
    with pytest.raises(RuntimeError, match=r"Expected 3D \(unbatched\) or 4D \(batched\) input to LazyConv2d"):
        nr.nn.LazyConv2d(4, 3)(nr.ones(5, 5))


@pytest.mark.parametrize("channels", [2, 5, 40])
@pytest.mark.parametrize("options", [{"stride": 2, "padding": 1}, {"padding": 2, "dilation": 2}])
def test_second_derivatives_and_tangents_over_few_and_many_channels(channels, options):
    """Up to 32 channels have forms and a rule of their own."""
    nr.manual_seed(0)
    x, w = nr.randn(2, channels, 6, 5, dtype=nr.float64, requires_grad=True), nr.randn(3, channels, 3, 3, dtype=nr.float64, requires_grad=True)

    def f(x, w):
        return nr.conv2d(x, w, **options)

    a, b = (torch.tensor(t.detach().numpy(), requires_grad=True) for t in (x, w))
    theirs = torch.conv2d(a, b, **options)
    firsts = torch.autograd.grad((theirs**3).sum(), (a, b), create_graph=True)
    ours = nr.autograd.grad((f(x, w) ** 3).sum(), (x, w), create_graph=True)
    for got, expected in zip(ours, firsts, strict=True):
        assert_same(got, expected, 1e-9, 1e-9)
    seconds = torch.autograd.grad(sum((g**2).sum() for g in firsts), (a, b))
    for got, expected in zip(nr.autograd.grad(sum((g**2).sum() for g in ours), (x, w)), seconds, strict=True):
        assert_same(got, expected, 1e-8, 1e-6)
    directions = nr.randn(*x.shape, dtype=nr.float64), nr.randn(*w.shape, dtype=nr.float64)
    tangent = nr.jvp(f, (x.detach(), w.detach()), directions)[1]
    d_a, d_b = (torch.tensor(d.numpy()) for d in directions)
    assert_same(tangent, (torch.conv2d(d_a, b, **options) + torch.conv2d(a, d_b, **options)).detach(), 1e-9, 1e-9)
