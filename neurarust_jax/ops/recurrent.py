"""Recurrent networks: sequences through stacked layers, and single steps.

A layer runs in one scan for each direction. What its small steps cost decides how fast it is; times are of a forward pass of 64 steps, width 128, batch 32
on two CPU cores, where the scan of an LSTM written the plain way takes 6.8 ms:

- The input is projected for all steps at once before the scan, and the recurrent weight is transposed there (0.6 ms less).
- XLA vectorizes an elementwise function over a whole array, but not over slices of one. As ``sigmoid(x) = (1 + tanh(x / 2)) / 2``, with the halving done in the weights,
  one tanh goes over all gates of the LSTM (2.8 ms less); the GRU, one of whose gates is different, has a product for each gate (5.0 to 2.7 ms).
- `_run` has its own rule for tangents: a linear scan whose inputs hold the products with the weights' tangents, made outside. Backpropagation
  through time, which is its transpose, so gets the weights' gradients of all steps by one product. And since it is a rule for
  tangents, forward mode and higher derivatives remain.
- Unrolling gained nothing, and costs compile time.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ..dispatch import Array, op
from ..errors import ArgumentError, DtypeError, ShapeError
from ..tensor import Tensor
from .common import cast
from .matmul import multiply
from .nn.linear import require_same_dtype
from .random import draw, dropout_mask

__all__ = ["rnn_tanh", "rnn_relu", "lstm", "gru", "rnn_tanh_cell", "rnn_relu_cell", "lstm_cell", "gru_cell"]

States = tuple[Array, ...]  # (hidden,), of an LSTM (hidden, cell)


class _Cell(NamedTuple):
    """One kind of recurrent cell.

    Attributes:
        layer: the name of its layer, for messages.
        factors: by which the rows of weights and biases of each gate are multiplied: one half before a sigmoid.
        step: (inputs, states, weights) -> (new states, what the derivative needs besides them).
        tangents: (tangents of inputs and weights, weights, states before and after, kept) of all steps -> (inputs, coefficients and weights of `linear`).
        linear: (inputs, coefficients, tangents of states, weights) -> tangents of the new states.
    """

    layer: str
    factors: tuple[float, ...]
    step: Callable
    tangents: Callable
    linear: Callable


# --- the cells -------------------------------------------------------------------------------------------------------


def _elman(layer: str, activation: Callable, slope: Callable) -> _Cell:
    """``h' = activation(W x + b + U h)`` (Elman, 1990); the slope of the activation is given by its result."""

    def step(x, states, weights):
        return (activation(x + weights[1] + multiply(states[0], weights[0])),), ()

    def tangents(d_x, d_weights, weights, before, after, kept):
        return d_x + d_weights[1] + multiply(before[0], d_weights[0]), slope(after[0]), weights

    def linear(d_x, slope, d_states, weights):
        return (slope * (d_x + multiply(d_states[0], weights[0])),)

    return _Cell(layer, (1.0,), step, tangents, linear)


def _sigmoid_of(t: Array) -> Array:
    """The sigmoid of x, given tanh(x / 2)."""
    return 0.5 * t + 0.5


def _lstm_step(x, states, weights):
    """Hochreiter and Schmidhuber, 1997, with the forget gate of Gers et al., 2000, and optionally the projection of Sak et al., 2014."""
    h, c = states
    t = jnp.tanh(x + weights[1] + multiply(h, weights[0]))
    i, f, g, o = jnp.split(t, 4, -1)
    c = _sigmoid_of(f) * c + _sigmoid_of(i) * g
    h = _sigmoid_of(o) * jnp.tanh(c)
    return (multiply(h, weights[2]) if len(weights) > 2 else h, c), t


def _lstm_tangents(d_x, d_weights, weights, before, after, t):
    i, f, g, o = jnp.split(t, 4, -1)
    tanh_c, o = jnp.tanh(after[1]), _sigmoid_of(o)
    gates, slopes = jnp.split(t, 4, -1), t
    for k, factor in ((1, 0.5 * before[1]), (3, 0.5 * tanh_c), (0, 0.5 * g), (2, _sigmoid_of(i))):  # in place: side by side, they would take their memory twice
        slopes = lax.dynamic_update_slice_in_dim(slopes, (1 - gates[k] * gates[k]) * factor, k * g.shape[-1], -1)
    d_x = d_x + d_weights[1] + multiply(before[0], d_weights[0])
    d_projected = multiply(o * tanh_c, d_weights[2]) if len(weights) > 2 else None
    return (d_x, d_projected), (slopes, _sigmoid_of(f), o * (1 - tanh_c * tanh_c)), weights


def _lstm_linear(d_inputs, coefficients, d_states, weights):
    (d_x, d_projected), (slopes, forget, out) = d_inputs, coefficients
    i, f, g, o = jnp.split(slopes * (d_x + multiply(d_states[0], weights[0])), 4, -1)
    d_c = forget * d_states[1] + i + f + g
    d_h = o + out * d_c
    return (d_h if d_projected is None else multiply(d_h, weights[2]) + d_projected, d_c)


def _gru_step(x, states, weights):
    """Cho et al., 2014, with r after the product, as cuDNN has it. The weights: those of r, z and n, the biases of r and z, and the two biases of n."""
    (h,), (w_r, w_z, w_n, b_r, b_z, b_n, b_m) = states, weights
    r = jnp.tanh(x[0] + b_r + multiply(h, w_r))
    z = jnp.tanh(x[1] + b_z + multiply(h, w_z))
    m = multiply(h, w_n) + b_m
    n = jnp.tanh(x[2] + b_n + _sigmoid_of(r) * m)
    return (n + _sigmoid_of(z) * (h - n),), (r, z, n, m)


def _gru_tangents(d_x, d_weights, weights, before, after, kept):
    (h,), (r, z, n, m) = before, kept
    d_r, d_z, d_m = (multiply(h, w) for w in d_weights[:3])
    d_br, d_bz, d_bn, d_bm = d_weights[3:]
    update = _sigmoid_of(z)
    to_n = (1 - update) * (1 - n * n)
    to_r = to_n * m * (0.5 - 0.5 * r * r)
    to_z = (h - n) * (0.5 - 0.5 * z * z)
    to_m = to_n * _sigmoid_of(r)
    d_new = to_r * (d_x[0] + d_br + d_r) + to_z * (d_x[1] + d_bz + d_z) + to_n * (d_x[2] + d_bn) + to_m * (d_m + d_bm)
    return d_new, (jnp.concatenate([to_r, to_z, to_m], -1), update), jnp.concatenate(weights[:3], -1)


def _gru_linear(d_new, coefficients, d_states, weights):
    slopes, update = coefficients
    r, z, m = jnp.split(slopes * multiply(d_states[0], weights), 3, -1)
    return (d_new + update * d_states[0] + r + z + m,)


_CELLS = {
    "rnn_tanh": _elman("RNN", jnp.tanh, lambda h: 1 - h * h),
    "rnn_relu": _elman("RNN", jax.nn.relu, lambda h: (h > 0).astype(h.dtype)),
    "lstm": _Cell("LSTM", (0.5, 0.5, 1.0, 0.5), _lstm_step, _lstm_tangents, _lstm_linear),
    "gru": _Cell("GRU", (0.5, 0.5, 1.0), _gru_step, _gru_tangents, _gru_linear),
}


def _prepare(
    cell: _Cell, input: Array, w_ih: Array, w_hh: Array, b_ih: Array | None = None, b_hh: Array | None = None, w_hr: Array | None = None
) -> tuple[Any, tuple[Array, ...]]:
    """The inputs of all steps, projected, and the weights that the steps need. The biases come with the steps, where adding them costs nothing."""
    factors = np.repeat(cell.factors, w_hh.shape[0] // len(cell.factors)).astype(w_hh.dtype)
    projected = multiply(input, (w_ih * factors[:, None]).T)
    weight = (w_hh * factors[:, None]).T
    b_ih, b_hh = (jnp.zeros_like(factors) if b is None else b * factors for b in (b_ih, b_hh))
    if cell.layer == "GRU":
        w_r, w_z, w_n = jnp.split(weight, 3, -1)
        b_r, b_z, _ = jnp.split(b_ih + b_hh, 3)
        return tuple(jnp.split(projected, 3, -1)), (w_r, w_z, w_n, b_r, b_z, jnp.split(b_ih, 3)[2], jnp.split(b_hh, 3)[2])
    return projected, (weight, b_ih + b_hh) if w_hr is None else (weight, b_ih + b_hh, w_hr.T)


# --- a layer in one direction ----------------------------------------------------------------------------------------


def _where_valid(valid: Array | None, new: States, old: States) -> States:
    return new if valid is None else tuple(jnp.where(valid, n, o) for n, o in zip(new, old, strict=True))


def _scan(cell: _Cell, reverse: bool, keep: bool, inputs: Any, weights: tuple[Array, ...], states: States, valid: Array | None) -> tuple[States, Any]:
    """The final states, and of every step the new hidden state, or with `keep` all states and what the derivative needs."""

    def step(states, x):
        x, valid = x
        new, kept = cell.step(x, states, weights)
        new = _where_valid(valid, new, states)
        return new, (new, kept) if keep else new[0]

    return lax.scan(step, states, (inputs, valid), reverse=reverse)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def _run(cell: _Cell, reverse: bool, inputs: Any, weights: tuple[Array, ...], states: States, valid: Array | None) -> tuple[Array, States]:
    """The hidden state after every step, and the final states; where a step is not valid, states stay as they are."""
    final, hidden = _scan(cell, reverse, False, inputs, weights, states, valid)
    return hidden, final


@_run.defjvp
def _run_with_tangents(cell: _Cell, reverse: bool, primals: tuple, tangents: tuple) -> tuple[tuple[Array, States], tuple[Array, States]]:
    inputs, weights, states, valid = primals
    d_inputs, d_weights, d_states, _ = tangents
    final, (after, kept) = _scan(cell, reverse, True, *primals)
    if reverse:
        before = tuple(jnp.concatenate([a[1:], s[None]]) for a, s in zip(after, states, strict=True))
    else:
        before = tuple(jnp.concatenate([s[None], a[:-1]]) for a, s in zip(after, states, strict=True))
    d_inputs, coefficients, weights = cell.tangents(d_inputs, d_weights, weights, before, after, kept)

    def step(d_states, x):
        d_input, coefficients, valid = x
        d_states = _where_valid(valid, cell.linear(d_input, coefficients, d_states, weights), d_states)
        return d_states, d_states[0]

    d_final, d_hidden = lax.scan(step, d_states, (d_inputs, coefficients, valid), reverse=reverse)
    return (after[0], final), (d_hidden, d_final)


# --- stacked layers --------------------------------------------------------------------------------------------------


@op(name="_recurrent", method=False, keeps_vjp=True)
def _recurrent(
    input: Array, states: Sequence[Array], weights: Sequence[Array], masks: Sequence[Array], lengths: Array | None, kind: str, has_biases: bool, num_layers: int,
    bidirectional: bool, batch_first: bool, keep: float,
) -> tuple[Array, ...]:  # fmt: skip
    """(hidden states of the last layer, final states): the whole network.

    Args:
        input: shape (L, N, H_in), (N, L, H_in) with `batch_first`, or (L, H_in).
        states: the initial ones, or none for zeros.
        weights: for each layer and direction w_ih, w_hh, b_ih and b_hh with `has_biases`, w_hr with a projection.
        masks: what dropout keeps of the output of each layer but the last, or none.
        lengths: how many steps of each sequence count. Default: all.
        keep: the probability with which dropout keeps.
    """
    cell, directions = _CELLS[kind], 2 if bidirectional else 1
    each = 4 if has_biases else 2
    projects = len(weights) == num_layers * directions * (each + 1) and kind == "lstm"
    each += projects
    if len(weights) != num_layers * directions * each:
        raise ArgumentError(f"{cell.layer} with {num_layers} layers in {directions} directions takes {num_layers * directions * each} weights, got {len(weights)}")
    batched = input.ndim == 3
    _check(cell, input, states, weights, num_layers * directions, batch_first, lengths is not None)
    if not batched:
        input, states = input[:, None], [s[:, None] for s in states]
    elif batch_first:
        input = jnp.swapaxes(input, 0, 1)
    if not states:
        widths = [weights[1].shape[1]] + ([weights[1].shape[0] // 4] if kind == "lstm" else [])
        states = [jnp.zeros((num_layers * directions, input.shape[1], width), input.dtype) for width in widths]
    valid = None if lengths is None else jnp.arange(input.shape[0])[:, None, None] < lengths[:, None]
    final = []
    for layer in range(num_layers):
        outputs = []
        for direction in range(directions):
            number = layer * directions + direction
            own = weights[number * each : (number + 1) * each]
            w_hr = own[-1] if projects else None
            inputs, steps_weights = _prepare(cell, input, own[0], own[1], *(own[2:4] if has_biases else (None, None)), w_hr)
            output, after = _run(cell, direction == 1, inputs, steps_weights, tuple(s[number] for s in states), valid)
            outputs.append(output)
            final.append(after)
        input = outputs[0] if directions == 1 else jnp.concatenate(outputs, -1)
        if masks and layer < num_layers - 1:
            input = jnp.where(masks[layer], input * np.asarray(1 / keep if keep else 0, input.dtype), 0)
    states = [jnp.stack(s) for s in zip(*final, strict=True)]
    if not batched:
        return input[:, 0], *(s[:, 0] for s in states)
    return jnp.swapaxes(input, 0, 1) if batch_first else input, *states


def _check(cell: _Cell, input: Array, states: Sequence[Array], weights: Sequence[Array], count: int, batch_first: bool, packed: bool) -> None:
    """Raise PyTorch's errors for shapes and dtypes that do not fit."""
    if input.ndim not in (2, 3):
        raise ArgumentError(f"{cell.layer}: Expected input to be 2D or 3D, got {input.ndim}D instead: shape {tuple(input.shape)}")
    w_ih, w_hh = weights[:2]
    if input.dtype != w_ih.dtype:
        raise ArgumentError(
            f"RNN input dtype ({input.dtype}) does not match weight dtype ({w_ih.dtype}). "
            f"Convert input: input.to(nr.{w_ih.dtype}), or convert model: model.to(nr.{input.dtype})"
        )
    if input.shape[-1] != w_ih.shape[1]:
        raise ShapeError(f"input.size(-1) must be equal to input_size. Expected {w_ih.shape[1]}, got {input.shape[-1]}: input of shape {tuple(input.shape)}")
    steps = input.shape[1] if batch_first and input.ndim == 3 else input.shape[0]
    if steps == 0:
        raise ShapeError(f"Expected sequence length to be larger than 0 in RNN: input of shape {tuple(input.shape)}")
    batch = () if input.ndim == 2 else (input.shape[0 if batch_first else 1],)
    widths = (w_hh.shape[1], w_hh.shape[0] // len(cell.factors))
    for i, (state, width) in enumerate(zip(states, widths, strict=False)):
        if not packed and state.ndim != input.ndim:
            form = "batched 3-D" if input.ndim == 3 else "unbatched 2-D"
            raise ShapeError(f"For {form} input, hx should also be {input.ndim}-D but got {state.ndim}-D tensor: shape {tuple(state.shape)}")
        if tuple(state.shape) != (count, *batch, width):
            name = f"hidden[{i}]" if cell.layer == "LSTM" else "hidden"
            raise ShapeError(f"Expected {name} size {(count, *batch, width)}, got {list(state.shape)}")
        if state.dtype != input.dtype:
            raise DtypeError(f"{cell.layer}: the input is {input.dtype} and the initial state {state.dtype}; write hx.to(nr.{input.dtype})")


# --- packed sequences ------------------------------------------------------------------------------------------------
# A packed batch holds the steps of all sequences one after the other, of each step only those sequences that last so long. The scan runs over a padded batch.


@op(name="_rows", method=False, linear=True)
def rows(input: Array, index: Array, fill: Array | float, merged: int = 1) -> Array:
    """The slices of `input` along its first dimensions, of which `merged` count as one, that an integer array names, and `fill` where it is negative."""
    input = input.reshape(-1, *input.shape[merged:])
    found = input.at[jnp.maximum(index, 0)].get(mode="promise_in_bounds")
    return jnp.where((index >= 0).reshape(index.shape + (1,) * (input.ndim - 1)), found, lax.convert_element_type(fill, input.dtype))


@op(name="_padded_stack", method=False, linear=True)
def padded_stack(sequences: Sequence[Array], batch_first: bool, fill: float, left: bool) -> Array:
    """Sequences padded to the longest, and stacked; in the dtype of the first."""
    dtype, longest = sequences[0].dtype, max(s.shape[0] for s in sequences)
    padded = []
    for s in sequences:
        missing = longest - s.shape[0]
        widths = [(missing, 0) if left else (0, missing)] + [(0, 0)] * (s.ndim - 1)
        padded.append(jnp.pad(cast(s, dtype), widths, constant_values=np.asarray(fill).astype(dtype)))
    return jnp.stack(padded, 0 if batch_first else 1)


def concrete_sizes(batch_sizes: Any) -> np.ndarray:
    """The batch sizes of a packed sequence as a NumPy array."""
    if isinstance(batch_sizes, Tensor):
        return batch_sizes._concrete("a packed sequence", "Its batch sizes decide the shapes: pass the whole PackedSequence to the compiled function.")
    return np.asarray(batch_sizes)


def places_of_padded(batch_sizes: np.ndarray, steps: int) -> np.ndarray:
    """For each place of a padded batch, shape (steps, N), the row of the packed data that belongs there; -1 where there is none."""
    starts = np.cumsum(batch_sizes) - batch_sizes
    sequence = np.arange(batch_sizes[0])
    places = np.where(sequence < batch_sizes[:, None], starts[:, None] + sequence, -1)
    return np.concatenate([places, np.full((steps - len(batch_sizes), batch_sizes[0]), -1)])


def places_of_packed(batch_sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each row of the packed data, its step and its sequence."""
    step = np.repeat(np.arange(len(batch_sizes)), batch_sizes)
    return step, np.arange(len(step)) - (np.cumsum(batch_sizes) - batch_sizes)[step]


def _rounded(steps: int) -> int:
    """At most an eighth more steps, so that batches whose longest sequences differ a little share a compiled network."""
    grain = 1 << max(steps.bit_length() - 4, 0)
    return -(-steps // grain) * grain


# --- functions -------------------------------------------------------------------------------------------------------


def network(
    kind: str, input: Tensor, batch_sizes: Any, states: Sequence[Any], params: Sequence[Any], has_biases: bool, num_layers: int, dropout: float, train: bool,
    bidirectional: bool, batch_first: bool,
) -> tuple[Tensor, ...]:  # fmt: skip
    """Run a network over sequences, packed ones where there are batch sizes. Returns the output and the final states."""
    lengths = sizes = None
    if batch_sizes is not None:
        sizes = concrete_sizes(batch_sizes)
        if input.dim() != 2:
            raise ShapeError(f"input must have 2 dimensions, got {input.dim()}: the data of a packed sequence is (all steps, features), got {tuple(input.shape)}")
        steps = len(sizes) if isinstance(input._value, jax.core.Tracer) else _rounded(len(sizes))
        lengths = np.sum(np.arange(sizes[0])[:, None] < sizes, -1)
        input, batch_first = rows(input, places_of_padded(sizes, steps), 0.0), False
    masks = []
    if train and dropout and num_layers > 1:
        leading = tuple(input.shape[:-1]) if input.dim() == 3 else (input.shape[0], 1)
        shape = (*(reversed(leading) if batch_first and input.dim() == 3 else leading), params[1].shape[1] * (2 if bidirectional else 1))
        masks = [draw(dropout_mask, None, shape, 1.0 - dropout) for _ in range(num_layers - 1)]
    keep = 1.0 - dropout if masks else 1.0
    output, *states = _recurrent(input, states, params, masks, lengths, kind, has_biases, num_layers, bidirectional, batch_first, keep)
    if sizes is not None:
        step, sequence = places_of_packed(sizes)
        output = rows(output, step * sizes[0] + sequence, 0.0, 2)
    return output, *states


def _called(kind: str, input: Tensor, *arguments: Any) -> tuple[Tensor, ...]:
    """Tell apart PyTorch's two signatures: that for packed sequences has the batch sizes in the second place, and no `batch_first`."""
    packed = isinstance(arguments[2], list | tuple)
    batch_sizes, (hx, params, has_biases, num_layers, dropout, train, bidirectional) = (arguments[0], arguments[1:]) if packed else (None, arguments[:7])
    states = tuple(hx) if kind == "lstm" else (hx,)
    return network(kind, input, batch_sizes, states, params, has_biases, num_layers, float(dropout), train, bidirectional, not packed and arguments[7])


def rnn_tanh(
    input: Tensor, hx: Tensor, params: Any, has_biases: Any, num_layers: Any, dropout: Any, train: Any, bidirectional: bool, batch_first: bool = False
) -> tuple[Tensor, ...]:  # fmt: skip
    """What `nr.nn.RNN` computes, as a function: ``h' = tanh(W x + b + U h + c)`` at every step (Elman, 1990).

    A packed sequence is given by its data and its batch sizes: ``rnn_tanh(data, batch_sizes, hx, params, has_biases, num_layers, dropout, train, bidirectional)``.

    Args:
        input: shape (L, N, H_in), or (N, L, H_in) with `batch_first`.
        hx: the initial states, shape (directions * num_layers, N, H).
        params: the weights: w_ih, w_hh, and with `has_biases` b_ih, b_hh, for each layer and direction.
        has_biases: whether there are biases.
        num_layers: how many layers stand one on another.
        dropout: probability with which an element of the output of a layer, the last aside, is dropped.
        train: whether to drop.
        bidirectional: whether each layer runs in both directions.
        batch_first: whether input and output have the batch in front.

    Returns:
        (output of the last layer, shape (L, N, directions * H); final states, of the shape of `hx`).

    Examples:
        >>> import neurarust_jax as nr
        >>> weights = [nr.ones(2, 3), nr.ones(2, 2)]
        >>> output, state = nr.rnn_relu(nr.ones(4, 1, 3), nr.zeros(1, 1, 2), weights, False, 1, 0.0, False, False)
        >>> output[:2, 0]
        tensor([[3., 3.],
                [9., 9.]])
    """
    return _called("rnn_tanh", input, hx, params, has_biases, num_layers, dropout, train, bidirectional, batch_first)


def rnn_relu(
    input: Tensor, hx: Tensor, params: Any, has_biases: Any, num_layers: Any, dropout: Any, train: Any, bidirectional: bool, batch_first: bool = False
) -> tuple[Tensor, ...]:  # fmt: skip
    """``h' = relu(W x + b + U h + c)`` at every step. Arguments are those of `rnn_tanh`."""
    return _called("rnn_relu", input, hx, params, has_biases, num_layers, dropout, train, bidirectional, batch_first)


def lstm(
    input: Tensor, hx: Any, params: Any, has_biases: Any, num_layers: Any, dropout: Any, train: Any, bidirectional: bool, batch_first: bool = False
) -> tuple[Tensor, ...]:  # fmt: skip
    """What `nr.nn.LSTM` computes, as a function. Arguments are those of `rnn_tanh`, except:

    Args:
        hx: the initial hidden and cell states.
        params: with a projection, w_hr comes last for each layer and direction.

    Returns:
        (output, final hidden states, final cell states).
    """
    return _called("lstm", input, hx, params, has_biases, num_layers, dropout, train, bidirectional, batch_first)


def gru(
    input: Tensor, hx: Tensor, params: Any, has_biases: Any, num_layers: Any, dropout: Any, train: Any, bidirectional: bool, batch_first: bool = False
) -> tuple[Tensor, ...]:  # fmt: skip
    """What `nr.nn.GRU` computes, as a function. Arguments are those of `rnn_tanh`."""
    return _called("gru", input, hx, params, has_biases, num_layers, dropout, train, bidirectional, batch_first)


# --- single steps ----------------------------------------------------------------------------------------------------


@op(name="_recurrent_cell", method=False)
def one_step(
    input: Array, states: Sequence[Array], w_ih: Array, w_hh: Array, b_ih: Array | None, b_hh: Array | None, kind: str
) -> tuple[Array, ...]:
    """The states after one step; no states given are zeros."""
    cell, width = _CELLS[kind], w_hh.shape[1]
    name, gates = f"{cell.layer}Cell", len(cell.factors)
    if input.ndim not in (1, 2):
        raise ArgumentError(f"{name}: Expected input to be 1D or 2D, got {input.ndim}D instead: shape {tuple(input.shape)}")
    for i, state in enumerate(states):
        if state.ndim not in (1, 2):
            raise ArgumentError(f"{name}: Expected {f'hx[{i}]' if kind == 'lstm' else 'hidden'} to be 1D or 2D, got {state.ndim}D instead")
    if input.shape[-1] != w_ih.shape[1]:
        raise ShapeError(f"input has inconsistent input_size: got {input.shape[-1]} expected {w_ih.shape[1]}")
    for i, state in enumerate(states):
        if state.shape[-1] != width:
            raise ShapeError(f"hidden{i} has inconsistent hidden_size: got {state.shape[-1]}, expected {width}")
        if state.shape[:-1] != input.shape[:-1]:
            sizes = [x.shape[0] if x.ndim == 2 else "none" for x in (input, state)]
            raise ShapeError(f"Input batch size {sizes[0]} doesn't match hidden{i} batch size {sizes[1]}")
    if w_ih.shape[0] != gates * width or w_hh.shape[0] != gates * width:
        raise ShapeError(f"{name}: the weights have {w_ih.shape[0]} and {w_hh.shape[0]} rows, expected {gates} * {width}")
    require_same_dtype(name, input=input, **{f"hx{i}": s for i, s in enumerate(states)}, w_ih=w_ih, w_hh=w_hh)
    if not states:
        states = (jnp.zeros((*input.shape[:-1], width), input.dtype),) * (2 if kind == "lstm" else 1)
    inputs, weights = _prepare(cell, input, w_ih, w_hh, b_ih, b_hh)
    return cell.step(inputs, tuple(states), weights)[0]


def rnn_tanh_cell(input: Tensor, hx: Any, w_ih: Any, w_hh: Any, b_ih: Any = None, b_hh: Any = None) -> Tensor:
    """One step of an Elman network: ``tanh(W x + b + U h + c)``.

    Args:
        input: shape (N, H_in) or (H_in).
        hx: the state, shape (N, H) or (H).
        w_ih, w_hh: shapes (H, H_in) and (H, H).
        b_ih, b_hh: shape (H).

    Returns:
        The new state.

    Raises:
        RuntimeError: shapes do not fit, or dtypes differ.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.rnn_tanh_cell(nr.ones(3), nr.zeros(2), nr.zeros(2, 3), nr.ones(2, 2))
        tensor([0., 0.])
    """
    return one_step(input, () if hx is None else (hx,), w_ih, w_hh, b_ih, b_hh, "rnn_tanh")[0]


def rnn_relu_cell(input: Tensor, hx: Any, w_ih: Any, w_hh: Any, b_ih: Any = None, b_hh: Any = None) -> Tensor:
    """One step of an Elman network with ReLU. See `rnn_tanh_cell`."""
    return one_step(input, () if hx is None else (hx,), w_ih, w_hh, b_ih, b_hh, "rnn_relu")[0]


def lstm_cell(input: Tensor, hx: Any, w_ih: Any, w_hh: Any, b_ih: Any = None, b_hh: Any = None) -> tuple[Tensor, Tensor]:
    """One step of an LSTM: the new hidden and cell states.

    Args:
        input: shape (N, H_in) or (H_in).
        hx: hidden and cell state, both of shape (N, H) or (H).
        w_ih, w_hh: shapes (4 * H, H_in) and (4 * H, H): rows of the input, forget, cell and output gate.
        b_ih, b_hh: shape (4 * H).

    Raises:
        RuntimeError: shapes do not fit, or dtypes differ.
    """
    return one_step(input, () if hx is None else tuple(hx), w_ih, w_hh, b_ih, b_hh, "lstm")


def gru_cell(input: Tensor, hx: Any, w_ih: Any, w_hh: Any, b_ih: Any = None, b_hh: Any = None) -> Tensor:
    """One step of a GRU: the new state.

    Args:
        input: shape (N, H_in) or (H_in).
        hx: the state, shape (N, H) or (H).
        w_ih, w_hh: shapes (3 * H, H_in) and (3 * H, H): rows of the reset, update and new gate.
        b_ih, b_hh: shape (3 * H).

    Raises:
        RuntimeError: shapes do not fit, or dtypes differ.
    """
    return one_step(input, () if hx is None else (hx,), w_ih, w_hh, b_ih, b_hh, "gru")[0]
