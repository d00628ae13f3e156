"""Under autocast every operator of PyTorch's database gives PyTorch's dtypes: on the CPU as PyTorch runs there, on GPUs as its fake tensors say."""

import warnings

import jax
import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

import neurarust_jax as nr
from neurarust_jax.amp import autocast_mode as implementation
from neurarust_jax.errors import DtypeError
from tests.ops import database
from tests.ops.database import convert, leaves, replaced
from tests.ops.test_database import UNCOMPILED

ENTRIES = [e for e in database.entries() if torch.float32 in e.info.supported_dtypes("cpu") and e.ours is not None]

# operators that PyTorch's lists name, or that are compositions of those
LISTED = set(
    """
    __rmatmul__ __rpow__ acos addbmm addcdiv addcmul addmm addmv addr asin atan2 baddbmm bmm cat cdist cholesky_solve corrcoef cosh cov cross cumprod cumsum dist dot
    einsum erfinv exp expm1 fft.fft fft.rfftn index_copy inner linalg.cross linalg.eigh linalg.inv linalg.matrix_norm linalg.matrix_power linalg.multi_dot linalg.norm
    linalg.qr linalg.solve linalg.svd linalg.vecdot linalg.vector_norm log log10 log1p log2 log_softmax logsumexp masked.prod matmul mm mv nanquantile
    nn.functional.adaptive_avg_pool3d nn.functional.avg_pool3d nn.functional.bilinear nn.functional.binary_cross_entropy
    nn.functional.binary_cross_entropy_with_logits nn.functional.conv1d nn.functional.conv2d nn.functional.conv3d nn.functional.conv_transpose1d
    nn.functional.conv_transpose2d nn.functional.conv_transpose3d nn.functional.cosine_embedding_loss nn.functional.cosine_similarity nn.functional.cross_entropy
    nn.functional.ctc_loss nn.functional.grid_sample nn.functional.group_norm nn.functional.hinge_embedding_loss nn.functional.huber_loss nn.functional.interpolate
    nn.functional.kl_div nn.functional.l1_loss nn.functional.layer_norm nn.functional.linear nn.functional.local_response_norm
    nn.functional.margin_ranking_loss nn.functional.max_pool3d nn.functional.mse_loss nn.functional.multi_head_attention_forward nn.functional.nll_loss
    nn.functional.normalize nn.functional.pad nn.functional.pdist nn.functional.poisson_nll_loss nn.functional.prelu nn.functional.rms_norm
    nn.functional.scaled_dot_product_attention nn.functional.smooth_l1_loss nn.functional.soft_margin_loss nn.functional.softmin nn.functional.softplus
    nn.functional.triplet_margin_loss norm polar pow prod quantile reciprocal renorm rsqrt scatter_add sinh softmax square stack stft sum sum_to_size tan tensordot trace
    trapezoid vdot view_as_complex
    """.split()
)

DIFFERENT = {
    ("cpu", "masked.prod"): "of a 0-d tensor PyTorch reduces nothing",
    ("cuda", "masked.prod"): "of a 0-d tensor PyTorch reduces nothing",
    ("cpu", "linalg.pinv"): "PyTorch rounds what it computed in float32, and refuses 16 bits",
    ("cpu", "linalg.pinv/hermitian"): "PyTorch rounds what it computed in float32, and refuses 16 bits",
    ("cpu", "linalg.pinv/singular"): "PyTorch rounds what it computed in float32, and refuses 16 bits",
    **{
        (device, f"nn.functional.linear_cross_entropy/{form}"): "PyTorch's chunks give the dtype of the input where the graph is kept"
        for device in ("cpu", "cuda")
        for form in ("chunked", "chunked_none")
    },
    ("cpu", "linalg.lu_factor"): "PyTorch refuses 16 bits, but for empty matrices",
    ("cpu", "linalg.lu_factor_ex"): "PyTorch refuses 16 bits, but for empty matrices",
    ("cpu", "linalg.lu_solve"): "PyTorch refuses 16 bits, but for empty matrices",
    ("cpu", "linalg.solve_ex"): "PyTorch refuses 16 bits, but for empty matrices",
    ("cpu", "as_strided/partial_views"): "reads the storage beyond the tensor that it is given",
    ("cuda", "as_strided/partial_views"): "reads the storage beyond the tensor that it is given",
}


def _cast(x, dtype):
    if isinstance(x, torch.Tensor):
        return x.detach().to(dtype) if x.is_floating_point() and x.dtype != torch.float64 else x
    if isinstance(x, list | tuple) and not hasattr(x, "_fields"):
        return type(x)(_cast(e, dtype) for e in x)
    return {name: _cast(e, dtype) for name, e in x.items()} if isinstance(x, dict) else x


def _on_cuda(x):
    if isinstance(x, torch.Tensor):
        return torch.empty(x.shape, dtype=x.dtype, device="cuda")
    if isinstance(x, list | tuple) and not hasattr(x, "_fields"):
        return type(x)(map(_on_cuda, x))
    if isinstance(x, dict):
        return {name: _on_cuda(e) for name, e in x.items()}
    return torch.device("cuda") if isinstance(x, torch.device) else x


def _dtypes(output):
    return [str(t.dtype).rpartition(".")[2] for t in leaves(output)]


def _theirs(device, entry, arguments):
    """The dtypes of PyTorch's outputs, or `None` where it cannot run, on this device."""
    input, args, kwargs = arguments
    try:
        if device == "cpu":
            with torch.autocast("cpu", torch.bfloat16):
                return _dtypes(entry.theirs(input, *args, **kwargs))
        with FakeTensorMode(allow_non_fake_inputs=True):
            input, args, kwargs = _on_cuda(arguments)
            torch.set_autocast_enabled("cuda", True)
            torch.set_autocast_dtype("cuda", torch.bfloat16)
            try:
                return _dtypes(entry.theirs(input, *args, **kwargs))
            finally:
                torch.set_autocast_enabled("cuda", False)
    except Exception:  # noqa: BLE001 (whatever PyTorch, or its fake tensors, cannot do)
        return None


@pytest.fixture
def on(monkeypatch):
    """Switches autocast on, as if all tensors lay on a device type."""

    def switch(device):
        monkeypatch.setattr(implementation, "_only_device_type", lambda: device)
        monkeypatch.setitem(implementation._thread.dtypes, device, nr.bfloat16)
        nr.set_autocast_enabled(device, True)

    yield switch
    for device in ("cpu", "cuda"):
        nr.set_autocast_enabled(device, False)


def _ours(entry, arguments):
    """The dtypes of our outputs, without computing them."""
    arguments = convert(arguments)
    places = leaves(arguments)

    def call(*tensors):
        input, args, kwargs = replaced(arguments, {id(old): new for old, new in zip(places, tensors, strict=True)})
        return leaves(entry.ours(input, *args, **kwargs))

    with jax.enable_x64(True):
        return _dtypes(jax.eval_shape(call, *places))


def _compare(device, entry, limit, on):
    on(device)
    wrong = []
    for sample in entry.samples(torch.float32, limit=limit):
        for dtype in (torch.float32, torch.bfloat16):
            arguments = _cast((sample.input, sample.args, sample.kwargs), dtype)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                expected = _theirs(device, entry, arguments)
                if expected is None or (device, entry.name) in DIFFERENT:
                    continue
                try:
                    got = _ours(entry, arguments)
                except (DtypeError, ValueError):
                    if dtype == torch.bfloat16 and (device == "cuda" or entry.info.name not in LISTED):
                        continue  # PyTorch has no kernel for 16 bits either; its fake tensors are not asked, and empty ones need none
                    raise
            if got != expected:
                wrong.append((dtype, got, expected, [tuple(t.shape) for t in leaves(arguments)], sample.kwargs))
    assert not wrong, f"{entry.name}: {len(wrong)} samples, the first: {wrong[0]}"


each_listed = pytest.mark.parametrize("entry", [e for e in ENTRIES if e.info.name in LISTED], ids=lambda e: e.name)
each_other = pytest.mark.parametrize("entry", [e for e in ENTRIES if e.info.name not in LISTED | UNCOMPILED | {"tensor_split", "index_put"}], ids=lambda e: e.name)
devices = pytest.mark.parametrize("device", ["cpu", "cuda"])


@devices
@each_listed
def test_dtypes_of_listed_operators(device, entry, limit, on):
    _compare(device, entry, limit and 1, on)


@pytest.mark.exhaustive
@devices
@each_other
def test_dtypes_of_other_operators(device, entry, on):
    _compare(device, entry, 4, on)


MIXED = {  # operators that promote to the widest dtype among their inputs: arguments of two dtypes
    "addcdiv": lambda n, x, y: n.addcdiv(x, y, x),
    "addcmul": lambda n, x, y: n.addcmul(x, y, x),
    "atan2": lambda n, x, y: n.atan2(x, y),
    "cross": lambda n, x, y: n.cross(x, y, dim=1),
    "dot": lambda n, x, y: n.dot(x[0], y[0]),
    "vdot": lambda n, x, y: n.vdot(x[0], y[0]),
    "tensordot": lambda n, x, y: n.tensordot(x, y),
    "scatter_add": lambda n, x, y: n.scatter_add(x, 0, n.tensor([[0, 1, 0]]), y),
    "cat": lambda n, x, y: n.cat([x, y]),
    "stack": lambda n, x, y: n.stack([x, y]),
    "index_copy": lambda n, x, y: n.index_copy(x, 0, n.tensor([0, 1, 2]), y),
    "matmul": lambda n, x, y: n.matmul(x, y),
    "linear": lambda n, x, y: n.nn.functional.linear(x, y, x[0]),
    "bilinear": lambda n, x, y: n.nn.functional.bilinear(x, y, n.stack([x, x])),
    "mse_loss": lambda n, x, y: n.nn.functional.mse_loss(x, y),
    "layer_norm": lambda n, x, y: n.nn.functional.layer_norm(x, (3,), y[0]),
    "batch_norm": lambda n, x, y: n.nn.functional.batch_norm(x, y[0], y[0], y[0], y[0]),
}


@devices
@pytest.mark.parametrize("name", MIXED)
def test_inputs_of_two_dtypes(device, name, on):
    on(device)
    for first, second in (("bfloat16", "float32"), ("float32", "bfloat16"), ("bfloat16", "bfloat16"), ("float32", "float32")):
        theirs = [torch.ones(3, 3, dtype=getattr(torch, d)) for d in (first, second)]
        entry = type("Entry", (), {"theirs": staticmethod(lambda x, y: MIXED[name](torch, x, y))})
        expected = _theirs(device, entry, (theirs[0], (theirs[1],), {}))
        if expected is not None:
            got = MIXED[name](nr, *[nr.ones(3, 3, dtype=getattr(nr, d)) for d in (first, second)])
            assert _dtypes([got]) == expected, (first, second)


def test_binary_cross_entropy_is_refused_on_gpus(on):
    on("cuda")
    with pytest.raises(RuntimeError, match="unsafe to autocast"):
        nr.nn.functional.binary_cross_entropy(nr.full((2,), 0.5), nr.ones(2))


@pytest.mark.parametrize("layer", ["LSTM", "GRU", "RNN", "LSTMCell", "GRUCell", "RNNCell"])
def test_recurrent_layers_keep_pytorchs_dtypes(layer):
    for dtype in ("float32", "bfloat16"):
        found = []
        for library in (torch, nr):
            shape = (2, 3) if layer.endswith("Cell") else (5, 2, 3)
            with library.autocast("cpu", dtype=library.bfloat16):
                found.append(_dtypes([getattr(library.nn, layer)(3, 4)(library.ones(*shape, dtype=getattr(library, dtype)))]))
        assert found[0] == found[1]


def test_values_are_those_of_pytorch():
    generator = np.random.default_rng(0)
    x, w = generator.standard_normal((4, 8)).astype(np.float32), generator.standard_normal((5, 8)).astype(np.float32)
    results = []
    for library in (torch, nr):
        weight = library.tensor(w).requires_grad_()
        with library.autocast("cpu", dtype=library.bfloat16):
            loss = (library.nn.functional.linear(library.tensor(x), weight).float() ** 2).mean()
        loss.backward()
        assert weight.grad.dtype == library.float32
        results.append((loss.item(), weight.grad.numpy()))
    np.testing.assert_allclose(results[1][0], results[0][0], rtol=1e-2)
    np.testing.assert_allclose(results[1][1], results[0][1], rtol=2e-2, atol=2e-2)
