"""Many samples of an operator in one compiled program, so that all samples of the database can be compared in minutes.

What fails here, be it only because an operator does not run under a transformation, is compared again singly and eagerly, and that comparison decides.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
import torch

import neurarust_jax as nr
from tests.oracle import assert_same

from .database import Entry, compare_gradients, compare_output, convert, leaves, over_ours, processes, replaced, tolerance, without_layout

AT_ONCE = 32


def suspects(entry: Entry, compare: Callable, samples: list[Any], dtype: torch.dtype) -> Iterator[Any]:
    """Those samples whose outputs, or for `compare_gradients` gradients, are not shown to be right by programs of many samples each."""
    prepare = _with_gradients if compare is compare_gradients else _with_outputs
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for start in range(0, len(samples), AT_ONCE):
            part = samples[start : start + AT_ONCE]
            right = _right(entry, prepare, part, dtype)
            yield from (sample for position, sample in enumerate(part) if position not in right)


def _right(entry: Entry, prepare: Callable, samples: list[Any], dtype: torch.dtype) -> set[int]:
    """The positions of those samples that a program of all of them computes as PyTorch does."""
    prepared = {position: _attempt(prepare, entry, without_layout(sample), dtype) for position, sample in enumerate(samples)}
    prepared = {position: made for position, made in prepared.items() if made is not None}

    def call(given: dict[int, list[Any]]) -> dict[int, Any]:
        outputs = {position: _attempt(prepared[position][0], values) for position, values in given.items()}
        return {position: output for position, output in outputs.items() if output is not None}

    try:
        with jax.enable_x64(True):
            found = jax.jit(call)({position: [x.detach() for x in places] for position, (_, places, _) in prepared.items()})
    except Exception:
        return set()
    return {position for position, output in found.items() if _attempt(prepared[position][2], output)}


def _attempt(f: Callable, *arguments: Any) -> Any:
    """What `f` returns, `None` if it raises."""
    try:
        return f(*arguments)
    except Exception:
        return None


def _theirs(entry: Entry, sample: Any) -> Any:
    """PyTorch's output, made unique as the sample says."""
    output = entry.theirs(sample.input, *sample.args, **sample.kwargs)
    return sample.output_process_fn_grad(output) if processes(sample) else output


def _ours(entry: Entry, sample: Any, arguments: list[Any]) -> Any:
    """Our output for [input, args, kwargs], made unique as the sample says."""
    input, args, kwargs = arguments
    output = entry.ours(input, *args, **kwargs)
    return over_ours(sample.output_process_fn_grad)(output) if processes(sample) else output


def _with_outputs(entry: Entry, sample: Any, dtype: torch.dtype) -> tuple[Callable, list[Any], Callable]:
    """(the outputs as a function of the sample's tensors, these, the comparison of the outputs)."""
    theirs = _theirs(entry, sample)
    assert all(isinstance(x, torch.Tensor) for x in (theirs if isinstance(theirs, list | tuple) else [theirs]))
    arguments = convert([sample.input, sample.args, sample.kwargs])
    places = leaves(arguments)

    def run(values: list[Any]) -> Any:
        return _ours(entry, sample, replaced(arguments, {id(old): new for old, new in zip(places, values, strict=True)}))

    def agree(ours: Any) -> bool:
        compare_output(entry, sample, ours, theirs, dtype)
        return True

    return run, places, agree


def _with_gradients(entry: Entry, sample: Any, dtype: torch.dtype) -> tuple[Callable, list[Any], Callable]:
    """(the gradients as a function of the sample's tensors, these, the comparison of the gradients)."""
    theirs_in = [x for x in leaves([sample.input, sample.args, sample.kwargs]) if x.requires_grad]
    arguments = convert([sample.input, sample.args, sample.kwargs])
    places = leaves(arguments)
    theirs = leaves(_theirs(entry, sample))
    chosen = [position for position, t in enumerate(theirs) if t.requires_grad]
    generator = np.random.default_rng(0)
    cotangents = []
    for t in (theirs[position] for position in chosen):
        values = generator.standard_normal(tuple(t.shape))
        cotangents.append(torch.tensor(values + 1j * generator.standard_normal(tuple(t.shape)) if t.is_complex() else values).to(t.dtype))
    expected = torch.autograd.grad([theirs[position] for position in chosen], theirs_in, cotangents, allow_unused=True) if chosen else []
    expected = [torch.zeros(g.shape, dtype=g.dtype) if g is not None and g._is_zerotensor() else g for g in expected]
    cotangents = [convert(c) for c in cotangents]

    def run(values: list[Any]) -> Any:
        values = [x.detach().requires_grad_(old.requires_grad) for old, x in zip(places, values, strict=True)]
        outputs = leaves(_ours(entry, sample, replaced(arguments, {id(old): new for old, new in zip(places, values, strict=True)})))
        assert len(outputs) == len(theirs) and all(outputs[position].requires_grad for position in chosen)
        if not chosen:
            return []
        return list(nr.autograd.grad([outputs[p] for p in chosen], [x for x in values if x.requires_grad], cotangents, allow_unused=True))

    def agree(ours: Any) -> bool:
        for got, wanted in zip(ours, expected, strict=True):
            if got is None or wanted is None:
                other = wanted if got is None else got
                assert other is None or not np.asarray(other.detach()).any()
            else:
                assert_same(got, wanted, *tolerance(entry, dtype))
        return True

    return run, places, agree
