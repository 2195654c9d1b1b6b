# make demo   watch a program whose memory accesses are known, and see how much was told right
# make test   run every test
# make lint   formatting, lint and types, as CI does
# make lab    the tests that need a kernel of their own, in small virtual machines
#             (TESTS="plugins/vaddr/tests -k idle", KERNEL=path; see tests/lab/README.md)
#
# Everything is set up in .venv, once; PYTHON chooses the interpreter (3.11 or later).

PYTHON ?= python3
BIN := .venv/bin
PLUGINS := $(patsubst %/,%,$(dir $(wildcard plugins/*/pyproject.toml)))

.PHONY: demo test lint lab clean

demo: .venv/installed
	$(BIN)/damon demo

test: .venv/installed-dev
	$(BIN)/pytest -q

lint: .venv/installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

lab: .venv/installed-dev
	@kernels="$(KERNEL)" && kernels="$${kernels:-$$DAMON_LAB_KERNELS}" && \
	kernels="$${kernels:-$$($(BIN)/python -m tests.lab.kernels)}" && \
	DAMON_LAB_KERNELS="$$kernels" $(BIN)/pytest -q -m lab $(TESTS)

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
