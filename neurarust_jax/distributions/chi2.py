"""The chi-squared distribution."""

from __future__ import annotations

from typing import Any

from ..tensor import Tensor
from . import constraints
from .gamma import Gamma
from .utils import as_tensors

__all__ = ["Chi2"]


class Chi2(Gamma):
    """The distribution of the sum of `df` squared standard normal numbers: a gamma distribution of concentration ``df / 2`` and rate 1/2.

    Args:
        df: the degrees of freedom.
        validate_args: see `Distribution`.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.distributions.Chi2(3.0).variance
        tensor(6.)
    """

    arg_constraints = {"df": constraints.positive}
    _derived = ("concentration", "rate")

    def __init__(self, df: Any, validate_args: bool | None = None):
        super().__init__(0.5 * as_tensors(df)[0], 0.5, validate_args=validate_args)

    @property
    def df(self) -> Tensor:
        """The degrees of freedom."""
        return self.concentration * 2
