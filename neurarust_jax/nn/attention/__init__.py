"""Attention: the module, and PyTorch's `torch.nn.attention`: `flex_attention`, masks by rule, and the choice of kernels."""

from . import bias, flex_attention
from .kernels import SDPBackend, sdpa_kernel
from .multihead import MultiheadAttention, NonDynamicallyQuantizableLinear

__all__ = ["MultiheadAttention", "NonDynamicallyQuantizableLinear", "SDPBackend", "bias", "flex_attention", "sdpa_kernel"]
