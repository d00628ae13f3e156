"""The tape: gradients, hooks, `Function`, higher derivatives, and the checkers."""

import gc
import weakref

import numpy as np
import pytest
import torch

import neurarust_jax as nr
from neurarust_jax import nn


def test_gradients_accumulate_and_can_be_dropped():
    x = nr.tensor([1.0, 2.0], requires_grad=True)
    (x * x).sum().backward()
    (x * 3).sum().backward()
    assert x.grad.tolist() == [5, 7]
    x.grad = None
    assert x.grad is None
    (x * 3).sum().backward()
    assert x.grad.tolist() == [3, 3]


def test_a_tensor_used_several_times_gets_the_sum():
    x = nr.tensor(2.0, requires_grad=True)
    y = x * x
    z = y * y + y * x + x
    z.backward()
    assert x.grad.item() == 4 * 8 + 3 * 4 + 1


def test_backward_with_a_cotangent():
    x = nr.tensor([1.0, 2.0], requires_grad=True)
    (x * x).backward(nr.tensor([1.0, 10.0]))
    assert x.grad.tolist() == [2, 40]
    with pytest.raises(RuntimeError, match=r"shape of \(3,\) and output has a shape of \(2,\)"):
        (x * x).backward(nr.ones(3))


def test_backward_of_a_non_scalar_names_the_shape_and_the_remedy():
    x = nr.ones(2, 3, requires_grad=True)
    with pytest.raises(RuntimeError, match=r"only for scalar outputs.*\(2, 3\).*y\.sum\(\)\.backward\(\)"):
        (x * 2).backward()


def test_a_second_backward_over_a_freed_graph_is_explained():
    x = nr.ones(2, requires_grad=True)
    y = (x * x).sum()
    y.backward()
    with pytest.raises(RuntimeError, match=r"second time.*SumBackward0.*retain_graph=True"):
        y.backward()
    z = (x * x).sum()
    z.backward(retain_graph=True)
    z.backward()
    assert x.grad.tolist() == [6, 6]


def test_backward_without_a_graph_says_why():
    with pytest.raises(RuntimeError, match="does not require grad"):
        nr.ones(1).sum().backward()


def test_modes():
    x = nr.ones(2, requires_grad=True)
    with nr.no_grad():
        assert not (x * 2).requires_grad and not nr.is_grad_enabled()
        with nr.enable_grad():
            assert (x * 2).requires_grad
    with nr.inference_mode():
        assert not (x * 2).requires_grad and nr.is_inference_mode_enabled()
    with nr.set_grad_enabled(False):
        assert not (x * 2).requires_grad
    assert nr.is_grad_enabled()
    nr.set_grad_enabled(False)
    assert not nr.is_grad_enabled()
    nr.set_grad_enabled(True)

    @nr.no_grad()
    def decorated():
        return x * 2

    @nr.no_grad
    def bare():
        return x * 2

    assert not decorated().requires_grad and not bare().requires_grad and (x * 2).requires_grad
    with pytest.raises(ValueError, match="boom"), nr.no_grad():
        raise ValueError("boom")
    assert nr.is_grad_enabled()


def test_detach_cuts_the_graph():
    x = nr.tensor(3.0, requires_grad=True)
    (x * x.detach()).backward()
    assert x.grad.item() == 3
    assert x.detach().grad_fn is None and x.data.requires_grad is False


def test_only_leaves_keep_gradients_unless_asked():
    x = nr.tensor(2.0, requires_grad=True)
    y = x * x
    z = y * 3
    y.retain_grad()
    z.backward()
    assert y.grad.item() == 3 and x.grad.item() == 12 and z.grad is None
    assert x.is_leaf and not y.is_leaf and y.retains_grad


def test_hooks_see_and_replace_gradients():
    x = nr.tensor(2.0, requires_grad=True)
    seen = []
    y = x * x
    handle = y.register_hook(lambda g: seen.append(g.item()) or g * 10)
    (y * 3).backward()
    assert seen == [3] and x.grad.item() == 120
    handle.remove()
    x.grad = None
    x.register_hook(lambda g: g + 1)
    (x * x).backward()
    assert x.grad.item() == 5
    after = []
    w = nn.Parameter(nr.tensor(1.0))
    w.register_post_accumulate_grad_hook(lambda p: after.append(p.grad.item()))
    (w * 4).backward()
    assert after == [4]


def test_grad_function():
    x, y = nr.tensor(2.0, requires_grad=True), nr.tensor(3.0, requires_grad=True)
    z = x * x * y
    gx, gy = nr.autograd.grad(z, (x, y), retain_graph=True)
    assert (gx.item(), gy.item()) == (12, 4) and x.grad is None
    u = nr.tensor(1.0, requires_grad=True)
    with pytest.raises(RuntimeError, match="allow_unused=True"):
        nr.autograd.grad(z, (x, u), retain_graph=True)
    assert nr.autograd.grad(z, (x, u), retain_graph=True, allow_unused=True)[1] is None
    assert nr.autograd.grad(z, (u,), retain_graph=True, materialize_grads=True)[0].item() == 0
    inner = x * x
    (g,) = nr.autograd.grad(inner * y, inner)
    assert g.item() == 3
    rows = nr.autograd.grad(x * nr.ones(2), x, nr.eye(2), is_grads_batched=True)
    assert rows[0].tolist() == [1, 1]


def test_backward_into_some_inputs_only():
    x, y = nr.tensor(2.0, requires_grad=True), nr.tensor(3.0, requires_grad=True)
    (x * y).backward(inputs=[x])
    assert x.grad.item() == 3 and y.grad is None


def test_double_backward_equals_pytorchs():
    data = np.random.default_rng(0).standard_normal((3, 3))

    def third_derivative(m, x):
        y = (m.tanh(x @ x) * m.sin(x)).sum()
        (g,) = m.autograd.grad(y, x, create_graph=True)
        (h,) = m.autograd.grad((g * g).sum(), x, create_graph=True)
        return m.autograd.grad((h * h).sum(), x)[0]

    ours = third_derivative(nr, nr.tensor(data, requires_grad=True))
    theirs = third_derivative(torch, torch.tensor(data, requires_grad=True))
    np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-10)


def test_create_graph_leaves_a_differentiable_grad():
    x = nr.tensor(2.0, requires_grad=True)
    (x**3).backward(create_graph=True)
    assert x.grad.requires_grad
    g = x.grad
    x.grad = None
    g.backward()
    assert x.grad.item() == 12


def test_complex_gradients_follow_pytorchs_convention():
    data = np.array([1 + 2j, -0.5 + 0.3j])
    for f in (lambda m, z: (z * z.conj()).real.sum(), lambda m, z: (m.exp(z) * (2 - 1j)).abs().sum(), lambda m, z: (z**3).imag.sum()):
        ours, theirs = nr.tensor(data, requires_grad=True), torch.tensor(data, requires_grad=True)
        f(nr, ours).backward()
        f(torch, theirs).backward()
        np.testing.assert_allclose(ours.grad.numpy(), theirs.grad.numpy(), rtol=1e-10)


class Cube(nr.autograd.Function):
    @staticmethod
    def forward(ctx, x, scale):
        ctx.save_for_backward(x)
        ctx.scale = scale
        return x**3 * scale

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return grad * 3 * x**2 * ctx.scale, None


class Wrong(nr.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.sin()

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return grad * x.cos() * 1.001


def test_function_forward_backward_and_double_backward():
    x = nr.tensor([2.0], dtype=nr.float64, requires_grad=True)
    y = Cube.apply(x, 2.0)
    assert "CubeBackward" in repr(y.grad_fn)
    (g,) = nr.autograd.grad(y.sum(), x, create_graph=True)
    (h,) = nr.autograd.grad(g.sum(), x)
    assert (g.item(), h.item()) == (24, 24)
    assert nr.autograd.gradcheck(lambda t: Cube.apply(t, 2.0), x)


def test_function_is_taken_by_jit_and_by_functional_gradients():
    class Straight(nr.autograd.Function):
        @staticmethod
        def forward(x):
            return x.round()

        @staticmethod
        def setup_context(ctx, inputs, output):
            ctx.shape = inputs[0].shape

        @staticmethod
        def backward(ctx, grad):
            return grad * 7

    x = nr.tensor([0.4, 1.6])
    assert nr.grad(lambda t: Straight.apply(t).sum())(x).tolist() == [7, 7]
    p = nn.Parameter(x)

    @nr.jit
    def step():
        p.grad = None
        Straight.apply(p).sum().backward()

    step()
    assert p.grad.tolist() == [7, 7]
    assert nr.vmap(nr.grad(lambda t: Straight.apply(t)))(x).tolist() == [7, 7]


def test_function_with_two_outputs_one_unused():
    class Split(nr.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2, x * 3

        @staticmethod
        def backward(ctx, a, b):
            assert b.tolist() == [0]
            return a * 2 + b * 3

    x = nr.ones(1, requires_grad=True)
    Split.apply(x)[0].sum().backward()
    assert x.grad.tolist() == [2]


def test_function_with_a_wrong_number_of_gradients():
    class Bad(nr.autograd.Function):
        @staticmethod
        def forward(ctx, x, y):
            return x * y

        @staticmethod
        def backward(ctx, g):
            return g

    x = nr.ones(1, requires_grad=True)
    with pytest.raises(RuntimeError, match=r"BadBackward returned an incorrect number of gradients \(expected 2, got 1\)"):
        Bad.apply(x, x).backward()


# --- the checkers ------------------------------------------------------------------------------------------------------


def test_gradcheck_catches_a_gradient_wrong_by_a_thousandth():
    x = nr.randn(4, dtype=nr.float64, requires_grad=True)
    with pytest.raises(RuntimeError, match=r"Jacobian mismatch for output 0 with respect to input 0"):
        nr.autograd.gradcheck(Wrong.apply, x)
    assert not nr.autograd.gradcheck(Wrong.apply, x, raise_exception=False)


@pytest.mark.parametrize("scale", [1e-9, 1e-4, 1.0, 1e4, 1e9])
@pytest.mark.parametrize(
    "f", [nr.log, nr.sqrt, lambda x: x**3, lambda x: x * x.sum(), lambda x: 1 / x, nr.atan], ids=["log", "sqrt", "cube", "with the sum", "reciprocal", "atan"]
)
def test_gradcheck_passes_right_gradients_of_badly_scaled_inputs(f, scale):
    x = ((nr.rand(3, dtype=nr.float64) + 0.5) * scale).requires_grad_()
    assert nr.autograd.gradcheck(f, x)


@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e9])
def test_gradcheck_catches_wrong_gradients_of_badly_scaled_inputs(scale):
    class Tilted(nr.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        def backward(ctx, g):
            return g * 2.0001 * ctx.saved_tensors[0]

    x = ((nr.rand(3, dtype=nr.float64) + 0.5) * scale).requires_grad_()
    assert not nr.autograd.gradcheck(Tilted.apply, x, raise_exception=False)


def test_gradcheck_catches_a_lost_gradient():
    x = nr.ones(2, dtype=nr.float64, requires_grad=True)
    with pytest.raises(RuntimeError, match="lost on the way"):
        nr.autograd.gradcheck(lambda t: t.detach() * 2, x)
    with pytest.raises(RuntimeError, match="mismatch"):
        nr.autograd.gradcheck(lambda t: t * t.detach(), x)


def test_gradcheck_says_when_a_kink_makes_it_meaningless():
    x = nr.zeros(1, dtype=nr.float64, requires_grad=True)
    with pytest.raises(RuntimeError, match="not smooth|mismatch"):
        nr.autograd.gradcheck(nn.functional.relu, x)
    with pytest.raises(RuntimeError, match="cannot be trusted.*not smooth"):
        nr.autograd.gradcheck(lambda t: t * (t > 0.01) + t, nr.tensor([0.01], dtype=nr.float64, requires_grad=True))
    assert nr.autograd.gradcheck(lambda t: t * 3, x)


def test_gradcheck_wants_double_precision():
    with pytest.raises(ValueError, match=r"float32.*x\.double\(\)"):
        nr.autograd.gradcheck(nr.sin, nr.ones(2, requires_grad=True))
    with pytest.raises(ValueError, match="at least one input"):
        nr.autograd.gradcheck(nr.sin, nr.ones(2, dtype=nr.float64))


def test_gradcheck_of_complex_and_several_inputs_and_outputs():
    z = nr.tensor([1 + 2j, 0.5 - 1j], dtype=nr.complex128, requires_grad=True)
    x = nr.tensor([0.3, -1.2], dtype=nr.float64, requires_grad=True)
    assert nr.autograd.gradcheck(lambda a, b: (a * a * b, (a * a.conj()).real + b), (z, x))


def test_gradgradcheck():
    x = nr.randn(3, dtype=nr.float64, requires_grad=True)
    y = nr.randn(3, dtype=nr.float64, requires_grad=True)
    assert nr.autograd.gradgradcheck(lambda a, b: (a * b).sin() * a, (x, y))

    class HalfRight(nr.autograd.Function):  # the gradient is right, its own gradient is not
        @staticmethod
        def forward(ctx, t):
            ctx.save_for_backward(t)
            return t**3

        @staticmethod
        def backward(ctx, g):
            return g * 3 * ctx.saved_tensors[0].detach() ** 2

    assert nr.autograd.gradcheck(HalfRight.apply, x)
    assert not nr.autograd.gradgradcheck(HalfRight.apply, (x,), raise_exception=False)


# --- memory and programs -----------------------------------------------------------------------------------------------


def test_backward_reuses_its_program_and_frees_the_graph():
    from neurarust_jax.autograd import engine

    model = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), nn.Linear(3, 1))
    x = nr.randn(4, 3)
    for _ in range(2):  # a graph may have to come a second time before it is compiled
        model(x).sum().backward()
    before = len(engine._programs)
    for _ in range(3):
        y = model(x).sum()
        node = weakref.ref(y.grad_fn)
        y.backward()
    assert len(engine._programs) == before
    del y
    gc.collect()
    assert node() is None


def test_graphs_of_ever_new_structure_do_not_fill_the_cache():
    from neurarust_jax.autograd import engine

    before = len(engine._programs)
    for length in range(1, 30):
        x = nr.tensor(1.5, requires_grad=True)
        y = x
        for _ in range(length):
            y = y * 1.01 + x
        y.backward()
        expected = torch.tensor(1.5, requires_grad=True)
        z = expected
        for _ in range(length):
            z = z * 1.01 + expected
        z.backward()
        np.testing.assert_allclose(x.grad.item(), expected.grad.item(), rtol=1e-5)
    assert len(engine._programs) - before <= engine._PROGRAMS_UNUSED + 1


def test_a_linear_op_keeps_no_input():
    x = nr.ones(1000, requires_grad=True)
    middle = x.exp()
    reference = weakref.ref(middle)
    y = (middle + 1).reshape(10, 100)
    array = weakref.ref(y.grad_fn)
    del middle
    gc.collect()
    assert reference() is None and array() is not None
    y.sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), np.exp(np.ones(1000)), rtol=1e-6)


def test_in_place_changes_of_a_parameter_do_not_disturb_a_recorded_graph():
    p = nn.Parameter(nr.tensor([2.0]))
    y = p * p
    with nr.no_grad():
        p.fill_(100.0)
    y.backward()
    assert p.grad.tolist() == [4]


def test_a_functions_backward_holds_for_what_a_compiled_function_returns():
    class Tenfold(nr.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, grad):
            return grad * 10

    x = nr.ones(2, requires_grad=True)
    nr.jit(Tenfold.apply)(x).sum().backward()
    assert x.grad.tolist() == [10, 10]


def test_an_op_whose_annotations_are_text_is_refused():
    from neurarust_jax.dispatch import OPS, op

    def doubled(input: "Array"):  # noqa: F821
        return input * 2

    with pytest.raises(TypeError, match="__future__"):
        op(doubled, method=False)(nr.ones(2))
    del OPS["doubled"]
