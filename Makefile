# `make demo` and `make test` set up all that they need: a virtual environment in .venv with the packages of
# pyproject.toml. Only Python 3.11 or newer and make must be there.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help demo test check fmt bench schemas up down chaos chaos-record compiled test-compiled clean

help:  ## what there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 18

$(READY): pyproject.toml deploy/bootstrap.sh
	@PYTHON="$(PYTHON)" deploy/bootstrap.sh $(VENV)
	@touch $@

demo: $(READY)  ## the whole system in one process with a sample hour, and its API (ARGS=--once: ends)
	@$(BIN)/tollgate demo $(ARGS)

test: $(READY) check  ## all checks and tests
	@$(BIN)/pytest -n auto --maxprocesses 4 --dist loadfile $(ARGS)

check: $(READY)  ## format, lint, types, layers
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

fmt: $(READY)  ## format the code
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

bench: $(READY)  ## the benchmarks; results go to benchmarks/results
	@$(BIN)/python -m benchmarks $(ARGS)

schemas: $(READY)  ## JSON Schemas and AsyncAPI from the Structs
	@$(BIN)/python -m schemas.documents

COMPILED := build/compiled
$(COMPILED)/.ready: $(READY) deploy/compile.sh $(wildcard engine/*.py schemas/*.py)
	@deploy/compile.sh $(BIN)/python $(COMPILED)
	@touch $@

compiled: $(COMPILED)/.ready  ## the engine compiled with mypyc, into build/compiled: put it first on PYTHONPATH

test-compiled: compiled  ## all tests on the compiled engine
	@PYTHONPATH=$(COMPILED) $(BIN)/pytest -o pythonpath="$(COMPILED) . tests" $(ARGS)

up:  ## a real Kafka on this machine, without Docker: localhost:9092, data in build/kafka
	@$(PYTHON) deploy/kafka/local.py up $(ARGS)

down:  ## stop it
	@$(PYTHON) deploy/kafka/local.py down $(ARGS)

SECONDS ?= 600
SEED ?= 1
chaos: $(READY)  ## faults on a real Kafka for SECONDS, from SEED; the checker judges
	@$(BIN)/python -m tests.faults --seconds $(SECONDS) --seed $(SEED)

chaos-record: $(READY)  ## the same with the office, relay, projectors and PostgreSQL
	@$(BIN)/python -m tests.faults.record --seconds $(SECONDS) --seed $(SEED)

clean:  ## forget the environment and what was built
	@$(PYTHON) deploy/kafka/local.py down
	rm -rf $(VENV) build
