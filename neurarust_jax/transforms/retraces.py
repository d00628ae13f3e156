"""Why `nr.jit` traced a function anew: which argument, attribute, shape or setting had changed, from what to what, when, and at which call."""

from __future__ import annotations

import datetime
import itertools
import logging
from collections.abc import Iterator
from typing import Any, NamedTuple

from ..autograd.anomaly import user_frame
from ..parameter import CellTensor

logger = logging.getLogger("neurarust_jax.retraces")
log = False  # whether each is logged when it happens


class Trace(NamedTuple):
    """One time that the function's Python code ran to be compiled.

    Attributes:
        when: the time.
        place: file and line of the call.
        reasons: what had changed; of the first trace, that it was the first.
    """

    when: datetime.datetime
    place: str
    reasons: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.when:%H:%M:%S} {self.place}: " + "; ".join(self.reasons)


def note(owner: Any, reasons: list[str]) -> None:
    """Keep why a function is traced now, and log it if that is asked for."""
    frame = user_frame()
    owner.traces.append(Trace(datetime.datetime.now(), f"{frame.f_code.co_filename}:{frame.f_lineno}", tuple(reasons)))
    if log and len(owner.traces) > 1:
        logger.warning("%s is compiled again (%d times now): %s", owner.__name__, len(owner.traces), owner.traces[-1])


def explain(owner: Any) -> str:
    """All traces of a function under `nr.jit`, as text."""
    count = len(owner.traces)
    lines = [f"{owner.__name__} was traced {'once' if count == 1 else f'{count} times'}." if count else f"{owner.__name__} was not called yet."]
    return "\n".join([*lines, *(f"{number}. {trace}" for number, trace in enumerate(owner.traces, 1))])


# --- reasons ---------------------------------------------------------------------------------------------------------


def of_new_program(owner: Any, key: tuple[Any, ...], structure: Any, marks: list[Any]) -> list[str]:
    """Why none of the programs that there are fits a call."""
    if not owner.programs:
        return ["the first call"]
    if key in owner.programs:
        program = min(owner.programs[key], key=lambda p: sum(1 for _ in _of_changed_objects(owner, p)))
        return list(_of_changed_objects(owner, program)) or ["a module or an optimizer had changed meanwhile"]
    known = [(k, p[-1]) for k, p in owner.programs.items()]
    alike = [pair for pair in known if len(pair[0]) == len(key)] or known
    nearest, program = min(alike, key=lambda pair: differences(pair[0], key))
    return list(_of_key(owner, nearest, key, program, structure, marks))


def differences(key: tuple[Any, ...], other: tuple[Any, ...]) -> int:
    """In how many places two keys differ. A structure is compared with structures only: JAX's do not take anything else."""
    return sum(type(a) is not type(b) or a != b for a, b in zip(key, other, strict=False))


def _of_key(owner: Any, old: tuple[Any, ...], new: tuple[Any, ...], program: Any, structure: Any, marks: list[Any]) -> Iterator[str]:
    for name, a, b in zip(("jax_enable_x64", "the grad mode"), old, new, strict=False):
        if a != b:
            yield f"{name} was {a} and is {b}"
    if old[2] != new[2]:
        for (name, a), (_, b) in zip(_regime(old[2]), _regime(new[2]), strict=True):
            if a != b:
                yield f"{name} was {a} and is {b}"
    if old[3] != new[3]:
        yield f"settings of the whole program were {_settings(old[3])} and are {_settings(new[3])}"
    if differences(old[4:5], new[4:5]) or len(program.marks) != len(marks):
        yield f"the arguments have another structure: {_structure(program.structure, program.marks)} before, {_structure(structure, marks)} now"
        return
    for position, (a, b) in enumerate(zip(program.marks, marks, strict=True)):
        if a != b:
            yield f"argument {_argument(owner, structure, marks, position)} was {_marked(a)} and is {_marked(b)}"


def _regime(regime: Any) -> list[tuple[str, Any]]:
    pairs = () if regime is None else regime.autocast
    return [
        ("autocast", ", ".join(f"{dtype.name} on {device}" for device, dtype in pairs) or "off"),
        ("detect_anomaly", "off" if regime is None or regime.anomaly is None else "on"),
    ]


def _settings(fixed: tuple[Any, ...]) -> str:
    return ", ".join([f"default dtype {fixed[0].name}", *(f"{name} {value}" for name, value in fixed[1:])])


def _structure(structure: Any, marks: list[Any]) -> str:
    return f"{len(marks)} positional" if structure is None else str(structure).removeprefix("PyTreeDef(").removesuffix(")")


def _marked(mark: Any) -> str:
    """A mark of `jit._split` in words: a traced argument, or the value of a fixed one."""
    if isinstance(mark, str):
        return f"a {mark}"
    value = getattr(mark[1], "value", mark[1])
    text = repr(value)
    return text if len(text) < 80 else text[:77] + "..."


def _argument(owner: Any, structure: Any, marks: list[Any], position: int) -> str:
    from .jit import _join

    return repr(owner._argument_name(position, _join(structure, marks, itertools.repeat(0))))


def _of_changed_objects(owner: Any, program: Any) -> Iterator[str]:
    """What has changed of the modules, optimizers and cells that a program was traced for."""
    roots = [m for m, _ in program.modules]
    for found, before in program.modules:
        now = found._signature()
        if now == before:
            continue
        if hasattr(found, "named_modules"):
            yield from _of_module(_path(found, roots), before, now)
        elif isinstance(before, tuple) and isinstance(now, tuple):
            yield f"{type(found).__name__} was {before} and is {now}"
        else:
            yield f"{type(found).__name__} had made new places for its state"
    for cell, flag in program.flags:
        if (cell._node is not None) != flag:
            yield f"requires_grad of {cell_name(cell, roots)} was {flag} and is {not flag}"


def _of_module(path: str, before: Any, now: Any) -> Iterator[str]:
    old, new = dict(before[0]), dict(now[0])
    for name in {**old, **new}:
        if name not in old or name not in new:
            yield f"attribute {path}.{name} is {'new' if name in new else 'gone'}"
        elif old[name] != new[name]:
            yield f"attribute {path}.{name} was {_plain(old[name])} and is {_plain(new[name])}"
    old, new = dict(before[1]), dict(now[1])
    for name in {**old, **new}:
        if name not in old or name not in new or old[name] != new[name]:
            yield f"{path}.{name} is {'gone' if name not in new else 'new' if name not in old else 'another object'}"
    if before[2:] != now[2:]:
        yield f"hooks of {path} had changed"


def _plain(snapshot: Any) -> str:
    """The value of an attribute from the snapshot that `nn.attributes.fixed` made of it."""
    if isinstance(snapshot, tuple):
        kind, content = snapshot
        if kind is dict:
            return "{" + ", ".join(f"{key!r}: {_plain(value)}" for key, value in content) + "}"
        if isinstance(content, list):
            return f"{kind.__name__}({', '.join(map(_plain, content))})"
        return repr(content)
    text = repr(snapshot.value)
    return text if len(text) < 80 else f"a {type(snapshot.value).__name__}"


def _path(module: Any, among: list[Any]) -> str:
    """The name of a module: its path in the greatest module that holds it."""
    best = type(module).__name__
    for root in among:
        if hasattr(root, "named_modules") and root is not module:
            name = next((n for n, m in root.named_modules() if m is module), "")
            if name and name.count(".") + 1 >= best.count("."):
                best = f"{type(root).__name__}.{name}"
    return best


def cell_name(cell: Any, among: list[Any]) -> str:
    """The name of a parameter or buffer in the modules that a program depends on."""
    for root in among:
        if hasattr(root, "named_parameters"):
            for name, found in itertools.chain(root.named_parameters(), root.named_buffers()):
                if found is cell:
                    return f"{type(root).__name__}.{name}"
    return f"a {type(cell).__name__}"


# --- other shapes ----------------------------------------------------------------------------------------------------


def shapes_of(values: Any) -> list[Any]:
    """(shape, dtype) of each array."""
    return [None if v is None else (tuple(v.shape), str(v.dtype)) for v in values]


def of_other_shapes(program: Any, changing: Any, reading: Any, leaves: Any) -> list[str]:
    """Why JAX traces a program again: whose shapes and dtypes differ from those that it was traced for."""
    owner, now = program.owner, shapes_of((*changing, *reading, *leaves))
    before = min((s for s in program.shapes if len(s) == len(now)), key=lambda s: sum(a != b for a, b in zip(s, now, strict=True)), default=None)
    cells = [*program.changing, *program.reading]
    traced = [position for position, mark in enumerate(program.marks) if isinstance(mark, str)]
    reasons = []
    for index, (a, b) in enumerate(zip(before or now, now, strict=True)):
        if a == b:
            continue
        if index >= len(cells):
            name = "argument " + _argument(owner, program.structure, program.marks, traced[index - len(cells)])
        else:
            cell = cells[index]
            name = cell_name(cell, [m for m, _ in program.modules]) if isinstance(cell, CellTensor) else _gradient_name(program, cell)
        reasons.append(f"{name} was {_shaped(a)} and is {_shaped(b)}")
    return reasons or ["for its gradients, or for another setting of JAX"]


def _gradient_name(program: Any, leaf: Any) -> str:
    for cell in (*program.changing, *program.reading):
        if isinstance(cell, CellTensor) and cell.__dict__.get("_kept_leaf") is leaf:
            return f"the gradient of {cell_name(cell, [m for m, _ in program.modules])}"
    return f"a {type(leaf).__name__}"


def _shaped(shape_and_dtype: Any) -> str:
    return "empty" if shape_and_dtype is None else f"{shape_and_dtype[1]}{list(shape_and_dtype[0])}"
