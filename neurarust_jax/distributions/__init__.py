"""Probability distributions: PyTorch's `torch.distributions`. A family's file is imported when one of its names is used.

Samples come from the default generator, so `nr.manual_seed` fixes them, and inside `nr.jit` every call draws anew.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import constraint_registry, constraints, kl, transforms, utils
    from .bernoulli import Bernoulli
    from .beta import Beta
    from .binomial import Binomial
    from .categorical import Categorical
    from .cauchy import Cauchy
    from .chi2 import Chi2
    from .constraint_registry import biject_to, transform_to
    from .continuous_bernoulli import ContinuousBernoulli
    from .dirichlet import Dirichlet
    from .distribution import Distribution
    from .elementwise_transforms import (
        AbsTransform, AffineTransform, CumulativeDistributionTransform, ExpTransform, PowerTransform, SigmoidTransform, SoftplusTransform, TanhTransform,
    )  # fmt: skip
    from .exp_family import ExponentialFamily
    from .exponential import Exponential
    from .fishersnedecor import FisherSnedecor
    from .gamma import Gamma
    from .generalized_pareto import GeneralizedPareto
    from .geometric import Geometric
    from .gumbel import Gumbel
    from .half_cauchy import HalfCauchy
    from .half_normal import HalfNormal
    from .independent import Independent
    from .inverse_gamma import InverseGamma
    from .kl import kl_divergence, register_kl
    from .kumaraswamy import Kumaraswamy
    from .laplace import Laplace
    from .lkj_cholesky import LKJCholesky
    from .log_normal import LogNormal
    from .logistic_normal import LogisticNormal
    from .lowrank_multivariate_normal import LowRankMultivariateNormal
    from .mixture_same_family import MixtureSameFamily
    from .multinomial import Multinomial
    from .multivariate_normal import MultivariateNormal
    from .negative_binomial import NegativeBinomial
    from .normal import Normal
    from .one_hot_categorical import OneHotCategorical, OneHotCategoricalStraightThrough
    from .pareto import Pareto
    from .poisson import Poisson
    from .relaxed_bernoulli import RelaxedBernoulli
    from .relaxed_categorical import RelaxedOneHotCategorical
    from .structured_transforms import (
        CatTransform, CorrCholeskyTransform, LowerCholeskyTransform, PositiveDefiniteTransform, ReshapeTransform, SoftmaxTransform, StackTransform, StickBreakingTransform,
    )  # fmt: skip
    from .studentT import StudentT
    from .transform import ComposeTransform, IndependentTransform, Transform, identity_transform
    from .transformed_distribution import TransformedDistribution
    from .uniform import Uniform
    from .von_mises import VonMises
    from .weibull import Weibull
    from .wishart import Wishart

__all__ = [
    "AbsTransform", "AffineTransform", "Bernoulli", "Beta", "Binomial", "CatTransform", "Categorical", "Cauchy", "Chi2", "ComposeTransform",
    "ContinuousBernoulli", "CorrCholeskyTransform", "CumulativeDistributionTransform", "Dirichlet", "Distribution", "ExpTransform", "Exponential",
    "ExponentialFamily", "FisherSnedecor", "Gamma", "GeneralizedPareto", "Geometric", "Gumbel", "HalfCauchy", "HalfNormal", "Independent",
    "IndependentTransform", "InverseGamma", "Kumaraswamy", "LKJCholesky", "Laplace", "LogNormal", "LogisticNormal", "LowRankMultivariateNormal",
    "LowerCholeskyTransform", "MixtureSameFamily", "Multinomial", "MultivariateNormal", "NegativeBinomial", "Normal", "OneHotCategorical",
    "OneHotCategoricalStraightThrough", "Pareto", "Poisson", "PositiveDefiniteTransform", "PowerTransform", "RelaxedBernoulli",
    "RelaxedOneHotCategorical", "ReshapeTransform", "SigmoidTransform", "SoftmaxTransform", "SoftplusTransform", "StackTransform",
    "StickBreakingTransform", "StudentT", "TanhTransform", "Transform", "TransformedDistribution", "Uniform", "VonMises", "Weibull", "Wishart",
    "biject_to", "identity_transform", "kl_divergence", "register_kl", "transform_to",
]  # fmt: skip

_NAMES = {  # of each file
    "bernoulli": "Bernoulli",
    "beta": "Beta",
    "binomial": "Binomial",
    "categorical": "Categorical",
    "cauchy": "Cauchy",
    "chi2": "Chi2",
    "constraint_registry": "biject_to transform_to",
    "continuous_bernoulli": "ContinuousBernoulli",
    "dirichlet": "Dirichlet",
    "distribution": "Distribution",
    "elementwise_transforms": "AbsTransform AffineTransform CumulativeDistributionTransform ExpTransform PowerTransform SigmoidTransform SoftplusTransform TanhTransform",
    "exp_family": "ExponentialFamily",
    "exponential": "Exponential",
    "fishersnedecor": "FisherSnedecor",
    "gamma": "Gamma",
    "generalized_pareto": "GeneralizedPareto",
    "geometric": "Geometric",
    "gumbel": "Gumbel",
    "half_cauchy": "HalfCauchy",
    "half_normal": "HalfNormal",
    "independent": "Independent",
    "inverse_gamma": "InverseGamma",
    "kl": "kl_divergence register_kl",
    "kumaraswamy": "Kumaraswamy",
    "laplace": "Laplace",
    "lkj_cholesky": "LKJCholesky",
    "log_normal": "LogNormal",
    "logistic_normal": "LogisticNormal",
    "lowrank_multivariate_normal": "LowRankMultivariateNormal",
    "mixture_same_family": "MixtureSameFamily",
    "multinomial": "Multinomial",
    "multivariate_normal": "MultivariateNormal",
    "negative_binomial": "NegativeBinomial",
    "normal": "Normal",
    "one_hot_categorical": "OneHotCategorical OneHotCategoricalStraightThrough",
    "pareto": "Pareto",
    "poisson": "Poisson",
    "relaxed_bernoulli": "RelaxedBernoulli",
    "relaxed_categorical": "RelaxedOneHotCategorical",
    "structured_transforms": "CatTransform CorrCholeskyTransform LowerCholeskyTransform PositiveDefiniteTransform ReshapeTransform SoftmaxTransform StackTransform StickBreakingTransform",
    "studentT": "StudentT",
    "transform": "ComposeTransform IndependentTransform Transform identity_transform",
    "transformed_distribution": "TransformedDistribution",
    "uniform": "Uniform",
    "von_mises": "VonMises",
    "weibull": "Weibull",
    "wishart": "Wishart",
}
_HOMES = {name: home for home, names in _NAMES.items() for name in names.split()}
_FILES = {*_NAMES, "constraints", "transforms", "utils"}


def __getattr__(name: str) -> Any:
    import importlib

    if name in _HOMES:
        found = getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
    elif name in _FILES:
        found = importlib.import_module(f".{name}", __name__)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*__all__, *_FILES})
