# Every target works from a fresh clone with python3, make and git: what it needs goes into .venv, nothing else is touched.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
RUN_STAMP := $(VENV)/.installed-runtime

.PHONY: demo test check bench fmt docs lock clean

demo: $(RUN_STAMP)
	@PATH="$(CURDIR)/$(BIN):$$PATH" sh examples/shop/demo.sh

test: $(STAMP)
	$(BIN)/python -m pytest $(PYTEST_ARGS)

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m sphinx -W -q -b html docs docs/_build/html

bench: $(STAMP)
	$(BIN)/python benchmarks/scan.py

fmt: $(STAMP)
	$(BIN)/ruff check --fix-only -q . || true
	$(BIN)/ruff format .

docs: $(STAMP)
	$(BIN)/python -m sphinx -W -b html docs docs/_build/html

# New versions are taken only after a week in the open, so that a hijacked release is seen by others first.
lock: $(STAMP)
	$(BIN)/python requirements/lock.py

$(RUN_STAMP): requirements/runtime.txt requirements/build.txt pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements/runtime.txt
	$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements/build.txt
	$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

$(STAMP): requirements/dev.txt $(RUN_STAMP)
	$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@touch $@

clean:
	rm -rf $(VENV) docs/_build .mypy_cache .ruff_cache .pytest_cache .hypothesis
