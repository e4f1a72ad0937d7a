# Everything that Forewarn needs on a fresh machine. `make` creates .venv and installs what a target needs; `make help` lists them.
SHELL := /bin/bash
.DEFAULT_GOAL := install

PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
  $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
JOBS ?= 2
BIN := .venv/bin
NODE_MODULES := tests/golden/node_modules/.package-lock.json
export FOREWARN_DATA ?= ../shared/data
export FOREWARN_EVAL ?= ../shared/eval
# One thread a process: the runs below use the cores by themselves, and results must not depend on how many there are.
export OMP_NUM_THREADS := 1
export OPENBLAS_NUM_THREADS := 1
export MKL_NUM_THREADS := 1

.PHONY: detection shops help install test pytest lint format parity bench bench-peers elasticsearch demo test-accuracy accuracy clean server node

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

install: .venv/installed  ## the virtual environment with Forewarn and its tools

.venv/installed: pyproject.toml
	@test -n "$(PYTHON)" || { echo "missing: Python 3.11 or newer. Install it, or call make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@.ci/need '$(PYTHON) -c "import ensurepip, venv"' 'python3-venv' 'the venv module of $(PYTHON), for the virtual environment'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install -q -e . --group dev
	@touch $@

server: install
	@.ci/need 'PYTHONPATH=. $(BIN)/python -c "from tests.elasticsearch_distribution import java_home; java_home()"' \
	  'openjdk-17-jdk-headless openjdk-21-jdk-headless default-jdk-headless' 'Java 17 or newer, which Elasticsearch runs on'
	@.ci/need 'command -v mvn' 'maven' 'Maven, which fetches Elasticsearch from Maven Central'
	@.ci/need 'command -v openssl' 'openssl' 'openssl, which makes the certificate of the TLS tests'
	@# Fetched here, once, rather than in a test, whose time is limited.
	@PYTHONPATH=. $(BIN)/python -m tests.elasticsearch_distribution

node:
	@.ci/need 'command -v node && command -v npm' 'nodejs+npm' 'Node.js with npm, which run the Grafana parser in the golden tests'
	@$(MAKE) --no-print-directory $(NODE_MODULES)

browser:
	@.ci/need 'test -x /usr/bin/chromium && test -x /usr/bin/chromedriver' 'chromium+chromium-driver' \
	  'Chromium with its driver, in which the tests look at the incident pages'

$(NODE_MODULES): tests/golden/package.json tests/golden/package-lock.json tests/golden/.npmrc
	cd tests/golden && npm ci --no-audit --no-fund
	@touch $@

test: lint pytest  ## lint, types and all tests, with a real Elasticsearch; a skipped test fails

# A file stays on one worker: what a module prepares (a server with security on, a fitted corpus) is prepared once.
pytest: install server node browser
	$(BIN)/pytest tests --ignore=tests/bench --ignore=tests/accuracy -n $(JOBS) --dist loadfile

lint: install  ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: install  ## what ruff can repair
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

parity: install  ## the batch engine against Stan on a corpus of 112 fits (make test runs 42 of them); takes minutes
	FOREWARN_PARITY_SERIES=6 $(BIN)/pytest tests/parity -s

bench: install server  ## the benchmarks; they print tables (with other libraries beside Prophet after make bench-peers)
	@mkdir -p build && rm -f build/bench.md
	FOREWARN_BENCH_TABLE=build/bench.md FOREWARN_BENCH_PEERS=.cache/peers/bin/python $(BIN)/pytest tests/bench -s

bench-peers:  ## an environment of its own for the libraries that make bench compares with
	test -x .cache/peers/bin/python || $(PYTHON) -m venv .cache/peers
	.cache/peers/bin/python -m pip install -q augurs statsforecast

elasticsearch: install server  ## a real Elasticsearch on port 9200 (or the next free one) until Ctrl-C
	$(BIN)/python -m tests.elasticsearch_server

demo: install  ## generated series end to end, then the datasource
	$(BIN)/forewarn demo

test-accuracy: install server  ## a sample of the accuracy data (FOREWARN_DATA), at most five minutes
	@test -d "$(FOREWARN_DATA)" || { echo "missing: the accuracy data in $(FOREWARN_DATA). Set FOREWARN_DATA to their folder." >&2; exit 1; }
	$(BIN)/pytest tests/accuracy

accuracy: install  ## all of the accuracy data, with the table of FOREWARN_EVAL
	@test -d "$(FOREWARN_DATA)" || { echo "missing: the accuracy data in $(FOREWARN_DATA). Set FOREWARN_DATA to their folder." >&2; exit 1; }
	@test -d "$(FOREWARN_EVAL)" || { echo "missing: the evaluation in $(FOREWARN_EVAL). Set FOREWARN_EVAL to its folder." >&2; exit 1; }
	$(BIN)/python -m tests.accuracy.full

shops: install  ## the demo over ten seeds of the simulated shop, judged by its truth, with a table
	$(BIN)/python -m tests.accuracy.shops

detection: install  ## detection on generated data: recall, delay, false alarms, special days, beside a plain baseline
	$(BIN)/python -m tests.detection.run $(DETECTION)

clean:  ## removes what make has made, the virtual environment and the cached Elasticsearch included
	rm -rf .venv .cache build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis tests/golden/node_modules
	find plugin datasource tests -name __pycache__ -type d -prune -exec rm -rf {} +
