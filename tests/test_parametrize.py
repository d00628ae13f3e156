"""`nn.utils.parametrize` and `nn.utils.parametrizations` against PyTorch."""

import copy
import pickle

import numpy as np
import pytest
import torch

import neurarust_jax as nr
from neurarust_jax import nn
from neurarust_jax.nn.utils import parametrizations, parametrize
from tests.oracle import assert_same

G = np.random.default_rng(0)
LIBRARIES = ((nn, nr), (torch.nn, torch))


def normal(*shape):
    return G.standard_normal(shape).astype(np.float32)


def symmetric(m):
    class Symmetric(m.Module):
        def forward(self, x):
            return x.triu() + x.triu(1).mT

        def right_inverse(self, x):
            return x.triu()

    return Symmetric()


def doubled(m):
    class Doubled(m.Module):
        def forward(self, x):
            return 2 * x

        def right_inverse(self, x):
            return x / 2

    return Doubled()


def rank_one(m):
    class RankOne(m.Module):
        def forward(self, a, b):
            return a.unsqueeze(-1) * b.unsqueeze(-2)

        def right_inverse(self, x):
            return x[:, 0], x[0] / x[0, 0]

    return RankOne()


class Scaled(nn.Module):  # at module level, so that it pickles
    def forward(self, x):
        return 3 * x


def twins(*shape):
    torch.manual_seed(0)
    ours, theirs = nn.Linear(*shape), torch.nn.Linear(*shape)
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


def test_a_tensor_is_computed_from_what_is_learned():
    ours, theirs = twins(3, 3)
    weight, before = ours.weight, repr(ours)
    for layer, m in ((ours, nn), (theirs, torch.nn)):
        assert m.utils.parametrize.register_parametrization(layer, "weight", symmetric(m)) is layer
        m.utils.parametrize.register_parametrization(layer, "weight", doubled(m))
        m.utils.parametrize.register_parametrization(layer, "bias", doubled(m))
    assert ours.parametrizations.weight.original is weight and isinstance(ours, nn.Linear) and type(ours).__name__ == "ParametrizedLinear"
    assert repr(ours) == repr(theirs) and list(ours.state_dict()) == list(theirs.state_dict())
    assert [n for n, _ in ours.named_parameters()] == [n for n, _ in theirs.named_parameters()]
    x = normal(2, 3)
    assert_same(ours.weight, theirs.weight)
    y, z = ours(nr.tensor(x)), theirs(torch.tensor(x))
    assert_same(y, z, rtol=1e-5, atol=1e-5)
    (y**2).sum().backward()
    (z**2).sum().backward()
    assert_same(weight.grad, theirs.parametrizations.weight.original.grad, rtol=1e-4, atol=1e-4)
    value = normal(3, 3)
    value = value + value.T
    ours.weight, theirs.weight = nr.tensor(value), torch.tensor(value)
    assert_same(ours.weight, theirs.weight)
    assert ours.parametrizations.weight.original is weight
    ours.load_state_dict(theirs.state_dict())
    for m, layer in ((nn, ours), (torch.nn, theirs)):
        p = m.utils.parametrize
        assert p.is_parametrized(layer) and p.is_parametrized(layer, "bias") and not p.is_parametrized(layer, "x") and p.type_before_parametrizations(layer) is m.Linear
        p.remove_parametrizations(layer, "weight", leave_parametrized=False)
        assert isinstance(layer.weight, m.Parameter) and p.is_parametrized(layer) and type(layer).__name__ == "ParametrizedLinear"
        p.remove_parametrizations(layer, "bias")
        assert type(layer) is m.Linear and not p.is_parametrized(layer) and not hasattr(layer, "parametrizations")
    assert ours.weight is weight and repr(ours) == before
    assert_same(ours.weight, theirs.weight)
    assert_same(ours.bias, theirs.bias)


def test_a_tensor_can_be_made_of_several():
    ours, theirs = twins(3, 2)
    for layer, m in ((ours, nn), (theirs, torch.nn)):
        m.utils.parametrize.register_parametrization(layer, "weight", rank_one(m))
    assert [(n, tuple(p.shape)) for n, p in ours.named_parameters()] == [(n, tuple(p.shape)) for n, p in theirs.named_parameters()]
    assert_same(ours.weight, theirs.weight)
    ours.weight, theirs.weight = nr.ones(2, 3) * 2, torch.ones(2, 3) * 2
    assert_same(ours.parametrizations.weight.original0, theirs.parametrizations.weight.original0)
    for layer, m in ((ours, nn), (theirs, torch.nn)):
        with pytest.raises(ValueError, match="Cannot leave unparametrized"):
            m.utils.parametrize.remove_parametrizations(layer, "weight", leave_parametrized=False)
        m.utils.parametrize.remove_parametrizations(layer, "weight")
        assert isinstance(layer.weight, m.Parameter) and layer.weight.requires_grad
    assert_same(ours.weight, theirs.weight)


def test_buffers_can_be_parametrized():
    for m, lib in LIBRARIES:
        net = m.Module()
        net.register_buffer("b", lib.ones(2, 2))
        m.utils.parametrize.register_parametrization(net, "b", doubled(m))
        assert net.b.tolist() == [[1, 1], [1, 1]] and [n for n, _ in net.named_buffers()] == ["parametrizations.b.original"] and not list(net.parameters())
        m.utils.parametrize.remove_parametrizations(net, "b")
        assert net.b.tolist() == [[1, 1], [1, 1]] and [n for n, _ in net.named_buffers()] == ["b"]


def test_copies_pickles_and_pytrees_of_parametrized_modules():
    layer = parametrize.register_parametrization(nn.Linear(2, 2), "weight", Scaled())
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert type(twin) is type(layer)
        np.testing.assert_array_equal(twin(nr.ones(2)).detach().numpy(), layer(nr.ones(2)).detach().numpy())
        assert twin.parametrizations.weight.original is not layer.parametrizations.weight.original
    other = parametrize.register_parametrization(nn.Linear(2, 2), "weight", Scaled())
    stacked, _ = nr.func.stack_module_state([layer, other])
    assert stacked["parametrizations.weight.original"].shape == (2, 2, 2)
    called = nr.func.functional_call(layer, {"parametrizations.weight.original": nr.ones(2, 2), "bias": nr.zeros(2)}, nr.ones(2))
    assert called.tolist() == [6, 6]


def test_parametrized_modules_under_jit():
    layer = parametrize.register_parametrization(nn.Linear(2, 2), "weight", symmetric(nn))
    compiled = nr.jit(layer)
    x = nr.tensor(normal(3, 2))
    np.testing.assert_allclose(compiled(x).detach().numpy(), layer(x).detach().numpy(), rtol=1e-5)
    parametrize.register_parametrization(layer, "weight", doubled(nn))
    np.testing.assert_allclose(compiled(x).detach().numpy(), layer(x).detach().numpy(), rtol=1e-5)
    step = nr.jit(lambda: layer(x).sum().backward())
    step()
    assert layer.parametrizations.weight.original.grad is not None


def test_cached_tensors_are_computed_once_in_each_trace():
    for m, lib in LIBRARIES:
        layer = m.utils.parametrize.register_parametrization(m.Linear(2, 2), "weight", doubled(m))
        assert layer.weight is not layer.weight
        with m.utils.parametrize.cached():
            assert layer.weight is layer.weight
            with m.utils.parametrize.cached():
                first = layer.weight
            assert layer.weight is first
        with lib.no_grad():
            layer.weight = lib.ones(2, 2)
        with m.utils.parametrize.cached():
            assert layer.weight.tolist() == [[1, 1], [1, 1]]
    ran = []
    layer = parametrize.register_parametrization(nn.Linear(2, 2), "weight", Scaled())
    layer.parametrizations.weight[0].register_forward_hook(lambda *_: ran.append(1))
    with parametrize.cached():
        nr.jit(lambda x: layer(x) + layer(x))(nr.ones(2))
        assert len(ran) == 1
        layer(nr.ones(2))
        layer(nr.ones(2))
        assert len(ran) == 2


def test_refusals():
    for m, lib in LIBRARIES:
        p = m.utils.parametrize

        class To64(m.Module):
            def forward(self, x, lib=lib):
                return x.to(lib.float64)

        class Wider(m.Module):
            def forward(self, x, lib=lib):
                return lib.cat([x, x])

        class NoTensor(m.Module):
            def forward(self, x):
                return [x]

        class BadInverse(m.Module):
            def forward(self, x):
                return x

            def right_inverse(self, x):
                return "text"

        class TextInverse(m.Module):
            def forward(self, x):
                return x

            def right_inverse(self, x):
                return [x, 1]

        layer = m.Linear(2, 2)
        for parametrization, text in (
            (To64(), "may not change the dtype"), (Wider(), "may not change the shape"), (NoTensor(), "must return a tensor"),
            (TextInverse(), "element 1"),
        ):  # fmt: skip
            with pytest.raises(ValueError, match=text):
                p.register_parametrization(layer, "weight", parametrization)
        assert type(layer) is m.Linear and isinstance(layer.weight, m.Parameter)
        with pytest.raises(ValueError, match="does not have a parameter, a buffer"):
            p.register_parametrization(layer, "nothing", To64())
        p.register_parametrization(layer, "weight", doubled(m))
        for parametrization, text in ((To64(), "may not change the dtype"), (Wider(), "may not change the shape"), (BadInverse(), "must return a tensor")):
            with pytest.raises(ValueError, match=text):
                p.register_parametrization(layer, "weight", parametrization)
        assert len(layer.parametrizations.weight) == 1
        p.register_parametrization(layer, "weight", To64(), unsafe=True)
        assert layer.weight.dtype == lib.float64
        with pytest.raises(RuntimeError, match="does not implement right_inverse"):
            layer.weight = lib.ones(2, 2)
        with pytest.raises(ValueError, match="does not have a parametrization on bias"):
            p.remove_parametrizations(layer, "bias")
        with pytest.raises(ValueError, match="one or more modules"):
            p.ParametrizationList([], lib.ones(1))


def test_parametrizations_are_transferred():
    for m, _ in LIBRARIES:
        p = m.utils.parametrize
        a, b = m.Linear(2, 2), m.Linear(2, 2)
        assert p.transfer_parametrizations_and_params(a, b) is b and not p.is_parametrized(b)
        p.register_parametrization(a, "weight", symmetric(m))
        p.register_parametrization(a, "bias", doubled(m))
        p.transfer_parametrizations_and_params(a, b, "weight")
        assert p.is_parametrized(b, "weight") and not p.is_parametrized(b, "bias")
        assert b.parametrizations.weight.original is a.parametrizations.weight.original and b.weight.tolist() == a.weight.tolist()
        c = p.transfer_parametrizations_and_params(a, m.Module())
        assert p.is_parametrized(c, "weight") and p.is_parametrized(c, "bias")


def test_the_training_mode_reaches_parametrizations():
    for m, _ in LIBRARIES:
        layer = m.Linear(2, 2).eval()
        m.utils.parametrize.register_parametrization(layer, "weight", doubled(m))
        assert not layer.parametrizations.weight[0].training and layer.train().parametrizations.weight[0].training


# --- parametrizations ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("trivialized", [True, False])
@pytest.mark.parametrize("shape", [(4, 4), (5, 3), (3, 5)])
@pytest.mark.parametrize("name", ["matrix_exp", "cayley", "householder"])
def test_orthogonal_weights_stay_orthogonal(name, shape, trivialized):
    layer = nn.Linear(shape[1], shape[0]).double()
    value = np.linalg.qr(G.standard_normal((max(shape), min(shape))))[0]
    value = value if shape[0] >= shape[1] else value.T
    if not trivialized and name != "householder":
        with pytest.raises(NotImplementedError, match="not possible to assign"):
            parametrizations.orthogonal(layer, "weight", name, use_trivialization=False).weight = nr.tensor(value)
    else:
        layer.weight.data = nr.tensor(value)
        parametrizations.orthogonal(layer, "weight", name, use_trivialization=trivialized)
        np.testing.assert_allclose(layer.weight.detach().numpy(), value, atol=1e-10)
        another = np.linalg.qr(G.standard_normal((max(shape), min(shape))))[0]
        another = another if shape[0] >= shape[1] else another.T
        layer.weight = nr.tensor(another)
        np.testing.assert_allclose(layer.weight.detach().numpy(), another, atol=1e-10)
    optimizer = nr.optim.SGD(layer.parameters(), lr=0.1)
    target = nr.tensor(G.standard_normal(shape))
    losses = []
    for _ in range(3):
        optimizer.zero_grad()
        loss = ((layer.weight - target) ** 2).sum()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        w = layer.weight.detach().numpy()
        product = w.T @ w if shape[0] >= shape[1] else w @ w.T
        np.testing.assert_allclose(product, np.eye(min(shape)), atol=1e-10)
    assert losses[-1] < losses[0]


@pytest.mark.parametrize(("shape", "name"), [((4, 4), "matrix_exp"), ((5, 3), "cayley"), ((3, 5), "householder")])
def test_orthogonal_weights_and_their_gradients_are_pytorchs(shape, name):
    ours, theirs = twins(*shape[::-1])
    ours.double(), theirs.double()
    parametrizations.orthogonal(ours, "weight", name)
    torch.nn.utils.parametrizations.orthogonal(theirs, "weight", name)
    state = theirs.state_dict()
    original = "parametrizations.weight.original"
    state[original] = state[original] + torch.tensor(0.1 * G.standard_normal(shape))
    if name == "householder":
        state[original].diagonal().copy_(-torch.ones(min(shape)))
    ours.load_state_dict(state)
    theirs.load_state_dict(state)
    assert [(n, tuple(b.shape)) for n, b in ours.named_buffers()] == [(n, tuple(b.shape)) for n, b in theirs.named_buffers()]
    c = G.standard_normal(shape)
    assert_same(ours.weight, theirs.weight, atol=1e-10)
    (ours.weight * nr.tensor(c)).sum().backward()
    (theirs.weight * torch.tensor(c)).sum().backward()
    assert_same(ours.parametrizations.weight.original.grad, theirs.parametrizations.weight.original.grad, atol=1e-9)


def test_orthogonal_weights_that_were_not_and_complex_ones():
    layer = parametrizations.orthogonal(nn.Linear(3, 3))
    np.testing.assert_allclose((layer.weight @ layer.weight.T).detach().numpy(), np.eye(3), atol=1e-5)
    net = nn.Module()
    net.weight = nn.Parameter(nr.tensor(G.standard_normal((2, 3, 3)) + 1j * G.standard_normal((2, 3, 3))))
    parametrizations.orthogonal(net)
    np.testing.assert_allclose((net.weight @ net.weight.mH).detach().numpy(), np.broadcast_to(np.eye(3), (2, 3, 3)), atol=1e-10)
    for m, _ in LIBRARIES:
        orthogonal = m.utils.parametrizations.orthogonal
        for arguments, text in (((m.Linear(2, 2), "bias"), "Expected a matrix"), ((m.Linear(2, 2), "x"), "no parameter or buffer"), ((m.Linear(2, 2), "weight", "exp"), "has to be one of")):
            with pytest.raises(ValueError, match=text):
                orthogonal(*arguments)
        layer = orthogonal(m.Linear(2, 2))
        with pytest.raises(ValueError, match="Expected a matrix or batch of matrices of shape"):
            layer.weight = layer.weight[:1]


@pytest.mark.parametrize("dim", [0, 1, None])
def test_weight_norm(dim):
    ours, theirs = twins(3, 4)
    parametrizations.weight_norm(ours, dim=dim)
    torch.nn.utils.parametrizations.weight_norm(theirs, dim=dim)
    assert repr(ours) == repr(theirs)
    for (name, a), (other, b) in zip(ours.state_dict().items(), theirs.state_dict().items(), strict=True):
        assert name == other
        assert_same(a, b)
    x = normal(2, 3)
    y, z = ours(nr.tensor(x)), theirs(torch.tensor(x))
    assert_same(y, z, rtol=1e-5, atol=1e-6)
    (y**2).sum().backward()
    (z**2).sum().backward()
    for p, q in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert_same(p.grad, q.grad, rtol=1e-4, atol=1e-5)
    with pytest.warns(FutureWarning):
        old = nn.utils.weight_norm(nn.Linear(3, 4), dim=dim)
    ours.load_state_dict(old.state_dict())
    np.testing.assert_allclose(ours.weight.detach().numpy(), old.weight.detach().numpy(), rtol=1e-5)


@pytest.mark.parametrize(("name", "arguments", "options"), [("Linear", (3, 4), {}), ("Conv2d", (2, 3, 2), {"dim": -3, "n_power_iterations": 2})])
def test_spectral_norm(name, arguments, options):
    torch.manual_seed(0)
    ours, theirs = getattr(nn, name)(*arguments), getattr(torch.nn, name)(*arguments)
    ours.load_state_dict(theirs.state_dict())
    parametrizations.spectral_norm(ours, **options)
    torch.nn.utils.parametrizations.spectral_norm(theirs, **options)
    assert {n: tuple(v.shape) for n, v in ours.state_dict().items()} == {n: tuple(v.shape) for n, v in theirs.state_dict().items()}
    ours.load_state_dict(theirs.state_dict())
    y, z = ours.weight, theirs.weight
    assert_same(y, z, rtol=1e-4, atol=1e-5)
    (y**3).sum().backward()
    (z**3).sum().backward()
    assert_same(ours.parametrizations.weight.original.grad, theirs.parametrizations.weight.original.grad, rtol=1e-3, atol=1e-4)
    assert_same(ours.parametrizations.weight[0]._u, theirs.parametrizations.weight[0]._u, rtol=1e-4, atol=1e-5)
    u = ours.parametrizations.weight[0]._u
    u.assign(nr.nn.functional.normalize(nr.randn(*u.shape), dim=0))
    before = u.numpy().copy()
    nr.jit(lambda: ours.weight.sum())()
    assert (before != u.numpy()).any()
    ours.eval()
    before = u.numpy().copy()
    ours.weight  # noqa: B018
    np.testing.assert_array_equal(before, u.numpy())


def test_spectral_norm_of_a_vector_and_refusals():
    ours, theirs = twins(3, 4)
    assert_same(parametrizations.spectral_norm(ours, "bias").bias, torch.nn.utils.parametrizations.spectral_norm(theirs, "bias").bias)
    for m, _ in LIBRARIES:
        spectral_norm = m.utils.parametrizations.spectral_norm
        with pytest.raises(ValueError, match="to be positive"):
            spectral_norm(m.Linear(2, 2), n_power_iterations=0)
        with pytest.raises(IndexError, match="out of range"):
            spectral_norm(m.Linear(2, 2), dim=4)
        with pytest.raises(ValueError, match="no parameter or buffer"):
            spectral_norm(m.Linear(2, 2), "x")
