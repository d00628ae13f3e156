"""`nr.debug`: why functions are traced again, leaked tracers, values while programs run; and what a compiled function says of its programs."""

import logging
import re

import jax
import pytest

import neurarust_jax as nr
from neurarust_jax import nn


def _reasons(function):
    return [trace.reasons for trace in function.traces]


def test_each_cause_of_a_trace_is_named_with_the_old_and_the_new_value():
    model = nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.5))

    @nr.jit
    def f(x, n=1):
        return model(x) * n

    x = nr.ones(2, 3)
    f(x, 1)
    assert _reasons(f)[0] == ("the first call",)
    for change, expected in (
        (lambda: f(x, 2), "argument 'n' was 1 and is 2"),
        (lambda: f(nr.ones(5, 3), 2), "argument 'x' was float32[2, 3] and is float32[5, 3]"),
        (lambda: f(x.double()[:, :3].float().requires_grad_(), 2), "argument 'x' was a tensor and is a tensor that requires grad"),
        (lambda: (model[1].eval(), f(x, 2)), "attribute Sequential.1.training was True and is False"),
        (lambda: (setattr(model[1], "p", 0.25), f(x, 2)), "attribute Sequential.1.p was 0.5 and is 0.25"),
        (lambda: (model[0].bias.requires_grad_(False), f(x, 2)), "requires_grad of Sequential.0.bias was True and is False"),
    ):
        change()
        assert any(expected in reason for reason in _reasons(f)[-1]), f.traces[-1]
    with nr.no_grad():
        f(x, 2)
    assert "the grad mode was True and is False" in _reasons(f)[-1]
    with nr.autocast("cpu"):
        f(x, 2)
    assert "autocast was off and is bfloat16 on cpu" in _reasons(f)[-1]
    count = len(f.traces)
    f(x, 2)
    assert len(f.traces) == count


def test_other_causes():
    @nr.jit
    def f(x, *more, options=None):
        return x

    x = nr.ones(2)
    f(x)
    f(x, options={"a": 1})
    assert "another structure" in _reasons(f)[-1][0]
    f(x, options={"a": "b"})
    assert _reasons(f)[-1][0].startswith("argument ") and "was 1 and is 'b'" in _reasons(f)[-1][0]
    nr.set_default_dtype(nr.float64)
    try:
        f(x)
    finally:
        nr.set_default_dtype(nr.float32)
    assert "default dtype float64" in _reasons(f)[-1][0]


def test_explain_says_when_and_where():
    f = nr.jit(lambda x: x)
    assert "not called yet" in nr.debug.explain(f)
    f(nr.ones(2))
    f(nr.ones(3))
    text = nr.debug.explain(f)
    assert "was traced 2 times" in text
    assert re.search(r"2\. \d\d:\d\d:\d\d .*test_debug\.py:\d+: argument 'x' was float32\[2\] and is float32\[3\]", text)
    with pytest.raises(TypeError, match="nr.jit"):
        nr.debug.explain(len)


def test_methods_under_jit_are_explained():
    class Counter:
        @nr.jit
        def step(self, x):
            return x + 1

    counter = Counter()
    counter.step(nr.ones(1))
    assert "traced once" in nr.debug.explain(counter.step)


def test_recompilations_are_logged_on_request(caplog):
    f = nr.jit(lambda x, n: x * n)
    with caplog.at_level(logging.WARNING, "neurarust_jax.retraces"):
        f(nr.ones(1), 1)
        f(nr.ones(1), 2)
        assert not caplog.records
        with nr.debug.log_recompiles():
            f(nr.ones(1), 3)
        f(nr.ones(1), 4)
    assert len(caplog.records) == 1
    assert "argument 'n' was" in caplog.records[0].getMessage()


def test_constructs_that_are_traced_again_for_their_form_are_no_recompilation(caplog):
    model = nn.Linear(3, 3)
    looped = nr.jit(lambda xs: nr.scan(lambda c, x: (model(x) + c, None), nr.zeros(3), xs)[0].sum())
    with caplog.at_level(logging.INFO), nr.debug.log_recompiles():
        for _ in range(2):
            looped(nr.ones(2, 3)).backward()
        nr.checkpoint(model, nr.ones(3)).sum().backward()
        nr.grad(lambda x: looped(x))(nr.ones(2, 3)).sum().backward()
    assert not caplog.records


# --- programs --------------------------------------------------------------------------------------------------------


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.attn = nn.Linear(4, 4)

    def forward(self, x):
        return self.attn(x).relu()


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([Block(), Block()])

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return x.sum()


def test_programs_read_like_the_model_forward_and_backward():
    model = Net()
    optimizer = nr.optim.SGD(model.parameters(), lr=0.1)

    @nr.jit
    def train_step(x):
        optimizer.zero_grad()
        loss = model(x)
        loss.backward()
        optimizer.step()
        return loss

    names = set(re.findall(r'op_name="([^"]*)"', train_step.hlo(nr.ones(2, 4))))
    products = [name for name in names if "dot_general" in name]
    assert any(name.startswith("jit(train_step)/Net/layers.0/attn/") for name in products)
    assert any(name.startswith("jit(train_step)/Net/layers.1/attn/") and "transpose" in name for name in products)
    assert all("/Net/layers." in name for name in products)


def test_eager_calls_open_no_scope(monkeypatch):
    monkeypatch.setattr("jax.named_scope", None)
    Net()(nr.ones(2, 4))


def test_cost_and_memory_of_a_compiled_step():
    product = nr.jit(lambda x: x @ x)
    assert product.cost_analysis(nr.ones(8, 8))["flops"] == 2 * 8**3
    assert len(product.traces) == 1
    product(nr.ones(4, 4))
    assert product.cost_analysis()["flops"] == 2 * 4**3
    assert product.memory_analysis().argument_size_in_bytes == 4 * 16
    assert product.peak_memory() >= 4 * 32
    assert "dot" in product.lower().as_text()
    with pytest.raises(ValueError, match="not called yet"):
        nr.jit(lambda x: x).cost_analysis()


def test_looking_at_a_program_changes_nothing():
    p = nn.Parameter(nr.ones(2))

    @nr.jit
    def double():
        with nr.no_grad():
            p.mul_(2)

    double()
    assert double.peak_memory() > 0
    assert p.tolist() == [2.0, 2.0]
    double()
    assert p.tolist() == [4.0, 4.0]
    assert len(double.traces) == 1


# --- leaks and values ------------------------------------------------------------------------------------------------


def test_leaked_tensors_are_found_with_their_holder():
    class Keeper:
        pass

    keeper, kept = Keeper(), []

    @nr.jit
    def f(x):
        y = x * 2
        keeper.y = y
        kept.append(y + 1)
        return y

    with pytest.raises(RuntimeError, match="2 tensors have left") as error, nr.debug.check_leaks():
        f(nr.ones(3))
    assert "float32[3] held by a Keeper as 'y'" in str(error.value)
    assert "a list of 1" in str(error.value)


def test_a_training_step_leaks_nothing():
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.1))
    optimizer = nr.optim.Adam(model.parameters())

    @nr.jit
    def step(x):
        optimizer.zero_grad()
        loss = model(x).sum()
        loss.backward()
        optimizer.step()
        return loss

    with nr.debug.check_leaks():
        step(nr.ones(5, 3))
        nr.vmap(nr.grad(lambda y: y * y))(nr.ones(3))
        nr.jit(model)(nr.ones(5, 3)).sum().backward()


def test_print_and_callback_see_values(capsys):
    seen = []

    @nr.jit
    def f(x):
        nr.debug.print("x is {} and {y}", x, y=[x + 1])
        nr.debug.callback(lambda value: seen.append(value.tolist()), x)
        return x

    for _ in range(2):
        f(nr.ones(2))
    nr.debug.print("eager {}", nr.zeros(1))
    jax.effects_barrier()
    assert seen == [[1.0, 1.0]] * 2
    printed = capsys.readouterr().out
    assert printed.count("x is [1. 1.]") == 2
    assert "eager [0.]" in printed


def test_breakpoint_stops_in_compiled_functions(monkeypatch):
    stopped = []
    monkeypatch.setattr("jax.debug.breakpoint", lambda **options: stopped.append(options))

    @nr.jit
    def f(x):
        nr.debug.breakpoint(backend="cli")
        return x

    f(nr.ones(1))
    assert stopped[0]["backend"] == "cli"
