"""The functional interface, PyTorch's `torch.nn.functional`: it names what `neurarust_jax.ops` defines.

Examples:
    >>> import neurarust_jax as nr
    >>> import neurarust_jax.nn.functional as F
    >>> F.relu(nr.tensor([-1.0, 2.0]))
    tensor([0., 2.])
"""

from ..ops.elementwise import sigmoid, tanh
from ..ops.nn.activation import gelu, relu, silu
from ..ops.nn.attention import scaled_dot_product_attention
from ..ops.nn.convolution import conv2d
from ..ops.nn.dropout import dropout
from ..ops.nn.embedding import embedding
from ..ops.nn.linear import linear
from ..ops.nn.loss import cross_entropy, mse_loss, nll_loss
from ..ops.nn.normalization import batch_norm, layer_norm
from ..ops.nn.pooling import adaptive_avg_pool2d, max_pool2d
from ..ops.reduction import log_softmax, softmax

__all__ = [
    "adaptive_avg_pool2d", "batch_norm", "conv2d", "cross_entropy", "dropout", "embedding", "gelu", "layer_norm", "linear", "log_softmax", "max_pool2d",
    "mse_loss", "nll_loss", "relu", "scaled_dot_product_attention", "sigmoid", "silu", "softmax", "tanh",
]  # fmt: skip
