"""Linear maps, distances and normalization of vectors in `nn.functional` against PyTorch; the adaptive softmax."""

import numpy as np
import pytest
import torch
import torch.nn.functional as TF

import neurarust_jax as nr
import neurarust_jax.nn.functional as F
from tests.oracle import assert_same, check, check_both_raise

G = np.random.default_rng(0)


def normal(*shape):
    return G.standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("shape", [(4,), (3, 4), (2, 3, 4), (0, 4)])
def test_linear(shape):
    ours, theirs = (lambda *x: F.linear(*x)), (lambda *x: TF.linear(*x))
    check(ours, theirs, normal(*shape), normal(5, 4), normal(5))
    check(ours, theirs, normal(*shape), normal(5, 4))
    check(ours, theirs, normal(*shape), normal(4))


def test_linear_of_other_dtypes():
    ours, theirs = (lambda *x: F.linear(*x)), (lambda *x: TF.linear(*x))
    z = lambda *shape: (normal(*shape) + 1j * normal(*shape)).astype(np.complex64)  # noqa: E731
    check(ours, theirs, z(3, 4), z(5, 4), z(5))
    check(ours, theirs, np.arange(6).reshape(2, 3), np.arange(12).reshape(4, 3))
    check(ours, theirs, normal(3, 4).astype(np.float64), normal(5, 4).astype(np.float64))
    layer = nr.nn.Linear(3, 2, dtype=nr.complex64)
    assert layer(nr.ones(4, 3, dtype=nr.complex64)).dtype == nr.complex64


def test_bilinear():
    ours, theirs = (lambda *x: F.bilinear(*x)), (lambda *x: TF.bilinear(*x))
    check(ours, theirs, normal(2, 3, 4), normal(2, 3, 5), normal(6, 4, 5), normal(6), rtol=1e-4, atol=1e-5)
    check(ours, theirs, normal(4), normal(5), normal(6, 4, 5), rtol=1e-4, atol=1e-5)
    for shapes in (((2, 4), (3, 5), (6, 4, 5)), ((2, 3), (2, 5), (6, 4, 5)), ((2, 4), (2, 3), (6, 4, 5)), ((2, 4), (2, 5), (6, 4, 5), (5,))):
        check_both_raise(ours, theirs, *(normal(*s) for s in shapes))
    with pytest.raises(ValueError, match="in1_features must be > 0"):
        nr.nn.Bilinear(0, 2, 3)


@pytest.mark.parametrize("p", [0.0, 1.0, 2.0, 3.5, np.inf])
def test_pairwise_distance(p):
    for keepdim in (False, True):
        check(F.pairwise_distance, TF.pairwise_distance, normal(3, 4), normal(4), p=p, eps=1e-3, keepdim=keepdim)
    check(lambda a: F.pdist(a, p), lambda a: TF.pdist(a, p), normal(5, 3))


def test_distances_at_zero_have_pytorchs_gradient():
    x = normal(2, 3)
    check(lambda a, b: F.pairwise_distance(a, b, eps=0.0), lambda a, b: TF.pairwise_distance(a, b, eps=0.0), x, x)
    check(F.cosine_similarity, TF.cosine_similarity, x, np.zeros_like(x))
    check(F.normalize, TF.normalize, np.zeros_like(x))


@pytest.mark.parametrize("dim", [0, 1, -1])
def test_cosine_similarity_and_normalize(dim):
    check(lambda a, b: F.cosine_similarity(a, b, dim), lambda a, b: TF.cosine_similarity(a, b, dim), normal(3, 4), normal(3, 4))
    check(lambda a, b: F.cosine_similarity(a, b, dim, 3.0), lambda a, b: TF.cosine_similarity(a, b, dim, 3.0), normal(2, 1, 4), normal(3, 4))
    for p in (1, 2.0, np.inf):
        check(lambda a, p=p: F.normalize(a, p, dim), lambda a, p=p: TF.normalize(a, p, dim), normal(3, 4))
    check(lambda a: F.normalize(a, dim=(0, 1)), lambda a: TF.normalize(a, dim=(0, 1)), normal(3, 4))
    check_both_raise(F.cosine_similarity, TF.cosine_similarity, np.ones((2, 2), np.int64), np.ones((2, 2), np.int64))


def adaptive():
    torch.manual_seed(0)
    theirs = torch.nn.AdaptiveLogSoftmaxWithLoss(8, 20, [4, 10, 15], div_value=2.0)
    ours = nr.nn.AdaptiveLogSoftmaxWithLoss(8, 20, [4, 10, 15], div_value=2.0)
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


def test_adaptive_softmax():
    ours, theirs = adaptive()
    x = normal(7, 8) * 3
    for target in (np.array([0, 19, 4, 9, 10, 3, 15]), np.zeros(7, np.int64)):
        assert_same(tuple(ours(nr.tensor(x), nr.tensor(target))), tuple(theirs(torch.tensor(x), torch.tensor(target))))
    assert_same(tuple(ours(nr.tensor(x[0]), nr.tensor(5))), tuple(theirs(torch.tensor(x[0]), torch.tensor(5))))
    assert_same(ours.log_prob(nr.tensor(x)), theirs.log_prob(torch.tensor(x)))
    assert_same(ours.predict(nr.tensor(x)), theirs.predict(torch.tensor(x)))
    np.testing.assert_allclose(ours.log_prob(nr.tensor(x)).exp().sum(1).detach().numpy(), np.ones(7), rtol=1e-5)


def test_adaptive_softmax_explains_bad_input():
    ours, theirs = adaptive()
    for x, target in ((normal(2, 8), np.array([0, 20])), (normal(2, 8), np.array([0])), (normal(8), np.array([0])), (normal(2, 8), np.array([[0], [1]]))):
        check_both_raise(ours, theirs, x, target)
    for cutoffs in ([], [5, 4], [0, 4], [4, 20], [4, 4], [4.5]):
        for library in (nr.nn, torch.nn):
            with pytest.raises(ValueError):
                library.AdaptiveLogSoftmaxWithLoss(8, 20, cutoffs)


@pytest.mark.parametrize("shapes", [((12, 8), (3, 8, 4)), ((3, 8, 4), (4, 12)), ((8, 12), (12, 4)), ((3, 8, 4), (3, 4, 8))], ids=str)
def test_grouped_mm(shapes):
    offs = None if len(shapes[0]) == len(shapes[1]) == 3 else np.array([4, 4, 12], np.int32)
    ours = lambda a, b: F.grouped_mm(a, b, offs=None if offs is None else nr.tensor(offs))  # noqa: E731
    theirs = lambda a, b: TF.grouped_mm(a, b, offs=None if offs is None else torch.tensor(offs))  # noqa: E731
    check(ours, theirs, normal(*shapes[0]), normal(*shapes[1]), rtol=1e-4, atol=1e-5)


def test_grouped_mm_leaves_what_belongs_to_no_group_at_zero():
    a, b, offs = nr.tensor(normal(5, 3), requires_grad=True), nr.tensor(normal(2, 3, 2)), nr.tensor([1, 3], dtype=nr.int32)
    y = F.grouped_mm(a, b, offs=offs)
    y.sum().backward()
    assert_same(y[:3], torch.cat([torch.tensor(a[:1].detach().numpy() @ b[0].numpy()), torch.tensor(a[1:3].detach().numpy() @ b[1].numpy())]), 1e-5, 1e-6)
    assert not y[3:].any() and not a.grad[3:].any()


@pytest.mark.parametrize("ends", [[0, 0, 64], [64, 64, 64], [7, 8, 41], [3], [*range(0, 160, 4)], [0] * 70 + [9]], ids=str)
def test_grouped_mm_over_groups_of_any_sizes(ends):
    groups, offs = len(ends), np.array(ends, np.int32).clip(max=64)
    for shapes in (((64, 8), (groups, 8, 4)), ((groups, 4, 8), (8, 64)), ((8, 64), (64, 4))):
        a, b = normal(*shapes[0]), normal(*shapes[1])
        whole, parts = F.grouped_mm(nr.tensor(a), nr.tensor(b), offs=nr.tensor(offs)).numpy().copy(), by_groups(a, b, offs)
        filled = tuple(map(slice, parts.shape))
        np.testing.assert_allclose(whole[filled], parts, rtol=1e-4, atol=1e-5)
        whole[filled] = 0
        assert not whole.any()


def by_groups(a, b, offs):
    """A product a group, joined."""
    parts, start = [], 0
    for group, end in enumerate(offs):
        of_a = a[group] if a.ndim == 3 else a[:, start:end] if b.ndim == 2 else a[start:end]
        of_b = b[group] if b.ndim == 3 else b[start:end] if a.ndim == 2 else b[:, start:end]
        parts.append(of_a @ of_b)
        start = end
    return np.stack(parts) if a.ndim == b.ndim else np.concatenate(parts, 0 if a.ndim == 2 else 1)


@pytest.mark.parametrize("axes", [(0, None, None), (None, 1, None), (None, None, 1), (1, 2, None)], ids=str)
@pytest.mark.parametrize("shapes", [((12, 8), (3, 8, 4)), ((3, 8, 4), (4, 12)), ((8, 12), (12, 4))], ids=str)
def test_grouped_mm_is_mapped_over_any_operands(shapes, axes):
    arrays = [normal(*shapes[0]), normal(*shapes[1]), np.array([4, 4, 12], np.int32)]
    others = [normal(*shapes[0]), normal(*shapes[1]), np.array([1, 3, 10], np.int32)]
    given = [nr.tensor(x if axis is None else np.stack([x, y], axis)) for x, y, axis in zip(arrays, others, axes, strict=True)]

    def product(a, b, offs):
        return F.grouped_mm(a, b, offs=offs)

    def gradients(a, b, offs):
        return nr.grad(lambda a, b: (product(a, b, offs) ** 2).sum(), argnums=(0, 1))(a, b)

    for call in (product, lambda *given: gradients(*given)[0], lambda *given: gradients(*given)[1]):
        mapped = nr.vmap(call, in_dims=axes)(*given)
        for i in range(2):
            one = call(*(x if axis is None else x.select(axis, i) for x, axis in zip(given, axes, strict=True)))
            np.testing.assert_allclose(mapped[i].numpy(), one.numpy(), rtol=1e-4, atol=1e-3)


def test_grouped_mm_has_derivatives_of_derivatives():
    offs = nr.tensor([1, 1, 4], dtype=nr.int32)
    a, b = (nr.tensor(normal(*shape).astype(np.float64), requires_grad=True) for shape in ((4, 2), (3, 2, 2)))
    assert nr.autograd.gradcheck(lambda a, b: F.grouped_mm(a, b, offs=offs), (a, b))
    assert nr.autograd.gradgradcheck(lambda a, b: F.grouped_mm(a, b, offs=offs), (a, b))
    hessian = nr.func.hessian(lambda b: (F.grouped_mm(a.detach(), b, offs=offs) ** 2).sum())(b.detach())
    assert not hessian[1].any() and hessian[2].any()


def test_grouped_mm_explains_bad_input():
    a, b, offs = np.ones((4, 8), np.float32), np.ones((2, 8, 4), np.float32), np.array([2, 4], np.int32)
    named = lambda rest: dict(zip(("offs", "bias"), rest, strict=False))  # noqa: E731
    bad = [(a, b), (b, np.ones((3, 4, 8), np.float32)), (b, b.swapaxes(1, 2), offs), (a, b, offs.astype(np.int64)), (a, b[:, :4], offs), (a, b, offs[:1])]
    for inputs in [*bad, (a[0], b, offs), (a, b, offs, np.ones(4, np.float32)), (a.astype(np.int64), b.astype(np.int64), offs)]:
        check_both_raise(lambda x, y, *rest: F.grouped_mm(x, y, **named(rest)), lambda x, y, *rest: TF.grouped_mm(x, y, **named(rest)), *inputs)
    with pytest.raises(RuntimeError, match="must match `mat_a` dtype"):
        F.grouped_mm(nr.tensor(a), nr.tensor(b), offs=nr.tensor(offs), out_dtype=nr.float64)
