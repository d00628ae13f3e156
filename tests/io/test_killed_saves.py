"""Processes killed at random moments while they save: what was saved before stays readable."""

import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import neurarust_jax as nr

# Forks a process for every line that it reads, which saves over and over until it is killed. Importing the package starts no thread, so it can be forked.
PROGRAM = """
import os, sys
import numpy as np
import neurarust_jax as nr

kind, place = sys.argv[1:]

class Holder:
    def state_dict(self):
        return {f"t{i}": np.full(20_000, number, np.float32) for i in range(8)}

    def load_state_dict(self, state):
        raise NotImplementedError

def save():
    if kind == "checkpoint":
        nr.io.Checkpointer(place, {"holder": Holder()}, keep_last=2).save(number)
    elif kind == "shards":
        nr.save(Holder().state_dict(), place + "/model.safetensors", max_shard_size=200_000)
    else:
        nr.save(Holder().state_dict(), f"{place}/model.{kind}")

for line in sys.stdin:
    number = int(line)
    process = os.fork()
    if process == 0:
        while True:
            save()
            number += 1
            os.write(1, f"{os.getpid()} {number}\\n".encode())  # at once, so that no part of a line is left when it is killed
    os.waitpid(process, 0)
    print("dead", flush=True)
"""


def read(kind, place):
    """The tensors of the newest save."""
    if kind == "checkpoint":

        class Holder:
            def state_dict(self):
                return {}

            def load_state_dict(self, state):
                self.state = state

        holder = Holder()
        checkpointer = nr.io.Checkpointer(place, {"holder": holder})
        checkpointer.restore()
        return holder.state
    return nr.load(place / ("model.pt" if kind == "pt" else "model.safetensors"))


def kill_saves(kind, place, kills, rng):
    """Kill processes that save, and read what is there after each."""
    with subprocess.Popen([sys.executable, "-c", PROGRAM, kind, str(place)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as forker:
        newest = 0
        for _ in range(kills):
            print(newest, file=forker.stdin, flush=True)
            process, finished = map(int, forker.stdout.readline().split())
            time.sleep(rng.uniform(0, 0.03))
            os.kill(process, signal.SIGKILL)
            while (line := forker.stdout.readline()) != "dead\n":
                finished = int(line.split()[1])
            state = read(kind, place)
            values = {number for value in state.values() for number in np.unique(np.asarray(value))}
            assert len(values) == 1 and len(state) == 8
            newest = int(values.pop())
            assert newest in (finished - 1, finished)
        forker.stdin.close()


@pytest.mark.parametrize("kind", ["checkpoint", "pt", "shards"])
def test_a_killed_save_leaves_what_was_there(tmp_path, kind):
    kill_saves(kind, tmp_path, 4, random.Random(0))


@pytest.mark.exhaustive
@pytest.mark.parametrize("kind", ["checkpoint", "pt", "safetensors", "shards"])
def test_two_hundred_killed_saves_leave_what_was_there(tmp_path, kind):
    kill_saves(kind, tmp_path, 50, random.Random(1))
    assert len([p for p in tmp_path.iterdir() if p.name.startswith(".")]) <= 1  # the next save takes away what a killed one left
