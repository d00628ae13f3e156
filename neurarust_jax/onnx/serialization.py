"""A finished graph as ONNX's protocol buffers, and as a file: all of it or nothing, weights beyond 2 GB in a file of their own."""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from ..errors import ArgumentError
from ..tensor import Tensor
from .builder import Graph, Node, Value, element_type
from .dimensions import is_symbolic

_LARGEST_FILE = 2**31 - 2**20  # bytes of weights that fit a protocol buffer, with room for the rest
_IR_VERSIONS = {17: 8, 18: 8, 19: 9, 20: 9, 21: 10, 22: 10, 23: 11, 24: 12, 25: 12, 26: 13}


class OnnxProgram:
    """An exported model.

    Attributes:
        model_proto: ONNX's `ModelProto`.
        guards: comparisons of open dimensions that were decided by the example's lengths.
        weights_apart: by name, the weights that `model_proto` does not hold, because together they exceed what a protocol buffer can.
    """

    def __init__(self, model_proto: Any, guards: list[str] | None = None, weights_apart: Mapping[str, np.ndarray] | None = None):
        self.model_proto = model_proto
        self.guards = guards or []
        self.weights_apart = dict(weights_apart or {})
        self._session: Any = None

    @property
    def model(self) -> Any:
        """The same as `model_proto`."""
        return self.model_proto

    def save(self, destination: str | os.PathLike, *, external_data: bool | None = None) -> None:
        """Write the model into a file, all of it or nothing.

        Args:
            destination: the path.
            external_data: whether the weights go into a second file, ``<path>.data``. Default: if they exceed 2 GB.
        """
        save_model(self.model_proto, Path(destination), external_data, self.weights_apart)

    def SerializeToString(self) -> bytes:  # noqa: N802 (the name that a ModelProto has)
        """The model as bytes.

        Raises:
            ValueError: its weights exceed 2 GB.
        """
        if self.weights_apart:
            raise ArgumentError("the weights exceed 2 GB, which is more than a protocol buffer holds; write program.save(path), which puts them into a file of their own")
        return self.model_proto.SerializeToString()

    def __call__(self, *args: Any, **kwargs: Any) -> tuple[Tensor, ...]:
        """The outputs for inputs, computed by ONNX Runtime."""
        import onnxruntime

        if self._session is None:
            with tempfile.TemporaryDirectory() as folder:
                source: Any = os.path.join(folder, "model.onnx") if self.weights_apart else self.SerializeToString()
                if self.weights_apart:
                    self.save(source)
                self._session = onnxruntime.InferenceSession(source, providers=["CPUExecutionProvider"])
        names = [i.name for i in self._session.get_inputs()]
        leaves = [x for x in jax.tree.leaves((args, kwargs), is_leaf=lambda x: isinstance(x, Tensor)) if hasattr(x, "shape")]
        from ..ops import as_tensor

        outputs = self._session.run(None, {name: np.asarray(x) for name, x in zip(names, leaves, strict=True)})
        return tuple(map(as_tensor, outputs))

    def verify(self, model: Callable, args: tuple, kwargs: Mapping[str, Any], rtol: float = 1e-3, atol: float = 1e-4) -> None:
        """Raise if ONNX Runtime's outputs are not those of the model."""
        expected = [x for x in jax.tree.leaves(model(*args, **kwargs), is_leaf=lambda x: isinstance(x, Tensor)) if hasattr(x, "shape")]
        for ours, theirs in zip(expected, self(*args, **kwargs), strict=True):
            np.testing.assert_allclose(np.asarray(theirs), np.asarray(ours.detach() if isinstance(ours, Tensor) else ours), rtol=rtol, atol=atol)

    def __repr__(self) -> str:
        import onnx

        return onnx.printer.to_text(self.model_proto)


# --- protocol buffers ----------------------------------------------------------------------------------------------------


def to_model(
    graph: Graph,
    *,
    metadata: Mapping[str, str] | None = None,
    with_weights: bool = True,
    weights_as_inputs: bool = False,
    written: Mapping[str, str] | None = None,
) -> OnnxProgram:
    """The model of a finished graph.

    Args:
        graph: the graph.
        metadata: for the model's `metadata_props`.
        with_weights: whether parameters and buffers have their values in it.
        weights_as_inputs: whether they are inputs too.
        written: names of dimensions as they are to stand in the file, where they differ.
    """
    import onnx

    from .. import __version__

    names = dict(written or {})
    proto = _graph_proto(graph, "main_graph", names)
    weights = [v for v in graph.values.values() if v.weight and v.name in graph.initializers]
    kept = {n: a for n, a in graph.initializers.items() if with_weights or not graph.values[n].weight}
    apart = {n: a for n, a in kept.items() if not _is_small(a)} if sum(a.nbytes for a in kept.values()) > _LARGEST_FILE else {}
    proto.initializer.extend(_initializer(graph.values[n], array, graph.values[n].transposed in kept, n in apart) for n, array in kept.items())
    if weights_as_inputs:
        proto.input.extend(_value_info(v, names) for v in weights)
    domains = {node.domain for node in _all_nodes(graph)} - {""}
    imports = [onnx.helper.make_opsetid("", graph.opset), *(onnx.helper.make_opsetid(d, 1) for d in sorted(domains))]
    model = onnx.helper.make_model(
        proto, opset_imports=imports, ir_version=_IR_VERSIONS[graph.opset], producer_name="neurarust_jax", producer_version=__version__
    )
    if metadata:
        onnx.helper.set_model_props(model, {str(k): str(v) for k, v in metadata.items()})
    return OnnxProgram(model, weights_apart=apart)


def _all_nodes(graph: Graph) -> list[Node]:
    found = []
    for node in graph.nodes:
        found.append(node)
        for inner in node.subgraphs():
            found += _all_nodes(inner)
    return found


def _graph_proto(graph: Graph, name: str, names: Mapping[str, str]) -> Any:
    import onnx

    nodes = [node_proto(node, names) for node in graph.nodes]
    outputs = {v.name for v in graph.outputs}
    made = [graph.values[o] for node in graph.nodes for o in node.outputs if o and o not in outputs]
    infos = [_value_info(v, names) for v in made if v.shape is not None]
    return onnx.helper.make_graph(nodes, name, [_value_info(v, names) for v in graph.inputs], [_value_info(v, names) for v in graph.outputs], value_info=infos)


def node_proto(node: Node, names: Mapping[str, str]) -> Any:
    """The protocol buffer of a node."""
    import onnx

    made = onnx.helper.make_node(node.op_type, node.inputs, node.outputs, name=f"node_{next(o for o in node.outputs if o)}", domain=node.domain or None)
    for key, value in sorted(node.attributes.items()):
        if isinstance(value, Graph):
            value = _graph_proto(value, f"{made.name}_{key}", names)
        elif isinstance(value, np.ndarray):
            value = _tensor("", value)
        elif isinstance(value, np.generic):
            value = value.item()
        elif isinstance(value, bool):
            value = int(value)
        elif isinstance(value, tuple):
            value = list(value)
        if isinstance(value, list) and not value:
            made.attribute.append(onnx.helper.make_attribute(key, value, attr_type=onnx.AttributeProto.INTS))
        else:
            made.attribute.append(onnx.helper.make_attribute(key, value))
    return made


def _value_info(value: Value, names: Mapping[str, str]) -> Any:
    import onnx

    shape = None if value.shape is None else [_written(d, names) for d in value.shape]
    return onnx.helper.make_tensor_value_info(value.name, element_type(value.dtype), shape)


def _written(dim: Any, names: Mapping[str, str]) -> Any:
    if not is_symbolic(dim):
        return int(dim)
    text = str(dim)
    return re.sub(r"[A-Za-z_]\w*", lambda m: names.get(m.group(), m.group()), text)


def _initializer(value: Value, array: np.ndarray, is_tied: bool, is_apart: bool) -> Any:
    """The tensor of an initializer, with its values unless they are kept apart. What is no parameter of its own says so, that `nr.onnx.load` does not train it."""
    made = _empty_tensor(value.name, array) if is_apart else _tensor(value.name, array)
    if is_tied:
        made.doc_string = f"transpose of {value.transposed}"
    elif not value.learned:
        made.doc_string = "buffer" if value.weight else "constant"
    return made


def _tensor(name: str, array: np.ndarray) -> Any:
    import onnx

    array = np.asarray(array)
    if _is_small(array):
        return onnx.numpy_helper.from_array(np.ascontiguousarray(array).reshape(array.shape), name)
    made = _empty_tensor(name, array)
    made.raw_data = _raw(array).tobytes()
    return made


def _is_small(array: np.ndarray) -> bool:
    return array.nbytes < 1024


def _empty_tensor(name: str, array: np.ndarray) -> Any:
    import onnx

    return onnx.TensorProto(name=name, data_type=element_type(array.dtype), dims=array.shape)


def _raw(array: np.ndarray) -> np.ndarray:
    """The bytes of an array as ONNX keeps them: row by row, the least significant first."""
    array = np.ascontiguousarray(array)
    array = array.astype(array.dtype.newbyteorder("<"), copy=False) if array.dtype.kind in "biufc" else array
    return array.reshape(-1).view(np.uint8)


# --- files ---------------------------------------------------------------------------------------------------------------


def save_model(model: Any, path: Path, external_data: bool | None, apart: Mapping[str, np.ndarray]) -> None:
    """Write a model, with the weights that it does not hold itself; a file of that name stays whole until the new one is."""
    size = sum(len(t.raw_data) for t in model.graph.initializer) + sum(a.nbytes for a in apart.values())
    if external_data is False and size > _LARGEST_FILE:
        raise ArgumentError(f"the weights take {size} bytes, and a file of ONNX holds 2 GB at most; leave external_data out, or write external_data=True")
    if external_data or size > _LARGEST_FILE:
        _save_in_two(model, path, apart)
    else:
        _write_atomically(path, [model.SerializeToString()])


def _save_in_two(model: Any, path: Path, apart: Mapping[str, np.ndarray]) -> None:
    """Weights first, in a file that no older model refers to, then the model that refers to it."""
    import onnx

    before = _data_file_of(path)
    data = path.with_name(f"{path.name}.data")
    if before == data.name and data.exists():
        data = path.with_name(f"{path.name}.1.data")
    outer = onnx.ModelProto()
    outer.CopyFrom(_without_weights(model))
    pieces, offset = [], 0
    for tensor in model.graph.initializer:
        made = outer.graph.initializer.add()
        raw = _raw(apart[tensor.name]) if tensor.name in apart else tensor.raw_data
        if len(raw) < 1024:
            made.CopyFrom(tensor)
            continue
        made.name, made.data_type, made.doc_string = tensor.name, tensor.data_type, tensor.doc_string
        made.dims.extend(tensor.dims)
        padding = -offset % 4096
        pieces += [b"\0" * padding, raw]
        offset += padding
        made.data_location = onnx.TensorProto.EXTERNAL
        for key, value in (("location", data.name), ("offset", offset), ("length", len(raw))):
            made.external_data.add(key=key, value=str(value))
        offset += len(raw)
    _write_atomically(data, pieces)
    _write_atomically(path, [outer.SerializeToString()])
    if before and before != data.name:
        with contextlib.suppress(OSError):
            path.with_name(before).unlink()


def _without_weights(model: Any) -> Any:
    import onnx

    shell = onnx.ModelProto()
    for field, value in model.ListFields():
        if field.name == "graph":
            continue
        if field.is_repeated if hasattr(field, "is_repeated") else field.label == field.LABEL_REPEATED:
            getattr(shell, field.name).extend(value)
        else:
            setattr(shell, field.name, value)
    for field, value in model.graph.ListFields():
        if field.name == "initializer":
            continue
        if field.is_repeated if hasattr(field, "is_repeated") else field.label == field.LABEL_REPEATED:
            getattr(shell.graph, field.name).extend(value)
        else:
            setattr(shell.graph, field.name, value)
    return shell


def _data_file_of(path: Path) -> str | None:
    """The name of the file of weights that a model which is already there refers to."""
    import onnx

    try:
        model = onnx.load(path, load_external_data=False)
    except Exception:  # no file, or none of ONNX: then there is nothing to keep
        return None
    return next((e.value for t in model.graph.initializer for e in t.external_data if e.key == "location"), None)


def _write_atomically(path: Path, pieces: Sequence[bytes | np.ndarray]) -> None:
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            for piece in pieces:
                file.write(piece)  # type: ignore[arg-type]  (an array is a buffer)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
