"""From a `ModelProto` to a `Graph`: names resolved, attributes read, functions of the model expanded, initializers collected.

Nothing is computed here, and nothing in a file is executed.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ModelFileError
from .functions import schema_function
from .graph import Graph, Node
from .registry import Handler, find
from .tensors import numpy_dtype, read_sparse, read_tensor

_MOST_NODES = 2_000_000  # functions that call functions could grow without bound
_UNKNOWN = Handler(lambda node, *inputs: None, 0, (), False)

TRANSPOSE = "transpose of "
Scope = ChainMap[str, str]  # names in the file, and the names that their values have in the whole model


class Parser:
    """Reads one model.

    Attributes:
        initializers: the arrays of all graphs in the model, by names of their own.
        roles: of those that files of `nr.onnx.export` say not to be parameters, what they are instead: "buffer", "constant" or "transpose of ...".
    """

    def __init__(self, where: str, folder: Path | None, functions: Iterable[Any] = ()):
        self.where = where
        self.folder = folder
        self.functions = {(_domain(f.domain), f.name, getattr(f, "overload", "")): f for f in functions}
        self.initializers: dict[str, np.ndarray] = {}
        self.roles: dict[str, str] = {}
        self.taken: set[str] = {""}
        self.unknown: dict[tuple[str, str, int], None] = {}
        self.nodes = 0

    def model(self, proto: Any) -> Graph:
        """The main graph of a `ModelProto`."""
        opsets = imports(proto.opset_import) if proto.opset_import else {"": 1}
        graph = self.graph(proto.graph, ChainMap({"": ""}), opsets, {}, f"the main graph of {self.where}")
        self.refuse_unknown()
        return graph

    def refuse_unknown(self) -> None:
        """Raise one error that names all ops without a handler."""
        if self.unknown:
            names = ", ".join(f"{domain or 'ai.onnx'}.{op} (version {version})" if version else f"{domain}.{op}" for domain, op, version in self.unknown)
            raise ModelFileError(
                f"{self.where} uses operators that are not known here: {names}. Register each with nr.onnx.registry.handler(name, domain=...), or export the model "
                "with operators of ai.onnx only."
            )

    def fresh(self, name: str) -> str:
        """A name for a value that no other value of the model has, the one in the file if possible."""
        found, count = name or "unnamed", 1
        while found in self.taken:
            found, count = f"{name}_{count}", count + 1
        self.taken.add(found)
        return found

    def graph(self, proto: Any, outer: Scope, opsets: Mapping[str, int], given: Mapping[str, Any], what: str) -> Graph:
        """A `GraphProto` whose nodes may read the names in `outer`; `given` are the attributes of the function that it stands in."""
        scope = outer.new_child()
        constants = [(t.name, read_tensor, t) for t in proto.initializer] + [(t.values.name, read_sparse, t) for t in proto.sparse_initializer]
        initialized = {name for name, _, _ in constants}
        free_inputs = [i for i in proto.input if i.name not in initialized]
        inputs = [self.fresh(i.name) for i in free_inputs]
        scope.update(zip((i.name for i in free_inputs), inputs, strict=True))
        for name, read, tensor in constants:
            known = scope[name] = self.fresh(name)
            self.initializers[known] = read(tensor, self.folder, f"{self.where}: tensor {name!r}")
            if getattr(tensor, "doc_string", "") in ("buffer", "constant") or getattr(tensor, "doc_string", "").startswith(TRANSPOSE):
                self.roles[known] = tensor.doc_string
        steps: list[Node] = []
        for node in proto.node:
            self.node(node, scope, opsets, given, steps, ())
        outputs = [self._look_up(o.name, scope, f"output {o.name!r} of {what}") for o in proto.output]
        made = Graph(proto.name, inputs, outputs, steps, [i.name for i in free_inputs], [o.name for o in proto.output])
        made.input_types = [_tensor_type(i.type) for i in free_inputs]
        return made

    def _look_up(self, name: str, scope: Scope, what: str) -> str:
        try:
            return scope[name]
        except KeyError:
            raise ModelFileError(f"{self.where} is damaged: {what} is the value {name!r}, which no earlier node makes") from None

    def node(self, proto: Any, scope: Scope, opsets: Mapping[str, int], given: Mapping[str, Any], steps: list[Node], calls: tuple[Any, ...]) -> None:
        """Append a `NodeProto` to `steps`, or, of a function, the nodes of its body; `calls` are the functions that this one stands in."""
        self.nodes += 1
        if self.nodes > _MOST_NODES:
            raise ModelFileError(f"{self.where} has more than {_MOST_NODES} nodes once its functions are expanded")
        domain = _domain(proto.domain)
        inputs = [self._look_up(name, scope, f"an input of node {proto.name!r} ({proto.op_type})") if name else "" for name in proto.input]
        attributes = self._attributes(proto, scope, opsets, given)
        function = self.functions.get((domain, proto.op_type, getattr(proto, "overload", "")))
        if function is not None:
            self._call(function, proto, inputs, attributes, scope, steps, calls)
            return
        version = opsets.get(domain, 0)
        handler = find(domain, proto.op_type, version) or schema_function(domain, proto.op_type, version)
        if handler is None:
            self.unknown[domain, proto.op_type, version] = None
            handler = _UNKNOWN
        if (domain, proto.op_type) == ("ai.onnx.preview.training", "Gradient"):
            attributes["graph"] = self._differentiated(proto, attributes, scope, steps)
        outputs = [self.fresh(name) if name else "" for name in proto.output]
        scope.update((name, own) for name, own in zip(proto.output, outputs, strict=True) if name)
        steps.append(Node(proto.op_type, domain, version, proto.name, inputs, outputs, attributes, handler))

    def _differentiated(self, proto: Any, attributes: Mapping[str, Any], scope: Scope, steps: list[Node]) -> Graph:
        """What a `Gradient` node differentiates: the steps from its `xs` and `zs` to its `y`."""
        names = [*attributes.get("xs", ()), *attributes.get("zs", ())]
        what = f"an attribute of node {proto.name!r} (Gradient)"
        inputs, output = [self._look_up(name, scope, what) for name in names], self._look_up(attributes.get("y", ""), scope, what)
        return Graph("gradient", inputs, [output], [s for s in steps if not set(inputs).intersection(s.outputs)], names, [attributes.get("y", "")])

    def _call(self, function: Any, proto: Any, inputs: list[str], attributes: dict[str, Any], scope: Scope, steps: list[Node], calls: tuple[Any, ...]) -> None:
        """Expand a call of one of the model's functions."""
        key = (function.domain, function.name)
        if key in calls:
            raise ModelFileError(f"{self.where}: function {function.name!r} calls itself")
        outputs = self.expand(function, inputs, attributes, steps, (*calls, key))
        scope.update((name, own) for name, own in zip(proto.output, outputs, strict=False) if name)

    def expand(self, function: Any, inputs: list[str], attributes: Mapping[str, Any], steps: list[Node], calls: tuple[Any, ...] = ()) -> list[str]:
        """Append the body of a `FunctionProto` to `steps`, and return the names of its outputs."""
        given = {a.name: self._value(a, ChainMap({"": ""}), {}, {}) for a in function.attribute_proto}
        given.update(attributes)
        padded = inputs + [""] * (len(function.input) - len(inputs))
        scope: Scope = ChainMap({"": "", **dict(zip(function.input, padded, strict=False))})
        opsets = imports(function.opset_import)
        for node in function.node:
            self.node(node, scope, opsets, given, steps, calls)
        return [self._look_up(name, scope, f"output {name!r} of function {function.name!r}") for name in function.output]

    def _attributes(self, proto: Any, scope: Scope, opsets: Mapping[str, int], given: Mapping[str, Any]) -> dict[str, Any]:
        found = {}
        for attribute in proto.attribute:
            if attribute.ref_attr_name:
                if attribute.ref_attr_name in given:
                    found[attribute.name] = given[attribute.ref_attr_name]
            else:
                found[attribute.name] = self._value(attribute, scope, opsets, given)
        return found

    def _value(self, attribute: Any, scope: Scope, opsets: Mapping[str, int], given: Mapping[str, Any]) -> Any:
        """An attribute's value in Python."""
        where = f"{self.where}: attribute {attribute.name!r}"
        kind = attribute.type or _kind_of(attribute)
        if kind == attribute.GRAPH:
            made = self.graph(attribute.g, scope, opsets, given, where)
            made.proto = attribute.g
            return made
        if kind == attribute.GRAPHS:
            return [self.graph(g, scope, opsets, given, where) for g in attribute.graphs]
        if kind == attribute.TENSOR:
            return read_tensor(attribute.t, self.folder, where)
        if kind == attribute.TENSORS:
            return [read_tensor(t, self.folder, where) for t in attribute.tensors]
        if kind == attribute.SPARSE_TENSOR:
            return read_sparse(attribute.sparse_tensor, self.folder, where)
        if kind == attribute.SPARSE_TENSORS:
            return [read_sparse(t, self.folder, where) for t in attribute.sparse_tensors]
        if kind == attribute.STRING:
            return attribute.s.decode("utf-8", "surrogateescape")
        if kind == attribute.STRINGS:
            return [s.decode("utf-8", "surrogateescape") for s in attribute.strings]
        plain = {
            attribute.FLOAT: "f", attribute.INT: "i", attribute.FLOATS: "floats", attribute.INTS: "ints", attribute.TYPE_PROTO: "tp",
            attribute.TYPE_PROTOS: "type_protos",
        }  # fmt: skip
        if kind not in plain:
            raise ModelFileError(f"{where} has the type {kind}, which ONNX does not define")
        value = getattr(attribute, plain[kind])
        return value if kind in (attribute.FLOAT, attribute.INT, attribute.TYPE_PROTO) else list(value)


def _kind_of(attribute: Any) -> int:
    """The type of an attribute in an old file that does not say it."""
    for field, kind in (("f", attribute.FLOAT), ("i", attribute.INT), ("s", attribute.STRING), ("t", attribute.TENSOR), ("g", attribute.GRAPH)):
        if attribute.HasField(field):
            return kind
    lists = (("floats", attribute.FLOATS), ("ints", attribute.INTS), ("strings", attribute.STRINGS), ("tensors", attribute.TENSORS))
    return next((kind for field, kind in lists if len(getattr(attribute, field))), attribute.INTS)


def imports(opset_import: Iterable[Any]) -> dict[str, int]:
    """The version of each domain that a model or function imports."""
    return {_domain(o.domain): o.version for o in opset_import}


def _domain(domain: str) -> str:
    return "" if domain == "ai.onnx" else domain


def _tensor_type(proto: Any) -> Any:
    """(dtype, shape with `None` or a name for unknown lengths, or no shape), `None` for what is no tensor."""
    if not proto.HasField("tensor_type") or not proto.tensor_type.elem_type:
        return None
    tensor = proto.tensor_type
    shape = None
    if tensor.HasField("shape"):
        shape = tuple(d.dim_value if d.HasField("dim_value") else d.dim_param or None for d in tensor.shape.dim)
    return numpy_dtype(tensor.elem_type), shape
