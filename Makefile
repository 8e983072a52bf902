# make demo | test | test-slow | coverage | explore | lint | check. Each does all the set-up that it needs; only python3 (with venv) and
# make must be there.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# Every target may install into the one environment: `make -j` must not run two of them at once.
.NOTPARALLEL:

.PHONY: demo test coverage test-slow explore lint check format docs clean

demo: $(VENV)/.demo
	$(BIN)/gossipconf demo

test: $(VENV)/.test
	$(BIN)/python -m pytest -n auto -m "not slow" $(PYTEST_ARGS)

coverage: $(VENV)/.test
	$(BIN)/python -m pytest -n auto -m "not slow" --cov --cov-report= $(PYTEST_ARGS)
	$(BIN)/coverage report

test-slow: $(VENV)/.test
	$(BIN)/python -m pytest -m slow $(PYTEST_ARGS)

# A share of random scenarios with fresh seeds, which it prints; a seed that fails comes with its replay.
explore: $(VENV)/.test
	$(BIN)/gossipconf-sim explore

lint: $(VENV)/.lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

check: lint test

format: $(VENV)/.lint
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(VENV)/.demo
	$(BIN)/python -m gossipconf.cli.reference > docs/cli.md
	$(BIN)/python -m gossipconf.cli.reference gossipconf_sim.cli.main > docs/simulator-cli.md
	$(BIN)/python -m gossipconf_sim.scenario.reference > docs/simulator-options.md
	$(BIN)/python -m gossipconf.runtime.reference > docs/settings.md

clean:
	rm -rf $(VENV) .coverage* .hypothesis .mypy_cache .pytest_cache .ruff_cache dist

# One stamp for each set of extras; they are made again when the project file changes.
$(VENV)/.demo: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[cli]'
	touch $@

$(VENV)/.test: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[test]'
	touch $@

$(VENV)/.lint: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[lint]'
	touch $@
