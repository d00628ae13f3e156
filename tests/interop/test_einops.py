"""einops over Tensors: its functions, in either order of imports, and its layers as modules."""

import copy
import pickle
import subprocess
import sys

import einops
import einops.layers.torch
import numpy as np
import pytest
import torch

import neurarust_jax as nr
from neurarust_jax.interop.einops import EinMix, Rearrange, Reduce
from tests.oracle import assert_same

X = np.random.default_rng(0).standard_normal((2, 6, 4)).astype(np.float32)
CALLS = {
    "split": lambda x: einops.rearrange(x, "b (h d) t -> b h t d", h=2),
    "transpose": lambda x: einops.rearrange(x, "a b c -> c b a"),
    "ellipsis": lambda x: einops.rearrange(x, "... t -> t ..."),
    "list": lambda x: einops.rearrange([x, x], "n a b c -> a (n b) c"),
    "repeat": lambda x: einops.repeat(x, "a b c -> a (r b) c s", r=3, s=2),
    **{f"reduce by {how}": lambda x, how=how: einops.reduce(x, "a (b n) c -> a 1 b", how, n=2) for how in ("min", "max", "sum", "mean", "prod")},
    "all": lambda x: einops.reduce(x > 0, "a b c -> a", "all"),
    "any": lambda x: einops.reduce(x > 1, "a b c -> c", "any"),
    "einsum": lambda x: einops.einsum(x, x, "b i t, b j t -> b i j"),
    "pack": lambda x: einops.pack([x, x[:, 0]], "b *")[0],
    "unpack": lambda x: einops.unpack(x, [(2,), (2, 2)], "b * t"),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
def test_functions_equal_those_over_pytorch(call):
    expected = call(torch.tensor(X))
    assert_same(call(nr.tensor(X)), expected)
    assert_same(nr.jit(call)(nr.tensor(X)), expected)
    ours, theirs = nr.tensor(X, requires_grad=True), torch.tensor(X, requires_grad=True)
    outputs = [call(x) if isinstance(call(x), list) else [call(x)] for x in (ours, theirs)]
    if not outputs[1][0].requires_grad:
        return
    for found in outputs:
        sum((y * y).sum() for y in found).backward()
    np.testing.assert_allclose(ours.grad.numpy(), theirs.grad.numpy(), rtol=1e-4)


def test_under_vmap_and_of_parameters():
    rows = nr.vmap(lambda x: einops.reduce(x, "b c -> c", "mean"))(nr.tensor(X))
    np.testing.assert_allclose(rows.numpy(), X.mean(1), rtol=1e-5)
    parameter = nr.nn.Parameter(nr.tensor(X))
    einops.rearrange(parameter, "a b c -> a (b c)").sum().backward()
    assert parameter.grad.shape == parameter.shape
    assert einops.parse_shape(parameter, "a _ c") == {"a": 2, "c": 4} and isinstance(einops.asnumpy(parameter), np.ndarray)
    with pytest.raises(einops.EinopsError, match="can't divide axis"):
        einops.rearrange(parameter, "a (b n) c -> a b n c", n=5)


LAYERS = {
    "Rearrange": ("Rearrange", ("b (h d) t -> b (t h) d",), {"h": 2}),
    "Reduce": ("Reduce", ("b (c n) t -> b c t", "max"), {"n": 3}),
    "EinMix": ("EinMix", ("b c t -> b t d",), {"weight_shape": "c d", "bias_shape": "d", "c": 6, "d": 5}),
    "EinMix by groups": ("EinMix", ("b (g c) t -> b t (g d)",), {"weight_shape": "g c d", "g": 2, "c": 3, "d": 5}),
}


@pytest.mark.parametrize("row", LAYERS.values(), ids=LAYERS.keys())
def test_layers_equal_those_over_pytorch(row):
    name, args, kwargs = row
    theirs = getattr(einops.layers.torch, name)(*args, **kwargs)
    ours = {"Rearrange": Rearrange, "Reduce": Reduce, "EinMix": EinMix}[name](*args, **kwargs)
    ours.load_state_dict(theirs.state_dict())
    assert repr(ours) == repr(theirs)
    for layer in (ours, nr.jit(ours), copy.deepcopy(ours), pickle.loads(pickle.dumps(ours)), nr.nn.Sequential(ours)):
        np.testing.assert_allclose(layer(nr.tensor(X)).detach().numpy(), theirs(torch.tensor(X)).detach().numpy(), rtol=1e-4, atol=1e-6)
    fresh = EinMix("b c t -> b t d", weight_shape="c d", c=600, d=50)
    bound = float(fresh.weight.abs().max())
    assert 0 < bound <= float(np.sqrt(3 / 600)) + 1e-6 and abs(float(fresh.weight.mean())) < bound / 20


@pytest.mark.parametrize("first", ["einops", "neurarust_jax"])
def test_the_order_of_imports_makes_no_difference(first):
    second = {"einops": "neurarust_jax", "neurarust_jax": "einops"}[first]
    code = (
        f"import {first}, {second}, sys\n"
        "x = einops.rearrange(neurarust_jax.ones(2, 3), 'a b -> b a')\n"
        "assert x.shape == (3, 2) and isinstance(x, neurarust_jax.Tensor)\n"
        "assert einops.__spec__.loader is einops.__loader__ and type(einops.__loader__).__module__ != 'neurarust_jax.interop.on_import'\n"
        "assert not [f for f in sys.meta_path if 'neurarust_jax' in type(f).__module__]\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_without_einops_nothing_is_amiss():
    code = (
        "import sys, importlib.abc\n"
        "class Hidden(importlib.abc.MetaPathFinder):\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'einops': raise ModuleNotFoundError('No module named einops')\n"
        "import neurarust_jax\n"
        "assert 'einops' not in sys.modules\n"
        "sys.meta_path.insert(0, Hidden())\n"
        "try:\n"
        "    import einops\n"
        "except ModuleNotFoundError:\n"
        "    print('not found')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "not found\n", done.stderr
