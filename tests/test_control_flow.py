"""`nr.cond`, `switch`, `while_loop`, `scan` and their kin against plain Python: values, gradients, cells, and under the transformations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import neurarust_jax as nr
import neurarust_jax.nn.functional as F
from neurarust_jax import nn

X = np.random.default_rng(0).standard_normal((5, 3)).astype(np.float32)


def python_scan(f, carry, xs):
    ys = []
    for x in xs:
        carry, y = f(carry, x)
        ys.append(y)
    return carry, nr.stack(ys)


def close(a, b, rtol=1e-5, atol=1e-6):
    np.testing.assert_allclose(np.asarray(a.detach()), np.asarray(b.detach()), rtol=rtol, atol=atol)


class Cell(nn.Module):
    def __init__(self, dropout=0.0):
        super().__init__()
        self.linear = nn.Linear(3, 3)
        self.dropout = nn.Dropout(dropout)
        self.register_buffer("calls", nr.zeros(()))

    def forward(self, h, x):
        self.calls.add_(1)
        h = self.dropout(nr.tanh(self.linear(h) + x))
        return h, (h * x).sum()


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("p", [0.0, 0.5])
def test_scan_equals_a_python_loop_in_values_gradients_and_cells(compiled, p):
    model, xs, h = Cell(p), nr.tensor(X), nr.zeros(3)
    found = []
    for loop in (python_scan, nr.scan):

        def step(h, xs, w, loop=loop):
            h, ys = loop(model, h, xs * w)
            loss = h.sum() + ys.square().sum()
            loss.backward()
            return loss.detach()

        nr.manual_seed(1)
        model.zero_grad()
        model.calls.zero_()
        w = nr.ones(5, 3, requires_grad=True)
        loss = (nr.jit(step) if compiled else step)(h, xs, w)
        found.append([loss, model.linear.weight.grad, model.linear.bias.grad, w.grad, nr.rand(2), model.calls])
    for mine, reference in zip(found[1], found[0], strict=True):
        close(mine, reference)


def test_an_eager_loop_is_compiled_once():
    traces = []
    model, xs = Cell(), nr.tensor(X)

    def body(h, x):
        traces.append(1)
        return model(h, x)

    for _ in range(3):
        nr.scan(lambda h, x: body(h, x), nr.zeros(3), xs)[0].sum().backward()
    assert len(traces) <= 3 and model.calls.item() == 15


def test_an_eager_loop_sees_other_tensors_and_numbers_around_it():
    outputs = []
    for offset, factor in ((1.0, 2), (2.0, 2), (3.0, 3)):
        around = nr.tensor(offset, requires_grad=True)
        total, _ = nr.scan(lambda c, x, a=around, k=factor: (c + x * a * k, None), 0.0, nr.ones(2))
        total.backward()
        outputs.append((total.item(), around.grad.item()))
    assert outputs == [(4.0, 4.0), (8.0, 4.0), (18.0, 6.0)]


def test_gradients_reach_tensors_from_around_under_jit():
    def loss(x, w):
        scaled = w * 2
        total, _ = nr.scan(lambda c, v: (c + v * scaled, None), 0.0, x)
        chosen = nr.cond(x.sum() > 0, lambda: total * scaled, lambda: total)
        chosen.backward()
        return chosen.detach()

    w = nr.tensor(3.0, requires_grad=True)
    assert nr.jit(loss)(nr.ones(2), w).item() == 72
    assert w.grad.item() == 48


def test_scan_under_grad_vmap_and_nested():
    model, xs = Cell(), nr.tensor(X)

    def total(h, xs):
        h, ys = nr.scan(model, h, xs)
        return h.sum() + ys.sum()

    def by_hand(h, xs):
        h, ys = python_scan(model, h, xs)
        return h.sum() + ys.sum()

    h = nr.randn(3)
    close(nr.grad(total)(h, xs), nr.grad(by_hand)(h, xs))
    close(nr.jit(nr.grad(total, 1))(h, xs), nr.grad(by_hand, 1)(h, xs))
    close(nr.jvp(lambda h: total(h, xs), (h,), (nr.ones(3),))[1], nr.jvp(lambda h: by_hand(h, xs), (h,), (nr.ones(3),))[1])
    model.linear.weight.requires_grad_(True)
    params = {n: p.detach() for n, p in model.named_parameters()}

    def of_params(p, h):
        return nr.scan(lambda h, x: nr.func.functional_call(model, p, (h, x)), h, xs)[0].sum()

    def of_params_by_hand(p, h):
        return python_scan(lambda h, x: nr.func.functional_call(model, p, (h, x)), h, xs)[0].sum()

    mine, reference = nr.grad(of_params)(params, h), nr.grad(of_params_by_hand)(params, h)
    close(mine["linear.weight"], reference["linear.weight"])
    batch = nr.randn(4, 3)
    rows = nr.vmap(lambda h: nr.scan(lambda c, x: (nr.tanh(model.linear(c)) + x, c.sum()), h, xs))(batch)
    loop = [python_scan(lambda c, x: (nr.tanh(model.linear(c)) + x, c.sum()), b, xs) for b in batch]
    close(rows[0], nr.stack([r[0] for r in loop]))
    close(rows[1], nr.stack([r[1] for r in loop]))

    def outer(c, x):
        return nr.fori_loop(0, 3, lambda i, v: nr.sin(v) * x + i, c), c

    def outer_by_hand(c, x):
        v = c
        for i in range(3):
            v = nr.sin(v) * x + i
        return v, c

    close(nr.jit(lambda h: nr.scan(outer, h, xs)[0])(h), python_scan(outer_by_hand, h, xs)[0])
    hessian = nr.hessian(lambda h: nr.scan(outer, h, xs)[0].sum())(h)
    close(hessian, nr.hessian(lambda h: python_scan(outer_by_hand, h, xs)[0].sum())(h), rtol=1e-4, atol=1e-4)


def test_scan_over_structures_dimensions_and_directions():
    for reverse, dim in ((False, 0), (True, 0), (False, 1), (True, -1)):
        init, rows = (X[0], X) if dim == 0 else (X[:, 0], X.T)
        theirs = jax.lax.scan(lambda c, x: (c + x, c * x), init, rows, reverse=reverse)
        ours = nr.scan(lambda c, x: (c + x, c * x), nr.tensor(init), nr.tensor(X), dim=dim, reverse=reverse)
        np.testing.assert_allclose(ours[0].numpy(), theirs[0], rtol=1e-6)
        np.testing.assert_allclose(ours[1].numpy(), theirs[1] if dim == 0 else theirs[1].T, rtol=1e-6)
    carry, ys = nr.scan(lambda c, _: ({"a": c["a"] + 1, "b": (c["b"][0] * 2,)}, c["a"]), {"a": 0, "b": (jnp.ones(2),)}, length=4, unroll=2)
    assert carry["a"].item() == 4 and isinstance(carry["b"][0], jax.Array) and ys.tolist() == [0, 1, 2, 3]
    theirs = jax.lax.scan(lambda c, x: (c + x["p"], x["q"]), jnp.zeros(3), {"p": X, "q": X[:, 0]}, reverse=True)
    ours = nr.scan(lambda c, x: (c + x["p"], x["q"]), nr.zeros(3), {"p": nr.tensor(X), "q": nr.tensor(X[:, 0])}, reverse=True)
    np.testing.assert_allclose(ours[0].numpy(), theirs[0], rtol=1e-6)
    np.testing.assert_allclose(ours[1].numpy(), theirs[1])
    assert nr.scan(lambda c, x: (c, x), nr.ones(2), nr.zeros(0, 3))[1].shape == (0, 3)


def test_associative_scan_equals_jaxs_and_a_loop():
    for reverse, dim in ((False, 0), (True, 0), (False, 1), (True, -1)):
        ours = nr.associative_scan(lambda a, b: a * b + a, nr.tensor(X), dim, reverse)
        jax_result = jax.lax.associative_scan(lambda a, b: a * b + a, X, reverse=reverse, axis=dim % 2)
        np.testing.assert_allclose(ours.numpy(), jax_result, rtol=1e-6)
    matrices = nr.randn(6, 2, 2, requires_grad=True)
    products = nr.associative_scan(lambda a, b: a @ b, matrices)
    generic = nr.associative_scan(lambda a, b: a @ b, matrices, combine_mode="generic")
    by_hand = [matrices[0]]
    for m in matrices[1:]:
        by_hand.append(by_hand[-1] @ m)
    close(products, nr.stack(by_hand))
    close(generic, products)
    (mine,) = nr.autograd.grad(products.sum(), matrices)
    (reference,) = nr.autograd.grad(nr.stack(by_hand).sum(), matrices)
    close(mine, reference)
    pair = nr.associative_scan(lambda a, b: (a[0] + b[0], nr.maximum(a[1], b[1])), (nr.tensor(X), nr.tensor(X)), axis=1)
    np.testing.assert_allclose(pair[0].numpy(), X.cumsum(1), rtol=1e-5)
    np.testing.assert_allclose(pair[1].numpy(), np.maximum.accumulate(X, 1))
    with pytest.raises(TypeError, match="fn must keep shape and dtype"):
        nr.associative_scan(lambda a, b: (a + b).double(), nr.tensor(X))


def test_map_draws_and_writes_in_turn():
    model = Cell(0.5)
    out = nr.func.map(lambda x: model(x, x)[0], nr.ones(6, 3))
    assert model.calls.item() == 6 and len({tuple(row) for row in (out != 0).tolist()}) > 1
    np.testing.assert_allclose(nr.func.map(lambda x, y: x * y, nr.tensor(X), nr.tensor(X[0])).numpy(), X * X[0])
    assert nr.func.map(lambda x: (x.sum(), x), nr.tensor(X), batch_size=2)[1].shape == (5, 3)
    w = nr.ones(3, requires_grad=True)
    nr.func.map(lambda x, w: (x * w).sum(), nr.tensor(X), w).sum().backward()
    np.testing.assert_allclose(w.grad.numpy(), X.sum(0), rtol=1e-5)


@pytest.mark.parametrize("positive", [True, False])
def test_cond_equals_a_python_if(positive):
    a, b = Cell(), Cell()
    x, h = nr.tensor(np.abs(X[0]) if positive else -np.abs(X[0])), nr.ones(3)

    def step(h, x):
        out, s = nr.cond(x.sum() > 0, a, b, (h, x))
        (out.sum() + s).backward()
        return out.detach()

    def by_hand(h, x):
        out, s = (a if positive else b)(h, x)
        (out.sum() + s).backward()
        return out.detach()

    reference = by_hand(h, x)
    chosen, other = (a, b) if positive else (b, a)
    kept = chosen.linear.weight.grad
    for run in (step, nr.jit(step)):
        a.zero_grad(), b.zero_grad()
        a.calls.zero_(), b.calls.zero_()
        close(run(h, x), reference)
        close(chosen.linear.weight.grad, kept)
        assert (chosen.calls.item(), other.calls.item()) == (1, 0)
        assert other.linear.weight.grad is None or not other.linear.weight.grad.any()


def test_cond_under_vmap_and_grad():
    f = lambda x: nr.cond(x.sum() > 0, lambda x: x.sin(), lambda x: x * 2, (x,))  # noqa: E731
    x = nr.tensor(X)
    reference = nr.stack([r.sin() if r.sum() > 0 else r * 2 for r in x])
    close(nr.vmap(f)(x), reference)
    close(nr.jit(nr.vmap(f))(x), reference)
    gradient = nr.vmap(nr.grad(lambda r: f(r).sum()))(x)
    close(gradient, nr.stack([r.cos() if r.sum() > 0 else nr.full_like(r, 2) for r in x]))
    assert nr.jit(lambda p: nr.cond(p, lambda x, y: x, lambda x, y: y, nr.ones(2), nr.zeros(2)))(nr.tensor(False)).tolist() == [0, 0]


def test_cond_with_batchnorm_dropout_and_numbers():
    norm, drop = nn.BatchNorm1d(3), nn.Dropout(0.5)

    @nr.jit
    def f(flag, x, k):
        return nr.cond(flag, lambda x: drop(norm(x)) * k, lambda x: x, (x,))

    before = norm.running_mean.detach()
    x = nr.tensor(X)
    assert nr.equal(f(nr.tensor(False), x, 2), x) and nr.equal(norm.running_mean, before) and norm.num_batches_tracked.item() == 0
    first, second = f(nr.tensor(True), x, 2), f(nr.tensor(True), x, 2)
    assert norm.num_batches_tracked.item() == 2 and not nr.equal(norm.running_mean, before) and not nr.equal(first != 0, second != 0)


def test_switch():
    branches = [lambda x: x + 1, lambda x: x * 2, lambda x: -x]
    x = nr.tensor(X[0])
    compiled = nr.jit(lambda i, x: nr.switch(i, branches, x))
    for index, expected in ((-3, 0), (0, 0), (1, 1), (2, 2), (9, 2)):
        for run in (compiled, lambda i, x: nr.switch(i, branches, x)):
            close(run(nr.tensor(index), x), branches[expected](x))
    close(nr.vmap(lambda i: nr.switch(i, branches, x))(nr.arange(3)), nr.stack([b(x) for b in branches]))


def test_while_loop():
    generator = nr.Generator().manual_seed(0)
    count = nn.Buffer(nr.zeros((), dtype=nr.int64))

    def below(i, total):
        count.add_(1)
        return total < 3

    def draw(i, total):
        return i + 1, total + nr.rand((), generator=generator)

    def by_hand(i, total):
        while below(i, total):
            i, total = draw(i, total)
        return i, total

    expected = by_hand(nr.tensor(0), nr.tensor(0.0))
    asked = count.item()
    for run in (nr.while_loop, nr.jit(nr.while_loop)):
        generator.manual_seed(0)
        count.zero_()
        found = run(below, draw, (nr.tensor(0), nr.tensor(0.0)))
        assert found[0].item() == expected[0].item() and count.item() == asked
        close(found[1], expected[1])
    assert nr.while_loop(lambda x: x < 100, lambda x: x * 3, nr.tensor(1)).item() == 243
    doubled = nr.vmap(lambda x: nr.while_loop(lambda v: v < 10, lambda v: v * 2, x))(nr.tensor([1.0, 3.0, 20.0]))
    assert doubled.tolist() == [16, 12, 20]


def test_while_loop_differentiates_forward_only():
    f = lambda x: nr.while_loop(lambda v: v < 10, lambda v: v * 2, x)  # noqa: E731
    assert nr.jvp(f, (nr.tensor(1.0),), (nr.tensor(1.0),))[1].item() == 16
    assert nr.func.jacfwd(f)(nr.tensor(3.0)).item() == 4
    x = nr.tensor(1.0, requires_grad=True)
    with pytest.raises(RuntimeError, match="no reverse-mode derivative.*nr.scan"):
        f(x).backward()
    with pytest.raises(RuntimeError, match="no reverse-mode derivative.*nr.scan"):
        nr.grad(f)(nr.tensor(1.0))
    with pytest.raises(RuntimeError, match="no reverse-mode derivative.*nr.scan"):
        nr.jit(lambda x: f(x).backward())(x)
    assert not f(nr.tensor(1.0)).requires_grad


def test_fori_loop_with_fixed_and_with_traced_bounds():
    w = nr.tensor(1.5, requires_grad=True)
    value = nr.fori_loop(2, 5, lambda i, v: v * w + i, nr.tensor(1.0))
    value.backward()
    reference = nr.tensor(1.5, requires_grad=True)
    v = nr.tensor(1.0)
    for i in range(2, 5):
        v = v * reference + i
    v.backward()
    close(value, v)
    close(w.grad, reference.grad)
    assert nr.jit(lambda n: nr.fori_loop(0, n, lambda i, v: v + i, 0))(nr.tensor(5)).item() == 10
    assert nr.fori_loop(3, 3, lambda i, v: v + i, 7).item() == 7
    with pytest.raises(TypeError, match="to be integers"):
        nr.fori_loop(0, 1.5, lambda i, v: v, 0)


def test_a_loop_over_whole_training_steps():
    def train(loop):
        nr.manual_seed(0)
        model = nn.Sequential(nn.Linear(3, 4, bias=False), nn.BatchNorm1d(4), nn.ReLU(), nn.Dropout(0.2), nn.Linear(4, 1))
        optimizer = nr.optim.AdamW(model.parameters(), lr=0.01)
        xs, ys = nr.tensor(np.stack([X] * 4)), nr.ones(4, 5, 1)

        def step(count, batch):
            optimizer.zero_grad()
            loss = F.mse_loss(model(batch[0]), batch[1])
            loss.backward()
            optimizer.step()
            return count + 1, loss

        for _ in range(2):
            losses = loop(step, xs, ys)
        return losses, model, optimizer

    def by_hand(step, xs, ys):
        return nr.stack([step(0, batch)[1] for batch in zip(xs, ys, strict=True)])

    reference, reference_model, _ = train(by_hand)
    for loop in (lambda step, xs, ys: nr.scan(step, 0, (xs, ys))[1], nr.jit(lambda step, xs, ys: nr.scan(step, 0, (xs, ys))[1])):
        losses, model, _ = train(loop)
        close(losses, reference)
        assert not losses.requires_grad
        for (name, mine), theirs in zip(model.state_dict().items(), reference_model.state_dict().values(), strict=True):
            np.testing.assert_allclose(mine.numpy(), theirs.numpy(), rtol=2e-4, atol=1e-5, err_msg=name)


def test_gradients_accumulate_over_the_turns_of_a_loop():
    model, xs = nn.Linear(3, 1), nr.tensor(X)

    def accumulate(c, x):
        model(x).square().sum().backward()
        return c, None

    for run in (nr.scan, nr.jit(nr.scan)):
        model.zero_grad()
        run(accumulate, (), xs)
        mine = model.weight.grad
        model.zero_grad()
        (model(xs) ** 2).sum().backward()
        close(mine, model.weight.grad)


def test_second_derivatives_and_retained_graphs_through_a_loop():
    x = nr.tensor(2.0, requires_grad=True)
    y, _ = nr.scan(lambda c, _: (c * x, None), 1.0, length=3)
    (first,) = nr.autograd.grad(y, x, create_graph=True)
    (second,) = nr.autograd.grad(first, x)
    assert (y.item(), first.item(), second.item()) == (8, 12, 12)


def test_no_grad_holds_in_loops():
    x = nr.tensor(2.0, requires_grad=True)
    with nr.no_grad():
        assert not nr.scan(lambda c, _: (c * x, None), 1.0, length=3)[0].requires_grad
    y, stopped = nr.scan(lambda c, _: ((c[0] * x, c[1] * x.detach()), None), (1.0, 1.0), length=3)[0]
    assert y.requires_grad and not stopped.requires_grad


@pytest.mark.parametrize(
    ("run", "error", "text"),
    [
        (lambda p, x: nr.cond(p, lambda: x, lambda: (x, x)), TypeError, "false_fn and true_fn must return the same structure"),
        (lambda p, x: nr.cond(p, lambda: x, lambda: x.double()), TypeError, r"the output is float64\[3\] in false_fn and float32\[3\] in true_fn"),
        (lambda p, x: nr.cond(p, lambda: {"a": x}, lambda: {"a": x[:2]}), TypeError, r"output\['a'\] is float32\[2\] in false_fn and float32\[3\] in true_fn"),
        (lambda p, x: nr.cond(p, lambda: "yes", lambda: "no"), TypeError, "the function returned 'no' of type str"),
        (lambda p, x: nr.cond(x, lambda: x, lambda: x), RuntimeError, r"expected pred to be a number or a tensor with one element, got shape \(3,\)"),
        (lambda p, x: nr.switch(p.long(), [lambda: x, lambda: x.sum()]), TypeError, r"float32\[3\] in branches\[0\] and float32\[\] in branches\[1\]"),
        (lambda p, x: nr.scan(lambda c, x: (c.double(), x), x, x), TypeError, r"must keep its shape and dtype, but goes in as float32\[3\] and comes out as float64\[3\]"),
        (lambda p, x: nr.scan(lambda c, x: ((c, c), x), x, x), TypeError, "structure"),
        (lambda p, x: nr.scan(lambda c, x: c, x, x), TypeError, "must return a pair"),
        (lambda p, x: nr.scan(lambda c, x: (c, x), x, (x, x[:2])), ValueError, r"lengths \[2, 3\]"),
        (lambda p, x: nr.scan(lambda c, x: (c, x), x), ValueError, "write length="),
        (lambda p, x: nr.while_loop(lambda v: v, lambda v: v, x), RuntimeError, r"cond_fn must return a bool tensor with one element, got float32\[3\]"),
        (lambda p, x: nr.while_loop(lambda v: v.sum() > 0, lambda v: v[:1], x), TypeError, r"goes in as float32\[3\] and comes out as float32\[1\]"),
        (lambda p, x: nr.func.map(lambda v: v, nr.tensor(1.0)), ValueError, "a 0-d tensor has no dimension to go along"),
    ],
)
def test_errors_say_what_differs(run, error, text):
    with pytest.raises(error, match=text):
        nr.jit(run)(nr.tensor(True), nr.tensor(X[0]))


def test_a_buffer_that_changes_its_type_in_a_loop_is_named():
    buffer = nn.Buffer(nr.zeros(()))

    def grow(c, x):
        buffer.assign(nr.zeros(2))
        return c + buffer.sum(), None

    with pytest.raises(TypeError, match=r"a Buffer .*different|a Buffer must keep"):
        nr.jit(lambda x: nr.cond(x.sum() > 0, lambda: buffer.assign(nr.zeros(2)).sum(), lambda: nr.zeros(())))(nr.ones(1))
    with pytest.raises(TypeError, match=r"a Buffer must keep its shape"):
        nr.scan(lambda c, x: (c + buffer.sum(), buffer.assign(nr.zeros(2))), 0.0, nr.ones(3))


def test_cells_keep_their_values_if_the_body_raises():
    counter = nn.Buffer(nr.zeros(()))

    def body(c, x):
        counter.add_(1)
        raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        nr.scan(body, 0, nr.ones(3))
    assert counter.item() == 0


def test_bare_jax_around_control_flow():
    model = nn.Linear(3, 3).eval()
    scan = lambda h, xs: nr.scan(lambda c, x: (nr.tanh(model(c)) + x, c.sum()), nr.as_tensor(h), nr.as_tensor(xs))[0]._value  # noqa: E731
    h = X[0]
    np.testing.assert_allclose(jax.jit(scan)(h, X), scan(h, X), rtol=1e-5)
    gradient = jax.grad(lambda h: scan(h, X).sum())(h)
    np.testing.assert_allclose(gradient, nr.grad(lambda h: python_scan(lambda c, x: (nr.tanh(model(c)) + x, c.sum()), h, nr.tensor(X))[0].sum())(nr.tensor(h)).detach().numpy(), rtol=1e-4)
