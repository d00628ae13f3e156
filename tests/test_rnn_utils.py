"""Packed and padded sequences, and recurrent networks on them, against PyTorch."""

import copy
import pickle

import numpy as np
import pytest
import torch
from torch.nn.utils import rnn as theirs

import neurarust_jax as nr
from neurarust_jax.nn.utils import rnn as ours
from tests.oracle import assert_same, check, check_both_raise, to_nr, to_torch

G = np.random.default_rng(0)
LENGTHS = [3, 5, 1, 3]


def normal(*shape):
    return G.standard_normal(shape).astype(np.float32)


def sequences(*trailing):
    return [normal(length, *trailing) for length in LENGTHS]


def same(a, b):
    """The fields of two packed sequences agree."""
    assert type(a).__name__ == type(b).__name__ == "PackedSequence"
    for x, y in zip(a, b, strict=True):
        assert (x is None) == (y is None)
        if y is not None:
            assert_same(x, y)


# --- packing ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("trailing", [(), (2,), (2, 3)])
def test_packing_and_padding_again(trailing, batch_first):
    x = normal(*((4, 6) if batch_first else (6, 4)), *trailing)
    a = ours.pack_padded_sequence(nr.tensor(x), LENGTHS, batch_first, enforce_sorted=False)
    b = theirs.pack_padded_sequence(torch.tensor(x), torch.tensor(LENGTHS), batch_first, enforce_sorted=False)
    same(a, b)
    assert repr(type(a)(nr.tensor([1.0]), nr.tensor([1]))) == "PackedSequence(data=tensor([1.]), batch_sizes=tensor([1]), sorted_indices=None, unsorted_indices=None)"
    for options in ({}, {"batch_first": not batch_first, "padding_value": -1.5}, {"total_length": 7}):
        assert_same(ours.pad_packed_sequence(a, **options), theirs.pad_packed_sequence(b, **options))


def test_gradients_flow_through_packing_and_padding():
    def around(library):
        def f(x):
            packed = library.pack_padded_sequence(x, LENGTHS, enforce_sorted=False)
            return packed.data, library.pad_packed_sequence(packed, padding_value=2.0)[0]

        return f

    check(around(ours), around(theirs), normal(6, 4, 2))


def test_sorted_sequences_keep_no_indices():
    x = normal(5, 3)
    same(ours.pack_padded_sequence(nr.tensor(x), nr.tensor([5, 2, 2])), theirs.pack_padded_sequence(torch.tensor(x), torch.tensor([5, 2, 2])))


@pytest.mark.parametrize("lengths", [[1, 3], [3, 0], [3], [[3, 2]]])
def test_packing_refuses_bad_lengths(lengths):
    check_both_raise(lambda x: ours.pack_padded_sequence(x, nr.tensor(lengths)), lambda x: theirs.pack_padded_sequence(x, torch.tensor(lengths)), normal(3, 2))


def test_packing_refuses_bad_input():
    for x in (normal(3), normal(0, 2)):
        check_both_raise(lambda x: ours.pack_padded_sequence(x, [1, 1]), lambda x: theirs.pack_padded_sequence(x, [1, 1]), x)
    with pytest.raises(RuntimeError, match="more than the 3 steps"):
        ours.pack_padded_sequence(nr.ones(3, 2), [4, 1])
    packed = ours.pack_sequence([nr.ones(3)])
    with pytest.raises(ValueError, match="total_length=2"):
        ours.pad_packed_sequence(packed, total_length=2)


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("batch_first", [False, True])
def test_pad_sequence(batch_first, side):
    for x in (sequences(2), [normal(2), np.arange(3)], [np.arange(3), normal(2)]):
        options = {"batch_first": batch_first, "padding_value": 1.5, "padding_side": side}
        check(lambda *s, o=options: ours.pad_sequence(list(s), **o), lambda *s, o=options: theirs.pad_sequence(list(s), **o), *x)
    assert_same(ours.pad_sequence(nr.ones(2, 3)), theirs.pad_sequence(torch.ones(2, 3)))


def test_pad_sequence_refuses_what_pytorch_refuses():
    for x in ([], 3, [normal(3, 1), normal(2)], [np.float32(1)]):
        check_both_raise(lambda x=x: ours.pad_sequence(to_nr(x)), lambda x=x: theirs.pad_sequence(to_torch(x)))
    check_both_raise(lambda x: ours.pad_sequence([x], padding_side="up"), lambda x: theirs.pad_sequence([x], padding_side="up"), normal(2))


def test_unpad_pack_and_unpack_sequences():
    x = sequences(2)
    a, b = ours.pack_sequence(to_nr(x), enforce_sorted=False), theirs.pack_sequence(to_torch(x), enforce_sorted=False)
    same(a, b)
    assert_same(ours.unpack_sequence(a), theirs.unpack_sequence(b))
    padded = normal(6, 4, 2)
    assert_same(ours.unpad_sequence(nr.tensor(padded), [6, 0, 9, 2]), theirs.unpad_sequence(torch.tensor(padded), torch.tensor([6, 0, 9, 2])))
    check(lambda p: ours.unpad_sequence(p, [4, 2], True), lambda p: theirs.unpad_sequence(p, torch.tensor([4, 2]), True), normal(2, 4, 3))
    with pytest.raises(ValueError, match="2 lengths for 4 sequences"):
        ours.unpad_sequence(nr.tensor(padded), [1, 2])
    check_both_raise(lambda a, b: ours.pack_sequence([a, b]), lambda a, b: theirs.pack_sequence([a, b]), normal(1), normal(2))


def test_packed_sequences_convert_copy_and_pickle():
    packed = ours.pack_sequence(to_nr(sequences(2)), enforce_sorted=False)
    assert packed.to(nr.float32) is packed and packed.double().data.dtype == nr.float64 and packed.double().batch_sizes is packed.batch_sizes
    for convert in ("half", "float", "long", "int", "short", "char", "byte", "cpu"):
        reference = theirs.pack_sequence(to_torch(sequences(2)), enforce_sorted=False)
        assert getattr(packed, convert)().data.dtype.name == str(getattr(reference, convert)().data.dtype)[6:]
    assert not packed.is_cuda and not packed.is_pinned() and packed.pin_memory() is packed
    for twin in (copy.deepcopy(packed), pickle.loads(pickle.dumps(packed))):
        assert isinstance(twin, ours.PackedSequence)
        for a, b in zip(twin, packed, strict=True):
            np.testing.assert_array_equal(a.numpy(), b.numpy())


# --- networks on packed sequences --------------------------------------------------------------------------------------


def build(kind, *arguments, **options):
    torch.manual_seed(0)
    reference = getattr(torch.nn, kind)(*arguments, **options)
    layer = getattr(nr.nn, kind)(*arguments, **options)
    layer.load_state_dict(reference.state_dict())
    return layer, reference


@pytest.mark.parametrize("with_states", [False, True])
@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
def test_networks_on_packed_sequences(kind, with_states):
    layer, reference = build(kind, 3, 4, bidirectional=True, num_layers=2 if kind == "RNN" else 1)
    x = normal(6, 4, 3)
    state = normal(4 if kind == "RNN" else 2, 4, 4)

    def run(module, library, x, state):
        packed = library.pack_padded_sequence(x, LENGTHS, enforce_sorted=False)
        hx = ((state, state * 0.5) if kind == "LSTM" else state,) if with_states else ()
        output, after = module(packed, *hx)
        assert type(output).__name__ == "PackedSequence"
        return [output.data, library.pad_packed_sequence(output)[0], *(after if kind == "LSTM" else [after])]

    check(lambda x, s: run(layer, ours, x, s), lambda x, s: run(reference, theirs, x, s), x, state, compiled=False, atol=1e-5)
    for p in (*layer.parameters(), *reference.parameters()):
        p.grad = None
    sum(y.sum() for y in run(layer, ours, nr.tensor(x), nr.tensor(state))).backward()
    sum(y.sum() for y in run(reference, theirs, torch.tensor(x), torch.tensor(state))).backward()
    for (name, p), q in zip(layer.named_parameters(), reference.parameters(), strict=True):
        np.testing.assert_allclose(p.grad.numpy(), q.grad.numpy(), rtol=1e-4, atol=1e-5, err_msg=name)


def test_compiled_networks_take_and_return_packed_sequences():
    layer, reference = build("LSTM", 3, 4)
    x = sequences(3)
    traces = []

    @nr.jit
    def run(packed):
        traces.append(packed)
        return layer(packed)

    for _ in range(2):
        output, (hidden, _) = run(ours.pack_sequence(to_nr(x), enforce_sorted=False))
        assert isinstance(output, ours.PackedSequence)
    expected, (hidden_expected, _) = reference(theirs.pack_sequence(to_torch(x), enforce_sorted=False))
    same(output, expected)
    assert_same(hidden, hidden_expected)
    assert len(traces) == 1
    run(ours.pack_sequence(to_nr(x[:2]), enforce_sorted=False))
    assert len(traces) == 2


def test_packing_inside_a_compiled_function():
    x = normal(6, 4, 2)

    @nr.jit
    def run(x):
        return ours.pad_packed_sequence(ours.pack_padded_sequence(x, LENGTHS, enforce_sorted=False))

    packed = theirs.pack_padded_sequence(torch.tensor(x), LENGTHS, enforce_sorted=False)
    assert_same(run(nr.tensor(x)), theirs.pad_packed_sequence(packed))
    with pytest.raises(RuntimeError, match="packed sequence"):
        nr.jit(lambda x, lengths: ours.pack_padded_sequence(x, lengths).data)(nr.tensor(x), nr.tensor([4, 3, 2, 1]))


def test_networks_refuse_unfitting_packed_input():
    packed = ours.pack_sequence([nr.ones(3), nr.ones(2)])
    with pytest.raises(RuntimeError, match="must have 2 dimensions, got 1"):
        nr.nn.GRU(1, 2)(packed)
    with pytest.raises(RuntimeError, match="Expected hidden size"):
        nr.nn.GRU(1, 2)(ours.pack_sequence([nr.ones(3, 1), nr.ones(2, 1)]), nr.zeros(1, 3, 2))


# --- what the table of layers does not reach -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["rnn_tanh", "rnn_relu", "lstm", "gru"])
def test_functions_of_whole_networks(name):
    gates = {"lstm": 4, "gru": 3}.get(name, 1)
    params = [normal(gates * 2, 3), normal(gates * 2, 2), normal(gates * 2), normal(gates * 2)]
    state = normal(1, 4, 2)

    def run(library):
        sizes = library.tensor([4, 2, 1])

        def f(x, state, *params):
            hx = (state, state) if name == "lstm" else state
            whole = getattr(library, name)(x, hx, list(params), True, 1, 0.0, False, False, True)
            return [*whole, *getattr(library, name)(x.flatten(0, 1)[:7], sizes, hx, list(params), True, 1, 0.0, False, False)]

        return f

    check(run(nr), run(torch), normal(4, 5, 3), state, *params, atol=1e-5)


@pytest.mark.parametrize("name", ["rnn_tanh_cell", "rnn_relu_cell", "lstm_cell", "gru_cell"])
def test_functions_of_single_steps(name):
    gates = {"lstm_cell": 4, "gru_cell": 3}.get(name, 1)

    def run(library):
        return lambda x, h, *w: getattr(library, name)(x, (h, h + 1) if name == "lstm_cell" else h, *w)

    check(run(nr), run(torch), normal(4, 3), normal(4, 2), normal(gates * 2, 3), normal(gates * 2, 2), normal(gates * 2), normal(gates * 2))
    check(run(nr), run(torch), normal(4, 3), normal(4, 2), normal(gates * 2, 3), normal(gates * 2, 2))


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
def test_second_derivatives_and_forward_mode(kind):
    layer, reference = build(kind, 2, 3, dtype=None)
    layer.double(), reference.double()
    x = G.standard_normal((3, 1, 2))

    def curvature(library, module, x):
        (g,) = library.autograd.grad((module(x)[0] ** 2).sum(), x, create_graph=True)
        return library.autograd.grad((g**2).sum(), [x, *module.parameters()])

    got = curvature(nr, layer, nr.tensor(x, requires_grad=True))
    assert_same(got, list(curvature(torch, reference, torch.tensor(x, requires_grad=True))), rtol=1e-9, atol=1e-12)
    direction, cotangent = nr.tensor(G.standard_normal(x.shape)), nr.tensor(G.standard_normal((3, 1, 3)))
    _, forward = nr.jvp(lambda x: layer(x)[0], (nr.tensor(x),), (direction,))
    leaf = nr.tensor(x, requires_grad=True)
    layer(leaf)[0].backward(cotangent)
    assert (forward * cotangent).sum().item() == pytest.approx((leaf.grad * direction).sum().item(), rel=1e-10)


@pytest.mark.parametrize("compiled", [False, True])
def test_dropout_between_layers_draws_anew_on_every_call(compiled):
    layer = nr.nn.GRU(3, 8, num_layers=2, dropout=0.5)
    run = nr.jit(layer) if compiled else layer
    x = nr.tensor(normal(4, 2, 3))
    first, second = run(x)[0], run(x)[0]
    assert not bool((first == second).all())
    layer.eval()
    assert bool((run(x)[0] == run(x)[0]).all())
    layer.train()
    layer.dropout = 1.0
    run(x)[0].sum().backward()
    assert layer.weight_ih_l1.grad.isfinite().all() and not layer.weight_ih_l0.grad.any()


def test_dropout_keeps_the_mean():
    """The mean over many draws of a linear network, whose upper layer passes on what it gets, is the value without dropout."""
    layer = nr.nn.RNN(1, 2000, num_layers=2, nonlinearity="relu", bias=False, dropout=0.25)
    with nr.no_grad():
        layer.weight_ih_l0.fill_(1.0)
        layer.weight_hh_l0.zero_()
        layer.weight_hh_l1.zero_()
        layer.weight_ih_l1.assign(nr.eye(2000))
    output = layer(nr.ones(1, 1))[0]
    assert abs((output == 0).float().mean().item() - 0.25) < 0.05
    assert abs(output.mean().item() - 1) < 0.05 and output.max().item() == pytest.approx(4 / 3)


def test_layers_warn_of_dropout_on_one_layer_and_have_pytorchs_helpers():
    with pytest.warns(UserWarning, match="num_layers greater than 1"):
        nr.nn.GRU(2, 3, dropout=0.5)
    layer, reference = build("LSTM", 2, 3, num_layers=2, bidirectional=True)
    assert [[tuple(w.shape) for w in ws] for ws in layer.all_weights] == [[tuple(w.shape) for w in ws] for ws in reference.all_weights]
    assert layer.flatten_parameters() is None


def test_states_of_the_wrong_form_are_refused():
    for hx in (nr.zeros(1, 3), nr.zeros(2, 2, 3), nr.zeros(1, 2, 3, dtype=nr.float64)):
        with pytest.raises(RuntimeError, match="hx should also be 3-D|Expected hidden size|initial state"):
            nr.nn.GRU(2, 3)(nr.zeros(4, 2, 2), hx)
    with pytest.raises(RuntimeError, match="sequence length to be larger than 0"):
        nr.nn.GRU(2, 3)(nr.zeros(0, 2, 2))
    with pytest.raises(ValueError, match="Expected input to be 2D or 3D, got 1D"):
        nr.nn.LSTM(2, 3)(nr.zeros(2))
