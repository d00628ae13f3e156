"""PyTorch as the oracle: run an op in both libraries and compare shape, dtype, values and gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pytest
import torch

import neurarust_jax as nr

# (rtol, atol) by dtype: XLA and PyTorch sum in different orders
TOLERANCE = {
    "float64": (1e-12, 1e-12),
    "complex128": (1e-12, 1e-12),
    "float32": (2e-5, 2e-6),
    "complex64": (2e-5, 2e-6),
    "float16": (2e-3, 2e-3),
    "bfloat16": (1.6e-2, 1.6e-2),
}


def to_torch(x: Any) -> Any:
    """NumPy arrays, ours, and containers of them as PyTorch tensors; anything else as it is."""
    if isinstance(x, nr.Tensor):
        x = np.asarray(x.detach())
    if isinstance(x, np.ndarray | np.generic):
        if x.dtype.name == "bfloat16":
            return torch.tensor(np.asarray(x, np.float32)).to(torch.bfloat16)
        return torch.tensor(np.array(x))
    if isinstance(x, list | tuple):
        return type(x)(map(to_torch, x))
    return x


def to_nr(x: Any) -> Any:
    """NumPy arrays and containers of them as our tensors; anything else as it is."""
    if isinstance(x, np.ndarray | np.generic):
        return nr.tensor(x)
    if isinstance(x, list | tuple):
        return type(x)(map(to_nr, x))
    return x


def assert_same(ours: Any, theirs: Any, rtol: float | None = None, atol: float | None = None) -> None:
    """Shape, dtype and values agree; containers element by element."""
    if isinstance(theirs, list | tuple):
        assert len(ours) == len(theirs)
        for a, b in zip(ours, theirs, strict=True):
            assert_same(a, b, rtol, atol)
        return
    if not isinstance(theirs, torch.Tensor):
        assert ours == theirs or (ours != ours and theirs != theirs), f"{ours} != {theirs}"
        return
    assert isinstance(ours, nr.Tensor), f"expected a Tensor, got {type(ours)}"
    assert tuple(ours.shape) == tuple(theirs.shape), f"shape {tuple(ours.shape)}, PyTorch {tuple(theirs.shape)}"
    assert str(theirs.dtype) == f"torch.{ours.dtype.name}", f"dtype {ours.dtype}, PyTorch {theirs.dtype}"
    default = TOLERANCE.get(ours.dtype.name, (0, 0))
    theirs = theirs.detach()
    theirs = theirs.float().numpy() if theirs.dtype == torch.bfloat16 else theirs.resolve_conj().resolve_neg().numpy()
    np.testing.assert_allclose(
        np.asarray(ours.detach()).astype(theirs.dtype),
        theirs,
        rtol=default[0] if rtol is None else rtol,
        atol=default[1] if atol is None else atol,
        equal_nan=True,
    )


def check(
    ours: Callable, theirs: Callable, *inputs: Any, grad: bool = True, compiled: bool = True, rtol: float | None = None, atol: float | None = None, **options: Any
) -> None:
    """`ours(*inputs, **options)` equals `theirs(...)`: eagerly, under `jax.jit`, and in the gradients of every floating input.

    Args:
        inputs: NumPy arrays become tensors of either library, lists and tuples element by element; anything else is passed as it is.
        grad: compare gradients too, for floating-point and complex inputs.
        compiled: run under `jax.jit` too.
        options: keyword arguments for both.
    """
    ours_in, theirs_in = [to_nr(x) for x in inputs], [to_torch(x) for x in inputs]
    # an op is as precise as the coarsest dtype that goes in
    coarsest = max((TOLERANCE.get(x.dtype.name, (0, 0)) for x in _leaves(ours_in) if isinstance(x, nr.Tensor)), default=(0, 0))
    rtol, atol = coarsest[0] or None if rtol is None else rtol, coarsest[1] or None if atol is None else atol
    expected = theirs(*theirs_in, **options)
    assert_same(ours(*ours_in, **options), expected, rtol, atol)
    if compiled:
        places = [i for i, x in enumerate(ours_in) if isinstance(x, nr.Tensor)]

        def pure(*tensors):
            arguments = list(ours_in)
            for place, tensor in zip(places, tensors, strict=True):
                arguments[place] = tensor
            return ours(*arguments, **options)

        with jax.enable_x64(True):
            assert_same(jax.jit(pure)(*(ours_in[i] for i in places)), expected, rtol, atol)
    if grad:
        _check_gradients(ours, theirs, inputs, options, rtol, atol)


def _leaves(x: Any) -> list[Any]:
    return [leaf for element in x for leaf in _leaves(element)] if isinstance(x, list | tuple) else [x]


def _check_gradients(ours: Callable, theirs: Callable, inputs: Any, options: dict, rtol: float | None, atol: float | None) -> None:
    ours_in, theirs_in = [to_nr(x) for x in inputs], [to_torch(x) for x in inputs]
    ours_leaves = [x for x in _leaves(ours_in) if isinstance(x, nr.Tensor) and (x.is_floating_point() or x.is_complex())]
    theirs_leaves = [x for x in _leaves(theirs_in) if isinstance(x, torch.Tensor) and (x.is_floating_point() or x.is_complex())]
    if not ours_leaves:
        return
    for x in [*ours_leaves, *theirs_leaves]:
        x.requires_grad_()
    ours_out = [y for y in _leaves(ours(*ours_in, **options)) if isinstance(y, nr.Tensor) and y.requires_grad]
    theirs_out = [y for y in _leaves(theirs(*theirs_in, **options)) if isinstance(y, torch.Tensor) and y.requires_grad]
    assert len(ours_out) == len(theirs_out), f"{len(ours_out)} outputs require grad, PyTorch {len(theirs_out)}"
    if not theirs_out:
        return
    generator = np.random.default_rng(0)
    cotangents = [_random_like(y, generator) for y in theirs_out]
    expected = torch.autograd.grad(theirs_out, theirs_leaves, cotangents, allow_unused=True)
    got = nr.autograd.grad(ours_out, ours_leaves, [nr.tensor(np.array(c.numpy())) for c in cotangents], allow_unused=True)
    for a, b in zip(got, expected, strict=True):
        if b is None:
            assert a is None or not np.asarray(a.detach()).any()
        elif a is None:
            assert not b.any()
        else:
            assert_same(a, b, rtol, atol)


def _random_like(y: torch.Tensor, generator: np.random.Generator) -> torch.Tensor:
    values = generator.standard_normal(tuple(y.shape))
    if y.is_complex():
        values = values + 1j * generator.standard_normal(tuple(y.shape))
    return torch.tensor(values).to(y.dtype)


def check_both_raise(ours: Callable, theirs: Callable, *inputs: Any, **options: Any) -> None:
    """Both libraries refuse the input, ours with the class that PyTorch's error has."""
    with pytest.raises(Exception) as expected:  # noqa: PT011 (PyTorch says which class)
        theirs(*[to_torch(x) for x in inputs], **options)
    kind = next(k for k in (IndexError, ValueError, TypeError, RuntimeError, NotImplementedError) if isinstance(expected.value, k))
    accepted = (RuntimeError, ValueError, TypeError) if kind in (RuntimeError, NotImplementedError) else kind
    with pytest.raises(accepted):
        ours(*[to_nr(x) for x in inputs], **options)
