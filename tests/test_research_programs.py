"""Programs as one finds them in research code, from one source for PyTorch and for neurarust_jax: they give the same numbers."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

import neurarust_jax as nr

# PyTorch's own forward mode scripts a helper, which warns
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:DeprecationWarning")


class Library(SimpleNamespace):
    """One of the two libraries, with models whose weights are equal in both."""

    def __init__(self, m):
        super().__init__(m=m, nn=m.nn, F=m.nn.functional, func=m.func, optim=m.optim, swa=m.optim.swa_utils)

    def data(self, *shape, seed=0, dtype=np.float32):
        return self.m.tensor(np.random.default_rng(seed).standard_normal(shape).astype(dtype))

    def mlp(self, *widths, seed=0, dtype=np.float32):
        layers = []
        for a, b in zip(widths, widths[1:], strict=False):
            layers += [self.nn.Linear(a, b), self.nn.Tanh()]
        model = self.nn.Sequential(*layers[:-1])
        state = {k: self.data(*v.shape, seed=seed + i, dtype=dtype) * 0.5 for i, (k, v) in enumerate(model.state_dict().items())}
        model = model.double() if dtype is np.float64 else model
        model.load_state_dict(state)
        return model


def maml(lib):
    """Two inner steps, an outer Adam step, three times."""
    model = lib.mlp(1, 8, 1)
    optimizer = lib.optim.Adam(model.parameters(), lr=1e-2)
    found = []
    for episode in range(3):
        optimizer.zero_grad()
        outer = 0.0
        for task in range(2):
            x, y = lib.data(6, 1, seed=10 * episode + task), lib.data(6, 1, seed=100 + task)
            params = dict(model.named_parameters())
            for _ in range(2):
                loss = lambda p: lib.F.mse_loss(lib.func.functional_call(model, p, (x,)), y)  # noqa: E731, B023
                gradients = lib.func.grad(loss)(params)
                params = {k: p - 0.1 * gradients[k] for k, p in params.items()}
            outer = outer + lib.F.mse_loss(lib.func.functional_call(model, params, (x + 0.1,)), y)
        outer.backward()
        optimizer.step()
        found.append(outer.detach())
    return [*found, *[p.detach() for p in model.parameters()]]


def maml_on_the_tape(lib):
    """The inner step by autograd.grad(create_graph=True)."""
    model = lib.mlp(2, 6, 1)
    x, y = lib.data(5, 2), lib.data(5, 1, seed=1)
    names = [k for k, _ in model.named_parameters()]
    params = list(model.parameters())
    for _ in range(2):
        loss = lib.F.mse_loss(lib.func.functional_call(model, dict(zip(names, params, strict=True)), (x,)), y)
        gradients = lib.m.autograd.grad(loss, params, create_graph=True)
        params = [p - 0.2 * g for p, g in zip(params, gradients, strict=True)]
    lib.F.mse_loss(lib.func.functional_call(model, dict(zip(names, params, strict=True)), (x,)), y).backward()
    return [p.grad for p in model.parameters()]


def wgan_gp(lib):
    critic, generator = lib.mlp(3, 8, 1), lib.mlp(2, 8, 3, seed=20)
    of_critic, of_generator = lib.optim.Adam(critic.parameters(), lr=1e-2, betas=(0.5, 0.9)), lib.optim.RMSprop(generator.parameters(), lr=1e-3)
    losses = []
    for i in range(3):
        real, z, mix = lib.data(6, 3, seed=i), lib.data(6, 2, seed=50 + i), lib.data(6, 1, seed=80 + i).sigmoid()
        fake = generator(z).detach()
        between = (mix * real + (1 - mix) * fake).requires_grad_(True)
        score = critic(between)
        (gradient,) = lib.m.autograd.grad(outputs=score, inputs=between, grad_outputs=lib.m.ones_like(score), create_graph=True, retain_graph=True)
        penalty = ((gradient.view(gradient.size(0), -1).norm(2, dim=1) - 1) ** 2).mean()
        by_func = lib.func.vmap(lib.func.grad(lambda x: critic(x).sum()))(between.detach())
        same = ((by_func.norm(2, dim=1) - 1) ** 2).mean()
        loss = critic(fake).mean() - critic(real).mean() + 5 * penalty + 5 * same
        of_critic.zero_grad()
        loss.backward()
        of_critic.step()
        of_generator.zero_grad()
        (-critic(generator(z)).mean()).backward()
        of_generator.step()
        losses.append(loss.detach())
    return [*losses, *[p.detach() for p in (*critic.parameters(), *generator.parameters())]]


def neural_ode(lib):
    """Runge-Kutta steps through a field, trained by SGD."""
    field = lib.mlp(2, 10, 2)
    optimizer = lib.optim.SGD(field.parameters(), lr=0.05, momentum=0.9)
    target = lib.data(4, 2, seed=5)

    def step(x, dt):
        k1 = field(x)
        k2 = field(x + dt / 2 * k1)
        k3 = field(x + dt / 2 * k2)
        k4 = field(x + dt * k3)
        return x + dt / 6 * (k1 + 2 * k2 + 2 * k3 + k4)

    losses = []
    for _ in range(3):
        x = lib.data(4, 2)
        if lib.m is nr:
            x, _ = nr.scan(lambda x, _: (step(x, 0.1), None), x, length=5)
        else:
            for _ in range(5):
                x = step(x, 0.1)
        loss = ((x - target) ** 2).mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        lib.nn.utils.clip_grad_norm_(field.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.detach())
    return losses


def pinn_by_func(lib):
    """u'' + u = 0 with u by a network: second derivatives by nested func.grad under vmap."""
    net = lib.mlp(1, 10, 1, dtype=np.float64)
    optimizer = lib.optim.Adam(net.parameters(), lr=1e-2)
    t = lib.m.linspace(0, 1, 7, dtype=lib.m.float64)
    u = lambda t: net(t.reshape(1, 1)).squeeze()  # noqa: E731
    losses = []
    for _ in range(3):
        second = lib.func.vmap(lib.func.grad(lib.func.grad(u)))(t)
        values = lib.func.vmap(u)(t)
        start = (u(t[0]) - 1) ** 2 + lib.func.grad(u)(t[0]) ** 2
        loss = ((second + values) ** 2).mean() + start
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    return [*losses, *[p.detach() for p in net.parameters()]]


def pinn_on_the_tape(lib):
    """The heat equation by autograd.grad(create_graph=True)."""
    net = lib.mlp(2, 10, 1, dtype=np.float64)
    optimizer = lib.optim.LBFGS(net.parameters(), lr=0.5, max_iter=4, line_search_fn="strong_wolfe")
    points = lib.data(8, 2, dtype=np.float64)
    losses = []

    def closure():
        optimizer.zero_grad()
        x, t = (points[:, i : i + 1].clone().requires_grad_(True) for i in (0, 1))
        u = net(lib.m.cat([x, t], dim=1))
        u_x, u_t = lib.m.autograd.grad(u.sum(), (x, t), create_graph=True)
        (u_xx,) = lib.m.autograd.grad(u_x, x, grad_outputs=lib.m.ones_like(u_x), create_graph=True)
        loss = ((u_t - u_xx) ** 2).mean() + ((u - x.sin()) ** 2).mean()
        loss.backward()
        losses.append(loss.detach())
        return loss

    for _ in range(2):
        optimizer.step(closure)
    return [losses[0], losses[-1]]


def per_sample_gradients(lib):
    """Differentially private SGD: clipped gradients of each example."""
    model = lib.mlp(4, 6, 3)
    x, y = lib.data(5, 4), lib.m.tensor([0, 1, 2, 1, 0])
    params = {k: v.detach() for k, v in model.named_parameters()}
    buffers = {k: v.detach() for k, v in model.named_buffers()}

    def loss(params, buffers, sample, target):
        return lib.F.cross_entropy(lib.func.functional_call(model, (params, buffers), (sample.unsqueeze(0),)), target.unsqueeze(0))

    gradients = lib.func.vmap(lib.func.grad(loss), in_dims=(None, None, 0, 0))(params, buffers, x, y)
    norms = lib.m.stack([g.reshape(5, -1).norm(dim=1) for g in gradients.values()], dim=1).norm(dim=1)
    factor = (1.0 / (norms + 1e-6)).clamp(max=1.0)
    return [norms, *[lib.m.einsum("i,i...", factor, g) for g in gradients.values()]]


def ensemble(lib):
    """Five members trained together; each with its own data, then all with the same."""
    models = [lib.mlp(3, 5, 2, seed=10 * i) for i in range(5)]
    params, buffers = lib.func.stack_module_state(models)
    base = models[0]
    optimizer = lib.optim.SGD(list(params.values()), lr=0.1)
    x, y = lib.data(5, 7, 3), lib.data(5, 7, 2, seed=1)

    def call(params, buffers, x):
        return lib.func.functional_call(base, (params, buffers), (x,))

    losses = []
    for _ in range(3):
        loss = ((lib.func.vmap(call)(params, buffers, x) - y) ** 2).mean(dim=(1, 2)).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    return [*losses, lib.func.vmap(call, in_dims=(0, 0, None))(params, buffers, x[0]).detach()]


def hessian_vector_products(lib):
    """By forward over reverse, reverse over reverse, and double backward; and power iteration for the highest eigenvalue."""
    model = lib.mlp(3, 4, 1)
    x, y = lib.data(6, 3), lib.data(6, 1, seed=1)
    params = {k: v.detach() for k, v in model.named_parameters()}
    v = {k: lib.data(*p.shape, seed=7) for k, p in params.items()}
    f = lambda p: ((lib.func.functional_call(model, p, (x,)) - y) ** 2).mean()  # noqa: E731
    _, forward = lib.func.jvp(lib.func.grad(f), (params,), (v,))
    _, pull = lib.func.vjp(lib.func.grad(f), params)
    (reverse,) = pull(v)
    live = list(model.parameters())
    gradients = lib.m.autograd.grad(lib.F.mse_loss(model(x), y), live, create_graph=True)
    twice = lib.m.autograd.grad(sum((g * v[k]).sum() for g, k in zip(gradients, v, strict=True)), live)
    for _ in range(4):
        norm = sum((t**2).sum() for t in v.values()).sqrt()
        v = {k: t / norm for k, t in v.items()}
        _, v = lib.func.jvp(lib.func.grad(f), (params,), (v,))
    return [*forward.values(), *reverse.values(), *twice, sum((t**2).sum() for t in v.values()).sqrt()]


def neural_tangent_kernel(lib):
    """By contracting Jacobians, and by products with them."""
    model = lib.mlp(3, 6, 2)
    params = {k: v.detach() for k, v in model.named_parameters()}
    a, b = lib.data(4, 3), lib.data(5, 3, seed=1)

    def single(params, x):
        return lib.func.functional_call(model, params, (x.unsqueeze(0),)).squeeze(0)

    ja, jb = ([j.flatten(2) for j in lib.func.vmap(lib.func.jacrev(single), (None, 0))(params, x).values()] for x in (a, b))
    contracted = sum(lib.m.einsum("Naf,Mbf->NMab", s, t) for s, t in zip(ja, jb, strict=True))

    def kernel(x, z):
        def product(v):
            _, pull = lib.func.vjp(lambda p: single(p, z), params)
            return lib.func.jvp(lambda p: single(p, x), (params,), (pull(v)[0],))[1]

        return lib.func.vmap(product)(lib.m.eye(2))

    products = lib.func.vmap(lib.func.vmap(kernel, (None, 0)), (0, None))(a, b)
    return [contracted, products]


def ema_teacher(lib):
    """Self-distillation: the teacher is an exponential moving average with its own BatchNorm statistics."""
    student = lib.nn.Sequential(lib.mlp(3, 6, 4), lib.nn.BatchNorm1d(4), lib.nn.Linear(4, 2))
    state = {k: (lib.data(*v.shape, seed=i) * 0.3 if v.is_floating_point() else v) for i, (k, v) in enumerate(student.state_dict().items()) if "running" not in k and "num" not in k}
    student.load_state_dict(state, strict=False)
    teacher = lib.swa.AveragedModel(student, multi_avg_fn=lib.swa.get_ema_multi_avg_fn(0.9), use_buffers=True)
    optimizer = lib.optim.SGD(student.parameters(), lr=0.1, momentum=0.9, nesterov=True)
    scheduler = lib.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=4)
    losses = []
    for i in range(4):
        x = lib.data(8, 3, seed=i)
        with lib.m.no_grad():
            soft = teacher(x).softmax(-1)
        loss = lib.F.kl_div(student(x).log_softmax(-1), soft, reduction="batchmean") + 0.1 * student(x).pow(2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()
        teacher.update_parameters(student)
        losses.append(loss.detach())
    return [*losses, *[p.detach() for p in teacher.module.parameters()], teacher.module[1].running_mean]


def lbfgs_fit(lib):
    """Logistic regression by LBFGS with a closure, then its Laplace approximation by func.hessian."""
    x, y = lib.data(20, 3, dtype=np.float64), (lib.data(20, seed=1, dtype=np.float64) > 0).double()
    w = lib.nn.Parameter(lib.m.zeros(3, dtype=lib.m.float64))
    loss_of = lambda w: lib.F.binary_cross_entropy_with_logits(x @ w, y) + 0.05 * (w**2).sum()  # noqa: E731
    optimizer = lib.optim.LBFGS([w], lr=1, max_iter=20, tolerance_grad=1e-10, line_search_fn="strong_wolfe")

    def closure():
        optimizer.zero_grad()
        loss = loss_of(w)
        loss.backward()
        return loss

    optimizer.step(closure)
    return [w.detach(), lib.m.linalg.inv(lib.func.hessian(loss_of)(w.detach()))]


def implicit_differentiation(lib):
    """A deep equilibrium layer: the fixed point without a graph, its gradient by the implicit function theorem in a hook."""
    layer = lib.mlp(4, 4, dtype=np.float64)
    x = lib.data(3, 4, dtype=np.float64).requires_grad_(True)
    f = lambda z: (0.4 * layer(z) + x).tanh()  # noqa: E731
    with lib.m.no_grad():
        z = lib.m.zeros(3, 4, dtype=lib.m.float64)
        for _ in range(60):
            z = f(z)
    again = z.detach().requires_grad_()
    one = f(again)
    z = f(z)

    def solve(gradient):
        v = gradient
        for _ in range(60):
            v = lib.m.autograd.grad(one, again, v, retain_graph=True)[0] + gradient
        return v

    z.register_hook(solve)
    (z**2).sum().backward()
    return [x.grad, *[p.grad for p in layer.parameters()]]


PROGRAMS = [maml, wgan_gp, pinn_by_func, per_sample_gradients, ensemble]
FURTHER = [maml_on_the_tape, neural_ode, pinn_on_the_tape, hessian_vector_products, neural_tangent_kernel, ema_teacher, lbfgs_fit, implicit_differentiation]


@pytest.mark.parametrize("program", [*PROGRAMS, *[pytest.param(p, marks=pytest.mark.exhaustive) for p in FURTHER]], ids=lambda p: p.__name__)
def test_as_in_pytorch(program):
    ours, theirs = program(Library(nr)), program(Library(torch))
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs, strict=True):
        assert tuple(a.shape) == tuple(b.shape) and str(a.dtype).split(".")[-1] == str(b.dtype).split(".")[-1]
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-3, atol=1e-5)
