"""Tensors made from numbers."""

import numpy as np
import pytest
import torch

import neurarust_jax as nr
from tests.oracle import assert_same


@pytest.mark.parametrize("start, end", [(0, 1), (1, 0), (3, -7), (-2, 5)])
def test_integers_of_linspace_lie_on_their_numbers(start, end):
    """The distance of neighbours is an integer, which a product with the reciprocal of the number of steps is not."""
    for steps in (2, 3, 7, 10, 26, 50, 94, 99, 107):
        stop = start + (end - start) * (steps - 1)
        expected = torch.linspace(start, stop, steps, dtype=torch.int64)
        assert_same(nr.linspace(start, stop, steps, dtype=nr.int64), expected)
        assert_same(nr.linspace(start, nr.tensor(stop), steps, dtype=nr.int64), expected)
        assert_same(nr.linspace(start, stop, steps, dtype=nr.float64), torch.linspace(start, stop, steps, dtype=torch.float64), 0, 0)
        np.testing.assert_array_equal(nr.jit(lambda s, stop=stop, steps=steps: nr.linspace(s, stop, steps, dtype=nr.int64))(nr.tensor(start)).numpy(), expected)
