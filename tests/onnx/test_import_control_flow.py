"""`If`, `Loop`, `Scan` and `Gradient` of imported models: eagerly, compiled, and with gradients to what their bodies read from outside."""

import numpy as np
import onnx
import onnxruntime
import pytest

import neurarust_jax as nr


def load(text):
    return nr.onnx.load(onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["" : 21]> {text}'))


def both_ways(model, *inputs):
    """(outputs, gradient of parameter w) eagerly and compiled; they must agree."""

    def step(*inputs):
        model.zero_grad()
        outputs = model(*inputs)
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        sum(y.sum() for y in outputs).backward()
        return outputs

    eager = [y.detach().numpy() for y in step(*inputs)]
    gradient = model.w.grad.numpy()
    compiled = [y.detach().numpy() for y in nr.jit(step)(*inputs)]
    for a, b in zip(eager, compiled, strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-5)
    np.testing.assert_allclose(model.w.grad.numpy(), gradient, rtol=1e-5)
    return eager, gradient


X = nr.tensor([1.0, 2.0, 4.0])


def test_a_traced_condition_chooses_a_branch_when_the_program_runs():
    model = load("""f (float[N] x, bool c) => (float[N] y) <float[3] w = {1.0, 2.0, 3.0}> {
        y = If (c) <then_branch = t () => (float[N] a) { a = Mul(x, w) }, else_branch = e () => (float[N] b) { b = Add(x, w) }>
    }""")
    for condition, expected, gradient in ((True, [1, 4, 12], [1, 2, 4]), (False, [2, 4, 7], [1, 1, 1])):
        (y,), found = both_ways(model, X, nr.tensor(condition))
        np.testing.assert_array_equal(y, expected)
        np.testing.assert_array_equal(found, gradient)


def test_branches_of_different_shapes_run_eagerly_and_are_refused_when_traced():
    model = load("""f (float[N] x, bool c) => (float[M] y) <int64[1] one = {1}> {
        y = If (c) <then_branch = t () => (float[N] a) { a = Add(x, x) }, else_branch = e () => (float[M] b) { b = CenterCropPad(x, one) }>
    }""")
    assert model(X, nr.tensor(False)).tolist() == [2.0]
    with pytest.raises(RuntimeError, match="both branches must give the same shapes"):
        nr.jit(model)(X, nr.tensor(True))


LOOP = """f (float[N] x) => (float[N] y, float[M, N] ys) <float[3] w = {{1.0, 1.02, 0.99}}, int64 n = {{{turns}}}> {{
    y, ys = Loop (n, , x) <body = b (int64 i, bool c, float[N] s) => (bool co, float[N] so, float[N] o) {{
        co = Cast<to = 9>(c)  so = Mul(s, w)  o = Cast<to = 1>(so) }}>
}}"""


@pytest.mark.parametrize("turns", [0, 3, 40])
def test_a_loop_of_known_length_stacks_its_turns_and_has_gradients(turns):
    model = load(LOOP.format(turns=turns))
    w, x = np.array([1.0, 1.02, 0.99], np.float32), X.numpy()
    if not turns:
        y, ys = model(X)
        assert y.tolist() == X.tolist()
        assert tuple(ys.shape) == (0, 3)
        return
    (y, ys), gradient = both_ways(model, X)
    powers = np.arange(1, turns + 1)[:, None]
    np.testing.assert_allclose(ys, x * w**powers, rtol=1e-4)
    np.testing.assert_allclose(y, ys[-1])
    np.testing.assert_allclose(gradient, (x * powers * w ** (powers - 1)).sum(0) + x * turns * w ** (turns - 1), rtol=1e-4)


def test_a_loop_whose_length_is_traced_runs_compiled_unless_it_stacks_its_turns():
    text = """f (float[N] x, int64 n) => (float[N] y{more}) <float[3] w = {{1.0, 2.0, 0.5}}> {{
        y{names} = Loop (n, , x) <body = b (int64 i, bool c, float[N] s) => (bool co, float[N] so{out}) {{ co = Cast<to = 9>(c)  so = Mul(s, w)  {step} }}>
    }}"""
    plain = load(text.format(more="", names="", out="", step=""))
    assert nr.jit(plain)(X, nr.tensor(3)).tolist() == plain(X, nr.tensor(3)).tolist() == [1.0, 16.0, 0.5]
    stacking = load(text.format(more=", float[M, N] ys", names=", ys", out=", float[N] o", step="o = Cast<to = 1>(so)"))
    assert tuple(stacking(X, nr.tensor(3))[1].shape) == (3, 3)
    with pytest.raises(RuntimeError, match="how many turns it makes depends on values"):
        nr.jit(stacking)(X, nr.tensor(3))


def test_a_loop_goes_on_while_its_condition_holds():
    text = """f (float x{given}) => (float y) <float w = {{2.0}}, float limit = {{100.0}}, bool go = {{1}}, int64 most = {{1000}}> {{
        y = Loop ({most}, go, x) <body = b (int64 i, bool c, float s) => (bool co, float so) {{ so = Mul(s, w)  co = Less(so, limit) }}>
    }}"""
    unbounded = load(text.format(given="", most=""))
    assert nr.jit(unbounded)(nr.tensor(3.0)).item() == unbounded(nr.tensor(3.0)).item() == 192.0
    bounded = load(text.format(given="", most="most"))
    (y,), gradient = both_ways(bounded, nr.tensor(3.0))
    assert (float(y), float(gradient)) == (192.0, 576.0)


COUNTED = """f (float[N] x, int64 k) => (float[N] y) <float[3] w = {{1.0, 2.0, 0.5}}, int64 ten = {{10}}, int64[1] one = {{1}}, int64[1] zero = {{0}}> {{
    {count}
    y = Loop (n, , x) <body = b (int64 i, bool c, float[N] s) => (bool co, float[N] so) {{ co = Cast<to = 9>(c)  so = Mul(s, w) }}>
}}"""


COUNTS = {
    "Min": "n = Min(k, ten)", "Clip": "n = Clip(k, , ten)", "Mod": "n = Mod(k, ten)", "Size": "n = Size(x)",
    "reshaped": "k1 = Unsqueeze(k, zero)  k2 = Min(k1, ten)  k3 = Max(k2, one)  n = Squeeze(k3)",
}  # fmt: skip


@pytest.mark.parametrize("count", COUNTS)
def test_a_loop_whose_traced_length_a_constant_bounds_has_gradients(count):
    model = load(COUNTED.format(count=COUNTS[count]))
    (y,), gradient = both_ways(model, X, nr.tensor(3))
    np.testing.assert_allclose(y, [1, 16, 0.5])
    np.testing.assert_allclose(gradient, [3, 24, 3])


def test_a_loop_of_unknown_length_has_gradients_turn_by_turn_and_is_named_where_it_has_none():
    model = load(COUNTED.format(count="n = Identity(k)"))

    def step(x, k):
        model.zero_grad()
        model(x, k).sum().backward()
        return model.w.grad

    k = nr.tensor(3)
    assert step(X, k).tolist() == [3, 24, 3]
    message = (
        "Loop that makes 'y'.*no reverse-mode derivative inside nr.jit.*trip count is computed from values that are being traced.*without the transformation"
    )
    with pytest.raises(RuntimeError, match=message):
        nr.jit(step)(X, k)

    assert nr.jit(model)(X, k).tolist() == [1, 16, 0.5]  # without a backward pass there is nothing to refuse
    for differentiated in (nr.grad(lambda x, k: model(x, k).sum()), lambda x, k: nr.func.vjp(lambda x: model(x, k).sum(), x)[1](nr.tensor(1.0))):
        with pytest.raises(RuntimeError, match=message):
            nr.jit(differentiated)(X, k)
    forward = nr.jit(lambda x, k: nr.func.jacfwd(lambda x: model(x, k).sum())(x))
    assert forward(X, k).tolist() == [1, 8, 0.125]


def test_a_loop_that_only_its_condition_ends_is_named_where_it_has_no_gradient():
    model = load("""f (float x) => (float y) <float w = {2.0}, float limit = {100.0}, bool go = {1}> {
        y = Loop (, go, x) <body = b (int64 i, bool c, float s) => (bool co, float so) { so = Mul(s, w)  co = Less(so, limit) }>
    }""")
    y = nr.jit(lambda x: model(x))(nr.tensor(3.0))
    with pytest.raises(RuntimeError, match="no trip count bounds it"):
        nr.jit(nr.grad(lambda x: model(x)))(nr.tensor(3.0))
    assert y.item() == 192.0
    x = nr.tensor(3.0, requires_grad=True)
    model(x).backward()
    assert x.grad.item() == 64.0


@pytest.mark.parametrize("compiles", [False, True])
def test_a_loop_of_ten_thousand_turns_has_a_gradient(compiles):
    model = load(LOOP.format(turns=10_000).replace("1.02, 0.99", "1.0, 0.5"))

    def step(x):
        model.zero_grad()
        y, ys = model(x)
        (y.sum() + ys[-1].sum()).backward()
        return ys, model.w.grad

    ys, gradient = (nr.jit(step) if compiles else step)(X)
    assert tuple(ys.shape) == (10_000, 3)
    np.testing.assert_allclose(gradient.numpy(), [20_000, 40_000, 0])


SCAN = """f (float[N] h, float[A, B] x) => (float[N] y, float[C, D] ys) <float[3] w = {1.0, 2.0, 0.5}> {
    y, ys = Scan <num_scan_inputs = 1, %s body = b (float[N] s, float[N] v) => (float[N] so, float[N] o) {
        p = Mul(s, w)  so = Add(p, v)  o = Tanh(so) }> (h, x)
}"""


@pytest.mark.parametrize("layout", ["", "scan_input_axes = [1], scan_output_axes = [-1], scan_input_directions = [1], scan_output_directions = [1],"])
def test_scan_agrees_with_onnxruntime_and_has_gradients(layout):
    proto = onnx.parser.parse_model('<ir_version: 10, opset_import: ["" : 21]> ' + SCAN % layout)
    xs = np.random.default_rng(0).standard_normal((5, 3)).astype(np.float32)
    xs = xs.T.copy() if layout else xs
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    expected = session.run(None, {"h": X.numpy(), "x": xs})
    found, _ = both_ways(nr.onnx.load(proto), X, nr.tensor(xs))
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5)


def test_a_body_that_draws_draws_anew_in_every_turn_and_call():
    model = load("""f (float[N] h, float[T, N] x) => (float[N] y, float[T, N] ys) {
        y, ys = Scan <num_scan_inputs = 1, body = b (float[N] s, float[N] v) => (float[N] so, float[N] o) { o = RandomNormalLike(v)  so = Add(s, o) }> (h, x)
    }""")
    compiled = nr.jit(lambda h, x: model(h, x)[1])
    first, second = (compiled(X, nr.zeros(4, 3)).numpy() for _ in range(2))
    assert len(np.unique(np.concatenate([first, second]))) == 24


def test_gradients_of_a_function_that_scans_go_through_jax_too():
    model = load(SCAN % "")
    xs = nr.randn(4, 3)
    x = X.clone().requires_grad_()
    model(x, xs)[1].sum().backward()
    np.testing.assert_allclose(nr.grad(lambda h: model(h, xs)[1].sum())(X).detach().numpy(), x.grad.numpy(), rtol=1e-5)


def test_a_gradient_node_differentiates_the_graph_before_it():
    proto = onnx.parser.parse_model(
        '<ir_version: 10, opset_import: ["" : 21, "ai.onnx.preview.training" : 1]> f (float[N] a, float[N] b) => (float[N] c, float[N] da, float[N] db) '
        '{ c = Mul(a, b)  da, db = ai.onnx.preview.training.Gradient <xs = ["a", "b"], y = "c"> (a, b) }'
    )
    c, da, db = nr.onnx.load(proto)(X, X + 1)
    assert (c.tolist(), da.tolist(), db.tolist()) == ([2.0, 6.0, 20.0], [2.0, 3.0, 5.0], [1.0, 2.0, 4.0])
