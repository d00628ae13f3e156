"""`Resize` of imported models against onnxruntime, over modes, coordinate transformations, sizes and scales."""

import itertools

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper

import neurarust_jax as nr

X = np.random.default_rng(0).standard_normal((1, 2, 7, 6)).astype(np.float32)


def check(x=X, rtol=1e-4, atol=1e-5, roi=None, scales=None, sizes=None, **attributes):
    given = {"roi": roi, "scales": scales, "sizes": sizes}
    constants = [onnx.numpy_helper.from_array(np.asarray(v, np.int64 if n == "sizes" else np.float32), n) for n, v in given.items() if v is not None]
    node = helper.make_node("Resize", ["x", *(n if v is not None else "" for n, v in given.items())], ["y"], **attributes)
    kind = helper.np_dtype_to_tensor_dtype(x.dtype)
    infos = [[helper.make_tensor_value_info(name, kind, shape)] for name, shape in (("x", [None] * x.ndim), ("y", None))]
    proto = helper.make_model(helper.make_graph([node], "g", *infos, constants), opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
    expected = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]
    found = nr.onnx.load(proto)(nr.tensor(x)).numpy()
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
    np.testing.assert_allclose(found, expected, rtol=rtol, atol=atol)


SIZES = [{"sizes": [1, 2, 11, 13]}, {"sizes": [1, 2, 3, 4]}, {"scales": [1, 1, 2.5, 1.7]}, {"scales": [1, 1, 0.5, 3]}]
TRANSFORMS = ["half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric", "half_pixel_symmetric"]


def skip_what_runtimes_read_differently(transform, size):
    if transform == "align_corners" and "scales" in size:
        pytest.skip("ONNX's tests take the length before it is rounded, onnxruntime the rounded one")


@pytest.mark.parametrize(("transform", "size"), list(itertools.product(TRANSFORMS, SIZES)))
def test_modes_with_weights(transform, size):
    skip_what_runtimes_read_differently(transform, size)
    check(mode="linear", coordinate_transformation_mode=transform, **size)
    check(mode="cubic", coordinate_transformation_mode=transform, exclude_outside=1, cubic_coeff_a=-0.5, **size)


@pytest.mark.exhaustive
@pytest.mark.parametrize(("transform", "size"), list(itertools.product(TRANSFORMS, SIZES)))
def test_modes_with_weights_and_options(transform, size):
    skip_what_runtimes_read_differently(transform, size)
    for antialias in (0, 1):
        check(mode="linear", coordinate_transformation_mode=transform, antialias=antialias, **size)
        for outside in (0, 1):
            check(mode="cubic", coordinate_transformation_mode=transform, antialias=antialias, exclude_outside=outside, **size)


@pytest.mark.parametrize(("size", "rounding"), list(itertools.product(SIZES[::2], ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"])))
def test_nearest(size, rounding):
    for transform in ("half_pixel", "asymmetric"):
        check(mode="nearest", coordinate_transformation_mode=transform, nearest_mode=rounding, **size)


def test_a_region_is_cut_out_and_what_lies_outside_is_filled_in():
    for mode in ("nearest", "linear", "cubic"):
        check(mode=mode, coordinate_transformation_mode="tf_crop_and_resize", extrapolation_value=7.0, roi=[0, 0, 0.2, -0.1, 1, 1, 0.8, 1.2], sizes=[1, 2, 5, 9])


@pytest.mark.parametrize("policy", ["not_larger", "not_smaller"])
def test_the_aspect_ratio_is_kept(policy):
    check(mode="linear", axes=[2, 3], keep_aspect_ratio_policy=policy, sizes=[9, 9])


def test_bytes_are_rounded():
    x = np.random.default_rng(0).integers(0, 255, (1, 1, 7, 6)).astype(np.uint8)
    check(x, mode="nearest", sizes=[1, 1, 11, 13])
    check(x, mode="linear", sizes=[1, 1, 11, 13], rtol=0, atol=1)  # onnxruntime cuts off


def test_gradients_flow_to_the_image():
    text = '<ir_version: 10, opset_import: ["" : 19]> f (float[N, C, H, W] x) => (float[N, C, I, J] y) <float[4] s = {1, 1, 2, 2}> { y = Resize<mode = "linear">(x, , s) }'
    model, x = nr.onnx.load(onnx.parser.parse_model(text)), nr.tensor(X).requires_grad_()
    model(x).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), np.full(X.shape, 4.0), rtol=1e-5)
