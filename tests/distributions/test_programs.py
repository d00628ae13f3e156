"""Programs that use distributions: a variational autoencoder, policy gradients, flows; distributions as arguments and results of compiled functions."""

from __future__ import annotations

import pickle
import subprocess
import sys

import jax
import numpy as np
import pytest
import torch

import neurarust_jax as nr
from neurarust_jax import nn, optim

from ..oracle import assert_same
from .rows import OURS, ROWS, THEIRS

RANDOM = np.random.default_rng(0)
WEIGHTS = [RANDOM.standard_normal(s).astype(np.float32) * 0.3 for s in ((4, 8), (4,), (8, 2), (8,))]
X = (RANDOM.random((16, 8)) < 0.4).astype(np.float32)
NOISE = RANDOM.standard_normal((16, 2)).astype(np.float32)


def autoencoder(library, module, encoder, decoder, sample):
    """The loss of a variational autoencoder for given noise."""
    loc, log_scale = encoder.chunk(2, -1)
    posterior = library.Normal(loc, log_scale.exp())
    likelihood = library.Independent(library.Bernoulli(logits=decoder(sample(posterior))), 1)
    prior = library.Normal(module.zeros_like(loc), module.ones_like(loc))
    return library.kl_divergence(posterior, prior).sum(-1).mean() - likelihood.log_prob(module.tensor(X)).mean()


def test_a_variational_autoencoder_has_pytorchs_losses():
    theirs = [torch.tensor(w, requires_grad=True) for w in WEIGHTS]
    ours = [nn.Parameter(nr.tensor(w)) for w in WEIGHTS]
    optimizers = torch.optim.Adam(theirs, lr=1e-2), optim.Adam(ours, lr=1e-2)

    def loss_of(library, module, weights):
        noise = module.tensor(NOISE)
        encoder = module.tensor(X) @ weights[0].mT + weights[1]
        return autoencoder(library, module, encoder, lambda z: z @ weights[2].mT + weights[3], lambda q: q.mean + q.stddev * noise)

    @nr.jit
    def step():
        optimizers[1].zero_grad()
        loss = loss_of(OURS, nr, ours)
        loss.backward()
        optimizers[1].step()
        return loss

    for _ in range(3):
        optimizers[0].zero_grad()
        expected = loss_of(THEIRS, torch, theirs)
        expected.backward()
        optimizers[0].step()
        assert_same(step(), expected, rtol=1e-4)


def test_a_variational_autoencoder_learns_with_its_own_noise():
    encoder, decoder = nn.Linear(8, 4), nn.Linear(2, 8)
    optimizer = optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=5e-2)

    @nr.jit
    def step(x):
        optimizer.zero_grad()
        loss = autoencoder(OURS, nr, encoder(x), decoder, lambda q: q.rsample())
        loss.backward()
        optimizer.step()
        return loss

    losses = [float(step(nr.tensor(X))) for _ in range(60)]
    assert losses[-1] < 0.9 * losses[0] and len(set(losses)) == 60


def test_reinforce_has_pytorchs_loss_and_gradients():
    states, actions, rewards = RANDOM.standard_normal((10, 4)).astype(np.float32), np.arange(10) % 3, RANDOM.standard_normal(10).astype(np.float32)
    weight = RANDOM.standard_normal((4, 3)).astype(np.float32)

    def loss_of(library, module, weight):
        policy = library.Categorical(logits=module.tensor(states) @ weight)
        return -(policy.log_prob(module.tensor(actions)) * module.tensor(rewards)).mean() - 0.01 * policy.entropy().mean()

    ours, theirs = nr.tensor(weight, requires_grad=True), torch.tensor(weight, requires_grad=True)
    expected = loss_of(THEIRS, torch, theirs)
    expected.backward()
    loss = loss_of(OURS, nr, ours)
    loss.backward()
    assert_same(loss, expected)
    assert_same(ours.grad, theirs.grad)
    value, gradient = nr.jit(nr.value_and_grad(lambda w: loss_of(OURS, nr, w)))(nr.tensor(weight))
    assert_same(value, expected)
    assert_same(gradient, theirs.grad)


def test_a_policy_learns_by_its_own_samples():
    logits = nn.Parameter(nr.zeros(3))
    optimizer = optim.SGD([logits], lr=0.5)

    @nr.jit
    def step():
        optimizer.zero_grad()
        policy = OURS.Categorical(logits=logits)
        action = policy.sample((32,))
        loss = -(policy.log_prob(action) * (action == 2).float()).mean()
        loss.backward()
        optimizer.step()

    for _ in range(30):
        step()
    assert float(nr.softmax(logits, 0)[2]) > 0.8


@pytest.mark.parametrize(
    "name", ["Normal", "Binomial", "Beta", "MixtureSameFamily", "TransformedDistribution", "LogNormal", "Independent", "Wishart", "Gumbel"]
)
def test_compiled_functions_take_and_return_distributions(name):
    row = next(r for r in ROWS if r.name == name)
    distribution, value = row.ours("float32"), nr.tensor(row.value_in("float32"))
    expected = distribution.log_prob(value)
    np.testing.assert_allclose(np.asarray(nr.jit(lambda d, x: d.log_prob(x))(distribution, value)), np.asarray(expected), rtol=1e-4)
    made = nr.jit(lambda parameters: row.build(OURS, parameters))({k: nr.tensor(v) for k, v in row.arrays("float32").items()})
    assert type(made) is type(distribution) and repr(made) == repr(row.ours("float32"))
    np.testing.assert_allclose(np.asarray(made.log_prob(value)), np.asarray(expected), rtol=1e-4)
    assert jax.tree.structure(distribution) == jax.tree.structure(row.ours("float32"))


def test_gradients_flow_through_a_distribution_that_a_compiled_function_returned():
    scale = nr.tensor(2.0, requires_grad=True)
    made = nr.jit(lambda s: OURS.Normal(0.0, s))(scale)
    made.log_prob(nr.tensor(1.0)).backward()
    np.testing.assert_allclose(float(scale.grad), 1 / 8 - 1 / 2)


def test_a_module_may_hold_a_distribution():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.prior = OURS.Normal(nr.zeros(2), nr.ones(2))
            self.shift = nn.Parameter(nr.zeros(2))

        def forward(self, x):
            return self.prior.log_prob(x + self.shift).sum()

    model = Model()
    np.testing.assert_allclose(float(nr.jit(lambda x: model(x))(nr.ones(2))), float(model(nr.ones(2))), rtol=1e-6)


@pytest.mark.parametrize("row", [r for r in ROWS if r.make is None], ids=str)
def test_pickle(row):
    distribution = row.ours("float32")
    again = pickle.loads(pickle.dumps(distribution))
    value = nr.tensor(row.value_in("float32"))
    np.testing.assert_array_equal(np.asarray(again.log_prob(value)), np.asarray(distribution.log_prob(value)))


def test_files_have_pytorchs_names():
    """`from torch.distributions.normal import Normal` and the like."""
    import importlib

    for name in THEIRS.__all__:
        their_file = getattr(getattr(THEIRS, name), "__module__", "").removeprefix("torch.distributions")
        if their_file.startswith("."):
            assert hasattr(importlib.import_module(f"neurarust_jax.distributions{their_file}"), name), f"{their_file}.{name}"


def test_families_are_imported_when_they_are_used():
    code = (
        "import sys, neurarust_jax as nr\n"
        "assert not [m for m in sys.modules if m.startswith('neurarust_jax.distributions.')]\n"
        "nr.distributions.Normal\n"
        "assert 'neurarust_jax.distributions.wishart' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
