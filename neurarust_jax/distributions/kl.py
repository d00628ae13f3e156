"""The Kullback-Leibler divergence of two distributions, PyTorch's `torch.distributions.kl`."""

from . import kl_across, kl_within  # noqa: F401 (they register their functions)
from .kl_registry import kl_divergence, register_kl

__all__ = ["kl_divergence", "register_kl"]
