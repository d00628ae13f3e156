"""`If`, `Loop` and `Scan`.

Where the condition or the number of turns is known they run as Python runs them: one branch, one turn after the other. Inside a transformation they become
`jax.lax` control flow where they must (the condition is being traced) or where they are long. Then the tensors that a body reads from outside are inputs of one
recorded operation, so that gradients flow to them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

import neurarust_jax as nr

from ... import dtypes
from ...autograd.graph import mode, no_grad
from ...cells import StateTrace
from ...dispatch import Kernel, call
from ...errors import ArgumentError, ShapeError, TracedValueError
from ...generator import default_generator
from ...tensor import Tensor, wrap
from ...transforms.control_flow import forward_only
from ...transforms.lift import tell_forward_only
from ..bounds import upper_bound
from ..graph import Body
from ..registry import handler
from ..values import as_tensor, is_known, shape_of, static_value

_UNROLLED = 16  # turns of a loop of known length that a compiled program repeats one by one
_LONGEST_EAGER = 256  # turns of a loop of known length that run one by one outside of a transformation
_LONGEST_MASKED = 4096  # turns up to which a loop with a condition, or a bound, is compiled to as many, so that it has a gradient


class _NotSteadyError(ShapeError):
    """A value changes its shape or type from turn to turn, or between branches."""


def _is_tensor(x: Any) -> bool:
    return isinstance(x, Tensor)


def _is_traced(value: Any) -> bool:
    """Whether a value, or one in it, has no elements yet."""
    return any(isinstance(x, Tensor) and isinstance(x._value, jax.core.Tracer) for x in jax.tree.leaves(value, is_leaf=_is_tensor))


class _Flat:
    """A pytree of a graph's values as a flat list of arrays, and back."""

    def __init__(self, tree: Any):
        leaves, self.structure = jax.tree.flatten(as_tensor(list(tree)), is_leaf=_is_tensor)
        if not all(map(_is_tensor, leaves)):
            raise _NotSteadyError("strings and other values that are no tensors cannot be carried through compiled control flow")
        self.tensors: list[Tensor] = leaves

    def arrays(self) -> list[Any]:
        return [lax.convert_element_type(t._value, t._value.dtype) for t in self.tensors]  # never weakly typed

    def unpack(self, arrays: Sequence[Any]) -> list[Any]:
        return jax.tree.unflatten(self.structure, [x if isinstance(x, Tensor) else wrap(x) for x in arrays])


class _Bodies:
    """Subgraphs whose outer tensors, and the random generator if they draw, are inputs.

    Attributes:
        inputs: those tensors.
    """

    def __init__(self, *bodies: Body):
        self.bodies = bodies
        self.leaves, self.structure = jax.tree.flatten([b.outside for b in bodies], is_leaf=_is_tensor)
        self.places = [i for i, x in enumerate(self.leaves) if _is_tensor(x)]
        self.draws = any(step.handler.stateful for b in bodies for step in b.graph.all_steps())
        self.inputs: list[Tensor] = [self.leaves[i] for i in self.places]

    def state(self) -> list[Tensor]:
        """The generator's state, if one of the bodies draws."""
        return [wrap(jnp.asarray(default_generator._read()))] if self.draws else []

    def bind(self, arrays: Sequence[Any]) -> list[Callable]:
        """For each body a function of (inputs, generator's state) that gives (outputs, state after)."""
        leaves = list(self.leaves)
        for place, array in zip(self.places, arrays, strict=True):
            leaves[place] = wrap(array)
        return [self._runner(Body(b.graph, outside)) for b, outside in zip(self.bodies, jax.tree.unflatten(self.structure, leaves), strict=True)]

    def _runner(self, body: Body) -> Callable:
        def run(inputs: Sequence[Any], state: list[Any]) -> tuple[tuple[Any, ...], list[Any]]:
            if not state:
                return body(*inputs), state
            with StateTrace({default_generator: state[0]}) as trace:
                outputs = body(*inputs)
            return outputs, [jnp.asarray(trace.values[default_generator])]

        return run


def _record(name: str, pure: Callable, arguments: Sequence[Tensor], bodies: _Bodies) -> list[Tensor]:
    """Run a pure function of arrays as one operation; its last output is the generator's state if the bodies draw."""
    outputs = list(call(Kernel(name, pure, keeps_vjp=True), list(arguments)))
    if bodies.draws:
        default_generator._write(outputs.pop()._value)
    return outputs


def _describe(arrays: Sequence[Any]) -> str:
    return ", ".join(f"{a.dtype}{list(a.shape)}" for a in arrays) or "nothing"


def _types(arrays: Sequence[Any]) -> list[Any]:
    return [(a.shape, a.dtype) for a in arrays]


# --- If --------------------------------------------------------------------------------------------------------------


@handler("If", since=1)
def if_(node, condition):
    branches = node.get("then_branch"), node.get("else_branch")
    if not _is_traced(condition):
        chosen = branches[0] if bool(np.asarray(static_value(condition, "the condition of If")).reshape(())) else branches[1]
        return chosen()
    bodies = _Bodies(*branches)
    seen: dict[int, tuple[_Flat, tuple[Any, ...]]] = {}

    def pure(condition: Any, *arrays: Any) -> tuple[Any, ...]:
        state, values = ([arrays[0]], arrays[1:]) if bodies.draws else ([], arrays)

        def of_branch(number: int, run: Callable) -> Callable:
            def taken() -> list[Any]:
                outputs, after = run((), state)
                seen[number] = flat, _ = _Flat(outputs), outputs
                return [*flat.arrays(), *after]

            return taken

        taken = [of_branch(i, run) for i, run in enumerate(bodies.bind(values))]
        shapes = [jax.eval_shape(t) for t in taken]
        if _types(shapes[0]) != _types(shapes[1]) or seen[0][0].structure != seen[1][0].structure:
            raise _NotSteadyError(
                f"If {node.name!r}: the condition is being traced by nr.jit or another transformation, and then both branches must give the same shapes and dtypes; "
                f"one gives {_describe(shapes[0])}, the other {_describe(shapes[1])}. Call the model without the transformation."
            )
        return tuple(lax.cond(condition.reshape(()).astype(bool), *taken))

    results = _record("onnx_if", pure, [condition, *bodies.state(), *bodies.inputs], bodies)
    outputs = seen[0][0].unpack(results)
    return tuple(a if _same_known(a, b) else x for x, a, b in zip(outputs, seen[0][1], seen[1][1], strict=True))


def _same_known(a: Any, b: Any) -> bool:
    """Whether both branches give one known value, which stays known."""
    return isinstance(a, np.ndarray) and isinstance(b, np.ndarray) and a.dtype == b.dtype and np.array_equal(a, b)


# --- Loop ------------------------------------------------------------------------------------------------------------


def _stacked(values: list[Any], axis: int = 0) -> Any:
    if all(map(is_known, values)):
        return np.stack(values, axis)
    return nr.stack([as_tensor(v) for v in values], axis)


def _nothing_of(body: Callable, inputs: Sequence[Any], first: int) -> list[Any]:
    """The stacked outputs, from number `first` on, of a loop without turns: their shapes without running the body."""
    flat = _Flat(inputs)

    def outputs(arrays: list[Any]) -> list[Any]:
        return [as_tensor(y)._value for y in body(*flat.unpack(arrays))[first:]]

    with dtypes.x64():
        shapes = jax.eval_shape(outputs, [jax.ShapeDtypeStruct(t._value.shape, t._value.dtype) for t in flat.tensors])
    return [np.zeros((0, *s.shape), s.dtype) for s in shapes]


@handler("Loop", since=1)
def loop(node, count, condition, *states):
    body, asks = node.get("body"), condition is not None
    limit = count if count is None or _is_traced(count) else max(int(np.asarray(static_value(count, "the trip count of Loop")).reshape(())), 0)
    go = np.array(True) if condition is None else condition if _is_traced(condition) else np.asarray(static_value(condition, "the condition of Loop"))
    if isinstance(limit, Tensor) or isinstance(go, Tensor):
        return _compiled_loop(node, body, limit, go, states, asks)
    if not bool(go.reshape(())):
        limit = 0
    is_long = limit is not None and (limit > _UNROLLED if _is_traced([states, body.outside]) else limit > _LONGEST_EAGER and not asks)
    if not is_long:
        found = _turn_by_turn(body, limit, states, asks)
        return _compiled_loop(node, body, limit, go, states, asks) if found is None else found
    try:
        return _compiled_loop(node, body, limit, go, states, asks)
    except (TracedValueError, _NotSteadyError):
        found = _turn_by_turn(body, limit, states, asks)  # where more is known, and shapes may change
        if found is None:
            raise
        return found


def _turn_by_turn(body: Body, limit: int | None, states: Sequence[Any], asks: bool) -> tuple[Any, ...] | None:
    """The loop in Python, or `None` if its condition comes to be a traced value."""
    turn, initial, states, rows = 0, list(states), list(states), []
    while limit is None or turn < limit:
        go, *outputs = body(np.array(turn, np.int64), np.array(True), *states)
        turn += 1
        states, row = outputs[: len(states)], outputs[len(states) :]
        rows.append(row)
        if asks and _is_traced(go):
            return None
        if asks and not bool(np.asarray(static_value(go, "the condition of Loop")).reshape(())):
            break
    if not rows:
        return (*states, *_nothing_of(body, [np.array(0, np.int64), np.array(True), *initial], 1 + len(initial)))
    return (*states, *(_stacked(list(column)) for column in zip(*rows, strict=True)))


def _compiled_loop(node, body: Body, limit: Any, condition: Any, states: Sequence[Any], asks: bool) -> tuple[Any, ...]:
    """The loop as `lax.scan`, if a limit is known and not too far, else as `lax.while_loop`."""
    bodies, flat = _Bodies(body), _Flat(states)
    most = as_tensor(np.array(np.iinfo(np.int64).max, np.int64)) if limit is None else as_tensor(np.array(limit, np.int64) if isinstance(limit, int) else limit)
    # a known condition stays known inside: the pure function must not see it as an input
    known = condition.reshape(()) if isinstance(condition, np.ndarray) else None
    arguments = [most, *([] if known is not None else [as_tensor(condition)]), *flat.tensors, *bodies.state(), *bodies.inputs]
    differentiated = mode.deferred or (mode.grad and any(t._node is not None for t in arguments))
    turns = _turns(limit, asks, differentiated)
    reason = _no_reverse(node, limit, asks)
    seen: dict[str, Any] = {}

    def pure(most: Any, *arrays: Any) -> tuple[Any, ...]:
        go, arrays = (known, arrays) if known is not None else (arrays[0].reshape(()).astype(bool), arrays[1:])
        count = len(flat.tensors)
        carried, rest = list(arrays[:count]), arrays[count:]
        state, values = ([rest[0]], rest[1:]) if bodies.draws else ([], rest)
        (run,) = bodies.bind(values)

        def step(turn: Any, go: Any, carried: list[Any], state: list[Any]) -> Any:
            outputs, after = run([wrap(turn), wrap(go), *flat.unpack(carried)], state)
            new = _Flat(outputs[1 : 1 + len(states)])
            _check_steady(node, flat, carried, new)
            seen["rows"] = rows = _Flat(outputs[1 + len(states) :])
            seen["always"] = not asks or (is_known(outputs[0]) and bool(np.asarray(outputs[0]).reshape(())))
            return as_tensor(outputs[0])._value.reshape(()).astype(bool), new.arrays(), after, rows.arrays()

        jax.eval_shape(lambda: step(jnp.zeros((), np.int64), jnp.asarray(go), carried, state))
        always = seen["always"] and known is not None and isinstance(limit, int)
        if seen["rows"].tensors and not (always and turns is not None):
            raise TracedValueError(
                f"Loop {node.name!r} stacks a value of each turn, and how many turns it makes depends on values that nr.jit or another transformation is tracing. "
                "Call the model without the transformation."
            )
        if turns is None:
            tell_forward_only(reason)
            return _while(step, most.reshape(()), go, carried, state)
        return _scan_turns(step, turns, None if isinstance(limit, int) else most.reshape(()), always, go, carried, state)

    if turns is None and differentiated and not mode.deferred:
        with no_grad():
            outputs = _record("onnx_loop", pure, arguments, bodies)
        outputs = forward_only(outputs, [t._value.dtype.kind in "fcV" for t in outputs], reason)
    else:
        outputs = _record("onnx_loop", pure, arguments, bodies)
    count = len(flat.tensors)
    return (*flat.unpack(outputs[:count]), *seen["rows"].unpack(outputs[count:]))


def _turns(limit: Any, asks: bool, differentiated: bool) -> int | None:
    """How many turns a program makes that has a gradient, or `None` if that is unknown or too many."""
    if isinstance(limit, int):
        return limit if not asks or limit <= _LONGEST_MASKED else None
    bound = None if limit is None or not differentiated else upper_bound(limit)
    return bound if bound is not None and bound <= _LONGEST_MASKED else None


def _no_reverse(node, limit: Any, asks: bool) -> str:
    """Why a loop that is compiled to `lax.while_loop` has no gradient, and what to do."""
    if isinstance(limit, int):
        why = f"it may end before its trip count of {limit}, which is above the {_LONGEST_MASKED} turns that are written out for that"
    elif limit is None:
        why = "it goes on as long as its condition holds, and no trip count bounds it"
    else:
        why = f"its trip count is computed from values that are being traced, and no constant bounds it by {_LONGEST_MASKED} or less"
    return (
        f"{node.describe()} of the ONNX graph has no reverse-mode derivative inside nr.jit and other transformations: {why}. Call the model without the transformation, "
        f"where the loop runs turn by turn; or bound its trip count in the graph by a constant ({'a first input, ' if limit is None else ''}Min or Clip); or differentiate "
        "forward: nr.jvp, nr.func.jacfwd."
    )


def _while(step: Callable, most: Any, go: Any, carried: list[Any], state: list[Any]) -> tuple[Any, ...]:
    def turn(everything: Any) -> Any:
        number, go, carried, state = everything
        go, carried, state, _ = step(number, go, carried, state)
        return number + 1, go, carried, state

    start = jnp.zeros((), np.int64), jnp.asarray(go), carried, state
    _, _, carried, state = lax.while_loop(lambda s: (s[0] < most) & s[1], turn, start)
    return *carried, *state


def _scan_turns(step: Callable, turns: int, most: Any, always: bool, go: Any, carried: list[Any], state: list[Any]) -> tuple[Any, ...]:
    """`turns` turns, of which those after the end, or beyond `most` if it is given, change nothing."""

    def turn(everything: Any, number: Any) -> Any:
        go, carried, state = everything
        if always:
            _, carried, state, rows = step(number, go, carried, state)
            return (go, carried, state), rows
        goes_on = go if most is None else go & (number < most)
        return lax.cond(goes_on, lambda: step(number, go, carried, state)[:3], lambda: (go, carried, state)), []

    (_, carried, state), rows = lax.scan(turn, (jnp.asarray(go), carried, state), jnp.arange(turns, dtype=np.int64))
    return *carried, *rows, *state


def _check_steady(node, flat: _Flat, before: Sequence[Any], new: _Flat) -> None:
    after = [t._value for t in new.tensors]
    if flat.structure != new.structure or _types(before) != _types(after):
        raise _NotSteadyError(
            f"{node.op_type} {node.name!r}: inside nr.jit and other transformations the values that a loop carries keep their shapes and dtypes; "
            f"they are {_describe(before)} before a turn and {_describe(after)} after it. Call the model without the transformation."
        )


# --- Scan ------------------------------------------------------------------------------------------------------------


class _Layout:
    """Along which axes and in which directions a `Scan` goes."""

    def __init__(self, node, inputs: Sequence[Any], outputs: int):
        self.input_axes = [axis % len(shape_of(x)) for axis, x in zip(node.get("scan_input_axes") or [0] * len(inputs), inputs, strict=True)]
        self.input_reversed = node.get("scan_input_directions") or [0] * len(inputs)
        self.output_axes = node.get("scan_output_axes") or [0] * outputs
        self.output_reversed = node.get("scan_output_directions") or [0] * outputs
        lengths = {shape_of(x)[axis] for axis, x in zip(self.input_axes, inputs, strict=True)}
        if len(lengths) != 1:
            raise ShapeError(f"Scan {node.name!r}: the inputs have different lengths along the axes {self.input_axes}: {[shape_of(x) for x in inputs]}")
        (self.length,) = lengths


@handler("Scan", since=9)
def scan(node, *arguments):
    body, inputs_count = node.get("body"), node.get("num_scan_inputs")
    split = len(arguments) - inputs_count
    return _scanned(node, body, list(arguments[:split]), list(arguments[split:]))


def _scanned(node, body: Body, states: list[Any], inputs: list[Any]) -> tuple[Any, ...]:
    layout = _Layout(node, inputs, len(body.output_names) - len(states))
    if layout.length > 1 and _is_traced([states, inputs, body.outside]):
        try:
            return _compiled_scan(node, body, layout, states, inputs)
        except (TracedValueError, _NotSteadyError):
            pass  # turn by turn shapes may change, and more is known
    rows, initial = [], list(states)
    for turn in range(layout.length):
        slices = [
            _slice(x, axis, layout.length - 1 - turn if back else turn) for x, axis, back in zip(inputs, layout.input_axes, layout.input_reversed, strict=True)
        ]
        outputs = list(body(*states, *slices))
        states, row = outputs[: len(states)], outputs[len(states) :]
        rows.append(row)
    if not rows:
        slices = [np.zeros(np.delete(shape_of(x), axis), np.asarray(as_tensor(x)._value[:0]).dtype) for x, axis in zip(inputs, layout.input_axes, strict=True)]
        columns = _nothing_of(body, [*initial, *slices], len(initial))
        return (*states, *(np.moveaxis(c, 0, axis) for c, axis in zip(columns, layout.output_axes, strict=True)))
    columns = [list(column) for column in zip(*rows, strict=True)]
    stacked = [_stacked(c[::-1] if back else c, axis) for c, axis, back in zip(columns, layout.output_axes, layout.output_reversed, strict=True)]
    return (*states, *stacked)


def _slice(x: Any, axis: int, place: int) -> Any:
    return x.take(place, axis) if isinstance(x, np.ndarray) else nr.select(x, axis, place)


def _compiled_scan(node, body: Body, layout: _Layout, states: list[Any], inputs: list[Any]) -> tuple[Any, ...]:
    bodies, flat = _Bodies(body), _Flat(states)
    seen: dict[str, _Flat] = {}

    def pure(*arrays: Any) -> tuple[Any, ...]:
        a, b = len(flat.tensors), len(flat.tensors) + len(inputs)
        carried, scanned, rest = list(arrays[:a]), arrays[a:b], arrays[b:]
        state, values = ([rest[0]], rest[1:]) if bodies.draws else ([], rest)
        (run,) = bodies.bind(values)
        moved = [jnp.moveaxis(x, axis, 0) for x, axis in zip(scanned, layout.input_axes, strict=True)]
        moved = [jnp.flip(x, 0) if back else x for x, back in zip(moved, layout.input_reversed, strict=True)]

        def turn(everything: Any, slices: list[Any]) -> Any:
            carried, state = everything
            outputs, state = run([*flat.unpack(carried), *map(wrap, slices)], state)
            new = _Flat(outputs[: len(states)])
            _check_steady(node, flat, carried, new)
            seen["rows"] = rows = _Flat(outputs[len(states) :])
            return (new.arrays(), state), rows.arrays()

        (carried, state), rows = lax.scan(turn, (carried, state), moved)
        rows = [jnp.flip(r, 0) if back else r for r, back in zip(rows, layout.output_reversed, strict=True)]
        return *carried, *(jnp.moveaxis(r, 0, axis) for r, axis in zip(rows, layout.output_axes, strict=True)), *state

    arguments = [*flat.tensors, *map(as_tensor, inputs), *bodies.state(), *bodies.inputs]
    outputs = _record("onnx_scan", pure, arguments, bodies)
    count = len(flat.tensors)
    return (*flat.unpack(outputs[:count]), *outputs[count:])


@handler("Scan", since=8, static=(0,))
def scan_of_batches(node, lengths, *arguments):
    """Before opset 9 every state and input has a batch dimension in front, and sequences may have different lengths."""
    body, inputs_count = node.get("body"), node.get("num_scan_inputs")
    split = len(arguments) - inputs_count
    back = node.get("directions") or [0] * inputs_count
    batch, longest = shape_of(arguments[0])[0], shape_of(arguments[-1])[1]
    if batch == 0:
        raise ArgumentError(f"Scan {node.name!r}: the batch is empty")
    samples = []
    for sample in range(batch):
        length = longest if lengths is None else int(lengths[sample])
        chosen = [_slice(x, 0, sample) for x in arguments]
        sequences = [_slice_until(x, length) for x in chosen[split:]]
        outputs = _scanned(_Directed(node, back), body, chosen[:split], sequences)
        samples.append([*outputs[:split], *(_filled_up(y, longest) for y in outputs[split:])])
    return tuple(_stacked(list(column)) for column in zip(*samples, strict=True))


class _Directed:
    """A `Scan` node of opset 8 as `_Layout` reads it."""

    def __init__(self, node, directions: list[int]):
        self.op_type, self.name, self.directions = node.op_type, node.name, directions

    def get(self, name: str, default: Any = None) -> Any:
        return self.directions if name == "scan_input_directions" else default


def _slice_until(x: Any, length: int) -> Any:
    return x if shape_of(x)[0] == length else x[:length]


def _filled_up(x: Any, length: int) -> Any:
    missing = length - shape_of(x)[0]
    if not missing:
        return x
    if isinstance(x, np.ndarray):
        return np.pad(x, [(0, missing)] + [(0, 0)] * (x.ndim - 1))
    return nr.cat([x, nr.zeros((missing, *x.shape[1:]), dtype=x.dtype)])
