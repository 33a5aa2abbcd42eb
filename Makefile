# Every target sets up what it needs. PYTHON: an interpreter of 3.11 or later.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
# Index to take PyTorch from, where the default one gives a build for another machine.
TORCH_INDEX ?=
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --disable-pip-version-check --constraint constraints.txt
PIP := $(INSTALL) --quiet
TORCH := $(shell grep '^torch==' constraints.txt)

.PHONY: demo test slow mutation lint audit docs clean

demo: $(VENV)/.demo
	$(BIN)/statecast demo --output demo

test: $(VENV)/.dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2

slow: $(VENV)/.dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 -m slow

# Mutants at random: SEED for others, COUNT for more.
SEED ?= 1
COUNT ?= 100
mutation: $(VENV)/.dev
	OMP_NUM_THREADS=1 $(BIN)/python tests/mutation/mutate.py --seed $(SEED) --count $(COUNT)

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

audit: $(VENV)/.audit
	.ci/audit $(BIN)/pip-audit

docs: $(VENV)/.docs
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs docs/_build/html
	@echo "Written: docs/_build/html/index.html"

clean:
	rm -rf $(VENV) docs/_build .pytest_cache .mypy_cache .ruff_cache .import_linter_cache

$(VENV)/.python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "statecast needs Python 3.11 or later; set PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

# PyTorch first and by itself, so that nothing else decides which build it is; its download is long, and shown.
$(VENV)/.torch: constraints.txt | $(VENV)/.python
	$(INSTALL) $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) '$(TORCH)'
	@touch $@

$(VENV)/.demo: pyproject.toml constraints.txt $(VENV)/.torch
	$(PIP) --editable '.[demo]'
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt $(VENV)/.torch
	$(PIP) --editable '.[demo,fields,logging,dev]'
	@touch $@ $(VENV)/.demo

$(VENV)/.audit: pyproject.toml constraints.txt | $(VENV)/.python
	$(PIP) 'pip-audit>=2.7'
	@touch $@

$(VENV)/.docs: pyproject.toml constraints.txt $(VENV)/.torch
	$(PIP) --editable '.[demo,fields,logging,docs]'
	@touch $@
