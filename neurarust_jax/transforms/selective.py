"""Selective checkpointing by PyTorch's interface: which operations' results `checkpoint` keeps, said by a list of functions of `nr` or by a policy."""

from __future__ import annotations

import contextlib
import enum
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
from jax.ad_checkpoint import checkpoint_name

from ..dispatch import OPS, Kernel, call, put_around
from ..errors import ArgumentError, ArgumentTypeError
from ..tensor import Tensor

__all__ = ["CheckpointPolicy", "SelectiveCheckpointContext", "create_selective_checkpoint_contexts"]

_KEPT = "kept by a selective checkpoint"
keep_marked = jax.checkpoint_policies.save_only_these_names(_KEPT)


class CheckpointPolicy(enum.Enum):
    """What a policy says of an operation: keep its result, or compute it again. `MUST` and `PREFER` are the same here; offloading keeps the result where it is."""

    MUST_SAVE = 0
    PREFER_SAVE = 1
    MUST_RECOMPUTE = 2
    PREFER_RECOMPUTE = 3
    MUST_CPU_OFFLOAD = 4
    PREFER_CPU_OFFLOAD = 5


_RECOMPUTED = (CheckpointPolicy.MUST_RECOMPUTE, CheckpointPolicy.PREFER_RECOMPUTE)


class SelectiveCheckpointContext:
    """What a policy gets first.

    Attributes:
        is_recompute: always false: a policy is asked once, when the function is traced.
    """

    def __init__(self, *, is_recompute: bool):
        self.is_recompute = is_recompute


class Selection(contextlib.nullcontext):
    """The first of the two contexts that `create_selective_checkpoint_contexts` makes: it only carries the policy to `checkpoint`."""

    def __init__(self, policy: Callable | tuple):
        super().__init__()
        self.policy = policy


def create_selective_checkpoint_contexts(policy_fn_or_list: Callable | Sequence[Callable], allow_cache_entry_mutation: bool = False) -> tuple[Any, Any]:
    """The contexts for ``checkpoint(..., context_fn=functools.partial(create_selective_checkpoint_contexts, policy))``, which say what is kept.

    Args:
        policy_fn_or_list: functions of `nr` (``nr.matmul``, ``F.linear``) whose results are kept; or a function of ``(context, function, *args, **kwargs)`` that gives a
            `CheckpointPolicy` for each operation.
        allow_cache_entry_mutation: accepted and without effect: a Tensor's value never changes.

    Raises:
        ValueError: the list holds what is no operation.
        TypeError: neither a function nor a list.

    Examples:
        >>> import functools
        >>> import neurarust_jax as nr
        >>> from neurarust_jax.utils.checkpoint import checkpoint, create_selective_checkpoint_contexts
        >>> keep_products = functools.partial(create_selective_checkpoint_contexts, [nr.matmul])
        >>> x = nr.ones(2, 2, requires_grad=True)
        >>> checkpoint(lambda x: nr.sigmoid(nr.matmul(x, x)), x, context_fn=keep_products).sum().backward()
        >>> x.grad.shape
        neurarust_jax.Size([2, 2])
    """
    if isinstance(policy_fn_or_list, list | tuple):
        known = _operations()
        for function in policy_fn_or_list:
            if function not in known:
                raise ArgumentError(f"Expected op in `op_list` to be an operation of nr, such as nr.matmul, but got: {function!r} of type {type(function).__name__}")
        return Selection(tuple(policy_fn_or_list)), contextlib.nullcontext()
    if not callable(policy_fn_or_list):
        raise ArgumentTypeError(f"policy_fn_or_list must be either a function or a list of ops, got {type(policy_fn_or_list).__name__}")
    return Selection(policy_fn_or_list), contextlib.nullcontext()


@functools.cache
def _operations() -> dict[Callable, str]:
    return {op.public: name for name, op in OPS.items()}


def selection_of(contexts: Any) -> Callable | tuple | None:
    """The policy in what a `context_fn` gave; `None` for two contexts that do nothing."""
    forward, recompute = contexts
    if isinstance(forward, Selection):
        return forward.policy
    if isinstance(forward, contextlib.nullcontext) and isinstance(recompute, contextlib.nullcontext):
        return None
    raise ArgumentError("checkpoint: context_fn gave contexts of its own, and no function runs a second time here; use create_selective_checkpoint_contexts, or policy=")


@contextlib.contextmanager
def marking(policy: Callable | tuple) -> Iterator[None]:
    """While the function is traced in the `with` block, the results that are to be kept get a name."""

    def around(run: Callable) -> Callable:
        def marked(kernel: Kernel, arguments: Sequence[Any]) -> Any:
            result = run(kernel, arguments)
            op = OPS.get(kernel.name)
            if op is None or not _keeps(policy, op.public, arguments, kernel.fixed):
                return result
            return jax.tree.map(lambda t: call(_MARK, (t,)) if isinstance(t, Tensor) else t, result, is_leaf=lambda t: isinstance(t, Tensor))

        return marked

    put_around("selective checkpoint", None, around)
    try:
        yield
    finally:
        put_around("selective checkpoint", None, None)


def _keeps(policy: Callable | tuple, function: Callable, arguments: Sequence[Any], fixed: dict[str, Any]) -> bool:
    if isinstance(policy, tuple):
        return function in policy
    said = policy(SelectiveCheckpointContext(is_recompute=False), function, *arguments, **fixed)
    if isinstance(said, bool):
        return said
    return said not in _RECOMPUTED


_MARK = Kernel("checkpoint_name", lambda x: checkpoint_name(x, _KEPT), linear=True)
