"""`load`: an ONNX file as a module."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ArgumentTypeError, DtypeError, ModelFileError, ShapeError
from ..nn.module import Module
from ..parameter import Buffer, Parameter
from ..tensor import Tensor
from .graph import Graph, as_outputs, known_while_tracing, mark_constants
from .parse import TRANSPOSE, Parser
from .values import as_tensor, dtype_of, is_strings, shape_of

_SMALL = 1024  # elements that an int64 or bool initializer may have to count as part of the program rather than as state


class _Part(Module):
    """A place below an `OnnxModule`, so that dotted names of initializers lead where they say."""


class OnnxModule(Module):
    """An ONNX graph as a module; `load` makes it.

    Its parameters are the floating-point initializers of the file, under their names; initializers of other types are buffers, except
    small ones that only decide shapes and indices.

    Attributes:
        input_names, output_names: of the graph, in the order of the arguments and results of a call.
        opset: the version of ai.onnx that the model imports.

    Examples:
        >>> import onnx, neurarust_jax as nr
        >>> text = '<ir_version: 10, opset_import: ["" : 21]> double (float[N] x) => (float[N] y) { y = Add(x, x) }'
        >>> model = nr.onnx.load(onnx.parser.parse_model(text))
        >>> model(nr.tensor([1.0, 2.0]))
        tensor([2., 4.])
    """

    def __init__(self, graph: Graph, initializers: dict[str, np.ndarray], opset: int, roles: Mapping[str, str]):
        super().__init__()
        known = known_while_tracing(graph)
        buffers = {name for name, role in roles.items() if role == "buffer"}
        buffers |= {name for step in graph.all_steps() if step.op_type == "BatchNormalization" for name in step.inputs[3:5]}
        program = _Program(graph, opset)
        program.transposes = {name: source for name, role in roles.items() if (source := _tied(name, role, initializers)) and not {name, source} & known}
        flat = not _have_homes(initializers)
        for name, array in initializers.items():
            if name in program.transposes:
                continue
            if name in known or roles.get(name) == "constant" or is_strings(array) or (array.dtype in (np.int64, np.bool_) and array.size <= _SMALL):
                program.constants[name] = array
                continue
            is_learned = _is_floating(array.dtype) and name not in buffers
            program.places[name] = (name,) if flat else tuple(name.split("."))
            self._keep(program.places[name], Parameter(as_tensor(array)) if is_learned else Buffer(as_tensor(array)))
        mark_constants(graph, set(program.constants))
        self._program = program

    def _keep(self, place: tuple[str, ...], cell: Parameter | Buffer) -> None:
        owner: Any = self
        for part in place[:-1]:
            if part not in owner._modules:
                owner._modules[part] = _Part()
            owner = owner._modules[part]
        (owner._parameters if isinstance(cell, Parameter) else owner._buffers)[place[-1]] = cell

    @property
    def input_names(self) -> tuple[str, ...]:
        """The names of the inputs, in the order of the arguments."""
        return self._program.graph.input_names

    @property
    def output_names(self) -> tuple[str, ...]:
        """The names of the outputs, in the order of the results."""
        return self._program.graph.output_names

    @property
    def opset(self) -> int:
        """The version of ai.onnx that the model imports."""
        return self._program.opset

    def forward(self, *inputs: Any, **named: Any) -> Any:
        """The outputs of the graph.

        Args:
            inputs: tensors or arrays (lists for sequences, `None` for optional inputs left empty), in the order of `input_names`.
            named: inputs by name instead; an initializer's name gives it another value for this call.

        Returns:
            The output, or a tuple if there are several.
        """
        graph = self._program.graph
        outside = {name: self._cell(place) for name, place in self._program.places.items()}
        outside.update(self._program.constants)
        outside.update((name, outside[source].T) for name, source in self._program.transposes.items())
        values = self._arguments(inputs, named, outside)
        outputs = as_outputs(graph.run(values, outside))
        return outputs[0] if len(outputs) == 1 else outputs

    def _cell(self, place: tuple[str, ...]) -> Any:
        owner: Any = self
        for part in place[:-1]:
            owner = owner._modules[part]
        last = place[-1]
        if last in owner._parameters:
            return owner._parameters[last]
        return owner._buffers[last] if last in owner._buffers else getattr(owner, last)

    def _arguments(self, inputs: tuple[Any, ...], named: dict[str, Any], outside: dict[str, Any]) -> list[Any]:
        names = self.input_names
        if len(inputs) > len(names):
            raise ArgumentTypeError(f"the ONNX graph takes {len(names)} inputs, {', '.join(names)}, and is given {len(inputs)}")
        given = dict(zip(names, inputs, strict=False))
        for name, value in named.items():
            if name in given or (name not in names and name not in outside):
                raise ArgumentTypeError(f"input {name!r} is given twice, or is no input: the ONNX graph takes {', '.join(names)}")
            if name in outside:
                outside[name] = as_tensor(value)
            given[name] = value
        missing = [name for name in names if name not in given]
        if missing:
            raise ArgumentTypeError(f"the ONNX graph takes {len(names)} inputs, {', '.join(names)}; missing: {', '.join(missing)}")
        types = self._program.graph.input_types
        return [_checked(name, given[name], expected) for name, expected in zip(names, types, strict=True)]

    def extra_repr(self) -> str:
        """The names of inputs and outputs."""
        return f"inputs: {', '.join(self.input_names)}; outputs: {', '.join(self.output_names)}; opset {self.opset}, {len(self._program.graph.steps)} nodes"


class _Program:
    """What of an imported model never changes: the graph, where its parameters are, and its constants."""

    def __init__(self, graph: Graph, opset: int):
        self.graph = graph
        self.opset = opset
        self.places: dict[str, tuple[str, ...]] = {}
        self.constants: dict[str, np.ndarray] = {}
        self.transposes: dict[str, str] = {}  # names of parameters, by those of their transposes

    def __deepcopy__(self, memo: dict) -> _Program:
        return self


def _checked(name: str, value: Any, expected: Any) -> Any:
    """An input as a value of the graph, or an error if its dtype or number of dimensions is not the declared one."""
    if value is None or isinstance(value, list | tuple):
        return as_tensor(value)
    if isinstance(value, str):
        value = np.array(value, object)
    if isinstance(value, bool | int | float | complex):
        value = np.asarray(value, None if expected is None else expected[0])
    if not isinstance(value, Tensor):
        value = as_tensor(value.astype(object) if isinstance(value, np.ndarray) and value.dtype.kind in "US" else value)
    if expected is None:
        return value
    dtype, shape = expected
    if dtype_of(value) != dtype:
        raise DtypeError(f"input {name!r} of the ONNX graph has dtype {dtype}, and is given {dtype_of(value)}; convert it with .to(nr.{dtype})")
    have = shape_of(value)
    if shape is not None and (
        len(have) != len(shape) or any(isinstance(want, int) and want > 0 and want != length for want, length in zip(shape, have, strict=True))
    ):
        raise ShapeError(f"input {name!r} of the ONNX graph has shape {_shape_text(shape)}, and is given {have}")
    return value


def _shape_text(shape: tuple[Any, ...]) -> str:
    return "(" + ", ".join("?" if length is None else str(length) for length in shape) + ("," if len(shape) == 1 else "") + ")"


def _tied(name: str, role: str, initializers: Mapping[str, np.ndarray]) -> str:
    """The matrix that an initializer is the transpose of, if the file says that of one that it holds."""
    source = role.removeprefix(TRANSPOSE)
    is_tied = role != source and source in initializers and _is_floating(initializers[source].dtype) and initializers[source].shape == initializers[name].shape[::-1]
    return source if is_tied else ""


def _is_floating(dtype: np.dtype) -> bool:
    return dtype.kind in "fc" or dtype.name == "bfloat16"


def _have_homes(names: Any) -> bool:
    """Whether every dotted name can be an attribute of a module below: no part empty, taken by `Module`, or both a parameter and a module."""
    parents = {tuple(name.split(".")[:i]) for name in names for i in range(1, name.count(".") + 1)}
    taken = dir(Module)
    plain = Module().__dict__
    for name in names:
        parts = name.split(".")
        if tuple(parts) in parents or any(not part or part in taken or part in plain for part in parts):
            return False
    return True


def load(model: Any) -> OnnxModule:
    """An ONNX model as a module that can be called, compiled, differentiated, trained and saved.

    Args:
        model: the path of a file, its bytes, or an `onnx.ModelProto`. External data are read from the folder of the path only.

    Returns:
        The module. Floating-point initializers are its parameters, under their names in the file.

    Raises:
        RuntimeError: the file is damaged or cut off, or uses operators that are not known here; the error names all of them.

    Examples:
        >>> import onnx, neurarust_jax as nr
        >>> text = '<ir_version: 10, opset_import: ["" : 21]> f (float[N] x) => (float[N] y) <float[1] w = {2.0}> { y = Mul(x, w) }'
        >>> model = nr.onnx.load(onnx.parser.parse_model(text))
        >>> model(nr.tensor([1.0, 2.0])).sum().backward()
        >>> model.w.grad
        tensor([3.])
    """
    proto, folder, where = _read(model)
    parser = Parser(where, folder, proto.functions)
    graph = parser.model(proto)
    opset = max((o.version for o in proto.opset_import if o.domain in ("", "ai.onnx")), default=1)
    return OnnxModule(graph, parser.initializers, opset, parser.roles)


def _read(model: Any) -> tuple[Any, Path | None, str]:
    """(the `ModelProto`, the folder of its file, what to call it in errors)"""
    import onnx
    from google.protobuf.message import DecodeError

    if isinstance(model, onnx.ModelProto):
        return model, None, "the ONNX model"
    if isinstance(model, bytes | bytearray | memoryview):
        where, folder, content = "the ONNX model", None, bytes(model)
    elif isinstance(model, str | os.PathLike):
        path = Path(model)
        where, folder, content = str(path), path.parent, path.read_bytes()
    else:
        raise ArgumentTypeError(f"nr.onnx.load takes a path, bytes or an onnx.ModelProto, got {type(model).__name__}")
    proto = onnx.ModelProto()
    try:
        proto.ParseFromString(content)
    except (DecodeError, RecursionError) as error:
        raise ModelFileError(f"{where} is no ONNX file, or is damaged or cut off: {error}") from None
    if not proto.HasField("graph"):
        raise ModelFileError(f"{where} is no ONNX file, or is damaged or cut off: it holds no graph")
    return proto, folder, where
