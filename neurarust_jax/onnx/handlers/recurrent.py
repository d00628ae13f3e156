"""RNN, GRU and LSTM, with all their attributes.

The usual forms run as the layers of `nr.nn` do; the others (other activations, peepholes, clipping, lengths of their own for each sequence) in a plain scan.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

import neurarust_jax as nr

from ...errors import ArgumentError, UnsupportedError
from ...ops.matmul import multiply
from ..registry import handler
from ..values import apply, as_tensor, shape_of

# ONNX's order of the gates, in terms of PyTorch's places for them
_GATES = {"RNN": (0,), "GRU": (1, 0, 2), "LSTM": (0, 3, 1, 2)}
_DEFAULTS = {"RNN": ("tanh",), "GRU": ("sigmoid", "tanh"), "LSTM": ("sigmoid", "tanh", "tanh")}

_FUNCTIONS = {
    "relu": lambda x, a, b: jnp.maximum(x, 0), "tanh": lambda x, a, b: jnp.tanh(x), "sigmoid": lambda x, a, b: jax.nn.sigmoid(x),
    "affine": lambda x, a, b: a * x + b, "leakyrelu": lambda x, a, b: jnp.where(x >= 0, x, a * x), "thresholdedrelu": lambda x, a, b: jnp.where(x >= a, x, 0),
    "scaledtanh": lambda x, a, b: a * jnp.tanh(b * x), "hardsigmoid": lambda x, a, b: jnp.clip(a * x + b, 0, 1),
    "elu": lambda x, a, b: jnp.where(x >= 0, x, a * jnp.expm1(jnp.minimum(x, 0))), "softsign": lambda x, a, b: x / (1 + jnp.abs(x)),
    "softplus": lambda x, a, b: jnp.logaddexp(x, 0),
}  # fmt: skip
_NUMBERS = {  # default alpha and beta of the functions that have them
    "affine": (1.0, 0.0), "leakyrelu": (0.01, None), "thresholdedrelu": (1.0, None), "scaledtanh": (1.0, 1.0), "hardsigmoid": (0.2, 0.5), "elu": (1.0, None),
}  # fmt: skip


@handler("RNN", "GRU")
def rnn_or_gru(node, x, weight, recurrent, bias=None, lengths=None, initial=None):
    y, (hidden,) = _layer(node, x, weight, recurrent, bias, lengths, (initial,), None)
    return y, hidden


@handler("LSTM")
def lstm(node, x, weight, recurrent, bias=None, lengths=None, initial=None, initial_cell=None, peepholes=None):
    y, (hidden, cell) = _layer(node, x, weight, recurrent, bias, lengths, (initial, initial_cell), peepholes)
    return y, hidden, cell


def _layer(node, x, weight, recurrent, bias, lengths, initials, peepholes):
    """(outputs of all steps, final states), in the layout that the node asks for."""
    kind, direction, batch_first = node.op_type, node.get("direction", "forward"), bool(node.get("layout", 0))
    directions = {"forward": 1, "reverse": 1, "bidirectional": 2}.get(direction)
    if directions is None or shape_of(weight)[0] != directions:
        raise ArgumentError(
            f"{kind} with direction {direction!r} and weights of {shape_of(weight)[0]} directions; directions are forward, reverse, bidirectional"
        )
    width = shape_of(recurrent)[-1]
    x = apply(_swapped, x) if batch_first else as_tensor(x)
    states = [as_tensor(s) if s is None or not batch_first else apply(_swapped, s) for s in initials]
    states = [apply(_zeros, x, shape=(directions, shape_of(x)[1], width)) if s is None else s for s in states]
    functions = _activations(node, directions)
    usual = tuple((name, None, None) for name in _DEFAULTS[kind]) * directions
    plain = functions == usual or (kind == "RNN" and functions == (("relu", None, None),) * directions)
    plain = plain and lengths is None and peepholes is None and not node.get("clip") and not node.get("input_forget", 0)
    if plain and (kind != "GRU" or node.get("linear_before_reset", 0)):
        y, finals = _by_torch(kind, x, weight, recurrent, bias, states, direction, functions)
    else:
        options = {
            "kind": kind, "direction": direction, "functions": functions, "clip": float(node.get("clip", 0.0)), "coupled": bool(node.get("input_forget", 0)),
            "linear": bool(node.get("linear_before_reset", 0)),
        }  # fmt: skip
        y, *finals = apply(_scanned, x, weight, recurrent, bias, lengths, peepholes, *states, **options)
    if batch_first:
        return apply(_batch_first, y), tuple(apply(_swapped, s) for s in finals)
    return y, tuple(finals)


def _swapped(x):
    return jnp.swapaxes(x, 0, 1)


def _batch_first(y):
    return y.transpose(2, 0, 1, 3)


def _zeros(x, shape):
    return jnp.zeros(shape, x.dtype)


def _activations(node, directions):
    """(name, alpha, beta) of each function, those of the second direction after those of the first."""
    names = [name.lower() for name in node.get("activations") or _DEFAULTS[node.op_type] * directions]
    if len(names) != len(_DEFAULTS[node.op_type]) * directions or any(name not in _FUNCTIONS for name in names):
        raise UnsupportedError(f"{node.describe()} has the activations {names}; known are {', '.join(sorted(_FUNCTIONS))}")
    alphas, betas = iter(node.get("activation_alpha") or ()), iter(node.get("activation_beta") or ())
    found = []
    for name in names:
        alpha, beta = _NUMBERS.get(name, (None, None))
        found.append((name, alpha if alpha is None else float(next(alphas, alpha)), beta if beta is None else float(next(betas, beta))))
    return tuple(found)


# --- as PyTorch's layers ---------------------------------------------------------------------------------------------


def _by_torch(kind, x, weight, recurrent, bias, states, direction, functions):
    directions = shape_of(weight)[0]
    parameters = []
    for number in range(directions):
        parts = [weight, recurrent] if bias is None else [weight, recurrent, *_halves(bias)]
        parameters += [apply(_reordered, part, number=number, gates=_GATES[kind]) for part in parts]
    x = apply(_flipped, x) if direction == "reverse" else x
    name = {"RNN": f"rnn_{functions[0][0]}", "GRU": "gru", "LSTM": "lstm"}[kind]
    initial = tuple(states) if kind == "LSTM" else states[0]
    y, *finals = getattr(nr, name)(x, initial, parameters, bias is not None, 1, 0.0, False, directions == 2)
    y = apply(_directions_apart, y, directions=directions)
    return (apply(_flipped, y) if direction == "reverse" else y), finals


def _halves(bias):
    return apply(_split_in_halves, bias)


def _split_in_halves(bias):
    half = bias.shape[-1] // 2
    return bias[:, :half], bias[:, half:]


def _reordered(x, number, gates):
    """The rows of one direction's weight, gates in PyTorch's order."""
    parts = jnp.split(x[number], len(gates))
    return jnp.concatenate([parts[gates.index(i)] for i in range(len(gates))])


def _flipped(x):
    return jnp.flip(x, 0)


def _directions_apart(y, directions):
    return y.reshape(*y.shape[:2], directions, -1).transpose(0, 2, 1, 3)


# --- in a plain scan -------------------------------------------------------------------------------------------------


def _scanned(x, weight, recurrent, bias, lengths, peepholes, *states, kind, direction, functions, clip, coupled, linear):
    valid = None if lengths is None else jnp.arange(x.shape[0])[:, None] < lengths[None]
    count = len(_DEFAULTS[kind])
    outputs, finals = [], []
    for number in range(weight.shape[0]):
        backwards = direction == "reverse" or number == 1
        inputs = _reversed(x, lengths) if backwards else x
        both = jnp.zeros((2, weight.shape[1]), x.dtype) if bias is None else bias[number].reshape(2, -1)
        holes = None if peepholes is None else jnp.split(peepholes[number], 3)
        own = tuple(_clipped(function, clip) for function in functions[number * count : (number + 1) * count])
        cell = _CELLS[kind](recurrent[number], both, holes, own, coupled, linear)
        ys, last = _scan(cell, multiply(inputs, weight[number].T), tuple(s[number] for s in states), valid)
        outputs.append(_reversed(ys, lengths) if backwards else ys)
        finals.append(last)
    return jnp.stack(outputs, 1), *(jnp.stack(parts) for parts in zip(*finals, strict=True))


def _scan(cell, projected, states, valid):
    """The cell over all steps; past the end of a sequence its states stay and its outputs are 0."""

    def step(states, now):
        x, is_valid = now
        new = cell(x, states)
        if is_valid is None:
            return new, new[0]
        new = tuple(jnp.where(is_valid[:, None], n, s) for n, s in zip(new, states, strict=True))
        return new, jnp.where(is_valid[:, None], new[0], 0)

    last, outputs = lax.scan(step, states, (projected, valid))
    return outputs, last


def _reversed(x, lengths):
    if lengths is None:
        return jnp.flip(x, 0)
    place = jnp.arange(x.shape[0])[:, None]
    source = jnp.where(place < lengths[None], lengths[None] - 1 - place, place)
    return jnp.take_along_axis(x, source[..., None], 0)


def _clipped(function: tuple[str, Any, Any], clip: float) -> Any:
    name, alpha, beta = function

    def activation(x):
        x = jnp.clip(x, -clip, clip) if clip else x
        return _FUNCTIONS[name](x, alpha, beta).astype(x.dtype)

    return activation


def _rnn_cell(recurrent, bias, holes, functions, coupled, linear):
    (f,) = functions

    def cell(x, states):
        return (f(x + multiply(states[0], recurrent.T) + bias.sum(0)),)

    return cell


def _gru_cell(recurrent, bias, holes, functions, coupled, linear):
    f, g = functions
    to_update, to_reset, to_new = jnp.split(recurrent, 3)
    of_input, of_state = jnp.split(bias[0], 3), jnp.split(bias[1], 3)

    def cell(x, states):
        (h,) = states
        x_update, x_reset, x_new = jnp.split(x, 3, -1)
        update = f(x_update + multiply(h, to_update.T) + of_input[0] + of_state[0])
        reset = f(x_reset + multiply(h, to_reset.T) + of_input[1] + of_state[1])
        memory = reset * (multiply(h, to_new.T) + of_state[2]) if linear else multiply(reset * h, to_new.T) + of_state[2]
        new = g(x_new + memory + of_input[2])
        return ((1 - update) * new + update * h,)

    return cell


def _lstm_cell(recurrent, bias, holes, functions, coupled, linear):
    f, g, h = functions

    def cell(x, states):
        hidden, kept = states
        into, out, forget, new = jnp.split(x + multiply(hidden, recurrent.T) + bias.sum(0), 4, -1)
        if holes is not None:
            into, forget = into + holes[0] * kept, forget + holes[2] * kept
        into = f(into)
        forget = 1 - into if coupled else f(forget)
        kept = forget * kept + into * g(new)
        out = f(out if holes is None else out + holes[1] * kept)
        return out * h(kept), kept

    return cell


_CELLS = {"RNN": _rnn_cell, "GRU": _gru_cell, "LSTM": _lstm_cell}
