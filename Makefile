# Every target is one visible command; the virtual environment is made on first use.
PYTHON ?= python3
BIN := .venv/bin
.DEFAULT_GOAL := help
.PHONY: help demo up flood down test check unit contract integration e2e docs prepare fmt lint type contracts schema bench lock clean

# Folders whose tests need brokers or an engine, whole programs, or the pages.
INTEGRATION := tests/executors tests/infra tests/scalers tests/conformance
E2E := $(wildcard tests/e2e tests/demo)
DOCS := tests/docs

help:            ## list the targets
	@grep -hE '^[a-z0-9]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

.venv/.ready: requirements/dev.txt pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $@

demo: .venv/.ready  ## flood a queue with 50 messages and watch executions drain it
	$(BIN)/scaler demo

# The compose project: compose/compose.yaml with its .env, and the stand-ins of images if they were built.
COMPOSE := docker compose --file compose/compose.yaml $(patsubst %,--env-file %,$(wildcard compose/.env compose/standins/standins.env))

up:              ## four brokers, a job on each, and the daemon, by docker compose
	$(PYTHON) compose/check.py
	$(COMPOSE) up --detach --wait --build

LOAD ?= --count 50 --think 0.2 rabbitmq azure-queue kafka azure-servicebus
REPORTS ?= $(CURDIR)/compose/reports
flood:           ## flood all four jobs of it, follow, and leave a report in compose/reports; LOAD='...' says what
	mkdir -p $(REPORTS)
	REPORTS=$(REPORTS) $(COMPOSE) run --rm load $(LOAD)

down:            ## end all of it: what still runs, containers, network and volumes
	-$(COMPOSE) stop scaler
	-$(PYTHON) compose/remains.py $(COMPOSE)
	$(COMPOSE) --profile '*' down --volumes --remove-orphans

test: check prepare  ## all checks, then all tests; REQUIRE=all fails for a service that cannot be had
	$(BIN)/pytest

check: lint type contracts  ## format, lint, types, import contracts

lint: .venv/.ready  ## format and lint, changing nothing
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

type: .venv/.ready  ## mypy --strict
	$(BIN)/mypy

contracts: .venv/.ready  ## who may import whom
	$(BIN)/lint-imports --no-cache

prepare: .venv/.ready  ## install and build what tests need, in parallel; what cannot be had is told
	-$(BIN)/python -m tests.infra.prepare

unit: .venv/.ready  ## tests that need no service
	$(BIN)/pytest tests $(addprefix --ignore=,$(INTEGRATION) $(E2E) $(DOCS))

contract: .venv/.ready  ## one suite over all implementations of a port
	$(BIN)/pytest tests/store tests/executors -k contract

integration: .venv/.ready prepare  ## tests on real brokers and a real engine
	$(BIN)/pytest $(INTEGRATION)

e2e: .venv/.ready prepare  ## whole stories: message in, execution record out
	$(BIN)/pytest $(E2E)

docs: .venv/.ready  ## pages against code
	$(BIN)/pytest $(DOCS)

fmt: .venv/.ready  ## format, and fix what can be fixed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

schema: .venv/.ready  ## renew the generated files: JSON schemas, help page, tables of parameters, conformance
	$(BIN)/python -m scaler.config.schema
	$(BIN)/python -m tests.cli.help_page
	$(BIN)/python -m tests.docs.parameter_tables
	$(BIN)/python -m tests.conformance.page

bench: .venv/.ready prepare  ## measure: the product (scaler bench), then ticks, rules, store, history, adopt
	$(BIN)/scaler bench
	$(BIN)/python -m tests.bench

lock: .venv/.ready  ## pin all requirements anew, with hashes and without addresses
	$(PYTHON) -m venv .cache/uv
	.cache/uv/bin/pip install --quiet --disable-pip-version-check uv
	.cache/uv/bin/uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--no-emit-find-links --no-header --all-extras --group dev pyproject.toml -o requirements/dev.txt

clean:           ## remove the environment and what tools left; .cache (downloads of tests) stays
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis build dist
