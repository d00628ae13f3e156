"""`nr.jit`: what it lifts, what it takes as fixed, and that nothing leaks."""

import gc
import pickle
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import neurarust_jax as nr
import neurarust_jax.nn.functional as F
from neurarust_jax import nn, optim


def make_model():
    nr.manual_seed(1)
    return nn.Sequential(nn.Conv2d(1, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Dropout(0.3), nn.Linear(64, 3))


def make_step(model, optimizer):
    def train_step(x, y):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    return train_step


def data():
    generator = np.random.default_rng(0)
    return nr.tensor(generator.standard_normal((8, 1, 8, 8)).astype(np.float32)), nr.tensor(generator.integers(0, 3, 8))


def no_tracer_in(model, optimizer=None):
    cells = [*model._cells(), *(optimizer._cells() if optimizer else ())]
    return not any(isinstance(c._state, jax.core.Tracer) for c in cells)


@pytest.mark.parametrize("make_optimizer", [lambda p: optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True), lambda p: optim.AdamW(p, lr=0.01, amsgrad=True)])
def test_a_compiled_step_does_what_the_eager_one_does(make_optimizer):
    x, y = data()
    losses, states = [], []
    for compiled in (False, True):
        model = make_model()
        optimizer = make_optimizer(model.parameters())
        step = make_step(model, optimizer)
        step = nr.jit(step) if compiled else step
        nr.manual_seed(7)
        losses.append([step(x, y).item() for _ in range(5)])
        states.append(model.state_dict())
        assert no_tracer_in(model, optimizer)
    np.testing.assert_allclose(losses[0], losses[1], rtol=2e-5)
    for name, value in states[0].items():
        np.testing.assert_allclose(value.numpy(), states[1][name].numpy(), rtol=2e-4, atol=2e-6)
    assert states[1]["1.num_batches_tracked"].item() == 5


def test_the_first_call_traces_once():
    model = make_model()
    optimizer = optim.Adam(model.parameters())
    traces = []

    @nr.jit
    def step(x, y):
        traces.append(1)
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    x, y = data()
    for _ in range(3):
        step(x, y)
    assert len(traces) == 1
    step(x[:4], y[:4])  # another shape
    assert len(traces) == 2
    step(x, y)
    assert len(traces) == 2


def test_cells_that_no_search_finds_are_found_by_the_trace():
    hidden = {"cell": nn.Buffer(nr.zeros(()))}
    reach = lambda: hidden["cell"]  # noqa: E731
    holder = type("Holder", (), {"__slots__": ("get",)})()
    holder.get = reach

    @nr.jit
    def count():
        holder.get().add_(1)
        return holder.get() * 10

    assert [count().item() for _ in range(3)] == [10, 20, 30]
    assert hidden["cell"].item() == 3


def test_a_changed_parameter_is_seen_without_recompiling():
    layer = nn.Linear(2, 2)
    compiled = nr.jit(lambda x: layer(x))
    x = nr.ones(1, 2)
    compiled(x)
    layer.load_state_dict({"weight": nr.zeros(2, 2), "bias": nr.ones(2)})
    assert compiled(x).tolist() == [[1, 1]]
    with nr.no_grad():
        layer.bias.mul_(5)
    assert compiled(x).tolist() == [[5, 5]]


def test_dropout_draws_anew_on_every_compiled_call():
    drop = nn.Dropout(0.5)
    compiled = nr.jit(drop)
    x = nr.ones(1000)
    first, second = compiled(x), compiled(x)
    assert (first != second).any()
    nr.manual_seed(3)
    a = compiled(x)
    nr.manual_seed(3)
    assert nr.equal(a, compiled(x))
    nr.manual_seed(3)
    assert nr.equal(a, drop(x))


def test_train_and_eval_lead_to_their_own_programs():
    model = make_model()
    traces = []

    @nr.jit
    def forward(x):
        traces.append(1)
        return model(x)

    x, _ = data()
    forward(x)
    model.eval()
    expected = model(x)
    np.testing.assert_allclose(forward(x).detach().numpy(), expected.detach().numpy(), rtol=1e-5, atol=1e-6)
    model.train()
    forward(x)
    model.eval()
    forward(x)
    assert len(traces) == 2


def test_plain_attributes_lists_and_replaced_layers_are_noticed():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = 2.0
            self.factors = [1.0, 1.0]
            self.layers = [nn.Linear(2, 2, bias=False)]

        def forward(self, x):
            for layer in self.layers:
                x = layer(x)
            return x * self.scale * self.factors[0]

    net = Net()
    with nr.no_grad():
        net.layers[0].weight.assign(nr.eye(2))
    compiled = nr.jit(net)
    x = nr.ones(2)
    assert compiled(x).tolist() == [2, 2]
    net.scale = 3.0
    assert compiled(x).tolist() == [3, 3]
    net.factors[0] = 5.0
    assert compiled(x).tolist() == [15, 15]
    net.layers.append(nn.ReLU())
    net.layers[0].weight.data = -nr.eye(2)
    assert compiled(x).tolist() == [0, 0]
    net.scale = 3  # an int is not the float it equals
    assert compiled(x).tolist() == [0, 0]


def test_requires_grad_is_noticed():
    layer = nn.Linear(2, 1)

    @nr.jit
    def step(x):
        layer.zero_grad()
        layer(x).sum().backward()

    x = nr.ones(3, 2)
    step(x)
    assert layer.bias.grad.item() == 3
    layer.weight.requires_grad_(False)
    layer.zero_grad()
    step(x)
    assert layer.weight.grad is None and layer.bias.grad.item() == 3


def test_gradients_accumulate_across_compiled_calls():
    p = nn.Parameter(nr.tensor([1.0, 2.0]))

    @nr.jit
    def add(x):
        (p * x).sum().backward()

    for _ in range(3):
        add(nr.tensor([1.0, 10.0]))
    assert p.grad.tolist() == [3, 30]
    p.grad = None
    add(nr.tensor([1.0, 10.0]))
    assert p.grad.tolist() == [1, 10]


def test_a_loss_outside_differentiates_through_a_compiled_model():
    model = make_model().eval()
    x, y = data()
    x.requires_grad_()
    compiled = nr.jit(model)
    F.cross_entropy(compiled(x), y).backward()
    got = [p.grad.numpy() for p in model.parameters()], x.grad.numpy()
    model.zero_grad()
    x.grad = None
    F.cross_entropy(model(x), y).backward()
    for a, b in zip(got[0], model.parameters(), strict=True):
        np.testing.assert_allclose(a, b.grad.numpy(), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(got[1], x.grad.numpy(), rtol=1e-4, atol=1e-6)
    assert compiled(x).requires_grad
    with nr.no_grad():
        assert not compiled(x).requires_grad


def test_detach_and_no_grad_inside_hold_for_gradients_outside():
    x = nr.tensor([2.0], requires_grad=True)

    @nr.jit
    def f(t):
        with nr.no_grad():
            fixed = t * 3
        return t * fixed + t * t.detach()

    f(x).sum().backward()
    assert x.grad.tolist() == [8]


def test_gradients_through_a_compiled_call_step_by_step_and_of_second_order():
    x = nr.tensor([2.0], requires_grad=True)
    f = nr.jit(lambda t: (t**3, t * 5))
    y, z = f(x)
    y.register_hook(lambda g: g * 10)  # a hook makes the pass go op by op
    y.sum().backward()
    assert x.grad.tolist() == [120]
    (first,) = nr.autograd.grad(f(x)[0].sum(), x, create_graph=True)
    assert nr.autograd.grad(first.sum(), x)[0].tolist() == [12]


def test_backward_inside_reaches_arguments():
    x = nr.tensor([1.0, 2.0], requires_grad=True)
    h = x * 2

    @nr.jit
    def f(a, b):
        (a * a).sum().backward()
        (b * 3).sum().backward()

    f(x, h)
    assert x.grad.tolist() == [2 + 6, 4 + 6]


def test_a_gradient_to_a_closed_over_tensor_is_refused_not_lost():
    x = nr.ones(2, requires_grad=True)
    h = x * 2
    for outside in (x, h):
        with pytest.raises(RuntimeError, match="Pass that tensor as an argument"):
            nr.jit(lambda t, o=outside: (t * o).sum())(nr.ones(2))

    @nr.jit
    def inside():
        (x * 3).sum().backward()

    inside()
    assert x.grad.tolist() == [3, 3]


def test_any_pytree_is_an_argument():
    import optax

    state = optax.adam(1e-3).init({"w": jnp.ones(2)})
    f = nr.jit(lambda s: jax.tree.map(lambda a: a + 1, s))
    assert f(f(state))[0].count == 2 and len(f.programs) == 1


def test_running_statistics_advance_when_the_loss_is_outside():
    model = nn.Sequential(nn.BatchNorm2d(1))
    compiled = nr.jit(model)
    x = nr.randn(4, 1, 3, 3)
    compiled(x).sum().backward()
    assert model[0].num_batches_tracked.item() == 1
    assert no_tracer_in(model)


# --- arguments -----------------------------------------------------------------------------------------------------------


def test_arguments_of_all_kinds():
    traces = []

    @nr.jit
    def f(x, pair, options, flag, name="a", *, scale=None):
        traces.append(1)
        y = x + pair[0] + options["b"]
        return {"y": y if flag else -y, "name": name, "scale": scale, "array": jnp.ones(2), "list": [y, None, 3]}

    x = nr.ones(2)
    out = f(x, (x, 1), {"b": np.ones(2, np.float32)}, True, scale=2.5)
    assert isinstance(out["y"], nr.Tensor) and out["y"].tolist() == [3, 3]
    assert isinstance(out["array"], jax.Array) and out["name"] == "a" and out["scale"] == 2.5 and out["list"][1:] == [None, 3]
    f(x * 2, (x, 1), {"b": np.zeros(2, np.float32)}, True, scale=2.5)
    assert len(traces) == 1
    assert f(x, (x, 1), {"b": x}, False, scale=2.5)["y"].tolist() == [-3, -3]
    assert len(traces) == 2
    f(x, (x, 2), {"b": x}, True, "b", scale=2.5)
    assert len(traces) == 3


def test_equal_numbers_of_different_types_are_different_arguments():
    f = nr.jit(lambda x, k: x * k)
    x = nr.arange(3)
    assert f(x, 2).dtype == nr.int64 and f(x, 2.0).dtype == nr.float32 and f(x, True).dtype == nr.int64


def test_a_number_that_changes_at_every_call_is_warned_of_by_name():
    @nr.jit
    def train(x, step):
        return x * step

    with pytest.warns(UserWarning, match=r"compiled train \d+ times because its argument 'step' changes.*nr\.tensor\(step\)"):
        for i in range(8):
            train(nr.ones(1), i)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        g = nr.jit(lambda x, step: x * step)
        for i in range(20):
            g(nr.ones(1), nr.tensor(i))


def test_unhashable_arguments_are_taken_by_identity():
    class Config:
        __hash__ = None

        def __eq__(self, other):
            return True

    f = nr.jit(lambda x, c: x * c.k)
    a, b = Config(), Config()
    a.k, b.k = 1, 2
    assert f(nr.ones(1), a).item() == 1 and f(nr.ones(1), b).item() == 2


def test_modules_parameters_and_generators_as_arguments():
    @nr.jit
    def f(model, p, g, x):
        p.add_(1)
        return model(x) + nr.rand(1, generator=g)

    model, p, g = nn.Linear(1, 1), nn.Buffer(nr.zeros(1)), nr.Generator().manual_seed(0)
    first = f(model, p, g, nr.ones(1))
    second = f(model, p, g, nr.ones(1))
    assert p.item() == 2 and first.item() != second.item()


def test_methods_and_decorators():
    class Trainer:
        def __init__(self):
            self.total = nn.Buffer(nr.zeros(()))

        @nr.jit
        def add(self, x):
            """Adds."""
            self.total.add_(x)
            return self.total * 1

    a, b = Trainer(), Trainer()
    a.add(nr.tensor(2.0))
    a.add(nr.tensor(3.0))
    b.add(nr.tensor(1.0))
    assert (a.total.item(), b.total.item()) == (5, 1)
    assert Trainer.add.__doc__ == "Adds." and Trainer.add.__name__ == "add"


def test_a_compiled_module_still_has_the_modules_attributes():
    model = nn.Linear(2, 3)
    compiled = nr.jit(model)
    assert compiled.weight is model.weight and len(list(compiled.parameters())) == 2 and compiled(nr.ones(2)).shape == (3,)
    model.compile()
    assert model(nr.ones(2)).shape == (3,)


def test_nesting():
    b = nn.Buffer(nr.zeros(()))

    @nr.jit
    def inner(x):
        b.add_(1)
        return x * 2

    @nr.jit
    def outer(x):
        return inner(inner(x)) + 1

    assert outer(nr.ones(1)).item() == 5 and b.item() == 2
    assert inner(nr.ones(1)).item() == 2 and b.item() == 3


def test_int64_and_float64_inside_jit():
    f = nr.jit(lambda x: (x + 2**40, x.double() * 0.1))
    a, c = f(nr.tensor([1]))
    assert a.item() == 2**40 + 1 and c.dtype == nr.float64 and c.item() == 0.1


def test_jnp_inside_runs_as_it_does_outside():
    assert nr.jit(lambda x: jnp.arange(3) + x.shape[0])(nr.ones(2)).dtype == jnp.int32


# --- what must not happen ------------------------------------------------------------------------------------------------


def test_an_error_leaves_every_cell_as_it_was():
    model = make_model()
    optimizer = optim.Adam(model.parameters())
    x, y = data()

    @nr.jit
    def step(x, y):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        raise ValueError("boom")

    before = {n: v.numpy().copy() for n, v in model.state_dict().items()}
    state = nr.get_rng_state().tolist()
    for _ in range(2):
        with pytest.raises(ValueError, match="boom"):
            step(x, y)
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), before[name])
    assert no_tracer_in(model, optimizer) and all(p.grad is None for p in model.parameters())
    assert nr.get_rng_state().tolist() == state
    model(x)  # and it still runs


def test_a_bare_jax_jit_cannot_leave_a_tracer_in_a_cell():
    model = nn.BatchNorm2d(1)
    with pytest.raises(nr.errors.TracedValueError, match=r"Buffer was written inside jax\.jit.*nr\.jit"):
        jax.jit(lambda x: model(x))(nr.ones(2, 1, 3, 3))
    assert no_tracer_in(model)
    p = nn.Parameter(nr.ones(1))
    with pytest.raises(nr.errors.TracedValueError):
        jax.jit(lambda x: (p * x).sum().backward())(nr.ones(1))
    assert p.grad is None


def test_attributes_set_in_forward_are_carried_out():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.hidden = nr.zeros(2)

        def forward(self, x):
            self.hidden = self.hidden + x
            self.last = x * 2
            return self.hidden

    net = Net()
    compiled = nr.jit(net)
    for _ in range(3):
        compiled(nr.ones(2))
    assert net.hidden.tolist() == [3, 3] and net.last.tolist() == [2, 2]
    assert no_tracer_in(net)


def test_asking_for_a_value_inside_is_explained():
    x = nr.ones(2)
    for f, text in (
        (lambda t: 1 if t.sum() else 0, r"Python `if`.*shape \(\).*nr\.where"),
        (lambda t: t.sum().item(), r"item\(\).*call \.item\(\) outside"),
        (lambda t: t.numpy(), r"numpy\(\).*jax\.numpy"),
        (lambda t: t.tolist(), r"tolist\(\)"),
        (lambda t: float(t[0]), r"item\(\)"),
    ):
        with pytest.raises(nr.errors.TracedValueError, match=text):
            nr.jit(f)(x)
    assert "traced" in nr.jit(lambda t: repr(t))(x)


def test_a_value_taken_before_a_step_survives_its_donation():
    p = nn.Parameter(nr.ones(1000))
    optimizer = optim.SGD([p], lr=1.0)

    @nr.jit
    def step():
        optimizer.zero_grad()
        p.sum().backward()
        optimizer.step()

    before, view = p.detach(), p.detach().numpy()
    graph = (p * p).sum()
    step()
    step()
    kept = p.detach()
    step()
    assert before.sum().item() == 1000 and view.sum() == 1000 and kept.sum().item() == -1000
    graph.backward()
    assert p.sum().item() == -2000


def test_modules_made_inside_are_no_inputs():
    @nr.jit
    def f(x):
        layer = nn.Linear(2, 2, bias=False)
        layer.weight.data = nr.eye(2)
        buffer = nn.Buffer(nr.zeros(2))
        buffer.add_(x)
        return layer(x) + buffer

    assert f(nr.ones(2)).tolist() == [2, 2] and f(nr.ones(2) * 3).tolist() == [6, 6]


def test_cells_that_change_are_donated():
    p = nn.Parameter(nr.ones(100_000))
    optimizer = optim.SGD([p], lr=1.0)

    @nr.jit
    def step():
        optimizer.zero_grad()
        p.sum().backward()
        optimizer.step()

    step()
    address = p._state.unsafe_buffer_pointer()
    step()
    assert p._state.unsafe_buffer_pointer() == address


def test_a_program_keeps_no_argument_alive():
    import weakref

    f = nr.jit(lambda x: x * 2)
    x = nr.ones(10)
    reference = weakref.ref(x)
    f(x)
    del x
    gc.collect()
    assert reference() is None


def test_a_changed_learning_rate_does_not_recompile():
    p = nn.Parameter(nr.ones(1))
    optimizer = optim.SGD([p], lr=1.0, momentum=0.9)
    traces = []

    @nr.jit
    def step():
        traces.append(1)
        optimizer.zero_grad()
        p.sum().backward()
        optimizer.step()

    for i in range(4):
        optimizer.param_groups[0]["lr"] = 1.0 / (i + 1)
        optimizer.param_groups[0]["momentum"] = 0.5 / (i + 1)
        step()
    assert len(traces) == 1


def test_two_trainings_from_one_seed_are_equal_bit_for_bit():
    x, y = data()
    results = []
    for _ in range(2):
        model = make_model()
        step = nr.jit(make_step(model, optim.Adam(model.parameters())))
        nr.manual_seed(5)
        for _ in range(3):
            step(x, y)
        results.append(model.state_dict())
    for name in results[0]:
        np.testing.assert_array_equal(results[0][name].numpy(), results[1][name].numpy())


def test_pickling_a_model_after_compiled_training():
    model = make_model()
    x, y = data()
    nr.jit(make_step(model, optim.Adam(model.parameters())))(x, y)
    twin = pickle.loads(pickle.dumps(model)).eval()
    np.testing.assert_array_equal(twin(x).detach().numpy(), model.eval()(x).detach().numpy())


def test_jit_refuses_what_is_no_function():
    with pytest.raises(TypeError, match="takes a function or a Module"):
        nr.jit(3)


def test_compile_takes_pytorchs_options():
    model = nn.Linear(2, 1)
    x = nr.ones(3, 2)
    for compiled in (nr.compile(model), nr.compile(model, mode="reduce-overhead", fullgraph=True, dynamic=False), nr.compile(backend="eager")(model)):
        assert type(compiled) is type(nr.jit(model))
        np.testing.assert_allclose(compiled(x).detach().numpy(), model(x).detach().numpy(), rtol=1e-6)
    assert nr.compile(model, disable=True) is model is nr.compile(disable=True)(model)


def test_decorators_of_torchscript_change_nothing():
    @nr.jit.script
    def double(x: nr.Tensor, by: int = 2) -> nr.Tensor:
        return x * by if not nr.jit.is_scripting() else x

    class Layer(nn.Module):
        size: nr.jit.Final[int]

        def __init__(self):
            super().__init__()
            self.size = 2

        @nr.jit.ignore
        def first(self, x):
            return double(x, by=self.size)

        @nr.jit.ignore(drop=True)
        def second(self, x):
            return x + 1

        @nr.jit.unused
        def third(self, x):
            return nr.jit.annotate(nr.Tensor, x)

        @nr.jit.export
        def forward(self, x):
            return self.third(self.second(self.first(x)))

    x = nr.ones(2)
    layer = nr.jit.script(Layer())
    for run in (layer, nr.jit(layer), nr.jit.trace(layer, x), nr.jit.script_if_tracing(layer)):
        assert run(x).tolist() == [3, 3]
    assert not nr.jit.is_tracing() and nr.jit.interface(Layer) is Layer and isinstance(nr.jit.trace(double, x), type(nr.jit(double)))
