# paycall: every command of the project. `make` alone lists them.
# A fresh machine needs Python 3.11 or 3.12 (with venv) and make; `make test` installs the rest with apt.

# 3.12 before 3.11 (a cell takes less memory), and of either the system's own first: it gets the system's security updates.
PYTHON ?= $(shell for p in /usr/bin/python3.12 python3.12 /usr/bin/python3.11 python3.11 python3; do \
    "$$p" -c 'import ensurepip, sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null && echo "$$p" && break; done)
VENV := .venv
BIN := $(VENV)/bin
# Set on some machines for all: each of the hundred processes of a test run would compile the same sources anew.
unexport PYTHONDONTWRITEBYTECODE
PYTEST := $(BIN)/python scripts/second_look.py .pytest_cache

.DEFAULT_GOAL := help
.PHONY: help run install system-tools test test-live test-calls test-aside test-panel test-unit test-browser test-dsp lint bench bench-dsp bench-media bench-vault bench-panel demo lock peers storm soak screenshots clean

help: ## list the commands
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/ -/' | column -t -s- -l2

$(BIN)/python:
	@[ -n "$(PYTHON)" ] || { echo "paycall needs Python 3.11 or 3.12 with venv (Debian: apt install python3-venv); none was found. Name one: make run PYTHON=/path/to/python3.12"; exit 1; }
	@echo "paycall: making $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "paycall: $(PYTHON) cannot make a virtual environment (Debian: apt install python3-venv)"; exit 1; }

# A stamp for each lock, so that a second start installs nothing. They are complete and share no package: nothing has
# to be resolved, and what runs and what tests can be installed at the same time.
PIP_INSTALL := $(BIN)/python -m pip install --disable-pip-version-check --no-deps -q
INSTALL_LOCK := $(PIP_INSTALL) --require-hashes

$(VENV)/.pip: requirements-pip.lock | $(BIN)/python
	@$(INSTALL_LOCK) -r requirements-pip.lock
	@touch $@

$(VENV)/.runtime: requirements.lock pyproject.toml $(VENV)/.pip
	@echo "paycall: installing the packages in requirements.lock (about a minute the first time)"
	@$(INSTALL_LOCK) --progress-bar on -r requirements.lock
	@PYTHONWARNINGS=ignore $(PIP_INSTALL) --no-build-isolation -e . # setuptools warns of every editable installation
	@$(BIN)/python -m compileall -q paycall dsp gateway_adapters
	@touch $@

$(VENV)/.dev: requirements-dev.lock $(VENV)/.pip
	@echo "paycall: installing the packages in requirements-dev.lock"
	@$(INSTALL_LOCK) --no-compile -r requirements-dev.lock
	@touch $@

install: ## make the environment alone, the tests' needs included
	@$(MAKE) --no-print-directory --jobs 3 $(VENV)/.runtime $(VENV)/.dev system-tools

system-tools:
	@sh scripts/system-tools.sh

run: $(VENV)/.runtime ## start everything on this machine: panel, vault, media node, acquirer simulator
	@exec $(BIN)/paycall serve

demo: $(VENV)/.runtime ## a scripted payment from end to end, with a report
	@$(BIN)/paycall demo

test: install ## lint and every test, with real SIP peers, PostgreSQL and a browser
	@$(MAKE) --no-print-directory --jobs 2 test-live test-aside

# What works in real time: one after the other, as each of the two uses both cores.
test-live:
	@$(MAKE) --no-print-directory test-calls
	@$(MAKE) --no-print-directory test-browser

test-calls:
	$(PYTEST)/calls -n 6 --dist loadfile --no-loadscope-reorder --durations 25 --ignore tests/integration/dsp \
		tests/integration tests/leak tests/contract

# What has no phones in it, in the time that those leave.
test-aside:
	@MAKEFLAGS= $(BIN)/python scripts/spare_time.py $(MAKE) --no-print-directory --jobs 2 --output-sync lint test-dsp test-panel test-unit

test-panel:
	$(PYTEST)/panel tests/unit/panel

test-unit:
	$(PYTEST)/unit --ignore tests/unit/panel tests/property tests/unit

# Apart from the others: Playwright leaves an event loop in its process.
test-browser:
	$(PYTEST)/browser -n 2 --dist loadfile --no-loadscope-reorder --durations 40 tests/browser

# Hours of speech are made and thrown away: memory that went back to the system each time would be a fifth of the work.
test-dsp: export MALLOC_MMAP_THRESHOLD_ = 1073741824
test-dsp: export MALLOC_TRIM_THRESHOLD_ = 1073741824
test-dsp:
	$(PYTEST)/dsp --durations 10 tests/integration/dsp

lint: $(VENV)/.runtime $(VENV)/.dev ## ruff, mypy --strict, import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: bench-dsp bench-media bench-vault bench-panel ## all benchmarks; tables, docs/benchmarks.md, build/bench/*.json

bench-media: peers

peers: install
	@sh scripts/system-tools.sh bench

bench-dsp bench-media bench-vault bench-panel: bench-%: install
	@mkdir -p build/bench
	$(BIN)/python scripts/bench_$*.py

storm: install ## 2,000 authorizations with every fault at random, the vault killed meanwhile; then 200 on each other wire
	PAYCALL_STORM=2000 $(BIN)/python -m pytest -q --timeout 2400 tests/integration/test_fault_storm.py
	PAYCALL_STORM=200 PAYCALL_STORM_ACQUIRERS=stripe,adyen,checkout_com \
		$(BIN)/python -m pytest -q --timeout 2400 tests/integration/test_fault_storm.py

soak: install ## 2,000 calls with captures, 8 at a time, cells killed at random (about 20 minutes)
	PAYCALL_SOAK_CALLS=2000 $(BIN)/python -m pytest -q --timeout 3600 tests/integration/media/test_media_soak.py

screenshots: install ## the panel's pages into docs/screenshots
	$(BIN)/python scripts/screenshots.py

lock: $(VENV)/.runtime $(VENV)/.dev ## write the lock files anew from pyproject.toml
	scripts/lock.sh

clean: ## remove the environment and what was built; var/ (keys, data) stays
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
