"""Recurrent layers, and cells that make one step of them."""

from __future__ import annotations

import functools
import math
import warnings
from typing import Any

from ..errors import ArgumentError, ArgumentTypeError, ShapeError
from ..ops import recurrent as ops
from ..ops.creation import empty
from ..parameter import Parameter
from ..tensor import Tensor
from . import init
from .module import Module
from .utils.rnn import PackedSequence

__all__ = ["GRU", "GRUCell", "LSTM", "LSTMCell", "RNN", "RNNBase", "RNNCell", "RNNCellBase"]

_KINDS = {"RNN_TANH": "rnn_tanh", "RNN_RELU": "rnn_relu", "LSTM": "lstm", "GRU": "gru"}
_GATES = {"RNN_TANH": 1, "RNN_RELU": 1, "LSTM": 4, "GRU": 3}


@functools.cache
def _weight_names(num_layers: int, bidirectional: bool, bias: bool, projects: bool) -> tuple[tuple[str, ...], ...]:
    """The names of the parameters of each layer and direction."""
    kinds = ["weight_ih", "weight_hh", *(["bias_ih", "bias_hh"] if bias else []), *(["weight_hr"] if projects else [])]
    directions = ("", "_reverse") if bidirectional else ("",)
    return tuple(tuple(f"{kind}_l{layer}{direction}" for kind in kinds) for layer in range(num_layers) for direction in directions)


class RNNBase(Module):
    """What recurrent layers share.

    Args:
        mode: `"RNN_TANH"`, `"RNN_RELU"`, `"LSTM"` or `"GRU"`.
        input_size: size of the input at each step.
        hidden_size: size of the hidden state.
        num_layers: how many layers stand one on another. Default: 1.
        bias: whether to learn biases. Default: `True`.
        batch_first: whether input and output have the batch in front. Default: `False`.
        dropout: probability with which in training an element of the output of a layer, the last aside, is dropped. Default: 0.
        bidirectional: whether each layer runs in both directions. Default: `False`.
        proj_size: size that an LSTM's hidden state is projected to; 0 for no projection. Default: 0.
        device, dtype: of the parameters.
    """

    def __init__(
        self, mode: str, input_size: int, hidden_size: int, num_layers: int = 1, bias: bool = True, batch_first: bool = False, dropout: float = 0.0,
        bidirectional: bool = False, proj_size: int = 0, device: Any = None, dtype: Any = None,
    ):  # fmt: skip
        super().__init__()
        if isinstance(dropout, bool) or not isinstance(dropout, int | float) or not 0 <= dropout <= 1:
            raise ArgumentError(f"dropout should be a number in range [0, 1] representing the probability of an element being zeroed, got {dropout!r}")
        if dropout > 0 and num_layers == 1:
            warnings.warn(
                "dropout option adds dropout after all but last recurrent layer, so non-zero dropout expects "
                f"num_layers greater than 1, but got dropout={dropout} and num_layers={num_layers}",
                stacklevel=3,
            )
        for name, value, kind in (("bias", bias, bool), ("batch_first", batch_first, bool), ("input_size", input_size, int), ("hidden_size", hidden_size, int)):
            if not isinstance(value, kind):
                raise ArgumentTypeError(f"{name} should be of type {kind.__name__}, got: {type(value).__name__}")
        for name, value in (("input_size", input_size), ("hidden_size", hidden_size), ("num_layers", num_layers)):
            if value <= 0:
                raise ArgumentError(f"{name} must be greater than zero, got {value}")
        if proj_size < 0:
            raise ArgumentError(f"proj_size should be a positive integer or zero to disable projections, got {proj_size}")
        if proj_size >= hidden_size:
            raise ArgumentError(f"proj_size has to be smaller than hidden_size, got {proj_size} and {hidden_size}")
        if mode not in _KINDS:
            raise ArgumentError(f"Unrecognized RNN mode: {mode}; expected one of {', '.join(_KINDS)}")
        self.mode = mode
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.bias = bias
        self.batch_first = batch_first
        self.dropout = float(dropout)
        self.bidirectional = bidirectional
        self.proj_size = proj_size
        rows, out, directions = _GATES[mode] * hidden_size, proj_size or hidden_size, 2 if bidirectional else 1
        for number, names in enumerate(_weight_names(num_layers, bool(bidirectional), bias, proj_size > 0)):
            shapes = {
                "weight_ih": (rows, input_size if number < directions else out * directions), "weight_hh": (rows, out), "weight_hr": (proj_size, hidden_size),
                "bias_ih": (rows,), "bias_hh": (rows,),
            }  # fmt: skip
            for name in names:
                self.register_parameter(name, Parameter(empty(shapes[name.partition("_l")[0]], device=device, dtype=dtype)))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the parameters anew."""
        bound = 1.0 / math.sqrt(self.hidden_size)
        for parameter in self.parameters():
            init.uniform_(parameter, -bound, bound)

    def flatten_parameters(self) -> None:
        """Nothing: PyTorch lays the parameters out for cuDNN here, and XLA chooses layouts by itself."""

    @property
    def all_weights(self) -> list[list[Any]]:
        """The parameters of each layer and direction."""
        return [[getattr(self, name) for name in names] for names in _weight_names(self.num_layers, bool(self.bidirectional), self.bias, self.proj_size > 0)]

    @property
    def _flat_weights(self) -> list[Any]:
        return [weight for weights in self.all_weights for weight in weights]

    def _run(self, input: Any, states: tuple[Any, ...]) -> tuple[Any, ...]:
        """The output, packed if the input is, and the final states."""
        options = (self._flat_weights, self.bias, self.num_layers, self.dropout, self.training, bool(self.bidirectional))
        if not isinstance(input, PackedSequence):
            return ops.network(_KINDS[self.mode], input, None, states, *options, self.batch_first)
        data, batch_sizes, order, back = input
        if order is not None:
            if any(s.dim() != 3 for s in states):
                raise ShapeError(f"For a packed sequence, hx should be 3-D but got {[s.dim() for s in states]}-D tensors")
            states = tuple(s.index_select(1, order) for s in states)
        output, *after = ops.network(_KINDS[self.mode], data, batch_sizes, states, *options, False)
        if back is not None:
            after = [s.index_select(1, back) for s in after]
        return PackedSequence(output, batch_sizes, order, back), *after

    def forward(self, input: Any, hx: Any = None) -> tuple[Any, Any]:
        return self._run(input, () if hx is None else (hx,))  # type: ignore[return-value]

    def extra_repr(self) -> str:
        shown = [f"{self.input_size}, {self.hidden_size}"]
        usual = {"proj_size": 0, "num_layers": 1, "bias": True, "batch_first": False, "dropout": 0, "bidirectional": False}
        shown += [f"{name}={getattr(self, name)}" for name, value in usual.items() if getattr(self, name) != value]
        return ", ".join(shown)


class RNN(RNNBase):
    r"""Elman network (Elman, 1990): at every step ``h' = tanh(W x + b + U h + c)``.

    Args:
        input_size: size of the input at each step.
        hidden_size: size of the hidden state.
        num_layers: how many layers stand one on another: each takes the hidden states of the one below. Default: 1.
        nonlinearity: `"tanh"` or `"relu"`. Default: `"tanh"`.
        bias: whether to learn b and c. Default: `True`.
        batch_first: whether input and output have the batch in front; the states have not. Default: `False`.
        dropout: probability with which in training an element of the output of a layer, the last aside, is dropped. Default: 0.
        bidirectional: whether each layer runs in both directions. Default: `False`.
        device, dtype: of the parameters.

    Shape:
        - Input: (L, N, H_in), with `batch_first` (N, L, H_in), without a batch (L, H_in); or a `PackedSequence`.
        - Initial state: (D \* num_layers, N, H_out), zeros if it is not given. D is 2 with `bidirectional`, else 1.
        - Output: (L, N, D \* H_out), with `batch_first` (N, L, D \* H_out), without a batch (L, D \* H_out), or packed: the last layer's hidden states.
        - Final state: as the initial one.

    Attributes:
        weight_ih_l[k]: shape (hidden_size, input_size), above the first layer (hidden_size, D \* hidden_size); drawn, as all parameters, from
            U(-s, s) with ``s = sqrt(1 / hidden_size)``. The other direction's are named weight_ih_l[k]_reverse, and likewise below.
        weight_hh_l[k]: shape (hidden_size, hidden_size).
        bias_ih_l[k], bias_hh_l[k]: shape (hidden_size).

    Examples:
        >>> import neurarust_jax as nr
        >>> output, state = nr.nn.RNN(10, 20, num_layers=2)(nr.randn(5, 3, 10))
        >>> output.shape, state.shape
        (neurarust_jax.Size([5, 3, 20]), neurarust_jax.Size([2, 3, 20]))
    """

    def __init__(
        self, input_size: int, hidden_size: int, num_layers: int = 1, nonlinearity: str = "tanh", bias: bool = True, batch_first: bool = False,
        dropout: float = 0.0, bidirectional: bool = False, device: Any = None, dtype: Any = None, **kwargs: Any,
    ):  # fmt: skip
        _refuse_projection(kwargs)
        if nonlinearity not in ("tanh", "relu"):
            raise ArgumentError(f"Unknown nonlinearity '{nonlinearity}'. Select from 'tanh' or 'relu'.")
        mode = f"RNN_{nonlinearity.upper()}"
        super().__init__(mode, input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, 0, device, dtype)
        self.nonlinearity = nonlinearity


class LSTM(RNNBase):
    r"""Long short-term memory (Hochreiter and Schmidhuber, 1997; Gers et al., 2000). At every step, with the sums of products and biases split into four gates::

        i, f, g, o = W x + b + U h + c
        cell' = sigmoid(f) * cell + sigmoid(i) * tanh(g)
        h' = sigmoid(o) * tanh(cell')

    With a projection (Sak et al., 2014) the hidden state is ``R (sigmoid(o) * tanh(cell'))``.

    Args:
        input_size: size of the input at each step.
        hidden_size: size of the cell state, and without a projection of the hidden state.
        num_layers: how many layers stand one on another: each takes the hidden states of the one below. Default: 1.
        bias: whether to learn b and c. Default: `True`.
        batch_first: whether input and output have the batch in front; the states have not. Default: `False`.
        dropout: probability with which in training an element of the output of a layer, the last aside, is dropped. Default: 0.
        bidirectional: whether each layer runs in both directions. Default: `False`.
        proj_size: size that the hidden state is projected to; 0 for no projection. Default: 0.
        device, dtype: of the parameters.

    Shape:
        - Input: (L, N, H_in), with `batch_first` (N, L, H_in), without a batch (L, H_in); or a `PackedSequence`.
        - Initial states: a pair, hidden (D \* num_layers, N, H_out) and cell (D \* num_layers, N, hidden_size), zeros if they are not given. D is 2
          with `bidirectional`, else 1; H_out is `proj_size` if there is a projection, else `hidden_size`.
        - Output: (L, N, D \* H_out), with `batch_first` (N, L, D \* H_out), without a batch (L, D \* H_out), or packed: the last layer's hidden states.
        - Final states: a pair, as the initial ones.

    Attributes:
        weight_ih_l[k]: shape (4 \* hidden_size, input_size), above the first layer (4 \* hidden_size, D \* H_out); drawn, as all parameters, from
            U(-s, s) with ``s = sqrt(1 / hidden_size)``. The other direction's are named weight_ih_l[k]_reverse, and likewise below.
        weight_hh_l[k]: shape (4 \* hidden_size, H_out).
        bias_ih_l[k], bias_hh_l[k]: shape (4 \* hidden_size).
        weight_hr_l[k]: shape (proj_size, hidden_size), with a projection only.

    Examples:
        >>> import neurarust_jax as nr
        >>> output, (hidden, cell) = nr.nn.LSTM(10, 20, proj_size=5)(nr.randn(5, 3, 10))
        >>> output.shape, hidden.shape, cell.shape
        (neurarust_jax.Size([5, 3, 5]), neurarust_jax.Size([1, 3, 5]), neurarust_jax.Size([1, 3, 20]))
    """

    def __init__(
        self, input_size: int, hidden_size: int, num_layers: int = 1, bias: bool = True, batch_first: bool = False, dropout: float = 0.0,
        bidirectional: bool = False, proj_size: int = 0, device: Any = None, dtype: Any = None,
    ):  # fmt: skip
        super().__init__("LSTM", input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, proj_size, device, dtype)

    def forward(self, input: Any, hx: Any = None) -> tuple[Any, tuple[Tensor, Tensor]]:
        output, *states = self._run(input, () if hx is None else tuple(hx))
        return output, tuple(states)


class GRU(RNNBase):
    r"""Gated recurrent unit (Cho et al., 2014). At every step, with W, U and the biases split into three gates::

        r = sigmoid(W_r x + b_r + U_r h + c_r)
        z = sigmoid(W_z x + b_z + U_z h + c_z)
        n = tanh(W_n x + b_n + r * (U_n h + c_n))
        h' = (1 - z) * n + z * h

    Args:
        input_size: size of the input at each step.
        hidden_size: size of the hidden state.
        num_layers: how many layers stand one on another: each takes the hidden states of the one below. Default: 1.
        bias: whether to learn b and c. Default: `True`.
        batch_first: whether input and output have the batch in front; the states have not. Default: `False`.
        dropout: probability with which in training an element of the output of a layer, the last aside, is dropped. Default: 0.
        bidirectional: whether each layer runs in both directions. Default: `False`.
        device, dtype: of the parameters.

    Shape:
        - Input: (L, N, H_in), with `batch_first` (N, L, H_in), without a batch (L, H_in); or a `PackedSequence`.
        - Initial state: (D \* num_layers, N, hidden_size), zeros if it is not given. D is 2 with `bidirectional`, else 1.
        - Output: (L, N, D \* hidden_size), with `batch_first` (N, L, D \* hidden_size), without a batch (L, D \* hidden_size), or packed: the last
          layer's hidden states.
        - Final state: as the initial one.

    Attributes:
        weight_ih_l[k]: shape (3 \* hidden_size, input_size), above the first layer (3 \* hidden_size, D \* hidden_size); drawn, as all parameters, from
            U(-s, s) with ``s = sqrt(1 / hidden_size)``. The other direction's are named weight_ih_l[k]_reverse, and likewise below.
        weight_hh_l[k]: shape (3 \* hidden_size, hidden_size).
        bias_ih_l[k], bias_hh_l[k]: shape (3 \* hidden_size).

    Examples:
        >>> import neurarust_jax as nr
        >>> output, state = nr.nn.GRU(10, 20, bidirectional=True)(nr.randn(5, 3, 10))
        >>> output.shape, state.shape
        (neurarust_jax.Size([5, 3, 40]), neurarust_jax.Size([2, 3, 20]))
    """

    def __init__(
        self, input_size: int, hidden_size: int, num_layers: int = 1, bias: bool = True, batch_first: bool = False, dropout: float = 0.0,
        bidirectional: bool = False, device: Any = None, dtype: Any = None, **kwargs: Any,
    ):  # fmt: skip
        _refuse_projection(kwargs)
        super().__init__("GRU", input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, 0, device, dtype)


def _refuse_projection(named: dict[str, Any]) -> None:
    if "proj_size" in named:
        raise ArgumentError("proj_size argument is only supported for LSTM, not RNN or GRU")
    if named:
        raise ArgumentTypeError(f"got an unexpected keyword argument {next(iter(named))!r}")


# --- cells -----------------------------------------------------------------------------------------------------------


class RNNCellBase(Module):
    """What the cells share.

    Args:
        input_size: size of the input.
        hidden_size: size of the state.
        bias: whether to learn biases.
        num_chunks: the number of gates.
        device, dtype: of the parameters.
    """

    def __init__(self, input_size: int, hidden_size: int, bias: bool, num_chunks: int, device: Any = None, dtype: Any = None):
        super().__init__()
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.bias = bias
        rows = num_chunks * hidden_size
        shapes = {"weight_ih": (rows, input_size), "weight_hh": (rows, hidden_size), "bias_ih": (rows,), "bias_hh": (rows,)}
        for name, shape in shapes.items():
            self.register_parameter(name, Parameter(empty(shape, device=device, dtype=dtype)) if bias or name.startswith("weight") else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the parameters anew."""
        bound = 1.0 / math.sqrt(self.hidden_size) if self.hidden_size > 0 else 0
        for parameter in self.parameters():
            init.uniform_(parameter, -bound, bound)

    def _step(self, kind: str, input: Tensor, states: tuple[Any, ...]) -> tuple[Tensor, ...]:
        return ops.one_step(input, states, self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh, kind)

    def extra_repr(self) -> str:
        shown = f"{self.input_size}, {self.hidden_size}"
        if self.bias is not True:
            shown += f", bias={self.bias}"
        return shown if getattr(self, "nonlinearity", "tanh") == "tanh" else f"{shown}, nonlinearity={self.nonlinearity}"


class RNNCell(RNNCellBase):
    r"""One step of an Elman network: ``h' = tanh(W x + b + U h + c)``.

    Args:
        input_size: size of the input.
        hidden_size: size of the state.
        bias: whether to learn b and c. Default: `True`.
        nonlinearity: `"tanh"` or `"relu"`. Default: `"tanh"`.
        device, dtype: of the parameters.

    Shape:
        - Input: (N, input_size) or (input_size).
        - State: (N, hidden_size) or (hidden_size), zeros if it is not given.
        - Output: the new state, of that shape.

    Attributes:
        weight_ih: shape (hidden_size, input_size), drawn, as all parameters, from U(-s, s) with ``s = sqrt(1 / hidden_size)``.
        weight_hh: shape (hidden_size, hidden_size).
        bias_ih, bias_hh: shape (hidden_size).

    Examples:
        >>> import neurarust_jax as nr
        >>> cell, state = nr.nn.RNNCell(10, 20), None
        >>> for x in nr.randn(6, 3, 10):
        ...     state = cell(x, state)
        >>> state.shape
        neurarust_jax.Size([3, 20])
    """

    def __init__(self, input_size: int, hidden_size: int, bias: bool = True, nonlinearity: str = "tanh", device: Any = None, dtype: Any = None):
        super().__init__(input_size, hidden_size, bias, 1, device, dtype)
        self.nonlinearity = nonlinearity

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        if self.nonlinearity not in ("tanh", "relu"):
            raise ShapeError(f"Unknown nonlinearity: {self.nonlinearity}; expected 'tanh' or 'relu'")
        return self._step(f"rnn_{self.nonlinearity}", input, () if hx is None else (hx,))[0]


class LSTMCell(RNNCellBase):
    r"""One step of an LSTM; the formulas are those of `LSTM`.

    Args:
        input_size: size of the input.
        hidden_size: size of the states.
        bias: whether to learn biases. Default: `True`.
        device, dtype: of the parameters.

    Shape:
        - Input: (N, input_size) or (input_size).
        - States: a pair, hidden and cell state, each (N, hidden_size) or (hidden_size), zeros if they are not given.
        - Output: the pair of new states.

    Attributes:
        weight_ih: shape (4 \* hidden_size, input_size), drawn, as all parameters, from U(-s, s) with ``s = sqrt(1 / hidden_size)``.
        weight_hh: shape (4 \* hidden_size, hidden_size).
        bias_ih, bias_hh: shape (4 \* hidden_size).
    """

    def __init__(self, input_size: int, hidden_size: int, bias: bool = True, device: Any = None, dtype: Any = None):
        super().__init__(input_size, hidden_size, bias, 4, device, dtype)

    def forward(self, input: Tensor, hx: Any = None) -> tuple[Tensor, Tensor]:
        return self._step("lstm", input, () if hx is None else tuple(hx))  # type: ignore[return-value]


class GRUCell(RNNCellBase):
    r"""One step of a GRU; the formulas are those of `GRU`.

    Args:
        input_size: size of the input.
        hidden_size: size of the state.
        bias: whether to learn biases. Default: `True`.
        device, dtype: of the parameters.

    Shape:
        - Input: (N, input_size) or (input_size).
        - State: (N, hidden_size) or (hidden_size), zeros if it is not given.
        - Output: the new state, of that shape.

    Attributes:
        weight_ih: shape (3 \* hidden_size, input_size), drawn, as all parameters, from U(-s, s) with ``s = sqrt(1 / hidden_size)``.
        weight_hh: shape (3 \* hidden_size, hidden_size).
        bias_ih, bias_hh: shape (3 \* hidden_size).
    """

    def __init__(self, input_size: int, hidden_size: int, bias: bool = True, device: Any = None, dtype: Any = None):
        super().__init__(input_size, hidden_size, bias, 3, device, dtype)

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        return self._step("gru", input, () if hx is None else (hx,))[0]
