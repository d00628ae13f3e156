"""Schedules: PyTorch's very floats, its state dicts, warnings and errors."""

import math
import warnings

import pytest
import torch

import neurarust_jax as nr

NO_ORDER = pytest.mark.filterwarnings("ignore:Detected call of `lr_scheduler.step")


class Decay:
    """A function with a state of its own."""

    def __init__(self, factor):
        self.factor = factor

    def __call__(self, epoch):
        return self.factor**epoch


SCHEDULES = [
    ("LambdaLR", {"lr_lambda": lambda epoch: 0.95**epoch}),
    ("LambdaLR", {"lr_lambda": [Decay(0.9), lambda epoch: 1 / (1 + epoch)]}),
    ("MultiplicativeLR", {"lr_lambda": lambda epoch: 0.97 + 0.001 * (epoch % 3)}),
    ("StepLR", {"step_size": 7, "gamma": 0.7}),
    ("MultiStepLR", {"milestones": [3, 3, 20, 50], "gamma": 0.3}),
    ("ConstantLR", {}),
    ("ConstantLR", {"factor": 0.7, "total_iters": 20}),
    ("LinearLR", {}),
    ("LinearLR", {"start_factor": 0.2, "end_factor": 0.9, "total_iters": 33}),
    ("ExponentialLR", {"gamma": 0.93}),
    ("PolynomialLR", {"total_iters": 60, "power": 1.7}),
    ("CosineAnnealingLR", {"T_max": 17, "eta_min": 0.003}),
    ("CosineAnnealingLR", {"T_max": 100}),
    ("CosineAnnealingWarmRestarts", {"T_0": 9}),
    ("CosineAnnealingWarmRestarts", {"T_0": 7, "T_mult": 2, "eta_min": 0.01}),
    ("CyclicLR", {"base_lr": 0.01, "max_lr": [0.3, 0.2], "step_size_up": 7}),
    ("CyclicLR", {"base_lr": 0.01, "max_lr": 0.3, "step_size_up": 7, "step_size_down": 13, "mode": "triangular2"}),
    ("CyclicLR", {"base_lr": 0.01, "max_lr": 0.3, "step_size_up": 7, "mode": "exp_range", "gamma": 0.99}),
    ("CyclicLR", {"base_lr": 0.01, "max_lr": 0.3, "step_size_up": 7, "scale_fn": lambda x: 0.5 * (1 + math.sin(x)), "scale_mode": "iterations"}),
    ("CyclicLR", {"base_lr": 0.01, "max_lr": 0.3, "step_size_up": 7, "scale_fn": Decay(0.5), "cycle_momentum": False}),
    ("OneCycleLR", {"max_lr": 0.4, "total_steps": 100}),
    ("OneCycleLR", {"max_lr": [0.4, 0.1], "epochs": 10, "steps_per_epoch": 10, "anneal_strategy": "linear", "three_phase": True}),
    ("OneCycleLR", {"max_lr": 0.4, "total_steps": 100, "cycle_momentum": False, "pct_start": 0.5}),
    ("SWALR", {"swa_lr": 0.05}),
    ("SWALR", {"swa_lr": [0.05, 0.01], "anneal_epochs": 30, "anneal_strategy": "linear"}),
    ("SWALR", {"swa_lr": 0.05, "anneal_epochs": 0}),
]
IDS = [f"{name}-{number}" for number, (name, _) in enumerate(SCHEDULES)]
each_schedule = pytest.mark.parametrize(("name", "options"), SCHEDULES, ids=IDS)
LIBRARIES = pytest.mark.parametrize("library", [nr, torch], ids=["ours", "pytorch"])


def optimizer_of(library, name="SGD", lr=0.1, **options):
    first, second = (library.nn.Parameter(library.ones(1)) for _ in range(2))
    options = {"momentum": 0.9, **options} if name == "SGD" else options
    return getattr(library.optim, name)([{"params": [first]}, {"params": [second], "lr": 0.05}], lr=lr, **options)


def make(library, name, optimizer, options, **more):
    kind = getattr(library.optim.lr_scheduler, name, None) or getattr(library.optim.swa_utils, name)
    return kind(optimizer, **options, **more)


def rates(optimizer):
    """All that a schedule may move."""
    return [(float(g["lr"]), g.get("momentum"), g.get("betas")) for g in optimizer.param_groups]


def sequence(optimizer, scheduler, steps=100):
    found = []
    for _ in range(steps):
        optimizer.step()
        scheduler.step()
        found.append(rates(optimizer))
        assert [float(lr) for lr in scheduler.get_last_lr()] == [lr for lr, _, _ in found[-1]]
    return found


@each_schedule
@pytest.mark.parametrize("optimizer", ["SGD", "Adam"])
def test_a_hundred_steps_give_pytorchs_floats(name, options, optimizer):
    results = []
    for library in (nr, torch):
        o = optimizer_of(library, optimizer)
        scheduler = make(library, name, o, options)
        results.append((rates(o), sequence(o, scheduler), list(map(set, o.param_groups))))
    assert results[0] == results[1]


@each_schedule
def test_state_dicts_cross_in_both_directions(name, options):
    def begun(library):
        o = optimizer_of(library)
        scheduler = make(library, name, o, options)
        sequence(o, scheduler, 31)
        return o, scheduler

    def resumed(library, o, state_dict):
        """A new schedule that goes on from a state dict, on a new optimizer whose groups are as those of the old one."""
        fresh = optimizer_of(library)
        scheduler = make(library, name, fresh, options)
        for group, kept in zip(fresh.param_groups, o.param_groups, strict=True):
            for key, value in kept.items():
                if key != "params":
                    group[key] = value
        scheduler.load_state_dict(state_dict)
        return sequence(fresh, scheduler, 20)

    (mine, ours), (other, theirs) = begun(nr), begun(torch)
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    here, there = resumed(nr, mine, theirs.state_dict()), resumed(torch, other, ours.state_dict())
    assert here == there == sequence(other, theirs, 20)


@pytest.mark.parametrize(("name", "options"), [("StepLR", {"step_size": 7}), ("CosineAnnealingLR", {"T_max": 17}), ("OneCycleLR", {"max_lr": 0.4, "total_steps": 100})])
def test_a_learning_rate_that_is_a_tensor_stays_one(name, options):
    results = []
    for library in (nr, torch):
        o = optimizer_of(library, lr=library.tensor(0.1))
        scheduler = make(library, name, o, options)
        results.append(sequence(o, scheduler, 40))
        assert isinstance(scheduler.get_last_lr()[0], nr.Tensor if library is nr else torch.Tensor)
    assert results[0] == results[1]


@pytest.mark.parametrize(
    ("name", "options"), [s for s in SCHEDULES if s[0] in ("StepLR", "LinearLR", "CosineAnnealingLR", "ExponentialLR", "PolynomialLR", "CosineAnnealingWarmRestarts")]
)
def test_epochs_may_be_given_as_in_pytorch(name, options):
    results = []
    for library in (nr, torch):
        o = optimizer_of(library)
        scheduler = make(library, name, o, options)
        found = []
        for epoch in (1, 2, 9, 30, 31.5 if "Warm" in name else 31):
            o.step()
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "The epoch parameter")
                scheduler.step(epoch)
            found.append(rates(o))
        results.append(found)
    assert results[0] == results[1]


def test_schedules_can_be_resumed_by_the_last_epoch():
    for name, options in SCHEDULES:
        results = []
        for library in (nr, torch):
            o = optimizer_of(library)
            for group in o.param_groups:
                group.update(initial_lr=0.1, max_lr=0.4, min_lr=0.001, max_momentum=0.95, base_momentum=0.85)
            results.append(sequence(o, make(library, name, o, options, last_epoch=5), 10))
        assert results[0] == results[1], name


def sequential(library, o):
    m = library.optim.lr_scheduler
    parts = [m.LinearLR(o, start_factor=0.1, total_iters=10), m.CosineAnnealingLR(o, T_max=30), m.ExponentialLR(o, gamma=0.9)]
    return m.SequentialLR(o, parts, milestones=[10, 40])


def nested(library, o):
    m = library.optim.lr_scheduler
    inner = m.SequentialLR(o, [m.ConstantLR(o, factor=0.5, total_iters=4), m.StepLR(o, step_size=3)], milestones=[6])
    return m.SequentialLR(o, [inner, m.ExponentialLR(o, gamma=0.9)], milestones=[20])


def chained(library, o):
    m = library.optim.lr_scheduler
    return m.ChainedScheduler([m.ConstantLR(o, factor=0.1, total_iters=7), m.ExponentialLR(o, gamma=0.95)], optimizer=o)


@NO_ORDER
@pytest.mark.parametrize("build", [sequential, nested, chained])
def test_schedules_of_schedules_give_pytorchs_floats_and_state_dicts(build):
    results, built = [], []
    for library in (nr, torch):
        o = optimizer_of(library)
        scheduler = build(library, o)
        results.append((rates(o), sequence(o, scheduler, 50)))
        built.append(scheduler)
    assert results[0] == results[1]
    (mine, theirs), twin = (s.state_dict() for s in built), optimizer_of(nr)
    assert mine.keys() == theirs.keys() and [s.keys() for s in mine["_schedulers"]] == [s.keys() for s in theirs["_schedulers"]]
    other = build(nr, twin)
    for group, lr in zip(twin.param_groups, built[0].get_last_lr(), strict=True):
        group["lr"] = lr
    other.load_state_dict(theirs)
    assert sequence(twin, other, 10) == sequence(built[0].optimizer, built[0], 10)


@pytest.mark.parametrize(
    "options",
    [
        {}, {"mode": "max", "factor": 0.5, "patience": 2, "threshold_mode": "abs", "threshold": 0.01}, {"cooldown": 3, "patience": 1, "min_lr": [0.01, 0.002]},
        {"factor": 0.9, "patience": 0, "eps": 0.004, "threshold": 0.1}, {"mode": "max", "patience": 3},
    ],
)  # fmt: skip
def test_reduction_on_plateaus_is_pytorchs(options):
    results = []
    for library in (nr, torch):
        o = optimizer_of(library)
        scheduler = library.optim.lr_scheduler.ReduceLROnPlateau(o, **options)
        found = []
        for i in range(60):
            o.step()
            scheduler.step(library.tensor(math.cos(i * 0.3) / (1 + i)))
            found.append((rates(o), scheduler.get_last_lr(), scheduler.in_cooldown))
            if i == 30:
                state = scheduler.state_dict()
                fresh = optimizer_of(library)
                for group, kept in zip(fresh.param_groups, o.param_groups, strict=True):
                    group["lr"] = kept["lr"]
                o, scheduler = fresh, library.optim.lr_scheduler.ReduceLROnPlateau(fresh, **options)
                scheduler.load_state_dict(state)
        results.append((found, scheduler.state_dict()))
    assert results[0] == results[1]


@LIBRARIES
def test_wrong_orders_are_warned_of(library):
    schedulers = library.optim.lr_scheduler
    o = optimizer_of(library)
    scheduler = schedulers.ExponentialLR(o, gamma=0.9)
    with pytest.warns(UserWarning, match="Detected call of `lr_scheduler.step.* before `optimizer.step"):
        scheduler.step()
    o.step()
    with pytest.warns(UserWarning, match="please use `get_last_lr"):
        scheduler.get_lr()
    with pytest.warns(UserWarning, match="The epoch parameter in `scheduler.step.* was not necessary"):
        scheduler.step(4)
    o = optimizer_of(library)
    scheduler = schedulers.ExponentialLR(o, gamma=0.9)
    o.step = lambda: None
    with pytest.warns(UserWarning, match="has been overridden after learning rate scheduler initialization"):
        scheduler.step()
    o = optimizer_of(library)
    whole = o.step
    o.step = type(whole)(lambda self: whole(), o)  # before there was a schedule: that is well
    scheduler = schedulers.ExponentialLR(o, gamma=0.9)
    o.step()
    scheduler.step()


@LIBRARIES
@pytest.mark.parametrize(
    ("build", "kind", "text"),
    [
        (lambda m, o, _: m.StepLR(3, 1), TypeError, "int is not an Optimizer"),
        (lambda m, o, _: m.StepLR(o, 1, last_epoch=3), KeyError, "param 'initial_lr' is not specified in param_groups"),
        (lambda m, o, _: m.LambdaLR(o, [abs]), ValueError, "Expected 2 lr_lambdas, but got 1"),
        (lambda m, o, _: m.MultiplicativeLR(o, 3), TypeError, "lr_lambda should be a function, but got int"),
        (lambda m, o, _: m.ConstantLR(o, factor=2), ValueError, "expected to be between 0 and 1"),
        (lambda m, o, _: m.LinearLR(o, start_factor=0), ValueError, "Starting multiplicative factor expected"),
        (lambda m, o, _: m.LinearLR(o, end_factor=2), ValueError, "Ending multiplicative factor expected"),
        (lambda m, o, _: m.CosineAnnealingWarmRestarts(o, T_0=0), ValueError, "Expected positive integer T_0"),
        (lambda m, o, _: m.CosineAnnealingWarmRestarts(o, T_0=2, T_mult=0), ValueError, "Expected integer T_mult >= 1"),
        (lambda m, o, _: m.CosineAnnealingWarmRestarts(o, T_0=2).step(-1), ValueError, "Expected non-negative epoch"),
        (lambda m, o, _: m.CyclicLR(o, [0.1], 1.0), ValueError, "base_lr must have the same length as optimizer.param_groups"),
        (lambda m, o, _: m.CyclicLR(o, 0.1, 1.0, mode="up"), ValueError, "mode is invalid and scale_fn is None"),
        (lambda m, o, other: m.CyclicLR(other, 0.1, 1.0), ValueError, "optimizer must support momentum or beta1"),
        (lambda m, o, _: m.OneCycleLR(o, 1.0), ValueError, "You must define either total_steps"),
        (lambda m, o, _: m.OneCycleLR(o, 1.0, total_steps=0), ValueError, "Expected positive integer total_steps"),
        (lambda m, o, _: m.OneCycleLR(o, 1.0, epochs=0, steps_per_epoch=2), ValueError, "Expected positive integer epochs"),
        (lambda m, o, _: m.OneCycleLR(o, 1.0, total_steps=9, pct_start=2), ValueError, "between 0 and 1 pct_start"),
        (lambda m, o, _: m.OneCycleLR(o, 1.0, total_steps=9, anneal_strategy="no"), ValueError, "anneal_strategy must be one of"),
        (lambda m, o, _: sequence(o, m.OneCycleLR(o, 1.0, total_steps=5), 6), ValueError, "Tried to step 6 times"),
        (lambda m, o, _: m.ReduceLROnPlateau(o, factor=1.0), ValueError, "Factor should be < 1.0"),
        (lambda m, o, _: m.ReduceLROnPlateau(o, mode="least"), ValueError, "mode least is unknown!"),
        (lambda m, o, _: m.ReduceLROnPlateau(o, threshold_mode="no"), ValueError, "threshold mode no is unknown!"),
        (lambda m, o, _: m.ReduceLROnPlateau(o, min_lr=[0.1]), ValueError, "expected 2 min_lrs, got 1"),
        (lambda m, o, _: m.SequentialLR(o, [], []), ValueError, "at least one scheduler"),
        (lambda m, o, _: m.SequentialLR(o, [m.StepLR(o, 1)], [1]), ValueError, "number of milestones to be equal to 1"),
        (lambda m, o, other: m.SequentialLR(o, [m.StepLR(other, 1)], []), ValueError, "belong to the same optimizer"),
        (lambda m, o, _: m.ChainedScheduler([]), ValueError, "at least one scheduler to be chained"),
        (lambda m, o, _: m.ChainedScheduler([m.ReduceLROnPlateau(o)]), ValueError, "does not support `ReduceLROnPlateau`"),
        (lambda m, o, _: m.ChainedScheduler([1], o), TypeError, "should have `optimizer` as its attribute"),
    ],
)
@NO_ORDER
def test_bad_arguments_raise_pytorchs_errors(library, build, kind, text):
    with pytest.raises(kind, match=text):
        build(library.optim.lr_scheduler, optimizer_of(library), optimizer_of(library, "Rprop"))


def test_a_step_of_a_schedule_belongs_outside_compiled_functions():
    p = nr.nn.Parameter(nr.tensor([1.0]))
    optimizer = nr.optim.SGD([p], lr=1.0)
    scheduler = nr.optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.5)
    traced = []

    @nr.jit
    def train_step():
        traced.append(1)
        optimizer.zero_grad()
        p.sum().backward()
        optimizer.step()

    for _ in range(3):
        train_step()
        scheduler.step()
    assert p.item() == 1 - 1 - 0.5 - 0.25 and len(traced) == 1
    plateau = nr.optim.lr_scheduler.ReduceLROnPlateau(optimizer)
    for step in (scheduler.step, lambda: plateau.step(1.0)):
        with pytest.raises(RuntimeError, match="counts in Python"):
            nr.jit(step)()


def test_an_optax_optimizer_has_no_rate_to_schedule():
    import optax

    optimizer = nr.optim.Optax([nr.nn.Parameter(nr.ones(1))], optax.sgd(0.1))
    with pytest.raises(KeyError, match="an optax transformation takes a schedule of optax's"):
        nr.optim.lr_scheduler.StepLR(optimizer, 1)
