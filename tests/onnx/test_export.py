"""Exported models: checked, run in ONNX Runtime, loaded back; names, open dimensions, files."""

import copy
import runpy
import types
import warnings
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import onnx
import pytest

import neurarust_jax as nr
from neurarust_jax import dispatch, nn
from neurarust_jax.errors import ArgumentError, TracedValueError
from neurarust_jax.nn import functional as F
from neurarust_jax.onnx import Dim, serialization
from neurarust_jax.onnx.builder import UnsupportedOpError
from tests.benchmarks import onnx_export as benchmark
from tests.onnx.exported import assert_same, check_loaded, checked, session

OPSETS = (17, 21, 23)


def normal(*shape: int) -> nr.Tensor:
    return nr.tensor(np.random.default_rng(0).standard_normal(shape).astype(np.float32))


def below_twenty(*shape: int) -> nr.Tensor:
    return nr.tensor(np.random.default_rng(0).integers(0, 20, shape))


def operators(program) -> list[str]:
    return [node.op_type for node in program.model_proto.graph.node]


def initializers(program) -> dict[str, tuple[int, ...]]:
    return {i.name: tuple(i.dims) for i in program.model_proto.graph.initializer}


# --- layers whose files need care ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
def test_bags_of_any_number_and_length(mode):
    model = nn.EmbeddingBag(20, 3, mode=mode).eval()
    shapes = ({0: "length"}, {0: "bags"})
    program = nr.onnx.export(model, (below_twenty(5), nr.tensor([0, 2])), dynamic_shapes=shapes)
    for inputs in ((below_twenty(5), nr.tensor([0, 2])), (below_twenty(9), nr.tensor([0, 3, 3, 7]))):
        assert_same(checked(program), model, *inputs)


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_gates_keep_their_order_through_a_file(kind):
    layer, x = getattr(nn, kind)(3, 4, bidirectional=True).eval(), normal(5, 2, 3)
    check_loaded(nr.onnx.export(layer, (x,)), layer, (x,), {})


# --- models ------------------------------------------------------------------------------------------------------------


class Residual(nn.Module):
    """A block of a residual network."""

    def __init__(self, channels, stride):
        super().__init__()
        self.first = nn.Conv2d(channels, 2 * channels, 3, stride, 1, bias=False)
        self.norm = nn.BatchNorm2d(2 * channels)
        self.shortcut = nn.Conv2d(channels, 2 * channels, 1, stride)
        self.head = nn.Linear(2 * channels, 3)

    def forward(self, x):
        x = F.relu(self.norm(self.first(x)) + self.shortcut(x))
        return self.head(nr.flatten(F.adaptive_avg_pool2d(x, 1), 1))


class UNet(nn.Module):
    """Down, up by both ways, and joined."""

    def __init__(self):
        super().__init__()
        self.down = nn.Conv2d(2, 4, 3, padding=1)
        self.up = nn.ConvTranspose2d(4, 4, 2, 2)
        self.out = nn.Conv2d(10, 1, 1)

    def forward(self, x):
        low = self.down(F.max_pool2d(x, 2))
        return self.out(nr.cat([x, self.up(low), F.interpolate(low, scale_factor=2, mode="bilinear")], 1))


class Tagger(nn.Module):
    """Words to tags by a bidirectional network."""

    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(20, 6)
        self.gru = nn.GRU(6, 5, bidirectional=True, batch_first=True)
        self.head = nn.Linear(10, 4)

    def forward(self, words):
        return self.head(self.gru(self.words(words))[0]).log_softmax(-1)


class Selecting(nn.Module):
    """Masks, indices, places."""

    def forward(self, x):
        best = x.topk(2, -1).indices
        kept = nr.where(x > x.mean(-1, keepdim=True), x, nr.zeros(()))
        return kept[:, 1:].cumsum(-1), x[..., [0, 2]], x.gather(-1, best), F.pad(x, (1, 1)).argmax(-1), x[:, -1:] / x.shape[0]


def encoder():
    return nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2, enable_nested_tensor=False)


MODELS = {
    "residual network": (lambda: Residual(3, 2), normal(2, 3, 8, 8), normal(3, 3, 12, 8), {0: "batch", 2: "height"}),
    "u-net": (UNet, normal(1, 2, 8, 8), normal(2, 2, 12, 16), {0: "batch", 2: Dim("half height") * 2, 3: Dim("half width") * 2}),
    "tagger": (Tagger, below_twenty(2, 5), below_twenty(3, 7), {0: "batch", 1: "length"}),
    "encoder": (encoder, normal(2, 5, 8), normal(3, 7, 8), {0: "batch", 1: "length"}),
    "gpt": (lambda: benchmark.gpt(nn, nr), below_twenty(2, 5), below_twenty(3, 9), {0: "batch", 1: "length"}),
    "selecting": (Selecting, normal(3, 5), normal(4, 9), {0: "batch", 1: "length"}),
}
ALL_MODELS = {
    **MODELS,
    "examples/gpt.py": (lambda: example("gpt").GPT(20, 16, 8, 2, 2), below_twenty(2, 5), below_twenty(3, 9), {0: "batch", 1: "length"}),
    "examples/mnist.py": (lambda: example("mnist").make_model(), normal(2, 1, 8, 8), normal(3, 1, 28, 13), {0: "batch", 2: "height", 3: "width"}),
    "examples/per_sample_gradients.py": (
        lambda: example("per_sample_gradients").make_model(), normal(2, 1, 28, 28), normal(3, 1, 35, 30), {0: "batch", 2: "height", 3: "width"},
    ),
}  # fmt: skip


def example(name: str) -> types.SimpleNamespace:
    """What a program of `examples/` defines."""
    return types.SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[2] / "examples" / f"{name}.py")))


@pytest.mark.parametrize(("name", "opset"), [(name, OPSETS[i % 3]) for i, name in enumerate(MODELS)])
def test_a_model_takes_other_sizes(name, opset):
    make, example, other, axes = MODELS[name]
    model = make().eval()
    exported = checked(nr.onnx.export(model, (example,), opset_version=opset, dynamic_shapes=(axes,)))
    assert_same(exported, model, example)
    assert_same(exported, model, other)


@pytest.mark.exhaustive
@pytest.mark.parametrize("opset", OPSETS)
@pytest.mark.parametrize("name", ALL_MODELS)
def test_every_model_takes_other_sizes_and_is_loaded_back(name, opset):
    make, given, other, axes = ALL_MODELS[name]
    model = make().eval()
    assert_same(checked(nr.onnx.export(model, (given,), opset_version=opset)), model, given)
    program = nr.onnx.export(model, (given,), opset_version=opset, dynamic_shapes=(axes,))
    assert_same(checked(program), model, other)
    check_loaded(program, model, (given,), {})
    check_loaded(program, model, (other,), {})


@pytest.mark.exhaustive
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", benchmark.inputs())
def test_a_model_has_no_more_nodes_than_pytorchs_file(name):
    make, array, axes = benchmark.inputs()[name]
    for open_axes in (None, axes):
        ours, theirs = benchmark.both(make, array, None, open_axes)
        assert len(benchmark.nodes(ours)) <= len(benchmark.nodes(theirs))


# --- functions ---------------------------------------------------------------------------------------------------------


def test_code_in_jax_numpy_exports_too():
    def function(x):
        return jnp.tanh(jnp.asarray(x)) @ jnp.ones((3, 2), jnp.float32), nr.relu(x)

    assert_same(checked(nr.onnx.export(function, (normal(2, 3),))), function, normal(2, 3))


def test_code_in_jax_numpy_has_the_dtypes_that_it_has_outside():
    def function(x):
        return jnp.linspace(0, 1, 3) + jnp.asarray(x), jnp.arange(2), jnp.argmax(jnp.asarray(x), 1)

    assert_same(checked(nr.onnx.export(function, (normal(2, 3),))), function, normal(2, 3))


def test_a_scan_goes_over_any_number_of_steps():
    cell = nn.RNNCell(3, 4)

    def function(x):
        def step(state, element):
            state = cell(element, state)
            return state, state * 2

        return nr.scan(step, nr.zeros(x.shape[1], 4), x)

    model = checked(nr.onnx.export(function, (normal(5, 2, 3),), dynamic_shapes=({0: "length", 1: "batch"},)))
    assert "Scan" in [node.op_type for node in model.graph.node]
    assert_same(model, function, normal(7, 3, 3))


def test_arguments_may_be_nested_and_named():
    def function(pair, scale, *, bias=None):
        return {"sum": pair[0] + pair[1] * scale, "bias": bias}

    pair, bias = (normal(2, 3), normal(2, 3) + 1), normal(3)
    program = nr.onnx.export(function, (pair, 2.0), kwargs={"bias": bias})
    assert [i.name for i in program.model_proto.graph.input] == ["pair_0", "pair_1", "bias"]
    assert_same(checked(program), function, pair, 2.0, bias=bias)


def test_a_compiled_function_exports_as_the_function():
    function = nr.jit(lambda x: nr.relu(x) * 2)
    assert operators(nr.onnx.export(function, (normal(2),))) == ["Relu", "Mul"]


def test_what_is_returned_twice_or_as_it_came_has_its_own_output():
    def function(x):
        y = x + 1
        return y, y, x, nr.ones(2)

    assert_same(checked(nr.onnx.export(function, (normal(2),))), function, normal(2))


def test_python_control_flow_over_values_gives_the_error_of_tracing():
    with pytest.raises(TracedValueError, match=r"nr\.where"):
        nr.onnx.export(lambda x: x if x.sum() > 0 else -x, (normal(2),))
    assert dispatch.listener is None


@pytest.mark.parametrize("dtype", [nr.float16, nr.float64], ids=str)
def test_other_floats_export(dtype):
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.LayerNorm(4)).to(dtype).eval()
    x = normal(2, 3).to(dtype)
    assert_same(checked(nr.onnx.export(model, (x,))), model, x, rtol=1e-2 if dtype == nr.float16 else 1e-5)


def test_bfloat16_has_its_type_in_the_file():
    model = nn.Linear(3, 4).to(nr.bfloat16).eval()
    program = nr.onnx.export(model, (normal(2, 3).to(nr.bfloat16),))
    onnx.checker.check_model(program.model_proto, full_check=True)
    assert program.model_proto.graph.output[0].type.tensor_type.elem_type == onnx.TensorProto.BFLOAT16


# --- names, metadata, options ------------------------------------------------------------------------------------------


def test_initializers_have_the_names_of_the_state_dict():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2)).eval()
    found = initializers(nr.onnx.export(model, (normal(1, 3, 8, 8),)))
    expected = {name: tuple(value.shape) for name, value in model.state_dict().items() if not name.endswith("num_batches_tracked")}
    assert {name: found[name] for name in expected} == expected


def test_a_weight_that_is_stored_transposed_says_so():
    found = initializers(nr.onnx.export(nn.Linear(3, 4).eval(), (normal(2, 5, 3),)))
    assert found == {"bias": (4,), "weight.T": (3, 4)}


def test_inputs_outputs_and_metadata_have_the_names_given():
    axes = {"features": {0: "batch"}, "scores": {0: "batch"}}
    options = {"input_names": ["features"], "output_names": ["scores"], "metadata": {"author": "me"}, "dynamic_axes": axes}
    model = checked(nr.onnx.export(nn.Linear(3, 4).eval(), (normal(2, 3),), **options))
    assert [i.name for i in model.graph.input] == ["features"]
    assert [o.name for o in model.graph.output] == ["scores"]
    assert model.graph.output[0].type.tensor_type.shape.dim[0].dim_param == "batch"
    assert {p.key: p.value for p in model.metadata_props} == {"author": "me"}


def test_types_of_values_inside_are_written_down():
    model = nr.onnx.export(nn.Sequential(nn.Linear(3, 4), nn.ReLU()).eval(), (normal(2, 3),)).model_proto
    (info,) = model.graph.value_info
    assert [d.dim_value for d in info.type.tensor_type.shape.dim] == [2, 4]


def test_batch_normalization_folds_into_the_convolution_before_it():
    model = nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU()).eval()
    with nr.no_grad():
        model[1].running_mean.copy_(normal(4))
        model[1].running_var.copy_(normal(4).abs() + 0.5)
    x = normal(2, 3, 6, 6)
    program = nr.onnx.export(model, (x,), fold_batch_norm=True)
    assert operators(program) == ["Conv", "Relu"]
    assert_same(checked(program), model, x, rtol=1e-5)


def test_an_opset_out_of_range_is_refused():
    with pytest.raises(ArgumentError, match="from 17 to 26"):
        nr.onnx.export(nn.Linear(3, 4).eval(), (normal(2, 3),), opset_version=27)


def test_training_mode_is_exported_with_a_warning_and_changes_nothing():
    model = nn.Sequential(nn.Linear(3, 64), nn.Dropout(0.5), nn.BatchNorm1d(64))
    before = {name: np.asarray(value) for name, value in model.state_dict().items()}
    with pytest.warns(UserWarning, match="training mode|changes parameters or buffers") as caught:
        program = nr.onnx.export(model, (normal(8, 3),))
    assert len(caught) == 2
    running = session(checked(program))
    first, second = (running.run(None, {"input": np.asarray(normal(8, 3))})[0] for _ in range(2))
    assert not np.array_equal(first, second)
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(np.asarray(value), before[name])


def test_the_weights_lie_where_quantization_looks_for_them(tmp_path):
    from onnxruntime.quantization import quantize_dynamic

    model = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 4)).eval()
    nr.onnx.export(model, (normal(2, 5, 16),), tmp_path / "model.onnx", dynamic_shapes=({0: "batch"},))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        quantize_dynamic(tmp_path / "model.onnx", tmp_path / "small.onnx")
    assert sum(n.op_type == "MatMulInteger" for n in onnx.load(tmp_path / "small.onnx").graph.node) == 2


# --- open dimensions ---------------------------------------------------------------------------------------------------


def test_dynamic_shapes_by_name_by_place_and_as_dims():
    def function(x, y):
        return x.reshape(x.shape[0] * x.shape[1], -1), y * 2

    x, y = normal(2, 3, 4), normal(5)
    batch, length = Dim("batch", max=64), Dim("length")
    for form in (({0: "batch", 1: "length"}, {0: "other"}), {"x": {0: batch, 1: length}, "y": None}, [[batch, length, None], (None,)]):
        model = checked(nr.onnx.export(function, (x, y), dynamic_shapes=form))
        assert [d.dim_param for d in model.graph.input[0].type.tensor_type.shape.dim] == ["batch", "length", ""]
        assert_same(model, function, normal(4, 5, 4), y)


def test_a_dimension_derived_from_another():
    half = Dim("half")
    model = checked(nr.onnx.export(lambda x, y: nr.cat([x, y]), (normal(6, 2), normal(3, 2)), dynamic_shapes=({0: 2 * half}, {0: half})))
    assert model.graph.output[0].type.tensor_type.shape.dim[0].dim_param == "3*half"


BRANCHES = {
    "equal to the example": lambda x: x * 2 if x.shape[0] == 2 else x + 1,
    "equal to one": lambda x: x * 2 if x.shape[0] == 1 else x + 1,
    "even": lambda x: x * 2 if x.shape[1] % 2 == 0 else x + 1,
    "not less than a shorter length": lambda x: x * 2 if x.shape[1] >= 10 else x + 1,
    "one dimension with another": lambda x: x * 2 if x.shape[1] != x.shape[0] else x + 1,
    "among some": lambda x: x * 2 if x.size(1) in (12, 20) else x + 1,
    "the number of elements": lambda x: x * 2 if x.numel() > 3 else x + 1,
}


@pytest.mark.parametrize("function", BRANCHES.values(), ids=BRANCHES.keys())
def test_code_that_branches_on_an_open_dimension_is_told_of(function):
    axes = {0: "batch", 1: "length"}
    with pytest.warns(UserWarning, match=r"goes another way for batch=\d+, length=\d+ than for batch=2, length=12, from .*test_export\.py:\d+ on"):
        nr.onnx.export(function, (normal(2, 12),), dynamic_shapes=(axes,))


@pytest.mark.parametrize("function", [lambda x: x * 2 if x.shape[1] > x.shape[0] else x + 1, lambda x: x * 2 if max(x.shape[1], 20) == 20 else x + 1])
def test_comparisons_that_bounds_do_not_decide_are_told_of(function):
    with pytest.warns(UserWarning, match=r"test_export\.py:\d+ compares the length of a dynamic dimension.*nr\.onnx\.Dim"):
        nr.onnx.export(function, (normal(2, 12),), dynamic_shapes=({0: "batch", 1: "length"},))


def test_branches_that_bounds_decide_are_not_told_of():
    bounded = {0: Dim("batch", min=2), 1: Dim("length", min=12, max=16)}

    def function(x):
        for _ in range(2):
            x = x * 2 if x.shape[1] <= 16 and x.shape[1] >= 10 and x.shape[0] > 1 else x + 1
        return nn.functional.adaptive_avg_pool1d(x, 4) if x.ndim == 2 else x

    program = nr.onnx.export(function, (normal(2, 12),), dynamic_shapes=(bounded,))
    assert not any("16" in guard for guard in program.guards)


def test_comparisons_of_open_dimensions_go_by_the_example():
    class Limited(nn.Module):
        def forward(self, x):
            assert x.shape[1] <= 16
            return x[:, :8] * 2

    model = Limited().eval()
    with pytest.warns(UserWarning, match=r"test_export\.py:\d+ compares the length of a dynamic dimension.*where 16 >= length"):
        program = nr.onnx.export(model, (normal(2, 12),), dynamic_shapes=({1: "length"},))
    assert any("16" in guard for guard in program.guards)
    assert_same(checked(program), model, normal(2, 10))


def test_axes_in_a_list_that_must_be_equal_become_one():
    model = checked(nr.onnx.export(lambda x, y: x + y, (normal(2, 3), normal(2, 3)), dynamic_axes={"x": [0], "y": [0]}))
    assert_same(model, lambda x, y: x + y, normal(5, 3), normal(5, 3))


def test_what_a_file_says_to_be_no_parameter_is_none_when_it_is_loaded():
    class Shifted(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(normal(3))
            self.register_buffer("offset", normal(3))

        def forward(self, x):
            return F.hardtanh(x * self.weight + self.offset, -2, 2)

    loaded = nr.onnx.load(nr.onnx.export(Shifted().eval(), (normal(2, 3),)).SerializeToString())
    assert [name for name, _ in loaded.named_parameters()] == ["weight"]
    assert [name for name, _ in loaded.named_buffers()] == ["offset"]


def test_a_matrix_that_is_used_both_ways_is_one_parameter_when_it_is_loaded():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.words = nn.Embedding(20, 3)

        def forward(self, words):
            return F.linear(self.words(words), self.words.weight)

    model = Tied().eval()
    program = nr.onnx.export(model, (below_twenty(2, 5),))
    assert list(nr.onnx.load(program.SerializeToString()).state_dict()) == ["words.weight"]
    check_loaded(program, model, (below_twenty(2, 5),), {})


def test_copies_of_a_layer_are_parameters_of_their_own():
    first = nn.Linear(3, 3)
    model = nn.Sequential(first, copy.deepcopy(first)).eval()
    loaded = nr.onnx.load(nr.onnx.export(model, (normal(2, 3),)).SerializeToString())
    assert sorted(loaded.state_dict()) == sorted(model.state_dict())


@pytest.mark.parametrize("layer", [nn.AdaptiveAvgPool2d((3, 2)), nn.AdaptiveMaxPool2d(2, return_indices=True), nn.AvgPool2d(3, 3, 1, ceil_mode=True)], ids=repr)
def test_windows_fit_images_of_other_sizes(layer):
    model = checked(nr.onnx.export(layer.eval(), (normal(1, 2, 7, 9),), dynamic_shapes=({2: "height", 3: "width"},)))
    assert_same(model, layer, normal(1, 2, 11, 8))


def test_a_length_multiplied_by_a_fraction_is_the_same_in_the_file():
    def function(x):
        return F.interpolate(x, scale_factor=0.7, mode="linear", align_corners=True)

    model = checked(nr.onnx.export(function, (normal(1, 2, 9),), dynamic_shapes=({2: "length"},)))
    for length in (10, 11, 20):
        assert_same(model, function, normal(1, 2, length), rtol=2e-5)


def test_the_root_of_a_derived_dimension_is_computed():
    model = checked(nr.onnx.export(nn.GLU(1).eval(), (normal(3, 4),), dynamic_shapes=({1: 2 * Dim("half")},)))
    assert_same(model, nn.GLU(1), normal(3, 10))


def test_a_number_computed_from_a_length_is_named():
    with pytest.raises(UnsupportedOpError, match="compute in integers"):
        nr.onnx.export(lambda x: x[: int(x.shape[0] * 0.5)], (normal(4, 3),), dynamic_shapes=({0: "batch"},))


def test_a_length_used_as_a_python_number_is_named():
    with pytest.raises(UnsupportedOpError, match="as a Python number"):
        nr.onnx.export(lambda x: x * float(int(x.shape[0])), (normal(2, 3),), dynamic_shapes=({0: "batch"},))


def test_wrong_names_of_arguments_are_refused():
    with pytest.raises(ArgumentError, match="'z'"):
        nr.onnx.export(lambda x: x, (normal(2),), dynamic_shapes={"z": {0: "batch"}})
    with pytest.raises(ArgumentError, match="axis 3"):
        nr.onnx.export(lambda x: x, (normal(2),), dynamic_shapes=({3: "batch"},))


def test_nothing_is_kept_of_the_symbols_of_an_export():
    for _ in range(2):
        nr.onnx.export(lambda x: x.reshape(x.shape[0], -1)[:, : x.shape[1]], (normal(3, 2, 2),), dynamic_shapes=({0: "batch", 1: "length"},))
    for op in dispatch.OPS.values():
        assert not any(jax.export.is_symbolic_dim(x) for key in op.kernels for part in key for x in (part if isinstance(part, tuple) else (part,)))


# --- files -------------------------------------------------------------------------------------------------------------


def test_a_file_appears_whole_and_replaces_the_one_before(tmp_path):
    path = tmp_path / "model.onnx"
    nr.onnx.export(nn.Linear(3, 4).eval(), (normal(2, 3),), path)
    nr.onnx.export(nn.Linear(3, 5).eval(), (normal(2, 3),), path)
    assert [p.name for p in tmp_path.iterdir()] == ["model.onnx"]
    assert onnx.load(path).graph.output[0].type.tensor_type.shape.dim[1].dim_value == 5


def test_weights_in_a_file_of_their_own(tmp_path):
    path, model = tmp_path / "model.onnx", nn.Linear(64, 64).eval()
    for _ in range(3):
        program = nr.onnx.export(model, (normal(2, 64),), path, external_data=True)
        assert len(list(tmp_path.iterdir())) == 2
        onnx.checker.check_model(str(path), full_check=True)
        assert path.stat().st_size < 2000
        assert onnx.load(path).graph.initializer[0].raw_data == program.model_proto.graph.initializer[0].raw_data


def test_weights_beyond_what_a_protocol_buffer_holds_never_enter_one(tmp_path, monkeypatch):
    monkeypatch.setattr(serialization, "_LARGEST_FILE", 2000)  # 2 GB, for the test
    model, x = nn.Sequential(nn.Linear(64, 300), nn.BatchNorm1d(300)).eval(), normal(2, 64)
    path = tmp_path / "model.onnx"
    program = nr.onnx.export(model, (x,), path)
    assert sorted(f.name for f in tmp_path.iterdir()) == ["model.onnx", "model.onnx.data"]
    assert not any(len(i.raw_data) > 1024 for i in program.model_proto.graph.initializer) and "0.weight" in program.weights_apart
    onnx.checker.check_model(str(path), full_check=True)
    expected = model(x).detach().numpy()
    np.testing.assert_allclose(program(x)[0].numpy(), expected, rtol=1e-5, atol=1e-5)
    loaded = nr.onnx.load(path)
    np.testing.assert_allclose(loaded(x).detach().numpy(), expected, rtol=1e-5, atol=1e-5)
    assert {n for n, _ in loaded.named_parameters()} == {n for n, _ in model.named_parameters()}  # running statistics are no parameters
    with pytest.raises(ValueError, match=r"program.save\(path\)"):
        program.SerializeToString()
    with pytest.raises(ValueError, match="leave external_data out"):
        program.save(path, external_data=False)
    assert nr.onnx.load(path)(x).shape == (2, 300)


# --- random numbers ----------------------------------------------------------------------------------------------------


def test_random_numbers_are_drawn_anew_at_every_run():
    def function(x):
        noise, steps = nr.randn(x.shape[0], 4), nr.randint(2, 5, (50,))
        return x + noise, nr.rand_like(x), nr.bernoulli(nr.full((50,), 0.5)), steps

    running = session(checked(nr.onnx.export(function, (normal(3, 4),), dynamic_shapes=({0: "batch"},))))
    first, second = (running.run(None, {"x": np.asarray(normal(5, 4))}) for _ in range(2))
    assert not any(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    assert set(first[3]) <= {2, 3, 4}


@pytest.mark.parametrize("opset", [20, 23])
def test_dropout_draws_at_every_run(opset):
    with pytest.warns(UserWarning, match="exported in training mode"):
        program = nr.onnx.export(nn.Dropout(0.25), (normal(30, 40),), opset_version=opset, dynamic_shapes=({0: "batch"},))
    running = session(checked(program))
    x = np.ones((50, 40), np.float32)
    first, second = (running.run(None, {"input": x})[0] for _ in range(2))
    assert not np.array_equal(first, second)
    kept = np.float32(1) / np.float32(0.75)
    assert set(first.ravel()) == {0.0, kept}
    assert abs((first == 0).mean() - 0.25) < 0.05
    loaded = nr.onnx.load(program.model_proto)
    y = loaded(nr.tensor(x)).numpy()
    assert set(y.ravel()) == {0.0, kept} and abs((y == 0).mean() - 0.25) < 0.05


def test_a_draw_that_onnx_has_no_operator_for_is_told_of():
    with pytest.warns(UserWarning, match="the same random numbers at every run"):
        nr.onnx.export(lambda x: nr.poisson(x.abs()) + x, (normal(3),))
