.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
QUICK ?=

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  \1\t\2/' | expand -t 14

$(READY): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $(READY)

install: $(READY)  ## make .venv and install labelseg with its development tools

demo: $(READY)  ## run the whole chain on the built-in scenes
	$(BIN)/labelseg demo

test: $(READY)  ## run the tests
	$(BIN)/python -m pytest -n 2

lint: $(READY)  ## check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(READY)  ## rewrite the code in the house style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(READY)  ## regenerate docs/cli.md and docs/results.md
	$(BIN)/python docs/generate.py
	$(BIN)/python docs/results_page.py

bench: $(READY)  ## measure against the named opponents; QUICK=1 for a short form
	$(BIN)/python -m benchmarks.run $(if $(QUICK),--quick)

.PHONY: help install demo test lint format docs bench
