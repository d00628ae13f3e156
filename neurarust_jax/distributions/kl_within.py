"""Divergences within a family."""

from __future__ import annotations

import math
from typing import Any

from ..errors import UnsupportedError
from ..nn import functional as F
from ..ops import digamma, exp, lgamma, log, log1p, sqrt, where
from ..ops.common import broadcast_shapes
from ..ops.linalg import solve_triangular
from ..tensor import Size, Tensor
from .bernoulli import Bernoulli
from .beta import Beta
from .binomial import Binomial
from .categorical import Categorical
from .cauchy import Cauchy
from .continuous_bernoulli import ContinuousBernoulli
from .dirichlet import Dirichlet
from .exp_family import ExponentialFamily
from .exponential import Exponential
from .gamma import Gamma
from .geometric import Geometric
from .gumbel import Gumbel
from .half_normal import HalfNormal
from .independent import Independent
from .kl_registry import kl_divergence, register_kl
from .laplace import Laplace
from .lowrank_multivariate_normal import LowRankMultivariateNormal
from .multivariate_normal import MultivariateNormal, log_diagonal, mahalanobis
from .normal import Normal
from .one_hot_categorical import OneHotCategorical
from .pareto import Pareto
from .poisson import Poisson
from .transformed_distribution import TransformedDistribution
from .uniform import Uniform
from .utils import euler_constant, is_traced, sum_rightmost


@register_kl(Bernoulli, Bernoulli)
def _bernoulli(p: Bernoulli, q: Bernoulli) -> Tensor:
    ones = p.probs * (F.softplus(-q.logits) - F.softplus(-p.logits))
    zeros = (1 - p.probs) * (F.softplus(q.logits) - F.softplus(p.logits))
    ones = where(p.probs == 0, 0.0, where(q.probs == 0, math.inf, ones))
    zeros = where(p.probs == 1, 0.0, where(q.probs == 1, math.inf, zeros))
    return ones + zeros


@register_kl(Beta, Beta)
def _beta(p: Beta, q: Beta) -> Tensor:
    p_total, q_total = p.concentration1 + p.concentration0, q.concentration1 + q.concentration0
    normalizers = lgamma(q.concentration1) + lgamma(q.concentration0) + lgamma(p_total)
    normalizers = normalizers - (lgamma(p.concentration1) + lgamma(p.concentration0) + lgamma(q_total))
    means = (p.concentration1 - q.concentration1) * digamma(p.concentration1) + (p.concentration0 - q.concentration0) * digamma(p.concentration0)
    return normalizers + means + (q_total - p_total) * digamma(p_total)


@register_kl(Binomial, Binomial)
def _binomial(p: Binomial, q: Binomial) -> Tensor:
    fewer = p.total_count < q.total_count
    if not is_traced(fewer) and bool(fewer.any()):
        raise UnsupportedError("KL between Binomials where q.total_count > p.total_count is not implemented")
    result = p.total_count * (p.probs * (p.logits - q.logits) + log1p(-p.probs) - log1p(-q.probs))
    return where(p.total_count > q.total_count, math.inf, result)


@register_kl(Categorical, Categorical)
def _categorical(p: Categorical, q: Categorical) -> Tensor:
    terms = p.probs * (p.logits - q.logits)
    return where(p.probs == 0, 0.0, where(q.probs == 0, math.inf, terms)).sum(-1)


@register_kl(ContinuousBernoulli, ContinuousBernoulli)
def _continuous_bernoulli(p: ContinuousBernoulli, q: ContinuousBernoulli) -> Tensor:
    ours = p._cont_bern_log_norm() + log1p(-p.probs)
    theirs = q._cont_bern_log_norm() + log1p(-q.probs)
    return p.mean * (p.logits - q.logits) + ours - theirs


@register_kl(Dirichlet, Dirichlet)
def _dirichlet(p: Dirichlet, q: Dirichlet) -> Tensor:
    p_total, q_total = p.concentration.sum(-1), q.concentration.sum(-1)
    normalizers = lgamma(p_total) - lgamma(q_total) + (lgamma(q.concentration) - lgamma(p.concentration)).sum(-1)
    means = (p.concentration - q.concentration) * (digamma(p.concentration) - digamma(p_total).unsqueeze(-1))
    return normalizers + means.sum(-1)


@register_kl(Exponential, Exponential)
def _exponential(p: Exponential, q: Exponential) -> Tensor:
    ratio = q.rate / p.rate
    return ratio - log(ratio) - 1


@register_kl(ExponentialFamily, ExponentialFamily)
def _exponential_family(p: ExponentialFamily, q: ExponentialFamily) -> Tensor:
    """By Bregman's divergence of the log-normalizers."""
    if type(p) is not type(q):
        raise UnsupportedError("The cross KL-divergence between different exponential families cannot be computed using Bregman divergences")
    normalizer, parameters, means = p._mean_statistics()
    result = q._log_normalizer(*q._natural_params) - normalizer
    for theirs, ours, mean in zip(q._natural_params, parameters, means, strict=True):
        term = (theirs - ours) * mean
        result = result - sum_rightmost(term, term.dim() - len(q.batch_shape))
    return result


@register_kl(Gamma, Gamma)
def _gamma(p: Gamma, q: Gamma) -> Tensor:
    normalizers = q.concentration * log(p.rate / q.rate) + lgamma(q.concentration) - lgamma(p.concentration)
    return normalizers + (p.concentration - q.concentration) * digamma(p.concentration) + (q.rate - p.rate) * p.mean


@register_kl(Gumbel, Gumbel)
def _gumbel(p: Gumbel, q: Gumbel) -> Tensor:
    ratio = p.scale / q.scale
    shift = (p.loc - q.loc) / q.scale
    return shift - log(ratio) + ratio * euler_constant + exp(lgamma(1 + ratio) - shift) - (1 + euler_constant)


@register_kl(Geometric, Geometric)
def _geometric(p: Geometric, q: Geometric) -> Tensor:
    return -p.entropy() - log1p(-q.probs) / p.probs - q.logits


@register_kl(HalfNormal, HalfNormal)
def _half_normal(p: HalfNormal, q: HalfNormal) -> Tensor:
    return kl_divergence(p.base_dist, q.base_dist)


@register_kl(Laplace, Laplace)
def _laplace(p: Laplace, q: Laplace) -> Tensor:
    ratio, distance = p.scale / q.scale, (p.loc - q.loc).abs()
    return distance / q.scale - log(ratio) + ratio * exp(-distance / p.scale) - 1


@register_kl(MultivariateNormal, MultivariateNormal)
@register_kl(MultivariateNormal, LowRankMultivariateNormal)
@register_kl(LowRankMultivariateNormal, MultivariateNormal)
@register_kl(LowRankMultivariateNormal, LowRankMultivariateNormal)
def _multivariate_normal(p: Any, q: Any) -> Tensor:
    if p.event_shape != q.event_shape:
        raise ValueError(f"KL-divergence between two multivariate normals with different event shapes cannot be computed: {p.event_shape} and {q.event_shape}")
    if isinstance(q, LowRankMultivariateNormal):
        reduction = q._reduction()
        trace = (p.variance / q._unbroadcasted_cov_diag).sum(-1) - sum(_squares(reduction @ root) for root in _roots(p))
        distance = q._distance(q.loc - p.loc)
    else:
        factor = q._unbroadcasted_scale_tril
        trace = sum(_squares(_solved(factor, root)) for root in _roots(p))
        distance = mahalanobis(factor, q.loc - p.loc)
    return 0.5 * (_log_determinant(q) - _log_determinant(p) + trace + distance - p.event_shape[0])


def _roots(p: Any) -> list[Tensor]:
    """Matrices whose products with their transposes add up to the covariance."""
    if isinstance(p, LowRankMultivariateNormal):
        return [p._unbroadcasted_cov_factor, sqrt(p._unbroadcasted_cov_diag).diag_embed()]
    return [p._unbroadcasted_scale_tril]


def _log_determinant(p: Any) -> Tensor:
    return p._log_determinant() if isinstance(p, LowRankMultivariateNormal) else 2 * log_diagonal(p._unbroadcasted_scale_tril)


def _squares(matrix: Tensor) -> Tensor:
    return (matrix**2).sum((-2, -1))


def _solved(factor: Tensor, matrix: Tensor) -> Tensor:
    batch = Size(broadcast_shapes(tuple(factor.shape[:-2]), tuple(matrix.shape[:-2])))
    return solve_triangular(factor.expand(batch + factor.shape[-2:]), matrix.expand(batch + matrix.shape[-2:]), upper=False)


@register_kl(Normal, Normal)
def _normal(p: Normal, q: Normal) -> Tensor:
    ratio = (p.scale / q.scale) ** 2
    return 0.5 * (ratio + ((p.loc - q.loc) / q.scale) ** 2 - 1 - log(ratio))


@register_kl(OneHotCategorical, OneHotCategorical)
def _one_hot_categorical(p: OneHotCategorical, q: OneHotCategorical) -> Tensor:
    return _categorical(p._categorical, q._categorical)


@register_kl(Pareto, Pareto)
def _pareto(p: Pareto, q: Pareto) -> Tensor:
    ratio = q.alpha / p.alpha
    result = q.alpha * log(p.scale / q.scale) - log(ratio) + ratio - 1
    return where(p.scale < q.scale, math.inf, result)


@register_kl(Poisson, Poisson)
def _poisson(p: Poisson, q: Poisson) -> Tensor:
    return p.rate * (log(p.rate) - log(q.rate)) - (p.rate - q.rate)


@register_kl(TransformedDistribution, TransformedDistribution)
def _transformed(p: TransformedDistribution, q: TransformedDistribution) -> Tensor:
    if p.transforms != q.transforms or p.event_shape != q.event_shape:
        raise UnsupportedError("KL between transformed distributions is implemented where their transforms and event shapes are the same")
    return sum_rightmost(kl_divergence(p.base_dist, q.base_dist), len(p.event_shape) - len(p.base_dist.event_shape))


@register_kl(Uniform, Uniform)
def _uniform(p: Uniform, q: Uniform) -> Tensor:
    result = log((q.high - q.low) / (p.high - p.low))
    return where((q.low > p.low) | (q.high < p.high), math.inf, result)


@register_kl(Independent, Independent)
def _independent(p: Independent, q: Independent) -> Tensor:
    if p.reinterpreted_batch_ndims != q.reinterpreted_batch_ndims:
        raise UnsupportedError("KL between Independents is implemented where they take over as many dimensions")
    return sum_rightmost(kl_divergence(p.base_dist, q.base_dist), p.reinterpreted_batch_ndims)


@register_kl(Cauchy, Cauchy)
def _cauchy(p: Cauchy, q: Cauchy) -> Tensor:
    return log((p.scale + q.scale) ** 2 + (p.loc - q.loc) ** 2) - log(4 * p.scale * q.scale)
