"""Which operations `autocast` runs in the low-precision dtype, which in float32, and which in the widest dtype among their inputs.

The lists are PyTorch's (https://docs.pytorch.org/docs/stable/amp.html#autocast-op-reference), in terms of the ops here: where one op here is a
composition there, it gets the dtypes that the composition ends in. An op on no list runs in the dtypes of its inputs.

A policy makes of an op's function one that converts its inputs first, so the conversions are part of the op's program, and gradients come back in
the dtypes of the inputs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from .. import dtypes
from ..errors import AutogradError

__all__ = ["CPU", "OTHERS", "Rule", "apply"]


def _takes_part(x: Any) -> bool:
    """Whether autocast converts an argument: floating-point tensors that are not of double precision. Python numbers stay what they are."""
    return isinstance(x, jax.Array) and not x.weak_type and x.dtype != np.float64 and dtypes.from_numpy(x.dtype).is_floating_point


def _converted(x: Any, dtype: Any) -> Any:
    return lax.convert_element_type(x, dtype) if _takes_part(x) else x


def _results(output: Any, dtype: Any) -> Any:
    """An op's output, floating-point tensors in `dtype`."""
    return jax.tree.map(lambda x: _converted(x, dtype), output)


def _in_low(function: Callable, low: Any) -> Callable:
    return lambda *values: function(*[_converted(v, low) for v in values])


def _in_float32(function: Callable, low: Any) -> Callable:
    return lambda *values: function(*[_converted(v, np.float32) for v in values])


def _in_widest(function: Callable, low: Any) -> Callable:
    def promoted(*values):
        widest = low if all(v.dtype == low for v in values if _takes_part(v)) else np.float32
        return function(*[_converted(v, widest) for v in values])

    return promoted


def _gives_low(function: Callable, low: Any) -> Callable:
    """Computed as it is, with the result in the low dtype: compositions that end in a product."""
    return lambda *values: _results(function(*values), low)


def _keeps_dtype_of_input(function: Callable, low: Any) -> Callable:
    """Recurrent steps whose products are in the low dtype and whose states keep theirs."""

    def kept(*values):
        given = values[0].dtype
        return _results(function(*[_converted(v, low) for v in values]), given)

    return kept


def _with_float32_weights(function: Callable, low: Any) -> Callable:
    """Attention whose second result, the weights, is a softmax in float32."""

    def attention(*values):
        output, *weights = function(*[_converted(v, low) for v in values])
        return output, *_results(tuple(weights), np.float32)

    return attention


def _in_low_unless_scalar(function: Callable, low: Any) -> Callable:
    """Contractions that are products of matrices, unless they end in one number."""

    def contraction(*values):
        by_product = len(values) > 1 and all(jnp.ndim(v) for v in values) and jax.eval_shape(function, *[_converted(v, low) for v in values]).ndim
        return function(*[_converted(v, low) for v in values] if by_product else values)

    return contraction


def _by_neighbors_in_float32(function: Callable, low: Any) -> Callable:
    """`local_response_norm`, which averages over neighbors by `avg_pool3d`, but for inputs of three dimensions by `avg_pool2d`."""
    return lambda x: function(x if x.ndim == 3 else _converted(x, np.float32))


def _einsum_in_low(function: Callable, low: Any) -> Callable:
    """`einsum`, which is no product if it has one operand."""
    return lambda *values: function(*[_converted(v, low) for v in values] if len(values) > 1 else values)


def _product_then_float32(function: Callable, low: Any) -> Callable:
    """A loss over logits that it multiplies out itself: the product in the low dtype, the loss in float32."""
    return lambda *values: _results(function(*[_converted(v, low) for v in values]), np.float32)


def _refused(function: Callable, low: Any) -> Callable:
    raise AutogradError(
        "torch.nn.functional.binary_cross_entropy and torch.nn.BCELoss are unsafe to autocast: their inputs are between 0 and 1, and rounded to 16 bits a "
        "probability near 1 is 1. Use nr.nn.functional.binary_cross_entropy_with_logits or nr.nn.BCEWithLogitsLoss, which take what stands before the sigmoid "
        "and are safe to autocast."
    )


class Rule(NamedTuple):
    """The policy of an op.

    Attributes:
        policy: makes of the op's function one that converts its inputs.
        applies: whether the policy holds with these static arguments. `None`: always.
        otherwise: the policy where it does not. `None`: nothing is converted.
    """

    policy: Callable[[Callable, Any], Callable]
    applies: Callable[[dict[str, Any]], bool] | None = None
    otherwise: Callable[[Callable, Any], Callable] | None = None


def _table(*parts: tuple[str, Rule]) -> dict[str, Rule]:
    return {name: rule for names, rule in parts for name in names.split()}


_LOW, _FLOAT32, _WIDEST, _GIVES_LOW = Rule(_in_low), Rule(_in_float32), Rule(_in_widest), Rule(_gives_low)
_LOGITS = Rule(_product_then_float32)
_POWERS = Rule(_gives_low, lambda fixed: abs(fixed["n"]) > 1)

_PRODUCTS = (
    "matmul _reverse_matmul mm bmm addmm addbmm baddbmm chain_matmul linalg.multi_dot linalg.vecdot linear prelu _attention "
    "conv1d conv2d conv3d convolution conv_tbc conv_transpose1d conv_transpose2d conv_transpose3d"
)
_LOSSES = (
    "_bce_with_logits _cosine_embedding_loss _cross_entropy _hinge_embedding_loss _huber_loss _kl_div _l1_loss _margin_ranking_loss "
    "_mse_loss _multi_margin_loss _multilabel_margin_loss _nll_loss _poisson_nll_loss _smooth_l1_loss _soft_margin_loss _triplet_margin_loss"
)

CPU = _table(
    (_PRODUCTS + " _multi_head_attention", _LOW),
    ("inner tensordot", Rule(_in_low_unless_scalar)),
    ("_einsum", Rule(_einsum_in_low)),
    ("_cov corrcoef", _GIVES_LOW),
    ("linalg.matrix_power", _POWERS),
    ("_recurrent", Rule(_in_low, lambda fixed: fixed["kind"] != "gru", _keeps_dtype_of_input)),
    ("_recurrent_cell", Rule(_in_low, lambda fixed: fixed["kind"].startswith("rnn"), _keeps_dtype_of_input)),
    ("_chunked_cross_entropy", _LOGITS),
    (_LOSSES + " _bce_loss _ctc_loss", _FLOAT32),
    ("avg_pool3d adaptive_avg_pool3d adaptive_max_pool3d lp_pool3d _fractional_max_pool _max_unpool grid_sample", _FLOAT32),
    ("max_pool3d", Rule(_in_float32, lambda fixed: not fixed.get("return_indices"))),
    ("local_response_norm", Rule(_by_neighbors_in_float32)),
    ("pad", Rule(_in_float32, lambda fixed: fixed["mode"] == "replicate" or (fixed["mode"] == "reflect" and len(fixed["pad"]) <= 4))),
    ("cdist trace prod masked.prod polar view_as_complex stft _quantile _nanquantile", _FLOAT32),
    ("cholesky_inverse cholesky_solve geqrf ormqr triangular_solve linalg.cholesky_ex linalg.cond linalg.eig linalg.eigh linalg.eigvals", _FLOAT32),
    ("linalg.eigvalsh linalg.householder_product linalg.inv_ex linalg.lstsq linalg.lu_factor_ex linalg.lu_solve linalg.matrix_rank", _FLOAT32),
    ("linalg.pinv linalg.qr linalg.solve_ex linalg.svd linalg.svdvals", _FLOAT32),
    ("fft.fft fft.fftn fft.hfft fft.hfftn fft.ifft fft.ifftn fft.ihfft fft.ihfftn fft.irfft fft.irfftn fft.rfft fft.rfftn", _FLOAT32),
    ("cat stack index_copy", _WIDEST),
)
"""The rules on the CPU."""

OTHERS = _table(
    (_PRODUCTS + " mv addmv addr _recurrent _recurrent_cell", _LOW),
    ("_einsum", _LOW),
    ("_cov corrcoef", _GIVES_LOW),
    ("linalg.matrix_power", _POWERS),
    ("_multi_head_attention", Rule(_with_float32_weights)),
    ("_chunked_cross_entropy", _LOGITS),
    (_LOSSES + " _gaussian_nll_loss _multilabel_soft_margin_loss", _FLOAT32),
    ("_bce_loss", Rule(_refused)),
    ("acos asin cosh erfinv exp expm1 log log10 log1p log2 pow _pow_by_constant _reverse_power square reciprocal rsqrt sinh tan softplus", _FLOAT32),
    ("cumprod cumsum cumulative_trapezoid dist cdist pdist pairwise_distance cosine_similarity logsumexp trapezoid trapz", _FLOAT32),
    ("prod sum _sum_to_size masked.prod norm frobenius_norm nuclear_norm linalg.norm linalg.vector_norm linalg.matrix_norm renorm normalize", _FLOAT32),
    ("softmax log_softmax softmin _gumbel_softmax layer_norm group_norm rms_norm local_response_norm lp_pool1d lp_pool2d lp_pool3d", _FLOAT32),
    ("interpolate", Rule(_in_float32, lambda fixed: fixed["mode"] != "area")),
    ("addcdiv addcmul atan2 bilinear cross linalg.cross dot vdot inner grid_sample tensordot scatter_add", _WIDEST),
)
"""The rules on GPUs and other accelerators."""


def apply(device_type: str, low: Any, name: str, fixed: dict[str, Any], function: Callable) -> Callable:
    """An op's function as it runs under autocast; the function itself if nothing is converted."""
    rule = (CPU if device_type == "cpu" else OTHERS).get(name)
    if rule is None:
        return function
    policy = rule.policy if rule.applies is None or rule.applies(fixed) else rule.otherwise
    return function if policy is None else policy(function, low)
