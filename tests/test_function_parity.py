"""`autograd.Function` against PyTorch's: contexts, forward mode, batches, shapes of gradients and errors, from one source for both libraries."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

import neurarust_jax as nr
from neurarust_jax.autograd.function import once_differentiable

pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:DeprecationWarning")


def functions(m, once):
    """Functions written by a user, in library `m`. Their rules are deliberately wrong by a factor, so that it shows whose rule was used."""
    base = m.autograd.Function

    class Square(base):
        @staticmethod
        def forward(ctx, a):
            ctx.save_for_backward(a)
            return a * a

        @staticmethod
        @once
        def backward(ctx, g):
            return 2 * ctx.saved_tensors[0] * g

    class Returns(base):
        @staticmethod
        def forward(ctx, a, made):
            ctx.made = made
            return a * 2

        @staticmethod
        def backward(ctx, g):
            return ctx.made(g), None

    class Several(base):
        @staticmethod
        def forward(ctx, a, n, b, flag=True):
            ctx.n = n
            highest = m.argmax(a)
            kept = a * 2
            ctx.mark_non_differentiable(highest, kept)
            return a * n, highest, kept, a > 1, "text", None

        @staticmethod
        def backward(ctx, g, *rest):
            assert len(rest) == 5 and ctx.needs_input_grad[:3] == (True, False, False)
            return g * ctx.n, None, None, None, None

    class Unmaterialized(base):
        @staticmethod
        def forward(ctx, a):
            ctx.set_materialize_grads(False)
            return a * 2, a * 3

        @staticmethod
        def backward(ctx, g, h):
            assert h is None
            return g * 2

    class Product(base):
        @staticmethod
        def forward(a, b):
            return a * b

        @staticmethod
        def setup_context(ctx, inputs, output):
            ctx.save_for_backward(*inputs)
            ctx.save_for_forward(*inputs)

        @staticmethod
        def backward(ctx, g):
            a, b = ctx.saved_tensors
            return g * b * 10, g * a * 10

        @staticmethod
        def jvp(ctx, s, t):
            a, b = ctx.saved_tensors
            return s * b * 7 + t * a * 7

    class Batched(base):
        @staticmethod
        def forward(a):
            return a * 2

        @staticmethod
        def setup_context(ctx, inputs, output):
            pass

        @staticmethod
        def backward(ctx, g):
            return g * 2

        @staticmethod
        def vmap(info, in_dims, a):
            assert info.batch_size == a.shape[in_dims[0]]
            return Batched.apply(a) * 5, in_dims[0]

    return SimpleNamespace(Square=Square, Returns=Returns, Several=Several, Unmaterialized=Unmaterialized, Product=Product, Batched=Batched)


LIBRARIES = [(nr, functions(nr, once_differentiable)), (torch, functions(torch, torch.autograd.function.once_differentiable))]


def both(program):
    """What the program gives in each library: equal values."""
    results = [program(m, f, m.tensor([1.0, 2.0, 3.0], requires_grad=True)) for m, f in LIBRARIES]
    ours, theirs = ([np.asarray(t.detach()) for t in (r if isinstance(r, tuple | list) else [r])] for r in results)
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs, strict=True):
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=1e-6)


PROGRAMS = {
    "broadcast gradients are summed": lambda m, f, x: m.autograd.grad(f.Returns.apply(x, lambda g: m.ones(4, 3)).sum(), x),
    "what is marked": lambda m, f, x: [m.tensor(getattr(y, "requires_grad", False)) for y in f.Several.apply(x, 3, x.detach())],
    "further arguments": lambda m, f, x: m.autograd.grad(f.Several.apply(x, 3, x.detach(), False)[0].sum(), x),
    "missing cotangents": lambda m, f, x: m.autograd.grad(f.Unmaterialized.apply(x)[0].sum(), x),
    "saved tensors": lambda m, f, x: f.Square.apply(x).grad_fn.saved_tensors,
    "jvp by one": lambda m, f, x: m.func.jvp(lambda a: f.Product.apply(a, x.detach()), (x.detach(),), (m.ones(3),)),
    "jvp by both": lambda m, f, x: m.func.jvp(f.Product.apply, (x.detach(), x.detach() + 1), (m.ones(3), 2 * m.ones(3))),
    "grad of the same": lambda m, f, x: m.func.grad(lambda a: f.Product.apply(a, x.detach()).sum())(x.detach()),
    "grad of jvp": lambda m, f, x: m.func.grad(lambda a: m.func.jvp(lambda b: f.Product.apply(b, b), (a,), (m.ones(3),))[1].sum())(x.detach()),
    "vmap": lambda m, f, x: m.func.vmap(f.Batched.apply)(m.ones(2, 3)),
    "vmap over another dimension": lambda m, f, x: m.func.vmap(f.Batched.apply, in_dims=1)(m.ones(2, 3)),
    "vmap of grad": lambda m, f, x: m.func.vmap(m.func.grad(lambda a: f.Batched.apply(a).sum()))(m.ones(2, 3)),
}


@pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS.keys())
def test_as_in_pytorch(program):
    both(program)


@pytest.mark.parametrize(
    ("program", "text"),
    [
        (lambda m, f, x: m.autograd.grad(f.Returns.apply(x, lambda g: m.ones(2)).sum(), x), r"invalid gradient at index 0 - got \[2\] but expected shape compatible with \[3\]"),
        (lambda m, f, x: m.autograd.grad(f.Returns.apply(x, lambda g: 3.0).sum(), x), r"expected Variable or None \(got float\)"),
        (lambda m, f, x: m.autograd.grad((f.Square.apply(x) ** 2).sum(), x, create_graph=True)[0].sum().backward(), "marked with @once_differentiable"),
    ],
)
def test_errors_are_pytorchs(program, text):
    for m, f in LIBRARIES:
        with pytest.raises((RuntimeError, NotImplementedError), match=text):
            program(m, f, m.tensor([1.0, 2.0, 3.0], requires_grad=True))


def test_forward_mode_without_jvp_is_explained():
    with pytest.raises(RuntimeError, match="must implement the jvp function"):
        nr.jvp(LIBRARIES[0][1].Square.apply, (nr.ones(2),), (nr.ones(2),))


def test_compiled_calls_hand_on_what_is_no_tensor():
    f = LIBRARIES[0][1]
    x = nr.tensor([1.0, 2.0, 3.0], requires_grad=True)

    @nr.jit
    def step(x):
        y, highest, kept, greater, text, nothing = f.Several.apply(x, 3, x.detach())
        assert text == "text" and nothing is None and not kept.requires_grad
        y.sum().backward()
        return highest, kept

    highest, kept = step(x)
    assert highest.item() == 2 and kept.tolist() == [2, 4, 6] and x.grad.tolist() == [3, 3, 3]
