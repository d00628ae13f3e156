"""Models loaded from ONNX: their values, gradients, transformations and state, and what damaged files say."""

import copy
import io
import pickle
import warnings

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from onnx.parser import parse_model

import neurarust_jax as nr
from neurarust_jax import optim


def exported(module, *inputs, **options):
    """A PyTorch module as an ONNX model, by PyTorch's exporter."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(module, inputs, dynamo=True, verbose=False, optimize=True, **options)
        program.save(buffer)
    return buffer.getvalue()


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(2, 4, 3, padding=1)
        self.norm = torch.nn.LayerNorm(64)
        self.head = torch.nn.Linear(64, 3)

    def forward(self, x):
        x = torch.nn.functional.max_pool2d(torch.relu(self.conv(x)), 2)
        return self.head(self.norm(x.flatten(1)))


@pytest.fixture(scope="module")
def pair():
    torch.manual_seed(0)
    module = Net()
    x = torch.randn(5, 2, 8, 8)
    return module, exported(module, x, dynamic_shapes=({0: torch.export.Dim("batch", min=1, max=64)},)), x


def test_parameters_have_the_names_values_and_gradients_of_the_module_that_was_exported(pair):
    theirs, file, x = pair
    ours = nr.onnx.load(file)
    assert dict(ours.named_parameters()).keys() == dict(theirs.named_parameters()).keys()
    expected = theirs(x)
    got = ours(nr.tensor(x.numpy()))
    np.testing.assert_allclose(got.detach().numpy(), expected.detach().numpy(), rtol=1e-5, atol=1e-5)
    theirs.zero_grad()
    expected.square().sum().backward()
    got.square().sum().backward()
    for name, parameter in theirs.named_parameters():
        np.testing.assert_allclose(ours.get_parameter(name).grad.numpy(), parameter.grad.numpy(), rtol=1e-4, atol=1e-4)


def test_a_loaded_model_is_compiled_mapped_and_takes_other_batch_sizes(pair):
    theirs, file, x = pair
    ours = nr.onnx.load(file)
    expected = theirs(x).detach().numpy()
    y = nr.tensor(x.numpy())
    np.testing.assert_allclose(nr.jit(ours)(y).detach().numpy(), expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(nr.jit(ours)(y[:2]).detach().numpy(), expected[:2], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(nr.vmap(lambda one: ours(one[None])[0])(y).detach().numpy(), expected, rtol=1e-5, atol=1e-5)


def test_a_loaded_model_is_fine_tuned_as_in_pytorch(pair):
    theirs, file, x = pair
    ours, theirs = nr.onnx.load(file), copy.deepcopy(theirs)
    optimizer, reference = optim.SGD(ours.parameters(), lr=0.01), torch.optim.SGD(theirs.parameters(), lr=0.01)

    @nr.jit
    def step(x):
        optimizer.zero_grad()
        loss = ours(x).square().mean()
        loss.backward()
        optimizer.step()
        return loss

    for _ in range(3):
        reference.zero_grad()
        loss = theirs(x).square().mean()
        loss.backward()
        reference.step()
        np.testing.assert_allclose(step(nr.tensor(x.numpy())).item(), loss.item(), rtol=1e-4)
    for name, parameter in theirs.named_parameters():
        np.testing.assert_allclose(ours.get_parameter(name).detach().numpy(), parameter.detach().numpy(), rtol=1e-4, atol=1e-5)


def test_state_is_saved_loaded_copied_and_pickled(pair, tmp_path):
    theirs, file, x = pair
    ours, other = nr.onnx.load(file), nr.onnx.load(file)
    nr.save(ours.state_dict(), tmp_path / "weights.safetensors")
    with nr.no_grad():
        for parameter in other.parameters():
            parameter.zero_()
    other.load_state_dict(nr.load(tmp_path / "weights.safetensors"))
    y, expected = nr.tensor(x.numpy()), theirs(x).detach().numpy()
    for model in (other, copy.deepcopy(ours), pickle.loads(pickle.dumps(ours))):
        np.testing.assert_allclose(model(y).detach().numpy(), expected, rtol=1e-5, atol=1e-5)
    twin = copy.deepcopy(ours)
    with nr.no_grad():
        twin.head.weight.zero_()
    assert ours.head.weight.abs().sum().item() > 0
    ours.load_state_dict({name: value.numpy() for name, value in theirs.state_dict().items()})


# --- names and state -------------------------------------------------------------------------------------------------


def test_names_that_are_no_attributes_keep_their_place_in_the_state_dict():
    weights = {"a": [1.0], "a.b": [2.0], ".c..d": [3.0], "forward": [4.0], "onnx::Add_7": [5.0]}
    nodes, last = [], "x"
    for number, name in enumerate(weights):
        nodes.append(helper.make_node("Add", [last, name], [last := f"y{number}"]))
    initializers = [numpy_helper.from_array(np.array(value, np.float32), name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])], [onnx.ValueInfoProto(name=last)], initializers)
    model = nr.onnx.load(helper.make_model(graph))
    assert list(model.state_dict()) == list(weights)
    assert model(nr.zeros(1)).item() == 15
    model.load_state_dict({name: nr.ones(1) for name in weights})
    assert model(nr.zeros(1)).item() == 5


def test_what_decides_shapes_is_no_parameter_and_statistics_are_buffers():
    text = """<ir_version: 10, opset_import: ["" : 21]>
    f (float[N, 2, 2, 2] x) => (float[N, 2, 4, 4] y)
    <float[4] scales = {1.0, 1.0, 2.0, 2.0}, float[2] s = {1.0, 1.0}, float[2] b = {0.0, 0.0}, float[2] mean = {0.0, 0.0}, float[2] var = {1.0, 1.0},
     int64[4] shape = {0, 2, 4, 4}> {
        n = BatchNormalization(x, s, b, mean, var)
        r = Resize(n, , scales)
        y = Reshape(r, shape)
    }"""
    model = nr.onnx.load(parse_model(text))
    assert sorted(dict(model.named_parameters())) == ["b", "s"]
    assert sorted(model.state_dict()) == ["b", "mean", "s", "var"]
    assert nr.jit(model)(nr.ones(3, 2, 2, 2)).shape == (3, 2, 4, 4)


def test_shapes_are_computed_while_tracing():
    text = """<ir_version: 10, opset_import: ["" : 21]>
    f (float[N, C, H] x) => (float[N, M] y) {
        shape = Shape(x)
        zero = Constant<value_int = 0>()
        one = Constant<value_ints = [-1]>()
        n = Gather(shape, zero)
        axes = Constant<value_ints = [0]>()
        n1 = Unsqueeze(n, axes)
        wanted = Concat<axis = 0>(n1, one)
        y = Reshape(x, wanted)
    }"""
    model = nr.onnx.load(parse_model(text))
    assert nr.jit(model)(nr.ones(2, 3, 4)).shape == (2, 12)
    assert nr.vmap(model)(nr.ones(5, 2, 3, 4)).shape == (5, 2, 12)


def test_functions_of_the_model_are_expanded():
    text = """<ir_version: 10, opset_import: ["" : 21, "mine" : 1]>
    f (float[N] x) => (float[N] y) { y = mine.twice<factor = 3.0>(x) }
    <domain: "mine", opset_import: ["" : 21]>
    twice<factor: float = 2.0> (a) => (b) { k = Constant<value_float: float = @factor>() c = Mul(a, k) b = mine_id(c) }"""
    model = parse_model(text.replace("b = mine_id(c)", "b = Identity(c)"))
    assert nr.onnx.load(model)(nr.tensor([1.0, 2.0])).tolist() == [3.0, 6.0]


def test_inputs_come_by_name_too_and_are_checked():
    text = '<ir_version: 10, opset_import: ["" : 21]> f (float[N] x, float[N] z) => (float[N] y) { y = Sub(x, z) }'
    model = nr.onnx.load(parse_model(text))
    assert model(z=nr.ones(2), x=nr.zeros(2)).tolist() == [-1.0, -1.0]
    with pytest.raises(TypeError, match="missing: z"):
        model(nr.ones(2))
    with pytest.raises(RuntimeError, match="has dtype float32, and is given float64"):
        model(nr.ones(2), nr.ones(2, dtype=nr.float64))
    with pytest.raises(RuntimeError, match="has shape"):
        model(nr.ones(2), nr.ones(2, 2))


def test_an_initializer_that_is_also_an_input_can_be_given():
    x, w = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xw")
    graph = helper.make_graph([helper.make_node("Mul", ["x", "w"], ["y"])], "g", [x, w], [onnx.ValueInfoProto(name="y")], [numpy_helper.from_array(np.float32([2]), "w")])
    model = nr.onnx.load(helper.make_model(graph))
    assert model.input_names == ("x",)
    assert model(nr.ones(1)).item() == 2
    assert model(nr.ones(1), w=nr.ones(1)).item() == 1


# --- errors ----------------------------------------------------------------------------------------------------------


def test_unknown_ops_are_named_all_at_once():
    text = '<ir_version: 10, opset_import: ["" : 21, "other" : 3]> f (float[N] x) => (float[N] y) { a = other.Foo(x) y = other.Bar(a) }'
    with pytest.raises(RuntimeError, match=r"other\.Foo \(version 3\), other\.Bar \(version 3\)"):
        nr.onnx.load(parse_model(text))


def test_a_value_that_decides_a_shape_cannot_be_traced():
    text = '<ir_version: 10, opset_import: ["" : 21]> f (float[N] x, int64[K] shape) => (float[M] y) { y = Reshape(x, shape) }'
    model = nr.onnx.load(parse_model(text))
    assert model(nr.ones(4), nr.tensor([2, 2])).shape == (2, 2)
    with pytest.raises(RuntimeError, match="node Reshape.*decides a shape"):
        nr.jit(model)(nr.ones(4), nr.tensor([2, 2]))


def test_external_data_are_read_from_the_folder_of_the_model_only(tmp_path):
    w = numpy_helper.from_array(np.arange(300, dtype=np.float32), "w")
    graph = helper.make_graph([helper.make_node("Add", ["w", "w"], ["y"])], "g", [], [helper.make_tensor_value_info("y", TensorProto.FLOAT, [300])], [w])
    folder = tmp_path / "model"
    folder.mkdir()
    onnx.save(helper.make_model(graph), folder / "m.onnx", save_as_external_data=True, location="weights.bin", size_threshold=0)
    assert nr.onnx.load(folder / "m.onnx")()[2].item() == 4
    model = onnx.load(folder / "m.onnx", load_external_data=False)
    with pytest.raises(RuntimeError, match="load it by its path"):
        nr.onnx.load(model)
    (tmp_path / "weights.bin").write_bytes((folder / "weights.bin").read_bytes())
    for location in ("../weights.bin", str(tmp_path / "weights.bin"), "nothing.bin", ""):
        model.graph.initializer[0].external_data[0].value = location
        onnx.save(model, folder / "bad.onnx")
        with pytest.raises(RuntimeError, match="no file in the folder"):
            nr.onnx.load(folder / "bad.onnx")
    (folder / "weights.bin").write_bytes(b"short")
    with pytest.raises(RuntimeError, match=r"m\.onnx: tensor 'w'.*the file has 5"):
        nr.onnx.load(folder / "m.onnx")


def test_damaged_files_give_an_error_that_names_them(pair, tmp_path):
    _, file, x = pair
    rng = np.random.default_rng(0)
    y = nr.tensor(x.numpy())
    for number in range(60):
        damaged = bytearray(file[: rng.integers(1, len(file))] if number % 2 else file)
        for place in rng.integers(0, min(len(damaged), 3000), 5):
            damaged[place] ^= 1 << rng.integers(8)
        path = tmp_path / f"damaged{number}.onnx"
        path.write_bytes(damaged)
        try:
            nr.onnx.load(path)(y)
        except (nr.errors.NeuraRustError, FileNotFoundError) as error:
            assert str(error)


def test_lengths_that_are_forged_allocate_nothing():
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[1 << 40], raw_data=b"1234")
    graph = helper.make_graph([helper.make_node("Identity", ["w"], ["y"])], "g", [], [onnx.ValueInfoProto(name="y")], [tensor])
    with pytest.raises(RuntimeError, match="tensor 'w' is damaged"):
        nr.onnx.load(helper.make_model(graph))
    with pytest.raises(RuntimeError, match="no ONNX file"):
        nr.onnx.load(b"\x00" * 100)
