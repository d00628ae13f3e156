"""Every distribution of the table against PyTorch's: values, gradients, expansion, samples; compiled and vectorized against itself."""

from __future__ import annotations

import functools
import warnings
from typing import Any

import jax
import numpy as np
import pytest
import torch

import neurarust_jax as nr

from ..oracle import assert_same
from .rows import OURS, ROWS, THEIRS, Row

QUANTILE = 0.3
FAMILIES = [r if not r.label else pytest.param(r, marks=pytest.mark.exhaustive) for r in ROWS]  # other parameters of a family matter to its values alone
pytestmark = pytest.mark.filterwarnings("ignore:Singular sample detected")  # PyTorch's, of Wishart samples that are not


def quantities(distribution: Any, value: Any, quantile: Any) -> dict[str, Any]:
    """All that can be asked of a distribution: thunks by name."""
    return {
        "log_prob": lambda: distribution.log_prob(value),
        "cdf": lambda: distribution.cdf(value),
        "icdf": lambda: distribution.icdf(quantile),
        "mean": lambda: distribution.mean,
        "mode": lambda: distribution.mode,
        "variance": lambda: distribution.variance,
        "stddev": lambda: distribution.stddev,
        "entropy": lambda: distribution.entropy(),
        "perplexity": lambda: distribution.perplexity(),
        "enumerate_support": lambda: distribution.enumerate_support(),
        "enumerate_support(False)": lambda: distribution.enumerate_support(expand=False),
        "logits": lambda: distribution.logits,
        "probs": lambda: distribution.probs,
    }


@functools.cache
def _available(label: str) -> list[str]:
    row = next(r for r in ROWS if str(r) == label)
    value = torch.tensor(row.value_in())
    return [name for name, thunk in quantities(row.theirs(), value, quantile(row)).items() if answers(thunk)]


def available(row: Row) -> list[str]:
    """What PyTorch's distribution of the row answers to."""
    return _available(str(row))


def quantile(row: Row) -> torch.Tensor:
    return torch.tensor(QUANTILE, dtype=getattr(torch, row.dtype))


def answers(thunk: Any) -> bool:
    try:
        thunk()
    except (NotImplementedError, AttributeError):
        return False
    return True


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_values_are_pytorchs(row):
    ours, theirs = row.ours(), row.theirs()
    assert tuple(ours.batch_shape) == tuple(theirs.batch_shape) and tuple(ours.event_shape) == tuple(theirs.event_shape)
    assert "repr" in row.apart or repr(ours) == repr(theirs).replace("torch", "neurarust_jax")
    assert ours.has_rsample == theirs.has_rsample and ours.has_enumerate_support == theirs.has_enumerate_support
    expected = quantities(theirs, torch.tensor(row.value_in()), quantile(row))
    for name, thunk in quantities(ours, nr.tensor(row.value_in()), nr.tensor(quantile(row).numpy())).items():
        if name in row.apart:
            continue
        if answers(expected[name]):
            assert_same(thunk(), expected[name](), **row.tolerance)
        else:
            with pytest.raises((NotImplementedError, AttributeError)):
                thunk()


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_gradients_are_pytorchs(row):
    names = [n for n in available(row) if n in ("log_prob", "cdf", "mean", "variance", "entropy") and n not in row.flat]
    ours = {k: nr.tensor(v, requires_grad=True) for k, v in row.arrays().items()}
    theirs = {k: torch.tensor(v, requires_grad=True) for k, v in row.arrays().items()}
    our_value, their_value = nr.tensor(row.value_in(), requires_grad=True), torch.tensor(row.value_in(), requires_grad=True)
    expected = quantities(row.build(THEIRS, theirs), their_value, None)
    got = quantities(row.build(OURS, ours), our_value, None)
    wanted = {name: expected[name]() for name in names}
    chosen = [n for n, w in wanted.items() if w.requires_grad and torch.isfinite(w).all()]
    if not chosen:
        return
    weights = [1.0 - 0.1 * i for i in range(len(chosen))]  # all in one backward pass, told apart by their weights
    wanted = torch.autograd.grad(sum((w * wanted[n]).sum() for w, n in zip(weights, chosen, strict=True)), [*theirs.values(), their_value], allow_unused=True)
    found = nr.autograd.grad(sum((w * got[n]()).sum() for w, n in zip(weights, chosen, strict=True)), [*ours.values(), our_value], allow_unused=True)
    for a, b, which in zip(found, wanted, [*ours, "value"], strict=True):
        if b is None or a is None:
            assert not np.asarray(nr.zeros(1) if a is None else a.detach()).any() and (b is None or not b.any()), which
        else:
            assert torch.isfinite(b).all(), which
            assert_same(a, b, **row.tolerance)


@pytest.mark.parametrize("row", FAMILIES, ids=str)
def test_samples_and_expansion_have_pytorchs_shapes_and_dtypes(row):
    ours, theirs = row.ours("float32"), row.theirs("float32")
    shape = (2, *theirs.batch_shape)
    ours, theirs = ours.expand(shape), theirs.expand(shape)
    assert tuple(ours.batch_shape) == tuple(theirs.batch_shape) == shape and tuple(ours.event_shape) == tuple(theirs.event_shape)
    expected, sample = theirs.sample((4,)), ours.sample((4,))
    assert tuple(sample.shape) == tuple(expected.shape) and str(expected.dtype) == f"torch.{sample.dtype.name}"
    assert bool(ours.support.check(sample).all()) and not sample.requires_grad
    if ours.has_rsample:
        assert tuple(ours.rsample((4,)).shape) == tuple(expected.shape)
    else:
        with pytest.raises(NotImplementedError):
            ours.rsample()
    log_prob = theirs.log_prob(torch.tensor(row.value_in("float32")))
    assert_same(ours.log_prob(nr.tensor(row.value_in("float32"))), log_prob, rtol=1e-4, atol=1e-5)


DRAWS = 4000


def assert_means(samples: np.ndarray, expected: np.ndarray, what: str) -> None:
    """The mean over the first dimension lies within five standard errors."""
    samples = np.asarray(samples, np.float64)
    error = samples.std(0) / np.sqrt(len(samples))
    np.testing.assert_array_less(np.abs(samples.mean(0) - expected), 5 * error + 1e-6 * np.abs(expected) + 1e-9, what)


def assert_drawn_from(samples: np.ndarray, theirs: Any, row: Row) -> None:
    """Mean and variance are those of PyTorch's distribution, and so is the distribution function where there is one."""
    if row.moments and {"mean", "variance"} <= set(available(row)):
        mean, variance = theirs.mean.numpy(), theirs.variance.numpy()
        seen = ~np.isnan(mean)
        assert_means(np.where(seen, samples, 0), np.where(seen, mean, 0), "mean")
        assert_means(np.where(seen, (samples - mean) ** 2, 0), np.where(seen, variance, 0), "variance")
    if theirs.has_rsample and "cdf" in available(row):
        position = np.sort(theirs.cdf(torch.tensor(samples)).numpy(), 0)
        steps = (np.arange(len(samples)) + 0.5)[:, None] / len(samples)
        assert np.abs(position - steps).max() < 2.2 / np.sqrt(len(samples))  # Kolmogorov and Smirnov: passed once in ten thousand times


# the others' samples are functions of these, or of uniform numbers
REPARAMETERIZED = ("Beta", "Dirichlet", "Gamma", "Laplace", "LogNormal", "MultivariateNormal", "Normal", "StudentT", "Weibull")


def with_gradients() -> list[Any]:
    rows = [r for r in ROWS if r.moments and r.theirs().has_rsample and {"mean", "variance"} <= set(available(r))]
    return [r if str(r) in REPARAMETERIZED else pytest.param(r, marks=pytest.mark.exhaustive) for r in rows]


@pytest.mark.parametrize("row", with_gradients(), ids=str)
def test_gradients_of_samples_have_the_gradient_of_the_second_moment_as_mean(row):
    theirs = {k: torch.tensor(v, requires_grad=True) for k, v in row.arrays().items()}
    distribution = row.build(THEIRS, theirs)
    (distribution.variance + distribution.mean**2).sum().backward()

    @nr.jit
    def gradients(parameters):
        parameters = {k: v.requires_grad_() for k, v in parameters.items()}
        sample = row.build(OURS, parameters).rsample()
        return nr.autograd.grad((sample**2).sum(), list(parameters.values()))

    found = gradients({k: nr.tensor(np.broadcast_to(v, (DRAWS, *v.shape)).copy()) for k, v in row.arrays().items()})
    for gradient, (name, leaf) in zip(found, theirs.items(), strict=True):
        assert_means(np.asarray(gradient), leaf.grad.numpy(), name)


def outputs(row: Row, names: list[str]) -> Any:
    """The function of parameters and value that gives what was named."""

    def function(parameters, value):
        thunks = quantities(row.build(OURS, parameters), value, nr.tensor(np.float32(QUANTILE)))
        return [thunks[name]() for name in names]

    return function


LIKE_OTHERS = ("Cauchy", "Chi2", "FisherSnedecor", "HalfCauchy", "OneHotCategoricalStraightThrough", "Pareto", "RelaxedBernoulli")


@pytest.mark.parametrize("row", [pytest.param(r, marks=pytest.mark.exhaustive) if r.label or r.name in LIKE_OTHERS else r for r in ROWS], ids=str)
def test_compiled_and_vectorized(row):
    """float32: `nr.vmap` under `nr.jit` equals eager, draws anew at every call and for every example, and from PyTorch's distribution."""
    names = [n for n in available(row) if n in ("log_prob", "cdf", "icdf", "mean", "entropy")]
    function = outputs(row, names)
    parameters = {k: nr.tensor(v) for k, v in row.arrays("float32").items()}
    value = nr.tensor(row.value_in("float32"))

    def with_sample(parameters, value):
        return function(parameters, value), row.build(OURS, parameters).sample((DRAWS // 2,))

    compiled = nr.jit(nr.vmap(with_sample, randomness="different"))
    found, draws = compiled(*twice((parameters, value)))
    for batch, b, name in zip(found, function(parameters, value), names, strict=True):
        assert batch.dtype == b.dtype, name
        for a in (batch[0], batch[1]):
            np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=3e-5, atol=3e-6, err_msg=name)
    assert not np.array_equal(np.asarray(draws), np.asarray(compiled(*twice((parameters, value)))[1]))
    assert not np.array_equal(np.asarray(draws[0]), np.asarray(draws[1]))
    assert_drawn_from(np.asarray(draws).reshape(DRAWS, *draws.shape[2:]), row.theirs("float32"), row)


@pytest.mark.parametrize("row", [r if r.name in ("Normal", "Categorical", "Gamma") else pytest.param(r, marks=pytest.mark.exhaustive) for r in ROWS], ids=str)
def test_compiled(row):
    """All quantities without `nr.vmap`."""
    names = available(row)
    parameters, value = {k: nr.tensor(v) for k, v in row.arrays("float32").items()}, nr.tensor(row.value_in("float32"))
    function = outputs(row, names)
    for a, b, name in zip(nr.jit(function)(parameters, value), function(parameters, value), names, strict=True):
        assert a.dtype == b.dtype, name
        np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=3e-5, atol=3e-6, err_msg=name)
    draw = nr.jit(lambda parameters: row.build(OURS, parameters).sample((16,)))
    assert not np.array_equal(np.asarray(draw(parameters)), np.asarray(draw(parameters)))


def twice(tree: Any) -> Any:
    """Every tensor of a pytree stacked on itself."""
    return jax.tree.map(lambda x: nr.stack([x, x]), tree, is_leaf=lambda x: isinstance(x, nr.Tensor))


def test_the_mode_of_kumaraswamy_is_that_of_its_density():
    distribution = OURS.Kumaraswamy(nr.tensor([2.0, 3.0, 0.5, 1.0]), nr.tensor([2.0, 5.0, 3.0, 1.0]))
    grid = nr.linspace(0.0005, 0.9995, 1000).reshape(-1, 1)
    highest = grid[distribution.log_prob(grid).argmax(0), 0]
    np.testing.assert_allclose(np.asarray(distribution.mode)[:2], np.asarray(highest)[:2], atol=1e-3)
    assert np.isnan(np.asarray(distribution.mode)[2:]).all()


def test_every_distribution_has_a_row():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        names = {n for n in THEIRS.__all__ if isinstance(getattr(THEIRS, n), type) and issubclass(getattr(THEIRS, n), THEIRS.Distribution)}
    assert names - {"Distribution", "ExponentialFamily"} - {r.name for r in ROWS} == set()
