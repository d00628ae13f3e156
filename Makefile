# make demo   trains a small CNN on handwritten digits (DATA=folder: on MNIST's IDX files in that folder)
# make test   runs all tests
# make test-all  the same with all samples of PyTorch's databases of operators and modules, which takes hours
# make lint   ruff, pyright and the import contract
# make docs   builds the documentation into site/
# make bench  runs the benchmarks
# make clean  removes everything that these make
#
# Each of them makes the environment in .venv first, and again when pyproject.toml has changed. PYTHON=python3.12 chooses the interpreter.

PYTHON ?= python3
PYTEST_ARGS ?= -n 2
VENV := .venv
RUN := $(VENV)/bin/python

.PHONY: demo test test-all lint docs bench clean

demo: $(VENV)/demo.stamp
	$(RUN) examples/mnist.py $(if $(DATA),--data "$(DATA)")

test: $(VENV)/test.stamp
	$(RUN) -m pytest $(PYTEST_ARGS)

test-all: $(VENV)/test.stamp
	$(RUN) -m pytest $(PYTEST_ARGS) --exhaustive

lint: $(VENV)/test.stamp
	$(VENV)/bin/ruff check .
	$(VENV)/bin/pyright --pythonpath $(RUN)
	$(VENV)/bin/lint-imports

docs: $(VENV)/test.stamp
	$(VENV)/bin/mkdocs build --strict -f docs/mkdocs.yml

bench: $(VENV)/bench.stamp
	for benchmark in $$(ls tests/benchmarks/*_*.py | sed 's|/|.|g; s|\.py$$||' | grep -v __init__); do $(RUN) -m $$benchmark || exit 1; done

$(RUN):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; name one with PYTHON=")'
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --upgrade pip

$(VENV)/%.stamp: pyproject.toml | $(RUN)
	$(RUN) -m pip install --quiet --editable ".[$*]"
	touch $@

clean:
	rm -rf $(VENV) site build dist demo_output .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
