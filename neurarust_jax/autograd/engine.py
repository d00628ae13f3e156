"""The backward pass: `backward` and `autograd.grad` over the graph of recorded operations.

A pass runs in one of two ways. *Compiled*: the whole pass is one XLA program, kept by the structure of the graph and used again on the next step.
*Stepwise*: one op after the other, where a graph has hooks, Python-defined functions, or must give a result that is differentiable again.
Inside a transformation the program of the first kind is inlined into the one around it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from .. import dtypes
from ..cells import Leaf
from ..dispatch import apply_vjp, call, pull_back
from ..errors import ArgumentError, AutogradError
from ..tensor import Tensor, array_from, attach, wrap
from .graph import Hollow, Node, _ModeSwitch, mode, scopes

Place = tuple[Any, int]  # (node or leaf, output number): where cotangents are summed


def backward(
    tensors: Tensor | Sequence[Tensor],
    grad_tensors: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    inputs: Any = None,
) -> None:
    """Add the gradients of `tensors` to the `.grad` of the leaves they were computed from.

    Args:
        tensors: the outputs to differentiate.
        grad_tensors: a cotangent for each, of its shape; `None` for those with one element stands for 1.
        retain_graph: keep what the graph holds, so that it can be walked again. Default: the value of `create_graph`.
        create_graph: record the backward pass itself, for higher derivatives.
        inputs: accumulate only into these tensors. Default: all leaves.

    Raises:
        RuntimeError: a tensor does not require grad, has several elements and no cotangent, or its graph was freed.
    """
    roots, cotangents = _roots(tensors, grad_tensors)
    wanted = None if inputs is None else [_place(t, "inputs") for t in _sequence(inputs)]
    if wanted is not None and not wanted:
        raise AutogradError("`inputs` argument to `backward()` cannot be empty.")
    keep = create_graph if retain_graph is None else retain_graph
    nodes, leaves = _reachable(roots, wanted)
    places = list(dict.fromkeys(wanted or [(leaf, 0) for leaf in leaves]))
    targets = [_gradient_cell(node, index) for node, index in places]
    existing = [cell._read() for cell in targets]
    gradients = _run(nodes, roots, cotangents, places, existing, keep, create_graph)
    for cell, gradient in zip(targets, gradients, strict=True):
        if gradient is not None:
            cell._write(gradient if isinstance(gradient, Tensor) and gradient._node is not None else _array(gradient))
    _run_accumulated_hooks(targets)


def grad(
    outputs: Any,
    inputs: Any,
    grad_outputs: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    allow_unused: bool | None = None,
    is_grads_batched: bool = False,
    materialize_grads: bool = False,
) -> tuple[Tensor | None, ...]:
    """The gradients of `outputs` with respect to `inputs`, without touching any `.grad`.

    Args:
        outputs: tensors to differentiate.
        inputs: tensors to differentiate with respect to, leaves or not.
        grad_outputs: a cotangent for each output; `None` for those with one element stands for 1.
        retain_graph: keep what the graph holds. Default: the value of `create_graph`.
        create_graph: make the result differentiable again.
        allow_unused: return `None` for inputs that the outputs do not depend on, instead of raising. Default: `materialize_grads`.
        is_grads_batched: the cotangents have a leading batch dimension; one gradient is computed for each.
        materialize_grads: zeros instead of `None` for unused inputs.

    Returns:
        One gradient for each input.

    Examples:
        >>> import neurarust_jax as nr
        >>> x = nr.tensor(3.0, requires_grad=True)
        >>> (first,) = nr.autograd.grad(x**3, x, create_graph=True)
        >>> nr.autograd.grad(first, x)
        (tensor(18.),)
    """
    outputs, inputs = _sequence(outputs), _sequence(inputs)
    if is_grads_batched:
        batched = _sequence(grad_outputs)
        one = [
            grad(outputs, inputs, [b[i] for b in batched], True, create_graph, allow_unused, False, materialize_grads)
            for i in range(len(batched[0]))
        ]
        return tuple(None if column[0] is None else _stack(column) for column in zip(*one, strict=True))
    if materialize_grads and allow_unused is False:
        raise ArgumentError("Expected allow_unused to be True or not passed when materialize_grads=True, but got: allow_unused=False.")
    roots, cotangents = _roots(outputs, grad_outputs)
    wanted = [_place(t, "inputs") for t in inputs]
    keep = create_graph if retain_graph is None else retain_graph
    nodes, _ = _reachable(roots, wanted)
    places = list(dict.fromkeys(wanted))
    found = dict(zip(places, _run(nodes, roots, cotangents, places, [None] * len(places), keep, create_graph), strict=True))
    result = []
    for position, (place, tensor) in enumerate(zip(wanted, inputs, strict=True)):
        gradient = found[place]
        if gradient is None:
            if materialize_grads:
                with dtypes.x64():
                    gradient = jax.numpy.zeros(tensor._value.shape, tensor._value.dtype)
            elif not allow_unused:
                raise AutogradError(
                    f"One of the differentiated Tensors appears to not have been used in the graph: inputs[{position}], of shape {tuple(tensor.shape)}. "
                    "Set allow_unused=True if this is the desired behavior."
                )
        result.append(gradient if gradient is None or isinstance(gradient, Tensor) else wrap(gradient))
    return tuple(result)


def _stack(column: Sequence[Tensor]) -> Tensor:
    with dtypes.x64():
        return wrap(jax.numpy.stack([t._value for t in column]))


def _sequence(tensors: Any) -> list[Tensor]:
    return [tensors] if isinstance(tensors, Tensor) else list(tensors)


def _array(gradient: Any) -> Any:
    return gradient._value if isinstance(gradient, Tensor) else gradient


def _place(tensor: Tensor, what: str) -> Place:
    if not isinstance(tensor, Tensor) or tensor._node is None:
        raise AutogradError(f"One of the {what} does not require grad: {type(tensor).__name__} of shape {tuple(getattr(tensor, 'shape', ()))}")
    return tensor._node, tensor._index


def _gradient_cell(node: Any, index: int) -> Leaf:
    if isinstance(node, Leaf):
        return node
    if node.retained is None:
        node.retained = {}
    return node.retained.setdefault(index, Leaf())


def _roots(tensors: Any, grad_tensors: Any) -> tuple[list[Place], list[Any]]:
    """The places where the pass starts, and the cotangents to put there."""
    tensors = _sequence(tensors)
    grads = [None] * len(tensors) if grad_tensors is None else [grad_tensors] if isinstance(grad_tensors, Tensor | jax.Array) else list(grad_tensors)
    if len(grads) != len(tensors):
        raise AutogradError(f"got {len(tensors)} tensors and {len(grads)} gradients")
    roots, cotangents = [], []
    for tensor, given in zip(tensors, grads, strict=True):
        if tensor._node is None:
            raise AutogradError(
                f"element 0 of tensors does not require grad and does not have a grad_fn: its shape is {tuple(tensor.shape)}. Set requires_grad=True on what it "
                "is computed from, and compute it outside nr.no_grad(). What a compiled function returns has no graph after a backward() inside, or after the function has "
                "changed the parameters that it was computed from."
            )
        shape, dtype = tensor._value.shape, tensor._value.dtype
        if given is None:
            if tensor._value.size != 1:
                raise AutogradError(
                    f"grad can be implicitly created only for scalar outputs, and this one has shape {tuple(shape)}. "
                    "Write y.sum().backward(), or y.backward(gradient) with a gradient of that shape."
                )
            if dtype.kind == "c":
                raise AutogradError(f"grad can be implicitly created only for real scalar outputs but got {tensor.dtype}")
            given = np.ones(shape, dtype)
        elif not isinstance(given, Tensor):
            given = array_from(given)
        if tuple(given.shape) != tuple(shape):
            raise AutogradError(f"Mismatch in shape: grad_output has a shape of {tuple(given.shape)} and output has a shape of {tuple(shape)}.")
        if not isinstance(given, Tensor) or given._node is None:
            given = _array(given)
            if given.dtype != dtype:
                given = array_from(given, dtype)
        roots.append((tensor._node, tensor._index))
        cotangents.append(given)
    return roots, cotangents


def _reachable(roots: Sequence[Place], wanted: Sequence[Place] | None) -> tuple[list[Node], list[Leaf]]:
    """The nodes between `roots` and the wanted places, latest first, and the leaves reached."""
    nodes: set[Node] = set()
    leaves: dict[Leaf, None] = {}
    stack = []
    for node, _ in roots:
        if isinstance(node, Leaf):
            leaves[node] = None
        elif node not in nodes:
            nodes.add(node)
            stack.append(node)
    while stack:
        for node, _ in stack.pop().edges:
            if node in nodes:
                continue
            if isinstance(node, Leaf):
                leaves[node] = None
            elif node is not None:
                nodes.add(node)
                stack.append(node)
    ordered = sorted(nodes, key=_by_sequence)
    if wanted is not None:
        targets = set(wanted)
        useful: set[Any] = set()
        for node in ordered:
            if any(edge in targets or edge[0] in useful for edge in node.edges):
                useful.add(node)
        ordered = [node for node in ordered if node in useful]
    ordered.reverse()
    for node in ordered:
        if node.values is None:
            raise AutogradError(
                f"Trying to backward through the graph a second time: {node!r} was freed by the first backward(). "
                "Write backward(retain_graph=True) the first time, or compute the loss anew."
            )
    return ordered, list(leaves)


def graph_behind(node: Any) -> Iterator[Any]:
    """A node and all nodes and leaves that its gradients would reach."""
    seen = {node}
    stack = [node]
    while stack:
        node = stack.pop()
        yield node
        for source, _ in () if isinstance(node, Leaf) else node.edges:
            if source not in seen:
                seen.add(source)
                stack.append(source)


def can_be_walked(node: Any) -> bool:
    """Whether no part of the graph behind `node` was freed by a backward pass."""
    return not any(isinstance(n, Node) and n.is_freed for n in graph_behind(node))


def _by_sequence(node: Node) -> int:
    return node.sequence


# --- running -------------------------------------------------------------------------------------------------------


class _Step(NamedTuple):
    """What a compiled pass knows of one node: everything but its arrays."""

    function: Callable | None  # the op's function; `None` if the node has a vjp of its own
    positions: tuple[int, ...]
    outputs: Any
    hollow: tuple  # shapes and dtypes at the values that were not kept
    scope: str  # the modules that ran when it was recorded
    edges: tuple[tuple[int, int], ...]  # for each position: (number of the node, or -1 - number of the target; output)


_programs: dict[Any, Callable] = {}
_met_once: set[Any] = set()
_PROGRAMS_UNUSED = 8  # past so many graphs that came only once, a new graph is compiled when it comes a second time


def _run(
    nodes: list[Node], roots: list[Place], cotangents: list[Any], targets: list[Place], existing: list[Any], keep: bool, create_graph: bool
) -> list[Any]:
    """The gradients at `targets`, added to `existing`; `None` where none came."""
    stepwise = create_graph or any(isinstance(e, Tensor) for e in existing) or any(isinstance(c, Tensor) for c in cotangents)
    if not stepwise:
        stepwise = mode.regime is not None and mode.regime.anomaly is not None or any(n.hooks or n.retained or n.kernel is None for n in nodes) or any(isinstance(n, Leaf) and n.hooks for n, _ in targets)
    if not stepwise:
        gradients = _run_compiled(nodes, roots, cotangents, targets, existing)
        if gradients is not None:
            if not keep:
                for node in nodes:
                    node.free()
            return gradients
    with _ModeSwitch(create_graph):
        gradients = _run_stepwise(nodes, roots, cotangents, targets, existing)
    if not keep:
        for node in nodes:
            node.free()
    return gradients


def _run_compiled(nodes: list[Node], roots: list[Place], cotangents: list[Any], targets: list[Place], existing: list[Any]) -> list[Any] | None:
    numbers: dict[Any, int] = {node: i for i, node in enumerate(nodes)}
    leaf_numbers = {place: -1 - i for i, place in enumerate(targets)}

    def locate(edge: Place) -> tuple[int, int]:
        number = numbers.get(edge[0])
        if number is not None:
            return number, edge[1]
        return leaf_numbers.get(edge, _NOWHERE), 0

    inner_targets = tuple((numbers[n], k, i) for i, (n, k) in enumerate(targets) if n in numbers)
    root_places = tuple(locate(r) for r in roots)
    steps, residuals, key = [], [], []
    traced = False
    for node in nodes:
        edges = tuple([locate(edge) for edge in node.edges])
        traced = traced or node.traced
        if node.vjp is not None:
            residuals.append(node.vjp)
            outputs = tuple((h.shape, h.dtype) for h in node.outputs)
            key.append((None, outputs, edges))
            steps.append((node, edges, ()))
            continue
        values = node.values
        hollow = ()
        if node.kernel.linear:
            hollow = tuple([(v.shape, v.dtype) if type(v) is Hollow else None for v in values])
            values = [v for v in values if type(v) is not Hollow]
        residuals.append(values)
        key.append((node.kernel, node.positions, node.outputs, edges, hollow))
        steps.append((node, edges, hollow))
    traced = traced or any(isinstance(c, jax.core.Tracer) for c in cotangents)

    def build() -> Callable:
        plan = [
            _Step(None if n.vjp is not None else n.kernel.function, n.positions, n.outputs, hollow, scopes.get(n, ""), edges) for n, edges, hollow in steps
        ]
        return lambda residuals, cotangents, existing: _execute(plan, root_places, inner_targets, residuals, cotangents, existing)

    if traced:
        return build()(residuals, cotangents, existing)
    full_key = (tuple(key), root_places, inner_targets, len(targets))
    program = _programs.get(full_key)
    if program is None:
        if len(_met_once) >= _PROGRAMS_UNUSED and full_key not in _met_once:
            _met_once.add(full_key)
            return None
        program = _programs[full_key] = jax.jit(build())
        _met_once.add(full_key)
    else:
        _met_once.discard(full_key)
    previous = dtypes.enter_x64(True)
    try:
        return program(residuals, cotangents, existing)
    finally:
        dtypes.leave_x64(previous)


_NOWHERE = -(1 << 30)  # the number of a place whose gradient nobody asked for


def _execute(plan: list[_Step], root_places, inner_targets, residuals, cotangents, existing) -> list[Any]:
    """The backward pass as a pure function: what is compiled, or inlined into a transformation."""
    with dtypes.x64():
        sums: dict[tuple[int, int], Any] = {}

        def add(place: tuple[int, int], value: Any) -> None:
            if place[0] == _NOWHERE or value is None or value.dtype == jax.dtypes.float0:
                return
            known = sums.get(place)
            sums[place] = value if known is None else known + value

        gradients = list(existing)
        for place, cotangent in zip(root_places, cotangents, strict=True):
            add(place, cotangent)
        wanted_inside = {(number, output): target for number, output, target in inner_targets}
        for number, step in enumerate(plan):
            count = step.outputs if isinstance(step.outputs, int) else len(step.outputs)
            arrived = [sums.pop((number, output), None) for output in range(count)]
            for output, value in enumerate(arrived):
                target = wanted_inside.get((number, output))
                if target is not None and value is not None:
                    gradients[target] = value if gradients[target] is None else gradients[target] + value
            if all(value is None for value in arrived):
                continue
            with jax.named_scope(step.scope) if step.scope else contextlib.nullcontext():
                values = _step_gradients(step, residuals[number], arrived)
            for place, value in zip(step.edges, values, strict=True):
                add(place, value)
        for (number, _), value in sums.items():
            target = -1 - number
            gradients[target] = value if gradients[target] is None else gradients[target] + value
    return gradients


def _step_gradients(step: _Step, residuals: Any, arrived: list[Any]) -> Any:
    if step.function is None:
        floating = [(h, c) for h, c in zip(step.outputs, arrived, strict=True) if np.dtype(h.dtype).kind in "fcV"]
        return _apply_vjp(residuals, [jax.numpy.zeros(h.shape, h.dtype) if c is None else c for h, c in floating])
    values = residuals
    if step.hollow:
        left = iter(residuals)
        values = [next(left) if h is None else Hollow(*h) for h in step.hollow]
    return pull_back(step.function, step.positions, values, arrived)


_apply_vjp = jax.jit(apply_vjp, inline=True)


def _run_stepwise(nodes: list[Node], roots: list[Place], cotangents: list[Any], targets: list[Place], existing: list[Any]) -> list[Any]:
    """The pass op by op, over Tensors: with hooks, Python-defined functions, and gradients of gradients."""
    sums: dict[Place, Tensor] = {}

    def add(place: Place, value: Any) -> None:
        if value is not None:
            value = value if isinstance(value, Tensor) else wrap(value)
            sums[place] = value if place not in sums else sums[place] + value

    for place, cotangent in zip(roots, cotangents, strict=True):
        add(place, cotangent if isinstance(cotangent, Tensor) else array_from(cotangent))
    wanted = set(targets)
    found: dict[Place, Tensor] = {}
    for node in nodes:
        count = node.outputs if isinstance(node.outputs, int) else len(node.outputs)
        arrived = [sums.pop((node, output), None) for output in range(count)]
        for output, value in enumerate(arrived):
            if value is None:
                continue
            value = arrived[output] = _call_hooks(node.hooks.get(output) if node.hooks else None, value)
            if (node, output) in wanted:
                found[node, output] = value
            elif node.retained and output in node.retained:
                node.retained[output]._write(value if value._node is not None else value._value)
        if any(value is not None for value in arrived):
            gradients = node_gradients(node, arrived)
            if mode.regime is not None and mode.regime.anomaly is not None:
                from .anomaly import look_at_gradients

                look_at_gradients(node, gradients, arrived)
            for edge, value in zip(node.edges, gradients, strict=True):
                add(edge, value)
    result = []
    for place, before in zip(targets, existing, strict=True):
        node = place[0]
        value = found.get(place, sums.get(place))  # a target that nothing behind was asked of was not walked
        if value is not None and place not in found:
            hooks = node.hooks if isinstance(node, Leaf) else (node.hooks or {}).get(place[1])
            value = _call_hooks(hooks, value)
        if value is not None and before is not None:
            value = (before if isinstance(before, Tensor) else wrap(before)) + value
        result.append(before if value is None else value)
    return result


def node_gradients(node: Node, arrived: list[Any]) -> Sequence[Any]:
    """Gradients, as Tensors, at the inputs of one node."""
    if node.kernel is None:
        return node.vjp(arrived)
    if node.vjp is not None and not mode.grad:
        floating = [(h, c) for h, c in zip(node.outputs, arrived, strict=True) if np.dtype(h.dtype).kind in "fcV"]
        with dtypes.x64():
            cotangents = [jax.numpy.zeros(h.shape, h.dtype) if c is None else c._value for h, c in floating]
            return [wrap(g) for g in _apply_vjp(node.vjp, cotangents)]
    given = tuple(value is not None for value in arrived)
    hollow = tuple([(v.shape, v.dtype) if type(v) is Hollow else None for v in node.values])
    kernel = node.kernel.vjp(node.positions, given, hollow)
    inputs = list(node.values)
    for position, (source, index) in zip(node.positions, node.edges, strict=True):
        if type(inputs[position]) is not Hollow:
            tensor = wrap(inputs[position])
            tensor._node, tensor._index = source, index
            inputs[position] = tensor
    return call(kernel, [v for v in inputs if type(v) is not Hollow] + [v for v in arrived if v is not None])


def _call_hooks(hooks: dict[int, Callable] | None, gradient: Tensor) -> Tensor:
    for hook in list((hooks or {}).values()):
        if getattr(hook, "after_accumulation", False):
            continue
        replaced = hook(gradient)
        if replaced is not None:
            gradient = replaced if isinstance(replaced, Tensor) else wrap(array_from(replaced))
    return gradient


def _run_accumulated_hooks(leaves: Sequence[Leaf]) -> None:
    for leaf in leaves:
        for hook in list((leaf.hooks or {}).values()):
            owner = getattr(hook, "after_accumulation", None)
            if owner is not None:
                hook(owner)


# --- what Tensor gets ----------------------------------------------------------------------------------------------


def _backward(self: Tensor, gradient: Any = None, retain_graph: bool | None = None, create_graph: bool = False, inputs: Any = None) -> None:
    """Add the gradients of this tensor to the `.grad` of the leaves it was computed from.

    Args:
        gradient: the cotangent, of this tensor's shape. May be left out for one element: it is 1.
        retain_graph: keep what the graph holds, so that it can be walked again. Default: the value of `create_graph`.
        create_graph: record the backward pass itself, for higher derivatives.
        inputs: accumulate only into these tensors. Default: all leaves.

    Raises:
        RuntimeError: the tensor does not require grad, has several elements and no `gradient`, or its graph was freed.
    """
    backward(self, gradient, retain_graph, create_graph, inputs)


class RemovableHandle:
    """Takes a hook away again."""

    def __init__(self, hooks: dict[int, Callable], key: int, after: Callable[[], None] | None = None):
        self.hooks = hooks
        self.id = key
        self.after = after

    def remove(self) -> None:
        """Take the hook away."""
        if self.hooks.pop(self.id, None) is not None and self.after is not None:
            self.after()

    def __enter__(self) -> RemovableHandle:
        return self

    def __exit__(self, *exception: object) -> None:
        self.remove()


def _hooks_of(tensor: Tensor) -> dict[int, Callable]:
    if tensor._node is None:
        raise AutogradError("cannot register a hook on a tensor that doesn't require gradient")
    if isinstance(tensor._node, Leaf):
        if tensor._node.hooks is None:
            tensor._node.hooks = {}
        return tensor._node.hooks
    if tensor._node.hooks is None:
        tensor._node.hooks = {}
    return tensor._node.hooks.setdefault(tensor._index, {})


def _register_hook(self: Tensor, hook: Callable[[Tensor], Tensor | None]) -> RemovableHandle:
    """Call `hook(grad)` whenever a gradient at this tensor is computed; what it returns, if not `None`, replaces the gradient.

    Args:
        hook: takes the gradient.

    Returns:
        A handle with `remove()`.
    """
    hooks = _hooks_of(self)
    key = max(hooks, default=-1) + 1
    hooks[key] = hook
    return RemovableHandle(hooks, key)


def _register_post_accumulate_grad_hook(self: Tensor, hook: Callable[[Tensor], None]) -> RemovableHandle:
    """Call `hook(tensor)` after a gradient was added to this leaf's `.grad`."""
    if not self.is_leaf:
        raise AutogradError("post accumulate grad hooks cannot be registered on non-leaf tensors")

    class AfterAccumulation:
        after_accumulation = self

        def __call__(_self, tensor: Tensor) -> None:  # noqa: N805 (`self` is the tensor)
            hook(tensor)

    return _register_hook(self, AfterAccumulation())


def _retain_grad(self: Tensor) -> None:
    """Keep the gradient of this tensor, which is no leaf, in its `.grad` too."""
    if self._node is None:
        raise AutogradError("can't retain_grad on Tensor that has requires_grad=False")
    if not self.is_leaf:
        _gradient_cell(self._node, self._index)


for _name, _method in {
    "backward": _backward,
    "register_hook": _register_hook,
    "register_post_accumulate_grad_hook": _register_post_accumulate_grad_hook,
    "retain_grad": _retain_grad,
}.items():
    attach(_name, _method)
attach("retains_grad", property(lambda self: not self.is_leaf and bool(self._node.retained) and self._index in self._node.retained))
