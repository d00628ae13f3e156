"""Conversions that quantized models use."""

import itertools

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import helper

import neurarust_jax as nr


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
