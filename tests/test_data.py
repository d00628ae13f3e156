"""Datasets, samplers and loaders."""

import numpy as np
import pytest
import torch

import neurarust_jax as nr
from neurarust_jax.utils import data


class Squares(data.Dataset):
    def __len__(self):
        return 7

    def __getitem__(self, i):
        if i >= 7:
            raise IndexError
        return {"x": np.float32(i), "pair": (i, [float(i)]), "name": str(i)}


def test_loader_batches_in_order():
    dataset = data.TensorDataset(nr.arange(7), nr.arange(14).reshape(7, 2))
    batches = list(data.DataLoader(dataset, 3))
    assert [b[0].tolist() for b in batches] == [[0, 1, 2], [3, 4, 5], [6]]
    assert batches[2][1].tolist() == [[12, 13]]
    loader = data.DataLoader(dataset, 3, drop_last=True)
    assert len(loader) == 2 and len(list(loader)) == 2 and len(data.DataLoader(dataset, 3)) == 3


def test_shuffling_follows_the_generator_and_changes_every_epoch():
    dataset = data.TensorDataset(nr.arange(50))

    def epochs(loader, n=2):
        return [[i for (b,) in loader for i in b.tolist()] for _ in range(n)]

    a = epochs(data.DataLoader(dataset, 8, shuffle=True, generator=nr.Generator().manual_seed(3)))
    b = epochs(data.DataLoader(dataset, 8, shuffle=True, generator=nr.Generator().manual_seed(3)))
    assert a == b and a[0] != a[1] and sorted(a[0]) == list(range(50))
    nr.manual_seed(1)
    c = epochs(data.DataLoader(dataset, 8, shuffle=True), 1)
    nr.manual_seed(1)
    assert c == epochs(data.DataLoader(dataset, 8, shuffle=True), 1)


def test_collation_is_pytorchs():
    ours = next(iter(data.DataLoader(Squares(), 3)))
    theirs = next(iter(torch.utils.data.DataLoader(Squares(), 3)))
    assert ours["name"] == theirs["name"]
    for a, b in ((ours["x"], theirs["x"]), (ours["pair"][0], theirs["pair"][0]), (ours["pair"][1][0], theirs["pair"][1][0])):
        assert a.tolist() == b.tolist() and f"torch.{a.dtype.name}" == str(b.dtype)
    single = list(data.DataLoader(Squares(), None))
    assert len(single) == 7 and single[2]["name"] == "2"
    assert next(iter(data.DataLoader(Squares(), 2, collate_fn=len))) == 2
    with pytest.raises(TypeError, match="collate_fn="):
        data.default_collate([object()])


@pytest.mark.parametrize("workers", [1, 3])
def test_threads_prepare_the_same_batches(workers):
    started = []
    loader = data.DataLoader(Squares(), 2, num_workers=workers, worker_init_fn=started.append)
    assert [b["name"] for b in loader] == [b["name"] for b in data.DataLoader(Squares(), 2)]
    assert started


def test_a_worker_knows_which_one_it_is():
    seen = []
    squares = Squares()
    nr.manual_seed(7)
    list(data.DataLoader(squares, 2, num_workers=2, worker_init_fn=lambda number: seen.append((number, data.get_worker_info()))))
    assert seen and all(info == (number, 2, 7 + number, squares) for number, info in seen)
    assert data.get_worker_info() is None


def test_an_error_in_a_worker_is_raised():
    class Bad(Squares):
        def __getitem__(self, i):
            raise KeyError("lost")

    with pytest.raises(KeyError, match="lost"):
        list(data.DataLoader(Bad(), 2, num_workers=2))


def test_iterable_datasets():
    class Stream(data.IterableDataset):
        def __iter__(self):
            return iter(range(5))

    assert [b.tolist() for b in data.DataLoader(Stream(), 2)] == [[0, 1], [2, 3], [4]]
    assert [b.tolist() for b in data.DataLoader(Stream(), 2, drop_last=True)] == [[0, 1], [2, 3]]
    with pytest.raises(ValueError, match="IterableDataset"):
        data.DataLoader(Stream(), shuffle=True)
    assert list(data.ChainDataset([Stream(), Stream()])) == [0, 1, 2, 3, 4] * 2


def test_subsets_splits_and_joins():
    dataset = data.TensorDataset(nr.arange(10))
    a, b, c = data.random_split(dataset, [5, 3, 2], nr.Generator().manual_seed(0))
    assert sorted([*a.indices, *b.indices, *c.indices]) == list(range(10))
    assert [len(s) for s in data.random_split(dataset, [0.5, 0.25, 0.25])] == [6, 2, 2]
    assert next(iter(data.DataLoader(data.Subset(dataset, [7, 1]), 2)))[0].tolist() == [7, 1]
    joined = data.ConcatDataset([dataset, data.TensorDataset(nr.arange(3) + 100)])
    assert len(joined) == 13 and joined[11][0].item() == 101 and joined[-1][0].item() == 102 and len(dataset + dataset) == 20
    assert data.StackDataset(a=Squares(), b=range(7))[3]["b"] == 3
    with pytest.raises(ValueError, match="Sum of input lengths"):
        data.random_split(dataset, [1, 2])
    with pytest.raises(ValueError, match="Size mismatch"):
        data.TensorDataset(nr.ones(2), nr.ones(3))


def test_samplers():
    assert len(set(data.RandomSampler(range(10), generator=nr.Generator()))) == 10
    assert len(list(data.RandomSampler(range(3), replacement=True, num_samples=20))) == 20
    assert len(list(data.RandomSampler(range(3), num_samples=7))) == 7
    assert set(data.WeightedRandomSampler([0, 1, 0, 2], 50)) == {1, 3}
    assert sorted(data.SubsetRandomSampler([4, 2, 9])) == [2, 4, 9]
    assert list(data.BatchSampler(range(5), 2, False)) == [[0, 1], [2, 3], [4]]
    loader = data.DataLoader(data.TensorDataset(nr.arange(10)), batch_sampler=[[1, 2], [9]])
    assert [b[0].tolist() for b in loader] == [[1, 2], [9]]


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"sampler": [0], "shuffle": True}, "mutually exclusive"),
        ({"batch_sampler": [[0]], "batch_size": 3}, "mutually exclusive"),
        ({"batch_size": 0}, "positive integer"),
        ({"num_workers": -1}, "non-negative"),
        ({"batch_size": None, "drop_last": True}, "mutually exclusive"),
        ({"prefetch_factor": 2}, "num_workers > 0"),
    ],
)
def test_options_that_exclude_each_other(options, text):
    with pytest.raises(ValueError, match=text):
        data.DataLoader(data.TensorDataset(nr.arange(3)), **options)


def test_classes_are_generic_where_pytorchs_are():
    data = nr.utils.data

    class Evens(data.Sampler[int]):
        def __iter__(self):
            return iter(range(0, 4, 2))

    assert list(data.DataLoader[nr.Tensor](data.TensorDataset(nr.arange(4)), sampler=Evens()))[1][0].tolist() == [2]
    for name in ("Dataset", "IterableDataset", "Subset", "ConcatDataset", "ChainDataset", "Sampler", "DataLoader"):
        assert getattr(data, name)[int] and getattr(torch.utils.data, name)[int]
