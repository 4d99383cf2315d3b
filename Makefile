# aiopt: the commands of README.md.  `make help` lists them.
SHELL := /bin/bash
BIN := .venv/bin
TICKS ?=
CONFIG ?= jobs/optimize.yaml
EYES ?= data/eyes
BARS ?=
RUNS ?= runs
ONLY ?=

.PHONY: help optimize eyes up down serving-cpu serving-gpu check test unit lint types docs bench lock
.DEFAULT_GOAL := help

help:  ## List the commands
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 20

.venv/.installed-base: requirements/base.lock requirements/install.sh pyproject.toml
	@requirements/install.sh base

.venv/.installed-dev: requirements/dev.lock requirements/install.sh pyproject.toml
	@requirements/install.sh dev
	@touch .venv/.installed-base

.venv/.installed-cpu: requirements/cpu.lock requirements/install.sh pyproject.toml
	@requirements/install.sh cpu
	@touch .venv/.installed-base

.venv/.installed-gpu: requirements/gpu.lock requirements/install.sh pyproject.toml
	@requirements/install.sh gpu
	@touch .venv/.installed-base

optimize: .venv/.installed-base  ## Ticks to ranked strategies and Pine Script [TICKS=PATH] [CONFIG=FILE] [RUNS=DIR]
	@$(BIN)/aiopt optimize $(CONFIG) --runs-dir $(RUNS) $(if $(TICKS),--ticks $(TICKS))

eyes: .venv/.installed-cpu  ## Train and judge the tiny picture reader [EYES=DIR] [BARS=DIR for real charts]
	@$(BIN)/aiopt eyes make $(EYES) $(if $(BARS),--bars $(BARS))

up: .venv/.installed-base  ## Start the local Ray head with dashboard and token authentication
	@$(BIN)/aiopt cluster up

down:  ## Stop the Ray head that `make optimize` or `make up` started, and nothing else
	@if [ -x $(BIN)/aiopt ]; then $(BIN)/aiopt cluster down; else echo "nothing was started from here"; fi

serving-cpu: .venv/.installed-cpu  ## Install what `aiopt serve` needs on a machine without a GPU (4 GB)

serving-gpu: .venv/.installed-gpu  ## Install what `aiopt serve` needs with a CUDA GPU

check: .venv/.installed-dev lint  ## Lint, types and the unit tests that are not slow: before every commit
	@$(MAKE) --no-print-directory -j2 types unit

test: .venv/.installed-dev lint  ## Lint, types and every test, the 20 slowest, and the coverage
	@tests/run/all.sh

unit: .venv/.installed-dev
	@$(BIN)/python -m pytest tests/unit -q -m 'not slow and not gpu and not bench' -n logical --maxprocesses 8 --dist worksteal --durations 20

lint: .venv/.installed-dev
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: .venv/.installed-dev
	@$(BIN)/mypy

docs: .venv/.installed-dev  ## The Python reference from docstrings, into build/api
	@$(BIN)/python docs/build_api.py

bench: .venv/.installed-dev  ## Benchmarks into benchmarks/results/*.json [ONLY=name]
	@$(BIN)/python -m benchmarks $(ONLY)

lock:  ## Resolve the dependencies again into requirements/*.lock (needs uv)
	@requirements/lock.sh
