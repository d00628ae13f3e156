"""Every layer of the conformance table as an ONNX file: checked, run in ONNX Runtime with the example's sizes and with others, loaded back with its gradients."""

import pytest

import neurarust_jax as nr
from neurarust_jax.onnx import Dim
from neurarust_jax.onnx.builder import UnsupportedOpError
from tests.conformance.rows import all_rows
from tests.conformance.test_layers import arguments_of, build
from tests.onnx.exported import assert_same, check_loaded, checked, is_tensor
from tests.oracle import to_nr

ROWS = all_rows()
OPSETS = (17, 21, 23)
pytestmark = pytest.mark.filterwarnings(
    "ignore:Using padding='same' with even kernel lengths",
    "ignore:enable_nested_tensor is True",
    "ignore:.*nested tensors is in prototype",
    "ignore:LSTM with projections is not supported with oneDNN",
)


def arguments(row):
    """The layer for inference, and the tensors that it is called with."""
    layer, _ = build(row)
    return (layer.eval(), *arguments_of(row, to_nr))


@pytest.mark.parametrize(("row", "opset"), [(row, OPSETS[i % 3]) for i, row in enumerate(ROWS[::12])], ids=str)
def test_a_layer_computes_the_same_in_onnx_runtime(row, opset):
    layer, inputs, named = arguments(row)
    assert_same(checked(nr.onnx.export(layer, inputs, kwargs=named, opset_version=opset)), layer, *inputs, **named)


@pytest.mark.exhaustive
@pytest.mark.parametrize("opset", OPSETS)
@pytest.mark.parametrize("row", ROWS, ids=str)
def test_every_layer_computes_the_same_in_onnx_runtime_and_loaded_back(row, opset):
    layer, inputs, named = arguments(row)
    program = nr.onnx.export(layer, inputs, kwargs=named, opset_version=opset)
    assert_same(checked(program), layer, *inputs, **named)
    check_loaded(program, layer, inputs, named)


# --- other sizes -------------------------------------------------------------------------------------------------------


class Opening:
    """Which dimensions of a layer's inputs can be longer, found by trying.

    Attributes:
        names: for each dimension that can, by (input, axis), its name: dimensions that must be equal have one name.
    """

    def __init__(self, layer, inputs, named):
        self.layer = layer
        self.arguments = (inputs, named)
        self.tensors = leaves_of(self.arguments)
        self.names = {}
        places = [(i, axis) for i, x in enumerate(self.tensors) for axis in range(x.ndim)]
        groups = {}
        for i, axis in places:
            groups.setdefault((axis, self.tensors[i].shape[axis]), []).append((i, axis))
        for i, axis in places:  # where batches stand at different places
            groups.setdefault((None, self.tensors[i].shape[axis]), []).append((i, axis))
        for i, axis in places:
            groups[(i, axis)] = [(i, axis)]
        for group in groups.values():
            if not self.names.keys() & set(group):
                self._try({**self.names, **dict.fromkeys(group, f"length_{len(set(self.names.values()))}")})

    def _try(self, names):
        before, self.names = self.names, names
        try:
            inputs, named = self.longer()
            self.layer(*inputs, **named)
        except Exception:
            self.names = before

    def longer(self):
        """The arguments with those dimensions twice as long."""
        changed = []
        for i, x in enumerate(self.tensors):
            for axis in range(x.ndim):
                x = nr.cat([x, x], axis) if (i, axis) in self.names else x
            changed.append(x)
        return replaced(self.arguments, iter(changed))

    def dynamic_shapes(self, divisible=False):
        """The dimensions in `nr.onnx.export`'s form; as multiples of the example's lengths, if the layer divides them."""
        dims = {place: self.tensors[place[0]].shape[place[1]] * Dim(name) if divisible else name for place, name in self.names.items()}
        axes = iter([{axis: dim for (i, axis), dim in dims.items() if i == number} for number in range(len(self.tensors))])
        inputs, named = replaced(self.arguments, axes)
        return (*(open_only(x) for x in inputs), *(open_only(named[name]) for name in sorted(named)))


def leaves_of(x):
    if isinstance(x, dict):
        return [leaf for name in sorted(x) for leaf in leaves_of(x[name])]
    if isinstance(x, tuple | list):
        return [leaf for y in x for leaf in leaves_of(y)]
    return [x] if is_tensor(x) else []


def replaced(x, values):
    """Nested tuples, lists and dicts with other values for the tensors."""
    if isinstance(x, dict):
        made = {name: replaced(x[name], values) for name in sorted(x)}
        return {name: made[name] for name in x}
    if isinstance(x, tuple | list):
        return type(x)(replaced(y, values) for y in x)
    return next(values) if is_tensor(x) else x


def open_only(x):
    return x if isinstance(x, dict | tuple | list) else None


DIVIDED = {"ChannelShuffle", "Fold", "GLU", "GroupNorm", "PixelShuffle", "PixelUnshuffle"}  # layers that divide a dimension into parts

FIXED = {
    "FractionalMaxPool2d": "where windows begin is drawn for a given number of images, and rounded from lengths in Python",
    "FractionalMaxPool3d": "where windows begin is drawn for a given number of images, and rounded from lengths in Python",
}
"""Layers that are exported with fixed sizes only, each with the reason."""


@pytest.mark.exhaustive
@pytest.mark.parametrize("opset", OPSETS)
@pytest.mark.parametrize("row", ROWS, ids=str)
def test_every_layer_takes_other_sizes(row, opset):
    layer, inputs, named = arguments(row)
    opening = Opening(layer, inputs, named)
    if not opening.names:
        assert all(x.ndim == 1 for x in opening.tensors)  # one example, with features alone
        return
    shapes = opening.dynamic_shapes(row.name in DIVIDED)
    if row.name in FIXED:
        with pytest.raises(UnsupportedOpError, match="dynamic"):
            nr.onnx.export(layer, inputs, kwargs=named, opset_version=opset, dynamic_shapes=shapes)
        return
    model = checked(nr.onnx.export(layer, inputs, kwargs=named, opset_version=opset, dynamic_shapes=shapes))
    assert_same(model, layer, *inputs, **named)
    inputs, named = opening.longer()
    if row.name == "EmbeddingBag" and len(inputs) > 1:
        inputs = (inputs[0], inputs[1].sort().values)  # bags follow one another
    assert_same(model, layer, *inputs, **named)
