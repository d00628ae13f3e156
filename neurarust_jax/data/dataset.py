"""Datasets: a length and items by index."""

from __future__ import annotations

import bisect
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Generic, TypeVar

import numpy as np

from ..errors import ArgumentError
from ..generator import Generator
from ..tensor import Tensor
from .sampler import permutation

__all__ = ["ChainDataset", "ConcatDataset", "Dataset", "IterableDataset", "StackDataset", "Subset", "TensorDataset", "random_split"]

T = TypeVar("T")


class Dataset(Generic[T]):
    """Base class of datasets: define `__getitem__` and `__len__`.

    A dataset that can give many items at once, already collated, also defines ``fetch_batch(indices)``; the loader then calls that.
    """

    def __getitem__(self, index: Any) -> T:
        raise NotImplementedError("Subclasses of Dataset should implement __getitem__.")

    def __add__(self, other: Dataset[T]) -> ConcatDataset:
        return ConcatDataset([self, other])


class IterableDataset(Dataset[T]):
    """Base class of datasets that only know how to iterate: define `__iter__`."""

    def __iter__(self) -> Iterator[T]:
        raise NotImplementedError("Subclasses of IterableDataset should implement __iter__.")


class TensorDataset(Dataset[tuple[Tensor, ...]]):
    """Tensors of the same first size; an item is a tuple with one row of each.

    Args:
        *tensors: the tensors.

    Examples:
        >>> import neurarust_jax as nr
        >>> dataset = nr.utils.data.TensorDataset(nr.arange(4), nr.zeros(4, 2))
        >>> dataset[1]
        (tensor(1), tensor([0., 0.]))
    """

    def __init__(self, *tensors: Tensor):
        if len({t.shape[0] for t in tensors}) > 1:
            raise ArgumentError(f"Size mismatch between tensors: their first dimensions are {[t.shape[0] for t in tensors]}")
        self.tensors = tensors

    def __getitem__(self, index: Any) -> tuple[Tensor, ...]:
        return tuple(t[index] for t in self.tensors)

    def fetch_batch(self, indices: Sequence[int]) -> list[Tensor]:
        """The rows of a whole batch, one tensor for each."""
        chosen = np.asarray(indices, np.int64)
        return [t[chosen] for t in self.tensors]

    def __len__(self) -> int:
        return self.tensors[0].shape[0]


class StackDataset(Dataset[Any]):
    """Datasets of one length side by side: an item is a tuple, or a dict, of one item of each."""

    def __init__(self, *args: Dataset, **kwargs: Dataset):
        if bool(args) == bool(kwargs):
            raise ArgumentError("StackDataset takes either positional or keyword datasets")
        self.datasets: Any = args or kwargs
        lengths = {len(d) for d in (args or kwargs.values())}  # type: ignore[arg-type]
        if len(lengths) > 1:
            raise ArgumentError(f"Size mismatch between datasets: {sorted(lengths)}")
        self._length = lengths.pop()

    def __getitem__(self, index: Any) -> Any:
        if isinstance(self.datasets, dict):
            return {name: d[index] for name, d in self.datasets.items()}
        return tuple(d[index] for d in self.datasets)

    def __len__(self) -> int:
        return self._length


class Subset(Dataset[T]):
    """The items of a dataset at some indices.

    Args:
        dataset: the whole.
        indices: which items.
    """

    def __init__(self, dataset: Dataset[T], indices: Sequence[int]):
        self.dataset = dataset
        self.indices = indices
        if hasattr(dataset, "fetch_batch"):
            self.fetch_batch = lambda chosen: dataset.fetch_batch([self.indices[i] for i in chosen])  # type: ignore[attr-defined]

    def __getitem__(self, index: Any) -> T:
        return self.dataset[self.indices[index]]

    def __len__(self) -> int:
        return len(self.indices)


class ConcatDataset(Dataset[T]):
    """Datasets one after the other."""

    def __init__(self, datasets: Iterable[Dataset[T]]):
        self.datasets = list(datasets)
        if not self.datasets:
            raise ArgumentError("datasets should not be an empty iterable")
        self.cumulative_sizes = np.cumsum([len(d) for d in self.datasets]).tolist()  # type: ignore[arg-type]

    def __getitem__(self, index: int) -> T:
        if not -len(self) <= index < len(self):
            raise IndexError(f"index {index} is out of range for a dataset of length {len(self)}")
        index %= len(self)
        which = bisect.bisect_right(self.cumulative_sizes, index)
        return self.datasets[which][index - (self.cumulative_sizes[which - 1] if which else 0)]

    def __len__(self) -> int:
        return self.cumulative_sizes[-1]


class ChainDataset(IterableDataset[T]):
    """Iterable datasets one after the other."""

    def __init__(self, datasets: Iterable[Dataset[T]]):
        self.datasets = datasets

    def __iter__(self) -> Iterator[T]:
        for dataset in self.datasets:
            yield from dataset  # type: ignore[misc]


def random_split(dataset: Dataset[T], lengths: Sequence[float], generator: Generator | None = None) -> list[Subset[T]]:
    """Disjoint random subsets.

    Args:
        dataset: the whole.
        lengths: their lengths, or fractions that sum to 1 (what is left over by rounding goes to the first ones).
        generator: the source of randomness.

    Raises:
        ValueError: the lengths do not add up.
    """
    total = len(dataset)  # type: ignore[arg-type]
    sizes = list(lengths)
    if math.isclose(sum(sizes), 1) and sum(sizes) <= 1 + 1e-9 and any(isinstance(s, float) for s in sizes):
        sizes = [math.floor(total * fraction) for fraction in lengths]
        for i in range(total - sum(sizes)):
            sizes[i % len(sizes)] += 1
    if sum(sizes) != total:
        raise ArgumentError(f"Sum of input lengths does not equal the length of the input dataset: {list(lengths)} for {total} items")
    order = permutation(total, generator).tolist()
    ends = np.cumsum(sizes).tolist()
    return [Subset(dataset, order[end - int(size) : end]) for end, size in zip(ends, sizes, strict=True)]
