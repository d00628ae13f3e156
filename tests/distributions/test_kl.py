"""Divergences of all pairs that PyTorch registers, equal to PyTorch's with their gradients; how pairs are looked up."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch

import neurarust_jax as nr

from ..oracle import assert_same
from .rows import OURS, ROWS, THEIRS

# the first distribution has the table's parameters, the second 0.9 times those, unless another pair of parameters makes more of the divergence
PAIRS = [(p.__name__, q.__name__) for p, q in torch.distributions.kl._KL_REGISTRY if p.__name__ != "ExponentialFamily"]
BY_NAME = {r.name: r for r in reversed(ROWS)}
INSIDE, AROUND = {"low": [0.1, 0.2, 0.3], "high": [0.6, 0.7, 0.9]}, {"low": [-0.1, -1.0, 0.1], "high": [1.5, 3.0, 2.0]}
FIRST = {
    ("Uniform", "Uniform"): INSIDE,
    ("Uniform", "Beta"): INSIDE,
    ("Uniform", "ContinuousBernoulli"): INSIDE,
    ("Uniform", "Exponential"): INSIDE,
    ("Uniform", "Gamma"): INSIDE,
    ("Uniform", "Pareto"): {"low": [1.0, 1.2, 3.0], "high": [1.5, 3.0, 4.0]},
    ("Pareto", "Normal"): {"scale": [0.8, 1.5, 3.2], "alpha": [5.0, 1.5, 9.0]},
}
SECOND = {("Uniform", "Uniform"): AROUND, ("Beta", "Uniform"): AROUND, ("ContinuousBernoulli", "Uniform"): AROUND}


def both(name: str, parameters: dict) -> tuple:
    row = BY_NAME[name]
    arrays = {k: np.asarray(v, np.float64) for k, v in parameters.items()}
    ours = {k: nr.tensor(v, requires_grad=True) for k, v in arrays.items()}
    theirs = {k: torch.tensor(v, requires_grad=True) for k, v in arrays.items()}
    return row.build(OURS, ours), row.build(THEIRS, theirs), list(ours.values()), list(theirs.values())


@pytest.mark.parametrize(("p", "q"), [pytest.param(*pair, id="-".join(pair)) for pair in PAIRS])
def test_divergences_are_pytorchs(p, q, request):
    our_p, their_p, our_leaves, their_leaves = both(p, FIRST.get((p, q), BY_NAME[p].parameters))
    scaled = {k: 0.9 * np.asarray(v) for k, v in BY_NAME[q].parameters.items()}
    our_q, their_q, more_of_ours, more_of_theirs = both(q, SECOND.get((p, q), scaled))
    expected = THEIRS.kl_divergence(their_p, their_q)
    got = OURS.kl_divergence(our_p, our_q)
    assert_same(got, expected, rtol=1e-9, atol=1e-10)
    exhaustive = request.config.getoption("--exhaustive", default=False)
    if expected.requires_grad and torch.isfinite(expected).all() and (p == q or exhaustive):
        wanted = torch.autograd.grad(expected.sum(), their_leaves + more_of_theirs, allow_unused=True)
        found = nr.autograd.grad(got.sum(), our_leaves + more_of_ours, allow_unused=True)
        for a, b in zip(found, wanted, strict=True):
            if b is not None and a is not None:
                assert_same(a, b, rtol=1e-8, atol=1e-9)
            else:
                assert (b is None or not b.any()) and (a is None or not np.asarray(a.detach()).any())


def test_wishart_divergence_is_that_of_its_family():
    first, second = np.array([[2.0, 0.3], [0.3, 1.0]]), np.array([[1.0, -0.2], [-0.2, 1.5]])
    ours = [OURS.Wishart(nr.tensor(np.float64(df)), nr.tensor(m)) for df, m in ((4.0, first), (5.0, second))]
    theirs = [THEIRS.Wishart(torch.tensor(df, dtype=torch.float64), torch.tensor(m)) for df, m in ((4.0, first), (5.0, second))]
    assert_same(OURS.kl_divergence(*ours), THEIRS.kl_divergence(*theirs), rtol=1e-9)


def test_the_edges_of_bounded_families_belong_to_them():
    """A uniform distribution over exactly [0, 1] holds, and is held by, a continuous Bernoulli; PyTorch says infinity there."""
    uniform, other = OURS.Uniform(0.0, 1.0), OURS.ContinuousBernoulli(0.3)
    grid = (nr.arange(10000) + 0.5) / 10000
    log_prob = other.log_prob(grid)
    np.testing.assert_allclose(float(OURS.kl_divergence(uniform, other)), -float(log_prob.mean()), rtol=1e-4)
    np.testing.assert_allclose(float(OURS.kl_divergence(other, uniform)), float((log_prob.exp() * log_prob).mean()), rtol=1e-3)


def test_compiled_divergence_is_the_same():
    def divergence(loc, scale):
        return OURS.kl_divergence(OURS.Normal(loc, scale), OURS.Normal(0.0, 1.0))

    loc, scale = nr.tensor([0.5, 1.0]), nr.tensor([1.0, 2.0])
    np.testing.assert_allclose(np.asarray(nr.jit(divergence)(loc, scale)), np.asarray(divergence(loc, scale)), rtol=1e-6)
    np.testing.assert_allclose(np.asarray(nr.vmap(divergence)(loc, scale)), np.asarray(divergence(loc, scale)), rtol=1e-6)


def families(library, asarray):
    class Unnormalized(library.ExponentialFamily):
        """The exponential distribution by its log-normalizer alone."""

        arg_constraints = {"rate": library.constraints.positive}
        _mean_carrier_measure = 0

        def __init__(self, rate):
            self.rate = rate
            super().__init__(rate.shape)

        @property
        def _natural_params(self):
            return (-self.rate,)

        def _log_normalizer(self, x):
            return -((-x).log())

    return Unnormalized(asarray(np.array([0.5, 2.0]))), Unnormalized(asarray(np.array([1.5, 1.0])))


def test_exponential_families_have_entropy_and_divergence_by_their_log_normalizers():
    ours, theirs = families(OURS, nr.tensor), families(THEIRS, torch.tensor)
    assert_same(ours[0].entropy(), theirs[0].entropy())
    assert_same(OURS.kl_divergence(*ours), THEIRS.kl_divergence(*theirs))
    with pytest.raises(NotImplementedError):
        OURS.kl_divergence(ours[0], OURS.Normal(0.0, 1.0))


def test_the_nearest_registered_classes_are_taken():
    class P(OURS.Normal):
        pass

    class Q(OURS.Normal):
        pass

    @OURS.register_kl(P, OURS.Normal)
    def left(p, q):
        return "left"

    @OURS.register_kl(OURS.Normal, Q)
    def right(p, q):
        return "right"

    p, q = P(0.0, 1.0), Q(0.0, 1.0)
    assert OURS.kl_divergence(p, OURS.Normal(0.0, 1.0)) == "left"
    assert OURS.kl_divergence(OURS.Normal(0.0, 1.0), q) == "right"
    with pytest.warns(RuntimeWarning, match="Ambiguous"):
        OURS.kl_divergence(p, q)
    OURS.register_kl(P, Q)(lambda p, q: "both")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert OURS.kl_divergence(p, q) == "both"


def test_errors():
    class Alien(OURS.Distribution):
        arg_constraints = {}

    with pytest.raises(NotImplementedError, match="No KL"):
        OURS.kl_divergence(Alien(), OURS.Normal(0.0, 1.0))
    with pytest.raises(TypeError):
        OURS.register_kl(int, OURS.Normal)
