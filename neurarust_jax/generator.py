"""`Generator`: a cell that holds the state of a random number generator."""

from __future__ import annotations

import secrets
from typing import Any

import numpy as np

from .cells import Cell
from .errors import ArgumentTypeError
from .tensor import Tensor, wrap


class Generator(Cell):
    """A source of random numbers.

    Its state is three 32-bit words: a Threefry key made from the seed, and a counter that every draw folds into the key and then
    advances. Inside `nr.jit` the state is lifted like that of any cell, so every call of a compiled function draws anew.

    Args:
        device: accepted for PyTorch's sake; the numbers are made where they are used.

    Examples:
        >>> import neurarust_jax as nr
        >>> g = nr.Generator().manual_seed(0)
        >>> bool((nr.rand(3, generator=g) == nr.rand(3, generator=g)).all())
        False
    """

    def __init__(self, device: Any = "cpu"):
        self.device = device
        self._seed = 0
        self._state = _state_of(0)

    def manual_seed(self, seed: int) -> Generator:
        """Start again from `seed`, an int of up to 64 bits (negative ones wrap around)."""
        if not isinstance(seed, int | np.integer):
            raise ArgumentTypeError(f"manual_seed takes an int, got {seed!r}")
        self._seed = int(seed)
        self._write(_state_of(self._seed))
        return self

    def seed(self) -> int:
        """Start again from a random seed, and return it."""
        self.manual_seed(secrets.randbits(63))
        return self._seed

    def initial_seed(self) -> int:
        """The seed that the generator was last started from."""
        return self._seed

    def get_state(self) -> Tensor:
        """The state, a tensor of three 32-bit words."""
        return wrap(self._read())

    def set_state(self, state: Any) -> None:
        """Continue from a state that `get_state` returned."""
        words = np.asarray(state._value if isinstance(state, Tensor) else state)
        if words.shape != (3,):
            raise ArgumentTypeError(f"a generator's state has shape (3,), got {words.shape}; pass what get_state() returned")
        self._write(words.astype(np.uint32))

    def clone_state(self) -> Generator:
        """A second generator in the same state."""
        twin = Generator(self.device)
        twin._seed, twin._state = self._seed, self._read()
        return twin

    def __reduce__(self) -> Any:
        return _rebuild, (self._seed, np.asarray(self._read()))


def _state_of(seed: int) -> np.ndarray:
    seed &= 0xFFFF_FFFF_FFFF_FFFF
    return np.array([seed >> 32, seed & 0xFFFF_FFFF, 0], np.uint32)


def _rebuild(seed: int, words: np.ndarray) -> Generator:
    generator = Generator()
    generator._seed, generator._state = seed, words
    return generator


default_generator = Generator()


def manual_seed(seed: int) -> Generator:
    """Start the default generator again from `seed`, and return it."""
    return default_generator.manual_seed(seed)


def seed() -> int:
    """Start the default generator from a random seed, and return that."""
    return default_generator.seed()


def initial_seed() -> int:
    """The seed that the default generator was last started from."""
    return default_generator.initial_seed()


def get_rng_state() -> Tensor:
    """The default generator's state."""
    return default_generator.get_state()


def set_rng_state(state: Any) -> None:
    """Continue the default generator from a state that `get_rng_state` returned."""
    default_generator.set_state(state)
