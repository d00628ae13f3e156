"""Timing two programs in turns, so that whatever else the machine does falls on both."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import jax


def _block(x: Any) -> None:
    jax.block_until_ready(jax.tree.map(lambda t: getattr(t, "_value", t), x, is_leaf=lambda t: hasattr(t, "_value")))


def seconds_per_call(function: Callable[[], Any], calls: int) -> float:
    """The mean over `calls` calls, waiting for the last result."""
    start = time.perf_counter()
    result = None
    for _ in range(calls):
        result = function()
    _block(result)
    return (time.perf_counter() - start) / calls


def compare(functions: dict[str, Callable[[], Any]], rounds: int = 15, seconds: float = 0.1) -> dict[str, float]:
    """The least seconds per call of each function, over rounds in which they take turns.

    The least of many rounds is what the program takes when nothing disturbs it.
    """
    calls = {}
    for name, function in functions.items():
        for _ in range(3):
            _block(function())
        calls[name] = max(1, int(seconds / rounds * 3 / max(seconds_per_call(function, 2), 1e-7)))
    best = dict.fromkeys(functions, float("inf"))
    for _ in range(rounds):
        for name, function in functions.items():
            best[name] = min(best[name], seconds_per_call(function, calls[name]))
    return best


def geometric_mean(values: list[float]) -> float:
    """The geometric mean."""
    product = 1.0
    for value in values:
        product *= value
    return product ** (1 / len(values))
