# make demo   watch a program whose memory accesses are known, and see how much of it was seen
# make test   run the tests that this machine can run, but for the slow ones, in three processes
#             (JOBS=1, TESTS="tests/loop -k order")
# make test-slow
#             run the slow ones: whole benchmarks, builds of packages, long waits
# make lint   formatting, lint, types and which module may import which, as CI does
# make format what of that can be repaired
# make changelog
#             the next version's part of the changelog
# make docs   the documentation as a site, in build/site/html
# make wheels all packages but what has to be compiled, in dist, for pip elsewhere
# make lab    the tests that need a kernel of their own, in small virtual machines
#             (TESTS="plugins/vaddr/tests -k idle", KERNEL=path; see tests/lab/README.md)
# make picture
#             draw the architecture in CONTRIBUTING.md anew
# make hooks  check every commit by itself, with git's hooks
# make release-check
#             build, check and install all packages, and run all their fast tests without the
#             checkout: ten minutes of a processor, and 26 minutes went by on two busy ones
#
# Everything is set up in .venv, once; PYTHON chooses the interpreter (3.11 or later).

PYTHON ?= python3
BIN := .venv/bin
# What has to be compiled: `make demo` does without, and so do other tests where there is no compiler.
COMPILED := plugins/idle-native
PLUGINS := $(filter-out $(COMPILED),$(patsubst %/,%,$(dir $(wildcard plugins/*/pyproject.toml))))

.PHONY: demo test test-slow lint format docs wheels lab changelog picture hooks release-check clean

demo: .venv/installed
	$(BIN)/damon demo
	@printf '\nIn this clone damon is %s; after `. %s` it is damon.\n' $(BIN)/damon $(BIN)/activate

# One more than there are processors: tests of real programs wait for them.
JOBS := 3
test: SELECT := not slow
test-slow: SELECT := slow
test test-slow: .venv/installed-dev
	$(BIN)/pytest -q --numprocesses $(JOBS) --dist loadfile -m "$(SELECT)" $(TESTS)

lint: .venv/installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	PYTHONPATH=$(COMPILED)/src $(BIN)/lint-imports

# What lint can repair.
format: .venv/installed-dev
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

# The next version's part of it.
changelog: .venv/installed-dev
	$(BIN)/towncrier build --draft --version "$$(cat VERSION)"

docs: .venv/installed-dev
	$(BIN)/python -m docs.sphinx

# Packages for other environments, as long as they aren't on PyPI.
wheels: .venv/installed
	$(BIN)/pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir dist . $(addprefix ./,$(PLUGINS))

# The picture of the architecture in CONTRIBUTING.md, of what lint checks.
picture: .venv/installed-dev
	$(BIN)/python -m tests.picture

# What of lint is quick, for every commit from then on, and types before each push.
hooks: .venv/installed-dev
	$(BIN)/pre-commit install

lab: .venv/installed-dev
	@kernels="$(KERNEL)" && kernels="$${kernels:-$$DAMON_LAB_KERNELS}" && \
	kernels="$${kernels:-$$($(BIN)/python -m tests.lab.kernels)}" && \
	DAMON_LAB_KERNELS="$$kernels" $(BIN)/pytest -q -m lab $(TESTS)

# The packages, editable: a change of the code needs no second installation.
.venv/installed: VERSION pyproject.toml $(PLUGINS:=/pyproject.toml)
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --editable . $(addprefix --editable ./,$(PLUGINS))
	touch $@

# Groups of dependencies are known to pip since 25.1.
.venv/installed-dev: .venv/installed pyproject.toml $(wildcard $(COMPILED)/*.* $(COMPILED)/c/*)
	$(BIN)/pip install --quiet --disable-pip-version-check --upgrade "pip>=25.1"
	$(BIN)/pip install --quiet --disable-pip-version-check --group dev
	$(BIN)/pip install --quiet --disable-pip-version-check --editable ./$(COMPILED) || \
		echo "$(COMPILED) can't be compiled, so its tests are skipped: it needs a C compiler and" \
			"Python's headers (Debian: gcc libc6-dev python3-dev)" >&2
	touch $@

# All packages, built, checked, installed without the checkout, and tested there (DIST=folder keeps what
# was built, WHEELHOUSE=folder has the wheels of others, so that no index is asked, WHEELS=folder those of
# what is compiled, made elsewhere for many machines).
release-check: .venv/installed-dev
	$(BIN)/python -m tests.release $(if $(DIST),--dist "$(DIST)") \
		$(if $(WHEELHOUSE),--wheelhouse "$(WHEELHOUSE)") \
		$(if $(WHEELS),--compiled "$(WHEELS)") -- $(TESTS)

clean:
	rm -rf .venv .coverage .pytest_cache .mypy_cache .ruff_cache .hypothesis
