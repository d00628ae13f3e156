"""`DataLoader`: batches of a dataset."""

from __future__ import annotations

import collections
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np

from ..errors import ArgumentError, ArgumentTypeError
from ..generator import Generator, initial_seed
from ..ops.joining import stack
from ..tensor import Tensor, array_from, wrap
from .dataset import IterableDataset
from .position import Position, checked_state
from .sampler import BatchSampler, RandomSampler, SequentialSampler

__all__ = ["DataLoader", "default_collate", "default_convert", "get_worker_info"]

T = TypeVar("T")


class WorkerInfo(NamedTuple):
    """What a thread that prepares batches knows of itself.

    Attributes:
        id: its number, from 0.
        num_workers: how many there are.
        seed: a number of its own to start random generators from: that of the default generator, and its own number on top.
        dataset: the loader's.
    """

    id: int
    num_workers: int
    seed: int
    dataset: Any


class _Thread(threading.local):
    info: WorkerInfo | None = None


_thread = _Thread()


def get_worker_info() -> WorkerInfo | None:
    """Of a thread that prepares batches for a `DataLoader`, which one it is; `None` elsewhere. An iterable dataset is read by the main thread alone."""
    return _thread.info


def default_convert(data: Any) -> Any:
    """NumPy arrays as tensors, inside containers too; anything else as it is."""
    if isinstance(data, np.ndarray | np.generic) and np.asarray(data).dtype.kind not in "USO":
        return wrap(array_from(data))
    if isinstance(data, Mapping):
        return {key: default_convert(value) for key, value in data.items()}
    if isinstance(data, tuple) and hasattr(data, "_fields"):
        return type(data)(*map(default_convert, data))
    if isinstance(data, list | tuple):
        return [default_convert(element) for element in data]
    return data


def default_collate(batch: Sequence[Any]) -> Any:
    """A list of items as one batch: tensors and arrays stacked, numbers as a tensor, containers element by element, strings as a list.

    Args:
        batch: the items, all of one structure.

    Raises:
        TypeError: the items are of a type that cannot be batched.
    """
    first = batch[0]
    if isinstance(first, Tensor):
        return stack(list(batch))
    if isinstance(first, np.ndarray | np.generic) and np.asarray(first).dtype.kind not in "USO":
        return wrap(array_from(np.stack([np.asarray(x) for x in batch])))
    if isinstance(first, bool | int):
        return wrap(array_from(list(batch)))
    if isinstance(first, float):
        return wrap(array_from(np.asarray(batch, np.float64)))
    if isinstance(first, str | bytes):
        return list(batch)
    if isinstance(first, Mapping):
        return {key: default_collate([item[key] for item in batch]) for key in first}
    if isinstance(first, tuple | list):
        if any(len(item) != len(first) for item in batch):
            raise ArgumentError("each element in list of batch should be of equal size")
        columns = [default_collate(column) for column in zip(*batch, strict=True)]
        return type(first)(*columns) if hasattr(first, "_fields") else columns
    raise ArgumentTypeError(f"default_collate: batch must contain tensors, numpy arrays, numbers, dicts or lists; found {type(first).__name__}; pass collate_fn=")


class DataLoader(Generic[T]):
    """Batches of a dataset, in order or shuffled.

    A dataset that defines ``fetch_batch(indices)``, as `TensorDataset` does, gives a whole batch at once, unless `collate_fn` is given.

    `state_dict` says how far the loader is, and after `load_state_dict`, in another process too, it goes on there with the same batches, as torchdata's
    `StatefulDataLoader` does.

    Args:
        dataset: a `Dataset`, or any object with `__getitem__` and `__len__`; or an `IterableDataset`.
        batch_size: items a batch; `None` for the items themselves. Default: 1.
        shuffle: whether to draw a new order for every epoch. Default: `False`.
        sampler: gives the order instead.
        batch_sampler: gives lists of indices instead.
        num_workers: threads that prepare batches ahead. Default: 0.
        collate_fn: makes a batch of a list of items. Default: `default_collate`.
        drop_last: leave out a last batch that is not full. Default: `False`.
        generator: the source of the order.
        worker_init_fn: called in every worker with its number.
        prefetch_factor: batches that each worker prepares ahead. Default: 2.
        pin_memory, timeout, multiprocessing_context, persistent_workers, pin_memory_device, in_order: accepted and without effect.

    Raises:
        ValueError: options exclude each other.

    Examples:
        >>> import neurarust_jax as nr
        >>> dataset = nr.utils.data.TensorDataset(nr.arange(5))
        >>> [batch for batch, in nr.utils.data.DataLoader(dataset, batch_size=2)]
        [tensor([0, 1]), tensor([2, 3]), tensor([4])]
    """

    def __init__(
        self, dataset: Any, batch_size: int | None = 1, shuffle: bool | None = None, sampler: Any = None, batch_sampler: Any = None,
        num_workers: int = 0, collate_fn: Callable[[list[Any]], Any] | None = None, pin_memory: bool = False, drop_last: bool = False,
        timeout: float = 0, worker_init_fn: Callable[[int], None] | None = None, multiprocessing_context: Any = None,
        generator: Generator | None = None, *, prefetch_factor: int | None = None, persistent_workers: bool = False, pin_memory_device: str = "",
        in_order: bool = True,
    ):  # fmt: skip
        if num_workers < 0:
            raise ArgumentError("num_workers option should be non-negative; use num_workers=0 to disable multiprocessing.")
        if num_workers == 0 and prefetch_factor is not None:
            raise ArgumentError("prefetch_factor option could only be specified with num_workers > 0")
        self.dataset = dataset
        self.num_workers = num_workers
        self.prefetch_factor = prefetch_factor or 2
        self.worker_init_fn = worker_init_fn
        self.generator = generator
        self.drop_last = drop_last
        self._iterable = isinstance(dataset, IterableDataset)
        if self._iterable and (shuffle or sampler is not None or batch_sampler is not None):
            raise ArgumentError("DataLoader with IterableDataset: expected unspecified shuffle, sampler and batch_sampler")
        if sampler is not None and shuffle:
            raise ArgumentError("sampler option is mutually exclusive with shuffle")
        if batch_sampler is not None:
            if batch_size != 1 or shuffle or sampler is not None or drop_last:
                raise ArgumentError("batch_sampler option is mutually exclusive with batch_size, shuffle, sampler, and drop_last")
            batch_size = None
        elif batch_size is None and drop_last:
            raise ArgumentError("batch_size=None option disables auto-batching and is mutually exclusive with drop_last")
        if not self._iterable:
            if sampler is None:
                sampler = RandomSampler(dataset, generator=generator) if shuffle else SequentialSampler(dataset)
            if batch_size is not None and batch_sampler is None:
                batch_sampler = BatchSampler(sampler, batch_size, drop_last)
        self.batch_size = batch_size
        self.sampler: Any = sampler
        self.batch_sampler: Any = batch_sampler
        self._batched = batch_sampler is not None or (self._iterable and batch_size is not None)
        self._fetches_batches = collate_fn is None and self._batched and hasattr(dataset, "fetch_batch")
        self.collate_fn = collate_fn or (default_collate if self._batched else default_convert)
        self._position: Position | None = None
        self._resumed: dict[str, Any] | None = None

    def __iter__(self) -> Iterator[Any]:
        position = self._position = Position(self, self._resumed)
        self._resumed = None
        if self._iterable:
            return position.batches(self._iterate_stream(position))
        tasks = position.tasks()
        return position.batches(self._in_threads(tasks) if self.num_workers else map(self._fetch, tasks))

    def state_dict(self) -> dict[str, Any]:
        """How far the loader is in the pass that was begun last, and what its order was drawn from.

        The generator of the order belongs to it if it is the loader's own; the default one is saved by itself. A sampler of another source of randomness, and
        an `IterableDataset`, can define `state_dict` and `load_state_dict` too. An iterable dataset without them is read and skipped to the place.
        """
        if self._resumed is not None:
            return dict(self._resumed)
        return (self._position or Position(self)).state()

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on, at the next iteration, where the loader was when `state_dict` was called.

        Args:
            state_dict: what that returned.

        Raises:
            TypeError: it is something else.
        """
        state = checked_state(state_dict)
        if "_generator_state" in state:
            Position(self).generator.set_state(state["_generator_state"])
        self._position, self._resumed = None, state

    def _fetch(self, task: Any) -> Any:
        """The batch of a list of indices, or the item of one."""
        if self._fetches_batches:
            return self.dataset.fetch_batch(task)
        if not self._batched:
            return self.collate_fn(self.dataset[task])
        if hasattr(self.dataset, "__getitems__"):
            return self.collate_fn(self.dataset.__getitems__(task))
        return self.collate_fn([self.dataset[i] for i in task])

    def _iterate_stream(self, position: Position) -> Iterator[Any]:
        items = position.items()
        if not self._batched:
            yield from map(self.collate_fn, items)
            return
        while batch := list(islice(items, self.batch_size)):
            if self.drop_last and len(batch) < (self.batch_size or 0):
                return
            yield self.collate_fn(batch)

    def _in_threads(self, tasks: Iterator[Any]) -> Iterator[Any]:
        """Batches in order, prepared ahead by threads. (Processes would not do: JAX must not be forked.)"""
        numbers, seed = iter(range(self.num_workers)), initial_seed()

        def begin() -> None:
            number = next(numbers)
            _thread.info = WorkerInfo(number, self.num_workers, seed + number, self.dataset)
            if self.worker_init_fn:
                self.worker_init_fn(number)

        with ThreadPoolExecutor(self.num_workers, initializer=begin) as pool:
            waiting: collections.deque[Any] = collections.deque()
            try:
                for task in tasks:
                    waiting.append(pool.submit(self._fetch, task))
                    if len(waiting) > self.num_workers * self.prefetch_factor:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                for future in waiting:
                    future.cancel()

    def __len__(self) -> int:
        if self._iterable:
            count = len(self.dataset)
            if not self._batched or self.batch_size is None:
                return count
            return count // self.batch_size if self.drop_last else -(-count // self.batch_size)
        return len(self.batch_sampler if self._batched else self.sampler)
