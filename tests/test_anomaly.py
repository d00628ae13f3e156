"""`detect_anomaly`: the op, the layer and the line where a NaN or an infinity first appears; forward and backward, eager and compiled."""

import threading

import pytest
import torch

import neurarust_jax as nr
from neurarust_jax import dispatch, nn


class Logarithm(nn.Module):
    def forward(self, x):
        shifted = x - 100
        return shifted.log()  # the forward line


class Root(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(3, 3)

    def forward(self, x):
        flat = self.fc(x) * 0.0
        return flat.sqrt().sum()  # the line behind the gradient


class Net(nn.Module):
    def __init__(self, last):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(3, 3), last])

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return x


FORMS = {"eager": lambda f: f, "compiled": nr.jit, "compiled around": lambda f: nr.jit(lambda x: f(x))}
each_form = pytest.mark.parametrize("form", FORMS)


@each_form
def test_forward_the_layer_and_the_line_are_named(form):
    f = FORMS[form](Net(Logarithm()))
    with pytest.raises(RuntimeError) as error, nr.autograd.detect_anomaly():
        f(nr.ones(2, 3))
    text = str(error.value)
    assert "log returned nan values" in text
    assert "Net.layers.1" in text
    assert "Logarithm()" in text
    assert "return shifted.log()  # the forward line" in text
    assert __file__ in text


@each_form
def test_backward_the_line_of_the_forward_operation_is_named(form):
    model = Net(Root())

    def step(x):
        loss = model(x)
        loss.backward()
        return loss

    step = FORMS[form](step)
    with pytest.raises(RuntimeError) as error, nr.autograd.detect_anomaly():
        step(nr.ones(2, 3))
    text = str(error.value)
    assert "Function 'SqrtBackward0' returned infinite values" in text
    assert "Net.layers.1" in text
    assert "# the line behind the gradient" in text


def test_a_recorded_compiled_call_is_looked_at_too():
    model = nr.jit(Net(Logarithm()))
    with pytest.raises(RuntimeError, match="log returned nan"), nr.autograd.detect_anomaly():
        model(nr.ones(2, 3)).sum().backward()


def test_a_compiled_call_that_raises_changes_nothing():
    model = nn.Linear(3, 1)
    optimizer = nr.optim.Adam(model.parameters(), lr=0.1)

    @nr.jit
    def step(x):
        optimizer.zero_grad()
        loss = model(x).log().sum()
        loss.backward()
        optimizer.step()
        return loss

    before = model.weight.tolist()
    with nr.autograd.detect_anomaly():
        for _ in range(2):
            with pytest.raises(RuntimeError, match="log returned nan"):
                step(nr.full((2, 3), -1e3) * model.weight.sign())
            assert model.weight.tolist() == before


def test_inside_transformations():
    @nr.jit
    def f(x):
        return nr.vmap(nr.grad(lambda y: y.log() * 2))(x)

    with pytest.raises(RuntimeError, match="log returned nan"), nr.autograd.detect_anomaly():
        f(nr.tensor([1.0, -1.0]))


def test_what_jax_runs_is_reported_when_the_block_ends():
    with pytest.raises(RuntimeError, match="log returned nan"), nr.autograd.detect_anomaly():
        nr.vmap(lambda y: y.log())(nr.tensor([1.0, -1.0]))
    with nr.autograd.detect_anomaly():
        pass


def test_what_is_meant_or_passed_on_is_not_reported():
    with nr.autograd.detect_anomaly():
        mask = nr.full((3,), float("-inf"))
        x = nr.ones(3)
        assert (x + mask).isinf().all()
        masked = x.masked_fill(nr.tensor([True, False, False]), float("-inf"))
        assert masked.softmax(0).tolist() == [0.0, 0.5, 0.5]
        assert (nr.tensor([float("nan")]) * 2).isnan().all()


def test_each_kind_can_be_left_out():
    one = nr.ones(1)
    with nr.autograd.detect_anomaly(check_inf=False):
        assert (one / 0).isinf().all()
    with nr.autograd.detect_anomaly(check_nan=False):
        assert (-one).log().isnan().all()
        assert not nr.autograd.is_anomaly_check_nan_enabled()
        with pytest.raises(RuntimeError, match="infinite"):
            _ = one / 0


def test_custom_functions_are_named_as_in_pytorch():
    for library in (torch, nr):

        class Broken(library.autograd.Function):
            @staticmethod
            def forward(ctx, x):
                return x * 1

            @staticmethod
            def backward(ctx, grad):
                return grad * float("nan")

        x = library.ones(2, requires_grad=True)
        with pytest.raises(RuntimeError, match="Function 'BrokenBackward' returned nan values"), pytest.MonkeyPatch.context() as patch:
            patch.setattr("warnings.warn", lambda *a, **k: None)
            with library.autograd.set_detect_anomaly(True):
                Broken.apply(x).sum().backward()


def test_switches():
    assert not nr.autograd.is_anomaly_enabled()
    nr.autograd.set_detect_anomaly(True)
    assert nr.autograd.is_anomaly_enabled()
    with nr.autograd.set_detect_anomaly(False):
        assert not nr.autograd.is_anomaly_enabled()
    assert nr.autograd.is_anomaly_enabled()
    nr.autograd.set_detect_anomaly(False)
    seen = []
    with nr.autograd.anomaly_mode(), nr.autocast("cpu"):
        thread = threading.Thread(target=lambda: seen.append((-nr.ones(1)).log().isnan().all()))
        thread.start()
        thread.join()
        assert (nr.ones(2, 2) @ nr.ones(2, 2)).dtype == nr.bfloat16
    assert seen == [True]
    assert {op.public.__globals__["_call"] for op in dispatch.OPS.values()} == {dispatch.call}


def test_compiled_without_it_there_are_no_checks_and_both_programs_stay():
    traced = []

    @nr.jit
    def f(x):
        traced.append(1)
        return x.log()

    x = nr.ones(2)
    for _ in range(2):
        f(x)
        with nr.autograd.detect_anomaly():
            f(x)
    assert len(traced) == 2



def test_pytorchs_switches_stand_at_the_top():
    assert not nr.is_anomaly_enabled() and nr.is_anomaly_check_nan_enabled()
    nr.set_anomaly_enabled(True, check_nan=False)
    assert nr.is_anomaly_enabled() and not nr.is_anomaly_check_nan_enabled()
    nr.set_anomaly_enabled(False)
    assert not nr.autograd.is_anomaly_enabled()
