.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
DEV := $(VENV)/.ready-dev
QUICK ?=
INTEROP := .venv-interop/bin
OWNERS := pycocotools datasets label-studio-sdk datumaro fiftyone ultralytics "mmengine mmcv-lite==2.1.0" "mmsegmentation ftfy regex"

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  \1\t\2/' | expand -t 14

$(READY): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[plot]'
	touch $(READY)

$(DEV): $(READY)
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $(DEV)

install: $(DEV)  ## make .venv and install labelseg with its development tools

demo: $(READY)  ## run the whole chain on the built-in scenes
	$(BIN)/labelseg demo

test: $(DEV)  ## run the tests
	$(BIN)/python -m pytest -n 2

test-browser: $(DEV)  ## run the tests of the pages in a real browser, Chromium; WORKSPACES="DIR ..." opens these too
	$(BIN)/python -m pip install --quiet --editable '.[browser]'
	WORKSPACES="$(WORKSPACES)" $(BIN)/python -m pytest -m browser tests/browser

test-cluster: $(DEV)  ## run the tests in which workers of Dask, shares of jobs and machines at an object store are killed
	$(BIN)/python -m pytest -m cluster tests

lint: $(DEV)  ## check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(DEV)  ## rewrite the code in the house style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(DEV)  ## regenerate docs/cli.md and docs/results.md
	$(BIN)/python docs/generate.py
	$(BIN)/python docs/results_page.py

interop: $(DEV)  ## have every export read by the program that owns its format; installs these into .venv-interop
	test -x $(INTEROP)/python || $(PYTHON) -m venv .venv-interop
	-for name in $(OWNERS); do $(INTEROP)/python -m pip install --quiet $$name; done
	$(BIN)/python -m benchmarks.interop $(INTEROP)/python
	$(BIN)/python docs/results_page.py

docs-site: $(DEV)  ## build the documentation as a site: build/site/index.html
	$(BIN)/python -m pip install --quiet --editable '.[docs]'
	$(BIN)/python -m sphinx -q -W --keep-going -b html docs build/site
	@echo "Open build/site/index.html"

bench: $(DEV)  ## measure against the named opponents; QUICK=1 for a short form
	$(BIN)/python -m benchmarks.run $(if $(QUICK),--quick)

bench-scale: $(DEV)  ## measure what 1,000 and 10,000 tiny images cost, and a chain behind an object store; IMAGES="100000 1000000" for others, on a disk with room
	$(BIN)/python -m benchmarks.scale $(or $(IMAGES),1000 10000)
	$(BIN)/python -m benchmarks.object_store
	$(BIN)/python docs/results_page.py

.PHONY: help install demo test test-browser test-cluster lint format docs docs-site interop bench bench-scale
