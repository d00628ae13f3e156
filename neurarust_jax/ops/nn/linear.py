"""Linear maps."""

import jax.numpy as jnp

from ...dispatch import Array, op
from ...errors import DtypeError, ShapeError
from ..matmul import precision

__all__ = ["bilinear", "linear"]


@op(method=False)
def linear(input: Array, weight: Array, bias: Array | None = None) -> Array:
    r"""``input @ weight.T + bias``.

    Args:
        input: shape (\*, in_features), any number of dimensions, or none.
        weight: shape (out_features, in_features) or (in_features,).
        bias: shape (out_features) or ().

    Returns:
        Shape (\*, out_features), or (\*) for a weight of one dimension.

    Raises:
        RuntimeError: shapes do not fit, or dtypes differ.

    Examples:
        >>> import neurarust_jax as nr
        >>> nr.nn.functional.linear(nr.ones(2, 3), nr.ones(4, 3)).shape
        neurarust_jax.Size([2, 4])
    """
    if weight.ndim not in (1, 2) or not input.ndim or input.shape[-1] != weight.shape[-1]:
        rows = " and ".join(f"{tuple(s)}" for s in (input.shape, weight.shape))
        raise ShapeError(
            f"mat1 and mat2 shapes cannot be multiplied: linear got input and weight of shapes {rows}, and the last dimension of the input must be "
            f"{weight.shape[-1] if weight.ndim else 'that of the weight'}. Reshape the input, or set in_features={input.shape[-1] if input.ndim else 1}."
        )
    require_same_dtype("linear", input=input, weight=weight, bias=bias)
    output = jnp.matmul(input, weight.T, precision=precision())
    return output if bias is None else output + bias


def require_same_dtype(function: str, **tensors: Array | None) -> None:
    """Raise if the tensors, `None`s aside, differ in dtype, as PyTorch's matrix ops do."""
    given = {name: t.dtype for name, t in tensors.items() if t is not None}
    if len(set(given.values())) > 1:
        listed = ", ".join(f"{name} {dtype}" for name, dtype in given.items())
        first = next(iter(given.values()))
        raise DtypeError(f"{function} expects tensors of one dtype, got {listed}; write .to(nr.{first}) or use nr.amp.autocast")


@op(method=False)
def bilinear(input1: Array, input2: Array, weight: Array, bias: Array | None = None) -> Array:
    r"""``input1 @ weight[o] @ input2 + bias[o]`` for each output `o`.

    Args:
        input1: shape (\*, in1_features).
        input2: shape (\*, in2_features), of the same shape but for the last dimension.
        weight: shape (out_features, in1_features, in2_features).
        bias: shape (out_features).

    Returns:
        Shape (\*, out_features).

    Raises:
        RuntimeError: shapes do not fit, or dtypes differ.
    """
    if weight.ndim != 3:
        raise ShapeError(f"bilinear(): weight has shape (out_features, in1_features, in2_features), got {tuple(weight.shape)}")
    if input1.ndim != input2.ndim or input1.shape[:-1] != input2.shape[:-1]:
        raise ShapeError(f"bilinear(): input batch dimensions do not match: got {tuple(input1.shape)} and {tuple(input2.shape)}")
    for number, x in ((1, input1), (2, input2)):
        if not x.ndim or x.shape[-1] != weight.shape[number]:
            raise ShapeError(f"bilinear(): input{number} size does not match weight size: got {tuple(x.shape)} but expected a last dimension of {weight.shape[number]}")
    if bias is not None and bias.shape != weight.shape[:1]:
        raise ShapeError(f"bilinear(): bias size does not match weight size: got {tuple(bias.shape)} but expected {weight.shape[:1]}")
    require_same_dtype("bilinear", input1=input1, input2=input2, weight=weight, bias=bias)
    output = jnp.einsum("...i,oij,...j->...o", input1, weight, input2, precision=precision())
    return output if bias is None else output + bias
