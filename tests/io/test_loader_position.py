"""Loaders that go on where they were, with the names of torchdata's `StatefulDataLoader`."""

import pytest

import neurarust_jax as nr
from neurarust_jax.utils import data

DATASET = data.TensorDataset(nr.arange(13))


def rows(batches):
    return [b[0].tolist() for b in batches]


def loaders(make):
    """Pairs of equal loaders: one to go through, one to go on."""
    return make(), make()


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("seen", [0, 1, 3, 4])
def test_an_epoch_goes_on_in_the_order_that_it_began_with(workers, seen):
    first, second = loaders(lambda: data.DataLoader(DATASET, 4, shuffle=True, num_workers=workers))
    nr.manual_seed(5)
    batches = iter(first)
    for _ in range(seen):
        next(batches)
        nr.rand(2)  # the model draws too
    state, random = first.state_dict(), nr.get_rng_state()
    expected = [*rows(batches), "end", *rows(first), nr.rand(()).item()]
    nr.manual_seed(99)
    nr.set_rng_state(random)
    second.load_state_dict(state)
    assert second.state_dict()["_num_yielded"] == seen
    assert [*rows(second), "end", *rows(second), nr.rand(()).item()] == expected


def test_a_finished_epoch_is_followed_by_a_new_one():
    loader = data.DataLoader(DATASET, 4)
    assert rows(loader) == rows(loader)
    state = loader.state_dict()
    assert state["_num_yielded"] == 4 and state["_iterator_finished"]
    other = data.DataLoader(DATASET, 4)
    other.load_state_dict(state)
    assert len(rows(other)) == 4


def test_the_loaders_own_generator_belongs_to_its_state():
    first, second = loaders(lambda: data.DataLoader(DATASET, 5, shuffle=True, generator=nr.Generator().manual_seed(1)))
    rows(first)
    batches = iter(first)
    next(batches)
    second.load_state_dict(first.state_dict())
    assert [rows(second), rows(second)] == [rows(batches), rows(first)]


@pytest.mark.parametrize(
    "make",
    [
        lambda: data.DataLoader(DATASET, batch_size=None, shuffle=True),
        lambda: data.DataLoader(DATASET, 3, sampler=data.WeightedRandomSampler([1.0] * 13, 20)),
        lambda: data.DataLoader(DATASET, 3, sampler=data.SubsetRandomSampler(range(10))),
        lambda: data.DataLoader(DATASET, batch_sampler=data.BatchSampler(data.RandomSampler(DATASET, replacement=True), 4, True)),
    ],
)
def test_every_sampler_goes_on(make):
    first, second = loaders(make)
    batches = iter(first)
    next(batches), next(batches)
    state = first.state_dict()
    expected = rows(batches) if first.batch_size or first.batch_sampler else [b[0].item() for b in batches]
    second.load_state_dict(state)
    assert (rows(second) if first.batch_size or first.batch_sampler else [b[0].item() for b in second]) == expected


class Stream(data.IterableDataset):
    def __iter__(self):
        return iter(range(11))


class StatefulStream(data.IterableDataset):
    def __init__(self):
        self.at = 0

    def __iter__(self):
        while self.at < 11:
            self.at += 1
            yield self.at - 1
        self.at = 0

    def state_dict(self):
        return {"at": self.at}

    def load_state_dict(self, state):
        self.at = state["at"]


@pytest.mark.parametrize("stream", [Stream, StatefulStream])
def test_streams_go_on(stream):
    first, second = data.DataLoader(stream(), 2), data.DataLoader(stream(), 2)
    batches = iter(first)
    next(batches), next(batches)
    state = first.state_dict()
    second.load_state_dict(state)
    expected = [b.tolist() for b in batches]
    assert [b.tolist() for b in second] == expected == [[4, 5], [6, 7], [8, 9], [10]]
    assert [b.tolist() for b in second][0] == [0, 1]


class Shuffled(data.Sampler):
    """A sampler with a source of randomness of its own."""

    def __init__(self):
        self.epoch = 0

    def __iter__(self):
        import random

        order = list(range(13))
        random.Random(self.epoch).shuffle(order)
        self.epoch += 1
        return iter(order)

    def __len__(self):
        return 13

    def state_dict(self):
        return {"epoch": self.epoch}

    def load_state_dict(self, state):
        self.epoch = state["epoch"]


def test_a_sampler_can_keep_its_own_state():
    first, second = loaders(lambda: data.DataLoader(DATASET, 4, sampler=Shuffled()))
    rows(first)
    batches = iter(first)
    next(batches)
    second.load_state_dict(first.state_dict())
    assert [rows(second), rows(second)] == [rows(batches), rows(first)]


@pytest.mark.parametrize("state", [None, {}, {"_num_yielded": "3", "_iterator_finished": False}, {"_num_yielded": 3, "_iterator_finished": False}])
def test_what_is_no_state_is_refused(state):
    with pytest.raises(TypeError, match=r"what its state_dict\(\) returned"):
        data.DataLoader(DATASET).load_state_dict(state)
