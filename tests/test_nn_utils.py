"""`nn.utils`: clipping, vectors of parameters, hooks for weights, fusion."""

import copy
import pickle
import warnings

import numpy as np
import pytest
import torch

import neurarust_jax as nr
from neurarust_jax import nn
from tests.oracle import assert_same

G = np.random.default_rng(0)
U, TU = nn.utils, torch.nn.utils


def normal(*shape):
    return G.standard_normal(shape).astype(np.float32)


def with_gradients(*gradients):
    """Parameters in both libraries that have these gradients; `None` for none."""
    ours, theirs = [], []
    for g in gradients:
        zeros = np.zeros((2,), np.float32) if g is None else np.zeros_like(g)
        ours.append(nn.Parameter(nr.tensor(zeros)))
        theirs.append(torch.nn.Parameter(torch.tensor(zeros)))
        if g is not None:
            ours[-1].grad, theirs[-1].grad = nr.tensor(g), torch.tensor(g)
    return ours, theirs


def same_gradients(ours, theirs):
    for p, q in zip(ours, theirs, strict=True):
        assert (p.grad is None) == (q.grad is None)
        if q.grad is not None:
            assert_same(p.grad, q.grad)


# --- clipping ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("norm_type", [2.0, 1, 3.5, "inf", float("inf"), -float("inf"), 0])
@pytest.mark.parametrize("max_norm", [0.3, 1e4])
def test_gradients_are_clipped_by_their_norm(norm_type, max_norm):
    ours, theirs = with_gradients(normal(3, 4), None, normal(5), normal())
    assert_same(U.clip_grad_norm_(ours, max_norm, norm_type), TU.clip_grad_norm_(theirs, max_norm, norm_type))
    same_gradients(ours, theirs)


def test_gradients_of_several_dtypes_are_clipped():
    complex_gradient = (normal(3) + 1j * normal(3)).astype(np.complex64)
    ours, theirs = with_gradients(normal(3), normal(2).astype(np.float64), complex_gradient)
    assert_same(U.clip_grad_norm_(iter(ours), 0.1), TU.clip_grad_norm_(iter(theirs), 0.1), rtol=1e-5)
    same_gradients(ours, theirs)
    p = nn.Parameter(nr.zeros(4, dtype=nr.bfloat16))
    p.grad = nr.ones(4, dtype=nr.bfloat16)
    q = torch.nn.Parameter(torch.zeros(4, dtype=torch.bfloat16))
    q.grad = torch.ones(4, dtype=torch.bfloat16)
    assert_same(U.clip_grad_norm_(p, 0.7), TU.clip_grad_norm_(q, 0.7))
    same_gradients([p], [q])


def test_total_norms_and_clipping_with_a_known_norm():
    tensors = [normal(2, 3), normal(4)]
    for norm_type in (2.0, 1.0):
        assert_same(U.get_total_norm(map(nr.tensor, tensors), norm_type), TU.get_total_norm(map(torch.tensor, tensors), norm_type))
    assert_same(U.get_total_norm(nr.tensor(tensors[0])), TU.get_total_norm(torch.tensor(tensors[0])))
    assert_same(U.get_total_norm([]), TU.get_total_norm([]))
    ours, theirs = with_gradients(*tensors)
    U.clip_grads_with_norm_(ours, 1.0, nr.tensor(5.0))
    TU.clip_grads_with_norm_(theirs, 1.0, torch.tensor(5.0))
    same_gradients(ours, theirs)
    assert U.clip_grads_with_norm_([nn.Parameter(nr.zeros(1))], 1.0, nr.tensor(5.0)) is None
    assert_same(U.clip_grad_norm_([nn.Parameter(nr.zeros(1))], 1.0), torch.tensor(0.0))


def test_norms_that_are_not_finite():
    for bad in (np.nan, np.inf):
        ours, theirs = with_gradients(np.array([bad, 1.0], np.float32), normal(2))
        for u, parameters in ((U, ours), (TU, theirs)):
            with pytest.raises(RuntimeError, match=r"total norm of order 2\.0 for gradients from `parameters` is non-finite"):
                u.clip_grad_norm_(parameters, 1.0, error_if_nonfinite=True)
            assert parameters[1].grad.abs().max().item() > 0.01
        assert_same(U.clip_grad_norm_(ours, 1.0), TU.clip_grad_norm_(theirs, 1.0))
        same_gradients(ours, theirs)


def test_gradients_on_several_devices_are_clipped():
    values = normal(3), normal(4)
    together, _ = with_gradients(*values)
    expected = U.clip_grad_norm_(together, 0.5).item()
    apart = [nn.Parameter(nr.zeros(n, device=f"cpu:{i}")) for i, n in enumerate((3, 4))]
    for function, arguments in ((U.clip_grad_norm_, (0.5,)), (U.clip_grads_with_norm_, (0.5, nr.tensor(expected)))):
        for i, (p, g) in enumerate(zip(apart, values, strict=True)):
            p.grad = nr.tensor(g, device=f"cpu:{i}")
        norm = function(apart, *arguments)
        assert norm is None or abs(norm.item() - expected) < 1e-5
        for i, (p, q) in enumerate(zip(apart, together, strict=True)):
            np.testing.assert_allclose(p.grad.numpy(), q.grad.numpy(), rtol=1e-5)
            assert p.grad.device == nr.device("cpu", i or None)
    U.clip_grad_value_(apart, 0.01)
    assert max(p.grad.abs().max().item() for p in apart) <= 0.01
    assert abs(U.get_total_norm([nr.tensor(g, device=f"cpu:{i}") for i, g in enumerate(values)]).item() - expected) < 1e-5


def test_gradients_are_clipped_by_value():
    ours, theirs = with_gradients(normal(3, 4), None, normal(5))
    U.clip_grad_value_(ours, 0.5, foreach=True)
    TU.clip_grad_value_(theirs, 0.5)
    same_gradients(ours, theirs)
    assert U.clip_grad_value_([nn.Parameter(nr.zeros(1))], 1.0) is None


def test_clipping_warns_of_an_empty_generator_and_of_the_old_name():
    for u in (U, TU):
        with pytest.warns(UserWarning, match="empty generator"):
            u.clip_grad_norm_((p for p in ()), 1.0)
        with pytest.warns(FutureWarning, match="clip_grad_norm_"):
            u.clip_grad_norm([], 1.0)


def test_clipping_inside_a_compiled_step():
    model = nn.Linear(3, 2)
    optimizer = nr.optim.SGD(model.parameters(), lr=0.1)
    x = nr.tensor(normal(4, 3)) * 100

    @nr.jit
    def step(x):
        optimizer.zero_grad()
        model(x).square().sum().backward()
        norm = U.clip_grad_norm_(model.parameters(), 1.0)
        U.clip_grad_value_(model.parameters(), 0.9)
        optimizer.step()
        return norm

    before = model.weight.detach().numpy().copy()
    assert step(x).item() > 100
    assert 0 < np.abs(model.weight.detach().numpy() - before).max() <= 0.09 + 1e-6
    assert nr.nn.utils.get_total_norm([p.grad for p in model.parameters()]).item() <= 1 + 1e-5
    with pytest.raises(RuntimeError, match="no value|has none yet"):
        nr.jit(lambda: U.clip_grad_norm_(model.parameters(), 1.0, error_if_nonfinite=True))()


# --- vectors -------------------------------------------------------------------------------------------------------------


def test_parameters_as_a_vector_and_back():
    layer = nn.Linear(3, 2)
    vector = U.parameters_to_vector(layer.parameters())
    np.testing.assert_array_equal(vector.detach().numpy(), np.concatenate([layer.weight.detach().numpy().ravel(), layer.bias.detach().numpy()]))
    (vector * nr.arange(8.0)).sum().backward()
    assert layer.weight.grad.tolist() == [[0, 1, 2], [3, 4, 5]] and layer.bias.grad.tolist() == [6, 7]
    weight = layer.weight
    U.vector_to_parameters(nr.arange(9.0), layer.parameters())
    assert layer.weight is weight and weight.tolist() == [[0, 1, 2], [3, 4, 5]] and layer.bias.tolist() == [6, 7] and weight.requires_grad
    nr.jit(lambda v: U.vector_to_parameters(v * 2, layer.parameters()))(nr.ones(8))
    assert layer.bias.tolist() == [2, 2]
    mixed = U.parameters_to_vector([nr.ones(2), nr.ones(1, 2, dtype=nr.float64)])
    assert mixed.dtype == nr.float64 and mixed.shape == (4,)
    with pytest.raises(TypeError, match="expected nr.Tensor"):
        U.vector_to_parameters([1.0], layer.parameters())
    with pytest.raises(RuntimeError, match="3 elements, and the parameters have 8"):
        U.vector_to_parameters(nr.ones(3), layer.parameters())


# --- hooks for weights -----------------------------------------------------------------------------------------------------


def twins(make, name="Linear", *arguments):
    """A layer in both libraries with the same weights, after ``make(layer, utils)``."""
    torch.manual_seed(0)
    ours, theirs = getattr(nn, name)(*arguments), getattr(torch.nn, name)(*arguments)
    ours.load_state_dict(theirs.state_dict())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return make(ours, U), make(theirs, TU)


def same_training(ours, theirs, *shape, rtol=1e-4):
    """Two steps of gradient descent give the same outputs and states."""
    x = normal(*shape)
    for _ in range(2):
        y, z = ours(nr.tensor(x)), theirs(torch.tensor(x))
        assert_same(y, z, rtol=rtol, atol=1e-5)
        for m, out, lib in ((ours, y, nr), (theirs, z, torch)):
            m.zero_grad()
            (out**2).sum().backward()
            with lib.no_grad():
                for p in m.parameters():
                    p -= p.grad * 0.01
    assert list(ours.state_dict()) == list(theirs.state_dict())
    for key, value in theirs.state_dict().items():
        assert_same(ours.state_dict()[key], value, rtol=rtol, atol=1e-5)


@pytest.mark.parametrize("dim", [0, 1, None])
def test_weight_norm_learns_magnitude_and_direction(dim):
    ours, theirs = twins(lambda layer, u: u.weight_norm(layer, dim=dim), "Linear", 3, 4)
    assert [n for n, _ in ours.named_parameters()] == [n for n, _ in theirs.named_parameters()]
    same_training(ours, theirs, 2, 3)
    for twin in (copy.deepcopy(ours), pickle.loads(pickle.dumps(ours))):
        np.testing.assert_array_equal(twin(nr.ones(3)).detach().numpy(), ours(nr.ones(3)).detach().numpy())
    expected = ours(nr.ones(3)).detach().numpy()
    assert U.remove_weight_norm(ours) is ours and isinstance(ours.weight, nn.Parameter) and list(ours.state_dict()) == ["bias", "weight"]
    np.testing.assert_allclose(ours(nr.ones(3)).detach().numpy(), expected, rtol=1e-6)


def test_weight_norm_inside_a_compiled_step():
    with pytest.warns(FutureWarning, match="parametrizations.weight_norm"):
        layer = U.weight_norm(nn.Linear(3, 1))
    step = nr.jit(lambda x: layer(x).sum().backward())
    step(nr.ones(1, 3))
    assert layer.weight_g.grad.abs().sum().item() > 0
    expected = layer.weight_v.detach() * layer.weight_g.detach() / nr.linalg.vector_norm(layer.weight_v.detach())
    np.testing.assert_allclose(layer.weight.detach().numpy(), expected.numpy(), rtol=1e-5)


def test_weight_norm_refusals():
    for m, u in ((nn, U), (torch.nn, TU)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            layer = u.weight_norm(m.Linear(2, 2))
            with pytest.raises(RuntimeError, match="Cannot register two weight_norm hooks on the same parameter weight"):
                u.weight_norm(layer)
            with pytest.raises(ValueError, match="can't have uninitialized parameters"):
                u.weight_norm(m.LazyLinear(2))
        with pytest.raises(ValueError, match="weight_norm of 'bias' not found"):
            u.remove_weight_norm(layer, "bias")


def same_vectors(ours, theirs, *names):
    """The random vectors of PyTorch's layer in ours."""
    for name in names:
        ours.get_buffer(name).assign(nr.tensor(theirs.get_buffer(name).numpy()))


@pytest.mark.parametrize(("name", "arguments", "shape", "options"), [("Linear", (3, 4), (2, 3), {}), ("Conv2d", (2, 3, 2), (1, 2, 4, 4), {"dim": 1, "n_power_iterations": 3})])
def test_spectral_norm_divides_by_the_largest_singular_value(name, arguments, shape, options):
    ours, theirs = twins(lambda layer, u: u.spectral_norm(layer, **options), name, *arguments)
    same_vectors(ours, theirs, "weight_u", "weight_v")
    same_training(ours, theirs, *shape)
    ours.eval(), theirs.eval()
    x = normal(*shape)
    assert_same(ours(nr.tensor(x)), theirs(torch.tensor(x)), rtol=1e-4, atol=1e-5)
    metadata = ours.state_dict()._metadata[""]
    assert metadata["spectral_norm"] == {"weight.version": 1}
    twin = copy.deepcopy(ours)
    twin.load_state_dict(ours.state_dict())
    expected = ours(nr.tensor(x)).detach().numpy()
    assert U.remove_spectral_norm(ours) is ours and list(ours.state_dict()) == ["bias", "weight"] and not ours._state_dict_hooks and not ours._load_state_dict_pre_hooks
    np.testing.assert_allclose(ours(nr.tensor(x)).detach().numpy(), expected, rtol=1e-5, atol=1e-6)


def test_spectral_norm_reads_state_dicts_without_a_version():
    layer = U.spectral_norm(nn.Linear(5, 3))
    layer(nr.ones(5))
    state = dict(layer.state_dict())
    state["weight"] = layer.weight.detach()
    v = state.pop("weight_v")
    twin = U.spectral_norm(nn.Linear(5, 3))
    twin.load_state_dict(state)
    assert twin.weight_v.shape == v.shape
    np.testing.assert_allclose(twin.eval()(nr.ones(5)).detach().numpy(), layer.eval()(nr.ones(5)).detach().numpy(), rtol=1e-4)
    with pytest.raises(RuntimeError, match="Missing key"):
        twin.load_state_dict({"bias": state["bias"]})


def test_spectral_norm_refusals():
    for m, u in ((nn, U), (torch.nn, TU)):
        layer = u.spectral_norm(m.Linear(2, 2))
        with pytest.raises(RuntimeError, match="Cannot register two spectral_norm hooks on the same parameter weight"):
            u.spectral_norm(layer)
        with pytest.raises(ValueError, match="Expected n_power_iterations to be positive"):
            u.spectral_norm(m.Linear(2, 2), n_power_iterations=0)
        with pytest.raises(ValueError, match="is None"):
            u.spectral_norm(m.Linear(2, 2, bias=False), "bias")
        with pytest.raises(ValueError, match="can't have uninitialized parameters"):
            u.spectral_norm(m.LazyLinear(2))
        with pytest.raises(ValueError, match="spectral_norm of 'bias' not found"):
            u.remove_spectral_norm(layer, "bias")


# --- fusion and the rest -----------------------------------------------------------------------------------------------------


def trained(m, name, channels):
    bn = getattr(m, name)(channels).eval()
    for value, cell in zip(([1.5, 0.5, -2.0], [0.1, 0.2, 0.3], [1.0, 2.0, 3.0], [0.5, 1.5, 2.5]), (bn.weight, bn.bias, bn.running_mean, bn.running_var), strict=True):
        cell.data = (nr if m is nn else torch).tensor(value[:channels])
    return bn


@pytest.mark.parametrize("bias", [True, False])
def test_batch_normalization_is_folded_into_the_layer_before(bias):
    for name, arguments, bn, shape in (("Conv2d", (2, 3, 2), "BatchNorm2d", (2, 2, 4, 4)), ("Linear", (4, 3), "BatchNorm1d", (2, 4))):
        ours, theirs = twins(lambda layer, u: layer.eval(), name, *arguments, *(() if bias else (1, 0, 1, 1, False) if name == "Conv2d" else (False,)))
        fuse = "fuse_conv_bn_eval" if name == "Conv2d" else "fuse_linear_bn_eval"
        x = normal(*shape)
        fused = getattr(U, fuse)(ours, trained(nn, bn, 3))
        assert_same(fused(nr.tensor(x)), getattr(TU, fuse)(theirs, trained(torch.nn, bn, 3))(torch.tensor(x)), atol=1e-5)
        assert_same(fused(nr.tensor(x)), trained(torch.nn, bn, 3)(theirs(torch.tensor(x))), atol=1e-5)
        assert fused.weight.requires_grad and fused.bias.requires_grad == bias and fused is not ours
        with pytest.raises(AssertionError, match="only for eval"):
            getattr(U, fuse)(ours.train(), trained(nn, bn, 3))
    with pytest.raises(AssertionError, match=r"linear\.out_features=3 and bn\.num_features=2"):
        U.fuse_linear_bn_eval(nn.Linear(4, 3).eval(), trained(nn, "BatchNorm1d", 2))
    a, b = U.fuse_conv_bn_weights(nr.ones(2, 3, 1), None, nr.zeros(3), nr.ones(3), 0.0, None, None, transpose=True)
    assert a.shape == (2, 3, 1) and b.tolist() == [0, 0, 0]


def test_skip_init_leaves_the_generator_as_it_is():
    nr.manual_seed(0)
    layer = U.skip_init(nn.Linear, 3, 2, bias=False)
    assert layer.bias is None and layer.weight.shape == (2, 3)
    first = nr.rand(1).item()
    nr.manual_seed(0)
    assert nr.rand(1).item() == first
    for m, u in ((nn, U), (torch.nn, TU)):
        with pytest.raises(RuntimeError, match="Expected a Module"):
            u.skip_init(dict)
        with pytest.raises(RuntimeError, match="must support a 'device' arg"):
            u.skip_init(m.ReLU)


def test_stateless_calls_are_deprecated():
    layer = nn.Linear(2, 1, bias=False)
    with pytest.warns(FutureWarning, match=r"torch\.func\.functional_call"):
        assert U.stateless.functional_call(layer, {"weight": nr.ones(1, 2)}, nr.ones(2)).tolist() == [2]


def test_names_are_pytorchs():
    assert not [n for n in TU.__all__ if not hasattr(U, n)]
    for module in ("parametrize", "parametrizations", "prune", "fusion", "clip_grad", "convert_parameters", "memory_format", "spectral_norm", "weight_norm", "stateless"):
        theirs = __import__(f"torch.nn.utils.{module}", fromlist=["x"])
        ours = __import__(f"neurarust_jax.nn.utils.{module}", fromlist=["x"])
        names = getattr(theirs, "__all__", None) or [n for n, v in vars(theirs).items() if getattr(v, "__module__", "") == theirs.__name__ and not n.startswith("_")]
        assert not [n for n in names if not hasattr(ours, n)], module
    layer = nn.Conv2d(1, 1, 1)
    assert U.convert_conv2d_weight_memory_format(layer, nr.channels_last) is layer and U.convert_conv3d_weight_memory_format(layer, None) is layer
