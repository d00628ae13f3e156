"""Tensors between PyTorch and here: memory shared where it can be, values and flags kept everywhere."""

import numpy as np
import pytest
import torch

import neurarust_jax as nr
from neurarust_jax.dtypes import ALL
from neurarust_jax.interop import from_torch, to_torch


def bits(t):
    return t.contiguous().flatten().view(torch.uint8) if t.numel() else t.float().flatten()


@pytest.mark.parametrize("dtype", ALL, ids=lambda d: d.name)
def test_every_dtype_shares_memory_both_ways(dtype):
    theirs = torch.randint(0, 2, (64, 2)).to(getattr(torch, dtype.name))
    ours = from_torch(theirs)
    assert ours.dtype is dtype and ours._value.unsafe_buffer_pointer() == theirs.data_ptr()
    back = to_torch(ours)
    assert back.dtype is theirs.dtype and back.data_ptr() == theirs.data_ptr()
    made = nr.ones(64, 2, dtype=dtype)
    assert to_torch(made).data_ptr() == made._value.unsafe_buffer_pointer()
    assert to_torch(made, copy=True).data_ptr() != made._value.unsafe_buffer_pointer()
    for other in (theirs[:, ::2], theirs[3], theirs[0, 0], theirs[:0], theirs.t(), theirs[:1].expand(3, 2)):
        assert torch.equal(bits(to_torch(from_torch(other))), bits(other)) and from_torch(other).shape == tuple(other.shape)


def test_flags_views_and_refusals():
    x = torch.randn(3, dtype=torch.complex64)
    assert np.allclose(from_torch(x.conj()).numpy(), x.conj().resolve_conj().numpy()) and np.allclose(from_torch(x.conj().imag).numpy(), x.conj().imag.resolve_neg().numpy())
    assert from_torch(torch.ones(2, requires_grad=True)).requires_grad and to_torch(nr.ones(2, requires_grad=True)).requires_grad
    assert not to_torch(nr.ones(2, requires_grad=True) * 2).requires_grad
    parameter = from_torch(torch.nn.Parameter(torch.ones(2), requires_grad=False))
    assert type(parameter) is nr.nn.Parameter and not parameter.requires_grad and type(to_torch(parameter)) is torch.nn.Parameter
    assert from_torch({"a": [torch.bfloat16, torch.ones(1)], "b": None})["a"][0] is nr.bfloat16 and to_torch(nr.int8) is torch.int8
    for refused, text in ((torch.eye(2).to_sparse(), "to_dense"), (torch.empty(2, device="meta"), "meta"), (torch.ones(1).to(torch.float8_e8m0fnu), "float8_e8m0fnu")):
        with pytest.raises((TypeError, RuntimeError), match=text):
            from_torch(refused)
    with pytest.raises(RuntimeError, match="to_torch needs the elements"):
        nr.jit(lambda x: to_torch(x))(nr.ones(2))
    with pytest.raises(BufferError, match="detach"):
        torch.from_dlpack(nr.ones(2, requires_grad=True))


def test_a_donated_cell_leaves_what_shares_its_memory_alone():
    cell = nr.nn.Parameter(nr.ones(1000), requires_grad=False)
    shared = to_torch(cell.detach())

    @nr.jit
    def add():
        cell.add_(1)

    add()
    assert (shared == 1).all() and (cell == 2).all()
    theirs = torch.ones(1000)
    cell.assign(from_torch(theirs))
    add()
    assert (theirs == 1).all() and (cell == 2).all()
