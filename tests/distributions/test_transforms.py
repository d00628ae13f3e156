"""Transforms against PyTorch's: values, inverses, Jacobians, shapes, signs; compositions, caches; the registries of constraints."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import neurarust_jax as nr

from ..oracle import assert_same
from .rows import CHOLESKY, COVARIANCE, OURS, POINTS, THEIRS, TRIL

OUR_T, THEIR_T = OURS.transforms, THEIRS.transforms
X = [[0.3, -1.2, 0.8], [2.0, -0.1, -0.5]]
POSITIVE = [[0.3, 1.2, 0.8], [2.0, 0.1, 0.5]]

# of the module `transforms` and of the function that makes a tensor: the transform; and where it is looked at
CASES = {
    "abs": (lambda T, t: T.AbsTransform(), X),
    "affine": (lambda T, t: T.AffineTransform(1.0, -2.0), X),
    "affine of tensors": (lambda T, t: T.AffineTransform(t([1.0, 2.0, 3.0]), t([0.5, -1.0, 2.0])), X),
    "affine of events": (lambda T, t: T.AffineTransform(t([1.0, 2.0, 3.0]), t([0.5, -1.0, 2.0]), event_dim=1), X),
    "cat": (lambda T, t: T.CatTransform([T.ExpTransform(), T.AffineTransform(1.0, 2.0)], dim=1, lengths=[1, 2]), X),
    "cat of events": (lambda T, t: T.CatTransform([T.SoftplusTransform(), T.IndependentTransform(T.TanhTransform(), 0)], dim=-1, lengths=[2, 1]), X),
    "compose": (lambda T, t: T.ComposeTransform([T.AffineTransform(0.0, 0.5), T.TanhTransform(), T.AffineTransform(1.0, -1.0)]), X),
    "compose of events": (lambda T, t: T.ComposeTransform([T.AffineTransform(0.0, 0.5), T.StickBreakingTransform()]), X),
    "compose of nothing": (lambda T, t: T.ComposeTransform([]), X),
    "corr cholesky": (lambda T, t: T.CorrCholeskyTransform(), X),
    "cumulative": (lambda T, t: T.CumulativeDistributionTransform((OURS if T is OUR_T else THEIRS).Normal(0.0, t([1.0, 2.0, 3.0]))), X),
    "exp": (lambda T, t: T.ExpTransform(), X),
    "independent": (lambda T, t: T.IndependentTransform(T.ExpTransform(), 1), X),
    "inverse": (lambda T, t: T.ExpTransform().inv, POSITIVE),
    "inverse of compose": (lambda T, t: T.ComposeTransform([T.AffineTransform(0.0, 0.5), T.ExpTransform()]).inv, POSITIVE),
    "lower cholesky": (lambda T, t: T.LowerCholeskyTransform(), TRIL),
    "positive definite": (lambda T, t: T.PositiveDefiniteTransform(), TRIL),
    "power": (lambda T, t: T.PowerTransform(t([2.0, -1.0, 0.5])), POSITIVE),
    "reshape": (lambda T, t: T.ReshapeTransform((3,), (3, 1)), X),
    "sigmoid": (lambda T, t: T.SigmoidTransform(), X),
    "softmax": (lambda T, t: T.SoftmaxTransform(), X),
    "softplus": (lambda T, t: T.SoftplusTransform(), X),
    "stack": (lambda T, t: T.StackTransform([T.ExpTransform(), T.AffineTransform(1.0, 2.0), T.TanhTransform()], dim=1), X),
    "stick breaking": (lambda T, t: T.StickBreakingTransform(), X),
    "tanh": (lambda T, t: T.TanhTransform(), X),
}


def both(make):
    return make(OUR_T, nr.tensor), make(THEIR_T, torch.tensor)


def attempt(thunk):
    try:
        return thunk()
    except (NotImplementedError, ValueError) as error:
        return type(error) if type(error) in (NotImplementedError, ValueError) else next(k for k in (NotImplementedError, ValueError) if isinstance(error, k))


@pytest.mark.parametrize(("make", "x"), CASES.values(), ids=CASES)
def test_transforms_are_pytorchs(make, x):
    ours, theirs = both(make)
    our_x, their_x = nr.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    y, expected = ours(our_x), theirs(their_x)
    close = {"rtol": 1e-4, "atol": 1e-5}
    assert_same(y, expected, **close)
    assert_same(nr.autograd.grad((y**2).sum(), our_x, retain_graph=True)[0], torch.autograd.grad((expected**2).sum(), their_x, retain_graph=True)[0], **close)
    assert_same(ours.inv(y), theirs.inv(expected), **close)
    jacobian, wanted = attempt(lambda: ours.log_abs_det_jacobian(our_x, y)), attempt(lambda: theirs.log_abs_det_jacobian(their_x, expected))
    assert jacobian is wanted if isinstance(wanted, type) else assert_same(jacobian, wanted, **close) is None
    for name in ("bijective", "event_dim", "sign"):
        found, wanted = attempt(lambda name=name: getattr(ours, name)), attempt(lambda name=name: getattr(theirs, name))
        assert found is wanted if isinstance(wanted, type) else assert_same(found, wanted) is None, name
    for name in ("domain", "codomain"):
        assert type(getattr(ours, name)).__name__ == type(getattr(theirs, name)).__name__
        assert getattr(ours, name).event_dim == getattr(theirs, name).event_dim
    assert tuple(ours.forward_shape(our_x.shape)) == tuple(theirs.forward_shape(their_x.shape)) == tuple(y.shape)
    assert tuple(ours.inverse_shape(y.shape)) == tuple(theirs.inverse_shape(expected.shape))
    assert repr(ours) == repr(theirs)


@pytest.mark.parametrize("name", ["exp", "stick breaking", pytest.param("corr cholesky", marks=pytest.mark.exhaustive), "tanh", "affine of events", "softplus"])
def test_jacobians_are_those_of_the_function(name):
    make, x = CASES[name]
    transform, x = make(OUR_T, nr.tensor), nr.tensor(x).double()[0]
    dims = transform.domain.event_dim
    matrix = nr.func.jacrev(transform)(x)
    if name == "stick breaking":
        matrix = matrix[:-1]
    if name == "corr cholesky":
        matrix = nr.func.jacrev(lambda x: OURS.utils.tril_matrix_to_vec(transform(x), -1))(x)
    expected = matrix.diagonal().abs().log() if dims == 0 else nr.linalg.slogdet(matrix)[1]
    np.testing.assert_allclose(np.asarray(transform.log_abs_det_jacobian(x, transform(x))), np.asarray(expected), rtol=1e-6, atol=1e-8)


def test_compiled_transforms_are_the_same():
    transform = OUR_T.ComposeTransform([OUR_T.AffineTransform(0.5, 2.0), OUR_T.TanhTransform()])

    def function(x):
        y = transform(x)
        return y, transform.inv(y), transform.log_abs_det_jacobian(x, y)

    for a, b in zip(nr.jit(function)(nr.tensor(X) / 4), function(nr.tensor(X) / 4), strict=True):
        np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=1e-5, atol=1e-6)


def test_a_cache_makes_the_inverse_exact():
    x = nr.tensor([20.0, 0.5])
    plain, cached = OUR_T.TanhTransform(), OUR_T.TanhTransform(cache_size=1)
    assert not bool(plain.inv(plain(x)).isfinite().all())
    assert cached.inv(cached(x)) is x
    assert cached.with_cache(0)._cache_size == 0 and plain.with_cache(1)._cache_size == 1
    distribution = OURS.TransformedDistribution(OURS.Normal(20.0, 1.0), OUR_T.TanhTransform(cache_size=1), validate_args=False)
    assert bool(distribution.log_prob(distribution.rsample((3,))).isfinite().all())


def test_equality():
    T = OUR_T
    assert T.ExpTransform() == T.ExpTransform() and T.ExpTransform() != T.TanhTransform()
    assert T.AffineTransform(nr.zeros(2), 1.0) == T.AffineTransform(nr.zeros(2), 1.0) != T.AffineTransform(nr.ones(2), 1.0)
    assert T.ExpTransform().inv == T.ExpTransform().inv and T.ExpTransform().inv.inv == T.ExpTransform()
    assert T.ComposeTransform([T.ExpTransform()]) == T.ComposeTransform([T.ExpTransform()])


CONSTRAINTS = {
    "real": lambda C, t: C.real,
    "positive": lambda C, t: C.positive,
    "greater than": lambda C, t: C.greater_than(2.0),
    "less than": lambda C, t: C.less_than(t([1.0, 2.0, 3.0])),
    "interval": lambda C, t: C.interval(-1.0, 3.0),
    "unit": lambda C, t: C.unit_interval,
    "half open": lambda C, t: C.half_open_interval(0.0, 2.0),
    "simplex": lambda C, t: C.simplex,
    "vector": lambda C, t: C.real_vector,
    "cat": lambda C, t: C.cat([C.positive, C.unit_interval], 1, [2, 1]),
    "stack": lambda C, t: C.stack([C.positive, C.real, C.less_than(1.0)], -1),
    "corr cholesky": lambda C, t: C.corr_cholesky,
}


@pytest.mark.parametrize("make", CONSTRAINTS.values(), ids=CONSTRAINTS)
@pytest.mark.parametrize("registry", ["biject_to", "transform_to"])
def test_registries_give_pytorchs_transforms(registry, make):
    ours, theirs = make(OURS.constraints, nr.tensor), make(THEIRS.constraints, torch.tensor)
    y, expected = getattr(OURS, registry)(ours)(nr.tensor(X)), getattr(THEIRS, registry)(theirs)(torch.tensor(X))
    assert_same(y, expected, rtol=1e-5, atol=1e-6)
    assert bool(ours.check(y).all()) and tuple(ours.check(y).shape) == tuple(theirs.check(expected).shape)


@pytest.mark.parametrize("name", ["lower_cholesky", "positive_definite", "positive_semidefinite"])
def test_matrices_can_be_transformed_to_but_not_bijectively(name):
    constraint = getattr(OURS.constraints, name)
    assert bool(constraint.check(OURS.transform_to(constraint)(nr.tensor(TRIL))).all())
    with pytest.raises(NotImplementedError):
        OURS.biject_to(constraint)


CHECKED = {
    "boolean": [0.0, 1.0, 0.5],
    "one_hot": [[0.0, 1.0], [1.0, 1.0]],
    "nonnegative_integer": [0.0, 2.0, -1.0, 0.5],
    "positive_integer": [0.0, 2.0],
    "real": [1.0, float("nan"), float("inf")],
    "real_vector": [[1.0, 2.0], [float("nan"), 1.0]],
    "positive": [0.0, 1.0],
    "nonnegative": [0.0, -1.0],
    "unit_interval": [0.0, 1.0, 1.1],
    "simplex": [*POINTS, [0.5, 0.6, -0.1]],
    "lower_triangular": [TRIL[0], np.ones((3, 3)).tolist()],
    "lower_cholesky": [TRIL[0], (-np.array(TRIL[0])).tolist()],
    "corr_cholesky": [CHOLESKY, TRIL[0]],
    "square": TRIL,
    "symmetric": [TRIL[0], COVARIANCE[0]],
    "positive_semidefinite": [COVARIANCE[0], (-np.array(COVARIANCE[0])).tolist(), np.zeros((3, 3)).tolist()],
    "positive_definite": [COVARIANCE[0], (-np.array(COVARIANCE[0])).tolist()],  # PyTorch's does not look further where one is not symmetric
}


@pytest.mark.parametrize(("name", "value"), CHECKED.items())
def test_constraints_check_what_pytorchs_do(name, value):
    ours, theirs = getattr(OURS.constraints, name), getattr(THEIRS.constraints, name)
    assert_same(ours.check(nr.tensor(value)), theirs.check(torch.tensor(value)))
    assert repr(ours) == repr(theirs) and ours.event_dim == theirs.event_dim and ours.is_discrete == theirs.is_discrete


def test_dependent_constraints():
    C = OURS.constraints
    assert C.is_dependent(C.dependent) and C.is_dependent(OURS.Uniform.support) and not C.is_dependent(C.real)
    assert OURS.Uniform.support.event_dim == 0 and OURS.Binomial.support.is_discrete
    with pytest.raises(NotImplementedError):
        C.dependent.event_dim  # noqa: B018 (a property that raises)
    with pytest.raises(ValueError, match="Cannot determine"):
        C.dependent.check(nr.zeros(1))


def test_errors():
    T = OUR_T
    with pytest.raises(ValueError, match="cache_size"):
        T.ExpTransform(cache_size=2)
    with pytest.raises(ValueError, match="numbers of elements"):
        T.ReshapeTransform((2,), (3,))
    with pytest.raises(ValueError, match="Too few dimensions"):
        T.IndependentTransform(T.ExpTransform(), 2)(nr.zeros(3))
    with pytest.raises(ValueError, match="must be a Transform"):
        OURS.TransformedDistribution(OURS.Normal(0.0, 1.0), [1])
    with pytest.raises(ValueError, match="shape with size at least 1"):
        OURS.TransformedDistribution(OURS.Normal(0.0, 1.0), T.StickBreakingTransform())
    with pytest.raises(TypeError, match="Constraint subclass"):
        OURS.transform_to.register(3, lambda c: T.ExpTransform())


def test_a_constraint_of_ones_own_can_be_registered():
    class Even(OURS.constraints.Constraint):
        pass

    @OURS.biject_to.register(Even)
    def transform(constraint):
        return OUR_T.AffineTransform(0.0, 2.0)

    assert float(OURS.biject_to(Even())(nr.tensor(3.0))) == 6.0


def test_matrices_as_vectors():
    vector = nr.arange(6.0)
    matrix = OURS.utils.vec_to_tril_matrix(vector)
    assert_same(matrix, torch.distributions.utils.vec_to_tril_matrix(torch.arange(6.0)))
    assert_same(OURS.utils.tril_matrix_to_vec(matrix), torch.arange(6.0))
    with pytest.raises(ValueError, match="size of last dimension"):
        OURS.utils.vec_to_tril_matrix(nr.arange(5.0))
