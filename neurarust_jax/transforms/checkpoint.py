"""Rematerialization: what a function computes on the way is computed again in the backward pass, rather than kept until then."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
from jax.ad_checkpoint import checkpoint_name as jax_checkpoint_name

from ..dispatch import Kernel, call
from ..errors import ArgumentError, ArgumentTypeError
from ..tensor import Tensor, wrap
from .closure import Closure, Inputs, eagerly, is_traced, run, write
from .jit import _join, _split_in_order
from .selective import keep_marked, marking, selection_of

__all__ = ["checkpoint", "checkpoint_name", "checkpoint_sequential", "noop_context_fn", "remat"]


def noop_context_fn() -> tuple[Any, Any]:
    """PyTorch's default for `context_fn`: two contexts that do nothing."""
    return contextlib.nullcontext(), contextlib.nullcontext()


def checkpoint(
    function: Callable, *args: Any, policy: Any = None, use_reentrant: bool | None = None, preserve_rng_state: bool = True, context_fn: Callable = noop_context_fn,
    determinism_check: str = "default", debug: bool = False, early_stop: bool = True, **kwargs: Any,
) -> Any:  # fmt: skip
    """Call a function, and compute it again in the backward pass: only its inputs are kept in between.

    Random numbers are the same both times, and what the function writes to cells (running statistics, say) is written once.

    Args:
        function: a function or a module.
        *args, **kwargs: its arguments.
        policy: which values to keep all the same: the name of one of `jax.checkpoint_policies` (``"dots_saveable"``, ``"dots_with_no_batch_dims_saveable"``, ...), such a policy, or
            a list of names that `checkpoint_name` gave to values. Default: none.
        use_reentrant, preserve_rng_state, determinism_check, debug, early_stop: accepted and without effect: randomness is always preserved.
        context_fn: PyTorch's way to say what is kept: ``functools.partial(create_selective_checkpoint_contexts, [nr.matmul])``, see there.

    Returns:
        What the function returns.

    Examples:
        >>> import neurarust_jax as nr
        >>> block = nr.nn.Sequential(nr.nn.Linear(4, 64), nr.nn.GELU(), nr.nn.Linear(64, 4))
        >>> nr.checkpoint(block, nr.ones(2, 4)).sum().backward()
        >>> block[0].weight.grad.shape
        neurarust_jax.Size([64, 4])
    """
    if not callable(function):
        raise ArgumentTypeError(f"checkpoint takes a function or a Module, got {type(function).__name__}")
    selection = None if context_fn is noop_context_fn else selection_of(context_fn())
    if selection is not None and policy is not None:
        raise ArgumentError("checkpoint: got policy and context_fn, which both say what is kept; give one of them")
    fixed, operands = (_policy(policy), selection), (args, kwargs)
    if is_traced((function,), operands):
        return _checkpointed((function,), fixed, operands)
    return eagerly(_checkpointed, (function,), fixed, operands)


def remat(function: Callable | None = None, *, policy: Any = None) -> Any:
    """The function whose calls are under `checkpoint`: JAX's way to write it, also as a decorator.

    Args:
        function: a function or a module.
        policy: which values to keep all the same, as in `checkpoint`.

    Examples:
        >>> import neurarust_jax as nr
        >>> @nr.remat
        ... def f(x):
        ...     return x.sin().sin()
        >>> nr.grad(f)(nr.tensor(0.0))
        tensor(1.)
    """
    if function is None:
        return functools.partial(remat, policy=policy)

    @functools.wraps(function, updated=())
    def rematerialized(*args: Any, **kwargs: Any) -> Any:
        return checkpoint(function, *args, policy=policy, **kwargs)

    return rematerialized


def _policy(policy: Any) -> Any:
    if policy is None or (callable(policy) and not isinstance(policy, str)):
        return policy
    if isinstance(policy, str):
        found = getattr(jax.checkpoint_policies, policy, None)
        if found is None or policy.startswith("_"):
            known = ", ".join(n for n in dir(jax.checkpoint_policies) if not n.startswith("_"))
            raise ArgumentError(f"checkpoint: there is no policy {policy!r}; the names are {known}")
        return found
    return _saving(tuple(policy))


@functools.cache
def _saving(names: tuple[str, ...]) -> Any:
    return jax.checkpoint_policies.save_only_these_names(*names)


def _checkpointed(functions: Sequence[Callable], fixed: tuple, operands: tuple[tuple, dict[str, Any]]) -> Any:
    (function,), (policy, selection), (args, kwargs) = functions, fixed, operands
    structure, marks, leaves = _split_in_order(args, kwargs)

    def of_leaves(*inside: Any) -> Any:
        args, kwargs = _join(structure, marks, inside)
        return function(*args, **kwargs)

    with contextlib.nullcontext() if selection is None else marking(selection):
        closure = Closure("checkpoint", of_leaves, leaves, [function, args, kwargs])
    policy = policy if selection is None else keep_marked
    written = [c for c, aval in closure.writes.items() if aval is not None]
    inputs = Inputs(list(closure.reads), closure.captured, leaves)

    def pure(*values: Any) -> tuple:
        outputs, new = closure(*inputs.split(values))
        return *outputs, *(new[c] for c in written)

    flags, of_cells = closure.flags()
    results = run("checkpoint", jax.checkpoint(pure, policy=policy), inputs, [*flags, *(of_cells[c] for c in written)])
    write(written, results[len(flags) :])
    emptied = [c for c, aval in closure.writes.items() if aval is None]
    write(emptied, [None] * len(emptied))
    return closure.outputs.unpack(results[: len(flags)])


def checkpoint_sequential(functions: Any, segments: int, input: Any, use_reentrant: bool | None = None, **kwargs: Any) -> Any:
    """Run a sequence of functions in segments, each but the last under `checkpoint`.

    Args:
        functions: a `Sequential`, or functions to call one after the other.
        segments: into how many to divide them.
        input: the argument of the first.
        use_reentrant: accepted and without effect.
        **kwargs: `preserve_rng_state`, or options of `checkpoint` such as `policy`.

    Returns:
        What the last function returns.
    """
    preserve = kwargs.pop("preserve_rng_state", True)
    unexpected = set(kwargs) - {"policy", "context_fn", "determinism_check", "debug", "early_stop"}
    if unexpected:
        raise ArgumentError(f"Unexpected keyword arguments: {','.join(sorted(unexpected))}")
    parts = list(functions.children()) if hasattr(functions, "children") else list(functions)
    size = len(parts) // segments

    def segment(start: int, end: int) -> Callable:
        def forward(x: Any) -> Any:
            for part in parts[start:end]:
                x = part(x)
            return x

        return forward

    end = 0
    for start in range(0, size * (segments - 1), size) if size else ():
        end = start + size
        input = checkpoint(segment(start, end), input, preserve_rng_state=preserve, **kwargs)
    return segment(end, len(parts))(input)


def checkpoint_name(x: Any, name: str) -> Any:
    """The value itself, under a name by which a `policy` of `checkpoint` can keep it.

    Args:
        x: a tensor or array.
        name: the name.
    """
    return call(_named(name), (x,)) if isinstance(x, Tensor) else call(_named(name), (wrap(x),))._value


@functools.cache
def _named(name: str) -> Kernel:
    return Kernel("checkpoint_name", lambda x: jax_checkpoint_name(x, name), linear=True)
