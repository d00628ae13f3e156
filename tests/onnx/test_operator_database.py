"""Every operator of PyTorch's database exports by itself and computes the same in ONNX Runtime, but for those listed with their reasons."""

from __future__ import annotations

import pytest

from tests.onnx.database import compare, samples
from tests.ops.database import Entry, entries

_EXCEPT = {
    "argwhere bincount index_put masked_select nn.functional.one_hot nonzero repeat_interleave unique unique_consecutive": "the size of the output depends on the values",
    "allclose broadcast_shapes equal item": "gives no tensor outside of a transformation",
    "tensor_split": "takes its split points from a tensor's values",
    "as_strided/partial_views": "reads beyond the tensor that it is given",
    "linalg.eig linalg.eigvals": "ONNX has no form for eigenvalues of general matrices",
    "nn.functional.scaled_dot_product_attention": "two of the samples drop at random",
    "bfloat16": "ONNX Runtime hands out no bfloat16 arrays",
    "nn.functional.conv_transpose2d nn.functional.conv_transpose3d": "ONNX Runtime refuses an output padding of the stride or more",
    "nn.functional.pad/circular": "ONNX Runtime does not wrap an empty tensor",
    "std_mean/unbiased var_mean/unbiased": "ONNX Runtime's mean of nothing is 0",
}
_EXCEPT_FROM_22 = {
    "bernoulli nn.functional.fractional_max_pool2d nn.functional.fractional_max_pool3d nn.functional.rrelu pca_lowrank rand_like randint randint_like randn randn_like":
    "ONNX Runtime 1.32 has no random generators of opset 22",
}  # fmt: skip
EXCEPT = {name for names in _EXCEPT for name in names.split()}
EXCEPT_FROM_22 = {name for names in _EXCEPT_FROM_22 for name in names.split()}
ENTRIES = [e for e in entries() if e.ours is not None and e.name not in EXCEPT]


@pytest.mark.exhaustive
@pytest.mark.parametrize("entry", ENTRIES, ids=lambda e: e.name)
@pytest.mark.parametrize("opset", [20, 23])
def test_an_operator_exports_by_itself(entry: Entry, opset: int) -> None:
    if opset >= 22 and entry.name in EXCEPT_FROM_22:
        pytest.skip("ONNX Runtime has no random generators of this opset")
    for sample in samples(entry, 4):
        compare(entry, sample, opset)
