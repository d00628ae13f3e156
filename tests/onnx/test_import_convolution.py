"""Convolutions of ONNX over any number of spatial dimensions, against sums written out in NumPy."""

import itertools

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import neurarust_jax as nr


def loaded(op, *shapes, **attributes):
    """A model of one node."""
    names = ["x", "w", "b"][: len(shapes)]
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in zip(names, shapes, strict=True)]
    node = helper.make_node(op, names, ["y"], **attributes)
    graph = helper.make_graph([node], "g", inputs, [onnx.ValueInfoProto(name="y")])
    return nr.onnx.load(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)]))


def correlated(x, w, b, strides, pads, dilations, groups):
    """The sum over channels and taps for each output element."""
    n = x.ndim - 2
    x = np.pad(x.astype(np.float64), [(0, 0), (0, 0), *zip(pads[:n], pads[n:], strict=True)])
    lengths = [(size - d * (k - 1) - 1) // s + 1 for size, k, s, d in zip(x.shape[2:], w.shape[2:], strides, dilations, strict=True)]
    out_per, in_per = w.shape[0] // groups, w.shape[1]
    y = np.zeros((x.shape[0], w.shape[0], *lengths))
    for place in itertools.product(*map(range, w.shape[2:])):
        met = x[(..., *(slice(i * d, i * d + (length - 1) * s + 1, s) for i, d, s, length in zip(place, dilations, strides, lengths, strict=True)))]
        for g in range(groups):
            rows = slice(g * out_per, (g + 1) * out_per)
            y[:, rows] += np.einsum("nc...,oc->no...", met[:, g * in_per : (g + 1) * in_per], w[(rows, slice(None), *place)])
    return y + b.reshape(-1, *(1,) * n)


def transposed(x, w, b, strides, pads, dilations, groups, extra):
    """Each input element adds the kernel, times itself, to the output; then the pads are cut off."""
    n = x.ndim - 2
    spans = [d * (k - 1) + 1 for k, d in zip(w.shape[2:], dilations, strict=True)]
    full = [(size - 1) * s + span + e for size, s, span, e in zip(x.shape[2:], strides, spans, extra, strict=True)]
    in_per, out_per = w.shape[0] // groups, w.shape[1]
    y = np.zeros((x.shape[0], out_per * groups, *full))
    for place in itertools.product(*map(range, w.shape[2:])):
        where = tuple(slice(i * d, i * d + (size - 1) * s + 1, s) for i, d, s, size in zip(place, dilations, strides, x.shape[2:], strict=True))
        for g in range(groups):
            columns = slice(g * in_per, (g + 1) * in_per)
            y[(slice(None), slice(g * out_per, (g + 1) * out_per), *where)] += np.einsum(
                "nc...,co->no...", x[:, columns].astype(np.float64), w[(columns, slice(None), *place)]
            )
    y = y[(..., *(slice(before, size - after) for size, before, after in zip(full, pads[:n], pads[n:], strict=True)))]
    return y + b.reshape(-1, *(1,) * n)


def arrays(*shapes):
    rng = np.random.default_rng(0)
    return [rng.standard_normal(shape).astype(np.float32) for shape in shapes]


SIZES, KERNEL = (3, 4, 2, 3, 2), (2, 3, 1, 2, 2)
GIVEN = {"strides": (2, 1, 1, 3, 2), "dilations": (1, 2, 1, 1, 1), "pads": (1, 2, 0, 0, 1, 0, 1, 0, 1, 1)}


def cut(attributes, n):
    """The attributes for the first `n` of five dimensions."""
    return {name: value[:n] if len(value) == 5 else value[:n] + value[5 : 5 + n] for name, value in attributes.items()}


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("n", [1, 2, 3, 4, 5])
def test_convolutions(n, groups):
    x, w, b = arrays((2, 4, *(s + 2 for s in SIZES[:n])), (8, 4 // groups, *KERNEL[:n]), (8,))
    given = cut(GIVEN, n)
    model = loaded("Conv", x.shape, w.shape, b.shape, group=groups, **given)
    expected = correlated(x, w, b, given["strides"], given["pads"], given["dilations"], groups)
    y = model(*map(nr.tensor, (x, w, b)))
    assert y.dtype == nr.float32
    np.testing.assert_allclose(y.numpy(), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("n", [1, 2, 3, 4, 5])
def test_transposed_convolutions(n, groups):
    x, w, b = arrays((2, 4, *SIZES[:n]), (4, 6 // 2, *KERNEL[:n]), (3 * groups,))
    given = cut({**GIVEN, "output_padding": (1, 1, 0, 2, 0)}, n)
    model = loaded("ConvTranspose", x.shape, w.shape, b.shape, group=groups, **given)
    expected = transposed(x, w, b, given["strides"], given["pads"], given["dilations"], groups, given["output_padding"])
    y = model(*map(nr.tensor, (x, w, b)))
    assert y.dtype == nr.float32
    np.testing.assert_allclose(y.numpy(), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("n", [1, 2, 3, 4])
@pytest.mark.parametrize("attributes", [{"auto_pad": "SAME_UPPER"}, {"auto_pad": "SAME_LOWER"}, {"auto_pad": "VALID"}, {"output_shape": (6, 5, 3, 8)}], ids=str)
def test_padding_of_transposed_convolutions_that_follows_from_the_output(n, attributes):
    x, w, b = arrays((2, 4, *SIZES[:n]), (4, 3, *KERNEL[:n]), (6,))
    strides, dilations = GIVEN["strides"][:n], GIVEN["dilations"][:n]
    mode = attributes.get("auto_pad")
    if "output_shape" in attributes:
        attributes = {"output_shape": attributes["output_shape"][:n]}
    full = [(size - 1) * s + d * (k - 1) + 1 for size, s, k, d in zip(x.shape[2:], strides, w.shape[2:], dilations, strict=True)]
    wanted = attributes.get("output_shape", full if mode == "VALID" else [size * s for size, s in zip(x.shape[2:], strides, strict=True)])
    totals = [f - size for f, size in zip(full, wanted, strict=True)]
    extra = [max(-t, 0) for t in totals]
    halves = [max(t, 0) // 2 for t in totals]
    others = [max(t, 0) - half for t, half in zip(totals, halves, strict=True)]
    pads = [*halves, *others] if mode == "SAME_UPPER" else [*others, *halves]
    model = loaded("ConvTranspose", x.shape, w.shape, b.shape, group=2, strides=strides, dilations=dilations, **attributes)
    y = model(*map(nr.tensor, (x, w, b))).numpy()
    assert y.shape[2:] == tuple(wanted)
    np.testing.assert_allclose(y, transposed(x, w, b, strides, pads, dilations, 2, extra), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("n", [2, 4])
def test_gradients_of_transposed_convolutions(n):
    x, w, b = arrays((1, 4, *SIZES[:n]), (4, 3, *KERNEL[:n]), (6,))
    given = cut(GIVEN, n)
    model = loaded("ConvTranspose", x.shape, w.shape, b.shape, group=2, **given)
    tensors = [nr.tensor(a, requires_grad=True) for a in (x, w, b)]
    y = model(*tensors)
    (cotangent,) = arrays(y.shape)
    (y * nr.tensor(cotangent)).sum().backward()
    back = correlated(cotangent, w, np.zeros(4), given["strides"], given["pads"], given["dilations"], 2)
    np.testing.assert_allclose(tensors[0].grad.numpy(), back, rtol=1e-5, atol=1e-5)
    fixed = [nr.tensor(a) for a in (w, b)]
    compiled = nr.jit(nr.grad(lambda x: (model(x, *fixed) * nr.tensor(cotangent)).sum()))
    np.testing.assert_allclose(compiled(nr.tensor(x)).numpy(), back, rtol=1e-5, atol=1e-5)


def test_attributes_that_do_not_fit_are_named():
    with pytest.raises(RuntimeError, match="ConvTranspose.*strides.*for 4 spatial dimensions"):
        loaded("ConvTranspose", (1, 2, 3, 3, 3, 3), (2, 2, 1, 1, 1, 1), strides=[1, 1])(nr.ones(1, 2, 3, 3, 3, 3), nr.ones(2, 2, 1, 1, 1, 1))
