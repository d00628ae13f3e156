"""The examples that converters carry: what they become, and that ONNX Runtime computes the same."""

import warnings

import numpy as np
import pytest

import neurarust_jax as nr
from neurarust_jax import nn
from neurarust_jax.nn import functional as F
from neurarust_jax.onnx import converters
from neurarust_jax.onnx.lowering import CASES
from tests.onnx.exported import assert_same, checked

converters.load_all()
EXAMPLES = [(name, number, example) for name, examples in CASES.items() for number, example in enumerate(examples)]


def made(random: np.random.Generator, spec: tuple) -> nr.Tensor:
    """An input of an example."""
    if spec and spec[0] == "below":
        return nr.tensor(random.integers(0, spec[1], spec[2:]))
    if spec and spec[0] == "bool":
        return nr.tensor(random.integers(0, 2, spec[1:]).astype(bool))
    return nr.tensor(random.standard_normal(spec).astype(np.float32))


@pytest.mark.parametrize(("name", "number", "example"), EXAMPLES, ids=[f"{name}-{number}" for name, number, _ in EXAMPLES])
def test_an_example_becomes_its_nodes(name, number, example):
    random = np.random.default_rng(0)
    inputs = {key: made(random, spec) for key, spec in example.inputs.items()}
    nr.manual_seed(0)
    layers = {}

    class Remembering:  # a layer that an example makes is made once
        def __getattr__(self, layer):
            return lambda *args, **kwargs: (
                layers.setdefault((layer, args, tuple(kwargs.items())), None)
                or layers.__setitem__((layer, args, tuple(kwargs.items())), getattr(nn, layer)(*args, **kwargs).eval())
                or layers[(layer, args, tuple(kwargs.items()))]
            )

    code = compile(example.code, name, "eval")

    def function(*values):
        return eval(code, {"nr": nr, "F": F, "nn": Remembering(), **dict(zip(inputs, values, strict=True))})  # noqa: S307

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        function(*inputs.values())
        program = nr.onnx.export(function, tuple(inputs.values()), opset_version=example.opset)
    model = checked(program)
    assert " ".join(sorted(node.op_type for node in model.graph.node)) == " ".join(sorted(example.nodes.split()))
    assert_same(model, function, *inputs.values())
