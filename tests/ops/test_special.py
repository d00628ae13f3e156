"""Special functions where PyTorch's samples do not reach."""

import numpy as np
import pytest
import scipy.special
import torch

import neurarust_jax as nr
from tests.oracle import check

PARAMETERS = np.array([0.5, 5, 50, 501, 9999, 1.1e4, 1e6, 1e12, 1e20])
RATIOS = np.array([0, 0.001, 0.5, 0.9, 1, 1.01, 1.09, 1.2, 2, 1000])
DEVIATIONS = np.array([-3, -1, 0, 1, 4])


@pytest.mark.parametrize("name", ["gammainc", "gammaincc"])
def test_incomplete_gamma_functions_of_large_parameters(name):
    a = np.repeat(PARAMETERS, len(RATIOS) + len(DEVIATIONS))
    x = np.concatenate([np.concatenate([p * RATIOS, np.maximum(p + DEVIATIONS * np.sqrt(p), 0)]) for p in PARAMETERS])
    ours, expected = getattr(nr.special, name), getattr(scipy.special, name)
    np.testing.assert_allclose(ours(nr.tensor(a), nr.tensor(x)).numpy(), expected(a, x), rtol=1e-9, atol=1e-10)
    a, x = a.astype(np.float32), x.astype(np.float32)
    np.testing.assert_allclose(ours(nr.tensor(a), nr.tensor(x)).numpy(), expected(a.astype(np.float64), x.astype(np.float64)), rtol=2e-5, atol=5e-6)


@pytest.mark.parametrize("name", ["gammainc", "gammaincc"])
def test_incomplete_gamma_functions_at_the_edges(name):
    values = [-1, 0, 2, 1e20, np.inf]
    a, x = (part.ravel() for part in np.meshgrid(values, values))
    kept = ~((a == 1e20) & (x == 1e20))  # PyTorch is off there
    check(getattr(nr.special, name), getattr(torch.special, name), a[kept], x[kept], grad=False)


@pytest.mark.parametrize("name", ["gammainc", "gammaincc"])
def test_gradients_of_incomplete_gamma_functions(name):
    a = np.array([3, 50, 1.5e4, 1e5, 1e5, 1e6, 1e6])
    check(
        lambda x: getattr(nr.special, name)(nr.tensor(a), x),
        lambda x: getattr(torch.special, name)(torch.tensor(a), x),
        a + np.sqrt(a) * [1, 0, 1, 0, -1, -999, 1e6],
        rtol=1e-6,
        atol=1e-7,
    )
