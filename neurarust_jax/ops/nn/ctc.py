"""Connectionist temporal classification: the loss of a sequence without alignment (Graves et al., 2006)."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ...dispatch import Array, op
from ...errors import DtypeError, ShapeError
from ...tensor import Tensor
from ..common import cast, refuse
from ..reduction import widened
from .loss import check_reduction, reduced

__all__ = ["ctc_loss"]


def _log_sum(terms: list[Array]) -> Array:
    """The logarithm of the sum of exponentials, and its gradient, also where all terms are -inf."""
    greatest = jnp.max(jnp.stack(terms), 0)
    shift = lax.stop_gradient(jnp.where(jnp.isneginf(greatest), 0, greatest))
    total = sum(jnp.exp(t - shift) for t in terms)
    return jnp.where(total > 0, jnp.log(jnp.where(total > 0, total, 1)) + shift, -jnp.inf)


def _negative_log_likelihoods(log_probs: Array, targets: Array, input_lengths: Array, target_lengths: Array, blank: int) -> Array:
    """Of log-probabilities (T, N, C) and padded targets (N, S). `log_alpha[s]` belongs to prefixes that end in state s of blank, label, blank, ..., blank."""
    steps, batch, _ = log_probs.shape
    labels = jnp.full((batch, 2 * targets.shape[1] + 1), blank, targets.dtype).at[:, 1::2].set(targets)
    state = lax.broadcasted_iota(np.int32, labels.shape, 1)
    two_before = jnp.pad(labels, ((0, 0), (2, 0)), constant_values=blank)[:, :-2]
    may_skip = (state % 2 == 1) & (labels != two_before) & (state > 1)

    def shifted(log_alpha: Array, by: int) -> Array:
        return jnp.pad(log_alpha, ((0, 0), (by, 0)), constant_values=-jnp.inf)[:, : labels.shape[1]]

    def step(log_alpha: Array, at: tuple[Array, Array]) -> tuple[Array, None]:
        t, emitted = at
        came = _log_sum([log_alpha, shifted(log_alpha, 1), jnp.where(may_skip, shifted(log_alpha, 2), -jnp.inf)])
        came = jnp.where(t == 0, jnp.where(state < 2, 0, -jnp.inf).astype(came.dtype), came)
        return jnp.where((t < input_lengths)[:, None], came + emitted, log_alpha), None

    start = jnp.where(state == 0, 0, -jnp.inf).astype(log_probs.dtype)  # without any step only the empty target is possible
    emitted = jnp.take_along_axis(log_probs, labels[None], 2, mode="clip")
    log_alpha, _ = lax.scan(step, start, (jnp.arange(steps, dtype=np.int32), emitted))

    def state_at(index: Array) -> Array:
        return jnp.take_along_axis(log_alpha, index[:, None], 1, mode="clip")[:, 0]

    in_label = jnp.where(target_lengths > 0, state_at(jnp.maximum(2 * target_lengths - 1, 0)), -jnp.inf)
    return -_log_sum([in_label, state_at(2 * target_lengths)])


@op(name="_ctc_loss", method=False, keeps_vjp=True)
def _ctc_loss(
    log_probs: Array, targets: Array, input_lengths: Array, target_lengths: Array, blank: int, reduction: str, zero_infinity: bool, longest: int
) -> Array:
    """The loss of each sequence, reduced."""
    refuse(log_probs, "biuc", "ctc_loss_cpu")
    x = widened(log_probs if log_probs.ndim == 3 else log_probs[:, None])
    input_lengths, target_lengths = (cast(n, np.int32).reshape(-1) for n in (input_lengths, target_lengths))
    labels = cast(targets, np.int32)
    if labels.ndim == 1:  # one after the other
        starts = jnp.cumsum(target_lengths, dtype=np.int32) - target_lengths
        labels = labels.at[starts[:, None] + jnp.arange(longest, dtype=np.int32)].get(mode="fill", fill_value=blank)
    losses = _negative_log_likelihoods(x, labels, input_lengths, target_lengths, blank)
    # PyTorch's gradient is that of log_softmax's input (Graves et al., equation 16): it adds exp(log_probs) to the derivative, which log_softmax takes out again
    counted = jnp.where((jnp.arange(x.shape[0])[:, None] < input_lengths)[:, :, None], jnp.exp(x), 0).sum((0, 2))
    losses = losses + jnp.where(jnp.isfinite(losses), counted - lax.stop_gradient(counted), 0)
    if zero_infinity:
        losses = jnp.where(jnp.isposinf(losses), 0, losses)
    if reduction == "mean":
        losses = losses / jnp.maximum(target_lengths, 1)
    losses = cast(losses, log_probs.dtype)
    return reduced(losses if log_probs.ndim == 3 or reduction != "none" else losses[0], reduction)


def _known(lengths: Any) -> np.ndarray | None:
    """Lengths as a NumPy array where they are known without waiting for a device, else `None`."""
    value = lengths._value if isinstance(lengths, Tensor) else lengths
    if isinstance(value, jax.core.Tracer) or (isinstance(value, jax.Array) and next(iter(value.devices())).platform != "cpu"):
        return None
    return np.asarray(value)


def ctc_loss(
    log_probs: Tensor,
    targets: Tensor,
    input_lengths: Any,
    target_lengths: Any,
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
) -> Tensor:
    """Minus the logarithm of the probability of label sequences, summed over all their alignments with the input.

    Args:
        log_probs: log-probabilities of the classes, shape (T, N, C) or (T, C), as `log_softmax` gives them: as in PyTorch, the gradient is right for what goes
            into `log_softmax`.
        targets: labels, shape (N, S), padded with anything; or all sequences one after the other, shape (sum of the lengths); or (S) without a batch.
        input_lengths: the length of each input, at most T: a tensor of shape (N) or (), or a sequence of ints.
        target_lengths: the length of each target, likewise.
        blank: the class that stands for no label. Default: 0.
        reduction: `"mean"` divides each loss by its target's length, and takes the mean; `"sum"`; `"none"`.
        zero_infinity: losses of targets that do not fit into their input count nothing, and give no gradient. Otherwise they are infinite.

    Returns:
        A 0-d tensor, or with `"none"` one of shape (N) or ().

    Raises:
        RuntimeError: shapes or lengths do not fit.

    Examples:
        >>> import neurarust_jax as nr
        >>> log_probs = nr.zeros(4, 1, 3).log_softmax(2)
        >>> nr.nn.functional.ctc_loss(log_probs, nr.tensor([[1, 2]]), (4,), (2,))
        tensor(0.8432)
    """
    reduction = check_reduction(reduction)
    if log_probs.dim() not in (2, 3):
        raise ShapeError(f"ctc_loss: log_probs has shape (T, N, C) or (T, C), got {tuple(log_probs.shape)}")
    steps, classes = log_probs.shape[0], log_probs.shape[-1]
    batch = log_probs.shape[1] if log_probs.dim() == 3 else 1
    if not 0 <= blank < classes:
        raise ShapeError(f"blank must be in label range [0, {classes - 1}], got {blank}")
    if targets.dtype.dtype.kind not in "iu":
        raise DtypeError(f"ctc_loss: targets must be integers, got {targets.dtype}; write targets.long()")
    if targets.dim() not in (1, 2) or (targets.dim() == 2 and targets.shape[0] != batch):
        raise ShapeError(f"ctc_loss: targets have shape ({batch}, S) or one dimension, got {tuple(targets.shape)}")
    lengths = []
    for name, given, most in (("input_lengths", input_lengths, steps), ("target_lengths", target_lengths, targets.shape[-1])):
        known = _known(given)
        shape = tuple(given.shape) if known is None else known.shape
        if shape != (batch,) and not (shape == () and batch == 1):
            raise ShapeError(f"{name} must be of size batch_size: expected ({batch},), got {shape}")
        if known is not None and known.size and (known.min() < 0 or known.max() > most):
            raise ShapeError(f"Expected {name} to have value at most {most} and at least 0, but got {known.tolist()}")
        lengths.append(given if known is None or isinstance(given, Tensor) else known)
    known = _known(target_lengths)
    longest = 0 if targets.dim() == 2 else targets.shape[0] if known is None else int(known.max(initial=0))
    if targets.dim() == 1 and known is not None and known.sum() != targets.shape[0]:
        raise ShapeError(f"Expected targets to have as many elements as the target_lengths sum up to, {known.sum()}, but got {targets.shape[0]}")
    return _ctc_loss(log_probs, targets, *lengths, int(blank), reduction, bool(zero_infinity), longest)
