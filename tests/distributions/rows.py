"""One row a distribution: how it is made of its parameters, their values, and values to look at."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch

import neurarust_jax as nr

THEIRS, OURS = torch.distributions, nr.distributions


class Row(NamedTuple):
    """A distribution with parameters.

    Attributes:
        name: of the class, or of the row.
        parameters: arrays by name.
        value: where the density is looked at.
        make: of the module `distributions` and tensors by name; by default the class is called with them.
        moments: whether samples are held against mean and variance: the fourth moment is finite.
        label: what the test is called by.
        dtype: in which PyTorch is asked.
        apart: quantities that are not PyTorch's, each with its reason beside the row.
        flat: quantities that have no gradient in PyTorch.
        close: the relative tolerance of float64.
    """

    name: str
    parameters: dict[str, Any]
    value: Any
    make: Callable | None = None
    moments: bool = True
    label: str = ""
    dtype: str = "float64"
    apart: tuple[str, ...] = ()
    flat: tuple[str, ...] = ()
    close: float = 1e-9

    def arrays(self, dtype: str = "") -> dict[str, np.ndarray]:
        return {name: np.asarray(value, dtype or self.dtype) for name, value in self.parameters.items()}

    def value_in(self, dtype: str = "") -> np.ndarray:
        return np.array(self.value, dtype or self.dtype)

    @property
    def tolerance(self) -> dict[str, float]:
        """Of float64; special functions are evaluated by other approximations than PyTorch's."""
        return {"rtol": self.close, "atol": self.close / 100} if self.dtype == "float64" else {"rtol": 3e-5, "atol": 3e-6}

    def build(self, library: Any, tensors: dict[str, Any], **options: Any) -> Any:
        return self.make(library, **tensors, **options) if self.make else getattr(library, self.name)(**tensors, **options)

    def ours(self, dtype: str = "") -> Any:
        return self.build(OURS, {k: nr.tensor(v) for k, v in self.arrays(dtype).items()})

    def theirs(self, dtype: str = "") -> Any:
        return self.build(THEIRS, {k: torch.tensor(v) for k, v in self.arrays(dtype).items()})

    def __str__(self) -> str:
        return self.label or self.name


LOC, SCALE = [0.3, -1.2, 2.0], [0.7, 1.5, 2.2]
PROBS, LOGITS = [0.2, 0.5, 0.9], [-0.4, 0.3, 1.5]
WEIGHTS = [[0.1, 0.5, 0.4], [0.3, 0.3, 0.4]]

POSITIVE, OTHER = [0.8, 1.5, 3.2], [2.5, 0.7, 1.3]
UNIT = [0.15, 0.4, 0.85]
VALUES = [0.1, 1.0, -2.0]
POINTS = [[0.2, 0.5, 0.3], [0.6, 0.3, 0.1]]  # of the simplex
CONCENTRATIONS = [[1.5, 2.0, 3.5], [0.8, 2.5, 1.2]]
TRIL = [[[1.2, 0.0, 0.0], [0.4, 0.9, 0.0], [-0.3, 0.5, 1.5]], [[0.7, 0.0, 0.0], [0.1, 1.1, 0.0], [0.2, -0.6, 0.8]]]
COVARIANCE = (np.array(TRIL) @ np.swapaxes(np.array(TRIL), -1, -2)).tolist()
LOCS = [[0.1, -0.4, 1.0], [0.5, 0.2, -0.7]]
CHOLESKY = [[1.0, 0.0, 0.0], [0.6, 0.8, 0.0], [0.2, -0.3, (1 - 0.04 - 0.09) ** 0.5]]


def mixture(D, weights, loc, scale):
    return D.MixtureSameFamily(D.Categorical(weights), D.Normal(loc, scale))


def mixture_of_vectors(D, weights, loc, scale):
    return D.MixtureSameFamily(D.Categorical(weights), D.Independent(D.Normal(loc, scale), 1))


def squashed(D, loc, scale):
    transforms = [D.transforms.AffineTransform(0.5, -0.4), D.transforms.TanhTransform()]
    return D.TransformedDistribution(D.Normal(loc, scale), transforms)


def lower(matrices):
    """The lower triangles: what lies above is no parameter."""
    return matrices.tril()


ROWS = [
    Row("Normal", {"loc": LOC, "scale": SCALE}, VALUES),
    Row("Uniform", {"low": [0.0, -1.0, 2.0], "high": [1.0, 3.0, 2.5]}, [0.2, 2.5, 2.0]),
    Row("Bernoulli", {"probs": PROBS}, [0.0, 1.0, 1.0]),
    Row("Bernoulli", {"logits": LOGITS}, [0.0, 1.0, 1.0], label="Bernoulli-logits"),
    Row("Categorical", {"probs": WEIGHTS}, [1.0, 2.0]),
    Row("Categorical", {"logits": WEIGHTS}, [1.0, 2.0], label="Categorical-logits"),
    Row("Independent", {"loc": LOC, "scale": SCALE}, VALUES, lambda D, loc, scale: D.Independent(D.Normal(loc, scale), 1)),
    Row("Beta", {"concentration1": POSITIVE, "concentration0": OTHER}, UNIT),
    Row("Binomial", {"probs": PROBS}, [2.0, 0.0, 5.0], lambda D, probs: D.Binomial(5, probs)),
    Row("Binomial", {"logits": LOGITS}, [2.0, 0.0, 5.0], lambda D, logits: D.Binomial(5, logits=logits), label="Binomial-logits"),
    Row("Cauchy", {"loc": LOC, "scale": SCALE}, VALUES, moments=False),
    Row("Chi2", {"df": [1.5, 3.0, 6.0]}, POSITIVE, flat=("cdf",)),
    Row("ContinuousBernoulli", {"probs": [0.2, 0.45, 0.9]}, UNIT),
    Row("ContinuousBernoulli", {"probs": [0.4995, 0.5, 0.5005]}, UNIT, moments=False, label="ContinuousBernoulli-middle"),  # samples have no gradient there
    Row("ContinuousBernoulli", {"logits": LOGITS}, UNIT, label="ContinuousBernoulli-logits"),
    Row("Dirichlet", {"concentration": CONCENTRATIONS}, POINTS),
    Row("Exponential", {"rate": POSITIVE}, OTHER),
    Row("FisherSnedecor", {"df1": [3.0, 5.0, 4.0], "df2": [12.0, 15.0, 20.0]}, OTHER),
    Row("Gamma", {"concentration": POSITIVE, "rate": OTHER}, [0.5, 1.0, 4.0], flat=("cdf",)),
    Row(  # PyTorch's compares float64 with float32, which raises
        "GeneralizedPareto",
        {"loc": LOC, "scale": SCALE, "concentration": [0.1, -0.4, 0.2]},
        [1.0, 0.5, 3.0],
        dtype="float32",
    ),  # fmt: skip
    Row(  # no gradient of samples by the concentration where it is 0
        "GeneralizedPareto",
        {"loc": LOC, "scale": SCALE, "concentration": [0.0, 0.7, 1.3]},
        [1.0, 0.5, 3.0],
        moments=False,
        label="GeneralizedPareto-edges",
        dtype="float32",
    ),  # fmt: skip
    Row("Geometric", {"probs": PROBS}, [0.0, 3.0, 1.0]),
    Row("Geometric", {"logits": LOGITS}, [0.0, 3.0, 1.0], label="Geometric-logits"),
    Row("Gumbel", {"loc": LOC, "scale": SCALE}, VALUES),
    Row("HalfCauchy", {"scale": SCALE}, OTHER, moments=False),
    Row("HalfNormal", {"scale": SCALE}, OTHER),
    Row("InverseGamma", {"concentration": [6.0, 7.0, 9.0], "rate": OTHER}, POSITIVE, flat=("cdf",)),
    Row("Kumaraswamy", {"concentration1": POSITIVE, "concentration0": OTHER}, UNIT, apart=("mode",)),  # PyTorch's formula is NaN everywhere
    Row("LKJCholesky", {"concentration": [0.8, 2.0]}, CHOLESKY, lambda D, concentration: D.LKJCholesky(3, concentration)),
    Row("Laplace", {"loc": LOC, "scale": SCALE}, VALUES),
    Row("LogNormal", {"loc": LOC, "scale": [0.2, 0.4, 0.3]}, POSITIVE),
    Row("LogisticNormal", {"loc": LOCS, "scale": CONCENTRATIONS}, [[0.2, 0.4, 0.1, 0.3], [0.5, 0.2, 0.2, 0.1]]),
    Row("LowRankMultivariateNormal", {"loc": LOCS, "cov_factor": np.array(TRIL)[..., :2], "cov_diag": CONCENTRATIONS}, POINTS),
    Row(
        "MixtureSameFamily", {"weights": WEIGHTS, "loc": LOCS, "scale": CONCENTRATIONS}, [0.5, -1.0], mixture, apart=("repr",)
    ),  # PyTorch has computed the logits
    Row(
        "MixtureSameFamily",
        {"weights": WEIGHTS[0], "loc": TRIL[0], "scale": [CONCENTRATIONS[0]] * 3},
        LOC,
        mixture_of_vectors,
        apart=("repr",),
        label="MixtureSameFamily-vectors",
    ),  # fmt: skip
    Row(
        "Multinomial", {"probs": WEIGHTS}, [[1.0, 3.0, 1.0], [0.0, 2.0, 3.0]], lambda D, probs: D.Multinomial(5, probs), close=1e-7
    ),  # PyTorch's entropy is partly in float32
    Row("MultivariateNormal", {"loc": LOCS, "scale_tril": TRIL}, POINTS, lambda D, loc, scale_tril: D.MultivariateNormal(loc, scale_tril=lower(scale_tril))),
    Row("MultivariateNormal", {"loc": LOCS[0], "covariance_matrix": COVARIANCE[0]}, POINTS, label="MultivariateNormal-covariance"),
    Row("MultivariateNormal", {"loc": LOCS[0], "precision_matrix": COVARIANCE}, POINTS, moments=False, label="MultivariateNormal-precision"),
    Row("NegativeBinomial", {"total_count": [2.0, 3.5, 5.0], "probs": [0.2, 0.5, 0.7]}, [1.0, 0.0, 4.0]),
    Row("NegativeBinomial", {"total_count": [2.0, 3.5, 5.0], "logits": LOGITS}, [1.0, 0.0, 4.0], label="NegativeBinomial-logits"),
    Row("OneHotCategorical", {"probs": WEIGHTS}, [[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]),
    Row("OneHotCategoricalStraightThrough", {"logits": WEIGHTS}, [[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]], moments=False),
    Row("Pareto", {"scale": POSITIVE, "alpha": [5.0, 6.0, 9.0]}, [1.0, 1.5, 4.0]),
    Row("Poisson", {"rate": POSITIVE}, [0.0, 2.0, 5.0]),
    Row("RelaxedBernoulli", {"temperature": 0.7, "probs": PROBS}, UNIT),
    Row("RelaxedBernoulli", {"temperature": 0.7, "logits": LOGITS}, UNIT, label="RelaxedBernoulli-logits"),
    Row("RelaxedOneHotCategorical", {"temperature": 0.7, "probs": WEIGHTS}, POINTS),
    Row("RelaxedOneHotCategorical", {"temperature": 0.7, "logits": WEIGHTS}, POINTS, label="RelaxedOneHotCategorical-logits"),
    Row("StudentT", {"df": [6.0, 8.0, 12.0], "loc": LOC, "scale": SCALE}, VALUES),
    Row("TransformedDistribution", {"loc": LOC, "scale": SCALE}, [-0.3, 0.2, 0.9], squashed),
    Row("VonMises", {"loc": LOC, "concentration": POSITIVE}, VALUES, moments=False, close=1e-6),  # PyTorch's Bessel function has seven digits
    Row("Weibull", {"scale": OTHER, "concentration": [1.5, 2.0, 3.0]}, POSITIVE),
    Row("Wishart", {"df": [5.0, 4.5], "scale_tril": TRIL}, COVARIANCE, lambda D, df, scale_tril: D.Wishart(df, scale_tril=lower(scale_tril))),
    Row("Wishart", {"df": 6.0, "covariance_matrix": COVARIANCE[0]}, COVARIANCE[0], label="Wishart-covariance"),
]
