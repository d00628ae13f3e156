"""Which element types onnxruntime implements each operator for, and the type to compute in for the others.

Found by running every operator on every type in onnxruntime 1.22 to 1.32 on the CPU; ONNX itself allows more.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import ml_dtypes
import numpy as np

_CODES = {
    "b": "bool", "1": "int8", "2": "int16", "4": "int32", "8": "int64", "A": "uint8", "B": "uint16", "C": "uint32", "D": "uint64",
    "h": "float16", "w": "bfloat16", "f": "float32", "d": "float64",
}  # fmt: skip
_INTEGERS = "1248ABCD"
_NUMBERS = _INTEGERS + "hfd"
_FLOATS = "hfd"
_TABLE = {
    "Abs Add Sub Mul Div Greater GreaterOrEqual Less LessOrEqual Mod:f": _NUMBERS,
    "Sign": _INTEGERS + "hwfd",
    "Equal": "b" + _NUMBERS,
    "Neg": "1248hfd",
    "Max Min Clip": "148ACDhfd",
    "Mod BitwiseAnd BitwiseOr BitwiseXor BitwiseNot": _INTEGERS,
    "BitShift": "ABCD",
    "Pow ReduceSum ReduceProd ReduceMean CumSum Einsum": "48hfd",
    "ReduceMax ReduceMin ArgMax ArgMin": "148Ahfd",
    "Where": "148ACfdh",
    "And Or Xor Not": "b",
    "MatMul": "48CDhfd",
    "Relu": "14hfd",
    "Ceil Cos Exp Floor IsNaN Log Reciprocal Round Sigmoid Sin Sqrt Tanh Gemm Softmax DFT": _FLOATS,
    "IsInf": "fd",
    "Acos Acosh Asin Asinh Atan Atanh Cosh Erf Sinh Tan Conv ConvTranspose AveragePool Det": "hf",
    "MaxPool": "1Ahfd",
    "TopK": "1248Ahfd",
    "Trilu": "b48hfd",
    "Pad": "b148ACDhfd",
    "Expand Tile ReverseSequence Compress": "b" + _NUMBERS,
    "ScatterElements:add ScatterND:add ScatterElements:mul ScatterND:mul ScatterND:max ScatterND:min ScatterElements:max ScatterElements:min": _INTEGERS + "fd",
}
_SUPPORTED = {name: codes for names, codes in _TABLE.items() for name in names.split()}
_WIDER = {"b": "A48f", "1": "48f", "2": "48f", "4": "8f", "8": "df", "A": "48f", "B": "48f", "C": "8f", "D": "8f", "h": "f", "w": "f", "f": "d", "d": "f"}
_BY_NAME = {name: code for code, name in _CODES.items()}


def carrier(op_type: str, dtype: np.dtype, attributes: dict[str, Any]) -> np.dtype:
    """The type to compute `op_type` in for operands of `dtype`: the same, if it is implemented."""
    key = op_type
    if attributes.get("fmod"):
        key += ":f"
    elif attributes.get("reduction", "none") != "none":
        key += f":{attributes['reduction']}"
    return _carrier(key, dtype)


@cache
def _carrier(key: str, dtype: np.dtype) -> np.dtype:
    supported = _SUPPORTED.get(key)
    code = _BY_NAME.get(dtype.name)
    if supported is None or code is None or code in supported:
        return dtype
    for wider in _WIDER[code]:
        if wider in supported:
            return np.dtype(_CODES[wider])
    return dtype


BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
