"""The share of PyTorch's public names that are here, and the table of those left out on purpose: `docs/coverage.py`."""

import fnmatch
import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
OPERATIONS = ["torch", "torch.Tensor", "torch.linalg", "torch.fft", "torch.special", "torch.func"]


def load():
    spec = importlib.util.spec_from_file_location("coverage_of_pytorch", ROOT / "docs" / "coverage.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


coverage = load()
BY_NAME = {c.name: c for c in coverage.coverage()}


@pytest.mark.parametrize("namespace", OPERATIONS)
def test_operations_are_covered(namespace):
    found = BY_NAME[namespace]
    assert found.share >= 0.95, f"{found.share:.1%} of {namespace}; missing: {' '.join(found.missing)}"


def test_nothing_that_is_here_counts_as_left_out():
    here = {c.name: [n for n in c.left_out if hasattr(coverage.find(c.name, "neurarust_jax"), n)] for c in BY_NAME.values()}
    assert not {namespace: names for namespace, names in here.items() if names}


def test_every_entry_of_the_table_names_something_of_pytorchs():
    stale = [
        f"{namespace}.{pattern}"
        for names in coverage.OUT_OF_SCOPE.values()
        for namespace, patterns in names.items()
        for pattern in patterns.split()
        if not fnmatch.filter(coverage.public_names(namespace), pattern)
    ]
    assert not stale


def test_no_name_is_left_out_for_two_reasons():
    for namespace in coverage.NAMESPACES:
        patterns = [p for names in coverage.OUT_OF_SCOPE.values() for p in names.get(namespace, "").split()]
        for name in coverage.public_names(namespace):
            assert sum(fnmatch.fnmatchcase(name, p) for p in patterns) <= 1, f"{namespace}.{name}"


def test_the_page_says_what_the_program_prints():
    text = coverage.page()
    for c in BY_NAME.values():
        assert f"| `{c.name}` | {len(c.present)} | {len(c.present) + len(c.missing)} |" in text
    assert (ROOT / "docs" / "pages" / "coverage.md").read_text(encoding="utf-8").partition("\n")[0] == text.partition("\n")[0]
