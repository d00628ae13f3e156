"""A graph as a flat list of steps, and its execution.

`parse.py` makes it from a file. Every value of a model has a name of its own here, in subgraphs and in functions that were expanded too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ..errors import ModelFileError, NeuraRustError
from ..tensor import Tensor
from .bounds import note_bound
from .registry import Handler
from .values import as_tensor, is_known, run_now, static_value


class Node:
    """One step of a graph, as its handler sees it.

    Attributes:
        op_type, domain: which op.
        opset: the version of the domain that the model imports.
        name: the node's name in the file.
        inputs, outputs: names of its values; empty where one is left out.
        attributes: by name; subgraphs are `Graph`s, which `get` gives as callables.
        captured: names of outer values that its subgraphs read.
        is_constant: whether its outputs are the same at every call.
    """

    def __init__(
        self, op_type: str, domain: str, opset: int, name: str, inputs: Sequence[str], outputs: Sequence[str], attributes: dict[str, Any], handler: Handler
    ):
        self.op_type = op_type
        self.domain = domain
        self.opset = opset
        self.name = name
        self.inputs = tuple(inputs)
        self.outputs = tuple(outputs)
        self.attributes = attributes
        self.handler = handler
        self.captured = tuple(dict.fromkeys(name for graph in self.graphs() for name in graph.captured))
        self.is_constant = False

    def get(self, name: str, default: Any = None) -> Any:
        """The value of an attribute as an int, float, str, list, NumPy array, or, of a subgraph, a `Body`."""
        return self.attributes.get(name, default)

    def graphs(self) -> Iterator[Graph]:
        """The subgraphs among the attributes."""
        for value in self.attributes.values():
            if isinstance(value, Graph):
                yield value
            elif isinstance(value, list):
                yield from (v for v in value if isinstance(v, Graph))

    def describe(self) -> str:
        """The node's name and op, for errors."""
        op = f"{self.domain}.{self.op_type}" if self.domain else self.op_type
        return f"node {self.name!r} ({op})" if self.name else f"node {op} that makes {next(filter(None, self.outputs), '')!r}"

    def bind(self, values: dict[str, Any]) -> Node:
        """This node with the values that its subgraphs read from outside."""
        if not any(True for _ in self.graphs()):
            return self
        bound = object.__new__(Node)
        bound.__dict__.update(self.__dict__)
        bound.attributes = {name: _bound(value, values) for name, value in self.attributes.items()}
        return bound


def _bound(value: Any, values: dict[str, Any]) -> Any:
    if isinstance(value, Graph):
        return Body(value, {name: values[name] for name in value.captured})
    if isinstance(value, list) and value and isinstance(value[0], Graph):
        return [_bound(v, values) for v in value]
    return value


class Graph:
    """Steps in order, with what goes in and comes out.

    Attributes:
        inputs, outputs: names of values; of an output's several names the model's own are in `output_names`.
        steps: the nodes.
        captured: names of values from outside that the steps or outputs read: initializers, and, in a subgraph, outer values.
        input_types: for each input (dtype, shape), `None` where the file says nothing.
        proto: of a subgraph, as it stands in the file: ONNX's own function bodies are made from it.
    """

    proto: Any = None

    def __init__(self, name: str, inputs: Sequence[str], outputs: Sequence[str], steps: list[Node], input_names: Sequence[str], output_names: Sequence[str]):
        self.name = name
        self.inputs = tuple(inputs)
        self.outputs = tuple(outputs)
        self.input_names = tuple(input_names)
        self.output_names = tuple(output_names)
        self.input_types: list[Any] = [None] * len(self.inputs)
        self.steps = _needed(steps, self.outputs)
        self.captured = self._captured()
        self.releases = self._releases()
        self._constants: dict[Node, dict[str, Any]] = {}  # outputs of constant steps, once they have run

    def _captured(self) -> tuple[str, ...]:
        made, read = set(self.inputs), {}
        for step in self.steps:
            read.update((name, None) for name in (*step.inputs, *step.captured) if name and name not in made)
            made.update(step.outputs)
        read.update((name, None) for name in self.outputs if name not in made)
        return tuple(read)

    def _releases(self) -> list[tuple[str, ...]]:
        """For each step the values that nothing reads after it."""
        kept = set(self.outputs) | {""}
        releases: list[tuple[str, ...]] = []
        for step in reversed(self.steps):
            last = [name for name in dict.fromkeys((*step.inputs, *step.captured, *step.outputs)) if name not in kept]
            kept.update(last)
            releases.append(tuple(last))
        return releases[::-1]

    def all_steps(self) -> Iterator[Node]:
        """The steps of this graph and of the subgraphs in it."""
        for step in self.steps:
            yield step
            for graph in step.graphs():
                yield from graph.all_steps()

    def run(self, inputs: Sequence[Any], outside: dict[str, Any]) -> tuple[Any, ...]:
        """The outputs for some inputs.

        Args:
            inputs: one value for each input.
            outside: the values that `captured` names.
        """
        values = dict(outside)
        values.update(zip(self.inputs, inputs, strict=True))
        for step, release in zip(self.steps, self.releases, strict=True):
            self._run_step(step, values)
            for name in release:
                values.pop(name, None)
        return tuple(values[name] for name in self.outputs)

    def _run_step(self, step: Node, values: dict[str, Any]) -> None:
        if step.is_constant and step in self._constants:
            values.update(self._constants[step])
            return
        results = run_node(step, [values[name] if name else None for name in step.inputs], values)
        named = {name: result for name, result in zip(step.outputs, results, strict=False) if name}
        values.update(named)
        if step.is_constant:
            self._constants[step] = named

    def __deepcopy__(self, memo: dict) -> Graph:
        return self  # it never changes

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_constants": {}}


class Body:
    """A subgraph with the outer values that it reads; called with its inputs it gives a tuple of its outputs.

    Attributes:
        graph: the subgraph.
        outside: the outer values by name.
        input_names, output_names: as in the file.
    """

    def __init__(self, graph: Graph, outside: dict[str, Any]):
        self.graph = graph
        self.outside = outside
        self.input_names = graph.input_names
        self.output_names = graph.output_names
        self.input_types = graph.input_types

    def __call__(self, *inputs: Any) -> tuple[Any, ...]:
        """The outputs of the subgraph."""
        if len(inputs) != len(self.graph.inputs):
            raise ModelFileError(
                f"the subgraph {self.graph.name!r} takes {len(self.graph.inputs)} inputs, {', '.join(self.input_names)}, and is given {len(inputs)}"
            )
        return self.graph.run(inputs, self.outside)


def run_node(node: Node, inputs: list[Any], values: dict[str, Any]) -> tuple[Any, ...]:
    """The outputs of one node: at once where all it reads is known, as an op otherwise."""
    handler = node.handler
    known = not handler.stateful and all(map(is_known, inputs)) and all(is_known(values[name]) for name in node.captured)
    if not known:
        for number in handler.static:
            if number < len(inputs) and isinstance(inputs[number], Tensor | list):
                inputs[number] = static_value(inputs[number], f"input {number} of {node.describe()}")
    node = node.bind(values)
    try:
        results = run_now(handler.function, node, *inputs) if known else handler.function(node, *inputs)
    except NeuraRustError as error:
        _name_node(error, node)
        raise
    except (TypeError, ValueError, IndexError, ArithmeticError) as error:
        raise ModelFileError(f"{node.describe()} with {len(inputs)} inputs: {error}") from error
    results = results if isinstance(results, tuple) else (results,)
    if not known and not node.domain:
        note_bound(node, inputs, results[0])
    return results


def _name_node(error: NeuraRustError, node: Node) -> None:
    """Say at the end of an error which node it came from."""
    if error.args and "node " not in str(error.args[0]):
        error.args = (f"{error.args[0]}\n  in {node.describe()} of the ONNX graph", *error.args[1:])


def _needed(steps: list[Node], outputs: Sequence[str]) -> list[Node]:
    """The steps that the outputs depend on."""
    wanted, kept = set(outputs), []
    for step in reversed(steps):
        if any(name in wanted for name in step.outputs if name):
            kept.append(step)
            wanted.update(step.inputs)
            wanted.update(step.captured)
    return kept[::-1]


# --- what must be known while tracing --------------------------------------------------------------------------------

_OF_SHAPE_ALONE = {"Shape", "Size"}


def known_while_tracing(graph: Graph) -> set[str]:
    """Names of values from outside the steps that some shape or the way through the graph depends on, so that they cannot be parameters."""
    dynamic: set[str] = set()
    _spread(graph, dynamic)
    needed: set[str] = set()
    _demand(graph, dynamic, needed)
    return needed


def _spread(graph: Graph, dynamic: set[str]) -> None:
    dynamic.update(graph.inputs)
    for step in graph.steps:
        for inner in step.graphs():
            _spread(inner, dynamic)
        if step.handler.stateful or (step.op_type not in _OF_SHAPE_ALONE and not dynamic.isdisjoint((*step.inputs, *step.captured))):
            dynamic.update(step.outputs)


def _demand(graph: Graph, dynamic: set[str], needed: set[str]) -> None:
    for step in reversed(graph.steps):
        for inner in step.graphs():
            _demand(inner, dynamic, needed)
        needed.update(step.inputs[n] for n in step.handler.static if 0 <= n < len(step.inputs) and step.inputs[n])
        wanted = any(name in needed and name not in dynamic for name in step.outputs)
        if wanted and step.op_type not in _OF_SHAPE_ALONE:
            needed.update(name for name in step.inputs if name)


def mark_constants(graph: Graph, constants: set[str]) -> None:
    """Mark the steps that give the same at every call, since all they read is constant.

    Args:
        graph: the graph.
        constants: names of values that are.
    """
    for step in graph.steps:
        step.is_constant = not step.handler.stateful and constants.issuperset(n for n in (*step.inputs, *step.captured) if n)
        if step.is_constant:
            constants.update(name for name in step.outputs if name)
        for inner in step.graphs():
            mark_constants(inner, constants)


def as_outputs(values: Sequence[Any]) -> tuple[Any, ...]:
    """Values as a model returns them: tensors, lists of tensors, arrays of strings."""
    return tuple(as_tensor(np.asarray(v) if isinstance(v, np.generic) else v) for v in values)
