"""What is done to a finished graph: nodes that do nothing removed, equal ones made one, some joined, and what leads to no output dropped."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from .builder import Graph, Node, Value, element_type

_RANDOM = {"RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike", "Bernoulli", "Multinomial", "Dropout"}


def optimize(graph: Graph, fold_batch_norm: bool = False) -> None:
    """All passes, until nothing changes."""
    drop_dead(graph)
    if fold_batch_norm:
        fold_batch_norms(graph)
    while any([_fold_constants(graph), _remove_identities(graph), _merge_equal(graph), _join_transposes(graph), _join_reshapes(graph), _make_gemms(graph)]):
        drop_dead(graph)
    for inner in (inner for node in graph.nodes for inner in node.subgraphs()):
        optimize(inner)


# --- names ---------------------------------------------------------------------------------------------------------------


def rename(graph: Graph, names: Mapping[str, str]) -> None:
    """Other names for values wherever they are made or used."""
    for node in graph.nodes:
        node.inputs = [names.get(i, i) for i in node.inputs]
        node.outputs = [names.get(o, o) for o in node.outputs]
        for inner in node.subgraphs():
            rename(inner, names)
            inner.outputs = [inner.values[names[v.name]] if v.name in names else v for v in inner.outputs]


def substitute(graph: Graph, names: Mapping[str, str]) -> None:
    """Use other values in place of some, here and in graphs inside."""
    for node in graph.nodes:
        node.inputs = [names.get(i, i) for i in node.inputs]
        for inner in node.subgraphs():
            substitute(inner, names)
            inner.outputs = [inner.values[names[v.name]] if v.name in names else v for v in inner.outputs]


def uses(graph: Graph) -> Counter[str]:
    """How often each value is used, here and in graphs inside."""
    count: Counter[str] = Counter(v.name for v in graph.outputs)
    for node in graph.nodes:
        count.update(i for i in node.inputs if i)
        for inner in node.subgraphs():
            count.update(uses(inner))
    return count


def _outputs(graph: Graph) -> set[str]:
    return {v.name for v in graph.outputs}


def _makers(graph: Graph) -> dict[str, Node]:
    return {o: node for node in graph.nodes for o in node.outputs if o}


# --- what leads nowhere ----------------------------------------------------------------------------------------------------


def drop_dead(graph: Graph) -> None:
    """Remove nodes and initializers that no output depends on."""
    for inner in (inner for node in graph.nodes for inner in node.subgraphs()):
        drop_dead(inner)
    while True:
        used = uses(graph)
        kept = [node for node in graph.nodes if any(o and used[o] for o in node.outputs)]
        for node in kept:
            first = _optional_outputs(node)
            node.outputs = node.outputs[:first] + [o if used[o] else "" for o in node.outputs[first:]]
            while len(node.outputs) > 1 and not node.outputs[-1]:
                node.outputs.pop()
        if len(kept) == len(graph.nodes):
            break
        graph.nodes = kept
    if graph.parent is None:
        used = uses(graph)
        for name in [n for n in graph.initializers if not used[n]]:
            del graph.initializers[name]


def _optional_outputs(node: Node) -> int:
    """From which output on they may be left out."""
    if node.op_type in ("LSTM", "GRU", "RNN"):
        return 0
    return 1 if node.op_type in ("MaxPool", "Dropout", "LayerNormalization", "Unique", "Attention") else len(node.outputs)


# --- what does nothing -----------------------------------------------------------------------------------------------------


def _remove_identities(graph: Graph) -> bool:
    """Remove nodes whose output is their input."""
    outputs, makers, used = _outputs(graph), _makers(graph), uses(graph)
    instead: dict[str, str] = {}
    kept: list[Node] = []
    for node in graph.nodes:
        node.inputs = [instead.get(i, i) for i in node.inputs]
        if not _is_identity(graph, node):
            kept.append(node)
            continue
        source, result = node.inputs[0], node.outputs[0]
        maker = makers.get(source)
        if result not in outputs:
            instead[result] = source
        elif maker is not None and source not in outputs and used[source] == 1 and graph.parent is None and len(maker.outputs) == 1:
            maker.outputs[0] = result  # the node before it makes the output itself
            makers[result] = maker
        else:
            kept.append(node)
    changed = len(kept) < len(graph.nodes)
    graph.nodes = kept
    if instead:
        substitute(graph, instead)
    return changed


def _is_identity(graph: Graph, node: Node) -> bool:
    if node.domain or not node.inputs or not node.inputs[0] or not node.outputs[0]:
        return False
    source, result = graph.values[node.inputs[0]], graph.values[node.outputs[0]]
    if node.op_type == "Identity":
        return True
    if node.op_type == "Cast":
        return source.dtype == result.dtype
    if node.op_type == "Transpose":
        order = node.attributes.get("perm")
        return order is not None and list(order) == sorted(order)
    if node.op_type in ("Reshape", "Expand"):
        return _same_shape(source, result)
    return node.op_type == "Concat" and len(node.inputs) == 1


def _same_shape(a: Value, b: Value) -> bool:
    return a.shape is not None and b.shape is not None and [str(d) for d in a.shape] == [str(d) for d in b.shape]


# --- constants -----------------------------------------------------------------------------------------------------------

_FOLDED_AT_MOST = 4096  # elements


def _fold_constants(graph: Graph) -> bool:
    """Compute nodes whose inputs are all known. What was large has been computed before there were nodes."""
    outputs, changed = _outputs(graph), False
    for node in list(graph.nodes):
        values = [graph.values[i] for i in node.inputs if i]
        if node.domain or node.op_type in _RANDOM or node.subgraphs() or len(node.outputs) != 1 or node.outputs[0] in outputs or not values:
            continue
        if any(v.constant is None or v.weight or v.constant.size > _FOLDED_AT_MOST for v in values):
            continue
        array = _computed(graph, node)
        if array is None:
            continue
        graph.nodes.remove(node)
        substitute(graph, {node.outputs[0]: graph.constant(array).name})
        changed = True
    return changed


def _computed(graph: Graph, node: Node) -> np.ndarray | None:
    """The output of a node over constants."""
    import onnx
    from onnx.reference import ReferenceEvaluator

    from .serialization import node_proto

    result = graph.values[node.outputs[0]]
    model = onnx.helper.make_model(
        onnx.helper.make_graph(
            [node_proto(node, {})],
            "constant",
            [onnx.helper.make_tensor_value_info(i, element_type(graph.values[i].dtype), None) for i in dict.fromkeys(node.inputs) if i],
            [onnx.helper.make_tensor_value_info(result.name, element_type(result.dtype), None)],
        ),
        opset_imports=[onnx.helper.make_opsetid("", graph.opset)],
    )
    try:
        (array,) = ReferenceEvaluator(model).run(None, {i: graph.values[i].constant for i in node.inputs if i})
    except Exception:  # the reference has no such operator, or not for these types: the node stays
        return None
    array = np.asarray(array)
    return array if array.dtype == result.dtype and array.size <= _FOLDED_AT_MOST else None


# --- equal nodes -----------------------------------------------------------------------------------------------------------


def _merge_equal(graph: Graph) -> bool:
    """Make nodes one that compute the same."""
    seen: dict[Any, Node] = {}
    instead: dict[str, str] = {}
    outputs, kept = _outputs(graph), []
    for node in graph.nodes:
        node.inputs = [instead.get(i, i) for i in node.inputs]
        if node.subgraphs() or node.op_type in _RANDOM or any(o in outputs for o in node.outputs):
            kept.append(node)
            continue
        present = tuple(bool(o) for o in node.outputs)
        key = (node.op_type, node.domain, tuple(node.inputs), present, tuple(sorted((k, _key(v)) for k, v in node.attributes.items())))
        first = seen.setdefault(key, node)
        if first is node:
            kept.append(node)
        else:
            instead.update((old, new) for old, new in zip(node.outputs, first.outputs, strict=True) if old)
    graph.nodes = kept
    if instead:
        substitute(graph, instead)
    return bool(instead)


def _key(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.shape, value.tobytes()
    return tuple(value) if isinstance(value, list) else value


# --- joining ---------------------------------------------------------------------------------------------------------------


def _join_transposes(graph: Graph) -> bool:
    """A transpose of a transpose as one."""
    makers, changed = _makers(graph), False
    for node in graph.nodes:
        before = makers.get(node.inputs[0]) if node.op_type == "Transpose" else None
        if before is not None and before.op_type == "Transpose" and "perm" in node.attributes and "perm" in before.attributes:
            node.attributes["perm"] = [before.attributes["perm"][i] for i in node.attributes["perm"]]
            node.inputs[0] = before.inputs[0]
            changed = True
    return changed


_KEEP_ORDER = ("Reshape", "Flatten", "Squeeze", "Unsqueeze")


def _join_reshapes(graph: Graph) -> bool:
    """Only the last of several changes of shape in a row, where it says its shape in full."""
    makers, changed = _makers(graph), False
    for node in graph.nodes:
        if node.op_type != "Reshape":
            continue
        before = makers.get(node.inputs[0])
        target = graph.values[node.inputs[1]].constant
        if before is None or before.op_type not in _KEEP_ORDER or target is None or (0 in target and not node.attributes.get("allowzero")):
            continue
        node.inputs[0] = before.inputs[0]
        changed = True
    return changed


def _make_gemms(graph: Graph) -> bool:
    """A product of two matrices and a constant added to it as one Gemm."""
    makers, used, outputs = _makers(graph), uses(graph), _outputs(graph)
    for node in graph.nodes:
        if node.op_type != "Add":
            continue
        for place in (0, 1):
            product = makers.get(node.inputs[place])
            if product is None or product.op_type != "MatMul" or used[product.outputs[0]] != 1 or product.outputs[0] in outputs:
                continue
            a, b = (graph.values[i] for i in product.inputs)
            bias, result = graph.values[node.inputs[1 - place]], graph.values[node.outputs[0]]
            matrices = all(v.shape is not None and len(v.shape) == 2 for v in (a, b, result))
            if not matrices or b.constant is None or bias.constant is None or a.dtype not in (np.float16, np.float32, np.float64) or bias.ndim > 2:
                continue
            node.op_type, node.inputs = "Gemm", [a.name, b.name, bias.name]
            graph.nodes.remove(product)
            return True
    return False


# --- batch normalization ---------------------------------------------------------------------------------------------------


def fold_batch_norms(graph: Graph) -> None:
    """Multiply batch normalization into the weights of the convolution before it."""
    makers, used = _makers(graph), uses(graph)
    for node in list(graph.nodes):
        before = makers.get(node.inputs[0]) if node.op_type == "BatchNormalization" else None
        if before is None or before.op_type not in ("Conv", "ConvTranspose") or used[before.outputs[0]] != 1 or node.attributes.get("training_mode"):
            continue
        weight, bias = graph.values[before.inputs[1]], graph.values[before.inputs[2]] if len(before.inputs) > 2 else None
        scale, shift, mean, variance = (graph.values[i].constant for i in node.inputs[1:5])
        if weight.constant is None or (bias is not None and bias.constant is None) or scale is None or shift is None or mean is None or variance is None:
            continue
        if before.op_type == "ConvTranspose" and before.attributes.get("group", 1) != 1:
            continue
        factor = scale.astype(np.float64) / np.sqrt(variance.astype(np.float64) + node.attributes.get("epsilon", 1e-5))
        old = np.zeros(len(factor)) if bias is None else bias.constant.astype(np.float64)  # type: ignore[union-attr]
        axis = 0 if before.op_type == "Conv" else 1
        by_channel = factor.reshape([-1 if i == axis else 1 for i in range(weight.ndim)])
        stem = weight.name.removesuffix(".weight")
        dtype = weight.dtype
        new_weight = graph.weight(f"{stem}.weight" if used[weight.name] > 1 else _freed(graph, weight), (weight.constant * by_channel).astype(dtype))
        name = f"{stem}.bias" if bias is None else _freed(graph, bias) if used[bias.name] == 1 else f"{stem}.bias"
        new_bias = graph.weight(name, ((old - mean) * factor + shift).astype(dtype))
        before.inputs = [before.inputs[0], new_weight.name, new_bias.name]
        before.outputs = node.outputs[:1]
        graph.nodes.remove(node)
        drop_dead(graph)


def _freed(graph: Graph, value: Value) -> str:
    """The name of a value that is about to be replaced, made free."""
    graph.initializers.pop(value.name, None)
    graph.values.pop(value.name, None)
    graph._counts.pop(value.name, None)
    return value.name
