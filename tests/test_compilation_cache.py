"""Programs kept over processes: a second process compiles nothing."""

import os
import subprocess
import sys

import jax

import neurarust_jax as nr

PROGRAM = """
import jax.monitoring
counts = {"hits": 0, "misses": 0}
def note(event, **_):
    for name in counts:
        if event == f"/jax/compilation_cache/cache_{name}":
            counts[name] += 1
jax.monitoring.register_event_listener(note)
import neurarust_jax as nr
model = nr.nn.Linear(3, 2)
optimizer = nr.optim.SGD(model.parameters(), lr=0.1)
@nr.jit
def step(x):
    optimizer.zero_grad()
    loss = model(x).sum()
    loss.backward()
    optimizer.step()
    return loss
step(nr.ones(4, 3))
(nr.ones(3) + 1).relu()
print(counts["hits"], counts["misses"])
"""


def test_a_second_process_compiles_nothing(tmp_path):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("JAX_")} | {"NEURARUST_JAX_CACHE": str(tmp_path), "JAX_PLATFORMS": "cpu"}
    counts = []
    for _ in range(2):
        run = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=True)
        counts.append(tuple(map(int, run.stdout.split()[-2:])))
    (_, first), (hits, misses) = counts
    assert first > 0
    assert misses == 0
    assert hits >= first


def test_place_and_size(tmp_path, monkeypatch):
    names = ("jax_compilation_cache_dir", "jax_compilation_cache_max_size", "jax_persistent_cache_min_compile_time_secs", "jax_persistent_cache_min_entry_size_bytes")
    before = {name: getattr(jax.config, name) for name in names}
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("sys.platform", "linux")
    try:
        assert nr.compilation_cache(max_size=10**6) == str(tmp_path / "neurarust_jax" / "compiled")
        assert jax.config.jax_compilation_cache_max_size == 10**6
        assert (tmp_path / "neurarust_jax" / "compiled").is_dir()
        assert nr.compilation_cache(tmp_path / "here") == str(tmp_path / "here")
        assert nr.compilation_cache(False) is None
        assert jax.config.jax_compilation_cache_dir is None
    finally:
        for name, value in before.items():
            jax.config.update(name, value)
        from jax.experimental.compilation_cache import compilation_cache

        compilation_cache.reset_cache()
