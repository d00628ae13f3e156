"""`GradScaler` against PyTorch's on the CPU: scales, skipped steps, stages, errors, state; eagerly and as one compiled step."""

import copy
import pickle

import numpy as np
import optax
import pytest
import torch

import neurarust_jax as nr

OVERFLOWS = (2, 7, 8)


def _train(library, optimizer, steps=12, compiled=False, clip=True, low="float16"):
    """Train a linear layer; the gradients of some steps overflow. Returns of each step (scale, growth tracker, weights, state of the optimizer)."""
    torch.manual_seed(0)
    model = torch.nn.Linear(3, 2)
    if library is nr:
        weights = {name: value.numpy() for name, value in model.state_dict().items()}
        model = nr.nn.Linear(3, 2)
        model.load_state_dict(weights)
    optimizer = optimizer(library, model)
    scaler = library.amp.GradScaler("cpu", init_scale=2.0**10, growth_interval=3)

    def step(x):
        optimizer.zero_grad()
        with library.autocast("cpu", dtype=getattr(library, low)):
            loss = model(x).float().pow(2).mean()
        scaler.scale(loss).backward()
        if clip:
            scaler.unscale_(optimizer)
            library.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        scaler.step(optimizer)
        scaler.update()
        return loss

    if compiled:
        step = nr.jit(step)
    seen = []
    for i in range(steps):
        step(library.tensor(np.full((4, 3), 1e30 if i in OVERFLOWS else 1.0, np.float32)))
        values = [p.detach().numpy().copy() for p in model.parameters()]
        seen.append((scaler.get_scale(), scaler._get_growth_tracker(), values, copy.deepcopy(optimizer.state_dict())))
    return seen


def _numbers(state_dict):
    """All numbers of an optimizer's state."""
    found = []

    def walk(x):
        if isinstance(x, dict):
            for value in x.values():
                walk(value)
        elif isinstance(x, list | tuple):
            for value in x:
                walk(value)
        elif hasattr(x, "shape"):
            found.append(np.asarray(x.detach() if hasattr(x, "detach") else x))

    walk(state_dict["state"])
    return found


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
def test_scales_and_steps_are_those_of_pytorch(compiled):
    def adam(library, model):
        return library.optim.Adam(model.parameters(), lr=0.1)

    theirs, ours = _train(torch, adam), _train(nr, adam, compiled=compiled)
    assert [s[:2] for s in ours] == [s[:2] for s in theirs]
    assert len({scale for scale, *_ in ours}) > 2
    for (_, _, values, _), (_, _, expected, _) in zip(ours, theirs, strict=True):
        for a, b in zip(values, expected, strict=True):
            np.testing.assert_allclose(a, b, atol=1e-3)  # the products are of float16


OPTIMIZERS = {
    name: (lambda library, model, name=name, options=options: getattr(library.optim, name)(model.parameters(), **options))
    for name, options in {
        "ASGD": {"lr": 0.1}, "Adadelta": {}, "Adafactor": {}, "Adagrad": {"lr": 0.1}, "Adam": {"amsgrad": True}, "AdamW": {}, "Adamax": {}, "NAdam": {}, "RAdam": {},
        "RMSprop": {"momentum": 0.9, "centered": True}, "Rprop": {}, "SGD": {"lr": 0.1, "momentum": 0.9, "nesterov": True},
    }.items()
}  # fmt: skip


class _Momentum(nr.optim.Optimizer):
    """An optimizer written as in PyTorch, which makes its state at the first step."""

    def __init__(self, params, lr=0.1):
        super().__init__(params, {"lr": lr})

    @nr.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                buffer = self.state[p].setdefault("buffer", nr.zeros_like(p))
                buffer.mul_(0.9).add_(p.grad)
                p.add_(buffer, alpha=-group["lr"])


OPTIMIZERS["Optax"] = lambda library, model: nr.optim.Optax(model.parameters(), optax.lamb(1e-2))
OPTIMIZERS["Momentum"] = lambda library, model: _Momentum(model.parameters())


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_skipped_step_changes_nothing(name):
    for compiled in (False, True):
        seen = _train(nr, OPTIMIZERS[name], steps=5, compiled=compiled, clip=False)
        assert [s[0] for s in seen] == [1024.0, 1024.0, 512.0, 512.0, 512.0]
        (_, _, before, state_before), (_, _, after, state_after) = seen[1], seen[2]
        assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))
        assert all(np.array_equal(a, b) for a, b in zip(_numbers(state_before), _numbers(state_after), strict=True))
        assert not np.array_equal(seen[2][2][0], seen[3][2][0])
        assert all(np.isfinite(x).all() for s in seen for x in (*s[2], *_numbers(s[3])))


def test_state_made_in_a_first_step_that_overflows_is_finite():
    p = nr.nn.Parameter(nr.ones(2))
    optimizer, scaler = _Momentum([p]), nr.amp.GradScaler("cpu")

    @nr.jit
    def step(x):
        optimizer.zero_grad()
        scaler.scale((p * x).sum()).backward()
        scaler.step(optimizer)
        scaler.update()

    step(nr.tensor([float("inf"), 1.0]))
    np.testing.assert_array_equal(p.detach().numpy(), 1)
    np.testing.assert_array_equal(optimizer.state[p]["buffer"].detach().numpy(), 0)


def test_the_whole_step_is_one_program_and_traced_twice_at_most():
    model, runs = nr.nn.Linear(3, 2), []
    optimizer, scaler = nr.optim.SGD(model.parameters(), lr=0.1), nr.amp.GradScaler("cpu", growth_interval=2)

    @nr.jit
    def step(x):
        runs.append(1)
        optimizer.zero_grad()
        scaler.scale(model(x).sum()).backward()
        scaler.step(optimizer)
        scaler.update()

    for i in range(6):
        step(nr.full((4, 3), float("inf") if i == 3 else 1.0))
    assert len(runs) <= 2
    assert scaler.get_scale() == 65536.0 * 2 / 2 * 2
    scaler.set_growth_factor(4.0)
    for _ in range(2):
        step(nr.ones(4, 3))
    assert scaler.get_scale() == 65536.0 * 2 * 4


def test_methods_may_be_split_between_compiled_and_eager_code():
    p = nr.nn.Parameter(nr.ones(2))
    optimizer, scaler = nr.optim.SGD([p], lr=1.0), nr.amp.GradScaler("cpu")

    @nr.jit
    def unscaled(x):
        optimizer.zero_grad()
        scaler.scale((p * x).sum()).backward()
        scaler.unscale_(optimizer)

    for i, x in enumerate((1.0, float("inf"), 1.0)):
        unscaled(nr.full((2,), x))
        with pytest.raises(RuntimeError, match="already been called on this optimizer"):
            scaler.unscale_(optimizer)
        scaler.step(optimizer)
        with pytest.raises(RuntimeError, match="step\\(\\) has already been called"):
            scaler.step(optimizer)
        with pytest.raises(RuntimeError, match="after step"):
            scaler.unscale_(optimizer)
        scaler.update()
        assert scaler.get_scale() == (65536.0 if i == 0 else 32768.0)
    np.testing.assert_array_equal(p.detach().numpy(), -1)


def _both(check):
    """Run a check for PyTorch and for us."""
    for library in (torch, nr):
        p = library.nn.Parameter(library.ones(2))
        check(library, p, library.optim.SGD([p], lr=0.1), library.amp.GradScaler("cpu"))


def test_errors_are_those_of_pytorch():
    def check(library, p, optimizer, scaler):
        for method in (scaler.step, scaler.unscale_):
            with pytest.raises(AssertionError, match="_scale is None"):
                method(optimizer)
        with pytest.raises(AssertionError, match="_scale is None"):
            scaler.update()
        scaler.scale(library.ones(1))
        with pytest.raises(AssertionError, match="No inf checks were recorded for this optimizer"):
            scaler.step(optimizer)
        with pytest.raises(AssertionError, match="No inf checks were recorded prior to update"):
            scaler.update()
        scaler.update(3.0)
        with pytest.raises(RuntimeError, match="Closure use"):
            scaler.step(optimizer, closure=lambda: None)
        with pytest.raises(ValueError, match="outputs must be a Tensor"):
            scaler.scale(3)
        with pytest.raises(RuntimeError, match="state dict is empty"):
            scaler.load_state_dict({})
        with pytest.raises(AssertionError, match="1-element"):
            scaler.update(library.ones(2))
        with pytest.raises(AssertionError, match="growth factor"):
            library.amp.GradScaler("cpu", growth_factor=1.0)
        with pytest.raises(AssertionError, match="backoff factor"):
            library.amp.GradScaler("cpu", backoff_factor=1.0)
        half = library.nn.Parameter(library.ones(2, dtype=library.float16))
        scaler.scale(half.sum()).backward()
        with pytest.raises(ValueError, match="Attempting to unscale FP16 gradients"):
            scaler.unscale_(library.optim.SGD([half], lr=0.1))

    _both(check)


def test_state_is_exchanged_with_pytorch_and_survives_pickling():
    theirs = torch.amp.GradScaler("cpu", init_scale=8.0, growth_interval=5)
    p = torch.nn.Parameter(torch.ones(1))
    optimizer = torch.optim.SGD([p], lr=0.1)
    theirs.scale(p.sum()).backward()
    theirs.step(optimizer)
    theirs.update()
    ours = nr.amp.GradScaler("cpu")
    ours.load_state_dict(theirs.state_dict())
    assert ours.state_dict() == theirs.state_dict()
    theirs.load_state_dict(ours.state_dict())
    assert pickle.loads(pickle.dumps(ours)).state_dict() == ours.state_dict()
    assert copy.deepcopy(ours).state_dict() == ours.state_dict()
    assert [type(v) for v in ours.state_dict().values()] == [type(v) for v in theirs.state_dict().values()]


def test_setters_and_getters():
    scaler = nr.amp.GradScaler("cpu", init_scale=4.0)
    scaler.set_backoff_factor(0.25)
    scaler.set_growth_interval(7)
    scaler.set_growth_factor(3.0)
    assert (scaler.get_backoff_factor(), scaler.get_growth_interval(), scaler.get_growth_factor(), scaler.get_scale()) == (0.25, 7, 3.0, 4.0)
    scaled = scaler.scale([nr.ones(1), (nr.ones(2, dtype=nr.float16),)])
    assert isinstance(scaled, list) and isinstance(scaled[1], tuple)
    assert scaled[1][0].dtype == nr.float16 and scaled[1][0].tolist() == [4.0, 4.0]
    scaler.update(nr.tensor(16.0))
    assert scaler.get_scale() == 16.0


def test_several_optimizers_share_the_scale():
    found = []
    for library in (torch, nr):
        a, b = (library.nn.Parameter(library.ones(1)) for _ in range(2))
        optimizers = [library.optim.SGD([x], lr=0.25) for x in (a, b)]
        scaler = library.amp.GradScaler("cpu", init_scale=4.0, growth_interval=1)
        for factor in (1.0, float("inf"), 1.0):
            for optimizer in optimizers:
                optimizer.zero_grad()
            losses = scaler.scale([a.sum(), b.sum() * factor])
            for loss in losses:
                loss.backward()
            for optimizer in optimizers:
                scaler.step(optimizer)
            scaler.update()
            found.append((a.item(), b.item(), scaler.get_scale()))
    assert found[:3] == found[3:]


def test_disabled_it_does_nothing():
    with pytest.warns(UserWarning, match="CUDA is not available"):
        scaler = nr.amp.GradScaler()
    assert not scaler.is_enabled()
    assert scaler.get_scale() == 1.0
    assert scaler.state_dict() == {}
    p = nr.nn.Parameter(nr.ones(1))
    optimizer = nr.optim.SGD([p], lr=0.5)
    scaler.scale(p.sum()).backward()
    scaler.unscale_(optimizer)
    scaler.step(optimizer)
    scaler.update()
    assert p.item() == 0.5


def test_an_optimizer_may_unscale_by_itself():
    class Scaling(nr.optim.SGD):
        _step_supports_amp_scaling = True

        def step(self, closure=None):
            self.seen = (self.grad_scale.item(), self.found_inf.item())

    p = nr.nn.Parameter(nr.ones(1))
    optimizer, scaler = Scaling([p], lr=0.1), nr.amp.GradScaler("cpu", init_scale=4.0)
    scaler.scale(p.sum()).backward()
    scaler.step(optimizer)
    assert optimizer.seen == (4.0, 0.0)
    assert p.grad.item() == 4.0
    scaler.update()


def test_gradients_of_two_devices():
    a, b = nr.nn.Parameter(nr.ones(1, device="cpu:0")), nr.nn.Parameter(nr.ones(1, device="cpu:1"))
    optimizer, scaler = nr.optim.SGD([a, b], lr=0.5), nr.amp.GradScaler("cpu", init_scale=4.0)
    scaler.scale(a.sum()).backward()
    scaler.scale(b.sum()).backward()
    scaler.unscale_(optimizer)
    assert (a.grad.item(), b.grad.item()) == (1.0, 1.0)
