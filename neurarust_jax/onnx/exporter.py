"""`export`: a module or function as an ONNX model."""

from __future__ import annotations

import inspect
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from ..cells import Cell
from ..errors import ArgumentError, ArgumentTypeError
from ..parameter import Parameter
from ..tensor import Tensor
from ..transforms.jit import CompiledFunction
from . import converters, passes, primitives
from .branches import warn_of_branches
from .builder import Graph, UnsupportedOpError, Value
from .dynamic import OpenShapes, from_axes, from_shapes, open_shapes
from .lowering import Lowering
from .serialization import OnnxProgram, to_model
from .sites import site_of_error
from .tracing import Traced, abstract, trace, warn_of_training

DEFAULT_OPSET = 20
OPSETS = range(17, 27)


def export(
    model: Callable,
    args: Any = (),
    f: str | os.PathLike | None = None,
    *,
    kwargs: Mapping[str, Any] | None = None,
    input_names: Sequence[str] | None = None,
    output_names: Sequence[str] | None = None,
    opset_version: int | None = None,
    external_data: bool | None = None,
    dynamic_shapes: Any = None,
    dynamic_axes: Mapping[str, Any] | None = None,
    metadata: Mapping[str, str] | None = None,
    fold_batch_norm: bool = False,
    verbose: bool | None = None,
    dynamo: bool = True,
    export_params: bool = True,
    keep_initializers_as_inputs: bool = False,
    do_constant_folding: bool = True,
    optimize: bool = True,
    verify: bool = False,
) -> OnnxProgram:
    """Write a module or function as an ONNX model.

    Its ops become ONNX's own operators: a linear layer one Gemm, a convolution one Conv, layer normalization one LayerNormalization. What has no converter, code in
    `jax.numpy` among it, is written as the primitives that it consists of. Parameters and buffers become initializers under the names of the `state_dict`.

    Args:
        model: a module or a function over tensors.
        args: its positional arguments, a tuple or one tensor: examples whose shapes and dtypes count. Arguments that are no tensors are fixed in the file.
        f: the file to write, all of it or nothing; `None` to get the model only.
        kwargs: keyword arguments, in the same way.
        input_names: names of the model's inputs, in order. Default: those of the parameters of `forward`.
        output_names: names of its outputs. Default: the name of the op that made each.
        opset_version: the version of ONNX's operators, 17 to 26. Default: 20.
        external_data: whether the weights go into a file of their own, ``<f>.data``. Default: if they exceed the 2 GB that one file can hold.
        dynamic_shapes: which dimensions stay open, in PyTorch's form: for each argument (by name in a dict, or by place in a tuple or list) a dict from axis to name, or a
            list with one entry for each axis; a name is a `str`, an `nr.onnx.Dim` (or PyTorch's), and `None` means fixed.
        dynamic_axes: the same in PyTorch's older form: for each input or output name a dict from axis to name, or a list of axes.
        metadata: strings by name, kept in the file's `metadata_props`.
        fold_batch_norm: multiply batch normalization into the convolution before it.
        verbose: print the model.
        dynamo: accepted for PyTorch's sake; there is one exporter.
        export_params: whether the weights are in the file. Without them they are inputs.
        keep_initializers_as_inputs: list the weights among the inputs too.
        do_constant_folding: accepted; constants are always folded.
        optimize: remove nodes that do nothing, and join those that ONNX has one operator for.
        verify: compare the model's outputs with the function's, in ONNX Runtime.

    Returns:
        The model: `.model_proto` is ONNX's `ModelProto`, `.save(path)` writes it.

    Raises:
        ValueError: an op has no form in ONNX, or a name or opset does not fit.
        TracedValueError: the function asks a tensor for its value (`if x:`, `x.item()`).

    Examples:
        >>> import neurarust_jax as nr
        >>> model = nr.nn.Sequential(nr.nn.Linear(4, 8), nr.nn.ReLU(), nr.nn.Linear(8, 2)).eval()
        >>> program = nr.onnx.export(model, (nr.ones(1, 4),), input_names=["x"], output_names=["y"], dynamic_axes={"x": {0: "batch"}})
        >>> [node.op_type for node in program.model_proto.graph.node]
        ['Gemm', 'Relu', 'Gemm']
        >>> [initializer.name for initializer in program.model_proto.graph.initializer]
        ['0.weight', '0.bias', '2.weight', '2.bias']
    """
    import onnx  # noqa: F401 (the error for a missing library comes before the work)

    converters.load_all()
    primitives.load_all()
    opset = DEFAULT_OPSET if opset_version is None else int(opset_version)
    if opset not in OPSETS:
        raise ArgumentError(f"opset_version is from {OPSETS[0]} to {OPSETS[-1]}, got {opset_version}")
    if not callable(model):
        raise ArgumentTypeError(f"nr.onnx.export takes a module or a function, got {type(model).__name__}")
    function = (model.module or model.function) if isinstance(model, CompiledFunction) else model
    warn_of_training(function)
    positional = args if isinstance(args, tuple) else (args,)
    named = dict(kwargs or {})
    if positional and isinstance(positional[-1], dict) and kwargs is None and _takes_fewer(function, len(positional)):
        named, positional = positional[-1], positional[:-1]
    names = _input_names(function, positional, named, input_names)
    shapes = _open_shapes(function, positional, named, names, dynamic_shapes, dynamic_axes, output_names)
    traced = _traced(function, positional, named, shapes)
    warn_of_branches(shapes, lambda at: trace(function, *_abstract(positional, named, at)))
    if traced.written:
        warnings.warn("The function changes parameters or buffers; the exported model returns its outputs and leaves what it holds as it is.", stacklevel=2)
    graph = Graph(opset)
    inputs = [graph.input(name, variable.aval.dtype, variable.aval.shape) for name, variable in zip(names, traced.jaxpr.jaxpr.invars, strict=True)]
    lowering = Lowering(graph, traced, _weights(function, traced))
    outputs = lowering.run_closed(traced.jaxpr, inputs)
    _finish_outputs(graph, outputs, traced, output_names)
    if optimize:
        passes.optimize(graph, fold_batch_norm=fold_batch_norm)
    passes.drop_dead(graph)
    program = to_model(
        graph, metadata=metadata, weights_as_inputs=keep_initializers_as_inputs or not export_params, with_weights=export_params, written=shapes.written
    )
    program.guards = shapes.assumed
    if verbose:
        print(program)
    if verify:
        program.verify(model, positional, named)
    if f is not None:
        program.save(f, external_data=external_data)
    return program


# --- inputs ------------------------------------------------------------------------------------------------------------


def is_traced(x: Any) -> bool:
    """Whether an argument becomes an input of the model."""
    return (isinstance(x, Tensor) and not isinstance(x, Cell)) or isinstance(x, jax.Array | np.ndarray | np.generic)


def _whole(x: Any) -> bool:
    return isinstance(x, Tensor | Cell) or hasattr(x, "_cells") or x is None


def _takes_fewer(function: Any, count: int) -> bool:
    """Whether the last of so many arguments must be PyTorch's dict of keyword arguments."""
    try:
        parameters = inspect.signature(getattr(function, "forward", function)).parameters.values()
    except (TypeError, ValueError):
        return False
    if any(p.kind is p.VAR_POSITIONAL for p in parameters):
        return False
    return len([p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]) < count


def _input_names(function: Any, positional: tuple, named: Mapping[str, Any], given: Sequence[str] | None) -> list[str]:
    """A name for each traced leaf of the arguments."""
    leaves = jax.tree_util.tree_flatten_with_path((positional, dict(named)), is_leaf=_whole)[0]
    parameters = parameter_names(function, len(positional))
    default = []
    for path, leaf in leaves:
        if not is_traced(leaf):
            continue
        first = parameters[path[1].idx] if path[0].idx == 0 else path[1].key
        rest = "".join(f"_{getattr(p, 'idx', None) if hasattr(p, 'idx') else getattr(p, 'key', getattr(p, 'name', p))}" for p in path[2:])
        default.append(f"{first}{rest}")
    chosen = list(given or ())
    if len(chosen) > len(default):
        raise ArgumentError(f"input_names has {len(chosen)} names, but the arguments hold {len(default)} tensors")
    chosen += default[len(chosen) :]
    if len(set(chosen)) < len(chosen):
        raise ArgumentError(f"the names of the inputs are not all different: {chosen}")
    return chosen


def parameter_names(function: Any, count: int) -> list[str]:
    """Names of the first parameters of a module's `forward` or of a function."""
    try:
        parameters = list(inspect.signature(getattr(function, "forward", function)).parameters.values())
    except (TypeError, ValueError):
        parameters = []
    names: list[str] = []
    for p in parameters:
        if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD):
            names.append(p.name)
        elif p.kind is p.VAR_POSITIONAL:
            names += [f"{p.name}_{i}" for i in range(count - len(names))]
    return (names + [f"input_{i}" for i in range(len(names), count)])[:count]


def _open_shapes(
    function: Any, positional: tuple, named: Mapping[str, Any], names: Sequence[str], dynamic_shapes: Any, dynamic_axes: Any, outputs: Sequence[str] | None
) -> OpenShapes:
    """The shapes of the traced arguments with the dimensions that are to stay open."""
    tensors = [x for x in jax.tree.leaves((positional, dict(named)), is_leaf=_whole) if is_traced(x)]
    spec: list[Any] = [None] * len(tensors)
    if dynamic_shapes is not None:
        if dynamic_axes:
            raise ArgumentError("dynamic_shapes and dynamic_axes say the same thing; give one of them")
        arguments: dict[str, Any] = {}
        given = dict(zip(parameter_names(function, len(positional)), positional, strict=True))
        packed = _variadic(function)
        if packed is not None and isinstance(dynamic_shapes, Mapping) and packed in dynamic_shapes:
            arguments = {n: v for n, v in given.items() if not n.startswith(f"{packed}_")}
            arguments[packed] = tuple(positional[len(arguments) :])
        else:
            arguments = given
        spec = from_shapes(dynamic_shapes, {**arguments, **dict(sorted(named.items()))}, is_traced)
    elif dynamic_axes:
        spec = from_axes(dynamic_axes, names, outputs)
    return open_shapes(tensors, names, spec)


def _variadic(function: Any) -> str | None:
    """The name of a function's ``*args``."""
    try:
        parameters = inspect.signature(getattr(function, "forward", function)).parameters.values()
    except (TypeError, ValueError):
        return None
    return next((p.name for p in parameters if p.kind is p.VAR_POSITIONAL), None)


def _traced(function: Any, positional: tuple, named: Mapping[str, Any], shapes: OpenShapes) -> Traced:
    """The record of the function. Comparisons of open dimensions are decided by the example, as they come up."""
    try:
        return _traced_with_guards(function, positional, named, shapes)
    except (TypeError, ValueError, RuntimeError):
        if not shapes.merge_equal():
            raise
        return _traced_with_guards(function, positional, named, shapes)


def _traced_with_guards(function: Any, positional: tuple, named: Mapping[str, Any], shapes: OpenShapes) -> Traced:
    while True:
        try:
            return trace(function, *_abstract(positional, named, shapes.shapes()))
        except jax.errors.InconclusiveDimensionOperation as error:
            if shapes.assume(error):
                site = site_of_error(error)
                if site is not None:
                    shapes.compared.append((str(site), shapes.assumed[-1]))
            else:
                raise UnsupportedOpError(
                    "the function uses the length of a dynamic dimension as a Python number, which it does not have while the model is exported for any length: "
                    f"{str(error).partition('This error arises')[0].strip()}. Leave that dimension out of dynamic_shapes, or compute with x.shape as it is"
                ) from error
        except jax.errors.ConcretizationTypeError as error:
            if not shapes.lengths:
                raise
            raise UnsupportedOpError(
                "the function makes a Python number of a value that is not known while the model is exported. If it is computed from the length of a dynamic dimension, "
                f"compute in integers (`n * 3 // 5`, not `int(n * 0.6)`), or leave that dimension out of dynamic_shapes: {str(error).partition(chr(10))[0]}"
            ) from error


def _abstract(positional: tuple, named: Mapping[str, Any], shapes: list[tuple[Any, ...]]) -> tuple[tuple, dict[str, Any]]:
    """The arguments with the type of each tensor in its place."""
    leaves, structure = jax.tree.flatten((positional, dict(named)), is_leaf=_whole)
    remaining = iter(shapes)
    return jax.tree.unflatten(structure, [abstract(x, next(remaining)) if is_traced(x) else x for x in leaves])


def _weights(function: Any, traced: Any) -> dict[int, tuple[str, bool]]:
    """By the identity of the arrays of parameters and buffers (name, whether it is a parameter)."""
    names: dict[int, tuple[str, bool]] = {}
    if hasattr(function, "named_parameters"):
        for name, cell in (*function.named_parameters(), *function.named_buffers()):
            if cell in traced.read:
                names.setdefault(id(traced.read[cell]), (name, isinstance(cell, Parameter)))
    for count, cell in enumerate(c for c in traced.read if isinstance(c, Tensor)):
        names.setdefault(id(traced.read[cell]), (f"parameter_{count}", isinstance(cell, Parameter)))
    return names


# --- outputs -----------------------------------------------------------------------------------------------------------


def _finish_outputs(graph: Graph, outputs: list[Value], traced: Any, names: Sequence[str] | None) -> None:
    """Give the outputs their names; what is an input or a constant, or is returned twice, passes through an Identity."""
    remaining = iter(outputs)
    found = [next(remaining) if kind is True else _fixed(graph, kind[0]) for kind in traced.leaves]
    outputs = [value for value in found if value is not None]
    if names is not None and len(names) > len(outputs):
        raise ArgumentError(f"output_names has {len(names)} names, but the function returns {len(outputs)} tensors")
    made = {name for node in graph.nodes for name in node.outputs}
    taken: set[str] = set()
    for position, value in enumerate(outputs):
        if value.dtype.kind == "c":
            raise UnsupportedOpError(
                f"output {position} is complex, and ONNX's operators take no complex numbers; return nr.view_as_real(x), or x.real and x.imag"
            )
        if value.name not in made or value.name in taken:
            value = graph.add("Identity", value, shape=value.shape)
        if names is not None and position < len(names):
            _rename(graph, value, names[position])
        taken.add(value.name)
        graph.outputs.append(value)


def _fixed(graph: Graph, value: Any) -> Value | None:
    """A returned number as a constant; `None` and the like are no outputs."""
    return graph.constant(np.asarray(value)) if isinstance(value, bool | int | float) else None


def _rename(graph: Graph, value: Value, name: str) -> None:
    if name == value.name:
        return
    if name in graph.values:
        other = graph.values[name]
        if other in graph.inputs or other in graph.outputs or other.weight:
            raise ArgumentError(f"the output name {name!r} is already that of an input, a parameter or another output")
        _rename(graph, other, graph.unique(f"{name}_inside"))
    old = value.name
    del graph.values[old]
    value.name, graph.values[name] = name, value
    passes.rename(graph, {old: name})
