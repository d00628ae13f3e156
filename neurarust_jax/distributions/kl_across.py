"""Divergences between two families. Where the first can draw what the second cannot, the divergence is infinite."""

from __future__ import annotations

import math

from ..ops import digamma, erf, exp, full, lgamma, log, log1p, where, xlogy
from ..tensor import Tensor
from .bernoulli import Bernoulli
from .beta import Beta
from .binomial import Binomial
from .continuous_bernoulli import ContinuousBernoulli
from .distribution import Distribution
from .exponential import Exponential
from .gamma import Gamma
from .gumbel import Gumbel
from .kl_registry import register_kl
from .laplace import Laplace
from .normal import Normal
from .pareto import Pareto
from .poisson import Poisson
from .uniform import Uniform
from .utils import euler_constant

_LOG_ROOT_TWO_PI = 0.5 * math.log(2 * math.pi)

# --- infinite ------------------------------------------------------------------------------------------------------


def _infinite(p: Distribution, q: Distribution) -> Tensor:
    """Infinity in the shape of the first distribution's batch and in the dtype of its parameters."""
    parameter = next(getattr(p, name) for name in p.arg_constraints if name in p.__dict__ or name not in ("probs", "logits"))
    return full(tuple(p.batch_shape), math.inf, dtype=parameter.dtype)


_BOUNDED = (Beta, ContinuousBernoulli, Uniform)
_POSITIVE = (Exponential, Gamma)
for _first, _seconds in {
    Beta: (Pareto,),
    ContinuousBernoulli: (Pareto,),
    Exponential: (*_BOUNDED, Pareto),
    Gamma: (*_BOUNDED, Pareto),
    Gumbel: (*_BOUNDED, *_POSITIVE, Pareto),
    Laplace: (*_BOUNDED, *_POSITIVE, Pareto),
    Normal: (*_BOUNDED, *_POSITIVE, Pareto),
    Pareto: _BOUNDED,
    Poisson: (Bernoulli, Binomial),
}.items():
    for _second in _seconds:
        register_kl(_first, _second)(_infinite)

# --- what the second distribution takes of the first ---------------------------------------------------------------
# A divergence is the negative entropy of the first less the mean of the second's log-density, which most families take from a few means.


def _normal_cost(mean: Tensor, variance: Tensor, q: Normal) -> Tensor:
    """The mean of a normal distribution's negative log-density."""
    return _LOG_ROOT_TWO_PI + log(q.scale) + (variance + (mean - q.loc) ** 2) / (2 * q.scale**2)


def _gamma_cost(mean: Tensor, mean_log: Tensor, q: Gamma) -> Tensor:
    """The mean of a gamma distribution's negative log-density."""
    return lgamma(q.concentration) - q.concentration * log(q.rate) - (q.concentration - 1) * mean_log + q.rate * mean


def _exponential_cost(mean: Tensor, q: Exponential) -> Tensor:
    """The mean of an exponential distribution's negative log-density."""
    return q.rate * mean - log(q.rate)


def _continuous_bernoulli_cost(mean: Tensor, q: ContinuousBernoulli) -> Tensor:
    """The mean of a continuous Bernoulli distribution's negative log-density."""
    return -mean * q.logits - log1p(-q.probs) - q._cont_bern_log_norm()


def _uniform_cost(low: float, high: float, q: Uniform) -> Tensor:
    """The negative log-density of a uniform distribution over what lies between two bounds; infinite if it does not hold them."""
    return where((q.low > low) | (q.high < high), math.inf, log(q.high - q.low))


# --- of a Bernoulli, beta or continuous Bernoulli distribution -----------------------------------------------------


@register_kl(Bernoulli, Poisson)
def _bernoulli_poisson(p: Bernoulli, q: Poisson) -> Tensor:
    return -p.entropy() - (p.probs * log(q.rate) - q.rate)


@register_kl(Beta, ContinuousBernoulli)
def _beta_continuous_bernoulli(p: Beta, q: ContinuousBernoulli) -> Tensor:
    return -p.entropy() + _continuous_bernoulli_cost(p.mean, q)


@register_kl(Beta, Exponential)
def _beta_exponential(p: Beta, q: Exponential) -> Tensor:
    return -p.entropy() + _exponential_cost(p.mean, q)


@register_kl(Beta, Gamma)
def _beta_gamma(p: Beta, q: Gamma) -> Tensor:
    mean_log = digamma(p.concentration1) - digamma(p.concentration1 + p.concentration0)
    return -p.entropy() + _gamma_cost(p.mean, mean_log, q)


@register_kl(Beta, Normal)
def _beta_normal(p: Beta, q: Normal) -> Tensor:
    return -p.entropy() + _normal_cost(p.mean, p.variance, q)


@register_kl(Beta, Uniform)
def _beta_uniform(p: Beta, q: Uniform) -> Tensor:
    return -p.entropy() + _uniform_cost(0.0, 1.0, q)


@register_kl(ContinuousBernoulli, Exponential)
def _continuous_bernoulli_exponential(p: ContinuousBernoulli, q: Exponential) -> Tensor:
    return -p.entropy() + _exponential_cost(p.mean, q)


@register_kl(ContinuousBernoulli, Normal)
def _continuous_bernoulli_normal(p: ContinuousBernoulli, q: Normal) -> Tensor:
    return -p.entropy() + _normal_cost(p.mean, p.variance, q)


@register_kl(ContinuousBernoulli, Uniform)
def _continuous_bernoulli_uniform(p: ContinuousBernoulli, q: Uniform) -> Tensor:
    return -p.entropy() + _uniform_cost(0.0, 1.0, q)


# --- of an exponential or gamma distribution -----------------------------------------------------------------------


@register_kl(Exponential, Gamma)
def _exponential_gamma(p: Exponential, q: Gamma) -> Tensor:
    return -p.entropy() + _gamma_cost(p.mean, -euler_constant - log(p.rate), q)


@register_kl(Exponential, Gumbel)
def _exponential_gumbel(p: Exponential, q: Gumbel) -> Tensor:
    product, shift = p.rate * q.scale, q.loc / q.scale
    return log(product) - 1 + exp(shift) * product / (product + 1) - shift + 1 / product


@register_kl(Exponential, Normal)
def _exponential_normal(p: Exponential, q: Normal) -> Tensor:
    return -p.entropy() + _normal_cost(p.mean, p.variance, q)


@register_kl(Gamma, Exponential)
def _gamma_exponential(p: Gamma, q: Exponential) -> Tensor:
    return -p.entropy() + _exponential_cost(p.mean, q)


@register_kl(Gamma, Gumbel)
def _gamma_gumbel(p: Gamma, q: Gumbel) -> Tensor:
    product, shift = p.rate * q.scale, q.loc / q.scale
    c = p.concentration
    own = (c - 1) * digamma(c) - lgamma(c) - c
    return own + log(product) + c / product + exp(shift) * (1 + 1 / product) ** -c - shift


@register_kl(Gamma, Normal)
def _gamma_normal(p: Gamma, q: Normal) -> Tensor:
    return -p.entropy() + _normal_cost(p.mean, p.variance, q)


# --- of a distribution over all numbers ----------------------------------------------------------------------------


@register_kl(Gumbel, Normal)
def _gumbel_normal(p: Gumbel, q: Normal) -> Tensor:
    return -p.entropy() + _normal_cost(p.mean, p.variance, q)


@register_kl(Laplace, Normal)
def _laplace_normal(p: Laplace, q: Normal) -> Tensor:
    return -p.entropy() + _normal_cost(p.mean, p.variance, q)


@register_kl(Normal, Gumbel)
def _normal_gumbel(p: Normal, q: Gumbel) -> Tensor:
    shift, ratio = (p.loc - q.loc) / q.scale, p.scale / q.scale
    return -log(ratio) - _LOG_ROOT_TWO_PI + shift + exp(0.5 * ratio**2 - shift) - 0.5


@register_kl(Normal, Laplace)
def _normal_laplace(p: Normal, q: Laplace) -> Tensor:
    difference = p.loc - q.loc
    distance = math.sqrt(2 / math.pi) * p.scale * exp(-0.5 * (difference / p.scale) ** 2) + difference * erf(math.sqrt(0.5) * difference / p.scale)
    return distance / q.scale - log(p.scale / q.scale) - 0.5 * (1 + math.log(0.5 * math.pi))


# --- of a Pareto distribution: means are infinite where alpha is small ---------------------------------------------


@register_kl(Pareto, Exponential)
def _pareto_exponential(p: Pareto, q: Exponential) -> Tensor:
    return where(p.alpha <= 1, math.inf, -p.entropy() + _exponential_cost(p.mean, q))


@register_kl(Pareto, Gamma)
def _pareto_gamma(p: Pareto, q: Gamma) -> Tensor:
    return where(p.alpha <= 1, math.inf, -p.entropy() + _gamma_cost(p.mean, log(p.scale) + 1 / p.alpha, q))


@register_kl(Pareto, Normal)
def _pareto_normal(p: Pareto, q: Normal) -> Tensor:
    return where(p.alpha <= 2, math.inf, -p.entropy() + _normal_cost(p.mean, p.variance, q))


# --- of a uniform distribution -------------------------------------------------------------------------------------


def _mean_log(low: Tensor, high: Tensor) -> Tensor:
    """The mean of the logarithm over an interval."""
    return (xlogy(high, high) - xlogy(low, low)) / (high - low) - 1


@register_kl(Uniform, Beta)
def _uniform_beta(p: Uniform, q: Beta) -> Tensor:
    normalizer = lgamma(q.concentration1) + lgamma(q.concentration0) - lgamma(q.concentration1 + q.concentration0)
    cost = normalizer - (q.concentration1 - 1) * _mean_log(p.low, p.high) - (q.concentration0 - 1) * _mean_log(1 - p.high, 1 - p.low)
    return where((p.high > 1) | (p.low < 0), math.inf, cost - p.entropy())


@register_kl(Uniform, ContinuousBernoulli)
def _uniform_continuous_bernoulli(p: Uniform, q: ContinuousBernoulli) -> Tensor:
    return where((p.high > 1) | (p.low < 0), math.inf, -p.entropy() + _continuous_bernoulli_cost(p.mean, q))


@register_kl(Uniform, Exponential)
def _uniform_exponential(p: Uniform, q: Exponential) -> Tensor:
    return where(p.low < 0, math.inf, -p.entropy() + _exponential_cost(p.mean, q))


@register_kl(Uniform, Gamma)
def _uniform_gamma(p: Uniform, q: Gamma) -> Tensor:
    return where(p.low < 0, math.inf, -p.entropy() + _gamma_cost(p.mean, _mean_log(p.low, p.high), q))


@register_kl(Uniform, Gumbel)
def _uniform_gumbel(p: Uniform, q: Gumbel) -> Tensor:
    ratio = q.scale / (p.high - p.low)
    high, low = (p.high - q.loc) / q.scale, (p.low - q.loc) / q.scale
    return log(ratio) + 0.5 * (high + low) - ratio * (exp(-high) - exp(-low))


@register_kl(Uniform, Normal)
def _uniform_normal(p: Uniform, q: Normal) -> Tensor:
    return -p.entropy() + _normal_cost(p.mean, p.variance, q)


@register_kl(Uniform, Pareto)
def _uniform_pareto(p: Uniform, q: Pareto) -> Tensor:
    cost = (q.alpha + 1) * _mean_log(p.low, p.high) - log(q.alpha) - q.alpha * log(q.scale)
    return where(p.low < q.scale, math.inf, cost - p.entropy())
