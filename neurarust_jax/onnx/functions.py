"""Ops that have no handler but a body of simpler ops in ONNX's own schemas: the body is expanded when the types of the inputs are known."""

from __future__ import annotations

from typing import Any

import numpy as np

from .registry import Handler
from .tensors import element_type
from .values import dtype_of, shape_of


def schema_function(domain: str, op_type: str, version: int) -> Handler | None:
    """A handler that runs the body that the schema of an op gives, or `None` if it gives none."""
    import onnx

    try:
        schema = onnx.defs.get_schema(op_type, version, domain)
    except onnx.defs.SchemaError:
        return None
    if not (schema.has_function or schema.has_context_dependent_function):
        return None
    return Handler(_SchemaFunction(domain, op_type, version), schema.since_version, (), False)


class _SchemaFunction:
    """Runs the function body of an op."""

    def __init__(self, domain: str, op_type: str, version: int):
        self.domain = domain
        self.op_type = op_type
        self.version = version

    def __call__(self, node: Any, *inputs: Any) -> Any:
        from .graph import Graph
        from .parse import Parser

        parser = Parser(f"the function body of {self.op_type}", None)
        names = [parser.fresh(f"input_{i}") if x is not None else "" for i, x in enumerate(inputs)]
        steps: list[Any] = []
        outputs = parser.expand(self._body(node, names, inputs), names, node.attributes, steps)
        parser.refuse_unknown()
        given = [(name, x) for name, x in zip(names, inputs, strict=True) if name]
        graph = Graph(self.op_type, [name for name, _ in given], outputs, steps, [name for name, _ in given], outputs)
        return graph.run([x for _, x in given], {})

    def _body(self, node: Any, names: list[str], inputs: tuple[Any, ...]) -> Any:
        import onnx

        schema = onnx.defs.get_schema(self.op_type, self.version, self.domain)
        if schema.has_function:
            body = onnx.FunctionProto()
            version = max((v for v in schema.function_opset_versions if v <= self.version), default=schema.function_opset_versions[0])
            body.ParseFromString(schema.get_function_with_opset_version(version))
        else:
            versions = schema.context_dependent_function_opset_versions
            version = max((v for v in versions if v <= self.version), default=versions[0])
            proto = onnx.helper.make_node(self.op_type, names, list(node.outputs), domain=self.domain, **_protos(node.attributes))
            types = [_type_of(x).SerializeToString() for x in inputs]
            body = onnx.FunctionProto()
            body.ParseFromString(schema.get_context_dependent_function_with_opset_version(version, proto.SerializeToString(), types))
        if all(imported.domain not in ("", "ai.onnx") for imported in body.opset_import):
            body.opset_import.append(onnx.helper.make_opsetid("", self.version if not self.domain else onnx.defs.onnx_opset_version()))
        return body


def _protos(attributes: dict[str, Any]) -> dict[str, Any]:
    import onnx

    def as_proto(value: Any) -> Any:
        if isinstance(value, np.ndarray):
            return onnx.numpy_helper.from_array(value)
        return value.graph.proto if hasattr(value, "graph") else value

    return {name: as_proto(value) for name, value in attributes.items()}


def _type_of(value: Any) -> Any:
    import onnx

    if value is None:
        return onnx.TypeProto()
    if isinstance(value, list):
        return onnx.helper.make_sequence_type_proto(_type_of(value[0]) if value else onnx.TypeProto())
    return onnx.helper.make_tensor_type_proto(element_type(dtype_of(value)), shape_of(value))
