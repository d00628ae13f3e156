"""Bad arguments raise errors of PyTorch's classes; what validation does and where it does nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import neurarust_jax as nr

from .rows import OURS, THEIRS

nan = float("nan")

# of the module `distributions` and of the function that makes a tensor
BAD = {
    "a scale that is not positive": lambda D, t: D.Normal(0.0, -1.0),
    "a parameter that is NaN": lambda D, t: D.Normal(nan, 1.0),
    "a parameter that is text": lambda D, t: D.Normal("a", 1.0),
    "parameters that do not broadcast": lambda D, t: D.Normal(t([0.0, 0.0]), t([1.0, 1.0, 1.0])),
    "an interval without inside": lambda D, t: D.Uniform(1.0, 0.0),
    "a number as value": lambda D, t: D.Normal(0.0, 1.0).log_prob(2.0),
    "a value that is NaN": lambda D, t: D.Normal(0.0, 1.0).log_prob(t(nan)),
    "a value of another shape": lambda D, t: D.Normal(t([0.0, 0.0]), 1.0).log_prob(t([0.0, 0.0, 0.0])),
    "a value outside": lambda D, t: D.Uniform(0.0, 1.0).log_prob(t(2.0)),
    "a value that is not binary": lambda D, t: D.Bernoulli(0.5).log_prob(t(0.5)),
    "neither probs nor logits": lambda D, t: D.Bernoulli(),
    "probs and logits": lambda D, t: D.Categorical(t([0.5, 0.5]), t([0.5, 0.5])),
    "a probability above 1": lambda D, t: D.Bernoulli(t([0.5, 1.5])),
    "weights without dimension": lambda D, t: D.Categorical(t(1.0)),
    "negative weights": lambda D, t: D.Categorical(t([-0.5, 1.0])),
    "a category that is not there": lambda D, t: D.Categorical(t([0.5, 0.5])).log_prob(t(2.0)),
    "more dimensions than there are": lambda D, t: D.Independent(D.Normal(t([0.0]), 1.0), 2),
    "an event of another shape": lambda D, t: D.Independent(D.Normal(t([0.0, 1.0]), 1.0), 1).log_prob(t([0.0, 0.0, 0.0])),
    "a batch that cannot be expanded so": lambda D, t: D.Normal(t([0.0, 1.0]), 1.0).expand((3,)),
    "no support to enumerate": lambda D, t: D.Normal(0.0, 1.0).enumerate_support(),
    "an enumeration of products": lambda D, t: D.Independent(D.Bernoulli(t([0.5])), 1).enumerate_support(),
    "no rsample": lambda D, t: D.Bernoulli(0.5).rsample(),
    "more probability than 1": lambda D, t: D.Categorical(t([[0.5, nan]])),
    "a concentration that is not positive": lambda D, t: D.Gamma(0.0, 1.0),
    "a rate that is not positive": lambda D, t: D.Exponential(-1.0),
    "beta of negative concentrations": lambda D, t: D.Beta(-1.0, 1.0),
    "dirichlet without dimension": lambda D, t: D.Dirichlet(t(1.0)),
    "a point outside the simplex": lambda D, t: D.Dirichlet(t([1.0, 1.0])).log_prob(t([0.5, 0.6])),
    "more successes than trials": lambda D, t: D.Binomial(3, t(0.5)).log_prob(t(4.0)),
    "half a success": lambda D, t: D.Binomial(3, t(0.5)).log_prob(t(0.5)),
    "trials that differ, enumerated": lambda D, t: D.Binomial(t([2.0, 3.0]), t(0.5)).enumerate_support(),
    "trials that differ": lambda D, t: D.Binomial(t([2.0, 3.0]), t(0.5)).entropy(),
    "counts of a tensor": lambda D, t: D.Multinomial(t([2.0, 3.0]), t([0.5, 0.5])),
    "too large counts": lambda D, t: D.Multinomial(2, t([0.5, 0.5])).log_prob(t([3.0, 1.0])),
    "a geometric of probability 0": lambda D, t: D.Geometric(0.0),
    "negative counts": lambda D, t: D.Poisson(1.0).log_prob(t(-1.0)),
    "probability 1 of a negative binomial": lambda D, t: D.NegativeBinomial(1.0, t(1.0)),
    "a vector that is not one-hot": lambda D, t: D.OneHotCategorical(t([0.5, 0.5])).log_prob(t([1.0, 1.0])),
    "a pareto below its scale": lambda D, t: D.Pareto(2.0, 1.0).log_prob(t(1.0)),
    "a half-normal below 0": lambda D, t: D.HalfNormal(1.0).log_prob(t(-1.0)),
    "a generalized pareto above its bound": lambda D, t: D.GeneralizedPareto(0.0, 1.0, -0.5).log_prob(t(3.0)),
    "no icdf": lambda D, t: D.Gamma(1.0, 1.0).icdf(t(0.5)),
    "no mean": lambda D, t: D.LogisticNormal(t([0.0]), t([1.0])).mean,
    "no mode": lambda D, t: D.ContinuousBernoulli(0.5).mode,
    "no entropy": lambda D, t: D.Poisson(1.0).entropy(),
    "matrices of size 1": lambda D, t: D.LKJCholesky(1),
    "no matrix": lambda D, t: D.MultivariateNormal(t([0.0, 0.0])),
    "two matrices": lambda D, t: D.MultivariateNormal(t([0.0]), t([[1.0]]), t([[1.0]])),
    "a mean without dimension": lambda D, t: D.MultivariateNormal(t(0.0), t([[1.0]])),
    "a vector as matrix": lambda D, t: D.MultivariateNormal(t([0.0]), t([1.0])),
    "a covariance that is not symmetric": lambda D, t: D.MultivariateNormal(t([0.0, 0.0]), t([[1.0, 0.5], [0.0, 1.0]])),
    "a covariance that is not definite": lambda D, t: D.MultivariateNormal(t([0.0, 0.0]), t([[1.0, 2.0], [2.0, 1.0]])),
    "a factor that is not triangular": lambda D, t: D.MultivariateNormal(t([0.0, 0.0]), scale_tril=t([[1.0, 2.0], [2.0, 1.0]])),
    "a narrow matrix of another length": lambda D, t: D.LowRankMultivariateNormal(t([0.0, 0.0]), t([[1.0]]), t([1.0, 1.0])),
    "a diagonal of another length": lambda D, t: D.LowRankMultivariateNormal(t([0.0, 0.0]), t([[1.0], [1.0]]), t([1.0])),
    "too few degrees of freedom": lambda D, t: D.Wishart(t(1.0), t([[1.0, 0.0], [0.0, 1.0]])),
    "a mixture of what is no categorical": lambda D, t: D.MixtureSameFamily(D.Normal(0.0, 1.0), D.Normal(t([0.0]), 1.0)),
    "a mixture of what is no distribution": lambda D, t: D.MixtureSameFamily(D.Categorical(t([1.0])), t([0.0])),
    "another number of components": lambda D, t: D.MixtureSameFamily(D.Categorical(t([0.5, 0.5])), D.Normal(t([0.0]), 1.0)),
    "a divergence of unlike normals": lambda D, t: D.kl_divergence(
        D.MultivariateNormal(t([0.0]), t([[1.0]])), D.MultivariateNormal(t([0.0, 0.0]), t([[1.0, 0.0], [0.0, 1.0]]))
    ),
    "a divergence of unlike transforms": lambda D, t: D.kl_divergence(D.LogNormal(0.0, 1.0), D.Pareto(1.0, 1.0)),
    "a divergence that nobody wrote": lambda D, t: D.kl_divergence(D.Normal(0.0, 1.0), D.Bernoulli(0.5)),
    "a divergence of fewer trials": lambda D, t: D.kl_divergence(D.Binomial(2, t(0.5)), D.Binomial(3, t(0.5))),
    "no such default": lambda D, t: D.Distribution.set_default_validate_args("a"),
}


@pytest.mark.parametrize("case", BAD.values(), ids=BAD)
def test_bad_arguments_raise_pytorchs_error(case):
    with pytest.raises(Exception) as expected:  # noqa: PT011 (PyTorch says which class)
        case(THEIRS, torch.tensor)
    kind = next(k for k in (NotImplementedError, ValueError, TypeError, RuntimeError) if isinstance(expected.value, k))
    with pytest.raises(kind):
        case(OURS, nr.tensor)


def test_errors_say_what_was_given():
    with pytest.raises(ValueError, match=r"parameter scale .* of distribution Normal\(loc: 0.0, scale: -1.0\) .* GreaterThan\(lower_bound=0.0\)(.|\n)*-1"):
        OURS.Normal(0.0, -1.0)
    with pytest.raises(ValueError, match=r"within the support \(Boolean\(\)\) of the distribution Bernoulli\(probs: neurarust_jax.Size\(\[2\]\)\)"):
        OURS.Bernoulli(nr.tensor([0.5, 0.5])).log_prob(nr.tensor(0.5))


def test_validation_can_be_turned_off():
    assert np.isnan(float(OURS.Normal(0.0, -1.0, validate_args=False).log_prob(nr.tensor(0.0))))
    OURS.Distribution.set_default_validate_args(False)
    try:
        OURS.Normal(0.0, -1.0)
    finally:
        OURS.Distribution.set_default_validate_args(True)
    with pytest.raises(ValueError, match="scale"):
        OURS.Normal(0.0, -1.0)
    expanded = OURS.Normal(nr.zeros(1), 1.0, validate_args=False).expand((2,))
    assert np.isnan(np.asarray(expanded.log_prob(nr.tensor(nan)))).all()


def test_values_that_are_not_known_are_not_looked_at():
    @nr.jit
    def log_prob(scale, value):
        return OURS.Normal(0.0, scale).log_prob(value)

    assert np.isnan(float(log_prob(nr.tensor(-1.0), nr.tensor(0.0))))
    with pytest.raises(ValueError, match="broadcastable"):
        log_prob(nr.ones(2), nr.zeros(3))


def test_jax_arrays_are_tensors_here():
    import jax.numpy as jnp

    assert OURS.Normal(jnp.zeros(2), 1.0).scale.shape == (2,)


def test_subclasses_without_expand_of_their_own():
    class Same(OURS.Normal):
        pass

    class Other(OURS.Normal):
        def __init__(self, loc):
            super().__init__(loc, 1.0)

    assert type(Same(0.0, 1.0).expand((2,))) is Same
    with pytest.raises(NotImplementedError, match="custom .expand"):
        Other(0.0).expand((2,))


def test_sample_n_is_deprecated_as_in_pytorch():
    with pytest.warns(FutureWarning):
        assert OURS.Normal(0.0, 1.0).sample_n(3).shape == (3,)


def test_what_is_computed_lazily_in_a_compiled_function_does_not_stay():
    distribution = OURS.Bernoulli(nr.tensor([0.2, 0.7]))
    first = nr.jit(lambda x: distribution.log_prob(x))(nr.ones(2))
    np.testing.assert_allclose(np.asarray(first), np.asarray(distribution.log_prob(nr.ones(2))), rtol=1e-6)


def test_the_seed_fixes_samples():
    nr.manual_seed(3)
    first = OURS.Normal(0.0, 1.0).sample((4,))
    second = OURS.Normal(0.0, 1.0).sample((4,))
    nr.manual_seed(3)
    assert bool((OURS.Normal(0.0, 1.0).sample((4,)) == first).all()) and not bool((first == second).any())


def test_arrays_of_jax_are_taken_as_parameters():
    d, zeros, eye = nr.distributions, nr.zeros(2)._value, nr.eye(2)._value
    made = [d.Categorical(logits=zeros), d.Dirichlet(zeros + 1), d.MultivariateNormal(zeros, eye), d.LowRankMultivariateNormal(zeros, eye, zeros + 1), d.OneHotCategorical(zeros + 1)]
    for one in made:
        assert isinstance(one.log_prob(one.sample()), nr.Tensor)
