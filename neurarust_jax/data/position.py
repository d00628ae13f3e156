"""Where a loader stands in its epoch, so that training can go on there in another process."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

import numpy as np

from ..errors import ArgumentTypeError
from ..generator import Generator, default_generator


class Position:
    """How far one pass over the data is, and what its order was made from.

    Args:
        loader: the `DataLoader`.
        resumed: what `state` returned, of the pass that this one continues.

    Attributes:
        yielded: how many batches were handed out.
        is_finished: whether the pass is over.
    """

    def __init__(self, loader: Any, resumed: Mapping[str, Any] | None = None):
        self.dataset, self.batch_size, self.is_stream = loader.dataset, loader.batch_size, loader._iterable
        self.order = loader.batch_sampler if loader._batched else loader.sampler
        self.samplers = [s for s in (loader.batch_sampler, getattr(loader.batch_sampler, "sampler", None), loader.sampler) if s is not None]
        chosen = next((s.generator for s in self.samplers if isinstance(getattr(s, "generator", None), Generator)), None)
        self.generator = chosen or (loader.generator if isinstance(loader.generator, Generator) else default_generator)
        self.stateful_sampler = next((s for s in self.samplers if hasattr(s, "state_dict") and hasattr(s, "load_state_dict")), None)
        self.begins: Any = None  # the generator's state before the order was drawn
        self.sampler_begins: Any = None
        self.yielded = 0
        self.is_finished = False
        self.resumed = None
        if resumed is not None and not resumed["_iterator_finished"] and resumed["_num_yielded"]:
            self.yielded, self.resumed = resumed["_num_yielded"], resumed

    def state(self) -> dict[str, Any]:
        """The position as plain data, under the names of torchdata's `StatefulDataLoader` where it has them."""
        state: dict[str, Any] = {"_num_yielded": self.yielded, "_iterator_finished": self.is_finished, "_order_state": self.begins}
        if self.sampler_begins is not None:
            state["_sampler_iter_state"] = self.sampler_begins
        if self.is_stream and hasattr(self.dataset, "state_dict"):
            state["_dataset_state"] = self.dataset.state_dict()
        if self.generator is not default_generator:
            state["_generator_state"] = words(self.generator)
        return state

    def batches(self, batches: Iterator[Any]) -> Iterator[Any]:
        """The batches, counted as they are handed out."""
        for batch in batches:
            self.yielded += 1
            yield batch
        self.is_finished = True

    def tasks(self) -> Iterator[Any]:
        """The sampler's indices, or lists of them. Of a pass that is continued, those that are left, drawn as they were then."""
        present = words(self.generator)
        if self.resumed is not None:
            self.generator.set_state(self.resumed["_order_state"])
        self.begins = words(self.generator)
        if self.stateful_sampler is not None:
            if self.resumed is not None:
                self.stateful_sampler.load_state_dict(self.resumed["_sampler_iter_state"])
            self.sampler_begins = self.stateful_sampler.state_dict()
        left = iter(self.order)
        if self.resumed is not None:
            next(islice(left, self.yielded, self.yielded), None)
            self.generator.set_state(present)
        yield from left

    def items(self) -> Iterator[Any]:
        """The items of a dataset that can only be iterated over; of a pass that is continued, those that are left."""
        if self.resumed is not None and "_dataset_state" in self.resumed:
            self.dataset.load_state_dict(self.resumed["_dataset_state"])
            return iter(self.dataset)
        items = iter(self.dataset)
        if self.resumed is not None:
            skipped = self.yielded * (self.batch_size or 1)
            next(islice(items, skipped, skipped), None)
        return items


def words(generator: Generator) -> np.ndarray:
    """A generator's state on the host."""
    return np.asarray(generator.get_state()._value)


def checked_state(state: Any) -> dict[str, Any]:
    """A loader's state dict, or an error that says what it should be."""
    is_one = isinstance(state, Mapping) and isinstance(state.get("_num_yielded"), int) and isinstance(state.get("_iterator_finished"), bool)
    if not is_one or (state["_num_yielded"] and "_order_state" not in state):
        raise ArgumentTypeError(f"a loader continues from what its state_dict() returned, got {type(state).__name__} {list(state) if isinstance(state, Mapping) else ''}")
    return dict(state)
