"""Recurrent networks: one LSTM, GRU or RNN node for each layer, both directions together."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..builder import Graph, Value
from ..lowering import case, converter
from .elementwise import number

_KINDS = {"lstm": ("LSTM", (0, 3, 1, 2)), "gru": ("GRU", (1, 0, 2)), "rnn_tanh": ("RNN", (0,)), "rnn_relu": ("RNN", (0,))}  # with the order of ONNX's gates


@converter(
    "_recurrent",
    cases=[
        case("nn.LSTM(4, 5)(x)[0]", "LSTM Squeeze", x=(3, 2, 4)),
        case("nn.GRU(4, 5, batch_first=True)(x)[0]", "GRU Squeeze Transpose Transpose", x=(2, 3, 4)),
        case("nn.LSTM(4, 5, bidirectional=True)(x)", "LSTM Reshape Transpose", x=(3, 2, 4)),
        case("nn.RNN(4, 5, 2, nonlinearity='relu')(x)", "Concat RNN RNN Squeeze Squeeze", x=(3, 2, 4)),
    ],
)
def _recurrent(
    g: Graph, input: Value, states: list[Value], weights: list[Value], masks: list[Value], lengths: Value | None, kind: str, has_biases: bool, num_layers: int,
    bidirectional: bool, batch_first: bool, keep: float,
) -> list[Value] | None:  # fmt: skip
    directions, each = (2 if bidirectional else 1), (4 if has_biases else 2)
    if len(weights) != num_layers * directions * each or any(w.constant is None for w in weights):
        return None  # with a projection, which ONNX's operator does not have
    batched = input.ndim == 3
    x = input
    if not batched:
        x, states = g.unsqueeze(input, [1]), [g.unsqueeze(s, [1]) for s in states]
    elif batch_first:
        x = g.transpose(input, [1, 0, 2])
    steps, batch = x.known_shape[:2]
    hidden = weights[1].known_shape[1]
    count = 2 if kind == "lstm" else 1
    by_layer = [_by_layer(g, s, num_layers, directions) for s in states]
    final: list[list[Value]] = [[] for _ in range(count)]
    for layer in range(num_layers):
        own = weights[layer * directions * each : (layer + 1) * directions * each]
        initial = [s[layer] for s in by_layer]
        outputs, after = _layer(g, x, own, initial, lengths, kind, directions, has_biases, (steps, batch, hidden))
        x = g.squeeze(outputs, [1]) if directions == 1 else g.reshape(g.transpose(outputs, [0, 2, 1, 3]), (steps, batch, 2 * hidden))
        for found, state in zip(final, after, strict=True):
            found.append(state)
        if masks and layer < num_layers - 1:
            scaled = g.add("Mul", x, number(g, 1 / keep if keep else 0, x.dtype), shape=x.shape)
            x = g.add("Where", masks[layer], scaled, number(g, 0, x.dtype), dtype=x.dtype, shape=x.shape)
    shape = (num_layers * directions, batch, hidden)
    joined = [found[0] if num_layers == 1 else g.add("Concat", *found, axis=0, shape=shape) for found in final]
    if not batched:
        return [g.squeeze(x, [1]), *(g.squeeze(s, [1]) for s in joined)]
    return [g.transpose(x, [1, 0, 2]) if batch_first else x, *joined]


def _by_layer(g: Graph, state: Value, layers: int, directions: int) -> list[Value]:
    """The initial state of each layer."""
    if layers == 1:
        return [state]
    shape = (directions, *state.known_shape[1:])
    return g.add_many("Split", [state, None], [(state.dtype, shape)] * layers, axis=0, num_outputs=layers if g.opset >= 18 else None)


def _layer(
    g: Graph, x: Value, weights: list[Value], initial: list[Value], lengths: Value | None, kind: str, directions: int, has_biases: bool, sizes: tuple[Any, ...]
) -> tuple[Value, list[Value]]:
    """(hidden states of all steps, final states)."""
    steps, batch, hidden = sizes
    operator, order = _KINDS[kind]
    each = len(weights) // directions
    packed = [_packed(g, [weights[d * each + i] for d in range(directions)], order) for i in range(2)]
    biases = _biases(g, [weights[d * each + 2 : d * each + 4] for d in range(directions)], order) if has_biases else None
    count = 2 if kind == "lstm" else 1
    state = (x.dtype, (directions, batch, hidden))
    inputs = [x, *packed, biases, None if lengths is None else g.cast(lengths, np.int32), *initial]
    found = g.add_many(
        operator, inputs, [(x.dtype, (steps, directions, batch, hidden)), *[state] * count], hidden_size=hidden, direction="bidirectional" if directions == 2 else None,
        linear_before_reset=1 if kind == "gru" else None, activations=["Relu"] * directions if kind == "rnn_relu" else None,
    )  # fmt: skip
    return found[0], found[1:]


def _reordered(array: np.ndarray, order: tuple[int, ...]) -> np.ndarray:
    gates = np.split(array, len(order))
    return np.concatenate([gates[i] for i in order])


def _packed(g: Graph, weights: list[Value], order: tuple[int, ...]) -> Value:
    """Weights of both directions with ONNX's order of gates."""
    array = np.stack([_reordered(w.constant, order) for w in weights if w.constant is not None])
    return g.derived(weights[0], array, ".gates" if len(weights) == 1 else ".gates_of_both")


def _biases(g: Graph, pairs: list[list[Value]], order: tuple[int, ...]) -> Value:
    array = np.stack([np.concatenate([_reordered(b.constant, order) for b in pair if b.constant is not None]) for pair in pairs])
    return g.derived(pairs[0][0], array, ".and_hh" if len(pairs) == 1 else ".and_hh_of_both")


@converter(
    "_recurrent_cell",
    cases=[
        case("nn.LSTMCell(4, 5)(x)[0]", "LSTM Squeeze Unsqueeze", x=(2, 4)),
        case("nn.GRUCell(4, 5)(x, y)", "GRU Squeeze Unsqueeze Unsqueeze", x=(2, 4), y=(2, 5)),
    ],
)
def _recurrent_cell(
    g: Graph, input: Value, states: list[Value], w_ih: Value, w_hh: Value, b_ih: Value | None, b_hh: Value | None, kind: str
) -> list[Value] | None:
    weights = [w for w in (w_ih, w_hh, b_ih, b_hh) if w is not None]
    if any(w.constant is None for w in weights) or len(weights) == 3:
        return None
    x = input if input.ndim == 2 else g.unsqueeze(input, [0])
    initial = [g.unsqueeze(s, [0]) if input.ndim == 2 else g.unsqueeze(s, [0, 1]) for s in states]
    sizes = (1, x.known_shape[0], w_hh.known_shape[1])
    _, after = _layer(g, g.unsqueeze(x, [0]), weights, initial, None, kind, 1, len(weights) == 4, sizes)
    return [g.squeeze(s, [0] if input.ndim == 2 else [0, 1]) for s in after]
