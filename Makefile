# make demo   watch a program whose memory accesses are known, and see how much was told right
# make test   run every test
# make lint   formatting, lint and types, as CI does
#
# Everything is set up in .venv, once; PYTHON chooses the interpreter (3.11 or later).

PYTHON ?= python3
BIN := .venv/bin
PLUGINS := $(patsubst %/,%,$(dir $(wildcard plugins/*/pyproject.toml)))

.PHONY: demo test lint clean

demo: .venv/installed
	$(BIN)/damon demo

test: .venv/installed-dev
	$(BIN)/pytest -q

lint: .venv/installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

# The packages, editable: a change of the code needs no second installation.
.venv/installed: pyproject.toml $(PLUGINS:=/pyproject.toml)
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --editable . $(addprefix --editable ./,$(PLUGINS))
	touch $@

.venv/installed-dev: .venv/installed requirements-dev.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --requirement requirements-dev.txt
	touch $@

clean:
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis
