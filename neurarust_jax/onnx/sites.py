"""The user's own code, as opposed to that of this package, of JAX and of other libraries: which way it goes, and where in it an error arose."""

from __future__ import annotations

import contextlib
import os
import sys
import sysconfig
import traceback
from collections.abc import Iterator
from types import FrameType
from typing import Any, NamedTuple

import jax

_PACKAGE = os.path.dirname(os.path.dirname(__file__))
_LIBRARIES = tuple(
    folder + os.sep for folder in (_PACKAGE, os.path.dirname(str(jax.__file__)), *(sysconfig.get_path(p) for p in ("stdlib", "purelib", "platlib")))
)


class Site(NamedTuple):
    """A place in the user's code: the file, the line, and which instruction of it."""

    file: str
    line: int
    instruction: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


def _is_users(file: str) -> bool:
    return not file.startswith(("<", *_LIBRARIES))


@contextlib.contextmanager
def following(way: list[Site]) -> Iterator[None]:
    """Note every instruction of the user's code that runs in the block; nothing if a debugger follows it already."""

    def entered(frame: FrameType, event: str, argument: Any) -> Any:
        if not _is_users(frame.f_code.co_filename):
            return None
        frame.f_trace_opcodes = True
        return step

    def step(frame: FrameType, event: str, argument: Any) -> Any:
        if event in ("line", "opcode"):
            way.append(Site(frame.f_code.co_filename, frame.f_lineno, frame.f_lasti))
        return step

    previous = sys.gettrace()
    if previous is not None:
        yield
        return
    sys.settrace(entered)
    try:
        yield
    finally:
        sys.settrace(None)


def site_of_error(error: Exception) -> Site | None:
    """Where the user's code asked JAX for what it refused; `None` if this package asked."""
    frames = [(frame, line) for frame, line in traceback.walk_tb(error.__traceback__) if not frame.f_code.co_filename.startswith(_LIBRARIES[1])]
    if not frames or not _is_users(frames[-1][0].f_code.co_filename):
        return None
    frame, line = frames[-1]
    return Site(frame.f_code.co_filename, line, frame.f_lasti)
