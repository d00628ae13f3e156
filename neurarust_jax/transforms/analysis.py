"""What can be asked of a function under `nr.jit`: its program as text, what it costs, and why it was traced."""

from __future__ import annotations

from typing import Any

import jax

from .. import dtypes
from ..errors import ArgumentError
from ..tensor import Tensor


class Analyzed:
    """The part of a compiled function that looks at its programs. Each method takes arguments as a call does, and runs nothing; without any it takes the program traced last."""

    programs: dict[Any, list[Any]]

    def lower(self, *arguments: Any, **named: Any) -> jax.stages.Lowered:
        """The program for these arguments before XLA compiles it, as `jax.jit(f).lower` gives it: ``.as_text()`` is StableHLO, ``.compile()`` goes on.

        Raises:
            ValueError: no arguments are given, and the function was not called yet.
        """
        if arguments or named:
            program, leaves = self._looked_up(arguments, named)  # type: ignore[attr-defined]
            inputs = [*(_array(c._state) for c in (*program.changing, *program.reading)), *map(_array, leaves)]
        else:
            traced = [p for programs in self.programs.values() for p in programs]
            if not traced:
                raise ArgumentError(f"{self!r} was not called yet, and has no program: give the arguments of a call")
            program = traced[-1]
            if not program.shapes:
                raise ArgumentError(f"{self!r} did not finish its call: give the arguments of a call")
            inputs = [None if s is None else jax.ShapeDtypeStruct(*s) for s in program.shapes[-1]]
        changing, cells = len(program.changing), len(program.changing) + len(program.reading)
        with dtypes.x64():
            return program.compiled.lower(inputs[:changing], inputs[changing:cells], inputs[cells:])

    def _executable(self, arguments: tuple, named: dict[str, Any]) -> jax.stages.Compiled:
        with dtypes.x64():
            return self.lower(*arguments, **named).compile()

    def hlo(self, *arguments: Any, **named: Any) -> str:
        """The compiled program as text: XLA's HLO after optimization. The paths of modules are in its `op_name`s."""
        return self._executable(arguments, named).as_text() or ""

    def cost_analysis(self, *arguments: Any, **named: Any) -> dict[str, float]:
        """XLA's estimate of what a call costs: ``"flops"``, ``"bytes accessed"`` and others.

        Examples:
            >>> import neurarust_jax as nr
            >>> product = nr.jit(lambda x: x @ x)
            >>> product.cost_analysis(nr.ones(8, 8))["flops"]
            1024.0
        """
        found: Any = self._executable(arguments, named).cost_analysis()
        return dict(found[0] if isinstance(found, list) else found or {})

    def memory_analysis(self, *arguments: Any, **named: Any) -> Any:
        """The memory of a call in bytes: `argument_size_in_bytes`, `output_size_in_bytes`, `alias_size_in_bytes` (of donated inputs), `temp_size_in_bytes` and others."""
        return self._executable(arguments, named).memory_analysis()

    def peak_memory(self, *arguments: Any, **named: Any) -> int:
        """Bytes that a call needs: inputs, outputs and temporaries, what is donated counted once."""
        found = self.memory_analysis(*arguments, **named)
        return found.argument_size_in_bytes + found.output_size_in_bytes + found.temp_size_in_bytes - found.alias_size_in_bytes


def _array(value: Any) -> Any:
    return value._value if isinstance(value, Tensor) else value
