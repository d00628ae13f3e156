"""Quantized models: one made by onnxruntime.quantization, and the conversions that such models use."""

import itertools

import ml_dtypes
import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_dynamic, quantize_static

import neurarust_jax as nr


class Batches(CalibrationDataReader):
    def __init__(self, batches):
        self.left = iter(batches)

    def get_next(self):
        return next(({"x": b} for b in self.left), None)


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """A convolution and two dense layers, its file and some batches."""
    rng = np.random.default_rng(0)
    weights = {
        "w1": rng.standard_normal((4, 2, 3, 3)) * 0.3, "b1": rng.standard_normal(4), "w2": rng.standard_normal((4 * 6 * 6, 16)) * 0.1,
        "b2": rng.standard_normal(16), "w3": rng.standard_normal((16, 5)) * 0.3,
    }  # fmt: skip
    nodes = [
        helper.make_node("Conv", ["x", "w1", "b1"], ["c"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]), helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("Flatten", ["r"], ["f"]), helper.make_node("Gemm", ["f", "w2", "b2"], ["g"]), helper.make_node("Relu", ["g"], ["h"]),
        helper.make_node("MatMul", ["h", "w3"], ["y"]),
    ]  # fmt: skip
    infos = [[helper.make_tensor_value_info("x", 1, ["N", 2, 6, 6])], [helper.make_tensor_value_info("y", 1, ["N", 5])]]
    constants = [numpy_helper.from_array(v.astype(np.float32), n) for n, v in weights.items()]
    proto = helper.make_model(helper.make_graph(nodes, "g", *infos, constants), opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    folder = tmp_path_factory.mktemp("quantized")
    onnx.save(proto, folder / "float.onnx")
    return folder, [rng.standard_normal((8, 2, 6, 6)).astype(np.float32) for _ in range(3)]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("form", "per_channel"), [(QuantFormat.QDQ, True), (QuantFormat.QOperator, False)])
def test_a_model_of_onnxruntimes_quantizer_agrees_with_onnxruntime(network, form, per_channel):
    folder, batches = network
    path = folder / f"{form}.onnx"
    ops = None if form == QuantFormat.QDQ else ["Conv", "MatMul"]  # others become operators of onnxruntime's own
    quantize_static(
        folder / "float.onnx", path, Batches(batches), quant_format=form, per_channel=per_channel, weight_type=QuantType.QInt8, op_types_to_quantize=ops
    )
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    expected = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"]).run(None, {"x": batches[0]})[0]
    model = nr.onnx.load(path)
    found = model(batches[0]).detach().numpy()
    step = np.abs(expected).max() / 128  # one unit of the last quantized activation, where a tie is rounded one way or the other
    np.testing.assert_allclose(found, expected, atol=2 * step)
    assert np.mean(np.abs(found - expected) > step / 2) < 0.05
    np.testing.assert_allclose(nr.jit(model)(batches[0]).detach().numpy(), found, atol=2 * step)


@pytest.mark.filterwarnings("ignore")
def test_a_dynamically_quantized_model_agrees_with_onnxruntime(network):
    folder, batches = network
    path = folder / "dynamic.onnx"
    quantize_dynamic(folder / "float.onnx", path, weight_type=QuantType.QUInt8, op_types_to_quantize=["MatMul", "Gemm"])
    expected = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, {"x": batches[0]})[0]
    np.testing.assert_allclose(nr.onnx.load(path)(batches[0]).detach().numpy(), expected, atol=np.abs(expected).max() / 64)


def one_node(op, inputs, opset=25, **attributes):
    names = [f"x{i}" for i in range(len(inputs))]
    infos = [helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(x.dtype), x.shape) for n, x in zip(names, inputs, strict=True)]
    graph = helper.make_graph([helper.make_node(op, names, ["y"], **attributes)], "g", infos, [onnx.ValueInfoProto(name="y")])
    return nr.onnx.load(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)]))(*inputs)


@pytest.mark.parametrize("kind", ["uint4", "int4", "float8_e4m3fn", "float8_e5m2", "float4_e2m1fn"])
def test_low_bit_numbers_by_blocks_come_back_within_half_a_unit(kind):
    dtype = np.dtype(getattr(ml_dtypes, kind))
    x = np.random.default_rng(0).uniform(0, 6, (4, 6)).astype(np.float32)
    scale = np.full((2, 6), 0.5, np.float32)
    zero = np.zeros((2, 6), dtype)
    quantized = one_node("QuantizeLinear", [x, scale, zero], axis=0, block_size=2)
    assert np.asarray(quantized._value).dtype == dtype
    back = one_node("DequantizeLinear", [np.asarray(quantized._value), scale, zero], axis=0, block_size=2).numpy()
    largest = min(float(ml_dtypes.iinfo(dtype).max if "int" in kind else ml_dtypes.finfo(dtype).max) * 0.5, 6)
    np.testing.assert_allclose(back, np.minimum(x, largest), atol=0.26 if "int" in kind else 1.0)


@pytest.mark.parametrize(("kind", "saturate"), list(itertools.product(["float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz"], [0, 1])))
def test_casts_to_8_bits_saturate_or_not(kind, saturate):
    dtype = np.dtype(getattr(ml_dtypes, kind))
    x = np.array([0.3, -1e6, 1e6, np.inf, np.nan, 1e-9, 460.0], np.float32)
    found = np.asarray(one_node("Cast", [x], to=helper.np_dtype_to_tensor_dtype(dtype), saturate=saturate)._value)
    limit = float(ml_dtypes.finfo(dtype).max)
    expected = (np.clip(x, -limit, limit) if saturate else x).astype(dtype)
    assert found.dtype == dtype
    np.testing.assert_array_equal(found.astype(np.float32), expected.astype(np.float32))


@pytest.mark.parametrize(("mode", "expected"), [("up", [2, 2, 4, 8]), ("down", [2, 1, 2, 4]), ("nearest", [2, 1, 4, 8])])
def test_powers_of_two_are_rounded_as_asked(mode, expected):
    x = np.array([2.0, 1.2, 3.0, 6.0], np.float32)
    found = np.asarray(one_node("Cast", [x], to=onnx.TensorProto.FLOAT8E8M0, round_mode=mode)._value)
    assert found.astype(np.float32).tolist() == expected
