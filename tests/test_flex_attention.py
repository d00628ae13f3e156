"""`nn.attention`: `flex_attention` and masks by rule, causal masks, and the choice of kernels, which has no effect."""

import numpy as np
import pytest
import torch
from torch.nn.attention import bias as torch_bias
from torch.nn.attention import flex_attention as theirs

import neurarust_jax as nr
import neurarust_jax.nn.functional as F
from neurarust_jax.nn.attention import SDPBackend, bias, sdpa_kernel
from neurarust_jax.nn.attention import flex_attention as ours
from tests.oracle import assert_same

RULES = {
    "causal": lambda b, h, q, k: q >= k,
    "window": lambda b, h, q, k: (q - k).abs() <= 3,
    "by batch and head": lambda b, h, q, k: (q + 3 >= k) & (h != b),
    "prefix": lambda b, h, q, k: (k < 5) | (q >= k),
}
TABLES = ("kv_num_blocks", "kv_indices", "full_kv_num_blocks", "full_kv_indices", "q_num_blocks", "q_indices", "full_q_num_blocks", "full_q_indices")


def inputs(heads=2, keys=30):
    generator = np.random.default_rng(0)
    return [generator.standard_normal(shape).astype(np.float32) for shape in ((2, 4, 20, 8), (2, heads, keys, 8), (2, heads, keys, 6))]


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES.keys())
@pytest.mark.parametrize("size", [8, (4, 16)], ids=str)
def test_block_masks_equal_pytorchs(rule, size):
    a = theirs.create_block_mask(rule, 2, 4, 20, 30, device="cpu", BLOCK_SIZE=size)
    b = ours.create_block_mask(rule, 2, 4, 20, 30, BLOCK_SIZE=size)
    for name in TABLES:
        assert_same(getattr(b, name), getattr(a, name))
    assert b.shape == a.shape and b.sparsity() == pytest.approx(a.sparsity()) and b.numel() == a.numel()
    assert_same(b.to_dense(), a.to_dense())
    assert_same(ours.create_mask(rule, 2, 4, 20, 30), theirs.create_mask(rule, 2, 4, 20, 30, device="cpu"))
    assert b[1].shape == a[1].shape and b[:, 2].shape == a[:, 2].shape
    together = ours.create_block_mask(rule, 2, 4, 20, 30, BLOCK_SIZE=size, separate_full_blocks=False)
    assert together.full_kv_indices is None and nr.equal(together.to_dense(), b.to_dense())


@pytest.mark.filterwarnings("ignore:return_lse is deprecated", "ignore:flex_attention called without")
@pytest.mark.parametrize("rule", [None, *RULES], ids=str)
@pytest.mark.parametrize("compiled", [False, True])
def test_outputs_and_gradients(rule, compiled):
    slopes = np.array([0.5, 0.25, 0.1, 0.3], np.float32)
    mod = None if rule is None else RULES[rule]
    q, k, v = map(torch.tensor, inputs())
    s = torch.tensor(slopes)
    mask = None if mod is None else theirs.create_block_mask(mod, 2, 4, 20, 30, device="cpu", BLOCK_SIZE=8)
    expected, lse = theirs.flex_attention(q, k, v, lambda score, b, h, i, j: score + s[h] * (i - j), mask, scale=0.3, enable_gqa=True, return_lse=True)
    parameters = [nr.nn.Parameter(nr.tensor(x)) for x in (*inputs(), slopes)]
    mine = None if mod is None else ours.create_block_mask(mod, 2, 4, 20, 30, BLOCK_SIZE=8)

    def run():
        q, k, v, s = parameters
        output, lse = ours.flex_attention(q, k, v, lambda score, b, h, i, j: score + s[h] * (i - j), mine, scale=0.3, enable_gqa=True, return_lse=True)
        (output**2).sum().backward()
        return output.detach(), lse.detach()

    output, found_lse = (nr.jit(run) if compiled else run)()
    np.testing.assert_allclose(output.numpy(), expected.numpy(), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found_lse.numpy(), lse.numpy(), rtol=1e-4, atol=1e-5)
    # PyTorch has no gradients of its flex_attention on the CPU: the reference is the same, written out
    q, k, v, s = leaves = [torch.tensor(x, requires_grad=True) for x in (*inputs(), slopes)]
    scores = 0.3 * q @ k.repeat_interleave(2, 1).mT + s[:, None, None] * (torch.arange(20)[:, None] - torch.arange(30))
    allowed = torch.ones(2, 4, 20, 30, dtype=torch.bool) if mod is None else theirs.create_mask(mod, 2, 4, 20, 30, device="cpu")
    seen = allowed.any(-1, keepdim=True)
    weights = torch.softmax(torch.where(seen, scores.masked_fill(~allowed, -torch.inf), 0.0), -1) * seen
    ((weights @ v.repeat_interleave(2, 1)) ** 2).sum().backward()
    for p, leaf in zip(parameters, leaves, strict=True):
        np.testing.assert_allclose(p.grad.numpy(), leaf.grad.numpy(), rtol=1e-3, atol=1e-4)


def test_masks_of_given_blocks_and_joined_rules():
    counts, indices = nr.tensor([[[1, 2]]], dtype=nr.int32), nr.tensor([[[[1, 0], [0, 1]]]], dtype=nr.int32)
    mask = ours.BlockMask.from_kv_blocks(counts, indices, BLOCK_SIZE=2, mask_mod=RULES["causal"])
    assert mask.shape == (1, 1, 4, 4)
    q, k, v = (nr.tensor(x[:1, :2, :4]) for x in inputs(4))
    allowed = np.tril(np.ones((4, 4), bool)) & np.kron([[False, True], [True, True]], np.ones((2, 2), bool)).astype(bool)
    reference = F.scaled_dot_product_attention(q, k, v, attn_mask=nr.tensor(allowed))
    np.testing.assert_allclose(ours.flex_attention(q, k, v, block_mask=mask).numpy(), np.nan_to_num(reference.numpy()), rtol=1e-5, atol=1e-6)
    rules = RULES["causal"], RULES["window"]
    for a, b in ((ours.and_masks(*rules), theirs.and_masks(*rules)), (ours.or_masks(*rules), theirs.or_masks(*rules)), (ours.noop_mask, theirs.noop_mask)):
        assert_same(ours.create_mask(a, None, None, 9, 7), theirs.create_mask(b, None, None, 9, 7, device="cpu"))
    output, aux = ours.flex_attention(q, k, v, return_aux=ours.AuxRequest(max_scores=True))
    assert aux.lse is None and nr.allclose(aux.max_scores, (q @ k.mT / 8**0.5).amax(-1)) and output.shape == (1, 2, 4, 6)


@pytest.mark.parametrize(
    ("shapes", "options", "error"),
    [
        (((2, 3, 4),) * 3, {}, NotImplementedError),
        (((1, 4, 3, 4), (1, 2, 3, 4), (1, 2, 3, 4)), {}, ValueError),
        (((1, 3, 3, 4), (1, 2, 3, 4), (1, 2, 3, 4)), {"enable_gqa": True}, ValueError),
        (((2, 2, 3, 4), (3, 2, 3, 4), (3, 2, 3, 4)), {}, ValueError),
        (((1, 2, 3, 4),) * 3, {"block_mask": True}, ValueError),
    ],
)
def test_what_does_not_fit_is_refused(shapes, options, error):
    for m, library in ((theirs, torch), (ours, nr)):
        given = {"block_mask": m.create_block_mask(RULES["causal"], 1, 1, 256, 256, device="cpu")} if "block_mask" in options else options
        with pytest.raises(error):
            m.flex_attention(*(library.ones(*shape) for shape in shapes), **given)


@pytest.mark.parametrize("name", ["causal_upper_left", "causal_lower_right"])
def test_causal_masks(name):
    a, b = getattr(torch_bias, name)(3, 5), getattr(bias, name)(3, 5)
    assert b.variant == a.variant and (b.seq_len_q, b.seq_len_kv) == (3, 5)
    q, k = (np.random.default_rng(0).standard_normal(s).astype(np.float32) for s in ((1, 2, 3, 4), (1, 2, 5, 4)))
    expected = torch.nn.functional.scaled_dot_product_attention(torch.tensor(q), torch.tensor(k), torch.tensor(k), attn_mask=a)
    with sdpa_kernel([SDPBackend.MATH, SDPBackend.FLASH_ATTENTION], set_priority=True):
        found = F.scaled_dot_product_attention(nr.tensor(q), nr.tensor(k), nr.tensor(k), attn_mask=b)
    np.testing.assert_allclose(found.numpy(), expected.numpy(), rtol=1e-5, atol=1e-6)
    compiled = nr.jit(F.scaled_dot_product_attention)(nr.tensor(q), nr.tensor(k), nr.tensor(k), attn_mask=b)
    np.testing.assert_allclose(compiled.numpy(), expected.numpy(), rtol=1e-5, atol=1e-6)
    with pytest.raises(TypeError, match="SDPBackend"), sdpa_kernel("flash"):
        pass
    with pytest.raises(ValueError, match="matrices"):
        getattr(bias, name)(3)
